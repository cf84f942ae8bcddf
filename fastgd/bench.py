"""``python -m fastgd.bench``: how fast this machine is, with fastgd and with the other libraries that are installed.

Five networks, from the smallest up, in two minutes at most: microseconds of a training step, the share of the machine's
floor, and how many times fastgd's. What is measured, and how it is made fair, stands in ``benchmarks/README.md``;
options are those of ``benchmarks/peers.py``, which does the work::

    python -m fastgd.bench
    python -m fastgd.bench --peers scikit-learn --networks 64-64-10@32 --seconds 2
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main", "scripts"]

PACKAGE = Path(__file__).parent

# The scripts have a folder of their own where fastgd is developed; a wheel carries those that are needed.
FOLDERS = (PACKAGE / "_benchmarks", PACKAGE.parent / "benchmarks")

NETWORKS = ("4-16-3@1", "64-64-10@32", "784-128-10@64", "784-256-128-10@128", "1024-1024-1024-1024@64")

# For each library on a network: enough for medians, and five networks take about a minute on a quiet machine. On a
# slower one the last networks are left out.
SECONDS, ROUNDS, MOST_SECONDS = 0.5, 5, 120.0


def scripts() -> Path:
    """The folder of the benchmark scripts.

    Raises
    ------
    FileNotFoundError
        If this copy of fastgd was installed without them.
    """
    for folder in FOLDERS:
        if (folder / "peers.py").exists():
            return folder
    raise FileNotFoundError(f"the benchmark scripts are not there, neither in {' nor in '.join(map(str, FOLDERS))}")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print.

    Parameters
    ----------
    arguments : sequence of str
        Options that take the place of the defaults; ``["--help"]`` lists them.
    """
    # They are a program, not a part of the package, and call each other by their bare names.
    sys.path.insert(0, str(scripts()))
    peers: Any = importlib.import_module("peers")
    defaults = ["--networks", *NETWORKS, "--seconds", str(SECONDS), "--rounds", str(ROUNDS)]
    peers.main([*defaults, "--at-most", str(MOST_SECONDS), *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
