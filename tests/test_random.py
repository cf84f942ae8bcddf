"""The counter-based generator: the published vectors, the oracle's whole numbers, and every backend the same."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import philox as oracle

from fastgd._kernels import available_backends, get_backend
from fastgd._kernels.random import (
    BLOCKS_AT_ONCE,
    INITIAL_WEIGHTS_STREAM,
    SHUFFLE_STREAM,
    permutation,
    philox4x32,
    uniform,
)

SEEDS = (0, 1, 2**32 - 1, 2**32, 2**64 - 1, 0x0123456789ABCDEF)

each_backend = pytest.mark.parametrize("backend", available_backends())


def test_the_published_vectors_come_out():
    """From Random123's known answers: counters and keys of zeros, of ones, of the digits of pi."""
    ones = 2**32 - 1
    counters = np.array([[0, 0, 0, 0], [ones] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]], np.uint64)
    keys = [(0, 0), (ones, ones), (0xA4093822, 0x299F31D0)]
    expected = [
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ]
    for counter, key, words in zip(counters, keys, expected, strict=True):
        assert tuple(int(w[0]) for w in philox4x32(tuple(counter[:, None]), key)) == words


@pytest.mark.parametrize("seed", SEEDS)
def test_words_equal_the_oracle_far_out(seed):
    """Counters whose upper words are in use, which no array of draws would reach."""
    random = np.random.default_rng(3)
    counters = random.integers(2**32, size=(4, 50), dtype=np.uint64)
    words = philox4x32(tuple(counters), (seed & 0xFFFFFFFF, seed >> 32))
    for k in range(50):
        expected = oracle.philox4x32(tuple(map(int, counters[:, k])), (seed & 0xFFFFFFFF, seed >> 32))
        assert tuple(int(w[k]) for w in words) == expected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_draws_equal_the_oracle(seed, count):
    """Odd counts end in the middle of a block."""
    for stream, substream in ((SHUFFLE_STREAM, 0), (INITIAL_WEIGHTS_STREAM, 2**32 - 1)):
        draws = uniform(seed, stream, substream, count)
        assert draws.dtype == np.float64
        assert draws.tolist() == [oracle.uniform53(seed, stream, substream, i) for i in range(count)]


def test_draws_go_on_where_a_piece_ends():
    """They are made in pieces; the oracle knows nothing of them."""
    edge = 2 * BLOCKS_AT_ONCE
    draws = uniform(5, 1, 0, edge + 3)
    for i in range(edge - 3, edge + 3):
        assert draws[i] == oracle.uniform53(5, 1, 0, i)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 257])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (2**64 - 1, 2**32 - 1)])
def test_permutations_equal_the_oracle(n, seed, epoch):
    """One draw for each exchange, from the top."""
    order = permutation(seed, epoch, n)
    assert order.dtype == np.intp
    assert order.tolist() == oracle.permutation(seed, epoch, n)


def test_every_part_of_the_key_matters():
    """Seed, both halves of it, stream and substream."""
    keys = [(0, 1, 0), (1, 1, 0), (2**32, 1, 0), (0, 2, 0), (0, 1, 1)]
    first = {uniform(*key, 4).tobytes() for key in keys}
    assert len(first) == len(keys)


def test_draws_are_uniform():
    """Multiples of 2^-53 in [0, 1); of 2^17 draws in 256 classes the chi-square is within six deviations."""
    draws = uniform(11, INITIAL_WEIGHTS_STREAM, 0, 2**17)
    assert ((draws >= 0.0) & (draws < 1.0)).all()
    assert (draws * 2.0**53 % 1.0 == 0.0).all()
    counts, expected = np.bincount((draws * 256).astype(int), minlength=256), 2**17 / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 255) < 6 * np.sqrt(2 * 255)


def test_permutations_are_uniform():
    """Each of the 24 orders of four rows comes up equally often over the epochs, within six deviations."""
    orders = [tuple(permutation(7, epoch, 4).tolist()) for epoch in range(4800)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 24
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert abs(chi_square - 23) < 6 * np.sqrt(2 * 23)


@each_backend
@pytest.mark.parametrize("seed", SEEDS)
def test_every_backend_draws_the_same(backend, seed):
    """To the bit, and of the same dtype."""
    module = get_backend(backend)
    for count in (0, 1, 1001):
        draws, expected = module.uniform(seed, 2, 3, count), uniform(seed, 2, 3, count)
        assert draws.dtype == np.float64
        assert draws.tobytes() == expected.tobytes()
        order, expected_order = module.permutation(seed, 9, count), permutation(seed, 9, count)
        assert order.dtype == np.intp
        assert order.tolist() == expected_order.tolist()
