"""`check_gradients`: back-propagation against differences of the loss, for models and for formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import kernels
from ._formula import Activation, Loss
from ._formula.interval import check
from .differences import CENTRAL_STEP, EPS
from .errors import refusal
from .inputs import read_count, real_array
from .model import Sequential

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._kernels import Array

__all__ = ["CheckedArray", "GradientCheck", "check_gradients"]

# How many roundings of the largest value are in a difference of two: a loss is a sum of many terms.
ROUNDINGS = 64.0

# Points for an activation: none of them at a kink, and some far out.
POINTS = np.concatenate([np.linspace(-6.0, 6.0, 97) + 1 / 64, [-30.0, 30.0]])

OUTPUTS, ROWS = 3, 32


@dataclass(frozen=True)
class CheckedArray:
    """What was found of one array of parameters.

    Attributes
    ----------
    name : str
        Such as ``layers[0].W``.
    shape : tuple of int
    n_checked : int
        Components of the gradient; a direction through all of them is checked besides.
    n_kinks : int
        Of these, how many lie at a kink, where any value between the two one-sided derivatives is right.
    largest_error : float
        The largest relative error.
    where : str
        Where that is: an index, or "a random direction".
    analytic, numeric : float
        The derivatives there.
    passed : bool
        Whether all are right.
    """

    name: str
    shape: tuple[int, ...]
    n_checked: int
    n_kinks: int
    largest_error: float
    where: str
    analytic: float
    numeric: float
    passed: bool


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """What `check_gradients` found. True if all gradients are right; printed, it is a table.

    Attributes
    ----------
    arrays : tuple of CheckedArray
    tol : float
    """

    arrays: tuple[CheckedArray, ...]
    tol: float

    @property
    def passed(self) -> bool:
        """Whether all gradients are right."""
        return all(array.passed for array in self.arrays)

    @property
    def largest_error(self) -> float:
        """The largest relative error of all."""
        return max(array.largest_error for array in self.arrays)

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        lines = [f"{'array':<20}{'shape':>14}{'checked':>9}{'kinks':>7}{'relative error':>16}"]
        for array in self.arrays:
            shape = "x".join(map(str, array.shape))
            counts = f"{shape:>14}{array.n_checked:>9}{array.n_kinks:>7}"
            lines.append(f"{array.name:<20}{counts}{array.largest_error:>16.1e}  {'ok' if array.passed else 'WRONG'}")
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        wrong = [array for array in self.arrays if not array.passed]
        if not wrong:
            return f"The gradients are right, to a relative error of at most {self.tol:g}."
        worst = max(wrong, key=lambda array: array.largest_error)
        return (
            f"The gradients are WRONG: by {worst.where} of {worst.name} back-propagation gives {worst.analytic:.9g}, "
            f"differences give {worst.numeric:.9g}."
        )


def check_gradients(
    subject: Sequential | Activation | Loss,
    X: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    *,
    tol: float = 1e-6,
    n_components: int = 30,
    seed: int = 0,
    backend: str = "cython",
) -> GradientCheck:
    """Compare gradients with differences of the values.

    Parameters
    ----------
    subject : Sequential, Activation or Loss
        A model; or a formula, such as one of your own.
    X : array_like
        For a model, rows as for ``fit``; for an activation, points, and for a loss, scores (n, n_outputs), of which
        there are some by default.
    y : array_like
        For a model and for a loss, targets as for ``fit``.
    sample_weight : array_like of shape (n,), optional
        For a model.
    tol : float
        The relative error to be admitted.
    n_components : int
        How many components of each array are looked at one by one; all, if there are not more. The others are seen by
        their sum along a random direction.
    seed : int
        Decides which components and directions.
    backend : {"cython", "numpy"}
        For a formula; one of your own needs "numpy". A model has its own.

    Returns
    -------
    GradientCheck
        True if all is right. Printed, a table by layers with relative errors, and a verdict.

    Raises
    ------
    ValueError, TypeError
        For input that is refused.

    Notes
    -----
    The derivative along a direction d is (f(x + h d) - f(x - h d)) / (2 h), with h = eps^(1/3) max(1, ||x||). The
    relative error is ``|analytic - numeric| / max(|analytic|, |numeric|, r / tol)``, where r is what rounding may do to
    the difference: ``64 eps |f| / h``. Where relu or an absolute value has a kink within reach, h is made
    shorter; where that does not help, as at the kink itself, any value between the two one-sided derivatives is right.

    Everything is computed in float64, in a copy of the model: a float32 model has the same formulas, and the model
    itself stays as it is. The loss is that of a training step, all along with the same mask of a dropout.

    References
    ----------
    Bengio, Practical recommendations for gradient-based training of deep architectures, 2012, section 4.1.

    Examples
    --------
    >>> import fastgd as fg
    >>> layers = [fg.Dense(4, activation="tanh"), fg.Dense(1)]
    >>> model = fg.Sequential(layers, loss="mean_squared_error", backend="numpy")
    >>> found = fg.check_gradients(model, [[0.5, 1.0], [-1.0, 2.0]], [1.0, 0.0])
    >>> found.passed, found.largest_error < 1e-6
    (True, True)
    >>> bool(fg.check_gradients(fg.losses.huber(delta=0.5), backend="numpy"))
    True
    """
    tol = check("check_gradients: tol", tol, "(0, inf)")
    count = read_count("check_gradients: n_components", n_components, "pass n_components=30")
    settings = _Settings(tol, count, np.random.default_rng(seed))
    if isinstance(subject, Sequential):
        return GradientCheck(tuple(_of_model(subject, X, y, sample_weight, settings)), tol)
    if isinstance(subject, Activation):
        return GradientCheck((_of_activation(subject, X, settings, backend),), tol)
    if isinstance(subject, Loss):
        return GradientCheck((_of_loss(subject, X, y, settings, backend),), tol)
    remedy = "pass for example fg.activations.relu for a name"
    raise TypeError(refusal("check_gradients: subject", repr(subject), "a model, an activation or a loss", remedy))


@dataclass(frozen=True)
class _Settings:
    """What a comparison depends on."""

    tol: float
    n_components: int
    draw: np.random.Generator


@dataclass(frozen=True)
class _Compared:
    """One derivative, by both ways."""

    where: str
    analytic: float
    numeric: float
    error: float
    at_kink: bool
    passed: bool


# -------------------------------------------------------------------------------------------- what is compared
def _of_model(
    model: Sequential, X: Any, y: Any, sample_weight: Any, settings: _Settings
) -> Iterator[CheckedArray]:
    """Each array of parameters in turn; running statistics are none."""
    if X is None or y is None:
        missing = "X" if X is None else "y"
        raise TypeError(refusal(f"check_gradients: {missing}", "None", "rows to compute a loss from", "pass X and y"))
    copy = _in_float64(model, X)
    weights = copy.get_weights()
    gradients = copy.loss_and_gradients(X, y, sample_weight)[1]
    for k, (name, shape) in enumerate(_names(copy)):
        if not name:
            continue

        def loss(w: Array, k: int = k, shape: tuple[int, ...] = shape) -> float:
            copy.set_weights([*weights[:k], w.reshape(shape), *weights[k + 1 :]])
            return copy.loss_and_gradients(X, y, sample_weight)[0]

        yield _compare(name, shape, loss, weights[k].ravel(), gradients[k].ravel(), settings)
        copy.set_weights(weights)


def _in_float64(model: Sequential, X: Any) -> Sequential:
    """A copy that has no optimizer's state, built if the model is not."""
    copy = Sequential(
        model.layers,
        loss=model.loss,
        optimizer="sgd",
        penalty=model.penalty,
        dtype="float64",
        seed=model.seed,
        n_threads=model.n_threads,
        backend=model.backend,
    )
    built = model._network is not None
    n_inputs = model.n_inputs if built else real_array(X, "X").shape[-1]
    copy.build(n_inputs)
    if built:
        copy.set_weights(model.get_weights())
    return copy


def _names(model: Sequential) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of the arrays of `get_weights`, with their shapes; statistics have no name."""
    width = model.n_inputs
    for k, layer in enumerate(model.layers):
        for name, shape in layer.parameter_shapes(width).items():
            yield f"layers[{k}].{name}", shape
        for shape in layer.statistic_shapes(width).values():
            yield "", shape
        width = layer.n_outputs(width)


def _of_activation(activation: Activation, points: Any, settings: _Settings, backend: str) -> CheckedArray:
    """The derivative as a layer uses it, at each point."""
    z = _vector("X", POINTS if points is None else points)
    one, zero = np.ones((1, 1)), np.zeros(1)

    def value(x: Array) -> float:
        return float(kernels.dense_forward(x.reshape(1, 1), one, zero, activation, backend=backend)[0, 0])

    compared = []
    for at in z:
        x = np.array([[at]])
        kept = np.empty((1, 1))
        kernels.dense_forward(x, one, zero, activation, kept=kept, backend=backend)
        dx, _, _ = kernels.dense_backward(x, one, kept, one, activation, backend=backend)
        compared.append(_derivative(f"z = {at:g}", value, x.ravel(), np.ones(1), float(dx[0, 0]), settings.tol))
    return _summed_up(activation.name, z.shape, compared, len(compared))


def _of_loss(loss: Loss, scores: Any, targets: Any, settings: _Settings, backend: str) -> CheckedArray:
    """The gradient by the scores: row by row, or all rows at once if they are compared with each other."""
    draw = settings.draw
    each = loss.outputs_per_target
    outputs = -(-OUTPUTS // each) * each
    z = draw.normal(0.0, 2.0, (ROWS, outputs)) if scores is None else np.array(real_array(scores, "X"), np.float64)
    if z.ndim != 2:
        raise ValueError(refusal("check_gradients: X", f"shape {z.shape}", "scores (n, n_outputs)", "X.reshape(-1, 1)"))
    shape = len(z), z.shape[1] // each
    rows = _example_targets(draw, loss.target, shape) if targets is None else real_array(targets, "y")
    compared = []
    at_once = len(z) if loss.compares_rows else 1
    for first in range(0, len(z), at_once):
        batch, target = z[first : first + at_once], rows[first : first + at_once]

        def value(flat: Array, shape: tuple[int, ...] = batch.shape, target: Array = target) -> float:
            return kernels.loss_gradient(flat.reshape(shape), target, loss, backend=backend)[0]

        gradient = kernels.loss_gradient(batch, target, loss, backend=backend)[1]
        for k, along in enumerate(np.eye(batch.size)):
            row, column = divmod(k, z.shape[1])
            where, slope = f"score [{first + row}, {column}]", float(gradient[row, column])
            compared.append(_derivative(where, value, batch.ravel(), along, slope, settings.tol))
    return _summed_up(loss.name, z.shape, compared, len(compared))


def _vector(name: str, given: Any) -> Array:
    array = np.array(real_array(given, f"check_gradients: {name}"), np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        got = f"shape {array.shape}" if array.ndim != 1 or not array.size else "a number that is not finite"
        raise ValueError(refusal(f"check_gradients: {name}", got, "a vector of finite numbers", f"{name}.ravel()"))
    return array


def _example_targets(draw: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Array:
    """Targets of each kind that a loss may take."""
    numbers = draw.normal(size=shape)
    kinds: dict[str, Callable[[], Array]] = {
        "real": lambda: numbers,
        "nonnegative": lambda: np.maximum(numbers, 0.0),
        "positive": lambda: np.abs(numbers) + 0.25,
        "direction": lambda: numbers,
        "nonzero": lambda: np.copysign(np.abs(numbers) + 0.25, numbers),
        "probability": lambda: draw.choice([0.0, 0.25, 1.0], size=shape),
        "sign": lambda: np.sign(numbers),
        "class": lambda: draw.integers(shape[1], size=shape[0]),
        "label": lambda: draw.integers(shape[1], size=shape[0]),
        "identity": lambda: np.arange(shape[0]) // 2,
    }
    return kinds[kind]()


# ------------------------------------------------------------------------------------------------- the comparison
def _compare(
    name: str,
    shape: tuple[int, ...],
    function: Callable[[Array], float],
    x: Array,
    gradient: Array,
    settings: _Settings,
) -> CheckedArray:
    """Some components of a gradient, and a direction through all of them."""
    draw, n_checked = settings.draw, min(settings.n_components, x.size)
    compared = []
    for k in np.sort(draw.choice(x.size, n_checked, replace=False)):
        along = np.zeros(x.size)
        along[k] = 1.0
        where = str([int(i) for i in np.unravel_index(k, shape)])
        compared.append(_derivative(where, function, x, along, float(gradient[k]), settings.tol))
    along = draw.normal(size=x.size)
    along /= np.linalg.norm(along)
    analytic = float(gradient @ along)
    compared.append(_derivative("a random direction", function, x, along, analytic, settings.tol))
    return _summed_up(name, shape, compared, n_checked)


def _summed_up(name: str, shape: tuple[int, ...], compared: list[_Compared], n_checked: int) -> CheckedArray:
    # What is wrong comes first; an error at a kink says little.
    worst = max(compared, key=lambda each: (not each.passed, not each.at_kink, each.error))
    return CheckedArray(
        name,
        tuple(shape),
        n_checked,
        sum(each.at_kink for each in compared),
        worst.error,
        worst.where,
        worst.analytic,
        worst.numeric,
        all(each.passed for each in compared),
    )


def _derivative(
    where: str, function: Callable[[Array], float], x: Array, along: Array, analytic: float, tol: float
) -> _Compared:
    """The derivative along a direction; where one-sided derivatives are apart, again with shorter steps."""
    size = float(np.linalg.norm(x)) if np.count_nonzero(along) > 1 else float(abs(x @ along))
    step = CENTRAL_STEP * max(1.0, size)
    for h in (step, step / 16.0, step / 256.0):
        differences = _Differences(function, x, along, float(2.0 ** np.round(np.log2(h))), tol)
        numeric, error = differences.closest_to(analytic)
        if error <= tol or not differences.apart:
            return _Compared(where, analytic, numeric, error, False, error <= tol)
    # Not by curvature, for that goes with the step: any subgradient is right.
    return _Compared(where, analytic, numeric, error, True, differences.admits(analytic))


class _Differences:
    """Differences of a function along a direction with one step, and with twice that once they are wanted."""

    def __init__(
        self, function: Callable[[Array], float], x: Array, along: Array, h: float, tol: float
    ) -> None:
        def at(by: float) -> float:
            return function(x + by * h * along)

        self.at, self.h, self.tol = at, h, tol
        self.up, self.down = at(1.0), at(-1.0)
        self.noise = ROUNDINGS * EPS * max(abs(self.up), abs(self.down)) / h

    def closest_to(self, analytic: float) -> tuple[float, float]:
        """The central difference and its relative error; else that of the next order, if it is closer."""
        central = (self.up - self.down) / (2.0 * self.h)
        error = _relative(analytic, central, self.noise / self.tol)
        if error <= self.tol:
            return central, error
        wide = (self.at(2.0) - self.at(-2.0)) / (4.0 * self.h)
        extrapolated = (4.0 * central - wide) / 3.0
        other = _relative(analytic, extrapolated, self.noise / self.tol)
        return (extrapolated, other) if other < error else (central, error)

    @cached_property
    def one_sided(self) -> tuple[float, float]:
        """Both one-sided derivatives, the lower one first."""
        here = self.at(0.0)
        low, high = sorted(((self.up - here) / self.h, (here - self.down) / self.h))
        return low, high

    @property
    def slack(self) -> float:
        """What rounding and the tolerance may do to them."""
        return self.noise + self.tol * max(map(abs, self.one_sided))

    @property
    def apart(self) -> bool:
        """Whether they differ by more than that."""
        low, high = self.one_sided
        return high - low > 4.0 * self.slack

    def admits(self, analytic: float) -> bool:
        """Whether a value lies between them."""
        low, high = self.one_sided
        return low - self.slack <= analytic <= high + self.slack


def _relative(analytic: float, numeric: float, floor: float) -> float:
    """Infinite where one of them is NaN."""
    difference = abs(analytic - numeric)
    scale = max(abs(analytic), abs(numeric), floor, float(np.finfo(float).tiny))
    return difference / scale if np.isfinite(difference) and np.isfinite(scale) else float("inf")
