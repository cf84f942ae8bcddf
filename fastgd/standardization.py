"""Columns brought to mean 0 and standard deviation 1 while a model learns, then folded into its first layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._kernels import Array

# Rows are looked through in pieces of this many elements, so that no temporary is as large as the data.
ELEMENTS_AT_ONCE = 1 << 18


def _pieces(X: Array) -> Iterator[slice]:
    n_rows = max(1, ELEMENTS_AT_ONCE // X.shape[1])
    for first in range(0, len(X), n_rows):
        yield slice(first, first + n_rows)


class Standardization:
    """Means and standard deviations of columns, gathered block by block, and what follows from them.

    Notes
    -----
    Blocks are merged as in Chan, Golub & LeVeque, Algorithms for computing the sample variance, The American
    Statistician 37, 1983: no difference of large squares is taken. Rows count with their sample weights, and the
    variance is that of the rows there are (``ddof=0``), as in scikit-learn's StandardScaler. A column that is constant
    but for rounding keeps its scale.

    Examples
    --------
    >>> from fastgd.standardization import Standardization
    >>> found = Standardization()
    >>> found.add(np.array([[1.0], [3.0]]), None)
    >>> found.add(np.array([[5.0]]), None)
    >>> found.mean, found.squares / found.total
    (array([3.]), array([2.66666667]))
    """

    def __init__(self) -> None:
        self.total, self.n_rows = 0.0, 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, X: Array, weights: Array | None) -> None:
        """Take a block into account."""
        for piece in _pieces(X):
            rows = X[piece].astype(np.float64)
            w = np.ones(len(rows)) if weights is None else weights[piece]
            total = float(w.sum())
            self.n_rows += len(rows)
            if total == 0.0:
                continue
            mean = w @ rows / total
            rows -= mean
            together, distance = self.total + total, mean - self.mean
            self.squares = self.squares + w @ rows**2 + distance**2 * (self.total * total / together)
            self.mean = self.mean + distance * (total / together)
            self.total = together

    @property
    def scale(self) -> Array:
        """Standard deviations; 1 for a column that is constant."""
        variance = self.squares / self.total
        # What n roundings of a constant can make of its variance.
        rounding = (self.n_rows * np.finfo(np.float64).eps * self.mean) ** 2
        return np.where(variance <= rounding, 1.0, np.sqrt(variance))

    def standardized(self, X: Array, dtype: np.dtype[Any]) -> Array:
        """(X - mean) / scale, in float64 until it is of that dtype."""
        result = np.empty(X.shape, dtype)
        scale = self.scale
        for piece in _pieces(X):
            result[piece] = (X[piece] - self.mean) / scale
        return result

    def folded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """Weights and biases for X that give what these give for standardised X."""
        raw = W / self.scale[:, None]
        return raw.astype(W.dtype), (b - self.mean @ raw).astype(b.dtype)

    def unfolded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """The inverse of `folded`."""
        exact = W.astype(np.float64)
        return (exact * self.scale[:, None]).astype(W.dtype), (b + self.mean @ exact).astype(b.dtype)


def refolded(weights: Sequence[Array], fold: Callable[[Array, Array], tuple[Array, Array]]) -> list[Array]:
    """The weights of a network with those of the first layer, W and b, folded or unfolded."""
    W, b, *others = weights
    return [*fold(W, b), *others]
