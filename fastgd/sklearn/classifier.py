"""MLPClassifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import column_or_1d

from .._formula import Loss
from ..errors import refusal
from ..inputs import read_loss
from .calibration import (
    METHODS,
    check_held_out,
    fit_probabilities,
    is_calibrated,
    probabilities_of,
    refuse_in_partial_fit,
)
from .growth import Growth, grown_model
from .labels import places_of, refuse_classes
from .multilayer import Multilayer
from .samples import as_users_have_it

if TYPE_CHECKING:
    from .._kernels import Array
    from .multilayer import Watched

# Losses for two classes on one unit, by the loss of the same idea for several.
BINARY = {
    "log_loss": "binary_cross_entropy",
    "softmax_cross_entropy": "binary_cross_entropy",
    "softmax_focal_cross_entropy": "binary_focal_cross_entropy",
    "multiclass_hinge": "hinge",
}
MULTICLASS = {"log_loss": "softmax_cross_entropy"} | {
    two: several for several, two in BINARY.items() if several != "log_loss"
}


def refuse_loss(loss: Loss, one_unit: bool) -> None:
    """Refuse what has no sense for classes, or not for two on one unit.

    Raises
    ------
    ValueError
    """
    if one_unit and loss.rowwise:
        remedy = f"pass for example loss=fastgd.losses.{BINARY.get(loss.name, 'binary_cross_entropy')}()"
        raise ValueError(refusal("loss", f"{loss.name} for two classes", "a loss on one score", remedy))
    if loss.rowwise and not loss.by_class:
        got, expected = f"{loss.name}, whose targets are no classes", "a loss for classes"
        raise ValueError(refusal("loss", got, expected, "pass for example loss='log_loss'"))


class MLPClassifier(ClassifierMixin, Multilayer):
    r"""Multi-layer perceptron for classification: scikit-learn's class of that name, and more.

    All parameters, attributes and methods of `sklearn.neural_network.MLPClassifier` are here with the same names,
    defaults and meaning; with the same `random_state` the same weights are drawn, the same batches taken and the same
    steps done, so that the losses agree but for rounding. See its documentation for those that are only listed here.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
    activation : str, Activation or list of them, default="relu"
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or any of `fastgd.activations`; a list has one for each
        hidden layer.
    solver : {"adam", "sgd", "lbfgs"}, another name or Optimizer, default="adam"
        The name of any optimizer of fastgd, which then has its own defaults, or an object such as
        ``fg.NAdam(0.01)``.
    alpha : float, default=0.0001
        Strength of the penalty on weights, divided by the number of rows of a batch.
    batch_size : int or "auto", default="auto"
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule, default="constant"
        Of solver ``"sgd"``; a schedule of `fastgd.schedules` goes with ``"adam"``, too.
    learning_rate_init : float, default=0.001
        Of the solvers ``"sgd"`` and ``"adam"``.
    power_t : float, default=0.5
    max_iter : int, default=200
    shuffle : bool, default=True
    random_state : int, RandomState or None, default=None
    tol : float, default=1e-4
    verbose : bool, default=False
    warm_start : bool, default=False
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Watches `validation_fraction` of the rows, or the set that `fit` is given.
    validation_fraction : float, default=0.1
    beta_1, beta_2 : float, default=0.9 and 0.999
    epsilon : float, default=1e-8
    n_iter_no_change : int, default=10
    max_fun : int, default=15000
    loss : str or Loss, default="log_loss"
        ``"log_loss"``, or a loss of `fastgd.losses` over classes, such as ``"hinge"``; of two that differ only in the
        number of classes either will do.
    class_weight : dict, "balanced" or None, default=None
        Multiplies the sample weights. In `partial_fit`, ``"balanced"`` counts the rows of all calls so far.
    l1_ratio : float, default=0
        The part of `alpha` that penalises absolute values rather than squares.
    dropout : float, default=0
        The share of each hidden layer's outputs that are left out in a step.
    normalization : {"batch", "layer", None}, default=None
        Of each hidden layer, before its activation.
    max_seconds : float or None, default=None
        `fit` ends after the epoch in which so much time has passed.
    callbacks : list of Callback or None, default=None
        Of `fastgd.callbacks`, told of every fit: epochs with ``loss``, and, of rows that are watched, ``val_loss`` and
        ``val_accuracy``. A clone has copies of them.
    calibration : {"sigmoid", "isotonic", "temperature", None}, default=None
        How `predict_proba` is fitted to the scores of rows that are not learnt from: `validation_fraction` of them, or
        the set that `fit` is given. ``"temperature"`` needs scikit-learn 1.8. `predict` goes by the scores as ever.
    accept_new_classes : bool, default=False
        Whether classes that come up in a later `partial_fit` get outputs of their own. The first call needs no
        `classes` then.
    dialect : {"sklearn", None}, default="sklearn"
        None: the papers' form of the optimizers, and fastgd's own order of rows. One call into the engine runs the
        whole epoch even with sample weights.
    n_threads : int or None, default=None
        The most threads to use; None: the processors that are there, shared with other fits that go on in the process
        at the same time, as in a search by joblib's threads. The results are the same bits for any number.

    Attributes
    ----------
    classes_, n_outputs_, n_layers_, n_iter_, t_, out_activation_, n_features_in_, feature_names_in_
        As scikit-learn's.
    coefs_, intercepts_ : list of ndarray
        The weights. Arrays are read-only: to change one, put another in its place.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As scikit-learn's; `loss_curve_` is there for ``"lbfgs"``, too.
    validation_loss_curve_ : list of float or None
        The loss on the validation set after each epoch, without penalty.
    calibrator_ : CalibratedClassifierCV
        What makes probabilities of scores; with `calibration`.

    See Also
    --------
    MLPRegressor : The same for numbers.

    Notes
    -----
    Where this differs from scikit-learn: weights that would become infinite end the fit with the error at once; the
    arrays of `coefs_` are read-only; a batch whose weights are all zero is left out where scikit-learn divides by zero;
    weights below 0 are refused. With early stopping a further fit, too, ends with its best weights, which
    scikit-learn's overwrites. Parameters that are set later have no part in what a fitted network predicts, as
    ``activation`` has there; a further fit goes by them, but refuses those that need weights of another shape.

    scikit-learn's own callbacks, of version 1.9, are set with ``set_callbacks``: an epoch is a task. An epoch that a
    callback ends early counts as one.

    A new class leaves weights and the optimizer's state of all others as they are, and begins with weights drawn as at
    the start. What is predicted about the others changes only in that there is one more.

    Sparse X is never made dense: the first layer reads and updates the columns that a batch has.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastgd.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from sklearn.preprocessing import scale
    >>> X = scale(X)
    >>> classifier = MLPClassifier((16,), solver="lbfgs", alpha=10, class_weight="balanced", random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.95
    True
    >>> classifier.predict(X[:2])
    array([0, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Multilayer._parameter_constraints,
        "loss": [str, Loss],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "calibration": [METHODS, None],
        "accept_new_classes": ["boolean"],
    }

    _name_of_score = "accuracy"
    _class_counts: Array

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        l1_ratio: float = 0.0,
        dropout: float = 0.0,
        normalization: str | None = None,
        max_seconds: float | None = None,
        callbacks: Any = None,
        calibration: str | None = None,
        accept_new_classes: bool = False,
        dialect: str | None = "sklearn",
        n_threads: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.class_weight = class_weight
        self.l1_ratio = l1_ratio
        self.dropout = dropout
        self.normalization = normalization
        self.max_seconds = max_seconds
        self.callbacks = callbacks
        self.calibration = calibration
        self.accept_new_classes = accept_new_classes
        self.dialect = dialect
        self.n_threads = n_threads

    # ----------------------------------------------------------------------------------------------------- classes
    def _read_y(self, y: Any, incremental: bool, first_pass: bool) -> Array:
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif not (incremental and self.accept_new_classes) or self._is_multilabel:
            self._check_classes(unique_labels(y))
        else:
            self._take_in(y)
        kind = self._label_binarizer.y_type_
        n_classes = len(self.classes_)
        self.n_outputs_ = n_classes if kind.startswith("multi") and n_classes > 1 else 1
        # What does not suit the classes is refused before there is a network.
        self._loss_of_targets()
        return self._encode(y, np.float64)

    def _check_classes(self, classes: Array) -> None:
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            refuse_classes(classes, self.classes_)

    def _take_in(self, y: Array) -> None:
        """Outputs for classes of `y` that are not known yet."""
        by_class = self._loss_for(False).by_class
        growth = Growth.to(self.classes_, y, by_class)
        if growth is None:
            return
        self._push()
        self._label_binarizer = LabelBinarizer().fit(growth.classes)
        self.classes_ = growth.classes
        if hasattr(self, "_class_counts"):
            self._class_counts = growth.scattered(self._class_counts)
        self.n_outputs_ = len(growth.sources)
        self._random_state = check_random_state(self.random_state)
        fresh = self._initial_weights([self._n_features_of_last_layer, self.n_outputs_])
        self._model = grown_model(self._model, growth, self._loss_of_targets()[0], fresh)
        self.out_activation_ = self._out_activation()

    @property
    def _n_features_of_last_layer(self) -> int:
        return int([self.n_features_in_, *self._units()][-1])

    @property
    def _is_multilabel(self) -> bool:
        return bool(self._label_binarizer.y_type_ == "multilabel-indicator")

    def _encode(self, y: Any, dtype: Any) -> Array:
        several = y.ndim == 2 and y.shape[1] > 1
        if several and not self._is_multilabel:
            raise ValueError("The object was not fitted with multilabel input.")
        if self._is_multilabel and not several:
            remedy = "pass an indicator matrix, or train another classifier"
            raise ValueError(refusal("y", "a single class for each row", "as many columns as before", remedy))
        if self._is_multilabel:
            return np.ascontiguousarray(self._label_binarizer.transform(y), np.float64)
        labels = places_of(y, self.classes_)
        if self.n_outputs_ > 1:
            return labels
        # Of a single class, the unit learns to say no: scikit-learn's way.
        return labels.astype(np.float64)[:, None]

    def _decode(self, targets: Array) -> Array:
        if self._is_multilabel:
            return targets.astype(int)
        return np.asarray(self.classes_[targets.astype(np.intp).ravel()])

    def _loss_for(self, one_unit: bool) -> Loss:
        """The loss on one unit, or on one for each class."""
        loss = self.loss
        if isinstance(loss, str):
            loss = (BINARY if one_unit else MULTICLASS).get(loss, loss)
        found = read_loss(loss)
        refuse_loss(found, one_unit)
        if one_unit and found.target not in ("probability", "sign"):
            remedy = "pass for example loss='log_loss'"
            raise ValueError(refusal("loss", f"{found.name}, whose targets are numbers", "a loss for classes", remedy))
        if not one_unit and not found.by_class:
            remedy = "pass loss='multiclass_hinge', or wrap the classifier in OneVsRestClassifier"
            raise ValueError(refusal("loss", f"{found.name} for several classes", "a loss over classes", remedy))
        return found

    def _loss_of_targets(self) -> tuple[Loss, int]:
        loss = self._loss_for(self.n_outputs_ == 1 or self._is_multilabel)
        return loss, self.n_outputs_ if self._is_multilabel else 1

    def _weighted(self, weights: Array | None, targets: Array, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weights
        if self._is_multilabel:
            raise ValueError("class_weight is not supported for multilabel targets; weigh rows with sample_weight")
        labels = targets.astype(np.intp).ravel()
        by_class = self._class_weights(labels, incremental)
        weighed: Array = by_class[labels] if weights is None else weights * by_class[labels]
        if (by_class < 0.0).any() or not weighed.any():
            expected = "weights of at least 0, and one above it for some row"
            raise ValueError(refusal("class_weight", repr(self.class_weight), expected, "use 0 to leave a class out"))
        return weighed

    def _class_weights(self, labels: Array, incremental: bool) -> Array:
        n_classes = len(self.classes_)
        if isinstance(self.class_weight, dict):
            table: Array = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[labels])
            return table
        counts = np.bincount(labels, minlength=n_classes)
        if incremental:
            counts = self._class_counts = counts + getattr(self, "_class_counts", 0)
        weights: Array = counts.sum() / (n_classes * np.maximum(counts, 1))
        return weights

    # ---------------------------------------------------------------------------------------------------- training
    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """One epoch over the given rows, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
        classes : array-like, optional
            All classes there will be; needed in the first call. With `accept_new_classes` all that are known of then;
            it is not needed, nor looked at later.

        Returns
        -------
        self
        """
        refuse_in_partial_fit(self)
        if self.accept_new_classes:
            known = hasattr(self, "classes_")
            classes = None if known else unique_labels(y) if classes is None else classes
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, True)

    # ------------------------------------------------------------------------------------------------------ asking
    def _classes_of(self, scores: Array) -> Any:
        """From raw scores; sparse if y was."""
        if self._is_multilabel:
            chosen = (scores > 0.0).astype(int)
            return scipy.sparse.csr_matrix(chosen) if self._label_binarizer.sparse_input_ else chosen
        if self.n_outputs_ > 1:
            return np.asarray(self.classes_[scores.argmax(axis=1)])
        chosen = (scores[:, 0] > 0.0).astype(np.intp)
        return np.asarray(self.classes_[np.minimum(chosen, len(self.classes_) - 1)])

    def _score_of(self, X: Any, y: Any, sample_weight: Array | None) -> float:
        return float(accuracy_score(y, self._classes_of(self._outputs(X, raw=True)), sample_weight=sample_weight))

    def predict(self, X: Any) -> Any:
        """The likeliest classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            A sparse matrix if the estimator was fitted to one.
        """
        return self._classes_of(self._outputs(self._read_X(X), raw=True))

    def decision_function(self, X: Any) -> Array:
        """Raw scores: logits of a log loss, margins of a hinge loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_outputs)
        """
        scores = self._outputs(self._read_X(X), raw=True)
        return scores[:, 0] if self.n_outputs_ == 1 else scores

    def _holds_out(self) -> bool:
        return self.calibration is not None or super()._holds_out()

    def _check_held_out(self, held_out: Watched | None) -> None:
        if self.calibration is None or held_out is None:
            return
        if self._is_multilabel:
            got = f"{self.calibration!r} for rows of several classes"
            raise ValueError(refusal("calibration", got, "one class a row", "wrap it in MultiOutputClassifier"))
        check_held_out(held_out[0].targets.astype(np.intp).ravel(), self.classes_)

    def _finish(self, held_out: Watched | None) -> None:
        self.__dict__.pop("calibrator_", None)
        if self.calibration is not None and held_out is not None:
            samples = held_out[0]
            scores = self._outputs(as_users_have_it(samples.X), raw=True)
            labels = samples.targets.astype(np.intp).ravel()
            self.calibrator_ = fit_probabilities(self.calibration, scores, labels, samples.weights)

    def _check_link(self) -> bool:
        """Of the fit there is, whatever has been set since."""
        model, given = self.__dict__.get("_model"), self.loss
        if is_calibrated(self):
            return True
        declared = BINARY.get(given, given) if isinstance(given, str) else given
        loss = read_loss(declared) if model is None else model.loss
        if loss.link == "linear":
            name = repr(given) if model is None else repr(loss.name)
            raise AttributeError(f"loss {name} gives scores, no probabilities; use decision_function")
        return True

    @available_if(lambda estimator: estimator._check_link())
    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        X = self._read_X(X)
        if is_calibrated(self):
            return probabilities_of(self.calibrator_, self._outputs(X, raw=True))
        outputs = self._outputs(X)
        return np.column_stack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

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
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
