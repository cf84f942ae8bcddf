"""Losses on raw scores, their gradients, their links, and the one reduction rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

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
        "real", "nonnegative", "positive", "nonzero", "direction" (rows that are not all zero), "probability" (each in
        [0, 1]), "sign" (1 for one class, 0 or -1 for the other), "class" (labels or rows of probabilities) or "label"
        (labels or one-hot rows) or "identity" (integers that are the same for rows that belong together).
    rowwise : bool
        Whether a row has one loss rather than one for each output.
    outputs_per_target : int
        How many neighbouring outputs belong to one target.
    kinks : callable, optional
        (z, y) -> arrays whose signs change where the first or second derivative jumps.
    weighted_by : callable, optional
        For a loss that compares the rows of a batch with each other: the same loss, of rows that have these weights.
        A row's gradient is then that of the weighted mean over the row's share of the weights.
    """

    value: Pairwise
    gradient: Pairwise
    terms: Pairwise
    gradient_terms: Pairwise
    link: Callable[[np.ndarray], np.ndarray] = identity
    target: str = "real"
    rowwise: bool = False
    outputs_per_target: int = 1
    kinks: Callable[[np.ndarray, np.ndarray], list[np.ndarray]] = lambda z, y: []
    weighted_by: Callable[[np.ndarray], Loss] | None = None


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


def mixed_targets(
    y: np.ndarray, n_classes: int, label_smoothing: float, class_weight: Sequence[float] | None
) -> np.ndarray:
    """Each class's target drawn towards 1/C, times the weight of the class."""
    weight = np.ones(n_classes) if class_weight is None else np.array(class_weight)
    return weight * ((1.0 - label_smoothing) * target_rows(y, n_classes) + label_smoothing / n_classes)


def softmax_cross_entropy(label_smoothing: float = 0.0, class_weight: Sequence[float] | None = None) -> Loss:
    """-sum_c u_c log p_c; the gradient is p sum_c u_c - u."""

    def mixed(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return mixed_targets(y, z.shape[1], label_smoothing, class_weight)

    def gradient_of(sign: float) -> Pairwise:
        return lambda z, y: softmax(z) * mixed(z, y).sum(axis=1, keepdims=True) + sign * mixed(z, y)

    # The largest score, the logarithm, and each class's score, as a stable implementation adds them.
    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (mixed(z, y) * (abs(z).max(axis=1, keepdims=True) + np.log(z.shape[1]) + abs(z))).sum(axis=1)

    return Loss(
        value=lambda z, y: (mixed(z, y) * (log_sum_exp(z) - z)).sum(axis=1),
        gradient=gradient_of(-1.0),
        terms=terms,
        gradient_terms=gradient_of(1.0),
        link=softmax,
        target="class",
        rowwise=True,
    )


def kl_divergence() -> Loss:
    """sum_c t_c (log t_c - log p_c)."""
    cross_entropy = softmax_cross_entropy()

    def entropy(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        t = target_rows(y, z.shape[1])
        return -(t * np.log(np.where(t > 0.0, t, 1.0))).sum(axis=1)

    return replace(
        cross_entropy,
        value=lambda z, y: cross_entropy.value(z, y) - entropy(z, y),
        terms=lambda z, y: cross_entropy.terms(z, y) + entropy(z, y),
    )


def without_each(values: np.ndarray) -> np.ndarray:
    """For each column the sum of the others, added up without it."""
    others = ~np.eye(values.shape[1], dtype=bool)
    return np.stack([values[:, keep].sum(axis=1) for keep in others], axis=1)


def softmax_focal_cross_entropy(
    gamma: float = 2.0, label_smoothing: float = 0.0, class_weight: Sequence[float] | None = None
) -> Loss:
    """-sum_c u_c q_c^gamma log p_c, with q_c the sum of the other classes' probabilities."""

    def parts(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        u = mixed_targets(y, z.shape[1], label_smoothing, class_weight)
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - log_sum_exp(z)
        # Of all but one class by itself: what a probability near 1 lacks of it.
        log_q = np.stack(
            [log_sum_exp(np.delete(z, c, axis=1))[:, 0] for c in range(z.shape[1])], axis=1
        ) - log_sum_exp(z)
        log_p = np.where(log_q < -1.0, np.log1p(-np.exp(np.minimum(log_q, -1.0))), log_p)
        return u, log_p, log_q

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, log_p, log_q = parts(z, y)
        return -(u * np.exp(gamma * log_q) * log_p).sum(axis=1)

    def slopes(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """p df/dp of each class's loss f, with its sign changed."""
        u, log_p, log_q = parts(z, y)
        ratio = np.where(log_q < -700.0, 1.0, -log_p * np.exp(log_p - np.maximum(log_q, -700.0)))
        return u * np.exp(gamma * log_q) * (gamma * ratio + 1.0)

    def gradient_of(sign: float) -> Pairwise:
        def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
            _, log_p, log_q = parts(z, y)
            s = slopes(z, y)
            return np.exp(log_p) * without_each(s) + sign * s * np.exp(log_q)

        return gradient

    # Scores less the largest are rounded before the exponential, and gamma multiplies what the logarithm of q errs by.
    def conditioning(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        spread = np.ptp(z, axis=1, keepdims=True)
        return (1.0 + gamma) * (1.0 + spread) + gamma * np.minimum(abs(parts(z, y)[2]), 1.0 + spread)

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, log_p, log_q = parts(z, y)
        return (conditioning(z, y) * u * np.exp(gamma * log_q) * abs(log_p)).sum(axis=1)

    return Loss(
        value=value,
        gradient=gradient_of(-1.0),
        terms=terms,
        gradient_terms=lambda z, y: conditioning(z, y).max(axis=1, keepdims=True) * gradient_of(1.0)(z, y),
        link=softmax,
        target="class",
        rowwise=True,
    )


def margins(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 + z_c - z_y of every class c; 0 for the right class y itself."""
    rows = target_rows(y, z.shape[1])
    return np.where(rows == 1.0, 0.0, 1.0 + z - (rows * z).sum(axis=1, keepdims=True))


def multiclass_hinge(crammer_singer: bool = False, squared: bool = False) -> Loss:
    """The sum of max(0, 1 + z_c - z_y), or of its square, over the wrong classes; or the largest of them alone."""
    power = 2 if squared else 1

    def counted(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        if not crammer_singer:
            return margins(z, y)
        wrong = np.where(target_rows(y, z.shape[1]) == 1.0, -np.inf, z)
        first = wrong.argmax(axis=1)[:, None] == np.arange(z.shape[1])
        return np.where(first, margins(z, y), 0.0)

    def slopes(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        short = counted(z, y)
        return power * np.maximum(short, 0.0) ** (power - 1) * (short > 0.0)

    def gradient_of(sign: float, slopes: Pairwise) -> Pairwise:
        def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
            s = slopes(z, y)
            return s + sign * target_rows(y, z.shape[1]) * s.sum(axis=1, keepdims=True)

        return gradient

    # 1 + |z_c| + |z_y| of the classes that count, or that a rounding may make count.
    def margin_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        right = (target_rows(y, z.shape[1]) * abs(z)).sum(axis=1, keepdims=True)
        nearly = counted(z, y) > (0.0 if power == 1 else -1e-5 * (1.0 + abs(z) + right))
        return np.where(nearly & (counted(z, y) != 0.0), 1.0 + abs(z) + right, 0.0)

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        scale = 1.0 if power == 1 else 2.0 * np.maximum(counted(z, y), 0.0) + 1e-6
        return (scale * margin_terms(z, y)).sum(axis=1)

    def kinks(z: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        # Which class is the nearest changes where two scores are equal.
        return [margins(z, y), *([z[:, :, None] - z[:, None, :]] if crammer_singer else [])]

    return Loss(
        value=lambda z, y: (np.maximum(counted(z, y), 0.0) ** power).sum(axis=1),
        gradient=gradient_of(-1.0, slopes),
        terms=terms,
        gradient_terms=gradient_of(1.0, slopes if power == 1 else lambda z, y: 2.0 * margin_terms(z, y)),
        target="label",
        rowwise=True,
        kinks=kinks,
    )


def gaussian_nll() -> Loss:
    """(s + (m - y)^2 / e^s) / 2 for each target, and the mean; scores are m and s in turn."""

    def split(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return z[:, 0::2], z[:, 1::2]

    def joined(of_mean: np.ndarray, of_log_variance: np.ndarray) -> np.ndarray:
        both = np.empty((len(of_mean), 2 * of_mean.shape[1]))
        both[:, 0::2], both[:, 1::2] = of_mean, of_log_variance
        return both / of_mean.shape[1]

    def link(z: np.ndarray) -> np.ndarray:
        mean, log_variance = split(z)
        return joined(mean, np.exp(log_variance)) * mean.shape[1]

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean, s = split(z)
        return 0.5 * (s + (mean - y) ** 2 * np.exp(-s)).mean(axis=1)

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean, s = split(z)
        return joined((mean - y) * np.exp(-s), 0.5 - 0.5 * (mean - y) ** 2 * np.exp(-s))

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean, s = split(z)
        return 0.5 * (abs(s) + (mean - y) ** 2 * np.exp(-s)).mean(axis=1)

    def gradient_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean, s = split(z)
        return joined(abs(mean - y) * np.exp(-s), 0.5 + 0.5 * (mean - y) ** 2 * np.exp(-s))

    return Loss(value, gradient, terms, gradient_terms, link=link, rowwise=True, outputs_per_target=2)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows over their lengths, whose squares may be beyond the range of numbers."""
    rows = rows / abs(rows).max(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine_similarity() -> Loss:
    """1 - cos; at small angles half the squared distance of the unit vectors, which has more digits."""

    def value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 * ((unit(z) - unit(y)) ** 2).sum(axis=1)

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        cosine = (unit(z) * unit(y)).sum(axis=1, keepdims=True)
        return (cosine * unit(z) - unit(y)) / np.linalg.norm(z, axis=1, keepdims=True)

    # Unit vectors err by a few roundings of their elements; where they are equal, the square of that is left, and what
    # is added here times float32's roundings is more.
    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        return value(z, y) + (abs(unit(z) - unit(y)) * (abs(unit(z)) + abs(unit(y)))).sum(axis=1) + 1e-5

    return Loss(
        value,
        gradient,
        terms,
        lambda z, y: (3.0 * abs(unit(z)) + abs(unit(y))) / np.linalg.norm(z, axis=1, keepdims=True),
        target="direction",
        rowwise=True,
    )


def quantiles(non_crossing: bool = False, levels: Sequence[float] = (0.1, 0.5, 0.9)) -> Loss:
    """The mean of the quantile losses of every target and level."""
    level, count = np.array(levels), len(levels)

    def predicted(z: np.ndarray) -> np.ndarray:
        grouped = z.reshape(len(z), -1, count)
        if not non_crossing:
            return grouped
        return np.cumsum(np.concatenate([grouped[:, :, :1], softplus(grouped[:, :, 1:])], axis=2), axis=2)

    def slopes(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        error = predicted(z) - y[:, :, None]
        return np.where(error > 0.0, 1.0 - level, np.where(error < 0.0, -level, 0.0))

    def by_scores(by_quantiles: np.ndarray, z: np.ndarray) -> np.ndarray:
        if non_crossing:
            grouped = z.reshape(by_quantiles.shape)
            above = np.triu(np.ones((count, count)))
            rate = np.concatenate([np.ones_like(grouped[:, :, :1]), sigmoid(grouped[:, :, 1:])], axis=2)
            by_quantiles = rate * (by_quantiles @ above.T)
        return by_quantiles.reshape(z.shape) / z.shape[1]

    def terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        size = abs(predicted(z)) + abs(y)[:, :, None]
        if non_crossing:
            size = size + np.cumsum(abs(predicted(z)), axis=2) + abs(z.reshape(size.shape)[:, :, :1])
        return (abs(slopes(z, y)) * size).reshape(len(z), -1).mean(axis=1)

    return Loss(
        value=lambda z, y: (
            (slopes(z, y) * (predicted(z) - y[:, :, None])).reshape(len(z), -1).mean(axis=1)
        ),
        gradient=lambda z, y: by_scores(slopes(z, y), z),
        terms=terms,
        gradient_terms=lambda z, y: by_scores(abs(slopes(z, y)), z),
        link=lambda z: predicted(z).reshape(z.shape),
        rowwise=True,
        outputs_per_target=count,
        kinks=lambda z, y: [predicted(z) - y[:, :, None]],
    )


# (distances (n, n), which are the same (n, n), weights (n,)) -> for each row its loss and the terms of that, both (n,);
# and the slope of its loss by each distance, and the terms of that, both (n, n).
OfDistances = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def differences(z: np.ndarray) -> np.ndarray:
    """z_i - z_j of all pairs, (n, n, O)."""
    return z[:, None, :] - z[None, :, :]


def comparison(of_distances: OfDistances, kinks: Callable, weight: np.ndarray | None = None) -> Loss:
    """A loss of the Euclidean distances between the rows of a batch."""

    def evaluated(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        w = np.ones(len(z)) if weight is None else weight
        return (w, *of_distances(np.linalg.norm(differences(z), axis=2), y[:, None] == y, w))

    def by_scores(slopes: np.ndarray, w: np.ndarray, along: np.ndarray) -> np.ndarray:
        """The slopes of all rows' losses by the distances, each along the unit vector between its two rows."""
        of_pairs = w[:, None] * slopes + (w[:, None] * slopes).T
        length = np.linalg.norm(along, axis=2)
        units = along / np.where(length > 0.0, length, 1.0)[:, :, None]
        return (of_pairs[:, :, None] * units).sum(axis=1) / np.where(w > 0.0, w, 1.0)[:, None]

    def gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        w, _, _, slopes, _ = evaluated(z, y)
        return by_scores(slopes, w, differences(z))

    def gradient_terms(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        w, _, _, _, slope_terms = evaluated(z, y)
        return by_scores(slope_terms, w, abs(differences(z)))

    return Loss(
        value=lambda z, y: evaluated(z, y)[1],
        gradient=gradient,
        terms=lambda z, y: evaluated(z, y)[2],
        gradient_terms=gradient_terms,
        target="identity",
        rowwise=True,
        kinks=lambda z, y: kinks(np.linalg.norm(differences(z), axis=2)),
        weighted_by=lambda w: comparison(of_distances, kinks, w),
    )


def shares_of(weights: np.ndarray) -> np.ndarray:
    """Each row over its sum; zeros where that is zero."""
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0.0, total, 1.0)


def contrastive(margin: float = 1.0) -> Loss:
    """The mean over all other rows of d^2 / 2 for the same and max(0, margin - d)^2 / 2 for different ones."""

    def of_distances(d: np.ndarray, same: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        share, short = shares_of(w * ~np.eye(len(d), dtype=bool)), np.maximum(margin - d, 0.0)
        terms = np.where(d < 1.01 * margin, margin + d, 0.0)
        return (
            (share * np.where(same, d**2, short**2) / 2.0).sum(axis=1),
            (share * np.where(same, d**2, (short + 1e-6) * terms)).sum(axis=1),
            share * np.where(same, d, -short),
            share * np.where(same, d, terms),
        )

    return comparison(of_distances, lambda d: [d - margin])


def triplet(margin: float = 1.0, hardest: bool = False) -> Loss:
    """The mean of max(0, margin + d_p - d_n) over all rows p that are the same and all n that are not, or the worst."""

    def of_distances(d: np.ndarray, same: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        value, terms, slopes, slope_terms = np.zeros(len(d)), np.zeros(len(d)), np.zeros_like(d), np.zeros_like(d)
        for a in range(len(d)):
            near = [p for p in range(len(d)) if p != a and same[a, p] and w[p] > 0.0]
            far = [n for n in range(len(d)) if not same[a, n] and w[n] > 0.0]
            if hardest and near and far:
                near, far = [max(near, key=lambda p: d[a, p])], [min(far, key=lambda n: d[a, n])]
            for p, n in product(near, far):
                share = w[p] * w[n] / (w[near].sum() * w[far].sum())
                violation, size = margin + d[a, p] - d[a, n], margin + d[a, p] + d[a, n]
                value[a] += share * max(violation, 0.0)
                # Just below zero, a rounding may make it count.
                terms[a] += share * size * (violation > -1e-5 * size)
                for j, sign in ((p, 1.0), (n, -1.0)):
                    slopes[a, j] += sign * share * (violation > 0.0)
                    slope_terms[a, j] += share * (violation > 0.0)
        return value, terms, slopes, slope_terms

    def kinks(d: np.ndarray) -> list[np.ndarray]:
        further = d[:, :, None] - d[:, None, :]
        return [margin + further, *([further] if hardest else [])]

    return comparison(of_distances, kinks)


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
    "softmax_cross_entropy": softmax_cross_entropy(),
    "softmax_focal_cross_entropy": softmax_focal_cross_entropy(),
    "kl_divergence": kl_divergence(),
    "multiclass_hinge": multiclass_hinge(),
    "gaussian_nll": gaussian_nll(),
    "cosine_similarity": cosine_similarity(),
    "quantiles": quantiles(),
    "contrastive": contrastive(),
    "triplet": triplet(),
}


def under_weights(loss: Loss, sample_weight: np.ndarray | None) -> Loss:
    """The loss as rows of these weights have it."""
    if loss.weighted_by is None or sample_weight is None:
        return loss
    return loss.weighted_by(np.asarray(sample_weight, float))


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
    return weighted_mean(row_values(under_weights(loss, sample_weight), z, y), sample_weight)


def row_scales(loss: Loss, z: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """What multiplies each row's gradients: w_i / sum(w), over the outputs too where there are several."""
    weight = np.ones(len(z)) if sample_weight is None else np.asarray(sample_weight, float)
    outputs = 1 if loss.rowwise else z.shape[1]
    return (weight / (weight.sum() * outputs))[:, None]


def mean_loss_gradient(
    loss: Loss, z: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of `mean_loss` with respect to the scores, shape (n, O)."""
    return row_scales(loss, z, sample_weight) * under_weights(loss, sample_weight).gradient(z, y)
