"""Formulas rendered to Python source that Numba compiles: functions of one element, and block functions.

A block function has the signature and the meaning of those rendered to C: ``void (void **arrays, intp count,
void *scalars)``. It works on whole registers, as vectors of LLVM, so that nothing depends on what the
optimiser can vectorise. Numba is imported when something is compiled, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .block import Application, Block
from .language import FUNCTIONS, Formula
from .renderer import OPERATORS, spell

SPELLINGS = {
    **OPERATORS,
    **{
        name: f"_{name}(" + ", ".join(f"{{{k}}}" for k in range(function.n_arguments)) + ")"
        for name, function in FUNCTIONS.items()
    },
    "Constant": lambda value: f"_real({value!r})",
    "IfExp": "_select({0}, {1}, {2})",
    "And": "_both({0}, {1})",
    "Or": "_either({0}, {1})",
    "Not": "_negation({0})",
}


def render(formula: Formula) -> str:
    """Python source of a function of one element of each array, then the scalars."""
    lines = [f"def formula_{formula.name}({', '.join(formula.arrays + formula.scalars)}):"]
    lines += [f"    {name} = {spell(expression, SPELLINGS)}" for name, expression in formula.body]
    results = ", ".join(spell(result, SPELLINGS) for result in formula.results)
    return "\n".join([*lines, f"    return {results}", ""])


def render_block(block: Block) -> str:
    """Python source of the block function: whole vectors, then one partial vector."""
    lines = [f"def block_{block.name}(arrays, count, scalars):"]
    lines += [f"    at_{name} = _pointer_to(arrays, {k})" for k, name in enumerate(block.arrays)]
    lines += [f"    scalar_{name} = _load_scalar(scalars, {k})" for k, name in enumerate(block.scalars)]
    lines += [
        "    i = 0",
        "    while i + _lanes <= count:",
        *_tile(block, "_load(at_{0}, i)", "_store(at_{0}, i, {1})"),
        "        i += _lanes",
        "    if i < count:",
        *_tile(block, "_load_part(at_{0}, i, count - i)", "_store_part(at_{0}, i, {1}, count - i)"),
    ]
    return "\n".join([*lines, ""])


def _tile(block: Block, load: str, store: str) -> list[str]:
    """One vector's worth of work: load, apply the formulas, store."""
    lines = [f"of_{name} = {load.format(name)}" for name in block.loaded]
    if block.keeps:
        to, name = block.keeps
        lines.append(store.format(to, f"of_{name}"))
    lines += [_apply(application) for application in block.applications]
    lines += [store.format(name, f"of_{name}") for name in block.stored]
    return ["        " + line for line in lines]


def _apply(application: Application) -> str:
    formula = application.formula
    writes = ", ".join(f"of_{name}" for name in application.writes)
    arguments = [f"of_{name}" for name in application.reads] + [f"scalar_{name}" for name in formula.scalars]
    call = f"formula_{formula.name}({', '.join(arguments)})"
    return f"{writes} = {writes} * {call}" if application.multiply else f"{writes} = {call}"


def _define(source: str, name: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    exec(compile(source, f"<rendered {name}>", "exec"), namespace)
    return namespace[name]


def _real(dtype: Any) -> type:
    import numpy

    real = numpy.dtype(dtype).type
    if real not in (numpy.float32, numpy.float64):
        raise TypeError(f"dtype: got {numpy.dtype(dtype)}, expected float32 or float64")
    return real


@cache
def compile_(formula: Formula, dtype: Any, inlined: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of one element that compiled code can call, inlined where it is called.

    Parameters
    ----------
    formula : Formula
    dtype : {"float32", "float64"}
        Type of every argument.
    inlined : callable, optional
        Decorator that makes a function callable from compiled code; by default Numba's own.

    Returns
    -------
    callable
        ``f(*elements, *scalars)``; by default a Numba dispatcher.

    Raises
    ------
    TypeError
        For another dtype.
    """
    from . import elementary, vector

    real, inlined = _real(dtype), inlined or elementary.inlined
    namespace = {
        "_real": real,
        "_select": vector.select,
        "_both": vector.both,
        "_either": vector.either,
        "_negation": vector.negation,
    }
    functions = elementary.functions(real, inlined)
    namespace.update({f"_{name}": function for name, function in functions.items()})
    return inlined(_define(render(formula), f"formula_{formula.name}", namespace))


def define_block(declared: Block, dtype: Any, inlined: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """The Python function of a block function, to be compiled.

    Parameters
    ----------
    declared : Block
        Such as ``relu.forward_block``, ``mean_squared_error.block`` or ``adam.block``.
    dtype : {"float32", "float64"}
        Type of all arrays and scalars.
    inlined : callable, optional
        As in `compile_`.

    Returns
    -------
    callable
        ``f(arrays, count, scalars)``

    Raises
    ------
    TypeError
        For another dtype.
    """
    from . import vector

    namespace = {f"_{name}": value for name, value in vector.memory(_real(dtype)).items()}
    namespace["_pointer_to"] = vector.pointer_to
    functions = {formula.name: compile_(formula, dtype, inlined) for formula in declared.formulas}
    namespace.update({f"formula_{name}": function for name, function in functions.items()})
    return _define(render_block(declared), f"block_{declared.name}", namespace)


@cache
def block(declared: Block, dtype: Any) -> Any:
    """Compile a block function.

    Parameters
    ----------
    declared : Block
    dtype : {"float32", "float64"}

    Returns
    -------
    numba.core.ccallback.CFunc
        Its ``address`` may be called by any thread without the GIL. It lives as long as the process.

    Raises
    ------
    TypeError
        For another dtype.
    """
    import numba
    from numba import types

    from . import elementary

    signature = types.void(types.CPointer(types.voidptr), types.intp, types.voidptr)
    options = {name: value for name, value in elementary.OPTIONS.items() if name != "forceinline"}
    return numba.cfunc(signature, **options)(define_block(declared, dtype))
