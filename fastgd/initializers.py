"""Initial weights. An initializer turns uniform draws into a matrix, in float64; the model casts it.

An initializer is called on ``(draw, n_inputs, n_outputs)``, where ``draw(count)`` gives that many numbers in [0, 1),
always the same for one seed and layer; or, without these, gives a copy with other parameters, ``normal(scale=0.02)``.
To add one: such a function under ``@initializer()``. It gives W of shape (n_inputs, n_outputs), and biases are zero; or
both, as one matrix of a row more, the last. A matrix of float64 may be twice as large as the weights that the model
makes of it; with ``@initializer(piecewise=True)`` it is made some rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula import get
from ._formula.declare import Declaration, Registry
from .errors import refusal

if TYPE_CHECKING:
    from ._kernels import Array

    Draw = Callable[[int], Array]
    DrawFrom = Callable[[int, int], Array]

__all__ = ["Initializer", "initializer"]

# Standard deviation of a standard normal number that is known to lie between -2 and 2.
TRUNCATED_DEVIATION = 0.87962566103423978

# Of weights that are made at a time: half a megabyte.
ELEMENTS_AT_ONCE = 1 << 16


class Initializer(Declaration):
    """A way of drawing the first weights; see `initializer`.

    Attributes
    ----------
    name : str
    parameters : dict of str to float
    ranges : dict of str to str
        Admitted values.
    piecewise : bool
        Whether each row is made of as many draws as it has elements, and no others but for a partner of the very last.
    with_biases : bool
        Whether a row of biases follows the weights.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.Dense(8, initializer=fg.initializers.normal(scale=0.02))
    Dense(8, initializer=normal(scale=0.02))
    """

    kind = "initializer"

    def __init__(
        self,
        function: Callable[..., Any],
        ranges: Mapping[str, str],
        piecewise: bool = False,
        with_biases: bool = False,
    ) -> None:
        super().__init__(function.__name__, None, function.__doc__, function.__module__, ranges)
        self.function = function
        self.piecewise = piecewise
        self.with_biases = with_biases
        self.parameters = dict(function.__kwdefaults__ or {})

    def __call__(self, *given: Any, **parameters: float) -> Any:
        """The weights of ``(draw, n_inputs, n_outputs)``, or, without these, a copy with other parameters."""
        chosen = self.configured(**parameters) if parameters else self
        return chosen.function(*given, **chosen.parameters) if given else chosen

    def rows(self, draw: DrawFrom, n_inputs: int, n_outputs: int, first: int, last: int) -> Array:
        """Some rows of a piecewise initializer's matrix; `first` is even.

        Parameters
        ----------
        draw : callable
            ``draw(count, start)`` gives draws from number `start` on.
        n_inputs, n_outputs : int
        first, last : int
            The last one is not included.
        """
        n_rows = n_inputs + self.with_biases

        def of_rows(count: int) -> Array:
            partner = count - n_rows * n_outputs if last == n_rows else 0
            return draw((last - first) * n_outputs + partner, first * n_outputs)

        matrix: Array = self(of_rows, n_inputs, n_outputs)
        return matrix[: last - first]

    def pieces(self, draw: DrawFrom, n_inputs: int, n_outputs: int) -> Iterator[Array]:
        """The weights of a piecewise initializer, some rows at a time."""
        step = max(2, ELEMENTS_AT_ONCE // n_outputs // 2 * 2)
        for first in range(0, n_inputs, step):
            yield self.rows(draw, n_inputs, n_outputs, first, min(first + step, n_inputs))

    def __reduce__(self) -> tuple[Any, ...]:
        # By name: the decorated function is not to be found where a pickle looks for it.
        return _named, (self.name, self.parameters)


INITIALIZERS: Registry[Initializer] = Registry("initializer")


def _named(name: str, parameters: dict[str, float]) -> Initializer:
    return INITIALIZERS[name].configured(**parameters)


def initializer(
    *, piecewise: bool = False, with_biases: bool = False, **ranges: str
) -> Callable[[Callable[..., Any]], Initializer]:
    """Register a function as an initializer under its name; its keyword-only arguments become parameters.

    Parameters
    ----------
    piecewise : bool
        Promises that a row depends on its own draws alone; so that, handed the draws of some rows, the function gives
        these rows.
    with_biases : bool
        Promises a row of biases after the weights.
    **ranges : str
        Admitted values of the parameters, such as ``scale="(0, inf)"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import INITIALIZERS, initializer
    >>> @initializer()
    ... def alternating(draw, n_inputs, n_outputs, *, size=1.0):
    ...     return size * np.where(np.indices((n_inputs, n_outputs)).sum(axis=0) % 2, -1.0, 1.0)
    >>> alternating(None, 2, 2, size=0.5)
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    >>> del INITIALIZERS["alternating"]
    """

    def register(function: Callable[..., Any]) -> Initializer:
        return INITIALIZERS.add(Initializer(function, ranges, piecewise, with_biases))

    return register


# ------------------------------------------------------------------------------------------- kinds of random numbers
def _uniform(draw: Draw, n_inputs: int, n_outputs: int, limit: float) -> Array:
    """On [-limit, limit), row by row."""
    W = draw(n_inputs * n_outputs).reshape(-1, n_outputs)
    W *= 2.0
    W -= 1.0
    W *= limit
    return W


def _normals(draw: Draw, count: int) -> Array:
    """Standard normal numbers by Box and Muller, two from two draws: as many as asked for, or one more."""
    z = draw(count + count % 2)
    radius, angle = np.sqrt(-2.0 * np.log1p(-z[::2])), 2.0 * math.pi * z[1::2]
    z[::2], z[1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return z


def _normal(draw: Draw, n_inputs: int, n_outputs: int, deviation: float) -> Array:
    z = _normals(draw, n_inputs * n_outputs)
    return deviation * z[: len(z) // n_outputs * n_outputs].reshape(-1, n_outputs)[:n_inputs]


def _truncated_normal(draw: Draw, n_inputs: int, n_outputs: int, deviation: float) -> Array:
    """Normal numbers between -2 and 2, scaled so that their own standard deviation is the one wanted."""
    count = n_inputs * n_outputs
    n_drawn = count + count // 10 + 16
    while len(inside := (z := _normals(draw, n_drawn))[abs(z) < 2.0]) < count:
        n_drawn *= 2
    return (deviation / TRUNCATED_DEVIATION) * inside[:count].reshape(n_inputs, n_outputs)


# --------------------------------------------------------------------------------------------------- plain ones
@initializer()
def zeros(draw: Draw, n_inputs: int, n_outputs: int) -> Array:
    """All zero. Enough for a single layer; in a deeper network all units of a layer would stay the same.

    Examples
    --------
    >>> from fastgd.initializers import zeros
    >>> zeros(None, 1, 2)
    array([[0., 0.]])
    """
    return np.zeros((n_inputs, n_outputs))


@initializer()
def constant(draw: Draw, n_inputs: int, n_outputs: int, *, value: float = 0.0) -> Array:
    """All the same number, `value`.

    Examples
    --------
    >>> from fastgd.initializers import constant
    >>> constant(None, 1, 2, value=0.5)
    array([[0.5, 0.5]])
    """
    return np.full((n_inputs, n_outputs), value)


@initializer(piecewise=True, scale="[0, inf)")
def uniform(draw: Draw, n_inputs: int, n_outputs: int, *, scale: float = 0.05) -> Array:
    """Uniform on [-scale, scale).

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import uniform
    >>> uniform(lambda count: np.full(count, 0.75), 1, 2)
    array([[0.025, 0.025]])
    """
    return _uniform(draw, n_inputs, n_outputs, scale)


@initializer(piecewise=True, scale="[0, inf)")
def normal(draw: Draw, n_inputs: int, n_outputs: int, *, scale: float = 0.05) -> Array:
    """Normal with mean 0 and standard deviation `scale`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import normal
    >>> normal(lambda count: np.zeros(count), 1, 2)
    array([[0., 0.]])
    """
    return _normal(draw, n_inputs, n_outputs, scale)


@initializer(scale="[0, inf)")
def truncated_normal(draw: Draw, n_inputs: int, n_outputs: int, *, scale: float = 0.05) -> Array:
    """Normal with mean 0 and standard deviation `scale` before all beyond twice that is left out, as Keras has it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import truncated_normal
    >>> bool(abs(truncated_normal(np.random.default_rng(0).random, 20, 20)).max() < 0.1)
    True
    """
    return _truncated_normal(draw, n_inputs, n_outputs, scale * TRUNCATED_DEVIATION)


# ------------------------------------------------------------------------------- a variance that suits the layer
GLOROT = "Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010."
HE = "He et al., Delving deep into rectifiers, ICCV 2015."
LECUN = "LeCun, Bottou, Orr & Müller, Efficient backprop, 1998."

# Variance times what it is inverse to; that, in words; for which activations; source.
SCHEMES = {
    "glorot": (2.0, "n_inputs + n_outputs", "tanh and others that are steepest at zero", GLOROT),
    "he": (2.0, "n_inputs", "relu and its kin, which let half of their input through", HE),
    "lecun": (1.0, "n_inputs", "selu", LECUN),
}
# Whence the numbers; the square of their scale over their variance; in words.
SHAPES = {
    "uniform": (_uniform, 3.0, "Uniform"),
    "normal": (_normal, 1.0, "Normal"),
    "truncated_normal": (_truncated_normal, 1.0, "Normal without what lies beyond two deviations, widened"),
}


def _scaled(scheme: str, shape: str) -> Initializer:
    """One of the nine: a scheme decides the variance, a shape the distribution."""
    numerator, denominator, suits, source = SCHEMES[scheme]
    distribution, widening, in_words = SHAPES[shape]

    def function(draw: Draw, n_inputs: int, n_outputs: int) -> Array:
        fan = n_inputs + n_outputs if scheme == "glorot" else n_inputs
        return distribution(draw, n_inputs, n_outputs, math.sqrt(widening * numerator / fan))

    function.__name__ = f"{scheme}_{shape}"
    function.__doc__ = f"""{in_words}, with variance {numerator:g} / ({denominator}). Suits {suits}.

    References
    ----------
    {source}

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import {scheme}_{shape}
    >>> {scheme}_{shape}(np.random.default_rng(0).random, 300, 200).shape
    (300, 200)
    """
    return initializer(piecewise=shape != "truncated_normal")(function)


glorot_uniform, glorot_normal, glorot_truncated_normal = (_scaled("glorot", shape) for shape in SHAPES)
he_uniform, he_normal, he_truncated_normal = (_scaled("he", shape) for shape in SHAPES)
lecun_uniform, lecun_normal, lecun_truncated_normal = (_scaled("lecun", shape) for shape in SHAPES)


# ------------------------------------------------------------------------------------------ matrices of a structure
@initializer(gain="(0, inf)")
def orthogonal(draw: Draw, n_inputs: int, n_outputs: int, *, gain: float = 1.0) -> Array:
    """Orthonormal columns, or rows if these are fewer, times `gain`; every such matrix is as likely.

    References
    ----------
    Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    ICLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import orthogonal
    >>> W = orthogonal(np.random.default_rng(0).random, 3, 2)
    >>> bool(np.allclose(W.T @ W, np.eye(2)))
    True
    """
    long, short = max(n_inputs, n_outputs), min(n_inputs, n_outputs)
    q, r = np.linalg.qr(_normal(draw, long, short, 1.0))
    # The factorisation's choice of signs is not uniform; with a positive diagonal of R it is unique.
    q *= gain * np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
    return q if n_inputs >= n_outputs else np.ascontiguousarray(q.T)


@initializer()
def identity(draw: Draw, n_inputs: int, n_outputs: int, *, gain: float = 1.0) -> Array:
    """`gain` on the diagonal, zero elsewhere: each output begins as the input of its number.

    Examples
    --------
    >>> from fastgd.initializers import identity
    >>> identity(None, 2, 3)
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    return gain * np.eye(n_inputs, n_outputs)


@initializer(sparsity="[0, 1)", scale="(0, inf)")
def sparse(draw: Draw, n_inputs: int, n_outputs: int, *, sparsity: float = 0.9, scale: float = 0.01) -> Array:
    """Normal with standard deviation `scale`, but for a share `sparsity` of each unit's inputs, rounded up: zero.

    References
    ----------
    Martens, Deep learning via Hessian-free optimization, ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import sparse
    >>> W = sparse(np.random.default_rng(0).random, 10, 3, sparsity=0.75)
    >>> (W == 0.0).sum(axis=0)
    array([8, 8, 8])
    """
    count = n_inputs * n_outputs
    draws = draw(2 * count + count % 2)
    W = scale * _normals(lambda n: draws[:n].copy(), count)[:count].reshape(n_inputs, n_outputs)
    order = draws[-count:].reshape(n_inputs, n_outputs).argsort(axis=0)
    np.put_along_axis(W, order[: math.ceil(sparsity * n_inputs)], 0.0, axis=0)
    return W


# --------------------------------------------------------------------------------------- defaults of other libraries
@initializer(piecewise=True, with_biases=True)
def torch(draw: Draw, n_inputs: int, n_outputs: int) -> Array:
    """PyTorch's default for a linear layer: weights and biases uniform on ±1 / sqrt(n_inputs).

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import torch
    >>> torch(lambda count: np.full(count, 0.75), 4, 2)[-1]
    array([0.25, 0.25])
    """
    return _uniform(draw, n_inputs + 1, n_outputs, 1.0 / math.sqrt(n_inputs))


@initializer(piecewise=True)
def keras(draw: Draw, n_inputs: int, n_outputs: int) -> Array:
    """Keras's default for a dense layer: `glorot_uniform`, and biases of zero.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import keras
    >>> keras(lambda count: np.full(count, 0.75), 2, 1).T
    array([[0.70710678, 0.70710678]])
    """
    W: Array = glorot_uniform(draw, n_inputs, n_outputs)
    return W


@initializer(piecewise=True, with_biases=True, factor="(0, inf)")
def sklearn(draw: Draw, n_inputs: int, n_outputs: int, *, factor: float = 6.0) -> Array:
    """scikit-learn's networks: weights and biases uniform on ±sqrt(factor / (n_inputs + n_outputs)).

    With its logistic activation scikit-learn takes factor = 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.initializers import sklearn
    >>> sklearn(lambda count: np.full(count, 0.75), 2, 1).T
    array([[0.70710678, 0.70710678, 0.70710678]])
    """
    return _uniform(draw, n_inputs + 1, n_outputs, math.sqrt(factor / (n_inputs + n_outputs)))


__all__ += list(INITIALIZERS)


# Of weights before these activations, so that numbers keep their size through many layers: He et al. 2015 for what
# resembles relu, Klambauer et al. 2017 for selu, Sitzmann et al. 2020 for sine. Before all others Glorot's.
RECTIFIERS = ("relu", "leaky_relu", "relu6", "elu", "celu", "gelu", "gelu_tanh", "silu", "hard_silu", "mish")
SUITED = {**dict.fromkeys((*RECTIFIERS, "sine"), "he_uniform"), "selu": "lecun_normal"}


def suited_to(activation: str) -> Initializer:
    """The default before the activation of that name."""
    return INITIALIZERS[SUITED.get(activation, "glorot_uniform")]


def read_initializer(given: Any) -> Initializer:
    """An initializer, or the one of that name.

    Raises
    ------
    ValueError
        For an unknown name; lists the nearest and all names.
    TypeError
        For anything else.
    """
    if not isinstance(given, str | Initializer):
        expected = f"an initializer, or a name, one of {', '.join(INITIALIZERS)}"
        raise TypeError(refusal("initializer", repr(given), expected, "set other weights with model.set_weights"))
    chosen: Initializer = get(INITIALIZERS, given)
    return chosen
