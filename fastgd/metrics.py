"""Metrics: what is told of a model beside its loss, by name, as an object, or from scikit-learn.

A metric is a function of targets, predictions and weights. Those here are weighted means, or made of weighted sums, so
that a row of weight 2 counts as two. Of losses with classes they get labels and a column of scores for each class; of
all others, rows of targets and of predictions.

``fit`` and ``evaluate`` also take the name of a scikit-learn scorer, a scorer, or a function of ``(y, prediction)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula.declare import Declaration, Loss, Registry
from .errors import refusal
from .optional import import_optional

if TYPE_CHECKING:
    from ._kernels import Array
    from .inputs import Rows

__all__ = [
    "Metric",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "f1",
    "mean_absolute_error",
    "metric",
    "r2",
    "top_k_accuracy",
]


class Metric(Declaration):
    """A number that says how good predictions are; see `metric`.

    Attributes
    ----------
    name : str
    label : str
        Its name in a history, with its parameters.
    of : {"classes", "numbers"}
        What it is of: labels and a column of scores for each class, or rows of numbers.
    parameters : dict of str to float

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.top_k_accuracy(k=3).label
    'top_3_accuracy'
    """

    kind = "metric"

    def __init__(self, function: Callable[..., float], of: str, label: str | None, ranges: dict[str, str]) -> None:
        super().__init__(function.__name__, None, function.__doc__, function.__module__, ranges)
        self.function = function
        self.of = of
        self.pattern = label or function.__name__
        self.parameters = dict(function.__kwdefaults__ or {})

    @property
    def label(self) -> str:
        """Its name in a history."""
        return self.pattern.format(**self.parameters)

    def __call__(self, *given: Any, **parameters: float) -> Any:
        """The value for ``(y, prediction)`` or ``(y, prediction, sample_weight)``; without these, a configured copy."""
        chosen = self.configured(**parameters) if parameters else self
        if not given:
            return chosen
        return chosen.function(*_read_arrays(chosen.of, *given), **chosen.parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name: the decorated function is not to be found where a pickle looks for it.
        return _named, (self.name, self.parameters)


METRICS: Registry[Metric] = Registry("metric")


def _named(name: str, parameters: dict[str, float]) -> Metric:
    return METRICS[name].configured(**parameters)


def metric(*, of: str, label: str | None = None, **ranges: str) -> Callable[[Callable[..., float]], Metric]:
    """Register a function as a metric under its name; its keyword-only arguments become parameters.

    Parameters
    ----------
    of : {"classes", "numbers"}
        "classes": called with labels (n,), scores (n, n_classes) and weights (n,); for several outputs of two sides
        each, once for each, and the mean is taken. "numbers": with targets and predictions (n, n_outputs) and weights.
    label : str, optional
        Its name in a history, such as ``"top_{k:.0f}_accuracy"``.
    **ranges : str
        Admitted values of the parameters, such as ``k="[1, inf)"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.metrics import METRICS, metric
    >>> @metric(of="numbers")
    ... def largest_error(y, predictions, weights):
    ...     return float(np.abs(y - predictions).max())
    >>> largest_error([1.0, 2.0], [1.5, 2.0])
    0.5
    >>> del METRICS["largest_error"]
    """

    def register(function: Callable[..., float]) -> Metric:
        return METRICS.add(Metric(function, of, label, ranges))

    return register


def _read_arrays(of: str, y: Any, predictions: Any, sample_weight: Any = None) -> tuple[Array, Array, Array]:
    """What a user hands to a metric, in the form that it takes."""
    y, p = np.asarray(y), np.asarray(predictions, float)
    if of == "classes":
        if y.ndim == 2 and y.shape[1] > 1:
            y = y.argmax(axis=1)
        y = y.reshape(-1).astype(np.intp)
        p = p.reshape(len(p), -1)
        p = np.hstack([1.0 - p, p]) if p.shape[1] == 1 else p
    else:
        y, p = (np.asarray(a, float).reshape(len(a), -1) for a in (y, p))
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    if len(y) != len(p) or len(weights) != len(y) or (of == "numbers" and y.shape != p.shape):
        got = f"y of {y.shape}, predictions of {p.shape}, weights of {weights.shape}"
        raise ValueError(refusal("metric", got, "arrays of the same length", "pass predictions for the rows of y"))
    return y, p, weights


# ----------------------------------------------------------------------------------------------------- of classes
@metric(of="classes")
def accuracy(labels: Array, scores: Array, weights: Array) -> float:
    """The share of rows whose largest score is at their label; of equal scores, the first counts as the largest.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.accuracy([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    0.75
    """
    return float(weights @ (scores.argmax(axis=1) == labels) / weights.sum())


@metric(of="classes", label="top_{k:.0f}_accuracy", k="[1, inf)")
def top_k_accuracy(labels: Array, scores: Array, weights: Array, *, k: float = 5.0) -> float:
    """The share of rows whose label is among the `k` classes with the largest scores; of equal ones the first count.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.top_k_accuracy([2, 2], [[0.5, 0.2, 0.3], [0.5, 0.4, 0.1]], k=2)
    0.5
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return float(weights @ (rank < k) / weights.sum())


@metric(of="classes")
def balanced_accuracy(labels: Array, scores: Array, weights: Array) -> float:
    """The mean over classes of the share of their rows that are recognised; classes without rows do not count.

    Notes
    -----
    scikit-learn's balanced_accuracy_score without `adjusted`.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.balanced_accuracy([0, 0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    0.5
    """
    n_classes = scores.shape[1]
    total = np.bincount(labels, weights, n_classes)
    right = np.bincount(labels, weights * (scores.argmax(axis=1) == labels), n_classes)
    return float(np.mean(right[total > 0] / total[total > 0]))


@metric(of="classes")
def f1(labels: Array, scores: Array, weights: Array) -> float:
    """Twice the hits, over twice the hits plus the misses plus the false alarms.

    Of two classes, for class 1; of more, the mean over those that occur among labels or predictions. 0 where there is
    no hit.

    Notes
    -----
    scikit-learn's f1_score, with ``average="macro"`` for more than two classes.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.f1([1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1])
    0.5
    """
    n_classes, predicted = scores.shape[1], scores.argmax(axis=1)
    hits = np.bincount(labels, weights * (predicted == labels), n_classes)
    both = np.bincount(labels, weights, n_classes) + np.bincount(predicted, weights, n_classes)
    values = np.divide(2.0 * hits, both, out=np.zeros(n_classes), where=both > 0)
    occurring = np.union1d(labels, predicted)
    return float(values[1] if n_classes == 2 else values[occurring].mean())


@metric(of="classes")
def auc(labels: Array, scores: Array, weights: Array) -> float:
    """Area under the receiver operating characteristic: how probably a row of a class scores above one of another.

    Equal scores count a half. Of two classes, for class 1; of more, the mean over each class against all others, of
    those that have rows on both sides. NaN where there is none.

    Notes
    -----
    scikit-learn's roc_auc_score, with ``multi_class="ovr"`` for more than two classes.

    References
    ----------
    Hanley & McNeil, The meaning and use of the area under a receiver operating characteristic curve, Radiology 1982.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    columns = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    areas = np.array([_area(scores[:, c], labels == c, weights) for c in columns])
    defined = areas[~np.isnan(areas)]
    return float(defined.mean()) if len(defined) else float("nan")


def _area(scores: Array, positive: Array, weights: Array) -> float:
    """The weight of pairs of a positive and a negative row in the right order, over that of all such pairs."""
    values, place = np.unique(scores, return_inverse=True)
    above = np.bincount(place, weights * positive, len(values))
    below = np.bincount(place, weights * ~positive, len(values))
    pairs = float(above.sum() * below.sum())
    right = float(above @ (np.cumsum(below) - 0.5 * below))
    return right / pairs if pairs else float("nan")


# ----------------------------------------------------------------------------------------------------- of numbers
@metric(of="numbers")
def mean_absolute_error(targets: Array, predictions: Array, weights: Array) -> float:
    """The mean of ``|y - prediction|`` over rows and outputs.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.mean_absolute_error([1.0, 2.0], [1.5, 2.0])
    0.25
    """
    return float(weights @ np.abs(targets - predictions).mean(axis=1) / weights.sum())


@metric(of="numbers")
def r2(targets: Array, predictions: Array, weights: Array) -> float:
    """1 - (sum of squared errors) / (sum of squared deviations from the mean of y), the mean over outputs.

    An output that does not vary gives 1 if it is predicted exactly, else 0.

    Notes
    -----
    scikit-learn's r2_score.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    errors = weights @ (targets - predictions) ** 2
    spread = weights @ (targets - np.average(targets, axis=0, weights=weights)) ** 2
    explained = 1.0 - np.divide(errors, spread, out=(errors > 0).astype(float), where=spread > 0)
    return float(explained.mean())


# ------------------------------------------------------------------------------------------- for a model's rows
@dataclass(frozen=True)
class Outcome:
    """What a model has made of rows, as metrics see it.

    Attributes
    ----------
    X : ndarray
    labels : ndarray of shape (n,) or (n, n_outputs), or None
        Classes, of one or of several outputs; None for a loss without classes.
    targets, predictions : ndarray of shape (n, n_outputs)
        Float64; the loss's link applied.
    weights : ndarray of shape (n,)
    weighted : bool
        Whether weights were given.
    loss : Loss
    """

    X: Array
    labels: Array | None
    targets: Array
    predictions: Array
    weights: Array
    weighted: bool
    loss: Loss

    @classmethod
    def of_rows(cls, rows: Rows, predictions: Array, loss: Loss) -> Outcome:
        """From checked data and the output of `predict`."""
        y = rows.targets
        targets = y.astype(float) if y.ndim == 2 else y[:, None].astype(float)
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        return cls(
            rows.X,
            classes_of(y, loss),
            targets,
            predictions.astype(float),
            weights,
            rows.weights is not None,
            loss,
        )

    def of_output(self, output: int) -> tuple[Array, Array]:
        """Labels and a column of scores for each class, of one output with two sides."""
        assert self.labels is not None
        one = self.predictions[:, output]
        scores = np.stack([1.0 - one if self.loss.link == "sigmoid" else -one, one], axis=1)
        return self.labels[:, output], scores


def classes_of(y: Array, loss: Loss) -> Array | None:
    """Labels (n,), or 0 and 1 (n, n_outputs) of outputs with two sides; None for a loss without classes."""
    if loss.target in ("class", "label"):
        return y if y.ndim == 1 else y.argmax(axis=1)
    return (y > 0.5).astype(np.intp) if loss.two_sided else None


Measure = Callable[[Outcome], float]


def read_metrics(given: Any, loss: Loss) -> dict[str, Measure]:
    """What to tell beside the loss: functions of an outcome by their names in a history.

    Parameters
    ----------
    given : sequence
        Names, metrics, scorers and functions.
    loss : Loss
        Whether there are classes.

    Raises
    ------
    ValueError
        For an unknown name, or a metric of what the loss does not have.
    TypeError
        For anything that is none of these.
    """
    if isinstance(given, (str, Metric)) or not isinstance(given, Sequence):
        remedy = "pass for example metrics=['accuracy', fg.metrics.top_k_accuracy(k=3)]"
        raise TypeError(refusal("metrics", repr(given), "a list of metrics", remedy))
    return dict(_read_metric(each, loss) for each in given)


def _read_metric(given: Any, loss: Loss) -> tuple[str, Measure]:
    found = METRICS.get(given) if isinstance(given, str) else given
    if isinstance(found, Metric):
        return found.label, _measure(found, loss)
    if isinstance(given, str):
        return given, _scorer(_scorer_named(given), loss)
    if hasattr(given, "_score_func"):
        return given._score_func.__name__, _scorer(given, loss)
    if callable(given) and not isinstance(given, type):
        return getattr(given, "__name__", type(given).__name__), lambda outcome: float(given(*_as_of_sklearn(outcome)))
    expected = "a name, a metric, a scorer of scikit-learn or a function of (y, prediction)"
    raise TypeError(refusal("metrics", repr(given), expected, f"known by name: {', '.join(METRICS)}"))


def _measure(metric: Metric, loss: Loss) -> Measure:
    has_classes = loss.target in ("class", "label") or loss.two_sided
    if has_classes != (metric.of == "classes"):
        got = f"{metric.name!r}, a metric of {metric.of}, with {loss.name}"
        fitting = [name for name, each in METRICS.items() if each.of != metric.of]
        raise ValueError(refusal("metrics", got, f"one of {', '.join(fitting)}", "or a function of (y, prediction)"))

    def measure(outcome: Outcome) -> float:
        labels = outcome.labels
        if labels is None:
            return metric.function(outcome.targets, outcome.predictions, outcome.weights, **metric.parameters)
        if labels.ndim == 1:
            return metric.function(labels, outcome.predictions, outcome.weights, **metric.parameters)
        each = [outcome.of_output(k) for k in range(labels.shape[1])]
        return float(np.mean([metric.function(*one, outcome.weights, **metric.parameters) for one in each]))

    return measure


# ---------------------------------------------------------------------------------------------- from scikit-learn
def _scorer_named(name: str) -> Any:
    import difflib

    near = difflib.get_close_matches(name, METRICS, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    expected = f"one of {', '.join(METRICS)}, or the name of a scikit-learn scorer"
    wanted_by = f"metrics: {hint}{name!r} is none of {', '.join(METRICS)}; a scorer of that name"
    try:
        return import_optional("sklearn.metrics", wanted_by).get_scorer(name)
    except ValueError:
        remedy = f"{hint}sklearn.metrics.get_scorer_names() lists the others"
        raise ValueError(refusal("metrics", repr(name), expected, remedy)) from None


def _as_of_sklearn(outcome: Outcome) -> tuple[Array, Array]:
    """Targets and predictions as scikit-learn's functions take them: labels where there are classes."""
    y, p, labels = outcome.targets, outcome.predictions, outcome.labels
    if labels is None:
        return (y[:, 0], p[:, 0]) if y.shape[1] == 1 else (y, p)
    if labels.ndim == 1:
        return labels, p.argmax(axis=1)
    sides = (p > (0.5 if outcome.loss.link == "sigmoid" else 0.0)).astype(np.intp)
    return (labels[:, 0], sides[:, 0]) if labels.shape[1] == 1 else (labels, sides)


def _scorer(scorer: Any, loss: Loss) -> Measure:
    """A scorer asks an estimator for predictions, so it gets one that has made them already."""

    def measure(outcome: Outcome) -> float:
        y, predicted = _as_of_sklearn(outcome)
        weights = dict(sample_weight=outcome.weights) if outcome.weighted else {}
        return float(scorer(_estimator(outcome, predicted), outcome.X, y, **weights))

    return measure


def _estimator(outcome: Outcome, predicted: Array) -> Any:
    """A fitted estimator of scikit-learn that has predicted."""
    sklearn = import_optional("sklearn.base", "metrics")
    scores, labels = outcome.predictions, outcome.labels
    probable = outcome.loss.link in ("sigmoid", "softmax")
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        scores = outcome.of_output(0)[1] if probable else scores[:, 0]

    class Predicted:
        def predict(self, X: Any) -> Array:
            return predicted

    class Probable(Predicted):
        def predict_proba(self, X: Any) -> Array:
            return scores

    class Decided(Predicted):
        def decision_function(self, X: Any) -> Array:
            return scores

    if labels is None:
        return type("Predicted", (sklearn.RegressorMixin, Predicted, sklearn.BaseEstimator), {})()
    n_classes = 2 if labels.ndim == 2 else outcome.predictions.shape[1]
    bases = (sklearn.ClassifierMixin, Probable if probable else Decided, sklearn.BaseEstimator)
    return type("Predicted", bases, {"classes_": np.arange(n_classes)})()
