"""Run a block of formulas as each renderer makes it, all through one interface."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastgd
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS, Formula, c, c99, numpy_
from fastgd._formula.block import Block
from fastgd._formula.onnx_ import Graph, Value, add_formula
from fastgd.export.onnx_ import protobuf

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


def compiled(source: str, *flags: str) -> ctypes.CDLL:
    """C as a library; skips the test if there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    with tempfile.TemporaryDirectory(prefix="fastgd-compiled-") as folder:
        path, library = Path(folder, "source.c"), Path(folder, "source.so")
        path.write_text(source)
        subprocess.run([compiler, *flags, "-shared", "-fPIC", str(path), "-o", str(library), "-lm"], check=True)
        return ctypes.CDLL(str(library))


@cache
def _c_address(block: Block, dtype: str) -> int:
    if not (HEADERS / "elementary.h").exists():
        pytest.skip("needs the engine's headers, which a wheel does not hold")
    source = SOURCE.format(text=c.render_blocks([block], "a test"), name=block.name)
    # 32 bytes are lowered to what the baseline has, so this runs on any machine.
    options = ["-DVECTOR_BYTES=32", f"-DREAL_BITS={np.dtype(dtype).itemsize * 8}", f"-I{HEADERS}"]
    loaded = compiled(source, "-O1", "-w", "-std=gnu11", "-ffp-contract=fast", *options)
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
    if renderer in EVALUATORS:
        _run_formulas(EVALUATORS[renderer], block, arrays, scalars)
    else:
        values = np.array([*scalars, 0.0], dtype)
        call(address(renderer, block, dtype), arrays, arrays[0].size, values)


def _run_formulas(
    evaluate: Callable[..., Any], block: Block, arrays: Sequence[np.ndarray], scalars: Sequence[float]
) -> None:
    """What a block does, done by a renderer of bare formulas."""
    named = dict(zip(block.arrays, arrays, strict=True))
    kept = named[block.keeps[1]].copy() if block.keeps else None
    given = dict(zip(block.scalars, scalars, strict=True))
    for application in block.applications:
        formula = application.formula
        chosen: dict[str, Any] = {name: given[name] for name in formula.scalars}
        results = evaluate(formula, [named[name] for name in application.reads], chosen)
        for name, result in zip(application.writes, results, strict=True):
            with np.errstate(all="ignore"):
                named[name][...] = named[name] * result if application.multiply else result
    if block.keeps:
        named[block.keeps[0]][...] = kept


def _evaluate_numpy(formula: Formula, arrays: list[np.ndarray], scalars: dict[str, float]) -> Sequence[Any]:
    results = numpy_.compile_(formula)(*arrays, **scalars)
    return results if formula.outputs > 1 else (results,)


def _evaluate_onnx(formula: Formula, arrays: list[np.ndarray], scalars: dict[str, float]) -> Sequence[Any]:
    """By the onnx library's own evaluator, which is NumPy."""
    reference = pytest.importorskip("onnx.reference")
    graph, dtype = Graph(arrays[0].dtype.name), arrays[0].dtype
    outputs = [f"result {k}" for k in range(formula.outputs)]
    results = add_formula(formula, *[Value(graph, name) for name in formula.arrays], **scalars)
    for result, name in zip(results, outputs, strict=True):
        graph.rename(result, name)
    inputs, results = (dict.fromkeys(names, (dtype, ("N",))) for names in (formula.arrays, outputs))
    model = protobuf(graph, inputs, results, formula.name)
    given = {name: np.asarray(array, dtype) for name, array in zip(formula.arrays, arrays, strict=True)}
    with np.errstate(all="ignore"):
        return reference.ReferenceEvaluator(model).run(outputs, given)


WALK = """\
void run_{name}(void *const *arrays, ptrdiff_t count, const void *scalars)
{{
    for (ptrdiff_t i = 0; i < count; ++i) {{
        {body}
    }}
    (void)scalars;
}}
"""


def _walk(formula: Formula, real: str) -> str:
    """C text that applies a formula to all elements: of its arrays, then those for its results."""
    reads = [f"(({real} *)arrays[{k}])[i]" for k in range(len(formula.arrays))]
    reads += [f"((const {real} *)scalars)[{k}]" for k in range(len(formula.scalars))]
    writes = [f"(({real} *)arrays[{len(formula.arrays) + k}])[i]" for k in range(formula.outputs)]
    several = [f"&{write}" for write in writes] if formula.outputs > 1 else []
    text = f"formula_{formula.name}({', '.join(reads + several)});"
    return WALK.format(name=formula.name, body=text if several else f"{writes[0]} = {text}")


def _of_fastgd() -> tuple[Formula, ...]:
    elementwise = [declared for declared in LOSSES.values() if not declared.rowwise]
    declared = [(d.formula, d.derivative_formula) for d in (*ACTIVATIONS.values(), *elementwise)]
    return tuple(f for pair in declared for f in pair) + tuple(rule.formula for rule in OPTIMIZERS.values())


OF_FASTGD = _of_fastgd()


@cache
def _c99_library(formulas: tuple[Formula, ...], dtype: str) -> ctypes.CDLL:
    real = {"float32": "float", "float64": "double"}[dtype]
    includes = "#include <math.h>\n#include <stddef.h>\n"
    walks = "\n".join(_walk(formula, real) for formula in formulas)
    warnings = ("-Wall", "-Wextra", "-pedantic", "-Werror")
    return compiled(includes + c99.render(formulas, real) + walks, "-std=c99", "-O1", *warnings)


def _evaluate_c99(formula: Formula, arrays: list[np.ndarray], scalars: dict[str, float]) -> Sequence[Any]:
    """Fastgd's own formulas are compiled all together, which is quicker."""
    dtype = arrays[0].dtype
    library = _c99_library(OF_FASTGD if formula in OF_FASTGD else (formula,), dtype.name)
    results = [np.empty_like(arrays[0]) for _ in range(formula.outputs)]
    function = ctypes.cast(getattr(library, f"run_{formula.name}"), ctypes.c_void_p).value or 0
    operands = [np.ascontiguousarray(array) for array in arrays] + results
    call(function, operands, arrays[0].size, np.array([*scalars.values(), 0.0], dtype))
    return results


EVALUATORS = {"numpy": _evaluate_numpy, "onnx": _evaluate_onnx, "c99": _evaluate_c99}
"""Renderers that make a function of a bare formula, and no block."""
