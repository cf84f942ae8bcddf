/* Transposition through registers. */
#ifndef FASTGD_TRANSPOSE_H
#define FASTGD_TRANSPOSE_H

#include "panels.h"

/* Two vectors, lane by lane in turn: the lower halves, the upper halves. */
#define LOW_2(a, b) __builtin_shufflevector(a, b, 0, 2)
#define HIGH_2(a, b) __builtin_shufflevector(a, b, 1, 3)
#define LOW_4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH_4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOW_8(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_8(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW_16(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_16(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* A square block of n rows. Each round interleaves row i with row i + n/2; after log2(n) rounds rows are columns. */
#define DEFINE_TRANSPOSE_BLOCK(n, vector) \
    INLINE void transpose_block_##n(const REAL *from, ptrdiff_t from_width, REAL *to, ptrdiff_t to_width) \
    { \
        vector row[n], other[n]; \
        UNROLL \
        for (int i = 0; i < n; i++) \
            memcpy(&row[i], from + i * from_width, sizeof row[i]); \
        UNROLL \
        for (int round = 1; round < n; round *= 2) { \
            UNROLL \
            for (int i = 0; i < n / 2; i++) { \
                other[2 * i] = LOW_##n(row[i], row[i + n / 2]); \
                other[2 * i + 1] = HIGH_##n(row[i], row[i + n / 2]); \
            } \
            UNROLL \
            for (int i = 0; i < n; i++) \
                row[i] = other[i]; \
        } \
        UNROLL \
        for (int i = 0; i < n; i++) \
            memcpy(to + i * to_width, &row[i], sizeof row[i]); \
    }

/* Blocks as wide as VEC where they fit; of 16 bytes, the narrowest a panel can be, elsewhere. */
#if REAL_BITS == 32
#define SMALL 4
DEFINE_TRANSPOSE_BLOCK(4, vector_16_bytes)
#else
#define SMALL 2
DEFINE_TRANSPOSE_BLOCK(2, vector_16_bytes)
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define transpose_small JOIN(transpose_block_, SMALL)
#if VECTOR_BYTES / (REAL_BITS / 8) == 16
DEFINE_TRANSPOSE_BLOCK(16, VEC)
#define transpose_large transpose_block_16
#elif VECTOR_BYTES / (REAL_BITS / 8) == 8
DEFINE_TRANSPOSE_BLOCK(8, VEC)
#define transpose_large transpose_block_8
#elif VECTOR_BYTES == 32
DEFINE_TRANSPOSE_BLOCK(4, VEC)
#define transpose_large transpose_block_4
#else
#define transpose_large transpose_small
#endif

/* The rows that are left over: beyond them lies what must not get into the padding of to. */
INLINE void transpose_edge(const REAL *from, ptrdiff_t from_width, REAL *to, ptrdiff_t to_width, ptrdiff_t first,
                           ptrdiff_t inputs, ptrdiff_t outputs)
{
    from += first * from_width;
    to += first;
    for (ptrdiff_t i = first; i < inputs; i++, from += from_width, to++)
        for (ptrdiff_t o = 0; o < outputs; o++)
            to[o * to_width] = from[o];
}

/* to[o, i] = from[i, o] for i < inputs, o < outputs, both in panels.  The padding of from goes along: to has rows for it. */
static void transpose_area(const REAL *from, ptrdiff_t from_width, REAL *to, ptrdiff_t to_width, ptrdiff_t inputs,
                           ptrdiff_t outputs)
{
    ptrdiff_t o = 0;
    for (; o < outputs && o + LANES <= from_width; o += LANES) {
        ptrdiff_t i = 0;
        for (; i + LANES <= inputs; i += LANES)
            transpose_large(from + i * from_width + o, from_width, to + o * to_width + i, to_width);
        transpose_edge(from + o, from_width, to + o * to_width, to_width, i, inputs, LANES);
    }
    for (; o < outputs; o += SMALL) {
        ptrdiff_t i = 0;
        for (; i + SMALL <= inputs; i += SMALL)
            transpose_small(from + i * from_width + o, from_width, to + o * to_width + i, to_width);
        transpose_edge(from + o, from_width, to + o * to_width, to_width, i, inputs, SMALL);
    }
}

#endif
