"""One pass over the rows after another, with scikit-learn's order, batches, penalties and accounts, or fastgd's own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..threads import choose
from ..training import NONFINITE_LOSS, DeferredInterrupt, Pace, divergence
from .onlookers import Onlookers
from .samples import Samples

if TYPE_CHECKING:
    from .._kernels import Array
    from ..errors import DivergenceError
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
        self.same_scales = self._scales(self._totals(None)) if samples.weights is None else None
        self.flops_per_step = 3.0 * batch_size * model._flops(samples.X) / len(samples)
        self.pace = Pace(self.flops_per_step)

    def together(self, most: int) -> int:
        """How many whole epochs are one call into the engine, of so many at most; 1, too, where an epoch is several.

        Parameters
        ----------
        most : int
            That are certain to follow each other.
        """
        if self.onlookers.each_epoch or self.onlookers.each_batch or self.same_scales is None:
            return 1
        return max(1, min(most, self.pace.steps() // self.n_steps))

    def _orders(self, n_epochs: int) -> Array | None:
        """Of the rows in the epochs to come."""
        if not self.shuffle:
            return None
        n, orders = len(self.samples), np.empty((n_epochs, len(self.samples)), np.intp)
        for k in range(n_epochs):
            if self.random_state is not None:
                drawn = np.arange(n)
                self.random_state.shuffle(drawn)
                self.order = orders[k] = self.order[drawn]
            else:
                orders[k] = self.model._backend.permutation(self.model.seed, self.model.n_epochs_done + k, n)
        return orders

    def run(self, n_epochs: int, ended: Callable[[float], None], interrupt: DeferredInterrupt) -> None:
        """Go through the rows so many times, or as far as a callback lets it.

        Parameters
        ----------
        n_epochs : int
            1, or what `together` says.
        ended : callable
            Told of each epoch, also of one that is not finished, the mean of its batches' losses, penalties included.
        interrupt : DeferredInterrupt
            Asked between two calls into the engine.

        Raises
        ------
        DivergenceError
        KeyboardInterrupt
            On Ctrl-C, with the model as of the last finished step.
        """
        onlookers, orders, sums = self.onlookers, self._orders(n_epochs), np.zeros((n_epochs, 2))
        scales, weights = self._scales_and_weights(orders)
        scales, step = np.tile(scales, n_epochs), 0
        constant = self.samples.mean_of_constants(weights)
        coming = (mean(of_epoch) + constant for of_epoch in sums)
        while step < len(scales) and not onlookers.stopped:
            if onlookers.each_batch:
                onlookers.batch_begins(step)
            n_steps = 1 if onlookers.each_batch else min(len(scales) - step, self.pace.steps())
            error, done = self._segment(orders, weights, step, scales[step : step + n_steps], sums)
            if onlookers.each_batch and done:
                onlookers.batch_ended(step, {"loss": mean(sums[0])})
            step += done
            self._end(coming, step // self.n_steps - (step - done) // self.n_steps, ended)
            if error is not None:
                raise error
            onlookers.call_ended()
            interrupt.deliver()
        self._end(coming, int(step % self.n_steps > 0), ended)

    def _end(self, coming: Iterator[float], count: int, ended: Callable[[float], None]) -> None:
        """Count so many of the epochs to come."""
        for loss in itertools.islice(coming, count):
            self.model._counters.epochs += 1
            ended(loss)

    def _scales_and_weights(self, orders: Array | None) -> tuple[Array, Array | None]:
        """Of an epoch's steps the factor of penalties, and the weights of the rows."""
        weights = self.samples.weights
        if self.same_scales is not None:
            return self.same_scales, None
        order = None if orders is None else orders[0]
        totals = self._totals(order)
        if self.random_state is not None and weights is not None:
            weights = self._by_rows(weights, order, totals)
        return self._scales(totals), weights

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

    def _scales(self, totals: Array) -> Array:
        """What penalties are multiplied by in each step."""
        if self.random_state is None:
            totals = np.full(self.n_steps, self.samples.total_weight / self.n_steps)
        return np.divide(1.0, totals, out=np.zeros(self.n_steps), where=totals > 0.0)

    def _segment(
        self, orders: Array | None, weights: Array | None, first: int, scales: Array, sums: Array
    ) -> tuple[DivergenceError | None, int]:
        """One call into the engine, of as many steps as there are scales; returns how many were done."""
        model, samples, n_steps = self.model, self.samples, len(scales)
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
            order=orders,
            penalty_scales=scales,
        )
        seconds = time.perf_counter() - start
        self.pace.measured(n_steps, seconds)
        model._counters.add_steps(done)
        self._advance(first, done, seconds)
        if not status:
            return None, done
        epoch = model.n_epochs_done + (first + done - (status != NONFINITE_LOSS)) // self.n_steps + 1
        error = divergence(status, model.optimizer, epoch, model._counters)
        if not self.onlookers.diverged(error):
            return error, done
        model.stop_training = True
        return None, done

    def _advance(self, first: int, done: int, seconds: float) -> None:
        progress = self.onlookers.progress
        progress.rows_done += self._rows_before(first + done) - self._rows_before(first)
        progress.step = (first + done) % self.n_steps or self.n_steps
        progress.seconds += seconds

    def _rows_before(self, step: int) -> int:
        """Of the first epoch of a call on."""
        epochs, step = divmod(step, self.n_steps)
        return epochs * len(self.samples) + step * self.batch_size


def mean(sums: Array) -> float:
    """Of losses, by their sum and that of their weights; NaN if there was none."""
    loss, weight = sums.tolist()
    return loss / weight if weight else float("nan")
