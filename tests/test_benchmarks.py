"""What the performance suite adds to asv; and ``python -m fastgd.bench``, which runs a part of these scripts."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
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


# ------------------------------------------------------------------------------------------ python -m fastgd.bench
# One library, one network, no time to speak of.
SHORT = ("--networks", "4-16-3@1", "--peers", "--seconds", "0.001", "--rounds", "1")


def run_python(*arguments, **environment):
    """Output of a Python that must not fail."""
    command = [sys.executable, *map(str, arguments)]
    variables = os.environ | environment
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, env=variables)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_python_m_fastgd_bench_prints_the_fraction_of_the_floor():
    """Of each form of training."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    lines = run_python("-m", "fastgd.bench", *SHORT).splitlines()
    [head] = [line for line in lines if "of floor" in line]
    rows = {line[:24].strip(): line for line in lines if line.startswith("  fastgd ")}
    assert set(rows) == {"fastgd fit", "fastgd train_on_batch"}
    for row in rows.values():
        assert 0.0 <= float(row[head.index("of floor") :].split()[0]) < 1.0


def test_without_a_compiler_there_is_no_floor():
    """All else is measured."""
    text = run_python("-m", "fastgd.bench", *SHORT, CC="no-such-compiler")
    assert "needs a C compiler" in text
    assert "fastgd fit" in text


def test_what_there_is_no_time_for_is_left_out():
    """And named."""
    text = run_python("-m", "fastgd.bench", *SHORT, "--networks", "4-16-3@1", "4-16-3@32", "--at-most", "0", CC="none")
    assert "4-16-3@1, adam" in text
    assert "4-16-3@32: not timed, for it would take longer than 0 seconds in all" in text


def test_a_wheel_has_all_that_the_bench_imports(tmp_path):
    """The scripts that the build copies are enough by themselves."""
    build = BENCHMARKS.parent / "setup.py"
    if not build.exists():
        pytest.skip("the build is not here")
    [names] = [
        ast.literal_eval(node.value)
        for node in ast.parse(build.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BENCH_SCRIPTS"
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(BENCHMARKS / name, tmp_path / name)
    program = f"import pathlib, fastgd.bench as b; b.FOLDERS = (pathlib.Path({str(tmp_path)!r}),); b.main({SHORT!r})"
    assert "fastgd fit" in run_python("-c", program, CC="none")


def test_a_copy_without_the_scripts_says_where_they_should_be(monkeypatch, tmp_path):
    """Nothing else can be done."""
    from fastgd import bench

    monkeypatch.setattr(bench, "FOLDERS", (tmp_path / "here", tmp_path / "there"))
    with pytest.raises(FileNotFoundError, match="scripts are not there, neither in .*here nor in .*there"):
        bench.scripts()
