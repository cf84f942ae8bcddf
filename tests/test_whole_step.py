"""What a step does besides the rule: gradients clipped by their norm, constraints, averages of the weights."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, float32_numbers, oracle_network, oracle_rule, random_weights
from golden import load
from oracle.network import batches, train
from oracle.philox import permutation
from oracle.whole_step import clip_by_norm, constrain, exponential_mean, tail_mean
from tolerances import assert_same_bits, unit_roundoff

import fastgd as fg

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

SEED = 23
# Rows, rows a batch, sizes: a network that is trained the short way, one of several panels, one with a layer beyond the
# cache, and batches that pass in parts.
SHAPES = [
    (10, 4, [4, 5, 3]),
    (70, 32, [9, 70, 33, 3]),
    (12, 8, [4, 300, 251, 3]),
    (1301, 700, [6, 19, 3]),
]
each_shape = pytest.mark.parametrize(("n", "batch_size", "sizes"), SHAPES)
LIMITS = {
    "nonnegative": fg.NonNegative(),
    "norm": fg.MaxNorm(0.75),
    "both": fg.MaxNorm(0.5, nonnegative=True),
}


def problem(n: int, sizes: list[int]) -> tuple:
    """Rows, labels, weights of rows, and first weights."""
    draw = np.random.default_rng(5)
    x, y = float32_numbers(draw.normal(size=(n, sizes[0]))), draw.integers(sizes[-1], size=n)
    return x, y, draw.uniform(0.5, 2.0, size=n), random_weights(draw, sizes)


def model_of(sizes, optimizer, backend, dtype="float64", constraint=None, **options) -> fg.Sequential:
    """Hidden layers of tanh, with a penalty on all weights."""
    hidden = [fg.Dense(units, "tanh", constraint=constraint) for units in sizes[1:-1]]
    layers = [*hidden, fg.Dense(sizes[-1], constraint=constraint)]
    options = {"loss": "softmax_cross_entropy", "penalty": fg.L2(2**-5), "seed": SEED, **options}
    return fg.Sequential(layers, optimizer=optimizer, dtype=dtype, backend=backend, **options).build(sizes[0])


def assert_follows_the_oracle(optimizer, constraint, n, batch_size, sizes, backend, **steps) -> list[np.ndarray]:
    """Two epochs in float64, to within what so few steps make of rounding; returns the weights."""
    x, y, sample_weight, weights = problem(n, sizes)
    model = model_of(sizes, optimizer, backend, constraint=constraint)
    model.set_weights(weights)
    history = model.fit(x, y, epochs=2, batch_size=batch_size, sample_weight=sample_weight)
    activations = ["tanh"] * (len(sizes) - 2) + ["linear"]
    expected, losses = train(
        oracle_network(activations, "softmax_cross_entropy", l2=2**-5),
        weights,
        oracle_rule("momentum", learning_rate=optimizer.learning_rate, momentum=0.5),
        x,
        y,
        batches([permutation(SEED, epoch, n) for epoch in range(2)], batch_size),
        sample_weight,
        **steps,
    )
    for w, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(w, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-12)
    return expected


# ------------------------------------------------------------------------------------------------------- clipping
@each_backend
@each_shape
@pytest.mark.parametrize("dialect", [None, "torch"])
def test_gradients_are_clipped_by_the_norm_of_all_of_them(dialect, n, batch_size, sizes, backend):
    """With a penalty, which is part of the gradient; in PyTorch's dialect the norm is a little more."""
    factors = []

    def clipped(gradients, slack):
        shorter = clip_by_norm(gradients, 0.25, slack)
        factors.append(shorter[0].flat[0] / gradients[0].flat[0])
        return shorter

    optimizer = fg.SGD(0.25, momentum=0.5, clip_norm=0.25, dialect=dialect)
    before = partial(clipped, slack=1e-6 if dialect == "torch" else 0.0)
    assert_follows_the_oracle(optimizer, None, n, batch_size, sizes, backend, before=before)
    assert min(factors) < 0.9


@each_backend
def test_gradients_below_the_norm_are_left_alone(backend):
    """To the bit, for the factor is 1."""
    x, y, _, weights = problem(70, [9, 20, 3])

    def trained(**clipping):
        model = model_of([9, 20, 3], fg.Adam(0.01, **clipping), backend)
        model.set_weights(weights)
        model.fit(x, y, epochs=2, batch_size=32)
        return model.get_weights()

    assert_same_bits(trained(clip_norm=1e9), trained())
    assert not np.array_equal(trained(clip_norm=0.01, clip_value=1.0)[0], trained()[0])


@each_backend
@each_dtype
def test_gains_and_shifts_are_part_of_the_norm(dtype, backend):
    """One step of a stack of every kind of layer, from the gradients that the model tells."""
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=(40, 6)), draw.integers(3, size=40)
    normalised = [fg.Dense(37), fg.BatchNorm(activation="tanh"), fg.Dropout(0.25), fg.Dense(20), fg.LayerNorm()]
    options = {"optimizer": fg.SGD(1.0, clip_norm=0.125), "dtype": dtype, "backend": backend}
    model = fg.Sequential([*normalised, fg.Dense(3)], loss="softmax_cross_entropy", **options).build(6)
    learnt = [not name.startswith(("mean", "variance")) for name in model._weight_shapes()]

    def parameters():
        return [w for w, kind in zip(model.get_weights(), learnt, strict=True) if kind]

    before = parameters()
    gradients = model.loss_and_gradients(x, y)[1]
    model.train_on_batch(x, y)
    exact = [g.astype(float) for g, kind in zip(gradients, learnt, strict=True) if kind]
    assert np.sqrt(sum((g**2).sum() for g in exact)) > 0.25
    # A product of the factor, which is rounded, and a gradient; and the difference.
    few = 4 * unit_roundoff(dtype)
    for w, was, g in zip(parameters(), before, clip_by_norm(exact, 0.125), strict=True):
        np.testing.assert_allclose(w, was - g, rtol=few, atol=few * abs(g).max())


@each_backend
def test_a_gradient_beyond_all_bounds_is_no_way_to_other_weights(backend):
    """Its factor would be 0: the step is refused, and the weights stay."""
    model = fg.Sequential(
        [fg.Dense(1)], loss="half_squared_error", optimizer=fg.SGD(clip_norm=1.0), dtype="float32", backend=backend
    ).build(1)
    model.set_weights([[[1e18]], [0.0]])
    with pytest.raises(fg.DivergenceError):
        model.train_on_batch(np.array([[3e38]], "float32"), np.array([[0.0]]))
    np.testing.assert_array_equal(model.get_weights()[0], np.float32(1e18))


# ---------------------------------------------------------------------------------------------------- constraints
@each_backend
@each_shape
@pytest.mark.parametrize("limit", LIMITS)
def test_weights_keep_to_their_constraints(limit, n, batch_size, sizes, backend):
    """After each step, biases being free."""
    constraint = LIMITS[limit]
    norm = constraint.max_norm or np.inf

    def after(weights):
        return [constrain(w, constraint.nonnegative, norm) if w.ndim == 2 else w for w in weights]

    expected = assert_follows_the_oracle(
        fg.SGD(0.25, momentum=0.5), constraint, n, batch_size, sizes, backend, after=after
    )
    assert any((w < 0).any() for w in expected[1::2])


@each_dtype
@pytest.mark.parametrize("limit", LIMITS)
def test_a_constraint_called_on_weights_is_what_a_step_ends_with(limit, dtype):
    draw = np.random.default_rng(2)
    W = draw.normal(size=(7, 40)).astype(dtype)
    W[:, 3] = 0.0
    constraint = LIMITS[limit]
    called = constraint(W)
    exact = constrain(W.astype(float), constraint.nonnegative, constraint.max_norm or np.inf)
    np.testing.assert_allclose(called, exact, rtol=4 * unit_roundoff(dtype))
    assert called.dtype == dtype and called is not W
    assert_same_bits(constraint(called * np.asarray(0.5, dtype)), called * np.asarray(0.5, dtype))


@each_backend
def test_of_several_layers_each_has_its_own_constraint(backend):
    x, y, *_ = problem(60, [4, 3])
    layers = [fg.Dense(20, "tanh", constraint=fg.MaxNorm(0.5)), fg.Dense(3, constraint=fg.NonNegative())]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", dtype="float64", backend=backend)
    model.fit(x, y, epochs=3, batch_size=16)
    W1, _, W2, _ = model.get_weights()
    np.testing.assert_array_less(np.linalg.norm(W1, axis=0), 0.5 + 1e-12)
    assert (W1 < 0).any() and (W2 >= 0).all() and (W2 == 0).any()
    assert np.linalg.norm(W2, axis=0).max() > 0.5


# ------------------------------------------------------------------------------------------------------- averages
AVERAGES = {
    "ema": ({"ema": 0.75}, partial(exponential_mean, decay=0.75)),
    "average": ({"average": 1}, partial(tail_mean, first=1)),
    "average from step 4": ({"average": 4}, partial(tail_mean, first=4)),
}
each_average = pytest.mark.parametrize("average", AVERAGES)


@each_backend
@each_dtype
@each_average
@pytest.mark.parametrize("sizes", [[4, 5, 3], [4, 40, 3]])
def test_averages_are_those_of_the_weights_after_each_step(sizes, average, dtype, backend):
    """Weights themselves go where they would go without; what is predicted is by the averages."""
    given, mean = AVERAGES[average]
    x, y, *_ = problem(20, sizes)
    model, plain = (model_of(sizes, fg.Adam(0.05, **options), backend, dtype) for options in (given, {}))
    assert_same_bits(model.get_weights(averaged=True), plain.get_weights())
    path = []
    for step in range(7):
        model.train_on_batch(x, y)
        plain.train_on_batch(x, y)
        path.append(plain.get_weights())
        assert_same_bits(model.get_weights(), path[-1])
        # Each step adds three roundings to an average of numbers that are at most about 2.
        bound = 3 * (step + 1) * 2 * unit_roundoff(dtype)
        for actual, positions in zip(model.get_weights(averaged=True), zip(*path, strict=True), strict=True):
            np.testing.assert_allclose(actual, mean([w.astype(float) for w in positions]), rtol=0, atol=bound)
    plain.set_weights(model.get_weights(averaged=True))
    assert_same_bits([model.predict(x), model.transform(x, layer=0)], [plain.predict(x), plain.transform(x, layer=0)])
    assert model.evaluate(x, y) == plain.evaluate(x, y)
    assert_same_bits(model.loss_and_gradients(x, y)[1][0], model_like(model).loss_and_gradients(x, y)[1][0])


def model_like(model: fg.Sequential) -> fg.Sequential:
    """With the weights that training goes on from, and nothing averaged."""
    other = copy.deepcopy(model)
    other.optimizer = "sgd"
    return other


@each_backend
@each_average
def test_a_fit_averages_as_single_steps_do(average, backend):
    given, _ = AVERAGES[average]
    x, y, *_ = problem(20, [4, 5, 3])
    whole, single = (model_of([4, 5, 3], fg.SGD(0.1, **given), backend) for _ in range(2))
    whole.fit(x, y, epochs=3, batch_size=8, shuffle=False)
    for _ in range(3):
        for first in range(0, 20, 8):
            single.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert_same_bits(whole.get_weights(averaged=True), single.get_weights(averaged=True))


@each_backend
@each_average
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_go_on_with_the_average(duplicate, average, backend):
    given, _ = AVERAGES[average]
    x, y, *_ = problem(20, [4, 5, 3])
    model = model_of([4, 5, 3], fg.Adam(0.05, **given), backend)
    model.fit(x, y, epochs=2, batch_size=8)
    again = duplicate(model)
    assert_same_bits(again.predict(x), model.predict(x))
    for other in (model, again):
        other.fit(x, y, epochs=2, batch_size=8)
    assert_same_bits(again.get_weights(averaged=True), model.get_weights(averaged=True))
    assert not np.array_equal(model.get_weights(averaged=True)[0], model.get_weights()[0])


@each_backend
def test_weights_that_are_set_are_those_that_predict(backend):
    x, y, _, weights = problem(20, [4, 5, 3])
    model = model_of([4, 5, 3], fg.Adam(0.05, ema=0.5), backend)
    model.fit(x, y, epochs=2)
    model.predict(x)
    model.set_weights(weights)
    assert_same_bits(model.get_weights(averaged=True), weights)
    model.train_on_batch(x, y)
    after, expected = model.get_weights(), model.get_weights(averaged=True)
    np.testing.assert_allclose(expected[0], 0.5 * (weights[0] + after[0]), rtol=0, atol=1e-15)
    model.optimizer = fg.SGD(0.1)
    assert_same_bits(model.get_weights(averaged=True), after)
    model.optimizer = fg.SGD(0.1, ema=0.9)
    assert_same_bits(model.get_weights(averaged=True), after)


@each_backend
def test_an_average_of_a_layer_that_normalises(backend):
    """Gains and shifts are averaged; running statistics are those of the batches."""
    x, y, *_ = problem(40, [4, 3])
    layers = [fg.Dense(8), fg.BatchNorm(activation="relu"), fg.Dense(3)]
    model = fg.Sequential(
        layers, loss="softmax_cross_entropy", optimizer=fg.SGD(0.5, average=1), dtype="float64", backend=backend
    ).build(4)
    path = []
    for _ in range(3):
        model.train_on_batch(x, y)
        path.append(model.get_weights())
    names = model._weight_shapes()
    for name, actual, *positions in zip(names, model.get_weights(averaged=True), *path, strict=True):
        gathered = name.startswith(("mean", "variance"))
        expected = positions[-1] if gathered else np.mean(positions, axis=0)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)


# ---------------------------------------------------------------------------------------------------- all of them
@each_dtype
@each_shape
def test_any_number_of_threads_gives_the_same_bits(n, batch_size, sizes, dtype, threads_for_any_work):
    x, y, *_ = problem(n, sizes)

    def run(n_threads):
        optimizer = fg.Adam(0.01, clip_norm=0.5, ema=0.5, weight_decay=0.01)
        constraint = fg.MaxNorm(0.5, nonnegative=True)
        model = model_of(sizes, optimizer, "cython", dtype, constraint, n_threads=n_threads)
        model.fit(x, y, epochs=2, batch_size=batch_size)
        return [*model.get_weights(), *model.get_weights(averaged=True)]

    first = run(1)
    for n_threads in (2, 3):
        assert_same_bits(run(n_threads), first, f"{n_threads} threads")


@each_backend
@each_dtype
@pytest.mark.parametrize("case", load("whole_steps")["cases"])
def test_steps_are_those_of_other_libraries(case, dtype, backend):
    """Five epochs of a small network in PyTorch, Keras and optax, from the same weights on the same batches."""
    golden = load("whole_steps")
    recorded, x, y = golden["cases"][case], np.array(golden["x"]), np.array(golden["y"])
    optimizer = fg.SGD(dialect=recorded["library"], **recorded["optimizer"])
    limits = recorded["constraint"]
    options = {"loss": "mean_squared_error", "penalty": None}
    sizes = [x.shape[1], len(golden["start"][1]), y.shape[1]]
    model = model_of(sizes, optimizer, backend, dtype, limits and fg.MaxNorm(**limits), **options)
    model.set_weights([np.array(w, dtype) for w in golden["start"]])
    model.fit(x, y, epochs=golden["epochs"], batch_size=golden["batch_size"], shuffle=False)
    # Of numbers near 1, after twenty steps of some dozens of roundings each.
    tolerance = max(recorded["tolerance"], 20 * 50 * unit_roundoff(dtype))
    for averaged, end in zip((False, True), recorded["end"], strict=True):
        for w, wanted in zip(model.get_weights(averaged=averaged), end, strict=True):
            np.testing.assert_allclose(w, np.array(wanted), rtol=0, atol=tolerance)


# ------------------------------------------------------------------------------------------------------- refusals
def test_what_is_no_constraint_is_refused():
    with pytest.raises(TypeError, match=r"Dense: constraint: got 3, expected MaxNorm, NonNegative or None; "):
        fg.Dense(3, constraint=3)
    with pytest.raises(ValueError, match=r"MaxNorm: max_norm: got 0, expected .*\(0, inf\)"):
        fg.MaxNorm(0)
    with pytest.raises(TypeError, match="MaxNorm: nonnegative: got 1, expected True or False"):
        fg.MaxNorm(1.0, 1)
    assert eval(repr(fg.Dense(3, constraint=fg.MaxNorm(2.0, nonnegative=True))), vars(fg.layers) | vars(fg))


def test_only_one_average_is_kept():
    with pytest.raises(ValueError, match=r"Adam: ema: got 0.5 with average; pass only one of them"):
        fg.Adam(ema=0.5, average=3)


def test_a_step_of_one_array_alone_knows_of_no_others():
    w = np.ones(3)
    for given in ({"clip_norm": 1.0}, {"ema": 0.5}, {"average": 1}):
        with pytest.raises(ValueError, match="parameter_update: optimizer: got SGD.*, expected one without clip_norm"):
            fg.kernels.parameter_update(w, np.ones(3), [], fg.SGD(**given))
    np.testing.assert_array_equal(w, 1.0)


def test_averages_of_a_vector_are_refused():
    with pytest.raises(ValueError, match="minimize: optimizer: got SGD.*, expected one without ema and average"):
        fg.minimize(np.sum, np.zeros(2), optimizer=fg.SGD(ema=0.5))


def test_a_vectors_gradient_is_clipped():
    optimizer = fg.SGD(1.0, clip_norm=1.0)
    result = fg.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], jac=True, optimizer=optimizer, max_iter=2)
    np.testing.assert_allclose(result.x, [1.8, 2.4], rtol=1e-15)


@pytest.mark.parametrize("method", [fg.LBFGS(), fg.RandomSearch(), fg.CoordinateSearch()], ids=repr)
def test_a_method_that_knows_no_constraint_refuses_one(method):
    model = fg.Sequential([fg.Dense(2, constraint=fg.NonNegative())], loss="mean_squared_error", optimizer=method)
    with pytest.raises(ValueError, match=r"layers\[0\]: got Dense.*, expected no constraint"):
        model.fit(np.ones((3, 2)), np.ones((3, 2)))
