"""Random numbers from a counter: the same for any number of threads, any backend, any order of drawing.

A draw is a function of (seed, stream, substream, index) and of nothing else, so that a checkpoint needs only the
counters. The generator is Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as
1, 2, 3"); NumPy's own streams may change between its versions, these do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SHUFFLE_STREAM = 1
"""Order of the rows; the substream is the epoch."""

INITIAL_WEIGHTS_STREAM = 2
"""Weights at the start; the substream is the layer."""

SEARCH_STREAM = 4
"""What random search tries; the substream is the iteration."""

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
LOW = np.uint64(WORD)
HIGH = np.uint64(32)

DROPOUT_STREAM = 3
"""Which elements dropout keeps; with the layer's number in the upper bits. The substream is the number of the step."""

# Small enough that a round's arrays stay in the second-level cache.
BLOCKS_AT_ONCE = 4096

Words = tuple["npt.NDArray[np.uint64]", ...]
Kept: TypeAlias = "npt.NDArray[np.bool_]"


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Ten rounds on many counters at once.

    Parameters
    ----------
    counter : tuple of four uint64 arrays
        Each holds 32-bit words.
    key : tuple of two int

    Returns
    -------
    tuple of four uint64 arrays
        The random words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = (product1 >> HIGH) ^ c1 ^ np.uint64(k0), (product0 >> HIGH) ^ c3 ^ np.uint64(k1)
        c1, c3 = product1 & LOW, product0 & LOW
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & WORD, (k1 + KEY_INCREMENTS[1]) & WORD
    return c0, c1, c2, c3


def uniform(
    seed: int, stream: int, substream: int, count: int, start: int = 0
) -> npt.NDArray[np.float64]:
    """Draws of a stream, one after the other.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    stream, substream : int
        From 0 to 2**32 - 1.
    count : int
    start : int
        Number of the first one; even.

    Returns
    -------
    ndarray of shape (count,), float64
        Multiples of 2**-53 in [0, 1).
    """
    n_blocks = (count + 1) // 2
    draws = np.empty((n_blocks, 2))
    for first in range(0, n_blocks, BLOCKS_AT_ONCE):
        last = min(first + BLOCKS_AT_ONCE, n_blocks)
        index = np.arange(start // 2 + first, start // 2 + last, dtype=np.uint64)
        which = [np.full(len(index), word, np.uint64) for word in (stream, substream)]
        words = philox4x32((index & LOW, index >> HIGH, *which), (seed & WORD, seed >> 32))
        for k in range(2):
            draw = words[2 * k] | words[2 * k + 1] << HIGH
            draws[first:last, k] = (draw >> np.uint64(11)) * 2.0**-53
    return draws.reshape(-1)[:count]


def kept_by_dropout(seed: int, step: int, layer: int, shape: tuple[int, int], rate: float) -> Kept:
    """Which elements of a layer's output stay in a step.

    Each has a draw of 32 bits: column and a fourth of the row are the counter, what is left of the row chooses one of
    its four words.

    Parameters
    ----------
    seed, step, layer : int
    shape : tuple of int
        Rows of the batch, columns.
    rate : float
        The share that goes, in [0, 1); rounded down to a multiple of 2**-32.

    Returns
    -------
    ndarray of bool
    """
    n_rows, n_columns = shape
    blocks, columns = np.meshgrid(np.arange(-(-n_rows // 4)), np.arange(n_columns), indexing="ij")
    which = [np.full(blocks.shape, word & WORD, np.uint64) for word in (DROPOUT_STREAM | layer << 8, step)]
    words = philox4x32((columns.astype(np.uint64), blocks.astype(np.uint64), *which), (seed & WORD, seed >> 32))
    rows = np.stack(words, axis=1).reshape(-1, n_columns)[:n_rows]
    kept: Kept = rows >= np.uint64(rate * 2.0**32)
    return kept


def permutation(seed: int, epoch: int, n: int) -> npt.NDArray[np.intp]:
    """The order of n rows in an epoch: Fisher and Yates from the top, draw i for the exchange at place i.

    Parameters
    ----------
    seed, epoch, n : int

    Returns
    -------
    ndarray of shape (n,), intp
    """
    places = np.arange(1, n + 1)
    other: list[Any] = (uniform(seed, SHUFFLE_STREAM, epoch, n) * places).astype(np.intp).tolist()
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = other[i]
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.intp)
