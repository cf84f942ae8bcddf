/* Steps that weights take without a gradient, but for that of a penalty, one after the other.
 *
 * A few columns' weights and states lie in one run, which stays in L1 for all their steps.  Panel by panel, with a call of the
 * rule's block for each step and passes of their own for gradients, penalties and what is finite, it took four times as long.
 */
#ifndef FASTGD_REPLAY_H
#define FASTGD_REPLAY_H

#include "dense.h"

/* Penalties, in double -------------------------------------------------------------------------------------------------- */

typedef double DOUBLES __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t DOUBLE_BITS __attribute__((vector_size(VECTOR_BYTES)));

/* A vector of REAL is so many of double. */
#define DOUBLES_OF_VEC ((int)(sizeof(double) / sizeof(REAL)))

INLINE void vec_to_doubles(VEC v, DOUBLES *to)
{
#if defined(NATIVE_AVX512) && REAL_BITS == 32
    /* Of halves, some compilers make two conversions of 16 bytes each. */
    to[0] = (DOUBLES)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
    to[1] = (DOUBLES)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif REAL_BITS == 32
    typedef REAL HALF __attribute__((vector_size(VECTOR_BYTES / 2)));
    HALF half[2];
    memcpy(half, &v, sizeof v);
    to[0] = __builtin_convertvector(half[0], DOUBLES);
    to[1] = __builtin_convertvector(half[1], DOUBLES);
#else
    to[0] = v;
#endif
}

/* sum += times (0.5 l2 w^2 + l1 |w|) over some vectors of weights; the last one may have fewer lanes. */
INLINE void add_penalty(const REAL *weight, ptrdiff_t count, double l1, double l2, double times, DOUBLES *sum)
{
    DOUBLES w[DOUBLES_OF_VEC], squares[DOUBLES_OF_VEC] = {{0}}, magnitudes[DOUBLES_OF_VEC] = {{0}};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        vec_to_doubles(vec_load_lanes(weight + i, smaller(count - i, LANES)), w);
        for (int k = 0; k < DOUBLES_OF_VEC; k++) {
            squares[k] += w[k] * w[k];
            if (l1 != 0)
                magnitudes[k] += (DOUBLES)((DOUBLE_BITS)w[k] & ((DOUBLE_BITS){0} + INT64_MAX));
        }
    }
    for (int k = 0; k < DOUBLES_OF_VEC; k++)
        *sum += 0.5 * l2 * times * squares[k] + l1 * times * magnitudes[k];
}

INLINE double sum_of_doubles(DOUBLES v)
{
    double sum = 0;
    for (ptrdiff_t lane = 0; lane < (ptrdiff_t)(VECTOR_BYTES / sizeof(double)); lane++)
        sum += v[lane];
    return sum;
}

/* The replay ------------------------------------------------------------------------------------------------------------ */

/* So many vectors at a time, of one column or of several: enough that none has to wait for its roots and quotients, and few
 * enough for L1 with all their states. */
#define VECTORS_REPLAYED 16

/* A rule's step of a vector: weights, gradient and states, as they are before it and after; and the rule's scalars. */
typedef void (*vector_step)(VEC *of, const VEC *scalars);

INLINE void step_at(vector_step take_step, int n_states, const VEC *scalars, VEC l1, VEC l2, void *const *arrays, ptrdiff_t i,
                    VEC *probe)
{
    VEC of[2 + FASTGD_MAX_STATES];
    for (int a = 0; a < 2 + n_states; a++)
        if (a != 1)
            of[a] = vec_load((const REAL *)arrays[a] + i);
    of[1] = with_penalty(vec_splat(0), of[0], l1, l2);
    take_step(of, scalars);
    *probe = vec_finite_probe(*probe, of[0]);
    for (int a = 0; a < 2 + n_states; a++)
        if (a != 1)
            vec_store((REAL *)arrays[a] + i, of[a]);
}

/* Not a part of each rule's replay: it is as large as the rest. */
static __attribute__((noinline)) void count_columns(const missed_steps *missed, ptrdiff_t step, const REAL *weight, ptrdiff_t columns,
                                                    ptrdiff_t size, DOUBLES *penalty)
{
    for (ptrdiff_t column = 0; column < columns; column++)
        add_penalty(weight + column * size, size, missed->l1, missed->l2, missed->weight_sum[step], penalty + column);
}

/* A replay_function, once it is told what is constant in it.  The loop over the vectors is no longer for being unrolled. */
INLINE int replay_steps(vector_step take_step, int n_states, int n_scalars, const missed_steps *missed, void *const *arrays,
                        ptrdiff_t columns, ptrdiff_t size, double *penalty)
{
    VEC scalar[FASTGD_MAX_SCALARS], l1 = vec_splat((REAL)missed->l1), l2 = vec_splat((REAL)missed->l2), probe = vec_splat(0);
    const REAL *scalars = missed->scalars;
    for (ptrdiff_t step = 0; step < missed->steps; step++, scalars += FASTGD_MAX_SCALARS) {
        if (missed->weight_sum)
            count_columns(missed, step, arrays[0], columns, size, (DOUBLES *)penalty);
        for (int k = 0; k < n_scalars; k++)
            scalar[k] = vec_splat(scalars[k]);
        NOT_UNROLLED
        for (ptrdiff_t i = 0; i < columns * size; i += LANES)
            step_at(take_step, n_states, scalar, l1, l2, arrays, i, &probe);
    }
    return !vec_has_nan(probe);
}

#endif
