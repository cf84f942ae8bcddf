"""Philox4x32-10 in Python's whole numbers, and what is drawn from it.

Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF

SHUFFLE_STREAM = 1
INITIAL_WEIGHTS_STREAM = 2
DROPOUT_STREAM = 3


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four 32-bit words from a counter of four words and a key of two: ten rounds."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & WORD,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & WORD,
        )
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & WORD, (k1 + KEY_INCREMENTS[1]) & WORD
    return c0, c1, c2, c3


def draw(seed: int, stream: int, substream: int, index: int) -> int:
    """The 64-bit draw number `index`: two draws come from each block, its low words first."""
    block = index // 2
    words = philox4x32((block & WORD, block >> 32, stream, substream), (seed & WORD, seed >> 32))
    low, high = words[:2] if index % 2 == 0 else words[2:]
    return low | high << 32


def uniform53(seed: int, stream: int, substream: int, index: int) -> float:
    """A multiple of 2^-53 in [0, 1): the upper 53 bits of the draw."""
    return (draw(seed, stream, substream, index) >> 11) * 2.0**-53


def permutation(seed: int, epoch: int, n: int) -> list[int]:
    """Order of n rows in an epoch: Fisher & Yates from the top, one draw for each exchange."""
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = int(uniform53(seed, SHUFFLE_STREAM, epoch, i) * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


def kept_by_dropout(seed: int, step: int, layer: int, shape: tuple[int, int], rate: float) -> list[list[bool]]:
    """Which elements of a batch stay: a 32-bit draw each, of four rows from one block."""
    key = (seed & WORD, seed >> 32)

    def word(row: int, column: int) -> int:
        return philox4x32((column, row // 4, DROPOUT_STREAM | layer << 8, step), key)[row % 4]

    return [[word(row, column) >= int(rate * 2**32) for column in range(shape[1])] for row in range(shape[0])]
