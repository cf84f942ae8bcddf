"""What the linear models put in the place of scikit-learn's loops: rates, orders, threads, when to stop.

The classes of scikit-learn that they derive from check parameters and data, and publish coefficients.
"""

from __future__ import annotations

import copy
import functools
import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from .._formula import Loss
from .._kernels import get_backend
from ..errors import refusal
from ..inputs import read_loss
from ..layers import Dense
from ..schedules import Schedule, values_at
from ..threads import choose, fitting
from ..training import DeferredInterrupt
from .export import Exportable
from .saving import Saved
from .tasks import CallbackSupportMixin, FitTask
from .unchanged import unchanged_if_refused

if TYPE_CHECKING:
    from .._kernels import Array, Backend
    from ..export.predictor import Predictor

# fastgd's names of scikit-learn's losses; those that have scikit-learn's epsilon call it so.
SAME_LOSS = {"log_loss": "binary_cross_entropy", "squared_error": "half_squared_error"}
NAME_OF_EPSILON = {"huber": "delta", "epsilon_insensitive": "epsilon", "squared_epsilon_insensitive": "epsilon"}

GRADIENT_STEP = 0
PASSIVE_AGGRESSIVE = {"pa1": 1, "pa2": 2}

# Of sparse rows the intercept has the smaller step, since it changes with every row and a weight hardly ever does.
INTERCEPT_SHARE = {False: 1.0, True: 0.01}

# Below it, an adaptive learning rate is not divided any more, and training stops.
SMALLEST_ADAPTIVE_RATE = 1e-6

# Of one call into the engine, which Ctrl-C waits for: some hundredths of a second.
FLOPS_OF_CALL = 1e8

# The calls of a fit have twice as many epochs each time. Where it may end early the first has few, because the rates of
# epochs that are not needed are computed in vain; else more, since a call takes as long as some hundred rows.
FIRST_EPOCHS = 4
FIRST_EPOCHS_OF_ALL = 64

LARGEST_SEED = np.iinfo(np.int32).max

# What scikit-learn trains on as it is.
READY_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

# Parameters that have been found valid, of so many fits at most: values, and types, which "==" does not tell apart.
PASSED: set[tuple[Any, ...]] = set()
MOST_PASSED = 256
COMPARED_BY_VALUE = (str, int, float, type(None), Loss)

# Of each thread, to be seeded.
GENERATORS = threading.local()


@dataclass
class Coefficients:
    """What is learnt, in place: (n_outputs, n_features) and (n_outputs,), and their means if these are wanted."""

    W: Array
    b: Array
    mean_W: Array | None = None
    mean_b: Array | None = None

    def __post_init__(self) -> None:
        # Steps are summed up in double precision, whatever the data have.
        self.b = self.b.astype(np.float64)
        self.mean_b = None if self.mean_b is None else self.mean_b.astype(np.float64)

    def __getitem__(self, outputs: slice) -> Coefficients:
        """Those of some outputs: views."""
        part = object.__new__(Coefficients)
        part.W, part.b = self.W[outputs], self.b[outputs]
        part.mean_W = None if self.mean_W is None else self.mean_W[outputs]
        part.mean_b = None if self.mean_b is None else self.mean_b[outputs]
        return part


class WatchedRows(NamedTuple):
    """Rows that are not learnt from, and their y as the user gave it."""

    X: Any
    y: Array
    weights: Array | None


class HeldOut(NamedTuple):
    """Which rows are learnt from (bool), others, if any, and whether these are watched."""

    learnt: Array
    rows: WatchedRows | None
    watched: bool = True

    def scored_by(self, score: Callable[[WatchedRows], float]) -> Callable[[], float] | None:
        """The score of the rows that are watched."""
        rows = self.rows
        return None if rows is None or not self.watched else lambda: score(rows)


@dataclass(frozen=True)
class Task:
    """Checked data, with the loss and what each output takes them for; see `LinearDescent` of the backends."""

    X: Any
    targets: Array
    weights: Array | None
    loss: Loss
    labels: Array
    class_weights: Array

    @property
    def flops_of_epoch(self) -> float:
        """Roughly, of one output: four a number, and what a row costs that has none."""
        return 4.0 * (self.X.nnz if scipy.sparse.issparse(self.X) else self.X.size) + 50.0 * len(self.targets)


class Descent:
    """Some of the outputs of one fit, trained by one thread."""

    def __init__(self, estimator: Linear, task: Task, coefficients: Coefficients, outputs: slice) -> None:
        part, kind = coefficients[outputs], estimator.learning_rate
        ratio = {"l1": 1.0, "elasticnet": estimator.l1_ratio}.get(estimator.penalty or "", 0.0)
        alpha = estimator.alpha if estimator.penalty else 0.0
        self.kernel = engine().LinearDescent(
            task.X,
            task.targets,
            task.weights,
            part.W,
            part.b,
            loss=task.loss,
            step=PASSIVE_AGGRESSIVE.get(kind, GRADIENT_STEP) if isinstance(kind, str) else GRADIENT_STEP,
            l1=alpha * ratio,
            l2=alpha * (1.0 - ratio),
            batch_size=estimator.batch_size,
            intercept_share=estimator.fit_intercept * INTERCEPT_SHARE[scipy.sparse.issparse(task.X)],
            labels=task.labels[outputs],
            class_weights=task.class_weights[outputs],
            other_target=0.0 if task.loss.target == "probability" else -1.0,
            average_from=int(estimator.average),
            mean_W=part.mean_W,
            mean_b=part.mean_b,
        )
        self.estimator, self.together = estimator, task.loss.rowwise
        self.active = np.ones(len(part.W), np.uint8)
        self.n_epochs = 0
        self.n_iter = np.zeros(len(part.W), int)
        self.objectives = np.zeros(len(part.W))

    def advance(self, order: Array, permutation: Array | None, n_epochs: int, patience: int) -> None:
        """So many epochs, or fewer if all outputs have stopped."""
        estimator, last = self.estimator, self.n_epochs + n_epochs
        steps = -(-len(order) // estimator.batch_size)
        tol = 0.0 if estimator.tol is None else float(estimator.tol)
        while self.n_epochs < last and self.active.any():
            before, left = estimator.t_ - 1.0 + self.n_epochs * steps, last - self.n_epochs
            done, status, objectives = self.kernel.run(
                order,
                permutation,
                rates_of(estimator, before, left * steps),
                steps_before=int(before),
                active=self.active,
                n_epochs=left,
                tol=tol,
                patience=patience,
                watched=bool(estimator.verbose),
            )
            trained = self.active == 1
            self.n_epochs += done
            self.n_iter[trained] = self.n_epochs
            self.objectives[trained] = objectives[trained]
            if status:
                raise ValueError(
                    f"Floating-point under-/overflow occurred at epoch #{self.n_epochs}. Scaling input data with "
                    "StandardScaler or MinMaxScaler might help."
                )
            if patience:
                over = trained & (self.kernel.n_worse >= patience)
                self.stop(np.full(len(over), over[0]) if self.together else over)

    def stop(self, over: Array) -> None:
        """Outputs without further improvement go on with a smaller rate, if it is adaptive, or not at all."""
        estimator, kernel = self.estimator, self.kernel
        falls = over & (kernel.pace * estimator.eta0 > SMALLEST_ADAPTIVE_RATE)
        falls &= isinstance(estimator.learning_rate, str) and estimator.learning_rate == "adaptive"
        kernel.pace[falls] /= 5.0
        kernel.n_worse[falls] = 0
        self.active[over & ~falls] = 0


@functools.cache
def engine() -> Backend:
    """The compiled backend, which is the only one of use here."""
    return get_backend("cython")


def rates_of(estimator: Linear, before: float, n: int) -> Array:
    """Learning rates of n steps, of which so many were before them."""
    kind, eta0, t = estimator.learning_rate, float(estimator.eta0), np.arange(before + 1.0, before + n + 1.0)
    if not isinstance(kind, str):
        return np.ascontiguousarray(values_at(kind, t - 1.0))
    # In place: new memory for each operation would take longer than the operation.
    if kind == "optimal":
        # Bottou's: scikit-learn divides the first rate by the slope of the loss where that is above 1, but takes it
        # where all slopes are negative.
        first = np.sqrt(1.0 / np.sqrt(estimator.alpha))
        t += 1.0 / (first * estimator.alpha)
        t -= 1.0
        t *= estimator.alpha
        rates: Array = np.divide(1.0, t, out=t)
        return rates
    if kind != "invscaling":
        return np.full(n, eta0)
    # Roots are ten times as fast as powers, and these two are the defaults.
    if estimator.power_t in (0.5, 0.25):
        for _ in range(1 if estimator.power_t == 0.5 else 2):
            np.sqrt(t, out=t)
    else:
        t **= estimator.power_t
    falling: Array = np.divide(eta0, t, out=t)
    return falling


class Linear(Saved, Exportable, CallbackSupportMixin):
    """What stands before scikit-learn's class among the bases of each of ours."""

    _own_constraints: ClassVar[dict[str, list[Any]]] = {
        "learning_rate": [
            StrOptions({"constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"}),
            Schedule,
            callable,
        ],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    # What scikit-learn's class sets.
    loss: Any
    penalty: str | None
    alpha: float
    l1_ratio: float
    epsilon: float
    learning_rate: Any
    eta0: float
    power_t: float
    tol: float | None
    average: int
    shuffle: bool
    fit_intercept: bool
    verbose: int
    early_stopping: bool
    n_iter_no_change: int
    n_threads: int | None
    max_seconds: float | None
    batch_size: int
    t_: float
    coef_: Any
    n_iter_: int
    _make_validation_split: Callable[..., Array]
    _allocate_parameter_mem: Callable[..., None]
    warm_start: bool
    max_iter: int
    n_features_in_: int

    validation_scores_: list[float]

    def _get_learning_rate_type(self, learning_rate: Any) -> Any:
        """scikit-learn's number for its own loop; the names have been checked."""
        return learning_rate

    def _export_link(self) -> str:
        """By the names of `fastgd.export`."""
        raise NotImplementedError

    def _predictor_as_fitted(self) -> Predictor:
        from ..export.predictor import Predictor

        W = self.coef_.toarray() if scipy.sparse.issparse(self.coef_) else self.coef_
        W, b = np.atleast_2d(W).T, np.atleast_1d(self.intercept_)
        n_inputs, n_outputs = W.shape
        return Predictor(n_inputs, n_outputs, [Dense(n_outputs)], [W, b], self._export_link(), 1, W.dtype, "")

    # -------------------------------------------------------------------------------------------------- the door
    def _validate_params(self) -> None:
        """As scikit-learn does it; parameters that have passed before pass at a look."""
        kind: Any = type(self)
        values = [getattr(self, name) for name in parameter_names(kind)]
        given = (kind, *values, *map(type, values))
        known = all(isinstance(value, COMPARED_BY_VALUE) for value in values)
        if known and given in PASSED:
            return
        super()._validate_params()  # type: ignore[misc]
        if known:
            if len(PASSED) >= MOST_PASSED:
                PASSED.clear()
            PASSED.add(given)

    def _lie_ready(self, X: Any, y: Any, *others: Any) -> bool:
        """Whether this is a fit from nothing of arrays that scikit-learn's checks would pass on as they are.

        These checks take as long as training on some hundred rows. Whatever else there is to say, they say.
        """
        return (
            type(X) is np.ndarray
            and type(y) is np.ndarray
            and X.dtype in READY_DTYPES
            and X.ndim == 2
            and y.ndim == 1
            and X.flags.c_contiguous
            and X.size > 0
            and len(X) == len(y)
            and not self.warm_start
            and self.power_t >= 0
            and all(other is None for other in others)
            and engine().first_nonfinite(X, X.dtype) is None
        )

    def _fit_ready(self, X: Array, y: Array) -> bool:
        """Fit to them; or leave it to scikit-learn, because of y."""
        raise NotImplementedError

    def _begin(self, X: Array, n_classes: int) -> None:
        """What a fit from nothing begins with."""
        self.n_features_in_ = X.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        self.t_ = 1.0
        self._allocate_parameter_mem(n_classes=n_classes, n_features=X.shape[1], input_dtype=X.dtype)

    def _warn_unless_converged(self) -> None:
        if self.tol is not None and self.tol > -np.inf and self.n_iter_ == self.max_iter:
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to "
                "improve the fit.",
                ConvergenceWarning,
                stacklevel=4,
            )

    # ------------------------------------------------------------------------------------------- coefficients
    def _densify(self) -> None:
        """Before training goes on: coefficients that `sparsify` has made sparse, in the shape they had."""
        if scipy.sparse.issparse(self.__dict__.get("coef_")):
            shape = (-1, self.n_features_in_) if isinstance(self, ClassifierMixin) else (-1,)
            self.coef_ = self.coef_.toarray().reshape(shape)

    def _coefficients(self, n_outputs: int) -> Coefficients:
        """Copies of scikit-learn's, which may be the user's own, or read-only."""
        averages = self.average > 0
        # Of the step to come, as scikit-learn has it.
        self.t_ = getattr(self, "t_", 1.0)
        W = self._standard_coef if averages else self.coef_
        b = self._standard_intercept if averages else self.intercept_
        state = Coefficients(np.array(W, order="C").reshape(n_outputs, -1), np.atleast_1d(b).reshape(n_outputs))
        if averages:
            state.mean_W = np.array(self._average_coef, order="C").reshape(n_outputs, -1)
            state.mean_b = np.array(self._average_intercept, np.float64).reshape(n_outputs)
        return state

    def _fitted(self, state: Coefficients, n_steps: int) -> dict[str, Any]:
        """What was learnt in so many steps, by the names and in the shapes of scikit-learn's attributes."""
        shape, dtype = state.W.shape if isinstance(self, ClassifierMixin) else (-1,), state.W.dtype
        found: dict[str, Any] = {"t_": self.t_ + n_steps}
        found |= {"coef_": state.W.reshape(shape), "intercept_": state.b.astype(dtype)}
        if state.mean_W is None or state.mean_b is None:
            return found
        found |= {"_standard_coef": found["coef_"], "_standard_intercept": found["intercept_"]}
        found |= {"_average_coef": state.mean_W.reshape(shape), "_average_intercept": state.mean_b.astype(dtype)}
        if self.average <= found["t_"] - 1.0:
            found |= {"coef_": found["_average_coef"], "intercept_": found["_average_intercept"]}
        return found

    def _publish(self, state: Coefficients, descents: list[Descent], stopping: Stopping, n_rows: int) -> None:
        """What was learnt, in the attributes of scikit-learn."""
        self.validation_scores_ = stopping.scores
        self.n_iter_ = int(max(descent.n_iter.max() for descent in descents))
        self.__dict__.update(self._fitted(state, self.n_iter_ * -(-n_rows // self.batch_size)))

    def _task(self, X: Any, y: Any, sample_weight: Array | None, state: Coefficients, n_epochs: int) -> FitTask | None:
        """The fit as scikit-learn's callbacks see it, if there are any."""
        weights = None if sample_weight is None or (sample_weight == 1).all() else sample_weight
        n_steps = -(-len(y) // self.batch_size)

        def fitted() -> dict[str, Any]:
            return copy.deepcopy(self._fitted(state, n_steps * (task.n_epochs_ended if task else 0)))

        task = FitTask.of(self, n_epochs, X, y, weights, fitted)
        return task

    # -------------------------------------------------------------------------------------------- rows held out
    @contextmanager
    def _watching(self, X: Any, y: Any, sample_weight: Any) -> Iterator[None]:
        """While training, a set of the user's own to watch, if there is one."""
        if (X is None) != (y is None) or (X is None and sample_weight is not None):
            missing = "X_val" if X is None else "y_val"
            raise ValueError(refusal(missing, "None", "both X_val and y_val, or neither", f"pass {missing} as well"))
        self._own_set = None if X is None else (X, y, sample_weight)
        try:
            yield
        finally:
            del self._own_set

    def _held_out(self, X: Any, targets: Array, y: Array, sample_weight: Array | None) -> HeldOut:
        own = self.__dict__.get("_own_set")
        if own is not None:
            X_val, y_val = validate_data(self, own[0], own[1], accept_sparse="csr", reset=False)
            weights = None if own[2] is None else _check_sample_weight(own[2], X_val, dtype=np.float64)
            return HeldOut(np.ones(len(y), bool), WatchedRows(X_val, y_val, weights))
        mask = self._mask_held_out(y, sample_weight)
        if not mask.any():
            return HeldOut(~mask, None)
        weights = None if sample_weight is None else sample_weight[mask]
        return HeldOut(~mask, WatchedRows(X[mask], y[mask], weights), bool(self.early_stopping))

    def _mask_held_out(self, y: Array, sample_weight: Array | None) -> Array:
        """Which rows are not learnt from: none, or those that scikit-learn draws."""
        if not self.early_stopping:
            return np.zeros(len(y), bool)
        counts = np.ones(len(y), bool) if sample_weight is None else sample_weight > 0
        mask: Array = self._make_validation_split(y, sample_mask=counts).astype(bool)
        return mask

    # ------------------------------------------------------------------------------------------------ training
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
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
        y : array-like of shape (n_samples,)
        coef_init : array-like of shape (n_classes, n_features), or (n_features,) of a regressor, optional
        intercept_init : array-like of shape (n_classes,), or (1,) of a regressor, optional
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : optional
            Scored after each epoch; watched by early stopping in the place of a part of X.

        Returns
        -------
        self
        """
        with unchanged_if_refused(self), self._watching(X_val, y_val, sample_weight_val):
            self._densify()
            if self._lie_ready(X, y, coef_init, intercept_init, sample_weight) and self._fit_ready(X, y):
                return self
            super().fit(with_narrow_indices(X), y, coef_init, intercept_init, sample_weight)
        return self

    def _get_loss_function(self, loss: Any) -> Loss:
        if not isinstance(loss, str):
            own = read_loss(loss)
            if own.compares_rows:
                expected = "a loss of each row by itself: here a step may be of a single one"
                raise ValueError(refusal("loss", repr(loss), expected, "train a fastgd.Sequential with it"))
            return own
        declared = read_loss(SAME_LOSS.get(loss, loss))
        return declared.configured(**{NAME_OF_EPSILON[loss]: self.epsilon}) if loss in NAME_OF_EPSILON else declared

    def _descend(
        self,
        task: Task,
        coefficients: Coefficients,
        *,
        seed: int,
        max_iter: int,
        learnt: Array,
        told: FitTask | None,
        score: Callable[[], float] | None,
    ) -> None:
        """Train and publish what was learnt; on Ctrl-C, too, which is answered after the epochs of a call.

        Parameters
        ----------
        task : Task
        coefficients : Coefficients
            Where training starts, and where its result is left.
        seed : int
            Of the order.
        max_iter : int
        learnt : ndarray of bool (n,)
            The rows to learn from; the order is drawn of all.
        told : FitTask or None
            Told of each epoch; may ask for it to be the last.
        score : callable or None
            What early stopping watches, of the coefficients as they stand.
        """
        flops = len(coefficients.W) * task.flops_of_epoch
        n_threads = self._n_threads_for(task, len(coefficients.W), flops, max_iter)
        cuts = [len(coefficients.W) * thread // n_threads for thread in range(n_threads + 1)]
        descents = [Descent(self, task, coefficients, slice(*ends)) for ends in itertools.pairwise(cuts)]
        most = 1 if score or told or self.verbose or not learnt.all() else max(1, int(FLOPS_OF_CALL / flops))
        patience = 0 if score or self.tol is None else int(self.n_iter_no_change)
        orders, stopping = Orders(learnt, seed if self.shuffle else None, n_threads), Stopping(self)
        start, n_done = time.perf_counter(), 0
        n_epochs = FIRST_EPOCHS if patience or self.max_seconds is not None else FIRST_EPOCHS_OF_ALL
        try:
            with (
                ThreadPoolExecutor(n_threads) if n_threads > 1 else nullcontext() as pool,
                fitting(),
                DeferredInterrupt() as interrupt,
            ):
                while n_done < max_iter and any(descent.active.any() for descent in descents):
                    n_epochs = min(2 * n_epochs, most, max_iter - n_done)
                    if told:
                        told.epoch_begins()
                    jobs = [
                        partial(descent.advance, *given, n_epochs, patience)
                        for descent, given in zip(descents, orders.of_call(), strict=True)
                    ]
                    list(pool.map(lambda job: job(), jobs) if pool else (job() for job in jobs))
                    n_done += n_epochs
                    if self.verbose:
                        report(n_done, coefficients, descents)
                    if score and stopping.after(score()):
                        for descent in descents:
                            descent.stop(np.ones(len(descent.active), bool))
                        stopping.n_worse = 0
                    if told and told.epoch_ended():
                        break
                    if self.max_seconds is not None and time.perf_counter() - start >= self.max_seconds:
                        break
                    interrupt.deliver()
        except KeyboardInterrupt:
            self._publish(coefficients, descents, stopping, len(task.targets))
            raise
        self._publish(coefficients, descents, stopping, len(task.targets))
        if told:
            told.ended()

    def _n_threads_for(self, task: Task, n_outputs: int, flops: float, max_iter: int) -> int:
        """Each has some of the outputs; a loss that sees all of them at once, one for all."""
        return 1 if task.loss.rowwise else min(n_outputs, choose(self.n_threads, flops, flops * max_iter))


class Orders:
    """In which order rows are learnt from, epoch by epoch; each thread has one of its own to go on from.

    Parameters
    ----------
    learnt : ndarray of bool (n,)
        The order is drawn of all rows, and those that are not learnt from are left out.
    seed : int or None
        None: as they lie.
    n_threads : int
    """

    def __init__(self, learnt: Array, seed: int | None, n_threads: int) -> None:
        self.learnt, self.all = learnt, bool(learnt.all())
        self.permutation = None if seed is None else engine().xorshift_permutation(len(learnt), seed)
        self.orders = [np.arange(len(learnt)) for _ in range(n_threads)]

    def of_call(self) -> list[tuple[Array, Array | None]]:
        """For each thread the order before an epoch, and the permutation that the engine is to make with it.

        Where rows are left out, the order is that of the epoch, and there is a single one in a call.
        """
        if self.all:
            return [(order, self.permutation) for order in self.orders]
        if self.permutation is not None:
            self.orders = [order[self.permutation] for order in self.orders]
        return [(order[self.learnt[order]], None) for order in self.orders]


class Stopping:
    """Whether scores have stopped becoming better."""

    def __init__(self, estimator: Linear) -> None:
        self.estimator, self.best, self.n_worse = estimator, -np.inf, 0
        self.scores: list[float] = []

    def after(self, score: float) -> bool:
        """Whether it is over with this score."""
        estimator = self.estimator
        self.scores.append(score)
        worse = estimator.tol is not None and score < self.best + estimator.tol
        self.n_worse = self.n_worse + 1 if worse else 0
        self.best = max(self.best, score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        return self.n_worse >= estimator.n_iter_no_change


def report(n_done: int, coefficients: Coefficients, descents: list[Descent]) -> None:
    """A line for the epoch."""
    W, objectives = coefficients.W, np.concatenate([descent.objectives for descent in descents])
    print(
        f"-- Epoch {n_done}\nNorm: {np.linalg.norm(W):.2f}, NNZs: {np.count_nonzero(W)}, "
        f"Bias: {coefficients.b.mean():.6f}, Objective: {objectives.mean():f}"
    )


def seeded(given: Any) -> np.random.RandomState:
    """The generator that scikit-learn makes of a `random_state`.

    A new one for each whole number draws entropy that the seed then replaces, for longer than a short epoch takes: one
    for each thread is seeded again instead. What it draws has to be drawn before the next call.
    """
    if isinstance(given, Integral):
        if not hasattr(GENERATORS, "own"):
            GENERATORS.own = np.random.RandomState(0)
        GENERATORS.own.seed(given)
        given = GENERATORS.own
    return check_random_state(given)


def weights_of_rows(sample_weight: Array | None) -> Array | None:
    """None where all are 1."""
    return None if sample_weight is None or (sample_weight == 1).all() else sample_weight.astype(np.float64)


@functools.cache
def parameter_names(kind: Any) -> tuple[str, ...]:
    """Of the constructor."""
    names: list[str] = kind._get_param_names()
    return tuple(names)


def with_narrow_indices(X: Any) -> Any:
    """A sparse matrix with indices of 32 bits, if they can be, and none twice in a row; other X as it is."""
    if not scipy.sparse.issparse(X) or X.format not in ("csr", "csc", "coo"):
        return X
    X = X.tocsr()
    if X.indices.itemsize == 8 and max(X.nnz, *X.shape) <= np.iinfo(np.int32).max:
        X = type(X)((X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X
