"""Backend ``numba``: that it has every kernel and formula, what it compiles, what it keeps, and whom it trusts."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, LOSS_NAMES

import fastgd as fg
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from fastgd._kernels import get_backend
from fastgd._kernels.backend import Backend, Network

if importlib.util.find_spec("numba") is None:
    pytest.skip("numba is not installed", allow_module_level=True)

from fastgd._kernels.numba_ import arrays, blocks, objects, tiles  # noqa: E402
from fastgd._kernels.numba_.objects import Formulas, Kernel, Tiles  # noqa: E402

FIT = """
import sys
import numpy as np
import fastgd as fg
layers = [fg.Dense(5, activation="relu"), fg.Dense(4, activation="relu"), fg.Dense(3)]
model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=fg.SGD(0.1), backend="numba")
model.fit(np.eye(6, dtype="float32"), np.arange(6) % 3, epochs=2, batch_size=4)
print(repr(model.get_weights()), "numba" in sys.modules)
"""


def train(*widths):
    """A network of those hidden layers."""
    layers = [*(fg.Dense(n, activation="relu") for n in widths), fg.Dense(3)]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=fg.SGD(0.1), backend="numba")
    model.fit(np.eye(40, widths[0], dtype=np.float32), np.arange(40) % 3, batch_size=16)


def run(code, folder):
    """What a fresh interpreter says and complains about, with a cache of its own."""
    environment = os.environ | {"FASTGD_CACHE_DIR": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    weights, _, imported = ran.stdout.rpartition(" ")
    return weights, imported.strip() == "True", ran.stderr.splitlines()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder after a training that found all but one activation there, and what that training said."""
    folder = tmp_path_factory.mktemp("cache") / "fastgd"
    train(5, 4)
    shutil.copytree(objects.cache_folder(), folder)
    folder.chmod(0o700)
    objects._file(folder, Formulas(ACTIVATIONS["relu"].forward_block, "float32")).unlink()
    return folder, run(FIT, folder)


# ------------------------------------------------------------------------------------------------- completeness
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_every_kernel(backend):
    """The names of the protocol are the names of the module, and of its network."""
    module = get_backend(backend)
    for name in {*vars(Backend), *Backend.__annotations__}:
        assert name.startswith("_") or hasattr(module, name), name
    for name in vars(Network):
        assert name.startswith("_") or hasattr(module.Network, name), name


def test_every_loss_over_rows_has_its_kernel():
    """Of labels and of rows; all losses of one score share one."""
    for name in LOSS_NAMES:
        for by_label in (True, False):
            kernel = blocks.loss_kernel(LOSSES[name], by_label, np.dtype("float32"))
            made = importlib.import_module(f"fastgd._kernels.numba_.{kernel.module}")
            assert callable(getattr(made, f"make_{kernel.name}")), name
    with pytest.raises(AttributeError):
        Kernel("losses", "a_loss_that_nobody_wrote", "float32").write()


def test_every_formula_can_be_rendered():
    """And has a digest of its own, by which its code is kept."""
    declared = [b for a in ACTIVATIONS.values() for b in (a.forward_block, a.derivative_block)]
    declared += [loss.block for loss in LOSSES.values() if not loss.rowwise]
    declared += [form.block for rule in OPTIMIZERS.values() for form in (rule, rule.restrained)]
    files = {objects._file(objects.cache_folder(), Formulas(block, dtype)) for block in declared for dtype in DTYPES}
    assert len(files) == len(DTYPES) * len(declared)


# ------------------------------------------------------------------------------------------------- what is compiled
def doubles(text):
    """Lines of LLVM's text that compute in double precision."""
    return re.findall(r"^.*= f(?:add|sub|mul|div|neg|ma|ptrunc|pext).*double.*$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["gelu", "adam"])
def test_nothing_of_a_formula_in_float32_is_double(name):
    """And in float64 all of it is, which shows that the look would find it."""
    declared = ACTIVATIONS[name].forward_block if name in ACTIVATIONS else OPTIMIZERS[name].block
    found = {}
    for dtype in DTYPES:
        _, text = Formulas(declared, dtype).write()
        found[dtype] = doubles(str(objects._module_of(text, is_optimized=True)))
    assert not found["float32"]
    assert found["float64"]


def test_tiles_in_float32_have_no_double():
    """At any shape of the registers."""
    for features in (["avx512f"], ["avx2"], ["neon"], []):
        shape = tiles.shape_for(features)
        assert "double" not in tiles.module(32, shape)
        assert "double" in tiles.module(64, shape)


def test_code_that_calls_out_is_refused():
    """What is kept must not depend on what else the process has."""
    from llvmlite import binding, ir

    place = ir.IntType(8).as_pointer()
    said = f"define i32 @say({place} %text) {{\n  %1 = call i32 @puts({place} %text)\n  ret i32 %1\n}}"
    text = f"declare i32 @puts({place})\n{said}"
    with pytest.raises(RuntimeError, match="calls puts, expected nothing outside itself"):
        objects._object_of(binding.parse_assembly(text))


def test_another_shape_compiles_nothing_new():
    """Nor do other data of the same kind."""
    train(7, 5)
    before = set(objects._loaded)
    train(33, 64, 9)
    assert set(objects._loaded) == before


def test_tiles_of_other_registers_are_right_here_too():
    """The narrow shapes, as far as this processor can run them: each height and width against NumPy."""
    import ctypes

    from llvmlite import binding

    random = np.random.default_rng(0)
    shape = tiles.shape_for([])
    names = tiles.names(shape)
    code = objects._object_of(binding.parse_assembly(tiles.module(64, shape)))
    found = dict(zip(names, objects._load(names, code), strict=True))
    lanes = 8
    for height in range(1, shape.rows + 1):
        for width in (*range(1, lanes + 1),):
            kind = "full" if width == lanes * shape.vectors else "masked"
            function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(found[f"columns_1_{kind}_{height}"])
            left, right = random.normal(size=(11, height)), random.normal(size=(11, width))
            start, out = random.normal(size=(height, width)), np.full((height + 1, width), 7.0)
            places = [array.ctypes.data for array in (left, right, start, out)]
            function(11, places[0], height, places[1], width, places[2], places[3])
            np.testing.assert_allclose(out[:height], start + left.T @ right, rtol=1e-12, atol=1e-12)
            assert (out[height:] == 7.0).all(), "written beyond the tile"


# ------------------------------------------------------------------------------------------------- what is kept
def test_the_first_training_says_that_it_compiles_and_the_next_one_does_not(kept):
    """One line with the folder; then neither a line nor Numba."""
    folder, (weights, imported, lines) = kept
    assert imported
    assert len(lines) == 1
    assert "compiles" in lines[0] and str(folder) in lines[0]
    again, imported_again, lines_again = run(FIT, folder)
    assert (again, imported_again, lines_again) == (weights, False, [])


def test_what_only_predicts_loads_nothing_that_trains(kept):
    """Nor is it compiled."""
    folder, _ = kept
    fit = "model.fit(np.eye(6, dtype=\"float32\"), np.arange(6) % 3, epochs=2, batch_size=4)"
    assert fit in FIT
    code = FIT.replace(fit, "model.build(6).predict(np.eye(6, dtype=\"float32\"))")
    code += "from fastgd._kernels.numba_ import objects\nprint(*(unit.title for unit in objects._loaded), sep=';')"
    environment = os.environ | {"FASTGD_CACHE_DIR": str(folder)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    titles = ran.stdout.splitlines()[-1].split(";")
    assert "predict of float32" in titles and "tiles of float32" in titles
    declared = (ACTIVATIONS["relu"].derivative_block, fg.SGD(0.1).rule.block)
    for_training = {"train of float32", *(Formulas(block, "float32").title for block in declared)}
    assert for_training <= {unit.title for unit in objects._loaded}
    assert not for_training & set(titles)


def test_a_file_that_was_cut_short_is_compiled_anew(kept):
    """Loading it would crash."""
    folder, (weights, _, _) = kept
    file = objects._file(folder, Formulas(ACTIVATIONS["relu"].forward_block, "float32"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again, imported, _ = run(FIT, folder)
    assert again == weights and imported
    assert file.read_bytes() == whole


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions here")
def test_code_that_others_may_have_put_there_is_not_loaded(kept):
    """Neither from a folder that they may write to, nor from such a file."""
    folder, _ = kept
    unit = Tiles("float32")
    file = objects._file(folder, unit)

    def is_read(monkeypatched_folder):
        before = os.environ.get("FASTGD_CACHE_DIR")
        os.environ["FASTGD_CACHE_DIR"] = str(monkeypatched_folder)
        try:
            return objects._read(unit) is not None
        finally:
            os.environ.pop("FASTGD_CACHE_DIR") if before is None else os.environ.update(FASTGD_CACHE_DIR=before)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert is_read(folder)
    file.chmod(0o622)
    assert not is_read(folder)
    file.chmod(0o600)
    folder.chmod(0o722)
    assert not is_read(folder)
    folder.chmod(0o700)
    assert is_read(folder)


def test_a_folder_that_cannot_be_made_costs_a_line_and_nothing_else(tmp_path, caplog, monkeypatch):
    """The training runs."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTGD_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert not objects._prepare(objects.cache_folder())
    assert "FASTGD_CACHE_DIR" in caplog.text


# ------------------------------------------------------------------------------------------------- what it takes
def test_where_numba_is_missing_the_command_is_named(monkeypatch):
    """Instead of a traceback out of a package that nobody has heard of."""
    for name in [name for name in sys.modules if name.startswith("fastgd._kernels.numba_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"backend 'numba' cannot be imported .*pip install \"fastgd\[jit\]\""):
        fg.Sequential([fg.Dense(1)], backend="numba")


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "float16", ">f4", "float64"])
def test_rows_of_any_number_are_read_where_they_lie(kind):
    """Strides, transposes and all; as the definition reads them."""
    X = (np.arange(60).reshape(5, 12) % 7).astype(kind).T[::2]
    results = []
    for backend in ("numba", "numpy"):
        model = fg.Sequential([fg.Dense(3)], loss="mean_squared_error", dtype="float64", backend=backend).build(5)
        model.set_weights([np.arange(15.0).reshape(5, 3), np.arange(3.0)])
        results.append(model.predict(X))
    np.testing.assert_array_equal(*results)


@pytest.fixture
def declarations_of_a_test():
    """Other tests go through all that is registered."""
    known = set(ACTIVATIONS)
    yield
    for name in set(ACTIVATIONS) - known:
        del ACTIVATIONS[name]


@pytest.mark.usefixtures("declarations_of_a_test")
def test_a_formula_of_your_own_trains():
    """Compiled as those that are built in are."""

    @fg.activation
    def bent_line(z):
        return z + 0.25 * z / (1.0 + z * z)

    @bent_line.derivative(of="input")
    def _(z):
        return 1.0 + 0.25 * (1.0 - z * z) / (1.0 + z * z) ** 2

    losses = []
    X = np.random.default_rng(0).normal(size=(40, 3))
    for backend in ("numba", "numpy"):
        layers = [fg.Dense(4, activation=bent_line), fg.Dense(1)]
        model = fg.Sequential(layers, loss="mean_squared_error", dtype="float64", seed=1, backend=backend)
        losses.append(model.fit(X, X.sum(axis=1), epochs=3, batch_size=8).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_the_fields_of_an_array_are_where_they_are_looked_for(monkeypatch):
    """And where they are not, the slow way is taken."""
    assert arrays.is_as_expected()
    array = np.arange(3.0)
    assert arrays.data_of(array) == array.ctypes.data
    monkeypatch.setattr(arrays, "is_as_expected", lambda: False)
    assert arrays.data_of(array) == array.ctypes.data
