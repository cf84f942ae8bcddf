# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The kernels on a user's own arrays: moved into panels, through the same kernels as training, and back.

Arrays come checked: one dtype, C-contiguous outputs. Shapes: x (N, I), w (I, O), b (O,), kept, d_out, scores (N, O).
"""

import threading

import numpy as np

from libc.string cimport memset

from .arrays cimport Panels, Source, activation_block, derivative_block, plan_of_loss, scalars_of, table_for, update_block
from .engine cimport (
    FASTGD_ALIGNMENT,
    FASTGD_MAX_STATES,
    STORE_GRADIENT,
    block_function,
    comparison_scratch,
    dense_layer,
    engine_enter,
    engine_leave,
    kernel_table,
    loss_plan,
    matrix,
    matrix_bytes,
    matrix_of_shape,
    scored_rows,
    target_rows,
    transposed_rows,
)


cdef enum:
    # Bytes that a thread keeps between two calls.
    MOST_KEPT = 1 << 26


cdef class _Arena:
    """Memory for the matrices of one call, kept for the next call of the same thread.

    Fresh memory from the system costs more than the products: at 128 x 784 x 256 two thirds of a backward pass went into
    page faults. Calls that need more than MOST_KEPT bytes pay them.
    """

    cdef object memory
    cdef list extra
    cdef Py_ssize_t used

    def __cinit__(self):
        self.memory, self.extra, self.used = np.empty(0, np.uint8), [], 0

    cdef object reset(self):
        """Begin a call; if the last one did not fit, with more memory."""
        if self.extra and self.used <= MOST_KEPT:
            self.memory = np.empty(self.used, np.uint8)
        self.extra, self.used = [], 0

    cdef matrix take(self, const kernel_table *table, Py_ssize_t rows, Py_ssize_t columns) except *:
        """Room for a matrix; what it holds is undefined but for the last panel, whose padding is zero."""
        cdef matrix m = matrix_of_shape(rows, columns, table.panel_width, table.real_size)
        cdef Py_ssize_t size = matrix_bytes(&m, table.panel_width, table.real_size)
        cdef Py_ssize_t last = rows * m.last_width * table.real_size
        memory = self.memory[self.used:]
        if len(memory) < size + FASTGD_ALIGNMENT:
            memory = np.empty(size + FASTGD_ALIGNMENT, np.uint8)
            self.extra.append(memory)
        self.used += size + FASTGD_ALIGNMENT
        cdef size_t address = memory.ctypes.data
        m.data = <char *>((address + FASTGD_ALIGNMENT - 1) // FASTGD_ALIGNMENT * FASTGD_ALIGNMENT)
        memset(m.data + size - last, 0, last)
        return m


_of_thread = threading.local()


cdef _Arena _arena():
    """This thread's arena, ready for a call."""
    arena = getattr(_of_thread, "arena", None)
    if arena is None:
        arena = _of_thread.arena = _Arena()
    (<_Arena>arena).reset()
    return arena


cdef class _Layer:
    """One dense layer over buffers that live as long as the call."""

    cdef const kernel_table *table
    cdef dense_layer at
    cdef object scalars
    cdef _Arena arena

    def __cinit__(self, Py_ssize_t n_inputs, Py_ssize_t n_outputs, activation, dtype):
        self.table, self.arena = table_for(dtype), _arena()
        self.at.n_inputs, self.at.n_outputs = n_inputs, n_outputs
        self.at.activate = activation_block(self.table, activation)
        self.at.differentiate = derivative_block(self.table, activation)
        self.at.keeps_output = self.at.activate == NULL or activation.derivative_of == "output"
        self.scalars = scalars_of(activation, dtype)
        self.at.activation_scalars = <const void *><size_t>self.scalars.ctypes.data

    cdef matrix own(self, Py_ssize_t rows, Py_ssize_t columns, array=None) except *:
        cdef matrix m = self.arena.take(self.table, rows, columns)
        cdef Source source
        if array is not None:
            source = Source(array)
            self.table.gather(&source.at, NULL, 0, source.rows, &m)
        return m

    cdef object read(self, matrix at, Py_ssize_t first, Py_ssize_t last, out):
        """Rows first .. last-1 to a C-contiguous array."""
        cdef Py_ssize_t size = self.table.real_size
        self.table.scatter(&at, first, last, <char *><size_t>out.ctypes.data, at.columns * size, size)


def dense_forward(x, w, b, activation, out, kept):
    """out = f(x w + b); kept, if given, receives what the derivative reads.

    Contract: x[N,I] w[I,O] b[O] -> out[N,O] kept[N,O]?
    """
    cdef Py_ssize_t rows = x.shape[0]
    cdef _Layer layer = _Layer(w.shape[0], w.shape[1], activation, x.dtype)
    cdef matrix input = layer.own(rows, w.shape[0], x)
    layer.at.weight = layer.own(w.shape[0] + 1, w.shape[1], np.concatenate([w, b[None]]))
    layer.at.output = layer.own(rows, w.shape[1])
    layer.at.kept = layer.at.output if layer.at.keeps_output else layer.own(rows, w.shape[1])
    with nogil:
        before = engine_enter()
        layer.table.dense_forward(&layer.at, &input, rows, 0, layer.table.product_units(rows, layer.at.n_outputs))
        engine_leave(before)
    layer.read(layer.at.output, 0, rows, out)
    if kept is not None:
        layer.read(layer.at.kept, 0, rows, kept)


def dense_backward(x, w, kept, d_out, activation, dx, dw, db):
    """dz = d_out f'(kept); dx = dz w^T, dw = x^T dz, db = the sum of dz over rows.

    Contract: x[N,I] w[I,O] kept[N,O] d_out[N,O] -> dx[N,I] dw[I,O] db[O]
    """
    cdef Py_ssize_t rows = x.shape[0], n_inputs = w.shape[0], n_outputs = w.shape[1]
    cdef _Layer layer = _Layer(n_inputs, n_outputs, activation, x.dtype)
    cdef dense_layer below
    cdef matrix input = layer.own(rows, n_inputs, x)
    memset(&below, 0, sizeof(below))
    below.delta = layer.own(rows, n_inputs)
    layer.at.delta = layer.own(rows, n_outputs, d_out)
    layer.at.kept = layer.own(rows, n_outputs, kept)
    layer.at.weight = layer.own(n_inputs + 1, n_outputs, w)
    layer.at.transposed = layer.own(transposed_rows(n_outputs), n_inputs)
    layer.at.gradient = layer.own(n_inputs + 1, n_outputs)
    with nogil:
        before = engine_enter()
        layer.table.differentiate(&layer.at, 0, rows)
        layer.table.transpose_weight(&layer.at, 0, layer.table.product_units(1, n_inputs))
        layer.table.backward_input(&layer.at, &below, rows, 0, layer.table.product_units(rows, n_inputs))
        layer.table.backward_weight(&layer.at, &input, rows, STORE_GRADIENT, NULL, 0,
                                    layer.table.weight_units(&layer.at))
        engine_leave(before)
    if dx is not None:
        layer.read(below.delta, 0, rows, dx)
    layer.read(layer.at.gradient, 0, n_inputs, dw)
    layer.read(layer.at.gradient, n_inputs, n_inputs + 1, db)


def loss_gradient(scores, targets, loss, weights, d_scores):
    """The weighted mean loss; d_scores is its gradient.

    Contract: scores[N,O] targets[N,T]|[N]:label(O) sample_weight[N]:float64? -> out[N,O]
    """
    cdef const kernel_table *table = table_for(scores.dtype)
    cdef Py_ssize_t rows = scores.shape[0], columns = scores.shape[1]
    cdef Panels score = Panels(rows, columns, scores.dtype), delta = Panels(rows, columns, scores.dtype)
    cdef Panels values = Panels(rows, columns // loss.outputs_per_target, scores.dtype)
    cdef loss_plan plan = plan_of_loss(table, loss)
    cdef target_rows target
    cdef scored_rows scored
    cdef const Py_ssize_t[::1] labels
    cdef double[::1] losses = np.empty(rows)
    cdef const double[::1] row_weights
    scored.weighted = weights is not None
    weights = np.ones(rows) if weights is None else weights
    row_weights = weights
    scale = (weights / (weights.sum() * (1 if loss.rowwise else columns))).astype(scores.dtype)
    row_sums = np.empty_like(scale)
    scratch = np.empty(comparison_scratch(rows, columns, table.panel_width) if loss.compares_rows else 0, scores.dtype)
    loss_scalars = scalars_of(loss, scores.dtype, columns)
    plan.scalars = <const void *><size_t>loss_scalars.ctypes.data
    target.labels, target.values = NULL, values.at
    score.write(scores)
    if targets.ndim == 1:
        labels = targets
        target.labels = &labels[0]
    else:
        values.write(targets)
    scored.score, scored.target, scored.delta, scored.count = &score.at, &target, &delta.at, rows
    scored.row_weights, scored.losses = &row_weights[0], &losses[0]
    scored.row_scale, scored.row_sums = <const void *><size_t>scale.ctypes.data, <void *><size_t>row_sums.ctypes.data
    scored.scratch = <void *><size_t>scratch.ctypes.data
    with nogil:
        before = engine_enter()
        table.loss_gradient(&plan, &scored, 0, rows)
        engine_leave(before)
    delta.read(0, rows, d_scores)
    return float(weights @ np.asarray(losses) / weights.sum())


def parameter_update(w, g, states, rule, scalars):
    """One step in place, with the rule's scalars in its order.

    Contract: w[...] g[...] states[...]* -> w[...] states[...]*
    """
    cdef block_function update = update_block(table_for(w.dtype), rule)
    cdef void *arrays[2 + FASTGD_MAX_STATES]
    cdef Py_ssize_t size = w.size
    real_scalars = np.ascontiguousarray(scalars, w.dtype)
    cdef const void *scalars_at = <const void *><size_t>real_scalars.ctypes.data
    gradient = g.copy()   # The update leaves the old weights there.
    for k, array in enumerate((w, gradient, *states)):
        arrays[k] = <void *><size_t>array.ctypes.data
    with nogil:
        before = engine_enter()
        update(arrays, size, scalars_at)
        engine_leave(before)
