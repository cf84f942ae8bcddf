"""Saved models: everything is in the file, training goes on from it to the bit, and no file does harm."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from counterparts import (
    ACTIVATION_NAMES,
    BACKENDS,
    DTYPES,
    HYPERPARAMETERS,
    LOSS_NAMES,
    OPTIMIZER_NAMES,
    model_of,
    optimizer_named,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resumption import Killed, KilledAfter, assert_resumes, assert_same_model
from saved_files import JSON, load_parts, places, read_parts, with_other
from tolerances import assert_same_bits

import fastgd as fg
from fastgd import constraints, layers, methods, optimizers, penalties, schedules
from fastgd._checkpoint import atomic
from fastgd._checkpoint.configuration import KNOWN, REGISTRIES, from_plain, to_plain
from fastgd._formula import ACTIVATIONS, LOSSES
from fastgd.initializers import INITIALIZERS

safetensors = pytest.importorskip("safetensors.numpy")

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def rows(n=23):
    """Rows and labels; 23 of them leave a smaller batch at the end."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(n, 4)).astype("float32"), draw.integers(3, size=n).astype(np.intp)


def held_out():
    """The rows, and others whose labels are chance: what is learned makes these better at first, then worse."""
    (X, y), (X_other, y_other) = rows(), rows(60)
    return np.concatenate([X, X_other[23:]]), np.concatenate([y, y_other[23:]])


def classifier(backend="numpy", **options):
    """A built 4-5-3 network."""
    return model_of([4, 5, 3], ["tanh", "linear"], "softmax_cross_entropy", backend=backend, **options)


# -------------------------------------------------------------------------------------------------- configuration
def others(value):
    """What a parameter might be instead of a value."""
    if isinstance(value, bool):
        return [not value]
    if value is None or isinstance(value, tuple):
        return [(0.125, 0.25, 0.75)]
    return [value + 0.125, 0.5 * value, 0.5]


def configured_twice(declared):
    """Something declared as it is, and with each parameter changed a little, within its range."""
    yield declared
    for name, value in declared.parameters.items():
        for changed in others(value):
            try:
                yield declared.configured(**{name: changed})
            except ValueError:
                continue
            break
        else:
            pytest.fail(f"no other value for {name} of {declared.name}")


SCHEDULES = [
    schedules.Constant(0.5),
    schedules.Exponential(1.0, 0.25, every=2),
    schedules.StepDecay(1.0, 0.5, every=3),
    schedules.MultiStep(1.0, 0.5, milestones=[2, 5]),
    schedules.InverseScaling(1.0, power=0.75, scale=2.0, every=2),
    schedules.Linear(1.0, 0.0, steps=4),
    schedules.Polynomial(1.0, 0.5, steps=4, power=3.0),
    schedules.Cosine(1.0, 0.25, steps=4),
    schedules.CosineRestarts(1.0, 0.0, steps=4, growth=2.0, factor=0.5),
    schedules.OneCycle(1.0, steps=9, rise=0.5),
    schedules.Triangular(0.1, 1.0, rise=3, fall=4, factor=0.5),
    schedules.Warmup(schedules.Cosine(1.0, 0.0, steps=9), steps=3),
    schedules.Joined([schedules.Linear(0.0, 1.0, steps=2), 0.5], boundaries=[2]),
]
OPTIMIZERS = [
    *(make() for make in optimizers.BY_NAME.values()),
    *(make(dialect=dialect) for make in optimizers.BY_NAME.values() for dialect in make.dialects),
    *(make(clip_value=0.5) for make in optimizers.BY_NAME.values() if make is not optimizers.Rprop),
    optimizers.Optimizer("momentum", learning_rate=0.25, momentum=0.5, gain=1.0, weight_decay=0.125),
    fg.AdamW(weight_decay=0.25),
    fg.Adam(ema=0.75, clip_norm=0.5),
    fg.SGD(average=3, accumulate=2),
    *(optimizer_named(name, **HYPERPARAMETERS[name]) for name in OPTIMIZER_NAMES),
    *(fg.SGD(schedule) for schedule in SCHEDULES),
]
OBJECTS = [
    *(configured for name in ACTIVATION_NAMES for configured in configured_twice(ACTIVATIONS[name])),
    *(configured for name in LOSS_NAMES for configured in configured_twice(LOSSES[name])),
    *(configured for declared in INITIALIZERS.values() for configured in configured_twice(declared)),
    *SCHEDULES,
    *OPTIMIZERS,
    fg.LBFGS(memory=3, tol=1e-3),
    fg.RandomSearch(0.5, local=True, seed=7),
    fg.CoordinateSearch(0.5, shrink=0.25),
    fg.MaxNorm(2.0),
    fg.NonNegative(),
    fg.L1(0.5),
    fg.L2(0.25),
    fg.ElasticNet(l1=0.5, l2=0.25),
    fg.Dropout(0.25),
    fg.BatchNorm(),
    fg.BatchNorm(momentum=0.25, eps=1e-3, activation="relu"),
    fg.LayerNorm(eps=1e-3, activation=fg.activations.leaky_relu(slope=0.5)),
    fg.Softmax(),
    fg.Dense(3),
    fg.Dense(5, activation=fg.activations.elu(alpha=0.5), penalty=fg.L1(0.1), initializer="he_normal"),
    fg.Dense(5, constraint=fg.MaxNorm(0.5)),
]


@pytest.mark.parametrize("made", OBJECTS, ids=repr)
def test_an_object_is_made_again_from_plain_data(made):
    """That went through JSON; the same in kind, in value and in how it is shown."""
    again = from_plain(json.loads(json.dumps(to_plain(made))), "test")
    assert (type(again), again, repr(again)) == (type(made), made, repr(made))


def test_every_class_that_can_be_saved_is_tried():
    """What a module gets in addition is known, and has its example above."""
    tried = {type(made).__name__ for made in OBJECTS}
    bare = {"Constraint", "Layer", "Method", "Penalty", "Schedule"}
    assert set(KNOWN) - bare <= tried
    modules = (constraints, layers, methods, optimizers, penalties, schedules)
    exported = {name for module in modules for name in module.__all__}
    assert set(KNOWN) == {name for name in exported if name[0].isupper()}
    assert {made.kind for made in OBJECTS if hasattr(made, "kind")} == set(REGISTRIES) - {"optimizer rule"}


@pytest.mark.parametrize("value", [None, True, 3, 0.1, "text", [1, [2.5]], float("inf"), float("-inf")])
def test_plain_values_stay(value):
    """Infinities too, which JSON does not have."""
    assert from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)), "test") == value


def test_a_rule_of_ones_own_is_saved_by_name():
    """With its hyperparameters."""
    optimizer = optimizers.Optimizer("momentum", learning_rate=0.25, momentum=0.5, gain=1.0)
    assert from_plain(to_plain(optimizer), "test") == optimizer


# ------------------------------------------------------------------------------------------------------- whole files
@each_backend
@each_dtype
def test_a_model_is_read_as_it_was_written(dtype, backend, tmp_path):
    """It predicts, and trains on, to the same bits."""
    X, y = rows()
    model = fg.Sequential(
        [fg.Dense(5, activation=fg.activations.leaky_relu(slope=0.25), penalty=fg.L1(1e-3)), fg.Dense(3)],
        loss=fg.losses.softmax_cross_entropy,
        optimizer=fg.Adam(fg.schedules.Linear(0.1, 0.0, steps=50)),
        penalty=fg.L2(1e-3),
        dtype=dtype,
        seed=2**64 - 1,
        n_threads=2,
        backend=backend,
    )
    model.fit(X, y, epochs=3, batch_size=5, validation_data=(X, y))
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = fg.load(path)
    assert_same_model(loaded, model)
    assert_same_bits(loaded.predict(X), model.predict(X))
    for each in (model, loaded):
        each.fit(X, y, epochs=2, batch_size=5)
        each.train_on_batch(X, y)
    assert_same_model(loaded, model)


def test_the_same_model_makes_the_same_file(tmp_path):
    """Byte for byte."""
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        model = classifier()
        model.fit(*rows(), epochs=2, callbacks=[fg.EarlyStopping("loss", restore_best_weights=True)])
        model.save(path)
    assert one.read_bytes() == other.read_bytes()


def test_a_file_can_be_read_by_others(tmp_path):
    """As any safetensors file; the weights have their layers' names."""
    model = classifier()
    model.save(tmp_path / "model")
    tensors = safetensors.load_file(tmp_path / "model")
    names = ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"]
    assert_same_bits([tensors[name] for name in names], model.get_weights())
    assert {name for name in tensors if name.startswith("optimizer.m.")} == {f"optimizer.m.{name}" for name in names}


def test_a_model_without_weights_is_not_saved(tmp_path):
    """There is nothing to keep."""
    with pytest.raises(fg.NotBuiltError):
        fg.Sequential([fg.Dense(1)], backend="numpy").save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_loss_is_saved(tmp_path):
    """It predicts."""
    model = fg.Sequential([fg.Dense(2)], backend="numpy").build(4)
    model.save(tmp_path / "model")
    assert_same_model(fg.load(tmp_path / "model"), model)


# --------------------------------------------------------------------------------------------------------- functions
def halved(step):
    """A learning rate that no file can hold."""
    return 0.5 / (1 + step)


@pytest.mark.parametrize("rate", [halved, schedules.Warmup(halved, steps=3)])
def test_a_function_is_given_again(rate, tmp_path):
    """The error says how; the optimizer's state is that of the file."""
    X, y = rows()
    model, path = classifier(optimizer=fg.SGD(rate, momentum=0.5)), tmp_path / "model"
    model.fit(X, y, epochs=2, batch_size=5)
    model.save(path)
    with pytest.raises(ValueError, match=r"optimizer.+got the function 'halved'.+fg.load\(path, optimizer=\.\.\.\)"):
        fg.load(path)
    loaded = fg.load(path, optimizer=fg.SGD(rate, momentum=0.5))
    assert_same_model(loaded, model)
    with pytest.raises(ValueError, match="tensors: got optimizer.b.layers.0.W, expected none beyond those"):
        fg.load(path, optimizer=fg.SGD(rate))


def test_a_formula_of_ones_own_has_to_be_declared(tmp_path):
    """Nothing is imported to find it."""
    def steps(z):
        return z if z > 0.25 else 0.0

    try:
        mine = fg.activation(steps)
        mine.derivative(of="input")(lambda_free)
        model = fg.Sequential([fg.Dense(2, activation=mine)], backend="numpy").build(3)
        model.save(tmp_path / "model")
        assert repr(fg.load(tmp_path / "model")) == repr(model)
    finally:
        ACTIVATIONS.pop("steps", None)
    with pytest.raises(ValueError, match="activation: got 'steps', expected one that is declared; .+import the module"):
        fg.load(tmp_path / "model")


def lambda_free(z):
    """Derivative of the formula above."""
    return 1.0 if z > 0.25 else 0.0


# ------------------------------------------------------------------------------------------------------------ resuming
@each_backend
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_every_optimizer_goes_on_from_any_batch(rule, backend, tmp_path):
    """Within an epoch of five steps, at its end, at its beginning."""
    X, y = rows()
    make = lambda: classifier(backend, optimizer=optimizer_named(rule, **HYPERPARAMETERS[rule]))  # noqa: E731
    fit = lambda model, **given: model.fit(X, y, epochs=4, batch_size=5, **given)  # noqa: E731
    for steps in (1, 7, 10, 14, 19):
        assert_resumes(make, fit, steps, tmp_path / f"{steps}")


@each_backend
def test_every_layer_goes_on_from_any_batch(backend, tmp_path):
    """What dropout draws and what batches have told so far."""
    X, y = rows()

    def make():
        layers = [
            *(fg.Dense(6), fg.BatchNorm(activation="relu"), fg.Dropout(0.5)),
            *(fg.Dense(5), fg.LayerNorm(activation="tanh"), fg.Dropout(0.25), fg.Dense(3)),
        ]
        return fg.Sequential(layers, loss="softmax_cross_entropy", backend=backend)

    fit = lambda model, **given: model.fit(X, y, epochs=4, batch_size=5, **given)  # noqa: E731
    for steps in (3, 10):
        assert_resumes(make, fit, steps, tmp_path / f"{steps}")


@each_backend
@pytest.mark.parametrize(
    "optimizer",
    [fg.Adam(ema=0.75), fg.SGD(0.5, average=6), fg.SGD(0.5, clip_norm=0.1), fg.Adam(accumulate=2, ema=0.5)],
    ids=repr,
)
def test_averages_norms_and_constraints_go_on_from_any_batch(optimizer, backend, tmp_path):
    """An average begins anew with weights that are set; not with those of a file."""
    X, y = rows()

    def make():
        layers = [fg.Dense(6, "tanh", constraint=fg.MaxNorm(0.5)), fg.BatchNorm(), fg.Dense(3)]
        return fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=copy.deepcopy(optimizer), backend=backend)

    def fit(model, **given):
        return model.fit(X, y, epochs=4, batch_size=5, validation_data=(X, y), **given)

    for steps in (3, 8, 15):
        whole = assert_resumes(make, fit, steps, tmp_path / f"{steps}")
        whole.save(tmp_path / "whole")
        assert_same_bits(fg.load(tmp_path / "whole").predict(X), whole.predict(X))


@each_backend
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_sparse_rows_go_on_from_any_batch(rule, backend, tmp_path):
    """Columns that wait for what has happened meanwhile are made up for when the model is saved."""
    sparse = pytest.importorskip("scipy.sparse")
    dense, y = rows()
    X = sparse.csr_array(np.where(dense > 0.75, dense, 0.0))
    make = lambda: classifier(backend, optimizer=optimizer_named(rule, **HYPERPARAMETERS[rule]))  # noqa: E731
    fit = lambda model, **given: model.fit(X, y, epochs=4, batch_size=5, metrics=["accuracy"], **given)  # noqa: E731
    for steps in (7, 10):
        assert_resumes(make, fit, steps, tmp_path / f"{steps}")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_schedule_goes_on_from_any_batch(schedule, tmp_path):
    """It knows its place by the number of steps."""
    X, y = rows()
    make = lambda: classifier(optimizer=fg.Adam(schedule))  # noqa: E731
    assert_resumes(make, lambda model, **given: model.fit(X, y, epochs=3, batch_size=5, **given), 8, tmp_path / "model")


@each_backend
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("seed", [0, None])
def test_every_order_of_rows_goes_on(shuffle, seed, backend, tmp_path):
    """With weights of rows and classes, and with a seed that was drawn, which is taken from the file."""
    X, y = rows()
    weights = np.linspace(0.0, 2.0, len(X))
    drawn = classifier(backend, seed=seed).seed
    make = lambda: classifier(backend, seed=drawn)  # noqa: E731

    def fit(model, **given):
        given = dict(sample_weight=weights, class_weight="balanced", validation_data=(X, y), shuffle=shuffle) | given
        model.fit(X, y, epochs=4, batch_size=7, **given)

    whole = assert_resumes(make, fit, 9, tmp_path / "model")
    another = classifier(backend, seed=seed)
    fit(another, resume_from=tmp_path / "model")
    assert_same_model(another, whole)


def steered(path):
    """Callbacks that decide something, and one that saves each epoch; the first epochs are made to look the best."""
    return [
        fg.ModelCheckpoint(path),
        fg.EarlyStopping(patience=6, restore_best_weights=True),
        fg.ReduceLROnPlateau(patience=2, factor=0.5),
        fg.CSVLogger(path.with_suffix(".csv")),
    ]


@pytest.mark.parametrize("epochs", [1, 3, 5, 6, 7, 8])
def test_one_line_goes_on_wherever_it_was_killed(epochs, tmp_path):
    """Counters, best weights, learning rate and log are those of training in one go, early stop included."""
    X, y = rows()
    path = tmp_path / "run.safetensors"

    def fit(n_epochs, folder, killed_at=None):
        def kill(epoch):
            if epoch == killed_at:
                raise Killed

        model = classifier(optimizer=fg.SGD(1.0))
        saved = folder / "run.safetensors"
        callbacks = [*steered(saved), fg.LambdaCallback(on_epoch_begin=kill)]
        model.fit(X, y, epochs=n_epochs, validation_data=held_out(), callbacks=callbacks, resume_from=saved)
        return model

    (tmp_path / "whole").mkdir()
    whole = fit(50, tmp_path / "whole")
    assert 9 <= len(whole.history.epochs) < 50
    assert whole.optimizer.learning_rate < 1.0
    with pytest.raises(Killed):
        fit(50, tmp_path, killed_at=epochs + 1)
    assert fg.load(path).history.epochs == list(range(1, epochs + 1))
    again = fit(50, tmp_path)
    assert_same_model(again, whole)
    assert path.with_suffix(".csv").read_text() == (tmp_path / "whole" / "run.csv").read_text()
    # Once more: there is nothing left to do, and nothing is done.
    assert_same_model(fit(50, tmp_path), whole)


def test_a_run_goes_on_in_another_process(tmp_path):
    """Both begin with the same line."""
    script = textwrap.dedent(
        """
        import os, sys, numpy as np, fastgd as fg
        draw = np.random.default_rng(0)
        X, y = draw.normal(size=(23, 4)), draw.integers(3, size=23)
        model = fg.Sequential([fg.Dense(5, activation="tanh"), fg.Dense(3)], loss="softmax_cross_entropy")
        kill = lambda epoch: os._exit(9) if epoch == int(sys.argv[2]) else None
        model.fit(X, y, epochs=6, resume_from=sys.argv[1],
                  callbacks=[fg.ModelCheckpoint(sys.argv[1]), fg.LambdaCallback(on_epoch_begin=kill)])
        """
    )

    def run(path, killed_at):
        finished = subprocess.run([sys.executable, "-c", script, path, str(killed_at)], timeout=60)
        return finished.returncode

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, 0) == 0
    assert run(killed, 4) == 9
    assert fg.load(killed).history.epochs == [1, 2, 3]
    assert run(killed, 0) == 0
    assert killed.read_bytes() == whole.read_bytes()


def test_a_checkpoint_is_written_by_the_clock_too(tmp_path):
    """Within an epoch; by a clock that goes a second for each look."""
    X, y = rows()
    path = tmp_path / "model"
    checkpoint, seconds = fg.ModelCheckpoint(path, every_epochs=None, every_seconds=3), iter(range(99))
    checkpoint.clock = lambda: next(seconds)
    saved = []
    model = classifier()
    model.save = lambda path: saved.append(model.n_steps_done)
    each = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model.fit(X, y, epochs=2, batch_size=5, callbacks=[checkpoint, each])
    # The look that follows a save is the clock's third, so every second step.
    assert saved == [3, 5, 7, 9] or saved == [3, 6, 9]


def test_only_the_best_are_kept_if_wanted(tmp_path):
    """By the values in their names."""
    X, y = rows()
    model = classifier(optimizer=fg.SGD(2.0))
    path = tmp_path / "{epoch:02d}-{val_loss:.4f}"
    keep = fg.ModelCheckpoint(path, save_best_only=True)
    history = model.fit(X, y, epochs=12, validation_data=held_out(), callbacks=[keep])
    course = history.history["val_loss"]
    best = [k for k in range(12) if course[k] == min(course[: k + 1])]
    assert sorted(found.name for found in tmp_path.iterdir()) == [f"{k + 1:02d}-{course[k]:.4f}" for k in best]
    assert 1 < len(best) < 12
    with pytest.raises(ValueError, match="ModelCheckpoint: path: got .+, expected fields among epoch, loss; "):
        model.fit(X, y, callbacks=[fg.ModelCheckpoint(path)])


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (dict(model=dict(dtype="float64")), "dtype: got a model with float64, expected float32, as in the file"),
        (dict(model=dict(optimizer="sgd")), "optimizer: got a model with .+SGD.+, expected .+Adam.+, as in the file"),
        (dict(model=dict(optimizer=fg.Adam(beta1=0.5))), "optimizer: got a model with .+0.5.+, expected .+0.9"),
        (dict(model=dict(penalty=fg.L2(0.5))), "penalty: got a model with .+L2.+, expected None"),
        (dict(X=np.zeros((23, 3))), "X: got 3 columns, expected 4, as many as in"),
        (dict(n=22), "saved within an epoch: got 22 rows in batches of 5, shuffle=True, expected 23 rows"),
        (dict(fit=dict(batch_size=6)), "saved within an epoch: got 23 rows in batches of 6"),
        (dict(fit=dict(shuffle=False)), "saved within an epoch: got .+shuffle=False, expected .+shuffle=True"),
    ],
)
def test_what_would_not_resume_exactly_is_refused(change, fragment, tmp_path):
    """And nothing is changed."""
    X, y = rows()
    path = tmp_path / "model"
    with pytest.raises(Killed):
        classifier().fit(X, y, epochs=4, batch_size=5, callbacks=[KilledAfter(7, path)])
    options = dict(optimizer="adam") | change.get("model", {})
    model = fg.Sequential(
        [fg.Dense(5, activation="tanh"), fg.Dense(3)], loss="softmax_cross_entropy", backend="numpy", **options
    )
    n = change.get("n", 23)
    with pytest.raises(ValueError, match=fragment):
        model.fit(
            change.get("X", X)[:n], y[:n], **dict(epochs=4, batch_size=5, resume_from=path) | change.get("fit", {})
        )
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()


def test_callbacks_and_their_states_have_to_match(tmp_path):
    """A count that has no owner would be lost."""
    X, y = rows()
    path = tmp_path / "model"
    model = classifier()
    model.fit(X, y, epochs=2, callbacks=[fg.EarlyStopping("loss"), fg.ModelCheckpoint(path)])
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match="resume_from: got a file with the state of a EarlyStopping"):
        model.fit(X, y, epochs=4, callbacks=[fg.ModelCheckpoint(path)], resume_from=path)
    assert_same_model(model, before)


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda state: state.update(model=None), r"EarlyStopping: got keys \[.+'model'.+\], expected keys"),
        (lambda state: state.pop("wait"), "EarlyStopping: got keys .+, expected keys .+wait"),
        (lambda state: state.update(wait="soon"), "EarlyStopping: wait: got 'soon', expected int"),
        (lambda state: state.update(wait=True), "EarlyStopping: wait: got True, expected int"),
        (lambda state: state.update(best_weights=3), "EarlyStopping: best_weights: got 3, expected list or None"),
    ],
)
def test_states_that_a_callback_never_gave_are_refused(spoil, fragment, parts, tmp_path):
    """And nothing is changed, neither the model nor the callbacks."""
    tensors, described, load = parts
    spoil(described["callbacks"][0][1])
    if "arrays" not in str(described["callbacks"]):
        tensors = {name: array for name, array in tensors.items() if "best_weights" not in name}
    load(tensors, described)
    model, stopping = classifier(), fg.EarlyStopping("loss")
    model_before, before = copy.deepcopy(model), dict(vars(stopping))
    with pytest.raises(ValueError, match=fragment):
        model.fit(*rows(), epochs=3, callbacks=[stopping], resume_from=tmp_path / "model")
    assert_same_model(model, model_before)
    assert vars(stopping) == before


def test_a_log_goes_on_after_a_fit_that_ended(tmp_path):
    """Saved when its file was closed already."""
    X, y = rows()
    path, log = tmp_path / "model", tmp_path / "log.csv"
    model = classifier()
    model.fit(X, y, epochs=2, callbacks=[fg.CSVLogger(log)])
    model.save(path)
    model.fit(X, y, epochs=4, callbacks=[fg.CSVLogger(log)], resume_from=path)
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["epoch", "1", "2", "3", "4"]


@each_backend
def test_pickles_and_copies_are_exact_within_an_epoch(backend):
    """As files are."""
    X, y = rows()
    model = classifier(backend)
    stop = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True))
    model.fit(X, y, epochs=3, batch_size=5, callbacks=[stop])
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]
    for each in (model, *copies):
        each.fit(X, y, epochs=2, batch_size=5)
    for each in copies:
        assert_same_model(each, model)


# ------------------------------------------------------------------------------------------------------ hostile files
@pytest.fixture
def parts(tmp_path):
    """Tensors and metadata of a good file, and how to write them and load."""
    model = classifier()
    model.fit(*rows(), epochs=2, callbacks=[fg.EarlyStopping("loss", restore_best_weights=True)])
    path = tmp_path / "model"
    model.save(path)
    return *read_parts(path), lambda tensors, described: load_parts(tensors, described, path)


def test_good_parts_are_read(parts):
    """Else no refusal below would mean anything."""
    tensors, described, load = parts
    assert load(tensors, described).n_epochs_done == 2


SPOILED = {
    "a tensor is missing": (lambda t, d: t.pop("layers.0.b"), "layers.0.b: got no such tensor, expected shape"),
    "a tensor too many": (lambda t, d: t.update(extra=t["epochs"]), "tensors: got extra, expected none beyond"),
    "another shape": (
        lambda t, d: t.update({"layers.0.W": np.zeros((5, 4), "f4")}),
        r"layers.0.W: got shape \(5, 4\), dtype float32, expected shape \(4, 5\)",
    ),
    "another dtype": (
        lambda t, d: t.update({"layers.0.W": np.zeros((4, 5))}),
        "layers.0.W: got .+float64, expected .+float32",
    ),
    "half precision": (
        lambda t, d: t.update({"layers.0.W": np.zeros((4, 5), "f2")}),
        "layers.0.W: got .+F16, expected .+float32",
    ),
    "a NaN": (
        lambda t, d: t.update({"layers.0.b": np.array([0, 1, np.nan, 0, 0], "f4")}),
        r"layers.0.b\[2\]: got nan, expected a finite number",
    ),
    "an infinite state": (
        lambda t, d: t.update({"optimizer.v.layers.1.b": np.full(3, np.inf, "f4")}),
        r"optimizer.v.layers.1.b\[0\]: got inf, expected a finite number",
    ),
    "the best weights of another model": (
        lambda t, d: t.update({"callbacks.0.best_weights.0": np.zeros((9, 9), "f4")}),
        "callbacks.0.best_weights.0: got shape",
    ),
    "too few best weights": (
        lambda t, d: d["callbacks"][0][1].update(best_weights={"arrays": 2}),
        "callbacks.0.best_weights: got 2, expected 4 arrays",
    ),
    "a history of another length": (
        lambda t, d: t.update({"history.loss": np.zeros(3)}),
        r"history.loss: got shape \(3,\)",
    ),
    "a later format": (lambda t, d: d.update(format_version=2), "format: got version 2, expected version 1"),
    "a format that is true": (lambda t, d: d.update(format_version=True), "format: got version True"),
    "no settings": (lambda t, d: d.pop("settings"), "metadata: got .+, expected 'settings' among the keys"),
    "an unknown key": (lambda t, d: d.update(command="rm"), "metadata: got command, expected no keys but"),
    "an unknown setting": (lambda t, d: d["settings"].update(hook="os"), "settings: got hook, expected no keys but"),
    "an unknown class": (
        lambda t, d: d["settings"]["layers"][0].update({"class": "Popen"}),
        r"layers\[0\]: got 'Popen', expected one of .*Dense",
    ),
    "a class of another module": (
        lambda t, d: d["settings"].update(optimizer={"class": "os.system", "arguments": {"command": "true"}}),
        "optimizer: got 'os.system', expected one of",
    ),
    "an argument of another class": (
        lambda t, d: d["settings"]["layers"][0]["arguments"].update(command="true"),
        r"layers\[0\]: .+unexpected keyword argument 'command'",
    ),
    "an impossible argument": (
        lambda t, d: d["settings"]["optimizer"]["arguments"].update(beta1=2.0),
        "optimizer: .+beta1.+2.0",
    ),
    "more units than there is memory": (
        lambda t, d: d["settings"]["layers"][0]["arguments"].update(units=10**15),
        r"layers.0.W: got shape \(4, 5\), dtype float32, expected shape \(4, 1000000000000000\)",
    ),
    "more inputs than there is memory": (lambda t, d: d.update(n_inputs=10**15), "layers.0.W: got shape"),
    "no whole number of inputs": (lambda t, d: d.update(n_inputs=4.0), "n_inputs: got 4.0, expected a whole number"),
    "a negative counter": (lambda t, d: d["counters"].update(steps=-1), "counters: steps: got -1, expected a whole"),
    "a step beyond its epoch": (
        lambda t, d: d["counters"].update(
            unfinished=dict(n_rows=5, batch_size=5, shuffle=True, step=1, loss_sum=0.0, weight_sum=1.0)
        ),
        "unfinished epoch: step: got 1, expected one within the epoch",
    ),
    "a dtype of another kind": (lambda t, d: d["settings"].update(dtype="object"), "dtype: got 'object', expected"),
    "a loss that is none": (lambda t, d: d["settings"].update(loss={"items": {}}), "loss: got {}, expected"),
    "layers that are none": (lambda t, d: d["settings"].update(layers=7), "layers: got 7, expected a list"),
    "a function": (
        lambda t, d: d["settings"]["layers"][0]["arguments"].update(activation={"callable": "print"}),
        r"got the function 'print', expected no function.+fg.load\(path, layers=",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_file_is_refused(name, parts):
    """With an error that says what is wrong with it."""
    spoil, fragment = SPOILED[name]
    tensors, described, load = parts
    spoil(tensors, described)
    with pytest.raises(ValueError, match=fragment):
        load(tensors, described)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "got a file that cannot be read"),
        (b"PK\x03\x04" * 20, "got a file that cannot be read"),
        (pickle.dumps({"weights": [1.0]}), "got a file that cannot be read"),
        ((2**63).to_bytes(8, "little") + b"{}", "got a file that cannot be read"),
        (safetensors.save({"weight": np.zeros(3)}), "got a safetensors file of another program"),
        (safetensors.save({"w": np.zeros(3)}, metadata={"fastgd": "{"}), "metadata that is no JSON"),
        (safetensors.save({"w": np.zeros(3)}, metadata={"fastgd": "[" * 100_000}), "metadata that is no JSON"),
        (safetensors.save({"w": np.zeros(3)}, metadata={"fastgd": "NaN"}), "metadata that is no JSON"),
        (safetensors.save({"w": np.zeros(3)}, metadata={"fastgd": "[]"}), "format: got version None"),
    ],
)
def test_what_is_no_model_is_refused(content, fragment, tmp_path):
    """Whatever it is; a pickle is not opened."""
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError, match=fragment):
        fg.load(tmp_path / "model")


def test_a_file_is_read_up_to_a_size(tmp_path):
    """Before it is opened."""
    path = tmp_path / "model"
    classifier().save(path)
    size = path.stat().st_size
    assert fg.load(path, max_bytes=size).n_inputs == 4
    with pytest.raises(ValueError, match=f"got {size:,} bytes, expected at most {size - 1:,}; pass max_bytes={size}"):
        fg.load(path, max_bytes=size - 1)
    with pytest.raises(FileNotFoundError):
        fg.load(tmp_path / "absent")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_is_whole(data, tmp_path):
    """Bytes cut off or replaced: a ValueError, or a model whose numbers are finite."""
    path = tmp_path / "model"
    if not path.exists():
        model = classifier()
        model.fit(*rows(), callbacks=[fg.EarlyStopping("loss")])
        model.save(path)
    good = path.read_bytes()
    spoiled = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        spoiled[at : at + 1] = data.draw(st.binary(max_size=3))
    (tmp_path / "spoiled").write_bytes(spoiled)
    try:
        loaded = fg.load(tmp_path / "spoiled")
    except ValueError:
        return
    assert all(np.isfinite(w).all() for w in loaded.get_weights())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_configuration_is_refused_or_makes_a_model(data, parts):
    """Something else at some place: a ValueError and nothing worse."""
    tensors, described, load = parts
    chosen = data.draw(st.sampled_from([at for at in places(described) if at]))
    described = with_other(described, chosen, data.draw(JSON))
    try:
        assert isinstance(load(tensors, described), fg.Sequential)
    except ValueError:
        pass


def test_loading_imports_nothing_that_a_file_names(tmp_path):
    """Nor pickle, nor what executes."""
    classifier(backend="cython").save(tmp_path / "model")
    script = (
        "import sys, fastgd as fg, numpy, safetensors.numpy; before = set(sys.modules)\n"
        f"fg.load({str(tmp_path / 'model')!r})\nprint(*sorted(set(sys.modules) - before))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name for name in finished.stdout.split() if not name.startswith("fastgd")}
    assert not {name for name in loaded if name.split(".")[0] in ("pickle", "runpy", "subprocess", "code")}


# ---------------------------------------------------------------------------------------------------- writing files
@pytest.mark.parametrize("point", ["fsync", "replace", "open"])
def test_a_save_that_fails_leaves_the_old_file(point, tmp_path, monkeypatch):
    """And nothing beside it."""
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def fail(*given, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(atomic.os if point != "open" else "builtins", point, fail) if point != "open" else (
            broken.setattr("builtins.open", fail)
        )
        with pytest.raises(OSError, match="No space left"):
            atomic.write_atomically(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
    atomic.write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"


def test_what_is_renamed_is_on_the_disk_before(tmp_path, monkeypatch):
    """And the folder's entry after."""
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            atomic.os, name, lambda *given, name=name, original=original: (done.append(name), original(*given))[1]
        )
    atomic.write_atomically(str(tmp_path / "model"), b"new")
    assert done == ["fsync", "replace", "fsync"]


def test_a_link_is_followed_and_rights_are_the_usual(tmp_path):
    """What it leads to is replaced, not the link."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "model")
    atomic.write_atomically(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    usual = tmp_path / "usual"
    usual.write_bytes(b"")
    assert (tmp_path / "folder" / "model").stat().st_mode == usual.stat().st_mode


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Not what one that runs is writing."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    node = atomic.platform.node()
    left, others = tmp_path / f".model.{node}-{ended.pid}-1.part", tmp_path / f".model.{node}-{os.getpid()}-1.part"
    left.write_bytes(b"half")
    others.write_bytes(b"half")
    atomic.write_atomically(str(tmp_path / "model"), b"new")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([others.name, "model"])


SAVING = """
import sys, numpy as np, fastgd as fg
model = fg.Sequential([fg.Dense(200), fg.Dense(100)], loss="mean_squared_error", backend="numpy").build(100)
shapes = [w.shape for w in model.get_weights()]
number = float(sys.argv[2])
while True:
    number += 1.0
    model.set_weights([np.full(shape, number) for shape in shapes])
    model.save(sys.argv[1])
    print(number, flush=True)
"""


@pytest.mark.parametrize("times", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_any_moment_one_of_two_files_is_there(times, tmp_path):
    """The newest that was finished, or one later; its numbers are all of one save. Nothing is left over at last."""
    path, last = tmp_path / "model", 0.0
    wait = random.Random(0)
    for _ in range(times):
        child = subprocess.Popen([sys.executable, "-c", SAVING, path, str(last)], stdout=subprocess.PIPE)
        finished = float(child.stdout.readline())
        time.sleep(wait.uniform(0.0, 0.05))
        child.send_signal(signal.SIGKILL)
        told = [finished, *map(float, child.communicate()[0].split())]
        numbers = np.unique(np.concatenate([w.ravel() for w in fg.load(path).get_weights()]))
        assert len(numbers) == 1
        last = float(numbers[0])
        assert last in (told[-1], told[-1] + 1.0)
    fg.load(path).save(path)
    assert [each.name for each in Path(tmp_path).iterdir()] == ["model"]


def test_without_its_library_saving_says_what_to_type(tmp_path, monkeypatch):
    """Loading too."""
    model, path = classifier(), tmp_path / "model"
    model.save(path)
    for name in [name for name in sys.modules if name.split(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'model.save needs safetensors.+pip install "fastgd\[io\]"'):
        model.save(path)
    with pytest.raises(ImportError, match=r'fg.load needs safetensors.+pip install "fastgd\[io\]"'):
        fg.load(path)
