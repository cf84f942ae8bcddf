"""Derivatives of formulas, worked out from their expressions.

The language is closed, so differentiation is complete: for each operator and function there is a rule. Expressions
are read into a graph in which equal parts are one node, and simplified as they are made; so what the derivative has in
common with itself is computed once, and what is multiplied by 0 or 1 is not computed at all.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from .language import Formula

__all__ = ["derivatives_of_activation", "derivatives_of_loss"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. Equal ones are the same object, see `Graph.node`.

    `kind` is "number", "name", "sum" (of two), "product" (of a coefficient and any factors), "quotient", "call",
    "choice" (of a test and two values), or, of a test, "compare", "join" or "not"; `value` is the number, the name, the
    coefficient, the function's name or the operator.
    """

    kind: str
    value: Any
    parts: tuple[Self, ...]
    number: int

    def is_number(self, value: float) -> bool:
        """Whether it is that constant."""
        return self.kind == "number" and self.value == value


class Graph:
    """Makes nodes, simplified."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}

    def node(self, kind: str, value: Any = None, *parts: Node) -> Node:
        """The one node of that kind, value and parts."""
        key = kind, str(value), tuple(part.number for part in parts)
        if key not in self._known:
            self._known[key] = Node(kind, value, parts, len(self._known))
        return self._known[key]

    def constant(self, value: float) -> Node:
        """A number."""
        return self.node("number", float(value))

    def product(self, *given: Node) -> Node:
        """Of any number of nodes: a coefficient, and factors in the order in which they were first made."""
        coefficient = 1.0
        factors: list[Node] = []
        for each in given:
            if each.kind == "number":
                coefficient *= each.value
            elif each.kind == "product":
                coefficient *= each.value
                factors += each.parts
            else:
                factors.append(each)
        if coefficient == 0.0 or not factors:
            return self.constant(coefficient)
        factors.sort(key=lambda node: node.number)
        for k, factor in enumerate(factors):
            # What a choice between numbers multiplies need not be multiplied.
            if factor.kind == "choice" and all(part.kind == "number" for part in factor.parts[1:]):
                rest = self.product(self.constant(coefficient), *factors[:k], *factors[k + 1 :])
                test, chosen, other = factor.parts
                if rest.kind != "number" or len(given) > 1:
                    return self.choice(test, self.product(chosen, rest), self.product(other, rest))
        if coefficient == 1.0 and len(factors) == 1:
            return factors[0]
        return self.node("product", coefficient, *factors)

    def negative(self, x: Node) -> Node:
        """-x"""
        return self.product(self.constant(-1.0), x)

    def split(self, x: Node) -> tuple[float, Node]:
        """A coefficient, and what it multiplies."""
        return (x.value, self.product(*x.parts)) if x.kind == "product" else (1.0, x)

    def sum(self, x: Node, y: Node) -> Node:
        """x + y"""
        if x.kind == y.kind == "number":
            return self.constant(x.value + y.value)
        if x.is_number(0.0) or y.is_number(0.0):
            return y if x.is_number(0.0) else x
        (of_x, core_x), (of_y, core_y) = self.split(x), self.split(y)
        if core_x is core_y:
            return self.product(self.constant(of_x + of_y), core_x)
        if core_x.kind == core_y.kind == "quotient" and core_x.parts[1] is core_y.parts[1]:
            tops = [self.product(self.constant(c), core.parts[0]) for c, core in ((of_x, core_x), (of_y, core_y))]
            return self.quotient(self.sum(*tops), core_x.parts[1])
        if x.kind == y.kind == "choice" and x.parts[0] is y.parts[0]:
            return self.choice(x.parts[0], self.sum(x.parts[1], y.parts[1]), self.sum(x.parts[2], y.parts[2]))
        return self.node("sum", None, x, y)

    def difference(self, x: Node, y: Node) -> Node:
        """x - y"""
        return self.sum(x, self.negative(y))

    def quotient(self, x: Node, y: Node) -> Node:
        """x / y"""
        if y.kind == "number" and y.value != 0.0:
            return self.product(self.constant(1.0 / y.value), x)
        coefficient, core = self.split(x)
        if x.kind == "number" and x.value != 0.0:
            coefficient, core = x.value, self.constant(1.0)
        if x.is_number(0.0) or coefficient != 1.0:
            return x if x.is_number(0.0) else self.product(self.constant(coefficient), self.quotient(core, y))
        return self.constant(1.0) if x is y else self.node("quotient", None, x, y)

    def call(self, name: str, *arguments: Node) -> Node:
        """A function of the language."""
        return self.node("call", name, *arguments)

    def compare(self, operator: ast.cmpop, x: Node, y: Node) -> Node:
        """A test of two numbers."""
        return self.node("compare", type(operator).__name__, x, y)

    def choice(self, test: Node, chosen: Node, other: Node) -> Node:
        """x if test else y"""
        if chosen.kind == "choice" and chosen.parts[0] is test:
            chosen = chosen.parts[1]
        if other.kind == "choice" and other.parts[0] is test:
            other = other.parts[2]
        return chosen if chosen is other else self.node("choice", None, test, chosen, other)


MADE_BY = {ast.Add: "sum", ast.Sub: "difference", ast.Mult: "product", ast.Div: "quotient"}


class Reader:
    """A formula's result as a node."""

    def __init__(self, graph: Graph, formula: Formula) -> None:
        self.graph = graph
        self.known = {name: graph.node("name", name) for name in formula.arrays + formula.scalars}
        for name, expression in formula.body:
            self.known[name] = self.read(expression)
        [result] = formula.results
        self.result = self.read(result)

    def read(self, expression: ast.expr) -> Node:
        """A checked expression."""
        graph = self.graph
        match expression:
            case ast.Constant(value):
                return graph.constant(float(value))  # type: ignore[arg-type]
            case ast.Name(name):
                return self.known[name]
            case ast.UnaryOp(ast.USub(), operand):
                return graph.negative(self.read(operand))
            case ast.BinOp(left, operator, right):
                return getattr(graph, MADE_BY[type(operator)])(self.read(left), self.read(right))
            case ast.IfExp(test, chosen, other):
                return graph.choice(self.test(test), self.read(chosen), self.read(other))
            case ast.Call(ast.Name(name), arguments):
                return graph.call(name, *map(self.read, arguments))
        raise TypeError(f"not part of a checked formula: {ast.dump(expression)}")

    def test(self, expression: ast.expr) -> Node:
        """A checked test."""
        match expression:
            case ast.Compare(left, [operator], [right]):
                return self.graph.compare(operator, self.read(left), self.read(right))
            case ast.BoolOp(operator, values):
                return self.graph.node("join", type(operator).__name__, *map(self.test, values))
            case ast.UnaryOp(ast.Not(), operand):
                return self.graph.node("not", None, self.test(operand))
        raise TypeError(f"not part of a checked formula: {ast.dump(expression)}")


@dataclass(frozen=True)
class Joints:
    """What to take for a derivative where two pieces of a formula meet.

    Of |x| it is `sign` at zero; of a choice the slope of the piece that is chosen or, with `mean`, the mean of the two.
    A formula may be smooth although its pieces are not, as max(z, 0) + log(1 + e^-|z|) is, and then only one will do.
    """

    sign: float
    mean: bool


# In the order of preference: zero is the usual subgradient, and what takes the mean takes longer.
JOINTS = (Joints(0.0, False), Joints(1.0, False), Joints(-1.0, False), Joints(0.0, True))


class Derivative:
    """Derivatives of nodes by one name.

    With `briefly`, in the form that shares most with the value itself; otherwise in one that has its digits wherever
    the value does. `joints` says what holds where the pieces of a formula meet.
    """

    def __init__(self, graph: Graph, by: str, briefly: bool, joints: Joints) -> None:
        self.graph, self.by, self.briefly, self.joints = graph, by, briefly, joints
        self.known: dict[Node, Node] = {}

    def __call__(self, node: Node) -> Node:
        if node not in self.known:
            self.known[node] = self._derive(node)
        return self.known[node]

    def _derive(self, node: Node) -> Node:
        graph, parts = self.graph, node.parts
        match node.kind:
            case "number" | "name":
                return graph.constant(float(node.value == self.by))
            case "sum":
                return graph.sum(self(parts[0]), self(parts[1]))
            case "product":
                total = graph.constant(0.0)
                for k, part in enumerate(parts):
                    total = graph.sum(total, graph.product(self(part), *parts[:k], *parts[k + 1 :]))
                return graph.product(graph.constant(node.value), total)
            case "quotient":
                return self._of_quotient(node, *parts)
            case "choice":
                return self.choice(parts[0], self(parts[1]), self(parts[2]))
            case "call":
                return CALLS[node.value](self, node, *parts)
        raise TypeError(f"a test has no derivative: {node}")

    def _of_quotient(self, quotient: Node, x: Node, y: Node) -> Node:
        graph = self.graph
        if self._plus_exponential(y):
            return graph.difference(graph.quotient(self(x), y), graph.product(quotient, self.relative(y)))
        return graph.quotient(graph.difference(self(x), graph.product(quotient, self(y))), y)

    def _plus_exponential(self, x: Node) -> tuple[Node, Node] | None:
        """The number and the exponential that x is the sum of, if it is one."""
        for first, second in (x.parts, x.parts[::-1]) if x.kind == "sum" else ():
            if first.kind == "number" and second.kind == "call" and second.value == "exp":
                return first, second
        return None

    def relative(self, x: Node) -> Node:
        """x' / x. Of c + e^u it is u' times a share that is finite where e^u is not: 1 - c / x, or e^u / x."""
        graph, found = self.graph, self._plus_exponential(x)
        if x.kind == "call" and x.value == "exp":
            return self(x.parts[0])
        if found is None:
            return graph.quotient(self(x), x)
        number, exponential = found
        inverse = graph.quotient(graph.constant(1.0), x)
        share = graph.difference(graph.constant(1.0), graph.product(number, inverse))
        if not self.briefly:
            # For a small e^u the difference would lose its digits.
            large = graph.compare(ast.Gt(), exponential, graph.constant(abs(number.value)))
            share = graph.choice(large, share, graph.product(exponential, inverse))
        return graph.product(self(exponential.parts[0]), share)

    def choice(self, test: Node, chosen: Node, other: Node) -> Node:
        """The slope of one piece or of the other."""
        slope = self.graph.choice(test, chosen, other)
        if not self.joints.mean or test.kind != "compare" or chosen is other:
            return slope
        mean = self.graph.product(self.graph.constant(0.5), self.graph.sum(chosen, other))
        return self.graph.choice(self.graph.compare(ast.Eq(), *test.parts), mean, slope)

    def chain(self, outer: Node, *inner: Node) -> Node:
        """outer times the derivative of inner."""
        return self.graph.product(outer, *map(self, inner))


def _derivative_of_tanh(d: Derivative, value: Node, x: Node) -> Node:
    return d.chain(d.graph.difference(d.graph.constant(1.0), d.graph.product(value, value)), x)


def _derivative_of_log1p(d: Derivative, value: Node, x: Node) -> Node:
    return d.relative(d.graph.sum(d.graph.constant(1.0), x))


def _derivative_of_sqrt(d: Derivative, value: Node, x: Node) -> Node:
    return d.graph.quotient(d.chain(d.graph.constant(0.5), x), value)


def _bell(factor: float, exponent: float) -> Callable[..., Node]:
    def derive(d: Derivative, value: Node, x: Node) -> Node:
        bell = d.graph.call("exp", d.graph.product(d.graph.constant(exponent), x, x))
        return d.chain(d.graph.product(d.graph.constant(factor), bell), x)

    return derive


def _derivative_of_abs(d: Derivative, value: Node, x: Node) -> Node:
    graph, zero, slope = d.graph, d.graph.constant(0.0), d(x)
    if d.joints.sign > 0.0:
        return graph.choice(graph.compare(ast.Lt(), x, zero), graph.negative(slope), slope)
    # Where neither is true, x is zero, or a NaN that must not be hidden.
    otherwise = graph.product(slope, x) if d.joints.sign == 0.0 else graph.negative(slope)
    below = graph.choice(graph.compare(ast.Lt(), x, zero), graph.negative(slope), otherwise)
    return graph.choice(graph.compare(ast.Gt(), x, zero), slope, below if d.joints.sign == 0.0 else otherwise)


def _of_extreme(operator: ast.cmpop) -> Callable[..., Node]:
    """Of the one that is taken; of the second where they are equal, so that maximum(z, 0) is flat at zero."""
    return lambda d, value, x, y: d.choice(d.graph.compare(operator, x, y), d(x), d(y))


CALLS: dict[str, Callable[..., Node]] = {
    "exp": lambda d, value, x: d.chain(value, x),
    "expm1": lambda d, value, x: d.chain(d.graph.call("exp", x), x),
    "log": lambda d, value, x: d.relative(x),
    "log1p": _derivative_of_log1p,
    "sqrt": _derivative_of_sqrt,
    "tanh": _derivative_of_tanh,
    "erf": _bell(2.0 / math.sqrt(math.pi), -1.0),
    "normal_cdf": _bell(1.0 / math.sqrt(2.0 * math.pi), -0.5),
    "sin": lambda d, value, x: d.chain(d.graph.call("cos", x), x),
    "cos": lambda d, value, x: d.graph.negative(d.chain(d.graph.call("sin", x), x)),
    "abs": _derivative_of_abs,
    "maximum": _of_extreme(ast.Gt()),
    "minimum": _of_extreme(ast.Lt()),
}


class Writer:
    """A node as the body and the result of a formula: what is used more than once is computed first, and named."""

    def __init__(self, graph: Graph, result: Node, named: dict[Node, str]) -> None:
        self.graph, self.named = graph, dict(named)
        self.uses: Counter[Node] = Counter()
        self.body: list[tuple[str, ast.expr]] = []
        self._count(result)
        self._share_inverses()
        self.result = self.write(result)

    def _count(self, node: Node) -> None:
        self.uses[node] += 1
        if self.uses[node] == 1 and node not in self.named:
            for part in node.parts:
                self._count(part)

    def _inverse(self, node: Node) -> Node | None:
        """1 / y of a quotient x / y, if that is there as well."""
        inverse = self.graph.quotient(self.graph.constant(1.0), node.parts[1])
        return inverse if inverse is not node and self.uses[inverse] else None

    def _share_inverses(self) -> None:
        for node in [node for node in self.uses if node.kind == "quotient"]:
            inverse = self._inverse(node)
            if inverse is not None:
                self.uses[inverse] += 1

    def name(self, node: Node, expression: ast.expr) -> ast.expr:
        """A name for what was written."""
        self.named[node] = f"_part{len(self.body) + 1}"
        self.body.append((self.named[node], expression))
        return ast.Name(self.named[node])

    def write(self, node: Node) -> ast.expr:
        """The expression, or the name it has."""
        if node in self.named:
            return ast.Name(self.named[node])
        expression = self._expression(node)
        shared = self.uses[node] > 1 and node.kind in ("sum", "product", "quotient", "call", "choice")
        return self.name(node, expression) if shared else expression

    def _expression(self, node: Node) -> ast.expr:
        match node.kind:
            case "number":
                return ast.Constant(node.value)
            case "name":
                return ast.Name(node.value)
            case "product":
                return self._product(node.value, node.parts)
            case "sum":
                return self._sum(*node.parts)
            case "not":
                return ast.UnaryOp(ast.Not(), self.write(node.parts[0]))
            case "quotient" if inverse := self._inverse(node):
                return ast.BinOp(self.write(node.parts[0]), ast.Mult(), self.write(inverse))
        parts = [self.write(part) for part in node.parts]
        match node.kind:
            case "quotient":
                return ast.BinOp(parts[0], ast.Div(), parts[1])
            case "call":
                return ast.Call(ast.Name(node.value), parts, [])
            case "choice":
                return ast.IfExp(*parts)
            case "compare":
                return ast.Compare(parts[0], [getattr(ast, node.value)()], parts[1:])
        return ast.BoolOp(getattr(ast, node.value)(), parts)

    def _sum(self, x: Node, y: Node) -> ast.expr:
        for first, second in ((x, y), (y, x)):
            if second.kind in ("product", "number") and second.value < 0.0 and self.uses[second] == 1:
                return ast.BinOp(self.write(first), ast.Sub(), self.write(self._positive(second)))
        return ast.BinOp(self.write(x), ast.Add(), self.write(y))

    def _positive(self, node: Node) -> Node:
        """The negative of what is negative, to be written in its place."""
        positive = self.graph.negative(node)
        self.uses[positive] += self.uses[node]
        return positive

    def _product(self, coefficient: float, factors: tuple[Node, ...]) -> ast.expr:
        inverses = [f for f in factors if f.kind == "quotient" and f.parts[0].is_number(1.0) and self.uses[f] == 1]
        powers = Counter(factor for factor in factors if factor not in inverses[:1])
        terms = [self._power(factor, exponent) for factor, exponent in powers.items()]
        if abs(coefficient) != 1.0 or not terms:
            terms.insert(0, ast.Constant(abs(coefficient)))
        written = terms[0]
        for term in terms[1:]:
            written = ast.BinOp(written, ast.Mult(), term)
        for inverse in inverses[:1]:
            written = ast.BinOp(written, ast.Div(), self.write(inverse.parts[1]))
        return ast.UnaryOp(ast.USub(), written) if coefficient < 0.0 else written

    def _power(self, base: Node, exponent: int) -> ast.expr:
        """By repeated squaring."""
        if exponent == 1:
            return self.write(base)
        half = base if exponent < 4 else self.graph.node("power", exponent // 2, base)
        if half not in self.named and half.kind != "name":
            self.name(half, self._power(base, exponent // 2))
        square = ast.BinOp(self.write(half), ast.Mult(), self.write(half))
        return ast.BinOp(square, ast.Mult(), self.write(base)) if exponent % 2 else square


def _leaves(node: Node, named: dict[Node, str]) -> Iterator[str]:
    """The names that a node is made of."""
    seen, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in named or node.kind == "name":
            yield named.get(node, node.value)
        else:
            waiting += node.parts


def _formula(formula: Formula, arrays: tuple[str, ...], graph: Graph, result: Node, named: dict[Node, str]) -> Formula:
    """The derivative of a formula, of its arrays or of its output, with a source that says how it was computed."""
    writer = Writer(graph, result, named)
    name = f"{formula.name}_derivative"
    star = ["*", *formula.scalars] if formula.scalars else []
    lines = [f"def {name}({', '.join([*arrays, *star])}):"]
    lines += [f"    {target} = {ast.unparse(expression)}" for target, expression in writer.body]
    lines.append(f"    return {ast.unparse(writer.result)}\n")
    return Formula(
        name,
        arrays,
        formula.scalars,
        dict(formula.defaults),
        1,
        "\n".join(lines),
        tuple(writer.body),
        (writer.result,),
        formula.file,
        formula.line,
    )


def derivatives_of_activation(formula: Formula) -> Iterator[tuple[Formula, str]]:
    """Derivatives of an activation, each with what it is of: ``"output"``, if it needs no more, or ``"input"``.

    All are the same but for the points where the formula's pieces meet.

    Parameters
    ----------
    formula : Formula
        Of one array.
    """
    graph = Graph()
    [by] = formula.arrays
    value = Reader(graph, formula).result
    output = {value: "output" if by != "output" else "result"}
    brief = Derivative(graph, by, briefly=True, joints=JOINTS[0])(value)
    if value.kind not in ("name", "number") and by not in _leaves(brief, output):
        yield _formula(formula, tuple(output.values()), graph, brief, output), "output"
    for joints in JOINTS:
        result = Derivative(graph, by, briefly=False, joints=joints)(value)
        yield _formula(formula, formula.arrays, graph, result, {}), "input"


def derivatives_of_loss(formula: Formula) -> Iterator[Formula]:
    """Derivatives of a loss by the score, its first array; the same but for the points where pieces meet.

    Parameters
    ----------
    formula : Formula
        Of two arrays.
    """
    for joints in JOINTS:
        graph = Graph()
        result = Derivative(graph, formula.arrays[0], briefly=False, joints=joints)(Reader(graph, formula).result)
        yield _formula(formula, formula.arrays, graph, result, {})
