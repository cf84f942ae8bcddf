#!/usr/bin/env bash
# Make the source distribution, install it in a virtual environment of its own with the source folder out of reach, and run
# the tests that it carries.
set -euo pipefail
python=${1:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$work")
cd "$work"
"$python" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check build
venv/bin/python -m build --sdist --outdir dist . > /dev/null
mkdir unpacked && tar -xzf dist/*.tar.gz -C unpacked --strip-components=1
rm -rf fastgd setup.py tests
venv/bin/python -m pip install --quiet --disable-pip-version-check "$(ls "$PWD"/dist/*.tar.gz)[test,plot]"
cd unpacked && rm -rf fastgd
../venv/bin/python -m pytest -q
