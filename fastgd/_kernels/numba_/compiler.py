"""Numba's compiler, used for its machine code alone: no dispatcher, no wrapper for Python, no object of Python's.

A kernel is a function of five integers that gives one. What it needs besides, it finds in records whose addresses it is
given. The functions it calls are compiled together with it, into one module that LLVM optimises once: as dispatchers of
Numba's own they would each be optimised alone and again inside every caller, and be given entries for Python, which
takes four times as long.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import binding
from numba import types
from numba.core import compiler, registry
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

# Products and sums may be fused; nothing else is rearranged. Divisions are not checked for zero.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "boundscheck": False, "nopython": True}

N_ARGUMENTS = 5
ARGUMENTS = (types.int64,) * N_ARGUMENTS


class Module:
    """What is being compiled: a kernel with the functions that it calls."""

    current: Module | None = None

    def __init__(self, name: str) -> None:
        self.target = registry.cpu_target
        self.library = self.target.target_context.codegen().create_library(name)
        self.results: dict[Any, Any] = {}

    def add(self, function: Callable[..., Any], arguments: Any, options: dict[str, Any], result: Any = None) -> Any:
        """Compile a function for these types, unless that was done."""
        key = (function, arguments)
        if key not in self.results:
            flags = compiler.Flags()
            self.target.options.parse_as_flags(flags, {**OPTIONS, **options})
            flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
            self.results[key] = compiler.compile_extra(
                self.target.typing_context,
                self.target.target_context,
                function,
                arguments,
                result,
                flags,
                {},
                library=self.library,
            )
        return self.results[key]


def _part(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """A function that kernels may call."""

    def add(arguments: Any) -> Any:
        assert Module.current is not None, f"{function.__name__} is compiled as part of a kernel"
        return Module.current.add(function, arguments, options)

    def type_and_generate(arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # Numba keeps what this function gives, and asks no more when another kernel has such a call.
            made = add(arguments)
            # Nothing is raised here, so there is no status to look at.
            _, result = context.call_internal_no_propagate(builder, made.fndesc, made.signature, values)
            return result

        return add(arguments).signature, generate

    names = ", ".join(inspect.signature(function).parameters)
    namespace: dict[str, Any] = {"type_and_generate": type_and_generate}
    text = f"def {function.__name__}(_context, {names}):\n    return type_and_generate(({names},))"
    exec(compile(text, f"<part {function.__name__}>", "exec"), namespace)
    return intrinsic(namespace[function.__name__])


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator: a function that kernels call."""
    return _part(function, {})


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator: a function whose code becomes part of its callers'."""
    return _part(function, {"forceinline": True})


def compile_(function: Callable[..., Any]) -> tuple[str, Any]:
    """The symbol of a kernel, and LLVM's module that has it.

    In machine code it has two arguments more before its own, as all of Numba's functions: where its result goes, and
    where an exception would, of which there are none here.
    """
    module = Module(function.__name__)
    module.target.typing_context.refresh()
    module.target.target_context.refresh()
    with global_compiler_lock:
        Module.current = module
        try:
            result = module.add(function, ARGUMENTS, {}, types.int64)
        finally:
            Module.current = None
        return result.fndesc.llvm_func_name, _optimized(module.library, result.fndesc.llvm_func_name)


def _optimized(library: Any, symbol: str) -> Any:
    """LLVM's module of a library, of which one function is wanted; once through the optimiser, where Numba's own way
    takes two turns."""
    module = library._final_module
    for other in library._linking_libraries:
        module.link_in(other._get_module_for_linking(), preserve=True)
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    machine = library._codegen._tm
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization, options.slp_vectorization = True, False
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def module_of(function: Any) -> tuple[str, Any]:
    """The symbol of a function for C, and LLVM's module that has it."""
    return function._wrapper_name, function._library._final_module
