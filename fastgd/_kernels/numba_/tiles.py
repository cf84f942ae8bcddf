"""The matrix tile: up to `rows` rows times one panel's width, all sums in registers, written as vector code for LLVM.

    out[r, c] = start[r * start_stride + c] + sum_k left(r, k) right[k, c]

left is read by broadcast, right[depth, width] by whole vectors, out[rows, width] is contiguous. Each sum runs over the
depth in order, in one chain of multiply-adds; so an element's bits do not depend on the tile's height. LLVM's optimiser
would find nothing to do here and take seconds to find out, so it is left out: there is a function for each height
because only then do the sums stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir

from .records import VECTOR_BYTES

INTEGER, INDEX, TRUTH = ir.IntType(64), ir.IntType(32), ir.IntType(1)
KINDS = ("rows", "columns")

Sums = list[list[ir.Value]]


@dataclass(frozen=True)
class Shape:
    """How many vectors a panel's row has, and the most rows whose sums find room in the registers."""

    vectors: int
    rows: int


def shape_for(features: Sequence[str]) -> Shape:
    """The shape for a processor with these features.

    32 registers of 64 bytes hold 14 rows of two vectors, two of right and a broadcast; 16 of half the size, 6 rows of
    one vector, as 32 of a quarter; 16 of a quarter, 2 rows.
    """
    if "avx512f" in features:
        return Shape(2, 14)
    return Shape(1, 6) if {"avx2", "neon"} & set(features) else Shape(1, 2)


def host() -> tuple[str, tuple[str, ...]]:
    """The processor's name and features, as LLVM knows them."""
    features = binding.get_host_cpu_features()
    return binding.get_host_cpu_name(), tuple(sorted(name for name, present in features.items() if present))


def variants(shape: Shape) -> list[tuple[int, bool]]:
    """Vectors of a row, and whether the last is masked: a full panel first, then the widths a last panel may have."""
    return [(shape.vectors, False), *((vectors, True) for vectors in range(1, shape.vectors + 1))]


def names(shape: Shape) -> list[str]:
    """Functions in the order of their table: kind by kind, variant by variant, from height 0, which there is not."""
    found = []
    for kind in KINDS:
        for vectors, masked in variants(shape):
            found += [""] + [_name(kind, vectors, masked, height) for height in range(1, shape.rows + 1)]
    return [*found, "transpose"]


def _name(kind: str, vectors: int, masked: bool, height: int) -> str:
    return f"{kind}_{vectors}_{'masked' if masked else 'full'}_{height}"


def module(real_bits: int, shape: Shape) -> str:
    """LLVM's text of all tiles for numbers of so many bits."""
    made = ir.Module("tiles")
    made.triple = binding.get_process_triple()
    for kind in KINDS:
        for vectors, masked in variants(shape):
            for height in range(1, shape.rows + 1):
                tile = Tile(made, real_bits, shape.vectors, vectors, masked, height)
                getattr(tile, f"add_{kind}")(_name(kind, vectors, masked, height))
    _add_transpose(made, real_bits)
    return str(made)


class Vectors:
    """Whole and partial vectors of a module."""

    def __init__(self, made: ir.Module, real_bits: int) -> None:
        self.made = made
        self.real = ir.FloatType() if real_bits == 32 else ir.DoubleType()
        self.size = real_bits // 8
        self.lanes = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.real, self.lanes)
        self.mask = ir.VectorType(TRUTH, self.lanes)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def splat(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """A number in every lane."""
        many = ir.VectorType(value.type, self.lanes)
        nothing = ir.Constant(many, ir.Undefined)
        single = builder.insert_element(nothing, value, INDEX(0))
        return builder.shuffle_vector(single, nothing, ir.Constant(ir.VectorType(INDEX, self.lanes), [0] * self.lanes))

    def first_lanes(self, builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
        """So many lanes true."""
        numbers = ir.Constant(ir.VectorType(INTEGER, self.lanes), list(range(self.lanes)))
        return builder.icmp_signed("<", numbers, self.splat(builder, count))

    def _intrinsic(self, name: str, kind: ir.FunctionType) -> ir.Function:
        full_name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0"
        found = self.made.globals.get(full_name)
        return found if found is not None else ir.Function(self.made, kind, full_name)

    def load(self, builder: ir.IRBuilder, at: ir.Value, mask: ir.Value | None) -> ir.Value:
        """A vector; zeros where the mask is false."""
        place = builder.bitcast(at, self.vector.as_pointer())
        if mask is None:
            return builder.load(place, align=self.size)
        kind = ir.FunctionType(self.vector, [place.type, INDEX, self.mask, self.vector])
        return builder.call(self._intrinsic("load", kind), [place, INDEX(self.size), mask, self.zero])

    def store(self, builder: ir.IRBuilder, value: ir.Value, at: ir.Value, mask: ir.Value | None) -> None:
        """Store a vector, where the mask is true."""
        place = builder.bitcast(at, self.vector.as_pointer())
        if mask is None:
            builder.store(value, place, align=self.size)
            return
        kind = ir.FunctionType(ir.VoidType(), [self.vector, place.type, INDEX, self.mask])
        builder.call(self._intrinsic("store", kind), [value, place, INDEX(self.size), mask])

    def function(self, name: str, kinds: Sequence[ir.Type]) -> tuple[ir.IRBuilder, Sequence[ir.Value]]:
        """A function without a result, at its beginning, and its arguments."""
        function = ir.Function(self.made, ir.FunctionType(ir.VoidType(), kinds), name)
        function.attributes.add("nounwind")
        return ir.IRBuilder(function.append_basic_block("entry")), function.args


class Tile(Vectors):
    """One height and width; methods add a function of it to the module."""

    def __init__(
        self, made: ir.Module, real_bits: int, panel_vectors: int, vectors: int, masked: bool, height: int
    ) -> None:
        super().__init__(made, real_bits)
        self.vectors, self.masked, self.height = vectors, masked, height
        self.panel = panel_vectors * self.lanes
        self.pointer = self.real.as_pointer()

    def add_rows(self, name: str) -> None:
        """left: rows of a matrix in panels; panel q begins panel_step * q after left, the last is last_width wide.

        Arguments: left, row, depth, panel_step, last_width, right, width, start, start_stride, out. `row` is that
        of the tile in its matrix, which tells where it lies in a last panel.
        """
        pointer = self.pointer
        kinds = [pointer, INTEGER, INTEGER, INTEGER, INTEGER, pointer, INTEGER, pointer, INTEGER, pointer]
        builder, arguments = self.function(name, kinds)
        left, row, depth, panel_step, last_width, right, width, start, stride, out = arguments
        width, mask = self._width(builder, width)
        sums = self._begin(builder, start, stride, mask)
        rest = self._whole_panels(builder, sums, (left, depth, panel_step), (right, width, mask))
        sums = self._last_panel(builder, rest, row, last_width, (width, mask))
        self._finish(builder, sums, out, width, mask)

    def _whole_panels(self, builder: ir.IRBuilder, sums: Sums, left: Any, right: Any) -> Any:
        """Add the terms of left's full panels, one panel after the other. Returns the sums, how many terms are still
        to come, and where they begin on both sides."""
        (left_at, depth, panel_step), (right_at, width, mask) = left, right
        before, full = builder.block, INTEGER(self.panel)
        panels, panel, rest = (builder.append_basic_block(label) for label in ("panels", "panel", "rest"))
        builder.branch(panels)
        builder.position_at_end(panels)
        still = self._phi(builder, depth, before, INTEGER)
        left_now = self._phi(builder, left_at, before, self.pointer)
        right_now = self._phi(builder, right_at, before, self.pointer)
        running = self._phis(builder, sums, before)
        builder.cbranch(builder.icmp_signed(">=", still, full), panel, rest)
        builder.position_at_end(panel)
        terms = ((left_now, full, INTEGER(1)), (right_now, width, mask))
        added, right_next = self._accumulate(builder, running, full, *terms)
        still.add_incoming(builder.sub(still, full), builder.block)
        left_now.add_incoming(builder.gep(left_now, [panel_step]), builder.block)
        right_now.add_incoming(right_next, builder.block)
        self._continue(running, added, builder.block)
        builder.branch(panels)
        builder.position_at_end(rest)
        return running, still, left_now, right_now

    def _last_panel(self, builder: ir.IRBuilder, rest: Any, row: Any, last_width: Any, right: Any) -> Sums:
        """Add the terms of left's last panel, if it is a narrower one."""
        running, still, left_at, right_at = rest
        before = builder.block
        part, end = builder.append_basic_block("part"), builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed(">", still, INTEGER(0)), part, end)
        builder.position_at_end(part)
        narrower = builder.sub(INTEGER(self.panel), last_width)
        begin = builder.gep(left_at, [builder.neg(builder.mul(row, narrower))])
        added, _ = self._accumulate(builder, running, still, (begin, last_width, INTEGER(1)), (right_at, *right))
        after = builder.block
        builder.branch(end)
        builder.position_at_end(end)
        results = self._phis(builder, running, before)
        self._continue(results, added, after)
        return results

    def add_columns(self, name: str) -> None:
        """left: `height` columns of one panel left_width wide, from the first row on.

        Arguments: depth, left, left_width, right, width, start, out.
        """
        pointer = self.pointer
        kinds = [INTEGER, pointer, INTEGER, pointer, INTEGER, pointer, pointer]
        builder, (depth, left, left_width, right, width, start, out) = self.function(name, kinds)
        width, mask = self._width(builder, width)
        sums = self._begin(builder, start, width, mask)
        sums, _ = self._accumulate(builder, sums, depth, (left, INTEGER(1), left_width), (right, width, mask))
        self._finish(builder, sums, out, width, mask)

    def _width(self, builder: ir.IRBuilder, given: ir.Value) -> tuple[ir.Value, ir.Value | None]:
        if not self.masked:
            return INTEGER(self.vectors * self.lanes), None
        return given, self.first_lanes(builder, builder.sub(given, INTEGER((self.vectors - 1) * self.lanes)))

    def _row(self, builder: ir.IRBuilder, at: ir.Value, mask: ir.Value | None) -> Iterator[Any]:
        """Where each vector of a row is, and its mask."""
        for v in range(self.vectors):
            yield builder.gep(at, [INTEGER(v * self.lanes)]), mask if v == self.vectors - 1 else None

    def _phi(self, builder: ir.IRBuilder, value: ir.Value, before: ir.Block, kind: ir.Type) -> ir.PhiInstr:
        phi = builder.phi(kind)
        phi.add_incoming(value, before)
        return phi

    def _phis(self, builder: ir.IRBuilder, sums: Sums, before: ir.Block) -> Sums:
        return [[self._phi(builder, value, before, self.vector) for value in row] for row in sums]

    @staticmethod
    def _continue(phis: Sums, sums: Sums, block: ir.Block) -> None:
        for phi_row, row in zip(phis, sums, strict=True):
            for phi, value in zip(phi_row, row, strict=True):
                phi.add_incoming(value, block)

    def _begin(self, builder: ir.IRBuilder, start: ir.Value, stride: ir.Value, mask: ir.Value | None) -> Sums:
        """Rows of `start`, or zeros where there is none."""
        given, begin = builder.append_basic_block("given"), builder.append_basic_block("begin")
        sums = [[self.zero] * self.vectors for _ in range(self.height)]
        entry = builder.block
        is_none = builder.icmp_signed("==", builder.ptrtoint(start, INTEGER), INTEGER(0))
        builder.cbranch(is_none, begin, given)
        builder.position_at_end(given)
        rows = [builder.gep(start, [builder.mul(INTEGER(r), stride)]) for r in range(self.height)]
        loaded = [[self.load(builder, *place) for place in self._row(builder, row, mask)] for row in rows]
        builder.branch(begin)
        builder.position_at_end(begin)
        phis = self._phis(builder, sums, entry)
        self._continue(phis, loaded, given)
        return phis

    def _accumulate(
        self,
        builder: ir.IRBuilder,
        sums: Sums,
        depth: ir.Value,
        left: tuple[ir.Value, ir.Value, ir.Value],
        right: tuple[ir.Value, ir.Value, ir.Value | None],
    ) -> tuple[Sums, ir.Value]:
        """Add `depth` terms, at least one; left: where, the strides of rows and of terms; right: where, width, mask."""
        (left_at, row_stride, step), (right_at, width, mask) = left, right
        before, loop, after = builder.block, builder.append_basic_block("term"), builder.append_basic_block("terms")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = self._phi(builder, INTEGER(0), before, INTEGER)
        at_left = self._phi(builder, left_at, before, self.pointer)
        at_right = self._phi(builder, right_at, before, self.pointer)
        running = self._phis(builder, sums, before)
        terms = [self.load(builder, *place) for place in self._row(builder, at_right, mask)]
        added: Sums = []
        for r in range(self.height):
            offset = builder.mul(INTEGER(r), row_stride) if r else INTEGER(0)
            factor = self.splat(builder, builder.load(builder.gep(at_left, [offset]), align=self.size))
            added.append([self._multiply_add(builder, factor, term, running[r][v]) for v, term in enumerate(terms)])
        next_k, next_right = builder.add(k, INTEGER(1)), builder.gep(at_right, [width])
        k.add_incoming(next_k, loop)
        at_left.add_incoming(builder.gep(at_left, [step]), loop)
        at_right.add_incoming(next_right, loop)
        self._continue(running, added, loop)
        builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)
        builder.position_at_end(after)
        return added, next_right

    @staticmethod
    def _multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return builder.fadd(z, builder.fmul(x, y, flags=("contract",)), flags=("contract",))

    def _finish(self, builder: ir.IRBuilder, sums: Sums, out: ir.Value, width: ir.Value, mask: ir.Value | None) -> None:
        for r, row in enumerate(sums):
            at = builder.gep(out, [builder.mul(INTEGER(r), width)])
            for value, (place, part) in zip(row, self._row(builder, at, mask), strict=True):
                self.store(builder, value, place, part)
        builder.ret_void()


def _add_transpose(made: ir.Module, real_bits: int) -> None:
    """to[c, r] = from[r, c] for at most as many rows and columns as a vector has lanes.

    Arguments: from, from_stride, to, to_stride, rows, columns.
    """
    kit = Vectors(made, real_bits)
    pointer, lanes = kit.real.as_pointer(), kit.lanes
    kinds = [pointer, INTEGER, pointer, INTEGER, INTEGER, INTEGER]
    builder, (source, source_stride, to, to_stride, n_rows, n_columns) = kit.function("transpose", kinds)
    nothing = ir.Constant(kit.mask, [0] * lanes)

    def each(count: ir.Value, other: ir.Value, at: ir.Value, stride: ir.Value, use: Callable[..., Any]) -> list[Any]:
        mask = kit.first_lanes(builder, other)
        places = [builder.gep(at, [builder.mul(INTEGER(k), stride)]) for k in range(lanes)]
        masks = [builder.select(builder.icmp_signed("<", INTEGER(k), count), mask, nothing) for k in range(lanes)]
        return [use(k, place, part) for k, (place, part) in enumerate(zip(places, masks, strict=True))]

    rows = each(n_rows, n_columns, source, source_stride, lambda k, place, mask: kit.load(builder, place, mask))
    step = lanes // 2
    while step:
        rows = _exchange(builder, rows, step)
        step //= 2
    each(n_columns, n_rows, to, to_stride, lambda k, place, mask: kit.store(builder, rows[k], place, mask))
    builder.ret_void()


def _exchange(builder: ir.IRBuilder, rows: list[ir.Value], step: int) -> list[ir.Value]:
    """Of each square of 2 by 2 blocks of that size, the two off the diagonal change places."""
    lanes = len(rows)
    upper = [k if k & step == 0 else lanes + k - step for k in range(lanes)]
    lower = [k + step if k & step == 0 else lanes + k for k in range(lanes)]
    kind = ir.VectorType(INDEX, lanes)
    changed = list(rows)
    for k in range(lanes):
        if k & step == 0:
            changed[k] = builder.shuffle_vector(rows[k], rows[k + step], ir.Constant(kind, upper))
            changed[k + step] = builder.shuffle_vector(rows[k], rows[k + step], ir.Constant(kind, lower))
    return changed
