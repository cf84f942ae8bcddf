"""The documentation's tables of names in other libraries: whatever is registered has its row, and names are right."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, LOSS_NAMES

from fastgd import kernels
from fastgd._formula import ACTIVATIONS, LOSSES
from fastgd.initializers import INITIALIZERS

EXTENSIONS = Path(__file__).parents[1] / "docs" / "extensions"

if not EXTENSIONS.exists():
    pytest.skip("the documentation is not part of this copy", allow_module_level=True)

sys.path.insert(0, str(EXTENSIONS))
import elsewhere  # noqa: E402

os.environ.setdefault("KERAS_BACKEND", "jax")

# Rounding in float32 and approximations of erf and tanh: what differs in a default differs by more.
ALLOWED = 2e-6


def library(of):
    """What the names of a column may begin with."""
    if of == "torch":
        torch = pytest.importorskip("torch")
        return {"torch": torch, "nn": torch.nn}
    if of == "keras":
        pytest.importorskip("jax")
        keras = pytest.importorskip("keras")
        return {"activations": keras.activations, "layers": keras.layers, "losses": keras.losses, "partial": partial}
    jax = pytest.importorskip("jax")
    names = {"jax": jax, "jnp": jax.numpy, "partial": partial}
    return names | {"optax": pytest.importorskip("optax")}


def named(table, of):
    """Rows that have a name there and nothing that differs."""
    return [name for name, row in table.items() if getattr(row, of) and not row.differs]


def test_whatever_is_registered_has_a_row():
    assert list(elsewhere.ACTIVATIONS) == ACTIVATION_NAMES
    assert set(elsewhere.LOSSES) == set(LOSS_NAMES)
    assert set(elsewhere.INITIALIZERS) == set(INITIALIZERS)


def test_a_wrong_name_would_be_noticed():
    """The points tell every two activations apart."""
    z = np.linspace(-5.0, 7.0, 97)
    values = [ACTIVATIONS[name](z) for name in ACTIVATION_NAMES]
    close = [abs(a - b).max() < 1e-4 for i, a in enumerate(values) for b in values[:i]]
    # celu and elu are the same with their defaults.
    assert sum(close) == 1


@pytest.mark.parametrize("of", ["torch", "keras", "jax"])
def test_activations_elsewhere(of):
    """The function of that name there has the same values."""
    names, z = library(of), np.linspace(-5.0, 7.0, 97, dtype=np.float32)
    for name in named(elsewhere.ACTIVATIONS, of):
        given = names["torch"].from_numpy(z) if of == "torch" else z
        values = np.asarray(eval(getattr(elsewhere.ACTIVATIONS[name], of), names)(given))
        assert abs(values - ACTIVATIONS[name](z)).max() <= ALLOWED * max(1.0, abs(values).max()), name


def example(name):
    """Scores and targets of the loss's kind."""
    draw, loss = np.random.default_rng(0), LOSSES[name]
    scores = draw.normal(size=(6, 4)).astype(np.float32)
    if loss.by_class:
        return scores, draw.integers(4, size=6)
    targets = draw.normal(size=(6, 4))
    kinds = {"probability": draw.integers(2, size=(6, 4)), "sign": np.sign(targets)}
    return scores, np.asarray(kinds.get(loss.target, targets), np.float32)


@pytest.mark.parametrize("of", ["torch", "keras", "jax"])
def test_losses_elsewhere(of):
    """The mean of the loss of that name there is the same number."""
    names = library(of)
    for name in named(elsewhere.LOSSES, of):
        scores, targets = example(name)
        function = eval(getattr(elsewhere.LOSSES[name], of), names)
        if of == "torch":
            theirs = function(*map(names["torch"].from_numpy, (scores, targets))).item()
        else:
            theirs = float(np.mean(function(targets, scores) if of == "keras" else function(scores, targets)))
        ours, _ = kernels.loss_gradient(scores, targets, name, backend="numpy")
        assert abs(theirs - ours) <= ALLOWED * max(1.0, abs(ours)), name


@pytest.mark.parametrize("of", ["torch", "keras", "jax"])
def test_names_with_a_difference_are_there_too(of):
    names = library(of)
    for table in (elsewhere.ACTIVATIONS, elsewhere.LOSSES):
        for row in table.values():
            assert not getattr(row, of) or callable(eval(getattr(row, of), names)), row
