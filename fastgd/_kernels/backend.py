"""What every backend offers: functions on plain arrays, and a network that is trained in one call.

Whoever calls a backend has checked everything; a backend checks nothing and never raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._formula import Activation, Loss, OptimizerRule
    from .rows import SparseRows

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DenseSpec:
    """One dense layer as a backend sees it: a = f(x W + b), with the penalty l2/2 ||W||^2 + l1 ||W||_1.

    After each step weights below zero become zero, if `nonnegative`, and then columns of W longer than `max_norm`, if
    that is not 0, are shortened to it.
    """

    n_outputs: int
    activation: Activation
    l1: float = 0.0
    l2: float = 0.0
    nonnegative: bool = False
    max_norm: float = 0.0

    kind: ClassVar[str] = "dense"


@dataclass(frozen=True)
class DropoutSpec:
    """In training each element is zero with this probability, the others are divided by one less it."""

    rate: float

    kind: ClassVar[str] = "dropout"


@dataclass(frozen=True)
class SoftmaxSpec:
    """Each row's e^(x - max) over their sum."""

    kind: ClassVar[str] = "softmax"


@dataclass(frozen=True)
class BatchNormSpec:
    """a = f(gain x' + shift), x' being x normalised by mean and variance of its columns.

    In training they are the batch's own, else running ones. These become (1 - momentum) times themselves plus momentum
    times the batch's, with the unbiased variance.
    """

    eps: float
    momentum: float
    activation: Activation

    kind: ClassVar[str] = "batch_norm"


@dataclass(frozen=True)
class LayerNormSpec:
    """a = f(gain x' + shift), x normalised by mean and variance of its rows."""

    eps: float
    activation: Activation

    kind: ClassVar[str] = "layer_norm"


@dataclass(frozen=True)
class StepSpec:
    """What is done in a step besides the rule.

    Before it all gradients, penalties included, are multiplied by clip_norm / (norm + clip_slack), if that is below 1.
    After it, and after the constraints, average <- (1 - share) average + share w for all parameters, if they are to be
    averaged. With `accumulate` above 1, the gradients of so many batches are added up first, and their mean is clipped.
    """

    clip_norm: float = math.inf
    clip_slack: float = 0.0
    averages: bool = False
    accumulate: int = 1


PLAIN_STEP = StepSpec()


LayerSpec = DenseSpec | DropoutSpec | SoftmaxSpec | BatchNormSpec | LayerNormSpec


class Network(Protocol):
    """Weights, optimizer state and the loops over them. W is (n_inputs, n_outputs), b is (n_outputs,); gain, shift and
    running statistics of a normalisation are (n_outputs,).

    X is any real 2-D array, whatever its strides, or `SparseRows` where the first layer is dense. Targets are intp
    labels (n,) or floating rows (n, n_outputs);
    weights are float64 (n,) or None.
    """

    def __init__(
        self,
        n_inputs: int,
        layers: Sequence[LayerSpec],
        loss: Loss | None,
        rule: OptimizerRule | None,
        dtype: Any,
        step: StepSpec = ...,
    ) -> None: ...

    def get_weights(self) -> list[Array]:
        """Fresh copies: [W1, b1, W2, ...], with gain and shift of a normalisation in its place."""

    def set_weights(self, weights: Iterable[Array | Iterator[Array]]) -> None:
        """Replace all of them, one after the other, by real numbers of any dtype; a matrix may come in pieces."""

    def get_statistics(self) -> list[Array]:
        """Fresh copies of running means and variances: [mean, variance] of each batch normalisation."""

    def set_statistics(self, statistics: Iterable[Array]) -> None:
        """Replace all of them."""

    def get_slots(self) -> list[list[Array]]:
        """For each state of the rule, the average and the sum of gradients, if any, what `get_weights` gives."""

    def set_slots(self, slots: Sequence[Sequence[Array]]) -> None:
        """Replace all of them."""

    def takes(self, X: Any) -> bool:
        """Whether X, which may be anything, is an array that the door would pass on as it is; at a quick look.

        True spares the door's many looks. False says nothing: it is for the door to find out, and to say what is wrong.
        """

    def takes_batch(self, X: Any, targets: Any) -> bool:
        """The same of X and targets together."""

    def takes_output(self, X: Any, out: Any, layer: int) -> bool:
        """The same of X and an array for the outputs of a layer."""

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
    ) -> tuple[int, int]:
        """Run `n_steps` steps, from step `step` of epoch `epoch` on, rolling over the ends of epochs.

        Rows are taken in `order`, intp and contiguous: (n,) for every epoch touched, or (n_epochs, n) with a row for
        each; without it in one drawn from seed and epoch if `shuffle`, else as they lie. The layers' penalties are
        multiplied by `penalty_scales`, float64 (n_steps,) and contiguous, of each step; without them they are as given.

        Adds to ``losses[k]``, for the k-th epoch touched, sum(w_i l_i) with the penalty times sum(w_i), and
        sum(w_i). A batch whose weights sum to zero changes nothing. Returns a status and the number of steps done:
        0, all of them; 1, the next step's loss is not finite; 2, the last step would have made weights non-finite,
        and those kept their values. So the weights are finite whatever happens.

        `steps_before` numbers the first of these steps among all: with `seed` it decides what dropout draws.

        `scalars` has a row for each step: those of the rule for all parameters, or for weights, then for biases; and
        then, where parameters are averaged, the share of the newest; and then, where gradients are accumulated, whether
        the parameters change after this batch.
        """

    def evaluate(
        self, X: Array | SparseRows, targets: Array, weights: Array | None, *, n_threads: int
    ) -> tuple[float, float, float]:
        """sum(w_i l_i) without penalties, sum(w_i), and sum(w_i correct_i) or NaN where nothing is correct."""

    def loss_and_gradients(
        self,
        X: Array | SparseRows,
        targets: Array,
        weights: Array | None,
        *,
        seed: int,
        steps_before: int,
        n_threads: int,
    ) -> tuple[float, list[Array]]:
        """The weighted mean with penalties, and its gradients in the order of `get_weights`.

        Both as step number `steps_before` would see them; running statistics stay.
        """

    def predict(self, X: Array | SparseRows, out: Array, *, link: bool, layer: int, n_threads: int) -> None:
        """Write the activations of a layer to `out`; of the last one with the loss's link if asked."""


class LinearDescent(Protocol):
    """One fit of a linear model, row by row or by small batches: scores X W^T + b, W being (n_outputs, n_features).

    X is a C-contiguous array of the dtype of W, or a CSR matrix of it with no column twice in a row; b is float64. W
    and b, and their means over the steps from `average_from` on, are updated in place.

    Targets are intp labels (n,), of which each output takes one of `labels` for 1 and the others for `other_target`;
    or numbers (n,) of the dtype of W. Weights of rows are float64 or None; each output multiplies them by the second
    of its `class_weights`, (n_outputs, 2), where the target is above 0, and elsewhere by the first. A loss over rows
    takes all outputs at once, and the second weight of the row's label.

    `step` 0: for each batch of rows, all scored before, W <- max(0, 1 - rate l2) W - rate sum(w l' x) / sum(w), but
    with a `batch_size` of 1 not divided; slopes l' are clipped to 1e12. b likewise, `intercept_share` times as fast
    and without l2; then the cumulative l1 penalty of Tsuruoka, Tsujii & Ananiadou, ACL
    2009, of the columns that the batch has. 1 and 2: the passive-aggressive steps of Crammer et al., JMLR 2006, whose
    aggressiveness is the rate.
    """

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
    ) -> tuple[int, int, Array]:
        """Train the outputs that are `active` (uint8) for some epochs, with a rate for each step, times their `pace`.

        `order`, intp, is permuted in place before each epoch: order <- order[permutation].

        Returns the number of epochs done; a status, 0 or, where weights are not finite any more, 2; and the objective
        of each output in the last epoch: the mean loss, and the penalty unless `step` is 1 or 2. A loss over rows has
        one objective, which is the first output's. It ends early once some output's has been above its `best` less tol
        in `patience` epochs in a row, as `n_worse` counts; 0: never. Objectives that are neither `watched` nor
        needed for that may be NaN.
        """


class Backend(Protocol):
    """A module with these names is a backend."""

    LinearDescent: type[LinearDescent]
    Network: type[Network]

    def dense_forward(
        self, x: Array, w: Array, b: Array, activation: Activation, out: Array, kept: Array | None
    ) -> None:
        """out = f(x w + b); kept, if given, receives what the derivative reads."""

    def dense_backward(
        self,
        x: Array,
        w: Array,
        kept: Array,
        d_out: Array,
        activation: Activation,
        dx: Array,
        dw: Array,
        db: Array,
    ) -> None:
        """dz = d_out f'(kept); dx = dz w^T, dw = x^T dz, db = the sum of dz over rows."""

    def loss_gradient(self, scores: Array, targets: Array, loss: Loss, weights: Array | None, d_scores: Array) -> float:
        """The weighted mean loss; d_scores is its gradient."""

    def parameter_update(
        self, w: Array, g: Array, states: Sequence[Array], rule: OptimizerRule, scalars: Array
    ) -> None:
        """One step in place, with the rule's scalars in its order."""

    def permutation(self, seed: int, epoch: int, n: int) -> Array:
        """The order of n rows in an epoch, intp."""

    def xorshift_permutation(self, n: int, seed: int) -> Array:
        """0 to n-1 in the order that scikit-learn's linear models shuffle rows to, intp."""

    def uniform(self, seed: int, stream: int, substream: int, count: int, start: int = 0) -> Array:
        """`count` draws of a stream, from number `start` on, which is even: float64 in [0, 1)."""

    def first_nonfinite(self, array: Array, dtype: Any) -> tuple[int, int] | None:
        """Row and column of the first element of a floating 2-D array that is not finite in `dtype`, or None."""

    def instruction_set(self) -> str:
        """What the kernels were compiled for, of those that this processor has."""
