# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""A network of the engine: its memory, and jobs handed over with the team of threads that does them."""

import threading
from collections import namedtuple
from collections.abc import Iterator

import numpy as np

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastgd cimport (
    FASTGD_BAD_ROWS,
    FASTGD_MODEL_CAPSULE,
    FASTGD_MODEL_VERSION,
    FASTGD_NO_SCALARS,
    FASTGD_RETIRED,
    fastgd_model,
)

from ..rows import SparseRows
from .arrays cimport (
    Panels,
    Sink,
    Source,
    activation_block,
    derivative_block,
    holds_labels,
    holds_reals,
    holds_results,
    holds_targets,
    lie_apart,
    lie_as_labels,
    link_block,
    plan_of_loss,
    replay_of,
    row_link_of,
    scalars_of,
    source_as_it_lies,
    table_for,
    update_block,
)
from .engine cimport (
    BATCH_NORM,
    DENSE,
    DROPOUT,
    SOFTMAX,
    EVALUATE,
    FASTGD_MAX_SCALARS,
    FASTGD_MAX_STATES,
    FASTGD_MOST_ROWS,
    GRADIENTS,
    LAYER_NORM,
    NONNEGATIVES,
    NONZEROS,
    POSITIVES,
    PREDICT,
    PROBABILITIES,
    REALS,
    SIGNS,
    TRAIN,
    comparison_scratch,
    dense_layer,
    kernel_table,
    matrix,
    network,
    parts_of,
    source_array,
    sparse_batch,
    step_history,
    transposed_rows,
)

from ..backend import PLAIN_STEP

# Rules that leave a weight and its states alone where there is no gradient, unless decay draws the weight to zero.
RESTING_RULES = ("sgd", "adagrad")
# Those that do so where all states are zero, as they are until a column has had a gradient.
RESTING_AT_ZERO = ("momentum", "nesterov", "rmsprop", "rmsprop_momentum", "rmsprop_centered", "adadelta", "adam", "amsgrad",
                   "nadam", "yogi", "lion")

cdef enum:
    # Steps that columns of a sparse X may be behind: the table of their scalars stays in the L2 cache.
    HISTORY_STEPS = 2048
    # Bytes of a column's weights below which steps are not put off, unless they can be left out: a call for each of them
    # takes longer than to go through all columns together.
    NARROW_COLUMN = 64
    # Rows of a sparse batch that is not cut into parts: their gradients would be stored whole.
    MOST_SPARSE_ROWS = 4096
    # Rows at a time where only the forward pass runs: whole tiles, of 14 rows or of 6. With 256, inputs of 784 columns and
    # the weights of 256 units do not find room in an L2 cache of 1 MB together, and 1,024 rows take 3 % longer.
    PREDICT_ROWS = 126
    # A job of fewer products than this, at most some ten microseconds, does not let go of the interpreter: another thread
    # of Python's would take it, and keep it for milliseconds.
    BRIEF_JOB = 50_000
    # Rows of a part of a batch where there is only one.
    WHOLE_BATCH = 1 << 30


_KINDS = {"dense": DENSE, "dropout": DROPOUT, "softmax": SOFTMAX, "batch_norm": BATCH_NORM, "layer_norm": LAYER_NORM}
_WITHOUT_PARAMETERS = (DROPOUT, SOFTMAX)
# Those kinds of targets that a quick look can tell.
_TARGET_KINDS = {"real": REALS, "nonnegative": NONNEGATIVES, "positive": POSITIVES, "nonzero": NONZEROS,
                 "probability": PROBABILITIES, "sign": SIGNS}


class _Gate:
    """Where a team gathers until its size is known; it admits nobody if an interrupt came before that."""

    def __init__(self):
        self.opened, self.admits = threading.Event(), False


cdef void *_address(array):
    return <void *><size_t>array.ctypes.data


cdef class Network:
    """Parameters, buffers and schedules of a stack of layers; see the backend contract in ``fastgd._kernels``."""

    cdef const kernel_table *table
    cdef network at
    cdef readonly Py_ssize_t n_layers, n_inputs
    cdef Py_ssize_t n_weights, n_scalars, n_targets
    cdef Py_ssize_t n_labels   # -1, which is taken for unsigned: any number is a label.
    cdef readonly object dtype
    cdef object rule
    cdef list specs, owned, buffers, learning
    cdef cython.pymutex lock
    cdef object order_memory, label_memory, sparse_memory, sparse_buffers, row_starts
    cdef Py_ssize_t most_dense_rows, sparse_room
    cdef bint takes_labels, has_gradients, passes_back, is_embedded
    cdef int target_kind

    def __cinit__(self, Py_ssize_t n_inputs, layers, loss, rule, dtype, step=PLAIN_STEP):
        self.dtype = np.dtype(dtype)
        self.table = table_for(self.dtype)
        self.n_inputs = self.at.n_inputs = n_inputs
        self.n_layers = self.at.n_layers = len(layers)
        self.most_dense_rows = FASTGD_MOST_ROWS
        self.specs, self.owned, self.buffers = list(layers), [], []
        self.at.layers = <dense_layer *>calloc(self.n_layers, sizeof(dense_layer))
        if self.at.layers == NULL:
            raise MemoryError(f"{self.n_layers} layers")
        self._take_rule(rule)
        self._take_step(step)
        learns = False
        for k in range(self.n_layers):
            n_inputs = self._take_layer(&self.at.layers[k], self.specs[k], n_inputs, learns)
            learns = learns or self.at.layers[k].kind not in _WITHOUT_PARAMETERS
        self.learning = [k for k in range(self.n_layers) if self.at.layers[k].kind not in _WITHOUT_PARAMETERS]
        self._make_squares()
        self.n_targets = n_inputs   # By now those of the loss.
        self._take_loss(loss)

    def __dealloc__(self):
        free(self.at.layers)

    cdef object _take_loss(self, loss):
        if loss is None:
            return
        cdef Py_ssize_t n_outputs = self.n_targets
        self.at.by_class, self.at.by_sides = loss.by_class, loss.two_sided
        self.takes_labels, self.target_kind = loss.takes_labels, _TARGET_KINDS.get(loss.target, -1)
        self.n_targets = n_outputs // loss.outputs_per_target
        self.n_labels = -1 if loss.compares_rows else n_outputs
        self.at.loss = plan_of_loss(self.table, loss)
        self.at.loss.scalars = self._own_scalars(loss, n_outputs)
        self.at.link, self.at.row_link = link_block(self.table, loss.link), row_link_of(self.table, loss.link)
        self.at.outputs_per_target = loss.outputs_per_target
        if loss.compares_rows:
            self.most_dense_rows = WHOLE_BATCH

    cdef object _take_rule(self, rule):
        if rule is None:
            return
        if len(rule.states) > FASTGD_MAX_STATES or len(rule.scalars) > FASTGD_MAX_SCALARS:
            raise ValueError(f"optimizer {rule.name}: got {len(rule.states)} states and {len(rule.scalars)} scalars, expected "
                             f"at most {FASTGD_MAX_STATES} and {FASTGD_MAX_SCALARS}")
        self.at.rule.update, self.at.rule.replay = update_block(self.table, rule), replay_of(self.table, rule)
        self.at.rule.n_states, self.n_scalars = len(rule.states), len(rule.scalars)
        self.at.rule.scalars = self.at.rule_scalars
        self.rule = rule
        places = [rule.scalars.index(name) if name in rule.scalars else -1 for name in ("learning_rate", "coupled", "decay")]
        self.at.place_of_rate, self.at.place_of_coupled, self.at.place_of_decay = places
        self.at.rests = rule.formula.name in RESTING_RULES
        self.at.history.rests_at_zero = rule.formula.name in RESTING_AT_ZERO

    cdef object _take_step(self, step):
        """What is done in a step besides the rule; before the layers are taken."""
        self.at.clip_norm, self.at.clip_slack = step.clip_norm, step.clip_slack
        self.at.averages, self.at.batches_a_step = step.averages, step.accumulate

    cdef object _make_squares(self):
        """Room for what clipping by the norm adds up."""
        if self.at.clip_norm == INFINITY:
            return
        units = sum(self.table.weight_units(&self.at.layers[k]) for k in self.learning)
        squares = np.zeros(units)
        self.owned.append(squares)
        self.at.squares = <double *><size_t>squares.ctypes.data

    cdef Py_ssize_t _take_layer(self, dense_layer *layer, spec, Py_ssize_t n_inputs, bint passes_back) except -1:
        """Returns the number of its outputs."""
        layer.kind, layer.passes_back = _KINDS[spec.kind], passes_back
        layer.n_outputs, layer.keeps_output = n_inputs, True
        if layer.kind == DROPOUT:
            layer.dropped, layer.kept_scale = <uint32_t>(spec.rate * 2.0**32), 1.0 / (1.0 - spec.rate)
        if layer.kind in _WITHOUT_PARAMETERS:
            return n_inputs
        layer.n_inputs = 1
        if layer.kind == DENSE:
            layer.n_inputs, layer.n_outputs = n_inputs, spec.n_outputs
            layer.l1, layer.l2 = layer.own_l1, layer.own_l2 = spec.l1, spec.l2
            layer.nonnegative, layer.max_norm = spec.nonnegative, spec.max_norm
            self.at.constrains = self.at.constrains or spec.nonnegative or spec.max_norm != 0
            self.at.penalized = self.at.penalized or spec.l1 != 0 or spec.l2 != 0
        else:
            layer.eps = spec.eps
        if layer.kind == BATCH_NORM:
            layer.momentum, self.most_dense_rows = spec.momentum, WHOLE_BATCH
            layer.running, layer.moments = self._own(2, n_inputs), self._own(2, n_inputs)
        self._take_parameters(layer)
        self._take_activation(layer, spec.activation)
        return layer.n_outputs

    cdef object _take_parameters(self, dense_layer *layer):
        self.n_weights += (layer.n_inputs + 1) * layer.n_outputs
        layer.weight = self._own(layer.n_inputs + 1, layer.n_outputs)
        for k in range(self.at.rule.n_states):
            layer.state[k] = self._own(layer.n_inputs + 1, layer.n_outputs)
        if self.at.averages:
            layer.average = self._own(layer.n_inputs + 1, layer.n_outputs)
        if self.at.batches_a_step > 1:
            layer.gradient_sum = self._own(layer.n_inputs + 1, layer.n_outputs)
        if layer.kind == DENSE and layer.passes_back and not self.table.is_beyond_cache(layer):
            layer.transposed = self._own(transposed_rows(layer.n_outputs), layer.n_inputs)

    cdef object _take_activation(self, dense_layer *layer, activation):
        layer.activate = activation_block(self.table, activation)
        layer.differentiate = derivative_block(self.table, activation)
        layer.keeps_output = layer.activate == NULL or activation.derivative_of == "output"
        layer.activation_scalars = self._own_scalars(activation)

    cdef const void *_own_scalars(self, declared, Py_ssize_t n_outputs=0) except NULL:
        """The parameters of an activation or loss as its kernel reads them."""
        scalars = scalars_of(declared, self.dtype, n_outputs)
        self.owned.append(scalars)
        return <const void *><size_t>scalars.ctypes.data

    cdef matrix _own(self, Py_ssize_t rows, Py_ssize_t columns) except *:
        cdef Panels panels = Panels(rows, columns, self.dtype)
        self.owned.append(panels)
        return panels.at

    # Weights and slots -------------------------------------------------------------------------------------------

    cdef object _read(self, dense_layer *layer, matrix at):
        """[W, b] from one matrix that holds both; of a normalisation two vectors."""
        cdef Py_ssize_t n_inputs = layer.n_inputs, size = self.table.real_size
        both = np.empty((n_inputs + 1, layer.n_outputs), self.dtype)
        cdef char *data = <char *><size_t>both.ctypes.data
        self.table.scatter(&at, 0, n_inputs + 1, data, layer.n_outputs * size, size)
        return [both[:n_inputs] if layer.kind == DENSE else both[0].copy(), both[n_inputs].copy()]

    cdef object _write(self, matrix at, weight, bias):
        cdef Py_ssize_t row = 0
        for piece in weight if isinstance(weight, Iterator) else (weight,):
            row = self._write_rows(&at, row, np.atleast_2d(piece))
        self._write_rows(&at, row, np.atleast_2d(bias))

    cdef Py_ssize_t _write_rows(self, matrix *at, Py_ssize_t row, array) except -1:
        """Put an array into the rows from number `row` on; returns that of the next."""
        cdef Source rows = Source(array)
        # Row i of the matrix is read from row i of the source.
        rows.at.data -= row * rows.at.row_stride
        self.table.gather(&rows.at, NULL, row, row + rows.rows, at)
        return row + rows.rows

    cdef object _settle(self):
        """Give columns of a sparse X what they are owed by steps they had no part in."""
        if self.at.history.steps > 0:
            with nogil:
                self.table.settle(&self.at)

    def get_weights(self):
        """Fresh copies: [W1, b1, W2, ...], with gain and shift of a normalisation in its place."""
        with self.lock:
            self._settle()
            return [a for k in self.learning for a in self._read(&self.at.layers[k], self.at.layers[k].weight)]

    def set_weights(self, weights):
        """Replace all of them, one after the other, by real numbers of any dtype; a matrix may come in pieces."""
        with self.lock:
            self._settle()
            given = iter(weights)
            for k in self.learning:
                self._write(self.at.layers[k].weight, next(given), next(given))

    def get_statistics(self):
        """Fresh copies of running means and variances: [mean, variance] of each batch normalisation."""
        with self.lock:
            return [a for k in self.learning if self.at.layers[k].kind == BATCH_NORM
                    for a in self._read(&self.at.layers[k], self.at.layers[k].running)]

    def set_statistics(self, statistics):
        """Replace all of them."""
        with self.lock:
            given = iter(statistics)
            for k in self.learning:
                if self.at.layers[k].kind == BATCH_NORM:
                    self._write(self.at.layers[k].running, next(given), next(given))

    def get_slots(self):
        """For each state of the rule, the average and the sum of gradients, if any, what `get_weights` gives."""
        with self.lock:
            self._settle()
            return [[a for k in self.learning for a in self._read(&self.at.layers[k], self._slot(k, s))]
                    for s in range(self._n_slots())]

    cdef Py_ssize_t _n_slots(self):
        return self.at.rule.n_states + self.at.averages + (self.at.batches_a_step > 1)

    cdef matrix _slot(self, Py_ssize_t k, Py_ssize_t s):
        """A state of layer k, or after the last one the average, and the sum of gradients."""
        if s < self.at.rule.n_states:
            return self.at.layers[k].state[s]
        if s == self.at.rule.n_states and self.at.averages:
            return self.at.layers[k].average
        return self.at.layers[k].gradient_sum

    def set_slots(self, slots):
        """Replace all of them."""
        with self.lock:
            self._settle()
            for s in range(self._n_slots()):
                given = iter(slots[s])
                for k in self.learning:
                    self._write(self._slot(k, s), next(given), next(given))

    # Buffers -----------------------------------------------------------------------------------------------------

    cdef object _bytes(self, Py_ssize_t size):
        memory = np.zeros(size, np.uint8)
        self.buffers.append(memory)
        return memory.ctypes.data

    cdef matrix _buffer(self, Py_ssize_t rows, Py_ssize_t columns) except *:
        cdef Panels panels = Panels(rows, columns, self.dtype)
        self.buffers.append(panels)
        return panels.at

    cdef object _reserve(self, Py_ssize_t rows, bint backward, X):
        """Make room for the activations of so many rows of X, and for their gradients if a backward pass will run.

        Should memory run out on the way, the network has room for nothing, and says so: the next call begins anew.
        """
        self._reserve_rows(rows, backward, not isinstance(X, SparseRows))
        if isinstance(X, SparseRows):
            self._reserve_elements(X.most_stored(self.at.capacity))

    cdef object _reserve_rows(self, Py_ssize_t rows, bint backward, bint dense):
        cdef dense_layer *layer
        dense = dense or self.at.input.data != NULL
        if rows <= self.at.capacity and (self.passes_back or not backward) and dense == (self.at.input.data != NULL):
            return
        rows, backward = max(rows, self.at.capacity), backward or self.passes_back
        self.buffers, self.at.capacity, self.passes_back = [], 0, False
        self.at.input.data = NULL
        if dense:
            self.at.input = self._buffer(rows, self.n_inputs)
        widest = 0
        for k in range(self.n_layers):
            layer = &self.at.layers[k]
            layer.output = self._buffer(rows, layer.n_outputs)
            layer.kept = layer.output if layer.keeps_output else self._buffer(rows, layer.n_outputs)
            if layer.kind in (BATCH_NORM, LAYER_NORM):
                layer.normalized = self._buffer(rows, layer.n_outputs)
            if layer.kind == LAYER_NORM:
                layer.row_factors = <void *><size_t>self._bytes(rows * self.table.real_size)
            widest = max(widest, layer.n_outputs)
        last = self.at.layers[self.n_layers - 1].n_outputs
        self.at.target.values = self._buffer(rows, self.n_targets)
        self._share_deltas(rows, widest if backward else last)
        self.at.batch_labels = <Py_ssize_t *><size_t>self._bytes(rows * sizeof(Py_ssize_t))
        self.at.row_scale = <void *><size_t>self._bytes(rows * self.table.real_size)
        self.at.row_sums = <void *><size_t>self._bytes(rows * self.table.real_size)
        if self.at.loss.compares_rows:
            size = comparison_scratch(rows, last, self.table.panel_width) * self.table.real_size
            self.at.scratch = <void *><size_t>self._bytes(size)
        self.at.row_losses = <double *><size_t>self._bytes(rows * sizeof(double))
        self.at.row_weights = <double *><size_t>self._bytes(rows * sizeof(double))
        self.at.capacity, self.passes_back = rows, backward

    cdef object _reserve_elements(self, Py_ssize_t elements):
        """Make room for so many elements of a sparse batch, and at first for what is kept of each column."""
        cdef sparse_batch *batch = &self.at.batch
        if self.sparse_memory is None:
            columns = np.zeros((2, self.n_inputs), np.uint32)
            scalars, penalty = np.zeros((HISTORY_STEPS, FASTGD_MAX_SCALARS), self.dtype), np.zeros(self.n_inputs)
            sums = np.zeros((3, HISTORY_STEPS + 1))
            sums[1, 0] = 1.0
            batch.number, self.at.history.taken = <uint32_t *>_address(columns[0]), <uint32_t *>_address(columns[1])
            self.at.history.scalars, self.at.history.room = _address(scalars), HISTORY_STEPS
            self.at.history.penalty, self.at.history.weight_sum = <double *>_address(penalty), <double *>_address(sums[0])
            self.at.history.scale, self.at.history.squares = <double *>_address(sums[1]), <double *>_address(sums[2])
            self.at.history.factor = 1.0
            self.sparse_memory = columns, scalars, penalty, sums
        rows = np.zeros(self.at.capacity + 1, np.intp)
        batch.row_start = <Py_ssize_t *>_address(rows)
        if elements > self.sparse_room or self.sparse_buffers is None:
            self.sparse_room = elements
            whole, starts = np.zeros((4, elements + 1), np.uint32), np.zeros(elements + 3, np.intp)
            values = np.zeros((2, elements + 1), self.dtype)
            self.sparse_memory[0][0] = 0
            batch.live = 0
            batch.column, batch.slot = <uint32_t *>_address(whole[0]), <uint32_t *>_address(whole[1])
            batch.live_column, batch.row = <uint32_t *>_address(whole[2]), <uint32_t *>_address(whole[3])
            batch.column_start = <Py_ssize_t *>_address(starts)
            batch.value, batch.value_by_column = _address(values[0]), _address(values[1])
            # Two numbers of 8 bytes for each column; the engine wants them where a vector may begin.
            gradient = np.zeros((elements + 1 if self.at.layers[0].n_outputs * self.table.real_size <= 16 else 0, 2))
            batch.gradient = _address(gradient)
            self.sparse_buffers = whole, starts, values, gradient
        self.row_starts = rows

    cdef object _share_deltas(self, Py_ssize_t rows, Py_ssize_t widest):
        """Gradients of pre-activations: neighbouring layers take turns on two buffers."""
        cdef dense_layer *layer
        cdef matrix turns[2]
        turns[0], turns[1] = self._buffer(rows, widest), self._buffer(rows, widest)
        for k in range(self.n_layers):
            layer = &self.at.layers[k]
            layer.delta = layer.output
            layer.delta.data = turns[(self.n_layers - 1 - k) % 2].data

    cdef object _keep_gradients(self):
        """Room for gradients that must outlive their tile: of batches in parts, and of a user who asks for them."""
        if self.has_gradients:
            return
        for k in self.learning:
            self.at.layers[k].gradient = self._own(self.at.layers[k].n_inputs + 1, self.at.layers[k].n_outputs)
        self.has_gradients = True

    # Jobs: the Python side ---------------------------------------------------------------------------------------

    def takes(self, X):
        """Whether X, which may be anything, is an array that the door would pass on as it is; at a quick look."""
        return self._takes_features(source_as_it_lies(X))

    def takes_batch(self, X, targets):
        """The same of X and targets together."""
        cdef Source x = source_as_it_lies(X), y = source_as_it_lies(targets)
        if not self._takes_features(x) or y is None or y.rows != x.rows:
            return False
        if self.takes_labels:
            return holds_labels(y, self.n_labels, self.table)
        return self.target_kind >= 0 and holds_targets(y, self.n_targets, self.target_kind, self.table)

    cdef bint _takes_features(self, Source x):
        return x is not None and x.buffer.ndim == 2 and holds_reals(x, self.n_inputs, self.table)

    def takes_output(self, X, out, Py_ssize_t layer):
        """The same of X and an array for the outputs of a layer."""
        cdef Source x = source_as_it_lies(X), to = source_as_it_lies(out)
        return (self._takes_features(x) and to is not None and lie_apart(x, to)
                and holds_results(to, x.rows, self.at.layers[layer].n_outputs, self.table.real_size))

    cdef object _hold(self, X):
        """Make X the rows of the job; returns what must be held until it is done."""
        cdef Source x, values, columns, starts
        self.at.job.is_sparse = isinstance(X, SparseRows)
        if not self.at.job.is_sparse:
            x = Source(X)
            self.at.job.x, self.at.job.n_rows = x.at, x.rows
            return x
        values, columns, starts = Source(X.values), Source(X.columns), Source(X.starts)
        self.at.job.n_rows = starts.rows - 1
        self.at.job.rows.values, self.at.job.rows.element_type = values.at.data, values.at.element_type
        self.at.job.rows.columns, self.at.job.rows.wide_columns = columns.at.data, columns.buffer.itemsize == 8
        self.at.job.rows.starts = <const Py_ssize_t *>starts.at.data
        return values, columns, starts

    def train(self, X, targets, weights, *, Py_ssize_t batch_size, uint64_t seed, bint shuffle, Py_ssize_t epoch,
              Py_ssize_t step, Py_ssize_t n_steps, uint64_t steps_before, scalars, losses, int n_threads, order=None,
              penalty_scales=None):
        """Run `n_steps` steps, from step `step` of epoch `epoch` on, rolling over the ends of epochs.

        Rows come in the order given instead of a shuffled one, and penalties are as many times theirs as a step's scale says.
        """
        cdef Source scalar_table = Source(scalars), given = None if order is None else Source(order)
        cdef Source scales = None if penalty_scales is None else Source(penalty_scales)
        cdef Sink loss_sums = Sink(losses)
        cdef Py_ssize_t parts
        with self.lock:
            held = self._hold(X)
            parts = self._parts(batch_size)
            self._plan_history(np.asarray(scalars), parts > 1)
            self._reserve(parts_of(batch_size, parts), True, X)
            if parts > 1 or self.at.squares != NULL or self.at.batches_a_step > 1:
                self._keep_gradients()
            self.at.job.draws_order = shuffle and given is None
            self.at.order = self._order_of(self.at.job.n_rows) if self.at.job.draws_order else NULL
            self.at.job.orders = NULL
            if given is not None:
                self.at.order = <Py_ssize_t *>given.at.data
                self.at.job.orders = self.at.order if given.buffer.ndim == 2 else NULL
            self.at.job.penalty_scales = NULL
            if scales is not None:
                self.at.job.penalty_scales = <const double *>scales.at.data
            self.at.job.batch_size, self.at.job.n_steps = batch_size, n_steps
            self.at.job.step, self.at.job.steps_per_epoch = step, parts_of(self.at.job.n_rows, batch_size)
            self.at.job.seed, self.at.job.steps_before = seed, steps_before
            self.at.job.epoch = self.at.job.first_epoch = epoch
            self.at.job.n_scalars = scalar_table.columns
            self._place_bias_scalars(scalar_table.columns)
            self.at.job.scalars = <const double *>scalar_table.at.data
            self.at.job.losses = <double *>loss_sums.buffer.buf
            self._run(TRAIN, held, targets, weights, n_threads, 3.0 * batch_size * n_steps)
            if self.is_embedded:
                # Compiled code reads the weights as they lie.
                self._settle()
            return self.at.now.status, self.at.now.done

    cdef object _place_bias_scalars(self, Py_ssize_t columns):
        """Biases have scalars of their own where a step has more than one for each of the rule's and those of the step itself."""
        self.at.rule.bias_scalars = self.at.rule.scalars
        if columns - self.at.averages - (self.at.batches_a_step > 1) > self.n_scalars:
            self.at.rule.bias_scalars = <char *>self.at.rule.scalars + self.n_scalars * self.table.real_size

    cdef Py_ssize_t _parts(self, Py_ssize_t rows):
        """Into how many parts a batch of the job goes."""
        self.at.most_rows = max(self.most_dense_rows, MOST_SPARSE_ROWS) if self.at.job.is_sparse else self.most_dense_rows
        return parts_of(rows, self.at.most_rows)

    cdef object _plan_history(self, scalars, bint in_parts):
        """How columns without a gradient will take the steps to come, which have these scalars; of a dense X there are none."""
        cdef step_history *history = &self.at.history
        penalized = self.specs[0].kind == "dense" and (self.specs[0].l1 != 0 or self.specs[0].l2 != 0)
        narrow = self.specs[0].kind == "dense" and self.at.layers[0].n_outputs * self.table.real_size < NARROW_COLUMN
        whole = self.at.squares != NULL or self.at.batches_a_step > 1 or self.at.averages or self.at.constrains
        scales = self.at.job.is_sparse and not whole and self._steps_are_factors(scalars)
        # A batch in parts updates all columns, and counts the penalty of all.
        at_once = whole or narrow and not scales or penalized and in_parts
        plain = scales and not in_parts and self.at.layers[0].n_outputs == 1 and self._steps_are_plain(scalars)
        if not self.at.job.is_sparse or scales != history.scales or plain != history.is_plain or at_once:
            self._settle()
        history.scales, history.at_once, history.is_plain = scales, at_once, plain
        history.counts_penalty = self.at.job.is_sparse and penalized and not at_once and not plain

    cdef bint _steps_are_factors(self, scalars):
        """Whether all that such steps do to weights without a gradient is to scale them."""
        given = {name: scalars[:, k] for k, name in enumerate(self.rule.scalars)}
        spec = self.specs[0]
        if self.rule.formula.name == "sgd":
            # A bound clips what the penalty adds to the gradient.
            return spec.l1 == 0 and (spec.l2 == 0 or "bound" not in given or np.isinf(given["bound"]).all())
        return (self.rule.formula.name in RESTING_RULES and spec.l1 == spec.l2 == 0
                and ("coupled" not in given or not given["coupled"].any()))

    cdef bint _steps_are_plain(self, scalars):
        """Whether such steps are w - rate g but for a factor."""
        bounds = [scalars[:, k] for k, name in enumerate(self.rule.scalars) if name == "bound"]
        return self.rule.formula.name == "sgd" and all(np.isinf(bound).all() for bound in bounds)

    def evaluate(self, X, targets, weights, *, int n_threads):
        """sum(w_i l_i) without penalties, sum(w_i), and sum(w_i correct_i) or NaN where nothing is correct."""
        with self.lock:
            held = self._hold(X)
            self._settle()
            self._reserve(len(X) if self.at.loss.compares_rows else min(len(X), PREDICT_ROWS), False, X)
            self._run(EVALUATE, held, targets, weights, n_threads, len(X))
            correct = self.at.now.correct_sum if self.at.by_class or self.at.by_sides else float("nan")
            return self.at.now.loss_sum, self.at.now.total_weight, correct

    def loss_and_gradients(self, X, targets, weights, *, uint64_t seed, uint64_t steps_before, int n_threads):
        """The weighted mean with penalties, and its gradients in the order of `get_weights`."""
        cdef double loss = 0
        with self.lock:
            held = self._hold(X)
            self._settle()
            self._reserve(parts_of(len(X), self._parts(len(X))), True, X)
            self._keep_gradients()
            self.at.job.seed, self.at.job.steps_before = seed, steps_before
            self._run(GRADIENTS, held, targets, weights, n_threads, 3.0 * len(X))
            gradients = [a for k in self.learning for a in self._read(&self.at.layers[k], self.at.layers[k].gradient)]
            loss = self.at.now.loss_sum / self.at.now.total_weight
        if self.at.penalized:
            values = self.get_weights()
            for place, k in enumerate(self.learning):
                if self.at.layers[k].kind == DENSE:
                    w = values[2 * place]
                    gradients[2 * place] += self.specs[k].l2 * w + self.specs[k].l1 * np.sign(w)
        return loss, gradients

    def predict(self, X, out, *, bint link, Py_ssize_t layer, int n_threads):
        """Write the activations of a layer to `out`; of the last one with the loss's link if asked."""
        cdef Sink result = Sink(out)
        with self.lock:
            held = self._hold(X)
            self._settle()
            self._reserve(min(len(X), PREDICT_ROWS), False, X)
            self.at.job.layer, self.at.job.link = layer, link
            self.at.job.out = <char *>result.buffer.buf
            self.at.job.out_row_stride, self.at.job.out_column_stride = result.buffer.strides[0], result.buffer.strides[1]
            self._run(PREDICT, held, None, None, n_threads, len(X))

    cdef Py_ssize_t *_order_of(self, Py_ssize_t n_rows) except NULL:
        """Memory for the order of so many rows."""
        if self.order_memory is None or len(self.order_memory) != n_rows:
            self.order_memory = np.empty(n_rows, np.intp)
        return <Py_ssize_t *>Sink(self.order_memory).buffer.buf

    cdef const Py_ssize_t *_labels_of(self, Source y) except NULL:
        """Labels of whatever whole type as the engine reads them."""
        if lie_as_labels(y):
            return <const Py_ssize_t *>y.at.data
        if self.label_memory is None or len(self.label_memory) < y.rows:
            self.label_memory = np.empty(y.rows, np.intp)
        cdef Sink labels = Sink(self.label_memory)
        self.table.gather_labels(&y.at, y.rows, <Py_ssize_t *>labels.buffer.buf)
        return <const Py_ssize_t *>labels.buffer.buf

    cdef object _run(self, int kind, held, targets, weights, int n_threads, double passes):
        """Hold the arrays, gather the team, run the job: so many passes of one row through all the weights."""
        cdef Source y, row_weights
        self.at.job.kind = kind
        self.at.history.counts_penalty = self.at.history.counts_penalty and kind == TRAIN
        self.at.history.is_plain = self.at.history.is_plain and kind == TRAIN
        if kind != TRAIN:
            self.at.order = NULL
        self.at.job.labels = NULL
        self.at.target.labels = NULL
        self.at.job.weights = NULL
        if targets is not None:
            y = Source(targets)
            if self.takes_labels and y.buffer.ndim == 1:
                self.at.job.labels = self._labels_of(y)
                self.at.target.labels = self.at.batch_labels
            else:
                self.at.job.y = y.at
        if weights is not None:
            row_weights = Source(weights)
            self.at.job.weights = <const double *>row_weights.at.data
        memset(&self.at.now, 0, sizeof(self.at.now))
        members = self._gather_team(n_threads)
        if not members and passes * self.n_weights < BRIEF_JOB and not self.at.loss.compares_rows:
            self.table.work(&self.at, 0)
        else:
            with nogil:
                self.table.work(&self.at, 0)
        for member in members:
            member.join()

    cdef object _gather_team(self, int n_threads):
        """Python's own threads: no pool that outlives the call, nothing global, nothing to go wrong after a fork."""
        self.at.barrier.size = 1
        if n_threads <= 1:
            return ()
        gate = _Gate()
        members = []
        try:
            for k in range(1, n_threads):
                member = threading.Thread(target=self._join_team, args=(k, gate), name=f"fastgd-{k}", daemon=True)
                member.start()
                members.append(member)
            gate.admits = True
        except RuntimeError:
            gate.admits = True   # The system gives no more threads: those there are do the work, with the same result.
        finally:
            self.at.barrier.size = 1 + len(members)
            gate.opened.set()
        return members

    def _join_team(self, int member, gate):
        gate.opened.wait()
        if gate.admits:
            with nogil:
                self.table.work(&self.at, member)

    # For callers that are compiled themselves --------------------------------------------------------------------

    def embedded(self, next_scalars):
        """This network as a struct with functions that need no Python; see `Embedded`."""
        return Embedded(self, next_scalars)


# Bytes of a row that `forward_rows` may put on the stack, three times.
cdef Py_ssize_t MOST_ROW_BYTES = 1 << 17


ctypedef struct embedded_state:
    const kernel_table *table
    network *at
    void *owner                             # the Embedded
    int retired
    Py_ssize_t done                         # steps since `take_steps`
    Py_ssize_t ready                        # rows of scalars that are left
    Py_ssize_t n_scalars
    Py_ssize_t most_rows                    # of a part of a batch
    const double *scalars                   # the next one
    uint64_t steps_before, seed


cdef void _predict_embedded(const fastgd_model *model, const void *x, Py_ssize_t n_rows, int link, void *out) noexcept nogil:
    cdef embedded_state *state = <embedded_state *>model.engine
    cdef Py_ssize_t i
    if not state.retired:
        state.table.forward_rows(state.at, x, n_rows, link, out)
        return
    for i in range(n_rows * model.n_outputs):
        if model.real_size == 4:
            (<float *>out)[i] = NAN
        else:
            (<double *>out)[i] = NAN


cdef int _train_embedded(fastgd_model *model, const void *x, const void *targets, const double *weights, Py_ssize_t n_rows,
                         double *loss) noexcept nogil:
    cdef embedded_state *state = <embedded_state *>model.engine
    cdef network *at = state.at
    cdef double sums[2]
    loss[0], sums[0], sums[1] = NAN, 0, 0
    if state.retired:
        return FASTGD_RETIRED
    if n_rows < model.least_rows or n_rows > model.most_rows:
        return FASTGD_BAD_ROWS
    if state.ready == 0 and not _refill(state):
        return FASTGD_NO_SCALARS
    memset(&at.job, 0, sizeof(at.job))
    memset(&at.now, 0, sizeof(at.now))
    at.job.kind, at.job.n_rows, at.job.batch_size = TRAIN, n_rows, n_rows
    at.job.n_steps = at.job.steps_per_epoch = 1
    at.job.x = _rows_at(x, model.n_inputs, model.real_size)
    at.job.y = _rows_at(targets, model.n_targets, model.real_size)
    at.job.labels = <const Py_ssize_t *>targets if model.takes_labels else NULL
    at.target.labels = at.batch_labels if model.takes_labels else NULL
    at.job.weights, at.job.losses, at.job.scalars, at.job.n_scalars = weights, sums, state.scalars, state.n_scalars
    at.job.seed, at.most_rows = state.seed, state.most_rows
    at.job.steps_before = state.steps_before + <uint64_t>state.done
    at.order, at.barrier.size = NULL, 1
    state.table.work(at, 0)
    state.ready -= at.now.done
    state.done += at.now.done
    state.scalars += at.now.done * state.n_scalars
    loss[0] = sums[0] / sums[1] if at.now.done else NAN
    return at.now.status


cdef source_array _rows_at(const void *data, Py_ssize_t columns, int real_size) noexcept nogil:
    cdef source_array rows
    rows.data, rows.row_stride, rows.column_stride = <const char *>data, columns * real_size, real_size
    rows.element_type = real_size == 8
    return rows


cdef int _refill(embedded_state *state) noexcept with gil:
    """Ask Python for the scalars of the next steps. False: that has raised an error, which was printed."""
    try:
        (<Embedded>state.owner).refill()
        return True
    except BaseException:
        import sys

        sys.unraisablehook(_Unraisable(*sys.exc_info(), "the optimizer's scalars for the next steps", None))
        return False


_Unraisable = namedtuple("_Unraisable", ["exc_type", "exc_value", "exc_traceback", "err_msg", "object"])


@cython.final
cdef class Embedded:
    """A network as compiled code sees it: a `fastgd_model`, as ``include/fastgd.h`` describes it.

    `next_scalars` gives, when it is called, a table of the optimizer's scalars for the next steps and the number of the
    steps before these.
    """

    cdef fastgd_model model
    cdef embedded_state state
    cdef Network of
    cdef object next_scalars, table

    def __cinit__(self, Network of, next_scalars):
        cdef Py_ssize_t widest = of.n_inputs
        self.model.least_rows = 1
        for k in range(of.n_layers):
            widest = max(widest, of.at.layers[k].n_outputs)
            if of.at.layers[k].kind == BATCH_NORM:
                self.model.least_rows = 2
        if widest * of.table.real_size > MOST_ROW_BYTES:
            raise ValueError(f"layers: got one of {widest} columns, expected at most {MOST_ROW_BYTES // of.table.real_size} "
                             "for use in compiled code, where a row lies on the stack; call model.predict")
        self.of, self.next_scalars = of, next_scalars
        self.state.table, self.state.at, self.state.owner = of.table, &of.at, <void *>self
        self.state.most_rows, of.is_embedded = of.most_dense_rows, True
        of._settle()
        self.model.version, self.model.real_size = FASTGD_MODEL_VERSION, <int>of.table.real_size
        self.model.takes_labels = of.takes_labels
        self.model.n_inputs, self.model.n_targets = of.n_inputs, of.n_targets
        self.model.n_outputs = of.at.layers[of.n_layers - 1].n_outputs
        self.model.predict, self.model.train, self.model.engine = _predict_embedded, _train_embedded, &self.state

    def reserve(self, Py_ssize_t most_rows):
        """Make room for training steps of so many rows."""
        cdef Network of = self.of
        if most_rows <= self.model.most_rows:
            return
        cdef Py_ssize_t parts = parts_of(most_rows, of.most_dense_rows)
        with of.lock:
            of._reserve_rows(parts_of(most_rows, parts), True, True)
            if parts > 1 or of.at.squares != NULL or of.at.batches_a_step > 1:
                of._keep_gradients()
        self.model.most_rows = most_rows

    def refill(self):
        """Scalars for the next steps."""
        cdef Network of = self.of
        table, steps_before, self.state.seed = self.next_scalars()
        self.table = np.ascontiguousarray(table)
        self.state.steps_before, self.state.done = steps_before, 0
        self.state.scalars, self.state.n_scalars = <const double *><uintptr_t>self.table.ctypes.data, self.table.shape[1]
        of._place_bias_scalars(self.table.shape[1])
        self.state.ready = self.table.shape[0]

    def take_steps(self):
        """The steps done since this was asked last; what comes next is asked for anew."""
        cdef Py_ssize_t done = self.state.done
        self.state.done = self.state.ready = 0
        return done

    def retire(self):
        """The model has another network."""
        self.state.retired = True

    @property
    def address(self):
        return <uintptr_t>&self.model

    @property
    def predict_address(self):
        return <uintptr_t>self.model.predict

    @property
    def train_address(self):
        return <uintptr_t>self.model.train

    @property
    def shape(self):
        """n_inputs, n_outputs, n_targets, takes_labels."""
        return self.model.n_inputs, self.model.n_outputs, self.model.n_targets, bool(self.model.takes_labels)

    def capsule(self):
        return PyCapsule_New(&self.model, FASTGD_MODEL_CAPSULE, NULL)
