"""One pass over the rows after another, with scikit-learn's order, batches, penalties and accounts, or fastgd's own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..threads import choose
from ..training import DeferredInterrupt, Pace, divergence
from .onlookers import Onlookers
from .samples import Samples

if TYPE_CHECKING:
    from .._kernels import Array
    from ..model import Sequential


class Epochs:
    """What goes through the rows of one fit.

    Parameters
    ----------
    model : Sequential
        Its penalties are those of a batch whose weights sum to 1.
    samples : Samples
    batch_size : int
    shuffle : bool
    random_state : RandomState or None
        Draws each order from the one before, as scikit-learn does. None: as `Sequential.fit` does, from the model's
        seed and the number of the epoch.
    onlookers : Onlookers

    Notes
    -----
    scikit-learn divides alpha by the sum of weights of each batch, which is smaller in the last one, and counts a batch
    by its rows where fastgd counts it by its weights. A `random_state` stands for this, too.
    """

    def __init__(
        self,
        model: Sequential,
        samples: Samples,
        batch_size: int,
        shuffle: bool,
        random_state: np.random.RandomState | None,
        onlookers: Onlookers,
    ) -> None:
        self.model, self.samples, self.batch_size = model, samples, batch_size
        self.onlookers = onlookers
        self.n_steps = -(-len(samples) // batch_size)
        self.shuffle, self.random_state = shuffle, random_state
        self.order = np.arange(len(samples))
        # Where rows have no weights, these are the same in every epoch.
        self.same_runs = list(self._runs(self._totals(None))) if samples.weights is None else None
        self.flops_per_step = 3.0 * batch_size * model._flops(samples.X) / len(samples)
        self.pace = Pace(self.flops_per_step)

    def _next_order(self) -> Array | None:
        if not self.shuffle:
            return None
        if self.random_state is not None:
            drawn = np.arange(len(self.order))
            self.random_state.shuffle(drawn)
            self.order = self.order[drawn]
            return self.order
        return self.model._backend.permutation(self.model.seed, self.model.n_epochs_done, len(self.samples))

    def run(self, interrupt: DeferredInterrupt) -> float:
        """One epoch, or what there is of it when a callback ends training; the mean of its batches' losses.

        Penalties are included.

        Parameters
        ----------
        interrupt : DeferredInterrupt
            Asked between two calls into the engine.

        Raises
        ------
        DivergenceError
        KeyboardInterrupt
            On Ctrl-C, with the model as of the last finished step.
        """
        onlookers, order, sums = self.onlookers, self._next_order(), np.zeros((1, 2))
        weights = self.samples.weights
        runs: Iterable[tuple[int, int, float]]
        if self.same_runs is not None:
            runs = self.same_runs
        else:
            totals = self._totals(order)
            runs = self._runs(totals)
            if self.random_state is not None and weights is not None:
                weights = self._by_rows(weights, order, totals)
        for first, n_steps, total in runs:
            while n_steps and not onlookers.stopped:
                if onlookers.each_batch:
                    onlookers.batch_begins(first)
                done = self._segment(order, weights, first, self._most_steps(n_steps), total, sums)
                if onlookers.each_batch and done:
                    onlookers.batch_ended(first, {"loss": mean(sums)})
                first, n_steps = first + done, n_steps - done
                onlookers.call_ended()
                interrupt.deliver()
        self.model._counters.epochs += 1
        return mean(sums) + self.samples.mean_of_constants(weights)

    def _most_steps(self, n_steps: int) -> int:
        """Of one call into the engine."""
        return 1 if self.onlookers.each_batch else min(n_steps, self.pace.steps())

    def _totals(self, order: Array | None) -> Array:
        """The sum of weights of each batch."""
        n, weights = len(self.samples), self.samples.weights
        starts = np.arange(0, n, self.batch_size)
        if weights is None:
            return np.minimum(self.batch_size, n - starts).astype(np.float64)
        totals: Array = np.add.reduceat(weights if order is None else weights[order], starts)
        return totals

    def _by_rows(self, weights: Array, order: Array | None, totals: Array) -> Array:
        """Weights of which each batch has as many as it has rows; none where it has none."""
        n = len(self.samples)
        counts = np.minimum(self.batch_size, n - np.arange(0, n, self.batch_size))
        factors = np.divide(counts, totals, out=np.zeros(len(totals)), where=totals > 0)
        scale = np.empty(n)
        scale[slice(None) if order is None else order] = np.repeat(factors, counts)
        scaled: Array = weights * scale
        return scaled

    def _runs(self, totals: Array) -> Iterator[tuple[int, int, float]]:
        """First batch, number of batches and their weight, for batches in a row that have the same."""
        if self.random_state is None:
            yield 0, len(totals), self.samples.total_weight / len(totals)
            return
        first = 0
        changes = [*(np.flatnonzero(np.diff(totals)) + 1).tolist(), len(totals)]
        for last in changes:
            yield first, last - first, float(totals[first])
            first = last

    def _segment(
        self, order: Array | None, weights: Array | None, first: int, n_steps: int, total: float, sums: Array
    ) -> int:
        """One call into the engine; returns the number of steps."""
        model, samples = self.model, self.samples
        start = time.perf_counter()
        status, done = model._built().train(
            samples.X,
            samples.targets,
            weights,
            batch_size=self.batch_size,
            seed=model.seed,
            shuffle=False,
            epoch=0,
            step=first,
            n_steps=n_steps,
            steps_before=model.n_steps_done,
            scalars=model._scalars.rows(model._counters.optimizer_steps + 1, n_steps),
            losses=sums,
            n_threads=choose(model.n_threads, self.flops_per_step, n_steps * self.flops_per_step),
            order=order,
            penalty_scale=1.0 / total if total > 0.0 else 0.0,
        )
        seconds = time.perf_counter() - start
        self.pace.measured(n_steps, seconds)
        model._counters.add_steps(done)
        self._advance(first, done, seconds)
        if status:
            error = divergence(status, model.optimizer, model.n_epochs_done + 1, model._counters)
            if not self.onlookers.diverged(error):
                raise error
            model.stop_training = True
        return done

    def _advance(self, first: int, done: int, seconds: float) -> None:
        progress, n_rows = self.onlookers.progress, len(self.samples)
        progress.step = first + done
        progress.rows_done += min(progress.step * self.batch_size, n_rows) - first * self.batch_size
        progress.seconds += seconds


def mean(sums: Array) -> float:
    """Of losses, by their sum and that of their weights; NaN if there was none."""
    loss, weight = sums[0].tolist()
    return loss / weight if weight else float("nan")
