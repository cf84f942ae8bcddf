"""Optimizers: the rule for one parameter as a formula, and the classes that give its scalars step by step.

A rule sees one weight, its gradient and its state. What is the same for all weights is computed once per
step, in float64, by the class: so a complement such as 1 - beta2 reaches a float32 kernel with all its
digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ._formula import OPTIMIZERS, OptimizerRule, get, optimizer, sqrt
from ._formula.interval import check
from .schedules import Rate, read_rate, values_at

if TYPE_CHECKING:
    import numpy

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "Optimizer", "RMSprop", "resolve"]


@optimizer(source="Robbins & Monro, A stochastic approximation method, 1951")
def sgd(w, g, *, learning_rate):
    """Gradient descent: w <- w - learning_rate g."""
    return w - learning_rate * g


@optimizer(source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964")
def momentum(w, g, b, *, learning_rate, momentum):
    """Heavy ball: b <- momentum b + g; w <- w - learning_rate b."""
    b = momentum * b + g
    return w - learning_rate * b, b


@optimizer(source="Nesterov 1983, in the form of Sutskever et al., ICML 2013")
def nesterov(w, g, b, *, learning_rate, momentum):
    """Nesterov's momentum: b <- momentum b + g; w <- w - learning_rate (g + momentum b)."""
    b = momentum * b + g
    return w - learning_rate * (g + momentum * b), b


@optimizer(source="Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 2011")
def adagrad(w, g, total, *, learning_rate, eps):
    """Adagrad: total <- total + g^2; w <- w - learning_rate g / (sqrt(total) + eps)."""
    total = total + g * g
    return w - learning_rate * g / (sqrt(total) + eps), total


@optimizer(source="Tieleman & Hinton, Neural networks for machine learning, lecture 6.5, 2012")
def rmsprop(w, g, v, *, learning_rate, rho, one_minus_rho, eps):
    """RMSprop: v <- rho v + (1 - rho) g^2; w <- w - learning_rate g / (sqrt(v) + eps)."""
    v = rho * v + one_minus_rho * g * g
    return w - learning_rate * g / (sqrt(v) + eps), v


@optimizer(source="Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, Algorithm 1")
def adadelta(w, g, v, u, *, learning_rate, rho, one_minus_rho, eps):
    """Adadelta, where v and u are running means of squares of the gradient and of the change.

    v <- rho v + (1 - rho) g^2; change = g sqrt(u + eps) / sqrt(v + eps); u <- rho u + (1 - rho) change^2;
    w <- w - learning_rate change.
    """
    v = rho * v + one_minus_rho * g * g
    change = sqrt(u + eps) / sqrt(v + eps) * g
    u = rho * u + one_minus_rho * change * change
    return w - learning_rate * change, v, u


@optimizer(source="Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, Algorithm 1")
def adam(w, g, m, v, *, step, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, root):
    """Adam: m and v are running means of the gradient and of its square.

    m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; w <- w - step m / (root sqrt(v) + eps), with
    step = learning_rate / (1 - beta1^t) and root = (1 - beta2^t)^-1/2, which correct the bias of m and v.
    """
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return w - step * m / (sqrt(v) * root + eps), m, v


class Optimizer:
    """A rule with its hyperparameters. The classes below are ready-made; this one takes a user's own rule.

    Parameters
    ----------
    rule : OptimizerRule or str
        A rule declared with ``@optimizer``, or its name.
    **hyperparameters : float
        Values of the rule's scalars; those with a default may be left out. A class that computes scalars in
        `each_step` takes what it computes them from. ``learning_rate`` may be a schedule of `fastgd.schedules`, or
        any callable of the step.

    Attributes
    ----------
    rule : OptimizerRule
    hyperparameters : dict

    Raises
    ------
    ValueError
        If a value is out of range, one is missing, or one is not known.

    Examples
    --------
    >>> from fastgd.optimizers import Optimizer
    >>> Optimizer("momentum", learning_rate=0.1, momentum=0.5)
    Optimizer('momentum', learning_rate=0.1, momentum=0.5)
    """

    ranges: ClassVar[Mapping[str, str]] = {"learning_rate": "[0, inf)"}

    def __init__(self, rule: OptimizerRule | str, **hyperparameters: Any) -> None:
        import numpy

        self.rule: OptimizerRule = get(OPTIMIZERS, rule)
        self.hyperparameters: dict[str, Any] = {}
        self._set(**{**self.rule.formula.defaults, **hyperparameters})
        computed = self.each_step(numpy.ones(1), numpy.ones(1))
        known = {*self.hyperparameters, *computed}
        # What is no scalar of the rule must be there for what is computed from it.
        if not known.issuperset(self.rule.scalars) or not (computed or known.issubset(self.rule.scalars)):
            raise ValueError(
                f"{type(self).__name__}: got hyperparameters {', '.join(self.hyperparameters) or 'none'}, "
                f"expected {', '.join(self.rule.scalars)} of rule {self.rule.name!r}"
            )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            what, interval = f"{type(self).__name__}: {name}", self.ranges.get(name, "(-inf, inf)")
            chosen = read_rate(what, value) if name == "learning_rate" else check(what, value, interval)
            self.hyperparameters[name] = chosen

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a number, a schedule or a callable. It may be changed between steps.

        Raises
        ------
        AttributeError
            If the rule has none.
        """
        try:
            return self.hyperparameters["learning_rate"]
        except KeyError:
            raise AttributeError(f"optimizer {self.rule.name!r} has no learning rate") from None

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        self._set(learning_rate=value)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of one step.

        Parameters
        ----------
        step : int
            Number of the step, from 1: a schedule counts one less.

        Returns
        -------
        float
            NaN if the rule has none.

        Examples
        --------
        >>> import fastgd as fg
        >>> optimizer = fg.SGD(learning_rate=fg.schedules.Linear(1.0, 0.0, steps=4))
        >>> [optimizer.learning_rate_at(step) for step in (1, 2, 5, 6)]
        [1.0, 0.75, 0.0, 0.0]
        """
        import numpy

        rate = self.hyperparameters.get("learning_rate")
        return float("nan") if rate is None else float(values_at(rate, numpy.array([step - 1.0]))[0])

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        """Scalars that are computed from the hyperparameters and the step.

        Parameters
        ----------
        t : ndarray of float64
            Numbers of the steps; the first is 1.
        rate : ndarray of float64 or None
            The learning rates of these steps; None if there is none.

        Returns
        -------
        dict
            Name to a float or to an array as long as `t`. What is not named is taken from the
            hyperparameters.
        """
        return {}

    def scalars(self, first_step: int, n_steps: int) -> numpy.ndarray:
        """The rule's scalars for consecutive steps.

        Parameters
        ----------
        first_step : int
            Number of the first step; training begins with step 1.
        n_steps : int

        Returns
        -------
        ndarray of float64, shape (n_steps, n_scalars)
            C-contiguous; columns in the order of ``rule.scalars``.

        Raises
        ------
        ValueError
            If `first_step` is below 1 or `n_steps` negative.

        Examples
        --------
        >>> from fastgd.optimizers import SGD
        >>> SGD(learning_rate=0.5, momentum=0.75).scalars(first_step=1, n_steps=2)
        array([[0.5 , 0.75],
               [0.5 , 0.75]])
        """
        import numpy

        if first_step < 1 or n_steps < 0:
            raise ValueError(
                f"scalars: got first_step={first_step}, n_steps={n_steps}, "
                "expected first_step of at least 1 and n_steps of at least 0"
            )
        t = numpy.arange(first_step, first_step + n_steps, dtype=numpy.float64)
        values = dict(self.hyperparameters)
        rate = values.get("learning_rate")
        if rate is not None:
            rate = values["learning_rate"] = values_at(rate, t - 1.0)
        values.update(self.each_step(t, rate))
        table = numpy.empty((n_steps, len(self.rule.scalars)))
        for k, name in enumerate(self.rule.scalars):
            table[:, k] = values[name]
        return table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optimizer):
            return NotImplemented
        return (type(self), self.rule, self.hyperparameters) == (
            type(other),
            other.rule,
            other.hyperparameters,
        )

    def __hash__(self) -> int:
        return hash((type(self), self.rule))

    def __repr__(self) -> str:
        values = [f"{name}={value!r}" for name, value in self.hyperparameters.items()]
        rule = [repr(self.rule.name)] if type(self) is Optimizer else []
        return f"{type(self).__name__}({', '.join(rule + values)})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        At least 0; see `fastgd.schedules`.
    momentum : float
        In [0, 1).
    nesterov : bool
        Nesterov's form of the momentum.

    Raises
    ------
    ValueError
        If a value is out of range, or for `nesterov` without momentum.

    Notes
    -----
    Without momentum: w <- w - learning_rate g. With it: b <- momentum b + g, then w <- w - learning_rate b,
    or, in Nesterov's form, w <- w - learning_rate (g + momentum b). The learning rate stays outside the
    buffer, as in PyTorch.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> from fastgd.optimizers import SGD
    >>> SGD(learning_rate=0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    ranges = {"learning_rate": "[0, inf)", "momentum": "[0, 1)"}
    _rules: ClassVar[Mapping[str, OptimizerRule]] = {"plain": sgd, "momentum": momentum, "nesterov": nesterov}

    def __init__(self, learning_rate: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.hyperparameters = {}
        self._set(learning_rate=learning_rate, momentum=momentum)
        if not isinstance(nesterov, bool):
            raise ValueError(f"SGD: nesterov: got {nesterov!r}, expected True or False")
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov: got True with momentum=0, expected momentum in (0, 1)")
        self.hyperparameters["nesterov"] = nesterov
        self.rule = self._rules["nesterov" if nesterov else "momentum" if momentum else "plain"]


class Adagrad(Optimizer):
    """Adagrad: each weight's step shrinks with the gradients it has seen.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        At least 0; see `fastgd.schedules`.
    eps : float
        Above 0; added outside the root.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    total <- total + g^2, w <- w - learning_rate g / (sqrt(total) + eps); total begins at 0.

    References
    ----------
    Duchi, Hazan & Singer, Adaptive subgradient methods for online learning and stochastic optimization, JMLR
    2011.

    Examples
    --------
    >>> from fastgd.optimizers import Adagrad
    >>> Adagrad()
    Adagrad(learning_rate=0.01, eps=1e-10)
    """

    ranges = {"learning_rate": "[0, inf)", "eps": "(0, inf)"}

    def __init__(self, learning_rate: Rate = 0.01, eps: float = 1e-10) -> None:
        super().__init__(adagrad, learning_rate=learning_rate, eps=eps)


class _Averaging(Optimizer):
    """What the optimizers that keep a running mean by `rho` share: its complement, in float64."""

    ranges = {"learning_rate": "[0, inf)", "rho": "[0, 1)", "eps": "(0, inf)"}

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return {"one_minus_rho": 1.0 - self.hyperparameters["rho"]}


class RMSprop(_Averaging):
    """RMSprop: each weight's step is divided by the root of a running mean of its squared gradients.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        At least 0; see `fastgd.schedules`.
    rho : float
        In [0, 1): how much of the mean is kept.
    eps : float
        Above 0; added outside the root, as in PyTorch.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    v <- rho v + (1 - rho) g^2, w <- w - learning_rate g / (sqrt(v) + eps).

    References
    ----------
    Tieleman & Hinton, Neural networks for machine learning, lecture 6.5, 2012.

    Examples
    --------
    >>> from fastgd.optimizers import RMSprop
    >>> RMSprop(learning_rate=0.001)
    RMSprop(learning_rate=0.001, rho=0.99, eps=1e-08)
    """

    def __init__(self, learning_rate: Rate = 0.01, rho: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(rmsprop, learning_rate=learning_rate, rho=rho, eps=eps)


class Adadelta(_Averaging):
    """Adadelta: steps in the unit of the weights, from running means of squared gradients and changes.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        At least 0; 1 is the paper's method.
    rho : float
        In [0, 1): how much of the means is kept.
    eps : float
        Above 0; added inside both roots.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    v <- rho v + (1 - rho) g^2, change = g sqrt(u + eps) / sqrt(v + eps), u <- rho u + (1 - rho) change^2,
    w <- w - learning_rate change.

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, 2012.

    Examples
    --------
    >>> from fastgd.optimizers import Adadelta
    >>> Adadelta()
    Adadelta(learning_rate=1.0, rho=0.9, eps=1e-06)
    """

    def __init__(self, learning_rate: Rate = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__(adadelta, learning_rate=learning_rate, rho=rho, eps=eps)


def _powers(base: float, t: numpy.ndarray) -> numpy.ndarray:
    """base to the power of consecutive whole numbers t: base^(256 q) base^r, with t = 256 q + r.

    A power for each step would take a fifth of the smallest networks' time. The parts depend on t alone, so a step's
    scalars are the same bits whichever steps they are computed with; the error is that of two powers and a product.
    """
    import numpy

    first = int(t[0]) if len(t) else 0
    block, within = first // 256, first % 256
    n_blocks = (within + len(t) + 255) // 256
    high = base ** (256.0 * numpy.arange(block, block + n_blocks))
    low = base ** numpy.arange(256.0)
    return numpy.multiply.outer(high, low).reshape(-1)[within : within + len(t)]


class Adam(Optimizer):
    """Adam: steps from running means of the gradient and of its square, corrected for their start at zero.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        At least 0; see `fastgd.schedules`.
    beta1, beta2 : float
        In [0, 1): how much of the means of the gradient and of its square is kept.
    eps : float
        Above 0; added to the root of the corrected mean (the paper's Algorithm 1, not its "epsilon hat").

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, and at step t

        w <- w - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> from fastgd.optimizers import Adam
    >>> Adam(learning_rate=0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    ranges = {"learning_rate": "[0, inf)", "beta1": "[0, 1)", "beta2": "[0, 1)", "eps": "(0, inf)"}

    def __init__(
        self, learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        super().__init__(adam, learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps)

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        beta1, beta2 = self.hyperparameters["beta1"], self.hyperparameters["beta2"]
        return {
            "step": rate / (1.0 - _powers(beta1, t)),
            "root": 1.0 / (1.0 - _powers(beta2, t)) ** 0.5,
            "one_minus_beta1": 1.0 - beta1,
            "one_minus_beta2": 1.0 - beta2,
        }


BY_NAME: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
    "adam": Adam,
}


def resolve(given: Optimizer | OptimizerRule | str) -> Optimizer:
    """The optimizer that a name, a rule or an optimizer stands for, with defaults where none are given.

    Parameters
    ----------
    given : Optimizer, OptimizerRule or str

    Raises
    ------
    ValueError
        For an unknown name; lists the nearest and all names.
    TypeError
        For anything else.

    Examples
    --------
    >>> from fastgd.optimizers import resolve
    >>> resolve("adam")
    Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08)
    >>> resolve("adma")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown optimizer 'adma'; did you mean 'adam' or ...
    """
    declared = {name: rule for name, rule in OPTIMIZERS.items() if not rule.module.startswith("fastgd.")}
    found = get({**BY_NAME, **declared}, given, kind="optimizer")
    if found in BY_NAME.values():
        return found()
    if isinstance(found, OptimizerRule):
        return Optimizer(found)
    if not isinstance(found, Optimizer):
        raise TypeError(
            f"optimizer: got {given!r}, expected a name or an optimizer; pass for example 'adam' or "
            "fg.Adam(learning_rate=0.001)"
        )
    return found
