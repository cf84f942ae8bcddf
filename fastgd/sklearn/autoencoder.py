"""MLPAutoencoder."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .._formula import Activation
from ..errors import refusal
from ..model import Sequential
from .multilayer import Multilayer
from .names import KnownNames, activation_names
from .regressor import MLPRegressor
from .saving import Saved
from .tasks import CallbackSupportMixin, FitTask
from .unchanged import unchanged_if_refused

if TYPE_CHECKING:
    from .._kernels import Array

# What it takes of the regressor that does the work, under the same names.
TAKEN = (
    "loss",
    "solver",
    "alpha",
    "batch_size",
    "learning_rate",
    "learning_rate_init",
    "max_iter",
    "shuffle",
    "random_state",
    "tol",
    "verbose",
    "warm_start",
    "early_stopping",
    "validation_fraction",
    "n_iter_no_change",
    "l1_ratio",
    "max_seconds",
    "callbacks",
    "n_threads",
)


class MLPAutoencoder(Saved, CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A network that learns to give back what it is shown, through a layer of few units: the code of each row.

    Parameters
    ----------
    n_components : int, default=8
        Units of the code.
    hidden_layer_sizes : array-like of int, default=(64,)
        Of the layers from X to the code; those from there to the outputs have the same sizes backwards.
    activation : str or Activation, default="relu"
        Of these layers.
    code_activation : str or Activation, default="identity"
    loss : str or Loss, default="squared_error"
        Of `MLPRegressor`, with a single output for each number.
    solver, alpha, batch_size, learning_rate, learning_rate_init, max_iter, shuffle, random_state, tol, verbose
        See `MLPClassifier`.
    warm_start, early_stopping, validation_fraction, n_iter_no_change, l1_ratio, max_seconds, callbacks, n_threads
        See `MLPRegressor`.

    Attributes
    ----------
    regressor_ : MLPRegressor
        The whole network, with its loss curve and coefficients.
    n_iter_, n_features_in_, feature_names_in_
        As scikit-learn's.

    See Also
    --------
    MLPRegressor : What is trained.

    Notes
    -----
    Columns count by their variance: standardise them first if they are to count the same. Without hidden layers, and
    with ``alpha=0``, the code spans what `sklearn.decomposition.PCA` finds.

    References
    ----------
    Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313, 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastgd.sklearn import MLPAutoencoder
    >>> X = load_digits().data[:500] / 16
    >>> autoencoder = MLPAutoencoder(8, learning_rate_init=0.01, tol=1e-3, random_state=0).fit(X)
    >>> codes = autoencoder.transform(X)
    >>> codes.shape, autoencoder.inverse_transform(codes).shape
    ((500, 8), (500, 64))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: Multilayer._parameter_constraints[name] for name in TAKEN if name != "loss"},
        "loss": MLPRegressor._parameter_constraints["loss"],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": Multilayer._parameter_constraints["hidden_layer_sizes"],
        "activation": [KnownNames(activation_names), Activation],
        "code_activation": [KnownNames(activation_names), Activation],
    }

    regressor_: MLPRegressor

    def __init__(
        self,
        n_components: int = 8,
        hidden_layer_sizes: Any = (64,),
        activation: Any = "relu",
        *,
        code_activation: Any = "identity",
        loss: Any = "squared_error",
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        l1_ratio: float = 0.0,
        max_seconds: float | None = None,
        callbacks: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.l1_ratio = l1_ratio
        self.max_seconds = max_seconds
        self.callbacks = callbacks
        self.n_threads = n_threads

    def _settings(self) -> dict[str, Any]:
        """Of the regressor."""
        given = self.hidden_layer_sizes
        sizes = list(given) if hasattr(given, "__iter__") else [given]
        return {
            **{name: getattr(self, name) for name in TAKEN},
            "hidden_layer_sizes": [*sizes, self.n_components, *sizes[::-1]],
            "activation": [*[self.activation] * len(sizes), self.code_activation, *[self.activation] * len(sizes)],
        }

    # ---------------------------------------------------------------------------------------------------- training
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, sample_weight, False, not self.warm_start)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over the given rows, from where training stands.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, sample_weight, True, False)

    def _fit(self, X: Any, sample_weight: Any, incremental: bool, anew: bool) -> Self:
        with unchanged_if_refused(self):
            first = anew or not hasattr(self, "regressor_")
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=first)
            # A copy of what there is: it is refused, or fails, without harm.
            self.regressor_ = MLPRegressor() if first else copy.copy(self.regressor_)
            self.regressor_.set_params(**self._settings())
            if incremental:
                self.regressor_._check_solver()
            self.regressor_._fit(X, X, sample_weight, incremental, task_of=self._task)
        self.n_iter_ = self.regressor_.n_iter_
        return self

    def _task(self, n_epochs: int, X: Any, y: Any, sample_weight: Any) -> FitTask | None:
        """The fit as scikit-learn's callbacks see it, if there are any: as one of this estimator."""

        def fitted() -> dict[str, Any]:
            return {"regressor_": copy.deepcopy(self.regressor_), "n_iter_": self.regressor_.n_iter_}

        return FitTask.of(self, n_epochs, X, None, sample_weight, fitted)

    # ------------------------------------------------------------------------------------------------------ asking
    def _read_X(self, X: Any) -> Array:
        check_is_fitted(self)
        checked: Array = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return checked

    @property
    def _code_layer(self) -> int:
        """There are as many layers up to the code as from it to the outputs."""
        return len(self.regressor_._model.layers) // 2 - 1

    @property
    def _n_features_out(self) -> int:
        return int(self.regressor_.coefs_[self._code_layer].shape[1])

    def transform(self, X: Any) -> Array:
        """The codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        return self.regressor_.transform(self._read_X(X), layer=self._code_layer)

    def inverse_transform(self, codes: Any) -> Array:
        """Rows that have such codes.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_components)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        codes, n_components = check_array(codes, dtype=[np.float64, np.float32]), self._n_features_out
        if codes.shape[1] != n_components:
            expected = f"{n_components}, one for each component"
            raise ValueError(refusal("codes", f"{codes.shape[1]} columns", expected, "pass what transform gives"))
        self.regressor_._push()
        model = self.regressor_._model
        layers = model.layers[self._code_layer + 1 :]
        decoder = Sequential(layers, loss=model.loss, dtype=model.dtype, n_threads=self.n_threads)
        decoder.build(n_components).set_weights(model.get_weights(averaged=True)[-2 * len(layers) :])
        return decoder.predict(codes)

    def reconstruct(self, X: Any) -> Array:
        """What the network makes of rows: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        return np.reshape(self.regressor_.predict(self._read_X(X)), (-1, self.n_features_in_))

    def reconstruction_errors(self, X: Any) -> Array:
        """The mean squared error of each row: large for those unlike the ones that were learnt from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = self._read_X(X)
        errors: Array = np.mean((self.reconstruct(X) - X) ** 2, axis=1)
        return errors

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """How much of the variance of X the network gives back: R², the mean over columns by their variance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
            At most 1.
        """
        X = self._read_X(X)
        reconstructed = self.reconstruct(X)
        return float(r2_score(X, reconstructed, sample_weight=sample_weight, multioutput="variance_weighted"))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
