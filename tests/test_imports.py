"""Which module may import which, as data; and what an import must not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastgd

PACKAGE = Path(fastgd.__file__).parent

# From the outside to the inside: a module imports what stands below it, never beside or above. Modules that do not
# exist yet have their place already.
TIERS = [
    {"__main__", "bench"},
    {"io"},
    {"sklearn", "plots", "diagnostics", "config", "jit", "gradcheck", "minimization"},
    {"kernels", "model"},
    {"fitting"},
    {"export"},
    {"callbacks", "metrics", "passes", "streams", "_checkpoint"},
    {"training"},
    {"layers"},
    {"methods"},
    {"constraints", "initializers", "inputs", "penalties", "standardization", "threads"},
    {"activations", "losses", "optimizers"},
    {"schedules"},
    {"_kernels"},
    {"differences", "errors", "optional"},
    {"_formula"},
]
TIER = {name: k for k, tier in enumerate(TIERS) for name in tier}

# The package itself imports by name, when a name is used.
ROOT = "__init__"

# What a formula file may import besides the language; the optimizers' classes stand beside their rules, and their
# learning rates may be schedules.
FORMULA_FILES = {
    "activations": {"__future__", "fastgd._formula"},
    "losses": {"__future__", "fastgd._formula"},
    "optimizers": {
        "__future__",
        "typing",
        "collections.abc",
        "fastgd._formula",
        "fastgd._formula.interval",
        "fastgd.schedules",
    },
}

FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "base", "helpers", "helper"}


def modules():
    """Path of every Python module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("fastgd", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name, whole=True):
    """Absolute names of what a module imports, outside of what only type checkers read.

    With `whole`, imports inside functions count too.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]
    found = set()

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.update(targets(node))
            elif whole or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(ast.iter_child_nodes(node))

    def targets(node):
        parents = package.split(".")
        parents = parents[: len(parents) - node.level + 1] if node.level else []
        module = ".".join([*parents, *([node.module] if node.module else [])])
        # `from . import x` and `from .package import module` import modules.
        inner = {f"{module}.{alias.name}" for alias in node.names} & set(MODULES)
        return inner or {module}

    visit(tree.body)
    return found


def part(name):
    """The name directly under fastgd."""
    return (name.split(".") + [ROOT])[1]


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    """Down the tiers, or within one package."""
    here = part(name)
    if here == ROOT:
        return
    assert here in TIER, f"{here} has no place in TIERS"
    for target in imports_of(name):
        if not target.startswith("fastgd"):
            continue
        there = part(target)
        if there in (here, ROOT):
            continue
        assert TIER[there] > TIER[here], f"{name} imports {target}"


@pytest.mark.parametrize("name", FORMULA_FILES)
def test_a_formula_file_imports_nothing_but_the_language(name):
    """The build reads these files before anything is compiled or NumPy is needed."""
    assert imports_of(f"fastgd.{name}", whole=False) <= FORMULA_FILES[name]


def test_one_place_knows_that_there_are_several_backends():
    """No backend imports another, and nobody else imports one by itself."""
    backends = {"fastgd._kernels.numpy_", "fastgd._kernels.cython_", "fastgd._kernels.numba_"}
    for name in MODULES:
        imported = {target for target in imports_of(name) for backend in backends if target.startswith(backend)}
        # What a backend keeps in a folder or in files beside it begins with its name.
        own = next((backend for backend in backends if name.startswith(backend)), name)
        if own not in backends:
            assert not imported, f"{name} imports {imported}"
        assert all(target.startswith(own) for target in imported), f"{name} imports {imported}"


def test_no_module_is_called_after_nothing():
    """A name says what is inside."""
    for name in MODULES:
        assert not FORBIDDEN_NAMES & set(name.strip("_").split(".")), name


# ------------------------------------------------------------------------------------------------ a fresh process
def loaded_after(code):
    """Names of the modules that a fresh interpreter has loaded after some code, beyond those it starts with."""
    text = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    finished = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in finished.stdout.split()} | set(finished.stdout.split())


HEAVY = {"numpy", "numba", "llvmlite", "scipy", "sklearn", "matplotlib", "pandas", "onnx", "safetensors"}


def test_importing_fastgd_imports_nothing_heavy():
    """Not even NumPy."""
    loaded = loaded_after("import fastgd")
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("fastgd")} == {"fastgd"}


def test_reading_the_formulas_imports_nothing_heavy():
    """As the build does."""
    assert not loaded_after("from fastgd import activations, losses, optimizers") & HEAVY


@pytest.mark.parametrize("backend", ["cython", "numpy"])
def test_training_imports_numpy_and_nothing_else_that_is_heavy(backend):
    """NumPy is the only package that has to be installed."""
    code = (
        "import fastgd as fg\n"
        f"model = fg.Sequential([fg.Dense(2)], loss='softmax_cross_entropy', backend={backend!r})\n"
        "model.fit([[0.0], [1.0]], [0, 1])\n"
        "model.predict([[0.0]])"
    )
    loaded = loaded_after(code)
    assert loaded & HEAVY == {"numpy"}
    other = {"cython": "fastgd._kernels.numpy_", "numpy": "fastgd._kernels.cython_"}[backend]
    assert other not in loaded


# --------------------------------------------------------------------------------------------- the public names
def test_every_public_name_is_there():
    """`__all__`, `dir` and the names that type checkers read are the same."""
    assert sorted(fastgd.__all__) == sorted(dir(fastgd)) == sorted(set(fastgd.__all__))
    for name in fastgd.__all__:
        assert getattr(fastgd, name) is not None
    tree = ast.parse(MODULES["fastgd"].read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.asname for node in ast.walk(guarded[0]) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(fastgd.__all__)


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    """As for any module, and a little better."""
    with pytest.raises(AttributeError, match="no attribute 'sequential'; did you mean Sequential"):
        _ = fastgd.sequential
    with pytest.raises(AttributeError, match="no attribute 'xyzzy'$"):
        _ = fastgd.xyzzy


@pytest.mark.parametrize("name", [name for name in MODULES if not part(name).startswith("_")])
def test_what_a_module_says_it_exports_it_has(name):
    """`__all__` of the public modules."""
    module = __import__(name, fromlist=["__all__"])
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.{exported}"
