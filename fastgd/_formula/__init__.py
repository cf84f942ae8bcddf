"""The formula language: declarations of what happens to one element, and their renderers.

Importing this package imports neither NumPy nor Numba: the build renders formulas to C before either is
needed.
"""

from __future__ import annotations

from .declare import (
    ACTIVATIONS,
    LOSSES,
    OPTIMIZERS,
    Activation,
    Loss,
    OptimizerRule,
    RestrainedRule,
    activation,
    get,
    loss,
    optimizer,
    rowwise_loss,
)
from .language import Formula, FormulaError, exp, expm1, log, log1p, maximum, minimum, sqrt, tanh

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "OPTIMIZERS",
    "Activation",
    "Formula",
    "FormulaError",
    "Loss",
    "OptimizerRule",
    "RestrainedRule",
    "activation",
    "exp",
    "expm1",
    "get",
    "log",
    "log1p",
    "loss",
    "maximum",
    "minimum",
    "optimizer",
    "rowwise_loss",
    "sqrt",
    "tanh",
]
