"""The rows of one fit: dense ones are read where they lie, sparse ones become dense a block of batches at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

if TYPE_CHECKING:
    from .._kernels import Array, Network

# Of rows made dense at a time: some hundreds of a few thousand columns. A batch that is larger is taken whole, as it
# has to be.
BLOCK_BYTES = 1 << 22


def width_of_block(n_columns: int, itemsize: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_BYTES // (n_columns * itemsize))


def dense_blocks(X: Any, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Array]]:
    """X in its order: whole if it is dense, in blocks if it is sparse."""
    if not scipy.sparse.issparse(X):
        yield slice(0, X.shape[0]), X
        return
    size = width_of_block(X.shape[1], dtype.itemsize)
    for first in range(0, X.shape[0], size):
        block = slice(first, min(first + size, X.shape[0]))
        yield block, X[block].toarray()


@dataclass(frozen=True)
class Samples:
    """Checked data as the engine takes them, but that X may be a CSR matrix or array.

    Attributes
    ----------
    X : ndarray or CSR of shape (n, n_features)
    targets : ndarray
        intp labels (n,) or rows (n, n_outputs) of the model's dtype.
    weights : ndarray of float64 (n,) or None
    constants : ndarray of float64 (n,) or None
        What is added to the loss of each row, for a loss that is reported with terms the score has no part in.
    """

    X: Any
    targets: Array
    weights: Array | None
    constants: Array | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def is_sparse(self) -> bool:
        """Whether X is."""
        return bool(scipy.sparse.issparse(self.X))

    def chosen(self, rows: Array) -> Samples:
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        constants = None if self.constants is None else self.constants[rows]
        return Samples(self.X[rows], self.targets[rows], weights, constants)

    @property
    def total_weight(self) -> float:
        """The number of rows, or the sum of their weights."""
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    def mean_of_constants(self, weights: Array | None) -> float:
        """What the mean loss gets from them."""
        return 0.0 if self.constants is None else float(np.average(self.constants, weights=weights))

    def _pieces(self, dtype: np.dtype[Any]) -> Iterator[tuple[Array, Array, Array | None]]:
        for block, X in dense_blocks(self.X, dtype):
            yield X, self.targets[block], None if self.weights is None else self.weights[block]

    def mean_loss(self, network: Network, dtype: np.dtype[Any], n_threads: int) -> float:
        """The weighted mean of the loss, without penalties."""
        sums = np.zeros(2)
        for X, targets, weights in self._pieces(dtype):
            sums += network.evaluate(X, targets, weights, n_threads=n_threads)[:2]
        return float(sums[0] / sums[1]) + self.mean_of_constants(self.weights)

    def loss_and_gradients(self, network: Network, dtype: np.dtype[Any], n_threads: int) -> tuple[float, list[Array]]:
        """Of the weighted mean with penalties: that of the blocks is the mean of theirs, penalties being the same."""
        # No layer draws anything, so that seed and step do not matter.
        moment = {"seed": 0, "steps_before": 0, "n_threads": n_threads}
        if not self.is_sparse:
            loss, gradients = network.loss_and_gradients(self.X, self.targets, self.weights, **moment)
            return loss + self.mean_of_constants(self.weights), gradients
        loss, total = self.mean_of_constants(self.weights), self.total_weight
        sums: list[Array] = []
        for X, targets, weights in self._pieces(dtype):
            share = (len(X) if weights is None else float(weights.sum())) / total
            if share == 0.0:
                continue
            of_block, gradients = network.loss_and_gradients(X, targets, weights, **moment)
            loss += share * of_block
            scaled = [g * g.dtype.type(share) for g in gradients]
            sums = [a + b for a, b in zip(sums, scaled, strict=True)] if sums else scaled
        return loss, sums
