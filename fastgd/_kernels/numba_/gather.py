"""Moving rows from a user's array into panels: a kernel for each element type."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .compiler import compiled, inlined
from .memory import get_element, get_integer, matrix_at, of_dtype, source_at
from .panels import panels


def make_gather(dtype: str, element: str) -> Callable[..., Any]:
    """A kernel: rows first .. first + count - 1 of a source, or those that `order` has there, to the rows of a matrix
    from 0 on. Arguments: addresses of the source, the order (0: as they lie) and the matrix, first, count."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    read, element_size = get_element(element), np.dtype(element).itemsize
    real, zero, size, lanes, panel_width, put = kit.real, kit.zero, kit.size, kit.lanes, kit.panel, kit.put
    load_lanes, store_lanes = kit.load_lanes, kit.store_lanes
    same = element == dtype

    @inlined
    def convert(begin, stride, count, to):
        if same and stride == element_size:
            for c in range(0, count, lanes):
                store_lanes(to + c * size, load_lanes(begin + c * size, count - c, zero), count - c)
        elif stride == element_size:
            for c in range(count):
                put(to, c, real(read(begin, c)))
        else:
            for c in range(count):
                put(to, c, real(read(begin + c * stride, 0)))

    def gather(source_address, order, to_address, first, count):
        source, to = source_at(source_address, 0), matrix_at(to_address, 0)
        stride, panel_stride = source.column_stride, panel_width * source.column_stride
        data, row_stride = source.data, source.row_stride
        for row in range(count):
            begin = data + (get_integer(order, first + row) if order else first + row) * row_stride
            for panel in range(to.panels):
                convert(begin, stride, width_of(to, panel), place(to, panel, row))
                begin += panel_stride
        return 0

    return gather


def make_gather_sparse(dtype: str, element: str, index: str) -> Callable[..., Any]:
    """The same of rows of which only some elements are stored; values of one column are added up."""
    kit, place, width_of, at = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of, panels(dtype).element
    read, read_column = get_element(element), get_element(index)
    real, zero, get, put = kit.real, kit.zero, kit.get, kit.put

    def gather_sparse(source_address, order, to_address, first, count):
        source, to = source_at(source_address, 0), matrix_at(to_address, 0)
        for row in range(count):
            number = get_integer(order, first + row) if order else first + row
            for panel in range(to.panels):
                for c in range(width_of(to, panel)):
                    put(place(to, panel, row), c, zero)
            for k in range(get_integer(source.starts, number), get_integer(source.starts, number + 1)):
                place_there = at(to, row, np.int64(read_column(source.columns, k)))
                put(place_there, 0, get(place_there, 0) + real(read(source.data, k)))
        return 0

    return gather_sparse


def make_scatter(dtype: str) -> Callable[..., Any]:
    """A kernel: the first `count` rows of a matrix to memory of any strides. Arguments: addresses of the matrix and of
    the memory, its strides in bytes, count."""
    kit, place, width_of = of_dtype(dtype), panels(dtype).place, panels(dtype).width_of
    panel_width, get, put = kit.panel, kit.get, kit.put

    def scatter(from_address, out, row_stride, column_stride, count):
        matrix = matrix_at(from_address, 0)
        for panel in range(matrix.panels):
            for row in range(count):
                values = place(matrix, panel, row)
                to = out + row * row_stride + panel * panel_width * column_stride
                for c in range(width_of(matrix, panel)):
                    put(to + c * column_stride, 0, get(values, c))
        return 0

    return scatter


@cache
def finite_in(dtype: str, element: str) -> Any:
    """Of elements of one type, whether one is finite in another; and how many of a row are not: of its address, the
    distance of its elements, their number."""
    read, element_size, kind = get_element(element), np.dtype(element).itemsize, np.dtype(element).type
    largest, zero = kind(np.finfo(min(np.dtype(dtype), np.dtype(element))).max), kind(0)

    @inlined
    def is_finite(x):
        return (x if x >= zero else -x) <= largest

    @compiled
    def count_nonfinite(at, step, columns):
        count = 0
        if step == element_size:
            for c in range(columns):
                count += 0 if is_finite(read(at, c)) else 1
        else:
            for c in range(columns):
                count += 0 if is_finite(read(at + c * step, 0)) else 1
        return count

    return is_finite, count_nonfinite


def make_first_nonfinite(dtype: str, element: str) -> Callable[..., Any]:
    """A kernel: the number of the first element of a source that is not finite in `dtype`, counted row by row, or -1.
    Arguments: the source's address, rows, columns."""
    read, (is_finite, count_nonfinite) = get_element(element), finite_in(dtype, element)

    def first_nonfinite(address, rows, columns, unused, unused_too):
        source = source_at(address, 0)
        step = source.column_stride
        for row in range(rows):
            at = source.data + row * source.row_stride
            if count_nonfinite(at, step, columns):
                for c in range(columns):
                    if not is_finite(read(at + c * step, 0)):
                        return row * columns + c
        return -1

    return first_nonfinite
