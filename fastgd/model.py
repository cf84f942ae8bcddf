"""Sequential: layers in a row, a loss, an optimizer; trained and asked through this one class."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ._formula import LOSSES, Loss, OptimizerRule
from ._kernels import DenseSpec, DropoutSpec, Network, SparseRows, StepSpec, get_backend
from ._kernels.random import INITIAL_WEIGHTS_STREAM
from .errors import NotBuiltError, refusal
from .fitting import Fit
from .inputs import (
    Rows,
    read_count,
    read_dtype,
    read_features,
    read_flag,
    read_loss_of,
    read_output,
    read_seed,
    read_targets,
    read_weight_arrays,
    read_weights,
    spelled,
)
from .layers import BatchNorm, Dense, Layer, Softmax, read_layers, read_penalty
from .methods import Method, resolve
from .optimizers import Optimizer
from .penalties import Penalty
from .standardization import Standardization, refolded
from .streams import is_stream
from .threads import FLOPS_OF_CALL, choose
from .training import Counters, History, StepScalars, divergence

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._checkpoint.container import Container, Expected
    from ._checkpoint.model import Layout, Reader
    from ._kernels import Array
    from .callbacks import Callback, CallbackList
    from .export.predictor import Predictor
    from .metrics import Measure

__all__ = ["Sequential"]

# Forward passes over many rows are cut into calls of this much work, between which Ctrl-C is obeyed.
FLOPS_PER_CALL = 4e9

# Steps in compiled code between two visits to Python, each of some ten microseconds.
STEPS_IN_COMPILED_CODE = 1024


class Sequential:
    """A stack of layers, trained by gradient descent.

    Parameters
    ----------
    layers : sequence of Dense, Dropout, BatchNorm, LayerNorm and Softmax
        The last one is Dense.
    loss : str or Loss, optional
        Acts on the last layer's raw output; only a model that is never trained does without.
    optimizer : str, Optimizer, OptimizerRule, LBFGS, RandomSearch or CoordinateSearch
        The last three need all rows at once: they are for `fit` alone, where an iteration of theirs is an epoch.
    penalty : L1, L2 or ElasticNet, optional
        On the weights of every layer that has none of its own; never on biases.
    dtype : {"float32", "float64"}
        Of weights, activations and predictions.
    seed : int or None
        Decides initial weights and the order of rows; None draws one, which `seed` then tells.
    n_threads : int or None
        The most threads to use; None: the processors that are there, shared with other fits that go on in the process
        at the same time. Work too small to share stays on one thread, and results are the same bits for any number.
    backend : {"cython", "numba", "numpy"}

    Attributes
    ----------
    history : History
        Of the last `fit`.
    stop_training : bool
        Set to True by a callback, ends the `fit` that is under way.

    Raises
    ------
    ValueError
        If a value is out of range or a name is not known.
    TypeError
        If something is of the wrong type.

    Notes
    -----
    The loss is sum(w_i l_i) / sum(w_i) with the sample weights w, the mean over outputs too, plus penalties.
    The gradient is exactly that of this number.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array([0, 1, 1, 0])
    >>> model = fg.Sequential(
    ...     [fg.Dense(8, activation="tanh"), fg.Dense(2)],
    ...     loss="softmax_cross_entropy",
    ...     optimizer=fg.Adam(learning_rate=0.05),
    ...     backend="numpy",
    ... )
    >>> history = model.fit(X, y, epochs=200, batch_size=None)
    >>> model.predict(X).argmax(axis=1)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer | OptimizerRule | Method = "adam",
        penalty: Penalty | None = None,
        dtype: npt.DTypeLike = "float32",
        seed: int | None = 0,
        n_threads: int | None = None,
        backend: str = "cython",
    ) -> None:
        self._layers, self._last = read_layers(layers)
        self._n_outputs = self._last.units
        self._loss = None if loss is None else read_loss_of(self._n_outputs, loss)
        self._optimizer = resolve(optimizer)
        self._penalty = read_penalty("penalty", penalty)
        self._dtype = read_dtype(dtype)
        self._seed = read_seed(seed)
        self.n_threads = n_threads
        self._backend_name = backend
        self._backend = get_backend(backend)
        self._specs = [layer.spec(self._penalty) for layer in self._layers]
        self._forget()

    def _forget(self) -> None:
        """As before any `build`."""
        self._retire()
        self._network: Network | None = None
        # With averages of the weights, or with weights for raw columns while standardised ones are learnt from; as of
        # that step.
        self._answering: Network | None = None
        self._answering_at = -1
        self._n_inputs = 0
        self._flops_per_row = 0.0
        self._counted = Counters()
        self._scalars = StepScalars(self._optimizer)
        self.history = History()
        self.stop_training = False
        self._hooks: CallbackList | None = None
        # What the weights are for, while a fit learns from standardised columns.
        self._standardization: Standardization | None = None
        # The two sums of a single step, and the same memory as Python reads it fastest.
        self._step_sums = np.zeros((1, 2))
        self._step_view: Any = self._step_sums.reshape(-1).data

    # ----------------------------------------------------------------------------------------------- in compiled code
    # What `fastgd.jit` was given of the present network.
    _in_compiled_code: Any = None

    def _embedded(self) -> Any:
        """The network as compiled code uses it."""
        network = self._built()
        if not hasattr(network, "embedded"):
            remedy = "make the model with backend='cython', and set_weights of this one"
            raise TypeError(refusal("model", f"one of backend {self.backend!r}", "one of backend 'cython'", remedy))
        if self._optimizer.averages:
            remedy = "leave out ema and average"
            got = "one that predicts by averages of its weights"
            raise TypeError(refusal("model", got, "one that predicts by its weights", remedy))
        if self._in_compiled_code is None:
            self._in_compiled_code = network.embedded(self._next_scalars)
        return self._in_compiled_code

    def _next_scalars(self) -> tuple[Array, int, int]:
        """The optimizer's scalars for steps in compiled code, the number of steps before them, and the seed."""
        counters = self._counters
        table = self._optimizer.scalars(counters.optimizer_steps + 1, STEPS_IN_COMPILED_CODE)
        return table, counters.steps, self._seed

    @property
    def _counters(self) -> Counters:
        """Where training stands, steps in compiled code included."""
        if self._in_compiled_code is not None:
            self._counted.add_steps(self._in_compiled_code.take_steps())
        return self._counted

    def _retire(self) -> None:
        """What compiled code was given is not this model's any more."""
        if self._in_compiled_code is not None:
            self._counted.add_steps(self._in_compiled_code.take_steps())
            self._in_compiled_code.retire()
        self._in_compiled_code = None

    # -------------------------------------------------------------------------------------------- what it consists of
    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input on."""
        return self._layers

    @property
    def loss(self) -> Loss | None:
        """The loss."""
        return self._loss

    @property
    def penalty(self) -> Penalty | None:
        """The penalty of layers without one of their own."""
        return self._penalty

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of weights, activations and predictions."""
        return self._dtype

    @property
    def seed(self) -> int:
        """Decides initial weights and the order of rows."""
        return self._seed

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self._backend_name

    @property
    def optimizer(self) -> Optimizer | Method:
        """The optimizer. Setting another one, or the same, makes its state start anew; weights stay.

        To go on with another learning rate and the state there is, write ``model.optimizer.learning_rate = 1e-4``.
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, given: str | Optimizer | OptimizerRule | Method) -> None:
        chosen = resolve(given)
        before, self._optimizer = self._network, chosen
        if before is not None:
            network = self._new_network(self._n_inputs, chosen)
            self._retire()
            network.set_weights(before.get_weights())
            network.set_statistics(before.get_statistics())
            self._take(network, self._n_inputs)
            self._restart_average(network)
        self._scalars = StepScalars(chosen)
        self._counters.optimizer_steps = 0

    @property
    def n_threads(self) -> int | None:
        """The most threads to use; None: the processors that are there."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, given: int | None) -> None:
        remedy = "pass n_threads=1, or None for all processors"
        self._n_threads = None if given is None else read_count("n_threads", given, remedy)

    @property
    def n_inputs(self) -> int:
        """Columns of X.

        Raises
        ------
        NotBuiltError
        """
        self._built()
        return self._n_inputs

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self._n_outputs

    @property
    def n_parameters(self) -> int:
        """Weights and biases, gains and shifts: what is learnt by gradient descent.

        Raises
        ------
        NotBuiltError
        """
        self._built()
        layers = self._with_widths(self._n_inputs)
        return sum(math.prod(shape) for layer, n in layers for shape in layer.parameter_shapes(n).values())

    @property
    def n_epochs_done(self) -> int:
        """Epochs finished since the model was built; the order of rows depends on it."""
        return self._counters.epochs

    @property
    def n_steps_done(self) -> int:
        """Optimizer steps since the model was built."""
        return self._counters.steps

    @property
    def n_optimizer_steps_done(self) -> int:
        """Steps since the optimizer was set; schedules go by these."""
        return self._counters.optimizer_steps

    def _with_widths(self, width: int) -> Iterator[tuple[Layer, int]]:
        """The layers, each with the number of its inputs."""
        for layer in self._layers:
            yield layer, width
            width = layer.n_outputs(width)

    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the arrays that `get_weights` gives: W1, b1 and so on, numbered by the layers that have any."""
        layers = self._with_widths(self._n_inputs)
        learning = filter(None, (layer.parameter_shapes(n) | layer.statistic_shapes(n) for layer, n in layers))
        return {f"{name}{k}": shape for k, shapes in enumerate(learning, 1) for name, shape in shapes.items()}

    def _in_order(self, learnt: Iterable[Array], gathered: Iterable[Array]) -> list[Array]:
        """Arrays as `get_weights` gives them, from those of the parameters and those of the statistics."""
        sources = iter(learnt), iter(gathered)
        arrays: list[Array] = []
        for layer in self._layers:
            for source, shapes in zip(sources, (layer.parameter_shapes(1), layer.statistic_shapes(1)), strict=True):
                arrays += itertools.islice(source, len(shapes))
        return arrays

    # ------------------------------------------------------------------------------------------------------ weights
    def build(self, n_features: int) -> Self:
        """Allocate and initialise weights for so many columns of X; `fit` does it by itself.

        A model that was built before starts afresh.

        Parameters
        ----------
        n_features : int

        Returns
        -------
        Sequential
            The model itself.

        Raises
        ------
        ValueError, TypeError
            If `n_features` is no whole number of at least 1.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(3)], backend="numpy").build(2)
        >>> [w.shape for w in model.get_weights()]
        [(2, 3), (3,)]
        """
        n_inputs = read_count("n_features", n_features, "pass the number of columns of X")
        network = self._new_network(n_inputs, self._optimizer)
        network.set_weights(self._initial_weights(n_inputs))
        layers = self._with_widths(n_inputs)
        network.set_statistics([array for layer, width in layers for array in layer.initial_statistics(width)])
        self._forget()
        self._take(network, n_inputs)
        self._restart_average(network)
        return self

    def _initial_weights(self, width: int) -> Iterator[Array | Iterator[Array]]:
        """[W1, b1, W2, ...], each drawn when it is asked for, most of them some rows at a time."""
        for k, (layer, n_inputs) in enumerate(self._with_widths(width)):

            def draw(count: int, start: int, substream: int = k) -> Array:
                return self._backend.uniform(self._seed, INITIAL_WEIGHTS_STREAM, substream, count, start)

            yield from layer.initial_weights(draw, n_inputs)

    def _new_network(self, n_inputs: int, optimizer: Optimizer | Method) -> Network:
        step = StepSpec(optimizer.clip_norm, optimizer.clip_slack, optimizer.averages, optimizer.accumulate)
        network = self._backend.Network(n_inputs, self._specs, self._loss, optimizer.rule, self._dtype, step)
        initial = optimizer.initial_states()
        if any(initial.values()):
            layers = self._with_widths(n_inputs)
            shapes = [shape for layer, width in layers for shape in layer.parameter_shapes(width).values()]
            states = [[np.broadcast_to(value, shape) for shape in shapes] for value in initial.values()]
            network.set_slots([*states, *network.get_slots()[len(initial) :]])
        return network

    def _restart_average(self, network: Network) -> None:
        """The average becomes the weights themselves."""
        if self._optimizer.averages:
            slots = network.get_slots()
            slots[len(self._optimizer.initial_states())] = network.get_weights()
            network.set_slots(slots)

    def _take(self, network: Network, n_inputs: int) -> None:
        self._network = network
        self._n_inputs = n_inputs
        self._flops_per_row = self._flops_forward(n_inputs)
        self._answering = self._new_answering(n_inputs) if self._optimizer.averages else None
        self._answering_at = -1
        # Of each layer's output.
        self._widths = [layer.n_outputs(width) for layer, width in self._with_widths(n_inputs)]

    def _new_answering(self, n_inputs: int) -> Network:
        """A network that predicts, and has weights that are made of those of the one that learns."""
        return self._backend.Network(n_inputs, self._specs, self._loss, None, self._dtype)

    def _flops_forward(self, n_inputs: int) -> float:
        """Of one row: a multiplication and an addition for each weight. As much again for each of the two gradients."""
        return 2.0 * sum(layer.products(width) for layer, width in self._with_widths(n_inputs))

    def _flops(self, X: Any) -> float:
        """Of a forward pass through rows; the first layer multiplies what is stored of them."""
        if not isinstance(X, SparseRows):
            return self._flops_per_row * len(X)
        first = self._layers[0].products(self._n_inputs)
        return self._flops_per_row * len(X) - 2.0 * first * (len(X) - X.n_stored / self._n_inputs)

    def _built(self) -> Network:
        if self._network is None:
            expected = "a model that is built"
            remedy = "call model.build(n_features) or model.fit(X, y) first"
            raise NotBuiltError(refusal("model", "one without weights", expected, remedy))
        return self._network

    def _asked(self) -> Network:
        """The network that answers: with averages, or for raw columns, where these are not the weights that learn."""
        network = self._built()
        if self._answering is None:
            return network
        if self._answering_at != self._counters.steps:
            self._answering.set_weights(self._answering_weights(network))
            self._answering.set_statistics(network.get_statistics())
            self._answering_at = self._counters.steps
        return self._answering

    def _answering_weights(self, network: Network) -> list[Array]:
        if self._standardization is not None:
            return refolded(network.get_weights(), self._standardization.folded)
        return network.get_slots()[len(self._optimizer.initial_states())]

    def _shown(self) -> Network:
        """The network with the weights that `get_weights` gives: for X as it is, whatever is learnt from."""
        return self._built() if self._standardization is None else self._asked()

    def get_weights(self, *, averaged: bool = False) -> list[Array]:
        """Copies of all weights.

        Parameters
        ----------
        averaged : bool
            Whether to give the averages that ``predict`` goes by, if the optimizer has `ema` or `average`; otherwise
            they are the weights themselves.

        Returns
        -------
        list of ndarray
            ``[W1, b1, W2, b2, ...]`` with W of shape (n_inputs, n_outputs) and b of shape (n_outputs,); in its place
            ``gain, shift, running mean, running variance`` of a `BatchNorm` and ``gain, shift`` of a `LayerNorm`, all
            of shape (n_inputs,).

        Raises
        ------
        NotBuiltError
        """
        network = self._asked() if read_flag("averaged", averaged) else self._shown()
        return self._in_order(network.get_weights(), network.get_statistics())

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Replace all weights. The optimizer's state stays as it is; averages of the weights become these.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` gives them; cast to the model's dtype.

        Raises
        ------
        NotBuiltError
        ValueError
            If number or shapes differ, or a value is not finite.
        TypeError
            If something does not consist of real numbers.
        """
        network = self._built()
        shapes = self._weight_shapes()
        arrays = read_weight_arrays(weights, shapes, self._dtype, self._backend.first_nonfinite)
        of_batches = [name.startswith(("mean", "variance")) for name in shapes]
        learnt = [array for array, gathered in zip(arrays, of_batches, strict=True) if not gathered]
        if self._standardization is not None:
            learnt = refolded(learnt, self._standardization.unfolded)
        network.set_weights(learnt)
        network.set_statistics([array for array, gathered in zip(arrays, of_batches, strict=True) if gathered])
        self._answering_at = -1
        self._restart_average(network)
        self._counters.unfinished = None

    # ----------------------------------------------------------------------------------------------------- training
    def fit(
        self,
        X: npt.ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
        y: npt.ArrayLike | None = None,
        *,
        epochs: int = 1,
        batch_size: int | str | None = "auto",
        shuffle: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: dict[int, float] | str | None = None,
        validation_data: tuple[Any, ...] | None = None,
        standardize: bool = False,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Callback] | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        verbose: int = 0,
    ) -> History:
        """Train, going through the rows `epochs` times.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs); or blocks
            Real numbers of any dtype and strides; it is not copied. Sparse rows stay sparse, see Notes. Without `y`,
            blocks ``(X, y)`` or ``(X, y, sample_weight)``: something that can be iterated over, such as
            `fastgd.streams.ParquetFolder`, or a function that returns a fresh iterator for each epoch.
        y : array_like
            Labels (n,), or rows (n, n_outputs), as the loss takes them; (n,) will do for a single output.
        epochs : int
        batch_size : int, None or "auto"
            Rows per step: 1 is true stochastic descent, None is all rows, "auto" is 32 or all if these are fewer. For
            an optimizer that needs all rows at once "auto" is all.
        shuffle : bool
            Whether each epoch has an order of its own, which depends on `seed` and the number of the epoch.
        sample_weight : array_like of shape (n,), optional
        class_weight : dict of label to weight, or "balanced", optional
            Multiplies the sample weights. "balanced" gives every class that occurs the same total.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch.
        standardize : bool
            Whether to learn from columns of mean 0 and standard deviation 1. What does that to X is found in one pass
            before, and folded into the first layer, which has to be `Dense`, at the end: the model takes X as it is.
        metrics : list of str, Metric, scorer or callable, optional
            What the history gets beside the loss, of the rows and of the validation data, after each epoch: names and
            objects of `fastgd.metrics`, scikit-learn's scorers or their names, functions of ``(y, prediction)``. Costs
            a forward pass over each. With blocks, which go by once an epoch, of the validation data alone.
        callbacks : list of Callback, optional
            Told of the course of training, which they may stop or steer; see `fastgd.callbacks`.
        resume_from : path, optional
            A file that `save` has written in the course of such a fit: it is taken up where the file left it, to the
            bits that it would have come to. Weights, optimizer state, counters, seed, learning rate, history and the
            states of callbacks come from the file; the model and the data have to be as they were. `epochs` counts
            from the beginning of the interrupted fit. If there is no such file yet, training begins: the same line
            starts a run and, run again, goes on with it.
        verbose : {0, 1}
            1 prints a line for each epoch.

        Returns
        -------
        History
            Also ``model.history``, from the first epoch on.

        Raises
        ------
        ValueError, TypeError
            For input that is refused; the model is then as it was.
        DivergenceError
            If the loss or a weight becomes infinite or NaN; the model keeps its last finite weights.
        KeyboardInterrupt
            On Ctrl-C: the model is then as of the last finished step. A further `fit` on rows of the same number, in
            batches of the same size, finishes the interrupted epoch first and goes on as if nothing had happened.

        Notes
        -----
        A sparse X, in CSR with 32- or 64-bit indices, is read where it lies; other formats of SciPy's are converted to
        CSR. It is never made dense: the first layer, which has to be `Dense`, reads only the weights of columns that a
        batch has, and its update touches only these. What momentum, decay and the like do to the others is made up for
        when they are read next, so that weights and losses are those of the dense rows. A penalty on the first layer
        is part of each loss that is reported: for that, an epoch, or a single step, ends with a look at all columns.

        Blocks are read ahead in a thread of their own, so that each has to be made of arrays of its own; up to three
        are in memory at a time. Batches do not reach over the end of a block. Rows are shuffled within their block, in
        an order that depends on `seed` and the numbers of epoch and block; a source that has a method `in_order`, as
        `fastgd.streams.ParquetFolder` has, is gone through in another order each epoch. Class weights have to be given
        as a dict. A fit that is resumed reads, but does not learn from, what it has learnt from before; after Ctrl-C, a
        further fit begins a new pass, since its blocks may be others.

        With `standardize`, penalties are of the weights for standardised columns. The variance is that of the rows
        there are, each with its sample weight; a constant column keeps its scale. To callbacks the model shows weights
        for X as it is, as at the end; what is saved meanwhile has the means and deviations, and is resumed with these.

        ``fit(epochs=2)`` does the same, to the bit, as ``fit(epochs=1)`` twice. An optimizer that needs all rows at
        once, such as `LBFGS`, begins anew in each `fit`, and ends it when it has converged.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.1), backend="numpy")
        >>> history = model.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], epochs=300, batch_size=None)
        >>> round(history.history["loss"][-1], 6)
        0.0
        """
        fit = Fit(
            self,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
            validation_data=validation_data,
            standardize=standardize,
            metrics=metrics,
            callbacks=callbacks,
            resume_from=resume_from,
            verbose=verbose,
        )
        try:
            return fit.on_blocks(X, sample_weight) if is_stream(X, y) else fit.on_arrays(X, y, sample_weight)
        finally:
            self._fold()

    def _read_metrics(self, given: Any) -> dict[str, Measure]:
        """The metrics by name; without any, their module is not imported."""
        if isinstance(given, (list, tuple)) and not given:
            return {}
        from .metrics import read_metrics

        return read_metrics(given, self._loss_for_use())

    def _measured(self, rows: Rows, measures: dict[str, Measure], network: Network) -> dict[str, float]:
        """Metrics of the rows, by name."""
        if not measures:
            return {}
        from .metrics import Outcome

        last = len(self._layers) - 1
        predictions = np.empty((len(rows), self._n_outputs), self._dtype)
        for piece in self._pieces(rows.X):
            X = rows.X[piece]
            n_threads = self._team(self._flops(X))
            network.predict(X, predictions[piece], link=True, layer=last, n_threads=n_threads)
        outcome = Outcome.of_rows(rows, predictions, self._loss_for_use())
        return {name: measure(outcome) for name, measure in measures.items()}

    # ------------------------------------------------------------------------------------------ standardised columns
    def _standardize(self, found: Standardization, unfold: bool) -> None:
        """Have weights for standardised columns until `_fold`, and answer for X as it is."""
        if found is self._standardization:
            return
        self._fold()
        network = self._built()
        if unfold:
            network.set_weights(refolded(network.get_weights(), found.unfolded))
        self._standardization = found
        self._answering, self._answering_at = self._new_answering(self._n_inputs), -1

    def _fold(self) -> None:
        """Have weights for X as it is again."""
        if self._standardization is not None:
            network, found = self._built(), self._standardization
            self._standardization = self._answering = None
            network.set_weights(refolded(network.get_weights(), found.folded))

    def _as_it_learns(self, X: npt.ArrayLike) -> tuple[Self, Any]:
        """A model that takes what is learnt from, and these rows in that form; itself and X where that is the same."""
        found = self._standardization
        if found is None:
            return self, X
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__() | {"standardization": None})
        return twin, found.standardized(np.asarray(X), self._dtype)

    def _refuse_single_rows(self, batch_size: int) -> None:
        if batch_size == 1 and any(isinstance(layer, BatchNorm) for layer in self._layers):
            expected = "at least 2 rows: BatchNorm learns nothing from one"
            raise ValueError(refusal("batch_size", "1", expected, "take larger batches, or LayerNorm"))

    def train_on_batch(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: dict[int, float] | str | None = None,
    ) -> float:
        """One optimizer step on all the rows given.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs)
        y : array_like
            As for `fit`.
        sample_weight : array_like of shape (n,), optional
        class_weight : dict of label to weight, or "balanced", optional

        Returns
        -------
        float
            The loss before the step, penalties included.

        Raises
        ------
        ValueError, TypeError
            For input that is refused; the model is then as it was.
        DivergenceError
            If the loss or a weight becomes infinite or NaN.

        Notes
        -----
        NumPy arrays of real numbers and of labels take the shortest way.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(1, initializer="zeros")], loss="half_squared_error", backend="numpy")
        >>> model.train_on_batch([[2.0]], [3.0])
        4.5
        """
        weights: Any = None
        network = self._network
        if network is None or sample_weight is not None or class_weight is not None or not network.takes_batch(X, y):
            rows = self._read_rows(X, y, sample_weight, class_weight)
            network = self.build(rows.X.shape[1])._built() if network is None else network
            X, y, weights = rows.X, rows.targets, rows.weights  # type: ignore[assignment]
        counters = self._counted if self._in_compiled_code is None else self._counters
        sums = self._step_view
        n_rows = len(X)  # type: ignore[arg-type]
        if n_rows == 1:
            self._refuse_single_rows(1)
        sums[0] = sums[1] = 0.0
        status, done = network.train(
            X,  # type: ignore[arg-type]
            y,  # type: ignore[arg-type]
            weights,
            batch_size=n_rows,
            seed=self._seed,
            shuffle=False,
            epoch=0,
            step=0,
            n_steps=1,
            steps_before=counters.steps,
            scalars=self._scalars.row(counters.optimizer_steps + 1),
            losses=self._step_sums,
            n_threads=self._team(3.0 * self._flops(X)),
        )
        counters.add_steps(done)
        counters.unfinished = None
        if status:
            raise divergence(status, self._optimizer, None, counters)
        loss: float = sums[0] / sums[1]
        return loss

    def _team(self, flops: float) -> int:
        """Threads for a call that is one step; quick where the work is little."""
        return 1 if flops < FLOPS_OF_CALL else choose(self._n_threads, flops, flops)

    def _read_rows(self, X: Any, y: Any, sample_weight: Any, class_weight: Any, prefix: str = "") -> Rows:
        """Check what a loss is computed from."""
        network, loss = self._network, self._loss_for_use()
        if network is not None and sample_weight is None and class_weight is None and network.takes_batch(X, y):
            return Rows(X, y, None)
        n_inputs = self._n_inputs or None
        n_outputs, find = self._n_outputs, self._backend.first_nonfinite
        features = self._read_features(X, n_inputs, f"{prefix}X")
        targets = read_targets(y, loss, len(features), n_outputs, self._dtype, find, f"{prefix}y")
        return Rows(features, targets, read_weights(sample_weight, class_weight, targets, loss, n_outputs))

    def _read_features(self, X: Any, n_inputs: int | None, name: str) -> Array | SparseRows:
        features = read_features(X, n_inputs, self._dtype, self._backend.first_nonfinite, name)
        if isinstance(features, SparseRows) and not isinstance(self._layers[0], Dense):
            expected = f"a dense array: the first layer is {self._layers[0]!r}, not Dense"
            remedy = f"begin with Dense, or make it dense: {name}.toarray()"
            raise TypeError(refusal(name, "a sparse matrix", expected, remedy))
        return features

    def _loss_for_use(self) -> Loss:
        if self._loss is None:
            remedy = "make it with Sequential(layers, loss='mean_squared_error') or another"
            raise ValueError(refusal("model", "one without a loss", "one with a loss", remedy))
        return self._loss

    # ------------------------------------------------------------------------------------------------------- asking
    def predict(self, X: npt.ArrayLike, *, raw: bool = False, out: Array | None = None) -> Array:
        """Outputs of the last layer with the loss's link applied: probabilities for a cross-entropy.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs)
        raw : bool
            Whether to leave the link out and give scores.
        out : ndarray of shape (n, n_outputs), optional
            Receives the result; of the model's dtype, any strides.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            `out`, if given.

        Raises
        ------
        NotBuiltError
        ValueError, TypeError
            For input that is refused.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(2, initializer="zeros")], loss="softmax_cross_entropy", backend="numpy")
        >>> model.build(3).predict([[1.0, 2.0, 3.0]])
        array([[0.5, 0.5]], dtype=float32)
        """
        link = raw is False or not read_flag("raw", raw)
        return self._forward(X, out, link, len(self._layers) - 1)

    def transform(self, X: npt.ArrayLike, layer: int = -2, *, out: Array | None = None) -> Array:
        """Outputs of a layer, activation applied: the features that the network has made of X.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs)
        layer : int
            Counted from 0, or from -1 backwards; -1 gives raw scores.
        out : ndarray of shape (n, units of that layer), optional
            Receives the result; of the model's dtype, any strides.

        Returns
        -------
        ndarray of shape (n, units of that layer)
            `out`, if given.

        Raises
        ------
        NotBuiltError
        ValueError, TypeError
            For input that is refused.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(4, activation="relu"), fg.Dense(1)], backend="numpy").build(3)
        >>> model.transform([[1.0, 2.0, 3.0]]).shape
        (1, 4)
        """
        n_layers = len(self._layers)
        whole = isinstance(layer, (int, np.integer)) and not isinstance(layer, bool)
        if not whole or not -n_layers <= layer < n_layers:
            expected = f"a whole number from {-n_layers} to {n_layers - 1}: there are {n_layers} layers"
            raise ValueError(refusal("layer", repr(layer), expected, "pass layer=-1 for the last one"))
        return self._forward(X, out, False, int(layer) % n_layers)

    def _forward(self, X: Any, out: Array | None, link: bool, layer: int) -> Array:
        network = self._asked()
        if out is None or not network.takes_output(X, out, layer):
            if not network.takes(X):
                X = self._read_features(X, self._n_inputs, "X")
            shape = (len(X), self._widths[layer])
            out = np.empty(shape, self._dtype) if out is None else read_output(out, shape, self._dtype, X)
        flops = self._flops(X)
        if flops <= FLOPS_PER_CALL:
            network.predict(X, out, link=link, layer=layer, n_threads=self._team(flops))
            return out
        for piece in self._pieces(X):
            network.predict(X[piece], out[piece], link=link, layer=layer, n_threads=self._team(FLOPS_PER_CALL))
        return out

    def _pieces(self, X: Array | SparseRows) -> Iterator[slice]:
        """Rows in pieces of about `FLOPS_PER_CALL`, the same for the same data."""
        size = max(1, int(FLOPS_PER_CALL * len(X) / max(1.0, self._flops(X))))
        for first in range(0, len(X), size):
            yield slice(first, first + size)

    def evaluate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        metrics: Sequence[Any] = (),
    ) -> dict[str, float]:
        """The loss on given rows, penalties included, the accuracy where there are classes, and metrics.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs)
        y : array_like
            As for `fit`.
        sample_weight : array_like of shape (n,), optional
        metrics : list of str, Metric, scorer or callable, optional
            As for `fit`.

        Returns
        -------
        dict
            ``"loss"``; and ``"accuracy"`` for losses over classes: the weighted share of rows whose largest score is at
            the target's class, or, for binary cross-entropy, of outputs on the target's side of a half. And the metrics
            by name.

        Raises
        ------
        NotBuiltError
        ValueError, TypeError
            For input that is refused.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(1, initializer="zeros")], loss="mean_squared_error", backend="numpy")
        >>> model.build(1).evaluate([[1.0], [2.0]], [1.0, 3.0])
        {'loss': 5.0}
        """
        network = self._asked()
        rows, measures = self._read_rows(X, y, sample_weight, None), self._read_metrics(metrics)
        return self._evaluate(rows, network) | self._measured(rows, measures, network)

    def _evaluate(self, rows: Rows, network: Network) -> dict[str, float]:
        loss = total = correct = 0.0
        # Rows that are compared with each other stay together.
        whole = self._loss_for_use().compares_rows
        for piece in (slice(None),) if whole else self._pieces(rows.X):
            X, weights = rows.X[piece], None if rows.weights is None else rows.weights[piece]
            n_threads = self._team(self._flops(X))
            sums = network.evaluate(X, rows.targets[piece], weights, n_threads=n_threads)
            loss, total, correct = loss + sums[0], total + sums[1], correct + sums[2]
        values = {"loss": loss / total + self._penalty_value(network)}
        if not math.isnan(correct):
            values["accuracy"] = correct / total
        return values

    def _penalty_value(self, network: Network) -> float:
        if not any(isinstance(spec, DenseSpec) and (spec.l1 or spec.l2) for spec in self._specs):
            return 0.0
        specs = [spec for spec in self._specs if not isinstance(spec, DropoutSpec)]
        pairs = zip(specs, network.get_weights()[::2], strict=True)
        return sum(Penalty(spec.l1, spec.l2)(W) for spec, W in pairs if isinstance(spec, DenseSpec))

    def loss_and_gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> tuple[float, list[Array]]:
        """The loss on given rows, penalties included, and its gradient by every weight.

        Parameters
        ----------
        X : array_like or SciPy sparse, of shape (n, n_inputs)
        y : array_like
            As for `fit`.
        sample_weight : array_like of shape (n,), optional

        Returns
        -------
        loss : float
        gradients : list of ndarray
            ``[dW1, db1, dW2, ...]``, in the order and of the shapes of `get_weights`. By running statistics they are
            zero: what is learnt from does not depend on them.

        Raises
        ------
        NotBuiltError
        ValueError, TypeError
            For input that is refused.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(1)], loss="half_squared_error", backend="numpy").build(1)
        >>> model.set_weights([[[0.5]], [0.5]])
        >>> model.loss_and_gradients([[2.0]], [3.0])
        (1.125, [array([[-3.]], dtype=float32), array([-1.5], dtype=float32)])
        """
        network = self._shown()
        rows = self._read_rows(X, y, sample_weight, None)
        n_threads = self._team(3.0 * self._flops(rows.X))
        loss, gradients = network.loss_and_gradients(
            rows.X,
            rows.targets,
            rows.weights,
            seed=self._seed,
            steps_before=self._counters.steps,
            n_threads=n_threads,
        )
        return loss, self._in_order(gradients, map(np.zeros_like, network.get_statistics()))

    # ---------------------------------------------------------------------------------------------------- exporting
    def to_onnx(self, path: str | os.PathLike[str], *, raw: bool = False) -> None:
        """Write the model as an ONNX file, for onnxruntime and whatever else reads that format.

        Needs the onnx library: ``pip install "fastgd[onnx]"``.

        Parameters
        ----------
        path : path
            Replaced if it exists.
        raw : bool
            Whether to leave the loss's link out and give scores, as in `predict`.

        Raises
        ------
        NotBuiltError
        ImportError
            If onnx is not installed.
        ValueError
            For more than 2 GiB of weights.

        Notes
        -----
        The graph takes ``X`` of shape (N, n_inputs) and gives ``prediction`` of shape (N, n_outputs), both of the
        model's dtype. Operator set 20; onnxruntime reads it from 1.17 on. Activations that are operators of ONNX
        become these, all others, your own too, the arithmetic of their formulas. Exponentials and the like are then
        the reader's, so that predictions agree to rounding, not to the bit.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(2)], loss="softmax_cross_entropy", backend="numpy").build(3)
        >>> model.to_onnx("model.onnx")  # doctest: +SKIP
        """
        from .export.onnx_ import write_onnx

        write_onnx(self._predictor(raw), path)

    def to_c(self, path: str | os.PathLike[str], *, name: str = "predict", raw: bool = False) -> None:
        """Write the model as one C99 file, weights and all, for where there is no Python.

        Parameters
        ----------
        path : path
            Replaced if it exists.
        name : str
            Of the function, an identifier of C. All else in the file begins with it or is static.
        raw : bool
            Whether to leave the loss's link out and give scores, as in `predict`.

        Raises
        ------
        NotBuiltError
        ValueError
            If `name` is no identifier of C, or means something there already.

        Notes
        -----
        ``void predict(const float *x, float *out)`` (``double`` for a model of float64) reads one row of n_inputs
        numbers and writes n_outputs; ``predict_n_inputs`` and ``predict_n_outputs`` are constants. It needs ``math.h``
        and nothing else, allocates nothing, keeps nothing between two calls, and puts two rows of the widest layer on
        the stack. Exponentials and the like are the C library's, so that predictions agree to rounding, not to the bit.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(2)], loss="softmax_cross_entropy", backend="numpy").build(3)
        >>> model.to_c("model.c")  # doctest: +SKIP
        """
        from .export.c import write_c

        write_c(self._predictor(raw), path, name)

    def _predictor(self, raw: bool) -> Predictor:
        from .export.predictor import Predictor

        weights = self.get_weights(averaged=True)
        link = "linear" if read_flag("raw", raw) or self._loss is None else self._loss.link
        group = 1 if self._loss is None else self._loss.outputs_per_target
        sizes = (self._n_inputs, self._n_outputs)
        return Predictor(*sizes, self._layers, weights, link, group, self._dtype, repr(self))

    # ------------------------------------------------------------------------------------------------------ showing
    def summary(self) -> None:
        """Print the layers with their shapes and parameters, and how the model is trained."""
        built = self._network is not None
        lines = [f"   {'output':>10}{'parameters':>13}  layer"]
        for k, (layer, n_inputs) in enumerate(self._with_widths(self._n_inputs)):
            known = built or isinstance(layer, Dense)
            width = f"{layer.n_outputs(n_inputs):,}" if known else ""
            count = f"{sum(map(math.prod, layer.parameter_shapes(n_inputs).values())):,}" if built else "not built"
            lines.append(f"{k:>3}{width:>10}{count:>13}  {layer!r}")
        lines.append(f"inputs {self._n_inputs:,}, parameters {self.n_parameters:,}" if built else "not built")
        loss = self._loss
        lines.append(f"loss {loss.name if loss else 'none'}, optimizer {self._optimizer!r}")
        if self._penalty is not None:
            lines.append(f"penalty {self._penalty!r}")
        lines.append(
            f"{self._dtype}, backend {self.backend}, {self.n_epochs_done} epochs, {self.n_steps_done} steps done"
        )
        applied = "softmax" if isinstance(self._layers[-1], Softmax) else self._last.activation.name
        if loss is not None and loss.link == applied != "linear":
            lines.append(f"note: the loss applies {loss.link} to the output of a layer that has applied it already")
        print("\n".join(lines))

    def __repr__(self) -> str:
        parts = [repr(list(self._layers))]
        if self._loss is not None:
            parts.append(f"loss={spelled(self._loss, LOSSES)}")
        parts.append(f"optimizer={self._optimizer!r}")
        for name, value, default in (
            ("penalty", self._penalty, None),
            ("dtype", self._dtype.name, "float32"),
            ("seed", self._seed, 0),
            ("n_threads", self._n_threads, None),
            ("backend", self._backend_name, "cython"),
        ):
            if value != default:
                parts.append(f"{name}={value!r}")
        return f"Sequential({', '.join(parts)})"

    # ------------------------------------------------------------------------------------------------ saving, resuming
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file: all that `load` needs to go on as if nothing had happened.

        Needs the safetensors library: ``pip install "fastgd[io]"``.

        Parameters
        ----------
        path : path
            Replaced if it exists, in one step: killed at any moment, the old or the new file is there, whole.

        Raises
        ------
        NotBuiltError
        ImportError
            If safetensors is not installed.
        OSError
            If the file cannot be written; it is then as it was.
        TypeError
            If a layer or the optimizer holds something that no file can.

        Notes
        -----
        A safetensors file. Its tensors are the weights, ``layers.0.W`` of shape (n_inputs, n_outputs) and
        ``layers.0.b``, the optimizer's state, averages of the weights and the history; its metadata, as JSON, the
        configuration, the counters that orders of rows and schedules depend on, and the states of the callbacks of the
        last `fit`. Of a learning rate that is a function only its name is written: see `fastgd.load`.

        Examples
        --------
        >>> import fastgd as fg
        >>> model = fg.Sequential([fg.Dense(2)], loss="softmax_cross_entropy", backend="numpy").build(3)
        >>> model.save("model.safetensors")  # doctest: +SKIP
        """
        from . import __version__
        from ._checkpoint.container import write_container

        write_container(os.fspath(path), *self._described(), __version__, "model.save")

    def _described(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Itself as plain data and tensors, for a file."""
        from ._checkpoint.model import describe

        self._built()
        callbacks = self._hooks.states() if self._hooks else []
        return describe(self.__getstate__(), self._layout(self._n_inputs), callbacks)

    @classmethod
    def _load(cls, container: Container, given: dict[str, Any]) -> Self:
        """The model of a file, with some settings replaced; `fastgd.load` is for the user."""
        reader = cls._reader(container, container.body())
        model = cls._of_file(reader, given)
        container.compare(model._expected(reader))
        model._adopt(reader.read())
        return model

    @classmethod
    def _reader(cls, container: Container, described: Any, prefix: str = "") -> Reader:
        from ._checkpoint.model import Reader

        names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        return Reader(container, described, names, prefix)

    @classmethod
    def _of_file(cls, reader: Reader, given: dict[str, Any]) -> Self:
        """The model that a file describes, without weights yet."""
        from ._checkpoint.configuration import NotInFileError

        settings = dict(given)
        for name in reader.settings:
            if name not in settings:
                try:
                    settings[name] = reader.made(name)
                except NotInFileError as error:
                    raise ValueError(f"{error}: fg.load(path, {name}=...)") from None
        try:
            return cls(settings.pop("layers"), **settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{reader.path}: {error}") from error

    def _expected(self, reader: Reader) -> Expected:
        """The tensors that a file of such a model has."""
        from ._checkpoint.model import slots_of

        return reader.expect(self._layout(reader.n_inputs), slots_of(self._optimizer), self._dtype.name)

    def _layout(self, n_inputs: int) -> Layout:
        """Name, shape and whether it is learnt of each array of `get_weights`, as a file has them."""
        return [
            (f"layers.{k}.{name}", shape, learnt)
            for k, (layer, width) in enumerate(self._with_widths(n_inputs))
            for learnt, shapes in ((True, layer.parameter_shapes(width)), (False, layer.statistic_shapes(width)))
            for name, shape in shapes.items()
        ]

    def _adopt(self, state: dict[str, Any], *, fold: bool = True) -> None:
        """Take weights, slots, counters and history in place of its own; weights for X as it is, if these are not."""
        network = self._new_network(state["n_inputs"], self._optimizer)
        network.set_weights(state["weights"])
        network.set_statistics(state["statistics"])
        network.set_slots(state["slots"])
        self._forget()
        self._take(network, state["n_inputs"])
        self._counted = state["counters"]
        self.history = state["history"]
        if state["standardization"] is not None:
            self._standardize(state["standardization"], False)
            if fold:
                self._fold()

    def _resume(self, reader: Reader, hooks: CallbackList | None) -> None:
        """Become the model of a file, which has been compared with this one; nothing is changed before all fits."""
        from ._checkpoint.resumption import learning_rate

        reader.container.compare(self._expected(reader))
        state = reader.read()
        rate, seed = learning_rate(reader, self._settings()), read_seed(reader.made("seed"))
        if hooks is not None:
            hooks.restore(reader.callbacks)
        if rate is not None and not isinstance(self._optimizer, Method):
            self._optimizer.learning_rate = rate
        self._seed = seed
        self._adopt(state, fold=False)

    # ---------------------------------------------------------------------------------------------- copies and pickles
    def _settings(self) -> dict[str, Any]:
        """What it was made with, and now has, by the names of the arguments."""
        return dict(
            layers=self._layers,
            loss=self._loss,
            optimizer=self._optimizer,
            penalty=self._penalty,
            dtype=self._dtype.name,
            seed=self._seed,
            n_threads=self._n_threads,
            backend=self._backend_name,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A shallow copy goes through here as well, and must not share what changes in place.
        settings, counters, history = copy.deepcopy((self._settings(), self._counters, self.history))
        state = dict(settings=settings, counters=counters, history=history)
        if self._network is not None:
            state["n_inputs"] = self._n_inputs
            state["weights"] = self._network.get_weights()
            state["statistics"] = self._network.get_statistics()
            state["slots"] = self._network.get_slots()
            state["standardization"] = copy.deepcopy(self._standardization)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = dict(state["settings"])
        self.__init__(settings.pop("layers"), **settings)  # type: ignore[misc]
        if "weights" in state:
            self._adopt(state)
        self._counted = state["counters"]
        self.history = state["history"]
