"""A network of this backend: its memory, and jobs handed to compiled code."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import PLAIN_STEP, BatchNormSpec, DenseSpec, DropoutSpec, SoftmaxSpec, StepSpec
from ..rows import SparseRows
from . import blocks, objects, records
from .arrays import LABELS, data_of, is_as_expected
from .objects import Formulas, Job, Kernel
from .records import Layer, Matrix, Panels, addressof, aligned

if TYPE_CHECKING:
    from ..._formula import Activation, Loss, OptimizerRule
    from ..backend import Array, LayerSpec

PREDICT_ROWS = 126
"""Rows at a time where only the forward pass runs: whole tiles, of 14 rows or of 6."""

WHOLE_BATCH = 1 << 30
"""Rows of a part of a batch where there is only one."""

BRIEF_JOB = 50_000
"""A job of fewer products than this, at most some ten microseconds, does not let go of the interpreter: another thread
of Python's would take it, and keep it for milliseconds."""

BRIEF_LOOK = 1 << 14
"""Elements that are looked through without letting go of the interpreter."""

FLOATING = {np.dtype(name): name for name in ("float32", "float64")}
GATHERED = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")

KINDS = {
    "dense": records.DENSE,
    "dropout": records.DROPOUT,
    "softmax": records.SOFTMAX,
    "batch_norm": records.BATCH_NORM,
    "layer_norm": records.LAYER_NORM,
}

class Network:
    """Layers, a loss and an optimizer's rule; see `fastgd._kernels.backend.Network`."""

    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[LayerSpec],
        loss: Loss | None,
        rule: OptimizerRule | None,
        dtype: Any,
        step: StepSpec = PLAIN_STEP,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.n_inputs, self.specs, self.loss, self.rule = n_inputs, list(layers), loss, rule
        self.lock = threading.Lock()
        self.at = records.Network()
        self.layers = (Layer * len(layers))()
        self.at.layers, self.at.n_layers = addressof(self.layers), len(layers)
        self.at.most_rows = records.MOST_ROWS
        self.panel_width = blocks.panel_width(self.dtype)
        # Where addresses of compiled code go: for the way forward, and besides for learning.
        self.wanted: dict[bool, list[tuple[Any, str, objects.Unit]]] = {False: [], True: []}
        self.owned: list[Any] = []
        self.buffers: list[Any] = []
        # What was looked up before.
        self.jobs: dict[tuple[str, ...], Job] = {}
        self.gathers: dict[np.dtype[Any], int] = {}
        self.losses: dict[bool, int] = {}
        self.order: Array | None = None
        self.address = addressof(self.at)
        # Of each layer that learns: weights, and the states of the optimizer.
        self.weights: dict[int, Panels] = {}
        self.states: list[dict[int, Panels]] = [{} for _ in (rule.states if rule else ())]
        self.averages: dict[int, Panels] = {}
        self.sums: dict[int, Panels] = {}
        self.at.clip_norm, self.at.clip_slack, self.at.averages = step.clip_norm, step.clip_slack, step.averages
        self.at.clips, self.at.accumulates = step.clip_norm < math.inf, step.accumulate
        self.gradients: dict[int, Panels] = {}
        self.running: dict[int, Panels] = {}
        self.n_weights, self.passes_back = 0, False
        self._take_rule(rule)
        width = n_inputs
        for k, spec in enumerate(layers):
            width = self._take_layer(k, spec, width)
        self.n_outputs = width
        self._take_loss(loss)

    # What it consists of ------------------------------------------------------------------------------------------
    def _take_rule(self, rule: OptimizerRule | None) -> None:
        if rule is None:
            return
        if len(rule.states) > records.MOST_STATES:
            raise ValueError(
                f"optimizer {rule.name}: got {len(rule.states)} states, expected at most {records.MOST_STATES}"
            )
        self.wanted[True].append((self.at, "update", Formulas(rule.block, self.dtype.name)))
        self.at.rule_scalars = self._own(2 * len(rule.scalars) + 2).ctypes.data

    def _take_layer(self, k: int, spec: LayerSpec, n_inputs: int) -> int:
        """Returns the number of its outputs."""
        layer = self.layers[k]
        layer.index, layer.kind, layer.keeps_output = k, KINDS[spec.kind], True
        layer.n_inputs, layer.n_outputs, layer.passes_back = 1, n_inputs, bool(self.weights)
        if spec.kind != "dense":
            for field in ("forward", "backward"):
                kernel = Kernel(spec.kind, f"{spec.kind}_{field}", self.dtype.name)
                self.wanted[field == "backward"].append((layer, field, kernel))
        if isinstance(spec, DropoutSpec):
            layer.dropped, layer.kept_scale = int(spec.rate * 2.0**32), 1.0 / (1.0 - spec.rate)
        if isinstance(spec, DropoutSpec | SoftmaxSpec):
            return n_inputs
        if isinstance(spec, DenseSpec):
            layer.n_inputs, layer.n_outputs, layer.l1, layer.l2 = n_inputs, spec.n_outputs, spec.l1, spec.l2
            layer.nonnegative, layer.max_norm = spec.nonnegative, spec.max_norm
            self.at.constrained = self.at.constrained or spec.nonnegative or spec.max_norm > 0.0
        else:
            layer.eps = spec.eps
        if isinstance(spec, BatchNormSpec):
            layer.momentum, self.at.most_rows = spec.momentum, WHOLE_BATCH
            self.running[k], moments = self._panels(2, n_inputs), self._panels(2, n_inputs)
            layer.running, layer.moments = self.running[k].at, moments.at
            self.owned.append(moments)
        self._take_parameters(k, layer)
        self._take_activation(layer, spec.activation)
        return int(layer.n_outputs)

    def _take_parameters(self, k: int, layer: Layer) -> None:
        shape = (layer.n_inputs + 1, layer.n_outputs)
        self.n_weights += shape[0] * shape[1]
        self.weights[k] = self._panels(*shape)
        layer.weight = self.weights[k].at
        for number, state in enumerate(self.states):
            state[k] = self._panels(*shape)
            setattr(layer, f"state{number}", state[k].at.data)
        if self.at.averages:
            self.averages[k] = self._panels(*shape)
            layer.average = self.averages[k].at.data
        if self.at.accumulates > 1:
            self.sums[k] = self._panels(*shape)
            layer.gradient_sum = self.sums[k].at.data
        is_cached = layer.n_inputs * layer.n_outputs * self.dtype.itemsize <= records.CACHED_WEIGHTS
        if layer.kind == records.DENSE and layer.passes_back and is_cached:
            transposed = self._panels(layer.n_outputs, layer.n_inputs)
            self.owned.append(transposed)
            layer.transposed = transposed.at

    def _take_activation(self, layer: Layer, activation: Activation) -> None:
        layer.activation_scalars = self._own_values(list(activation.parameters.values()))
        layer.keeps_output = blocks.keeps_output(activation)
        for field, unit in blocks.activation_units(activation, self.dtype).items():
            self.wanted[field == "differentiate"].append((layer, field, unit))

    def _take_loss(self, loss: Loss | None) -> None:
        if loss is None:
            return
        self.at.by_class, self.at.by_sides = loss.by_class, loss.two_sided
        self.at.loss_kind = records.ROWWISE if loss.rowwise else records.ELEMENTWISE
        self.at.loss_scalars = self._own_values(loss.scalars(self.n_outputs))
        self.at.outputs_per_target = loss.outputs_per_target
        if loss.compares_rows:
            self.at.most_rows = WHOLE_BATCH

    def _panels(self, n_rows: int, n_columns: int) -> Panels:
        return Panels(n_rows, n_columns, self.dtype, self.panel_width)

    def _own(self, count: int) -> Array:
        values = aligned(count * self.dtype.itemsize).view(self.dtype)
        self.owned.append(values)
        return values

    def _own_values(self, values: Sequence[float]) -> int:
        """The address of some numbers, at least one, which stay."""
        numbers = self._own(len(values) + 1)
        numbers[: len(values)] = values
        return numbers.ctypes.data

    # Weights and slots --------------------------------------------------------------------------------------------
    def _read(self, matrices: dict[int, Panels]) -> list[Array]:
        """[W, b] from each matrix that holds both; of a normalisation two vectors."""
        arrays = []
        for k, matrix in matrices.items():
            n_inputs = self.layers[k].n_inputs
            upper, lower = matrix.read(0, n_inputs), matrix.read(n_inputs, n_inputs + 1)
            arrays += [upper if self.layers[k].kind == records.DENSE else upper[0], lower[0]]
        return arrays

    def _write(self, matrices: dict[int, Panels], arrays: Iterable[Array | Iterator[Array]]) -> None:
        given = iter(arrays)
        for matrix in matrices.values():
            weight, row = next(given), 0
            for piece in weight if isinstance(weight, Iterator) else (weight,):
                row = matrix.write(np.atleast_2d(piece), row)
            bias = next(given)
            for piece in bias if isinstance(bias, Iterator) else (bias,):
                matrix.write(np.atleast_2d(piece), row)

    def get_weights(self) -> list[Array]:
        with self.lock:
            return self._read(self.weights)

    def set_weights(self, weights: Iterable[Array | Iterator[Array]]) -> None:
        with self.lock:
            self._write(self.weights, weights)

    def get_statistics(self) -> list[Array]:
        with self.lock:
            return [row for matrix in self.running.values() for row in matrix.read(0, 2)]

    def set_statistics(self, statistics: Iterable[Array]) -> None:
        with self.lock:
            given = iter(statistics)
            for matrix in self.running.values():
                for row in range(2):
                    matrix.write(np.atleast_2d(next(given)), row)

    def get_slots(self) -> list[list[Array]]:
        with self.lock:
            return [self._read(state) for state in self._slots()]

    def set_slots(self, slots: Sequence[Sequence[Array]]) -> None:
        with self.lock:
            # What is kept besides states is given whether or not it is there.
            for state, given in zip(self._slots(), slots, strict=False):
                self._write(state, given)

    def _slots(self) -> list[dict[int, Panels]]:
        return [*self.states, *(kept for kept in (self.averages, self.sums) if kept)]

    # Buffers ------------------------------------------------------------------------------------------------------
    def _buffer(self, n_rows: int, n_columns: int) -> Matrix:
        made = self._panels(n_rows, n_columns)
        self.buffers.append(made)
        return made.at

    def _numbers(self, count: int, dtype: Any) -> int:
        made = aligned(count * np.dtype(dtype).itemsize)
        self.buffers.append(made)
        return made.ctypes.data

    def _reserve(self, rows: int, backward: bool) -> None:
        """Make room for the activations of so many rows, and for their gradients if a backward pass will run.

        Should memory run out on the way, the network has room for nothing, and says so: the next call begins anew.
        """
        if rows <= self.at.capacity and (self.passes_back or not backward):
            return
        rows, backward = max(rows, self.at.capacity), backward or self.passes_back
        self.buffers, self.at.capacity, self.passes_back = [], 0, False
        self.at.input = self._buffer(rows, self.n_inputs)
        for k, layer in enumerate(self.layers):
            layer.output = self._buffer(rows, layer.n_outputs)
            layer.kept = layer.output if layer.keeps_output else self._buffer(rows, layer.n_outputs)
            if backward or k == len(self.layers) - 1:
                layer.delta = self._buffer(rows, layer.n_outputs)
            if layer.kind in (records.BATCH_NORM, records.LAYER_NORM):
                layer.normalized = self._buffer(rows, layer.n_outputs)
                layer.row_factors = self._numbers(rows, self.dtype)
        each = self.loss.outputs_per_target if self.loss else 1
        self.at.target = self._buffer(rows, self.n_outputs // each)
        self.at.batch_labels = self._numbers(rows, np.int64)
        self.at.row_scale, self.at.row_sums = (self._numbers(rows, self.dtype) for _ in range(2))
        self.at.row_losses, self.at.row_weights = (self._numbers(rows, np.float64) for _ in range(2))
        if self.loss is not None:
            n_bytes = blocks.scratch_bytes(self.loss, rows, self.n_outputs, self.dtype)
            self.at.scratch = self._numbers(n_bytes, np.uint8)
        self.at.capacity, self.passes_back = rows, backward

    def _keep_gradients(self) -> None:
        """Room for gradients that must outlive their tile: of batches in parts, and of a user who asks for them."""
        if self.gradients:
            return
        for k in self.weights:
            self.gradients[k] = self._panels(self.layers[k].n_inputs + 1, self.layers[k].n_outputs)
            self.layers[k].gradient = self.gradients[k].at

    # Jobs ---------------------------------------------------------------------------------------------------------
    def takes(self, X: Any) -> bool:
        return self._rows_of(X, self.n_inputs) > 0

    def takes_batch(self, X: Any, targets: Any) -> bool:
        n_rows = self._rows_of(X, self.n_inputs)
        if n_rows == 0 or self.loss is None or type(targets) is not np.ndarray:
            return False
        if self.loss.by_class:
            takes_labels = self._job("arrays", "takes_labels")
            return takes_labels(n_rows < BRIEF_LOOK, id(targets), id(LABELS), self.n_outputs, n_rows) == 1
        n_targets = self.n_outputs // self.loss.outputs_per_target
        return self.loss.target == "real" and self._rows_of(targets, n_targets) == n_rows

    def takes_output(self, X: Any, out: Any, layer: int) -> bool:
        n_rows = self._rows_of(X, self.n_inputs)
        return (
            n_rows > 0
            and type(out) is np.ndarray
            and out.dtype is self.dtype
            and out.shape == (n_rows, self.layers[layer].n_outputs)
            and out.flags.c_contiguous
            and out.flags.writeable
            and not np.may_share_memory(X, out)
        )

    def _rows_of(self, X: Any, n_columns: int) -> int:
        """How many rows an array has that the door would pass on as it is; 0 for any other object."""
        if type(X) is not np.ndarray or not is_as_expected():
            return 0
        name = FLOATING.get(X.dtype)
        if name is None:
            return 0
        takes = self._job("arrays", "takes", name)
        return takes(X.size < BRIEF_LOOK, id(X), id(X.dtype), n_columns)

    def _job(self, module: str, name: str, *arguments: str) -> Job:
        """A kernel for this network's dtype; found quickly."""
        key = (name, *arguments)
        found = self.jobs.get(key)
        if found is None:
            found = self.jobs[key] = objects.job(Kernel(module, name, self.dtype.name, arguments))
        return found

    def train(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        epoch: int,
        step: int,
        n_steps: int,
        steps_before: int,
        scalars: Array,
        losses: Array,
        n_threads: int,
        order: Array | None = None,
        penalty_scales: Array | None = None,
    ) -> tuple[int, int]:
        assert self.rule is not None
        parts, n_rows = -(-batch_size // self.at.most_rows), len(X)
        with self.lock:
            at = self.at
            self._reserve(-(-batch_size // parts), True)
            if parts > 1 or at.clips or at.accumulates > 1:
                self._keep_gradients()
            at.finish_step = self._finish_step(parts > 1)
            at.draws_order = shuffle and order is None
            at.order = data_of(order) if order is not None else self._order_of(n_rows) if shuffle else 0
            at.orders = at.order if order is not None and order.ndim == 2 else 0
            at.penalty_scales = 0 if penalty_scales is None else data_of(penalty_scales)
            at.batch_size, at.n_steps, at.step = batch_size, n_steps, step
            at.steps_per_epoch = -(-n_rows // batch_size)
            at.seed, at.steps_before, at.epoch, at.first_epoch = seed, steps_before, epoch, epoch
            scalars = np.ascontiguousarray(scalars, np.float64)
            n_scalars = scalars.shape[1]
            at.bias_scalars = at.rule_scalars
            if n_scalars - at.averages - (at.accumulates > 1) > len(self.rule.scalars):
                at.bias_scalars += len(self.rule.scalars) * self.dtype.itemsize
            at.scalars, at.n_scalars, at.losses = data_of(scalars), n_scalars, data_of(losses)
            self._run("train", records.TRAIN, X, targets, weights, 3.0 * min(batch_size, n_rows) * n_steps)
            return at.status, at.done

    def evaluate(
        self, X: Array | SparseRows, targets: Array, weights: Array | None, *, n_threads: int
    ) -> tuple[float, float, float]:
        with self.lock:
            is_whole = self.loss is not None and self.loss.compares_rows
            self._reserve(len(X) if is_whole else min(len(X), PREDICT_ROWS), False)
            self._run("evaluate", records.EVALUATE, X, targets, weights, len(X))
            correct = self.at.correct_sum if self.at.by_class or self.at.by_sides else float("nan")
            return self.at.loss_sum, self.at.total_weight, correct

    def loss_and_gradients(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        seed: int,
        steps_before: int,
        n_threads: int,
    ) -> tuple[float, list[Array]]:
        with self.lock:
            parts = -(-len(X) // self.at.most_rows)
            self._reserve(-(-len(X) // parts), True)
            self._keep_gradients()
            self.at.seed, self.at.steps_before = seed, steps_before
            self._run("gradients", records.GRADIENTS, X, targets, weights, 3.0 * len(X))
            gradients, loss = self._read(self.gradients), self.at.loss_sum / self.at.weight_sum
            values = self._read(self.weights)
        kind = self.dtype.type
        for place, k in enumerate(self.weights):
            l1, l2, w = kind(self.layers[k].l1), kind(self.layers[k].l2), values[2 * place]
            if l1 or l2:
                gradients[2 * place] += l2 * w + l1 * np.sign(w)
        return loss, gradients

    def predict(self, X: Array | SparseRows, out: Array, *, link: bool, layer: int, n_threads: int) -> None:
        with self.lock:
            self._reserve(min(len(X), PREDICT_ROWS), False)
            self.at.layer, self.at.use_link = layer, link
            self.at.out = out.ctypes.data
            self.at.out_row_stride, self.at.out_column_stride = out.strides
            if link and self.loss is not None:
                self.at.link = blocks.link(self.loss.link, self.dtype)
                self.at.row_link = blocks.row_link(self.loss.link, self.dtype)
            scatter = objects.address(Kernel("gather", "scatter", self.dtype.name))
            self._run("predict", records.PREDICT, X, None, None, len(X), scatter)

    def _finish_step(self, is_in_parts: bool) -> int:
        """The kernel of what follows a batch; 0 if that is nothing."""
        at = self.at
        is_wanted = is_in_parts or at.clips or at.accumulates > 1 or at.constrained or at.averages
        return objects.address(Kernel("whole_step", "finish_step", self.dtype.name)) if is_wanted else 0

    def _order_of(self, n_rows: int) -> int:
        """Memory for the order of so many rows."""
        if self.order is None or len(self.order) != n_rows:
            self.order = np.empty(n_rows, np.int64)
        return data_of(self.order)

    def _source(self, at: records.Source, array: Array | SparseRows) -> Array | SparseRows:
        """Describe an array to compiled code; returns what must live as long as the call."""
        if isinstance(array, SparseRows):
            return self._sparse_source(at, array)
        gather = self.gathers.get(array.dtype)
        if gather is None:
            # Any other kind of number becomes one of this network's.
            if array.dtype.str[1:] not in GATHERED or not array.dtype.isnative:
                array = array.astype(self.dtype)
            kernel = Kernel("gather", "gather", self.dtype.name, (array.dtype.name,))
            gather = self.gathers[array.dtype] = objects.address(kernel)
        at.data, at.gather = data_of(array), gather
        strides = array.strides
        at.row_stride, at.column_stride = strides if len(strides) == 2 else (strides[0], 0)
        return array

    def _sparse_source(self, at: records.Source, rows: SparseRows) -> SparseRows:
        if rows.values.dtype.str[1:] not in GATHERED or not rows.values.dtype.isnative:
            rows = rows.astype(self.dtype)
        kernel = Kernel("gather", "gather_sparse", self.dtype.name, (rows.values.dtype.name, rows.columns.dtype.name))
        at.data, at.gather = data_of(rows.values), objects.address(kernel)
        at.columns, at.starts = data_of(rows.columns), data_of(rows.starts)
        return rows

    def _run(
        self,
        name: str,
        kind: int,
        X: Array | SparseRows,
        targets: Array | None,
        weights: Array | None,
        passes: float,
        *more: int,
    ) -> None:
        """Describe the arrays, run the job: so many passes of one row through all the weights."""
        at = self.at
        self._connect(name, kind in (records.TRAIN, records.GRADIENTS), X, targets)
        at.kind, at.n_rows = kind, len(X)
        if kind != records.TRAIN:
            at.order, at.penalty_scale = 0, 1.0
        alive: list[Any] = [self._source(at.x, X)]
        at.labels = at.weights = at.batch_begin = 0
        if targets is not None:
            by_label = self._is_by_label(targets)
            if by_label:
                alive.append(np.ascontiguousarray(targets, np.int64))
                at.labels = data_of(alive[-1])
            else:
                alive.append(self._source(at.y, targets))
            at.loss = self._loss_kernel(by_label)
        if weights is not None:
            alive.append(np.ascontiguousarray(weights, np.float64))
            at.weights = data_of(alive[-1])
        at.status = at.done = at.nonfinite_weights = 0
        at.weight_sum = at.loss_sum = at.correct_sum = at.total_weight = 0.0
        self._job("schedule", name)(passes * self.n_weights < BRIEF_JOB, self.address, *more)

    def _connect(self, job: str, learns: bool, X: Array | SparseRows, targets: Array | None) -> None:
        """Find the compiled code of all that a job is made of, so that what is not there is compiled together."""
        wanted = [place for way in sorted({False, learns}) for place in self.wanted[way]]
        if not wanted and self.at.tiles:
            return
        name = self.dtype.name
        units: list[objects.Unit] = [objects.Tiles(name), Kernel("schedule", job, name)]
        units += [unit for *_, unit in wanted]
        if targets is not None and self.loss is not None:
            units.append(blocks.loss_kernel(self.loss, self._is_by_label(targets), self.dtype))
            units += [] if self.loss.rowwise else [Formulas(self.loss.block, name)]
        if isinstance(X, np.ndarray) and X.dtype == self.dtype:
            units.append(Kernel("gather", "gather", name, (name,)))
        objects.load(units)
        self.at.tiles = blocks.tiles_table(self.dtype)
        for place, field, unit in wanted:
            setattr(place, field, objects.address(unit))
        self.wanted[False] = []
        if learns:
            self.wanted[True] = []

    def _is_by_label(self, targets: Array) -> bool:
        return self.loss is not None and self.loss.takes_labels and targets.ndim == 1

    def _loss_kernel(self, by_label: bool) -> int:
        assert self.loss is not None
        found = self.losses.get(by_label)
        if found is None:
            self.at.loss_block = blocks.loss_block(self.loss, self.dtype)
            found = self.losses[by_label] = objects.address(blocks.loss_kernel(self.loss, by_label, self.dtype))
        return found
