"""Which compiled code stands for a formula, a link, a loss."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._formula import ACTIVATIONS
from ..._formula.block import Application, Block
from ..._formula.language import exp, expm1, read
from ...errors import refusal
from . import objects, records, tiles
from .objects import Formulas, Kernel

if TYPE_CHECKING:
    from ..._formula import Activation, Loss


def panel_width(dtype: np.dtype[Any]) -> int:
    """Columns of a panel on this machine."""
    return records.panel_width(dtype, tiles.shape_for(tiles.host()[1]).vectors)


@cache
def _tiles(dtype: str) -> Any:
    found = objects.addresses(objects.Tiles(dtype))
    return (ctypes.c_int64 * len(found))(*found)


def tiles_table(dtype: np.dtype[Any]) -> int:
    """Where the addresses of the tiles are."""
    return ctypes.addressof(_tiles(dtype.name))


def activate(layer: records.Layer, activation: Activation, scalars: int, dtype: np.dtype[Any]) -> None:
    """Give a layer its activation, whose scalars are at an address."""
    if activation.name != "linear":
        layer.activate = address(activation.forward_block, dtype)
        layer.differentiate = address(activation.derivative_block, dtype)
    layer.keeps_output = activation.name == "linear" or activation.derivative_of == "output"
    layer.activation_scalars = scalars


def loss_block(loss: Loss, dtype: np.dtype[Any]) -> int:
    """The block function of a loss of one score, 0 of one over rows."""
    return 0 if loss.rowwise else address(loss.block, dtype)


def address(block: Block, dtype: np.dtype[Any]) -> int:
    """A formula's block function."""
    return objects.address(Formulas(block, dtype.name))


def link_exp(z):  # type: ignore[no-untyped-def]
    """The inverse of the logarithm."""
    return exp(z)


def link_expm1(z):  # type: ignore[no-untyped-def]
    """The inverse of the logarithm of one more."""
    return expm1(z)


def _block_of(function: Any) -> Block:
    formula = read(function)
    return Block(formula.name, ("z", "a"), (), (Application(formula, ("z",), ("a",)),), in_place=(("a", "z"),))


LINKS = {"exp": _block_of(link_exp), "expm1": _block_of(link_expm1)}
ROW_LINKS = {"softmax": "softmax", "mean_and_variance": "losses", "increasing": "losses"}
"""Links that take several scores at a time, and the module that has their kernel."""


def link(name: str, dtype: np.dtype[Any]) -> int:
    """The block function of a link of one score; 0 for linear, and where `row_link` has it."""
    if name == "linear" or name in ROW_LINKS:
        return 0
    return address(ACTIVATIONS[name].forward_block if name == "sigmoid" else LINKS[name], dtype)


def row_link(name: str, dtype: np.dtype[Any]) -> int:
    """The kernel of a link of a row of scores; 0 for one that takes each by itself."""
    return objects.address(Kernel(ROW_LINKS[name], f"link_{name}", dtype.name)) if name in ROW_LINKS else 0


SOFTMAX_LOSSES = ("softmax_cross_entropy", "softmax_focal_cross_entropy", "kl_divergence")


def loss_kernel(loss: Loss, by_label: bool, dtype: np.dtype[Any]) -> Kernel:
    """The kernel of a loss; of targets that are labels, or rows."""
    if not loss.rowwise:
        return Kernel("losses", "elementwise", dtype.name)
    if loss.compares_rows:
        expected = "one of each row by itself, with backend 'numba'"
        raise ValueError(refusal("loss", f"{loss.name!r}, which compares rows", expected, "pass backend='cython'"))
    if loss.row_function is not None:
        expected = "a formula, or a row-wise loss of fastgd's own, with backend 'numba'"
        raise ValueError(refusal("loss", f"{loss.name!r}, row-wise", expected, "pass backend='cython'"))
    # Without smoothing and weights it has a kernel of its own, that is quicker.
    if by_label and loss.name == "softmax_cross_entropy" and loss.is_default:
        return Kernel("softmax", "cross_entropy_of_labels", dtype.name)
    return Kernel("softmax" if loss.name in SOFTMAX_LOSSES else "losses", loss.name, dtype.name)
