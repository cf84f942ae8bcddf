"""The parts of a saved file: taken apart, spoiled and put together again."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

import fastgd as fg

# Whatever plain data may be in a place.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def read_parts(path: Path) -> tuple[dict, dict]:
    """Tensors, and what is said of them."""
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        return tensors, json.loads(file.metadata()["fastgd"])


def load_parts(tensors: dict, described: dict, path: Path) -> Any:
    """What a file of these parts is read as."""
    save = pytest.importorskip("safetensors.numpy").save
    path.write_bytes(save(tensors, metadata={"fastgd": json.dumps(described)}))
    return fg.load(path)


def places(plain: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where something stands in plain data."""
    yield at
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ():
        yield from places(value, (*at, key))


def with_other(described: dict, place: tuple, value: Any) -> dict:
    """A copy with something else in that place."""
    described = copy.deepcopy(described)
    *way, last = place
    inside = described
    for key in way:
        inside = inside[key]
    inside[last] = value
    return described
