"""Sparse rows: the same as the dense rows that they stand for, and refused where those would be.

The engine adds what is stored in the order in which it adds all elements, and a multiple of zero changes no sum; and
what columns are owed is taken step by step. So the compiled backend's results are those of dense rows to the bit. Where
the order differs, as with NumPy's own products, whole numbers are used, whose sums are exact in any order.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, HYPERPARAMETERS, OPTIMIZER_NAMES, optimizer_named
from tolerances import assert_same_bits

import fastgd as fg
from fastgd._formula import OPTIMIZERS

sparse = pytest.importorskip("scipy.sparse")

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

N, N_COLUMNS, N_CLASSES = 90, 70, 3
EMPTY_ROW, EMPTY_COLUMN = 5, 9


def documents(n=N, seed=0):
    """Rows of few elements, in columns of which some are frequent, a row and a column being empty; and labels."""
    draw = np.random.default_rng(seed)
    frequency = 0.5 / np.arange(1, N_COLUMNS + 1) ** 0.7
    dense = draw.normal(size=(n, N_COLUMNS)) * (draw.random((n, N_COLUMNS)) < frequency)
    dense[EMPTY_ROW], dense[:, EMPTY_COLUMN] = 0, 0
    return dense, draw.integers(N_CLASSES, size=n)


def classifier(optimizer, units=40, **options):
    """A network on documents; a wide one puts off what columns are owed, a narrow one does not."""
    layers = [fg.Dense(units, activation="tanh"), fg.Dense(N_CLASSES)] if units else [fg.Dense(N_CLASSES)]
    return fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=optimizer, **options)


def trained(dense, rows, labels, make, epochs=3, batch_size=16, **fit):
    """A model that has seen dense rows, and one that has seen them sparse."""
    models = [make(), make()]
    for model, X in zip(models, (dense, rows), strict=True):
        model.fit(X, labels, epochs=epochs, batch_size=batch_size, **fit)
    return models


def assert_nearly_same_training(dense, labels, make):
    """Where steps that are factors are taken as one, and penalties added column by column: but for roundings.

    A step rounds a weight some four times either way; over so few steps the differences do not grow.
    """
    models = trained(dense, sparse.csr_array(dense), labels, lambda: make(dtype="float64"))
    tolerance = 2 * 4 * models[0].n_steps_done * np.finfo(float).eps
    np.testing.assert_allclose(*(model.history.history["loss"] for model in models), rtol=tolerance)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()))


def assert_same_training(dense, rows, labels, make, **fit):
    """Losses, weights, the optimizer's state and predictions have the same bits."""
    models = trained(dense, rows, labels, make, **fit)
    assert models[0].history.history == models[1].history.history
    assert_same_bits(models[0].get_weights(), models[1].get_weights(), "weights")
    states = [[array for slot in model._network.get_slots() for array in slot] for model in models]
    assert_same_bits(*states, "states")
    assert_same_bits([models[0].predict(dense)], [models[1].predict(rows)], "predictions")


# ------------------------------------------------------------------------------------------------- sparse is dense
@each_dtype
@pytest.mark.parametrize("units", [40, 6, 0])
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_training_is_that_of_dense_rows(rule, units, dtype):
    dense, labels = documents()
    assert_same_training(
        dense,
        sparse.csr_array(dense),
        labels,
        lambda: classifier(optimizer_named(rule, **HYPERPARAMETERS[rule]), units, dtype=dtype),
    )


@each_dtype
@pytest.mark.parametrize("rule", ["momentum", "adam", "amsgrad", "ftrl"])
@pytest.mark.parametrize("units", [16, 17, 100, 300])
def test_columns_of_any_width(units, rule, dtype):
    """Less than a vector beyond whole ones; several columns that are brought up to date together, and one in parts."""
    dense, labels = documents()
    given = HYPERPARAMETERS[rule]
    assert_same_training(
        dense, sparse.csr_array(dense), labels, lambda: classifier(optimizer_named(rule, **given), units, dtype=dtype)
    )


FACTORS = ("sgd", "adagrad")
DECAYING = [rule for rule in OPTIMIZER_NAMES if rule not in ("ftrl", "rprop")]


@pytest.mark.parametrize("units", [40, 6])
@pytest.mark.parametrize("rule", DECAYING)
@pytest.mark.parametrize("dialect", [None, "torch"])
def test_columns_without_gradient_decay(rule, units, dialect):
    dense, labels = documents()
    given = HYPERPARAMETERS[rule] | {"weight_decay": 0.02, "clip_value": 0.05}
    if dialect is not None and dialect not in type(optimizer_named(rule, **given)).dialects:
        pytest.skip(f"{rule} has no dialect {dialect}")

    def make(**options):
        return classifier(optimizer_named(rule, **given, dialect=dialect), units, **options)

    if rule in FACTORS:
        assert_nearly_same_training(dense, labels, make)
    else:
        assert_same_training(dense, sparse.csr_array(dense), labels, make)


@pytest.mark.parametrize("penalty", [fg.L2(0.01), fg.L1(0.003), fg.ElasticNet(0.001, 0.01)])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "adagrad", "ftrl"])
@pytest.mark.parametrize("units", [40, 0])
@pytest.mark.parametrize("clip_value", [None, 0.02])
def test_penalties_are_of_all_columns(rule, penalty, units, clip_value):
    dense, labels = documents()
    given = HYPERPARAMETERS[rule] | ({"clip_value": clip_value} if rule != "ftrl" else {})
    assert_nearly_same_training(
        dense, labels, lambda **options: classifier(optimizer_named(rule, **given), units, penalty=penalty, **options)
    )


@each_dtype
@pytest.mark.parametrize("penalty", [fg.L2(0.01), fg.L1(0.003), fg.ElasticNet(0.003, 0.01)])
@pytest.mark.parametrize("rule", ["momentum", "adam", "lion"])
def test_penalties_change_no_bit_of_weights(rule, penalty, dtype):
    """What they add to the loss is added up in another order; what they make of weights is not."""
    dense, labels = documents()
    given = HYPERPARAMETERS[rule]
    models = trained(
        dense,
        sparse.csr_array(dense),
        labels,
        lambda: classifier(optimizer_named(rule, **given), penalty=penalty, dtype=dtype),
    )
    assert_same_bits(*(model.get_weights() for model in models), "weights")


@pytest.mark.parametrize("ends", [(0.0, 0.05), (0.05, 0.0)])
def test_columns_at_rest_decay_while_rates_do(ends):
    """A column that has yet to be live rests in the steps that do not draw its weights to zero, and in no others."""
    dense, labels = documents()
    rate = fg.schedules.Linear(*ends, steps=6)
    assert_same_training(
        dense,
        sparse.csr_array(dense),
        labels,
        lambda: classifier(fg.AdamW(rate, weight_decay=0.1)),
        shuffle=False,
        batch_size=8,
    )


@pytest.mark.parametrize("units", [40, 6])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_penalties_in_single_steps_and_in_parts(rule, units):
    """What a single step reports has the penalty of all columns; and so have batches that are cut."""
    dense, labels = documents(5000)
    found = []
    for X in (dense, sparse.csr_array(dense)):
        optimizer = optimizer_named(rule, **HYPERPARAMETERS[rule])
        model = classifier(optimizer, units, penalty=fg.ElasticNet(1e-4, 0.01), dtype="float64")
        losses = [model.train_on_batch(X[k : k + 9], labels[k : k + 9]) for k in range(0, N, 9)]
        losses += model.fit(X, labels, epochs=2, batch_size=4200).history["loss"]
        found.append([*losses, model.loss_and_gradients(X[:50], labels[:50])[0]])
    # Sums of up to 4200 terms in another order, of which roundings add up like a random walk; here all at once.
    np.testing.assert_allclose(*found, rtol=4200 * np.finfo(float).eps)


def test_factors_that_leave_the_range():
    """A decay so strong that the product of its factors is beyond what a history keeps; one that leaves nothing."""
    dense, labels = documents()
    for decay in (9.0, 10.0, 15.0):
        optimizer = fg.SGD(0.1, weight_decay=decay)
        models = trained(
            dense, sparse.csr_array(dense), labels, lambda o=optimizer: classifier(o, dtype="float64"), epochs=60
        )
        for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
            tolerance = 2 * 4 * models[0].n_steps_done * np.finfo(float).eps
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def constrained(**constraint):
    layers = [fg.Dense(40, activation="tanh", **constraint), fg.Dense(N_CLASSES)]
    return fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=fg.Adam(0.03))


WHOLE = {
    "norm": lambda: classifier(fg.Adam(0.03, clip_norm=0.05)),
    "average": lambda: classifier(fg.Adam(0.03, ema=0.9)),
    "accumulation": lambda: classifier(fg.Adam(0.03, accumulate=3)),
    "norm and average": lambda: classifier(fg.SGD(0.1, clip_norm=0.05, ema=0.9)),
    "max_norm": lambda: constrained(constraint=fg.constraints.MaxNorm(0.5)),
    "non_negative": lambda: constrained(constraint=fg.constraints.NonNegative()),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_what_needs_all_columns_has_them(make):
    dense, labels = documents()
    assert_same_training(dense, sparse.csr_array(dense), labels, make)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "ftrl"])
def test_steps_are_made_up_for_with_their_own_learning_rates(rule):
    dense, labels = documents()
    given = HYPERPARAMETERS[rule] | {"learning_rate": fg.schedules.Exponential(0.1, 0.9)}
    assert_same_training(dense, sparse.csr_array(dense), labels, lambda: classifier(optimizer_named(rule, **given)))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_any_batches(batch_size, shuffle):
    dense, labels = documents()
    weights = np.random.default_rng(2).random(N)
    assert_same_training(
        dense,
        sparse.csr_array(dense),
        labels,
        lambda: classifier(fg.Adam(0.01)),
        batch_size=batch_size,
        shuffle=shuffle,
        sample_weight=weights,
        validation_data=(sparse.csr_array(dense[:20]), labels[:20]),
    )


@pytest.mark.parametrize("units", [40, 0])
def test_batches_in_parts(units):
    """A batch beyond what the engine takes at a time, and the rest of the epoch, which is smaller."""
    dense, labels = documents(5000)
    rows = sparse.csr_array(dense)
    model, twin = (classifier(fg.SGD(0.1, momentum=0.9), units, dtype="float64") for _ in range(2))
    model.fit(rows, labels, epochs=2, batch_size=4200)
    twin.fit(dense, labels, epochs=2, batch_size=4200)
    # Parts are cut elsewhere, so that sums are added in another order: of n terms, twice n roundings.
    tolerance = 2 * 4200 * np.finfo(float).eps
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_a_history_without_room_is_settled():
    """More steps than the engine keeps scalars of."""
    dense, labels = documents(n=30)
    assert_same_training(
        dense, sparse.csr_array(dense), labels, lambda: classifier(fg.Adam(0.001)), epochs=80, batch_size=1
    )


@pytest.mark.parametrize("rule", ["sgd", "adam", "lion"])
def test_single_steps_among_others(rule):
    """Steps, predictions, dense rows and new learning rates in between: whatever reads weights finds all of them."""
    dense, labels = documents()
    rows = sparse.csr_array(dense)
    models = [classifier(optimizer_named(rule, **HYPERPARAMETERS[rule])) for _ in range(2)]
    for model, X in zip(models, (dense, rows), strict=True):
        losses = [model.train_on_batch(X[k : k + 9], labels[k : k + 9]) for k in range(0, N, 9)]
        model.optimizer.learning_rate = 0.005
        losses += [model.train_on_batch(X[k : k + 9], labels[k : k + 9]) for k in range(0, N, 9)]
        losses.append(model.evaluate(X, labels)["loss"])
        losses += [model.train_on_batch(dense[:9], labels[:9]), model.train_on_batch(X[9:18], labels[9:18])]
        model.set_weights([0.5 * w for w in model.get_weights()])
        losses += [model.train_on_batch(X[:9], labels[:9]), model.loss_and_gradients(X, labels)[0]]
        model.seen = losses
    assert models[0].seen == models[1].seen
    assert_same_bits(models[0].get_weights(), models[1].get_weights(), "weights")


@pytest.mark.parametrize("penalty", [None, fg.ElasticNet(1e-4, 0.01)])
@pytest.mark.parametrize("optimizer", [fg.Adam(0.01), fg.SGD(0.1, momentum=0.9), fg.SGD(0.1)])
@pytest.mark.parametrize("units", [16, 40, 6])
def test_threads_change_no_bit(monkeypatch, optimizer, units, penalty):
    monkeypatch.setattr("fastgd.threads.FLOPS_OF_STEP", 1.0)
    monkeypatch.setattr("fastgd.threads.FLOPS_OF_CALL", 1.0)
    dense, labels = documents()
    rows = sparse.csr_array(dense)
    models = [classifier(optimizer, units, n_threads=n, penalty=penalty) for n in (1, 3)]
    for model in models:
        model.fit(rows, labels, epochs=3, batch_size=20)
    assert models[0].history.history == models[1].history.history
    assert_same_bits(models[0].get_weights(), models[1].get_weights(), "weights")


def test_interrupted_columns_travel_with_the_model():
    """A copy and a pickle have what columns were owed."""
    import copy
    import pickle

    dense, labels = documents()
    rows = sparse.csr_array(dense)
    model, twin = (classifier(fg.Adam(0.01)) for _ in range(2))
    for each in (model, twin):
        for k in range(0, N, 9):
            each.train_on_batch(rows[k : k + 9], labels[k : k + 9])
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for each in (*others, twin):
        each.fit(rows, labels, epochs=2)
    for other in others:
        assert_same_bits(other.get_weights(), twin.get_weights(), "weights")


# --------------------------------------------------------------------------------------------------- one output
def logistic(optimizer, **options):
    """A logistic regression: one output, whose steps by gradient descent the engine takes without sorting columns."""
    return fg.Sequential([fg.Dense(1)], loss="binary_cross_entropy", optimizer=optimizer, **options)


@each_dtype
@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "adagrad"])
def test_one_output_is_that_of_dense_rows(rule, batch_size, dtype):
    dense, labels = documents()
    assert_same_training(
        dense,
        sparse.csr_array(dense),
        labels > 0,
        lambda: logistic(optimizer_named(rule, **HYPERPARAMETERS[rule]), dtype=dtype),
        batch_size=batch_size,
    )


def test_elements_that_are_stored_twice_are_added_up():
    """Within a row, for one output; the sum is in another order then."""
    dense, labels = documents()
    rows = sparse.csr_array(dense)
    columns, values = np.repeat(rows.indices, 2), np.repeat(rows.data / 2, 2)
    halves = sparse.csr_array((values, columns, 2 * rows.indptr), shape=dense.shape)
    models = trained(dense, halves, labels > 0, lambda: logistic(fg.SGD(0.1), dtype="float64"))
    # Halves are exact, and what is added to them in between is not in either: but for roundings of each sum.
    tolerance = 2 * 4 * models[0].n_steps_done * np.finfo(float).eps
    np.testing.assert_allclose(models[1].get_weights()[0], models[0].get_weights()[0], rtol=0, atol=tolerance)


ONE_OUTPUT = {
    "l2": lambda **given: logistic(fg.SGD(0.1), penalty=fg.L2(0.01), **given),
    "l1": lambda **given: logistic(fg.SGD(0.1), penalty=fg.L1(0.003), **given),
    "weight decay": lambda **given: logistic(fg.SGD(0.1, weight_decay=0.02), **given),
    "weight decay, l2": lambda **given: logistic(fg.SGD(0.1, weight_decay=0.02), penalty=fg.L2(0.01), **given),
    "coupled": lambda **given: logistic(fg.SGD(0.1, weight_decay=0.02, dialect="torch"), **given),
    "clipped": lambda **given: logistic(fg.SGD(0.1, clip_value=0.01), penalty=fg.L2(0.01), **given),
    "schedule": lambda **given: logistic(
        fg.SGD(fg.schedules.Exponential(0.1, 0.9)), penalty=fg.L2(0.01), **given
    ),
    "a layer above": lambda **given: fg.Sequential(
        [fg.Dense(1, activation="tanh", penalty=fg.L2(0.01)), fg.Dense(1)],
        loss="binary_cross_entropy",
        optimizer=fg.SGD(0.1),
        **given,
    ),
}


@pytest.mark.parametrize("make", ONE_OUTPUT.values(), ids=ONE_OUTPUT)
def test_one_output_is_drawn_to_zero_as_in_dense_rows(make):
    dense, labels = documents()
    assert_nearly_same_training(dense, labels > 0, make)


@pytest.mark.parametrize("decay", [9.0, 10.0, 15.0, 19.9])
def test_a_factor_of_all_weights_that_leaves_the_range(decay):
    """It becomes zero, small or large, and changes its sign."""
    dense, labels = documents()
    for penalty in (None, fg.L2(0.5)):
        make = functools.partial(logistic, fg.SGD(0.1, weight_decay=decay), penalty=penalty, dtype="float64")
        models = trained(dense, sparse.csr_array(dense), labels > 0, make, epochs=40)
        tolerance = 2 * 4 * models[0].n_steps_done * np.finfo(float).eps
        losses = [model.history.history["loss"] for model in models]
        np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
        for ours, theirs in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_one_output_in_single_steps_among_others():
    """Whatever reads or sets weights in between, or learns in another way, finds the factor multiplied out."""
    dense, labels = documents()
    rows, y, found = sparse.csr_array(dense), labels > 0, []
    for X in (dense, rows):
        model = logistic(fg.SGD(0.1, weight_decay=0.5), penalty=fg.L2(0.1), dtype="float64")
        losses = [model.train_on_batch(X[k : k + 9], y[k : k + 9]) for k in range(0, N, 9)]
        losses.append(model.evaluate(X, y)["loss"])
        losses += [model.train_on_batch(dense[:9], y[:9]), model.train_on_batch(X[9:18], y[9:18])]
        model.set_weights([0.5 * w for w in model.get_weights()])
        losses += [model.train_on_batch(X[:9], y[:9]), model.loss_and_gradients(X, y)[0]]
        losses.append(model.train_on_batch(X[:9], y[:9]))
        model.optimizer.learning_rate = 0.05
        losses += model.fit(X, y, batch_size=50, epochs=2).history["loss"]
        found.append([*losses, *model.get_weights()[0].ravel(), *model.predict(X).ravel()])
    tolerance = 2 * 4 * 50 * np.finfo(float).eps
    np.testing.assert_allclose(found[1], found[0], rtol=tolerance, atol=tolerance)


def test_threads_change_no_bit_of_one_output(monkeypatch):
    monkeypatch.setattr("fastgd.threads.FLOPS_OF_STEP", 1.0)
    monkeypatch.setattr("fastgd.threads.FLOPS_OF_CALL", 1.0)
    dense, labels = documents()
    models = [logistic(fg.SGD(0.1), penalty=fg.L2(0.01), n_threads=n) for n in (1, 3)]
    for model in models:
        model.fit(sparse.csr_array(dense), labels > 0, epochs=3, batch_size=20)
    assert models[0].history.history == models[1].history.history
    assert_same_bits(models[0].get_weights(), models[1].get_weights(), "weights")


def test_divergence_of_one_output_leaves_finite_weights():
    dense, labels = documents()
    # The labels are all 1, so that a weight overflows long before any loss does.
    model = fg.Sequential([fg.Dense(1)], loss="mean_absolute_error", optimizer=fg.SGD(3e38))
    with pytest.raises(fg.DivergenceError):
        model.fit(sparse.csr_array(dense), np.sign(dense.sum(axis=1)), epochs=20, batch_size=8)
    assert all(np.isfinite(w).all() for w in model.get_weights())


# ------------------------------------------------------------------------------------- what rows may look like
def whole_numbers(seed=1):
    """Rows and targets of small whole numbers, and a model with such weights: every sum is exact."""
    draw = np.random.default_rng(seed)
    dense = draw.integers(-3, 4, size=(24, 20)) * (draw.random((24, 20)) < 0.2)
    return dense, draw.integers(-3, 4, size=(24, 2)), [draw.integers(-3, 4, size=s) for s in ((20, 2), (2,))]


def scattered(dense):
    """CSR of these rows with unsorted columns, elements that are stored twice, and zeros that are stored."""
    draw = np.random.default_rng(3)
    columns, values, starts = [], [], [0]
    for row in dense:
        live = np.flatnonzero(row)
        halves = draw.integers(-2, 3, size=len(live))
        entries = [*zip(live, row[live] - halves, strict=True), *zip(live, halves, strict=True), (0, 0)]
        for k in draw.permutation(len(entries)):
            columns.append(entries[k][0])
            values.append(entries[k][1])
        starts.append(len(columns))
    return sparse.csr_array((np.array(values), np.array(columns), np.array(starts)), shape=dense.shape)


def with_wide_indices(dense):
    """CSR with 64-bit indices."""
    rows = sparse.csr_array(dense)
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    return rows


def read_only(dense):
    """CSR whose arrays cannot be written to."""
    rows = sparse.csr_array(dense)
    for array in (rows.data, rows.indices, rows.indptr):
        array.flags.writeable = False
    return rows


FORMS = {
    "csr_array": sparse.csr_array,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "csc_matrix": sparse.csc_matrix,
    "coo_array": sparse.coo_array,
    "lil_array": sparse.lil_array,
    "scattered": scattered,
    "wide indices": with_wide_indices,
    "read-only": read_only,
    **{
        f"{kind} values": (lambda dense, kind=kind: sparse.csr_array(dense).astype(kind))
        for kind in ("f4", "f8", "i1", "i2", "i4", "i8")
    },
}


@each_backend
@each_dtype
@pytest.mark.parametrize("form", FORMS)
def test_whatever_its_form(form, dtype, backend):
    dense, targets, weights = whole_numbers()
    rows = FORMS[form](dense)
    before = rows.copy()
    models = [
        fg.Sequential([fg.Dense(2)], loss="half_squared_error", optimizer=fg.SGD(0.5), dtype=dtype, backend=backend)
        for _ in range(2)
    ]
    found = []
    for model, X in zip(models, (dense, rows), strict=True):
        model.build(20).set_weights(weights)
        loss, gradients = model.loss_and_gradients(X[:16], targets[:16])
        # Rows in a number that is a power of two: the mean is exact too.
        found.append([loss, *gradients, model.predict(X), model.evaluate(X[:16], targets[:16])["loss"]])
        found[-1].append(model.train_on_batch(X[:16], targets[:16]))
        found[-1] += model.get_weights()
    for dense_value, sparse_value in zip(*found, strict=True):
        np.testing.assert_array_equal(np.asarray(dense_value), np.asarray(sparse_value))
    assert (rows != before).nnz == 0


@each_backend
def test_predictions_go_where_they_are_wanted(backend):
    dense, _, weights = whole_numbers()
    model = fg.Sequential([fg.Dense(2)], loss="mean_squared_error", backend=backend).build(20)
    model.set_weights(weights)
    out = np.empty((24, 2), np.float32)
    assert model.predict(sparse.csr_array(dense), out=out) is out
    np.testing.assert_array_equal(out, dense @ weights[0] + weights[1])
    np.testing.assert_array_equal(model.transform(sparse.csc_matrix(dense), -1), out)


def test_methods_of_all_rows_take_them():
    dense, targets, _ = whole_numbers()
    losses = []
    for X in (dense, sparse.csr_array(dense)):
        model = fg.Sequential([fg.Dense(2)], loss="half_squared_error", optimizer=fg.LBFGS(), dtype="float64")
        losses.append(model.fit(X, targets, epochs=5).history["loss"])
    # Five iterations from the same point: differences in the last digits are all that could come in between.
    np.testing.assert_allclose(*losses, rtol=1e-9)


# --------------------------------------------------------------------------------------------------- what is known
def rests(name, at_zero):
    """Whether a rule leaves a weight and its states alone where there is no gradient; or only where states are zero."""
    draw = np.random.default_rng(4)
    rule = OPTIMIZERS[name]
    w, *states = draw.random((1 + len(rule.states), 50))
    if at_zero:
        states = [np.zeros(50) for _ in states]
    scalars = dict(zip(rule.scalars, draw.uniform(0.1, 0.9, len(rule.scalars)), strict=True))
    results = rule(w, np.zeros(50), *states, **scalars)
    results = results if rule.states else (results,)
    return all(np.array_equal(a, b) for a, b in zip(results, (w, *states), strict=True))


def test_resting_rules_are_those_that_rest():
    """The engine's lists of rules that do nothing without a gradient, against what the rules do."""
    from fastgd._kernels.cython_.network import RESTING_AT_ZERO, RESTING_RULES

    assert tuple(name for name in OPTIMIZER_NAMES if rests(name, at_zero=False)) == RESTING_RULES
    at_zero = {name for name in OPTIMIZER_NAMES if rests(name, at_zero=True)}
    assert at_zero == {*RESTING_AT_ZERO, *RESTING_RULES}


def test_scipy_is_not_imported():
    """Nor is it missed, by who has no sparse rows."""
    code = (
        "import sys, fastgd as fg; fg.Sequential([fg.Dense(1)], loss='mean_squared_error').fit([[1.0]], [1.0]);"
        "assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------------------------- refusals
def refused(X, error, *fragments, model=None, **options):
    """The message has the form of every refusal, and the model is as it was."""
    dense, labels = documents()
    model = model or classifier(fg.Adam(0.01), **options)
    model.fit(dense, labels)
    before = model.get_weights()
    with pytest.raises(error, match=r"(?s)^.+: got .+, expected .+; .+$") as caught:
        model.fit(X, labels)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert_same_bits(model.get_weights(), before, "weights")


@each_backend
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value, backend):
    rows = sparse.csr_array(documents()[0])
    rows.data[10] = value
    row = np.searchsorted(rows.indptr, 10, side="right") - 1
    refused(rows, ValueError, f"X[{row}, {rows.indices[10]}]", backend=backend)


def test_values_beyond_the_dtype():
    rows = sparse.csr_array(documents()[0])
    rows.data[0] = 1e200
    refused(rows, ValueError, "float32")


@pytest.mark.parametrize("column", [-1, N_COLUMNS, 2**31 - 1])
def test_columns_out_of_range(column):
    rows = sparse.csr_array(documents()[0])
    rows.indices[7] = column
    refused(rows, ValueError, "X.indices", f"column {column}")


@pytest.mark.parametrize("place, start", [(0, 1), (4, 0), (N, 10**6)])
def test_row_pointers_that_are_wrong(place, start):
    rows = sparse.csr_array(documents()[0])
    rows.indptr[place] = start
    refused(rows, ValueError, "X.indptr")


def test_shapes_that_do_not_fit():
    dense, _ = documents()
    refused(sparse.csr_array(dense[:, :-1]), ValueError, f"{N_COLUMNS - 1} columns")
    refused(sparse.csr_array(dense[:-1]), ValueError)
    refused(sparse.csr_array((0, N_COLUMNS)), ValueError)


def test_values_that_are_no_real_numbers():
    refused(sparse.csr_array(documents()[0].astype(complex)), TypeError)


@pytest.mark.parametrize("first", [fg.Dropout(0.5), fg.BatchNorm(), fg.LayerNorm(), fg.Softmax()])
def test_a_first_layer_that_is_not_dense(first):
    model = fg.Sequential([first, fg.Dense(N_CLASSES)], loss="softmax_cross_entropy")
    refused(sparse.csr_array(documents()[0]), TypeError, "first layer", model=model)


def test_targets_are_not_sparse():
    dense, labels = documents()
    one_hot = sparse.csr_array(np.eye(N_CLASSES)[labels])
    with pytest.raises(TypeError, match=r"y\.toarray\(\)"):
        classifier(fg.Adam()).fit(sparse.csr_array(dense), one_hot)


@pytest.mark.parametrize("units, n", list(itertools.product((40, 0), (1, 2))))
def test_divergence_leaves_finite_weights(units, n):
    dense, labels = documents()
    model = classifier(fg.SGD(3e38, momentum=0.9), units, n_threads=n)
    with pytest.raises(fg.DivergenceError):
        model.fit(sparse.csr_array(dense), labels, epochs=20, batch_size=8)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("units", [40, 300])
def test_weights_that_would_overflow_in_a_missed_step_stay(units):
    """Those of a column that no row has, and which its velocity takes beyond the largest number."""
    dense, labels = documents()
    model = classifier(fg.SGD(1.0, momentum=0.9), units, dtype="float32")
    model.train_on_batch(dense[:9], labels[:9])
    (velocity,) = model._network.get_slots()
    velocity[0][EMPTY_COLUMN] = b = np.float32(-2e38)
    model._network.set_slots([velocity])
    expected = model.get_weights()[0][EMPTY_COLUMN]
    for k in range(0, N, 9):
        model.train_on_batch(sparse.csr_array(dense[k : k + 9]), labels[k : k + 9])
        b *= np.float32(0.9)
        with np.errstate(over="ignore"):
            moved = expected - b
        expected = moved if np.isfinite(moved).all() else expected
    weights = model.get_weights()[0]
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[EMPTY_COLUMN], expected, rtol=1e-6)
