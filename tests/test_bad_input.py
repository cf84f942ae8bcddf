"""What is refused at the door: with what, got, expected and a remedy, and with the model as it was before."""

from __future__ import annotations

import re

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, LOSS_NAMES, model_of, random_target, sizes_for
from tolerances import assert_same_bits

import fastgd as fg
from fastgd._formula import LOSSES

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

N, N_FEATURES, N_OUTPUTS = 12, 4, 3


def data(loss="softmax_cross_entropy"):
    """Twelve rows and targets that the loss takes."""
    draw = np.random.default_rng(9)
    return draw.normal(size=(N, N_FEATURES)), random_target(draw, loss, N, sizes_for(loss, [N_OUTPUTS])[-1])


def model_for(loss="softmax_cross_entropy", backend="cython", **options):
    """A model that has made a few steps, so that its optimizer has a state."""
    x, y = data(loss)
    model = model_of(
        sizes_for(loss, [N_FEATURES, 5, N_OUTPUTS]),
        ["tanh", "linear"],
        loss,
        optimizer=fg.Adam(0.01),
        backend=backend,
        seed=2,
        **options,
    )
    model.fit(x, y, epochs=2, batch_size=5, verbose=0)
    return model


def assert_explains(error, *fragments):
    """What, got, expected and a remedy in one sentence, and what this case has to name."""
    message = str(error)
    sentence = re.search(r"(?s)^(.+?): got (.+), expected (.+); (.+)$", message)
    assert sentence, f"not of the form 'what: got ..., expected ...; remedy': {message!r}"
    for fragment in fragments:
        assert fragment in message, f"{fragment!r} is not in {message!r}"


def assert_as_before(model, twin, loss):
    """Weights have the same bits, and so has the training that follows: state and counters are untouched."""
    x, y = data(loss)
    assert_same_bits(model.get_weights(), twin.get_weights(), "weights")
    histories = [m.fit(x, y, epochs=2, batch_size=5, verbose=0).history["loss"] for m in (model, twin)]
    assert histories[0][-2:] == histories[1][-2:]
    assert_same_bits(model.get_weights(), twin.get_weights(), "weights after training on")


def refused(call, *fragments, loss="softmax_cross_entropy", backend="cython"):
    """Call with a model and good data; assert that it is refused, explained, and leaves no trace."""
    model, twin = model_for(loss, backend), model_for(loss, backend)
    with pytest.raises((ValueError, TypeError)) as caught:
        call(model, *data(loss))
    assert_explains(caught.value, *fragments)
    assert_as_before(model, twin, loss)


def replaced(array, index, value, dtype=float):
    """A copy with one element replaced."""
    copy = np.array(array, dtype)
    copy[index] = value
    return copy


# --------------------------------------------------------------------------------------------------------- X
ENTRANCES = {
    "fit": lambda m, x, y, **more: m.fit(x, y, epochs=1, batch_size=4, verbose=0, **more),
    "fit, full batch": lambda m, x, y, **more: m.fit(x, y, epochs=1, batch_size=None, verbose=0, **more),
    "train_on_batch": lambda m, x, y, **more: m.train_on_batch(x, y, **more),
    "evaluate": lambda m, x, y, **more: m.evaluate(x, y, **more),
    "loss_and_gradients": lambda m, x, y, **more: m.loss_and_gradients(x, y, **more),
}
READERS = {
    "predict": lambda m, x, y: m.predict(x),
    "transform": lambda m, x, y: m.transform(x, layer=0),
}

BAD_X = {
    "one-dimensional": (lambda x: x[0], ("X", "(4,)")),
    "three-dimensional": (lambda x: x[None], ("X", "(1, 12, 4)")),
    "a number": (lambda x: 3.0, ("X",)),
    "a feature too many": (lambda x: np.hstack([x, x[:, :1]]), ("X", "5", "4")),
    "a feature too few": (lambda x: x[:, :3], ("X", "3", "4")),
    "no rows": (lambda x: x[:0], ("X", "0")),
    "NaN": (lambda x: replaced(x, (3, 2), np.nan), ("X", "nan", "3", "2")),
    "infinity": (lambda x: replaced(x, (11, 0), np.inf), ("X", "inf", "11")),
    "minus infinity": (lambda x: replaced(x, (0, 3), -np.inf, np.float32), ("X", "inf")),
    "beyond float32": (lambda x: replaced(x, (5, 1), 1e39), ("X", "float32")),
    "text": (lambda x: x.astype(str), ("X",)),
    "objects": (lambda x: replaced(x, (0, 0), None, object), ("X",)),
    "complex numbers": (lambda x: x + 1j, ("X", "complex")),
    "dates": (lambda x: np.zeros((N, N_FEATURES), "datetime64[s]"), ("X", "datetime64")),
    "records": (lambda x: np.zeros(N, [("a", float)]), ("X",)),
    "ragged": (lambda x: [[1.0, 2.0], [3.0]], ("X",)),
    "None": (lambda x: None, ("X", "None")),
}


@pytest.mark.parametrize("bad", BAD_X)
@pytest.mark.parametrize("entrance", [*ENTRANCES, *READERS])
def test_bad_x_is_refused(entrance, bad):
    """At every entrance alike."""
    make, fragments = BAD_X[bad]
    refused(lambda m, x, y: {**ENTRANCES, **READERS}[entrance](m, make(x), y), *fragments)


def test_bad_x_of_the_numpy_backend_is_refused_by_the_same_door():
    """The door stands before the backends."""
    for make, fragments in BAD_X.values():
        refused(lambda m, x, y, make=make: m.fit(make(x), y, verbose=0), *fragments, backend="numpy")


# --------------------------------------------------------------------------------------------------- targets
BAD_TARGETS = {
    "softmax_cross_entropy": {
        "too few": (lambda y: y[:-1], ("y", "11", "12")),
        "too many": (lambda y: np.append(y, 0), ("y", "13", "12")),
        "a label beyond the classes": (lambda y: replaced(y, 4, 3, int), ("y", "3", "4")),
        "a negative label": (lambda y: replaced(y, 4, -1, int), ("y", "-1")),
        "labels with fractions": (lambda y: y + 0.5, ("y",)),
        "NaN": (lambda y: replaced(np.eye(3)[y], (2, 1), np.nan), ("y", "nan")),
        "too many columns": (lambda y: np.eye(4)[y], ("y", "4", "3")),
        "one column": (lambda y: y[:, None].astype(float), ("y", "(12, 1)")),
        "a negative probability": (
            lambda y: replaced(np.eye(3)[y], (2, slice(None)), [-0.5, 1.0, 0.5]),
            ("y", "-0.5"),
        ),
        "rows that do not sum to one": (lambda y: 0.5 * np.eye(3)[y], ("y", "0.5")),
        "text": (lambda y: np.array(["a"] * N), ("y",)),
        "None": (lambda y: None, ("y", "None")),
        "complex numbers": (lambda y: y + 0j, ("y", "complex")),
    },
    "cosine_similarity": {
        "a row of zeros": (lambda y: replaced(y, (2, slice(None)), 0.0), ("y[2]", "other than 0")),
        "zeros in float32": (lambda y: replaced(y, (2, slice(None)), 1e-40), ("y[2]", "other than 0")),
        "NaN": (lambda y: replaced(y, (3, 0), np.nan), ("y[3, 0]", "nan")),
    },
    "gaussian_nll": {
        "a column too many": (lambda y: np.hstack([y, y]), ("y", "(12, 4)", "(12, 2)", "2 units for each column of y")),
        "infinity": (lambda y: replaced(y, (3, 0), np.inf), ("y[3, 0]", "inf")),
    },
    "quantiles": {"a column too many": (lambda y: np.hstack([y, y]), ("y", "(12, 2)", "(12, 1)", "3 units for each"))},
    "multiclass_hinge": {
        "a label beyond the classes": (lambda y: replaced(y, 0, 7, int), ("y", "7")),
        "rows of probabilities": (lambda y: np.full((N, 3), 1 / 3), ("y",)),
        "two ones in a row": (lambda y: replaced(np.eye(3)[y], (1, slice(None)), 1.0), ("y",)),
        "a row of zeros": (lambda y: replaced(np.eye(3)[y], (1, slice(None)), 0.0), ("y",)),
        "too few": (lambda y: y[:-1], ("y", "11", "12")),
    },
    "binary_cross_entropy": {
        "beyond one": (lambda y: replaced(y, (3, 0), 1.5), ("y", "1.5")),
        "below zero": (lambda y: replaced(y, (3, 0), -1.0), ("y", "-1")),
        "NaN": (lambda y: replaced(y, (3, 0), np.nan), ("y", "nan")),
        "labels for several outputs": (lambda y: y[:, 0].astype(int), ("y", "(12,)")),
        "too few": (lambda y: y[:-1], ("y", "11", "12")),
    },
    "mean_squared_error": {
        "too few columns": (lambda y: y[:, :2], ("y", "2", "3")),
        "one column for several outputs": (lambda y: y[:, :1], ("y", "(12, 1)")),
        "one-dimensional for several outputs": (lambda y: y[:, 0], ("y", "(12,)")),
        "three-dimensional": (lambda y: y[None], ("y", "(1, 12, 3)")),
        "too few rows": (lambda y: y[:-1], ("y", "11", "12")),
        "NaN": (lambda y: replaced(y, (11, 2), np.nan), ("y", "nan", "11")),
        "infinity": (lambda y: replaced(y, (0, 0), np.inf), ("y", "inf")),
        "beyond float32": (lambda y: replaced(y, (0, 0), 1e39), ("y", "float32")),
        "text": (lambda y: y.astype(str), ("y",)),
    },
    **dict.fromkeys(
        ("softmax_focal_cross_entropy", "kl_divergence"),
        {
            "a label beyond the classes": (lambda y: replaced(y, 4, 3, int), ("y[4]", "3")),
            "rows that do not sum to one": (lambda y: 0.5 * np.eye(3)[y], ("sum of y[0]", "0.5")),
        },
    ),
    "contrastive": {"fractions": (lambda y: y + 0.5, ("y", "whole number"))},
    "triplet": {"fractions": (lambda y: y + 0.5, ("y", "whole number"))},
    "half_squared_error": {"infinity": (lambda y: replaced(y, (0, 0), -np.inf), ("y", "inf"))},
    "mean_absolute_error": {"NaN": (lambda y: replaced(y, (0, 0), np.nan), ("y", "nan"))},
}

# One number that is none of its kind, for every other loss.
BAD_NUMBERS = {"real": np.inf, "nonnegative": -0.25, "positive": 0.0, "nonzero": 0.0, "probability": 1.5, "sign": 0.5}
for _name in LOSS_NAMES:
    _bad = BAD_NUMBERS.get(LOSSES[_name].target)
    if _name not in BAD_TARGETS and _bad is not None:
        BAD_TARGETS[_name] = {str(_bad): (lambda y, bad=_bad: replaced(y, (3, 0), bad), ("y[3, 0]", str(_bad)))}


def test_every_loss_has_bad_targets():
    """Whatever is registered is in the catalogue."""
    assert set(BAD_TARGETS) == set(LOSS_NAMES)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("loss", "bad"), [(loss, bad) for loss in BAD_TARGETS for bad in BAD_TARGETS[loss]])
def test_bad_targets_are_refused(loss, bad, entrance):
    """At every entrance alike."""
    make, fragments = BAD_TARGETS[loss][bad]
    refused(lambda m, x, y: ENTRANCES[entrance](m, x, make(y)), *fragments, loss=loss)


# ---------------------------------------------------------------------------- weights of samples and classes
BAD_SAMPLE_WEIGHTS = {
    "too few": (np.ones(N - 1), ("sample_weight", "11", "12")),
    "two-dimensional": (np.ones((N, 1)), ("sample_weight", "(12, 1)")),
    "a negative one": (replaced(np.ones(N), 5, -0.25), ("sample_weight", "-0.25", "5")),
    "all zero": (np.zeros(N), ("sample_weight",)),
    "NaN": (replaced(np.ones(N), 5, np.nan), ("sample_weight", "nan")),
    "infinity": (replaced(np.ones(N), 5, np.inf), ("sample_weight", "inf")),
    "a sum beyond float64": (np.full(N, 1e308), ("sample_weight",)),
    "text": (np.array(["1"] * N), ("sample_weight",)),
    "a number": (2.0, ("sample_weight",)),
}


@pytest.mark.parametrize("bad", BAD_SAMPLE_WEIGHTS)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_bad_sample_weights_are_refused(entrance, bad):
    """At every entrance alike."""
    weight, fragments = BAD_SAMPLE_WEIGHTS[bad]
    refused(lambda m, x, y: ENTRANCES[entrance](m, x, y, sample_weight=weight), *fragments)


BAD_CLASS_WEIGHTS = {
    "a class that is not there": {0: 1.0, 7: 2.0},
    "a negative one": {0: -1.0, 1: 1.0, 2: 1.0},
    "all zero": {0: 0.0, 1: 0.0, 2: 0.0},
    "NaN": {0: np.nan, 1: 1.0, 2: 1.0},
    "text": {0: "heavy", 1: 1.0, 2: 1.0},
    "not a mapping": 3.0,
}


@pytest.mark.parametrize("bad", BAD_CLASS_WEIGHTS)
def test_bad_class_weights_are_refused(bad):
    """They are given by class: a number of at least zero each."""
    refused(
        lambda m, x, y: m.fit(x, y, class_weight=BAD_CLASS_WEIGHTS[bad], epochs=1, batch_size=4, verbose=0),
        "weight",
    )


def test_class_weights_need_classes():
    """A regression has none."""
    refused(
        lambda m, x, y: m.fit(x, y, class_weight={0: 1.0, 1: 2.0}, epochs=1, batch_size=4, verbose=0),
        "class_weight",
        loss="mean_squared_error",
    )


# ------------------------------------------------------------------------------------------ arguments of fit
BAD_FIT_ARGUMENTS = {
    "batch_size": (0, -1, 2.5, "8", N + 1, True, np.nan),
    "epochs": (-1, 1.5, "3", None, True),
    "validation_data": ((), 3, "data"),
    "verbose": ("loud",),
}


@pytest.mark.parametrize(
    ("argument", "value"), [(name, value) for name, values in BAD_FIT_ARGUMENTS.items() for value in values]
)
def test_bad_arguments_of_fit_are_refused(argument, value):
    """A batch larger than the data among them."""
    arguments = {"epochs": 1, "batch_size": 4, "verbose": 0, argument: value}
    refused(lambda m, x, y: m.fit(x, y, **arguments), argument)


def test_a_batch_as_large_as_the_data_is_not_too_large():
    """The bound belongs to what is admitted."""
    model, twin = model_for(), model_for()
    x, y = data()
    model.fit(x, y, batch_size=N, epochs=2, verbose=0)
    twin.fit(x, y, batch_size=None, epochs=2, verbose=0)
    assert_same_bits(model.get_weights(), twin.get_weights())


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda x, y: (x,), ("validation_data",)),
        (lambda x, y: (x[:, :3], y), ("validation X", "3", "4")),
        (lambda x, y: (x[:-1], y), ("validation y", "12", "11")),
        (lambda x, y: (replaced(x, (0, 0), np.nan), y), ("validation X", "nan")),
        (lambda x, y: (x, y + 1), ("validation y", "3")),
        (lambda x, y: (x[:0], y[:0]), ("validation X", "0")),
    ],
)
def test_bad_validation_data_is_refused_before_training(make, fragments):
    """Not after the first epoch."""
    refused(
        lambda m, x, y: m.fit(x, y, validation_data=make(x, y), epochs=1, batch_size=4, verbose=0), *fragments
    )


# ----------------------------------------------------------------------------------- before there is a model
def dense(n=3, **options):
    """One layer."""
    return [fg.Dense(n, **options)]


BAD_MODELS = {
    "an unknown loss": (
        lambda: fg.Sequential(dense(), loss="sofmax_cross_entropy"),
        ("softmax_cross_entropy",),
    ),
    "an unknown optimizer": (
        lambda: fg.Sequential(dense(), loss="multiclass_hinge", optimizer="adan"),
        ("adam",),
    ),
    "an unknown activation": (lambda: fg.Dense(3, activation="rellu"), ("relu", "leaky_relu")),
    "an unknown backend": (
        lambda: fg.Sequential(dense(), loss="multiclass_hinge", backend="nunpy"),
        ("numpy",),
    ),
}


@pytest.mark.parametrize("bad", BAD_MODELS)
def test_unknown_names_are_refused_with_the_nearest_ones(bad):
    """And with all that are known."""
    make, fragments = BAD_MODELS[bad]
    with pytest.raises(ValueError, match="unknown .+; did you mean .+ known: ") as caught:
        make()
    for fragment in fragments:
        assert fragment in str(caught.value)


BAD_CONSTRUCTIONS = {
    "no layers": lambda: fg.Sequential([], loss="mean_squared_error"),
    "something else for a layer": lambda: fg.Sequential([3], loss="mean_squared_error"),
    "a layer instead of a list": lambda: fg.Sequential(fg.Dense(3), loss="mean_squared_error"),
    "no units": lambda: fg.Dense(0),
    "fewer than no units": lambda: fg.Dense(-2),
    "units with a fraction": lambda: fg.Dense(2.5),
    "units in words": lambda: fg.Dense("ten"),
    "an activation that is none": lambda: fg.Dense(3, activation=7),
    "half precision": lambda: fg.Sequential(dense(), loss="mean_squared_error", dtype="float16"),
    "whole numbers": lambda: fg.Sequential(dense(), loss="mean_squared_error", dtype="int64"),
    "a precision that is none": lambda: fg.Sequential(dense(), loss="mean_squared_error", dtype="single-ish"),
    "a negative seed": lambda: fg.Sequential(dense(), loss="mean_squared_error", seed=-1),
    "a seed with a fraction": lambda: fg.Sequential(dense(), loss="mean_squared_error", seed=0.5),
    "a seed beyond 64 bits": lambda: fg.Sequential(dense(), loss="mean_squared_error", seed=2**64),
    "no threads": lambda: fg.Sequential(dense(), loss="mean_squared_error", n_threads=0),
    "half a thread": lambda: fg.Sequential(dense(), loss="mean_squared_error", n_threads=0.5),
    "a loss that is none": lambda: fg.Sequential(dense(), loss=7),
    "an optimizer that is none": lambda: fg.Sequential(dense(), loss="mean_squared_error", optimizer=0.01),
    "a penalty that is none": lambda: fg.Sequential(dense(), loss="mean_squared_error", penalty=0.01),
    "a negative penalty": lambda: fg.L2(-1e-4),
    "a penalty that is not a number": lambda: fg.L1(np.nan),
    "one class": lambda: fg.Sequential(dense(1), loss="softmax_cross_entropy").build(4),
    "no features": lambda: fg.Sequential(dense(), loss="mean_squared_error").build(0),
    "features with a fraction": lambda: fg.Sequential(dense(), loss="mean_squared_error").build(2.5),
}


@pytest.mark.parametrize("bad", BAD_CONSTRUCTIONS)
def test_bad_constructions_are_refused(bad):
    """As soon as they can be known."""
    with pytest.raises((ValueError, TypeError)) as caught:
        BAD_CONSTRUCTIONS[bad]()
    assert_explains(caught.value)


BAD_OPTIMIZERS = {
    "a negative step": lambda: fg.SGD(-0.1),
    "a step that is not a number": lambda: fg.Adam(np.nan),
    "an infinite step": lambda: fg.Adagrad(np.inf),
    "a step in words": lambda: fg.SGD("fast"),
    "momentum of one": lambda: fg.SGD(0.1, momentum=1.0),
    "negative momentum": lambda: fg.SGD(0.1, momentum=-0.5),
    "Nesterov without momentum": lambda: fg.SGD(0.1, nesterov=True),
    "a mean that forgets nothing": lambda: fg.Adam(beta2=1.0),
    "a negative share": lambda: fg.RMSprop(rho=-0.1),
    "a share beyond one": lambda: fg.Adadelta(rho=1.5),
    "no eps": lambda: fg.Adam(eps=-1e-8),
}


@pytest.mark.parametrize("bad", BAD_OPTIMIZERS)
def test_bad_hyperparameters_are_refused(bad):
    """With the interval that is admitted."""
    with pytest.raises((ValueError, TypeError), match="(?s)got .+, expected "):
        BAD_OPTIMIZERS[bad]()


# --------------------------------------------------------------------------------------- predict and weights
@each_backend
@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.predict(x),
        lambda m, x: m.transform(x, layer=0),
        lambda m, x: m.get_weights(),
        lambda m, x: m.set_weights([]),
    ],
)
def test_a_model_without_weights_says_so(call, backend):
    """Before anything is known of the data; it can be built afterwards."""
    x, y = data()
    model = fg.Sequential(dense(), loss="softmax_cross_entropy", backend=backend)
    with pytest.raises(fg.NotBuiltError, match="build|fit"):
        call(model, x)
    model.fit(x, y, epochs=1, verbose=0, batch_size=4)
    assert model.predict(x).shape == (N, N_OUTPUTS)


@each_backend
@pytest.mark.parametrize("bad", ["X", "y", "sample_weight", "batch_size", "validation_data"])
def test_a_refused_first_fit_builds_nothing(bad, backend):
    """The model waits for good data as if it had seen none; another number of features is then as welcome."""
    x, y = data()
    given = {
        "X": {"X": replaced(x, (0, 0), np.nan), "y": y},
        "y": {"X": x, "y": y + 1},
        "sample_weight": {"X": x, "y": y, "sample_weight": -np.ones(N)},
        "batch_size": {"X": x, "y": y, "batch_size": N + 1},
        "validation_data": {"X": x, "y": y, "validation_data": (x, y + 1)},
    }
    model = fg.Sequential(dense(), loss="softmax_cross_entropy", backend=backend)
    with pytest.raises(ValueError):
        model.fit(**given[bad], epochs=1, verbose=0)
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()
    model.fit(x[:, :2], y, epochs=1, verbose=0)
    assert model.get_weights()[0].shape == (2, N_OUTPUTS)


def other_weights(change):
    """Weights of the model's shapes, changed."""

    def call(model, x, y):
        weights = model.get_weights()
        model.set_weights(change(weights))

    return call


BAD_WEIGHTS = {
    "too few arrays": (lambda w: w[:-1], ("3", "4")),
    "too many arrays": (lambda w: [*w, w[0]], ("5", "4")),
    "transposed": (lambda w: [w[0].T, *w[1:]], ("(5, 4)", "(4, 5)")),
    "a bias as a column": (lambda w: [w[0], w[1][:, None], *w[2:]], ("(5, 1)", "(5,)")),
    "NaN": (lambda w: [replaced(w[0], (0, 0), np.nan), *w[1:]], ("nan",)),
    "infinity in the last": (lambda w: [*w[:-1], replaced(w[-1], 0, np.inf)], ("inf",)),
    "beyond float32": (lambda w: [*w[:-1], replaced(w[-1], 0, 1e39)], ("float32",)),
    "text": (lambda w: [w[0].astype(str), *w[1:]], ()),
    "None": (lambda w: None, ("None",)),
}


@pytest.mark.parametrize("bad", BAD_WEIGHTS)
def test_bad_weights_are_refused(bad):
    """None of them is taken over, though the first ones may have been good."""
    change, fragments = BAD_WEIGHTS[bad]
    refused(other_weights(change), *fragments)


def test_bad_layers_are_refused():
    """transform counts the layers from either end."""
    for layer in (2, -3, 0.5, "first"):
        refused(lambda m, x, y, layer=layer: m.transform(x, layer=layer), "layer")


def read_only(array):
    """The same array, locked."""
    array.flags.writeable = False
    return array


BAD_OUT = {
    "another shape": (lambda x: np.empty((N, N_OUTPUTS + 1), np.float32), ("out", "(12, 4)", "(12, 3)")),
    "another precision": (lambda x: np.empty((N, N_OUTPUTS)), ("out", "float64", "float32")),
    "read-only": (lambda x: read_only(np.empty((N, N_OUTPUTS), np.float32)), ("out", "read-only")),
    "overlapping": (lambda x: x[:, :N_OUTPUTS], ("out", "X")),
    "no array": (lambda x: [[0.0] * N_OUTPUTS] * N, ("out", "list")),
}


@each_backend
@pytest.mark.parametrize("bad", BAD_OUT)
def test_bad_out_is_refused(bad, backend):
    """And neither it nor X is written to."""
    make, fragments = BAD_OUT[bad]
    model, x = model_for(backend=backend), data()[0].astype(np.float32)
    out, before = make(x), x.copy()
    with pytest.raises((ValueError, TypeError)) as caught:
        model.predict(x, out=out)
    assert_explains(caught.value, *fragments)
    assert_same_bits(x, before)


@each_backend
@each_dtype
def test_out_is_filled_and_returned(dtype, backend):
    """With the bits that are returned without it."""
    model, x = model_for(backend=backend, dtype=dtype), data()[0]
    out = np.full((N, N_OUTPUTS), np.nan, dtype)
    assert model.predict(x, out=out) is out
    assert_same_bits(out, model.predict(x))


# ------------------------------------------------------------------------------------- layouts that are good
def strided(array):
    """Every second element along each axis of a larger array."""
    wide = np.full([2 * n for n in array.shape], -7, array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def backwards(array):
    """Negative strides."""
    return np.ascontiguousarray(array[::-1])[::-1]


def swapped(array):
    """The other byte order."""
    return array.astype(array.dtype.newbyteorder())


def unaligned(array):
    """One byte beside where the processor would like it."""
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = {
    "read-only": lambda a: read_only(a.copy()),
    "strided": strided,
    "Fortran": np.asfortranarray,
    "backwards": backwards,
    "byte-swapped": swapped,
    "unaligned": unaligned,
    "a list": lambda a: a.tolist(),
}


@each_backend
@each_dtype
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_bits_of_contiguous_arrays(layout, loss, dtype, backend):
    """Of X, targets, sample weights and weights."""
    x, y = data(loss)
    weight = np.random.default_rng(4).uniform(0.5, 2.0, size=N)

    def run(arrange):
        model = model_for(loss, backend, dtype=dtype)
        model.set_weights([arrange(w) for w in model.get_weights()])
        given = arrange(x), arrange(y), arrange(weight)
        history = model.fit(*given[:2], sample_weight=given[2], epochs=2, batch_size=5, verbose=0)
        loss_value, gradients = model.loss_and_gradients(*given[:2], sample_weight=given[2])
        predictions = model.predict(given[0]), model.predict(given[0], raw=True)
        return [
            *model.get_weights(),
            *gradients,
            *predictions,
            np.array([loss_value, *history.history["loss"]]),
        ]

    assert_same_bits(run(LAYOUTS[layout]), run(np.ascontiguousarray))


@each_backend
@pytest.mark.parametrize("given", ["float32", "int8", "uint8", "int64", "uint64", "bool", "float64"])
@each_dtype
def test_every_real_type_gives_the_bits_of_its_numbers(dtype, given, backend):
    """Small whole numbers are the same in each."""
    x, y = np.random.default_rng(1).integers(2, size=(N, N_FEATURES)), data()[1]

    def run(array):
        model = model_for(backend=backend, dtype=dtype)
        history = model.fit(array, y, epochs=2, batch_size=5, verbose=0)
        return [*model.get_weights(), model.predict(array), np.array(history.history["loss"])]

    assert_same_bits(run(x.astype(given)), run(x.astype(dtype)))


@each_backend
def test_inputs_are_not_written_to(backend):
    """Nor kept: changing them afterwards changes nothing."""
    model = model_for(backend=backend)
    x, y = data()
    weight, weights = np.ones(N), model.get_weights()
    copies = [a.copy() for a in (x, y, weight, *weights)]
    model.set_weights(weights)
    model.fit(x, y, sample_weight=weight, epochs=1, batch_size=5, verbose=0)
    model.predict(x)
    assert_same_bits([x, y, weight, *weights], copies)
    left = model.get_weights()
    x[...] = 0.0
    left[0][...] = 0.0
    assert model.get_weights()[0].any()


@each_backend
def test_a_single_output_takes_targets_without_a_second_axis(backend):
    """(n,) is (n, 1)."""
    x = data()[0]
    y = x.sum(axis=1)
    results = []
    for target in (y, y[:, None]):
        model = model_of([N_FEATURES, 1], ["linear"], "mean_squared_error", backend=backend, seed=1)
        history = model.fit(x, target, epochs=2, batch_size=5, verbose=0)
        results.append([*model.get_weights(), np.array(history.history["loss"])])
    assert_same_bits(results[1], results[0])
