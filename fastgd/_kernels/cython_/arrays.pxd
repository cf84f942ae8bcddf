from cpython.buffer cimport Py_buffer

from .engine cimport block_function, kernel_table, loss_plan, matrix, replay_function, row_link, source_array


cdef const kernel_table *table_for(dtype) except NULL
cdef block_function activation_block(const kernel_table *table, activation) except? NULL
cdef block_function derivative_block(const kernel_table *table, activation) except? NULL
cdef block_function link_block(const kernel_table *table, str name) except? NULL
cdef row_link row_link_of(const kernel_table *table, str name)
cdef object scalars_of(declared, dtype, Py_ssize_t n_outputs=*)
cdef loss_plan plan_of_loss(const kernel_table *table, loss) except *
cdef block_function loss_block(const kernel_table *table, loss) except NULL
cdef block_function update_block(const kernel_table *table, rule) except NULL
cdef replay_function replay_of(const kernel_table *table, rule)


cdef class Source:
    """A user's array, held while the engine reads it."""
    cdef Py_buffer buffer
    cdef source_array at
    cdef Py_ssize_t rows, columns


cdef class Sink:
    """An array of the caller's, held while the engine writes to it."""
    cdef Py_buffer buffer


cdef Source source_as_it_lies(array)
cdef bint holds_reals(Source source, Py_ssize_t columns, const kernel_table *table)
cdef bint holds_targets(Source source, Py_ssize_t columns, int kind, const kernel_table *table)
cdef bint holds_labels(Source source, Py_ssize_t n_classes, const kernel_table *table)
cdef bint lie_as_labels(Source source)
cdef bint holds_results(Source out, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t real_size)
cdef bint lie_apart(Source a, Source b)


cdef class Panels:
    """A matrix of the engine and its memory."""
    cdef const kernel_table *table
    cdef object memory
    cdef matrix at

    cdef object write(self, array)
    cdef object read(self, Py_ssize_t first, Py_ssize_t last, out)
