"""Calls of the engine from nopython code: the functions of a ``fastgd_model``, through their addresses.

Importing this module imports Numba. See ``include/fastgd.h`` for what the functions take.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

_POINTER = ir.IntType(8).as_pointer()


def _check(name: str, given: Any, dtype: Any, n_dims: tuple[int, ...], writes: bool = False) -> None:
    """Refuse, while Numba compiles, an array that the engine cannot use as it lies."""
    good = isinstance(given, types.Array) and given.dtype == dtype and given.layout == "C" and given.ndim in n_dims
    if not good or (writes and not given.mutable):
        kind = "writeable, C-contiguous" if writes else "C-contiguous"
        dims = " or ".join(f"{n}-D" for n in n_dims)
        raise TypingError(
            f"{name}: got {given}, expected a {kind} array of {dtype}, {dims}; convert it with "
            f"np.ascontiguousarray({name}, np.{dtype})"
        )


def _pointer_to(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The address of an array's first element; NULL for None."""
    if not isinstance(kind, types.Array):
        return ir.Constant(_POINTER, None)
    return builder.bitcast(context.make_array(kind)(context, builder, value).data, _POINTER)


def _function_at(builder: Any, address: Any, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [value.type for value in arguments])
    return builder.inttoptr(address, kind.as_pointer())


@cache
def predict(real: Any) -> Any:
    """``predict`` of a model of one dtype, both by their addresses.

    Parameters
    ----------
    real : {"float32", "float64"}

    Returns
    -------
    intrinsic
        ``call(function, model, x, n_rows, link, out)``.
    """
    scalar = getattr(types, real)

    @intrinsic
    def call(typing_context: Any, function: Any, model: Any, x: Any, n_rows: Any, link: Any, out: Any) -> Any:
        _check("x", x, scalar, (1, 2))
        _check("out", out, scalar, (1, 2), writes=True)
        return types.void(types.uintp, types.uintp, x, types.intp, types.int32, out), generate

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at, of, rows, n_rows, link, to = args
        arguments = [
            builder.inttoptr(of, _POINTER),
            _pointer_to(context, builder, sig.args[2], rows),
            n_rows,
            link,
            _pointer_to(context, builder, sig.args[5], to),
        ]
        builder.call(_function_at(builder, at, ir.VoidType(), arguments), arguments)
        return context.get_dummy_value()

    return call


@cache
def train(real: Any, takes_labels: bool) -> Any:
    """``train`` of a model of one dtype, both by their addresses.

    Parameters
    ----------
    real : {"float32", "float64"}
    takes_labels : bool

    Returns
    -------
    intrinsic
        ``call(function, model, x, targets, weights, n_rows)``, which gives the status and the loss.
    """
    scalar = getattr(types, real)

    @intrinsic
    def call(typing_context: Any, function: Any, model: Any, x: Any, targets: Any, weights: Any, n_rows: Any) -> Any:
        _check("x", x, scalar, (2,))
        _check("targets", targets, types.intp if takes_labels else scalar, (1,) if takes_labels else (1, 2))
        if not isinstance(weights, (types.NoneType, types.Omitted)):
            _check("weights", weights, types.float64, (1,))
        result = types.Tuple((types.int32, types.float64))
        return result(types.uintp, types.uintp, x, targets, weights, types.intp), generate

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at, of, rows, targets, weights, n_rows = args
        loss = cgutils.alloca_once(builder, ir.DoubleType())
        arguments = [
            builder.inttoptr(of, _POINTER),
            _pointer_to(context, builder, sig.args[2], rows),
            _pointer_to(context, builder, sig.args[3], targets),
            _pointer_to(context, builder, sig.args[4], weights),
            n_rows,
            loss,
        ]
        status = builder.call(_function_at(builder, at, ir.IntType(32), arguments), arguments)
        return context.make_tuple(builder, sig.return_type, [status, builder.load(loss)])

    return call
