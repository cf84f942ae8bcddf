"""The language's functions for Numba, without a mathematical library, but for the sine of large angles.

Importing this module imports Numba; the renderer does so when it first compiles. Every function works on a
scalar and on a `vector.Vector`, errs by at most 4 units in the last place, and treats infinities, NaN and
subnormal numbers as the C library does. The polynomials are Taylor's: on the reduced ranges the remainder is
far below a unit in the last place with one or two terms more than a minimax fit would need, and every
coefficient explains itself; but for the normal distribution's tail, which has no such series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numba
import numpy

from .normal import (
    CDF_SERIES_LAST,
    ERF_SERIES_LAST,
    TAIL_CENTRE,
    TAIL_COEFFICIENTS,
    TAIL_LAST,
    erf_series,
)
from .vector import (
    absolute,
    any_lane,
    bits,
    both,
    either,
    from_bits,
    library_cos,
    library_sin,
    negation,
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
    half_pi: tuple[float, ...]
    """Parts of pi/2; the product of all but the last with the multiples that occur is exact."""
    angle_last: float
    """The largest angle for which these parts are enough."""
    sin_terms: int
    cos_terms: int
    inlined: Callable[..., Any] = inlined
    """Decorator of the functions: what makes them part of compiled code."""

    @property
    def magic(self) -> float:
        """Added to a small number, it leaves the nearest integer in the low bits."""
        return 1.5 * 2.0**self.mantissa_bits

    @property
    def name(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return numpy.dtype(self.real).name

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
    half_pi=tuple(
        map(float.fromhex, ("0x1.92p+0", "0x1.fb4p-12", "0x1.444p-24", "0x1.68cp-39", "0x1.1a62633145c07p-54"))
    ),
    angle_last=8192.0,
    sin_terms=5,
    cos_terms=6,
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
    half_pi=tuple(
        map(float.fromhex, ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2ep-69", "0x1.b839a252049c1p-104"))
    ),
    angle_last=1048576.0,
    sin_terms=9,
    cos_terms=9,
)


@cache
def functions(real: type, inlined: Callable[..., Any] = inlined) -> dict[str, Callable[..., Any]]:
    """All functions of the language for one dtype.

    Parameters
    ----------
    real : type
        `numpy.float32` or `numpy.float64`.
    inlined : callable, optional
        Decorator that makes a function callable from compiled code; by default Numba's own.

    Returns
    -------
    dict
        Name in the language to a function that compiled code may call.
    """
    form = replace(SINGLE if real is numpy.float32 else DOUBLE, inlined=inlined)
    expm1, log, tail = _expm1(form), _log(form), _normal_tail(form)
    return {
        "exp": _exp(form),
        "expm1": expm1,
        "log": log,
        "log1p": _log1p(form, log),
        "tanh": _tanh(form, expm1),
        "erf": _erf(form, tail),
        "normal_cdf": _normal_cdf(form, tail),
        "sin": _sine_of(form, 0, library_sin),
        "cos": _sine_of(form, 1, library_cos),
        "sqrt": sqrt,
        "abs": absolute,
        "maximum": _larger(form),
        "minimum": _smaller(form),
    }


def _larger(form: Format) -> Callable[..., Any]:
    @form.inlined
    def larger(x, y):
        return select(either(x > y, x != x), x, y)

    return larger


def _smaller(form: Format) -> Callable[..., Any]:
    @form.inlined
    def smaller(x, y):
        return select(either(x < y, x != x), x, y)

    return smaller


def _polynomial(form: Format, coefficients: Sequence[float]) -> Callable[..., Any]:
    """Horner's scheme, written out; the constant term comes first."""
    names = {f"c{k}": form.real(value) for k, value in enumerate(coefficients)}
    text = f"c{len(names) - 1}"
    for k in reversed(range(len(names) - 1)):
        text = f"({text} * x + c{k})"
    return form.inlined(eval(f"lambda x: {text}", names))


def _exp_series(form: Format) -> Callable[..., Any]:
    """(e^r - 1 - r) / r^2 = 1/2 + r/6 + ... for |r| <= ln(2) / 2."""
    return _polynomial(form, [1.0 / math.factorial(k) for k in range(2, form.exp_terms + 1)])


def _power_of_two(form: Format) -> Callable[..., Any]:
    """2^n of n + magic: n plus the bias is moved to where the exponent is; all else falls out."""
    bias, mantissa_bits = form.integer(form.bias), form.integer(form.mantissa_bits)

    @form.inlined
    def power_of_two(shifted):
        return from_bits(shift_left(plus(bits(shifted), bias), mantissa_bits))

    return power_of_two


def _remainder(form: Format) -> Callable[..., Any]:
    """x - n ln 2, with ln 2 in two parts so that the first product is exact."""
    high, low = form.reals(form.ln2_high, form.ln2_low)

    @form.inlined
    def remainder(x, n):
        return (x - n * high) - n * low

    return remainder


def _times_power_of_two(form: Format) -> Callable[..., Any]:
    """2^n x, in two factors, for 2^n may overflow or the result be subnormal."""
    magic, half = form.reals(form.magic, 0.5)
    power_of_two = _power_of_two(form)

    @form.inlined
    def times_power_of_two(x, n):
        first = n * half + magic
        second = (n - (first - magic)) + magic
        return x * power_of_two(first) * power_of_two(second)

    return times_power_of_two


def _exp(form: Format) -> Callable[..., Any]:
    """e^x = 2^n e^r."""
    highest, lowest, log2_e, magic = form.reals(form.highest, form.lowest, 1.0 / math.log(2.0), form.magic)
    (one,) = form.reals(1.0)
    series, remainder, times_power_of_two = _exp_series(form), _remainder(form), _times_power_of_two(form)

    @form.inlined
    def exp(x):
        x = select(x > highest, highest, x)
        x = select(x < lowest, lowest, x)
        n = (x * log2_e + magic) - magic
        r = remainder(x, n)
        return times_power_of_two((r * r * series(r) + r) + one, n)

    return exp


def _expm1(form: Format) -> Callable[..., Any]:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1), halved on the way so that n = bias + 1 does not overflow."""
    highest, lowest, log2_e, magic = form.reals(
        form.highest, form.lowest_expm1, 1.0 / math.log(2.0), form.magic
    )
    one, half, two = form.reals(1.0, 0.5, 2.0)
    series, power_of_two, remainder = _exp_series(form), _power_of_two(form), _remainder(form)

    @form.inlined
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

    @form.inlined
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

    @form.inlined
    def log1p(x):
        u = one + x
        lost = select(x > one, one - (u - x), x - (u - one))
        return log(u) + select(both(u > zero, u < infinity), lost / u, zero)

    return log1p


def _tanh(form: Format, expm1: Callable[..., Any]) -> Callable[..., Any]:
    """(1 - e^-2|x|) / (1 + e^-2|x|) by expm1, which keeps the digits near zero."""
    (two,) = form.reals(2.0)

    @form.inlined
    def tanh(x):
        t = expm1(-two * absolute(x))
        return with_sign_of(t / (t + two), x)

    return tanh


def _normal_tail(form: Format) -> Callable[..., Any]:
    """P(Y < -y) for y >= 0, as `fastgd._formula.normal` has it."""
    last, centre, minus_half = form.reals(TAIL_LAST[form.name], TAIL_CENTRE, -0.5)
    log2_e, magic = form.reals(1.0 / math.log(2.0), form.magic)
    upper_half = form.integer(-(2 ** ((form.mantissa_bits + 2) // 2)))
    polynomial, series = _polynomial(form, TAIL_COEFFICIENTS[form.name]), _exp_series(form)
    remainder, times_power_of_two = _remainder(form), _times_power_of_two(form)

    @form.inlined
    def normal_tail(y):
        y = select(y > last, last, y)
        # A rounding of y^2 would be multiplied by y^2/2; the square of the upper half of the digits is exact.
        upper = from_bits(both(bits(y), upper_half))
        rest = minus_half * ((y - upper) * (y + upper))
        exponent = minus_half * (upper * upper)
        n = (exponent * log2_e + magic) - magic
        r = remainder(exponent, n) + rest
        slow = polynomial((y - centre) / (y + centre)) / (y + centre)
        return times_power_of_two(slow * (r * r * series(r) + r) + slow, n)

    return normal_tail


def _normal_cdf(form: Format, normal_tail: Callable[..., Any]) -> Callable[..., Any]:
    """Near zero 1/2 + erf(x / sqrt(2)) / 2; else the tail on the left, and on the right 1 less the tail."""
    zero, one, half, last, factor = form.reals(0.0, 1.0, 0.5, CDF_SERIES_LAST, math.sqrt(0.125))
    erf_quotient = _polynomial(form, erf_series(form.name))

    @form.inlined
    def normal_cdf(x):
        y = absolute(x)
        tail = normal_tail(y)
        near = x * (factor * erf_quotient(half * (y * y))) + half
        return select(y < last, near, select(x < zero, tail, one - tail))

    return normal_cdf


def _erf(form: Format, normal_tail: Callable[..., Any]) -> Callable[..., Any]:
    """The series near zero, elsewhere 1 - 2 P(Y < -sqrt(2) x)."""
    last, one, two, root_two = form.reals(ERF_SERIES_LAST, 1.0, 2.0, math.sqrt(2.0))
    erf_quotient = _polynomial(form, erf_series(form.name))

    @form.inlined
    def erf(x):
        y = absolute(x)
        near = y * erf_quotient(y * y)
        far = one - two * normal_tail(root_two * y)
        return with_sign_of(select(y < last, near, far), x)

    return erf


def _angle_remainder(form: Format) -> Callable[..., Any]:
    """x - n pi/2, part by part."""
    names = {f"part{k}": form.real(part) for k, part in enumerate(form.half_pi)}
    return form.inlined(eval("lambda x, n: x" + "".join(f" - n * {name}" for name in names), names))


def _sine_of(form: Format, quarter_turns: int, library: Callable[..., Any]) -> Callable[..., Any]:
    """sin(x + quarter_turns pi/2): by the quadrant the sine or cosine of the remainder, or the same negated."""
    sin_series = _polynomial(form, [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(form.sin_terms)])
    cos_series = _polynomial(form, [(-1.0) ** k / math.factorial(2 * k) for k in range(form.cos_terms)])
    remainder = _angle_remainder(form)
    last, two_over_pi, magic, one, zero = form.reals(form.angle_last, 2.0 / math.pi, form.magic, 1.0, 0.0)
    # A multiple of pi/2 plus magic has its two lowest bits at the bottom; moved to the top, each is a float's sign.
    turns, n_bits = form.integer(quarter_turns), numpy.finfo(form.real).bits
    lowest_to_sign, second_to_sign = form.integer(n_bits - 1), form.integer(n_bits - 2)

    @form.inlined
    def sine_of(x):
        shifted = x * two_over_pi + magic
        r = remainder(x, shifted - magic)
        quadrant = plus(bits(shifted), turns)
        square = r * r
        odd = with_sign_of(one, from_bits(shift_left(quadrant, lowest_to_sign))) < zero
        value = select(odd, cos_series(square), r * sin_series(square))
        value = value * with_sign_of(one, from_bits(shift_left(quadrant, second_to_sign)))
        large = negation(absolute(x) <= last)
        if any_lane(large):
            value = select(large, library(x), value)
        return value

    return sine_of
