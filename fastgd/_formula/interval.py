"""What a parameter may be: a number in an interval such as ``[0, 1)``, several of them, or a flag."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

FLAG = "True or False"
EACH, INCREASING, OR_NONE = "each in ", "increasing, ", "None, or "


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


def admit(what: str, value: Any, admitted: str) -> Any:
    """Give a parameter's value as what was declared to be admitted: a float, a tuple of floats, None, True or False.

    Parameters
    ----------
    what : str
        How the error names the value.
    value : number, iterable of numbers, bool or None
    admitted : str
        An interval; ``"each in "`` and an interval, before which ``"increasing, "`` and ``"None, or "`` may stand; or
        ``"True or False"``.

    Raises
    ------
    ValueError
        Saying what, what it got, what it expected.

    Examples
    --------
    >>> admit("levels", [0.1, 0.9], "increasing, each in (0, 1)")
    (0.1, 0.9)
    >>> admit("squared", 1, "True or False")
    Traceback (most recent call last):
    ...
    ValueError: squared: got 1, expected True or False
    """
    if admitted == FLAG:
        if not isinstance(value, bool):
            raise ValueError(f"{what}: got {value!r}, expected {FLAG}")
        return value
    if EACH not in admitted:
        return check(what, value, admitted)
    if value is None and OR_NONE in admitted:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{what}: got {value!r}, expected several numbers, {admitted}")
    interval = admitted.partition(EACH)[2]
    numbers = tuple(check(f"{what}[{k}]", number, interval) for k, number in enumerate(value))
    rising = all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
    if not numbers or (INCREASING in admitted and not rising):
        raise ValueError(f"{what}: got {numbers}, expected numbers, {admitted}")
    return numbers
