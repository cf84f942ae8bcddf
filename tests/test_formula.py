"""The formula language: what it admits, and that its renderers mean the same."""

from __future__ import annotations

import doctest
import importlib.util
import itertools
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import block_runner
import extended
import numpy as np
import pytest
from extended import EXTENDED
from running_error import assert_bounded, reference
from targets import draw_targets

import fastgd
from fastgd import activations, losses, optimizers
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS, Formula, FormulaError, get, language, numpy_
from fastgd._formula import c as c_renderer
from fastgd._formula.block import Application, Block
from fastgd._formula.language import FUNCTIONS, read

DTYPES = ("float32", "float64")
RENDERERS = ("numpy", "c", "numba", "onnx", "c99")
COMPILED = ("c", "numba")
DECLARED = {**ACTIVATIONS, **LOSSES, **OPTIMIZERS}

# Values for the scalars of rules; what is not named is 0.5.
SCALARS = {"learning_rate": 0.1, "momentum": 0.9, "rho": 0.9, "one_minus_rho": 0.1, "eps": 1e-8, "step": 0.01}
SCALARS |= {"beta1": 0.9, "beta2": 0.999, "one_minus_beta1": 0.1, "one_minus_beta2": 0.001, "root": 31.6}
SCALARS |= {"slope": 0.01, "power": 1.5, "gamma": 2.0}

EVERYTHING = """
def everything(x, y, *, slope=0.25):
    "A formula that uses the whole language."
    a = maximum(exp(-abs(x)), minimum(y, 0.5)) * +2
    b = sqrt(abs(x)) * tanh(y) + log1p(x**2) - expm1(-(y**2)) * erf(x) + normal_cdf(y) * sin(x) - cos(y)
    c = log(1.5 + x**4) / (1.0 + abs(y)**3) + y**0 - x**1 * (x + y)**5
    inside = a if x > -1.0 and not x >= 1.0 or y == 0.0 else b
    return (slope * inside if x != y else c), a + c if y <= 1.0 and x < 2.0 else -b
"""


@pytest.fixture
def define(tmp_path: Path) -> Callable[..., ModuleType]:
    """Make a module of some source text, as a user's file would be."""
    numbers = itertools.count()

    def make(source: str) -> ModuleType:
        path = tmp_path / f"formulas_{next(numbers)}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return make


@pytest.fixture
def registries():
    """Whatever a test declares is forgotten afterwards."""
    kept = [dict(registry) for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS)]
    yield
    for registry, before in zip((ACTIVATIONS, LOSSES, OPTIMIZERS), kept, strict=True):
        registry.clear()
        registry.update(before)


def built_in_blocks() -> list[Block]:
    """All block functions of what fastgd itself declares."""
    of_activations = [b for a in ACTIVATIONS.values() for b in (a.forward_block, a.derivative_block)]
    elementwise = [declared.block for declared in LOSSES.values() if not declared.rowwise]
    return of_activations + elementwise + [rule.block for rule in OPTIMIZERS.values()]


BLOCKS = built_in_blocks()
BLOCK_NAMES = [block.name for block in BLOCKS]


# --------------------------------------------------------------------------------------- the language


def test_a_formula_is_read_whole(define):
    formula = read(define(EVERYTHING).everything)
    assert (formula.name, formula.arrays, formula.scalars) == ("everything", ("x", "y"), ("slope",))
    assert formula.defaults == {"slope": 0.25} and formula.outputs == 2
    assert formula.unused() == ()


REFUSED = [
    ("return [z]", "may give several"),
    ("return z[0]", "one element"),
    ("return z.real", "bare name"),
    ("return math.exp(z)", "exp(...) by its bare name"),
    ("return numpy.where(z, z, z)", "x if test else y"),
    ("return max(z, 0.0)", "maximum(x, y)"),
    ("return pow(z, 2)", "x**2"),
    ("return tan(z)", "exp, expm1, log"),
    ("return exp(z, z)", "exp with 1 positional argument"),
    ("return exp(x=z)", "exp with 1 positional argument"),
    ("return maximum(z)", "maximum with 2 positional arguments"),
    ("return z**0.5", "sqrt(x) for a half"),
    ("return z**-1", "1.0 / x**n"),
    ("return z**17", "from 0 to 16"),
    ("return z**True", "from 0 to 16"),
    ("return z**z", "whole number"),
    ("return z // 2.0", "+ - * /"),
    ("return z % 2.0", "+ - * /"),
    ("return z @ z", "+ - * /"),
    ("return ~z", "+ - * /"),
    ("return not z", "+ - * /"),
    ("return (z > 0.0) * z", "no number here"),
    ("return z > 0.0 and z", "no number here"),
    ("return z if z else 0.0", "a comparison of two numbers"),
    ("return z if True else 0.0", "a comparison of two numbers"),
    ("return z if 0.0 < z < 1.0 else 0.0", "a < b and b < c"),
    ("return z if z is z else 0.0", "a comparison of two numbers"),
    ("return z if z > 0.0 and z else 0.0", "a comparison of two numbers"),
    ("return True", "a number"),
    ("return 'z'", "a number"),
    ("return 1j * z", "a number"),
    ("return z * 1e39", "float32"),
    ("return z * 10**400", "from 0 to 16"),
    ("return z * OUTSIDE", "keyword-only parameter with a default"),
    ("return later\n    later = z", "one return, last"),
    ("return (lambda: z)()", "exp, expm1, log"),
    ("return lambda: z", "no inner functions"),
    ("return (y := z)", "line of its own"),
    ("return f'{z}'", "numbers, names"),
    ("return [y for y in z]", "numbers, names"),
    ("return *z, z", "numbers, names"),
    ("return ()", "at least one expression"),
    ("return", "one return, last"),
    ("pass", "one return, last"),
    ("y = z", "one return, last"),
    ("z += 1.0\n    return z", "x = x + y"),
    ("y: float = z\n    return y", "without an annotation"),
    ("x, y = z, z\n    return x", "one simple name"),
    ("x = y = z\n    return x", "one simple name"),
    ("z[0] = 1.0\n    return z", "one simple name"),
    ("exp = z\n    return exp", "a function of the language"),
    ("_y = z\n    return _y", "begins with a letter"),
    ("é = z\n    return é", "ASCII"),
    ("if z > 0.0:\n        return z\n    return 0.0", "conditional expression"),
    ("for y in z:\n        z = y\n    return z", "the kernels walk the arrays"),
    ("while z > 0.0:\n        z = z - 1.0\n    return z", "without loops"),
    ("def inner(): pass\n    return z", "no inner functions"),
    ("import math\n    return z", "assignments and one return"),
    ("z\n    return z", "not used"),
    ("try:\n        y = z\n    finally:\n        y = z\n    return y", "assignments and one return"),
    ("global w\n    return z", "assignments and one return"),
    ("return y", "none of these"),
]


@pytest.mark.parametrize(("body", "remedy"), REFUSED, ids=[body.split("\n")[0] for body, _ in REFUSED])
def test_what_is_no_formula_is_refused_with_place_and_remedy(define, body, remedy):
    module = define(f"OUTSIDE = 2.0\n\n\ndef wrong(z):\n    {body}\n")
    with pytest.raises(FormulaError) as refusal:
        read(module.wrong)
    message = str(refusal.value)
    place = re.match(rf"{re.escape(module.__file__)}:(\d+): ", message)
    assert place and 5 <= int(place[1]) <= 5 + body.count("\n"), message
    assert "write " in message and remedy in message


@pytest.mark.parametrize(
    ("signature", "remedy"),
    [
        ("()", "at least one array"),
        ("(*, slope)", "at least one array"),
        ("(*z)", "every parameter by name"),
        ("(z, **rest)", "every parameter by name"),
        ("(z, slope=0.1)", "keyword-only"),
        ("(z, *, slope='a')", "a number"),
        ("(z, *, slope=None)", "a number"),
        ("(z, *, exp=1.0)", "a function of the language"),
        ("(_z)", "begins with a letter"),
    ],
)
def test_a_wrong_signature_is_refused(define, signature, remedy):
    module = define(f"def wrong{signature}:\n    return 1.0\n")
    with pytest.raises(FormulaError, match=re.escape(f"{module.__file__}:1: ")) as refusal:
        read(module.wrong)
    assert remedy in str(refusal.value)


def test_the_refusal_names_the_line_and_the_expression(define):
    module = define("def wrong(z):\n    '''Doc.'''\n    y = z\n\n    # a comment\n    return y % 2.0\n")
    with pytest.raises(
        FormulaError, match=r":6: `y % 2\.0` is not part of the formula language; write numbers"
    ):
        read(module.wrong)


def test_a_formula_may_be_indented_and_documented(define):
    body = '        """Text\nat the margin."""\n        return z * z % 2.0\n'
    source = f"def make():\n    def f(z):\n{body}    return f\n"
    module = define(source)
    with pytest.raises(FormulaError, match=r":5: `z \* z % 2\.0`"):
        read(module.make())


@pytest.mark.parametrize("thing", [abs, 3, "z", np.exp, (lambda z: z)])
def test_only_a_def_is_a_formula(thing):
    with pytest.raises(FormulaError, match="write (it|the formula) as a def"):
        read(thing)


def test_a_function_without_source_is_refused():
    namespace: dict = {}
    exec("def f(z):\n    return z\n", namespace)
    with pytest.raises(FormulaError, match="define the formula in a file or a notebook cell"):
        read(namespace["f"])


@pytest.mark.parametrize("source", ["math", "numpy", "fastgd._formula", "fastgd.activations"])
def test_the_names_of_the_language_may_come_from_anywhere_they_mean_the_same(define, source):
    assert read(define(f"from {source} import tanh\ndef f(z):\n    return tanh(z)\n").f).outputs == 1


def test_a_name_that_means_something_else_is_refused(define):
    module = define("def exp(x):\n    return 2.0**x\ndef f(z):\n    return exp(z)\n")
    with pytest.raises(FormulaError, match=r":4: .*exp of the formula language; here exp is <function"):
        read(module.f)


def test_powers_are_written_out_once(define):
    formula = read(define("def f(z):\n    return (z + 1.0)**5\n").f)
    source = numpy_.render(formula)
    assert "**" not in source and source.count("_real(1.0)") == 1
    assert numpy_.compile_(formula)(2.0) == 243.0


def test_formulas_that_differ_only_in_a_default_are_different(define):
    source = "def f(z, *, slope={}):\n    return slope * z\n"
    one, two = (read(define("S = 1.0\n" + source.format(default)).f) for default in ("1.0", "2.0"))
    assert one != two and numpy_.compile_(one)(3.0) == 3.0 and numpy_.compile_(two)(3.0) == 6.0
    assert replace(one, defaults={"slope": 5.0}) != one


def truth(name: str) -> Callable:
    """NumPy's function, or ours in extended precision where it has none."""
    return getattr(np, name, None) or getattr(extended, name)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("abs", "maximum", "minimum")])
@pytest.mark.parametrize("x", [-np.inf, -1e300, -2.0, -1.0, -0.5, 0.0, 0.5, 1e300, np.inf, np.nan])
def test_the_scalar_functions_follow_ieee_754(name, x):
    with np.errstate(all="ignore"):
        expected = float(truth(name)(x))
    np.testing.assert_allclose(FUNCTIONS[name].scalar(x), expected, rtol=1e-14)


@pytest.mark.parametrize("x", [-1.0, 2.0, np.nan])
@pytest.mark.parametrize("y", [0.5, np.nan])
def test_the_scalar_extremes_keep_nan(x, y):
    np.testing.assert_equal(language.maximum(x, y), float(np.maximum(x, y)))
    np.testing.assert_equal(language.minimum(x, y), float(np.minimum(x, y)))


def test_declaring_formulas_needs_neither_numpy_nor_numba():
    root = str(Path(fastgd.__file__).parent)
    # The package's own __init__ is replaced by an empty one: it is another part's matter.
    program = f"""
import sys, types
package = types.ModuleType("fastgd")
package.__path__ = [{root!r}]
sys.modules["fastgd"] = package
from fastgd import activations, losses, optimizers
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS, c
assert "block_adam" in c.render_all(ACTIVATIONS, LOSSES, OPTIMIZERS)
assert not {{"numpy", "numba"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------- the renderers


def samples(block: Block, dtype: str) -> list[np.ndarray]:
    """A dense, reproducible sample for each array of a block, within what the block is made for."""
    draw = np.random.default_rng(sum(map(ord, block.name)))
    dense = np.concatenate([np.linspace(-30, 30, 2001), np.linspace(-1, 1, 1001), [0.0, -0.0]])
    tiny = np.outer([-1.0, 1.0], 10.0 ** -np.arange(1, 30)).ravel()
    z = draw.permutation(np.concatenate([dense, tiny])).astype(dtype)
    if block.name in OPTIMIZERS:
        spread = 10.0 ** draw.uniform(-6, 3, (len(block.arrays), z.size))
        signs = draw.choice([-1.0, 1.0], (2, z.size))
        return [*(signs * spread[:2]).astype(dtype), *spread[2:].astype(dtype)]
    if block.name in LOSSES:
        target = draw_targets(draw, LOSSES[block.name].target, z.size, 1)[:, 0]
        return [z, target.astype(dtype), np.zeros_like(z), np.zeros_like(z)]
    if block.name in ACTIVATIONS:
        return [z, np.zeros_like(z)]
    declared = ACTIVATIONS[block.name.removesuffix("_derivative")]
    return [declared(z) if declared.derivative_of == "output" else z, draw.normal(size=z.size).astype(dtype)]


def scalars_of(block: Block, dtype: str) -> list[float]:
    return [float(np.dtype(dtype).type(SCALARS.get(name, 0.5))) for name in block.scalars]


def check_block(renderer: str, block: Block, dtype: str, rendered: Block | None = None) -> None:
    """Compare a rendering with the reference, element by element; `rendered` is what to run instead."""
    arrays, scalars = samples(block, dtype), scalars_of(block, dtype)
    before = {name: array.copy() for name, array in zip(block.arrays, arrays, strict=True)}
    block_runner.run(renderer, rendered or block, arrays, scalars)
    after = dict(zip(block.arrays, arrays, strict=True))
    given = dict(zip(block.scalars, scalars, strict=True))
    for application in block.applications:
        formula = application.formula
        operands = [before[name] for name in application.reads] + [given[name] for name in formula.scalars]
        for name, result in zip(application.writes, reference(formula, dtype, *operands), strict=True):
            if application.multiply:
                result = result * reference(IDENTITY, dtype, before[name])[0]
            assert_bounded(after[name], result, f"{renderer} {block.name} {name} {dtype}")
    for name in set(block.arrays) - set(block.stored):
        kept = block.keeps[1] if block.keeps and name == block.keeps[0] else name
        np.testing.assert_array_equal(after[name], before[kept])


IDENTITY = activations.linear.formula


def renderings(renderers):
    """All formulas by all renderers. Numba takes long to compile: a quick run has every fourth of its formulas."""
    for renderer, (k, block) in itertools.product(renderers, enumerate(BLOCKS)):
        marks = [pytest.mark.slow] if renderer == "numba" and k % 4 else []
        yield pytest.param(renderer, block, marks=marks, id=f"{renderer}-{block.name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("renderer", "block"), list(renderings(RENDERERS)))
def test_every_rendering_is_right_on_a_dense_sample(renderer, block, dtype):
    check_block(renderer, block, dtype)


def block_of(formula: Formula) -> Block:
    """A block that applies one formula to arrays of its own."""
    results = tuple(f"result{k}" for k in range(formula.outputs))
    return Block(
        formula.name,
        formula.arrays + results,
        formula.scalars,
        (Application(formula, formula.arrays, results),),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_whole_language_is_rendered(define, renderer, dtype):
    formula = read(define(EVERYTHING).everything)
    x, y = np.meshgrid(np.linspace(-3.0, 3.0, 121), np.linspace(-2.0, 2.0, 41))
    x, y = x.ravel().astype(dtype), y.ravel().astype(dtype)
    results = [np.zeros_like(x), np.zeros_like(x)]
    block_runner.run(renderer, block_of(formula), [x, y, *results], [0.25])
    for result, expected in zip(results, reference(formula, dtype, x, y, 0.25), strict=True):
        assert_bounded(result, expected, renderer)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("renderer", RENDERERS[1:])
def test_each_function_of_the_language_on_special_values(define, renderer, name, dtype):
    arguments = "x" if FUNCTIONS[name].n_arguments == 1 else "x, y"
    formula = read(define(f"def f({arguments}):\n    return {name}({arguments})\n").f)
    compare_on_special_values(renderer, block_of(formula), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("renderer", "block"), list(renderings(RENDERERS[1:])))
def test_every_rendering_agrees_on_special_values(renderer, block, dtype):
    compare_on_special_values(renderer, block, dtype)


# Where two squares overflow, their difference is NaN, but not if one of them is fused with the subtraction.
DIFFERENCES_OF_SQUARES = ("rmsprop_centered",)


def compare_on_special_values(renderer: str, block: Block, dtype: str) -> None:
    """Zeros of both signs, infinities, NaN, numbers whose square overflows: what NumPy gives, they give."""
    # A power of two, so that it and its inverse have an exact product, fused with a sum or not.
    large = 2.0**100 if dtype == "float32" else 2.0**1000
    if block.name in DIFFERENCES_OF_SQUARES:
        large = large**0.5
    special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, large, -large, 1.0 / large]
    read_arrays = [name for name in block.arrays if name in block.loaded]
    values = np.array(list(itertools.product(special, repeat=min(len(read_arrays), 2)))).T
    columns = {name: values[min(k, len(values) - 1)] for k, name in enumerate(read_arrays)}
    arrays = [np.array(columns.get(name, np.zeros(values.shape[1])), dtype) for name in block.arrays]
    if block.name in OPTIMIZERS:
        arrays[2:] = [abs(array) for array in arrays[2:]]
    expected = [array.copy() for array in arrays]
    scalars = scalars_of(block, dtype)
    block_runner.run("numpy", block, expected, scalars)
    block_runner.run(renderer, block, arrays, scalars)
    tolerance = np.finfo(dtype)
    for name, actual, wanted in zip(block.arrays, arrays, expected, strict=True):
        np.testing.assert_allclose(
            actual,
            wanted,
            rtol=32 * tolerance.eps,
            atol=tolerance.smallest_normal,
            equal_nan=True,
            err_msg=f"{renderer} {block.name} {name}",
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("renderer", COMPILED)
def test_any_count_and_what_lies_beyond_is_untouched(renderer, dtype):
    block = OPTIMIZERS["adam"].block
    whole = samples(block, dtype)
    scalars = np.array(scalars_of(block, dtype), dtype)
    expected = [array.copy() for array in whole]
    address = block_runner.address(renderer, block, dtype)
    block_runner.call(address, expected, expected[0].size, scalars)
    for count in [*range(0, 36), 64, 100]:
        # One element past an aligned address: nothing may assume alignment.
        arrays = [array[1 : 1 + count + 8].copy() for array in whole]
        untouched = [array[count:].copy() for array in arrays]
        block_runner.call(address, arrays, count, scalars)
        for actual, wanted, rest in zip(arrays, expected, untouched, strict=True):
            np.testing.assert_array_equal(actual[:count], wanted[1 : 1 + count])
            np.testing.assert_array_equal(actual[count:], rest)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.in_place], ids=lambda block: block.name)
@pytest.mark.parametrize("renderer", COMPILED)
def test_input_and_output_may_be_the_same_array(renderer, block, dtype):
    apart, scalars = samples(block, dtype), scalars_of(block, dtype)
    together = dict(zip(block.arrays, [array.copy() for array in apart], strict=True))
    for written, was_read in block.in_place:
        together[written] = together[was_read]
    block_runner.run(renderer, block, apart, scalars)
    block_runner.run(renderer, block, list(together.values()), scalars)
    for name in block.stored:
        np.testing.assert_array_equal(together[name], apart[block.arrays.index(name)])


def unit_in_the_last_place(reference_values: np.ndarray, dtype: str) -> np.ndarray:
    return np.spacing(abs(reference_values.astype(dtype))).astype(EXTENDED)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh", "erf", "normal_cdf", "sin", "cos"])
def test_numba_functions_err_by_at_most_four_units_in_the_last_place(define, name, dtype):
    if np.finfo(EXTENDED).eps > np.finfo(dtype).eps / 4:
        pytest.skip("this machine's long double is no wider, so it cannot judge")
    formula = read(define(f"def f(x):\n    return {name}(x)\n").f)
    draw = np.random.default_rng(0)
    bits = np.dtype(dtype).str.replace("f", "u")
    patterns = draw.integers(0, np.iinfo(bits).max, 50_000, dtype=bits, endpoint=True).view(dtype)
    near = draw.choice([-1, 1], 50_000) * np.exp(draw.uniform(-90, 5, 50_000))
    wide = np.concatenate([near, np.linspace(-20, 20, 50_001), draw.uniform(-760, 760, 50_000)])
    x = np.concatenate([patterns, wide.astype(dtype)])
    actual = np.empty_like(x)
    block_runner.run("numba", block_of(formula), [x, actual])
    with np.errstate(all="ignore"):
        wanted = truth(name)(x.astype(EXTENDED))
        off = abs(actual.astype(EXTENDED) - wanted) / unit_in_the_last_place(wanted, dtype)
        same = (actual == wanted.astype(dtype)) | (np.isnan(actual) & np.isnan(wanted))
    worst = int(np.argmax(np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))))
    assert same[worst] or off[worst] <= 4.0, (
        f"{name}({x[worst]!r}) gives {actual[worst]!r}, off by {off[worst]} ULP"
    )


# ----------------------------------------------------------------------- what the comparison notices


WRONG = {
    "a sign": ("softplus", "return (0.0 if z < 0.0 else z) + log1p(exp(abs(z)))"),
    "a constant, by a hundredth of a percent": ("sigmoid", "return 1.0001 / (1.0 + exp(-z))"),
    "a branch": ("relu", "return 0.0 if z < 0.5 else z"),
    "a missing term": ("tanh", "return z - z**3 / 3.0"),
    "a function that loses digits": ("softplus", "return log(1.0 + exp(z))"),
    "a NaN": ("linear", "return z if abs(z) < 20.0 else 0.0 * exp(z * z * z * z)"),
}


@pytest.mark.parametrize("mistake", WRONG)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_wrong_formula_turns_the_comparison_red(define, renderer, mistake):
    name, line = WRONG[mistake]
    wrong = read(define(f"def {name}(z):\n    {line}\n").__dict__[name])
    right = ACTIVATIONS[name].forward_block
    sabotaged = replace(right, applications=(Application(wrong, ("z",), ("a",)),))
    check_block(renderer, right, "float32")
    with pytest.raises(AssertionError, match="beyond their bound"):
        check_block(renderer, right, "float32", rendered=sabotaged)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_an_exchanged_state_turns_the_comparison_red(rule):
    block = OPTIMIZERS[rule].block
    swapped = block.arrays[:2][::-1] + block.arrays[2:]
    application = replace(block.applications[0], reads=swapped)
    with pytest.raises(AssertionError):
        check_block("numpy", block, "float32", rendered=replace(block, applications=(application,)))


# --------------------------------------------------------------------------------- vectorisation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS, ids=BLOCK_NAMES)
def test_numba_compiles_blocks_to_packed_instructions_and_calls_no_library(block, dtype):
    pytest.importorskip("numba")
    from fastgd._formula import numba_

    assembly = numba_.block(block, dtype)._library.get_asm_str()
    called = re.findall(r"\b(?:exp|expm1|log|log1p|tanh|erf|erfc|sqrt|fma|fabs|pow)f?\b", assembly)
    assert not called, f"calls {set(called)}"
    does_nothing = block.name in ("linear", "linear_derivative")
    if sys.platform != "darwin" and re.search(r"%[xyz]mm\d", assembly) and not does_nothing:
        kind = "s" if dtype == "float32" else "d"
        packed = rf"v?(?:mul|add|sub|div|max|min|mov[au]|cmp\w*|fn?m(?:add|sub)\w*)p{kind}"
        assert re.search(rf"\b{packed}\b", assembly), "no packed instruction"
    if dtype == "float32":
        doubles = re.findall(
            r"\bv?(?:cvtss2sd|cvtps2pd|mulsd|addsd|mulpd|addpd|divpd|fmadd\d+pd)\b", assembly
        )
        assert not doubles, f"computes in float64: {set(doubles)}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_formulas_are_callable_from_compiled_code(define, dtype):
    numba = pytest.importorskip("numba")
    from fastgd._formula import numba_

    formula = read(define(EVERYTHING).everything)
    everything = numba_.compile_(formula, dtype)

    @numba.njit
    def apply(x, y, slope, first, second):
        for i in range(x.size):
            first[i], second[i] = everything(x[i], y[i], slope)

    x = np.linspace(-3.0, 3.0, 1001).astype(dtype)
    y = np.sin(7.0 * x).astype(dtype)
    results = np.empty_like(x), np.empty_like(x)
    apply(x, y, x.dtype.type(0.25), *results)
    for result, expected in zip(results, reference(formula, dtype, x, y, 0.25), strict=True):
        assert_bounded(result, expected, "compiled")


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_numba_refuses_other_types(dtype):
    pytest.importorskip("numba")
    from fastgd._formula import numba_

    with pytest.raises(TypeError, match=f"got {dtype}, expected float32 or float64"):
        numba_.block(ACTIVATIONS["relu"].forward_block, dtype)


# ------------------------------------------------------------------------- declarations, registries


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_derivative_is_the_derivative(name):
    declared = ACTIVATIONS[name]
    z = np.linspace(-4.0, 4.0, 81, dtype=EXTENDED) + EXTENDED("0.01")
    h = EXTENDED("1e-4")
    slope = (declared(z + h) - declared(z - h)) / (2 * h)
    kept = declared(z) if declared.derivative_of == "output" else z
    derivative = numpy_.compile_(declared.derivative_formula)
    scalars = {name: declared.parameters[name] for name in declared.derivative_formula.scalars}
    # The central difference errs by h^2/6 times a third derivative, which is below 2 or, of exp, the first.
    np.testing.assert_allclose(
        np.broadcast_to(derivative(kept, **scalars), z.shape), slope, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("name", [name for name, declared in LOSSES.items() if not declared.rowwise])
def test_each_loss_derivative_is_the_derivative(name):
    declared = LOSSES[name]
    score = np.linspace(-4.0, 4.0, 81, dtype=EXTENDED) + EXTENDED("0.013")
    h = EXTENDED("1e-4")
    for target in (EXTENDED(1), EXTENDED("0.3")):
        slope = (declared(score + h, target) - declared(score - h, target)) / (2 * h)
        scalars = {name: declared.parameters[name] for name in declared.derivative_formula.scalars}
        derivative = numpy_.compile_(declared.derivative_formula)(score, target, **scalars)
        # The third derivative is e^4 at most. None of the scores is beside a kink.
        np.testing.assert_allclose(derivative, slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", DECLARED)
def test_everything_declared_is_documented_with_an_example_that_runs(name):
    declared = DECLARED[name]
    assert declared.__doc__ and declared.__doc__.strip()
    if name in OPTIMIZERS:
        assert declared.source
        return
    test = doctest.DocTestParser().get_doctest(declared.__doc__, {}, name, None, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("module", [activations, losses, optimizers])
def test_the_modules_examples_run(module):
    assert doctest.testmod(module).failed == 0


def test_evaluation_keeps_the_dtype_and_fills_out():
    z = np.array([[-1.0, 2.0]], np.float32)
    assert activations.relu(z).dtype == np.float32
    assert activations.relu([1, 2]).dtype == np.float64
    out = np.empty_like(z)
    assert activations.tanh(z, out=out) is out
    np.testing.assert_array_equal(out, np.tanh(z))
    assert activations.relu(z, out=z) is z and z.min() == 0.0
    assert losses.mean_squared_error(z, [0, 1]).dtype == np.float32
    assert activations.linear.derivative_formula.arrays == ("a",)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty(3), r"out has shape \(3,\) and dtype float64, expected an array of shape \(2,\)"),
        (np.empty(2, np.float32), "dtype float32, expected .* dtype float64"),
        ([0.0, 0.0], "expected an array"),
    ],
)
def test_a_wrong_out_is_refused(out, message):
    with pytest.raises(ValueError, match=message):
        activations.relu([1.0, 2.0], out=out)


def test_a_read_only_out_is_refused():
    out = np.empty(2)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        activations.relu([1.0, 2.0], out=out)


@pytest.mark.parametrize("z", [["a"], [1j], [None]])
def test_what_is_no_real_number_is_refused(z):
    with pytest.raises(TypeError, match="expected real numbers"):
        activations.relu(z)


def test_parameters_make_a_configured_copy():
    steep = activations.leaky_relu(slope=0.2)
    assert repr(steep) == "<activation leaky_relu(slope=0.2)>" and steep.parameters == {"slope": 0.2}
    assert steep != activations.leaky_relu and activations.leaky_relu() == activations.leaky_relu
    assert steep == activations.leaky_relu(slope=0.2) and len({steep, activations.leaky_relu(slope=0.2)}) == 1
    assert steep(-1.0) == -0.2 and activations.leaky_relu(-1.0, slope=0.5) == -0.5
    with pytest.raises(ValueError, match=r"slope: got -1, expected a finite number in \[0, inf\)"):
        activations.leaky_relu(slope=-1)
    with pytest.raises(ValueError, match="got nan"):
        activations.leaky_relu(slope=float("nan"))
    with pytest.raises(TypeError, match="got parameter 'alpha', expected one of: slope"):
        activations.leaky_relu(alpha=0.1)
    with pytest.raises(TypeError, match="expected one of: none"):
        activations.relu(slope=0.1)


@pytest.mark.parametrize("name", DECLARED)
def test_declared_things_are_pickled(name):
    declared = DECLARED[name]
    again = pickle.loads(pickle.dumps(declared))
    assert again == declared and again.__doc__ == declared.__doc__
    if name in ACTIVATIONS:
        assert again(0.5) == declared(0.5)


def test_names_are_resolved_and_unknown_ones_explained():
    assert get(ACTIVATIONS, "relu") is activations.relu
    assert get(ACTIVATIONS, activations.tanh) is activations.tanh
    with pytest.raises(
        ValueError, match="unknown activation 'rleu'; did you mean 'relu'.*known: linear, relu"
    ):
        get(ACTIVATIONS, "rleu")
    with pytest.raises(ValueError, match="unknown loss 'xyzzy'; known: mean_squared_error"):
        get(LOSSES, "xyzzy")


DECLARATIONS = """
from fastgd._formula import activation, loss, optimizer

@activation(ranges={"alpha": "(0, inf)"})
def elu_like(z, *, alpha=1.0):
    return z if z > 0.0 else alpha * expm1(z)

@elu_like.derivative(of="output")
def _(a, *, alpha):
    return 1.0 if a > 0.0 else a + alpha

@loss(link="linear", target="real")
def cosh_distance(score, target):
    d = abs(score - target)
    return d + log1p(exp(-2.0 * d)) - 0.6931471805599453

@cosh_distance.derivative
def _(score, target):
    return tanh(score - target)

@optimizer(source="here")
def sign_descent(w, g, *, learning_rate=0.1):
    return w - (learning_rate if g > 0.0 else -learning_rate if g < 0.0 else 0.0)
"""


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_users_own_declarations_are_like_ours(define, registries, renderer):
    module = define(DECLARATIONS)
    assert ACTIVATIONS["elu_like"] is module.elu_like and OPTIMIZERS["sign_descent"] is module.sign_descent
    z = np.linspace(-3.0, 3.0, 101)
    a = np.empty_like(z)
    block_runner.run(renderer, module.elu_like.forward_block, [z, a], [2.0])
    np.testing.assert_allclose(a, np.where(z > 0, z, 2 * np.expm1(z)), rtol=1e-14)
    d = np.ones_like(z)
    block_runner.run(renderer, module.elu_like.derivative_block, [a, d], [2.0])
    np.testing.assert_allclose(d, np.where(z > 0, 1, 2 * np.exp(z)), rtol=1e-14)
    value, gradient = np.empty_like(z), np.empty_like(z)
    block_runner.run(renderer, module.cosh_distance.block, [z, np.zeros_like(z), value, gradient])
    np.testing.assert_allclose(value, np.log(np.cosh(z)), rtol=0, atol=1e-15)
    np.testing.assert_allclose(gradient, np.tanh(z), rtol=1e-14)
    w = np.zeros_like(z)
    block_runner.run(renderer, module.sign_descent.block, [w, z.copy()], [0.5])
    np.testing.assert_array_equal(w, -0.5 * np.sign(z))


def test_ours_keep_their_names_but_a_users_own_may_be_declared_again(define, registries):
    define(DECLARATIONS)
    again = define(DECLARATIONS.replace("alpha=1.0", "alpha=3.0"))
    assert ACTIVATIONS["elu_like"] is again.elu_like and again.elu_like.parameters == {"alpha": 3.0}
    with pytest.raises(ValueError, match="activation 'relu' is fastgd's own; give yours another name"):
        define("from fastgd._formula import activation\n@activation\ndef relu(z):\n    return z\n")
    assert ACTIVATIONS["relu"] is activations.relu


MISDECLARED = {
    "@activation\ndef f(z, y):\n    return z": "one array in, one expression out",
    "@activation\ndef f(z):\n    return z, z": "one array in, one expression out",
    "@activation\ndef f(z, *, slope):\n    return z": "scalar slope of f has no default",
    "@activation\ndef f(z):\n    return z\n@f.derivative(of='output')\ndef _(a, b):\n    return a": "the output",
    "@activation\ndef f(z):\n    return z\n@f.derivative(of='output')\ndef _(a):\n    return a, a": "return one",
    "@activation\ndef f(z):\n    return z\n@f.derivative(of='output')\ndef _(a, *, b):\n    return a": "it has none",
    "@activation\ndef f(z):\n    return z\n@f.derivative(of='z')\ndef _(a):\n    return a": "expected 'output' or",
    "@loss()\ndef f(score):\n    return score": "write two: score, target",
    "@loss()\ndef f(score, target):\n    return score, target": "return one",
    "@loss(link='log')\ndef f(score, target):\n    return score": "expected one of linear, sigmoid, softmax",
    "@loss(target='text')\ndef f(score, target):\n    return score": "expected one of real, nonnegative",
    "@optimizer()\ndef f(w, g, m):\n    return w": "w, *states out",
    "@optimizer()\ndef f(w):\n    return w": "w, *states out",
}


@pytest.mark.parametrize("source", MISDECLARED, ids=range(len(MISDECLARED)))
def test_a_wrong_declaration_is_refused(define, registries, source):
    with pytest.raises(ValueError, match=re.escape(MISDECLARED[source])):
        define(f"from fastgd._formula import activation, loss, optimizer\n{source}\n")


def test_row_wise_losses_have_no_formula():
    declared = losses.softmax_cross_entropy
    assert declared.rowwise and declared.formula is None and declared.derivative_formula is None
    with pytest.raises(TypeError, match="taken over rows"):
        declared([[1.0, 2.0]], [0])
    with pytest.raises(TypeError, match="taken over rows"):
        _ = declared.block


def test_the_c_text_is_reproducible_and_tells_where_it_comes_from():
    text = c_renderer.render_all(ACTIVATIONS, LOSSES, OPTIMIZERS)
    assert text == c_renderer.render_all(ACTIVATIONS, LOSSES, OPTIMIZERS)
    assert text.startswith("/* Generated by fastgd/_formula/c.py")
    for name in DECLARED:
        if not getattr(DECLARED[name], "rowwise", False):
            assert f"block_{name}(" in text
