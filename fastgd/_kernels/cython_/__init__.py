"""The compiled backend: schedules in Cython over kernels in C, ready at import."""

from .arrays import first_nonfinite, instruction_set_name, instruction_set_names, permutation, uniform
from .network import Network

__all__ = ["Network", "first_nonfinite", "instruction_set_name", "instruction_set_names", "permutation", "uniform"]
