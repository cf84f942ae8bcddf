"""The backend that is the definition of every kernel: plain NumPy, nothing fused, nothing reused.

Shapes: x (N, I), w (I, O), b (O,), out, kept, d_out, scores (N, O). A kernel computes in the dtype it is given;
losses are summed in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._formula.numpy_ import compile_
from .backend import PLAIN_STEP, BatchNormSpec, DenseSpec, DropoutSpec, SoftmaxSpec, StepSpec
from .numpy_linear import RowByRow, xorshift_permutation
from .random import kept_by_dropout, permutation, uniform
from .rows import SparseRows

if TYPE_CHECKING:
    from .._formula import Activation, Loss, OptimizerRule
    from .backend import Array, LayerNormSpec, LayerSpec

    # From the distances of a row to all, which of these are the same, and their weights, the row's own being 0: the
    # loss of the row, and its derivative by each distance.
    LossOfAnchor = Callable[[Array, Array, Array], tuple[float, Array]]

__all__ = [
    "LinearDescent",
    "Network",
    "dense_backward",
    "dense_forward",
    "first_nonfinite",
    "instruction_set",
    "loss_gradient",
    "parameter_update",
    "permutation",
    "uniform",
    "xorshift_permutation",
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
def dense_forward(
    x: Array | SparseRows, w: Array, b: Array, activation: Activation, out: Array, kept: Array | None
) -> None:
    """out = f(z) with z = x w + b; kept = z or f(z), whichever the derivative reads."""
    if isinstance(x, SparseRows):
        sparse_product(x, w, out)
    else:
        np.matmul(x, w, out=out)
    out += b
    if kept is not None and activation.derivative_of == "input":
        kept[...] = out
    activation(out, out=out)
    if kept is not None and activation.derivative_of == "output":
        kept[...] = out


@quiet
def dense_backward(
    x: Array | SparseRows,
    w: Array,
    kept: Array,
    d_out: Array,
    activation: Activation,
    dx: Array | None,
    dw: Array,
    db: Array,
) -> None:
    """dz = d_out f'(kept); dx = dz w^T (unless it is None), dw = x^T dz, db = sum of dz over rows."""
    dz = pre_activation_gradient(kept, d_out, activation)
    if dx is not None:
        np.matmul(dz, w.T, out=dx)
    if isinstance(x, SparseRows):
        sparse_product(x, dz, dw, transposed=True)
    else:
        np.matmul(x.T, dz, out=dw)
    np.sum(dz, axis=0, out=db)


def sparse_product(x: SparseRows, right: Array, out: Array, transposed: bool = False) -> None:
    """out = x right, or x^T right: each element that is stored adds its multiple of one row to another."""
    rows, columns, values = x.stored()
    to, source = (columns, rows) if transposed else (rows, columns)
    out[...] = 0
    np.add.at(out, to, values[:, None] * right[source])


def pre_activation_gradient(kept: Array, d_out: Array, activation: Activation) -> Array:
    """dz = d_out f'(kept)."""
    formula = activation.derivative_formula
    scalars = {name: activation.parameters[name] for name in formula.scalars}
    dz: Array = d_out * compile_(formula)(kept, **scalars)
    return dz


class DropoutPass:
    """One pass through a dropout layer: elements are zero, or divided by the share that is kept."""

    def __init__(self, x: Array, kept: Array, rate: float) -> None:
        self.factor = np.where(kept, x.dtype.type(1.0 / (1.0 - rate)), x.dtype.type(0.0))
        self.output: Array = x * self.factor

    def backward(self, d_out: Array) -> tuple[Array, list[Array]]:
        """Gradient by the input; there are no parameters."""
        return d_out * self.factor, []


class SoftmaxPass:
    """One pass through a softmax: p = e^(x - max) / sum, of each row."""

    def __init__(self, x: Array) -> None:
        self.output = softmax(x)

    def backward(self, d_out: Array) -> tuple[Array, list[Array]]:
        """p (d - sum of d p); there are no parameters."""
        p = self.output
        return p * (d_out - (d_out * p).sum(axis=1, keepdims=True)), []


class NormalizationPass:
    """One pass through a normalisation: a = f(gain x' + shift), x' = (x - mean) / sqrt(variance + eps).

    Moments are those given, or else x's own along the axis: 0 for each column's over the batch, 1 for each row's.
    """

    def __init__(
        self,
        x: Array,
        parameters: Sequence[Array],
        layer: BatchNormSpec | LayerNormSpec,
        moments: Sequence[Array] | None = None,
    ) -> None:
        self.axis = 0 if layer.kind == "batch_norm" else 1
        self.gain, shift = parameters
        self.activation = layer.activation
        if moments is None:
            moments = [x.mean(self.axis, keepdims=True), x.var(self.axis, keepdims=True)]
        self.mean, self.variance = moments
        self.factor = 1 / np.sqrt(self.variance + x.dtype.type(layer.eps))
        self.normalized = (x - self.mean) * self.factor
        z = self.gain * self.normalized + shift
        self.output = layer.activation(z)
        self.kept = z if layer.activation.derivative_of == "input" else self.output

    def backward(self, d_out: Array) -> tuple[Array, list[Array]]:
        """Gradients by the input, and by gain and shift; moments given as x's own depend on it."""
        dz = pre_activation_gradient(self.kept, d_out, self.activation)
        d = dz * self.gain
        along = (d * self.normalized).mean(self.axis, keepdims=True)
        dx = (d - d.mean(self.axis, keepdims=True) - self.normalized * along) * self.factor
        return dx, [(dz * self.normalized).sum(axis=0), dz.sum(axis=0)]


class DensePass:
    """One pass through a dense layer."""

    def __init__(self, x: Array | SparseRows, parameters: Sequence[Array], layer: DenseSpec) -> None:
        self.x, self.layer = x, layer
        self.w, b = parameters
        self.output = np.empty((len(x), layer.n_outputs), self.w.dtype)
        self.kept = np.empty_like(self.output)
        dense_forward(x, self.w, b, layer.activation, self.output, self.kept)

    def backward(self, d_out: Array) -> tuple[Array | None, list[Array]]:
        """Gradients by the input, unless that is sparse, and by weights with their penalty and biases."""
        dx = None if isinstance(self.x, SparseRows) else np.empty_like(self.x)
        dw, db = np.empty_like(self.w), np.empty_like(self.output[0])
        dense_backward(self.x, self.w, self.kept, d_out, self.layer.activation, dx, dw, db)
        kind = self.w.dtype.type
        dw += kind(self.layer.l2) * self.w + kind(self.layer.l1) * np.sign(self.w)
        return dx, [dw, db]


@quiet
def loss_gradient(scores: Array, targets: Array, loss: Loss, weights: Array | None, d_scores: Array) -> float:
    """The weighted mean sum(w_i l_i) / sum(w_i), the mean over outputs too; d_scores is its gradient."""
    weights = np.ones(len(scores)) if weights is None else weights
    total = float(weights.sum())
    if loss.compares_rows:
        values, d_total = COMPARISONS[loss.name](scores, targets, weights, **loss.parameters)
        np.divide(d_total, total, out=d_scores)
        return float(weights @ values) / total
    values, gradients = row_losses(scores, targets, loss)
    n_terms = 1 if loss.rowwise else scores.shape[1]
    scale = (weights / (total * n_terms)).astype(scores.dtype)
    np.multiply(gradients, scale[:, None], out=d_scores)
    d_scores[weights == 0] = 0
    return weighted_sum(values, weights) / total


def weighted_sum(values: Array, weights: Array) -> float:
    """Of the losses of rows. One without weight counts for nothing, also where it is infinite."""
    return float(weights @ np.where(weights > 0, values, 0))


def row_losses(scores: Array, targets: Array, loss: Loss) -> tuple[Array, Array]:
    """The loss of each row, float64 (N,), and the derivative of each element's or row's loss by its score."""
    if loss.rowwise:
        kernel = ROWWISE_LOSSES.get(loss.name)
        if loss.row_function is not None:
            kernel = loss.row_function.of_rows
            targets = targets.argmax(axis=1) if loss.by_class and targets.ndim == 2 else targets
        assert kernel is not None
        values, gradients = kernel(scores, targets, **loss.parameters)
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


def softmax_cross_entropy(
    scores: Array, targets: Array, *, label_smoothing: float = 0.0, class_weight: Sequence[float] | None = None
) -> tuple[Array, Array]:
    """l = -sum_c u_c log softmax(z)_c, dl/dz = softmax(z) sum_c u_c - u, with the targets u mixed."""
    u = mixed_targets(targets, scores, label_smoothing, class_weight)
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    values = (u * (log_total - shifted)).sum(axis=1)
    return values, softmax(scores) * u.sum(axis=1, keepdims=True) - u


def mixed_targets(
    targets: Array, scores: Array, label_smoothing: float, class_weight: Sequence[float] | None
) -> Array:
    """u_c = weight_c (t_c (1 - smoothing) + smoothing / C), in the dtype of the scores."""
    mixed = one_hot(targets, scores) * (1 - label_smoothing) + label_smoothing / scores.shape[1]
    if class_weight is not None:
        mixed = mixed * np.array(class_weight, scores.dtype)
    return mixed.astype(scores.dtype, copy=False)


def kl_divergence(scores: Array, targets: Array) -> tuple[Array, Array]:
    """The cross-entropy less the entropy of the targets."""
    values, gradients = softmax_cross_entropy(scores, targets)
    t = one_hot(targets, scores)
    return values + (t * np.log(np.where(t > 0, t, 1))).sum(axis=1), gradients


def softmax_focal_cross_entropy(
    scores: Array,
    targets: Array,
    *,
    gamma: float,
    label_smoothing: float,
    class_weight: Sequence[float] | None,
) -> tuple[Array, Array]:
    """l = -sum_c u_c q_c^gamma log p_c with p = softmax(z), q = 1 - p."""
    u = mixed_targets(targets, scores, label_smoothing, class_weight)
    likeliest = np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    others = np.where(likeliest, 0, exponentials).sum(axis=1, keepdims=True)
    p, log_p = exponentials / (1 + others), shifted - np.log1p(others)
    # What the likeliest class lacks of 1 is summed up: a difference would have lost its digits.
    q = np.where(likeliest, others, 1 + others - exponentials) / (1 + others)
    some = np.maximum(q, np.finfo(scores.dtype).smallest_normal)
    weight = u * some ** scores.dtype.type(gamma)
    slopes = weight * (gamma * p * log_p / some - 1)
    rest = slopes.sum(axis=1, keepdims=True) - slopes
    return -(weight * log_p).sum(axis=1), slopes * q - p * rest


def multiclass_hinge(
    scores: Array, targets: Array, *, crammer_singer: bool, squared: bool
) -> tuple[Array, Array]:
    """l = sum of max(0, 1 + z_c - z_y) over the wrong classes c, or the largest of them; or of the squares."""
    t = one_hot(targets, scores)
    right = (t * scores).sum(axis=1, keepdims=True)
    margins = np.where(t == 1, 0, 1 + scores - right).astype(scores.dtype)
    if crammer_singer:
        nearest = np.where(t == 1, -np.inf, scores).argmax(axis=1)[:, None]
        margins = np.where(np.arange(scores.shape[1]) == nearest, margins, 0)
    # The maximum lets a NaN through, where a comparison would hide it.
    margins = np.maximum(margins, 0)
    slopes = 2 * margins if squared else (margins > 0).astype(scores.dtype)
    return (margins**2 if squared else margins).sum(axis=1), slopes - t * slopes.sum(axis=1, keepdims=True)


def gaussian_nll(scores: Array, targets: Array) -> tuple[Array, Array]:
    """l = (s + (m - y)^2 e^-s) / 2, the mean over targets; m and s, the logarithm of the variance, are neighbours."""
    mean, log_variance = scores[:, 0::2], scores[:, 1::2]
    error, precision = mean - targets, np.exp(-log_variance / 2)
    # No error is none, however infinite the precision.
    distance = np.where(error == 0, 0, error * precision)
    of_mean = np.where(error == 0, 0, distance * precision)
    gradients = np.stack([of_mean, (1 - distance**2) / 2], axis=2).reshape(scores.shape)
    return ((log_variance + distance**2) / 2).mean(axis=1), gradients / targets.shape[1]


def cosine_similarity(scores: Array, targets: Array) -> tuple[Array, Array]:
    """l = 1 - cos, which is half the squared distance of the unit vectors; 1 for scores that are all zero."""
    unit, length = unit_rows(scores)
    difference = unit - unit_rows(targets)[0]
    values = (difference**2).sum(axis=1, keepdims=True) / 2
    zero = length == 0
    gradients = np.where(zero, 0, (difference - values * unit) / np.where(zero, 1, length))
    return np.where(zero, 1, values)[:, 0], gradients


def unit_rows(rows: Array) -> tuple[Array, Array]:
    """Rows over their lengths, and the lengths (n, 1). The largest element is taken out, lest a square overflow."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    shares = rows / np.where(largest == 0, 1, largest)
    root = np.sqrt((shares**2).sum(axis=1, keepdims=True))
    return shares / np.where(largest == 0, 1, root), largest * root


def quantiles(
    scores: Array, targets: Array, *, non_crossing: bool, levels: Sequence[float]
) -> tuple[Array, Array]:
    """l = mean of level (y - q) or (1 - level) (q - y) over targets and levels, whose scores are neighbours."""
    grouped = scores.reshape(len(scores), -1, len(levels))
    level = np.array(levels, scores.dtype)
    error = (increasing(grouped) if non_crossing else grouped) - targets[:, :, None]
    slopes = np.where(error > 0, 1 - level, np.where(error < 0, -level, error)).astype(scores.dtype)
    values = (slopes * error).reshape(len(scores), -1).mean(axis=1)
    if non_crossing:
        # A score moves its own quantile and all above.
        slopes = slopes[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        slopes[:, :, 1:] *= sigmoid(grouped[:, :, 1:])
    return values, slopes.reshape(scores.shape) / scores.dtype.type(scores.shape[1])


def compare_rows(scores: Array, labels: Array, weights: Array, loss: LossOfAnchor) -> tuple[Array, Array]:
    """The loss of each row, float64, and the gradient of their sum weighted; rows without weight take no part."""
    values, slopes, n = np.zeros(len(scores)), np.zeros((len(scores),) * 2, scores.dtype), len(scores)
    for row in range(n):
        distances = distances_from(scores, row)
        # A score that is not finite is not hidden by a comparison.
        values[row] = (0 * distances).sum()
        if weights[row] > 0:
            others = np.where(np.arange(n) == row, 0, weights)
            value, slope = loss(distances, labels == labels[row], others)
            values[row] += value
            slopes[row] = weights[row] * slope
    gradient = np.zeros_like(scores)
    for row in range(n):
        distances, slope = distances_from(scores, row)[:, None], (slopes[row] + slopes[:, row])[:, None]
        counts = (distances != 0) & (slope != 0)
        forces = slope * ((scores[row] - scores) / np.where(counts, distances, 1))
        gradient[row] = np.where(counts, forces, 0).sum(axis=0)
    return values, gradient


def distances_from(scores: Array, row: int) -> Array:
    """Euclidean, from one row to each; at most the largest number, lest the difference of two be none."""
    # Of halves, which do not overflow; then the largest is taken out, lest a square overflow.
    differences = scores / 2 - scores[row] / 2
    largest = np.abs(differences).max(axis=1, keepdims=True)
    shares = differences / np.where(largest == 0, 1, largest)
    distances = 2 * (largest[:, 0] * np.sqrt((shares**2).sum(axis=1)))
    return np.minimum(distances, np.finfo(scores.dtype).max)


def contrastive(scores: Array, targets: Array, weights: Array, *, margin: float) -> tuple[Array, Array]:
    """The mean of d^2 / 2 over rows that are the same and of max(0, margin - d)^2 / 2 over those that are not."""

    def of_anchor(distances: Array, same: Array, others: Array) -> tuple[float, Array]:
        share = others / max(others.sum(), np.finfo(np.float64).tiny)
        pull = np.where(same, distances, np.minimum(distances - margin, 0))
        pull = np.where(share > 0, pull, 0)
        return float(share @ (pull * pull / 2)), share * pull

    return compare_rows(scores, targets, weights, of_anchor)


def triplet(scores: Array, targets: Array, weights: Array, *, margin: float, hardest: bool) -> tuple[Array, Array]:
    """The mean of max(0, margin + d - d') over rows that are the same, at d, and those that are not, at d'."""

    def of_anchor(distances: Array, same: Array, others: Array) -> tuple[float, Array]:
        slopes = np.zeros_like(distances)
        near, far = np.flatnonzero(same & (others > 0)), np.flatnonzero(~same & (others > 0))
        if not len(near) or not len(far):
            return 0.0, slopes
        if hardest:
            near, far = near[[distances[near].argmax()]], far[[distances[far].argmin()]]
        shares = np.outer(others[near] / others[near].sum(), others[far] / others[far].sum())
        # The maximum lets a NaN through, where a comparison would hide it.
        violations = np.maximum(margin + distances[near][:, None] - distances[far], 0)
        counts = np.where(violations > 0, shares, 0)
        slopes[near], slopes[far] = counts.sum(axis=1), -counts.sum(axis=0)
        return float((shares * violations).sum()), slopes

    return compare_rows(scores, targets, weights, of_anchor)


COMPARISONS: dict[str, Callable[..., tuple[Array, Array]]] = {"contrastive": contrastive, "triplet": triplet}

ROWWISE_LOSSES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_focal_cross_entropy": softmax_focal_cross_entropy,
    "kl_divergence": kl_divergence,
    "multiclass_hinge": multiclass_hinge,
    "gaussian_nll": gaussian_nll,
    "cosine_similarity": cosine_similarity,
    "quantiles": quantiles,
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


def mean_and_variance(grouped: Array) -> Array:
    """The exponential of the second of each two."""
    return np.stack([grouped[:, :, 0], np.exp(grouped[:, :, 1])], axis=2)


def increasing(grouped: Array) -> Array:
    """The first of each group as it is, each further one the one before plus softplus of its score."""
    steps = grouped[:, :, 1:]
    rises = np.maximum(steps, 0) + np.log1p(np.exp(-np.abs(steps)))
    return np.concatenate([grouped[:, :, :1], rises], axis=2).cumsum(axis=2)


# Of scores (n, targets, outputs per target).
LINKS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda scores: scores,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "exp": np.exp,
    "expm1": np.expm1,
    "mean_and_variance": mean_and_variance,
    "increasing": increasing,
}


class LinearDescent(RowByRow):
    """One fit of a linear model; see `Backend`."""

    loss_gradient = staticmethod(loss_gradient)


def parameter_update(w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array) -> None:
    """One step of the rule, in place on w and the states."""
    for array, result in zip((w, *states), updated(w, g, states, rule, scalars), strict=True):
        array[...] = result


def updated(w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array) -> tuple[Array, ...]:
    """w and the states as the rule would make them."""
    named = dict(zip(rule.scalars, map(float, scalars), strict=True))
    results = rule(w, g, *states, **named)
    return results if rule.states else (results,)


class Moment(NamedTuple):
    """What dropout's draws depend on."""

    seed: int
    step: int


class Network:
    """Layers, a loss and an optimizer's rule; see `fastgd._kernels.backend.Network`."""

    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[LayerSpec],
        loss: Loss | None,
        rule: OptimizerRule | None,
        dtype: Any,
        step: StepSpec = PLAIN_STEP,
    ) -> None:
        self.around = step
        self.layers = tuple(layers)
        self.loss = loss
        self.rule = rule
        self.dtype = np.dtype(dtype)
        # Of each layer: its weight and bias, or gain and shift; none of dropout and softmax.
        self.parameters: list[list[Array]] = []
        self.running: dict[int, list[Array]] = {}
        width = n_inputs
        for k, layer in enumerate(layers):
            shapes: list[tuple[int, ...]] = [] if isinstance(layer, DropoutSpec | SoftmaxSpec) else [(width,), (width,)]
            if isinstance(layer, DenseSpec):
                shapes = [(width, layer.n_outputs), (layer.n_outputs,)]
                width = layer.n_outputs
            if layer.kind == "batch_norm":
                self.running[k] = [np.zeros(width, self.dtype), np.zeros(width, self.dtype)]
            self.parameters.append([np.zeros(shape, self.dtype) for shape in shapes])
        self.slots = [[np.zeros_like(w) for w in self.weights] for _ in (rule.states if rule else ())]
        # The average of the parameters, and the sum of gradients, if there are any.
        for wanted in (step.averages, step.accumulate > 1):
            if wanted:
                self.slots.append([np.zeros_like(w) for w in self.weights])

    @property
    def weights(self) -> list[Array]:
        """The parameters of all layers, themselves."""
        return [array for arrays in self.parameters for array in arrays]

    def get_weights(self) -> list[Array]:
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Iterable[Array | Iterator[Array]]) -> None:
        for array, given in zip(self.weights, weights, strict=True):
            array[...] = np.concatenate(list(given)) if isinstance(given, Iterator) else given

    def get_statistics(self) -> list[Array]:
        return [array.copy() for arrays in self.running.values() for array in arrays]

    def set_statistics(self, statistics: Iterable[Array]) -> None:
        running = [array for arrays in self.running.values() for array in arrays]
        for array, given in zip(running, statistics, strict=True):
            array[...] = given

    def get_slots(self) -> list[list[Array]]:
        return [[s.copy() for s in slot] for slot in self.slots]

    def set_slots(self, slots: Sequence[Sequence[Array]]) -> None:
        self.slots = [[np.array(s, self.dtype) for s in slot] for slot in slots]

    def takes(self, X: Any) -> bool:
        return False  # With NumPy's means a look is not quicker than the door's.

    def takes_batch(self, X: Any, targets: Any) -> bool:
        return False

    def takes_output(self, X: Any, out: Any, layer: int) -> bool:
        return False

    @quiet
    def train(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        epoch: int,
        step: int,
        n_steps: int,
        steps_before: int,
        scalars: Array,
        losses: Array,
        n_threads: int,
        order: Array | None = None,
        penalty_scales: Array | None = None,
    ) -> tuple[int, int]:
        n, first_epoch = len(X), epoch
        draws = shuffle and order is None
        if order is None:
            order = permutation(seed, epoch, n) if draws else np.arange(n)
        orders = iter(order if order.ndim == 2 else itertools.repeat(order))
        order = next(orders)
        for done in range(n_steps):
            if step * batch_size >= n:
                epoch, step = epoch + 1, 0
                order = permutation(seed, epoch, n) if draws else next(orders)
            rows = order[step * batch_size : (step + 1) * batch_size]
            chosen = np.ones(len(rows)) if weights is None else weights[rows]
            batch, moment = (X[rows], targets[rows], chosen), Moment(seed, steps_before + done)
            with self.scaled_penalties(1.0 if penalty_scales is None else float(penalty_scales[done])):
                status = self.step(batch, moment, scalars[done], losses[epoch - first_epoch])
            if status:
                return status, done + (status == 2)
            step += 1
        return 0, n_steps

    @contextmanager
    def scaled_penalties(self, scale: float) -> Iterator[None]:
        """Layers whose penalties are so many times as strong."""
        layers = self.layers
        self.layers = tuple(
            replace(layer, l1=scale * layer.l1, l2=scale * layer.l2) if isinstance(layer, DenseSpec) else layer
            for layer in layers
        )
        try:
            yield
        finally:
            self.layers = layers

    def step(self, batch: tuple[Array | SparseRows, Array, Array], moment: Moment, scalars: Array, sums: Array) -> int:
        """One optimizer step on one batch; adds to the epoch's sums. Returns the status of `train`."""
        total = float(batch[2].sum())
        if total == 0.0 and self.around.accumulate == 1:
            return 0
        passes: list[Any] | None = None
        if total == 0.0:
            loss, gradients = 0.0, self.penalty_gradients()
        else:
            loss, passes, gradients = self.descent(*batch, moment)
        if not np.isfinite(loss):
            return 1
        sums += (loss * total, total)
        status = 0
        if self.around.accumulate > 1:
            moves, scalars = scalars[-1] != 0, scalars[:-1]
            mean = self.accumulated(gradients, moves)
            status = self.move(mean, scalars) if moves else 0
        else:
            status = self.move(gradients, scalars)
        if passes is not None and not self.move_running(passes):
            status = 2
        return status

    def accumulated(self, gradients: list[Array], is_last: bool) -> list[Array]:
        """These gradients are added to those before; after the last of them the mean, and the sum begins anew."""
        for total, g in zip(self.slots[-1], gradients, strict=True):
            total += g
        share = self.dtype.type(1.0 / self.around.accumulate)
        mean = [share * total for total in self.slots[-1]]
        if is_last:
            for total in self.slots[-1]:
                total[...] = 0.0
        return mean

    def move(self, gradients: list[Array], scalars: Array) -> int:
        """The rule, and what is done before and after it. Returns the status of `train`."""
        assert self.rule is not None
        status = 0
        n_scalars, n_states = len(self.rule.scalars), len(self.rule.states)
        share, scalars = (scalars[-1], scalars[:-1]) if self.around.averages else (None, scalars)
        of_weights, of_biases = scalars[:n_scalars], scalars[-n_scalars:]
        for k, (w, g) in enumerate(zip(self.weights, self.clipped(gradients), strict=True)):
            states = [slot[k] for slot in self.slots[:n_states]]
            results = updated(w, g, states, self.rule, of_weights if w.ndim == 2 else of_biases)
            if not np.isfinite(results[0]).all():
                status = 2
                continue
            for array, result in zip((w, *states), results, strict=True):
                array[...] = result
        self.constrain()
        if share is not None:
            for average, w in zip(self.slots[n_states], self.weights, strict=True):
                average[...] = self.dtype.type(1.0 - share) * average + self.dtype.type(share) * w
        return status

    def clipped(self, gradients: list[Array]) -> list[Array]:
        """Gradients times clip_norm / (norm + clip_slack), if that is below 1; the norm is of all of them."""
        if self.around.clip_norm == np.inf:
            return gradients
        squares = [float((g.astype(np.float64) ** 2).sum()) for g in gradients]
        norm = np.sqrt(sum(squares)) + self.around.clip_slack
        factor = self.around.clip_norm / norm if norm > self.around.clip_norm else 1.0
        return [g * self.dtype.type(factor) for g in gradients]

    def constrain(self) -> None:
        """Weights below zero become zero, then columns that are too long are shortened."""
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            if not isinstance(layer, DenseSpec):
                continue
            W = parameters[0]
            if layer.nonnegative:
                np.maximum(W, 0, out=W)
            if layer.max_norm:
                norms = np.sqrt((W.astype(np.float64) ** 2).sum(axis=0))
                W *= (layer.max_norm / np.maximum(norms, layer.max_norm)).astype(W.dtype)

    def move_running(self, passes: Sequence[Any]) -> bool:
        """Move running means and variances towards the batch's; of a single row no variance can be told.

        False: a batch's are not finite, and the running ones stay.
        """
        finite = True
        for k, running in self.running.items():
            layer, done, n_rows = self.layers[k], passes[k], len(passes[k].output)
            assert isinstance(layer, BatchNormSpec)
            if n_rows == 1:
                continue
            moments = (done.mean[0], done.variance[0] * self.dtype.type(n_rows / (n_rows - 1)))
            if not np.isfinite(moments).all():
                finite = False
                continue
            for array, moment in zip(running, moments, strict=True):
                array += self.dtype.type(layer.momentum) * (moment - array)
        return finite

    def forward(self, X: Array | SparseRows, n_layers: int, moment: Moment | None = None) -> list[Any]:
        """The passes through that many layers; `moment` says when, if the batch is one that is learnt from."""
        passes: list[Any] = []
        x: Any = X.astype(self.dtype)
        for k, layer in enumerate(self.layers[:n_layers]):
            if isinstance(layer, DenseSpec):
                passes.append(DensePass(x, self.parameters[k], layer))
            elif isinstance(layer, DropoutSpec):
                rate = 0.0 if moment is None else layer.rate
                kept = kept_by_dropout(*(moment or Moment(0, 0)), k, x.shape, rate)
                passes.append(DropoutPass(x, kept, rate))
            elif isinstance(layer, SoftmaxSpec):
                passes.append(SoftmaxPass(x))
            else:
                moments = None if moment is not None else self.running.get(k)
                passes.append(NormalizationPass(x, self.parameters[k], layer, moments))
            x = passes[-1].output
        return passes

    def descent(
        self, X: Array | SparseRows, targets: Array, weights: Array | None, moment: Moment
    ) -> tuple[float, list[Any], list[Array]]:
        """The loss of a batch, the passes through the layers, and the gradients."""
        assert self.loss is not None
        passes = self.forward(X, len(self.layers), moment)
        d_out = np.empty_like(passes[-1].output)
        loss = loss_gradient(passes[-1].output, targets, self.loss, weights, d_out)
        gradients: list[Array] = []
        for done in reversed(passes):
            d_out, of_layer = done.backward(d_out)
            gradients = of_layer + gradients
        return loss + self.penalty(), passes, gradients

    @quiet
    def loss_and_gradients(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        seed: int,
        steps_before: int,
        n_threads: int = 1,
    ) -> tuple[float, list[Array]]:
        loss, _, gradients = self.descent(X, targets, weights, Moment(seed, steps_before))
        return loss, gradients

    def penalty(self) -> float:
        """l2/2 ||W||^2 + l1 ||W||_1 over the layers, without the biases."""
        total = 0.0
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            if not isinstance(layer, DenseSpec):
                continue
            exact = parameters[0].astype(np.float64)
            total += 0.5 * layer.l2 * float((exact**2).sum()) + layer.l1 * float(np.abs(exact).sum())
        return total

    def penalty_gradients(self) -> list[Array]:
        """Of all parameters, where no row has any weight."""
        gradients = [np.zeros_like(w) for w in self.weights]
        place = 0
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            if isinstance(layer, DenseSpec):
                W = parameters[0]
                gradients[place] += self.dtype.type(layer.l2) * W + self.dtype.type(layer.l1) * np.sign(W)
            place += len(parameters)
        return gradients

    @quiet
    def evaluate(
        self, X: Array | SparseRows, targets: Array, weights: Array | None, *, n_threads: int
    ) -> tuple[float, float, float]:
        assert self.loss is not None
        scores = self.forward(X, len(self.layers))[-1].output
        weights = np.ones(len(X)) if weights is None else weights
        if self.loss.compares_rows:
            values, _ = COMPARISONS[self.loss.name](scores, targets, weights, **self.loss.parameters)
        else:
            values, _ = row_losses(scores, targets, self.loss)
        return (
            weighted_sum(values, weights),
            float(weights.sum()),
            float(weights @ correct(scores, targets, self.loss)),
        )

    @quiet
    def predict(self, X: Array | SparseRows, out: Array, *, link: bool, layer: int, n_threads: int) -> None:
        result = self.forward(X, layer + 1)[-1].output
        if link and self.loss is not None and layer == len(self.layers) - 1:
            grouped = result.reshape(len(result), -1, self.loss.outputs_per_target)
            result = LINKS[self.loss.link](grouped).reshape(result.shape)
        out[...] = result


def correct(scores: Array, targets: Array, loss: Loss) -> Array:
    """1 for each row that is classified as its target, 0 for one that is not; NaN for a loss without classes."""
    if loss.by_class:
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return (scores.argmax(axis=1) == labels).astype(np.float64)
    if loss.two_sided:
        sides: Array = (scores > 0) == (targets > 0.5)
        return sides.mean(axis=1, dtype=np.float64)
    return np.full(len(scores), np.nan)
