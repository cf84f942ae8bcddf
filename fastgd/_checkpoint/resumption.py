"""Whether a fit can be taken up from a file: the model, the data and the batches have to be as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import refusal
from ..training import Unfinished, UnfinishedPass
from .configuration import functions_in, to_plain

if TYPE_CHECKING:
    from .model import Reader

# A seed that was drawn is drawn anew by the process that resumes, and the file's holds; the others decide no bits.
MAY_DIFFER = ("seed", "n_threads", "backend")


def check(reader: Reader, settings: dict[str, Any], standardize: bool) -> None:
    """Refuse a model that would not come to the bits that the interrupted fit would have come to.

    Parameters
    ----------
    reader : Reader
    settings : dict
        Of the model that is to go on.
    standardize : bool
        Whether it is to learn from standardised columns.

    Raises
    ------
    ValueError
    """
    mine, theirs = _plain(settings), reader.settings
    for name in mine:
        here, there = (_split_rate(plain)[0] if name == "optimizer" else plain for plain in (mine[name], theirs[name]))
        if name not in MAY_DIFFER and here != there:
            remedy = "make the model as it was made, or go on with another one by fg.load(path)"
            what = f"resume_from: {reader.path}: {name}"
            raise ValueError(refusal(what, f"a model with {here}", f"{there}, as in the file", remedy))
    if standardize != reader.standardized:
        expected = f"{reader.standardized}: the weights in the file are {'' if reader.standardized else 'not '}for them"
        remedy = "fit as before, with a ModelCheckpoint, or go on by fg.load(path)"
        raise ValueError(refusal(f"resume_from: {reader.path}: standardize", f"{standardize}", expected, remedy))


def check_arrays(reader: Reader, n_columns: int, here: Unfinished) -> None:
    """Refuse other arrays or batches than those of the interrupted fit.

    Parameters
    ----------
    reader : Reader
    n_columns : int
        Of X.
    here : Unfinished
        Of an epoch that is about to begin.

    Raises
    ------
    ValueError
    """
    if n_columns != reader.n_inputs:
        expected = f"{reader.n_inputs}, as many as in {reader.path}"
        raise ValueError(refusal("X", f"{n_columns} columns", expected, "pass the same data"))
    there = reader.counters.unfinished
    _check_batches(reader, here, isinstance(there, Unfinished) and there.goes_with(here))


def check_blocks(reader: Reader, here: UnfinishedPass) -> None:
    """Refuse other batches than those of the interrupted fit; the blocks themselves are compared when they come.

    Parameters
    ----------
    reader : Reader
    here : UnfinishedPass
        Of a pass that is about to begin.

    Raises
    ------
    ValueError
    """
    there = reader.counters.unfinished
    _check_batches(reader, here, isinstance(there, UnfinishedPass) and there.goes_with(here))


def _check_batches(reader: Reader, here: Unfinished | UnfinishedPass, fitting: bool) -> None:
    there = reader.counters.unfinished
    if there is not None and not fitting:
        what = f"resume_from: {reader.path}, saved within an epoch"
        raise ValueError(refusal(what, f"{here}", f"{there}", "pass the same data, batch_size and shuffle"))


def learning_rate(reader: Reader, settings: dict[str, Any]) -> Any:
    """The learning rate of a file; None if it has none, or if there or here it has a function in it."""
    mine, theirs = _split_rate(_plain(settings)["optimizer"])[1], _split_rate(reader.settings["optimizer"])[1]
    if theirs is None or list(functions_in([mine, theirs])):
        return None
    return reader.container.plain_object("learning rate", theirs)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: to_plain(value) for name, value in settings.items()}


def _split_rate(optimizer: Any) -> tuple[Any, Any]:
    """A plain optimizer without its learning rate, and the learning rate."""
    arguments = optimizer.get("arguments") if isinstance(optimizer, dict) else None
    if not isinstance(arguments, dict):
        return optimizer, None
    others = {name: value for name, value in arguments.items() if name != "learning_rate"}
    return {**optimizer, "arguments": others}, arguments.get("learning_rate")
