"""Targets of the kind that a loss takes, none of them extreme."""

from __future__ import annotations

import numpy as np


def admitted_outputs(loss, outputs: int) -> int:
    """Return the number of outputs, from the given one on, that a loss can be taken of."""
    return outputs + -outputs % loss.outputs_per_target


def draw_targets(loss, rows: int, outputs: int, dtype: str) -> np.ndarray:
    """Return labels, signs, or numbers between 0 and 1, for scores of shape (rows, outputs)."""
    if loss.takes_labels:
        return np.arange(rows) % outputs
    random, shape = np.random.default_rng(1), (rows, outputs // loss.outputs_per_target)
    if loss.target == "sign":
        return random.choice([-1.0, 1.0], shape).astype(dtype)
    return random.uniform(0.1, 0.9, shape).astype(dtype)
