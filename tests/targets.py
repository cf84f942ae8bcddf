"""Random targets of each kind that a loss may take."""

from __future__ import annotations

import numpy as np


def admitted_outputs(loss: object, n_outputs: int) -> int:
    """The number of outputs from `n_outputs` on that a loss, ours or the oracle's, can be taken of."""
    least = 2 if loss.target in ("class", "label") else 1
    each = loss.outputs_per_target
    return -(-max(n_outputs, least) // each) * each


def targets_of(draw: np.random.Generator, loss: object, n: int, n_outputs: int) -> np.ndarray:
    """Targets that a loss, ours or the oracle's, takes for so many outputs."""
    return draw_targets(draw, loss.target, n, n_outputs // loss.outputs_per_target)


def draw_targets(draw: np.random.Generator, kind: str, n: int, n_targets: int) -> np.ndarray:
    """Rows (n, n_targets) of numbers that float32 holds, or labels (n,); none of them is near where its kind ends."""
    shape = (n, n_targets)
    if kind in ("class", "label"):
        return draw.integers(n_targets, size=n)
    if kind == "identity":
        return draw.permutation(n) % 3
    if kind == "probability":
        return draw.choice([0.0, 0.25, 1.0], size=shape)
    if kind == "sign":
        return draw.choice([-1.0, 1.0], size=shape)
    numbers = draw.normal(size=shape)
    if kind == "nonnegative":
        numbers = np.maximum(numbers, 0.0)
    if kind == "positive":
        numbers = abs(numbers) + 0.25
    if kind == "nonzero":
        numbers = np.copysign(abs(numbers) + 0.25, numbers)
    return np.asarray(numbers, np.float32).astype(float)
