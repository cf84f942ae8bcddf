"""Print the coefficients that `fastgd/_formula/normal.py` has: ``python tests/golden/fit_normal_tail.py``.

Needs mpmath. The polynomial interpolates (y + 4) e^(y^2/2) P(Y < -y) at the Chebyshev nodes in t = (y - 4) / (y + 4),
for y from 0 to where the tail is below the smallest subnormal number.
"""

from __future__ import annotations

CENTRE = 4
LAST_AND_DEGREE = {"float32": (14.5, 9), "float64": (39, 22)}


def scaled_tail(t):
    """(y + 4) e^(y^2/2) P(Y < -y) as a function of t."""
    from mpmath import erfc, exp, sqrt

    y = CENTRE * (1 + t) / (1 - t)
    return (y + CENTRE) * exp(y * y / 2) * erfc(y / sqrt(2)) / 2


def coefficients(last: float, degree: int) -> tuple[list, float]:
    """Of the powers of t from 0 on, and the largest relative error on a fine grid."""
    from mpmath import cos, lu_solve, matrix, mpf, pi, polyval

    low, high = mpf(-1), (mpf(last) - CENTRE) / (mpf(last) + CENTRE)
    n = degree + 1
    nodes = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    powers = matrix([[t**k for k in range(n)] for t in nodes])
    solved = list(lu_solve(powers, matrix([scaled_tail(t) for t in nodes])))
    grid = [low + (high - low) * k / 1000 for k in range(1001)]
    worst = max(abs(polyval(solved[::-1], t) / scaled_tail(t) - 1) for t in grid)
    return solved, float(worst)


def main() -> None:
    """Each format's coefficients, rounded to it."""
    import mpmath
    import numpy as np

    with mpmath.workdps(60):
        for dtype, (last, degree) in LAST_AND_DEGREE.items():
            found, worst = coefficients(last, degree)
            print(f"{dtype}: relative error at most {worst:.1e}")
            for coefficient in found:
                print(f"    {np.dtype(dtype).type(coefficient)!s},")


if __name__ == "__main__":
    main()
