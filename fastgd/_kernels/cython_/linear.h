/* Linear models by stochastic gradient descent: a step for each row, or for each few of them.
 *
 * A step for a single row is two passes over memory and hardly any arithmetic, so that tiles have nothing to hold on to;
 * and of a sparse row only the non-zeros are to be touched.  Hence a loop of its own. */
#ifndef FASTGD_LINEAR_H
#define FASTGD_LINEAR_H

#include <math.h>

#include "losses.h"

/* Below it the scale is multiplied into the weights, long before it underflows. */
#define SMALLEST_SCALE (REAL_BITS == 32 ? 1e-6 : 1e-9)

/* Of numbers that are none of them NaN: the library's own look for that, by a call. */
INLINE double lower(double a, double b) { return a < b ? a : b; }
INLINE double upper(double a, double b) { return a > b ? a : b; }

/* Of a loss by the score, as scikit-learn limits it. */
#define STEEPEST 1e12

/* Rows ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const REAL *values;
    const void *columns;            /* NULL: all of them */
    int wide;                       /* columns are 64 bits */
    ptrdiff_t count;
} linear_row;

INLINE ptrdiff_t whole_number(const void *array, int wide, ptrdiff_t i)
{
    return wide ? (ptrdiff_t)((const int64_t *)array)[i] : (ptrdiff_t)((const int32_t *)array)[i];
}

INLINE linear_row row_of(const linear_rows *rows, ptrdiff_t i)
{
    int wide = rows->index_bytes == 8;
    if (rows->columns == NULL)
        return (linear_row){(const REAL *)rows->values + i * rows->n_columns, NULL, 0, rows->n_columns};
    ptrdiff_t first = whole_number(rows->starts, wide, i), last = whole_number(rows->starts, wide, i + 1);
    return (linear_row){(const REAL *)rows->values + first, (const char *)rows->columns + first * rows->index_bytes, wide,
                        last - first};
}

/* Rows come in an order that no prefetcher foresees. */
INLINE void prefetch_row(const linear_rows *rows, ptrdiff_t i)
{
    linear_row row = row_of(rows, i);
    for (ptrdiff_t at = 0; at < smaller(row.count, 4 * 64 / (ptrdiff_t)sizeof(REAL)); at += 64 / sizeof(REAL))
        __builtin_prefetch(row.values + at);
    if (row.columns)
        __builtin_prefetch(row.columns);
}

static REAL dot_dense(const REAL *restrict w, const REAL *restrict x, ptrdiff_t count)
{
    VEC sums[4] = {vec_splat(0), vec_splat(0), vec_splat(0), vec_splat(0)};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; k++)
            sums[k] += vec_load(w + i + k * LANES) * vec_load(x + i + k * LANES);
    for (; i + LANES <= count; i += LANES)
        sums[0] += vec_load(w + i) * vec_load(x + i);
    if (i < count)
        sums[1] += vec_load_part(w + i, count - i) * vec_load_part(x + i, count - i);
    return vec_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static double dot(const REAL *w, const linear_row *row)
{
    double sum = 0;
    if (row->columns == NULL)
        return (double)dot_dense(w, row->values, row->count);
    for (ptrdiff_t j = 0; j < row->count; j++)
        sum += (double)w[whole_number(row->columns, row->wide, j)] * (double)row->values[j];
    return sum;
}

static double square_of_row(const linear_row *row)
{
    double sum = 0;
    if (row->columns == NULL)
        return (double)dot_dense(row->values, row->values, row->count);
    for (ptrdiff_t j = 0; j < row->count; j++)
        sum += (double)row->values[j] * (double)row->values[j];
    return sum;
}

/* Weights ---------------------------------------------------------------------------------------------------------- */

/* w <- w + factor x; returns the sum of squares of the new w. */
static double add_dense(REAL *restrict w, const REAL *restrict x, ptrdiff_t count, REAL factor)
{
    VEC by = vec_splat(factor), sums[2] = {vec_splat(0), vec_splat(0)};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        for (int k = 0; k < 2; k++) {
            VEC new = vec_load(w + i + k * LANES) + by * vec_load(x + i + k * LANES);
            sums[k] += new * new;
            vec_store(w + i + k * LANES, new);
        }
    for (; i < count; i += LANES) {
        ptrdiff_t lanes = smaller(LANES, count - i);
        VEC new = vec_load_lanes(w + i, lanes) + by * vec_load_lanes(x + i, lanes);
        sums[0] += new * new;
        vec_store_lanes(w + i, new, lanes);
    }
    return (double)vec_sum(sums[0] + sums[1]);
}

static void add_to_mean(const linear_output *out, const linear_row *row, double change)
{
    REAL *mean = out->mean, by = (REAL)(-out->mean_share * change);
    if (row->columns == NULL)
        add_dense(mean, row->values, row->count, by);
    else
        for (ptrdiff_t j = 0; j < row->count; j++)
            mean[whole_number(row->columns, row->wide, j)] += by * row->values[j];
}

/* weights <- weights + factor x */
static void add_row(linear_output *out, const linear_row *row, double factor)
{
    REAL *w = out->weight, by = (REAL)(factor / out->scale);
    if (row->columns == NULL) {
        out->squares = out->scale * out->scale * add_dense(w, row->values, row->count, by);
    } else {
        double squares = 0, magnitudes = 0;
        for (ptrdiff_t j = 0; j < row->count; j++) {
            ptrdiff_t column = whole_number(row->columns, row->wide, j);
            double old = (double)w[column], new = (double)(w[column] += by * row->values[j]);
            squares += (new - old) * (new + old);
            magnitudes += fabs(new) - fabs(old);
        }
        out->squares += out->scale * out->scale * squares;
        out->magnitudes += out->scale * magnitudes;
    }
    if (out->mean && out->mean_share != 0)
        add_to_mean(out, row, factor / out->scale);
}

/* The scale, and what the mean has in terms of the weights, are multiplied out. */
static void multiply_out(linear_output *out, ptrdiff_t count)
{
    REAL *w = out->weight, *mean = out->mean;
    for (ptrdiff_t i = 0; i < count && mean; i++)
        mean[i] = (REAL)((mean[i] + out->mean_share * w[i]) / out->divisor);
    for (ptrdiff_t i = 0; i < count; i++)
        w[i] = (REAL)(w[i] * out->scale);
    out->scale = out->divisor = 1;
    out->mean_share = 0;
}

/* weights <- factor weights */
static void shrink(linear_output *out, ptrdiff_t count, double factor)
{
    out->scale *= factor;
    out->squares *= factor * factor;
    out->magnitudes *= factor;
    if (out->scale < SMALLEST_SCALE)
        multiply_out(out, count);
}

/* mean <- mean + (weights - mean) / n */
static void average(linear_output *out, double n)
{
    if (n > 1)
        out->divisor /= 1 - 1 / n;
    out->mean_share += out->divisor * out->scale / n;
    out->mean_intercept += (out->intercept - out->mean_intercept) / n;
}

/* Of each weight what it owes to the l1 penalty, but not beyond zero: Tsuruoka, Tsujii & Ananiadou, ACL 2009. */
INLINE VEC charged_weight(VEC w, VEC charged, REAL due, REAL scale)
{
    VEC zero = vec_splat(0), down = (vec_splat(due) + charged) / vec_splat(scale);
    VEC up = (vec_splat(due) - charged) / vec_splat(scale);
    return vec_select(w > zero, vec_max(zero, w - down), vec_select(w < zero, vec_min(zero, w + up), w));
}

static void charge_dense(linear_output *out, ptrdiff_t count)
{
    REAL *weight = out->weight, *charged = out->charged, *mean = out->mean;
    VEC scale = vec_splat((REAL)out->scale), share = vec_splat((REAL)out->mean_share);
    VEC squares = vec_splat(0), magnitudes = vec_splat(0);
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        ptrdiff_t lanes = smaller(LANES, count - i);
        VEC old = vec_load_lanes(weight + i, lanes), q = vec_load_lanes(charged + i, lanes);
        VEC new = charged_weight(old, q, (REAL)out->due, (REAL)out->scale);
        vec_store_lanes(weight + i, new, lanes);
        vec_store_lanes(charged + i, q + scale * (new - old), lanes);
        if (mean)
            vec_store_lanes(mean + i, vec_load_lanes(mean + i, lanes) - share * (new - old), lanes);
        squares += new * new;
        magnitudes += vec_abs(new);
    }
    out->squares = out->scale * out->scale * (double)vec_sum(squares);
    out->magnitudes = out->scale * (double)vec_sum(magnitudes);
}

static void charge_sparse(linear_output *out, const linear_row *row)
{
    REAL *weight = out->weight, *charged = out->charged, *mean = out->mean;
    double squares = 0, magnitudes = 0;
    for (ptrdiff_t j = 0; j < row->count; j++) {
        ptrdiff_t column = whole_number(row->columns, row->wide, j);
        double old = (double)weight[column], q = (double)charged[column], new = old;
        if (old > 0)
            new = upper(0, old - (out->due + q) / out->scale);
        else if (old < 0)
            new = lower(0, old + (out->due - q) / out->scale);
        weight[column] = (REAL)new;
        charged[column] = (REAL)(q + out->scale * (new - old));
        if (mean)
            mean[column] -= (REAL)(out->mean_share * (new - old));
        squares += (new - old) * (new + old);
        magnitudes += fabs(new) - fabs(old);
    }
    out->squares += out->scale * out->scale * squares;
    out->magnitudes += out->scale * magnitudes;
}

/* Steps ------------------------------------------------------------------------------------------------------------ */

INLINE REAL target_of(const linear_job *job, const linear_output *out, ptrdiff_t i)
{
    if (job->rows.labels == NULL)
        return ((const REAL *)job->rows.targets)[i];
    return job->rows.labels[i] == out->label ? 1 : (REAL)job->other_target;
}

static void score_rows(const linear_job *job, const ptrdiff_t *batch, ptrdiff_t n)
{
    REAL *score = job->score, *target = job->target;
    for (ptrdiff_t i = 0; i < n; i++) {
        linear_row row = row_of(&job->rows, batch[i]);
        for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
            const linear_output *out = job->outputs[k];
            score[i * job->n_outputs + k] = (REAL)(out->scale * dot(out->weight, &row) + out->intercept);
            target[i * job->n_outputs + k] = target_of(job, out, batch[i]);
        }
    }
}

/* A loss over rows wants them in panels; its value is counted with the first output. */
static void losses_over_rows(linear_job *job, const ptrdiff_t *batch, ptrdiff_t n)
{
    REAL *score = job->score, *value = job->value, *gradient = job->gradient;
    scored_rows scored = {.score = &job->row_score, .target = &job->row_target, .row_weights = job->row_weights,
                          .row_scale = job->row_scale, .row_sums = job->row_sums, .losses = job->row_losses,
                          .delta = &job->row_delta, .count = n};
    for (ptrdiff_t i = 0; i < n; i++) {
        job->row_labels[i] = job->rows.labels[batch[i]];
        for (ptrdiff_t k = 0; k < job->n_outputs; k++)
            *element(&job->row_score, i, k) = score[i * job->n_outputs + k];
    }
    loss_gradient(&job->loss, &scored, 0, n);
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
            value[i * job->n_outputs + k] = k == 0 ? (REAL)job->row_losses[i] : 0;
            gradient[i * job->n_outputs + k] = *element(&job->row_delta, i, k);
        }
}

/* Whole vectors, which the buffers have room for: what one load takes up, one store has to have left. */
static void loss_of_batch(linear_job *job, const ptrdiff_t *batch, ptrdiff_t n)
{
    void *arrays[] = {job->score, job->target, job->value, job->gradient};
    ptrdiff_t count = n * job->n_outputs;
    if (job->loss.elementwise == NULL) {
        losses_over_rows(job, batch, n);
        return;
    }
    if (count == 1) {
        vec_store(job->score, vec_splat(*(REAL *)job->score));
        vec_store(job->target, vec_splat(*(REAL *)job->target));
    }
    job->loss.elementwise(arrays, ceil_divide(count, LANES) * LANES, job->loss.scalars);
}

/* How much of row i the weights of output k get, for a step of that length. */
static double share_of_row(const linear_job *job, const linear_row *row, ptrdiff_t at, double rate)
{
    double loss = (double)((REAL *)job->value)[at], slope = (double)((REAL *)job->gradient)[at], length, square;
    if (job->step == GRADIENT_STEP)
        return -rate * (slope > STEEPEST ? STEEPEST : slope < -STEEPEST ? -STEEPEST : slope);
    square = square_of_row(row);
    if (job->step == PASSIVE_AGGRESSIVE_1)
        length = square > 0 ? lower(rate, loss / square) : 0;
    else
        length = loss / (square + 0.5 / rate);
    return slope < 0 ? length : -length;
}

static double weight_of_row(const linear_job *job, const linear_output *out, ptrdiff_t i, ptrdiff_t at)
{
    double weight = job->rows.weights ? job->rows.weights[i] : 1;
    if (job->loss.elementwise)
        return weight * (((REAL *)job->target)[at] > 0 ? out->positive : out->negative);
    return weight * job->outputs[job->rows.labels[i]]->positive;
}

/* What the weighted sum over a batch is divided by: a single row counts as much as it weighs. */
static double divisor_of_batch(const linear_job *job, ptrdiff_t k, const ptrdiff_t *batch, ptrdiff_t n)
{
    double sum = 0;
    if (job->batch_size == 1)
        return 1;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += weight_of_row(job, job->outputs[k], batch[i], i * job->n_outputs + k);
    return sum;
}

static void update_output(const linear_job *job, ptrdiff_t k, const ptrdiff_t *batch, ptrdiff_t n, ptrdiff_t step)
{
    linear_output *out = job->outputs[k];
    double rate = out->pace * job->rates[step], t = job->steps_before + (double)step + 1;
    double divisor = divisor_of_batch(job, k, batch, n);
    if (job->l2 > 0)
        shrink(out, job->rows.n_columns, upper(0, 1 - rate * job->l2));
    for (ptrdiff_t i = 0; i < n; i++) {
        linear_row row = row_of(&job->rows, batch[i]);
        ptrdiff_t at = i * job->n_outputs + k;
        if (((REAL *)job->gradient)[at] == 0)
            continue;
        double factor = share_of_row(job, &row, at, rate) * weight_of_row(job, out, batch[i], at) / divisor;
        if (factor == 0 || divisor == 0)
            continue;
        add_row(out, &row, factor);
        out->intercept += job->intercept_share * factor;
    }
    if (job->average_from > 0 && t >= job->average_from)
        average(out, t - job->average_from + 1);
    if (job->l1 > 0) {
        out->due += job->l1 * rate;
        for (ptrdiff_t i = 0; i < n && job->rows.columns; i++) {
            linear_row row = row_of(&job->rows, batch[i]);
            charge_sparse(out, &row);
        }
        if (job->rows.columns == NULL)
            charge_dense(out, job->rows.n_columns);
    }
}

/* The mean loss of a batch, as many times as it has rows; that of a single row does not depend on its weight. */
static double loss_of_output(const linear_job *job, ptrdiff_t k, const ptrdiff_t *batch, ptrdiff_t n)
{
    double sum = 0, divisor = divisor_of_batch(job, k, batch, n);
    if (job->batch_size == 1)
        return (double)((REAL *)job->value)[k];
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t at = i * job->n_outputs + k;
        sum += weight_of_row(job, job->outputs[k], batch[i], at) * (double)((REAL *)job->value)[at];
    }
    return divisor > 0 ? (double)n * sum / divisor : 0;
}

static void account_batch(const linear_job *job, const ptrdiff_t *batch, ptrdiff_t n)
{
    for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
        linear_output *out = job->outputs[k], *counted = job->loss.elementwise ? out : job->outputs[0];
        out->objective += loss_of_output(job, k, batch, n);
        if (job->step == GRADIENT_STEP)
            counted->objective += (double)n * (0.5 * job->l2 * out->squares + job->l1 * out->magnitudes);
    }
}

/* Epochs ----------------------------------------------------------------------------------------------------------- */

static void begin_linear_epoch(linear_job *job)
{
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        job->outputs[k]->objective = 0;
    if (job->permutation == NULL)
        return;
    for (ptrdiff_t i = 0; i < job->n_rows; i++)
        job->spare[i] = job->order[job->permutation[i]];
    memcpy(job->order, job->spare, (size_t)job->n_rows * sizeof *job->order);
}

static int weights_are_finite(const linear_output *out, ptrdiff_t count)
{
    REAL probe = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        probe += ((const REAL *)out->weight)[i] * 0;
    return isfinite(out->intercept) && isfinite(out->scale) && probe == 0;
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

static void train_linear(linear_job *job)
{
    uint64_t before = engine_enter();
    ptrdiff_t step = 0;
    int over = 0;
    for (job->done = 0; job->done < job->n_epochs && !over; job->done++) {
        begin_linear_epoch(job);
        for (ptrdiff_t first = 0; first < job->n_rows; first += job->batch_size, step++) {
            const ptrdiff_t *batch = job->order + first;
            ptrdiff_t n = smaller(job->batch_size, job->n_rows - first);
            for (ptrdiff_t i = first + n; i < smaller(first + 2 * n, job->n_rows); i++)
                prefetch_row(&job->rows, job->order[i]);
            score_rows(job, batch, n);
            loss_of_batch(job, batch, n);
            account_batch(job, batch, n);
            for (ptrdiff_t k = 0; k < job->n_outputs; k++)
                update_output(job, k, batch, n, step);
        }
        over = end_linear_epoch(job);
    }
    for (ptrdiff_t k = 0; k < job->n_outputs; k++)
        multiply_out(job->outputs[k], job->rows.n_columns);
    engine_leave(before);
}

#endif
