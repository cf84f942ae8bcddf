"""Backend ``numba``: compiled the first time, loaded the next time, and its steps beside other backends'."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile

from .bench_training import epoch_of_fit

# Three layers; a fresh interpreter takes the time from the first line on.
FIT = """
import os
os.environ["FASTGD_CACHE_DIR"] = {folder!r}
import logging
logging.disable()
import numpy, fastgd
random = numpy.random.default_rng(0)
X, y = random.random((64, 20), numpy.float32), numpy.arange(64) % 5
layers = [fastgd.Dense(40, activation="relu"), fastgd.Dense(30, activation="relu"), fastgd.Dense(5)]
model = fastgd.Sequential(layers, loss="softmax_cross_entropy", optimizer="adam", backend="numba")
model.fit(X, y, epochs=1, batch_size=32)
"""


def need_numba() -> None:
    """End a benchmark where Numba is missing."""
    if importlib.util.find_spec("numba") is None:
        raise NotImplementedError("numba is not installed")


class First:
    """A fit in a fresh interpreter with an empty cache: everything is compiled."""

    version = "1"
    number, repeat, timeout = 1, 3, 300

    def setup(self):
        need_numba()

    def timeraw_fit(self):
        empty = "import tempfile\nfolder = tempfile.TemporaryDirectory()\n"
        return empty + FIT.replace("{folder!r}", "folder.name")


class Cached:
    """The same when all that was compiled before."""

    version = "1"
    number, timeout = 1, 300

    def setup(self):
        need_numba()
        self.folder = tempfile.mkdtemp()
        exec(FIT.format(folder=self.folder), {})

    def teardown(self):
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)

    def timeraw_fit(self):
        return FIT.format(folder=self.folder)


class Steady:
    """An epoch inside ``fit``, on one thread, by each backend."""

    version = "1"
    params = (["4-16-3@1", "64-64-10@32", "784-128-10@64"], ["cython", "numba", "numpy"])
    param_names = ("network", "backend")
    timeout = 300

    def setup(self, name, backend):
        if backend == "numba":
            need_numba()
        self.fit = epoch_of_fit(name, backend=backend, n_threads=1)
        self.fit()

    def time_epoch(self, name, backend):
        self.fit()
