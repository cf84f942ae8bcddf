"""A user's own activation, loss and optimizer: derivatives worked out and checked; run by the compiled engine."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import exp, log, sin, sqrt, tanh

import numpy as np
import pytest
from counterparts import BACKENDS

import fastgd as fg
import fastgd.activations
import fastgd.losses  # fills the registry, as the line above does
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS, Formula, FormulaError, numpy_
from fastgd._formula.derive import derivatives_of_activation, derivatives_of_loss
from fastgd._formula.language import FUNCTIONS, read
from fastgd._formula.verification import verify_activation, verify_loss

OWN_ACTIVATIONS = [declared for declared in ACTIVATIONS.values() if declared.built_in]
OWN_LOSSES = [declared for declared in LOSSES.values() if declared.built_in and declared.formula is not None]


def forget_what_is_declared():
    kept = [dict(registry) for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS)]
    yield
    for registry, before in zip((ACTIVATIONS, LOSSES, OPTIMIZERS), kept, strict=True):
        registry.clear()
        registry.update(before)


of_this_module = pytest.fixture(scope="module", autouse=True)(forget_what_is_declared)
of_one_test = pytest.fixture(autouse=True)(forget_what_is_declared)


@pytest.fixture(scope="module")
def swish():
    """An activation with a parameter, whose derivative is not given."""

    @fg.activation(ranges={"beta": "[0, inf)"})
    def swish(z, *, beta=1.0):
        return z / (1.0 + exp(-beta * z))

    return swish


@pytest.fixture(scope="module")
def quartic():
    """A loss whose derivative is not given."""

    @fg.loss(target="real")
    def quartic(score, target):
        return (score - target) ** 4

    return quartic


@pytest.fixture(scope="module")
def heavy_ball():
    """A rule that fastgd has under another name."""

    @fg.optimizer(source="Polyak 1964")
    def heavy_ball(w, g, b, *, learning_rate=0.01, friction=0.9):
        b = friction * b + g
        return w - learning_rate * b, b

    return heavy_ball


def data(n_rows=96):
    X = np.random.default_rng(0).normal(size=(n_rows, 5))
    return X, np.sin(X[:, :1]) + 0.5 * X[:, 1:2]


def model_of(activation, loss="mean_squared_error", optimizer="sgd", **settings):
    layers = [fg.Dense(24, activation=activation), fg.Dense(7, activation=activation), fg.Dense(1)]
    return fg.Sequential(layers, loss=loss, optimizer=optimizer, **settings)


# ------------------------------------------------------------------------------------- derivatives, worked out
def evaluate(formula: Formula, arrays, parameters):
    return numpy_.compile_(formula)(*arrays, **parameters)


def slope(z, parameters, derivative, of, declared):
    kept = evaluate(declared.formula, [z], parameters) if of == "output" else z
    return evaluate(derivative, [kept], parameters)


@pytest.mark.parametrize("declared", OWN_ACTIVATIONS, ids=lambda declared: declared.name)
def test_derivatives_of_activations_are_those_by_hand(declared):
    """Off the joints; to rounding, which a difference of numbers below 1 bounds."""
    z = np.linspace(-40.0, 40.0, 4001) + 0.003
    by_hand = slope(z, declared.parameters, declared.derivative_formula, declared.derivative_of, declared)
    for derivative, of in derivatives_of_activation(declared.formula):
        worked_out = slope(z, declared.parameters, derivative, of, declared)
        np.testing.assert_allclose(worked_out, by_hand, rtol=1e-12, atol=1e-14, err_msg=derivative.source)


@pytest.mark.parametrize("declared", OWN_LOSSES, ids=lambda declared: declared.name)
def test_derivatives_of_losses_are_those_by_hand(declared):
    target = 1.0 if declared.target in ("sign", "probability") else 0.7
    score = np.linspace(-20.0, 20.0, 2001) + 0.003
    arrays = score, np.full_like(score, target)
    by_hand = evaluate(declared.derivative_formula, arrays, declared.parameters)
    for derivative in derivatives_of_loss(declared.formula):
        worked_out = evaluate(derivative, arrays, declared.parameters)
        np.testing.assert_allclose(worked_out, by_hand, rtol=1e-11, atol=1e-13, err_msg=derivative.source)


@pytest.mark.parametrize("declared", OWN_ACTIVATIONS + OWN_LOSSES, ids=lambda declared: declared.name)
def test_what_fastgd_declares_passes_the_check_that_it_is_spared(declared):
    if declared.kind == "loss":
        verify_loss(declared, declared.derivative_formula)
    else:
        verify_activation(declared, declared.derivative_formula, declared.derivative_of)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_the_language_has_a_derivative(name, tmp_path):
    """A function that is added to the language and not to the rules fails here."""
    second = ", 0.3" * (FUNCTIONS[name].n_arguments - 1)
    expression = f"{name}(2.0 + 0.1 * z / (1.0 + z * z){second})"
    source = f"import fastgd as fg\n@fg.activation\ndef of_{name}(z):\n    return {expression}\n"
    (tmp_path / "declared.py").write_text(source)
    namespace = {}
    exec(compile(source, tmp_path / "declared.py", "exec"), namespace)
    declared = namespace[f"of_{name}"]
    verify_activation(declared, declared.derivative_formula, declared.derivative_of)


def test_what_needs_the_output_alone_keeps_the_output():
    @fg.activation
    def logistic(z):
        return 1.0 / (1.0 + exp(-z))

    @fg.activation
    def twice(z):
        return 2.0 * tanh(z)

    assert logistic.derivative_of == "output" and "return output * (1.0 - output)" in logistic.derivative_formula.source
    assert twice.derivative_of == "input" and twice.derivative_formula.source.count("tanh") == 1


def test_a_name_may_be_assigned_twice_and_be_called_output():
    @fg.activation
    def repeated(output):
        x = output * output
        x = x + output
        return sin(x)

    z = np.linspace(-1.0, 1.0, 11)
    derivative = evaluate(repeated.derivative_formula, [z], {})
    np.testing.assert_allclose(derivative, (2.0 * z + 1.0) * np.cos(z * z + z), rtol=1e-14, atol=1e-15)


def test_a_derivative_stays_finite_where_its_formula_does(swish):
    z = np.array([-1e4, -100.0, -89.0, 89.0, 1e4], np.float32)
    assert np.isfinite(swish(z)).all()
    np.testing.assert_array_equal(evaluate(swish.derivative_formula, [z], swish.parameters), [0.0, 0.0, 0.0, 1.0, 1.0])


# ---------------------------------------------------------------------------------------- derivatives, refused
def wrong_sign(z, *, beta):
    s = 1.0 / (1.0 + exp(-beta * z))
    return s - beta * z * s * (1.0 - s)


def without_the_parameter(z, *, beta):
    """Right where beta is 1, its default."""
    s = 1.0 / (1.0 + exp(-beta * z))
    return s + z * s * (1.0 - s)


def lost_to_overflow(z, *, beta):
    """Right but for e^-z that is infinite."""
    e = exp(-beta * z)
    return 1.0 / (1.0 + e) + beta * z * e / ((1.0 + e) * (1.0 + e))


WRONG = {
    wrong_sign: "the derivative of swish is",
    without_the_parameter: "beta = 1.41",
    lost_to_overflow: "no finite number",
}


@pytest.mark.parametrize("derivative", WRONG, ids=lambda function: function.__name__)
def test_a_wrong_derivative_is_refused_with_the_point_both_values_and_the_formula(swish, derivative):
    with pytest.raises(FormulaError, match=WRONG[derivative]) as refused:
        swish.derivative(of="input")(derivative)
    text = str(refused.value)
    assert "at z = " in text and "on the left and" in text and "return z / (1.0 + exp(-beta * z))" in text
    assert f"{__file__}:{derivative.__code__.co_firstlineno}" in text
    assert swish.derivative_formula.source.startswith("def swish_derivative")


def test_a_wrong_derivative_of_a_loss_is_refused(quartic):
    def derivative(score, target):
        return 4.0 * (score - target) ** 2

    with pytest.raises(FormulaError, match=r"derivative of quartic is .* at score = .*, target = "):
        quartic.derivative(derivative)


def test_a_slope_between_those_of_two_pieces_is_admitted_where_they_meet():
    @fg.activation
    def bent(z):
        return z if z < 1.0 else 3.0 * z - 2.0

    @bent.derivative(of="input")
    def _(z):
        return 1.0 if z < 1.0 else 2.0 if z == 1.0 else 3.0

    with pytest.raises(FormulaError, match="at z = 1, "):

        @bent.derivative(of="input")
        def _(z):
            return 1.0 if z < 1.0 else 4.0 if z == 1.0 else 3.0


NEVER_USABLE = {
    "log(z - 1e6)": "f is nan and its derivative -1e-06 at 0",
    "1.0 / z": "both are finite there",
    "sqrt(abs(z))": "f is 0 and its derivative nan at 0",
}


@pytest.mark.parametrize("expression", NEVER_USABLE)
def test_an_activation_that_no_network_can_use_is_refused(expression, tmp_path):
    source = f"def f(z):\n    return {expression}\n"
    (tmp_path / "f.py").write_text(source)
    namespace = {"log": log, "sqrt": sqrt}
    exec(compile(source, tmp_path / "f.py", "exec"), namespace)
    with pytest.raises(FormulaError, match=NEVER_USABLE[expression]):
        _ = fg.activation(namespace["f"]).derivative_formula


def test_a_rule_that_divides_zero_by_zero_is_refused():
    @fg.optimizer(source="wrong")
    def normalized(w, g, *, learning_rate=0.1):
        return w - learning_rate * g / sqrt(g * g)

    with pytest.raises(ValueError, match="rule 'normalized' makes nan of a weight and a gradient that are zero"):
        fg.optimizers.Optimizer(normalized)


# ------------------------------------------------------------------------------------------------ in the engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_engine_trains_with_them_as_numpy_does(swish, quartic, heavy_ball, dtype):
    pytest.importorskip("numba")
    X, y = data()
    decay = {"weight_decay": 1e-3} if dtype == "float32" else {}
    optimizer = fg.optimizers.Optimizer(heavy_ball, learning_rate=1e-3, friction=0.8, **decay)
    losses, weights = [], []
    for backend in ("cython", "numpy"):
        model = model_of(swish(beta=1.5), quartic, copy.deepcopy(optimizer), dtype=dtype, backend=backend)
        losses.append(model.fit(X, y, epochs=3, batch_size=17).history["loss"])
        weights.append(model.get_weights())
    # 18 steps, each adding a few roundings to numbers near 1.
    tolerance = 1e3 * np.finfo(dtype).eps
    np.testing.assert_allclose(losses[0], losses[1], rtol=tolerance)
    for of_engine, of_numpy in zip(*weights, strict=True):
        np.testing.assert_allclose(of_engine, of_numpy, rtol=tolerance, atol=tolerance)


def test_names_do_where_objects_do(swish, quartic, heavy_ball):
    ACTIVATIONS.add(swish), LOSSES.add(quartic), OPTIMIZERS.add(heavy_ball)
    model = model_of("swish", "quartic", "heavy_ball", backend="numpy")
    assert model.layers[0].activation == swish and model.loss == quartic and model.optimizer.rule == heavy_ball
    assert "loss='quartic'" in repr(model)


def test_kernels_take_them(swish, quartic, heavy_ball):
    pytest.importorskip("numba")
    x, w, b = np.array([[1.0, -2.0]]), np.array([[0.5], [1.0]]), np.array([0.25])
    a = fg.kernels.dense_forward(x, w, b, swish)
    z = -1.25
    assert math.isclose(a.item(), z / (1.0 + math.exp(-z)), rel_tol=1e-15)
    loss, gradient = fg.kernels.loss_gradient(np.array([[2.0]]), [[0.5]], quartic)
    assert (loss, gradient.item()) == (1.5**4, 4 * 1.5**3)
    weight, state = np.array([1.0]), np.array([2.0])
    optimizer = fg.optimizers.Optimizer(heavy_ball, learning_rate=0.5)
    fg.kernels.parameter_update(weight, np.array([1.0]), [state], optimizer)
    assert (weight.item(), state.item()) == (1.0 - 0.5 * (0.9 * 2.0 + 1.0), 0.9 * 2.0 + 1.0)


def test_threads_do_not_change_the_bits_and_models_train_side_by_side(swish, quartic, heavy_ball):
    pytest.importorskip("numba")
    X, y = data(600)

    def train(n_threads):
        model = model_of(swish, quartic, fg.optimizers.Optimizer(heavy_ball, learning_rate=1e-4), n_threads=n_threads)
        model.fit(X, y, epochs=2, batch_size=256)
        return np.concatenate([array.ravel() for array in model.get_weights()])

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, (1, 2)))
    for weights in together:
        np.testing.assert_array_equal(weights, train(1))


def test_columns_of_sparse_rows_take_the_steps_they_missed(heavy_ball):
    """By a rule of one's own, one by one; here with an L1 penalty, which moves every weight in every step."""
    pytest.importorskip("numba")
    sparse = pytest.importorskip("scipy.sparse")
    X, y = sparse.random(80, 60, 0.03, "csr", random_state=0), np.arange(80) % 2
    models = []
    for given in (X, X.toarray()):
        optimizer = fg.optimizers.Optimizer(heavy_ball, learning_rate=0.05)
        layers = [fg.Dense(40, activation="tanh", penalty=fg.L1(0.003)), fg.Dense(1)]
        models.append(fg.Sequential(layers, loss="binary_cross_entropy", optimizer=optimizer, dtype="float64"))
        models[-1].fit(given, y, epochs=2, batch_size=8)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Penalties are added up column by column, and so in another order.
    losses = [model.history.history["loss"] for model in models]
    np.testing.assert_allclose(*losses, rtol=60 * np.finfo(float).eps)


def test_minimize_takes_a_rule_of_ones_own(heavy_ball):
    result = fg.minimize(
        lambda x: float(x @ x), [3.0, -4.0], jac=lambda x: 2.0 * x, optimizer=heavy_ball, max_iter=2000, tol=1e-9
    )
    assert result.success and np.abs(result.x).max() < 1e-8


# ----------------------------------------------------------------------------------------------- losses of a row
@fg.loss(link="softmax", target="label", rowwise=True)
def own_cross_entropy(scores, target, gradient, *, scale=1.0):
    """What fastgd has as softmax_cross_entropy."""
    largest, total = scores.max(), 0.0
    for k in range(len(scores)):
        gradient[k] = math.exp(scores[k] - largest)
        total += gradient[k]
    gradient *= scale / total
    gradient[target] -= scale
    return scale * (math.log(total) + largest - scores[target])


@fg.loss(target="real", rowwise=True)
def own_distance(scores, target, gradient):
    """The length of the error, which no formula of one element can have."""
    gradient[:] = scores - target
    length = math.sqrt((gradient * gradient).sum() + 1e-6)
    gradient /= length
    return length


# Other tests go through the registry when they are collected.
del LOSSES["own_cross_entropy"], LOSSES["own_distance"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_outputs", [3, 70])
def test_a_row_wise_loss_is_that_of_fastgd(dtype, n_outputs, backend):
    """Over one panel and several, with labels and with one-hot rows."""
    pytest.importorskip("numba")
    scores = np.random.default_rng(0).normal(size=(9, n_outputs)).astype(dtype)
    labels, weights = np.arange(9) % n_outputs, np.linspace(0.0, 1.0, 9)
    for targets in (labels, np.eye(n_outputs)[labels]):
        expected, slopes = fg.kernels.loss_gradient(scores, targets, "softmax_cross_entropy", weights)
        value, gradient = fg.kernels.loss_gradient(scores, targets, own_cross_entropy, weights, backend=backend)
        assert math.isclose(value, expected, rel_tol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(gradient, slopes, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "numpy"])
def test_row_wise_losses_train_as_they_are_defined(backend):
    pytest.importorskip("numba")
    X, y = data()
    y = np.hstack([y, -y])
    found = []
    for each in (backend, "numpy"):
        model = fg.Sequential([fg.Dense(9, activation="tanh"), fg.Dense(2)], loss=own_distance, backend=each)
        found.append(model.fit(X, y, epochs=3, batch_size=17).history["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    again = pickle.loads(pickle.dumps(model))
    assert again.loss == own_distance and copy.deepcopy(model).loss == own_distance
    assert own_cross_entropy(scale=2.0) != own_cross_entropy and "math.log(total)" in own_cross_entropy.text


def test_a_wrong_gradient_of_a_row_is_refused():
    def halved(scores, target, gradient):
        gradient[:] = 0.5 * (scores - target)
        return 0.5 * ((scores - target) ** 2).sum()

    with pytest.raises(FormulaError, match=r"halved writes .* to gradient\[0\] at scores .*, but differences"):
        fg.loss(target="real", rowwise=True)(halved)

    def of_two(scores, target):
        return 0.0

    with pytest.raises(FormulaError, match="write three arguments: scores, target, gradient"):
        fg.loss(rowwise=True)(of_two)
    with pytest.raises(ValueError, match="expected one of .*label"):
        fg.loss(target="class", rowwise=True)(halved)
    with pytest.raises(ValueError, match="pass rowwise=True"):
        fg.loss(outputs_per_target=2)(halved)
    with pytest.raises(FormulaError, match="writes its gradient itself"):
        own_distance.derivative(wrong_sign)
    with pytest.raises(ValueError, match="at most 16384 for a row-wise loss of one's own"):
        fg.Sequential([fg.Dense(20000)], loss=own_distance)


# --------------------------------------------------------------------------------------------- copies, processes
def test_copies_go_on_where_the_model_was(swish, quartic, heavy_ball):
    pytest.importorskip("numba")
    X, y = data()
    model = model_of(swish(beta=0.7), quartic, fg.optimizers.Optimizer(heavy_ball, learning_rate=1e-3))
    model.fit(X, y, epochs=1)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.fit(X, y, epochs=1)
    for other in others:
        other.fit(X, y, epochs=1)
        for mine, its in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_a_pickle_is_whole_in_a_process_that_never_saw_the_declaration(swish, quartic, tmp_path):
    """As joblib's workers are; the formula travels with the model."""
    X, y = data()
    model = model_of(swish(beta=0.7), quartic, backend="numpy")
    model.fit(X, y, epochs=1)
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps((model, X, y)))
    code = (
        f"import pickle, sys\nmodel, X, y = pickle.load(open({str(path)!r}, 'rb'))\n"
        "model.fit(X, y, epochs=1)\nprint(*model.history.history['loss'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    model.fit(X, y, epochs=1)
    assert [float(done.stdout)] == model.history.history["loss"]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_take_them_through_clones_and_workers(swish):
    pytest.importorskip("numba"), pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    from fastgd.sklearn import MLPRegressor

    X, y = data()
    settings = dict(hidden_layer_sizes=(8,), max_iter=60, learning_rate_init=0.05, random_state=0)
    estimator = clone(MLPRegressor(activation=swish, **settings))
    scores = [cross_val_score(estimator, X, y.ravel(), cv=2, n_jobs=n_jobs) for n_jobs in (1, 2)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert scores[0].min() > 0.0


def test_equal_names_are_not_equal_formulas(swish):
    def declared(source_of):
        return fg.activation(source_of)

    def make():
        def swish(z, *, beta=1.0):
            return z * beta

        return swish

    assert declared(make()) != swish and declared(make()) == declared(make())


def test_without_numba_the_error_names_what_to_install(tmp_path):
    (tmp_path / "own.py").write_text(
        "import sys\nsys.modules['numba'] = None\nimport fastgd as fg\n"
        "@fg.activation\ndef cube(z):\n    return z ** 3\n"
        "fg.Sequential([fg.Dense(2, activation=cube), fg.Dense(1)], backend='numpy').build(2)\n"
        "try:\n    fg.Sequential([fg.Dense(2, activation=cube), fg.Dense(1)]).build(2)\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, str(tmp_path / "own.py")], capture_output=True, text=True, check=True)
    assert 'activation \'cube\' in backend \'cython\' needs numba' in done.stdout
    assert 'pip install "fastgd[jit]"' in done.stdout


def test_a_saved_text_is_compared_and_not_run(swish):
    assert "return z / (1.0 + exp(-beta * z))" in swish.text and fg.activations.relu.text is None
    swish.require_text(swish(beta=3.0).text)
    fg.activations.relu.require_text(None)
    with pytest.raises(ValueError, match="(?s)not the one it was saved with.*saved:\nraise SystemExit\ndeclared:\n"):
        swish.require_text("raise SystemExit")
    with pytest.raises(ValueError, match="(?s)saved:\n\\(built in\\)"):
        swish.require_text(None)


def test_a_saved_model_is_not_loaded_with_another_formula_of_the_same_name(swish, tmp_path):
    path = tmp_path / "model.safetensors"
    ACTIVATIONS.add(swish)
    model = model_of(swish(beta=0.5), backend="numpy").build(5)
    model.save(path)
    assert fg.load(path).layers[0].activation == swish(beta=0.5)

    def swish(z, *, beta=1.0):
        return z * beta

    fg.activation(swish)
    with pytest.raises(ValueError, match=r"(?s)it was saved with.*saved:.*exp\(-beta.*declared:.*z \* beta"):
        fg.load(path)
    del ACTIVATIONS["swish"]
    with pytest.raises(ValueError, match="import the module that declares it"):
        fg.load(path)


def test_a_formula_is_data_that_says_what_it_was():
    def cube(z):
        return z**3

    formula = read(cube)
    assert pickle.loads(pickle.dumps(formula)) == formula and "return z**3" in formula.source
