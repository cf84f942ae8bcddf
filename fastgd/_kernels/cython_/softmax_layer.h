/* Softmax as a layer: each row's p = e^(x - max) / sum. */
#ifndef FASTGD_SOFTMAX_LAYER_H
#define FASTGD_SOFTMAX_LAYER_H

#include "dense.h"
#include "softmax.h"

/* Unit: a row. */
static void softmax_forward(const dense_layer *layer, const matrix *input, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row++)
        scale_row(&layer->output, row, 1 / exponentials_of_row(input, row, largest_of_row(input, row), &layer->output));
}

/* Unit: a row.  dx = p (delta - sum of delta p), times the derivative below. */
static void softmax_pass_back(const dense_layer *layer, const dense_layer *below, ptrdiff_t first, ptrdiff_t last)
{
    VEC zero = vec_splat(0);
    for (ptrdiff_t row = first; row < last; row++) {
        VEC along = zero;
        EACH_PIECE(&layer->delta, row)
            along += load_piece(piece, zero) * load_piece(piece_of_row(&layer->output, row, column), zero);
        VEC mean = vec_splat(vec_sum(along));
        EACH_PIECE(&layer->delta, row)
            store_piece(piece_of_row(&below->delta, row, column),
                        load_piece(piece_of_row(&layer->output, row, column), zero) * (load_piece(piece, zero) - mean));
    }
    differentiate(below, first, last);
}

#endif
