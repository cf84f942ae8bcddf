/* The schedules over a whole network: which kernel runs on which buffers, in which order, shared by which threads.
 *
 * A team of threads enters together and stays for many steps.  Each phase's work is cut into units whose results do not
 * depend on who computes them; a barrier ends the phase.  So the bits are the same for any number of threads.
 *
 * The schedules are compiled together with the kernels: of a step of the smallest networks, half was spent on calls
 * between them.
 */
#ifndef FASTGD_SCHEDULE_H
#define FASTGD_SCHEDULE_H

#include "dense.h"
#include "dropout.h"
#include "gather.h"
#include "losses.h"
#include "narrow.h"
#include "normalization.h"
#include "softmax_layer.h"
#include "philox.h"
#include "sparse.h"
#include "whole_step.h"

/* Units, or rows, first .. last-1 are a member's. */
typedef struct {
    ptrdiff_t first, last;
} range;

INLINE range share(const network *net, int member, ptrdiff_t count)
{
    int team = net->barrier.size;
    if (team == 1)
        return (range){0, count};
    return (range){count * member / team, count * (member + 1) / team};
}

/* Batches that are learnt from: elements are dropped, and batches normalised by their own moments. */
INLINE int is_training(const network *net) { return net->job.kind == TRAIN || net->job.kind == GRADIENTS; }

/* The output of the layers below number k.  Where nothing is learnt, dropout leaves no output of its own. */
INLINE const matrix *input_of_layer(const network *net, ptrdiff_t k)
{
    while (k > 0 && net->layers[k - 1].kind == DROPOUT && !is_training(net))
        k--;
    return k == 0 ? &net->input : &net->layers[k - 1].output;
}

/* The kernels, each as a phase: this member's share of it ----------------------------------------------------------- */

static void gather_targets(network *net, range rows, ptrdiff_t first)
{
    const ptrdiff_t *order = net->order;
    const double *weights = net->job.weights;
    double one_share = 1 / net->now.weight_sum;
    REAL *scale = net->row_scale;
    if (net->loss.kind == ELEMENTWISE)
        one_share /= (double)net->layers[net->n_layers - 1].n_outputs;
    for (ptrdiff_t i = rows.first; i < rows.last; i++) {
        net->row_weights[i] = weights == NULL ? 1 : weights[order ? order[first + i] : first + i];
        scale[i] = (REAL)(net->row_weights[i] * one_share);
    }
    if (net->job.labels != NULL && order == NULL)
        net->target.labels = net->job.labels + first;
    else if (net->job.labels != NULL)
        for (ptrdiff_t i = rows.first; i < rows.last; i++)
            net->batch_labels[i] = net->job.labels[order[first + i]];
}

/* Whether the first layer's gradient is summed element by element, not column by column; never one that is stored. */
INLINE int updates_slim(const network *net)
{
    return net->job.kind == TRAIN && is_slim(&net->layers[0]) && net->squares == NULL
        && net->now.last - net->now.first <= net->most_rows;
}

/* A batch is taken apart by one member: each column's number depends on those before it. */
static void gather_sparse_rows(network *net, int member, ptrdiff_t first, ptrdiff_t count)
{
    range live;
    if (member == 0) {
        gather_elements(&net->job.rows, net->order, net->job.n_rows, first, count, &net->batch);
        if (is_training(net) && !net->history.is_plain)
            number_columns(&net->batch, &net->layers[0], count);
        if (is_training(net) && !updates_slim(net) && !net->history.is_plain)
            sort_by_column(&net->batch, count);
    }
    if (net->job.kind != TRAIN || net->history.is_plain || (net->history.steps == 0 && !net->history.counts_penalty))
        return;
    team_wait(&net->barrier);
    live = share(net, member, net->batch.live);
    if (!catch_up(&net->layers[0], &net->rule, &net->history, &net->batch, net->now.weight_sum, live.first, live.last))
        net->now.nonfinite_weights = 1;
}

/* Inputs, targets and weights of the batch's rows, from the user's arrays. */
static void gather_rows(network *net, int member, ptrdiff_t first, ptrdiff_t count)
{
    range rows = share(net, member, count);
    source_array x = net->job.x, y = net->job.y;
    const ptrdiff_t *order = net->order ? net->order + first : NULL;
    if (order == NULL) {
        x.data += first * x.row_stride;
        y.data += first * y.row_stride;
    }
    if (net->job.is_sparse)
        gather_sparse_rows(net, member, first, count);
    else
        gather(&x, order, rows.first, rows.last, &net->input);
    if (net->job.kind == PREDICT)
        return;
    if (net->job.labels == NULL)
        gather(&y, order, rows.first, rows.last, &net->target.values);
    gather_targets(net, rows, first);
}

/* What a dropout layer draws in this step, for rows from position `first` of the epoch on. */
static dropout_draw draw_of_layer(const network *net, ptrdiff_t k, ptrdiff_t first)
{
    return (dropout_draw){net->job.seed, DROPOUT_STREAM | (uint32_t)k << 8, (uint32_t)(net->job.steps_before + (uint64_t)net->now.done),
                          first - net->now.first};
}

/* The layers other than dense ones. */
static __attribute__((noinline)) void forward_other(network *net, int member, ptrdiff_t k, ptrdiff_t rows, ptrdiff_t first)
{
    dense_layer *layer = &net->layers[k];
    const matrix *input = input_of_layer(net, k);
    range members_rows = share(net, member, rows), panels = share(net, member, input->panels);
    dropout_draw draw = draw_of_layer(net, k, first);
    if (layer->kind == BATCH_NORM)
        batch_norm_forward(layer, input, rows, is_training(net), panels.first, panels.last);
    else if (layer->kind == LAYER_NORM)
        layer_norm_forward(layer, input, members_rows.first, members_rows.last);
    else if (layer->kind == SOFTMAX)
        softmax_forward(layer, input, members_rows.first, members_rows.last);
    else if (is_training(net))
        drop(layer, &draw, input, &layer->output, members_rows.first, members_rows.last);
}

/* Rows that begin at position `first`. */
static void forward_layer(network *net, int member, ptrdiff_t k, ptrdiff_t rows, ptrdiff_t first)
{
    dense_layer *layer = &net->layers[k];
    range units = share(net, member, product_units(rows, layer->n_outputs)), members_rows = share(net, member, rows);
    if (k == 0 && net->job.is_sparse)
        sparse_forward(layer, &net->batch, net->history.factor, members_rows.first, members_rows.last);
    else if (layer->kind == DENSE)
        dense_forward(layer, input_of_layer(net, k), rows, units.first, units.last);
    else
        forward_other(net, member, k, rows, first);
    team_wait(&net->barrier);
}

static void transpose_layer(network *net, int member, ptrdiff_t k)
{
    range panels = share(net, member, net->layers[k].transposed.panels);
    transpose_weight(&net->layers[k], panels.first, panels.last);
}

/* Sum of w l, four rows at a time: one by one, every row would wait for the row before it. */
static double weighted_loss(const network *net, range rows)
{
    const double *w = net->row_weights, *l = net->row_losses;
    double sum = 0;
    ptrdiff_t i = rows.first;
    for (; i + 4 <= rows.last; i += 4)
        sum += (w[i] * l[i] + w[i + 1] * l[i + 1]) + (w[i + 2] * l[i + 2] + w[i + 3] * l[i + 3]);
    for (; i < rows.last; i++)
        sum += w[i] * l[i];
    return sum;
}

/* Losses of the rows and the gradient of the last layer's scores; of softmax cross-entropy without the logarithms.  Returns
 * whether the losses will be finite. */
static int begin_losses(network *net, range rows, ptrdiff_t count, int gradient)
{
    dense_layer *last = &net->layers[net->n_layers - 1];
    scored_rows batch = {
        .score = &last->output, .target = &net->target, .row_weights = net->row_weights,
        .weighted = net->job.weights != NULL, .row_scale = gradient ? net->row_scale : NULL, .row_sums = net->row_sums,
        .scratch = net->scratch, .losses = net->row_losses, .delta = &last->delta, .count = count,
    };
    if (net->loss.kind == SOFTMAX_CROSS_ENTROPY)
        return softmax_gradient(&batch, rows.first, rows.last);
    loss_gradient(&net->loss, &batch, rows.first, rows.last);
    return isfinite(weighted_loss(net, rows));
}

static void finish_losses(network *net, range rows)
{
    if (net->loss.kind == SOFTMAX_CROSS_ENTROPY)
        add_logarithms(net->row_sums, net->row_losses, rows.first, rows.last);
}

/* A loss that compares the rows of a batch is one member's: each comparison adds to two rows. */
static void loss_of_scores(network *net, int member, ptrdiff_t count, int gradient)
{
    range rows = share(net, member, count);
    if (net->loss.compares_rows)
        rows = (range){0, member == 0 ? count : 0};
    begin_losses(net, rows, count, gradient);
    finish_losses(net, rows);
    if (gradient)
        differentiate(&net->layers[net->n_layers - 1], rows.first, rows.last);
}

/* A layer's gradient passes to the one below through the transpose that was made before any update, so the weights may
 * change in the same phase.  A layer that has no transpose does both panel by panel. */
static int backward_dense(network *net, int member, ptrdiff_t k, ptrdiff_t rows, int use)
{
    dense_layer *layer = &net->layers[k];
    range units;
    if (layer->passes_back && layer->transposed.data == NULL) {
        units = share(net, member, net->layers[k - 1].delta.panels);
        return backward_together(layer, layer - 1, rows, use, &net->rule, units.first, units.last);
    }
    if (layer->passes_back) {
        units = share(net, member, product_units(rows, layer->n_inputs));
        backward_input(layer, layer - 1, rows, units.first, units.last);
    }
    units = share(net, member, weight_units(layer));
    return backward_weight(layer, input_of_layer(net, k), rows, use, &net->rule, units.first, units.last);
}

static __attribute__((noinline)) int backward_other(network *net, int member, ptrdiff_t k, ptrdiff_t rows, ptrdiff_t first, int use)
{
    dense_layer *layer = &net->layers[k];
    range members_rows = share(net, member, rows), panels = share(net, member, layer->delta.panels);
    dropout_draw draw = draw_of_layer(net, k, first);
    if (layer->kind == BATCH_NORM)
        return batch_norm_backward(layer, layer - 1, rows, use, &net->rule, net->job.kind == TRAIN, panels.first, panels.last);
    if (layer->kind == LAYER_NORM) {
        if (layer->passes_back)
            layer_norm_pass_back(layer, layer - 1, members_rows.first, members_rows.last);
        /* Rows passed back with the old gains; now these change. */
        team_wait(&net->barrier);
        return layer_norm_update(layer, rows, use, &net->rule, panels.first, panels.last);
    }
    if (layer->passes_back && layer->kind == SOFTMAX) {
        softmax_pass_back(layer, layer - 1, members_rows.first, members_rows.last);
    } else if (layer->passes_back) {
        drop(layer, &draw, &layer->delta, &layer[-1].delta, members_rows.first, members_rows.last);
        differentiate(layer - 1, members_rows.first, members_rows.last);
    }
    return 1;
}

/* The bias is the first member's. */
static int backward_sparse(network *net, int member, ptrdiff_t rows, int use)
{
    dense_layer *layer = &net->layers[0];
    range live = share(net, member, net->batch.live), units = share(net, member, live_units(&net->batch));
    range columns = share(net, member, layer->n_inputs);
    int finite = member == 0 ? update_bias(layer, rows, use, &net->rule) : 1;
    if (net->history.is_plain) {
        double rate = scalar_at(net, net->place_of_rate);
        return finite & (member != 0 || descend_plainly(layer, &net->batch, &net->history, rows, rate, left_by_step(net)));
    }
    if (updates_slim(net)) {
        if (member == 0)
            slim_gradient(layer, &net->batch, rows);
        team_wait(&net->barrier);
    }
    if (use == UPDATE_WEIGHTS)
        return finite & update_live(layer, &net->batch, &net->rule, &net->history, net->history.steps + is_owed(net),
                                    units.first, units.last);
    if (use == STORE_GRADIENT) {
        clear_gradient(layer, columns.first, columns.last);
        team_wait(&net->barrier);
    }
    store_live_gradient(layer, &net->batch, use, live.first, live.last);
    return finite;
}

static void backward_layer(network *net, int member, ptrdiff_t k, ptrdiff_t rows, ptrdiff_t first, int use)
{
    int finite = k == 0 && net->job.is_sparse ? backward_sparse(net, member, rows, use)
               : net->layers[k].kind == DENSE ? backward_dense(net, member, k, rows, use)
                                              : backward_other(net, member, k, rows, first, use);
    if (!finite)
        net->now.nonfinite_weights = 1;
    team_wait(&net->barrier);
}

static void update_layers(network *net, int member)
{
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        range units = share(net, member, weight_units(&net->layers[k]));
        if (!update_from_gradient(&net->layers[k], &net->rule, units.first, units.last))
            net->now.nonfinite_weights = 1;
    }
    team_wait(&net->barrier);
}

/* Every member adds up all squares, in the order of the units: so the factor is the same bits for all. */
static double clip_factor(const network *net, ptrdiff_t units)
{
    double sum = 0;
    for (ptrdiff_t unit = 0; unit < units; unit++)
        sum += net->squares[unit];
    double norm = sqrt(sum) + net->clip_slack;
    return norm > net->clip_norm ? net->clip_norm / norm : 1;
}

/* An update from stored gradients, which are clipped by the norm of all of them. */
static void update_clipped(network *net, int member)
{
    ptrdiff_t units = 0;
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        range members = share(net, member, weight_units(&net->layers[k]));
        complete_gradient(&net->layers[k], members.first, members.last, net->squares + units);
        units += weight_units(&net->layers[k]);
    }
    team_wait(&net->barrier);
    double factor = clip_factor(net, units);
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        range members = share(net, member, weight_units(&net->layers[k]));
        if (!update_from_clipped(&net->layers[k], &net->rule, factor, members.first, members.last))
            net->now.nonfinite_weights = 1;
    }
    team_wait(&net->barrier);
}

/* The batch's gradients are added to those of the batches before it; at the end of a step their mean takes the place of the
 * batch's, and the sum begins anew. */
static void accumulate(network *net, int member)
{
    double share_of_batch = 1.0 / (double)net->batches_a_step;
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        range members = share(net, member, weight_units(&net->layers[k]));
        if (net->now.weight_sum > 0)
            add_to_sum(&net->layers[k], members.first, members.last);
        if (net->now.moves)
            take_mean(&net->layers[k], share_of_batch, members.first, members.last);
    }
}

/* Constraints on the new weights, and their average. */
static void finish_weights(network *net, int member)
{
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        range panels = share(net, member, net->layers[k].weight.panels);
        for (ptrdiff_t panel = panels.first; panel < panels.last; panel++) {
            constrain_weights(&net->layers[k], panel);
            if (net->averages)
                average_weights(&net->layers[k], net->now.newest_share, panel);
        }
    }
}

/* A batch ------------------------------------------------------------------------------------------------------------ */

/* Every member computes the sums whole: they are read before the update, and cheap beside the products. */
static double penalty_of_layers(const network *net)
{
    const step_history *history = &net->history;
    double sum = history->is_plain ? 0.5 * net->layers[0].l2 * history->factor * history->factor * history->square : 0;
    for (ptrdiff_t k = history->counts_penalty || history->is_plain ? 1 : 0; k < net->n_layers; k++)
        if (net->layers[k].l1 != 0 || net->layers[k].l2 != 0)
            sum += penalty(&net->layers[k]);
    return sum;
}

/* Forward through all layers, then the loss and its gradient: sum of w l, and the penalty once a step. */
static double loss_of_rows(network *net, int member, ptrdiff_t first, ptrdiff_t last, int first_part)
{
    ptrdiff_t rows = last - first;
    gather_rows(net, member, first, rows);
    team_wait(&net->barrier);
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        if (first_part && net->layers[k].transposed.data != NULL)
            transpose_layer(net, member, k);
        forward_layer(net, member, k, rows, first);
    }
    loss_of_scores(net, member, rows, 1);
    /* Before the barrier: once it is passed, some member updates weights. */
    double penalty = first_part && net->penalized ? net->now.weight_sum * penalty_of_layers(net) : 0;
    team_wait(&net->barrier);
    return weighted_loss(net, (range){0, rows}) + penalty;
}

/* The positions of a batch are cut into equal parts; gradients are stored by the first and added to by the others. */
static double pass_parts(network *net, int member, ptrdiff_t first, ptrdiff_t last, int use_of_whole)
{
    ptrdiff_t rows = last - first, parts = parts_of(rows, net->most_rows);
    double loss = 0;
    for (ptrdiff_t part = 0; part < parts; part++) {
        ptrdiff_t begin = rows * part / parts, end = rows * (part + 1) / parts;
        loss += loss_of_rows(net, member, first + begin, first + end, part == 0);
        if (!isfinite(loss))
            break;
        for (ptrdiff_t k = net->n_layers - 1; k >= 0; k--)
            backward_layer(net, member, k, end - begin, first + begin,
                           parts == 1 ? use_of_whole : part == 0 ? STORE_GRADIENT : ADD_TO_GRADIENT);
    }
    return loss;
}

/* Nothing is owed. */
static void forget_history(network *net)
{
    memset(net->history.taken, 0, (size_t)net->n_inputs * sizeof(uint32_t));
    net->history.steps = net->history.drawn = 0;
    net->history.square *= net->history.factor * net->history.factor;
    net->history.factor = 1;
}

/* What columns without a gradient are owed by the steps so far, shared among the members. */
static void settle_columns(network *net, int member)
{
    range columns = share(net, member, net->n_inputs);
    if (!settle(&net->layers[0], &net->rule, &net->history, columns.first, columns.last))
        net->now.nonfinite_weights = 1;
    team_wait(&net->barrier);
    if (member == 0)
        forget_history(net);
    team_wait(&net->barrier);
}

static void settle_network(network *net)
{
    uint64_t before = engine_enter();
    settle(&net->layers[0], &net->rule, &net->history, 0, net->n_inputs);
    forget_history(net);
    engine_leave(before);
}

/* After a step: the columns that had no part in it will take it when they are read, or now. */
static void remember_step(network *net, int member)
{
    if (!is_owed(net))
        return;
    if (member == 0)
        net->now.settles = !write_history(net);
    team_wait(&net->barrier);
    if (net->now.settles)
        settle_columns(net, member);
}

/* When the loss is looked at after a step, at the end of an epoch or of the call, it gets the penalty of the steps so far:
 * that of each column, in their order, whoever has taken the steps. */
static void account_for_penalties(network *net, int member, ptrdiff_t k)
{
    team_wait(&net->barrier);
    int goes_on = net->job.step + 1 < net->job.steps_per_epoch && k + 1 < net->job.n_steps && !net->now.nonfinite_weights
               && isfinite(net->now.loss_sum);
    /* The first member goes on to count the step, by which the others must not decide. */
    team_wait(&net->barrier);
    if (goes_on)
        return;
    settle_columns(net, member);
    for (ptrdiff_t column = 0; column < net->n_inputs && member == 0; column++) {
        net->now.loss_sum += net->history.penalty[column];
        net->history.penalty[column] = 0;
    }
}

static double sum_of_weights(const network *net, ptrdiff_t first, ptrdiff_t last)
{
    double sum = 0;
    if (net->job.weights == NULL)
        return (double)(last - first);
    for (ptrdiff_t i = first; i < last; i++)
        sum += net->job.weights[net->order ? net->order[i] : i];
    return sum;
}

/* Training ----------------------------------------------------------------------------------------------------------- */

/* What columns are owed by the steps so far they are owed with the penalties of these. */
static void scale_penalties(network *net, int member, double scale)
{
    if (net->history.steps > 0)
        settle_columns(net, member);
    team_wait(&net->barrier);
    for (ptrdiff_t k = 0; k < net->n_layers && member == 0; k++) {
        net->layers[k].l1 = scale * net->layers[k].own_l1;
        net->layers[k].l2 = scale * net->layers[k].own_l2;
    }
    if (member == 0)
        net->now.penalty_scale = scale;
    team_wait(&net->barrier);
}

/* Which rows, of which total weight, with which scalars. */
static void begin_step(network *net, ptrdiff_t k)
{
    const job_description *job = &net->job;
    if (job->draws_order && (k == 0 || job->step == 0))
        philox_permutation(job->seed, (uint32_t)job->epoch, job->n_rows, net->order);
    if (job->orders && (k == 0 || job->step == 0))
        net->order = job->orders + (job->epoch - job->first_epoch) * job->n_rows;
    if (net->history.is_plain && net->layers[0].own_l2 != 0 && (k == 0 || job->step == 0))
        net->history.square = squares_of_weights(&net->layers[0]);
    net->now.first = job->step * job->batch_size;
    net->now.last = smaller(net->now.first + job->batch_size, job->n_rows);
    net->now.loss_sum = 0;
    net->now.weight_sum = sum_of_weights(net, net->now.first, net->now.last);
    for (ptrdiff_t i = 0; i < job->n_scalars; i++)
        ((REAL *)net->rule_scalars)[i] = (REAL)job->scalars[k * job->n_scalars + i];
    const double *last = job->scalars + (k + 1) * job->n_scalars - 1;
    net->now.moves = net->batches_a_step == 1 || *last-- != 0;
    if (net->averages)
        net->now.newest_share = *last;
}

/* The same step for a narrow network: a tile of rows goes through all layers while it is in L1. */
static double descend_narrow(network *net, narrow_network *narrow, ptrdiff_t rows)
{
    strips tiles = strips_of(rows);
    range all = {0, rows};
    narrow_layer *first = narrow->layers, *last = first + narrow->n_layers - 1;
    double penalty = net->penalized ? net->now.weight_sum * penalty_of_layers(net) : 0;
    gather_rows(net, 0, net->now.first, rows);
    for (narrow_layer *at = first + 1; at <= last; at++)
        narrow_transpose(at);
    for (ptrdiff_t tile = 0; tile < tiles.count; tile++)
        for (narrow_layer *at = first; at <= last; at++)
            narrow_forward(at, strip_begin(tiles, tile), strip_height(tiles, tile));
    if (!begin_losses(net, all, rows, 1))
        return NAN;
    differentiate(last->layer, 0, rows);
    for (narrow_layer *at = last; at >= first; at--) {
        for (ptrdiff_t tile = 0; tile < tiles.count && at > first; tile++)
            narrow_backward_input(at, strip_begin(tiles, tile), strip_height(tiles, tile));
        if (!narrow_update(at, &net->rule, rows))
            net->now.nonfinite_weights = 1;
    }
    if (net->averages || net->constrains)
        finish_weights(net, 0);
    finish_losses(net, all);
    return weighted_loss(net, all) + penalty;
}

/* Whether gradients must all be there before a weight changes. */
INLINE int needs_gradients(const network *net)
{
    return net->squares != NULL || net->batches_a_step > 1;
}

/* What follows a batch's gradients, by which weights have been updated already unless they are whole. */
static void finish_batch(network *net, int member, int is_whole)
{
    if (net->batches_a_step > 1)
        accumulate(net, member);
    if (!net->now.moves)
        return;
    if (net->squares != NULL)
        update_clipped(net, member);
    else if (is_whole)
        update_layers(net, member);
    else if (net->job.is_sparse && !net->history.is_plain)
        remember_step(net, member);
    if (net->averages || net->constrains)
        finish_weights(net, member);
}

/* A batch of one part updates each tile of weights at once; a larger one adds its parts' gradients first. */
static void descend(network *net, int member)
{
    int stores = needs_gradients(net), is_whole = stores || net->now.last - net->now.first > net->most_rows;
    double loss = 0;
    /* A gradient that is whole updates all columns. */
    if (net->job.is_sparse && is_whole && net->history.steps > 0)
        settle_columns(net, member);
    if (net->now.weight_sum > 0)
        loss = pass_parts(net, member, net->now.first, net->now.last, stores ? STORE_GRADIENT : UPDATE_WEIGHTS);
    if (isfinite(loss))
        finish_batch(net, member, is_whole);
    if (member == 0)
        net->now.loss_sum = loss;
}

static void end_step(network *net, ptrdiff_t k)
{
    job_description *job = &net->job;
    double *losses = job->losses + 2 * (job->epoch - job->first_epoch);
    if (net->now.weight_sum > 0 && !isfinite(net->now.loss_sum)) {
        net->now.status = NONFINITE_LOSS;
        net->now.stop = 1;
        return;
    }
    if (net->now.nonfinite_weights) {
        net->now.status = NONFINITE_WEIGHTS;
        net->now.stop = 1;
    }
    losses[0] += net->now.loss_sum;
    losses[1] += net->now.weight_sum;
    net->now.done = k + 1;
    if (++job->step == job->steps_per_epoch) {
        job->step = 0;
        job->epoch++;
    }
}

static void train(network *net, int member)
{
    narrow_network narrow = narrow_network_of(net);
    for (ptrdiff_t k = 0; k < net->job.n_steps && !net->now.stop; k++) {
        if (member == 0)
            begin_step(net, k);
        team_wait(&net->barrier);
        ptrdiff_t rows = net->now.last - net->now.first;
        if (net->job.penalty_scales && net->job.penalty_scales[k] != net->now.penalty_scale)
            scale_penalties(net, member, net->job.penalty_scales[k]);
        if (net->now.weight_sum > 0 && narrow.n_layers && !needs_gradients(net) && rows <= net->most_rows)
            net->now.loss_sum = descend_narrow(net, &narrow, rows);
        /* A batch without weight is passed over, unless weights are to change by those before it. */
        else if (net->now.weight_sum > 0 || net->batches_a_step > 1)
            descend(net, member);
        if (net->history.counts_penalty)
            account_for_penalties(net, member, k);
        if (member == 0)
            end_step(net, k);
        team_wait(&net->barrier);
    }
    if (net->job.penalty_scales)
        scale_penalties(net, member, 1);
}

/* The other jobs ----------------------------------------------------------------------------------------------------- */

static void loss_and_gradients(network *net, int member)
{
    double loss;
    if (member == 0)
        net->now.weight_sum = sum_of_weights(net, 0, net->job.n_rows);
    team_wait(&net->barrier);
    loss = pass_parts(net, member, 0, net->job.n_rows, STORE_GRADIENT);
    if (member == 0) {
        net->now.loss_sum = loss;
        net->now.total_weight = net->now.weight_sum;
    }
}

static void account_rows(network *net, ptrdiff_t rows)
{
    const matrix *score = &net->layers[net->n_layers - 1].output;
    for (ptrdiff_t i = 0; i < rows; i++) {
        double correct = 0;
        if (net->by_class)
            correct = count_correct(score, &net->target, i);
        else if (net->by_sides)
            correct = count_correct_sides(score, &net->target, i);
        net->now.loss_sum += net->row_weights[i] * net->row_losses[i];
        net->now.correct_sum += net->row_weights[i] * correct;
        net->now.total_weight += net->row_weights[i];
    }
}

static void evaluate(network *net, int member)
{
    net->now.weight_sum = 1;
    for (ptrdiff_t first = 0; first < net->job.n_rows; first += net->capacity) {
        ptrdiff_t rows = smaller(net->capacity, net->job.n_rows - first);
        gather_rows(net, member, first, rows);
        team_wait(&net->barrier);
        for (ptrdiff_t k = 0; k < net->n_layers; k++)
            forward_layer(net, member, k, rows, first);
        loss_of_scores(net, member, rows, 0);
        team_wait(&net->barrier);
        if (member == 0)
            account_rows(net, rows);
        team_wait(&net->barrier);
    }
}

static void predict(network *net, int member)
{
    const job_description *job = &net->job;
    const matrix *output = input_of_layer(net, job->layer + 1);
    for (ptrdiff_t first = 0; first < job->n_rows; first += net->capacity) {
        ptrdiff_t count = smaller(net->capacity, job->n_rows - first);
        range rows = share(net, member, count);
        gather_rows(net, member, first, count);
        team_wait(&net->barrier);
        for (ptrdiff_t k = 0; k <= job->layer; k++)
            forward_layer(net, member, k, count, first);
        if (job->link && net->row_link)
            net->row_link(output, net->outputs_per_target, rows.first, rows.last);
        else if (job->link && net->link)
            apply(net->link, NULL, output, rows.first, rows.last);
        scatter(output, rows.first, rows.last, job->out + (first + rows.first) * job->out_row_stride,
                job->out_row_stride, job->out_column_stride);
        team_wait(&net->barrier);
    }
}

static void work(network *net, int member)
{
    uint64_t before = engine_enter();
    switch (net->job.kind) {
    case TRAIN: train(net, member); break;
    case GRADIENTS: loss_and_gradients(net, member); break;
    case EVALUATE: evaluate(net, member); break;
    case PREDICT: predict(net, member); break;
    }
    engine_leave(before);
}

#endif
