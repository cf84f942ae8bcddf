"""What scikit-learn's callbacks are told of a fit; scikit-learn has them from 1.9 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..callbacks import Callback, Logs

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Older versions have nothing that could be set."""


if TYPE_CHECKING:
    from typing import Self

__all__ = ["CallbackSupportMixin", "FitTask", "TaskCallback"]


class FitTask:
    """A fit, of which each epoch is a task within the task.

    Parameters
    ----------
    estimator : estimator
        With callbacks of scikit-learn's.
    n_epochs : int
        At most.
    X, y, sample_weight : object
        What it learns from, as the user has them.
    fitted : callable
        Gives the attributes with which a copy of the estimator is as if the fit had ended at that moment.
    """

    def __init__(
        self, estimator: Any, n_epochs: int, X: Any, y: Any, sample_weight: Any, fitted: Callable[[], dict[str, Any]]
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.fitted, self.n_epochs_ended = fitted, 0
        self.whole = estimator._init_callback_context(max_subtasks=n_epochs).call_on_fit_task_begin(**self.given)

    @classmethod
    def of(cls, estimator: Any, *described: Any) -> Self | None:
        """The task, if there is somebody to tell of it."""
        return cls(estimator, *described) if getattr(estimator, "_skl_callbacks", None) else None

    def epoch_begins(self) -> None:
        """Before an epoch."""
        self.epoch = self.whole.subcontext(task_name="epoch").call_on_fit_task_begin(**self.given)

    def epoch_ended(self) -> bool:
        """After an epoch; whether a callback wants it to be the last."""
        self.n_epochs_ended += 1
        return bool(self.epoch.call_on_fit_task_end(**self.given, reconstruction_attributes=self.fitted))

    def ended(self) -> None:
        """After the last epoch."""
        self.whole.call_on_fit_task_end(**self.given, reconstruction_attributes=self.fitted)


class TaskCallback(Callback):
    """Passes on to a `FitTask` what callbacks of fastgd are told."""

    def __init__(self, task: FitTask) -> None:
        self.task = task

    def on_epoch_begin(self, epoch: int) -> None:
        self.task.epoch_begins()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.task.epoch_ended():
            self.model.stop_training = True

    def on_train_end(self) -> None:
        self.task.ended()
