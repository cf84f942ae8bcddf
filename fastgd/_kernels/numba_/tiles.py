"""The matrix tile: up to `rows` rows times one panel's width, all sums in registers, written as vector code for LLVM.

    out[r, c] = start[r * start_stride + c] + sum_k left(r, k) right[k, c]

left is read by broadcast, right[depth, width] by whole vectors, out[rows, width] is contiguous. Each sum runs over the
depth in order, in one chain of multiply-adds; so an element's bits do not depend on the tile's height. LLVM's optimiser
would find nothing to do here and take seconds to find out, so it is left out: there is a function for each height
because only then do the sums stay in registers. There are ten thousand lines of it, so they are written as text: as
objects of llvmlite, for which this would be a page shorter, they take ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import binding, ir

from .records import VECTOR_BYTES

KINDS = ("rows", "columns")


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
    vectors = Vectors(real_bits)
    texts = [f'target triple = "{binding.get_process_triple()}"\n{vectors.declarations()}']
    for kind in KINDS:
        for count, masked in variants(shape):
            for height in range(1, shape.rows + 1):
                tile = Tile(real_bits, shape.vectors, count, masked, height)
                texts.append(getattr(tile, f"write_{kind}")(_name(kind, count, masked, height)))
    return "\n".join([*texts, Transpose(real_bits).write()])


@dataclass
class Phi:
    """A value that depends on where a block was entered from."""

    name: str
    kind: str
    sources: list[tuple[Any, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name

    def line(self) -> str:
        """Its definition, once all sources are known."""
        sources = ", ".join(f"[ {value}, %{block} ]" for value, block in self.sources)
        return f"  {self.name} = phi {self.kind} {sources}"


Value = str | int | Phi
Sums = list[list[Any]]


class Function:
    """The lines of a function that gives nothing. Where there is a value, there may be a number instead."""

    def __init__(self) -> None:
        self.lines: list[str | Phi] = []
        self.block, self.n_values, self.n_blocks = "entry", 0, 0

    def give(self, text: str) -> str:
        """A line with a result."""
        self.n_values += 1
        self.lines.append(f"  %v{self.n_values} = {text}")
        return f"%v{self.n_values}"

    def do(self, text: str) -> None:
        """A line without a result."""
        self.lines.append(f"  {text}")

    def new_block(self, label: str) -> str:
        """The name of a block."""
        self.n_blocks += 1
        return f"{label}{self.n_blocks}"

    def begin(self, block: str) -> None:
        """From here on a block is written."""
        self.lines.append(f"{block}:")
        self.block = block

    def branch(self, block: str) -> None:
        """Go there."""
        self.do(f"br label %{block}")

    def choose(self, condition: Value, block: str, other: str) -> None:
        """Go there, or there."""
        self.do(f"br i1 {condition}, label %{block}, label %{other}")

    def phi(self, kind: str, value: Value, before: str) -> Phi:
        """A value that begins as this one; further sources are added."""
        self.n_values += 1
        made = Phi(f"%v{self.n_values}", kind, [(value, before)])
        self.lines.append(made)
        return made

    def operation(self, name: str, x: Value, y: Value) -> str:
        """Of two integers."""
        return self.give(f"{name} i64 {x}, {y}")

    def is_true(self, relation: str, x: Value, y: Value) -> str:
        """A comparison of two integers."""
        return self.give(f"icmp {relation} i64 {x}, {y}")

    def body(self) -> str:
        """All of its lines."""
        return "\n".join(line.line() if isinstance(line, Phi) else line for line in self.lines)


class Vectors(Function):
    """A function with whole and partial vectors."""

    def __init__(self, real_bits: int) -> None:
        super().__init__()
        self.real = "float" if real_bits == 32 else "double"
        self.size = real_bits // 8
        self.lanes = VECTOR_BYTES // self.size
        self.vector, self.mask = f"<{self.lanes} x {self.real}>", f"<{self.lanes} x i1>"
        # With LLVM 15, which Numba 0.61 comes with, a pointer's type says what it points to.
        real = ir.FloatType() if real_bits == 32 else ir.DoubleType()
        self.pointer, self.to_vector = str(real.as_pointer()), str(ir.VectorType(real, self.lanes).as_pointer())
        self.suffix = f"v{self.lanes}f{real_bits}.p0"

    def declarations(self) -> str:
        """What the functions call, which are LLVM's own."""
        place = f"{self.to_vector}, i32, {self.mask}"
        load = f"declare {self.vector} @llvm.masked.load.{self.suffix}({place}, {self.vector})"
        return f"{load}\ndeclare void @llvm.masked.store.{self.suffix}({self.vector}, {place})\n"

    def text(self, name: str, arguments: str) -> str:
        """All of it. Of its arguments those with a star are places of numbers, the others integers."""
        kinds = [f"{self.pointer} %{each[1:]}" if each[0] == "*" else f"i64 %{each}" for each in arguments.split()]
        return f"define void @{name}({', '.join(kinds)}) nounwind {{\nentry:\n{self.body()}\n}}\n"

    def place(self, at: Value, index: Value) -> str:
        """Where so many elements further on is."""
        return self.give(f"getelementptr {self.real}, {self.pointer} {at}, i64 {index}")

    def at_vector(self, at: Value) -> str:
        """The place of a vector, with its type."""
        if self.pointer != self.to_vector:
            at = self.give(f"bitcast {self.pointer} {at} to {self.to_vector}")
        return f"{self.to_vector} {at}"

    def splat(self, kind: str, value: Value) -> str:
        """A number in every lane."""
        many = f"<{self.lanes} x {kind}>"
        single = self.give(f"insertelement {many} poison, {kind} {value}, i32 0")
        return self.give(f"shufflevector {many} {single}, {many} poison, <{self.lanes} x i32> zeroinitializer")

    def first_lanes(self, count: Value) -> str:
        """So many lanes true."""
        numbers = ", ".join(f"i64 {lane}" for lane in range(self.lanes))
        return self.give(f"icmp slt <{self.lanes} x i64> <{numbers}>, {self.splat('i64', count)}")

    def load(self, at: Value, mask: Value | None) -> str:
        """A vector; zeros where the mask is false."""
        if mask is None:
            return self.give(f"load {self.vector}, {self.at_vector(at)}, align {self.size}")
        given = f"{self.at_vector(at)}, i32 {self.size}, {self.mask} {mask}, {self.vector} zeroinitializer"
        return self.give(f"call {self.vector} @llvm.masked.load.{self.suffix}({given})")

    def store(self, value: Value, at: Value, mask: Value | None) -> None:
        """Store a vector, where the mask is true."""
        if mask is None:
            self.do(f"store {self.vector} {value}, {self.at_vector(at)}, align {self.size}")
            return
        given = f"{self.vector} {value}, {self.at_vector(at)}, i32 {self.size}, {self.mask} {mask}"
        self.do(f"call void @llvm.masked.store.{self.suffix}({given})")


class Tile(Vectors):
    """One height and width."""

    def __init__(self, real_bits: int, panel_vectors: int, vectors: int, masked: bool, height: int) -> None:
        super().__init__(real_bits)
        self.vectors, self.masked, self.height = vectors, masked, height
        self.panel = panel_vectors * self.lanes

    def write_rows(self, name: str) -> str:
        """left: rows of a matrix in panels; panel q begins panel_step * q after left, the last is last_width wide.

        Arguments: left, row, depth, panel_step, last_width, right, width, start, start_stride, out. `row` is that
        of the tile in its matrix, which tells where it lies in a last panel.
        """
        width, mask = self._width("%width")
        sums = self._begin("%start", "%start_stride", mask)
        rest = self._whole_panels(sums, width, mask)
        sums = self._last_panel(rest, width, mask)
        self._finish(sums, width, mask)
        return self.text(name, "*left row depth panel_step last_width *right width *start start_stride *out")

    def _whole_panels(self, sums: Sums, width: Value, mask: Value | None) -> tuple[Sums, Phi, Phi, Phi]:
        """Add the terms of left's full panels, one panel after the other. Returns the sums, how many terms are still
        to come, and where they begin on both sides."""
        before = self.block
        panels, panel, rest = (self.new_block(label) for label in ("panels", "panel", "rest"))
        self.branch(panels)
        self.begin(panels)
        still = self.phi("i64", "%depth", before)
        left_now, right_now = self.phi(self.pointer, "%left", before), self.phi(self.pointer, "%right", before)
        running = self._phis(sums, before)
        self.choose(self.is_true("sge", still, self.panel), panel, rest)
        self.begin(panel)
        added, right_next = self._accumulate(running, self.panel, (left_now, self.panel, 1), (right_now, width, mask))
        still.sources.append((self.operation("sub", still, self.panel), self.block))
        left_now.sources.append((self.place(left_now, "%panel_step"), self.block))
        right_now.sources.append((right_next, self.block))
        self._continue(running, added, self.block)
        self.branch(panels)
        self.begin(rest)
        return running, still, left_now, right_now

    def _last_panel(self, rest: tuple[Sums, Phi, Phi, Phi], width: Value, mask: Value | None) -> Sums:
        """Add the terms of left's last panel, if it is a narrower one."""
        running, still, left_at, right_at = rest
        before, part, end = self.block, self.new_block("part"), self.new_block("end")
        self.choose(self.is_true("sgt", still, 0), part, end)
        self.begin(part)
        narrower = self.operation("mul", "%row", self.operation("sub", self.panel, "%last_width"))
        left = self.place(left_at, self.operation("sub", 0, narrower))
        added, _ = self._accumulate(running, still, (left, "%last_width", 1), (right_at, width, mask))
        after = self.block
        self.branch(end)
        self.begin(end)
        results = self._phis(running, before)
        self._continue(results, added, after)
        return results

    def write_columns(self, name: str) -> str:
        """left: `height` columns of one panel left_width wide, from the first row on.

        Arguments: depth, left, left_width, right, width, start, out.
        """
        width, mask = self._width("%width")
        sums = self._begin("%start", width, mask)
        sums, _ = self._accumulate(sums, "%depth", ("%left", 1, "%left_width"), ("%right", width, mask))
        self._finish(sums, width, mask)
        return self.text(name, "depth *left left_width *right width *start *out")

    def _width(self, given: Value) -> tuple[Value, Value | None]:
        if not self.masked:
            return self.vectors * self.lanes, None
        return given, self.first_lanes(self.operation("sub", given, (self.vectors - 1) * self.lanes))

    def _row(self, at: Value, mask: Value | None) -> Iterator[tuple[Value, Value | None]]:
        """Where each vector of a row is, and its mask."""
        for v in range(self.vectors):
            yield self.place(at, v * self.lanes), mask if v == self.vectors - 1 else None

    def _phis(self, sums: Sums, before: str) -> Sums:
        return [[self.phi(self.vector, value, before) for value in row] for row in sums]

    @staticmethod
    def _continue(phis: Sums, sums: Sums, block: str) -> None:
        for phi_row, row in zip(phis, sums, strict=True):
            for phi, value in zip(phi_row, row, strict=True):
                phi.sources.append((value, block))

    def _begin(self, start: str, stride: Value, mask: Value | None) -> Sums:
        """Rows of `start`, or zeros where there is none."""
        entry, given, begin = self.block, self.new_block("given"), self.new_block("begin")
        self.choose(self.give(f"icmp eq {self.pointer} {start}, null"), begin, given)
        self.begin(given)
        rows = [self.place(start, self.operation("mul", r, stride)) for r in range(self.height)]
        loaded = [[self.load(*place) for place in self._row(row, mask)] for row in rows]
        self.branch(begin)
        self.begin(begin)
        phis = self._phis([["zeroinitializer"] * self.vectors for _ in rows], entry)
        self._continue(phis, loaded, given)
        return phis

    def _accumulate(
        self, sums: Sums, depth: Value, left: tuple[Value, Value, Value], right: tuple[Value, Value, Value | None]
    ) -> tuple[Sums, str]:
        """Add `depth` terms, at least one; left: where, the strides of rows and of terms; right: where, width, mask."""
        (left_at, row_stride, step), (right_at, width, mask) = left, right
        before, loop, after = self.block, self.new_block("term"), self.new_block("terms")
        self.branch(loop)
        self.begin(loop)
        k = self.phi("i64", 0, before)
        at_left, at_right = self.phi(self.pointer, left_at, before), self.phi(self.pointer, right_at, before)
        running = self._phis(sums, before)
        terms = [self.load(*place) for place in self._row(at_right, mask)]
        added: Sums = []
        for r in range(self.height):
            place = self.place(at_left, self.operation("mul", r, row_stride))
            factor = self.splat(self.real, self.give(f"load {self.real}, {self.pointer} {place}, align {self.size}"))
            added.append([self._multiply_add(factor, term, running[r][v]) for v, term in enumerate(terms)])
        next_k, next_right = self.operation("add", k, 1), self.place(at_right, width)
        for phi, value in ((k, next_k), (at_left, self.place(at_left, step)), (at_right, next_right)):
            phi.sources.append((value, loop))
        self._continue(running, added, loop)
        self.choose(self.is_true("slt", next_k, depth), loop, after)
        self.begin(after)
        return added, next_right

    def _multiply_add(self, x: Value, y: Value, z: Value) -> str:
        product = self.give(f"fmul contract {self.vector} {x}, {y}")
        return self.give(f"fadd contract {self.vector} {z}, {product}")

    def _finish(self, sums: Sums, width: Value, mask: Value | None) -> None:
        for r, row in enumerate(sums):
            at = self.place("%out", self.operation("mul", r, width))
            for value, place in zip(row, self._row(at, mask), strict=True):
                self.store(value, *place)
        self.do("ret void")


class Transpose(Vectors):
    """to[c, r] = from[r, c] for at most as many rows and columns as a vector has lanes."""

    def write(self) -> str:
        """Arguments: from, from_stride, to, to_stride, rows, columns."""
        rows = [self.load(*place) for place in self._places("%from", "%from_stride", "%rows", "%columns")]
        step = self.lanes // 2
        while step:
            rows = self._exchange(rows, step)
            step //= 2
        for row, place in zip(rows, self._places("%to", "%to_stride", "%columns", "%rows"), strict=True):
            self.store(row, *place)
        self.do("ret void")
        return self.text("transpose", "*from from_stride *to to_stride rows columns")

    def _places(self, at: str, stride: str, count: str, length: str) -> Iterator[tuple[str, str]]:
        """Each row's place, and its mask: nothing of those beyond `count`."""
        mask = self.first_lanes(length)
        for k in range(self.lanes):
            is_there = self.is_true("slt", k, count)
            part = self.give(f"select i1 {is_there}, {self.mask} {mask}, {self.mask} zeroinitializer")
            yield self.place(at, self.operation("mul", k, stride)), part

    def _exchange(self, rows: list[str], step: int) -> list[str]:
        """Of each square of 2 by 2 blocks of that size, the two off the diagonal change places."""
        lanes = self.lanes
        upper = [k if k & step == 0 else lanes + k - step for k in range(lanes)]
        lower = [k + step if k & step == 0 else lanes + k for k in range(lanes)]
        changed = list(rows)
        for k in range(lanes):
            if k & step == 0:
                changed[k] = self._shuffle(rows[k], rows[k + step], upper)
                changed[k + step] = self._shuffle(rows[k], rows[k + step], lower)
        return changed

    def _shuffle(self, x: str, y: str, places: Sequence[int]) -> str:
        chosen = ", ".join(f"i32 {place}" for place in places)
        return self.give(f"shufflevector {self.vector} {x}, {self.vector} {y}, <{self.lanes} x i32> <{chosen}>")
