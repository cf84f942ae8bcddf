"""Fits of linear models row by row: memory, and jobs handed to compiled code."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from . import blocks, objects, records
from .objects import Kernel
from .records import LinearJob, LinearOutput, Panels, Scores, addressof

if TYPE_CHECKING:
    from ..._formula import Loss
    from ..backend import Array


def xorshift_permutation(n: int, seed: int) -> Array:
    """0 to n-1 in the order that scikit-learn's linear models shuffle rows to, intp."""
    order = np.arange(n, dtype=np.int64)
    objects.job(Kernel("linear_steps", "xorshift", "float64"))(False, order.ctypes.data, n, seed or 1)
    return order.astype(np.intp, copy=False)


class LinearDescent:
    """One fit of a linear model; see `fastgd._kernels.backend.LinearDescent`."""

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
        self.dtype, self.lock = W.dtype, threading.Lock()
        self.W, self.b, self.mean_b = W, b, mean_b
        self.best, self.n_worse, self.pace = np.full(len(W), np.inf), np.zeros(len(W), np.intp), np.ones(len(W))
        self.outputs, self.active = (LinearOutput * len(W))(), np.zeros(len(W), np.int64)
        self.held: list[Any] = [X, W, mean_W]
        self.at = LinearJob(
            batch_size=batch_size,
            step=step,
            l1=l1,
            l2=l2,
            intercept_share=intercept_share,
            average_from=average_from,
            other_target=other_target,
            outputs=self.active.ctypes.data,
            spare=self._own(np.empty(X.shape[0], np.int64)),
        )
        for name in ("score", "target", "value", "gradient"):
            setattr(self.at, name, self._own(np.zeros(batch_size * len(W), self.dtype)))
        self.kernel = Kernel("linear_steps", "train_linear", self.dtype.name, self._take_rows(X, targets, weights))
        self._take_loss(loss)
        charged = np.zeros_like(W)
        self.held.append(charged)
        for k, out in enumerate(self.outputs):
            out.weight, out.charged = W[k].ctypes.data, charged[k].ctypes.data
            out.mean = 0 if mean_W is None else mean_W[k].ctypes.data
            out.label, (out.negative, out.positive) = int(labels[k]), class_weights[k]
            out.scale = out.divisor = 1.0

    def _own(self, array: Array) -> int:
        """Where an array is, which stays."""
        self.held.append(array)
        return array.ctypes.data

    def _take_rows(self, X: Any, targets: Array, weights: Array | None) -> tuple[str, ...]:
        """Returns the type of the rows' column numbers, if they have any."""
        at = self.at
        at.n_columns = X.shape[1]
        if targets.dtype.kind == "f":
            at.targets = self._own(targets)
        else:
            at.labels = self._own(np.ascontiguousarray(targets, np.int64))
        at.weights = 0 if weights is None else self._own(np.ascontiguousarray(weights, np.float64))
        if isinstance(X, np.ndarray):
            at.values = X.ctypes.data
            return ()
        at.values, at.columns, at.starts = X.data.ctypes.data, X.indices.ctypes.data, X.indptr.ctypes.data
        return (X.indices.dtype.name,)

    def _take_loss(self, loss: Loss) -> None:
        at, n_outputs, n_rows = self.at, len(self.W), int(self.at.batch_size)
        at.loss_block = blocks.loss_block(loss, self.dtype)
        at.loss_scalars = self._own(np.array([*loss.scalars(n_outputs), 0.0], self.dtype))
        if not loss.rowwise:
            return
        at.loss = objects.address(blocks.loss_kernel(loss, True, self.dtype))
        width = blocks.panel_width(self.dtype)
        score, delta = (Panels(n_rows, n_outputs, self.dtype, width) for _ in range(2))
        rows = Scores(
            score=score.at,
            delta=delta.at,
            labels=self._own(np.zeros(n_rows, np.int64)),
            row_scale=self._own(np.ones(n_rows, self.dtype)),
            row_weights=self._own(np.ones(n_rows)),
            losses=self._own(np.zeros(n_rows)),
            scalars=at.loss_scalars,
            sums=self._own(np.zeros(n_rows, self.dtype)),
            scratch=self._own(records.aligned(blocks.scratch_bytes(loss, n_rows, n_outputs, self.dtype))),
            tiles=blocks.tiles_table(self.dtype),
            count=n_rows,
        )
        self.held += [score, delta, rows]
        at.rows = addressof(rows)

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
        """Some epochs, until an output of the active ones has not improved for `patience` of them."""
        chosen, objectives = np.flatnonzero(active).tolist(), np.empty(len(self.W))
        with self.lock:
            self._load(chosen)
            at = self.at
            at.n_outputs, at.n_rows, at.order = len(chosen), len(order), order.ctypes.data
            at.permutation = 0 if permutation is None else permutation.ctypes.data
            at.rates, at.steps_before, at.n_epochs = rates.ctypes.data, steps_before, n_epochs
            at.tol, at.patience, at.status, at.done = tol, patience, records.DONE, 0
            objects.job(self.kernel)(False, addressof(at))
            self._store(chosen)
            for k in chosen:
                objectives[k] = self.outputs[k].objective / len(order)
            return int(at.done), int(at.status), objectives

    def _load(self, chosen: list[int]) -> None:
        """What may have changed since the last run."""
        for place, k in enumerate(chosen):
            out, w = self.outputs[k], self.W[k]
            self.active[place] = addressof(out)
            out.squares, out.magnitudes = float(w @ w), float(np.abs(w).sum())
            out.intercept, out.pace, out.best, out.n_worse = self.b[k], self.pace[k], self.best[k], int(self.n_worse[k])
            if self.mean_b is not None:
                out.mean_intercept = self.mean_b[k]

    def _store(self, chosen: list[int]) -> None:
        for k in chosen:
            out = self.outputs[k]
            self.b[k], self.best[k], self.n_worse[k] = out.intercept, out.best, out.n_worse
            if self.mean_b is not None:
                self.mean_b[k] = out.mean_intercept
