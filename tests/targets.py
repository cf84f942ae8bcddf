"""Random targets of each kind that a loss may take."""

from __future__ import annotations

import numpy as np


def draw_targets(draw: np.random.Generator, kind: str, n: int, n_outputs: int) -> np.ndarray:
    """Rows (n, n_outputs) of numbers that float32 holds, or labels (n,); none of them is near where its kind ends."""
    shape = (n, n_outputs)
    if kind in ("class", "label"):
        return draw.integers(n_outputs, size=n)
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
