"""Activation functions: each a formula with its derivative, by which a backend fuses it into its kernels.

An activation is called on an array, ``relu(z)``, or, without one, gives a copy with other parameters,
``leaky_relu(slope=0.2)``. Where the derivative can be had from the output without losing digits, the forward
pass keeps only that.

There is no softmax: a loss over classes owns it, so that `predict` gives probabilities of a linear last layer.
"""

from __future__ import annotations

from ._formula import activation, cos, expm1, log1p, maximum, minimum, normal_cdf, sin

__all__ = [
    "celu",
    "elu",
    "exp",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "sine",
    "softplus",
    "softsign",
    "tanh",
]


@activation
def linear(z):
    """The identity: a = z.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Examples
    --------
    >>> from fastgd.activations import linear
    >>> linear([-1.0, 2.0])
    array([-1.,  2.])
    """
    return z


@linear.derivative(of="output")
def _(a):
    return 1.0


@activation
def relu(z):
    """Rectified linear unit: a = max(z, 0). Its derivative at 0 is taken as 0.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32. A NaN stays a NaN.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.

    Examples
    --------
    >>> from fastgd.activations import relu
    >>> relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    # A NaN compares false and so passes through, where it is noticed.
    return 0.0 if z < 0.0 else z


@relu.derivative(of="output")
def _(a):
    return 1.0 if a > 0.0 else 0.0


@activation(ranges={"slope": "[0, inf)"})
def leaky_relu(z, *, slope=0.01):
    """Leaky rectified linear unit: a = z for z > 0, slope * z below. Its derivative at 0 is `slope`.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.
    slope : float
        Not negative, so that the output tells the side its input was on.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Raises
    ------
    ValueError
        If `slope` is negative or not finite.

    References
    ----------
    Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013.

    Examples
    --------
    >>> from fastgd.activations import leaky_relu
    >>> leaky_relu(slope=0.2)
    <activation leaky_relu(slope=0.2)>
    >>> leaky_relu([-1.0, 2.0], slope=0.2)
    array([-0.2,  2. ])
    """
    return slope * z if z < 0.0 else z


@leaky_relu.derivative(of="output")
def _(a, *, slope):
    return 1.0 if a > 0.0 else slope


@activation
def relu6(z):
    """Rectified linear unit with a ceiling: a = min(max(z, 0), 6). Its derivative is 0 at both ends.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, 2017.

    Examples
    --------
    >>> from fastgd.activations import relu6
    >>> relu6([-1.0, 2.0, 7.0])
    array([0., 2., 6.])
    """
    return 0.0 if z < 0.0 else 6.0 if z > 6.0 else z


@relu6.derivative(of="output")
def _(a):
    return 1.0 if a > 0.0 and a < 6.0 else 0.0


@activation(ranges={"alpha": "[0, inf)"})
def elu(z, *, alpha=1.0):
    """Exponential linear unit: a = z for z > 0, alpha (e^z - 1) below.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.
    alpha : float
        Minus the limit on the left; not negative, so that the output tells the side its input was on.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Raises
    ------
    ValueError
        If `alpha` is negative or not finite.

    Notes
    -----
    The derivative is a + alpha on the left, and at 0.

    References
    ----------
    Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by exponential linear units, ICLR 2016.

    Examples
    --------
    >>> from fastgd.activations import elu
    >>> elu([-1.0, 2.0]).round(4)
    array([-0.6321,  2.    ])
    """
    return alpha * expm1(z) if z < 0.0 else z


@elu.derivative(of="output")
def _(a, *, alpha):
    return 1.0 if a > 0.0 else a + alpha


@activation
def selu(z):
    """Self-normalising exponential linear unit: a = lambda z for z > 0, lambda alpha (e^z - 1) below.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    lambda = 1.0507009873554805 and alpha = 1.6732632423543772 keep mean 0 and variance 1 from layer to layer, if the
    weights are drawn with the initializer ``"lecun_normal"``. 1.758... is their product.

    References
    ----------
    Klambauer et al., Self-normalizing neural networks, NIPS 2017.

    Examples
    --------
    >>> from fastgd.activations import selu
    >>> selu([-1.0, 0.0, 1.0]).round(4)
    array([-1.1113,  0.    ,  1.0507])
    """
    return 1.7580993408473768 * expm1(z) if z < 0.0 else 1.0507009873554805 * z


@selu.derivative(of="output")
def _(a):
    return 1.0507009873554805 if a > 0.0 else a + 1.7580993408473768


@activation(ranges={"alpha": "(0, inf)"})
def celu(z, *, alpha=1.0):
    """Continuously differentiable exponential linear unit: a = z for z > 0, alpha (e^(z/alpha) - 1) below.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.
    alpha : float
        Minus the limit on the left.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Raises
    ------
    ValueError
        If `alpha` is not positive or not finite.

    References
    ----------
    Barron, Continuously differentiable exponential linear units, 2017.

    Examples
    --------
    >>> from fastgd.activations import celu
    >>> celu([-1.0, 2.0], alpha=0.5).round(4)
    array([-0.4323,  2.    ])
    """
    return alpha * expm1(z / alpha) if z < 0.0 else z


@celu.derivative(of="output")
def _(a, *, alpha):
    return 1.0 if a > 0.0 else (a + alpha) / alpha


@activation
def gelu(z):
    """Gaussian error linear unit: a = z P(Y < z) for a standard normal Y; exact, also far on the left.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    The derivative is P(Y < z) + z p(z) with the density p(z) = e^(-z^2/2) / sqrt(2 pi), 0.3989... e^(-z^2/2).

    References
    ----------
    Hendrycks & Gimpel, Gaussian error linear units (GELUs), 2016.

    Examples
    --------
    >>> from fastgd.activations import gelu
    >>> gelu([-1.0, 0.0, 1.0]).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    # -1000 is as good as any smaller number, and times 0 it is no NaN where z is infinite.
    return maximum(z, -1000.0) * normal_cdf(z)


@gelu.derivative(of="input")
def _(z):
    near = minimum(abs(z), 1000.0)
    slope = near * (0.3989422804014327 * exp(-0.5 * near * near))
    return normal_cdf(z) + (slope if z > 0.0 else -slope)


@activation
def gelu_tanh(z):
    """The approximation of `gelu` by a tanh: a = z/2 (1 + tanh(u)) with u = sqrt(2/pi) (z + 0.044715 z^3).

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    (1 + tanh(u)) / 2 is the logistic function of 2 u, which is how it is computed. For networks that were trained with
    this form; `gelu` is no slower.

    References
    ----------
    Hendrycks & Gimpel, Gaussian error linear units (GELUs), 2016.

    Examples
    --------
    >>> from fastgd.activations import gelu_tanh
    >>> gelu_tanh([-1.0, 0.0, 1.0]).round(4)
    array([-0.1588,  0.    ,  0.8412])
    """
    # Twice the argument: 2 sqrt(2/pi) z and 0.044715 times as much z^3.
    twice = z * (1.5957691216057308 + 0.07135481627260025 * z * z)
    e = exp(-abs(twice))
    return maximum(z, -1000.0) * ((e if z < 0.0 else 1.0) / (1.0 + e))


@gelu_tanh.derivative(of="input")
def _(z):
    near = minimum(maximum(z, -1000.0), 1000.0)
    twice = near * (1.5957691216057308 + 0.07135481627260025 * near * near)
    e = exp(-abs(twice))
    share = 1.0 / (1.0 + e)
    slope = near * (1.5957691216057308 + 0.21406444881780075 * near * near)
    return (e if z < 0.0 else 1.0) * share + slope * (e * share * share)


@activation
def silu(z):
    """Sigmoid linear unit, or swish: a = z / (1 + e^-z).

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    With the logistic function s, the derivative is s + z s (1 - s).

    References
    ----------
    Elfwing, Uchibe & Doya, Sigmoid-weighted linear units for neural network function approximation, 2017.

    Examples
    --------
    >>> from fastgd.activations import silu
    >>> silu([-1.0, 0.0, 1.0]).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    e = exp(-abs(z))
    return maximum(z, -1000.0) * ((e if z < 0.0 else 1.0) / (1.0 + e))


@silu.derivative(of="input")
def _(z):
    e = exp(-abs(z))
    share = 1.0 / (1.0 + e)
    near = minimum(maximum(z, -1000.0), 1000.0)
    return (e if z < 0.0 else 1.0) * share + near * (e * share * share)


@activation
def mish(z):
    """Mish: a = z tanh(log(1 + e^z)).

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    Examples
    --------
    >>> from fastgd.activations import mish
    >>> mish([-1.0, 0.0, 1.0]).round(4)
    array([-0.3034,  0.    ,  0.8651])
    """
    # tanh(log(x)) = (x^2 - 1) / (x^2 + 1), for x = 1 + e^z, both over e^2z where z is positive.
    e = exp(-abs(z))
    upper = e * e + 2.0 * e if z < 0.0 else 1.0 + 2.0 * e
    return maximum(z, -1000.0) * (upper / (upper + (2.0 if z < 0.0 else 2.0 * e * e)))


@mish.derivative(of="input")
def _(z):
    e = exp(-abs(z))
    upper = e * e + 2.0 * e if z < 0.0 else 1.0 + 2.0 * e
    rest = 2.0 if z < 0.0 else 2.0 * e * e
    lower = upper + rest
    near = minimum(maximum(z, -1000.0), 1000.0)
    # tanh' = (1 - tanh) (1 + tanh), times the logistic function, which is the derivative of log(1 + e^z).
    slope = rest * (upper + lower) / (lower * lower) * ((e if z < 0.0 else 1.0) / (1.0 + e))
    return upper / lower + near * slope


@activation
def sigmoid(z):
    """Logistic function: a = 1 / (1 + e^-z), accurate to a few units in the last place at both ends.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    Written with ``e^-|z|``, which cannot overflow: e^z / (1 + e^z) below zero, 1 / (1 + e^-z) above. The
    derivative is a (1 - a).

    Examples
    --------
    >>> from fastgd.activations import sigmoid
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    e = exp(-abs(z))
    return (e if z < 0.0 else 1.0) / (1.0 + e)


@sigmoid.derivative(of="output")
def _(a):
    return a * (1.0 - a)


@activation
def hard_sigmoid(z):
    """Piecewise linear logistic function: a = (z + 3) / 6 between -3 and 3, 0 below, 1 above.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    PyTorch's and Keras 3's form; earlier versions of Keras had z / 5 + 1/2.

    References
    ----------
    Courbariaux, Bengio & David, BinaryConnect: training deep neural networks with binary weights, NIPS 2015.

    Examples
    --------
    >>> from fastgd.activations import hard_sigmoid
    >>> hard_sigmoid([-4.0, 0.0, 1.5])
    array([0.  , 0.5 , 0.75])
    """
    return 0.0 if z < -3.0 else 1.0 if z > 3.0 else (z + 3.0) / 6.0


@hard_sigmoid.derivative(of="output")
def _(a):
    return 0.16666666666666666 if a > 0.0 and a < 1.0 else 0.0


@activation
def hard_silu(z):
    """Piecewise quadratic `silu`, or hard swish: a = z (z + 3) / 6 between -3 and 3, 0 below, z above.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Howard et al., Searching for MobileNetV3, ICCV 2019.

    Examples
    --------
    >>> from fastgd.activations import hard_silu
    >>> hard_silu([-4.0, -1.5, 4.0])
    array([ 0.   , -0.375,  4.   ])
    """
    return 0.0 if z < -3.0 else z if z > 3.0 else z * ((z + 3.0) / 6.0)


@hard_silu.derivative(of="input")
def _(z):
    return 0.0 if z <= -3.0 else 1.0 if z >= 3.0 else (2.0 * z + 3.0) / 6.0


@activation
def tanh(z):
    """Hyperbolic tangent: a = (e^z - e^-z) / (e^z + e^-z).

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    The derivative is (1 - a) (1 + a).

    Examples
    --------
    >>> from fastgd.activations import tanh
    >>> tanh([-1000.0, 0.0, 1000.0])
    array([-1.,  0.,  1.])
    """
    # Inside a formula this is the language's function: a formula is read, not run.
    return tanh(z)


@tanh.derivative(of="output")
def _(a):
    return (1.0 - a) * (1.0 + a)


@activation
def hard_tanh(z):
    """Piecewise linear `tanh`: a = min(max(z, -1), 1). Its derivative is 0 at both ends.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Collobert, Large scale machine learning, thesis, Paris 2004.

    Examples
    --------
    >>> from fastgd.activations import hard_tanh
    >>> hard_tanh([-2.0, 0.5, 2.0])
    array([-1. ,  0.5,  1. ])
    """
    return -1.0 if z < -1.0 else 1.0 if z > 1.0 else z


@hard_tanh.derivative(of="output")
def _(a):
    return 1.0 if a > -1.0 and a < 1.0 else 0.0


@activation
def softplus(z):
    """Smooth rectifier: a = log(1 + e^z). Safe at both ends, for the exponential is of ``-|z|``.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    The derivative is the logistic function of z, which is 1 - e^-a.

    References
    ----------
    Dugas et al., Incorporating second-order functional knowledge for better option pricing, NIPS 2000.

    Examples
    --------
    >>> from fastgd.activations import softplus
    >>> softplus([-1000.0, 0.0, 1000.0]).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """
    return (0.0 if z < 0.0 else z) + log1p(exp(-abs(z)))


@softplus.derivative(of="output")
def _(a):
    return -expm1(-a)


@activation
def softsign(z):
    """Softsign: ``a = z / (1 + |z|)``. Its ends are approached as slowly as 1/z.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    References
    ----------
    Bergstra et al., Quadratic polynomials learn better image features, Montreal 2009.

    Examples
    --------
    >>> from fastgd.activations import softsign
    >>> softsign([-3.0, 0.0, 1.0])
    array([-0.75,  0.  ,  0.5 ])
    """
    # Beyond 1e18 the quotient is 1 in either precision, but that of infinities is none.
    return 1.0 if z > 1e18 else -1.0 if z < -1e18 else z / (1.0 + abs(z))


@softsign.derivative(of="output")
def _(a):
    return (1.0 - abs(a)) * (1.0 - abs(a))


@activation
def exp(z):
    """Exponential function: a = e^z. Infinite where that is too large.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Examples
    --------
    >>> from fastgd.activations import exp
    >>> exp([0.0, 1.0]).round(4)
    array([1.    , 2.7183])
    """
    # As with tanh: inside a formula this is the language's function.
    return exp(z)


@exp.derivative(of="output")
def _(a):
    return a


@activation
def sine(z):
    """Sine: a = sin z, accurate for any finite z.

    Parameters
    ----------
    z : array_like
        Any shape; float32 stays float32.

    Returns
    -------
    ndarray
        Shape and dtype of `z` (float64 for integers).

    Notes
    -----
    Sitzmann's networks have sin(30 z) in their first layer; scale the first weights by 30 instead.

    References
    ----------
    Sitzmann et al., Implicit neural representations with periodic activation functions, NeurIPS 2020.

    Examples
    --------
    >>> from fastgd.activations import sine
    >>> sine([0.0, 1.5707963267948966])
    array([0., 1.])
    """
    return sin(z)


@sine.derivative(of="input")
def _(z):
    return cos(z)
