"""Classes that come up in a later `partial_fit`: outputs grow, and what was learnt stays."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("fastgd._kernels.cython_")

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402

# Batches of ten rows from fewer.
pytestmark = pytest.mark.filterwarnings("ignore:Got `batch_size`")

X = np.random.default_rng(0).normal(size=(120, 4))
NAMES = np.array(["ant", "bee", "cat", "dog"])
LABELS = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)


def network(**settings):
    """A small one."""
    fixed = {"accept_new_classes": True, "batch_size": 10, "learning_rate_init": 5e-3, "random_state": 0}
    return ours.MLPClassifier((6,), **{**fixed, **settings})


def linear(**settings):
    """A linear model whose rate does not fall before all classes are known."""
    fixed = {"accept_new_classes": True, "learning_rate": "constant", "eta0": 0.01, "random_state": 0}
    return ours.SGDClassifier(**{**fixed, **settings})


KINDS = {
    "network": network,
    "network, hinge": lambda: network(loss="hinge"),
    "network, lion": lambda: network(solver=fg.Lion(5e-3)),
    "network, averages": lambda: network(solver=fg.Adam(5e-3, ema=0.9)),
    "linear": linear,
    "linear, averages": lambda: linear(average=50),
    "linear, softmax": lambda: linear(loss="softmax_cross_entropy", eta0=0.1),
}


def rows(*names):
    """The rows of some classes, and their labels as text."""
    chosen = np.isin(NAMES[LABELS], names)
    return X[chosen], NAMES[LABELS[chosen]]


def scores_of(estimator, first, second):
    """By how much one class is likelier than another."""
    scores, places = estimator.decision_function(X), list(estimator.classes_)
    if scores.ndim == 1:
        return scores if places.index(first) > places.index(second) else -scores
    return scores[:, places.index(first)] - scores[:, places.index(second)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stages", [(("bee", "cat"), ("ant",), ("dog",)), (("ant", "dog"), ("bee", "cat"))])
def test_what_is_known_stays_and_what_is_new_is_learnt(kind, stages):
    """The order of the classes known is the same just after; with further rows all are told apart."""
    estimator = KINDS[kind]()
    for k, names in enumerate(stages):
        given = rows(*[name for stage in stages[: k + 1] for name in stage])
        if not k:
            for _ in range(60):
                estimator.partial_fit(*given)
            continue
        known = [name for stage in stages[:k] for name in stage]
        before = scores_of(estimator, known[1], known[0])
        # One step makes room for the class, and little more.
        estimator.partial_fit(X[:1], names[:1], sample_weight=[1e-9] if "linear" in kind else None)
        after = scores_of(estimator, known[1], known[0])
        assert list(estimator.classes_) == sorted({*known, *names[:1]})
        doubled = len(known) == 2 and kind in ("linear", "linear, averages")
        np.testing.assert_allclose(after, 2 * before if doubled else before, rtol=1e-2, atol=0.2)
        for _ in range(60):
            estimator.partial_fit(*given)
    straight = KINDS[kind]()
    for _ in range(60):
        straight.partial_fit(*rows(*NAMES))
    assert estimator.score(*rows(*NAMES)) > max(0.7, straight.score(*rows(*NAMES)) - 0.15)
    np.testing.assert_array_equal(estimator.classes_, NAMES)


@pytest.mark.parametrize("new", ["zebra", "aardvark"])
def test_from_a_single_class(new):
    """It is taken for what it is, wherever the other stands; and so is the next."""
    estimator = network(learning_rate_init=0.05)
    for _ in range(50):
        estimator.partial_fit(X, np.full(120, "mouse"))
    assert set(estimator.predict(X)) == {"mouse"}
    estimator.partial_fit(X[:1], [new])
    assert list(estimator.classes_) == sorted(["mouse", new])
    assert estimator.predict_proba(X)[:, list(estimator.classes_).index("mouse")].min() > 0.5
    straight = network(learning_rate_init=0.05)
    for _ in range(50):
        straight.partial_fit(X, np.full(120, "mouse"))
    straight.partial_fit(X[:2], [new, "owl"])
    assert straight.decision_function(X).shape == (120, 3)


def test_the_optimizers_state_is_kept():
    """Of hidden layers all of it, of the last that of the classes known."""
    estimator = network().partial_fit(*rows("ant", "bee", "cat"))
    before = estimator._model._built().get_slots()
    estimator._take_in(np.array(["dog", "ant"]))
    after = estimator._model._built().get_slots()
    assert len(after) == len(before) == 2
    for a, b in zip(before, after, strict=True):
        for k in range(2):
            np.testing.assert_array_equal(a[k], b[k])
        np.testing.assert_array_equal(b[2][:, :3], a[2])
        np.testing.assert_array_equal(b[3][:3], a[3])
        assert not b[2][:, 3].any() and not b[3][3]
    assert estimator._model.n_steps_done == -(-len(rows("ant", "bee", "cat")[1]) // 10)


def test_nothing_grows_unasked():
    """scikit-learn's refusal, word for word, and the classifier as it was."""
    for estimator in (network(accept_new_classes=False), linear(accept_new_classes=False)):
        estimator.partial_fit(*rows("ant", "bee"), classes=["ant", "bee"])
        before = estimator.decision_function(X)
        with pytest.raises(ValueError):
            estimator.partial_fit(*rows("ant", "cat"))
        np.testing.assert_array_equal(estimator.decision_function(X), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["a row", "a weight", "labels"])
def test_rows_that_are_refused_let_nothing_grow(kind, wrong):
    """Whatever is wrong with them."""
    estimator = KINDS[kind]().partial_fit(*rows("ant", "bee"))
    before = estimator.decision_function(X)
    given = {"X": X[:4].copy(), "y": NAMES, "sample_weight": None}
    if wrong == "a row":
        given["X"][2, 1] = np.nan
    elif wrong == "a weight":
        given["sample_weight"] = [1.0, np.nan, 1.0, 1.0]
    else:
        given["y"] = [1, 2, 3, 4]
    with pytest.raises(ValueError):
        estimator.partial_fit(**given)
    assert list(estimator.classes_) == ["ant", "bee"]
    np.testing.assert_array_equal(estimator.decision_function(X), before)


@pytest.mark.parametrize("make", [network, linear])
def test_balanced_weights_count_new_classes(make):
    """From when they come up."""
    estimator = make(class_weight="balanced")
    estimator.partial_fit(X[:4], ["bee", "bee", "bee", "cat"]).partial_fit(X[:3], ["ant", "ant", "cat"])
    np.testing.assert_array_equal(estimator._class_counts, [2, 3, 2])


@pytest.mark.parametrize("make", [network, linear])
def test_a_copy_goes_on_as_the_original(make):
    """To the bit, once it has grown."""
    original = make().partial_fit(*rows("ant", "bee")).partial_fit(*rows("ant", "cat"))
    copied = pickle.loads(pickle.dumps(original))
    for estimator in (original, copied):
        estimator.partial_fit(X, NAMES[LABELS])
    np.testing.assert_array_equal(copied.decision_function(X), original.decision_function(X))
