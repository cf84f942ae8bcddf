"""Classes by their places among those that an estimator knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from sklearn.utils.multiclass import unique_labels

if TYPE_CHECKING:
    from .._kernels import Array

__all__ = ["places_of", "refuse_classes"]


def places_of(y: Any, classes: Array) -> Array:
    """Where each label stands among the sorted classes, intp.

    Raises
    ------
    ValueError
        If one does not; in the words of scikit-learn.
    """
    y = np.asarray(y).ravel()
    places = np.searchsorted(classes, y).astype(np.intp)
    if (classes[np.minimum(places, len(classes) - 1)] != y).any():
        refuse_classes(unique_labels(y), classes)
    return places


def refuse_classes(given: Array, classes: Array) -> NoReturn:
    """Say that some are not known."""
    raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {given}.")
