/* A row whose loss has no slope leaves the weights as they are, but for their scale, which is known beforehand.  So many rows
 * can be scored at once, none of which waits for another.  Those up to the first that has a slope are what they would have
 * been one by one, to the last bit; those after it are scored again. */
#ifndef FASTGD_LOOKAHEAD_H
#define FASTGD_LOOKAHEAD_H

#include "linear_step.h"

/* With three rows of a hundred that have a slope: 64 are scored in vain more often, 16 have more calls of the loss. */
#define MOST_AHEAD 32
#define FEWEST_AHEAD (LANES < 8 ? 8 : LANES)

/* It is worth it while fewer than one row of so many has a slope. */
#define SELDOM 4

/* The rows of a block are to stay in the L1 cache, where one output after the other reads them. */
#define BYTES_OF_BLOCK (1 << 14)

/* Rows that take turns on the weights: sixteen sums are as many as the wide registers hold. */
#define ROWS_TOGETHER (VECTOR_BYTES == 64 ? 4 : 2)

/* A block of rows to come.  What is computed in whole vectors may go beyond the last, of which there are copies then. */
typedef struct {
    REAL dot[MOST_AHEAD + LANES] ALIGNED, score[MOST_AHEAD + LANES] ALIGNED, target[MOST_AHEAD + LANES] ALIGNED;
    REAL value[MOST_AHEAD + LANES] ALIGNED, gradient[MOST_AHEAD + LANES] ALIGNED;
    double scale[MOST_AHEAD], left[MOST_AHEAD], product[MOST_AHEAD];
    const REAL *row[MOST_AHEAD + LANES];
    ptrdiff_t label[MOST_AHEAD];
    ptrdiff_t n;
    ptrdiff_t begun, known;         /* between these rows the scale is known, at this pace */
    double pace;
    int is_worth;
} rows_ahead;

/* Rows go one by one that are so wide that as many as there are lanes would not fit; and sparse ones, whose products are not
 * summed in vectors. */
static int can_look_ahead(const linear_rows *rows)
{
    return rows->columns == NULL && LANES * rows->n_columns * (ptrdiff_t)sizeof(REAL) <= BYTES_OF_BLOCK;
}

static ptrdiff_t rows_of_block(const linear_rows *rows)
{
    if (!can_look_ahead(rows))
        return MOST_AHEAD;
    return smaller(MOST_AHEAD, BYTES_OF_BLOCK / (rows->n_columns * (ptrdiff_t)sizeof(REAL)));
}

static void foresee_rows(const linear_job *job, const ptrdiff_t *numbers, ptrdiff_t n, rows_ahead *ahead)
{
    const ptrdiff_t *labels = job->rows.labels;
    const REAL *values = job->rows.values;
    ptrdiff_t length = job->rows.row_length;
    for (ptrdiff_t i = 0; i < n && labels; i++)
        ahead->label[i] = labels[numbers[i]];
    for (ptrdiff_t i = 0; i < n; i++)
        ahead->row[i] = values + numbers[i] * length;
    for (ptrdiff_t i = n; i < n + LANES; i++)
        ahead->row[i] = ahead->row[n - 1];
    ahead->n = n, ahead->known = 0;
}

/* From row `first` on: scales do not depend on the weights, and are the same for outputs of one pace.  Returns before which row
 * they are known: behind the one whose step multiplies out the scale. */
INLINE ptrdiff_t foresee_scales(const linear_job *job, const linear_output *out, ptrdiff_t first, ptrdiff_t step,
                                rows_ahead *ahead)
{
    double scale = out->scale, pace = out->pace, l2 = job->l2, *left = ahead->left;
    const double *rates = job->rates + step;
    ptrdiff_t i = first;
    if (first >= ahead->begun && first < ahead->known && ahead->pace == pace && ahead->scale[first] == scale)
        return ahead->known;
    for (; i < ahead->n; i++)
        left[i] = l2 > 0 ? left_by(l2, pace * rates[i]) : 1;
    for (i = first; i < ahead->n && !(scale < SMALLEST_SCALE); i++) {
        ahead->scale[i] = scale;
        scale *= left[i];
    }
    ahead->pace = pace, ahead->begun = first, ahead->known = i;
    return i;
}

static void foresee_targets(const linear_job *job, const linear_output *out, const ptrdiff_t *numbers, rows_ahead *ahead)
{
    REAL other = (REAL)job->other_target, *target = ahead->target;
    ptrdiff_t label = out->label, n = ahead->n;
    if (job->rows.labels)
        for (ptrdiff_t i = 0; i < n; i++)
            target[i] = ahead->label[i] == label ? 1 : other;
    else
        for (ptrdiff_t i = 0; i < n; i++)
            target[i] = ((const REAL *)job->rows.targets)[numbers[i]];
}

/* Of so many rows as there are lanes. */
INLINE VEC multiply_group(const REAL *const *rows, const REAL *w, ptrdiff_t count)
{
    VEC products[LANES];
    UNROLL
    for (ptrdiff_t r = 0; r < LANES; r += ROWS_TOGETHER)
        sum_products(ROWS_TOGETHER, rows + r, 1, &w, count, products + r);
    return vec_sums(products);
}

/* Rows first to last - 1. */
INLINE void score_ahead(const linear_job *job, const linear_output *out, ptrdiff_t first, ptrdiff_t last, rows_ahead *ahead)
{
    for (ptrdiff_t i = first; i < last; i += LANES)
        vec_store(ahead->dot + i, multiply_group(ahead->row + i, out->weight, job->rows.n_columns));
    for (ptrdiff_t i = first; i < last; i++) {
        ahead->product[i] = ahead->scale[i] * (double)ahead->dot[i];
        ahead->score[i] = (REAL)(ahead->product[i] + out->intercept);
    }
    void *arrays[] = {ahead->score + first, ahead->target + first, ahead->value + first, ahead->gradient + first};
    job->loss.elementwise(arrays, ceil_divide(last - first, LANES) * LANES, job->loss.scalars);
}

INLINE void account_ahead(const linear_job *job, linear_output *out, ptrdiff_t first, ptrdiff_t last, const rows_ahead *ahead)
{
    double squares = out->squares, objective = out->objective;
    for (ptrdiff_t i = first; i < last; i++) {
        objective += penalty_on(job, squares, out->magnitudes);
        objective += (double)ahead->value[i];
        squares *= ahead->left[i] * ahead->left[i];
    }
    out->squares = squares, out->objective = objective;
}

/* Steps that change no weight. */
INLINE void pass_rows(const linear_job *job, linear_output *out, ptrdiff_t first, ptrdiff_t last, const rows_ahead *ahead)
{
    if (first == last)
        return;
    if (job->watched)
        account_ahead(job, out, first, last, ahead);
    out->scale = ahead->scale[last - 1] * ahead->left[last - 1];
    if (out->scale < SMALLEST_SCALE)
        multiply_out(out, job->rows.n_columns);
}

/* The steps of one output.  After a row with a slope it looks half as far ahead, and twice as far when it has seen none. */
static void step_output_by_block(linear_job *job, linear_output *out, const ptrdiff_t *numbers, ptrdiff_t step,
                                 rows_ahead *ahead)
{
    foresee_targets(job, out, numbers, ahead);
    for (ptrdiff_t first = 0; first < ahead->n;) {
        ptrdiff_t known = foresee_scales(job, out, first, step, ahead);
        ptrdiff_t width = larger(FEWEST_AHEAD, out->ahead), last = smaller(first + width, known), steep = first;
        score_ahead(job, out, first, last, ahead);
        while (steep < last && ahead->gradient[steep] == 0)
            steep++;
        pass_rows(job, out, first, steep, ahead);
        out->ahead = steep == last ? smaller(MOST_AHEAD, 2 * width) : width / 2;
        first = steep;
        if (steep < last) {
            scored_output scored = {out, ahead->target + steep, ahead->value + steep, ahead->gradient + steep,
                                    ahead->product + steep, 1};
            account_output(job, &scored, numbers + steep, 1, 1);
            update_output(job, &scored, numbers + steep, 1, step + steep, 1);
            first++;
        }
    }
}

/* The steps for the rows of these numbers, one output after the other. */
static void step_by_block(linear_job *job, const ptrdiff_t *numbers, ptrdiff_t n, ptrdiff_t step, rows_ahead *ahead)
{
    foresee_rows(job, numbers, n, ahead);
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        step_output_by_block(job, job->outputs[k], numbers, step, ahead);
}

#endif
