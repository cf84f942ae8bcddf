"""Learning rates as functions of the step. Steps are counted from 0: the first update is made with the value at 0.

A schedule knows nothing of what came before, so that training goes on after a pause as if there had been none. Any
optimizer takes one as its ``learning_rate``, or any callable of the step that returns a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, overload

from ._formula.interval import check

if TYPE_CHECKING:
    import numpy
    import numpy.typing as npt

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseScaling",
    "Joined",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "Triangular",
    "Warmup",
]

RATE = "[0, inf)"
COUNT = "[1, inf)"


@dataclass(frozen=True)
class Schedule:
    """A learning rate for every step; what the schedules below have in common.

    A schedule of one's own is a subclass with a method `at`. A plain function of the step will do as well, but is
    called once for each step.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> from fastgd.schedules import Schedule
    >>> @dataclass(frozen=True)
    ... class Halving(Schedule):
    ...     initial: float
    ...     def at(self, steps):
    ...         return self.initial / np.exp2(steps)
    >>> Halving(8.0)([0, 1, 3])
    array([8., 4., 1.])
    """

    ranges: ClassVar[dict[str, str]] = {
        "initial": RATE,
        "final": RATE,
        "steps": COUNT,
        "every": COUNT,
        "factor": "[0, inf)",
        "power": "(0, inf)",
    }

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.name in self.ranges and (getattr(self, each.name), each.default) != (None, None):
                what, value = f"{type(self).__name__}: {each.name}", getattr(self, each.name)
                number = check(what, value, self.ranges[each.name])
                whole = str(each.type).startswith("int")
                if whole and number != int(number):
                    raise ValueError(f"{what}: got {value!r}, expected a whole number")
                object.__setattr__(self, each.name, int(number) if whole else number)

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        """The values at an array of steps.

        Parameters
        ----------
        steps : ndarray of float64
            From 0.

        Returns
        -------
        ndarray of float64
            As long as `steps`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method at(steps)")

    @overload
    def __call__(self, step: int) -> float: ...

    @overload
    def __call__(self, step: Sequence[int] | numpy.ndarray) -> npt.NDArray[numpy.float64]: ...

    def __call__(self, step: Any) -> Any:
        """The value at a step, or at each of several.

        Parameters
        ----------
        step : int or array_like of int
            From 0.

        Returns
        -------
        float or ndarray of float64

        Raises
        ------
        ValueError
            For a step below 0.
        """
        import numpy

        steps = numpy.asarray(step, dtype=numpy.float64)
        if not (steps >= 0).all():
            raise ValueError(f"{type(self).__name__}: got step {step!r}, expected steps of at least 0")
        values = self.at(steps.reshape(-1)).reshape(steps.shape)
        return values if values.ndim else float(values)


Rate = float | Schedule | Callable[[int], float]


def read_rate(what: str, value: Any) -> Any:
    """Check a learning rate: a number of at least 0 becomes a float, what is callable stays as it is."""
    return value if callable(value) else check(what, value, RATE)


def values_at(rate: Rate, steps: numpy.ndarray) -> numpy.ndarray:
    """A rate's values at steps that are float64 whole numbers from 0.

    Raises
    ------
    ValueError
        If one is no finite number of at least 0; says at which step.
    """
    import numpy

    if isinstance(rate, Schedule):
        values = rate.at(steps)
    elif callable(rate):
        values = numpy.array([check(f"learning rate at step {step:.0f}", rate(int(step)), RATE) for step in steps])
    else:
        values = numpy.full(len(steps), float(rate))
    wrong = numpy.flatnonzero(~((values >= 0.0) & (values < math.inf)))
    if len(wrong):
        check(f"learning rate at step {steps[wrong[0]]:.0f}", float(values[wrong[0]]), RATE)
    return values


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value always; a part of a `Joined`.

    Parameters
    ----------
    initial : float
        At least 0.

    Examples
    --------
    >>> from fastgd.schedules import Constant
    >>> Constant(0.1)(1000)
    0.1
    """

    initial: float

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        return numpy.full(len(steps), self.initial)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Falls by a factor every so many steps, evenly: initial factor^(step / every).

    Parameters
    ----------
    initial : float
        At least 0.
    factor : float
        At least 0, as a rule below 1.
    every : int
        At least 1.

    Notes
    -----
    PyTorch's ExponentialLR with gamma as `factor`; Keras's ExponentialDecay; optax's exponential_decay.

    Examples
    --------
    >>> from fastgd.schedules import Exponential
    >>> Exponential(1.0, factor=0.25, every=2)([0, 1, 2])
    array([1.  , 0.5 , 0.25])
    """

    initial: float
    factor: float
    every: int = 1

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        return self.initial * self.factor ** (steps / self.every)


@dataclass(frozen=True)
class StepDecay(Exponential):
    """Falls by a factor every so many steps, at once: initial factor^floor(step / every).

    Parameters
    ----------
    initial : float
        At least 0.
    factor : float
        At least 0, as a rule below 1.
    every : int
        At least 1.

    Notes
    -----
    PyTorch's StepLR with gamma as `factor`; Keras's ExponentialDecay and optax's exponential_decay with a staircase.

    Examples
    --------
    >>> from fastgd.schedules import StepDecay
    >>> StepDecay(1.0, factor=0.5, every=2)([0, 1, 2, 3, 4])
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        return self.initial * self.factor ** (steps // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """Falls by a factor at each of some steps.

    Parameters
    ----------
    initial : float
        At least 0.
    factor : float
        At least 0, as a rule below 1.
    milestones : sequence of int
        Rising; from such a step on the value is lower.

    Notes
    -----
    PyTorch's MultiStepLR; optax's piecewise_constant_schedule with the same factor everywhere.

    Examples
    --------
    >>> from fastgd.schedules import MultiStep
    >>> MultiStep(1.0, factor=0.1, milestones=(10, 20))([9, 10, 20])
    array([1.  , 0.1 , 0.01])
    """

    initial: float
    factor: float
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "milestones", _rising("MultiStep: milestones", self.milestones))

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        passed = numpy.searchsorted(numpy.array(self.milestones, dtype=float), steps, side="right")
        return self.initial * self.factor ** passed.astype(float)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Falls as a power of the step: initial / (1 + scale step)^power.

    Parameters
    ----------
    initial : float
        At least 0.
    power : float
        Above 0.
    scale : float
        At least 0.
    every : int
        The value changes after so many steps only.

    Notes
    -----
    Keras's InverseTimeDecay with power 1. Of scikit-learn's multilayer perceptrons ``"invscaling"``, which counts
    samples at the ends of epochs: every = steps of an epoch, scale = samples / every.

    References
    ----------
    Robbins & Monro, A stochastic approximation method, 1951, for what makes such a sequence converge.

    Examples
    --------
    >>> from fastgd.schedules import InverseScaling
    >>> InverseScaling(1.0, power=0.5)([0, 3, 99])
    array([1. , 0.5, 0.1])
    """

    ranges = {**Schedule.ranges, "scale": "[0, inf)"}

    initial: float
    power: float = 0.5
    scale: float = 1.0
    every: int = 1

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        return self.initial / (1.0 + self.scale * (steps - steps % self.every)) ** self.power


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from one value to another; the last one from then on.

    Parameters
    ----------
    initial, final : float
        At least 0.
    steps : int
        At least 1: at this step `final` is reached.

    Notes
    -----
    PyTorch's LinearLR; optax's linear_schedule.

    Examples
    --------
    >>> from fastgd.schedules import Linear
    >>> Linear(1.0, 0.0, steps=4)([0, 1, 4, 5])
    array([1.  , 0.75, 0.  , 0.  ])
    """

    initial: float
    final: float
    steps: int

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        return self._between(1.0 - numpy.minimum(steps / self.steps, 1.0))

    def _between(self, remaining: numpy.ndarray) -> numpy.ndarray:
        """The value where so large a part of the way remains."""
        return self.final + (self.initial - self.final) * remaining


@dataclass(frozen=True)
class Polynomial(Linear):
    """A power of the way that remains: final + (initial - final) (1 - step / steps)^power, then `final`.

    Parameters
    ----------
    initial, final : float
        At least 0.
    steps : int
        At least 1: at this step `final` is reached.
    power : float
        Above 0; 1 is a straight line.

    Notes
    -----
    PyTorch's PolynomialLR with final = 0; Keras's PolynomialDecay; optax's polynomial_schedule.

    Examples
    --------
    >>> from fastgd.schedules import Polynomial
    >>> Polynomial(1.0, 0.0, steps=4, power=2.0)([0, 2, 4])
    array([1.  , 0.25, 0.  ])
    """

    power: float = 2.0

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        return self._between((1.0 - numpy.minimum(steps / self.steps, 1.0)) ** self.power)


@dataclass(frozen=True)
class Cosine(Linear):
    """Half a wave of the cosine: final + (initial - final) ((1 + cos(pi step / steps)) / 2)^power, then `final`.

    Parameters
    ----------
    initial, final : float
        At least 0.
    steps : int
        At least 1: at this step `final` is reached.
    power : float
        Above 0.

    Notes
    -----
    Keras's CosineDecay and optax's cosine_decay_schedule, whose alpha is final / initial. PyTorch's CosineAnnealingLR
    up to `steps`, after which that one rises again.

    References
    ----------
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> from fastgd.schedules import Cosine
    >>> Cosine(1.0, 0.0, steps=4)([0, 2, 4, 5])
    array([1. , 0.5, 0. , 0. ])
    """

    power: float = 1.0

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        return self._between(_half_wave(numpy.minimum(steps / self.steps, 1.0)) ** self.power)


@dataclass(frozen=True)
class CosineRestarts(Linear):
    """`Cosine` again and again, each time over more steps and from a lower start, if wanted.

    Parameters
    ----------
    initial, final : float
        At least 0.
    steps : int
        At least 1: length of the first wave.
    growth : float
        At least 1: each wave is so many times as long as the one before.
    factor : float
        Each wave is so many times as high above `final` as the one before.

    Notes
    -----
    PyTorch's CosineAnnealingWarmRestarts with T_mult as `growth`; Keras's CosineDecayRestarts with t_mul as `growth`
    and m_mul as `factor`, and alpha as final / initial.

    References
    ----------
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> from fastgd.schedules import CosineRestarts
    >>> CosineRestarts(1.0, 0.0, steps=2, growth=2.0)([0, 1, 2, 4, 6])
    array([1. , 0.5, 1. , 0.5, 1. ])
    """

    ranges = {**Schedule.ranges, "growth": "[1, inf)"}

    growth: float = 1.0
    factor: float = 1.0

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        waves = steps / self.steps
        if self.growth == 1.0:
            restarts = numpy.floor(waves)
            return self._between(self.factor**restarts * _half_wave(waves - restarts))
        restarts = numpy.floor(numpy.log1p(waves * (self.growth - 1.0)) / math.log(self.growth))
        # The logarithm may be off by one unit in the last place, which at a restart is a whole wave.
        restarts = numpy.where(self._begin(restarts + 1.0) <= waves, restarts + 1.0, restarts)
        restarts = numpy.where(self._begin(restarts) > waves, restarts - 1.0, restarts)
        part = (waves - self._begin(restarts)) / self.growth**restarts
        return self._between(self.factor**restarts * _half_wave(part))

    def _begin(self, restarts: numpy.ndarray) -> numpy.ndarray:
        """Where the wave after so many restarts begins, in units of the first one's length."""
        return (self.growth**restarts - 1.0) / (self.growth - 1.0)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Once up to a high rate and down to a very low one, along half waves of the cosine.

    Parameters
    ----------
    peak : float
        At least 0.
    steps : int
        At least 3, the length of training: the last of them has the lowest value.
    rise : float
        In (0, 1): part of the steps that is spent going up; more than one step.
    initial_divisor : float
        The first value is peak / initial_divisor.
    final_divisor : float
        The last value is the first one / final_divisor.

    Raises
    ------
    ValueError
        If a value is out of range, or either way has less than a step.

    Notes
    -----
    PyTorch's OneCycleLR, without its cycling momentum. optax's cosine_onecycle_schedule ends each way one step later.

    References
    ----------
    Smith & Topin, Super-convergence: very fast training of neural networks using large learning rates, 2018.

    Examples
    --------
    >>> from fastgd.schedules import OneCycle
    >>> OneCycle(peak=1.0, steps=10, rise=0.5, initial_divisor=10.0, final_divisor=10.0)([0, 2, 4, 9])
    array([0.1 , 0.55, 1.  , 0.01])
    """

    ranges = {
        "peak": RATE,
        "steps": "[3, inf)",
        "rise": "(0, 1)",
        "initial_divisor": "(0, inf)",
        "final_divisor": "(0, inf)",
    }

    peak: float
    steps: int
    rise: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rise * self.steps <= 1.0:
            raise ValueError(
                f"OneCycle: rise: got {self.rise!r} of {self.steps} steps, expected more than one step"
            )

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        top, end = self.rise * self.steps - 1.0, self.steps - 1.0
        low = self.peak / self.initial_divisor
        lowest = low / self.final_divisor
        up = self.peak + (low - self.peak) * _half_wave(numpy.minimum(steps / top, 1.0))
        part = numpy.clip((steps - top) / (end - top), 0.0, 1.0)
        down = lowest + (self.peak - lowest) * _half_wave(part)
        return numpy.where(steps <= top, up, down)


@dataclass(frozen=True)
class Triangular(Schedule):
    """Up and down between two values along straight lines, again and again.

    Parameters
    ----------
    low, high : float
        At least 0.
    rise : int
        At least 1: steps from `low` to `high`.
    fall : int, optional
        At least 1: steps from `high` to `low`; as many as `rise` by default.
    factor : float
        Each triangle is so many times as high as the one before.

    Notes
    -----
    PyTorch's CyclicLR: its mode ``"triangular"``, and with factor = 1/2 its ``"triangular2"``.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, WACV 2017.

    Examples
    --------
    >>> from fastgd.schedules import Triangular
    >>> Triangular(0.0, 1.0, rise=2, factor=0.5)([0, 1, 2, 3, 4, 6])
    array([0. , 0.5, 1. , 0.5, 0. , 0.5])
    """

    ranges = {**Schedule.ranges, "low": RATE, "high": RATE, "rise": COUNT, "fall": COUNT}

    low: float
    high: float
    rise: int
    fall: int | None = None
    factor: float = 1.0

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        fall = self.rise if self.fall is None else self.fall
        cycle, within = numpy.divmod(steps, self.rise + fall)
        height = numpy.minimum(within / self.rise, (self.rise + fall - within) / fall)
        return self.low + (self.high - self.low) * height * self.factor**cycle


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the beginning of another schedule, which then follows from its own step 0.

    Parameters
    ----------
    schedule : float, Schedule or callable
        What follows.
    steps : int
        At least 1: at this step the other schedule begins.
    initial : float
        At least 0: where the line begins.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    With `Cosine`, optax's warmup_cosine_decay_schedule and Keras's CosineDecay with warmup_target.

    Examples
    --------
    >>> from fastgd.schedules import Cosine, Warmup
    >>> Warmup(Cosine(1.0, 0.0, steps=4), steps=2)([0, 1, 2, 4, 6])
    array([0. , 0.5, 1. , 0.5, 0. ])
    """

    schedule: Rate
    steps: int
    initial: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "schedule", read_rate("Warmup: schedule", self.schedule))

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        [top] = values_at(self.schedule, numpy.zeros(1))
        values: numpy.ndarray = self.initial + (top - self.initial) * (steps / self.steps)
        after = steps >= self.steps
        values[after] = values_at(self.schedule, steps[after] - self.steps)
        return values


@dataclass(frozen=True)
class Joined(Schedule):
    """Several schedules one after another, each counted from its own step 0.

    Parameters
    ----------
    schedules : sequence of float, Schedule or callable
    boundaries : sequence of int
        Rising, one fewer than schedules: from such a step on the next one holds.

    Raises
    ------
    ValueError
        If the boundaries do not rise, or their number does not fit.

    Notes
    -----
    PyTorch's SequentialLR; optax's join_schedules.

    Examples
    --------
    >>> from fastgd.schedules import Joined, Linear
    >>> Joined([Linear(0.0, 1.0, steps=2), 0.5], boundaries=[2])([0, 1, 2, 3])
    array([0. , 0.5, 0.5, 0.5])
    """

    schedules: Sequence[Rate]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        schedules = tuple([read_rate("Joined: schedules", each) for each in self.schedules])
        boundaries = _rising("Joined: boundaries", self.boundaries)
        if len(schedules) != len(boundaries) + 1:
            raise ValueError(
                f"Joined: got {len(schedules)} schedules and {len(boundaries)} boundaries, expected one boundary fewer "
                "than schedules"
            )
        object.__setattr__(self, "schedules", schedules)
        object.__setattr__(self, "boundaries", boundaries)

    def at(self, steps: numpy.ndarray) -> numpy.ndarray:
        import numpy

        values = numpy.empty(len(steps))
        which = numpy.searchsorted(numpy.array(self.boundaries, dtype=float), steps, side="right")
        for k, (schedule, begin) in enumerate(zip(self.schedules, (0, *self.boundaries), strict=True)):
            values[which == k] = values_at(schedule, steps[which == k] - begin)
        return values


def _half_wave(part: numpy.ndarray) -> numpy.ndarray:
    """From 1 at part 0 down to exactly 0 at part 1, as the cosine falls."""
    import numpy

    return 0.5 * (1.0 + numpy.cos(math.pi * part))


def _rising(what: str, given: Any) -> tuple[int, ...]:
    """Whole numbers of at least 1, each above the one before."""
    try:
        numbers = tuple([int(check(what, value, COUNT)) for value in given])
    except TypeError:
        numbers = ()
    if not numbers or any(b <= a for a, b in zip(numbers, numbers[1:], strict=False)):
        raise ValueError(f"{what}: got {given!r}, expected steps of at least 1, each above the one before")
    return numbers
