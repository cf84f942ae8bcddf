"""Training on blocks: each epoch is one pass over them, each block is gone through in batches of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import refusal
from .threads import choose, fitting
from .training import DeferredInterrupt, Pace, Progress, UnfinishedPass, divergence

if TYPE_CHECKING:
    from ._kernels import Array, Network
    from .inputs import Rows
    from .training import Counters, History, Hooks, StepScalars

    Block = tuple[Any, ...]

# Makes the order of each block's rows its own: odd, so that all numbers of blocks give different seeds.
SEED_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class PassPlan:
    """How to go through blocks; `batch_size` None takes each whole, `flops` are those of a forward pass."""

    batch_size: int | None
    shuffle: bool
    seed: int
    n_threads: int | None
    flops: Callable[[Rows], float]
    permutation: Callable[[int, int, int], Array]

    def order(self, n_rows: int, number: int, epoch: int) -> Array | None:
        """Of the rows of a block."""
        seed = (self.seed + number * SEED_STEP) % 2**64
        return self.permutation(seed, epoch, n_rows) if self.shuffle else None

    def drawing(self, epoch: int) -> Callable[[int], Array]:
        """Draws the orders of what blocks come from; seeds are counted downwards, those of blocks upwards."""
        n_drawn = 0

        def draw(n: int) -> Array:
            nonlocal n_drawn
            seed = (self.seed - n_drawn * SEED_STEP) % 2**64
            n_drawn += 1
            return self.permutation(seed, epoch, n)

        return draw


@dataclass
class Passes:
    """One `fit` on blocks: keeps counters and history in step with the weights, as `Run` does on arrays.

    `open` begins the pass of an epoch, counted from 0.
    `read` makes a block, of a number counted from 1, the rows of the model, and refuses what it cannot take.
    `resumed` says that the first pass goes on where the counters say that one was interrupted.
    """

    network: Network
    scalars: StepScalars
    open: Callable[[int], Generator[Block, None, None]]
    read: Callable[[Block, int], Rows]
    plan: PassPlan
    counters: Counters
    history: History
    hooks: Hooks
    further: Callable[[], dict[str, float]] | None = None
    resumed: bool = False

    def __post_init__(self) -> None:
        self.place = self._begun()
        self.counters.unfinished = self.place if self.place.steps else None
        self.sums = np.array([[self.place.loss_sum, self.place.weight_sum]])
        self.progress = Progress(0, len(self.history.epochs), 0, 0, self.place.steps)

    def _begun(self) -> UnfinishedPass:
        """Where the first pass begins. Blocks of another fit may be others, and none of them is to be left out."""
        before, here = self.counters.unfinished, UnfinishedPass(self.plan.batch_size, self.plan.shuffle)
        return before if self.resumed and isinstance(before, UnfinishedPass) and before.goes_with(here) else here

    def epochs(self, n_epochs: int) -> None:
        """As many passes, the first of which may have been begun before.

        Raises
        ------
        DivergenceError
        KeyboardInterrupt
        ValueError
            If a pass that goes on meets other blocks than there were.
        """
        for _ in range(n_epochs):
            if self.hooks.stopped:
                return
            self.hooks.epoch_begins(self.counters.epochs + 1)
            whole, rows_before = not self.place.steps, self.progress.rows_done
            if not self._pass():
                return
            if whole:
                self.progress.n_rows = self.progress.rows_done - rows_before
            with DeferredInterrupt():
                self._finish()

    def _pass(self) -> bool:
        """What is left of a pass; whether it came to its end."""
        done, number = self.place.blocks, 0
        blocks = self.open(self.counters.epochs)
        try:
            for number, block in enumerate(blocks, 1):
                if number <= done:
                    continue
                rows = self.read(block, number)
                if number == done + 1 and self.place.step and len(rows) != self.place.n_rows:
                    raise self._other_blocks(f"block {number} of {len(rows)} rows", f"one of {self.place.n_rows}")
                with fitting(), DeferredInterrupt() as interrupt:
                    self._learn(rows, number, interrupt)
                if self.hooks.stopped:
                    # After the last block, which is known only when there is none left, the pass is at its end.
                    return next(blocks, None) is None
        finally:
            blocks.close()
        if number < done or (number == done and self.place.step):
            raise self._other_blocks(f"{number} blocks", f"at least {done + (self.place.step > 0)}")
        return True

    def _other_blocks(self, got: str, expected: str) -> ValueError:
        what, remedy = "resume_from: X", "pass the blocks of the interrupted fit"
        return ValueError(refusal(what, got, f"{expected}, as before the interruption", remedy))

    def _learn(self, rows: Rows, number: int, interrupt: DeferredInterrupt) -> None:
        """Go through a block, or what is left of it."""
        n_rows, hooks = len(rows), self.hooks
        batch_size = n_rows if self.plan.batch_size is None else min(self.plan.batch_size, n_rows)
        n_steps = -(-n_rows // batch_size)
        flops = 3.0 * batch_size * self.plan.flops(rows) / n_rows
        step, pace, order = self.place.step, Pace(flops), self.plan.order(n_rows, number, self.counters.epochs)
        while step < n_steps and not hooks.stopped:
            ahead = 1 if hooks.each_batch else min(pace.steps(), n_steps - step)
            if hooks.each_batch:
                hooks.batch_begins(self.place.steps)
            scalars = self.scalars.rows(self.counters.optimizer_steps + 1, ahead)
            start = time.perf_counter()
            status, done = self.network.train(
                rows.X,
                rows.targets,
                rows.weights,
                batch_size=batch_size,
                seed=self.plan.seed,
                shuffle=False,
                epoch=0,
                step=step,
                n_steps=ahead,
                steps_before=self.counters.steps,
                scalars=scalars,
                losses=self.sums,
                n_threads=choose(self.plan.n_threads, flops, ahead * flops),
                order=order,
            )
            seconds = time.perf_counter() - start
            pace.measured(ahead, seconds)
            self.progress.seconds += seconds
            self.progress.rows_done += min(done * batch_size, n_rows - step * batch_size)
            step += done
            self._account(done, n_rows, step, step == n_steps)
            if status:
                self._diverged(status)
            hooks.call_ended()
            interrupt.deliver()

    def _account(self, done: int, n_rows: int, step: int, block_ended: bool) -> None:
        """Move the counters on."""
        plan, before = self.plan, self.place
        self.counters.add_steps(done)
        blocks, within = before.blocks + block_ended, (0, 0) if block_ended or not step else (n_rows, step)
        loss_sum, weight_sum = self.sums[0].tolist()
        self.place = UnfinishedPass(
            plan.batch_size, plan.shuffle, blocks, *within, before.steps + done, loss_sum, weight_sum
        )
        self.counters.unfinished = self.place if self.place.steps else None
        self.progress.step = self.place.steps
        if self.hooks.each_batch and done:
            loss = loss_sum / weight_sum if weight_sum else float("nan")
            self.hooks.batch_ended(before.steps, {"loss": loss})

    def _diverged(self, status: int) -> None:
        self.counters.unfinished = None
        error = divergence(status, self.scalars.optimizer, self.counters.epochs + 1, self.counters)
        if not self.hooks.diverged(error):
            raise error

    def _finish(self) -> None:
        """A pass that came to its end."""
        counters, progress, place = self.counters, self.progress, self.place
        counters.epochs += 1
        counters.unfinished = None
        loss_sum, weight_sum = self.sums[0].tolist()
        self.place, self.sums[:] = UnfinishedPass(self.plan.batch_size, self.plan.shuffle), 0.0
        progress.steps_per_epoch, progress.step = place.steps, 0
        values = {"loss": loss_sum / weight_sum, **({} if self.further is None else self.further())}
        self.history.add(counters.epochs, **values)
        progress.epochs_done += 1
        self.hooks.epoch_ended(counters.epochs, values)
        self.hooks.call_ended()
