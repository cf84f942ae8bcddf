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
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define ALIGNED __attribute__((aligned(FASTGD_ALIGNMENT)))

INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
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

/* The rows of a tile as its left operand sees them. */
typedef struct {
    const REAL *data;                           /* first row, in a first panel of full width */
    ptrdiff_t row, depth, panel_step, last_width;
} left_rows;

INLINE left_rows rows_of(const matrix *m, ptrdiff_t row)
{
    return (left_rows){(const REAL *)m->data + row * PANEL_WIDTH, row, m->columns, PANEL_WIDTH * m->rows,
                       m->last_width};
}

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

typedef struct {
    void (*multiply_rows)(int, const left_rows *, const REAL *, const REAL *, ptrdiff_t, REAL *);
    void (*multiply_columns)(int, ptrdiff_t, const REAL *, ptrdiff_t, const REAL *, const REAL *, REAL *);
    void (*sum_columns)(ptrdiff_t, const REAL *, const REAL *, REAL *);
} tile_functions;

#define TILES(width) (tile_functions){multiply_rows_##width, multiply_columns_##width, sum_columns_##width}
INLINE tile_functions tiles_for(ptrdiff_t width)
{
    switch (width * sizeof(REAL)) {
    case 16: return TILES(16_bytes);
#if VECTOR_BYTES >= 32
    case 32: return TILES(32_bytes);
#endif
#if VECTOR_BYTES >= 64
    case 64: return TILES(64_bytes);
#endif
    default: return TILES(full_width);
    }
}
#undef TILES

#endif
