"""How many threads to use: what the machine and the environment allow, and what the work is worth."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import refusal

__all__ = ["available_threads", "choose", "fitting"]

# A thread more halves, at best, the time between two barriers, and each barrier costs about half a microsecond:
# below this much work per step the extra thread costs more than it brings. A sweep over widths and batch sizes up to
# 300 found two threads up to 1.2 times slower than one at steps of 2 to 4.5 MFLOP, and at none beyond.
FLOPS_OF_STEP = 5e6

# Threads are started for each call into the engine, at some 50 microseconds each: a call with less work stays serial.
FLOPS_OF_CALL = 4e7


# Which of this process's threads fit at the moment. A set's own operations are all that it needs.
_fitting: set[int] = set()

if hasattr(os, "register_at_fork"):
    # Of the parent's threads there is none in the child.
    os.register_at_fork(after_in_child=_fitting.clear)


@contextmanager
def fitting() -> Iterator[None]:
    """While it lasts, `choose` leaves this thread its share of the processors.

    A search that fits by threads of its own would else have a team for each: twice as many threads as processors, which
    wait for each other at every barrier.
    """
    me = threading.get_ident()
    if me in _fitting:
        yield
        return
    _fitting.add(me)
    try:
        yield
    finally:
        _fitting.discard(me)


def available_threads() -> int:
    """The most threads that are used unless more are asked for.

    Returns
    -------
    int
        ``FASTGD_NUM_THREADS`` if set; otherwise the processors this process may run on, and not more than
        ``OMP_NUM_THREADS`` if that is set.

    Raises
    ------
    ValueError
        If ``FASTGD_NUM_THREADS`` is no whole number of at least 1.
    """
    own = os.environ.get("FASTGD_NUM_THREADS", "").strip()
    if own:
        if not own.isdecimal() or int(own) < 1:
            expected = "a whole number of at least 1"
            raise ValueError(refusal("FASTGD_NUM_THREADS", repr(own), expected, "unset it to use all processors"))
        return int(own)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # OpenMP admits a list, one number for each level of nesting. It is not ours to complain about.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(processors, int(first)) if first.isdecimal() and int(first) else processors


def choose(n_threads: int | None, step_flops: float, call_flops: float) -> int:
    """Threads for a call into the engine: at most what was asked for, and no more than the work is worth.

    Results are the same bits for any number, so a limit that is not used up changes nothing but the time.

    Parameters
    ----------
    n_threads : int or None
        The most that the user allows; None: `available_threads`, shared with the other threads that fit now.
    step_flops, call_flops : float
        Floating point operations of one step, and of the whole call.
    """
    if call_flops < FLOPS_OF_CALL:
        return 1
    worth = 1 + min(int(step_flops / FLOPS_OF_STEP), int(call_flops / FLOPS_OF_CALL))
    if n_threads is None:
        sharers = len(_fitting) + (threading.get_ident() not in _fitting)
        n_threads = max(1, available_threads() // sharers)
    return min(worth, n_threads)
