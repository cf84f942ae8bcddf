"""Penalties on the weights of a layer. They are part of the reported loss; biases are never penalised."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import refusal

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["L1", "L2", "ElasticNet", "Penalty"]


@dataclass(frozen=True)
class Penalty:
    """l1 ||W||_1 + l2/2 ||W||^2; what `L1`, `L2` and `ElasticNet` have in common.

    Parameters
    ----------
    l1, l2 : float
        At least 0.

    Raises
    ------
    ValueError
        If one is negative or not finite.

    Examples
    --------
    >>> from fastgd.penalties import Penalty
    >>> Penalty(l1=0.5, l2=0.0)([[1.0, -2.0]])
    1.5
    """

    l1: float
    l2: float

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            value = getattr(self, name)
            number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else -1.0
            if not 0.0 <= number < math.inf:
                what, expected = f"{type(self).__name__}: {name}", "a finite number of at least 0"
                raise ValueError(refusal(what, repr(value), expected, f"pass for example {name}=1e-4"))
            object.__setattr__(self, name, number)

    def __call__(self, W: npt.ArrayLike) -> float:
        """The penalty on one weight matrix, in float64.

        Parameters
        ----------
        W : array_like
        """
        weights = np.asarray(W)
        l1 = self.l1 * float(np.abs(weights).sum(dtype=np.float64)) if self.l1 else 0.0
        # vdot would add in the dtype of the weights; einsum makes no array of the squares.
        flat = weights.reshape(-1)
        l2 = 0.5 * self.l2 * float(np.einsum("i,i->", flat, flat, dtype=np.float64)) if self.l2 else 0.0
        return l1 + l2


class L1(Penalty):
    """l1 ||W||_1: drives weights to exactly nothing or near it.

    Parameters
    ----------
    l1 : float
        At least 0.

    Raises
    ------
    ValueError
        If it is negative or not finite.

    Notes
    -----
    The subgradient l1 sign(W) is used, which is 0 at 0. Gradient steps approach zero but rarely hit it.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.L1(0.5)([[1.0, -2.0]])
    1.5
    """

    def __init__(self, l1: float) -> None:
        super().__init__(l1, 0.0)

    def __repr__(self) -> str:
        return f"L1({self.l1!r})"


class L2(Penalty):
    """l2/2 ||W||^2: keeps weights small.

    Parameters
    ----------
    l2 : float
        At least 0.

    Raises
    ------
    ValueError
        If it is negative or not finite.

    Notes
    -----
    The gradient is l2 W. With plain gradient descent this is the same as weight decay by learning_rate * l2;
    with an optimizer that scales gradients, such as Adam, it is not.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.L2(0.5)([[1.0, -2.0]])
    1.25
    """

    def __init__(self, l2: float) -> None:
        super().__init__(0.0, l2)

    def __repr__(self) -> str:
        return f"L2({self.l2!r})"


class ElasticNet(Penalty):
    """l1 ||W||_1 + l2/2 ||W||^2 (Zou & Hastie 2005).

    Parameters
    ----------
    l1, l2 : float
        At least 0.

    Raises
    ------
    ValueError
        If one is negative or not finite.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.ElasticNet(l1=0.5, l2=0.5)([[1.0, -2.0]])
    2.75
    """

    def __init__(self, l1: float, l2: float) -> None:
        super().__init__(l1, l2)
