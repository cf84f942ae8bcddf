"""Intervals of numbers in the usual notation, such as ``[0, 1)``: what a parameter may be."""

from __future__ import annotations

import math
from typing import Any


def check(what: str, value: Any, interval: str) -> float:
    """Give the value as a float if it is a finite number in the interval.

    Parameters
    ----------
    what : str
        How the error names the value.
    value : number
    interval : str
        ``[`` and ``]`` include an end, ``(`` and ``)`` do not; ``inf`` is allowed.

    Raises
    ------
    ValueError
        Saying what, what it got, what it expected.

    Examples
    --------
    >>> check("momentum", 0.9, "[0, 1)")
    0.9
    >>> check("momentum", 1, "[0, 1)")
    Traceback (most recent call last):
    ...
    ValueError: momentum: got 1, expected a finite number in [0, 1)
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (math.isfinite(number) and above and below):
        raise ValueError(f"{what}: got {value!r}, expected a finite number in {interval}")
    return number
