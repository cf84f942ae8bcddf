/* Normalisation: a = f(gain x' + shift) with x' = (x - mean) / sqrt(variance + eps).
 *
 * Batch normalisation (Ioffe & Szegedy 2015) takes mean and variance of a column over the rows of a batch, layer
 * normalisation (Ba, Kiros & Hinton 2016) of a row over its columns.  Gains lie where a dense layer has one row of weights,
 * shifts where it has its biases, so an update is the dense layer's.
 */
#ifndef FASTGD_NORMALIZATION_H
#define FASTGD_NORMALIZATION_H

#include "dense.h"
#include "row.h"

/* Columns are treated a vector at a time, all rows of it. */
typedef struct {
    ptrdiff_t panel, within, width, lanes;
} column_piece;

#define EACH_COLUMN_PIECE(m, index) \
    for (column_piece piece = {index, 0, width_of_panel(m, index), smaller(LANES, width_of_panel(m, index))}; \
         piece.within < piece.width; piece.within += LANES)

INLINE VEC load_row(const matrix *m, const column_piece *piece, ptrdiff_t row)
{
    return vec_load_lanes(panel_row(m, piece->panel, row) + piece->within, piece->lanes);
}

INLINE void store_row(const matrix *m, const column_piece *piece, ptrdiff_t row, VEC v)
{
    vec_store_lanes(panel_row(m, piece->panel, row) + piece->within, v, piece->lanes);
}

INLINE const matrix *score_of(const dense_layer *layer) { return layer->keeps_output ? &layer->output : &layer->kept; }

INLINE void activate_run(const dense_layer *layer, ptrdiff_t panel, ptrdiff_t first, ptrdiff_t last)
{
    void *arrays[] = {panel_row(score_of(layer), panel, first), panel_row(&layer->output, panel, first)};
    if (layer->activate)
        layer->activate(arrays, (last - first) * width_of_panel(&layer->output, panel), layer->activation_scalars);
}

INLINE VEC inverse_root(VEC variance, double eps) { return vec_splat(1) / vec_sqrt(variance + vec_splat((REAL)eps)); }

/* Mean and variance of a piece's columns: the variance from deviations, since the difference of mean squares cancels. */
INLINE void moments_of_columns(const matrix *input, const column_piece *piece, ptrdiff_t rows, VEC *mean, VEC *variance)
{
    VEC sum[4] = {vec_splat(0), vec_splat(0), vec_splat(0), vec_splat(0)}, share = vec_splat(1 / (REAL)rows);
    for (ptrdiff_t row = 0; row < rows; row++)
        sum[row % 4] += load_row(input, piece, row);
    *mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * share;
    for (int k = 0; k < 4; k++)
        sum[k] = vec_splat(0);
    for (ptrdiff_t row = 0; row < rows; row++) {
        VEC deviation = load_row(input, piece, row) - *mean;
        sum[row % 4] += deviation * deviation;
    }
    *variance = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * share;
}

/* Unit: a panel.  While training by the batch's own moments, which are kept, else by the running ones. */
static void batch_norm_forward(const dense_layer *layer, const matrix *input, ptrdiff_t rows, int training, ptrdiff_t first,
                               ptrdiff_t last)
{
    for (ptrdiff_t panel = first; panel < last; panel++) {
        EACH_COLUMN_PIECE(input, panel) {
            VEC mean = load_row(&layer->running, &piece, 0), variance = load_row(&layer->running, &piece, 1);
            VEC gain = load_row(&layer->weight, &piece, 0), shift = load_row(&layer->weight, &piece, 1);
            if (training) {
                moments_of_columns(input, &piece, rows, &mean, &variance);
                store_row(&layer->moments, &piece, 0, mean);
                store_row(&layer->moments, &piece, 1, variance);
            }
            VEC factor = inverse_root(variance, layer->eps);
            for (ptrdiff_t row = 0; row < rows; row++) {
                VEC normalized = (load_row(input, &piece, row) - mean) * factor;
                if (training)
                    store_row(&layer->normalized, &piece, row, normalized);
                store_row(score_of(layer), &piece, row, gain * normalized + shift);
            }
        }
        activate_run(layer, panel, 0, rows);
    }
}

/* Unit: a row. */
static void layer_norm_forward(const dense_layer *layer, const matrix *input, ptrdiff_t first, ptrdiff_t last)
{
    REAL *factors = layer->row_factors, share = 1 / (REAL)input->columns;
    VEC zero = vec_splat(0);
    for (ptrdiff_t row = first; row < last; row++) {
        VEC sum = zero;
        EACH_PIECE(input, row)
            sum += load_piece(piece, zero);
        VEC mean = vec_splat(vec_sum(sum) * share), squares = zero;
        EACH_PIECE(input, row) {
            VEC deviation = load_piece(piece, mean) - mean;
            squares += deviation * deviation;
        }
        VEC factor = inverse_root(vec_splat(vec_sum(squares) * share), layer->eps);
        factors[row] = factor[0];
        EACH_PIECE(input, row) {
            VEC normalized = (load_piece(piece, mean) - mean) * factor;
            VEC gain = load_piece(piece_of_row(&layer->weight, 0, column), zero);
            store_piece(piece_of_row(&layer->normalized, row, column), normalized);
            store_piece(piece_of_row(score_of(layer), row, column),
                        gain * normalized + load_piece(piece_of_row(&layer->weight, 1, column), zero));
        }
    }
    for (ptrdiff_t panel = 0; panel < input->panels; panel++)
        activate_run(layer, panel, first, last);
}

/* Gradients of a piece's gains and shifts: the sums of delta x' and of delta. */
INLINE void gradient_of_columns(const dense_layer *layer, const column_piece *piece, ptrdiff_t rows, VEC *gain, VEC *shift)
{
    VEC zero = vec_splat(0), gains[4] = {zero, zero, zero, zero}, shifts[4] = {zero, zero, zero, zero};
    for (ptrdiff_t row = 0; row < rows; row++) {
        VEC delta = load_row(&layer->delta, piece, row);
        gains[row % 4] += delta * load_row(&layer->normalized, piece, row);
        shifts[row % 4] += delta;
    }
    *gain = (gains[0] + gains[1]) + (gains[2] + gains[3]);
    *shift = (shifts[0] + shifts[1]) + (shifts[2] + shifts[3]);
}

/* Unit: a panel.  The gradient of its gains and shifts is stored, added, or goes to the optimizer. */
static int update_gains(const dense_layer *layer, ptrdiff_t rows, int use, const update_rule *rule, ptrdiff_t panel)
{
    REAL scratch[2 * PANEL_WIDTH] ALIGNED;
    weight_unit unit = unit_of_weights(layer, panel);
    REAL *gradient = use == UPDATE_WEIGHTS ? scratch : panel_row(&layer->gradient, panel, 0);
    EACH_COLUMN_PIECE(&layer->delta, panel) {
        VEC gain, shift;
        REAL *to = gradient + piece.within;
        gradient_of_columns(layer, &piece, rows, &gain, &shift);
        if (use == ADD_TO_GRADIENT) {
            gain += vec_load_lanes(to, piece.lanes);
            shift += vec_load_lanes(to + piece.width, piece.lanes);
        }
        vec_store_lanes(to, gain, piece.lanes);
        vec_store_lanes(to + piece.width, shift, piece.lanes);
    }
    return use != UPDATE_WEIGHTS || update_unit(layer, rule, &unit, gradient);
}

/* dx = gain / sqrt(variance + eps) (delta - mean of delta - x' mean of delta x'), times the derivative below. */
INLINE void batch_norm_pass_back(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, ptrdiff_t panel)
{
    VEC share = vec_splat(1 / (REAL)rows);
    EACH_COLUMN_PIECE(&layer->delta, panel) {
        VEC with_gain, with_shift;
        VEC factor = load_row(&layer->weight, &piece, 0) * inverse_root(load_row(&layer->moments, &piece, 1), layer->eps);
        gradient_of_columns(layer, &piece, rows, &with_gain, &with_shift);
        for (ptrdiff_t row = 0; row < rows; row++) {
            VEC along = load_row(&layer->normalized, &piece, row) * with_gain;
            store_row(&below->delta, &piece, row,
                      factor * (load_row(&layer->delta, &piece, row) - (with_shift + along) * share));
        }
    }
    differentiate_run(below, panel, 0, rows * width_of_panel(&below->delta, panel), panel_row(&below->delta, panel, 0));
}

/* running += momentum (moments - running).  The variance that stands in for later batches is the unbiased one; of a single
 * row there is none.  false: the moments are not finite, and the old ones stay. */
static int move_running(const dense_layer *layer, ptrdiff_t rows, ptrdiff_t panel)
{
    VEC momentum = vec_splat((REAL)layer->momentum), unbiased = vec_splat((REAL)rows / (REAL)(rows - 1));
    int finite = 1;
    if (rows == 1)
        return 1;
    EACH_COLUMN_PIECE(&layer->running, panel) {
        VEC mean = load_row(&layer->moments, &piece, 0), variance = load_row(&layer->moments, &piece, 1) * unbiased;
        if (vec_has_nan(vec_finite_probe(vec_finite_probe(vec_splat(0), mean), variance))) {
            finite = 0;
            continue;
        }
        VEC old_mean = load_row(&layer->running, &piece, 0), old_variance = load_row(&layer->running, &piece, 1);
        store_row(&layer->running, &piece, 0, old_mean + momentum * (mean - old_mean));
        store_row(&layer->running, &piece, 1, old_variance + momentum * (variance - old_variance));
    }
    return finite;
}

/* Unit: a panel. */
static int batch_norm_backward(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, int use,
                               const update_rule *rule, int training, ptrdiff_t first, ptrdiff_t last)
{
    int finite = 1;
    for (ptrdiff_t panel = first; panel < last; panel++) {
        if (layer->passes_back)
            batch_norm_pass_back(layer, below, rows, panel);
        finite &= update_gains(layer, rows, use, rule, panel);
        if (training)
            finite &= move_running(layer, rows, panel);
    }
    return finite;
}

/* Unit: a row.  dx = (d - mean of d - x' mean of d x') / sqrt(variance + eps) with d = gain delta, times the derivative
 * below. */
static void layer_norm_pass_back(const dense_layer *layer, const dense_layer *below, ptrdiff_t first, ptrdiff_t last)
{
    const REAL *factors = layer->row_factors;
    REAL share = 1 / (REAL)layer->n_outputs;
    VEC zero = vec_splat(0);
    for (ptrdiff_t row = first; row < last; row++) {
        VEC sum = zero, along = zero;
        EACH_PIECE(&layer->delta, row) {
            VEC d = load_piece(piece, zero) * load_piece(piece_of_row(&layer->weight, 0, column), zero);
            sum += d;
            along += d * load_piece(piece_of_row(&layer->normalized, row, column), zero);
        }
        VEC mean = vec_splat(vec_sum(sum) * share), slope = vec_splat(vec_sum(along) * share);
        EACH_PIECE(&layer->delta, row) {
            VEC d = load_piece(piece, zero) * load_piece(piece_of_row(&layer->weight, 0, column), zero);
            VEC normalized = load_piece(piece_of_row(&layer->normalized, row, column), zero);
            store_piece(piece_of_row(&below->delta, row, column), (d - mean - normalized * slope) * vec_splat(factors[row]));
        }
    }
    differentiate(below, first, last);
}

static int layer_norm_update(const dense_layer *layer, ptrdiff_t rows, int use, const update_rule *rule, ptrdiff_t first,
                             ptrdiff_t last)
{
    int finite = 1;
    for (ptrdiff_t panel = first; panel < last; panel++)
        finite &= update_gains(layer, rows, use, rule, panel);
    return finite;
}

#endif
