"""Training against the floor: the time below which no program can do a step on this machine."""

from __future__ import annotations

from dataclasses import replace

from environment import available_cores
from floor import Step, floor
from machine import flop_rate, measure
from rounds import interleave, median_ratio, repeated

from .bench_training import N_THREADS, epoch_of_fit
from .networks import NETWORKS

ROUNDS = 7
SECONDS = 0.1


class OverFloor:
    """Time of a step over its floor, which is one over the fraction of the floor that is reached."""

    version = "1"
    params = (list(NETWORKS), ["float32", "float64"], N_THREADS)
    param_names = ("network", "dtype", "n_threads")
    unit = "floors"
    timeout = 120

    def setup_cache(self):
        try:
            return {n: measure(n) for n in N_THREADS if n <= len(available_cores())}
        except FileNotFoundError:
            return {}  # there is no C compiler to measure the machine with

    def setup(self, machines, name, dtype, n_threads):
        if n_threads not in machines:
            raise NotImplementedError(f"the floor needs a C compiler and {n_threads} cores")

    def track_step_over_floor(self, machines, name, dtype, n_threads):
        network = NETWORKS[name]
        step = Step.of(name, dtype, network.optimizer, network.n_samples)
        epoch = repeated(epoch_of_fit(name, dtype, n_threads=n_threads), SECONDS)

        def floor_now():
            # The clock of the cores drifts by a tenth; what memory can do hardly depends on it.
            return floor(step, replace(machines[n_threads], flop_rates={dtype: flop_rate(dtype, n_threads)}))

        times = interleave({"step": lambda: epoch() / network.n_batches, "floor": floor_now}, ROUNDS)
        return median_ratio(times["step"], times["floor"])

    def track_floor(self, machines, name, dtype, n_threads):
        """The floor itself, in microseconds: it moves when the machine does, and then explains what else moved."""
        network = NETWORKS[name]
        step = Step.of(name, dtype, network.optimizer, network.n_samples)
        return round(1e6 * floor(step, machines[n_threads]), 3)

    track_floor.unit = "us"
