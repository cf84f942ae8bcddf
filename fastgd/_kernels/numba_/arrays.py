"""NumPy's arrays as compiled code sees them: where the fields of the object are, and a quick look at one.

`array.ctypes.data` takes longer than a step of a small network. The fields stand at the beginning of the object, in
an order that NumPy has promised to compiled extensions; that it is this order is checked once, and where it is not,
nothing is looked at quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32, c_int64
from functools import cache
from typing import Any

import numpy as np

WORD = 8
BEGIN = object.__basicsize__
DATA, N_DIMENSIONS, LENGTHS, STRIDES, DTYPE, FLAGS = (BEGIN + WORD * k for k in (0, 1, 2, 3, 5, 6))
WRITEABLE, ALIGNED = 0x400, 0x100

LABELS = np.dtype(np.intp)


@cache
def is_as_expected() -> bool:
    """Whether an array's fields are where they should be."""
    array = np.arange(6.0).reshape(2, 3)[:, ::2]
    at = id(array)
    if c_int64.from_address(at + DATA).value != array.ctypes.data or c_int32.from_address(at + N_DIMENSIONS).value != 2:
        return False
    for field, values in ((LENGTHS, array.shape), (STRIDES, array.strides)):
        place = c_int64.from_address(at + field).value
        if tuple(c_int64.from_address(place + WORD * k).value for k in range(2)) != values:
            return False
    flags = c_int32.from_address(at + FLAGS).value
    return c_int64.from_address(at + DTYPE).value == id(array.dtype) and flags == array.flags.num


def data_of(array: Any) -> int:
    """Where an array's elements begin."""
    if is_as_expected():
        return c_int64.from_address(id(array) + DATA).value
    return int(array.ctypes.data)


def make_takes(dtype: str, element: str) -> Callable[..., Any]:
    """A kernel: whether rows of a 2-D array are aligned numbers that are finite in `dtype`. Arguments: addresses of
    the object and of its dtype's, as it should be; how many columns. Gives how many rows, 0 for no."""
    from .gather import finite_in
    from .memory import get_integer, get_short

    count_nonfinite = finite_in(dtype, element)[1]

    def takes(address, wanted, n_columns, unused, unused_too):
        if get_integer(address + DTYPE, 0) != wanted or get_short(address + N_DIMENSIONS, 0) != 2:
            return 0
        lengths, strides = get_integer(address + LENGTHS, 0), get_integer(address + STRIDES, 0)
        n_rows, at = get_integer(lengths, 0), get_integer(address + DATA, 0)
        if get_integer(lengths, 1) != n_columns or not get_short(address + FLAGS, 0) & ALIGNED:
            return 0
        for row in range(n_rows):
            if count_nonfinite(at + row * get_integer(strides, 0), get_integer(strides, 1), n_columns):
                return 0
        return n_rows

    return takes


def make_takes_labels(dtype: str) -> Callable[..., Any]:
    """A kernel: whether a 1-D array holds contiguous labels. Arguments: addresses of the object and of its dtype's, as
    it should be; how many classes, how many labels."""
    from .memory import get_integer, get_short

    def takes_labels(address, wanted, n_classes, n_labels, unused):
        if get_integer(address + DTYPE, 0) != wanted or get_short(address + N_DIMENSIONS, 0) != 1:
            return 0
        if get_integer(get_integer(address + LENGTHS, 0), 0) != n_labels:
            return 0
        if get_integer(get_integer(address + STRIDES, 0), 0) != WORD or not get_short(address + FLAGS, 0) & ALIGNED:
            return 0
        at, beyond = get_integer(address + DATA, 0), 0
        for i in range(n_labels):
            label = get_integer(at, i)
            beyond += 1 if label < 0 or label >= n_classes else 0
        return 1 if beyond == 0 else 0

    return takes_labels
