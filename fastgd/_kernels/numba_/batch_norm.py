"""Batch normalisation: a = f(gain x' + shift), x' = (x - mean) / sqrt(variance + eps), of the columns of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ..._formula import vector
from .compiler import compiled, inlined
from .dense import dense
from .memory import layer_at, matrix_at, network_at, of_dtype
from .normalization import normalization
from .panels import panels
from .records import GRADIENTS, TRAIN


@cache
def _moments(dtype: str) -> Any:
    """``moments(source, panel, c, count, rows)``: mean and variance of a vector's worth of columns; the variance from
    deviations, since the difference of mean squares cancels."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    load_lanes, splat, zero, one, real, size = kit.load_lanes, kit.splat, kit.zero, kit.one, kit.real, kit.size

    @inlined
    def moments(source, panel, c, count, rows):
        share, step = one / real(rows), width_of(source, panel) * size
        at = place(source, panel, 0) + c * size
        first, second = splat(zero), splat(zero)
        for row in range(0, rows - 1, 2):
            first = first + load_lanes(at + row * step, count, zero)
            second = second + load_lanes(at + (row + 1) * step, count, zero)
        if rows % 2:
            first = first + load_lanes(at + (rows - 1) * step, count, zero)
        mean = (first + second) * share
        squares, others = splat(zero), splat(zero)
        for row in range(0, rows - 1, 2):
            deviation = load_lanes(at + row * step, count, zero) - mean
            other = load_lanes(at + (row + 1) * step, count, zero) - mean
            squares = squares + deviation * deviation
            others = others + other * other
        if rows % 2:
            deviation = load_lanes(at + (rows - 1) * step, count, zero) - mean
            squares = squares + deviation * deviation
        return mean, (squares + others) * share

    return moments


def make_batch_norm_forward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, its input; rows. While training by the batch's own moments, which
    are kept, else by the running ones."""
    kit, place, width_of, moments = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of, _moments(dtype)
    activate = normalization(dtype).activate
    load_lanes, store_lanes, splat = kit.load_lanes, kit.store_lanes, kit.splat
    zero, one, real, size, lanes, sqrt = kit.zero, kit.one, kit.real, kit.size, kit.lanes, kit.functions["sqrt"]

    def batch_norm_forward(net_address, address, source_address, rows, unused):
        net, layer, source = network_at(net_address, 0), layer_at(address, 0), matrix_at(source_address, 0)
        training = net.kind == TRAIN or net.kind == GRADIENTS
        score, eps = layer.output if layer.keeps_output else layer.kept, splat(real(layer.eps))
        for panel in range(source.panels):
            width = width_of(source, panel)
            step = width * size
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                gain = load_lanes(place(layer.weight, panel, 0) + offset, count, zero)
                shift = load_lanes(place(layer.weight, panel, 1) + offset, count, zero)
                mean = load_lanes(place(layer.running, panel, 0) + offset, count, zero)
                variance = load_lanes(place(layer.running, panel, 1) + offset, count, zero)
                if training:
                    mean, variance = moments(source, panel, c, count, rows)
                    store_lanes(place(layer.moments, panel, 0) + offset, mean, count)
                    store_lanes(place(layer.moments, panel, 1) + offset, variance, count)
                factor = one / sqrt(variance + eps)
                at, to = place(source, panel, 0) + offset, place(score, panel, 0) + offset
                kept = place(layer.normalized, panel, 0) + offset
                for row in range(rows):
                    normalized = (load_lanes(at + row * step, count, zero) - mean) * factor
                    if training:
                        store_lanes(kept + row * step, normalized, count)
                    store_lanes(to + row * step, gain * normalized + shift, count)
        return activate(layer, rows)

    return batch_norm_forward


def make_batch_norm_backward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, the layer below; rows, what becomes of gradients. Returns whether
    weights and running statistics are finite."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    gradient_of_columns, update = normalization(dtype).gradient_of_columns, normalization(dtype).update
    differentiate = dense(dtype).differentiate
    load_lanes, store_lanes, splat, any_lane = kit.load_lanes, kit.store_lanes, kit.splat, vector.any_lane
    zero, one, real, size, lanes, sqrt = kit.zero, kit.one, kit.real, kit.size, kit.lanes, kit.functions["sqrt"]

    @compiled
    def pass_back(layer, below, rows):
        """dx = gain / sqrt(variance + eps) (delta - mean of delta - x' mean of delta x')"""
        share, eps = one / real(rows), splat(real(layer.eps))
        for panel in range(layer.delta.panels):
            width = width_of(layer.delta, panel)
            step = width * size
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                with_gain, with_shift = gradient_of_columns(layer, panel, c, count, rows)
                variance = load_lanes(place(layer.moments, panel, 1) + offset, count, zero)
                factor = load_lanes(place(layer.weight, panel, 0) + offset, count, zero) / sqrt(variance + eps)
                at, to = place(layer.delta, panel, 0) + offset, place(below.delta, panel, 0) + offset
                kept = place(layer.normalized, panel, 0) + offset
                for row in range(rows):
                    along = load_lanes(kept + row * step, count, zero) * with_gain
                    delta = load_lanes(at + row * step, count, zero)
                    store_lanes(to + row * step, factor * (delta - (with_shift + along) * share), count)
        return differentiate(below, rows)

    @compiled
    def move_running(layer, rows):
        """running += momentum (moments - running). The variance that stands in for later batches is the unbiased one;
        of a single row there is none. 0: moments are not finite, and the old ones stay."""
        finite, momentum = 1, real(layer.momentum)
        if rows == 1:
            return 1
        unbiased = real(rows) / real(rows - 1)
        for panel in range(layer.running.panels):
            width = width_of(layer.running, panel)
            for c in range(0, width, lanes):
                count, offset = width - c, c * size
                mean = load_lanes(place(layer.moments, panel, 0) + offset, count, zero)
                variance = load_lanes(place(layer.moments, panel, 1) + offset, count, zero) * unbiased
                probe = mean * zero + variance * zero
                if any_lane(probe != probe):
                    finite = 0
                    continue
                mean_at, variance_at = place(layer.running, panel, 0) + offset, place(layer.running, panel, 1) + offset
                old_mean, old_variance = load_lanes(mean_at, count, zero), load_lanes(variance_at, count, zero)
                store_lanes(mean_at, old_mean + momentum * (mean - old_mean), count)
                store_lanes(variance_at, old_variance + momentum * (variance - old_variance), count)
        return finite

    def batch_norm_backward(net_address, address, below_address, rows, use):
        net, layer = network_at(net_address, 0), layer_at(address, 0)
        if layer.passes_back:
            pass_back(layer, layer_at(below_address, 0), rows)
        finite = update(net, layer, rows, use)
        if net.kind == TRAIN:
            finite &= move_running(layer, rows)
        return finite

    return batch_norm_backward
