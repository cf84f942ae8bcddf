"""Dropout, batch and layer normalisation: against the textbook, PyTorch's values, and finite differences."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, float32_numbers
from golden import load
from oracle import activations as oracle_activations
from oracle import layers as oracle_layers
from oracle import losses as oracle_losses
from oracle.philox import kept_by_dropout
from tolerances import SIGN_MARGIN, assert_same_bits, assert_within, unit_roundoff

import fastgd as fg
from fastgd._kernels import random

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

N_INPUTS, N_OUTPUTS, SEED, RATE = 9, 3, 5, 0.05

STACKS: dict[str, Sequence[fg.layers.Layer]] = {
    "dropout": (fg.Dropout(0.25), fg.Dense(21, "tanh"), fg.Dropout(0.5), fg.Dense(N_OUTPUTS)),
    "batch norm": (
        fg.Dense(21),
        fg.BatchNorm(activation="tanh"),
        fg.Dense(40, "silu"),
        fg.BatchNorm(),
        fg.Dense(N_OUTPUTS),
    ),
    "layer norm": (
        fg.Dense(21),
        fg.LayerNorm(activation="gelu"),
        fg.Dense(40, "sigmoid"),
        fg.LayerNorm(),
        fg.Dense(N_OUTPUTS),
    ),
    "softmax": (fg.Dense(37, "tanh"), fg.Softmax(), fg.Dense(21), fg.LayerNorm(), fg.Dense(N_OUTPUTS), fg.Softmax()),
    "at the input": (fg.BatchNorm(momentum=1.0, eps=0.1), fg.LayerNorm(eps=1e-3), fg.Dense(N_OUTPUTS)),
    "all": (
        fg.LayerNorm(),
        fg.Dropout(0.1),
        fg.Dense(37, "sigmoid"),
        fg.BatchNorm(momentum=0.4),
        fg.Dropout(0.3),
        fg.Dense(N_OUTPUTS),
    ),
}
each_stack = pytest.mark.parametrize("stack", STACKS)


def counterpart(layer: fg.layers.Layer) -> object:
    """The oracle's layer."""
    if isinstance(layer, fg.Dropout):
        return oracle_layers.Dropout(layer.rate)
    if isinstance(layer, fg.Softmax):
        return oracle_layers.Softmax()
    activation = oracle_activations.ACTIVATIONS[layer.activation.name]
    if isinstance(layer, fg.Dense):
        return oracle_layers.Dense(activation)
    axis = 0 if isinstance(layer, fg.BatchNorm) else 1
    return oracle_layers.Normalization(axis, activation, layer.eps, getattr(layer, "momentum", 0.1))


class Pair:
    """A model and the oracle's stack with the same weights, and a batch."""

    def __init__(self, stack: str, backend: str, dtype: str, n_rows: int = 26, **options: object) -> None:
        layers, draw = STACKS[stack], np.random.default_rng(7)
        self.model = fg.Sequential(
            layers,
            loss="softmax_cross_entropy",
            optimizer=fg.SGD(RATE),
            dtype=dtype,
            backend=backend,
            seed=SEED,
            **options,
        ).build(N_INPUTS)
        self.model.set_weights(
            [w + 0.2 * float32_numbers(draw.uniform(size=w.shape)) for w in self.model.get_weights()]
        )
        self.oracle = oracle_layers.Stack(
            [counterpart(layer) for layer in layers], oracle_losses.LOSSES["softmax_cross_entropy"]
        )
        self.parameters = []
        given = iter(w.astype(float) for w in self.model.get_weights())
        for layer, its_oracle in zip(layers, self.oracle.layers, strict=True):
            self.parameters.append([next(given) for _ in layer.parameter_shapes(1)])
            if layer.statistic_shapes(1):
                its_oracle.running = [next(given), next(given)]
        self.X = float32_numbers(draw.normal(size=(n_rows, N_INPUTS)) * np.linspace(0.5, 3.0, N_INPUTS) + 1.0)
        self.y = draw.integers(N_OUTPUTS, size=n_rows)
        self.dtype = dtype

    def flat(self, per_layer: Sequence[Sequence[np.ndarray]], running: bool) -> list[np.ndarray]:
        """Arrays of each layer as `get_weights` gives them: with running moments, or with their zero gradients."""
        arrays: list[np.ndarray] = []
        for own, layer in zip(per_layer, self.oracle.layers, strict=True):
            arrays += own
            moments = getattr(layer, "running", None) or []
            arrays += [m if running else np.zeros_like(m) for m in moments]
        return arrays

    def perturbed(self, run: int) -> Pair:
        """The same with every number off by as much as the sums over rows and columns may round, either way."""
        other, draw = copy.deepcopy(self), np.random.default_rng(run)
        relative = unit_roundoff(self.dtype) * (len(self.X) + 40)

        def move(array: np.ndarray) -> np.ndarray:
            return array * (1.0 + relative * draw.choice([-1.0, 1.0], size=array.shape))

        other.X = move(other.X)
        other.parameters = [[move(p) for p in own] for own in other.parameters]
        return other

    def expected(self, compute: Callable[[Pair], list]) -> tuple[list, list]:
        """What the oracle gives, and how far it goes when its input is perturbed: its conditioning."""
        exact = [np.asarray(a, float) for a in compute(copy.deepcopy(self))]
        # Where a sum is zero by cancelling, as of a bias that a normalisation takes off again, its terms are as large
        # as what is found elsewhere.
        largest = max(np.max(abs(a), initial=0.0) for a in exact)
        relative = unit_roundoff(self.dtype) * (len(self.X) + 40)
        bounds = [np.full(a.shape, relative * largest) for a in exact]
        for run in range(8):
            moved = compute(self.perturbed(run))
            pairs = zip(bounds, moved, exact, strict=True)
            bounds = [np.maximum(bound, SIGN_MARGIN * np.max(abs(m - a), initial=0.0)) for bound, m, a in pairs]
        return exact, bounds


def assert_all_within(actual: Sequence, expected: tuple[list, list], what: str) -> None:
    """Array by array."""
    for k, (a, e, bound) in enumerate(zip(actual, *expected, strict=True)):
        assert_within(a, e, bound, f"{what} {k}")


# ------------------------------------------------------------------------------------------------- the textbook
@each_stack
@each_backend
@each_dtype
def test_loss_and_gradients_are_the_textbooks(stack, backend, dtype):
    def compute(pair: Pair) -> list:
        loss, gradients = pair.oracle.loss_and_gradients(pair.parameters, pair.X, pair.y, (SEED, 0))
        return [loss, *pair.flat(gradients, running=False)]

    pair = Pair(stack, backend, dtype)
    loss, gradients = pair.model.loss_and_gradients(pair.X, pair.y)
    assert_all_within([loss, *gradients], pair.expected(compute), f"{stack}: loss or gradient")


@each_stack
@each_backend
@each_dtype
def test_training_and_predictions_are_the_textbooks(stack, backend, dtype):
    """Three steps of different numbers of rows, one of them a single row, and what is predicted then."""
    batches = [slice(0, 10), slice(10, 26), slice(3, 9)]

    def compute(pair: Pair) -> list:
        for step, rows in enumerate(batches):
            pair.parameters = pair.oracle.step(pair.parameters, pair.X[rows], pair.y[rows], (SEED, step), RATE)
        return [*pair.flat(pair.parameters, running=True), pair.oracle.scores(pair.parameters, pair.X)]

    pair = Pair(stack, backend, dtype)
    expected = pair.expected(compute)
    for rows in batches:
        pair.model.train_on_batch(pair.X[rows], pair.y[rows])
    actual = [*pair.model.get_weights(), pair.model.predict(pair.X, raw=True)]
    assert_all_within(actual, expected, f"{stack}: weights or scores")


@each_stack
@each_backend
def test_gradients_are_slopes(stack, backend):
    """Central differences in a random direction, float64."""
    pair, draw = Pair(stack, backend, "float64"), np.random.default_rng(3)
    weights = pair.model.get_weights()
    direction = [draw.normal(size=w.shape) for w in weights]
    _, gradients = pair.model.loss_and_gradients(pair.X, pair.y)

    def loss_at(t: float) -> float:
        pair.model.set_weights([w + t * d for w, d in zip(weights, direction, strict=True)])
        return pair.model.loss_and_gradients(pair.X, pair.y)[0]

    h = 1e-5
    slope = (loss_at(h) - loss_at(-h)) / (2.0 * h)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    scale = sum(float(abs(g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert abs(slope - analytic) <= 1e-6 * scale


@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
@each_backend
def test_trains_as_pytorch_does(kind, backend):
    golden = load("layers")
    recorded = golden[kind]
    layer = {"batch_norm": fg.BatchNorm, "layer_norm": fg.LayerNorm}[kind](activation="tanh")
    model = fg.Sequential(
        [fg.Dense(5), layer, fg.Dense(2)],
        loss="mean_squared_error",
        optimizer=fg.SGD(golden["learning_rate"]),
        dtype="float64",
        backend=backend,
    )
    X, y = np.array(recorded["x"]), np.array(recorded["y"])
    model.build(3).set_weights(recorded["start"])
    losses = [
        model.train_on_batch(X[first : first + 8], y[first : first + 8]) for _ in range(3) for first in range(0, 29, 8)
    ]
    assert_within(losses, recorded["losses"], 1e-12, "losses")
    for actual, expected in zip(model.get_weights(), recorded["end"], strict=True):
        assert_within(actual, expected, 1e-12, "weights")
    assert_within(model.predict(X), recorded["outputs"], 1e-12, "outputs")


# ------------------------------------------------------------------------------------------------------- dropout
@each_backend
@each_dtype
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (26, 40), (600, 33)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0 - 2.0**-30])
def test_dropout_keeps_what_its_counter_says(backend, dtype, shape, rate):
    """The gradient by the weights of a layer above shows each element of the mask."""
    kept = random.kept_by_dropout(SEED, 2, 0, shape, rate)
    model = fg.Sequential(
        [fg.Dropout(rate), fg.Dense(1, initializer="zeros")],
        loss="half_squared_error",
        dtype=dtype,
        backend=backend,
        seed=SEED,
    ).build(shape[1])
    scale = 1.0 / (1.0 - rate)
    for row in (0, shape[0] // 2, shape[0] - 1):
        model.build(shape[1])
        for _ in range(2):
            model.train_on_batch(np.zeros((1, shape[1])), [0.0])
        weights = np.zeros(shape[0])
        weights[row] = 1.0
        _, gradients = model.loss_and_gradients(np.ones(shape), -np.ones(shape[0]), weights)
        expected = np.where(kept[row], scale, 0.0)
        assert_within(gradients[0][:, 0], expected, 4.0 * unit_roundoff(dtype) * scale, f"row {row}")


def test_the_draws_are_the_oracles_and_as_many_as_told():
    shape, rate = (41, 23), 0.37
    for seed, step, layer in ((0, 0, 0), (2**64 - 1, 2**32 - 1, 17), (12345678901234567, 3, 1)):
        kept = random.kept_by_dropout(seed, step, layer, shape, rate)
        np.testing.assert_array_equal(kept, kept_by_dropout(seed, step, layer, shape, rate))
    kept = random.kept_by_dropout(1, 1, 1, (1000, 500), rate)
    # Half a million draws: six standard deviations.
    assert abs(kept.mean() - (1.0 - rate)) < 6.0 * np.sqrt(rate * (1.0 - rate) / kept.size)
    assert abs(np.corrcoef(kept[:-1].ravel(), kept[1:].ravel())[0, 1]) < 6.0 / np.sqrt(kept.size)


@each_backend
def test_each_step_draws_anew_and_a_model_anew_draws_the_same(backend):
    def losses() -> list[float]:
        model = fg.Sequential(
            [fg.Dropout(0.5), fg.Dense(2)], loss="softmax_cross_entropy", optimizer=fg.SGD(0.0), backend=backend
        )
        model.build(6)
        return [model.train_on_batch(np.ones((4, 6)), [0, 1, 1, 0]) for _ in range(5)]

    assert losses() == losses()
    assert len(set(losses())) == 5


def test_fit_goes_on_with_the_draws_where_it_stopped():
    X, y = np.random.default_rng(0).normal(size=(50, 8)), np.arange(50) % 3

    def model() -> fg.Sequential:
        return fg.Sequential(
            [fg.Dense(16, "relu"), fg.Dropout(0.4), fg.BatchNorm(), fg.Dense(3)], loss="softmax_cross_entropy"
        )

    whole, parts = model(), model()
    whole.fit(X, y, epochs=5, batch_size=8)
    parts.fit(X, y, epochs=2, batch_size=8)
    parts = pickle.loads(pickle.dumps(parts))
    parts.fit(X, y, epochs=3, batch_size=8)
    assert_same_bits(parts.get_weights(), whole.get_weights())


TRAINED = """
import numpy as np
import fastgd as fg

draw = np.random.default_rng(4)
X, y = draw.normal(size=(90, 6)), draw.integers(3, size=90)
layers = [fg.Dense(20, "gelu"), fg.Dropout(0.3), fg.BatchNorm(), fg.Dropout(0.1), fg.Dense(3)]
model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer="adam", seed=6, backend=BACKEND)
history = model.fit(X, y, epochs=3, batch_size=16)
result = b"".join(w.tobytes() for w in model.get_weights()).hex()
"""


@each_backend
def test_another_process_gives_the_same_bits(backend):
    """Initial weights, shuffles and dropout come from the seed alone, not from what a process happens to be like."""
    here: dict[str, object] = {}
    text = TRAINED.replace("BACKEND", repr(backend))
    exec(text, here)
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        told = text + "\nprint(result)"
        ran = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == here["result"]


# ------------------------------------------------------------------------------------------------ normalisations
def test_bits_do_not_depend_on_the_number_of_threads():
    from fastgd._kernels import get_backend

    draw = np.random.default_rng(1)
    X, y = draw.normal(size=(700, 40)).astype(np.float32), draw.integers(3, size=700)
    layers = [
        fg.Dense(100),
        fg.BatchNorm(activation="relu"),
        fg.Dropout(0.2),
        fg.Dense(70),
        fg.LayerNorm(),
        fg.Dense(3),
    ]
    weights = []
    for n_threads in (1, 2, 3):
        model = fg.Sequential(layers, loss="softmax_cross_entropy", seed=3).build(40)
        network, scalars = model._network, model.optimizer.scalars(1, 4)
        network.train(
            X,
            y.astype(np.intp),
            None,
            batch_size=650,
            seed=3,
            shuffle=True,
            epoch=0,
            step=0,
            n_steps=4,
            steps_before=0,
            scalars=scalars,
            losses=np.zeros((3, 2)),
            n_threads=n_threads,
        )
        weights.append(model.get_weights())
    assert get_backend("cython") is not None
    assert_same_bits(weights[1], weights[0])
    assert_same_bits(weights[2], weights[0])


@each_backend
def test_a_batch_beyond_the_parts_is_normalised_whole(backend):
    """1,300 rows, where the engine cuts batches of other networks into parts."""
    pair = Pair("batch norm", backend, "float64", n_rows=1300)
    loss, gradients = pair.model.loss_and_gradients(pair.X, pair.y)
    other = fg.Sequential(pair.model.layers, loss=pair.model.loss, dtype="float64", backend="numpy").build(N_INPUTS)
    other.set_weights(pair.model.get_weights())
    expected, expected_gradients = other.loss_and_gradients(pair.X, pair.y)
    assert_within(loss, expected, 1e-12 * abs(expected))
    for g, e in zip(gradients, expected_gradients, strict=True):
        assert_within(g, e, 1e-11 * (1e-3 + abs(e).max()))


@each_backend
def test_a_single_row_teaches_batch_norm_nothing(backend):
    X, y = np.random.default_rng(0).normal(size=(9, 4)), np.arange(9) % 2
    model = fg.Sequential([fg.BatchNorm(), fg.Dense(2)], loss="softmax_cross_entropy", backend=backend).build(4)
    before = model.get_weights()
    with pytest.raises(ValueError, match="batch_size: got 1, expected at least 2 rows: BatchNorm"):
        model.fit(X, y, batch_size=1)
    with pytest.raises(ValueError, match="expected at least 2 rows"):
        model.train_on_batch(X[:1], y[:1])
    assert_same_bits(model.get_weights(), before)
    model.fit(X[:8], y[:8], batch_size=8, shuffle=False)
    running = model.get_weights()[2:4]
    model.fit(np.concatenate([X[:8], X[:8], X[8:]])[7:], np.arange(10) % 2, batch_size=9, shuffle=False)
    assert np.isfinite(model.get_weights()[2]).all()
    assert not np.array_equal(model.get_weights()[2], running[0])


@each_backend
def test_moments_that_are_not_finite_stop_training_and_are_not_kept(backend):
    """The variance of 1e25 overflows in float32, while the normalised values, and so the loss, do not."""
    model = fg.Sequential([fg.BatchNorm(), fg.Dense(1)], loss="mean_squared_error", backend=backend).build(1)
    X = np.array([[1e25], [-1e25], [0.0], [1.0]])
    with pytest.raises(fg.DivergenceError):
        model.fit(X, np.zeros(4), batch_size=4)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@each_backend
def test_statistics_stay_with_the_weights(backend):
    model = fg.Sequential(
        [fg.Dense(3), fg.BatchNorm(), fg.Dropout(0.5), fg.LayerNorm(), fg.Dense(2)],
        loss="softmax_cross_entropy",
        backend=backend,
    )
    model.fit(np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2, epochs=2)
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(4, 3), (3,), (3,), (3,), (3,), (3,), (3,), (3,), (3, 2), (2,)]
    assert model.n_parameters == 4 * 3 + 3 + 6 + 6 + 8
    model.optimizer = "sgd"
    for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert_same_bits(other.get_weights(), weights)
    _, gradients = model.loss_and_gradients(np.ones((3, 4)), [0, 1, 0])
    assert [g.shape for g in gradients] == [w.shape for w in weights]
    assert not gradients[4].any()
    assert not gradients[5].any()


@each_backend
def test_transform_sees_each_layer(backend):
    X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    model = fg.Sequential(
        [fg.Dropout(0.5), fg.Dense(3, "tanh"), fg.Dropout(0.5), fg.LayerNorm(), fg.Dense(2)], backend=backend
    )
    model.build(4)
    assert_same_bits(model.transform(X, 0), X)
    assert_same_bits(model.transform(X, 2), model.transform(X, 1))
    before, rows = model.transform(X, 2).astype(float), model.transform(X, 3)
    rounding = 4.0 * np.finfo(np.float32).eps * abs(before).max(axis=1)
    assert_within(rows.mean(axis=1, dtype=float), np.zeros(6), rounding / np.sqrt(before.var(axis=1) + 1e-5))


@each_backend
def test_probabilities_are_outputs_where_wanted(backend):
    """Brier's score: what is learnt is what a few lines of NumPy learn."""
    draw = np.random.default_rng(2)
    X, y = draw.normal(size=(30, 4)), np.eye(3)[draw.integers(3, size=30)]
    options = {"optimizer": fg.SGD(0.5), "dtype": "float64", "backend": backend}
    model = fg.Sequential([fg.Dense(3), fg.Softmax()], loss="mean_squared_error", **options)
    W, b = model.build(4).get_weights()
    model.fit(X, y, epochs=20, batch_size=30, shuffle=False)
    for _ in range(20):
        e = np.exp(X @ W + b)
        p = e / e.sum(axis=1, keepdims=True)
        d = 2.0 * (p - y) / p.size
        dz = p * (d - (d * p).sum(axis=1, keepdims=True))
        W, b = W - 0.5 * X.T @ dz, b - 0.5 * dz.sum(axis=0)
    assert_within(model.get_weights()[0], W, 1e-13)
    np.testing.assert_allclose(model.predict(X).sum(axis=1), 1.0, rtol=1e-15)


def test_softmax_twice_is_told(capsys):
    layers = [fg.Dense(3), fg.Softmax()]
    fg.Sequential(layers, loss="softmax_cross_entropy").summary()
    assert "note: the loss applies softmax" in capsys.readouterr().out
    fg.Sequential(layers, loss="mean_squared_error").summary()
    assert "note" not in capsys.readouterr().out


def test_summary_and_repr_tell_the_layers(capsys):
    layers = [fg.Dense(3), fg.BatchNorm(0.2, activation="relu"), fg.Dropout(0.5), fg.LayerNorm(1e-3), fg.Dense(2)]
    model = fg.Sequential(layers)
    assert repr(model).startswith(
        "Sequential([Dense(3), BatchNorm(momentum=0.2, activation='relu'), Dropout(0.5), LayerNorm(eps=0.001), Dense(2)"
    )
    model.summary()
    model.build(4).summary()
    text = capsys.readouterr().out
    for layer in layers:
        assert repr(layer) in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fg.Dropout(1.0), r"Dropout: rate: got 1.0, expected a finite number in \[0, 1\)"),
        (lambda: fg.Dropout("a"), r"Dropout: rate: got 'a'"),
        (lambda: fg.BatchNorm(momentum=0.0), r"BatchNorm: momentum: got 0.0, expected a finite number in \(0, 1\]"),
        (lambda: fg.BatchNorm(eps=0.0), "BatchNorm: eps: got 0.0"),
        (lambda: fg.LayerNorm(eps=-1.0), "LayerNorm: eps: got -1.0"),
        (lambda: fg.LayerNorm(activation="rellu"), "relu"),
        (
            lambda: fg.Sequential([fg.Dense(2), fg.Dropout(0.5)]),
            r"layers\[1\]: got Dropout\(0.5\), expected Dense as the last",
        ),
        (lambda: fg.Sequential([fg.BatchNorm]), r"layers\[0\]: got <class"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
