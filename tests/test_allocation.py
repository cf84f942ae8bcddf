"""After the first step the engine allocates nothing: a call of 4,000 steps makes as many allocations as one of 40.

Counted by a malloc put before the C library's in a process of its own.
"""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("fastgd._kernels.cython_")

COUNTER = """
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static long count;
long allocation_count(void) { return count; }
void *malloc(size_t n) { count++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { count++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { count++; return __libc_realloc(p, n); }
"""

SCRIPT = """
import ctypes, sys
import numpy as np
import fastgd as fg
from fastgd._kernels import DenseSpec, get_backend

count = ctypes.CDLL(None).allocation_count
count.restype = ctypes.c_long
rule = fg.Adam()
layers = [DenseSpec(16, fg.activations.tanh, l2=0.1), DenseSpec(3, fg.activations.linear)]
network = get_backend("cython").Network(4, layers, fg.losses.softmax_cross_entropy, rule.rule, np.float32)
network.set_weights([np.full((4, 16), 0.1), np.zeros(16), np.full((16, 3), 0.1), np.zeros(3)])
X, y = np.ones((64, 4), np.float32), np.arange(64) % 3
scalars, losses = rule.scalars(1, 4000), np.zeros((1001, 2))


def allocations(n_steps):
    before = count()
    network.train(X, y, np.ones(64), batch_size=16, seed=0, shuffle=True, epoch=0, step=0, n_steps=n_steps,
                  steps_before=0, scalars=scalars, losses=losses, n_threads=1)
    return count() - before


allocations(40)
few, many = (min(allocations(n) for _ in range(9)) for n in (40, 4000))
print(few, many, count() > 1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts through the GNU C library's own entry points")
def test_number_of_allocations_does_not_grow_with_steps(tmp_path):
    compiler = shutil.which("cc") or pytest.skip("no C compiler to build the counter with")
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(COUNTER)
    build = subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], capture_output=True, text=True)
    if build.returncode:
        pytest.skip(f"the counter does not build with this C library: {build.stderr[-200:]}")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LD_PRELOAD": str(library)},
    )
    few, many, counting = run.stdout.split()
    assert counting == "True"
    assert int(many) == int(few)
