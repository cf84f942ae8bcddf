"""The kernels on a user's own arrays: moved into panels, through the same kernels as training, and back.

Arrays come checked: one dtype, C-contiguous outputs. Shapes: x (N, I), w (I, O), b (O,), kept, d_out, scores (N, O).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import blocks, objects, records
from .network import BRIEF_LOOK, FLOATING
from .objects import Kernel
from .records import Layer, Panels, addressof

if TYPE_CHECKING:
    from ..._formula import Activation, Loss, OptimizerRule
    from ..backend import Array


class _Workshop:
    """Layers and matrices of one call."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.width = dtype, blocks.panel_width(dtype)
        self.net = records.Network(tiles=blocks.tiles_table(dtype))
        self.alive: list[Any] = []

    def panels(self, n_rows: int, n_columns: int, *given: Array) -> Panels:
        """A matrix, of the rows of some arrays one after the other."""
        made, row = Panels(n_rows, n_columns, self.dtype, self.width), 0
        for array in given:
            row = made.write(array, row)
        self.alive.append(made)
        return made

    def layer(self, n_inputs: int, n_outputs: int, activation: Activation | None) -> Layer:
        """A dense layer without matrices; no activation: one that receives a gradient."""
        made = Layer(kind=records.DENSE, n_inputs=n_inputs, n_outputs=n_outputs, keeps_output=True, passes_back=True)
        if activation is not None:
            scalars = np.array([*activation.parameters.values(), 0.0], self.dtype)
            self.alive.append(scalars)
            made.activation_scalars, made.keeps_output = scalars.ctypes.data, blocks.keeps_output(activation)
            for field, unit in blocks.activation_units(activation, self.dtype).items():
                setattr(made, field, objects.address(unit))
        return made


def dense_forward(x: Array, w: Array, b: Array, activation: Activation, out: Array, kept: Array | None) -> None:
    """out = f(x w + b); kept, if given, receives what the derivative reads."""
    (n_rows, n_inputs), n_outputs, shop = x.shape, w.shape[1], _Workshop(x.dtype)
    layer = shop.layer(n_inputs, n_outputs, activation)
    source, output = shop.panels(n_rows, n_inputs, x), shop.panels(n_rows, n_outputs)
    read = output if layer.keeps_output else shop.panels(n_rows, n_outputs)
    layer.weight, layer.output, layer.kept = shop.panels(n_inputs + 1, n_outputs, w, b[None]).at, output.at, read.at
    job = objects.job(Kernel("schedule", "plain_forward", x.dtype.name))
    job(False, addressof(shop.net), addressof(layer), addressof(source.at), n_rows)
    out[...] = output.read(0, n_rows)
    if kept is not None:
        kept[...] = read.read(0, n_rows)


def dense_backward(
    x: Array,
    w: Array,
    kept: Array,
    d_out: Array,
    activation: Activation,
    dx: Array | None,
    dw: Array,
    db: Array,
) -> None:
    """dz = d_out f'(kept); dx = dz w^T, dw = x^T dz, db = the sum of dz over rows."""
    (n_rows, n_inputs), n_outputs, shop = x.shape, w.shape[1], _Workshop(x.dtype)
    layers = (Layer * 2)()
    layers[0], layers[1] = shop.layer(1, n_inputs, None), shop.layer(n_inputs, n_outputs, activation)
    below, layer = layers
    source, to = shop.panels(n_rows, n_inputs, x), shop.panels(n_rows, n_inputs)
    below.delta, layer.delta = to.at, shop.panels(n_rows, n_outputs, d_out).at
    layer.kept = shop.panels(n_rows, n_outputs, kept).at
    layer.weight = shop.panels(n_inputs + 1, n_outputs, w).at
    layer.transposed = shop.panels(n_outputs, n_inputs).at
    gradient = shop.panels(n_inputs + 1, n_outputs)
    layer.gradient = gradient.at
    job = objects.job(Kernel("schedule", "plain_backward", x.dtype.name))
    job(False, addressof(shop.net), addressof(layers), addressof(source.at), n_rows)
    if dx is not None:
        dx[...] = to.read(0, n_rows)
    dw[...] = gradient.read(0, n_inputs)
    db[...] = gradient.read(n_inputs, n_inputs + 1)[0]


def loss_gradient(scores: Array, targets: Array, loss: Loss, weights: Array | None, d_scores: Array) -> float:
    """The weighted mean loss; d_scores receives its gradient."""
    (n_rows, n_outputs), shop = scores.shape, _Workshop(scores.dtype)
    score, delta = shop.panels(n_rows, n_outputs, scores), shop.panels(n_rows, n_outputs)
    target = shop.panels(n_rows, n_outputs // loss.outputs_per_target)
    labels = np.ascontiguousarray(targets, np.int64) if targets.ndim == 1 else None
    if labels is None:
        target.write(targets)
    weights = np.ones(n_rows) if weights is None else weights
    scale = (weights / (weights.sum() * (1 if loss.rowwise else n_outputs))).astype(scores.dtype)
    losses, sums = np.zeros(n_rows), np.empty_like(scale)
    weights = np.ascontiguousarray(weights, np.float64)
    scratch = records.aligned(blocks.scratch_bytes(loss, n_rows, n_outputs, scores.dtype))
    scalars = np.array([*loss.scalars(n_outputs), 0.0], scores.dtype)
    rows = records.Scores(
        score=score.at,
        target=target.at,
        delta=delta.at,
        labels=0 if labels is None else labels.ctypes.data,
        row_scale=scale.ctypes.data,
        row_weights=weights.ctypes.data,
        losses=losses.ctypes.data,
        scalars=scalars.ctypes.data,
        sums=sums.ctypes.data,
        scratch=scratch.ctypes.data,
        count=n_rows,
        tiles=blocks.tiles_table(scores.dtype),
    )
    kernel = objects.job(blocks.loss_kernel(loss, labels is not None, scores.dtype))
    kernel(False, addressof(rows), blocks.loss_block(loss, scores.dtype), loss.by_class, 0, n_rows)
    d_scores[...] = delta.read(0, n_rows)
    # Zero times an infinite loss would be NaN.
    d_scores[weights == 0] = 0
    return float(weights @ np.where(weights > 0, losses, 0) / weights.sum())


def parameter_update(w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array) -> None:
    """One step of the rule, in place on w and the states, with the rule's scalars in its order."""
    gradient = g.copy()  # The update leaves the old weights there.
    arrays = [w, gradient, *states]
    places = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
    values = np.ascontiguousarray(scalars, w.dtype)
    update = objects.block_function(blocks.address(rule.block, w.dtype))
    update(places, w.size, values.ctypes.data)


def first_nonfinite(array: Array, dtype: Any) -> tuple[int, int] | None:
    """Row and column of the first element of a floating 2-D array that is not finite in `dtype`, or None."""
    if array.dtype not in FLOATING:
        array = array.astype(np.float64)
    source = records.Source(array.ctypes.data, *array.strides)
    find = objects.job(Kernel("gather", "first_nonfinite", np.dtype(dtype).name, (array.dtype.name,)))
    found = find(array.size < BRIEF_LOOK, addressof(source), *array.shape)
    return None if found < 0 else divmod(found, array.shape[1])
