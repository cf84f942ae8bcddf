"""`minimize`: every optimizer and schedule on any function of a vector."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._formula.interval import check
from ._kernels import get_backend
from .differences import central_gradient, forward_gradient
from .errors import refusal
from .inputs import read_count, read_flag, real_array
from .methods import CONVERGED, NO_PROGRESS, OUT_OF_ITERATIONS, STOPPED, Method, Outcome, resolve
from .optimizers import Adam, Optimizer
from .training import StepScalars

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._formula import OptimizerRule
    from ._kernels import Array

__all__ = ["Result", "minimize"]

DEFAULT_OPTIMIZER = Adam(0.1)

DIFFERENCES = ("2-point", "3-point")


class Result(dict[str, Any]):
    """What `minimize` found; its entries are attributes too, as in SciPy's OptimizeResult.

    Attributes
    ----------
    x : ndarray of float64
        Where it ended: the last point, or the best one for methods that search.
    fun : float
        The function there.
    jac : ndarray or None
        The gradient there; None for methods that do without.
    nit : int
        Iterations.
    nfev, njev : int
        Evaluations of the function, those for finite differences included, and of `jac`.
    success : bool
        Whether it converged.
    status : int
        0, converged; 1, `max_iter` reached; 2, no progress was possible, or the function became infinite or NaN;
        3, stopped by the callback.
    message : str
        The same in words.
    path, path_fun : ndarray of shape (nit + 1, n) and (nit + 1,)
        All points and values, from `x0` on; only with ``record=True``.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a Result has no {name!r}, but {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:>{width}}: {value}" for name, value in self.items())


class Function:
    """The user's function as methods ask for it: checked, counted, with whatever gradient there is."""

    def __init__(self, fun: Callable[..., Any], jac: Any, args: tuple[Any, ...]) -> None:
        self.fun, self.jac, self.args = fun, jac, args
        self.nfev = self.njev = 0

    def value(self, x: Array) -> float:
        """The value at x; a copy is handed out, so that whatever is done to it is of no consequence."""
        self.nfev += 1
        given = self.fun(x.copy(), *self.args)
        return self._number(given[0] if self.jac is True else given)

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        """The value and the gradient at x."""
        if self.jac is True:
            self.nfev += 1
            self.njev += 1
            value, gradient = self._both(self.fun(x.copy(), *self.args))
            return self._number(value), self._vector(gradient, x)
        value = self.value(x)
        if callable(self.jac):
            self.njev += 1
            return value, self._vector(self.jac(x.copy(), *self.args), x)
        if self.jac == "2-point":
            return value, forward_gradient(self.value, x, value)
        return value, central_gradient(self.value, x)

    @staticmethod
    def _both(given: Any) -> tuple[Any, Any]:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            expected = "a tuple (value, gradient), for jac=True"
            remedy = "pass jac=None if it has none"
            raise TypeError(refusal("minimize: what fun returned", repr(given), expected, remedy))
        return given[0], given[1]

    @staticmethod
    def _number(given: Any) -> float:
        array = np.asarray(given)
        if array.size != 1 or array.dtype.kind not in "fiub":
            got = f"an array of shape {array.shape}" if array.size != 1 else repr(given)
            remedy = "sum up what is to be minimised"
            raise TypeError(refusal("minimize: what fun returned", got, "a real number", remedy))
        return float(array.reshape(-1)[0])

    @staticmethod
    def _vector(given: Any, x: Array) -> Array:
        array = np.asarray(given)
        if array.shape != x.shape or array.dtype.kind not in "fiub":
            got = f"shape {array.shape} and dtype {array.dtype}"
            expected = f"real numbers of shape {x.shape}, like x"
            raise ValueError(refusal("minimize: the gradient", got, expected, "return one derivative for each of x"))
        return np.array(array, np.float64)


class Recorder:
    """Keeps the path, if it is wanted, and tells the callback."""

    def __init__(self, callback: Callable[..., Any] | None, keep: bool) -> None:
        self.callback, self.keep = callback, keep
        self.path: list[Array] = []
        self.values: list[float] = []
        self.takes_result = callback is not None and _takes_result(callback)

    def start(self, x: Array, value: float) -> None:
        """The point before the first iteration."""
        if self.keep:
            self.path.append(x.copy())
            self.values.append(value)

    def after(self, x: Array, value: float, gradient: Array | None) -> bool:
        """An iteration; says whether the callback wants to stop."""
        self.start(x, value)
        if self.callback is None:
            return False
        try:
            if self.takes_result:
                self.callback(intermediate_result=Result(x=x.copy(), fun=value, jac=gradient))
            else:
                self.callback(x.copy())
        except StopIteration:
            return True
        return False


def _takes_result(callback: Callable[..., Any]) -> bool:
    """Whether its only parameter has the name by which SciPy knows callbacks that want more than x."""
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):
        return False


def minimize(
    fun: Callable[..., Any],
    x0: npt.ArrayLike,
    jac: Callable[..., Any] | bool | str | None = None,
    optimizer: str | Optimizer | OptimizerRule | Method = DEFAULT_OPTIMIZER,
    max_iter: int = 1000,
    tol: float = 1e-8,
    callback: Callable[..., Any] | None = None,
    record: bool = False,
    *,
    args: tuple[Any, ...] = (),
    backend: str = "cython",
    **unsupported: Any,
) -> Result:
    """Minimise a function of a vector by any optimizer, with its schedule, weight decay and clipping.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` gives a number; with ``jac=True``, a tuple of the number and the gradient.
    x0 : array_like of shape (n,)
        Where to begin. Everything is computed in float64.
    jac : callable, True, "2-point", "3-point" or None
        ``jac(x, *args)`` gives the gradient, of shape (n,). "3-point" and None take central differences, from 2 n
        values; "2-point" takes forward differences, from n, which have half of the digits.
    optimizer : str, Optimizer, OptimizerRule, LBFGS, RandomSearch or CoordinateSearch
    max_iter : int
        Iterations at most; for an optimizer these are steps.
    tol : float
        Converged when no component of the gradient is larger than this in size.
    callback : callable, optional
        Called after each iteration with a copy of x, or, if its only parameter is called ``intermediate_result``, with
        a `Result` of x, fun and jac. Ends the search by raising StopIteration.
    record : bool
        Whether to keep all points.
    args : tuple
        Handed to `fun` and `jac`.
    backend : {"cython", "numpy"}
        Which makes the steps. A rule of your own needs "numpy".
    **unsupported
        What `scipy.optimize.minimize` hands over (hess, hessp, bounds, constraints), which must be without content.

    Returns
    -------
    Result
        With the entries x, fun, jac, nit, nfev, njev, success, status, message; and path and path_fun if asked for.

    Raises
    ------
    ValueError, TypeError
        For arguments, or returned values, that are refused.

    Notes
    -----
    Optimizers follow gradients wherever they lead, so the last point need not be the lowest on the way. Where the
    function becomes infinite or NaN, the last finite point is returned.

    With SciPy: ``scipy.optimize.minimize(fun, x0, method=fg.minimize, options={"optimizer": fg.Adam(0.1)})``.

    Examples
    --------
    >>> import fastgd as fg
    >>> def rosenbrock(x):
    ...     return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2
    >>> found = fg.minimize(rosenbrock, [-1.0, 1.0], optimizer=fg.Adam(0.05), max_iter=5000)
    >>> found.x.round(4), found.success
    (array([1., 1.]), True)
    """
    _refuse_unsupported(unsupported)
    x = _read_start(x0)
    function = Function(fun, _read_jac(fun, jac), args)
    chosen = resolve(optimizer)
    n_iterations = read_count("minimize: max_iter", max_iter, "pass max_iter=1000")
    tol = check("minimize: tol", tol, "[0, inf)")
    recorder = Recorder(callback, read_flag("record", record))
    if isinstance(chosen, Method):
        value = function.value(x)
        _refuse_start(value, x)
        recorder.start(x, value)
        outcome = chosen.run(function, x, n_iterations, tol if chosen.tol is None else chosen.tol, recorder.after)
    else:
        outcome = _Descent(function, chosen, tol, recorder, backend).run(x, n_iterations)
    result = Result(
        x=outcome.x,
        fun=outcome.fun,
        jac=outcome.jac,
        nit=outcome.n_iterations,
        nfev=function.nfev,
        njev=function.njev,
        success=outcome.status == CONVERGED,
        status=outcome.status,
        message=outcome.message,
    )
    if record:
        result.update(path=np.array(recorder.path), path_fun=np.array(recorder.values))
    return result


class _Descent:
    """Steps of an optimizer along the gradients of a function."""

    def __init__(self, function: Function, optimizer: Optimizer, tol: float, recorder: Recorder, backend: str) -> None:
        self.function, self.optimizer, self.tol, self.recorder = function, optimizer, tol, recorder
        if optimizer.averages:
            remedy = "average what record=True keeps"
            raise ValueError(refusal("minimize: optimizer", repr(optimizer), "one without ema and average", remedy))
        self.scalars = StepScalars(optimizer)
        self.update = get_backend(backend).parameter_update

    def run(self, x: Array, n_iterations: int) -> Outcome:
        """From x on."""
        x = x.copy()
        states = [np.full_like(x, initial) for initial in self.optimizer.initial_states().values()]
        value, gradient = self.function.value_and_gradient(x)
        _refuse_start(value, gradient)
        self.recorder.start(x, value)
        for done in range(n_iterations):
            largest = float(abs(gradient).max())
            if largest <= self.tol:
                message = f"the largest component of the gradient is {largest:.2g}, at most tol={self.tol:g}"
                return Outcome(x, value, gradient, done, CONVERGED, message)
            before = x.copy()
            self._step(x, gradient.copy(), states, done + 1)
            next_value, next_gradient = self.function.value_and_gradient(x)
            if not _finite(next_value, next_gradient):
                message = (
                    f"the function became infinite or NaN in iteration {done + 1}, learning rate "
                    f"{self.optimizer.learning_rate_at(done + 1):g}; try a smaller one"
                )
                return Outcome(before, value, gradient, done, NO_PROGRESS, message)
            value, gradient = next_value, next_gradient
            if self.recorder.after(x, value, gradient):
                return Outcome(x, value, gradient, done + 1, STOPPED, "stopped by the callback")
        largest = float(abs(gradient).max())
        status = CONVERGED if largest <= self.tol else OUT_OF_ITERATIONS
        message = f"max_iter={n_iterations} reached; the largest component of the gradient is {largest:.2g}"
        return Outcome(x, value, gradient, n_iterations, status, message)

    def _step(self, x: Array, gradient: Array, states: list[Array], step: int) -> None:
        """In place on x and the states; where the optimizer spares biases, x is taken for weights."""
        optimizer, n_scalars = self.optimizer, len(self.optimizer.rule.scalars)
        norm = float(np.linalg.norm(gradient)) + optimizer.clip_slack
        if norm > optimizer.clip_norm:
            gradient *= optimizer.clip_norm / norm
        self.update(x, gradient, states, optimizer.rule, self.scalars.row(step)[0, :n_scalars])


def _finite(value: float, gradient: Array) -> bool:
    return bool(np.isfinite(value) and np.isfinite(gradient).all())


def _refuse_start(value: float, gradient: Array) -> None:
    if not _finite(value, gradient):
        what = "the function" if not np.isfinite(value) else "a component of its gradient"
        raise ValueError(refusal("minimize: x0", f"a point where {what} is infinite or NaN", "a finite one", "move x0"))


def _read_start(x0: Any) -> Array:
    array = np.atleast_1d(real_array(x0, "minimize: x0"))
    if array.ndim != 1 or not array.size:
        got = f"shape {array.shape}"
        raise ValueError(refusal("minimize: x0", got, "a vector of at least one number", "use x0.ravel()"))
    x = np.array(array, np.float64)
    if not np.isfinite(x).all():
        where = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(refusal(f"minimize: x0[{where}]", str(x[where]), "a finite number", "begin somewhere else"))
    return x


def _read_jac(fun: Any, jac: Any) -> Any:
    if not callable(fun):
        raise TypeError(refusal("minimize: fun", repr(fun), "a function of a vector", "pass lambda x: (x**2).sum()"))
    if jac is None or jac is True or callable(jac) or (isinstance(jac, str) and jac in DIFFERENCES):
        return jac
    if jac is False:
        return None
    expected = "a function, True if fun returns both, '2-point' or '3-point' for finite differences, or None"
    raise TypeError(refusal("minimize: jac", repr(jac), expected, "pass jac=None"))


def _refuse_unsupported(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in ("hess", "hessp", "bounds", "constraints"):
            raise TypeError(f"minimize: got an unexpected argument {name!r}")
        if value is not None and not (isinstance(value, (tuple, list)) and not value):
            remedy = "leave it out, or use a method of scipy.optimize that has it"
            raise ValueError(refusal(f"minimize: {name}", repr(value), "None: no optimizer here uses it", remedy))
