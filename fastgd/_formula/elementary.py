"""exp, expm1, log, log1p and tanh for Numba, without branches and without a mathematical library.

Importing this module imports Numba; the renderer does so when it first compiles. Every function works on a
scalar and on a `vector.Vector`, errs by at most 4 units in the last place, and treats infinities, NaN and
subnormal numbers as the C library does. The polynomials are Taylor's: on the reduced ranges the remainder is
far below a unit in the last place with one or two terms more than a minimax fit would need, and every
coefficient explains itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy

from .vector import (
    absolute,
    bits,
    both,
    either,
    from_bits,
    plus,
    select,
    shift_left,
    shift_right,
    sqrt,
    with_sign_of,
)

# Products and sums may be fused; nothing else is rearranged. Divisions are not checked for zero.
OPTIONS: dict[str, Any] = {"forceinline": True, "error_model": "numpy", "fastmath": {"contract"}}
inlined = numba.njit(**OPTIONS)


@dataclass(frozen=True)
class Format:
    """What the functions need to know of a floating format."""

    real: type
    integer: type
    mantissa_bits: int
    bias: int
    highest: float
    """From here on exp is infinite; small enough for 2^n in two factors."""
    lowest: float
    """Below it exp rounds to zero."""
    lowest_expm1: float
    """Below it expm1 rounds to -1."""
    ln2_high: float
    """The leading bits of ln 2, few enough that its product with any exponent is exact."""
    ln2_low: float
    exp_terms: int
    log_terms: int

    @property
    def magic(self) -> float:
        """Added to a small number, it leaves the nearest integer in the low bits."""
        return 1.5 * 2.0**self.mantissa_bits

    def reals(self, *values: float) -> list[Any]:
        """Values as scalars of the format."""
        return [self.real(value) for value in values]

    def pattern(self, value: float) -> int:
        """The bits of a number, as an integer."""
        return int(numpy.asarray(value, self.real).view(self.integer))


SINGLE = Format(
    numpy.float32,
    numpy.int32,
    23,
    127,
    89.0,
    -104.0,
    -26.0,
    float.fromhex("0x1.62e4p-1"),
    float.fromhex("0x1.7f7d1cf79abcap-20"),
    exp_terms=7,
    log_terms=4,
)
DOUBLE = Format(
    numpy.float64,
    numpy.int64,
    52,
    1023,
    710.0,
    -746.0,
    -40.0,
    float.fromhex("0x1.62e42feep-1"),
    float.fromhex("0x1.a39ef35793c76p-33"),
    exp_terms=13,
    log_terms=10,
)


@cache
def functions(real: type) -> dict[str, Callable[..., Any]]:
    """All functions of the language, compiled for one dtype.

    Parameters
    ----------
    real : type
        `numpy.float32` or `numpy.float64`.

    Returns
    -------
    dict
        Name in the language to a function that compiled code may call.
    """
    form = SINGLE if real is numpy.float32 else DOUBLE
    expm1, log = _expm1(form), _log(form)
    return {
        "exp": _exp(form),
        "expm1": expm1,
        "log": log,
        "log1p": _log1p(form, log),
        "tanh": _tanh(form, expm1),
        "sqrt": sqrt,
        "abs": absolute,
        "maximum": _larger,
        "minimum": _smaller,
    }


@inlined
def _larger(x, y):
    return select(either(x > y, x != x), x, y)


@inlined
def _smaller(x, y):
    return select(either(x < y, x != x), x, y)


def _polynomial(form: Format, coefficients: Sequence[float]) -> Callable[..., Any]:
    """Horner's scheme, written out; the constant term comes first."""
    names = {f"c{k}": form.real(value) for k, value in enumerate(coefficients)}
    text = f"c{len(names) - 1}"
    for k in reversed(range(len(names) - 1)):
        text = f"({text} * x + c{k})"
    return inlined(eval(f"lambda x: {text}", names))


def _exp_series(form: Format) -> Callable[..., Any]:
    """(e^r - 1 - r) / r^2 = 1/2 + r/6 + ... for |r| <= ln(2) / 2."""
    return _polynomial(form, [1.0 / math.factorial(k) for k in range(2, form.exp_terms + 1)])


def _power_of_two(form: Format) -> Callable[..., Any]:
    """2^n of n + magic: n plus the bias is moved to where the exponent is; all else falls out."""
    bias, mantissa_bits = form.integer(form.bias), form.integer(form.mantissa_bits)

    @inlined
    def power_of_two(shifted):
        return from_bits(shift_left(plus(bits(shifted), bias), mantissa_bits))

    return power_of_two


def _remainder(form: Format) -> Callable[..., Any]:
    """x - n ln 2, with ln 2 in two parts so that the first product is exact."""
    high, low = form.reals(form.ln2_high, form.ln2_low)

    @inlined
    def remainder(x, n):
        return (x - n * high) - n * low

    return remainder


def _exp(form: Format) -> Callable[..., Any]:
    """e^x = 2^n e^r, with 2^n as two factors since one may overflow, or the result be subnormal."""
    highest, lowest, log2_e, magic = form.reals(form.highest, form.lowest, 1.0 / math.log(2.0), form.magic)
    one, half = form.reals(1.0, 0.5)
    series, power_of_two, remainder = _exp_series(form), _power_of_two(form), _remainder(form)

    @inlined
    def exp(x):
        x = select(x > highest, highest, x)
        x = select(x < lowest, lowest, x)
        n = (x * log2_e + magic) - magic
        r = remainder(x, n)
        first = n * half + magic
        second = (n - (first - magic)) + magic
        return ((r * r * series(r) + r) + one) * power_of_two(first) * power_of_two(second)

    return exp


def _expm1(form: Format) -> Callable[..., Any]:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1), halved on the way so that n = bias + 1 does not overflow."""
    highest, lowest, log2_e, magic = form.reals(
        form.highest, form.lowest_expm1, 1.0 / math.log(2.0), form.magic
    )
    one, half, two = form.reals(1.0, 0.5, 2.0)
    series, power_of_two, remainder = _exp_series(form), _power_of_two(form), _remainder(form)

    @inlined
    def expm1(x):
        x = select(x > highest, highest, x)
        x = select(x < lowest, lowest, x)
        shifted = x * log2_e + magic
        r = remainder(x, shifted - magic)
        scale = power_of_two(shifted - one)
        return two * (scale * (r * r * series(r) + r) + (scale - half))

    return expm1


def _log(form: Format) -> Callable[..., Any]:
    """log(x) = e ln 2 + log(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2).

    With s = f / (2 + f), log(1 + f) = 2 (s + s^3/3 + s^5/5 + ...), arranged as f - f^2/2 + s (f^2/2 + ...) so
    that f itself is the leading term.
    """
    series = _polynomial(form, [2.0 / (2 * k + 1) for k in range(1, form.log_terms + 1)])
    root_half = form.pattern(math.sqrt(0.5))
    to_one, root_half_bits = form.integer(form.pattern(1.0) - root_half), form.integer(root_half)
    mantissa_bits, mantissa = form.integer(form.mantissa_bits), form.integer(2**form.mantissa_bits - 1)
    # With these bits a small integer becomes the float integer_one + integer.
    integer_one = 2.0**form.mantissa_bits
    integer_bits = form.integer(form.pattern(integer_one))
    unbias, scale, unscale = form.reals(integer_one + form.bias, integer_one, -form.mantissa_bits)
    smallest_normal, infinity, nan = form.reals(2.0 ** (1 - form.bias), math.inf, math.nan)
    zero, half, one, two, high, low = form.reals(0.0, 0.5, 1.0, 2.0, form.ln2_high, form.ln2_low)

    @inlined
    def log(x):
        small = x < smallest_normal
        moved = plus(bits(select(small, x * scale, x)), to_one)
        e = from_bits(either(shift_right(moved, mantissa_bits), integer_bits)) - unbias
        e = e + select(small, unscale, zero)
        f = from_bits(plus(both(moved, mantissa), root_half_bits)) - one
        s = f / (two + f)
        z = s * s
        half_square = half * f * f
        value = e * high + (f - (half_square - (s * (half_square + z * series(z)) + e * low)))
        value = select(x == infinity, infinity, value)
        value = select(x == zero, -infinity, value)
        return select(x >= zero, value, nan)

    return log


def _log1p(form: Format, log: Callable[..., Any]) -> Callable[..., Any]:
    """log(u) with u = 1 + x, and what rounding u lost, divided by u."""
    zero, one, infinity = form.reals(0.0, 1.0, math.inf)

    @inlined
    def log1p(x):
        u = one + x
        lost = select(x > one, one - (u - x), x - (u - one))
        return log(u) + select(both(u > zero, u < infinity), lost / u, zero)

    return log1p


def _tanh(form: Format, expm1: Callable[..., Any]) -> Callable[..., Any]:
    """(1 - e^-2|x|) / (1 + e^-2|x|) by expm1, which keeps the digits near zero."""
    (two,) = form.reals(2.0)

    @inlined
    def tanh(x):
        t = expm1(-two * absolute(x))
        return with_sign_of(t / (t + two), x)

    return tanh
