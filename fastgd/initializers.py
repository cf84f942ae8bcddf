"""Initial weights. An initializer turns uniform draws into a matrix, in float64; the model casts it.

To add one: a function of ``(draw, n_inputs, n_outputs)`` under ``@initializer``, where ``draw(count)`` gives that many
numbers in [0, 1), always the same for one seed and layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula import get
from .errors import refusal

if TYPE_CHECKING:
    from ._kernels import Array

__all__ = ["INITIALIZERS", "glorot_uniform", "read_initializer", "zeros"]

Initializer = Callable[[Callable[[int], Any], int, int], Any]

INITIALIZERS: dict[str, Initializer] = {}


def initializer(function: Initializer) -> Initializer:
    """Register an initializer under its name."""
    INITIALIZERS[function.__name__] = function
    return function


@initializer
def glorot_uniform(draw: Callable[[int], Array], n_inputs: int, n_outputs: int) -> Array:
    """Uniform on [-limit, limit) with limit = sqrt(6 / (n_inputs + n_outputs)), row by row.

    Parameters
    ----------
    draw : callable
        ``draw(count)`` gives that many uniform numbers in [0, 1), float64.
    n_inputs, n_outputs : int

    Returns
    -------
    ndarray of shape (n_inputs, n_outputs), float64

    References
    ----------
    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import glorot_uniform
    >>> glorot_uniform(lambda count: np.full(count, 0.75), 2, 1)
    array([[0.70710678],
           [0.70710678]])
    """
    limit = np.sqrt(6.0 / (n_inputs + n_outputs))
    W = draw(n_inputs * n_outputs).reshape(n_inputs, n_outputs)
    # In place: at this moment a layer's draws are the largest memory there is.
    W *= 2.0
    W -= 1.0
    W *= limit
    return W


@initializer
def zeros(draw: Callable[[int], Array], n_inputs: int, n_outputs: int) -> Array:
    """All zero. Enough for a single layer; in a deeper network all units of a layer would stay the same.

    Parameters
    ----------
    draw : callable
        Not used.
    n_inputs, n_outputs : int

    Returns
    -------
    ndarray of shape (n_inputs, n_outputs), float64

    Examples
    --------
    >>> from fastgd.initializers import zeros
    >>> zeros(None, 1, 2)
    array([[0., 0.]])
    """
    return np.zeros((n_inputs, n_outputs))


def read_initializer(given: Any) -> str:
    """The name of an initializer, if it is one.

    Raises
    ------
    ValueError
        For an unknown name; lists the nearest and all names.
    TypeError
        For anything but a name.
    """
    if not isinstance(given, str):
        expected = f"a name, one of {', '.join(INITIALIZERS)}"
        raise TypeError(refusal("initializer", repr(given), expected, "set other weights with model.set_weights"))
    get(INITIALIZERS, given, kind="initializer")
    return given
