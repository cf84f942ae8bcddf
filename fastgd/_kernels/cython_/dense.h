/* The dense layer's kernels: products in tiles, with what follows a product applied to the tile while it is in L1. */
#ifndef FASTGD_DENSE_H
#define FASTGD_DENSE_H

#include "gather.h"
#include "panels.h"
#include "transpose.h"

/* A product's unit is one tile: a panel's width and at most TILE_ROWS rows.  A panel's tiles follow each other. */
static ptrdiff_t product_units(ptrdiff_t rows, ptrdiff_t columns)
{
    return ceil_divide(columns, PANEL_WIDTH) * ceil_divide(rows, TILE_ROWS);
}

/* Where a tile lies. */
typedef struct {
    strips strips;
    ptrdiff_t panel, strip;
} tile_place;

INLINE tile_place place_of_unit(ptrdiff_t unit, ptrdiff_t rows)
{
    strips of = strips_of(rows);
    if (of.count == 1)
        return (tile_place){of, unit, 0};
    return (tile_place){of, unit / of.count, unit % of.count};
}

INLINE void next_tile(tile_place *place)
{
    if (++place->strip == place->strips.count) {
        place->strip = 0;
        place->panel++;
    }
}

/* output = f(input W + b) */
static void dense_forward(const dense_layer *layer, const matrix *input, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t last)
{
    const matrix *score = layer->keeps_output ? &layer->output : &layer->kept;
    tile_place at = place_of_unit(first, rows);
    for (; first < last; first++, next_tile(&at)) {
        ptrdiff_t width = width_of_panel(score, at.panel), row = strip_begin(at.strips, at.strip);
        ptrdiff_t height = strip_height(at.strips, at.strip);
        const REAL *weight = panel_row(&layer->weight, at.panel, 0);
        left_rows left = rows_of(input, row);
        REAL *out = panel_row(score, at.panel, row);
        tiles_for(width)->multiply_rows[height](&left, weight, weight + layer->n_inputs * width, 0, out);
        if (layer->activate) {
            void *arrays[] = {out, panel_row(&layer->output, at.panel, row)};
            layer->activate(arrays, height * width, layer->activation_scalars);
        }
    }
}

INLINE void differentiate_run(const dense_layer *layer, ptrdiff_t panel, ptrdiff_t row, ptrdiff_t count, REAL *delta)
{
    void *arrays[] = {panel_row(&layer->kept, panel, row), delta};
    if (layer->differentiate)
        layer->differentiate(arrays, count, layer->activation_scalars);
}

/* delta_below = (delta W^T) * f'(kept below) */
static void backward_input(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, ptrdiff_t first,
                           ptrdiff_t last)
{
    tile_place at = place_of_unit(first, rows);
    for (; first < last; first++, next_tile(&at)) {
        ptrdiff_t width = width_of_panel(&below->delta, at.panel), row = strip_begin(at.strips, at.strip);
        ptrdiff_t height = strip_height(at.strips, at.strip);
        left_rows left = rows_of(&layer->delta, row);
        REAL *out = panel_row(&below->delta, at.panel, row);
        tiles_for(width)->multiply_rows[height](&left, panel_row(&layer->transposed, at.panel, 0), NULL, 0, out);
        differentiate_run(below, at.panel, row, height * width, out);
    }
}

/* delta *= f'(kept), for the last layer, whose delta comes from the loss. */
static void differentiate(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < layer->delta.panels; panel++)
        differentiate_run(layer, panel, first, (last - first) * width_of_panel(&layer->delta, panel),
                          panel_row(&layer->delta, panel, first));
}

/* Unit: one panel of the transpose, that is PANEL_WIDTH rows of the weights.  Square blocks go through registers; what
 * is left over at the edges, element by element. */
static void transpose_weight(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = first; panel < last; panel++) {
        ptrdiff_t to_width = width_of_panel(&layer->transposed, panel), i0 = panel * PANEL_WIDTH;
        ptrdiff_t inputs = smaller(PANEL_WIDTH, layer->n_inputs - i0);
        for (ptrdiff_t from_panel = 0; from_panel < layer->weight.panels; from_panel++) {
            ptrdiff_t o0 = from_panel * PANEL_WIDTH, outputs = smaller(PANEL_WIDTH, layer->n_outputs - o0);
            ptrdiff_t from_width = width_of_panel(&layer->weight, from_panel);
            const REAL *from = panel_row(&layer->weight, from_panel, i0);
            REAL *to = panel_row(&layer->transposed, panel, o0);
            transpose_area(from, from_width, to, to_width, inputs, outputs);
        }
    }
}

/* A unit of the weights: the rows that one panel of the inputs meets, in one panel of the outputs; the last of a panel
 * takes the bias row along. Its elements are one run of memory. */
typedef struct {
    ptrdiff_t panel, input_panel, row, rows, width;
    int ends_with_bias;
} weight_unit;

static ptrdiff_t weight_units(const dense_layer *layer)
{
    return layer->weight.panels * ceil_divide(layer->n_inputs, PANEL_WIDTH);
}

INLINE weight_unit unit_of_weights(const dense_layer *layer, ptrdiff_t unit)
{
    ptrdiff_t input_panels = ceil_divide(layer->n_inputs, PANEL_WIDTH);
    ptrdiff_t panel = input_panels == 1 ? unit : unit / input_panels, input_panel = unit - panel * input_panels;
    ptrdiff_t row = input_panel * PANEL_WIDTH;
    return (weight_unit){panel, input_panel, row, smaller(PANEL_WIDTH, layer->n_inputs - row),
                         width_of_panel(&layer->weight, panel), input_panel + 1 == input_panels};
}

#define UNIT_ELEMENTS ((PANEL_WIDTH + 1) * PANEL_WIDTH)

/* gradient += l2 w + l1 sign(w) */
static void add_penalty_gradient(const dense_layer *layer, const REAL *weight, ptrdiff_t count, REAL *gradient)
{
    REAL l1 = (REAL)layer->l1, l2 = (REAL)layer->l2;
    for (ptrdiff_t i = 0; i < count; i++)
        gradient[i] += l2 * weight[i] + l1 * (REAL)((weight[i] > 0) - (weight[i] < 0));
}

/* Four probes, since one would make every vector wait for the one before it. */
INLINE int run_is_finite(const REAL *values, ptrdiff_t count)
{
    VEC probe[4] = {vec_splat(0), vec_splat(0), vec_splat(0), vec_splat(0)};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; k++)
            probe[k] = vec_finite_probe(probe[k], vec_load(values + i + k * LANES));
    for (; i + LANES <= count; i += LANES)
        probe[0] = vec_finite_probe(probe[0], vec_load(values + i));
    if (i < count)
        probe[1] = vec_finite_probe(probe[1], vec_load_part(values + i, count - i));
    return !vec_has_nan((probe[0] + probe[1]) + (probe[2] + probe[3]));
}

/* The rule on weights and biases, or on each with scalars of their own. */
INLINE void apply_rule(const update_rule *rule, void *const *arrays, ptrdiff_t weights, ptrdiff_t count)
{
    if (rule->bias_scalars == rule->scalars) {
        rule->update(arrays, count, rule->scalars);
        return;
    }
    rule->update(arrays, weights, rule->scalars);
    if (count == weights)
        return;
    void *of_biases[2 + FASTGD_MAX_STATES];
    for (ptrdiff_t k = 0; k < 2 + rule->n_states; k++)
        of_biases[k] = (REAL *)arrays[k] + weights;
    rule->update(of_biases, count - weights, rule->bias_scalars);
}

/* Weights from old to new, the first `penalized` of them with their penalty.  Weights that would become non-finite are put
 * back, so that a training that diverges leaves finite ones.  arrays: weights, gradient, states; the update leaves the old
 * weights in the gradient's place. */
static int update_run(const dense_layer *layer, const update_rule *rule, void *const *arrays, ptrdiff_t penalized, ptrdiff_t count)
{
    REAL *weight = arrays[0], *gradient = arrays[1];
    if (layer->l1 != 0 || layer->l2 != 0)
        add_penalty_gradient(layer, weight, penalized, gradient);
    apply_rule(rule, arrays, penalized, count);
    if (run_is_finite(weight, count))
        return 1;
    copy_run(weight, gradient, count);
    return 0;
}

static int update_unit(const dense_layer *layer, const update_rule *rule, const weight_unit *unit, REAL *gradient)
{
    char *weight = (char *)panel_row(&layer->weight, unit->panel, unit->row);
    ptrdiff_t offset = weight - layer->weight.data, penalized = unit->rows * unit->width;
    void *arrays[2 + FASTGD_MAX_STATES];
    arrays[0] = weight;
    arrays[1] = gradient;
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        arrays[2 + s] = layer->state[s].data + offset;
    return update_run(layer, rule, arrays, penalized, penalized + (unit->ends_with_bias ? unit->width : 0));
}

/* Bytes of a layer's weights up to which they and the states are taken to be in the L2 cache already: prefetching
 * cost 5 % at 0.4 MB, and gained 10 % at 4 MB. */
#define CACHED_WEIGHTS (1 << 20)

/* Weights and states of a unit, asked for before its product so that they have arrived when the update wants them. */
INLINE void prefetch_unit(const dense_layer *layer, const update_rule *rule, const weight_unit *unit)
{
    const char *weight = (const char *)panel_row(&layer->weight, unit->panel, unit->row);
    ptrdiff_t offset = weight - layer->weight.data, bytes = unit->rows * unit->width * (ptrdiff_t)sizeof(REAL);
    for (ptrdiff_t line = 0; line < bytes; line += 64) {
        __builtin_prefetch(weight + line, 1);
        for (ptrdiff_t s = 0; s < rule->n_states; s++)
            __builtin_prefetch(layer->state[s].data + offset + line, 1);
    }
}

/* The gradient of a unit, in tiles whose sums run over the batch in registers: input^T delta, and delta's columns. */
INLINE void unit_gradient(const dense_layer *layer, const matrix *input, ptrdiff_t rows, const weight_unit *unit, int add,
                          REAL *gradient)
{
    const tile_functions *tiles = tiles_for(unit->width);
    const REAL *left = panel_row(input, unit->input_panel, 0), *right = panel_row(&layer->delta, unit->panel, 0);
    ptrdiff_t left_width = width_of_panel(input, unit->input_panel);
    REAL *tile = gradient, *bias = gradient + unit->rows * unit->width;
    strips of = strips_of(unit->rows);
    for (ptrdiff_t strip = 0; strip < of.count; strip++) {
        ptrdiff_t height = strip_height(of, strip);
        tiles->multiply_columns[height](rows, left, left_width, right, add ? tile : NULL, tile);
        left += height;
        tile += height * unit->width;
    }
    if (unit->ends_with_bias)
        tiles->sum_columns(rows, right, add ? bias : NULL, bias);
}

/* The gradient of each unit of weights goes to the optimizer from L1: the gradient matrix never exists, unless it is
 * asked for. */
static int backward_weight(const dense_layer *layer, const matrix *input, ptrdiff_t rows, int use,
                           const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    REAL scratch[UNIT_ELEMENTS] ALIGNED;
    int finite = 1, beyond_cache = layer->n_inputs * layer->n_outputs * (ptrdiff_t)sizeof(REAL) > CACHED_WEIGHTS;
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        if (use != UPDATE_WEIGHTS) {
            unit_gradient(layer, input, rows, &unit, use == ADD_TO_GRADIENT,
                          panel_row(&layer->gradient, unit.panel, unit.row));
            continue;
        }
        if (beyond_cache)
            prefetch_unit(layer, rule, &unit);
        unit_gradient(layer, input, rows, &unit, 0, scratch);
        finite &= update_unit(layer, rule, &unit, scratch);
    }
    return finite;
}

static int update_from_gradient(const dense_layer *layer, const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        finite &= update_unit(layer, rule, &unit, panel_row(&layer->gradient, unit.panel, unit.row));
    }
    return finite;
}

static double penalty(const dense_layer *layer)
{
    double sum = 0;
    for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++) {
        const REAL *weight = panel_row(&layer->weight, panel, 0);
        ptrdiff_t count = layer->n_inputs * width_of_panel(&layer->weight, panel);
        double squares = 0, magnitudes = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            double w = (double)weight[i];
            squares += w * w;
            magnitudes += fabs(w);
        }
        sum += 0.5 * layer->l2 * squares + layer->l1 * magnitudes;
    }
    return sum;
}

#endif
