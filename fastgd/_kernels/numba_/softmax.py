"""Softmax and the cross-entropies behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..._formula import vector
from .compiler import compiled, inlined, lesser
from .dense import dense
from .memory import (
    get_double,
    get_integer,
    layer_at,
    matrix_at,
    of_dtype,
    pointer,
    put_double,
    scores_at,
    scratch,
    transpose_block,
)
from .panels import panels


@cache
def rows_of(dtype: str) -> SimpleNamespace:
    """What losses do with a row: ``largest``, ``exponentials`` (to a matrix; gives their sum), ``scale``,
    ``column_of_largest`` (the first of equals), ``label`` of its target."""
    kit, place, width_of, element = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of, panels(dtype).element
    get, size, lanes, zero, infinity = kit.get, kit.size, kit.lanes, kit.zero, kit.infinity
    load_lanes, store_lanes, total, splat = kit.load_lanes, kit.store_lanes, kit.total, kit.splat
    highest, larger, exp = kit.largest, kit.functions["maximum"], kit.functions["exp"]

    @inlined
    def largest(m, row):
        found = splat(-infinity)
        for panel in range(m.panels):
            width, at = width_of(m, panel), place(m, panel, row)
            for c in range(0, width, lanes):
                found = larger(load_lanes(at + c * size, width - c, -infinity), found)
        return highest(found)

    @inlined
    def exponentials(m, row, shift, to):
        """to = e^(m - shift)"""
        sums = splat(zero)
        for panel in range(m.panels):
            width, at, to_at = width_of(m, panel), place(m, panel, row), place(to, panel, row)
            for c in range(0, width, lanes):
                e = exp(load_lanes(at + c * size, width - c, -infinity) - shift)
                sums = sums + e
                store_lanes(to_at + c * size, e, width - c)
        return total(sums)

    @inlined
    def scale(m, row, factor):
        for panel in range(m.panels):
            width, at = width_of(m, panel), place(m, panel, row)
            for c in range(0, width, lanes):
                store_lanes(at + c * size, load_lanes(at + c * size, width - c, zero) * factor, width - c)

    @inlined
    def column_of_largest(m, row):
        best, value = 0, get(element(m, row, 0), 0)
        for column in range(1, m.columns):
            other = get(element(m, row, column), 0)
            if other > value:
                best, value = column, other
        return best

    @inlined
    def label(rows, row):
        return get_integer(rows.labels, row) if rows.labels else column_of_largest(rows.target, row)

    return SimpleNamespace(
        largest=largest, exponentials=exponentials, scale=scale, column_of_largest=column_of_largest, label=label
    )


def make_link_softmax(dtype: str) -> Callable[..., Any]:
    """A kernel: the first rows of a matrix, in place. Arguments: its address, outputs per target, rows."""
    kit, rows_kit = of_dtype(dtype), rows_of(dtype)
    one, largest, exponentials, scale = kit.one, rows_kit.largest, rows_kit.exponentials, rows_kit.scale

    def link_softmax(address, outputs_per_target, count, unused, unused_too):
        m = matrix_at(address, 0)
        for row in range(count):
            scale(m, row, one / exponentials(m, row, largest(m, row), m))
        return 0

    return link_softmax


def make_softmax_forward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, its input; rows."""
    kit, rows_kit = of_dtype(dtype), rows_of(dtype)
    one, largest, exponentials, scale = kit.one, rows_kit.largest, rows_kit.exponentials, rows_kit.scale

    def softmax_forward(net_address, address, source_address, rows, unused):
        layer, source = layer_at(address, 0), matrix_at(source_address, 0)
        for row in range(rows):
            scale(layer.output, row, one / exponentials(source, row, largest(source, row), layer.output))
        return 0

    return softmax_forward


def make_softmax_backward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, the layer below; rows, what becomes of gradients. Returns 1."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    load_lanes, store_lanes, splat, total = kit.load_lanes, kit.store_lanes, kit.splat, kit.total
    zero, size, lanes, differentiate = kit.zero, kit.size, kit.lanes, dense(dtype).differentiate

    @compiled
    def pass_back(layer, below, row):
        """dx = p (d - sum of d p)"""
        along = splat(zero)
        for panel in range(layer.delta.panels):
            width, at = width_of(layer.delta, panel), place(layer.delta, panel, row)
            p_at = place(layer.output, panel, row)
            for c in range(0, width, lanes):
                p = load_lanes(p_at + c * size, width - c, zero)
                along = along + load_lanes(at + c * size, width - c, zero) * p
        mean = total(along)
        for panel in range(layer.delta.panels):
            width, at = width_of(layer.delta, panel), place(layer.delta, panel, row)
            p_at, to = place(layer.output, panel, row), place(below.delta, panel, row)
            for c in range(0, width, lanes):
                p = load_lanes(p_at + c * size, width - c, zero)
                store_lanes(to + c * size, (load_lanes(at + c * size, width - c, zero) - mean) * p, width - c)
        return 0

    def softmax_backward(net_address, address, below_address, rows, use):
        layer, below = layer_at(address, 0), layer_at(below_address, 0)
        if layer.passes_back:
            for row in range(rows):
                pass_back(layer, below, row)
            differentiate(below, rows)
        return 1

    return softmax_backward


def make_cross_entropy_of_labels(dtype: str) -> Callable[..., Any]:
    """A kernel: softmax cross-entropy of labels, l = log sum_k e^z_k - z_label."""
    kit, rows_kit = of_dtype(dtype), rows_of(dtype)
    place, element = panels(dtype).place, panels(dtype).element
    get, put, size, lanes, zero, one, infinity = kit.get, kit.put, kit.size, kit.lanes, kit.zero, kit.one, kit.infinity
    load_lanes, store_lanes, exp, log = kit.load_lanes, kit.store_lanes, kit.functions["exp"], kit.functions["log"]
    largest_of_row, exponentials, scale_row = rows_kit.largest, rows_kit.exponentials, rows_kit.scale
    highest, total, larger, load, store = kit.largest, kit.total, kit.functions["maximum"], kit.load, kit.store
    is_lane, select, splat, real = kit.is_lane, vector.select, kit.splat, kit.real
    transposition = kit.n_tiles
    columns_memory, spare_memory = scratch(lanes * lanes * size), scratch((lanes + 1) * lanes * size)

    @inlined
    def of_one_vector(rows, row, label, scale):
        """A row that stays in registers."""
        at, columns = place(rows.score, 0, row), rows.score.columns
        z = load_lanes(at, columns, -infinity)
        shift = highest(z)
        put_double(rows.losses, row, float(shift - get(at, label)))
        e = exp(z - shift)
        found = total(e)
        put(rows.sums, row, found)
        store_lanes(place(rows.delta, 0, row), e * (scale / found) - select(is_lane(label), scale, zero), columns)

    @inlined
    def of_several(rows, row, label, scale):
        score, delta = rows.score, rows.delta
        shift = largest_of_row(score, row)
        put_double(rows.losses, row, float(shift - get(element(score, row, label), 0)))
        found = exponentials(score, row, shift, delta)
        put(rows.sums, row, found)
        scale_row(delta, row, scale / found)
        to = element(delta, row, label)
        put(to, 0, get(to, 0) - scale)

    @compiled
    def of_many(rows, row, z_at, spare):
        """As many rows as a vector has lanes, a vector for each column: half the time of row after row at ten columns,
        a third at three. Sums run in the same order, so that a row's bits do not depend on its neighbours."""
        columns, vector_size = rows.score.columns, lanes * size
        transpose_block(rows.tiles, transposition, place(rows.score, 0, row), columns, z_at, lanes, lanes, columns)
        largest = load(pointer(z_at), 0)
        for c in range(1, columns):
            largest = larger(load(pointer(z_at), c * lanes), largest)
        store(pointer(spare), 0, largest)
        for i in range(lanes):
            label = get_integer(rows.labels, row + i)
            put_double(rows.losses, row + i, float(get(spare, i) - get(place(rows.score, 0, row + i), label)))
        for i in range(lanes):
            put(spare, i, real(get_integer(rows.labels, row + i)))
        labels, partial = load(pointer(spare), 0), spare + vector_size
        for c in range(columns):
            e = exp(load(pointer(z_at), c * lanes) - largest)
            store(pointer(z_at), c * lanes, e)
            store(pointer(partial), c * lanes, e)
        half = lanes // 2
        while half:
            for c in range(lesser(half, columns - half)):
                both = load(pointer(partial), c * lanes) + load(pointer(partial), (c + half) * lanes)
                store(pointer(partial), c * lanes, both)
            half //= 2
        found = load(pointer(partial), 0)
        store(pointer(rows.sums), row, found)
        scale = load(pointer(rows.row_scale), row) if rows.row_scale else splat(zero)
        factor = scale / found
        for c in range(columns):
            one_there = select(labels == real(c), scale, zero)
            store(pointer(z_at), c * lanes, load(pointer(z_at), c * lanes) * factor - one_there)
        transpose_block(rows.tiles, transposition, z_at, lanes, place(rows.delta, 0, row), columns, columns, lanes)
        return 0

    @inlined
    def add_logarithms(sums, losses, count):
        for row in range(0, count, lanes):
            found = log(load_lanes(sums + row * size, count - row, one))
            store_lanes(sums + row * size, found, count - row)
        for row in range(count):
            put_double(losses, row, get_double(losses, row) + float(get(sums, row)))

    def cross_entropy_of_labels(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        is_narrow, begin = rows.score.columns <= lanes, first
        if is_narrow:
            z_at, spare = columns_memory(), spare_memory()
            while begin + lanes <= first + count:
                of_many(rows, begin, z_at, spare)
                begin += lanes
        for row in range(begin, first + count):
            label = get_integer(rows.labels, row)
            scale = get(rows.row_scale, row) if rows.row_scale else zero
            if is_narrow:
                of_one_vector(rows, row, label, scale)
            else:
                of_several(rows, row, label, scale)
        add_logarithms(rows.sums + first * size, rows.losses + 8 * first, count)
        return 0

    return cross_entropy_of_labels


@cache
def mixtures_of(dtype: str) -> SimpleNamespace:
    """What a loss makes of the target t of a class c: u_c = weight_c (keep t_c + floor); no weights, at 0, are ones.

    ``targets(rows, row, panel, c, count, mix)``: u of a vector's worth of columns of a panel, 0 beyond `count`;
    ``gradient(rows, row, scale, mix)``: delta = scale ((sum_c u_c) softmax(z) - u), and the loss
    sum_c u_c (log sum_k e^z_k - z_c). `mix` is (keep, floor, where the weights are).
    """
    kit, rows_kit = of_dtype(dtype), rows_of(dtype)
    place, width_of, panel_width = panels(dtype).place, panels(dtype).width_of, kit.panel
    size, lanes, zero, one = kit.size, kit.lanes, kit.zero, kit.one
    load_lanes, store_lanes, splat, is_lane = kit.load_lanes, kit.store_lanes, kit.splat, kit.is_lane
    log, total, select, is_before = kit.functions["log"], kit.total, vector.select, kit.is_before
    largest, exponentials = rows_kit.largest, rows_kit.exponentials

    @inlined
    def targets(rows, row, panel, c, count, mix):
        keep, floor, weights = mix
        column = panel * panel_width + c
        if rows.labels:
            t = select(is_lane(get_integer(rows.labels, row) - column), one, zero)
        else:
            t = load_lanes(place(rows.target, panel, row) + c * size, count, zero)
        if weights:
            return load_lanes(weights + column * size, count, zero) * (t * keep + floor)
        return select(is_before(count), t * keep + floor, zero)

    @inlined
    def gradient(rows, row, scale, mix):
        score, delta = rows.score, rows.delta
        shift = largest(score, row)
        found = exponentials(score, row, shift, delta)
        log_sum = log(found) + shift
        losses, totals = splat(zero), splat(zero)
        for panel in range(score.panels):
            width, at = width_of(score, panel), place(score, panel, row)
            for c in range(0, width, lanes):
                u = targets(rows, row, panel, c, width - c, mix)
                totals = totals + u
                losses = losses + u * (log_sum - load_lanes(at + c * size, width - c, zero))
        factor = scale * total(totals) / found
        for panel in range(delta.panels):
            width, at = width_of(delta, panel), place(delta, panel, row)
            for c in range(0, width, lanes):
                u = targets(rows, row, panel, c, width - c, mix)
                p = load_lanes(at + c * size, width - c, zero)
                store_lanes(at + c * size, p * factor - u * scale, width - c)
        return total(losses)

    return SimpleNamespace(targets=targets, gradient=gradient)


@cache
def _mixing(dtype: str) -> Any:
    """``mix(scalars, columns)``: smoothing, then the weights of the classes, as they lie among a loss's scalars."""
    kit = of_dtype(dtype)
    real, one, get, size = kit.real, kit.one, kit.get, kit.size

    @inlined
    def mix(scalars, columns):
        smoothing = get(scalars, 0)
        return one - smoothing, smoothing / real(columns), scalars + size

    return mix


def make_softmax_cross_entropy(dtype: str) -> Callable[..., Any]:
    """A kernel: softmax cross-entropy with all its parameters, of labels or rows."""
    kit, gradient, mix = of_dtype(dtype), mixtures_of(dtype).gradient, _mixing(dtype)
    get, zero = kit.get, kit.zero

    def softmax_cross_entropy(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        mixed = mix(rows.scalars, rows.score.columns)
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) if rows.row_scale else zero
            put_double(rows.losses, row, float(gradient(rows, row, scale, mixed)))
        return 0

    return softmax_cross_entropy


def make_kl_divergence(dtype: str) -> Callable[..., Any]:
    """A kernel: cross-entropy less the entropy of the targets, t log t."""
    kit, mixtures = of_dtype(dtype), mixtures_of(dtype)
    width_of, gradient, targets = panels(dtype).width_of, mixtures.gradient, mixtures.targets
    get, zero, one, lanes, splat, total = kit.get, kit.zero, kit.one, kit.lanes, kit.splat, kit.total
    log, select = kit.functions["log"], vector.select

    def kl_divergence(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        mixed = (one, zero, 0)
        for row in range(first, first + count):
            scale = get(rows.row_scale, row) if rows.row_scale else zero
            sums = splat(zero)
            for panel in range(rows.score.panels):
                width = width_of(rows.score, panel)
                for c in range(0, width, lanes):
                    t = targets(rows, row, panel, c, width - c, mixed)
                    sums = sums + t * log(select(t > zero, t, one))
            put_double(rows.losses, row, float(total(sums)) + float(gradient(rows, row, scale, mixed)))
        return 0

    return kl_divergence


def make_softmax_focal_cross_entropy(dtype: str) -> Callable[..., Any]:
    """A kernel: l = -sum_c u_c q_c^gamma log p_c with q = 1 - p.

    The probability of the likeliest class is 1 / (1 + others), and what it lacks of 1 is others / (1 + others): a
    difference from 1 would have lost its digits just where gamma's power is taken of it.
    """
    kit, rows_kit, of_target, mix = of_dtype(dtype), rows_of(dtype), mixtures_of(dtype).targets, _mixing(dtype)
    place, width_of, element = panels(dtype).place, panels(dtype).width_of, panels(dtype).element
    get, size, lanes, zero, one, panel_width = kit.get, kit.size, kit.lanes, kit.zero, kit.one, kit.panel
    load_lanes, store_lanes, splat, is_lane, total = kit.load_lanes, kit.store_lanes, kit.splat, kit.is_lane, kit.total
    exp, log, log1p, larger = (kit.functions[name] for name in ("exp", "log", "log1p", "maximum"))
    column_of_largest, select, infinity = rows_kit.column_of_largest, vector.select, kit.infinity
    smallest = kit.real(np.finfo(kit.real).smallest_normal)

    @inlined
    def others_of(score, row, likeliest, largest):
        sums = splat(zero)
        for panel in range(score.panels):
            width, at = width_of(score, panel), place(score, panel, row)
            for c in range(0, width, lanes):
                e = exp(load_lanes(at + c * size, width - c, -infinity) - largest)
                sums = sums + select(is_lane(likeliest - panel * panel_width - c), zero, e)
        return total(sums)

    @inlined
    def terms(z, u, is_likeliest, largest, others, gamma):
        """p, q, u q^gamma (gamma p log p / q - 1), and the loss of the class."""
        shifted = z - largest
        e, whole = exp(shifted), one + others
        p, q = e / whole, select(is_likeliest, splat(others), whole - e) / whole
        log_p, some = shifted - log1p(others), larger(q, splat(smallest))
        weight = u * exp(gamma * log(some))
        return p, q, weight * (gamma * p * log_p / some - one), zero - weight * log_p

    def softmax_focal_cross_entropy(address, unused, unused_too, first, count):
        rows = scores_at(address, 0)
        score, delta, gamma = rows.score, rows.delta, get(rows.scalars, 0)
        mixed = mix(rows.scalars + size, score.columns)
        for row in range(first, first + count):
            likeliest = column_of_largest(score, row)
            largest = get(element(score, row, likeliest), 0)
            others = others_of(score, row, likeliest, largest)
            losses, slopes = splat(zero), splat(zero)
            for panel in range(score.panels):
                width, at = width_of(score, panel), place(score, panel, row)
                for c in range(0, width, lanes):
                    u = of_target(rows, row, panel, c, width - c, mixed)
                    z = load_lanes(at + c * size, width - c, largest)
                    found = terms(z, u, is_lane(likeliest - panel * panel_width - c), largest, others, gamma)
                    slopes = slopes + found[2]
                    losses = losses + found[3]
            put_double(rows.losses, row, float(total(losses)))
            whole, scale = total(slopes), get(rows.row_scale, row) if rows.row_scale else zero
            for panel in range(score.panels):
                width, at, to = width_of(score, panel), place(score, panel, row), place(delta, panel, row)
                for c in range(0, width, lanes):
                    u = of_target(rows, row, panel, c, width - c, mixed)
                    z = load_lanes(at + c * size, width - c, largest)
                    p, q, slope, _ = terms(z, u, is_lane(likeliest - panel * panel_width - c), largest, others, gamma)
                    store_lanes(to + c * size, (slope * q - p * (whole - slope)) * scale, width - c)
        return 0

    return softmax_focal_cross_entropy
