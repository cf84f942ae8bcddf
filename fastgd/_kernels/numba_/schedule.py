"""The schedules over a whole network: which kernel runs on which buffers, in which order. One call, many steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from .compiler import compiled, inlined, lesser
from .dense import dense
from .memory import (
    address_of,
    apply_activation,
    call_kernel,
    flush_subnormals,
    get_double,
    get_integer,
    layer_at,
    matrix_at,
    network_at,
    of_dtype,
    put_double,
    put_integer,
    restore_mode,
    scores_at,
    scratch,
)
from .panels import panels
from .philox import permute
from .records import (
    ADD_TO_GRADIENT,
    DENSE,
    DONE,
    DROPOUT,
    ELEMENTWISE,
    GRADIENTS,
    NONFINITE_LOSS,
    NONFINITE_WEIGHTS,
    STORE_GRADIENT,
    TRAIN,
    UPDATE_WEIGHTS,
    Scores,
    sizeof,
)
from .softmax import rows_of


@cache
def passes(dtype: str) -> SimpleNamespace:
    """What the jobs are made of: rows gathered, layers passed, losses taken."""
    kit, kernels = of_dtype(dtype), dense(dtype)
    put, zero, element = kit.put, kit.zero, panels(dtype).element
    dense_forward, dense_differentiate, backward_input = kernels.forward, kernels.differentiate, kernels.backward_input
    backward_weight, backward_together = kernels.backward_weight, kernels.backward_together
    scores_memory = scratch(sizeof(Scores))

    @inlined
    def is_training(net):
        return net.kind == TRAIN or net.kind == GRADIENTS

    @inlined
    def input_of(net, k):
        """The output of the layers below number k. Where nothing is learnt, dropout leaves no output of its own."""
        while k > 0 and layer_at(net.layers, k - 1).kind == DROPOUT and not is_training(net):
            k -= 1
        return net.input if k == 0 else layer_at(net.layers, k - 1).output

    @compiled
    def gather_inputs(net, first, count):
        call_kernel(net.x.gather, address_of(net.x), net.order, address_of(net.input), first, count)
        return 0

    @compiled
    def gather_targets(net, first, count):
        """Targets of the batch's rows; their weights, and these over the batch's total."""
        if net.labels:
            for i in range(count):
                row = get_integer(net.order, first + i) if net.order else first + i
                put_integer(net.batch_labels, i, get_integer(net.labels, row))
        else:
            call_kernel(net.y.gather, address_of(net.y), net.order, address_of(net.target), first, count)
        share = 1.0 / net.weight_sum
        if net.loss_kind == ELEMENTWISE:
            share /= layer_at(net.layers, net.n_layers - 1).n_outputs
        for i in range(count):
            weight = 1.0
            if net.weights:
                weight = get_double(net.weights, get_integer(net.order, first + i) if net.order else first + i)
            put_double(net.row_weights, i, weight)
            put(net.row_scale, i, weight * share)
        return 0

    @compiled
    def forward(net, n_layers, rows):
        for k in range(n_layers):
            layer = layer_at(net.layers, k)
            if layer.kind == DENSE:
                dense_forward(net, layer, input_of(net, k), rows)
            elif layer.kind != DROPOUT or is_training(net):
                call_kernel(layer.forward, address_of(net), address_of(layer), address_of(input_of(net, k)), rows, 0)
        return 0

    @compiled
    def clear_weightless_rows(rows, count, with_gradient):
        """A row without weight counts for nothing, also where its loss is infinite: zero times that would be NaN."""
        for row in range(count):
            if get_double(rows.row_weights, row) == 0.0:
                put_double(rows.losses, row, 0.0)
                for column in range(rows.delta.columns if with_gradient else 0):
                    put(element(rows.delta, row, column), 0, zero)

    @compiled
    def take_losses(net, count, with_gradient):
        last = layer_at(net.layers, net.n_layers - 1)
        address = scores_memory()
        rows = scores_at(address, 0)
        rows.score, rows.target, rows.delta = last.output, net.target, last.delta
        rows.labels = net.batch_labels if net.labels else 0
        rows.row_scale = net.row_scale if with_gradient else 0
        rows.losses, rows.scalars, rows.sums = net.row_losses, net.loss_scalars, net.row_sums
        rows.tiles, rows.row_weights, rows.scratch, rows.count = net.tiles, net.row_weights, net.scratch, count
        call_kernel(net.loss, address, net.loss_block, net.by_class, 0, count)
        if net.weights:
            clear_weightless_rows(rows, count, with_gradient)
        if with_gradient:
            dense_differentiate(last, count)
        return 0

    @compiled
    def backward(net, rows, use):
        """From the last layer down. The gradient passes to the layer below through the transpose that was made before
        any update."""
        for k in range(net.n_layers - 1, -1, -1):
            layer = layer_at(net.layers, k)
            if layer.kind == DENSE and layer.passes_back and not layer.transposed.data:
                finite = backward_together(net, layer, layer_at(net.layers, k - 1), input_of(net, k), rows, use)
            elif layer.kind == DENSE:
                if layer.passes_back:
                    backward_input(net, layer, layer_at(net.layers, k - 1), rows)
                finite = backward_weight(net, layer, input_of(net, k), rows, use)
            else:
                below = address_of(layer_at(net.layers, k - 1))
                finite = call_kernel(layer.backward, address_of(net), address_of(layer), below, rows, use)
            if not finite:
                net.nonfinite_weights = 1
        return 0

    @compiled
    def weighted_loss(net, count):
        total = 0.0
        for i in range(count):
            total += get_double(net.row_weights, i) * get_double(net.row_losses, i)
        return total

    return SimpleNamespace(
        forward=forward,
        backward=backward,
        gather_inputs=gather_inputs,
        gather_targets=gather_targets,
        take_losses=take_losses,
        weighted_loss=weighted_loss,
        input_of=input_of,
    )


@cache
def descents(dtype: str) -> SimpleNamespace:
    """A batch, forward and back."""
    kernels, parts_of = dense(dtype), passes(dtype)
    forward, backward, weighted_loss = parts_of.forward, parts_of.backward, parts_of.weighted_loss
    gather_inputs, gather_targets, take_losses = parts_of.gather_inputs, parts_of.gather_targets, parts_of.take_losses
    transpose, penalty = kernels.transpose, kernels.penalty

    @inlined
    def parts(net, rows):
        return (rows + net.most_rows - 1) // net.most_rows

    @compiled
    def prepare(net):
        """What is made of the weights before they change: transposes. Returns the penalties' sum."""
        total = 0.0
        for k in range(net.n_layers):
            layer = layer_at(net.layers, k)
            if layer.transposed.data:
                transpose(net, layer)
            if layer.l1 != 0.0 or layer.l2 != 0.0:
                total += penalty(layer)
        return total

    @compiled
    def pass_parts(net, first, last, use_of_whole):
        """Positions of a batch in equal parts: gradients are stored by the first and added to by the others. Gives the
        sum of w l, and the penalty times that of w."""
        rows, n_parts = last - first, parts(net, last - first)
        loss = net.weight_sum * net.penalty_scale * prepare(net)
        for part in range(n_parts):
            begin, end = first + rows * part // n_parts, first + rows * (part + 1) // n_parts
            net.batch_begin = begin - first
            gather_inputs(net, begin, end - begin)
            gather_targets(net, begin, end - begin)
            forward(net, net.n_layers, end - begin)
            take_losses(net, end - begin, True)
            loss += weighted_loss(net, end - begin)
            if not math.isfinite(loss):
                break
            use = use_of_whole
            if n_parts > 1:
                use = STORE_GRADIENT if part == 0 else ADD_TO_GRADIENT
            backward(net, end - begin, use)
        return loss

    @compiled
    def descend(net, k, first, last):
        """A batch of one part updates each tile of weights at once; a larger one adds its parts' gradients first, and
        gradients that are needed whole are stored. A batch without weight is passed over, unless weights are to change
        by those before it."""
        stores, loss = net.clips or net.accumulates > 1, 0.0
        if net.weight_sum > 0.0:
            loss = pass_parts(net, first, last, STORE_GRADIENT if stores else UPDATE_WEIGHTS)
        elif net.accumulates == 1:
            return loss
        if net.finish_step and math.isfinite(loss):
            call_kernel(net.finish_step, address_of(net), k, stores or parts(net, last - first) > 1, 0, 0)
        return loss

    @inlined
    def sum_of_weights(net, first, last):
        if not net.weights:
            return float(last - first)
        total = 0.0
        for i in range(first, last):
            total += get_double(net.weights, get_integer(net.order, i) if net.order else i)
        return total

    return SimpleNamespace(descend=descend, pass_parts=pass_parts, sum_of_weights=sum_of_weights)


def make_train(dtype: str) -> Callable[..., Any]:
    """A kernel: all steps of `Network.train`. Argument: the address of the network."""
    kit = of_dtype(dtype)
    put = kit.put
    descend, sum_of_weights = descents(dtype).descend, descents(dtype).sum_of_weights

    @inlined
    def begin_step(net, k):
        if net.draws_order and (k == 0 or net.step == 0):
            permute(net.seed, net.epoch, net.n_rows, net.order)
        if net.orders and (k == 0 or net.step == 0):
            net.order = net.orders + 8 * net.n_rows * (net.epoch - net.first_epoch)
        net.penalty_scale = get_double(net.penalty_scales, k) if net.penalty_scales else 1.0
        net.first = net.step * net.batch_size
        net.last = lesser(net.first + net.batch_size, net.n_rows)
        net.weight_sum = sum_of_weights(net, net.first, net.last)
        for i in range(net.n_scalars):
            put(net.rule_scalars, i, get_double(net.scalars, k * net.n_scalars + i))

    @inlined
    def end_step(net, k, loss):
        if not math.isfinite(loss):
            net.status = NONFINITE_LOSS
            return
        if net.nonfinite_weights:
            net.status = NONFINITE_WEIGHTS
        place = 2 * (net.epoch - net.first_epoch)
        put_double(net.losses, place, get_double(net.losses, place) + loss)
        put_double(net.losses, place + 1, get_double(net.losses, place + 1) + net.weight_sum)
        net.done = k + 1
        net.step += 1
        if net.step == net.steps_per_epoch:
            net.step = 0
            net.epoch += 1

    def train(address, unused1, unused2, unused3, unused4):
        net = network_at(address, 0)
        mode = flush_subnormals()
        for k in range(net.n_steps):
            begin_step(net, k)
            loss = descend(net, k, net.first, net.last)
            end_step(net, k, loss)
            if net.status != DONE:
                break
        restore_mode(mode)
        return 0

    return train


def make_gradients(dtype: str) -> Callable[..., Any]:
    """A kernel: the loss of all rows and its gradients, stored."""
    pass_parts, sum_of_weights = descents(dtype).pass_parts, descents(dtype).sum_of_weights

    def gradients(address, unused1, unused2, unused3, unused4):
        net = network_at(address, 0)
        mode = flush_subnormals()
        net.weight_sum = sum_of_weights(net, 0, net.n_rows)
        net.loss_sum = pass_parts(net, 0, net.n_rows, STORE_GRADIENT)
        restore_mode(mode)
        return 0

    return gradients


def make_evaluate(dtype: str) -> Callable[..., Any]:
    """A kernel: sum(w l), sum(w) and sum(w correct) over all rows."""
    kit, parts_of, element = of_dtype(dtype), passes(dtype), panels(dtype).element
    column_of_largest = rows_of(dtype).column_of_largest
    get, zero, half = kit.get, kit.zero, kit.real(0.5)
    forward, take_losses = parts_of.forward, parts_of.take_losses
    gather_inputs, gather_targets = parts_of.gather_inputs, parts_of.gather_targets

    @inlined
    def correct_sides(score, target, row):
        """The share of outputs on the right side of zero; targets on that of a half."""
        count = 0
        for column in range(score.columns):
            count += (get(element(score, row, column), 0) > zero) == (get(element(target, row, column), 0) > half)
        return count / score.columns

    @inlined
    def correct(net, score, row):
        if net.by_class:
            wanted = get_integer(net.batch_labels, row) if net.labels else column_of_largest(net.target, row)
            return 1.0 if column_of_largest(score, row) == wanted else 0.0
        return correct_sides(score, net.target, row) if net.by_sides else 0.0

    def evaluate(address, unused1, unused2, unused3, unused4):
        net = network_at(address, 0)
        score = layer_at(net.layers, net.n_layers - 1).output
        mode = flush_subnormals()
        net.weight_sum = 1.0
        for first in range(0, net.n_rows, net.capacity):
            count = lesser(net.capacity, net.n_rows - first)
            gather_inputs(net, first, count)
            gather_targets(net, first, count)
            forward(net, net.n_layers, count)
            take_losses(net, count, False)
            for i in range(count):
                weight = get_double(net.row_weights, i)
                net.loss_sum += weight * get_double(net.row_losses, i)
                net.correct_sum += weight * correct(net, score, i)
                net.total_weight += weight
        restore_mode(mode)
        return 0

    return evaluate


def make_predict(dtype: str) -> Callable[..., Any]:
    """A kernel: the outputs of a layer, with the link if that is asked for. Second argument: `scatter`'s address."""
    parts_of, place, width_of = passes(dtype), panels(dtype).place, panels(dtype).width_of
    forward, gather_inputs, input_of = parts_of.forward, parts_of.gather_inputs, parts_of.input_of

    @inlined
    def apply_link(net, output, count):
        if net.row_link:
            call_kernel(net.row_link, address_of(output), net.outputs_per_target, count, 0, 0)
        elif net.link:
            for panel in range(output.panels):
                at = place(output, panel, 0)
                apply_activation(net.link, at, at, count * width_of(output, panel), 0)

    def predict(address, scatter, unused2, unused3, unused4):
        net = network_at(address, 0)
        output = input_of(net, net.layer + 1)
        mode = flush_subnormals()
        for first in range(0, net.n_rows, net.capacity):
            count = lesser(net.capacity, net.n_rows - first)
            gather_inputs(net, first, count)
            forward(net, net.layer + 1, count)
            if net.use_link:
                apply_link(net, output, count)
            to = net.out + first * net.out_row_stride
            call_kernel(scatter, address_of(output), to, net.out_row_stride, net.out_column_stride, count)
        restore_mode(mode)
        return 0

    return predict


def make_plain_forward(dtype: str) -> Callable[..., Any]:
    """A kernel: one layer forward. Arguments: addresses of the network, the layer, its input; rows."""
    forward = dense(dtype).forward

    def plain_forward(net_address, address, source_address, rows, unused):
        mode = flush_subnormals()
        forward(network_at(net_address, 0), layer_at(address, 0), matrix_at(source_address, 0), rows)
        restore_mode(mode)
        return 0

    return plain_forward


def make_plain_backward(dtype: str) -> Callable[..., Any]:
    """A kernel: one layer back, its gradients stored. Arguments: addresses of the network, of the layer below, which
    the layer follows, of its input; rows."""
    kernels = dense(dtype)
    differentiate, transpose = kernels.differentiate, kernels.transpose
    backward_input, backward_weight = kernels.backward_input, kernels.backward_weight

    def plain_backward(net_address, address, source_address, rows, unused):
        net, below, layer = network_at(net_address, 0), layer_at(address, 0), layer_at(address, 1)
        mode = flush_subnormals()
        differentiate(layer, rows)
        transpose(net, layer)
        backward_input(net, layer, below, rows)
        backward_weight(net, layer, matrix_at(source_address, 0), rows, STORE_GRADIENT)
        restore_mode(mode)
        return 0

    return plain_backward
