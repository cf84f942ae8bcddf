"""What Numba adds: formulas of one's own beside the built-in ones they copy, and models inside compiled loops."""

from __future__ import annotations

import functools
from math import exp, expm1

import numpy as np

from .calls import Call

FORMULAS = ["sigmoid", "tanh", "elu", "mean_squared_error", "momentum"]
N_CALLS = 1000


def declare(name):
    """Declare what does the same as a formula of fastgd's; derivatives are left to be worked out."""
    import fastgd as fg

    if name == "sigmoid":

        @fg.activation
        def own_sigmoid(z):
            return 1.0 / (1.0 + exp(-z))

        return own_sigmoid
    if name == "tanh":

        @fg.activation
        def own_tanh(z):
            e = expm1(-2.0 * abs(z))
            return (e if z < 0.0 else -e) / (e + 2.0)

        return own_tanh
    if name == "elu":

        @fg.activation
        def own_elu(z, *, alpha=1.0):
            return alpha * expm1(z) if z < 0.0 else z

        return own_elu
    if name == "mean_squared_error":

        @fg.loss(target="real")
        def own_squared_error(score, target):
            return (score - target) ** 2

        return own_squared_error

    @fg.optimizer(source="Polyak 1964")
    def own_momentum(w, g, b, *, learning_rate=1e-4, momentum=0.9, gain=1.0):
        b = momentum * b + gain * g
        return w - learning_rate * b, b

    return own_momentum


def model_with(name, which):
    """A network in which one formula is built in or one's own."""
    import fastgd as fg

    given = declare(name) if which == "own" else name
    activation = given if name in ("sigmoid", "tanh", "elu") else "relu"
    loss = given if name == "mean_squared_error" else "mean_squared_error"
    optimizer = fg.SGD(1e-4, momentum=0.9)
    if name == "momentum" and which == "own":
        optimizer = fg.optimizers.Optimizer(given)
    layers = [fg.Dense(64, activation=activation), fg.Dense(64, activation=activation), fg.Dense(64)]
    return fg.Sequential(layers, loss=loss, optimizer=optimizer, n_threads=1).build(64)


class OwnFormula(Call):
    """A step of 64-64-64-64, 64 rows, with one formula built in or one's own."""

    params = (FORMULAS, ["built in", "own"])
    param_names = ("formula", "which")

    def prepare(self, name, which):
        X, y = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
        return functools.partial(model_with(name, which).train_on_batch, X, y)


class OwnFormulaCompilation:
    """Seconds until a model with an activation of one's own is built, Numba's import included."""

    unit = "s"
    timeout = 120

    def track_seconds(self):
        import time

        start = time.perf_counter()
        model_with("sigmoid", "own")
        return time.perf_counter() - start


class InCompiledCode(Call):
    """A thousand calls inside a nopython function: 4-32-32-2, one row, or a step of 32 rows."""

    params = (["predict", "train"],)
    param_names = ("call",)

    def prepare(self, call):
        import numba

        import fastgd as fg

        layers = [fg.Dense(32, activation="tanh"), fg.Dense(32, activation="tanh"), fg.Dense(2)]
        model = fg.Sequential(layers, loss="softmax_cross_entropy", n_threads=1).build(4)
        x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
        second = np.empty(2, np.float32) if call == "predict" else (x[:, 0] > 0).astype(np.intp)
        first = x[0].copy() if call == "predict" else x
        function = fg.jit.predictor(model) if call == "predict" else fg.jit.trainer(model)

        @numba.njit(nogil=True)
        def loop(first, second):
            for _ in range(N_CALLS):
                function(first, second)

        return functools.partial(loop, first, second)
