"""Formulas rendered to ONNX: NumPy's rendering, evaluated on values that stand for tensors of a graph.

An operation on such a value adds a node to its graph instead of computing anything, so whatever is a formula can be
exported. What ONNX lacks, expm1 and log1p, is made of what there is; and so are the error function, for which
onnxruntime has no kernel in float64, and the normal distribution's, whose left tail the error function does not give.
Nothing here needs the onnx library: a graph is plain data.

Importing this module does not import NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from .language import LARGEST_CONSTANT, Formula
from .normal import CDF_SERIES_LAST, ERF_SERIES_LAST, TAIL_CENTRE, TAIL_COEFFICIENTS, TAIL_LAST, erf_series
from .numpy_ import render

# Times this, and back by two differences, a number keeps the upper half of its digits (Dekker, 1971).
SPLITTER = {"float32": 2.0**12 + 1.0, "float64": 2.0**27 + 1.0}


@dataclass(frozen=True)
class Node:
    """An operator of ONNX applied to tensors, which go by their names."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass
class Graph:
    """Nodes in the order of their evaluation, and the constants they read.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        Of all numbers.
    scope : str
        Begins the names of what is added.
    nodes : list of Node
    constants : dict of str to number or array
    """

    dtype: str
    scope: str = ""
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, value: float) -> Value:
        """A number; the same number is the same tensor."""
        return self.array(f"constant_{value!r}", value)

    def array(self, name: str, value: Any) -> Value:
        """A tensor that is part of the model."""
        self.constants[name] = value
        return Value(self, name)

    def add(self, operator: str, *operands: Value | float, **attributes: Any) -> Value:
        """The result of an operator."""
        values = [operand if isinstance(operand, Value) else self.constant(operand) for operand in operands]
        output = f"{self.scope}{operator}_{len(self.nodes)}"
        self.nodes.append(Node(operator, tuple(value.name for value in values), output, attributes))
        return Value(self, output)

    def rename(self, value: Value, name: str) -> None:
        """Give a tensor a name to be asked for by."""
        self.nodes.append(Node("Identity", (value.name,), name, {}))


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph, by its name; arithmetic with it adds nodes."""

    graph: Graph
    name: str

    def __neg__(self) -> Value:
        return self.graph.add("Neg", self)

    def __abs__(self) -> Value:
        return self.graph.add("Abs", self)

    def __add__(self, other: Value | float) -> Value:
        return self.graph.add("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return self.graph.add("Sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.graph.add("Sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.graph.add("Mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.graph.add("Div", self, other)

    def __lt__(self, other: Value | float) -> Value:
        return self.graph.add("Less", self, other)

    def __le__(self, other: Value | float) -> Value:
        return self.graph.add("LessOrEqual", self, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.graph.add("Greater", self, other)

    def __ge__(self, other: Value | float) -> Value:
        return self.graph.add("GreaterOrEqual", self, other)

    def __eq__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self.graph.add("Equal", self, other)

    def __ne__(self, other: Value | float) -> Value:  # type: ignore[override]
        return ~(self == other)

    def __and__(self, other: Value) -> Value:
        return self.graph.add("And", self, other)

    def __or__(self, other: Value) -> Value:
        return self.graph.add("Or", self, other)

    def __invert__(self) -> Value:
        return self.graph.add("Not", self)


def _function(operator: str) -> Any:
    """A function of the language that is an operator of ONNX."""
    return lambda *operands: operands[0].graph.add(operator, *operands)


def _where(test: Value, chosen: Value | float, other: Value | float) -> Value:
    return test.graph.add("Where", test, chosen, other)


def _maximum(x: Value, y: Value) -> Value:
    # Max itself: runtimes differ in what becomes of a NaN.
    return _where((x > y) | (x != x), x, y)


def _minimum(x: Value, y: Value) -> Value:
    return _where((x < y) | (x != x), x, y)


def _expm1(x: Value) -> Value:
    """tanh(x/2) (e^x + 1), which subtracts nothing."""
    return NUMPY.tanh(x * 0.5) * (NUMPY.exp(x) + 1.0)


def _log1p(x: Value) -> Value:
    """log(u) with u = 1 + x, and what rounding u lost, divided by u."""
    u = x + 1.0
    lost = _where(x > 1.0, 1.0 - (u - x), x - (u - 1.0))
    # Where u is zero or infinite, its logarithm is all there is to say.
    return NUMPY.log(u) + _where((u > 0.0) & (u < LARGEST_CONSTANT), lost / u, 0.0)


def _polynomial(coefficients: Sequence[float], x: Value) -> Value:
    """Horner's scheme; the constant term comes first."""
    value = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        value = value * x + coefficient
    return value


def _normal_tail(y: Value) -> Value:
    """P(Y < -y) for y >= 0, as `fastgd._formula.normal` has it."""
    dtype = y.graph.dtype
    y = _where(y > TAIL_LAST[dtype], y.graph.constant(TAIL_LAST[dtype]), y)
    # A rounding of y^2 would be multiplied by y^2/2; the square of the upper half of the digits is exact.
    shifted = y * SPLITTER[dtype]
    upper = shifted - (shifted - y)
    rest = (y - upper) * (y + upper)
    slow = _polynomial(TAIL_COEFFICIENTS[dtype], (y - TAIL_CENTRE) / (y + TAIL_CENTRE)) / (y + TAIL_CENTRE)
    return NUMPY.exp(upper * upper * -0.5) * (slow + slow * _expm1(rest * -0.5))


def _erf(x: Value) -> Value:
    """The series near zero, elsewhere 1 - 2 P(Y < -sqrt(2) x)."""
    y = abs(x)
    near = x * _polynomial(erf_series(x.graph.dtype), x * x)
    far = 1.0 - _normal_tail(y * math.sqrt(2.0)) * 2.0
    return _where(y < ERF_SERIES_LAST, near, _where(x < 0.0, -far, far))


def _normal_cdf(x: Value) -> Value:
    """Near zero 1/2 + erf(x / sqrt(2)) / 2; else the tail on the left, and on the right 1 less the tail."""
    y, tail = abs(x), _normal_tail(abs(x))
    near = x * (_polynomial(erf_series(x.graph.dtype), y * y * 0.5) * math.sqrt(0.125)) + 0.5
    return _where(y < CDF_SERIES_LAST, near, _where(x < 0.0, tail, 1.0 - tail))


# What NumPy's rendering calls, by the names it has there.
NUMPY = SimpleNamespace(
    exp=_function("Exp"),
    expm1=_expm1,
    log=_function("Log"),
    log1p=_log1p,
    sqrt=_function("Sqrt"),
    tanh=_function("Tanh"),
    sin=_function("Sin"),
    cos=_function("Cos"),
    abs=_function("Abs"),
    maximum=_maximum,
    minimum=_minimum,
    where=_where,
)
NORMAL = SimpleNamespace(erf=_erf, normal_cdf=_normal_cdf)


def add_formula(formula: Formula, *operands: Value, **scalars: float) -> tuple[Value, ...]:
    """Add the nodes of a formula to the graph of its operands.

    Parameters
    ----------
    formula : Formula
    *operands : Value
        Its arrays.
    **scalars : float
        Its scalars, all of them.

    Returns
    -------
    tuple of Value
        What it returns.
    """
    namespace: dict[str, Any] = {"_numpy": NUMPY, "_normal": NORMAL}
    exec(compile(render(formula), f"<formula {formula.name}>", "exec"), namespace)
    graph = operands[0].graph
    chosen = [graph.constant(scalars[name]) for name in formula.scalars]
    results: tuple[Value, ...] = namespace[formula.name](*operands, *chosen, _real=graph.constant)
    return results
