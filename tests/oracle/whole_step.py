"""What is done with all gradients before an optimizer's rule, and with all weights after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def clip_by_norm(gradients: Sequence[np.ndarray], clip_norm: float, slack: float = 0.0) -> list[np.ndarray]:
    """Gradients shortened to the norm that all of them together may have; PyTorch adds a slack to what they have."""
    norm = np.sqrt(sum((g**2).sum() for g in gradients)) + slack
    return [g * min(1.0, clip_norm / norm) for g in gradients]


def constrain(W: np.ndarray, nonnegative: bool, max_norm: float) -> np.ndarray:
    """The projection: first onto the nonnegative weights, then each column onto the ball."""
    if nonnegative:
        W = np.maximum(W, 0.0)
    return np.column_stack([w * min(1.0, max_norm / np.linalg.norm(w)) if w.any() else w for w in W.T])


def exponential_mean(positions: Sequence[np.ndarray], decay: float) -> np.ndarray:
    """The mean after the last position; it begins with the first."""
    average = positions[0]
    for w in positions[1:]:
        average = decay * average + (1.0 - decay) * w
    return average


def tail_mean(positions: Sequence[np.ndarray], first: int) -> np.ndarray:
    """The mean of the positions from number `first` on, counted from 1; before it the last position."""
    return np.mean(positions[first - 1 :], axis=0) if len(positions) >= first else positions[-1]
