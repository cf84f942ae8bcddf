"""Running error bounds: evaluate a formula in extended precision and, beside it, how far a right rendering may be off.

Every operation of a rendering errs by at most one rounding, every function by at most 4 units in the last place, and
errors of operands are carried on (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.3). So the
bound of each element follows from the formula and the data, cancellation included; nothing is tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from extended import EXTENDED, erf, normal_cdf

from fastgd._formula import Formula
from fastgd._formula.numpy_ import render

# 4 units in the last place, each of which is at most two unit roundoffs.
FUNCTION_ROUNDINGS = 8


@dataclass(frozen=True)
class Precision:
    """What one rounding costs: relatively, and absolutely where a result may be flushed to zero."""

    unit: Any
    smallest: Any

    @classmethod
    def of(cls, dtype: object) -> Precision:
        """The roundings of a rendering in `dtype` and of the reference itself."""
        unit = (EXTENDED(np.finfo(dtype).eps) + np.finfo(EXTENDED).eps) / 2
        return cls(unit, EXTENDED(np.finfo(dtype).smallest_normal))


@dataclass(frozen=True)
class Truth:
    """Result of a comparison, and whether errors of the operands leave it certain."""

    value: Any
    certain: Any

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.value & other.value, self.certain & other.certain)

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.value | other.value, self.certain & other.certain)

    def __invert__(self) -> Truth:
        return Truth(~self.value, self.certain)


class Bounded:
    """Numbers with a bound of the error that a rendering in the given precision may have made."""

    def __init__(self, value: Any, error: Any, precision: Precision) -> None:
        self.value = value
        self.error = error
        self.precision = precision

    def rounded(self, value: Any, carried: Any, roundings: int = 1) -> Bounded:
        error = carried + roundings * self.precision.unit * (abs(value) + carried) + self.precision.smallest
        return Bounded(value, error, self.precision)

    def __add__(self, other: Bounded) -> Bounded:
        return self.rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other: Bounded) -> Bounded:
        return self.rounded(self.value - other.value, self.error + other.error)

    def __mul__(self, other: Bounded) -> Bounded:
        carried = abs(self.value) * other.error + abs(other.value) * self.error + self.error * other.error
        return self.rounded(self.value * other.value, carried)

    def __truediv__(self, other: Bounded) -> Bounded:
        value = self.value / other.value
        gap = abs(other.value) - other.error
        carried = np.where(gap > 0, (self.error + abs(value) * other.error) / gap, np.inf)
        return self.rounded(value, carried)

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error, self.precision)

    def compared(self, other: Bounded, comparison: Callable[..., Any]) -> Truth:
        certain = abs(self.value - other.value) > self.error + other.error
        exact = (self.error == 0) & (other.error == 0)
        return Truth(comparison(self.value, other.value), certain | exact)

    def __lt__(self, other: Bounded) -> Truth:
        return self.compared(other, np.less)

    def __le__(self, other: Bounded) -> Truth:
        return self.compared(other, np.less_equal)

    def __gt__(self, other: Bounded) -> Truth:
        return self.compared(other, np.greater)

    def __ge__(self, other: Bounded) -> Truth:
        return self.compared(other, np.greater_equal)

    def __eq__(self, other: object) -> Truth:
        return self.compared(other, np.equal)

    def __ne__(self, other: object) -> Truth:
        return self.compared(other, np.not_equal)

    __hash__ = None


def _monotone(function: Callable[..., Any], roundings: int, lowest: float = -np.inf) -> Callable[..., Any]:
    """An increasing function: its value at the ends of the operand's interval bounds the error carried."""

    def apply(x: Bounded) -> Bounded:
        value = function(x.value)
        above = function(x.value + x.error) - value
        below = value - function(np.maximum(x.value - x.error, lowest))
        return x.rounded(value, np.maximum(above, below), roundings)

    return apply


class BoundedFunctions:
    """What the rendered source calls NumPy, and what NumPy lacks."""

    exp = staticmethod(_monotone(np.exp, FUNCTION_ROUNDINGS))
    expm1 = staticmethod(_monotone(np.expm1, FUNCTION_ROUNDINGS))
    log = staticmethod(_monotone(np.log, FUNCTION_ROUNDINGS, lowest=0.0))
    log1p = staticmethod(_monotone(np.log1p, FUNCTION_ROUNDINGS, lowest=-1.0))
    tanh = staticmethod(_monotone(np.tanh, FUNCTION_ROUNDINGS))
    erf = staticmethod(_monotone(erf, FUNCTION_ROUNDINGS))
    normal_cdf = staticmethod(_monotone(normal_cdf, FUNCTION_ROUNDINGS))
    sqrt = staticmethod(_monotone(np.sqrt, 1, lowest=0.0))

    @staticmethod
    def sin(x: Bounded) -> Bounded:
        """No steeper than 1, like the cosine."""
        return x.rounded(np.sin(x.value), x.error, FUNCTION_ROUNDINGS)

    @staticmethod
    def cos(x: Bounded) -> Bounded:
        return x.rounded(np.cos(x.value), x.error, FUNCTION_ROUNDINGS)

    @staticmethod
    def abs(x: Bounded) -> Bounded:
        return Bounded(abs(x.value), x.error, x.precision)

    @staticmethod
    def where(test: Truth, chosen: Bounded, other: Bounded) -> Bounded:
        value = np.where(test.value, chosen.value, other.value)
        error = np.where(test.value, chosen.error, other.error)
        # Where the test may come out either way, either branch is right.
        either = abs(chosen.value - other.value) + np.maximum(chosen.error, other.error)
        return Bounded(value, np.where(test.certain, error, either), chosen.precision)

    @staticmethod
    def maximum(x: Bounded, y: Bounded) -> Bounded:
        return Bounded(np.maximum(x.value, y.value), np.maximum(x.error, y.error), x.precision)

    @staticmethod
    def minimum(x: Bounded, y: Bounded) -> Bounded:
        return Bounded(np.minimum(x.value, y.value), np.maximum(x.error, y.error), x.precision)


def reference(formula: Formula, dtype: object, *operands: Any) -> list[Bounded]:
    """Each result of the formula in extended precision, with the bound for a rendering in `dtype`.

    Operands are arrays and scalars of `dtype`, taken as exact, or `Bounded` ones.
    """
    precision = Precision.of(dtype)

    def bounded(value: Any) -> Bounded:
        if isinstance(value, Bounded):
            return value
        return Bounded(np.asarray(value, EXTENDED), EXTENDED(0), precision)

    def constant(value: float) -> Bounded:
        off = abs(EXTENDED(value) - EXTENDED(np.dtype(dtype).type(value)))
        return Bounded(np.asarray(value, EXTENDED), off, precision)

    namespace: dict[str, Any] = {"_numpy": BoundedFunctions, "_normal": BoundedFunctions}
    exec(render(formula), namespace)
    with np.errstate(all="ignore"):
        return list(namespace[formula.name](*[bounded(value) for value in operands], _real=constant))


def assert_bounded(actual: np.ndarray, expected: Bounded, what: str) -> None:
    """Assert that each element is within its bound. Fails on a NaN, and on a bound that would allow anything."""
    error = np.broadcast_to(expected.error, actual.shape)
    with np.errstate(invalid="ignore"):
        passes = (abs(actual.astype(EXTENDED) - expected.value) <= error) & np.isfinite(error)
    if passes.all():
        return
    k = int(np.argmin(passes))
    value = np.broadcast_to(expected.value, actual.shape)
    raise AssertionError(
        f"{what}: {(~passes).sum()} of {passes.size} elements beyond their bound; first at {k}: "
        f"{actual[k]!r}, expected {value[k]!r} within {error[k]:.3g}"
    )
