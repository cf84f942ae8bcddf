"""Steps of training, as calls of ``train_on_batch`` and inside ``fit``."""

from __future__ import annotations

import itertools

from environment import available_cores

from .backends import BACKENDS, INSTRUCTION_SETS, use_backend
from .calls import Call
from .networks import NETWORKS, build_model, problem

N_THREADS = [1, 2, 4]


class TrainOnBatch(Call):
    """One step by one call."""

    params = (list(NETWORKS), ["float32", "float64"], BACKENDS)
    param_names = ("network", "dtype", "backend")

    def prepare(self, name, dtype, backend):
        drawn = problem(NETWORKS[name]).astype(dtype)
        model = build_model(drawn, dtype=dtype, backend=use_backend(backend))
        batches = itertools.cycle(drawn.batches())
        return lambda: model.train_on_batch(*next(batches))


def epoch_of_fit(name, dtype="float32", **options):
    """Return a call of ``fit`` for an epoch, shuffled as by default."""
    drawn = problem(NETWORKS[name]).astype(dtype)
    model = build_model(drawn, dtype=dtype, **options)
    return lambda: model.fit(drawn.X, drawn.labels, epochs=1, batch_size=drawn.network.batch_size)


class FitEpoch(Call):
    """An epoch inside ``fit``; divide by the number of batches for a step."""

    params = (list(NETWORKS), ["float32", "float64"], N_THREADS)
    param_names = ("network", "dtype", "n_threads")

    def prepare(self, name, dtype, n_threads):
        if n_threads > len(available_cores()):
            raise NotImplementedError(f"there are no {n_threads} cores here")
        return epoch_of_fit(name, dtype, n_threads=n_threads)


class FitEpochInstructionSet(Call):
    """The same on one thread by each instruction set."""

    params = (list(NETWORKS), INSTRUCTION_SETS)
    param_names = ("network", "instruction_set")

    def prepare(self, name, instruction_set):
        return epoch_of_fit(name, backend=use_backend(instruction_set))
