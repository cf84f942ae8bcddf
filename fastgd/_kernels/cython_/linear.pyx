# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Linear models by stochastic gradient descent, some epochs a call; the loops are in linear.h."""

import threading

import numpy as np

from cpython.buffer cimport Py_buffer, PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from .arrays cimport Panels, plan_of_loss, scalars_of, table_for
from .engine cimport FASTGD_ALIGNMENT, kernel_table, linear_job, linear_output


def xorshift_permutation(Py_ssize_t n, seed):
    """0 to n-1 in the order that scikit-learn's linear models shuffle rows to, intp."""
    order = np.arange(n, dtype=np.intp)
    cdef Py_ssize_t[::1] at = order
    cdef uint32_t state = seed or 1
    cdef Py_ssize_t i, j
    with nogil:
        for i in range(n - 1):
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            j = i + (state & 0x7fffffff) % <uint32_t>(n - i)
            at[i], at[j] = at[j], at[i]
    return order


cdef void *_address(array) except? NULL:
    """Where an array is that is held as long as this is used."""
    cdef Py_buffer buffer
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &buffer, PyBUF_FULL_RO)
    PyBuffer_Release(&buffer)
    return buffer.buf


cdef object _whole_vectors(Py_ssize_t n_rows, Py_ssize_t n_columns, Py_ssize_t width, dtype):
    """Zeros (n_rows, n_columns or more): a row is a number of whole vectors, and begins where one may.

    What a step stores, the next one loads: of the part of a vector it would have to wait until that is in the cache
    (a quarter of a step of 30 columns).
    """
    cdef Py_ssize_t columns = (n_columns + width - 1) // width * width
    memory = np.zeros(n_rows * columns + FASTGD_ALIGNMENT // dtype.itemsize, dtype)
    first = -<size_t>_address(memory) % FASTGD_ALIGNMENT // dtype.itemsize
    return memory[first:first + n_rows * columns].reshape(n_rows, columns)


# Rows of fewer bytes altogether, which stay in the L2 cache, are copied to where vectors begin before that many epochs: a load
# across two lines takes two turns, which is a fifth of the time of an epoch of the digits.
cdef enum:
    COPIED_BYTES = 1 << 20
    EPOCHS_WORTH_A_COPY = 4


cdef class LinearDescent:
    """One fit of a linear model; see `Backend`."""

    cdef const kernel_table *table
    cdef linear_job job
    cdef linear_output *outputs
    cdef linear_output **active
    cdef Py_ssize_t n_outputs
    cdef object held, W, b, mean_b, lock
    cdef object unaligned               # dense rows that are not worth a copy yet; else None
    cdef object copied                  # arrays of the caller's, each with what is learnt in its place
    cdef readonly object best, n_worse, pace
    cdef Panels score, delta

    def __cinit__(self, X, targets, weights, W, *given, **named):
        self.n_outputs = len(W)
        self.outputs = <linear_output *>calloc(self.n_outputs, sizeof(linear_output))
        self.active = <linear_output **>calloc(self.n_outputs, sizeof(void *))
        if self.outputs == NULL or self.active == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.outputs)
        free(self.active)

    def __init__(self, X, targets, weights, W, b, *, loss, int step, double l1, double l2, Py_ssize_t batch_size,
                 double intercept_share, labels, class_weights, double other_target, Py_ssize_t average_from=0,
                 mean_W=None, mean_b=None):
        dtype = W.dtype
        self.table, self.lock = table_for(dtype), threading.Lock()
        self.W, self.b, self.mean_b = W, b, mean_b
        self.best, self.n_worse, self.pace = np.full(len(W), np.inf), np.zeros(len(W), np.intp), np.ones(len(W))
        weight, mean, charged = W, mean_W, np.zeros_like(W) if l1 > 0 else None
        if isinstance(X, np.ndarray):
            weight, mean, charged = [
                None if rows is None else _whole_vectors(len(W), W.shape[1], self.table.panel_width, dtype)
                for rows in (W, mean, charged)
            ]
        self.copied = [(given, own[:, :W.shape[1]]) for given, own in ((W, weight), (mean_W, mean)) if given is not own]
        buffers = _whole_vectors(4, batch_size * len(W), self.table.panel_width, dtype)
        scalars, product = scalars_of(loss, dtype, len(W)), np.empty(len(W))
        spare, squares = np.empty(X.shape[0], np.intp), np.zeros(X.shape[0])
        self.held = [X, targets, weights, weight, mean, charged, buffers, scalars, product, spare, squares]
        self._take_rows(X, targets, weights)
        self.job.spare = <Py_ssize_t *>_address(spare)
        self.job.batch_size, self.job.step = batch_size, step
        self.job.l1, self.job.l2, self.job.intercept_share = l1, l2, intercept_share
        self.job.average_from, self.job.other_target = average_from, other_target
        self.job.score, self.job.target = _address(buffers[0]), _address(buffers[1])
        self.job.value, self.job.gradient = _address(buffers[2]), _address(buffers[3])
        self.job.product, self.job.squares = <double *>_address(product), <double *>_address(squares)
        self.job.loss = plan_of_loss(self.table, loss)
        self.job.loss.scalars = _address(scalars)
        if loss.rowwise:
            self._make_panels(dtype, len(W))
        for k in range(self.n_outputs):
            self.outputs[k].weight = _address(weight[k])
            self.outputs[k].mean = _address(None if mean is None else mean[k])
            self.outputs[k].charged = _address(None if charged is None else charged[k])
            self.outputs[k].label = labels[k]
            self.outputs[k].negative, self.outputs[k].positive = class_weights[k]
            self.outputs[k].scale = self.outputs[k].divisor = 1.0

    cdef object _take_rows(self, X, targets, weights):
        self.job.rows.n_columns = self.job.rows.row_length = X.shape[1]
        self.unaligned = None
        if isinstance(X, np.ndarray):
            self.job.rows.values = _address(X)
            at = <size_t>self.job.rows.values | <size_t>X.strides[0]
            if at % (self.table.panel_width // 2 * X.itemsize) and X.nbytes <= COPIED_BYTES:
                self.unaligned = X
        else:
            self.job.rows.values, self.job.rows.columns = _address(X.data), _address(X.indices)
            self.job.rows.starts, self.job.rows.index_bytes = _address(X.indptr), X.indices.itemsize
        if targets.dtype.kind == "f":
            self.job.rows.targets = _address(targets)
        else:
            self.job.rows.labels = <const Py_ssize_t *>_address(targets)
        self.job.rows.weights = <const double *>_address(weights)

    cdef object _align_rows(self):
        rows, columns = self.unaligned.shape
        aligned = _whole_vectors(rows, columns, self.table.panel_width // 2, self.unaligned.dtype)
        aligned[:, :columns] = self.unaligned
        self.job.rows.values, self.job.rows.row_length = _address(aligned), aligned.shape[1]
        self.held.append(aligned)
        self.unaligned = None

    cdef object _make_panels(self, dtype, Py_ssize_t n_outputs):
        cdef Py_ssize_t rows = self.job.batch_size
        self.score, self.delta = Panels(rows, n_outputs, dtype), Panels(rows, n_outputs, dtype)
        labels, ones = np.empty(rows, np.intp), np.ones(rows)
        losses, scale, sums = np.empty(rows), np.ones(rows, dtype), np.empty(rows, dtype)
        self.held += [labels, ones, losses, scale, sums]
        self.job.row_score, self.job.row_delta = self.score.at, self.delta.at
        self.job.row_labels = <Py_ssize_t *>_address(labels)
        self.job.row_target.labels = self.job.row_labels
        self.job.row_losses, self.job.row_weights = <double *>_address(losses), <double *>_address(ones)
        self.job.row_scale, self.job.row_sums = _address(scale), _address(sums)

    def run(self, order, permutation, rates, *, Py_ssize_t steps_before, active, Py_ssize_t n_epochs, double tol,
            Py_ssize_t patience, bint watched=True):
        """Some epochs, until an output of the active ones has not improved for `patience` of them; see `Backend`."""
        cdef Py_ssize_t k, n = 0
        cdef double[::1] b = self.b, best = self.best, mean_b
        cdef Py_ssize_t[::1] n_worse = self.n_worse
        cdef const unsigned char[::1] chosen = active
        objectives = np.full(self.n_outputs, np.nan)
        cdef double[::1] objective = objectives
        watched |= patience > 0
        with self.lock:
            for k in range(self.n_outputs):
                if not chosen[k]:
                    continue
                self.active[n] = &self.outputs[k]
                n += 1
                if watched:
                    W = self.W[k]
                    self.outputs[k].squares, self.outputs[k].magnitudes = float(W @ W), float(np.abs(W).sum())
                self.outputs[k].intercept, self.outputs[k].pace = b[k], self.pace[k]
                self.outputs[k].best, self.outputs[k].n_worse = best[k], n_worse[k]
                if self.mean_b is not None:
                    mean_b = self.mean_b
                    self.outputs[k].mean_intercept = mean_b[k]
            self.job.outputs, self.job.n_outputs = self.active, n
            self.job.order, self.job.n_rows = <Py_ssize_t *>_address(order), len(order)
            self.job.permutation = <const Py_ssize_t *>_address(permutation)
            self.job.rates = <const double *>_address(rates)
            self.job.steps_before, self.job.n_epochs = steps_before, n_epochs
            self.job.tol, self.job.patience, self.job.watched, self.job.status = tol, patience, watched, 0
            for given, own in self.copied:
                own[...] = given
            if self.unaligned is not None and n_epochs >= EPOCHS_WORTH_A_COPY:
                self._align_rows()
            with nogil:
                self.table.train_linear(&self.job)
            for given, own in self.copied:
                given[...] = own
            for k in range(self.n_outputs):
                if not chosen[k]:
                    continue
                b[k], best[k], n_worse[k] = self.outputs[k].intercept, self.outputs[k].best, self.outputs[k].n_worse
                if watched:
                    objective[k] = self.outputs[k].objective / len(order)
                if self.mean_b is not None:
                    mean_b[k] = self.outputs[k].mean_intercept
        return self.job.done, self.job.status, objectives
