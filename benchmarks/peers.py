"""Time fastgd side by side with PyTorch, JAX and scikit-learn: same networks, data, weights, optimizer, dtype.

Whatever is installed takes part, interleaved in one process: every round times each of them once, in turn, and the
machine's rate of multiply-adds too; a ratio is formed within a round. Before anything is timed all of them train from
the same weights for the same steps; one that does not arrive at the same loss is named and gets no ratio. Nobody
shuffles.

    python benchmarks/peers.py
    python benchmarks/peers.py --networks 64-64-10@32 --peers jax --seconds 5 --json peers.json
    python benchmarks/peers.py --threads 2 --dtype float64 --markdown peers.md

With several threads, PyTorch and scikit-learn use the number, up to that, with which they are fastest; fastgd chooses
by itself, and XLA cannot be told. The libraries' thread pools are set up by the environment when they are imported:
this script imports nothing that computes before it has read its arguments. Flags already in XLA_FLAGS are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from environment import limit_threads
from rounds import interleave
from tables import Comparison, Row, print_comparison, summary

LOSS_TOLERANCE = 1e-3

# The label of what is no library's.
FLOOR = "floor"


def train(competitor, form: str, epochs: int) -> float:
    """Train from the initial weights; return the seconds that the epochs took."""
    competitor.reset()
    run = getattr(competitor, form)
    start = time.perf_counter()
    run(epochs)
    return time.perf_counter() - start


def compare_losses(
    problem, competitors, forms: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[float, int, list[Row]]:
    """Train all for the same steps and compare the losses with the first one's.

    In all their forms, or in those that `forms` gives for a competitor's name.

    The number of epochs grows until the loss has moved by much more than the tolerance: losses that agree
    because nobody has learnt anything prove nothing.
    """
    from benchmarks.networks import loss_after

    reference, before = competitors[0], loss_after(problem, problem.weights)
    for epochs in (1, 2, 4, 8, 16):
        train(reference, reference.forms()[0], epochs)
        expected = loss_after(problem, reference.weights())
        if abs(expected - before) > 50 * LOSS_TOLERANCE * abs(expected):
            break
    else:
        name = problem.network.name
        sys.exit(f"{name}: {reference.name} has learnt nothing (loss {before:.5f} to {expected:.5f})")
    rows = []
    for competitor in competitors:
        for form in competitor.forms() if forms is None else forms[competitor.name]:
            train(competitor, form, epochs)
            loss = loss_after(problem, competitor.weights())
            same = math.isclose(loss, expected, rel_tol=LOSS_TOLERANCE)
            rows.append(Row(competitor.name, form, loss, same))
    return before, epochs, rows


def choose_epochs(competitor, form: str, seconds: float) -> int:
    """Return the epochs that take about so many seconds."""
    epoch = train(competitor, form, 1)
    epochs = max(1, round(seconds / epoch))
    # The first estimate may contain a warm-up that short epochs drown in.
    epoch = train(competitor, form, epochs) / epochs
    return max(1, round(seconds / epoch))


def choose_threads(competitor, row: Row, seconds: float) -> int:
    """Return the number of threads, up to the competitor's, with which it is fastest."""
    if not competitor.resizable or competitor.n_threads == 1:
        return competitor.n_threads
    best = {}
    for n_threads in range(1, competitor.n_threads + 1):
        competitor.resize(n_threads)
        epochs = choose_epochs(competitor, row.form, seconds)
        best[n_threads] = min(train(competitor, row.form, epochs) for _ in range(3)) / epochs
    return min(best, key=best.__getitem__)


def measure(competitors, rows: list[Row], step, n_batches: int, arguments: argparse.Namespace) -> list[float]:
    """Fill in the rows' microseconds per step, one value per round; return the floor's, interleaved with them.

    Without a C compiler the machine is not measured, and there is no floor.
    """
    from floor import floor
    from machine import compiler_found, flop_rate
    from machine import measure as measure_machine

    by_name = {competitor.name: competitor for competitor in competitors}
    slice_of_time = arguments.seconds / arguments.rounds

    def timed(row: Row):
        competitor = by_name[row.competitor]
        row.n_threads = choose_threads(competitor, row, slice_of_time)
        competitor.resize(row.n_threads)
        row.epochs = choose_epochs(competitor, row.form, slice_of_time)

        def work() -> float:
            competitor.resize(row.n_threads)
            return train(competitor, row.form, row.epochs) / (row.epochs * n_batches)

        return work

    def floor_now() -> float:
        # The clock of the cores drifts by a tenth; what memory can do hardly depends on it.
        rates = {step.dtype: flop_rate(step.dtype, arguments.threads)}
        return floor(step, replace(measure_machine(arguments.threads), flop_rates=rates))

    works = {row.label: timed(row) for row in rows if row.same_loss}
    if compiler_found():
        works[FLOOR] = floor_now
    seconds = interleave(works, arguments.rounds)
    for row in rows:
        row.microseconds = [1e6 * value for value in seconds.get(row.label, ())]
    return [1e6 * value for value in seconds.get(FLOOR, ())]


def run_network(network, classes, arguments) -> Comparison:
    """Check and time one network, print its table, and return everything that was measured."""
    from benchmarks.networks import problem as draw
    from floor import Step

    network = replace(network, optimizer=arguments.optimizer or network.optimizer)
    problem = draw(network).astype(arguments.dtype)
    step = Step.of(network.name, arguments.dtype, network.optimizer, network.n_samples)
    competitors = [cls(problem, arguments.threads) for cls in classes]
    before, epochs, rows = compare_losses(problem, competitors)
    print(f"\n{network.name}, {network.optimizer}, {arguments.dtype}: {step.flops / 1e6:.3g} MFLOP a step;", end=" ")
    print(f"loss {before:.4f} to {rows[0].loss:.4f} in {epochs * network.n_batches} steps")
    floors = measure(competitors, rows, step, network.n_batches, arguments)
    comparison = Comparison(network.name, arguments.dtype, network.optimizer, floors, rows)
    print_comparison(comparison)
    sys.stdout.flush()
    return comparison


def write_markdown(path: str, comparisons: list[Comparison], classes) -> None:
    """Write two tables: everything over ``fit``, and what is a call a step over ``train_on_batch``."""
    ours, *peers = classes
    over_fit = [f"{cls.name} {form}" for cls in peers for form in cls.loops + cls.calls]
    over_call = [f"{cls.name} {form}" for cls in peers for form in cls.calls]
    tables = [summary(comparisons, f"{ours.name} {ours.loops[0]}", over_fit)]
    tables.append(summary(comparisons, f"{ours.name} {ours.calls[0]}", over_call))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(tables))


def write_json(path: str, comparisons: list[Comparison], versions: dict[str, str], arguments) -> None:
    """Write every single measurement."""
    record = {"platform": platform.platform(), "threads": arguments.threads, "versions": versions}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record | {"results": [asdict(comparison) for comparison in comparisons]}, file, indent=1)


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


def read_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, or what stands for it."""
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
    parser.add_argument("--threads", type=int, default=1, help="the most threads for each, and cores (default: 1)")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--optimizer", choices=["adam", "sgd", "momentum"], help="(default: the network's own)")
    parser.add_argument("--at-most", type=float, default=math.inf, metavar="SECONDS", help="leave out what comes later")
    parser.add_argument("--markdown", metavar="FILE", help="write summary tables there")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    arguments = parser.parse_args(given)
    if arguments.threads < 1 or arguments.rounds < 1 or not arguments.seconds > 0:
        parser.error("--threads and --rounds must be at least 1, --seconds positive")
    return arguments


def choose(what: str, names: list[str] | None, known: dict) -> list:
    """Return the known things of these names (all if None); an unknown one ends the program."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        sys.exit(f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return list(known.values()) if names is None else [known[name] for name in names]


def run_networks(networks, classes, arguments: argparse.Namespace) -> list[Comparison]:
    """Check and time networks one after another, as long as there is time for one more like the longest so far."""
    start, comparisons, longest = time.perf_counter(), [], 0.0
    for network in networks:
        begin = time.perf_counter()
        if comparisons and begin + longest > start + arguments.at_most:
            print(f"\n{network.name}: not timed, for it would take longer than {arguments.at_most:g} seconds in all")
            continue
        comparisons.append(run_network(network, classes, arguments))
        longest = max(longest, time.perf_counter() - begin)
    return comparisons


def main(given: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, or what is given in its place."""
    arguments = read_arguments(given)
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
    comparisons = run_networks(networks, classes, arguments)
    if arguments.json:
        write_json(arguments.json, comparisons, versions, arguments)
    if arguments.markdown:
        write_markdown(arguments.markdown, comparisons, classes)


if __name__ == "__main__":
    main()
