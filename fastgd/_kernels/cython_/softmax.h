/* Softmax and the cross-entropies behind it. */
#ifndef FASTGD_SOFTMAX_H
#define FASTGD_SOFTMAX_H

#include "elementary.h"
#include "row.h"
#include "transpose.h"

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

/* softmax in place: e^(z - max) / sum */
static void softmax(const matrix *score, ptrdiff_t outputs_per_target, ptrdiff_t first, ptrdiff_t last)
{
    (void)outputs_per_target;
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

/* What a loss makes of the target t of a class c: u_c = weight_c (keep t_c + floor). */
typedef struct {
    REAL keep, floor;
    const REAL *weights;                        /* of the classes; NULL: all 1 */
} mixture;

static const mixture unmixed = {1, 0, NULL};

/* smoothing and the weights of the classes, as they lie among a loss's scalars. */
INLINE mixture mixture_of(const REAL *scalars, ptrdiff_t classes)
{
    return (mixture){1 - scalars[0], scalars[0] / (REAL)classes, scalars + 1};
}

INLINE VEC mixed_targets(const target_rows *target, mixture mix, ptrdiff_t row, ptrdiff_t column, ptrdiff_t used)
{
    VEC one = vec_splat(1), none = vec_splat(0), t, weight = one;
    if (target->labels)
        t = vec_select(mask_lane(target->labels[row] - column), one, none);
    else
        t = load_piece(piece_of_row(&target->values, row, column), none);
    if (mix.weights)
        weight = vec_load_lanes(mix.weights + column, used);
    t = weight * (t * vec_splat(mix.keep) + vec_splat(mix.floor));
    return used == LANES ? t : vec_select(mask_first(used), t, none);
}

/* l = sum_c u_c (log sum_k e^z_k - z_c); delta = scale ((sum_c u_c) softmax(z) - u). */
INLINE double gradient_of_mixture(const matrix *score, ptrdiff_t row, const target_rows *target, mixture mix, REAL scale,
                                  const matrix *delta)
{
    REAL largest = largest_of_row(score, row), sum = exponentials_of_row(score, row, largest, delta);
    VEC log_sum = vec_log(vec_splat(sum)) + vec_splat(largest), loss = vec_splat(0), total = vec_splat(0);
    EACH_PIECE(score, row) {
        VEC u = mixed_targets(target, mix, row, column, piece.used);
        total += u;
        loss += u * (log_sum - load_piece(piece, vec_splat(0)));
    }
    VEC factor = vec_splat(scale * vec_sum(total) / sum);
    EACH_PIECE(delta, row)
        store_piece(piece, load_piece(piece, vec_splat(0)) * factor
                    - mixed_targets(target, mix, row, column, piece.used) * vec_splat(scale));
    return (double)vec_sum(loss);
}

/* The gradients, and the losses but for the logarithms of row_sums: nothing on the way to the next step waits for these,
 * so they are best taken when there is time (a sixth of a step at 4-16-3, batch 1).  Returns whether all losses will be
 * finite: they are where row_sums and distances are. */
static int softmax_gradient(const scored_rows *rows, ptrdiff_t first, ptrdiff_t last)
{
    static const REAL no_scale[LANES] = {0};
    const matrix *score = rows->score, *delta = rows->delta;
    const target_rows *target = rows->target;
    const REAL *scale = rows->row_scale;
    REAL *row_sums = rows->row_sums;
    double *losses = rows->losses;
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
            losses[row] = gradient_of_mixture(score, row, target, unmixed, weight, delta);
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

/* With other parameters than the defaults: label_smoothing, and a weight for each class. */
static void mixed_cross_entropy(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = rows->row_scale;
    mixture mix = mixture_of(scalars, rows->score->columns);
    for (ptrdiff_t row = first; row < last; row++)
        rows->losses[row] = gradient_of_mixture(rows->score, row, rows->target, mix, scale ? scale[row] : 0, rows->delta);
}

/* Less the entropy of the targets: t log t. */
static void kl_divergence(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = rows->row_scale;
    (void)scalars;
    for (ptrdiff_t row = first; row < last; row++) {
        VEC sum = vec_splat(0);
        EACH_PIECE(rows->score, row) {
            VEC t = mixed_targets(rows->target, unmixed, row, column, piece.used);
            sum += t * vec_log(vec_select(t > vec_splat(0), t, vec_splat(1)));
        }
        rows->losses[row] = (double)vec_sum(sum)
            + gradient_of_mixture(rows->score, row, rows->target, unmixed, scale ? scale[row] : 0, rows->delta);
    }
}

/* A row for the focal loss.  The probability of the likeliest class is 1 / (1 + others), and what it lacks of 1 is
 * others / (1 + others): a difference from 1 would have lost its digits just where gamma's power is taken of it. */
typedef struct {
    REAL largest, others;
    ptrdiff_t likeliest;
} focal_row;

typedef struct {
    VEC probability, complement, weight, slope; /* slope: p df/dp for the loss f of a class */
    VEC loss;
} focal_terms;

INLINE focal_row focal_row_of(const matrix *score, ptrdiff_t row)
{
    focal_row of = {.likeliest = column_of_largest(score, row)};
    VEC others = vec_splat(0);
    of.largest = *element(score, row, of.likeliest);
    EACH_PIECE(score, row) {
        VEC e = vec_exp(load_piece(piece, vec_splat(-INFINITY)) - vec_splat(of.largest));
        others += vec_select(mask_lane(of.likeliest - column), vec_splat(0), e);
    }
    of.others = vec_sum(others);
    return of;
}

/* f = -u q^gamma log p, p df/dp = u q^gamma (gamma p log p / q - 1), with q = 1 - p. */
INLINE focal_terms focal_terms_of(focal_row of, VEC z, VEC u, ptrdiff_t column, REAL gamma)
{
    MASK likeliest = mask_lane(of.likeliest - column);
    VEC one = vec_splat(1), total = one + vec_splat(of.others), shifted = z - vec_splat(of.largest);
    VEC p = vec_exp(shifted) / total, q = vec_select(likeliest, vec_splat(of.others), total - vec_exp(shifted)) / total;
    VEC log_p = shifted - vec_log1p(vec_splat(of.others)), some = vec_max(q, vec_splat(SMALLEST_NORMAL));
    VEC weight = u * vec_exp(vec_splat(gamma) * vec_log(some));
    return (focal_terms){p, q, weight, weight * (vec_splat(gamma) * p * log_p / some - one), -weight * log_p};
}

static void focal_loss_of_row(const scored_rows *rows, ptrdiff_t row, REAL gamma, mixture mix)
{
    const REAL *scale = rows->row_scale;
    focal_row of = focal_row_of(rows->score, row);
    VEC loss = vec_splat(0), slopes = vec_splat(0);
    EACH_PIECE(rows->score, row) {
        VEC u = mixed_targets(rows->target, mix, row, column, piece.used);
        focal_terms at = focal_terms_of(of, load_piece(piece, vec_splat(of.largest)), u, column, gamma);
        loss += at.loss;
        slopes += at.slope;
    }
    rows->losses[row] = (double)vec_sum(loss);
    if (scale == NULL)
        return;
    VEC all = vec_splat(vec_sum(slopes));
    EACH_PIECE(rows->score, row) {
        VEC u = mixed_targets(rows->target, mix, row, column, piece.used);
        focal_terms at = focal_terms_of(of, load_piece(piece, vec_splat(of.largest)), u, column, gamma);
        VEC gradient = at.slope * at.complement - at.probability * (all - at.slope);
        store_piece(piece_of_row(rows->delta, row, column), gradient * vec_splat(scale[row]));
    }
}

static void softmax_focal_cross_entropy(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *given = scalars;
    mixture mix = mixture_of(given + 1, rows->score->columns);
    for (ptrdiff_t row = first; row < last; row++)
        focal_loss_of_row(rows, row, given[0], mix);
}

#endif
