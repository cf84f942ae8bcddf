/* exp, expm1, log, log1p, tanh, erf, normal_cdf, sin and cos on VEC, at most 4 ULP (tests measure it).
 *
 * The compiler's own vector library is no choice: it is missing from musl, macOS and Windows, and lacks tanh before
 * glibc 2.35.  Polynomials are Taylor's: on the reduced ranges the remainder is below a tenth of an ULP with one or two
 * terms more than a minimax fit would need, and every coefficient explains itself.  Only the normal distribution's tail
 * has no such series; its coefficients are those of fastgd/_formula/normal.py, which a test compares.
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
#define UPPER_HALF_BITS 0xfffff000u   /* of the significand: the square of what is left is exact */
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
#define UPPER_HALF_BITS 0xfffffffff8000000u
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

#define TWO_OVER_ROOT_PI 1.1283791670955126
#if REAL_BITS == 32
#define TAIL_LAST 14.5             /* beyond it the tail rounds to zero */
#define TAIL_POLYNOMIAL(TERM) \
    TERM(0.75528514) TERM(-0.6078966) TERM(0.38713667) TERM(-0.186523) TERM(0.06040647) TERM(-0.007527213) \
    TERM(-0.003523574) TERM(0.0015693137) TERM(0.00019480185) TERM(-0.00012298315)
#define ERF_SERIES(TERM) \
    TERM(TWO_OVER_ROOT_PI) TERM(-TWO_OVER_ROOT_PI / 3) TERM(TWO_OVER_ROOT_PI / 10) TERM(-TWO_OVER_ROOT_PI / 42) \
    TERM(TWO_OVER_ROOT_PI / 216) TERM(-TWO_OVER_ROOT_PI / 1320) TERM(TWO_OVER_ROOT_PI / 9360) \
    TERM(-TWO_OVER_ROOT_PI / 75600) TERM(TWO_OVER_ROOT_PI / 685440)
#else
#define TAIL_LAST 39.0
#define TAIL_POLYNOMIAL(TERM) \
    TERM(0.7552851304157515) TERM(-0.6078966419718917) TERM(0.38713740074221886) TERM(-0.18652185795969417) \
    TERM(0.06039657489069947) TERM(-0.007540188965593059) TERM(-0.0034796923622425332) TERM(0.0016308184418903596) \
    TERM(0.00013334425401904912) TERM(-0.0002310948183193762) TERM(-1.9078665316613576e-06) \
    TERM(3.5144181157760973e-05) TERM(7.150055959216099e-07) TERM(-5.918892731763236e-06) TERM(-6.25132104047868e-07) \
    TERM(1.0198048518135172e-06) TERM(2.6368248576407624e-07) TERM(-1.5426320536771075e-07) \
    TERM(-7.63808205349045e-08) TERM(1.457859334703646e-08) TERM(1.392402399350171e-08) TERM(7.26954547902669e-11) \
    TERM(-9.653425420228504e-10)
#define ERF_SERIES(TERM) \
    TERM(TWO_OVER_ROOT_PI) TERM(-TWO_OVER_ROOT_PI / 3) TERM(TWO_OVER_ROOT_PI / 10) TERM(-TWO_OVER_ROOT_PI / 42) \
    TERM(TWO_OVER_ROOT_PI / 216) TERM(-TWO_OVER_ROOT_PI / 1320) TERM(TWO_OVER_ROOT_PI / 9360) \
    TERM(-TWO_OVER_ROOT_PI / 75600) TERM(TWO_OVER_ROOT_PI / 685440) TERM(-TWO_OVER_ROOT_PI / 6894720) \
    TERM(TWO_OVER_ROOT_PI / 76204800) TERM(-TWO_OVER_ROOT_PI / 918086400.0) TERM(TWO_OVER_ROOT_PI / 11975040000.0) \
    TERM(-TWO_OVER_ROOT_PI / 168129561600.0) TERM(TWO_OVER_ROOT_PI / 2528170444800.0) \
    TERM(-TWO_OVER_ROOT_PI / 40537905408000.0)
#endif

/* Coefficients from the constant term on; Horner's scheme begins at the other end. */
#define TERM(x) (REAL)(x),
static const REAL tail_polynomial[] = {TAIL_POLYNOMIAL(TERM)}, erf_series[] = {ERF_SERIES(TERM)};
#undef TERM

INLINE VEC polynomial(VEC x, const REAL *coefficients, ptrdiff_t count)
{
    VEC p = vec_splat(coefficients[count - 1]);
#pragma GCC unroll 32
    for (ptrdiff_t k = count - 2; k >= 0; k--)
        p = p * x + vec_splat(coefficients[k]);
    return p;
}
#define POLYNOMIAL(x, coefficients) polynomial(x, coefficients, (ptrdiff_t)(sizeof(coefficients) / sizeof(REAL)))

/* erf(x) / x near zero: 2/sqrt(pi) (1 - x^2/3 + x^4/10 - ...), with the terms 1 / (k! (2k + 1)). */
INLINE VEC erf_quotient(VEC square) { return POLYNOMIAL(square, erf_series); }

/* P(Y < -y) of a standard normal Y, for y >= 0: e^(-y^2/2) times what falls as slowly as 1/y, a polynomial in
 * (y - 4) / (y + 4) over y + 4.  A rounding of y^2 would be multiplied by y^2/2, up to 750; so it is taken in two parts,
 * of which the first is exact, and the second, small, is added after the reduction by ln 2. */
INLINE VEC normal_tail(VEC y)
{
    MASK n;
    y = vec_min(SPLAT(TAIL_LAST), y);
    VEC upper = (VEC)(BITS(y) & BITS(mask_splat((INTEGER)UPPER_HALF_BITS)));
    VEC rest = SPLAT(-0.5) * ((y - upper) * (y + upper));
    VEC r = reduce_by_ln2(SPLAT(-0.5) * (upper * upper), &n) + rest;
    VEC slow = POLYNOMIAL((y - SPLAT(4)) / (y + SPLAT(4)), tail_polynomial) / (y + SPLAT(4));
    return times_power_of_two(slow * (expm1_tail(r) + r) + slow, n);
}

/* Near zero 1/2 + erf(x / sqrt(2)) / 2; else the tail on the left of zero, and on its right 1 less the tail. */
INLINE VEC vec_normal_cdf(VEC x)
{
    VEC y = vec_abs(x), tail = normal_tail(y);
    VEC near = x * (SPLAT(0.35355339059327376) * erf_quotient(SPLAT(0.5) * (y * y))) + SPLAT(0.5);
    return vec_select(y < SPLAT(0.9), near, vec_select(x < SPLAT(0), tail, SPLAT(1) - tail));
}

/* Far from zero 1 - 2 P(Y < -sqrt(2) x). */
INLINE VEC vec_erf(VEC x)
{
    VEC y = vec_abs(x), near = y * erf_quotient(y * y);
    VEC far = SPLAT(1) - SPLAT(2) * normal_tail(SPLAT(1.4142135623730951) * y);
    return vec_with_sign_of(vec_select(y < SPLAT(0.8), near, far), x);
}

#if REAL_BITS == 32
#define ANGLE_LAST 8192.0
/* Half of pi: what precedes the last term has 11 bits each, so that its product with an integer below 2^13 is exact. */
#define HALF_PI(TERM) TERM(0x1.92p+0) TERM(0x1.fb4p-12) TERM(0x1.444p-24) TERM(0x1.68cp-39) TERM(0x1.1a62633145c07p-54)
#define SIN_SERIES(TERM) TERM(1.0) TERM(-1.0 / 6) TERM(1.0 / 120) TERM(-1.0 / 5040) TERM(1.0 / 362880)
#define COS_SERIES(TERM) TERM(1.0) TERM(-0.5) TERM(1.0 / 24) TERM(-1.0 / 720) TERM(1.0 / 40320) TERM(-1.0 / 3628800)
#else
#define ANGLE_LAST 1048576.0
/* 33 bits each, times an integer below 2^20. */
#define HALF_PI(TERM) TERM(0x1.921fb544p+0) TERM(0x1.0b4611a6p-34) TERM(0x1.3198a2ep-69) TERM(0x1.b839a252049c1p-104)
#define SIN_SERIES(TERM) \
    TERM(1.0) TERM(-1.0 / 6) TERM(1.0 / 120) TERM(-1.0 / 5040) TERM(1.0 / 362880) TERM(-1.0 / 39916800) \
    TERM(1.0 / 6227020800.0) TERM(-1.0 / 1307674368000.0) TERM(1.0 / 355687428096000.0)
#define COS_SERIES(TERM) \
    TERM(1.0) TERM(-0.5) TERM(1.0 / 24) TERM(-1.0 / 720) TERM(1.0 / 40320) TERM(-1.0 / 3628800) TERM(1.0 / 479001600) \
    TERM(-1.0 / 87178291200.0) TERM(1.0 / 20922789888000.0)
#endif

#define TERM(x) (REAL)(x),
static const REAL sin_series[] = {SIN_SERIES(TERM)}, cos_series[] = {COS_SERIES(TERM)};
#undef TERM

/* Angles of which ANGLE_LAST is less need many more digits of pi; they are rare, so the C library has them one by one. */
static __attribute__((noinline)) VEC sine_of_large(VEC x, VEC elsewhere, int cosine)
{
    for (ptrdiff_t i = 0; i < LANES; i++)
        if (!(fabs((double)x[i]) <= ANGLE_LAST))
            elsewhere[i] = (REAL)(cosine ? cos((double)x[i]) : sin((double)x[i]));
    return elsewhere;
}

/* x = n pi/2 + r; by n the sine of x is the sine of r, its cosine, and the same with the other sign. */
INLINE VEC sine_of(VEC x, int cosine)
{
    VEC shifted = x * SPLAT(0.6366197723675814) + SPLAT(ROUNDING_MAGIC), whole = shifted - SPLAT(ROUNDING_MAGIC), r = x;
#define TERM(part) r = r - whole * SPLAT(part);
    HALF_PI(TERM)
#undef TERM
    BIT_PATTERN quadrant = BITS(shifted) - BITS(SPLAT(ROUNDING_MAGIC)) + (UNSIGNED)cosine;
    VEC square = r * r;
    MASK odd = (MASK)(quadrant & 1) != 0;
    VEC value = vec_select(odd, POLYNOMIAL(square, cos_series), r * POLYNOMIAL(square, sin_series));
    value = (VEC)(BITS(value) ^ ((quadrant & 2) << (REAL_BITS - 2)));
    /* Written so that a NaN is large. */
    VEC large = vec_select(vec_abs(x) <= SPLAT(ANGLE_LAST), SPLAT(0), SPLAT(1));
    return vec_largest(large) > 0 ? sine_of_large(x, value, cosine) : value;
}

INLINE VEC vec_sin(VEC x) { return sine_of(x, 0); }

INLINE VEC vec_cos(VEC x) { return sine_of(x, 1); }

#endif
