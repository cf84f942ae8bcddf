"""The quick look of the compiled network: what it takes, the door passes on as it is; and it takes what it should."""

from __future__ import annotations

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, LOSS_NAMES, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import admitted_outputs
from tolerances import assert_same_bits

from fastgd._formula import LOSSES
from fastgd._kernels import get_backend
from fastgd.inputs import TARGET_KINDS, read_features, read_output, read_targets

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

N, N_INPUTS, N_OUTPUTS = 6, 4, 3


class Subclass(np.ndarray):
    """An array whose class may mean anything."""


def unaligned(x):
    """The same numbers, one byte off."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    there = memory[1:].view(x.dtype).reshape(x.shape)
    there[...] = x
    return there


def read_only(x):
    """The same array, not to be written to."""
    x = x.copy()
    x.flags.writeable = False
    return x


# How numbers can lie in memory, and whether the engine can read them there.
LAYOUTS = {
    "C-contiguous": (lambda x: x, True),
    "Fortran-contiguous": (np.asfortranarray, True),
    "reversed": (lambda x: x[::-1, ::-1], True),
    "with gaps": (lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3], True),
    "one row for all": (lambda x: np.broadcast_to(x[0], x.shape), True),
    "read-only": (read_only, True),
    "of the other byte order": (lambda x: x.astype(x.dtype.newbyteorder("S")), False),
    "unaligned": (unaligned, False),
    "a subclass": (lambda x: x.view(Subclass), False),
    "masked": (np.ma.masked_array, False),
    "a list": (lambda x: x.tolist(), False),
    "one-dimensional": (lambda x: x[0], False),
    "three-dimensional": (lambda x: x[None], False),
    "a single number": (lambda x: x[0, 0], False),
    "of no dimension": (lambda x: np.array(x[0, 0]), False),
    "without rows": (lambda x: x[:0], False),
    "a column too many": (lambda x: np.hstack([x, x[:, :1]]), False),
    "nothing": (lambda x: None, False),
}

# Element types, by their characters, and whether the engine has them.
ELEMENTS = dict.fromkeys("?bBhHiIlLqQfd", True) | dict.fromkeys("egFDGOSUVmM", False)


def network_for(loss="softmax_cross_entropy", dtype="float32", n_outputs=N_OUTPUTS):
    """The compiled network of a 4-5-3 model."""
    pytest.importorskip("fastgd._kernels.cython_")
    return model_of([N_INPUTS, 5, n_outputs], ["tanh", "linear"], loss, dtype=dtype, backend="cython")._network


def first_nonfinite(*given):
    """The compiled backend's."""
    return get_backend("cython").first_nonfinite(*given)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("element", "fdiB")
@each_dtype
def test_layouts(layout, element, dtype):
    """Taken where the engine can read it; and then the door passes on the very array."""
    arrange, expected = LAYOUTS[layout]
    X = arrange(np.arange(N * N_INPUTS).reshape(N, N_INPUTS).astype(element))
    if layout == "of the other byte order" and element == "B":
        expected = True  # A byte has no order,
    if layout == "unaligned" and element == "B":
        expected = True  # and lies anywhere.
    network = network_for(dtype=dtype)
    assert network.takes(X) is expected
    if expected:
        assert read_features(X, N_INPUTS, np.dtype(dtype), first_nonfinite) is X


@pytest.mark.parametrize("element", ELEMENTS)
@each_dtype
def test_element_types(element, dtype):
    """Real numbers of 1 to 8 bytes, and nothing else."""
    X = np.zeros((N, N_INPUTS), element)
    assert network_for(dtype=dtype).takes(X) is ELEMENTS[element]
    if ELEMENTS[element]:
        assert read_features(X, N_INPUTS, np.dtype(dtype), first_nonfinite) is X


def test_every_element_type_of_numpy_is_in_the_table():
    """Records are among them, as V."""
    assert set(ELEMENTS) == set(np.typecodes["All"]) - set("cpPnN") | set("V")


@each_dtype
@settings(deadline=None)
@given(data=st.data())
def test_one_bad_number_anywhere(dtype, data):
    """A NaN, an infinity, or what the dtype cannot hold."""
    element = data.draw(st.sampled_from(["float32", "float64"]))
    n_rows = data.draw(st.integers(1, 9))
    X = np.ones((n_rows, 2 * N_INPUTS), element)[:, :: data.draw(st.sampled_from([1, 2, -2]))][:, :N_INPUTS]
    network = network_for(dtype=dtype)
    largest = np.finfo(min(np.dtype(dtype), X.dtype)).max
    place = data.draw(st.integers(0, n_rows - 1)), data.draw(st.integers(0, N_INPUTS - 1))
    X[place] = -largest
    assert network.takes(X)
    with np.errstate(over="ignore"):
        beyond = np.nextafter(X.dtype.type(largest), X.dtype.type(np.inf))
    X[place] = data.draw(st.sampled_from([np.nan, -np.nan, np.inf, -np.inf, beyond, -beyond]))
    assert not network.takes(X)
    for backend in BACKENDS:
        assert get_backend(backend).first_nonfinite(X, np.dtype(dtype)) == place


TARGETS = {
    "softmax_cross_entropy": {
        "labels": (lambda y: y, True),
        "labels of bytes": (lambda y: y.astype(np.int8), True),
        "unsigned labels": (lambda y: y.astype(np.uint64), True),
        "labels with gaps": (lambda y: np.repeat(y, 2)[::2], True),
        "labels from last to first": (lambda y: y.astype(np.int16)[::-1], True),
        "a negative label of a byte": (lambda y: (y - 1).astype(np.int8), False),
        "an unsigned label beyond every other": (lambda y: (y - 1).astype(np.uint64), False),
        "labels with a point": (lambda y: y.astype(float), False),
        "labels of the other byte order": (lambda y: y.astype(y.dtype.newbyteorder("S")), False),
        "a negative label": (lambda y: y - 1, False),
        "a label beyond the classes": (lambda y: y + 1, False),
        "the greatest label there is": (lambda y: np.where(y == 2, np.iinfo(np.intp).max, y), False),
        "a label too few": (lambda y: y[1:], False),
        "labels in a column": (lambda y: y[:, None], False),
        "one-hot rows": (lambda y: np.eye(3, dtype=np.float32)[y], False),
        "nothing": (lambda y: None, False),
    },
    "mean_squared_error": {
        "rows": (lambda y: np.eye(3, dtype=np.float32)[y], True),
        "rows of float64": (lambda y: np.eye(3)[y], True),
        "rows of whole numbers": (lambda y: np.eye(3, dtype=int)[y], True),
        "columns": (lambda y: np.asfortranarray(np.eye(3)[y]), True),
        "a NaN": (lambda y: np.where(np.eye(3)[y] > 0, np.nan, 0.0), False),
        "a row too many": (lambda y: np.eye(3)[np.append(y, 0)], False),
        "a column too few": (lambda y: np.eye(3)[y][:, :2], False),
        "one-dimensional": (lambda y: y, False),
    },
    "binary_cross_entropy": {
        "rows": (lambda y: np.eye(3, dtype=np.float32)[y], True),
        "rows of flags": (lambda y: np.eye(3, dtype=bool)[y], True),
        "rows of whole numbers": (lambda y: np.eye(3, dtype=int)[y], True),
        "probabilities": (lambda y: np.full((len(y), 3), 0.25)[:, ::-1], True),
        "beyond one": (lambda y: np.eye(3)[y] * 1.5, False),
        "a NaN": (lambda y: np.where(np.eye(3)[y] > 0, np.nan, 0.0), False),
    },
    "gaussian_nll": {"rows": (lambda y: np.eye(2)[y % 2], True), "as many as outputs": (lambda y: np.eye(4)[y], False)},
    "cosine_similarity": {"what has to be looked at closely": (lambda y: np.eye(3)[y], False)},
    "multiclass_hinge": {"labels": (lambda y: y, True), "a label beyond the classes": (lambda y: y + 1, False)},
}


ALONE = {"seed": 0, "steps_before": 0, "n_threads": 1}


@pytest.mark.parametrize(("loss", "case"), [(loss, case) for loss in TARGETS for case in TARGETS[loss]])
@each_dtype
def test_targets(loss, case, dtype):
    """Taken are those that lie ready; a step with them has the bits of one with what the door makes of them."""
    make, expected = TARGETS[loss][case]
    X, y = np.ones((N, N_INPUTS), dtype), make(np.arange(N) % 3)
    n_outputs = admitted_outputs(LOSSES[loss], N_OUTPUTS)
    network = network_for(loss, dtype, n_outputs)
    assert network.takes_batch(X, y) is expected
    assert not network.takes_batch(X * np.nan, y)
    if expected:
        door = read_targets(y, LOSSES[loss], N, n_outputs, np.dtype(dtype), first_nonfinite)
        straight, through = (network.loss_and_gradients(X, given, None, **ALONE) for given in (y, door))
        assert straight[0] == through[0]
        assert_same_bits(straight[1], through[1])


@pytest.mark.parametrize("loss", [name for name in LOSS_NAMES if LOSSES[name].target in TARGET_KINDS])
@each_dtype
@settings(deadline=None)
@given(data=st.data())
def test_every_kind_of_number_is_told_as_by_the_door(loss, dtype, data):
    """Wherever its kind ends, in the precision in which the engine takes it."""
    tiny = float(np.finfo("float32").smallest_normal)
    ends = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -1e-30, tiny, tiny / 2, -tiny / 2, 1e-310, np.nextafter(1.0, 2.0), 1e39]
    y = np.ones((N, N_OUTPUTS), data.draw(st.sampled_from(["float32", "float64", "int8", "uint16"])))
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = np.array(data.draw(st.sampled_from(ends))).astype(y.dtype)
    y[data.draw(st.integers(0, N - 1)), data.draw(st.integers(0, N_OUTPUTS - 1))] = drawn
    try:
        with np.errstate(over="ignore"):
            read_targets(y, LOSSES[loss], N, N_OUTPUTS, np.dtype(dtype), first_nonfinite)
    except ValueError:
        expected = False
    else:
        expected = LOSSES[loss].target != "direction"
    assert network_for(loss, dtype).takes_batch(np.ones((N, N_INPUTS), dtype), y) is expected


def test_one_output_takes_targets_of_one_dimension():
    """But a single column of X stays two-dimensional."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(N, N_INPUTS)).astype(np.float32), draw.normal(size=2 * N)[::2]
    network = network_for("mean_squared_error", n_outputs=1)
    assert network.takes_batch(X, y)
    straight, through = (network.loss_and_gradients(X, t, None, **ALONE) for t in (y, y[:, None]))
    assert straight[0] == through[0]
    assert_same_bits(straight[1], through[1])
    single = model_of([1, 1], ["linear"], "mean_squared_error", backend="cython")._network
    assert single.takes(X[:, :1])
    assert not single.takes(X[:, 0])


@each_dtype
@given(data=st.data())
def test_outputs_never_lie_in_the_inputs(dtype, data):
    """Any two views of one memory: what is taken is what the door would pass, and it lies apart from X."""
    memory = np.zeros(60, dtype)

    def view(n_columns):
        start, row, column = (data.draw(st.integers(*ends)) for ends in ((0, 30), (-6, 6), (-2, 2)))
        reach = [start + i * row + k * column for i in (0, 1) for k in (0, n_columns - 1)]
        if min(reach) < 0 or max(reach) >= len(memory):
            start, row, column = 0, n_columns, 1
        strides = row * memory.itemsize, column * memory.itemsize
        return np.lib.stride_tricks.as_strided(memory[start:], (2, n_columns), strides)

    X, out = view(N_INPUTS), view(N_OUTPUTS)
    if network_for(dtype=dtype).takes_output(X, out, 1):
        assert not np.shares_memory(out, X)
        assert read_output(out, (2, N_OUTPUTS), np.dtype(dtype), X) is out


@each_dtype
def test_outputs(dtype):
    """C-contiguous, writeable, of the right shape and dtype."""
    network, X = network_for(dtype=dtype), np.ones((N, N_INPUTS), dtype)
    out = np.empty((N, N_OUTPUTS), dtype)
    assert network.takes_output(X, out, 1)
    assert network.takes_output(X, np.empty((N, 5), dtype), 0)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    for wrong in (
        out[:-1],
        out[:, :-1],
        out[::-1],
        np.asfortranarray(out),
        out.astype(other),
        out.astype("i4"),
        out.astype("i8"),
        out.view(Subclass),
        read_only(out),
        out[0],
        out.tolist(),
        None,
    ):
        assert not network.takes_output(X, wrong, 1)


def test_what_the_door_says_of_several_bad_numbers():
    """The first is named, whatever is wrong with it."""
    X = np.ones((3, 4))
    X[1, 2], X[2, 0] = 1e39, np.nan
    with pytest.raises(ValueError, match=r"X\[1, 2\]: got 1e\+39, expected a number that float32 can hold"):
        read_features(X, 4, np.dtype("float32"), first_nonfinite)
    X[0, 3] = -np.inf
    with pytest.raises(ValueError, match=r"X\[0, 3\]: got -inf, expected a finite number"):
        read_features(X, 4, np.dtype("float32"), first_nonfinite)
