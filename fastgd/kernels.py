"""The kernels on plain arrays: one layer forward and backward, a loss with its gradient, an optimizer's step.

Arrays are float32 or float64, all of one dtype, and so are the results. Inputs may be read-only and of any strides
(what is not C-contiguous is copied); an array to write to is C-contiguous, writeable, and shares no memory with the
others. `CONTRACTS` has the shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._formula import Activation, Loss, OptimizerRule
from ._kernels import get_backend
from ._kernels.contracts import CONTRACTS
from .errors import refusal
from .inputs import read_activation, read_count, read_loss_of, read_targets, read_weights
from .optimizers import Optimizer, resolve

if TYPE_CHECKING:
    from ._kernels import Array

__all__ = ["CONTRACTS", "dense_backward", "dense_forward", "loss_gradient", "parameter_update"]


def dense_forward(
    x: Array,
    w: Array,
    b: Array,
    activation: str | Activation = "linear",
    *,
    out: Array | None = None,
    kept: Array | None = None,
    backend: str = "cython",
) -> Array:
    """a = f(z) with z = x w + b.

    Contract: ``x[N,I] w[I,O] b[O] -> out[N,O] kept[N,O]?``

    Parameters
    ----------
    x : ndarray of shape (N, I)
    w : ndarray of shape (I, O)
    b : ndarray of shape (O,)
    activation : str or Activation
        f.
    out : ndarray of shape (N, O), optional
        Receives a.
    kept : ndarray of shape (N, O), optional
        Receives what `dense_backward` needs: a or z, whichever the derivative of f is a formula of.
    backend : {"cython", "numba", "numpy"}

    Returns
    -------
    ndarray of shape (N, O)
        `out`, if given.

    Raises
    ------
    TypeError
        If something is no array, or the dtypes are not the same float32 or float64.
    ValueError
        If shapes do not fit, a name is not known, or `out` or `kept` is read-only, not C-contiguous, or overlaps
        another array.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> x, w, b = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([0.5, 0.5])
    >>> fg.kernels.dense_forward(x, w, b, "relu", backend="numpy")
    array([[1.5, 0. ]])
    """
    contract, chosen = CONTRACTS["dense_forward"], read_activation(activation)
    given, sizes = contract.read(x=x, w=w, b=b)
    outs = contract.write(given, sizes, out=out, kept=kept)
    get_backend(backend).dense_forward(given["x"], given["w"], given["b"], chosen, outs["out"], outs["kept"])
    result: Array = outs["out"]
    return result


def dense_backward(
    x: Array,
    w: Array,
    kept: Array,
    d_out: Array,
    activation: str | Activation = "linear",
    *,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
    backend: str = "cython",
) -> tuple[Array, Array, Array]:
    """Gradients of a layer: dz = d_out f'(kept), then dx = dz w^T, dw = x^T dz, db = the sum of dz over rows.

    Contract: ``x[N,I] w[I,O] kept[N,O] d_out[N,O] -> dx[N,I] dw[I,O] db[O]``

    Parameters
    ----------
    x : ndarray of shape (N, I)
    w : ndarray of shape (I, O)
    kept : ndarray of shape (N, O)
        From `dense_forward`.
    d_out : ndarray of shape (N, O)
        Gradient by the layer's output; it stays as it is.
    activation : str or Activation
        f.
    out : tuple of three ndarrays or None, optional
        Receive dx, dw and db.
    backend : {"cython", "numba", "numpy"}

    Returns
    -------
    dx : ndarray of shape (N, I)
    dw : ndarray of shape (I, O)
    db : ndarray of shape (O,)

    Raises
    ------
    TypeError
        If something is no array, or the dtypes are not the same float32 or float64.
    ValueError
        If shapes do not fit, a name is not known, or an array of `out` is read-only, not C-contiguous, or overlaps
        another array.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> x, w, a = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([[11.0]])
    >>> dx, dw, db = fg.kernels.dense_backward(x, w, a, np.array([[1.0]]), "relu", backend="numpy")
    >>> dx, dw.T, db
    (array([[3., 4.]]), array([[1., 2.]]), array([1.]))
    """
    contract, chosen = CONTRACTS["dense_backward"], read_activation(activation)
    given, sizes = contract.read(x=x, w=w, kept=kept, d_out=d_out)
    out = (None, None, None) if out is None else out
    if not isinstance(out, tuple) or len(out) != 3:
        got = f"{len(out)} arrays" if isinstance(out, Sequence) else f"a {type(out).__name__}"
        raise TypeError(refusal("dense_backward: out", got, "a tuple (dx, dw, db)", "pass None for what is not there"))
    outs = contract.write(given, sizes, **dict(zip(("dx", "dw", "db"), out, strict=True)))
    get_backend(backend).dense_backward(
        given["x"], given["w"], given["kept"], given["d_out"], chosen, outs["dx"], outs["dw"], outs["db"]
    )
    return outs["dx"], outs["dw"], outs["db"]


def loss_gradient(
    scores: Array,
    targets: Any,
    loss: str | Loss,
    sample_weight: Any = None,
    out: Array | None = None,
    *,
    backend: str = "cython",
) -> tuple[float, Array]:
    """The loss sum(w_i l_i) / sum(w_i), the mean over outputs too, and its gradient by the scores.

    Contract: ``scores[N,O] targets[N,T]|[N]:label(O) sample_weight[N]:float64? -> out[N,O]``

    Parameters
    ----------
    scores : ndarray of shape (N, O)
    targets : array_like of shape (N, O) or, for labels, (N,)
        Of the kind that the loss takes; real numbers are cast to the dtype of the scores. A loss that has several
        outputs for each target takes as many columns fewer.
    loss : str or Loss
    sample_weight : array_like of shape (N,), optional
        w; all 1 by default.
    out : ndarray of shape (N, O), optional
        Receives the gradient.
    backend : {"cython", "numba", "numpy"}

    Returns
    -------
    loss : float
    d_scores : ndarray of shape (N, O)
        `out`, if given.

    Raises
    ------
    TypeError
        If something is no array, or of a dtype that cannot be used.
    ValueError
        If shapes do not fit, targets or weights are out of range, a name is not known, or `out` is read-only, not
        C-contiguous, or overlaps another array.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> scores = np.array([[1.0], [3.0]])
    >>> fg.kernels.loss_gradient(scores, [[0.0], [1.0]], "half_squared_error", backend="numpy")
    (1.25, array([[0.5],
           [1. ]]))
    """
    contract, module = CONTRACTS["loss_gradient"], get_backend(backend)
    scores = contract.read_one("scores", scores)
    n_rows, n_outputs = scores.shape
    chosen = read_loss_of(n_outputs, loss, "columns of scores")
    rows = read_targets(targets, chosen, n_rows, n_outputs, scores.dtype, module.first_nonfinite, "targets")
    weights = read_weights(sample_weight, None, rows, chosen, n_outputs)
    given, sizes = contract.read(scores=scores, targets=rows, sample_weight=weights)
    d_scores: Array = contract.write(given, sizes, out=out)["out"]
    return module.loss_gradient(scores, rows, chosen, weights, d_scores), d_scores


def parameter_update(
    w: Array,
    g: Array,
    states: Sequence[Array],
    optimizer: str | Optimizer | OptimizerRule,
    step: int = 1,
    *,
    backend: str = "cython",
) -> None:
    """One step of an optimizer, in place on `w` and `states`; `w` is taken for weights, which decay if any do.

    Contract: ``w[...] g[...] states[...]* -> w[...] states[...]*``

    Parameters
    ----------
    w, g : ndarray of any shape
        Parameters and their gradient.
    states : sequence of ndarray
        One for each of ``optimizer.rule.states``, shaped like `w`; before the first step filled as
        ``optimizer.initial_states()`` says, which mostly is with zeros.
    optimizer : str, Optimizer or OptimizerRule
    step : int
        Number of the step, from 1.
    backend : {"cython", "numba", "numpy"}

    Raises
    ------
    TypeError
        If something is no array, or the dtypes are not the same float32 or float64.
    ValueError
        If shapes do not fit, there are too many or too few states, a name is not known, or an array is read-only,
        not C-contiguous, or overlaps another; or if the optimizer has `clip_norm`, `ema`, `average` or `accumulate`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> w, b = np.array([1.0, 2.0]), np.zeros(2)
    >>> fg.kernels.parameter_update(w, np.ones(2), [b], fg.SGD(0.5, momentum=0.9), backend="numpy")
    >>> w, b
    (array([0.5, 1.5]), array([1., 1.]))
    """
    contract, chosen = CONTRACTS["parameter_update"], resolve(optimizer)
    given, _ = contract.read(w=w, g=g, states=states)
    if len(states) != len(chosen.rule.states):
        expected = f"{len(chosen.rule.states)} ({', '.join(chosen.rule.states) or 'none'}) for {chosen!r}"
        remedy = "pass [np.zeros_like(w)] with one array for each"
        raise ValueError(refusal("parameter_update: states", f"{len(states)} arrays", expected, remedy))
    if chosen.averages or chosen.clip_norm != math.inf or chosen.accumulate > 1:
        expected = "one without clip_norm, ema, average and accumulate, which are of a whole model"
        remedy = "scale g by the norm of all gradients, and average w, yourself"
        raise ValueError(refusal("parameter_update: optimizer", repr(chosen), expected, remedy))
    scalars = chosen.scalars(read_count("parameter_update: step", step, "the first step is 1"), 1)[0]
    of_weights = scalars[: len(chosen.rule.scalars)]
    get_backend(backend).parameter_update(given["w"], given["g"], given["states"], chosen.rule, of_weights)
