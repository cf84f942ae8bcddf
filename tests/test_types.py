"""What type checkers and `help` are told: a user's program under strict checks, contracts, a text for every name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgd
from fastgd import kernels
from fastgd._kernels.backend import Backend, Network
from fastgd._kernels.contracts import CONTRACTS

ROOT = Path(fastgd.__file__).parents[1]
PROGRAM = Path(__file__).with_name("typed_usage.py")

compiled = pytest.importorskip("fastgd._kernels.cython_")


def check_strictly(path, folder):
    """What mypy says of a user's file with ``--strict``, without our configuration, and whether it is content.

    Of fastgd's own files it says nothing: that is another check's matter.
    """
    pytest.importorskip("mypy")
    options = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={folder}"]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    # It looks for fastgd where it is started, and among what is installed.
    where = ROOT if (ROOT / "pyproject.toml").exists() else None
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=where)
    return ran.stdout + ran.stderr, ran.returncode == 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What mypy has read already."""
    return tmp_path_factory.mktemp("mypy")


def test_a_users_program_is_clean_under_strict_checks(cache):
    """And no type in it is lost."""
    said, content = check_strictly(PROGRAM, cache)
    assert content, said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("fg.Dense('many')", "arg-type"),
        ("fg.Sequential([3])", "list-item"),
        ("fg.Sequential([fg.Dense(1)]).predict()", "call-arg"),
        ("fg.Sequential([fg.Dense(1)]).predict([[1.0]]).no_such_method()", "attr-defined"),
        ("fg.no_such_name", "attr-defined"),
    ],
)
def test_what_is_wrong_with_a_program_is_seen(wrong, message, cache, tmp_path):
    """Types that are all Any would see nothing."""
    path = tmp_path / "program.py"
    path.write_text(f"import fastgd as fg\n\n{wrong}\n", encoding="utf-8")
    said, content = check_strictly(path, cache)
    assert not content
    assert f"[{message}]" in said


def test_the_users_program_runs(tmp_path):
    """What it says of types would mean little otherwise."""
    subprocess.run([sys.executable, PROGRAM, tmp_path], cwd=ROOT, timeout=60, check=True, capture_output=True)
    assert (tmp_path / "model.c").exists()


def test_fastgd_says_that_it_is_typed():
    """Type checkers look for this file."""
    assert (Path(fastgd.__file__).parent / "py.typed").exists()


# -------------------------------------------------------------------------------------------------------- help
@pytest.mark.parametrize("name", CONTRACTS)
def test_help_shows_the_contract_of_a_kernel(name):
    """Of the public function and of the compiled one, which also says what its arguments are called."""
    assert f"Contract: ``{CONTRACTS[name].text}``" in inspect.getdoc(getattr(kernels, name))
    assert f"Contract: {CONTRACTS[name].text}" in inspect.getdoc(getattr(compiled, name))


def contracts_of(protocol):
    """Names and first paragraphs of what a protocol asks for."""
    for name, member in vars(protocol).items():
        if inspect.isfunction(member) and member.__doc__:
            yield name, member


@pytest.mark.parametrize("protocol", [Backend, Network])
def test_compiled_functions_have_the_signatures_and_sentences_of_their_protocol(protocol):
    """The protocol is what a backend is held to."""
    home = compiled if protocol is Backend else compiled.Network
    found = dict(contracts_of(protocol))
    assert found
    for name, asked in found.items():
        function = getattr(home, name)
        assert inspect.getdoc(function).partition("\n\n")[0] == inspect.getdoc(asked).partition("\n\n")[0], name
        asked_for = [each.name for each in inspect.signature(asked).parameters.values() if each.name != "self"]
        given = [each.name for each in inspect.signature(function).parameters.values() if each.name != "self"]
        assert given == asked_for, name


# ------------------------------------------------------------------------------------------ every name has its text
def public_modules():
    """Modules without an underscore anywhere in their names."""
    found = pkgutil.walk_packages(fastgd.__path__, "fastgd.")
    return ["fastgd", *(each.name for each in found if "._" not in each.name)]


@pytest.mark.parametrize("name", public_modules())
def test_every_public_name_is_documented(name):
    """Modules, what they export, and the public members of their classes."""
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    for exported in getattr(module, "__all__", ()):
        value = getattr(module, exported)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        assert inspect.getdoc(value), f"{name}.{exported}"
        for member, what in vars(value).items() if inspect.isclass(value) else ():
            described = inspect.isroutine(what) or isinstance(what, (property, classmethod, staticmethod))
            if described and not member.startswith("_"):
                assert inspect.getdoc(getattr(value, member)), f"{name}.{exported}.{member}"
