"""How many threads to use: what the machine and the environment allow, and what the work is worth."""

from __future__ import annotations

import os

from .errors import refusal

__all__ = ["available_threads", "choose"]

# An extra thread has to be started and met at every barrier; below this much work it costs more than it brings.
FLOPS_PER_EXTRA_THREAD = 2e6


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


def choose(n_threads: int | None, flops: float) -> int:
    """Threads for a piece of work.

    Parameters
    ----------
    n_threads : int or None
        What the user asked for; None leaves it to the work.
    flops : float
        Floating point operations between two meetings of the threads.
    """
    if n_threads is not None:
        return n_threads
    extra = int(flops / FLOPS_PER_EXTRA_THREAD)
    return min(1 + extra, available_threads()) if extra else 1
