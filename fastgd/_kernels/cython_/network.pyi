from collections.abc import Iterable, Sequence
from typing import Any

import numpy

from ..._formula import Loss, OptimizerRule
from ..backend import Array, LayerSpec, StepSpec
from ..rows import SparseRows

RESTING_RULES: tuple[str, ...]
RESTING_AT_ZERO: tuple[str, ...]

class Network:
    @property
    def n_inputs(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def dtype(self) -> numpy.dtype[Any]: ...
    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[LayerSpec],
        loss: Loss | None,
        rule: OptimizerRule | None,
        dtype: Any,
        step: StepSpec = ...,
    ) -> None: ...
    def get_weights(self) -> list[Array]: ...
    def set_weights(self, weights: Iterable[Array]) -> None: ...
    def get_statistics(self) -> list[Array]: ...
    def set_statistics(self, statistics: Iterable[Array]) -> None: ...
    def get_slots(self) -> list[list[Array]]: ...
    def set_slots(self, slots: Sequence[Sequence[Array]]) -> None: ...
    def takes(self, X: Any) -> bool: ...
    def takes_batch(self, X: Any, targets: Any) -> bool: ...
    def takes_output(self, X: Any, out: Any, layer: int) -> bool: ...
    def train(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        epoch: int,
        step: int,
        n_steps: int,
        steps_before: int,
        scalars: Array,
        losses: Array,
        n_threads: int,
        order: Array | None = None,
        penalty_scales: Array | None = None,
    ) -> tuple[int, int]: ...
    def evaluate(
        self, X: Array | SparseRows, targets: Array, weights: Array | None, *, n_threads: int
    ) -> tuple[float, float, float]: ...
    def loss_and_gradients(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        seed: int,
        steps_before: int,
        n_threads: int,
    ) -> tuple[float, list[Array]]: ...
    def predict(self, X: Array | SparseRows, out: Array, *, link: bool, layer: int, n_threads: int) -> None: ...
    def embedded(self, next_scalars: Any) -> Any: ...
