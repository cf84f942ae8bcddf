"""What a block function does to a run of elements, said once for every renderer that makes one.

A block function takes pointers to arrays, a count and the scalars. For each element it loads what its
formulas read, applies them, and stores what they give.
"""

from __future__ import annotations

from dataclasses import dataclass

from .language import Formula


@dataclass(frozen=True)
class Application:
    """One formula applied inside a block: which arrays it reads and which receive its results."""

    formula: Formula
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    multiply: bool = False
    """Whether the result multiplies what the array holds, as a derivative does by the chain rule."""


@dataclass(frozen=True)
class Block:
    """A block function: its name, its arrays and scalars in the order of its arguments, and its formulas.

    `in_place` lists pairs (written, read) of arrays that a caller may pass as one and the same. `keeps` is a
    pair too: the first array receives, once it has been read, what the second one held before.
    """

    name: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    applications: tuple[Application, ...]
    in_place: tuple[tuple[str, str], ...] = ()
    keeps: tuple[str, str] | None = None

    @property
    def loaded(self) -> tuple[str, ...]:
        """Arrays that are read, in order."""
        read = {name for a in self.applications for name in a.reads + (a.writes if a.multiply else ())}
        return tuple(name for name in self.arrays if name in read)

    @property
    def stored(self) -> tuple[str, ...]:
        """Arrays that are written with results, in order."""
        written = {name for a in self.applications for name in a.writes}
        if self.keeps:
            # What a formula makes of it is for the formulas after that one.
            written.discard(self.keeps[0])
        return tuple(name for name in self.arrays if name in written)

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The formulas it applies, in order."""
        return tuple(a.formula for a in self.applications)
