"""The kernels on plain arrays, for everything that is registered: whatever gets declared is timed."""

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
    """Return x, w, b, a (also what the derivative reads) and the gradient by a.

    Cached here instead of made in ``setup``: for a benchmark with a ``setup`` asv times every call by itself,
    which says nothing about calls of some microseconds. The same holds for the functions below.
    """
    rows, inputs, outputs = SIZES[size]
    random = np.random.default_rng(0)
    shapes = [(rows, inputs), (inputs, outputs), (outputs,), (rows, outputs), (rows, outputs)]
    return [random.uniform(0.1, 0.9, shape).astype(dtype) for shape in shapes]


@functools.lru_cache(maxsize=1)
def gradients(size, dtype):
    """Return room for the gradients of a layer."""
    x, w, b, _, _ = layer(size, dtype)
    return np.empty_like(x), np.empty_like(w), np.empty_like(b)


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


class Dense:
    """A layer forward and backward with each activation, arguments checked, nothing allocated."""

    version = "1"
    params = (list(ACTIVATIONS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("activation", "size", "dtype", "backend")

    def time_dense_forward(self, activation, size, dtype, backend):
        x, w, b, out, kept = layer(size, dtype)
        fg.kernels.dense_forward(x, w, b, activation, out=out, kept=kept, backend=backend)

    def time_dense_backward(self, activation, size, dtype, backend):
        x, w, _, kept, d_out = layer(size, dtype)
        fg.kernels.dense_backward(x, w, kept, d_out, activation, out=gradients(size, dtype), backend=backend)


class LossGradient:
    """Each loss with its gradient."""

    version = "1"
    params = (list(LOSSES), list(SIZES), DTYPES, BACKENDS)
    param_names = ("loss", "size", "dtype", "backend")

    def time_loss_gradient(self, loss, size, dtype, backend):
        scores, targets, out = scores_and_targets(loss, size, dtype)
        fg.kernels.loss_gradient(scores, targets, loss, out=out, backend=backend)


class ParameterUpdate:
    """Each optimizer's step on the weights of a layer."""

    version = "1"
    params = (list(OPTIMIZERS), list(SIZES), DTYPES, BACKENDS)
    param_names = ("optimizer", "size", "dtype", "backend")

    def time_parameter_update(self, rule, size, dtype, backend):
        w, g, states, optimizer = parameters(rule, size, dtype)
        fg.kernels.parameter_update(w, g, states, optimizer, backend=backend)
