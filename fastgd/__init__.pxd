# What C extensions cimport: from fastgd cimport fastgd_model; see include/fastgd.h.


cdef extern from "fastgd.h" nogil:
    const char *FASTGD_MODEL_CAPSULE
    int FASTGD_MODEL_VERSION

    enum fastgd_status:
        FASTGD_DONE
        FASTGD_NONFINITE_LOSS
        FASTGD_NONFINITE_WEIGHTS
        FASTGD_BAD_ROWS
        FASTGD_RETIRED
        FASTGD_NO_SCALARS

    ctypedef struct fastgd_model:
        int version
        int real_size
        int takes_labels
        Py_ssize_t n_inputs
        Py_ssize_t n_outputs
        Py_ssize_t n_targets
        Py_ssize_t least_rows
        Py_ssize_t most_rows
        void (*predict)(const fastgd_model *, const void *, Py_ssize_t, int, void *) noexcept nogil
        int (*train)(fastgd_model *, const void *, const void *, const double *, Py_ssize_t, double *) noexcept nogil
        void *engine
