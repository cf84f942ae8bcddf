"""Constraints on the weights of a layer, which hold after each step; biases are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula.interval import check
from .errors import refusal

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["Constraint", "MaxNorm", "NonNegative"]


@dataclass(frozen=True)
class Constraint:
    """What `MaxNorm` and `NonNegative` have in common; with both, first no weight below zero, then the norm.

    Parameters
    ----------
    nonnegative : bool
    max_norm : float
        At least 0; 0 is no limit.

    Raises
    ------
    ValueError
        If `max_norm` is negative or not finite.

    Examples
    --------
    >>> from fastgd.constraints import Constraint
    >>> Constraint(nonnegative=True, max_norm=5.0)([[6.0, 1.0], [8.0, -1.0]])
    array([[3., 1.],
           [4., 0.]])
    """

    nonnegative: bool = False
    max_norm: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.nonnegative, bool):
            what = f"{type(self).__name__}: nonnegative"
            raise TypeError(refusal(what, repr(self.nonnegative), "True or False", "pass nonnegative=True"))
        limit = check(f"{type(self).__name__}: max_norm", self.max_norm, "[0, inf)")
        object.__setattr__(self, "max_norm", limit)

    def __call__(self, W: npt.ArrayLike) -> Array:
        """The nearest weights that keep to the constraint.

        Parameters
        ----------
        W : array_like of shape (n_inputs, n_outputs)

        Returns
        -------
        ndarray
            Of the dtype of W, but at least float32.
        """
        weights = np.asarray(W)
        weights = weights.astype(np.result_type(weights, np.float32))
        if self.nonnegative:
            np.maximum(weights, 0, out=weights)
        if self.max_norm:
            norms = np.sqrt(np.einsum("ij,ij->j", weights, weights, dtype=np.float64))
            weights *= (self.max_norm / np.maximum(norms, self.max_norm)).astype(weights.dtype)
        return weights


class NonNegative(Constraint):
    """No weight below zero: those that a step would take there become zero.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.NonNegative()([[1.0, -2.0]])
    array([[1., 0.]])
    >>> fg.Dense(8, constraint=fg.NonNegative())
    Dense(8, constraint=NonNegative())
    """

    def __init__(self) -> None:
        super().__init__(True, 0.0)

    def __repr__(self) -> str:
        return "NonNegative()"


class MaxNorm(Constraint):
    """The weights into each unit, a column of W, have a Euclidean norm of at most `max_norm`.

    Parameters
    ----------
    max_norm : float
        Above 0.
    nonnegative : bool, default False
        Also no weight below zero.

    Raises
    ------
    ValueError
        If it is not above 0 or not finite.

    Notes
    -----
    A column that is longer is multiplied by max_norm / norm. Keras's MaxNorm of a Dense layer is the same but for an
    epsilon of 1e-7 added to the norm.

    References
    ----------
    Srebro & Shraibman, Rank, trace-norm and max-norm, COLT 2005; with dropout: Hinton et al., arXiv:1207.0580, 2012.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.MaxNorm(5.0)([[6.0, 3.0], [8.0, -4.0]])
    array([[ 3.,  3.],
           [ 4., -4.]])
    """

    def __init__(self, max_norm: float, nonnegative: bool = False) -> None:
        check("MaxNorm: max_norm", max_norm, "(0, inf)")
        super().__init__(nonnegative, max_norm)

    def __repr__(self) -> str:
        return f"MaxNorm({self.max_norm!r}{', nonnegative=True' * self.nonnegative})"


def read_constraint(name: str, given: Any) -> Constraint | None:
    """A constraint or None.

    Raises
    ------
    TypeError
        For anything else.
    """
    if given is not None and not isinstance(given, Constraint):
        raise TypeError(refusal(name, repr(given), "MaxNorm, NonNegative or None", "pass for example fg.MaxNorm(3.0)"))
    return given
