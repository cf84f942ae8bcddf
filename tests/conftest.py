"""Fixtures of several files; and which tests of the backend ``numba`` are run.

None where Numba is missing, a sample where time is short: compiling is what takes its time, and all formulas and
kernels are compiled in two precisions. `make test` takes one test in so many, always the same ones, in float32;
`make test-full` takes all. What is compiled is kept for one run of the tests.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import zlib

import pytest

ONE_IN = 260

# Found, not imported: a test that asks what an import loads must not find it loaded.
HAS_NUMBA = importlib.util.find_spec("numba") is not None


def pytest_configure(config: pytest.Config) -> None:
    """Compiled code of a tree that is being changed is of no use to anybody else."""
    if "FASTGD_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="fastgd-tests-")
        os.environ["FASTGD_CACHE_DIR"] = folder.name
        config.add_cleanup(folder.cleanup)


def is_of_numba(item: pytest.Item) -> bool:
    """Whether a test's parameters name the backend."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("backend") == "numba"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, or mark as slow what is not in the sample."""
    for item in items:
        if not is_of_numba(item):
            continue
        if not HAS_NUMBA:
            item.add_marker(pytest.mark.skip(reason="numba is not installed"))
        elif item.callspec.params.get("dtype") == "float64" or zlib.crc32(item.nodeid.encode()) % ONE_IN:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def threads_for_any_work(monkeypatch):
    """Small work stays on one thread, unless the limits are lifted."""
    for name in ("fastgd.threads.FLOPS_OF_STEP", "fastgd.threads.FLOPS_OF_CALL", "fastgd.model.FLOPS_OF_CALL"):
        monkeypatch.setattr(name, 1.0)
