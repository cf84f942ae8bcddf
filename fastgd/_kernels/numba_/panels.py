"""Where the parts of a matrix in panels are, for compiled functions of one dtype."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from .compiler import inlined
from .memory import of_dtype


@cache
def panels(dtype: str) -> SimpleNamespace:
    """``width_of(m, panel)``, ``place(m, panel, row)``, ``element(m, row, column)``: an address."""
    kit = of_dtype(dtype)
    width, size = kit.panel, kit.size

    @inlined
    def width_of(m, panel):
        return m.last_width if panel + 1 == m.panels else width

    @inlined
    def place(m, panel, row):
        return m.data + (panel * width * m.rows + row * width_of(m, panel)) * size

    @inlined
    def element(m, row, column):
        panel = column // width
        return place(m, panel, row) + (column - panel * width) * size

    return SimpleNamespace(width_of=width_of, place=place, element=element)
