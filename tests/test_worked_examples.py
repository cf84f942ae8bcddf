"""Examples that a reader can follow with pencil and paper, each as it must come out."""

from __future__ import annotations

import numpy as np
import pytest
from counterparts import BACKENDS, FedWithGradients, model_of
from golden import load
from tolerances import assert_within, gamma, unit_roundoff

import fastgd as fg

each_backend = pytest.mark.parametrize("backend", BACKENDS)

DOUBLE = unit_roundoff(np.float64)


# ------------------------------------------------------------------------- 1: one weight, one bias, one step
@each_backend
def test_one_neuron_by_hand(backend):
    """x = 2, y = 3, w = b = 0.5: l = (1.5 - 3)^2 / 2 = 1.125, dl/dw = -1.5 * 2, dl/db = -1.5; all exact."""
    model = model_of(
        [1, 1], ["linear"], "half_squared_error", optimizer=fg.SGD(0.01), dtype="float64", backend=backend
    )
    model.set_weights([np.array([[0.5]]), np.array([0.5])])
    x, y = np.array([[2.0]]), np.array([[3.0]])
    loss, (of_w, of_b) = model.loss_and_gradients(x, y)
    assert (loss, of_w.item(), of_b.item()) == (1.125, -3.0, -1.5)
    assert model.train_on_batch(x, y) == 1.125
    w, b = model.get_weights()
    # The product 0.01 * 3 and the sum are rounded, once each or, fused, together.
    assert_within(w, [[0.53]], 2 * DOUBLE * 0.53, "w")
    assert_within(b, [0.515], 2 * DOUBLE * 0.515, "b")


# --------------------------------------------------------------------------------- 2: two layers of sigmoids
@each_backend
def test_two_sigmoid_layers_equal_numpy(backend):
    """The forward pass, written out in NumPy, to 1e-12."""
    x = np.array([[0.5, 0.3]])
    w1, b1 = np.array([[0.2, 0.8], [0.4, 0.6]]), np.array([0.1, 0.2])
    w2, b2 = np.array([[0.5], [0.9]]), np.array([0.3])
    hidden = 1.0 / (1.0 + np.exp(-(x @ w1 + b1)))
    expected = 1.0 / (1.0 + np.exp(-(hidden @ w2 + b2)))
    model = model_of(
        [2, 2, 1], ["sigmoid", "sigmoid"], "mean_squared_error", dtype="float64", backend=backend
    )
    model.set_weights([w1, b1, w2, b2])
    assert_within(model.predict(x), expected, 1e-12)
    assert_within(model.transform(x, layer=-2), hidden, 1e-12)


# ----------------------------------------------------------------------------------- 3: binary cross-entropy
@each_backend
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-6), ("float32", 1e-6)])
def test_binary_cross_entropy_of_four_probabilities(dtype, bound, backend):
    """0.164252, and what Keras printed; the probabilities go in as scores log(p / (1 - p))."""
    golden = load("keras")
    y, p = np.array(golden["y"])[:, None], np.array(golden["p"])[:, None]
    model = model_of([1, 1], ["linear"], "binary_cross_entropy", dtype=dtype, backend=backend)
    model.set_weights([np.ones((1, 1), dtype), np.zeros(1, dtype)])
    scores = np.log(p / (1.0 - p))
    result = model.evaluate(scores, y)
    assert_within(result["loss"], 0.164252, bound)
    assert_within(result["loss"], float(golden["printed"]), bound)
    assert result["accuracy"] == 1.0
    assert_within(model.predict(scores), p, gamma(40, dtype))


# --------------------------------------------------------------------------------------- 4: multiclass hinge
def hinge_of(scores, labels, backend):
    """Mean hinge of given scores: identity weights, no bias."""
    n_classes = scores.shape[1]
    model = model_of([n_classes, n_classes], ["linear"], "multiclass_hinge", dtype="float64", backend=backend)
    model.set_weights([np.eye(n_classes), np.zeros(n_classes)])
    return model.loss_and_gradients(scores, labels)


@each_backend
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_multiclass_hinge_of_zero_weights(n_classes, backend):
    """Every wrong class is exactly 1 above where it should be: C - 1."""
    model = model_of([4, n_classes], ["linear"], "multiclass_hinge", dtype="float64", backend=backend)
    model.set_weights([np.zeros((4, n_classes)), np.zeros(n_classes)])
    x, labels = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6) % n_classes
    assert model.evaluate(x, labels)["loss"] == n_classes - 1


@each_backend
def test_multiclass_hinge_ignores_a_class_beyond_the_margin(backend):
    """Raising a wrong score that stays more than 1 below the right one changes neither loss nor gradient."""
    scores, labels = np.array([[5.0, 1.0, 4.5]]), np.array([0])
    raised = np.array([[5.0, 3.75, 4.5]])
    (loss, gradients), (other, other_gradients) = (hinge_of(s, labels, backend) for s in (scores, raised))
    assert loss == other == 0.5
    assert_within(other_gradients[1], gradients[1], 0.0)
    assert gradients[1].tolist() == [-1.0, 0.0, 1.0]
    assert hinge_of(np.array([[5.0, 4.25, 4.5]]), labels, backend)[0] == 0.75


@each_backend
def test_averaging_over_samples_only_scales_the_sum(backend):
    """n times the mean is the sum of the rows' losses, and of their gradients."""
    draw = np.random.default_rng(1)
    scores, labels = draw.integers(-8, 8, size=(8, 4)) / 4.0, draw.integers(4, size=8)
    loss, gradients = hinge_of(scores, labels, backend)
    rows = [hinge_of(scores[k : k + 1], labels[k : k + 1], backend) for k in range(8)]
    # Scores are quarters and there are eight rows: nothing is rounded.
    assert 8 * loss == sum(row_loss for row_loss, _ in rows)
    for k, gradient in enumerate(gradients):
        assert_within(8 * gradient, sum(row_gradients[k] for _, row_gradients in rows), 0.0)


# ----------------------------------------------------------------------------------- 5: a layer, and a chain
@each_backend
def test_a_relu_layer_by_hand(backend):
    """output = relu(dot(W, x) + b), W having a row for each output."""
    w, b, x = (
        np.array([[1.0, -2.0, 0.5], [0.0, 1.0, -1.0]]),
        np.array([0.25, -0.5]),
        np.array([2.0, 1.0, 4.0]),
    )
    by_hand = [max(0.0, sum(w[o][i] * x[i] for i in range(3)) + b[o]) for o in range(2)]
    assert by_hand == [2.25, 0.0]
    model = model_of([3, 2], ["relu"], "mean_squared_error", dtype="float64", backend=backend)
    model.set_weights([w.T, b])
    assert model.predict(x[None, :]).tolist() == [by_hand]


@each_backend
def test_the_chain_rule_through_three_functions(backend):
    """f(W1, W2, W3) = a(W1, b(W2, c(W3))): back-propagation against fourth-order central differences."""
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=(5, 3)), draw.normal(size=(5, 2))
    model = model_of(
        [3, 4, 4, 2],
        ["tanh", "softplus", "sigmoid"],
        "half_squared_error",
        dtype="float64",
        seed=3,
        backend=backend,
    )
    weights = model.get_weights()
    loss, gradients = model.loss_and_gradients(x, y)
    h = 2.0**-9

    def loss_at(k, index, shift):
        moved = [w.copy() for w in weights]
        moved[k][index] += shift
        model.set_weights(moved)
        return model.loss_and_gradients(x, y)[0]

    def difference(k, index, step):
        values = [loss_at(k, index, s * step) for s in (-2, -1, 1, 2)]
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)

    # 18/12 of the loss's rounding over the step; three layers of at most four inputs and a function each.
    rounding = 1.5 * gamma(3 * 30, np.float64) * (loss + 1.0) / h
    for k in (0, 2, 4):
        for index in np.ndindex(weights[k].shape):
            fine, coarse = difference(k, index, h), difference(k, index, 2 * h)
            assert_within(
                gradients[k][index], fine, abs(coarse - fine) / 15 + rounding, f"W{k // 2 + 1}{index}"
            )


# ----------------------------------------------------------------------- 6: descents that arrive, and do not
def straight_line():
    """Sixteen points on y = 2 x1 - x2 + 1/2: convex, and every batch agrees on the minimum."""
    x = np.random.default_rng(6).normal(size=(16, 2))
    return x, x @ np.array([[2.0], [-1.0]]) + 0.5


def fit_line(batch_size, learning_rate, epochs, backend):
    """Weights after training on the straight line from zero."""
    x, y = straight_line()
    model = model_of(
        [2, 1],
        ["linear"],
        "half_squared_error",
        optimizer=fg.SGD(learning_rate),
        dtype="float64",
        seed=1,
        backend=backend,
    )
    model.set_weights([np.zeros((2, 1)), np.zeros(1)])
    model.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()])


@each_backend
@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_sgd_mini_batches_and_full_batch_reach_the_same_minimum(batch_size, backend):
    """The flattest direction shrinks by 1 - 0.2 * 0.43 in each epoch or more often: below 1e-19 in 500."""
    reached = fit_line(batch_size, 0.2, 500, backend)
    assert_within(reached, [2.0, -1.0, 0.5], 1e-12)


@each_backend
def test_a_step_too_small_has_not_arrived_after_as_many_steps(backend):
    """A thousandth of the step that arrives."""
    reached = fit_line(None, 2e-4, 500, backend)
    assert abs(reached - [2.0, -1.0, 0.5]).max() > 0.25


@each_backend
def test_a_step_too_large_diverges(backend):
    """The steepest direction grows by |1 - 10 * 1.88| at every step until nothing finite is left."""
    with pytest.raises(fg.DivergenceError, match="learning rate"):
        fit_line(None, 10.0, 2000, backend)


def ball(optimizer, backend):
    """Where a ball comes to rest that starts at 1.8 on f(w) = w^4/4 - w^2/2 + w/5."""
    rolling = FedWithGradients(optimizer, np.array([1.8]), "float64", backend)
    w = rolling.position
    for _ in range(400):
        w = rolling.step(w**3 - w + 0.2)
    return w.item()


@each_backend
def test_momentum_carries_a_ball_out_of_a_local_minimum(backend):
    """The shallow minimum is near 0.88, the deep one near -1.09; plain descent stays in the first."""
    minima = sorted(root.real for root in np.roots([1.0, 0.0, -1.0, 0.2]))
    deep, barrier, shallow = minima
    assert deep < 0.0 < barrier < shallow
    assert_within(ball(fg.SGD(0.05), backend), shallow, 1e-6)
    assert_within(ball(fg.SGD(0.05, momentum=0.9), backend), deep, 1e-6)
