"""SGDClassifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.special
from sklearn import linear_model
from sklearn.base import _fit_context
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

from .._formula import LOSSES, Loss
from .calibration import (
    METHODS,
    check_held_out,
    fit_probabilities,
    is_calibrated,
    probabilities_of,
    refuse_in_partial_fit,
)
from .classifier import BINARY, refuse_loss
from .growth import Growth
from .labels import places_of
from .linear import (
    LARGEST_SEED,
    Coefficients,
    Linear,
    Task,
    seeded,
    weights_of_rows,
    with_narrow_indices,
)
from .names import KnownNames, elementwise_losses, losses_by_class
from .unchanged import unchanged_if_refused

if TYPE_CHECKING:
    from .._kernels import Array


class SGDClassifier(Linear, linear_model.SGDClassifier):
    """Linear classifiers by stochastic gradient descent: scikit-learn's class of that name, and more.

    All parameters, attributes and methods of `sklearn.linear_model.SGDClassifier` are here with the same names,
    defaults and meaning. With the same `random_state` rows come in the same order; so with two classes, or with
    ``shuffle=False``, the coefficients are the same but for rounding. See its documentation for those that are only
    listed here.

    Parameters
    ----------
    loss : str or Loss, default="hinge"
        scikit-learn's names, or a loss of `fastgd.losses` for two sides, such as ``"binary_focal_cross_entropy"``, or
        over classes: with ``"softmax_cross_entropy"`` this is multinomial logistic regression rather than one
        classifier against the rest for each class.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
    alpha : float, default=0.0001
    l1_ratio : float, default=0.15
    fit_intercept : bool, default=True
    max_iter : int, default=1000
    tol : float or None, default=1e-3
    shuffle : bool, default=True
    verbose : int, default=0
    epsilon : float, default=0.1
    n_jobs : int or None, default=None
        Taken for `n_threads` where that is None; -1: the processors that are there.
    random_state : int, RandomState or None, default=None
    learning_rate : {"optimal", "constant", "invscaling", "adaptive", "pa1", "pa2"}, Schedule or callable
        Default "optimal". A schedule of `fastgd.schedules` counts steps.
    eta0 : float, default=0.01
    power_t : float, default=0.5
    early_stopping : bool, default=False
        Watches `validation_fraction` of the rows, or the set that `fit` is given.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
    class_weight : dict, "balanced" or None, default=None
        In `partial_fit`, ``"balanced"`` counts the rows of all calls so far.
    warm_start : bool, default=False
    average : bool or int, default=False
    batch_size : int, default=1
        Rows of a step, which goes along the weighted mean of their gradients, so that weights count within a batch; a
        single row counts as much as it weighs. Larger batches are faster. The rates of ``"optimal"`` are meant for
        single rows and fall with the number of steps: for the few steps of large batches they begin too high, so that
        `tol` ends the fit too early; take ``learning_rate="adaptive", eta0=0.1``, say.
    max_seconds : float or None, default=None
        `fit` ends after the epochs in which so much time has passed.
    calibration : {"sigmoid", "isotonic", "temperature", None}, default=None
        How `predict_proba`, which there is then for every loss, is fitted to the scores of rows that are not learnt
        from; see `MLPClassifier`.
    accept_new_classes : bool, default=False
        Whether classes that come up in a later `partial_fit` get coefficients of their own, zero at first. The first
        call needs no `classes` then, but rows of two.
    n_threads : int or None, default=None
        The most threads to use, each for some of the classes; None: the processors that are there, shared with other
        fits that go on in the process at the same time. The results are the same bits for any number.

    Attributes
    ----------
    coef_, intercept_, classes_, n_iter_, t_, n_features_in_, feature_names_in_
        As scikit-learn's; `t_` counts steps.
    validation_scores_ : list of float
        After each epoch, if early stopping watches.
    calibrator_ : CalibratedClassifierCV
        What makes probabilities of scores; with `calibration`.

    See Also
    --------
    SGDRegressor : The same for numbers.

    Notes
    -----
    Where this differs from scikit-learn: all classes see the rows in one order, of which each has its own there; early
    stopping watches the classifier as a whole rather than each class by itself, and scores the weights as they are,
    where scikit-learn leaves out how much the l2 penalty has shrunk them; the objective that `tol` is about has the
    penalty of all weights on sparse rows, too, and of what they are after the l1 penalty has been taken of them;
    `partial_fit` with `average` keeps the intercept, which scikit-learn's forgets; with an l1 penalty the averages are
    of the weights of each step, where scikit-learn takes what the penalty takes later from all steps before, too; what
    `sparsify` has made sparse can be trained further.

    Sparse X is never made dense: a step costs as much as the row has non-zeros.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from fastgd.sklearn import SGDClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> classifier = SGDClassifier(loss="softmax_cross_entropy", average=True, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **linear_model.SGDClassifier._parameter_constraints,
        **Linear._own_constraints,
        "loss": [
            KnownNames(
                lambda: {
                    *linear_model.SGDClassifier.loss_functions,
                    *losses_by_class(),
                    *elementwise_losses("sign", "probability"),
                }
            ),
            Loss,
        ],
        "calibration": [METHODS, None],
        "accept_new_classes": ["boolean"],
    }

    def __init__(
        self,
        loss: Any = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: Any = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: Any = False,
        batch_size: int = 1,
        max_seconds: float | None = None,
        calibration: str | None = None,
        accept_new_classes: bool = False,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(
            loss=loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            epsilon=epsilon,
            n_jobs=n_jobs,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
            average=average,
        )
        self.batch_size = batch_size
        self.max_seconds = max_seconds
        self.calibration = calibration
        self.accept_new_classes = accept_new_classes
        self.n_threads = n_threads

    class_weight: Any
    classes_: Array
    _class_counts: Array

    # ---------------------------------------------------------------------------------------------------- training
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over the given rows, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like, optional
            All classes there will be; needed in the first call. With `accept_new_classes` all that are known of then;
            it is not needed, nor looked at later.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        refuse_in_partial_fit(self)
        given = self.class_weight
        with unchanged_if_refused(self):
            self._densify()
            if self.accept_new_classes:
                classes = self._take_in(y, classes)
            if isinstance(given, str):
                # scikit-learn takes no "balanced" here, but it takes the table.
                self.class_weight = self._balanced_so_far(y, classes)
            try:
                super().partial_fit(with_narrow_indices(X), y, classes=classes, sample_weight=sample_weight)
            finally:
                self.class_weight = given
        return self

    def _take_in(self, y: Any, classes: Any) -> Any:
        """Coefficients for classes of `y` that are not known yet; the classes of a first call."""
        if not hasattr(self, "classes_"):
            return unique_labels(y) if classes is None else classes
        rowwise = super()._get_loss_function(self.loss).rowwise
        growth, zero = Growth.to(self.classes_, y, rowwise), np.zeros(())
        if growth is not None:
            for name in ("coef_", "_standard_coef", "_average_coef"):
                if hasattr(self, name):
                    setattr(self, name, np.ascontiguousarray(growth.outputs(getattr(self, name).T, zero).T))
            for name in ("intercept_", "_standard_intercept", "_average_intercept"):
                if hasattr(self, name):
                    setattr(self, name, growth.outputs(getattr(self, name), zero))
            if hasattr(self, "_class_counts"):
                self._class_counts = growth.scattered(self._class_counts)
            self.classes_ = growth.classes
        return None

    def _balanced_so_far(self, y: Any, classes: Any) -> dict[Any, float] | None:
        """The weight of each class by the rows of this call and those before it."""
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            # It will be refused for that.
            return None
        known = unique_labels(classes) if known is None else known
        before = getattr(self, "_class_counts", np.zeros(len(known)))
        self._class_counts = before + [np.count_nonzero(np.asarray(y) == label) for label in known]
        weights = self._class_counts.sum() / (len(known) * np.maximum(self._class_counts, 1))
        return dict(zip(known.tolist(), weights.tolist(), strict=True))

    def _get_loss_function(self, loss: Any) -> Loss:
        two = len(self.classes_) == 2
        found = super()._get_loss_function(BINARY.get(loss, loss) if two and isinstance(loss, str) else loss)
        refuse_loss(found, two)
        return found

    def _fit_ready(self, X: Array, y: Array) -> bool:
        classes, labels = distinct(y) if y.dtype.kind in "biuU" else (y[:0], y[:0])
        if len(classes) < 2:
            return False
        self._more_validate_params()
        self.classes_, given = classes, self.class_weight
        self._expanded_class_weight = (
            np.ones(len(classes)) if given is None else compute_class_weight(given, classes=classes, y=y)
        )
        self._begin(X, len(classes))
        self._loss_function_ = self._get_loss_function(self.loss)
        self._fit_outputs(X, y, labels, None, self.max_iter)
        self._warn_unless_converged()
        return True

    def _fit_binary(self, X: Any, y: Any, *, sample_weight: Array, max_iter: int, **_: Any) -> None:
        self._fit_outputs(X, y, np.searchsorted(self.classes_, y).astype(np.intp), sample_weight, max_iter)

    # One class against the rest is the same, of several outputs.
    _fit_multiclass = _fit_binary

    def _weights_of_outputs(self) -> Array:
        """Of each output: what the rows of other classes are weighed by, and those of its own."""
        weights = np.asarray(self._expanded_class_weight, np.float64)
        return weights[None] if len(weights) == 2 else np.column_stack([np.ones(len(weights)), weights])

    def _fit_outputs(self, X: Any, y: Any, labels: Array, sample_weight: Array | None, max_iter: int) -> None:
        self.__dict__.pop("calibrator_", None)
        class_weights = self._weights_of_outputs()
        n_outputs, state = len(class_weights), self._coefficients(len(class_weights))
        held_out = self._held_out(X, labels, y, sample_weight)
        if held_out.rows is not None:
            places = places_of(held_out.rows.y, self.classes_)
            if self.calibration is not None:
                check_held_out(places, self.classes_)
        random_state = seeded(self.random_state)
        if n_outputs > 1:
            random_state = seeded(random_state.randint(LARGEST_SEED, size=n_outputs)[0])
        # scikit-learn draws one for its data set, too.
        random_state.randint(1, LARGEST_SEED)
        task = Task(
            X.astype(state.W.dtype, copy=False),
            labels,
            weights_of_rows(sample_weight),
            self._loss_function_,
            np.arange(n_outputs) if n_outputs > 1 else np.array([1]),
            class_weights,
        )
        self._descend(
            task,
            state,
            seed=int(random_state.randint(LARGEST_SEED)),
            max_iter=max_iter,
            learnt=held_out.learnt,
            told=self._task(X, y, sample_weight, state, max_iter),
            score=held_out.scored_by(lambda rows: self._accuracy(state, rows)),
        )
        if self.calibration is not None and held_out.rows is not None:
            rows = held_out.rows
            scores = rows.X @ self.coef_.T + self.intercept_
            places = places_of(rows.y, self.classes_)
            self.calibrator_ = fit_probabilities(self.calibration, scores, places, rows.weights)

    def _mask_held_out(self, y: Array, sample_weight: Array | None) -> Array:
        if self.calibration is None or self.early_stopping:
            return super()._mask_held_out(y, sample_weight)
        # As early stopping has it.
        split = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
        mask = np.zeros(len(y), bool)
        mask[next(split.split(np.zeros((len(y), 1)), y))[1]] = True
        return mask

    def _accuracy(self, state: Coefficients, rows: Any) -> float:
        scores = rows.X @ state.W.T + state.b
        chosen = (scores[:, 0] > 0).astype(np.intp) if len(state.W) == 1 else scores.argmax(axis=1)
        return float(accuracy_score(rows.y, self.classes_[chosen], sample_weight=rows.weights))

    # ------------------------------------------------------------------------------------------------------ asking
    def _check_link(self) -> bool:
        if is_calibrated(self):
            return True
        loss = BINARY.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss
        declared = LOSSES["binary_cross_entropy"] if loss == "log_loss" else LOSSES.get(loss, loss)
        if self.loss == "modified_huber" or (isinstance(declared, Loss) and declared.link != "linear"):
            return True
        raise AttributeError(f"probability estimates are not available for loss={self.loss!r}")

    # What an export asks.
    _is_multilabel = False

    def _export_link(self) -> str:
        if not hasattr(self, "predict_proba"):
            return "linear"
        link = "modified_huber" if self.loss == "modified_huber" else self._loss_function_.link
        return link if self.coef_.shape[0] == 1 or self._loss_function_.rowwise else f"{link}_shares"

    @available_if(lambda estimator: estimator._check_link())
    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, for losses that have them.

        Of one classifier against the rest for each class they are brought to a sum of 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        if is_calibrated(self):
            return probabilities_of(self.calibrator_, self.decision_function(X))
        if self.loss in ("log_loss", "modified_huber"):
            probabilities: Array = linear_model.SGDClassifier.predict_proba.__get__(self)(X)
            return probabilities
        scores = self.decision_function(X)
        if scores.ndim == 1:
            positive = scipy.special.expit(scores)
            return np.column_stack([1 - positive, positive])
        if self._loss_function_.rowwise:
            probabilities = scipy.special.softmax(scores, axis=1)
            return probabilities
        each = scipy.special.expit(scores)
        return each / np.maximum(each.sum(axis=1, keepdims=True), np.finfo(each.dtype).tiny)

    @available_if(lambda estimator: estimator._check_link())
    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return np.log(self.predict_proba(X))


def distinct(y: Array) -> tuple[Array, Array]:
    """The different labels in order, and the place of each row's among them (intp)."""
    if y.dtype.kind in "iu" and y.dtype != np.uint64:
        low = int(y.min())
        if int(y.max()) - low <= len(y):
            # Without sorting, which takes as long as an epoch.
            places = np.subtract(y, low, dtype=np.intp)
            there = np.bincount(places) > 0
            return (np.flatnonzero(there) + low).astype(y.dtype), (np.cumsum(there) - 1)[places]
    return np.unique(y, return_inverse=True)
