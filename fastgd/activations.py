"""Activation functions: each a formula with its derivative, by which a backend fuses it into its kernels.

An activation is called on an array, ``relu(z)``, or, without one, gives a copy with other parameters,
``leaky_relu(slope=0.2)``. Every derivative here is a formula of the output, so the forward pass keeps only
that.
"""

from __future__ import annotations

from ._formula import activation, exp, expm1, log1p

__all__ = ["leaky_relu", "linear", "relu", "sigmoid", "softplus", "tanh"]


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
