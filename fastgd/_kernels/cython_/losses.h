/* The losses, and the links, what is correct, that go with them. */
#ifndef FASTGD_LOSSES_H
#define FASTGD_LOSSES_H

#include "comparisons.h"
#include "softmax.h"

/* Rows treated at a time, so that scratch stays in L1. */
#define ROW_BLOCK 16

/* The functions of elementary.h of one number. */
INLINE REAL exp_of(REAL x) { return vec_exp(vec_splat(x))[0]; }
INLINE REAL softplus_of(REAL x) { return (x > 0 ? x : 0) + vec_log1p(vec_exp(-vec_abs(vec_splat(x))))[0]; }
INLINE REAL sigmoid_of(REAL x)
{
    REAL e = exp_of(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
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
static void elementwise_loss(const loss_plan *loss, const scored_rows *scored, ptrdiff_t first, ptrdiff_t last)
{
    const matrix *score = scored->score;
    const REAL *scale = scored->row_scale;
    double *losses = scored->losses;
    REAL value[ROW_BLOCK * PANEL_WIDTH] ALIGNED, unused[ROW_BLOCK * PANEL_WIDTH] ALIGNED;
    for (ptrdiff_t block = first; block < last; block += ROW_BLOCK) {
        ptrdiff_t rows = smaller(ROW_BLOCK, last - block);
        for (ptrdiff_t i = 0; i < rows; i++)
            losses[block + i] = 0;
        for (ptrdiff_t panel = 0; panel < score->panels; panel++) {
            ptrdiff_t width = width_of_panel(score, panel);
            REAL *gradient = scale ? panel_row(scored->delta, panel, block) : unused;
            void *arrays[] = {panel_row(score, panel, block), panel_row(&scored->target->values, panel, block), value, gradient};
            loss->elementwise(arrays, rows * width, loss->scalars);
            finish_elementwise_rows(value, width, smaller(width, score->columns - panel * PANEL_WIDTH), rows,
                                    losses + block, gradient, scale ? scale + block : NULL);
        }
        for (ptrdiff_t i = 0; i < rows; i++)
            losses[block + i] /= (double)score->columns;
    }
}

/* What a hinge makes of a margin that is violated: itself or its square; and the derivative. */
INLINE VEC hinge_value(VEC margin, int squared) { return squared ? margin * margin : margin; }
INLINE VEC hinge_slope(VEC margin, int squared) { return squared ? margin + margin : vec_splat(1); }

/* The wrong class of the largest score: the first one where several are equal. */
static ptrdiff_t nearest_wrong_class(const matrix *score, ptrdiff_t row, ptrdiff_t label)
{
    ptrdiff_t best = label == 0;
    for (ptrdiff_t column = best + 1; column < score->columns; column++)
        if (column != label && *element(score, row, column) > *element(score, row, best))
            best = column;
    return best;
}

/* Which lanes count: all wrong classes (Weston and Watkins), or the nearest one (Crammer and Singer). */
INLINE double hinge_of_row(const scored_rows *rows, ptrdiff_t row, ptrdiff_t label, ptrdiff_t nearest, int squared)
{
    const REAL *scale = rows->row_scale;
    VEC shift = vec_splat(1 - *element(rows->score, row, label)), sum = vec_splat(0), slopes = vec_splat(0);
    EACH_PIECE(rows->score, row) {
        VEC margin = load_piece(piece, vec_splat(-INFINITY)) + shift;
        /* Not "above zero": a NaN must not be hidden. */
        MASK counts = ~(margin <= vec_splat(0)) & (nearest < 0 ? ~mask_lane(label - column) : mask_lane(nearest - column));
        VEC slope = vec_select(counts, hinge_slope(margin, squared), vec_splat(0));
        sum += vec_select(counts, hinge_value(margin, squared), vec_splat(0));
        slopes += slope;
        if (scale)
            store_piece(piece_of_row(rows->delta, row, column), slope * vec_splat(scale[row]));
    }
    if (scale)
        *element(rows->delta, row, label) = -vec_sum(slopes) * scale[row];
    return (double)vec_sum(sum);
}

static void multiclass_hinge(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *given = scalars;
    int crammer_singer = given[0] != 0, squared = given[1] != 0;
    for (ptrdiff_t row = first; row < last; row++) {
        ptrdiff_t label = label_of_row(rows->target, row);
        ptrdiff_t nearest = crammer_singer ? nearest_wrong_class(rows->score, row, label) : -1;
        rows->losses[row] = hinge_of_row(rows, row, label, nearest, squared);
    }
}

/* Up to LANES targets of a row with their means and logarithms of variances, which are neighbours. */
INLINE VEC gaussian_nll_of_targets(const scored_rows *rows, ptrdiff_t row, ptrdiff_t first, ptrdiff_t count, REAL scale)
{
    REAL mean[LANES] = {0}, log_variance[LANES] = {0}, target[LANES] = {0};
    for (ptrdiff_t i = 0; i < count; i++) {
        mean[i] = *element(rows->score, row, 2 * (first + i));
        log_variance[i] = *element(rows->score, row, 2 * (first + i) + 1);
        target[i] = *element(&rows->target->values, row, first + i);
    }
    VEC half = vec_splat((REAL)0.5), s = vec_load(log_variance), error = vec_load(mean) - vec_load(target);
    VEC precision = vec_exp(-half * s), distance = error * precision;
    VEC of_mean = distance * precision;
    /* No error is none, however infinite the precision. */
    MASK none = error == vec_splat(0);
    distance = vec_select(none, error, distance);
    of_mean = vec_select(none, error, of_mean);
    VEC of_variance = half - half * distance * distance;
    for (ptrdiff_t i = 0; rows->row_scale && i < count; i++) {
        *element(rows->delta, row, 2 * (first + i)) = of_mean[i] * scale;
        *element(rows->delta, row, 2 * (first + i) + 1) = of_variance[i] * scale;
    }
    return half * s + half * distance * distance;
}

static void gaussian_nll(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = rows->row_scale;
    ptrdiff_t targets = rows->target->values.columns;
    (void)scalars;
    for (ptrdiff_t row = first; row < last; row++) {
        VEC sum = vec_splat(0);
        for (ptrdiff_t k = 0; k < targets; k += LANES)
            sum += gaussian_nll_of_targets(rows, row, k, smaller(LANES, targets - k), scale ? scale[row] / (REAL)targets : 0);
        rows->losses[row] = (double)vec_sum(sum) / (double)targets;
    }
}

/* A row's length as largest * root, of which neither overflows where the product does. */
typedef struct {
    REAL largest, root;
} row_length;

INLINE row_length length_of_row(const matrix *m, ptrdiff_t row)
{
    VEC largest = vec_splat(0), sum = vec_splat(0);
    EACH_PIECE(m, row)
        largest = vec_max(vec_abs(load_piece(piece, vec_splat(0))), largest);
    row_length length = {vec_largest(largest), 1};
    if (length.largest == 0)
        return length;
    EACH_PIECE(m, row) {
        VEC share = load_piece(piece, vec_splat(0)) / vec_splat(length.largest);
        sum += share * share;
    }
    length.root = vec_sqrt(vec_splat(vec_sum(sum)))[0];
    return length;
}

INLINE VEC unit_piece(row_piece piece, row_length length)
{
    return load_piece(piece, vec_splat(0)) / vec_splat(length.largest) / vec_splat(length.root);
}

/* 1 - cos is half the squared distance of the two unit vectors, which has all its digits where they are near. */
static void cosine_similarity_of_row(const scored_rows *rows, ptrdiff_t row)
{
    const REAL *scale = rows->row_scale;
    const matrix *target = &rows->target->values;
    row_length of_score = length_of_row(rows->score, row), of_target = length_of_row(target, row);
    VEC sum = vec_splat(0);
    if (of_score.largest == 0) {
        /* Zeros have no direction; the sum is theirs, or that of NaNs, which must not be hidden. */
        EACH_PIECE(rows->score, row)
            sum += load_piece(piece, vec_splat(0));
        rows->losses[row] = 1 + (double)vec_sum(sum);
        if (scale)
            EACH_PIECE(rows->delta, row)
                store_piece(piece, vec_splat(0));
        return;
    }
    EACH_PIECE(rows->score, row) {
        VEC difference = unit_piece(piece, of_score) - unit_piece(piece_of_row(target, row, column), of_target);
        sum += difference * difference;
    }
    REAL loss = vec_sum(sum) / 2;
    rows->losses[row] = (double)loss;
    if (scale == NULL)
        return;
    EACH_PIECE(rows->score, row) {
        VEC unit = unit_piece(piece, of_score), other = unit_piece(piece_of_row(target, row, column), of_target);
        VEC gradient = (unit - other - vec_splat(loss) * unit) / vec_splat(of_score.largest) / vec_splat(of_score.root);
        store_piece(piece_of_row(rows->delta, row, column), gradient * vec_splat(scale[row]));
    }
}

static void cosine_similarity(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    (void)scalars;
    for (ptrdiff_t row = first; row < last; row++)
        cosine_similarity_of_row(rows, row);
}

/* The quantiles of one target are its neighbouring scores; if they must not cross, each but the first is the one before
 * plus softplus of its score, and a score moves all from its own on. */
static double quantiles_of_target(const scored_rows *rows, ptrdiff_t row, ptrdiff_t k, const REAL *levels, ptrdiff_t count,
                                  int increasing, REAL scale)
{
    double sum = 0;
    REAL quantile = 0, target = *element(&rows->target->values, row, k), moved = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        REAL score = *element(rows->score, row, k * count + i);
        quantile = increasing && i > 0 ? quantile + softplus_of(score) : score;
        REAL error = quantile - target, slope = error > 0 ? 1 - levels[i] : error < 0 ? -levels[i] : error;
        sum += (double)(slope * error);
        if (rows->row_scale)
            *element(rows->delta, row, k * count + i) = slope * scale;
    }
    for (ptrdiff_t i = count - 1; rows->row_scale && increasing && i >= 0; i--) {
        REAL *delta = element(rows->delta, row, k * count + i);
        moved += *delta;
        *delta = i > 0 ? moved * sigmoid_of(*element(rows->score, row, k * count + i)) : moved;
    }
    return sum;
}

static void quantiles(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *given = scalars, *scale = rows->row_scale;
    ptrdiff_t columns = rows->score->columns, targets = rows->target->values.columns;
    for (ptrdiff_t row = first; row < last; row++) {
        double sum = 0;
        for (ptrdiff_t k = 0; k < targets; k++)
            sum += quantiles_of_target(rows, row, k, given + 1, columns / targets, given[0] != 0,
                                       scale ? scale[row] / (REAL)columns : 0);
        rows->losses[row] = sum / (double)columns;
    }
}

static const named_row_loss row_losses[] = {
    {"softmax_cross_entropy", mixed_cross_entropy},
    {"softmax_focal_cross_entropy", softmax_focal_cross_entropy},
    {"kl_divergence", kl_divergence},
    {"multiclass_hinge", multiclass_hinge},
    {"gaussian_nll", gaussian_nll},
    {"cosine_similarity", cosine_similarity},
    {"quantiles", quantiles},
    {"contrastive", contrastive},
    {"triplet", triplet},
};

/* A user's own loss: each row is copied out of the panels, and its gradient back in. */
static void own_losses(const loss_plan *loss, const scored_rows *rows, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *scale = rows->row_scale;
    const matrix *values = &rows->target->values;
    ptrdiff_t columns = rows->score->columns, targets = loss->own_takes_labels ? 0 : values->columns;
    REAL scores[columns], gradient[columns], target[targets + 1];
    for (ptrdiff_t row = first; row < last; row++) {
        ptrdiff_t label = loss->own_takes_labels ? label_of_row(rows->target, row) : -1;
        for (ptrdiff_t c = 0; c < columns; c++) {
            scores[c] = *element(rows->score, row, c);
            gradient[c] = 0;
        }
        for (ptrdiff_t c = 0; c < targets; c++)
            target[c] = *element(values, row, c);
        rows->losses[row] = loss->own(scores, target, label, gradient, columns, targets, loss->scalars);
        for (ptrdiff_t panel = 0; scale && panel < rows->delta->panels; panel++)
            for (ptrdiff_t c = 0; c < width_of_panel(rows->delta, panel); c++) {
                ptrdiff_t column = panel * PANEL_WIDTH + c;
                panel_row(rows->delta, panel, row)[c] = column < columns ? gradient[column] * scale[row] : 0;
            }
    }
}

/* A row without weight counts for nothing, also where its loss is infinite: zero times that would be NaN. */
static void clear_weightless_rows(const scored_rows *rows, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row++) {
        if (rows->row_weights[row] != 0)
            continue;
        rows->losses[row] = 0;
        if (rows->row_scale)
            EACH_PIECE(rows->delta, row)
                store_piece(piece, vec_splat(0));
    }
}

/* Losses and gradient of rows first .. last-1. */
static void loss_gradient(const loss_plan *loss, const scored_rows *rows, ptrdiff_t first, ptrdiff_t last)
{
    if (loss->kind == ELEMENTWISE) {
        elementwise_loss(loss, rows, first, last);
    } else if (loss->kind == ROWWISE) {
        loss->rowwise(rows, loss->scalars, first, last);
    } else if (loss->kind == OWN_ROWWISE) {
        own_losses(loss, rows, first, last);
    } else {
        softmax_gradient(rows, first, last);
        add_logarithms(rows->row_sums, rows->losses, first, last);
    }
    if (rows->weighted)
        clear_weightless_rows(rows, first, last);
}

/* Links that take several scores at a time: a mean and the logarithm of a variance, which its exponential replaces. */
static void mean_and_variance(const matrix *score, ptrdiff_t outputs_per_target, ptrdiff_t first, ptrdiff_t last)
{
    MASK odd = (lane_numbers() & mask_splat(1)) == mask_splat(1);
    (void)outputs_per_target;
    for (ptrdiff_t row = first; row < last; row++)
        EACH_PIECE(score, row) {
            VEC v = load_piece(piece, vec_splat(0));
            store_piece(piece, vec_select(odd, vec_exp(v), v));
        }
}

static void increasing(const matrix *score, ptrdiff_t outputs_per_target, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row++)
        for (ptrdiff_t column = 1; column < score->columns; column++)
            if (column % outputs_per_target)
                *element(score, row, column) = *element(score, row, column - 1) + softplus_of(*element(score, row, column));
}

static const named_row_link row_links[] = {
    {"softmax", softmax},
    {"mean_and_variance", mean_and_variance},
    {"increasing", increasing},
};

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
