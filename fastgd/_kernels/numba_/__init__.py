"""Backend ``numba``: schedules in Numba over tiles in LLVM's vector code, compiled when they are first wanted.

Importing it imports llvmlite; Numba, when something has to be compiled that was not compiled before.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("numba") is None:
    raise ImportError("numba is not installed", name="numba")

from ..random import permutation, uniform
from .linear import LinearDescent, xorshift_permutation
from .network import Network
from .objects import instruction_set
from .plain import dense_backward, dense_forward, first_nonfinite, loss_gradient, parameter_update

__all__ = [
    "LinearDescent",
    "Network",
    "dense_backward",
    "dense_forward",
    "first_nonfinite",
    "instruction_set",
    "loss_gradient",
    "parameter_update",
    "permutation",
    "uniform",
    "xorshift_permutation",
]
