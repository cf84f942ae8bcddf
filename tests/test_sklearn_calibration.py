"""Probabilities that are fitted to scores of rows held out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("fastgd._kernels.cython_")

from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402

from fastgd import sklearn as ours  # noqa: E402
from fastgd.sklearn.calibration import METHODS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def noisy(n_classes, n=1200):
    """Rows whose classes overlap, so that a network that learns them by heart is too sure of itself."""
    draw = np.random.default_rng(n_classes)
    X = draw.normal(size=(n, 6))
    scores = X[:, :n_classes] + 1.5 * draw.gumbel(size=(n, n_classes))
    return X, np.array(["hit", "miss", "none"])[scores.argmax(axis=1)]


MODELS = {
    "network": lambda **given: ours.MLPClassifier((60,), alpha=0.0, max_iter=200, random_state=0, **given),
    "network, lbfgs": lambda **given: ours.MLPClassifier((5,), solver="lbfgs", max_iter=50, random_state=0, **given),
    "network, hinge": lambda **given: ours.MLPClassifier((20,), loss="hinge", max_iter=50, random_state=0, **given),
    "linear": lambda **given: ours.SGDClassifier(random_state=0, **given),
}


@pytest.mark.parametrize("method", sorted(METHODS.options))
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", MODELS)
def test_probabilities_are_those_of_scikit_learn_for_the_same_scores(model, n_classes, method):
    """Of the trained estimator and the rows held out, its `CalibratedClassifierCV` finds the same."""
    X, y = noisy(n_classes)
    fitted = MODELS[model](calibration=method).fit(X[:600], y[:600], X_val=X[600:900], y_val=y[600:900])
    plain = pickle.loads(pickle.dumps(fitted)).set_params(calibration=None)
    reference = CalibratedClassifierCV(FrozenEstimator(plain), method=method, cv=2).fit(X[600:900], y[600:900])
    np.testing.assert_allclose(fitted.predict_proba(X[900:]), reference.predict_proba(X[900:]), rtol=1e-6, atol=1e-9)
    assert list(fitted.classes_) == list(reference.classes_)
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1.0, rtol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_held_out_of_x(model):
    """So many as early stopping would watch; the others alone are learnt from, and none is watched."""
    X, y = noisy(3)
    fitted = MODELS[model](calibration="sigmoid", validation_fraction=0.25).fit(X, y)
    assert len(fitted.predict_proba(X)) == len(X)
    if model in ("network", "network, hinge"):
        assert fitted.t_ == 900 * fitted.n_iter_
    assert not getattr(fitted, "validation_scores_", None)
    again = clone(fitted).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_network_that_is_too_sure_of_itself_becomes_less_so():
    """The losses of rows that it has not seen fall to what the noise admits."""
    X, y = noisy(2, 3000)
    losses = []
    for method in (None, "sigmoid"):
        network = MODELS["network"](calibration=method, validation_fraction=0.5, learning_rate_init=0.02)
        losses.append(log_loss(y[500:], network.fit(X[:500], y[:500]).predict_proba(X[500:])))
    assert losses[1] < 0.7 * losses[0]


def test_precision_and_copies():
    """Probabilities have the precision of X; a copy gives the same."""
    X, y = noisy(3)
    fitted = MODELS["network"](calibration="isotonic", early_stopping=True).fit(X.astype(np.float32), y)
    probabilities = fitted.predict_proba(X.astype(np.float32))
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X.astype(np.float32)), probabilities)


@pytest.mark.parametrize("model", ["network", "linear"])
def test_what_cannot_be_calibrated_is_refused(model, tmp_path):
    """No rows held out, rows of too few classes, exports."""
    X, y = noisy(3, 200)
    with pytest.raises(ValueError, match="calibration: got 'sigmoid', expected None in partial_fit"):
        MODELS[model](calibration="sigmoid").partial_fit(X, y, classes=["hit", "miss", "none"])
    few = y != "none"
    with pytest.raises(ValueError, match=r"calibration: got rows of \['hit', 'miss'\] held out"):
        MODELS[model](calibration="sigmoid").fit(X, y, X_val=X[few], y_val=y[few])
    with pytest.raises(ValueError, match="calibration"):
        MODELS[model](calibration="platt").fit(X, y)
    fitted = MODELS[model](calibration="sigmoid").fit(X, y)
    for export in (fitted.to_onnx, fitted.to_c):
        with pytest.raises(ValueError, match="calibration: got 'sigmoid' in an export, expected None"):
            export(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_several_classes_a_row_are_refused():
    """With what to do instead."""
    X, y = noisy(2, 200)
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        MODELS["network"](calibration="sigmoid").fit(X, np.stack([y == "hit", y == "miss"], axis=1).astype(int))
