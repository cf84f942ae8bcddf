"""Threads and cores of this process, and who else uses them.

Threads are set before any library that computes is imported: it would not ask again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

# Processor time of others that still counts as silence: a tick of the system's clock, and what a system always does.
TICK, ALWAYS = 0.011, 0.01
TRIES, PAUSE = 240, 0.25

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
XLA_FLAGS = {
    # The preference matters only where the processor has registers of that width, and helps there.
    "--xla_cpu_prefer_vector_width": "512",
}


def available_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def limit_threads(n_threads: int) -> None:
    """Give every library ``n_threads`` threads, and the process as many cores where the system allows it."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)), JAX_PLATFORMS="cpu")
    flags = XLA_FLAGS | ({"--xla_cpu_multi_thread_eigen": "false"} if n_threads == 1 else {})
    given = os.environ.get("XLA_FLAGS", "")
    added = [f"{name}={value}" for name, value in flags.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()
    if hasattr(os, "sched_setaffinity"):
        # XLA counts the cores it may use and cannot be told otherwise. The first core serves most interrupts.
        os.sched_setaffinity(0, available_cores()[-n_threads:])


def seconds_of_others() -> float:
    """Return the processor time that everybody but this process has used so far; 0 where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, fields)
    ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def in_silence(work: Callable[[], object]):
    """Return what a work returns, repeated until no other process has had a core meanwhile.

    Raises
    ------
    TimeoutError
        If it does not come to that within a minute or so.
    """
    for _ in range(TRIES):
        start, before = time.perf_counter(), seconds_of_others()
        result = work()
        if seconds_of_others() - before < TICK + ALWAYS * (time.perf_counter() - start):
            return result
        time.sleep(PAUSE)
    raise TimeoutError(f"another process had a core in each of {TRIES} measurements")
