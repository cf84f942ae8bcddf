/* Moving rows between a user's arrays and panels. */
#ifndef FASTGD_GATHER_H
#define FASTGD_GATHER_H

#include "panels.h"

/* Element types of a user's array, in the order of ELEMENT_TYPES in arrays.pyx. */
#define EACH_WHOLE_TYPE(CASE) CASE(2, int8_t) CASE(3, uint8_t) CASE(4, int16_t) CASE(5, uint16_t) CASE(6, int32_t) \
    CASE(7, uint32_t) CASE(8, int64_t) CASE(9, uint64_t)
#define EACH_ELEMENT_TYPE(CASE) CASE(0, float) CASE(1, double) EACH_WHOLE_TYPE(CASE)

/* A shuffled batch's rows lie anywhere: the processor cannot foresee the next one, but the order is known.  A row ahead is
 * asked for piece by piece while another is copied; all at once, its lines would fill the queue of misses. */
#define ROWS_AHEAD 2
INLINE void prefetch(const char *from, ptrdiff_t bytes)
{
    for (ptrdiff_t line = 0; line < bytes; line += CACHE_LINE)
        __builtin_prefetch(from + line);
}

/* Runs are short: a call of memcpy would cost more than the copy. */
INLINE void copy_run(REAL *to, const REAL *from, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vec_store(to + i, vec_load(from + i));
    if (i < count)
        vec_store_part(to + i, vec_load_part(from + i, count - i), count - i);
}

/* A constant distance between elements, and a constant number of them, let the compiler make vectors of a panel's row. */
#define CASE(code, type) \
    INLINE void convert_##type(const char *from, ptrdiff_t stride, ptrdiff_t count, REAL *to) \
    { \
        if (stride == sizeof(type) && _Generic((type)0, REAL: 1, default: 0)) { \
            copy_run(to, (const REAL *)from, count); \
            return; \
        } \
        for (ptrdiff_t i = 0; i < count; i++) \
            to[i] = (REAL)*(const type *)(from + i * stride); \
    } \
    INLINE void gather_row_##type(const char *from, ptrdiff_t stride, const char *ahead, ptrdiff_t row, matrix *to) \
    { \
        ptrdiff_t rest = to->columns; \
        REAL *at = (REAL *)to->data + row * PANEL_WIDTH; \
        for (; rest >= PANEL_WIDTH; rest -= PANEL_WIDTH) { \
            if (ahead) \
                prefetch(ahead + (to->columns - rest) * stride, PANEL_WIDTH * stride); \
            convert_##type(from, stride, PANEL_WIDTH, at); \
            from += PANEL_WIDTH * stride; \
            at += PANEL_WIDTH * to->rows; \
        } \
        if (rest && ahead) \
            prefetch(ahead + (to->columns - rest) * stride, rest * stride); \
        if (rest) \
            convert_##type(from, stride, rest, at - row * (PANEL_WIDTH - to->last_width)); \
    } \
    static void gather_##type(const source_array *source, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t last, matrix *to) \
    { \
        ptrdiff_t step = source->row_stride; \
        for (ptrdiff_t row = first; row < last; row++) { \
            const char *from = source->data + (order ? order[row] : row) * step; \
            if (source->column_stride != sizeof(type)) { \
                gather_row_##type(from, source->column_stride, NULL, row, to); \
                continue; \
            } \
            const char *ahead = order && row + ROWS_AHEAD < last ? source->data + order[row + ROWS_AHEAD] * step : NULL; \
            gather_row_##type(from, sizeof(type), ahead, row, to); \
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

#define ROW_OF(source, row) ((source)->data + (row) * (source)->row_stride)

/* Labels are compared as unsigned numbers, among which a negative one is beyond every other. */
#define CASE(code, type) \
    static size_t largest_label_##type(const source_array *source, ptrdiff_t rows) \
    { \
        size_t largest = 0; \
        for (ptrdiff_t row = 0; row < rows; row++) { \
            size_t label = (size_t)(ptrdiff_t)*(const type *)ROW_OF(source, row); \
            largest = label > largest ? label : largest; \
        } \
        return largest; \
    } \
    static void gather_labels_##type(const source_array *source, ptrdiff_t rows, ptrdiff_t *to) \
    { \
        for (ptrdiff_t row = 0; row < rows; row++) \
            to[row] = (ptrdiff_t)*(const type *)ROW_OF(source, row); \
    }
EACH_WHOLE_TYPE(CASE)
#undef CASE

static int holds_labels(const source_array *source, ptrdiff_t rows, ptrdiff_t n_classes)
{
    switch (source->element_type) {
#define CASE(code, type) case code: return largest_label_##type(source, rows) < (size_t)n_classes;
        EACH_WHOLE_TYPE(CASE)
#undef CASE
    }
    return 0;
}

static void gather_labels(const source_array *source, ptrdiff_t rows, ptrdiff_t *to)
{
    switch (source->element_type) {
#define CASE(code, type) case code: gather_labels_##type(source, rows, to); break;
        EACH_WHOLE_TYPE(CASE)
#undef CASE
    }
}

/* As TARGET_KINDS in inputs.py has it, which words the refusals. */
INLINE int is_of_kind(REAL target, int kind)
{
    REAL size = target < 0 ? -target : target;
    switch (kind) {
    case NONNEGATIVES: return target >= 0;
    case POSITIVES: return target >= SMALLEST_NORMAL;
    case NONZEROS: return size >= SMALLEST_NORMAL;
    case PROBABILITIES: return target >= 0 && target <= 1;
    case SIGNS: return size == 1 || size == 0;
    default: return 1;
    }
}

#define CASE(code, type) \
    static int holds_targets_##type(const source_array *source, ptrdiff_t rows, ptrdiff_t columns, int kind) \
    { \
        int all = 1; \
        for (ptrdiff_t row = 0; row < rows && all; row++) \
            for (ptrdiff_t column = 0; column < columns; column++) \
                all &= is_of_kind((REAL)*(const type *)(ROW_OF(source, row) + column * source->column_stride), kind); \
        return all; \
    }
EACH_ELEMENT_TYPE(CASE)
#undef CASE

static int holds_targets(const source_array *source, ptrdiff_t rows, ptrdiff_t columns, int kind)
{
    switch (source->element_type) {
#define CASE(code, type) case code: return holds_targets_##type(source, rows, columns, kind);
        EACH_ELEMENT_TYPE(CASE)
#undef CASE
    }
    return 0;
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

#endif
