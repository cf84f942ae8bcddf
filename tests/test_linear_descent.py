"""The kernel of linear models: the compiled ones against the definition in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from counterparts import BACKENDS

from fastgd._formula import LOSSES
from fastgd._kernels import get_backend
from fastgd.inputs import read_loss

PLAIN = {"step": 0, "l1": 0.0, "l2": 0.0, "batch_size": 1, "intercept_share": 1.0, "other_target": -1.0}

CASES = {
    "plain": {},
    "l2": {"l2": 0.05},
    "l1": {"l1": 0.02},
    "both, averaged": {"l1": 0.01, "l2": 0.02, "average_from": 5},
    "batches": {"batch_size": 7, "l1": 0.01, "l2": 0.02, "average_from": 2},
    "logistic": {"loss": "binary_cross_entropy", "other_target": 0.0, "intercept_share": 0.01},
    "over rows": {"loss": "softmax_cross_entropy", "batch_size": 4, "l1": 0.01, "l2": 0.1},
    "aggressive": {"step": 1},
    "aggressive, regularised": {"step": 2, "l2": 0.1, "intercept_share": 0.0},
    "shrinking to nothing": {"l2": 30.0},
}


def trained(name, X, targets, weights, labels, dtype, **given):
    """What a backend makes of some epochs of it, of which the second half leaves one output out."""
    n_outputs = len(labels)
    draw = np.random.default_rng(5)
    W, b = draw.normal(size=(n_outputs, X.shape[1])).astype(dtype), draw.normal(size=n_outputs)
    means = [np.zeros_like(W), np.zeros_like(b)] if given.get("average_from") else [None, None]
    settings = {**PLAIN, **given, "mean_W": means[0], "mean_b": means[1], "labels": labels}
    settings["loss"] = read_loss(settings.get("loss", "hinge"))
    class_weights = np.linspace(0.5, 2.0, 2 * n_outputs).reshape(n_outputs, 2)
    descent = get_backend(name).LinearDescent(X, targets, weights, W, b, class_weights=class_weights, **settings)
    descent.pace[-1] = 0.5
    order, n_steps = np.arange(X.shape[0]), -(-X.shape[0] // settings["batch_size"])
    permutation, results = np.random.default_rng(6).permutation(X.shape[0]), []
    for half in range(2):
        active = np.ones(n_outputs, np.uint8)
        active[0] = half == 0 or settings["loss"].rowwise or n_outputs == 1
        outcome = descent.run(
            order,
            permutation,
            0.3 / np.sqrt(np.arange(1.0, 2 * n_steps + 1)),
            steps_before=2 * half * n_steps,
            active=active,
            n_epochs=2,
            tol=0.0,
            patience=0,
        )
        results += [outcome[:2], outcome[2][active == 1]]
    return W, b, *(m for m in means if m is not None), *results, order


each_compiled = pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "numpy"])


@each_compiled
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["dense", "csr, int32", "csr, int64"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_columns", [1, 37])
def test_the_compiled_kernel_does_what_is_defined(case, kind, dtype, n_columns, backend):
    """Coefficients, averages, objectives and orders, over all ways through the loops."""
    draw = np.random.default_rng(0)
    X = (draw.normal(size=(40, n_columns)) * (draw.random((40, n_columns)) < 0.5)).astype(dtype)
    targets, weights = draw.integers(4, size=40), draw.uniform(0, 2, 40)
    if kind != "dense":
        sparse = pytest.importorskip("scipy.sparse")
        X = sparse.csr_matrix(X)
        X.indices, X.indptr = (a.astype(kind.split()[1]) for a in (X.indices, X.indptr))
    a, b = (trained(name, X, targets, weights, np.arange(4), dtype, **CASES[case]) for name in ("numpy", backend))
    # 160 steps, each with sums over 37 columns, none of which makes an error larger than the step before it did.
    tolerance = 160 * 37 * np.finfo(dtype).eps
    for expected, found in zip(a, b, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@each_compiled
def test_numbers_as_targets(backend):
    """Of one output."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(50, 9)), draw.normal(size=50)
    for given in ({"loss": "huber"}, {"loss": "epsilon_insensitive", "step": 1}):
        a, b = (trained(name, X, y, None, np.zeros(1, np.intp), "float64", **given) for name in ("numpy", backend))
        for expected, found in zip(a, b, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_stops_once_an_output_is_no_better(backend):
    """After as many epochs as there is patience for; never without it."""
    X, W, b = np.zeros((5, 2)), np.zeros((2, 2)), np.zeros(2)
    settings = {**PLAIN, "intercept_share": 0.0, "loss": read_loss("hinge"), "labels": np.arange(2)}
    for patience, expected in ((3, 4), (0, 9)):
        descent = get_backend(backend).LinearDescent(
            X, np.array([0, 1, 0, 1, 0]), None, W, b, class_weights=np.ones((2, 2)), **settings
        )
        given = {"steps_before": 0, "active": np.ones(2, np.uint8), "n_epochs": 9, "tol": 0.1, "patience": patience}
        done, status, objectives = descent.run(np.arange(5), None, np.ones(45), **given)
        assert (done, status) == (expected, 0)
        np.testing.assert_array_equal(objectives, [1.0, 1.0])
        np.testing.assert_array_equal(descent.n_worse, [patience, patience])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_finite_is_told(backend):
    """After the epoch in which it happened."""
    X = np.full((4, 3), 1e200)
    settings = {**PLAIN, "loss": read_loss("half_squared_error"), "labels": np.zeros(1, np.intp)}
    descent = get_backend(backend).LinearDescent(
        X, np.ones(4), None, np.ones((1, 3)), np.zeros(1), class_weights=np.ones((1, 2)), **settings
    )
    given = {"steps_before": 0, "active": np.ones(1, np.uint8), "n_epochs": 2, "tol": 0.0, "patience": 0}
    done, status, _ = descent.run(np.arange(4), None, np.full(8, 1e200), **given)
    assert (done, status) == (1, 2)


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_of_a_row_without_weight_may_be_infinite(backend, kind):
    """It has no part in the objective, nor in the steps, which stay those of the other rows."""
    draw = np.random.default_rng(0)
    X, targets, weights = draw.uniform(0, 1, (12, 3)), draw.uniform(0, 2, 12), np.ones(12)
    results = []
    # Whatever the sign of the weights, one of the two predicts more than a number holds.
    for far in (1.0, 1e4, -1e4):
        X[5], weights[5] = far, 0.0
        given = X if kind == "dense" else pytest.importorskip("scipy.sparse").csr_matrix(X)
        case = {"loss": "poisson", "batch_size": 4, "other_target": 0.0}
        results.append(trained(backend, given, targets, weights, np.zeros(1, np.intp), np.float64, **case))
    for expected, *found in zip(*results, strict=True):
        assert np.isfinite(expected).all()
        for each in found:
            np.testing.assert_array_equal(each, expected)


@each_compiled
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_the_order_is_the_same_everywhere(n, backend):
    """A permutation, by the generator of scikit-learn's linear models."""
    orders = [get_backend(name).xorshift_permutation(n, 12345) for name in ("numpy", backend)]
    np.testing.assert_array_equal(*orders)
    assert sorted(orders[0]) == list(range(n))


def seldom_sloping(n_columns, dtype):
    """Rows of four classes so far apart that hinges soon have no slope at most, and their weights, some of them 0."""
    draw = np.random.default_rng(1)
    centres, labels = draw.normal(size=(4, n_columns)), draw.integers(4, size=403)
    X = (centres[labels] + 0.6 * draw.normal(size=(403, n_columns))).astype(dtype)
    return X, labels, draw.integers(3, size=403).astype(float)


LOSSES_BY_ROW = [name for name, loss in LOSSES.items() if not (loss.rowwise or loss.compares_rows)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("l2", [0.0, 1e-3, 30.0])
@pytest.mark.parametrize("name", LOSSES_BY_ROW)
def test_looking_ahead_changes_no_bit(name, l2, dtype):
    """What is scored many rows at once is what one row after the other comes to.

    Where means are wanted there is no looking ahead, even if they begin after the last step.
    """
    for n_columns, weighted in ((5, False), (30, True), (64, False)):
        X, labels, weights = seldom_sloping(n_columns, dtype)
        loss = read_loss(name)
        given = {"loss": name, "l2": l2, "intercept_share": 0.0 if weighted else 1.0}
        if loss.target in ("sign", "probability"):
            targets, sides = labels, np.arange(4)
            given["other_target"] = 0.0 if loss.target == "probability" else -1.0
        else:
            targets, sides = (labels + 0.5).astype(dtype), np.zeros(1, np.intp)
        ahead, one_by_one = (
            trained("cython", X, targets, weights if weighted else None, sides, dtype, average_from=first, **given)
            for first in (0, 10**9)
        )
        np.testing.assert_array_equal(ahead[0], one_by_one[0])
        np.testing.assert_array_equal(ahead[1], one_by_one[1])


def test_rows_without_a_slope_are_looked_over():
    """The data of the test before are what it is about: few rows of an epoch change a weight."""
    X, labels, _ = seldom_sloping(30, "float64")
    W, b, *_ = trained("cython", X, labels, None, np.arange(4), "float64", l2=1e-3)
    margins = np.where(labels[:, None] == np.arange(4), 1, -1) * (X @ W.T + b)
    assert 0 < (margins <= 1).mean() < 0.1


def lying_at(X, offset):
    """The same rows, so many elements beyond where a vector may begin."""
    memory = np.empty(X.size + 64, X.dtype)
    first = -memory.ctypes.data % 64 // X.itemsize + offset
    copy = memory[first : first + X.size].reshape(X.shape)
    copy[...] = X
    return copy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_columns", [7, 30, 64])
def test_where_rows_lie_changes_no_bit(n_columns, dtype):
    """Those of a longer call are copied to where vectors begin; of 64 columns that begin there, none are."""
    X, labels, weights = seldom_sloping(n_columns, dtype)
    settings = {**PLAIN, "l2": 1e-3, "loss": read_loss("hinge")}
    settings |= {"labels": np.arange(4), "class_weights": np.ones((4, 2))}
    found = []
    for offset in (0, 1, 3):
        W, b = np.zeros((4, n_columns), dtype), np.zeros(4)
        descent = get_backend("cython").LinearDescent(lying_at(X, offset), labels, weights, W, b, **settings)
        given = {"steps_before": 0, "active": np.ones(4, np.uint8), "tol": 0.0, "patience": 0}
        for n_epochs in (1, 5, 1):
            descent.run(np.arange(403), None, np.full(n_epochs * 403, 0.01), n_epochs=n_epochs, **given)
        found.append((W, b))
    for W, b in found[1:]:
        np.testing.assert_array_equal(W, found[0][0])
        np.testing.assert_array_equal(b, found[0][1])
    assert found[0][0].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_objectives_that_nobody_watches_change_nothing(backend):
    """Coefficients are the same without them; with patience they are counted all the same."""
    X, labels, _ = seldom_sloping(30, "float64")
    settings = {**PLAIN, "l2": 1e-3, "loss": read_loss("hinge")}
    settings |= {"labels": np.arange(4), "class_weights": np.ones((4, 2))}
    outcomes = []
    for watched, patience in ((True, 0), (False, 0), (True, 2), (False, 2)):
        W, b = np.zeros((4, 30)), np.zeros(4)
        descent = get_backend(backend).LinearDescent(X, labels, None, W, b, **settings)
        given = {"steps_before": 0, "active": np.ones(4, np.uint8), "n_epochs": 9, "tol": 1e-3, "watched": watched}
        done, status, objectives = descent.run(np.arange(403), None, np.full(9 * 403, 0.01), patience=patience, **given)
        outcomes.append((done, status, W, b, objectives if watched or patience else None))
    for first, second in (outcomes[:2], outcomes[2:]):
        for expected, found in zip(first[:4], second[:4], strict=True):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(outcomes[2][4], outcomes[3][4])
    assert outcomes[2][0] < 9
