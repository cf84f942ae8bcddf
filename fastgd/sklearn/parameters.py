"""Parameters of estimators as JSON and back: what files of models have, and what users pass besides.

These are tuples, dictionaries by labels of any kind, arrays of numbers and random states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._checkpoint.configuration import functions_in, to_plain
from .._checkpoint.container import DTYPES
from ..errors import refusal

if TYPE_CHECKING:
    from .._checkpoint.container import Container

__all__ = ["parameter_of_plain", "parameter_to_plain"]

NUMBERS = tuple(DTYPES.values())
"""Dtypes that a file has."""

FIELDS_OF_RANDOM_STATE = ("key", "pos", "has_gauss", "gauss")

# Of the Mersenne twister of Matsumoto & Nishimura, 1998.
WORDS_OF_STATE = 624


def parameter_to_plain(value: Any, where: str) -> Any:
    """A parameter as JSON holds it; dictionaries by any labels, tuples, arrays and random states too."""
    if isinstance(value, tuple):
        return {"tuple": [parameter_to_plain(each, where) for each in value]}
    if isinstance(value, list):
        return [parameter_to_plain(each, where) for each in value]
    if isinstance(value, dict):
        return {"pairs": [[parameter_to_plain(each, where) for each in pair] for pair in value.items()]}
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.name in NUMBERS:
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, np.random.RandomState):
        state: Any = value.get_state(legacy=False)
        if state["bit_generator"] == "MT19937":
            of_generator = {"key": state["state"]["key"].tolist(), "pos": state["state"]["pos"]}
            return {"random_state": {**of_generator, "has_gauss": state["has_gauss"], "gauss": state["gauss"]}}
    try:
        plain = to_plain(value)
    except TypeError:
        plain = {"callable": repr(value)}
    for name in functions_in(plain):
        expected, remedy = "something that a file can hold", "use a class of fastgd's, such as one of fastgd.schedules"
        raise TypeError(refusal(f"save: {where}", name, expected, remedy))
    return plain


def parameter_of_plain(plain: Any, where: str, container: Container) -> Any:
    """What `parameter_to_plain` was given."""
    keys = set(plain) if isinstance(plain, dict) else set()
    if isinstance(plain, list):
        return [parameter_of_plain(each, where, container) for each in plain]
    if keys == {"tuple"} and isinstance(plain["tuple"], list):
        return tuple(parameter_of_plain(each, where, container) for each in plain["tuple"])
    if keys == {"pairs"} and isinstance(plain["pairs"], list):
        return dict(_pair(each, where, container) for each in plain["pairs"])
    if keys == {"array", "dtype"} and isinstance(plain["array"], list) and plain["dtype"] in NUMBERS:
        try:
            return np.array(plain["array"], plain["dtype"])
        except (TypeError, ValueError, OverflowError):
            raise container.damaged(where, plain, "an array") from None
    if keys == {"random_state"}:
        return _random_state(plain["random_state"], where, container)
    return container.plain_object(where, plain)


def _pair(plain: Any, where: str, container: Container) -> tuple[Any, Any]:
    if not isinstance(plain, list) or len(plain) != 2 or not isinstance(plain[0], (str, bool, int, float)):
        raise container.damaged(where, plain, "a label and a value")
    return plain[0], parameter_of_plain(plain[1], where, container)


def _random_state(plain: Any, where: str, container: Container) -> np.random.RandomState:
    fields = container.exactly(where, plain, FIELDS_OF_RANDOM_STATE)
    key = fields["key"]
    numbers = isinstance(key, list) and all(type(n) is int and 0 <= n < 1 << 32 for n in key)
    if not numbers or len(key) != WORDS_OF_STATE:
        raise container.damaged(f"{where}: key", key, f"{WORDS_OF_STATE} whole numbers of 32 bits")
    position, has_gauss = (container.count(f"{where}: {name}", fields[name]) for name in ("pos", "has_gauss"))
    if position > len(key) or has_gauss > 1:
        raise container.damaged(where, f"pos {position}, has_gauss {has_gauss}", f"at most {len(key)}, and 0 or 1")
    gauss = container.number(f"{where}: gauss", fields["gauss"])
    made = np.random.RandomState()
    made.set_state(("MT19937", np.array(key, np.uint32), position, has_gauss, gauss))
    return made
