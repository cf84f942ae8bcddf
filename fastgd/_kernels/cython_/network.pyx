# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The schedules over a whole network: which kernel runs on which buffers, in which order, shared by which threads.

A team of threads enters the engine together and stays for many steps. Each phase's work is cut into units whose results
do not depend on who computes them; a barrier ends the phase. So the bits are the same for any number of threads.
"""

import threading

import numpy as np

cimport cython
from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from .arrays cimport (
    Panels,
    Sink,
    Source,
    activation_block,
    derivative_block,
    holds_labels,
    holds_reals,
    holds_results,
    lie_apart,
    loss_block,
    source_as_it_lies,
    table_for,
    update_block,
)
from .engine cimport (
    ADD_TO_GRADIENT,
    FASTGD_MAX_SCALARS,
    FASTGD_MAX_STATES,
    STORE_GRADIENT,
    UPDATE_WEIGHTS,
    block_function,
    dense_layer,
    engine_enter,
    engine_leave,
    kernel_table,
    matrix,
    philox_permutation,
    source_array,
    target_rows,
    team_barrier,
    team_wait,
    transposed_rows,
    update_rule,
)

cdef enum:
    # Rows whose activations are kept at a time. Larger batches go through in equal parts whose gradients are added up,
    # which bounds the memory and keeps the panels of a part in the L2 cache.
    MOST_ROWS = 512
    # Rows at a time where only the forward pass runs.
    PREDICT_ROWS = 256
    # What train returns.
    DONE = 0
    NONFINITE_LOSS = 1
    NONFINITE_WEIGHTS = 2
    # A job of fewer products than this, some ten microseconds, does not let go of the interpreter: another thread of
    # Python's would take it and keep it for milliseconds.
    BRIEF_JOB = 50_000

cdef enum job_kind:
    TRAIN
    EVALUATE
    GRADIENTS
    PREDICT

cdef enum loss_kind:
    NO_LOSS
    ELEMENTWISE
    SOFTMAX_CROSS_ENTROPY
    MULTICLASS_HINGE

cdef struct job_description:
    job_kind kind
    source_array x
    source_array y                      # values; unused with labels
    const Py_ssize_t *labels
    const double *weights
    Py_ssize_t n_rows, batch_size, n_steps, step, steps_per_epoch
    uint64_t seed
    Py_ssize_t epoch, first_epoch
    const double *scalars
    Py_ssize_t n_scalars
    double *losses                      # (epochs touched, 2)
    Py_ssize_t layer                    # PREDICT: the last layer to run
    bint link
    char *out
    Py_ssize_t out_row_stride, out_column_stride


cdef struct step_state:
    Py_ssize_t first, last              # the batch: positions in the order
    double weight_sum
    bint stop
    int status
    Py_ssize_t done
    int nonfinite_weights
    double loss_sum, correct_sum, total_weight


cdef inline Py_ssize_t share(Py_ssize_t count, int member, int team) noexcept nogil:
    """Where the share of a team's member begins; it ends where the next one's begins."""
    return count * member if team == 1 else count * member // team


cdef inline Py_ssize_t parts_of(Py_ssize_t rows, Py_ssize_t most) noexcept nogil:
    """Into how many parts of at most so many rows."""
    return (rows + most - 1) // most


class _Gate:
    """Where a team gathers until its size is known; it admits nobody if an interrupt came before that."""

    def __init__(self):
        self.opened, self.admits = threading.Event(), False


cdef class Network:
    """Parameters, buffers and schedules of a stack of dense layers; see the backend contract in ``fastgd._kernels``."""

    cdef const kernel_table *table
    cdef dense_layer *layers
    cdef readonly Py_ssize_t n_layers, n_inputs
    cdef Py_ssize_t n_weights
    cdef readonly object dtype
    cdef list specs, owned
    cdef cython.pymutex lock
    cdef loss_kind loss
    cdef block_function elementwise, link_block
    cdef bint softmax_link, by_sides, takes_labels, takes_reals
    cdef update_rule rule
    cdef double rule_scalars[FASTGD_MAX_SCALARS]     # as REAL
    cdef bint penalized, has_gradients, passes_back
    cdef Py_ssize_t capacity
    cdef list buffers
    cdef matrix input
    cdef target_rows target
    cdef Py_ssize_t *batch_labels
    cdef char *row_scale
    cdef double *row_losses
    cdef double *row_weights
    cdef Py_ssize_t *order
    cdef object order_memory
    cdef job_description job
    cdef step_state now
    cdef team_barrier barrier

    def __cinit__(self, Py_ssize_t n_inputs, layers, loss, rule, dtype):
        self.dtype = np.dtype(dtype)
        self.table = table_for(self.dtype)
        self.n_inputs, self.n_layers = n_inputs, len(layers)
        self.specs, self.owned, self.buffers = list(layers), [], []
        self.layers = <dense_layer *>calloc(self.n_layers, sizeof(dense_layer))
        if self.layers == NULL:
            raise MemoryError(f"{self.n_layers} layers")
        self._take_loss(loss)
        self._take_rule(rule)
        for k in range(self.n_layers):
            self._take_layer(&self.layers[k], self.specs[k], n_inputs if k == 0 else self.specs[k - 1].n_outputs, k > 0)

    def __dealloc__(self):
        free(self.layers)

    cdef object _take_loss(self, loss):
        if loss is None:
            return
        self.softmax_link, self.by_sides = loss.link == "softmax", loss.link == "sigmoid"
        self.takes_labels, self.takes_reals = loss.target in ("class", "label"), loss.target == "real"
        if loss.rowwise:
            self.loss = SOFTMAX_CROSS_ENTROPY if loss.name == "softmax_cross_entropy" else MULTICLASS_HINGE
        else:
            self.loss = ELEMENTWISE
            self.elementwise = loss_block(self.table, loss.name)
        self.link_block = activation_block(self.table, "sigmoid" if loss.link == "sigmoid" else "linear")

    cdef object _take_rule(self, rule):
        if rule is None:
            return
        if len(rule.states) > FASTGD_MAX_STATES or len(rule.scalars) > FASTGD_MAX_SCALARS:
            raise ValueError(f"optimizer {rule.name}: got {len(rule.states)} states and {len(rule.scalars)} scalars, expected "
                             f"at most {FASTGD_MAX_STATES} and {FASTGD_MAX_SCALARS}")
        self.rule.update = update_block(self.table, rule.name)
        self.rule.n_states = len(rule.states)
        self.rule.scalars = self.rule_scalars

    cdef object _take_layer(self, dense_layer *layer, spec, Py_ssize_t n_inputs, bint passes_gradient):
        activation = spec.activation
        layer.n_inputs, layer.n_outputs = n_inputs, spec.n_outputs
        layer.l1, layer.l2 = spec.l1, spec.l2
        self.penalized = self.penalized or spec.l1 != 0 or spec.l2 != 0
        self.n_weights += (n_inputs + 1) * spec.n_outputs
        layer.weight = self._own(n_inputs + 1, spec.n_outputs)
        for k in range(self.rule.n_states):
            layer.state[k] = self._own(n_inputs + 1, spec.n_outputs)
        if passes_gradient:
            layer.transposed = self._own(transposed_rows(spec.n_outputs), n_inputs)
        layer.activate = activation_block(self.table, activation.name)
        layer.differentiate = derivative_block(self.table, activation.name)
        layer.keeps_output = layer.activate == NULL or activation.derivative_of == "output"
        scalars = np.array(list(activation.parameters.values()) + [0.0], self.dtype)
        self.owned.append(scalars)
        layer.activation_scalars = <const void *><size_t>scalars.ctypes.data

    cdef matrix _own(self, Py_ssize_t rows, Py_ssize_t columns) except *:
        cdef Panels panels = Panels(rows, columns, self.dtype)
        self.owned.append(panels)
        return panels.at

    # Weights and slots -------------------------------------------------------------------------------------------

    cdef object _read(self, matrix at, Py_ssize_t n_inputs, Py_ssize_t n_outputs):
        """[W, b] from one matrix that holds both."""
        both = np.empty((n_inputs + 1, n_outputs), self.dtype)
        cdef char *data = <char *><size_t>both.ctypes.data
        self.table.scatter(&at, 0, n_inputs + 1, data, n_outputs * self.table.real_size, self.table.real_size)
        return [both[:n_inputs], both[n_inputs].copy()]

    cdef object _write(self, matrix at, weight, bias):
        cdef Source source = Source(np.concatenate([weight, np.reshape(bias, (1, -1))]).astype(self.dtype, copy=False))
        self.table.gather(&source.at, NULL, 0, source.rows, &at)

    def get_weights(self):
        with self.lock:
            return [a for k in range(self.n_layers)
                    for a in self._read(self.layers[k].weight, self.layers[k].n_inputs, self.layers[k].n_outputs)]

    def set_weights(self, weights):
        with self.lock:
            for k in range(self.n_layers):
                self._write(self.layers[k].weight, weights[2 * k], weights[2 * k + 1])

    def get_slots(self):
        with self.lock:
            return [[a for k in range(self.n_layers)
                     for a in self._read(self.layers[k].state[s], self.layers[k].n_inputs, self.layers[k].n_outputs)]
                    for s in range(self.rule.n_states)]

    def set_slots(self, slots):
        with self.lock:
            for s in range(self.rule.n_states):
                for k in range(self.n_layers):
                    self._write(self.layers[k].state[s], slots[s][2 * k], slots[s][2 * k + 1])

    # Buffers -----------------------------------------------------------------------------------------------------

    cdef object _bytes(self, Py_ssize_t size):
        memory = np.zeros(size, np.uint8)
        self.buffers.append(memory)
        return memory.ctypes.data

    cdef matrix _buffer(self, Py_ssize_t rows, Py_ssize_t columns) except *:
        cdef Panels panels = Panels(rows, columns, self.dtype)
        self.buffers.append(panels)
        return panels.at

    cdef object _reserve(self, Py_ssize_t rows, bint backward):
        """Make room for the activations of so many rows, and for their gradients if a backward pass will run.

        Should memory run out on the way, the network has room for nothing, and says so: the next call begins anew.
        """
        cdef dense_layer *layer
        if rows <= self.capacity and (self.passes_back or not backward):
            return
        rows, backward = max(rows, self.capacity), backward or self.passes_back
        self.buffers, self.capacity, self.passes_back = [], 0, False
        self.input = self._buffer(rows, self.n_inputs)
        widest = 0
        for k in range(self.n_layers):
            layer = &self.layers[k]
            layer.output = self._buffer(rows, layer.n_outputs)
            layer.kept = layer.output if layer.keeps_output else self._buffer(rows, layer.n_outputs)
            widest = max(widest, layer.n_outputs)
        last = self.layers[self.n_layers - 1].n_outputs
        self.target.values = self._buffer(rows, last)
        self._share_deltas(rows, widest if backward else last)
        self.batch_labels = <Py_ssize_t *><size_t>self._bytes(rows * sizeof(Py_ssize_t))
        self.row_scale = <char *><size_t>self._bytes(rows * self.table.real_size)
        self.row_losses = <double *><size_t>self._bytes(rows * sizeof(double))
        self.row_weights = <double *><size_t>self._bytes(rows * sizeof(double))
        self.capacity, self.passes_back = rows, backward

    cdef object _share_deltas(self, Py_ssize_t rows, Py_ssize_t widest):
        """Gradients of pre-activations: neighbouring layers take turns on two buffers."""
        cdef dense_layer *layer
        cdef matrix turns[2]
        turns[0], turns[1] = self._buffer(rows, widest), self._buffer(rows, widest)
        for k in range(self.n_layers):
            layer = &self.layers[k]
            layer.delta = layer.output
            layer.delta.data = turns[(self.n_layers - 1 - k) % 2].data

    cdef object _keep_gradients(self):
        """Room for gradients that must outlive their tile: of batches in parts, and of a user who asks for them."""
        if self.has_gradients:
            return
        for k in range(self.n_layers):
            self.layers[k].gradient = self._own(self.layers[k].n_inputs + 1, self.layers[k].n_outputs)
        self.has_gradients = True

    # Jobs: the Python side ---------------------------------------------------------------------------------------

    def takes(self, X, targets=None):
        cdef Source x = source_as_it_lies(X), y
        if x is None or not holds_reals(x, self.n_inputs, self.table.real_size):
            return False
        if targets is None:
            return True
        y = source_as_it_lies(targets)
        if y is None or y.rows != x.rows:
            return False
        if self.takes_labels:
            return holds_labels(y, self.layers[self.n_layers - 1].n_outputs)
        return self.takes_reals and holds_reals(y, self.layers[self.n_layers - 1].n_outputs, self.table.real_size)

    def takes_output(self, out, X, Py_ssize_t layer):
        cdef Source at = source_as_it_lies(out), x = source_as_it_lies(X)
        return (at is not None and x is not None and lie_apart(at, x)
                and holds_results(at, x.rows, self.layers[layer].n_outputs, self.table.real_size))

    def train(self, X, targets, weights, *, Py_ssize_t batch_size, uint64_t seed, bint shuffle, Py_ssize_t epoch,
              Py_ssize_t step, Py_ssize_t n_steps, scalars, losses, int n_threads):
        cdef Source x = Source(X), scalar_table = Source(scalars)
        cdef Sink loss_sums = Sink(losses)
        cdef Py_ssize_t parts = parts_of(batch_size, MOST_ROWS)
        with self.lock:
            self._reserve(parts_of(batch_size, parts), True)
            if parts > 1:
                self._keep_gradients()
            self.order = self._order_of(x.rows) if shuffle else NULL
            self.job.batch_size, self.job.n_steps = batch_size, n_steps
            self.job.step, self.job.steps_per_epoch = step, parts_of(x.rows, batch_size)
            self.job.seed = seed
            self.job.epoch = self.job.first_epoch = epoch
            self.job.n_scalars = scalar_table.columns
            self.job.scalars = <const double *>scalar_table.at.data
            self.job.losses = <double *>loss_sums.buffer.buf
            self._run(TRAIN, x, targets, weights, n_threads, 3.0 * batch_size * n_steps)
            return self.now.status, self.now.done

    def evaluate(self, X, targets, weights, *, int n_threads):
        cdef Source x = Source(X)
        with self.lock:
            self._reserve(min(x.rows, PREDICT_ROWS), False)
            self._run(EVALUATE, x, targets, weights, n_threads, x.rows)
            correct = self.now.correct_sum if self.loss != ELEMENTWISE or self.by_sides else float("nan")
            return self.now.loss_sum, self.now.total_weight, correct

    def loss_and_gradients(self, X, targets, weights, *, int n_threads):
        cdef Source x = Source(X)
        cdef Py_ssize_t parts = parts_of(x.rows, MOST_ROWS)
        cdef double loss = 0
        with self.lock:
            self._reserve(parts_of(x.rows, parts), True)
            self._keep_gradients()
            self._run(GRADIENTS, x, targets, weights, n_threads, 3.0 * x.rows)
            gradients = [a for k in range(self.n_layers)
                         for a in self._read(self.layers[k].gradient, self.layers[k].n_inputs, self.layers[k].n_outputs)]
            loss = self.now.loss_sum / self.now.total_weight
        if self.penalized:
            values = self.get_weights()
            for k, spec in enumerate(self.specs):
                w = values[2 * k]
                gradients[2 * k] += spec.l2 * w + spec.l1 * np.sign(w)
        return loss, gradients

    def predict(self, X, out, *, bint link, Py_ssize_t layer, int n_threads):
        cdef Source x = Source(X)
        cdef Sink result = Sink(out)
        with self.lock:
            self._reserve(min(x.rows, PREDICT_ROWS), False)
            self.job.layer, self.job.link = layer, link
            self.job.out = <char *>result.buffer.buf
            self.job.out_row_stride, self.job.out_column_stride = result.buffer.strides[0], result.buffer.strides[1]
            self._run(PREDICT, x, None, None, n_threads, x.rows)

    cdef Py_ssize_t *_order_of(self, Py_ssize_t n_rows) except *:
        """Room for the order of so many rows."""
        if self.order_memory is None or len(self.order_memory) != n_rows:
            self.order_memory = np.empty(n_rows, np.intp)
        return <Py_ssize_t *>Sink(self.order_memory).buffer.buf

    cdef object _run(self, job_kind kind, Source x, targets, weights, int n_threads, double passes):
        """Hold the arrays, gather the team, run the job: so many passes of a row through all the weights."""
        cdef Source y, row_weights
        self.job.kind, self.job.n_rows, self.job.x = kind, x.rows, x.at
        if kind != TRAIN:
            self.order = NULL
        self.job.labels = self.target.labels = NULL
        self.job.weights = NULL
        if targets is not None:
            y = Source(targets)
            if y.buffer.ndim == 1:
                self.job.labels = <const Py_ssize_t *>y.at.data
                self.target.labels = self.batch_labels
            else:
                self.job.y = y.at
        if weights is not None:
            row_weights = Source(weights)
            self.job.weights = <const double *>row_weights.at.data
        memset(&self.now, 0, sizeof(self.now))
        members = self._gather_team(n_threads)
        if not members and passes * self.n_weights < BRIEF_JOB:
            self._work(0)
        else:
            with nogil:
                self._work(0)
        for member in members:
            member.join()

    cdef object _gather_team(self, int n_threads):
        """Python's own threads: no pool that outlives the call, nothing global, nothing to go wrong after a fork."""
        self.barrier.size = 1
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
            self.barrier.size = 1 + len(members)
            gate.opened.set()
        return members

    def _join_team(self, int member, gate):
        gate.opened.wait()
        if gate.admits:
            with nogil:
                self._work(member)

    # Jobs: the engine side ---------------------------------------------------------------------------------------

    cdef void _work(self, int member) noexcept nogil:
        cdef uint64_t before = engine_enter()
        if self.job.kind == TRAIN:
            self._train(member)
        elif self.job.kind == GRADIENTS:
            self._gradients(member)
        elif self.job.kind == EVALUATE:
            self._evaluate(member)
        else:
            self._predict(member)
        engine_leave(before)

    cdef void _train(self, int member) noexcept nogil:
        cdef Py_ssize_t k
        for k in range(self.job.n_steps):
            if member == 0:
                self._begin_step(k)
            team_wait(&self.barrier)
            if self.now.weight_sum > 0:
                self._descend(member)
            if member == 0:
                self._end_step(k)
            team_wait(&self.barrier)
            if self.now.stop:
                return

    cdef void _begin_step(self, Py_ssize_t k) noexcept nogil:
        """Which rows, of which total weight, with which scalars."""
        cdef Py_ssize_t i, first = self.job.step * self.job.batch_size
        if self.order != NULL and (k == 0 or self.job.step == 0):
            philox_permutation(self.job.seed, <unsigned int>self.job.epoch, self.job.n_rows, self.order)
        self.now.first, self.now.last = first, min(first + self.job.batch_size, self.job.n_rows)
        self._sum_weights()
        for i in range(self.job.n_scalars):
            if self.table.real_size == 4:
                (<float *>self.rule_scalars)[i] = <float>self.job.scalars[k * self.job.n_scalars + i]
            else:
                self.rule_scalars[i] = self.job.scalars[k * self.job.n_scalars + i]

    cdef void _sum_weights(self) noexcept nogil:
        cdef Py_ssize_t i
        self.now.loss_sum = 0
        self.now.weight_sum = self.now.last - self.now.first
        if self.job.weights != NULL:
            self.now.weight_sum = 0
            for i in range(self.now.first, self.now.last):
                self.now.weight_sum += self.job.weights[self.order[i] if self.order != NULL else i]

    cdef void _end_step(self, Py_ssize_t k) noexcept nogil:
        cdef double *losses = self.job.losses + 2 * (self.job.epoch - self.job.first_epoch)
        if self.now.weight_sum > 0 and not isfinite(self.now.loss_sum):
            self.now.status, self.now.stop = NONFINITE_LOSS, True
            return
        if self.now.nonfinite_weights:
            self.now.status, self.now.stop = NONFINITE_WEIGHTS, True
        losses[0] += self.now.loss_sum
        losses[1] += self.now.weight_sum
        self.now.done = k + 1
        self.job.step += 1
        if self.job.step == self.job.steps_per_epoch:
            self.job.step = 0
            self.job.epoch += 1

    cdef void _descend(self, int member) noexcept nogil:
        """One step. A batch of one part updates each tile of weights at once; a larger one adds its parts' gradients."""
        cdef Py_ssize_t rows = self.now.last - self.now.first, part, k, units
        cdef Py_ssize_t parts = parts_of(rows, MOST_ROWS)
        cdef int team = self.barrier.size
        cdef double loss = 0
        for part in range(parts):
            loss += self._loss_of_rows(member, self.now.first + rows * part // parts,
                                       self.now.first + rows * (part + 1) // parts, part == 0)
            if not isfinite(loss):
                break
            self._backward(member, rows * (part + 1) // parts - rows * part // parts,
                           UPDATE_WEIGHTS if parts == 1 else STORE_GRADIENT if part == 0 else ADD_TO_GRADIENT)
        if parts > 1 and isfinite(loss):
            for k in range(self.n_layers):
                units = self.table.weight_units(&self.layers[k])
                if not self.table.update_from_gradient(&self.layers[k], &self.rule, share(units, member, team),
                                                       share(units, member + 1, team)):
                    self.now.nonfinite_weights = 1
            team_wait(&self.barrier)
        if member == 0:
            self.now.loss_sum = loss

    cdef double _loss_of_rows(self, int member, Py_ssize_t first, Py_ssize_t last, bint first_part) noexcept nogil:
        """Forward through all layers, then the loss and its gradient: sum of w l, and the penalty once a step."""
        cdef Py_ssize_t rows = last - first, k, i
        cdef int team = self.barrier.size
        cdef double sum = 0
        self._gather(member, first, last)
        team_wait(&self.barrier)
        for k in range(self.n_layers):
            if first_part and k > 0:
                units = self.table.product_units(1, self.layers[k].n_inputs)
                self.table.transpose_weight(&self.layers[k], share(units, member, team), share(units, member + 1, team))
            self._forward(member, k, rows)
        self._loss(member, rows, True)
        team_wait(&self.barrier)
        for i in range(rows):
            sum += self.row_weights[i] * self.row_losses[i]
        if first_part and self.penalized:
            sum += self.now.weight_sum * self._penalty()
        return sum

    cdef double _penalty(self) noexcept nogil:
        """Every member computes it whole: it is read before the update, and cheap beside the products."""
        cdef Py_ssize_t k
        cdef double sum = 0
        for k in range(self.n_layers):
            if self.layers[k].l1 != 0 or self.layers[k].l2 != 0:
                sum += self.table.penalty(&self.layers[k])
        return sum

    cdef void _gather(self, int member, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
        """This member's share of the rows: inputs, targets, weights."""
        cdef Py_ssize_t rows = last - first, i, row
        cdef Py_ssize_t begin = share(rows, member, self.barrier.size), end = share(rows, member + 1, self.barrier.size)
        cdef source_array x = self.job.x, y = self.job.y
        cdef const Py_ssize_t *order = NULL
        cdef double scale, share_of_one = 1 / self.now.weight_sum
        if self.loss == ELEMENTWISE:
            share_of_one /= self.layers[self.n_layers - 1].n_outputs
        if self.order != NULL:
            order = self.order + first
        else:
            x.data += first * x.row_stride
            y.data += first * y.row_stride
        self.table.gather(&x, order, begin, end, &self.input)
        if self.job.kind == PREDICT:
            return
        if self.job.labels == NULL:
            self.table.gather(&y, order, begin, end, &self.target.values)
        for i in range(begin, end):
            row = order[i] if order != NULL else first + i
            if self.job.labels != NULL:
                self.batch_labels[i] = self.job.labels[row]
            self.row_weights[i] = self.job.weights[row] if self.job.weights != NULL else 1
            scale = self.row_weights[i] * share_of_one
            if self.table.real_size == 4:
                (<float *>self.row_scale)[i] = <float>scale
            else:
                (<double *>self.row_scale)[i] = scale

    cdef void _forward(self, int member, Py_ssize_t k, Py_ssize_t rows) noexcept nogil:
        cdef Py_ssize_t units = self.table.product_units(rows, self.layers[k].n_outputs)
        cdef const matrix *input = &self.input if k == 0 else &self.layers[k - 1].output
        self.table.dense_forward(&self.layers[k], input, rows, share(units, member, self.barrier.size),
                                 share(units, member + 1, self.barrier.size))
        team_wait(&self.barrier)

    cdef void _loss(self, int member, Py_ssize_t rows, bint gradient) noexcept nogil:
        cdef Py_ssize_t begin = share(rows, member, self.barrier.size), end = share(rows, member + 1, self.barrier.size)
        cdef Py_ssize_t last = self.n_layers - 1
        cdef matrix *delta = &self.layers[last].delta
        cdef const matrix *score = &self.layers[last].output
        cdef const void *scale = self.row_scale if gradient else NULL
        if self.loss == SOFTMAX_CROSS_ENTROPY:
            self.table.softmax_cross_entropy(score, &self.target, scale, self.row_losses, delta, begin, end)
        elif self.loss == MULTICLASS_HINGE:
            self.table.multiclass_hinge(score, &self.target, scale, self.row_losses, delta, begin, end)
        else:
            self.table.elementwise_loss(self.elementwise, score, &self.target, scale, self.row_losses, delta, begin, end)
        if gradient:
            self.table.differentiate(&self.layers[last], begin, end)

    cdef void _backward(self, int member, Py_ssize_t rows, int use) noexcept nogil:
        """From the last layer down. A layer's gradient passes to the one below through the transpose that was made before
        any update, so the weights may change in the same phase."""
        cdef Py_ssize_t k, units
        cdef int team = self.barrier.size
        cdef const matrix *input
        for k in range(self.n_layers - 1, -1, -1):
            input = &self.input if k == 0 else &self.layers[k - 1].output
            if k > 0:
                units = self.table.product_units(rows, self.layers[k].n_inputs)
                self.table.backward_input(&self.layers[k], &self.layers[k - 1], rows, share(units, member, team),
                                          share(units, member + 1, team))
            units = self.table.weight_units(&self.layers[k])
            if not self.table.backward_weight(&self.layers[k], input, rows, use, &self.rule,
                                              share(units, member, team), share(units, member + 1, team)):
                self.now.nonfinite_weights = 1
            team_wait(&self.barrier)

    cdef void _gradients(self, int member) noexcept nogil:
        cdef Py_ssize_t part, parts = parts_of(self.job.n_rows, MOST_ROWS), n = self.job.n_rows
        cdef double loss = 0
        if member == 0:
            self.now.first, self.now.last = 0, n
            self._sum_weights()
        team_wait(&self.barrier)
        for part in range(parts):
            loss += self._loss_of_rows(member, n * part // parts, n * (part + 1) // parts, part == 0)
            self._backward(member, n * (part + 1) // parts - n * part // parts,
                           STORE_GRADIENT if part == 0 else ADD_TO_GRADIENT)
        if member == 0:
            self.now.loss_sum, self.now.total_weight = loss, self.now.weight_sum

    cdef void _evaluate(self, int member) noexcept nogil:
        cdef Py_ssize_t part, first, rows, k, i
        cdef const matrix *score = &self.layers[self.n_layers - 1].output
        cdef double correct
        self.now.weight_sum = 1
        for part in range(parts_of(self.job.n_rows, self.capacity)):
            first = part * self.capacity
            rows = min(self.capacity, self.job.n_rows - first)
            self._gather(member, first, first + rows)
            team_wait(&self.barrier)
            for k in range(self.n_layers):
                self._forward(member, k, rows)
            self._loss(member, rows, False)
            team_wait(&self.barrier)
            if member == 0:
                for i in range(rows):
                    correct = 0
                    if self.loss != ELEMENTWISE:
                        correct = self.table.count_correct(score, &self.target, i)
                    elif self.by_sides:
                        correct = self.table.count_correct_sides(score, &self.target, i)
                    self.now.loss_sum += self.row_weights[i] * self.row_losses[i]
                    self.now.correct_sum += self.row_weights[i] * correct
                    self.now.total_weight += self.row_weights[i]
            team_wait(&self.barrier)

    cdef void _predict(self, int member) noexcept nogil:
        cdef Py_ssize_t part, first, rows, k, begin, end
        cdef matrix *output = &self.layers[self.job.layer].output
        for part in range(parts_of(self.job.n_rows, self.capacity)):
            first = part * self.capacity
            rows = min(self.capacity, self.job.n_rows - first)
            self._gather(member, first, first + rows)
            team_wait(&self.barrier)
            for k in range(self.job.layer + 1):
                self._forward(member, k, rows)
            begin, end = share(rows, member, self.barrier.size), share(rows, member + 1, self.barrier.size)
            if self.job.link and self.softmax_link:
                self.table.softmax(output, begin, end)
            elif self.job.link and self.link_block != NULL:
                self.table.apply(self.link_block, NULL, output, begin, end)
            self.table.scatter(output, begin, end, self.job.out + (first + begin) * self.job.out_row_stride,
                               self.job.out_row_stride, self.job.out_column_stride)
            team_wait(&self.barrier)
