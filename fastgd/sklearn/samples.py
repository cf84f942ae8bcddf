"""The rows of one fit, dense or sparse, as the engine takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from .._kernels import SparseRows, get_backend
from ..inputs import is_sparse, read_features, real_array

if TYPE_CHECKING:
    from .._kernels import Array, Network


def rows_of(X: Any, name: str) -> Array | SparseRows:
    """X that scikit-learn has checked, as the engine takes it: where it lies."""
    if not is_sparse(X):
        return real_array(X, name)
    # In the dtype of the data, where nothing can be too large.
    return read_features(X, None, X.dtype, get_backend("cython").first_nonfinite, name)


def as_users_have_it(X: Array | SparseRows) -> Any:
    """The same rows in the form that a model takes."""
    if not isinstance(X, SparseRows):
        return X
    return scipy.sparse.csr_matrix((X.values, X.columns, X.starts), shape=X.shape)


@dataclass(frozen=True)
class Samples:
    """Checked data.

    Attributes
    ----------
    X : ndarray or SparseRows of shape (n, n_features)
    targets : ndarray
        intp labels (n,) or rows (n, n_outputs) of the model's dtype.
    weights : ndarray of float64 (n,) or None
    constants : ndarray of float64 (n,) or None
        What is added to the loss of each row, for a loss that is reported with terms the score has no part in.
    """

    X: Array | SparseRows
    targets: Array
    weights: Array | None
    constants: Array | None = None

    def __len__(self) -> int:
        return len(self.X)

    def chosen(self, rows: Array) -> Samples:
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        constants = None if self.constants is None else self.constants[rows]
        return Samples(self.X[rows], self.targets[rows], weights, constants)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of X."""
        return (self.X.values if isinstance(self.X, SparseRows) else self.X).dtype

    @property
    def total_weight(self) -> float:
        """The number of rows, or the sum of their weights."""
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    def mean_of_constants(self, weights: Array | None) -> float:
        """What the mean loss gets from them."""
        return 0.0 if self.constants is None else float(np.average(self.constants, weights=weights))

    def mean_loss(self, network: Network, n_threads: int) -> float:
        """The weighted mean of the loss, without penalties."""
        loss, total, _ = network.evaluate(self.X, self.targets, self.weights, n_threads=n_threads)
        return loss / total + self.mean_of_constants(self.weights)

    def loss_and_gradients(self, network: Network, n_threads: int) -> tuple[float, list[Array]]:
        """Of the weighted mean with penalties."""
        # No layer draws anything, so that seed and step do not matter.
        moment = {"seed": 0, "steps_before": 0, "n_threads": n_threads}
        loss, gradients = network.loss_and_gradients(self.X, self.targets, self.weights, **moment)
        return loss + self.mean_of_constants(self.weights), gradients
