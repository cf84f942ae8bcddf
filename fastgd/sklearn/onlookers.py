"""Callbacks of fastgd's within the fits of an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..callbacks import CallbackList
from ..training import History, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..callbacks import Callback, Logs
    from ..model import Sequential


class Onlookers(CallbackList):
    """Those of one fit.

    Parameters
    ----------
    callbacks : sequence of Callback
    model : Sequential
        Of the estimator. While somebody looks on, it has a history, as in its own `fit`.
    """

    progress: Progress

    def __init__(self, callbacks: Sequence[Callback], model: Sequential) -> None:
        super().__init__(callbacks, model)
        model.stop_training = False

    def begin(self, progress: Progress) -> None:
        self.progress = progress
        if self.callbacks:
            self.model.history = History()
        super().begin(progress)

    def epoch_ended(self, epoch: int, values: Logs) -> None:
        self.progress.epochs_done += 1
        self.progress.step = 0
        if self.callbacks:
            self.model.history.add(epoch, **values)
        super().epoch_ended(epoch, values)

    def close(self) -> None:
        super().close()
        for callback in self.callbacks:
            # Callbacks are parameters, and copied with them: the network should not be.
            vars(callback).pop("model", None)
            vars(callback).pop("progress", None)
