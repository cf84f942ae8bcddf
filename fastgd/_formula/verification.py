"""Derivatives held against differences of their formulas, point by point.

At each point the derivative must lie between the slopes to the left and to the right, which are the same but where
two pieces of a formula meet at an angle. Points at which the formula is not finite are left out. Where it is, in
float32 too, the derivative has to be.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from .interval import admit
from .language import Formula, FormulaError

if TYPE_CHECKING:
    from .declare import Activation, Loss

__all__ = ["verify_activation", "verify_loss"]

# Distances over which slopes are taken, exact at all points. Extrapolated from two of them, they err by some 1e-11 of
# the third derivative, which two such extrapolations tell; rounding, 1e-16 of the value, becomes as much.
STEPS = 2.0**-17, 2.0**-18, 2.0**-19
# Of value and slopes: ten thousand times the rounding, for formulas that cancel digits.
TOLERANCE = 1e-7
POINTS = (-1000.0, -88.0, -30.0, -7.3, -2.1, -0.9, -0.31, -1e-3, 0.0, 2e-3, 0.27, 0.8, 1.9, 6.7, 31.0, 90.0, 1100.0)
TARGETS = (-2.3, -1.0, -0.4, 0.0, 0.3, 0.71, 1.0, 2.6)
# Constants of a formula up to this one may be where its pieces meet.
LARGEST_JOINT = 1e4

ADMITTED_TARGETS: dict[str, Any] = {
    "real": lambda y: True,
    "nonnegative": lambda y: y >= 0.0,
    "positive": lambda y: y > 0.0,
    "nonzero": lambda y: y != 0.0,
    "direction": lambda y: True,
    "probability": lambda y: 0.0 <= y <= 1.0,
    "sign": lambda y: y in (0.0, 1.0, -1.0),
}


def verify_activation(declared: Activation, derivative: Formula, of: str) -> None:
    """Refuse a derivative of an activation that is wrong.

    Parameters
    ----------
    declared : Activation
    derivative : Formula
        Of one array.
    of : {"output", "input"}
        What that array is.

    Raises
    ------
    FormulaError
        With the point, the derivative there, the slopes, and both formulas.
    """
    points = [(z,) for z in _points(declared.formula)]
    _require_finite_at_zero(declared, derivative, of)
    for parameters in _parameters(declared):
        remedy = f"@{declared.name}.derivative(of=...)"
        _verify(declared.formula, derivative, points, parameters, of == "output", remedy)


def verify_loss(declared: Loss, derivative: Formula) -> None:
    """Refuse a derivative of a loss by the score that is wrong.

    Parameters
    ----------
    declared : Loss
    derivative : Formula
        Of score and target.

    Raises
    ------
    FormulaError
        With the point, the derivative there, the slopes, and both formulas.
    """
    assert declared.formula is not None
    targets = [y for y in TARGETS if ADMITTED_TARGETS[declared.target](y)]
    points = list(product(sorted({*_points(declared.formula), *targets}), targets))
    for parameters in _parameters(declared):
        _verify(declared.formula, derivative, points, parameters, False, f"@{declared.name}.derivative")


def _require_finite_at_zero(declared: Activation, derivative: Formula, of: str) -> None:
    """Zero is what the columns hold that fill a register up, and what a unit without inputs and bias gets."""
    from . import numpy_

    value = numpy_.compile_(declared.formula)(0.0, **declared.parameters)
    slope = numpy_.compile_(derivative)(value if of == "output" else 0.0, **declared.parameters)
    if not (math.isfinite(value) and math.isfinite(slope)):
        raise FormulaError(
            f"{declared.formula.where()}: {declared.name} is {value:g} and its derivative {slope:g} at 0; write it so "
            f"that both are finite there, which no network can avoid\n{declared.formula.source.rstrip()}"
        )


def _points(formula: Formula) -> list[float]:
    """Where to look: everywhere, and where pieces may meet."""
    trees = [expression for _, expression in formula.body] + list(formula.results)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    constants = {float(node.value) for node in nodes if isinstance(node, ast.Constant)}  # type: ignore[arg-type]
    joints = {c for c in constants if abs(c) <= LARGEST_JOINT}
    return sorted({*POINTS, *joints, *(-c for c in joints)})


def _parameters(declared: Activation | Loss) -> Iterator[dict[str, float]]:
    """The defaults, and others: with a factor of 1, whether it is there cannot be seen."""
    yield dict(declared.parameters)
    others = {}
    for k, (name, value) in enumerate(declared.parameters.items()):
        for other in (value * (1.3 + 0.1 * k) + (0.11 if value >= 0.0 else -0.11), value * (0.7 - 0.05 * k)):
            try:
                others[name] = admit(name, other, declared.ranges.get(name, "(-inf, inf)"))
                break
            except ValueError:
                others[name] = value
    if others:
        yield others


def _verify(
    formula: Formula,
    derivative: Formula,
    points: Sequence[tuple[float, ...]],
    parameters: dict[str, float],
    of_output: bool,
    remedy: str,
) -> None:
    import numpy

    from . import numpy_

    function, slope = numpy_.compile_(formula), numpy_.compile_(derivative)

    def slopes(first: Any, rest: Any, value: Any) -> Any:
        return slope(value, **parameters) if of_output else slope(first, *rest, **parameters)

    first, *rest = numpy.array(points).T
    value = function(first, *rest, **parameters)

    def one_sided(side: float) -> tuple[Any, Any]:
        """A slope, and how far it may be off for curvature."""
        moved = [first + side * step for step in STEPS]
        far, middle, close = ((function(x, *rest, **parameters) - value) / (x - first) for x in moved)
        return 2.0 * close - middle, numpy.abs(2.0 * close - 3.0 * middle + far)

    with numpy.errstate(all="ignore"):
        (left, of_left), (right, of_right) = one_sided(-1.0), one_sided(1.0)
        given = slopes(first, rest, value)
        near = TOLERANCE * (numpy.abs(value) + numpy.abs(left) + numpy.abs(right)) + of_left + of_right
        between = (given >= numpy.minimum(left, right) - near) & (given <= numpy.maximum(left, right) + near)
    known = numpy.isfinite(value) & numpy.isfinite(left) & numpy.isfinite(right)
    # In float32 as well, whose exponentials overflow earlier.
    narrow, *narrow_rest = (column.astype(numpy.float32) for column in (first, *rest))
    narrow_value = function(narrow, *narrow_rest, **parameters)
    lost = known & numpy.isfinite(narrow_value) & ~numpy.isfinite(slopes(narrow, narrow_rest, narrow_value))
    if not known.any():
        raise FormulaError(
            f"{formula.where()}: {formula.name} is finite at none of the points from {points[0][0]:g} to "
            f"{points[-1][0]:g}; write it so that it is where it will be used"
        )
    wrong = known & (~between | lost)
    if not wrong.any():
        return
    with numpy.errstate(all="ignore"):
        share = numpy.nan_to_num(numpy.abs(given - right) / (numpy.abs(given) + numpy.abs(right)), nan=2.0)
    k = int(numpy.argmax(numpy.where(wrong, numpy.where(lost, 2.0, share), -1.0)))
    there = {**dict(zip(formula.arrays, points[k], strict=True)), **parameters}
    place = ", ".join(f"{name} = {number:.6g}" for name, number in there.items())
    got = "no finite number in float32" if lost[k] else f"{given[k]:.6g}"
    raise FormulaError(
        f"{derivative.where()}: the derivative of {formula.name} is {got} at {place}, but differences of the formula "
        f"give {left[k]:.6g} on the left and {right[k]:.6g} on the right; correct one of the two, or give the "
        f"derivative with {remedy}\n{formula.source.rstrip()}\n{derivative.source.rstrip()}"
    )
