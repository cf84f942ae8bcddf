/* The forward pass for callers that are compiled themselves: it changes nothing of the network, and what it needs lies on
 * the stack, so that any number of threads may be in it at once.
 */
#ifndef FASTGD_FORWARD_H
#define FASTGD_FORWARD_H

#include "dense.h"
#include "losses.h"
#include "normalization.h"
#include "softmax_layer.h"

/* Bytes that the rows which go through together may take, so that they stay in L1; and what a single one may, whose layers
 * may be wide. */
#define FORWARD_BYTES (16 * 1024)

/* Three matrices take turns: a layer's input, its output, and what layer normalisation keeps. */
typedef struct {
    char *buffers[3];
    void *row_factors;
} forward_scratch;

INLINE matrix matrix_over(char *data, ptrdiff_t rows, ptrdiff_t columns)
{
    matrix m = matrix_of_shape(rows, columns, PANEL_WIDTH, sizeof(REAL));
    m.data = data;
    return m;
}

/* The user's rows where they lie, if one panel of just their width holds them. */
INLINE matrix input_of_rows(const network *net, const REAL *x, ptrdiff_t rows, char *buffer)
{
    if (net->n_inputs <= PANEL_WIDTH)
        return (matrix){(char *)x, rows, net->n_inputs, 1, net->n_inputs};
    matrix input = matrix_over(buffer, rows, net->n_inputs);
    source_array source = {(const char *)x, net->n_inputs * (ptrdiff_t)sizeof(REAL), sizeof(REAL), sizeof(REAL) == 8};
    gather(&source, NULL, 0, rows, &input);
    return input;
}

static void forward_through(const dense_layer *layer, const matrix *input, matrix *output, const forward_scratch *scratch,
                            ptrdiff_t rows)
{
    dense_layer at = *layer;
    /* Activations work in place, and nothing is kept for a way back. */
    at.output = *output;
    at.keeps_output = 1;
    if (at.kind == DENSE) {
        dense_forward(&at, input, rows, 0, product_units(rows, at.n_outputs));
    } else if (at.kind == BATCH_NORM) {
        batch_norm_forward(&at, input, rows, 0, 0, input->panels);
    } else if (at.kind == SOFTMAX) {
        softmax_forward(&at, input, 0, rows);
    } else {
        at.normalized = matrix_over(scratch->buffers[2], rows, at.n_outputs);
        at.row_factors = scratch->row_factors;
        layer_norm_forward(&at, input, 0, rows);
    }
}

static void forward_some_rows(const network *net, const REAL *x, ptrdiff_t rows, int link, REAL *out,
                              const forward_scratch *scratch)
{
    matrix input = input_of_rows(net, x, rows, scratch->buffers[0]);
    int turn = 1;
    for (ptrdiff_t k = 0; k < net->n_layers; k++) {
        const dense_layer *layer = &net->layers[k];
        if (layer->kind == DROPOUT)
            continue;
        matrix output = matrix_over(scratch->buffers[turn], rows, layer->n_outputs);
        forward_through(layer, &input, &output, scratch, rows);
        input = output;
        turn = !turn;
    }
    if (link && net->row_link)
        net->row_link(&input, net->outputs_per_target, 0, rows);
    else if (link && net->link)
        apply(net->link, NULL, &input, 0, rows);
    scatter(&input, 0, rows, (char *)out, input.columns * (ptrdiff_t)sizeof(REAL), sizeof(REAL));
}

static void forward_rows(const network *net, const void *x, ptrdiff_t n_rows, int link, void *out)
{
    ptrdiff_t widest = net->n_inputs, n_outputs = net->layers[net->n_layers - 1].n_outputs;
    for (ptrdiff_t k = 0; k < net->n_layers; k++)
        widest = net->layers[k].n_outputs > widest ? net->layers[k].n_outputs : widest;
    ptrdiff_t row_bytes = ceil_divide(widest, PANEL_WIDTH) * PANEL_WIDTH * (ptrdiff_t)sizeof(REAL);
    ptrdiff_t most = smaller(n_rows, FORWARD_BYTES / row_bytes > 1 ? FORWARD_BYTES / row_bytes : 1);
    /* Matrices of several panels have an odd number of rows. */
    ptrdiff_t bytes = (most | 1) * row_bytes;
    char memory[3 * bytes + FASTGD_ALIGNMENT] ALIGNED;
    REAL row_factors[most];
    forward_scratch scratch = {{memory, memory + bytes, memory + 2 * bytes}, row_factors};
    uint64_t before = engine_enter();
    for (ptrdiff_t first = 0; first < n_rows; first += most)
        forward_some_rows(net, (const REAL *)x + first * net->n_inputs, smaller(most, n_rows - first), link,
                          (REAL *)out + first * n_outputs, &scratch);
    engine_leave(before);
}

#endif
