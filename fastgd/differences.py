"""Derivatives by finite differences, of functions that have no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

EPS = float(np.finfo(np.float64).eps)

# Where the error of truncation, of order h or h^2, is about as large as that of rounding, of order eps / h.
FORWARD_STEP, CENTRAL_STEP = EPS ** (1 / 2), EPS ** (1 / 3)


def forward_gradient(function: Callable[[Array], float], x: Array, value: float) -> Array:
    """The gradient to about half of the digits, from one more value for each component.

    Parameters
    ----------
    function : callable
    x : ndarray of float64, shape (n,)
    value : float
        The function at x.
    """
    gradient = np.empty_like(x)
    for k, moved, step in _moved(x, FORWARD_STEP):
        gradient[k] = (function(moved(step)) - value) / step
    return gradient


def central_gradient(function: Callable[[Array], float], x: Array) -> Array:
    """The gradient to about two thirds of the digits, from two values for each component.

    Parameters
    ----------
    function : callable
    x : ndarray of float64, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> central_gradient(lambda x: x[0] ** 2 * x[1], np.array([3.0, 2.0])).round(8)
    array([12.,  9.])
    """
    gradient = np.empty_like(x)
    for k, moved, step in _moved(x, CENTRAL_STEP):
        gradient[k] = (function(moved(step)) - function(moved(-step))) / (2.0 * step)
    return gradient


def _moved(x: Array, relative_step: float) -> Any:
    """For each component its number, what moves it, and by how much it can be moved and back without rounding."""
    for k, component in enumerate(x.tolist()):
        step = relative_step * max(1.0, abs(component))
        step = (component + step) - component

        def moved(by: float, k: int = k) -> Array:
            other = x.copy()
            other[k] += by
            return other

        yield k, moved, step
