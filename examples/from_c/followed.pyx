# cython: language_level=3
# distutils: language = c
"""The same from Cython: cythonize it with ``include_dirs=[fastgd.jit.get_include()]``."""

from cpython.pycapsule cimport PyCapsule_GetPointer

from fastgd cimport FASTGD_DONE, FASTGD_MODEL_CAPSULE, fastgd_model


def follow(capsule, float[::1] x, double rate, int n_steps):
    """Move x along what the model makes of it, of as many outputs as inputs."""
    cdef const fastgd_model *model = <const fastgd_model *>PyCapsule_GetPointer(capsule, FASTGD_MODEL_CAPSULE)
    cdef float slope[16]
    cdef int step
    cdef Py_ssize_t k
    if model.real_size != sizeof(float) or not model.n_inputs == model.n_outputs == x.shape[0] <= 16:
        raise ValueError("follow: expected a model of float32 with as many outputs as inputs, at most 16")
    with nogil:
        for step in range(n_steps):
            model.predict(model, &x[0], 1, True, slope)
            for k in range(model.n_inputs):
                x[k] += <float>rate * slope[k]


def learn(capsule, float[:, ::1] x, float[:, ::1] targets, int n_steps):
    """Steps of training; gives the loss before the last one."""
    cdef fastgd_model *model = <fastgd_model *>PyCapsule_GetPointer(capsule, FASTGD_MODEL_CAPSULE)
    cdef int status = FASTGD_DONE, step = 0
    cdef double loss = 0
    with nogil:
        while step < n_steps and status == FASTGD_DONE:
            status = model.train(model, &x[0, 0], &targets[0, 0], NULL, x.shape[0], &loss)
            step += 1
    if status != FASTGD_DONE:
        raise ArithmeticError(f"learn: status {status} after {step} steps")
    return loss
