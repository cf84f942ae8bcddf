"""What a step does with whole gradients and whole weights, in a kernel of its own, which other networks never load.

Before the rule, means over batches, and clipping by the norm of all gradients; after it, constraints and averages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from ..._formula.vector import sqrt
from .compiler import compiled, greater, inlined
from .dense import dense
from .memory import get_double, layer_at, network_at, of_dtype
from .panels import panels
from .records import DENSE, DROPOUT, SOFTMAX


@cache
def whole(dtype: str) -> SimpleNamespace:
    """What is done to a layer's gradients, and to its weights."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    real, zero, get, put = kit.real, kit.zero, kit.get, kit.put
    update, penalize = dense(dtype).update, dense(dtype).penalize

    @inlined
    def length_of(layer, panel):
        """Of what a panel holds, the last row too, which is that of biases."""
        return (layer.n_inputs + 1) * width_of(layer.weight, panel)

    @compiled
    def add_to_sum(layer):
        """The batch's gradient is added to those of the batches before it."""
        offset = layer.gradient_sum - layer.gradient.data
        for panel in range(layer.weight.panels):
            gradient = place(layer.gradient, panel, 0)
            for i in range(length_of(layer, panel)):
                put(gradient + offset, i, get(gradient + offset, i) + get(gradient, i))
        return 0

    @compiled
    def take_mean(layer, share):
        """The mean takes the place of the batch's gradient, and the sum begins anew."""
        offset = layer.gradient_sum - layer.gradient.data
        for panel in range(layer.weight.panels):
            gradient = place(layer.gradient, panel, 0)
            for i in range(length_of(layer, panel)):
                put(gradient, i, real(share) * get(gradient + offset, i))
                put(gradient + offset, i, zero)
        return 0

    @compiled
    def update_from_gradient(net, layer):
        """The update by a gradient that was stored, a panel at a time."""
        finite = 1
        for panel in range(layer.weight.panels):
            # Gains are no weights: nothing draws them towards zero.
            penalized = layer.n_inputs * width_of(layer.weight, panel) if layer.kind == DENSE else 0
            weight, gradient = place(layer.weight, panel, 0), place(layer.gradient, panel, 0)
            finite &= update(net, layer, weight, gradient, penalized, length_of(layer, panel))
        return finite

    @compiled
    def squares_of_gradient(net, layer):
        """The sum of squares of a stored gradient, to which the penalty's is added first."""
        total = 0.0
        for panel in range(layer.weight.panels):
            width, gradient = width_of(layer.weight, panel), place(layer.gradient, panel, 0)
            if layer.l1 != 0.0 or layer.l2 != 0.0:
                penalize(layer, net.penalty_scale, place(layer.weight, panel, 0), layer.n_inputs * width, gradient)
            for i in range(length_of(layer, panel)):
                g = float(get(gradient, i))
                total += g * g
        return total

    @compiled
    def scale_gradient(layer, factor):
        """A stored gradient, times a number."""
        for panel in range(layer.weight.panels):
            gradient = place(layer.gradient, panel, 0)
            for i in range(length_of(layer, panel)):
                put(gradient, i, get(gradient, i) * real(factor))
        return 0

    @compiled
    def constrain(layer):
        """Weights below zero become zero, then columns that are too long are shortened."""
        for panel in range(layer.weight.panels):
            width, weight = width_of(layer.weight, panel), place(layer.weight, panel, 0)
            if layer.nonnegative:
                for i in range(layer.n_inputs * width):
                    w = get(weight, i)
                    put(weight, i, w if w > zero else zero)
            for c in range(width if layer.max_norm > 0.0 else 0):
                squares = 0.0
                for i in range(c, layer.n_inputs * width, width):
                    w = float(get(weight, i))
                    squares += w * w
                factor = real(layer.max_norm / greater(sqrt(squares), layer.max_norm))
                for i in range(c, layer.n_inputs * width, width):
                    put(weight, i, get(weight, i) * factor)
        return 0

    @compiled
    def move_average(layer, share):
        """average = (1 - share) average + share w"""
        offset = layer.average - layer.weight.data
        for panel in range(layer.weight.panels):
            weight = place(layer.weight, panel, 0)
            average = weight + offset
            for i in range(length_of(layer, panel)):
                put(average, i, real(1.0 - share) * get(average, i) + real(share) * get(weight, i))
        return 0

    return SimpleNamespace(
        add_to_sum=add_to_sum,
        take_mean=take_mean,
        update_from_gradient=update_from_gradient,
        squares_of_gradient=squares_of_gradient,
        scale_gradient=scale_gradient,
        constrain=constrain,
        move_average=move_average,
    )


def make_finish_step(dtype: str) -> Callable[..., Any]:
    """A kernel: what follows a batch's gradients. Arguments: the address of the network; the number of the batch among
    those of the call; whether gradients are stored, else weights have been updated already."""
    layers = whole(dtype)
    add_to_sum, take_mean, update_from_gradient = layers.add_to_sum, layers.take_mean, layers.update_from_gradient
    squares_of_gradient, scale_gradient = layers.squares_of_gradient, layers.scale_gradient
    constrain, move_average = layers.constrain, layers.move_average

    @inlined
    def learns(layer):
        return layer.kind != DROPOUT and layer.kind != SOFTMAX

    @inlined
    def accumulate(net, moves):
        """A batch without weight has no gradient."""
        for k in range(net.n_layers):
            layer = layer_at(net.layers, k)
            if learns(layer):
                if net.weight_sum > 0.0:
                    add_to_sum(layer)
                if moves:
                    take_mean(layer, 1.0 / net.accumulates)

    @inlined
    def clip(net):
        """Gradients times clip_norm / (norm + clip_slack), if that is below 1; the norm is of all of them."""
        total = 0.0
        for k in range(net.n_layers):
            if learns(layer_at(net.layers, k)):
                total += squares_of_gradient(net, layer_at(net.layers, k))
        norm = sqrt(total) + net.clip_slack
        factor = net.clip_norm / norm if norm > net.clip_norm else 1.0
        for k in range(net.n_layers):
            if learns(layer_at(net.layers, k)):
                scale_gradient(layer_at(net.layers, k), factor)

    @inlined
    def update_all(net):
        for k in range(net.n_layers):
            layer = layer_at(net.layers, k)
            if learns(layer) and not update_from_gradient(net, layer):
                net.nonfinite_weights = 1

    @inlined
    def follow(net, share):
        """What comes after the update: constraints, then the average."""
        for k in range(net.n_layers):
            layer = layer_at(net.layers, k)
            if layer.kind == DENSE and net.constrained:
                constrain(layer)
            if learns(layer) and net.averages:
                move_average(layer, share)

    def finish_step(address, k, is_stored, unused, unused_too):
        net = network_at(address, 0)
        # The last of a batch's scalars: whether weights move, if not each time; before it the newest weights' share.
        last = (k + 1) * net.n_scalars - 1
        if net.accumulates > 1:
            moves = get_double(net.scalars, last) != 0.0
            accumulate(net, moves)
            if not moves:
                return 0
            last -= 1
        if net.clips:
            clip(net)
        if is_stored:
            update_all(net)
        if net.constrained or net.averages:
            follow(net, get_double(net.scalars, last))
        return 0

    return finish_step
