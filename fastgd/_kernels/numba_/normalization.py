"""What the two normalisations share: gains lie where a dense layer has one row of weights, shifts where its biases."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from .compiler import compiled, inlined
from .dense import dense
from .memory import apply_activation, of_dtype, scratch
from .panels import panels
from .records import ADD_TO_GRADIENT, UPDATE_WEIGHTS


@cache
def normalization(dtype: str) -> SimpleNamespace:
    """``activate(layer, rows)``; ``gradient_of_columns(layer, panel, c, count, rows)``, the sums of delta x' and delta;
    ``update(net, layer, rows, use)``, what becomes of these: whether all stayed finite."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    load_lanes, store_lanes, splat = kit.load_lanes, kit.store_lanes, kit.splat
    zero, size, lanes, update_run = kit.zero, kit.size, kit.lanes, dense(dtype).update
    gradient_memory = scratch(2 * kit.panel * size)

    @compiled
    def activate(layer, rows):
        score, output = layer.output if layer.keeps_output else layer.kept, layer.output
        if layer.activate:
            for panel in range(output.panels):
                apply_activation(
                    layer.activate, place(score, panel, 0), place(output, panel, 0),
                    rows * width_of(output, panel), layer.activation_scalars,
                )  # fmt: skip
        return 0

    @inlined
    def gradient_of_columns(layer, panel, c, count, rows):
        step = width_of(layer.delta, panel) * size
        at, kept = place(layer.delta, panel, 0) + c * size, place(layer.normalized, panel, 0) + c * size
        gain, shift, other_gain, other_shift = splat(zero), splat(zero), splat(zero), splat(zero)
        for row in range(0, rows - 1, 2):
            delta = load_lanes(at + row * step, count, zero)
            other = load_lanes(at + (row + 1) * step, count, zero)
            gain = gain + delta * load_lanes(kept + row * step, count, zero)
            other_gain = other_gain + other * load_lanes(kept + (row + 1) * step, count, zero)
            shift = shift + delta
            other_shift = other_shift + other
        if rows % 2:
            delta = load_lanes(at + (rows - 1) * step, count, zero)
            gain = gain + delta * load_lanes(kept + (rows - 1) * step, count, zero)
            shift = shift + delta
        return gain + other_gain, shift + other_shift

    @compiled
    def update(net, layer, rows, use):
        finite, temporary = 1, gradient_memory()
        for panel in range(layer.delta.panels):
            width = width_of(layer.delta, panel)
            out = temporary if use == UPDATE_WEIGHTS else place(layer.gradient, panel, 0)
            for c in range(0, width, lanes):
                gain, shift = gradient_of_columns(layer, panel, c, width - c, rows)
                gain_at = out + c * size
                shift_at = gain_at + width * size
                if use == ADD_TO_GRADIENT:
                    gain = gain + load_lanes(gain_at, width - c, zero)
                    shift = shift + load_lanes(shift_at, width - c, zero)
                store_lanes(gain_at, gain, width - c)
                store_lanes(shift_at, shift, width - c)
            if use == UPDATE_WEIGHTS:
                # Gains are no weights: nothing draws them towards zero.
                finite &= update_run(net, layer, place(layer.weight, panel, 0), out, 0, 2 * width)
        return finite

    return SimpleNamespace(activate=activate, gradient_of_columns=gradient_of_columns, update=update)
