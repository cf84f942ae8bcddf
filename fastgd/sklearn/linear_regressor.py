"""SGDRegressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn import linear_model
from sklearn.base import _fit_context
from sklearn.metrics import r2_score

from .._formula import Loss
from ..errors import refusal
from ..inputs import read_targets
from .linear import (
    LARGEST_SEED,
    Coefficients,
    Linear,
    Task,
    engine,
    seeded,
    weights_of_rows,
    with_narrow_indices,
)
from .names import KnownNames, elementwise_losses
from .unchanged import unchanged_if_refused

if TYPE_CHECKING:
    from .._kernels import Array

# What turns scores into predictions, by the loss's link.
LINKS = {"exp": np.exp, "expm1": np.expm1}


class SGDRegressor(Linear, linear_model.SGDRegressor):
    """Linear regression by stochastic gradient descent: scikit-learn's class of that name, and more.

    All parameters, attributes and methods of `sklearn.linear_model.SGDRegressor` are here with the same names, defaults
    and meaning, and with the same `random_state` the coefficients are the same but for rounding; `SGDClassifier` says
    what the further ones do.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        ``"squared_error"`` (halved), ``"huber"``, ``"epsilon_insensitive"``, ``"squared_epsilon_insensitive"``, or a
        loss of `fastgd.losses` for numbers: ``"poisson"``, ``"mean_absolute_error"``,
        ``fg.losses.quantile(level=0.9)``.
    penalty, alpha, l1_ratio, fit_intercept, max_iter, tol, shuffle, verbose, epsilon, random_state
        As of scikit-learn; see `SGDClassifier`.
    learning_rate, eta0, power_t, early_stopping, validation_fraction, n_iter_no_change, warm_start, average
        As of scikit-learn; see `SGDClassifier`. The learning rate is ``"invscaling"`` with ``power_t=0.25``.
    batch_size, max_seconds
        See `SGDClassifier`.
    n_threads : int or None, default=None
        Taken for the sake of the others; one output has one thread.

    Attributes
    ----------
    coef_, intercept_, n_iter_, t_, n_features_in_, feature_names_in_, validation_scores_
        See `SGDClassifier`; scores are R².

    See Also
    --------
    SGDClassifier : The same for classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.sklearn import SGDRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> regressor = SGDRegressor(alpha=0.0, learning_rate="adaptive", random_state=0).fit(X, 2 * X[:, 0] + 1)
    >>> bool(abs(regressor.predict([[0.5]]) - 2)[0] < 0.05)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **linear_model.SGDRegressor._parameter_constraints,
        **Linear._own_constraints,
        "loss": [
            KnownNames(
                lambda: {
                    *linear_model.SGDRegressor.loss_functions,
                    *elementwise_losses("real", "nonnegative", "positive", "nonzero"),
                }
            ),
            Loss,
        ],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
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
        random_state: Any = None,
        learning_rate: Any = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: Any = False,
        batch_size: int = 1,
        max_seconds: float | None = None,
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
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            average=average,
        )
        self.batch_size = batch_size
        self.max_seconds = max_seconds
        self.n_threads = n_threads

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over the given rows, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        with unchanged_if_refused(self):
            self._densify()
            super().partial_fit(with_narrow_indices(X), y, sample_weight)
        return self

    def _fit_ready(self, X: Array, y: Array) -> bool:
        if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
            return False
        self._more_validate_params()
        self._begin(X, 1)
        self._fit_numbers(X, y.astype(X.dtype, copy=False), None, self.max_iter)
        self._warn_unless_converged()
        return True

    def _fit_regressor(self, X: Any, y: Any, *given: Any) -> None:
        # Between y and these stand parameters, more of them in older versions of scikit-learn.
        sample_weight, max_iter = given[-2:]
        self._fit_numbers(X, y, sample_weight, max_iter)

    def _fit_numbers(self, X: Any, y: Array, sample_weight: Array | None, max_iter: int) -> None:
        loss, state = self._get_loss_function(self.loss), self._coefficients(1)
        dtype = state.W.dtype
        targets = read_targets(y, loss, len(y), 1, dtype, engine().first_nonfinite)
        held_out = self._held_out(X, targets, y, sample_weight)
        seed = int(seeded(self.random_state).randint(0, LARGEST_SEED))
        task = Task(
            X.astype(dtype, copy=False),
            targets.ravel(),
            weights_of_rows(sample_weight),
            loss,
            np.zeros(1, np.intp),
            np.ones((1, 2)),
        )
        self._descend(
            task,
            state,
            seed=seed,
            max_iter=max_iter,
            learnt=held_out.learnt,
            told=self._task(X, y, sample_weight, state, max_iter),
            score=held_out.scored_by(lambda rows: self._r2(state, loss, rows)),
        )

    def _get_loss_function(self, loss: Any) -> Loss:
        found = super()._get_loss_function(loss)
        if found.rowwise:
            got, remedy = f"{found.name}, which is on several scores of a row", "use MLPRegressor"
            raise ValueError(refusal("loss", got, "a loss on one score", remedy))
        return found

    def _export_link(self) -> str:
        return self._get_loss_function(self.loss).link

    def _linked(self, loss: Loss, scores: Array) -> Array:
        link = LINKS.get(loss.link)
        return scores if link is None else link(scores)

    def _r2(self, state: Coefficients, loss: Loss, rows: Any) -> float:
        predictions = self._linked(loss, (rows.X @ state.W.T + state.b)[:, 0])
        # An intermediate state may predict what no number holds; it is no good one.
        if not np.isfinite(predictions).all():
            return -np.inf
        return float(r2_score(rows.y, predictions, sample_weight=rows.weights))

    def predict(self, X: Any) -> Array:
        """Predictions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._linked(self._get_loss_function(self.loss), self._decision_function(X))
