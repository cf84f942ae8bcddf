"""Whether a fit can be taken up from a file: the model, the data and the batches have to be as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import refusal
from .configuration import functions_in, to_plain

if TYPE_CHECKING:
    from .file import Reader

# A seed that was drawn is drawn anew by the process that resumes, and the file's holds; the others decide no bits.
MAY_DIFFER = ("seed", "n_threads", "backend")


def check(reader: Reader, settings: dict[str, Any], n_columns: int, batches: tuple[int, int, bool]) -> None:
    """Refuse what would not come to the bits that the interrupted fit would have come to.

    Parameters
    ----------
    reader : Reader
    settings : dict
        Of the model that is to go on.
    n_columns : int
        Of X.
    batches : tuple
        Number of rows, batch size, whether they are shuffled.

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
    if n_columns != reader.n_inputs:
        expected = f"{reader.n_inputs}, as many as in {reader.path}"
        raise ValueError(refusal("X", f"{n_columns} columns", expected, "pass the same data"))
    unfinished = reader.counters.unfinished
    if unfinished is not None and (unfinished.n_rows, unfinished.batch_size, unfinished.shuffle) != batches:
        got = "{} rows in batches of {}, shuffle={}".format(*batches)
        expected = f"{unfinished.n_rows} rows in batches of {unfinished.batch_size}, shuffle={unfinished.shuffle}"
        what = f"resume_from: {reader.path}, saved within an epoch"
        raise ValueError(refusal(what, got, expected, "pass the same data, batch_size and shuffle"))


def learning_rate(reader: Reader, settings: dict[str, Any]) -> Any:
    """The learning rate of a file; None if it has none, or if there or here it has a function in it."""
    mine, theirs = _split_rate(_plain(settings)["optimizer"])[1], _split_rate(reader.settings["optimizer"])[1]
    if theirs is None or list(functions_in([mine, theirs])):
        return None
    return reader.plain_object("learning rate", theirs)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: to_plain(value) for name, value in settings.items()}


def _split_rate(optimizer: Any) -> tuple[Any, Any]:
    """A plain optimizer without its learning rate, and the learning rate."""
    arguments = optimizer.get("arguments") if isinstance(optimizer, dict) else None
    if not isinstance(arguments, dict):
        return optimizer, None
    others = {name: value for name, value in arguments.items() if name != "learning_rate"}
    return {**optimizer, "arguments": others}, arguments.get("learning_rate")
