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
        "real", "probability" (each in [0, 1]), "class" (labels or rows of probabilities) or "label" (labels
        or one-hot rows).
    rowwise : bool
        Whether a row has one loss rather than one for each output.
    """

    value: Pairwise
    gradient: Pairwise
    terms: Pairwise
    gradient_terms: Pairwise
    link: Callable[[np.ndarray], np.ndarray] = identity
    target: str = "real"
    rowwise: bool = False


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


def binary_cross_entropy_value(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-y log s(z) - (1 - y) log(1 - s(z)), from -log s(z) = log(1 + e^-z)."""
    return y * np.logaddexp(0.0, -z) + (1.0 - y) * np.logaddexp(0.0, z)


def binary_cross_entropy_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """s(z) - y, written so that nothing cancels when y is 0 or 1: (1 - y) s(z) - y s(-z)."""
    return (1.0 - y) * sigmoid(z) - y * sigmoid(-z)


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
    ),
    "binary_cross_entropy": Loss(
        value=binary_cross_entropy_value,
        gradient=binary_cross_entropy_gradient,
        # What the usual stable form max(z, 0) - z y + log1p(e^-|z|) adds up.
        terms=lambda z, y: np.maximum(z, 0.0) + abs(z * y) + np.logaddexp(0.0, -abs(z)),
        gradient_terms=lambda z, y: sigmoid(z) + y,
        link=sigmoid,
        target="probability",
    ),
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
