/* Losses over the rows of the scores, and their links. */
#ifndef FASTGD_ROWWISE_H
#define FASTGD_ROWWISE_H

#include "elementary.h"
#include "panels.h"
#include "row.h"
#include "transpose.h"

/* Rows treated at a time, so that scratch stays in L1. */
#define ROW_BLOCK 16

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
static void softmax(const matrix *score, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row++)
        scale_row(score, row, 1 / exponentials_of_row(score, row, largest_of_row(score, row), score));
}

/* delta = scale (softmax(z) - the label's one); l = log(sum) + distance, the sum that of e^(z - largest), the distance from
 * the label's score to the largest.  A row of one vector stays in registers. */
INLINE void gradient_of_label(const matrix *score, ptrdiff_t row, ptrdiff_t label, REAL scale, const matrix *delta,
                              REAL *row_sum, double *distance)
{
    if (score->columns <= LANES) {
        row_piece piece = piece_of_row(score, row, 0);
        VEC z = load_piece(piece, vec_splat(-INFINITY)), largest = z;
        REDUCE(largest, vec_max, piece.lanes)
        VEC e = vec_exp(z - largest), sum = e;
        REDUCE(sum, vec_add, piece.lanes)
        VEC one = vec_select(mask_lane(label), vec_splat(scale), vec_splat(0));
        store_piece(piece_of_row(delta, row, 0), e * (vec_splat(scale) / sum) - one);
        *row_sum = sum[0];
        *distance = (double)(largest[0] - *element(score, row, label));
        return;
    }
    REAL largest = largest_of_row(score, row);
    *row_sum = exponentials_of_row(score, row, largest, delta);
    *distance = (double)(largest - *element(score, row, label));
    VEC factor = vec_splat(scale / *row_sum);
    EACH_PIECE(delta, row) {
        VEC one = vec_select(mask_lane(label - column), vec_splat(scale), vec_splat(0));
        store_piece(piece, load_piece(piece, vec_splat(0)) * factor - one);
    }
}

/* The sum of count vectors, at least one, used up, in the order in which REDUCE sums the lanes of a panel so wide. */
INLINE VEC sum_of_vectors(VEC *values, ptrdiff_t count, ptrdiff_t width)
{
    for (ptrdiff_t half = width / 2; half; half /= 2)
        for (ptrdiff_t c = 0; c < half && c + half < count; c++)
            values[c] += values[c + half];
    return values[0];
}

/* The same for LANES rows at once of at most one panel, a vector for each column: half the time of row after row at ten
 * columns, a third at three.  Sums run in the same order, so that a row's bits do not depend on its neighbours.
 * Returns what is finite if the losses will be. */
static VEC gradient_of_labels(const matrix *score, ptrdiff_t row, const ptrdiff_t *labels, const REAL *scale,
                              const matrix *delta, REAL *row_sums, double *distances)
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
    partial[0] = z[0] = vec_exp(z[0] - largest);
    for (ptrdiff_t c = 1; c < columns; c++)
        partial[c] = z[c] = vec_exp(z[c] - largest);
    VEC sum = sum_of_vectors(partial, columns, width), factor = weight / sum;
    for (ptrdiff_t c = 0; c < width; c++) {
        VEC one = vec_select(label == mask_splat((INTEGER)c), weight, vec_splat(0));
        z[c] = c < columns ? z[c] * factor - one : vec_splat(0);
    }
    transpose_area((REAL *)z, LANES, panel_row(delta, 0, row), width, width, LANES);
    VEC distance = largest - at_label;
    vec_store(row_sums, sum);
    for (ptrdiff_t i = 0; i < LANES; i++)
        distances[i] = (double)distance[i];
    return sum + distance;
}

/* l = sum_c t_c (log sum_k e^z_k - z_c); delta = scale ((sum_c t_c) softmax(z) - t).  Probability targets. */
INLINE double gradient_of_probabilities(const matrix *score, ptrdiff_t row, const matrix *target, REAL scale,
                                        const matrix *delta)
{
    REAL largest = largest_of_row(score, row), sum = exponentials_of_row(score, row, largest, delta);
    VEC log_sum = vec_log(vec_splat(sum)) + vec_splat(largest), loss = vec_splat(0), total = vec_splat(0);
    EACH_PIECE(target, row) {
        VEC t = load_piece(piece, vec_splat(0));
        total += t;
        loss += t * (log_sum - load_piece(piece_of_row(score, row, column), vec_splat(0)));
    }
    VEC factor = vec_splat(scale * vec_sum(total) / sum);
    EACH_PIECE(delta, row)
        store_piece(piece, load_piece(piece, vec_splat(0)) * factor
                    - load_piece(piece_of_row(target, row, column), vec_splat(0)) * vec_splat(scale));
    return (double)vec_sum(loss);
}

/* The gradients, and the losses but for the logarithms of row_sums: nothing on the way to the next step waits for these,
 * so they are best taken when there is time (a sixth of a step at 4-16-3, batch 1).  Returns whether all losses will be
 * finite: they are where row_sums and distances are. */
static int softmax_gradient(const matrix *score, const target_rows *target, const REAL *scale, REAL *row_sums,
                            double *losses, const matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    static const REAL no_scale[LANES] = {0};
    VEC probe = vec_splat(0);
    double rest = 0;
    ptrdiff_t row = first;
    if (target->labels && score->panels == 1)
        for (; row + LANES <= last; row += LANES)
            probe = vec_finite_probe(probe, gradient_of_labels(score, row, target->labels + row,
                                                               scale ? scale + row : no_scale, delta, row_sums + row,
                                                               losses + row));
    for (; row < last; row++) {
        REAL weight = scale ? scale[row] : 0;
        if (target->labels) {
            gradient_of_label(score, row, target->labels[row], weight, delta, row_sums + row, losses + row);
        } else {
            row_sums[row] = 1;
            losses[row] = gradient_of_probabilities(score, row, &target->values, weight, delta);
        }
        rest += losses[row] + (double)row_sums[row];
    }
    return isfinite(rest) && !vec_has_nan(probe);
}

/* losses += log(row_sums) */
static void add_logarithms(const REAL *row_sums, double *losses, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row += LANES) {
        ptrdiff_t count = smaller(LANES, last - row);
        VEC log_sum = vec_log(vec_load_lanes(row_sums + row, count));
        for (ptrdiff_t i = 0; i < count; i++)
            losses[row + i] += (double)log_sum[i];
    }
}

static void softmax_cross_entropy(const matrix *score, const target_rows *target, const void *row_scale, void *row_sums,
                                  double *losses, matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    softmax_gradient(score, target, row_scale, row_sums, losses, delta, first, last);
    add_logarithms(row_sums, losses, first, last);
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
static void elementwise_loss(block_function loss, const void *loss_scalars, const matrix *score,
                             const target_rows *target, const void *row_scale, double *losses, matrix *delta,
                             ptrdiff_t first, ptrdiff_t last)
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
            loss(arrays, rows * width, loss_scalars);
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

static void apply(block_function block, const void *scalars, const matrix *values, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < values->panels; panel++) {
        REAL *at = panel_row(values, panel, first);
        void *arrays[] = {at, at};
        block(arrays, (last - first) * width_of_panel(values, panel), scalars);
    }
}

#endif
