"""How far a right answer may lie from the oracle's: derived from rounding, never tuned until green.

With the unit roundoff u = eps/2 of a precision, n operations in a row give back the exact result within the
factor 1 +- gamma(n), gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms,
2002, Lemma 3.1), and a sum of n products errs by at most gamma(n) times the sum of their absolute values, in
whatever order it is added up and with or without fused multiply-adds (section 3.1). All bounds here are made
of these two facts, carried from one array to the next; where terms cancel, the bound is of the terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from oracle import losses as oracle_losses
from oracle import network as oracle_network
from oracle.optimizers import trajectory

# exp, expm1, log, log1p and tanh are within 4 ULP, which is 8 u each. No formula applies more than two of
# them in a row, and none does more than four arithmetic operations besides.
FUNCTION_ROUNDINGS = 20

# A loss adds its terms, scales them by w_i / sum(w) and by the number of outputs: a rounding or two for each.
SCALING_ROUNDINGS = 8

# Adam, the longest rule: nine products, three sums, a root, a quotient, and four scalars that were rounded.
RULE_ROUNDINGS = 18

# A perturbed run draws the signs of its roundings at random, and so does not meet the worst case. Eight of
# them come within a factor of four of it unless all of the signs conspire.
PERTURBED_RUNS = 8
SIGN_MARGIN = 4.0


def unit_roundoff(dtype: object) -> float:
    """Half the distance from 1 to the next larger number."""
    return float(np.finfo(dtype).eps) / 2.0


def gamma(n: float, dtype: object) -> float:
    """n u / (1 - n u): the relative error of n operations in a row."""
    error = n * unit_roundoff(dtype)
    return error / (1.0 - error)


def smallest_normal(dtype: object) -> float:
    """Results below it may lose their digits, or be flushed to zero."""
    return float(np.finfo(dtype).smallest_normal)


def assert_within(actual: object, expected: object, bound: object, what: str = "value") -> None:
    """Assert that each element of `actual` is within `bound` of `expected`.

    Written so that a NaN or an infinity anywhere fails: in the answer, in what is expected, or in the bound.
    """
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    bound = np.broadcast_to(np.asarray(bound, float), expected.shape)
    with np.errstate(invalid="ignore"):
        passes = (abs(actual - expected) <= bound) & np.isfinite(expected) & np.isfinite(bound)
    if passes.all():
        return
    where = tuple(int(i) for i in np.argwhere(~passes)[0])
    raise AssertionError(
        f"{what}: {(~passes).sum()} of {passes.size} elements differ by more than their bound; "
        f"first at {where}: {actual[where]!r}, expected {expected[where]!r} within {bound[where]:.3g}"
    )


def assert_same_bits(actual: object, expected: object, what: str = "value") -> None:
    """Assert that dtype, shape and every bit are the same, in an array or in a list of arrays."""
    if isinstance(expected, list | tuple):
        assert len(actual) == len(expected), f"{what}: {len(actual)} arrays, expected {len(expected)}"
        for k, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_same_bits(one, other, f"{what}[{k}]")
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    assert actual.tobytes() == expected.tobytes(), f"{what}: the bits differ"
    assert np.isfinite(actual).all(), f"{what}: not finite"


# ------------------------------------------------------------------------------------------- single elements
def value_bound(value: np.ndarray, dtype: object) -> np.ndarray:
    """Of a function of one element: relative, but for results below the smallest normal number."""
    return gamma(FUNCTION_ROUNDINGS, dtype) * abs(value) + smallest_normal(dtype)


def activation_bound(activation: object, z: np.ndarray, dtype: object) -> np.ndarray:
    """Of f(z): relative to it, or to what its rounding errors are relative to.

    A factor that z is multiplied with, as in z s(z), may have been flushed to zero.
    """
    return value_bound((activation.value_terms or activation.value)(z), dtype) + abs(z) * smallest_normal(dtype)


def derivative_bound(activation: object, z: np.ndarray, dtype: object) -> np.ndarray:
    """Of f'(z), which may have been computed from a rounded f(z): relative to the terms it subtracts."""
    relative = gamma(2 * FUNCTION_ROUNDINGS, dtype) * abs(activation.derivative_terms(z))
    return relative + (1.0 + abs(z)) * smallest_normal(dtype)


def loss_bound(loss: object, z: np.ndarray, y: np.ndarray, dtype: object) -> np.ndarray:
    """Of the loss of each element or row: relative to the terms it adds, one for each of C classes."""
    return gamma(loss_roundings(loss, z), dtype) * loss.terms(z, y) + smallest_normal(dtype)


def loss_roundings(loss: object, z: np.ndarray) -> int:
    """Of a row's loss in a row: those of its scores, and if it compares rows, one for each of these."""
    of_rows = 0 if loss.weighted_by is None else len(z)
    return FUNCTION_ROUNDINGS + SCALING_ROUNDINGS + z.shape[1] + of_rows


def loss_gradient_bound(loss: object, z: np.ndarray, y: np.ndarray, dtype: object) -> np.ndarray:
    """Of the loss's gradient: relative to its terms. A softmax rounds z - max(z) before the exponential."""
    relative = gamma(loss_roundings(loss, z), dtype)
    if loss.link is oracle_losses.softmax:
        relative = relative + unit_roundoff(dtype) * np.ptp(z, axis=1, keepdims=True)
    return relative * loss.gradient_terms(z, y) + smallest_normal(dtype)


# ------------------------------------------------------------------------------------------- a whole network
@dataclass(frozen=True)
class NetworkBounds:
    """Bounds of one evaluation: of the scores, the reported loss, and each parameter array's gradient."""

    scores: np.ndarray
    loss: float
    gradients: list[np.ndarray]


def change_within(function: Callable, z: np.ndarray, error: np.ndarray) -> np.ndarray:
    """How far a function of z alone moves when z moves by up to `error` either way, its jumps included."""
    here = function(z)
    return np.maximum(abs(function(z + error) - here), abs(function(z - error) - here))


def forward_bounds(network: object, weights: Sequence[np.ndarray], x: np.ndarray, dtype: object) -> tuple:
    """Errors of every layer's input (and of the output last), and of every layer's z."""
    outputs, sums = network.forward(weights, x)
    output_errors, sum_errors = [np.zeros_like(outputs[0])], []
    for k, layer in enumerate(network.layers):
        w, b = abs(weights[2 * k]), abs(weights[2 * k + 1])
        reach = abs(outputs[k]) + output_errors[k]
        error = output_errors[k] @ w + gamma(len(w) + 1, dtype) * (reach @ w + b)
        sum_errors.append(error)
        moved = change_within(layer.activation.value, sums[k], error)
        output_errors.append(moved + activation_bound(layer.activation, sums[k], dtype))
    return output_errors, sum_errors


def score_gradient_errors(
    loss: object, z: np.ndarray, y: np.ndarray, error: np.ndarray, dtype: object
) -> np.ndarray:
    """Error of the loss's gradient at scores that are themselves off by up to `error`."""
    own = loss_gradient_bound(loss, z, y, dtype)
    if not loss.rowwise:
        return own + change_within(lambda s: loss.gradient(s, y), z, error)
    # Each score of a row by itself, twice as far as it may be off: a margin of two scores that both moves could close
    # is closed by one of these.
    here, change = loss.gradient(z, y), np.zeros_like(z)
    # Where rows are compared, each by itself too.
    together = [slice(None)] if loss.weighted_by is None else range(len(z))
    for rows, column in product(together, range(z.shape[1])):
        shift = np.zeros_like(z)
        shift[rows, column] = 2.0 * error[rows, column]
        change += np.maximum(abs(loss.gradient(z + shift, y) - here), abs(loss.gradient(z - shift, y) - here))
    return own + change


def loss_errors(loss: object, z: np.ndarray, y: np.ndarray, error: np.ndarray, dtype: object) -> np.ndarray:
    """Error of each row's loss at scores that are off by up to `error`, along which the slope changes too."""
    own = loss_bound(loss, z, y, dtype)
    slope = abs(loss.gradient(z, y)) + score_gradient_errors(loss, z, y, error, dtype)
    if loss.rowwise:
        return own + (slope * error).sum(axis=1)
    return (own + slope * error).mean(axis=1)


def gradient_bounds(
    network: object,
    weights: list[np.ndarray],
    x: np.ndarray,
    target: np.ndarray,
    sample_weight: np.ndarray | None,
    dtype: object,
) -> list[np.ndarray]:
    """The textbook's backward pass with each array's error beside it."""
    outputs, sums = network.forward(weights, x)
    output_errors, sum_errors = forward_bounds(network, weights, x, dtype)
    loss = oracle_losses.under_weights(network.loss, sample_weight)
    scales = oracle_losses.row_scales(loss, outputs[-1], sample_weight)
    delta = scales * loss.gradient(outputs[-1], target)
    error = scales * score_gradient_errors(loss, outputs[-1], target, output_errors[-1], dtype)
    scaling, summing = gamma(SCALING_ROUNDINGS, dtype), gamma(len(x) + SCALING_ROUNDINGS, dtype)
    gradients: list[np.ndarray] = []
    for k in reversed(range(len(network.layers))):
        layer, w = network.layers[k], weights[2 * k]
        slope = layer.activation.derivative(sums[k])
        slope_error = derivative_bound(layer.activation, sums[k], dtype)
        slope_error = slope_error + change_within(layer.activation.derivative, sums[k], sum_errors[k])
        error = error * (abs(slope) + slope_error) + abs(delta) * (slope_error + scaling * abs(slope))
        delta = delta * slope
        reach = (abs(outputs[k]) + output_errors[k]).T
        of_weights = reach @ (error + summing * abs(delta)) + output_errors[k].T @ abs(delta)
        of_penalty = scaling * (layer.l2 * abs(w) + layer.l1)
        of_biases = error.sum(axis=0) + summing * abs(delta).sum(axis=0)
        gradients = [of_weights + of_penalty, of_biases, *gradients]
        error = (error + gamma(w.shape[1], dtype) * abs(delta)) @ abs(w).T
        delta = delta @ w.T
    return [bound + smallest_normal(dtype) for bound in gradients]


def network_bounds(
    network: object,
    weights: Sequence[np.ndarray],
    x: np.ndarray,
    target: np.ndarray,
    sample_weight: np.ndarray | None,
    dtype: object,
) -> NetworkBounds:
    """Running error analysis of one forward and one backward pass in `dtype`, the inputs being exact."""
    weights = [np.asarray(w, float) for w in weights]
    errors, z = forward_bounds(network, weights, x, dtype)[0][-1], network.scores(weights, x)
    loss = oracle_losses.under_weights(network.loss, sample_weight)
    of_rows = loss_errors(loss, z, target, errors, dtype)
    values = abs(oracle_losses.row_values(loss, z, target))
    # Rows are summed up in float64, whatever they were computed in.
    of_sum = gamma(len(x) + SCALING_ROUNDINGS, np.float64) * values
    of_penalty = gamma(sum(w.size for w in weights) + SCALING_ROUNDINGS, dtype) * network.penalty(weights)
    of_loss = oracle_losses.weighted_mean(of_rows + of_sum, sample_weight) + of_penalty
    gradients = gradient_bounds(network, weights, x, target, sample_weight, dtype)
    return NetworkBounds(errors, of_loss + smallest_normal(dtype), gradients)


# ---------------------------------------------------------------------------------------------- trajectories
def trajectory_bound(
    new_rule: Callable[[], object], start: np.ndarray, gradients: np.ndarray, dtype: object
) -> np.ndarray:
    """Of the parameters after each step along gradients that are given exactly, shape (n_steps, ...).

    The oldest term in the state has been through t products and t sums with a decay factor that was itself
    rounded, and the parameters are rounded once a step. Where signed terms cancel in the state, the error is
    relative to what it would be without cancellation, which is the path along |g|. Where the rule itself takes
    differences, the conditioning is measured: the path again with every rounding at its largest, with random signs.
    """
    path = abs(trajectory(new_rule(), np.zeros_like(start), abs(gradients)))
    steps = np.arange(1, len(gradients) + 1).reshape(-1, *[1] * np.ndim(start))
    relative = unit_roundoff(dtype) * (4.0 * steps + RULE_ROUNDINGS)
    bound = relative * path + unit_roundoff(dtype) * steps * (abs(start) + path) + smallest_normal(dtype)
    right = trajectory(new_rule(), start, gradients)
    for run in range(PERTURBED_RUNS):
        perturbed = PerturbedRule(new_rule(), np.random.default_rng(run), dtype)
        bound = np.maximum(bound, SIGN_MARGIN * abs(trajectory(perturbed, start, gradients) - right))
    return bound


class PerturbedRule:
    """An optimizer's rule whose roundings are drawn: of the gradient's terms, the step and the parameters.

    A step's scalars are computed in float64 whatever the dtype; where they cancel, the rule says by how much.
    """

    def __init__(self, rule: object, draw: np.random.Generator, dtype: object) -> None:
        self.rule, self.draw = rule, draw
        self.relative = unit_roundoff(dtype) * RULE_ROUNDINGS
        self.unit = unit_roundoff(dtype)

    def signs(self, shape: tuple[int, ...]) -> np.ndarray:
        """Random signs."""
        return self.draw.choice([-1.0, 1.0], size=shape)

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """One step with every rounding at its largest, either way."""
        moved = self.rule.step(w, g * (1.0 + self.relative * self.signs(g.shape)))
        of_step = self.relative + unit_roundoff("float64") * self.rule.cancellation()
        moved = w + (moved - w) * (1.0 + of_step * self.signs(w.shape))
        return moved + self.unit * abs(moved) * self.signs(w.shape)


@dataclass(frozen=True)
class PerturbedNetwork:
    """A network whose losses and gradients are off by their whole bound, either way."""

    network: object
    draw: np.random.Generator
    dtype: object

    def loss_and_gradients(
        self, weights: Sequence[np.ndarray], x: np.ndarray, target: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, list[np.ndarray]]:
        """The oracle's loss and gradients, moved to the ends of their bounds."""
        bounds = network_bounds(self.network, weights, x, target, sample_weight, self.dtype)
        loss, gradients = self.network.loss_and_gradients(weights, x, target, sample_weight)
        return loss + self.draw.choice([-1.0, 1.0]) * bounds.loss, [
            g + bound * self.draw.choice([-1.0, 1.0], size=g.shape)
            for g, bound in zip(gradients, bounds.gradients, strict=True)
        ]


def training_bounds(
    network: object,
    weights: Sequence[np.ndarray],
    new_rule: Callable[[], object],
    x: np.ndarray,
    target: np.ndarray,
    epochs: list,
    sample_weight: np.ndarray | None,
    dtype: object,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Of the weights after training, and of each epoch's loss: the conditioning is measured on the oracle.

    Training multiplies an early rounding by whatever the losses' curvature makes of it, which no closed bound
    tells usefully. So the oracle is run again with every gradient and every step moved to the end of its
    bound, with random signs, and the greatest departure counts.
    """
    weight, loss = oracle_network.train(network, weights, new_rule, x, target, epochs, sample_weight)
    unit = unit_roundoff(dtype)
    weight_bounds = [unit * abs(w) + smallest_normal(dtype) for w in weight]
    loss_bounds = unit * abs(np.array(loss)) + smallest_normal(dtype)
    for run in range(PERTURBED_RUNS):
        draw = np.random.default_rng(run)
        moved, moved_loss = oracle_network.train(
            PerturbedNetwork(network, draw, dtype),
            weights,
            lambda draw=draw: PerturbedRule(new_rule(), draw, dtype),
            x,
            target,
            epochs,
            sample_weight,
        )
        weight_bounds = [
            np.maximum(bound, SIGN_MARGIN * abs(m - w))
            for bound, m, w in zip(weight_bounds, moved, weight, strict=True)
        ]
        loss_bounds = np.maximum(loss_bounds, SIGN_MARGIN * abs(np.array(moved_loss) - np.array(loss)))
    return weight_bounds, loss_bounds
