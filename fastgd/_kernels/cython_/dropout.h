/* Dropout: each element is set to zero with a probability, the others are scaled so that the mean stays (Srivastava et al.
 * 2014, inverted).  Which ones is a function of seed, step, layer, row and column alone: the mask is never stored, and is
 * the same for any number of threads.
 */
#ifndef FASTGD_DROPOUT_H
#define FASTGD_DROPOUT_H

#include "panels.h"

#define DROPOUT_STREAM 3

typedef uint64_t WIDE __attribute__((vector_size(VECTOR_BYTES)));

INLINE WIDE wide_splat(uint64_t x) { return x - (WIDE){0}; }

/* Products of the lower halves of the lanes. */
#if defined(NATIVE_AVX512)
#define wide_product(a, b) ((WIDE)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif defined(NATIVE_AVX2)
#define wide_product(a, b) ((WIDE)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(NATIVE_SSE2)
#define wide_product(a, b) ((WIDE)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#elif defined(NATIVE_NEON)
#define wide_product(a, b) ((WIDE)vmull_u32(vmovn_u64((uint64x2_t)(a)), vmovn_u64((uint64x2_t)(b))))
#else
INLINE WIDE wide_product(WIDE a, WIDE b) { return (a & wide_splat(0xffffffffu)) * (b & wide_splat(0xffffffffu)); }
#endif

/* The elements of a layer in one step; position is the first row's place in the batch. */
typedef struct {
    uint64_t seed;
    uint32_t stream, step;
    ptrdiff_t position;
} dropout_draw;

/* philox() of many columns: the words of four rows.  The upper halves of the lanes are never read, so they are not cleared. */
INLINE void draw_columns(const dropout_draw *draw, WIDE columns, ptrdiff_t block, WIDE *word)
{
    WIDE c0 = columns, c1 = wide_splat((uint64_t)block), c2 = wide_splat(draw->stream), c3 = wide_splat(draw->step);
    uint32_t k0 = (uint32_t)draw->seed, k1 = (uint32_t)(draw->seed >> 32);
    for (int round = 0; round < 10; round++) {
        WIDE a = wide_product(c0, wide_splat(0xD2511F53u)), b = wide_product(c2, wide_splat(0xCD9E8D57u));
        c0 = (b >> 32) ^ c1 ^ wide_splat(k0);
        c1 = b;
        c2 = (a >> 32) ^ c3 ^ wide_splat(k1);
        c3 = a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

/* Which elements stay: of four rows, LANES columns from `column` on.  The lanes of float hold even columns in their lower
 * and odd ones in their upper halves, that is in order. */
INLINE void draw_kept(const dropout_draw *draw, uint32_t dropped, ptrdiff_t column, ptrdiff_t block, MASK *kept)
{
    WIDE columns, low = wide_splat(0xffffffffu), word[4];
    for (ptrdiff_t i = 0; i < (ptrdiff_t)(VECTOR_BYTES / 8); i++)
        columns[i] = (uint64_t)(column + i * (ptrdiff_t)(8 / sizeof(REAL)));
    draw_columns(draw, columns, block, word);
#if REAL_BITS == 32
    WIDE odd[4];
    draw_columns(draw, columns + wide_splat(1), block, odd);
    for (int r = 0; r < 4; r++)
        word[r] = (word[r] & low) | (odd[r] << 32);
#else
    for (int r = 0; r < 4; r++)
        word[r] &= low;
#endif
    for (int r = 0; r < 4; r++)
        kept[r] = (MASK)((BIT_PATTERN)word[r] >= (UNSIGNED)dropped - (BIT_PATTERN){0});
}

/* to = from, scaled where it is kept and zero elsewhere: of outputs on the way forward, of gradients on the way back. */
static void drop(const dense_layer *layer, const dropout_draw *draw, const matrix *from, const matrix *to, ptrdiff_t first,
                 ptrdiff_t last)
{
    VEC scale = vec_splat((REAL)layer->kept_scale);
    MASK kept[4];
    for (ptrdiff_t column = 0; column < from->columns; column += LANES) {
        ptrdiff_t panel = column / PANEL_WIDTH, width = width_of_panel(from, panel), within = column % PANEL_WIDTH;
        ptrdiff_t lanes = smaller(LANES, width - within);
        for (ptrdiff_t row = first; row < last; row++) {
            ptrdiff_t place = draw->position + row;
            if (row == first || place % 4 == 0)
                draw_kept(draw, layer->dropped, column, place / 4, kept);
            VEC v = vec_load_lanes(panel_row(from, panel, row) + within, lanes) * scale;
            vec_store_lanes(panel_row(to, panel, row) + within, (VEC)((MASK)v & kept[place % 4]), lanes);
        }
    }
}

#endif
