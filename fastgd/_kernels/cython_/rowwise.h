/* Rows of the scores, a vector at a time. */
#ifndef FASTGD_ROWWISE_H
#define FASTGD_ROWWISE_H

#include "elementary.h"
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
    return vec_select(mask_first(piece.used), piece.lanes == LANES ? vec_load(piece.at) : vec_load_part(piece.at, piece.lanes),
                      elsewhere);
}

INLINE void store_piece(row_piece piece, VEC v)
{
    if (piece.used == LANES) {
        vec_store(piece.at, v);
        return;
    }
    v = vec_select(mask_first(piece.used), v, vec_splat(0));
    if (piece.lanes == LANES)
        vec_store(piece.at, v);
    else
        vec_store_part(piece.at, v, piece.lanes);
}

#define EACH_PIECE(m, row) \
    for (ptrdiff_t column = 0; column < (m)->columns; column += LANES) \
        for (row_piece piece = piece_of_row(m, row, column), *once = &piece; once; once = NULL)

INLINE REAL largest_of_row(const matrix *score, ptrdiff_t row)
{
    VEC largest = vec_splat(-INFINITY);
    EACH_PIECE(score, row)
        largest = vec_max(load_piece(piece, vec_splat(-INFINITY)), largest);
    return vec_largest(largest);
}

/* to = exp(score - largest); returns the sum. */
INLINE REAL exponentials_of_row(const matrix *score, ptrdiff_t row, REAL largest, const matrix *to)
{
    VEC sum = vec_splat(0);
    EACH_PIECE(score, row) {
        VEC e = vec_exp(load_piece(piece, vec_splat(-INFINITY)) - vec_splat(largest));
        sum += e;
        store_piece(piece_of_row(to, row, column), e);
    }
    return vec_sum(sum);
}

INLINE void scale_row(const matrix *m, ptrdiff_t row, REAL scale)
{
    EACH_PIECE(m, row)
        store_piece(piece, load_piece(piece, vec_splat(0)) * vec_splat(scale));
}

/* The column of the largest element: the first one where several are equal. */
static ptrdiff_t column_of_largest(const matrix *m, ptrdiff_t row)
{
    ptrdiff_t best = 0;
    for (ptrdiff_t column = 1; column < m->columns; column++)
        if (*element(m, row, column) > *element(m, row, best))
            best = column;
    return best;
}

INLINE ptrdiff_t label_of_row(const target_rows *target, ptrdiff_t row)
{
    return target->labels ? target->labels[row] : column_of_largest(&target->values, row);
}

#endif
