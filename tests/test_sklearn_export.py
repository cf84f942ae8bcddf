"""Exported estimators say what the estimators say, by themselves and, through skl2onnx, within pipelines."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from exported import TOLERANCES, assert_same, called, evaluated

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("fastgd._kernels.cython_")

import sklearn.neural_network  # noqa: E402
from sklearn.base import clone, is_classifier  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.ensemble import StackingClassifier, VotingRegressor  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, StandardScaler  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd.sklearn import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Older versions of scikit-learn pass SciPy options that newer ones of SciPy warn of.
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = (X[:, 0] > -0.5) + (X[:, 1] > 0.3).astype(int)
NUMBERS = np.stack([np.exp(X[:, 0]), 2.0 + np.sin(X[:, 1])], axis=1)


def classifier(**options):
    """Small, with an activation that scikit-learn has not."""
    return MLPClassifier((5,), **{"activation": "gelu", "max_iter": 20, "random_state": 0, **options})


def regressor(**options):
    """The same for numbers."""
    return MLPRegressor(hidden_layer_sizes=(5,), **{"activation": "gelu", "max_iter": 20, "random_state": 0, **options})


def assert_says_the_same(outputs, estimator, rows, way):
    """Labels to the letter, numbers up to the tolerance of their dtype."""
    if not is_classifier(estimator):
        expected = estimator.predict(rows).reshape(len(rows), -1)
        assert_same(outputs["variable"], expected.astype(rows.dtype), way)
        return
    assert (outputs["label"] == estimator.predict(rows)).all(), way
    if hasattr(estimator, "predict_proba"):
        expected = estimator.predict_proba(rows)
    else:
        scores = estimator.decision_function(rows)
        expected = scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
    assert_same(outputs["probabilities"], expected.astype(rows.dtype), way)


def assert_exports(estimator, path, rows=X, **options):
    """Both programs that evaluate ONNX say what the estimator says; the file, as bytes."""
    estimator.to_onnx(path, **options)
    for way, outputs in evaluated(path.read_bytes(), {"X": rows}):
        assert_says_the_same(outputs, estimator, rows, way)


CLASSES = {
    "whole numbers": LABELS,
    "bytes": LABELS.astype(np.uint8),
    "whole floats": LABELS.astype(float),
    "text": np.array(["no", "perhaps", "yes"])[LABELS],
    "text as objects": np.array(["no", "perhaps", "yes"], object)[LABELS],
    "truth values": LABELS > 1,
    "two": np.array(["no", "yes"])[(LABELS > 1).astype(int)],
    "a single one": np.full(len(LABELS), 3),
    "several at once": np.stack([LABELS > 0, LABELS > 1], axis=1).astype(int),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_kind_of_class(kind, tmp_path):
    """Labels come out as int64 or text."""
    assert_exports(classifier().fit(X, CLASSES[kind]), tmp_path / "model.onnx")


@pytest.mark.parametrize(("loss", "y"), [("hinge", LABELS > 1), ("multiclass_hinge", LABELS)])
def test_scores_where_there_are_no_probabilities(loss, y, tmp_path):
    """Of two classes, the first has the negative of the other's."""
    assert_exports(classifier(loss=loss).fit(X, y), tmp_path / "model.onnx")


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantiles", "gaussian_nll"])
@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0]], ids=["two outputs", "one output"])
def test_every_link_of_a_regressor(loss, y, tmp_path):
    """What `predict` gives, of several outputs for a target the one it chooses."""
    assert_exports(regressor(loss=loss).fit(X, y), tmp_path / "model.onnx")


def test_normalisation_and_weights_that_were_put_there(tmp_path):
    """The file has what the estimator predicts by."""
    estimator = classifier(normalization="batch", dropout=0.2).fit(X, LABELS)
    estimator.intercepts_[-1] = np.array([0.5, -0.5, 0.0])
    assert_exports(estimator, tmp_path / "model.onnx")


def test_either_dtype(tmp_path):
    """By default that of the fit."""
    estimator = classifier().fit(X.astype(np.float64), LABELS)
    assert_exports(estimator, tmp_path / "model.onnx", X.astype(np.float64))
    assert_exports(estimator, tmp_path / "model.onnx", X, dtype="float32")
    with pytest.raises(ValueError, match="dtype: got 'int8', expected 'float32' or 'float64'"):
        estimator.to_onnx(tmp_path / "model.onnx", dtype="int8")


def test_c(tmp_path):
    """What the last layer's units do."""
    estimator = classifier().fit(X, LABELS)
    estimator.to_c(tmp_path / "model.c", name="classify")
    probabilities = called((tmp_path / "model.c").read_text(encoding="utf-8"), X, 3, "classify")
    assert_same(probabilities, estimator.predict_proba(X), "C")


# ------------------------------------------------------------------------------------------------- linear models
LINEAR_LOSSES = {
    "scores": "hinge",
    "probabilities": "log_loss",
    "clipped probabilities": "modified_huber",
    "over all classes": "softmax_cross_entropy",
    "one's own parameters": fg.losses.binary_focal_cross_entropy(gamma=1.0),
}
LINEAR_KINDS = ("whole numbers", "text", "two")


def linear_classifier(**options):
    """After so few steps that no probability is 0 or 1."""
    return SGDClassifier(**{"max_iter": 3, "tol": None, "alpha": 0.1, "random_state": 0, **options})


@pytest.mark.parametrize("loss", LINEAR_LOSSES)
@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_linear_classifiers(kind, loss, tmp_path):
    """Every loss that gives probabilities of its own kind, and one that gives none."""
    assert_exports(linear_classifier(loss=LINEAR_LOSSES[loss]).fit(X, CLASSES[kind]), tmp_path / "model.onnx")


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_linear_regressors(loss, tmp_path):
    """In either dtype; averages of the steps, where they are asked for."""
    estimator = SGDRegressor(loss, average=20, random_state=0).fit(X.astype(float), NUMBERS[:, 0])
    assert_exports(estimator, tmp_path / "model.onnx", X.astype(float))
    assert_exports(estimator, tmp_path / "model.onnx", X, dtype="float32")


def test_rows_that_no_class_claims(tmp_path):
    """By modified Huber's probabilities all classes are then as likely; and by those of the files."""
    estimator = linear_classifier(loss="modified_huber").fit(X, LABELS)
    estimator.intercept_ = np.full(3, -50.0, np.float32)
    assert (estimator.predict_proba(X) == np.float32(1 / 3)).any(axis=1).all()
    assert_exports(estimator, tmp_path / "model.onnx")
    estimator.to_c(tmp_path / "model.c")
    probabilities = called((tmp_path / "model.c").read_text(encoding="utf-8"), X, 3)
    assert_same(probabilities, estimator.predict_proba(X).astype(np.float32), "C")


@pytest.mark.parametrize("loss", LINEAR_LOSSES)
@pytest.mark.parametrize("kind", ["whole numbers", "two"])
def test_linear_classifiers_in_c(kind, loss, tmp_path):
    """Probabilities, of two classes the second one's; scores where there are none. Sparse coefficients, too."""
    estimator = linear_classifier(loss=LINEAR_LOSSES[loss]).fit(X, CLASSES[kind]).sparsify()
    estimator.to_c(tmp_path / "model.c")
    expected = (estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.decision_function)(X)
    expected = expected[:, -1:] if kind == "two" and expected.ndim == 2 else expected.reshape(len(X), -1)
    found = called((tmp_path / "model.c").read_text(encoding="utf-8"), X, expected.shape[1])
    assert_same(found, expected.astype(np.float32), "C")


def test_linear_regressors_in_c(tmp_path):
    """With the loss's link."""
    estimator = SGDRegressor("poisson", random_state=0).fit(X, NUMBERS[:, 0])
    estimator.to_c(tmp_path / "model.c")
    found = called((tmp_path / "model.c").read_text(encoding="utf-8"), X, 1)
    assert_same(found, estimator.predict(X)[:, None].astype(np.float32), "C")


def test_a_wrong_weight_turns_the_comparison_red(tmp_path):
    """By so little that only a sharp one sees it."""
    estimator = classifier().fit(X, LABELS)
    estimator.to_onnx(tmp_path / "model.onnx")
    estimator.intercepts_[-1] = estimator.intercepts_[-1] + np.array([100 * TOLERANCES["float32"], 0, 0])
    for way, outputs in evaluated((tmp_path / "model.onnx").read_bytes(), {"X": X}):
        with pytest.raises(AssertionError, match=way):
            assert_says_the_same(outputs, estimator, X, way)


@pytest.mark.parametrize("method", ["to_onnx", "to_c"])
def test_an_estimator_that_is_not_fitted_is_refused(method, tmp_path):
    """There is nothing to write."""
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("classes", [[0.5, 1.5], [1, "one"]])
def test_classes_that_onnx_has_no_labels_for_are_refused(classes, tmp_path):
    """Neither whole numbers nor text."""
    estimator = classifier().fit(X, LABELS > 1)
    estimator.classes_ = np.array(classes, None if classes[0] == 0.5 else object)
    with pytest.raises(ValueError, match=r"^to_onnx: classes_: got array\(.*expected whole numbers or text; encode y"):
        estimator.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------ skl2onnx
@pytest.fixture
def skl2onnx():
    """Its import tells of things that it will do otherwise in future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("skl2onnx")


def converted(skl2onnx, estimator, rows=X, **options):
    """The file, as bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return skl2onnx.to_onnx(estimator, rows[:1], **options).SerializeToString()


WITHIN = {
    "a pipeline": make_pipeline(StandardScaler(), classifier()),
    "a pipeline with a search": GridSearchCV(make_pipeline(StandardScaler(), classifier()), {}, cv=2),
    "a search": GridSearchCV(classifier(), {"alpha": [1e-4]}, cv=2),
    "columns": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [3])]), classifier()
    ),
    "calibration": CalibratedClassifierCV(classifier(), cv=2),
    "a stack": StackingClassifier([("a", classifier()), ("b", classifier(random_state=1))], cv=2),
    "a pipeline of a regressor": make_pipeline(StandardScaler(), regressor()),
    "a pipeline of a linear classifier": make_pipeline(StandardScaler(), linear_classifier(loss="log_loss")),
    "a pipeline of a linear regressor": make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    "calibration of scores": CalibratedClassifierCV(linear_classifier(), cv=2),
    "a vote": VotingRegressor([("a", regressor()), ("b", regressor(random_state=1))]),
}


@pytest.mark.parametrize("place", WITHIN)
def test_estimators_within(place, skl2onnx):
    """Whatever skl2onnx converts with scikit-learn's own estimators in it, it converts with these."""
    whole = clone(WITHIN[place])
    y = CLASSES["text"] if is_classifier(whole) else NUMBERS[:, 0]
    options = {"options": {"zipmap": False}} if is_classifier(whole) else {}
    whole.fit(X, y)
    for way, outputs in evaluated(converted(skl2onnx, whole, **options), {"X": X}):
        assert_says_the_same(outputs, whole, X, way)


@pytest.mark.parametrize("y", [LABELS, CLASSES["text"], CLASSES["two"]], ids=["three", "text", "two"])
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_names_are_those_of_scikit_learns_classifier(y, zipmap, skl2onnx):
    """With the defaults, too, by which probabilities are dictionaries."""
    import onnx

    described = []
    for kind in (MLPClassifier, sklearn.neural_network.MLPClassifier):
        estimator = kind((5,), max_iter=3, random_state=0).fit(X, y)
        file = onnx.load_from_string(converted(skl2onnx, estimator, options={"zipmap": zipmap}))
        described.append([(output.name, output.type) for output in file.graph.output])
    assert described[0] == described[1]


def test_options_of_a_conversion(skl2onnx):
    """Numbers in the place of classes, raw scores, float64."""
    estimator = classifier().fit(X.astype(np.float64), CLASSES["text"])
    rows = X.astype(np.float64)
    file = converted(skl2onnx, estimator, rows, options={"zipmap": False, "nocl": True, "raw_scores": True})
    for way, outputs in evaluated(file, {"X": rows}):
        assert (outputs["label"] == np.searchsorted(estimator.classes_, estimator.predict(rows))).all(), way
        assert_same(outputs["probabilities"], estimator.decision_function(rows), way)


def test_what_skl2onnx_would_get_wrong_is_refused(skl2onnx):
    """A network before other estimators gives them its hidden features; skl2onnx asks it for predictions."""
    whole = make_pipeline(regressor(), Ridge()).fit(X, NUMBERS[:, 0])
    with pytest.raises(RuntimeError, match="(?s)got MLPRegressor.* before other estimators, expected one at the end"):
        converted(skl2onnx, whole)


def test_an_operator_set_that_lacks_operators_is_refused(skl2onnx):
    """It is named."""
    with pytest.raises(RuntimeError, match="target_opset: got 18, expected 20 or later for MLPClassifier"):
        converted(skl2onnx, classifier().fit(X, LABELS), target_opset=18)


ORDERS = [
    "import skl2onnx\nimport fastgd.sklearn",
    "import fastgd.sklearn\nassert 'skl2onnx' not in sys.modules\nimportlib.util.find_spec('skl2onnx')",
]


@pytest.mark.parametrize("order", ORDERS, ids=["skl2onnx first", "fastgd first"])
def test_registered_in_either_order_of_imports(order, skl2onnx):
    """And fastgd does not import it."""
    program = f"""
import importlib.util
import sys
{order}
import skl2onnx
assert not any(type(finder).__name__ == "AfterImport" for finder in sys.meta_path)
from skl2onnx._supported_operators import sklearn_operator_name_map
names = ("MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor")
print(*(sklearn_operator_name_map[getattr(fastgd.sklearn, name)] for name in names))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    names = ["MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor"]
    assert ran.stdout.split() == [f"Fastgd{name}" for name in names]
