/* What the schedules (Cython) and the kernels (C, one object per instruction set and dtype) share.
 *
 * Every matrix of the engine lies in PANELS: groups of panel_width columns, each group stored as rows x width,
 * one after the other.  Only the last panel may be narrower; its width is rounded up to a power-of-two number of lanes
 * and the padding is zero.  A tile of any product is then one contiguous run of memory, which is what lets a formula's
 * block function, built in or a user's own, be applied to it through one plain pointer while it is in L1.
 */
#ifndef FASTGD_ENGINE_H
#define FASTGD_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#define FASTGD_MAX_STATES 4
#define FASTGD_MAX_SCALARS 16
#define FASTGD_ALIGNMENT 64

/* Applies a formula to a run of elements: arrays (inputs, then outputs), their common length, the scalars. */
typedef void (*block_function)(void *const *arrays, ptrdiff_t count, const void *scalars);

typedef struct {
    char *data;                     /* NULL where the plan does not need the matrix */
    ptrdiff_t rows, columns;        /* rows: those there is room for, which fixes where panels begin */
    ptrdiff_t panels, last_width;   /* their number, and the columns of the last one with its padding */
} matrix;

/* A user's array, read where it lies: any strides, any of the element types of kernels.c. */
typedef struct {
    const char *data;
    ptrdiff_t row_stride, column_stride;   /* bytes */
    int element_type;
} source_array;

/* A user's rows of which only some elements are stored: row i has values[starts[i]] .. values[starts[i + 1] - 1]. */
typedef struct {
    const char *values;
    int element_type;
    const void *columns;                   /* int64_t if they are wide, else int32_t */
    int wide_columns;
    const ptrdiff_t *starts;
} sparse_source;

/* The elements of a batch of such rows, by rows and, where it is learnt from, by columns. */
typedef struct {
    ptrdiff_t *row_start;
    uint32_t *column;                       /* of each element, as are slot and value */
    uint32_t *slot;                         /* the number of its column among the live ones */
    void *value;                            /* REAL */
    ptrdiff_t live;                         /* columns that the batch has; their numbers, in the order they turn up: */
    uint32_t *live_column;
    ptrdiff_t *column_start;
    uint32_t *row;
    void *value_by_column;                  /* REAL */
    void *gradient;                         /* of a layer of few outputs: 16 bytes for each live column */
    uint32_t *number;                       /* of each column of X: 1 + that among the live ones, or 0 */
} sparse_batch;

/* Steps that columns without a gradient have yet to take. */
typedef struct {
    uint32_t *taken;                        /* of each column of X: steps of the history that its weights have behind them */
    double *penalty;                        /* of each column of X: what its penalty adds to the epoch's loss */
    void *scalars;                          /* REAL: FASTGD_MAX_SCALARS for each step, those of weights */
    double *weight_sum;                     /* of each step's batch */
    double *scale, *squares;                /* before each step, if a step is but a factor: the product of those so far, and
                                             * the sum of their batches' weights times the squares of such products */
    ptrdiff_t steps, room;
    int at_once;                            /* each step is taken by all columns before the next */
    int scales;                             /* all that a step does to a column without a gradient is to scale it */
    int counts_penalty;                     /* the penalty is counted column by column, when a step is taken */
    int rests_at_zero;                      /* the rule leaves weights alone, and states, where these are zero and there is no gradient */
    ptrdiff_t drawn;                        /* so many steps end with the last one that draws all weights to zero */
    int is_plain;                           /* a step is w - rate g, of an only output, and what draws weights to zero is one: */
    double factor;                          /* of all weights */
    double square;                          /* with an L2 penalty: the sum of their squares without that factor */
} step_history;

enum layer_kind { DENSE, DROPOUT, SOFTMAX, BATCH_NORM, LAYER_NORM };

typedef struct {
    int kind;
    int passes_back;                        /* whether a layer below learns from this one's gradient */
    ptrdiff_t n_inputs, n_outputs;          /* DENSE; a normalisation has one row of gains where this has n_inputs of weights */
    matrix weight;                          /* (n_inputs + 1) x n_outputs; the last row is the bias */
    matrix transposed;                      /* transposed_rows(n_outputs) x n_inputs, made anew each step; not where no gradient is
                                             * passed back, nor in a layer that is beyond the cache */
    matrix gradient;                        /* like weight; only while gradients are kept */
    matrix state[FASTGD_MAX_STATES];        /* like weight */
    matrix kept;                            /* what the derivative reads: the output or the pre-activation */
    matrix output;
    matrix delta;                           /* gradient of the pre-activation */
    block_function activate, differentiate; /* NULL: linear */
    const void *activation_scalars;
    int keeps_output;
    double own_l1, own_l2, l1, l2;          /* penalties, and what they are in this step */
    int nonnegative;                        /* constraints on the weights, not on biases; max_norm of each output's, 0: none */
    double max_norm;
    matrix average;                         /* like weight; where weights are averaged */
    matrix gradient_sum;                    /* like weight; where several batches make a step */
    uint32_t dropped;                       /* DROPOUT: of 2^32 elements */
    double kept_scale;                      /* DROPOUT: what the others are multiplied by */
    double eps, momentum;                   /* normalisations; momentum: the share of the newest batch in the running statistics */
    matrix running;                         /* BATCH_NORM: mean and variance that stand in for a batch's */
    matrix moments;                         /* BATCH_NORM: the batch's mean and variance */
    matrix normalized;                      /* (x - mean) / sqrt(variance + eps) */
    void *row_factors;                      /* LAYER_NORM: REAL, 1 / sqrt(variance + eps) of each row */
} dense_layer;

/* Steps that columns of a sparse X take without a gradient, but for that of a penalty. */
typedef struct {
    const void *scalars;                    /* REAL: FASTGD_MAX_SCALARS for each step */
    const double *weight_sum;               /* of each step's batch; NULL: penalties are not counted */
    ptrdiff_t steps;
    double l1, l2;
} missed_steps;

/* Takes such steps with columns whose weights, whole vectors of them, lie in one run, and so their states; arrays are those of
 * an update.  Adds what each column's penalty is before each step to a vector of its own, lane by lane.  0: not all weights were
 * finite throughout. */
typedef int (*replay_function)(const missed_steps *missed, void *const *arrays, ptrdiff_t columns, ptrdiff_t column_size,
                               double *penalty);

typedef struct {
    block_function update;                  /* of weights, gradient, states; leaves the old weights in the gradient's place */
    replay_function replay;                 /* the same for many steps; NULL of a rule of a user's own */
    ptrdiff_t n_states;
    const void *scalars;                    /* REAL, this step's */
    const void *bias_scalars;               /* the same, or others after them where weight decay spares the biases */
} update_rule;

enum weight_gradient_use { UPDATE_WEIGHTS, STORE_GRADIENT, ADD_TO_GRADIENT };

/* The targets of one batch: class labels, or values in panels. */
typedef struct {
    const ptrdiff_t *labels;
    matrix values;
} target_rows;

/* Scores of a batch, their targets, and where losses and gradient go. */
typedef struct {
    const matrix *score;
    const target_rows *target;
    const double *row_weights;
    int weighted;                   /* whether there may be rows without weight */
    const void *row_scale;          /* REAL: what each row's gradient is multiplied by; NULL: no gradient is wanted */
    void *row_sums;                 /* REAL: what the losses of softmax cross-entropy want the logarithms of */
    void *scratch;                  /* REAL: comparison_scratch(...) of a loss that compares rows */
    double *losses;                 /* one a row */
    matrix *delta;                  /* row_scale * dl/dscore; scratch if there is no row_scale */
    ptrdiff_t count;                /* rows of the batch */
} scored_rows;

/* Losses and gradient of rows first .. last-1; scalars are REAL, in the order in which the loss declares its parameters. */
typedef void (*row_loss)(const scored_rows *rows, const void *scalars, ptrdiff_t first, ptrdiff_t last);

/* What a link that takes several outputs at a time makes of rows first .. last-1, in place. */
typedef void (*row_link)(const matrix *score, ptrdiff_t outputs_per_target, ptrdiff_t first, ptrdiff_t last);

typedef struct {
    const char *name;
    block_function block, derivative;       /* derivative: of an activation, else NULL */
    replay_function replay;                 /* of an optimizer, else NULL */
} named_blocks;

typedef struct {
    const char *name;
    row_loss loss;
} named_row_loss;

typedef struct {
    const char *name;
    row_link link;
} named_row_link;

/* A user's own loss of one row, and its gradient; all arrays are REAL and contiguous. */
typedef double (*own_row_loss)(const void *scores, const void *target, ptrdiff_t label, void *gradient, ptrdiff_t n_outputs,
                               ptrdiff_t n_targets, const void *scalars);

typedef struct {
    int kind;                               /* a loss_kind */
    block_function elementwise;
    row_loss rowwise;
    const void *scalars;                    /* REAL */
    own_row_loss own;
    int own_takes_labels;
    int compares_rows;                      /* a row's loss depends on the rest of its batch */
} loss_plan;

/* A barrier that spins, because a phase lasts microseconds, and yields the core once it has waited long: on a machine
 * that is oversubscribed the partner may not be running at all. */
typedef struct {
    int size;
    char apart[FASTGD_ALIGNMENT];
    int arrived;
    char apart_too[FASTGD_ALIGNMENT];
    int round;
} team_barrier;

enum job_kind { TRAIN, EVALUATE, GRADIENTS, PREDICT };
enum loss_kind { NO_LOSS, ELEMENTWISE, SOFTMAX_CROSS_ENTROPY, ROWWISE, OWN_ROWWISE };
enum target_kind { REALS, NONNEGATIVES, POSITIVES, NONZEROS, PROBABILITIES, SIGNS };
enum train_status { DONE, NONFINITE_LOSS, NONFINITE_WEIGHTS };

/* What one call of the engine is to do. */
typedef struct {
    int kind;
    source_array x, y;                      /* y: target values; unused with labels */
    int is_sparse;                          /* the rows are in the place of x */
    sparse_source rows;
    const ptrdiff_t *labels;
    const double *weights;                  /* of the rows; NULL: all 1 */
    ptrdiff_t n_rows, batch_size, n_steps, step, steps_per_epoch;
    int draws_order;                        /* TRAIN: a new order for each epoch; else the one there is, if any, for all */
    ptrdiff_t *orders;                      /* TRAIN: one for each epoch touched; NULL: none of that kind */
    const double *penalty_scales;           /* TRAIN: of each step; NULL: 1 */
    uint64_t seed;
    uint64_t steps_before;                  /* TRAIN, GRADIENTS: number of the first step, for what is drawn in each */
    ptrdiff_t epoch, first_epoch;
    const double *scalars;                  /* TRAIN: (n_steps, n_scalars), those of the biases counted; then newest_share, moves */
    ptrdiff_t n_scalars;
    double *losses;                         /* TRAIN: for each epoch touched the sum of w l, and of w */
    ptrdiff_t layer;                        /* PREDICT: the last layer to run */
    int link;
    char *out;
    ptrdiff_t out_row_stride, out_column_stride;
} job_description;

/* What the team's first member writes down for the others, and at the end for the caller. */
typedef struct {
    ptrdiff_t first, last;                  /* the batch: positions in the order */
    double weight_sum;
    double penalty_scale;                   /* of this step; 0: none has been set */
    double newest_share;                    /* of this step's weights in their average */
    int moves;                              /* whether weights change after this batch */
    int settles;                            /* steps that are owed are taken now */
    int stop, status;
    ptrdiff_t done;
    int nonfinite_weights;
    double loss_sum, correct_sum, total_weight;
} progress;

/* A stack of dense layers with everything that its schedules need. */
typedef struct {
    dense_layer *layers;
    ptrdiff_t n_layers, n_inputs;
    ptrdiff_t most_rows;                    /* of a part of a batch */
    loss_plan loss;
    block_function link;                    /* of one score; both are NULL for linear */
    row_link row_link;
    ptrdiff_t outputs_per_target;
    double clip_norm, clip_slack;           /* gradients are multiplied by clip_norm / (norm + clip_slack) where that is below 1 */
    double *squares;                        /* of the gradients, one sum a unit of weights; NULL: no clipping by the norm */
    int averages, constrains;               /* whether weights are averaged, and whether some layer has a constraint */
    ptrdiff_t batches_a_step;               /* the mean of whose gradients makes a step */
    int by_class, by_sides, penalized;      /* what is correct: the largest score at the label, each score's side of zero */
    update_rule rule;
    double rule_scalars[2 * FASTGD_MAX_SCALARS + 2];    /* as REAL: of the weights, and of the biases if they have others */
    ptrdiff_t capacity;                     /* rows that the buffers below have room for */
    matrix input;                           /* without memory where all that was read is sparse */
    sparse_batch batch;
    step_history history;
    int rests;                              /* the rule leaves weights without a gradient alone unless they are drawn to zero */
    ptrdiff_t place_of_rate, place_of_coupled, place_of_decay;      /* among the rule's scalars; negative: not there */
    target_rows target;
    ptrdiff_t *batch_labels;
    void *row_scale;                        /* REAL: weight of each row over the batch's total */
    void *row_sums;                         /* REAL: what the losses of softmax cross-entropy want the logarithms of */
    void *scratch;                          /* REAL: of a loss that compares rows */
    double *row_losses, *row_weights;
    ptrdiff_t *order;                       /* NULL: rows as they lie */
    job_description job;
    progress now;
    team_barrier barrier;
} network;

/* Rows that a linear model learns from: dense ones, each in a row of memory, or the non-zeros of sparse ones. */
typedef struct {
    const void *values;                     /* REAL */
    const void *columns, *starts;           /* of sparse rows, whole numbers of index_bytes; else NULL */
    int index_bytes;
    ptrdiff_t n_columns;
    ptrdiff_t row_length;                   /* of dense rows: from one to the next */
    const ptrdiff_t *labels;                /* of each row; or else */
    const void *targets;                    /* REAL, one a row */
    const double *weights;                  /* of each row; NULL: all 1 */
} linear_rows;

/* One output of a linear model. Its weights are scale * weight, so that shrinking all of them is one product; their mean
 * over the steps is (mean + mean_share * weight) / divisor, so that a step costs the mean what it costs the weights. */
typedef struct {
    void *weight, *mean;                    /* REAL; mean: NULL without averaging */
    void *charged;                          /* REAL: what the l1 penalty has taken of each weight; NULL without one */
    double scale, mean_share, divisor, intercept, mean_intercept;
    double due;                             /* what the l1 penalty was to take of each weight up to now */
    double squares, magnitudes;             /* sums over the weights */
    ptrdiff_t label;                        /* rows of this label have target 1, the others the job's other_target */
    double pace;                            /* a factor of its rates */
    double positive, negative;              /* by which those with a target above 0, and the others, are weighed */
    double objective;                       /* of the epoch: sum of losses and penalties over the rows */
    double best;
    ptrdiff_t n_worse;
    ptrdiff_t ahead;                        /* rows that are scored at once */
} linear_output;

enum linear_step { GRADIENT_STEP, PASSIVE_AGGRESSIVE_1, PASSIVE_AGGRESSIVE_2 };

/* Some epochs of a linear model. */
typedef struct {
    linear_rows rows;
    ptrdiff_t *order, *spare;
    const ptrdiff_t *permutation;           /* by which the order of each epoch follows from the last one's; NULL: it stays */
    ptrdiff_t n_rows, batch_size, n_epochs;
    linear_output **outputs;
    ptrdiff_t n_outputs;
    loss_plan loss;
    int step;                               /* a linear_step */
    double other_target;
    double l1, l2, intercept_share;         /* of the step; 0: there is no intercept */
    const double *rates;                    /* of each step, all epochs' */
    double steps_before, average_from;      /* numbers of steps; average_from 0: no averaging */
    double tol;
    ptrdiff_t patience;                     /* stop after so many epochs without improvement by tol; 0: never */
    int watched;                            /* whether objectives are asked for; with patience they are */
    void *score, *target, *value, *gradient;   /* REAL, batch_size * n_outputs, with room for whole vectors */
    double *product;                        /* of each output with the last row that was scored */
    double *squares;                        /* of each row, once they are known; 0 before */
    ptrdiff_t n_sloping;                    /* rows with a slope, of all outputs, in a block */
    matrix row_score, row_delta;            /* the same of a loss over rows */
    target_rows row_target;
    ptrdiff_t *row_labels;
    double *row_losses, *row_weights;
    void *row_scale, *row_sums;
    ptrdiff_t done;                         /* epochs */
    int status;                             /* a train_status */
} linear_job;

typedef struct {
    const char *instruction_set;
    ptrdiff_t real_size, panel_width;

    /* One member's part of net->job. */
    void (*work)(network *net, int member);
    /* What columns without a gradient are owed is given to them. */
    void (*settle)(network *net);

    /* Outputs of contiguous rows, for callers that are compiled themselves; any number of threads at a time. */
    void (*forward_rows)(const network *net, const void *x, ptrdiff_t n_rows, int link, void *out);

    /* Moving rows between a user's arrays and panels.  order: NULL or the row to read for each row written. */
    void (*gather)(const source_array *source, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t last, matrix *to);
    void (*scatter)(const matrix *from, ptrdiff_t first, ptrdiff_t last, char *to, ptrdiff_t row_stride,
                    ptrdiff_t column_stride);

    /* Class labels of any whole type, which are below n_classes. */
    int (*holds_labels)(const source_array *source, ptrdiff_t rows, ptrdiff_t n_classes);
    void (*gather_labels)(const source_array *source, ptrdiff_t rows, ptrdiff_t *to);

    /* Whether finite numbers are all of a target_kind once they are REAL. */
    int (*holds_targets)(const source_array *source, ptrdiff_t rows, ptrdiff_t columns, int kind);
    ptrdiff_t (*first_nonfinite_row)(const source_array *source, ptrdiff_t columns, ptrdiff_t first, ptrdiff_t last);

    /* Work is counted in units, so that a team can share it; a unit's result does not depend on who computes it. */
    ptrdiff_t (*product_units)(ptrdiff_t rows, ptrdiff_t columns);
    /* Whether a layer's weights do not stay in the L2 cache: then it needs no transpose. */
    int (*is_beyond_cache)(const dense_layer *layer);
    ptrdiff_t (*weight_units)(const dense_layer *layer);
    void (*dense_forward)(const dense_layer *layer, const matrix *input, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t last);
    void (*transpose_weight)(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last);
    void (*backward_input)(const dense_layer *layer, const dense_layer *below, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t last);
    /* false: an update would have made a weight non-finite; that tile keeps its old weights. */
    int (*backward_weight)(const dense_layer *layer, const matrix *input, ptrdiff_t rows, int use,
                           const update_rule *rule, ptrdiff_t first, ptrdiff_t last);

    void (*loss_gradient)(const loss_plan *loss, const scored_rows *rows, ptrdiff_t first, ptrdiff_t last);
    void (*differentiate)(const dense_layer *layer, ptrdiff_t first, ptrdiff_t last);

    void (*train_linear)(linear_job *job);

    const named_blocks *activations, *losses, *optimizers, *elementary;
    const named_row_loss *row_losses;
    const named_row_link *row_links;
    ptrdiff_t n_activations, n_losses, n_optimizers, n_elementary, n_row_losses, n_row_links;
} kernel_table;

/* A matrix without memory. The last panel's width is rounded up to a power of two times 16 bytes. The number of rows is
 * made odd, lest panels begin a multiple of 4096 bytes apart, where a row's elements compete for the same cache set. */
static inline matrix matrix_of_shape(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t panel_width, ptrdiff_t real_size)
{
    ptrdiff_t panels = (columns + panel_width - 1) / panel_width, last = columns - (panels - 1) * panel_width;
    ptrdiff_t width = 16 / real_size;
    while (width < last)
        width *= 2;
    return (matrix){NULL, panels == 1 ? rows : rows | 1, columns, panels, width};
}

static inline ptrdiff_t matrix_bytes(const matrix *m, ptrdiff_t panel_width, ptrdiff_t real_size)
{
    return m->rows * ((m->panels - 1) * panel_width + m->last_width) * real_size;
}

/* Rows whose activations are kept at a time.  Larger batches go through in equal parts whose gradients are added up,
 * which bounds the memory and keeps the panels of a part in the L2 cache.  Batch normalisation needs a batch whole, and so
 * does a loss that compares rows. */
#define FASTGD_MOST_ROWS 512

/* Into how many parts of at most so many rows. */
static inline ptrdiff_t parts_of(ptrdiff_t rows, ptrdiff_t most) { return (rows + most - 1) / most; }

/* Numbers that a loss that compares rows keeps of so many, up to whole vectors; see comparisons.h. */
static inline ptrdiff_t comparison_scratch(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t panel_width)
{
    return (3 + 2 * columns) * (rows + panel_width);
}

/* Rows of a transpose: its blocks write the padding too, up to 16 rows. */
static inline ptrdiff_t transposed_rows(ptrdiff_t n_outputs) { return (n_outputs + 15) / 16 * 16; }

/* Flush-to-zero for the calling thread while it is inside the engine.  Moments of a batch that is learnt decay into
 * the subnormal range, where an update is many times slower. */
#if defined(__SSE2__)
#include <immintrin.h>
static inline uint64_t engine_enter(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static inline void engine_leave(uint64_t before) { _mm_setcsr((unsigned)before); }
#elif defined(__aarch64__)
static inline uint64_t engine_enter(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | ((uint64_t)1 << 24)));
    return before;
}
static inline void engine_leave(uint64_t before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#else
static inline uint64_t engine_enter(void) { return 0; }
static inline void engine_leave(uint64_t before) { (void)before; }
#endif

#if defined(_WIN32)
__declspec(dllimport) int __stdcall SwitchToThread(void);
#define YIELD_CORE() SwitchToThread()
#else
#include <sched.h>
#define YIELD_CORE() sched_yield()
#endif

#if defined(__SSE2__)
#define SPIN_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define SPIN_PAUSE() __asm__ volatile("yield")
#else
#define SPIN_PAUSE() ((void)0)
#endif

static inline void team_wait(team_barrier *barrier)
{
    if (barrier->size == 1)
        return;
    int round = __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == barrier->size) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; spins++) {
        if (spins < 1024)
            SPIN_PAUSE();
        else
            YIELD_CORE();
    }
}

/* An instruction set compiled into this build: usable says whether this processor has it; tables for 4 and 8 byte reals. */
typedef struct {
    const char *name;
    int (*usable)(void);
    const kernel_table *float32, *float64;
} instruction_set;

extern const instruction_set fastgd_instruction_sets[];   /* widest first; ends with a NULL name */

#endif
