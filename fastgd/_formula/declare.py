"""Declaring activations, losses and optimizer rules, and the registries that hold them by name.

Whatever is declared is registered; tests, benchmarks, the documentation and the build iterate the registries.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from .block import Application, Block
from .interval import admit
from .language import Formula, FormulaError, read
from .restraint import RESTRAIN

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Function = Callable[..., Any]
Kind = TypeVar("Kind", bound="Declaration")

LINKS = ("linear", "sigmoid", "softmax", "exp", "expm1", "mean_and_variance", "increasing")
NUMBERS = ("real", "nonnegative", "positive", "nonzero", "direction", "probability", "sign")
TARGETS = (*NUMBERS, "class", "label", "identity")
DERIVATIVE_OF = ("output", "input")


class Declaration:
    """What all declared things share: a name, the formula, parameters that can be set, documentation."""

    kind = "declaration"

    def __init__(
        self,
        name: str,
        formula: Formula | None,
        doc: str | None,
        module: str,
        ranges: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.formula = formula
        self.module = module
        self.ranges = dict(ranges or {})
        self.parameters: dict[str, Any] = {}
        self.__doc__ = doc

    @property
    def built_in(self) -> bool:
        """Whether it is fastgd's own, which every backend has compiled and the tests have checked."""
        return self.module.startswith("fastgd.")

    def configured(self, **parameters: Any) -> Self:
        """A copy with some parameters set.

        Raises
        ------
        TypeError
            For a parameter that the formula does not have.
        ValueError
            For a value that is not finite or outside the declared range.
        """
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.parameters = {
            **self.parameters,
            **{name: self._checked(name, value) for name, value in parameters.items()},
        }
        return copy

    def _checked(self, name: str, value: Any) -> Any:
        if name not in self.parameters:
            expected = ", ".join(self.parameters) or "none"
            raise TypeError(f"{self.kind} {self.name!r}: got parameter {name!r}, expected one of: {expected}")
        return admit(f"{self.kind} {self.name!r}: {name}", value, self.ranges.get(name, "(-inf, inf)"))

    def _take_parameters(self) -> None:
        """The formula's scalars, which need defaults, become the parameters."""
        assert self.formula is not None
        missing = [name for name in self.formula.scalars if name not in self.formula.defaults]
        if missing:
            raise FormulaError(
                f"{self.formula.where()}: scalar {missing[0]} of {self.name} has no default; "
                f"write {missing[0]}=1.0 or whatever suits"
            )
        self.parameters = {name: self.formula.defaults[name] for name in self.formula.scalars}

    def _check_derivative(self, derivative: Formula) -> None:
        assert self.formula is not None
        if derivative.outputs != 1:
            raise FormulaError(
                f"{derivative.where()}: the derivative of {self.name} returns {derivative.outputs} "
                "values; return one expression"
            )
        unknown = [name for name in derivative.scalars if name not in self.formula.scalars]
        if unknown:
            raise FormulaError(
                f"{derivative.where()}: scalar {unknown[0]} is not one of {self.name}'s "
                f"({', '.join(self.formula.scalars) or 'it has none'}); use the same names"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Declaration):
            return NotImplemented
        return (self.kind, self.name, self.formula, self.parameters) == (
            other.kind,
            other.name,
            other.formula,
            other.parameters,
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.name, tuple(self.parameters.items())))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"<{self.kind} {self.name}({inside})>" if inside else f"<{self.kind} {self.name}>"


def _first_verified(candidates: Iterable[Any], verify: Callable[[Any], None]) -> Any:
    """The first candidate that is not refused; if all are, why the first one is."""
    refusals = []
    for candidate in candidates:
        try:
            verify(candidate)
        except FormulaError as error:
            refusals.append(error)
        else:
            return candidate
    raise refusals[0]


class Activation(Declaration):
    """An activation function; see `activation`.

    Attributes
    ----------
    name : str
    formula, derivative_formula : Formula
    derivative_of : {"output", "input"}
        What the derivative is a function of, hence what the forward pass keeps.
    parameters : dict of str to float
        The formula's scalars in order.
    """

    kind = "activation"
    formula: Formula

    def __init__(
        self, formula: Formula, doc: str | None, module: str, ranges: Mapping[str, str] | None
    ) -> None:
        super().__init__(formula.name, formula, doc, module, ranges)
        if len(formula.arrays) != 1 or formula.outputs != 1:
            raise FormulaError(
                f"{formula.where()}: activation {formula.name} takes {len(formula.arrays)} arrays and "
                f"returns {formula.outputs}; write one array in, one expression out"
            )
        self._derivative: Formula | None = None
        self._derivative_of = "output"
        self._take_parameters()

    def derivative(self, *, of: str) -> Callable[[Function], Function]:
        """Decorator that declares the derivative, a formula ``of`` the ``"output"`` or of the ``"input"``."""
        if of not in DERIVATIVE_OF:
            raise ValueError(f"derivative of {self.name}: of is {of!r}, expected 'output' or 'input'")

        def declare(function: Function) -> Function:
            formula = read(function, f"{self.name}_derivative")
            if len(formula.arrays) != 1:
                raise FormulaError(
                    f"{formula.where()}: the derivative of {self.name} takes {len(formula.arrays)} "
                    f"arrays; write one, the {of}"
                )
            self._check_derivative(formula)
            if not self.built_in:
                from .verification import verify_activation

                verify_activation(self, formula, of)
            self._derivative, self._derivative_of = formula, of
            return function

        return declare

    @property
    def derivative_formula(self) -> Formula:
        """The derivative that was declared, or else worked out from the formula."""
        if self._derivative is None:
            self._derivative, self._derivative_of = self._worked_out()
        return self._derivative

    @property
    def derivative_of(self) -> str:
        return self._derivative_of if self.derivative_formula else ""

    def _worked_out(self) -> tuple[Formula, str]:
        from .derive import derivatives_of_activation
        from .verification import verify_activation

        return _first_verified(derivatives_of_activation(self.formula), lambda found: verify_activation(self, *found))

    @property
    def forward_block(self) -> Block:
        """Arrays z, a: a = f(z)."""
        return Block(
            self.name,
            ("z", "a"),
            self.formula.scalars,
            (Application(self.formula, ("z",), ("a",)),),
            in_place=(("a", "z"),),
        )

    @property
    def derivative_block(self) -> Block:
        """Arrays kept, d: d = d * f'(kept)."""
        derivative = self.derivative_formula
        return Block(
            derivative.name,
            ("kept", "d"),
            self.formula.scalars,
            (Application(derivative, ("kept",), ("d",), multiply=True),),
        )

    @overload
    def __call__(self, array: None = None, /, *, out: None = None, **parameters: float) -> Self: ...

    @overload
    def __call__(self, array: npt.ArrayLike, /, *, out: Any = None, **parameters: float) -> Array: ...

    def __call__(self, array: Any = None, /, *, out: Any = None, **parameters: float) -> Any:
        """Evaluate on an array with NumPy, or, without an array, give a copy with other parameters.

        Parameters
        ----------
        array : array_like, optional
            Any shape; float32 stays float32, integers become float64.
        out : ndarray, optional
            Where to put the result; same shape and dtype as the result.
        **parameters : float
            The formula's scalars, such as ``slope`` of `leaky_relu`.
        """
        chosen = self.configured(**parameters) if parameters else self
        if array is None:
            return chosen
        from . import numpy_

        return numpy_.compile_(self.formula)(array, out=out, **chosen.parameters)


class Loss(Declaration):
    """A loss on raw scores; see `loss` and `rowwise_loss`.

    Attributes
    ----------
    name : str
    formula, derivative_formula : Formula or None
        Value and derivative by the score, of one element. None for a row-wise loss, which is a kernel.
    link : {"linear", "sigmoid", "softmax", "exp", "expm1", "mean_and_variance", "increasing"}
        What turns scores into predictions.
    target : str
        What targets it takes: "real", any finite number; "nonnegative", one of at least 0; "positive", above 0;
        "nonzero", any but 0; "direction", rows that are not all zero; "probability", a number in [0, 1]; "sign", 1
        for one class and 0 or -1 for the other; "class", integer labels or rows of probabilities; "label", integer
        labels or one-hot rows only; "identity", integers that are the same for rows that belong together.
    rowwise : bool
        Whether it sees a row of scores at a time.
    outputs_per_target : int
        How many neighbouring outputs belong to one target: 2 for a mean and a variance.
    parameters : dict of str to float, tuple of float, bool or None
        The formula's scalars in order; those of a row-wise loss as they were declared.
    """

    kind = "loss"

    def __init__(
        self,
        name: str,
        formula: Formula | None,
        doc: str | None,
        module: str,
        *,
        link: str,
        target: str,
        ranges: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        link_if: tuple[str, str] | None = None,
        outputs_per_target: int | str = 1,
    ) -> None:
        super().__init__(name, formula, doc, module, ranges)
        for what, value, expected in (("link", link, LINKS), ("target", target, TARGETS)):
            if value not in expected:
                raise ValueError(f"loss {name!r}: {what} is {value!r}, expected one of {', '.join(expected)}")
        self._link, self._link_if = link, link_if
        self.target = target
        self._outputs_per_target = outputs_per_target
        self.parameters = dict(parameters or {})
        self._derivative: Formula | None = None
        if formula is not None:
            self._check_arrays(formula)
            if formula.outputs != 1:
                raise FormulaError(
                    f"{formula.where()}: loss {name} returns {formula.outputs} values; return one"
                )
            self._take_parameters()
        self._defaults = self.parameters

    def _check_arrays(self, formula: Formula) -> None:
        if len(formula.arrays) != 2:
            raise FormulaError(
                f"{formula.where()}: {formula.name} takes {len(formula.arrays)} arrays; "
                "write two: score, target"
            )

    @property
    def link(self) -> str:
        """What turns scores into predictions."""
        if self._link_if is not None and self.parameters[self._link_if[0]]:
            return self._link_if[1]
        return self._link

    @property
    def rowwise(self) -> bool:
        return self.formula is None

    @property
    def by_class(self) -> bool:
        """Whether each output is a class."""
        return self.target in ("class", "label")

    @property
    def compares_rows(self) -> bool:
        """Whether a row's loss depends on the other rows of its batch."""
        return self.target == "identity"

    @property
    def takes_labels(self) -> bool:
        """Whether a row's target may be an integer."""
        return self.by_class or self.compares_rows

    @property
    def two_sided(self) -> bool:
        """Whether the sign of each score is a class."""
        return self.link == "sigmoid" or self.target == "sign"

    @property
    def outputs_per_target(self) -> int:
        """How many neighbouring outputs belong to one target."""
        given = self._outputs_per_target
        return len(self.parameters[given]) if isinstance(given, str) else given

    @property
    def is_default(self) -> bool:
        """Whether all parameters are as they were declared."""
        return self.parameters == self._defaults

    def scalars(self, n_outputs: int) -> list[float]:
        """The parameters in a row, as kernels read them: weights of classes that are None are ones."""
        flat: list[float] = []
        for value in self.parameters.values():
            flat += [1.0] * n_outputs if value is None else value if isinstance(value, tuple) else [float(value)]
        return flat

    def derivative(self, function: Function) -> Function:
        """Decorator that declares the derivative of the loss by the score."""
        formula = read(function, f"{self.name}_derivative")
        self._check_arrays(formula)
        self._check_derivative(formula)
        if not self.built_in:
            from .verification import verify_loss

            verify_loss(self, formula)
        self._derivative = formula
        return function

    @property
    def derivative_formula(self) -> Formula | None:
        """The derivative that was declared, or else worked out from the formula; None for a row-wise loss."""
        if self._derivative is None and self.formula is not None:
            from .derive import derivatives_of_loss
            from .verification import verify_loss

            candidates = derivatives_of_loss(self.formula)
            self._derivative = _first_verified(candidates, lambda found: verify_loss(self, found))
        return self._derivative

    @property
    def block(self) -> Block:
        """Arrays score, target, value, gradient: both results in one pass."""
        formula, derivative = self._elementwise("block function"), self.derivative_formula
        assert derivative is not None
        return Block(
            self.name,
            ("score", "target", "value", "gradient"),
            formula.scalars,
            (
                Application(formula, ("score", "target"), ("value",)),
                Application(derivative, ("score", "target"), ("gradient",)),
            ),
            in_place=(("gradient", "score"),),
        )

    def _elementwise(self, what: str) -> Formula:
        if self.formula is None:
            raise TypeError(
                f"loss {self.name!r} is taken over rows and has no {what}; use fastgd.kernels.loss_gradient"
            )
        return self.formula

    @overload
    def __call__(
        self, scores: None = None, targets: None = None, /, *, out: None = None, **parameters: Any
    ) -> Self: ...

    @overload
    def __call__(
        self, scores: npt.ArrayLike, targets: npt.ArrayLike, /, *, out: Any = None, **parameters: Any
    ) -> Array: ...

    def __call__(self, scores: Any = None, targets: Any = None, /, *, out: Any = None, **parameters: Any) -> Any:
        """Elementwise values with NumPy, or, without arrays, a copy with other parameters."""
        chosen = self.configured(**parameters) if parameters else self
        if scores is None:
            return chosen
        formula = self._elementwise("elementwise values")
        from . import numpy_

        return numpy_.compile_(formula)(scores, targets, out=out, **chosen.parameters)


class OptimizerRule(Declaration):
    """How one parameter is updated from its gradient and its state; see `optimizer`.

    Attributes
    ----------
    name : str
    formula : Formula
        Of ``(w, g, *states, *, scalars)``; returns ``(w, *states)``.
    states : tuple of str
        Names of the state buffers, each as large as the parameters and zero at the start.
    scalars : tuple of str
        What is computed once per step, in order.
    source : str
        Where the rule was published.
    """

    kind = "optimizer rule"
    formula: Formula

    def __init__(self, formula: Formula, doc: str | None, module: str, source: str) -> None:
        super().__init__(formula.name, formula, doc, module)
        self.states = formula.arrays[2:]
        self.scalars = formula.scalars
        self.source = source
        if len(formula.arrays) < 2 or formula.outputs != 1 + len(self.states):
            raise FormulaError(
                f"{formula.where()}: optimizer {formula.name} takes {len(formula.arrays)} arrays and "
                f"returns {formula.outputs}; write (w, g, *states) in and w, *states out"
            )

    @property
    def applications(self) -> tuple[Application, ...]:
        """The formulas of one step, in order."""
        return (Application(self.formula, self.formula.arrays, (self.formula.arrays[0], *self.states)),)

    @property
    def block(self) -> Block:
        """Arrays w, g and the states; all but g are updated in place, and g keeps the old w."""
        w, g, *_ = arrays = self.formula.arrays
        return Block(self.name, arrays, self.scalars, self.applications, keeps=(g, w))

    @property
    def restrained(self) -> RestrainedRule:
        """The same rule with `restrain` before it."""
        return RestrainedRule(self)

    def __call__(self, w: Any, g: Any, *states: Any, **scalars: float) -> Any:
        """The rule evaluated with NumPy: returns ``(w, *states)``, leaving its arguments as they are."""
        from . import numpy_

        return numpy_.compile_(self.formula)(w, g, *states, **scalars)


class RestrainedRule(OptimizerRule):
    """A rule whose gradients are clipped and whose weights decay; see `fastgd._formula.restraint`."""

    def __init__(self, rule: OptimizerRule) -> None:
        super().__init__(rule.formula, rule.__doc__, rule.module, rule.source)
        self.name = f"{rule.name}_restrained"
        taken = set(RESTRAIN.scalars) & set(rule.scalars)
        if taken:
            raise FormulaError(
                f"{rule.formula.where()}: scalar {min(taken)} of {rule.name} has the name of one that weight decay and "
                "clipping use; give it another"
            )
        self.scalars = RESTRAIN.scalars + rule.scalars

    @property
    def applications(self) -> tuple[Application, ...]:
        w, g, *_ = self.formula.arrays
        return (Application(RESTRAIN, (w, g), (w, g)), *super().applications)

    def __call__(self, w: Any, g: Any, *states: Any, **scalars: float) -> Any:
        from . import numpy_

        first = {name: scalars.pop(name) for name in RESTRAIN.scalars if name in scalars}
        return super().__call__(*numpy_.compile_(RESTRAIN)(w, g, **first), *states, **scalars)


class Registry(dict[str, Kind], Generic[Kind]):
    """Declared things by name, in the order of their declaration."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def add(self, declared: Kind) -> Kind:
        """Register under its name. A name of fastgd's own is not given to another formula.

        Raises
        ------
        ValueError
            If fastgd itself declares that name.
        """
        present = self.get(declared.name)
        # A notebook cell may be run twice; but a backend finds built-in kernels by name, so these stay.
        if present is not None and present.built_in and present.module != declared.module:
            raise ValueError(f"{self.kind} {declared.name!r} is fastgd's own; give yours another name")
        self[declared.name] = declared
        return declared


ACTIVATIONS: Registry[Activation] = Registry("activation")
LOSSES: Registry[Loss] = Registry("loss")
OPTIMIZERS: Registry[OptimizerRule] = Registry("optimizer")


def get(registry: Mapping[str, Any], given: Any, kind: str | None = None) -> Any:
    """Resolve a name; anything that is no string is returned as it is.

    Parameters
    ----------
    registry : mapping
        `ACTIVATIONS`, `LOSSES`, `OPTIMIZERS` or any mapping of names.
    given : str or object
    kind : str, optional
        How the error calls what is looked for; a registry knows.

    Raises
    ------
    ValueError
        For an unknown name; lists the nearest and all names.
    """
    if not isinstance(given, str):
        return given
    if given in registry:
        return registry[given]
    kind = kind or getattr(registry, "kind", "name")
    near = difflib.get_close_matches(given, registry, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
    raise ValueError(f"unknown {kind} {given!r}; {hint}known: {', '.join(registry)}")


@overload
def activation(function: Function, *, ranges: Mapping[str, str] | None = None) -> Activation: ...


@overload
def activation(
    function: None = None, *, ranges: Mapping[str, str] | None = None
) -> Callable[[Function], Activation]: ...


def activation(function: Function | None = None, *, ranges: Mapping[str, str] | None = None) -> Any:
    """Declare an activation: a formula of one array, with scalars that have defaults.

    Parameters
    ----------
    function : callable
        The formula, ``f(z)`` or ``f(z, *, parameter=default)``.
    ranges : dict of str to str, optional
        Admitted values of the scalars, such as ``{"slope": "[0, inf)"}``.

    Returns
    -------
    Activation
        Declare its derivative with ``@name.derivative(of="output")`` or ``of="input"``.

    Raises
    ------
    FormulaError
        If the function is outside the formula language.

    Notes
    -----
    Functions of the language may be imported from `math` or from NumPy; only their names count.

    Examples
    --------
    >>> import fastgd as fg
    >>> from math import exp
    >>> @fg.activation(ranges={"beta": "[0, inf)"})
    ... def swish(z, *, beta=1.0):
    ...     return z / (1.0 + exp(-beta * z))
    >>> @swish.derivative(of="input")
    ... def _(z, *, beta):
    ...     s = 1.0 / (1.0 + exp(-beta * z))
    ...     return s + beta * z * s * (1.0 - s)
    >>> swish([0.0, 2.0], beta=0.0)
    array([0., 1.])
    >>> fg.Dense(8, activation=swish(beta=2.0))
    Dense(8, activation=swish(beta=2.0))
    """

    def declare(function: Function) -> Activation:
        return ACTIVATIONS.add(Activation(read(function), function.__doc__, function.__module__, ranges))

    return declare if function is None else declare(function)


def loss(
    *, link: str = "linear", target: str = "real", ranges: Mapping[str, str] | None = None
) -> Callable[[Function], Loss]:
    """Declare a loss of one score and one target.

    Parameters
    ----------
    link : {"linear", "sigmoid", "exp", "expm1"}
        What `predict` applies to the scores.
    target : {"real", "nonnegative", "positive", "nonzero", "probability", "sign"}
        What targets are admitted; see `Loss`.
    ranges : dict of str to str, optional
        Admitted values of the scalars, such as ``{"slope": "[0, inf)"}``.

    Returns
    -------
    callable
        Decorator of ``f(score, target)`` or ``f(score, target, *, parameter=default)`` that gives a `Loss`;
        declare its derivative with ``@name.derivative``.

    Raises
    ------
    FormulaError
        If the function is outside the formula language.

    Examples
    --------
    >>> import fastgd as fg
    >>> @fg.loss(link="linear", target="real")
    ... def quartic(score, target):
    ...     return (score - target) ** 4
    >>> @quartic.derivative
    ... def _(score, target):
    ...     return 4.0 * (score - target) ** 3
    >>> quartic([1.0, 3.0], [1.0, 1.0])
    array([ 0., 16.])
    """

    def declare(function: Function) -> Loss:
        formula = read(function)
        return LOSSES.add(
            Loss(
                formula.name,
                formula,
                function.__doc__,
                function.__module__,
                link=link,
                target=target,
                ranges=ranges,
            )
        )

    return declare


def rowwise_loss(
    name: str,
    *,
    link: str,
    target: str,
    doc: str,
    module: str,
    parameters: Mapping[str, Any] | None = None,
    ranges: Mapping[str, str] | None = None,
    link_if: tuple[str, str] | None = None,
    outputs_per_target: int | str = 1,
) -> Loss:
    """Declare a loss that needs a whole row of scores; each backend has its kernel, written by hand.

    Parameters
    ----------
    name, link, target, doc, module : str
    parameters : dict, optional
        Names and defaults, in the order in which kernels read them.
    ranges : dict of str to str, optional
        What they may be, in the words of `fastgd._formula.interval.admit`.
    link_if : tuple of a flag's name and a link, optional
        The link that stands in for `link` where that flag is set.
    outputs_per_target : int or str
        How many neighbouring outputs belong to one target, or the parameter that has one element for each.
    """
    return LOSSES.add(
        Loss(
            name,
            None,
            doc,
            module,
            link=link,
            target=target,
            ranges=ranges,
            parameters=parameters,
            link_if=link_if,
            outputs_per_target=outputs_per_target,
        )
    )


def optimizer(*, source: str = "") -> Callable[[Function], OptimizerRule]:
    """Declare an optimizer's rule for one parameter.

    Parameters
    ----------
    source : str
        Where the rule was published.

    Returns
    -------
    callable
        Decorator of ``f(w, g, *states, *, scalars)``, which returns ``w, *states``, that gives an
        `OptimizerRule`.

    Raises
    ------
    FormulaError
        If the function is outside the formula language.

    Examples
    --------
    >>> import fastgd as fg
    >>> @fg.optimizer(source="Bernstein et al., signSGD, ICML 2018")
    ... def sign_descent(w, g, *, learning_rate=0.01):
    ...     return w - learning_rate * (1.0 if g > 0.0 else -1.0 if g < 0.0 else g)
    >>> fg.optimizers.Optimizer(sign_descent, learning_rate=0.1)
    Optimizer('sign_descent', learning_rate=0.1)
    """

    def declare(function: Function) -> OptimizerRule:
        return OPTIMIZERS.add(OptimizerRule(read(function), function.__doc__, function.__module__, source))

    return declare
