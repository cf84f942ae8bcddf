"""The kernels on plain arrays, for everything that is registered: whatever gets declared is timed.

Arguments are checked in every call, nothing is allocated.
"""

from __future__ import annotations

import functools

import numpy as np

from .backends import BACKENDS, use_backend
from .calls import Call
from .targets import admitted_outputs, draw_targets

try:
    import fastgd as fg
    from fastgd import activations, losses, optimizers  # noqa: F401  (importing them fills the registries)
    from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
except ImportError:
    # asv imports the suite to list it, also where no fastgd is installed.
    ACTIVATIONS = LOSSES = OPTIMIZERS = {}

# Rows, inputs, outputs: of a network that lives in the caches near the core, and of one that does not.
SIZES = {"32x64x64": (32, 64, 64), "128x784x256": (128, 784, 256)}
DTYPES = ["float32", "float64"]


def uniform(dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Draw arrays that no activation or loss finds extreme."""
    random = np.random.default_rng(0)
    return [random.uniform(0.1, 0.9, shape).astype(dtype) for shape in shapes]


class DenseForward(Call):
    """A layer forward with each activation."""

    params = (list(ACTIVATIONS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("activation", "size", "dtype", "backend")

    def prepare(self, activation, size, dtype, backend):
        rows, inputs, outputs = SIZES[size]
        x, w, b, out, kept = uniform(dtype, (rows, inputs), (inputs, outputs), (outputs,), *[(rows, outputs)] * 2)
        kernel = functools.partial(fg.kernels.dense_forward, backend=use_backend(backend))
        return functools.partial(kernel, x, w, b, activation, out=out, kept=kept)


class DenseBackward(Call):
    """A layer backward with each activation."""

    params = (list(ACTIVATIONS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("activation", "size", "dtype", "backend")

    def prepare(self, activation, size, dtype, backend):
        rows, inputs, outputs = SIZES[size]
        x, w, b, kept, d_out = uniform(dtype, (rows, inputs), (inputs, outputs), (outputs,), *[(rows, outputs)] * 2)
        out = tuple(map(np.empty_like, (x, w, b)))
        kernel = functools.partial(fg.kernels.dense_backward, backend=use_backend(backend))
        return functools.partial(kernel, x, w, kept, d_out, activation, out=out)


class LossGradient(Call):
    """Each loss with its gradient."""

    params = (list(LOSSES), list(SIZES), DTYPES, BACKENDS)
    param_names = ("loss", "size", "dtype", "backend")

    def prepare(self, loss, size, dtype, backend):
        rows, _, outputs = SIZES[size]
        outputs = admitted_outputs(LOSSES[loss], outputs)
        scores, out = uniform(dtype, *[(rows, outputs)] * 2)
        targets = draw_targets(LOSSES[loss], rows, outputs, dtype)
        kernel = functools.partial(fg.kernels.loss_gradient, backend=use_backend(backend))
        return functools.partial(kernel, scores, targets, loss, out=out)


class ParameterUpdate(Call):
    """Each optimizer's step on the weights of a layer."""

    params = (list(OPTIMIZERS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("optimizer", "size", "dtype", "backend")

    def prepare(self, rule, size, dtype, backend):
        _, inputs, outputs = SIZES[size]
        w, g = uniform(dtype, *[(inputs, outputs)] * 2)
        states = [np.zeros_like(w) for _ in OPTIMIZERS[rule].states]
        # With the same positive gradient and 0.5 for every scalar, states settle at numbers that are neither subnormal
        # nor infinite, however often the step is made.
        optimizer = optimizers.Optimizer(rule, **dict.fromkeys(OPTIMIZERS[rule].scalars, 0.5))
        kernel = functools.partial(fg.kernels.parameter_update, backend=use_backend(backend))
        return functools.partial(kernel, w, g, states, optimizer)
