"""The autoencoder."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd.sklearn import MLPAutoencoder, SGDClassifier  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits():
    """Part of them, from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def test_without_hidden_layers_it_finds_the_principal_components():
    """The plane that loses least: as much as PCA gives back, and no more can be."""
    X = digits()[0][:, 10:30]
    linear = MLPAutoencoder(3, (), solver="lbfgs", alpha=0.0, tol=1e-5, max_iter=500, random_state=0).fit(X)
    explained = PCA(3).fit(X).explained_variance_ratio_.sum()
    assert linear.score(X) == pytest.approx(explained, abs=1e-4)


def test_codes_and_rows_are_each_others():
    """Through the code or at once; a copy has the same; rows unlike the others stand out."""
    X, _ = digits()
    settings = {"learning_rate_init": 0.005, "batch_size": 32, "max_iter": 30, "random_state": 0}
    autoencoder = MLPAutoencoder(6, (32,), "tanh", **settings).fit(X)
    codes = autoencoder.transform(X)
    assert codes.shape == (400, 6)
    np.testing.assert_allclose(autoencoder.inverse_transform(codes), autoencoder.reconstruct(X), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(autoencoder)).transform(X), codes)
    assert autoencoder.score(X) > 0.6
    errors = autoencoder.reconstruction_errors
    assert errors(1 - X).min() > np.median(errors(X))


def test_it_goes_on_from_where_it_stands():
    """Block by block, or in further fits."""
    X, _ = digits()
    autoencoder = MLPAutoencoder(4, (16,), learning_rate_init=0.01, random_state=0, warm_start=True, max_iter=5)
    before = autoencoder.fit(X).score(X)
    assert autoencoder.fit(X).score(X) > before
    stream = MLPAutoencoder(4, (16,), learning_rate_init=0.01, random_state=0)
    scores = [stream.partial_fit(X).score(X) for _ in range(20)]
    assert scores[-1] > scores[0]


def test_rows_have_weights():
    """Those without one have no part in what is learnt, in a fit or block by block, nor in the score."""
    X, _ = digits()
    weights = np.repeat([1.0, 0.0], 200)
    settings = {"solver": "lbfgs", "max_iter": 20, "random_state": 0}
    some = MLPAutoencoder(4, (16,), **settings).fit(X[:200])
    weighted = MLPAutoencoder(4, (16,), **settings).fit(X, sample_weight=weights)
    np.testing.assert_allclose(weighted.reconstruct(X), some.reconstruct(X), rtol=0, atol=1e-6)
    assert weighted.score(X, sample_weight=weights) == pytest.approx(weighted.score(X[:200]), rel=1e-12)
    stream = MLPAutoencoder(4, (16,), random_state=0).partial_fit(X, sample_weight=weights)
    assert stream.regressor_.loss_ != MLPAutoencoder(4, (16,), random_state=0).partial_fit(X).regressor_.loss_
    with pytest.raises(ValueError, match="^sample_weight: got -1.0"):
        stream.fit(X, sample_weight=-weights)


def test_data_that_are_refused_change_nothing():
    """Nor do parameters that do not suit the network there is."""
    X, _ = digits()
    autoencoder = MLPAutoencoder(4, (16,), random_state=0, max_iter=3).fit(X)
    autoencoder.set_params(n_components=3)
    before = pickle.dumps(autoencoder)
    with pytest.raises(ValueError, match="NaN"):
        autoencoder.fit(X[:, :5] * np.nan)
    with pytest.raises(ValueError, match="parameters set since the last fit"):
        autoencoder.partial_fit(X)
    assert pickle.dumps(autoencoder) == before


def test_codes_are_those_of_the_fit():
    """Whatever has been set since; of averaged weights where these predict, and of ones that were put there."""
    X, _ = digits()
    autoencoder = MLPAutoencoder(4, (16,), solver=fg.Adam(0.01, average=1), max_iter=5, random_state=0).fit(X)
    autoencoder.set_params(n_components=2, hidden_layer_sizes=())
    codes = autoencoder.transform(X)
    assert codes.shape[1] == len(autoencoder.get_feature_names_out()) == 4
    np.testing.assert_allclose(autoencoder.inverse_transform(codes), autoencoder.reconstruct(X), rtol=0, atol=1e-12)
    autoencoder.regressor_.coefs_[-1] = np.zeros((16, 64))
    assert np.ptp(autoencoder.inverse_transform(codes), axis=0).max() == 0
    with pytest.raises(ValueError, match="^codes: got 5 columns, expected 4, one for each component"):
        autoencoder.inverse_transform(X[:, :5])


def test_in_a_pipeline():
    """Codes tell the digits apart; their columns have names."""
    X, y = digits()
    autoencoder = MLPAutoencoder(12, (48,), learning_rate_init=0.005, batch_size=32, max_iter=30, random_state=0)
    pipeline = make_pipeline(autoencoder, StandardScaler(), SGDClassifier(random_state=0)).fit(X, y)
    assert pipeline.score(X, y) > 0.85
    assert list(autoencoder.get_feature_names_out()) == [f"mlpautoencoder{k}" for k in range(12)]
