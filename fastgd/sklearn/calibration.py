"""Probabilities fitted to scores of rows that were not learnt from, by scikit-learn's `CalibratedClassifierCV`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils._param_validation import StrOptions

from ..errors import refusal

if TYPE_CHECKING:
    from .._kernels import Array

__all__ = [
    "METHODS",
    "check_held_out",
    "fit_probabilities",
    "is_calibrated",
    "probabilities_of",
    "refuse_in_partial_fit",
]

# "temperature" is there from scikit-learn 1.8 on.
METHODS = next(
    each for each in CalibratedClassifierCV._parameter_constraints["method"] if isinstance(each, StrOptions)
)


class Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose rows are the scores themselves.

    It stands for the one that the scores are of: a calibrator that held that one would be part of it, and hold itself.

    Parameters
    ----------
    n_classes : int
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    @property
    def classes_(self) -> Array:
        """Numbers stand for them."""
        return np.arange(self.n_classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Nothing is to be learnt."""
        return self

    def decision_function(self, X: Array) -> Array:
        """The scores; of two classes the second one's."""
        return X[:, 0] if X.shape[1] == 1 else X


def is_calibrated(estimator: Any) -> bool:
    """Whether probabilities are calibrated, whatever has been set since the fit; before it, whether they are to be."""
    return hasattr(estimator, "calibrator_") if hasattr(estimator, "classes_") else estimator.calibration is not None


def refuse_in_partial_fit(estimator: Any) -> None:
    """Refuse calibration where no rows are held out.

    Raises
    ------
    ValueError
    """
    if estimator.calibration is not None:
        expected, remedy = "None in partial_fit, which holds out no rows", "use fit, or wrap it once it is trained"
        raise ValueError(refusal("calibration", repr(estimator.calibration), expected, remedy))


def check_held_out(labels: Array, classes: Array) -> None:
    """Refuse rows that not every class is among.

    Parameters
    ----------
    labels : ndarray of intp (n,)
        Places in `classes`.
    classes : ndarray

    Raises
    ------
    ValueError
    """
    present = np.unique(labels)
    if len(present) < len(classes) or len(classes) < 2:
        got = f"rows of {classes[present].tolist()} held out, of classes {classes.tolist()}"
        remedy = "increase validation_fraction, or pass X_val and y_val"
        raise ValueError(refusal("calibration", got, "two classes or more, and rows of each", remedy))


def fit_probabilities(method: str, scores: Array, labels: Array, sample_weight: Array | None) -> CalibratedClassifierCV:
    """What turns scores into probabilities.

    Parameters
    ----------
    method : str
        Of `METHODS`.
    scores : ndarray of shape (n, n_classes) or (n, 1)
    labels : ndarray of intp (n,)
        Places of the classes, all of which are there.
    sample_weight : ndarray (n,) or None
    """
    # A single fold, which all rows are in: nothing is trained in it.
    rows, n_classes = np.arange(len(labels)), int(labels.max()) + 1
    calibrator = CalibratedClassifierCV(Scores(n_classes), method=method, cv=[(rows, rows)], ensemble=False)
    # Where weights go within is nothing that a user has to ask for.
    with config_context(enable_metadata_routing=False):
        return calibrator.fit(scores.astype(np.float64), labels, sample_weight)


def probabilities_of(calibrator: CalibratedClassifierCV, scores: Array) -> Array:
    """Of shape (n, n_classes), in the precision of the scores."""
    scores = scores[:, None] if scores.ndim == 1 else scores
    probabilities: Array = calibrator.predict_proba(scores.astype(np.float64))
    return probabilities.astype(scores.dtype, copy=False)
