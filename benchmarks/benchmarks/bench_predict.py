"""Predictions: of one row, where the call counts, and of many, where the kernels do."""

from __future__ import annotations

import functools

import numpy as np
from environment import available_cores

from .calls import Call
from .networks import NETWORKS, build_model, problem

N_ROWS = 1024


def model_and_rows(name, n_rows, n_threads=1):
    """Return a model at its initial weights, rows for it, and room for their probabilities."""
    drawn = problem(NETWORKS[name])
    model = build_model(drawn, n_threads=n_threads)
    X = np.resize(drawn.X, (n_rows, drawn.X.shape[1]))
    return model, X, np.empty((n_rows, model.n_outputs), np.float32)


class Latency(Call):
    """One row, with a new array for the result or into the same one again."""

    params = (list(NETWORKS), ["predict(X)", "predict(X, out=out)"])
    param_names = ("network", "call")

    def prepare(self, name, call):
        model, X, out = model_and_rows(name, 1)
        options = {"out": out} if "out" in call else {}
        return functools.partial(model.predict, X, **options)


class Throughput(Call):
    """1,024 rows in one call."""

    params = (list(NETWORKS), [1, 2, 4])
    param_names = ("network", "n_threads")

    def prepare(self, name, n_threads):
        if n_threads > len(available_cores()):
            raise NotImplementedError(f"there are no {n_threads} cores here")
        model, X, out = model_and_rows(name, N_ROWS, n_threads)
        return functools.partial(model.predict, X, out=out)
