#!/usr/bin/env bash
# Build with every vector length lowered to the baseline's registers, in a virtual environment of its own, and run the
# kernels' tests under each length.
set -euo pipefail
python=${1:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$work")
cd "$work"
"$python" -m venv venv
FASTGD_BUILD_LOWERED=1 venv/bin/python -m pip install --quiet --disable-pip-version-check ".[test]"
rm -rf fastgd
for set in $(venv/bin/python -c "import fastgd._kernels.cython_ as c; print(*c.instruction_set_names())"); do
    echo "== lowered: FASTGD_ISA=$set"
    FASTGD_ISA=$set venv/bin/python -m pytest -q tests/test_kernels.py tests/test_parity.py
done
