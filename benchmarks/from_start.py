"""From the start of a program to a trained model: what a user waits for, imports included.

    python benchmarks/from_start.py
    python benchmarks/from_start.py --rounds 5 --folder FOLDER_OF_FASHION_MNIST

Two jobs, each in fresh processes of fastgd and of PyTorch in turn, on all cores, the data shuffled anew each epoch:
Fashion-MNIST, 784-256-128-10, batch 128, five epochs by both; and digits, 64-64-10, batch 32, a thousand epochs by
fastgd beside twenty by PyTorch. Reading the data is not counted, importing NumPy is counted for both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

STARTED = time.perf_counter()

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Job:
    """A data set and a network, and how many epochs each library trains it for."""

    units: tuple[int, ...]
    batch_size: int
    epochs: dict[str, int]


JOBS = {
    "fashion": Job((784, 256, 128, 10), 128, {"fastgd": 5, "pytorch": 5}),
    "digits": Job((64, 64, 10), 32, {"fastgd": 1000, "pytorch": 20}),
}


def train_fastgd(job: Job, X, y, X_test):
    """Train; return the labels predicted for the test rows."""
    import fastgd as fg

    *hidden, n_classes = job.units[1:]
    model = fg.Sequential(
        [*(fg.Dense(units, activation="relu") for units in hidden), fg.Dense(n_classes)],
        loss="softmax_cross_entropy",
        optimizer=fg.Adam(1e-3),
        seed=0,
    )
    yield
    model.fit(X, y, epochs=job.epochs["fastgd"], batch_size=job.batch_size)
    yield
    yield model.predict(X_test).argmax(axis=1)


def train_pytorch(job: Job, X, y, X_test):
    """Train in PyTorch's fastest eager form: tensors in memory, no loader, the fused optimizer."""
    import torch

    torch.manual_seed(0)
    pairs = list(zip(job.units, job.units[1:], strict=False))
    layers = [module for fan_in, fan_out in pairs for module in (torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    X, y, X_test = torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(X_test)
    yield
    for _ in range(job.epochs["pytorch"]):
        for rows in torch.randperm(len(X)).split(job.batch_size):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
            optimizer.step()
    yield
    with torch.inference_mode():
        yield model(X_test).argmax(dim=1).numpy()


TRAINERS = {"fastgd": train_fastgd, "pytorch": train_pytorch}


def run_inside(name: str, library: str, file: str) -> None:
    """In a process of its own: import, train, and print seconds of both and the accuracy."""
    import numpy as np

    with np.load(file) as data:
        reading = time.perf_counter()
        X, y, X_test, y_test = (data[key] for key in ("X", "y", "X_test", "y_test"))
        reading = time.perf_counter() - reading
    stages = TRAINERS[library](JOBS[name], X, y, X_test)
    next(stages)
    ready = time.perf_counter()
    next(stages)
    trained = time.perf_counter()
    accuracy = float((next(stages) == y_test).mean())
    print(json.dumps({"import": ready - STARTED - reading, "train": trained - ready, "accuracy": accuracy}))


def read_fashion(folder: Path) -> dict:
    """Return Fashion-MNIST as `examples/fashion_mnist.py` prepares it."""
    sys.path.insert(0, str(EXAMPLES))
    from fashion_mnist import load_data

    (X, y), (X_test, y_test) = load_data(folder, "train"), load_data(folder, "t10k")
    mean, deviation = X.mean(), X.std()
    return prepared((X - mean) / deviation, y, (X_test - mean) / deviation, y_test)


def read_digits(_folder: Path) -> dict:
    """Return scikit-learn's digits, the last 360 for the test."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return prepared(X[:-360] / 16, y[:-360], X[-360:] / 16, y[-360:])


def prepared(X, y, X_test, y_test) -> dict:
    """Return the arrays in the types that both libraries like best."""
    return {
        "X": X.astype("float32"),
        "y": y.astype("int64"),
        "X_test": X_test.astype("float32"),
        "y_test": y_test.astype("int64"),
    }


READERS = {"fashion": read_fashion, "digits": read_digits}


def measure(name: str, file: Path, rounds: int) -> dict[str, list[dict]]:
    """Run the libraries in turn, each time in a new process."""
    results: dict[str, list[dict]] = {library: [] for library in TRAINERS}
    for _ in range(rounds):
        for library, runs in results.items():
            command = [sys.executable, __file__, "--inside", name, library, str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{library} on {name}:\n{done.stderr[-2000:]}")
            runs.append(json.loads(done.stdout))
    return results


def report(name: str, results: dict[str, list[dict]]) -> None:
    """Print medians, and the ratio of the whole within each round."""
    print(f"\n{name}   {'-'.join(map(str, JOBS[name].units))}, batch {JOBS[name].batch_size}")
    for library, runs in results.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"  {library:<8} {JOBS[name].epochs[library]:>5} epochs  import {median['import']:.2f} s  "
            f"train {median['train']:.2f} s  test accuracy {median['accuracy']:.2%}"
        )
    whole = {library: [run["import"] + run["train"] for run in runs] for library, runs in results.items()}
    ratio = statistics.median(b / a for a, b in zip(whole["fastgd"], whole["pytorch"], strict=True))
    print(f"  pytorch / fastgd, import and training: {ratio:.1f}")


def main() -> None:
    """Measure both jobs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS), help="default: both")
    parser.add_argument("--folder", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--rounds", type=int, default=3, help="processes of each (default: 3)")
    parser.add_argument("--inside", nargs=3, metavar=("JOB", "LIBRARY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run_inside(*arguments.inside)
        return
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.jobs:
            file = Path(folder, f"{name}.npz")
            np.savez(file, **READERS[name](arguments.folder))
            report(name, measure(name, file, arguments.rounds))


if __name__ == "__main__":
    main()
