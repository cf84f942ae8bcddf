"""Fits that follow others: with parameters set in between, other data, and data that are refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("fastgd._kernels.cython_")

import scipy.sparse  # noqa: E402
from sklearn import neural_network as theirs  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]

X = np.random.default_rng(0).normal(size=(90, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NUMBERS = 2 * X[:, 0] + np.sin(X[:, 1])
PAIRS = np.column_stack([LABELS > 0, LABELS > 1]).astype(int)

SMALL = {"hidden_layer_sizes": (5,), "activation": "tanh", "max_iter": 5, "random_state": 0}
KINDS = {"MLPClassifier": LABELS, "MLPRegressor": NUMBERS}


def weights_of(estimator):
    """In one row."""
    return np.concatenate([array.ravel() for array in estimator.coefs_ + estimator.intercepts_])


# -------------------------------------------------------------------------------------- parameters set between two fits
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"alpha": 10.0}),
        ({}, {"alpha": 10.0, "solver": "lbfgs"}),
        ({"alpha": 10.0}, {"solver": "lbfgs"}),
        ({"solver": "lbfgs"}, {"alpha": 10.0}),
        ({}, {"activation": "relu"}),
        ({}, {"learning_rate_init": 0.1, "batch_size": 7}),
    ],
)
def test_a_warm_start_goes_by_the_parameters_of_the_day(name, before, after):
    """As scikit-learn's does: the penalty and the activation, too, which are the network's."""
    a, b = (getattr(module, name)(warm_start=True, **{**SMALL, **before}) for module in (theirs, ours))
    for estimator in (a, b):
        estimator.fit(X, KINDS[name]).set_params(**after).fit(X, KINDS[name])
    np.testing.assert_allclose(weights_of(b), weights_of(a), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_partial_fits_go_by_the_parameters_of_the_day(name):
    """The optimizer keeps its state, which a fit from a new start would not."""
    first = {"classes": [0, 1, 2]} if name == "MLPClassifier" else {}
    pair = [getattr(module, name)(**SMALL) for module in (theirs, ours)]
    for estimator in pair:
        estimator.partial_fit(X, KINDS[name], **first).set_params(alpha=10.0).partial_fit(X, KINDS[name])
    np.testing.assert_allclose(weights_of(pair[1]), weights_of(pair[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_a_warm_lbfgs_is_penalised_by_the_rows_it_has(name):
    """And not by those of the fit before."""
    pair = [getattr(module, name)(warm_start=True, solver="lbfgs", alpha=10.0, **SMALL) for module in (theirs, ours)]
    for estimator in pair:
        estimator.fit(X, KINDS[name]).fit(X[:31], KINDS[name][:31])
    np.testing.assert_allclose(weights_of(pair[1]), weights_of(pair[0]), rtol=0, atol=1e-4)


def test_dropout_and_the_loss_can_be_set_between_fits():
    """With the weights as they are; what they were called before is not said of them any more."""
    regressor = ours.MLPRegressor(warm_start=True, **SMALL).fit(X, NUMBERS)
    regressor.set_params(loss="poisson", dropout=0.5, n_threads=1).fit(X, abs(NUMBERS))
    assert regressor.out_activation_ == regressor._model.loss.link == "exp"
    assert (regressor.predict(X) > 0).all()
    assert [type(layer).__name__ for layer in regressor._model.layers] == ["Dense", "Dropout", "Dense"]


@pytest.mark.parametrize(
    "changed", [{"hidden_layer_sizes": (7,)}, {"normalization": "layer"}, {"loss": "gaussian_nll"}]
)
def test_a_network_of_another_shape_is_not_trained_further(changed):
    """Where scikit-learn goes on with the one there is, or stumbles."""
    regressor = ours.MLPRegressor(warm_start=True, **SMALL).fit(X, NUMBERS)
    before = pickle.dumps(regressor.set_params(**changed))
    for fit in (regressor.fit, regressor.partial_fit):
        with pytest.raises(ValueError, match=r"^parameters set since the last fit: got Dense.* to be trained further"):
            fit(X, NUMBERS)
    assert pickle.dumps(regressor) == before
    regressor.set_params(warm_start=False).fit(X, NUMBERS)


@pytest.mark.parametrize("name", KINDS)
def test_partial_fits_after_lbfgs_have_the_solver_of_the_day(name):
    """From the weights there are."""
    pair = [getattr(module, name)(solver="lbfgs", **SMALL) for module in (theirs, ours)]
    for estimator in pair:
        estimator.fit(X, KINDS[name]).set_params(solver="adam", learning_rate_init=0.01)
        # Scikit-learn's has nothing from L-BFGS that it could go on with.
        if not hasattr(estimator, "loss_curve_"):
            estimator.loss_curve_, estimator._no_improvement_count, estimator.best_loss_ = [], 0, np.inf
        estimator.partial_fit(X, KINDS[name]).partial_fit(X, KINDS[name])
    np.testing.assert_allclose(weights_of(pair[1]), weights_of(pair[0]), rtol=0, atol=1e-4)


def test_predictions_are_those_of_the_fit():
    """And so is what there is to be asked, whatever loss has been set since."""
    regressor = ours.MLPRegressor("gaussian_nll", **SMALL).fit(X, NUMBERS)
    before = regressor.predict(X, return_std=True), regressor.predict_interval(X)
    regressor.set_params(loss="squared_error")
    np.testing.assert_array_equal(regressor.predict(X, return_std=True), before[0])
    np.testing.assert_array_equal(regressor.predict_interval(X), before[1])
    other = ours.MLPRegressor(**SMALL).fit(X, NUMBERS)
    expected = other.predict(X)
    np.testing.assert_array_equal(other.set_params(loss="quantiles").predict(X), expected)
    assert not hasattr(other, "predict_interval")
    classifier = ours.MLPClassifier(loss="hinge", **SMALL).fit(X, LABELS > 0)
    assert not hasattr(classifier.set_params(loss="log_loss"), "predict_proba")


@pytest.mark.parametrize("make", [lambda: ours.MLPClassifier(**SMALL), lambda: ours.SGDClassifier("log_loss")])
def test_probabilities_are_calibrated_if_the_fit_was(make, tmp_path):
    """Neither before, nor after one that was not."""
    plain = make().fit(X, LABELS)
    before = plain.predict_proba(X)
    np.testing.assert_array_equal(plain.set_params(calibration="sigmoid").predict_proba(X), before)
    calibrated = make().set_params(calibration="sigmoid").fit(X, LABELS)
    before = calibrated.predict_proba(X)
    calibrated.set_params(calibration=None)
    np.testing.assert_array_equal(calibrated.predict_proba(X), before)
    with pytest.raises(ValueError, match="^calibration: got 'sigmoid' in an export"):
        calibrated.to_c(tmp_path / "model.c")
    calibrated.partial_fit(X, LABELS)
    assert not hasattr(calibrated, "calibrator_")
    assert (calibrated.predict_proba(X) != before).any()


def test_weights_of_too_few_layers_are_refused():
    """And those that there are stay."""
    classifier = ours.MLPClassifier(**SMALL).fit(X, LABELS)
    before = weights_of(classifier)
    with pytest.raises(ValueError, match="^coefs_: got 1 arrays, expected 2, one for each layer"):
        classifier.coefs_ = classifier.coefs_[:1]
    with pytest.raises(ValueError, match="shape"):
        classifier.intercepts_ = [np.zeros(2), np.zeros(3)]
    np.testing.assert_array_equal(weights_of(classifier), before)
    classifier.predict(X)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_early_stopping_can_be_switched_between_fits(name, first):
    """Which scikit-learn's do not survive."""
    estimator = getattr(ours, name)(warm_start=True, early_stopping=first, **SMALL).fit(X, KINDS[name])
    estimator.set_params(early_stopping=not first).fit(X, KINDS[name])
    assert np.isfinite(estimator.best_loss_ if first else estimator.best_validation_score_)


# ---------------------------------------------------------------------------------------------------------- other data
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_regressor_keeps_its_number_of_outputs(method, before, after):
    """Neither more nor fewer numbers are read than there are."""
    y = {1: NUMBERS, 2: np.column_stack([NUMBERS] * 2), 3: np.column_stack([NUMBERS] * 3)}
    regressor = ours.MLPRegressor(warm_start=True, **SMALL).fit(X, y[before])
    with pytest.raises(ValueError, match=f"^y: got {after} numbers for each row, expected {before}, as before; "):
        getattr(regressor, method)(X, y[after])
    assert regressor.predict(X).size == before * len(X)
    assert ours.MLPRegressor(**SMALL).fit(X, y[before]).fit(X, y[after]).n_outputs_ == after


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (LABELS, np.eye(3, dtype=int)[LABELS], "not fitted with multilabel input"),
        (PAIRS, LABELS > 1, "^y: got a single"),
    ],
)
def test_one_class_a_row_and_several_are_not_mixed(method, before, after, message):
    """Whether to learn from or to watch."""
    classifier = ours.MLPClassifier(warm_start=True, **SMALL).fit(X, before)
    with pytest.raises(ValueError, match=message):
        getattr(classifier, method)(X, after)
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, before, X_val=X, y_val=after)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor"])
@pytest.mark.parametrize(
    "given",
    [
        {"X": X[:, :2] * np.nan, "y": LABELS},
        {"X": X[:, :2], "y": LABELS[:3]},
        {"X": X[:, :2], "y": LABELS > 5, "X_val": X, "y_val": LABELS > 5},
        {"X": X, "y": LABELS, "sample_weight_val": np.ones(90)},
    ],
)
def test_an_estimator_that_refuses_data_stays_what_it_was(name, given):
    """Scikit-learn's has forgotten its classes, or expects other features."""
    estimator = getattr(ours, name)(random_state=0, max_iter=5).fit(X, LABELS)
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match="."):
        estimator.fit(**given)
    assert pickle.dumps(estimator) == before


@pytest.mark.parametrize("name", KINDS)
def test_weights_of_a_validation_set_are_checked(name):
    """As those of X are."""
    estimator = getattr(ours, name)(**SMALL)
    with pytest.raises(ValueError, match="^sample_weight_val: got -1.0"):
        estimator.fit(X, LABELS, X_val=X, y_val=LABELS, sample_weight_val=-np.ones(90))


# --------------------------------------------------------------------------------------------- sparse, one way and back
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("name", ["SGDClassifier", "SGDRegressor"])
def test_coefficients_that_were_made_sparse_are_trained_further(name, average):
    """Where scikit-learn's have to be made dense by hand."""
    pair = [getattr(ours, name)(penalty="l1", average=average, random_state=0) for _ in range(2)]
    for k, estimator in enumerate(pair):
        estimator.fit(X, LABELS > 0)
        if k:
            estimator.sparsify()
        estimator.partial_fit(X, LABELS > 0)
    assert pair[0].coef_.shape == pair[1].coef_.shape
    np.testing.assert_array_equal(pair[1].coef_, pair[0].coef_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_predictions_are_sparse_if_the_labels_were(early_stopping, tmp_path):
    """Of an indicator matrix, as scikit-learn has it; in a copy and from a file, too."""
    pytest.importorskip("safetensors")
    settings = {**SMALL, "early_stopping": early_stopping}
    kind = type(theirs.MLPClassifier(**SMALL).fit(X, scipy.sparse.csr_matrix(PAIRS)).predict(X))
    expected = theirs.MLPClassifier(**settings).fit(X, PAIRS).predict(X)
    fitted = ours.MLPClassifier(**settings).fit(X, scipy.sparse.csr_matrix(PAIRS))
    fitted.save(tmp_path / "model.safetensors")
    for estimator in (fitted, pickle.loads(pickle.dumps(fitted)), fg.load(tmp_path / "model.safetensors")):
        found = estimator.predict(X)
        assert type(found) is kind
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.toarray(), expected)
    with pytest.raises(TypeError, match="^y: got a sparse matrix, expected an array of numbers; "):
        ours.MLPRegressor().fit(X, scipy.sparse.csr_matrix(PAIRS))


# ------------------------------------------------------------------------------------------------------ hidden features
def test_a_hidden_layer_is_counted_with_what_follows_it():
    """The names of its features are those of the network, whatever has been set since."""
    classifier = ours.MLPClassifier((6, 3), normalization="layer", dropout=0.1, max_iter=2, random_state=0)
    classifier.fit(X, LABELS).set_params(hidden_layer_sizes=(2,))
    assert [classifier.transform(X, layer).shape[1] for layer in (0, 1, 2, -1, -2, -3)] == [6, 3, 3, 3, 3, 6]
    assert (classifier.transform(X, 0) >= 0).all()  # The activation comes after the normalisation.
    np.testing.assert_array_equal(classifier.transform(X, 2), classifier.decision_function(X))
    assert len(classifier.get_feature_names_out()) == 3
    for wrong in (3, -4, 0.5, True):
        with pytest.raises(ValueError, match="^layer: got .* from -3 to 2: there are 3 layers"):
            classifier.transform(X, wrong)
