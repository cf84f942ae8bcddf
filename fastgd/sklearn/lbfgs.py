"""L-BFGS over all weights of a model at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from ..threads import choose
from .samples import Samples

if TYPE_CHECKING:
    from .._kernels import Array
    from ..model import Sequential


def packed(weights: list[Array]) -> Array:
    """All of them in one float64 vector."""
    return np.concatenate([w.ravel() for w in weights], dtype=np.float64)


def unpacked(vector: Array, like: list[Array]) -> list[Array]:
    """The arrays that `packed` made a vector of."""
    ends = np.cumsum([w.size for w in like])[:-1]
    return [part.reshape(w.shape) for part, w in zip(np.split(vector, ends), like, strict=True)]


def minimize(
    model: Sequential,
    samples: Samples,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[int, float], None],
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
        Is told the number and the loss of each iteration.
    """
    network, like, n_iter = model._built(), model.get_weights(), 0
    flops = 6.0 * len(samples) * sum(w.size for w in like)
    n_threads = choose(model.n_threads, flops, flops)

    def loss_and_gradient(vector: Array) -> tuple[float, Array]:
        network.set_weights(unpacked(vector, like))
        loss, gradients = samples.loss_and_gradients(network, model.dtype, n_threads)
        return loss, packed(gradients)

    def each_iteration(intermediate_result: Any) -> None:
        nonlocal n_iter
        n_iter += 1
        report(n_iter, float(intermediate_result.fun))

    found = scipy.optimize.minimize(
        loss_and_gradient,
        packed(like),
        method="L-BFGS-B",
        jac=True,
        callback=each_iteration,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    network.set_weights(unpacked(found.x, like))
    if found.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}):\n{found.message}\n\n"
            f"Increase the number of iterations to improve the convergence (max_iter={max_iter}).\n"
            "You might also want to scale the data.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return min(found.nit, max_iter), float(found.fun)
