"""Linear models by stochastic gradient descent: a step for each row, or for each few of them.

A step for a single row is two passes over memory and hardly any arithmetic, so that tiles have nothing to hold on to;
and of a sparse row only the non-zeros are to be touched. Hence a loop of its own. Weights of an output are scale *
weight, so that shrinking all of them is one product; their mean over the steps is (mean + mean_share * weight) /
divisor, so that a step costs the mean what it costs the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..._formula import vector
from .compiler import compiled, greater, inlined, lesser
from .memory import (
    apply_loss,
    call_kernel,
    flush_subnormals,
    get_double,
    get_element,
    get_integer,
    linear_job_at,
    linear_output_at,
    of_dtype,
    pointer,
    put_integer,
    restore_mode,
    scores_at,
)
from .panels import panels
from .records import GRADIENT_STEP, NONFINITE_WEIGHTS, PASSIVE_AGGRESSIVE_1

SMALLEST_SCALE = {"float32": 1e-6, "float64": 1e-9}
"""Below it the scale is multiplied into the weights, long before it underflows."""

STEEPEST = 1e12
"""A slope of a loss, as scikit-learn limits it."""


@cache
def dense_rows(dtype: str) -> SimpleNamespace:
    """What is done with rows of which all elements are stored. A row is where its values and their columns begin, and
    how many there are.

    ``row_of(job, i)``; ``dot(w, row)``; ``square_of(row)``, its sum of squares; ``add(out, row, factor)``: weights <-
    weights + factor row, and the mean stays; ``charge(job, out, batch, n)``: of each weight what it owes to the l1
    penalty, but not beyond zero, as Tsuruoka, Tsujii & Ananiadou, ACL 2009, have it.
    """
    kit = of_dtype(dtype)
    real, zero, size, lanes, splat, total = kit.real, kit.zero, kit.size, kit.lanes, kit.splat, kit.total
    load, load_lanes, store_lanes = kit.load, kit.load_lanes, kit.store_lanes
    select, absolute = vector.select, vector.absolute
    smaller, larger = kit.functions["minimum"], kit.functions["maximum"]

    @inlined
    def row_of(job, i):
        return job.values + i * job.n_columns * size, 0, job.n_columns

    @compiled
    def dot(w, row):
        x, _, count = row
        sums, others, i = splat(zero), splat(zero), 0
        while i + 2 * lanes <= count:
            sums = sums + load(pointer(w), i) * load(pointer(x), i)
            others = others + load(pointer(w), i + lanes) * load(pointer(x), i + lanes)
            i += 2 * lanes
        while i < count:
            at = i * size
            sums = sums + load_lanes(w + at, count - i, zero) * load_lanes(x + at, count - i, zero)
            i += lanes
        return float(total(sums + others))

    @inlined
    def square_of(row):
        return dot(row[0], row)

    @compiled
    def add_to(w, row, factor):
        """Gives the sum of squares of the new numbers."""
        x, _, count = row
        sums, by = splat(zero), real(factor)
        for i in range(0, count, lanes):
            at = i * size
            new = load_lanes(w + at, count - i, zero) + load_lanes(x + at, count - i, zero) * by
            sums = sums + new * new
            store_lanes(w + at, new, count - i)
        return float(total(sums))

    @inlined
    def add(out, row, factor):
        out.squares = out.scale * out.scale * add_to(out.weight, row, factor / out.scale)
        if out.mean and out.mean_share != 0.0:
            add_to(out.mean, row, -out.mean_share * (factor / out.scale))

    @inlined
    def charged_weight(w, charged, due, scale):
        down, up = (charged + due) / scale, (splat(due) - charged) / scale
        lower, upper = larger(splat(zero), w - down), smaller(splat(zero), w + up)
        return select(w > zero, lower, select(w < zero, upper, w))

    @compiled
    def charge(job, out, batch, n):
        scale, share, due, count = real(out.scale), real(out.mean_share), real(out.due), job.n_columns
        squares, magnitudes = splat(zero), splat(zero)
        for i in range(0, count, lanes):
            at, rest = i * size, count - i
            old, charged = load_lanes(out.weight + at, rest, zero), load_lanes(out.charged + at, rest, zero)
            new = charged_weight(old, charged, due, scale)
            store_lanes(out.weight + at, new, rest)
            store_lanes(out.charged + at, charged + (new - old) * scale, rest)
            if out.mean:
                store_lanes(out.mean + at, load_lanes(out.mean + at, rest, zero) - (new - old) * share, rest)
            squares = squares + new * new
            magnitudes = magnitudes + absolute(new)
        out.squares = out.scale * out.scale * float(total(squares))
        out.magnitudes = out.scale * float(total(magnitudes))
        return 0

    return SimpleNamespace(row_of=row_of, dot=dot, square_of=square_of, add=add, charge=charge)


@cache
def sparse_rows(dtype: str, index: str) -> SimpleNamespace:
    """The same with rows of which only some elements are stored, whose columns are numbers of one type."""
    kit, number = of_dtype(dtype), get_element(index)
    get, put, real, size, index_size = kit.get, kit.put, kit.real, kit.size, np.dtype(index).itemsize

    @inlined
    def row_of(job, i):
        first, last = np.int64(number(job.starts, i)), np.int64(number(job.starts, i + 1))
        return job.values + first * size, job.columns + first * index_size, last - first

    @compiled
    def dot(w, row):
        values, columns, count = row
        total = 0.0
        for j in range(count):
            total += float(get(w, np.int64(number(columns, j)))) * float(get(values, j))
        return total

    @compiled
    def square_of(row):
        values, _, count = row
        total = 0.0
        for j in range(count):
            total += float(get(values, j)) * float(get(values, j))
        return total

    @inlined
    def account(out, squares, magnitudes):
        """The change of the sums over the weights."""
        out.squares += out.scale * out.scale * squares
        out.magnitudes += out.scale * magnitudes

    @compiled
    def add(out, row, factor):
        values, columns, count = row
        by, squares, magnitudes = real(factor / out.scale), 0.0, 0.0
        for j in range(count):
            column = np.int64(number(columns, j))
            old = get(out.weight, column)
            new = old + by * get(values, j)
            put(out.weight, column, new)
            squares += (float(new) - float(old)) * (float(new) + float(old))
            magnitudes += abs(float(new)) - abs(float(old))
        account(out, squares, magnitudes)
        if out.mean and out.mean_share != 0.0:
            of_mean = real(-out.mean_share * (factor / out.scale))
            for j in range(count):
                column = np.int64(number(columns, j))
                put(out.mean, column, get(out.mean, column) + of_mean * get(values, j))
        return 0

    @inlined
    def charged_weight(old, charged, due, scale):
        if old > 0.0:
            return greater(0.0, old - (due + charged) / scale)
        return lesser(0.0, old + (due - charged) / scale) if old < 0.0 else old

    @compiled
    def charge_row(out, row):
        values, columns, count = row
        squares, magnitudes = 0.0, 0.0
        for j in range(count):
            column = np.int64(number(columns, j))
            old, charged = float(get(out.weight, column)), float(get(out.charged, column))
            new = charged_weight(old, charged, out.due, out.scale)
            put(out.weight, column, real(new))
            put(out.charged, column, real(charged + out.scale * (new - old)))
            if out.mean:
                put(out.mean, column, get(out.mean, column) - real(out.mean_share * (new - old)))
            squares += (new - old) * (new + old)
            magnitudes += abs(new) - abs(old)
        account(out, squares, magnitudes)
        return 0

    @inlined
    def charge(job, out, batch, n):
        for i in range(n):
            charge_row(out, row_of(job, get_integer(batch, i)))

    return SimpleNamespace(row_of=row_of, dot=dot, square_of=square_of, add=add, charge=charge)


def rows_for(dtype: str, index: str) -> SimpleNamespace:
    """Of rows whose columns are numbers of some type; none if all elements are stored."""
    return sparse_rows(dtype, index) if index else dense_rows(dtype)


@cache
def losses_of(dtype: str, index: str) -> SimpleNamespace:
    """``take_losses(job, batch, n)``: scores of a batch, losses, and slopes."""
    kit, kinds, element = of_dtype(dtype), rows_for(dtype, index), panels(dtype).element
    row_of, dot = kinds.row_of, kinds.dot
    get, put, real, zero, one = kit.get, kit.put, kit.real, kit.zero, kit.one

    @inlined
    def target_of(job, out, i):
        if not job.labels:
            return get(job.targets, i)
        return one if get_integer(job.labels, i) == out.label else real(job.other_target)

    @compiled
    def score_rows(job, batch, n):
        for i in range(n):
            row = row_of(job, get_integer(batch, i))
            for k in range(job.n_outputs):
                out, at = linear_output_at(get_integer(job.outputs, k), 0), i * job.n_outputs + k
                put(job.score, at, real(out.scale * dot(out.weight, row) + out.intercept))
                put(job.target, at, target_of(job, out, get_integer(batch, i)))
        return 0

    @compiled
    def losses_over_rows(job, batch, n):
        """A loss over rows wants them in panels; its value is counted with the first output."""
        rows = scores_at(job.rows, 0)
        for i in range(n):
            put_integer(rows.labels, i, get_integer(job.labels, get_integer(batch, i)))
            for k in range(job.n_outputs):
                put(element(rows.score, i, k), 0, get(job.score, i * job.n_outputs + k))
        call_kernel(job.loss, job.rows, job.loss_block, 1, 0, n)
        for i in range(n):
            for k in range(job.n_outputs):
                put(job.value, i * job.n_outputs + k, real(get_double(rows.losses, i)) if k == 0 else zero)
                put(job.gradient, i * job.n_outputs + k, get(element(rows.delta, i, k), 0))
        return 0

    @compiled
    def take_losses(job, batch, n):
        score_rows(job, batch, n)
        if job.rows:
            losses_over_rows(job, batch, n)
        else:
            apply_loss(
                job.loss_block, job.score, job.target, job.value, job.gradient, n * job.n_outputs, job.loss_scalars
            )
        return 0

    return SimpleNamespace(take_losses=take_losses)


@cache
def weighing(dtype: str) -> SimpleNamespace:
    """``weight_of_row(job, out, i, at)``; ``divisor_of_batch(job, k, batch, n)``, what the weighted sum over a batch is
    divided by: a single row counts as much as it weighs."""
    kit = of_dtype(dtype)
    get, zero = kit.get, kit.zero

    @inlined
    def weight_of_row(job, out, i, at):
        weight = get_double(job.weights, i) if job.weights else 1.0
        if job.rows:
            return weight * linear_output_at(get_integer(job.outputs, get_integer(job.labels, i)), 0).positive
        return weight * (out.positive if get(job.target, at) > zero else out.negative)

    @compiled
    def divisor_of_batch(job, k, batch, n):
        if job.batch_size == 1:
            return 1.0
        total, out = 0.0, linear_output_at(get_integer(job.outputs, k), 0)
        for i in range(n):
            total += weight_of_row(job, out, get_integer(batch, i), i * job.n_outputs + k)
        return total

    return SimpleNamespace(weight_of_row=weight_of_row, divisor_of_batch=divisor_of_batch)


@cache
def scaling(dtype: str) -> SimpleNamespace:
    """``multiply_out(out, count)``: the scale, and what the mean has in terms of the weights, are multiplied out;
    ``shrink(out, count, factor)``: weights <- factor weights; ``average(out, n)``: mean <- mean + (weights - mean) / n.
    """
    kit, smallest = of_dtype(dtype), SMALLEST_SCALE[dtype]
    get, put, real = kit.get, kit.put, kit.real

    @compiled
    def multiply_out(out, count):
        for i in range(count if out.mean else 0):
            put(out.mean, i, real((get(out.mean, i) + out.mean_share * get(out.weight, i)) / out.divisor))
        for i in range(count):
            put(out.weight, i, real(get(out.weight, i) * out.scale))
        out.scale, out.divisor, out.mean_share = 1.0, 1.0, 0.0
        return 0

    @inlined
    def shrink(out, count, factor):
        out.scale *= factor
        out.squares *= factor * factor
        out.magnitudes *= factor
        if out.scale < smallest:
            multiply_out(out, count)

    @inlined
    def average(out, n):
        if n > 1.0:
            out.divisor /= 1.0 - 1.0 / n
        out.mean_share += out.divisor * out.scale / n
        out.mean_intercept += (out.intercept - out.mean_intercept) / n

    return SimpleNamespace(multiply_out=multiply_out, shrink=shrink, average=average)


@cache
def steps_of(dtype: str, index: str) -> SimpleNamespace:
    """``update_output(job, k, batch, n, step)``; ``account_batch(job, batch, n)``, the objectives."""
    kit, kinds, weights, scales = of_dtype(dtype), rows_for(dtype, index), weighing(dtype), scaling(dtype)
    row_of, square_of, add, charge = kinds.row_of, kinds.square_of, kinds.add, kinds.charge
    weight_of_row, divisor_of_batch = weights.weight_of_row, weights.divisor_of_batch
    shrink, average, get, zero = scales.shrink, scales.average, kit.get, kit.zero

    @inlined
    def share_of_row(job, row, at, rate):
        """How much of a row the weights of an output get, for a step of that length."""
        loss, slope = float(get(job.value, at)), float(get(job.gradient, at))
        if job.step == GRADIENT_STEP:
            return -rate * (STEEPEST if slope > STEEPEST else (-STEEPEST if slope < -STEEPEST else slope))
        square = square_of(row)
        if job.step == PASSIVE_AGGRESSIVE_1:
            length = lesser(rate, loss / square) if square > 0.0 else 0.0
        else:
            length = loss / (square + 0.5 / rate)
        return length if slope < 0.0 else -length

    @compiled
    def update_output(job, k, batch, n, step):
        out = linear_output_at(get_integer(job.outputs, k), 0)
        rate, t = out.pace * get_double(job.rates, step), job.steps_before + step + 1
        divisor = divisor_of_batch(job, k, batch, n)
        if job.l2 > 0.0:
            shrink(out, job.n_columns, greater(0.0, 1.0 - rate * job.l2))
        for i in range(n):
            number, at = get_integer(batch, i), i * job.n_outputs + k
            if get(job.gradient, at) == zero or divisor == 0.0:
                continue
            row = row_of(job, number)
            factor = share_of_row(job, row, at, rate) * weight_of_row(job, out, number, at) / divisor
            if factor != 0.0:
                add(out, row, factor)
                out.intercept += job.intercept_share * factor
        if job.average_from > 0 and t >= job.average_from:
            average(out, float(t - job.average_from + 1))
        if job.l1 > 0.0:
            out.due += job.l1 * rate
            charge(job, out, batch, n)
        return 0

    @inlined
    def loss_of_output(job, k, batch, n):
        """The mean loss of a batch, as many times as it has rows; a single row's does not depend on its weight."""
        if job.batch_size == 1:
            return float(get(job.value, k))
        total, divisor = 0.0, divisor_of_batch(job, k, batch, n)
        for i in range(n):
            at = i * job.n_outputs + k
            out = linear_output_at(get_integer(job.outputs, k), 0)
            weight = weight_of_row(job, out, get_integer(batch, i), at)
            # The loss of a row without weight may be infinite.
            total += weight * float(get(job.value, at)) if weight != 0.0 else 0.0
        return n * total / divisor if divisor > 0.0 else 0.0

    @compiled
    def account_batch(job, batch, n):
        for k in range(job.n_outputs):
            out = linear_output_at(get_integer(job.outputs, k), 0)
            counted = linear_output_at(get_integer(job.outputs, 0 if job.rows else k), 0)
            out.objective += loss_of_output(job, k, batch, n)
            if job.step == GRADIENT_STEP:
                counted.objective += n * (0.5 * job.l2 * out.squares + job.l1 * out.magnitudes)
        return 0

    return SimpleNamespace(update_output=update_output, account_batch=account_batch)


def make_train_linear(dtype: str, index: str = "") -> Callable[..., Any]:
    """A kernel: some epochs of `LinearDescent.run`. Argument: the address of the job."""
    kit, steps, multiply_out = of_dtype(dtype), steps_of(dtype, index), scaling(dtype).multiply_out
    take_losses, update_output = losses_of(dtype, index).take_losses, steps.update_output
    account_batch = steps.account_batch
    get, zero = kit.get, kit.zero

    @inlined
    def begin_epoch(job):
        for k in range(job.n_outputs):
            linear_output_at(get_integer(job.outputs, k), 0).objective = 0.0
        if job.permutation:
            for i in range(job.n_rows):
                put_integer(job.spare, i, get_integer(job.order, get_integer(job.permutation, i)))
            for i in range(job.n_rows):
                put_integer(job.order, i, get_integer(job.spare, i))

    @inlined
    def weights_are_finite(out, count):
        probe = zero
        for i in range(count):
            probe += get(out.weight, i) * zero
        return math.isfinite(out.intercept) and math.isfinite(out.scale) and probe == zero

    @compiled
    def end_epoch(job):
        """Whether training is over: an output has not become better for too long, or is beyond all numbers."""
        over = False
        for k in range(job.n_outputs):
            out = linear_output_at(get_integer(job.outputs, k), 0)
            objective = out.objective / job.n_rows
            if not weights_are_finite(out, job.n_columns):
                job.status = NONFINITE_WEIGHTS
                return True
            if job.patience and (k == 0 or not job.rows):
                out.n_worse = out.n_worse + 1 if objective > out.best - job.tol else 0
                out.best = lesser(out.best, objective)
                over = over or out.n_worse >= job.patience
        return over

    @compiled
    def run_epoch(job, step):
        for first in range(0, job.n_rows, job.batch_size):
            batch, n = job.order + 8 * first, lesser(job.batch_size, job.n_rows - first)
            take_losses(job, batch, n)
            account_batch(job, batch, n)
            for k in range(job.n_outputs):
                update_output(job, k, batch, n, step)
            step += 1
        return step

    def train_linear(address, unused1, unused2, unused3, unused4):
        job = linear_job_at(address, 0)
        mode, step, over = flush_subnormals(), 0, False
        while job.done < job.n_epochs and not over:
            begin_epoch(job)
            step = run_epoch(job, step)
            over = end_epoch(job)
            job.done += 1
        for k in range(job.n_outputs):
            multiply_out(linear_output_at(get_integer(job.outputs, k), 0), job.n_columns)
        restore_mode(mode)
        return 0

    return train_linear


def make_xorshift(dtype: str) -> Callable[..., Any]:
    """A kernel: numbers in the order that scikit-learn's linear models shuffle rows to. Arguments: where they are, how
    many, the seed."""

    def xorshift(order, n, state, unused, unused_too):
        for i in range(n - 1):
            state ^= state << 13 & 0xFFFFFFFF
            state ^= state >> 17
            state ^= state << 5 & 0xFFFFFFFF
            j = i + (state & 0x7FFFFFFF) % (n - i)
            other = get_integer(order, i)
            put_integer(order, i, get_integer(order, j))
            put_integer(order, j, other)
        return 0

    return xorshift
