/* Loops that do nothing but what is measured.  Compiled by machine.py with REAL (float or double) and VECTOR_BYTES. */
#include <stddef.h>

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));

enum { LANES = VECTOR_BYTES / sizeof(REAL) };

/* As many independent sums as there are registers for, less two factors: at least latency times throughput of a fused
 * multiply-add, which is 4 x 2 on x86-64 and 4 x 4 on the widest arm64 cores. */
#if defined(__AVX512VL__) || defined(__aarch64__)
enum { SUMS = 28 };
#else
enum { SUMS = 14 };
#endif

/* Returns the operations done, two for each multiply-add.  With |factor| < 1 the sums stay normal numbers. */
double multiply_add(ptrdiff_t rounds, REAL factor, REAL term, REAL *result)
{
    vector sums[SUMS], factors = (vector){0} + factor, terms = (vector){0} + term;
#pragma GCC unroll 32
    for (int k = 0; k < SUMS; ++k)
        sums[k] = terms * (REAL)k;
    for (ptrdiff_t round = 0; round < rounds; ++round)
#pragma GCC unroll 32
        for (int k = 0; k < SUMS; ++k)
            sums[k] = sums[k] * factors + terms;
    vector total = sums[0];
#pragma GCC unroll 32
    for (int k = 1; k < SUMS; ++k)
        total += sums[k];
    *result = total[0];
    return 2.0 * LANES * SUMS * (double)rounds;
}

/* Four streams at once: one alone does not keep all of a core's outstanding misses busy.  `count` vectors, a multiple of
 * 16, aligned.  Return the bytes that crossed the memory bus. */
double read_all(const vector *array, ptrdiff_t count, REAL *result)
{
    vector sums[4] = {{0}};
    const ptrdiff_t quarter = count / 4;
    for (ptrdiff_t k = 0; k < quarter; k += 4)
#pragma GCC unroll 16
        for (int stream = 0; stream < 16; ++stream)
            sums[stream % 4] += array[stream / 4 * quarter + k + stream % 4];
    *result = (sums[0] + sums[1] + sums[2] + sums[3])[0];
    return (double)count * sizeof(vector);
}

/* Every value is read and written back in its place, as an optimizer does with weights and states. */
double update_all(vector *array, ptrdiff_t count, REAL factor)
{
    const ptrdiff_t quarter = count / 4;
    for (ptrdiff_t k = 0; k < quarter; k += 4)
#pragma GCC unroll 16
        for (int stream = 0; stream < 16; ++stream)
            array[stream / 4 * quarter + k + stream % 4] *= factor;
    return 2.0 * (double)count * sizeof(vector);
}
