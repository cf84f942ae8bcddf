"""Libraries that are used if they are there: what each is for, and what to type where one is missing."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

__all__ = ["OPTIONAL_PARTS", "OptionalPart", "import_optional"]


@dataclass(frozen=True)
class OptionalPart:
    """A library that fastgd can do without.

    Attributes
    ----------
    extra : str
        The extra of fastgd that brings it.
    module : str
        What is imported.
    purpose : str
    """

    extra: str
    module: str
    purpose: str

    @property
    def command(self) -> str:
        """What to type to install it."""
        return f'pip install "fastgd[{self.extra}]"'


OPTIONAL_PARTS = {
    "numba": OptionalPart("jit", "numba", "formulas of your own, compiled"),
    "scipy": OptionalPart("scipy", "scipy", "L-BFGS"),
    "scikit-learn": OptionalPart("sklearn", "sklearn", "estimators"),
    "safetensors": OptionalPart("io", "safetensors", "saving and loading models"),
    "onnx": OptionalPart("onnx", "onnx", "model.to_onnx"),
    "matplotlib": OptionalPart("plot", "matplotlib", "pictures"),
    "rich": OptionalPart("progress", "rich", "progress bars"),
    "mpi4py": OptionalPart("mpi", "mpi4py", "training on several machines"),
}
"""By the name of the distribution."""


def import_optional(module: str, wanted_by: str) -> ModuleType:
    """Import an optional library, or one of its modules.

    Parameters
    ----------
    module : str
        Such as ``"matplotlib.pyplot"``; its library is one of `OPTIONAL_PARTS`.
    wanted_by : str
        What the user has called.

    Raises
    ------
    ImportError
        If the library is not installed; says what to type.

    Examples
    --------
    >>> import_optional("mpi4py", "fg.spread")  # doctest: +SKIP
    Traceback (most recent call last):
    ...
    ImportError: fg.spread needs mpi4py, which is not installed; type: pip install "fastgd[mpi]"
    """
    library = module.partition(".")[0]
    [(name, part)] = [(name, part) for name, part in OPTIONAL_PARTS.items() if part.module == library]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # A library that is there but broken has something of its own to say.
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        message = f"{wanted_by} needs {name}, which is not installed; type: {part.command}"
        raise ImportError(message, name=library) from None
