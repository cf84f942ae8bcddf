"""Losses that compare the rows of a batch with each other: contrastive and triplet."""

from __future__ import annotations

import re

import numpy as np
import pytest
from counterparts import BACKENDS, COMPARING_NAMES, DTYPES
from golden import load
from oracle import losses as oracle_losses
from tolerances import assert_same_bits, assert_within, gamma, loss_bound, loss_gradient_bound

import fastgd as fg
from fastgd import kernels
from fastgd._formula import LOSSES

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

GOLDEN = [(name, {}) for name in COMPARING_NAMES] + [
    (name, given) for name, given, _ in load("configured_losses")["losses"] if name in COMPARING_NAMES
]
each_golden = pytest.mark.parametrize(("name", "given"), GOLDEN, ids=map(str, GOLDEN))


def golden_batches(name, given):
    """Scores, targets, weights, value and gradient."""
    batches = load("losses")[name]
    if given:
        [batches] = [each[2] for each in load("configured_losses")["losses"] if each[:2] == [name, given]]
    return [tuple(map(np.array, batch)) for batch in batches]


def bounds_of(textbook, z, y, w, dtype):
    """Of the weighted mean and of its gradient."""
    weighted = oracle_losses.under_weights(textbook, w)
    of_value = oracle_losses.weighted_mean(loss_bound(weighted, z, y, dtype), w)
    of_gradient = oracle_losses.row_scales(weighted, z, w) * loss_gradient_bound(weighted, z, y, dtype)
    return of_value, of_gradient


@each_golden
def test_the_oracle_equals_the_golden_values(name, given):
    textbook = getattr(oracle_losses, name)(**given)
    for z, y, w, value, gradient in golden_batches(name, given):
        bound, gradient_bound = bounds_of(textbook, z, y, w, "float64")
        assert_within(oracle_losses.mean_loss(textbook, z, y, w), value, bound, "loss")
        assert_within(oracle_losses.mean_loss_gradient(textbook, z, y, w), gradient, gradient_bound, "gradient")


@pytest.mark.parametrize("name", COMPARING_NAMES)
def test_an_oracle_of_pairs_without_weights_is_noticed(name):
    """The golden values are that sharp: weights of anchors alone are not enough."""
    textbook = oracle_losses.LOSSES[name]
    z, y, w, _, gradient = golden_batches(name, {})[5]
    wrong = oracle_losses.row_scales(textbook, z, w) * textbook.gradient(z, y)
    with pytest.raises(AssertionError, match="differ by more than their bound"):
        assert_within(wrong, gradient, bounds_of(textbook, z, y, w, "float32")[1], "gradient")


@each_backend
@each_dtype
@each_golden
def test_kernels_and_models_equal_the_golden_values(name, given, dtype, backend):
    """In a model whose inputs are rows of the unit matrix, the weights are the scores."""
    loss, textbook = LOSSES[name](**given), getattr(oracle_losses, name)(**given)
    for z, y, w, value, gradient in golden_batches(name, given):
        bound, gradient_bound = bounds_of(textbook, z, y, w, dtype)
        actual, by_scores = kernels.loss_gradient(z.astype(dtype), y, loss, w, backend=backend)
        assert_within(actual, value, bound, "loss")
        assert_within(by_scores, gradient, gradient_bound, "gradient")
        model = fg.Sequential([fg.Dense(z.shape[1])], loss=loss, dtype=dtype, backend=backend).build(len(z))
        model.set_weights([z, np.zeros(z.shape[1])])
        reported, (of_weights, _) = model.loss_and_gradients(np.eye(len(z)), y, w)
        assert_within(reported, value, bound, "reported loss")
        assert_within(of_weights, gradient, gradient_bound, "gradient of the weights")
        assert_within(model.evaluate(np.eye(len(z)), y, w)["loss"], value, bound, "evaluated loss")


@pytest.mark.slow
@each_backend
@each_dtype
@each_golden
def test_drawn_batches_equal_the_oracle(name, given, dtype, backend):
    """Of 1 to 12 rows and 1 to 20 columns, of several kinds, with weights and without: more than 25,000 scores."""
    draw = np.random.default_rng(0)
    loss, textbook = LOSSES[name](**given), getattr(oracle_losses, name)(**given)
    for _ in range(400):
        n, width = draw.integers(1, 13), draw.integers(1, 21)
        z = np.float32(draw.normal(size=(n, width)) * 10.0 ** draw.uniform(-2, 1)).astype(float)
        y, w = draw.integers(3, size=n), draw.choice([1.0, draw.uniform(0.5, 2.0)], size=n)
        bound, gradient_bound = bounds_of(textbook, z, y, w, dtype)
        value, gradient = kernels.loss_gradient(z.astype(dtype), y, loss, w, backend=backend)
        assert_within(value, oracle_losses.mean_loss(textbook, z, y, w), bound, "loss")
        assert_within(gradient, oracle_losses.mean_loss_gradient(textbook, z, y, w), gradient_bound, "gradient")


@each_backend
@pytest.mark.parametrize("name", COMPARING_NAMES)
def test_a_row_without_weight_is_as_if_it_were_not_there(name, backend):
    draw = np.random.default_rng(1)
    z, y, w = draw.normal(size=(9, 4)), np.arange(9) % 3, draw.uniform(0.5, 2.0, size=9)
    w[[2, 5]] = 0.0
    value, gradient = kernels.loss_gradient(z, y, name, w, backend=backend)
    expected, of_others = kernels.loss_gradient(z[w > 0], y[w > 0], name, w[w > 0], backend=backend)
    assert_within(value, expected, gamma(40, "float64") * expected)
    assert_within(gradient[w > 0], of_others, gamma(80, "float64"))
    assert (gradient[w == 0] == 0.0).all()


@each_backend
def test_batches_with_nothing_to_compare_cost_nothing(backend):
    """A single row; for triplets also rows that are all of one kind, or each of its own."""
    z = np.arange(12.0).reshape(4, 3)
    nothing = [(name, z[:1], [5]) for name in COMPARING_NAMES]
    nothing += [(fg.losses.triplet(hardest=flag), z, y) for flag in (False, True) for y in ([7] * 4, [1, 2, 3, 4])]
    for loss, scores, y in nothing:
        value, gradient = kernels.loss_gradient(scores, y, loss, backend=backend)
        assert value == 0.0
        assert (gradient == 0.0).all()


@each_backend
@each_dtype
@pytest.mark.parametrize("loss", ["contrastive", "triplet", fg.losses.triplet(hardest=True)], ids=str)
def test_scores_of_any_size_give_no_nan(loss, dtype, backend):
    """Up to the largest number there is, and down to the smallest, rows in one place among them."""
    info, y = np.finfo(dtype), [0, 0, 0, 1, 1, 1]
    for size in (0.0, info.smallest_normal, 1e-20, 1e18, float(info.max) / 4, float(info.max)):
        z = (size * np.array([[0, 0], [1, 1], [1, 1], [-1, 1], [0.5, -1], [1, -1]])).astype(dtype)
        # The sum of the rows' losses may be infinite where none of these is.
        with np.errstate(over="ignore"):
            value, gradient = kernels.loss_gradient(z, y, loss, backend=backend)
        assert not np.isnan(value), size
        assert np.isinf(value) or not np.isnan(gradient).any(), size


@each_backend
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("loss", ["contrastive", "triplet", fg.losses.triplet(hardest=True)], ids=str)
def test_a_score_that_is_no_number_is_not_hidden(loss, bad, backend):
    """Wherever it stands, in a row with partners or without."""
    for row in range(5):
        z = np.arange(10.0).reshape(5, 2)
        z[row, 1] = bad
        with np.errstate(invalid="ignore"):
            assert np.isnan(kernels.loss_gradient(z, [0, 0, 1, 1, 2], loss, backend=backend)[0])


@each_backend
@each_dtype
@pytest.mark.parametrize("loss", ["contrastive", "triplet", fg.losses.triplet(hardest=True)], ids=str)
def test_a_batch_stays_whole(loss, dtype, backend):
    """However many rows: one step, one evaluation and the gradients are of the same number."""
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(700, 3)).astype(dtype), draw.integers(300, size=700)
    model = fg.Sequential([fg.Dense(2)], loss=loss, dtype=dtype, backend=backend, seed=1).build(3)
    expected = kernels.loss_gradient(model.predict(x), y, loss, backend=backend)[0]
    # A product of three terms and its sum in another order.
    allowed = gamma(700, dtype) * expected
    assert_within(model.evaluate(x, y)["loss"], expected, allowed, "evaluated")
    assert_within(model.loss_and_gradients(x, y)[0], expected, allowed, "with gradients")
    assert_within(model.train_on_batch(x, y), expected, allowed, "of a step")


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_bits_do_not_depend_on_the_number_of_threads(loss):
    pytest.importorskip("fastgd._kernels.cython_")
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=(600, 40)), draw.integers(9, size=600)
    trained = []
    for n_threads in (1, 2, 3):
        layers = [fg.Dense(64, activation="tanh"), fg.Dense(5)]
        model = fg.Sequential(layers, loss=loss, n_threads=n_threads, seed=4)
        losses = model.fit(x, y, epochs=2, batch_size=200).history["loss"]
        trained.append([np.array(losses), *model.get_weights()])
    assert_same_bits(trained[1], trained[0])
    assert_same_bits(trained[2], trained[0])


@each_backend
@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_rows_that_belong_together_come_together(loss, backend):
    """Three kinds on three rings: afterwards the nearest row is nearly always of the same kind, and near."""
    draw = np.random.default_rng(5)
    y = draw.integers(3, size=240)
    angle = draw.uniform(0.0, 2.0 * np.pi, size=240)
    x = (1.0 + y + 0.1 * draw.normal(size=240))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    layers = [fg.Dense(32, activation="tanh"), fg.Dense(2)]
    model = fg.Sequential(layers, loss=loss, optimizer=fg.Adam(0.01), backend=backend, seed=6)
    history = model.fit(x, y, epochs=60, batch_size=60)
    places = model.predict(x)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    same = y[:, None] == y
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert distance[same].mean() < 0.5 * distance[~same].mean()
    assert (y[(distance + 1e9 * np.eye(240)).argmin(axis=1)] == y).mean() > 0.95
    assert set(model.evaluate(x, y)) == {"loss"}


@each_backend
@each_dtype
def test_integers_of_any_size_tell_rows_apart(dtype, backend):
    """Negative ones and those beyond the outputs; of any whole type."""
    x, y = np.random.default_rng(7).normal(size=(6, 3)), np.array([0, 0, 1, 1, 2, 2])
    model = fg.Sequential([fg.Dense(2)], loss="contrastive", dtype=dtype, backend=backend).build(3)
    expected = model.loss_and_gradients(x, y)[0]
    for other in (y - 1, 10**12 * (y - 3), y.astype(np.uint8), y.astype(np.int16)[::-1][::-1], y.tolist(), -y):
        assert model.loss_and_gradients(x, other)[0] == expected
    assert model.loss_and_gradients(x, y > 0)[0] != expected


BAD_TARGETS = [
    ([0.0, 1.0, 1.0], TypeError, "y: got dtype float64, expected one whole number for each of 3 rows"),
    ([[0], [1], [1]], ValueError, "y: got shape (3, 1), expected one whole number for each of 3 rows"),
    ([[0, 1], [1, 0], [1, 0]], ValueError, "y: got shape (3, 2)"),
    ([0, 1], ValueError, "y: got 2 rows, expected 3"),
    (["a", "b", "b"], TypeError, "y: got dtype <U1"),
]


@each_backend
@pytest.mark.parametrize(("y", "kind", "message"), BAD_TARGETS, ids=[message for *_, message in BAD_TARGETS])
def test_targets_that_are_no_integers_are_refused(y, kind, message, backend):
    """And nothing is changed."""
    model = fg.Sequential([fg.Dense(2)], loss="triplet", backend=backend).build(2)
    before = model.get_weights()
    for call in (model.fit, model.train_on_batch, model.evaluate, model.loss_and_gradients):
        with pytest.raises(kind, match=re.escape(message)):
            call(np.ones((3, 2)), y)
    with pytest.raises(ValueError, match="class_weight: got targets of triplet without classes"):
        model.fit(np.ones((3, 2)), [0, 1, 1], class_weight="balanced")
    assert_same_bits(model.get_weights(), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fg.losses.contrastive(margin=0.0), "margin: got 0.0"),
        (lambda: fg.losses.triplet(margin=-1.0), "margin: got -1.0"),
        (lambda: fg.losses.triplet(hardest=1), "hardest: got 1, expected True or False"),
    ],
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
