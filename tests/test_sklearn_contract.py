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
    yield ours.MLPClassifier(max_iter=100, accept_new_classes=True)
    yield ours.MLPAutoencoder(2, (8,), max_iter=20)
    yield ours.SGDClassifier()
    yield ours.SGDClassifier(
        "softmax_cross_entropy", batch_size=64, learning_rate="adaptive", eta0=0.1, accept_new_classes=True
    )
    yield ours.SGDRegressor()
    yield ours.SGDRegressor(batch_size=64, learning_rate="adaptive", eta0=0.1)


def expected_failures(estimator):
    """None but those that are named, with the reason."""
    if isinstance(estimator, (ours.SGDClassifier, ours.SGDRegressor)) and estimator.batch_size == 1:
        # scikit-learn lists these two for its own classes, too.
        reason = "a step for a row twice as heavy is not the two steps of a row that is there twice"
        return {
            "check_sample_weight_equivalence_on_dense_data": reason,
            "check_sample_weight_equivalence_on_sparse_data": reason,
        }
    return {}


# pyproject.toml makes every expected failure that passes an error;
# scikit-learn has an argument for that since 1.7.
@parametrize_with_checks(list(estimators()), expected_failed_checks=expected_failures)
def test_an_estimator_keeps_the_contract(estimator, check):
    """Of whatever version is installed."""
    check(estimator)
