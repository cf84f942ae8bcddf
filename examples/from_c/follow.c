/* A model called from C: x moves along what the model makes of it. Compile with -I and the folder fg.jit.get_include(). */
#include "fastgd.h"

/* Of a model with as many outputs as inputs, of floats; at most 16. Returns 0, or 1 for another model. */
int follow(const fastgd_model *model, float *x, double rate, int n_steps)
{
    float slope[16];
    if (model->version < FASTGD_MODEL_VERSION || model->real_size != sizeof(float) || model->n_inputs != model->n_outputs
        || model->n_inputs > 16)
        return 1;
    for (int step = 0; step < n_steps; step++) {
        model->predict(model, x, 1, 1, slope);
        for (ptrdiff_t k = 0; k < model->n_inputs; k++)
            x[k] += (float)rate * slope[k];
    }
    return 0;
}

/* Steps of training towards x; returns the status of the last one. */
int learn(fastgd_model *model, const float *x, const float *targets, ptrdiff_t n_rows, int n_steps, double *loss)
{
    int status = FASTGD_DONE;
    for (int step = 0; step < n_steps && status == FASTGD_DONE; step++)
        status = model->train(model, x, targets, NULL, n_rows, loss);
    return status;
}
