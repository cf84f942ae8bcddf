"""Exported models predict what the model predicts: through ONNX's checker and evaluators, and through a C compiler."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from block_runner import compiled
from counterparts import ACTIVATION_NAMES, DTYPES, LOSS_NAMES, random_weights
from exported import TOLERANCES, WARNINGS, assert_same, called, evaluated

import fastgd as fg
from fastgd import layers
from fastgd._formula import ACTIVATIONS, LOSSES, cos, exp, log1p, maximum, minimum, normal_cdf
from fastgd._formula.declare import LINKS
from fastgd.errors import NotBuiltError
from fastgd.export import c, onnx_
from fastgd.export.predictor import LINK_FORMULAS, LINKS_OF_ESTIMATORS, Predictor

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Parameters that are not the defaults.
PARAMETERS = {"leaky_relu": {"slope": 0.2}, "elu": {"alpha": 0.7}, "celu": {"alpha": 0.6}}

# A loss with each link; of what sees outputs in groups, two groups.
LOSS_OF = {LOSSES[name].link: LOSSES[name] for name in LOSS_NAMES}
LOSS_OF["increasing"] = fg.losses.quantiles(non_crossing=True, levels=(0.1, 0.4, 0.9))


def trained(sizes, activations, loss, dtype):
    """A model with weights of all signs, and rows for it."""
    draw = np.random.default_rng(0)
    dense = [fg.Dense(units, activation=a) for units, a in zip(sizes[1:], activations, strict=True)]
    model = fg.Sequential(dense, loss=loss, dtype=dtype).build(sizes[0])
    # The exponential of an exponential multiplies errors.
    model.set_weights(random_weights(draw, sizes, 0.25 if "exp" in activations else 1.0))
    return model, draw.normal(size=(40, sizes[0])).astype(dtype)


def through_onnx(model, X, path, raw=False):
    """Predictions of both programs that evaluate ONNX."""
    model.to_onnx(path, raw=raw)
    for way, outputs in evaluated(path.read_bytes(), {"X": X}):
        yield way, outputs["prediction"]


def through_c(model, X, path, raw=False):
    """Predictions of the C file."""
    model.to_c(path, raw=raw)
    yield "C", called(path.read_text(encoding="utf-8"), X, model.n_outputs)


def all_ways(model, X, folder, raw=False):
    """Predictions of all exports by their names."""
    yield from through_onnx(model, X, folder / "model.onnx", raw)
    yield from through_c(model, X, folder / "model.c", raw)


def assert_exports(model, X, folder, raw=False):
    """All of them predict what the model does."""
    for way, actual in all_ways(model, X, folder, raw):
        assert_same(actual, model.predict(X, raw=raw), way)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@each_dtype
def test_every_activation(name, dtype, tmp_path):
    """Twice in a row, so that outputs are inputs too."""
    model, X = trained((4, 7, 5, 3), [name, name, "linear"], "mean_squared_error", dtype)
    assert_exports(model, X, tmp_path)


@pytest.mark.parametrize("name", PARAMETERS)
@each_dtype
def test_parameters(name, dtype, tmp_path):
    """Also the same activation with two values."""
    other = ACTIVATIONS[name](**PARAMETERS[name])
    model, X = trained((4, 7, 5, 3), [other, name, "linear"], "mean_squared_error", dtype)
    assert_exports(model, X, tmp_path)


def test_the_parameters_that_are_tried_are_all_there_are():
    """Another activation with parameters needs its line."""
    assert set(PARAMETERS) == {name for name in ACTIVATION_NAMES if ACTIVATIONS[name].parameters}


@pytest.mark.parametrize("link", LOSS_OF)
@pytest.mark.parametrize("raw", [False, True])
@each_dtype
def test_every_link(link, raw, dtype, tmp_path):
    """With it and without; a single layer, so that nothing stands before it."""
    loss = LOSS_OF[link]
    model, X = trained((6, 2 * max(2, loss.outputs_per_target)), ["linear"], loss, dtype)
    assert_exports(model, X, tmp_path, raw)


@each_dtype
def test_every_layer(dtype, tmp_path):
    """In all orders, at the input too, with statistics that training has left."""
    stack = [fg.LayerNorm(eps=1e-3), fg.Dropout(0.5), fg.Dense(9, "silu"), fg.BatchNorm(activation="tanh")]
    stack += [fg.Softmax(), fg.Dropout(0.1), fg.LayerNorm(activation="gelu"), fg.BatchNorm(eps=0.1), fg.Dropout(0.1)]
    stack += [fg.Dense(3), fg.Softmax()]
    model = fg.Sequential(stack, loss="softmax_cross_entropy", dtype=dtype)
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(dtype) + 1
    model.fit(X, np.arange(40) % 3, epochs=5)
    assert {type(layer) for layer in stack} == {getattr(layers, name) for name in layers.__all__} - {layers.Layer}
    # Two normalisations in a row magnify roundings: predictions, not scores.
    assert_exports(model, X, tmp_path)


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"average": 3}], ids=["ema", "average"])
def test_averages_of_weights(options, tmp_path):
    """Where `predict` goes by them, so do the files."""
    stack = [fg.Dense(5, "tanh"), fg.BatchNorm(), fg.Dense(2)]
    model = fg.Sequential(stack, loss="huber", optimizer=fg.SGD(0.1, **options))
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    model.fit(X, X[:, :2], epochs=3, batch_size=8)
    assert abs(model.get_weights()[0] - model.get_weights(averaged=True)[0]).max() > 1e-3
    assert_exports(model, X, tmp_path)


def test_a_model_without_a_loss(tmp_path):
    """It has no link."""
    model, X = trained((6, 5, 4), ["tanh", "linear"], None, "float32")
    assert_exports(model, X, tmp_path)


def test_every_link_and_every_layer_has_its_export():
    """A new one fails here until it has."""
    for exporter in (onnx_, c):
        assert set(LOSS_OF) == {*LINK_FORMULAS, *exporter.ROW_LINKS} - LINKS_OF_ESTIMATORS == set(LINKS)
    kinds = {getattr(layers, name) for name in layers.__all__} - {layers.Layer}
    for exporter in (onnx_, c):
        assert kinds <= set(exporter.add_layer.registry)
        predictor = Predictor(1, 1, [object()], [], "linear", 1, np.dtype("float32"), "")
        with pytest.raises(TypeError, match="got a layer <object .*, expected a layer of fastgd"):
            exporter.graph_of(predictor) if exporter is onnx_ else exporter.source_of(predictor, "predict")


@each_dtype
def test_a_wrong_weight_turns_every_comparison_red(dtype, tmp_path):
    """By so little that only a sharp one sees it."""
    (right, X), (wrong, _) = (trained((4, 7, 3), ["tanh", "linear"], "mean_squared_error", dtype) for _ in range(2))
    weights = wrong.get_weights()
    weights[0][1, 2] += 100 * TOLERANCES[dtype]
    wrong.set_weights(weights)
    for way, actual in all_ways(wrong, X, tmp_path):
        with pytest.raises(AssertionError, match=way):
            assert_same(actual, right.predict(X), way)


def test_a_nan_turns_a_comparison_red():
    """Wherever it stands."""
    with pytest.raises(AssertionError, match="somewhere"):
        assert_same(np.array([0.0, np.nan]), np.zeros(2), "somewhere")


# ------------------------------------------------------------------------------------------- formulas of one's own
@pytest.fixture
def own():
    """Two activations of one name, whose variables are words of C; forgotten afterwards."""
    before = dict(ACTIVATIONS)

    @fg.activation(ranges={"short": "(0, inf)"})
    def größe(double, *, short=2.0):
        expf = double * double
        return exp(-expf / short) + normal_cdf(double)

    first = größe

    @fg.activation
    def größe(z):
        return minimum(maximum(log1p(z**2), 0.1), 2.0) * cos(z)

    yield first, größe
    ACTIVATIONS.clear()
    ACTIVATIONS.update(before)


@each_dtype
def test_formulas_of_ones_own(own, dtype, tmp_path):
    """They are exported as ours are."""
    dense = [fg.Dense(6, own[0](short=3.0)), fg.Dense(5, own[1]), fg.Dense(4, own[0])]
    model = fg.Sequential(dense, dtype=dtype, backend="numpy").build(3)
    X = np.random.default_rng(1).normal(size=(30, 3)).astype(dtype)
    assert_exports(model, X, tmp_path)


# --------------------------------------------------------------------------------------------------- the files
def test_what_an_onnx_file_says_of_itself(tmp_path):
    """Rows are any number; versions are those that the documentation names."""
    onnx = pytest.importorskip("onnx")
    model, _ = trained((4, 7, 3), ["tanh", "linear"], "softmax_cross_entropy", "float32")
    model.to_onnx(tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    shapes = [
        [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    ]
    assert shapes == [["N", 4], ["N", 3]]
    assert (file.opset_import[0].version, file.ir_version) == (20, 9)
    assert (file.producer_name, file.producer_version, file.doc_string) == ("fastgd", fg.__version__, repr(model))
    operators = [node.op_type for node in file.graph.node]
    assert operators == ["Gemm", "Tanh", "Gemm", "Softmax", "Identity"]


@each_dtype
def test_weights_in_c_come_back_to_the_bit(dtype, tmp_path):
    """Subnormal, large, and zeros of both signs too."""
    limits = np.finfo(dtype)
    numbers = np.array([0.1, -0.0, 0.0, limits.smallest_subnormal, limits.max, limits.min, 1 / 3, 123456789.0], dtype)
    model = fg.Sequential([fg.Dense(4)], dtype=dtype).build(2)
    model.set_weights([numbers.reshape(2, 4), np.zeros(4)])
    model.to_c(tmp_path / "model.c")
    text = re.search(r"layer_0_weights\[8\] = {(.*?)}", (tmp_path / "model.c").read_text(), re.DOTALL)[1]
    written = np.array([number.strip().removesuffix("f") for number in text.split(",")]).astype(dtype)
    assert written.tobytes() == numbers.tobytes()


def test_c_files_can_be_linked_together(tmp_path):
    """Each function has a name of its own, and says how long its rows are."""
    sources = []
    for name, units in (("one", 2), ("two", 3)):
        model, _ = trained((4, 5, units), ["gelu", "linear"], "softmax_cross_entropy", "float32")
        model.to_c(tmp_path / name, name=name)
        sources.append((tmp_path / name).read_text(encoding="utf-8"))
        assert f"enum {{ {name}_n_inputs = 4, {name}_n_outputs = {units} }};" in sources[-1]
        assert set(re.findall(r"^[a-z].*?(\w+)[(\[].*$", sources[-1], re.MULTILINE)) >= {name}
    apart = [compiled(source, "-std=c99", *WARNINGS) for source in sources]
    assert all(hasattr(library, name) for library, name in zip(apart, ("one", "two"), strict=True))


REFUSED_NAMES = ["while", "float", "expf", "layer_0", "formula_gelu", "x", "2nd", "a-b", "", "größe", "_hidden", None]


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_a_name_that_c_would_not_take_is_refused(name, tmp_path):
    """And no file is written."""
    model, _ = trained((4, 5, 2), ["gelu", "linear"], "softmax_cross_entropy", "float32")
    message = f"^to_c: name: got {name!r}, expected an identifier of C .*; pass name='predict'$"
    with pytest.raises(ValueError, match=message):
        model.to_c(tmp_path / "model.c", name=name)
    assert not (tmp_path / "model.c").exists()


# ------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("method", ["to_onnx", "to_c"])
def test_a_model_that_is_not_built_is_refused(method, tmp_path):
    """There is nothing to write."""
    with pytest.raises(NotBuiltError):
        getattr(fg.Sequential([fg.Dense(1)]), method)(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_without_the_onnx_library_the_command_that_installs_it_is_named(monkeypatch, tmp_path):
    """And no file is written."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    model, _ = trained((4, 3), ["linear"], "mean_squared_error", "float32")
    with pytest.raises(ImportError, match=r'^model.to_onnx needs onnx, .*; type: pip install "fastgd\[onnx\]"$'):
        model.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_more_than_a_file_can_hold_is_refused(monkeypatch, tmp_path):
    """The format ends at 2 GiB."""
    pytest.importorskip("onnx")
    monkeypatch.setattr(onnx_, "LARGEST_FILE", 60)
    model, _ = trained((4, 3), ["linear"], "mean_squared_error", "float32")
    with pytest.raises(ValueError, match="^to_onnx: got 60 bytes of weights, expected less than 2 GiB; export a model"):
        model.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
