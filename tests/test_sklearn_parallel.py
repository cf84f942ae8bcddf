"""A search over several workers finds what it finds with one: by threads, by processes, and on a cluster of dask's."""

from __future__ import annotations

import contextlib
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("fastgd._kernels.cython_")

import joblib  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402

from fastgd.sklearn import MLPClassifier  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
Y = (X[:, 0] > -0.5) + (X[:, 1] > 0.5).astype(int)
OPTIONS = {"solver": ["adam", "lion"], "hidden_layer_sizes": [(4,), (8, 4)]}


def thread_of(estimator, X, y):
    """By the number that the system gives it, of whatever process."""
    return threading.get_native_id()


def search():
    """Scores of a search, and the probabilities that the best network gives; the threads that did the work."""
    network = MLPClassifier(max_iter=10, dropout=0.1, early_stopping=True, random_state=0)
    scoring = {"accuracy": "accuracy", "thread": thread_of}
    found = GridSearchCV(network, OPTIONS, cv=3, scoring=scoring, refit="accuracy").fit(X, Y)
    threads = np.stack([found.cv_results_[f"split{k}_test_thread"] for k in range(3)])
    return (found.cv_results_["mean_test_accuracy"], found.predict_proba(X)), set(threads.ravel())


@contextlib.contextmanager
def dask_cluster():
    """Two workers within this process: what is sent to them is pickled all the same."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        yield


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_a_search_finds_the_same(backend):
    """To the last bit, though none of it is done here."""
    expected, here = search()
    assert here == {threading.get_native_id()}
    with warnings.catch_warnings():
        # Dask's and loky's own, about the machine.
        warnings.simplefilter("ignore")
        with dask_cluster() if backend == "dask" else contextlib.nullcontext():
            with joblib.parallel_config(backend, n_jobs=2):
                found, elsewhere = search()
    assert not elsewhere & here
    for a, b in zip(expected, found, strict=True):
        assert a.tobytes() == b.tobytes()
