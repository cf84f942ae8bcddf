"""Rows of which only some elements are stored, as the door hands them to every backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from .backend import Array

__all__ = ["SparseRows"]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix by rows: row i has ``values[starts[i]:starts[i + 1]]`` in the columns of these places, else zeros.

    Columns may stand in any order; where one stands twice in a row, its values are added up.

    Attributes
    ----------
    values : ndarray of any real dtype, contiguous
    columns : ndarray of int32 or int64, contiguous
    starts : ndarray of intp (n + 1,), contiguous
    n_columns : int
    """

    values: Array
    columns: Array
    starts: Array
    n_columns: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.n_columns

    @property
    def n_stored(self) -> int:
        """How many elements are stored."""
        return int(self.starts[-1] - self.starts[0])

    @property
    def lengths(self) -> Array:
        """How many elements each row has."""
        return np.diff(self.starts)

    @property
    def row_numbers(self) -> Array:
        """The row of each element that is stored."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __getitem__(self, rows: slice | Array) -> Self:
        """Some of the rows; those of a slice are a view."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step == 1:
                return replace(self, starts=self.starts[first : max(first, last) + 1])
            rows = np.arange(first, last, step)
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], lengths.cumsum()])
        stored = np.repeat(self.starts[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return replace(self, values=self.values[stored], columns=self.columns[stored], starts=starts.astype(np.intp))

    def stored(self) -> tuple[Array, Array, Array]:
        """Row, column and value of each element that is stored."""
        stored = slice(self.starts[0], self.starts[-1])
        return self.row_numbers, self.columns[stored], self.values[stored]

    def astype(self, dtype: Any) -> Self:
        """The same with values of another dtype."""
        return replace(self, values=self.values.astype(dtype, copy=False))

    def most_stored(self, n_rows: int) -> int:
        """The most elements that so many of the rows can have together."""
        lengths = self.lengths
        if n_rows < len(lengths):
            lengths = np.partition(lengths, len(lengths) - n_rows)[len(lengths) - n_rows :]
        return int(lengths.sum())
