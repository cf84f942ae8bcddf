"""The floor of a training step: the time below which no program can do it on the machine at hand.

    python benchmarks/floor.py
    python benchmarks/floor.py 784-128-10@64 --optimizer adam --dtype float32 --threads 1

The first measures the machine, on one core and on all; the second also computes the floor of networks.

What is counted are the three matrix products of a layer: forward, its weights' gradient and, except in the first
layer, its input's gradient. Element-wise work is listed and costs nothing here, as if it found room beside them.

What moves between memory and the last cache: all weights to the core for the forward pass; weights and optimizer
states to the core and back for the update, which the backward pass can share; and the data set once an epoch. A step
goes through its weights forward and then backward, so each pass may find at most one cache-full where the pass before
it left it; only the rest is counted. **What fits the last cache therefore moves nothing**, and the floor is the
products'; activations and transfers between the caches are never counted. So a fraction of the floor is, if anything,
too low.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

import numpy as np
from machine import REALS, Machine, measure


@dataclass(frozen=True)
class Step:
    """The work in one training step of a multilayer perceptron.

    Attributes
    ----------
    units : tuple of int
        Width of each layer, the inputs first.
    batch_size : int
    dtype : str
        ``"float32"`` or ``"float64"``.
    n_states : int
        Values that the optimizer keeps for each weight: 0 for SGD, 2 for Adam.
    n_samples : int
        Rows of the data set; 0 if they are not to be counted.
    """

    units: tuple[int, ...]
    batch_size: int
    dtype: str = "float32"
    n_states: int = 2
    n_samples: int = 0

    @classmethod
    def of(cls, name: str, dtype: str = "float32", optimizer: str = "adam", n_samples: int = 0) -> Step:
        """Return the step of a network called as ``"784-128-10@64"``, with a registered optimizer's rule."""
        from fastgd import optimizers  # noqa: F401  (importing it fills the registry)
        from fastgd._formula import OPTIMIZERS, get

        widths, _, batch_size = name.partition("@")
        units = tuple(int(width) for width in widths.split("-"))
        return cls(units, int(batch_size), dtype, len(get(OPTIMIZERS, optimizer).states), n_samples)

    @property
    def products(self) -> dict[str, int]:
        """Floating point operations of each kind of product; a multiplication and an addition are two."""
        layers = [2 * self.batch_size * a * b for a, b in zip(self.units, self.units[1:], strict=False)]
        return {"forward": sum(layers), "input gradient": sum(layers[1:]), "weight gradient": sum(layers)}

    @property
    def flops(self) -> int:
        """Floating point operations of all products."""
        return sum(self.products.values())

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum((a + 1) * b for a, b in zip(self.units, self.units[1:], strict=False))

    @property
    def elements(self) -> dict[str, int]:
        """Elements that something else than a product is done to, by what it is."""
        hidden = self.batch_size * sum(self.units[1:-1])
        scores = self.batch_size * self.units[-1]
        return {"activation": hidden, "derivative": hidden, "loss": scores, "update": self.n_parameters}

    def bytes_read(self, cache_bytes: int) -> float:
        """Bytes that must come from memory, and need not go back: weights of the forward pass, rows of the data."""
        size = np.dtype(self.dtype).itemsize
        weights = max(0, self.n_parameters * size - cache_bytes)
        data = max(0, self.n_samples * self.units[0] * size - cache_bytes)
        return weights + data * self.batch_size / max(1, self.n_samples)

    def bytes_updated(self, cache_bytes: int) -> float:
        """Bytes that must come from memory and go back, both counted: weights and states."""
        size = np.dtype(self.dtype).itemsize
        return 2 * max(0, self.n_parameters * (1 + self.n_states) * size - cache_bytes)


def seconds_of_products(step: Step, machine: Machine) -> float:
    """Return the time that the products take at the machine's rate."""
    return step.flops / machine.flop_rates[step.dtype]


def seconds_of_transfers(step: Step, machine: Machine) -> float:
    """Return the time that memory needs for what must move."""
    read = step.bytes_read(machine.cache_bytes) / machine.read_rate
    return read + step.bytes_updated(machine.cache_bytes) / machine.update_rate


def floor(step: Step, machine: Machine) -> float:
    """Return the seconds that a step takes at least: products and transfers can at best go on side by side."""
    return max(seconds_of_products(step, machine), seconds_of_transfers(step, machine))


def fraction_of_floor(seconds: float, step: Step, machine: Machine) -> float:
    """Return how close a measured time comes to the floor: 1 is as fast as the machine can."""
    return floor(step, machine) / seconds


def describe(step: Step, machine: Machine) -> str:
    """Return the work of a step and its floor in some lines of text."""
    cache_bytes = machine.cache_bytes
    products = ", ".join(f"{name} {flops / 1e6:.4g}" for name, flops in step.products.items())
    elements = ", ".join(f"{name} {count:,}" for name, count in step.elements.items())
    read, updated = step.bytes_read(cache_bytes), step.bytes_updated(cache_bytes)
    times = seconds_of_products(step, machine), seconds_of_transfers(step, machine)
    bound = "memory" if times[1] > times[0] else "products"
    return "\n".join(
        [
            f"{'-'.join(map(str, step.units))}@{step.batch_size}, {step.dtype}, {step.n_states} states a weight",
            f"  products     {step.flops / 1e6:.4g} MFLOP ({products}): {times[0] * 1e6:.4g} us",
            f"  memory       {read / 1e6:.4g} MB read, {updated / 1e6:.4g} MB updated: {times[1] * 1e6:.4g} us",
            f"  elements     {elements}: not counted",
            f"  floor        {floor(step, machine) * 1e6:.4g} us, set by the {bound}",
        ]
    )


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="such as 784-128-10@64")
    parser.add_argument("--optimizer", default="adam", help="name of a rule (default: adam)")
    parser.add_argument("--dtype", choices=list(REALS), default="float32")
    parser.add_argument("--samples", type=int, default=0, help="rows of the data set (default: not counted)")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}), help="default: 1, and all cores")
    return parser.parse_args()


def main() -> None:
    """Print the machine's figures, and the floors that were asked for."""
    arguments = read_arguments()
    for n_threads in arguments.threads:
        machine = measure(n_threads)
        print(machine)
        for name in arguments.networks:
            print(describe(Step.of(name, arguments.dtype, arguments.optimizer, arguments.samples), machine))


if __name__ == "__main__":
    main()
