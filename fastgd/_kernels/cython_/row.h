/* A row of a matrix in panels, vector by vector; what is beyond the last column reads as told and is stored as zero. */
#ifndef FASTGD_ROW_H
#define FASTGD_ROW_H

#include "panels.h"

/* One vector of a row: n lanes of it belong to the panel, used of these are real columns. */
typedef struct {
    REAL *at;
    ptrdiff_t lanes, used;
} row_piece;

INLINE row_piece piece_of_row(const matrix *m, ptrdiff_t row, ptrdiff_t column)
{
    ptrdiff_t panel = (ptrdiff_t)((size_t)column / PANEL_WIDTH), within = column - panel * PANEL_WIDTH;
    if (panel + 1 < m->panels)
        return (row_piece){(REAL *)m->data + (panel * m->rows + row) * PANEL_WIDTH + within, LANES, LANES};
    return (row_piece){panel_row(m, panel, row) + within, smaller(LANES, m->last_width - within),
                       smaller(LANES, m->columns - column)};
}

INLINE VEC load_piece(row_piece piece, VEC elsewhere)
{
    if (piece.used == LANES)
        return vec_load(piece.at);
    return vec_select(mask_first(piece.used), vec_load_lanes(piece.at, piece.lanes), elsewhere);
}

INLINE void store_piece(row_piece piece, VEC v)
{
    if (piece.used == LANES) {
        vec_store(piece.at, v);
        return;
    }
    vec_store_lanes(piece.at, vec_select(mask_first(piece.used), v, vec_splat(0)), piece.lanes);
}

#define EACH_PIECE(m, row) \
    for (ptrdiff_t column = 0; column < (m)->columns; column += LANES) \
        for (row_piece piece = piece_of_row(m, row, column), *once = &piece; once; once = NULL)

#endif
