/* Networks whose every layer fits one panel: a step with nothing left to work out but the products.
 *
 * Such a step takes a fraction of a microsecond, and more of it goes into finding the way through panels and units than
 * into arithmetic (docs/decisions/0008).  Here that way is laid once per call of the engine.  The kernels are those of
 * dense.h, applied in the same order, so the bits are too.
 */
#ifndef FASTGD_NARROW_H
#define FASTGD_NARROW_H

#include "dense.h"

#define MOST_NARROW_LAYERS 8

typedef struct {
    const dense_layer *layer;
    const matrix *input;
    const tile_functions *to_outputs, *to_inputs;   /* for the widths of the two panels */
    strips units;                                   /* of the rows of the weights */
    ptrdiff_t n_inputs, width, input_width, weights;
    REAL *weight, *output, *kept, *delta, *transposed;
    void *update_arrays[2 + FASTGD_MAX_STATES];
} narrow_layer;

typedef struct {
    ptrdiff_t n_layers;                             /* 0: the network is not narrow */
    narrow_layer layers[MOST_NARROW_LAYERS];
} narrow_network;

INLINE narrow_layer narrow_layer_of(const dense_layer *layer, const matrix *input, const update_rule *rule)
{
    narrow_layer narrow = {
        .layer = layer, .input = input,
        .to_outputs = tiles_for(layer->weight.last_width), .to_inputs = tiles_for(input->last_width),
        .units = strips_of(layer->n_inputs),
        .n_inputs = layer->n_inputs, .width = layer->weight.last_width, .input_width = input->last_width,
        .weights = layer->n_inputs * layer->weight.last_width,
        .weight = (REAL *)layer->weight.data, .output = (REAL *)layer->output.data, .kept = (REAL *)layer->kept.data,
        .delta = (REAL *)layer->delta.data, .transposed = (REAL *)layer->transposed.data,
    };
    narrow.update_arrays[0] = layer->weight.data;
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        narrow.update_arrays[2 + s] = layer->state[s].data;
    return narrow;
}

INLINE int is_narrow(const network *net)
{
    if (net->barrier.size > 1 || net->n_layers > MOST_NARROW_LAYERS || net->n_inputs > PANEL_WIDTH || net->job.is_sparse)
        return 0;
    for (ptrdiff_t k = 0; k < net->n_layers; k++)
        if (net->layers[k].kind != DENSE || net->layers[k].n_outputs > PANEL_WIDTH)
            return 0;
    return 1;
}

static narrow_network narrow_network_of(const network *net)
{
    narrow_network narrow = {0};
    if (!is_narrow(net))
        return narrow;
    narrow.n_layers = net->n_layers;
    for (ptrdiff_t k = 0; k < net->n_layers; k++)
        narrow.layers[k] = narrow_layer_of(&net->layers[k], k == 0 ? &net->input : &net->layers[k - 1].output, &net->rule);
    return narrow;
}

INLINE left_rows rows_of_panel(const REAL *data, ptrdiff_t width, ptrdiff_t row, ptrdiff_t columns)
{
    return (left_rows){data + row * width, 0, columns, 0, width};
}

static void narrow_forward(const narrow_layer *at, ptrdiff_t row, ptrdiff_t height)
{
    left_rows left = rows_of_panel((const REAL *)at->input->data, at->input_width, row, at->n_inputs);
    REAL *output = at->output + row * at->width, *score = at->layer->keeps_output ? output : at->kept + row * at->width;
    at->to_outputs->multiply_rows[height](&left, at->weight, at->weight + at->weights, 0, score);
    if (at->layer->activate)
        at->layer->activate((void *[]){score, output}, height * at->width, at->layer->activation_scalars);
}

static void narrow_backward_input(const narrow_layer *at, ptrdiff_t row, ptrdiff_t height)
{
    const narrow_layer *below = at - 1;
    left_rows left = rows_of_panel(at->delta, at->width, row, at->layer->n_outputs);
    REAL *delta = below->delta + row * below->width;
    at->to_inputs->multiply_rows[height](&left, at->transposed, NULL, 0, delta);
    if (below->layer->differentiate)
        below->layer->differentiate((void *[]){below->kept + row * below->width, delta}, height * below->width,
                                    below->layer->activation_scalars);
}

INLINE void narrow_transpose(const narrow_layer *at)
{
    transpose_area(at->weight, at->width, at->transposed, at->input_width, at->n_inputs, at->layer->n_outputs);
}

static int narrow_update(narrow_layer *at, const update_rule *rule, ptrdiff_t rows)
{
    REAL gradient[UNIT_ELEMENTS] ALIGNED, *tile = gradient;
    const REAL *left = (const REAL *)at->input->data;
    for (ptrdiff_t strip = 0; strip < at->units.count; strip++) {
        ptrdiff_t height = strip_height(at->units, strip);
        at->to_outputs->multiply_columns[height](rows, left, at->input_width, at->delta, NULL, tile, NULL);
        left += height;
        tile += height * at->width;
    }
    at->to_outputs->sum_columns(rows, at->delta, NULL, tile);
    at->update_arrays[1] = gradient;
    return update_run(at->layer, rule, at->update_arrays, at->weights, at->weights + at->width);
}

#endif
