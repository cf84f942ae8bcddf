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
from .threads import choose

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
        ``"loss"``, and ``"val_loss"`` and ``"val_accuracy"`` where there are validation data and classes. One value
        for each finished epoch. The loss is the mean over the epoch, each row's being that of the step it took part
        in, penalties included.
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

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.5g}" for name, values in self.history.items() if values)
        return f"<History of {len(self.epochs)} epochs{': ' if last else ''}{last}>"


@dataclass(frozen=True)
class Unfinished:
    """An epoch that was interrupted: on which data, at which step, and the sums of its loss so far."""

    n_rows: int
    batch_size: int
    shuffle: bool
    step: int
    loss_sum: float
    weight_sum: float


@dataclass
class Counters:
    """Where a model's training stands; with the seed, all that the order of rows depends on.

    `optimizer_steps` counts from when the optimizer was set, `steps` from when the model was built.
    """

    steps: int = 0
    optimizer_steps: int = 0
    epochs: int = 0
    unfinished: Unfinished | None = None

    def add_steps(self, steps: int) -> None:
        """Count steps that were done."""
        self.steps += steps
        self.optimizer_steps += steps


@dataclass(frozen=True)
class Plan:
    """How to go through the rows."""

    batch_size: int
    shuffle: bool
    seed: int
    n_threads: int | None
    flops_per_step: float


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
class Run:
    """One `fit`: goes through the rows, and keeps counters and history in step with the weights.

    `validate` gives further values for the history after each epoch; `report` is told the epoch's rows and seconds.
    Without both, several epochs may be one call into the engine.
    """

    network: Network
    scalars: StepScalars
    rows: Rows
    plan: Plan
    counters: Counters
    history: History
    validate: Callable[[], dict[str, float]] | None = None
    report: Callable[[int, float], None] | None = None

    def __post_init__(self) -> None:
        self.pace = Pace(self.plan.flops_per_step)
        self.steps_per_epoch = -(-len(self.rows) // self.plan.batch_size)
        before = self.counters.unfinished
        here = (len(self.rows), self.plan.batch_size, self.plan.shuffle)
        self.step, self.sums = 0, np.zeros(2)
        if before is not None and (before.n_rows, before.batch_size, before.shuffle) == here:
            self.step = before.step
            self.sums[:] = before.loss_sum, before.weight_sum
        # Of the epoch that is under way, for its report.
        self.rows_before, self.seconds = self.step * self.plan.batch_size, 0.0

    def epochs(self, n_epochs: int) -> None:
        """Finish that many epochs, the first of which may have been begun before.

        Raises
        ------
        DivergenceError
        KeyboardInterrupt
        """
        remaining = n_epochs * self.steps_per_epoch - self.step
        one_by_one = self.validate is not None or self.report is not None
        with DeferredInterrupt() as interrupt:
            while remaining:
                limit = self.steps_per_epoch - self.step if one_by_one else remaining
                remaining -= self.segment(min(self.pace.steps(), limit))
                interrupt.deliver()

    def segment(self, n_steps: int) -> int:
        """One call into the engine; returns the number of steps."""
        first_epoch, first_step = self.counters.epochs, self.step
        losses = np.zeros(((first_step + n_steps - 1) // self.steps_per_epoch + 1, 2))
        losses[0] = self.sums
        scalars = self.scalars.rows(self.counters.optimizer_steps + 1, n_steps)
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
            n_threads=choose(self.plan.n_threads, self.plan.flops_per_step, n_steps * self.plan.flops_per_step),
        )
        seconds = time.perf_counter() - start
        self.seconds += seconds
        self.pace.measured(n_steps, seconds)
        self._account(done, losses)
        if status:
            self.counters.unfinished = None
            failed = first_step + done - (status != NONFINITE_LOSS)
            epoch = first_epoch + failed // self.steps_per_epoch + 1
            raise divergence(status, self.scalars.optimizer, epoch, self.counters)
        return done

    def _account(self, done: int, losses: Array) -> None:
        """Move the counters on, and add the finished epochs to the history."""
        counters, plan = self.counters, self.plan
        counters.add_steps(done)
        finished, self.step = divmod(self.step + done, self.steps_per_epoch)
        counters.epochs += finished
        self.sums = losses[finished] if self.step else np.zeros(2)
        counters.unfinished = None
        if self.step:
            sums = self.sums.tolist()
            counters.unfinished = Unfinished(len(self.rows), plan.batch_size, plan.shuffle, self.step, *sums)
        first = counters.epochs - finished + 1
        for epoch, (loss_sum, weight_sum) in enumerate(losses[:finished].tolist(), first):
            further = {} if self.validate is None else self.validate()
            self.history.add(epoch, loss=loss_sum / weight_sum, **further)
            if self.report is not None:
                self.report(len(self.rows) - self.rows_before, self.seconds)
            self.rows_before, self.seconds = 0, 0.0


@dataclass
class WholeRun:
    """One `fit` by a method that asks for the loss over all rows where it wants; an iteration is an epoch.

    `loss` gives the loss with the network's present weights. Whatever ends the run, the network has the weights of the
    last finished iteration.
    """

    network: Network
    method: Method
    rows: Rows
    n_threads: int
    loss: Callable[[], float]
    counters: Counters
    history: History
    validate: Callable[[], dict[str, float]] | None = None
    report: Callable[[int, float], None] | None = None

    # Where a method has no tolerance of its own.
    TOL: ClassVar[float] = 1e-8

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
        try:
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
        rows, n_threads = self.rows, self.n_threads
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
        """An iteration; interrupted while it is validated, it has not been."""
        further = {}
        if self.validate is not None:
            self._set(x)
            further = self.validate()
        self.accepted = x.copy()
        self.counters.add_steps(1)
        self.counters.epochs += 1
        self.history.add(self.counters.epochs, loss=loss, **further)
        if self.report is not None:
            now = time.perf_counter()
            self.report(len(self.rows), now - self.began)
            self.began = now
        return False


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


class EpochLines:
    """Prints one line for each epoch."""

    def __init__(self, history: History, n_epochs: int) -> None:
        self.history = history
        self.n_epochs = n_epochs
        self.start = time.perf_counter()

    def __call__(self, n_rows: int, training_seconds: float) -> None:
        """Print the line of the last epoch: its values, rows per second of training, and time with validation."""
        now = time.perf_counter()
        seconds, self.start = now - self.start, now
        parts = [f"epoch {len(self.history.epochs):{len(str(self.n_epochs))}}/{self.n_epochs}"]
        for name, values in self.history.history.items():
            parts.append(f"{name} {values[-1]:.4f}" if name.endswith("accuracy") else f"{name} {values[-1]:<10.5g}")
        parts.append(f"{n_rows / training_seconds:>10,.0f} rows/s")
        parts.append(f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.1f} ms")
        print("  ".join(parts), flush=True)
