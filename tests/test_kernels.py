"""The public kernels on plain arrays, in every backend, against the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, DTYPES, LOSS_NAMES, OPTIMIZER_NAMES, float32_numbers, random_target
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import check_backward, check_forward, check_loss_gradient, check_parameter_update
from targets import admitted_outputs
from tolerances import assert_same_bits, assert_within, gamma

import fastgd as fg
from fastgd import kernels
from fastgd._formula import LOSSES
from fastgd._kernels import available_backends

each_backend = pytest.mark.parametrize("backend", available_backends())
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

SHAPES = [(1, 1, 1), (3, 5, 2), (7, 16, 17), (33, 4, 31), (130, 65, 3)]


def layer_arrays(shape, seed=0):
    """x, w, b of a layer, numbers that both precisions hold."""
    n, n_inputs, n_outputs = shape
    draw = np.random.default_rng(seed)
    w = draw.normal(size=(n_inputs, n_outputs)) / np.sqrt(n_inputs)
    return [float32_numbers(a) for a in (draw.normal(size=(n, n_inputs)), w, draw.normal(size=n_outputs))]


# ------------------------------------------------------------------------------------------------------- forward
@each_backend
@each_dtype
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_dense_forward_equals_the_oracle(activation, dtype, backend):
    """f(x w + b), and what the derivative reads."""
    check_forward(*layer_arrays((7, 16, 17)), activation, dtype, backend)


@each_backend
@each_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_forward_of_many_shapes_equals_the_oracle(shape, dtype, backend):
    """Beside the edges of vectors and tiles."""
    check_forward(*layer_arrays(shape), "softplus", dtype, backend)


# ------------------------------------------------------------------------------------------------------ backward
def backward_arrays(shape):
    """x, w, z, d_out of a layer, numbers that both precisions hold."""
    x, w, b = layer_arrays(shape)
    d_out = np.random.default_rng(1).normal(size=(len(x), len(b)))
    return [x, w, *map(float32_numbers, (x @ w + b, d_out))]


@each_backend
@each_dtype
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_dense_backward_equals_the_oracle(activation, dtype, backend):
    """dx, dw, db; what was given stays as it was."""
    check_backward(*backward_arrays((7, 16, 17)), activation, dtype, backend)


@each_backend
@each_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_backward_of_many_shapes_equals_the_oracle(shape, dtype, backend):
    """Beside the edges of vectors and tiles."""
    check_backward(*backward_arrays(shape), "sigmoid", dtype, backend)


@each_backend
def test_the_kernels_of_a_layer_fit_together(backend):
    """What forward keeps, backward reads: the gradient of sum(out * c) is that of finite differences, in float64."""
    x, w, b = layer_arrays((5, 3, 4))
    c = np.random.default_rng(2).normal(size=(5, 4))
    kept = np.empty((5, 4))
    kernels.dense_forward(x, w, b, "tanh", kept=kept, backend=backend)
    gradients = kernels.dense_backward(x, w, kept, c, "tanh", backend=backend)
    h = 2.0**-10
    for k, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            values = []
            for step in (-2, -1, 1, 2):
                moved = [a.copy() for a in (x, w, b)]
                moved[k][index] += step * h
                values.append(float((kernels.dense_forward(*moved, "tanh", backend=backend) * c).sum()))
            difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
            # h^4/30 times the fifth derivative, at most 16 |w|^5 a term; and 1.5 roundings over the step.
            truncation = h**4 / 30 * 16 * abs(c).sum() * max(abs(x).max(), abs(w).max(), 1.0) ** 5
            rounding = 1.5 * gamma(60, np.float64) * abs(c).sum() / h
            assert_within(gradient[index], difference, truncation + rounding, f"gradient {k} at {index}")


# -------------------------------------------------------------------------------------------------------- losses
@each_backend
@each_dtype
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_loss_gradient_equals_the_oracle(loss, weighted, dtype, backend):
    """The weighted mean, and exactly its gradient."""
    draw = np.random.default_rng(4)
    n_outputs = admitted_outputs(LOSSES[loss], 5)
    scores, targets = float32_numbers(2.0 * draw.normal(size=(13, n_outputs))), random_target(draw, loss, 13, n_outputs)
    weight = draw.uniform(0.25, 2.0, size=13) if weighted else None
    check_loss_gradient(scores, targets, weight, loss, dtype, backend)


@each_backend
def test_rows_of_probabilities_are_targets_of_a_cross_entropy(backend):
    """The gradient is that of finite differences."""
    draw = np.random.default_rng(5)
    scores, targets = draw.normal(size=(4, 3)), draw.dirichlet(np.ones(3), size=4)
    _, gradient = kernels.loss_gradient(scores, targets, "softmax_cross_entropy", backend=backend)
    h = 2.0**-10
    for index in np.ndindex(scores.shape):
        values = []
        for step in (-2, -1, 1, 2):
            moved = scores.copy()
            moved[index] += step * h
            values.append(kernels.loss_gradient(moved, targets, "softmax_cross_entropy", backend=backend)[0])
        difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        # Derivatives of log-sum-exp are bounded by those of the sigmoid; the fifth by 1/4.
        bound = h**4 / 120 + 1.5 * gamma(60, np.float64) * (1 + abs(scores).max()) / h
        assert_within(gradient[index], difference, bound)


@each_backend
def test_targets_and_weights_pass_the_same_door_as_a_models(backend):
    """Labels out of range, a wrong kind, weights that are all zero."""
    scores = np.zeros((3, 4))
    for targets, loss, weight, fragment in (
        ([0, 1, 4], "softmax_cross_entropy", None, "targets[2]"),
        ([0.0, 1.0, 2.0], "softmax_cross_entropy", None, "dtype float64"),
        (np.full((3, 4), 2.0), "binary_cross_entropy", None, "from 0 to 1"),
        (np.full((3, 4), np.nan), "mean_squared_error", None, "nan"),
        (np.zeros((3, 3)), "mean_squared_error", None, "(3, 3)"),
        (np.zeros((3, 4)), "mean_squared_error", np.zeros(3), "zero"),
        (np.zeros((3, 4)), "mean_squared_error", [1.0, -1.0, 1.0], "sample_weight[1]"),
    ):
        with pytest.raises((ValueError, TypeError), match="(?s)got .+, expected .+; ") as caught:
            kernels.loss_gradient(scores, targets, loss, weight, backend=backend)
        assert fragment in str(caught.value)


# ---------------------------------------------------------------------------------------------------- optimizers
@each_backend
@each_dtype
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_parameter_update_follows_the_oracle(rule, dtype, backend):
    """Thirty steps along given gradients, in place, on a matrix."""
    draw = np.random.default_rng(6)
    start, gradients = float32_numbers(draw.normal(size=(3, 5))), float32_numbers(draw.normal(size=(30, 3, 5)))
    check_parameter_update(start, gradients, rule, dtype, backend)


@each_backend
def test_states_are_counted(backend):
    """One array for each state of the rule; the refusal names them."""
    w = np.ones(3)
    for states in ([], [np.zeros(3)], [np.zeros(3)] * 3):
        with pytest.raises(ValueError, match=r"states: got .+, expected .+; ") as caught:
            kernels.parameter_update(w, np.ones(3), [s.copy() for s in states], "adam", backend=backend)
        assert "(m, v)" in str(caught.value)
    with pytest.raises(ValueError, match="step: got 0, expected .+; "):
        kernels.parameter_update(w, np.ones(3), [], "sgd", 0, backend=backend)
    assert w.tolist() == [1.0, 1.0, 1.0]


# --------------------------------------------------------------------------------------------- out, layouts, names
@each_backend
@each_dtype
def test_out_is_filled_and_returned(dtype, backend):
    """With the bits that are returned without it."""
    x, w, b = (a.astype(dtype) for a in layer_arrays((5, 4, 3)))
    out = np.full((5, 3), np.nan, dtype)
    assert kernels.dense_forward(x, w, b, "relu", out=out, backend=backend) is out
    assert_same_bits(out, kernels.dense_forward(x, w, b, "relu", backend=backend))
    outs = tuple(np.full(shape, np.nan, dtype) for shape in ((5, 4), (4, 3), (3,)))
    d_out = np.ones((5, 3), dtype)
    results = kernels.dense_backward(x, w, out, d_out, "relu", out=outs, backend=backend)
    assert all(one is other for one, other in zip(results, outs, strict=True))
    assert_same_bits(results, kernels.dense_backward(x, w, out, d_out, "relu", backend=backend))
    partly = kernels.dense_backward(x, w, out, d_out, "relu", out=(None, outs[1], None), backend=backend)
    assert partly[1] is outs[1]
    assert_same_bits(partly, results)
    d_scores = np.full((5, 3), np.nan, dtype)
    loss, gradient = kernels.loss_gradient(out, [0, 1, 2, 0, 1], "multiclass_hinge", out=d_scores, backend=backend)
    assert gradient is d_scores
    assert loss == kernels.loss_gradient(out, [0, 1, 2, 0, 1], "multiclass_hinge", backend=backend)[0]


@each_backend
@settings(max_examples=20, deadline=None)
@given(
    dims=st.fixed_dictionaries({letter: st.integers(1, 20) for letter in "NIO"}),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["fortran", "strided", "backwards", "read-only"]),
)
def test_every_layout_gives_the_bits_of_contiguous_arrays(backend, dims, dtype, layout):
    """Of every input of the two kernels of a layer, drawn from their contracts."""

    def arranged(array):
        if layout == "fortran":
            return np.asfortranarray(array)
        if layout == "strided":
            return np.repeat(array, 2, axis=0)[::2]
        copy = array[::-1].copy()[::-1]
        copy.flags.writeable = layout != "read-only"
        return copy

    for name in ("dense_forward", "dense_backward"):
        arrays = kernels.CONTRACTS[name].draw(np.random.default_rng(0), dims, dtype)
        run = getattr(kernels, name)
        results, expected = (
            run(*given_arrays, "softplus", backend=backend)
            for given_arrays in ([arranged(a) for a in arrays.values()], arrays.values())
        )
        assert_same_bits(results, expected)


@each_backend
def test_wrong_arguments_are_refused_in_every_backend(backend):
    """The door stands before the backends; nothing is written."""
    x, w, b = layer_arrays((5, 4, 3))
    out = np.zeros((5, 3))
    for call in (
        lambda: kernels.dense_forward(x, w.T, b, out=out, backend=backend),
        lambda: kernels.dense_forward(x, w, b[:2], out=out, backend=backend),
        lambda: kernels.dense_forward(x.astype(np.float32), w, b, out=out, backend=backend),
        lambda: kernels.dense_forward(x, w, b, out=out, kept=out, backend=backend),
        lambda: kernels.dense_forward(x, w, b, out=out, kept=x[:, :3], backend=backend),
        lambda: kernels.dense_backward(x, w, out, out, out=(x, None, None), backend=backend),
        lambda: kernels.dense_backward(x, w, out, out, out=(None, None), backend=backend),
        lambda: kernels.dense_backward(x, w, out, out, out=out, backend=backend),
    ):
        with pytest.raises((ValueError, TypeError), match="(?s)^dense_.+: got .+, expected .+; "):
            call()
    with pytest.raises(ValueError, match="unknown activation 'rellu'; did you mean 'relu'"):
        kernels.dense_forward(x, w, b, "rellu", out=out, backend=backend)
    assert not out.any()


def test_an_unknown_backend_is_refused():
    """With the nearest name."""
    with pytest.raises(ValueError, match="unknown backend 'nunpy'; did you mean 'numpy'.+known: cython, numba, numpy"):
        kernels.dense_forward(*layer_arrays((1, 1, 1)), backend="nunpy")
    with pytest.raises(TypeError, match="backend: got 3"):
        kernels.dense_forward(*layer_arrays((1, 1, 1)), backend=3)


@each_backend
def test_a_configured_activation_is_used_as_it_is(backend):
    """Not as its name says by default."""
    x, w, b = np.array([[-4.0]]), np.array([[1.0]]), np.zeros(1)
    steep = fg.activations.leaky_relu(slope=0.25)
    assert kernels.dense_forward(x, w, b, steep, backend=backend).item() == -1.0
    dx, _, _ = kernels.dense_backward(x, w, np.array([[-1.0]]), np.array([[1.0]]), steep, backend=backend)
    assert dx.item() == 0.25
