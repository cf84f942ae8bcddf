/* The dense layer's kernels: products in tiles, with what follows a product applied to the tile while it is in L1. */
#ifndef FASTGD_DENSE_H
#define FASTGD_DENSE_H

#include "panels.h"

/* A product's unit is one tile: a panel's width and at most TILE_ROWS rows, the rows shared evenly among the tiles. */
typedef struct {
    ptrdiff_t panel, row, rows;
} product_tile;

static ptrdiff_t product_units(ptrdiff_t rows, ptrdiff_t columns)
{
    return panel_count(columns) * ceil_divide(rows, TILE_ROWS);
}

INLINE product_tile tile_of_unit(ptrdiff_t unit, ptrdiff_t rows)
{
    ptrdiff_t strips = ceil_divide(rows, TILE_ROWS), strip = unit % strips, row = rows * strip / strips;
    return (product_tile){unit / strips, row, rows * (strip + 1) / strips - row};
}

/* output = f(input W + b) */
static void dense_forward(const dense_layer *layer, const matrix *input, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t last)
{
    const matrix *score = layer->keeps_output ? &layer->output : &layer->kept;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        product_tile tile = tile_of_unit(unit, rows);
        ptrdiff_t width = width_of_panel(layer->n_outputs, tile.panel);
        left_rows left = rows_of(input, tile.row);
        REAL *out = panel_row(score, tile.panel, tile.row);
        tiles_for(width).multiply_rows((int)tile.rows, &left, panel_row(&layer->weight, tile.panel, 0),
                                       panel_row(&layer->weight, tile.panel, layer->n_inputs), 0, out);
        if (layer->activate) {
            void *arrays[] = {out, panel_row(&layer->output, tile.panel, tile.row)};
            layer->activate(arrays, tile.rows * width, layer->activation_scalars);
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
static void backward_input(const dense_layer *layer, const matrix *delta, const dense_layer *below,
                           const matrix *delta_below, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t unit = first; unit < last; unit++) {
        product_tile tile = tile_of_unit(unit, rows);
        ptrdiff_t width = width_of_panel(layer->n_inputs, tile.panel);
        left_rows left = rows_of(delta, tile.row);
        REAL *out = panel_row(delta_below, tile.panel, tile.row);
        tiles_for(width).multiply_rows((int)tile.rows, &left, panel_row(&layer->transposed, tile.panel, 0), NULL, 0, out);
        differentiate_run(below, tile.panel, tile.row, tile.rows * width, out);
    }
}

/* delta *= f'(kept), for the last layer, whose delta comes from the loss. */
static void differentiate(const dense_layer *layer, matrix *delta, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = 0; panel < panel_count(layer->n_outputs); panel++)
        differentiate_run(layer, panel, first, (last - first) * width_of_panel(layer->n_outputs, panel),
                          panel_row(delta, panel, first));
}

/* In: LANES vectors, the rows of a square block.  Each round interleaves vector i with vector i + LANES/2;
 * after log2(LANES) rounds rows have become columns. */
#if VECTOR_BYTES / (REAL_BITS / 8) == 16
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif VECTOR_BYTES / (REAL_BITS / 8) == 8
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif VECTOR_BYTES / (REAL_BITS / 8) == 4
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

#define BLOCK_ROWS (VECTOR_BYTES / (REAL_BITS / 8))
INLINE void transpose_block(const REAL *from, ptrdiff_t from_stride, REAL *to, ptrdiff_t to_stride)
{
    VEC row[BLOCK_ROWS], other[BLOCK_ROWS];
    UNROLL
    for (int i = 0; i < BLOCK_ROWS; i++)
        row[i] = vec_load(from + i * from_stride);
    UNROLL
    for (int half = 1; half < BLOCK_ROWS; half *= 2) {
        UNROLL
        for (int i = 0; i < BLOCK_ROWS / 2; i++) {
            other[2 * i] = INTERLEAVE_LOW(row[i], row[i + BLOCK_ROWS / 2]);
            other[2 * i + 1] = INTERLEAVE_HIGH(row[i], row[i + BLOCK_ROWS / 2]);
        }
        UNROLL
        for (int i = 0; i < BLOCK_ROWS; i++)
            row[i] = other[i];
    }
    UNROLL
    for (int i = 0; i < BLOCK_ROWS; i++)
        vec_store(to + i * to_stride, row[i]);
}

/* Unit: one panel of the transpose, that is PANEL_WIDTH rows of the weights. */
static void transpose_weight(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t panel = first; panel < last; panel++) {
        ptrdiff_t width = width_of_panel(layer->n_inputs, panel), i0 = panel * PANEL_WIDTH;
        ptrdiff_t inputs = smaller(PANEL_WIDTH, layer->n_inputs - i0);
        for (ptrdiff_t o = 0; o < layer->n_outputs; o += LANES) {
            ptrdiff_t outputs = smaller(LANES, layer->n_outputs - o);
            ptrdiff_t from_width = width_of_panel(layer->n_outputs, o / PANEL_WIDTH);
            const REAL *from = element(&layer->weight, i0, o);
            REAL *to = panel_row(&layer->transposed, panel, o);
            ptrdiff_t whole = outputs == LANES ? inputs - inputs % LANES : 0;
            for (ptrdiff_t i = 0; i < whole; i += LANES)
                transpose_block(from + i * from_width, from_width, to + i, width);
            for (ptrdiff_t i = whole; i < inputs; i++)
                for (ptrdiff_t c = 0; c < outputs; c++)
                    to[c * width + i] = from[i * from_width + c];
        }
    }
}

/* A unit of the weights: the rows that one panel of the inputs meets, in one panel of the outputs, in tiles. */
typedef struct {
    ptrdiff_t panel, input_panel, row, rows, tiles, width;
    int ends_with_bias;
} weight_unit;

static ptrdiff_t weight_units(const dense_layer *layer)
{
    return panel_count(layer->n_outputs) * panel_count(layer->n_inputs);
}

INLINE weight_unit unit_of_weights(const dense_layer *layer, ptrdiff_t unit)
{
    ptrdiff_t input_panels = panel_count(layer->n_inputs), panel = unit / input_panels, input_panel = unit % input_panels;
    ptrdiff_t row = input_panel * PANEL_WIDTH, rows = smaller(PANEL_WIDTH, layer->n_inputs - row);
    return (weight_unit){panel, input_panel, row, rows, ceil_divide(rows, TILE_ROWS),
                         width_of_panel(layer->n_outputs, panel), input_panel + 1 == input_panels};
}

/* gradient += l2 w + l1 sign(w) */
static void add_penalty_gradient(const dense_layer *layer, const REAL *weight, ptrdiff_t count, REAL *gradient)
{
    REAL l1 = (REAL)layer->l1, l2 = (REAL)layer->l2;
    for (ptrdiff_t i = 0; i < count; i++)
        gradient[i] += l2 * weight[i] + l1 * (REAL)((weight[i] > 0) - (weight[i] < 0));
}

#define TILE_ELEMENTS ((TILE_ROWS + 1) * PANEL_WIDTH)

/* One run of weights from old to new; count includes a bias row, which penalties pass over.  A run that would become
 * non-finite is put back, so that a training that diverges leaves finite weights. */
static int update_run(const dense_layer *layer, const update_rule *rule, REAL *weight, ptrdiff_t penalized,
                      ptrdiff_t count, REAL *gradient)
{
    ptrdiff_t offset = weight - (REAL *)layer->weight.data;
    void *arrays[2 + FASTGD_MAX_STATES] = {weight, gradient};
    REAL before[TILE_ELEMENTS] ALIGNED;
    VEC probe = vec_splat(0);
    for (ptrdiff_t s = 0; s < rule->n_states; s++)
        arrays[2 + s] = (REAL *)layer->state[s].data + offset;
    if (layer->l1 != 0 || layer->l2 != 0)
        add_penalty_gradient(layer, weight, penalized, gradient);
    memcpy(before, weight, (size_t)count * sizeof(REAL));
    rule->update(arrays, count, rule->scalars);
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        probe = vec_finite_probe(probe, vec_load(weight + i));
    if (i < count)
        probe = vec_finite_probe(probe, vec_load_part(weight + i, count - i));
    if (vec_sum(probe) == 0)
        return 1;
    memcpy(weight, before, (size_t)count * sizeof(REAL));
    return 0;
}

/* The gradient of each tile of weights is summed over the batch in registers and goes to the optimizer from L1: the
 * gradient matrix never exists, unless it is asked for. */
static int backward_weight(const dense_layer *layer, const matrix *input, const matrix *delta, ptrdiff_t rows, int use,
                           const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    REAL scratch[TILE_ELEMENTS] ALIGNED;
    int finite = 1;
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        tile_functions tiles = tiles_for(unit.width);
        const REAL *left = panel_row(input, unit.input_panel, 0), *right = panel_row(delta, unit.panel, 0);
        ptrdiff_t left_width = width_of_panel(layer->n_inputs, unit.input_panel);
        for (ptrdiff_t t = 0; t < unit.tiles; t++) {
            ptrdiff_t begin = unit.rows * t / unit.tiles, end = unit.rows * (t + 1) / unit.tiles;
            int bias = unit.ends_with_bias && t + 1 == unit.tiles;
            REAL *gradient = use == UPDATE_WEIGHTS ? scratch : panel_row(&layer->gradient, unit.panel, unit.row + begin);
            const REAL *start = use == ADD_TO_GRADIENT ? gradient : NULL;
            ptrdiff_t penalized = (end - begin) * unit.width;
            tiles.multiply_columns((int)(end - begin), rows, left + begin, left_width, right, start, gradient);
            if (bias)
                tiles.sum_columns(rows, right, start ? start + penalized : NULL, gradient + penalized);
            if (use == UPDATE_WEIGHTS)
                finite &= update_run(layer, rule, panel_row(&layer->weight, unit.panel, unit.row + begin), penalized,
                                     penalized + (bias ? unit.width : 0), gradient);
        }
    }
    return finite;
}

static int update_from_gradient(const dense_layer *layer, const update_rule *rule, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (ptrdiff_t index = first; index < last; index++) {
        weight_unit unit = unit_of_weights(layer, index);
        for (ptrdiff_t t = 0; t < unit.tiles; t++) {
            ptrdiff_t begin = unit.rows * t / unit.tiles, end = unit.rows * (t + 1) / unit.tiles;
            ptrdiff_t penalized = (end - begin) * unit.width;
            int bias = unit.ends_with_bias && t + 1 == unit.tiles;
            finite &= update_run(layer, rule, panel_row(&layer->weight, unit.panel, unit.row + begin), penalized,
                                 penalized + (bias ? unit.width : 0),
                                 panel_row(&layer->gradient, unit.panel, unit.row + begin));
        }
    }
    return finite;
}

static double penalty(const dense_layer *layer)
{
    double sum = 0;
    for (ptrdiff_t panel = 0; panel < panel_count(layer->n_outputs); panel++) {
        const REAL *weight = panel_row(&layer->weight, panel, 0);
        ptrdiff_t count = layer->n_inputs * width_of_panel(layer->n_outputs, panel);
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
