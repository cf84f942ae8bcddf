/* Matrices in panels (engine.h says what that is), and the tiles for each width a panel can have. */
#ifndef FASTGD_PANELS_H
#define FASTGD_PANELS_H

#include "engine.h"
#include "vector.h"

#define PANEL_WIDTH (2 * LANES)

/* Sums kept in registers: 32 vector registers hold 14 rows of two vectors, two of right and one broadcast; 16 hold 6. */
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define TILE_ROWS 14
#define EACH_TILE_HEIGHT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) \
    CASE(12) CASE(13) CASE(14)
#else
#define TILE_ROWS 6
#define EACH_TILE_HEIGHT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define NOT_UNROLLED _Pragma("GCC unroll 1")
#endif

#define ALIGNED __attribute__((aligned(FASTGD_ALIGNMENT)))

INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
INLINE ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
INLINE ptrdiff_t ceil_divide(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

INLINE ptrdiff_t width_of_panel(const matrix *m, ptrdiff_t panel)
{
    return panel + 1 == m->panels ? m->last_width : PANEL_WIDTH;
}

INLINE REAL *panel_row(const matrix *m, ptrdiff_t panel, ptrdiff_t row)
{
    return (REAL *)m->data + panel * PANEL_WIDTH * m->rows + row * width_of_panel(m, panel);
}

INLINE REAL *element(const matrix *m, ptrdiff_t row, ptrdiff_t column)
{
    if (m->panels == 1)
        return (REAL *)m->data + row * m->last_width + column;
    return panel_row(m, column / PANEL_WIDTH, row) + column % PANEL_WIDTH;
}

/* The rows of a tile as its left operand sees them: some of their columns, from the first one of a panel on. */
typedef struct {
    const REAL *data;                           /* first row, in a first panel of full width */
    ptrdiff_t row, depth, panel_step, last_width;
} left_rows;

INLINE left_rows rows_of(const matrix *m, ptrdiff_t row, ptrdiff_t column, ptrdiff_t depth)
{
    return (left_rows){(const REAL *)m->data + column * m->rows + row * PANEL_WIDTH, row, depth, PANEL_WIDTH * m->rows,
                       m->last_width};
}

/* Memory that will be wanted after a product: a few lines of each run are asked for at a time while it is summed.  Asked
 * for all at once, they fill the processor's queue of misses, and the product's own loads wait behind them. */
typedef struct {
    const char *run[1 + FASTGD_MAX_STATES];
    ptrdiff_t runs, lines, lines_a_visit;       /* lines: of each run, that are still to be asked for */
} memory_ahead;

#define CACHE_LINE 64
#define TERMS_A_VISIT 16                        /* terms that are summed between two visits */

INLINE void ask_ahead(memory_ahead *ahead)
{
    ptrdiff_t lines = smaller(ahead->lines, ahead->lines_a_visit);
    ahead->lines -= lines;
    for (ptrdiff_t run = 0; run < ahead->runs; run++) {
        for (ptrdiff_t line = 0; line < lines; line++)
            __builtin_prefetch(ahead->run[run] + line * CACHE_LINE, 1);
        ahead->run[run] += lines * CACHE_LINE;
    }
}

/* The products of tile.h for one panel width: by the number of rows, from 1 to TILE_ROWS. */
typedef void (*multiply_rows)(const left_rows *left, const REAL *right, const REAL *start, ptrdiff_t start_stride, REAL *out);
typedef void (*multiply_columns)(ptrdiff_t depth, const REAL *left, ptrdiff_t left_width, const REAL *right,
                                 const REAL *start, REAL *out, memory_ahead *ahead);
typedef struct {
    const multiply_rows *multiply_rows;
    const multiply_columns *multiply_columns;
    void (*sum_columns)(ptrdiff_t depth, const REAL *right, const REAL *start, REAL *sums);
    void (*sum_rows_at)(ptrdiff_t depth, const REAL *value, const uint32_t *at, const REAL *right, const REAL *start, REAL *out);
} tile_functions;

#define TILE_BYTES 16
#define TILE_VECTORS 1
#define TILE_NAME(x) x##_16_bytes
#include "tile.h"
#if VECTOR_BYTES >= 32
#define TILE_BYTES 32
#define TILE_VECTORS 1
#define TILE_NAME(x) x##_32_bytes
#include "tile.h"
#endif
#if VECTOR_BYTES >= 64
#define TILE_BYTES 64
#define TILE_VECTORS 1
#define TILE_NAME(x) x##_64_bytes
#include "tile.h"
#endif
#define TILE_BYTES VECTOR_BYTES
#define TILE_VECTORS 2
#define TILE_NAME(x) x##_full_width
#include "tile.h"

INLINE const tile_functions *tiles_for(ptrdiff_t width)
{
    switch (width * sizeof(REAL)) {
    case 16: return &tile_functions_16_bytes;
#if VECTOR_BYTES >= 32
    case 32: return &tile_functions_32_bytes;
#endif
#if VECTOR_BYTES >= 64
    case 64: return &tile_functions_64_bytes;
#endif
    default: return &tile_functions_full_width;
    }
}

/* A number of rows as few strips of at most TILE_ROWS, the first ones one row higher where it does not come out even. */
typedef struct {
    ptrdiff_t count, height, higher;
} strips;

INLINE strips strips_of(ptrdiff_t rows)
{
    ptrdiff_t count = ceil_divide(rows, TILE_ROWS), height = count == 1 ? rows : rows / count;
    return (strips){count, height, rows - count * height};
}

INLINE ptrdiff_t strip_begin(strips of, ptrdiff_t strip) { return strip * of.height + smaller(strip, of.higher); }

INLINE ptrdiff_t strip_height(strips of, ptrdiff_t strip) { return of.height + (strip < of.higher); }

#endif
