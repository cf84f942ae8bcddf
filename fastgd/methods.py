"""Methods that ask for a function's values where they want them, instead of following one gradient after another.

`fastgd.minimize` takes them in the place of an optimizer, and so does a model: its function is the loss over all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ._formula.interval import check
from ._kernels.random import SEARCH_STREAM, uniform
from .errors import refusal
from .initializers import normal
from .inputs import read_count, read_flag, read_seed
from .optimizers import Optimizer
from .optimizers import resolve as resolve_optimizer
from .optional import import_optional

if TYPE_CHECKING:
    from ._kernels import Array

__all__ = ["LBFGS", "CoordinateSearch", "RandomSearch"]

CONVERGED, OUT_OF_ITERATIONS, NO_PROGRESS, STOPPED = range(4)


class Objective(Protocol):
    """A function of a float64 vector."""

    def value(self, x: Array) -> float:
        """The value at x."""

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        """The value and the gradient at x."""


# Told x, the value there and, if it is known, the gradient after each iteration; says whether to stop.
Report = Callable[["Array", float, "Array | None"], bool]


@dataclass(frozen=True)
class Outcome:
    """Where a method ended, and why."""

    x: Array
    fun: float
    jac: Array | None
    n_iterations: int
    status: int
    message: str


class Method:
    """What the methods below share.

    Parameters
    ----------
    tol : float or None
        When to be content; None: by what `minimize` or `fit` is told.
    **hyperparameters : object
        What else a method is made with.

    Attributes
    ----------
    hyperparameters : dict
        The same, by name.
    """

    # Of a model: there is no rule by which single steps could be made, hence no state that goes with the weights.
    rule: ClassVar[None] = None
    clip_norm: ClassVar[float] = float("inf")
    clip_slack: ClassVar[float] = 0.0
    averages: ClassVar[bool] = False

    def __init__(self, tol: float | None, **hyperparameters: Any) -> None:
        self.hyperparameters: dict[str, Any] = hyperparameters
        self.tol = None if tol is None else check(f"{type(self).__name__}: tol", tol, "[0, inf)")

    def initial_states(self) -> dict[str, float]:
        """None, as for a rule without states."""
        return {}

    def scalars(self, first_step: int, n_steps: int) -> Array:
        """There are none.

        Parameters
        ----------
        first_step, n_steps : int

        Raises
        ------
        TypeError
        """
        expected = "an optimizer that makes single steps"
        raise TypeError(refusal("optimizer", repr(self), expected, "use model.fit, or for example fg.Adam()"))

    def learning_rate_at(self, step: int) -> float:
        """NaN: there is none.

        Parameters
        ----------
        step : int
        """
        return float("nan")

    def run(
        self, objective: Objective, x: Array, n_iterations: int, tol: float, report: Report, first: int = 0
    ) -> Outcome:
        """Minimise.

        Parameters
        ----------
        objective : Objective
        x : ndarray
            Where to begin; not changed.
        n_iterations : int
            At most.
        tol : float
            When to be content.
        report : callable
        first : int
            Iterations that went before, in calls of their own.
        """
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Method):
            return NotImplemented
        return (type(self), self.tol, self.hyperparameters) == (type(other), other.tol, other.hyperparameters)

    def __hash__(self) -> int:
        return hash((type(self), self.tol, tuple(self.hyperparameters.items())))

    def __repr__(self) -> str:
        given = {**self.hyperparameters, **({} if self.tol is None else {"tol": self.tol})}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


class LBFGS(Method):
    """L-BFGS, by SciPy: steps by the curvature that the last gradients tell, each as long as a line search finds good.

    Parameters
    ----------
    memory : int, default 10
        How many steps are remembered.
    function_tolerance : float, default 2.2e-9
        At least 0: stop when an iteration lowers the value by less than this share of it.
    line_search_steps : int, default 20
        At most so many evaluations in one line search.
    max_evaluations : int, default 15000
        At most so many evaluations in all.
    tol : float, optional
        At least 0: stop when no component of the gradient is larger. By default what `fastgd.minimize` was told, and
        1e-8 in ``model.fit``.

    Raises
    ------
    ValueError
        If a value is out of range.
    ImportError
        When it is used, if there is no SciPy.

    Notes
    -----
    In ``model.fit`` an iteration is an epoch, over all rows: ``batch_size`` has to be None or "auto". Each `fit` begins
    with no memory, and may end early. The line search needs many digits: make the model with ``dtype="float64"``.
    scikit-learn's `MLPClassifier` has the same defaults, but for ``tol=1e-4``.

    References
    ----------
    Zhu, Byrd, Lu & Nocedal, Algorithm 778: L-BFGS-B, ACM Transactions on Mathematical Software 23, 1997.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.LBFGS(memory=20)
    LBFGS(memory=20, function_tolerance=2.220446049250313e-09, line_search_steps=20, max_evaluations=15000)
    """

    def __init__(
        self,
        memory: int = 10,
        function_tolerance: float = 1e7 * 2.0**-52,
        *,
        line_search_steps: int = 20,
        max_evaluations: int = 15_000,
        tol: float | None = None,
    ) -> None:
        super().__init__(
            tol,
            memory=read_count("LBFGS: memory", memory, "pass memory=10"),
            function_tolerance=check("LBFGS: function_tolerance", function_tolerance, "[0, inf)"),
            line_search_steps=read_count("LBFGS: line_search_steps", line_search_steps, "pass line_search_steps=20"),
            max_evaluations=read_count("LBFGS: max_evaluations", max_evaluations, "pass max_evaluations=15000"),
        )

    def run(
        self, objective: Objective, x: Array, n_iterations: int, tol: float, report: Report, first: int = 0
    ) -> Outcome:
        minimize: Any = import_optional("scipy.optimize", "LBFGS").minimize
        last_gradient, stopped = np.zeros_like(x), False

        def evaluated(at: Array) -> tuple[float, Array]:
            nonlocal last_gradient
            value, last_gradient = objective.value_and_gradient(at)
            return value, last_gradient

        def after_iteration(intermediate_result: Any) -> None:
            nonlocal stopped
            # A line search ends where it has evaluated last.
            stopped = report(intermediate_result.x, float(intermediate_result.fun), last_gradient)
            if stopped:
                raise StopIteration

        names = {"memory": "maxcor", "function_tolerance": "ftol", "line_search_steps": "maxls"}
        options = {names[name]: self.hyperparameters[name] for name in names}
        options |= {"gtol": tol, "maxiter": n_iterations, "maxfun": self.hyperparameters["max_evaluations"]}
        found = minimize(evaluated, x, jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
        status = {0: CONVERGED, 1: OUT_OF_ITERATIONS}.get(found.status, NO_PROGRESS)
        message = f"L-BFGS: {str(found.message).lower()}"
        if stopped:
            status, message = STOPPED, "stopped by the callback"
        return Outcome(found.x, float(found.fun), found.jac, int(found.nit), status, message)


class RandomSearch(Method):
    """Random search: draw weights at random, keep the best.

    Parameters
    ----------
    scale : float, default 1
        Above 0: the standard deviation of what is drawn, around the weights at the start.
    local : bool, default False
        Draw around the best weights so far instead: random local search.
    seed : int, default 0
        Decides what is drawn, together with the number of the iteration.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    One iteration is one try: x' = centre + scale z with z from the normal distribution, kept if f(x') < f(x). No
    gradient is needed. It shows what gradients are worth: a small random step goes down with a chance of a half, but of
    the way that the gradient would go it goes, with n weights, only a share of 1 / sqrt(n).

    References
    ----------
    Rastrigin, The convergence of the random search method in the extremal control of a many parameter system, 1963.

    Examples
    --------
    >>> import fastgd as fg
    >>> found = fg.minimize(lambda x: (x**2).sum(), [3.0, 4.0], optimizer=fg.RandomSearch(0.5, local=True))
    >>> bool(found.fun < 0.01)
    True
    """

    def __init__(self, scale: float = 1.0, local: bool = False, *, seed: int | None = 0) -> None:
        super().__init__(
            None,
            scale=check("RandomSearch: scale", scale, "(0, inf)"),
            local=read_flag("local", local),
            seed=read_seed(seed),
        )

    def run(
        self, objective: Objective, x: Array, n_iterations: int, tol: float, report: Report, first: int = 0
    ) -> Outcome:
        start, best, lowest = x, x, _value(objective, x)
        for done in range(1, n_iterations + 1):
            tried = (best if self.hyperparameters["local"] else start) + self._drawn(len(x), first + done)
            value = _value(objective, tried)
            if value < lowest:
                best, lowest = tried, value
            if report(best, lowest, None):
                return Outcome(best, lowest, None, done, STOPPED, "stopped by the callback")
        return Outcome(best, lowest, None, n_iterations, CONVERGED, f"the best of {n_iterations} tries")

    def _drawn(self, count: int, iteration: int) -> Array:
        seed, scale = self.hyperparameters["seed"], self.hyperparameters["scale"]
        drawn: Array = normal(lambda n: uniform(seed, SEARCH_STREAM, iteration, n), count, 1, scale=scale)
        return drawn[:, 0]


class CoordinateSearch(Method):
    """Coordinate perturbation: try each weight a little up and a little down, keep what is lower.

    Parameters
    ----------
    step : float, default 0.1
        Above 0: how far each weight is moved at first.
    shrink : float, default 0.5
        In (0, 1): what the step is multiplied by after an iteration in which nothing was lower.
    tol : float, optional
        At least 0: stop when the step is no longer than this. By default what `fastgd.minimize` was told, and 1e-8 in
        ``model.fit``.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    One iteration tries every weight once: up to 2 n evaluations for n weights, where a gradient costs about three. No
    gradient is needed. Each `fit` of a model begins with the first step.

    References
    ----------
    Kolda, Lewis & Torczon, Optimization by direct search, SIAM Review 45, 2003, who call it compass search.

    Examples
    --------
    >>> import fastgd as fg
    >>> found = fg.minimize(lambda x: abs(x - 3.0).sum(), [0.0, 1.0], optimizer=fg.CoordinateSearch())
    >>> found.x.round(6), found.success
    (array([3., 3.]), True)
    """

    def __init__(self, step: float = 0.1, shrink: float = 0.5, *, tol: float | None = None) -> None:
        super().__init__(
            tol,
            step=check("CoordinateSearch: step", step, "(0, inf)"),
            shrink=check("CoordinateSearch: shrink", shrink, "(0, 1)"),
        )

    def run(
        self, objective: Objective, x: Array, n_iterations: int, tol: float, report: Report, first: int = 0
    ) -> Outcome:
        best, lowest, step = x.copy(), _value(objective, x), self.hyperparameters["step"]
        for done in range(1, n_iterations + 1):
            before = lowest
            for k in range(len(x)):
                lowest = self._try(objective, best, lowest, k, step)
            if lowest == before:
                step *= self.hyperparameters["shrink"]
            if report(best.copy(), lowest, None):
                return Outcome(best, lowest, None, done, STOPPED, "stopped by the callback")
            if step <= tol:
                return Outcome(best, lowest, None, done, CONVERGED, f"the step is {step:.2g}, at most tol={tol:g}")
        message = f"max_iter={n_iterations} reached with the step at {step:.2g}"
        return Outcome(best, lowest, None, n_iterations, OUT_OF_ITERATIONS, message)

    @staticmethod
    def _try(objective: Objective, best: Array, lowest: float, k: int, step: float) -> float:
        """Move one weight, in place, if that is lower either way; returns the value."""
        middle = best[k]
        for moved in (middle + step, middle - step):
            best[k] = moved
            value = _value(objective, best)
            if value < lowest:
                return value
        best[k] = middle
        return lowest


def _value(objective: Objective, x: Array) -> float:
    """The value, infinite where it is NaN: so that anything is better."""
    value = objective.value(x)
    return float("inf") if np.isnan(value) else value


METHODS: dict[str, Callable[[], Method]] = {
    "lbfgs": LBFGS,
    "random_search": RandomSearch,
    "coordinate_search": CoordinateSearch,
}


def resolve(given: Any) -> Optimizer | Method:
    """The optimizer or method that a name or an object stands for.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else.

    Examples
    --------
    >>> resolve("random_search"), resolve("sgd")
    (RandomSearch(scale=1.0, local=False, seed=0), SGD(learning_rate=0.01, momentum=0.0, nesterov=False))
    """
    if isinstance(given, Method):
        return given
    if isinstance(given, str) and given in METHODS:
        return METHODS[given]()
    return resolve_optimizer(given, further=tuple(METHODS))
