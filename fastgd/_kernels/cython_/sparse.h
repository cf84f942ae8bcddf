/* The first layer on sparse rows: it reads, and its update touches, only the weights of columns that a batch has.
 *
 * Such a column is LIVE.  The others have a gradient of zero, or of their penalty alone; what the optimizer makes of it is
 * owed to them until they are read.  Then the steps that a column has missed are taken one after the other, with the
 * scalars of their time: the same operations on the same numbers as if every step had gone through all columns, hence
 * the same bits (docs/decisions/0012).
 */
#ifndef FASTGD_SPARSE_H
#define FASTGD_SPARSE_H

#include "dense.h"
#include "replay.h"

/* Converts a run of values; by element type. */
typedef void (*convert_function)(const char *from, ptrdiff_t stride, ptrdiff_t count, REAL *to);
#define CASE(code, type) \
    static void convert_run_##type(const char *from, ptrdiff_t stride, ptrdiff_t count, REAL *to) \
    { \
        convert_##type(from, stride, count, to); \
    }
EACH_ELEMENT_TYPE(CASE)
#undef CASE
#define CASE(code, type) [code] = {convert_run_##type, sizeof(type)},
static const struct {
    convert_function convert;
    ptrdiff_t size;
} element_runs[] = {EACH_ELEMENT_TYPE(CASE)};
#undef CASE

/* The batch ---------------------------------------------------------------------------------------------------------- */

INLINE void prefetch_elements(const sparse_source *source, ptrdiff_t row)
{
    ptrdiff_t begin = source->starts[row], length = source->starts[row + 1] - begin;
    ptrdiff_t size = element_runs[source->element_type].size, column_size = source->wide_columns ? sizeof(int64_t) : sizeof(int32_t);
    prefetch(source->values + begin * size, length * size);
    prefetch((const char *)source->columns + begin * column_size, length * column_size);
}

/* The elements of rows first .. first + count - 1 of the order, row by row; in one that is shuffled, of n_rows, those to come
 * are asked for. */
static void gather_elements(const sparse_source *source, const ptrdiff_t *order, ptrdiff_t n_rows, ptrdiff_t first,
                            ptrdiff_t count, sparse_batch *batch)
{
    ptrdiff_t filled = 0;
    REAL *values = batch->value;
    for (ptrdiff_t i = 0; i < count; i++) {
        if (order && first + i + ROWS_AHEAD < n_rows)
            prefetch_elements(source, order[first + i + ROWS_AHEAD]);
        ptrdiff_t row = order ? order[first + i] : first + i, begin = source->starts[row];
        ptrdiff_t length = source->starts[row + 1] - begin, size = element_runs[source->element_type].size;
        element_runs[source->element_type].convert(source->values + begin * size, size, length, values + filled);
        batch->row_start[i] = filled;
        if (source->wide_columns)
            for (ptrdiff_t k = 0; k < length; k++)
                batch->column[filled + k] = (uint32_t)((const int64_t *)source->columns)[begin + k];
        else
            memcpy(batch->column + filled, (const int32_t *)source->columns + begin, (size_t)length * sizeof(int32_t));
        filled += length;
    }
    batch->row_start[count] = filled;
}

/* Numbers the columns in the order in which they turn up. */
static void number_columns(sparse_batch *batch, const dense_layer *layer, ptrdiff_t count)
{
    ptrdiff_t live = 0, elements = batch->row_start[count];
    for (ptrdiff_t s = 0; s < batch->live; s++)
        batch->number[batch->live_column[s]] = 0;
    /* Whether a column is new cannot be foreseen: no branch depends on it. */
    for (ptrdiff_t k = 0; k < elements; k++) {
        uint32_t column = batch->column[k], known = batch->number[column];
        __builtin_prefetch(panel_row(&layer->weight, 0, column));
        batch->live_column[live] = column;
        known = known ? known : (uint32_t)live + 1;
        batch->number[column] = known;
        batch->slot[k] = known - 1;
        live += known == (uint32_t)live + 1;
    }
    batch->live = live;
}

/* The same elements column by column, each column's in the order of the rows. */
static void sort_by_column(sparse_batch *batch, ptrdiff_t count)
{
    ptrdiff_t *next = batch->column_start + 1;
    const REAL *values = batch->value;
    REAL *by_column = batch->value_by_column;
    memset(batch->column_start, 0, (size_t)(batch->live + 2) * sizeof(ptrdiff_t));
    for (ptrdiff_t k = 0; k < batch->row_start[count]; k++)
        next[batch->slot[k] + 1]++;
    for (ptrdiff_t s = 1; s <= batch->live; s++)
        next[s] += next[s - 1];
    for (ptrdiff_t row = 0; row < count; row++)
        for (ptrdiff_t k = batch->row_start[row]; k < batch->row_start[row + 1]; k++) {
            ptrdiff_t at = next[batch->slot[k]]++;
            batch->row[at] = (uint32_t)row;
            by_column[at] = values[k];
        }
}

/* Forward ------------------------------------------------------------------------------------------------------------ */

/* The weights of a layer of few outputs, of one column and in one panel: 16 bytes. */
typedef REAL SLIM __attribute__((vector_size(16)));

/* A layer of one output has its weight in the first lane of each row of its only panel, and zeros in the others. */
#define SINGLE_WIDTH ((ptrdiff_t)(16 / sizeof(REAL)))
#define ROWS_AT_A_TIME 4

INLINE SLIM slim_at(const REAL *run)
{
    SLIM slim;
    memcpy(&slim, run, sizeof slim);
    return slim;
}

INLINE SLIM add_products(const sparse_batch *batch, const REAL *weight, ptrdiff_t first, ptrdiff_t last, SLIM sum)
{
    for (ptrdiff_t k = first; k < last; k++)
        sum += (((const REAL *)batch->value)[k] - (SLIM){0}) * slim_at(weight + batch->column[k] * SINGLE_WIDTH);
    return sum;
}

/* So many rows take turns, since each sum has to wait for the product before it.  All lanes are summed, as in a tile: of single
 * numbers some compilers make products apart from sums, which rounds twice.  The weights are what is stored times a factor;
 * without one, sums begin with the bias, as those of tiles do. */
INLINE void score_singly(int rows, const dense_layer *layer, const sparse_batch *batch, REAL factor, const matrix *score, ptrdiff_t row)
{
    const REAL *weight = panel_row(&layer->weight, 0, 0);
    const ptrdiff_t *start = batch->row_start + row;
    ptrdiff_t shortest = start[1] - start[0];
    SLIM bias = slim_at(weight + layer->n_inputs * SINGLE_WIDTH), sum[ROWS_AT_A_TIME];
    REAL *to = panel_row(score, 0, row);
    for (int r = 0; r < rows; r++) {
        shortest = smaller(shortest, start[r + 1] - start[r]);
        sum[r] = factor == 1 ? bias : (SLIM){0};
    }
    for (ptrdiff_t k = 0; k < shortest; k++)
        for (int r = 0; r < rows; r++)
            sum[r] = add_products(batch, weight, start[r] + k, start[r] + k + 1, sum[r]);
    for (int r = 0; r < rows; r++, to += SINGLE_WIDTH) {
        sum[r] = add_products(batch, weight, start[r] + shortest, start[r + 1], sum[r]);
        if (factor != 1)
            sum[r] = sum[r] * (factor - (SLIM){0}) + bias;
        memcpy(to, sum + r, sizeof sum[r]);
    }
}

/* Rows first .. last-1 of input W + b. */
static void sparse_scores(const dense_layer *layer, const sparse_batch *batch, double factor, const matrix *score, ptrdiff_t first,
                          ptrdiff_t last)
{
    for (; layer->n_outputs == 1 && first + ROWS_AT_A_TIME <= last; first += ROWS_AT_A_TIME)
        score_singly(ROWS_AT_A_TIME, layer, batch, (REAL)factor, score, first);
    for (; layer->n_outputs == 1 && first < last; first++)
        score_singly(1, layer, batch, (REAL)factor, score, first);
    for (ptrdiff_t panel = 0; panel < score->panels && first < last; panel++) {
        ptrdiff_t width = width_of_panel(score, panel);
        const REAL *weight = panel_row(&layer->weight, panel, 0), *bias = weight + layer->n_inputs * width;
        for (ptrdiff_t row = first; row < last; row++) {
            ptrdiff_t begin = batch->row_start[row];
            tiles_for(width)->sum_rows_at(batch->row_start[row + 1] - begin, (const REAL *)batch->value + begin, batch->column + begin,
                                          weight, bias, panel_row(score, panel, row));
        }
    }
}

/* Rows first .. last-1 of f(input W + b). */
static void sparse_forward(const dense_layer *layer, const sparse_batch *batch, double factor, ptrdiff_t first, ptrdiff_t last)
{
    const matrix *score = layer->keeps_output ? &layer->output : &layer->kept;
    sparse_scores(layer, batch, factor, score, first, last);
    for (ptrdiff_t panel = 0; panel < score->panels && layer->activate && last > first; panel++)
        layer->activate((void *[]){panel_row(score, panel, first), panel_row(&layer->output, panel, first)},
                        (last - first) * width_of_panel(score, panel), layer->activation_scalars);
}

/* Plain steps of one output ------------------------------------------------------------------------------------------ */

/* Where a step is w - rate g, a batch's gradient is summed in the second lane of the weights, and is zero again once it has been
 * taken off: two passes over the elements as they stand, without numbers for columns and without copies of them.  The sums
 * are the same, in the same order.  What draws all weights to zero is one factor of all of them. */

/* A factor beyond these is multiplied out, long before weights without it leave the range of numbers. */
#define LARGEST_FACTOR 1e9

static double squares_of_weights(const dense_layer *layer)
{
    enum { PARTS = 8 };
    const REAL *weight = panel_row(&layer->weight, 0, 0);
    double part[PARTS] = {0}, sum = 0;
    ptrdiff_t column = 0;
    for (; column + PARTS <= layer->n_inputs; column += PARTS)
        for (ptrdiff_t k = 0; k < PARTS; k++, weight += SINGLE_WIDTH)
            part[k] += (double)*weight * (double)*weight;
    for (; column < layer->n_inputs; column++, weight += SINGLE_WIDTH)
        part[0] += (double)*weight * (double)*weight;
    for (ptrdiff_t k = 0; k < PARTS; k++)
        sum += part[k];
    return sum;
}

/* Columns first .. last-1; returns whether all weights are finite, of which any others are left as they were. */
static int multiply_by_factor(const dense_layer *layer, const step_history *history, ptrdiff_t first, ptrdiff_t last)
{
    REAL *weight = panel_row(&layer->weight, 0, first), factor = (REAL)history->factor;
    int finite = 1;
    for (ptrdiff_t i = 0; i < (last - first) * SINGLE_WIDTH; i++) {
        REAL new = weight[i] * factor;
        finite &= new * 0 == 0;
        weight[i] = new * 0 == 0 ? new : weight[i];
    }
    return finite;
}

/* Of all weights no more than so much is left. */
static int draw_to_zero(const dense_layer *layer, step_history *history, double left)
{
    int finite = 1;
    history->factor *= left;
    if (fabs(history->factor) < LARGEST_FACTOR && fabs(history->factor) > 1 / LARGEST_FACTOR)
        return 1;
    finite = multiply_by_factor(layer, history, 0, layer->n_inputs);
    history->square *= history->factor * history->factor;
    history->factor = 1;
    return finite;
}

static void add_plain_gradient(const dense_layer *layer, const sparse_batch *batch, ptrdiff_t count)
{
    REAL *weight = panel_row(&layer->weight, 0, 0);
    const REAL *values = batch->value, *delta = panel_row(&layer->delta, 0, 0);
    for (ptrdiff_t row = 0; row < count; row++, delta += SINGLE_WIDTH)
        for (ptrdiff_t k = batch->row_start[row]; k < batch->row_start[row + 1]; k++)
            weight[batch->column[k] * SINGLE_WIDTH + 1] += values[k] * *delta;
}

/* Each weight less its gradient times so much; the squares are counted if told.  A column that comes again has none left. */
INLINE int take_plain_gradient(const dense_layer *layer, const sparse_batch *batch, step_history *history, ptrdiff_t count,
                               REAL by, int counts)
{
    REAL *weight = panel_row(&layer->weight, 0, 0);
    double squares = 0;
    int finite = 1;
    for (ptrdiff_t k = 0; k < batch->row_start[count]; k++) {
        REAL *at = weight + batch->column[k] * SINGLE_WIDTH, old = at[0], new = old - by * at[1];
        at[1] = 0;
        if (new * 0 != 0) {
            finite = 0;
            continue;
        }
        at[0] = new;
        if (counts)
            squares += ((double)new - (double)old) * ((double)new + (double)old);
    }
    history->square += squares;
    return finite;
}

/* A step with the gradient of so many rows: without one it would leave so much of each weight. */
static int descend_plainly(const dense_layer *layer, const sparse_batch *batch, step_history *history, ptrdiff_t count,
                           double rate, double left)
{
    int finite = left == 1 || draw_to_zero(layer, history, left);
    history->steps = history->factor != 1;
    add_plain_gradient(layer, batch, count);
    REAL by = (REAL)(rate / history->factor);
    return finite & (layer->l2 == 0 ? take_plain_gradient(layer, batch, history, count, by, 0)
                                    : take_plain_gradient(layer, batch, history, count, by, 1));
}

/* What columns are owed ---------------------------------------------------------------------------------------------- */

/* Weights of columns first .. last-1, so many of each, that lie in one run: from element number `begin` of the matrix on. */
typedef struct {
    ptrdiff_t begin, width, first, last;
} column_run;

INLINE column_run run_in_panel(const matrix *m, ptrdiff_t panel, ptrdiff_t first, ptrdiff_t last)
{
    return (column_run){panel_row(m, panel, first) - (REAL *)m->data, width_of_panel(m, panel), first, last};
}

/* Adds to the penalty of each column that of these weights, times so much. */
static void count_penalty(const dense_layer *layer, const column_run *run, double times, double *penalty)
{
    const REAL *weight = (const REAL *)layer->weight.data + run->begin;
    for (ptrdiff_t column = run->first; column < run->last; column++, weight += run->width) {
        DOUBLES sum = {0};
        add_penalty(weight, run->width, layer->l1, layer->l2, times, &sum);
        penalty[column] += sum_of_doubles(sum);
    }
}

/* Columns that are alike in what they have missed: the steps from number `step` on, with no gradient, one by one. */
static int take_missed_steps(const dense_layer *layer, const update_rule *rule, const step_history *history, const column_run *run,
                             ptrdiff_t step)
{
    REAL gradient[UNIT_ELEMENTS] ALIGNED;
    void *arrays[2 + FASTGD_MAX_STATES] = {(REAL *)layer->weight.data + run->begin, gradient};
    ptrdiff_t count = (run->last - run->first) * run->width;
    update_rule missed = *rule;
    int finite = 1;
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        arrays[2 + s] = (REAL *)layer->state[s].data + run->begin;
    for (; step < history->steps; step++) {
        for (ptrdiff_t i = 0; i < count; i++)
            gradient[i] = 0;
        if (history->counts_penalty)
            count_penalty(layer, run, history->weight_sum[step], history->penalty);
        missed.scalars = missed.bias_scalars = (const REAL *)history->scalars + step * FASTGD_MAX_SCALARS;
        finite &= update_run(layer, &missed, arrays, count, count);
    }
    return finite;
}

/* The same where each step is but a factor: all of them are one.  weight_sum: of the batch of the step to come, or 0. */
static void take_missed_factors(const dense_layer *layer, const step_history *history, const column_run *run, ptrdiff_t step,
                                double weight_sum)
{
    REAL *weight = (REAL *)layer->weight.data + run->begin;
    double now = history->scale[history->steps], inverse = 1 / history->scale[step];
    double squares = history->squares[history->steps] - history->squares[step] + weight_sum * now * now;
    if (history->counts_penalty)
        count_penalty(layer, run, squares * inverse * inverse, history->penalty);
    for (ptrdiff_t i = 0; i < (run->last - run->first) * run->width; i++)
        weight[i] *= (REAL)(now * inverse);
}

/* Whole vectors of a column: a panel has two, or the last one in which a second would be padding. */
INLINE ptrdiff_t vectors_of_column(const matrix *m) { return 2 * (m->panels - 1) + ceil_divide(m->last_width, LANES); }

INLINE column_run vector_of_column(const matrix *m, ptrdiff_t column, ptrdiff_t vector)
{
    column_run run = run_in_panel(m, vector / 2, column, column + 1);
    ptrdiff_t within = vector % 2 * LANES;
    return (column_run){run.begin + within, smaller(run.width - within, LANES), column, column + 1};
}

/* Vectors from number `vector` on of columns from `first` on. */
typedef struct {
    ptrdiff_t first, columns, vector, vectors;
} column_part;

INLINE void copy_part(const matrix *m, const column_part *part, REAL *to, int back)
{
    for (ptrdiff_t c = 0; c < part->columns; c++)
        for (ptrdiff_t v = 0; v < part->vectors; v++, to += LANES) {
            column_run run = vector_of_column(m, part->first + c, part->vector + v);
            REAL *at = (REAL *)m->data + run.begin;
            if (back)
                vec_store_lanes(at, vec_load(to), run.width);
            else
                vec_store(to, vec_load_lanes(at, run.width));
        }
}

/* No bit is set: a zero below zero a step would turn into one above. */
static int are_zero(const REAL *values, ptrdiff_t count)
{
    UNSIGNED any = 0, bits;
    for (ptrdiff_t i = 0; i < count; i++) {
        memcpy(&bits, values + i, sizeof bits);
        any |= bits;
    }
    return any == 0;
}

/* All steps that are missed.  Weights that would become non-finite on the way take them one by one, since they stay as they
 * are in such a step. */
static int replay_part(const dense_layer *layer, const update_rule *rule, step_history *history, const missed_steps *missed,
                       const column_part *part)
{
    REAL runs[2 + FASTGD_MAX_STATES][VECTORS_REPLAYED * LANES] ALIGNED;
    DOUBLES penalty[VECTORS_REPLAYED];
    void *arrays[2 + FASTGD_MAX_STATES] = {runs[0]};
    ptrdiff_t size = part->vectors * LANES, first_step = history->steps - missed->steps;
    int finite = 1, rests = history->rests_at_zero && first_step >= history->drawn;
    for (ptrdiff_t a = 1 + rule->n_states; a > 1; a--) {
        arrays[a] = runs[a];
        copy_part(&layer->state[a - 2], part, runs[a], 0);
        rests = rests && are_zero(runs[a], part->columns * size);
    }
    if (rests)
        return 1;
    copy_part(&layer->weight, part, runs[0], 0);
    memset(penalty, 0, (size_t)part->columns * sizeof *penalty);
    if (!rule->replay(missed, arrays, part->columns, size, (double *)penalty)) {
        for (ptrdiff_t k = 0; k < part->columns * part->vectors; k++) {
            column_run run = vector_of_column(&layer->weight, part->first + k / part->vectors, part->vector + k % part->vectors);
            finite &= take_missed_steps(layer, rule, history, &run, first_step);
        }
        return finite;
    }
    copy_part(&layer->weight, part, runs[0], 1);
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        copy_part(&layer->state[s], part, runs[2 + s], 1);
    for (ptrdiff_t c = 0; c < part->columns && missed->weight_sum; c++)
        history->penalty[part->first + c] += sum_of_doubles(penalty[c]);
    return 1;
}

/* As many columns at a time as there is room for, or a part of one. */
static int replay_columns(const dense_layer *layer, const update_rule *rule, step_history *history, ptrdiff_t first, ptrdiff_t last,
                          ptrdiff_t step)
{
    missed_steps missed = {(const REAL *)history->scalars + step * FASTGD_MAX_SCALARS,
                           history->counts_penalty ? history->weight_sum + step : NULL, history->steps - step, layer->l1, layer->l2};
    ptrdiff_t vectors = vectors_of_column(&layer->weight), columns = VECTORS_REPLAYED / vectors + (vectors > VECTORS_REPLAYED);
    int finite = 1;
    for (; first < last; first += columns)
        for (ptrdiff_t v = 0; v < vectors; v += VECTORS_REPLAYED) {
            column_part part = {first, smaller(columns, last - first), v, smaller(VECTORS_REPLAYED, vectors - v)};
            finite &= replay_part(layer, rule, history, &missed, &part);
        }
    return finite;
}

/* Columns that are alike in what they have missed are as of now; weight_sum is that of the step that they will take with a
 * gradient, or 0 if there is none. */
static int bring_up_to_date(const dense_layer *layer, const update_rule *rule, step_history *history, ptrdiff_t first,
                            ptrdiff_t last, double weight_sum)
{
    ptrdiff_t step = history->taken[first];
    int finite = 1, counts = history->counts_penalty && weight_sum > 0, replays = rule->replay && !history->at_once && !history->scales;
    if (step == history->steps && !counts)
        return 1;
    if (replays && step < history->steps)
        finite = replay_columns(layer, rule, history, first, last, step);
    for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++) {
        column_run run = run_in_panel(&layer->weight, panel, first, last);
        if (history->scales) {
            take_missed_factors(layer, history, &run, step, weight_sum);
            continue;
        }
        if (!replays)
            finite &= take_missed_steps(layer, rule, history, &run, step);
        if (counts)
            count_penalty(layer, &run, weight_sum, history->penalty);
    }
    for (ptrdiff_t column = first; column < last; column++)
        history->taken[column] = (uint32_t)history->steps;
    return finite;
}

/* Live columns lie anywhere, but are known: what is kept of one is asked for while others are brought up to date, and sooner
 * what tells whether there is anything to do. */
#define LIVE_AHEAD 12
#define COLUMNS_AHEAD 3

/* What is kept of a column, before it is wanted: some twenty lines of memory in a dozen places. */
INLINE void ask_for_panel(const matrix *m, ptrdiff_t panel, ptrdiff_t column)
{
    const char *row = (const char *)panel_row(m, panel, column);
    ptrdiff_t bytes = width_of_panel(m, panel) * (ptrdiff_t)sizeof(REAL);
    for (ptrdiff_t line = 0; line < bytes; line += CACHE_LINE)
        __builtin_prefetch(row + line, 1);
}

INLINE void ask_for_column(const dense_layer *layer, const update_rule *rule, ptrdiff_t column)
{
    for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++) {
        ask_for_panel(&layer->weight, panel, column);
        for (ptrdiff_t s = 0; s < rule->n_states; s++)
            ask_for_panel(&layer->state[s], panel, column);
    }
}

/* Live columns number first .. last-1, before a step. */
static int catch_up(const dense_layer *layer, const update_rule *rule, step_history *history, const sparse_batch *batch,
                    double weight_sum, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (; first < last; first++) {
        ptrdiff_t column = batch->live_column[first];
        if (first + LIVE_AHEAD < last) {
            __builtin_prefetch(history->taken + batch->live_column[first + LIVE_AHEAD], 1);
            __builtin_prefetch(history->penalty + batch->live_column[first + LIVE_AHEAD], 1);
        }
        if (first + COLUMNS_AHEAD < last)
            ask_for_column(layer, rule, batch->live_column[first + COLUMNS_AHEAD]);
        finite &= bring_up_to_date(layer, rule, history, column, column + 1, weight_sum);
    }
    return finite;
}

/* Columns first .. last-1, neighbours that have missed the same steps together. */
static int settle(const dense_layer *layer, const update_rule *rule, step_history *history, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    if (history->is_plain)
        return multiply_by_factor(layer, history, first, last);
    for (ptrdiff_t next; first < last; first = next) {
        ptrdiff_t end = smaller(last, first + PANEL_WIDTH);
        for (next = first + 1; next < end && history->taken[next] == history->taken[first]; next++)
            ;
        finite &= bring_up_to_date(layer, rule, history, first, next, 0);
    }
    return finite;
}

INLINE double scalar_at(const network *net, ptrdiff_t place)
{
    return place < 0 ? 0 : (double)((const REAL *)net->rule.scalars)[place];
}

/* Whether this step draws all weights to zero, gradient or not. */
INLINE int draws_weights(const network *net)
{
    const dense_layer *layer = &net->layers[0];
    return layer->l1 != 0 || layer->l2 != 0 || scalar_at(net, net->place_of_coupled) != 0 || scalar_at(net, net->place_of_decay) != 0;
}

/* A step is no step for columns without a gradient if the rule does nothing then, and nothing draws weights to zero. */
static int is_owed(const network *net) { return !net->rests || draws_weights(net); }

/* Of a weight without a gradient, where a step is but a factor. */
INLINE double left_by_step(const network *net)
{
    double drawn = net->layers[0].l2 + scalar_at(net, net->place_of_coupled);
    return 1 - scalar_at(net, net->place_of_decay) - scalar_at(net, net->place_of_rate) * drawn;
}

/* A product of factors beyond this, or below its inverse, is begun anew, long before it leaves the range of numbers. */
#define LARGEST_SCALE 1e100

/* Writes down a step that is owed; returns whether there is room for another one. */
static int write_history(network *net)
{
    step_history *history = &net->history;
    ptrdiff_t step = history->steps++;
    double scale = history->scale[step];
    memcpy((REAL *)history->scalars + step * FASTGD_MAX_SCALARS, net->rule.scalars, FASTGD_MAX_SCALARS * sizeof(REAL));
    history->weight_sum[step] = net->now.weight_sum;
    history->squares[step + 1] = history->squares[step] + net->now.weight_sum * scale * scale;
    scale *= left_by_step(net);
    history->scale[step + 1] = scale;
    if (draws_weights(net))
        history->drawn = history->steps;
    return history->steps < history->room && !history->at_once
        && (!history->scales || (fabs(scale) < LARGEST_SCALE && fabs(scale) > 1 / LARGEST_SCALE));
}

/* Backward ----------------------------------------------------------------------------------------------------------- */

/* A column's row of the gradient in one panel; added to what is there already, if told. */
INLINE void column_gradient(const dense_layer *layer, const sparse_batch *batch, ptrdiff_t live, ptrdiff_t panel, int add, REAL *to)
{
    ptrdiff_t begin = batch->column_start[live];
    tiles_for(width_of_panel(&layer->delta, panel))
        ->sum_rows_at(batch->column_start[live + 1] - begin, (const REAL *)batch->value_by_column + begin, batch->row + begin,
                      panel_row(&layer->delta, panel, 0), add ? to : NULL, to);
}

/* Of a layer of few outputs sorting the elements would take longer than adding them up where they stand; the sums are the
 * same, in the same order. */
INLINE int is_slim(const dense_layer *layer) { return layer->n_outputs * (ptrdiff_t)sizeof(REAL) <= (ptrdiff_t)sizeof(SLIM); }

static void slim_gradient(const dense_layer *layer, const sparse_batch *batch, ptrdiff_t count)
{
    SLIM *gradient = batch->gradient;
    const REAL *values = batch->value;
    memset(gradient, 0, (size_t)batch->live * sizeof(SLIM));
    for (ptrdiff_t row = 0; row < count; row++) {
        SLIM delta;
        memcpy(&delta, panel_row(&layer->delta, 0, row), sizeof delta);
        for (ptrdiff_t k = batch->row_start[row]; k < batch->row_start[row + 1]; k++)
            gradient[batch->slot[k]] += (values[k] - (SLIM){0}) * delta;
    }
}

/* So many live columns at a time, wherever they lie, are brought together to be updated as one run. */
#define LIVE_TOGETHER PANEL_WIDTH

static ptrdiff_t live_units(const sparse_batch *batch) { return ceil_divide(batch->live, LIVE_TOGETHER); }

/* Rows of a matrix to a run, or back; a constant number of bytes becomes a move or two. */
#define EACH_ROW(BYTES) \
    for (ptrdiff_t k = 0; k < count; k++) { \
        REAL *row = panel_row(m, panel, columns[k]); \
        memcpy(back ? row : run + k * width, back ? run + k * width : row, BYTES); \
    }
INLINE void copy_columns(const matrix *m, ptrdiff_t panel, const uint32_t *columns, ptrdiff_t count, REAL *run, int back)
{
    ptrdiff_t width = width_of_panel(m, panel);
    switch (width * sizeof(REAL)) {
    case 16: EACH_ROW(16) break;
    case 32: EACH_ROW(32) break;
    case 64: EACH_ROW(64) break;
    default: EACH_ROW(2 * VECTOR_BYTES)
    }
}

static int update_live_unit(const dense_layer *layer, const sparse_batch *batch, const update_rule *rule, ptrdiff_t panel,
                            ptrdiff_t first, ptrdiff_t count)
{
    REAL runs[2 + FASTGD_MAX_STATES][LIVE_TOGETHER * PANEL_WIDTH] ALIGNED;
    void *arrays[2 + FASTGD_MAX_STATES];
    const uint32_t *columns = batch->live_column + first;
    ptrdiff_t width = width_of_panel(&layer->weight, panel);
    int finite;
    if (is_slim(layer))
        memcpy(runs[1], (const SLIM *)batch->gradient + first, (size_t)count * sizeof(SLIM));
    for (ptrdiff_t k = 0; k < count && !is_slim(layer); k++)
        column_gradient(layer, batch, first + k, panel, 0, runs[1] + k * width);
    for (ptrdiff_t a = 0; a < 2 + rule->n_states; a++) {
        arrays[a] = runs[a];
        if (a != 1)
            copy_columns(a == 0 ? &layer->weight : &layer->state[a - 2], panel, columns, count, runs[a], 0);
    }
    finite = update_run(layer, rule, arrays, count * width, count * width);
    for (ptrdiff_t a = 0; a < 2 + rule->n_states; a++)
        if (a != 1)
            copy_columns(a == 0 ? &layer->weight : &layer->state[a - 2], panel, columns, count, runs[a], 1);
    return finite;
}

/* What is kept of these columns in one panel, while their gradients are summed. */
INLINE void ask_for_unit(const dense_layer *layer, const sparse_batch *batch, const update_rule *rule, ptrdiff_t panel,
                         ptrdiff_t first, ptrdiff_t count)
{
    for (ptrdiff_t k = first; k < first + count; k++) {
        ask_for_panel(&layer->weight, panel, batch->live_column[k]);
        for (ptrdiff_t s = 0; s < rule->n_states; s++)
            ask_for_panel(&layer->state[s], panel, batch->live_column[k]);
    }
}

/* Unit: LIVE_TOGETHER live columns. `taken`: how many steps of the history they will have behind them. */
static int update_live(const dense_layer *layer, const sparse_batch *batch, const update_rule *rule, step_history *history,
                       ptrdiff_t taken, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (; first < last; first++) {
        ptrdiff_t begin = first * LIVE_TOGETHER, count = smaller(LIVE_TOGETHER, batch->live - begin);
        for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++) {
            ask_for_unit(layer, batch, rule, panel, begin, count);
            finite &= update_live_unit(layer, batch, rule, panel, begin, count);
        }
        for (ptrdiff_t k = 0; k < count; k++)
            history->taken[batch->live_column[begin + k]] = (uint32_t)taken;
    }
    return finite;
}

/* The bias's gradient is nobody's but its own: always live. */
static int update_bias(const dense_layer *layer, ptrdiff_t rows, int use, const update_rule *rule)
{
    int finite = 1;
    for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++) {
        REAL scratch[PANEL_WIDTH] ALIGNED, *bias = panel_row(&layer->weight, panel, layer->n_inputs), *gradient = scratch;
        ptrdiff_t offset = (char *)bias - layer->weight.data, width = width_of_panel(&layer->weight, panel);
        void *arrays[2 + FASTGD_MAX_STATES] = {bias, scratch};
        if (use != UPDATE_WEIGHTS)
            gradient = panel_row(&layer->gradient, panel, layer->n_inputs);
        tiles_for(width)->sum_columns(rows, panel_row(&layer->delta, panel, 0), use == ADD_TO_GRADIENT ? gradient : NULL, gradient);
        if (use != UPDATE_WEIGHTS)
            continue;
        for (ptrdiff_t s = 0; s < rule->n_states; s++)
            arrays[2 + s] = layer->state[s].data + offset;
        finite &= update_run(layer, rule, arrays, 0, width);
    }
    return finite;
}

/* Rows of a gradient that is stored whole, of live columns number first .. last-1; the others are zero. */
static void store_live_gradient(const dense_layer *layer, const sparse_batch *batch, int use, ptrdiff_t first, ptrdiff_t last)
{
    for (; first < last; first++)
        for (ptrdiff_t panel = 0; panel < layer->gradient.panels; panel++)
            column_gradient(layer, batch, first, panel, use == ADD_TO_GRADIENT,
                            panel_row(&layer->gradient, panel, batch->live_column[first]));
}

static void clear_gradient(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < layer->gradient.panels; panel++)
        memset(panel_row(&layer->gradient, panel, first), 0,
               (size_t)((last - first) * width_of_panel(&layer->gradient, panel)) * sizeof(REAL));
}

#endif
