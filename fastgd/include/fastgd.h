/* A trained model, or one to be trained, from C: what the PyCapsule "fastgd.model" of fastgd.jit.capsule(model) points to.
 *
 * Neither function needs Python's lock, allocates, or checks what it is given: arrays are C-contiguous, of the model's
 * type (float or double, as real_size says), and hold finite numbers. The weights are the model's own: what Python's side
 * sets or learns is seen here, and the other way round.
 */
#ifndef FASTGD_H
#define FASTGD_H

#include <stddef.h>

#define FASTGD_MODEL_CAPSULE "fastgd.model"
#define FASTGD_MODEL_VERSION 1

enum fastgd_status {
    FASTGD_DONE,
    FASTGD_NONFINITE_LOSS,          /* nothing has changed */
    FASTGD_NONFINITE_WEIGHTS,       /* weights that would have become infinite or NaN have kept their values */
    FASTGD_BAD_ROWS,                /* fewer rows than least_rows, or more than most_rows */
    FASTGD_RETIRED,                 /* the model has been built again, or has another optimizer: ask it for another capsule */
    FASTGD_NO_SCALARS               /* the learning rate's schedule has raised an error, which was printed */
};

typedef struct fastgd_model {
    int version;                    /* FASTGD_MODEL_VERSION; fields are only ever added at the end */
    int real_size;                  /* sizeof(float) or sizeof(double) */
    int takes_labels;               /* targets are ptrdiff_t labels; else n_targets numbers of the model's type a row */
    ptrdiff_t n_inputs, n_outputs, n_targets;
    ptrdiff_t least_rows, most_rows;    /* of a training step; most_rows is 0 where the model cannot be trained here */

    /* out[n_rows, n_outputs] from x[n_rows, n_inputs]; link: whether the loss's link is applied. Any number of threads may
     * do this at a time. Of a model that is retired, out is filled with NaNs. */
    void (*predict)(const struct fastgd_model *model, const void *x, ptrdiff_t n_rows, int link, void *out);

    /* One step of the optimizer, on one thread. weights: one a row, or NULL. *loss is the loss before the step, with
     * penalties. Returns a fastgd_status. One thread at a time, and none that uses the model from Python beside it. */
    int (*train)(struct fastgd_model *model, const void *x, const void *targets, const double *weights, ptrdiff_t n_rows,
                 double *loss);

    void *engine;                   /* fastgd's own */
} fastgd_model;

#endif
