"""Backends as a parameter: each instruction set of the compiled one, and NumPy.

The names are the same on every machine, so that results of two machines are filed alike; what is not there is skipped.
"""

from __future__ import annotations

import os

INSTRUCTION_SETS = ["avx512", "avx2", "baseline"]
BACKENDS = [*INSTRUCTION_SETS, "numpy"]


def use_backend(name: str) -> str:
    """Return the backend to ask for, its instruction set chosen for this process.

    The compiled backend chooses when it is first used, and asv runs each combination of parameters in a process of
    its own, so there is still time for it.
    """
    if name not in INSTRUCTION_SETS:
        return name
    os.environ["FASTGD_ISA"] = name
    from fastgd._kernels import get_backend

    try:
        backend = get_backend("cython")
    except ValueError as error:
        raise NotImplementedError(str(error)) from error
    if backend.instruction_set() != name:
        raise RuntimeError(f"{name}: the compiled backend was in use before, with {backend.instruction_set()}")
    return "cython"
