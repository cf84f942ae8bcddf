"""What the multilayer perceptrons share: parameters, training as scikit-learn does it, weights, hidden features."""

from __future__ import annotations

import copy
import math
import time
import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    is_classifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .._formula import Activation
from ..callbacks import read_callbacks
from ..errors import DivergenceError, refusal
from ..initializers import zeros
from ..inputs import is_sparse
from ..layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from ..model import Sequential
from ..optimizers import Optimizer
from ..penalties import ElasticNet
from ..schedules import Schedule
from ..threads import fitting
from ..training import DeferredInterrupt, Progress
from . import lbfgs
from .epochs import Epochs
from .export import Exportable
from .growth import with_settings
from .names import SAME_ACTIVATION, KnownNames, activation_names, solver_names
from .onlookers import Onlookers
from .samples import Samples, as_users_have_it, rows_of
from .saving import Saved
from .sensitivities import input_gradients
from .solvers import changes_with_rows, end_epoch, solver_of, stops
from .tasks import CallbackSupportMixin, FitTask, TaskCallback
from .unchanged import unchanged_if_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._formula import Loss
    from .._kernels import Array
    from ..export.predictor import Predictor

    # Rows that are not learnt from, and their y as the user has it.
    Watched = tuple[Samples, Any]

# Initial weights; they are drawn as float64, so these take 256 kB.
DRAWN_AT_A_TIME = 1 << 15

# scikit-learn's names of links.
OUT_ACTIVATIONS = {"linear": "identity", "sigmoid": "logistic"}

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Multilayer(
    Saved, Exportable, CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC
):
    """A network between the checks of an estimator and its outputs; see its subclasses for the parameters."""

    # Of scores, among the values that callbacks are told.
    _name_of_score: ClassVar[str]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [KnownNames(activation_names), Activation, list, tuple],
        "solver": [KnownNames(solver_names), Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule, callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "normalization": [StrOptions({"batch", "layer"}), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple, None],
        "dialect": [StrOptions({"sklearn"}), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    _model: Sequential
    loss_curve_: list[float]
    best_loss_: Any
    best_validation_score_: Any
    validation_scores_: Any
    validation_loss_curve_: Any
    _best_weights: Any

    # ------------------------------------------------------------------------------------ what subclasses decide
    @abstractmethod
    def _read_y(self, y: Any, incremental: bool, first_pass: bool) -> Array:
        """Check y; set what the estimator knows of it, ``n_outputs_`` among others; the engine's targets."""

    @abstractmethod
    def _loss_of_targets(self) -> tuple[Loss, int]:
        """The loss, and how many outputs' losses are added up where fastgd takes their mean."""

    @abstractmethod
    def _score_of(self, X: Any, y: Any, sample_weight: Array | None) -> float:
        """What early stopping watches, of checked X."""

    def _weighted(self, weights: Array | None, targets: Array, incremental: bool) -> Array | None:
        """Weights of rows, with those of their targets."""
        return weights

    def _constants(self, targets: Array) -> Array | None:
        """What scikit-learn's loss has besides fastgd's, for each row."""
        return None

    # ---------------------------------------------------------------------------------------------------- weights
    def _fitted_model(self, name: str) -> Sequential:
        model = self.__dict__.get("_model")
        if model is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r} before it is fitted")
        return model

    def _weight_lists(self, name: str) -> tuple[list[Array], list[Array]]:
        """Coefficients and intercepts as lists, the same ones until the model is trained again."""
        model = self._fitted_model(name)
        if "_lists" not in self.__dict__:
            weights, places = model.get_weights(averaged=True), self._places(model)
            for array in weights:
                # A change in place would not reach the engine: better that it fails.
                array.flags.writeable = False
            self._lists = (weights, [weights[k] for k in places], [weights[k + 1] for k in places])
        return self._lists[1:]

    @staticmethod
    def _places(model: Sequential) -> list[int]:
        """Where the matrices of dense layers stand among the weights; the biases of each come next."""
        return [k for k, name in enumerate(model._weight_shapes()) if name.startswith("W")]

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrix of each layer, (n_inputs, n_outputs). Assign new arrays to change them."""
        return self._weight_lists("coefs_")[0]

    @coefs_.setter
    def coefs_(self, given: list[Array]) -> None:
        self._replace("coefs_", self._weight_lists("coefs_")[0], given)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, (n_outputs,). Assign new arrays to change them."""
        return self._weight_lists("intercepts_")[1]

    @intercepts_.setter
    def intercepts_(self, given: list[Array]) -> None:
        self._replace("intercepts_", self._weight_lists("intercepts_")[1], given)

    def _replace(self, name: str, arrays: list[Array], given: list[Array]) -> None:
        """Give the engine others in the place of all of them, or leave all as they are."""
        before = list(arrays)
        if len(given) != len(before):
            expected, remedy = f"{len(before)}, one for each layer", "pass as many"
            raise ValueError(refusal(name, f"{len(given)} arrays", expected, remedy))
        arrays[:] = given
        try:
            self._push()
        except (TypeError, ValueError):
            arrays[:] = before
            raise

    def _push(self) -> None:
        """Give the engine what has been put in the place of a coefficient or an intercept, if anything has."""
        if "_lists" not in self.__dict__:
            return
        pushed, coefs, intercepts = self._lists
        here = list(pushed)
        for k, W, b in zip(self._places(self._model), coefs, intercepts, strict=True):
            here[k : k + 2] = W, b
        if any(a is not b for a, b in zip(here, pushed, strict=True)):
            self._model.set_weights(here)
            pushed[:] = here

    def __getstate__(self) -> dict[str, Any]:
        if "_model" in self.__dict__:
            self._push()
        # The model has these.
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_lists"}

    # --------------------------------------------------------------------------------------------------- the model
    def _units(self) -> list[int]:
        """Of the hidden layers."""
        sizes = self.hidden_layer_sizes
        units = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(units) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
        return units

    def _activations(self, n_hidden: int) -> list[Any]:
        """One for each hidden layer, by fastgd's names."""
        given = self.activation
        each = list(given) if isinstance(given, (list, tuple)) else [given] * n_hidden
        if len(each) != n_hidden:
            expected = f"{n_hidden}, one for each hidden layer"
            raise ValueError(refusal("activation", f"{len(each)} of them", expected, "pass one for all: 'relu'"))
        return [SAME_ACTIVATION.get(a, a) if isinstance(a, str) else a for a in each]

    def _hidden_layers(self) -> list[Layer]:
        """Each dense layer with the normalisation and the dropout that follow it."""
        layers: list[Layer] = []
        units = self._units()
        for n, activation in zip(units, self._activations(len(units)), strict=True):
            if self.normalization is None:
                layers.append(Dense(n, activation, initializer=zeros))
            else:
                norm = BatchNorm if self.normalization == "batch" else LayerNorm
                layers += [Dense(n, initializer=zeros), norm(activation=activation)]
            if self.dropout:
                layers.append(Dropout(self.dropout))
        return layers

    def _described_network(self, total_weight: float) -> dict[str, Any]:
        """What a network for the targets would be made with, besides its optimizer."""
        loss, n_summed = self._loss_of_targets()
        alpha = self.alpha / n_summed / total_weight
        return {
            "layers": [*self._hidden_layers(), Dense(self.n_outputs_ * loss.outputs_per_target, initializer=zeros)],
            "loss": loss,
            "penalty": ElasticNet(alpha * self.l1_ratio, alpha * (1.0 - self.l1_ratio)),
            "n_threads": self.n_threads,
        }

    def _follow_parameters(self, total_weight: float) -> None:
        """Make the network that is trained further what parameters say that have been set since."""
        model, described = self._model, self._described_network(total_weight)
        if all(getattr(model, name) == value for name, value in described.items()):
            return
        got, expected = weighted_layers(described["layers"]), weighted_layers(model.layers)
        if got != expected:
            what, remedy = "parameters set since the last fit", "set them back, or fit with warm_start=False"
            raise ValueError(refusal(what, f"{got} to be trained further", expected, remedy))
        self._model = with_settings(model, **described)
        self.out_activation_ = self._out_activation()

    def _new_model(self, n_features: int, dtype: Any, total_weight: float) -> Sequential:
        """Built, with weights drawn as scikit-learn draws them, in the place of zeros, which cost nothing."""
        described, n_summed = self._described_network(total_weight), self._loss_of_targets()[1]
        layers = described.pop("layers")
        draws = self.dialect is None or self.dropout
        seed = int(self._random_state.randint(np.iinfo(np.int32).max)) if draws else 0
        model = Sequential(
            layers,
            optimizer="sgd" if self.solver == "lbfgs" else solver_of(self, n_summed),
            dtype=dtype,
            seed=seed,
            **described,
        ).build(n_features)
        weights, places = model.get_weights(), self._places(model)
        drawn = self._initial_weights([n_features, *self._units(), layers[-1].units], dtype)
        for k, W, b in zip(places, drawn[::2], drawn[1::2], strict=True):
            weights[k : k + 2] = W, b
        model.set_weights(weights)
        return model

    def _initial_weights(self, widths: list[int], dtype: Any = np.float64) -> list[Array]:
        """Uniform by Glorot & Bengio 2010, biases too."""
        factor = 2.0 if self.activation == "logistic" else 6.0
        weights = []
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            bound = np.sqrt(factor / (n_in + n_out))
            weights += [self._drawn(bound, shape, dtype) for shape in ((n_in, n_out), (n_out,))]
        return weights

    def _drawn(self, bound: float, shape: tuple[int, ...], dtype: Any) -> Array:
        """Uniform on ±bound: the numbers of a single call, which are cast while they are in the cache."""
        drawn = np.empty(shape, dtype)
        rows = -(-DRAWN_AT_A_TIME // math.prod(shape[1:]))
        for first in range(0, len(drawn), rows):
            piece = drawn[first : first + rows]
            piece[:] = self._random_state.uniform(-bound, bound, piece.shape)
        return drawn

    # ---------------------------------------------------------------------------------------------------- training
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Of a regressor numbers; of a classifier classes of any kind, an indicator matrix where a row may have
            several.
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : optional
            Scored after each epoch, and watched by early stopping in the place of a part of X.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val))

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool,
        validation: tuple[Any, Any, Any] = (None,) * 3,
        task_of: Callable[..., FitTask | None] | None = None,
    ) -> Self:
        """Train; `task_of`, for whoever trains this one as a part of itself, stands for `_task`."""
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._hidden_layers()
        if self.solver == "lbfgs" and (self.dropout or self.normalization == "batch"):
            what, expected = (
                "dropout and batch normalization",
                "neither with solver='lbfgs', which sees all rows at once",
            )
            raise ValueError(refusal(what, "one of them", expected, "use solver='adam'"))
        callbacks = read_callbacks(self.callbacks)
        with unchanged_if_refused(self):
            X, y, samples, held_out, watched = self._begin(X, y, sample_weight, incremental, validation)
        n_epochs = 1 if incremental else self.max_iter
        task = (task_of or self._task)(n_epochs, X, y, sample_weight)
        onlookers = Onlookers(callbacks if task is None else [*callbacks, TaskCallback(task)], self._model)
        try:
            if self.solver == "lbfgs":
                self._fit_lbfgs(samples, held_out if watched else None, onlookers)
            else:
                self._fit_stochastic(samples, held_out if watched else None, onlookers, n_epochs, incremental)
            onlookers.end()
        except DivergenceError as error:
            raise ValueError(f"{NOT_FINITE} ({error})") from error
        finally:
            onlookers.close()
            self.__dict__.pop("_lists", None)
        self._finish(held_out)
        return self

    def _task(self, n_epochs: int, X: Any, y: Any, sample_weight: Any) -> FitTask | None:
        """The fit as scikit-learn's callbacks see it, if there are any."""
        return FitTask.of(self, n_epochs, X, y, sample_weight, lambda: {"_model": copy.deepcopy(self._model)})

    def _begin(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any]
    ) -> tuple[Any, Any, Samples, Watched | None, bool]:
        """Checked X and y; what is learnt from, and what is held out; whether that is watched. The network is ready."""
        first_pass = "_model" not in self.__dict__ or not (self.warm_start or incremental)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype="numeric",
            multi_output=True,
            y_numeric=not is_classifier(self),
            reset=first_pass,
        )
        rows = rows_of(X, "X")
        weights = self._read_weights(sample_weight, rows)
        targets = self._read_y(y, incremental, first_pass)
        weights = self._weighted(weights, targets, incremental)
        samples = Samples(rows, targets, weights, self._constants(targets))
        held_out = self._read_validation(validation, samples)
        watched = held_out is not None or (self.early_stopping and self.solver != "lbfgs")
        self._random_state = check_random_state(self.random_state)
        splits = held_out is None and self._holds_out()
        if splits and self.solver == "lbfgs":
            # The penalty of its model is by the rows that are learnt from.
            samples, held_out = self._split(samples)
        self._prepare(samples, first_pass, incremental)
        if splits and self.solver != "lbfgs":
            samples, held_out = self._split(samples)
        self._check_held_out(held_out)
        return X, y, samples, held_out, watched

    def _holds_out(self) -> bool:
        """Whether rows are not to be learnt from."""
        return bool(self.early_stopping and self.solver != "lbfgs")

    def _check_held_out(self, held_out: Watched | None) -> None:
        """Refuse rows that would not do for what they are held out for."""

    def _out_activation(self) -> str:
        """scikit-learn's name for the loss's link."""
        link = self._loss_of_targets()[0].link
        return OUT_ACTIVATIONS.get(link, link)

    def _finish(self, held_out: Watched | None) -> None:
        """What is to be done of a fit once the network is trained."""

    def _read_weights(self, sample_weight: Any, X: Any, name: str = "sample_weight") -> Array | None:
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weights < 0.0).any():
            expected = "weights of at least 0"
            raise ValueError(refusal(name, f"{weights.min()}", expected, "use 0 to leave a row out"))
        if not weights.any():
            raise ValueError(refusal(name, "nothing but zeros", "a weight above 0", "pass None"))
        return np.ascontiguousarray(weights)

    def _read_validation(self, given: tuple[Any, Any, Any], learnt: Samples) -> Watched | None:
        """A set of the user's own, as the engine takes it, and its y."""
        X_val, y_val, weights = given
        if X_val is None and y_val is None and weights is None:
            return None
        if X_val is None or y_val is None:
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(refusal(missing, "None", "both X_val and y_val, or neither", f"pass {missing} as well"))
        X_val, y_val = validate_data(
            self, X_val, y_val, accept_sparse="csr", dtype="numeric", multi_output=True, reset=False
        )
        targets = self._encode(y_val, learnt.dtype)
        weights = self._read_weights(weights, X_val, "sample_weight_val")
        return Samples(rows_of(X_val, "X_val"), targets, weights, self._constants(targets)), y_val

    @abstractmethod
    def _encode(self, y: Any, dtype: Any) -> Array:
        """The engine's targets for checked y."""

    @abstractmethod
    def _decode(self, targets: Array) -> Array:
        """y again, as `predict` gives it."""

    def _prepare(self, samples: Samples, first_pass: bool, incremental: bool) -> None:
        """A model for the first pass; for a later one the same, its optimizer anew unless the fit is incremental."""
        n_features = samples.X.shape[1]
        total = samples.total_weight if self.solver == "lbfgs" else 1.0
        if not first_pass:
            self._push()
            self._follow_parameters(total)
            if self.best_loss_ is None and not self.early_stopping:
                self.best_loss_ = np.inf
            if self.best_validation_score_ is None and self.early_stopping:
                self.best_validation_score_ = -np.inf
            # The optimizer of a network that L-BFGS alone has trained has done nothing yet.
            if self.solver != "lbfgs" and not (incremental and self._model.n_steps_done):
                self._model.optimizer = solver_of(self, self._loss_of_targets()[1])
            return
        self.n_iter_ = self.t_ = 0
        self.out_activation_ = self._out_activation()
        dtype = np.float32 if samples.dtype in (np.float32, np.float16) else np.float64
        self._model = self._new_model(n_features, dtype, total)
        self.n_layers_ = len(self._units()) + 2
        self.loss_curve_ = []
        self.validation_loss_curve_ = self.validation_scores_ = None
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _fit_lbfgs(self, samples: Samples, held_out: Watched | None, onlookers: Onlookers) -> None:
        n_summed, start = self._loss_of_targets()[1], time.perf_counter()

        def report(n_iter: int, loss: float) -> bool:
            self.n_iter_ = n_iter
            onlookers.progress.rows_done += len(samples)
            self._count_epoch(loss * n_summed, held_out, onlookers)
            onlookers.call_ended()
            over = self.max_seconds is not None and time.perf_counter() - start >= self.max_seconds
            if not (onlookers.stopped or over) and n_iter < self.max_iter:
                onlookers.epoch_begins(len(self.loss_curve_) + 1)
            return onlookers.stopped or over

        if held_out is not None and self.validation_loss_curve_ is None:
            self.validation_loss_curve_, self.validation_scores_ = [], []
        onlookers.begin(Progress(self.max_iter, 0, len(samples), 1))
        onlookers.epoch_begins(len(self.loss_curve_) + 1)
        self.n_iter_, loss = lbfgs.minimize(
            self._model, samples, max_iter=self.max_iter, max_fun=self.max_fun, tol=self.tol, report=report
        )
        self.loss_ = loss * n_summed
        self.best_loss_ = self.loss_

    def _fit_stochastic(
        self, samples: Samples, held_out: Watched | None, onlookers: Onlookers, n_epochs: int, incremental: bool
    ) -> None:
        if held_out is not None and self.validation_loss_curve_ is None:
            self.validation_loss_curve_, self.validation_scores_ = [], []
        random_state = self._random_state if self.dialect == "sklearn" else None
        batch_size = self._batch_size(len(samples))
        epochs = Epochs(self._model, samples, batch_size, self.shuffle, random_state, onlookers)
        self._best_weights = self._model.get_weights() if self.early_stopping else None
        onlookers.begin(Progress(n_epochs, 0, len(samples), epochs.n_steps))
        try:
            with fitting(), DeferredInterrupt() as interrupt:
                done = self._train(epochs, held_out, n_epochs, interrupt)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
            done = True
        if not done and not incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
        best = self.__dict__.pop("_best_weights")
        if best is not None:
            self._model.set_weights(best)

    def _train(self, epochs: Epochs, held_out: Watched | None, max_iter: int, interrupt: DeferredInterrupt) -> bool:
        """Epoch by epoch; whether it ended because there is no more improvement, no more time, or by a callback."""
        n_summed, onlookers = self._loss_of_targets()[1], epochs.onlookers
        optimizer: Any = self._model.optimizer
        start, self.n_iter_ = time.perf_counter(), 0
        rows_before = onlookers.progress.rows_done

        def ended(loss: float) -> None:
            nonlocal rows_before
            self.n_iter_ += 1
            self.t_, rows_before = self.t_ + onlookers.progress.rows_done - rows_before, onlookers.progress.rows_done
            self._count_epoch(loss * n_summed, held_out, onlookers)
            if self.early_stopping:
                self._count_score()
            else:
                self._count_loss()
            end_epoch(self, optimizer, n_summed)

        while self.n_iter_ < max_iter and not onlookers.stopped:
            onlookers.epoch_begins(len(self.loss_curve_) + 1)
            certain = 1 if held_out is not None else self._certain_epochs()
            epochs.run(epochs.together(min(certain, max_iter - self.n_iter_)), ended, interrupt)
            if self._no_improvement_count > self.n_iter_no_change:
                if stops(self, optimizer, n_summed, self._message()):
                    return True
                self._no_improvement_count = 0
            if self.max_seconds is not None and time.perf_counter() - start >= self.max_seconds:
                return True
        return onlookers.stopped

    def _certain_epochs(self) -> int:
        """How many will follow each other whatever their losses, with no change between them."""
        if self.max_seconds is not None or changes_with_rows(self):
            return 1
        return self.n_iter_no_change + 1 - self._no_improvement_count

    def _count_epoch(self, loss: float, held_out: Watched | None, onlookers: Onlookers) -> None:
        """Keep the values of an epoch, and tell whoever wants to know them."""
        self.__dict__.pop("_lists", None)
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        values = {"loss": loss}
        if held_out is not None:
            self._watch(held_out)
            values["val_loss"] = self.validation_loss_curve_[-1]
            values[f"val_{self._name_of_score}"] = self.validation_scores_[-1]
        onlookers.epoch_ended(len(self.loss_curve_), values)

    def _split(self, samples: Samples) -> tuple[Samples, Watched]:
        """Rows to learn from and rows to watch; with classes, as scikit-learn has it, stratified if there are two."""
        stratify = samples.targets if is_classifier(self) and self.n_outputs_ == 1 else None
        rows, held_out = train_test_split(
            np.arange(len(samples)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=stratify,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        chosen = samples.chosen(held_out)
        return samples.chosen(rows), (chosen, self._decode(chosen.targets))

    def _batch_size(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return int(np.clip(self.batch_size, 1, n_rows))

    def _watch(self, held_out: Watched) -> None:
        """Loss and score of rows that are not learnt from."""
        samples, y = held_out
        loss = samples.mean_loss(self._model._built(), 1) * self._loss_of_targets()[1]
        self.validation_loss_curve_.append(loss)
        score = self._score_of(as_users_have_it(samples.X), y, samples.weights)
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    def _count(self, worse: bool) -> None:
        self._no_improvement_count = self._no_improvement_count + 1 if worse else 0

    def _count_score(self) -> None:
        """Keep the best weights so far."""
        score = self.validation_scores_[-1]
        self._count(score < self.best_validation_score_ + self.tol)
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
            self._best_weights = self._model.get_weights()

    def _count_loss(self) -> None:
        self._count(self.loss_curve_[-1] > self.best_loss_ - self.tol)
        self.best_loss_ = min(self.best_loss_, self.loss_curve_[-1])

    def _message(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    # ------------------------------------------------------------------------------------------------------ asking
    def _read_X(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype="numeric", reset=False)
        self._push()
        return X

    def _outputs(self, X: Any, layer: int = -1, raw: bool = False) -> Array:
        """Of a layer, for checked X; the last one's with the link applied unless `raw`."""
        model = self._model
        link = layer == -1 and not raw
        return model.predict(X) if link else model.transform(X, layer)

    @property
    def _n_features_out(self) -> int:
        return int([self.n_features_in_, *(each.shape[1] for each in self.coefs_[:-1])][-1])

    def _place_of_layer(self, layer: Any) -> int:
        """Where what belongs to a layer of units ends among the network's: normalisation and dropout follow it."""
        layers = self._model.layers
        ends = [*(k - 1 for k in range(1, len(layers)) if isinstance(layers[k], Dense)), len(layers) - 1]
        whole = isinstance(layer, Integral) and not isinstance(layer, bool)
        if not whole or not -len(ends) <= layer < len(ends):
            expected = f"a whole number from {-len(ends)} to {len(ends) - 1}: there are {len(ends)} layers"
            raise ValueError(refusal("layer", repr(layer), expected, "pass layer=-1 for the last one"))
        return ends[layer]

    def transform(self, X: Any, layer: int = -2) -> Array:
        """Hidden features: the outputs of a layer with its activation applied.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int
            Counted from 0 at the first hidden one, or from -1 backwards, each with the normalisation that follows it;
            -1 gives raw scores.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
        """
        X = self._read_X(X)
        return self._outputs(X, self._place_of_layer(layer))

    def input_gradients(self, X: Any, output: int = 0) -> Array:
        """The gradient of a raw score by the features of each row: what each feature pulls at.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Sparse rows are made dense, as their gradients are.
        output : int
            Which of the last layer's units.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        X, n_outputs = self._read_X(X), self.coefs_[-1].shape[1]
        if not isinstance(output, Integral) or not -n_outputs <= output < n_outputs:
            expected = f"a whole number from {-n_outputs} to {n_outputs - 1}, one of the last layer's units"
            raise ValueError(refusal("output", repr(output), expected, "pass output=0 for the first"))
        return input_gradients(self._model, X.toarray() if is_sparse(X) else X, output)

    # --------------------------------------------------------------------------------------------------- exporting
    def _predictor_as_fitted(self) -> Predictor:
        self._push()
        return self._model._predictor(False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def weighted_layers(layers: Sequence[Layer]) -> str:
    """Those that learn something, with their units."""
    learning = (layer for layer in layers if not isinstance(layer, Dropout))
    return ", ".join(f"{type(each).__name__}({getattr(each, 'units', '')})" for each in learning)
