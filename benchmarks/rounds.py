"""Timing several works side by side: interleaved in rounds, and compared within a round.

A machine that slows down for a while then slows down all of them, and the ratios stay.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleave(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Ask every work once a round for its time, each round beginning with another one; return them by name."""
    names = list(works)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(works[name]())
    return times


def repeated(call: Callable[[], object], seconds: float) -> Callable[[], float]:
    """Return a work that makes a call over and over for about so many seconds, and tells the seconds of one call."""
    count = 1
    while (elapsed := seconds_of(call, count) * count) < seconds / 4:
        count *= 4
    count = max(1, round(count * seconds / elapsed))
    return lambda: seconds_of(call, count)


def seconds_of(call: Callable[[], object], count: int) -> float:
    """Return the seconds of one of so many calls in a row."""
    calls = range(count)
    start = time.perf_counter()
    for _ in calls:
        call()
    return (time.perf_counter() - start) / count


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Return the quotients, round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def median_ratio(over: list[float], under: list[float]) -> float:
    """Return the median of the quotients, round by round, with the four digits that can mean something."""
    return float(f"{statistics.median(ratios(over, under)):.4g}")


def spread(values: list[float]) -> str:
    """Write the median and the quartiles of some values."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    low, middle, high = map(figure, quartiles)
    return f"{middle} [{low}, {high}]"


def figure(value: float) -> str:
    """Write a value with about three digits."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
