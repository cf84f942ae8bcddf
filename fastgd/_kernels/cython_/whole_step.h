/* What a step does with whole gradients and whole weights: before the rule, means over batches, and clipping by the norm of all
 * gradients; after it, constraints and averages. Networks that want none of this never come here. */
#ifndef FASTGD_WHOLE_STEP_H
#define FASTGD_WHOLE_STEP_H

#include <math.h>

#include "dense.h"

INLINE ptrdiff_t run_of_unit(const weight_unit *unit)
{
    return (unit->rows + (unit->ends_with_bias ? 1 : 0)) * unit->width;
}

static void add_to_sum(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        const REAL *gradient = panel_row(&layer->gradient, unit.panel, unit.row);
        REAL *sum = panel_row(&layer->gradient_sum, unit.panel, unit.row);
        for (ptrdiff_t i = 0, count = run_of_unit(&unit); i < count; i++)
            sum[i] += gradient[i];
    }
}

static void take_mean(const dense_layer *layer, double share_of_batch, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        REAL *gradient = panel_row(&layer->gradient, unit.panel, unit.row), by = (REAL)share_of_batch;
        REAL *sum = panel_row(&layer->gradient_sum, unit.panel, unit.row);
        for (ptrdiff_t i = 0, count = run_of_unit(&unit); i < count; i++) {
            gradient[i] = by * sum[i];
            sum[i] = 0;
        }
    }
}

/* Completes the stored gradients of units with those of the penalties, and gives the squares of each unit. */
static void complete_gradient(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last, double *squares)
{
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        REAL *gradient = panel_row(&layer->gradient, unit.panel, unit.row);
        if (layer->l1 != 0 || layer->l2 != 0)
            add_penalty_gradient(layer, panel_row(&layer->weight, unit.panel, unit.row), unit.rows * unit.width, gradient);
        squares[index] = sum_of_squares(gradient, run_of_unit(&unit));
    }
}

/* An update from gradients that are complete, each multiplied by a factor first. */
static int update_from_clipped(const dense_layer *layer, const update_rule *rule, double factor, ptrdiff_t first, ptrdiff_t last)
{
    dense_layer unpenalized = *layer;
    unpenalized.l1 = unpenalized.l2 = 0;
    for (ptrdiff_t index = first; index < last && factor != 1; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        REAL *gradient = panel_row(&layer->gradient, unit.panel, unit.row), by = (REAL)factor;
        for (ptrdiff_t i = 0, count = run_of_unit(&unit); i < count; i++)
            gradient[i] *= by;
    }
    return update_from_gradient(&unpenalized, rule, first, last);
}

/* No column of the weights longer than max_norm; the bias, which is the last row, is not part of it. */
static void shorten_columns(const dense_layer *layer, ptrdiff_t panel)
{
    ptrdiff_t width = width_of_panel(&layer->weight, panel);
    REAL *weight = panel_row(&layer->weight, panel, 0), factors[PANEL_WIDTH];
    double squares[PANEL_WIDTH] = {0};
    for (ptrdiff_t row = 0; row < layer->n_inputs; row++)
        for (ptrdiff_t column = 0; column < width; column++)
            squares[column] += (double)weight[row * width + column] * (double)weight[row * width + column];
    for (ptrdiff_t column = 0; column < width; column++) {
        double norm = sqrt(squares[column]);
        factors[column] = norm > layer->max_norm ? (REAL)(layer->max_norm / norm) : 1;
    }
    for (ptrdiff_t row = 0; row < layer->n_inputs; row++)
        for (ptrdiff_t column = 0; column < width; column++)
            weight[row * width + column] *= factors[column];
}

/* First no weight below zero, then the norm: that is the nearest point which is both. */
static void constrain_weights(const dense_layer *layer, ptrdiff_t panel)
{
    if (layer->nonnegative) {
        REAL *weight = panel_row(&layer->weight, panel, 0);
        for (ptrdiff_t i = 0, count = layer->n_inputs * width_of_panel(&layer->weight, panel); i < count; i++)
            weight[i] = weight[i] < 0 ? 0 : weight[i];
    }
    if (layer->max_norm > 0)
        shorten_columns(layer, panel);
}

/* average <- (1 - share) average + share w, biases and gains too. */
static void average_weights(const dense_layer *layer, double share, ptrdiff_t panel)
{
    const REAL *weight = panel_row(&layer->weight, panel, 0);
    REAL *average = panel_row(&layer->average, panel, 0), newest = (REAL)share, kept = (REAL)(1 - share);
    for (ptrdiff_t i = 0, count = (layer->n_inputs + 1) * width_of_panel(&layer->weight, panel); i < count; i++)
        average[i] = kept * average[i] + newest * weight[i];
}

#endif
