"""Every example in a docstring or on a page of the documentation is run, and what is public has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import fastgd
from fastgd import activations, kernels, losses, optimizers, penalties, plots, schedules
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastgd._formula.declare import Declaration
from fastgd.initializers import INITIALIZERS
from fastgd.optimizers import BY_NAME

PACKAGE = Path(fastgd.__file__).parent
REPOSITORY = Path(__file__).parents[1]
PROMPT = ">>>"
EXAMPLES = re.compile(r"^Examples\n-{8}\n", re.MULTILINE)
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


# ---------------------------------------------------------------------------------------------------- what is run
def modules():
    """Modules of the package with an example in them."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if PROMPT in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield importlib.import_module(".".join(parts).removesuffix(".__init__"))


def examples_of_docstrings():
    """Of functions, classes and methods; and of what is declared, which no finder takes for a function."""
    finder, parser = doctest.DocTestFinder(), doctest.DocTestParser()
    for module in modules():
        yield from finder.find(module)
        for name, value in vars(module).items():
            if isinstance(value, Declaration) and value.module == module.__name__:
                full_name = f"{module.__name__}.{name}"
                yield parser.get_doctest(value.__doc__, {}, full_name, module.__file__, None)


def examples_of_pages():
    """Of the fenced parts of each page, one after another, as a reader would type them."""
    for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]:
        if path.exists():
            text = "\n".join(part for part in FENCED.findall(path.read_text(encoding="utf-8")) if PROMPT in part)
            yield doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)


EXAMPLES_TO_RUN = {found.name: found for found in [*examples_of_docstrings(), *examples_of_pages()] if found.examples}


@pytest.fixture
def _registries():
    """What an example declares is forgotten afterwards."""
    before = [(registry, dict(registry)) for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS)]
    yield
    for registry, declared in before:
        registry.clear()
        registry.update(declared)


@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("name", EXAMPLES_TO_RUN)
def test_an_example_gives_what_it_says(name):
    """To the letter."""
    if name.startswith("fastgd.plots"):
        pytest.importorskip("matplotlib")
    report = []
    doctest.DocTestRunner(verbose=False).run(EXAMPLES_TO_RUN[name], out=report.append)
    assert not report, "".join(report)


# --------------------------------------------------------------------------------------------------- what has one
def public():
    """What a user can name, and what a registry holds: no modules, and no plain values."""
    named = {f"fastgd.{name}": getattr(fastgd, name) for name in fastgd.__all__}
    for module in (activations, kernels, losses, optimizers, penalties, plots, schedules):
        named |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    for registry in (ACTIVATIONS, LOSSES, BY_NAME, INITIALIZERS):
        named |= {f"{registered.__module__}: {name!r}": registered for name, registered in registry.items()}
    kept = {name: value for name, value in named.items() if callable(value) and not isinstance(value, ModuleType)}
    once = {id(value): name for name, value in reversed(kept.items())}
    return {name: value for name, value in kept.items() if once[id(value)] == name}


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_a_docstring_with_an_example(name):
    """In the form of numpydoc; the prompt stands in that section."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    before, *after = EXAMPLES.split(text)
    assert before, "no docstring"
    assert after and PROMPT in after[0], "no example"


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if getattr(value, "formula", None)])
def test_every_argument_of_a_formula_is_documented(name):
    """An object with a formula has another signature than its formula, so that no other check sees this."""
    formula = PUBLIC[name].formula
    documented = re.findall(r"^([\w, ]+) : ", inspect.getdoc(PUBLIC[name]), re.MULTILINE)
    assert ", ".join(documented).split(", ") == [*formula.arrays, *formula.scalars]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_hyperparameter_is_documented(name):
    """An optimizer passes most on to what it is made of, so that its signature tells little."""
    documented = re.findall(r"^([\w, ]+) : ", inspect.getdoc(BY_NAME[name]), re.MULTILINE)
    assert set(BY_NAME[name].dialects[None]) <= set(", ".join(documented).split(", "))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rule_says_what_it_does_and_where_it_is_from(name):
    """Its class has the example."""
    assert OPTIMIZERS[name].__doc__
    assert OPTIMIZERS[name].source
