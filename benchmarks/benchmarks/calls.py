"""Calls that are too short to be timed one at a time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from rounds import seconds_of

# What is timed at once takes about so long: far above the clock's resolution, well below a time slice.
SECONDS = 1e-3


class Call(ABC):
    """A benchmark of one call, made many times in a row.

    Where there is a ``setup``, asv times one call at a time, with ``setup`` between: of a microsecond's work little
    would be seen but the clock, and caches gone cold. So the call that asv times is many, and the clock that it reads
    goes as many times slower.
    """

    version = "1"
    repeat = (5, 100, 1.0)

    @abstractmethod
    def prepare(self, *parameters) -> Callable[[], object]:
        """Return the call; NotImplementedError if there is none on this machine."""

    def setup(self, *parameters):
        # Before each measurement; but asv has a process for each combination of parameters, so once is enough.
        if not hasattr(self, "call"):
            self.call = self.prepare(*parameters)
            self.call()
            count = max(1, round(SECONDS / seconds_of(self.call, 1)))
            count = max(1, round(SECONDS / seconds_of(self.call, count)))
            self.calls = range(count)
            self.timer = lambda: time.perf_counter() / count

    def time_call(self, *parameters):
        call = self.call
        for _ in self.calls:
            call()
