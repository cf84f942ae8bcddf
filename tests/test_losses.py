"""What losses have beside their formulas: parameters, targets of a kind, links, classes."""

from __future__ import annotations

import numpy as np
import pytest
from counterparts import DTYPES, LOSS_NAMES, float32_numbers
from oracle import losses as oracle_losses
from targets import draw_targets
from tolerances import assert_within, gamma, loss_bound, loss_gradient_bound

import fastgd as fg
from fastgd import kernels
from fastgd._formula import LOSSES
from fastgd._kernels import available_backends

each_backend = pytest.mark.parametrize("backend", available_backends())
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

ELEMENTWISE = [name for name in LOSS_NAMES if not LOSSES[name].rowwise]

CONFIGURED = [
    (fg.losses.huber(delta=0.25), oracle_losses.huber(0.25)),
    (fg.losses.smooth_l1(beta=0.25), oracle_losses.smooth_l1(0.25)),
    (fg.losses.quantile(level=0.875), oracle_losses.quantile(0.875)),
    (fg.losses.expectile(level=0.875), oracle_losses.expectile(0.875)),
    (fg.losses.epsilon_insensitive(epsilon=0.5), oracle_losses.epsilon_insensitive(0.5)),
    (fg.losses.squared_epsilon_insensitive(epsilon=0.5), oracle_losses.squared_epsilon_insensitive(0.5)),
    (fg.losses.tweedie(power=1.25), oracle_losses.tweedie(1.25)),
    (fg.losses.binary_cross_entropy(pos_weight=3.0), oracle_losses.binary_cross_entropy(3.0)),
    (
        fg.losses.binary_cross_entropy(pos_weight=0.5, label_smoothing=0.125),
        oracle_losses.binary_cross_entropy(0.5, 0.125),
    ),
    (
        fg.losses.binary_focal_cross_entropy(gamma=0.5, pos_weight=3.0),
        oracle_losses.binary_focal_cross_entropy(0.5, 3.0),
    ),
]


def test_every_parameter_of_a_loss_is_tried():
    tried = {(loss.name, name) for loss, _ in CONFIGURED for name in loss.parameters}
    assert tried == {(name, parameter) for name in LOSS_NAMES for parameter in LOSSES[name].parameters}


@each_backend
@each_dtype
@pytest.mark.parametrize(("loss", "textbook"), CONFIGURED, ids=[repr(loss) for loss, _ in CONFIGURED])
def test_parameters_reach_value_and_gradient(loss, textbook, dtype, backend):
    """On plain arrays, and in a model that has nothing but biases."""
    draw = np.random.default_rng(3)
    z, y = float32_numbers(3.0 * draw.normal(size=(1, 60))), draw_targets(draw, textbook.target, 1, 60)
    value, gradient = kernels.loss_gradient(z.astype(dtype), y, loss, backend=backend)
    bound = loss_bound(textbook, z, y, dtype).mean() + gamma(60, np.float64) * textbook.value(z, y).mean()
    assert_within(value, textbook.value(z, y).mean(), bound, "loss")
    gradient_bound = loss_gradient_bound(textbook, z, y, dtype) / 30.0
    assert_within(gradient, textbook.gradient(z, y) / 60.0, gradient_bound, "gradient")
    model = fg.Sequential([fg.Dense(60)], loss=loss, dtype=dtype, backend=backend).build(1)
    model.set_weights([np.zeros((1, 60)), z[0]])
    reported, (_, of_biases) = model.loss_and_gradients(np.zeros((1, 1)), y)
    assert_within(reported, textbook.value(z, y).mean(), bound, "reported loss")
    assert_within(of_biases, textbook.gradient(z, y)[0] / 60.0, gradient_bound[0], "gradient of the biases")


@each_backend
def test_a_parameter_is_not_forgotten_by_training(backend):
    """With the derivative at its limit, each step moves the bias by the learning rate times delta."""
    model = fg.Sequential(
        [fg.Dense(1)], loss=fg.losses.huber(delta=0.25), optimizer=fg.SGD(0.5), dtype="float64", backend=backend
    ).build(1)
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    model.fit(np.zeros((4, 1)), np.full((4, 1), 100.0), batch_size=1)
    assert model.get_weights()[1].tolist() == [0.5]


@each_dtype
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_finite_score_gives_nan(name, dtype):
    """Of any size, with any target of the loss's kind, in value and gradient."""
    draw = np.random.default_rng(0)
    sizes = 10.0 ** draw.uniform(-30, 30, 2000)
    z = np.concatenate([sizes, -sizes, draw.uniform(-800, 800, 2000), [0.0, -0.0]])[:, None].astype(dtype)
    for y in (draw_targets(draw, LOSSES[name].target, len(z), 1), np.ones_like(z)):
        assert not np.isnan(LOSSES[name](z, y.astype(dtype))).any()
        for backend in available_backends():
            assert not np.isnan(kernels.loss_gradient(z, y, name, backend=backend)[1]).any()


KINDS = {
    "poisson": (-0.5, "a number of at least 0"),
    "gamma": (0.0, "a number above 0"),
    "tweedie": (-1e-3, "a number of at least 0"),
    "mean_squared_log_error": (-0.5, "a number of at least 0"),
    "mean_absolute_percentage_error": (0.0, "a number other than 0"),
    "binary_cross_entropy": (1.5, "a probability from 0 to 1"),
    "binary_focal_cross_entropy": (-0.5, "a probability from 0 to 1"),
    "hinge": (2.0, "1 for one class, 0 or -1 for the other"),
    "squared_hinge": (0.5, "1 for one class, 0 or -1 for the other"),
    "modified_huber": (0.5, "1 for one class, 0 or -1 for the other"),
    "perceptron": (0.5, "1 for one class, 0 or -1 for the other"),
}


def test_every_kind_of_target_is_guarded():
    assert set(KINDS) == {name for name in ELEMENTWISE if LOSSES[name].target != "real"}


@each_backend
@pytest.mark.parametrize("name", KINDS)
def test_targets_of_another_kind_are_refused(name, backend):
    """With place, number, what is expected, and what to try; nothing is changed."""
    wrong, expected = KINDS[name]
    model = fg.Sequential([fg.Dense(1)], loss=name, backend=backend).build(2)
    before = model.get_weights()
    for call in (model.fit, model.train_on_batch, model.evaluate, model.loss_and_gradients):
        with pytest.raises(ValueError, match=r"y\[2, 0\]: got .+, expected .+; ") as refused:
            call(np.ones((3, 2)), [[1.0], [1.0], [wrong]])
        assert expected in str(refused.value)
    assert all((w == v).all() for w, v in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["gamma", "mean_absolute_percentage_error"])
def test_a_target_that_the_dtype_takes_for_zero_is_refused(name):
    """1e-40 is a number in float64, but not one that an engine in float32 divides by."""
    for dtype, fails in (("float64", False), ("float32", True)):
        model = fg.Sequential([fg.Dense(1)], loss=name, dtype=dtype, backend="numpy").build(1)
        if fails:
            with pytest.raises(ValueError, match=r"y\[0, 0\]: got 1e-40"):
                model.evaluate(np.ones((1, 1)), [[1e-40]])
        else:
            assert np.isfinite(model.evaluate(np.ones((1, 1)), [[1e-40]])["loss"])


@each_backend
@each_dtype
@pytest.mark.parametrize(
    ("name", "link"),
    [("poisson", np.exp), ("gamma", np.exp), ("tweedie", np.exp), ("mean_squared_log_error", np.expm1)],
)
def test_predictions_are_on_the_scale_of_the_targets(name, link, dtype, backend):
    model = fg.Sequential([fg.Dense(3)], loss=name, dtype=dtype, backend=backend, seed=1).build(2)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(dtype)
    expected = link(model.predict(x, raw=True).astype(float))
    assert_within(model.predict(x), expected, gamma(20, dtype) * (abs(expected) + 1.0))


@each_backend
@pytest.mark.parametrize("negative", [0.0, -1.0])
@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "modified_huber", "perceptron"])
def test_margin_losses_learn_two_classes_and_tell_how_well(name, negative, backend):
    """Labels may be 0 and 1, or -1 and 1; with class weights, the rare class counts more."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = np.where(x @ [1.0, -2.0] > 0.5, 1.0, negative)
    model = fg.Sequential([fg.Dense(1)], loss=name, optimizer=fg.SGD(0.1), backend=backend, seed=2)
    model.fit(x, y, epochs=60)
    assert model.evaluate(x, y)["accuracy"] > 0.95
    alone = model.loss_and_gradients(x, y, sample_weight=np.where(y > 0, 3.0, 1.0))[0]
    weighted = fg.Sequential([fg.Dense(1)], loss=name, backend=backend).build(2)
    weighted.set_weights(model.get_weights())
    history = weighted.fit(x, y, class_weight={0: 1.0, 1: 3.0}, batch_size=None)
    assert history.history["loss"][0] == pytest.approx(alone, rel=1e-6)


def test_a_perceptron_begins_to_learn_from_zero_weights():
    model = fg.Sequential([fg.Dense(1, initializer="zeros")], loss="perceptron", optimizer=fg.SGD(1.0), backend="numpy")
    model.fit([[1.0], [-1.0]], [1.0, -1.0], batch_size=None)
    assert model.get_weights()[0].item() > 0.0
