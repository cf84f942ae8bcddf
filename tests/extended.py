"""Functions in extended precision that NumPy does not have: the truth for float64, where long double is wider."""

from __future__ import annotations

import numpy as np

EXTENDED = np.longdouble

ROOT_HALF = np.sqrt(EXTENDED(0.5))
ROOT_PI = np.sqrt(4 * np.arctan(EXTENDED(1)))

# Where the series gives way to the continued fraction: there 1 - erf has lost less than three bits.
SERIES_LAST = 1.0

# Terms of the continued fraction of erfc that give 1e-19, for arguments from here on.
FRACTION_TERMS = ((1.0, 500), (2.0, 140), (4.0, 40))


def erf(x: np.ndarray) -> np.ndarray:
    """2/sqrt(pi) e^(-x^2) (x + 2 x^3/3 + 4 x^5/15 + ...), all of one sign; far out 1 - erfc."""
    x = np.asarray(x, EXTENDED)
    with np.errstate(invalid="ignore"):
        return np.where(abs(x) < SERIES_LAST, _series(x), np.copysign(1 - _erfc_above(abs(x)), x))


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf, without cancellation."""
    x = np.asarray(x, EXTENDED)
    above = _erfc_above(abs(x))
    return np.where(abs(x) < SERIES_LAST, 1 - _series(x), np.where(x > 0, above, 2 - above))


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """erfc(-x / sqrt(2)) / 2."""
    return erfc(-np.asarray(x, EXTENDED) * ROOT_HALF) / 2


def _series(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, -SERIES_LAST, SERIES_LAST)
    term, total = x, x
    for k in range(1, 40):
        term = term * (2 * x * x / (2 * k + 1))
        total = total + term
    return 2 / ROOT_PI * np.exp(-x * x) * total


def _erfc_above(x: np.ndarray) -> np.ndarray:
    """e^(-x^2) / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...))))."""
    result = np.zeros_like(x)
    for k, (first, n_terms) in enumerate(FRACTION_TERMS):
        last = FRACTION_TERMS[k + 1][0] if k + 1 < len(FRACTION_TERMS) else np.inf
        here = (x >= first) & (x < last)
        y = x[here]
        fraction = y
        for n in range(n_terms, 0, -1):
            fraction = y + EXTENDED(n) / 2 / fraction
        result[here] = np.exp(-y * y) / ROOT_PI / fraction
    return np.where(np.isnan(x), x, result)
