"""What the performance suite adds to asv: calls in a row, instruction sets as a parameter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastgd._kernels import get_backend

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def suite():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import benchmarks.backends
        import benchmarks.calls
    finally:
        sys.path.remove(str(BENCHMARKS))
    return benchmarks


@pytest.mark.parametrize(("microseconds", "calls"), [(10, 100), (800, 1), (5000, 1)])
def test_a_call_is_timed_many_times_and_reported_once(suite, monkeypatch, microseconds, calls):
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    class Work(suite.calls.Call):
        n_prepared = n_called = 0

        def prepare(self):
            self.n_prepared += 1
            return self.work

        def work(self):
            nonlocal now
            now += 1e-6 * microseconds
            self.n_called += 1

    benchmark = Work()
    benchmark.setup()
    benchmark.setup()
    before, benchmark.n_called = benchmark.timer(), 0
    benchmark.time_call()
    assert benchmark.n_called == calls
    assert benchmark.timer() - before == pytest.approx(1e-6 * microseconds)
    assert benchmark.n_prepared == 1


def test_an_instruction_set_is_not_changed_behind_a_backend_in_use(suite, monkeypatch):
    monkeypatch.setenv("FASTGD_ISA", "")
    used = get_backend("cython").instruction_set()
    assert suite.backends.use_backend(used) == "cython"
    assert suite.backends.use_backend("numpy") == "numpy"
    for other in set(suite.backends.INSTRUCTION_SETS) - {used}:
        with pytest.raises(RuntimeError, match=f"{other}: .* in use before, with {used}"):
            suite.backends.use_backend(other)


def test_the_suite_has_all_instruction_sets(suite):
    from fastgd._kernels.cython_ import instruction_set_names

    assert set(suite.backends.INSTRUCTION_SETS) >= set(instruction_set_names())
