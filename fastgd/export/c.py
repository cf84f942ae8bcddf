"""Models as C99: one file with the weights and a function of one row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._formula import Formula
from .._formula.c99 import SUFFIXES, render
from ..errors import refusal
from ..layers import Dense
from .predictor import LINK_FORMULAS, Predictor

if TYPE_CHECKING:
    from .._kernels import Array

__all__ = ["source_of", "write_c"]

REALS = {"float32": "float", "float64": "double"}

KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while""".split()

NUMBERS_PER_LINE = 8

HEADER = """\
/* Written by fastgd {version}:
 * {title}
 *
 *     void {name}(const {real} *x, {real} *out);
 *
 * reads a row of {n_inputs} numbers from x and writes {n_outputs} to out, which must not overlap it. C99, and -lm. */

#include <math.h>
#include <stddef.h>

enum {{ {name}_n_inputs = {n_inputs}, {name}_n_outputs = {n_outputs} }};

void {name}(const {real} *x, {real} *out);
"""

DENSE = """\
static void {layer}(const {real} *x, {real} *out)
{{
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = {layer}_bias[j];
    for (size_t i = 0; i < {n_inputs}; ++i)
        for (size_t j = 0; j < {n_outputs}; ++j)
            out[j] += x[i] * {layer}_weights[i * {n_outputs} + j];
{then}}}
"""

SOFTMAX = """\
static void softmax({real} *out)
{{
    {real} largest = out[0], sum = 0;
    for (size_t j = 1; j < {n_outputs}; ++j)
        largest = out[j] > largest ? out[j] : largest;
    for (size_t j = 0; j < {n_outputs}; ++j)
        sum += out[j] = exp{suffix}(out[j] - largest);
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] /= sum;
}}
"""

EACH = """\
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = {call};
"""


@dataclass
class Source:
    """A C file in the making.

    Attributes
    ----------
    real : {"float", "double"}
    formulas : dict of Formula to Formula
        Those that are called, each with the same under a name that C admits and no other has.
    parts : list of str
        Arrays and functions in order.
    """

    real: str
    formulas: dict[Formula, Formula] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def apply(self, formula: Formula, n_outputs: int, parameters: dict[str, float]) -> str:
        """Statements that put a formula of each output in its place; none for the identity."""
        if formula == LINK_FORMULAS["linear"]:
            return ""
        if formula not in self.formulas:
            name = re.sub(r"\W", "_", formula.name, flags=re.ASCII)
            taken = {other.name for other in self.formulas.values()}
            self.formulas[formula] = replace(formula, name=f"{name}_{len(taken)}" if name in taken else name)
        scalars = [f"{parameters[name]!r}{SUFFIXES[self.real]}" for name in formula.scalars]
        call = f"formula_{self.formulas[formula].name}({', '.join(['out[j]', *scalars])})"
        return EACH.format(n_outputs=n_outputs, call=call)

    def array(self, name: str, values: Array) -> None:
        """A constant, written so that every bit comes back."""
        numbers = [f"{number}{SUFFIXES[self.real]}" for number in values.ravel()]
        lines = [", ".join(numbers[k : k + NUMBERS_PER_LINE]) for k in range(0, len(numbers), NUMBERS_PER_LINE)]
        body = ",\n    ".join(lines)
        self.parts.append(f"static const {self.real} {name}[{len(numbers)}] = {{\n    {body}\n}};\n")


@singledispatch
def add_layer(layer: Any, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> None:
    """Add a layer's arrays, taken from `weights`, and its function of that name; one function for each kind."""
    raise TypeError(refusal("to_c", f"a layer {layer!r}", "a layer of fastgd", "register its export"))


@add_layer.register(Dense)
def _(layer: Dense, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> None:
    for array in ("weights", "bias"):
        source.array(f"{name}_{array}", next(weights))
    then = source.apply(layer.activation.formula, layer.units, layer.activation.parameters)
    text = DENSE.format(real=source.real, layer=name, n_inputs=n_inputs, n_outputs=layer.units, then=then)
    source.parts.append(text)


def source_of(predictor: Predictor, name: str) -> str:
    """The text of the file; see `write_c`."""
    from .. import __version__

    source, weights = Source(REALS[predictor.dtype.name]), iter(predictor.weights)
    n_inputs, layers = predictor.n_inputs, [f"layer_{k}" for k in range(len(predictor.layers))]
    for layer, called in zip(predictor.layers, layers, strict=True):
        add_layer(layer, source, called, n_inputs, weights)
        n_inputs = layer.units
    body = _entry(source, predictor, layers)
    formulas = render(source.formulas.values(), source.real)
    text = "\n".join([formulas, *source.parts])
    _check_name(name, text)
    title = predictor.title.replace("*/", "* /")
    sizes = dict(n_inputs=predictor.n_inputs, n_outputs=predictor.n_outputs)
    header = HEADER.format(version=__version__, title=title, name=name, real=source.real, **sizes)
    return f"{header}\n{text}\nvoid {name}(const {source.real} *x, {source.real} *out)\n{{\n{body}}}\n"


def _entry(source: Source, predictor: Predictor, layers: list[str]) -> str:
    """Statements that call one layer after another, and then the link."""
    widest = max([layer.units for layer in predictor.layers[:-1]], default=0)
    # Each layer reads what the one before has written, and writes where that has read.
    rows = [f"row_{k % 2}" for k in range(len(layers) - 1)]
    used = ", ".join(f"{row}[{widest}]" for row in sorted(set(rows)))
    lines = [f"    {source.real} {used};"] if used else []
    for layer, x, out in zip(layers, ["x", *rows], [*rows, "out"], strict=True):
        lines.append(f"    {layer}({x}, {out});")
    if predictor.link == "softmax":
        suffix = SUFFIXES[source.real]
        source.parts.append(SOFTMAX.format(real=source.real, n_outputs=predictor.n_outputs, suffix=suffix))
        return "\n".join([*lines, "    softmax(out);", ""])
    return "\n".join([*lines, ""]) + source.apply(LINK_FORMULAS[predictor.link], predictor.n_outputs, {})


def _check_name(name: Any, text: str) -> None:
    """Refuse what is no identifier of C, or is one that the file has already."""
    taken = {*KEYWORDS, *re.findall(r"\w+", text), "x", "out"}
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in taken:
        expected = "an identifier of C that the file does not use for anything else"
        raise ValueError(refusal("to_c: name", repr(name), expected, "pass name='predict'"))


def write_c(predictor: Predictor, path: str | PathLike[str], name: str) -> None:
    """Write a C file.

    Parameters
    ----------
    predictor : Predictor
    path : path
        Replaced if it exists.
    name : str
        Of its function.

    Raises
    ------
    ValueError
        For a name that will not do.
    """
    Path(path).write_text(source_of(predictor, name), encoding="utf-8")
