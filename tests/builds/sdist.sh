#!/usr/bin/env bash
# Make the source distribution, install it with the source folder out of reach, and run the tests that it carries.
. "$(dirname "$0")/workspace.sh"
install build
venv/bin/python -m build --sdist --outdir dist . > /dev/null
mkdir unpacked && tar -xzf dist/*.tar.gz -C unpacked --strip-components=1
rm -rf fastgd setup.py tests
install "$(ls "$PWD"/dist/*.tar.gz)[test,plot]"
cd unpacked && rm -rf fastgd
../venv/bin/python -m pytest -q
