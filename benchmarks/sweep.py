"""Sweep a step's time over widths, batch sizes, dtypes, activations and optimizers, and mark every cliff.

    python benchmarks/sweep.py
    python benchmarks/sweep.py --dtypes float64 --activations tanh --optimizers sgd --plot sweep.png --csv sweep.csv
    python benchmarks/sweep.py --threads
    python benchmarks/sweep.py --odd

Each point is a network of two layers as wide as its inputs, trained by ``fit`` on squared errors. A point is marked if
it does under 60 % of the operations a second that the two points on either side of it suggest (their geometric mean, by
width or by batch size), or takes over a tenth longer than a point that is larger both ways. What is marked is measured
again, together with the points that it was compared with, and reported if it is still marked. The least of some
measurements counts: whatever else happens on a machine can only slow a step down.

``--threads`` compares two threads with one over the same grid instead, and marks every point that two make more than
3 % slower. What was measured while another process had a core says nothing about that, and is measured once more.
``--odd`` times shapes of no round size beside the round ones next to them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from environment import available_cores, in_silence, limit_threads

CLIFF = 0.60
INVERSION = 1.10
SLOWER = 1.03

# Rows of the data set, in batches; and how long a point is trained in a round.
N_BATCHES = 8
SECONDS = 3e-3
ROUNDS, ROUNDS_AGAIN = 4, 20

# Around every multiple of 16, which is a vector of float32 and two of float64 where vectors are widest, and the small
# sizes; the batches also around multiples of 14, the rows of a tile there.
WIDTHS = sorted({*range(1, 18), *(k + d for k in range(16, 301, 16) for d in (-1, 0, 1, 8)), 300})
BATCHES = sorted({*range(1, 18), *(14 * k + d for k in (2, 3, 4, 7, 14, 21) for d in (-1, 0, 1)), 31, 32, 33, 48, 64,
                  96, 127, 128, 129, 160, 200, 255, 256, 257, 300})  # fmt: skip

ODD = ("44-44-44@128", "45-45-45@128", "46-46-46@128", "48-48-48@128", "96-96-96@128", "97-97-97@128", "97-97-97@97",
       "992-992-992@64", "1000-1000-1000@64", "1000-1000-1000@61", "1024-1024-1024@64", "4096-8@64", "4096-10@64",
       "4096-16@64", "4096-10@1", "4096-10@61", "4096-1@64", "10-4096@64", "784-10@128", "784-45-46-97-10@100",
       "1-1@1", "1-300-1@300", "300-1-300@300")  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What is the same all over a grid."""

    dtype: str
    activation: str
    optimizer: str

    def __str__(self) -> str:
        return f"{self.dtype}, {self.activation}, {self.optimizer}"


@dataclass(frozen=True)
class Point:
    """A network, by its widths, and a batch size."""

    units: tuple[int, ...]
    batch_size: int

    @classmethod
    def of(cls, name: str) -> Point:
        """Return the point of a name such as ``"784-10@128"``."""
        widths, _, batch_size = name.partition("@")
        return cls(tuple(map(int, widths.split("-"))), int(batch_size))

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.units))}@{self.batch_size}"


def build(point: Point, setting: Setting, n_threads: int):
    """Return a model of a point."""
    import fastgd as fg

    hidden = [fg.Dense(units, activation=setting.activation) for units in point.units[1:-1]]
    rule = {"adam": fg.Adam(1e-3), "sgd": fg.SGD(1e-3), "momentum": fg.SGD(1e-3, momentum=0.9)}[setting.optimizer]
    layers = [*hidden, fg.Dense(point.units[-1])]
    loss = "mean_squared_error"
    return fg.Sequential(layers, loss=loss, optimizer=rule, dtype=setting.dtype, n_threads=n_threads)


def draw(n_rows: int, n_columns: int, dtype: str):
    """Return normal random numbers."""
    import numpy as np

    return np.random.default_rng(0).standard_normal((n_rows, n_columns), dtype=dtype)


def seconds_of_step(point: Point, setting: Setting, n_threads: Iterable[int] = (1,)) -> list[float]:
    """Return the seconds of a step inside ``fit``, for each number of threads in turn."""
    n_rows = N_BATCHES * point.batch_size
    X, y = (draw(n_rows, width, setting.dtype) for width in (point.units[0], point.units[-1]))
    return [seconds_of_fit(build(point, setting, count), X, y, point.batch_size) for count in n_threads]


def seconds_of_fit(model, X, y, batch_size: int) -> float:
    """Return the seconds of a step, of as many epochs as take about `SECONDS`."""

    def fit(epochs: int) -> float:
        start = time.perf_counter()
        model.fit(X, y, epochs=epochs, batch_size=batch_size, shuffle=False)
        return (time.perf_counter() - start) / epochs

    fit(1)  # builds the model and touches its memory
    # A single epoch of a small network is mostly the call of fit; what matters here is what comes after it.
    epoch = fit(max(1, round(SECONDS / 8 / fit(1))))
    return fit(max(1, round(SECONDS / epoch))) / N_BATCHES


def passes(points: Iterable[Point], measure: Callable[[Point], list[float]], rounds: int) -> dict[Point, list[float]]:
    """Measure all points once a round; return the least values of each."""
    least: dict[Point, list[float]] = {}
    points = list(points)
    for _ in range(rounds):
        for point in points:
            values = measure(point)
            least[point] = list(map(min, values, least.get(point, values)))
    return least


class Grid:
    """Networks of every width with every batch size.

    Parameters
    ----------
    widths, batches : list of int
        In ascending order.
    """

    def __init__(self, widths: list[int], batches: list[int]):
        self.widths, self.batches = widths, batches
        places = itertools.product(range(len(widths)), range(len(batches)))
        self.points = {(i, j): Point((widths[i],) * 3, batches[j]) for i, j in places}

    def cliffs(self, seconds: dict[Point, float]) -> dict[Point, list[Point]]:
        """Return the points that do under `CLIFF` of the operations of those on either side, with these."""
        rates = {point: flops(point) / taken for point, taken in seconds.items()}
        found = {}
        for (i, j), point in self.points.items():
            for sides in (((i - 1, j), (i + 1, j)), ((i, j - 1), (i, j + 1))):
                beside = [self.points[side] for side in sides if side in self.points]
                if len(beside) == 2 and rates[point] < CLIFF * statistics.geometric_mean(map(rates.get, beside)):
                    found[point] = beside
        return found

    def inversions(self, seconds: dict[Point, float]) -> dict[Point, list[Point]]:
        """Return the points that take over `INVERSION` of the time of one that is larger both ways, with that one."""
        quickest: dict[tuple[int, int], Point] = {}
        found = {}
        for (i, j), point in reversed(self.points.items()):
            larger = [quickest[place] for place in ((i + 1, j), (i, j + 1)) if place in quickest]
            quickest[i, j] = min([point, *larger], key=seconds.__getitem__)
            if seconds[point] > INVERSION * seconds[quickest[i, j]]:
                found[point] = [quickest[i, j]]
        return found


def flops(point: Point) -> int:
    """Return the operations in a step's products."""
    from floor import Step

    return Step(point.units, point.batch_size).flops


def sweep(grid: Grid, setting: Setting) -> tuple[dict[Point, float], dict[Point, list[Point]]]:
    """Return the seconds of a step at every point; and the points that are marked, with what they look bad beside."""

    def least(points: Iterable[Point], rounds: int) -> dict[Point, float]:
        found = passes(points, lambda point: seconds_of_step(point, setting), rounds)
        return {point: values[0] for point, values in found.items()}

    seconds = least(grid.points.values(), ROUNDS)
    suspects = grid.cliffs(seconds) | grid.inversions(seconds)
    again = {*suspects, *itertools.chain.from_iterable(suspects.values())}
    seconds |= {point: min(taken, seconds[point]) for point, taken in least(again, ROUNDS_AGAIN).items()}
    return seconds, grid.cliffs(seconds) | grid.inversions(seconds)


def sweep_threads(grid: Grid, setting: Setting) -> tuple[dict[Point, float], dict[Point, list[Point]]]:
    """Return the time of two threads over that of one at every point; and the points where it is too much."""

    def quotients_of(points: Iterable[Point], rounds: int) -> dict[Point, float]:
        found = passes(points, lambda point: in_silence(lambda: seconds_of_step(point, setting, (1, 2))), rounds)
        return {point: two / one for point, (one, two) in found.items()}

    quotients = quotients_of(grid.points.values(), ROUNDS)
    suspects = [point for point, value in quotients.items() if value > SLOWER]
    quotients |= quotients_of(suspects, ROUNDS_AGAIN)
    return quotients, {point: [] for point in suspects if quotients[point] > SLOWER}


def print_grid(setting: Setting, seconds: dict[Point, float], marked: dict[Point, list[Point]], rate: float) -> None:
    """Print what part of the rate is reached, by the work in a step, and the marked points."""
    print(f"\n{setting}: {len(seconds)} points, {len(marked)} marked")
    for low, high in itertools.pairwise((0, 1e4, 1e5, 1e6, 1e7, 1e9)):
        parts = [flops(p) / (taken * rate) for p, taken in seconds.items() if low <= flops(p) < high]
        if parts:
            middle, least = statistics.median(parts), min(parts)
            print(f"  steps under {high / 1e6:>6g} MFLOP: {middle:.3f} of the floor, at least {least:.3f}")
    print_marked(
        marked,
        lambda p: max(seconds[p] / flops(p) * flops(other) / seconds[other] for other in marked[p]),
        lambda p: ", ".join(f"{other} {describe(other, seconds[other])}" for other in [p, *marked[p]]),
    )


def print_marked(marked: Iterable[Point], badness: Callable[[Point], float], describe: Callable[[Point], str]) -> None:
    """Print for each width how many batch sizes are marked, and the worst of them."""
    for width, points in itertools.groupby(sorted(marked, key=lambda p: p.units), key=lambda p: p.units[0]):
        of_width = list(points)
        worst = max(of_width, key=badness)
        print(f"  MARKED width {width}, {len(of_width)} batch sizes; the worst: {describe(worst)}")


def describe(point: Point, seconds: float) -> str:
    """Write the time and the rate of a point."""
    return f"{seconds * 1e6:.4g} us ({flops(point) / seconds / 1e9:.3g} GFLOP/s)"


def print_threads(setting: Setting, quotients: dict[Point, float], marked: dict[Point, list[Point]]) -> None:
    """Print how two threads do over the grid, and the marked points."""
    shared = [value for value in quotients.values() if value < 1 / SLOWER]
    print(f"\n{setting}, two threads over one: {len(quotients)} points, {len(marked)} slower than {SLOWER};")
    print(f"  quicker at {len(shared)}" + (f", by {1 / statistics.median(shared):.2f} (median)" if shared else ""))
    print_marked(marked, quotients.__getitem__, lambda p: f"{p} {flops(p) / 1e6:.3g} MFLOP {quotients[p]:.2f}")


def run_odd(settings: list[Setting]) -> None:
    """Time the shapes of no round size."""
    from machine import flop_rate

    points = [Point.of(name) for name in ODD]
    for setting in settings:
        found = passes(points, lambda point, s=setting: seconds_of_step(point, s), ROUNDS_AGAIN)
        rate = flop_rate(setting.dtype, 1)
        print(f"\n{setting}")
        for point, (taken,) in found.items():
            print(f"  {point!s:<24}{describe(point, taken):<32}{flops(point) / (taken * rate):.2f} of the floor")


def plot(path: str, grid: Grid, found: list[tuple[str, dict[Point, float], dict[Point, list[Point]]]]) -> None:
    """Draw a map of every grid, the marked points crossed."""
    try:
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise SystemExit("a plot needs matplotlib: pip install 'fastgd[plot]'") from error
    figure = Figure(figsize=(9, 7 * len(found)), layout="constrained")
    for axes, (title, values, marked) in zip(figure.subplots(len(found), squeeze=False)[:, 0], found, strict=True):
        colours = [[values[grid.points[i, j]] for i in range(len(grid.widths))] for j in range(len(grid.batches))]
        image = axes.pcolormesh(colours, norm=LogNorm(), cmap="viridis")
        places = [(i + 0.5, j + 0.5) for (i, j), point in grid.points.items() if point in marked]
        axes.scatter(*zip(*places, strict=True) if places else ((), ()), marker="x", color="red", label="marked")
        for axis, sizes in ((axes.xaxis, grid.widths), (axes.yaxis, grid.batches)):
            shown = range(0, len(sizes), 4)
            axis.set_ticks([k + 0.5 for k in shown], [str(sizes[k]) for k in shown])
        axes.set(title=title, xlabel="width", ylabel="batch size")
        figure.colorbar(image, ax=axes)
    figure.savefig(path, dpi=100)


def write_csv(path: str, found: list[tuple[str, dict[Point, float], dict[Point, list[Point]]]]) -> None:
    """Write a line for every point."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["what", "width", "batch_size", "value", "marked"])
        for title, values, marked in found:
            lines.writerows([title, p.units[0], p.batch_size, value, p in marked] for p, value in values.items())


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dtypes", nargs="+", default=["float32"], help="of float32, float64 (default: float32)")
    parser.add_argument("--activations", nargs="+", default=["relu"], help="names (default: relu)")
    parser.add_argument("--optimizers", nargs="+", default=["adam"], help="of adam, sgd, momentum (default: adam)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth width and batch size")
    parser.add_argument("--threads", action="store_true", help="compare two threads with one")
    parser.add_argument("--odd", action="store_true", help="time shapes of no round size")
    parser.add_argument("--plot", metavar="FILE", help="draw the grids there")
    parser.add_argument("--csv", metavar="FILE", help="write every point there")
    arguments = parser.parse_args()
    if arguments.threads and len(available_cores()) < 2:
        parser.error("--threads needs two cores")
    return arguments


def main() -> None:
    """Sweep what the command line asks for."""
    arguments = read_arguments()
    limit_threads(2 if arguments.threads else 1)
    from machine import flop_rate

    settings = [Setting(*s) for s in itertools.product(arguments.dtypes, arguments.activations, arguments.optimizers)]
    if arguments.odd:
        run_odd(settings)
        return
    grid = Grid(WIDTHS[:: arguments.every], BATCHES[:: arguments.every])
    found = []
    for setting in settings:
        if arguments.threads:
            values, marked = sweep_threads(grid, setting)
            print_threads(setting, values, marked)
            found.append((f"{setting}: time of two threads over one", values, marked))
        else:
            seconds, marked = sweep(grid, setting)
            print_grid(setting, seconds, marked, flop_rate(setting.dtype, 1))
            rates = {point: flops(point) / taken / 1e9 for point, taken in seconds.items()}
            found.append((f"{setting}: GFLOP/s", rates, marked))
    if arguments.plot:
        plot(arguments.plot, grid, found)
    if arguments.csv:
        write_csv(arguments.csv, found)


if __name__ == "__main__":
    main()
