#!/usr/bin/env bash
# Build with every vector length lowered to the baseline's registers, and run the kernels' tests under each length.
. "$(dirname "$0")/workspace.sh"
FASTGD_BUILD_LOWERED=1 install ".[test]"
rm -rf fastgd
for set in $(venv/bin/python -c "import fastgd._kernels.cython_ as c; print(*c.instruction_set_names())"); do
    echo "== lowered: FASTGD_ISA=$set"
    FASTGD_ISA=$set venv/bin/python -m pytest -q tests/test_kernels.py tests/test_parity.py
done
