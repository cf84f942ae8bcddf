"""One `Sequential.fit`: what was asked for, checked, and the run that it comes to."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from ._kernels import SparseRows
from .errors import refusal
from .inputs import Rows, read_batch_size, read_count, read_flag, read_verbose
from .layers import BatchNorm, Dense, Dropout
from .methods import Method
from .passes import Passes, PassPlan
from .standardization import Standardization
from .streams import Blocks
from .training import History, Hooks, Plan, Run, Unfinished, UnfinishedPass, WholeRun

if TYPE_CHECKING:
    from ._checkpoint.model import Reader
    from ._kernels import Array, Network
    from .callbacks import CallbackList
    from .metrics import Measure
    from .model import Sequential

    Open = Callable[[int], Generator[tuple[Any, ...], None, None]]


class Fit:
    """One `fit` of a model, on arrays or on blocks; the arguments are those of `Sequential.fit`.

    Nothing of the model is changed before all that can be checked has been.
    """

    def __init__(
        self,
        model: Sequential,
        *,
        epochs: int,
        batch_size: int | str | None,
        shuffle: bool,
        class_weight: dict[int, float] | str | None,
        validation_data: tuple[Any, ...] | None,
        standardize: bool,
        metrics: Sequence[Any],
        callbacks: Any,
        resume_from: str | os.PathLike[str] | None,
        verbose: int,
    ) -> None:
        self.model = model
        self.n_epochs = read_count("epochs", epochs, "pass epochs=1")
        self.verbose, self.shuffle = read_verbose(verbose), read_flag("shuffle", shuffle)
        self.batch_size, self.class_weight, self.validation_data = batch_size, class_weight, validation_data
        self.metrics, self.callbacks, self.resume_from = metrics, callbacks, resume_from
        self.found = Standardization() if self._read_standardize(standardize) else None

    # ------------------------------------------------------------------------------------------------------- on arrays
    def on_arrays(self, X: Any, y: Any, sample_weight: Any) -> History:
        """Train on rows that are all there."""
        model = self.model
        rows = model._read_rows(X, y, sample_weight, self.class_weight)
        n_columns = rows.X.shape[1]
        batch_size = self._read_batches(len(rows))
        validation = self._read_validation(n_columns)
        measures = model._read_metrics(self.metrics)
        hooks, reader = self._read_hooks(), self._read_resumption()
        if reader is not None:
            from ._checkpoint.resumption import check_arrays

            check_arrays(reader, n_columns, Unfinished(len(rows), batch_size, self.shuffle))
        if self.found is not None:
            self._dense(rows)
        built_before = model._network is not None
        if reader is not None:
            self._resume(reader, hooks)
        elif self.found is not None:
            self.found.add(self._dense(rows), rows.weights)
        if model._network is None:
            model.build(n_columns)
        self._begin(hooks, reader)
        rows = self._standardized(rows)
        run = self._run(rows, batch_size, hooks, self._further(rows, validation, measures))
        self._train(run, hooks, unfold=built_before and reader is None)
        return model.history

    def _run(
        self,
        rows: Rows,
        batch_size: int,
        hooks: CallbackList | None,
        further: Callable[[], dict[str, float]] | None,
    ) -> Run | WholeRun:
        model = self.model
        network, counters, history, told = model._built(), model._counters, model.history, hooks or Hooks()
        if not isinstance(model._optimizer, Method):
            flops = 3.0 * batch_size * model._flops(rows.X) / len(rows)
            plan = Plan(batch_size, self.shuffle, model._seed, model._n_threads, flops, model._backend.permutation)
            return Run(network, model._scalars, rows, plan, counters, history, told, further)

        def loss() -> float:
            return model._evaluate(rows, network)["loss"]

        counters.unfinished = None
        team = functools.partial(model._team, 3.0 * model._flops(rows.X))
        return WholeRun(network, model._optimizer, rows, team, loss, counters, history, told, further)

    def _read_batches(self, n_rows: int) -> int:
        """Rows per step, which is all of them where the optimizer needs that."""
        model, batch_size = self.model, self.batch_size
        if not isinstance(model._optimizer, Method):
            rows = read_batch_size(batch_size, n_rows)
            model._refuse_single_rows(rows)
            return rows
        name = type(model._optimizer).__name__
        for k, layer in enumerate(model._layers):
            if isinstance(layer, Dense) and layer.constraint is not None:
                expected = f"no constraint: {name} knows of none"
                raise ValueError(refusal(f"layers[{k}]", repr(layer), expected, "use fg.Adam(), or leave it out"))
            if isinstance(layer, (Dropout, BatchNorm)):
                expected = f"layers by which the loss depends on weights and rows alone: {name} needs that"
                remedy = "use fg.Adam(), or leave the layer out"
                raise ValueError(refusal(f"layers[{k}]", repr(layer), expected, remedy))
        rows = n_rows if batch_size == "auto" else read_batch_size(batch_size, n_rows)
        if rows < n_rows:
            expected = f"None or {n_rows}: {name} needs all rows at once"
            raise ValueError(refusal("batch_size", str(rows), expected, "pass batch_size=None, or use fg.Adam()"))
        return rows

    # ------------------------------------------------------------------------------------------------------- on blocks
    def on_blocks(self, source: Any, sample_weight: Any) -> History:
        """Train on blocks, gone through once for each epoch; the first one builds."""
        model, blocks = self.model, Blocks(source)
        self._refuse_whole(sample_weight)
        size = self._read_rows_per_step()
        measures = model._read_metrics(self.metrics)
        hooks, reader = self._read_hooks(), self._read_resumption()
        if reader is not None:
            from ._checkpoint.resumption import check_blocks

            check_blocks(reader, UnfinishedPass(size, self.shuffle))
        n_passes = self.n_epochs - (0 if reader is None else reader.n_epochs)
        blocks.check_passes(n_passes + (self.found is not None and reader is None))
        built_before = model._network is not None
        if reader is not None:
            self._resume(reader, hooks)
        if model._network is not None:
            self._read_validation(model._n_inputs)
        if self.found is not None and reader is None:
            self._look_through(blocks, self.found)
        plan = self._pass_plan(size)
        opened = _Opened(blocks, plan)
        try:
            if model._network is None:
                self._read_block(opened.first(), 1)
            self._begin(hooks, reader)
            validation = self._read_validation(model._n_inputs)
            passes = Passes(
                network=model._built(),
                scalars=model._scalars,
                open=opened,
                read=lambda block, number: self._standardized(self._read_block(block, number)),
                plan=plan,
                counters=model._counters,
                history=model.history,
                hooks=hooks or Hooks(),
                further=self._further(None, validation, measures),
                resumed=reader is not None,
            )
            self._train(passes, hooks, unfold=built_before and reader is None)
        finally:
            opened.close()
        return model.history

    def _pass_plan(self, size: int | None) -> PassPlan:
        model = self.model
        return PassPlan(
            batch_size=size,
            shuffle=self.shuffle,
            seed=model._seed,
            n_threads=model._n_threads,
            flops=lambda rows: model._flops(rows.X),
            permutation=model._backend.permutation,
        )

    def _look_through(self, blocks: Blocks, found: Standardization) -> None:
        """A pass for means and deviations."""
        for number, block in enumerate(blocks.opened(), 1):
            rows = self._read_block(block, number)
            found.add(self._dense(rows), rows.weights)

    def _read_block(self, block: tuple[Any, ...], number: int) -> Rows:
        """A block as rows; a model that is not built yet is built for them."""
        X, y, weights = block
        rows = self.model._read_rows(X, y, weights, self.class_weight, f"block {number} ")
        if self.model._network is None:
            self._read_validation(rows.X.shape[1])
            self.model.build(rows.X.shape[1])
        return rows

    def _read_rows_per_step(self) -> int | None:
        """Rows of a block that a step takes; None for all."""
        given = self.batch_size
        if given is None:
            return None
        remedy = "pass batch_size=32, or None for whole blocks"
        size = 32 if given == "auto" else read_count("batch_size", given, remedy)
        self.model._refuse_single_rows(size)
        return size

    def _refuse_whole(self, sample_weight: Any) -> None:
        """What needs all rows at once does not go with blocks."""
        if len(self.metrics) and self.validation_data is None:
            expected = "validation_data beside them: of rows that come in blocks the loss is told, as they go by"
            raise ValueError(refusal("metrics", repr(self.metrics), expected, "pass validation_data=(X, y)"))
        if isinstance(self.model._optimizer, Method):
            name = type(self.model._optimizer).__name__
            expected = f"arrays: {name} needs all rows at once"
            raise TypeError(refusal("X", "blocks", expected, "use fg.Adam(), or pass X and y whole"))
        if sample_weight is not None:
            expected = "None: blocks bring their weights along"
            raise TypeError(refusal("sample_weight", "one for all blocks", expected, "yield (X, y, sample_weight)"))
        if isinstance(self.class_weight, str):
            expected, remedy = "a dict: how often classes occur is known at the end only", "pass {0: 1.0, 1: 5.0}"
            raise TypeError(refusal("class_weight", repr(self.class_weight), expected, remedy))

    # ------------------------------------------------------------------------------------------------------------ both
    def _read_hooks(self) -> CallbackList | None:
        """The callbacks; without any, their module is not imported."""
        if self.callbacks is None and not self.verbose:
            return None
        from .callbacks import CallbackList, EpochLines, read_callbacks

        lines = [EpochLines()] if self.verbose else []
        return CallbackList([*read_callbacks(self.callbacks), *lines], self.model)

    def _read_validation(self, n_columns: int) -> Rows | None:
        """The validation data, in the form that weights are for."""
        given = self.validation_data
        if given is None:
            return None
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            got = f"{len(given)} items" if isinstance(given, (tuple, list)) else f"a {type(given).__name__}"
            expected = "a tuple (X, y) or (X, y, sample_weight)"
            raise TypeError(refusal("validation_data", got, expected, "pass validation_data=(X_val, y_val)"))
        X, y, sample_weight = given if len(given) == 3 else (*given, None)
        rows = self.model._read_rows(X, y, sample_weight, None, "validation ")
        if rows.X.shape[1] != n_columns:
            expected = f"{n_columns}, as many as X has"
            remedy = "pass the same features in the same order"
            raise ValueError(refusal("validation X", f"{rows.X.shape[1]} columns", expected, remedy))
        return rows

    def _further(
        self, rows: Rows | None, validation: Rows | None, measures: dict[str, Measure]
    ) -> Callable[[], dict[str, float]] | None:
        """What the history gets after each epoch beside the loss."""
        if validation is None and (rows is None or not measures):
            return None
        model, held_out = self.model, None if validation is None else self._standardized(validation)

        def network() -> Network:
            # Rows are as the weights want them, where columns are standardised; averages are there otherwise only.
            return model._asked() if self.found is None else model._built()

        def further() -> dict[str, float]:
            values = {} if rows is None else model._measured(rows, measures, network())
            if held_out is not None:
                told = model._evaluate(held_out, network()) | model._measured(held_out, measures, network())
                values |= {f"val_{name}": value for name, value in told.items()}
            return values

        return further

    def _begin(self, hooks: CallbackList | None, reader: Reader | None) -> None:
        """The model is built, and training is about to begin."""
        if reader is None:
            self.model.history = History()
        self.model._hooks, self.model.stop_training = hooks, False

    def _train(self, run: Run | WholeRun | Passes, hooks: CallbackList | None, *, unfold: bool) -> None:
        """Go through the epochs that are left; where columns are standardised, weights are for such meanwhile.

        New weights are meant for such columns, and need not be unfolded. `Sequential.fit` folds them whatever happens.
        """
        if self.found is not None:
            self.model._standardize(self.found, unfold)
        run.progress.epochs = self.n_epochs
        remaining = self.n_epochs - run.progress.epochs_done
        if hooks is None:
            run.epochs(remaining)
            return
        try:
            hooks.begin(run.progress)
            run.epochs(remaining)
            hooks.end()
        finally:
            hooks.close()

    # ------------------------------------------------------------------------------------------------------ resumption
    def _read_resumption(self) -> Reader | None:
        """The file to go on from, if it is there already and is one of such a model."""
        if self.resume_from is None:
            return None
        if isinstance(self.model._optimizer, Method):
            got = f"a model with {self.model._optimizer!r}, which begins anew in each fit"
            expected, remedy = "an optimizer that makes single steps", "use fg.Adam(), or fg.load(path) and then fit"
            raise ValueError(refusal("resume_from", got, expected, remedy))
        path = os.fspath(self.resume_from)
        if not os.path.exists(path):
            return None
        from ._checkpoint.container import Container
        from ._checkpoint.resumption import check

        container = Container(path)
        reader = self.model._reader(container, container.body())
        check(reader, self.model._settings(), self.found is not None)
        return reader

    def _resume(self, reader: Reader, hooks: CallbackList | None) -> None:
        """Become what the file has, and go on with the columns as they were standardised."""
        self.model._resume(reader, hooks)
        if self.found is not None:
            self.found = self.model._standardization

    # ------------------------------------------------------------------------------------------------- standardisation
    def _read_standardize(self, given: Any) -> bool:
        if not read_flag("standardize", given):
            return False
        model = self.model
        if not isinstance(model._layers[0], Dense):
            expected = f"False: the first layer is {model._layers[0]!r}, and only a Dense one can be folded into"
            raise ValueError(refusal("standardize", "True", expected, "standardise X yourself"))
        if model._layers[0].constraint is not None or model._optimizer.averages:
            expected = "False: averages and constraints are of the weights that are learnt, not of folded ones"
            raise ValueError(refusal("standardize", "True", expected, "standardise X yourself"))
        return True

    @staticmethod
    def _dense(rows: Rows) -> Array:
        """X that can be standardised."""
        if isinstance(rows.X, SparseRows):
            expected = "False for sparse rows: less its mean, a column has no zeros left"
            remedy = "scale X yourself, for example with scikit-learn's MaxAbsScaler"
            raise ValueError(refusal("standardize", "True", expected, remedy))
        return rows.X

    def _standardized(self, rows: Rows) -> Rows:
        if self.found is None:
            return rows
        return Rows(self.found.standardized(self._dense(rows), self.model._dtype), rows.targets, rows.weights)


class _Opened:
    """Opens a pass over blocks for each epoch, and puts the first block back if it was looked at before."""

    def __init__(self, blocks: Blocks, plan: PassPlan) -> None:
        self.blocks, self.plan = blocks, plan
        self.begun: Generator[tuple[Any, ...], None, None] | None = None
        self.waiting: list[tuple[Any, ...]] = []

    def first(self) -> tuple[Any, ...]:
        """The first block of the first epoch."""
        self.begun = self(0)
        block = next(self.begun)
        self.waiting.append(block)
        return block

    def __call__(self, epoch: int) -> Generator[tuple[Any, ...], None, None]:
        if not self.waiting:
            return self.blocks.opened(self.plan.drawing(epoch) if self.plan.shuffle else None)
        return self._rest()

    def _rest(self) -> Generator[tuple[Any, ...], None, None]:
        assert self.begun is not None
        yield self.waiting.pop()
        yield from self.begun

    def close(self) -> None:
        """End what was begun and may not have been gone through."""
        if self.begun is not None:
            self.begun.close()
