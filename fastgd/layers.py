"""Layers: what each owns, and how a backend sees it. A layer is a description; its weights belong to the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula import ACTIVATIONS, Activation
from ._formula.interval import check
from ._kernels import BatchNormSpec, DenseSpec, DropoutSpec, LayerNormSpec, LayerSpec, SoftmaxSpec
from .constraints import Constraint, read_constraint
from .errors import refusal
from .initializers import INITIALIZERS, Initializer, read_initializer, suited_to
from .inputs import read_activation, read_count, spelled
from .penalties import L2, Penalty

if TYPE_CHECKING:
    from ._kernels import Array
    from .initializers import DrawFrom

__all__ = ["BatchNorm", "Dense", "Dropout", "Layer", "LayerNorm", "Softmax"]


class Layer:
    """What every layer can tell of itself; see `Dense`, `Dropout`, `BatchNorm`, `LayerNorm` and `Softmax`."""

    def n_outputs(self, n_inputs: int) -> int:
        """Columns of the output.

        Parameters
        ----------
        n_inputs : int
        """
        return n_inputs

    def parameter_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """What is learnt by gradient descent: a matrix or vector of weights, then a vector of biases; or nothing.

        Parameters
        ----------
        n_inputs : int
        """
        raise NotImplementedError

    def statistic_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        """What is gathered beside: nothing, but for `BatchNorm`.

        Parameters
        ----------
        n_inputs : int
        """
        return {}

    def initial_weights(self, draw: DrawFrom, n_inputs: int) -> list[Array | Iterator[Array]]:
        """Parameters at the start, float64; a matrix may come some rows at a time.

        Parameters
        ----------
        draw : callable
            ``draw(count, start)`` gives uniform numbers in [0, 1), float64, from number `start` on.
        n_inputs : int
        """
        raise NotImplementedError

    def initial_statistics(self, n_inputs: int) -> list[Array]:
        """Statistics at the start, float64.

        Parameters
        ----------
        n_inputs : int
        """
        return []

    def products(self, n_inputs: int) -> int:
        """Multiplications of weights and inputs for one row.

        Parameters
        ----------
        n_inputs : int
        """
        return 0

    def spec(self, model_penalty: Penalty | None) -> LayerSpec:
        """The layer as a backend sees it.

        Parameters
        ----------
        model_penalty : L1, L2, ElasticNet or None
            Holds where the layer has no penalty of its own.
        """
        raise NotImplementedError


@dataclass(frozen=True, init=False, repr=False)
class Dense(Layer):
    """A fully connected layer: a = f(x W + b) with W of shape (n_inputs, units) and b of shape (units,).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or Activation
        f, such as ``"relu"`` or ``fg.activations.leaky_relu(slope=0.2)``. Leave the last layer linear: a loss acts on
        raw scores, and a loss such as softmax_cross_entropy applies its own link.
    penalty : L1, L2 or ElasticNet, optional
        On W, in place of the model's penalty.
    initializer : str or Initializer, optional
        Of W, such as ``"he_normal"`` or ``fg.initializers.normal(scale=0.02)``; by default what suits the activation:
        ``"he_uniform"`` before relu and what resembles it and before sine, ``"lecun_normal"`` before selu, otherwise
        ``"glorot_uniform"``. Biases start at zero, but with ``"torch"`` and ``"sklearn"``.
    constraint : MaxNorm or NonNegative, optional
        On W, after each step.

    Raises
    ------
    ValueError
        If a value is out of range or a name is not known.
    TypeError
        If something is of the wrong type.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.Dense(64, activation="relu")
    Dense(64, activation='relu')
    """

    units: int
    activation: Activation
    penalty: Penalty | None
    initializer: Initializer
    constraint: Constraint | None

    def __init__(
        self,
        units: int,
        activation: str | Activation = "linear",
        penalty: Penalty | None = None,
        initializer: str | Initializer | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        formula = read_activation(activation)
        _set(
            self,
            units=read_count("Dense: units", units, "pass the number of outputs"),
            activation=formula,
            penalty=read_penalty("Dense: penalty", penalty),
            initializer=suited_to(formula.name) if initializer is None else read_initializer(initializer),
            constraint=read_constraint("Dense: constraint", constraint),
        )

    def __repr__(self) -> str:
        parts = [str(self.units), *_activation_part(self.activation)]
        if self.penalty is not None:
            parts.append(f"penalty={self.penalty!r}")
        if self.initializer != suited_to(self.activation.name):
            parts.append(f"initializer={spelled(self.initializer, INITIALIZERS)}")
        if self.constraint is not None:
            parts.append(f"constraint={self.constraint!r}")
        return f"Dense({', '.join(parts)})"

    def n_outputs(self, n_inputs: int) -> int:
        return self.units

    def parameter_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        return {"W": (n_inputs, self.units), "b": (self.units,)}

    def initial_weights(self, draw: DrawFrom, n_inputs: int) -> list[Array | Iterator[Array]]:
        chosen, units = self.initializer, self.units
        if not chosen.piecewise:
            W: Array = chosen(lambda count: draw(count, 0), n_inputs, units)
            return [W[:n_inputs], W[n_inputs] if len(W) > n_inputs else np.zeros(units)]
        b = np.zeros(units)
        if chosen.with_biases:
            before = n_inputs // 2 * 2
            b = chosen.rows(draw, n_inputs, units, before, n_inputs + 1)[-1]
        return [chosen.pieces(draw, n_inputs, units), b]

    def products(self, n_inputs: int) -> int:
        return n_inputs * self.units

    def spec(self, model_penalty: Penalty | None) -> DenseSpec:
        penalty = self.penalty or model_penalty or L2(0.0)
        limits = self.constraint or Constraint()
        return DenseSpec(self.units, self.activation, penalty.l1, penalty.l2, limits.nonnegative, limits.max_norm)


@dataclass(frozen=True, init=False, repr=False)
class Dropout(Layer):
    """While training, sets each element to zero with probability `rate` and divides the others by ``1 - rate``.

    Parameters
    ----------
    rate : float
        In [0, 1): the share of elements that go.

    Raises
    ------
    ValueError
        If `rate` is not in [0, 1).

    Notes
    -----
    The mean of an element stays what it was (inverted dropout), so `predict` and `evaluate` leave the layer out. Which
    elements go is a function of the model's seed, the number of the step, the layer, the row's place in the batch, and
    the column: nothing is stored, and the bits are the same for any number of threads and any backend. The
    probability is rounded down to a multiple of 2**-32. PyTorch's, Keras's and Flax's dropout do the same with draws of
    their own.

    `loss_and_gradients` sees what the next training step would see.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(64, activation="relu"), fg.Dropout(0.2), fg.Dense(10)])
    """

    rate: float

    def __init__(self, rate: float) -> None:
        _set(self, rate=check("Dropout: rate", rate, "[0, 1)"))

    def __repr__(self) -> str:
        return f"Dropout({self.rate!r})"

    def parameter_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial_weights(self, draw: DrawFrom, n_inputs: int) -> list[Array | Iterator[Array]]:
        return []

    def spec(self, model_penalty: Penalty | None) -> DropoutSpec:
        return DropoutSpec(self.rate)


class Normalization(Layer):
    """What batch and layer normalisation share: one gain, at first 1, and one shift, at first 0, for each column."""

    def parameter_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        return {"gain": (n_inputs,), "shift": (n_inputs,)}

    def initial_weights(self, draw: DrawFrom, n_inputs: int) -> list[Array | Iterator[Array]]:
        return [np.ones(n_inputs), np.zeros(n_inputs)]


@dataclass(frozen=True, init=False, repr=False)
class BatchNorm(Normalization):
    """Batch normalisation: a = f(gain (x - mean) / sqrt(variance + eps) + shift), with the moments of each column.

    Parameters
    ----------
    momentum : float, default 0.1
        In (0, 1]: the share of the newest batch in the running mean and variance.
    eps : float, default 1e-5
        Above 0; added to the variance.
    activation : str or Activation, default "linear"
        f, applied after the normalisation.

    Raises
    ------
    ValueError
        If a value is out of range or a name is not known.
    TypeError
        If something is of the wrong type.

    Notes
    -----
    While training, mean and variance (divided by n) are those of the batch, and the gradient passes through them.
    `predict` and `evaluate` use the running ones: after each step of n rows

        running mean <- (1 - momentum) running mean + momentum mean
        running variance <- (1 - momentum) running variance + momentum variance n / (n - 1),

    from 0 and 1 on. This is the paper's and PyTorch's form. Keras's `momentum` is the share that stays (its default
    0.99 is 0.01 here), its eps is 1e-3, and its running variance is not multiplied by n / (n - 1).

    Sample weights do not enter the moments. A batch of one row has no variance: `fit` with ``batch_size=1`` is refused,
    and a last batch of one row leaves the running moments as they are. Batches of any size go through whole, so the
    memory for activations grows with the batch.

    References
    ----------
    Ioffe & Szegedy, Batch normalization: accelerating deep network training by reducing internal covariate shift, ICML
    2015.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(64), fg.BatchNorm(activation="relu"), fg.Dense(10)])
    """

    momentum: float
    eps: float
    activation: Activation

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5, activation: str | Activation = "linear") -> None:
        _set(
            self,
            momentum=check("BatchNorm: momentum", momentum, "(0, 1]"),
            eps=check("BatchNorm: eps", eps, "(0, inf)"),
            activation=read_activation(activation),
        )

    def __repr__(self) -> str:
        parts = [f"momentum={self.momentum!r}"] * (self.momentum != 0.1) + [f"eps={self.eps!r}"] * (self.eps != 1e-5)
        return f"BatchNorm({', '.join(parts + _activation_part(self.activation))})"

    def statistic_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        return {"mean": (n_inputs,), "variance": (n_inputs,)}

    def initial_statistics(self, n_inputs: int) -> list[Array]:
        return [np.zeros(n_inputs), np.ones(n_inputs)]

    def spec(self, model_penalty: Penalty | None) -> BatchNormSpec:
        return BatchNormSpec(self.eps, self.momentum, self.activation)


@dataclass(frozen=True, init=False, repr=False)
class LayerNorm(Normalization):
    """Layer normalisation: a = f(gain (x - mean) / sqrt(variance + eps) + shift), with the moments of each row.

    Parameters
    ----------
    eps : float, default 1e-5
        Above 0; added to the variance.
    activation : str or Activation, default "linear"
        f, applied after the normalisation.

    Raises
    ------
    ValueError
        If a value is out of range or a name is not known.
    TypeError
        If something is of the wrong type.

    Notes
    -----
    Mean and variance (divided by the number of columns) are a row's own, in training and in `predict` alike. PyTorch's
    form; eps is 1e-3 in Keras and 1e-6 in Flax.

    References
    ----------
    Ba, Kiros & Hinton, Layer normalization, arXiv:1607.06450, 2016.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(64), fg.LayerNorm(activation="gelu"), fg.Dense(10)])
    """

    eps: float
    activation: Activation

    def __init__(self, eps: float = 1e-5, activation: str | Activation = "linear") -> None:
        _set(self, eps=check("LayerNorm: eps", eps, "(0, inf)"), activation=read_activation(activation))

    def __repr__(self) -> str:
        parts = [f"eps={self.eps!r}"] * (self.eps != 1e-5)
        return f"LayerNorm({', '.join(parts + _activation_part(self.activation))})"

    def spec(self, model_penalty: Penalty | None) -> LayerNormSpec:
        return LayerNormSpec(self.eps, self.activation)


@dataclass(frozen=True, repr=False)
class Softmax(Layer):
    """Softmax: p_c = e^(x_c) / sum_k e^(x_k) of each row; shape and dtype stay.

    Notes
    -----
    With d the gradient by p, that by x is p_c (d_c - sum_k d_k p_k). The largest x of a row is taken off first, so that
    no exponential overflows.

    As the last layer for losses that want probabilities and do not make them themselves: mean_squared_error of it is
    Brier's score. softmax_cross_entropy, softmax_focal_cross_entropy and kl_divergence apply softmax to raw scores,
    with more digits than a logarithm of p would have, and `predict` gives probabilities then: they want no such layer,
    while Keras's categorical_crossentropy does. It may also stand between layers, as weights that add up to 1.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, Neurocomputing, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(3), fg.Softmax()], loss="mean_squared_error").build(2)
    >>> round(float(model.predict(np.ones((1, 2))).sum()), 6)
    1.0
    """

    def __repr__(self) -> str:
        return "Softmax()"

    def parameter_shapes(self, n_inputs: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial_weights(self, draw: DrawFrom, n_inputs: int) -> list[Array | Iterator[Array]]:
        return []

    def spec(self, model_penalty: Penalty | None) -> SoftmaxSpec:
        return SoftmaxSpec()


def _set(layer: Layer, **values: Any) -> None:
    """Give a frozen layer its values."""
    for name, value in values.items():
        object.__setattr__(layer, name, value)


def _activation_part(activation: Activation) -> list[str]:
    """How a layer's repr shows its activation: not at all if it is linear."""
    return [] if activation == read_activation("linear") else [f"activation={spelled(activation, ACTIVATIONS)}"]


def read_penalty(name: str, given: Any) -> Penalty | None:
    """A penalty or None.

    Raises
    ------
    TypeError
        For anything else.
    """
    if given is not None and not isinstance(given, Penalty):
        raise TypeError(refusal(name, repr(given), "L1, L2, ElasticNet or None", "pass for example fg.L2(1e-4)"))
    return given


def read_layers(given: Any) -> tuple[tuple[Layer, ...], Dense]:
    """The layers of a model, if that is what they are, and the last dense one, which gives the scores."""
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        expected = "a list of at least one layer"
        raise TypeError(refusal("layers", repr(given), expected, "pass for example [fg.Dense(10)]"))
    for k, layer in enumerate(given):
        if not isinstance(layer, Layer):
            raise TypeError(refusal(f"layers[{k}]", repr(layer), "a layer", "pass for example fg.Dense(10)"))
    number = len(given) - (2 if isinstance(given[-1], Softmax) and len(given) > 1 else 1)
    last = given[number]
    if not isinstance(last, Dense):
        expected = "Dense as the last layer, or before a Softmax that is, whose outputs the loss acts on"
        raise ValueError(refusal(f"layers[{number}]", repr(last), expected, "add for example fg.Dense(10)"))
    return tuple(given), last
