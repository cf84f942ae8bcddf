from typing import Any

from ..._formula import Loss
from ..backend import Array

def xorshift_permutation(n: int, seed: int) -> Array: ...

class LinearDescent:
    best: Array
    n_worse: Array
    pace: Array
    def __init__(
        self,
        X: Any,
        targets: Array,
        weights: Array | None,
        W: Array,
        b: Array,
        *,
        loss: Loss,
        step: int,
        l1: float,
        l2: float,
        batch_size: int,
        intercept_share: float,
        labels: Array,
        class_weights: Array,
        other_target: float,
        average_from: int = 0,
        mean_W: Array | None = None,
        mean_b: Array | None = None,
    ) -> None: ...
    def run(
        self,
        order: Array,
        permutation: Array | None,
        rates: Array,
        *,
        steps_before: int,
        active: Array,
        n_epochs: int,
        tol: float,
        patience: int,
        watched: bool = True,
    ) -> tuple[int, int, Array]: ...
