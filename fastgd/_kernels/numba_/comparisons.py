"""Losses that compare each row of a batch, the anchor, with the others, by the Euclidean distances of their scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..._formula import vector
from .compiler import compiled, inlined
from .memory import get_double, get_integer, of_dtype, pointer, put_double, scores_at
from .panels import panels

SMALLEST_ROOT = {"float32": 2.0**-33, "float64": 2.0**-481}
"""Below its square, squares lose digits to numbers that are no longer normal."""


@cache
def places_of(dtype: str) -> SimpleNamespace:
    """Where in the scratch memory is what an anchor is told of every row of the batch, and what it gives back: each
    ``padded`` numbers, a whole number of vectors.

    A row's ``share`` is its weight over that of all rows that count for the same; that of the anchor itself is 0, and
    so is the share of rows beyond the last. ``slope`` is that of the anchor's loss by each ``distance``. Scores and
    their ``gradient`` lie column by column, so that a vector holds as many other rows as it has lanes, and no sum runs
    within one.
    """
    size, lanes = of_dtype(dtype).size, of_dtype(dtype).lanes

    @inlined
    def padded(rows):
        return (rows.count + lanes - 1) // lanes * lanes

    @inlined
    def distance(rows):
        return rows.scratch

    @inlined
    def share(rows):
        return rows.scratch + padded(rows) * size

    @inlined
    def slope(rows):
        return rows.scratch + 2 * padded(rows) * size

    @inlined
    def score(rows, column):
        return rows.scratch + (3 + column) * padded(rows) * size

    @inlined
    def gradient(rows, column):
        return rows.scratch + (3 + rows.score.columns + column) * padded(rows) * size

    return SimpleNamespace(padded=padded, distance=distance, share=share, slope=slope, score=score, gradient=gradient)


@cache
def measuring(dtype: str) -> SimpleNamespace:
    """``differences(rows, row, column, other)``: in one column, of the anchor and a vector of rows; ``measure(rows,
    row)``: all distances from it. That gives 0; or NaN if any score of the batch is none, or infinite, which
    comparisons would hide."""
    kit, at = of_dtype(dtype), places_of(dtype)
    padded, distance_at, score_at = at.padded, at.distance, at.score
    get, put, load, store, splat, lanes = kit.get, kit.put, kit.load, kit.store, kit.splat, kit.lanes
    zero, one, half, sqrt = kit.zero, kit.one, kit.real(0.5), kit.functions["sqrt"]
    largest_number, smallest_root = kit.real(np.finfo(kit.real).max), kit.real(SMALLEST_ROOT[dtype])

    @inlined
    def differences(rows, row, column, other):
        scores = score_at(rows, column)
        return splat(get(scores, row)) - load(pointer(scores), other)

    @compiled
    def scaled_distance(rows, row, other, factor):
        """Where the sum of squares overflows, or loses digits below the smallest normal number, the largest is taken
        out, of both rows times a factor which keeps them from overflowing. What is beyond every number is the largest
        of them: two such distances have a difference."""
        most, total = zero, zero
        for column in range(rows.score.columns):
            scores = score_at(rows, column)
            part = abs(get(scores, row) * factor - get(scores, other) * factor)
            # Not "above" alone: a NaN must not be hidden.
            if part > most or part != part:
                most = part
        if most == zero:
            return zero
        for column in range(rows.score.columns):
            scores = score_at(rows, column)
            part = (get(scores, row) * factor - get(scores, other) * factor) / most
            total += part * part
        distance = most * (sqrt(total) / factor)
        return largest_number if distance > largest_number else distance

    @compiled
    def measure(rows, row):
        distances, doubt = distance_at(rows), 0.0
        for other in range(0, padded(rows), lanes):
            total = splat(zero)
            for column in range(rows.score.columns):
                difference = differences(rows, row, column, other)
                total = total + difference * difference
            store(pointer(distances), other, sqrt(total))
        for other in range(rows.count):
            distance = get(distances, other)
            if other != row and distance < smallest_root:
                distance = scaled_distance(rows, row, other, one)
            if distance > largest_number:
                distance = scaled_distance(rows, row, other, half)
            put(distances, other, distance)
            doubt += 0.0 * float(distance)
        return doubt

    return SimpleNamespace(differences=differences, measure=measure)


@cache
def passing(dtype: str) -> SimpleNamespace:
    """``lay_out(rows)``; ``pass_on(rows, row, scale)``, an anchor's slopes to the rows that they move;
    ``give_gradient(rows)``."""
    kit, at, element = of_dtype(dtype), places_of(dtype), panels(dtype).element
    padded, distance_at, share_at, slope_at, score_at = at.padded, at.distance, at.share, at.slope, at.score
    gradient_at, differences = at.gradient, measuring(dtype).differences
    get, put, load, store, splat, lanes = kit.get, kit.put, kit.load, kit.store, kit.splat, kit.lanes
    zero, total, select = kit.zero, kit.total, vector.select
    smaller, larger = kit.functions["minimum"], kit.functions["maximum"]
    largest_number = kit.real(np.finfo(kit.real).max)

    @compiled
    def lay_out(rows):
        """The scores column by column; beyond the last row zeros, as shares, slopes and gradients are."""
        for other in range(rows.count, padded(rows)):
            put(share_at(rows), other, zero)
            put(slope_at(rows), other, zero)
        for column in range(rows.score.columns):
            for row in range(padded(rows)):
                score = get(element(rows.score, row, column), 0) if row < rows.count else zero
                put(score_at(rows, column), row, score)
                put(gradient_at(rows, column), row, zero)
        return 0

    @compiled
    def pass_on(rows, row, scale):
        """Each distance moves two rows, away from each other; rows in one place stay there. Slopes become factors of
        differences."""
        slopes, n_padded = slope_at(rows), padded(rows)
        for other in range(0, n_padded, lanes):
            distance = load(pointer(distance_at(rows)), other)
            factor = load(pointer(slopes), other) * scale / distance
            factor = larger(smaller(factor, splat(largest_number)), splat(-largest_number))
            store(pointer(slopes), other, select(distance == zero, zero, factor))
        for column in range(rows.score.columns):
            gradient, sums = gradient_at(rows, column), splat(zero)
            for other in range(0, n_padded, lanes):
                factor = load(pointer(slopes), other)
                # What does not count must not be infinite.
                force = select(factor == zero, zero, differences(rows, row, column, other) * factor)
                sums = sums + force
                store(pointer(gradient), other, load(pointer(gradient), other) - force)
            put(gradient, row, get(gradient, row) + total(sums))
        return 0

    @compiled
    def give_gradient(rows):
        for row in range(rows.count):
            for column in range(rows.score.columns):
                put(element(rows.delta, row, column), 0, get(gradient_at(rows, column), row))
        return 0

    return SimpleNamespace(lay_out=lay_out, pass_on=pass_on, give_gradient=give_gradient)


@cache
def sharing(dtype: str) -> SimpleNamespace:
    """``is_same(rows, row, other)``; ``weigh(rows, row)``, the weights of the others that are the same as the anchor,
    and of those that are not; ``divide_shares(rows, row, of_same, of_different)``."""
    kit, share_at = of_dtype(dtype), places_of(dtype).share
    put, real, zero = kit.put, kit.real, kit.zero

    @inlined
    def is_same(rows, row, other):
        return get_integer(rows.labels, other) == get_integer(rows.labels, row)

    @compiled
    def weigh(rows, row):
        same, different = 0.0, 0.0
        for other in range(rows.count):
            weight = get_double(rows.row_weights, other) if other != row else 0.0
            if is_same(rows, row, other):
                same += weight
            else:
                different += weight
        return same, different

    @compiled
    def divide_shares(rows, row, of_same, of_different):
        for other in range(rows.count):
            total = of_same if is_same(rows, row, other) else of_different
            counts = other != row and total != 0.0
            put(share_at(rows), other, real(get_double(rows.row_weights, other) / total) if counts else zero)
        return 0

    return SimpleNamespace(is_same=is_same, weigh=weigh, divide_shares=divide_shares)


def _comparing(dtype: str, loss_of_anchor: Any) -> Callable[..., Any]:
    """A kernel: all rows of a batch, for an anchor's loss moves every row."""
    get, measure, moving = of_dtype(dtype).get, measuring(dtype).measure, passing(dtype)
    lay_out, pass_on, give_gradient = moving.lay_out, moving.pass_on, moving.give_gradient

    def compare(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        lay_out(rows)
        for row in range(rows.count):
            doubt, counts = measure(rows, row), get_double(rows.row_weights, row) > 0.0
            put_double(rows.losses, row, doubt + (loss_of_anchor(rows, row) if counts else 0.0))
            if rows.row_scale and counts:
                pass_on(rows, row, get(rows.row_scale, row))
        if rows.row_scale:
            give_gradient(rows)
        return 0

    return compare


def make_contrastive(dtype: str) -> Callable[..., Any]:
    """A kernel: the mean over the others of d^2 / 2 for the same and max(0, margin - d)^2 / 2 for different ones."""
    kit, at, shares = of_dtype(dtype), places_of(dtype), sharing(dtype)
    distance_at, share_at, slope_at = at.distance, at.share, at.slope
    is_same, weigh, divide_shares = shares.is_same, shares.weigh, shares.divide_shares
    get, put, zero, half = kit.get, kit.put, kit.zero, kit.real(0.5)

    @compiled
    def of_anchor(rows, row):
        same, different = weigh(rows, row)
        divide_shares(rows, row, same + different, same + different)
        margin, total = get(rows.scalars, 0), 0.0
        for other in range(rows.count):
            distance, share = get(distance_at(rows), other), get(share_at(rows), other)
            pull = distance
            if not is_same(rows, row, other):
                pull = zero if distance >= margin else distance - margin
            put(slope_at(rows), other, zero if share == zero else share * pull)
            total += 0.0 if share == zero else float(share * (pull * pull * half))
        return total

    return _comparing(dtype, of_anchor)


def make_triplet(dtype: str) -> Callable[..., Any]:
    """A kernel: the mean of max(0, margin + distance to one that is the same - distance to one that is not)."""
    kit, at, shares = of_dtype(dtype), places_of(dtype), sharing(dtype)
    padded, distance_at, share_at, slope_at = at.padded, at.distance, at.share, at.slope
    is_same, weigh, divide_shares = shares.is_same, shares.weigh, shares.divide_shares
    get, put, load, store, splat, lanes = kit.get, kit.put, kit.load, kit.store, kit.splat, kit.lanes
    zero, one, real, total, select, negation = kit.zero, kit.one, kit.real, kit.total, vector.select, vector.negation

    @compiled
    def of_pair(rows, same, share, margin):
        """One row that is the same, of some share, against all the different ones."""
        distances, shares_there, slopes = distance_at(rows), share_at(rows), slope_at(rows)
        sums, counts, limit = splat(zero), splat(zero), splat(margin + get(distances, same))
        for other in range(0, padded(rows), lanes):
            violation = limit - load(pointer(distances), other)
            # Not "above zero": a NaN must not be hidden.
            violates = negation(violation <= zero)
            weight = select(violates, load(pointer(shares_there), other), zero)
            sums = sums + weight * select(violates, violation, zero)
            counts = counts + weight
            store(pointer(slopes), other, load(pointer(slopes), other) - weight * share)
        put(slopes, same, get(slopes, same) + share * total(counts))
        return float(share * total(sums))

    @compiled
    def of_all_pairs(rows, row, margin, of_same):
        sums = 0.0
        for other in range(rows.count):
            weight = get_double(rows.row_weights, other)
            if other != row and is_same(rows, row, other) and weight > 0.0:
                sums += of_pair(rows, other, real(weight / of_same), margin)
        return sums

    @compiled
    def of_hardest(rows, row, margin):
        """The farthest row that is the same and the nearest that is not: the first ones where several are as far."""
        farthest, nearest, distances = -1, -1, distance_at(rows)
        for other in range(rows.count):
            if other == row or get_double(rows.row_weights, other) == 0.0:
                continue
            if is_same(rows, row, other):
                if farthest < 0 or get(distances, other) > get(distances, farthest):
                    farthest = other
            elif nearest < 0 or get(distances, other) < get(distances, nearest):
                nearest = other
        violation = margin + get(distances, farthest) - get(distances, nearest)
        if violation <= zero:
            return 0.0
        put(slope_at(rows), farthest, one)
        put(slope_at(rows), nearest, -one)
        return float(violation)

    @compiled
    def of_anchor(rows, row):
        same, different = weigh(rows, row)
        for other in range(padded(rows)):
            put(slope_at(rows), other, zero)
        if same == 0.0 or different == 0.0:
            return 0.0
        margin = get(rows.scalars, 0)
        if get(rows.scalars, 1) != zero:
            return of_hardest(rows, row, margin)
        divide_shares(rows, row, 0.0, different)
        return of_all_pairs(rows, row, margin, same)

    return _comparing(dtype, of_anchor)
