# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Arrays on both sides of the engine's door, and the kernel table of the instruction set in use."""

import os

import numpy as np

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from ...optional import import_optional

from .engine cimport instruction_set as instruction_set_row
from .engine cimport (
    ELEMENTWISE,
    FASTGD_ALIGNMENT,
    OWN_ROWWISE,
    REALS,
    ROWWISE,
    SOFTMAX_CROSS_ENTROPY,
    fastgd_instruction_sets,
    matrix_bytes,
    matrix_of_shape,
    named_blocks,
    own_row_loss,
    philox_permutation,
    philox_uniform,
    replay_function,
)

# The order is that of EACH_ELEMENT_TYPE in kernels.c.
ELEMENT_TYPES = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
# By the one character of a format, plus 1; 0 where nobody has asked yet.
cdef signed char _codes[256]
cdef int _intp = ELEMENT_TYPES.index(f"i{sizeof(Py_ssize_t)}")
cdef object _ndarray = np.ndarray

# Looking through fewer numbers than this takes less than a microsecond or two: not worth letting go of the interpreter,
# which another thread would keep for some milliseconds.
cdef Py_ssize_t BRIEF_LOOK = 8192

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
    """What the kernels were compiled for, of those that this processor has."""
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


cdef const named_blocks *_find(const named_blocks *blocks, Py_ssize_t count, str name) except NULL:
    for k in range(count):
        if blocks[k].name.decode() == name:
            return &blocks[k]
    raise LookupError(f"{name!r}: got no formula of this build, expected one of "
                      f"{', '.join(blocks[k].name.decode() for k in range(count))}; build fastgd anew")


cdef block_function _rendered(const kernel_table *table, declared, block) except NULL:
    """The block function of a user's own formula: compiled by Numba, and there as long as the process."""
    import_optional("numba", f"{declared.kind} {declared.formula.name!r} in backend 'cython'")
    from ..._formula import numba_

    cdef uintptr_t address = numba_.block(block, "float32" if table.real_size == 4 else "float64").address
    return <block_function>address


cdef object _own_rows(const kernel_table *table, loss):
    """The address of a user's own row-wise loss."""
    import_optional("numba", f"loss {loss.name!r} in backend 'cython'")
    from ..._formula import rows

    return rows.compile_(loss.row_function, "float32" if table.real_size == 4 else "float64", loss.by_class).address


cdef block_function activation_block(const kernel_table *table, activation) except? NULL:
    """The block function of an activation; NULL for linear, which leaves its tile alone."""
    if not activation.built_in:
        return _rendered(table, activation, activation.forward_block)
    return NULL if activation.name == "linear" else _find(table.activations, table.n_activations, activation.name).block


cdef block_function derivative_block(const kernel_table *table, activation) except? NULL:
    if not activation.built_in:
        return _rendered(table, activation, activation.derivative_block)
    return NULL if activation.name == "linear" else _find(table.activations, table.n_activations, activation.name).derivative


cdef block_function link_block(const kernel_table *table, str name) except? NULL:
    """What a link does to one score; NULL for linear, which does nothing, and where `row_link_of` has it."""
    if name == "linear" or row_link_of(table, name) != NULL:
        return NULL
    if name == "sigmoid":
        return _find(table.activations, table.n_activations, name).block
    return _find(table.elementary, table.n_elementary, name).block


cdef row_link row_link_of(const kernel_table *table, str name):
    """What a link does to rows of scores; NULL for one that takes each score by itself."""
    for k in range(table.n_row_links):
        if table.row_links[k].name.decode() == name:
            return table.row_links[k].link
    return NULL


cdef object scalars_of(declared, dtype, Py_ssize_t n_outputs=0):
    """The parameters of an activation or loss as its kernel reads them; never empty."""
    values = declared.scalars(n_outputs) if n_outputs else list(declared.parameters.values())
    return np.array([*values, 0.0], dtype)


cdef loss_plan plan_of_loss(const kernel_table *table, loss) except *:
    """The kernel of a loss, without its scalars."""
    cdef loss_plan plan
    plan.kind, plan.elementwise, plan.rowwise, plan.own, plan.scalars = ELEMENTWISE, NULL, NULL, NULL, NULL
    plan.compares_rows = loss.compares_rows
    if not loss.rowwise:
        plan.elementwise = loss_block(table, loss)
        return plan
    if not loss.built_in:
        plan.kind, plan.own_takes_labels = OWN_ROWWISE, loss.by_class
        plan.own = <own_row_loss><uintptr_t>_own_rows(table, loss)
        return plan
    # Without smoothing and weights it has a kernel of its own, that is quicker.
    plan.kind = SOFTMAX_CROSS_ENTROPY if loss.is_default and loss.name == "softmax_cross_entropy" else ROWWISE
    for k in range(table.n_row_losses):
        if table.row_losses[k].name.decode() == loss.name:
            plan.rowwise = table.row_losses[k].loss
    return plan


cdef block_function loss_block(const kernel_table *table, loss) except NULL:
    return _find(table.losses, table.n_losses, loss.name).block if loss.built_in else _rendered(table, loss, loss.block)


cdef block_function update_block(const kernel_table *table, rule) except NULL:
    return _find(table.optimizers, table.n_optimizers, rule.name).block if rule.built_in else _rendered(table, rule, rule.block)


cdef replay_function replay_of(const kernel_table *table, rule):
    """Many steps of a rule without a gradient; NULL of a user's own, which takes them one by one."""
    return _find(table.optimizers, table.n_optimizers, rule.name).replay if rule.built_in else NULL


cdef int _code_of(const char *format, Py_ssize_t itemsize) except -1:
    kind = np.dtype(format.decode()).kind
    name = ("u" if kind == "b" else kind) + str(itemsize)
    if name not in ELEMENT_TYPES or format[0] in b"<>!=" and len(format) > 1:
        raise TypeError(f"got elements of type {format.decode()!r}, expected native real numbers of 1 to 8 bytes; "
                        "convert with numpy.asarray(x, dtype=numpy.float32)")
    return ELEMENT_TYPES.index(name)


@cython.final
@cython.freelist(8)
cdef class Source:
    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        if self.buffer.ndim not in (1, 2):
            raise ValueError(f"got a {self.buffer.ndim}-D array, expected one of 1 or 2 dimensions; reshape it")
        cdef const char *format = self.buffer.format
        # One character is a type of native size, order and alignment: what it stands for is looked up once.
        cdef signed char *known = &_codes[<unsigned char>format[0]] if format[1] == 0 else NULL
        self.rows = self.buffer.shape[0]
        self.columns = self.buffer.shape[1] if self.buffer.ndim == 2 else 1
        self.at.data = <const char *>self.buffer.buf
        self.at.row_stride = self.buffer.strides[0]
        self.at.column_stride = self.buffer.strides[1] if self.buffer.ndim == 2 else self.buffer.itemsize
        if known != NULL and known[0] > 0:
            self.at.element_type = known[0] - 1
            return
        self.at.element_type = _code_of(format, self.buffer.itemsize)
        if known != NULL:
            known[0] = self.at.element_type + 1

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


@cython.final
@cython.freelist(8)
cdef class Sink:
    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED)

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
        cdef Sink to = Sink(out)
        self.table.scatter(&self.at, first, last, <char *>to.buffer.buf, to.buffer.strides[0], to.buffer.strides[1])
        return out


cdef Py_ssize_t _first_nonfinite_row(Source source, const kernel_table *table) noexcept:
    cdef Py_ssize_t row
    if source.rows * source.columns < BRIEF_LOOK:
        return table.first_nonfinite_row(&source.at, source.columns, 0, source.rows)
    with nogil:
        row = table.first_nonfinite_row(&source.at, source.columns, 0, source.rows)
    return row


def first_nonfinite(array, dtype):
    """Row and column of the first element of a floating 2-D array that is not finite in `dtype`, or None."""
    cdef Source source = Source(array)
    cdef const kernel_table *table = table_for(dtype)
    cdef Py_ssize_t row = _first_nonfinite_row(source, table)
    if row == source.rows:
        return None
    # That row, seen as a column.
    cdef source_array elements = source.at
    elements.data += row * source.at.row_stride
    elements.row_stride = source.at.column_stride
    return row, table.first_nonfinite_row(&elements, 1, 0, source.columns)


# The quick look ------------------------------------------------------------------------------------------------------
# What the door would find in a dozen looks of 50 nanoseconds each, from one. It only ever says that an array can be used
# as it lies; whatever else there is to say, and to refuse, the door says.

cdef Source source_as_it_lies(array):
    """The source of a NumPy array of native, aligned numbers in one or two dimensions; None for anything else."""
    if type(array) is not _ndarray:
        return None
    try:
        return Source(array)
    except (BufferError, TypeError, ValueError):
        return None


cdef bint holds_reals(Source source, Py_ssize_t columns, const kernel_table *table):
    """Whether there are rows of so many columns, all finite in the table's type; one dimension is one column."""
    return source.rows > 0 and source.columns == columns and _first_nonfinite_row(source, table) == source.rows


cdef bint holds_targets(Source source, Py_ssize_t columns, int kind, const kernel_table *table):
    """The same, and all of a kind of target."""
    return holds_reals(source, columns, table) and (
        kind == REALS or table.holds_targets(&source.at, source.rows, columns, kind))


cdef bint holds_labels(Source source, Py_ssize_t n_classes, const kernel_table *table):
    """Whether these are labels of a whole type, each from 0 to n_classes - 1."""
    return source.buffer.ndim == 1 and table.holds_labels(&source.at, source.rows, n_classes)


cdef bint lie_as_labels(Source source):
    """Whether the engine can read labels where they lie."""
    return source.at.element_type == _intp and source.at.row_stride == sizeof(Py_ssize_t)


cdef bint holds_results(Source out, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t real_size):
    """Whether it is writeable, C-contiguous, and of that shape and floating-point type."""
    return (out.buffer.readonly == 0 and out.buffer.ndim == 2 and out.rows == rows and out.columns == columns
            and out.at.element_type < 2 and out.buffer.itemsize == real_size
            and out.at.column_stride == real_size and out.at.row_stride == columns * real_size)


cdef bint lie_apart(Source a, Source b):
    """Whether all elements of the one have lower addresses than all of the other."""
    return _end(a) <= _begin(b) or _end(b) <= _begin(a)


cdef const char *_begin(Source source):
    return source.at.data + min(0, (source.rows - 1) * source.at.row_stride) \
        + min(0, (source.columns - 1) * source.at.column_stride)


cdef const char *_end(Source source):
    return source.at.data + max(0, (source.rows - 1) * source.at.row_stride) \
        + max(0, (source.columns - 1) * source.at.column_stride) + source.buffer.itemsize


def elementary(str name, x):
    """A function of one argument, as the formulas have it, of a contiguous float32 or float64 array."""
    cdef const kernel_table *table = table_for(x.dtype)
    cdef block_function function = _find(table.elementary, table.n_elementary, name).block
    y = np.empty_like(x)
    cdef void *arrays[2]
    arrays[0], arrays[1] = <void *><uintptr_t>x.ctypes.data, <void *><uintptr_t>y.ctypes.data
    function(arrays, x.size, NULL)
    return y


def permutation(uint64_t seed, uint32_t epoch, Py_ssize_t n):
    """The order of n rows in an epoch, intp."""
    order = np.empty(n, np.intp)
    cdef Py_ssize_t[::1] view = order
    if n:
        with nogil:
            philox_permutation(seed, epoch, n, &view[0])
    return order


def uniform(uint64_t seed, uint32_t stream, uint32_t substream, Py_ssize_t count, Py_ssize_t start=0):
    """`count` draws of a stream, from number `start` on, which is even: float64 in [0, 1)."""
    draws = np.empty(count)
    cdef double[::1] view = draws
    cdef Py_ssize_t i
    with nogil:
        for i in range(count):
            view[i] = philox_uniform(seed, start + i, stream, substream)
    return draws


_chosen = _choose()
