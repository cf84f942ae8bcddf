"""Formulas rendered to NumPy: their plainest meaning, with which the other renderings are compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from .language import FUNCTIONS, Formula
from .renderer import OPERATORS, spell

if TYPE_CHECKING:
    import numpy

# Functions that NumPy lacks.
NORMAL_FUNCTIONS = ("erf", "normal_cdf")

SPELLINGS = {
    **OPERATORS,
    **{
        name: f"{'_normal' if name in NORMAL_FUNCTIONS else '_numpy'}.{name}("
        + ", ".join(f"{{{k}}}" for k in range(function.n_arguments))
        + ")"
        for name, function in FUNCTIONS.items()
    },
    # A constant of the array's own type, so that an expression of constants alone is rounded as elsewhere.
    "Constant": lambda value: f"_real({value!r})",
    "IfExp": "_numpy.where({0}, {1}, {2})",
}


def render(formula: Formula) -> str:
    """Python source of a function of whole arrays, then scalars, that gives the tuple of results."""
    lines = [f"def {formula.name}({', '.join(formula.arrays + formula.scalars)}, *, _real):"]
    lines += [f"    {name} = {spell(expression, SPELLINGS)}" for name, expression in formula.body]
    results = "".join(f"{spell(result, SPELLINGS)}, " for result in formula.results)
    return "\n".join([*lines, f"    return ({results})", ""])


@cache
def compile_(formula: Formula) -> Callable[..., Any]:
    """A function of whole arrays that evaluates the formula with NumPy.

    Parameters
    ----------
    formula : Formula

    Returns
    -------
    callable
        ``f(*arrays, out=None, **scalars)``. Arrays are broadcast. The result has the widest floating dtype
        among them, float64 if there is none; `out` (an array, or a tuple of them for several results) may be
        one of the arrays.
    """
    import numpy

    from . import normal

    namespace: dict[str, Any] = {"_numpy": numpy, "_normal": normal}
    exec(compile(render(formula), f"<formula {formula.name}>", "exec"), namespace)
    rendered = namespace[formula.name]

    def evaluate(*arrays: Any, out: Any = None, **scalars: float) -> Any:
        given = _arrays(formula, arrays)
        real = given[0].dtype.type
        chosen = [real(value) for value in _scalars(formula, scalars)]
        shape = numpy.broadcast_shapes(*[array.shape for array in given])
        with numpy.errstate(all="ignore"):
            results = rendered(*given, *chosen, _real=real)
        outs = _outs(formula, out, shape, given[0].dtype)
        for target, result in zip(outs, results, strict=True):
            numpy.copyto(target, result)
        return out if out is not None else outs[0][()] if formula.outputs == 1 else tuple(a[()] for a in outs)

    evaluate.__name__ = evaluate.__qualname__ = formula.name
    return evaluate


def _arrays(formula: Formula, given: tuple[Any, ...]) -> list[numpy.ndarray]:
    import numpy

    if len(given) != len(formula.arrays):
        raise TypeError(
            f"{formula.name}: got {len(given)} arrays, expected {len(formula.arrays)}: "
            f"{', '.join(formula.arrays)}"
        )
    arrays = [numpy.asarray(array) for array in given]
    for name, array in zip(formula.arrays, arrays, strict=True):
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{formula.name}: {name} has dtype {array.dtype}, expected real numbers")
    floating = [array.dtype for array in arrays if array.dtype.kind == "f"]
    dtype = numpy.result_type(*floating) if floating else numpy.dtype(numpy.float64)
    return [array.astype(dtype.newbyteorder("="), copy=False) for array in arrays]


def _scalars(formula: Formula, given: dict[str, float]) -> list[float]:
    unknown = set(given) - set(formula.scalars)
    missing = set(formula.scalars) - set(given) - set(formula.defaults)
    if unknown or missing:
        raise TypeError(
            f"{formula.name}: got scalars {', '.join(given) or 'none'}, "
            f"expected {', '.join(formula.scalars) or 'none'}"
        )
    chosen = {**formula.defaults, **given}
    return [chosen[name] for name in formula.scalars]


def _outs(
    formula: Formula, out: Any, shape: tuple[int, ...], dtype: numpy.dtype
) -> tuple[numpy.ndarray, ...]:
    import numpy

    if out is None:
        return tuple([numpy.empty(shape, dtype) for _ in range(formula.outputs)])
    outs = out if isinstance(out, tuple) else (out,)
    if len(outs) != formula.outputs:
        raise TypeError(f"{formula.name}: out has {len(outs)} arrays, expected {formula.outputs}")
    for target in outs:
        got = (getattr(target, "shape", None), getattr(target, "dtype", None))
        if not isinstance(target, numpy.ndarray) or got != (shape, dtype):
            raise ValueError(
                f"{formula.name}: out has shape {got[0]} and dtype {got[1]}, "
                f"expected an array of shape {shape} and dtype {dtype}"
            )
        if not target.flags.writeable:
            raise ValueError(f"{formula.name}: out is read-only, expected a writeable array")
    return outs
