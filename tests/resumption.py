"""A fit that is killed and goes on: what it ends with must be what one that was never stopped ends with."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import pytest
from tolerances import assert_same_bits

import fastgd as fg


def assert_same_model(one: fg.Sequential, other: fg.Sequential) -> None:
    """In all that decides what they will do, and in what they have seen."""
    assert repr(one) == repr(other)
    assert_same_bits(one.get_weights(), other.get_weights())
    for mine, theirs in zip(one._network.get_slots(), other._network.get_slots(), strict=True):
        assert_same_bits(mine, theirs)
    assert one._counters == other._counters
    assert (one.history.epochs, one.history.history) == (other.history.epochs, other.history.history)


class Killed(Exception):
    """Stands for whatever ends a process."""


class KilledAfter(fg.callbacks.Callback):
    """Saves the model after so many steps, and is not heard of again."""

    saves = True

    def __init__(self, steps: int, path: str | PathLike[str]) -> None:
        self.steps, self.path = steps, path

    def on_train_batch_begin(self, batch: int) -> None:
        """Has each step be a call."""

    def on_call_end(self) -> None:
        if self.model.n_steps_done == self.steps:
            self.model.save(self.path)
            raise Killed


def assert_resumes(
    make: Callable[[], fg.Sequential],
    fit: Callable[..., Any],
    steps: int,
    path: str | PathLike[str],
    **further: Any,
) -> fg.Sequential:
    """Training that is killed after some steps and resumed ends as training that was not."""
    whole, killed, resumed = make(), make(), make()
    fit(whole)
    with pytest.raises(Killed):
        fit(killed, callbacks=[KilledAfter(steps, path)])
    fit(resumed, resume_from=path, **further)
    assert_same_model(resumed, whole)
    return whole
