"""Layer normalisation: a = f(gain x' + shift) with x' = (x - mean) / sqrt(variance + eps), of each row by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._formula import vector
from .compiler import compiled
from .dense import dense
from .memory import layer_at, matrix_at, network_at, of_dtype
from .normalization import normalization
from .panels import panels


def make_layer_norm_forward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, its input; rows."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    activate, select = normalization(dtype).activate, vector.select
    load_lanes, store_lanes, splat, total = kit.load_lanes, kit.store_lanes, kit.splat, kit.total
    zero, one, real, size, lanes, put = kit.zero, kit.one, kit.real, kit.size, kit.lanes, kit.put
    sqrt, is_before = kit.functions["sqrt"], kit.is_before

    @compiled
    def of_row(layer, score, source, row):
        share, sums, squares = one / real(source.columns), splat(zero), splat(zero)
        for panel in range(source.panels):
            width, at = width_of(source, panel), place(source, panel, row)
            for c in range(0, width, lanes):
                sums = sums + load_lanes(at + c * size, width - c, zero)
        mean = total(sums) * share
        for panel in range(source.panels):
            width, at = width_of(source, panel), place(source, panel, row)
            for c in range(0, width, lanes):
                deviation = select(is_before(width - c), load_lanes(at + c * size, width - c, zero) - mean, zero)
                squares = squares + deviation * deviation
        factor = one / sqrt(total(squares) * share + real(layer.eps))
        put(layer.row_factors, row, factor)
        for panel in range(source.panels):
            width, at = width_of(source, panel), place(source, panel, row)
            gains, shifts = place(layer.weight, panel, 0), place(layer.weight, panel, 1)
            kept, to = place(layer.normalized, panel, row), place(score, panel, row)
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                normalized = (load_lanes(at + offset, count, zero) - mean) * factor
                store_lanes(kept + offset, normalized, count)
                gain, shift = load_lanes(gains + offset, count, zero), load_lanes(shifts + offset, count, zero)
                store_lanes(to + offset, gain * normalized + shift, count)
        return 0

    def layer_norm_forward(net_address, address, source_address, rows, unused):
        layer, source = layer_at(address, 0), matrix_at(source_address, 0)
        score = layer.output if layer.keeps_output else layer.kept
        for row in range(rows):
            of_row(layer, score, source, row)
        return activate(layer, rows)

    return layer_norm_forward


def make_layer_norm_backward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, the layer below; rows, what becomes of gradients. Returns whether
    weights are finite."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    update, differentiate = normalization(dtype).update, dense(dtype).differentiate
    load_lanes, store_lanes, splat, total = kit.load_lanes, kit.store_lanes, kit.splat, kit.total
    zero, one, real, size, lanes, get = kit.zero, kit.one, kit.real, kit.size, kit.lanes, kit.get

    @compiled
    def pass_back(layer, below, row):
        """dx = (d - mean of d - x' mean of d x') / sqrt(variance + eps) with d = gain delta"""
        share, sums, along = one / real(layer.n_outputs), splat(zero), splat(zero)
        for panel in range(layer.delta.panels):
            width, at = width_of(layer.delta, panel), place(layer.delta, panel, row)
            gains, kept = place(layer.weight, panel, 0), place(layer.normalized, panel, row)
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                d = load_lanes(at + offset, count, zero) * load_lanes(gains + offset, count, zero)
                sums = sums + d
                along = along + d * load_lanes(kept + offset, count, zero)
        mean, slope, factor = total(sums) * share, total(along) * share, get(layer.row_factors, row)
        for panel in range(layer.delta.panels):
            width, at = width_of(layer.delta, panel), place(layer.delta, panel, row)
            gains, kept = place(layer.weight, panel, 0), place(layer.normalized, panel, row)
            to = place(below.delta, panel, row)
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                d = load_lanes(at + offset, count, zero) * load_lanes(gains + offset, count, zero)
                normalized = load_lanes(kept + offset, count, zero)
                store_lanes(to + offset, (d - mean - normalized * slope) * factor, count)
        return 0

    def layer_norm_backward(net_address, address, below_address, rows, use):
        layer = layer_at(address, 0)
        if layer.passes_back:
            below = layer_at(below_address, 0)
            for row in range(rows):
                pass_back(layer, below, row)
            differentiate(below, rows)
        return update(network_at(net_address, 0), layer, rows, use)

    return layer_norm_backward
