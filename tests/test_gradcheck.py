"""`fg.check_gradients`: right gradients pass, wrong ones are found and named, kinks are told from mistakes."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, BACKENDS, LOSS_NAMES
from targets import admitted_outputs
from tolerances import assert_same_bits

import fastgd as fg
from fastgd._formula import ACTIVATIONS, LOSSES
from fastgd.gradcheck import _derivative

each_backend = pytest.mark.parametrize("backend", BACKENDS)
DRAW = np.random.default_rng(2)
X, Y = DRAW.normal(size=(12, 3)), DRAW.integers(3, size=12)


# --------------------------------------------------------------------------------------------- what is right
@each_backend
@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_passes(name, backend):
    found = fg.check_gradients(ACTIVATIONS[name], backend=backend)
    assert found and found.arrays[0].name == name and found.largest_error < 1e-6


@each_backend
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_every_loss_passes(name, backend):
    found = fg.check_gradients(LOSSES[name], backend=backend)
    assert found and found.arrays[0].shape == (32, admitted_outputs(LOSSES[name], 3))


LAYERS = {
    "smooth": [fg.Dense(5, activation="tanh"), fg.Dense(3)],
    "kinked": [fg.Dense(40, activation="relu"), fg.Dense(20, activation="relu"), fg.Dense(3)],
    "dropping": [fg.Dense(9, activation="tanh"), fg.Dropout(0.5), fg.Dense(3)],
    "normalised": [fg.Dense(5), fg.BatchNorm(activation="tanh"), fg.Dense(4), fg.LayerNorm(), fg.Dense(3)],
}


@each_backend
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "multiclass_hinge"])
@pytest.mark.parametrize("layers", LAYERS)
def test_models_pass(layers, loss, backend):
    model = fg.Sequential(LAYERS[layers], loss=loss, penalty=fg.ElasticNet(l1=0.01, l2=0.1), backend=backend)
    found = fg.check_gradients(model, X, Y, sample_weight=np.linspace(0.5, 2.0, 12), n_components=8)
    assert found, found
    names = [array.name for array in found.arrays]
    assert names[:2] == ["layers[0].W", "layers[0].b"] and names[-1] == f"layers[{len(LAYERS[layers]) - 1}].b"
    assert all(array.n_checked == min(8, np.prod(array.shape)) for array in found.arrays)
    assert ("layers[1].gain" in names) == (layers == "normalised") and not any("mean" in name for name in names)


def test_the_model_stays_as_it_is():
    model = fg.Sequential(LAYERS["normalised"], loss="softmax_cross_entropy")
    assert fg.check_gradients(model, X, Y, n_components=2)
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()
    model.fit(X, Y, epochs=2, batch_size=4)
    before = model.get_weights()
    assert fg.check_gradients(model, X, Y, n_components=2)
    for w, v in zip(before, model.get_weights(), strict=True):
        assert_same_bits(w, v, "weights")
    assert model.n_steps_done == 6


# --------------------------------------------------------------------------------------------- what is wrong
@pytest.fixture
def own(tmp_path, monkeypatch):
    """Formulas of a user's own, whose derivatives are off by one part in a thousand; the declaration does not look."""
    for name in ("verify_activation", "verify_loss"):
        monkeypatch.setattr(f"fastgd._formula.verification.{name}", lambda *_: None)
    (tmp_path / "own_formulas.py").write_text(
        "import fastgd as fg\n"
        "from fastgd._formula.language import tanh\n"
        "@fg.activation\n"
        "def bent(z):\n"
        "    return tanh(z)\n"
        "@bent.derivative(of='output')\n"
        "def _(a):\n"
        "    return 1.001 - a * a\n"
        "@fg.loss(link='linear', target='real')\n"
        "def cubed(score, target):\n"
        "    return abs(score - target) * (score - target) * (score - target)\n"
        "@cubed.derivative\n"
        "def _(score, target):\n"
        "    return 2.997 * abs(score - target) * (score - target)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_formulas")
    del sys.modules["own_formulas"]
    ACTIVATIONS.pop("bent")
    LOSSES.pop("cubed")


def test_a_wrong_derivative_of_a_users_own_is_found(own):
    found = fg.check_gradients(own.bent, backend="numpy")
    assert not found and not found.arrays[0].passed
    assert "The gradients are WRONG: by z = " in str(found) and "of bent back-propagation gives" in str(found)
    assert not fg.check_gradients(own.bent, [0.0], backend="numpy"), "1.001 for 1"
    found = fg.check_gradients(own.cubed, [[3.0]], [[1.0]], backend="numpy")
    assert not found and (found.arrays[0].analytic, found.arrays[0].where) == (11.988, "score [0, 0]")
    assert abs(found.arrays[0].numeric - 12.0) < 1e-8 and abs(found.largest_error - 1e-3) < 1e-8


def test_layers_below_a_wrong_derivative_are_wrong(own):
    layers = [fg.Dense(5, activation="tanh"), fg.Dense(4, activation=own.bent), fg.Dense(3)]
    found = fg.check_gradients(fg.Sequential(layers, loss="softmax_cross_entropy", backend="numpy"), X, Y)
    verdicts = {array.name: array.passed for array in found.arrays}
    assert not found and verdicts == {
        name: name.startswith("layers[2]") for name in verdicts
    }, "the last layer's gradient does not go through it"
    assert str(found).count("WRONG") == 5 and str(found).count("  ok") == 2


@pytest.mark.parametrize(("factor", "passes"), [(1 + 1e-5, False), (1 + 1e-8, True), (-1.0, False), (np.nan, False)])
def test_a_gradient_that_is_slightly_off_is_found(factor, passes, monkeypatch):
    right = fg.Sequential.loss_and_gradients

    def off(*given):
        loss, gradients = right(*given)
        gradients[2] *= factor
        return loss, gradients

    monkeypatch.setattr(fg.Sequential, "loss_and_gradients", off)
    model = fg.Sequential(LAYERS["smooth"], loss="softmax_cross_entropy")
    found = fg.check_gradients(model, X, Y)
    assert [array.passed for array in found.arrays] == [True, True, passes, True]


def test_one_wrong_component_among_many_is_seen_along_a_direction(monkeypatch):
    right = fg.Sequential.loss_and_gradients

    def off(*given):
        loss, gradients = right(*given)
        gradients[0][0, 0] += 0.01
        return loss, gradients

    monkeypatch.setattr(fg.Sequential, "loss_and_gradients", off)
    model = fg.Sequential([fg.Dense(200, activation="tanh"), fg.Dense(3)], loss="softmax_cross_entropy")
    found = fg.check_gradients(model, X, Y, n_components=1)
    assert not found.arrays[0].passed and found.arrays[0].where == "a random direction"


# ------------------------------------------------------------------------------------------------------- kinks
@pytest.mark.parametrize(
    ("analytic", "passed"), [(0.0, True), (1.0, True), (-1.0, True), (1.001, False), (-2.0, False)]
)
def test_at_a_kink_any_subgradient_is_right(analytic, passed):
    compared = _derivative("here", lambda x: abs(x[0]), np.zeros(1), np.ones(1), analytic, 1e-6)
    assert compared.passed == passed
    assert compared.at_kink == (analytic != 0.0), "the central difference is 0 itself"


@pytest.mark.parametrize("distance", [1e-9, 3.8e-6, 7e-6, 1e-5])
@pytest.mark.parametrize(("analytic", "passed"), [(0.3, True), (0.3001, False)])
def test_beside_a_kink_the_derivative_is_the_one_on_this_side(distance, analytic, passed):
    def function(x):
        return 0.3 * x[0] + 0.5 * x[0] ** 2 + max(x[0] - distance, 0.0)

    compared = _derivative("here", function, np.zeros(1), np.ones(1), analytic, 1e-6)
    # As close as this to the kink, there is no telling from which side the derivative is.
    assert compared.passed == (passed or distance < 1e-8)


def test_strong_curvature_is_no_kink():
    for analytic, passed in ((0.0, True), (1e-4, False)):
        compared = _derivative("here", lambda x: 500.0 * x[0] ** 2, np.zeros(1), np.ones(1), analytic, 1e-6)
        assert compared.passed == passed


def test_a_relu_that_is_just_not_there_is_a_kink_that_passes():
    """Rows of zeros, biases of zero: every sum of the first layer is at the kink, whatever the weights."""
    model = fg.Sequential([fg.Dense(4, activation="relu"), fg.Dense(3)], loss="softmax_cross_entropy", seed=1)
    found = fg.check_gradients(model, np.zeros((5, 2)), np.arange(5) % 3)
    assert found and {array.name: array.n_kinks for array in found.arrays} == {
        "layers[0].W": 0,
        "layers[0].b": 5,
        "layers[1].W": 0,
        "layers[1].b": 0,
    }, "of four biases and their direction"


# ---------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (("relu",), TypeError, "subject: got 'relu', expected a model, an activation or a loss"),
        ((fg.Sequential(LAYERS["smooth"], loss="multiclass_hinge"),), TypeError, "X: got None, expected rows"),
        ((fg.Sequential(LAYERS["smooth"], loss="multiclass_hinge"), X), TypeError, "y: got None"),
        ((fg.Sequential(LAYERS["smooth"]), X, Y), ValueError, "one without a loss"),
        ((ACTIVATIONS["relu"], [[1.0]]), ValueError, r"X: got shape \(1, 1\), expected a vector"),
        ((ACTIVATIONS["relu"], [np.nan]), ValueError, "X: got a number that is not finite"),
        ((LOSSES["huber"], [1.0, 2.0]), ValueError, r"X: got shape \(2,\), expected scores"),
    ],
)
def test_what_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        fg.check_gradients(*given)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="tol: got 0.0"):
        fg.check_gradients(ACTIVATIONS["relu"], tol=0.0)
    with pytest.raises(ValueError, match="n_components: got 0"):
        fg.check_gradients(ACTIVATIONS["relu"], n_components=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_has_learnt_all_is_not_called_wrong(backend):
    """Its loss is 1e-9 and rounded to 1e-16, of which differences make as much as the gradient is."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(50, 2))
    y = (x[:, 0] > 0).astype(int)
    layers = [fg.Dense(4, "tanh"), fg.Dense(2)]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=fg.LBFGS(), backend=backend)
    assert model.fit(x, y, epochs=50).history["loss"][-1] < 1e-6
    found = fg.check_gradients(model, x, y)
    assert found.passed, str(found)
