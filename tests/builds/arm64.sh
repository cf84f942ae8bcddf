#!/usr/bin/env bash
# Cross-compile the kernels for arm64 (NEON) and run one layer through them in QEMU's user mode. On Debian and Ubuntu:
# apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
set -euo pipefail
python=${1:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
engine=$root/fastgd/_kernels/cython_
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PYTHONPATH=$root "$python" -c '
from fastgd import activations, losses, optimizers
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastgd._formula.c import render_all
print(render_all(ACTIVATIONS, LOSSES, OPTIMIZERS))' > "$work/formulas.h"

compile() { aarch64-linux-gnu-gcc -O3 -std=gnu11 -Wall -Wextra -Werror -fno-math-errno -fno-trapping-math -ffp-contract=fast \
    -I"$engine" -I"$work" "$@"; }
for bits in 32 64; do
    compile -c -DVECTOR_BYTES=16 -DREAL_BITS=$bits -DINSTRUCTION_SET='"baseline"' \
        -DKERNEL_TABLE=fastgd_baseline_float$bits "$engine/kernels.c" -o "$work/kernels$bits.o"
done
compile -static "$engine/instruction_sets.c" "$root/tests/builds/layer.c" "$work"/kernels*.o -o "$work/layer" -lm
qemu-aarch64-static "$work/layer"
