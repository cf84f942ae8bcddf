"""What is exported: all that turns a row into a prediction, and nothing of how it was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import activations
from .._formula import Formula, expm1
from .._formula.language import read
from ..layers import Layer

if TYPE_CHECKING:
    import numpy

    from .._kernels import Array

__all__ = ["LINKS_OF_ESTIMATORS", "LINK_FORMULAS", "SHARE_LINKS", "Predictor"]


def _expm1_link(z: float) -> float:
    return expm1(z)


def _modified_huber_link(z: float) -> float:
    return 1.0 if z > 1.0 else (0.0 if z < -1.0 else 0.5 * z + 0.5)


# The links of one score each. Those that see a row are written out for each format.
LINK_FORMULAS: dict[str, Formula] = {
    "linear": activations.linear.formula,
    "sigmoid": activations.sigmoid.formula,
    "exp": activations.exp.formula,
    "expm1": read(_expm1_link),
    "modified_huber": read(_modified_huber_link),
}

# Links of one class against the rest, for each of several classes, and the links of one score that they bring to a sum
# of 1. Where all are zero, all classes are taken to be as likely.
SHARE_LINKS = {"sigmoid_shares": "sigmoid", "modified_huber_shares": "modified_huber"}

# What no loss has by itself: scikit-learn's probabilities of linear classifiers.
LINKS_OF_ESTIMATORS = {"modified_huber", *SHARE_LINKS}


@dataclass(frozen=True)
class Predictor:
    """A trained model as it is exported.

    Attributes
    ----------
    n_inputs, n_outputs : int
    layers : sequence of Layer
    weights : list of ndarray
        Of all layers, one after another, as `get_weights` gives them.
    link : str
        What turns the last layer's output into predictions.
    group : int
        How many neighbouring outputs belong together, for links that see them so.
    dtype : numpy.dtype
    title : str
        What the file says that it holds.
    """

    n_inputs: int
    n_outputs: int
    layers: Sequence[Layer]
    weights: Sequence[Array]
    link: str
    group: int
    dtype: numpy.dtype[Any]
    title: str
