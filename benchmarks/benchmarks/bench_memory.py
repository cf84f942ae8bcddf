"""How much memory training takes, beside what NumPy, fastgd and the data take by themselves."""

from __future__ import annotations

import sys

import numpy as np

from .networks import NETWORKS, Problem, build_model, problem

try:
    import resource
except ImportError:
    # Windows does not tell a process its own peak in this way.
    resource = None

NAMES = ["784-256-128-10@128", "2048-2048-2048@512"]


class Data:
    """The data lie in a file: to draw them takes more memory than to have them, and would be part of every peak."""

    version = "1"
    params = NAMES
    param_names = ("network",)

    def setup_cache(self):
        for name in NAMES:
            drawn = problem(NETWORKS[name])
            np.savez(f"{name}.npz", drawn.X, drawn.labels, *drawn.weights)

    def setup(self, name):
        with np.load(f"{name}.npz") as arrays:
            X, labels, *weights = arrays.values()
        self.problem = Problem(NETWORKS[name], X, labels, weights)

    def train(self):
        """Train for an epoch."""
        model = build_model(self.problem)
        model.fit(self.problem.X, self.problem.labels, epochs=1, batch_size=self.problem.network.batch_size)


class PeakMemory(Data):
    """Peak of the whole process; the data set alone is the zero line."""

    def peakmem_data_only(self, name):
        pass

    def peakmem_fit(self, name):
        self.train()


class AddedMemory(Data):
    """What a model and its first epoch add to the peak that loading the data has reached."""

    unit = "bytes"

    def setup(self, name):
        if resource is None:
            raise NotImplementedError("this system has no getrusage")
        super().setup(name)

    def track_added_by_fit(self, name):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.train()
        added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # macOS counts in bytes, the others in units of 1024.
        return added if sys.platform == "darwin" else 1024 * added

    def track_parameters(self, name):
        """Bytes of weights alone, to read the above against: Adam needs at least three times that."""
        return sum(array.nbytes for array in self.problem.weights)
