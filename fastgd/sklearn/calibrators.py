"""The numbers that scikit-learn's calibrators consist of, and calibrators of such numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import config_context

from .calibration import fit_probabilities

if TYPE_CHECKING:
    from sklearn.calibration import CalibratedClassifierCV

    from .._kernels import Array

__all__ = ["LEARNT", "calibrator_of", "n_calibrators", "numbers_of"]

SCALARS = {"sigmoid": ("a_", "b_"), "temperature": ("beta_",)}
CURVES = {"isotonic": ("X_thresholds_", "y_thresholds_")}
LEARNT = SCALARS | CURVES
"""For each method, the attributes of each of its calibrators: single numbers, or as many of one as of the other."""


def n_calibrators(method: str, n_classes: int) -> int:
    """One for each class, but where one does for all."""
    return 1 if n_classes == 2 or method == "temperature" else n_classes


def numbers_of(calibrator: CalibratedClassifierCV) -> list[dict[str, Array]]:
    """What each calibrator has learnt, by the names of `LEARNT`."""
    [fitted] = calibrator.calibrated_classifiers_
    return [
        {name: np.atleast_1d(getattr(each, name)).astype(np.float64) for name in LEARNT[calibrator.method]}
        for each in fitted.calibrators
    ]


def calibrator_of(method: str, n_classes: int, numbers: Sequence[Mapping[str, Array]]) -> CalibratedClassifierCV:
    """A calibrator with these numbers.

    Parameters
    ----------
    method : str
    n_classes : int
        At least 2.
    numbers : sequence of mapping
        As `numbers_of` gives them; none is empty.
    """
    # Its parts are private classes of scikit-learn's: they are had by fitting one to anything.
    labels = np.repeat(np.arange(n_classes), 2)
    scores = labels[:, None] - 0.5 if n_classes == 2 else np.eye(n_classes)[labels]
    with config_context(skip_parameter_validation=True), warnings.catch_warnings(action="ignore"):
        calibrator = fit_probabilities(method, scores, labels, None)
    [fitted] = calibrator.calibrated_classifiers_
    for part, learnt in zip(fitted.calibrators, numbers, strict=True):
        state: dict[str, Any] = dict(learnt) if method in CURVES else {name: array[0] for name, array in learnt.items()}
        if method in CURVES:
            state |= {"X_min_": state["X_thresholds_"][0], "X_max_": state["X_thresholds_"][-1]}
        # As a pickle would: of thresholds a function is made.
        part.__setstate__({**part.__getstate__(), **state})
    return calibrator
