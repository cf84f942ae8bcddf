"""The networks that are timed, and data for them: the same for fastgd's own suite and beside its peers.

A network here is only appended, never changed: a figure of last year is then still a figure of the same work.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

# The hyperparameters that are not left at what all libraries agree on. Momentum is the heavy ball.
OPTIMIZERS = {
    "adam": {"learning_rate": 1e-3},
    "sgd": {"learning_rate": 1e-2},
    "momentum": {"learning_rate": 1e-3, "momentum": 0.9},
}


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron with ReLU, a softmax at the end, and the data set it is trained on.

    Attributes
    ----------
    units : tuple of int
        Width of each layer, the inputs first.
    batch_size : int
    n_batches : int
        Number of batches in the data set, that is, of steps in an epoch.
    optimizer : str
        Of `OPTIMIZERS`.
    """

    units: tuple[int, ...]
    batch_size: int
    n_batches: int
    optimizer: str = "adam"

    @property
    def name(self) -> str:
        """Widths and batch size, as in ``"64-64-10@32"``."""
        return "-".join(map(str, self.units)) + f"@{self.batch_size}"

    @property
    def n_samples(self) -> int:
        """Number of rows in the data set."""
        return self.batch_size * self.n_batches


NETWORKS = {
    network.name: network
    for network in (
        Network((4, 16, 3), 1, 256),
        Network((64, 64, 10), 32, 48),
        Network((784, 128, 10), 64, 32),
        Network((784, 256, 128, 10), 128, 16),
        Network((1024, 1024, 1024, 1024), 64, 16),
        Network((2048, 2048, 2048), 512, 4),
        Network((4, 16, 3), 32, 64),
        Network((64, 64, 10), 1, 256),
        Network((64, 64, 10), 200, 24),
        Network((512, 512, 512, 512), 256, 8),
        Network((4096, 4096, 4096), 32, 8, "sgd"),
    )
}


@dataclass(frozen=True)
class Problem:
    """A network with its data and the weights that everybody starts from.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_inputs)
    labels : ndarray of shape (n_samples,), intp
    weights : list of ndarray
        ``[W1, b1, W2, ...]`` with W of shape (n_inputs, n_outputs), of the dtype of X.
    """

    network: Network
    X: np.ndarray
    labels: np.ndarray
    weights: list[np.ndarray]

    @property
    def dtype(self) -> str:
        """Name of the dtype of data and weights."""
        return self.X.dtype.name

    def astype(self, dtype: str) -> Problem:
        """Return the problem with data and weights in another dtype."""
        weights = [array.astype(dtype) for array in self.weights]
        return Problem(self.network, self.X.astype(dtype, copy=False), self.labels, weights)

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the data set cut into batches, in order (views)."""
        size = self.network.batch_size
        starts = range(0, len(self.X), size)
        return [(self.X[start : start + size], self.labels[start : start + size]) for start in starts]


@functools.lru_cache(maxsize=1)
def problem(network: Network) -> Problem:
    """Draw data and initial weights (He, uniform) for a network, always the same, in float32.

    Every row stands in the data set twice, with different labels. The loss therefore cannot go to zero, and
    neither can gradients: on a batch learnt by heart Adam's moments decay into subnormal numbers, and what is
    timed then is the processor's slow path for them.
    """
    random = np.random.default_rng(0)
    n_inputs, n_classes = network.units[0], network.units[-1]
    n_distinct = (network.n_samples + 1) // 2
    rows = random.standard_normal((n_distinct, n_inputs), dtype=np.float32)
    labels = random.permutation(n_distinct) % n_classes
    # This shift brings in classes that the first half has no rows for: scikit-learn wants to see every class.
    other_labels = (labels + (n_distinct % n_classes or 1)) % n_classes
    X = np.concatenate([rows, rows])[: network.n_samples]
    y = np.concatenate([labels, other_labels])[: network.n_samples]
    weights = []
    for fan_in, fan_out in zip(network.units, network.units[1:], strict=False):
        for shape in ((fan_in, fan_out), (fan_out,)):
            weights.append(random.uniform(-1, 1, shape).astype(np.float32) * np.float32(np.sqrt(6 / fan_in)))
    return Problem(network, X, y.astype(np.intp), weights)


def build_model(problem: Problem, *, dtype: str = "float32", backend: str = "cython", n_threads: int | None = 1):
    """Return a fastgd model of the problem's network, at the problem's initial weights."""
    import fastgd as fg

    *hidden, n_classes = problem.network.units[1:]
    optimizer = fg.Adam if problem.network.optimizer == "adam" else fg.SGD
    model = fg.Sequential(
        [*(fg.Dense(units, activation="relu") for units in hidden), fg.Dense(n_classes)],
        loss="softmax_cross_entropy",
        optimizer=optimizer(**OPTIMIZERS[problem.network.optimizer]),
        dtype=dtype,
        n_threads=n_threads,
        backend=backend,
    )
    model.build(problem.network.units[0])
    model.set_weights([array.astype(dtype, copy=False) for array in problem.weights])
    return model


def loss_after(problem: Problem, weights: list[np.ndarray]) -> float:
    """Return the mean cross-entropy over the data set under given weights, in float64, by NumPy alone.

    Used to compare what different libraries have learnt: none of them is then its own judge.
    """
    activations = problem.X.astype(np.float64)
    for layer in range(0, len(weights), 2):
        scores = activations @ weights[layer].astype(np.float64) + weights[layer + 1]
        activations = np.maximum(scores, 0.0)
    highest = scores.max(axis=1, keepdims=True)
    log_sums = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return float(np.mean(log_sums - scores[np.arange(len(scores)), problem.labels]))
