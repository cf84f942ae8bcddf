"""The dense layer's kernels: products in tiles, with what follows a product applied to the tile while it is in L1."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from ..._formula import vector
from .compiler import compiled, inlined, lesser
from .memory import (
    apply_activation,
    apply_rule,
    multiply_columns,
    multiply_rows,
    of_dtype,
    pointer,
    prefetch,
    scratch,
    transpose_block,
)
from .panels import panels
from .records import ADD_TO_GRADIENT, CACHE_LINE, CACHED_WEIGHTS, UPDATE_WEIGHTS

PANELS_AT_A_TIME = 4
"""Panels of the outputs whose weights are transposed at a time: so many that the sums which pass the gradient back need
not be loaded and stored often, so few that their transpose stays in L1."""


@cache
def dense(dtype: str) -> SimpleNamespace:
    """The kernels of one dtype. Matrices and layers are records; so is the network, which has table and rule."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    panel_width, size, tile_rows, lanes = kit.panel, kit.size, kit.tile_rows, kit.lanes
    heights, n_variants = tile_rows + 1, kit.n_variants
    transpose_index = kit.n_tiles
    real, zero, one = kit.real, kit.zero, kit.one
    get, put, load, load_lanes, store_lanes = kit.get, kit.put, kit.load, kit.load_lanes, kit.store_lanes
    any_lane, splat = vector.any_lane, kit.splat
    gradient_memory = scratch((panel_width + 1) * panel_width * size)
    one_memory = scratch(size)
    transposed_memory = scratch(PANELS_AT_A_TIME * panel_width * panel_width * size)

    @inlined
    def variant_of(width):
        return 0 if width == panel_width else (width + lanes - 1) // lanes

    @compiled
    def forward(net, layer, source, rows):
        """output = f(source W + b)"""
        kept, output, weight = layer.kept, layer.output, layer.weight
        score = output if layer.keeps_output else kept
        activate, scalars, depth = layer.activate, layer.activation_scalars, layer.n_inputs
        step = panel_width * source.rows
        for panel in range(output.panels):
            width = width_of(output, panel)
            right = place(weight, panel, 0)
            index, row = variant_of(width) * heights, 0
            for strips in range((rows + tile_rows - 1) // tile_rows, 0, -1):
                height = (rows - row + strips - 1) // strips
                out = place(score, panel, row)
                multiply_rows(
                    net.tiles, index + height,
                    source.data + row * panel_width * size, row, depth, step, source.last_width,
                    right, width, right + depth * width * size, 0, out,
                )  # fmt: skip
                if activate:
                    apply_activation(activate, out, place(output, panel, row), height * width, scalars)
                row += height
        return 0

    @inlined
    def transpose_panels(net, layer, to_panel, panel, to, to_width):
        """The weights between a panel of the inputs and one of the outputs; blocks of a vector by a vector."""
        weight, width = layer.weight, width_of(layer.weight, panel)
        for i in range(0, to_width, lanes):
            for j in range(0, width, lanes):
                transpose_block(
                    net.tiles, transpose_index,
                    place(weight, panel, to_panel * panel_width + i) + j * size, width,
                    to + (j * to_width + i) * size, to_width, lesser(lanes, to_width - i), lesser(lanes, width - j),
                )  # fmt: skip

    @compiled
    def transpose(net, layer):
        """The weights without biases, transposed."""
        to = layer.transposed
        for to_panel in range(to.panels):
            for panel in range(layer.weight.panels):
                begin = place(to, to_panel, panel * panel_width)
                transpose_panels(net, layer, to_panel, panel, begin, width_of(to, to_panel))
        return 0

    @inlined
    def differentiate_run(layer, panel, row, count, delta):
        if layer.differentiate:
            apply_activation(layer.differentiate, place(layer.kept, panel, row), delta, count, layer.activation_scalars)

    @compiled
    def differentiate(layer, rows):
        """delta *= f'(kept), for the last layer, whose delta comes from the loss."""
        delta = layer.delta
        for panel in range(delta.panels):
            differentiate_run(layer, panel, 0, rows * width_of(delta, panel), place(delta, panel, 0))
        return 0

    @compiled
    def pass_back(net, layer, below, rows, to_panel, column, depth, right):
        """A panel of delta below = (delta W^T) * f'(kept below), or the part of its sums that some columns of delta
        contribute: right is that part of W^T, and parts follow one another in the order of the columns."""
        delta, to = layer.delta, below.delta
        step, width = panel_width * delta.rows, width_of(to, to_panel)
        index, row, is_last = variant_of(width) * heights, 0, column + depth == layer.n_outputs
        for strips in range((rows + tile_rows - 1) // tile_rows, 0, -1):
            height = (rows - row + strips - 1) // strips
            out = place(to, to_panel, row)
            multiply_rows(
                net.tiles, index + height,
                delta.data + (row * panel_width + column * delta.rows) * size, row, depth, step, delta.last_width,
                right, width, out if column else 0, width, out,
            )  # fmt: skip
            if is_last:
                differentiate_run(below, to_panel, row, height * width, out)
            row += height
        return 0

    @compiled
    def backward_input(net, layer, below, rows):
        """delta below, from the transposed copy."""
        transposed = layer.transposed
        for to_panel in range(transposed.panels):
            pass_back(net, layer, below, rows, to_panel, 0, layer.n_outputs, place(transposed, to_panel, 0))
        return 0

    @inlined
    def penalize(layer, penalty_scale, weight, count, gradient):
        """gradient += l2 w + l1 sign(w)"""
        l1, l2 = real(layer.l1 * penalty_scale), real(layer.l2 * penalty_scale)
        for i in range(count):
            w = get(weight, i)
            sign = (one if w > zero else zero) - (one if w < zero else zero)
            put(gradient, i, get(gradient, i) + l2 * w + l1 * sign)

    @inlined
    def is_finite(values, count):
        """NaN or infinity times zero is NaN, and stays."""
        at = pointer(values)
        probe = splat(zero)
        other = splat(zero)
        i = 0
        while i + 2 * lanes <= count:
            probe = probe + load(at, i) * zero
            other = other + load(at, i + lanes) * zero
            i += 2 * lanes
        while i < count:
            probe = probe + load_lanes(values + i * size, count - i, zero) * zero
            i += lanes
        probe = probe + other
        return not any_lane(probe != probe)

    @inlined
    def rule_on(net, layer, offset, weight, gradient, count, scalars):
        apply_rule(
            net.update, weight, gradient, layer.state0 + offset, layer.state1 + offset, layer.state2 + offset,
            layer.state3 + offset, count, scalars,
        )  # fmt: skip

    @compiled
    def update(net, layer, weight, gradient, penalized, count):
        """Weights from old to new, the first `penalized` of them with their penalty. Those that would become non-finite
        are put back, so that a training that diverges leaves finite ones; the rule leaves the old ones in the
        gradient's place."""
        if not net.clips and (layer.l1 != 0.0 or layer.l2 != 0.0):
            penalize(layer, net.penalty_scale, weight, penalized, gradient)
        offset = weight - layer.weight.data
        first = count if net.bias_scalars == net.rule_scalars else penalized
        if first:
            rule_on(net, layer, offset, weight, gradient, first, net.rule_scalars)
        if first < count:
            beyond = first * size
            rule_on(net, layer, offset + beyond, weight + beyond, gradient + beyond, count - first, net.bias_scalars)
        if is_finite(weight, count):
            return 1
        for i in range(0, count, lanes):
            old = load_lanes(gradient + i * size, count - i, zero)
            store_lanes(weight + i * size, old, count - i)
        return 0

    @inlined
    def ask_for(address, count):
        for line in range(0, count * size, CACHE_LINE):
            prefetch(address + line)

    @inlined
    def ask_ahead(layer, panel, row, count):
        """The weights and states of some rows, which the update will want after the product that follows. All of a
        unit's at once would fill the processor's queue of misses."""
        weight = place(layer.weight, panel, row)
        offset = weight - layer.weight.data
        ask_for(weight, count)
        if layer.state0:
            ask_for(layer.state0 + offset, count)
        if layer.state1:
            ask_for(layer.state1 + offset, count)

    @compiled
    def unit_gradient(net, layer, source, rows, panel, input_panel, out, adds, asks):
        """The gradient of the weights between a panel of the inputs and one of the outputs, summed over all rows; below
        the last panel of the inputs that of the biases. Returns how many rows."""
        delta = layer.delta
        width, input_width = width_of(delta, panel), width_of(source, input_panel)
        left, right = place(source, input_panel, 0), place(delta, panel, 0)
        index, row = (n_variants + variant_of(width)) * heights, 0
        for strips in range((input_width + tile_rows - 1) // tile_rows, 0, -1):
            height = (input_width - row + strips - 1) // strips
            at = out + row * width * size
            if asks:
                ask_ahead(layer, panel, input_panel * panel_width + row, height * width)
            multiply_columns(
                net.tiles, index + height, rows, left + row * size, input_width, right, width, at if adds else 0, at
            )
            row += height
        if input_panel + 1 < source.panels:
            return input_width
        one_at = one_memory()
        put(one_at, 0, one)
        at = out + input_width * width * size
        multiply_columns(net.tiles, index + 1, rows, one_at, 0, right, width, at if adds else 0, at)
        return input_width + 1

    @compiled
    def descend_unit(net, layer, source, rows, use, panel, input_panel, asks):
        """A unit's gradient goes to the optimizer from L1, or is stored, or added. 0: some weights would have come out
        non-finite, and stayed."""
        row, width = input_panel * panel_width, width_of(layer.weight, panel)
        out = gradient_memory() if use == UPDATE_WEIGHTS else place(layer.gradient, panel, row)
        n_rows = unit_gradient(net, layer, source, rows, panel, input_panel, out, use == ADD_TO_GRADIENT, asks)
        if use != UPDATE_WEIGHTS:
            return 1
        penalized = width * lesser(n_rows, width_of(source, input_panel))
        return update(net, layer, place(layer.weight, panel, row), out, penalized, n_rows * width)

    @compiled
    def backward_weight(net, layer, source, rows, use):
        """All units, one panel of the outputs after the other."""
        finite, asks = 1, layer.n_inputs * layer.n_outputs * size > CACHED_WEIGHTS
        for panel in range(layer.weight.panels):
            for input_panel in range(source.panels):
                finite &= descend_unit(net, layer, source, rows, use, panel, input_panel, asks)
        return finite

    @compiled
    def backward_together(net, layer, below, source, rows, use):
        """Both in one sweep over weights that do not stay in the cache between the two: for a panel of the inputs and a
        few of the outputs, first the weights as they are pass the gradient back, then they are updated."""
        finite, panels_there = 1, layer.weight.panels
        transposed = transposed_memory()
        for input_panel in range(source.panels):
            width = width_of(source, input_panel)
            for first in range(0, panels_there, PANELS_AT_A_TIME):
                last, column = lesser(first + PANELS_AT_A_TIME, panels_there), first * panel_width
                for panel in range(first, last):
                    begin = transposed + (panel - first) * panel_width * width * size
                    transpose_panels(net, layer, input_panel, panel, begin, width)
                depth = lesser(layer.n_outputs, last * panel_width) - column
                pass_back(net, layer, below, rows, input_panel, column, depth, transposed)
                for panel in range(first, last):
                    finite &= descend_unit(net, layer, source, rows, use, panel, input_panel, True)
        return finite

    @compiled
    def penalty(layer):
        """l2/2 ||W||^2 + l1 ||W||_1, in float64."""
        total = 0.0
        for panel in range(layer.weight.panels):
            weight = place(layer.weight, panel, 0)
            squares, magnitudes = 0.0, 0.0
            for i in range(layer.n_inputs * width_of(layer.weight, panel)):
                w = float(get(weight, i))
                squares += w * w
                magnitudes += abs(w)
            total += 0.5 * layer.l2 * squares + layer.l1 * magnitudes
        return total

    return SimpleNamespace(
        forward=forward,
        transpose=transpose,
        differentiate=differentiate,
        differentiate_run=differentiate_run,
        backward_input=backward_input,
        backward_weight=backward_weight,
        backward_together=backward_together,
        update=update,
        penalize=penalize,
        penalty=penalty,
    )
