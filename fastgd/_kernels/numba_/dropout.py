"""Dropout: each element is zero with a probability, the others are scaled so that the mean stays.

Which ones is a function of seed, step, layer, row and column alone, so the mask is never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..random import DROPOUT_STREAM
from .compiler import compiled
from .dense import dense
from .memory import layer_at, matrix_at, network_at, of_dtype
from .panels import panels
from .philox import philox

STREAM, LAYER_BITS = np.uint64(DROPOUT_STREAM), np.uint64(8)
WORD = np.uint64(0xFFFFFFFF)


@cache
def drop_of(dtype: str) -> Any:
    """``drop(net, layer, source, to, rows)``: to = source, scaled where it is kept and zero elsewhere."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    get, put, real, zero, panel_width = kit.get, kit.put, kit.real, kit.zero, kit.panel

    @compiled
    def drop(net, layer, source, to, rows):
        scale, dropped, seed = real(layer.kept_scale), np.uint64(layer.dropped), net.seed
        stream = STREAM | np.uint64(layer.index) << LAYER_BITS
        step = (net.steps_before + np.uint64(net.done)) & WORD
        begin = net.batch_begin
        for panel in range(source.panels):
            for c in range(width_of(source, panel)):
                column = np.uint64(panel * panel_width + c)
                # Four rows share a draw.
                for block in range(begin // 4, (begin + rows + 3) // 4):
                    words = philox(column, np.uint64(block), stream, step, seed)
                    for k in range(4):
                        row = 4 * block + k - begin
                        if row >= 0 and row < rows:
                            word = words[k]
                            x = get(place(source, panel, row), c) * scale
                            put(place(to, panel, row), c, x if word >= dropped else zero)
        return 0

    return drop


def make_dropout_forward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, its input; rows."""
    drop = drop_of(dtype)

    def dropout_forward(net_address, address, source_address, rows, unused):
        layer = layer_at(address, 0)
        return drop(network_at(net_address, 0), layer, matrix_at(source_address, 0), layer.output, rows)

    return dropout_forward


def make_dropout_backward(dtype: str) -> Callable[..., Any]:
    """A kernel: addresses of the network, the layer, the layer below; rows, what becomes of gradients. Returns 1."""
    drop, differentiate = drop_of(dtype), dense(dtype).differentiate

    def dropout_backward(net_address, address, below_address, rows, use):
        layer, below = layer_at(address, 0), layer_at(below_address, 0)
        if layer.passes_back:
            drop(network_at(net_address, 0), layer, layer.delta, below.delta, rows)
            differentiate(below, rows)
        return 1

    return dropout_backward
