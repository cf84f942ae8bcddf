"""The compiled part of the build: formulas rendered to C, kernels once per instruction set and dtype, Cython on top.

Everything else stands in pyproject.toml. Two environment variables change what is compiled:

FASTGD_BUILD_SETS     instruction sets to compile, of baseline, avx2, avx512 (default: all of the machine's family)
FASTGD_BUILD_LOWERED  1: compile every vector length for the baseline's registers, to test the wide code on any machine
"""

import os
import platform
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ENGINE = Path("fastgd/_kernels/cython_")
HEADERS = Path("fastgd/include")

# Vector bytes and compiler flags. Baseline is what the ABI guarantees: SSE2 on x86-64, NEON on arm64.
INSTRUCTION_SETS = {"baseline": (16, [])}
if platform.machine().lower() in ("x86_64", "amd64"):
    INSTRUCTION_SETS["avx2"] = (32, ["-mavx2", "-mfma"])
    INSTRUCTION_SETS["avx512"] = (64, ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"])

# What `python -m fastgd.bench` runs, of the folder benchmarks.
BENCH_SCRIPTS = ("peers.py", "competitors.py", "environment.py", "floor.py", "machine.py", "machine.c", "rounds.py",
                 "tables.py", "benchmarks/__init__.py", "benchmarks/networks.py")

# What the kernels are compiled from besides C: rendered anew, and compiled, when one of these has changed.
FORMULAS = [Path("fastgd", f"{name}.py") for name in ("activations", "losses", "optimizers")]

# -fno-math-errno and -fno-trapping-math let the compiler use vector square roots and blends; neither changes a value.
# -ffp-contract=fast: a multiply and an add become one rounding where the machine has that. Never -ffast-math, which
# would reorder sums, lose NaNs, and may switch the whole process to flush-to-zero at load time.
KERNEL_FLAGS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]

# Debugging symbols are three quarters of the size, and wanted only by who asks for them with CFLAGS=-g.
WITHOUT_SYMBOLS = ["-Wl,--strip-debug"] if sys.platform == "linux" and "-g" not in os.environ.get("CFLAGS", "") else []


def chosen_sets():
    """The instruction sets to compile, as FASTGD_BUILD_SETS says."""
    wanted = os.environ.get("FASTGD_BUILD_SETS", "").replace(",", " ").split() or list(INSTRUCTION_SETS)
    unknown = [name for name in wanted if name not in INSTRUCTION_SETS]
    if unknown:
        raise SystemExit(f"FASTGD_BUILD_SETS: got {unknown[0]!r}, expected names from {', '.join(INSTRUCTION_SETS)}")
    return ["baseline", *(name for name in INSTRUCTION_SETS if name in wanted and name != "baseline")]


def render_formulas(folder):
    """Write formulas.h, the block functions of all declared formulas, unless it says so already."""
    sys.path.insert(0, str(ROOT))
    from fastgd import activations, losses, optimizers  # noqa: F401  (importing them fills the registries)
    from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
    from fastgd._formula.c import render_all

    text, path = render_all(ACTIVATIONS, LOSSES, OPTIMIZERS), Path(folder, "formulas.h")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


class BuildKernels(build_ext):
    """Compiles kernels.c once per instruction set and dtype before the extension that holds the tables."""

    def build_extension(self, extension):
        if extension.name.endswith(".arrays"):
            if self.compiler.compiler_type == "msvc":
                self.compiler.initialize()
                self.compiler.cc = os.environ.get("CC", "clang-cl")   # the kernels need GCC's vector extensions
            render_formulas(self.build_temp)
            extension.extra_objects = [*self.compile_kernels(), *self.compile_dispatch()]
        super().build_extension(extension)

    def compile_kernels(self):
        lowered = os.environ.get("FASTGD_BUILD_LOWERED") == "1"
        for name in chosen_sets():
            vector_bytes, flags = INSTRUCTION_SETS[name]
            for bits in (32, 64):
                macros = [("VECTOR_BYTES", str(vector_bytes)), ("REAL_BITS", str(bits)),
                          ("INSTRUCTION_SET", f'"{name}"'), ("KERNEL_TABLE", f"fastgd_{name}_float{bits}")]
                yield self.compile_object("kernels.c", f"{name}_float{bits}", macros, [] if lowered else flags)

    def compile_dispatch(self):
        macros = [(f"FASTGD_HAS_{name.upper()}", "1") for name in chosen_sets()]
        if os.environ.get("FASTGD_BUILD_LOWERED") == "1":
            macros.append(("FASTGD_LOWERED", "1"))
        yield self.compile_object("instruction_sets.c", "dispatch", macros, [])

    def compile_object(self, source, variant, macros, flags):
        """One object in a folder of its own: the compiler names objects after their sources."""
        if self.compiler.compiler_type == "msvc":
            flags = [f"/clang:{flag}" for flag in KERNEL_FLAGS + flags]
        else:
            flags = KERNEL_FLAGS + flags + ["-fPIC", "-fvisibility=hidden"]
        objects = self.compiler.compile([str(ENGINE / source)], output_dir=str(Path(self.build_temp, variant)),
                                        macros=macros, include_dirs=[str(ENGINE), self.build_temp],
                                        extra_postargs=flags)
        return objects[0]


class BuildPackage(build_py):
    """Adds the scripts that ``python -m fastgd.bench`` runs, which here have a folder of their own."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for name in BENCH_SCRIPTS:
                target = Path(self.build_lib, "fastgd", "_benchmarks", name)
                self.mkpath(str(target.parent))
                self.copy_file(str(Path("benchmarks", name)), str(target))


def extension(name):
    sources = (*ENGINE.glob("*.[hc]"), HEADERS / "fastgd.h", *FORMULAS)
    return Extension(f"fastgd._kernels.cython_.{name}", [str(ENGINE / f"{name}.pyx")],
                     include_dirs=[str(ENGINE), str(HEADERS)], extra_link_args=WITHOUT_SYMBOLS,
                     depends=list(map(str, sources)))


EXTENSIONS = ("arrays", "network", "linear", "plain")

setup(ext_modules=cythonize([extension(name) for name in EXTENSIONS], build_dir="build/cython",
                            compiler_directives={"language_level": "3"}),
      cmdclass={"build_ext": BuildKernels, "build_py": BuildPackage})
