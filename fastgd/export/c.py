"""Models as C99: one file with the weights and a function of one row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations
from .._formula import Activation, Formula
from .._formula.c99 import SUFFIXES, render
from ..errors import refusal
from ..layers import BatchNorm, Dense, Dropout, LayerNorm, Softmax
from .predictor import LINK_FORMULAS, SHARE_LINKS, Predictor

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

BATCH_NORM = """\
static void {layer}(const {real} *x, {real} *out)
{{
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = (x[j] - {layer}_mean[j]) * {layer}_factor[j] + {layer}_shift[j];
{then}}}
"""

LAYER_NORM = """\
static void {layer}(const {real} *x, {real} *out)
{{
    {real} mean = 0, variance = 0;
    for (size_t j = 0; j < {n_outputs}; ++j)
        mean += x[j] / {n_outputs};
    for (size_t j = 0; j < {n_outputs}; ++j)
        variance += (x[j] - mean) * (x[j] - mean) / {n_outputs};
    const {real} factor = 1 / sqrt{suffix}(variance + {eps});
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = (x[j] - mean) * factor * {layer}_gain[j] + {layer}_shift[j];
{then}}}
"""

SOFTMAX = """\
    {real} largest = out[0], sum = 0;
    for (size_t j = 1; j < {n_outputs}; ++j)
        largest = out[j] > largest ? out[j] : largest;
    for (size_t j = 0; j < {n_outputs}; ++j)
        sum += out[j] = exp{suffix}(out[j] - largest);
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] /= sum;
"""

SOFTMAX_LAYER = """\
static void {layer}(const {real} *x, {real} *out)
{{
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = x[j];
{then}}}
"""

MEAN_AND_VARIANCE = """\
    for (size_t j = 1; j < {n_outputs}; j += {group})
        out[j] = exp{suffix}(out[j]);
"""

INCREASING = """\
    for (size_t j = 0; j < {n_outputs}; ++j)
        if (j % {group} > 0)
            out[j] = out[j - 1] + {softplus};
"""

SHARES = """\
    {real} sum = 0;
    for (size_t j = 0; j < {n_outputs}; ++j)
        sum += out[j] = {share};
    for (size_t j = 0; j < {n_outputs}; ++j)
        out[j] = sum > 0 ? out[j] / sum : ({real})1 / {n_outputs};
"""

# Links that see a row.
ROW_LINKS = {"softmax": SOFTMAX, "mean_and_variance": MEAN_AND_VARIANCE, "increasing": INCREASING}

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

    def call(self, formula: Formula, parameters: dict[str, float]) -> str:
        """An expression: a formula of the output j."""
        if formula not in self.formulas:
            name = re.sub(r"\W", "_", formula.name, flags=re.ASCII)
            taken = {other.name for other in self.formulas.values()}
            self.formulas[formula] = replace(formula, name=f"{name}_{len(taken)}" if name in taken else name)
        scalars = [self.number(parameters[name]) for name in formula.scalars]
        return f"formula_{self.formulas[formula].name}({', '.join(['out[j]', *scalars])})"

    def each(self, formula: Formula, n_outputs: int, parameters: dict[str, float]) -> str:
        """Statements that put a formula of each output in its place; none for the identity."""
        if formula == LINK_FORMULAS["linear"]:
            return ""
        return EACH.format(n_outputs=n_outputs, call=self.call(formula, parameters))

    def number(self, value: float) -> str:
        """A number of the type of all others."""
        return f"{value!r}{SUFFIXES[self.real]}"

    def function(
        self, text: str, layer: str, n_inputs: int, n_outputs: int, activation: Activation, **details: str
    ) -> None:
        """The function of a layer, from a text with places for these; its activation comes last."""
        then = self.each(activation.formula, n_outputs, activation.parameters)
        details |= dict(real=self.real, suffix=SUFFIXES[self.real], layer=layer, then=then)
        self.parts.append(text.format(n_inputs=n_inputs, n_outputs=n_outputs, **details))

    def array(self, name: str, values: Array) -> None:
        """A constant, written so that every bit comes back."""
        numbers = [f"{number}{SUFFIXES[self.real]}" for number in values.ravel()]
        lines = [", ".join(numbers[k : k + NUMBERS_PER_LINE]) for k in range(0, len(numbers), NUMBERS_PER_LINE)]
        body = ",\n    ".join(lines)
        self.parts.append(f"static const {self.real} {name}[{len(numbers)}] = {{\n    {body}\n}};\n")


@singledispatch
def add_layer(layer: Any, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    """Add a layer's arrays, taken from `weights`, and its function of that name; one function for each kind.

    Returns
    -------
    bool
        False for a layer that leaves its input as it is, and needs no function.
    """
    raise TypeError(refusal("to_c", f"a layer {layer!r}", "a layer of fastgd", "register its export"))


@add_layer.register(Dense)
def _(layer: Dense, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    source.array(f"{name}_weights", next(weights))
    source.array(f"{name}_bias", next(weights))
    source.function(DENSE, name, n_inputs, layer.units, layer.activation)
    return True


@add_layer.register(Dropout)
def _(layer: Dropout, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    return False


@add_layer.register(Softmax)
def _(layer: Softmax, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    then = SOFTMAX.format(real=source.real, suffix=SUFFIXES[source.real], n_outputs=n_inputs)
    source.parts.append(SOFTMAX_LAYER.format(real=source.real, layer=name, n_outputs=n_inputs, then=then))
    return True


@add_layer.register(BatchNorm)
def _(layer: BatchNorm, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    gain, shift, mean, variance = (next(weights) for _ in range(4))
    factor = gain / np.sqrt(variance.astype(np.float64) + layer.eps)
    for part, values in (("mean", mean), ("factor", factor.astype(gain.dtype)), ("shift", shift)):
        source.array(f"{name}_{part}", values)
    source.function(BATCH_NORM, name, n_inputs, n_inputs, layer.activation)
    return True


@add_layer.register(LayerNorm)
def _(layer: LayerNorm, source: Source, name: str, n_inputs: int, weights: Iterator[Array]) -> bool:
    source.array(f"{name}_gain", next(weights))
    source.array(f"{name}_shift", next(weights))
    source.function(LAYER_NORM, name, n_inputs, n_inputs, layer.activation, eps=source.number(layer.eps))
    return True


def source_of(predictor: Predictor, name: str) -> str:
    """The text of the file; see `write_c`."""
    from .. import __version__

    source, weights = Source(REALS[predictor.dtype.name]), iter(predictor.weights)
    called: list[str] = []
    width = widest = predictor.n_inputs
    for k, layer in enumerate(predictor.layers):
        if add_layer(layer, source, f"layer_{k}", width, weights):
            called.append(f"layer_{k}")
        width = layer.n_outputs(width)
        widest = max(widest, width)
    body = _entry(source, predictor, called, widest)
    text = "\n".join([render(source.formulas.values(), source.real), *source.parts])
    _check_name(name, text)
    sizes = dict(n_inputs=predictor.n_inputs, n_outputs=predictor.n_outputs)
    title = predictor.title.replace("*/", "* /")
    header = HEADER.format(version=__version__, title=title, name=name, real=source.real, **sizes)
    return f"{header}\n{text}\nvoid {name}(const {source.real} *x, {source.real} *out)\n{{\n{body}}}\n"


def _entry(source: Source, predictor: Predictor, layers: list[str], widest: int) -> str:
    """Statements that call one layer after another, and then the link."""
    # Each layer reads what the one before has written, and writes where that has read.
    rows = [f"row_{k % 2}" for k in range(len(layers) - 1)]
    declared = ", ".join(f"{row}[{widest}]" for row in sorted(set(rows)))
    lines = [f"    {source.real} {declared};"] if declared else []
    for layer, x, out in zip(layers, ["x", *rows], [*rows, "out"], strict=True):
        lines.append(f"    {layer}({x}, {out});")
    return "\n".join([*lines, ""]) + _link(source, predictor)


def _link(source: Source, predictor: Predictor) -> str:
    """Statements that turn the scores in `out` into predictions."""
    if predictor.link in SHARE_LINKS:
        share = source.call(LINK_FORMULAS[SHARE_LINKS[predictor.link]], {})
        return SHARES.format(real=source.real, n_outputs=predictor.n_outputs, share=share)
    if predictor.link not in ROW_LINKS:
        return source.each(LINK_FORMULAS[predictor.link], predictor.n_outputs, {})
    text, details = ROW_LINKS[predictor.link], dict(real=source.real, suffix=SUFFIXES[source.real])
    if "{softplus}" in text:
        details["softplus"] = source.call(activations.softplus.formula, {})
    return text.format(n_outputs=predictor.n_outputs, group=predictor.group, **details)


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
