"""The linear models against scikit-learn's own, and what they have besides."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse  # noqa: E402
import sklearn  # noqa: E402
from sklearn import linear_model as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402
from sklearn.utils.fixes import parse_version  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402
from fastgd.sklearn import linear  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Older versions of scikit-learn pass SciPy options that newer ones of SciPy warn of.
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]

VERSION = parse_version(sklearn.__version__)

# From this version on scikit-learn's rule for stopping sees the penalty; ours always does.
STOPS_BY_OBJECTIVE = VERSION >= parse_version("1.9")
AGGRESSIVE = VERSION >= parse_version("1.8")


def two_classes():
    """Tumours, standardised."""
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), np.where(y, "benign", "malignant")


def classes():
    """Part of the digits, from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X[:431] / 16, y[:431]


def sparse_classes():
    """The same, of which half are zeros, by their non-zeros."""
    X, y = classes()
    return scipy.sparse.csr_matrix(X), y


def numbers():
    """Standardised, too."""
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


# scikit-learn draws an order for each class, so that only rows as they lie can be compared.
PROBLEMS = {
    "two classes": ("SGDClassifier", two_classes, {}),
    "classes": ("SGDClassifier", classes, {"shuffle": False}),
    "sparse classes": ("SGDClassifier", sparse_classes, {"shuffle": False, "tol": None, "max_iter": 5}),
    "numbers": ("SGDRegressor", numbers, {}),
}

SETTINGS = {
    "as it comes": {},
    # A number of epochs, because scikit-learn's objective has the weights before the l1 penalty was taken of them.
    "l1": {"penalty": "l1", "alpha": 1e-3, "tol": None, "max_iter": 20},
    "elastic net": {"penalty": "elasticnet", "alpha": 1e-3, "tol": None, "max_iter": 20},
    "no penalty": {"penalty": None, "learning_rate": "constant", "eta0": 0.01},
    "averaged": {"average": True},
    "averaged later": {"average": 700},
    "constant": {"learning_rate": "constant", "eta0": 0.005},
    "falling": {"learning_rate": "invscaling", "eta0": 0.1, "power_t": 0.3},
    "adaptive": {"learning_rate": "adaptive", "eta0": 0.05, "max_iter": 300},
    "no intercept": {"fit_intercept": False},
}


def pair(problem, **settings):
    """Their estimator and ours, and the data."""
    name, data, fixed = PROBLEMS[problem]
    settings = {"random_state": 3, **settings, **fixed}
    if not STOPS_BY_OBJECTIVE and "tol" not in settings:
        settings = {"max_iter": 20, **settings, "tol": None}
    return getattr(theirs, name)(**settings), getattr(ours, name)(**settings), *data()


def assert_agree(a, b):
    """Fitted attributes of theirs and ours."""
    assert (a.n_iter_, a.t_) == (b.n_iter_, b.t_)
    for name in ("coef_", "intercept_"):
        expected, found = getattr(a, name), getattr(b, name)
        assert (expected.shape, expected.dtype) == (found.shape, found.dtype)
        # Steps are as long as the weights, so that errors are of their size: thousands, one after the other.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * abs(a.coef_).max(), err_msg=name)


# ------------------------------------------------------------------------------------------------------- agreement
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_agrees_with_scikit_learn(problem, setting):
    """From the same random state: order, rates, steps, when it stops, predictions."""
    a, b, X, y = pair(problem, **SETTINGS[setting])
    assert_agree(a.fit(X, y), b.fit(X, y))
    if problem == "numbers":
        np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=0, atol=1e-9)
    else:
        np.testing.assert_array_equal(b.predict(X), a.predict(X))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_weighted_training_agrees_with_scikit_learn(problem):
    """Of rows, and of classes; one class against the rest has its own weight, the rest has 1."""
    a, b, X, y = pair(problem)
    if problem != "numbers":
        for estimator in (a, b):
            estimator.set_params(class_weight="balanced")
    weights = np.random.default_rng(0).uniform(0, 3, X.shape[0])
    weights[::5] = 0
    assert_agree(a.fit(X, y, sample_weight=weights), b.fit(X, y, sample_weight=weights))


LOSSES = {
    "SGDClassifier": ["squared_hinge", "perceptron", "log_loss", "modified_huber", "squared_error", "huber"],
    "SGDRegressor": ["huber", "epsilon_insensitive", "squared_epsilon_insensitive"],
}


@pytest.mark.parametrize(
    ("problem", "loss"),
    [(problem, loss) for problem in ("two classes", "classes", "numbers") for loss in LOSSES[PROBLEMS[problem][0]]],
)
def test_losses_agree_with_scikit_learn(problem, loss):
    """At a small rate: where losses curve, large steps multiply every rounding."""
    a, b, X, y = pair(problem, loss=loss, learning_rate="constant", eta0=1e-3)
    assert_agree(a.fit(X, y), b.fit(X, y))
    if loss in ("log_loss", "modified_huber"):
        np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), rtol=0, atol=1e-9)


@pytest.mark.skipif(not AGGRESSIVE, reason="scikit-learn before 1.8 has these in other classes")
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("learning_rate", ["pa1", "pa2"])
def test_passive_aggressive_steps_agree_with_scikit_learn(problem, learning_rate):
    """Their lengths follow from the loss and the row."""
    loss = "epsilon_insensitive" if problem == "numbers" else "hinge"
    a, b, X, y = pair(problem, loss=loss, learning_rate=learning_rate, eta0=0.5)
    assert_agree(a.fit(X, y), b.fit(X, y))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_partial_and_warm_fits_agree_with_scikit_learn(problem):
    """The rates go on in partial fits; warm ones begin with the coefficients alone."""
    a, b, X, y = pair(problem)
    first = {} if problem == "numbers" else {"classes": np.unique(y)}
    for estimator in (a, b):
        for k in range(4):
            estimator.partial_fit(X[k::4], y[k::4], **(first if not k else {}))
    assert_agree(a, b)
    a, b, X, y = pair(problem, warm_start=True)
    for estimator in (a, b):
        for _ in range(2):
            estimator.set_params(max_iter=3).fit(X, y)
    assert_agree(a, b)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("average", [True, 250])
def test_partial_fits_are_one_pass(problem, average):
    """With averages, of which scikit-learn's classifiers lose the intercept between two calls."""
    _, whole, X, y = pair(problem)
    settings = {"average": average, "shuffle": False, "max_iter": 1, "tol": None}
    stream = clone(whole.set_params(**settings))
    whole.fit(X, y)
    for k in range(0, X.shape[0], 90):
        given = {} if problem == "numbers" else {"classes": np.unique(y)}
        stream.partial_fit(X[k : k + 90], y[k : k + 90], **given)
    assert stream.t_ == whole.t_
    np.testing.assert_allclose(stream.coef_, whole.coef_, rtol=0, atol=1e-12 * abs(whole.coef_).max())
    np.testing.assert_allclose(stream.intercept_, whole.intercept_, rtol=0, atol=1e-12 * abs(whole.coef_).max())


@pytest.mark.parametrize("problem", ["two classes", "numbers"])
def test_early_stopping_agrees_with_scikit_learn(problem):
    """The same rows are held out, and watched with the same patience."""
    a, b, X, y = pair(problem, early_stopping=True, tol=1e-3, max_iter=1000)
    assert_agree(a.fit(X, y), b.fit(X, y))
    assert len(b.validation_scores_) == b.n_iter_


def test_early_stopping_scores_the_weights_there_are():
    """Scikit-learn scores them without the factor by which the penalty shrinks them, which matters if it is strong."""
    X, y = numbers()
    regressor = ours.SGDRegressor(early_stopping=True, alpha=0.5, max_iter=3, random_state=0).fit(X, y)
    regressor.fit(X, y, X_val=X, y_val=y)
    assert regressor.validation_scores_[-1] == pytest.approx(regressor.score(X, y), rel=1e-9)


def test_the_comparison_tells_another_seed():
    """Or it would compare nothing."""
    a, b, X, y = pair("two classes")
    with pytest.raises(AssertionError):
        assert_agree(a.fit(X, y), b.set_params(random_state=4).fit(X, y))


def test_classes_in_an_order_of_their_own_are_as_accurate():
    """Where scikit-learn draws another one for each."""
    X, y = classes()
    scores = [
        np.mean(cross_val_score(module.SGDClassifier(random_state=0, average=10), X, y, cv=5))
        for module in (theirs, ours)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_single_precision_stays():
    """Coefficients have the precision of X."""
    X, y = two_classes()
    fitted = ours.SGDClassifier(random_state=0).fit(X.astype(np.float32), y)
    assert fitted.coef_.dtype == fitted.intercept_.dtype == np.float32
    assert fitted.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -1), ("eta0", -1), ("penalty", "l3"), ("max_iter", 0), ("average", -1)]
)
def test_refusals_are_those_of_scikit_learn(name, value):
    """Word for word, where nothing more is accepted."""
    messages = []
    for estimator in pair("two classes", **{name: value})[:2]:
        with pytest.raises(ValueError) as caught:
            estimator.fit(*two_classes())
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_coefficients_that_explode_are_refused_as_in_scikit_learn():
    """With the number of the epoch."""
    X, y = numbers()
    settings = {"learning_rate": "constant", "eta0": 1e300, "penalty": None}
    with pytest.raises(ValueError, match=r"Floating-point under-/overflow occurred at epoch #\d+"):
        ours.SGDRegressor(**settings).fit(X, y)


def test_a_fit_that_has_not_converged_warns():
    """And one that has does not."""
    X, y = two_classes()
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration"):
        ours.SGDClassifier(max_iter=2).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.SGDClassifier().fit(X, y)


# ------------------------------------------------------------------------------------------------------------- data
def test_nothing_of_the_users_is_changed():
    """Coefficients to begin with are copied; read-only data and coefficients will do."""
    X, y = two_classes()
    start = np.zeros((1, X.shape[1]))
    for array in (X, start):
        array.flags.writeable = False
    fitted = ours.SGDClassifier(random_state=0).fit(X, y, coef_init=start)
    assert not start.any() and fitted.coef_.any()
    fitted.coef_.flags.writeable = False
    fitted.partial_fit(X, y)


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array"])
@pytest.mark.parametrize("average", [False, True])
def test_sparse_rows_train_as_dense_ones(kind, average):
    """But for the intercept, which is slower there. Indices of 64 bits, entries twice, zeros that are written."""
    X, y = classes()
    X = np.round(X, 1) * (X > 0.3)
    sparse = getattr(scipy.sparse, kind)(X)
    if kind == "csr_array":
        sparse = scipy.sparse.csr_array(
            (
                np.concatenate([np.repeat(sparse.data / 2, 2), [0.0]]),
                np.concatenate([np.repeat(sparse.indices, 2), [5]]).astype(np.int64),
                np.concatenate([2 * sparse.indptr[:-1], [2 * sparse.nnz + 1]]).astype(np.int64),
            ),
            shape=X.shape,
        )
    settings = {"fit_intercept": False, "average": average, "random_state": 0, "max_iter": 20, "tol": None}
    a, b = (ours.SGDClassifier(**settings).fit(given, y) for given in (X, sparse))
    np.testing.assert_allclose(b.coef_, a.coef_, rtol=0, atol=1e-9 * abs(a.coef_).max())
    np.testing.assert_array_equal(b.predict(sparse), a.predict(X))


def test_sparse_rows_are_never_made_dense(monkeypatch):
    """Not a single one."""

    def refuse(*_, **__):
        raise AssertionError("made dense")

    X = scipy.sparse.random(300, 5000, 0.01, "csr", random_state=0)
    y = np.arange(300) % 3
    for name in ("toarray", "todense"):
        monkeypatch.setattr(scipy.sparse.csr_matrix, name, refuse)
    for settings in ({}, {"penalty": "l1"}, {"average": True}, {"batch_size": 16}):
        ours.SGDClassifier(max_iter=3, **settings).fit(X, y).predict(X)


def test_a_copy_goes_on_as_the_original():
    """To the bit."""
    X, y = two_classes()
    original = ours.SGDClassifier(average=True, random_state=0).partial_fit(X, y, classes=np.unique(y))
    copied = pickle.loads(pickle.dumps(original))
    for estimator in (original, copied):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(copied.coef_, original.coef_)
    assert clone(original).get_params() == original.get_params()


def test_coefficients_can_be_made_sparse():
    """As scikit-learn's `sparsify` does it."""
    X, y = classes()
    fitted = ours.SGDClassifier(penalty="l1", alpha=1e-2, random_state=0).fit(X, y)
    predictions = fitted.predict(X)
    assert 0 < fitted.sparsify().coef_.nnz < fitted.coef_.shape[0] * fitted.coef_.shape[1]
    np.testing.assert_array_equal(fitted.predict(X), predictions)


# --------------------------------------------------------------------------------------------------------- the door
def unready(estimator, X, y):
    """Fit through scikit-learn's checks: weights of 1 are none, but are looked at."""
    return estimator.fit(X, y, sample_weight=np.ones(len(y)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint64, np.bool_, "U5"])
def test_arrays_that_need_no_checks_train_as_others(kind, dtype):
    """All that is published, to the bit, whichever door they came through."""
    X, y = two_classes()
    y = {"U5": y.astype("U5"), np.bool_: y == "benign"}.get(kind, np.where(y == "benign", 100, 90))
    for settings in ({}, {"class_weight": "balanced"}, {"average": True}, {"early_stopping": True}):
        fits = [ours.SGDClassifier(random_state=0, max_iter=7, **settings) for _ in range(2)]
        a, b = fits[0].fit(X.astype(dtype), y.astype(kind)), unready(fits[1], X.astype(dtype), y.astype(kind))
        assert vars(a).keys() == vars(b).keys()
        for name in ("coef_", "intercept_", "classes_", "t_", "n_iter_", "n_features_in_", "validation_scores_"):
            expected, found = np.asarray(getattr(b, name)), np.asarray(getattr(a, name))
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(found, expected)


def test_numbers_that_need_no_checks_train_as_others():
    X, y = numbers()
    for settings in ({}, {"average": 10}, {"early_stopping": True}):
        a, b = (ours.SGDRegressor(random_state=0, max_iter=7, **settings) for _ in range(2))
        a.fit(X, y), unready(b, X, y)
        assert vars(a).keys() == vars(b).keys()
        np.testing.assert_array_equal(a.coef_, b.coef_)
        np.testing.assert_array_equal(a.predict(X), b.predict(X))


def test_what_has_been_fitted_before_leaves_nothing_behind():
    """Names of columns, classes and means of another fit."""
    pandas = pytest.importorskip("pandas")
    X, y = two_classes()
    fitted = ours.SGDClassifier(random_state=0, average=True).fit(pandas.DataFrame(X).add_prefix("x"), y)
    fitted.set_params(average=False).fit(X[:, :9].copy(), (y == "benign").astype(int))
    again = ours.SGDClassifier(random_state=0).fit(X[:, :9].copy(), (y == "benign").astype(int))
    assert not hasattr(fitted, "feature_names_in_") and fitted.n_features_in_ == 9
    np.testing.assert_array_equal(fitted.coef_, again.coef_)
    np.testing.assert_array_equal(fitted.classes_, [0, 1])


@pytest.mark.parametrize("name", ["SGDClassifier", "SGDRegressor"])
def test_data_that_are_refused_are_refused_by_scikit_learn(name):
    """In its words, by both doors."""
    X, y = two_classes()
    y = (y == "benign").astype(int)
    with_nan = X.copy()
    with_nan[3, 4] = np.nan
    for bad_X, bad_y, message in [
        (with_nan, y, "Input X contains NaN"),
        (X[:5], y, "inconsistent numbers of samples"),
        (X[:, 0].copy(), y, "Expected 2D array"),
        (X[:0], y[:0], "minimum of 1 is required"),
        (X, np.where(y == 0, np.nan, 1.0), "Input y contains NaN"),
    ]:
        for estimator in (getattr(ours, name)(), getattr(theirs, name)()):
            with pytest.raises(ValueError, match=message):
                estimator.fit(bad_X, bad_y)
    if name == "SGDClassifier":
        with pytest.raises(ValueError, match="greater than one; got 1 class"):
            ours.SGDClassifier().fit(X, np.zeros(len(X), int))


def test_parameters_that_have_passed_are_told_from_others_that_compare_equal():
    X, y = numbers()
    ours.SGDRegressor(max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="max_iter"):
        ours.SGDRegressor(max_iter=1.0).fit(X, y)


def test_sparse_rows_may_lie_in_files(tmp_path):
    """Read-only, of 64-bit indices, without a copy of the values."""
    X, y = sparse_classes()
    parts = {"data": X.data, "indices": X.indices.astype(np.int64), "indptr": X.indptr.astype(np.int64)}
    for name, array in parts.items():
        np.save(tmp_path / name, array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts]
    from_files = scipy.sparse.csr_matrix(tuple(mapped), shape=X.shape)
    for make in (
        lambda: ours.SGDClassifier(max_iter=3, tol=None, random_state=0),
        lambda: ours.SGDRegressor(max_iter=3, tol=None, random_state=0),
        lambda: ours.MLPClassifier((8,), max_iter=3, random_state=0),
    ):
        a, b = (make().fit(given, y) for given in (X, from_files))
        np.testing.assert_array_equal(a.predict(from_files), b.predict(X))
        coefficients = [m.coefs_[0] if hasattr(m, "coefs_") else m.coef_ for m in (a, b)]
        np.testing.assert_array_equal(*coefficients)


# -------------------------------------------------------------------------------------------------------- beyond it
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_multinomial_regression_finds_the_optimum(batch_size):
    """That of scikit-learn's LogisticRegression, which does not penalise the intercepts either."""
    X, y = load_digits(return_X_y=True)
    X, y, alpha = X[y < 4] / 16, y[y < 4], 0.1
    exact = theirs.LogisticRegression(C=1 / (alpha * len(X)), tol=1e-8, max_iter=1000).fit(X, y)
    fitted = ours.SGDClassifier(
        "softmax_cross_entropy",
        alpha=alpha,
        tol=None,
        max_iter=60,
        batch_size=batch_size,
        average=20 * len(X) // batch_size,
        learning_rate=fg.schedules.InverseScaling(0.3, power=0.5, scale=0.01),
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(X), exact.predict_proba(X), atol=0.03)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-12)


def test_classes_have_the_same_bits_for_any_number_of_threads():
    """Each thread has some of the classes."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(3000, 500)), draw.integers(5, size=3000)
    fitted = [ours.SGDClassifier(max_iter=6, tol=None, n_threads=n, random_state=0).fit(X, y) for n in (1, 2, 5)]
    for other in fitted[1:]:
        np.testing.assert_array_equal(other.coef_, fitted[0].coef_)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("settings", [{}, {"average": True}, {"learning_rate": "adaptive", "eta0": 0.1}])
def test_a_class_that_stops_early_changes_no_bits_of_the_others(settings, kind, monkeypatch):
    """Whether it is trained by the same thread or by another."""
    # However small the work is.
    monkeypatch.setattr(linear, "choose", lambda n_threads, *_: n_threads)
    draw = np.random.default_rng(0)
    X = draw.normal(size=(2000, 20)) * (draw.random((2000, 20)) < 0.7)
    y = np.digitize(X[:, 0] + 0.1 * X[:, 1], [-1.0, 0.0, 0.5])
    given = X if kind == "dense" else scipy.sparse.csr_matrix(X)
    fitted = [ours.SGDClassifier(n_threads=n, random_state=0, **settings).fit(given, y) for n in (1, 2, 3, 4)]
    for other in fitted[1:]:
        np.testing.assert_array_equal(other.coef_, fitted[0].coef_)
        np.testing.assert_array_equal(other.intercept_, fitted[0].intercept_)


def test_a_validation_set_of_ones_own_is_watched():
    """Nothing is held out of X."""
    X, y = two_classes()
    fitted = ours.SGDClassifier(early_stopping=True, random_state=0).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert fitted.t_ == 1 + 400 * fitted.n_iter_
    assert fitted.validation_scores_[-1] == fitted.score(X[400:], y[400:])
    with pytest.raises(ValueError, match="y_val"):
        fitted.fit(X, y, X_val=X)


def test_balanced_weights_of_a_stream_count_all_rows_so_far():
    """As the table would."""
    X, y = two_classes()
    stream = ours.SGDClassifier(class_weight="balanced", random_state=0)
    stream.partial_fit(X[:100], y[:100], classes=np.unique(y)).partial_fit(X[100:200], y[100:200])
    assert stream.class_weight == "balanced"
    counted = ours.SGDClassifier(random_state=0)
    for rows, seen in ((slice(0, 100), slice(0, 100)), (slice(100, 200), slice(0, 200))):
        table = {label: len(y[seen]) / 2 / np.sum(y[seen] == label) for label in np.unique(y)}
        counted.set_params(class_weight=table).partial_fit(X[rows], y[rows], classes=np.unique(y))
    np.testing.assert_allclose(stream.coef_, counted.coef_, rtol=1e-12)


def test_other_losses():
    """Quantiles, counts, classes by their margins; what has probabilities gives them."""
    draw = np.random.default_rng(0)
    X = draw.uniform(-1, 1, (2000, 2))
    counts = draw.poisson(np.exp(X @ [1.0, -0.5] + 0.3))
    fitted = ours.SGDRegressor("poisson", alpha=0.0, average=2000, random_state=0).fit(X, counts)
    np.testing.assert_allclose([*fitted.coef_, fitted.intercept_[0]], [1.0, -0.5, 0.3], atol=0.15)
    assert (fitted.predict(X) > 0).all()
    with pytest.raises(ValueError, match="at least 0"):
        fitted.fit(X, counts - 1.0)
    y = X @ [1.0, 2.0] + draw.normal(size=2000)
    loss = fg.losses.quantile(level=0.9)
    upper = ours.SGDRegressor(loss, learning_rate="constant", average=2000, tol=None, max_iter=30, random_state=0)
    assert np.mean(y < upper.fit(X, y).predict(X)) == pytest.approx(0.9, abs=0.02)
    X, y = classes()
    hinge = ours.SGDClassifier("multiclass_hinge", random_state=0).fit(X, y)
    assert hinge.score(X, y) > 0.9 and not hasattr(hinge, "predict_proba")
    focal = ours.SGDClassifier("binary_focal_cross_entropy", random_state=0).fit(X, y)
    np.testing.assert_allclose(focal.predict_proba(X).sum(axis=1), 1, rtol=1e-12)


def test_a_fit_can_be_bounded_in_time():
    """It ends with the epochs of a call into the engine."""
    X, y = two_classes()
    assert ours.SGDClassifier(max_seconds=1e-9, tol=None).fit(X, y).n_iter_ < 20


def test_verbose_tells_of_each_epoch(capsys):
    """With the norm, the zeros and the objective."""
    ours.SGDClassifier(verbose=1, max_iter=3, tol=None, random_state=0).fit(*two_classes())
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("-- Epoch")] == [f"-- Epoch {k}" for k in (1, 2, 3)]
    assert all("Objective:" in line for line in lines[1::2])


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (ours.SGDClassifier(fg.losses.softmax_cross_entropy), "for two classes, expected a loss on one score"),
        (ours.SGDClassifier(fg.losses.multiclass_hinge), "multiclass_hinge for two"),
        (ours.SGDClassifier(fg.losses.gaussian_nll), "gaussian_nll for two classes"),
        (ours.SGDRegressor(fg.losses.gaussian_nll), "gaussian_nll, which is on several scores of a row"),
        (ours.SGDRegressor(fg.losses.quantiles), "quantiles, which is on several scores of a row"),
    ],
)
def test_losses_that_do_not_suit_the_outputs_are_refused(estimator, message):
    """Rather than given memory that is not theirs."""
    X, y = two_classes()
    with pytest.raises(ValueError, match=f"^loss: got .*{message}"):
        estimator.fit(X, np.unique(y, return_inverse=True)[1])
