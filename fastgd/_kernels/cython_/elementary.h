/* exp, expm1, log, log1p and tanh on VEC, branch-free, at most 4 ULP (tests measure it).
 *
 * The compiler's own vector library is no choice: it is missing from musl, macOS and Windows, and lacks tanh before
 * glibc 2.35.  Polynomials are Taylor's: on the reduced ranges the remainder is below a tenth of an ULP with one or two
 * terms more than a minimax fit would need, and every coefficient explains itself.
 */
#ifndef FASTGD_ELEMENTARY_H
#define FASTGD_ELEMENTARY_H

#include "vector.h"

#define SPLAT(x) vec_splat((REAL)(x))

#if REAL_BITS == 32
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDING_MAGIC 0x1.8p23    /* adding it leaves the integer nearest to x in the low bits */
#define EXP_HIGHEST 89.0           /* beyond it exp is infinite; the clamp keeps 2^n representable in two factors */
#define EXP_LOWEST -104.0          /* below it exp rounds to zero */
#define EXPM1_LOWEST -26.0         /* below it expm1 rounds to -1 */
#define LN2_HIGH 0x1.62e4p-1       /* 15 significant bits: n * LN2_HIGH is exact for |n| < 2^9 */
#define LN2_LOW 0x1.7f7d1cf79abcap-20
#define SQRT_HALF_BITS 0x3f3504f3
#else
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDING_MAGIC 0x1.8p52
#define EXP_HIGHEST 710.0
#define EXP_LOWEST -746.0
#define EXPM1_LOWEST -40.0
#define LN2_HIGH 0x1.62e42feep-1   /* 32 significant bits */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcd
#endif

/* Bit patterns are added and shifted as unsigned numbers: those of negative numbers and NaNs would overflow as signed ones. */
#define BITS(v) ((BIT_PATTERN)(v))

INLINE VEC power_of_two(MASK n) { return (VEC)((BITS(n) + BITS(mask_splat(EXPONENT_BIAS))) << MANTISSA_BITS); }

/* y 2^n for whole n between EXP_LOWEST / ln2 and EXP_HIGHEST / ln2.  2^n itself may be out of range where the product is
 * not: two factors, or the instruction that does just this. */
INLINE VEC times_power_of_two(VEC y, MASK n)
{
#if defined(vec_scale_by_power)
    return vec_scale_by_power(y, __builtin_convertvector(n, VEC));
#else
    MASK half = n >> 1;
    return y * power_of_two(half) * power_of_two((MASK)(BITS(n) - BITS(half)));
#endif
}

/* x between two bounds; NaN stays NaN, because vec_min and vec_max give the second operand then. */
INLINE VEC clamp(VEC x, REAL lowest, REAL highest) { return vec_max(vec_splat(lowest), vec_min(vec_splat(highest), x)); }

/* x = n ln2 + r with |r| <= ln2 / 2; n comes as integer, r as result. */
INLINE VEC reduce_by_ln2(VEC x, MASK *n)
{
    VEC shifted = x * SPLAT(1.4426950408889634) + SPLAT(ROUNDING_MAGIC);
    VEC whole = shifted - SPLAT(ROUNDING_MAGIC);
    *n = (MASK)(BITS(shifted) - BITS(SPLAT(ROUNDING_MAGIC)));
    return (x - whole * SPLAT(LN2_HIGH)) - whole * SPLAT(LN2_LOW);
}

/* Polynomials in pairs (Estrin): as exact as Horner's chain within an ULP's fraction, and half as long to wait for. */
#define PAIR(c0, c1, x) (SPLAT(c0) + SPLAT(c1) * (x))

/* e^r - 1 - r for |r| <= ln2 / 2.  Remainder: 0.35^8/8! = 6e-9 (float), 0.35^14/14! = 5e-18 (double). */
INLINE VEC expm1_tail(VEC r)
{
    VEC s = r * r, t = s * s;
    VEC p = PAIR(1.0 / 2, 1.0 / 6, r) + s * PAIR(1.0 / 24, 1.0 / 120, r);
#if REAL_BITS == 32
    p = p + t * PAIR(1.0 / 720, 1.0 / 5040, r);
#else
    VEC q = PAIR(1.0 / 720, 1.0 / 5040, r) + s * PAIR(1.0 / 40320, 1.0 / 362880, r);
    VEC u = PAIR(1.0 / 3628800, 1.0 / 39916800, r) + s * PAIR(1.0 / 479001600, 1.0 / 6227020800.0, r);
    p = p + t * (q + t * u);
#endif
    return s * p;
}

INLINE VEC vec_exp(VEC x)
{
    MASK n;
    VEC r = reduce_by_ln2(clamp(x, EXP_LOWEST, EXP_HIGHEST), &n);
    return times_power_of_two(expm1_tail(r) + r + SPLAT(1), n);
}

INLINE VEC vec_expm1(VEC x)
{
    MASK n;
    VEC r = reduce_by_ln2(clamp(x, EXPM1_LOWEST, EXP_HIGHEST), &n);
    /* 2^n (e^r - 1) + (2^n - 1), halved so that n = EXPONENT_BIAS + 1 does not overflow on the way. */
    VEC scale = power_of_two((MASK)(BITS(n) - BITS(mask_splat(1))));
    return SPLAT(2) * (scale * (expm1_tail(r) + r) + (scale - SPLAT(0.5)));
}

/* log(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2), through s = f / (2 + f): log(1 + f) = 2 (s + s^3/3 + s^5/5 + ...),
 * arranged so that f itself is the leading term (as in FreeBSD's e_log.c, whose comment proves the bound). */
INLINE VEC log_of_one_plus(VEC f, VEC extra)
{
    VEC s = f / (SPLAT(2) + f), z = s * s, half_square = SPLAT(0.5) * f * f;
    VEC z2 = z * z;
    VEC p = PAIR(2.0 / 3, 2.0 / 5, z) + z2 * PAIR(2.0 / 7, 2.0 / 9, z);
#if REAL_BITS == 32
    p = p + z2 * z2 * SPLAT(2.0 / 11);
#else
    VEC q = PAIR(2.0 / 11, 2.0 / 13, z) + z2 * PAIR(2.0 / 15, 2.0 / 17, z);
    p = p + z2 * z2 * (q + z2 * z2 * (PAIR(2.0 / 19, 2.0 / 21, z) + z2 * SPLAT(2.0 / 23)));
#endif
    return f - (half_square - (s * (half_square + p * z) + extra));
}

INLINE VEC vec_log(VEC x)
{
    MASK exponent = (MASK)(BITS(x) - BITS(mask_splat(SQRT_HALF_BITS))) >> MANTISSA_BITS;
    VEC f = (VEC)(BITS(x) - (BITS(exponent) << MANTISSA_BITS)) - SPLAT(1);
    VEC e = __builtin_convertvector(exponent, VEC);
    VEC value = e * SPLAT(LN2_HIGH) + log_of_one_plus(f, e * SPLAT(LN2_LOW));
    value = vec_select(x == SPLAT(INFINITY), x, value);
    value = vec_select(x == SPLAT(0), SPLAT(-INFINITY), value);
    return vec_select(x >= SPLAT(0), value, SPLAT(NAN));
}

/* log(u) + (what rounding 1 + x to u lost) / u. */
INLINE VEC vec_log1p(VEC x)
{
    VEC u = SPLAT(1) + x;
    VEC lost = vec_select(x > SPLAT(1), SPLAT(1) - (u - x), x - (u - SPLAT(1)));
    VEC correction = vec_select((u > SPLAT(0)) & (u < SPLAT(INFINITY)), lost / u, SPLAT(0));
    return vec_log(u) + correction;
}

/* (1 - e^-2|x|) / (1 + e^-2|x|) by expm1, which keeps the digits near zero that a quotient of exponentials loses. */
INLINE VEC vec_tanh(VEC x)
{
    VEC t = vec_expm1(SPLAT(-2) * vec_abs(x));
    return vec_with_sign_of(-t / (t + SPLAT(2)), x);
}

#endif
