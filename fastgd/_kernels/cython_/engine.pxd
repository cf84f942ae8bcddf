from libc.stdint cimport uint32_t, uint64_t


cdef extern from "engine.h" nogil:
    enum:
        FASTGD_MAX_STATES
        FASTGD_MAX_SCALARS
        FASTGD_ALIGNMENT
        FASTGD_MOST_ROWS
        UPDATE_WEIGHTS
        STORE_GRADIENT
        ADD_TO_GRADIENT
        TRAIN
        EVALUATE
        GRADIENTS
        PREDICT
        NO_LOSS
        REALS
        NONNEGATIVES
        POSITIVES
        NONZEROS
        PROBABILITIES
        SIGNS
        ELEMENTWISE
        SOFTMAX_CROSS_ENTROPY
        ROWWISE
        OWN_ROWWISE
        DENSE
        DROPOUT
        SOFTMAX
        BATCH_NORM
        LAYER_NORM

    ctypedef void (*block_function)(void *const *arrays, Py_ssize_t count, const void *scalars) noexcept nogil

    ctypedef struct missed_steps:
        pass

    ctypedef int (*replay_function)(const missed_steps *missed, void *const *arrays, Py_ssize_t columns, Py_ssize_t column_size,
                                    double *penalty) noexcept nogil

    ctypedef struct named_blocks:
        const char *name
        block_function block
        block_function derivative
        replay_function replay

    ctypedef struct matrix:
        char *data
        Py_ssize_t rows
        Py_ssize_t columns
        Py_ssize_t panels
        Py_ssize_t last_width

    ctypedef struct source_array:
        const char *data
        Py_ssize_t row_stride
        Py_ssize_t column_stride
        int element_type

    ctypedef struct sparse_source:
        const char *values
        int element_type
        const void *columns
        int wide_columns
        const Py_ssize_t *starts

    ctypedef struct sparse_batch:
        Py_ssize_t *row_start
        uint32_t *column
        uint32_t *slot
        void *value
        Py_ssize_t live
        uint32_t *live_column
        Py_ssize_t *column_start
        uint32_t *row
        void *value_by_column
        void *gradient
        uint32_t *number

    ctypedef struct step_history:
        uint32_t *taken
        double *penalty
        void *scalars
        double *weight_sum
        double *scale
        double *squares
        Py_ssize_t steps
        Py_ssize_t room
        int at_once
        int scales
        int counts_penalty
        int rests_at_zero
        int is_plain
        double factor
        double square

    ctypedef struct dense_layer:
        int kind
        int passes_back
        Py_ssize_t n_inputs
        Py_ssize_t n_outputs
        matrix weight
        matrix transposed
        matrix gradient
        matrix *state
        matrix kept
        matrix output
        matrix delta
        block_function activate
        block_function differentiate
        const void *activation_scalars
        int keeps_output
        double own_l1
        double own_l2
        double l1
        double l2
        int nonnegative
        double max_norm
        matrix average
        matrix gradient_sum
        uint32_t dropped
        double kept_scale
        double eps
        double momentum
        matrix running
        matrix moments
        matrix normalized
        void *row_factors

    ctypedef struct update_rule:
        block_function update
        replay_function replay
        Py_ssize_t n_states
        const void *scalars
        const void *bias_scalars

    ctypedef struct target_rows:
        const Py_ssize_t *labels
        matrix values

    ctypedef struct scored_rows:
        const matrix *score
        const target_rows *target
        const double *row_weights
        bint weighted
        const void *row_scale
        void *row_sums
        void *scratch
        double *losses
        matrix *delta
        Py_ssize_t count

    ctypedef void (*row_loss)(const scored_rows *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
    ctypedef void (*row_link)(const matrix *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil

    ctypedef struct named_row_loss:
        const char *name
        row_loss loss

    ctypedef struct named_row_link:
        const char *name
        row_link link

    ctypedef double (*own_row_loss)(const void *, const void *, Py_ssize_t, void *, Py_ssize_t, Py_ssize_t,
                                    const void *) noexcept nogil

    ctypedef struct loss_plan:
        int kind
        block_function elementwise
        row_loss rowwise
        own_row_loss own
        int own_takes_labels
        const void *scalars
        int compares_rows

    ctypedef struct team_barrier:
        int size

    ctypedef struct job_description:
        int kind
        source_array x
        source_array y
        int is_sparse
        sparse_source rows
        const Py_ssize_t *labels
        const double *weights
        Py_ssize_t n_rows
        Py_ssize_t batch_size
        Py_ssize_t n_steps
        Py_ssize_t step
        Py_ssize_t steps_per_epoch
        int draws_order
        Py_ssize_t *orders
        const double *penalty_scales
        uint64_t seed
        uint64_t steps_before
        Py_ssize_t epoch
        Py_ssize_t first_epoch
        const double *scalars
        Py_ssize_t n_scalars
        double *losses
        Py_ssize_t layer
        int link
        char *out
        Py_ssize_t out_row_stride
        Py_ssize_t out_column_stride

    ctypedef struct progress:
        int status
        Py_ssize_t done
        double loss_sum
        double correct_sum
        double total_weight

    ctypedef struct network:
        dense_layer *layers
        Py_ssize_t n_layers
        Py_ssize_t n_inputs
        Py_ssize_t most_rows
        loss_plan loss
        block_function link
        row_link row_link
        Py_ssize_t outputs_per_target
        double clip_norm
        double clip_slack
        double *squares
        int averages
        int constrains
        Py_ssize_t batches_a_step
        int by_class
        int by_sides
        int penalized
        update_rule rule
        double *rule_scalars
        Py_ssize_t capacity
        matrix input
        sparse_batch batch
        step_history history
        int rests
        Py_ssize_t place_of_rate
        Py_ssize_t place_of_coupled
        Py_ssize_t place_of_decay
        target_rows target
        Py_ssize_t *batch_labels
        void *row_scale
        void *row_sums
        void *scratch
        double *row_losses
        double *row_weights
        Py_ssize_t *order
        job_description job
        progress now
        team_barrier barrier

    ctypedef struct linear_rows:
        const void *values
        const void *columns
        const void *starts
        int index_bytes
        Py_ssize_t n_columns
        Py_ssize_t row_length
        const Py_ssize_t *labels
        const void *targets
        const double *weights

    ctypedef struct linear_output:
        void *weight
        void *mean
        void *charged
        double scale
        double mean_share
        double divisor
        double intercept
        double mean_intercept
        double due
        double squares
        double magnitudes
        Py_ssize_t label
        double pace
        double positive
        double negative
        double objective
        double best
        Py_ssize_t n_worse
        Py_ssize_t ahead

    ctypedef struct linear_job:
        linear_rows rows
        Py_ssize_t *order
        Py_ssize_t *spare
        const Py_ssize_t *permutation
        Py_ssize_t n_rows
        Py_ssize_t batch_size
        Py_ssize_t n_epochs
        linear_output **outputs
        Py_ssize_t n_outputs
        loss_plan loss
        int step
        double other_target
        double l1
        double l2
        double intercept_share
        const double *rates
        double steps_before
        double average_from
        double tol
        Py_ssize_t patience
        int watched
        void *score
        void *target
        void *value
        void *gradient
        double *product
        double *squares
        Py_ssize_t n_sloping
        matrix row_score
        matrix row_delta
        target_rows row_target
        Py_ssize_t *row_labels
        double *row_losses
        double *row_weights
        void *row_scale
        void *row_sums
        Py_ssize_t done
        int status

    ctypedef struct kernel_table:
        const char *instruction_set
        Py_ssize_t real_size
        Py_ssize_t panel_width
        void work(network *, int) noexcept nogil
        void forward_rows(const network *, const void *, Py_ssize_t, int, void *) noexcept nogil
        void settle(network *) noexcept nogil
        void gather(const source_array *, const Py_ssize_t *, Py_ssize_t, Py_ssize_t, matrix *) noexcept nogil
        void scatter(const matrix *, Py_ssize_t, Py_ssize_t, char *, Py_ssize_t, Py_ssize_t) noexcept nogil
        int holds_labels(const source_array *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void gather_labels(const source_array *, Py_ssize_t, Py_ssize_t *) noexcept nogil
        int holds_targets(const source_array *, Py_ssize_t, Py_ssize_t, int) noexcept nogil
        Py_ssize_t first_nonfinite_row(const source_array *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t product_units(Py_ssize_t rows, Py_ssize_t columns) noexcept nogil
        int is_beyond_cache(const dense_layer *) noexcept nogil
        Py_ssize_t weight_units(const dense_layer *) noexcept nogil
        void dense_forward(const dense_layer *, const matrix *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void transpose_weight(const dense_layer *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void backward_input(const dense_layer *, const dense_layer *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        int backward_weight(const dense_layer *, const matrix *, Py_ssize_t, int, const update_rule *,
                            Py_ssize_t, Py_ssize_t) noexcept nogil
        void loss_gradient(const loss_plan *, const scored_rows *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void differentiate(const dense_layer *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void train_linear(linear_job *) noexcept nogil
        const named_blocks *activations
        const named_blocks *losses
        const named_blocks *optimizers
        const named_blocks *elementary
        const named_row_loss *row_losses
        const named_row_link *row_links
        Py_ssize_t n_elementary
        Py_ssize_t n_activations
        Py_ssize_t n_losses
        Py_ssize_t n_optimizers
        Py_ssize_t n_row_losses
        Py_ssize_t n_row_links

    ctypedef struct instruction_set:
        const char *name
        int usable() noexcept nogil
        const kernel_table *float32
        const kernel_table *float64

    const instruction_set fastgd_instruction_sets[]
    matrix matrix_of_shape(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t panel_width, Py_ssize_t real_size)
    Py_ssize_t matrix_bytes(const matrix *, Py_ssize_t panel_width, Py_ssize_t real_size)
    Py_ssize_t parts_of(Py_ssize_t rows, Py_ssize_t most) noexcept nogil
    Py_ssize_t transposed_rows(Py_ssize_t n_outputs)
    Py_ssize_t comparison_scratch(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t panel_width)
    uint64_t engine_enter()
    void engine_leave(uint64_t)


cdef extern from "philox.h" nogil:
    double philox_uniform(uint64_t seed, uint64_t i, uint32_t stream, uint32_t substream)
    void philox_permutation(uint64_t seed, uint32_t epoch, Py_ssize_t n, Py_ssize_t *order)
