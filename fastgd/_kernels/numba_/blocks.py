"""Which compiled code stands for a formula, a link, a loss."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._formula import ACTIVATIONS, rows
from ..._formula.block import Application, Block
from ..._formula.language import exp, expm1, read
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


def keeps_output(activation: Activation) -> bool:
    """Whether its derivative is had from the output, so that what it was applied to need not be kept."""
    return activation.name == "linear" or activation.derivative_of == "output"


def activation_units(activation: Activation, dtype: np.dtype[Any]) -> dict[str, Formulas]:
    """The block functions of an activation by the fields of a layer that have their addresses; none of linear."""
    if activation.name == "linear":
        return {}
    declared = {"activate": activation.forward_block, "differentiate": activation.derivative_block}
    return {field: Formulas(block, dtype.name) for field, block in declared.items()}


def loss_block(loss: Loss, dtype: np.dtype[Any]) -> int:
    """The block function of a loss of one score, or a user's own function of a row; 0 of fastgd's losses over rows."""
    if loss.row_function is not None:
        return int(rows.compile_(loss.row_function, dtype.name, loss.by_class).address)
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
        return Kernel("comparisons", loss.name, dtype.name)
    if loss.row_function is not None:
        return Kernel("losses", "own", dtype.name)
    # Without smoothing and weights it has a kernel of its own, that is quicker.
    if by_label and loss.name == "softmax_cross_entropy" and loss.is_default:
        return Kernel("softmax", "cross_entropy_of_labels", dtype.name)
    return Kernel("softmax" if loss.name in SOFTMAX_LOSSES else "losses", loss.name, dtype.name)


def scratch_bytes(loss: Loss, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> int:
    """Memory that a loss's kernel writes to for so many rows; see `comparisons.places_of` and `losses.make_own`."""
    if loss.compares_rows:
        lanes = records.VECTOR_BYTES // dtype.itemsize
        return (3 + 2 * n_outputs) * -(-n_rows // lanes) * lanes * dtype.itemsize
    return 3 * n_outputs * dtype.itemsize if loss.row_function is not None else 0
