"""The fit loop: how many steps one call into the engine runs, what is kept of them, and when Python has its turn.

A whole epoch, or several, is one call in which Python is not entered. Calls are cut so that each lasts about a tenth
of a second: then Ctrl-C is obeyed, with the model as of the last finished step.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from .errors import DivergenceError
from .threads import choose, fitting

if TYPE_CHECKING:
    from ._kernels import Array, Network
    from .inputs import Rows
    from .methods import Method
    from .optimizers import Optimizer

SEGMENT_SECONDS = 0.1

# Before anything is measured: half of what one core reaches in small matrix products, and a step's overhead.
ASSUMED_FLOPS_PER_SECOND = 1e10
ASSUMED_STEP_SECONDS = 1e-6
FIRST_STEPS = 2_000

# Bounds the table of scalars to a few megabytes.
MOST_STEPS = 1 << 16

NONFINITE_LOSS = 1


class History:
    """What `fit` has seen, epoch by epoch.

    Attributes
    ----------
    history : dict of str to list of float
        ``"loss"``; the metrics; the same with ``val_`` before them where there are validation data, of a loss over
        classes always with ``"val_accuracy"``. One value for each finished epoch. The loss is the mean over the
        epoch, each row's being that of the step it took part in, penalties included; metrics are of the epoch's end.
    epochs : list of int
        Numbers of these epochs, counted from 1 since the model was built.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {"loss": []}
        self.epochs: list[int] = []

    def add(self, epoch: int, **values: float) -> None:
        """Append an epoch."""
        self.epochs.append(epoch)
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def last(self) -> dict[str, float]:
        """The values of the last finished epoch."""
        return {name: values[-1] for name, values in self.history.items() if values}

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.5g}" for name, value in self.last().items())
        return f"<History of {len(self.epochs)} epochs{': ' if last else ''}{last}>"


@dataclass(frozen=True)
class Unfinished:
    """An epoch that was interrupted: on which data, at which step, and the sums of its loss so far."""

    n_rows: int
    batch_size: int
    shuffle: bool
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0

    def possible(self) -> bool:
        """Whether there is such a step."""
        return 0 < self.step * self.batch_size < self.n_rows

    def goes_with(self, other: Unfinished) -> bool:
        """Whether the other is of the same rows in the same batches."""
        return (self.n_rows, self.batch_size, self.shuffle) == (other.n_rows, other.batch_size, other.shuffle)

    def __str__(self) -> str:
        return f"{self.n_rows} rows in batches of {self.batch_size}, shuffle={self.shuffle}"


@dataclass(frozen=True)
class UnfinishedPass:
    """A pass over blocks that was interrupted: how much of it is done, and the sums of its loss so far.

    Attributes
    ----------
    batch_size : int or None
    shuffle : bool
    blocks : int
        That are done.
    n_rows, step : int
        Rows of the next block, and steps that are done of it; both 0 if none is.
    steps : int
        Of the whole pass so far.
    loss_sum, weight_sum : float
    """

    batch_size: int | None
    shuffle: bool
    blocks: int = 0
    n_rows: int = 0
    step: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0

    def possible(self) -> bool:
        """Whether there is such a step."""
        within = self.batch_size is not None and 0 < self.step * self.batch_size < self.n_rows
        return (within or self.step == self.n_rows == 0) and 0 < self.blocks + self.step <= self.steps

    def goes_with(self, other: UnfinishedPass) -> bool:
        """Whether the other is of the same batches."""
        return (self.batch_size, self.shuffle) == (other.batch_size, other.shuffle)

    def __str__(self) -> str:
        return f"blocks in batches of {self.batch_size or 'their size'}, shuffle={self.shuffle}"


@dataclass
class Counters:
    """Where a model's training stands; with the seed, all that the order of rows depends on.

    `optimizer_steps` counts from when the optimizer was set, `steps` from when the model was built.
    """

    steps: int = 0
    optimizer_steps: int = 0
    epochs: int = 0
    unfinished: Unfinished | UnfinishedPass | None = None

    def add_steps(self, steps: int) -> None:
        """Count steps that were done."""
        self.steps += steps
        self.optimizer_steps += steps


@dataclass(frozen=True)
class Plan:
    """How to go through the rows; `permutation` draws their order from seed, number of the epoch and of rows."""

    batch_size: int
    shuffle: bool
    seed: int
    n_threads: int | None
    flops_per_step: float
    permutation: Callable[[int, int, int], Array]


class StepScalars:
    """An optimizer's scalars, computed some steps ahead: many rows take little longer than one."""

    AHEAD = 256

    def __init__(self, optimizer: Optimizer | Method) -> None:
        self.optimizer = optimizer
        self.hyperparameters: dict[str, Any] | None = None
        self.first = 0
        self.table: Array = np.empty((0, 0))
        self.single: list[Array] = []

    def row(self, step: int) -> Array:
        """Scalars of step number `step` (the first is 1), shape (1, n_scalars)."""
        ahead = step - self.first
        # A learning rate may have been changed between two steps.
        if not 0 <= ahead < len(self.single) or self.hyperparameters != self.optimizer.hyperparameters:
            self.table = self.optimizer.scalars(step, self.AHEAD)
            self.single = [self.table[k : k + 1] for k in range(self.AHEAD)]
            self.hyperparameters = dict(self.optimizer.hyperparameters)
            self.first, ahead = step, 0
        return self.single[ahead]

    def rows(self, step: int, n_steps: int) -> Array:
        """Scalars of that many steps from number `step` on, shape (n_steps, n_scalars)."""
        if n_steps > self.AHEAD // 4:
            return self.optimizer.scalars(step, n_steps)
        self.row(step)
        ahead = step - self.first
        if ahead + n_steps > self.AHEAD:
            return self.optimizer.scalars(step, n_steps)
        return self.table[ahead : ahead + n_steps]


class Pace:
    """How many steps last about `SEGMENT_SECONDS`, from the work at first, then from what was measured."""

    def __init__(self, flops_per_step: float) -> None:
        self.seconds_per_step = ASSUMED_STEP_SECONDS + flops_per_step / ASSUMED_FLOPS_PER_SECOND
        self.most = FIRST_STEPS

    def steps(self) -> int:
        """Steps of the next segment."""
        return max(1, min(self.most, int(SEGMENT_SECONDS / self.seconds_per_step)))

    def measured(self, steps: int, seconds: float) -> None:
        """Learn from a segment."""
        self.seconds_per_step = max(seconds / steps, 1e-9)
        self.most = MOST_STEPS


class DeferredInterrupt:
    """Holds Ctrl-C back until the counters agree with the weights again.

    Outside the main thread there is nothing to hold back: Python raises KeyboardInterrupt in the main one only.
    """

    def __init__(self) -> None:
        self.noted: tuple[int, FrameType | None] | None = None
        self.handler: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            try:
                signal.signal(signal.SIGINT, self._note)
            except ValueError:
                return self
            self.handler = handler
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = (number, frame)

    def deliver(self) -> None:
        """Let the handler see what was held back; usually it raises KeyboardInterrupt."""
        if self.noted is not None and self.handler is not None:
            noted, self.noted = self.noted, None
            self.handler(*noted)

    def __exit__(self, *_: object) -> None:
        if self.handler is not None:
            signal.signal(signal.SIGINT, self.handler)
            self.deliver()


@dataclass
class Progress:
    """How far one `fit` has come.

    Attributes
    ----------
    epochs : int
        How many are to be finished.
    epochs_done : int
        How many of these are.
    n_rows, steps_per_epoch : int
        Of blocks 0 as long as nobody knows, that is in the first pass.
    step : int
        Steps done of the epoch that is under way.
    rows_done : int
        Rows gone through in this process.
    seconds : float
        Time that took, without validation, metrics and callbacks.
    """

    epochs: int
    epochs_done: int
    n_rows: int
    steps_per_epoch: int
    step: int = 0
    rows_done: int = 0
    seconds: float = 0.0


class Hooks:
    """Where others come in while a `Run` goes on. These do nothing; `fastgd.callbacks` has those that do.

    Attributes
    ----------
    each_epoch, each_batch : bool
        Whether a call into the engine has to end with every epoch, or with every batch. What needs neither costs
        nothing but a Python call each tenth of a second.
    """

    each_epoch = False
    each_batch = False

    @property
    def stopped(self) -> bool:
        """Whether training is to end here."""
        return False

    def epoch_begins(self, epoch: int) -> None:
        """Before the first step of an epoch, or before the first that is done of it; from 1."""

    def epoch_ended(self, epoch: int, values: dict[str, float]) -> None:
        """After an epoch is in the history."""

    def batch_begins(self, batch: int) -> None:
        """Before a step; from 0 in each epoch."""

    def batch_ended(self, batch: int, values: dict[str, float]) -> None:
        """After a step."""

    def call_ended(self) -> None:
        """After a call into the engine, when everything agrees with the weights."""

    def diverged(self, error: DivergenceError) -> bool:
        """Whether training is to end quietly instead of with this error."""
        return False


@dataclass
class Run:
    """One `fit`: goes through the rows, and keeps counters and history in step with the weights.

    `further` gives more values for the history after each epoch. Without it, and with hooks that want neither epochs
    nor batches, several epochs may be one call into the engine.
    """

    network: Network
    scalars: StepScalars
    rows: Rows
    plan: Plan
    counters: Counters
    history: History
    hooks: Hooks
    further: Callable[[], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        self.pace = Pace(self.plan.flops_per_step)
        self.steps_per_epoch = -(-len(self.rows) // self.plan.batch_size)
        before, here = self.counters.unfinished, self.here()
        self.step, self.sums = 0, np.zeros(2)
        self.order: Array | None = None
        self.epoch_of_order = -1
        if isinstance(before, Unfinished) and before.goes_with(here):
            self.step = before.step
            self.sums[:] = before.loss_sum, before.weight_sum
        self.progress = Progress(0, len(self.history.epochs), len(self.rows), self.steps_per_epoch, self.step)

    def here(self, step: int = 0, *sums: float) -> Unfinished:
        """An epoch on these rows at that step."""
        return Unfinished(len(self.rows), self.plan.batch_size, self.plan.shuffle, step, *sums)

    def epochs(self, n_epochs: int) -> None:
        """Finish that many epochs, the first of which may have been begun before.

        Raises
        ------
        DivergenceError
        KeyboardInterrupt
        """
        remaining = n_epochs * self.steps_per_epoch - self.step
        first = True
        with fitting(), DeferredInterrupt() as interrupt:
            while remaining > 0 and not self.hooks.stopped:
                if first or not self.step:
                    self.hooks.epoch_begins(self.counters.epochs + 1)
                    first = False
                remaining -= self.segment(self._limit(remaining))
                self.hooks.call_ended()
                interrupt.deliver()

    def _limit(self, remaining: int) -> int:
        """Steps of the next call: so many that nobody waits too long for a turn, of one epoch or of whole ones."""
        if self.hooks.each_batch:
            self.hooks.batch_begins(self.step)
            return 1
        wanted, per_epoch = self.pace.steps(), self.steps_per_epoch
        if self.step or wanted < 2 * per_epoch or self.hooks.each_epoch or self.further is not None:
            return min(wanted, per_epoch - self.step)
        return min(wanted // per_epoch * per_epoch, remaining)

    def _order_within_epoch(self, n_steps: int) -> Array | None:
        """The order of rows for a call that is part of an epoch: drawn once, for that takes as long as many a call."""
        plan, epoch = self.plan, self.counters.epochs
        if not plan.shuffle or n_steps >= self.steps_per_epoch:
            return None
        if self.epoch_of_order != epoch:
            self.order, self.epoch_of_order = plan.permutation(plan.seed, epoch, len(self.rows)), epoch
        return self.order

    def segment(self, n_steps: int) -> int:
        """One call into the engine; returns the number of steps."""
        first_epoch, first_step = self.counters.epochs, self.step
        losses = np.zeros(((first_step + n_steps - 1) // self.steps_per_epoch + 1, 2))
        losses[0] = self.sums
        scalars = self.scalars.rows(self.counters.optimizer_steps + 1, n_steps)
        order = self._order_within_epoch(n_steps)
        start = time.perf_counter()
        status, done = self.network.train(
            self.rows.X,
            self.rows.targets,
            self.rows.weights,
            batch_size=self.plan.batch_size,
            seed=self.plan.seed,
            shuffle=self.plan.shuffle,
            epoch=first_epoch,
            step=first_step,
            n_steps=n_steps,
            steps_before=self.counters.steps,
            scalars=scalars,
            losses=losses,
            order=order,
            n_threads=choose(self.plan.n_threads, self.plan.flops_per_step, n_steps * self.plan.flops_per_step),
        )
        seconds = time.perf_counter() - start
        self.progress.seconds += seconds
        self.pace.measured(n_steps, seconds)
        self._account(done, losses)
        if status:
            self.counters.unfinished = None
            failed = first_step + done - (status != NONFINITE_LOSS)
            epoch = first_epoch + failed // self.steps_per_epoch + 1
            error = divergence(status, self.scalars.optimizer, epoch, self.counters)
            if not self.hooks.diverged(error):
                raise error
        return done

    def _account(self, done: int, losses: Array) -> None:
        """Move the counters on, and add the finished epochs to the history."""
        counters, plan, progress = self.counters, self.plan, self.progress
        batch, rows_before = self.step, min(self.step * plan.batch_size, len(self.rows))
        counters.add_steps(done)
        finished, self.step = divmod(self.step + done, self.steps_per_epoch)
        counters.epochs += finished
        self.sums = losses[finished] if self.step else np.zeros(2)
        counters.unfinished = None
        if self.step:
            counters.unfinished = self.here(self.step, *self.sums.tolist())
        progress.step = self.step
        progress.rows_done += finished * len(self.rows) + self.step * plan.batch_size - rows_before
        if self.hooks.each_batch and done:
            loss_sum, weight_sum = losses[0].tolist()
            self.hooks.batch_ended(batch, {"loss": loss_sum / weight_sum if weight_sum else float("nan")})
        first = counters.epochs - finished + 1
        for epoch, (loss_sum, weight_sum) in enumerate(losses[:finished].tolist(), first):
            values = {"loss": loss_sum / weight_sum, **({} if self.further is None else self.further())}
            self.history.add(epoch, **values)
            progress.epochs_done += 1
            self.hooks.epoch_ended(epoch, values)


@dataclass
class WholeRun:
    """One `fit` by a method that asks for the loss over all rows where it wants; an iteration is an epoch.

    `loss` gives the loss with the network's present weights, `n_threads` the threads for its gradient. Whatever ends
    the run, the network has the weights of the last finished iteration.
    """

    network: Network
    method: Method
    rows: Rows
    n_threads: Callable[[], int]
    loss: Callable[[], float]
    counters: Counters
    history: History
    hooks: Hooks
    further: Callable[[], dict[str, float]] | None = None

    # Where a method has no tolerance of its own.
    TOL: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        self.progress = Progress(0, 0, len(self.rows), 1)

    def epochs(self, n_epochs: int) -> None:
        """At most that many iterations; fewer if the method is content.

        Raises
        ------
        DivergenceError
            If the loss is not finite at the start.
        KeyboardInterrupt
        """
        weights = self.network.get_weights()
        self.shapes = [w.shape for w in weights]
        self.accepted = np.concatenate([w.ravel() for w in weights], dtype=np.float64)
        if not np.isfinite(self.value(self.accepted)):
            raise loss_at_start_diverged(self.counters)
        tol = self.TOL if self.method.tol is None else self.method.tol
        self.began = time.perf_counter()
        self.hooks.epoch_begins(self.counters.epochs + 1)
        self.hooks.batch_begins(0)
        try:
            with fitting():
                self.method.run(self, self.accepted, n_epochs, tol, self._finished, self.counters.optimizer_steps)
        finally:
            self._set(self.accepted)

    def value(self, x: Array) -> float:
        """The loss with the weights x."""
        self._set(x)
        return self.loss()

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        """The loss and its gradient."""
        self._set(x)
        rows, n_threads = self.rows, self.n_threads()
        # No layer draws anything, so that seed and step do not matter.
        loss, gradients = self.network.loss_and_gradients(
            rows.X, rows.targets, rows.weights, seed=0, steps_before=0, n_threads=n_threads
        )
        return loss, np.concatenate([g.ravel() for g in gradients], dtype=np.float64)

    def _set(self, x: Array) -> None:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        pieces = np.split(x, ends[:-1])
        # Weights that the dtype cannot hold become infinite, and so does the loss: the method will avoid them.
        with np.errstate(over="ignore"):
            self.network.set_weights([w.reshape(shape) for w, shape in zip(pieces, self.shapes, strict=True)])

    def _finished(self, x: Array, loss: float, gradient: Array | None) -> bool:
        """An iteration; interrupted while it is validated, it has not been. Returns whether it is to be the last."""
        self.progress.seconds += time.perf_counter() - self.began
        # Whoever looks at the model now is to see what the iteration came to.
        self._set(x)
        values = {"loss": loss, **({} if self.further is None else self.further())}
        self.accepted = x.copy()
        self.counters.add_steps(1)
        self.counters.epochs += 1
        self.history.add(self.counters.epochs, **values)
        self.progress.epochs_done += 1
        self.progress.rows_done += len(self.rows)
        self._tell(values)
        self.began = time.perf_counter()
        return self.hooks.stopped

    def _tell(self, values: dict[str, float]) -> None:
        hooks, epoch = self.hooks, self.counters.epochs
        hooks.batch_ended(0, {"loss": values["loss"]})
        hooks.epoch_ended(epoch, values)
        hooks.call_ended()
        if not hooks.stopped and self.progress.epochs_done < self.progress.epochs:
            hooks.epoch_begins(epoch + 1)
            hooks.batch_begins(0)


def loss_at_start_diverged(counters: Counters) -> DivergenceError:
    """The error where a method finds nothing to begin with."""
    step = counters.steps + 1
    return DivergenceError(
        f"training cannot begin at epoch {counters.epochs + 1}, step {step}: the loss is infinite or NaN. Try smaller "
        "initial weights; or scale the columns of X, and targets that are large, to mean 0 and standard deviation 1",
        counters.epochs + 1,
        step,
        math.nan,
    )


def divergence(status: int, optimizer: Optimizer | Method, epoch: int | None, counters: Counters) -> DivergenceError:
    """The error for a status of the engine.

    Parameters
    ----------
    status : int
        1, the loss before the next step is not finite; 2, the last step's weights would not have been.
    optimizer : Optimizer
    epoch : int or None
        From 1; None for a single batch.
    counters : Counters
        With the steps that the engine has counted.
    """
    step = counters.steps + (status == NONFINITE_LOSS)
    # Of the last update: that is what made a loss infinite too.
    rate = optimizer.learning_rate_at(max(1, counters.optimizer_steps))
    what = "the loss is" if status == NONFINITE_LOSS else "the updated weights would be"
    where = f"epoch {epoch}, step {step}" if epoch is not None else f"step {step}"
    return DivergenceError(
        f"training diverged at {where}, learning rate {rate:g}: {what} infinite or NaN. The model keeps its last "
        f"finite weights. Try a smaller learning rate, such as {rate / 10:g}; or scale the columns of X, and targets "
        "that are large, to mean 0 and standard deviation 1",
        epoch,
        step,
        rate,
    )
