"""What losses have beside their formulas: parameters, targets of a kind, links, classes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from counterparts import DTYPES, LOSS_NAMES, SINGLE_NAMES, float32_numbers
from golden import load
from oracle import losses as oracle_losses
from targets import admitted_outputs, draw_targets, targets_of
from tolerances import assert_same_bits, assert_within, gamma, loss_bound, loss_gradient_bound

import fastgd as fg
from fastgd import kernels
from fastgd._formula import LOSSES
from fastgd._kernels import available_backends, get_backend

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

# The losses over rows with other parameters than the defaults, at high precision.
GOLDEN = [(name, given) for name, given, _ in load("configured_losses")["losses"] if name in SINGLE_NAMES]


def golden_rows(name, given):
    """Scores, targets, values and gradients; 0 and 1 of a one-hot row or a label."""
    [rows] = [each[2] for each in load("configured_losses")["losses"] if each[:2] == [name, given]]
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("name", "given"), GOLDEN, ids=map(str, GOLDEN))
def test_the_oracle_with_parameters_equals_the_golden_values(name, given):
    z, y, value, gradient = golden_rows(name, given)
    textbook = getattr(oracle_losses, name)(**given)
    assert_within(textbook.value(z, y), value, loss_bound(textbook, z, y, "float64"), "loss")
    bound = loss_gradient_bound(textbook, z, y, "float64")
    assert_within(textbook.gradient(z, y), gradient, bound, "gradient")
    plain = oracle_losses.LOSSES[name]
    if z.shape[1] % plain.outputs_per_target == 0 and textbook.outputs_per_target == plain.outputs_per_target:
        with pytest.raises(AssertionError, match="differ by more than their bound"):
            assert_within(plain.gradient(z, y), gradient, bound, "gradient")


@each_backend
@each_dtype
@pytest.mark.parametrize(("name", "given"), GOLDEN, ids=map(str, GOLDEN))
def test_losses_over_rows_with_parameters_equal_the_golden_values(name, given, dtype, backend):
    """Row by row, each a batch of its own; as plain arrays, and all in a model, whose biases are the scores."""
    z, y, value, gradient = golden_rows(name, given)
    loss, textbook = LOSSES[name](**given), getattr(oracle_losses, name)(**given)
    bound, gradient_bound = loss_bound(textbook, z, y, dtype), loss_gradient_bound(textbook, z, y, dtype)
    for k in range(len(z)):
        actual, by_scores = kernels.loss_gradient(z[k : k + 1].astype(dtype), y[k : k + 1], loss, backend=backend)
        assert_within(actual, value[k], bound[k], f"row {k}")
        assert_within(by_scores[0], gradient[k], gradient_bound[k], f"gradient at row {k}")
    model = fg.Sequential([fg.Dense(z.shape[1])], loss=loss, dtype=dtype, backend=backend).build(1)
    model.set_weights([np.zeros((1, z.shape[1])), z[0]])
    reported, (_, of_biases) = model.loss_and_gradients(np.zeros((1, 1)), y[:1])
    assert_within(reported, value[0], bound[0], "reported loss")
    assert_within(of_biases, gradient[0], gradient_bound[0], "gradient of the biases")
    assert_within(model.evaluate(np.zeros((1, 1)), y[:1])["loss"], value[0], bound[0], "evaluated loss")


def test_every_parameter_of_a_loss_is_tried():
    tried = {(loss.name, name) for loss, _ in CONFIGURED for name in loss.parameters}
    tried |= {(name, parameter) for name, given, _ in load("configured_losses")["losses"] for parameter in given}
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


BAD_PARAMETERS = [
    (lambda: fg.losses.softmax_cross_entropy(label_smoothing=1.0), "label_smoothing: got 1.0"),
    (lambda: fg.losses.softmax_cross_entropy(class_weight=[1.0, -1.0]), "class_weight[1]: got -1.0"),
    (lambda: fg.losses.softmax_cross_entropy(class_weight=2.0), "class_weight: got 2.0, expected several numbers"),
    (lambda: fg.losses.softmax_cross_entropy(class_weight="balanced"), "class_weight: got 'balanced'"),
    (lambda: fg.losses.multiclass_hinge(squared=1), "squared: got 1, expected True or False"),
    (lambda: fg.losses.quantiles(levels=[0.9, 0.1]), "levels: got (0.9, 0.1), expected numbers, increasing"),
    (lambda: fg.losses.quantiles(levels=[0.5, 0.5]), "levels: got (0.5, 0.5)"),
    (lambda: fg.losses.quantiles(levels=[]), "levels: got ()"),
    (lambda: fg.losses.quantiles(levels=[0.5, 1.0]), "levels[1]: got 1.0"),
    (lambda: fg.losses.quantiles(levels=None), "levels: got None"),
    (lambda: fg.losses.softmax_focal_cross_entropy(gamma=-1), "gamma: got -1"),
]


@pytest.mark.parametrize(("make", "message"), BAD_PARAMETERS, ids=[message for _, message in BAD_PARAMETERS])
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


BAD_OUTPUTS = [
    (3, fg.losses.gaussian_nll, "got 3, expected a multiple of 2: gaussian_nll has 2 outputs for each target"),
    (4, fg.losses.quantiles, "got 4, expected a multiple of 3: quantiles has 3 outputs for each target"),
    (1, fg.losses.quantiles(levels=[0.1, 0.9]), "got 1, expected a multiple of 2"),
    (2, fg.losses.softmax_cross_entropy(class_weight=[1.0, 2.0, 3.0]), "got 2, expected 3, as many as class_weight"),
    (1, fg.losses.kl_divergence, "got 1, expected at least 2, one for each class of kl_divergence"),
]


@pytest.mark.parametrize(("n_outputs", "loss", "message"), BAD_OUTPUTS, ids=[message for *_, message in BAD_OUTPUTS])
def test_outputs_that_a_loss_cannot_be_taken_of_are_refused(n_outputs, loss, message):
    with pytest.raises(ValueError, match=re.escape(f"units of the last layer: {message}")):
        fg.Sequential([fg.Dense(n_outputs)], loss=loss)
    with pytest.raises(ValueError, match=re.escape(f"columns of scores: {message}")):
        kernels.loss_gradient(np.zeros((2, n_outputs)), np.zeros((2, 1)), loss)


@each_backend
@each_dtype
def test_a_mean_and_a_variance_are_predicted(dtype, backend):
    """Two targets: means in the even columns, variances in the odd ones; raw, the logarithms of these."""
    model = fg.Sequential([fg.Dense(4)], loss="gaussian_nll", dtype=dtype, backend=backend, seed=1).build(2)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(dtype)
    raw, predicted = model.predict(x, raw=True), model.predict(x)
    assert (predicted[:, 0::2] == raw[:, 0::2]).all()
    expected = np.exp(raw[:, 1::2].astype(float))
    assert_within(predicted[:, 1::2], expected, gamma(20, dtype) * expected)


@each_backend
def test_gaussian_nll_finds_mean_and_variance(backend):
    """Of constants they are those of the sample, where both derivatives vanish."""
    y = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    model = fg.Sequential(
        [fg.Dense(2)], loss="gaussian_nll", optimizer=fg.Adam(0.05), dtype="float64", backend=backend
    )
    model.fit(np.zeros((400, 1)), y, epochs=2000, batch_size=None)
    mean, variance = model.predict(np.zeros((1, 1)))[0]
    assert mean == pytest.approx(y.mean(), rel=1e-6)
    assert variance == pytest.approx(y.var(), rel=1e-6)


@each_backend
@each_dtype
def test_quantiles_that_must_not_cross_do_not(dtype, backend):
    """Whatever the scores; without the flag they do, and predictions are the scores."""
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(dtype)
    for flag in (True, False):
        loss = fg.losses.quantiles(levels=[0.1, 0.4, 0.9], non_crossing=flag)
        model = fg.Sequential([fg.Dense(6)], loss=loss, dtype=dtype, backend=backend, seed=5).build(3)
        predicted, raw = model.predict(x), model.predict(x, raw=True)
        in_order = (np.diff(predicted.reshape(60, 2, 3), axis=2) >= 0.0).all()
        assert in_order == flag
        assert (predicted == raw).all() == (not flag)


@each_backend
def test_a_single_level_is_the_quantile_loss(backend):
    """And a gamma of 0 is the cross-entropy, as are targets without entropy the divergence from them."""
    draw = np.random.default_rng(0)
    z, y, labels = draw.normal(size=(9, 4)), draw.normal(size=(9, 4)), draw.integers(4, size=9)
    pairs = [
        (fg.losses.quantiles(levels=[0.25]), fg.losses.quantile(level=0.25), y),
        (fg.losses.softmax_focal_cross_entropy(gamma=0.0), fg.losses.softmax_cross_entropy, labels),
        (fg.losses.kl_divergence, fg.losses.softmax_cross_entropy, labels),
        (fg.losses.softmax_cross_entropy(class_weight=[1.0] * 4), fg.losses.softmax_cross_entropy, np.eye(4)[labels]),
    ]
    for one, other, targets in pairs:
        value, gradient = kernels.loss_gradient(z, targets, one, backend=backend)
        expected, expected_gradient = kernels.loss_gradient(z, targets, other, backend=backend)
        assert value == pytest.approx(expected, rel=1e-14)
        assert_within(gradient, expected_gradient, 1e-15)


@each_backend
@each_dtype
@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if LOSSES[name].rowwise])
def test_losses_over_rows_are_finite_at_extreme_scores(name, dtype, backend):
    """Scores of up to 700 either way, zeros among them: no NaN anywhere; infinity only of an exponential."""
    draw, shape = np.random.default_rng(0), (400, 12)
    z = (draw.choice([0.0, 1e-30, 1.0, 80.0, 700.0], size=shape) * draw.choice([-1.0, 1.0], size=shape)).astype(dtype)
    z[:4] = [[0.0], [700.0], [-700.0], [1.0]]
    y = targets_of(draw, LOSSES[name], 400, 12)
    value, gradient = kernels.loss_gradient(z, y, name, backend=backend)
    assert not np.isnan(value)
    assert not np.isnan(gradient).any()
    if name != "gaussian_nll":
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@each_backend
@pytest.mark.parametrize("loss", ["gamma", "gaussian_nll"])
def test_a_row_without_weight_counts_for_nothing(loss, backend):
    """Though its own loss is infinite: zero times that is not NaN."""
    n_outputs = admitted_outputs(LOSSES[loss], 1)
    model = fg.Sequential([fg.Dense(n_outputs)], loss=loss, backend=backend).build(1)
    model.set_weights([np.ones((1, n_outputs)), np.zeros(n_outputs)])
    X, y = np.array([[-300.0], [0.5]]), np.array([[2.0], [3.0]])
    results = model.loss_and_gradients(X, y, sample_weight=[0.0, 1.0])
    expected = model.loss_and_gradients(X[1:], y[1:])
    assert results[0] == expected[0]
    assert_same_bits(results[1], expected[1])
    assert model.evaluate(X, y, sample_weight=[0.0, 1.0]) == model.evaluate(X[1:], y[1:])
    scores = np.repeat(X, n_outputs, axis=1).astype(np.float32)
    value, gradient = kernels.loss_gradient(scores, y, loss, [0.0, 1.0], backend=backend)
    assert np.isfinite(value)
    assert not gradient[0].any()
    assert model.loss_and_gradients(X, y)[0] == np.inf


@each_backend
def test_a_score_that_is_not_a_number_is_not_hidden(backend):
    """By no comparison: the loss is NaN too, and training would stop."""
    draw = np.random.default_rng(0)
    for name in LOSS_NAMES:
        loss = LOSSES[name]
        n_outputs = admitted_outputs(loss, 4)
        y, score = targets_of(draw, loss, 1, n_outputs), np.zeros((1, n_outputs))
        for column in range(n_outputs):
            bad = np.where(np.arange(n_outputs) == column, np.nan, score)
            value = get_backend(backend).loss_gradient(bad, y, loss, None, np.empty_like(bad))
            assert np.isnan(value), (name, column)
