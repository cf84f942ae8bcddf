"""A user's own loss of a whole row of scores: a plain function, which Numba compiles as it is.

It is no formula: it may have loops, and it writes its own gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Self

from .language import FormulaError


class RowFunction:
    """A function of (scores, target, gradient) and keyword-only parameters with numbers as defaults.

    Attributes
    ----------
    name, source, file : str
    line : int
    parameters : dict of str to float
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.name = function, function.__name__
        self.file = inspect.getsourcefile(function) or function.__code__.co_filename
        self.line = function.__code__.co_firstlineno
        try:
            self.source = "".join(inspect.getsourcelines(function)[0])
        except (OSError, TypeError):
            remedy = "define it in a file or a notebook cell"
            raise FormulaError(f"{self.where()}: the source of {self.name} cannot be read; {remedy}") from None
        given = inspect.signature(function).parameters.values()
        arrays = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        scalars = [p for p in given if p.kind is p.KEYWORD_ONLY]
        numbers = all(isinstance(p.default, (int, float)) for p in scalars)
        if len(arrays) != 3 or len(arrays) + len(scalars) != len(given) or not numbers:
            raise FormulaError(
                f"{self.where()}: row-wise loss {self.name}{inspect.signature(function)}; write three arguments: "
                "scores, target, gradient; and after a `*` parameters with numbers as defaults"
            )
        self.parameters = {p.name: float(p.default) for p in scalars}

    def where(self) -> str:
        """``file:line`` of its definition, for messages."""
        return f"{self.file}:{self.line}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Any:
        # By its name in its module, where a loss stands now. What has no such name goes as a function, if it can.
        module, name = self.function.__module__, self.function.__qualname__
        return (_of_module, (module, name)) if module != "__main__" else (RowFunction, (self.function,))

    def of_rows(self, scores: Any, targets: Any, **parameters: float) -> tuple[Any, Any]:
        """Losses of rows, and their gradients, one after the other in Python.

        Parameters
        ----------
        scores : ndarray of shape (N, O)
        targets : ndarray of shape (N,) of labels, or of shape (N, T)
        **parameters : float
        """
        import numpy

        gradients = numpy.zeros_like(scores)
        rows = zip(scores, targets, gradients, strict=True)
        with numpy.errstate(all="ignore"):
            values = [float(self.function(s, t, g, **parameters)) for s, t, g in rows]
        return numpy.array(values), gradients


def _of_module(module: str, name: str) -> RowFunction:
    """The function of a row-wise loss, by the name of the loss."""
    import importlib

    found = getattr(importlib.import_module(module), name, None)
    function: Any = getattr(found, "row_function", None)
    if not isinstance(function, RowFunction):
        remedy = "declare it there, as where it was pickled"
        raise FormulaError(f"module {module!r} has no row-wise loss {name!r}; {remedy}")
    return function


@cache
def compile_(rows: RowFunction, dtype: Any, takes_labels: bool) -> Any:
    """What the engine calls for each row.

    Parameters
    ----------
    rows : RowFunction
    dtype : {"float32", "float64"}
    takes_labels : bool
        Whether the target is a label.

    Returns
    -------
    numba.core.ccallback.CFunc
        ``double (scores, target, label, gradient, n_outputs, n_targets, scalars)``.
    """
    import numba
    import numpy
    from numba import types

    function, real, n_scalars = numba.njit(error_model="numpy")(rows.function), numpy.dtype(dtype), len(rows.parameters)
    names = [f"at_scalars[{k}]" for k in range(n_scalars)]
    target = "label" if takes_labels else "carray(target, (n_targets,), real)"
    arguments = ["carray(scores, (n_outputs,), real)", target, "carray(gradient, (n_outputs,), real)", *names]
    text = (
        "def of_row(scores, target, label, gradient, n_outputs, n_targets, scalars):\n"
        f"    at_scalars = carray(scalars, ({n_scalars + 1},), real)\n"
        f"    return function({', '.join(arguments)})\n"
    )
    namespace = {"carray": numba.carray, "function": function, "real": real}
    exec(compile(text, f"<row-wise loss {rows.name}>", "exec"), namespace)
    pointer, size = types.voidptr, types.intp
    signature = types.float64(pointer, pointer, size, pointer, size, size, pointer)
    return numba.cfunc(signature, error_model="numpy")(namespace["of_row"])


def verify(rows: RowFunction, targets: Any, n_outputs: int) -> None:
    """Refuse a gradient that is wrong.

    Parameters
    ----------
    rows : RowFunction
    targets : ndarray
        One for each of the rows to try.
    n_outputs : int

    Raises
    ------
    FormulaError
        With the row, both values, and the text.
    """
    import numpy

    step = 2.0**-17
    scores = numpy.random.default_rng(0).normal(scale=2.0, size=(len(targets), n_outputs))
    values, gradients = rows.of_rows(scores, targets, **rows.parameters)
    slopes = numpy.empty_like(scores)
    for k in range(n_outputs):
        moved = [scores + side * numpy.eye(n_outputs)[k] for side in (step, -step)]
        sides = [rows.of_rows(each, targets, **rows.parameters)[0] for each in moved]
        slopes[:, k] = (sides[0] - sides[1]) / (2.0 * step)
    # The central difference errs by h^2/6 = 1e-11 of a third derivative; rounding adds 1e-16 / h = 1e-11 of the value.
    near = 1e-7 * (1.0 + numpy.abs(slopes) + numpy.abs(values)[:, None])
    known = numpy.isfinite(slopes)
    wrong = known & ~(numpy.abs(gradients - slopes) <= near)
    if not known.any():
        raise FormulaError(f"{rows.where()}: {rows.name} is finite for none of the rows that were tried\n{rows.source}")
    if wrong.any():
        row, k = numpy.argwhere(wrong)[0]
        got = gradients[row, k]
        raise FormulaError(
            f"{rows.where()}: {rows.name} writes {got:.6g} to gradient[{k}] at scores "
            f"{scores[row].round(4).tolist()}, target {targets[row].tolist()}, but differences of its value give "
            f"{slopes[row, k]:.6g}; correct one of the two\n{rows.source.rstrip()}"
        )
