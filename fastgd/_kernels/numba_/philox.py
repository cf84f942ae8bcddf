"""Philox4x32-10 for compiled functions: the draws of `fastgd._kernels.random`, one at a time."""

from __future__ import annotations

import numpy as np

from ..random import KEY_INCREMENTS, MULTIPLIERS, SHUFFLE_STREAM
from .compiler import compiled, inlined
from .memory import get_integer, put_integer

M0, M1 = MULTIPLIERS
K0, K1 = map(np.uint64, KEY_INCREMENTS)
LOW, HALF, ELEVEN, ONE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(11), np.uint64(1)
ROUNDS = 10
STREAM = np.uint64(SHUFFLE_STREAM)
LAST_PLACE = 2.0**-53


@inlined
def philox(c0, c1, c2, c3, seed):
    """Four words of 32 bits from four and a key of 64, all in uint64."""
    k0, k1 = seed & LOW, seed >> HALF
    for _ in range(ROUNDS):
        a, b = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & LOW, (a >> HALF) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + K0) & LOW, (k1 + K1) & LOW
    return c0, c1, c2, c3


@compiled
def permute(seed, epoch, n, order):
    """Fisher and Yates from the top: place i is drawn with draw number i; two draws come from one block."""
    for i in range(n):
        put_integer(order, i, i)
    for i in range(n - 1, 0, -1):
        index = np.uint64(i)
        words = philox((index >> ONE) & LOW, (index >> ONE) >> HALF, STREAM, np.uint64(epoch), seed)
        low, high = (words[2], words[3]) if i & 1 else (words[0], words[1])
        j = np.int64(float((low | high << HALF) >> ELEVEN) * LAST_PLACE * float(i + 1))
        other = get_integer(order, i)
        put_integer(order, i, get_integer(order, j))
        put_integer(order, j, other)
    return 0
