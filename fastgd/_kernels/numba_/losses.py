"""Losses of the rows of a batch, and the gradients of their scores: kernels of one record, `records.Scores`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from .compiler import inlined, lesser
from .memory import apply_loss, call_own, get_double, matrix_at, of_dtype, put_double, scores_at, scratch
from .panels import panels
from .softmax import rows_of

ROWS_AT_ONCE = 16
"""Rows treated at a time, so that what is scratch stays in L1."""


def make_elementwise(dtype: str) -> Callable[..., Any]:
    """A kernel: the mean over a row's outputs of a loss of one score, whose block function is the second argument;
    row_scale holds the mean's 1/columns already. The last two are the first row and how many."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    get, put, size, panel_width = kit.get, kit.put, kit.size, kit.panel
    value_memory, gradient_memory = (scratch(ROWS_AT_ONCE * panel_width * size) for _ in range(2))

    @inlined
    def finish(values, gradient, width, rows, losses, scale):
        for r in range(rows):
            total = 0.0
            for c in range(width):
                total += float(get(values, r * width + c))
            put_double(losses, r, get_double(losses, r) + total)
            if scale:
                factor = get(scale, r)
                for c in range(width):
                    put(gradient, r * width + c, get(gradient, r * width + c) * factor)

    def elementwise(address, block, unused, first, count):
        rows = scores_at(address, 0)
        score, target, delta = rows.score, rows.target, rows.delta
        values, spare = value_memory(), gradient_memory()
        for begin in range(first, first + count, ROWS_AT_ONCE):
            n_rows = lesser(ROWS_AT_ONCE, first + count - begin)
            losses = rows.losses + 8 * begin
            scale = rows.row_scale + size * begin if rows.row_scale else 0
            for i in range(n_rows):
                put_double(losses, i, 0.0)
            for panel in range(score.panels):
                width = width_of(score, panel)
                gradient = place(delta, panel, begin) if scale else spare
                apply_loss(
                    block, place(score, panel, begin), place(target, panel, begin), values, gradient,
                    n_rows * width, rows.scalars,
                )  # fmt: skip
                finish(values, gradient, width, n_rows, losses, scale)
            for i in range(n_rows):
                put_double(losses, i, get_double(losses, i) / score.columns)
        return 0

    return elementwise


def make_multiclass_hinge(dtype: str) -> Callable[..., Any]:
    """A kernel: l = sum of max(0, 1 + z_c - z_y) over the wrong classes c, or the largest of these; or of squares."""
    kit, element, label_of = of_dtype(dtype), panels(dtype).element, rows_of(dtype).label
    get, put, zero, one = kit.get, kit.put, kit.zero, kit.one

    @inlined
    def nearest_wrong_class(score, row, label):
        """The first one where several are equal."""
        best = 1 if label == 0 else 0
        for column in range(best + 1, score.columns):
            if column != label and get(element(score, row, column), 0) > get(element(score, row, best), 0):
                best = column
        return best

    @inlined
    def of_row(rows, row, only_nearest, squared, scale):
        score, delta, label = rows.score, rows.delta, label_of(rows, row)
        nearest = nearest_wrong_class(score, row, label) if only_nearest else -1
        shift, total, slopes = one - get(element(score, row, label), 0), zero, zero
        for column in range(score.columns):
            margin = get(element(score, row, column), 0) + shift
            # Not "above zero": a NaN must not be hidden.
            counts = column != label and (nearest < 0 or column == nearest) and not (margin <= zero)
            slope = ((margin + margin) if squared else one) if counts else zero
            total += ((margin * margin) if squared else margin) if counts else zero
            slopes += slope
            put(element(delta, row, column), 0, slope * scale)
        put(element(delta, row, label), 0, -slopes * scale)
        return total

    def multiclass_hinge(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        only_nearest, squared = get(rows.scalars, 0) != zero, get(rows.scalars, 1) != zero
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) if rows.row_scale else zero
            put_double(rows.losses, row, float(of_row(rows, row, only_nearest, squared, scale)))
        return 0

    return multiclass_hinge


def make_gaussian_nll(dtype: str) -> Callable[..., Any]:
    """A kernel: l = (s + (m - y)^2 e^-s) / 2, the mean over targets; m and s are neighbours."""
    kit, element = of_dtype(dtype), panels(dtype).element
    get, put, zero, real, half, exp = kit.get, kit.put, kit.zero, kit.real, kit.real(0.5), kit.functions["exp"]

    @inlined
    def of_target(rows, row, k, scale):
        s, target = get(element(rows.score, row, 2 * k + 1), 0), get(element(rows.target, row, k), 0)
        error, precision = get(element(rows.score, row, 2 * k), 0) - target, exp(-half * s)
        # No error is none, however infinite the precision.
        distance = error if error == zero else error * precision
        of_mean = error if error == zero else distance * precision
        put(element(rows.delta, row, 2 * k), 0, of_mean * scale)
        put(element(rows.delta, row, 2 * k + 1), 0, (half - half * distance * distance) * scale)
        return half * s + half * distance * distance

    def gaussian_nll(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        n_targets = rows.target.columns
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) / real(n_targets) if rows.row_scale else zero
            total = 0.0
            for k in range(n_targets):
                total += float(of_target(rows, row, k, scale))
            put_double(rows.losses, row, total / n_targets)
        return 0

    return gaussian_nll


def make_cosine_similarity(dtype: str) -> Callable[..., Any]:
    """A kernel: 1 - cos, which is half the squared distance of the two unit vectors: so it has all its digits where
    they are near."""
    kit, element, sqrt = of_dtype(dtype), panels(dtype).element, of_dtype(dtype).functions["sqrt"]
    get, put, zero, one, half = kit.get, kit.put, kit.zero, kit.one, kit.real(0.5)

    @inlined
    def length_of(m, row):
        """A row's length as largest * root, of which neither overflows where the product does."""
        largest, total = zero, zero
        for column in range(m.columns):
            x = abs(get(element(m, row, column), 0))
            # Not "above" alone: a NaN must not be hidden, neither by what is before it nor by what follows.
            largest = x if x > largest or x != x else largest
        if largest == zero:
            return largest, one
        for column in range(m.columns):
            share = get(element(m, row, column), 0) / largest
            total += share * share
        return largest, sqrt(total)

    @inlined
    def of_row(rows, row, scale):
        score, target, delta = rows.score, rows.target, rows.delta
        (largest, root), (other_largest, other_root) = length_of(score, row), length_of(target, row)
        if largest == zero:
            for column in range(score.columns):
                put(element(delta, row, column), 0, zero)
            return one
        loss = zero
        for column in range(score.columns):
            unit = get(element(score, row, column), 0) / largest / root
            difference = unit - get(element(target, row, column), 0) / other_largest / other_root
            loss += half * difference * difference
        for column in range(score.columns):
            unit = get(element(score, row, column), 0) / largest / root
            difference = unit - get(element(target, row, column), 0) / other_largest / other_root
            put(element(delta, row, column), 0, (difference - loss * unit) / largest / root * scale)
        return loss

    def cosine_similarity(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) if rows.row_scale else zero
            put_double(rows.losses, row, float(of_row(rows, row, scale)))
        return 0

    return cosine_similarity


def make_own(dtype: str) -> Callable[..., Any]:
    """A kernel: a user's own loss of a row, whose function is the second argument; the third, whether it takes labels.
    Each row is copied out of the panels, and its gradient back in."""
    kit, element, label_of = of_dtype(dtype), panels(dtype).element, rows_of(dtype).label
    get, put, zero, size = kit.get, kit.put, kit.zero, kit.size

    def own(address, function, takes_labels, first, count):
        rows = scores_at(address, 0)
        columns, n_targets = rows.score.columns, 0 if takes_labels else rows.target.columns
        scores = rows.scratch
        gradient, target = scores + columns * size, scores + 2 * columns * size
        for row in range(first, first + count):
            for c in range(columns):
                put(scores, c, get(element(rows.score, row, c), 0))
                put(gradient, c, zero)
            for c in range(n_targets):
                put(target, c, get(element(rows.target, row, c), 0))
            label = label_of(rows, row) if takes_labels else -1
            loss = call_own(function, scores, target, label, gradient, columns, n_targets, rows.scalars)
            put_double(rows.losses, row, loss)
            if rows.row_scale:
                for c in range(columns):
                    put(element(rows.delta, row, c), 0, get(gradient, c) * get(rows.row_scale, row))
        return 0

    return own


@cache
def rising_of(dtype: str) -> SimpleNamespace:
    """``softplus(x)``, by which quantiles rise, and its slope ``sigmoid(x)``."""
    kit = of_dtype(dtype)
    exp, log1p, zero, one = kit.functions["exp"], kit.functions["log1p"], kit.zero, kit.one

    @inlined
    def softplus(x):
        return (x if x > zero else zero) + log1p(exp(-abs(x)))

    @inlined
    def sigmoid(x):
        e = exp(x if x < zero else -x)
        return (e if x < zero else one) / (one + e)

    return SimpleNamespace(softplus=softplus, sigmoid=sigmoid)


def make_quantiles(dtype: str) -> Callable[..., Any]:
    """A kernel: the mean of level (y - q) or (1 - level) (q - y). The quantiles of one target are its neighbouring
    scores; if they must not cross, each but the first is the one before plus softplus of its score, and a score moves
    all from its own on."""
    kit, element = of_dtype(dtype), panels(dtype).element
    get, put, zero, one, real, size = kit.get, kit.put, kit.zero, kit.one, kit.real, kit.size
    softplus, sigmoid = rising_of(dtype).softplus, rising_of(dtype).sigmoid

    @inlined
    def of_target(rows, row, k, count, increasing, scale):
        score, levels = rows.score, rows.scalars + size
        total, quantile, target = 0.0, zero, get(element(rows.target, row, k), 0)
        for i in range(count):
            z, level = get(element(score, row, k * count + i), 0), get(levels, i)
            quantile = quantile + softplus(z) if increasing and i > 0 else z
            error = quantile - target
            slope = one - level if error > zero else (-level if error < zero else error)
            total += float(slope * error)
            put(element(rows.delta, row, k * count + i), 0, slope * scale)
        return total

    @inlined
    def move(rows, row, k, count):
        moved = zero
        for i in range(count - 1, -1, -1):
            at = element(rows.delta, row, k * count + i)
            moved += get(at, 0)
            put(at, 0, moved * sigmoid(get(element(rows.score, row, k * count + i), 0)) if i > 0 else moved)

    def quantiles(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        columns, n_targets, increasing = rows.score.columns, rows.target.columns, get(rows.scalars, 0) != zero
        n_levels = columns // n_targets
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) / real(columns) if rows.row_scale else zero
            total = 0.0
            for k in range(n_targets):
                total += of_target(rows, row, k, n_levels, increasing, scale)
                if increasing:
                    move(rows, row, k, n_levels)
            put_double(rows.losses, row, total / columns)
        return 0

    return quantiles


def make_link_mean_and_variance(dtype: str) -> Callable[..., Any]:
    """A kernel: the exponential of the second of each two scores."""
    kit, element = of_dtype(dtype), panels(dtype).element
    get, put, exp = kit.get, kit.put, kit.functions["exp"]

    def link_mean_and_variance(address, outputs_per_target, count, unused, unused_too):
        m = matrix_at(address, 0)
        for row in range(count):
            for column in range(1, m.columns, 2):
                at = element(m, row, column)
                put(at, 0, exp(get(at, 0)))
        return 0

    return link_mean_and_variance


def make_link_increasing(dtype: str) -> Callable[..., Any]:
    """A kernel: each score but the first of a target is the one before plus softplus of itself."""
    kit, element, softplus = of_dtype(dtype), panels(dtype).element, rising_of(dtype).softplus
    get, put = kit.get, kit.put

    def link_increasing(address, outputs_per_target, count, unused, unused_too):
        m = matrix_at(address, 0)
        for row in range(count):
            for column in range(1, m.columns):
                if column % outputs_per_target:
                    at = element(m, row, column)
                    put(at, 0, get(element(m, row, column - 1), 0) + softplus(get(at, 0)))
        return 0

    return link_increasing
