# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Arrays on both sides of the engine's door, and the kernel table of the instruction set in use."""

import os

import numpy as np

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from .engine cimport instruction_set as instruction_set_row
from .engine cimport (
    FASTGD_ALIGNMENT,
    fastgd_instruction_sets,
    matrix_bytes,
    matrix_of_shape,
    named_blocks,
    philox_permutation,
    philox_uniform,
)

# The order is that of EACH_ELEMENT_TYPE in kernels.c.
ELEMENT_TYPES = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
cdef dict _element_type_of = {}

cdef const instruction_set_row *_chosen = NULL


cdef const instruction_set_row *_choose() except NULL:
    """The widest instruction set that this processor has, or the one that FASTGD_ISA names."""
    wanted = os.environ.get("FASTGD_ISA", "").strip().lower()
    usable = []
    cdef const instruction_set_row *candidate = fastgd_instruction_sets
    while candidate.name != NULL:
        name = candidate.name.decode()
        if candidate.usable():
            if not wanted or wanted == name:
                return candidate
            usable.append(name)
        candidate += 1
    raise ValueError(f"FASTGD_ISA: got {wanted!r}, expected one of {', '.join(usable)} (what this build and this "
                     "processor both have); unset it to let fastgd choose")


def instruction_set():
    """Name of the instruction set in use."""
    return _chosen.name.decode()


def instruction_set_names():
    """Names of all instruction sets that this build and this processor both have, widest first."""
    names = []
    cdef const instruction_set_row *candidate = fastgd_instruction_sets
    while candidate.name != NULL:
        if candidate.usable():
            names.append(candidate.name.decode())
        candidate += 1
    return names


cdef const kernel_table *table_for(dtype) except NULL:
    return _chosen.float32 if np.dtype(dtype).itemsize == 4 else _chosen.float64


cdef const named_blocks *_find(const named_blocks *blocks, Py_ssize_t count, str kind, str name) except NULL:
    for k in range(count):
        if blocks[k].name.decode() == name:
            return &blocks[k]
    raise LookupError(f"{kind} {name!r}: got a formula that is not built in, expected one of "
                      f"{', '.join(blocks[k].name.decode() for k in range(count))}; pass backend='numpy', which takes any")


cdef block_function activation_block(const kernel_table *table, str name) except? NULL:
    """The block function of an activation; NULL for linear, which leaves its tile alone."""
    return NULL if name == "linear" else _find(table.activations, table.n_activations, "activation", name).block


cdef block_function derivative_block(const kernel_table *table, str name) except? NULL:
    return NULL if name == "linear" else _find(table.activations, table.n_activations, "activation", name).derivative


cdef block_function loss_block(const kernel_table *table, str name) except NULL:
    return _find(table.losses, table.n_losses, "loss", name).block


cdef block_function update_block(const kernel_table *table, str name) except NULL:
    return _find(table.optimizers, table.n_optimizers, "optimizer", name).block


cdef int _code_of(const char *format, Py_ssize_t itemsize) except -1:
    key = (format, itemsize)
    code = _element_type_of.get(key)
    if code is None:
        kind = np.dtype(format.decode()).kind
        name = ("u" if kind == "b" else kind) + str(itemsize)
        if name not in ELEMENT_TYPES or format[0] in b"<>!=" and len(format) > 1:
            raise TypeError(f"got elements of type {format.decode()!r}, expected native real numbers of 1 to 8 bytes; "
                            "convert with numpy.asarray(x, dtype=numpy.float32)")
        code = _element_type_of[key] = ELEMENT_TYPES.index(name)
    return code


cdef class Source:
    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.rows = self.buffer.shape[0]
        self.columns = self.buffer.shape[1] if self.buffer.ndim == 2 else 1
        self.at.data = <const char *>self.buffer.buf
        self.at.row_stride = self.buffer.strides[0]
        self.at.column_stride = self.buffer.strides[1] if self.buffer.ndim == 2 else self.buffer.itemsize
        self.at.element_type = _code_of(self.buffer.format, self.buffer.itemsize)

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


cdef class Panels:
    """rows x columns of a dtype, zero at first."""

    def __cinit__(self, Py_ssize_t rows, Py_ssize_t columns, dtype):
        self.table = table_for(dtype)
        self.at = matrix_of_shape(rows, columns, self.table.panel_width, self.table.real_size)
        size = matrix_bytes(&self.at, self.table.panel_width, self.table.real_size)
        self.memory = np.zeros(size + FASTGD_ALIGNMENT, np.uint8)
        cdef uintptr_t address = self.memory.ctypes.data
        self.at.data = <char *>((address + FASTGD_ALIGNMENT - 1) // FASTGD_ALIGNMENT * FASTGD_ALIGNMENT)

    cdef object write(self, array):
        """Copy a 2-D array in, from row 0."""
        cdef Source source = Source(array)
        self.table.gather(&source.at, NULL, 0, source.rows, &self.at)

    cdef object read(self, Py_ssize_t first, Py_ssize_t last, out):
        """Copy rows first .. last-1 out to a 2-D array of the dtype; any strides."""
        cdef Py_buffer buffer
        PyObject_GetBuffer(out, &buffer, PyBUF_STRIDED)
        self.table.scatter(&self.at, first, last, <char *>buffer.buf, buffer.strides[0], buffer.strides[1])
        PyBuffer_Release(&buffer)
        return out


def first_nonfinite(array):
    """Row and column of the first NaN or infinity of a 1-D or 2-D array, or None; nothing as large as the array is made."""
    cdef Source source = Source(array)
    cdef const kernel_table *table = _chosen.float32
    cdef Py_ssize_t row
    with nogil:
        row = table.first_nonfinite_row(&source.at, source.columns, 0, source.rows)
    if row == source.rows:
        return None
    bad = ~np.isfinite(array[row])
    return int(row), int(np.argmax(bad)) if array.ndim == 2 else 0


def elementary(str name, x):
    """A function of one argument, as the formulas have it, of a contiguous float32 or float64 array."""
    cdef const kernel_table *table = table_for(x.dtype)
    cdef block_function function = _find(table.elementary, table.n_elementary, "function", name).block
    y = np.empty_like(x)
    cdef void *arrays[2]
    arrays[0], arrays[1] = <void *><uintptr_t>x.ctypes.data, <void *><uintptr_t>y.ctypes.data
    function(arrays, x.size, NULL)
    return y


def permutation(uint64_t seed, uint32_t epoch, Py_ssize_t n):
    """The order in which an epoch visits its rows."""
    order = np.empty(n, np.intp)
    cdef Py_ssize_t[::1] view = order
    if n:
        with nogil:
            philox_permutation(seed, epoch, n, &view[0])
    return order


def uniform(uint64_t seed, uint32_t stream, uint32_t substream, Py_ssize_t n):
    """The first n draws of a stream, uniform on [0, 1), float64."""
    draws = np.empty(n)
    cdef double[::1] view = draws
    cdef Py_ssize_t i
    with nogil:
        for i in range(n):
            view[i] = philox_uniform(seed, i, stream, substream)
    return draws


_chosen = _choose()
