"""A saved model as a safetensors file: named arrays, and one piece of JSON that says what they are of.

Tensors
    ``layers.0.W``, ``layers.0.b``; the optimizer's state ``optimizer.m.layers.0.W``; the history
    ``epochs``, ``history.loss``; arrays of callbacks' states ``callbacks.0.best_weights.0``.
Metadata ``fastgd``
    Format version, configuration, counters, states of callbacks.

Everything is read strictly. Names, shapes and dtypes of all tensors follow from the configuration, and are compared
with the header before memory is taken for any; what is missing, what is too much and what is not finite is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import refusal
from ..optional import import_optional
from ..training import Counters, History, Unfinished
from .atomic import write_atomically
from .configuration import from_plain, to_plain

if TYPE_CHECKING:
    from .._kernels import Array

FORMAT_VERSION = 1
METADATA = "fastgd"
MAX_BYTES = 1 << 32
"""The largest file that is read unless more is asked for."""

ADDRESSED = "the file is of another program, or damaged"
DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}
COUNTS = ("steps", "optimizer_steps", "epochs")

Names = Sequence[str]
State = dict[str, Any]
Layout = list[tuple[str, tuple[int, ...], bool]]
"""Of each array of `get_weights`: its name in a file, its shape, whether it is learnt or gathered beside."""


class Damaged(ValueError):
    """A file that is not what fastgd writes."""


# --------------------------------------------------------------------------------------------------------- writing
def write(path: str, state: State, layout: Layout, callbacks: Sequence[tuple[str, State]], version: str) -> None:
    """Write a model, in one step that may be interrupted at any time.

    Parameters
    ----------
    path : str
    state : dict
        As a model is pickled: settings, counters, history, n_inputs, weights, statistics and slots.
    layout : Layout
    callbacks : sequence of (name, state)
    version : str
        Of fastgd; for who looks into the file.
    """
    numpy_ = import_optional("safetensors.numpy", "model.save")
    settings, history = state["settings"], state["history"]
    names = [name for name, _, learnt in layout if learnt]
    tensors = dict(zip(names, state["weights"], strict=True))
    tensors.update(zip([name for name, _, learnt in layout if not learnt], state["statistics"], strict=True))
    for slot, arrays in zip(settings["optimizer"].initial_states(), state["slots"], strict=True):
        tensors.update({f"optimizer.{slot}.{name}": array for name, array in zip(names, arrays, strict=True)})
    tensors["epochs"] = np.array(history.epochs, np.int64)
    tensors.update({f"history.{name}": np.array(values) for name, values in history.history.items()})
    kept = [[name, _without_arrays(f"callbacks.{k}", given, tensors)] for k, (name, given) in enumerate(callbacks)]
    described = {
        "format_version": FORMAT_VERSION,
        "written_by": f"fastgd {version}",
        "settings": {name: to_plain(value) for name, value in settings.items()},
        "n_inputs": state["n_inputs"],
        "counters": dataclasses.asdict(state["counters"]),
        "history": list(history.history),
        "callbacks": kept,
    }
    text = json.dumps(described, allow_nan=False)
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomically(path, numpy_.save(contiguous, metadata={METADATA: text}))


def _without_arrays(where: str, given: State, tensors: dict[str, Array]) -> State:
    """A callback's state as plain data; lists of arrays go to the tensors."""
    plain: State = {}
    for name, value in given.items():
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            tensors.update({f"{where}.{name}.{k}": array for k, array in enumerate(value)})
            plain[name] = {"arrays": len(value)}
        else:
            plain[name] = to_plain(value)
    return plain


# --------------------------------------------------------------------------------------------------------- reading
class Reader:
    """A file whose header has been read and checked; its tensors have not.

    Attributes
    ----------
    path : str
    settings : dict
        As plain data, by the names of `Sequential`'s arguments.
    n_inputs : int
    counters : Counters
    callbacks : list of (name, state)
        With arrays only after `read`.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int, setting_names: Names) -> None:
        self.path = os.fspath(path)
        size = os.path.getsize(self.path)
        if size > max_bytes:
            remedy = f"pass max_bytes={size} if it is to be trusted"
            raise ValueError(refusal(self.path, f"{size:,} bytes", f"at most {max_bytes:,}", remedy))
        safetensors = import_optional("safetensors", "fg.load")
        try:
            self.file = safetensors.safe_open(self.path, framework="np")
            self.tensors = {name: self._described(name) for name in self.file.keys()}
            metadata = self.file.metadata() or {}
        except safetensors.SafetensorError as error:
            expected, remedy = "a whole safetensors file", "save the model again"
            raise Damaged(refusal(self.path, f"a file that cannot be read ({error})", expected, remedy)) from None
        self._take(self._json(metadata), setting_names)

    def _described(self, name: str) -> tuple[tuple[int, ...], str]:
        tensor = self.file.get_slice(name)
        return tuple(tensor.get_shape()), DTYPES.get(tensor.get_dtype(), tensor.get_dtype())

    def _json(self, metadata: Mapping[str, str]) -> State:
        if METADATA not in metadata:
            got, expected = "a safetensors file of another program", "one that model.save has written"
            remedy = "weights alone go through fg.io.from_torch(safetensors.numpy.load_file(path)) and set_weights"
            raise Damaged(refusal(self.path, got, expected, remedy))
        try:
            described = json.loads(metadata[METADATA], parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Damaged(refusal(self.path, f"metadata that is no JSON ({error})", "JSON", ADDRESSED)) from None
        version = described.get("format_version") if isinstance(described, dict) else None
        if version != FORMAT_VERSION or isinstance(version, bool):
            expected = f"version {FORMAT_VERSION}, which this fastgd reads"
            remedy = "load it with the fastgd that wrote it"
            raise Damaged(refusal(f"{self.path}: format", f"version {_short(version)}", expected, remedy))
        assert isinstance(described, dict)
        return described

    def _take(self, described: State, setting_names: Names) -> None:
        parts = ("format_version", "written_by", "settings", "n_inputs", "counters", "history", "callbacks")
        self._exactly("metadata", described, parts)
        self.settings: State = self._exactly("settings", described["settings"], setting_names)
        self.n_inputs = self._count("n_inputs", described["n_inputs"])
        self.counters = self._read_counters(described["counters"])
        self.history_names = self._read_names(described["history"])
        self.callbacks = self._read_callbacks(described["callbacks"])

    def _exactly(self, what: str, given: Any, names: Names) -> State:
        """A mapping with these keys and no others."""
        if not isinstance(given, dict):
            raise self._damaged(what, given, "names with values")
        for missing in [name for name in names if name not in given]:
            raise self._damaged(what, sorted(given), f"{missing!r} among the keys")
        for unknown in [name for name in given if name not in names]:
            raise self._damaged(what, unknown, f"no keys but {', '.join(names)}")
        return given

    def _damaged(self, what: str, got: Any, expected: str) -> Damaged:
        return Damaged(refusal(f"{self.path}: {what}", _short(got), expected, ADDRESSED))

    def _count(self, what: str, given: Any) -> int:
        if type(given) is not int or not 0 <= given < 1 << 62:
            raise self._damaged(what, given, "a whole number of at least 0")
        return given

    def _read_counters(self, given: Any) -> Counters:
        fields = self._exactly("counters", given, (*COUNTS, "unfinished"))
        counts = {name: self._count(f"counters: {name}", fields[name]) for name in COUNTS}
        return Counters(**counts, unfinished=self._read_unfinished(fields["unfinished"]))

    def _read_unfinished(self, given: Any) -> Unfinished | None:
        if given is None:
            return None
        names = [field.name for field in dataclasses.fields(Unfinished)]
        fields = self._exactly("unfinished epoch", given, names)
        for name in ("n_rows", "batch_size", "step"):
            self._count(f"unfinished epoch: {name}", fields[name])
        for name in ("loss_sum", "weight_sum"):
            if type(fields[name]) is not float:
                raise self._damaged(f"unfinished epoch: {name}", fields[name], "a number")
        if type(fields["shuffle"]) is not bool:
            raise self._damaged("unfinished epoch: shuffle", fields["shuffle"], "true or false")
        if not 0 < fields["step"] * fields["batch_size"] < fields["n_rows"]:
            raise self._damaged("unfinished epoch: step", fields["step"], "one within the epoch")
        return Unfinished(**fields)

    def _read_names(self, given: Any) -> list[str]:
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise self._damaged("history", given, "a list of names")
        if len(set(given)) != len(given) or "loss" not in given:
            raise self._damaged("history", given, "different names, 'loss' among them")
        return given

    def _read_callbacks(self, given: Any) -> list[tuple[str, State]]:
        found = []
        for k, each in enumerate(given if isinstance(given, list) else [given]):
            if not isinstance(each, list) or len(each) != 2 or not isinstance(each[0], str):
                raise self._damaged(f"callbacks[{k}]", each, "a name and a state")
            if not isinstance(each[1], dict):
                raise self._damaged(f"callbacks[{k}]", each[1], "names with values")
            found.append((each[0], each[1]))
        return found

    def made(self, name: str) -> Any:
        """One of the settings as an object.

        Raises
        ------
        NotInFileError
            If it has a function in it.
        ValueError
        """
        return self.plain_object(name, self.settings[name])

    def plain_object(self, name: str, plain: Any) -> Any:
        """What plain data of this file stand for."""
        try:
            return from_plain(plain, f"{self.path}: {name}")
        except RecursionError:
            raise self._damaged(name, "lists in lists without end", "what fastgd writes") from None

    def read(self, layout: Layout, states: Names, dtype: str) -> State:
        """Everything else that a pickled model has.

        Raises
        ------
        ValueError
            If tensors are missing, unknown, or of another shape or dtype; if weights are not finite.
        """
        arrays = {name: (shape, dtype) for name, shape, _ in layout}
        learnt = [name for name, _, is_learnt in layout if is_learnt]
        slots = {f"optimizer.{state}.{name}": arrays[name] for state in states for name in learnt}
        n_epochs = self.tensors.get("epochs", ((0,), ""))[0]
        history = {f"history.{name}": (n_epochs[:1], "float64") for name in self.history_names}
        kept = self._arrays_of_callbacks(list(arrays.values()))
        self._compare({**arrays, **slots, **history, **kept, "epochs": (n_epochs[:1], "int64")})
        read = {name: self._finite(name) for name in (*arrays, *slots, *kept)}
        self._give_arrays(read)
        return dict(
            n_inputs=self.n_inputs,
            weights=[read[name] for name in learnt],
            statistics=[read[name] for name, _, is_learnt in layout if not is_learnt],
            slots=[[read[f"optimizer.{state}.{name}"] for name in learnt] for state in states],
            counters=self.counters,
            history=self._history(),
        )

    def _arrays_of_callbacks(self, like: list[tuple[tuple[int, ...], str]]) -> dict[str, tuple[tuple[int, ...], str]]:
        """The tensors of callbacks' states: lists of arrays as the weights are."""
        expected = {}
        for where, count in self._lists_of_arrays():
            if count != len(like):
                raise self._damaged(where, count, f"{len(like)} arrays, as many as weights")
            expected.update({f"{where}.{k}": each for k, each in enumerate(like)})
        return expected

    def _lists_of_arrays(self) -> list[tuple[str, Any]]:
        return [
            (f"callbacks.{k}.{name}", value["arrays"])
            for k, (_, state) in enumerate(self.callbacks)
            for name, value in state.items()
            if isinstance(value, dict) and set(value) == {"arrays"}
        ]

    def _give_arrays(self, read: Mapping[str, Array]) -> None:
        """Put the arrays into the callbacks' states, and make the rest of plain data."""
        lists = dict(self._lists_of_arrays())
        for k, (_, state) in enumerate(self.callbacks):
            for name, value in state.items():
                where = f"callbacks.{k}.{name}"
                count = lists.get(where)
                arrays = None if count is None else [read[f"{where}.{i}"] for i in range(count)]
                state[name] = self.plain_object(where, value) if arrays is None else arrays

    def _compare(self, expected: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Refuse a header that differs from what the configuration needs; nothing has been allocated yet."""
        for name in sorted(set(self.tensors) - set(expected)):
            raise self._damaged("tensors", name, "none beyond those that the configuration needs")
        for name, (shape, dtype) in expected.items():
            if name not in self.tensors:
                raise self._damaged(name, "no such tensor", f"shape {shape}, dtype {dtype}")
            if self.tensors[name] != (shape, dtype):
                got_shape, got_dtype = self.tensors[name]
                raise Damaged(
                    refusal(
                        f"{self.path}: {name}",
                        f"shape {got_shape}, dtype {got_dtype}",
                        f"shape {shape}, dtype {dtype}",
                        ADDRESSED,
                    )
                )

    def _finite(self, name: str) -> Array:
        array: Array = self.file.get_tensor(name)
        finite = np.isfinite(array)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise self._damaged(f"{name}{list(where)}", float(array[where]), "a finite number")
        return array

    def _history(self) -> History:
        history = History()
        history.epochs = self.file.get_tensor("epochs").tolist()
        history.history = {name: self.file.get_tensor(f"history.{name}").tolist() for name in self.history_names}
        return history


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _short(given: Any) -> str:
    text = given if isinstance(given, str) else repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
