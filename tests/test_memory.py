"""What training and asking allocate beside the data: never a copy of X, however it lies and whatever it consists of."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from counterparts import model_of

pytest.importorskip("fastgd._kernels.cython_")

N, SIZES, BATCH = 40_000, (128, 16, 3), 32

FEATURES = {
    "float32": lambda path: np.ones((N, SIZES[0]), np.float32),
    "float64": lambda path: np.ones((N, SIZES[0])),
    "bytes": lambda path: np.ones((N, SIZES[0]), np.uint8),
    "whole numbers": lambda path: np.ones((N, SIZES[0]), np.int64),
    "every other row and column": lambda path: np.ones((2 * N, 2 * SIZES[0]), np.uint8)[::2, ::2],
    "columns": lambda path: np.ones((N, SIZES[0]), np.float32, order="F"),
    "backwards": lambda path: np.ones((N, SIZES[0]), np.float32)[::-1],
    "a file": lambda path: np.memmap(path / "X", np.float32, "w+", shape=(N, SIZES[0])),
}

# Two megabytes above what has to be there: weights with their optimizer's two states, and one batch's activations.
PARAMETERS = sum((a + 1) * b for a, b in zip(SIZES, SIZES[1:], strict=False))
MARK = 4 * (3 * PARAMETERS + BATCH * sum(SIZES)) + 2_000_000


def peak_of(call):
    """The most bytes allocated at a time during a call; NumPy's arrays count too."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", FEATURES)
def test_x_is_never_copied(layout, tmp_path):
    """Neither to train nor to evaluate nor to predict, from the building of the model on."""
    X, y, out = FEATURES[layout](tmp_path), np.arange(N) % 3, np.empty((N, 3), np.float32)
    model = model_of(SIZES, ["relu", "linear"], "softmax_cross_entropy", backend="cython", optimizer="adam")
    calls = {
        "fit": lambda: model.build(SIZES[0]).fit(X, y, batch_size=BATCH),
        "evaluate": lambda: model.evaluate(X, y),
        "predict": lambda: model.predict(X, out=out),
    }
    for name, call in calls.items():
        peak = peak_of(call)
        assert peak < MARK < X.size, f"{name}: {peak:,} bytes, expected less than {MARK:,}"


def test_the_counter_counts_arrays():
    """So that the test above can fail."""
    X = np.ones((N, SIZES[0]), np.float32)
    assert peak_of(X.copy) > X.nbytes > MARK
