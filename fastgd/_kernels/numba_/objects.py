"""Machine code of this backend: compiled when it is first wanted, kept in a folder of the user's, loaded from there.

What is in that folder is run. It is therefore the user's own, and code in a folder that others may write to, or that is
not the user's, is not loaded. A file's name is a digest of all that its code depends on: the source, the versions of
fastgd, Numba and llvmlite, the processor. Numba itself is imported only when something has to be compiled.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import importlib.metadata
import json
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from llvmlite import binding

from ... import _formula
from ..._formula.block import Block
from . import tiles

logger = logging.getLogger("fastgd")

SUFFIX = ".fastgd"

# One call compiles at a time: Numba's compiler is not made for several threads.
lock = threading.RLock()


class Unit(Protocol):
    """What is compiled as one object."""

    is_optimized: ClassVar[bool]
    """Whether its code goes through LLVM's optimiser."""

    @property
    def title(self) -> str:
        """What it is called in a message."""

    def text(self) -> str:
        """All that its code depends on, besides this backend's own source."""

    def write(self) -> tuple[list[str], str]:
        """The names of its functions, and LLVM's text of them."""


@dataclass(frozen=True)
class Tiles:
    """The tiles for one dtype."""

    dtype: str

    is_optimized: ClassVar[bool] = False

    @property
    def title(self) -> str:
        return f"tiles of {self.dtype}"

    def text(self) -> str:
        return self.title

    def write(self) -> tuple[list[str], str]:
        shape = tiles.shape_for(tiles.host()[1])
        return tiles.names(shape), tiles.module(32 if self.dtype == "float32" else 64, shape)


@dataclass(frozen=True)
class Kernel:
    """A function that one of this backend's modules makes: ``make_<name>(dtype, *arguments)``."""

    module: str
    name: str
    dtype: str
    arguments: tuple[str, ...] = ()

    is_optimized: ClassVar[bool] = True

    @property
    def title(self) -> str:
        return f"{self.name} of {', '.join((self.dtype, *self.arguments))}"

    def text(self) -> str:
        return f"{self.module} {self.title}"

    def write(self) -> tuple[list[str], str]:
        from . import compiler

        module = importlib.import_module(f"{__package__}.{self.module}")
        function = getattr(module, f"make_{self.name}")(self.dtype, *self.arguments)
        symbol, text = compiler.compile_kernel(function)
        return [symbol], text


@dataclass(frozen=True)
class Formulas:
    """A block function for one dtype."""

    block: Block
    dtype: str

    is_optimized: ClassVar[bool] = True

    @property
    def title(self) -> str:
        return f"{self.block.name} of {self.dtype}"

    def text(self) -> str:
        from ..._formula import numba_

        rendered = [numba_.render(formula) for formula in self.block.formulas]
        return "\n".join([self.title, *rendered, numba_.render_block(self.block)])

    def write(self) -> tuple[list[str], str]:
        from ..._formula import numba_
        from . import compiler

        function = numba_.define_block(self.block, self.dtype, compiler.inlined)
        symbol, text = compiler.compile_block(function)
        return [symbol], text


_loaded: dict[Unit, list[int]] = {}


def address(unit: Unit) -> int:
    """Where a unit's only function begins."""
    return addresses(unit)[0]


def addresses(unit: Unit) -> list[int]:
    """Where a unit's functions begin, 0 for a name that is empty; they stay as long as the process."""
    found = _loaded.get(unit)
    if found is None:
        load([unit])
        found = _loaded[unit]
    return found


def load(units: Iterable[Unit]) -> None:
    """Make machine code of some units callable; what was not compiled before is compiled together."""
    with lock:
        missing = []
        for unit in dict.fromkeys(units):
            kept = None if unit in _loaded else _read(unit)
            if kept is not None:
                _loaded[unit] = _load(*kept)
            elif unit not in _loaded:
                missing.append(unit)
        if missing:
            _make(missing)


def _make(units: Sequence[Unit]) -> None:
    """Compile units, load and keep them. While LLVM makes code of one, on a thread of its own and without the
    interpreter, Numba reads the next."""
    _announce()
    if any(unit.is_optimized for unit in units):
        from . import compiler

        # What it needs of LLVM at the start would have to wait for the other thread.
        compiler.begin()
    _machine()
    pending = []
    with ThreadPoolExecutor(1, "fastgd-llvm") as worker:
        for unit in units:
            symbols, text = unit.write()
            pending.append((unit, symbols, worker.submit(_code_of, text, unit.is_optimized)))
    folder = cache_folder()
    is_kept = _prepare(folder)
    for unit, symbols, made in pending:
        code = made.result()
        _loaded[unit] = _load(symbols, code)
        if is_kept:
            _write(_file(folder, unit), json.dumps(symbols).encode() + b"\n" + code)


@cache
def _announce() -> None:
    """Once a process: whoever waits should know why."""
    logger.warning(
        "fastgd: backend 'numba' compiles what it has not compiled before; seconds, once: it is kept in %s",
        cache_folder(),
    )


# ------------------------------------------------------------------------------------------------- the folder
def cache_folder() -> Path:
    """Where compiled code is kept: FASTGD_CACHE_DIR, or what the system has for this."""
    given = os.environ.get("FASTGD_CACHE_DIR", "").strip()
    if given:
        return Path(given)
    if sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return parent / "fastgd"


def _is_own(path: Path) -> bool:
    """Whether nobody else could have put something there. On Windows the user's folders are so by default."""
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _prepare(folder: Path) -> bool:
    """Make the folder; False if it cannot be used, which costs time and nothing else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = _is_own(folder)
    except OSError as error:
        logger.warning("fastgd: compiled code cannot be kept: %s; set FASTGD_CACHE_DIR to a folder of your own", error)
        return False
    if not own:
        logger.warning(
            "fastgd: compiled code is not kept in %s: others may write there; chmod go-w, or set FASTGD_CACHE_DIR",
            folder,
        )
    return own


def _file(folder: Path, unit: Unit) -> Path:
    text = json.dumps([type(unit).__name__, unit.text(), _surroundings()])
    return folder / (hashlib.sha256(text.encode()).hexdigest() + SUFFIX)


@cache
def _surroundings() -> list[str]:
    """What all code here depends on."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(_formula.__file__).parent):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("numba", "llvmlite")]
    processor, features = tiles.host()
    return [digest.hexdigest(), *versions, binding.get_process_triple(), processor, *features]


def _read(unit: Unit) -> tuple[list[str], bytes] | None:
    """What was kept of a unit; None if nothing was, or it cannot be trusted."""
    folder = cache_folder()
    path = _file(folder, unit)
    try:
        if not (_is_own(folder) and _is_own(path)):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    digest, _, rest = content.partition(b"\n")
    # A file that was cut short, by a full disk for example, would not fail but crash.
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    symbols, _, code = rest.partition(b"\n")
    return json.loads(symbols), code


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: several processes may do so at once."""
    digest = hashlib.sha256(content).hexdigest().encode()
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(digest + b"\n" + content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        logger.warning("fastgd: compiled code cannot be kept: %s", error)


# ------------------------------------------------------------------------------------------------- the code
@cache
def _machine() -> Any:
    """The processor's code generator."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic" if sys.platform != "win32" else "default",
        codemodel="jitdefault",
        jit=True,
    )


# What code may call besides itself, which the process has: nothing of Python's, so that it can be loaded anywhere.
CALLABLE = {"memset", "memcpy", "memmove", "sin", "sinf", "cos", "cosf"}


def _module_of(text: str, is_optimized: bool) -> Any:
    """LLVM's module of a text."""
    module = binding.parse_assembly(text)
    module.verify()
    if is_optimized:
        # Once; Numba's own way takes two turns.
        options = binding.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization, options.slp_vectorization = True, False
        builder = binding.create_pass_builder(_machine(), options)
        builder.getModulePassManager().run(module, builder)
    return module


def _object_of(module: Any) -> bytes:
    """Object code of a module of LLVM's."""
    unknown = {function.name for function in module.functions if function.is_declaration} - CALLABLE
    unknown = {name for name in unknown if not name.startswith("llvm.")}
    if unknown:
        raise RuntimeError(f"compiled code calls {', '.join(sorted(unknown))}, expected nothing outside itself")
    code: bytes = _machine().emit_object(module)
    return code


def _code_of(text: str, is_optimized: bool) -> bytes:
    """Object code of a module's text."""
    return _object_of(_module_of(text, is_optimized))


_engines: list[Any] = []


def _load(symbols: Sequence[str], code: bytes) -> list[int]:
    """Where the functions of an object are, now in memory."""
    _machine()
    target = binding.Target.from_triple(binding.get_process_triple())
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target.create_target_machine(jit=True))
    engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return [engine.get_function_address(symbol) if symbol else 0 for symbol in symbols]


# ------------------------------------------------------------------------------------------------- calls from Python
_KERNEL = (ctypes.c_int64,) * 6
_holding, _releasing = ctypes.PYFUNCTYPE(*_KERNEL), ctypes.CFUNCTYPE(*_KERNEL)


class Job:
    """A kernel that Python calls: with the interpreter held, or let go of."""

    def __init__(self, kernel: Kernel) -> None:
        found = address(kernel)
        self._brief, self._long = _holding(found), _releasing(found)

    def __call__(self, is_brief: bool, a0: int = 0, a1: int = 0, a2: int = 0, a3: int = 0, a4: int = 0) -> int:
        result: int = (self._brief if is_brief else self._long)(a0, a1, a2, a3, a4)
        return result


@cache
def job(kernel: Kernel) -> Job:
    """A kernel, to be called."""
    return Job(kernel)


block_function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
"""A block function at an address, to be called."""


def instruction_set() -> str:
    """The processor that code is compiled for."""
    return f"compiled for {binding.get_host_cpu_name()}"
