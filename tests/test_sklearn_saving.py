"""Saved estimators: they predict and train on to the same bits, and no file does harm."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
safetensors = pytest.importorskip("safetensors.numpy")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from saved_files import JSON, load_parts, places, read_parts, with_other  # noqa: E402
from sklearn.base import clone, is_classifier  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402
from fastgd.sklearn.calibration import METHODS  # noqa: E402
from fastgd.sklearn.saving import ATTRIBUTES, LEFT_OUT  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, N_COLUMNS = 60, 4
LABELS = {
    "text": np.array(["ant", "bee", "cow", "dromedary"]),
    "text of Python's": np.array(["ant", "bee", "cow"], object),
    "other letters": np.array(["Ärger", "öl", "日本", "🙂"]),
    "numbers": np.array([-3, 0, 7]),
    "short numbers": np.array([1, 2, 200], np.uint8),
    "numbers with a point": np.array([-1.0, 0.0, 2.0]),
    "truth values": np.array([False, True]),
}


def rows():
    draw = np.random.default_rng(0)
    return draw.normal(size=(N, N_COLUMNS)), draw


def classes(labels=LABELS["text"]):
    X, _ = rows()
    return X, labels[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0) * (len(labels) > 2)]


def numbers(n_outputs=1):
    X, draw = rows()
    return X, np.squeeze(np.tanh(X @ draw.normal(size=(N_COLUMNS, n_outputs))))


def several():
    X, _ = rows()
    return X, (X[:, :3] > 0).astype(int)


def counts():
    X, y = numbers(2)
    return X, np.floor(3 * np.abs(y))


CLASSES, NUMBERS = classes(), numbers()
FITTED = {
    "classifier": (ours.MLPClassifier((5,), random_state=0), CLASSES),
    "of two classes": (ours.MLPClassifier((5,), random_state=0), classes(LABELS["truth values"])),
    "of single precision": (ours.MLPClassifier((5,), random_state=0), (CLASSES[0].astype("f4"), CLASSES[1])),
    "several classes a row": (ours.MLPClassifier((5,), random_state=0), several()),
    "layers of all kinds": (
        ours.MLPClassifier((6, 5), ["tanh", "relu"], dropout=0.2, normalization="batch", random_state=0),
        CLASSES,
    ),
    "fastgd's own way": (ours.MLPClassifier((5,), dialect=None, random_state=0, n_threads=2), CLASSES),
    "early stopping": (
        ours.MLPClassifier((5,), early_stopping=True, validation_fraction=0.3, max_iter=20, random_state=0),
        CLASSES,
    ),
    "class weights": (
        ours.MLPClassifier((5,), class_weight={"ant": 2.0, "bee": 0.5, "cow": 1.0}, random_state=0),
        CLASSES,
    ),
    "balanced": (ours.MLPClassifier((5,), class_weight="balanced", random_state=0), CLASSES),
    "objects for names": (
        ours.MLPClassifier(
            np.array([6, 5]),
            fg.activations.leaky_relu(slope=0.25),
            solver=fg.AdamW(fg.schedules.Linear(0.01, 0.0, steps=50), weight_decay=0.1),
            loss=fg.losses.softmax_cross_entropy(label_smoothing=0.1),
            random_state=0,
        ),
        CLASSES,
    ),
    "a falling rate": (ours.MLPClassifier((5,), solver="sgd", learning_rate="invscaling", random_state=0), CLASSES),
    "an adaptive rate": (
        ours.MLPClassifier((5,), solver="sgd", learning_rate="adaptive", n_iter_no_change=1, tol=1.0, random_state=0),
        CLASSES,
    ),
    "a schedule for several": (
        ours.MLPClassifier((5,), solver="sgd", learning_rate=fg.schedules.Cosine(0.1, 0.0, steps=50), random_state=0),
        several(),
    ),
    "lbfgs": (ours.MLPClassifier((5,), solver="lbfgs", max_iter=5, random_state=0), CLASSES),
    "averages": (ours.MLPRegressor(hidden_layer_sizes=(5,), solver=fg.Adam(0.01, ema=0.9), random_state=0), NUMBERS),
    "regressor": (ours.MLPRegressor(hidden_layer_sizes=5, random_state=0), numbers(2)),
    "poisson": (ours.MLPRegressor("poisson", (5,), random_state=0), counts()),
    "quantiles": (ours.MLPRegressor(fg.losses.quantiles(levels=(0.1, 0.5, 0.9)), (5,), random_state=0), NUMBERS),
    "a random state that goes on": (ours.MLPRegressor(hidden_layer_sizes=(5,), random_state=None), NUMBERS),
    "linear classifier": (ours.SGDClassifier(random_state=0), CLASSES),
    "linear of two classes": (ours.SGDClassifier("log_loss", random_state=0), classes(LABELS["numbers"][:2])),
    "linear of averages": (ours.SGDClassifier(average=10, class_weight="balanced", random_state=0), CLASSES),
    "multinomial": (ours.SGDClassifier("softmax_cross_entropy", batch_size=8, random_state=0), CLASSES),
    "linear with a schedule": (
        ours.SGDClassifier("huber", learning_rate=fg.schedules.Cosine(0.1, 0.01, steps=500), random_state=0),
        CLASSES,
    ),
    "linear regressor": (ours.SGDRegressor(random_state=0, early_stopping=True), NUMBERS),
    "linear regressor of averages": (ours.SGDRegressor(random_state=0, average=True), NUMBERS),
    **{
        f"calibrated by {method}": (
            ours.MLPClassifier((5,), calibration=method, validation_fraction=0.4, random_state=0),
            CLASSES,
        )
        for method in sorted(METHODS.options)
    },
    "calibrated for two classes": (
        ours.SGDClassifier("hinge", calibration="isotonic", validation_fraction=0.4, random_state=0),
        classes(LABELS["truth values"]),
    ),
    "watched": (ours.MLPClassifier((5,), callbacks=[fg.EarlyStopping("loss")], random_state=0), CLASSES),
    "open to new classes": (ours.MLPClassifier((5,), accept_new_classes=True, random_state=0), CLASSES),
    "autoencoder": (ours.MLPAutoencoder(2, (5,), random_state=0), CLASSES),
}


def goes_row_by_row(estimator):
    """Not all rows at once, and none held out."""
    return hasattr(estimator, "partial_fit") and getattr(estimator, "calibration", None) is None


def made(name):
    """An unfitted copy, with a short fit; and its data."""
    estimator, (X, y) = FITTED[name]
    estimator = clone(estimator)
    if estimator.max_iter > 100:
        estimator.set_params(max_iter=4)
    if name == "a random state that goes on":
        estimator.set_params(random_state=np.random.RandomState(7))
    return estimator, X, y


def answers(estimator, X):
    """All that it says of rows."""
    names = ("predict", "predict_proba", "decision_function", "transform", "reconstruct")
    return [np.asarray(getattr(estimator, name)(X)) for name in names if hasattr(estimator, name)]


def assert_same_answers(one, other, X):
    for mine, theirs in zip(answers(one, X), answers(other, X), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist() if mine.dtype == object else mine.tobytes() == theirs.tobytes()


def curves(estimator):
    inner = getattr(estimator, "regressor_", estimator)
    return [getattr(inner, name, None) for name in ("loss_curve_", "validation_scores_", "n_iter_", "t_")]


def read_again(estimator, tmp_path):
    path = tmp_path / "estimator.safetensors"
    estimator.save(path)
    return fg.load(path)


@pytest.mark.parametrize("name", FITTED)
def test_an_estimator_is_read_as_it_was_written(name, tmp_path):
    """It answers, and is shown, as before."""
    estimator, X, y = made(name)
    estimator.fit(X, y)
    loaded = read_again(estimator, tmp_path)
    # Callbacks are not in the file.
    estimator.set_params(**{"callbacks": None} if "callbacks" in estimator.get_params() else {})
    assert type(loaded) is type(estimator)
    # A random state is shown with its address.
    assert re.sub("0x[0-9A-F]+", "", repr(loaded)) == re.sub("0x[0-9A-F]+", "", repr(estimator))
    assert {type(value) for value in loaded.get_params().values()} == {
        type(value) for value in estimator.get_params().values()
    }
    assert_same_answers(loaded, estimator, X)
    assert curves(loaded) == curves(estimator)
    assert set(vars(loaded)) == set(vars(estimator)) - LEFT_OUT - {"_lists"}


@pytest.mark.parametrize("name", [name for name, (made, _) in FITTED.items() if goes_row_by_row(made)])
def test_training_goes_on_row_by_row(name, tmp_path):
    """To the bits of one that was never saved."""
    estimator, X, y = made(name)
    estimator.set_params(early_stopping=False)
    known = {"classes": np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])} if is_classifier(estimator) else {}
    estimator.partial_fit(X[:40], y[:40], **known)
    loaded = read_again(estimator, tmp_path)
    for each in (estimator, loaded):
        for first in (0, 20, 40):
            each.partial_fit(X[first : first + 20], y[first : first + 20])
    assert_same_answers(loaded, estimator, X)
    assert curves(loaded) == curves(estimator)


@pytest.mark.parametrize("name", FITTED)
def test_a_warm_start_goes_on(name, tmp_path):
    """To the bits of one that was never saved."""
    estimator, X, y = made(name)
    estimator.set_params(warm_start=True).fit(X, y)
    loaded = read_again(estimator, tmp_path)
    for each in (estimator, loaded):
        each.fit(X, y)
    assert_same_answers(loaded, estimator, X)
    assert curves(loaded) == curves(estimator)


@pytest.mark.parametrize("make", [ours.MLPClassifier, ours.SGDClassifier])
@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_any_kind(labels, make, tmp_path):
    """With their dtype, the width of text included."""
    X, y = classes(LABELS[labels])
    estimator = make(max_iter=3, random_state=0).fit(X, y)
    loaded = read_again(estimator, tmp_path)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.classes_.tolist() == estimator.classes_.tolist()
    assert [type(label) for label in loaded.classes_] == [type(label) for label in estimator.classes_]
    assert loaded.predict(X).tolist() == estimator.predict(X).tolist()


@pytest.mark.parametrize("make", [ours.MLPClassifier, ours.SGDClassifier])
def test_a_stream_goes_on_with_new_classes(make, tmp_path):
    """To the bits of one that was never saved."""
    X, y = CLASSES
    known = y != "cow"
    estimator = make(accept_new_classes=True, random_state=0).partial_fit(X[known], y[known])
    loaded = read_again(estimator, tmp_path)
    for each in (estimator, loaded):
        each.partial_fit(X, y)
    assert loaded.classes_.tolist() == ["ant", "bee", "cow"]
    assert_same_answers(loaded, estimator, X)


def test_who_routes_wraps_and_watches_is_not_in_the_file(tmp_path):
    """What a program says of an estimator when it makes one; nothing of it hinders saving."""
    callback = pytest.importorskip("sklearn.callback")
    X, y = CLASSES
    estimator = ours.MLPClassifier(max_iter=2).set_output(transform="pandas").set_callbacks(callback.ProgressBar())
    loaded = read_again(estimator.fit(X, y), tmp_path)
    assert not LEFT_OUT & set(vars(loaded))


def test_names_of_features_are_kept(tmp_path):
    """And other names are refused as before."""
    pandas = pytest.importorskip("pandas")
    X, y = NUMBERS
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    loaded = read_again(ours.MLPRegressor(max_iter=2).fit(frame, y), tmp_path)
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[["b", "a", "c", "d"]])


def test_coefficients_that_were_assigned_are_saved(tmp_path):
    """As they are pickled."""
    X, y = NUMBERS
    estimator = ours.MLPRegressor(max_iter=2).fit(X, y)
    estimator.coefs_ = [0.5 * W for W in estimator.coefs_]
    assert_same_answers(read_again(estimator, tmp_path), estimator, X)


def test_the_same_estimator_makes_the_same_file(tmp_path):
    """Byte for byte."""
    X, y = CLASSES
    for name in ("one", "other"):
        ours.MLPClassifier(max_iter=3, random_state=0).fit(X, y).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_every_estimator_has_its_table():
    """And is tried above."""
    assert set(ATTRIBUTES) == set(ours.__all__)
    assert {type(estimator).__name__ for estimator, _ in FITTED.values()} == set(ATTRIBUTES)
    for name in ours.__all__:
        assert callable(getattr(ours, name).save)


def test_it_is_read_in_another_process(tmp_path):
    """Where nobody has imported scikit-learn yet; nothing that a pickle needs is."""
    X, y = CLASSES
    estimator = ours.MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    estimator.save(tmp_path / "estimator")
    script = (
        "import sys, numpy as np, fastgd as fg\n"
        f"estimator = fg.load({str(tmp_path / 'estimator')!r})\n"
        f"print(*estimator.predict(np.load({str(tmp_path / 'X.npy')!r})))"
    )
    np.save(tmp_path / "X.npy", X)
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.split() == estimator.predict(X).tolist()


# ------------------------------------------------------------------------------------------------------ what is refused
def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        ours.MLPClassifier().save(tmp_path / "estimator")
    assert not list(tmp_path.iterdir())


class Mine(ours.MLPRegressor):
    """A subclass, of which a file would know nothing."""


def with_attribute(estimator):
    estimator.scale_ = 3.0
    return estimator


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda X, y: Mine(max_iter=2).fit(X, y), r"save: got a Mine, expected one of .*keep a subclass as a pickle"),
        (
            lambda X, y: ours.MLPRegressor(solver="sgd", learning_rate=lambda step: 0.1, max_iter=2).fit(X, y),
            r"save: learning_rate: got .*lambda.*expected something that a file can hold; use a class of fastgd's",
        ),
        (
            lambda X, y: ours.MLPRegressor(solver=fg.SGD(lambda step: 0.1), max_iter=2).fit(X, y),
            r"save: solver: got .*lambda",
        ),
        (
            lambda X, y: (
                ours.MLPRegressor(solver=fg.SGD(lambda step: 0.1), max_iter=2).fit(X, y).set_params(solver="sgd")
            ),
            r"save: got a MLPRegressor that was fitted with .*lambda",
        ),
        (lambda X, y: with_attribute(ours.SGDRegressor().fit(X, y)), r"save: got a SGDRegressor with 'scale_'"),
    ],
)
def test_what_no_file_can_hold_is_refused(make, fragment, tmp_path):
    """When it is saved, and nothing is written."""
    with pytest.raises(TypeError, match=fragment):
        make(*NUMBERS).save(tmp_path / "estimator")
    assert not list(tmp_path.iterdir())


def test_an_estimator_has_its_own_parameters(tmp_path):
    """Those of a model are refused; and a fit of a model is not taken up from it."""
    path = tmp_path / "estimator"
    ours.SGDRegressor().fit(*NUMBERS).save(path)
    with pytest.raises(TypeError, match=r"optimizer: got 'sgd', expected None for an estimator; .*set_params"):
        fg.load(path, optimizer="sgd")
    with pytest.raises(ValueError, match=r"metadata: got \['estimator'\], expected 'settings' among the keys"):
        fg.Sequential([fg.Dense(1)], loss="mean_squared_error").fit(*NUMBERS, resume_from=path)


# ------------------------------------------------------------------------------------------------------- hostile files
def parts_of(estimator, path):
    estimator.save(path)
    return read_parts(path)


@pytest.fixture
def parts(tmp_path):
    """Tensors and metadata of a good file, and how to write them and load."""
    path = tmp_path / "estimator"
    random_state = np.random.RandomState(3)
    estimator = ours.MLPClassifier((5,), max_iter=3, random_state=random_state, class_weight={"ant": 2.0})
    tensors, described = parts_of(estimator.fit(*CLASSES), path)
    return tensors, described, lambda tensors, described: load_parts(tensors, described, path)


def test_good_parts_are_read(parts):
    """Else no refusal below would mean anything."""
    tensors, described, load = parts
    assert load(tensors, described).n_iter_ == 3


def attributes(described):
    return described["estimator"]["attributes"]


def parameters(described):
    return described["estimator"]["parameters"]


def nested(depth):
    """A list in a list, and so on; JSON is read to that depth."""
    inside = []
    for _ in range(depth):
        inside = [inside]
    return inside


def random_state(described):
    return parameters(described)["random_state"]["random_state"]


SPOILED = {
    "an unknown class": (
        lambda t, d: d["estimator"].update({"class": "Popen"}),
        "class: got Popen, expected one of MLP",
    ),
    "a class that is none": (lambda t, d: d["estimator"].update({"class": [1]}), r"class: got \[1\], expected one of"),
    "an attribute too many": (
        lambda t, d: attributes(d).update(predict="os.system"),
        "attributes: got predict, expected no keys but",
    ),
    "an attribute of another class": (
        lambda t, d: attributes(d).update(coef_=None),
        "attributes: got coef_, expected no",
    ),
    "a missing attribute": (lambda t, d: attributes(d).pop("classes_"), "attributes: got .*'classes_' among the keys"),
    "a parameter too many": (
        lambda t, d: parameters(d).update(hook="os"),
        "parameters: got hook, expected no keys but",
    ),
    "a missing parameter": (lambda t, d: parameters(d).pop("alpha"), "parameters: got .*'alpha' among the keys"),
    "an impossible parameter": (
        lambda t, d: parameters(d).update(alpha=-1.0),
        "'alpha' parameter of MLPClassifier must",
    ),
    "a function": (lambda t, d: parameters(d).update(solver={"callable": "print"}), "got the function 'print'"),
    "another program's object": (
        lambda t, d: parameters(d).update(solver={"class": "Popen", "arguments": {}}),
        "solver: got 'Popen', expected one of",
    ),
    "lists without end": (
        lambda t, d: parameters(d).update(hidden_layer_sizes=nested(900)),
        "estimator: got lists in lists without end",
    ),
    "a pair that is none": (
        lambda t, d: parameters(d).update(class_weight={"pairs": [[1]]}),
        "class_weight: got .*label and",
    ),
    "a random state too short": (
        lambda t, d: random_state(d)["key"].pop(),
        "random_state: key: got .*624 whole numbers",
    ),
    "a place in it too far": (lambda t, d: random_state(d).update(pos=625), "random_state: got pos 625"),
    "a number with a point": (
        lambda t, d: attributes(d).update(n_iter_=2.5),
        "n_iter_: got 2.5, expected a whole number",
    ),
    "a loss that is text": (
        lambda t, d: attributes(d).update(best_loss_="low"),
        "best_loss_: got low, expected a number",
    ),
    "a curve that is none": (
        lambda t, d: attributes(d).update(loss_curve_=[1]),
        "loss_curve_: got .*'numbers' or null",
    ),
    "a curve of another dtype": (
        lambda t, d: t.update(loss_curve_=np.zeros(3, "f4")),
        "loss_curve_: got shape .*float32, expected .*float64",
    ),
    "no curve": (lambda t, d: t.pop("loss_curve_"), "loss_curve_: got no such tensor"),
    "another type of y": (
        lambda t, d: attributes(d).update(_label_binarizer="regression"),
        "got regression, expected one of",
    ),
    "labels of another kind": (lambda t, d: attributes(d).update(classes_="complex128"), "classes_: got complex128"),
    "labels out of order": (lambda t, d: t.update(classes_=t["classes_"][::-1].copy()), "classes_: got .*rising order"),
    "labels in a list out of order": (
        lambda t, d: (t.pop("classes_"), attributes(d).update(classes_=["b", "a"])),
        "classes_: got .*rising order",
    ),
    "labels that do not compare": (
        lambda t, d: (t.pop("classes_"), attributes(d).update(classes_=["b", 1, 2])),
        "classes_: got .*rising order",
    ),
    "no text": (
        lambda t, d: t.update(classes_=t["classes_"] | np.uint32(1 << 31)),
        "classes_: got shape .*code points",
    ),
    "fewer labels": (
        lambda t, d: t.update(classes_=t["classes_"][:2].copy()),
        "classes_: got 2, expected 3, which goes",
    ),
    "more features": (
        lambda t, d: attributes(d).update(n_features_in_=9),
        "n_features_in_: got 9, expected 4, which goes",
    ),
    "names that are too few": (lambda t, d: attributes(d).update(feature_names_in_=["a"]), "feature_names_in_: got 1"),
    "a tensor too many": (lambda t, d: t.update(extra=np.zeros(3)), "tensors: got extra, expected none beyond"),
    "a network without a bias": (lambda t, d: t.pop("_model.layers.0.b"), "_model.layers.0.b: got no such tensor"),
    "a network that is not finite": (
        lambda t, d: t["_model.layers.0.b"].fill(np.nan),
        r"_model.layers.0.b\[0\]: got nan, expected a finite number",
    ),
    "a network with more units than there is memory": (
        lambda t, d: attributes(d)["_model"]["model"]["settings"]["layers"][0]["arguments"].update(units=10**15),
        r"_model.layers.0.W: got shape \(4, 5\), dtype float64, expected shape \(4, 1000000000000000\)",
    ),
    "another network": (
        lambda t, d: attributes(d)["_model"]["model"]["settings"].update(loss={"callable": "print"}),
        "got the function 'print'",
    ),
    "a network that is none": (
        lambda t, d: attributes(d).update(_model=3),
        "_model: got 3, expected names with values",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_file_is_refused(name, parts):
    """With an error that says what is wrong with it."""
    spoil, fragment = SPOILED[name]
    tensors, described, load = parts
    spoil(tensors, described)
    with pytest.raises(ValueError, match=fragment):
        load(tensors, described)


LINEAR_SPOILED = {
    "coefficients of another shape": (
        lambda t, d: t.update(coef_=np.zeros((2, 4))),
        r"coef_: got \(2, 4\), expected \(3, 4\)",
    ),
    "coefficients that are not finite": (lambda t, d: t["coef_"].fill(np.inf), r"coef_\[0, 0\]: got inf"),
    "whole numbers": (
        lambda t, d: attributes(d)["coef_"].update(dtype="int64"),
        "coef_: got .*expected 1 or 2 dimensions, dtype float32 or float64",
    ),
    "a loss that is none": (
        lambda t, d: attributes(d).update(_loss_function_=3),
        "_loss_function_: got 3, expected a loss",
    ),
}


@pytest.mark.parametrize("name", LINEAR_SPOILED)
def test_a_spoiled_file_of_a_linear_model_is_refused(name, tmp_path):
    spoil, fragment = LINEAR_SPOILED[name]
    path = tmp_path / "estimator"
    tensors, described = parts_of(ours.SGDClassifier(random_state=0).fit(*CLASSES), path)
    spoil(tensors, described)
    with pytest.raises(ValueError, match=fragment):
        load_parts(tensors, described, path)


def test_an_autoencoder_has_a_regressor_and_nothing_else(tmp_path):
    path = tmp_path / "estimator"
    tensors, described = parts_of(ours.MLPAutoencoder(2, (5,), max_iter=2).fit(CLASSES[0]), path)
    inner = attributes(described)["regressor_"]
    for name in ("SGDRegressor", "MLPAutoencoder"):
        attributes(described)["regressor_"] = {**inner, "class": name}
        with pytest.raises(ValueError, match=f"regressor_: class: got {name}, expected 'MLPRegressor'"):
            load_parts(tensors, described, path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_configuration_is_refused_or_makes_an_estimator(data, parts):
    """Something else at some place: a ValueError and nothing worse; what is read answers."""
    tensors, described, load = parts
    chosen = data.draw(st.sampled_from([at for at in places(described) if at and "key" not in at]))
    described = with_other(described, chosen, data.draw(JSON))
    try:
        loaded = load(tensors, described)
    except ValueError:
        return
    assert len(loaded.predict(CLASSES[0])) == N
