"""Optimizers: the rule for one parameter as a formula, and the classes that give its scalars step by step.

A rule sees one weight, its gradient and its state. What is the same for all weights is computed once per
step, in float64, by the class: so a complement such as 1 - beta2 reaches a float32 kernel with all its
digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

from ._formula import OPTIMIZERS, OptimizerRule, RestrainedRule, get, maximum, minimum, optimizer, sqrt
from ._formula.interval import check
from .schedules import Rate, values_at

if TYPE_CHECKING:
    import numpy

__all__ = [
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Yogi",
    "resolve",
]

# In the place of an interval, for what is switched on and off, and for what is counted.
FLAG, COUNT = "True or False", "a whole number of at least 1"

# What any optimizer takes besides its own hyperparameters and the dialect.
COMMON = ("weight_decay", "clip_norm", "clip_value", "ema", "average")


class Common(TypedDict, total=False):
    """The same with their types; see `Optimizer`."""

    dialect: str | None
    weight_decay: float | None
    clip_norm: float | None
    clip_value: float | None
    ema: float | None
    average: int | None


@optimizer(source="Robbins & Monro, A stochastic approximation method, 1951")
def sgd(w, g, *, learning_rate):
    """Gradient descent: w <- w - learning_rate g."""
    return w - learning_rate * g


@optimizer(source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964")
def momentum(w, g, b, *, learning_rate, momentum, gain=1.0):
    """Heavy ball: b <- momentum b + gain g; w <- w - learning_rate b."""
    b = momentum * b + gain * g
    return w - learning_rate * b, b


@optimizer(source="Nesterov 1983, in the form of Sutskever et al., ICML 2013")
def nesterov(w, g, b, *, learning_rate, momentum, gain=1.0):
    """Nesterov's momentum: b <- momentum b + gain g; w <- w - learning_rate (gain g + momentum b)."""
    b = momentum * b + gain * g
    return w - learning_rate * (gain * g + momentum * b), b


@optimizer(source="Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 2011")
def adagrad(w, g, total, *, learning_rate, eps, eps_inside=0.0):
    """Adagrad: total <- total + g^2; w <- w - learning_rate g / (sqrt(total + eps_inside) + eps)."""
    total = total + g * g
    return w - learning_rate * g / (sqrt(total + eps_inside) + eps), total


@optimizer(source="Tieleman & Hinton, Neural networks for machine learning, lecture 6.5, 2012")
def rmsprop(w, g, v, *, learning_rate, rho, one_minus_rho, eps, eps_inside=0.0):
    """RMSprop: v <- rho v + (1 - rho) g^2; w <- w - learning_rate g / (sqrt(v + eps_inside) + eps)."""
    v = rho * v + one_minus_rho * g * g
    return w - learning_rate * g / (sqrt(v + eps_inside) + eps), v


@optimizer(source="Tieleman & Hinton 2012, with momentum as in Graves, arXiv:1308.0850, 2013")
def rmsprop_momentum(w, g, v, b, *, learning_rate, rho, one_minus_rho, eps, eps_inside=0.0, momentum, gain=1.0):
    """RMSprop with momentum: of its changes before the learning rate, b is the buffer.

    v <- rho v + (1 - rho) g^2; b <- momentum b + gain g / (sqrt(v + eps_inside) + eps); w <- w - learning_rate b.
    """
    v = rho * v + one_minus_rho * g * g
    b = momentum * b + gain * g / (sqrt(v + eps_inside) + eps)
    return w - learning_rate * b, v, b


@optimizer(source="Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850, 2013")
def rmsprop_centered(w, g, v, mean, b, *, learning_rate, rho, one_minus_rho, eps, eps_inside=0.0, momentum, gain=1.0):
    """RMSprop by the variance: v - mean^2 stands where v does in `rmsprop_momentum`, mean being that of gradients.

    v <- rho v + (1 - rho) g^2; mean <- rho mean + (1 - rho) g; spread = max(v - mean^2, 0);
    b <- momentum b + gain g / (sqrt(spread + eps_inside) + eps); w <- w - learning_rate b.
    """
    v = rho * v + one_minus_rho * g * g
    mean = rho * mean + one_minus_rho * g
    # Of a constant gradient the difference is nothing but rounding, of either sign.
    spread = maximum(v - mean * mean, 0.0)
    b = momentum * b + gain * g / (sqrt(spread + eps_inside) + eps)
    return w - learning_rate * b, v, mean, b


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


@optimizer(source="Reddi, Kale & Kumar, On the convergence of Adam and beyond, ICLR 2018")
def amsgrad(w, g, m, v, largest, *, step, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, root, correction):
    """Adam that never forgets the largest v: largest <- max(largest, correction v) stands where v does in `adam`."""
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    largest = maximum(largest, correction * v)
    return w - step * m / (sqrt(largest) * root + eps), m, v, largest


@optimizer(source="Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, Algorithm 2")
def adamax(w, g, m, u, *, step, beta1, beta2, one_minus_beta1, eps, eps_inside=0.0):
    """Adam by the largest gradient: m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, abs(g) + eps_inside);
    w <- w - step m / (u + eps), with step = learning_rate / (1 - beta1^t)."""
    m = beta1 * m + one_minus_beta1 * g
    u = maximum(beta2 * u, abs(g) + eps_inside)
    return w - step * m / (u + eps), m, u


@optimizer(source="Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016")
def nadam(w, g, m, v, *, of_mean, of_gradient, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, root):
    """Adam that looks ahead: m and v as in `adam`; w <- w - (of_mean m + of_gradient g) / (root sqrt(v) + eps)."""
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return w - (of_mean * m + of_gradient * g) / (sqrt(v) * root + eps), m, v


@optimizer(source="Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed gradients, 2020")
def adabelief(w, g, m, s, *, step, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, root):
    """Adam by how much gradients surprise: m <- beta1 m + (1 - beta1) g;
    s <- beta2 s + (1 - beta2) (g - m)^2 + eps; w <- w - step m / (root sqrt(s) + eps)."""
    m = beta1 * m + one_minus_beta1 * g
    surprise = g - m
    s = beta2 * s + one_minus_beta2 * surprise * surprise + eps
    return w - step * m / (sqrt(s) * root + eps), m, s


@optimizer(source="Zaheer et al., Adaptive methods for nonconvex optimization, NeurIPS 2018")
def yogi(w, g, m, v, *, step, beta1, one_minus_beta1, one_minus_beta2, eps, root):
    """Adam whose v moves by no more than the square of the gradient: m <- beta1 m + (1 - beta1) g;
    v <- v - (1 - beta2) sign(v - g^2) g^2; w <- w - step m / (root sqrt(v) + eps)."""
    m = beta1 * m + one_minus_beta1 * g
    square = g * g
    v = v - one_minus_beta2 * (square if v > square else -square if v < square else 0.0)
    return w - step * m / (sqrt(v) * root + eps), m, v


@optimizer(source="Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023")
def lion(w, g, m, *, learning_rate, beta1, beta2, one_minus_beta1, one_minus_beta2):
    """Steps of one length: w <- w - learning_rate sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g."""
    way = beta1 * m + one_minus_beta1 * g
    m = beta2 * m + one_minus_beta2 * g
    return w - learning_rate * (1.0 if way > 0.0 else -1.0 if way < 0.0 else way), m


@optimizer(source="McMahan et al., Ad click prediction: a view from the trenches, KDD 2013, Algorithm 1")
def ftrl(w, g, n, z, *, inverse_rate, l1, l2):
    """Follow the regularised leader: n <- n + g^2; z <- z + g - (change of sqrt(n)) inverse_rate w;
    w <- 0 if abs(z) <= l1, else (sign(z) l1 - z) / (l2 + sqrt(n) inverse_rate)."""
    before = sqrt(n)
    n = n + g * g
    after = sqrt(n)
    z = z + g - (after - before) * inverse_rate * w
    excess = z - l1 if z > l1 else z + l1 if z < -l1 else z - z
    # The engine's padding has nothing at all in n, nor need a feature that was never seen.
    return -excess / (l2 + after * inverse_rate) if excess != 0.0 else excess, n, z


@optimizer(source="Riedmiller & Braun, A direct adaptive method for faster backpropagation learning, 1993")
def rprop(w, g, way, size, *, shrink, grow, smallest, largest, late):
    """Steps by the gradient's sign: size grows where it is as before, and shrinks where it has turned.

    size <- size times grow if way g > 0, times shrink if way g < 0, within [smallest, largest];
    way <- 0 if way g < 0, else sign(g); w <- w - size way. If late is not 0, the size and way of the step before.
    """
    agreement = way * g
    before = 0.0 if agreement < 0.0 else size * way
    size = size * (grow if agreement > 0.0 else shrink if agreement < 0.0 else 1.0)
    size = minimum(maximum(size, smallest), largest)
    way = 0.0 if agreement < 0.0 else 1.0 if g > 0.0 else -1.0 if g < 0.0 else g
    return w - (size * way if late == 0.0 else before), way, size


class Optimizer:
    """A rule with its hyperparameters. The classes below are ready-made; this one takes a user's own rule.

    Parameters
    ----------
    rule : OptimizerRule or str
        A rule declared with ``@optimizer``, or its name.
    dialect : str, optional
        One of the class's `dialects`: the library whose form and defaults are wanted.
    **hyperparameters : float
        Values of the rule's scalars; those with a default may be left out. A class that computes scalars in
        `each_step` takes what it computes them from. ``learning_rate`` may be a schedule of `fastgd.schedules`, or
        any callable of the step. Besides these, any rule takes

        * ``weight_decay``, at least 0: before each step w <- (1 - learning_rate weight_decay) w, but for biases and for
          the gains and shifts of normalisations;
        * ``clip_norm``, above 0: if the norm of all gradients together, penalties included, is larger, they are
          multiplied by clip_norm / norm. This takes a pass of its own over gradients and weights;
        * ``clip_value``, above 0: gradients are clipped to [-clip_value, clip_value], penalties included;
        * ``ema``, in [0, 1): average <- ema average + (1 - ema) w after each step, from the weights of the first step
          on. It is the averages that ``predict``, ``transform`` and ``evaluate`` of a model go by; training goes on
          from the weights themselves, as ``get_weights`` gives them;
        * ``average``, a whole number from 1 on: the same with the mean of the weights of all steps from that step on
          (Polyak's averaging; stochastic weight averaging, if the learning rate is constant from there on). Until then
          the weights themselves.

    Attributes
    ----------
    rule : OptimizerRule
    hyperparameters : dict
    dialects : dict
        For each dialect the hyperparameters that are others than under None, which has all of them.

    Raises
    ------
    ValueError
        If a value is out of range, one is missing, or one is not known.

    Notes
    -----
    In a dialect, weight decay is what the library makes of it: biases decay too, and in PyTorch's optimizers other than
    AdamW, and in optax's Adadelta, weight_decay w is added to the gradient instead. `clip_norm` is optax's
    clip_by_global_norm and Keras's global_clipnorm; PyTorch adds 1e-6 to the norm. `ema` is what Keras's use_ema and
    PyTorch's AveragedModel with get_ema_avg_fn compute; Keras then puts the averages in the place of the weights.
    `average` is that of scikit-learn's SGDClassifier, there counted in rows.

    Examples
    --------
    >>> from fastgd.optimizers import Optimizer
    >>> Optimizer("momentum", learning_rate=0.1, momentum=0.5)
    Optimizer('momentum', gain=1.0, learning_rate=0.1, momentum=0.5)
    """

    ranges: ClassVar[Mapping[str, str]] = {}
    dialects: ClassVar[Mapping[str | None, Mapping[str, Any]]] = {None: {}}
    coupled_decay: ClassVar[tuple[str, ...]] = ("torch",)

    _ranges: ClassVar[Mapping[str, str]] = {
        "learning_rate": "[0, inf)",
        "beta1": "[0, 1)",
        "beta2": "[0, 1)",
        "rho": "[0, 1)",
        "momentum": "[0, 1)",
        "eps": "(0, inf)",
        "weight_decay": "[0, inf)",
        "clip_norm": "(0, inf)",
        "clip_value": "(0, inf)",
        "ema": "[0, 1)",
        "average": COUNT,
    }

    def __init__(self, rule: OptimizerRule | str, *, dialect: str | None = None, **hyperparameters: Any) -> None:
        declared: OptimizerRule = get(OPTIMIZERS, rule)
        self._take(dialect, {**declared.formula.defaults, **self.dialects[None]}, hyperparameters)
        self._adopt(declared)

    def _adopt(self, declared: OptimizerRule) -> None:
        """Take a rule, in the form that the hyperparameters want, and check that its scalars are all there."""
        import numpy

        self.rule: OptimizerRule = declared.restrained if self._restrains(declared) else declared
        computed = self.each_step(numpy.ones(1), numpy.ones(1))
        further = set(self.hyperparameters) - {*declared.scalars, *COMMON}
        # What is no scalar of the rule must be there for what is computed from it.
        unused = type(self) is Optimizer and further
        if unused or not {*self.hyperparameters, *computed}.issuperset(declared.scalars):
            raise ValueError(
                f"{type(self).__name__}: got hyperparameters {', '.join(self.hyperparameters) or 'none'}, "
                f"expected {', '.join(declared.scalars)} of rule {declared.name!r}"
            )
        if not declared.built_in:
            self._require_rest_at_zero()

    def _require_rest_at_zero(self) -> None:
        """Refuse a rule by which a weight that is zero, and has no gradient, becomes infinite or NaN."""
        import numpy

        rule, states = self.rule, self.initial_states()
        of_weights = dict(zip(rule.scalars, self.scalars(1, 1)[0].tolist(), strict=False))
        moved = rule(0.0, 0.0, *states.values(), **of_weights)
        if not numpy.isfinite(moved).all():
            raise ValueError(
                f"{type(self).__name__}: rule {rule.formula.name!r} makes {moved} of a weight and a gradient that are "
                "zero, as those of a unit that is never active are; add a small eps where it divides"
            )

    def _take(self, dialect: str | None, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Fill in what is not given, in the order of the defaults."""
        if dialect not in self.dialects:
            known = ", ".join(map(repr, self.dialects))
            raise ValueError(f"{type(self).__name__}: dialect: got {dialect!r}, expected one of {known}")
        self.hyperparameters: dict[str, Any] = {}
        chosen = {name: value for name, value in given.items() if value is not None}
        self._set(**{**defaults, **self.dialects[dialect], **chosen})
        if self.averages and {"ema", "average"} <= set(self.hyperparameters):
            raise ValueError(f"{type(self).__name__}: ema: got {chosen['ema']!r} with average; pass only one of them")
        if dialect is not None:
            self.hyperparameters["dialect"] = dialect

    def _set(self, **values: Any) -> None:
        ranges = {**self._ranges, **self.ranges}
        for name, value in values.items():
            what, interval = f"{type(self).__name__}: {name}", ranges.get(name, "(-inf, inf)")
            if interval == FLAG:
                if not isinstance(value, bool):
                    raise ValueError(f"{what}: got {value!r}, expected {FLAG}")
            elif interval == COUNT:
                if not isinstance(value, int) or value < 1:
                    raise ValueError(f"{what}: got {value!r}, expected {COUNT}")
                value = int(value)
            elif name != "learning_rate" or not callable(value):
                value = check(what, value, interval)
            self.hyperparameters[name] = value

    def _restrains(self, rule: OptimizerRule) -> bool:
        """Whether clipping or decay is asked for, of a rule that has no scalars of these names itself."""
        asked = {name for name in ("weight_decay", "clip_value") if self.hyperparameters.get(name)}
        decays = "weight_decay" in asked - set(rule.scalars)
        if decays and "learning_rate" not in self.hyperparameters:
            raise ValueError(
                f"{type(self).__name__}: weight_decay: got {self.hyperparameters['weight_decay']!r} with rule "
                f"{rule.name!r}, which has no learning rate to multiply it by"
            )
        return bool(asked - set(rule.scalars))

    @property
    def clip_norm(self) -> float:
        """The largest norm that all gradients together may have; infinite where there is none."""
        return float(self.hyperparameters.get("clip_norm", "inf"))

    @property
    def clip_slack(self) -> float:
        """What is added to the norm before it is divided by."""
        return 1e-6 if self.dialect == "torch" else 0.0

    @property
    def averages(self) -> bool:
        """Whether weights are averaged."""
        return "ema" in self.hyperparameters or "average" in self.hyperparameters

    @property
    def dialect(self) -> str | None:
        """The library whose form it has; None for the papers' form."""
        return self.hyperparameters.get("dialect")

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

    def initial_states(self) -> dict[str, float]:
        """What each state is filled with before the first step, by the names in ``rule.states``.

        Examples
        --------
        >>> import fastgd as fg
        >>> fg.Adagrad().initial_states(), fg.Adagrad(dialect="keras").initial_states()
        ({'total': 0.0}, {'total': 0.1})
        """
        return dict.fromkeys(self.rule.states, 0.0)

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
        ndarray of float64, shape (n_steps, n_scalars), (n_steps, 2 n_scalars) or one column more
            C-contiguous; columns in the order of ``rule.scalars``. Where biases are treated differently from weights,
            they have columns of their own after those of the weights. Where weights are averaged, the last column is
            the share of the newest ones.

        Raises
        ------
        ValueError
            If `first_step` is below 1 or `n_steps` negative.

        Examples
        --------
        >>> from fastgd.optimizers import SGD
        >>> SGD(learning_rate=0.5).scalars(first_step=1, n_steps=2)
        array([[0.5],
               [0.5]])
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
        values |= self.each_step(t, rate)
        forms = self._restraints(rate) if isinstance(self.rule, RestrainedRule) else [{}]
        n_scalars = len(self.rule.scalars)
        table = numpy.empty((n_steps, n_scalars * len(forms) + self.averages))
        for k, form in enumerate(forms):
            for column, name in enumerate(self.rule.scalars, k * n_scalars):
                table[:, column] = form[name] if name in form else values[name]
        if self.averages:
            table[:, -1] = self._newest_shares(t)
        return table

    def _newest_shares(self, t: numpy.ndarray) -> Any:
        """What the weights of a step are of the average: all of it in the first step."""
        import numpy

        if "ema" in self.hyperparameters:
            return numpy.where(t > 1.0, 1.0 - self.hyperparameters["ema"], 1.0)
        return 1.0 / numpy.maximum(1.0, t - self.hyperparameters["average"] + 1.0)

    def _restraints(self, rate: Any) -> list[dict[str, Any]]:
        """The scalars of `restrain`: for all parameters, or for weights and for biases."""
        own = "weight_decay" in self.rule.formula.scalars
        decay = 0.0 if own else self.hyperparameters.get("weight_decay", 0.0)
        free = {"bound": self.hyperparameters.get("clip_value", float("inf")), "coupled": 0.0, "decay": 0.0}
        if not decay:
            return [free]
        if self.dialect in self.coupled_decay:
            return [{**free, "coupled": decay}]
        decayed = {**free, "decay": rate * decay}
        return [decayed, free] if self.dialect is None else [decayed]

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
        rule = [repr(self.rule.formula.name)] if type(self) is Optimizer else []
        return f"{type(self).__name__}({', '.join(rule + values)})"


class _ReadyMade(Optimizer):
    """What the classes below share: a rule of this module that follows from the hyperparameters, and its dialects."""

    # Where eps stands below the root, and where the learning rate is multiplied into the buffer of momentum.
    eps_inside: ClassVar[tuple[str | None, ...]] = ("keras", "optax")
    rate_inside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, dialect: str | None = None, **hyperparameters: Any) -> None:
        unknown = set(hyperparameters) - {*self.dialects[None], *COMMON}
        if unknown:
            known = ", ".join((*self.dialects[None], "dialect", *COMMON))
            raise TypeError(f"{type(self).__name__}: got an unknown hyperparameter {min(unknown)!r}; known: {known}")
        self._take(dialect, self.dialects[None], hyperparameters)
        if dialect == "sklearn" and self.hyperparameters.get("weight_decay"):
            raise ValueError(
                f"{type(self).__name__}: weight_decay: scikit-learn's optimizers have none; its alpha is a penalty, "
                "fg.L2(alpha / batch_size)"
            )
        self._adopt(self._rule())

    def _rule(self) -> OptimizerRule:
        raise NotImplementedError

    def _stabilized(self) -> dict[str, Any]:
        """eps where the dialect has it."""
        inside = self.dialect in self.eps_inside
        eps = self.hyperparameters["eps"]
        return {"eps": 0.0, "eps_inside": eps} if inside else {"eps": eps, "eps_inside": 0.0}

    def _buffered(self, rate: Any) -> dict[str, Any]:
        """The learning rate where the dialect has it."""
        return {"learning_rate": 1.0, "gain": rate} if self.dialect in self.rate_inside else {"gain": 1.0}


class SGD(_ReadyMade):
    """Stochastic gradient descent, with momentum if asked.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        At least 0; see `fastgd.schedules`.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Nesterov's form of the momentum.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range, or for `nesterov` without momentum.

    Notes
    -----
    Without momentum: w <- w - learning_rate g. With it: b <- momentum b + g, then w <- w - learning_rate b,
    or, in Nesterov's form, w <- w - learning_rate (g + momentum b). The learning rate stays outside the
    buffer, as in PyTorch and optax. Keras and scikit-learn have it inside, which differs once the rate changes:
    b <- momentum b + learning_rate g, then w <- w - b.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> from fastgd.optimizers import SGD
    >>> SGD(learning_rate=0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    >>> SGD(dialect="sklearn")
    SGD(learning_rate=0.001, momentum=0.9, nesterov=True, dialect='sklearn')
    """

    ranges = {"nesterov": FLAG}
    rate_inside = ("keras", "sklearn")
    dialects = {
        None: {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        "torch": {"learning_rate": 1e-3},
        "keras": {},
        "optax": {},
        "sklearn": {"learning_rate": 1e-3, "momentum": 0.9, "nesterov": True},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        momentum: float | None = None,
        nesterov: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov, **common)

    def _rule(self) -> OptimizerRule:
        if not self.hyperparameters["nesterov"]:
            return momentum if self.hyperparameters["momentum"] else sgd
        if not self.hyperparameters["momentum"]:
            raise ValueError("SGD: nesterov: got True with momentum=0, expected momentum in (0, 1)")
        return nesterov

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return self._buffered(rate) if self.hyperparameters["momentum"] else {}


class Adagrad(_ReadyMade):
    """Adagrad: each weight's step shrinks with the gradients it has seen.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        At least 0.
    eps : float, default 1e-10
        Above 0; added outside the root.
    initial_total : float, default 0
        At least 0; what the sum of squares begins with.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    total <- total + g^2, w <- w - learning_rate g / (sqrt(total) + eps). Keras and optax have eps inside the root and
    begin at 0.1. PyTorch's lr_decay is ``InverseScaling(power=1, scale=lr_decay)``.

    References
    ----------
    Duchi, Hazan & Singer, Adaptive subgradient methods for online learning and stochastic optimization, JMLR
    2011.

    Examples
    --------
    >>> from fastgd.optimizers import Adagrad
    >>> Adagrad()
    Adagrad(learning_rate=0.01, eps=1e-10, initial_total=0.0)
    """

    ranges = {"initial_total": "[0, inf)"}
    dialects = {
        None: {"learning_rate": 0.01, "eps": 1e-10, "initial_total": 0.0},
        "torch": {},
        "keras": {"learning_rate": 1e-3, "eps": 1e-7, "initial_total": 0.1},
        "optax": {"eps": 1e-7, "initial_total": 0.1},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        eps: float | None = None,
        initial_total: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, eps=eps, initial_total=initial_total, **common)

    def _rule(self) -> OptimizerRule:
        return adagrad

    def initial_states(self) -> dict[str, float]:
        return {"total": self.hyperparameters["initial_total"]}

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return self._stabilized()


class RMSprop(_ReadyMade):
    """RMSprop: each weight's step is divided by the root of a running mean of its squared gradients.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        At least 0.
    rho : float, default 0.99
        In [0, 1): how much of the mean is kept.
    eps : float, default 1e-8
        Above 0; added outside the root, as in PyTorch.
    momentum : float, default 0
        In [0, 1); of the changes.
    centered : bool, default False
        Divide by the standard deviation instead. Takes a buffer for momentum whether it is used or not.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    v <- rho v + (1 - rho) g^2, w <- w - learning_rate g / (sqrt(v) + eps). With momentum that quotient goes into
    b <- momentum b + g / (sqrt(v) + eps), and w <- w - learning_rate b. Keras and optax have eps inside the root and
    the learning rate inside the buffer.

    References
    ----------
    Tieleman & Hinton, Neural networks for machine learning, lecture 6.5, 2012; centred and with momentum: Graves,
    Generating sequences with recurrent neural networks, arXiv:1308.0850, 2013.

    Examples
    --------
    >>> from fastgd.optimizers import RMSprop
    >>> RMSprop(learning_rate=0.001)
    RMSprop(learning_rate=0.001, rho=0.99, eps=1e-08, momentum=0.0, centered=False)
    """

    ranges = {"centered": FLAG}
    rate_inside = ("keras", "optax")
    dialects = {
        None: {"learning_rate": 0.01, "rho": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False},
        "torch": {},
        "keras": {"learning_rate": 1e-3, "rho": 0.9, "eps": 1e-7},
        "optax": {"rho": 0.9},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        rho: float | None = None,
        eps: float | None = None,
        momentum: float | None = None,
        centered: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, rho=rho, eps=eps, momentum=momentum, centered=centered, **common)

    def _rule(self) -> OptimizerRule:
        if self.hyperparameters["centered"]:
            return rmsprop_centered
        return rmsprop_momentum if self.hyperparameters["momentum"] else rmsprop

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        scalars = {"one_minus_rho": 1.0 - self.hyperparameters["rho"], **self._stabilized()}
        return scalars if self.rule.formula.name == "rmsprop" else {**scalars, **self._buffered(rate)}


class Adadelta(_ReadyMade):
    """Adadelta: steps in the unit of the weights, from running means of squared gradients and changes.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 1
        At least 0; 1 is the paper's method.
    rho : float, default 0.9
        In [0, 1): how much of the means is kept.
    eps : float, default 1e-6
        Above 0; added inside both roots.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    v <- rho v + (1 - rho) g^2, change = g sqrt(u + eps) / sqrt(v + eps), u <- rho u + (1 - rho) change^2,
    w <- w - learning_rate change. All libraries agree on this form.

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, 2012.

    Examples
    --------
    >>> from fastgd.optimizers import Adadelta
    >>> Adadelta()
    Adadelta(learning_rate=1.0, rho=0.9, eps=1e-06)
    """

    coupled_decay = ("torch", "optax")
    dialects = {
        None: {"learning_rate": 1.0, "rho": 0.9, "eps": 1e-6},
        "torch": {},
        "keras": {"learning_rate": 1e-3, "rho": 0.95, "eps": 1e-7},
        "optax": {},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        rho: float | None = None,
        eps: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, rho=rho, eps=eps, **common)

    def _rule(self) -> OptimizerRule:
        return adadelta

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return {"one_minus_rho": 1.0 - self.hyperparameters["rho"]}


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


class _TwoMeans(_ReadyMade):
    """What Adam and its kin share: two running means, by `beta1` and `beta2`, corrected for their start at zero."""

    # Where eps is added to the root of the second mean before that is corrected: the paper's "epsilon hat".
    eps_uncorrected: ClassVar[tuple[str | None, ...]] = ()

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        beta1, beta2 = self.hyperparameters["beta1"], self.hyperparameters["beta2"]
        step, root = rate / (1.0 - _powers(beta1, t)), 1.0 / (1.0 - _powers(beta2, t)) ** 0.5
        complements = {"one_minus_beta1": 1.0 - beta1, "one_minus_beta2": 1.0 - beta2}
        if self.dialect in self.eps_uncorrected:
            return {"step": step / root, "root": 1.0, **complements}
        return {"step": step, "root": root, **complements}


class _PlainTwoMeans(_TwoMeans):
    """Those of them that have no hyperparameter besides."""

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps, **common)



class Adam(_TwoMeans):
    """Adam: steps from running means of the gradient and of its square, corrected for their start at zero.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the means of the gradient and of its square is kept.
    eps : float, default 1e-8
        Above 0; added to the root of the corrected mean (the paper's Algorithm 1, not its "epsilon hat").
    amsgrad : bool, default False
        Divide by the root of the largest mean of squares so far.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, and at step t

        w <- w - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    Keras and scikit-learn add eps to sqrt(v) instead, which makes it 30 times as large in the first step. With
    `amsgrad`, max(largest, v) stands in the place of v; optax takes the largest corrected mean.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015; Reddi, Kale & Kumar, On the convergence of Adam
    and beyond, ICLR 2018.

    Examples
    --------
    >>> from fastgd.optimizers import Adam
    >>> Adam(learning_rate=0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=1e-08, amsgrad=False)
    """

    ranges = {"amsgrad": FLAG}
    eps_uncorrected = ("keras", "sklearn")
    dialects = {
        None: {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False},
        "torch": {},
        "keras": {"eps": 1e-7},
        "optax": {},
        "sklearn": {},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        amsgrad: bool | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad, **common)

    def _rule(self) -> OptimizerRule:
        return amsgrad if self.hyperparameters["amsgrad"] else adam

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        scalars = super().each_step(t, rate)
        if not self.hyperparameters["amsgrad"]:
            return scalars
        if self.dialect == "optax":
            return {**scalars, "root": 1.0, "correction": scalars["root"] ** 2}
        return {**scalars, "correction": 1.0}


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the means of the gradient and of its square is kept.
    eps : float, default 1e-8
        Above 0.
    amsgrad : bool, default False
        As in `Adam`.
    weight_decay : float, default 0.01
        At least 0.
    **common
        dialect, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    w <- (1 - learning_rate weight_decay) w, then the step of `Adam`. Biases do not decay, except in a dialect. The
    default of weight_decay is 0.01 in PyTorch, 0.004 in Keras and 0.0001 in optax.

    References
    ----------
    Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from fastgd.optimizers import AdamW
    >>> AdamW(weight_decay=0.1)
    AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, amsgrad=False, weight_decay=0.1)
    """

    coupled_decay = ()
    dialects = {
        None: {**Adam.dialects[None], "weight_decay": 0.01},
        "torch": {},
        "keras": {"eps": 1e-7, "weight_decay": 0.004},
        "optax": {"weight_decay": 1e-4},
    }


class Adamax(_PlainTwoMeans):
    """Adamax: Adam by the largest gradient that is remembered instead of the mean of squares.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.002
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the mean, and of the largest gradient, is kept.
    eps : float, default 1e-8
        Above 0; added to each gradient's size.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    m <- beta1 m + (1 - beta1) g, u <- max(beta2 u, abs(g) + eps), w <- w - learning_rate m / (1 - beta1^t) / u. Keras
    adds eps to u where it divides.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015, Algorithm 2.

    Examples
    --------
    >>> from fastgd.optimizers import Adamax
    >>> Adamax()
    Adamax(learning_rate=0.002, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    eps_inside = (None, "torch", "optax")
    dialects = {
        None: {"learning_rate": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "torch": {},
        "keras": {"learning_rate": 1e-3, "eps": 1e-7},
        "optax": {},
    }

    def _rule(self) -> OptimizerRule:
        return adamax

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return {**super().each_step(t, rate), **self._stabilized()}


class NAdam(_TwoMeans):
    """NAdam: Adam with Nesterov's look ahead.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.002
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the means of the gradient and of its square is kept.
    eps : float, default 1e-8
        Above 0; added to the root of the corrected mean.
    momentum_decay : float, default 0.004
        At least 0: how fast beta1 is switched on.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    With mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and p_t the product of mu_1 to mu_t, m and v as in Adam,

        n = mu_(t+1) m / (1 - p_(t+1)) + (1 - mu_t) g / (1 - p_t)
        w <- w - learning_rate n / (sqrt(v / (1 - beta2^t)) + eps).

    This is PyTorch's. Keras has momentum_decay 1; optax has mu_t = beta1 always.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.

    Examples
    --------
    >>> from fastgd.optimizers import NAdam
    >>> NAdam()
    NAdam(learning_rate=0.002, beta1=0.9, beta2=0.999, eps=1e-08, momentum_decay=0.004)
    """

    ranges = {"momentum_decay": "[0, inf)"}
    dialects = {
        None: {"learning_rate": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3},
        "torch": {},
        "keras": {"learning_rate": 1e-3, "eps": 1e-7, "momentum_decay": 1.0},
        # So fast that 0.96^(t momentum_decay) is 0 in float64 from the first step on.
        "optax": {"momentum_decay": 1e5},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        momentum_decay: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            momentum_decay=momentum_decay,
            **common,
        )

    def _rule(self) -> OptimizerRule:
        return nadam

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        ahead = t + 1.0
        return {
            **super().each_step(t, rate),
            "of_mean": rate * self._momenta(ahead) / (1.0 - self._products(ahead)),
            "of_gradient": rate * (1.0 - self._momenta(t)) / (1.0 - self._products(t)),
        }

    def _momenta(self, t: numpy.ndarray) -> numpy.ndarray:
        """mu_t."""
        return self.hyperparameters["beta1"] * (1.0 - 0.5 * 0.96 ** (t * self.hyperparameters["momentum_decay"]))

    def _products(self, t: numpy.ndarray) -> numpy.ndarray:
        """mu_1 ... mu_t; nothing where that is too little to matter beside 1, so that late steps cost no more."""
        import numpy

        beta1 = self.hyperparameters["beta1"]
        matter = 1 + int(-40.0 / numpy.log(beta1)) if beta1 else 1
        n_factors = min(matter, int(t[-1])) if len(t) else 0
        products = numpy.zeros(len(t))
        within = t <= n_factors
        products[within] = numpy.cumprod(self._momenta(numpy.arange(1.0, n_factors + 1)))[t[within].astype(int) - 1]
        return products


class RAdam(_PlainTwoMeans):
    """RAdam: Adam that divides by the mean of squares only once enough of them have been seen.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the means of the gradient and of its square is kept.
    eps : float, default 1e-8
        Above 0; added to the root before that is corrected.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    With n = 2 / (1 - beta2) - 1 and n_t = n - 2 t beta2^t / (1 - beta2^t), m and v as in Adam: while n_t <= 5,
    w <- w - learning_rate m / (1 - beta1^t); from then on

        w <- w - learning_rate r m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps)

    with r^2 = (n_t - 4) (n_t - 2) n / ((n - 4) (n - 2) n_t). This is PyTorch's form; optax adds eps to the corrected
    root, as Adam does.

    References
    ----------
    Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020.

    Examples
    --------
    >>> from fastgd.optimizers import RAdam
    >>> RAdam()
    RAdam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    eps_uncorrected = (None, "torch")
    dialects = {
        None: {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "torch": {},
        "optax": {},
    }

    def _rule(self) -> OptimizerRule:
        return adam

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        import numpy

        scalars, beta2 = super().each_step(t, rate), self.hyperparameters["beta2"]
        power = _powers(beta2, t)
        most = 2.0 / (1.0 - beta2) - 1.0
        length = most - 2.0 * t * power / (1.0 - power)
        rectified = length > 5.0
        # Where it is not, any length above 4 will do: the root is not used.
        safe, most = numpy.where(rectified, length, 5.0), max(most, 5.0)
        r = ((safe - 4.0) * (safe - 2.0) * most / ((most - 4.0) * (most - 2.0) * safe)) ** 0.5
        plain = rate / (1.0 - _powers(self.hyperparameters["beta1"], t))
        return {
            **scalars,
            "step": numpy.where(rectified, scalars["step"] * r, plain),
            "root": numpy.where(rectified, scalars["root"], 0.0),
            "eps": numpy.where(rectified, self.hyperparameters["eps"], 1.0),
        }


class AdaBelief(_PlainTwoMeans):
    """AdaBelief: Adam that steps boldly where gradients are as expected.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the means of the gradient and of its squared surprise is kept.
    eps : float, default 1e-16
        Above 0; added to the second mean, and to its root.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    m as in Adam, s <- beta2 s + (1 - beta2) (g - m)^2 + eps, and

        w <- w - learning_rate m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps).

    References
    ----------
    Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed gradients, NeurIPS 2020. The
    default of eps is that of the authors' code and of optax.

    Examples
    --------
    >>> from fastgd.optimizers import AdaBelief
    >>> AdaBelief()
    AdaBelief(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-16)
    """

    dialects = {
        None: {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-16},
        "optax": {},
    }

    def _rule(self) -> OptimizerRule:
        return adabelief


class Yogi(_TwoMeans):
    """Yogi: Adam whose mean of squares falls slowly, so that steps do not grow all at once.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1): how much of the mean of the gradient is kept, and how slowly that of squares moves.
    eps : float, default 0.001
        Above 0; added to the root of the corrected mean.
    initial_square : float, default 1e-6
        At least 0; what the mean of squares begins with. optax begins the mean of gradients with it too.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    m as in Adam, v <- v - (1 - beta2) sign(v - g^2) g^2, and

        w <- w - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    References
    ----------
    Zaheer et al., Adaptive methods for nonconvex optimization, NeurIPS 2018.

    Examples
    --------
    >>> from fastgd.optimizers import Yogi
    >>> Yogi()
    Yogi(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=0.001, initial_square=1e-06)
    """

    ranges = {"initial_square": "[0, inf)"}
    dialects = {
        None: {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "initial_square": 1e-6},
        "optax": {},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        initial_square: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            initial_square=initial_square,
            **common,
        )

    def _rule(self) -> OptimizerRule:
        return yogi

    def initial_states(self) -> dict[str, float]:
        initial = self.hyperparameters["initial_square"]
        return {"m": initial if self.dialect == "optax" else 0.0, "v": initial}


class Lion(_ReadyMade):
    """Lion: steps of the same length for every weight, in the direction of a mean of gradients.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.0001
        At least 0; a third to a tenth of what Adam would be given.
    beta1, beta2 : float, default 0.9 and 0.99
        In [0, 1): how much of the mean counts in a step, and how much of it is kept.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`. optax decays by 0.001 unless told
        otherwise.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    w <- w - learning_rate sign(beta1 m + (1 - beta1) g), then m <- beta2 m + (1 - beta2) g.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023.

    Examples
    --------
    >>> from fastgd.optimizers import Lion
    >>> Lion(weight_decay=0.1)
    Lion(learning_rate=0.0001, beta1=0.9, beta2=0.99, weight_decay=0.1)
    """

    dialects = {
        None: {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.99},
        "keras": {"learning_rate": 1e-3},
        "optax": {"weight_decay": 1e-3},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, beta1=beta1, beta2=beta2, **common)

    def _rule(self) -> OptimizerRule:
        return lion

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return {f"one_minus_{name}": 1.0 - self.hyperparameters[name] for name in ("beta1", "beta2")}


class Ftrl(_ReadyMade):
    """FTRL-proximal: sparse weights from streams, each being what would have been best so far, with l1 and l2.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.1
        Above 0; the paper's alpha.
    beta : float, default 1
        At least 0.
    l1, l2 : float, default 0
        At least 0; weights that l1 outweighs are exactly 0.
    initial_total : float, default 0
        At least 0; what the sum of squares begins with.
    **common
        dialect, weight_decay, clip_norm, clip_value, ema, average: see `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    n <- n + g^2, z <- z + g - (change of sqrt(n)) w / learning_rate, then w <- 0 where abs(z) <= l1, else

        w <- (sign(z) l1 - z) / (l2 + (beta + sqrt(n)) / learning_rate).

    Keras begins n at 0.1, has beta 0 and doubles l2. The rule makes weights from the sums alone: those that a model
    begins with are forgotten in the first steps. It is made for linear models.

    References
    ----------
    McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.

    Examples
    --------
    >>> from fastgd.optimizers import Ftrl
    >>> Ftrl(l1=0.5)
    Ftrl(learning_rate=0.1, beta=1.0, l1=0.5, l2=0.0, initial_total=0.0)
    """

    ranges = {
        "learning_rate": "(0, inf)",
        "beta": "[0, inf)",
        "l1": "[0, inf)",
        "l2": "[0, inf)",
        "initial_total": "[0, inf)",
    }
    dialects = {
        None: {"learning_rate": 0.1, "beta": 1.0, "l1": 0.0, "l2": 0.0, "initial_total": 0.0},
        "keras": {"learning_rate": 1e-3, "beta": 0.0, "initial_total": 0.1},
    }

    def __init__(
        self,
        learning_rate: Rate | None = None,
        beta: float | None = None,
        l1: float | None = None,
        l2: float | None = None,
        initial_total: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate=learning_rate, beta=beta, l1=l1, l2=l2, initial_total=initial_total, **common)

    def _rule(self) -> OptimizerRule:
        return ftrl

    def initial_states(self) -> dict[str, float]:
        return {"n": self.hyperparameters["initial_total"], "z": 0.0}

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        if not (rate > 0.0).all():
            raise ValueError("Ftrl: learning_rate: the schedule gave 0, expected a finite number in (0, inf)")
        l2 = self.hyperparameters["l2"] * (2.0 if self.dialect == "keras" else 1.0)
        return {"inverse_rate": 1.0 / rate, "l2": l2 + self.hyperparameters["beta"] / rate}


class Rprop(_ReadyMade):
    """Rprop: each weight has a step of its own, which grows while its gradient keeps its sign.

    Parameters
    ----------
    learning_rate : float, default 0.01
        In [smallest, largest]: the first step of every weight. The steps find themselves from there on, so this is
        no schedule.
    shrink : float, default 0.5
        In (0, 1): what a step is multiplied by when the sign has changed.
    grow : float, default 1.2
        Above 1: what it is multiplied by when it has not.
    smallest, largest : float, default 1e-6 and 50
        Above 0: no step is shorter or longer.
    dialect, ema, average : optional
        See `Optimizer`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    Made for batches of all rows: between small ones the sign changes by chance. A weight whose gradient has changed its
    sign stays where it is for one step, and the gradient is taken for zero in the next comparison. In optax 0.2 each
    change of a weight comes one step late, unless the sign has changed meanwhile; so it does in that dialect.

    References
    ----------
    Riedmiller & Braun, A direct adaptive method for faster backpropagation learning: the RPROP algorithm, 1993; in the
    form of Igel & Huesken 2003 that they call iRprop-.

    Examples
    --------
    >>> from fastgd.optimizers import Rprop
    >>> Rprop()
    Rprop(learning_rate=0.01, shrink=0.5, grow=1.2, smallest=1e-06, largest=50.0)
    """

    ranges = {"shrink": "(0, 1)", "grow": "(1, inf)", "smallest": "(0, inf)", "largest": "(0, inf)"}
    dialects = {
        None: {"learning_rate": 0.01, "shrink": 0.5, "grow": 1.2, "smallest": 1e-6, "largest": 50.0},
        "torch": {},
        "optax": {},
    }

    def __init__(
        self,
        learning_rate: float | None = None,
        shrink: float | None = None,
        grow: float | None = None,
        smallest: float | None = None,
        largest: float | None = None,
        *,
        dialect: str | None = None,
        ema: float | None = None,
        average: int | None = None,
    ) -> None:
        super().__init__(
            dialect=dialect,
            ema=ema,
            average=average,
            learning_rate=learning_rate,
            shrink=shrink,
            grow=grow,
            smallest=smallest,
            largest=largest,
        )
        values = self.hyperparameters
        check("Rprop: learning_rate", values["learning_rate"], f"[{values['smallest']!r}, {values['largest']!r}]")

    def _rule(self) -> OptimizerRule:
        return rprop

    def initial_states(self) -> dict[str, float]:
        return {"way": 0.0, "size": self.hyperparameters["learning_rate"]}

    def each_step(self, t: numpy.ndarray, rate: Any) -> dict[str, Any]:
        return {"late": 1.0 if self.dialect == "optax" else 0.0}


BY_NAME: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": NAdam,
    "radam": RAdam,
    "adabelief": AdaBelief,
    "yogi": Yogi,
    "lion": Lion,
    "ftrl": Ftrl,
    "rprop": Rprop,
}


def resolve(given: Optimizer | OptimizerRule | str, further: Iterable[str] = ()) -> Optimizer:
    """The optimizer that a name, a rule or an optimizer stands for, with defaults where none are given.

    Parameters
    ----------
    given : Optimizer, OptimizerRule or str
    further : iterable of str
        Names that would do as well, for the error to tell.

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
    Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, amsgrad=False)
    >>> resolve("adma")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown optimizer 'adma'; did you mean 'adamax' or 'adam' or ...
    """
    declared = {name: rule for name, rule in OPTIMIZERS.items() if not rule.module.startswith("fastgd.")}
    found = get({**BY_NAME, **declared, **dict.fromkeys(further)}, given, kind="optimizer")
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
