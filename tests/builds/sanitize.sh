#!/usr/bin/env bash
# Build with the address and undefined-behaviour sanitizers, and run the tests that enter the engine. Needs GCC's libasan and
# libubsan, which come with it on Debian and Ubuntu.
. "$(dirname "$0")/workspace.sh"
export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
export LDFLAGS="-fsanitize=address,undefined"
install ".[test]"
rm -rf fastgd
# CPython itself leaks by design at exit; what matters here is reads and writes outside of buffers. Under a limit on memory
# the sanitizer ends the process itself, for its shadow of it.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)" \
    venv/bin/python -m pytest -q --capture=sys tests/test_kernels.py tests/test_parity.py tests/test_training.py \
    tests/test_elementary.py tests/test_random.py -k "not Numba and not allocation and not too_large_for_the_memory"
