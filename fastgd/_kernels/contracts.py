"""A kernel's contract is a string, and it is executed: it checks arrays, words the errors, and draws test data.

``"x[N,I] w[I,O] b[O] -> out[N,O] kept[N,O]?"`` says which arrays a kernel reads and which it writes, with a letter
for each dimension. A letter means the same length everywhere. The whole notation:

=====================  ======================================================================================
``x[N,I]``             an array of real numbers; all such arrays share one dtype, float32 or float64
``w[...]``             of any shape, which all arrays written so share
``t[N]:float64``       an array of that dtype, whatever the others have
``t[N]:label(O)``      whole numbers from 0 to O - 1
``t[N,O]|[N]:label(O)``  either of the two forms
``kept[N,O]?``         may be left out
``states[...]*``       a sequence of such arrays
``w[...] -> w[...]``   an array named on both sides is changed in place
=====================  ======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import refusal

if TYPE_CHECKING:
    from .backend import Array

REAL_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

FORM = r"\[(?P<dims>\.\.\.|[A-Z](?:,[A-Z])*)\](?::(?P<kind>float64|label\([A-Z]\)))?"
ARGUMENT = re.compile(rf"(?P<name>[a-z_]+)(?P<forms>{FORM}(?:\|{FORM.replace('?P<', '?P<second_')})*)(?P<mark>[?*])?")

# Enough for any overlap of an array that is contiguous with one that is not; beyond it, overlap is assumed.
OVERLAP_WORK = 10_000


@dataclass(frozen=True)
class Form:
    """Dimensions (``("...",)`` for any) and kind of elements: ``"real"``, ``"float64"`` or ``"label"``."""

    dims: tuple[str, ...]
    kind: str = "real"
    bound: str = ""

    def __str__(self) -> str:
        kind = {"real": "", "float64": ":float64", "label": f":label({self.bound})"}[self.kind]
        return f"[{','.join(self.dims)}]{kind}"

    def fits(self, ndim: int) -> bool:
        """Whether an array of so many dimensions can have this form."""
        return self.dims == ("...",) or len(self.dims) == ndim


@dataclass(frozen=True)
class Argument:
    """One array of a contract, or a sequence of them."""

    name: str
    forms: tuple[Form, ...]
    optional: bool = False
    several: bool = False

    def __str__(self) -> str:
        mark = "?" if self.optional else "*" if self.several else ""
        return self.name + "|".join(map(str, self.forms)) + mark


@dataclass
class Sizes:
    """What the arrays seen so far have fixed: the common dtype and each dimension, and by which argument."""

    dtype: np.dtype[Any] | None = None
    dtype_from: str = ""
    dims: dict[str, int | tuple[int, ...]] = field(default_factory=dict)
    dims_from: dict[str, str] = field(default_factory=dict)

    def expected(self, form: Form) -> tuple[int | str, ...]:
        """The shape of a form, with letters where nothing is fixed yet."""
        shape: list[int | str] = []
        for letter in form.dims:
            length = self.dims.get(letter, letter)
            shape += length if isinstance(length, tuple) else [length]
        return tuple(shape)

    def admit(self, form: Form, shape: tuple[int, ...]) -> bool:
        """Whether a shape has the lengths that are fixed already."""
        expected = self.expected(form)
        return expected == ("...",) or (
            len(expected) == len(shape)
            and all(isinstance(length, str) or length == got for length, got in zip(expected, shape, strict=True))
        )

    def fix(self, form: Form, shape: tuple[int, ...], name: str) -> None:
        """Take the dimensions that an array brings."""
        found = {"...": shape} if form.dims == ("...",) else dict(zip(form.dims, shape, strict=True))
        for letter, length in found.items():
            if letter not in self.dims:
                self.dims[letter], self.dims_from[letter] = length, name


@dataclass(frozen=True)
class Contract:
    """A parsed contract; see `parse`.

    Attributes
    ----------
    function : str
        Whose contract it is; errors begin with it.
    text : str
    inputs, outputs : tuple of Argument
    """

    function: str
    text: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]

    @cached_property
    def in_place(self) -> frozenset[str]:
        """Names of the arrays that are read and written."""
        return frozenset(a.name for a in self.inputs) & frozenset(a.name for a in self.outputs)

    @cached_property
    def arguments(self) -> dict[str, Argument]:
        """All arguments by name, inputs first."""
        return {a.name: a for a in self.inputs + self.outputs}

    def read(self, **arrays: Any) -> tuple[dict[str, Any], Sizes]:
        """Check the inputs and give them as aligned C-contiguous arrays, copied only where they are not.

        Arrays that are changed in place are never copied; they have to be as they should.

        Raises
        ------
        TypeError
            For something that is no array, or of a dtype that the contract does not admit.
        ValueError
            For a shape that does not fit the other arrays, a label out of range, a read-only array.
        """
        sizes, checked = Sizes(), dict[str, Any]()
        for argument in self.inputs:
            given = arrays.get(argument.name)
            if given is None:
                if not argument.optional:
                    raise TypeError(self._refuse(argument.name, "nothing", f"an array {argument}", "pass one"))
                checked[argument.name] = None
            elif argument.several:
                checked[argument.name] = [
                    self._input(argument, f"{argument.name}[{k}]", array, sizes)
                    for k, array in enumerate(self._sequence(argument, given))
                ]
            else:
                checked[argument.name] = self._input(argument, argument.name, given, sizes)
        self._refuse_overlaps(checked, [name for name in checked if name in self.in_place])
        return checked, sizes

    def read_one(self, name: str, given: Any) -> Array:
        """Check one input by itself, for a caller that needs its shape before it has the others."""
        return self._input(self.arguments[name], name, given, Sizes())

    def write(self, inputs: Mapping[str, Any], sizes: Sizes, **outs: Any) -> dict[str, Any]:
        """Check the outputs that are given, and allocate those that are None, unless they are optional.

        Raises
        ------
        TypeError
            For something that is no NumPy array, or of another dtype than the inputs.
        ValueError
            For a wrong shape, a read-only or non-contiguous array, memory shared with another argument.
        """
        checked = dict[str, Any]()
        for argument in self.outputs:
            if argument.name in self.in_place:
                continue
            out, form = outs.get(argument.name), argument.forms[0]
            if out is not None:
                out = self.output(argument.name, out, sizes.expected(form), sizes.dtype)
            elif not argument.optional:
                out = np.empty(sizes.expected(form), sizes.dtype)
            checked[argument.name] = out
        self._refuse_overlaps({**inputs, **checked}, list(checked))
        return checked

    def output(self, name: str, out: Any, shape: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Array:
        """Check one array that is to be written to."""
        expected = f"a C-contiguous {dtype} array of shape {shape}"
        remedy = f"make it with np.empty({shape}, np.{dtype})"
        if name.split("[")[0] in self.in_place:
            remedy = f"make it so beforehand: {name} = np.array({name}, np.{dtype}, order='C')"
        if not isinstance(out, np.ndarray):
            raise TypeError(self._refuse(name, f"a {type(out).__name__}", expected, remedy))
        if out.dtype != dtype:
            raise TypeError(self._refuse(name, f"dtype {out.dtype}", expected, remedy))
        if out.shape != shape:
            raise ValueError(self._refuse(name, f"shape {out.shape}", expected, remedy))
        if not out.flags.writeable:
            raise ValueError(self._refuse(name, "a read-only array", expected, "pass a copy: np.array(...)"))
        if not (out.flags.c_contiguous and out.flags.aligned):
            got = f"strides {out.strides}" if out.flags.aligned else "an unaligned array"
            raise ValueError(self._refuse(name, got, expected, remedy))
        return out

    def draw(self, random: np.random.Generator, dims: Mapping[str, int], dtype: Any, form: int = 0) -> dict[str, Any]:
        """Random inputs that keep the contract, optional ones included; two of each that may be several.

        Parameters
        ----------
        random : numpy.random.Generator
        dims : mapping of str to int
            A length for each letter.
        dtype : dtype
            Of the real arrays.
        form : int
            Which form, for an argument that has several; the last one for one that has fewer.
        """
        drawn = dict[str, Any]()
        for argument in self.inputs:
            chosen = argument.forms[min(form, len(argument.forms) - 1)]
            if argument.several:
                drawn[argument.name] = [_drawn(random, chosen, dims, dtype) for _ in range(2)]
            else:
                drawn[argument.name] = _drawn(random, chosen, dims, dtype)
        return drawn

    def _refuse(self, name: str, got: str, expected: str, remedy: str) -> str:
        return refusal(f"{self.function}: {name}", got, expected, remedy)

    def _sequence(self, argument: Argument, given: Any) -> Sequence[Any]:
        if isinstance(given, np.ndarray) or not isinstance(given, Sequence):
            raise TypeError(
                self._refuse(argument.name, f"a {type(given).__name__}", "a list of arrays", "put it in a list")
            )
        return given

    def _input(self, argument: Argument, name: str, given: Any, sizes: Sizes) -> Array:
        array = np.asarray(given)
        form = self._form(argument, name, array, sizes)
        self._check_dtype(form, name, array, sizes)
        if not sizes.admit(form, array.shape):
            raise ValueError(self._refuse_shape(form, name, array, sizes))
        if array.size == 0:
            raise ValueError(self._refuse(name, f"shape {array.shape}", "at least one element", "pass some data"))
        sizes.fix(form, array.shape, name)
        if argument.name in self.in_place:
            return self.output(name, given, array.shape, sizes.dtype)
        if form.kind == "label":
            return self._labels(form, name, array, sizes)
        return np.require(array, requirements=("C", "A"))

    def _form(self, argument: Argument, name: str, array: Array, sizes: Sizes) -> Form:
        """The form that an array of this kind and number of dimensions is meant to have."""
        fitting = [form for form in argument.forms if form.fits(array.ndim)]
        if not fitting:
            choices = " or ".join(f"shape {_shape(sizes.expected(form))}" for form in argument.forms)
            remedy = "reshape it" if array.ndim else "pass an array"
            raise ValueError(self._refuse(name, f"shape {array.shape}", choices, remedy))
        return fitting[0]

    def _check_dtype(self, form: Form, name: str, array: Array, sizes: Sizes) -> None:
        got = f"dtype {array.dtype}"
        if form.kind == "label":
            if array.dtype.kind not in "iu":
                remedy = f"convert them: {name}.astype(int)"
                raise TypeError(self._refuse(name, got, "whole numbers (class labels)", remedy))
        elif form.kind == "float64":
            if array.dtype != np.float64:
                remedy = f"convert it: {name}.astype(np.float64)"
                raise TypeError(self._refuse(name, got, "float64", remedy))
        elif array.dtype not in REAL_DTYPES:
            remedy = f"convert it: {name}.astype(np.{sizes.dtype or 'float32'})"
            raise TypeError(self._refuse(name, got, "float32 or float64", remedy))
        elif sizes.dtype is None:
            sizes.dtype, sizes.dtype_from = array.dtype, name
        elif array.dtype != sizes.dtype:
            remedy = f"convert one of them: {name}.astype(np.{sizes.dtype})"
            raise TypeError(self._refuse(name, got, f"{sizes.dtype}, the dtype of {sizes.dtype_from}", remedy))

    def _refuse_shape(self, form: Form, name: str, array: Array, sizes: Sizes) -> str:
        known = [letter for letter in form.dims if letter in sizes.dims]
        sources = ", ".join(f"{letter} as in {sizes.dims_from[letter]}" for letter in known)
        transposed = array.ndim == 2 and sizes.admit(form, array.shape[::-1])
        remedy = f"transpose it: {name}.T" if transposed else f"the contract is {self.text}"
        expected = f"shape {_shape(sizes.expected(form))} ({sources})"
        return self._refuse(name, f"shape {array.shape}", expected, remedy)

    def _labels(self, form: Form, name: str, array: Array, sizes: Sizes) -> Array:
        bound = sizes.dims[form.bound]
        assert isinstance(bound, int)
        wrong = np.flatnonzero((array < 0) | (array >= bound))
        if len(wrong):
            row = int(wrong[0])
            expected = f"a label from 0 to {bound - 1} ({form.bound} = {bound} of {sizes.dims_from[form.bound]})"
            remedy = "number the classes from 0: np.unique(labels, return_inverse=True)[1]"
            raise ValueError(self._refuse(f"{name}[{row}]", str(array[row]), expected, remedy))
        return np.require(array, np.intp, requirements=("C", "A"))

    def _refuse_overlaps(self, arrays: Mapping[str, Any], written: Sequence[str]) -> None:
        """Refuse if an array that is written shares memory with any other."""
        flat = list(_flattened(arrays))
        for name, array in flat:
            if name.split("[")[0] not in written:
                continue
            for other_name, other in flat:
                if other_name != name and overlap(array, other):
                    got = f"memory that {other_name} uses too"
                    raise ValueError(self._refuse(name, got, "memory of its own", "pass a fresh array"))


def overlap(one: Array, other: Array) -> bool:
    """Whether two arrays share memory, or so nearly that it would be laborious to tell."""
    try:
        return bool(np.shares_memory(one, other, max_work=OVERLAP_WORK))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _flattened(arrays: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    for name, value in arrays.items():
        if isinstance(value, np.ndarray):
            yield name, value
        elif value is not None:
            yield from ((f"{name}[{k}]", array) for k, array in enumerate(value))


def _shape(lengths: tuple[int | str, ...]) -> str:
    inside = ", ".join(map(str, lengths))
    return f"({inside},)" if len(lengths) == 1 else f"({inside})"


def _drawn(random: np.random.Generator, form: Form, dims: Mapping[str, int], dtype: Any) -> Array:
    shape = tuple(dims.values()) if form.dims == ("...",) else tuple(dims[letter] for letter in form.dims)
    if form.kind == "label":
        return random.integers(0, dims[form.bound], shape)
    if form.kind == "float64":
        return random.uniform(0.5, 2.0, shape)
    return random.standard_normal(shape).astype(dtype)


def parse(function: str, text: str) -> Contract:
    """Parse a contract.

    Parameters
    ----------
    function : str
        Whose contract it is.
    text : str
        In the notation of this module.

    Raises
    ------
    ValueError
        For a text outside the notation; names the word that could not be read.

    Examples
    --------
    >>> contract = parse("dense", "x[N,I] w[I,O] -> a[N,O]")
    >>> [str(argument) for argument in contract.outputs]
    ['a[N,O]']
    """
    sides = text.split("->")
    if len(sides) != 2:
        raise ValueError(refusal(f"contract of {function}", repr(text), "inputs -> outputs", "write one arrow"))
    inputs, outputs = (tuple(_argument(function, word) for word in side.split()) for side in sides)
    return Contract(function, text, inputs, outputs)


def _argument(function: str, word: str) -> Argument:
    match = ARGUMENT.fullmatch(word)
    if match is None:
        expected = "a word such as x[N,I], kept[N,O]? or labels[N]:label(O)"
        raise ValueError(refusal(f"contract of {function}", repr(word), expected, "see fastgd._kernels.contracts"))
    forms = []
    for form in re.finditer(FORM, match["forms"]):
        kind, _, bound = (form["kind"] or "real").rstrip(")").partition("(")
        forms.append(Form(tuple(form["dims"].split(",")), kind, bound))
    return Argument(match["name"], tuple(forms), match["mark"] == "?", match["mark"] == "*")


CONTRACTS = {
    name: parse(name, text)
    for name, text in {
        "dense_forward": "x[N,I] w[I,O] b[O] -> out[N,O] kept[N,O]?",
        "dense_backward": "x[N,I] w[I,O] kept[N,O] d_out[N,O] -> dx[N,I] dw[I,O] db[O]",
        "loss_gradient": "scores[N,O] targets[N,T]|[N]:label(O) sample_weight[N]:float64? -> out[N,O]",
        "parameter_update": "w[...] g[...] states[...]* -> w[...] states[...]*",
    }.items()
}
