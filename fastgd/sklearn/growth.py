"""Outputs for classes that come up while a stream is learnt from, beside those that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import unique_labels

from ..initializers import zeros
from ..layers import Dense
from ..model import Sequential

if TYPE_CHECKING:
    from .._formula import Loss
    from .._kernels import Array

__all__ = ["Growth", "grown_model", "with_settings"]


@dataclass(frozen=True)
class Growth:
    """Where each output comes from.

    One output of two classes says by how much the second is likelier than the first. Among several outputs these scores
    are 0 and that one where a loss sees all outputs of a row, and that one with either sign where each output is for a
    class against the rest. What was predicted about the classes known before stays the same in both.

    Attributes
    ----------
    classes : ndarray
        All of them, sorted.
    places : ndarray of intp
        Of the classes known before.
    sources : ndarray of intp
        For each output the one it is made of; -1: of none.
    factors : ndarray
        What that one is multiplied by.
    """

    classes: Array
    places: Array
    sources: Array
    factors: Array

    @classmethod
    def to(cls, known: Array, y: Any, by_class: bool) -> Growth | None:
        """What has to grow for the classes of `y`, if any are new.

        Parameters
        ----------
        known : ndarray
        y : array-like
        by_class : bool
            Whether several outputs are seen by the loss together.

        Raises
        ------
        ValueError
            If text and numbers would be mixed, and for what are no classes.
        """
        classes = unique_labels(known, y)
        if len(classes) == len(known):
            return None
        places = np.searchsorted(classes, known)
        n_outputs = len(classes) if len(classes) > 2 else 1
        sources, factors = np.full(n_outputs, -1), np.zeros(n_outputs)
        if len(known) > 2:
            sources[places], factors[places] = np.arange(len(known)), 1.0
        elif len(known) == 2:
            sources[places], factors[places] = 0, (0.0 if by_class else -1.0, 1.0)
        else:
            # An output of a single class says by how much it is not that one.
            sources[places if n_outputs > 1 else 0] = 0
            factors[places if n_outputs > 1 else 0] = -1.0 if n_outputs > 1 or places[0] == 1 else 1.0
        return cls(classes, places, sources, factors)

    def scattered(self, counts: Array) -> Array:
        """Numbers of the classes known before among those of all, zero for the new ones."""
        found: Array = np.zeros(len(self.classes), counts.dtype)
        found[self.places] = counts
        return found

    def outputs(self, before: Array, fresh: Array) -> Array:
        """Arrays with outputs along their last axis: made of those before, else fresh ones."""
        found: Array = np.where(self.sources >= 0, before[..., self.sources] * self.factors, fresh)
        return found.astype(before.dtype)

    def states(self, before: Array, fresh: float) -> Array:
        """The optimizer's, of outputs that go on as they are; the others begin anew."""
        found: Array = np.where(self.factors == 1.0, before[..., self.sources], fresh)
        return found.astype(before.dtype)


def grown_model(model: Sequential, growth: Growth, loss: Loss, fresh: list[Array]) -> Sequential:
    """A model with further outputs: weights, the optimizer's states and counters as they were where they can be.

    Parameters
    ----------
    model : Sequential
        Built; its last layer is dense, without activation.
    growth : Growth
    loss : Loss
        Of so many outputs.
    fresh : list of ndarray
        [W, b] that a last layer of the new size could begin with.
    """
    state = model.__getstate__()
    *hidden, _ = model.layers
    state["settings"] |= {"layers": [*hidden, Dense(len(growth.sources), initializer=zeros)], "loss": loss}
    state["weights"][-2:] = [growth.outputs(a, b) for a, b in zip(state["weights"][-2:], fresh, strict=True)]
    initial = list(model.optimizer.initial_states().values())
    for k, slot in enumerate(state["slots"]):
        if k == len(initial) and model.optimizer.averages:
            slot[-2:] = [growth.outputs(a, b) for a, b in zip(slot[-2:], fresh, strict=True)]
        else:
            # Sums of gradients, the last of the slots if they are there, begin with zero.
            slot[-2:] = [growth.states(array, initial[k] if k < len(initial) else 0.0) for array in slot[-2:]]
    return of_state(state)


def with_settings(model: Sequential, **settings: Any) -> Sequential:
    """A model made with other arguments, whose weights, states of the optimizer and counters are the same.

    Parameters
    ----------
    model : Sequential
        Built.
    **settings
        Of `Sequential`; layers with weights of the same shapes.
    """
    state = model.__getstate__()
    state["settings"] |= settings
    return of_state(state)


def of_state(state: dict[str, Any]) -> Sequential:
    """The model that a pickle would make of it."""
    model = Sequential.__new__(Sequential)
    model.__setstate__(state)
    return model
