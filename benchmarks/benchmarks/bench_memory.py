"""How much memory training takes, beside what NumPy, fastgd and the data take by themselves."""

from __future__ import annotations

import sys

from .networks import NETWORKS, build_model, problem

try:
    import resource
except ImportError:
    # Windows does not tell a process its own peak in this way.
    resource = None

NAMES = ["784-256-128-10@128", "2048-2048-2048@512"]


def train(name):
    """Train for an epoch."""
    drawn = problem(NETWORKS[name])
    build_model(drawn).fit(drawn.X, drawn.labels, epochs=1, batch_size=drawn.network.batch_size)


class PeakMemory:
    """Peak of the whole process; the data set alone is the zero line."""

    version = "1"
    params = NAMES
    param_names = ("network",)

    def peakmem_data_only(self, name):
        problem(NETWORKS[name])

    def peakmem_fit(self, name):
        train(name)


class AddedMemory:
    """What a model and its first epoch add to the peak that drawing the data has reached."""

    version = "1"
    params = NAMES
    param_names = ("network",)
    unit = "bytes"

    def setup(self, name):
        if resource is None:
            raise NotImplementedError("this system has no getrusage")
        problem(NETWORKS[name])

    def track_added_by_fit(self, name):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        train(name)
        added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # macOS counts in bytes, the others in units of 1024.
        return added if sys.platform == "darwin" else 1024 * added

    def track_parameters(self, name):
        """Bytes of weights alone, to read the above against: Adam needs at least three times that."""
        return sum(array.nbytes for array in problem(NETWORKS[name]).weights)
