"""Models trained by methods that need all rows at once: L-BFGS and search by hand."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.optimize
from counterparts import BACKENDS
from tolerances import assert_same_bits, assert_within, unit_roundoff

import fastgd as fg
from fastgd.methods import METHODS
from fastgd.training import WholeRun

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_method = pytest.mark.parametrize(
    "method", [fg.LBFGS(), fg.RandomSearch(0.1, local=True), fg.CoordinateSearch()], ids=METHODS
)


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(5)
    x = draw.normal(size=(40, 3))
    return x, np.digitize(x[:, 0] * x[:, 1], [-0.3, 0.3]), draw.uniform(0.5, 2.0, size=40)


def model_by(method, backend="cython", dtype="float64", **options):
    layers = [fg.Dense(4, activation="tanh"), fg.Dense(3)]
    given = dict(loss="softmax_cross_entropy", penalty=fg.L2(0.01), dtype=dtype, backend=backend)
    return fg.Sequential(layers, optimizer=method, **{**given, **options})


@each_backend
@each_method
def test_the_last_loss_is_that_of_the_weights_which_stay(method, backend, data):
    x, y, weight = data
    model = model_by(method, backend)
    history = model.fit(x, y, epochs=12, sample_weight=weight, validation_data=(x, y)).history
    losses = history["loss"]
    assert len(losses) == 12 and (np.diff(losses) <= 0).all() and losses[-1] < losses[0]
    bound = 64 * unit_roundoff(float) * losses[-1]
    assert_within(model.evaluate(x, y, sample_weight=weight)["loss"], losses[-1], bound)
    assert history["val_loss"][-1] == model.evaluate(x, y)["loss"]
    assert (model.n_epochs_done, model.n_steps_done) == (12, 12)


def test_lbfgs_is_that_of_scipy_on_the_flat_parameters(data):
    x, y, _ = data
    model = model_by(fg.LBFGS(tol=1e-5))
    by_hand = model_by("sgd").build(3)
    shapes = [w.shape for w in by_hand.get_weights()]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def loss_and_gradient(flat):
        by_hand.set_weights([w.reshape(shape) for w, shape in zip(np.split(flat, ends), shapes, strict=True)])
        loss, gradients = by_hand.loss_and_gradients(x, y)
        return loss, np.concatenate([g.ravel() for g in gradients])

    start = np.concatenate([w.ravel() for w in by_hand.get_weights()])
    options = {"maxiter": 500, "maxfun": 15000, "gtol": 1e-5}
    expected = scipy.optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    history = model.fit(x, y, epochs=500).history["loss"]
    assert len(history) == expected.nit < 500 and history[-1] == expected.fun
    assert_same_bits(np.concatenate([w.ravel() for w in model.get_weights()]), expected.x, "weights")
    again = len(model.fit(x, y, epochs=500).history["loss"])
    assert again < len(history), "it was almost there"


def test_float32_will_do(data):
    x, y, _ = data
    losses = model_by("lbfgs", dtype="float32").fit(x, y, epochs=100).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_random_search_goes_on_drawing(data):
    """A second fit does not try the same again."""
    x, y, _ = data
    once, twice = (model_by(fg.RandomSearch(0.1, local=True)) for _ in range(2))
    losses = once.fit(x, y, epochs=10).history["loss"]
    twice.fit(x, y, epochs=4)
    assert twice.fit(x, y, epochs=6).history["loss"] == losses[4:]
    for w, v in zip(once.get_weights(), twice.get_weights(), strict=True):
        assert_same_bits(w, v, "weights")


@each_method
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_go_on_alike(method, duplicate, data):
    x, y, _ = data
    model = model_by(method)
    model.fit(x, y, epochs=3)
    other = duplicate(model)
    assert other.optimizer == model.optimizer and f"optimizer={model.optimizer!r}" in repr(other)
    assert other.fit(x, y, epochs=3).history == model.fit(x, y, epochs=3).history


@each_method
def test_an_interrupt_leaves_the_last_finished_iteration(method, data, monkeypatch):
    """The third iteration has tried other weights by then."""
    x, y, _ = data
    model, finish = model_by(method), WholeRun._finished

    def interrupted_in_the_third(run, *iteration):
        if len(run.history.epochs) == 2:
            raise KeyboardInterrupt
        return finish(run, *iteration)

    monkeypatch.setattr(WholeRun, "_finished", interrupted_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=50)
    expected = model.history.history["loss"][-1]
    assert_within(model.evaluate(x, y)["loss"], expected, 64 * unit_roundoff(float) * expected)
    assert model.n_steps_done == model.n_epochs_done == len(model.history.epochs) == 2


def test_an_optimizer_may_follow_and_go_before(data):
    x, y, _ = data
    model = model_by(fg.Adam(0.05))
    first = model.fit(x, y, epochs=20).history["loss"][-1]
    model.optimizer = "lbfgs"
    second = model.fit(x, y, epochs=50).history["loss"][-1]
    assert second < first
    model.optimizer = fg.SGD(1e-6)
    assert_within(model.train_on_batch(x, y), second, 1e-4)


@each_method
def test_single_steps_and_batches_are_refused(method, data):
    x, y, _ = data
    model = model_by(method).build(3)
    before = model.get_weights()
    with pytest.raises(TypeError, match="expected an optimizer that makes single steps"):
        model.train_on_batch(x, y)
    with pytest.raises(ValueError, match="batch_size: got 10, expected None or 40: .* needs all rows at once"):
        model.fit(x, y, batch_size=10)
    for w, v in zip(before, model.get_weights(), strict=True):
        assert_same_bits(w, v, "weights")
    assert model.n_steps_done == 0
    model.fit(x, y, batch_size=40)
    model.fit(x, y, batch_size=None)


@each_method
def test_a_start_that_is_not_finite_is_said(method):
    model = model_by(method, loss="mean_squared_error").build(3)
    model.set_weights([w + 1e200 for w in model.get_weights()])
    before = model.get_weights()
    with pytest.raises(fg.DivergenceError, match="training cannot begin at epoch 1, step 1"):
        model.fit(np.ones((4, 3)), np.ones((4, 3)), epochs=5)
    for w, v in zip(before, model.get_weights(), strict=True):
        assert_same_bits(w, v, "weights")


def test_lines_are_printed(data, capsys):
    x, y, _ = data
    model_by("lbfgs").fit(x, y, epochs=3, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("epoch 3/3  loss ") and "rows/s" in lines[2]


@each_method
@pytest.mark.parametrize("layer", [fg.Dropout(0.5), fg.BatchNorm()], ids=repr)
def test_layers_by_which_the_loss_is_not_one_function_are_refused(layer, method, data):
    x, y, _ = data
    model = fg.Sequential([fg.Dense(4), layer, fg.Dense(3)], loss="softmax_cross_entropy", optimizer=method)
    with pytest.raises(ValueError, match=r"layers\[1\]: got .*loss depends on weights and rows alone"):
        model.fit(x, y)
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()


def test_layer_normalisation_will_do(data):
    x, y, _ = data
    layers = [fg.Dense(4, activation="tanh"), fg.LayerNorm(), fg.Dense(3)]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer="lbfgs", dtype="float64")
    losses = model.fit(x, y, epochs=30).history["loss"]
    assert_within(model.evaluate(x, y)["loss"], losses[-1], 64 * unit_roundoff(float) * losses[-1])
