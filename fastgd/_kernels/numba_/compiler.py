"""Numba's compiler, used for its machine code alone: no dispatcher, no wrapper for Python, no object of Python's.

A kernel is a function of five integers that gives one. What it needs besides, it finds in records whose addresses it is
given. The functions it calls are compiled together with it, into one module that LLVM sees once: as dispatchers of
Numba's own they would each be optimised alone and again inside every caller, and be given entries for Python. Of the
thirty passes that Numba has for any Python, those are taken that the code here needs. Both together take a fifth of
the time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import (
    callconv,
    cgutils,
    compiler,
    fastmathpass,
    funcdesc,
    lowering,
    registry,
    targetconfig,
    typed_passes,
    typing,
    untyped_passes,
)
from numba.core.codegen import CPUCodeLibrary, JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu_options import FastMathOptions
from numba.core.typing import mathdecl
from numba.extending import intrinsic

N_ARGUMENTS = 5
KERNEL = (types.int64,) * N_ARGUMENTS
BLOCK = (types.CPointer(types.voidptr), types.intp, types.voidptr)
"""Arguments of a block function; see `fastgd._formula.numba_`."""

TRIPLE = binding.get_process_triple()

# Products and sums may be fused; nothing else is rearranged.
FLOATING = FastMathOptions({"contract"})

# Left out are what serves objects of Python's, exceptions, parallel loops, functions within functions, and constants
# that LLVM finds as well.
PASSES: tuple[Any, ...] = (
    untyped_passes.ExtractByteCode,
    untyped_passes.TranslateByteCode,
    untyped_passes.IRProcessing,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
)


@dataclass(frozen=True)
class Compiled:
    """A function of a module: what Numba calls it, and its types."""

    descriptor: Any
    signature: Any


class Library(JITCodeLibrary):  # type: ignore[misc]
    """Where Numba puts the functions of a module: all of them into one, and nothing of its runtime."""

    def __init__(self, codegen: Any, name: str) -> None:
        # Not that of a library which makes a module of LLVM's at once: it would wait for the thread that compiles.
        super(CPUCodeLibrary, self).__init__(codegen, name)
        self.ir_module = ir.Module(name)
        self.ir_module.triple, self.ir_module.data_layout = TRIPLE, codegen._data_layout

    def create_ir_module(self, name: str) -> Any:
        return self.ir_module

    def add_ir_module(self, ir_module: Any) -> None:
        assert ir_module is self.ir_module

    def add_linking_library(self, library: Any) -> None:
        """Whether something outside is called, is looked at when the code is complete."""


class Types(typing.BaseContext):  # type: ignore[misc]
    """What Numba knows of types, but for NumPy's functions, which it would try for every sum of two numbers."""

    def load_additional_registries(self) -> None:
        self.install_registry(mathdecl.registry)


@cache
def _contexts() -> tuple[Any, Any]:
    """What Numba knows of types, and of machines; loaded once."""
    machine = registry.cpu_target.target_context
    machine.refresh()
    known = Types()
    # Divisions are not checked for zero.
    model = callconv.create_error_model("numpy", machine)
    machine = machine.subtarget(typing_context=known, error_model=model)

    def refresh() -> None:
        """Each intrinsic is looked up in vain at first, whereupon Numba looks for all that was declared since."""
        for one in list(machine._registries):
            machine.install_registry(one)

    machine.refresh, machine.get_abi_sizeof = refresh, _size_of
    return known, machine


def _size_of(kind: Any) -> int:
    """For debuggers alone, which there are none of: Numba would ask LLVM, and wait for the thread that compiles."""
    return 0


class Module:
    """What is being compiled: a kernel with the functions that it calls."""

    current: Module | None = None

    def __init__(self, name: str) -> None:
        self.typing, self.context = _contexts()
        self.typing.refresh()
        self.library = Library(self.context.codegen(), name)
        self.results: dict[Any, Compiled] = {}

    def add(self, function: Callable[..., Any], arguments: Any, is_inlined: bool, result: Any = None) -> Compiled:
        """Compile a function for these types, unless that was done."""
        key = (function, arguments)
        if key not in self.results:
            self.results[key] = self._compile(function, arguments, is_inlined, result)
        return self.results[key]

    def _compile(self, function: Callable[..., Any], arguments: Any, is_inlined: bool, result: Any) -> Compiled:
        state = compiler.StateDict(
            func_id=compiler.bytecode.FunctionIdentity.from_function(function),
            typingctx=self.typing,
            targetctx=self.context,
            args=arguments,
            return_type=result,
            locals={},
            typemap=None,
            calltypes=None,
            flags=_flags(),
            status=compiler._CompileStatus(can_fallback=False),
        )
        with targetconfig.ConfigStack().enter(state.flags.copy()):
            for one in PASSES:
                one().run_pass(state)
            return self._generate(state, is_inlined)

    def _generate(self, state: Any, is_inlined: bool) -> Compiled:
        descriptor = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=self.context.mangler,
            inline=is_inlined,
            noalias=False,
            abi_tags=(),
        )
        with self.context.push_code_library(self.library):
            lowering.Lower(self.context, self.library, descriptor, state.func_ir, metadata={}).lower()
        return Compiled(descriptor, typing.signature(state.return_type, *state.args))

    def call(self, builder: Any, called: Compiled, values: Sequence[Any]) -> Any:
        """Call a function of this module. Nothing is raised here, so there is no status to look at."""
        _, result = self.context.call_internal_no_propagate(builder, called.descriptor, called.signature, values)
        return result

    def add_entry(self, called: Compiled) -> str:
        """A function for C, of the same arguments, that gives the result. Numba's own have two arguments more: where
        the result goes, and where an exception would, of which there are none here."""
        result = called.signature.return_type
        gives = ir.VoidType() if result == types.none else self.context.get_value_type(result)
        kinds = [self.context.get_value_type(kind) for kind in called.signature.args]
        function = ir.Function(self.library.ir_module, ir.FunctionType(gives, kinds), "entry")
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block())
        value = self.call(builder, called, function.args)
        builder.ret_void() if result == types.none else builder.ret(value)
        return str(function.name)

    def text(self, entry: str) -> str:
        """LLVM's text of the module; only the entry is seen from outside."""
        module = self.library.ir_module
        for function in module.functions:
            if not function.is_declaration and function.name != entry:
                function.linkage = "internal"
        # Of each function Numba keeps what of Python it uses.
        for name in [name for name in module.globals if name.startswith("_ZN08NumbaEnv")]:
            del module.globals[name]
        fastmathpass.rewrite_module(module, FLOATING)
        return str(cgutils.normalize_ir_text(str(module)))


@cache
def _flags() -> Any:
    flags = compiler.Flags()
    flags.error_model = "numpy"
    return flags


def _part(function: Callable[..., Any], is_inlined: bool) -> Any:
    """A function that kernels may call."""

    def module() -> Module:
        assert Module.current is not None, f"{function.__name__} is compiled as part of a kernel"
        return Module.current

    def type_and_generate(arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # Numba keeps what this function gives, and asks no more when another kernel has such a call.
            return module().call(builder, module().add(function, arguments, is_inlined), values)

        return module().add(function, arguments, is_inlined).signature, generate

    names = ", ".join(inspect.signature(function).parameters)
    namespace: dict[str, Any] = {"type_and_generate": type_and_generate}
    text = f"def part(_context, {names}):\n    return type_and_generate(({names},))"
    exec(compile(text, f"<part {function.__name__}>", "exec"), namespace)
    return intrinsic(namespace["part"])


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator: a function that kernels call."""
    return _part(function, is_inlined=False)


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator: a function whose code becomes part of its callers'."""
    return _part(function, is_inlined=True)


@inlined
def lesser(x, y):
    """The smaller of two numbers; Numba's own is of any number of them, and a unit of its own to compile."""
    return x if x < y else y


@inlined
def greater(x, y):
    """The larger of two numbers."""
    return x if x > y else y


@contextmanager
def _settled() -> Iterator[None]:
    """Numba looks through all that may have been declared since for each call of an intrinsic; here that is nothing."""
    machine = registry.cpu_target.target_context
    machine.refresh = lambda: None
    try:
        yield
    finally:
        del machine.refresh


def begin() -> None:
    """Have Numba load what it knows of types."""
    with global_compiler_lock:
        _contexts()


def compile_(function: Callable[..., Any], arguments: Any, result: Any) -> tuple[str, str]:
    """The symbol of a function for C, and LLVM's text of the module that has it."""
    with global_compiler_lock:
        module = Module.current = Module(function.__name__)
        try:
            with _settled():
                entry = module.add_entry(module.add(function, arguments, False, result))
        finally:
            Module.current = None
        return entry, module.text(entry)


def compile_kernel(function: Callable[..., Any]) -> tuple[str, str]:
    """A function of five integers that gives one."""
    return compile_(function, KERNEL, types.int64)


def compile_block(function: Callable[..., Any]) -> tuple[str, str]:
    """A block function."""
    return compile_(function, BLOCK, types.none)
