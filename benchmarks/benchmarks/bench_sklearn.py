"""The estimators' time over that of scikit-learn's of the same names, at equal settings: 0.1 is ten times as fast.

Measured as ``estimators.py`` does: interleaved in one process, ratios within a round.
"""

from __future__ import annotations

import statistics

from environment import available_cores, limit_threads
from estimators import CASES, check_accuracy, compare, scaling, searches
from rounds import median_ratio

ROUNDS = 3

SEARCHES = (
    "cross_val_score, MLPClassifier, digits",
    "GridSearchCV, MLPClassifier, digits",
    "cross_val_score, SGDClassifier, digits",
)


def limit(n_threads):
    """Take so many cores, if they are there."""
    if n_threads > len(available_cores()):
        raise NotImplementedError(f"there are no {n_threads} cores here")
    limit_threads(n_threads)


class Estimators:
    """Time of a fit."""

    version = "1"
    params = (list(CASES), [1, 2])
    param_names = ("fit", "n_threads")
    unit = "of scikit-learn's time"
    timeout = 300

    def setup(self, name, n_threads):
        limit(n_threads)
        try:
            check_accuracy(CASES[name])
        except ImportError as error:
            raise NotImplementedError("scikit-learn is not installed") from error

    def track_fit_over_scikit_learn(self, name, n_threads):
        times = compare(CASES[name], ROUNDS)
        return median_ratio(times["fastgd"], times["scikit-learn"])


class Searches:
    """Time of a search by two threads over that by one: a half is what cannot be bettered."""

    version = "2"
    params = SEARCHES
    param_names = ("search",)
    unit = "of the time with one job"
    timeout = 300

    def setup(self, name):
        limit(2)
        try:
            self.work = searches()[name]
        except ImportError as error:
            raise NotImplementedError("scikit-learn is not installed") from error

    def track_two_jobs_over_one(self, name):
        return 1 / statistics.median(scaling(self.work, ROUNDS))
