/* Losses that compare each row of a batch, the anchor, with the others, by the Euclidean distances of their scores. */
#ifndef FASTGD_COMPARISONS_H
#define FASTGD_COMPARISONS_H

#include <float.h>

#include "row.h"

/* Below its square, squares lose digits to numbers that are no longer normal. */
#define SMALLEST_ROOT (sizeof(REAL) == sizeof(float) ? (REAL)0x1p-33 : (REAL)0x1p-481)
#define LARGEST (sizeof(REAL) == sizeof(float) ? (REAL)FLT_MAX : (REAL)DBL_MAX)

/* What an anchor is told of every row of the batch, and what it gives back.  A row's share is its weight over that of all
 * rows that count for the same; that of the anchor itself is 0, and so is the share of rows beyond the last, up to whole
 * vectors.  Scores and their gradient lie column by column, so that a vector holds as many other rows as it has lanes,
 * and no sum runs within one. */
typedef struct {
    const scored_rows *rows;
    ptrdiff_t row, padded;
    REAL *distance, *share;
    REAL *slope;                /* of the anchor's loss, by each distance */
    REAL *score, *gradient;     /* (columns, padded) */
} anchor;

typedef double (*anchored_loss)(const anchor *at, const REAL *parameters);

/* The elements of a row of differences, of both rows times a factor, which keeps them from overflowing. */
INLINE VEC difference_piece(const matrix *score, row_piece piece, ptrdiff_t other, ptrdiff_t column, REAL factor)
{
    VEC zero = vec_splat(0), times = vec_splat(factor);
    return load_piece(piece, zero) * times - load_piece(piece_of_row(score, other, column), zero) * times;
}

/* Where the sum of squares overflows, or loses digits below the smallest normal number, the largest is taken out.  What is
 * beyond every number is the largest of them: two such distances have a difference. */
static REAL scaled_distance(const matrix *score, ptrdiff_t row, ptrdiff_t other, REAL factor)
{
    VEC largest = vec_splat(0), sum = vec_splat(0);
    EACH_PIECE(score, row)
        largest = vec_max(vec_abs(difference_piece(score, piece, other, column, factor)), largest);
    REAL most = vec_largest(largest);
    if (most == 0)
        return 0;
    EACH_PIECE(score, row) {
        VEC part = difference_piece(score, piece, other, column, factor) / vec_splat(most);
        sum += part * part;
    }
    REAL distance = most * (vec_sqrt(vec_splat(vec_sum(sum)))[0] / factor);
    return distance > LARGEST ? LARGEST : distance;
}

/* The differences in one column of the anchor and of a vector of rows from `other` on. */
INLINE VEC differences(const anchor *at, ptrdiff_t column, ptrdiff_t other)
{
    const REAL *of_column = at->score + column * at->padded;
    return vec_splat(of_column[at->row]) - vec_load(of_column + other);
}

/* Returns 0; or NaN if any score of the batch is none, or infinite, which comparisons would hide. */
static double measure(const anchor *at)
{
    const matrix *score = at->rows->score;
    REAL *distance = at->distance;
    double doubt = 0;
    for (ptrdiff_t other = 0; other < at->padded; other += LANES) {
        VEC sum = vec_splat(0);
        for (ptrdiff_t column = 0; column < score->columns; column++) {
            VEC difference = differences(at, column, other);
            sum += difference * difference;
        }
        vec_store(distance + other, vec_sqrt(sum));
    }
    for (ptrdiff_t other = 0; other < at->rows->count; other++) {
        if (other != at->row && distance[other] < SMALLEST_ROOT)
            distance[other] = scaled_distance(score, at->row, other, 1);
        if (distance[other] > LARGEST)
            distance[other] = scaled_distance(score, at->row, other, (REAL)0.5);
        doubt += 0 * (double)distance[other];
    }
    return doubt;
}

INLINE int is_same(const anchor *at, ptrdiff_t other)
{
    return at->rows->target->labels[other] == at->rows->target->labels[at->row];
}

/* Weights of the others, of those that are the same and of those that are not; each share is still a weight. */
static void weigh(const anchor *at, double *same, double *different)
{
    *same = *different = 0;
    for (ptrdiff_t other = 0; other < at->rows->count; other++)
        if (other != at->row)
            *(is_same(at, other) ? same : different) += at->rows->row_weights[other];
}

static void divide_shares(const anchor *at, double of_same, double of_different)
{
    for (ptrdiff_t other = 0; other < at->rows->count; other++) {
        double total = is_same(at, other) ? of_same : of_different;
        at->share[other] = other == at->row || total == 0 ? 0 : (REAL)(at->rows->row_weights[other] / total);
    }
}

/* The mean over the others of d^2 / 2 for the same and max(0, margin - d)^2 / 2 for different ones. */
static double contrastive_of_anchor(const anchor *at, const REAL *parameters)
{
    double same, different, sum = 0;
    weigh(at, &same, &different);
    divide_shares(at, same + different, same + different);
    for (ptrdiff_t other = 0; other < at->rows->count; other++) {
        REAL distance = at->distance[other], pull = distance;
        if (!is_same(at, other))
            pull = distance >= parameters[0] ? 0 : distance - parameters[0];
        at->slope[other] = at->share[other] == 0 ? 0 : at->share[other] * pull;
        sum += at->share[other] == 0 ? 0 : (double)(at->share[other] * (pull * pull / 2));
    }
    return sum;
}

/* One row that is the same, of some share, against all the different ones. */
static double triplets_of_pair(const anchor *at, ptrdiff_t same, REAL share, REAL margin)
{
    VEC sum = vec_splat(0), count = vec_splat(0), limit = vec_splat(margin + at->distance[same]);
    for (ptrdiff_t other = 0; other < at->padded; other += LANES) {
        VEC violation = limit - vec_load(at->distance + other);
        /* Not "above zero": a NaN must not be hidden. */
        MASK counts = ~(violation <= vec_splat(0));
        VEC weight = vec_select(counts, vec_load(at->share + other), vec_splat(0));
        sum += weight * vec_select(counts, violation, vec_splat(0));
        count += weight;
        vec_store(at->slope + other, vec_load(at->slope + other) - vec_splat(share) * weight);
    }
    at->slope[same] += share * vec_sum(count);
    return (double)(share * vec_sum(sum));
}

static double all_triplets(const anchor *at, REAL margin, double same)
{
    double sum = 0;
    for (ptrdiff_t other = 0; other < at->rows->count; other++)
        if (other != at->row && is_same(at, other) && at->rows->row_weights[other] > 0)
            sum += triplets_of_pair(at, other, (REAL)(at->rows->row_weights[other] / same), margin);
    return sum;
}

/* The farthest row that is the same and the nearest that is not: the first ones where several are as far. */
static double hardest_triplet(const anchor *at, REAL margin)
{
    ptrdiff_t farthest = -1, nearest = -1;
    for (ptrdiff_t other = 0; other < at->rows->count; other++) {
        if (other == at->row || at->rows->row_weights[other] == 0)
            continue;
        if (is_same(at, other))
            farthest = farthest < 0 || at->distance[other] > at->distance[farthest] ? other : farthest;
        else
            nearest = nearest < 0 || at->distance[other] < at->distance[nearest] ? other : nearest;
    }
    REAL violation = margin + at->distance[farthest] - at->distance[nearest];
    if (violation <= 0)
        return 0;
    at->slope[farthest] = 1;
    at->slope[nearest] = -1;
    return (double)violation;
}

/* The mean of max(0, margin + distance to one that is the same - distance to one that is not). */
static double triplet_of_anchor(const anchor *at, const REAL *parameters)
{
    double same, different;
    weigh(at, &same, &different);
    for (ptrdiff_t other = 0; other < at->padded; other++)
        at->slope[other] = 0;
    if (same == 0 || different == 0)
        return 0;
    if (parameters[1] != 0)
        return hardest_triplet(at, parameters[0]);
    divide_shares(at, 0, different);
    return all_triplets(at, parameters[0], same);
}

/* Each distance moves two rows, away from each other; rows in one place stay there.  Slopes become factors of differences. */
static void pass_on(const anchor *at, REAL scale)
{
    VEC zero = vec_splat(0);
    for (ptrdiff_t other = 0; other < at->padded; other += LANES) {
        VEC distance = vec_load(at->distance + other), factor = vec_load(at->slope + other) * vec_splat(scale) / distance;
        factor = vec_select(distance == zero, zero, vec_max(vec_min(factor, vec_splat(LARGEST)), vec_splat(-LARGEST)));
        vec_store(at->slope + other, factor);
    }
    for (ptrdiff_t column = 0; column < at->rows->score->columns; column++) {
        REAL *gradient = at->gradient + column * at->padded;
        VEC sum = zero;
        for (ptrdiff_t other = 0; other < at->padded; other += LANES) {
            VEC factor = vec_load(at->slope + other), force = differences(at, column, other) * factor;
            /* What does not count must not be infinite. */
            force = vec_select(factor == zero, zero, force);
            sum += force;
            vec_store(gradient + other, vec_load(gradient + other) - force);
        }
        gradient[at->row] += vec_sum(sum);
    }
}

/* The scores column by column; beyond the last row zeros, as shares, slopes and gradients are. */
static void lay_out(const anchor *at)
{
    ptrdiff_t columns = at->rows->score->columns, count = at->rows->count;
    for (ptrdiff_t other = count; other < at->padded; other++)
        at->share[other] = at->slope[other] = 0;
    for (ptrdiff_t column = 0; column < columns; column++)
        for (ptrdiff_t row = 0; row < at->padded; row++) {
            at->score[column * at->padded + row] = row < count ? *element(at->rows->score, row, column) : 0;
            at->gradient[column * at->padded + row] = 0;
        }
}

static void give_gradient(const anchor *at)
{
    for (ptrdiff_t row = 0; row < at->rows->count; row++) {
        EACH_PIECE(at->rows->delta, row)
            store_piece(piece, vec_splat(0));
        for (ptrdiff_t column = 0; column < at->rows->score->columns; column++)
            *element(at->rows->delta, row, column) = at->gradient[column * at->padded + row];
    }
}

/* first .. last-1 are all rows of the batch, or none: an anchor's loss moves every row. */
static void compare_rows(const scored_rows *rows, const REAL *parameters, ptrdiff_t first, ptrdiff_t last,
                         anchored_loss loss_of_anchor)
{
    const REAL *scale = rows->row_scale;
    ptrdiff_t padded = (rows->count + LANES - 1) / LANES * LANES;
    REAL *scratch = rows->scratch;
    anchor at = {rows, first, padded, scratch, scratch + padded, scratch + 2 * padded, scratch + 3 * padded,
                 scratch + (3 + rows->score->columns) * padded};
    if (first == last)
        return;
    lay_out(&at);
    for (; at.row < last; at.row++) {
        double doubt = measure(&at);
        rows->losses[at.row] = doubt + (rows->row_weights[at.row] > 0 ? loss_of_anchor(&at, parameters) : 0);
        if (scale && rows->row_weights[at.row] > 0)
            pass_on(&at, scale[at.row]);
    }
    if (scale)
        give_gradient(&at);
}

static void contrastive(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    compare_rows(rows, scalars, first, last, contrastive_of_anchor);
}

static void triplet(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last)
{
    compare_rows(rows, scalars, first, last, triplet_of_anchor);
}

#endif
