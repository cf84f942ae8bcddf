"""A model's parts by their names in a file.

Tensors
    ``layers.0.W``, ``layers.0.b``; the optimizer's state ``optimizer.m.layers.0.W``; averages of weights
    ``average.layers.0.W``; gradients summed up so far ``accumulated.layers.0.W``; the history ``epochs``,
    ``history.loss``; arrays of callbacks' states ``callbacks.0.best_weights.0``; moments of columns, where weights are
    for standardised ones, ``standardization.mean``, ``standardization.squares``.
JSON
    Configuration, counters, states of callbacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..standardization import Standardization
from ..training import Counters, History, Unfinished, UnfinishedPass
from .configuration import to_plain
from .container import Container, Expected, Names, Plain

if TYPE_CHECKING:
    from .._kernels import Array
    from ..methods import Method
    from ..optimizers import Optimizer

COUNTS = ("steps", "optimizer_steps", "epochs")
PARTS = ("settings", "n_inputs", "counters", "history", "callbacks", "standardization")
MOMENTS = ("mean", "squares")

State = dict[str, Any]
Layout = list[tuple[str, tuple[int, ...], bool]]
"""Of each array of `get_weights`: its name in a file, its shape, whether it is learnt or gathered beside."""


def slots_of(optimizer: Optimizer | Method) -> list[str]:
    """What stands before a weight's name for the arrays that go with it: states of the rule, averages, open sums."""
    states = [f"optimizer.{state}" for state in optimizer.initial_states()]
    return [*states, *["average"] * optimizer.averages, *["accumulated"] * (optimizer.accumulate > 1)]


# --------------------------------------------------------------------------------------------------------- writing
def describe(
    state: State, layout: Layout, callbacks: Iterable[tuple[str, State]]
) -> tuple[Plain, dict[str, Array]]:
    """A model as plain data and tensors.

    Parameters
    ----------
    state : dict
        As a model is pickled: settings, counters, history, n_inputs, weights, statistics, slots, standardization.
    layout : Layout
    callbacks : iterable of (name, state)
    """
    settings, history, found = state["settings"], state["history"], state["standardization"]
    names = [name for name, _, learnt in layout if learnt]
    tensors = dict(zip(names, state["weights"], strict=True))
    tensors.update(zip([name for name, _, learnt in layout if not learnt], state["statistics"], strict=True))
    for slot, arrays in zip(slots_of(settings["optimizer"]), state["slots"], strict=True):
        tensors.update({f"{slot}.{name}": array for name, array in zip(names, arrays, strict=True)})
    tensors["epochs"] = np.array(history.epochs, np.int64)
    tensors.update({f"history.{name}": np.array(values) for name, values in history.history.items()})
    kept = [[name, _without_arrays(f"callbacks.{k}", given, tensors)] for k, (name, given) in enumerate(callbacks)]
    if found is not None:
        tensors.update({f"standardization.{name}": getattr(found, name) for name in MOMENTS})
    described = {
        "settings": {name: to_plain(value) for name, value in settings.items()},
        "n_inputs": state["n_inputs"],
        "counters": dataclasses.asdict(state["counters"]),
        "history": list(history.history),
        "callbacks": kept,
        "standardization": None if found is None else {"total": float(found.total), "n_rows": found.n_rows},
    }
    return described, tensors


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
    """A model in a file, of which all but the tensors has been read and checked.

    Parameters
    ----------
    container : Container
    described : object
        What `describe` has given; it may be anything.
    setting_names : sequence of str
        Of `Sequential`'s arguments.
    prefix : str
        Of its tensors' names.

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

    def __init__(self, container: Container, described: Any, setting_names: Names, prefix: str = "") -> None:
        self.container, self.prefix, self.path = container, prefix, container.path
        parts = container.exactly(f"{prefix}metadata", described, PARTS)
        self.settings: Plain = container.exactly(f"{prefix}settings", parts["settings"], setting_names)
        self.n_inputs = container.count("n_inputs", parts["n_inputs"])
        self.counters = self._read_counters(parts["counters"])
        self.history_names = self._read_names(parts["history"])
        self.callbacks = self._read_callbacks(parts["callbacks"])
        self.moments = self._read_standardization(parts["standardization"])

    @property
    def n_epochs(self) -> int:
        """Finished, of the fit that was interrupted."""
        return self.container.shape(f"{self.prefix}epochs", 1)[0]

    @property
    def standardized(self) -> bool:
        """Whether the weights are for standardised columns."""
        return self.moments is not None

    def _read_counters(self, given: Any) -> Counters:
        container = self.container
        fields = container.exactly("counters", given, (*COUNTS, "unfinished"))
        counts = {name: container.count(f"counters: {name}", fields[name]) for name in COUNTS}
        return Counters(**counts, unfinished=self._read_unfinished(fields["unfinished"]))

    def _read_unfinished(self, given: Any) -> Unfinished | UnfinishedPass | None:
        if given is None:
            return None
        container, where = self.container, "unfinished epoch"
        kind = UnfinishedPass if isinstance(given, dict) and "blocks" in given else Unfinished
        fields = container.exactly(where, given, [field.name for field in dataclasses.fields(kind)])
        for name in ("loss_sum", "weight_sum"):
            container.number(f"{where}: {name}", fields[name])
        container.flag(f"{where}: shuffle", fields["shuffle"])
        others = [name for name in fields if name not in ("loss_sum", "weight_sum", "shuffle")]
        whole_blocks = kind is UnfinishedPass and fields["batch_size"] is None
        for name in [name for name in others if not (name == "batch_size" and whole_blocks)]:
            container.count(f"{where}: {name}", fields[name])
        unfinished = kind(**fields)
        if not unfinished.possible():
            raise container.damaged(f"{where}: step", fields["step"], "one within the epoch")
        return unfinished

    def _read_names(self, given: Any) -> list[str]:
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise self.container.damaged("history", given, "a list of names")
        if len(set(given)) != len(given) or "loss" not in given:
            raise self.container.damaged("history", given, "different names, 'loss' among them")
        return given

    def _read_callbacks(self, given: Any) -> list[tuple[str, State]]:
        found = []
        for k, each in enumerate(given if isinstance(given, list) else [given]):
            if not isinstance(each, list) or len(each) != 2 or not isinstance(each[0], str):
                raise self.container.damaged(f"callbacks[{k}]", each, "a name and a state")
            if not isinstance(each[1], dict):
                raise self.container.damaged(f"callbacks[{k}]", each[1], "names with values")
            found.append((each[0], each[1]))
        return found

    def _read_standardization(self, given: Any) -> tuple[float, int] | None:
        if given is None:
            return None
        container, where = self.container, "standardization"
        fields = container.exactly(where, given, ("total", "n_rows"))
        total = container.number(f"{where}: total", fields["total"])
        if not 0.0 < total < np.inf:
            raise container.damaged(f"{where}: total", total, "a number above 0")
        return total, container.count(f"{where}: n_rows", fields["n_rows"])

    def made(self, name: str) -> Any:
        """One of the settings as an object.

        Raises
        ------
        NotInFileError
            If it has a function in it.
        ValueError
        """
        return self.container.plain_object(name, self.settings[name])

    def expect(self, layout: Layout, slots: Names, dtype: str) -> Expected:
        """What tensors there have to be for a model of this layout, for `Container.compare`; to be called once."""
        arrays = {name: (shape, dtype) for name, shape, _ in layout}
        self.learnt = [name for name, _, is_learnt in layout if is_learnt]
        self.gathered = [name for name, _, is_learnt in layout if not is_learnt]
        self.slots = slots
        beside = {f"{slot}.{name}": arrays[name] for slot in slots for name in self.learnt}
        n_epochs = self.container.shape(f"{self.prefix}epochs", 1)
        history = {f"history.{name}": (n_epochs, "float64") for name in self.history_names}
        kept = self._arrays_of_callbacks(list(arrays.values()))
        moments = {f"standardization.{name}": ((self.n_inputs,), "float64") for name in MOMENTS if self.standardized}
        self.finite_names = [*arrays, *beside, *kept, *moments]
        expected: Expected = {**arrays, **beside, **history, **kept, **moments, "epochs": (n_epochs, "int64")}
        return {f"{self.prefix}{name}": each for name, each in expected.items()}

    def read(self) -> State:
        """Everything else that a pickled model has, after `Container.compare`.

        Raises
        ------
        ValueError
            If weights are not finite.
        """
        read = {name: self.container.finite(f"{self.prefix}{name}") for name in self.finite_names}
        self._give_arrays(read)
        return dict(
            n_inputs=self.n_inputs,
            weights=[read[name] for name in self.learnt],
            statistics=[read[name] for name in self.gathered],
            slots=[[read[f"{slot}.{name}"] for name in self.learnt] for slot in self.slots],
            counters=self.counters,
            history=self._history(),
            standardization=self._standardization(read),
        )

    def _standardization(self, read: Mapping[str, Array]) -> Standardization | None:
        if self.moments is None:
            return None
        found = Standardization()
        found.total, found.n_rows = self.moments
        found.mean, found.squares = (read[f"standardization.{name}"] for name in MOMENTS)
        if (found.squares < 0.0).any():
            raise self.container.damaged("standardization.squares", float(found.squares.min()), "sums of squares")
        return found

    def _arrays_of_callbacks(self, like: Sequence[tuple[tuple[int, ...], str]]) -> Expected:
        """The tensors of callbacks' states: lists of arrays as the weights are."""
        expected = {}
        for where, count in self._lists_of_arrays():
            if count != len(like):
                raise self.container.damaged(where, count, f"{len(like)} arrays, as many as weights")
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
                state[name] = self.container.plain_object(where, value) if arrays is None else arrays

    def _history(self) -> History:
        history, container = History(), self.container
        history.epochs = container.array(f"{self.prefix}epochs").tolist()
        history.history = {
            name: container.array(f"{self.prefix}history.{name}").tolist() for name in self.history_names
        }
        return history
