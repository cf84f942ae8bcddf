"""What the page for those who come from other libraries says, held against these libraries."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

import fastgd as fg
from fastgd import schedules

# Importing them takes longer than most tests; single precision is theirs, and what follows sums a dozen numbers.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
CLOSE = 1e-5

N, N_COLUMNS, N_CLASSES = 12, 4, 3


def data():
    """Rows, labels and weights."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(N, N_COLUMNS)).astype("f4"), draw.integers(N_CLASSES, size=N), draw.random(N)


def network(**options):
    layers = [fg.Dense(5, activation="tanh"), fg.Dense(N_CLASSES)]
    return fg.Sequential(layers, **{"loss": "softmax_cross_entropy"} | options).build(N_COLUMNS)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def keras():
    """On whichever of its backends there is."""
    found = [name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)]
    os.environ.setdefault("KERAS_BACKEND", found[0] if found else "torch")
    return pytest.importorskip("keras")


# ---------------------------------------------------------------------------------------------------------- PyTorch
def torch_network(torch):
    return torch.nn.Sequential(torch.nn.Linear(N_COLUMNS, 5), torch.nn.Tanh(), torch.nn.Linear(5, N_CLASSES))


def test_weights_scores_and_probabilities_of_torch(torch):
    X, _, _ = data()
    theirs, model = torch_network(torch), network()
    model.set_weights(fg.io.from_torch(theirs.state_dict()))
    scores = theirs(torch.from_numpy(X))
    np.testing.assert_allclose(model.predict(X, raw=True), scores.detach().numpy(), rtol=CLOSE, atol=CLOSE)
    probabilities = torch.softmax(scores, 1).detach().numpy()
    np.testing.assert_allclose(model.predict(X), probabilities, rtol=CLOSE, atol=CLOSE)


def test_means_of_torch(torch):
    """Weights of classes divide by their sum in `fit`, as there; those of a loss by the number of rows."""
    X, y, _ = data()
    of_classes = np.array([1.0, 2.0, 5.0], "f4")
    model = network(optimizer=fg.SGD(0.0))
    scores, labels = torch.from_numpy(model.predict(X, raw=True)), torch.from_numpy(y)
    plain, weighted = torch.nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(weight=torch.from_numpy(of_classes))
    assert model.evaluate(X, y)["loss"] == pytest.approx(plain(scores, labels).item(), rel=CLOSE)
    history = model.fit(X, y, batch_size=None, class_weight=dict(enumerate(of_classes.tolist())))
    assert history.history["loss"][0] == pytest.approx(weighted(scores, labels).item(), rel=CLOSE)
    of_loss = network(loss=fg.losses.softmax_cross_entropy(class_weight=tuple(of_classes.tolist())))
    each = torch.nn.CrossEntropyLoss(weight=torch.from_numpy(of_classes), reduction="none")(scores, labels)
    assert of_loss.evaluate(X, y)["loss"] == pytest.approx(each.mean().item(), rel=CLOSE)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "Adamax", "Adadelta", "NAdam", "RAdam", "AdamW"])
def test_weight_decay_of_torch(name, torch):
    """That of AdamW is apart from the gradient; with all others it is as if the gradient were larger by it."""

    def stepped(gradient, **options):
        parameter = torch.nn.Parameter(torch.tensor([2.0]))
        optimizer = getattr(torch.optim, name)([parameter], lr=0.1, **options)
        for _ in range(3):
            parameter.grad = gradient(parameter.detach())
            optimizer.step()
        return parameter.item()

    decayed = stepped(lambda w: torch.tensor([0.5]), weight_decay=0.1)
    penalised = stepped(lambda w: 0.5 + 0.1 * w, weight_decay=0.0)
    assert (decayed == pytest.approx(penalised, rel=CLOSE)) == (name != "AdamW")


def test_first_weights_of_torch(torch):
    bound = 1 / np.sqrt(300)
    model = fg.Sequential([fg.Dense(500, initializer="torch"), fg.Dense(1)]).build(300)
    layer = torch.nn.Linear(300, 500)
    for ours, theirs in zip(model.get_weights()[:2], (layer.weight, layer.bias), strict=True):
        for found in (ours, theirs.detach().numpy()):
            assert 0.98 * bound < np.abs(found).max() <= bound * (1 + CLOSE)


def test_normalisation_and_dropout_of_torch(torch):
    theirs, ours = torch.nn.BatchNorm1d(3), fg.BatchNorm()
    assert (theirs.momentum, theirs.eps) == (ours.momentum, ours.eps)
    assert torch.nn.Dropout(0.3).p == 0.3


# ------------------------------------------------------------------------------------------------------------ Keras
def test_weights_and_means_of_keras(keras):
    """Rows of weights are divided by their number."""
    X, y, weights = data()
    model = network()
    layers = [keras.Input((N_COLUMNS,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(N_CLASSES)]
    theirs = keras.Sequential(layers)
    theirs.set_weights(fg.io.to_keras(model))
    theirs.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    scores = np.asarray(theirs.predict(X, verbose=0))
    np.testing.assert_allclose(model.predict(X, raw=True), scores, rtol=CLOSE, atol=CLOSE)
    assert model.evaluate(X, y)["loss"] == pytest.approx(theirs.evaluate(X, y, verbose=0, batch_size=N), rel=CLOSE)
    weighted = theirs.evaluate(X, y, sample_weight=weights, verbose=0, batch_size=N)
    assert model.evaluate(X, y, weights)["loss"] * weights.mean() == pytest.approx(weighted, rel=CLOSE)


def test_penalties_and_defaults_of_keras(keras):
    W = np.linspace(-1.0, 1.0, 12, dtype="f4").reshape(3, 4)
    assert float(keras.regularizers.L2(0.25)(keras.ops.convert_to_tensor(W))) == pytest.approx(fg.L2(0.5)(W), rel=CLOSE)
    layer = keras.layers.Dense(3, activation="relu")
    assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
    assert type(layer.bias_initializer).__name__ == "Zeros"
    names = {name: fg.Dense(3, name).initializer.name for name in ("relu", "selu", "tanh", "linear")}
    glorot = "glorot_uniform"
    assert names == {"relu": "he_uniform", "selu": "lecun_normal", "tanh": glorot, "linear": glorot}
    norm = keras.layers.BatchNormalization()
    assert 1 - norm.momentum == pytest.approx(0.01)
    assert keras.optimizers.Adam().epsilon == fg.Adam(dialect="keras").hyperparameters["eps"] == 1e-7
    assert keras.layers.Dropout(0.3).rate == 0.3


# ----------------------------------------------------------------------------------------------------- scikit-learn
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_multilayer_perceptrons_of_sklearn():
    """Half the squared error, summed over outputs in the gradient but not in what is told; alpha over rows."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    X, y, _ = data()
    targets = np.random.default_rng(1).normal(size=(N, 2))

    def fitted(rate, alpha=0.0):
        options = dict(solver="sgd", momentum=0.0, batch_size=N, max_iter=1, random_state=0)
        mlp = neural_network.MLPRegressor(hidden_layer_sizes=(5,), learning_rate_init=rate, alpha=alpha, **options)
        return mlp.fit(X.astype(float), targets)

    start, rate = fitted(1e-30), 1e-3
    model = fg.io.from_sklearn(start)
    loss, gradients = model.loss_and_gradients(X, targets)
    assert loss == pytest.approx(start.loss_, rel=CLOSE)
    step = fitted(rate).coefs_[1]
    np.testing.assert_allclose((start.coefs_[1] - step) / rate, 2 * gradients[2], rtol=1e-4, atol=1e-6)
    decay = (step - fitted(rate, alpha=0.7).coefs_[1]) / rate
    np.testing.assert_allclose(decay, 0.7 / N * start.coefs_[1], rtol=1e-4, atol=1e-6)
    classifier = neural_network.MLPClassifier((5,), batch_size=4, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    assert classifier.t_ == N


# ------------------------------------------------------------------------------------------------------------ optax
def test_the_table_of_optax():
    """Six steps of each row, with a gradient that differs between them."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    cosine = schedules.Cosine(1e-1, 0.0, steps=3)
    table = [
        (optax.adam(1e-3), fg.Adam(1e-3, dialect="optax")),
        (optax.sgd(0.1, momentum=0.9, nesterov=True), fg.SGD(0.1, momentum=0.9, nesterov=True)),
        (optax.adamw(1e-3, weight_decay=1e-4), fg.AdamW(1e-3, weight_decay=1e-4, dialect="optax")),
        (optax.chain(optax.clip(1.0), optax.sgd(0.1)), fg.SGD(0.1, clip_value=1.0)),
        (optax.sgd(optax.cosine_decay_schedule(1e-1, 3)), fg.SGD(cosine)),
        (
            optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 1e-1, 2, 5)),
            fg.SGD(schedules.Warmup(cosine, steps=2)),
        ),
        (
            optax.sgd(optax.piecewise_constant_schedule(0.1, {2: 0.5, 4: 0.5})),
            fg.SGD(schedules.MultiStep(0.1, 0.5, milestones=[2, 4])),
        ),
    ]
    for theirs, ours in table:
        there, here = jax.numpy.array([1.0, -2.0], "float32"), np.array([1.0, -2.0], "f4")
        state = theirs.init(there)
        states = [np.full_like(here, value) for value in ours.initial_states().values()]
        for k in range(6):
            slope = np.array([0.3, -5.0], "f4") * (k + 1)
            updates, state = theirs.update(slope * there, state, there)
            there = optax.apply_updates(there, updates)
            fg.kernels.parameter_update(here, slope * here, states, ours, step=k + 1)
        np.testing.assert_allclose(here, np.asarray(there), rtol=1e-4, err_msg=repr(ours))
