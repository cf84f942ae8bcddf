"""Models inside compiled code: nopython functions, C, Cython."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastgd as fg

numba = pytest.importorskip("numba")

EXAMPLES = Path(__file__).parents[1] / "examples"


def model_of(layers=None, loss="softmax_cross_entropy", n_features=5, **settings):
    layers = layers or [fg.Dense(12, activation="tanh"), fg.Dense(3)]
    return fg.Sequential(layers, loss=loss, **settings).build(n_features)


def rows(n_rows, n_features=5, dtype="float32"):
    return np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(dtype)


def weights_of(model):
    return np.concatenate([array.ravel() for array in model.get_weights()])


STACKS = {
    "narrow": [fg.Dense(12, activation="tanh"), fg.Dense(3)],
    "single": [fg.Dense(3)],
    "wide": [fg.Dense(100, activation="gelu"), fg.Dense(70, activation="relu"), fg.Dense(3)],
    "normalized": [
        fg.Dense(40),
        fg.BatchNorm(activation="relu"),
        fg.Dropout(0.3),
        fg.Dense(40),
        fg.LayerNorm(activation="silu"),
        fg.Dense(3),
    ],
    "probabilities": [fg.Dense(40, activation="tanh"), fg.Softmax(), fg.Dense(3), fg.Softmax()],
}


# -------------------------------------------------------------------------------------------------- predictions
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_predictions_are_those_of_the_model_to_the_bit(name, dtype):
    model = model_of(STACKS[name], dtype=dtype)
    model.fit(rows(64), np.arange(64) % 3, epochs=1)
    predict = fg.jit.predictor(model)
    for n_rows in (1, 2, 61, 200):
        x, out = rows(n_rows, dtype=dtype), np.empty((n_rows, 3), dtype)
        predict(x, out)
        np.testing.assert_array_equal(out, model.predict(x))


@pytest.mark.parametrize("loss", ["gaussian_nll", "quantiles", "poisson", "binary_cross_entropy", "mean_squared_error"])
def test_links_are_applied_or_left_out(loss):
    layers = [fg.Dense(8, activation="tanh"), fg.Dense(3 if loss == "quantiles" else 2)]
    model, x = model_of(layers, loss), rows(4)
    for raw in (False, True):
        out = np.empty((4, model.n_outputs), np.float32)
        fg.jit.predictor(model, raw=raw)(x, out)
        np.testing.assert_array_equal(out, model.predict(x, raw=raw))


def test_many_columns_come_in_panels():
    model, x = model_of(n_features=100), rows(9, 100)
    out = np.empty((9, 3), np.float32)
    fg.jit.predictor(model)(x, out)
    np.testing.assert_array_equal(out, model.predict(x))


def test_weights_are_live_and_one_row_needs_one_dimension():
    model = model_of()
    predict = fg.jit.predictor(model)

    @numba.njit(nogil=True)
    def first(x):
        out = np.empty(3, np.float32)
        predict(x, out)
        return out

    x = rows(1)
    before = first(x[0])
    model.set_weights([2.0 * array for array in model.get_weights()])
    after = first(x[0])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, model.predict(x)[0])


def test_a_predictor_may_be_an_argument_and_serve_many_threads():
    model, x = model_of(), rows(64)
    predict = fg.jit.predictor(model)

    @numba.njit(nogil=True)
    def sum_of_rows(of, x, n_times):
        total, out = np.zeros(3), np.empty(3, np.float32)
        for k in range(n_times):
            of(x[k % len(x)], out)
            total += out
        return total

    expected = sum_of_rows(predict, x, 6400)
    with ThreadPoolExecutor(4) as pool:
        for total in pool.map(lambda _: sum_of_rows(predict, x, 6400), range(8)):
            np.testing.assert_array_equal(total, expected)


def test_what_does_not_fit_is_refused():
    predict = fg.jit.predictor(model_of())
    x, out = rows(2), np.empty((2, 3), np.float32)
    for wrong in [(x[:, :4].copy(), out), (x, out[:, :2].copy()), (x, out[:1]), (x[0], out)]:
        with pytest.raises(ValueError, match="predict: the shapes of x and out"):
            predict(*wrong)
    fixed = out.copy()
    fixed.flags.writeable = False
    for wrong in [(x.astype("float64"), out), (x[:, ::2], out), (np.asfortranarray(rows(2)), out), (x, fixed)]:
        with pytest.raises(numba.TypingError, match="got .*expected a .*C-contiguous array of float32"):
            predict(*wrong)


# ------------------------------------------------------------------------------------------------------ training
TRAININGS = {
    "adam": dict(optimizer="adam"),
    "decay": dict(optimizer=fg.AdamW(0.01, weight_decay=0.1), penalty=fg.L2(1e-3)),
    "schedule": dict(
        optimizer=fg.SGD(fg.schedules.Exponential(0.1, 0.99), momentum=0.9), layers=STACKS["normalized"], seed=7
    ),
    "clipped": dict(optimizer=fg.Adam(0.01, clip_norm=0.1), layers=STACKS["wide"]),
    "double": dict(optimizer="lion", dtype="float64", layers=STACKS["wide"]),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_steps_are_those_of_train_on_batch_to_the_bit(name):
    x, y = rows(33, dtype=TRAININGS[name].get("dtype", "float32")), np.arange(33) % 3
    mine, its = model_of(**TRAININGS[name]), model_of(**TRAININGS[name])
    train = fg.jit.trainer(mine)

    @numba.njit(nogil=True)
    def repeat(x, y, n_steps):
        loss = 0.0
        for _ in range(n_steps):
            loss = train(x, y)
        return loss

    # Across the end of a table of scalars, and to Python and back.
    for n_steps in (1, 40 if name != "adam" else 1030):
        loss = repeat(x, y, n_steps)
        for _ in range(n_steps):
            expected = its.train_on_batch(x, y)
        assert loss == expected
        assert mine.train_on_batch(x, y) == its.train_on_batch(x, y)
    assert repeat(x, y, 2) == [its.train_on_batch(x, y) for _ in range(2)][-1]
    np.testing.assert_array_equal(weights_of(mine), weights_of(its))
    assert mine.n_steps_done == its.n_steps_done


def test_targets_may_be_numbers_and_rows_may_have_weights():
    settings = dict(layers=[fg.Dense(2)], loss="mean_squared_error", optimizer=fg.SGD(0.1))
    x, y, w = rows(700), rows(700, 2), np.linspace(0.0, 2.0, 700)
    mine, its = model_of(**settings), model_of(**settings)
    train = fg.jit.trainer(mine, most_rows=700)
    assert train(x, y, w) == its.train_on_batch(x, y, w)
    assert train(x[:5], y[:5]) == its.train_on_batch(x[:5], y[:5])
    np.testing.assert_array_equal(weights_of(mine), weights_of(its))


def test_a_learning_rate_holds_once_the_model_was_used_from_python():
    x, y = rows(8), np.arange(8) % 3
    mine, its = model_of(optimizer=fg.SGD(0.1)), model_of(optimizer=fg.SGD(0.1))
    train = fg.jit.trainer(mine)
    train(x, y), its.train_on_batch(x, y)
    for model in (mine, its):
        model.optimizer.learning_rate = 0.5
        assert model.n_steps_done == 1
    train(x, y), its.train_on_batch(x, y)
    np.testing.assert_array_equal(weights_of(mine), weights_of(its))


def test_divergence_is_an_error_and_leaves_finite_weights():
    model = model_of([fg.Dense(1)], "mean_squared_error", optimizer=fg.SGD(100.0))
    train, x, y = fg.jit.trainer(model), rows(8), rows(8, 1)
    with pytest.raises(ArithmeticError, match="lower the learning rate"):
        for _ in range(100):
            train(x, y)
    assert np.isfinite(weights_of(model)).all()


def test_what_cannot_be_trained_on_is_refused():
    model = model_of()
    train, x, y = fg.jit.trainer(model, most_rows=8), rows(8), np.arange(8) % 3
    for wrong in [(x, y[:7]), (x[:, :4].copy(), y), (rows(9), np.arange(9) % 3), (x, y, np.ones(7))]:
        with pytest.raises(ValueError, match="train: "):
            train(*wrong)
    for wrong in [(x.astype(float), y), (x, y.astype(np.int16)), (x[0], y), (x, y, np.ones(8, np.float32))]:
        with pytest.raises(numba.TypingError, match="expected a C-contiguous array of"):
            train(*wrong)
    normalized = fg.jit.trainer(model_of(STACKS["normalized"]))
    with pytest.raises(ValueError, match="or one, for batch normalisation"):
        normalized(x[:1], y[:1])


def test_a_schedule_that_raises_is_heard_and_trains_nothing(monkeypatch):
    def rate(step):
        if step > 10:
            raise RuntimeError("no more")
        return 0.1

    model = model_of(optimizer=fg.SGD(rate))
    before, heard = weights_of(model), []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    with pytest.raises(ValueError, match="for the reason that was printed"):
        fg.jit.trainer(model)(rows(4), np.arange(4) % 3)
    assert "no more" in str(heard[0].exc_value)
    np.testing.assert_array_equal(weights_of(model), before)


# --------------------------------------------------------------------------------------------------- whose memory
@pytest.mark.parametrize("change", [lambda m: m.build(5), lambda m: setattr(m, "optimizer", "sgd")])
def test_what_is_of_a_former_network_says_so(change):
    model, x, y = model_of(), rows(4), np.arange(4) % 3
    predict, train = fg.jit.predictor(model), fg.jit.trainer(model)
    train(x, y)
    change(model)
    out = np.zeros((4, 3), np.float32)
    predict(x, out)
    assert np.isnan(out).all()
    with pytest.raises(ValueError, match="ask for another trainer"):
        train(x, y)
    fg.jit.predictor(model)(x, out)
    np.testing.assert_array_equal(out, model.predict(x))


def test_a_predictor_outlives_its_model():
    model, x = model_of(), rows(4)
    predict, expected, out = fg.jit.predictor(model), model.predict(x), np.zeros((4, 3), np.float32)
    del model
    predict(x, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("function", [fg.jit.predictor, fg.jit.trainer, fg.jit.capsule])
def test_models_that_cannot_be_compiled_in_are_refused(function):
    with pytest.raises(TypeError, match="expected one of backend 'cython'"):
        function(model_of(backend="numpy"))
    with pytest.raises(fg.NotBuiltError):
        function(fg.Sequential([fg.Dense(1)]))
    with pytest.raises(TypeError, match="expected a Sequential"):
        function("model")
    with pytest.raises(ValueError, match="expected at most 32768 for use in compiled code"):
        function(model_of([fg.Dense(1)], "mean_squared_error", n_features=32769))


def test_averages_are_refused():
    with pytest.raises(ValueError, match="averages are brought up to date in Python"):
        fg.jit.predictor(model_of(optimizer=fg.Adam(ema=0.9)))


def test_what_sparse_rows_owe_is_paid_before_compiled_code_looks():
    """Steps that columns without a value have yet to take are put off; not so of a model that was given away."""
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random(40, 50, 0.02, "csr", np.float32, random_state=0)
    y, x = np.arange(40) % 3, rows(7, 50)
    layers = [fg.Dense(64, activation="relu"), fg.Dense(3)]
    model, out = model_of(layers, optimizer="adam", n_features=50), np.empty((7, 3), np.float32)
    predict = fg.jit.predictor(model)
    for k in range(0, 40, 4):
        model.train_on_batch(X[k : k + 4], y[k : k + 4])
        predict(x, out)
        # Asking for the weights settles what is owed.
        model.get_weights()
        np.testing.assert_array_equal(out, model.predict(x))


def test_a_trainer_needs_something_to_train():
    with pytest.raises(ValueError, match="got one with no loss"):
        fg.jit.trainer(model_of(loss=None))
    with pytest.raises(ValueError, match="which needs all rows at once"):
        fg.jit.trainer(model_of(optimizer=fg.RandomSearch()))


def test_importing_fastgd_and_naming_jit_load_no_numba():
    code = (
        "import sys, fastgd as fg\nassert 'fastgd.jit' not in sys.modules\n"
        "fg.jit.capsule(fg.Sequential([fg.Dense(1)]).build(2))\n"
        "print(*sorted({'numba', 'llvmlite'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --------------------------------------------------------------------------------------------------- C and Cython
def address_of(capsule):
    """The pointer that a capsule holds."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.c_void_p(get(capsule, b"fastgd.model"))


def followed(model, x, rate, n_steps):
    for _ in range(n_steps):
        x = x + np.float32(rate) * model.predict(x[None])[0]
    return x


def pulling():
    return model_of([fg.Dense(9, activation="tanh"), fg.Dense(5)], "mean_squared_error")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_example_in_c_moves_and_learns_as_python_does(tmp_path):
    library = tmp_path / "follow.so"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{fg.jit.get_include()}"]
    subprocess.run(["cc", *flags, str(EXAMPLES / "from_c" / "follow.c"), "-o", str(library)], check=True)
    compiled = ctypes.CDLL(str(library))
    pointer, number, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
    compiled.follow.argtypes = [pointer, pointer, real, number]
    compiled.learn.argtypes = [pointer, pointer, pointer, ctypes.c_ssize_t, number, pointer]
    model, its, x, loss = pulling(), pulling(), rows(6), real()
    at = address_of(fg.jit.capsule(model))
    moved = x[0].copy()
    assert compiled.follow(at, moved.ctypes.data, 0.125, 3) == 0
    # Products and sums may be fused in one and not in the other.
    np.testing.assert_allclose(moved, followed(its, x[0], 0.125, 3), rtol=1e-6)
    targets = -x
    assert compiled.learn(at, x.ctypes.data, targets.ctypes.data, 6, 4, ctypes.byref(loss)) == 0
    assert loss.value == [its.train_on_batch(x, targets) for _ in range(4)][-1]
    np.testing.assert_array_equal(weights_of(model), weights_of(its))
    assert model.n_steps_done == 4
    assert compiled.follow(address_of(fg.jit.capsule(model_of(dtype="float64"))), moved.ctypes.data, 0.1, 1) == 1


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_example_in_cython_moves_and_learns_as_python_does(tmp_path):
    pytest.importorskip("Cython")
    shutil.copy(EXAMPLES / "from_c" / "followed.pyx", tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(fg.__file__).parents[1]), *sys.path])}
    subprocess.run([sys.executable, "-m", "cython", "followed.pyx"], cwd=tmp_path, env=environment, check=True)
    module = tmp_path / f"followed{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = [f"-I{fg.jit.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
    subprocess.run(
        ["cc", "-O0", "-shared", "-fPIC", *include, "followed.c", "-o", str(module)], cwd=tmp_path, check=True
    )
    spec = importlib.util.spec_from_file_location("followed", module)
    followed_ = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(followed_)
    model, its, x = pulling(), pulling(), rows(6)
    capsule, moved = fg.jit.capsule(model), x[0].copy()
    followed_.follow(capsule, moved, 0.125, 3)
    np.testing.assert_allclose(moved, followed(its, x[0], 0.125, 3), rtol=1e-6)
    assert followed_.learn(capsule, x, -x, 4) == [its.train_on_batch(x, -x) for _ in range(4)][-1]
    np.testing.assert_array_equal(weights_of(model), weights_of(its))
    with pytest.raises(ValueError, match="as many outputs as inputs"):
        followed_.follow(fg.jit.capsule(model_of()), moved, 0.1, 1)


# --------------------------------------------------------------------------------------------------- the examples
@pytest.fixture
def example(monkeypatch):
    """Import an example by its name; what it declares is forgotten afterwards."""
    from fastgd._formula import LOSSES

    before = dict(LOSSES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield lambda name: importlib.import_module(name)
    LOSSES.clear()
    LOSSES.update(before)


def test_the_cart_learns_to_balance_the_pole(example):
    lengths = example("cart_pole").main(n_episodes=200)
    assert lengths[-50:].mean() > 5.0 * lengths[:50].mean()


def test_the_network_pendulum_follows_the_true_one(example):
    assert example("runge_kutta").main(epochs=60, n_steps=500) < 0.1
