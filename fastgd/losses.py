"""Losses on raw scores: elementwise ones as formulas, row-wise ones as declarations of kernels.

A loss owns its link, what turns scores into predictions; `predict` applies it. Calling an elementwise loss
gives its values element by element, or, without arrays, a copy with other parameters, ``huber(delta=0.5)``;
what a model reports is their weighted mean, over the outputs too.
"""

from __future__ import annotations

from ._formula import exp, expm1, log1p, loss, minimum, rowwise_loss, tanh

__all__ = [
    "binary_cross_entropy",
    "binary_focal_cross_entropy",
    "contrastive",
    "cosine_similarity",
    "epsilon_insensitive",
    "expectile",
    "gamma",
    "gaussian_nll",
    "half_squared_error",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_log_error",
    "modified_huber",
    "multiclass_hinge",
    "perceptron",
    "poisson",
    "quantile",
    "quantiles",
    "smooth_l1",
    "softmax_cross_entropy",
    "softmax_focal_cross_entropy",
    "squared_epsilon_insensitive",
    "squared_hinge",
    "triplet",
    "tweedie",
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


@loss(link="linear", target="real", ranges={"delta": "(0, inf)"})
def huber(score, target, *, delta=1.0):
    """Huber's loss: ``l = d^2 / 2`` up to a distance ``d = |s - y|`` of delta, ``delta (d - delta / 2)`` beyond.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    delta : float
        Where the parabola gives way to the straight line.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `delta` is not positive or not finite.

    Notes
    -----
    The derivative by the score is s - y, at most delta either way. scikit-learn's SGDRegressor has 0.1 as default.

    References
    ----------
    Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 1964.

    Examples
    --------
    >>> from fastgd.losses import huber
    >>> huber([1.0, 3.0], [1.5, 1.0])
    array([0.125, 1.5  ])
    """
    distance = abs(score - target)
    return 0.5 * distance * distance if distance <= delta else delta * (distance - 0.5 * delta)


@huber.derivative
def _(score, target, *, delta):
    difference = score - target
    return delta if difference > delta else -delta if difference < -delta else difference


@loss(link="linear", target="real", ranges={"beta": "(0, inf)"})
def smooth_l1(score, target, *, beta=1.0):
    """Smooth absolute error: ``l = d^2 / (2 beta)`` up to a distance ``d = |s - y|`` of beta, ``d - beta / 2`` beyond.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    beta : float
        Where the parabola gives way to the straight line.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `beta` is not positive or not finite.

    Notes
    -----
    It is Huber's loss of delta = beta over beta.

    References
    ----------
    Girshick, Fast R-CNN, ICCV 2015.

    Examples
    --------
    >>> from fastgd.losses import smooth_l1
    >>> smooth_l1([1.0, 3.0], [1.5, 1.0], beta=0.5)
    array([0.25, 1.75])
    """
    distance = abs(score - target)
    return 0.5 * distance * distance / beta if distance <= beta else distance - 0.5 * beta


@smooth_l1.derivative
def _(score, target, *, beta):
    difference = score - target
    return 1.0 if difference > beta else -1.0 if difference < -beta else difference / beta


@loss(link="linear", target="real")
def log_cosh(score, target):
    """Logarithm of the hyperbolic cosine of the error: l = log(cosh(s - y)).

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
    The derivative by the score is tanh(s - y).

    Examples
    --------
    >>> from fastgd.losses import log_cosh
    >>> log_cosh([0.5, 100.0], [0.0, 0.0]).round(4)
    array([ 0.1201, 99.3069])
    """
    # Up to 1, log(1 + (e^-d - 1)^2 / (2 e^-d)), which has all digits near zero; beyond, d - log 2 + log(1 + e^-2d).
    distance = abs(score - target)
    less = expm1(-distance)
    e = 1.0 + less
    inside = less * less / (2.0 * e) if distance < 1.0 else e * e
    return log1p(inside) + (0.0 if distance < 1.0 else distance - 0.6931471805599453)


@log_cosh.derivative
def _(score, target):
    return tanh(score - target)


@loss(link="linear", target="real", ranges={"level": "(0, 1)"})
def quantile(score, target, *, level=0.5):
    """Quantile or pinball loss: l = level (y - s) where the target is above, (1 - level) (s - y) where it is below.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    level : float
        Which quantile of the targets minimises it: 0.5 for the median, 0.9 for what nine of ten stay below.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.

    Notes
    -----
    The derivative by the score is 0 where score and target are equal.

    References
    ----------
    Koenker & Bassett, Regression quantiles, Econometrica 1978.

    Examples
    --------
    >>> from fastgd.losses import quantile
    >>> quantile([1.0, 3.0], [2.0, 2.0], level=0.9).round(4)
    array([0.9, 0.1])
    """
    difference = score - target
    return (1.0 - level) * difference if difference > 0.0 else -level * difference


@quantile.derivative
def _(score, target, *, level):
    difference = score - target
    return 1.0 - level if difference > 0.0 else -level if difference < 0.0 else difference


@loss(link="linear", target="real", ranges={"level": "(0, 1)"})
def expectile(score, target, *, level=0.5):
    """Expectile loss: l = level (y - s)^2 where the target is above, (1 - level) (s - y)^2 where it is below.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    level : float
        Which expectile minimises it: 0.5 for the mean.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.

    References
    ----------
    Newey & Powell, Asymmetric least squares estimation and testing, Econometrica 1987.

    Examples
    --------
    >>> from fastgd.losses import expectile
    >>> expectile([1.0, 4.0], [2.0, 2.0], level=0.75)
    array([0.75, 1.  ])
    """
    difference = score - target
    return (1.0 - level if difference > 0.0 else level) * (difference * difference)


@expectile.derivative
def _(score, target, *, level):
    difference = score - target
    return 2.0 * ((1.0 - level if difference > 0.0 else level) * difference)


@loss(link="linear", target="real", ranges={"epsilon": "[0, inf)"})
def epsilon_insensitive(score, target, *, epsilon=0.1):
    """Absolute error beyond a tolerance: ``l = max(0, |s - y| - epsilon)``, the loss of support vector regression.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    epsilon : float
        Errors up to here cost nothing.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `epsilon` is negative or not finite.

    References
    ----------
    Vapnik, The nature of statistical learning theory, Springer 1995.

    Examples
    --------
    >>> from fastgd.losses import epsilon_insensitive
    >>> epsilon_insensitive([1.0, 3.0], [1.25, 1.0], epsilon=0.5)
    array([0. , 1.5])
    """
    beyond = abs(score - target) - epsilon
    return 0.0 if beyond < 0.0 else beyond


@epsilon_insensitive.derivative
def _(score, target, *, epsilon):
    difference = score - target
    return 1.0 if difference > epsilon else -1.0 if difference < -epsilon else 0.0


@loss(link="linear", target="real", ranges={"epsilon": "[0, inf)"})
def squared_epsilon_insensitive(score, target, *, epsilon=0.1):
    """Squared error beyond a tolerance: ``l = max(0, |s - y| - epsilon)^2``.

    Parameters
    ----------
    score, target : array_like
        Shapes that broadcast; float32 stays float32.
    epsilon : float
        Errors up to here cost nothing.

    Returns
    -------
    ndarray
        Elementwise values.

    Raises
    ------
    ValueError
        If `epsilon` is negative or not finite.

    Examples
    --------
    >>> from fastgd.losses import squared_epsilon_insensitive
    >>> squared_epsilon_insensitive([1.0, 3.0], [1.25, 1.0], epsilon=0.5)
    array([0.  , 2.25])
    """
    beyond = abs(score - target) - epsilon
    return 0.0 if beyond < 0.0 else beyond * beyond


@squared_epsilon_insensitive.derivative
def _(score, target, *, epsilon):
    difference = score - target
    beyond = abs(difference) - epsilon
    return 0.0 if beyond <= 0.0 else 2.0 * beyond if difference > 0.0 else -2.0 * beyond


@loss(link="exp", target="nonnegative")
def poisson(score, target):
    """Poisson loss of a rate m = e^s: l = m - y log m, minus the logarithm of the likelihood but for a constant.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Counts or rates, at least 0.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    `predict` gives m. Neither log(y!), which PyTorch adds with ``full=True``, nor y log y - y, which scikit-learn
    adds, is part of it: they do not depend on the score.

    Examples
    --------
    >>> from fastgd.losses import poisson
    >>> poisson([0.0, 1.0], [2.0, 2.0]).round(4)
    array([1.    , 0.7183])
    """
    # Where the mean is infinite the loss is too, whatever the product; 1000 is beyond that.
    return exp(score) - target * minimum(score, 1000.0)


@poisson.derivative
def _(score, target):
    return exp(score) - target


@loss(link="exp", target="positive")
def gamma(score, target):
    """Gamma loss of a mean m = e^s: l = log m + y / m, minus the logarithm of the likelihood but for a constant.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Positive numbers.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    `predict` gives m. scikit-learn's half deviance is this less log y + 1.

    Examples
    --------
    >>> from fastgd.losses import gamma
    >>> gamma([0.0, 1.0], [2.0, 2.0]).round(4)
    array([2.    , 1.7358])
    """
    return score + target * exp(-score)


@gamma.derivative
def _(score, target):
    return 1.0 - target * exp(-score)


@loss(link="exp", target="nonnegative", ranges={"power": "(1, 2)"})
def tweedie(score, target, *, power=1.5):
    """Tweedie loss of a mean m = e^s: l = m^(2 - power) / (2 - power) + y m^(1 - power) / (power - 1).

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Numbers of at least 0, of which many may be 0.
    power : float
        Between 1, where it would be Poisson, and 2, where it would be gamma: the variance grows as m^power.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Raises
    ------
    ValueError
        If `power` is not between 1 and 2.

    Notes
    -----
    `predict` gives m. scikit-learn's half deviance also has y^(2 - power) / ((1 - power) (2 - power)).

    References
    ----------
    Tweedie, An index which distinguishes between some important exponential families, Calcutta 1984.

    Examples
    --------
    >>> from fastgd.losses import tweedie
    >>> tweedie([0.0, 1.0], [2.0, 0.0]).round(4)
    array([6.    , 3.2974])
    """
    # Where the target is 0, the power of the mean may be infinite.
    claims = 0.0 if target == 0.0 else target * exp((1.0 - power) * score)
    return exp((2.0 - power) * score) / (2.0 - power) + claims / (power - 1.0)


@tweedie.derivative
def _(score, target, *, power):
    claims = 0.0 if target == 0.0 else target * exp((1.0 - power) * score)
    return exp((2.0 - power) * score) - claims


@loss(link="expm1", target="nonnegative")
def mean_squared_log_error(score, target):
    """Squared error of logarithms, for a prediction p = e^s - 1: l = (log(1 + p) - log(1 + y))^2.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Numbers of at least 0.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    `predict` gives p. The score is log(1 + p), so that no logarithm of a negative number can occur.

    Examples
    --------
    >>> from fastgd.losses import mean_squared_log_error
    >>> mean_squared_log_error([0.0, 1.0], [0.0, 0.0])
    array([0., 1.])
    """
    return (score - log1p(target)) ** 2


@mean_squared_log_error.derivative
def _(score, target):
    return 2.0 * (score - log1p(target))


@loss(link="linear", target="nonzero")
def mean_absolute_percentage_error(score, target):
    """Absolute error as a share of the target: ``l = |s - y| / |y|``; 1 is a hundred per cent.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Any numbers but 0.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    A share, as scikit-learn has it; Keras multiplies by 100. Both replace a target of 0 by a tiny number, which
    makes that one row outweigh all others; here it is refused.

    Examples
    --------
    >>> from fastgd.losses import mean_absolute_percentage_error
    >>> mean_absolute_percentage_error([1.0, 3.0], [2.0, 2.0])
    array([0.5, 0.5])
    """
    return abs(score - target) / abs(target)


@mean_absolute_percentage_error.derivative
def _(score, target):
    difference = score - target
    return (1.0 if difference > 0.0 else -1.0 if difference < 0.0 else difference) / abs(target)


@loss(link="sigmoid", target="probability", ranges={"pos_weight": "(0, inf)", "label_smoothing": "[0, 1)"})
def binary_cross_entropy(score, target, *, pos_weight=1.0, label_smoothing=0.0):
    """Cross-entropy of a probability p = 1 / (1 + e^-s): l = -pos_weight y log p - (1 - y) log(1 - p).

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or probabilities between.
    pos_weight : float
        Weight of the positive class: negatives over positives for classes that are rare.
    label_smoothing : float
        Draws targets towards 1/2: y becomes y (1 - label_smoothing) + label_smoothing / 2.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    -log p is ``max(-s, 0) + log(1 + e^-|s|)``, and -log(1 - p) the same of -s: nothing overflows, and no
    logarithm of zero is taken. The derivative by the score is (1 - y) p - pos_weight y (1 - p), without
    cancellation.

    Examples
    --------
    >>> from fastgd.losses import binary_cross_entropy
    >>> binary_cross_entropy([0.0, 1000.0, -1000.0], [1.0, 1.0, 1.0]).round(4)
    array([6.931e-01, 0.000e+00, 1.000e+03])
    >>> binary_cross_entropy(pos_weight=3.0)
    <loss binary_cross_entropy(pos_weight=3.0, label_smoothing=0.0)>
    """
    rest = log1p(exp(-abs(score)))
    smooth = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    positive = (0.0 if score > 0.0 else -score) + rest
    negative = (0.0 if score < 0.0 else score) + rest
    return pos_weight * smooth * positive + (1.0 - smooth) * negative


@binary_cross_entropy.derivative
def _(score, target, *, pos_weight, label_smoothing):
    # p is tail below zero and head above; taken apart, so that nothing is subtracted from 1.
    e = exp(-abs(score))
    head = 1.0 / (1.0 + e)
    tail = e * head
    smooth = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    weight = pos_weight * smooth
    return (1.0 - smooth) * tail - weight * head if score < 0.0 else (1.0 - smooth) * head - weight * tail


@loss(link="sigmoid", target="probability", ranges={"gamma": "[0, inf)", "pos_weight": "(0, inf)"})
def binary_focal_cross_entropy(score, target, *, gamma=2.0, pos_weight=1.0):
    """Focal loss, a cross-entropy that counts the hard cases: l = -(1 - p)^gamma log p for a target of 1.

    For any target y it is -pos_weight y (1 - p)^gamma log p - (1 - y) p^gamma log(1 - p), with p = 1 / (1 + e^-s),
    which `predict` gives.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or probabilities between.
    gamma : float
        How soon a right answer stops counting; 0 gives the cross-entropy.
    pos_weight : float
        Weight of the positive class. The paper's alpha is pos_weight = alpha / (1 - alpha), but for a factor.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Lin et al., Focal loss for dense object detection, ICCV 2017.

    Examples
    --------
    >>> from fastgd.losses import binary_focal_cross_entropy
    >>> binary_focal_cross_entropy([0.0, 2.0], [1.0, 1.0]).round(4)
    array([0.1733, 0.0018])
    """
    rest = log1p(exp(-abs(score)))
    positive = (0.0 if score > 0.0 else -score) + rest
    negative = (0.0 if score < 0.0 else score) + rest
    # positive is -log p and negative -log(1 - p): powers of p and of 1 - p are exponentials of them.
    of_ones = exp(-gamma * negative) * positive
    return pos_weight * target * of_ones + (1.0 - target) * (exp(-gamma * positive) * negative)


@binary_focal_cross_entropy.derivative
def _(score, target, *, gamma, pos_weight):
    e = exp(-abs(score))
    rest = log1p(e)
    head = 1.0 / (1.0 + e)
    tail = e * head
    p = tail if score < 0.0 else head
    complement = head if score < 0.0 else tail
    positive = (0.0 if score > 0.0 else -score) + rest
    negative = (0.0 if score < 0.0 else score) + rest
    of_ones = exp(-gamma * negative) * (gamma * p * positive + complement)
    of_zeros = exp(-gamma * positive) * (gamma * complement * negative + p)
    return (1.0 - target) * of_zeros - pos_weight * target * of_ones


@loss(link="linear", target="sign")
def hinge(score, target):
    """Hinge loss of a binary classifier: l = max(0, 1 - t s) with t = 1 for the positive class, -1 for the other.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or -1 and 1.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    `predict` gives the score; its sign is the class.

    References
    ----------
    Cortes & Vapnik, Support-vector networks, Machine Learning 1995.

    Examples
    --------
    >>> from fastgd.losses import hinge
    >>> hinge([0.5, 2.0, 0.5], [1, 1, 0])
    array([0.5, 0. , 1.5])
    """
    margin = 1.0 - (1.0 if target > 0.0 else -1.0) * score
    return 0.0 if margin < 0.0 else margin


@hinge.derivative
def _(score, target):
    sign = 1.0 if target > 0.0 else -1.0
    return -sign if sign * score < 1.0 else 0.0


@loss(link="linear", target="sign")
def squared_hinge(score, target):
    """Squared hinge loss: l = max(0, 1 - t s)^2 with t = 1 for the positive class, -1 for the other.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or -1 and 1.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    `predict` gives the score; its sign is the class.

    Examples
    --------
    >>> from fastgd.losses import squared_hinge
    >>> squared_hinge([0.5, 2.0, 0.5], [1, 1, 0])
    array([0.25, 0.  , 2.25])
    """
    margin = 1.0 - (1.0 if target > 0.0 else -1.0) * score
    return 0.0 if margin < 0.0 else margin * margin


@squared_hinge.derivative
def _(score, target):
    sign = 1.0 if target > 0.0 else -1.0
    margin = 1.0 - sign * score
    return 0.0 if margin < 0.0 else -2.0 * (sign * margin)


@loss(link="linear", target="sign")
def modified_huber(score, target):
    """Squared hinge loss up to a margin of 2, straight beyond: l = max(0, 1 - t s)^2 where t s >= -1, else -4 t s.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or -1 and 1.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    t is 1 for the positive class, -1 for the other. An outlier counts linearly, and scores between -1 and 1 tell
    probabilities, (s + 1) / 2.

    References
    ----------
    Zhang, Solving large scale linear prediction problems using stochastic gradient descent algorithms, ICML 2004.

    Examples
    --------
    >>> from fastgd.losses import modified_huber
    >>> modified_huber([0.5, 2.0, 2.0], [1, 1, 0])
    array([0.25, 0.  , 8.  ])
    """
    side = (1.0 if target > 0.0 else -1.0) * score
    margin = 0.0 if side > 1.0 else 1.0 - side
    return margin * margin if side >= -1.0 else -4.0 * side


@modified_huber.derivative
def _(score, target):
    sign = 1.0 if target > 0.0 else -1.0
    side = sign * score
    margin = 0.0 if side > 1.0 else 1.0 - side
    return -2.0 * (sign * margin) if side >= -1.0 else -4.0 * sign


@loss(link="linear", target="sign")
def perceptron(score, target):
    """The perceptron's loss: l = max(0, -t s) with t = 1 for the positive class, -1 for the other.

    Parameters
    ----------
    score : array_like
        Raw scores.
    target : array_like
        Labels 0 and 1, or -1 and 1.

    Returns
    -------
    ndarray
        Elementwise values; float32 stays float32.

    Notes
    -----
    At a score of 0 the derivative is -t, or a model whose weights are zero would never begin to learn.

    References
    ----------
    Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958.

    Examples
    --------
    >>> from fastgd.losses import perceptron
    >>> perceptron([0.5, 2.0, 0.5], [1, 1, 0])
    array([0. , 0. , 0.5])
    """
    side = (1.0 if target > 0.0 else -1.0) * score
    return 0.0 if side > 0.0 else -side


@perceptron.derivative
def _(score, target):
    sign = 1.0 if target > 0.0 else -1.0
    return 0.0 if sign * score > 0.0 else -sign


CLASS_WEIGHTS = "None, or each in [0, inf)"

softmax_cross_entropy = rowwise_loss(
    "softmax_cross_entropy",
    link="softmax",
    target="class",
    module=__name__,
    parameters={"label_smoothing": 0.0, "class_weight": None},
    ranges={"label_smoothing": "[0, 1)", "class_weight": CLASS_WEIGHTS},
    doc="""\
Cross-entropy of the probabilities p = softmax(s) of a row of C scores: l = -sum_c v_c y_c log p_c.

For an integer label c without parameters this is log(sum_k e^s_k) - s_c, computed from the scores less their
largest. Targets are integer labels from 0 to C - 1, or rows of C probabilities, one-hot or not.

Parameters
----------
label_smoothing : float
    Draws targets towards all classes alike: y_c becomes y_c (1 - label_smoothing) + label_smoothing / C.
class_weight : sequence of C floats, optional
    v; all 1 by default.

Raises
------
ValueError
    If a parameter is out of range; by a model whose last layer has not as many units as there are weights.

Notes
-----
The derivative by the scores is p sum_c v_c y_c - v y.

The weights multiply the loss of a row, which is then divided by the number of rows, or by the sum of their sample
weights. PyTorch's ``weight`` is divided by the sum of the weights of the rows' labels instead: that is what
``fit(class_weight=...)`` does, and "balanced" computes them. Smoothing and weights together are PyTorch's.

References
----------
Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016 (label smoothing).

Examples
--------
>>> import fastgd as fg
>>> scores = [[2.0, 0.0], [0.0, 0.0]]
>>> round(fg.kernels.loss_gradient(scores, [0, 1], "softmax_cross_entropy", backend="numpy")[0], 4)
0.41
>>> fg.losses.softmax_cross_entropy(label_smoothing=0.1)
<loss softmax_cross_entropy(label_smoothing=0.1, class_weight=None)>
""",
)

softmax_focal_cross_entropy = rowwise_loss(
    "softmax_focal_cross_entropy",
    link="softmax",
    target="class",
    module=__name__,
    parameters={"gamma": 2.0, "label_smoothing": 0.0, "class_weight": None},
    ranges={"gamma": "[0, inf)", "label_smoothing": "[0, 1)", "class_weight": CLASS_WEIGHTS},
    doc="""\
Focal loss over classes: l = -sum_c v_c y_c (1 - p_c)^gamma log p_c with p = softmax(s).

A cross-entropy in which rows that are classified well count little. Targets are integer labels from 0 to C - 1, or
rows of C probabilities.

Parameters
----------
gamma : float
    How soon a right answer stops counting; 0 gives the cross-entropy.
label_smoothing : float
    As for `softmax_cross_entropy`.
class_weight : sequence of C floats, optional
    v, called alpha in the paper; all 1 by default.

Raises
------
ValueError
    If a parameter is out of range.

Notes
-----
Keras's CategoricalFocalCrossentropy has alpha = 0.25 for every class as default.

References
----------
Lin et al., Focal loss for dense object detection, ICCV 2017.

Examples
--------
>>> import fastgd as fg
>>> scores = [[2.0, 0.0], [0.0, 0.0]]
>>> round(fg.kernels.loss_gradient(scores, [0, 1], "softmax_focal_cross_entropy", backend="numpy")[0], 4)
0.0875
""",
)

kl_divergence = rowwise_loss(
    "kl_divergence",
    link="softmax",
    target="class",
    module=__name__,
    doc="""\
Divergence of the probabilities p = softmax(s) from the target's: l = sum_c y_c (log y_c - log p_c).

Targets are rows of C probabilities, or integer labels, for which it is the cross-entropy.

Notes
-----
Its gradient is that of `softmax_cross_entropy`; but the value is 0 where the two distributions are the same.
PyTorch's KLDivLoss takes logarithms of probabilities, and averages as here with ``reduction="batchmean"``.

References
----------
Kullback & Leibler, On information and sufficiency, Annals of Mathematical Statistics 1951.

Examples
--------
>>> import fastgd as fg
>>> scores, targets = [[0.0, 0.0], [0.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]]
>>> round(fg.kernels.loss_gradient(scores, targets, "kl_divergence", backend="numpy")[0], 4)
0.3466
""",
)

multiclass_hinge = rowwise_loss(
    "multiclass_hinge",
    link="linear",
    target="label",
    module=__name__,
    parameters={"crammer_singer": False, "squared": False},
    ranges={"crammer_singer": "True or False", "squared": "True or False"},
    doc="""\
Hinge loss of Weston and Watkins over a row of scores: l = sum over j != c of max(0, 1 + s_j - s_c).

c is the right class. A wrong class counts until its score is at least 1 below the right one's. Targets are integer
labels from 0 to C - 1, or one-hot rows.

Parameters
----------
crammer_singer : bool
    Whether only the wrong class of the largest score counts.
squared : bool
    Whether what counts is squared.

Raises
------
ValueError
    If a parameter is neither True nor False.

Notes
-----
The derivative by s_j is 1 where it counts, or twice the margin if squared; by s_c, minus the sum of those.
PyTorch's MultiMarginLoss(p=1) and (p=2) are these sums over C. Keras's CategoricalHinge is Crammer and Singer's.

References
----------
Weston & Watkins, Support vector machines for multi-class pattern recognition, ESANN 1999.
Crammer & Singer, On the algorithmic implementation of multiclass kernel-based vector machines, JMLR 2001.

Examples
--------
>>> import fastgd as fg
>>> fg.kernels.loss_gradient([[2.0, 1.5, 1.5]], [0], "multiclass_hinge", backend="numpy")[0]
1.0
>>> loss = fg.losses.multiclass_hinge(crammer_singer=True, squared=True)
>>> fg.kernels.loss_gradient([[2.0, 1.5, 1.5]], [0], loss, backend="numpy")[0]
0.25
""",
)

gaussian_nll = rowwise_loss(
    "gaussian_nll",
    link="mean_and_variance",
    target="real",
    module=__name__,
    outputs_per_target=2,
    doc="""\
Likelihood of a normal distribution, whose mean m and variance v = e^s are both learnt: l = (s + (y - m)^2 / v) / 2.

Two neighbouring outputs belong to each target, the mean and the logarithm of the variance: for k targets the last
layer has 2 k units. The loss is the mean over the targets.

Notes
-----
`predict` gives means in its even columns and variances in its odd ones; ``raw=True`` leaves the logarithms. The
derivatives are (m - y) / v by the mean, and (1 - (y - m)^2 / v) / 2 by s. It is minus the logarithm of the likelihood
less log(2 pi) / 2, as PyTorch's GaussianNLLLoss, which takes the variance itself and bounds it from below by ``eps``.
Nothing bounds it here: a model that can fit its data exactly, with no noise left, will let s fall for ever.

References
----------
Nix & Weigend, Estimating the mean and variance of the target probability distribution, ICNN 1994.

Examples
--------
>>> import numpy as np
>>> import fastgd as fg
>>> fg.kernels.loss_gradient(np.array([[1.0, 0.0]]), [3.0], "gaussian_nll", backend="numpy")
(2.0, array([[-2. , -1.5]]))
""",
)

cosine_similarity = rowwise_loss(
    "cosine_similarity",
    link="linear",
    target="direction",
    module=__name__,
    doc="""\
One less the cosine of the angle between a row of scores and its target: ``l = 1 - s y / (|s| |y|)``.

Only the direction counts: 0 for the same, 1 for a right angle, 2 for the opposite. Targets are rows of real numbers
of which not all are 0.

Notes
-----
The derivative by the scores is ``(cos s / |s| - y / |y|) / |s|``. Scores that are all 0 have no direction; their
loss is 1 and their derivative 0. Keras's CosineSimilarity has no 1: it is the cosine, with its sign changed.

Examples
--------
>>> import fastgd as fg
>>> scores, targets = [[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [1.0, 0.0]]
>>> fg.kernels.loss_gradient(scores, targets, "cosine_similarity", backend="numpy")[0]
0.5
""",
)

quantiles = rowwise_loss(
    "quantiles",
    link="linear",
    link_if=("non_crossing", "increasing"),
    target="real",
    module=__name__,
    parameters={"non_crossing": False, "levels": (0.1, 0.5, 0.9)},
    ranges={"non_crossing": "True or False", "levels": "increasing, each in (0, 1)"},
    outputs_per_target="levels",
    doc="""\
Several quantiles at once: the mean of `quantile` over all targets and levels.

As many neighbouring outputs belong to each target as there are levels: for k targets the last layer has
k len(levels) units, those of the first target first.

Parameters
----------
non_crossing : bool
    Whether the quantiles of a row must be in order. Each but the first is then the one before plus softplus of its
    score, which is what `predict` gives; without it, a larger level may come out below a smaller one.
levels : sequence of float
    Between 0 and 1, increasing.

Raises
------
ValueError
    If the levels are not increasing, or not between 0 and 1.

References
----------
Koenker & Bassett, Regression quantiles, Econometrica 1978.

Examples
--------
>>> import numpy as np
>>> import fastgd as fg
>>> X = np.zeros((200, 1))
>>> y = np.random.default_rng(0).normal(size=200)
>>> loss = fg.losses.quantiles(levels=[0.25, 0.75], non_crossing=True)
>>> model = fg.Sequential([fg.Dense(2)], loss=loss, optimizer=fg.Adam(0.05), backend="numpy")
>>> history = model.fit(X, y, epochs=200, batch_size=None)
>>> bool(np.all(abs(model.predict(X[:1]) - np.quantile(y, [0.25, 0.75])) < 0.05))
True
""",
)

contrastive = rowwise_loss(
    "contrastive",
    link="linear",
    target="identity",
    module=__name__,
    parameters={"margin": 1.0},
    ranges={"margin": "(0, inf)"},
    doc="""\
Contrastive loss of all pairs of rows in a batch: ``l = d^2 / 2`` for the same, ``max(0, margin - d)^2 / 2`` for others.

d is the Euclidean distance of two rows of scores, which a model learns to place: near each other what belongs
together, at least the margin apart what does not. Targets are integers (n,), equal for rows that belong together.

Parameters
----------
margin : float
    How far apart rows that do not belong together have to be.

Raises
------
ValueError
    If `margin` is not positive or not finite.

Notes
-----
A row's loss is the mean over the other rows of its batch, so that what is reported is the mean over all pairs; rows
without weight take no part, and others weigh in pairs too. A batch of one row costs nothing. `evaluate` compares all
rows it is given with each other, in a time that grows with their square.

The derivative by the scores z is z - z' for a pair of the same, and ``-(margin - d) (z - z') / d`` for another that is
too near; 0 where d is 0, so two rows in one place do not part. `predict` gives the scores.

References
----------
Hadsell, Chopra & LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006.

Examples
--------
Distances are 1 between the first two, which are the same, and 3 and 2 from the third:

>>> import fastgd as fg
>>> scores, targets = [[0.0], [1.0], [3.0]], [7, 7, 4]
>>> loss = fg.losses.contrastive(margin=2.5)
>>> value, gradient = fg.kernels.loss_gradient(scores, targets, loss, backend="numpy")
>>> round(value, 4)  # (1 / 2 + 0 + 0.25 / 2) / 3
0.2083
""",
)

triplet = rowwise_loss(
    "triplet",
    link="linear",
    target="identity",
    module=__name__,
    parameters={"margin": 1.0, "hardest": False},
    ranges={"margin": "(0, inf)", "hardest": "True or False"},
    doc="""\
Triplet loss over the rows of a batch: l = mean of max(0, margin + d(a, p) - d(a, n)) over all p and n.

a is the row, p another one that belongs together with it, n one that does not, and d the Euclidean distance of two
rows of scores: what belongs together is to be nearer than anything else, by the margin. Targets are integers (n,),
equal for rows that belong together.

Parameters
----------
margin : float
    By how much nearer.
hardest : bool
    Whether only the farthest p and the nearest n count.

Raises
------
ValueError
    If `margin` is not positive or not finite, or `hardest` neither True nor False.

Notes
-----
A row that is alone of its kind in the batch, or in a batch of one kind, has a loss of 0: batches should hold several
rows of each of several kinds. Rows without weight take no part, and p and n are averaged by their weights. `evaluate`
compares all rows it is given with each other, in a time that grows with their square, or their cube without `hardest`.

The derivative by d(a, p) is 1 and by d(a, n) is -1 where the triplet counts; rows in one place do not part. PyTorch's
TripletMarginLoss is handed the triplets themselves; of all that a batch holds it would report the mean as this does,
where each kind has as many rows as any other.

References
----------
Schroff, Kalenichenko & Philbin, FaceNet: a unified embedding for face recognition and clustering, CVPR 2015.
Hermans, Beyer & Leibe, In defense of the triplet loss for person re-identification, 2017 (the hardest of a batch).

Examples
--------
>>> import fastgd as fg
>>> scores, targets = [[0.0], [1.0], [3.0]], [7, 7, 4]
>>> loss = fg.losses.triplet(margin=2.5)
>>> value, gradient = fg.kernels.loss_gradient(scores, targets, loss, backend="numpy")
>>> round(value, 4)  # (2.5 + 1 - 3, 2.5 + 1 - 2, and 0 for the third, which is alone) / 3
0.6667
""",
)
