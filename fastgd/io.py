"""Models from files, and weights in the layouts of other libraries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .model import Sequential

if TYPE_CHECKING:
    from .optimizers import Optimizer

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    *,
    optimizer: str | Optimizer | None = None,
    backend: str | None = None,
    max_bytes: int = 1 << 32,
) -> Sequential:
    """Read a model that `Sequential.save` has written.

    Needs the safetensors library: ``pip install "fastgd[io]"``.

    Parameters
    ----------
    path : path
    optimizer : str or Optimizer, optional
        In place of the one in the file, whose state it takes over; for a learning rate that is a function.
    backend : {"cython", "numpy"}, optional
        In place of the one in the file.
    max_bytes : int
        The largest file to read.

    Returns
    -------
    Sequential
        As it was saved: it predicts the same bits, and trains on to the same bits as the one that was saved.

    Raises
    ------
    FileNotFoundError
    ImportError
        If safetensors is not installed.
    ValueError
        If the file is of another program, damaged, larger than `max_bytes` or of a later format; if it has keys,
        shapes, dtypes or numbers that cannot be; if it says that there was a function, or something of your own that
        is not declared in this process.

    Notes
    -----
    Nothing in the file is executed, and no name in it is imported: it is numbers, and names of fastgd's own classes.
    Everything is checked before memory is taken for a tensor.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.load("model.safetensors")  # doctest: +SKIP
    """
    given = {name: value for name, value in (("optimizer", optimizer), ("backend", backend)) if value is not None}
    return Sequential._load(path, max_bytes, given)
