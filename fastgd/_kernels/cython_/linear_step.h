/* What a linear model's step is made of: rows, weights with a scale, products, losses, updates.  linear.h says why these are not
 * the panels and tiles of networks. */
#ifndef FASTGD_LINEAR_STEP_H
#define FASTGD_LINEAR_STEP_H

#include <math.h>

#include "gather.h"
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
        return (linear_row){(const REAL *)rows->values + i * rows->row_length, NULL, 0, rows->n_columns};
    ptrdiff_t first = whole_number(rows->starts, wide, i), last = whole_number(rows->starts, wide, i + 1);
    return (linear_row){(const REAL *)rows->values + first, (const char *)rows->columns + first * rows->index_bytes, wide,
                        last - first};
}

/* Of a row to come so many bytes of each array are asked for; what is beyond them follows by itself. */
#define BYTES_AHEAD (16 * CACHE_LINE)

INLINE void prefetch_row(const linear_rows *rows, ptrdiff_t i)
{
    linear_row row = row_of(rows, i);
    prefetch((const char *)row.values, smaller(BYTES_AHEAD, row.count * (ptrdiff_t)sizeof(REAL)));
    if (row.columns)
        prefetch(row.columns, smaller(BYTES_AHEAD, row.count * rows->index_bytes));
}

/* Products of some rows with the weights of some outputs, at most four in all, which take turns on what is loaded; their sums
 * are left in lanes.  Each is summed in four parts, the same ones whatever goes with it. */
INLINE void sum_products(int n_rows, const REAL *const *x, int n_outputs, const REAL *const *w, ptrdiff_t count, VEC *product)
{
    VEC sums[4][4] = {0};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; k++)
            for (int p = 0; p < n_rows * n_outputs; p++)
                sums[p][k] += vec_load(w[p % n_outputs] + i + k * LANES) * vec_load(x[p / n_outputs] + i + k * LANES);
    UNROLL
    for (int k = 0; k < 3; k++)
        if (i + LANES <= count) {
            for (int p = 0; p < n_rows * n_outputs; p++)
                sums[p][k] += vec_load(w[p % n_outputs] + i) * vec_load(x[p / n_outputs] + i);
            i += LANES;
        }
    if (i < count)
        for (int p = 0; p < n_rows * n_outputs; p++)
            sums[p][3] += vec_load_part(w[p % n_outputs] + i, count - i) * vec_load_part(x[p / n_outputs] + i, count - i);
    for (int p = 0; p < n_rows * n_outputs; p++)
        product[p] = (sums[p][0] + sums[p][1]) + (sums[p][2] + sums[p][3]);
}

static double dot_dense(const REAL *w, const REAL *x, ptrdiff_t count)
{
    VEC product;
    sum_products(1, &x, 1, &w, count, &product);
    return (double)vec_sum(product);
}

/* In four parts as well, so that a sum need not wait for the one before it. */
INLINE double dot_at(const REAL *w, const linear_row *row, int wide)
{
    REAL sum[4] = {0};
    ptrdiff_t j = 0;
    for (; j + 4 <= row->count; j += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += w[whole_number(row->columns, wide, j + k)] * row->values[j + k];
    for (; j < row->count; j++)
        sum[0] += w[whole_number(row->columns, wide, j)] * row->values[j];
    return (double)((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static double dot(const REAL *w, const linear_row *row)
{
    if (row->columns == NULL)
        return dot_dense(w, row->values, row->count);
    return row->wide ? dot_at(w, row, 1) : dot_at(w, row, 0);
}

/* The square of a row, which is the same for all outputs and in every epoch. */
static double square_of_row(linear_job *job, ptrdiff_t i)
{
    if (job->squares[i] == 0) {
        linear_row row = row_of(&job->rows, i);
        job->squares[i] = dot_dense(row.values, row.values, row.count);
    }
    return job->squares[i];
}

/* Weights ---------------------------------------------------------------------------------------------------------- */

/* w <- w + by x */
static void add_dense(REAL *restrict w, const REAL *restrict x, ptrdiff_t count, REAL by)
{
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        for (int k = 0; k < 2; k++)
            vec_store(w + i + k * LANES, vec_load(w + i + k * LANES) + vec_splat(by) * vec_load(x + i + k * LANES));
    for (; i < count; i += LANES)
        vec_store(w + i, vec_load(w + i) + vec_splat(by) * vec_load_lanes(x + i, smaller(LANES, count - i)));
}

/* The same; returns by how much the sum of the magnitudes of w has grown, if that is counted. */
INLINE double add_at(REAL *w, const linear_row *row, int wide, int counts, REAL by)
{
    double growth = 0;
    for (ptrdiff_t j = 0; j < row->count; j++) {
        ptrdiff_t column = whole_number(row->columns, wide, j);
        REAL old = w[column], new = old + by * row->values[j];
        w[column] = new;
        if (counts)
            growth += fabs((double)new) - fabs((double)old);
    }
    return growth;
}

static double add_sparse(REAL *w, const linear_row *row, int counts, REAL by)
{
    return counts || row->wide ? add_at(w, row, row->wide, 1, by) : add_at(w, row, 0, 0, by);
}

static void add_to_mean(const linear_output *out, const linear_row *row, double change)
{
    REAL by = (REAL)(-out->mean_share * change);
    if (row->columns == NULL)
        add_dense(out->mean, row->values, row->count, by);
    else
        add_sparse(out->mean, row, 0, by);
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
INLINE VEC charged_weight(VEC w, VEC charged, REAL due, REAL inverse)
{
    VEC zero = vec_splat(0), down = (vec_splat(due) + charged) * vec_splat(inverse);
    VEC up = (vec_splat(due) - charged) * vec_splat(inverse);
    return vec_select(w > zero, vec_max(zero, w - down), vec_select(w < zero, vec_min(zero, w + up), w));
}

static void charge_dense(linear_output *out, ptrdiff_t count)
{
    REAL *weight = out->weight, *charged = out->charged, *mean = out->mean;
    VEC scale = vec_splat((REAL)out->scale), share = vec_splat((REAL)out->mean_share);
    VEC squares = vec_splat(0), magnitudes = vec_splat(0);
    REAL inverse = (REAL)(1 / out->scale);
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        ptrdiff_t lanes = smaller(LANES, count - i);
        VEC old = vec_load_lanes(weight + i, lanes), q = vec_load_lanes(charged + i, lanes);
        VEC new = charged_weight(old, q, (REAL)out->due, inverse);
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
    double squares = 0, magnitudes = 0, inverse = 1 / out->scale;
    for (ptrdiff_t j = 0; j < row->count; j++) {
        ptrdiff_t column = whole_number(row->columns, row->wide, j);
        double old = (double)weight[column], q = (double)charged[column], new = old;
        if (old > 0)
            new = upper(0, old - (out->due + q) * inverse);
        else if (old < 0)
            new = lower(0, old + (out->due - q) * inverse);
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

/* Most jobs are SIMPLE: of an elementwise loss, a step down its gradient for each row, neither l1 nor means.  Of what a
 * row takes then, half would be spent on asking what is wanted.  So everything from here on is compiled twice, once for
 * jobs of which that is known. */
INLINE int is_simple(const linear_job *job)
{
    return job->batch_size == 1 && job->loss.elementwise && job->step == GRADIENT_STEP && job->l1 == 0 && job->average_from == 0;
}

/* What one output goes by: of each of some rows its product with the weights, and what the loss makes of it. */
typedef struct {
    linear_output *out;
    const REAL *target, *value, *gradient;
    double *product;
    ptrdiff_t apart;                /* from one row's to the next one's */
} scored_output;

INLINE scored_output scored_in_batch(const linear_job *job, ptrdiff_t k)
{
    return (scored_output){job->outputs[k], (REAL *)job->target + k, (REAL *)job->value + k, (REAL *)job->gradient + k,
                           job->product + k, job->n_outputs};
}

INLINE REAL target_of(const linear_job *job, const linear_output *out, ptrdiff_t i)
{
    if (job->rows.labels == NULL)
        return ((const REAL *)job->rows.targets)[i];
    /* Whose label it is cannot be foreseen: no branch depends on it. */
    const REAL sides[] = {(REAL)job->other_target, 1};
    return sides[job->rows.labels[i] == out->label];
}

/* Of all outputs for one row, without intercepts. */
INLINE void multiply_row(const linear_job *job, const linear_row *row, double *product)
{
    ptrdiff_t k = 0;
    for (; row->columns == NULL && k + 2 <= job->n_outputs; k += 2) {
        const linear_output *first = job->outputs[k], *second = job->outputs[k + 1];
        VEC pair[2];
        sum_products(1, &row->values, 2, (const REAL *[]){first->weight, second->weight}, row->count, pair);
        product[k] = first->scale * (double)vec_sum(pair[0]);
        product[k + 1] = second->scale * (double)vec_sum(pair[1]);
    }
    for (; k < job->n_outputs; k++)
        product[k] = job->outputs[k]->scale * dot(job->outputs[k]->weight, row);
}

INLINE void score_rows(const linear_job *job, const ptrdiff_t *batch, ptrdiff_t n)
{
    REAL *score = job->score, *target = job->target;
    for (ptrdiff_t i = 0; i < n; i++, score += job->n_outputs, target += job->n_outputs) {
        linear_row row = row_of(&job->rows, batch[i]);
        multiply_row(job, &row, job->product);
        for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
            score[k] = (REAL)(job->product[k] + job->outputs[k]->intercept);
            target[k] = target_of(job, job->outputs[k], batch[i]);
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
INLINE void loss_of_batch(linear_job *job, const ptrdiff_t *batch, ptrdiff_t n, int simple)
{
    void *arrays[] = {job->score, job->target, job->value, job->gradient};
    ptrdiff_t count = n * job->n_outputs;
    if (!simple && job->loss.elementwise == NULL) {
        losses_over_rows(job, batch, n);
        return;
    }
    if (count == 1) {
        vec_store(job->score, vec_splat(*(REAL *)job->score));
        vec_store(job->target, vec_splat(*(REAL *)job->target));
    }
    job->loss.elementwise(arrays, ceil_divide(count, LANES) * LANES, job->loss.scalars);
}

INLINE double weight_of_row(const linear_job *job, const scored_output *scored, ptrdiff_t i, ptrdiff_t row, int simple)
{
    double weight = job->rows.weights ? job->rows.weights[row] : 1;
    if (simple || job->loss.elementwise)
        return weight * (scored->target[i * scored->apart] > 0 ? scored->out->positive : scored->out->negative);
    return weight * job->outputs[job->rows.labels[row]]->positive;
}

/* What the weighted sum over a batch is divided by: a single row counts as much as it weighs. */
INLINE double divisor_of_batch(const linear_job *job, const scored_output *scored, const ptrdiff_t *batch, ptrdiff_t n,
                               int simple)
{
    double sum = 0;
    if (simple || job->batch_size == 1)
        return 1;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += weight_of_row(job, scored, i, batch[i], simple);
    return sum;
}

/* How much of a row the weights of an output get, for a step of that length.  Everything but the slope is known before the
 * row is scored, and multiplied first. */
INLINE double share_of_row(linear_job *job, const scored_output *scored, ptrdiff_t i, ptrdiff_t row, double rate, double weight,
                           int simple)
{
    double loss = (double)scored->value[i * scored->apart], slope = (double)scored->gradient[i * scored->apart], length;
    if (simple || job->step == GRADIENT_STEP)
        return -rate * weight * upper(-STEEPEST, lower(STEEPEST, slope));
    if (job->step == PASSIVE_AGGRESSIVE_1)
        length = square_of_row(job, row) > 0 ? lower(rate, loss / square_of_row(job, row)) : 0;
    else
        length = loss / (square_of_row(job, row) + 0.5 / rate);
    return weight * (slope < 0 ? length : -length);
}

/* weights <- weights + factor x, of the row of this number */
INLINE void add_row(linear_job *job, const scored_output *scored, ptrdiff_t number, double factor, int simple)
{
    linear_output *out = scored->out;
    linear_row row = row_of(&job->rows, number);
    double by = factor * (1 / out->scale);
    if (job->watched && job->l2 > 0) {
        double product = simple || job->batch_size == 1 ? *scored->product : out->scale * dot(out->weight, &row);
        out->squares += factor * (2 * product + factor * square_of_row(job, number));
    }
    if (row.columns == NULL)
        add_dense(out->weight, row.values, row.count, (REAL)by);
    else
        out->magnitudes += out->scale * add_sparse(out->weight, &row, job->l1 > 0, (REAL)by);
    out->intercept += job->intercept_share * factor;
    if (!simple && out->mean && out->mean_share != 0)
        add_to_mean(out, &row, by);
}

INLINE void add_batch(linear_job *job, const scored_output *scored, const ptrdiff_t *batch, ptrdiff_t n, double rate,
                      int simple)
{
    double divisor = divisor_of_batch(job, scored, batch, n, simple);
    for (ptrdiff_t i = 0; i < n && divisor != 0; i++) {
        if (scored->gradient[i * scored->apart] == 0)
            continue;
        job->n_sloping++;
        double weight = weight_of_row(job, scored, i, batch[i], simple);
        double factor = share_of_row(job, scored, i, batch[i], rate, divisor == 1 ? weight : weight / divisor, simple);
        if (factor != 0)
            add_row(job, scored, batch[i], factor, simple);
    }
}

static void charge(linear_job *job, linear_output *out, const ptrdiff_t *batch, ptrdiff_t n)
{
    if (job->rows.columns == NULL) {
        charge_dense(out, job->rows.n_columns);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        linear_row row = row_of(&job->rows, batch[i]);
        charge_sparse(out, &row);
    }
}

/* What the l2 penalty leaves of the weights in a step. */
INLINE double left_by(double l2, double rate) { return upper(0, 1 - rate * l2); }

INLINE void update_output(linear_job *job, const scored_output *scored, const ptrdiff_t *batch, ptrdiff_t n, ptrdiff_t step,
                          int simple)
{
    linear_output *out = scored->out;
    double rate = out->pace * job->rates[step], t = job->steps_before + (double)step + 1;
    if (job->l2 > 0) {
        double left = left_by(job->l2, rate);
        shrink(out, job->rows.n_columns, left);
        *scored->product *= left;
    }
    add_batch(job, scored, batch, n, rate, simple);
    if (!simple && job->average_from > 0 && t >= job->average_from)
        average(out, t - job->average_from + 1);
    if (!simple && job->l1 > 0) {
        out->due += job->l1 * rate;
        charge(job, out, batch, n);
    }
}

/* The mean loss of a batch, as many times as it has rows; that of a single row does not depend on its weight. */
INLINE double loss_of_output(const linear_job *job, const scored_output *scored, const ptrdiff_t *batch, ptrdiff_t n,
                             int simple)
{
    double sum = 0, divisor = divisor_of_batch(job, scored, batch, n, simple);
    if (simple || job->batch_size == 1)
        return (double)*scored->value;
    for (ptrdiff_t i = 0; i < n; i++) {
        double weight = weight_of_row(job, scored, i, batch[i], simple);
        /* The loss of a row without weight may be infinite. */
        sum += weight != 0 ? weight * (double)scored->value[i * scored->apart] : 0;
    }
    return divisor > 0 ? (double)n * sum / divisor : 0;
}

INLINE double penalty_on(const linear_job *job, double squares, double magnitudes)
{
    return 0.5 * job->l2 * squares + job->l1 * magnitudes;
}

INLINE void account_output(const linear_job *job, const scored_output *scored, const ptrdiff_t *batch, ptrdiff_t n, int simple)
{
    linear_output *out = scored->out, *counted = simple || job->loss.elementwise ? out : job->outputs[0];
    if (!job->watched)
        return;
    double penalty = penalty_on(job, out->squares, out->magnitudes);
    counted->objective += (simple || job->step == GRADIENT_STEP ? (double)n * penalty : 0);
    out->objective += loss_of_output(job, scored, batch, n, simple);
}

INLINE void step_by_batch(linear_job *job, const ptrdiff_t *batch, ptrdiff_t n, ptrdiff_t step, int simple)
{
    score_rows(job, batch, n);
    loss_of_batch(job, batch, n, simple);
    for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
        scored_output scored = scored_in_batch(job, k);
        account_output(job, &scored, batch, n, simple);
    }
    for (ptrdiff_t k = 0; k < job->n_outputs; k++) {
        scored_output scored = scored_in_batch(job, k);
        update_output(job, &scored, batch, n, step, simple);
    }
}

#endif
