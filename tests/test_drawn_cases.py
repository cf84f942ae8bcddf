"""The kernels on whatever may come: any shape and layout, no rows, subnormal numbers, scores of up to 700.

Each case is drawn from its number, so that a failure names what to run again. A run of all tests goes through 12,000
for each backend.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, DTYPES, JUMPING, LOSS_NAMES, OPTIMIZER_NAMES
from kernel_checks import check_backward, check_forward, check_loss_gradient, check_parameter_update
from targets import admitted_outputs, targets_of
from tolerances import smallest_normal

from fastgd import kernels
from fastgd._formula import LOSSES
from fastgd._kernels import available_backends

CASES_OF_A_TEST = 100
FIRST_NUMBERS = [
    pytest.param(k * CASES_OF_A_TEST, marks=() if k % 10 == 0 else pytest.mark.slow) for k in range(30)
]

each_backend = pytest.mark.parametrize("backend", available_backends())
each_hundred = pytest.mark.parametrize("first", FIRST_NUMBERS)


def contiguous(array):
    """As it is."""
    return array


def fortran(array):
    """Columns first."""
    return np.asfortranarray(array)


def strided(array):
    """Every other row of an array."""
    return np.repeat(array, 2, axis=0)[::2]


def backwards(array):
    """From the last row to the first in memory."""
    return array[::-1].copy()[::-1]


def transposed_slice(array):
    """A part of a larger array whose rows and columns were exchanged."""
    if array.ndim != 2:
        return strided(array)
    larger = np.zeros((array.shape[1] + 3, array.shape[0] + 2), array.dtype)
    larger[1 : 1 + array.shape[1], 2:] = array.T
    return larger[1 : 1 + array.shape[1], 2:].T


def read_only(array):
    """Not to be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


# Losses that ask which score or row is nearer, or where a row points to: of what is subnormal that cannot be said.
BY_DIFFERENCES = ("multiclass_hinge", "contrastive", "triplet", "cosine_similarity")

LAYOUTS = (contiguous, fortran, strided, backwards, transposed_slice, read_only)


class Case:
    """What is drawn from a number: dtype, layout, lengths, and numbers of some kind."""

    def __init__(self, number):
        self.draw = np.random.default_rng(number)
        self.dtype = str(self.draw.choice(DTYPES))
        self.arrange = LAYOUTS[self.draw.integers(len(LAYOUTS))]
        self.kind = str(self.draw.choice(["ordinary", "subnormal", "mixed", "large"]))

    def length(self, least=1):
        """Small ones more often; beyond a panel now and then."""
        return int(self.draw.integers(least, self.draw.choice([4, 20, 70])))

    def numbers(self, *shape, kind=None):
        """Numbers of the dtype, in float64."""
        kind = kind or self.kind
        tiny = smallest_normal(self.dtype) * self.draw.uniform(-1, 1, size=shape)
        values = {
            "ordinary": lambda: self.draw.normal(size=shape),
            "subnormal": lambda: tiny,
            "large": lambda: self.draw.uniform(-700, 700, size=shape),
            "mixed": lambda: self.draw.choice([0.0, -0.0, 1.0, -1.0, 700.0, -700.0], size=shape) + tiny,
        }[kind]()
        return np.asarray(values, self.dtype).astype(float)

    def __str__(self):
        return f"{self.dtype}, {self.arrange.__name__}, {self.kind}"


def refused_if_empty(n):
    """Arrays without an element are refused, before anything is computed."""
    return pytest.raises(ValueError, match="at least one element") if n == 0 else nullcontext()


def forward(case, backend):
    """A layer on inputs of the case's kind."""
    activation = str(case.draw.choice(ACTIVATION_NAMES))
    n, n_inputs, n_outputs = case.length(0), case.length(), case.length()
    w = case.numbers(n_inputs, n_outputs, kind="ordinary") / np.sqrt(n_inputs)
    w = np.asarray(w, case.dtype).astype(float)
    x, b = case.numbers(n, n_inputs), case.numbers(n_outputs)
    with refused_if_empty(n):
        check_forward(x, w, b, activation, case.dtype, backend, case.arrange)


def backward(case, backend):
    """A layer whose sums are of the case's kind."""
    activation = str(case.draw.choice(ACTIVATION_NAMES))
    n, n_inputs, n_outputs = case.length(0), case.length(), case.length()
    # What exp keeps of 700 is infinite in float32.
    beyond = activation == "exp" and case.kind in ("large", "mixed")
    z = case.numbers(n, n_outputs, kind="ordinary" if beyond else None)
    x, w, d_out = (case.numbers(*shape, kind="ordinary") for shape in ((n, n_inputs), (n_inputs, n_outputs), z.shape))
    with refused_if_empty(n):
        check_backward(x, w, z, d_out, activation, case.dtype, backend, case.arrange)


def loss_gradient(case, backend):
    """A loss of scores of the case's kind."""
    loss = str(case.draw.choice(LOSS_NAMES))
    # Rows are compared with each other, by the textbook one by one.
    n = min(case.length(0), 9) if LOSSES[loss].compares_rows else case.length(0)
    n_outputs = admitted_outputs(LOSSES[loss], case.length())
    targets = targets_of(case.draw, LOSSES[loss], n, n_outputs)
    weight = case.draw.choice([0.0, 0.5, 2.0], size=n) if case.draw.integers(2) else None
    if weight is not None:
        weight[:1] = 1.0
    kind = "ordinary" if loss in BY_DIFFERENCES and case.kind in ("subnormal", "mixed") else None
    scores = case.numbers(n, n_outputs, kind=kind)
    with refused_if_empty(n):
        check_loss_gradient(scores, targets, weight, loss, case.dtype, backend, case.arrange)


def parameter_update(case, backend):
    """Three steps along gradients of the case's kind."""
    rule = str(case.draw.choice(OPTIMIZER_NAMES))
    shape = (case.length(0), case.length())
    # A step by the sign alone is a whole one, or none where the gradient is flushed to zero.
    kind = "ordinary" if rule in JUMPING and case.kind in ("subnormal", "mixed") else None
    start, gradients = case.numbers(*shape, kind="ordinary"), case.numbers(3, *shape, kind=kind)
    with refused_if_empty(len(start)):
        check_parameter_update(start, gradients, rule, case.dtype, backend, case.arrange)


KERNELS = {
    forward: "dense_forward",
    backward: "dense_backward",
    loss_gradient: "loss_gradient",
    parameter_update: "parameter_update",
}


@each_backend
@each_hundred
@pytest.mark.parametrize("check", KERNELS)
def test_whatever_may_come_equals_the_oracle(check, first, backend):
    """Within the bounds of its kind of numbers; no NaN."""
    for number in range(first, first + CASES_OF_A_TEST):
        case = Case(number)
        try:
            # It is the textbook, in float64, that overflows at an exponential of 700 twice.
            with np.errstate(over="ignore", invalid="ignore"):
                check(case, backend)
        except AssertionError as error:
            error.add_note(f"{check.__name__}(Case({number}), {backend!r}): {case}")
            raise


def off_by_little(function):
    """A kernel whose largest result is off by some thousand roundings; of an update, that is the new weight."""

    def wrong(*arrays, **options):
        result = function(*arrays, **options)
        for out in arrays[:1] if result is None else result if isinstance(result, tuple) else (result,):
            if isinstance(out, np.ndarray) and out.size:
                out.flat[abs(out).argmax()] *= 1 + 2e3 * np.finfo(out.dtype).eps
        return result

    return wrong


@pytest.mark.parametrize("check", KERNELS)
def test_a_result_that_is_off_is_noticed(check, monkeypatch):
    """In most of the cases of ordinary numbers."""
    name = KERNELS[check]
    monkeypatch.setattr(kernels, name, off_by_little(getattr(kernels, name)))
    cases = [case for case in map(Case, range(200)) if case.kind == "ordinary"]
    noticed = 0
    for case in cases:
        try:
            check(case, "numpy")
        except AssertionError:
            noticed += 1
    assert noticed > len(cases) / 2
