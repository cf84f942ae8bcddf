/* Linear models by stochastic gradient descent: a step for each row, or for each few of them.
 *
 * A step for a single row is two passes over memory and hardly any arithmetic, so that tiles have nothing to hold on to;
 * and of a sparse row only the non-zeros are to be touched.  Hence a loop of its own. */
#ifndef FASTGD_LINEAR_H
#define FASTGD_LINEAR_H

#include "linear_step.h"
#include "lookahead.h"

/* Epochs ----------------------------------------------------------------------------------------------------------- */

static void begin_linear_epoch(linear_job *job)
{
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        job->outputs[k]->objective = 0;
    if (job->permutation == NULL)
        return;
    ptrdiff_t *spare = job->spare;
    const ptrdiff_t *order = job->order, *permutation = job->permutation;
    for (ptrdiff_t i = 0; i < job->n_rows; i++)
        spare[i] = order[permutation[i]];
    memcpy(job->order, spare, (size_t)job->n_rows * sizeof *spare);
}

static int weights_are_finite(const linear_output *out, ptrdiff_t count)
{
    const REAL *weight = out->weight;
    VEC probe = vec_splat(0);
    for (ptrdiff_t i = 0; i < count; i += LANES)
        probe = vec_finite_probe(probe, vec_load_lanes(weight + i, smaller(LANES, count - i)));
    return isfinite(out->intercept) && isfinite(out->scale) && vec_sum(probe) == 0;
}

/* Whether training is over: an output has not become better for too long, or is beyond all numbers. */
static int end_linear_epoch(linear_job *job)
{
    int over = 0;
    for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
        linear_output *out = job->outputs[k];
        double objective = out->objective / (double)job->n_rows;
        if (!weights_are_finite(out, job->rows.n_columns)) {
            job->status = NONFINITE_WEIGHTS;
            return 1;
        }
        if (job->patience == 0 || (k > 0 && !job->loss.elementwise))
            continue;
        out->n_worse = objective > out->best - job->tol ? out->n_worse + 1 : 0;
        out->best = lower(out->best, objective);
        over |= out->n_worse >= job->patience;
    }
    return over;
}

/* Rows of fewer bytes altogether stay in the L2 cache, and are not asked for. */
#define CACHED_ROWS (1 << 18)

/* One output after the other takes so many rows at once, which are to stay in the L1 cache. */
#define BYTES_OF_BLOCK (1 << 14)
#ifndef SELDOM
#define SELDOM 4
#endif

static ptrdiff_t rows_of_block(const linear_job *job)
{
    if (job->rows.columns)
        return MOST_AHEAD;
    return larger(1, smaller(MOST_AHEAD, BYTES_OF_BLOCK / (job->rows.n_columns * (ptrdiff_t)sizeof(REAL))));
}

INLINE void ask_for_rows(const linear_job *job, ptrdiff_t first, ptrdiff_t n)
{
    for (ptrdiff_t i = first; i < smaller(first + n, job->n_rows); i++)
        prefetch_row(&job->rows, job->order[i]);
}

static void descend_simply(linear_job *job)
{
    const linear_rows *rows = &job->rows;
    int asks = rows->columns || job->n_rows * rows->n_columns * (ptrdiff_t)sizeof(REAL) > CACHED_ROWS, over = 0, flat = 0;
    ptrdiff_t step = 0, block = rows_of_block(job);
    rows_ahead ahead = {0};
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        job->outputs[k]->ahead = FEWEST_AHEAD;
    for (job->done = 0; job->done < job->n_epochs && !over; job->done++) {
        begin_linear_epoch(job);
        for (ptrdiff_t first = 0; first < job->n_rows; first += block) {
            ptrdiff_t n = smaller(block, job->n_rows - first);
            job->n_sloping = 0;
            if (flat) {
                if (asks)
                    ask_for_rows(job, first + n, n);
                foresee_rows(job, job->order + first, n, &ahead);
                for (ptrdiff_t k = 0; k < job->n_outputs; k++)
                    step_by_rows(job, job->outputs[k], job->order + first, step, &ahead);
            } else
                for (ptrdiff_t i = 0; i < n; i++) {
                    if (asks)
                        ask_for_rows(job, first + i + ROWS_AHEAD, 1);
                    step_by_batch(job, job->order + first + i, 1, step + i, 1);
                }
            flat = SELDOM * job->n_sloping < n * job->n_outputs;
            step += n;
        }
        over = end_linear_epoch(job);
    }
}

static void descend_rows(linear_job *job)
{
    const linear_rows *rows = &job->rows;
    int asks = rows->columns || job->n_rows * rows->n_columns * (ptrdiff_t)sizeof(REAL) > CACHED_ROWS, over = 0;
    ptrdiff_t step = 0, size = job->batch_size;
    for (job->done = 0; job->done < job->n_epochs && !over; job->done++) {
        begin_linear_epoch(job);
        for (ptrdiff_t first = 0; first < job->n_rows; first += size, step++) {
            if (asks)
                ask_for_rows(job, first + ROWS_AHEAD * size, size);
            step_by_batch(job, job->order + first, smaller(size, job->n_rows - first), step, 0);
        }
        over = end_linear_epoch(job);
    }
}

static void train_linear(linear_job *job)
{
    uint64_t before = engine_enter();
    if (is_simple(job))
        descend_simply(job);
    else
        descend_rows(job);
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        multiply_out(job->outputs[k], job->rows.n_columns);
    engine_leave(before);
}

#endif
