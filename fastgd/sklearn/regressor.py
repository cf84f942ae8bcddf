"""MLPRegressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.sparse
import scipy.special
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from .._formula import Loss
from .._formula.interval import check
from .._kernels import get_backend
from ..errors import refusal
from ..inputs import read_loss, read_targets
from .multilayer import Multilayer

if TYPE_CHECKING:
    from .._kernels import Array

# fastgd's names of scikit-learn's losses, which have the factor of one half.
SAME_LOSS = {"squared_error": "half_squared_error", "absolute_error": "mean_absolute_error"}


class MLPRegressor(RegressorMixin, Multilayer):
    """Multi-layer perceptron for regression: scikit-learn's class of that name, and more.

    All parameters, attributes and methods of `sklearn.neural_network.MLPRegressor` are here with the same names,
    defaults and meaning, and `MLPClassifier` says what the further ones do.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        ``"squared_error"`` (halved, as scikit-learn's), ``"poisson"``, or a loss of `fastgd.losses` for numbers, such
        as ``"huber"`` or ``fg.losses.quantile(level=0.9)``; with ``"quantiles"`` and ``"gaussian_nll"`` there is
        `predict_interval`.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As of scikit-learn; see `MLPClassifier`.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
        As of scikit-learn.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As of scikit-learn.
    l1_ratio, dropout, normalization, max_seconds, callbacks, dialect, n_threads
        See `MLPClassifier`; callbacks are told of ``val_r2`` rather than ``val_accuracy``.

    Attributes
    ----------
    n_outputs_, n_layers_, n_iter_, t_, out_activation_, n_features_in_, feature_names_in_, coefs_, intercepts_
        See `MLPClassifier`.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, validation_loss_curve_
        See `MLPClassifier`; scores are R².

    See Also
    --------
    MLPClassifier : The same for classes.

    Notes
    -----
    For several outputs, the loss is the mean over them and the gradient is that of this number. scikit-learn reports
    the mean and descends along the gradient of the sum, which misleads the line search of L-BFGS; its losses of such
    fits therefore differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> regressor = MLPRegressor("huber", (32,), "tanh", solver="lbfgs", random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> regressor.score(X, np.sin(3 * X[:, 0])) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {**Multilayer._parameter_constraints, "loss": [str, Loss]}

    _name_of_score = "r2"
    n_outputs_: int

    def __init__(
        self,
        loss: Any = "squared_error",
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
        l1_ratio: float = 0.0,
        dropout: float = 0.0,
        normalization: str | None = None,
        max_seconds: float | None = None,
        callbacks: Any = None,
        dialect: str | None = "sklearn",
        n_threads: int | None = None,
    ) -> None:
        self.loss = loss
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
        self.l1_ratio = l1_ratio
        self.dropout = dropout
        self.normalization = normalization
        self.max_seconds = max_seconds
        self.callbacks = callbacks
        self.dialect = dialect
        self.n_threads = n_threads

    def _read_y(self, y: Any, incremental: bool, first_pass: bool) -> Array:
        if scipy.sparse.issparse(y):
            raise TypeError(refusal("y", "a sparse matrix", "an array of numbers", "pass y.toarray()"))
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        n_outputs = 1 if y.ndim == 1 else y.shape[1]
        if not first_pass and n_outputs != self.n_outputs_:
            got, expected = f"{n_outputs} numbers for each row", f"{self.n_outputs_}, as before"
            raise ValueError(refusal("y", got, expected, "train another regressor for them"))
        self.n_outputs_ = n_outputs
        loss = self._loss_of_targets()[0]
        if loss.compares_rows:
            expected, remedy = "a loss of each row by itself", "train a fastgd.Sequential with it"
            raise ValueError(refusal("loss", f"{loss.name}, whose targets say which rows are alike", expected, remedy))
        return self._encode(y, np.float64)

    def _encode(self, y: Any, dtype: Any) -> Array:
        loss, find = self._loss_of_targets()[0], get_backend("cython").first_nonfinite
        n_units = self.n_outputs_ * loss.outputs_per_target
        return read_targets(y, loss, len(y), n_units, np.dtype(np.float64), find)

    def _decode(self, targets: Array) -> Array:
        return targets

    def _loss_of_targets(self) -> tuple[Loss, int]:
        loss = self._declared_loss()
        return loss, self.n_outputs_ if loss.name == "poisson" else 1

    def _fitted_loss(self) -> Loss:
        """The one that the network was trained with, whatever has been set since; before a fit that of `loss`."""
        model = self.__dict__.get("_model")
        return self._declared_loss() if model is None else model.loss

    def _declared_loss(self) -> Loss:
        return read_loss(SAME_LOSS.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss)

    def _constants(self, targets: Array) -> Array | None:
        if self.loss != "poisson":
            return None
        constants: Array = (scipy.special.xlogy(targets, targets) - targets).sum(axis=1)
        return constants

    def _score_of(self, X: Any, y: Any, sample_weight: Array | None) -> float:
        outputs = self._centre(self._outputs(X))
        return float(r2_score(y, outputs, sample_weight=sample_weight)) if np.isfinite(outputs).all() else np.nan

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over the given rows, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, True)

    # ------------------------------------------------------------------------------------------------------ asking
    def _grouped(self, outputs: Array) -> Array:
        """Outputs as (n_samples, n_outputs, outputs per target)."""
        return outputs.reshape(len(outputs), self.n_outputs_, -1)

    def _levels(self) -> list[float] | None:
        """Of the quantiles that are learnt, if they are."""
        loss = self._fitted_loss()
        return list(loss.parameters["levels"]) if loss.name == "quantiles" else None

    def _centre(self, outputs: Array) -> Array:
        """One prediction for each target: the mean, or of several quantiles the one nearest to the median."""
        levels = self._levels()
        place = 0 if levels is None else int(np.argmin(np.abs(np.array(levels) - 0.5)))
        return self._grouped(outputs)[:, :, place]

    def _shaped(self, predictions: Array) -> Array:
        return predictions[:, 0] if self.n_outputs_ == 1 else predictions

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predictions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool
            Whether to return standard deviations as well; for ``loss="gaussian_nll"``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Means, or whatever the loss makes of them; of several quantiles the one nearest to the median. With
            `return_std` a tuple of two such arrays.
        """
        if return_std and self._fitted_loss().name != "gaussian_nll":
            remedy = "make the regressor with loss='gaussian_nll'"
            raise ValueError(refusal("return_std", "True", "a loss that learns variances, too", remedy))
        outputs = self._outputs(self._read_X(X))
        predictions = self._shaped(self._centre(outputs))
        if not return_std:
            return predictions
        return predictions, self._shaped(np.sqrt(self._grouped(outputs)[:, :, 1]))

    def _check_interval(self) -> bool:
        loss = self._fitted_loss()
        if loss.name not in ("quantiles", "gaussian_nll"):
            raise AttributeError(f"loss {loss.name!r} gives no intervals; use 'quantiles' or 'gaussian_nll'")
        return True

    @available_if(lambda estimator: estimator._check_interval())
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Where targets are expected: from the lowest to the highest of the quantiles, or about the mean.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        coverage : float
            Between 0 and 1: the share of targets within, for ``loss="gaussian_nll"``. Quantiles have their levels.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
        """
        outputs = self._grouped(self._outputs(self._read_X(X)))
        if self._levels() is None:
            check("coverage", coverage, "(0, 1)")
            half = scipy.special.ndtri((1.0 + coverage) / 2.0) * np.sqrt(outputs[:, :, 1:])
            limits = np.concatenate([outputs[:, :, :1] - half, outputs[:, :, :1] + half], axis=2)
        else:
            limits = outputs[:, :, [0, -1]]
        return self._shaped(limits)
