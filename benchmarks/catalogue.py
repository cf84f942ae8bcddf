"""What does each activation, loss and optimizer cost in a training step, beside the simplest of its family?

    python benchmarks/catalogue.py
    python benchmarks/catalogue.py --families optimizers --dtype float64 --network 64-64-10@32

The simplest are relu, half_squared_error and SGD; the rest of the network is of these too. Everything that is
registered takes part, every optimizer with each of its options. A family is interleaved in rounds, ratios are formed
within a round, and what takes more than half as long again is marked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from environment import limit_threads
from rounds import interleave, ratios, spread

SIMPLEST = {"activations": "relu", "losses": "half_squared_error", "optimizers": "SGD()"}
COSTLY = 1.5

N_BATCHES = 8


def activations() -> dict[str, dict]:
    """Return what is to be varied, for each activation."""
    from fastgd import activations  # noqa: F401  (importing it fills the registry)
    from fastgd._formula import ACTIVATIONS

    return {name: {"activation": name} for name in ACTIVATIONS}


def losses() -> dict[str, dict]:
    """Return what is to be varied, for each loss."""
    from fastgd import losses  # noqa: F401  (importing it fills the registry)
    from fastgd._formula import LOSSES

    return {name: {"loss": name} for name in LOSSES}


def optimizers() -> dict[str, dict]:
    """Return what is to be varied, for each optimizer, its forms, and what a step may do besides."""
    import fastgd as fg

    plain = (fg.SGD, fg.Adagrad, fg.Adadelta, fg.RMSprop, fg.Adam, fg.AdamW, fg.Adamax, fg.NAdam, fg.RAdam)
    forms: list[tuple] = [(made_by, {}) for made_by in (*plain, fg.AdaBelief, fg.Yogi, fg.Lion, fg.Ftrl, fg.Rprop)]
    forms += [(fg.SGD, {"momentum": 0.9}), (fg.SGD, {"momentum": 0.9, "nesterov": True}), (fg.Adam, {"amsgrad": True})]
    forms += [(fg.RMSprop, {"momentum": 0.9}), (fg.RMSprop, {"centered": True})]
    besides = {"weight_decay": 1e-4, "clip_norm": 1.0, "clip_value": 0.1, "ema": 0.999, "average": 1}
    forms += [(fg.SGD, {name: value}) for name, value in besides.items()]
    return {name_of(made_by, given): {"optimizer": made_by(**given)} for made_by, given in forms}


def name_of(made_by: type, given: dict) -> str:
    """Write a call."""
    return f"{made_by.__name__}({', '.join(f'{name}={value}' for name, value in given.items())})"


FAMILIES = {"activations": activations, "losses": losses, "optimizers": optimizers}


def training(units: list[int], batch_size: int, dtype: str, seconds: float, varied: dict) -> Callable[[], float]:
    """Return a work that trains for about so many seconds, and tells the seconds of a step."""
    import numpy as np
    from benchmarks.targets import admitted_outputs, draw_targets

    import fastgd as fg
    from fastgd.inputs import read_loss

    loss = read_loss(varied.get("loss", SIMPLEST["losses"]))
    n_outputs, n_rows = admitted_outputs(loss, units[-1]), N_BATCHES * batch_size
    hidden = [fg.Dense(width, varied.get("activation", SIMPLEST["activations"])) for width in units[1:-1]]
    # No step but for an optimizer's own sake: with one for all, some losses would be learnt by heart, others run away.
    optimizer = varied.get("optimizer", fg.SGD(0.0))
    model = fg.Sequential([*hidden, fg.Dense(n_outputs)], loss=loss, optimizer=optimizer, dtype=dtype, n_threads=1)
    X = np.random.default_rng(0).normal(size=(n_rows, units[0])).astype(dtype)
    y = draw_targets(loss, n_rows, n_outputs, dtype)

    def fit(epochs: int) -> float:
        start = time.perf_counter()
        model.fit(X, y, epochs=epochs, batch_size=batch_size)
        return (time.perf_counter() - start) / epochs

    fit(1)
    epochs = max(1, round(seconds / fit(1)))
    return lambda: fit(epochs) / N_BATCHES


def report(family: str, times: dict[str, list[float]]) -> None:
    """Print times and ratios to the simplest, the slowest first."""
    simplest = times[SIMPLEST[family]]
    print(f"\n{family:<40}{'us a step':<24}over {SIMPLEST[family]}")
    ordered = sorted(times, key=lambda name: -statistics.median(ratios(times[name], simplest)))
    for name in ordered:
        over = ratios(times[name], simplest)
        mark = "   MARKED" if statistics.median(over) > COSTLY else ""
        print(f"  {name:<38}{spread([1e6 * value for value in times[name]]):<24}{spread(over)}{mark}")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    network = "784-256-128-10@128"
    parser.add_argument("--network", default=network, metavar="NAME", help=f"(default: {network})")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each (default: 9)")
    parser.add_argument("--seconds", type=float, default=0.05, help="for each (default: 0.05)")
    return parser.parse_args()


def main() -> None:
    """Time what the command line asks for."""
    arguments = read_arguments()
    limit_threads(1)
    widths, _, batch_size = arguments.network.partition("@")
    fixed = (list(map(int, widths.split("-"))), int(batch_size), arguments.dtype, arguments.seconds)
    for family in arguments.families:
        works = {name: training(*fixed, varied) for name, varied in FAMILIES[family]().items()}
        report(family, interleave(works, arguments.rounds))


if __name__ == "__main__":
    main()
