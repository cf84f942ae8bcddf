"""The multilayer perceptrons against scikit-learn's own, and what they have besides."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse  # noqa: E402
import sklearn  # noqa: E402
from sklearn import neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import cross_val_score, cross_validate  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.fixes import parse_version  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402
from fastgd.sklearn.epochs import Epochs  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Older versions of scikit-learn pass SciPy options that newer ones of SciPy warn of.
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]

# What the estimators promise of their loss curves over 50 epochs; without it they would not be the same method.
AGREEMENT = 1e-6

# scikit-learn's multilayer perceptrons take sample weights, and know Poisson's loss, since this version.
WEIGHTED = parse_version(sklearn.__version__) >= parse_version("1.7")


def digits():
    """Part of the digits, from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X[:431] / 16, y[:431]


def two_classes():
    """The same digits, small and large ones."""
    X, y = digits()
    return X, np.where(y > 4, 7, -3)


def several_labels():
    """A row may have any number of them."""
    X, y = make_multilabel_classification(300, n_features=12, random_state=0)
    return X / 20, y


def numbers():
    """One number a row."""
    X, y = load_diabetes(return_X_y=True)
    return X[:331] * 20, (y[:331] - 150) / 75


PROBLEMS = {
    "classes": ("MLPClassifier", digits, {}),
    "two classes": ("MLPClassifier", two_classes, {}),
    "labels": ("MLPClassifier", several_labels, {}),
    "numbers": ("MLPRegressor", numbers, {}),
}

# 431 or 331 rows leave a last batch that is shorter than the others.
SETTINGS = {
    "adam": {},
    "adam, early stopping": {"early_stopping": True, "activation": "tanh"},
    "adam, as they lie": {"shuffle": False, "alpha": 1.0},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "batch_size": 32, "activation": "identity"},
    "sgd, no momentum": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0, "batch_size": 37},
    "sgd, falling": {"solver": "sgd", "learning_rate_init": 0.2, "learning_rate": "invscaling", "power_t": 0.3},
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate_init": 0.5,
        "learning_rate": "adaptive",
        "activation": "logistic",
        "n_iter_no_change": 1,
        "tol": 1e-2,
    },
    # Smooth: where a line search meets the bend of a relu, the last bit decides which way it goes.
    "lbfgs": {"solver": "lbfgs", "alpha": 1e-2, "max_iter": 10, "activation": "tanh"},
}


def pair(problem, **settings):
    """Their estimator and ours, and the data."""
    name, data, fixed = PROBLEMS[problem]
    settings = {"hidden_layer_sizes": (12, 7), "max_iter": 50, "random_state": 3, **fixed, **settings}
    return getattr(theirs, name)(**settings), getattr(ours, name)(**settings), *data()


def assert_agree(a, b):
    """Fitted attributes of theirs and ours."""
    for name in (
        "n_iter_",
        "t_",
        "n_layers_",
        "n_outputs_",
        "out_activation_",
        "n_features_in_",
        "_no_improvement_count",
    ):
        assert getattr(a, name, None) == getattr(b, name, None) or not hasattr(a, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_", "loss_curve_", "validation_scores_"):
        if hasattr(a, name):
            expected, found = getattr(a, name), getattr(b, name)
            assert (expected is None) == (found is None), name
            if expected is not None:
                np.testing.assert_allclose(found, expected, rtol=0, atol=AGREEMENT, err_msg=name)
    for x, y in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------------------------------- agreement
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_agrees_with_scikit_learn(problem, setting):
    """From the same random state: weights drawn, rows held out, order, steps, losses, when it stops, predictions."""
    a, b, X, y = pair(problem, **SETTINGS[setting])
    assert_agree(a.fit(X, y), b.fit(X, y))
    if problem == "numbers":
        np.testing.assert_allclose(b.predict(X), a.predict(X), atol=1e-4)
    else:
        np.testing.assert_array_equal(b.classes_, a.classes_)
        np.testing.assert_array_equal(b.predict(X), a.predict(X))
        np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-5)
    assert b.score(X, y) == pytest.approx(a.score(X, y), abs=1e-5)


@pytest.mark.skipif(not WEIGHTED, reason="scikit-learn before 1.7 takes no sample weights here")
@pytest.mark.parametrize("setting", ["adam", "sgd", "adam, early stopping", "lbfgs"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_with_weights_agrees_with_scikit_learn(problem, setting):
    """Each batch is penalised by alpha over the sum of its weights, and counts by its rows."""
    a, b, X, y = pair(problem, **SETTINGS[setting])
    weights = np.random.default_rng(0).uniform(0, 3, len(X))
    weights[::5] = 0
    assert_agree(a.fit(X, y, sample_weight=weights), b.fit(X, y, sample_weight=weights))


@pytest.mark.skipif(not WEIGHTED, reason="scikit-learn before 1.7 has no such loss")
@pytest.mark.parametrize("setting", ["adam", "lbfgs"])
def test_poisson_agrees_with_scikit_learn(setting):
    """With the terms of the deviance that do not depend on the prediction."""
    settings = {"loss": "poisson", "hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 1, **SETTINGS[setting]}
    X, y = numbers()
    weights = np.random.default_rng(0).uniform(0, 3, len(X))
    a, b = theirs.MLPRegressor(**settings), ours.MLPRegressor(**settings)
    assert_agree(a.fit(X, abs(y), weights), b.fit(X, abs(y), weights))


def test_the_comparison_tells_another_seed():
    """Or it would compare nothing."""
    a, b, X, y = pair("classes")
    with pytest.raises(AssertionError):
        assert_agree(a.fit(X, y), b.set_params(random_state=4).fit(X, y))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_partial_and_warm_fits_agree_with_scikit_learn(problem):
    """Partial fits go on with the optimizer's state, warm ones without; in single precision as in double."""
    a, b, X, y = pair(problem, max_iter=3, warm_start=True)
    for estimator in (a, b):
        for _ in range(2):
            estimator.fit(X, y)
    assert_agree(a, b)
    a, b, X, y = pair(problem)
    first = {} if problem == "numbers" else {"classes": np.arange(5) if problem == "labels" else np.unique(y)}
    for estimator in (a, b):
        for k in range(4):
            estimator.partial_fit(X[k::4], y[k::4], **(first if not k else {}))
    assert_agree(a, b)


def test_a_continued_training_says_what_scikit_learn_says(capsys):
    """Line by line."""
    printed = []
    for estimator in pair(
        "classes", verbose=True, early_stopping=True, solver="sgd", learning_rate="adaptive", tol=0.1
    )[:2]:
        estimator.fit(*digits())
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Setting learning rate to" in printed[1]


def test_single_precision_stays():
    """As in scikit-learn, weights and outputs have the precision of X; whole numbers are computed in double."""
    X, y = digits()
    for given, expected in ((np.float32, np.float32), (np.float16, np.float32), (np.int8, np.float64)):
        fitted = ours.MLPClassifier((5,), max_iter=3).fit((16 * X).astype(given), y)
        assert fitted.coefs_[0].dtype == fitted.predict_proba(X.astype(given)).dtype == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tol", -1),
        ("solver", 3),
        ("batch_size", 0),
        ("max_iter", 1.5),
        ("beta_1", 1),
        ("shuffle", "yes"),
        ("alpha", -1),
    ],
)
def test_refusals_are_those_of_scikit_learn(name, value):
    """Word for word, where nothing more is accepted."""
    messages = []
    for estimator in pair("classes", **{name: value})[:2]:
        with pytest.raises(ValueError) as caught:
            estimator.fit(*digits())
        messages.append(str(caught.value).partition("must be")[0])
    assert messages[0] == messages[1]


def test_weights_that_explode_are_refused_as_in_scikit_learn():
    """With what fastgd knows of it besides."""
    X, y = numbers()
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights.*learning rate"):
        ours.MLPRegressor(solver="sgd", learning_rate_init=1e8).fit(X, y)


class EachEpoch(fg.callbacks.Callback):
    """Wants to be told of every epoch, so that each is a call into the engine; with a hand on what is done there."""

    def __init__(self, act=None):
        self.act = act

    def on_epoch_end(self, epoch, logs):
        if self.act is not None:
            self.act(epoch)


@pytest.mark.parametrize("dialect", ["sklearn", None])
@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting != "lbfgs"])
def test_epochs_that_nobody_watches_are_one_call(setting, dialect, monkeypatch):
    """With the same bits, the same end, and the same numbers drawn as if each were a call."""
    calls, run = [], Epochs.run

    def noted(self, n_epochs, *more):
        calls.append(n_epochs)
        run(self, n_epochs, *more)

    monkeypatch.setattr(Epochs, "run", noted)
    X, y = digits()
    settings = {"hidden_layer_sizes": (12,), "max_iter": 60, "tol": 2e-3, "n_iter_no_change": 3, "random_state": 1}
    fits = []
    for callbacks in ((), (EachEpoch(),)):
        estimator = ours.MLPClassifier(**settings | SETTINGS[setting], dialect=dialect, callbacks=callbacks).fit(X, y)
        if not estimator.early_stopping:
            estimator.partial_fit(X, y)
        fits.append(estimator)
    freely, watched = fits
    assert freely.n_iter_ == watched.n_iter_ and freely.t_ == watched.t_
    assert freely.loss_curve_ == watched.loss_curve_
    for a, b in zip(freely.coefs_ + freely.intercepts_, watched.coefs_ + watched.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    alone = SETTINGS[setting].keys() & {"early_stopping"} or SETTINGS[setting].get("learning_rate") == "invscaling"
    assert (max(calls) == 1) if alone else (max(calls) > 1)


@pytest.mark.parametrize("watched", [False, True])
def test_epochs_before_a_divergence_are_on_record(watched):
    """As many as there were, whether in one call or in several."""
    X, y = digits()
    solver = fg.SGD(lambda step: np.where(step > 20, 1e200, 0.01))
    estimator = ours.MLPClassifier((4,), solver=solver, random_state=0, callbacks=[EachEpoch()] if watched else [])
    with pytest.raises(ValueError, match="epoch 8, step 23,"):
        estimator.fit(X, y)
    assert len(estimator.loss_curve_) == estimator.n_iter_ == 7


def test_a_fit_that_has_not_converged_warns():
    """And one that has does not."""
    X, y = digits()
    for solver, warning in (("adam", "Maximum iterations"), ("lbfgs", "lbfgs failed to converge")):
        with pytest.warns(ConvergenceWarning, match=warning):
            ours.MLPClassifier((5,), solver=solver, max_iter=2).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.MLPClassifier((5,), tol=1.0, n_iter_no_change=1).fit(X, y)


# ------------------------------------------------------------------------------------------------ weights and copies
def test_weights_can_be_replaced_but_not_changed_in_place():
    """One of the list, or the list; `predict` and a copy know."""
    X, y = digits()
    fitted = ours.MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="read-only"):
        fitted.coefs_[0][:] = 0
    fitted.coefs_[1] = np.zeros((5, 10))
    copied = pickle.loads(pickle.dumps(fitted))
    flat = fitted.predict_proba(X)
    assert np.ptp(flat, axis=0).max() < 1e-12 < np.ptp(before, axis=0).max()
    np.testing.assert_array_equal(copied.predict_proba(X), flat)
    fitted.intercepts_ = [np.zeros(5), np.zeros(10)]
    np.testing.assert_allclose(fitted.predict_proba(X), 0.1, rtol=1e-12)
    with pytest.raises(AttributeError, match="coefs_"):
        clone(fitted).coefs_  # noqa: B018


def test_a_copy_goes_on_as_the_original():
    """To the bit: weights, the optimizer's state, the counters."""
    X, y = digits()
    original = ours.MLPClassifier((5,), random_state=0).partial_fit(X, y, classes=range(10))
    copied = pickle.loads(pickle.dumps(original))
    for estimator in (original, copied):
        estimator.partial_fit(X, y)
    for a, b in zip(original.coefs_, copied.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_settings_survive_a_clone():
    """Objects among them, which a fit leaves as they were."""
    optimizer = fg.NAdam(0.01)
    estimator = ours.MLPClassifier((4,), solver=optimizer, activation=["elu"], max_iter=2)
    estimator.fit(*digits())
    assert clone(estimator).get_params() == estimator.get_params()
    assert optimizer == fg.NAdam(0.01)
    assert "MLPClassifier" in estimator._repr_html_()


# ------------------------------------------------------------------------------------------------------------- data
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows_train_as_dense_ones(kind, solver, weighted):
    """Of stochastic solvers to rounding."""
    X, y = digits()
    weights = np.random.default_rng(0).uniform(0, 2, len(X)) if weighted else None
    sparse = getattr(scipy.sparse, kind)(X)
    settings = {"hidden_layer_sizes": (6,), "solver": solver, "batch_size": 20, "max_iter": 5, "random_state": 0}
    a, b = (ours.MLPClassifier(**settings).fit(given, y, weights) for given in (X, sparse))
    for p, q in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(q, p, rtol=0, atol=1e-9)
    np.testing.assert_allclose(b.predict_proba(sparse), a.predict_proba(X), rtol=0, atol=1e-9)
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-12)


def test_sparse_rows_are_never_made_dense(monkeypatch):
    """Neither while training nor when asked."""

    def refuse(*_, **__):
        raise AssertionError("made dense")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(scipy.sparse.csr_matrix, name, refuse)
    X = scipy.sparse.random(700, 4000, 0.01, "csr", random_state=0)
    classifier = ours.MLPClassifier((3,), batch_size=50, max_iter=2, early_stopping=True)
    classifier.fit(X, np.arange(700) % 3).predict(X)


def test_a_read_only_memory_map_is_trained_from_where_it_lies(tmp_path):
    """In any order of its axes; as joblib hands over what is large."""
    X, y = digits()
    plain = ours.MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
    for name, array in (("c", np.ascontiguousarray(X)), ("f", np.asfortranarray(X))):
        np.save(tmp_path / f"{name}.npy", array)
        mapped = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        fitted = ours.MLPClassifier((5,), max_iter=3, random_state=0).fit(mapped, y)
        np.testing.assert_array_equal(fitted.coefs_[0], plain.coefs_[0])


def test_data_frames_name_the_features():
    """And are looked at again in `predict`."""
    pandas = pytest.importorskip("pandas")
    X, y = digits()
    frame = pandas.DataFrame(X, columns=[f"pixel {k}" for k in range(64)])
    fitted = ours.MLPClassifier((5,), max_iter=3).fit(frame, pandas.Series(y).map(str))
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert set(fitted.predict(frame)) <= set("0123456789")
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize("labels", [[True, False], ["b", "a"], [2.0, 1.0], [7, -7], np.array(["y", "x"], object)])
def test_labels_of_any_kind(labels):
    """They come out as they do of scikit-learn's."""
    X, y = digits()
    given = np.asarray(labels)[(y > 4).astype(int)]
    settings = {"hidden_layer_sizes": (5,), "learning_rate_init": 0.05, "max_iter": 30, "random_state": 0}
    expected = theirs.MLPClassifier(**settings).fit(X, given).predict(X)
    fitted = ours.MLPClassifier(**settings).fit(X, given)
    assert fitted.predict(X).dtype == expected.dtype
    np.testing.assert_array_equal(fitted.predict(X), expected)
    assert fitted.score(X, given) > 0.8


# --------------------------------------------------------------------------------------------------- among the others
def test_in_a_pipeline_and_a_search_over_threads():
    """The same scores for any number of jobs."""
    X, y = digits()
    pipeline = make_pipeline(StandardScaler(), ours.MLPClassifier((8,), max_iter=5, random_state=0))
    one = cross_val_score(pipeline, X, y, cv=3)
    from joblib import parallel_backend

    with parallel_backend("threading", n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(pipeline, X, y, cv=3), one)


def test_weights_are_routed():
    """Through `cross_validate`, when asked for."""
    X, y = digits()
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = ours.MLPClassifier((4,), max_iter=2).set_fit_request(sample_weight=True)
        classifier.set_score_request(sample_weight=True)
        cross_validate(classifier, X, y, params={"sample_weight": np.ones(len(X))}, cv=2, error_score="raise")
        with pytest.raises(ValueError, match="nothing but zeros|non-zero"):
            cross_validate(classifier, X, y, params={"sample_weight": np.zeros(len(X))}, cv=2, error_score="raise")


def test_outputs_can_be_frames():
    """Hidden features have names."""
    pytest.importorskip("pandas")
    X, y = digits()
    hidden = ours.MLPClassifier((4,), max_iter=2).set_output(transform="pandas").fit(X, y).transform(X)
    assert list(hidden.columns) == [f"mlpclassifier{k}" for k in range(4)]


# -------------------------------------------------------------------------------------------------------- beyond it
def test_class_weights_multiply_sample_weights():
    """A table, or so that every class has the same total."""
    X, y = two_classes()
    settings = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
    table = {7: 3.0, -3: 0.5}
    by_row = np.array([table[label] for label in y])
    a = ours.MLPClassifier(class_weight=table, **settings).fit(X, y, 2 * np.ones(len(y)))
    b = ours.MLPClassifier(**settings).fit(X, y, 2 * by_row)
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])
    counts = {label: np.sum(y == label) for label in table}
    by_row = np.array([len(y) / 2 / counts[label] for label in y])
    a = ours.MLPClassifier(class_weight="balanced", **settings).fit(X, y)
    b = ours.MLPClassifier(**settings).fit(X, y, by_row)
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])


def test_balanced_weights_of_a_stream_count_all_rows_so_far():
    """A batch of one class alone weighs as much as that class should."""
    classifier = ours.MLPClassifier((3,), class_weight="balanced")
    X = np.zeros((4, 2))
    classifier.partial_fit(X, [0, 0, 0, 1], classes=[0, 1])
    classifier.partial_fit(X, [1, 1, 1, 1])
    np.testing.assert_array_equal(classifier._class_counts, [3, 5])
    np.testing.assert_allclose(classifier._class_weights(np.array([0, 0]), True), [10 / 2 / 5, 10 / 2 / 5])


def test_a_validation_set_of_ones_own_is_watched():
    """Early stopping keeps the weights that did best on it; nothing is held out of X."""
    X, y = digits()
    classifier = ours.MLPClassifier(
        (12,), early_stopping=True, n_iter_no_change=3, learning_rate_init=0.02, random_state=0
    )
    classifier.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert classifier.t_ == 300 * classifier.n_iter_
    assert len(classifier.validation_loss_curve_) == len(classifier.validation_scores_) == classifier.n_iter_
    assert classifier.score(X[300:], y[300:]) == max(classifier.validation_scores_)
    watched = ours.MLPClassifier((12,), max_iter=4, random_state=0).fit(X, y, X_val=X, y_val=y)
    last = -np.mean(np.log(watched.predict_proba(X)[np.arange(len(y)), y]))
    assert watched.validation_loss_curve_[-1] == pytest.approx(last, rel=1e-9)
    with pytest.raises(ValueError, match="y_val"):
        classifier.fit(X, y, X_val=X)


@pytest.mark.parametrize("solver", ["nadam", fg.Adagrad(0.05), "rmsprop"])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "multiclass_hinge"])
def test_other_solvers_and_losses(solver, loss):
    """By name or as an object; a loss that has no probabilities says so."""
    X, y = digits()
    classifier = ours.MLPClassifier((12,), ["gelu"], solver=solver, loss=loss, max_iter=40, random_state=0).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert hasattr(classifier, "predict_proba") == (loss == "log_loss")
    np.testing.assert_array_equal(classifier.decision_function(X).argmax(axis=1), classifier.predict(X))


def test_quantiles():
    """Nine of ten targets stay below a network for that quantile."""
    draw = np.random.default_rng(0)
    X = draw.uniform(-1, 1, (2000, 1))
    y = X[:, 0] + draw.normal(size=2000) * (1 + X[:, 0])
    regressor = ours.MLPRegressor(fg.losses.quantile(level=0.9), (16,), max_iter=60, random_state=0).fit(X, y)
    assert np.mean(y < regressor.predict(X)) == pytest.approx(0.9, abs=0.03)


def test_several_outputs_descend_along_the_loss_that_is_reported():
    """So L-BFGS converges, where scikit-learn's line search is misled."""
    X, y = numbers()
    regressor = ours.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0, tol=1e-8, max_iter=500)
    regressor.fit(X, np.column_stack([y, -2 * y, y**2]))
    ones = np.column_stack([X, np.ones(len(X))])
    exact = np.linalg.lstsq(ones, np.column_stack([y, -2 * y, y**2]), rcond=None)[0]
    np.testing.assert_allclose(regressor.predict(X), ones @ exact, atol=1e-3)


def test_gradients_by_the_inputs_are_those_of_differences():
    """Central ones, of the raw score."""
    X, y = digits()
    classifier = ours.MLPClassifier((12, 9), "tanh", max_iter=5, random_state=0).fit(X, y)
    gradients = classifier.input_gradients(X[:3], output=4)
    for column in (0, 20, 37):
        step = np.zeros(64)
        step[column] = 1e-5
        change = classifier.decision_function(X[:3] + step) - classifier.decision_function(X[:3] - step)
        np.testing.assert_allclose(gradients[:, column], change[:, 4] / 2e-5, atol=1e-8)


@pytest.mark.parametrize("output", [10, -11, "first", 0.5])
def test_gradients_of_units_that_are_not_there_are_refused(output):
    """There is one for each class."""
    X, y = digits()
    with pytest.raises(ValueError, match=r"^output: got .*, expected a whole number from -10 to 9"):
        ours.MLPClassifier((5,), max_iter=2).fit(X, y).input_gradients(X, output)


def test_an_activation_for_each_layer():
    """By name or configured; as many as there are hidden layers."""
    X, y = digits()
    classifier = ours.MLPClassifier((6, 5), [fg.activations.leaky_relu(slope=0.2), "logistic"], max_iter=3).fit(X, y)
    assert [layer.activation.name for layer in classifier._model.layers] == ["leaky_relu", "sigmoid", "linear"]
    with pytest.raises(ValueError, match="activation: got 1 of them, expected 2"):
        ours.MLPClassifier((6, 5), ["relu"]).fit(X, y)


def test_a_fit_can_be_bounded_in_time():
    """It ends with an epoch, at least one."""
    X, y = digits()
    for solver in ("adam", "lbfgs"):
        assert ours.MLPClassifier((6,), solver=solver, max_seconds=1e-9, tol=0).fit(X, y).n_iter_ == 1


def test_the_papers_form_is_the_same_for_any_number_of_threads():
    """fastgd's own order and optimizers."""
    X, y = digits()
    fitted = [
        ours.MLPClassifier((300,), dialect=None, max_iter=3, n_threads=n, random_state=0).fit(X, y) for n in (1, 2)
    ]
    np.testing.assert_array_equal(fitted[0].coefs_[0], fitted[1].coefs_[0])
    assert fitted[0].loss_curve_[-1] < fitted[0].loss_curve_[0]


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_layers_that_normalise_and_drop(normalization, dropout):
    """They train, predict the same twice, go on after a copy to the bit, and have gradients by their inputs."""
    X, y = digits()
    settings = {"dropout": dropout, "normalization": normalization, "learning_rate_init": 0.01}
    classifier = ours.MLPClassifier((32, 16), max_iter=40, random_state=0, **settings)
    classifier.fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert [w.shape for w in classifier.coefs_] == [(64, 32), (32, 16), (16, 10)]
    assert (classifier.n_layers_, [len(b) for b in classifier.intercepts_]) == (4, [32, 16, 10])
    step = np.zeros(64)
    step[20] = 1e-6
    change = classifier.decision_function(X[:3] + step) - classifier.decision_function(X[:3] - step)
    np.testing.assert_allclose(classifier.input_gradients(X[:3], 4)[:, 20], change[:, 4] / 2e-6, atol=1e-6)
    copied = pickle.loads(pickle.dumps(classifier))
    for estimator in (classifier, copied):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(copied.predict_proba(X), classifier.predict_proba(X))


def test_what_lbfgs_cannot_train_is_refused():
    """It sees all rows at once, and always the same loss."""
    for given in ({"dropout": 0.5}, {"normalization": "batch"}):
        with pytest.raises(ValueError, match="dropout and batch normalization"):
            ours.MLPClassifier(solver="lbfgs", **given).fit(*digits())


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_intervals_and_standard_deviations(n_outputs):
    """Of noise that grows with the feature, by quantiles and by the likelihood of a normal distribution."""
    draw = np.random.default_rng(0)
    X = draw.uniform(-1, 1, (3000, 1))
    noise = 0.1 + 0.4 * (X + 1) / 2
    y = np.sin(3 * X) * np.arange(1, n_outputs + 1) + noise * draw.normal(size=(3000, n_outputs))
    y = y[:, 0] if n_outputs == 1 else y
    settings = {"hidden_layer_sizes": (24,), "activation": "tanh", "learning_rate_init": 0.01, "random_state": 0}
    levels = fg.losses.quantiles(levels=[0.05, 0.5, 0.95], non_crossing=True)
    for loss in (levels, "gaussian_nll"):
        regressor = ours.MLPRegressor(loss, max_iter=80, **settings).fit(X, y)
        limits = regressor.predict_interval(X)
        assert limits.shape == (*y.shape, 2)
        assert np.mean((limits[..., 0] < y) & (y < limits[..., 1])) == pytest.approx(0.9, abs=0.03)
        assert regressor.score(X, y) > 0.8
    mean, deviation = regressor.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, regressor.predict(X))
    np.testing.assert_allclose(
        np.corrcoef(deviation.ravel(), np.broadcast_to(noise, (3000, n_outputs)).ravel())[0, 1], 1, atol=0.1
    )


def test_losses_without_intervals_say_so():
    """And what to use instead."""
    X, y = numbers()
    regressor = ours.MLPRegressor(max_iter=2).fit(X, y)
    assert not hasattr(regressor, "predict_interval")
    with pytest.raises(ValueError, match="gaussian_nll"):
        regressor.predict(X, return_std=True)


def test_lbfgs_watches_a_validation_set_too():
    """Each iteration, with the weights that it came to; early stopping is of the other solvers."""
    X, y = digits()
    fitted = ours.MLPClassifier((5,), solver="lbfgs", max_iter=7, early_stopping=True, random_state=0)
    fitted.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert len(fitted.validation_loss_curve_) == len(fitted.loss_curve_) == fitted.n_iter_ == 7
    assert fitted.validation_scores_[-1] == fitted.score(X[300:], y[300:])


@pytest.mark.parametrize("make", [lambda: ours.MLPClassifier((5,)), ours.SGDClassifier])
def test_classes_of_a_validation_set_have_to_be_known(make):
    """Rather than to be taken for others, or for wrong."""
    X, y = digits()
    with pytest.raises(ValueError, match="classes not in"):
        make().fit(X[y < 5], y[y < 5], X_val=X, y_val=y)


@pytest.mark.parametrize("class_weight", [{0: -1, 1: 2}, {0: 0, 1: 0}])
def test_class_weights_that_weigh_nothing_are_refused(class_weight):
    """Or less than nothing: the loss would be NaN."""
    X, y = digits()
    with pytest.raises(ValueError, match="^class_weight: got .*, expected weights of at least 0"):
        ours.MLPClassifier((5,), class_weight=class_weight).fit(X, y % 2)


@pytest.mark.parametrize("loss", ["triplet", "contrastive"])
def test_losses_over_several_rows_are_refused(loss):
    """Their targets are no numbers that could be predicted."""
    X, y = digits()
    with pytest.raises(ValueError, match=f"^loss: got {loss}, whose targets say which rows are alike"):
        ours.MLPRegressor(loss).fit(X, y)


def test_formulas_of_ones_own_go_by_their_names():
    """Those that are declared long after the estimators were imported; names that nobody has declared are refused."""
    pytest.importorskip("numba")
    X, y = digits()

    @fg.activation
    def bent_line_of_this_test(z):
        return z if z > 0.0 else 0.1 * z

    @fg.loss(target="sign")
    def line_loss_of_this_test(score, target):
        return 1.0 - score * target if score * target < 1.0 else 0.0

    @fg.optimizer(source="Robbins & Monro 1951")
    def plain_step_of_this_test(w, g, *, learning_rate=0.1):
        return w - learning_rate * g

    try:
        names = {"activation": "bent_line_of_this_test", "solver": "plain_step_of_this_test"}
        fitted = ours.MLPClassifier((8,), max_iter=30, batch_size=20, random_state=0, **names).fit(X, y)
        same = ours.MLPClassifier(
            (8,), bent_line_of_this_test, solver=fg.optimizers.Optimizer(plain_step_of_this_test), max_iter=30,
            batch_size=20, random_state=0,
        ).fit(X, y)
        np.testing.assert_array_equal(fitted.coefs_[0], same.coefs_[0])
        assert fitted.score(X, y) > 0.8
        codes = ours.MLPAutoencoder(2, (5,), "bent_line_of_this_test", max_iter=2).fit(X).transform(X)
        assert codes.shape == (len(X), 2)
        linear = ours.SGDClassifier("line_loss_of_this_test", random_state=0).fit(X, y > 4)
        hinge = ours.SGDClassifier("hinge", random_state=0).fit(X, y > 4)
        np.testing.assert_allclose(linear.coef_, hinge.coef_, rtol=1e-9, atol=1e-12)
    finally:
        from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS

        for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS):
            for name in [name for name in registry if name.endswith("_of_this_test")]:
                del registry[name]
    for given in ({"activation": "bent_line_of_this_test"}, {"solver": "plain_step_of_this_test"}):
        with pytest.raises(ValueError, match="must be a str among"):
            ours.MLPClassifier(**given).fit(X, y)


@pytest.mark.parametrize(
    ("loss", "n_classes", "message"),
    [
        (fg.losses.softmax_cross_entropy(label_smoothing=0.1), 2, "for two classes, expected a loss on one score"),
        ("kl_divergence", 2, "kl_divergence for two classes"),
        ("modified_huber", 3, "modified_huber for several classes, expected a loss over classes"),
        (fg.losses.binary_cross_entropy, 3, "binary_cross_entropy for several classes"),
        ("mean_squared_error", 2, "mean_squared_error, whose targets are numbers"),
        ("gaussian_nll", 3, "gaussian_nll, whose targets are no classes"),
    ],
)
def test_losses_that_do_not_suit_the_classes_are_refused(loss, n_classes, message):
    """Before anything is trained, with one that does."""
    X, y = digits()
    with pytest.raises(ValueError, match=f"^loss: got .*{message}.*; pass"):
        ours.MLPClassifier((4,), loss=loss).fit(X, y % n_classes)
