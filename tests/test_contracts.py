"""A contract is executed: what it says is what passes, and whatever departs from it is refused in a full sentence."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgd import kernels
from fastgd._kernels import available_backends, get_backend
from fastgd._kernels.backend import Backend
from fastgd._kernels.contracts import CONTRACTS, overlap, parse

ALL_CONTRACTS = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)

lengths = st.fixed_dictionaries({letter: st.integers(1, 5) for letter in "NIOT"})
dtypes = st.sampled_from(["float32", "float64"])


def drawn(contract, dims, dtype, form=0, seed=0):
    """Arrays that keep a contract."""
    return contract.draw(np.random.default_rng(seed), dims, dtype, form)


def assert_explains(error, *fragments):
    """What, got, expected and a remedy."""
    assert re.fullmatch(r"(?s).+?: got .+, expected .+; .+", str(error)), str(error)
    for fragment in fragments:
        assert fragment in str(error), f"{fragment!r} is not in {str(error)!r}"


# -------------------------------------------------------------------------------------------------- the notation
@ALL_CONTRACTS
def test_a_contract_is_written_as_it_was_read(contract):
    """Nothing is lost in parsing."""
    sides = (" ".join(map(str, side)) for side in (contract.inputs, contract.outputs))
    assert " -> ".join(sides) == contract.text


@pytest.mark.parametrize(
    "text",
    [
        "x[N,I]",
        "x[N] -> y[N] -> z[N]",
        "x[n] -> y[N]",
        "x(N) -> y[N]",
        "X[N] -> y[N]",
        "x[N]! -> y[N]",
        "x[N]:int -> y[N]",
        "x[N,] -> y[N]",
        "x[N]| -> y[N]",
    ],
)
def test_what_is_outside_the_notation_is_refused(text):
    """With the word that cannot be read."""
    with pytest.raises(ValueError) as caught:
        parse("some_kernel", text)
    assert_explains(caught.value, "some_kernel")


def test_all_marks_are_read():
    """Alternatives, kinds, optional and repeated arguments, arrays changed in place."""
    contract = parse("k", "w[...] t[N,O]|[N]:label(O) s[N]:float64? states[...]* -> w[...] kept[N,O]?")
    assert contract.in_place == {"w"}
    w, t, s, states = contract.inputs
    assert [form.kind for form in t.forms] == ["real", "label"]
    assert t.forms[1].bound == "O"
    assert (s.optional, s.forms[0].kind, states.several, w.forms[0].dims) == (True, "float64", True, ("...",))
    assert contract.outputs[1].optional


@ALL_CONTRACTS
def test_a_contract_has_its_kernel_in_public_and_in_every_backend(contract):
    """With the parameters that the contract names, in its order."""
    names = [argument.name for argument in contract.inputs]
    public = inspect.signature(getattr(kernels, contract.function))
    assert [name for name in public.parameters if name in names] == names
    for backend in available_backends():
        assert callable(getattr(get_backend(backend), contract.function))


def test_every_public_kernel_has_a_contract():
    """And the other way round."""
    assert set(kernels.__all__) - {"CONTRACTS"} == set(CONTRACTS)


@pytest.mark.parametrize("backend", available_backends())
def test_every_backend_has_all_names_of_the_protocol(backend):
    """Functions of the module, methods of its Network."""
    module = get_backend(backend)
    public = [name for name in vars(Backend) if not name.startswith("_")]
    assert [name for name in public if not hasattr(module, name)] == []
    for name in ("train", "evaluate", "loss_and_gradients", "predict", "get_weights", "set_weights", "get_slots"):
        assert callable(getattr(module.Network, name))


# ---------------------------------------------------------------------------------------------- what keeps to it
@ALL_CONTRACTS
@settings(max_examples=25, deadline=None)
@given(dims=lengths, dtype=dtypes, form=st.integers(0, 1))
def test_arrays_drawn_from_a_contract_keep_it(contract, dims, dtype, form):
    """Inputs go through as they are, outputs are allocated in the dtype of the inputs."""
    arrays = drawn(contract, dims, dtype, form)
    checked, sizes = contract.read(**arrays)
    assert sizes.dtype == dtype
    for name, array in checked.items():
        np.testing.assert_array_equal(array, arrays[name])
    outs = contract.write(checked, sizes)
    for argument in contract.outputs:
        if argument.name in contract.in_place:
            assert argument.name not in outs
        elif argument.optional:
            assert outs[argument.name] is None
        else:
            assert outs[argument.name].shape == tuple(dims[letter] for letter in argument.forms[0].dims)
            assert outs[argument.name].dtype == dtype


@ALL_CONTRACTS
def test_optional_arguments_may_be_left_out_and_others_not(contract):
    """None is as good as left out."""
    dims = {"N": 3, "I": 2, "O": 4, "T": 5}
    for argument in contract.inputs:
        arrays = drawn(contract, dims, "float32")
        arrays[argument.name] = None
        if argument.optional:
            assert contract.read(**arrays)[0][argument.name] is None
            continue
        with pytest.raises(TypeError) as caught:
            contract.read(**arrays)
        assert_explains(caught.value, contract.function, argument.name)


@ALL_CONTRACTS
def test_inputs_of_any_layout_are_taken_and_only_then_copied(contract):
    """Read-only and strided inputs pass; contiguous ones are the very arrays that were given."""
    dims = {"N": 3, "I": 2, "O": 4, "T": 5}
    arrays = drawn(contract, dims, "float64")
    free = [a.name for a in contract.inputs if a.name not in contract.in_place]
    checked, _ = contract.read(**arrays)
    for name in free:
        assert checked[name] is arrays[name]
    for name in free:
        strided = np.repeat(arrays[name], 2, axis=0)[::2]
        strided.flags.writeable = False
        copied = contract.read(**{**arrays, name: strided})[0][name]
        assert copied.flags.c_contiguous
        np.testing.assert_array_equal(copied, strided)


# --------------------------------------------------------------------------------------------- what departs from it
@ALL_CONTRACTS
@settings(max_examples=10, deadline=None)
@given(dims=lengths, dtype=dtypes)
def test_a_length_that_fits_nothing_else_is_refused(contract, dims, dtype):
    """Each argument in turn, each of its dimensions one too long."""
    shared = "".join(str(argument.forms[0]) for argument in contract.inputs)
    for argument in contract.inputs:
        letters = argument.forms[0].dims
        for axis, letter in enumerate(letters):
            if argument.several or (letter != "..." and shared.count(letter) < 2):
                continue
            arrays = drawn(contract, dims, dtype)
            arrays[argument.name] = np.repeat(arrays[argument.name], 2, axis=axis)
            with pytest.raises(ValueError) as caught:
                contract.read(**arrays)
            assert_explains(caught.value, contract.function)


@ALL_CONTRACTS
def test_wrong_dtypes_are_refused(contract):
    """Whole numbers, half precision, complex numbers, objects; and two precisions at once."""
    dims = {"N": 3, "I": 2, "O": 4, "T": 5}
    for argument in contract.inputs:
        if argument.several:
            continue
        for wrong in ("int64", "float16", "complex128", "object", ">f8"):
            arrays = drawn(contract, dims, "float64")
            arrays[argument.name] = arrays[argument.name].astype(wrong)
            with pytest.raises(TypeError) as caught:
                contract.read(**arrays)
            assert_explains(caught.value, f"{contract.function}: {argument.name}", "dtype")
    arrays = drawn(contract, dims, "float64")
    second = contract.inputs[1].name
    arrays[second] = arrays[second].astype(np.float32)
    with pytest.raises(TypeError) as caught:
        contract.read(**arrays)
    assert_explains(caught.value, second, contract.inputs[0].name, "float32", "float64")


@ALL_CONTRACTS
def test_wrong_numbers_of_dimensions_and_empty_arrays_are_refused(contract):
    """A stack of matrices is no matrix, and nothing is not enough."""
    dims = {"N": 3, "I": 2, "O": 4, "T": 5}
    for argument in contract.inputs:
        if argument.several or argument.forms[0].dims == ("...",):
            continue
        for wrong in (lambda a: a[None, None], lambda a: a.sum()):
            arrays = drawn(contract, dims, "float64")
            arrays[argument.name] = wrong(arrays[argument.name])
            with pytest.raises(ValueError) as caught:
                contract.read(**arrays)
            assert_explains(caught.value, argument.name, "shape")
    first = contract.inputs[0].name
    arrays = {name: array[:0] for name, array in drawn(contract, dims, "float64").items()}
    with pytest.raises(ValueError) as caught:
        contract.read(**arrays)
    assert_explains(caught.value, first, "at least one element")


def test_a_transposed_matrix_is_recognised():
    """The remedy is the one that helps."""
    with pytest.raises(ValueError) as caught:
        CONTRACTS["dense_forward"].read(x=np.ones((3, 4)), w=np.ones((2, 4)), b=np.ones(2))
    assert_explains(caught.value, "w", "(2, 4)", "(4, O)", "I as in x", "w.T")


@pytest.mark.parametrize("label", [-1, 4, 2**40])
def test_labels_out_of_range_are_refused(label):
    """With the first one and its row."""
    labels = np.array([0, 3, label, label])
    with pytest.raises(ValueError) as caught:
        CONTRACTS["loss_gradient"].read(scores=np.ones((4, 4)), targets=labels)
    assert_explains(caught.value, "targets[2]", str(label), "0 to 3", "O = 4 of scores")


def test_labels_of_any_whole_type_become_intp():
    """Also unsigned ones that intp cannot hold in general."""
    for dtype in ("int8", "uint8", "int64", "uint64"):
        labels = CONTRACTS["loss_gradient"].read(scores=np.ones((2, 3)), targets=np.array([2, 0], dtype))[0]["targets"]
        assert labels.dtype == np.intp
        assert labels.tolist() == [2, 0]


# -------------------------------------------------------------------------------------------- arrays to be written
def read_only(array):
    """The same array, locked."""
    array.flags.writeable = False
    return array


def unaligned(shape):
    """One byte beside where the processor would like it."""
    return np.zeros(8 * shape[0] * shape[1] + 1, np.uint8)[1:].view(np.float64).reshape(shape)


@pytest.mark.parametrize(
    ("out", "fragment"),
    [
        (np.empty((3, 3)), "shape (3, 3)"),
        (np.empty((3, 2), np.float32), "float32"),
        (np.empty((3, 2), order="F"), "strides"),
        (np.empty((3, 4))[:, ::2], "strides"),
        (unaligned((3, 2)), "unaligned"),
        (read_only(np.empty((3, 2))), "read-only"),
        ([[0.0, 0.0]] * 3, "list"),
    ],
)
@pytest.mark.parametrize("name", ["out", "kept"])
def test_an_output_that_cannot_be_written_is_refused(name, out, fragment):
    """Whichever output it is."""
    contract = CONTRACTS["dense_forward"]
    checked, sizes = contract.read(x=np.ones((3, 4)), w=np.ones((4, 2)), b=np.ones(2))
    with pytest.raises((ValueError, TypeError)) as caught:
        contract.write(checked, sizes, **{name: out})
    assert_explains(caught.value, f"dense_forward: {name}", fragment)


def test_an_output_that_shares_memory_is_refused():
    """With an input, and with another output."""
    contract, shared = CONTRACTS["dense_forward"], np.ones((3, 2))
    checked, sizes = contract.read(x=shared, w=np.ones((2, 2)), b=np.ones(2))
    with pytest.raises(ValueError) as caught:
        contract.write(checked, sizes, out=shared)
    assert_explains(caught.value, "out", "x")
    out = np.empty((3, 2))
    with pytest.raises(ValueError) as caught:
        contract.write(checked, sizes, out=out, kept=out)
    assert_explains(caught.value, "out", "kept")


def test_arrays_changed_in_place_are_checked_like_outputs():
    """They are never copied, so they have to be as they should."""
    contract, g = CONTRACTS["parameter_update"], np.ones((2, 2))
    for w, fragment in (
        (read_only(np.ones((2, 2))), "read-only"),
        (np.ones((2, 2), order="F"), "strides"),
        ([[1.0, 1.0], [1.0, 1.0]], "list"),
        (g, "memory"),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            contract.read(w=w, g=g, states=[])
        assert_explains(caught.value, "w", fragment)
    w, state = np.ones((2, 2)), np.zeros((2, 2))
    checked, _ = contract.read(w=w, g=g, states=[state])
    assert checked["w"] is w
    assert checked["states"][0] is state
    with pytest.raises(ValueError) as caught:
        contract.read(w=w, g=g, states=[state, state])
    assert_explains(caught.value, "states[0]", "states[1]")
    with pytest.raises(ValueError) as caught:
        contract.read(w=w, g=g, states=[np.zeros(4)])
    assert_explains(caught.value, "states[0]", "(4,)", "(2, 2)")
    with pytest.raises(TypeError) as caught:
        contract.read(w=w, g=g, states=state)
    assert_explains(caught.value, "states", "list")


def test_interleaved_arrays_do_not_overlap():
    """Bounds of memory alone would say so."""
    both = np.zeros((4, 4))
    assert not overlap(both[:, ::2], both[:, 1::2])
    assert overlap(both[:, ::2], both[:, 1:])
