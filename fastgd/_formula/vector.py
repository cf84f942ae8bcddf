"""A vector of lanes as a Numba type: formulas are compiled for whole registers, whatever the optimiser finds.

Importing this module imports Numba; the renderer does so when it first compiles. `Vector` stands for a short
vector of floats or integers and `Mask` for as many truth values. Arithmetic, comparisons and the intrinsics
below work on them, on plain scalars, and on a mixture, in which scalars are spread over the lanes.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, models, register_model

VECTOR_BYTES = 64


class Vector(types.Type):
    """As many numbers of one type as fill `VECTOR_BYTES`."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        self.lanes = VECTOR_BYTES * 8 // scalar.bitwidth
        super().__init__(name=f"Vector({scalar}, {self.lanes})")


class Mask(types.Type):
    """Truth values of the lanes."""

    def __init__(self, lanes: int) -> None:
        self.scalar = types.boolean
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


def _scalar_ir(scalar: Any) -> ir.Type:
    if scalar is types.boolean:
        return ir.IntType(1)
    if scalar is types.float32:
        return ir.FloatType()
    return ir.DoubleType() if scalar is types.float64 else ir.IntType(scalar.bitwidth)


@register_model(Vector)
@register_model(Mask)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(_scalar_ir(kind.scalar), kind.lanes))


def _lanes(kinds: Any) -> int:
    """Lanes of the vectors among some types; 0 if all are scalars."""
    return max((kind.lanes for kind in kinds if isinstance(kind, (Vector, Mask))), default=0)


def _element(kind: Any) -> Any:
    return kind.scalar if isinstance(kind, (Vector, Mask)) else kind


def _widen(element: Any, lanes: int) -> Any:
    if not lanes:
        return element
    return Mask(lanes) if element is types.boolean else Vector(element)


def _spread(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A scalar in every lane; a vector as it is."""
    if not lanes or isinstance(value.type, ir.VectorType):
        return value
    if isinstance(value, ir.Constant):
        return ir.Constant(ir.VectorType(value.type, lanes), [value] * lanes)
    single = builder.insert_element(
        ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(
        single, single, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )


ARITHMETIC = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
ORDER = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def _register(function: Any, compute: Any, gives_mask: bool) -> None:
    """Teach Numba one operator of two operands of which at least one is a vector of floats."""

    @infer_global(function)
    class _Operator(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vectors = [kind for kind in args if isinstance(kind, Vector)]
            if not vectors or any(_element(kind) != vectors[0].scalar for kind in args):
                return None
            return signature(Mask(vectors[0].lanes) if gives_mask else vectors[0], *args)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return compute(builder, *[_spread(builder, value, _lanes(sig.args)) for value in args])

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(function, *kinds)(lower)


for _function, _name in ARITHMETIC.items():
    _register(_function, lambda builder, x, y, name=_name: getattr(builder, name)(x, y), False)
for _function, _name in ORDER.items():
    # A comparison with a NaN is false, except !=.
    _register(
        _function,
        lambda builder, x, y, name=_name: (builder.fcmp_unordered if name == "!=" else builder.fcmp_ordered)(
            name, x, y
        ),
        True,
    )


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], *args) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _negate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


@intrinsic
def select(typing_context: Any, mask: Any, chosen: Any, other: Any) -> Any:
    """`chosen` where the mask is true, `other` elsewhere; both are computed."""
    lanes = _lanes((mask, chosen, other))
    result = _widen(_element(chosen), lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*[_spread(builder, value, lanes) for value in args])

    return result(mask, chosen, other), generate


def _operation(name: str, instruction: str) -> Any:
    """An intrinsic of two operands of the same element type that is one LLVM instruction."""

    @intrinsic
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        lanes = _lanes((x, y))

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*[_spread(builder, value, lanes) for value in args])

        return _widen(_element(x), lanes)(x, y), generate

    operation.__doc__ = f"{name} of integers or masks, lane by lane, without Python's widening."
    return operation


both = _operation("And", "and_")
either = _operation("Or", "or_")
plus = _operation("Sum", "add")
shift_left = _operation("Shift to the left", "shl")
shift_right = _operation("Logical shift to the right", "lshr")


@intrinsic
def negation(typing_context: Any, mask: Any) -> Any:
    """Not, lane by lane."""
    return mask(mask), lambda context, builder, sig, args: builder.not_(args[0])


def _call(
    builder: ir.IRBuilder, name: str, kind: ir.Type, result: ir.Type, values: list[ir.Value]
) -> ir.Value:
    """Call LLVM's own function `name` of the variant for `kind`."""
    many = isinstance(kind, ir.VectorType)
    variant = f"v{kind.count}{kind.element.intrinsic_name}" if many else kind.intrinsic_name
    function = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"{name}.{variant}"), values)


def _llvm_function(name: str, n_arguments: int) -> Any:
    """An intrinsic of LLVM that maps floats to floats."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = [_spread(builder, value, _lanes(sig.args)) for value in args]
        return _call(builder, name, values[0].type, values[0].type, values)

    if n_arguments == 1:
        return intrinsic(lambda typing_context, x: (x(x), generate))
    return intrinsic(lambda typing_context, x, y: (_widen(_element(x), _lanes((x, y)))(x, y), generate))


sqrt = _llvm_function("llvm.sqrt", 1)
absolute = _llvm_function("llvm.fabs", 1)
with_sign_of = _llvm_function("llvm.copysign", 2)

# Of the C library, one lane after the other.
library_sin = _llvm_function("llvm.sin", 1)
library_cos = _llvm_function("llvm.cos", 1)


@intrinsic
def any_lane(typing_context: Any, mask: Any) -> Any:
    """Whether any lane of a mask is true."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if not isinstance(sig.args[0], Mask):
            return args[0]
        return _call(builder, "llvm.vector.reduce.or", args[0].type, ir.IntType(1), [args[0]])

    return types.boolean(mask), generate


def _reinterpret(to_bits: bool) -> Any:
    @intrinsic
    def cast(typing_context: Any, x: Any) -> Any:
        width = _element(x).bitwidth
        integer, real = (types.int32, types.float32) if width == 32 else (types.int64, types.float64)
        result = _widen(integer if to_bits else real, _lanes((x,)))

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(result))

        return result(x), generate

    return cast


bits = _reinterpret(to_bits=True)
from_bits = _reinterpret(to_bits=False)


@intrinsic
def pointer_to(typing_context: Any, pointers: Any, k: Any) -> Any:
    """The k-th of an array of pointers."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.gep(args[0], [args[1]]))

    return types.voidptr(pointers, k), generate


def memory(real: Any) -> dict[str, Any]:
    """Loads and stores for one dtype.

    Parameters
    ----------
    real : type
        `numpy.float32` or `numpy.float64`.

    Returns
    -------
    dict
        ``load(pointer, i)`` and ``store(pointer, i, value)`` of whole vectors, ``load_part(pointer, i,
        count)`` and ``store_part(pointer, i, value, count)`` of the first `count` lanes,
        ``load_scalar(pointer, i)``; `i` counts elements. ``lanes`` is how many a vector has.
    """
    scalar = types.float32 if real is numpy.float32 else types.float64
    vector = Vector(scalar)
    size = scalar.bitwidth // 8
    alignment = ir.Constant(ir.IntType(32), size)

    def address(builder: Any, place: Any, kind: ir.Type) -> Any:
        pointer, index = place
        first = builder.bitcast(pointer, _scalar_ir(scalar).as_pointer())
        return builder.bitcast(builder.gep(first, [index]), kind.as_pointer())

    def first_lanes(builder: Any, count: Any) -> Any:
        numbers = ir.Constant(ir.VectorType(count.type, vector.lanes), list(range(vector.lanes)))
        return builder.icmp_signed("<", numbers, _spread(builder, count, vector.lanes))

    @intrinsic
    def load_scalar(typing_context: Any, pointer: Any, i: Any) -> Any:
        return scalar(pointer, i), lambda context, builder, sig, args: builder.load(
            address(builder, args, _scalar_ir(scalar)), align=size
        )

    @intrinsic
    def load(typing_context: Any, pointer: Any, i: Any) -> Any:
        # Aligned as an element is; LLVM would assume the vector's own alignment.
        return vector(pointer, i), lambda context, builder, sig, args: builder.load(
            address(builder, args, context.get_value_type(vector)), align=size
        )

    @intrinsic
    def store(typing_context: Any, pointer: Any, i: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = _spread(builder, args[2], vector.lanes)
            builder.store(value, address(builder, args[:2], value.type), align=size)
            return context.get_dummy_value()

        return types.void(pointer, i, value), generate

    @intrinsic
    def load_part(typing_context: Any, pointer: Any, i: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = context.get_value_type(vector)
            place = address(builder, args[:2], kind)
            return _call(
                builder,
                "llvm.masked.load",
                kind,
                kind,
                [place, alignment, first_lanes(builder, args[2]), ir.Constant(kind, [0.0] * vector.lanes)],
            )

        return vector(pointer, i, count), generate

    @intrinsic
    def store_part(typing_context: Any, pointer: Any, i: Any, value: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            spread = _spread(builder, args[2], vector.lanes)
            place = address(builder, args[:2], spread.type)
            _call(
                builder,
                "llvm.masked.store",
                spread.type,
                ir.VoidType(),
                [spread, place, alignment, first_lanes(builder, args[3])],
            )
            return context.get_dummy_value()

        return types.void(pointer, i, value, count), generate

    return {
        "load_scalar": load_scalar,
        "load": load,
        "store": store,
        "load_part": load_part,
        "store_part": store_part,
        "lanes": vector.lanes,
    }
