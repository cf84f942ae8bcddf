/* One dense layer forward and backward through the kernel table, against plain loops: for machines where Python cannot run.
 * Exit status 0 if every element agrees to within the rounding of its sum. */
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 37, INPUTS = 45, OUTPUTS = 70 };

static double x[ROWS][INPUTS], w[INPUTS + 1][OUTPUTS], d[ROWS][OUTPUTS];

static matrix panels(const kernel_table *table, ptrdiff_t rows, ptrdiff_t columns, const double *from, ptrdiff_t stride)
{
    matrix m = matrix_of_shape(rows, columns, table->panel_width, table->real_size);
    size_t bytes = (size_t)matrix_bytes(&m, table->panel_width, table->real_size);
    m.data = aligned_alloc(FASTGD_ALIGNMENT, (bytes + 63) / 64 * 64);
    for (size_t i = 0; i < bytes; i++)
        m.data[i] = 0;
    source_array source = {(const char *)from, stride * (ptrdiff_t)sizeof(double), sizeof(double), 1};
    if (from)
        table->gather(&source, NULL, 0, rows, &m);
    return m;
}

static int differ(const kernel_table *table, const char *what, const matrix *m, ptrdiff_t row, ptrdiff_t column, double expected)
{
    double value;
    float single;
    ptrdiff_t panel = column / table->panel_width;
    ptrdiff_t width = panel + 1 == m->panels ? m->last_width : table->panel_width;
    const char *at = m->data
        + (panel * table->panel_width * m->rows + row * width + column % table->panel_width) * table->real_size;
    if (table->real_size == 4)
        single = *(const float *)at, value = (double)single;
    else
        value = *(const double *)at;
    double eps = table->real_size == 4 ? 0x1p-23 : 0x1p-52;
    if (fabs(value - expected) <= 200 * eps * (1 + fabs(expected)))
        return 0;
    printf("%s %s [%td, %td]: got %.17g, expected %.17g\n", table->instruction_set, what, row, column, value, expected);
    return 1;
}

static int check(const kernel_table *table)
{
    int wrong = 0;
    dense_layer layer = {.n_inputs = INPUTS, .n_outputs = OUTPUTS, .keeps_output = 1}, below = {.n_inputs = 1, .n_outputs = INPUTS};
    matrix input = panels(table, ROWS, INPUTS, x[0], INPUTS);
    layer.weight = panels(table, INPUTS + 1, OUTPUTS, w[0], OUTPUTS);
    layer.transposed = panels(table, transposed_rows(OUTPUTS), INPUTS, NULL, 0);
    layer.gradient = panels(table, INPUTS + 1, OUTPUTS, NULL, 0);
    layer.output = layer.kept = panels(table, ROWS, OUTPUTS, NULL, 0);
    layer.delta = panels(table, ROWS, OUTPUTS, d[0], OUTPUTS);
    below.delta = panels(table, ROWS, INPUTS, NULL, 0);
    for (int k = 0; k < table->n_activations; k++)
        if (table->activations[k].name[0] == 't')
            layer.activate = table->activations[k].block;
    table->dense_forward(&layer, &input, ROWS, 0, table->product_units(ROWS, OUTPUTS));
    table->transpose_weight(&layer, 0, table->product_units(1, INPUTS));
    table->backward_input(&layer, &below, ROWS, 0, table->product_units(ROWS, INPUTS));
    table->backward_weight(&layer, &input, ROWS, STORE_GRADIENT, NULL, 0, table->weight_units(&layer));
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) {
            double z = w[INPUTS][o];
            for (int i = 0; i < INPUTS; i++)
                z += x[r][i] * w[i][o];
            wrong += differ(table, "forward", &layer.output, r, o, tanh(z));
        }
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < INPUTS; i++) {
            double g = 0;
            for (int o = 0; o < OUTPUTS; o++)
                g += d[r][o] * w[i][o];
            wrong += differ(table, "input gradient", &below.delta, r, i, g);
        }
    for (int i = 0; i <= INPUTS; i++)
        for (int o = 0; o < OUTPUTS; o++) {
            double g = 0;
            for (int r = 0; r < ROWS; r++)
                g += (i < INPUTS ? x[r][i] : 1) * d[r][o];
            wrong += differ(table, "weight gradient", &layer.gradient, i, o, g);
        }
    return wrong;
}

static void fill(double *values, int count)
{
    for (int i = 0; i < count; i++)
        values[i] = (double)(float)(rand() / (RAND_MAX + 1.0) - 0.5);
}

int main(void)
{
    int wrong = 0;
    fill(x[0], ROWS * INPUTS);
    fill(w[0], (INPUTS + 1) * OUTPUTS);
    fill(d[0], ROWS * OUTPUTS);
    for (const instruction_set *set = fastgd_instruction_sets; set->name; set++) {
        if (!set->usable())
            continue;
        wrong += check(set->float32) + check(set->float64);
        printf("%s: %s\n", set->name, wrong ? "wrong" : "agrees");
    }
    return wrong != 0;
}
