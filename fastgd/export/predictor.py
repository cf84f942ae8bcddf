"""What is exported: all that turns a row into a prediction, and nothing of how it was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import activations
from .._formula import Formula, expm1
from .._formula.language import read
from ..layers import Dense

if TYPE_CHECKING:
    import numpy

    from .._kernels import Array

__all__ = ["LINK_FORMULAS", "Predictor"]


def _expm1_link(z: float) -> float:
    return expm1(z)


# The links of one score each; softmax, which needs a row, is written out for each target.
LINK_FORMULAS: dict[str, Formula] = {
    "linear": activations.linear.formula,
    "sigmoid": activations.sigmoid.formula,
    "exp": activations.exp.formula,
    "expm1": read(_expm1_link),
}


@dataclass(frozen=True)
class Predictor:
    """A trained model as it is exported.

    Attributes
    ----------
    n_inputs : int
    layers : sequence of Dense
    weights : list of ndarray
        Of all layers, one after another, of the model's dtype.
    link : str
        What turns the last layer's output into predictions.
    dtype : numpy.dtype
    title : str
        What the file says that it holds.
    """

    n_inputs: int
    layers: Sequence[Dense]
    weights: Sequence[Array]
    link: str
    dtype: numpy.dtype[Any]
    title: str

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].units
