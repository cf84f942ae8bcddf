"""The backends by name. This module alone knows that there are several."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from .._formula import get
from ..optional import OPTIONAL_PARTS
from .backend import (
    Backend,
    BatchNormSpec,
    DenseSpec,
    DropoutSpec,
    LayerNormSpec,
    LayerSpec,
    Network,
    SoftmaxSpec,
    StepSpec,
)
from .rows import SparseRows

if TYPE_CHECKING:
    from .backend import Array as Array

__all__ = [
    "BACKENDS",
    "Backend",
    "BatchNormSpec",
    "DenseSpec",
    "DropoutSpec",
    "LayerNormSpec",
    "LayerSpec",
    "Network",
    "SoftmaxSpec",
    "SparseRows",
    "StepSpec",
    "available_backends",
    "get_backend",
]

BACKENDS = {"cython": f"{__name__}.cython_", "numba": f"{__name__}.numba_", "numpy": f"{__name__}.numpy_"}

REMEDIES = {
    "cython": "install fastgd with its compiled part (pip install .), or pass backend='numpy'",
    "numba": f"{OPTIONAL_PARTS['numba'].command}, or pass backend='cython'",
    "numpy": "install NumPy",
}


def get_backend(name: str) -> Backend:
    """Import a backend.

    Parameters
    ----------
    name : {"cython", "numba", "numpy"}

    Raises
    ------
    ValueError
        For an unknown name; lists the nearest and all names.
    ImportError
        If the backend is not part of this installation.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend: got {name!r}, expected a name; known: {', '.join(BACKENDS)}")
    module = get(BACKENDS, name, kind="backend")
    try:
        return cast(Backend, importlib.import_module(module))
    except ImportError as error:
        raise ImportError(f"backend {name!r} cannot be imported ({error}); {REMEDIES[name]}") from error


def available_backends() -> list[str]:
    """Names of the backends that can be imported here."""
    available = []
    for name in BACKENDS:
        try:
            get_backend(name)
        except ImportError:
            continue
        available.append(name)
    return available
