"""L-BFGS over all weights of a model at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..methods import CONVERGED, LBFGS, STOPPED
from ..threads import choose, fitting
from .samples import Samples

if TYPE_CHECKING:
    from .._kernels import Array
    from ..model import Sequential


class MeanLoss:
    """The weighted mean loss over all rows, penalties included, as a function of all that a model learns."""

    def __init__(self, model: Sequential, samples: Samples) -> None:
        self.network, self.samples = model._built(), samples
        self.shapes = [w.shape for w in self.network.get_weights()]
        self.most_threads, self.flops = model.n_threads, 3.0 * len(samples) * model._flops_per_row

    @property
    def weights(self) -> Array:
        """The model's present ones."""
        return np.concatenate([w.ravel() for w in self.network.get_weights()], dtype=np.float64)

    @weights.setter
    def weights(self, x: Array) -> None:
        pieces = np.split(x, np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1])
        # Weights that the dtype cannot hold become infinite, and so does the loss: the method will avoid them.
        with np.errstate(over="ignore"):
            self.network.set_weights([w.reshape(shape) for w, shape in zip(pieces, self.shapes, strict=True)])

    def value(self, x: Array) -> float:
        """The loss."""
        return self.value_and_gradient(x)[0]

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        """The loss and its gradient."""
        self.weights = x
        n_threads = choose(self.most_threads, self.flops, self.flops)
        loss, gradients = self.samples.loss_and_gradients(self.network, n_threads)
        return loss, np.concatenate([g.ravel() for g in gradients], dtype=np.float64)


def minimize(
    model: Sequential,
    samples: Samples,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[int, float], bool],
) -> tuple[int, float]:
    """Bring the weighted mean loss, penalties included, to a minimum; returns the number of iterations and the loss.

    Parameters
    ----------
    model : Sequential
        Built; it ends with the weights that were found.
    samples : Samples
    max_iter, max_fun : int
        The most iterations and the most evaluations of the loss.
    tol : float
        Of the largest component of the gradient.
    report : callable
        Is told the number and the loss of each iteration, of which the model then has the weights; says whether to
        stop.
    """
    objective, n_iter = MeanLoss(model, samples), 0

    def each_iteration(x: Array, loss: float, gradient: Array | None) -> bool:
        nonlocal n_iter
        n_iter += 1
        objective.weights = x
        return report(n_iter, loss)

    with fitting():
        outcome = LBFGS(max_evaluations=max_fun).run(objective, objective.weights, max_iter, tol, each_iteration)
    objective.weights = outcome.x
    if outcome.status not in (CONVERGED, STOPPED):
        warnings.warn(
            f"lbfgs failed to converge after {outcome.n_iterations} iteration(s):\n{outcome.message}\n\n"
            f"Increase the number of iterations to improve the convergence (max_iter={max_iter}).\n"
            "You might also want to scale the data.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return outcome.n_iterations, outcome.fun
