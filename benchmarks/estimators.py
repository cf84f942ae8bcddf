"""Time the estimators of ``fastgd.sklearn`` beside scikit-learn's of the same names, at equal settings.

    python benchmarks/estimators.py
    python benchmarks/estimators.py --threads 2 --rounds 7 --markdown estimators.md
    python benchmarks/estimators.py --scaling

Whole fits of so many epochs with the same parameters, checks of input and all: each from the same random state. Before
anything is timed both have to have arrived at the same accuracy on the rows they learnt from, to two of a hundred. With
``--threads 1`` the process has one core, with 2 two; scikit-learn's products use what there is, and so does fastgd.
Interleaved in rounds, ratios within a round.

``--scaling``: cross-validations and a search with joblib's threads on two cores over the same with one, each fit on one
thread. 2 would be twice as fast. joblib looks every hundredth of a second whether the last fit is done, which a search
of a few short fits feels.

Rows of 60,000 x 784 are drawn, since time hardly depends on what is on a picture: they stand for Fashion-MNIST.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environment import available_cores, limit_threads
from rounds import figure, interleave, ratios, spread
from tables import markdown

# Threads of the other library's products look for more work for as long as this, and would take time from the next fit.
REST_SECONDS = 0.15

# Brief fits are done for so long in a row: once alone, a fit of a millisecond would be one from caches that the other
# library has filled.
SECONDS_IN_A_ROW = 0.05

# What two trainings that differ by rounding, or by the order of rows, may differ by.
SAME_ACCURACY = 0.02


@dataclass(frozen=True)
class Case:
    """A class of estimators, their parameters, and what they learn.

    Attributes
    ----------
    data : str
        Of `DATA`.
    kind : str
        The name that both libraries have it by.
    settings : dict
    """

    data: str
    kind: str
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Of data and kind."""
        return f"{self.kind}, {self.data}"

    def ours(self) -> Any:
        """The estimator of fastgd."""
        import fastgd.sklearn

        return getattr(fastgd.sklearn, self.kind)(**self.settings)

    def theirs(self) -> Any:
        """The estimator of scikit-learn."""
        from sklearn import linear_model, neural_network

        module = neural_network if self.kind.startswith("MLP") else linear_model
        return getattr(module, self.kind)(**self.settings)


@functools.cache
def digits():
    """Return 1,797 rows of 64 columns and ten classes."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16, y


@functools.cache
def breast_cancer():
    """Return 569 rows of 30 columns and two classes."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import scale

    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@functools.cache
def drawn_pictures():
    """Return 60,000 rows of 784 columns, float32, and ten classes that a linear model tells apart for the most part."""
    import numpy as np

    random = np.random.default_rng(0)
    X = random.random((60_000, 784), np.float32)
    scores = (X - np.float32(0.5)) @ random.standard_normal((784, 10), np.float32)
    return X, (scores + random.gumbel(size=scores.shape)).argmax(axis=1)


@functools.cache
def text():
    """Return 20,000 sparse rows of 100,000 columns, a hundred of them each, and two classes."""
    from benchmarks.bench_sparse import documents

    return documents()


@functools.cache
def little_text():
    """Return 2,000 of these rows."""
    from benchmarks.bench_sparse import documents

    return documents(2000)


DATA = {
    "digits": digits,
    "breast cancer": breast_cancer,
    "60,000 x 784": drawn_pictures,
    "sparse text": text,
    "2,000 sparse texts": little_text,
}

# Nothing ends a fit but its number of epochs.
WHOLE = {"tol": 0.0, "n_iter_no_change": 10_000, "random_state": 0}
LINEAR = {"tol": None, "random_state": 0}

CASES = {
    case.name: case
    for case in (
        Case("digits", "MLPClassifier", {"max_iter": 50, **WHOLE}),
        Case("breast cancer", "MLPClassifier", {"max_iter": 100, **WHOLE}),
        Case("60,000 x 784", "MLPClassifier", {"max_iter": 2, **WHOLE}),
        Case("2,000 sparse texts", "MLPClassifier", {"max_iter": 1, **WHOLE}),
        Case("sparse text", "MLPClassifier", {"max_iter": 1, **WHOLE}),
        Case("digits", "SGDClassifier", {"max_iter": 50, **LINEAR}),
        Case("breast cancer", "SGDClassifier", {"max_iter": 100, **LINEAR}),
        Case("60,000 x 784", "SGDClassifier", {"max_iter": 2, **LINEAR}),
        Case("sparse text", "SGDClassifier", {"max_iter": 5, "loss": "log_loss", **LINEAR}),
    )
}


def timed_fit(make: Callable[[], Any], X: Any, y: Any) -> Callable[[], float]:
    """Return a work that fits new estimators and tells the seconds that one took."""

    def work() -> float:
        seconds, n_fits = 0.0, 0
        if len(available_cores()) > 1:
            time.sleep(REST_SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while seconds < SECONDS_IN_A_ROW:
                estimator, start = make(), time.perf_counter()
                estimator.fit(X, y)
                seconds += time.perf_counter() - start
                n_fits += 1
        return seconds / n_fits

    return work


def check_accuracy(case: Case) -> None:
    """Refuse to compare what has not learnt the same.

    Raises
    ------
    RuntimeError
    """
    X, y = DATA[case.data]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (make().fit(X, y).score(X, y) for make in (case.ours, case.theirs))
    if not abs(ours - theirs) <= SAME_ACCURACY:
        raise RuntimeError(f"{case.name}: accuracy {ours:.4f}, scikit-learn's {theirs:.4f}")


def compare(case: Case, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a fit by library, one value for each round."""
    X, y = DATA[case.data]()
    return interleave({"fastgd": timed_fit(case.ours, X, y), "scikit-learn": timed_fit(case.theirs, X, y)}, rounds)


def searches() -> dict[str, Callable[[], object]]:
    """Return what is done with one job and with two: cross-validations and a search, each fit on one thread."""
    from sklearn.model_selection import GridSearchCV, cross_val_score

    from fastgd.sklearn import MLPClassifier, SGDClassifier

    network = MLPClassifier(max_iter=200, **WHOLE, n_threads=1)
    linear = SGDClassifier(max_iter=1000, **LINEAR, n_threads=1)
    grid = {"alpha": [1e-5, 1e-4, 1e-3], "hidden_layer_sizes": [(50,), (100,)]}
    given = {"X": digits()[0], "y": digits()[1]}
    return {
        "cross_val_score, MLPClassifier, digits": lambda: cross_val_score(network, cv=10, **given),
        "GridSearchCV, MLPClassifier, digits": lambda: GridSearchCV(network, grid, cv=5, refit=False).fit(**given),
        "cross_val_score, SGDClassifier, digits": lambda: cross_val_score(linear, cv=10, **given),
    }


def with_jobs(work: Callable[[], object], n_jobs: int) -> Callable[[], float]:
    """Return a work that does it with so many of joblib's threads and tells the seconds that took."""
    import joblib

    def timed() -> float:
        with warnings.catch_warnings(), joblib.parallel_config("threading", n_jobs=n_jobs):
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

    return timed


def scaling(work: Callable[[], object], rounds: int) -> list[float]:
    """Return how many times as fast two jobs are as one, one value for each round."""
    works = {n_jobs: with_jobs(work, n_jobs) for n_jobs in (1, 2)}
    for timed in works.values():
        timed()
    times = interleave({str(n_jobs): timed for n_jobs, timed in works.items()}, rounds)
    return ratios(times["1"], times["2"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=1, help="and cores")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="searches with two jobs over those with one")
    parser.add_argument("--markdown", help="a file for the table")
    options = parser.parse_args()
    limit_threads(2 if options.scaling else options.threads)
    if options.scaling:
        if len(available_cores()) < 2:
            parser.error("there are no two cores here")
        for name, work in searches().items():
            print(f"{name:<42}two jobs are {spread(scaling(work, options.rounds))} times as fast as one", flush=True)
        return
    lines = []
    for name in options.cases:
        case = CASES[name]
        check_accuracy(case)
        times = compare(case, options.rounds)
        over = ratios(times["scikit-learn"], times["fastgd"])
        seconds = [figure(1e3 * statistics.median(times[library])) for library in times]
        print(f"{name:<34}{seconds[0]:>9} ms{seconds[1]:>10} ms  {spread(over)} times as fast", flush=True)
        lines.append([name, *seconds, figure(statistics.median(over))])
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(markdown(["fit", "fastgd, ms", "scikit-learn, ms", "times as fast"], lines))


if __name__ == "__main__":
    main()
