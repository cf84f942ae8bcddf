/* Losses over the rows of the scores, and their links. */
#ifndef FASTGD_ROWWISE_H
#define FASTGD_ROWWISE_H

#include "elementary.h"
#include "panels.h"
#include "transpose.h"

/* Rows treated at a time, so that scratch stays in L1 and one vector logarithm serves many rows. */
#define ROW_BLOCK 16

/* One vector of a row: n lanes of it belong to the panel, used of these are real columns. */
typedef struct {
    REAL *at;
    ptrdiff_t lanes, used;
} row_piece;

INLINE row_piece piece_of_row(const matrix *m, ptrdiff_t row, ptrdiff_t column)
{
    ptrdiff_t left = m->last_width - (column - (m->panels - 1) * PANEL_WIDTH);
    return (row_piece){element(m, row, column), smaller(LANES, left), smaller(LANES, m->columns - column)};
}

INLINE VEC load_piece(row_piece piece, VEC elsewhere)
{
    VEC v = piece.lanes == LANES ? vec_load(piece.at) : vec_load_part(piece.at, piece.lanes);
    return piece.used == LANES ? v : vec_select(mask_first(piece.used), v, elsewhere);
}

INLINE void store_piece(row_piece piece, VEC v)
{
    if (piece.used < LANES)
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

/* softmax in place: e^(z - max) / sum */
static void softmax(matrix *score, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row++)
        scale_row(score, row, 1 / exponentials_of_row(score, row, largest_of_row(score, row), score));
}

/* What a block of rows leaves for its losses, l = log(sum) + largest - the label's score: sum is that of e^(z - largest). */
typedef struct {
    REAL largest[ROW_BLOCK], sum[ROW_BLOCK], at_label[ROW_BLOCK];
} ALIGNED block_sums;

/* delta = scale (softmax(z) - the label's one).  A row of one vector stays in registers. */
INLINE void gradient_of_label(const matrix *score, ptrdiff_t row, ptrdiff_t label, REAL scale, const matrix *delta,
                              block_sums *sums, ptrdiff_t i)
{
    sums->at_label[i] = *element(score, row, label);
    if (score->columns <= LANES) {
        row_piece piece = piece_of_row(score, row, 0);
        VEC z = load_piece(piece, vec_splat(-INFINITY)), largest = z;
        REDUCE(largest, vec_max, piece.lanes)
        VEC e = vec_exp(z - largest), sum = e;
        REDUCE(sum, vec_add, piece.lanes)
        VEC one = vec_select(mask_lane(label), vec_splat(scale), vec_splat(0));
        store_piece(piece_of_row(delta, row, 0), e * (vec_splat(scale) / sum) - one);
        sums->largest[i] = largest[0];
        sums->sum[i] = sum[0];
        return;
    }
    sums->largest[i] = largest_of_row(score, row);
    sums->sum[i] = exponentials_of_row(score, row, sums->largest[i], delta);
    VEC factor = vec_splat(scale / sums->sum[i]);
    EACH_PIECE(delta, row) {
        VEC one = vec_select(mask_lane(label - column), vec_splat(scale), vec_splat(0));
        store_piece(piece, load_piece(piece, vec_splat(0)) * factor - one);
    }
}

/* The sum of vectors, a power of two of them, in the order of REDUCE; they are used up. */
INLINE VEC sum_of_vectors(VEC *values, ptrdiff_t count)
{
    ptrdiff_t half = count / 2;
    do {
        for (ptrdiff_t c = 0; c < half; c++)
            values[c] += values[c + half];
        half /= 2;
    } while (half);
    return values[0];
}

/* The same for LANES rows at once of at most one panel, a vector for each column: half the time of row after row at ten
 * columns, a third at three.  Sums run in the same order, so that a row's bits do not depend on its neighbours. */
static void gradient_of_labels(const matrix *score, ptrdiff_t row, const ptrdiff_t *labels, const REAL *scale,
                               const matrix *delta, block_sums *sums, ptrdiff_t first)
{
    VEC z[PANEL_WIDTH], partial[PANEL_WIDTH], weight = vec_load(scale);
    VEC largest = vec_splat(-INFINITY), at_label = vec_splat(0);
    ptrdiff_t columns = score->columns, width = score->last_width;
    MASK label;
    for (ptrdiff_t i = 0; i < LANES; i++)
        label[i] = (INTEGER)labels[i];
    transpose_area(panel_row(score, 0, row), width, (REAL *)z, LANES, LANES, columns);
    for (ptrdiff_t c = 0; c < columns; c++) {
        largest = vec_max(z[c], largest);
        at_label = vec_select(label == mask_splat((INTEGER)c), z[c], at_label);
    }
    for (ptrdiff_t c = 0; c < columns; c++)
        partial[c] = z[c] = vec_exp(z[c] - largest);
    for (ptrdiff_t c = columns; c < width; c++)
        partial[c] = z[c] = vec_splat(0);
    VEC sum = sum_of_vectors(partial, width), factor = weight / sum;
    for (ptrdiff_t c = 0; c < columns; c++)
        z[c] = z[c] * factor - vec_select(label == mask_splat((INTEGER)c), weight, vec_splat(0));
    transpose_area((REAL *)z, LANES, panel_row(delta, 0, row), width, width, LANES);
    vec_store(sums->largest + first, largest);
    vec_store(sums->sum + first, sum);
    vec_store(sums->at_label + first, at_label);
}

/* l = sum_c t_c (log sum_k e^z_k - z_c); delta = scale ((sum_c t_c) softmax(z) - t).  Probability targets. */
INLINE REAL cross_entropy_row(const matrix *score, const matrix *target, ptrdiff_t row, REAL log_sum)
{
    VEC loss = vec_splat(0);
    EACH_PIECE(score, row) {
        VEC t = load_piece(piece_of_row(target, row, column), vec_splat(0));
        loss += t * (vec_splat(log_sum) - load_piece(piece, vec_splat(0)));
    }
    return vec_sum(loss);
}

INLINE void gradient_of_probabilities(const matrix *score, ptrdiff_t row, const matrix *target, REAL scale,
                                      const matrix *delta, block_sums *sums, ptrdiff_t i)
{
    sums->largest[i] = largest_of_row(score, row);
    sums->sum[i] = exponentials_of_row(score, row, sums->largest[i], delta);
    VEC total = vec_splat(0);
    EACH_PIECE(target, row)
        total += load_piece(piece, vec_splat(0));
    VEC factor = vec_splat(scale * vec_sum(total) / sums->sum[i]);
    EACH_PIECE(delta, row)
        store_piece(piece, load_piece(piece, vec_splat(0)) * factor
                    - load_piece(piece_of_row(target, row, column), vec_splat(0)) * vec_splat(scale));
}

INLINE void gradient_of_block(const matrix *score, const target_rows *target, const REAL *scale, const matrix *delta,
                              ptrdiff_t row, ptrdiff_t rows, block_sums *sums)
{
    ptrdiff_t i = 0;
    if (target->labels && score->panels == 1)
        for (; i + LANES <= rows; i += LANES)
            gradient_of_labels(score, row + i, target->labels + row + i, scale + i, delta, sums, i);
    for (; i < rows; i++) {
        if (target->labels)
            gradient_of_label(score, row + i, target->labels[row + i], scale[i], delta, sums, i);
        else
            gradient_of_probabilities(score, row + i, &target->values, scale[i], delta, sums, i);
    }
}

static void softmax_cross_entropy(const matrix *score, const target_rows *target, const void *row_scale, double *losses,
                                  matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    static const REAL no_scale[ROW_BLOCK] = {0};
    block_sums sums;
    for (ptrdiff_t row = first; row < last; row += ROW_BLOCK) {
        ptrdiff_t rows = smaller(ROW_BLOCK, last - row);
        vec_store(sums.sum + (rows - 1) / LANES * LANES, vec_splat(0));
        gradient_of_block(score, target, row_scale ? (const REAL *)row_scale + row : no_scale, delta, row, rows, &sums);
        for (ptrdiff_t i = 0; i < rows; i += LANES)
            vec_store(sums.sum + i, vec_log(vec_load(sums.sum + i)));
        for (ptrdiff_t i = 0; i < rows; i++)
            losses[row + i] = (double)(target->labels ? sums.sum[i] + sums.largest[i] - sums.at_label[i]
                                                      : cross_entropy_row(score, &target->values, row + i,
                                                                          sums.sum[i] + sums.largest[i]));
    }
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

/* Weston and Watkins: l = sum over c != y of max(0, 1 + z_c - z_y). */
INLINE void hinge_row(const matrix *score, ptrdiff_t row, ptrdiff_t label, double *loss, const REAL *scale, matrix *delta)
{
    VEC shift = vec_splat(1 - *element(score, row, label)), sum = vec_splat(0), violations = vec_splat(0);
    EACH_PIECE(score, row) {
        VEC margin = load_piece(piece, vec_splat(-INFINITY)) + shift;
        MASK violated = (margin > vec_splat(0)) & ~mask_lane(label - column);
        VEC one = vec_select(violated, vec_splat(1), vec_splat(0));
        sum += vec_select(violated, margin, vec_splat(0));
        violations += one;
        if (scale)
            store_piece(piece_of_row(delta, row, column), one * vec_splat(*scale));
    }
    *loss = (double)vec_sum(sum);
    if (scale)
        *element(delta, row, label) = -vec_sum(violations) * *scale;
}

static void multiclass_hinge(const matrix *score, const target_rows *target, const void *row_scale, double *losses,
                             matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = row_scale;
    for (ptrdiff_t row = first; row < last; row++)
        hinge_row(score, row, label_of_row(target, row), losses + row, scale ? scale + row : NULL, delta);
}

INLINE void finish_elementwise_rows(const REAL *value, ptrdiff_t width, ptrdiff_t used, ptrdiff_t rows, double *losses,
                                    REAL *gradient, const REAL *scale)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        double sum = 0;
        for (ptrdiff_t c = 0; c < used; c++)
            sum += (double)value[r * width + c];
        losses[r] += sum;
        if (scale == NULL)
            continue;
        for (ptrdiff_t c = 0; c < width; c++)
            gradient[r * width + c] = c < used ? gradient[r * width + c] * scale[r] : 0;
    }
}

/* l = mean over the outputs; row_scale holds the mean's 1/columns already. */
static void elementwise_loss(block_function loss, const matrix *score, const target_rows *target, const void *row_scale,
                             double *losses, matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = row_scale;
    REAL value[ROW_BLOCK * PANEL_WIDTH] ALIGNED, unused[ROW_BLOCK * PANEL_WIDTH] ALIGNED;
    for (ptrdiff_t block = first; block < last; block += ROW_BLOCK) {
        ptrdiff_t rows = smaller(ROW_BLOCK, last - block);
        for (ptrdiff_t i = 0; i < rows; i++)
            losses[block + i] = 0;
        for (ptrdiff_t panel = 0; panel < score->panels; panel++) {
            ptrdiff_t width = width_of_panel(score, panel);
            REAL *gradient = scale ? panel_row(delta, panel, block) : unused;
            void *arrays[] = {panel_row(score, panel, block), panel_row(&target->values, panel, block), value, gradient};
            loss(arrays, rows * width, NULL);
            finish_elementwise_rows(value, width, smaller(width, score->columns - panel * PANEL_WIDTH), rows,
                                    losses + block, gradient, scale ? scale + block : NULL);
        }
        for (ptrdiff_t i = 0; i < rows; i++)
            losses[block + i] /= (double)score->columns;
    }
}

/* 1 where the largest score is at the label. */
static double count_correct(const matrix *score, const target_rows *target, ptrdiff_t row)
{
    return column_of_largest(score, row) == label_of_row(target, row);
}

/* The share of outputs on the right side of zero; targets on that of a half. */
static double count_correct_sides(const matrix *score, const target_rows *target, ptrdiff_t row)
{
    double correct = 0;
    for (ptrdiff_t column = 0; column < score->columns; column++)
        correct += (*element(score, row, column) > 0) == (*element(&target->values, row, column) > (REAL)0.5);
    return correct / (double)score->columns;
}

static void apply(block_function block, const void *scalars, matrix *values, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < values->panels; panel++) {
        REAL *at = panel_row(values, panel, first);
        void *arrays[] = {at, at};
        block(arrays, (last - first) * width_of_panel(values, panel), scalars);
    }
}

#endif
