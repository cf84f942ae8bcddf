"""Losses on raw scores: elementwise ones as formulas, row-wise ones as declarations of kernels.

A loss owns its link, what turns scores into predictions; `predict` applies it. Calling an elementwise loss
gives its values element by element; what a model reports is their weighted mean, over the outputs too.
"""

from __future__ import annotations

from ._formula import exp, log1p, loss, rowwise_loss

__all__ = [
    "binary_cross_entropy",
    "half_squared_error",
    "mean_absolute_error",
    "mean_squared_error",
    "multiclass_hinge",
    "softmax_cross_entropy",
]


@loss(link="linear", target="real")
def mean_squared_error(score, target):
    """Squared error: l = (s - y)^2, without a factor of one half.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.

    Returns
    -------
    ndarray
        Elementwise values.

    Notes
    -----
    The derivative by the score is 2 (s - y).

    Examples
    --------
    >>> from fastgd.losses import mean_squared_error
    >>> mean_squared_error([1.0, 3.0], [1.5, 1.0])
    array([0.25, 4.  ])
    """
    return (score - target) ** 2


@mean_squared_error.derivative
def _(score, target):
    return 2.0 * (score - target)


@loss(link="linear", target="real")
def half_squared_error(score, target):
    """Half the squared error: l = (s - y)^2 / 2, scikit-learn's convention.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.

    Returns
    -------
    ndarray
        Elementwise values.

    Notes
    -----
    The derivative by the score is s - y.

    Examples
    --------
    >>> from fastgd.losses import half_squared_error
    >>> half_squared_error([1.5], [3.0])
    array([1.125])
    """
    return 0.5 * (score - target) ** 2


@half_squared_error.derivative
def _(score, target):
    return score - target


@loss(link="linear", target="real")
def mean_absolute_error(score, target):
    """Absolute error: ``l = |s - y|``.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.

    Returns
    -------
    ndarray
        Elementwise values.

    Notes
    -----
    The derivative by the score is the sign of s - y, and 0 where the two are equal.

    Examples
    --------
    >>> from fastgd.losses import mean_absolute_error
    >>> mean_absolute_error([1.0, 3.0], [1.5, 1.0])
    array([0.5, 2. ])
    """
    return abs(score - target)


@mean_absolute_error.derivative
def _(score, target):
    difference = score - target
    # What is neither above nor below zero is zero, or a NaN that must not be hidden.
    return 1.0 if difference > 0.0 else -1.0 if difference < 0.0 else difference


@loss(link="sigmoid", target="probability")
def binary_cross_entropy(score, target):
    """Cross-entropy of a probability p = 1 / (1 + e^-s): l = -y log p - (1 - y) log(1 - p).

    Parameters
    ----------
    score : array_like
        Raw scores (logits), not probabilities.
    target : array_like
        Labels 0 and 1, or probabilities between.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    Computed as ``max(s, 0) - s y + log(1 + e^-|s|)``, which neither overflows nor takes the logarithm of zero.
    The derivative by the score is p - y, computed without cancellation where p is near 1.

    Examples
    --------
    >>> from fastgd.losses import binary_cross_entropy
    >>> binary_cross_entropy([0.0, 1000.0, -1000.0], [1.0, 1.0, 1.0]).round(4)
    array([6.931e-01, 0.000e+00, 1.000e+03])
    """
    return (0.0 if score < 0.0 else score) - score * target + log1p(exp(-abs(score)))


@binary_cross_entropy.derivative
def _(score, target):
    e = exp(-abs(score))
    tail = e / (1.0 + e)
    # sigmoid(score) is tail below zero and 1 - tail above; taken apart, or 1 would be subtracted from 1.
    return tail - target if score < 0.0 else (1.0 - target) - tail


softmax_cross_entropy = rowwise_loss(
    "softmax_cross_entropy",
    link="softmax",
    target="class",
    module=__name__,
    doc="""\
Cross-entropy of the probabilities p = softmax(s) of a row of scores: l = -sum_k y_k log p_k.

For an integer label c this is log(sum_k e^s_k) - s_c, computed from the scores less their largest. The
derivative by the scores is p - y (for targets that sum to 1).

Targets are integer labels from 0 to C - 1, or rows of C probabilities.

Examples
--------
>>> from fastgd.losses import softmax_cross_entropy
>>> softmax_cross_entropy
<loss softmax_cross_entropy>
>>> softmax_cross_entropy.link, softmax_cross_entropy.target, softmax_cross_entropy.rowwise
('softmax', 'class', True)
""",
)

multiclass_hinge = rowwise_loss(
    "multiclass_hinge",
    link="linear",
    target="label",
    module=__name__,
    doc="""\
Hinge loss of Weston and Watkins over a row of scores: l = sum over j != c of max(0, 1 + s_j - s_c).

c is the right class. A wrong class counts until its score is at least 1 below the right one's. The derivative
by s_j is 1 where it counts; by s_c, minus the number of those.

Targets are integer labels from 0 to C - 1, or one-hot rows.

References
----------
Weston & Watkins, Support vector machines for multi-class pattern recognition, ESANN 1999.

Examples
--------
>>> from fastgd.losses import multiclass_hinge
>>> multiclass_hinge.link, multiclass_hinge.target, multiclass_hinge.rowwise
('linear', 'label', True)
""",
)
