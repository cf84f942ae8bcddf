"""The kernels on plain arrays: one layer forward and backward, a loss with its gradient, an optimizer's step.

Arrays are float32 or float64, all of one dtype, and the result has it too. Inputs may be read-only and of any
strides (what is not C-contiguous is copied); an array to write to is C-contiguous, writeable and shares no memory
with the others. `fastgd.kernels.CONTRACTS` has the shapes as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import inputs
from . import losses as _losses  # noqa: F401  (fills the registry of losses)
from ._formula import LOSSES, Activation, Loss, get
from ._kernels import get_backend
from ._kernels.contracts import CONTRACTS
from .activations import linear
from .errors import refusal
from .layers import read_activation
from .optimizers import Optimizer
from .training import read_optimizer

if TYPE_CHECKING:
    from ._kernels.backend import Array

__all__ = ["CONTRACTS", "dense_backward", "dense_forward", "loss_gradient", "parameter_update"]
