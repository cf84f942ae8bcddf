"""Metrics: equal to scikit-learn's, weighted as the loss is, and told where the loss is told."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from counterparts import BACKENDS, model_of
from targets import draw_targets

import fastgd as fg
from fastgd import metrics
from fastgd._formula import LOSSES
from fastgd.metrics import METRICS

sklearn_metrics = pytest.importorskip("sklearn.metrics")

each_backend = pytest.mark.parametrize("backend", BACKENDS)

# A sum of n products of numbers up to 1, in two orders: n roundings each.
TOLERANCE = 200 * np.finfo(float).eps


def classes(n_classes, n=40, ties=False, seed=0):
    """Labels, rows of probabilities and weights; probabilities of few values, if ties are wanted."""
    draw = np.random.default_rng(seed)
    p = draw.integers(1, 4, (n, n_classes)).astype(float) if ties else draw.random((n, n_classes))
    return draw.integers(n_classes, size=n), p / p.sum(axis=1, keepdims=True), draw.integers(0, 4, n).astype(float)


def theirs(name, y, p, w):
    """scikit-learn's value."""
    if name == "auc":
        two = p.shape[1] == 2
        return sklearn_metrics.roc_auc_score(y, p[:, 1] if two else p, sample_weight=w, multi_class="ovr")
    if name == "f1":
        average = "binary" if p.shape[1] == 2 else "macro"
        return sklearn_metrics.f1_score(y, p.argmax(axis=1), sample_weight=w, average=average)
    score = {"accuracy": sklearn_metrics.accuracy_score, "balanced_accuracy": sklearn_metrics.balanced_accuracy_score}
    return score[name](y, p.argmax(axis=1), sample_weight=w)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1", "auc"])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_classes_are_those_of_scikit_learn(name, n_classes, ties, weighted):
    """With and without weights, with and without equal scores."""
    for seed in range(5):
        y, p, w = classes(n_classes, ties=ties, seed=seed)
        w = w if weighted else None
        assert abs(METRICS[name](y, p, w) - theirs(name, y, p, w)) <= TOLERANCE


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_the_label_is_among_the_largest(k):
    """scikit-learn's where no scores are equal."""
    y, p, w = classes(5)
    value = metrics.top_k_accuracy(y, p, w, k=k)
    with pytest.warns(sklearn_metrics._ranking.UndefinedMetricWarning) if k >= 5 else np.errstate():
        expected = sklearn_metrics.top_k_accuracy_score(y, p, k=k, sample_weight=w)
    assert abs(value - expected) <= TOLERANCE


def test_of_equal_scores_the_first_is_the_largest():
    """So that the accuracy of one and the accuracy agree."""
    for seed in range(5):
        y, p, w = classes(4, ties=True, seed=seed)
        assert metrics.top_k_accuracy(y, p, w, k=1) == metrics.accuracy(y, p, w)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_numbers_are_those_of_scikit_learn(n_outputs, weighted):
    """The mean over outputs."""
    draw = np.random.default_rng(1)
    y, p, w = draw.normal(size=(30, n_outputs)), draw.normal(size=(30, n_outputs)), draw.random(30)
    w = w if weighted else None
    for name, score in (("r2", "r2_score"), ("mean_absolute_error", "mean_absolute_error")):
        expected = getattr(sklearn_metrics, score)(y, p, sample_weight=w)
        assert abs(METRICS[name](y, p, w) - expected) <= TOLERANCE * max(1.0, abs(expected))


def test_an_output_that_does_not_vary():
    """Is explained or is not."""
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == sklearn_metrics.r2_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2([2.0, 2.0], [2.0, 3.0]) == sklearn_metrics.r2_score([2.0, 2.0], [2.0, 3.0]) == 0.0


def test_an_area_needs_two_sides():
    """NaN else; classes that are missing on one do not count."""
    assert math.isnan(metrics.auc([1, 1], [0.2, 0.8]))
    assert metrics.auc([0, 0, 1, 1], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]]) == 1.0


def test_a_row_of_weight_two_is_two_rows():
    """And one of weight zero is none."""
    y, p, w = classes(3)
    repeated = np.repeat(np.arange(len(y)), w.astype(int))
    numbers = np.random.default_rng(2).normal(size=(40, 2))
    for name, each in METRICS.items():
        given = (y, p) if each.of == "classes" else (numbers, numbers[::-1])
        once = each(*given, w)
        again = each(*(array[repeated] for array in given))
        assert abs(once - again) <= TOLERANCE * max(1.0, abs(once)), name


def test_a_configured_metric_survives_pickling():
    """By its name."""
    configured = metrics.top_k_accuracy(k=3)
    assert pickle.loads(pickle.dumps(configured)) == configured != metrics.top_k_accuracy


# --------------------------------------------------------------------------------------------- told beside the loss
def fitted(loss, n_outputs, backend="numpy", n=30, **given):
    """A model fitted on chance, and its data."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n, 4))
    y = draw_targets(draw, LOSSES[loss].target, n, n_outputs)
    model = model_of([4, 5, n_outputs], ["tanh", "linear"], loss, dtype="float64", backend=backend)
    model.fit(X, y, epochs=2, **given)
    return model, X, y


@each_backend
def test_metrics_are_told_of_rows_and_validation_data(backend):
    """Of the end of each epoch, in the order in which they are asked for; weighted as the loss."""
    weights = np.linspace(0.0, 2.0, 30)
    asked = ["balanced_accuracy", metrics.top_k_accuracy(k=2)]
    model, X, y = fitted("softmax_cross_entropy", 3, backend)
    held_out = (X[:10], y[:10], weights[:10])
    history = model.fit(X, y, epochs=2, sample_weight=weights, validation_data=held_out, metrics=asked)
    names = ["loss", "balanced_accuracy", "top_2_accuracy"]
    assert list(history.history) == [*names, "val_loss", "val_accuracy", "val_balanced_accuracy", "val_top_2_accuracy"]
    last = history.last()
    assert last["top_2_accuracy"] == metrics.top_k_accuracy(y, model.predict(X), weights, k=2)
    assert last["val_top_2_accuracy"] == metrics.top_k_accuracy(y[:10], model.predict(X[:10]), weights[:10], k=2)
    told = model.evaluate(X, y, weights, metrics=asked)
    assert set(told) == {*names, "accuracy"}
    assert {name: told[name] for name in names[1:]} == {name: last[name] for name in names[1:]}


def test_metrics_change_no_bit_of_training():
    """They only look."""
    plain, _, _ = fitted("mean_squared_error", 2)
    watched, _, _ = fitted("mean_squared_error", 2, metrics=["r2"])
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "multiclass_hinge", "binary_cross_entropy", "hinge"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_accuracy_is_the_one_that_the_engine_tells(loss, n_outputs):
    """For every kind of classes."""
    rowwise = LOSSES[loss].rowwise
    if rowwise and n_outputs == 1:
        return
    model, X, y = fitted(loss, n_outputs)
    engine, metric = model.evaluate(X, y)["accuracy"], model.evaluate(X, y, metrics=["accuracy"])["accuracy"]
    assert abs(engine - metric) <= TOLERANCE
    assert 0.0 < metric < 1.0


def test_several_outputs_of_two_sides_are_averaged():
    """As the loss is."""
    model, X, y = fitted("binary_cross_entropy", 3)
    y = (y > 0.5).astype(float)
    p = model.predict(X)
    for name in ("f1", "auc", "balanced_accuracy"):
        each = [METRICS[name](y[:, k].astype(int), p[:, k]) for k in range(3)]
        assert abs(model.evaluate(X, y, metrics=[name])[name] - np.mean(each)) <= TOLERANCE


SCORED = [
    ("softmax_cross_entropy", 3, "neg_log_loss", lambda y, p: -sklearn_metrics.log_loss(y, p, labels=[0, 1, 2])),
    ("softmax_cross_entropy", 3, "roc_auc_ovo", lambda y, p: sklearn_metrics.roc_auc_score(y, p, multi_class="ovo")),
    ("softmax_cross_entropy", 3, "f1_micro", lambda y, p: sklearn_metrics.f1_score(y, p.argmax(1), average="micro")),
    ("binary_cross_entropy", 1, "neg_brier_score", lambda y, p: -sklearn_metrics.brier_score_loss(y, p)),
    ("binary_cross_entropy", 1, "average_precision", sklearn_metrics.average_precision_score),
    ("hinge", 1, "roc_auc", sklearn_metrics.roc_auc_score),
    ("mean_squared_error", 1, "neg_max_error", lambda y, p: -sklearn_metrics.max_error(y, p)),
    ("mean_squared_error", 2, "explained_variance", sklearn_metrics.explained_variance_score),
]


@pytest.mark.parametrize(("loss", "n_outputs", "name", "expected"), SCORED, ids=[case[2] for case in SCORED])
def test_any_scorer_of_scikit_learn_will_do(loss, n_outputs, name, expected):
    """By name and as an object; it gets labels, probabilities, margins or values, as it asks."""
    model, X, y = fitted(loss, n_outputs)
    if LOSSES[loss].two_sided:
        y = np.where(np.arange(30) % 3 == 0, 1.0, 0.0)[:, None]
    scorer = sklearn_metrics.get_scorer(name)
    told = model.evaluate(X, y, metrics=[name, scorer])
    p = model.predict(X)
    value = expected(y if p.shape[1] == 2 else y.reshape(-1), p[:, 0] if p.shape[1] == 1 else p)
    assert told[name] == told[scorer._score_func.__name__]
    assert abs(told[name] - value) <= TOLERANCE * max(1.0, abs(value))


def test_a_function_of_ones_own_will_do():
    """Of labels where there are classes, of values else."""
    model, X, y = fitted("softmax_cross_entropy", 3)
    told = model.evaluate(X, y, metrics=[sklearn_metrics.matthews_corrcoef])
    assert told["matthews_corrcoef"] == sklearn_metrics.matthews_corrcoef(y, model.predict(X).argmax(axis=1))
    model, X, y = fitted("mean_squared_error", 1)
    told = model.evaluate(X, y, metrics=[sklearn_metrics.median_absolute_error])
    assert told["median_absolute_error"] == sklearn_metrics.median_absolute_error(y, model.predict(X))


def test_a_metric_may_be_watched():
    """As the loss may."""
    stopping = fg.EarlyStopping(monitor="val_auc", patience=2)
    model, X, y = fitted("softmax_cross_entropy", 3)
    history = model.fit(X, y, epochs=200, validation_data=(X, y), metrics=["auc"], callbacks=[stopping])
    assert stopping.rising
    assert stopping.best == max(history.history["val_auc"])


# -------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("given", "loss", "fragment"),
    [
        ("accuracy", "softmax_cross_entropy", "metrics: got 'accuracy', expected a list of metrics; pass for example"),
        (["acuracy"], "softmax_cross_entropy", "metrics: got 'acuracy', expected one of accuracy.+did you mean 'accur"),
        (["accuracy"], "mean_squared_error", "metrics: got 'accuracy', a metric of classes, with mean_squared_error"),
        (["r2"], "softmax_cross_entropy", "metrics: got 'r2', a metric of numbers, with .+expected one of accuracy"),
        ([3], "softmax_cross_entropy", "metrics: got 3, expected a name, a metric, a scorer"),
        ([metrics.Metric], "softmax_cross_entropy", "metrics: got <class"),
    ],
)
def test_bad_input_is_refused(given, loss, fragment):
    """What, what was expected, what to try; before anything is trained."""
    model, X, y = fitted(loss, 3)
    for ask in (model.evaluate, model.fit):
        with pytest.raises((ValueError, TypeError), match=fragment):
            ask(X, y, metrics=given)
    assert model.n_epochs_done == 2


def test_parameters_have_ranges():
    """As those of activations."""
    with pytest.raises(ValueError, match="metric 'top_k_accuracy': k: got 0"):
        metrics.top_k_accuracy(k=0)
    with pytest.raises(ValueError, match=r"metric: got y of \(3,\), predictions of \(2, 2\)"):
        metrics.accuracy([0, 1, 1], [0.5, 0.5])
