"""Count the instructions of training steps and kernels under callgrind, and compare them with committed figures.

Wall-clock time on a shared machine cannot tell a change of five per cent from a busy neighbour; a count of instructions
can, to the last one. It says nothing about caches and latencies, so it guards what has been reached and does not
replace the timings.

    python benchmarks/instructions.py            compare; exits with 1 where a count has left its limits
    python benchmarks/instructions.py --write    take this build's counts as the new figures

What is counted runs from the entry of the engine to its exit, without Python, which differs from version to version.
Valgrind knows no AVX-512, so the kernels are those for AVX2. Compilers differ too: with another one than made the
figures only gross changes are refused, and the first line says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FIGURES = Path(__file__).with_suffix(".json")
INSTRUCTION_SET = "avx2"

# Relative change that is let pass: with the compiler of the figures, and with another.
SAME_COMPILER, OTHER_COMPILER = 0.02, 0.30

STEPS = 4

# Functions that are counted, each call by itself: the engine's entry, and kernels as plain arrays reach them.
# One run of callgrind for each: told of several whose names begin alike, it counts only the first.
ENTRY = "work"
KERNELS = (
    "dense_forward",
    "transpose_weight",
    "backward_input",
    "backward_weight",
    "loss_gradient",
    "block_adam",
)


def run_steps(begin) -> None:
    """Train, evaluate and predict; `begin` names the next call of the engine and how many steps it takes."""
    import numpy as np

    import fastgd as fg

    random = np.random.default_rng(0)

    def train(units, batch_size, dtype="float32", optimizer="adam", activation="relu") -> fg.Sequential:
        layers = [fg.Dense(width, activation=activation) for width in units[1:-1]]
        layers.append(fg.Dense(units[-1]))
        model = fg.Sequential(
            layers, loss="softmax_cross_entropy", optimizer=optimizer, dtype=dtype, seed=0, n_threads=1
        )
        X = random.standard_normal((batch_size * STEPS, units[0])).astype(dtype)
        y = random.integers(0, units[-1], len(X))
        name = "-".join(map(str, units)) + f"@{batch_size}"
        begin(f"train {name} {activation} {optimizer} {dtype}", STEPS)
        model.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False)
        return model

    train((4, 16, 3), 1)
    train((4, 16, 3), 32)
    train((45, 46, 7), 33)
    train((64, 64, 10), 1)
    train((64, 64, 10), 32, optimizer="sgd")
    train((64, 64, 10), 32, activation="tanh")
    train((64, 64, 10), 32, dtype="float64")
    model = train((64, 64, 10), 32)
    X = random.standard_normal((256, 64)).astype("float32")
    y = random.integers(0, 10, 256)
    begin("predict 64-64-10, 1 row", 1)
    model.predict(X[:1])
    begin("predict 64-64-10, 256 rows", 1)
    model.predict(X)
    begin("evaluate 64-64-10, 256 rows", 1)
    model.evaluate(X, y)
    begin("loss and gradients 64-64-10, 256 rows", 1)
    model.loss_and_gradients(X, y)
    train((784, 128, 10), 64)


def run_kernels(begin) -> None:
    """Call each kernel on plain arrays; `begin` names rows x inputs x outputs. The losses have ten columns."""
    import numpy as np

    import fastgd as fg

    random = np.random.default_rng(0)
    for rows, n_inputs, n_outputs in ((32, 64, 64), (64, 784, 128)):
        x, w, b, d = (
            random.standard_normal(shape).astype("float32")
            for shape in ((rows, n_inputs), (n_inputs, n_outputs), (n_outputs,), (rows, n_outputs))
        )
        begin(f"{rows} x {n_inputs} x {n_outputs}", 1)
        fg.kernels.dense_forward(x, w, b, activation="tanh")
        fg.kernels.dense_backward(x, w, np.tanh(d), d, activation="tanh")
        scores, labels = random.standard_normal((rows, 10)).astype("float32"), random.integers(0, 10, rows)
        fg.kernels.loss_gradient(scores, labels, loss="softmax_cross_entropy")
        fg.kernels.parameter_update(w, w.copy(), [np.zeros_like(w), np.ones_like(w)], fg.Adam(), step=1)


def run_counted(function: str, record: str) -> None:
    """Inside callgrind: call what calls the function, and write down in which order things were begun."""
    begun = []
    (run_steps if function == ENTRY else run_kernels)(lambda name, steps: begun.append((name, steps)))
    Path(record).write_text(json.dumps(begun), encoding="utf-8")


def count_calls(function: str) -> dict[str, int]:
    """Run callgrind; return the instructions per step, or per call, of a function by what was begun."""
    with tempfile.TemporaryDirectory() as folder:
        record, out = Path(folder, "begun.json"), Path(folder, "out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no"]
        command += [f"--toggle-collect={function}", f"--dump-after={function}"]
        command += [sys.executable, __file__, "--inside", function, str(record)]
        environment = os.environ | {"FASTGD_ISA": INSTRUCTION_SET, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"callgrind ended with {done.returncode}:\n{done.stderr[-2000:]}")
        begun = json.loads(record.read_text(encoding="utf-8"))
        counts = [read_dump(path) for path in sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))]
    if len(counts) != len(begun) or 0 in counts:
        sys.exit(f"{function}: {len(begun)} calls were begun, callgrind counted {counts}")
    return {
        name if function == ENTRY else f"{function} {name}": count // steps
        for (name, steps), count in zip(begun, counts, strict=True)
    }


def read_dump(path: Path) -> int:
    """Return the instructions of one dump, that is, of one call."""
    summary = re.search(r"^summary: (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return int(summary[1]) if summary else 0


def compiler_of_build() -> str:
    """Return name and version of the compiler that made the kernels, as it left them in the file."""
    import fastgd._kernels.cython_.arrays as arrays

    content = Path(arrays.__file__).read_bytes()
    found = re.search(rb"(GCC): \([^)]*\) (\d+)", content) or re.search(rb"(clang) version (\d+)", content)
    return " ".join(part.decode() for part in found.groups()) if found else "unknown"


def compare(counts: dict[str, int], figures: dict[str, int], limit: float) -> bool:
    """Print the counts beside the figures; return whether all are within the limit."""
    good = counts.keys() == figures.keys()
    for name in [*figures, *(counts.keys() - figures.keys())]:
        count, figure = counts.get(name), figures.get(name)
        if count is None or figure is None:
            print(f"  {name:<52} {figure or '-':>12} {count or '-':>12}   {'gone' if count is None else 'new'}")
            continue
        change = count / figure - 1
        beyond = abs(change) > limit
        good = good and not beyond
        print(f"  {name:<52} {figure:>12,} {count:>12,} {change:>+8.1%}{'   <--' if beyond else ''}")
    return good


def main() -> None:
    """Count, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="take this build's counts as the new figures")
    parser.add_argument("--inside", nargs=2, metavar=("FUNCTION", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run_counted(*arguments.inside)
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing; on Debian and Ubuntu: apt install valgrind")
    compiler = compiler_of_build()
    counts = {name: count for function in (ENTRY, *KERNELS) for name, count in count_calls(function).items()}
    if arguments.write:
        record = {"compiler": compiler, "instruction_set": INSTRUCTION_SET, "counts": counts}
        FIGURES.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"{len(counts)} counts of a build by {compiler} written to {FIGURES.name}")
        return
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    same = compiler == figures["compiler"]
    limit = SAME_COMPILER if same else OTHER_COMPILER
    print(f"built by {compiler}, figures by {figures['compiler']}: changes up to {limit:.0%} pass")
    if not compare(counts, figures["counts"], limit):
        sys.exit(
            f"counts have left the limit of {limit:.0%}: more is a regression, unless it buys something that these "
            "counts do not show; fewer should not be lost again. To take them: make instructions-write"
        )


if __name__ == "__main__":
    main()
