# Every target makes its own virtual environment in .venv; the only things needed beforehand are Python 3.11 or later with
# its headers and venv module, a C compiler, and make.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8
FORMULAS := fastgd/activations.py fastgd/losses.py fastgd/optimizers.py
SOURCES := setup.py pyproject.toml $(FORMULAS) $(wildcard fastgd/_formula/*.py fastgd/_kernels/cython_/*.[ch] fastgd/_kernels/cython_/*.p[yx][xd])
ASV := ../$(BIN)/asv
SELECT = $(if $(BENCH),--bench '$(BENCH)')
NO_VENV := fastgd needs Python 3.11 or later with venv and headers; on Debian and Ubuntu: apt install python3-venv python3-dev gcc make

.PHONY: demo test test-full test-sets test-oldest test-lowered test-sdist test-sanitized test-arm64 lint docs bench \
	bench-check bench-compare bench-site instructions instructions-write clean

demo: .venv/ready-demo
	$(BIN)/python examples/digits.py

test: .venv/ready-test
	$(PYTEST)
	$(MAKE) test-sets

# The kernels under each instruction set that this machine has; the widest one is the default, tested already, and the
# numpy backend has none. `make test-full` takes whole networks too.
SET_TESTS := tests/test_kernels.py
test-sets: .venv/ready-test
	set -e; for set in $$($(BIN)/python -c "import fastgd._kernels.cython_ as c; print(*c.instruction_set_names()[1:])"); do \
	    echo "== FASTGD_ISA=$$set"; FASTGD_ISA=$$set $(PYTEST) -q -k "not numpy and not numba" $(SET_TESTS); done

test-full: .venv/ready-test
	$(PYTEST) -m ""
	$(MAKE) test-sets SET_TESTS="tests/test_kernels.py tests/test_parity.py"
	$(MAKE) test-oldest test-lowered test-sdist test-sanitized

# The estimators with the oldest scikit-learn that they work with; the newest is what is installed. The warning is of the
# newest pytest, at an iterator in the old checks.
test-oldest: .venv/ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/oldest 'scikit-learn==1.6.*'
	PYTHONPATH=.venv/oldest $(PYTEST) -q -W ignore::pytest.PytestRemovedIn10Warning tests/test_sklearn_*.py

# The wide vector code where the compiler has to lower it to the baseline's registers.
test-lowered: .venv/ready-test
	tests/builds/lowered.sh $(PYTHON)

# The source distribution builds, and passes the tests, in a folder that has nothing else of this one.
test-sdist: .venv/ready-test
	tests/builds/sdist.sh $(PYTHON)

# The engine under the address and undefined-behaviour sanitizers.
test-sanitized:
	tests/builds/sanitize.sh $(PYTHON)

# The NEON kernels under QEMU's user mode; needs a cross compiler, see the script.
test-arm64:
	tests/builds/arm64.sh $(PYTHON)

lint: .venv/ready-lint
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint fastgd
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-positional-only \
	    --allowlist tests/builds/stubs.txt \
	    $(addprefix fastgd._kernels.cython_.,arrays network plain)

docs: .venv/ready-docs
	$(BIN)/python -m sphinx -W -E -b html docs docs/_build

# Everything once, with the fastgd that is installed. BENCH=regex takes a part.
bench: .venv/ready-bench
	cd benchmarks && $(ASV) machine --yes && $(ASV) run --quick --python=same --show-stderr $(SELECT)

bench-check: .venv/ready-bench
	cd benchmarks && $(ASV) check --python=same

# BASE and HEAD name two commits; both are built and timed in turns.
BASE ?= HEAD~1
HEAD ?= HEAD
bench-compare: .venv/ready-bench
	cd benchmarks && $(ASV) machine --yes && $(ASV) continuous --interleave-rounds --factor 1.1 --split $(SELECT) $(BASE) $(HEAD)

# Everything that was recorded, as a site to look at in a browser.
bench-site: .venv/ready-bench
	cd benchmarks && $(ASV) publish && $(ASV) preview --browser

# Instruction counts against the committed figures; needs valgrind.
instructions: .venv/ready-test
	$(BIN)/python benchmarks/instructions.py

instructions-write: .venv/ready-test
	$(BIN)/python benchmarks/instructions.py --write

.venv/bin/python:
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' || (echo "$(NO_VENV)" >&2; exit 1)
	$(PYTHON) -m venv .venv

# One stamp per set of extras; rebuilt when what is compiled changes.
.venv/ready-demo: EXTRAS = sklearn,plot
.venv/ready-test: EXTRAS = test,plot
.venv/ready-lint: EXTRAS = test,lint
.venv/ready-docs: EXTRAS = docs
.venv/ready-bench: EXTRAS = bench
.venv/ready-%: .venv/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info fastgd/_kernels/cython_/*.so docs/_build
