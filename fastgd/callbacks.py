"""Callbacks: what watches a `fit` and may steer or stop it, with the names and habits of Keras.

A callback is asked only for what it overrides. Without one that wants epochs, many epochs are one call into the engine;
without one that wants batches, an epoch is. `on_call_end` comes after each such call, about ten times a second, and is
the place for what goes by the clock.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any, ClassVar

from .errors import DivergenceError, refusal
from .inputs import read_count, read_flag
from .methods import Method
from .optional import import_optional
from .training import Hooks, Progress

if TYPE_CHECKING:
    from ._kernels import Array
    from .model import Sequential

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeLimit",
]

Logs = dict[str, float]

EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end")


class Callback:
    """What is told of the course of a `fit`; write a subclass with the methods that matter.

    Attributes
    ----------
    model : Sequential
        The one in training. ``model.stop_training = True`` ends it after this call.
    progress : fastgd.training.Progress
        How far it has come: epochs, steps, rows, seconds.
    kept : dict of str to tuple of types
        Of the class: names of the attributes that go into a saved model and come back from it, which decide what the
        callback does next, and what they may be: numbers, text, None, lists of these, lists of arrays as the weights.
    restored : bool
        Whether they have come back from a file for this fit; `on_train_begin` leaves them then as they are.

    Notes
    -----
    As in Keras, but: epochs are counted from 1, since the model was built, as in ``history.epochs`` and in error
    messages; the value called ``loss`` has the penalties in it. A callback that saves the model stands last in the
    list, after those whose counters belong into the file; the ready-made ones are put there.

    Examples
    --------
    >>> import fastgd as fg
    >>> class Halve(fg.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         if epoch % 10 == 0:
    ...             self.model.optimizer.learning_rate /= 2
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.1), backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=30, callbacks=[Halve()])
    >>> model.optimizer
    SGD(learning_rate=0.0125, momentum=0.0, nesterov=False)
    """

    model: Sequential
    progress: Progress
    saves: ClassVar[bool] = False
    kept: ClassVar[dict[str, tuple[type, ...]]] = {}
    restored = False

    def on_train_begin(self) -> None:
        """Before the first step; what `restore` has set holds already."""

    def on_train_end(self) -> None:
        """After the last step; not when training ends with an error."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, or before it goes on where it was interrupted.

        Parameters
        ----------
        epoch : int
            From 1.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch, with its values.

        Parameters
        ----------
        epoch : int
        logs : dict of str to float
            What ``history`` has got: ``"loss"``, ``"val_loss"``, metrics.
        """

    def on_train_batch_begin(self, batch: int) -> None:
        """Before a step.

        Parameters
        ----------
        batch : int
            From 0 in each epoch.
        """

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """After a step.

        Parameters
        ----------
        batch : int
        logs : dict of str to float
            ``"loss"``, the mean over the epoch so far.
        """

    def on_call_end(self) -> None:
        """After a call into the engine, about ten times a second: for what goes by the clock."""

    def on_divergence(self, error: DivergenceError) -> bool:
        """When a loss or a weight would become infinite or NaN.

        Parameters
        ----------
        error : DivergenceError

        Returns
        -------
        bool
            Whether `fit` is to return rather than raise the error.
        """
        return False

    def close(self) -> None:
        """At the very end, whatever it was: for files to be closed."""

    def state(self) -> dict[str, Any]:
        """What a saved model has to hold for an exact resumption: of each attribute that `kept` names, the value.

        Returns
        -------
        dict
        """
        return {name: getattr(self, name) for name in self.kept}

    def check(self, state: dict[str, Any]) -> None:
        """Refuse what `restore` could not take. Files are not trusted: this is asked before anything is changed.

        Parameters
        ----------
        state : dict

        Raises
        ------
        ValueError
            If something is missing, unknown or of another type.
        """
        what, remedy = f"state of a {type(self).__name__}", "the file is of another version, or damaged"
        if set(state) != set(self.kept):
            raise ValueError(refusal(what, f"keys {sorted(state)}", f"keys {sorted(self.kept)}", remedy))
        for name, kinds in self.kept.items():
            if not isinstance(state[name], kinds) or isinstance(state[name], bool):
                expected = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
                raise ValueError(refusal(f"{what}: {name}", repr(state[name]), expected, remedy))

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave when the model was saved; `check` has seen it.

        Parameters
        ----------
        state : dict
        """
        vars(self).update(state)
        self.restored = True


def read_callbacks(given: Any) -> list[Callback]:
    """The callbacks of a fit.

    Raises
    ------
    TypeError
        If something is none.
    """
    if given is None:
        return []
    if isinstance(given, Callback) or not isinstance(given, Sequence) or isinstance(given, str):
        expected = "a list of callbacks"
        remedy = "pass for example callbacks=[fg.EarlyStopping(patience=3)]"
        raise TypeError(refusal("callbacks", repr(given), expected, remedy))
    for k, callback in enumerate(given):
        if not isinstance(callback, Callback):
            got = f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
            remedy = "pass for example fg.EarlyStopping(patience=3); a function goes into fg.LambdaCallback"
            raise TypeError(refusal(f"callbacks[{k}]", got, "a callback", remedy))
    return list(given)


class CallbackList(Hooks):
    """The callbacks of one fit, each asked only for what it overrides."""

    def __init__(self, callbacks: Sequence[Callback], model: Sequential) -> None:
        self.model = model
        # Who saves is told last, when the others' counters are those of the same moment.
        self.callbacks = sorted(callbacks, key=lambda callback: callback.saves)
        self.each_epoch = any(self._who(name) for name in EPOCH_HOOKS)
        self.each_batch = any(self._who(name) for name in BATCH_HOOKS)
        self.at_calls = self._who("on_call_end")

    def _who(self, name: str) -> list[Callback]:
        """Those that override a method, be it in the class or as a function of their own."""
        return [
            callback
            for callback in self.callbacks
            if name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
        ]

    def begin(self, progress: Progress) -> None:
        """Tell all that training begins."""
        for callback in self.callbacks:
            callback.model, callback.progress = self.model, progress
        for callback in self.callbacks:
            callback.on_train_begin()

    def end(self) -> None:
        """Tell all that training has ended as it should."""
        for callback in self.callbacks:
            callback.on_train_end()

    def close(self) -> None:
        """Tell all that it is over, whatever the reason."""
        for callback in self.callbacks:
            callback.restored = False
            callback.close()

    @property
    def stopped(self) -> bool:
        return self.model.stop_training

    def epoch_begins(self, epoch: int) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)

    def epoch_ended(self, epoch: int, values: Logs) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, dict(values))

    def batch_begins(self, batch: int) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch)

    def batch_ended(self, batch: int, values: Logs) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, dict(values))

    def call_ended(self) -> None:
        for callback in self.at_calls:
            callback.on_call_end()

    def diverged(self, error: DivergenceError) -> bool:
        return any([callback.on_divergence(error) for callback in self.callbacks])

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """Name of the class and state of each callback that has one."""
        given = [(type(callback).__name__, callback.state()) for callback in self.callbacks]
        return [(name, state) for name, state in given if state]

    def restore(self, states: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Give each callback the state of its class, the first of a class to the first.

        Raises
        ------
        ValueError
            If callbacks and states do not match; nothing is changed then.
        """
        waiting, pairs = list(self.callbacks), []
        for name, state in states:
            found = next((callback for callback in waiting if type(callback).__name__ == name), None)
            if found is None:
                got = f"a file with the state of a {name}, and callbacks without one"
                remedy = "pass the callbacks that the interrupted fit had"
                raise ValueError(refusal("resume_from", got, "the same callbacks", remedy))
            waiting.remove(found)
            found.check(state)
            pairs.append((found, state))
        for callback, state in pairs:
            callback.restore(state)


# ----------------------------------------------------------------------------------------------- what is watched
MODES = ("auto", "min", "max")

# Ends of the names of what is better when larger, and when smaller; scikit-learn's scorers begin with neg_ if need be.
RISING = ("accuracy", "auc", "f1", "r2", "score", "precision", "recall")
FALLING = ("loss", "error", "deviance")


def rises(monitor: str, mode: str) -> bool:
    """Whether more is better of a value of that name.

    Raises
    ------
    ValueError
        If `mode` is "auto" and the name does not tell.
    """
    if mode != "auto":
        return mode == "max"
    if monitor.removeprefix("val_").startswith("neg_") or monitor.endswith(RISING):
        return True
    if not monitor.endswith(FALLING):
        expected, remedy = "'min' or 'max': the name does not tell", "pass mode='max' for what should grow"
        raise ValueError(refusal(f"mode for monitor={monitor!r}", "'auto'", expected, remedy))
    return False


class Monitor(Callback):
    """What callbacks that watch one value have in common: which value, what is better, the best so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        what = type(self).__name__
        if not isinstance(monitor, str):
            expected, remedy = "the name of a value in the history", "pass for example monitor='val_loss'"
            raise TypeError(refusal(f"{what}: monitor", repr(monitor), expected, remedy))
        if mode not in MODES:
            expected, remedy = "'auto', 'min' or 'max'", "pass mode='max' for what should grow"
            raise ValueError(refusal(f"{what}: mode", repr(mode), expected, remedy))
        self.monitor = monitor
        self.mode = mode
        self.min_delta = read_at_least_zero(f"{what}: min_delta", min_delta)
        self.rising = rises(monitor, mode)
        self.best = self.worst

    @property
    def worst(self) -> float:
        """What anything is better than."""
        return -math.inf if self.rising else math.inf

    def watched(self, logs: Logs) -> float:
        """The value of this epoch.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        if self.monitor not in logs:
            remedy = f"choose one of these, or {self._how_to_have()}"
            expected = f"one of {', '.join(map(repr, logs))}"
            raise ValueError(refusal(f"{type(self).__name__}: monitor", repr(self.monitor), expected, remedy))
        return logs[self.monitor]

    def _how_to_have(self) -> str:
        return "pass validation_data to fit" if self.monitor.startswith("val_") else "pass metrics to fit"

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better by more than `min_delta`; a NaN never is."""
        return value - self.min_delta > than if self.rising else value + self.min_delta < than


def read_at_least_zero(what: str, value: Any) -> float:
    """A finite number of at least 0."""
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0.0 <= number < math.inf:
        raise ValueError(refusal(what, repr(value), "a finite number of at least 0", "pass for example 0.0"))
    return number


def read_patience(what: str, value: Any) -> int:
    """A whole number of at least 0."""
    return 0 if value == 0 and not isinstance(value, bool) else read_count(what, value, "pass for example 5")


class EarlyStopping(Monitor):
    """Stop when a value has not become better for some epochs.

    Parameters
    ----------
    monitor : str
        A name in ``history.history``.
    min_delta : float
        By how much a value has to be better to count.
    patience : int
        After how many epochs without one that counts to stop.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" goes by the name: losses and errors should fall, accuracy, auc, f1, r2
        and scores grow, others are refused.
    baseline : float, optional
        A value that has to be surpassed before anything counts.
    restore_best_weights : bool
        Whether the model ends with the weights of its best epoch, however training ends short of an error; where
        weights are averaged, with their averages. The optimizer's state stays that of the last.
    start_from_epoch : int
        Epochs of this fit to let pass first.

    Attributes
    ----------
    best : float
    best_epoch, stopped_epoch : int
        From 1 as in ``history.epochs``; 0 if there was none.

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or, in training, if there is nothing of the name `monitor`.

    Notes
    -----
    Keras's class with its defaults, but for `patience`, which is 0 there.

    Examples
    --------
    >>> import fastgd as fg
    >>> stopping = fg.EarlyStopping(monitor="loss", min_delta=1e-3, patience=2)
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.1), backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=1000, callbacks=[stopping])
    >>> len(history.epochs) < 100
    True
    """

    kept: ClassVar = {
        "best": (float, int),
        "best_epoch": (int,),
        "stopped_epoch": (int,),
        "wait": (int,),
        "best_weights": (list, NoneType),
    }

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 5,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = read_patience("EarlyStopping: patience", patience)
        self.baseline = baseline
        self.restore_best_weights = read_flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = read_patience("EarlyStopping: start_from_epoch", start_from_epoch)
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch, self.stopped_epoch, self.wait = self.worst, 0, 0, 0
        self.best_weights: list[Array] | None = None

    def on_train_begin(self) -> None:
        if not self.restored:
            self._begin()
        self.model.stop_training |= self.stopped_epoch > 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self.watched(logs)
        if self.progress.epochs_done <= self.start_from_epoch:
            return
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                # What was evaluated, where weights are averaged.
                self.best_weights = self.model.get_weights(averaged=True)
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= max(1, self.patience):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by a factor when a value has not become better for some epochs.

    Parameters
    ----------
    monitor : str
        A name in ``history.history``.
    factor : float
        Above 0 and below 1.
    patience : int
        After how many epochs without a better value.
    mode : {"auto", "min", "max"}
        As for `EarlyStopping`.
    min_delta : float
        By how much a value has to be better to count.
    cooldown : int
        Epochs to wait after a reduction before counting again.
    min_lr : float
        What the learning rate is never reduced below.

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or, in training, if the learning rate is a schedule or there is nothing of the
        name `monitor`.

    Notes
    -----
    Keras's class with its defaults. PyTorch's ReduceLROnPlateau has a threshold relative to the best by default, and
    reduces one epoch later for the same patience.

    Examples
    --------
    >>> import fastgd as fg
    >>> plateau = fg.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=0.1)
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.25), backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=10, callbacks=[plateau])
    >>> model.optimizer.learning_rate < 0.25
    True
    """

    kept: ClassVar = {"best": (float, int), "wait": (int,), "pause": (int,)}

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not isinstance(factor, float) or not 0.0 < factor < 1.0:
            expected = "a number above 0 and below 1"
            raise ValueError(refusal("ReduceLROnPlateau: factor", repr(factor), expected, "pass for example 0.5"))
        self.factor = factor
        self.patience = read_patience("ReduceLROnPlateau: patience", patience)
        self.cooldown = read_patience("ReduceLROnPlateau: cooldown", cooldown)
        self.min_lr = read_at_least_zero("ReduceLROnPlateau: min_lr", min_lr)
        self._begin()

    def _begin(self) -> None:
        self.best, self.wait, self.pause = self.worst, 0, 0

    def on_train_begin(self) -> None:
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is None or callable(rate):
            remedy = "leave the callback out, or give the optimizer a number"
            raise ValueError(refusal("ReduceLROnPlateau: learning rate", repr(rate), "a number", remedy))
        if not self.restored:
            self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self.watched(logs)
        if self.pause:
            self.pause, self.wait = self.pause - 1, 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.pause:
            self.wait += 1
            if self.wait >= max(1, self.patience):
                optimizer = self.model.optimizer
                assert not isinstance(optimizer, Method)
                optimizer.learning_rate = max(self.factor * optimizer.learning_rate, self.min_lr)
                self.pause, self.wait = self.cooldown, 0


# -------------------------------------------------------------------------------------------------------- stopping
class TimeLimit(Callback):
    """Stop after so many seconds.

    Parameters
    ----------
    seconds : float
        Above 0. What training is not interrupted for, a validation above all, may come on top, and about a tenth of
        a second.

    Raises
    ------
    ValueError
        If `seconds` is no finite number above 0.

    Notes
    -----
    Training ends within an epoch as soon as the time is over; a further `fit` on the same rows finishes that epoch. A
    fit that is resumed has the whole time again.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=10**9, callbacks=[fg.TimeLimit(0.2)])
    """

    def __init__(self, seconds: float) -> None:
        if not read_at_least_zero("TimeLimit: seconds", seconds):
            raise ValueError(refusal("TimeLimit: seconds", repr(seconds), "a number above 0", "pass for example 60"))
        self.seconds = float(seconds)
        self.clock: Callable[[], float] = time.monotonic

    def on_train_begin(self) -> None:
        self.end = self.clock() + self.seconds

    def on_call_end(self) -> None:
        if self.clock() >= self.end:
            self.model.stop_training = True


class TerminateOnNaN(Callback):
    """End training quietly, with a warning, where `fit` would raise `DivergenceError`.

    Attributes
    ----------
    error : DivergenceError or None
        What was not raised.

    Notes
    -----
    No callback is needed to be told: `fit` never trains on with an infinite or NaN loss or weight, but keeps the last
    finite weights and raises an error that names epoch, step, learning rate and a remedy. This one is for sweeps in
    which a configuration may fail: `fit` returns the history of the epochs before, and the error is a RuntimeWarning.
    Keras, whose weights may be NaN already, stops after the batch.

    Examples
    --------
    >>> import warnings
    >>> import fastgd as fg
    >>> guard = fg.TerminateOnNaN()
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(100.0), backend="numpy")
    >>> with warnings.catch_warnings(action="ignore"):
    ...     history = model.fit([[1.0], [2.0]], [1.0, 2.0], epochs=100, callbacks=[guard])
    >>> guard.error.learning_rate
    100.0
    """

    def __init__(self) -> None:
        self.error: DivergenceError | None = None

    def on_train_begin(self) -> None:
        self.error = None

    def on_divergence(self, error: DivergenceError) -> bool:
        self.error = error
        self.model.stop_training = True
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return True


# --------------------------------------------------------------------------------------------------------- keeping
class ModelCheckpoint(Monitor):
    """Save the model while it is trained, so that a fit can be resumed or the best model is kept.

    Parameters
    ----------
    path : path
        May hold fields such as ``"run-{epoch:03d}-{val_loss:.3f}.safetensors"``; without one, each save replaces the
        last, and whatever happens, one of the two is there, whole.
    every_epochs : int or None
        Save after so many epochs of training.
    every_seconds : float or None
        Save, within an epoch too, when so many seconds have passed since the last save; at most a tenth of a second
        later. Then the path can have no fields.
    save_best_only : bool
        Whether to save only epochs that are better than all before by `monitor`.
    monitor : str
        A name in ``history.history``.
    mode : {"auto", "min", "max"}
        As for `EarlyStopping`.

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or values contradict each other.

    See Also
    --------
    fastgd.Sequential.save : What is written.

    Notes
    -----
    With ``model.fit(..., resume_from=path, callbacks=[ModelCheckpoint(path)])`` the same line begins training and, run
    again after whatever has happened, goes on with it to the same bits.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    >>> history = model.fit(
    ...     [[0.0], [1.0]], [1.0, 3.0], epochs=100, resume_from="run.safetensors",
    ...     callbacks=[fg.ModelCheckpoint("run.safetensors", every_epochs=10)],
    ... )  # doctest: +SKIP
    """

    saves = True
    kept: ClassVar = {"best": (float, int)}

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_epochs: int | None = 1,
        every_seconds: float | None = None,
        save_best_only: bool = False,
        monitor: str = "val_loss",
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.path = os.fspath(path)
        remedy = "pass every_epochs=1, or None with every_seconds=60"
        self.every_epochs = (
            None if every_epochs is None else read_count("ModelCheckpoint: every_epochs", every_epochs, remedy)
        )
        self.every_seconds = (
            None if every_seconds is None else read_at_least_zero("ModelCheckpoint: every_seconds", every_seconds)
        )
        self.save_best_only = read_flag("save_best_only", save_best_only)
        self._refuse_contradictions()
        self.clock: Callable[[], float] = time.monotonic

    def _refuse_contradictions(self) -> None:
        if self.every_epochs is None and self.every_seconds is None:
            remedy = "pass every_epochs=1 or every_seconds=60"
            raise ValueError(refusal("ModelCheckpoint", "neither epochs nor seconds", "one of them", remedy))
        if self.every_seconds is not None and (self.save_best_only or "{" in self.path):
            got = "every_seconds with save_best_only or with fields in the path"
            remedy = "pass every_epochs=1 and no seconds; the best is known, and has values, only after an epoch"
            raise ValueError(refusal("ModelCheckpoint", got, "one or the other", remedy))

    def on_train_begin(self) -> None:
        if not self.restored:
            self.best = self.worst
        self.saved_at = self.clock()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_best_only:
            value = self.watched(logs)
            if not self.better(value, self.best):
                return
            self.best = value
        if self.every_epochs is not None and self.progress.epochs_done % self.every_epochs == 0:
            self._save(self._path_of(epoch, logs))

    def _path_of(self, epoch: int, logs: Logs) -> str:
        try:
            return self.path.format(epoch=epoch, **logs) if "{" in self.path else self.path
        except (KeyError, IndexError, ValueError) as error:
            expected = f"fields among epoch, {', '.join(logs)}"
            remedy = "write for example 'run-{epoch:03d}-{loss:.3f}.safetensors'"
            raise ValueError(refusal("ModelCheckpoint: path", repr(self.path), expected, remedy)) from error

    def on_call_end(self) -> None:
        if self.every_seconds is not None and self.clock() - self.saved_at >= self.every_seconds:
            self._save(self.path)

    def _save(self, path: str) -> None:
        self.model.save(path)
        self.saved_at = self.clock()


# --------------------------------------------------------------------------------------------------------- showing
class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    **functions : callable
        By the names of the methods of `Callback`, from ``on_train_begin`` to ``close``; called with what these are
        called with.

    Raises
    ------
    TypeError
        If something is not callable, or there is no such method.

    Examples
    --------
    >>> import fastgd as fg
    >>> losses = []
    >>> watch = fg.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, callbacks=[watch])
    >>> losses == history.history["loss"]
    True
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        admitted = [name for name in vars(Callback) if name.startswith("on_") or name == "close"]
        for name, function in functions.items():
            if name not in admitted or not callable(function):
                expected = f"functions by the names {', '.join(admitted)}"
                remedy = "pass for example on_epoch_end=lambda epoch, logs: print(epoch, logs)"
                raise TypeError(refusal("LambdaCallback", f"{name}={function!r}", expected, remedy))
            setattr(self, name, function)


class EpochLines(Callback):
    """Prints one line for each epoch; what ``verbose=1`` stands for."""

    def on_train_begin(self) -> None:
        self.clock: Callable[[], float] = time.perf_counter
        self.before = (0, 0.0, self.clock())

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        progress = self.progress
        now = (progress.rows_done, progress.seconds, self.clock())
        rows, training_seconds, seconds = (a - b for a, b in zip(now, self.before, strict=True))
        self.before = now
        parts = [f"epoch {progress.epochs_done:{len(str(progress.epochs))}}/{progress.epochs}"]
        parts += [f"{name} {shown(name, value):<10}" for name, value in logs.items()]
        parts.append(f"{rows / training_seconds:>10,.0f} rows/s")
        parts.append(f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.1f} ms")
        print("  ".join(parts), flush=True)


def shown(name: str, value: float) -> str:
    """A value as a line or a bar shows it: shares with four decimals."""
    return f"{value:.4f}" if name.endswith("accuracy") else f"{value:.5g}"


class ProgressBar(Callback):
    """A bar with epoch, values, rows per second and the time left, in a terminal or a notebook.

    Needs the rich library: ``pip install "fastgd[progress]"``.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to show it; by default the terminal or notebook there is.

    Raises
    ------
    ImportError
        If rich is not installed.

    Notes
    -----
    Drawn between calls into the engine, and never more often than takes half a hundredth of the time: after a drawing
    that took a millisecond, the next waits a fifth of a second. With the first and the last drawing, which are always
    made, that is less than a hundredth of any fit that lasts for seconds.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=9, callbacks=[fg.ProgressBar()])  # doctest: +SKIP
    """

    SHARE_OF_TIME = 0.005

    def __init__(self, console: Any = None) -> None:
        self._rich()
        self.console = console
        self.clock: Callable[[], float] = time.perf_counter
        self.bar: Any = None

    @staticmethod
    def _rich() -> Any:
        """The library; not kept, since callbacks are copied with the estimators they are parameters of."""
        return import_optional("rich.progress", "fg.ProgressBar")

    def on_train_begin(self) -> None:
        rich = self._rich()
        columns = (
            rich.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[values]}{task.fields[speed]}"),
            rich.TimeRemainingColumn(),
        )
        self.bar = rich.Progress(*columns, console=self.console, auto_refresh=False)
        self.task = self.bar.add_task("", total=self._all_steps(), **self._fields())
        self.next = 0.0
        self.bar.start()

    def _all_steps(self) -> int | None:
        """Unknown in the first pass over blocks."""
        return self.progress.epochs * self.progress.steps_per_epoch or None

    def _fields(self) -> dict[str, Any]:
        progress, last = self.progress, self.model.history.last()
        speed = f"  {progress.rows_done / progress.seconds:,.0f} rows/s" if progress.seconds else ""
        return dict(
            epoch=min(progress.epochs_done + (progress.step > 0), progress.epochs),
            epochs=progress.epochs,
            values="  ".join(f"{name} {shown(name, value)}" for name, value in last.items()),
            speed=speed,
        )

    def on_call_end(self) -> None:
        if self.clock() >= self.next:
            self._draw()

    def _draw(self) -> None:
        progress, start = self.progress, self.clock()
        done = progress.epochs_done * progress.steps_per_epoch + progress.step
        self.bar.update(self.task, completed=done, total=self._all_steps(), **self._fields())
        self.bar.refresh()
        now = self.clock()
        self.next = now + (now - start) / self.SHARE_OF_TIME

    def close(self) -> None:
        if self.bar is not None:
            self._draw()
            self.bar.stop()
            self.bar = None


# --------------------------------------------------------------------------------------------------------- logging
class CSVLogger(Callback):
    """Write the values of each epoch to a file, a line each.

    Parameters
    ----------
    path : path
    separator : str
    append : bool
        Whether to go on with a file that is there, rather than begin it anew.

    Raises
    ------
    OSError
        If the file cannot be written; when training begins.

    Notes
    -----
    Numbers are written with all their digits, and each line is on disk before the next epoch. A fit that is resumed
    drops the lines of epochs that are trained again, and goes on with the file.

    Examples
    --------
    >>> import fastgd as fg
    >>> logger = fg.CSVLogger("log.csv")
    """

    kept: ClassVar = {"size": (int, NoneType), "names": (list, NoneType)}

    def __init__(self, path: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.path = Path(path)
        self.separator = separator
        self.append = read_flag("append", append)
        self.file: IO[str] | None = None
        self.names: list[str] | None = None
        self.size: int | None = None

    def on_train_begin(self) -> None:
        if self.restored and self.size is not None and self.path.exists():
            # What was written after the model was saved is trained, and will be written, again.
            self.file = self.path.open("r+", encoding="utf-8", newline="")
            self.file.seek(min(self.size, os.path.getsize(self.path)))
            self.file.truncate()
        else:
            self.names = None
            self.file = self.path.open("a" if self.append else "w", encoding="utf-8", newline="")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        assert self.file is not None
        if self.names is None:
            self.names = list(logs)
            if not self.file.tell():
                print("epoch", *self.names, sep=self.separator, file=self.file)
        print(epoch, *(repr(logs[name]) for name in self.names), sep=self.separator, file=self.file, flush=True)

    def close(self) -> None:
        if self.file is not None:
            self.size = self.file.tell()
            self.file.close()
            self.file = None

    def state(self) -> dict[str, Any]:
        if self.file is not None:
            self.size = self.file.tell()
        return super().state()


class TensorBoard(Callback):
    """Write the values of each epoch where TensorBoard shows them.

    Needs the tensorboard library, without TensorFlow: ``pip install "fastgd[tensorboard]"``.

    Parameters
    ----------
    log_dir : path
        A folder for each run; then ``tensorboard --logdir`` on the folder above.

    Raises
    ------
    ImportError
        If tensorboard is not installed.

    Notes
    -----
    Scalars ``loss``, ``val_loss``, metrics and ``learning_rate`` by the number of the epoch.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    >>> history = model.fit([[0.0]], [1.0], callbacks=[fg.TensorBoard("logs/first")])  # doctest: +SKIP
    """

    MODULES = ("summary.writer.event_file_writer", "compat.proto.event_pb2", "compat.proto.summary_pb2")

    def __init__(self, log_dir: str | os.PathLike[str] = "logs") -> None:
        for name in self.MODULES:
            self._module(name)
        self.log_dir = os.fspath(log_dir)
        self.writer: Any = None

    @staticmethod
    def _module(name: str) -> Any:
        """A part of the library; not kept, since callbacks are copied with the estimators they are parameters of."""
        return import_optional(f"tensorboard.{name}", "fg.TensorBoard")

    def on_train_begin(self) -> None:
        self.writer = self._module(self.MODULES[0]).EventFileWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        rate = self.model.optimizer.learning_rate_at(max(1, self.model.n_optimizer_steps_done))
        values = logs if math.isnan(rate) else {**logs, "learning_rate": rate}
        events, summaries = (self._module(name) for name in self.MODULES[1:])
        each = [summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = events.Event(wall_time=time.time(), step=epoch, summary=summaries.Summary(value=each))
        self.writer.add_event(event)
        self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
