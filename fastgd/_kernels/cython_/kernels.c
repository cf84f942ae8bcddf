/* One instruction set's kernels for one dtype: this file is compiled once per pair.
 *
 * The build defines VECTOR_BYTES, REAL_BITS, INSTRUCTION_SET (a string) and KERNEL_TABLE (the symbol of the table, the
 * only one that leaves this object), and puts the rendered formulas.h on the include path.
 */
#include "dense.h"
#include "elementary.h"
#include "engine.h"
#include "panels.h"
#include "rowwise.h"

#include "formulas.h"

/* Element types of a user's array, in the order of ELEMENT_TYPES in arrays.pyx. */
#define EACH_ELEMENT_TYPE(CASE) CASE(0, float) CASE(1, double) CASE(2, int8_t) CASE(3, uint8_t) CASE(4, int16_t) \
    CASE(5, uint16_t) CASE(6, int32_t) CASE(7, uint32_t) CASE(8, int64_t) CASE(9, uint64_t)

/* A shuffled batch's rows lie anywhere: the processor cannot foresee the next one, but the order is known. */
#define ROWS_AHEAD 4
INLINE void prefetch_row(const char *row, ptrdiff_t bytes)
{
    for (ptrdiff_t line = 0; line < bytes; line += 64)
        __builtin_prefetch(row + line);
}

/* A constant distance between elements, and a constant number of them, let the compiler make vectors of a panel's row. */
#define CASE(code, type) \
    INLINE void convert_##type(const char *from, ptrdiff_t stride, ptrdiff_t count, REAL *to) \
    { \
        for (ptrdiff_t i = 0; i < count; i++) \
            to[i] = (REAL)*(const type *)(from + i * stride); \
    } \
    INLINE void gather_row_##type(const char *from, ptrdiff_t stride, ptrdiff_t row, matrix *to) \
    { \
        ptrdiff_t rest = to->columns; \
        REAL *at = (REAL *)to->data + row * PANEL_WIDTH; \
        for (; rest >= PANEL_WIDTH; rest -= PANEL_WIDTH, from += PANEL_WIDTH * stride, at += PANEL_WIDTH * to->rows) \
            convert_##type(from, stride, PANEL_WIDTH, at); \
        if (rest) \
            convert_##type(from, stride, rest, at - row * (PANEL_WIDTH - to->last_width)); \
    } \
    static void gather_##type(const source_array *source, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t last, matrix *to) \
    { \
        ptrdiff_t step = source->row_stride, bytes = to->columns * (ptrdiff_t)sizeof(type); \
        if (source->column_stride != sizeof(type)) { \
            for (ptrdiff_t row = first; row < last; row++) \
                gather_row_##type(source->data + (order ? order[row] : row) * step, source->column_stride, row, to); \
            return; \
        } \
        for (ptrdiff_t row = first; row < last; row++) { \
            if (order && row + ROWS_AHEAD < last) \
                prefetch_row(source->data + order[row + ROWS_AHEAD] * step, bytes); \
            gather_row_##type(source->data + (order ? order[row] : row) * step, sizeof(type), row, to); \
        } \
    }
EACH_ELEMENT_TYPE(CASE)
#undef CASE

typedef void (*gather_function)(const source_array *, const ptrdiff_t *, ptrdiff_t, ptrdiff_t, matrix *);
#define CASE(code, type) [code] = gather_##type,
static const gather_function gather_functions[] = {EACH_ELEMENT_TYPE(CASE)};
#undef CASE

static void gather(const source_array *source, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t last, matrix *to)
{
    gather_functions[source->element_type](source, order, first, last, to);
}

static void scatter(const matrix *from, ptrdiff_t first, ptrdiff_t last, char *to, ptrdiff_t row_stride,
                    ptrdiff_t column_stride)
{
    for (ptrdiff_t row = first; row < last; row++, to += row_stride)
        for (ptrdiff_t panel = 0; panel < from->panels; panel++) {
            const REAL *at = panel_row(from, panel, row);
            ptrdiff_t column = panel * PANEL_WIDTH, count = smaller(PANEL_WIDTH, from->columns - column);
            for (ptrdiff_t c = 0; c < count; c++)
                *(REAL *)(to + (column + c) * column_stride) = at[c];
        }
}

/* Non-finite numbers have all exponent bits set; the largest magnitude as an integer tells, and integer maxima vectorise. */
#define FINITE_ROW(name, type, integer, infinity) \
    static int name(const char *from, ptrdiff_t stride, ptrdiff_t count) \
    { \
        integer largest = 0; \
        for (ptrdiff_t i = 0; i < count; i++) { \
            integer bits; \
            memcpy(&bits, stride == sizeof(type) ? from + i * (ptrdiff_t)sizeof(type) : from + i * stride, sizeof bits); \
            bits &= ~((integer)1 << (8 * sizeof(type) - 1)); \
            largest = bits > largest ? bits : largest; \
        } \
        return largest < infinity; \
    }
FINITE_ROW(finite_floats, float, uint32_t, 0x7f800000u)
FINITE_ROW(finite_doubles, double, uint64_t, 0x7ff0000000000000u)

/* The first row from `first` on that holds a NaN or an infinity; last if none does. */
static ptrdiff_t first_nonfinite_row(const source_array *source, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t last)
{
    for (; first < last && source->element_type < 2; first++) {
        const char *from = source->data + first * source->row_stride;
        if (!(source->element_type == 0 ? finite_floats : finite_doubles)(from, source->column_stride, columns))
            return first;
    }
    return last;
}

/* The elementary functions by themselves, so that tests can measure their errors. */
#define EACH_ELEMENTARY(CASE) CASE(exp) CASE(expm1) CASE(log) CASE(log1p) CASE(tanh) CASE(erf) CASE(normal_cdf) \
    CASE(sin) CASE(cos) CASE(sqrt)
#define CASE(name) \
    static void elementary_##name(void *const *arrays, ptrdiff_t count, const void *scalars) \
    { \
        const REAL *x = arrays[0]; \
        REAL *y = arrays[1]; \
        ptrdiff_t i = 0; \
        (void)scalars; \
        for (; i + LANES <= count; i += LANES) \
            vec_store(y + i, vec_##name(vec_load(x + i))); \
        if (i < count) \
            vec_store_part(y + i, vec_##name(vec_load_part(x + i, count - i)), count - i); \
    }
EACH_ELEMENTARY(CASE)
#undef CASE

#define CASE(name) {#name, elementary_##name, NULL},
static const named_blocks elementary_blocks[] = {EACH_ELEMENTARY(CASE)};
#undef CASE

#define LENGTH(array) ((ptrdiff_t)(sizeof(array) / sizeof(array[0])))

const kernel_table KERNEL_TABLE = {
    .instruction_set = INSTRUCTION_SET,
    .real_size = sizeof(REAL),
    .panel_width = PANEL_WIDTH,
    .gather = gather,
    .scatter = scatter,
    .first_nonfinite_row = first_nonfinite_row,
    .product_units = product_units,
    .weight_units = weight_units,
    .dense_forward = dense_forward,
    .transpose_weight = transpose_weight,
    .backward_input = backward_input,
    .backward_weight = backward_weight,
    .update_from_gradient = update_from_gradient,
    .penalty = penalty,
    .elementwise_loss = elementwise_loss,
    .softmax_cross_entropy = softmax_cross_entropy,
    .multiclass_hinge = multiclass_hinge,
    .softmax = softmax,
    .apply = apply,
    .differentiate = differentiate,
    .count_correct = count_correct,
    .count_correct_sides = count_correct_sides,
    .activations = activation_blocks,
    .losses = loss_blocks,
    .optimizers = optimizer_blocks,
    .elementary = elementary_blocks,
    .n_elementary = LENGTH(elementary_blocks),
    .n_activations = LENGTH(activation_blocks),
    .n_losses = LENGTH(loss_blocks),
    .n_optimizers = LENGTH(optimizer_blocks),
};
