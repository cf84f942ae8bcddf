"""Formulas rendered to plain C99: functions of one number, with the exponentials and the like of ``math.h``.

The C that the engine is compiled from is another, of whole vectors: `fastgd._formula.c`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .c import render_formula
from .language import FUNCTIONS, Formula
from .renderer import OPERATORS

SUFFIXES = {"float": "f", "double": ""}

# What math.h lacks. REAL stands for the type, @ for the suffix of its numbers and functions, REST for what rounding
# sqrt(1/2) to it has lost. The derivative of erfc makes up for the rounding of x / sqrt(2), which far out would cost
# many digits.
LACKING = {
    "maximum": "static REAL maximum(REAL x, REAL y)\n{\n    return x > y || x != x ? x : y;\n}\n",
    "minimum": "static REAL minimum(REAL x, REAL y)\n{\n    return x < y || x != x ? x : y;\n}\n",
    "normal_cdf": """\
static REAL normal_cdf(REAL x)
{
    const REAL root_half = 0.7071067811865476@, rest = REST@;
    const REAL t = -x * root_half, lost = fma@(-x, root_half, -t) - x * rest;
    return 0.5@ * (erfc@(t) - (x * x < 1600.0@ ? 1.1283791670955126@ * exp@(-t * t) * lost : 0.0@));
}
""",
}
REST = {"float": "1.2101617e-08", "double": "-4.833646656726457e-17"}


def spellings(real: str) -> Mapping[str, Any]:
    """How operators and functions are spelled.

    Parameters
    ----------
    real : {"float", "double"}
    """
    suffix = SUFFIXES[real]
    functions = {}
    for name, function in FUNCTIONS.items():
        called = name if name in LACKING else {"abs": "fabs"}.get(name, name) + suffix
        functions[name] = called + "(" + ", ".join(f"{{{k}}}" for k in range(function.n_arguments)) + ")"
    return {
        **OPERATORS,
        **functions,
        "Constant": lambda value: f"{value!r}{suffix}",
        # A name of the formula's may be a keyword of C, or one of its functions.
        "Name": "{0}_",
        "And": "({0} && {1})",
        "Or": "({0} || {1})",
        "Not": "(!{0})",
        "IfExp": "({0} ? {1} : {2})",
    }


def render(formulas: Iterable[Formula], real: str) -> str:
    """The C functions ``formula_...`` of some formulas, with what they call and ``math.h`` has not.

    Parameters
    ----------
    formulas : iterable of Formula
        Their names differ and are identifiers of C.
    real : {"float", "double"}
    """
    spelled = spellings(real)
    text = "\n".join(render_formula(formula, real, spelled) for formula in formulas)
    called = "\n".join(body for name, body in LACKING.items() if re.search(rf"\b{name}\(", text))
    for placeholder, meaning in (("REAL", real), ("REST", REST[real]), ("@", SUFFIXES[real])):
        called = called.replace(placeholder, meaning)
    return f"{called}\n{text}"
