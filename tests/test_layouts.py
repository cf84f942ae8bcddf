"""Weights of other libraries: what their networks make of rows, ours make with their weights, and back again."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from golden import load
from tolerances import assert_same_bits

import fastgd as fg

GOLDEN = load("layouts")
ROWS = np.array(GOLDEN["rows"], np.float32)

# Five layers of at most five terms each, in float32, on outputs near 1: some 60 roundings in two orders.
TOLERANCE = 120 * np.finfo(np.float32).eps


def network(**normalization):
    """The layers of the recorded networks."""
    layers = [
        fg.Dense(5, activation="relu"),
        fg.BatchNorm(activation="tanh", **normalization),
        fg.Dropout(0.5),
        fg.Dense(3),
        fg.LayerNorm(**normalization),
        fg.Dense(2),
    ]
    return fg.Sequential(layers, backend="numpy").build(4)


def state_of(library):
    """Arrays by the library's names."""
    return {name: np.array(values, np.float32) for name, values in GOLDEN[library]["state"].items()}


def assert_predicts(model, library):
    """What the library has predicted."""
    outputs = np.array(GOLDEN[library]["outputs"])
    assert np.abs(model.predict(ROWS) - outputs).max() <= TOLERANCE * np.abs(outputs).max()


def test_weights_come_from_pytorch():
    """From a state dictionary; a bias that is left out is zero."""
    model = network()
    assert "5.bias" not in state_of("torch")
    model.set_weights(fg.io.from_torch(state_of("torch")))
    assert_predicts(model, "torch")


def test_weights_go_to_pytorch():
    """Under the names of an nn.Sequential of the same layers, or names that are given."""
    model = network()
    model.set_weights(fg.io.from_torch(state_of("torch")))
    state, expected = fg.io.to_torch(model), state_of("torch")
    assert set(state) == {*expected, "5.bias"}
    for name, array in expected.items():
        assert np.array_equal(state[name], array) and state[name].flags.c_contiguous, name
    named = fg.io.to_torch(model, ["fc1", "bn", "fc2", "ln", "fc3"])
    assert list(named)[:3] == ["fc1.weight", "fc1.bias", "bn.weight"]
    assert_same_bits(fg.io.from_torch(named), model.get_weights())


@pytest.mark.parametrize("by_name", [False, True])
def test_weights_come_from_keras(by_name):
    """From a list, or by the paths of variables."""
    state = state_of("keras")
    model = network(eps=1e-3)
    model.set_weights(fg.io.from_keras(state if by_name else list(state.values())))
    assert_predicts(model, "keras")


def test_weights_go_to_keras():
    """In its order and layout."""
    state = state_of("keras")
    model = network(eps=1e-3)
    model.set_weights(fg.io.from_keras(state))
    given = fg.io.to_keras(model)
    assert not given.pop(7).any()   # The bias that the recorded network has not.
    assert_same_bits(given, list(state.values()))


def test_normalisations_without_gain_or_shift_are_known_by_name():
    """Ones and zeros."""
    mean, variance = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    expected = [np.ones(2), np.zeros(2), mean, variance]
    assert_same_bits(fg.io.from_keras({"norm/moving_mean": mean, "norm/moving_variance": variance}), expected)
    assert_same_bits(fg.io.from_torch({"norm.running_mean": mean, "norm.running_var": variance}), expected)


class Tensor:
    """What behaves as a tensor that is part of a graph."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        """Without the graph."""
        return self.values

    def __array__(self, *given, **named):
        raise RuntimeError("requires grad")


def test_a_tensor_is_detached():
    """Its memory is read where it lies."""
    values = np.arange(6.0).reshape(2, 3)
    W, b = fg.io.from_torch({"weight": Tensor(values)})
    assert np.shares_memory(W, values) and b.shape == (2,)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: fg.io.from_torch({"conv.weight": np.zeros((2, 3, 3))}), r"conv.weight: got shape \(2, 3, 3\)"),
        (lambda: fg.io.from_torch({"rnn.weight_ih_l0": np.zeros(3)}), "state: got 'rnn.weight_ih_l0', expected weight"),
        (lambda: fg.io.from_torch({"weight": Tensor(["a"])}), "weight: got dtype <U1, expected real numbers"),
        (lambda: fg.io.from_keras([np.zeros((1, 2, 3))]), r"weights\[0\]: got shape \(1, 2, 3\)"),
        (lambda: fg.io.from_keras({"a/embeddings": np.zeros(3)}), "weights: got 'a/embeddings', expected variables of"),
        (lambda: fg.io.to_torch(network(), ["fc1"]), "names: got 1 names, expected 5, one for each layer with weights"),
        (lambda: fg.io.from_sklearn(3), "estimator: got a int without coefs_, expected a fitted MLP"),
    ],
)
def test_what_is_no_network_of_ours_is_refused(call, fragment):
    """With its name."""
    with pytest.raises((ValueError, TypeError), match=fragment):
        call()


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("targets", ["numbers", "several numbers", "two classes", "three classes", "several labels"])
def test_a_network_of_scikit_learn_predicts_the_same(activation, targets):
    """Values, or probabilities; with the same loss."""
    networks = pytest.importorskip("sklearn.neural_network")
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 4))
    y = {
        "numbers": X[:, 0],
        "several numbers": X[:, :3],
        "two classes": X[:, 0] > 0,
        "three classes": np.digitize(X[:, 0], [-0.5, 0.5]),
        "several labels": (X[:, :3] > 0).astype(int),
    }[targets]
    kind = networks.MLPRegressor if targets.endswith("numbers") else networks.MLPClassifier
    settings = dict(hidden_layer_sizes=(6, 5), activation=activation, alpha=0.0, solver="lbfgs", max_iter=20)
    mlp = kind(**settings, random_state=0)
    with warnings.catch_warnings(action="ignore"):
        mlp.fit(X, y)
    model = fg.io.from_sklearn(mlp, backend="numpy", optimizer="sgd")
    expected = mlp.predict(X) if targets.endswith("numbers") else mlp.predict_proba(X)
    if targets == "two classes":
        expected = expected[:, 1:]
    found = model.predict(X)
    bound = 200 * np.finfo(float).eps * max(1.0, np.abs(found).max())
    assert np.abs(found - expected.reshape(found.shape)).max() <= bound
    # scikit-learn adds the losses of several labels up; here they are averaged.
    outputs = 3 if targets == "several labels" else 1
    labels = y.astype(int) if y.dtype == bool else y
    assert abs(outputs * model.evaluate(X, labels)["loss"] - mlp.loss_) <= 1e-6 * max(1.0, mlp.loss_)


def test_a_poisson_regressor_of_scikit_learn_predicts_the_same():
    """Its exponential is the loss's link; scikit-learn has it since 1.7."""
    networks = pytest.importorskip("sklearn.neural_network")
    X = np.random.default_rng(0).normal(size=(60, 4))
    try:
        mlp = networks.MLPRegressor("poisson", hidden_layer_sizes=(6,), max_iter=20, random_state=0)
    except TypeError:
        pytest.skip("this scikit-learn has no Poisson loss")
    with warnings.catch_warnings(action="ignore"):
        mlp.fit(X, np.exp(X[:, 0]))
    expected = mlp.predict(X)
    assert np.abs(fg.io.from_sklearn(mlp).predict(X)[:, 0] - expected).max() <= 1e-13 * expected.max()
