"""The kernels on plain arrays, for everything that is registered: whatever gets declared is timed.

Arguments are checked in every call, nothing is allocated. Where there is a ``setup``, asv times every call by
itself, hence the many repeats; and it runs ``setup`` before each, hence the caches.
"""

from __future__ import annotations

import functools

import numpy as np

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
BACKENDS = ["cython", "numpy"]


@functools.lru_cache(maxsize=1)
def layer(size, dtype):
    """Return x, w, b, a (also what the derivative reads), the gradient by a, and room for all results."""
    rows, inputs, outputs = SIZES[size]
    random = np.random.default_rng(0)
    shapes = [(rows, inputs), (inputs, outputs), (outputs,), (rows, outputs), (rows, outputs)]
    x, w, b, a, d_a = (random.uniform(0.1, 0.9, shape).astype(dtype) for shape in shapes)
    return x, w, b, a, d_a, np.empty_like(a), (np.empty_like(x), np.empty_like(w), np.empty_like(b))


@functools.lru_cache(maxsize=1)
def scores_and_targets(loss, size, dtype):
    """Return scores, targets of the kind that a loss takes, and room for the gradient."""
    rows, _, outputs = SIZES[size]
    random = np.random.default_rng(0)
    scores = random.standard_normal((rows, outputs)).astype(dtype)
    if LOSSES[loss].target in ("class", "label"):
        targets = random.integers(0, outputs, rows)
    else:
        targets = random.uniform(0, 1, scores.shape).astype(dtype)
    return scores, targets, np.empty_like(scores)


@functools.lru_cache(maxsize=1)
def parameters(rule, size, dtype):
    """Return weights, their gradient, the states, and an optimizer that has the rule."""
    _, inputs, outputs = SIZES[size]
    random = np.random.default_rng(0)
    w, g = (random.standard_normal((inputs, outputs)).astype(dtype) for _ in range(2))
    states = [np.zeros_like(w) for _ in OPTIMIZERS[rule].states]
    return w, g, states, optimizers.Optimizer(rule, **dict.fromkeys(OPTIMIZERS[rule].scalars, 0.5))


class DenseForward:
    """A layer forward with each activation."""

    version = "1"
    params = (list(ACTIVATIONS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("activation", "size", "dtype", "backend")
    repeat = (5, 200, 1.0)

    def setup(self, *parameters):
        self.time_dense_forward(*parameters)

    def time_dense_forward(self, activation, size, dtype, backend):
        x, w, b, kept, _, out, _ = layer(size, dtype)
        fg.kernels.dense_forward(x, w, b, activation, out=out, kept=kept, backend=backend)


class DenseBackward:
    """A layer backward with each activation."""

    version = "1"
    params = (list(ACTIVATIONS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("activation", "size", "dtype", "backend")
    repeat = (5, 200, 1.0)

    def setup(self, *parameters):
        self.time_dense_backward(*parameters)

    def time_dense_backward(self, activation, size, dtype, backend):
        x, w, _, kept, d_out, _, out = layer(size, dtype)
        fg.kernels.dense_backward(x, w, kept, d_out, activation, out=out, backend=backend)


class LossGradient:
    """Each loss with its gradient."""

    version = "1"
    params = (list(LOSSES), list(SIZES), DTYPES, BACKENDS)
    param_names = ("loss", "size", "dtype", "backend")
    repeat = (5, 200, 1.0)

    def setup(self, *parameters):
        self.time_loss_gradient(*parameters)

    def time_loss_gradient(self, loss, size, dtype, backend):
        scores, targets, out = scores_and_targets(loss, size, dtype)
        fg.kernels.loss_gradient(scores, targets, loss, out=out, backend=backend)


class ParameterUpdate:
    """Each optimizer's step on the weights of a layer."""

    version = "1"
    params = (list(OPTIMIZERS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("optimizer", "size", "dtype", "backend")
    repeat = (5, 200, 1.0)

    def setup(self, *parameters):
        self.time_parameter_update(*parameters)

    def time_parameter_update(self, rule, size, dtype, backend):
        w, g, states, optimizer = parameters(rule, size, dtype)
        fg.kernels.parameter_update(w, g, states, optimizer, backend=backend)
