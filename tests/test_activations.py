"""Every activation over the whole range of floats, as the compiled engine has it."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, DTYPES, float32_numbers
from golden import load
from oracle import activations as oracle_activations
from oracle.activations import ACTIVATIONS as ORACLE
from tolerances import activation_bound, assert_within, derivative_bound

import fastgd as fg
from fastgd import kernels
from fastgd._formula import ACTIVATIONS
from fastgd._kernels import available_backends

arrays = pytest.importorskip("fastgd._kernels.cython_.arrays")

each_activation = pytest.mark.parametrize("name", ACTIVATION_NAMES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Without fused multiply-adds each step of a polynomial rounds twice.
FUSED = arrays.instruction_set() != "baseline" or platform.machine().lower() in ("arm64", "aarch64")
MOST_ULPS = 4.0 if FUSED else 5.0

# A factor that is flushed to zero leaves no digits: z s(z) has them down to here.
SMALLEST_FACTOR = 2.0**10


def evaluated(name, z):
    """f(z) by the engine: the bias is the pre-activation, and what is added to it, -0, leaves zeros their sign."""
    return kernels.dense_forward(np.zeros((1, 1), z.dtype), np.full((1, z.size), -0.0, z.dtype), z, name)[0]


def bit_patterns(dtype, count):
    """Finite floats of every magnitude, both zeros, and a dense range where the functions bend."""
    draw, unsigned = np.random.default_rng(0), {"float32": np.uint32, "float64": np.uint64}[dtype]
    patterns = draw.integers(0, np.iinfo(unsigned).max, count, dtype=unsigned, endpoint=True).view(dtype)
    bends = np.concatenate([draw.uniform(-100, 90, count), draw.uniform(-10, 10, count)]).astype(dtype)
    return np.concatenate([patterns[np.isfinite(patterns)], bends, np.array([0.0, -0.0], dtype)])


def ulps(actual, exact, dtype):
    """Distance in units of the last place of the exact value; 0 where both are too small to tell."""
    smallest, largest = float(np.finfo(dtype).smallest_normal), float(np.finfo(dtype).max)
    unit = np.spacing(np.clip(abs(exact), smallest, largest / 2).astype(dtype)).astype(float)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = abs(actual.astype(float) - exact) / unit
    tiny = (abs(exact) < SMALLEST_FACTOR * smallest) & (abs(actual) < SMALLEST_FACTOR * smallest)
    overflow = ~np.isfinite(actual) & (abs(exact) > largest)
    return np.where(tiny | overflow, 0.0, distance)


@pytest.mark.parametrize("name", [name for name in ACTIVATION_NAMES if ORACLE[name].value_terms is None])
def test_float32_is_within_four_units_in_the_last_place_everywhere(name):
    """Of the textbook in float64."""
    z = bit_patterns("float32", 100_000)
    with np.errstate(over="ignore", under="ignore"):
        exact = ORACLE[name].value(z.astype(float))
    off = ulps(evaluated(name, z), exact, "float32")
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
    assert off[worst] <= MOST_ULPS, f"{name}({z[worst]!r}) is off by {off[worst]:.2f} ULP"


@each_dtype
@pytest.mark.parametrize("name", [name for name in ACTIVATION_NAMES if ORACLE[name].value_terms is None])
def test_golden_values_are_met_within_four_units_in_the_last_place(name, dtype):
    z, exact, _ = np.array(load("activations")[name]).T
    off = ulps(evaluated(name, z.astype(dtype)), exact, dtype)
    assert off.max() <= MOST_ULPS, f"{name}({z[off.argmax()]!r}) is off by {off.max():.2f} ULP"


@pytest.mark.parametrize("name", [name for name in ACTIVATION_NAMES if ORACLE[name].value_terms is not None])
def test_float32_stays_within_its_declared_conditioning_everywhere(name):
    """Where an intermediate rounding is multiplied on the way."""
    z = bit_patterns("float32", 100_000)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        exact, bound = ORACLE[name].value(z.astype(float)), activation_bound(ORACLE[name], z.astype(float), "float32")
    # Beyond, the cube of z does not exist in the textbook's precision either.
    near = abs(z) < 1e30
    assert_within(evaluated(name, z)[near], exact[near], bound[near], name)


@each_dtype
@each_activation
def test_no_finite_input_gives_nan(name, dtype):
    """Nor does it in the derivative; and an exact zero comes as it should."""
    z = bit_patterns(dtype, 20_000)
    out, kept = np.empty((1, z.size), dtype), np.empty((1, z.size), dtype)
    zeros = np.zeros((1, 1), dtype), np.zeros((1, z.size), dtype)
    kernels.dense_forward(*zeros, z, name, out=out, kept=kept)
    slopes = kernels.dense_backward(*zeros, kept, np.ones_like(kept), name)[2]
    assert not np.isnan(out).any()
    assert not np.isnan(slopes).any()


@each_dtype
@each_activation
def test_infinities_give_the_limits(name, dtype):
    """What a very large number gives, or an infinity; a sine has no limit, and NaN stays NaN."""
    largest = np.finfo(dtype).max
    far, at = (evaluated(name, np.array([-end, end], dtype)) for end in (largest, np.inf))
    if name == "sine":
        assert np.isnan(at).all()
    else:
        grows = np.isinf(at)
        np.testing.assert_array_equal(at[~grows], far[~grows])
        assert (abs(far[grows]) > 1e30).all()
        np.testing.assert_array_equal(np.sign(at), np.sign(far))
    assert np.isnan(evaluated(name, np.array([np.nan], dtype))).all()


@each_dtype
@each_activation
def test_zeros_keep_their_sign_in_odd_places(name, dtype):
    """f(-0) = -0 wherever f(0) = 0."""
    at_zero, at_minus_zero = evaluated(name, np.array([0.0, -0.0], dtype))
    assert at_zero == at_minus_zero
    if at_zero == 0.0:
        assert not np.signbit(at_zero)
        assert np.signbit(at_minus_zero)


CONFIGURED = [
    (fg.activations.leaky_relu(slope=0.25), oracle_activations.leaky_relu(0.25)),
    (fg.activations.elu(alpha=0.25), oracle_activations.elu(0.25)),
    (fg.activations.celu(alpha=0.25), oracle_activations.celu(0.25)),
]


def test_every_parameter_of_an_activation_is_tried():
    assert {a.name for a, _ in CONFIGURED} == {name for name in ACTIVATION_NAMES if ACTIVATIONS[name].parameters}


@pytest.mark.parametrize("backend", available_backends())
@each_dtype
@pytest.mark.parametrize(("activation", "textbook"), CONFIGURED, ids=[repr(a) for a, _ in CONFIGURED])
def test_parameters_reach_value_and_derivative(activation, textbook, dtype, backend):
    """In every backend; the first difference is a quarter, as large as it can be."""
    z = float32_numbers(np.linspace(-9.0, 9.0, 101))[None]
    x, w = np.zeros((1, 1), dtype), np.zeros((1, z.size), dtype)
    kept = np.empty(z.shape, dtype)
    out = kernels.dense_forward(x, w, z[0].astype(dtype), activation, kept=kept, backend=backend)
    slopes = kernels.dense_backward(x, w, kept, np.ones_like(kept), activation, backend=backend)[2]
    assert_within(out, textbook.value(z), activation_bound(textbook, z, dtype), "value")
    assert_within(slopes, textbook.derivative(z)[0], derivative_bound(textbook, z, dtype)[0], "derivative")


def test_the_comparison_notices_five_units():
    exact = np.linspace(0.1, 1.0, 1000)
    wrong = (exact * (1 + 6 * np.finfo(np.float32).eps)).astype(np.float32)
    assert ulps(exact.astype(np.float32), exact, "float32").max() <= 0.5
    assert ulps(wrong, exact, "float32").max() > MOST_ULPS
