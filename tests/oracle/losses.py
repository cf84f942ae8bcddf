"""Losses on raw scores, their gradients, their links, and the one reduction rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .activations import identity, sigmoid

Pairwise = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Loss:
    """One loss of scores z (n, O) and targets y.

    Attributes
    ----------
    value : callable
        (z, y) -> the loss of each element, shape (n, O); of each row, shape (n,), if `rowwise`.
    gradient : callable
        (z, y) -> derivative of that element's or row's loss with respect to z, shape (n, O).
    terms : callable
        (z, y) -> the sum of the absolute values of the terms the loss adds up, shaped like the value: the
        rounding error of the value is a small number of roundings of it.
    gradient_terms : callable
        The same for the gradient, shape (n, O).
    link : callable
        What `predict` applies to the scores.
    target : str
        "real", "nonnegative", "positive", "nonzero", "probability" (each in [0, 1]), "sign" (1 for one class, 0 or
        -1 for the other), "class" (labels or rows of probabilities) or "label" (labels or one-hot rows).
    rowwise : bool
        Whether a row has one loss rather than one for each output.
    kinks : callable, optional
        (z, y) -> arrays whose signs change where the first or second derivative jumps.
    """

    value: Pairwise
    gradient: Pairwise
    terms: Pairwise
    gradient_terms: Pairwise
    link: Callable[[np.ndarray], np.ndarray] = identity
    target: str = "real"
    rowwise: bool = False
    kinks: Callable[[np.ndarray, np.ndarray], list[np.ndarray]] = lambda z, y: []


def target_rows(target: np.ndarray, n_classes: int) -> np.ndarray:
    """Class labels as one-hot rows; rows are returned as they are."""
    target = np.asarray(target)
    return np.eye(n_classes)[target] if target.ndim == 1 else target.astype(float)


def squared_error(scale: float) -> Loss:
    """scale * (z - y)^2."""
    return Loss(
        value=lambda z, y: scale * (z - y) ** 2,
        gradient=lambda z, y: 2.0 * scale * (z - y),
        terms=lambda z, y: scale * (z - y) ** 2,
        gradient_terms=lambda z, y: 2.0 * scale * abs(z - y),
    )


def huber(delta: float = 1.0, scale: float = 1.0) -> Loss:
    """scale times d^2 / 2 up to a distance of delta, delta (d - delta / 2) beyond."""

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        d = abs(z - y)
        return scale * np.where(d <= delta, d**2 / 2.0, delta * d - delta**2 / 2.0)

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return scale * np.clip(z - y, -delta, delta)

    return Loss(
        value,
        gradient,
        lambda z, y: 3.0 * value(z, y),
        lambda z, y: abs(gradient(z, y)),
        kinks=lambda z, y: [z - y - delta, z - y + delta],
    )


def smooth_l1(beta: float = 1.0) -> Loss:
    """Huber's loss over beta."""
    return huber(beta, scale=1.0 / beta)


def log_cosh_value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log((e^d + e^-d) / 2); near zero, log(1 + 2 sinh(d/2)^2)."""
    d = abs(z - y)
    return np.where(d < 1.0, np.log1p(2.0 * np.sinh(np.minimum(d, 1.0) / 2.0) ** 2), np.logaddexp(d, -d) - np.log(2.0))


def asymmetric(level: float, power: int) -> Loss:
    """|z - y|^power, times 1 - level where the score is too large, times level where it is too small."""

    def weight(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(z > y, 1.0 - level, np.where(z < y, level, 0.0))

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return weight(z, y) * abs(z - y) ** power

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return power * weight(z, y) * np.sign(z - y) * abs(z - y) ** (power - 1)

    return Loss(
        value, gradient, value, lambda z, y: abs(gradient(z, y)), kinks=lambda z, y: [z - y]
    )


def quantile(level: float = 0.5) -> Loss:
    """Koenker & Bassett 1978."""
    return asymmetric(level, 1)


def expectile(level: float = 0.5) -> Loss:
    """Newey & Powell 1987."""
    return asymmetric(level, 2)


def epsilon_insensitive(epsilon: float = 0.1, power: int = 1) -> Loss:
    """max(0, |z - y| - epsilon)^power. Just below the tolerance, a rounding may make it count."""

    def beyond(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(abs(z - y) - epsilon, 0.0)

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return power * beyond(z, y) ** (power - 1) * np.sign(z - y) * (beyond(z, y) > 0.0)

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(abs(z - y) > 0.99 * epsilon, abs(z - y) + epsilon, 0.0)

    return Loss(
        value=lambda z, y: beyond(z, y) ** power,
        gradient=gradient,
        terms=lambda z, y: power * beyond(z, y) ** (power - 1) * terms(z, y),
        gradient_terms=lambda z, y: abs(gradient(z, y)) if power == 1 else 2.0 * terms(z, y),
        kinks=lambda z, y: [z - y - epsilon, z - y + epsilon],
    )


def squared_epsilon_insensitive(epsilon: float = 0.1) -> Loss:
    """The same, squared."""
    return epsilon_insensitive(epsilon, 2)


def tweedie(power: float = 1.5) -> Loss:
    """Mean m = e^z: m^(2 - power) / (2 - power) + y m^(1 - power) / (power - 1)."""

    def parts(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.exp((2.0 - power) * z), y * np.exp((1.0 - power) * z)

    # The exponents' roundings, which grow with z, come back as factors of the exponentials.
    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean, claims = parts(z, y)
        return (1.0 + abs(z)) * (mean / (2.0 - power) + claims / (power - 1.0))

    return Loss(
        value=lambda z, y: parts(z, y)[0] / (2.0 - power) + parts(z, y)[1] / (power - 1.0),
        gradient=lambda z, y: parts(z, y)[0] - parts(z, y)[1],
        terms=terms,
        gradient_terms=lambda z, y: (1.0 + abs(z)) * sum(parts(z, y)),
        link=np.exp,
        target="nonnegative",
    )


def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + e^z), which is -log(1 - p)."""
    return np.logaddexp(0.0, z)


def binary_cross_entropy(pos_weight: float = 1.0, label_smoothing: float = 0.0) -> Loss:
    """-w y log p - (1 - y) log(1 - p), with y drawn towards a half."""

    def shares(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = y * (1.0 - label_smoothing) + label_smoothing / 2.0
        return pos_weight * y, 1.0 - y

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        ones, zeros = shares(y)
        return ones * softplus(-z) + zeros * softplus(z)

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        ones, zeros = shares(y)
        return zeros * sigmoid(z) - ones * sigmoid(-z)

    # A smoothed target has been rounded, and so has what it lacks of 1.
    uncertain = 1.0 if label_smoothing else 0.0

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return value(z, y) + uncertain * (pos_weight * softplus(-z) + softplus(z))

    def gradient_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        ones, zeros = shares(y)
        return (zeros + uncertain) * sigmoid(z) + (ones + uncertain * pos_weight) * sigmoid(-z)

    return Loss(value, gradient, terms, gradient_terms, link=sigmoid, target="probability")


def binary_focal_cross_entropy(gamma: float = 2.0, pos_weight: float = 1.0) -> Loss:
    """-w y (1 - p)^gamma log p - (1 - y) p^gamma log(1 - p)."""

    def of_one(z: np.ndarray) -> np.ndarray:
        return np.exp(-gamma * softplus(z)) * softplus(-z)

    def slope_of_one(z: np.ndarray) -> np.ndarray:
        return -np.exp(-gamma * softplus(z)) * (gamma * sigmoid(z) * softplus(-z) + sigmoid(-z))

    # The power's exponent multiplies its roundings.
    def worse(function: Pairwise) -> Pairwise:
        return lambda z: abs(function(z)) * (1.0 + gamma * softplus(z))

    def mixture(function: Pairwise, sign: float) -> Pairwise:
        return lambda z, y: pos_weight * y * function(z) + sign * (1.0 - y) * function(-z)

    return Loss(
        value=mixture(of_one, 1.0),
        gradient=mixture(slope_of_one, -1.0),
        terms=mixture(worse(of_one), 1.0),
        gradient_terms=mixture(worse(slope_of_one), 1.0),
        link=sigmoid,
        target="probability",
    )


def sided(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The score, with its sign changed where the target is the negative class."""
    return np.where(y > 0, z, -z)


def margin_loss(value: Callable, slope: Callable, terms: Callable, slope_terms: Callable, kinks: tuple) -> Loss:
    """A loss of the sided score m; `slope` is its derivative by m."""
    return Loss(
        value=lambda z, y: value(sided(z, y)),
        gradient=lambda z, y: sided(slope(sided(z, y)), y),
        terms=lambda z, y: terms(sided(z, y)),
        gradient_terms=lambda z, y: slope_terms(sided(z, y)),
        target="sign",
        kinks=lambda z, y: [sided(z, y) - kink for kink in kinks],
    )


def short_of_one(m: np.ndarray) -> np.ndarray:
    """max(0, 1 - m)."""
    return np.maximum(1.0 - m, 0.0)


def short_terms(m: np.ndarray) -> np.ndarray:
    """What 1 - m was subtracted from, where it counts or a rounding may make it count."""
    return np.where(m < 1.01, 1.0 + abs(m), 0.0)


MARGIN_LOSSES = {
    "hinge": margin_loss(short_of_one, lambda m: -1.0 * (m < 1.0), short_terms, lambda m: 1.0 * (m < 1.0), (1.0,)),
    "squared_hinge": margin_loss(
        lambda m: short_of_one(m) ** 2,
        lambda m: -2.0 * short_of_one(m),
        lambda m: (2.0 * short_of_one(m) + 1e-6) * short_terms(m),
        lambda m: 2.0 * short_terms(m),
        (1.0,),
    ),
    "modified_huber": margin_loss(
        lambda m: np.where(m >= -1.0, short_of_one(m) ** 2, -4.0 * m),
        lambda m: np.where(m >= -1.0, -2.0 * short_of_one(m), -4.0),
        lambda m: np.where(m >= -1.0, (2.0 * short_of_one(m) + 1e-6) * short_terms(m), 4.0 * abs(m)),
        lambda m: np.where(m >= -1.0, 2.0 * short_terms(m), 4.0),
        (-1.0, 1.0),
    ),
    "perceptron": margin_loss(
        lambda m: np.maximum(-m, 0.0), lambda m: -1.0 * (m <= 0.0), abs, lambda m: 1.0 * (m <= 0.0), (0.0,)
    ),
}


def log_sum_exp(z: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of e^z over each row, shape (n, 1)."""
    return np.logaddexp.reduce(z, axis=1, keepdims=True)


def softmax(z: np.ndarray) -> np.ndarray:
    """e^z over its row sum."""
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_cross_entropy_value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-sum_c t_c log p_c."""
    return (target_rows(y, z.shape[1]) * (log_sum_exp(z) - z)).sum(axis=1)


def softmax_cross_entropy_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p - t."""
    return softmax(z) - target_rows(y, z.shape[1])


def softmax_cross_entropy_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest score, the logarithm, and the score of the target, as a stable implementation adds them."""
    rows = target_rows(y, z.shape[1])
    return abs(z).max(axis=1) + np.log(z.shape[1]) + (rows * abs(z)).sum(axis=1)


def margins(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 + z_c - z_y of every class c; 0 for the right class y itself."""
    rows = target_rows(y, z.shape[1])
    return np.where(rows == 1.0, 0.0, 1.0 + z - (rows * z).sum(axis=1, keepdims=True))


def multiclass_hinge_value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weston & Watkins 1999: sum over the wrong classes of max(0, 1 + z_c - z_y)."""
    return np.maximum(margins(z, y), 0.0).sum(axis=1)


def multiclass_hinge_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 for each class that violates the margin; minus their number for the right class."""
    violated = (margins(z, y) > 0.0).astype(float)
    return violated - target_rows(y, z.shape[1]) * violated.sum(axis=1, keepdims=True)


def multiclass_hinge_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 + |z_c| + |z_y| of the violating classes."""
    right = (target_rows(y, z.shape[1]) * abs(z)).sum(axis=1, keepdims=True)
    return np.where(margins(z, y) > 0.0, 1.0 + abs(z) + right, 0.0).sum(axis=1)


LOSSES: dict[str, Loss] = {
    "mean_squared_error": squared_error(1.0),
    "half_squared_error": squared_error(0.5),
    "mean_absolute_error": Loss(
        value=lambda z, y: abs(z - y),
        gradient=lambda z, y: np.sign(z - y),
        terms=lambda z, y: abs(z - y),
        gradient_terms=lambda z, y: abs(np.sign(z - y)),
        kinks=lambda z, y: [z - y],
    ),
    "huber": huber(),
    "smooth_l1": smooth_l1(),
    "log_cosh": Loss(
        log_cosh_value,
        lambda z, y: np.tanh(z - y),
        lambda z, y: log_cosh_value(z, y) + np.where(abs(z - y) > 0.99, abs(z - y) + 1.0, 0.0),
        lambda z, y: abs(np.tanh(z - y)),
        # Where the two ways of computing it meet.
        kinks=lambda z, y: [z - y - 1.0, z - y + 1.0],
    ),
    "quantile": quantile(),
    "expectile": expectile(),
    "epsilon_insensitive": epsilon_insensitive(),
    "squared_epsilon_insensitive": squared_epsilon_insensitive(),
    "poisson": Loss(
        value=lambda z, y: np.exp(z) - y * z,
        gradient=lambda z, y: np.exp(z) - y,
        terms=lambda z, y: np.exp(z) + abs(y * z),
        gradient_terms=lambda z, y: np.exp(z) + y,
        link=np.exp,
        target="nonnegative",
    ),
    "gamma": Loss(
        value=lambda z, y: z + y * np.exp(-z),
        gradient=lambda z, y: 1.0 - y * np.exp(-z),
        terms=lambda z, y: abs(z) + y * np.exp(-z),
        gradient_terms=lambda z, y: 1.0 + y * np.exp(-z),
        link=np.exp,
        target="positive",
    ),
    "tweedie": tweedie(),
    "mean_squared_log_error": Loss(
        value=lambda z, y: (z - np.log1p(y)) ** 2,
        gradient=lambda z, y: 2.0 * (z - np.log1p(y)),
        terms=lambda z, y: 2.0 * abs(z - np.log1p(y)) * (abs(z) + np.log1p(y)),
        gradient_terms=lambda z, y: 2.0 * (abs(z) + np.log1p(y)),
        link=np.expm1,
        target="nonnegative",
    ),
    "mean_absolute_percentage_error": Loss(
        value=lambda z, y: abs(z - y) / abs(y),
        gradient=lambda z, y: np.sign(z - y) / abs(y),
        terms=lambda z, y: abs(z - y) / abs(y),
        gradient_terms=lambda z, y: abs(np.sign(z - y)) / abs(y),
        target="nonzero",
        kinks=lambda z, y: [z - y],
    ),
    "binary_cross_entropy": binary_cross_entropy(),
    "binary_focal_cross_entropy": binary_focal_cross_entropy(),
    **MARGIN_LOSSES,
    "softmax_cross_entropy": Loss(
        value=softmax_cross_entropy_value,
        gradient=softmax_cross_entropy_gradient,
        terms=softmax_cross_entropy_terms,
        gradient_terms=lambda z, y: softmax(z) + target_rows(y, z.shape[1]),
        link=softmax,
        target="class",
        rowwise=True,
    ),
    "multiclass_hinge": Loss(
        value=multiclass_hinge_value,
        gradient=multiclass_hinge_gradient,
        terms=multiclass_hinge_terms,
        gradient_terms=lambda z, y: abs(multiclass_hinge_gradient(z, y)),
        target="label",
        rowwise=True,
        kinks=lambda z, y: [margins(z, y)],
    ),
}


def row_values(loss: Loss, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Loss of each row, shape (n,): the mean over outputs where each output has its own."""
    values = loss.value(z, y)
    return values if loss.rowwise else values.mean(axis=1)


def weighted_mean(values: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """sum_i w_i l_i / sum_i w_i."""
    weight = np.ones(len(values)) if sample_weight is None else np.asarray(sample_weight, float)
    return float(weight @ values / weight.sum())


def mean_loss(loss: Loss, z: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """The number that is reported, without penalties."""
    return weighted_mean(row_values(loss, z, y), sample_weight)


def row_scales(loss: Loss, z: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """What multiplies each row's gradients: w_i / sum(w), over the outputs too where there are several."""
    weight = np.ones(len(z)) if sample_weight is None else np.asarray(sample_weight, float)
    outputs = 1 if loss.rowwise else z.shape[1]
    return (weight / (weight.sum() * outputs))[:, None]


def mean_loss_gradient(
    loss: Loss, z: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of `mean_loss` with respect to the scores, shape (n, O)."""
    return row_scales(loss, z, sample_weight) * loss.gradient(z, y)
