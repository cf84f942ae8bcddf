/* One instruction set's kernels for one dtype: this file is compiled once per pair.
 *
 * The build defines VECTOR_BYTES, REAL_BITS, INSTRUCTION_SET (a string) and KERNEL_TABLE (the symbol of the table, the
 * only one that leaves this object), and puts the rendered formulas.h on the include path.
 */
#include "dense.h"
#include "elementary.h"
#include "engine.h"
#include "forward.h"
#include "linear.h"
#include "panels.h"
#include "losses.h"
#include "schedule.h"

#include "formulas.h"

/* Magnitudes are ordered as their bits are, infinity and NaN beyond all others; and integer maxima vectorise. */
#define FINITE_ROW(name, type, integer, largest_finite) \
    static int name(const char *from, ptrdiff_t stride, ptrdiff_t count) \
    { \
        integer largest = 0; \
        for (ptrdiff_t i = 0; i < count; i++) { \
            integer bits; \
            memcpy(&bits, stride == sizeof(type) ? from + i * (ptrdiff_t)sizeof(type) : from + i * stride, sizeof bits); \
            bits &= ~((integer)1 << (8 * sizeof(type) - 1)); \
            largest = bits > largest ? bits : largest; \
        } \
        return largest <= largest_finite; \
    }
FINITE_ROW(finite_floats, float, uint32_t, 0x7f7fffffu)
#if REAL_BITS == 32
FINITE_ROW(finite_doubles, double, uint64_t, 0x47efffffe0000000u)   /* the largest float, as a double */
#else
FINITE_ROW(finite_doubles, double, uint64_t, 0x7fefffffffffffffu)
#endif

/* The first row from `first` on that holds a NaN, an infinity, or what REAL cannot hold; last if none does. */
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

#define CASE(name) {#name, elementary_##name, NULL, NULL},
static const named_blocks elementary_blocks[] = {EACH_ELEMENTARY(CASE)};
#undef CASE

#define LENGTH(array) ((ptrdiff_t)(sizeof(array) / sizeof(array[0])))

const kernel_table KERNEL_TABLE = {
    .instruction_set = INSTRUCTION_SET,
    .real_size = sizeof(REAL),
    .panel_width = PANEL_WIDTH,
    .work = work,
    .forward_rows = forward_rows,
    .settle = settle_network,
    .gather = gather,
    .scatter = scatter,
    .holds_labels = holds_labels,
    .gather_labels = gather_labels,
    .holds_targets = holds_targets,
    .first_nonfinite_row = first_nonfinite_row,
    .product_units = product_units,
    .is_beyond_cache = is_beyond_cache,
    .weight_units = weight_units,
    .dense_forward = dense_forward,
    .transpose_weight = transpose_weight,
    .backward_input = backward_input,
    .backward_weight = backward_weight,
    .loss_gradient = loss_gradient,
    .differentiate = differentiate,
    .train_linear = train_linear,
    .activations = activation_blocks,
    .losses = loss_blocks,
    .optimizers = optimizer_blocks,
    .elementary = elementary_blocks,
    .row_losses = row_losses,
    .row_links = row_links,
    .n_elementary = LENGTH(elementary_blocks),
    .n_activations = LENGTH(activation_blocks),
    .n_losses = LENGTH(loss_blocks),
    .n_optimizers = LENGTH(optimizer_blocks),
    .n_row_losses = LENGTH(row_losses),
    .n_row_links = LENGTH(row_links),
};
