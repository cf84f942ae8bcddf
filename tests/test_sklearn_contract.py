"""scikit-learn's own checks of estimators, for each of ours."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from fastgd import sklearn as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # What scikit-learn says of its own checks, such as of one that wants SciPy's array API switched on.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


def estimators():
    """Of each class one as it comes, and one that goes other ways."""
    yield ours.MLPClassifier(max_iter=100)
    yield ours.MLPClassifier(max_iter=100, dialect=None, loss="hinge")
    yield ours.MLPClassifier((8,), solver="lbfgs", alpha=1.0)
    yield ours.MLPRegressor(max_iter=100)
    yield ours.MLPRegressor("huber", (8,), solver="lbfgs")


def expected_failures(estimator):
    """None but those that are named, with the reason."""
    return {}


# pyproject.toml makes every expected failure that passes an error;
# scikit-learn has an argument for that since 1.7.
@parametrize_with_checks(list(estimators()), expected_failed_checks=expected_failures)
def test_an_estimator_keeps_the_contract(estimator, check):
    """Of whatever version is installed."""
    check(estimator)
