"""Objects as plain data and back: the name of a class, and its arguments as its repr shows them.

Nothing is listed twice: a layer, an optimizer, a penalty or a schedule that its module exports is known here, if it
keeps each argument under the argument's name, in itself or among its ``hyperparameters``. What is declared, such as an
activation, is known by its kind, its name in the registry and its parameters. Reading makes objects of these classes
only, through their constructors and checks; it imports nothing and calls nothing that a file names.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import constraints, layers, methods, optimizers, penalties, schedules
from .._formula import ACTIVATIONS, LOSSES, OPTIMIZERS, OptimizerRule
from .._formula.declare import Declaration, Registry
from ..errors import refusal
from ..initializers import INITIALIZERS

KNOWN: dict[str, type] = {
    name: found
    for module in (constraints, layers, methods, optimizers, penalties, schedules)
    for name in module.__all__
    if inspect.isclass(found := getattr(module, name))
}

# By the kind that a declaration says it is.
REGISTRIES: dict[str, Registry[Any]] = {
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "initializer": INITIALIZERS,
    "optimizer rule": OPTIMIZERS,
}

NONFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class NotInFileError(ValueError):
    """A file says that there was something which no file can hold, such as a function."""


def to_plain(value: Any) -> Any:
    """A value as JSON holds it.

    Parameters
    ----------
    value : object
        None, a bool, a number, text, a list, a mapping from text, something declared, or an object of a known class.
        Of any other callable, only that there was one.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> import fastgd as fg
    >>> to_plain(fg.L2(0.5))
    {'class': 'L2', 'arguments': {'l2': 0.5}}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {"items": {name: to_plain(each) for name, each in value.items()}}
    if isinstance(value, Declaration):
        # A rule that is restrained is its formula's under another name.
        name = value.formula.name if isinstance(value, OptimizerRule) else value.name
        given = {each: to_plain(parameter) for each, parameter in value.parameters.items()}
        # A user's own formula goes along as text, to be compared and never run.
        text = {} if value.text is None else {"text": value.text}
        return {"kind": value.kind, "name": name, "parameters": given, **text}
    if KNOWN.get(type(value).__name__) is type(value):
        given = {name: to_plain(each) for name, each in arguments_of(value).items()}
        return {"class": type(value).__name__, "arguments": given}
    if callable(value):
        return {"callable": getattr(value, "__qualname__", type(value).__qualname__)}
    raise TypeError(refusal("save", repr(value), "something that a file can hold", "leave it out"))


def arguments_of(made: Any) -> dict[str, Any]:
    """What an object was made with, by the names of its class's arguments."""
    held = dict(vars(made))
    named = held.pop("hyperparameters", {})
    held.update(named)
    given = {}
    for name, parameter in inspect.signature(type(made)).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update({other: value for other, value in named.items() if other not in given})
        elif name in held:
            given[name] = held[name]
    return given


def from_plain(plain: Any, where: str) -> Any:
    """What `to_plain` was given; lists for tuples.

    Parameters
    ----------
    plain : object
        As JSON was read; it may be anything.
    where : str
        Named in errors.

    Raises
    ------
    NotInFileError
        If it says that there was a function.
    ValueError
        If it is not what `to_plain` makes, or a class refuses its arguments.
    """
    if plain is None or isinstance(plain, (bool, int, float, str)):
        return plain
    if isinstance(plain, list):
        return [from_plain(each, f"{where}[{k}]") for k, each in enumerate(plain)]
    if isinstance(plain, dict):
        for keys, make in READERS.items():
            if set(plain) == set(keys):
                return make(plain, where)
    raise ValueError(refusal(where, _short(plain), "what fastgd writes", "the file is of another program, or damaged"))


def _number(plain: dict[str, Any], where: str) -> float:
    return NONFINITE[_one_of(plain["number"], NONFINITE, where)]


def _items(plain: dict[str, Any], where: str) -> dict[str, Any]:
    items = _mapping(plain["items"], where)
    return {name: from_plain(each, f"{where}: {name}") for name, each in items.items()}


def _declared(plain: dict[str, Any], where: str) -> Declaration:
    registry = REGISTRIES[_one_of(plain["kind"], REGISTRIES, where)]
    parameters = _items({"items": plain["parameters"]}, where)
    found = registry.get(plain["name"]) if isinstance(plain["name"], str) else None
    if found is None:
        what, name = f"{where}: {plain['kind']}", _short(plain["name"])
        remedy = "if it is one of your own, import the module that declares it before loading"
        raise ValueError(refusal(what, name, "one that is declared", remedy))
    _made(lambda: found.require_text(plain.get("text")), where)
    configured: Declaration = _made(lambda: found.configured(**parameters), where) if parameters else found
    return configured


def _object(plain: dict[str, Any], where: str) -> Any:
    made = KNOWN[_one_of(plain["class"], KNOWN, where)]
    arguments = _mapping(plain["arguments"], where)
    given = {name: from_plain(each, f"{where}: {made.__name__}: {name}") for name, each in arguments.items()}
    return _made(lambda: made(**given), where)


def _callable(plain: dict[str, Any], where: str) -> Any:
    expected = "no function, which no file can hold"
    raise NotInFileError(refusal(where, f"the function {_short(plain['callable'])}", expected, "give it again"))


READERS: dict[tuple[str, ...], Callable[[dict[str, Any], str], Any]] = {
    ("number",): _number,
    ("items",): _items,
    ("kind", "name", "parameters"): _declared,
    ("kind", "name", "parameters", "text"): _declared,
    ("class", "arguments"): _object,
    ("callable",): _callable,
}


def _made(make: Callable[[], Any], where: str) -> Any:
    """What a constructor makes of arguments that may be of any type; its own words are in the error."""
    try:
        return make()
    except NotInFileError:
        raise
    except Exception as error:
        raise ValueError(f"{where}: {error}") from error


def _mapping(plain: Any, where: str) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise ValueError(refusal(where, _short(plain), "names with values", "the file is damaged"))
    return plain


def _one_of(plain: Any, known: Mapping[str, Any], where: str) -> str:
    if not isinstance(plain, str) or plain not in known:
        expected = f"one of {', '.join(known)}"
        remedy = "load it with the version of fastgd that wrote it, or a later one"
        raise ValueError(refusal(where, _short(plain), expected, remedy))
    return plain


def _short(plain: Any) -> str:
    text = repr(plain)
    return text if len(text) <= 60 else f"{text[:57]}..."


def functions_in(plain: Any) -> Iterator[str]:
    """Names of the functions that plain data say there were, however deep they lie."""
    waiting = [plain]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if set(each) == {"callable"}:
                yield str(each["callable"])
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
