"""The engine's functions of one argument: at most 4 ULP from the truth, right at the special values.

The truth is x87's long double where there is one, else a float64 of NumPy for float32 arguments. Bounds in ULP: 4 is
what the design promises for the transcendental functions; the square root is the processor's and correctly rounded.
"""

import re
from pathlib import Path

import extended
import numpy as np
import pytest

import fastgd
from fastgd._formula import normal

elementary = pytest.importorskip("fastgd._kernels.cython_.arrays").elementary

WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
FUNCTIONS = {"exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "sqrt": np.sqrt}
FUNCTIONS |= {"erf": extended.erf, "normal_cdf": extended.normal_cdf, "sin": np.sin, "cos": np.cos}
BOUNDS = {"sqrt": 0.5}


def angles(dtype):
    """Beside multiples of pi/2, where a sine is small, and on both sides of where the C library takes over."""
    quarter_turns = np.arange(-700_000, 700_001, 7)
    last = 8192 if dtype == np.float32 else 2**20
    return [quarter_turns * (np.pi / 2), np.linspace(-20, 20, 100_001), np.linspace(0.9 * last, 1.1 * last, 50_001)]


def arguments(name, dtype):
    """Dense ranges where the function bends, and random bit patterns over all magnitudes."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    top = float(np.log(info.max)) * 0.999
    spread = np.exp(rng.uniform(np.log(float(info.tiny)), np.log(float(info.max)), 200_000))
    dense = {
        "exp": [np.linspace(-0.99 * top, top, 300_001)],
        "expm1": [np.linspace(-50, top, 300_001), np.linspace(-1, 1, 200_001)],
        "log": [np.linspace(0.5, 2, 300_001)],
        "log1p": [np.linspace(-0.999999, 3, 300_001), -np.exp(rng.uniform(-60, -0.1, 100_000))],
        "tanh": [np.linspace(-12, 12, 300_001), np.linspace(-1, 1, 200_001)],
        "erf": [np.linspace(-7, 7, 100_001), np.linspace(-1, 1, 100_001)],
        "normal_cdf": [np.linspace(-13.2 if dtype == np.float32 else -37.5, 9, 200_001), np.linspace(-2, 2, 100_001)],
        "sin": angles(dtype),
        "cos": angles(dtype),
        "sqrt": [np.linspace(0, 4, 300_001)],
    }[name]
    small = [] if name in ("exp",) else [spread[spread < 1]]
    large = [spread] if name in ("log", "log1p", "sqrt", "sin", "cos") else []
    return np.ascontiguousarray(np.concatenate(dense + small + large), dtype)


def ulps(got, exact, dtype):
    """Distance in units of the last place of the exact value, which stays clear of the subnormal range."""
    unit = np.spacing(np.maximum(np.abs(exact).astype(dtype), np.finfo(dtype).tiny)).astype(exact.dtype)
    return np.abs(got.astype(exact.dtype) - exact) / unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_at_most_four_units_of_the_last_place(name, dtype):
    if dtype == np.float64 and not WIDE:
        pytest.skip("long double is no wider than double here: nothing to compare float64 with")
    x = arguments(name, dtype)
    exact = FUNCTIONS[name](x.astype(np.longdouble))
    kept = np.abs(exact) >= np.finfo(dtype).tiny
    worst = ulps(elementary(name, x), exact, dtype)[kept].max()
    assert worst <= BOUNDS.get(name, 4), f"{name} {np.dtype(dtype)}: {worst:.2f} ULP"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1.0, -2.0, 1e30, -1e30], dtype)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x)
    got = elementary(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["erf", "normal_cdf"])
def test_what_numpy_lacks_is_as_accurate_there(name, dtype):
    if not WIDE:
        pytest.skip("long double is no wider than double here: nothing to compare float64 with")
    x = arguments(name, dtype)
    exact = FUNCTIONS[name](x)
    kept = np.abs(exact) >= np.finfo(dtype).tiny
    got = getattr(normal, name)(x)
    assert got.dtype == dtype
    assert ulps(got, exact, dtype)[kept].max() <= 4


@pytest.mark.parametrize("bits", [32, 64])
def test_the_tail_has_the_same_coefficients_in_c_as_in_python(bits):
    """The C text has both formats' one after the other."""
    header = Path(fastgd.__file__).parent / "_kernels" / "cython_" / "elementary.h"
    if not header.exists():
        pytest.skip("a wheel does not hold the engine's headers")
    text = header.read_text(encoding="utf-8").replace("\\\n", " ")
    in_c = re.findall(r"#define TAIL_POLYNOMIAL\(TERM\) *(.+)", text)[bits // 64]
    coefficients = [float(number) for number in re.findall(r"TERM\(([^)]+)\)", in_c)]
    assert coefficients == list(normal.TAIL_COEFFICIENTS[f"float{bits}"])


def test_comparison_notices_a_wrong_function():
    x = np.linspace(0.1, 1, 1000)
    exact = np.tanh(x.astype(np.longdouble))
    assert ulps(np.tanh(x) * (1 + 8 * np.finfo(np.float64).eps), exact, np.float64).max() > 4
