/* The vector layer: one source for every instruction set.
 *
 * VEC is a GCC/Clang vector of REAL that is VECTOR_BYTES long; the compiler lowers it where the machine's registers are
 * narrower, so the AVX-512 shape of the code can be tested on any machine.  What the vector extensions lack (square root,
 * blend, partial loads) comes from intrinsics where the register has VEC's length, and from plain C everywhere else.
 *
 * The build defines VECTOR_BYTES (16, 32 or 64) and REAL_BITS (32 or 64).
 */
#ifndef FASTGD_VECTOR_H
#define FASTGD_VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if REAL_BITS == 32
typedef float REAL;
typedef int32_t INTEGER;
typedef uint32_t UNSIGNED;
#else
typedef double REAL;
typedef int64_t INTEGER;
typedef uint64_t UNSIGNED;
#endif

#if REAL_BITS == 32
#define SMALLEST_NORMAL 0x1p-126f
#else
#define SMALLEST_NORMAL 0x1p-1022
#endif

#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define INLINE static inline __attribute__((always_inline))

typedef REAL VEC __attribute__((vector_size(VECTOR_BYTES)));
typedef INTEGER MASK __attribute__((vector_size(VECTOR_BYTES)));
typedef UNSIGNED BIT_PATTERN __attribute__((vector_size(VECTOR_BYTES)));

#if VECTOR_BYTES == 64 && defined(__AVX512F__)
#define NATIVE_AVX512 1
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
#define NATIVE_AVX2 1
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
#define NATIVE_SSE2 1
#elif VECTOR_BYTES == 16 && defined(__aarch64__)
#define NATIVE_NEON 1
#endif

#if defined(NATIVE_AVX512) || defined(NATIVE_AVX2) || defined(NATIVE_SSE2)
#include <immintrin.h>
#elif defined(NATIVE_NEON)
#include <arm_neon.h>
#endif

INLINE VEC vec_splat(REAL x) { return x - (VEC){0}; }
INLINE MASK mask_splat(INTEGER x) { return x - (MASK){0}; }

INLINE VEC vec_load(const REAL *p)
{
    VEC v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vec_store(REAL *p, VEC v) { memcpy(p, &v, sizeof v); }

/* (a & m) | (b & ~m): GCC has no ?: on vectors in C; it folds this form into one blend. */
INLINE VEC vec_select(MASK mask, VEC a, VEC b) { return (VEC)(((MASK)a & mask) | ((MASK)b & ~mask)); }

INLINE VEC vec_abs(VEC a) { return (VEC)((MASK)a & mask_splat((INTEGER)(((uint64_t)1 << (REAL_BITS - 1)) - 1))); }

INLINE VEC vec_with_sign_of(VEC magnitude, VEC sign)
{
    MASK bit = mask_splat((INTEGER)((uint64_t)1 << (REAL_BITS - 1)));
    return (VEC)(((MASK)magnitude & ~bit) | ((MASK)sign & bit));
}

/* The first count lanes of memory; the others are zero.  0 < count < LANES.  Four floats go by themselves in AVX-512: they
 * are the width of the narrowest panel, and a load that follows a masked store has to wait until that has left the core
 * (7 % of a step at 4-16-3, batch 1). */
#if defined(NATIVE_AVX512) && REAL_BITS == 32
#define vec_sqrt(a) ((VEC)_mm512_sqrt_ps((__m512)(a)))
#define vec_max(a, b) ((VEC)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define vec_min(a, b) ((VEC)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define vec_scale_by_power(a, n) ((VEC)_mm512_scalef_ps((__m512)(a), (__m512)(n)))
#define vec_has_nan(a) (_mm512_cmp_ps_mask((__m512)(a), (__m512)(a), _CMP_UNORD_Q) != 0)
#define PART_MASK(count) ((__mmask16)((1u << (count)) - 1))
INLINE VEC vec_load_part(const REAL *p, ptrdiff_t count)
{
    if (count == 4)
        return (VEC)_mm512_zextps128_ps512(_mm_loadu_ps(p));
    return (VEC)_mm512_maskz_loadu_ps(PART_MASK(count), p);
}
INLINE void vec_store_part(REAL *p, VEC v, ptrdiff_t count)
{
    if (count == 4)
        _mm_storeu_ps(p, _mm512_castps512_ps128((__m512)v));
    else
        _mm512_mask_storeu_ps(p, PART_MASK(count), (__m512)v);
}
#elif defined(NATIVE_AVX512)
#define vec_sqrt(a) ((VEC)_mm512_sqrt_pd((__m512d)(a)))
#define vec_max(a, b) ((VEC)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define vec_min(a, b) ((VEC)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define vec_scale_by_power(a, n) ((VEC)_mm512_scalef_pd((__m512d)(a), (__m512d)(n)))
#define vec_has_nan(a) (_mm512_cmp_pd_mask((__m512d)(a), (__m512d)(a), _CMP_UNORD_Q) != 0)
#define PART_MASK(count) ((__mmask8)((1u << (count)) - 1))
INLINE VEC vec_load_part(const REAL *p, ptrdiff_t count) { return (VEC)_mm512_maskz_loadu_pd(PART_MASK(count), p); }
INLINE void vec_store_part(REAL *p, VEC v, ptrdiff_t count) { _mm512_mask_storeu_pd(p, PART_MASK(count), (__m512d)v); }
#elif defined(NATIVE_AVX2) && REAL_BITS == 32
#define vec_sqrt(a) ((VEC)_mm256_sqrt_ps((__m256)(a)))
#define vec_max(a, b) ((VEC)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define vec_min(a, b) ((VEC)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define PART_MASK(count) ((__m256i)((MASK){0, 1, 2, 3, 4, 5, 6, 7} < mask_splat((INTEGER)(count))))
INLINE VEC vec_load_part(const REAL *p, ptrdiff_t count) { return (VEC)_mm256_maskload_ps(p, PART_MASK(count)); }
INLINE void vec_store_part(REAL *p, VEC v, ptrdiff_t count) { _mm256_maskstore_ps(p, PART_MASK(count), (__m256)v); }
#elif defined(NATIVE_AVX2)
#define vec_sqrt(a) ((VEC)_mm256_sqrt_pd((__m256d)(a)))
#define vec_max(a, b) ((VEC)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define vec_min(a, b) ((VEC)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define PART_MASK(count) ((__m256i)((MASK){0, 1, 2, 3} < mask_splat((INTEGER)(count))))
INLINE VEC vec_load_part(const REAL *p, ptrdiff_t count) { return (VEC)_mm256_maskload_pd(p, PART_MASK(count)); }
INLINE void vec_store_part(REAL *p, VEC v, ptrdiff_t count) { _mm256_maskstore_pd(p, PART_MASK(count), (__m256d)v); }
#else
INLINE VEC vec_load_part(const REAL *p, ptrdiff_t count)
{
    VEC v = {0};
    memcpy(&v, p, (size_t)count * sizeof(REAL));
    return v;
}
INLINE void vec_store_part(REAL *p, VEC v, ptrdiff_t count) { memcpy(p, &v, (size_t)count * sizeof(REAL)); }
#if defined(NATIVE_SSE2) && REAL_BITS == 32
#define vec_sqrt(a) ((VEC)_mm_sqrt_ps((__m128)(a)))
#define vec_max(a, b) ((VEC)_mm_max_ps((__m128)(a), (__m128)(b)))
#define vec_min(a, b) ((VEC)_mm_min_ps((__m128)(a), (__m128)(b)))
#elif defined(NATIVE_SSE2)
#define vec_sqrt(a) ((VEC)_mm_sqrt_pd((__m128d)(a)))
#define vec_max(a, b) ((VEC)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#define vec_min(a, b) ((VEC)_mm_min_pd((__m128d)(a), (__m128d)(b)))
#else
INLINE VEC vec_max(VEC a, VEC b) { return vec_select(a > b, a, b); }
INLINE VEC vec_min(VEC a, VEC b) { return vec_select(a < b, a, b); }
#if defined(NATIVE_NEON) && REAL_BITS == 32
#define vec_sqrt(a) ((VEC)vsqrtq_f32((float32x4_t)(a)))
#elif defined(NATIVE_NEON)
#define vec_sqrt(a) ((VEC)vsqrtq_f64((float64x2_t)(a)))
#else
INLINE VEC vec_sqrt(VEC a)
{
    for (ptrdiff_t i = 0; i < LANES; i++)
        a[i] = REAL_BITS == 32 ? (REAL)sqrtf((float)a[i]) : (REAL)sqrt((double)a[i]);
    return a;
}
#endif
#endif
#endif

/* As many lanes as there are: all of them, or fewer in a narrow panel. */
INLINE VEC vec_load_lanes(const REAL *p, ptrdiff_t lanes) { return lanes == LANES ? vec_load(p) : vec_load_part(p, lanes); }

INLINE void vec_store_lanes(REAL *p, VEC v, ptrdiff_t lanes)
{
    if (lanes == LANES)
        vec_store(p, v);
    else
        vec_store_part(p, v, lanes);
}

INLINE MASK lane_numbers(void)
{
    MASK lane;
    for (ptrdiff_t i = 0; i < LANES; i++)
        lane[i] = (INTEGER)i;
    return lane;
}

/* Lanes 0 .. count-1 true. */
INLINE MASK mask_first(ptrdiff_t count) { return lane_numbers() < mask_splat((INTEGER)count); }

/* One lane true; none if there is no such lane. */
INLINE MASK mask_lane(ptrdiff_t lane) { return lane_numbers() == mask_splat((INTEGER)lane); }

/* v with its lanes moved down by half their number, by a quarter, ...: what a reduction over the lanes folds with. */
#if VECTOR_BYTES / (REAL_BITS / 8) == 16
#define ROTATE_16(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define ROTATE_8(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define ROTATE_4(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define ROTATE_2(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif VECTOR_BYTES / (REAL_BITS / 8) == 8
#define ROTATE_8(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3)
#define ROTATE_4(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5)
#define ROTATE_2(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6)
#elif VECTOR_BYTES / (REAL_BITS / 8) == 4
#define ROTATE_4(v) __builtin_shufflevector(v, v, 2, 3, 0, 1)
#define ROTATE_2(v) __builtin_shufflevector(v, v, 1, 0, 3, 2)
#else
#define ROTATE_2(v) __builtin_shufflevector(v, v, 1, 0)
#endif

/* The first `lanes` lanes (a power of two) hold their reduction: pairwise, always in the same order, without leaving the
 * vector registers.  Few lanes take few rounds, each of which waits for the one before. */
#define REDUCE(v, combine, lanes) \
    REDUCE_16(v, combine, lanes) REDUCE_8(v, combine, lanes) REDUCE_4(v, combine, lanes) v = combine(v, ROTATE_2(v));
#if defined(ROTATE_16)
#define REDUCE_16(v, combine, lanes) if ((lanes) > 8) v = combine(v, ROTATE_16(v));
#else
#define REDUCE_16(v, combine, lanes)
#endif
#if defined(ROTATE_8)
#define REDUCE_8(v, combine, lanes) if ((lanes) > 4) v = combine(v, ROTATE_8(v));
#else
#define REDUCE_8(v, combine, lanes)
#endif
#if defined(ROTATE_4)
#define REDUCE_4(v, combine, lanes) if ((lanes) > 2) v = combine(v, ROTATE_4(v));
#else
#define REDUCE_4(v, combine, lanes)
#endif

INLINE VEC vec_add(VEC a, VEC b) { return a + b; }

INLINE REAL vec_sum(VEC v)
{
    REDUCE(v, vec_add, LANES)
    return v[0];
}

/* In lane i the sum over v[i], of so many vectors as there are lanes: added in the order of vec_sum, but two at a time. */
#define FOLD(v, half, ROTATE) \
    for (ptrdiff_t i = 0; i < (half); i++) { \
        MASK second = (lane_numbers() & mask_splat(half)) != mask_splat(0); \
        v[i] = vec_select(second, v[i + (half)], v[i]) + ROTATE(vec_select(second, v[i], v[i + (half)])); \
    }
INLINE VEC vec_sums(VEC *v)
{
#if defined(ROTATE_16)
    FOLD(v, 8, ROTATE_16)
#endif
#if defined(ROTATE_8)
    FOLD(v, 4, ROTATE_8)
#endif
#if defined(ROTATE_4)
    FOLD(v, 2, ROTATE_4)
#endif
    FOLD(v, 1, ROTATE_2)
    return v[0];
}

INLINE REAL vec_largest(VEC v)
{
    REDUCE(v, vec_max, LANES)
    return v[0];
}

#if defined(NATIVE_AVX2)
#define vec_has_nan(a) (_mm256_movemask_epi8((__m256i)((a) != (a))) != 0)
#elif defined(NATIVE_SSE2)
#define vec_has_nan(a) (_mm_movemask_epi8((__m128i)((a) != (a))) != 0)
#elif defined(NATIVE_NEON)
#define vec_has_nan(a) (vmaxvq_u32((uint32x4_t)((a) != (a))) != 0)
#elif !defined(NATIVE_AVX512)
INLINE int vec_has_nan(VEC a)
{
    INTEGER any = 0;
    for (ptrdiff_t i = 0; i < LANES; i++)
        any |= (a != a)[i];
    return any != 0;
}
#endif

/* NaN where any lane is NaN or infinite, else zero. */
INLINE VEC vec_finite_probe(VEC probe, VEC v) { return probe + v * vec_splat((REAL)0); }

#endif
