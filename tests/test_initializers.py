"""Initial weights: distributions, by theory and beside those of other libraries; structure; parameters."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from counterparts import BACKENDS
from extended import erf
from golden import load

import fastgd as fg
from fastgd.initializers import INITIALIZERS, Initializer

N_INPUTS, N_OUTPUTS = 300, 200

# Of a statistic beside its expectation, in standard errors: passed by chance once in a million; the seeds are fixed.
MOST_ERRORS = 5.0


def drawn(name, n_inputs=N_INPUTS, n_outputs=N_OUTPUTS, seed=0, **parameters):
    """Weights from a generator of NumPy's."""
    return INITIALIZERS[name](np.random.default_rng(seed).random, n_inputs, n_outputs, **parameters)


def uniform_distribution(x):
    """Of a standard deviation of 1."""
    return np.clip((x / math.sqrt(3.0) + 1.0) / 2.0, 0.0, 1.0)


def normal_distribution(x):
    return (1.0 + erf(x / math.sqrt(2.0)).astype(float)) / 2.0


def truncated_distribution(x):
    """Normal between -2 and 2, widened to a standard deviation of 1."""
    low, z = normal_distribution(np.array(-2.0)), np.clip(x * 0.87962566103423978, -2.0, 2.0)
    return (normal_distribution(z) - low) / (1.0 - 2.0 * low)


GLOROT, HE, LECUN = (math.sqrt(variance) for variance in (2 / (N_INPUTS + N_OUTPUTS), 2 / N_INPUTS, 1 / N_INPUTS))
DISTRIBUTIONS = {
    "uniform": (0.05 / math.sqrt(3.0), uniform_distribution),
    "normal": (0.05, normal_distribution),
    "truncated_normal": (0.05 * 0.87962566103423978, truncated_distribution),
    "glorot_uniform": (GLOROT, uniform_distribution),
    "glorot_normal": (GLOROT, normal_distribution),
    "glorot_truncated_normal": (GLOROT, truncated_distribution),
    "he_uniform": (HE, uniform_distribution),
    "he_normal": (HE, normal_distribution),
    "he_truncated_normal": (HE, truncated_distribution),
    "lecun_uniform": (LECUN, uniform_distribution),
    "lecun_normal": (LECUN, normal_distribution),
    "lecun_truncated_normal": (LECUN, truncated_distribution),
    "torch": (1 / math.sqrt(3.0 * N_INPUTS), uniform_distribution),
    "keras": (GLOROT, uniform_distribution),
    "sklearn": (GLOROT, uniform_distribution),
}
STRUCTURED = {"zeros", "constant", "orthogonal", "identity", "sparse"}


def test_every_initializer_has_its_test():
    assert set(INITIALIZERS) == STRUCTURED | set(DISTRIBUTIONS)


def kolmogorov_distance(W, deviation, distribution):
    """The largest distance of the empirical distribution from another, times the root of the number."""
    x = np.sort(W, axis=None) / deviation
    expected = distribution(x)
    steps = np.arange(len(x) + 1) / len(x)
    return math.sqrt(len(x)) * max(abs(expected - steps[1:]).max(), abs(expected - steps[:-1]).max())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_weights_are_distributed_as_they_should(name):
    """Kolmogorov and Smirnov: a distance of 2.7 is passed by chance once in a million."""
    assert kolmogorov_distance(drawn(name), *DISTRIBUTIONS[name]) < 2.7


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_scale_off_by_a_tenth_is_noticed(name):
    assert kolmogorov_distance(1.1 * drawn(name), *DISTRIBUTIONS[name]) > 2.7


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_neighbours_are_not_correlated(name):
    """In either direction, nor do two seeds give the same."""
    W = drawn(name) / DISTRIBUTIONS[name][0]
    for products in (W[1:] * W[:-1], W[:, 1:] * W[:, :-1], W * drawn(name, seed=1) / DISTRIBUTIONS[name][0]):
        assert abs(products.mean()) < MOST_ERRORS / math.sqrt(products.size)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        (library, name)
        for library in ("torch", "keras", "sklearn")
        for name in load("initializers")[library]
        if name in INITIALIZERS
    ],
)
def test_moments_are_those_of_the_library(library, name):
    """Deviation, kurtosis and reach, as far as 60,000 draws of each can tell."""
    theirs, W = load("initializers")[library][name], drawn(name)[:N_INPUTS]
    kurtosis = (W**4).mean() / W.var() ** 2
    # Standard errors of a deviation, relative, and of a kurtosis, from the spread of the fourth and eighth powers.
    z = W / W.std()
    error = math.sqrt(2.0 / W.size)
    assert abs(W.std() / theirs["deviation"] - 1.0) < MOST_ERRORS * error * math.sqrt((kurtosis - 1.0) / 4.0)
    assert abs(kurtosis - theirs["kurtosis"]) < MOST_ERRORS * error * (z**4).std() * math.sqrt(2.0)
    assert abs(W.mean() - theirs["mean"]) < MOST_ERRORS * error * W.std()
    if kurtosis < 2.5:   # A bounded distribution fills its bounds.
        assert abs(W).max() == pytest.approx(theirs["largest"], rel=5e-3)


def test_biases_are_zero_but_where_a_library_draws_them():
    for name in INITIALIZERS:
        W, b = fg.Sequential([fg.Dense(N_OUTPUTS, initializer=name)]).build(N_INPUTS).get_weights()
        assert W.shape == (N_INPUTS, N_OUTPUTS)
        assert b.shape == (N_OUTPUTS,)
        assert b.any() == (name in ("torch", "sklearn")), name
    biases = drawn("torch", 300, 60_000)[-1]
    theirs = load("initializers")["torch"]["torch biases"]
    assert biases.std() == pytest.approx(theirs["deviation"], rel=MOST_ERRORS / math.sqrt(60_000))
    assert abs(biases).max() == pytest.approx(theirs["largest"], rel=5e-3)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1)])
def test_orthogonal_matrices_are_orthogonal(shape):
    W = drawn("orthogonal", *shape, gain=2.0)
    product = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(product, 4.0 * np.eye(min(shape)), atol=1e-14)


def test_orthogonal_matrices_lie_either_way_equally_often():
    """In two dimensions an orthogonal matrix is a turn by any angle, or a reflection."""
    corners = np.array([drawn("orthogonal", 2, 2, seed=seed) for seed in range(2000)])
    angles = np.arctan2(corners[:, 1, 0], corners[:, 0, 0]) / (2.0 * math.pi) + 0.5
    assert math.sqrt(2000) * abs(np.sort(angles) - np.arange(2000) / 2000).max() < 2.7
    assert abs(np.linalg.det(corners).mean()) < MOST_ERRORS / math.sqrt(2000)


def test_sparse_columns_have_as_many_zeros_as_asked_for_anywhere():
    W = drawn("sparse", sparsity=0.75, scale=2.0)
    assert ((W == 0.0).sum(axis=0) == 225).all()
    rows = (W != 0.0).sum(axis=1)
    assert abs(rows - 50.0).max() < MOST_ERRORS * math.sqrt(200 * 0.25 * 0.75)
    assert kolmogorov_distance(W[W != 0.0], 2.0, normal_distribution) < 2.7


def test_plain_ones():
    assert not drawn("zeros").any()
    assert (drawn("constant", value=0.25) == 0.25).all()
    assert (drawn("identity", 2, 3, gain=0.5) == [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]).all()
    assert kolmogorov_distance(drawn("sklearn", factor=2.0), GLOROT / math.sqrt(3.0), uniform_distribution) < 2.7


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_same_seed_gives_the_same_bits_in_every_backend(name):
    """Layer by layer from its own stream; an odd number of weights, and one of them, will do."""
    for sizes in ((5, 3, 3), (1, 1, 1)):
        models = [
            fg.Sequential([fg.Dense(n, initializer=name) for n in sizes[1:]], seed=3, backend=backend).build(sizes[0])
            for backend in BACKENDS
        ]
        for one, *others in zip(*(model.get_weights() for model in models), strict=True):
            assert others and all(one.tobytes() == other.tobytes() for other in others)
            assert np.isfinite(one).all()


def test_parameters_are_checked_and_kept():
    small = fg.initializers.normal(scale=0.02)
    assert small == fg.initializers.normal(scale=0.02)
    assert small != fg.initializers.normal
    assert repr(fg.Dense(2, initializer=small)) == "Dense(2, initializer=normal(scale=0.02))"
    assert repr(fg.Dense(2, initializer="he_normal")) == "Dense(2, initializer='he_normal')"
    assert isinstance(pickle.loads(pickle.dumps(small)), Initializer)
    assert pickle.loads(pickle.dumps(small)) == small
    with pytest.raises(ValueError, match=r"scale: got -1, expected a finite number in \[0, inf\)"):
        fg.initializers.normal(scale=-1)
    with pytest.raises(TypeError, match="got parameter 'std', expected one of: scale"):
        fg.initializers.normal(std=0.1)
    assert repr(fg.Dense(2, "relu", initializer="glorot_uniform")) == (
        "Dense(2, activation='relu', initializer='glorot_uniform')"
    )
    with pytest.raises(ValueError, match="unknown initializer 'he_norml'; did you mean 'he_normal'"):
        fg.Dense(2, initializer="he_norml")
    with pytest.raises(TypeError, match="initializer: got 3, expected an initializer, or a name"):
        fg.Dense(2, initializer=3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (4, 5), (7, 3), (8, 2)])
@pytest.mark.parametrize("name", [name for name, one in INITIALIZERS.items() if one.piecewise])
def test_pieces_are_the_rows_of_the_whole(name, shape, monkeypatch):
    """Made two rows at a time, of an odd number of rows and of weights too; the biases come last."""
    chosen, draws = INITIALIZERS[name], np.random.default_rng(0).random(200)
    n_inputs, n_outputs = shape
    whole = chosen(lambda count: draws[:count].copy(), *shape)
    assert len(whole) == n_inputs + chosen.with_biases
    monkeypatch.setattr("fastgd.initializers.ELEMENTS_AT_ONCE", 2 * n_outputs)
    W, b = fg.Dense(n_outputs, initializer=name).initial_weights(
        lambda count, start: draws[start : start + count].copy(), n_inputs
    )
    pieces = list(W)
    assert len(pieces) == -(-n_inputs // 2)
    np.testing.assert_array_equal(np.concatenate(pieces), whole[:n_inputs])
    np.testing.assert_array_equal(b, whole[n_inputs] if chosen.with_biases else np.zeros(n_outputs))


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "elu", "gelu", "mish", "tanh", "selu"])
def test_the_default_keeps_numbers_their_size_through_many_layers(activation):
    """Ten wide layers, for inputs of mean square 1. Before relu Glorot's weights would lose half of it in each."""
    x = np.random.default_rng(0).normal(size=(200, 256))
    layers = [fg.Dense(256, activation) for _ in range(10)]
    model = fg.Sequential([*layers, fg.Dense(1)], seed=1).build(256)
    left = (model.transform(x, layer=-2) ** 2).mean()
    assert 0.5**5 < left < 2.0**5


def test_an_activation_of_ones_own_has_the_default_of_all_others():
    assert fg.Dense(3, "softsign").initializer == fg.initializers.glorot_uniform
    assert fg.Dense(3, fg.activations.leaky_relu(slope=0.3)).initializer == fg.initializers.he_uniform
