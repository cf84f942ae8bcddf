"""Linear models in plain NumPy: every step spelled out, on whole rows of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formula.numpy_ import compile_

if TYPE_CHECKING:
    from .._formula import Loss
    from .backend import Array

# A slope of a loss, as scikit-learn limits it.
STEEPEST = 1e12

quiet = np.errstate(all="ignore")


def xorshift_permutation(n: int, seed: int) -> Array:
    """0 to n-1 in the order that scikit-learn's linear models shuffle rows to, intp."""
    order, state = np.arange(n), seed or 1
    for i in range(n - 1):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        j = i + (state & 0x7FFFFFFF) % (n - i)
        order[i], order[j] = order[j], order[i]
    return order


class RowByRow:
    """One fit of a linear model; see `LinearDescent` of `backend`."""

    # Of a loss over rows: scores, targets, loss, weights, where the gradient goes; the backend's.
    loss_gradient: Callable[[Array, Array, Loss, Array | None, Array], float]

    def __init__(
        self,
        X: Any,
        targets: Array,
        weights: Array | None,
        W: Array,
        b: Array,
        *,
        loss: Loss,
        step: int,
        l1: float,
        l2: float,
        batch_size: int,
        intercept_share: float,
        labels: Array,
        class_weights: Array,
        other_target: float,
        average_from: int = 0,
        mean_W: Array | None = None,
        mean_b: Array | None = None,
    ) -> None:
        self.X, self.targets, self.W, self.b = X, targets, W, b
        self.weights = np.ones(len(targets)) if weights is None else weights
        self.loss, self.step_kind, self.l1, self.l2 = loss, step, l1, l2
        self.batch_size, self.intercept_share = batch_size, intercept_share
        self.labels, self.class_weights, self.other_target = labels, class_weights, other_target
        self.average_from, self.mean_W, self.mean_b = average_from, mean_W, mean_b
        self.charged, self.due = np.zeros(W.shape), np.zeros(len(W))
        self.best, self.n_worse, self.pace = np.full(len(W), np.inf), np.zeros(len(W), np.intp), np.ones(len(W))

    @quiet
    def run(
        self,
        order: Array,
        permutation: Array | None,
        rates: Array,
        *,
        steps_before: int,
        active: Array,
        n_epochs: int,
        tol: float,
        patience: int,
        watched: bool = True,
    ) -> tuple[int, int, Array]:
        chosen, step = np.flatnonzero(active), 0
        for done in range(1, n_epochs + 1):
            if permutation is not None:
                order[:] = order[permutation]
            objectives = np.zeros(len(self.W))
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                objectives[chosen] += self._step(rows, chosen, rates[step], steps_before + step + 1)
                step += 1
            objectives /= len(order)
            if not (np.isfinite(self.W[chosen]).all() and np.isfinite(self.b[chosen]).all()):
                return done, 2, objectives
            if self._is_over(objectives, chosen[:1] if self.loss.rowwise else chosen, tol, patience):
                break
        return done, 0, objectives

    def _is_over(self, objectives: Array, watched: Array, tol: float, patience: int) -> bool:
        if not patience:
            return False
        worse = objectives[watched] > self.best[watched] - tol
        self.n_worse[watched] = np.where(worse, self.n_worse[watched] + 1, 0)
        self.best[watched] = np.minimum(self.best[watched], objectives[watched])
        return bool((self.n_worse[watched] >= patience).any())

    def _step(self, rows: Array, chosen: Array, rate: float, t: int) -> Array:
        """One step of the chosen outputs; returns the objective of these rows for each of them."""
        W, X = self.W[chosen].astype(np.float64), self.X[rows]
        X = np.asarray(X.todense() if hasattr(X, "todense") else X, np.float64)
        values, slopes = self._losses(X @ W.T + self.b[chosen], rows, chosen)
        penalty = 0.5 * self.l2 * (W**2).sum(axis=1) + self.l1 * np.abs(W).sum(axis=1)
        row_weights = self._row_weights(rows, chosen)
        # A single row counts as much as it weighs, and its loss does not depend on that.
        single = self.batch_size == 1
        divisors = np.ones(len(chosen)) if single else row_weights.sum(axis=0)
        divisors = np.where(divisors == 0.0, np.inf, divisors)
        # The loss of a row without weight may be infinite.
        weighed = np.multiply(row_weights, values, out=np.zeros(values.shape), where=row_weights != 0.0)
        objectives = values[0] if single else len(rows) * weighed.sum(axis=0) / divisors
        if self.step_kind == 0:
            counted = penalty.sum() * (chosen == chosen[0]) if self.loss.rowwise else penalty
            objectives = objectives + len(rows) * counted
        pace = rate * self.pace[chosen]
        shares = self._shares(values, slopes, X, pace) * row_weights / divisors
        W *= np.maximum(0.0, 1.0 - pace * self.l2)[:, None]
        W += shares.T @ X
        self.b[chosen] += self.intercept_share * shares.sum(axis=0)
        if self.l1:
            self.due[chosen] += self.l1 * pace
            touched = np.ones(X.shape[1], bool) if isinstance(self.X, np.ndarray) else (X != 0).any(axis=0)
            averaged, W = W.copy(), self._charge(W, chosen, touched)
        else:
            averaged = W
        if self.mean_W is not None and self.mean_b is not None and t >= self.average_from > 0:
            share = 1.0 / (t - self.average_from + 1)
            self.mean_W[chosen] += share * (averaged - self.mean_W[chosen])
            self.mean_b[chosen] += share * (self.b[chosen] - self.mean_b[chosen])
        self.W[chosen] = W
        return objectives

    def _losses(self, scores: Array, rows: Array, chosen: Array) -> tuple[Array, Array]:
        """Of each row and output: value and slope; of a loss over rows the value is counted with the first output."""
        if self.loss.rowwise:
            values, slopes = np.zeros_like(scores), np.empty_like(scores)
            for i, row in enumerate(rows):
                slope = slopes[i : i + 1]
                target = self.targets[row : row + 1]
                values[i, 0] = self.loss_gradient(scores[i : i + 1], target, self.loss, None, slope)
            return values, slopes
        targets = self._targets(rows, chosen)
        formula, derivative = self.loss.formula, self.loss.derivative_formula
        assert formula is not None and derivative is not None
        of_value = {name: self.loss.parameters[name] for name in formula.scalars}
        of_slope = {name: self.loss.parameters[name] for name in derivative.scalars}
        return compile_(formula)(scores, targets, **of_value), compile_(derivative)(scores, targets, **of_slope)

    def _targets(self, rows: Array, chosen: Array) -> Array:
        given = self.targets[rows]
        if given.dtype.kind == "f":
            return np.repeat(given[:, None], len(chosen), axis=1)
        return np.where(given[:, None] == self.labels[chosen], 1.0, self.other_target)

    def _shares(self, values: Array, slopes: Array, X: Array, rates: Array) -> Array:
        """How much of each row the weights get."""
        if self.step_kind == 0:
            return -rates * np.clip(slopes, -STEEPEST, STEEPEST)
        squares = (X**2).sum(axis=1)[:, None]
        if self.step_kind == 1:
            lengths = np.where(squares > 0.0, np.minimum(rates, values / squares), 0.0)
        else:
            lengths = values / (squares + 0.5 / rates)
        shares: Array = -np.sign(slopes) * lengths
        return shares

    def _row_weights(self, rows: Array, chosen: Array) -> Array:
        weights = self.weights[rows][:, None]
        if self.loss.rowwise:
            of_class: Array = weights * self.class_weights[self.targets[rows], 1][:, None]
            return of_class
        negative, positive = self.class_weights[chosen].T
        weighed: Array = weights * np.where(self._targets(rows, chosen) > 0.0, positive, negative)
        return weighed

    def _charge(self, W: Array, chosen: Array, touched: Array) -> Array:
        """Weights after what they owe to the l1 penalty has been taken, but not beyond zero."""
        due, charged = self.due[chosen][:, None], self.charged[chosen]
        down, up = np.maximum(0.0, W - (due + charged)), np.minimum(0.0, W + (due - charged))
        moved = np.where(touched, np.where(W > 0.0, down, np.where(W < 0.0, up, W)), W)
        self.charged[chosen] = charged + moved - W
        return moved
