"""Every registered activation, loss and optimizer, precision and backend, against oracle and golden files."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from counterparts import (
    ACTIVATION_NAMES,
    BACKENDS,
    COMPARING_NAMES,
    DTYPES,
    HYPERPARAMETERS,
    LOSS_NAMES,
    MADE_BY,
    OPTIMIZER_NAMES,
    RECORDINGS,
    SINGLE_NAMES,
    FedWithGradients,
    Recording,
    float32_numbers,
    model_of,
    optimizer_named,
    oracle_network,
    oracle_rule,
    random_target,
    random_weights,
    scale_of_weights,
    sizes_for,
)
from golden import load
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import activations as oracle_activations
from oracle import losses as oracle_losses
from oracle import optimizers as oracle_optimizers
from oracle.network import Layer, Network, batches, train
from oracle.philox import INITIAL_WEIGHTS_STREAM, permutation, uniform53
from tolerances import (
    activation_bound,
    assert_same_bits,
    assert_within,
    change_within,
    derivative_bound,
    loss_bound,
    loss_gradient_bound,
    network_bounds,
    training_bounds,
    trajectory_bound,
    value_bound,
)

import fastgd as fg
from fastgd._formula import ACTIVATIONS, LOSSES
from fastgd._kernels import get_backend
from fastgd.optimizers import BY_NAME

pytestmark = pytest.mark.filterwarnings("error")

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def test_whatever_is_registered_has_its_line_in_the_oracle_and_its_golden_values():
    """A declaration alone does not make a formula trusted."""
    assert (
        set(ACTIVATION_NAMES)
        == set(oracle_activations.ACTIVATIONS)
        == set(load("activations")) - {"versions"}
    )
    assert set(LOSS_NAMES) == set(oracle_losses.LOSSES) == set(load("losses")) - {"versions"}
    assert set(OPTIMIZER_NAMES) == set(oracle_optimizers.OPTIMIZERS) == set(HYPERPARAMETERS) == set(MADE_BY)
    recorded = [Recording.of(library, name).optimizer for library, name in RECORDINGS]
    assert set(OPTIMIZER_NAMES) == {made.rule.formula.name for made in recorded}
    dialects = {(made, dialect) for made in BY_NAME.values() for dialect in made.dialects if dialect is not None}
    assert dialects == {(type(made), made.dialect) for made in recorded}


def test_declared_kinds_of_loss_are_those_of_the_oracle():
    """Target, and whether a row has one loss."""
    for name in LOSS_NAMES:
        declared, textbook = LOSSES[name], oracle_losses.LOSSES[name]
        assert (declared.target, declared.rowwise) == (textbook.target, textbook.rowwise), name
        assert declared.outputs_per_target == textbook.outputs_per_target, name


# ----------------------------------------------------------------------------------------------- activations
@each_dtype
@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_an_activation_called_on_an_array_equals_the_golden_values(name, dtype):
    """In the dtype of the array."""
    z, value, _ = np.array(load("activations")[name]).T
    actual = ACTIVATIONS[name](z.astype(dtype))
    assert actual.dtype == dtype
    assert_within(actual, value, activation_bound(oracle_activations.ACTIVATIONS[name], z, dtype), name)


@each_backend
@each_dtype
@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_activations_in_a_layer_equal_the_golden_values(name, dtype, backend):
    """With no input but the bias, z is the golden point itself; |a - y| far above y passes f'(z) / 256 on."""
    z, value, derivative = np.array(load("activations")[name]).T
    n = len(z)
    assert n == 256, "a power of two, so that the mean over the outputs is exact"
    model = model_of([1, n], [name], "mean_absolute_error", dtype=dtype, backend=backend)
    model.set_weights([np.zeros((1, n), dtype), z.astype(dtype)])
    x, y = np.zeros((1, 1), dtype), np.full((1, n), -1e4, dtype)
    scores = model.predict(x, raw=True)
    assert scores.dtype == dtype
    assert_within(scores[0], value, activation_bound(oracle_activations.ACTIVATIONS[name], z, dtype), name)
    _, (_, of_bias) = model.loss_and_gradients(x, y)
    bound = derivative_bound(oracle_activations.ACTIVATIONS[name], z, dtype)
    assert_within(of_bias * float(n), derivative, bound, f"derivative of {name}")


# ---------------------------------------------------------------------------------------------------- losses
def golden_losses(name):
    """Scores (n, O), targets, values and gradients of the golden file."""
    columns = [np.array(column) for column in zip(*load("losses")[name], strict=True)]
    return [c[:, None] if oracle_losses.LOSSES[name].rowwise is False else c for c in columns]


@each_dtype
@pytest.mark.parametrize("name", SINGLE_NAMES)
def test_a_loss_called_on_arrays_equals_the_golden_values(name, dtype):
    """Element by element; a row-wise loss refuses, and says what to call instead."""
    z, y, value, _ = golden_losses(name)
    if LOSSES[name].rowwise:
        with pytest.raises(TypeError, match="rows"):
            LOSSES[name](z, y)
        return
    actual = LOSSES[name](z.astype(dtype), y.astype(dtype))
    assert actual.dtype == dtype
    assert_within(actual, value, loss_bound(oracle_losses.LOSSES[name], z, y, dtype), name)


@each_backend
@each_dtype
@pytest.mark.parametrize("name", SINGLE_NAMES)
def test_losses_of_a_model_equal_the_golden_values(name, dtype, backend):
    """Row by row: with no input but the biases, these are the scores, and have the scores' gradient."""
    z, y, value, gradient = golden_losses(name)
    textbook = oracle_losses.LOSSES[name]
    bound = loss_bound(textbook, z, y, dtype).reshape(len(z))
    gradient_bound = loss_gradient_bound(textbook, z, y, dtype)
    n_outputs = z.shape[1]
    model = model_of([1, n_outputs], ["linear"], name, dtype=dtype, backend=backend)
    x = np.zeros((1, 1), dtype)
    for k in range(len(z)):
        model.set_weights([np.zeros((1, n_outputs), dtype), z[k].astype(dtype)])
        loss, (_, of_bias) = model.loss_and_gradients(x, y[k : k + 1])
        assert_within(loss, value.reshape(len(z))[k], bound[k], f"{name} of row {k}")
        assert_within(of_bias, gradient[k], gradient_bound[k], f"gradient of {name} at row {k}")
        assert_within(model.evaluate(x, y[k : k + 1])["loss"], loss, 0.0, f"evaluate at row {k}")


@each_backend
@each_dtype
@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if LOSSES[name].by_class])
def test_labels_and_one_hot_rows_are_the_same_targets(name, dtype, backend):
    """Labels of any integer type, rows of any real type."""
    draw = np.random.default_rng(2)
    x, labels = draw.normal(size=(9, 4)).astype(dtype), draw.integers(3, size=9)
    model = model_of([4, 3], ["linear"], name, dtype=dtype, backend=backend, seed=4)
    loss, gradients = model.loss_and_gradients(x, labels)
    bounds = network_bounds(
        oracle_network(["linear"], name), model.get_weights(), x.astype(float), labels, None, dtype
    )
    for target in (
        labels.astype(np.int8),
        labels.astype(np.uint64),
        np.eye(3)[labels],
        np.eye(3, dtype=int)[labels],
    ):
        other, other_gradients = model.loss_and_gradients(x, target)
        assert_within(other, loss, 2 * bounds.loss, f"{name} of {target.dtype}")
        for g, h, bound in zip(other_gradients, gradients, bounds.gradients, strict=True):
            assert_within(g, h, 2 * bound, f"gradient of {name} of {target.dtype}")


# ------------------------------------------------------------------------------------------------ optimizers
# What is demanded of a path in float64, whatever its conditioning.
LIBRARY_TOLERANCE = 1e-10


@each_backend
@each_dtype
@pytest.mark.parametrize(("library", "name"), RECORDINGS)
def test_optimizers_follow_those_of_other_libraries(library, name, dtype, backend):
    """A hundred steps along given gradients, in that library's dialect; without arguments, with its defaults."""
    recording = Recording.of(library, name)
    stepped = FedWithGradients(recording.optimizer, recording.start, dtype, backend)
    actual = np.array([stepped.step(g) for g in recording.gradients])[recording.kept]
    bound = trajectory_bound(recording.new_rule, recording.start, recording.gradients, dtype)[recording.kept]
    assert_within(actual, recording.path, bound, f"{name} against {library}")
    if dtype == "float64":
        np.testing.assert_allclose(actual, recording.path, rtol=0, atol=LIBRARY_TOLERANCE)


# Each rule's class and what it is told; and the classes that compute other scalars for the rule of another one.
FORMS = {rule: (made_by, HYPERPARAMETERS[rule] | flags) for rule, (made_by, flags) in MADE_BY.items()}
FORMS |= {"adam of AdamW": (fg.AdamW, HYPERPARAMETERS["adam"]), "adam of RAdam": (fg.RAdam, HYPERPARAMETERS["adam"])}


def forms_of_the_optimizers():
    """Every rule in every dialect that has it, plain, with weights that decay and with gradients that are clipped."""
    for rule, (made_by, _) in FORMS.items():
        restrained = [{"clip_value": 0.5}, {"weight_decay": 0.1, "clip_value": 2.0}]
        for dialect in made_by.dialects:
            yield rule, dialect, {}
            if rule != "rprop":
                yield from ((rule, dialect, given) for given in restrained[: 1 if dialect == "sklearn" else 2])


@each_backend
@pytest.mark.parametrize(("rule", "dialect", "restraints"), list(forms_of_the_optimizers()))
def test_optimizers_follow_the_oracle(rule, dialect, restraints, backend):
    """A hundred steps in float64, the learning rate falling; momentum is in the rules' names."""
    made_by, given = FORMS[rule]
    given = given | restraints
    if rule != "rprop":
        given["learning_rate"] = fg.schedules.Exponential(given["learning_rate"], 0.98)
    made = made_by(dialect=dialect, **given)
    new_rule = oracle_optimizers.CLASSES[made_by.__name__](**made.hyperparameters)
    draw = np.random.default_rng(8)
    start, gradients = draw.normal(size=7), draw.normal(size=(100, 7))
    stepped = FedWithGradients(made, start, "float64", backend)
    for g, position in zip(gradients, oracle_optimizers.trajectory(new_rule, start, gradients), strict=True):
        np.testing.assert_allclose(stepped.step(g), position, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------ a network's evaluation
SHAPES = [
    (1, [1, 1]),
    (1, [3, 2, 4]),
    (2, [17, 3]),
    (5, [4, 16, 2]),
    (7, [1, 33, 1, 5]),
    (31, [15, 31, 7]),
    (64, [16, 64, 10]),
    (67, [65, 47, 3]),
    (130, [5, 130, 17]),
    (512, [3, 5, 2]),
    (513, [3, 5, 2]),
    (1301, [7, 18, 3]),
]


@each_backend
@each_dtype
@pytest.mark.parametrize(("n", "sizes"), SHAPES)
def test_shapes_beside_every_tile_edge_equal_the_oracle(n, sizes, dtype, backend):
    """Rows and widths of one, beside multiples of vectors and tiles; and more rows than go at once."""
    activations = ["tanh"] * (len(sizes) - 2) + ["linear"]
    loss = "mean_squared_error" if sizes[-1] == 1 else "softmax_cross_entropy"
    check_network(n, sizes, activations, loss, dtype, backend, l1=2**-10, l2=2**-7)


def pairs(one_in):
    """All activations with all losses; in a quick run each of them with one in so many of the others."""
    for (i, activation), (j, loss) in product(enumerate(ACTIVATION_NAMES), enumerate(LOSS_NAMES)):
        yield pytest.param(activation, loss, marks=[pytest.mark.slow] if (i + j) % one_in else [])


@each_backend
@each_dtype
@pytest.mark.parametrize(("activation", "loss"), list(pairs(3)))
def test_loss_gradients_and_predictions_equal_the_oracle(activation, loss, dtype, backend):
    """Two hidden layers; L1 and L2; with sample weights and without."""
    check_network(
        11, [5, 7, 6, 3], [activation, activation, "linear"], loss, dtype, backend, l1=2**-8, l2=2**-5
    )


@each_backend
@pytest.mark.parametrize(("activation", "loss"), list(pairs(4)))
def test_an_activation_may_stand_in_the_last_layer(activation, loss, backend):
    """The loss then takes its output for the raw scores."""
    check_network(6, [4, 5, 3], ["tanh", activation], loss, "float64", backend)


@each_backend
@each_dtype
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_network_equals_the_oracle(data, dtype, backend):
    """Rows, widths, activations and losses as they come: one to three layers."""
    n_layers = data.draw(st.integers(1, 3))
    loss = data.draw(st.sampled_from(LOSS_NAMES))
    sizes = [data.draw(st.integers(1, 70)) for _ in range(n_layers + 1)]
    activations = [*drawn_activations(data, n_layers - 1), "linear"]
    # The oracle goes through pairs and triplets of rows one by one.
    n = data.draw(st.integers(1, 9 if loss in COMPARING_NAMES else 140))
    check_network(n, sizes, activations, loss, dtype, backend, l1=2**-10, l2=2**-7)


def drawn_activations(data, count):
    """Any, but the exponential of an exponential, which overflows."""
    names = []
    for _ in range(count):
        admitted = [name for name in ACTIVATION_NAMES if name != "exp" or name not in names]
        names.append(data.draw(st.sampled_from(admitted)))
    return names


def check_network(n, sizes, activations, loss, dtype, backend, l1=0.0, l2=0.0):
    """Scores, predictions, loss and gradients of one model."""
    sizes = sizes_for(loss, sizes)
    draw = np.random.default_rng(n)
    x = float32_numbers(draw.normal(size=(n, sizes[0])))
    y, sample_weight = random_target(draw, loss, n, sizes[-1]), draw.uniform(0.25, 2.0, size=n)
    weights = random_weights(draw, sizes, scale_of_weights(activations, loss))
    network = oracle_network(activations, loss, l1=l1, l2=l2)
    penalty = fg.ElasticNet(l1=l1, l2=l2) if l1 or l2 else None
    model = model_of(sizes, activations, loss, dtype=dtype, backend=backend, penalty=penalty)
    model.set_weights([w.astype(dtype) for w in weights])
    bounds = network_bounds(network, weights, x, y, None, dtype)
    assert_within(model.predict(x, raw=True), network.scores(weights, x), bounds.scores, "scores")
    linked = network.predict(weights, x)
    # Softmax is Lipschitz with 1; the other links are monotone. All round like an activation, and a sum of several.
    moved = bounds.scores.max(axis=1, keepdims=True)
    if network.loss.link is not oracle_losses.softmax:
        moved = change_within(network.loss.link, network.scores(weights, x), bounds.scores)
    summed = network.loss.outputs_per_target > 1
    size = abs(linked) + summed * abs(network.scores(weights, x)).sum(axis=1, keepdims=True)
    link_bound = moved + value_bound(size, dtype)
    assert_within(model.predict(x), linked, link_bound, "predictions")
    for weighted in (None, sample_weight):
        bounds = network_bounds(network, weights, x, y, weighted, dtype)
        expected_loss, expected = network.loss_and_gradients(weights, x, y, weighted)
        actual_loss, actual = model.loss_and_gradients(x, y, sample_weight=weighted)
        assert_within(actual_loss, expected_loss, bounds.loss, "loss")
        for k, (g, h, bound) in enumerate(zip(actual, expected, bounds.gradients, strict=True)):
            assert g.dtype == dtype
            assert_within(g, h, bound, f"gradient {k}")


@each_backend
@each_dtype
def test_parameters_of_activations_and_penalties_of_single_layers(dtype, backend):
    """leaky_relu(slope=0.2), and penalties on two of three layers in place of the model's."""
    draw = np.random.default_rng(15)
    x, y = float32_numbers(draw.normal(size=(9, 4))), draw.integers(3, size=9)
    weights = random_weights(draw, [4, 5, 5, 3])
    leaky, linear = oracle_activations.leaky_relu(0.25), oracle_activations.ACTIVATIONS["linear"]
    network = Network(
        (Layer(leaky, l1=0.125), Layer(leaky, l2=0.5), Layer(linear, l1=2**-8, l2=2**-6)),
        oracle_losses.LOSSES["softmax_cross_entropy"],
    )
    activation = fg.activations.leaky_relu(slope=0.25)
    layers = [
        fg.Dense(5, activation=activation, penalty=fg.L1(0.125)),
        fg.Dense(5, activation=activation, penalty=fg.L2(0.5)),
        fg.Dense(3),
    ]
    model = fg.Sequential(
        layers,
        loss=fg.losses.softmax_cross_entropy,
        penalty=fg.ElasticNet(l1=2**-8, l2=2**-6),
        dtype=dtype,
        backend=backend,
    )
    model.build(4)
    model.set_weights([w.astype(dtype) for w in weights])
    bounds = network_bounds(network, weights, x, y, None, dtype)
    expected_loss, expected = network.loss_and_gradients(weights, x, y)
    loss, gradients = model.loss_and_gradients(x, y)
    assert_within(loss, expected_loss, bounds.loss, "loss")
    assert_within(model.evaluate(x, y)["loss"], expected_loss, bounds.loss, "evaluated")
    for k, (g, h, bound) in enumerate(zip(gradients, expected, bounds.gradients, strict=True)):
        assert_within(g, h, bound, f"gradient {k}")


@each_backend
@each_dtype
@pytest.mark.parametrize("layer", [0, 1, 2, -1, -2, -3])
def test_transform_gives_the_features_of_each_layer(layer, dtype, backend):
    """Counted from either end; the last one's are the raw scores."""
    draw = np.random.default_rng(8)
    sizes, activations = [5, 7, 6, 3], ["tanh", "softplus", "linear"]
    x, weights = float32_numbers(draw.normal(size=(9, 5))), random_weights(draw, sizes)
    model = model_of(sizes, activations, "softmax_cross_entropy", dtype=dtype, backend=backend)
    model.set_weights([w.astype(dtype) for w in weights])
    k = layer % 3
    part = oracle_network(activations[: k + 1], "mean_squared_error")
    some_target = np.zeros((9, sizes[k + 1]))
    bounds = network_bounds(part, weights[: 2 * k + 2], x, some_target, None, dtype)
    assert_within(model.transform(x, layer=layer), part.scores(weights[: 2 * k + 2], x), bounds.scores)


# ------------------------------------------------------------------------------------ random numbers
@each_backend
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40 + 17, 2**64 - 1])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1001])
def test_permutations_equal_the_oracle(n, seed, backend):
    """Of any epoch."""
    for epoch in (0, 1, 2**31):
        actual = get_backend(backend).permutation(seed, epoch, n)
        assert_same_bits(actual, np.array(permutation(seed, epoch, n), np.intp), f"epoch {epoch}")


@each_backend
@pytest.mark.parametrize("seed", [0, 7, 2**40 + 17])
def test_initial_weights_are_drawn_from_their_counters(seed, backend):
    """Glorot and Bengio's uniform weights, row by row from each layer's own stream; biases are zero."""
    sizes = [5, 4, 3]
    model = model_of(sizes, ["tanh", "linear"], "softmax_cross_entropy", seed=seed, backend=backend)
    for layer, (n_inputs, n_outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        draws = [uniform53(seed, INITIAL_WEIGHTS_STREAM, layer, k) for k in range(n_inputs * n_outputs)]
        limit = np.sqrt(6.0 / (n_inputs + n_outputs))
        expected = limit * (2.0 * np.array(draws).reshape(n_inputs, n_outputs) - 1.0)
        assert_same_bits(model.get_weights()[2 * layer], expected.astype(np.float32), f"W{layer + 1}")
        assert not model.get_weights()[2 * layer + 1].any()


# -------------------------------------------------------------------------------------------------- training
TRAINING_SHAPE = {"n": 10, "sizes": [4, 5, 3], "batch_size": 4, "epochs": 2, "seed": 12}


@cache
def trained_by_the_oracle(activation, loss, rule, dtype):
    """Data, first and last weights, losses, and the bounds of both; two epochs with a short last batch."""
    draw = np.random.default_rng(41)
    n, sizes = TRAINING_SHAPE["n"], sizes_for(loss, TRAINING_SHAPE["sizes"])
    x, y = float32_numbers(draw.normal(size=(n, sizes[0]))), random_target(draw, loss, n, sizes[-1])
    weights = random_weights(draw, sizes, scale_of_weights([activation], loss))
    sample_weight = draw.uniform(0.5, 2.0, size=n)
    network = oracle_network([activation, "linear"], loss, l2=2**-6)
    orders = [permutation(TRAINING_SHAPE["seed"], epoch, n) for epoch in range(TRAINING_SHAPE["epochs"])]
    given = (network, weights, oracle_rule(rule, **HYPERPARAMETERS[rule]), x, y)
    epochs = batches(orders, TRAINING_SHAPE["batch_size"])
    trained, losses = train(*given, epochs, sample_weight)
    weight_bounds, loss_bounds = training_bounds(*given, epochs, sample_weight, dtype)
    return x, y, sample_weight, weights, trained, losses, weight_bounds, loss_bounds


def training_grid():
    """Two Latin squares: in each, every pair of an activation, a loss and a rule meets. A quick run takes a seventh."""
    n = len(OPTIMIZER_NAMES)
    for (i, activation), (j, loss) in product(enumerate(ACTIVATION_NAMES), enumerate(LOSS_NAMES)):
        first, second = (i + j) % n, (i + j + 1 + n // 2) % n
        quick = (i + 2 * j) % 7 == 0
        yield pytest.param(activation, loss, OPTIMIZER_NAMES[first], marks=[] if quick else [pytest.mark.slow])
        yield pytest.param(activation, loss, OPTIMIZER_NAMES[second], marks=pytest.mark.slow)


@each_backend
@each_dtype
@pytest.mark.parametrize(("activation", "loss", "rule"), list(training_grid()))
def test_training_equals_the_oracle(activation, loss, rule, dtype, backend):
    """Weights and history after two shuffled epochs of mini-batches with sample weights and a penalty."""
    x, y, sample_weight, weights, trained, losses, weight_bounds, loss_bounds = trained_by_the_oracle(
        activation, loss, rule, dtype
    )
    model = model_of(
        sizes_for(loss, TRAINING_SHAPE["sizes"]),
        [activation, "linear"],
        loss,
        optimizer=optimizer_named(rule, **HYPERPARAMETERS[rule]),
        penalty=fg.L2(2**-6),
        dtype=dtype,
        backend=backend,
        seed=TRAINING_SHAPE["seed"],
    )
    model.set_weights([w.astype(dtype) for w in weights])
    history = model.fit(
        x,
        y,
        epochs=TRAINING_SHAPE["epochs"],
        batch_size=TRAINING_SHAPE["batch_size"],
        sample_weight=sample_weight,
        verbose=0,
    )
    for k, (w, expected, bound) in enumerate(zip(model.get_weights(), trained, weight_bounds, strict=True)):
        assert w.dtype == dtype
        assert_within(w, expected, bound, f"weights {k}")
    assert_within(history.history["loss"], losses, loss_bounds, "losses")


@each_backend
@each_dtype
@pytest.mark.parametrize("batch_size", [512, 700, None])
def test_training_on_large_batches_equals_the_oracle(batch_size, dtype, backend):
    """Batches of more rows than go through the layers at once; the last one is short."""
    draw = np.random.default_rng(17)
    n, sizes, activations = 1301, [6, 9, 3], ["tanh", "linear"]
    x, y = float32_numbers(draw.normal(size=(n, 6))), draw.integers(3, size=n)
    weights, sample_weight = random_weights(draw, sizes), draw.uniform(0.5, 2.0, size=n)
    network = oracle_network(activations, "softmax_cross_entropy", l1=2**-10, l2=2**-7)
    epochs = batches([permutation(23, epoch, n) for epoch in range(2)], batch_size or n)
    given = (network, weights, oracle_rule("momentum", learning_rate=0.1, momentum=0.5), x, y)
    trained, losses = train(*given, epochs, sample_weight)
    weight_bounds, loss_bounds = training_bounds(*given, epochs, sample_weight, dtype)
    model = model_of(
        sizes,
        activations,
        "softmax_cross_entropy",
        optimizer=fg.SGD(0.1, momentum=0.5),
        penalty=fg.ElasticNet(l1=2**-10, l2=2**-7),
        dtype=dtype,
        backend=backend,
        seed=23,
    )
    model.set_weights([w.astype(dtype) for w in weights])
    history = model.fit(x, y, epochs=2, batch_size=batch_size, sample_weight=sample_weight, verbose=0)
    for k, (w, expected, bound) in enumerate(zip(model.get_weights(), trained, weight_bounds, strict=True)):
        assert_within(w, expected, bound, f"weights {k}")
    assert_within(history.history["loss"], losses, loss_bounds, "losses")


@each_backend
@each_dtype
@pytest.mark.parametrize("name", ["torch_network", "optax_network"])
def test_training_equals_the_training_of_other_libraries(name, dtype, backend):
    """Twenty steps on batches in order, the golden file's first weights given."""
    golden = load(name)
    x, y = np.array(golden["x"]), np.array(golden["y"])
    weights = [np.array(w) for w in golden["initial_weights"]]
    activations = [layer["activation"] for layer in golden["layers"]]
    l1, l2 = golden.get("l1", 0.0), golden.get("l2", 0.0)
    sample_weight = np.array(golden["sample_weight"]) if "sample_weight" in golden else None
    model = model_of(
        [x.shape[1]] + [layer["n_outputs"] for layer in golden["layers"]],
        activations,
        golden["loss"],
        optimizer=optimizer_named(golden["optimizer"], **golden["hyperparameters"]),
        penalty=fg.ElasticNet(l1=l1, l2=l2),
        dtype=dtype,
        backend=backend,
    )
    model.set_weights([w.astype(dtype) for w in weights])
    model.fit(
        x,
        y,
        epochs=golden["n_epochs"],
        batch_size=golden["batch_size"],
        shuffle=False,
        sample_weight=sample_weight,
        verbose=0,
    )
    weight_bounds, _ = training_bounds(
        oracle_network(activations, golden["loss"], l1=l1, l2=l2),
        weights,
        oracle_rule(golden["optimizer"], **golden["hyperparameters"]),
        x,
        y,
        batches([range(len(x))] * golden["n_epochs"], golden["batch_size"]),
        sample_weight,
        dtype,
    )
    for k, (w, bound) in enumerate(zip(model.get_weights(), weight_bounds, strict=True)):
        assert_within(w, golden["final_weights"][k], bound, f"{name}: weights {k}")
