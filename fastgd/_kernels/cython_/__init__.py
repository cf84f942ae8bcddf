"""The compiled backend: schedules in Cython over kernels in C, ready at import."""

from .arrays import first_nonfinite, instruction_set, instruction_set_names, permutation, uniform
from .linear import LinearDescent, xorshift_permutation
from .network import Network
from .plain import dense_backward, dense_forward, loss_gradient, parameter_update

__all__ = [
    "LinearDescent",
    "Network",
    "dense_backward",
    "dense_forward",
    "first_nonfinite",
    "instruction_set",
    "instruction_set_names",
    "loss_gradient",
    "parameter_update",
    "permutation",
    "uniform",
    "xorshift_permutation",
]
