"""One walk over a checked formula for every target: a target is a table of spellings.

A table maps the name of a syntax node (``"Add"``, ``"IfExp"``) or of a function of the language (``"exp"``)
to a text with ``{0}``, ``{1}``, ... where its operands go. ``"Constant"`` maps to a function from a float to
text.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import reduce
from typing import Any

OPERATORS: dict[str, Any] = {
    "Constant": repr,
    "Name": "{0}",
    "USub": "(-{0})",
    "Add": "({0} + {1})",
    "Sub": "({0} - {1})",
    "Mult": "({0} * {1})",
    "Div": "({0} / {1})",
    "Lt": "({0} < {1})",
    "LtE": "({0} <= {1})",
    "Gt": "({0} > {1})",
    "GtE": "({0} >= {1})",
    "Eq": "({0} == {1})",
    "NotEq": "({0} != {1})",
    "And": "({0} & {1})",
    "Or": "({0} | {1})",
    "Not": "(~{0})",
}


def spell(node: ast.expr, spellings: Mapping[str, Any]) -> str:
    """Spell one checked expression."""

    def fill(key: str, *operands: ast.expr) -> str:
        return spellings[key].format(*[spell(operand, spellings) for operand in operands])

    match node:
        case ast.Constant(value):
            return spellings["Constant"](value)
        case ast.Name(name):
            return spellings["Name"].format(name)
        case ast.UnaryOp(operator, operand):
            return fill(type(operator).__name__, operand)
        case ast.BinOp(left, operator, right):
            return fill(type(operator).__name__, left, right)
        case ast.Compare(left, [operator], [right]):
            return fill(type(operator).__name__, left, right)
        case ast.IfExp(test, chosen, other):
            return fill("IfExp", test, chosen, other)
        case ast.Call(ast.Name(name), arguments):
            return fill(name, *arguments)
        case ast.BoolOp(operator, values):
            texts = [spell(operand, spellings) for operand in values]
            return reduce(spellings[type(operator).__name__].format, texts)
    raise TypeError(f"not part of a checked formula: {ast.dump(node)}")
