/* Moving rows between a user's arrays and panels. */
#ifndef FASTGD_GATHER_H
#define FASTGD_GATHER_H

#include "panels.h"

/* Element types of a user's array, in the order of ELEMENT_TYPES in arrays.pyx. */
#define EACH_ELEMENT_TYPE(CASE) CASE(0, float) CASE(1, double) CASE(2, int8_t) CASE(3, uint8_t) CASE(4, int16_t) \
    CASE(5, uint16_t) CASE(6, int32_t) CASE(7, uint32_t) CASE(8, int64_t) CASE(9, uint64_t)

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
