"""Activations: value, derivative, and what an error analysis has to know about them."""

from __future__ import annotations

import math
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
        Where the first or second derivative jumps.
    value_terms : callable, optional
        Of z: the same for the value, where an intermediate result's rounding is multiplied on the way. Without
        it, the error is a small number of roundings of the value itself.
    fifth_derivative : float
        Bound of |f^(5)| away from the kinks: the error term of a fourth-order central difference.
    """

    value: Elementwise
    derivative: Elementwise
    derivative_terms: Elementwise
    kinks: tuple[float, ...] = ()
    fifth_derivative: float = 0.0
    value_terms: Elementwise | None = None


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


def relu6() -> Activation:
    """min(max(z, 0), 6); the derivative is 0 at both ends."""

    def derivative(z: np.ndarray) -> np.ndarray:
        return np.where((np.asarray(z) > 0.0) & (np.asarray(z) < 6.0), 1.0, 0.0)

    return Activation(lambda z: np.clip(z, 0.0, 6.0), derivative, derivative, kinks=(0.0, 6.0))


def exponential_linear(alpha: float, scale: float = 1.0, width: float = 1.0) -> Activation:
    """scale times z where z > 0, scale alpha (e^(z/width) - 1) elsewhere: elu, selu, celu."""

    def value(z: np.ndarray) -> np.ndarray:
        return scale * np.where(np.asarray(z) > 0.0, z, alpha * np.expm1(np.minimum(z, 0.0) / width))

    def derivative(z: np.ndarray) -> np.ndarray:
        return scale * np.where(np.asarray(z) > 0.0, 1.0, alpha / width * np.exp(np.minimum(z, 0.0) / width))

    # From the output, (a + scale alpha) / width: terms as large as the limit on the left.
    return Activation(
        value,
        derivative,
        lambda z: scale * np.where(np.asarray(z) > 0.0, 1.0, alpha / width),
        kinks=(0.0,),
        fifth_derivative=scale * alpha / width**5,
    )


def elu(alpha: float = 1.0) -> Activation:
    """z where z > 0, alpha (e^z - 1) elsewhere."""
    return exponential_linear(alpha)


def celu(alpha: float = 1.0) -> Activation:
    """z where z > 0, alpha (e^(z/alpha) - 1) elsewhere."""
    return exponential_linear(alpha, width=alpha)


def normal_density(z: np.ndarray) -> np.ndarray:
    """e^(-z^2/2) / sqrt(2 pi). z is taken in two parts, since a rounding of z^2 would be multiplied by z^2/2."""
    z = np.asarray(z, float)
    upper = z.astype(np.float32).astype(float)
    exponentials = np.exp(-0.5 * upper**2) * np.exp(-0.5 * (z - upper) * (z + upper))
    return exponentials / math.sqrt(2.0 * math.pi)


def normal_distribution(z: np.ndarray) -> np.ndarray:
    """P(Y < z): erfc near zero, on the left Laplace's continued fraction, p(y) / (y + 1 / (y + 2 / (y + ...)))."""
    z = np.asarray(z, float)
    y = np.maximum(-z, 2.0)
    fraction = y
    for n in range(160, 0, -1):
        fraction = y + n / fraction
    near = 0.5 * np.vectorize(math.erfc, otypes=[float])(-np.maximum(z, -2.0) / math.sqrt(2.0))
    return np.where(z < -2.0, normal_density(y) / fraction, near)


def gelu_derivative(z: np.ndarray) -> np.ndarray:
    """P(Y < z) + z p(z)."""
    return normal_distribution(z) + z * normal_density(z)


def gelu_derivative_terms(z: np.ndarray) -> np.ndarray:
    """Both terms; the exponent of the density, z^2/2, multiplies its roundings."""
    return normal_distribution(z) + abs(z) * normal_density(z) * (1.0 + np.square(z))


def tanh_argument(z: np.ndarray) -> np.ndarray:
    """2 sqrt(2/pi) (z + 0.044715 z^3)."""
    return 2.0 * math.sqrt(2.0 / math.pi) * (z + 0.044715 * np.power(z, 3))


def gelu_tanh_value(z: np.ndarray) -> np.ndarray:
    """z (1 + tanh(u/2)) / 2 is z s(u)."""
    return z * sigmoid(tanh_argument(z))


def gelu_tanh_derivative(z: np.ndarray) -> np.ndarray:
    """s(u) + z s'(u) u'(z)."""
    slope = 2.0 * math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * np.square(z))
    return sigmoid(tanh_argument(z)) + z * sigmoid_derivative(tanh_argument(z)) * slope


def gelu_tanh_terms(z: np.ndarray) -> np.ndarray:
    """Far on the left s(u) is e^u, which multiplies u's roundings by u."""
    return abs(gelu_tanh_value(z)) * (1.0 + abs(tanh_argument(z)))


def gelu_tanh_derivative_terms(z: np.ndarray) -> np.ndarray:
    """Both terms of the derivative, each with the roundings of u."""
    slope = 2.0 * math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * np.square(z))
    terms = sigmoid(tanh_argument(z)) + abs(z) * sigmoid_derivative(tanh_argument(z)) * slope
    return terms * (1.0 + abs(tanh_argument(z)))


def silu_derivative(z: np.ndarray) -> np.ndarray:
    """s(z) + z s'(z)."""
    return sigmoid(z) + z * sigmoid_derivative(z)


def mish_value(z: np.ndarray) -> np.ndarray:
    """z tanh(softplus(z))."""
    return z * np.tanh(softplus(z))


def mish_derivative(z: np.ndarray) -> np.ndarray:
    """tanh(p) + z tanh'(p) s(z) with p = softplus(z)."""
    return np.tanh(softplus(z)) + z * tanh_derivative(softplus(z)) * sigmoid(z)


def hard_sigmoid_derivative(z: np.ndarray) -> np.ndarray:
    """1/6 between -3 and 3."""
    return np.where(abs(np.asarray(z)) < 3.0, 1.0 / 6.0, 0.0)


def hard_silu_derivative(z: np.ndarray) -> np.ndarray:
    """(2 z + 3) / 6 between -3 and 3; 0 at -3, 1 at 3."""
    return np.where(abs(np.asarray(z)) < 3.0, (2.0 * z + 3.0) / 6.0, np.where(np.asarray(z) > 0.0, 1.0, 0.0))


def hard_tanh_derivative(z: np.ndarray) -> np.ndarray:
    """1 between -1 and 1."""
    return np.where(abs(np.asarray(z)) < 1.0, 1.0, 0.0)


def softsign_value(z: np.ndarray) -> np.ndarray:
    """z / (1 + |z|)."""
    return z / (1.0 + abs(np.asarray(z)))


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(identity, np.ones_like, np.ones_like),
    "relu": Activation(relu_value, relu_derivative, relu_derivative, kinks=(0.0,)),
    "leaky_relu": leaky_relu(),
    "relu6": relu6(),
    "elu": elu(),
    "selu": exponential_linear(1.6732632423543772848, scale=1.0507009873554804934),
    "celu": celu(),
    "gelu": Activation(
        lambda z: z * normal_distribution(z), gelu_derivative, gelu_derivative_terms, fifth_derivative=2.9
    ),
    "gelu_tanh": Activation(
        gelu_tanh_value,
        gelu_tanh_derivative,
        gelu_tanh_derivative_terms,
        fifth_derivative=2.9,
        value_terms=gelu_tanh_terms,
    ),
    "silu": Activation(
        lambda z: z * sigmoid(z),
        silu_derivative,
        lambda z: sigmoid(z) + abs(z) * sigmoid_derivative(z),
        fifth_derivative=0.7,
    ),
    "mish": Activation(
        mish_value,
        mish_derivative,
        lambda z: np.tanh(softplus(z)) + abs(z) * tanh_derivative(softplus(z)) * sigmoid(z),
        fifth_derivative=2.3,
    ),
    # a (1 - a): the 1 - a is off by roundings of a, and a multiplies it.
    "sigmoid": Activation(sigmoid, sigmoid_derivative, sigmoid, fifth_derivative=0.25),
    # 1 - a^2: off by roundings of 1 once a^2 has been rounded.
    "tanh": Activation(np.tanh, tanh_derivative, np.ones_like, fifth_derivative=16.0),
    # 1 - e^-a: -expm1 has no cancellation and a itself is at least as large as the result.
    "softplus": Activation(softplus, sigmoid, sigmoid, fifth_derivative=0.125),
    "hard_sigmoid": Activation(
        lambda z: np.clip(np.asarray(z) + 3.0, 0.0, 6.0) / 6.0,
        hard_sigmoid_derivative,
        hard_sigmoid_derivative,
        kinks=(-3.0, 3.0),
    ),
    "hard_silu": Activation(
        lambda z: z * np.clip(np.asarray(z) + 3.0, 0.0, 6.0) / 6.0,
        hard_silu_derivative,
        lambda z: np.where(abs(np.asarray(z)) < 3.0, (2.0 * abs(z) + 3.0) / 6.0, hard_silu_derivative(z)),
        kinks=(-3.0, 3.0),
    ),
    "hard_tanh": Activation(
        lambda z: np.clip(z, -1.0, 1.0), hard_tanh_derivative, hard_tanh_derivative, kinks=(-1.0, 1.0)
    ),
    # (1 - |a|)^2: off by roundings of 1, times 1 - |a|.
    "softsign": Activation(
        softsign_value,
        lambda z: 1.0 / (1.0 + abs(np.asarray(z))) ** 2,
        lambda z: 1.0 / (1.0 + abs(np.asarray(z))),
        kinks=(0.0,),
        fifth_derivative=120.0,
    ),
    # As large as e^6 where differences are taken.
    "exp": Activation(np.exp, np.exp, np.exp, fifth_derivative=math.exp(6.0)),
    "sine": Activation(np.sin, np.cos, np.cos, fifth_derivative=1.0),
}
