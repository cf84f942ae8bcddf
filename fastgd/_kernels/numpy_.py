"""The backend that is the definition of every kernel: plain NumPy, nothing fused, nothing reused.

Shapes: x (N, I), w (I, O), b (O,), out, kept, d_out, scores (N, O). A kernel computes in the dtype it is given;
losses are summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._formula.numpy_ import compile_
from .random import permutation, uniform

if TYPE_CHECKING:
    from .._formula import Activation, Loss, OptimizerRule
    from .backend import Array, DenseSpec

__all__ = [
    "Network",
    "dense_backward",
    "dense_forward",
    "first_nonfinite",
    "instruction_set",
    "loss_gradient",
    "parameter_update",
    "permutation",
    "uniform",
]

quiet = np.errstate(all="ignore")

# Rows are looked through in pieces of this many elements, so that no temporary is as large as the data.
ELEMENTS_AT_ONCE = 1 << 16


def instruction_set() -> str:
    """NumPy chooses by itself."""
    return "chosen by NumPy"


def first_nonfinite(array: Array, dtype: Any) -> tuple[int, int] | None:
    """Row and column of the first element of a floating 2-D array that is not finite in `dtype`, None if all are."""
    largest = np.finfo(min(np.dtype(dtype), array.dtype)).max
    n_rows = max(1, ELEMENTS_AT_ONCE // max(1, array.shape[1]))
    for first in range(0, len(array), n_rows):
        finite = np.abs(array[first : first + n_rows]) <= largest
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            return first + int(row), int(column)
    return None


@quiet
def dense_forward(x: Array, w: Array, b: Array, activation: Activation, out: Array, kept: Array | None) -> None:
    """out = f(z) with z = x w + b; kept = z or f(z), whichever the derivative reads."""
    np.matmul(x, w, out=out)
    out += b
    if kept is not None and activation.derivative_of == "input":
        kept[...] = out
    activation(out, out=out)
    if kept is not None and activation.derivative_of == "output":
        kept[...] = out


@quiet
def dense_backward(
    x: Array,
    w: Array,
    kept: Array,
    d_out: Array,
    activation: Activation,
    dx: Array | None,
    dw: Array,
    db: Array,
) -> None:
    """dz = d_out f'(kept); dx = dz w^T (unless it is None), dw = x^T dz, db = sum of dz over rows."""
    formula = activation.derivative_formula
    scalars = {name: activation.parameters[name] for name in formula.scalars}
    dz = d_out * compile_(formula)(kept, **scalars)
    if dx is not None:
        np.matmul(dz, w.T, out=dx)
    np.matmul(x.T, dz, out=dw)
    np.sum(dz, axis=0, out=db)


@quiet
def loss_gradient(scores: Array, targets: Array, loss: Loss, weights: Array | None, d_scores: Array) -> float:
    """The weighted mean sum(w_i l_i) / sum(w_i), the mean over outputs too; d_scores is its gradient."""
    values, gradients = row_losses(scores, targets, loss)
    weights = np.ones(len(scores)) if weights is None else weights
    total = float(weights.sum())
    n_terms = 1 if loss.rowwise else scores.shape[1]
    scale = (weights / (total * n_terms)).astype(scores.dtype)
    np.multiply(gradients, scale[:, None], out=d_scores)
    return float(weights @ values) / total


def row_losses(scores: Array, targets: Array, loss: Loss) -> tuple[Array, Array]:
    """The loss of each row, float64 (N,), and the derivative of each element's or row's loss by its score."""
    if loss.rowwise:
        values, gradients = ROWWISE_LOSSES[loss.name](scores, targets)
        return values.astype(np.float64), gradients
    derivative = loss.derivative_formula
    assert derivative is not None
    scalars = {name: loss.parameters[name] for name in derivative.scalars}
    values = loss(scores, targets, **loss.parameters)
    return values.mean(axis=1, dtype=np.float64), compile_(derivative)(scores, targets, **scalars)


def softmax(scores: Array) -> Array:
    """e^z over its sum in the row. The largest score is taken off first, so that nothing overflows."""
    exponentials: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_cross_entropy(scores: Array, targets: Array) -> tuple[Array, Array]:
    """l = -sum_c t_c log softmax(z)_c, dl/dz = softmax(z) sum_c t_c - t."""
    t = one_hot(targets, scores)
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    values = (t * (log_total - shifted)).sum(axis=1)
    return values, softmax(scores) * t.sum(axis=1, keepdims=True) - t


def multiclass_hinge(scores: Array, targets: Array) -> tuple[Array, Array]:
    """l = sum of max(0, 1 + z_c - z_y) over the wrong classes c (Weston & Watkins 1999)."""
    t = one_hot(targets, scores)
    right = (t * scores).sum(axis=1, keepdims=True)
    margins = np.where(t == 1, 0, 1 + scores - right).astype(scores.dtype)
    violated = (margins > 0).astype(scores.dtype)
    # The maximum lets a NaN through, where a comparison would hide it.
    return np.maximum(margins, 0).sum(axis=1), violated - t * violated.sum(axis=1, keepdims=True)


ROWWISE_LOSSES: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "multiclass_hinge": multiclass_hinge,
}


def one_hot(targets: Array, scores: Array) -> Array:
    """Labels as rows of zeros and a one; rows as they are. In the dtype and shape of the scores."""
    if targets.ndim == 2:
        return targets.astype(scores.dtype, copy=False)
    rows = np.zeros(scores.shape, scores.dtype)
    rows[np.arange(len(rows)), targets] = 1
    return rows


def sigmoid(scores: Array) -> Array:
    """1 / (1 + e^-z), from the exponential of -|z|."""
    e = np.exp(-np.abs(scores))
    numerator = np.where(scores < 0, e, 1).astype(scores.dtype)
    return numerator / (1 + e)


LINKS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda scores: scores,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "exp": np.exp,
    "expm1": np.expm1,
}


def parameter_update(w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array) -> None:
    """One step of the rule, in place on w and the states."""
    for array, result in zip((w, *states), updated(w, g, states, rule, scalars), strict=True):
        array[...] = result


def updated(w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array) -> tuple[Array, ...]:
    """w and the states as the rule would make them."""
    named = dict(zip(rule.scalars, map(float, scalars), strict=True))
    results = rule(w, g, *states, **named)
    return results if rule.states else (results,)


class Network:
    """Dense layers, a loss and an optimizer's rule; see `fastgd._kernels.backend.Network`."""

    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[DenseSpec],
        loss: Loss | None,
        rule: OptimizerRule | None,
        dtype: Any,
    ) -> None:
        self.layers = tuple(layers)
        self.loss = loss
        self.rule = rule
        self.dtype = np.dtype(dtype)
        widths = [n_inputs, *(layer.n_outputs for layer in layers)]
        self.weights: list[Array] = []
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            self.weights += [np.zeros((n_in, n_out), self.dtype), np.zeros(n_out, self.dtype)]
        self.slots = [[np.zeros_like(w) for w in self.weights] for _ in (rule.states if rule else ())]

    def get_weights(self) -> list[Array]:
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Iterable[Array]) -> None:
        self.weights = [np.array(w, self.dtype) for w in weights]

    def get_slots(self) -> list[list[Array]]:
        return [[s.copy() for s in slot] for slot in self.slots]

    def set_slots(self, slots: Sequence[Sequence[Array]]) -> None:
        self.slots = [[np.array(s, self.dtype) for s in slot] for slot in slots]

    def takes(self, X: Any) -> bool:
        return False   # With NumPy's means a look is not quicker than the door's.

    def takes_batch(self, X: Any, targets: Any) -> bool:
        return False

    def takes_output(self, X: Any, out: Any, layer: int) -> bool:
        return False

    @quiet
    def train(
        self,
        X: Array,
        targets: Array,
        weights: Array | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        epoch: int,
        step: int,
        n_steps: int,
        scalars: Array,
        losses: Array,
        n_threads: int,
        order: Array | None = None,
        penalty_scale: float = 1.0,
    ) -> tuple[int, int]:
        n, first_epoch = len(X), epoch
        draws = shuffle and order is None
        if order is None:
            order = permutation(seed, epoch, n) if draws else np.arange(n)
        for done in range(n_steps):
            if step * batch_size >= n:
                epoch, step = epoch + 1, 0
                order = permutation(seed, epoch, n) if draws else order
            rows = order[step * batch_size : (step + 1) * batch_size]
            chosen = np.ones(len(rows)) if weights is None else weights[rows]
            sums = losses[epoch - first_epoch]
            status = self.step(X[rows], targets[rows], chosen, scalars[done], sums, penalty_scale)
            if status:
                return status, done + (status == 2)
            step += 1
        return 0, n_steps

    def step(
        self, x: Array, targets: Array, weights: Array, scalars: Array, sums: Array, penalty_scale: float
    ) -> int:
        """One optimizer step on one batch; adds to the epoch's sums. Returns the status of `train`."""
        total = float(weights.sum())
        if total == 0.0:
            return 0
        loss, gradients = self.loss_and_gradients(x, targets, weights, penalty_scale=penalty_scale)
        if not np.isfinite(loss):
            return 1
        assert self.rule is not None
        status = 0
        n_scalars = len(self.rule.scalars)
        of_weights, of_biases = scalars[:n_scalars], scalars[-n_scalars:]
        for k, g in enumerate(gradients):
            states = [slot[k] for slot in self.slots]
            results = updated(self.weights[k], g, states, self.rule, of_biases if k % 2 else of_weights)
            if not np.isfinite(results[0]).all():
                status = 2
                continue
            for array, result in zip((self.weights[k], *states), results, strict=True):
                array[...] = result
        sums += (loss * total, total)
        return status

    def forward(self, X: Array, n_layers: int) -> tuple[list[Array], list[Array]]:
        """The input of every layer, the output last; and what each layer kept."""
        outputs, kept = [X.astype(self.dtype)], []
        for k, layer in enumerate(self.layers[:n_layers]):
            out = np.empty((len(X), layer.n_outputs), self.dtype)
            keep = np.empty_like(out)
            dense_forward(outputs[-1], self.weights[2 * k], self.weights[2 * k + 1], layer.activation, out, keep)
            outputs.append(out)
            kept.append(keep)
        return outputs, kept

    @quiet
    def loss_and_gradients(
        self, X: Array, targets: Array, weights: Array | None, *, n_threads: int = 1, penalty_scale: float = 1.0
    ) -> tuple[float, list[Array]]:
        assert self.loss is not None
        outputs, kept = self.forward(X, len(self.layers))
        d_out = np.empty_like(outputs[-1])
        loss = loss_gradient(outputs[-1], targets, self.loss, weights, d_out)
        gradients = [np.empty_like(w) for w in self.weights]
        for k in reversed(range(len(self.layers))):
            layer, w = self.layers[k], self.weights[2 * k]
            dw, db = gradients[2 * k : 2 * k + 2]
            dx = np.empty_like(outputs[k]) if k else None
            dense_backward(outputs[k], w, kept[k], d_out, layer.activation, dx, dw, db)
            l1, l2 = self.dtype.type(penalty_scale * layer.l1), self.dtype.type(penalty_scale * layer.l2)
            dw += l2 * w + l1 * np.sign(w)
            if dx is not None:
                d_out = dx
        return loss + penalty_scale * self.penalty(), gradients

    def penalty(self) -> float:
        """l2/2 ||W||^2 + l1 ||W||_1 over the layers, without the biases."""
        total = 0.0
        for layer, w in zip(self.layers, self.weights[::2], strict=True):
            exact = w.astype(np.float64)
            total += 0.5 * layer.l2 * float((exact**2).sum()) + layer.l1 * float(np.abs(exact).sum())
        return total

    @quiet
    def evaluate(
        self, X: Array, targets: Array, weights: Array | None, *, n_threads: int
    ) -> tuple[float, float, float]:
        assert self.loss is not None
        scores = self.forward(X, len(self.layers))[0][-1]
        weights = np.ones(len(X)) if weights is None else weights
        values, _ = row_losses(scores, targets, self.loss)
        return (
            float(weights @ values),
            float(weights.sum()),
            float(weights @ correct(scores, targets, self.loss)),
        )

    @quiet
    def predict(self, X: Array, out: Array, *, link: bool, layer: int, n_threads: int) -> None:
        result = self.forward(X, layer + 1)[0][-1]
        if link and self.loss is not None and layer == len(self.layers) - 1:
            result = LINKS[self.loss.link](result)
        out[...] = result


def correct(scores: Array, targets: Array, loss: Loss) -> Array:
    """1 for each row that is classified as its target, 0 for one that is not; NaN for a loss without classes."""
    if loss.target in ("class", "label"):
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return (scores.argmax(axis=1) == labels).astype(np.float64)
    if loss.two_sided:
        sides: Array = (scores > 0) == (targets > 0.5)
        return sides.mean(axis=1, dtype=np.float64)
    return np.full(len(scores), np.nan)
