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
from .language import (
    Formula,
    FormulaError,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    normal_cdf,
    sin,
    sqrt,
    tanh,
)

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
    "cos",
    "erf",
    "exp",
    "expm1",
    "get",
    "log",
    "log1p",
    "loss",
    "maximum",
    "minimum",
    "normal_cdf",
    "optimizer",
    "rowwise_loss",
    "sin",
    "sqrt",
    "tanh",
]
