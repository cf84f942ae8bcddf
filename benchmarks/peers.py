"""Time fastgd side by side with PyTorch, JAX and scikit-learn: same networks, data, weights, Adam, float32.

Whatever is installed takes part, interleaved in one process: every round times each of them once, in turn,
and a ratio is formed within a round, so a machine that slows down for a while slows down both sides of it.
Before anything is timed all of them train from the same weights for the same steps; one that does not arrive
at the same loss is named and gets no ratio. Nobody shuffles.

    python benchmarks/peers.py
    python benchmarks/peers.py --networks 64-64-10@32 --peers jax --seconds 5 --json peers.json

The libraries' thread pools are set up by the environment when they are imported; that is why this script
imports nothing that computes before it has read its arguments. Flags already in XLA_FLAGS are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field

LOSS_TOLERANCE = 1e-3
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
XLA_FLAGS = {
    # The preference matters only where the processor has registers of that width, and helps there.
    "--xla_cpu_prefer_vector_width": "512",
}


def limit_threads(n_threads: int) -> None:
    """Give every library ``n_threads`` threads, and the process as many cores where the system allows it."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)), JAX_PLATFORMS="cpu")
    flags = XLA_FLAGS | ({"--xla_cpu_multi_thread_eigen": "false"} if n_threads == 1 else {})
    given = os.environ.get("XLA_FLAGS", "")
    added = [f"{name}={value}" for name, value in flags.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()
    if hasattr(os, "sched_setaffinity"):
        # XLA counts the cores it may use and cannot be told otherwise. The first core serves most interrupts.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-n_threads:])


@dataclass
class Row:
    """What was found out about one form of one competitor on one network."""

    competitor: str
    form: str
    loss: float
    same_loss: bool
    epochs: int = 0
    microseconds: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name of the library and of the form."""
        return f"{self.competitor} {self.form}"


def train(competitor, form: str, epochs: int) -> float:
    """Train from the initial weights; return the seconds that the epochs took."""
    competitor.reset()
    run = getattr(competitor, form)
    start = time.perf_counter()
    run(epochs)
    return time.perf_counter() - start


def compare_losses(problem, competitors) -> tuple[float, int, list[Row]]:
    """Train all for the same steps and compare the losses with the first one's.

    The number of epochs grows until the loss has moved by much more than the tolerance: losses that agree
    because nobody has learnt anything prove nothing.
    """
    from benchmarks.networks import loss_after

    reference, before = competitors[0], loss_after(problem, problem.weights)
    for epochs in (1, 2, 4, 8, 16):
        train(reference, reference.forms[0], epochs)
        expected = loss_after(problem, reference.weights())
        if abs(expected - before) > 50 * LOSS_TOLERANCE * abs(expected):
            break
    else:
        name = problem.network.name
        sys.exit(f"{name}: {reference.name} has learnt nothing (loss {before:.5f} to {expected:.5f})")
    rows = []
    for competitor in competitors:
        for form in competitor.forms:
            train(competitor, form, epochs)
            loss = loss_after(problem, competitor.weights())
            same = math.isclose(loss, expected, rel_tol=LOSS_TOLERANCE)
            rows.append(Row(competitor.name, form, loss, same))
    return before, epochs, rows


def measure(competitors, rows: list[Row], n_batches: int, rounds: int, seconds: float) -> None:
    """Fill in the rows' microseconds per step, one value per round, interleaved."""
    by_name = {competitor.name: competitor for competitor in competitors}
    timed = [row for row in rows if row.same_loss]
    for row in timed:
        epoch = train(by_name[row.competitor], row.form, 1)
        row.epochs = max(1, round(seconds / rounds / epoch))
        # The first estimate may contain a warm-up that short epochs drown in.
        epoch = train(by_name[row.competitor], row.form, row.epochs) / row.epochs
        row.epochs = max(1, round(seconds / rounds / epoch))
    for index in range(rounds):
        first = index % len(timed)
        for row in timed[first:] + timed[:first]:
            elapsed = train(by_name[row.competitor], row.form, row.epochs)
            row.microseconds.append(elapsed / (row.epochs * n_batches) * 1e6)


def ratios(row: Row, reference: Row) -> list[float]:
    """Return the row's time over the reference's, round by round."""
    return [theirs / ours for theirs, ours in zip(row.microseconds, reference.microseconds, strict=True)]


def spread(values: list[float]) -> str:
    """Write the median and the quartiles of some values."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    low, middle, high = (f"{value:.2f}" if value < 100 else f"{value:,.0f}" for value in quartiles)
    return f"{middle} [{low}, {high}]"


def mega_flop(units: tuple[int, ...], batch_size: int) -> float:
    """Return the operations in a step's matrix products; the inputs' own gradient is not among them."""
    products = [fan_in * fan_out for fan_in, fan_out in zip(units, units[1:], strict=False)]
    return 2 * batch_size * (3 * sum(products) - products[0]) / 1e6


def print_table(rows: list[Row]) -> None:
    """Print microseconds per step and the ratios to each of fastgd's forms."""
    ours = [row for row in rows if row.competitor == "fastgd" and row.same_loss]
    heads = "".join(f"  {'/ ' + row.label:<24}" for row in ours)
    print(f"  {'':<26}{'us per step':<30}{heads}".rstrip())
    for row in rows:
        if not row.same_loss:
            print(f"  {row.label:<26}loss {row.loss:.5f} after the same steps: not timed")
            continue
        cells = "".join(f"  {spread(ratios(row, reference)):<24}" for reference in ours)
        print(f"  {row.label:<26}{spread(row.microseconds):<30}{cells}".rstrip())


def run_network(network, classes, arguments) -> dict:
    """Check and time one network, print its table, and return everything that was measured."""
    from benchmarks.networks import problem as draw

    problem = draw(network)
    competitors = [cls(problem, arguments.threads) for cls in classes]
    before, epochs, rows = compare_losses(problem, competitors)
    measure(competitors, rows, network.n_batches, arguments.rounds, arguments.seconds)
    print(f"\n{network.name}   {mega_flop(network.units, network.batch_size):.3g} MFLOP a step;", end=" ")
    print(f"loss {before:.4f} to {rows[0].loss:.4f} in {epochs * network.n_batches} steps")
    print_table(rows)
    sys.stdout.flush()
    measured = [asdict(row) for row in rows]
    return {"network": network.name, "loss_before": before, "epochs_checked": epochs, "rows": measured}


def find_installed(names: list[str]) -> dict[str, str]:
    """Return the versions of those installed, name by name; say which are not."""
    from competitors import COMPETITORS

    versions = {}
    for name in names:
        try:
            versions[name] = COMPETITORS[name].version()
        except ImportError as error:
            print(f"{name}: not installed ({error}), not timed")
        else:
            print(f"{name} {versions[name]}")
    return versions


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="such as 64-64-10@32 (default: all)")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=["pytorch", "jax", "scikit-learn"],
        help="of pytorch, pytorch-compiled, jax, scikit-learn (default: all but pytorch-compiled)",
    )
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each (default: 9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each per network (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="threads for each, and cores (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1 or not arguments.seconds > 0:
        parser.error("--threads and --rounds must be at least 1, --seconds positive")
    return arguments


def choose(what: str, names: list[str] | None, known: dict) -> list:
    """Return the known things of these names (all if None); an unknown one ends the program."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        sys.exit(f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return list(known.values()) if names is None else [known[name] for name in names]


def main() -> None:
    """Measure what the command line asks for."""
    arguments = read_arguments()
    limit_threads(arguments.threads)
    from benchmarks.networks import NETWORKS
    from competitors import COMPETITORS

    networks = choose("network", arguments.networks, NETWORKS)
    names = ["fastgd", *(name for name in arguments.peers if name != "fastgd")]
    choose("peer", names, COMPETITORS)
    print(f"Python {platform.python_version()} on {platform.platform()}, threads: {arguments.threads}")
    versions = find_installed(names)
    if not versions:
        sys.exit("none of them is installed")
    classes = [COMPETITORS[name] for name in versions]
    results = [run_network(network, classes, arguments) for network in networks]
    if arguments.json:
        record = {"platform": platform.platform(), "threads": arguments.threads, "versions": versions}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(record | {"results": results}, file, indent=1)


if __name__ == "__main__":
    main()
