"""Diagnostics: sizes are what they are said to be, each remark comes when it should, and nothing is changed."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from counterparts import BACKENDS
from tolerances import assert_same_bits

import fastgd as fg
from fastgd.diagnostics import diagnose, share_of_dead, size

each_backend = pytest.mark.parametrize("backend", BACKENDS)


def rows(n=40):
    """Rows of four columns, and a smooth function of them."""
    X = np.random.default_rng(0).normal(size=(n, 4))
    return X, np.sin(X.sum(axis=1))


def network(*layers, optimizer=None, backend="numpy", weights=None):
    """A built network of four inputs."""
    model = fg.Sequential(
        layers or [fg.Dense(8, activation="tanh"), fg.Dense(1)],
        loss="mean_squared_error",
        optimizer=optimizer or fg.Adam(1e-3),
        dtype="float64",
        backend=backend,
    ).build(4)
    if weights is not None:
        model.set_weights(weights)
    return model


@each_backend
def test_sizes_are_those_of_the_arrays(backend):
    """Of every layer with weights, normalisations too."""
    X, y = rows()
    layers = (fg.Dense(8, activation="relu"), fg.BatchNorm(activation="tanh"), fg.Dropout(0.5), fg.Dense(1))
    model = network(*layers, backend=backend)
    model.fit(X, y, epochs=3)
    found, after = diagnose(model, X, y), copy.deepcopy(model)
    loss, gradients = model.loss_and_gradients(X, y)
    after.train_on_batch(X, y)
    assert found.loss == loss
    for each, layer, place in zip(found.layers, (0, 1, 3), (0, 2, 6), strict=True):
        weights, outputs = model.get_weights()[place], model.transform(X, layer)
        assert (each.layer, each.name) == (layer, repr(layers[layer]))
        updates = after.get_weights()[place] - weights
        for name, array in (
            ("weights", weights),
            ("gradients", gradients[place]),
            ("updates", updates),
            ("outputs", outputs),
        ):
            # Each square, their sum and the two scalings are rounded, in float64.
            expected = math.sqrt(np.mean(array**2))
            assert abs(getattr(each, name) - expected) <= (array.size + 4) * np.finfo(float).eps * expected
        assert each.change == each.updates / each.weights
        assert each.dead == np.mean(outputs.max(axis=0) == outputs.min(axis=0))
    text = str(found)
    assert text.count("\n") == 4 and "Dense(8, activation='relu')" in text


@each_backend
def test_nothing_is_changed(backend):
    """Weights, state, counters."""
    X, y = rows()
    model = network(fg.Dense(4), fg.BatchNorm(), fg.Dropout(0.5), fg.Dense(1), backend=backend)
    twin = copy.deepcopy(model)
    diagnose(model, X, y)
    for each in (model, twin):
        each.fit(X, y, epochs=2)
    assert_same_bits(model.get_weights(), twin.get_weights())
    assert model.n_steps_done == twin.n_steps_done


def deep(scale, activation="linear"):
    """Twelve layers whose weights are random and of one size."""
    draw = np.random.default_rng(1)
    widths = [4, *[6] * 11, 1]
    weights = []
    for n_in, n_out in zip(widths, widths[1:], strict=False):
        weights += [scale * draw.normal(size=(n_in, n_out)) / np.sqrt(n_in), np.zeros(n_out)]
    layers = [fg.Dense(n, activation=activation) for n in widths[1:-1]] + [fg.Dense(1)]
    return network(*layers, optimizer=fg.SGD(1e-9), weights=weights)


def test_a_healthy_network_has_no_remarks():
    """Else a remark would say nothing."""
    X, y = rows()
    model = network()
    model.fit(X, y, epochs=5)
    assert diagnose(model, X, y).remarks == {}


def test_gradients_that_vanish_or_explode_are_noticed():
    """They shrink by the layers' factors on their way to the input, or grow."""
    X, y = rows()
    assert "fewer layers" in diagnose(deep(1.0, "sigmoid"), X, y).remarks["vanishing"]
    assert "clip_value" in diagnose(deep(6.0, "relu"), X, y).remarks["exploding"]


@pytest.mark.parametrize(
    ("optimizer", "kind", "fragment"),
    [
        (fg.SGD(50.0), "learning rate too high", "with 50 the next step changes weights of layer"),
        (fg.Adam(1.0), "learning rate too high", "with 1 the next step changes weights of layer"),
        (fg.SGD(1e300), "learning rate too high", "with 1e+300 the next step changes weights of layer"),
        (fg.SGD(1e-9), "learning rate too low", "with 1e-09 the next step changes no weights by a millionth"),
        (fg.SGD(fg.schedules.Linear(1e-9, 0.1, 9)), "learning rate too low", "with 1e-09 "),
    ],
)
def test_a_learning_rate_that_does_not_suit_is_noticed(optimizer, kind, fragment):
    """By the step that would come next."""
    found = diagnose(network(optimizer=optimizer), *rows())
    assert list(found.remarks) == [kind]
    assert found.remarks[kind].startswith(fragment)
    assert f"{kind}: {fragment}" in str(found)


def test_a_step_that_would_diverge_is_noticed():
    """It is not taken."""
    model = network(optimizer=fg.SGD(1e308))
    X, y = rows()
    found = diagnose(model, X, 1e3 * y)
    assert found.remarks["learning rate too high"] == "with 1e+308 the next step would diverge"
    assert math.isnan(found.layers[0].updates)


def test_a_loss_that_rises_is_noticed():
    """By the history."""
    X, y = rows()
    model = network(optimizer=fg.SGD(1e-3))
    model.fit(X, y, epochs=3)
    assert not diagnose(model, X, y).remarks
    model.history.history["loss"][:] = [1.0, 0.5, 0.8]
    assert diagnose(model, X, y).remarks == {"learning rate too high": "with 0.001 the loss has risen from 0.5 to 0.8"}


def test_dead_units_are_noticed():
    """Those that say the same for every row; not the last layer's."""
    X, y = rows()
    model = network(fg.Dense(4, activation="relu"), fg.Dense(1))
    weights = model.get_weights()
    weights[1][:3] = -100.0
    model.set_weights(weights)
    found = diagnose(model, X, y)
    assert found.layers[0].dead == 0.75
    assert found.remarks["dead units"].startswith("75% of layer 0 say the same for every row")
    assert share_of_dead(np.ones((1, 3))) == 0.0


def test_inputs_that_are_not_scaled_are_noticed():
    """By their size."""
    X, y = rows()
    assert "large inputs" in diagnose(network(), 1000.0 * X, y).remarks
    assert size(np.array([3.0, 4.0])) == math.sqrt(12.5)


def test_remarks_are_printed_when_they_first_come_up(capsys):
    """And every look is kept."""
    X, y = rows()
    watch = fg.Diagnostics(X, y, every=2)
    network(optimizer=fg.SGD(1e-9)).fit(X, y, epochs=5, callbacks=[watch])
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 2: learning rate too low: {watch.diagnoses[2].remarks['learning rate too low']}"
    ]
    assert list(watch.diagnoses) == [2, 4]
    with pytest.raises(ValueError, match="Diagnostics: every: got 0, expected a whole number"):
        fg.Diagnostics(X, y, every=0)
