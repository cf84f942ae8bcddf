"""Activations: value, derivative, and what an error analysis has to know about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Elementwise = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes
    ----------
    value, derivative : callable
        f(z) and f'(z), both as functions of the input z.
    derivative_terms : callable
        Of z: what stands between f'(z) and its rounding error. Who computes f' from a rounded output a
        (a (1 - a), 1 - a^2, 1 - e^-a) subtracts numbers of this size, so that the absolute error is a small
        number of roundings of it. For a derivative that is a constant it is the derivative itself.
    kinks : tuple of float
        Where the derivative jumps.
    fifth_derivative : float
        Bound of |f^(5)| away from the kinks: the error term of a fourth-order central difference.
    """

    value: Elementwise
    derivative: Elementwise
    derivative_terms: Elementwise
    kinks: tuple[float, ...] = ()
    fifth_derivative: float = 0.0


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-z). Where e^-z overflows the quotient is 0, which is right to the last subnormal."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-np.asarray(z, float)))


def sigmoid_derivative(z: np.ndarray) -> np.ndarray:
    """s(z) s(-z): the form that does not subtract."""
    return sigmoid(z) * sigmoid(-np.asarray(z, float))


def tanh_derivative(z: np.ndarray) -> np.ndarray:
    """1 / cosh(z)^2."""
    with np.errstate(over="ignore"):
        return 1.0 / np.cosh(z) ** 2


def softplus(z: np.ndarray) -> np.ndarray:
    """log(e^0 + e^z)."""
    return np.logaddexp(0.0, z)


def leaky_relu(slope: float = 0.01) -> Activation:
    """z where z > 0, slope * z elsewhere; the derivative at 0 is the slope."""

    def value(z: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(z) > 0.0, z, slope * np.asarray(z))

    def derivative(z: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(z) > 0.0, 1.0, slope)

    return Activation(value, derivative, derivative, kinks=(0.0,))


def relu_value(z: np.ndarray) -> np.ndarray:
    """max(z, 0)."""
    return np.maximum(z, 0.0)


def relu_derivative(z: np.ndarray) -> np.ndarray:
    """1 where z > 0, else 0; at 0 it is 0."""
    return np.where(np.asarray(z) > 0.0, 1.0, 0.0)


def identity(z: np.ndarray) -> np.ndarray:
    """Return z as float64."""
    return np.array(z, float)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(identity, np.ones_like, np.ones_like),
    "relu": Activation(relu_value, relu_derivative, relu_derivative, kinks=(0.0,)),
    "leaky_relu": leaky_relu(),
    # a (1 - a): the 1 - a is off by roundings of a, and a multiplies it.
    "sigmoid": Activation(sigmoid, sigmoid_derivative, sigmoid, fifth_derivative=0.25),
    # 1 - a^2: off by roundings of 1 once a^2 has been rounded.
    "tanh": Activation(np.tanh, tanh_derivative, np.ones_like, fifth_derivative=16.0),
    # 1 - e^-a: -expm1 has no cancellation and a itself is at least as large as the result.
    "softplus": Activation(softplus, sigmoid, sigmoid, fifth_derivative=0.125),
}
