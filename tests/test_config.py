"""What an installation tells of itself, and what it tells to type where something is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastgd as fg
from fastgd.optional import OPTIONAL_PARTS, import_optional

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_the_configuration_is_printed_and_returned(capsys):
    """Everything a bug report needs."""
    found = fg.show_config()
    text = capsys.readouterr().out
    assert set(found["backends"]) == {"cython", "numba", "numpy"}
    assert set(found["optional"]) == set(OPTIONAL_PARTS)
    for part in (fg.__version__, "backend cython", "threads", found["python"], found["numpy"], *OPTIONAL_PARTS):
        assert part in text


def test_a_missing_part_comes_with_the_command_that_installs_it(monkeypatch, capsys):
    """And one that is there, with its version."""
    installed = {name: "1.2.3" for name in OPTIONAL_PARTS if name != "onnx"}
    monkeypatch.setattr("fastgd.config._version", installed.get)
    assert fg.show_config()["optional"]["onnx"] is None
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "pip install" in line] == [
        '  onnx            missing  model.to_onnx; pip install "fastgd[onnx]"'
    ]
    assert sum("1.2.3" in line for line in lines) == len(OPTIONAL_PARTS) - 1


def test_python_m_fastgd_shows_the_configuration_and_where_to_go_next():
    """The first thing that someone types."""
    ran = subprocess.run([sys.executable, "-m", "fastgd"], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.startswith(f"fastgd {fg.__version__}, Python ")
    assert "python -m fastgd.bench" in ran.stdout
    assert "help(fg.Sequential)" in ran.stdout
    assert not ran.stderr


def test_the_example_that_python_m_fastgd_shows_runs(capsys):
    """As it stands there."""
    from fastgd.__main__ import NEXT

    example = "\n".join(line[4:] for line in NEXT.splitlines() if line.startswith("    "))
    exec(example, {})
    assert 0.9 < float(capsys.readouterr().out) <= 1.0


@pytest.mark.skipif(not PROJECT.exists(), reason="an installed copy")
def test_every_part_is_in_its_extra():
    """The command that is named installs what is missing."""
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name, part in OPTIONAL_PARTS.items():
        assert any(requirement.startswith(name) for requirement in extras[part.extra]), name


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    """A module of it too."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    message = r'^it needs mpi4py, which is not installed; type: pip install "fastgd\[mpi\]"$'
    with pytest.raises(ImportError, match=message):
        import_optional("mpi4py.futures", "it")


def test_a_broken_library_says_what_is_wrong_with_it(monkeypatch, tmp_path):
    """For then there is nothing to install."""
    (tmp_path / "mpi4py.py").write_text("import a_library_that_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mpi4py", raising=False)
    with pytest.raises(ImportError, match="No module named 'a_library_that_it_needs'"):
        import_optional("mpi4py", "it")
