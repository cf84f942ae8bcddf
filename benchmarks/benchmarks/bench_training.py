"""Steps of training, as calls of ``train_on_batch`` and inside ``fit``, and predictions.

Where there is a ``setup``, asv times every call by itself, hence the many repeats; and it runs ``setup``
before each, hence the caches.
"""

from __future__ import annotations

import functools
import itertools

from .networks import NETWORKS, build_model, problem


@functools.lru_cache(maxsize=1)
def trained_model(name, dtype="float32", backend="cython"):
    """Return a model after its first steps, and an endless iterator over its batches."""
    drawn = problem(NETWORKS[name])
    batches = itertools.cycle([(X.astype(dtype), labels) for X, labels in drawn.batches()])
    model = build_model(drawn, dtype=dtype, backend=backend)
    for _ in range(2):
        model.train_on_batch(*next(batches))
    return model, batches


class TrainOnBatch:
    """One step by one call."""

    version = "1"
    params = (list(NETWORKS), ["float32", "float64"], ["cython", "numpy"])
    param_names = ("network", "dtype", "backend")
    repeat = (3, 500, 3.0)

    def setup(self, name, dtype, backend):
        self.model, self.batches = trained_model(name, dtype, backend)

    def time_train_on_batch(self, name, dtype, backend):
        self.model.train_on_batch(*next(self.batches))


class FitEpoch:
    """An epoch inside ``fit``, shuffled as by default; divide by the number of batches for a step."""

    version = "1"
    params = (list(NETWORKS), ["float32", "float64"])
    param_names = ("network", "dtype")
    repeat = (3, 200, 3.0)

    def setup(self, name, dtype):
        self.model, _ = trained_model(name, dtype)
        self.problem = problem(NETWORKS[name])

    def time_epoch(self, name, dtype):
        batch_size = self.problem.network.batch_size
        self.model.fit(self.problem.X, self.problem.labels, epochs=1, batch_size=batch_size)


class Predict:
    """Probabilities for a row, where the call counts, and for a data set, where the kernels do."""

    version = "1"
    params = (list(NETWORKS), ["row", "data set"])
    param_names = ("network", "rows")
    repeat = (3, 500, 3.0)

    def setup(self, name, rows):
        self.model, _ = trained_model(name)
        X = problem(NETWORKS[name]).X
        self.X = X[:1] if rows == "row" else X
        self.model.predict(self.X)

    def time_predict(self, name, rows):
        self.model.predict(self.X)
