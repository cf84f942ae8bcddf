"""The small language in which a formula is written: what it admits, and the check that a function keeps it.

A formula says what happens to *one element*. It is a Python function with

* positional parameters: arrays, of which it sees one element each;
* keyword-only parameters: scalars, with an optional number as default;
* a body of assignments to simple names and one ``return``, last, of an expression or a tuple of expressions.

An expression is built of numbers, names, ``+ - * /``, ``-x``, ``x**n`` for a small whole number n, ``x if
test else y``, and calls of the functions in `FUNCTIONS`. A test is one comparison, or several joined by
``and``, ``or``, ``not``. Nothing else is admitted, so that a formula can be rendered to C, to Numba and to
NumPy and mean the same in all three.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

LARGEST_EXPONENT = 16
LARGEST_CONSTANT = 3e38


class FormulaError(ValueError):
    """A function that is not a formula: says where, which expression, and what to write instead."""


def exp(x: float) -> float:
    """e to the power x; infinite where that is too large."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def expm1(x: float) -> float:
    """exp(x) - 1 without loss of digits near zero."""
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def log(x: float) -> float:
    """Natural logarithm; -inf at zero, NaN below."""
    if x > 0.0:
        return math.log(x)
    return -math.inf if x == 0.0 else math.nan


def log1p(x: float) -> float:
    """log(1 + x) without loss of digits near zero; -inf at -1, NaN below."""
    if x > -1.0:
        return math.log1p(x)
    return -math.inf if x == -1.0 else math.nan


def sqrt(x: float) -> float:
    """Square root; NaN below zero."""
    return math.sqrt(x) if x >= 0.0 else math.nan


def tanh(x: float) -> float:
    """Hyperbolic tangent."""
    return math.tanh(x)


def erf(x: float) -> float:
    """Error function: 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return math.erf(x)


def normal_cdf(x: float) -> float:
    """Standard normal distribution function, accurate in both tails: (1 + erf(x / sqrt(2))) / 2."""
    return 0.5 * math.erfc(-math.sqrt(0.5) * x)


def sin(x: float) -> float:
    """Sine; NaN of an infinity."""
    return math.sin(x) if math.isfinite(x) else math.nan


def cos(x: float) -> float:
    """Cosine; NaN of an infinity."""
    return math.cos(x) if math.isfinite(x) else math.nan


def maximum(x: float, y: float) -> float:
    """The larger of the two; NaN where either is NaN."""
    return x if x > y or x != x else y


def minimum(x: float, y: float) -> float:
    """The smaller of the two; NaN where either is NaN."""
    return x if x < y or x != x else y


@dataclass(frozen=True)
class Function:
    """A function the language knows: its meaning for one Python float and its number of arguments."""

    scalar: Callable[..., float]
    n_arguments: int


FUNCTIONS: dict[str, Function] = {
    "exp": Function(exp, 1),
    "expm1": Function(expm1, 1),
    "log": Function(log, 1),
    "log1p": Function(log1p, 1),
    "sqrt": Function(sqrt, 1),
    "tanh": Function(tanh, 1),
    "erf": Function(erf, 1),
    "normal_cdf": Function(normal_cdf, 1),
    "sin": Function(sin, 1),
    "cos": Function(cos, 1),
    "abs": Function(abs, 1),
    "maximum": Function(maximum, 2),
    "minimum": Function(minimum, 2),
}

BINARY_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)

REPLACEMENTS = {
    "max": "maximum(x, y)",
    "min": "minimum(x, y)",
    "where": "x if test else y",
    "fabs": "abs(x)",
    "absolute": "abs(x)",
    "pow": "x**2 with a whole number",
    "power": "x**2 with a whole number",
    "erfc": "2.0 * normal_cdf(-1.4142135623730951 * x)",
    "ndtr": "normal_cdf(x)",
    "square": "x**2",
    "select": "x if test else y",
}

REMEDIES: dict[type[ast.AST], str] = {
    ast.If: "a conditional expression: name = x if test else y",
    ast.For: "the arithmetic for one element; the kernels walk the arrays",
    ast.While: "the arithmetic for one element, without loops",
    ast.AugAssign: "the assignment in full: x = x + y",
    ast.AnnAssign: "the assignment without an annotation: x = y",
    ast.FunctionDef: "the arithmetic in place; a formula has no inner functions",
    ast.Lambda: "the arithmetic in place; a formula has no inner functions",
    ast.Compare: "x if a < b else y; a comparison is no number here",
    ast.BoolOp: "x if a < b and b < c else y; a truth value is no number here",
    ast.Attribute: "a parameter, or the function's bare name: exp(x), not math.exp(x)",
    ast.Subscript: "the element itself; a formula sees one element of each array",
    ast.NamedExpr: "an assignment on a line of its own",
    ast.Tuple: "one expression; only the return may give several, as return x, y",
    ast.List: "one expression; only the return may give several, as return x, y",
    ast.Expr: "an assignment; an expression whose value is not used has no meaning",
    ast.Pass: "a return",
}

ADMITTED = "numbers, names, + - * / **, x if test else y, and calls of " + ", ".join(FUNCTIONS)


@dataclass(frozen=True)
class Formula:
    """A function that was read and found to keep to the language.

    Attributes
    ----------
    name : str
    arrays, scalars : tuple of str
        Positional and keyword-only parameters, in order.
    defaults : dict
        Defaults of the scalars that have one.
    outputs : int
        How many values one element gives.
    source : str
        The Python text it was read from.
    body : tuple of (str, ast.expr)
        Assignments in order, powers already written out as products.
    results : tuple of ast.expr
        What is returned.
    file, line : str, int
        Where it was written.
    """

    name: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    defaults: dict[str, float] = field(hash=False)
    outputs: int = field(compare=False)
    source: str
    body: tuple[tuple[str, ast.expr], ...] = field(compare=False, repr=False)
    results: tuple[ast.expr, ...] = field(compare=False, repr=False)
    file: str = field(compare=False)
    line: int = field(compare=False)

    def where(self) -> str:
        """``file:line`` of its definition, for messages."""
        return f"{self.file}:{self.line}"

    def unused(self) -> tuple[str, ...]:
        """Parameters that no expression reads."""
        expressions = [expression for _, expression in self.body] + list(self.results)
        read = {node.id for tree in expressions for node in ast.walk(tree) if isinstance(node, ast.Name)}
        return tuple(name for name in self.arrays + self.scalars if name not in read)


def read(function: Callable[..., Any], name: str | None = None) -> Formula:
    """Read the source of a function and check that it is a formula.

    Parameters
    ----------
    function : callable
        A plain Python function whose source text can be found.
    name : str, optional
        Name of the formula; the function's own by default.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        With file, line, the offending expression and what to write instead.
    """
    definition, source, file = _definition(function)
    reader = _Reader(function, file)
    arrays, scalars, defaults = reader.parameters(definition)
    body, results = reader.statements(definition, arrays + scalars)
    return Formula(
        name or definition.name,
        arrays,
        scalars,
        defaults,
        len(results),
        source,
        body,
        results,
        file,
        definition.lineno,
    )


def _definition(function: Callable[..., Any]) -> tuple[ast.FunctionDef, str, str]:
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise FormulaError(f"a formula is a plain Python function, got {function!r}; write it as a def")
    file = inspect.getsourcefile(function) or function.__code__.co_filename
    line = function.__code__.co_firstlineno
    try:
        lines, line = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise FormulaError(
            f"{file}:{line}: the source of {function.__name__} cannot be read; "
            "define the formula in a file or a notebook cell"
        ) from None
    # An indented definition is put under an `if`: dedenting would change the text of its docstring.
    indented = lines[0][:1].isspace()
    try:
        statement = ast.parse("if True:\n" * indented + "".join(lines)).body[0]
    except SyntaxError:
        raise FormulaError(
            f"{file}:{line}: {lines[0].strip()}: write the formula as a def of its own"
        ) from None
    definition = statement.body[0] if isinstance(statement, ast.If) else statement
    if not isinstance(definition, ast.FunctionDef):
        raise FormulaError(f"{file}:{line}: {lines[0].strip()}: write the formula as a def of its own")
    ast.increment_lineno(definition, line - 1 - indented)
    return definition, "".join(lines), file


class _Reader:
    """Checks one function definition and gives its parts."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self.function = function
        self.file = file
        self.known: set[str] = set()
        self.body: list[tuple[str, ast.expr]] = []
        self.n_temporaries = 0

    def refuse(self, node: ast.stmt | ast.expr | ast.arg, remedy: str) -> NoReturn:
        text = ast.unparse(node).split("\n")[0]
        raise FormulaError(
            f"{self.file}:{node.lineno}: `{text}` is not part of the formula language; write {remedy}"
        )

    def parameters(
        self, definition: ast.FunctionDef
    ) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, float]]:
        given = definition.args
        for extra in (given.vararg, given.kwarg):
            if extra is not None:
                self.refuse(extra, "every parameter by name")
        if given.defaults:
            self.refuse(
                given.defaults[0],
                "a keyword-only parameter (after `*`) if it is a scalar with a default; an array has none",
            )
        arrays = [a.arg for a in given.posonlyargs + given.args]
        if not arrays:
            raise FormulaError(
                f"{self.file}:{definition.lineno}: {definition.name} has no positional parameter; "
                "write at least one array before `*`"
            )
        for argument in given.posonlyargs + given.args + given.kwonlyargs:
            self.name(argument, argument.arg)
        scalars = tuple(a.arg for a in given.kwonlyargs)
        defaults = dict(self.function.__kwdefaults__ or {})
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            if default is not None:
                defaults[argument.arg] = self.number(default, defaults[argument.arg])
        return tuple(arrays), scalars, defaults

    def number(self, node: ast.expr, value: Any) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not -LARGEST_CONSTANT <= value <= LARGEST_CONSTANT:
            self.refuse(node, f"a number up to {LARGEST_CONSTANT:g}, as far as float32 reaches")
        return float(value)

    def name(self, node: ast.expr | ast.arg, name: str) -> str:
        if name in FUNCTIONS:
            self.refuse(node, f"another name: {name} is a function of the language")
        # The renderers begin the names they add with an underscore.
        if name.startswith("_") or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            self.refuse(node, "a name of ASCII letters, digits and underscores that begins with a letter")
        return name

    def statements(
        self, definition: ast.FunctionDef, parameters: tuple[str, ...]
    ) -> tuple[tuple[tuple[str, ast.expr], ...], tuple[ast.expr, ...]]:
        self.known.update(parameters)
        statements = definition.body
        if ast.get_docstring(definition, clean=False) is not None:
            statements = statements[1:]
        if not statements or not isinstance(statements[-1], ast.Return) or statements[-1].value is None:
            raise FormulaError(
                f"{self.file}:{definition.end_lineno}: {definition.name} does not end in a return of "
                "a value; write one return, last"
            )
        for statement in statements[:-1]:
            self.assignment(statement)
        value = statements[-1].value
        results = value.elts if isinstance(value, ast.Tuple) else [value]
        if not results:
            self.refuse(statements[-1], "a return of at least one expression")
        checked = tuple([self.expression(result) for result in results])
        return tuple(self.body), checked

    def assignment(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Return):
            self.refuse(statement, "one return, last; choose between values with x if test else y")
        if not isinstance(statement, ast.Assign):
            self.refuse(statement, REMEDIES.get(type(statement), "assignments and one return"))
        target = statement.targets[0]
        if len(statement.targets) != 1 or not isinstance(target, ast.Name):
            self.refuse(statement, "an assignment to one simple name")
        name = self.name(target, target.id)
        self.body.append((name, self.expression(statement.value)))
        self.known.add(name)

    def expression(self, node: ast.expr) -> ast.expr:
        """The expression again if it is admitted, with powers written out."""
        match node:
            case ast.Constant():
                return ast.Constant(self.number(node, node.value))
            case ast.Name():
                return self.variable(node)
            case ast.UnaryOp(ast.USub(), operand):
                return ast.UnaryOp(ast.USub(), self.expression(operand))
            case ast.UnaryOp(ast.UAdd(), operand):
                return self.expression(operand)
            case ast.BinOp(left, ast.Pow(), right):
                return self.power(node, left, right)
            case ast.BinOp(left, operator, right) if isinstance(operator, BINARY_OPERATORS):
                return ast.BinOp(self.expression(left), operator, self.expression(right))
            case ast.IfExp(test, chosen, other):
                return ast.IfExp(self.test(test), self.expression(chosen), self.expression(other))
            case ast.Call():
                return self.call(node)
        self.refuse(node, REMEDIES.get(type(node), ADMITTED))

    def variable(self, node: ast.Name) -> ast.Name:
        if node.id not in self.known:
            self.refuse(
                node,
                f"a number, a parameter or a name assigned above; {node.id} is none of these "
                f"(a constant from outside becomes a keyword-only parameter with a default)",
            )
        return node

    def test(self, node: ast.expr) -> ast.expr:
        """The test of a conditional expression again if it is admitted."""
        match node:
            case ast.BoolOp(operator, values):
                return ast.BoolOp(operator, [self.test(value) for value in values])
            case ast.UnaryOp(ast.Not(), operand):
                return ast.UnaryOp(ast.Not(), self.test(operand))
            case ast.Compare(left, [operator], [right]) if isinstance(operator, COMPARISONS):
                return ast.Compare(self.expression(left), [operator], [self.expression(right)])
            case ast.Compare(ops=operators) if len(operators) > 1:
                self.refuse(node, "single comparisons joined by and: a < b and b < c")
        self.refuse(node, "a comparison of two numbers as the test: x if a > 0.0 else y")

    def call(self, node: ast.Call) -> ast.Call:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if called not in FUNCTIONS:
            self.refuse(node, REPLACEMENTS.get(called, "one of " + ", ".join(FUNCTIONS)))
        if not isinstance(node.func, ast.Name):
            self.refuse(node, f"{called}(...) by its bare name")
        count = FUNCTIONS[called].n_arguments
        if node.keywords or len(node.args) != count:
            self.refuse(node, f"{called} with {count} positional argument{'s' * (count > 1)}")
        self.meaning(node, called)
        return ast.Call(node.func, [self.expression(argument) for argument in node.args], [])

    def meaning(self, node: ast.Call, name: str) -> None:
        """Refuse a name of the language that means something else where the formula was written."""
        bound = inspect.getclosurevars(self.function)
        found = {**bound.builtins, **bound.globals, **bound.nonlocals}.get(name)
        same = found is None or found is FUNCTIONS[name].scalar or found is getattr(math, name, None)
        # An activation such as fastgd.activations.tanh has the function's name and its meaning.
        same = same or str(getattr(found, "module", "")).startswith("fastgd.")
        if not same and type(found).__name__ != "ufunc":
            self.refuse(node, f"{name} of the formula language; here {name} is {found!r}")

    def power(self, node: ast.BinOp, left: ast.expr, right: ast.expr) -> ast.expr:
        exponent: Any = right.value if isinstance(right, ast.Constant) else None
        if exponent not in range(LARGEST_EXPONENT + 1) or isinstance(exponent, bool):
            self.refuse(
                node,
                f"a whole number from 0 to {LARGEST_EXPONENT} as the exponent, "
                "sqrt(x) for a half, 1.0 / x**n for a negative one",
            )
        return self.product(self.expression(left), int(exponent))

    def product(self, base: ast.expr, exponent: int) -> ast.expr:
        """The base times itself, by repeated squaring."""
        if exponent < 2:
            return base if exponent else ast.Constant(1.0)
        base = self.temporary(base)
        half = self.temporary(self.product(base, exponent // 2))
        square = ast.BinOp(half, ast.Mult(), half)
        return ast.BinOp(square, ast.Mult(), base) if exponent % 2 else square

    def temporary(self, expression: ast.expr) -> ast.Name:
        """Give an expression a name, so that a product of it with itself renders it once."""
        if isinstance(expression, ast.Name):
            return expression
        self.n_temporaries += 1
        name = f"_power{self.n_temporaries}"
        self.body.append((name, expression))
        return ast.Name(name)
