"""The examples run, without a warning, and come to what they promise: each exits with an error if it does not."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("fastgd._kernels.cython_")

EXAMPLES = Path(__file__).parents[1] / "examples"

# What each leaves behind, and what its output contains. `make demo` runs digits.py, the tests of `fastgd.jit`
# cart_pole.py and runge_kutta.py; fashion_mnist.py needs data that do not come along.
RESULTS = {
    "drifting_stream": ("drifting_stream.png", "accuracy on the last 50 blocks"),
    "intervals": ("intervals.png", "gaussian_nll"),
    "optimizers": ("optimizers.png", "adabelief"),
    "pictures": ("pictures.png", ""),
    "tabular": ("diabetes.joblib", "mean absolute error on new patients"),
    "visual_words": (None, "words, linear"),
}

ELSEWHERE = ("cart_pole", "digits", "fashion_mnist", "runge_kutta")


def test_every_example_is_run_somewhere():
    """A new one needs its line."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*RESULTS, *ELSEWHERE}


@pytest.mark.parametrize("name", RESULTS)
def test_an_example(name, monkeypatch, tmp_path, capsys):
    """In an empty folder, with the defaults."""
    left, said = RESULTS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert said in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ([left] if left else [])
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_the_programs_of_the_front_page(monkeypatch, tmp_path, capsys):
    """One after another, as a reader would type them."""
    page = EXAMPLES.parent / "README.md"
    if not page.exists():
        pytest.skip("an installed copy")
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("onnx")
    names = {}
    programs = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for program in programs:
        exec(program, names)
    assert len(programs) == 3
    assert capsys.readouterr().out.count("\n") == 4
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.c"}


def test_an_example_that_falls_short_fails(monkeypatch, tmp_path):
    """Intervals without an extent, here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["intervals.py"])
    monkeypatch.setattr("fastgd.sklearn.MLPRegressor.predict_interval", lambda self, X: np.zeros((len(X), 2)))
    with pytest.raises(SystemExit, match="intervals that are to hold nine in ten hold too few, or too many"):
        runpy.run_path(str(EXAMPLES / "intervals.py"), run_name="__main__")
