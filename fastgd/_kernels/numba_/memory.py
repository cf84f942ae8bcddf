"""What Numba's language lacks for kernels: numbers and records at an address, partial vectors, calls through a pointer.

An address is an integer; where one is given with an index, that counts elements.
"""

from __future__ import annotations

import sys
from ctypes import Structure
from functools import cache
from platform import machine
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from ..._formula import elementary, vector
from . import records, tiles
from .compiler import N_ARGUMENTS, inlined

INTEGER, INDEX = ir.IntType(64), ir.IntType(32)
BYTES = ir.IntType(8).as_pointer()


# ------------------------------------------------------------------------------------------------- records
@cache
def _record(kind: type[Structure]) -> Any:
    """Numba's type of a record. Short names make short symbols, of which LLVM sees thousands."""
    made = from_dtype(np.dtype(kind))
    made.name = kind.__name__
    for name, given, *_ in kind._fields_:
        if issubclass(given, Structure):
            made.fields[name] = made.fields[name]._replace(type=_record(given))
    return made


def _record_at(kind: type[Structure]) -> Any:
    made, size = _record(kind), records.sizeof(kind)

    @intrinsic
    def record_at(typing_context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            place = builder.add(args[0], builder.mul(args[1], INTEGER(size)))
            return builder.inttoptr(place, context.get_value_type(made))

        return made(types.int64, types.int64), generate

    return record_at


network_at, layer_at, scores_at, source_at, matrix_at = map(
    _record_at, (records.Network, records.Layer, records.Scores, records.Source, records.Matrix)
)
linear_job_at, linear_output_at = map(_record_at, (records.LinearJob, records.LinearOutput))


@intrinsic
def address_of(typing_context: Any, record: Any) -> Any:
    """Where a record is."""
    return types.int64(record), lambda context, builder, sig, args: builder.ptrtoint(args[0], INTEGER)


# ------------------------------------------------------------------------------------------------- numbers
def _room(builder: Any, kind: ir.Type) -> Any:
    """Memory of the function, as it is found; Numba's own way begins with writing zeros to it."""
    with builder.goto_entry_block():
        place = builder.alloca(kind)
    place.align = records.CACHE_LINE
    return place


def _place(builder: Any, address: Any, index: Any, kind: ir.Type) -> Any:
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


def _getter(kind: Any, width: int) -> Any:
    @intrinsic
    def get(typing_context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(_place(builder, args[0], args[1], context.get_value_type(kind)), align=width)

        return kind(types.int64, types.int64), generate

    return get


def _putter(kind: Any, width: int) -> Any:
    @intrinsic
    def put(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            given = context.cast(builder, args[2], sig.args[2], kind)
            builder.store(given, _place(builder, args[0], args[1], context.get_value_type(kind)), align=width)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value), generate

    return put


get_integer, put_integer = _getter(types.int64, 8), _putter(types.int64, 8)
get_double, put_double = _getter(types.float64, 8), _putter(types.float64, 8)
get_short = _getter(types.int32, 4)


def get_element(element: str) -> Any:
    """``get(address, index)`` of elements of a NumPy type."""
    dtype = np.dtype(element)
    return _getter(from_dtype(dtype), dtype.itemsize)


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """An address as the vector layer takes it."""
    return types.voidptr(address), lambda context, builder, sig, args: builder.inttoptr(args[0], BYTES)


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for a cache line that will be written."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [BYTES, INDEX, INDEX, INDEX])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(args[0], BYTES), INDEX(1), INDEX(3), INDEX(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def scratch(n_bytes: int) -> Any:
    """A function that gives memory of its caller's, so many bytes from a cache line on."""

    @intrinsic
    def room(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.ptrtoint(_room(builder, ir.ArrayType(ir.IntType(8), n_bytes)), INTEGER)

        return types.int64(), generate

    return room


# ------------------------------------------------------------------------------------------------- calls
def _caller(name: str, n_arguments: int) -> Any:
    """An intrinsic of exactly so many integers."""
    listed = ", ".join(f"a{k}" for k in range(n_arguments))
    namespace: dict[str, Any] = {}
    exec(f"def bind(make):\n    def {name}(context, {listed}):\n        return make()\n    return {name}", namespace)
    return namespace["bind"]


def _call(builder: Any, function: Any, arguments: Any, result: ir.Type = ir.VoidType()) -> Any:  # noqa: B008
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)


def _with_integers(name: str, n_arguments: int, result: Any, generate: Any) -> Any:
    signature = result(*[types.int64] * n_arguments)
    return intrinsic(_caller(name, n_arguments)(lambda: (signature, generate)))


def _through_table(name: str, n_arguments: int) -> Any:
    """Call function number a1 of the table at a0 with what follows."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function = builder.load(_place(builder, args[0], args[1], INTEGER))
        _call(builder, function, args[2:])
        return context.get_dummy_value()

    return _with_integers(name, n_arguments + 2, types.void, generate)


# The functions of tiles.py. On the machines there are, an address is passed as an integer is.
multiply_rows = _through_table("multiply_rows", 10)
multiply_columns = _through_table("multiply_columns", 7)
transpose_block = _through_table("transpose_block", 6)


def _block(name: str, n_arrays: int) -> Any:
    """Call a block function: its address, those of its arrays, their length, that of its scalars."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, *arrays, count, scalars = args
        places = _room(builder, ir.ArrayType(INTEGER, n_arrays))
        for k, array in enumerate(arrays):
            builder.store(array, builder.gep(places, [INDEX(0), INDEX(k)]))
        _call(builder, function, [builder.ptrtoint(places, INTEGER), count, scalars])
        return context.get_dummy_value()

    return _with_integers(name, n_arrays + 3, types.void, generate)


apply_activation = _block("apply_activation", 2)
apply_loss = _block("apply_loss", 4)
apply_rule = _block("apply_rule", 2 + records.MOST_STATES)


def _generate_kernel_call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _call(builder, args[0], args[1:], INTEGER)


call_kernel = _with_integers("call_kernel", 1 + N_ARGUMENTS, types.int64, _generate_kernel_call)
"""Call a kernel by its address."""


def _generate_own_call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _call(builder, args[0], args[1:], ir.DoubleType())


call_own = _with_integers("call_own", 8, types.float64, _generate_own_call)
"""Call a user's own loss of a row: its address; scores, target, label, gradient, both lengths, scalars."""


# ------------------------------------------------------------------------------------------------- the processor
IS_X86 = machine().lower() in ("x86_64", "amd64")
IS_ARM = machine().lower() in ("arm64", "aarch64")

# Flush to zero, and on x86 also take subnormal operands for zero.
FLUSH = 0x8040 if IS_X86 else 1 << 24


def _control(builder: Any, value: Any) -> Any:
    """Read the floating-point mode, or write it."""
    if IS_ARM:
        name = "llvm.aarch64.get.fpcr" if value is None else "llvm.aarch64.set.fpcr"
        kind = ir.FunctionType(INTEGER, []) if value is None else ir.FunctionType(ir.VoidType(), [INTEGER])
        called = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(called, [] if value is None else [value])
    name = "llvm.x86.sse.stmxcsr" if value is None else "llvm.x86.sse.ldmxcsr"
    place = _room(builder, INDEX)
    if value is not None:
        builder.store(builder.trunc(value, INDEX), place)
    kind = ir.FunctionType(ir.VoidType(), [BYTES])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [builder.bitcast(place, BYTES)])
    return builder.zext(builder.load(place), INTEGER)


@intrinsic
def flush_subnormals(typing_context: Any) -> Any:
    """For moments of a batch that is learnt, which make an update many times slower. Gives the mode before."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if not (IS_X86 or IS_ARM):
            return INTEGER(0)
        before = _control(builder, None)
        _control(builder, builder.or_(before, INTEGER(FLUSH)))
        return before

    return types.int64(), generate


@intrinsic
def restore_mode(typing_context: Any, before: Any) -> Any:
    """The mode as it was."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if IS_X86 or IS_ARM:
            _control(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate


# ------------------------------------------------------------------------------------------------- one dtype
@cache
def of_dtype(dtype: str) -> SimpleNamespace:
    """Numbers, vectors and the shape of tiles for one dtype.

    ``real``, its ``size``; ``zero`` and ``one`` of it; ``lanes`` of a vector, the ``panel`` width, ``tile_rows``;
    ``get(address, k)``, ``put(address, k, x)``; of vectors ``load``, ``store`` as `vector.memory` has them, and

    * ``load_lanes(address, count, elsewhere)``, ``store_lanes(address, value, count)``: the first `count` lanes;
    * ``splat(x)``: a number in every lane; ``is_before(count)``: the first lanes; ``is_lane(k)``: one lane, or none;
    * ``total(v)``, ``largest(v)``: over the lanes, in an order that is always the same.
    """
    real: Any = np.dtype(dtype).type
    kind = from_dtype(np.dtype(dtype))
    shape = tiles.shape_for(tiles.host()[1])
    memory = SimpleNamespace(**vector.memory(real))
    lanes_type = vector.Vector(kind)
    mask_type = vector.Mask(lanes_type.lanes)
    size = np.dtype(dtype).itemsize
    suffix = f"v{lanes_type.lanes}f{8 * size}"

    def masked(builder: Any, count: Any) -> Any:
        numbers = ir.Constant(ir.VectorType(INTEGER, lanes_type.lanes), list(range(lanes_type.lanes)))
        return builder.icmp_signed("<", numbers, vector._spread(builder, count, lanes_type.lanes))

    @intrinsic
    def load_lanes(typing_context: Any, address: Any, count: Any, elsewhere: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            llvm = context.get_value_type(lanes_type)
            place = builder.inttoptr(args[0], llvm.as_pointer())
            other = vector._spread(builder, args[2], lanes_type.lanes)
            function = ir.FunctionType(llvm, [place.type, INDEX, ir.VectorType(ir.IntType(1), llvm.count), llvm])
            called = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.load.{suffix}.p0")
            return builder.call(called, [place, INDEX(size), masked(builder, args[1]), other])

        return lanes_type(types.int64, types.int64, elsewhere), generate

    @intrinsic
    def store_lanes(typing_context: Any, address: Any, value: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            llvm = context.get_value_type(lanes_type)
            place = builder.inttoptr(args[0], llvm.as_pointer())
            value = vector._spread(builder, args[1], lanes_type.lanes)
            mask = masked(builder, args[2])
            function = ir.FunctionType(ir.VoidType(), [llvm, place.type, INDEX, mask.type])
            called = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.store.{suffix}.p0")
            builder.call(called, [value, place, INDEX(size), mask])
            return context.get_dummy_value()

        return types.void(types.int64, value, types.int64), generate

    @intrinsic
    def splat(typing_context: Any, x: Any) -> Any:
        return lanes_type(x), lambda context, builder, sig, args: vector._spread(builder, args[0], lanes_type.lanes)

    @intrinsic
    def is_lane(typing_context: Any, k: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            numbers = ir.Constant(ir.VectorType(INTEGER, lanes_type.lanes), list(range(lanes_type.lanes)))
            return builder.icmp_signed("==", numbers, vector._spread(builder, args[0], lanes_type.lanes))

        return mask_type(types.int64), generate

    @intrinsic
    def is_before(typing_context: Any, count: Any) -> Any:
        return mask_type(types.int64), lambda context, builder, sig, args: masked(builder, args[0])

    def reduction(name: str, start: float | None) -> Any:
        @intrinsic
        def reduce(typing_context: Any, v: Any) -> Any:
            def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                scalar = args[0].type.element
                values = [*([] if start is None else [ir.Constant(scalar, start)]), args[0]]
                function = ir.FunctionType(scalar, [value.type for value in values])
                full_name = f"llvm.vector.reduce.{name}.{suffix}"
                called = cgutils.get_or_insert_function(builder.module, function, full_name)
                # Pairs of halves, not lane after lane.
                return builder.call(called, values, fastmath=("reassoc",))

            return kind(v), generate

        return reduce

    return SimpleNamespace(
        dtype=dtype,
        real=real,
        size=size,
        zero=real(0),
        one=real(1),
        infinity=real(np.inf),
        lanes=lanes_type.lanes,
        panel=shape.vectors * lanes_type.lanes,
        tile_rows=shape.rows,
        n_variants=len(tiles.variants(shape)),
        n_tiles=len(tiles.names(shape)) - 1,
        get=_getter(kind, size),
        put=_putter(kind, size),
        load=memory.load,
        store=memory.store,
        load_lanes=load_lanes,
        store_lanes=store_lanes,
        splat=splat,
        is_lane=is_lane,
        is_before=is_before,
        total=reduction("fadd", -0.0),
        largest=reduction("fmax", None),
        functions=elementary.functions(real, inlined),
    )


assert sys.byteorder == "little", "masks and patterns are written for little-endian machines"
