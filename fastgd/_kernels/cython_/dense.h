/* The dense layer's kernels: products in tiles, with what follows a product applied to the tile while it is in L1. */
#ifndef FASTGD_DENSE_H
#define FASTGD_DENSE_H

#include <string.h>

#include "gather.h"
#include "panels.h"
#include "sums.h"
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
        left_rows left = rows_of(input, row, 0, layer->n_inputs);
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

/* A tile of delta_below = (delta W^T) * f'(kept below), or the part of its sums that some columns of delta contribute: right
 * is that part of W^T, and parts follow one another in the order of the columns. */
INLINE void pass_back(const dense_layer *layer, const dense_layer *below, const tile_place *at, ptrdiff_t column,
                      ptrdiff_t depth, const REAL *right)
{
    ptrdiff_t width = width_of_panel(&below->delta, at->panel), row = strip_begin(at->strips, at->strip);
    ptrdiff_t height = strip_height(at->strips, at->strip);
    left_rows left = rows_of(&layer->delta, row, column, depth);
    REAL *out = panel_row(&below->delta, at->panel, row);
    tiles_for(width)->multiply_rows[height](&left, right, column ? out : NULL, width, out);
    if (column + depth == layer->n_outputs)
        differentiate_run(below, at->panel, row, height * width, out);
}

static void backward_input(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, ptrdiff_t first,
                           ptrdiff_t last)
{
    tile_place at = place_of_unit(first, rows);
    for (; first < last; first++, next_tile(&at))
        pass_back(layer, below, &at, 0, layer->n_outputs, panel_row(&layer->transposed, at.panel, 0));
}

/* delta *= f'(kept), for the last layer, whose delta comes from the loss. */
static void differentiate(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < layer->delta.panels; panel++)
        differentiate_run(layer, panel, first, (last - first) * width_of_panel(&layer->delta, panel),
                          panel_row(&layer->delta, panel, first));
}

/* The weights between one panel of the inputs and one of the outputs.  Square blocks go through registers; what is left
 * over at the edges, element by element. */
INLINE void transpose_panels(const dense_layer *layer, ptrdiff_t input_panel, ptrdiff_t panel, REAL *to, ptrdiff_t to_width)
{
    ptrdiff_t row = input_panel * PANEL_WIDTH, column = panel * PANEL_WIDTH;
    transpose_area(panel_row(&layer->weight, panel, row), width_of_panel(&layer->weight, panel), to, to_width,
                   smaller(PANEL_WIDTH, layer->n_inputs - row), smaller(PANEL_WIDTH, layer->n_outputs - column));
}

/* Unit: one panel of the transpose, that is PANEL_WIDTH rows of the weights. */
static void transpose_weight(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t to_panel = first; to_panel < last; to_panel++)
        for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel++)
            transpose_panels(layer, to_panel, panel, panel_row(&layer->transposed, to_panel, panel * PANEL_WIDTH),
                             width_of_panel(&layer->transposed, to_panel));
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

/* gradient + l2 w + l1 sign(w) */
INLINE VEC with_penalty(VEC gradient, VEC weight, VEC l1, VEC l2)
{
    VEC pull = vec_select(weight != 0, vec_with_sign_of(l1, weight), vec_splat(0));
    return gradient + (l2 * weight + pull);
}

static void add_penalty_gradient(const dense_layer *layer, const REAL *weight, ptrdiff_t count, REAL *gradient)
{
    VEC l1 = vec_splat((REAL)layer->l1), l2 = vec_splat((REAL)layer->l2);
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vec_store(gradient + i, with_penalty(vec_load(gradient + i), vec_load(weight + i), l1, l2));
    if (i < count)
        vec_store_part(gradient + i, with_penalty(vec_load_part(gradient + i, count - i), vec_load_part(weight + i, count - i), l1, l2),
                       count - i);
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
    ptrdiff_t offset = weight - layer->weight.data, above_bias = unit->rows * unit->width;
    /* Gains are no weights: nothing draws them towards zero. */
    ptrdiff_t penalized = layer->kind == DENSE ? above_bias : 0;
    void *arrays[2 + FASTGD_MAX_STATES];
    arrays[0] = weight;
    arrays[1] = gradient;
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        arrays[2 + s] = layer->state[s].data + offset;
    return update_run(layer, rule, arrays, penalized, above_bias + (unit->ends_with_bias ? unit->width : 0));
}

/* Bytes of a layer's weights beyond which they and the optimizer's states are taken not to be in the L2 cache. */
#define CACHED_WEIGHTS (1 << 18)

static int is_beyond_cache(const dense_layer *layer)
{
    return layer->n_inputs * layer->n_outputs * (ptrdiff_t)sizeof(REAL) > CACHED_WEIGHTS;
}

/* The weights and states of a unit, to be asked for while a gradient is summed over so many rows. */
INLINE memory_ahead memory_of_unit(const dense_layer *layer, const update_rule *rule, const weight_unit *unit, ptrdiff_t rows)
{
    const char *weight = (const char *)panel_row(&layer->weight, unit->panel, unit->row);
    ptrdiff_t lines = ceil_divide(unit->rows * unit->width * (ptrdiff_t)sizeof(REAL), CACHE_LINE);
    ptrdiff_t visits = ceil_divide(unit->rows, TILE_ROWS) * ((rows - 1) / TERMS_A_VISIT);
    memory_ahead ahead = {{weight}, 1 + rule->n_states, lines, visits ? ceil_divide(lines, visits) : 0};
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        ahead.run[1 + s] = layer->state[s].data + (weight - layer->weight.data);
    return ahead;
}

/* A unit's columns that do not fill a vector are a tile's rows instead, and its rows fill the vectors: of four columns that takes
 * a quarter of the multiply-adds.  The same sums in the same order. */
INLINE int is_turned(const weight_unit *unit, ptrdiff_t left_width)
{
    return unit->width < LANES && unit->rows == PANEL_WIDTH && left_width == PANEL_WIDTH;
}

INLINE void turned_gradient(ptrdiff_t rows, const REAL *left, const REAL *right, ptrdiff_t width, REAL *gradient, memory_ahead *ahead)
{
    REAL turned[LANES * PANEL_WIDTH] ALIGNED;
    tiles_for(PANEL_WIDTH)->multiply_columns[width](rows, right, width, left, NULL, turned, ahead);
    for (ptrdiff_t column = 0; column < width; column += SMALL)
        for (ptrdiff_t row = 0; row < PANEL_WIDTH; row += SMALL)
            transpose_small(turned + column * PANEL_WIDTH + row, PANEL_WIDTH, gradient + row * width + column, width);
}

/* The gradient of a unit, in tiles whose sums run over the batch in registers: input^T delta, and delta's columns. */
INLINE void unit_gradient(const dense_layer *layer, const matrix *input, ptrdiff_t rows, const weight_unit *unit, int add,
                          REAL *gradient, memory_ahead *ahead)
{
    const tile_functions *tiles = tiles_for(unit->width);
    const REAL *left = panel_row(input, unit->input_panel, 0), *right = panel_row(&layer->delta, unit->panel, 0);
    ptrdiff_t left_width = width_of_panel(input, unit->input_panel);
    REAL *tile = gradient, *bias = gradient + unit->rows * unit->width;
    strips of = strips_of(unit->rows);
    int turned = !add && is_turned(unit, left_width);
    if (turned)
        turned_gradient(rows, left, right, unit->width, gradient, ahead);
    for (ptrdiff_t strip = 0; strip < of.count && !turned; strip++) {
        ptrdiff_t height = strip_height(of, strip);
        tiles->multiply_columns[height](rows, left, left_width, right, add ? tile : NULL, tile, ahead);
        left += height;
        tile += height * unit->width;
    }
    if (unit->ends_with_bias)
        tiles->sum_columns(rows, right, add ? bias : NULL, bias);
}

/* The gradient of a unit goes to the optimizer from L1: the gradient matrix never exists, unless it is asked for.  wanted is
 * the unit whose weights and states are asked for meanwhile, or NULL. */
INLINE int descend_unit(const dense_layer *layer, const matrix *input, ptrdiff_t rows, int use, const update_rule *rule,
                        const weight_unit *unit, const weight_unit *wanted)
{
    REAL scratch[UNIT_ELEMENTS] ALIGNED;
    memory_ahead ahead;
    if (use != UPDATE_WEIGHTS) {
        REAL *gradient = panel_row(&layer->gradient, unit->panel, unit->row);
        unit_gradient(layer, input, rows, unit, use == ADD_TO_GRADIENT, gradient, NULL);
        return 1;
    }
    if (wanted)
        ahead = memory_of_unit(layer, rule, wanted, rows);
    unit_gradient(layer, input, rows, unit, 0, scratch, wanted ? &ahead : NULL);
    return update_unit(layer, rule, unit, scratch);
}

static int backward_weight(const dense_layer *layer, const matrix *input, ptrdiff_t rows, int use,
                           const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1, beyond_cache = is_beyond_cache(layer);
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        finite &= descend_unit(layer, input, rows, use, rule, &unit, beyond_cache ? &unit : NULL);
    }
    return finite;
}

/* Panels of the outputs whose weights are transposed at a time: so many that the sums which pass the gradient back need not
 * be loaded and stored often, so few that their transpose stays in L1. */
#define PANELS_AT_A_TIME 4

/* One panel of the inputs, a few panels of the outputs from `panel` on: first the weights as they are pass the gradient
 * back, then they are updated. What the units so many panels further on need is asked for meanwhile. */
static int backward_block(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, int use,
                          const update_rule *rule, ptrdiff_t input_panel, ptrdiff_t panel)
{
    REAL transposed[PANELS_AT_A_TIME * PANEL_WIDTH * PANEL_WIDTH] ALIGNED;
    ptrdiff_t panels = layer->weight.panels, next = smaller(panel + PANELS_AT_A_TIME, panels);
    ptrdiff_t input_panels = ceil_divide(layer->n_inputs, PANEL_WIDTH), width = width_of_panel(&below->delta, input_panel);
    ptrdiff_t column = panel * PANEL_WIDTH, depth = smaller(layer->n_outputs, next * PANEL_WIDTH) - column;
    int finite = 1;
    /* What pads the gradient passed back must be zero: it pads the weights of the layer below, and penalties add those up. */
    if (layer->n_inputs - input_panel * PANEL_WIDTH < width)
        memset(transposed, 0, sizeof transposed);
    for (ptrdiff_t p = panel; p < next; p++)
        transpose_panels(layer, input_panel, p, transposed + (p - panel) * PANEL_WIDTH * width, width);
    for (tile_place at = {strips_of(rows), input_panel, 0}; at.strip < at.strips.count; at.strip++)
        pass_back(layer, below, &at, column, depth, transposed);
    for (ptrdiff_t p = panel; p < next; p++) {
        ptrdiff_t later = input_panel * panels + p + PANELS_AT_A_TIME;
        weight_unit unit = unit_of_weights(layer, p * input_panels + input_panel);
        weight_unit wanted = unit_of_weights(layer, later % panels * input_panels + smaller(later / panels, input_panels - 1));
        finite &= descend_unit(layer, &below->output, rows, use, rule, &unit, &wanted);
    }
    return finite;
}

/* backward_input and backward_weight in one pass over weights that do not stay in the cache between the two. Unit: one panel
 * of the inputs. */
static int backward_together(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, int use,
                             const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (ptrdiff_t input_panel = first; input_panel < last; input_panel++)
        for (ptrdiff_t panel = 0; panel < layer->weight.panels; panel += PANELS_AT_A_TIME)
            finite &= backward_block(layer, below, rows, use, rule, input_panel, panel);
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
        if (layer->l2 != 0)
            sum += 0.5 * layer->l2 * sum_of_squares(weight, count);
        if (layer->l1 != 0)
            sum += layer->l1 * sum_of_magnitudes(weight, count);
    }
    return sum;
}

#endif
