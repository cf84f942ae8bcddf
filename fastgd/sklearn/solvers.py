"""Solvers by the names and parameters of scikit-learn, and what they do with the learning rate between epochs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..optimizers import SGD, Adam, Optimizer, resolve

if TYPE_CHECKING:
    from .multilayer import Multilayer

# Below it, an adaptive learning rate is not divided any more, and training stops.
SMALLEST_ADAPTIVE_RATE = 1e-6


def solver_of(estimator: Multilayer, n_summed: int) -> Optimizer:
    """The optimizer that an estimator's parameters describe.

    Parameters
    ----------
    estimator : Multilayer
    n_summed : int
        Outputs whose losses scikit-learn adds up, of which fastgd takes the mean. The optimizers that are
        scikit-learn's too are told such that they take the same steps.
    """
    solver = estimator.solver
    if solver not in ("sgd", "adam"):
        # Its learning rate may change during a fit, which the parameter must not.
        return copy.deepcopy(solver) if isinstance(solver, Optimizer) else resolve(solver)
    rate: Any = estimator.learning_rate_init if isinstance(estimator.learning_rate, str) else estimator.learning_rate
    if solver == "adam":
        return Adam(rate, estimator.beta_1, estimator.beta_2, estimator.epsilon / n_summed, dialect=estimator.dialect)
    if n_summed > 1:
        rate = Times(n_summed, rate) if callable(rate) else n_summed * rate
    nesterov = bool(estimator.nesterovs_momentum and estimator.momentum > 0)
    return SGD(rate, float(estimator.momentum), nesterov, dialect=estimator.dialect)


class Times:
    """A schedule times a number."""

    def __init__(self, factor: int, schedule: Any) -> None:
        self.factor, self.schedule = factor, schedule

    def __call__(self, step: Any) -> Any:
        return self.factor * self.schedule(step)


def changes_with_rows(estimator: Multilayer) -> bool:
    """Whether the learning rate depends on the number of rows seen."""
    return bool(estimator.solver == "sgd" and estimator.learning_rate == "invscaling")


def end_epoch(estimator: Multilayer, optimizer: Optimizer, n_summed: int) -> None:
    """Let the learning rate fall with the number of rows seen, if it is to."""
    if changes_with_rows(estimator):
        rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        optimizer.learning_rate = n_summed * rate


def stops(estimator: Multilayer, optimizer: Optimizer, n_summed: int, message: str) -> bool:
    """Whether a fit without further improvement is over; else it goes on with a smaller learning rate."""
    adapts = estimator.solver == "sgd" and estimator.learning_rate == "adaptive"
    rate = optimizer.learning_rate / n_summed if adapts else 0.0
    if rate > SMALLEST_ADAPTIVE_RATE:
        optimizer.learning_rate = n_summed * rate / 5.0
        if estimator.verbose:
            print(f"{message} Setting learning rate to {rate / 5.0:f}")
        return False
    if estimator.verbose:
        print(f"{message}{' Learning rate too small.' if adapts else ''} Stopping.")
    return True
