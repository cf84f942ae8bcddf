"""A safetensors file of fastgd's: named arrays, and one piece of JSON that says what they are of.

A file is read strictly. Names, shapes and dtypes of all tensors follow from the JSON, and are compared with the header
before memory is taken for any; what is missing, what is too much and what is not finite is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import refusal
from ..optional import import_optional
from .atomic import write_atomically
from .configuration import from_plain

if TYPE_CHECKING:
    from .._kernels import Array

FORMAT_VERSION = 1
METADATA = "fastgd"
MAX_BYTES = 1 << 32
"""The largest file that is read unless more is asked for."""

ADDRESSED = "the file is of another program, or damaged"
BITS = (8, 16, 32, 64)
DTYPES = {
    **{"BOOL": "bool", "F32": "float32", "F64": "float64"},
    **{f"I{bits}": f"int{bits}" for bits in BITS},
    **{f"U{bits}": f"uint{bits}" for bits in BITS},
}
"""By the names that safetensors has for them."""

Names = Sequence[str]
Plain = dict[str, Any]
Expected = dict[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of tensors, by name."""


class Damaged(ValueError):
    """A file that is not what fastgd writes."""


def write_container(path: str, described: Plain, tensors: Mapping[str, Array], version: str, wanted_by: str) -> None:
    """Write a file, in one step that may be interrupted at any time.

    Parameters
    ----------
    path : str
    described : dict
        Plain data of what the tensors are.
    tensors : mapping of str to ndarray
    version : str
        Of fastgd; for who looks into the file.
    wanted_by : str
        What the user has called.
    """
    numpy_ = import_optional("safetensors.numpy", wanted_by)
    written = {"format_version": FORMAT_VERSION, "written_by": f"fastgd {version}", **described}
    text = json.dumps(written, allow_nan=False)
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomically(path, numpy_.save(contiguous, metadata={METADATA: text}))


class Container:
    """A file whose header and JSON have been read; its tensors have not.

    Attributes
    ----------
    path : str
    described : dict
        The JSON, of which only the version has been looked at.
    tensors : dict of str to (shape, dtype)
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> None:
        self.path = os.fspath(path)
        size = os.path.getsize(self.path)
        if size > max_bytes:
            remedy = f"pass max_bytes={size} if it is to be trusted"
            raise ValueError(refusal(self.path, f"{size:,} bytes", f"at most {max_bytes:,}", remedy))
        safetensors = import_optional("safetensors", "fg.load")
        try:
            self.file = safetensors.safe_open(self.path, framework="np")
            self.tensors = {name: self._header(name) for name in self.file.keys()}
            metadata = self.file.metadata() or {}
        except safetensors.SafetensorError as error:
            expected, remedy = "a whole safetensors file", "save the model again"
            raise Damaged(refusal(self.path, f"a file that cannot be read ({error})", expected, remedy)) from None
        self.described = self._json(metadata)

    def _header(self, name: str) -> tuple[tuple[int, ...], str]:
        tensor = self.file.get_slice(name)
        return tuple(tensor.get_shape()), DTYPES.get(tensor.get_dtype(), tensor.get_dtype())

    def _json(self, metadata: Mapping[str, str]) -> Plain:
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
            raise Damaged(refusal(f"{self.path}: format", f"version {short(version)}", expected, remedy))
        assert isinstance(described, dict)
        return described

    def body(self) -> Plain:
        """What the JSON has beside the version and who wrote it."""
        body = dict(self.described)
        if not isinstance(body.pop("written_by", None), str):
            raise self.damaged("written_by", self.described.get("written_by"), "the name of a program")
        del body["format_version"]
        return body

    # ------------------------------------------------------------------------------------------------ reading the JSON
    def damaged(self, what: str, got: Any, expected: str) -> Damaged:
        """The error for something that fastgd does not write."""
        return Damaged(refusal(f"{self.path}: {what}", short(got), expected, ADDRESSED))

    def exactly(self, what: str, given: Any, names: Names, optional: Names = ()) -> Plain:
        """A mapping with these keys, perhaps with optional ones, and no others."""
        if not isinstance(given, dict):
            raise self.damaged(what, given, "names with values")
        for missing in [name for name in names if name not in given]:
            raise self.damaged(what, sorted(given), f"{missing!r} among the keys")
        for unknown in [name for name in given if name not in names and name not in optional]:
            raise self.damaged(what, unknown, f"no keys but {', '.join([*names, *optional])}")
        return given

    def count(self, what: str, given: Any) -> int:
        """A whole number of at least 0."""
        if type(given) is not int or not 0 <= given < 1 << 62:
            raise self.damaged(what, given, "a whole number of at least 0")
        return given

    def number(self, what: str, given: Any) -> float:
        """A number with a point."""
        if type(given) is not float:
            raise self.damaged(what, given, "a number")
        return given

    def flag(self, what: str, given: Any) -> bool:
        """True or false."""
        if type(given) is not bool:
            raise self.damaged(what, given, "true or false")
        return given

    def plain_object(self, name: str, plain: Any) -> Any:
        """What plain data of this file stand for."""
        try:
            return from_plain(plain, f"{self.path}: {name}")
        except RecursionError:
            raise self.damaged(name, "lists in lists without end", "what fastgd writes") from None

    # --------------------------------------------------------------------------------------------- reading the tensors
    def shape(self, name: str, n_dimensions: int) -> tuple[int, ...]:
        """Of a tensor whose shape does not follow from anything else; zeros if there is none."""
        return (*self.tensors.get(name, ((), ""))[0], *[0] * n_dimensions)[:n_dimensions]

    def compare(self, expected: Expected) -> None:
        """Refuse a header that differs from what the JSON needs; nothing has been allocated yet."""
        for name in sorted(set(self.tensors) - set(expected)):
            raise self.damaged("tensors", name, "none beyond those that the configuration needs")
        for name, (shape, dtype) in expected.items():
            if name not in self.tensors:
                raise self.damaged(name, "no such tensor", f"shape {shape}, dtype {dtype}")
            if self.tensors[name] != (shape, dtype):
                got_shape, got_dtype = self.tensors[name]
                got, wanted = f"shape {got_shape}, dtype {got_dtype}", f"shape {shape}, dtype {dtype}"
                raise Damaged(refusal(f"{self.path}: {name}", got, wanted, ADDRESSED))

    def array(self, name: str) -> Array:
        """A tensor; `compare` has seen it."""
        array: Array = self.file.get_tensor(name)
        return array

    def finite(self, name: str) -> Array:
        """A tensor of finite numbers."""
        array = self.array(name)
        finite = np.isfinite(array)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise self.damaged(f"{name}{list(where)}", float(array[where]), "a finite number")
        return array


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def short(given: Any) -> str:
    """As an error shows it."""
    text = given if isinstance(given, str) else repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
