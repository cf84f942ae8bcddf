"""The tail of the normal distribution: its coefficients for every renderer, and what NumPy lacks, made of it.

For y >= 0, P(Y < -y) = e^(-y^2/2) p(t) / (y + 4) with t = (y - 4) / (y + 4): what is left beside the exponential
falls as slowly as 1/y, and p is a polynomial. `tests/golden/fit_normal_tail.py` finds its coefficients, from the
constant term on. The relative error is at most 1.3e-8 in float32 and 3.6e-17 in float64, down to the smallest
subnormal number.

Importing this module imports neither NumPy nor Numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

TAIL_COEFFICIENTS = {
    "float32": (
        0.75528514,
        -0.6078966,
        0.38713667,
        -0.186523,
        0.06040647,
        -0.007527213,
        -0.003523574,
        0.0015693137,
        0.00019480185,
        -0.00012298315,
    ),
    "float64": (
        0.7552851304157515,
        -0.6078966419718917,
        0.38713740074221886,
        -0.18652185795969417,
        0.06039657489069947,
        -0.007540188965593059,
        -0.0034796923622425332,
        0.0016308184418903596,
        0.00013334425401904912,
        -0.0002310948183193762,
        -1.9078665316613576e-06,
        3.5144181157760973e-05,
        7.150055959216099e-07,
        -5.918892731763236e-06,
        -6.25132104047868e-07,
        1.0198048518135172e-06,
        2.6368248576407624e-07,
        -1.5426320536771075e-07,
        -7.63808205349045e-08,
        1.457859334703646e-08,
        1.392402399350171e-08,
        7.26954547902669e-11,
        -9.653425420228504e-10,
    ),
}

TAIL_CENTRE = 4.0

# From here on the tail rounds to zero.
TAIL_LAST = {"float32": 14.5, "float64": 39.0}

# Below these the series of erf is as accurate, or more so.
ERF_SERIES_LAST = 0.8
CDF_SERIES_LAST = 0.9
ERF_SERIES_TERMS = {"float32": 9, "float64": 16}


def erf_series(dtype: str) -> list[float]:
    """Coefficients of erf(x) / x in powers of x^2."""
    first = 2 / math.sqrt(math.pi)
    return [(-1.0) ** k * first / (math.factorial(k) * (2 * k + 1)) for k in range(ERF_SERIES_TERMS[dtype])]


def normal_cdf(given: Any) -> numpy.ndarray:
    """Standard normal distribution function of an array, in its dtype."""
    import numpy

    x = numpy.asarray(given, numpy.float64)
    y, tail = abs(x), _tail(x)
    near = 0.5 + x * (math.sqrt(0.125) * _polynomial(erf_series("float64"), 0.5 * (y * y)))
    return numpy.where(y < CDF_SERIES_LAST, near, numpy.where(x < 0, tail, 1 - tail)).astype(given.dtype)


def erf(given: Any) -> numpy.ndarray:
    """Error function of an array, in its dtype."""
    import numpy

    x = numpy.asarray(given, numpy.float64)
    y = abs(x)
    near = y * _polynomial(erf_series("float64"), y * y)
    far = 1 - 2 * _tail(math.sqrt(2) * y)
    return numpy.copysign(numpy.where(y < ERF_SERIES_LAST, near, far), x).astype(given.dtype)


def _tail(x: numpy.ndarray) -> numpy.ndarray:
    """P(Y < -abs(x)), float64."""
    import numpy

    y = numpy.minimum(abs(x), TAIL_LAST["float64"])
    # A rounding of y^2 would be multiplied by y^2/2; the square of the upper half of the digits is exact.
    upper = y.astype(numpy.float32).astype(numpy.float64)
    rest = (y - upper) * (y + upper)
    below, above = y - TAIL_CENTRE, y + TAIL_CENTRE
    slow = _polynomial(TAIL_COEFFICIENTS["float64"], below / above) / above
    result: numpy.ndarray = numpy.exp(-0.5 * (upper * upper)) * (slow + slow * numpy.expm1(-0.5 * rest))
    return result


def _polynomial(coefficients: Sequence[float], x: numpy.ndarray) -> numpy.ndarray:
    """Horner's scheme; the constant term comes first."""
    value = coefficients[-1] + 0.0 * x
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
