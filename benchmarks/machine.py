"""What the machine at hand can do: multiply-adds a second, bytes a second from and to memory, size of the last cache.

Measured by the loops of ``machine.c``, which the C compiler at hand (``CC``, or else ``cc``) compiles for this very
processor. A large BLAS product would need no compiler, but reaches 80 to 95 % of the rate, depending on the library.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("machine.c")
REALS = {"float32": (ctypes.c_float, "float"), "float64": (ctypes.c_double, "double")}

# Memory is walked over this many times the last cache, so that what it keeps of one walk for the next does not count.
BEYOND_CACHE = 8

# The best of so many runs: whatever else happens on a machine can only slow a run down.
RUNS = 40


@dataclass(frozen=True)
class Machine:
    """Rates of a machine, for a number of cores at work together.

    Attributes
    ----------
    n_threads : int
    flop_rates : dict of str to float
        Operations a second by dtype; a fused multiply-add is two.
    read_rate : float
        Bytes a second read from memory.
    update_rate : float
        Bytes a second read from memory and written back to the same place, both counted.
    cache_bytes : int
        The last cache before memory.
    """

    n_threads: int
    flop_rates: dict[str, float]
    read_rate: float
    update_rate: float
    cache_bytes: int

    def __str__(self) -> str:
        flops = ", ".join(f"{rate / 1e9:.1f} GFLOP/s {dtype}" for dtype, rate in self.flop_rates.items())
        memory = f"memory {self.read_rate / 1e9:.1f} GB/s read, {self.update_rate / 1e9:.1f} GB/s read and written back"
        return f"threads: {self.n_threads}; {flops}; {memory}; last cache {self.cache_bytes / 2**20:.0f} MiB"


def last_cache_bytes() -> int:
    """Return the size of the largest cache, as the operating system tells it."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [int(path.read_text().strip().removesuffix("K")) * 1024 for path in folder.glob("index*/size")]
    if not sizes and sys.platform == "darwin":
        names = ["sysctl", "-n", "hw.l2cachesize"]
        sizes = [int(subprocess.run(names, check=True, capture_output=True, text=True).stdout)]
    if not sizes:
        raise OSError("this system does not tell the size of its caches")
    return max(sizes)


def widest_vector(compiler: list[str]) -> int:
    """Return the bytes of the widest vector registers that the compiler knows this processor to have."""
    macros = subprocess.run(
        [*compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull], check=True, capture_output=True, text=True
    ).stdout
    return next((size for name, size in (("__AVX512F__", 64), ("__AVX__", 32)) if f" {name} " in macros), 16)


def compiler_found() -> bool:
    """Return whether there is a C compiler to measure with."""
    compiler = shlex.split(os.environ.get("CC", "cc"))[0]
    return shutil.which(compiler) is not None


@functools.cache
def loops(dtype: str) -> ctypes.CDLL:
    """Compile and load ``machine.c`` for a dtype."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    real, name = REALS[dtype]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "loops.so"))
        macros = [f"-DREAL={name}", f"-DVECTOR_BYTES={widest_vector(compiler)}"]
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        subprocess.run([*compiler, *flags, *macros, str(SOURCE), "-o", path], check=True)
        library = ctypes.CDLL(path)
    count, array, result = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.POINTER(real)
    library.multiply_add.argtypes = [count, real, real, result]
    library.read_all.argtypes = [array, count, result]
    library.update_all.argtypes = [array, count, real]
    for function in (library.multiply_add, library.read_all, library.update_all):
        function.restype = ctypes.c_double
    library.vector_bytes = widest_vector(compiler)
    return library


def rate(works: list[Callable[[], float]]) -> float:
    """Return what all the works do a second, each on a thread of its own and all at once; the best of `RUNS`."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], float]) -> list[tuple[float, float, float]]:
        found = []
        for _ in range(RUNS):
            barrier.wait()
            start = time.perf_counter()
            done = work()
            found.append((start, time.perf_counter(), done))
        return found

    with ThreadPoolExecutor(len(works)) as pool:
        runs = zip(*pool.map(run, works), strict=True)
    best = 0.0
    for starts, ends, done in (zip(*run, strict=True) for run in runs):
        best = max(best, sum(done) / (max(ends) - min(starts)))
    return best


def flop_rate(dtype: str, n_threads: int) -> float:
    """Return the operations a second of fused multiply-adds that wait for nothing."""
    library, (real, _) = loops(dtype), REALS[dtype]

    def work() -> float:
        return library.multiply_add(1_000_000, 0.5, 1.0, ctypes.byref(real()))

    return rate([work] * n_threads)


def memory_rates(n_threads: int, cache_bytes: int) -> tuple[float, float]:
    """Return the bytes a second of reading, and of reading and writing back, well beyond the last cache."""
    library = loops("float32")
    count = BEYOND_CACHE * cache_bytes // n_threads // library.vector_bytes // 16 * 16
    # Ones, not zeros: pages that nobody has written to are all the same page of zeros, and stay in the cache.
    arrays = [np.ones((count + 1) * library.vector_bytes, np.uint8) for _ in range(n_threads)]
    aligned = [array.ctypes.data + -array.ctypes.data % library.vector_bytes for array in arrays]
    reads = [lambda a=address: library.read_all(a, count, ctypes.byref(ctypes.c_float())) for address in aligned]
    updates = [lambda a=address: library.update_all(a, count, 1.0) for address in aligned]
    return rate(reads), rate(updates)


@functools.cache
def measure(n_threads: int = 1) -> Machine:
    """Measure the machine with so many threads at work; takes a second or two, and is done once in a process."""
    cache_bytes = last_cache_bytes()
    flop_rates = {dtype: flop_rate(dtype, n_threads) for dtype in REALS}
    return Machine(n_threads, flop_rates, *memory_rates(n_threads, cache_bytes), cache_bytes)
