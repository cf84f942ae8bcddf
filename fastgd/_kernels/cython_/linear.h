/* Linear models by stochastic gradient descent: a step for each row, or for each few of them.
 *
 * A step for a single row is two passes over memory and hardly any arithmetic, so that tiles have nothing to hold on to;
 * and of a sparse row only the non-zeros are to be touched.  Hence a loop of its own. */
#ifndef FASTGD_LINEAR_H
#define FASTGD_LINEAR_H

#include "linear_step.h"
#include "lookahead.h"

/* Epochs ----------------------------------------------------------------------------------------------------------- */

enum { PARTIAL_SUMS = 8 };

/* The sums over the weights from the weights themselves, which have no scale then. */
static void add_up_weights(linear_output *out, ptrdiff_t count)
{
    const REAL *weight = out->weight;
    double squares[PARTIAL_SUMS] = {0}, magnitudes[PARTIAL_SUMS] = {0};
    multiply_out(out, count);
    for (ptrdiff_t i = 0; i < count; i += PARTIAL_SUMS)
        for (ptrdiff_t j = 0; j < smaller(PARTIAL_SUMS, count - i); j++) {
            double w = (double)weight[i + j];
            squares[j] += w * w;
            magnitudes[j] += fabs(w);
        }
    out->squares = out->magnitudes = 0;
    for (ptrdiff_t j = 0; j < PARTIAL_SUMS; j++) {
        out->squares += squares[j];
        out->magnitudes += magnitudes[j];
    }
}

/* Where an output may end the call, the others have to go on from it to the same bits as they do in a call of their own, by
   another thread: every epoch begins as a call does. */
static void begin_linear_epoch(linear_job *job)
{
    for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
        job->outputs[k]->objective = 0;
        if (job->patience > 0)
            add_up_weights(job->outputs[k], job->rows.n_columns);
    }
    if (job->permutation == NULL)
        return;
    /* By names of their own, lest each number that is stored might be one of these pointers. */
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

static int asks_for_rows(const linear_job *job)
{
    return job->rows.columns || job->n_rows * job->rows.n_columns * (ptrdiff_t)sizeof(REAL) > CACHED_ROWS;
}

INLINE void ask_for_rows(const linear_job *job, ptrdiff_t first, ptrdiff_t n)
{
    for (ptrdiff_t i = first; i < smaller(first + n, job->n_rows); i++)
        prefetch_row(&job->rows, job->order[i]);
}

INLINE void step_batch_by_batch(linear_job *job, ptrdiff_t first, ptrdiff_t last, ptrdiff_t step, int asks, int simple)
{
    ptrdiff_t size = simple ? 1 : job->batch_size;
    for (; first < last; first += size, step++) {
        if (asks)
            ask_for_rows(job, first + ROWS_AHEAD * size, size);
        step_by_batch(job, job->order + first, smaller(size, last - first), step, simple);
    }
}

static void epoch_by_batches(linear_job *job, ptrdiff_t step, int asks)
{
    step_batch_by_batch(job, 0, job->n_rows, step, asks, 0);
}

/* Row by row, unless so few rows of the block before had a slope that it is worth to look ahead. */
static void epoch_by_rows(linear_job *job, ptrdiff_t step, int asks, rows_ahead *ahead)
{
    ptrdiff_t block = rows_of_block(&job->rows);
    for (ptrdiff_t first = 0; first < job->n_rows; first += block) {
        ptrdiff_t last = smaller(first + block, job->n_rows);
        job->n_sloping = 0;
        if (ahead->is_worth) {
            if (asks)
                ask_for_rows(job, last, block);
            step_by_block(job, job->order + first, last - first, step + first, ahead);
        } else
            step_batch_by_batch(job, first, last, step + first, asks, 1);
        ahead->is_worth = can_look_ahead(&job->rows) && SELDOM * job->n_sloping < (last - first) * job->n_outputs;
    }
}

static void train_linear(linear_job *job)
{
    uint64_t before = engine_enter();
    int asks = asks_for_rows(job), over = 0;
    ptrdiff_t steps = ceil_divide(job->n_rows, job->batch_size);
    rows_ahead ahead = {0};
    for (job->done = 0; job->done < job->n_epochs && !over; job->done++) {
        begin_linear_epoch(job);
        if (is_simple(job))
            epoch_by_rows(job, job->done * steps, asks, &ahead);
        else
            epoch_by_batches(job, job->done * steps, asks);
        over = end_linear_epoch(job);
    }
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        multiply_out(job->outputs[k], job->rows.n_columns);
    engine_leave(before);
}

#endif
