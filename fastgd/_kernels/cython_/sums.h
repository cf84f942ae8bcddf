/* Sums in double precision, of whatever numbers. */
#ifndef FASTGD_SUMS_H
#define FASTGD_SUMS_H

#include <math.h>

#include "vector.h"

/* Sixteen sums, so that additions need not wait for the one before (a single one took 15 % of a step at 784-100-10), and in
 * an order that does not depend on the vectors' width. */
#define EACH_TERM(TERM) \
    enum { PARTS = 16 }; \
    double parts[PARTS] = {0}, sum = 0; \
    ptrdiff_t i = 0; \
    for (; i + PARTS <= count; i += PARTS) \
        for (ptrdiff_t part = 0; part < PARTS; part++) { \
            double value = (double)values[i + part]; \
            parts[part] += TERM; \
        } \
    for (; i < count; i++) { \
        double value = (double)values[i]; \
        sum += TERM; \
    } \
    for (ptrdiff_t part = 0; part < PARTS; part++) \
        sum += parts[part]; \
    return sum;

static double sum_of_squares(const REAL *values, ptrdiff_t count) { EACH_TERM(value * value) }

static double sum_of_magnitudes(const REAL *values, ptrdiff_t count) { EACH_TERM(fabs(value)) }

#undef EACH_TERM

#endif
