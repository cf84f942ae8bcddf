"""The memory that compiled functions and Python share: what `engine.h` is to the backend in C.

Every matrix lies in panels: groups of `panel_width` columns, each group stored as rows times width, one after the
other. Only the last panel may be narrower; it is as wide as it has columns, and what reads it masks its vectors. Where
memory begins is an integer, 0 for none.
"""

from __future__ import annotations

from ctypes import Structure, addressof, c_double, c_int64, c_uint64, sizeof
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..backend import Array

CACHE_LINE = 64
VECTOR_BYTES = 64

MOST_STATES = 4
MOST_ROWS = 512
"""Rows whose activations are kept at a time: a larger batch goes through in equal parts whose gradients are added."""

CACHED_WEIGHTS = 1 << 18
"""Bytes of a layer's weights beyond which they and the optimizer's states are taken not to be in the L2 cache."""

DENSE, DROPOUT, SOFTMAX, BATCH_NORM, LAYER_NORM = range(5)
ELEMENTWISE, ROWWISE = range(2)
TRAIN, EVALUATE, GRADIENTS, PREDICT = range(4)
UPDATE_WEIGHTS, STORE_GRADIENT, ADD_TO_GRADIENT = range(3)
DONE, NONFINITE_LOSS, NONFINITE_WEIGHTS = range(3)


def _integers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_int64) for name in names.split()]


def _reals(names: str) -> list[tuple[str, Any]]:
    return [(name, c_double) for name in names.split()]


class Matrix(Structure):
    """`rows` is what there is room for, which fixes where panels begin."""

    _fields_ = _integers("data rows columns panels last_width")


class Source(Structure):
    """A user's array, read where it lies; strides in bytes. `gather` copies rows of its element type.

    Where only some elements are stored, `columns` and `starts` say which, as in `SparseRows`.
    """

    _fields_ = _integers("data row_stride column_stride gather columns starts")


def _matrices(names: str) -> list[tuple[str, Any]]:
    return [(name, Matrix) for name in names.split()]


class Layer(Structure):
    """A layer; blocks that are 0 stand for the identity, and a layer beyond the cache has no `transposed`. What is
    `average` or `gradient_sum` lies as `weight` and `gradient` do.

    `weight` has a last row of biases; a normalisation one row of gains before its row of shifts. `kept` is what the
    derivative reads: the output, or what the activation was applied to. `forward` and `backward` are the kernels of a
    layer that is not dense.
    """

    _fields_ = (
        _integers("kind passes_back n_inputs n_outputs keeps_output activate differentiate activation_scalars")
        + _integers("forward backward state0 state1 state2 state3 row_factors index dropped nonnegative average")
        + _integers("gradient_sum")
        + _reals("l1 l2 kept_scale eps momentum max_norm")
        + _matrices("weight transposed gradient kept output delta running moments normalized")
    )


class Network(Structure):
    """A stack of layers, one call's job, and how far that has come."""

    _fields_ = (
        _integers("layers n_layers most_rows capacity tiles loss_kind loss loss_block loss_scalars")
        + _integers("by_class by_sides link row_link outputs_per_target")
        + _integers("update rule_scalars bias_scalars clips averages accumulates constrained finish_step")
        + _integers("batch_labels row_scale row_sums row_losses row_weights scratch")
        + _matrices("input target")
        # The job.
        + [("x", Source), ("y", Source), ("seed", c_uint64), ("steps_before", c_uint64)]
        + _reals("clip_norm clip_slack penalty_scale")
        + _integers("kind labels weights order orders draws_order n_rows batch_size n_steps step steps_per_epoch")
        + _integers("epoch first_epoch scalars n_scalars penalty_scales losses")
        + _integers("layer use_link out out_row_stride out_column_stride")
        # Its progress.
        + _integers("first last status done nonfinite_weights batch_begin")
        + _reals("weight_sum loss_sum correct_sum total_weight")
    )


class Scores(Structure):
    """Scores of a batch, their targets, and where losses and gradient go.

    `labels`, or else `target`; `row_scale`, what each row's gradient is multiplied by, is 0 where no gradient is
    wanted. `count` is how many rows the batch has; losses that compare them read their weights.
    """

    _fields_ = _matrices("score target delta") + _integers(
        "labels row_scale row_weights losses scalars sums scratch tiles count"
    )


GRADIENT_STEP, PASSIVE_AGGRESSIVE_1, PASSIVE_AGGRESSIVE_2 = range(3)


class LinearOutput(Structure):
    """One output of a linear model; see `linear_steps`. `charged` is what the l1 penalty has taken of each weight, and
    `due` what it was to take up to now; `squares` and `magnitudes` are sums over the weights.
    """

    _fields_ = _integers("weight mean charged label n_worse") + _reals(
        "scale mean_share divisor intercept mean_intercept due squares magnitudes pace positive negative objective best"
    )


class LinearJob(Structure):
    """Some epochs of a linear model. `outputs` are the addresses of the active ones; `columns` and `starts` say which
    elements of the rows are stored, 0 for all; `rows` is where a loss over rows finds its `Scores`, else 0."""

    _fields_ = (
        _integers("values columns starts n_columns labels targets weights order spare permutation rates")
        + _integers("n_rows batch_size n_epochs outputs n_outputs loss loss_block loss_scalars rows")
        + _integers("step steps_before average_from patience score target value gradient done status")
        + _reals("other_target l1 l2 intercept_share tol")
    )


def panel_width(dtype: np.dtype[Any], vectors: int) -> int:
    """Columns of a panel of so many vectors."""
    return vectors * VECTOR_BYTES // dtype.itemsize


def aligned(n_bytes: int) -> Array:
    """Zeros that begin on a cache line."""
    memory = np.zeros(n_bytes + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + n_bytes]


class Panels:
    """A matrix with its memory, zero at first."""

    def __init__(self, n_rows: int, n_columns: int, dtype: np.dtype[Any], width: int) -> None:
        self.n_panels = -(-n_columns // width)
        # An odd number of rows keeps panels from beginning a multiple of 4096 bytes apart, where a row's elements
        # compete for the same cache set.
        self.n_rows = n_rows if self.n_panels == 1 else n_rows | 1
        self.n_columns, self.width, self.dtype = n_columns, width, dtype
        self.memory = aligned(self.n_rows * n_columns * dtype.itemsize)
        last = n_columns - (self.n_panels - 1) * width
        self.at = Matrix(self.memory.ctypes.data, self.n_rows, n_columns, self.n_panels, last)

    def pieces(self, first: int, last: int) -> list[tuple[slice, Array]]:
        """The columns of each panel, and rows first .. last-1 of it."""
        values, found = self.memory.view(self.dtype), []
        for begin in range(0, self.n_columns, self.width):
            end = min(begin + self.width, self.n_columns)
            panel = values[begin * self.n_rows : end * self.n_rows].reshape(self.n_rows, end - begin)
            found.append((slice(begin, end), panel[first:last]))
        return found

    def write(self, array: Array, first: int = 0) -> int:
        """Copy rows in, from number `first` on; returns the number of the next."""
        last = first + len(array)
        for columns, panel in self.pieces(first, last):
            panel[...] = array[:, columns]
        return last

    def read(self, first: int, last: int) -> Array:
        """A copy of rows first .. last-1."""
        array = np.empty((last - first, self.n_columns), self.dtype)
        for columns, panel in self.pieces(first, last):
            array[:, columns] = panel
        return array


__all__ = [
    "Layer",
    "LinearJob",
    "LinearOutput",
    "Matrix",
    "Network",
    "Panels",
    "Scores",
    "Source",
    "addressof",
    "aligned",
    "panel_width",
    "sizeof",
]
