"""One call of a public kernel on arrays that are given, within its bound of the textbook.

What lies beyond the largest number of a precision is infinite there, and no NaN. What lies below its smallest normal
one may be taken for zero, before a product as well as after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from counterparts import HYPERPARAMETERS, optimizer_named, oracle_network, oracle_rule
from oracle import activations as oracle_activations
from oracle import losses as oracle_losses
from oracle import optimizers as oracle_optimizers
from tolerances import (
    assert_same_bits,
    assert_within,
    change_within,
    derivative_bound,
    forward_bounds,
    gamma,
    loss_bound,
    loss_gradient_bound,
    smallest_normal,
    trajectory_bound,
)

from fastgd import kernels
from fastgd._formula import ACTIVATIONS

Arrange = Callable[[np.ndarray], np.ndarray]


def as_it_is(array: np.ndarray) -> np.ndarray:
    """The array."""
    return array


def cast(arrays: Sequence[np.ndarray], dtype: str, arrange: Arrange) -> list[np.ndarray]:
    """The same numbers in that dtype, laid out in that way."""
    return [arrange(a.astype(dtype)) for a in arrays]


def assert_within_range(
    actual: object, expected: object, bound: object, dtype: str, what: str, factor: object = 1.0
) -> None:
    """`assert_within`, where what is expected is well within the range of the dtype, before a last factor too."""
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    bound, factor = (np.broadcast_to(np.asarray(a, float), expected.shape) for a in (bound, factor))
    with np.errstate(over="ignore", invalid="ignore"):
        size = (abs(expected) + bound) / np.where((factor > 0) & (factor < 1), factor, 1.0)
        # A formula may come by a hundred times its result: an exponential, before a small target multiplies it.
        within = size <= np.finfo(dtype).max / 100
    assert not np.isnan(actual).any(), f"{what}: NaN"
    assert_within(*(np.where(within, a, 0.0) for a in (actual, expected, bound)), what)


def flushed(x: np.ndarray, w: np.ndarray, dtype: str) -> np.ndarray:
    """What a product of matrices loses where its factors, or their products, are below the smallest normal number."""
    lost = 1.0 + abs(x).sum(axis=1, keepdims=True) + abs(w).sum(axis=0, keepdims=True) + len(w)
    return smallest_normal(dtype) * lost


def check_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    activation: str,
    dtype: str,
    backend: str,
    arrange: Arrange = as_it_is,
) -> None:
    """f(x w + b), and what the derivative reads."""
    network = oracle_network([activation], "mean_squared_error")
    output_errors, sum_errors = forward_bounds(network, [w, b], x, dtype)
    lost = flushed(x, w, dtype)
    lost_out = lost + change_within(network.layers[0].activation.value, x @ w + b, lost)
    kept = np.empty((len(x), len(b)), dtype)
    out = kernels.dense_forward(*cast([x, w, b], dtype, arrange), activation, kept=kept, backend=backend)
    assert out.dtype == dtype
    assert_within_range(out, network.scores([w, b], x), output_errors[-1] + lost_out, dtype, "out")
    if ACTIVATIONS[activation].derivative_of == "output":
        assert kept.tobytes() == out.tobytes()
    else:
        assert_within_range(kept, x @ w + b, sum_errors[-1] + lost, dtype, "kept")


def check_backward(
    x: np.ndarray,
    w: np.ndarray,
    z: np.ndarray,
    d_out: np.ndarray,
    activation: str,
    dtype: str,
    backend: str,
    arrange: Arrange = as_it_is,
) -> None:
    """Gradients of one layer whose sums are z, numbers of the dtype, from what the textbook's forward pass keeps."""
    textbook = oracle_activations.ACTIVATIONS[activation]
    kept = textbook.value(z) if ACTIVATIONS[activation].derivative_of == "output" else z
    given = cast([x, w, kept, d_out], dtype, arrange)
    dx, dw, db = kernels.dense_backward(*given, activation, backend=backend)
    slope = textbook.derivative(z)
    dz = d_out * slope
    error = abs(d_out) * derivative_bound(textbook, z, dtype) + gamma(2, dtype) * abs(dz)
    # Beside a kink, a sum that is taken for zero is on the other side.
    moved = change_within(textbook.derivative, z, np.full_like(z, smallest_normal(dtype)))
    error = error + abs(d_out) * moved + smallest_normal(dtype) * (1.0 + abs(slope))
    # The bounds are of quantities that are off by the error themselves: once more of the same order covers it.
    for name, actual, expected, bound in (
        ("dx", dx, dz @ w.T, 2 * (error + gamma(w.shape[1], dtype) * abs(dz)) @ abs(w).T + flushed(dz, w.T, dtype)),
        ("dw", dw, x.T @ dz, 2 * abs(x).T @ (error + gamma(len(x), dtype) * abs(dz)) + flushed(x.T, dz, dtype)),
        ("db", db, dz.sum(axis=0), 2 * (error + gamma(len(x), dtype) * abs(dz)).sum(axis=0)),
    ):
        assert actual.dtype == dtype
        assert_within_range(actual, expected, bound + smallest_normal(dtype), dtype, name)
    assert_same_bits(given[3], d_out.astype(dtype), "d_out")


def check_loss_gradient(
    scores: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray | None,
    loss: str,
    dtype: str,
    backend: str,
    arrange: Arrange = as_it_is,
) -> None:
    """The weighted mean, and exactly its gradient."""
    textbook, n = oracle_losses.LOSSES[loss], len(scores)
    value, gradient = kernels.loss_gradient(
        arrange(scores.astype(dtype)), arrange(targets), loss, weight, backend=backend
    )
    assert type(value) is float
    assert gradient.dtype == dtype
    with np.errstate(over="ignore", invalid="ignore"):
        mean = oracle_losses.mean_loss(textbook, scores, targets, weight)
        by_scores = oracle_losses.mean_loss_gradient(textbook, scores, targets, weight)
        textbook = oracle_losses.under_weights(textbook, weight)
        bounds = loss_bound(textbook, scores, targets, dtype)
        row_bounds = bounds if textbook.rowwise else bounds.mean(axis=1)
        terms = oracle_losses.row_values(textbook, scores, targets)
        of_rows = oracle_losses.weighted_mean(row_bounds + gamma(2 * n, np.float64) * abs(terms), weight)
        scales = oracle_losses.row_scales(textbook, scores, weight)
        of_gradient = 2 * scales * loss_gradient_bound(textbook, scores, targets, dtype)
        if not textbook.rowwise:
            # Beside a kink, a score that is taken for zero is on the other side.
            tiny = np.full_like(scores, smallest_normal(dtype))
            moved = change_within(lambda s: textbook.gradient(s, targets), scores, tiny)
            of_gradient = of_gradient + 2 * scales * moved
    assert_within_range(value, mean, of_rows + smallest_normal(dtype), dtype, loss)
    of_gradient = of_gradient + smallest_normal(dtype)
    assert_within_range(gradient, by_scores, of_gradient, dtype, f"gradient of {loss}", factor=scales)


def check_parameter_update(
    start: np.ndarray,
    gradients: np.ndarray,
    rule: str,
    dtype: str,
    backend: str,
    arrange: Arrange = as_it_is,
) -> None:
    """Some steps along gradients that are given, in place."""
    optimizer = optimizer_named(rule, **HYPERPARAMETERS[rule])
    w = start.astype(dtype)
    states = [np.full_like(w, value) for value in optimizer.initial_states().values()]
    path = []
    for step, g in enumerate(gradients, 1):
        kernels.parameter_update(w, arrange(g.astype(dtype)), states, optimizer, step, backend=backend)
        path.append(w.copy())
    new_rule = oracle_rule(rule, **HYPERPARAMETERS[rule])
    expected = oracle_optimizers.trajectory(new_rule(), start, gradients)
    assert_within(path, expected, trajectory_bound(new_rule, start, gradients, dtype), rule)
