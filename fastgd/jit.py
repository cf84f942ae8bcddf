"""A model inside code that is compiled itself: Numba's nopython functions, C, Cython.

What these functions give reads and changes the weights of the model itself, through the engine, without a copy and
without Python. They are for loops whose body is small: a step of a simulation, a move in a game, a sample of a stream.

Compiled code holds the address of a model's memory, so a model that was once given here is kept as long as the process.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import refusal
from .inputs import read_count, read_flag
from .model import Sequential
from .optional import import_optional

if TYPE_CHECKING:
    from ._kernels import Array

__all__ = ["Predictor", "Trainer", "capsule", "get_include", "predictor", "trainer"]

MOST_ROWS = 512


class _Compiled:
    """What can be called from Python, and from nopython functions as the function that it holds."""

    def __init__(self, model: Sequential, function: Any) -> None:
        self.model = model
        self.function = function

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of {self.model!r}>"


class Predictor(_Compiled):
    """``predict(x, out)``, for nopython functions and for Python; see `predictor`, which makes it.

    Parameters
    ----------
    model : Sequential
    function : callable
        What Numba compiles calls of it to.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(2, initializer="zeros")], loss="softmax_cross_entropy").build(3)
    >>> predict, out = fg.jit.predictor(model), np.empty(2, np.float32)
    >>> predict(np.ones(3, np.float32), out)
    >>> out
    array([0.5, 0.5], dtype=float32)
    """

    def __call__(self, x: Array, out: Array) -> None:
        """Write to `out` what the model makes of `x`."""
        self.function(x, out)


class Trainer(_Compiled):
    """``train(x, targets)`` or ``train(x, targets, weights)``, for nopython functions and for Python; see `trainer`.

    Parameters
    ----------
    model : Sequential
    function : callable
        What Numba compiles calls of it to.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1, initializer="zeros")], loss="half_squared_error").build(1)
    >>> train = fg.jit.trainer(model)
    >>> train(np.array([[2.0]], np.float32), np.array([[3.0]], np.float32))
    4.5
    """

    def __call__(self, x: Array, targets: Array, weights: Array | None = None) -> float:
        """Do one step; gives the loss before it."""
        loss: float = self.function(x, targets, weights)
        return loss


def predictor(model: Sequential, *, raw: bool = False) -> Predictor:
    """The forward pass of a model as a function for nopython code.

    Needs Numba: ``pip install "fastgd[jit]"``.

    Parameters
    ----------
    model : Sequential
        Of backend ``"cython"``, built.
    raw : bool
        Whether to leave the loss's link out and give scores.

    Returns
    -------
    Predictor
        ``predict(x, out)``: `x` of shape (n_inputs,) or (n, n_inputs), `out` of shape (n_outputs,) or (n, n_outputs),
        both C-contiguous and of the model's dtype. It may be used in a nopython function as a global, a variable
        of the enclosing function, or an argument, and by any number of threads at a time.

    Raises
    ------
    NotBuiltError
    ImportError
        If Numba is not installed.
    ValueError, TypeError
        If the model is of another backend or has layers of more than 128 KB a row; for shapes that do not fit, from
        where it is called; and from Numba, when it compiles, for other dtypes.

    Notes
    -----
    The weights are the model's own at the time of the call. After ``model.build``, or when the model was given another
    optimizer, `out` is filled with NaNs: ask for another predictor then.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(8, activation="tanh"), fg.Dense(1)]).build(2)
    >>> slope = fg.jit.predictor(model)
    >>> @numba.njit
    ... def follow(x, n_steps):
    ...     out = np.empty(1, np.float32)
    ...     for _ in range(n_steps):
    ...         slope(x, out)
    ...         x[0] += np.float32(0.1) * out[0]
    ...     return x
    >>> follow(np.ones(2, np.float32), 3).shape
    (2,)
    """
    numba = _numba("fg.jit.predictor")
    embedded = _embedded(model)
    link = not read_flag("raw", raw)
    address, function = embedded.address, embedded.predict_address
    n_inputs, n_outputs, *_ = embedded.shape
    call = _calls().predict(model.dtype.name)

    @numba.njit(nogil=True)
    def predict(x: Any, out: Any) -> None:
        if x.shape[-1] != n_inputs or out.shape[-1] != n_outputs or x.size * n_outputs != out.size * n_inputs:
            raise ValueError("predict: the shapes of x and out are not (n, n_inputs) and (n, n_outputs) of the model")
        call(function, address, x, x.size // n_inputs, link, out)

    return Predictor(model, predict)


def trainer(model: Sequential, *, most_rows: int = MOST_ROWS) -> Trainer:
    """The training step of a model as a function for nopython code.

    Needs Numba: ``pip install "fastgd[jit]"``.

    Parameters
    ----------
    model : Sequential
        Of backend ``"cython"``, built, with a loss and an optimizer that takes steps.
    most_rows : int
        The most rows of a step: memory is reserved for them.

    Returns
    -------
    Trainer
        ``train(x, targets)`` or ``train(x, targets, weights)`` does one step on all the rows given, and gives the loss
        before it, penalties included: `x` of shape (n, n_inputs), `targets` of shape (n,) and dtype intp for a loss
        over classes and otherwise (n, n_targets) of the model's dtype, `weights` of shape (n,) and float64, all
        C-contiguous. It may be used as a `Predictor` may, but by one thread at a time, and not while another
        uses the model from Python.

    Raises
    ------
    NotBuiltError
    ImportError
        If Numba is not installed.
    ValueError, TypeError
        If the model has no loss, is of another backend or cannot be trained step by step; for shapes that do not fit,
        from where it is called; and from Numba, when it compiles, for other dtypes.
    ArithmeticError
        From where it is called, if the loss or a weight would become infinite or NaN; the weights stay finite.

    Notes
    -----
    A step is that of ``model.train_on_batch``, of one thread, and counts as one: what is trained here and what is
    trained from Python follow each other as if there were one loop. Values are not looked at beforehand: labels must be
    in range and numbers finite. The learning rates of the next 1,024 steps are worked out at a time, which takes the
    interpreter for a moment; one that is set on ``model.optimizer`` holds once the model has been used from Python.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.1)).build(1)
    >>> train = fg.jit.trainer(model)
    >>> @numba.njit
    ... def learn(n_steps):
    ...     x, y = np.empty((1, 1), np.float32), np.empty((1, 1), np.float32)
    ...     for k in range(n_steps):
    ...         x[0, 0] = np.float32(k % 5) / np.float32(2.0) - np.float32(1.0)
    ...         y[0, 0] = np.float32(3.0) * x[0, 0]
    ...         loss = train(x, y)
    ...     return loss
    >>> learn(500) < 1e-6
    True
    >>> model.n_steps_done
    500
    """
    numba = _numba("fg.jit.trainer")
    most_rows = read_count("most_rows", most_rows, "pass the most rows that a step will have")
    embedded = _embedded(model)
    if model.loss is None or model.optimizer.rule is None:
        got = "no loss" if model.loss is None else f"{model.optimizer!r}, which needs all rows at once"
        expected = "a loss and an optimizer that takes steps"
        remedy = 'pass for example loss="mean_squared_error", optimizer="adam"'
        raise ValueError(refusal("trainer: model", f"one with {got}", expected, remedy))
    embedded.reserve(most_rows)
    address, function = embedded.address, embedded.train_address
    n_inputs, _, n_targets, takes_labels = embedded.shape
    call, per_row = _calls().train(model.dtype.name, takes_labels), 1 if takes_labels else n_targets

    @numba.njit(nogil=True)
    def train(x: Any, targets: Any, weights: Any = None) -> float:
        n_rows = len(x)
        if x.shape[-1] != n_inputs or targets.size != n_rows * per_row:
            raise ValueError("train: the shapes of x and targets are not (n, n_inputs) and (n, n_targets) of the model")
        if weights is not None and len(weights) != n_rows:
            raise ValueError("train: there is not one weight for each row")
        status, loss = call(function, address, x, targets, weights, n_rows)
        if status == 1 or status == 2:
            raise ArithmeticError("train: the loss or a weight would become infinite or NaN; lower the learning rate")
        if status == 3:
            raise ValueError("train: too many rows: pass most_rows to fg.jit.trainer; or one, for batch normalisation")
        if status == 4:
            raise ValueError("train: the model has been built again, or has another optimizer; ask for another trainer")
        if status == 5:
            raise ValueError("train: the optimizer's scalars could not be computed, for the reason that was printed")
        return loss

    return Trainer(model, train)


def capsule(model: Sequential, *, most_rows: int = MOST_ROWS) -> Any:
    """A model as a C struct, for code in C, Cython or any language that reads a PyCapsule. Needs no Numba.

    Parameters
    ----------
    model : Sequential
        Of backend ``"cython"``, built.
    most_rows : int
        The most rows of a training step; ignored without a loss and an optimizer that takes steps.

    Returns
    -------
    PyCapsule
        Named ``"fastgd.model"``; its pointer is a ``fastgd_model *``, described in the header ``fastgd.h`` in the
        folder that `get_include` names. In Cython, ``from fastgd cimport fastgd_model``.

    Raises
    ------
    NotBuiltError
    ValueError, TypeError
        If the model is of another backend.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.jit.capsule(fg.Sequential([fg.Dense(1)]).build(2))  # doctest: +ELLIPSIS
    <capsule object "fastgd.model" at ...>
    """
    most_rows = read_count("most_rows", most_rows, "pass the most rows that a step will have")
    embedded = _embedded(model)
    if model.loss is not None and model.optimizer.rule is not None:
        embedded.reserve(most_rows)
    return embedded.capsule()


def get_include() -> str:
    """The folder of ``fastgd.h``, for a compiler's ``-I`` or an extension's ``include_dirs``.

    Returns
    -------
    str

    Examples
    --------
    >>> import os
    >>> import fastgd as fg
    >>> os.listdir(fg.jit.get_include())
    ['fastgd.h']
    """
    return str(Path(__file__).parent / "include")


# Compiled code may outlive every name that it was called by, so what it points to is never freed.
_kept: list[Any] = []


def _embedded(model: Any) -> Any:
    if not isinstance(model, Sequential):
        raise TypeError(refusal("model", repr(model), "a Sequential", "pass one with backend='cython' that is built"))
    if model.optimizer.averages:
        expected = "one without: averages are brought up to date in Python"
        remedy = "pass a second model, with set_weights(model.get_weights(averaged=True))"
        raise ValueError(refusal("model", f"one that predicts by averages, {model.optimizer!r}", expected, remedy))
    embedded = model._embedded()
    if not any(embedded is kept for kept in _kept):
        _kept.append(embedded)
    return embedded


@functools.cache
def _numba(wanted_by: str) -> Any:
    """Numba, which from now on takes a predictor or a trainer for the function that it holds."""
    numba = import_optional("numba", wanted_by)
    from numba.extending import typeof_impl

    @typeof_impl.register(_Compiled)
    def _typeof_compiled(value: _Compiled, context: Any) -> Any:
        return typeof_impl(value.function, context)

    return numba


def _calls() -> Any:
    from ._kernels import calls

    return calls
