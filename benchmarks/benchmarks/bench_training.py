"""Steps of training, as calls of ``train_on_batch`` and inside ``fit``."""

from __future__ import annotations

import functools
import itertools

from .networks import NETWORKS, build_model, problem


@functools.lru_cache(maxsize=1)
def model_and_batches(name, dtype, backend):
    """Return a model and an endless iterator over its batches.

    Cached here instead of made in ``setup``: for a benchmark with a ``setup`` asv times every call by itself,
    which says nothing about calls of some microseconds.
    """
    drawn = problem(NETWORKS[name])
    batches = [(X.astype(dtype), labels) for X, labels in drawn.batches()]
    return build_model(drawn, dtype=dtype, backend=backend), itertools.cycle(batches)


class TrainOnBatch:
    """One step by one call."""

    version = "1"
    params = (list(NETWORKS), ["float32", "float64"], ["cython", "numpy"])
    param_names = ("network", "dtype", "backend")

    def time_train_on_batch(self, name, dtype, backend):
        model, batches = model_and_batches(name, dtype, backend)
        model.train_on_batch(*next(batches))


class FitEpoch:
    """An epoch inside ``fit``, shuffled as by default; divide by the number of batches for a step."""

    version = "1"
    params = (list(NETWORKS), ["float32", "float64"])
    param_names = ("network", "dtype")

    def time_epoch(self, name, dtype):
        model, _ = model_and_batches(name, dtype, "cython")
        drawn = problem(NETWORKS[name])
        model.fit(drawn.X, drawn.labels, epochs=1, batch_size=drawn.network.batch_size)


class Predict:
    """Probabilities for a row, where the call counts, and for a data set, where the kernels do."""

    version = "1"
    params = (list(NETWORKS), ["row", "data set"])
    param_names = ("network", "rows")

    def time_predict(self, name, rows):
        model, _ = model_and_batches(name, "float32", "cython")
        X = problem(NETWORKS[name]).X
        model.predict(X[:1] if rows == "row" else X)
