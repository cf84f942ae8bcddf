"""Tables of what is registered, as data: whatever is declared has its row here without a line being written.

Needs nothing but fastgd. Cells are reStructuredText.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import elsewhere

from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastgd._formula.declare import Declaration
from fastgd._formula.language import FUNCTIONS
from fastgd.initializers import INITIALIZERS
from fastgd.kernels import CONTRACTS
from fastgd.optimizers import BY_NAME, Rprop

TARGETS = {
    "real": "finite numbers",
    "nonnegative": "numbers of at least 0",
    "positive": "numbers above 0",
    "nonzero": "numbers other than 0",
    "direction": "rows of numbers, not all 0",
    "probability": "numbers from 0 to 1",
    "sign": "1 for one class, 0 or -1 for the other",
    "class": "labels 0 to C - 1, or rows of C probabilities",
    "label": "labels 0 to C - 1, or one-hot rows",
    "identity": "integers, the same for rows that belong together",
}


@dataclass(frozen=True)
class Table:
    """Headings, and a row of cells for each registered name; the name itself is the first cell.

    Attributes
    ----------
    columns : tuple of str
        Headings, that of the names included.
    rows : dict of str to tuple of str
        The cells beside each name.
    module : str
        Where the names are documented.
    """

    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    module: str


def summary(documented: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def code(text: str) -> str:
    """Text as a literal; nothing for nothing."""
    return f"``{text}``" if text else ""


def values(named: Mapping[str, Any]) -> str:
    """Names with their values."""
    return ", ".join(code(f"{name}={value!r}") for name, value in named.items())


def admitted(declared: Declaration) -> str:
    """Parameters with their defaults and admitted values."""
    ranges = {name: declared.ranges.get(name, "(-inf, inf)") for name in declared.parameters}
    return ", ".join(
        code(f"{name}={value!r}") + (f" in {ranges[name]}" if ranges[name][0] in "[(" else f" ({ranges[name]})")
        for name, value in declared.parameters.items()
    )


def activations() -> Table:
    """Parameters with their admitted values, and what the forward pass has to keep."""
    rows = {name: (summary(each), admitted(each), each.derivative_of) for name, each in ACTIVATIONS.items()}
    return Table(("Name", "Meaning", "Parameters", "Derivative from"), rows, "fastgd.activations")


def losses() -> Table:
    """Parameters, what `predict` makes of the scores, and what targets are taken."""
    rows = {
        name: (summary(each), admitted(each), each.link, TARGETS[each.target]) for name, each in LOSSES.items()
    }
    return Table(("Name", "Meaning", "Parameters", "Link", "Targets"), rows, "fastgd.losses")


def optimizers() -> Table:
    """The names that stand for a class with its defaults."""
    rows = {name: (f":py:class:`fastgd.{c.__name__}`", values(c().hyperparameters)) for name, c in BY_NAME.items()}
    return Table(("Name", "Class", "Defaults"), rows, "")


def dialects() -> Table:
    """What each library has otherwise than `fastgd.optimizers` by default: a form, values, how weights decay."""
    rows = {}
    for made_by in BY_NAME.values():
        for dialect in filter(None, made_by.dialects):
            decay = "none" if dialect == "sklearn" or made_by is Rprop else "decoupled"
            if dialect in made_by.coupled_decay:
                decay = "in the gradient"
            name = f"{made_by.__name__}(dialect={dialect!r})"
            rows[name] = (values(made_by.dialects[dialect]) or "the same", decay)
    return Table(("Optimizer", "Other defaults", "Weight decay"), rows, "")


def rules() -> Table:
    """The formulas behind the optimizers, and the memory that each takes."""
    rows = {
        name: (summary(each), ", ".join(map(code, each.states)) or "none", each.source)
        for name, each in OPTIMIZERS.items()
    }
    return Table(("Rule", "Meaning", "State of each weight", "Source"), rows, "")


def initializers() -> Table:
    """The ways of drawing the first weights."""
    rows = {name: (summary(each), admitted(each)) for name, each in INITIALIZERS.items()}
    return Table(("Name", "Meaning", "Parameters"), rows, "fastgd.initializers")


def contracts() -> Table:
    """The arrays that the kernels read and write."""
    rows = {name: (code(each.text),) for name, each in CONTRACTS.items()}
    return Table(("Kernel", "Contract"), rows, "fastgd.kernels")


def functions() -> Table:
    """What a formula may call."""
    rows = {name: (str(each.n_arguments), summary(each.scalar)) for name, each in FUNCTIONS.items()}
    return Table(("Function", "Arguments", "Meaning"), rows, "")


def names_elsewhere(registry: Mapping[str, Declaration], of: Mapping[str, elsewhere.Elsewhere], module: str) -> Table:
    """What other libraries call it, and what differs there; without what none of them has."""
    rows = {name: (*map(code, of[name][:4]), of[name].differs) for name in registry if any(of[name])}
    return Table(("fastgd", "PyTorch", "Keras", "scikit-learn", "JAX, optax", "What differs"), rows, module)


TABLES: dict[str, Callable[[], Table]] = {
    "activations-elsewhere": lambda: names_elsewhere(ACTIVATIONS, elsewhere.ACTIVATIONS, "fastgd.activations"),
    "losses-elsewhere": lambda: names_elsewhere(LOSSES, elsewhere.LOSSES, "fastgd.losses"),
    "initializers-elsewhere": lambda: names_elsewhere(INITIALIZERS, elsewhere.INITIALIZERS, "fastgd.initializers"),
    "activations": activations,
    "losses": losses,
    "optimizers": optimizers,
    "dialects": dialects,
    "rules": rules,
    "initializers": initializers,
    "contracts": contracts,
    "functions": functions,
}
