/* The matrix tile: up to TILE_ROWS rows times one panel's width, all sums in registers.
 *
 * Included once per panel width with TILE_BYTES (bytes of one vector), TILE_VECTORS (vectors per row, 1 or 2) and
 * TILE_NAME.  Each sum runs over the depth in order, in one chain of multiply-adds; so an element's bits depend neither on
 * the tile's height nor on who computed its neighbours.
 *
 *     out[r, c] = start[r * start_stride + c] + sum_k left(r, k) right[k, c]
 *
 * left is read by broadcast, right[depth, width] by whole vectors, out[rows, width] is contiguous.
 */
#define TILE_WIDTH ((ptrdiff_t)(TILE_VECTORS * TILE_BYTES / sizeof(REAL)))
#define TILE_LANES ((ptrdiff_t)(TILE_BYTES / sizeof(REAL)))
#define VECTOR TILE_NAME(vector)

typedef REAL VECTOR __attribute__((vector_size(TILE_BYTES)));

INLINE VECTOR TILE_NAME(load)(const REAL *p)
{
    VECTOR v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* left(r, k) = left[r * row_stride + k * step] */
INLINE void TILE_NAME(accumulate)(VECTOR sum[][TILE_VECTORS], int rows, ptrdiff_t depth, const REAL *left,
                                  ptrdiff_t row_stride, ptrdiff_t step, const REAL *right)
{
    for (ptrdiff_t k = 0; k < depth; k++) {
        VECTOR from[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++)
            from[v] = TILE_NAME(load)(right + v * TILE_LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            VECTOR x = left[r * row_stride] - (VECTOR){0};
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[r][v] += x * from[v];
        }
        left += step;
        right += TILE_WIDTH;
    }
}

INLINE void TILE_NAME(begin)(VECTOR sum[][TILE_VECTORS], int rows, const REAL *start, ptrdiff_t start_stride)
{
    if (start == NULL) {
        UNROLL
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[r][v] = (VECTOR){0};
        return;
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++)
            sum[r][v] = TILE_NAME(load)(start + r * start_stride + v * TILE_LANES);
}

INLINE void TILE_NAME(finish)(VECTOR sum[][TILE_VECTORS], int rows, REAL *out)
{
    UNROLL
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++)
            memcpy(out + r * TILE_WIDTH + v * TILE_LANES, &sum[r][v], TILE_BYTES);
}

/* left: rows of a matrix in panels; panel q begins panel_step * q after left, the last one is last_width wide. */
INLINE void TILE_NAME(rows_product)(int rows, const left_rows *left, const REAL *right, const REAL *start,
                                    ptrdiff_t start_stride, REAL *out)
{
    VECTOR sum[TILE_ROWS][TILE_VECTORS];
    const REAL *panel = left->data;
    ptrdiff_t rest = left->depth;
    TILE_NAME(begin)(sum, rows, start, start_stride);
    for (; rest >= PANEL_WIDTH; rest -= PANEL_WIDTH) {
        TILE_NAME(accumulate)(sum, rows, PANEL_WIDTH, panel, PANEL_WIDTH, 1, right);
        panel += left->panel_step;
        right += PANEL_WIDTH * TILE_WIDTH;
    }
    if (rest)
        TILE_NAME(accumulate)(sum, rows, rest, panel - left->row * (PANEL_WIDTH - left->last_width), left->last_width, 1, right);
    TILE_NAME(finish)(sum, rows, out);
}

/* left: rows first .. first + rows - 1 of the transpose of one panel left_width wide.  ahead may be NULL. */
INLINE void TILE_NAME(columns_product)(int rows, ptrdiff_t depth, const REAL *left, ptrdiff_t left_width,
                                       const REAL *right, const REAL *start, REAL *out, memory_ahead *ahead)
{
    VECTOR sum[TILE_ROWS][TILE_VECTORS];
    TILE_NAME(begin)(sum, rows, start, TILE_WIDTH);
    for (; ahead && depth > TERMS_A_VISIT; depth -= TERMS_A_VISIT) {
        TILE_NAME(accumulate)(sum, rows, TERMS_A_VISIT, left, 1, left_width, right);
        left += TERMS_A_VISIT * left_width;
        right += TERMS_A_VISIT * TILE_WIDTH;
        ask_ahead(ahead);
    }
    TILE_NAME(accumulate)(sum, rows, depth, left, 1, left_width, right);
    TILE_NAME(finish)(sum, rows, out);
}

/* The number of rows must be a constant for the sums to stay in registers: one function for each. */
#define CASE(n) \
    static void TILE_NAME(multiply_##n##_rows)(const left_rows *left, const REAL *right, const REAL *start, \
                                               ptrdiff_t start_stride, REAL *out) \
    { \
        TILE_NAME(rows_product)(n, left, right, start, start_stride, out); \
    } \
    static void TILE_NAME(multiply_##n##_columns)(ptrdiff_t depth, const REAL *left, ptrdiff_t left_width, \
                                                  const REAL *right, const REAL *start, REAL *out, \
                                                  memory_ahead *ahead) \
    { \
        TILE_NAME(columns_product)(n, depth, left, left_width, right, start, out, ahead); \
    }
EACH_TILE_HEIGHT(CASE)
#undef CASE

/* sums[c] = start[c] + sum_k right[k, c]: the bias's gradient. */
static void TILE_NAME(sum_columns)(ptrdiff_t depth, const REAL *right, const REAL *start, REAL *sums)
{
    VECTOR sum[1][TILE_VECTORS];
    TILE_NAME(begin)(sum, 1, start, 0);
    for (ptrdiff_t k = 0; k < depth; k++, right += TILE_WIDTH)
        for (int v = 0; v < TILE_VECTORS; v++)
            sum[0][v] += TILE_NAME(load)(right + v * TILE_LANES);
    TILE_NAME(finish)(sum, 1, sums);
}

/* out[c] = start[c] + sum_k value[k] right[at[k], c]: a row, or a column, of which only some elements are stored. */
static void TILE_NAME(sum_rows_at)(ptrdiff_t depth, const REAL *value, const uint32_t *at, const REAL *right, const REAL *start,
                                   REAL *out)
{
    VECTOR sum[1][TILE_VECTORS];
    TILE_NAME(begin)(sum, 1, start, 0);
    for (ptrdiff_t k = 0; k < depth; k++) {
        VECTOR x = value[k] - (VECTOR){0};
        const REAL *from = right + (ptrdiff_t)at[k] * TILE_WIDTH;
        for (int v = 0; v < TILE_VECTORS; v++)
            sum[0][v] += x * TILE_NAME(load)(from + v * TILE_LANES);
    }
    TILE_NAME(finish)(sum, 1, out);
}

#define CASE(n) [n] = TILE_NAME(multiply_##n##_rows),
static const multiply_rows TILE_NAME(multiply_rows)[] = {EACH_TILE_HEIGHT(CASE)};
#undef CASE
#define CASE(n) [n] = TILE_NAME(multiply_##n##_columns),
static const multiply_columns TILE_NAME(multiply_columns)[] = {EACH_TILE_HEIGHT(CASE)};
#undef CASE
static const tile_functions TILE_NAME(tile_functions) = {TILE_NAME(multiply_rows), TILE_NAME(multiply_columns),
                                                         TILE_NAME(sum_columns), TILE_NAME(sum_rows_at)};

#undef TILE_WIDTH
#undef TILE_LANES
#undef VECTOR
#undef TILE_NAME
#undef TILE_BYTES
#undef TILE_VECTORS
