"""Fits of linear models row by row: another backend has them."""

from __future__ import annotations

from typing import Any

from ...errors import refusal


class LinearDescent:
    """Refuses: a fit whose every step is a single row of a sparse matrix gains nothing from tiles."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ValueError(
            refusal("backend", "'numba' for a linear fit row by row", "'cython' or 'numpy'", "pass backend='cython'")
        )
