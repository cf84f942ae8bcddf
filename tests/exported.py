"""What exported files predict: by two programs that evaluate ONNX, and through a C compiler."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from block_runner import compiled

# What two ways of computing the same may differ by: in float32 a millionth of the prediction, or of 1 if that is more;
# in float64, as many of its units.
TOLERANCES = {"float32": 1e-6, "float64": 1e-6 * np.finfo("float64").eps / np.finfo("float32").eps}

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror")


def evaluated(file, inputs):
    """Outputs by name, of the onnx library's evaluator and of onnxruntime, of a file's bytes."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from onnx.reference import ReferenceEvaluator

    names = [output.name for output in onnx.load_from_string(file).graph.output]
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for way, run in (("onnx", ReferenceEvaluator(file).run), ("onnxruntime", session.run)):
        yield way, dict(zip(names, run(names, inputs), strict=True))


def called(source, X, n_outputs, name="predict"):
    """What the function of a C file gives for each row."""
    predict = getattr(compiled(source, "-std=c99", "-O2", *WARNINGS), name)
    predict.restype, predict.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p]
    out = np.full((len(X), n_outputs), np.nan, X.dtype)
    for x, y in zip(np.ascontiguousarray(X), out, strict=True):
        predict(x.ctypes.data, y.ctypes.data)
    return out


def assert_same(actual, expected, way):
    """Up to the tolerance of the dtype."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), way
    error = abs(actual - expected) / np.maximum(1.0, abs(expected))
    # A NaN is not small either.
    assert (error <= TOLERANCES[expected.dtype.name]).all(), f"{way}: {error.max()}"
