"""Layers: what each owns, and how a backend sees it. A layer is a description; its weights belong to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._formula import ACTIVATIONS, Activation
from ._kernels import DenseSpec
from .errors import refusal
from .initializers import INITIALIZERS, Initializer, read_initializer
from .inputs import read_activation, read_count, spelled
from .penalties import L2, Penalty

if TYPE_CHECKING:
    from ._kernels import Array

__all__ = ["Dense"]


@dataclass(frozen=True, init=False, repr=False)
class Dense:
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
    initializer : str or Initializer
        Of W, such as ``"he_normal"`` or ``fg.initializers.normal(scale=0.02)``. Biases start at zero, but with
        ``"torch"`` and ``"sklearn"``.

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

    weight_names: ClassVar[tuple[str, ...]] = ("weight", "bias")

    units: int
    activation: Activation
    penalty: Penalty | None
    initializer: Initializer

    def __init__(
        self,
        units: int,
        activation: str | Activation = "linear",
        penalty: Penalty | None = None,
        initializer: str | Initializer = "glorot_uniform",
    ) -> None:
        for name, value in (
            ("units", read_count("Dense: units", units, "pass the number of outputs")),
            ("activation", read_activation(activation)),
            ("penalty", read_penalty("Dense: penalty", penalty)),
            ("initializer", read_initializer(initializer)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        parts = [str(self.units)]
        if self.activation != read_activation("linear"):
            parts.append(f"activation={spelled(self.activation, ACTIVATIONS)}")
        if self.penalty is not None:
            parts.append(f"penalty={self.penalty!r}")
        if self.initializer != read_initializer("glorot_uniform"):
            parts.append(f"initializer={spelled(self.initializer, INITIALIZERS)}")
        return f"Dense({', '.join(parts)})"

    def spec(self, model_penalty: Penalty | None) -> DenseSpec:
        """The layer as a backend sees it.

        Parameters
        ----------
        model_penalty : L1, L2, ElasticNet or None
            Holds where the layer has no penalty of its own.
        """
        penalty = self.penalty or model_penalty or L2(0.0)
        return DenseSpec(self.units, self.activation, penalty.l1, penalty.l2)

    def initial_weights(self, draw: Callable[[int], Array], n_inputs: int) -> list[Array]:
        """[W, b] at the start, from uniform draws; float64.

        Parameters
        ----------
        draw : callable
            ``draw(count)`` gives that many uniform numbers in [0, 1), float64.
        n_inputs : int
        """
        W = self.initializer(draw, n_inputs, self.units)
        return [W[:n_inputs], W[n_inputs] if len(W) > n_inputs else np.zeros(self.units)]


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


def read_layers(given: Any) -> tuple[Dense, ...]:
    """The layers of a model, if that is what they are."""
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        expected = "a list of at least one layer"
        raise TypeError(refusal("layers", repr(given), expected, "pass for example [fg.Dense(10)]"))
    for k, layer in enumerate(given):
        if not isinstance(layer, Dense):
            raise TypeError(refusal(f"layers[{k}]", repr(layer), "a layer", "pass for example fg.Dense(10)"))
    return tuple(given)
