"""Does fastgd keep its speed in company? Training beside other libraries' thread pools, and several trainings at once.

    python benchmarks/neighbours.py
    python benchmarks/neighbours.py --networks 64-64-10@200 --rounds 11

Pools: in one process, on all cores, PyTorch or NumPy's BLAS multiplies large matrices with all its threads, and right
after it fastgd trains. Their threads may go on spinning for a while, and take the cores away from those of fastgd. It
is compared with a training before which nothing has run for so long that they sleep.

Workers: as many trainings at once as there are cores, in processes of joblib and in Python's threads, each left to
choose its number of threads. It is compared with a single one on one thread, so what is given is throughput per core.

Interleaved in rounds, ratios within a round; what loses more than a tenth is marked. The company is meant to be this
script's own: what was measured while another process had a core is measured once more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from environment import available_cores, in_silence
from rounds import interleave, ratios, spread

LOST = 0.90

# OpenMP of Intel spins for 200 milliseconds, the others for less.
UNTIL_POOLS_SLEEP = 0.5

SIDE = 1500

PAUSE = 0.1


def train(name: str, n_threads: int | None, seconds: float) -> float:
    """Train a network for about so many seconds; return the seconds of a step."""
    from benchmarks.networks import NETWORKS, build_model
    from benchmarks.networks import problem as draw

    problem = draw(NETWORKS[name])
    return timed_fit(build_model(problem, n_threads=n_threads), problem, seconds)


def timed_fit(model, problem, seconds: float) -> float:
    """Return the seconds of a step, of as many epochs as take about so many seconds."""
    network = problem.network

    def fit(epochs: int) -> float:
        start = time.perf_counter()
        model.fit(problem.X, problem.labels, epochs=epochs, batch_size=network.batch_size)
        return (time.perf_counter() - start) / epochs

    fit(1)
    epoch = fit(max(1, round(seconds / 20 / fit(1))))
    return fit(max(1, round(seconds / epoch))) / network.n_batches


def pools() -> dict[str, Callable[[], object]]:
    """Return calls that make a library's pool of threads work, of those libraries that are installed."""
    import numpy as np

    square = np.ones((SIDE, SIDE), np.float32)
    found: dict[str, Callable[[], object]] = {"NumPy's BLAS": lambda: square @ square}
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch: not installed, its pool takes no part")
    else:
        torch.set_num_threads(len(available_cores()))
        tensor = torch.from_numpy(square)
        found["PyTorch"] = lambda: tensor @ tensor
    return found


def beside_pools(name: str, seconds: float) -> dict[str, Callable[[], float]]:
    """Return works that train on all cores after nothing, and after a pool at work: the first one is alone."""
    from benchmarks.networks import NETWORKS, build_model
    from benchmarks.networks import problem as draw

    problem = draw(NETWORKS[name])
    model = build_model(problem, n_threads=len(available_cores()))
    # Short, for a pool that sleeps after a while must not be given time to do so.
    epochs = max(1, round(seconds / 50 / (timed_fit(model, problem, seconds) * problem.network.n_batches)))

    def after(call: Callable[[], object]) -> float:
        total = 0.0
        for _ in range(10):
            call()
            start = time.perf_counter()
            model.fit(problem.X, problem.labels, epochs=epochs, batch_size=problem.network.batch_size)
            total += time.perf_counter() - start
        return total / (10 * epochs * problem.network.n_batches)

    calls = {"alone": lambda: time.sleep(UNTIL_POOLS_SLEEP)} | {f"after {name}": call for name, call in pools().items()}
    return {label: lambda call=call: in_silence(lambda: after(call)) for label, call in calls.items()}


def beside_others(name: str, seconds: float) -> dict[str, Callable[[], float]]:
    """Return works that train once on one core, and on every core at once: the first one is alone."""
    cores = len(available_cores())
    pool = ThreadPoolExecutor(cores)

    def threads() -> float:
        return statistics.mean(pool.map(lambda _: train(name, None, seconds), range(cores)))

    def alone() -> float:
        return train(name, 1, seconds)

    works = {"alone": lambda: in_silence(alone), f"{cores} Python threads": lambda: in_silence(threads)}
    try:
        from joblib import Parallel, delayed
    except ModuleNotFoundError:
        print("joblib: not installed, its workers take no part")
        return works
    parallel = Parallel(n_jobs=cores)

    def processes() -> float:
        # The workers count as others: that there is silence can only be asked beforehand.
        in_silence(lambda: time.sleep(PAUSE))
        return statistics.mean(parallel(delayed(train)(name, None, seconds) for _ in range(cores)))

    processes()  # starts the workers, who import everything
    return works | {f"{cores} joblib workers": processes}


def report(title: str, works: dict[str, Callable[[], float]], rounds: int) -> None:
    """Time works beside the first of them, and print what is left of its throughput."""
    times = interleave(works, rounds)
    alone = next(iter(times.values()))
    print(f"\n{title}\n  {'':<22}{'us a step':<28}throughput per core")
    for label, found in times.items():
        kept = ratios(alone, found)
        mark = "   MARKED" if statistics.median(kept) < LOST else ""
        print(f"  {label:<22}{spread([1e6 * value for value in found]):<28}{spread(kept)}{mark}")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    networks = ["64-64-10@32", "64-64-10@200", "784-256-128-10@128"]
    parser.add_argument("--networks", nargs="+", metavar="NAME", default=networks, help=f"(default: {networks})")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each (default: 0.3)")
    return parser.parse_args()


def main() -> None:
    """Train in company."""
    arguments = read_arguments()
    for name in arguments.networks:
        report(f"{name}, beside pools", beside_pools(name, arguments.seconds), arguments.rounds)
        report(f"{name}, beside others like it", beside_others(name, arguments.seconds), arguments.rounds)


if __name__ == "__main__":
    main()
