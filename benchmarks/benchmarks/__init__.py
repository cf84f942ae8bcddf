"""fastgd's performance suite for airspeed velocity (asv)."""

import os

# One thread unless a benchmark says otherwise. BLAS libraries read this when NumPy is imported, later on.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
