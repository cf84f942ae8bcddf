"""Run a block of formulas as each renderer makes it, all through one interface."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastgd
from fastgd._formula import c, numpy_
from fastgd._formula.block import Block

HEADERS = Path(fastgd.__file__).parent / "_kernels" / "cython_"
BLOCK_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)

SOURCE = """\
#include "elementary.h"
typedef void (*block_function)(void *const *arrays, ptrdiff_t count, const void *scalars);
{text}
const block_function exported = block_{name};
"""


def call(address: int, arrays: Sequence[np.ndarray], count: int, scalars: np.ndarray) -> None:
    """Call a compiled block function on arrays that it changes in place."""
    pointers = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
    BLOCK_FUNCTION(address)(ctypes.addressof(pointers), count, scalars.ctypes.data)


@cache
def _c_address(block: Block, dtype: str) -> int:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not (HEADERS / "elementary.h").exists():
        pytest.skip("needs a C compiler and the engine's headers, which a wheel does not hold")
    folder = Path(tempfile.mkdtemp(prefix="fastgd-block-"))
    source, library = folder / "block.c", folder / "block.so"
    source.write_text(SOURCE.format(text=c.render_blocks([block], "a test"), name=block.name))
    # 32 bytes are lowered to what the baseline has, so this runs on any machine.
    options = ["-DVECTOR_BYTES=32", f"-DREAL_BITS={np.dtype(dtype).itemsize * 8}", f"-I{HEADERS}"]
    flags = ["-O1", "-w", "-shared", "-fPIC", "-std=gnu11", "-ffp-contract=fast"]
    subprocess.run([compiler, *flags, *options, str(source), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    shutil.rmtree(folder)
    return ctypes.c_void_p.in_dll(loaded, "exported").value or 0


def address(renderer: str, block: Block, dtype: str) -> int:
    """Where the compiled block function is; skips the test if the renderer cannot be used here."""
    if renderer == "c":
        return _c_address(block, dtype)
    pytest.importorskip("numba")
    from fastgd._formula import numba_

    return numba_.block(block, dtype).address


def run(renderer: str, block: Block, arrays: Sequence[np.ndarray], scalars: Sequence[float] = ()) -> None:
    """Apply a block to whole arrays, in place."""
    dtype = arrays[0].dtype.name
    if renderer == "numpy":
        _run_numpy(block, arrays, scalars)
    else:
        values = np.array([*scalars, 0.0], dtype)
        call(address(renderer, block, dtype), arrays, arrays[0].size, values)


def _run_numpy(block: Block, arrays: Sequence[np.ndarray], scalars: Sequence[float]) -> None:
    named = dict(zip(block.arrays, arrays, strict=True))
    kept = named[block.keeps[1]].copy() if block.keeps else None
    given = dict(zip(block.scalars, scalars, strict=True))
    for application in block.applications:
        formula = application.formula
        chosen: dict[str, Any] = {name: given[name] for name in formula.scalars}
        results = numpy_.compile_(formula)(*[named[name] for name in application.reads], **chosen)
        results = results if formula.outputs > 1 else (results,)
        for name, result in zip(application.writes, results, strict=True):
            with np.errstate(all="ignore"):
                named[name][...] = named[name] * result if application.multiply else result
    if block.keeps:
        named[block.keeps[0]][...] = kept
