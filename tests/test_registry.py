"""Whatever is registered has all its parts: until they are there, a test here fails."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from counterparts import (
    ACTIVATION_NAMES,
    HYPERPARAMETERS,
    LOSS_NAMES,
    MADE_BY,
    OPTIMIZER_NAMES,
    RECORDINGS,
    Recording,
    optimizer_named,
)
from golden import load
from oracle import activations as oracle_activations
from oracle import losses as oracle_losses
from oracle import optimizers as oracle_optimizers
from targets import admitted_outputs

from fastgd import activations, losses, optimizers
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastgd._formula.c import render_all
from fastgd._kernels import available_backends, get_backend
from fastgd._kernels.contracts import CONTRACTS
from fastgd._kernels.numpy_ import COMPARISONS, LINKS, ROWWISE_LOSSES
from fastgd.initializers import INITIALIZERS
from fastgd.optimizers import BY_NAME

DOCS = Path(__file__).parents[1] / "docs"

each_activation = pytest.mark.parametrize("name", ACTIVATION_NAMES)
each_loss = pytest.mark.parametrize("name", LOSS_NAMES)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZER_NAMES)
each_backend = pytest.mark.parametrize("backend", available_backends())

ALL_NAMES = [*ACTIVATION_NAMES, *LOSS_NAMES, *OPTIMIZER_NAMES]


def tables_of_the_documentation():
    """The generated tables by name, from the module that the documentation's build takes them from."""
    sys.path.insert(0, str(DOCS / "extensions"))
    spec = importlib.util.spec_from_file_location("registry_tables", DOCS / "extensions" / "registry_tables.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return {name: make() for name, make in module.TABLES.items()}


# ------------------------------------------------------------------------------------------------- what judges it
@each_activation
def test_an_activation_is_judged(name):
    """By the oracle and by golden values."""
    assert name in oracle_activations.ACTIVATIONS
    assert len(load("activations")[name]) > 0


@each_loss
def test_a_loss_is_judged(name):
    """By the oracle and by golden values, and its targets are of the same kind."""
    assert oracle_losses.LOSSES[name].target == LOSSES[name].target
    assert oracle_losses.LOSSES[name].rowwise == LOSSES[name].rowwise
    assert len(load("losses")[name]) > 0


@each_optimizer
def test_an_optimizer_is_judged(name):
    """By the oracle and by another library's trajectory, with hyperparameters to try it with."""
    assert name in oracle_optimizers.OPTIMIZERS
    assert name in HYPERPARAMETERS
    assert name in {Recording.of(library, recorded).optimizer.rule.formula.name for library, recorded in RECORDINGS}


# ------------------------------------------------------------------------------------------------ what computes it
def test_every_formula_is_rendered_to_c():
    """With its place in the tables that the engine searches."""
    text = render_all(ACTIVATIONS, LOSSES, OPTIMIZERS)
    for name in [*ACTIVATION_NAMES, *OPTIMIZER_NAMES, *(n for n in LOSS_NAMES if not LOSSES[n].rowwise)]:
        assert f'"{name}"' in text, name


def test_every_row_wise_loss_and_every_link_has_its_numpy_kernel():
    """Those are written by hand in each backend."""
    assert {*ROWWISE_LOSSES, *COMPARISONS} == {name for name in LOSS_NAMES if LOSSES[name].rowwise}
    assert {LOSSES[name].link for name in LOSS_NAMES} <= set(LINKS)


@each_backend
@each_activation
def test_every_backend_has_the_activation(name, backend):
    """Forward and backward."""
    module, ones = get_backend(backend), np.ones((2, 2))
    out, kept, dx, dw, db = (np.empty((2, 2)) for _ in range(5))
    module.dense_forward(ones, ones, np.ones(2), ACTIVATIONS[name], out, kept)
    module.dense_backward(ones, ones, kept, ones, ACTIVATIONS[name], dx, dw, db[0])
    assert np.isfinite([out, kept, dx, dw]).all()


@each_backend
@each_loss
def test_every_backend_has_the_loss(name, backend):
    """Value and gradient."""
    declared, n_outputs = LOSSES[name], admitted_outputs(LOSSES[name], 2)
    targets = np.zeros(2, np.intp) if declared.takes_labels else np.ones((2, n_outputs // declared.outputs_per_target))
    d_scores = np.full((2, n_outputs), np.nan)
    loss = get_backend(backend).loss_gradient(np.ones((2, n_outputs)), targets, declared, None, d_scores)
    assert np.isfinite(loss)
    assert np.isfinite(d_scores).all()


@each_backend
@each_optimizer
def test_every_backend_has_the_optimizer(name, backend):
    """In place on parameters and states."""
    made, w = optimizer_named(name, **HYPERPARAMETERS[name]), np.ones(5)
    states = [np.full(5, value) for value in made.initial_states().values()]
    get_backend(backend).parameter_update(w, np.ones(5), states, made.rule, made.scalars(1, 1)[0])
    assert (w != 1.0).all()
    assert np.isfinite([w, *states]).all()


# --------------------------------------------------------------------------------------------- where it is found
def test_what_is_registered_is_exported_by_its_module():
    """So that it can be named without quotes."""
    assert set(activations.__all__) == set(ACTIVATION_NAMES)
    assert set(losses.__all__) == set(LOSS_NAMES)
    rules = {cls().rule.formula.name for cls in BY_NAME.values()}
    assert rules <= set(OPTIMIZER_NAMES)
    assert {cls.__name__ for cls in BY_NAME.values()} <= set(optimizers.__all__)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_every_rule_has_a_class(name):
    """SGD, RMSprop and Adam have several rules."""
    made_by, flags = MADE_BY[name]
    assert made_by in BY_NAME.values()
    assert made_by(**flags, **HYPERPARAMETERS[name]).rule.name == name


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not part of this copy")
@pytest.mark.parametrize("name", [*ALL_NAMES, *INITIALIZERS, *CONTRACTS])
def test_what_is_registered_stands_in_a_table_of_the_documentation(name):
    """With a meaning; and the table stands on a page."""
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.rst"))
    [(where, cells)] = [
        (table, made.rows[name])
        for table, made in tables_of_the_documentation().items()
        if name in made.rows and table not in ("optimizers", "functions") and not table.endswith("-elsewhere")
    ]
    assert cells[0]
    assert re.search(rf"^\.\. registry-table:: {where}$", pages, re.MULTILINE)
