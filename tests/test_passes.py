"""Fits on blocks that are watched, steered, interrupted and resumed, and fits on standardised columns."""

from __future__ import annotations

import copy
import os
import pickle
import signal

import numpy as np
import pytest
from counterparts import BACKENDS, HYPERPARAMETERS, OPTIMIZER_NAMES, optimizer_named
from resumption import Killed, KilledAfter, assert_resumes, assert_same_model
from saved_files import load_parts, read_parts
from tolerances import assert_same_bits

import fastgd as fg
from fastgd import schedules

safetensors = pytest.importorskip("safetensors.numpy")

each_backend = pytest.mark.parametrize("backend", BACKENDS)

N, N_COLUMNS, N_CLASSES = 61, 4, 3
# With batches of 8 rows: 3 steps, 1, 5; a block of one row is among them.
ENDS = (0, 20, 21, 61)
STEPS = 9


def data():
    """Rows of columns that differ in scale and place, labels that depend on them, and weights."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(N, N_COLUMNS)) * [1.0, 3.0, 0.02, 1.0] + [0.0, 5.0, 0.0, -3.0]
    return X, ((X[:, 0] > 0) + (X[:, 1] > 5)).astype(int), draw.random(N)


def blocks():
    X, y, weights = data()
    for first, last in zip(ENDS, ENDS[1:], strict=False):
        yield X[first:last], y[first:last], weights[first:last]


def classifier(optimizer=None, layers=None, **options):
    layers = layers or [fg.Dense(8, activation="tanh"), fg.Dense(N_CLASSES)]
    return fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=optimizer or fg.Adam(0.01), **options)


def fit_on_blocks(model, **given):
    model.fit(blocks, **dict(epochs=3, batch_size=8) | given)


# ------------------------------------------------------------------------------------------------------- resumption
@each_backend
@pytest.mark.parametrize("steps", range(1, 2 * STEPS + 1))
def test_a_pass_goes_on_from_any_batch(steps, backend, tmp_path):
    """Within a block, between two, at the end of the last one, in a later epoch."""
    assert_resumes(lambda: classifier(backend=backend), fit_on_blocks, steps, tmp_path / "model")


@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_every_optimizer_goes_on_within_a_block(rule, tmp_path):
    make = lambda: classifier(optimizer_named(rule, **HYPERPARAMETERS[rule]))  # noqa: E731
    for steps in (2, STEPS + 6):
        assert_resumes(make, fit_on_blocks, steps, tmp_path / f"{steps}")


@pytest.mark.parametrize(
    "options",
    [
        dict(shuffle=False),
        dict(batch_size=None),
        dict(batch_size=50),
        dict(class_weight={0: 2.0, 1: 1.0, 2: 0.5}),
        dict(validation_data=data()[:2], metrics=["f1"]),
        dict(standardize=True),
        dict(standardize=True, validation_data=data()[:2], shuffle=False),
    ],
    ids=repr,
)
def test_options_go_on_from_any_batch(options, tmp_path):
    """The means and deviations of columns are those of the file: nothing is looked through again."""
    fit = lambda model, **given: fit_on_blocks(model, **options | given)  # noqa: E731
    n_steps = 3 if options.get("batch_size", 8) in (None, 50) else STEPS
    for steps in (1, 2, n_steps, n_steps + 2):
        assert_resumes(classifier, fit, steps, tmp_path / f"{steps}")


def test_layers_that_draw_and_gather_go_on(tmp_path):
    layers = [fg.Dense(6), fg.BatchNorm(activation="relu"), fg.Dropout(0.5), fg.Dense(N_CLASSES)]
    # A batch of one row would be none for BatchNorm.
    three = list(blocks())
    fit = lambda model, **given: model.fit([three[0], three[2]], **dict(epochs=3, batch_size=8) | given)  # noqa: E731
    for steps in (4, 11):
        assert_resumes(
            lambda: classifier(fg.Adam(schedules.Cosine(0.1, 0.0, steps=30), ema=0.9), copy.deepcopy(layers)),
            fit,
            steps,
            tmp_path / f"{steps}",
        )


def test_only_what_was_not_learnt_from_is_read_by_the_model(tmp_path):
    """Blocks that are done are passed over; they may be spoiled meanwhile, but they have to be there."""
    path = tmp_path / "model"
    with pytest.raises(Killed):
        fit_on_blocks(classifier(), callbacks=[KilledAfter(3, path)])

    def spoiled():
        for number, (X, *others) in enumerate(blocks()):
            yield (X * np.nan if number == 0 else X), *others

    resumed, whole = classifier(), classifier()
    resumed.fit(spoiled, epochs=1, batch_size=8, resume_from=path)
    fit_on_blocks(whole, epochs=1)
    assert_same_model(resumed, whole)


def test_a_block_of_another_size_is_not_the_same(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(Killed):
        fit_on_blocks(classifier(), callbacks=[KilledAfter(6, path)])
    three = list(blocks())
    shorter = [*three[:2], tuple(part[:-1] for part in three[2])]
    with pytest.raises(ValueError, match=r"resume_from: X: got block 3 of 39 rows, expected one of 40, as before"):
        classifier().fit(shorter, epochs=3, batch_size=8, resume_from=path)
    with pytest.raises(ValueError, match=r"resume_from: X: got 2 blocks, expected at least 3, as before"):
        classifier().fit(three[:2], epochs=3, batch_size=8, resume_from=path)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (dict(batch_size=7), "got blocks in batches of 7, shuffle=True, expected blocks in batches of 8, shuffle=True"),
        (dict(batch_size=None), "got blocks in batches of their size"),
        (dict(shuffle=False), "got blocks in batches of 8, shuffle=False"),
        (dict(standardize=True), "standardize: got True, expected False: the weights in the file are not for them"),
    ],
)
def test_what_would_not_resume_exactly_is_refused(change, fragment, tmp_path):
    """And nothing is changed."""
    path, model = tmp_path / "model", classifier()
    with pytest.raises(Killed):
        fit_on_blocks(classifier(), callbacks=[KilledAfter(6, path)])
    with pytest.raises(ValueError, match=fragment):
        fit_on_blocks(model, **change, resume_from=path)
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()
    X, y, _ = data()
    with pytest.raises(ValueError, match="saved within an epoch: got 61 rows in batches of 8, .*expected blocks"):
        model.fit(X, y, batch_size=8, resume_from=path)
    with pytest.raises(ValueError, match="spent after one pass, expected something that can be gone through 3 times"):
        model.fit(blocks(), epochs=3, batch_size=8, resume_from=path)


def test_an_interrupted_pass_is_not_taken_up_by_another_fit(tmp_path):
    """Whose blocks may be others: all of them are learnt from."""
    stop = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True))
    model = classifier()
    model.fit(blocks, batch_size=8, callbacks=[stop])
    assert (model.n_steps_done, model.n_epochs_done) == (1, 0)
    model.fit(blocks(), batch_size=8)
    assert (model.n_steps_done, model.n_epochs_done) == (1 + STEPS, 1)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_is_answered_within_a_block():
    """With the model as of a finished step, and the place within the pass."""
    model = classifier()

    def interrupt(batch, logs):
        if model.n_steps_done == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        model.fit(blocks, batch_size=8, callbacks=[fg.LambdaCallback(on_train_batch_end=interrupt)])
    place = model._counters.unfinished
    assert (place.blocks, place.n_rows, place.step, place.steps) == (2, 40, 1, 5)


def test_a_place_that_cannot_be_is_refused(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(Killed):
        fit_on_blocks(classifier(), callbacks=[KilledAfter(6, path)])
    tensors, described = read_parts(path)
    for change in (dict(step=5), dict(step=0), dict(steps=3), dict(n_rows=0), dict(batch_size=None), dict(blocks=9)):
        spoiled = copy.deepcopy(described)
        spoiled["counters"]["unfinished"].update(change)
        with pytest.raises(ValueError, match="unfinished epoch: step: got .*, expected one within the epoch"):
            load_parts(tensors, spoiled, path)


# -------------------------------------------------------------------------------------------------------- callbacks
class Listening(fg.callbacks.Callback):
    """Notes what it is told."""

    def __init__(self):
        self.heard = []

    def on_train_begin(self):
        self.heard.append(("begin", self.model.n_inputs))

    def on_epoch_begin(self, epoch):
        self.heard.append(("epoch", epoch, self.progress.steps_per_epoch, self.progress.n_rows))

    def on_epoch_end(self, epoch, logs):
        self.heard.append(("end of epoch", epoch, sorted(logs)))

    def on_train_batch_begin(self, batch):
        self.heard.append(("batch", batch))

    def on_train_batch_end(self, batch, logs):
        self.heard.append(("end of batch", batch, self.progress.step))

    def on_train_end(self):
        self.heard.append(("end", self.progress.rows_done))


def test_callbacks_are_told_as_of_arrays():
    """Batches are counted through the blocks; how many there are is known after the first pass."""
    listening = Listening()
    classifier().fit(blocks, epochs=2, batch_size=8, validation_data=data()[:2], callbacks=[listening])
    batches = [entry for k in range(STEPS) for entry in (("batch", k), ("end of batch", k, k + 1))]
    values = ["loss", "val_accuracy", "val_loss"]
    assert listening.heard == [
        ("begin", N_COLUMNS),
        *(("epoch", 1, 0, 0), *batches, ("end of epoch", 1, values)),
        *(("epoch", 2, STEPS, N), *batches, ("end of epoch", 2, values)),
        ("end", 2 * N),
    ]


def test_hooks_change_no_bits():
    """Each step a call, or a block a call."""
    watched, alone = classifier(), classifier()
    fit_on_blocks(watched, callbacks=[Listening()])
    fit_on_blocks(alone)
    assert_same_model(watched, alone)


def test_callbacks_steer():
    """Early stopping with the best weights, a learning rate on a plateau, a limit of time, a divergence."""
    X, y, _ = data()
    stopping = fg.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    plateau = fg.ReduceLROnPlateau("val_loss", patience=1)
    model = classifier(fg.SGD(3.0))
    history = model.fit(blocks, epochs=40, validation_data=(X, y), callbacks=[stopping, plateau]).history
    assert len(history["loss"]) < 40
    assert model.optimizer.learning_rate < 3.0
    assert model.evaluate(X, y)["loss"] == min(history["val_loss"])

    limit, clock = fg.TimeLimit(1.0), iter(range(99))
    limit.clock = lambda: next(clock)
    model.fit(blocks, epochs=10**6, callbacks=[limit])
    assert model.n_steps_done < 10**4

    guard = fg.TerminateOnNaN()
    with pytest.warns(RuntimeWarning, match="diverged"):
        classifier(fg.SGD(3e38)).fit(blocks, epochs=2, callbacks=[guard])
    assert guard.error.epoch == 1


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("killed_at", [1, 2, 4])
def test_one_line_goes_on_wherever_it_was_killed(killed_at, standardize, tmp_path):
    """Checkpoints, counters, best weights and log are those of training in one go."""

    def fit(folder, killed=None):
        def kill(epoch):
            if epoch == killed:
                raise Killed

        model, saved = classifier(fg.SGD(1.0)), folder / "run.safetensors"
        callbacks = [
            fg.ModelCheckpoint(saved),
            fg.EarlyStopping(patience=5, restore_best_weights=True),
            fg.CSVLogger(folder / "log.csv"),
            fg.LambdaCallback(on_epoch_begin=kill),
        ]
        X, y, _ = data()
        options = dict(validation_data=(X[:20], y[:20]), standardize=standardize, metrics=["auc"])
        model.fit(blocks, epochs=8, batch_size=8, callbacks=callbacks, resume_from=saved, **options)
        return model

    (tmp_path / "whole").mkdir()
    whole = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path, killed_at + 1)
    again = fit(tmp_path)
    assert_same_model(again, whole)
    assert (tmp_path / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()
    # Once more: there is nothing left to do, and nothing is done.
    assert_same_model(fit(tmp_path), whole)


def test_lines_and_bars_are_those_of_arrays(capsys):
    """One place prints them."""
    rich = pytest.importorskip("rich.console")
    console = rich.Console(width=120, force_terminal=False)
    classifier().fit(blocks, epochs=2, verbose=1, callbacks=[fg.ProgressBar(console)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "rows/s" in line and "loss" in line]
    assert [line.split()[1] for line in lines if line.startswith("epoch ")][:2] == ["1/2", "2/2"]


def test_metrics_are_of_the_validation_data():
    X, y, _ = data()
    model = classifier()
    history = model.fit(blocks, epochs=2, validation_data=(X, y), metrics=["auc"]).history
    assert set(history) == {"loss", "val_loss", "val_accuracy", "val_auc"}
    assert history["val_auc"][-1] == model.evaluate(X, y, metrics=["auc"])["auc"]
    with pytest.raises(ValueError, match=r"metrics: got \['auc'\], expected validation_data beside them"):
        model.fit(blocks, metrics=["auc"])


# -------------------------------------------------------------------------------------------------- orders of parts
class Parts:
    """A source of two blocks that notes in which order it was asked for them."""

    def __init__(self):
        self.blocks, self.orders = list(blocks()), []

    def __iter__(self):
        return self.in_order(np.arange)

    def in_order(self, order):
        self.orders.append([int(k) for k in order(len(self.blocks))])
        for k in self.orders[-1]:
            yield self.blocks[k]


def test_parts_come_in_another_order_each_epoch():
    """Decided by the seed, so that it is the same in fits of one epoch; not where nothing is shuffled."""
    orders = []
    for fits, epochs in ((1, 6), (6, 1)):
        source, model = Parts(), classifier()
        for _ in range(fits):
            model.fit(source, epochs=epochs, standardize=False)
        orders.append(source.orders)
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders[0]}) > 2
    assert all(sorted(order) == [0, 1, 2] for order in orders[0])
    source = Parts()
    classifier().fit(source, epochs=2, shuffle=False)
    assert source.orders == [[0, 1, 2]] * 2


def test_an_attribute_that_is_no_method_gives_no_order():
    """A DataLoader of PyTorch's has one of that name, and yields lists."""

    class Loader(list):
        in_order = True

    same = Loader(list(block) for block in blocks())
    by_loader, by_list = classifier(), classifier()
    by_loader.fit(same, epochs=2)
    by_list.fit(list(blocks()), epochs=2)
    for a, b in zip(by_loader.get_weights(), by_list.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_go_on_from_any_batch(tmp_path):
    fit = lambda model, **given: model.fit(Parts(), **dict(epochs=3, batch_size=8) | given)  # noqa: E731
    for steps in (2, STEPS, STEPS + 5):
        assert_resumes(classifier, fit, steps, tmp_path / f"{steps}")


# ----------------------------------------------------------------------------------------------- standardised columns
def fit_on_arrays(model, **given):
    X, y, weights = data()
    model.fit(X, y, sample_weight=weights, **dict(epochs=3, batch_size=8, standardize=True) | given)


@each_backend
@pytest.mark.parametrize("steps", [1, 7, 8, 9, 20])
def test_arrays_go_on_in_the_midst_of_standardised_columns(steps, backend, tmp_path):
    assert_resumes(lambda: classifier(backend=backend), fit_on_arrays, steps, tmp_path / "model")


@pytest.mark.parametrize("fit", [fit_on_arrays, lambda model, **given: fit_on_blocks(model, standardize=True, **given)])
def test_callbacks_see_the_model_as_it_takes_X(fit, tmp_path):
    """Its weights, its answers, its gradients, its copies and what is saved; training is as if nobody looked."""
    X, y, _ = data()
    seen = []

    def look(epoch, logs):
        model.save(tmp_path / "model")
        weights, others = model.get_weights(), [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        twin = classifier(dtype="float64").build(N_COLUMNS)
        twin.set_weights(weights)
        for other in [twin, *others, fg.load(tmp_path / "model")]:
            assert_same_bits(other.get_weights(), weights)
            assert_same_bits(other.predict(X), model.predict(X))
            assert other.evaluate(X, y) == model.evaluate(X, y)
            loss, gradients = model.loss_and_gradients(X, y)
            other_loss, other_gradients = other.loss_and_gradients(X, y)
            assert loss == other_loss
            assert_same_bits(other_gradients, gradients)
        seen.append(weights)

    model, alone = classifier(dtype="float64"), classifier(dtype="float64")
    fit(model, callbacks=[fg.LambdaCallback(on_epoch_end=look)])
    fit(alone)
    assert_same_model(model, alone)
    assert len(seen) == 3
    assert_same_bits(model.get_weights(), seen[-1])


def test_weights_that_a_callback_sets_are_for_X_as_it_is():
    X, y, _ = data()
    model = classifier(fg.SGD(0.0), dtype="float64")
    weights = classifier(dtype="float64", seed=5).build(N_COLUMNS).get_weights()
    fit_on_arrays(model, callbacks=[fg.LambdaCallback(on_epoch_begin=lambda epoch: model.set_weights(weights))])
    # Unfolded and folded again: each weight is multiplied and divided once, each bias gets a sum and loses it.
    for found, given in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, given, rtol=1e-14, atol=1e-14)
    assert X.shape[1] == N_COLUMNS and len(y) == N


def test_what_is_off_is_said_of_the_columns_that_are_learnt_from():
    """Raw columns of size 5000 would be remarked on, and so would their gradients."""
    X, y, _ = data()
    X = 1000.0 * X
    diagnostics = fg.Diagnostics(X, y)
    classifier().fit(X, y, standardize=True, callbacks=[diagnostics])
    assert "large inputs" not in diagnostics.diagnoses[1].remarks
    assert "large inputs" in fg.diagnose(classifier().build(N_COLUMNS), X, y).remarks


def test_a_file_with_impossible_moments_is_refused(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(Killed):
        fit_on_arrays(classifier(), callbacks=[KilledAfter(6, path)])
    tensors, described = read_parts(path)

    def refused(fragment, tensors=tensors, **changes):
        spoiled = copy.deepcopy(described)
        spoiled["standardization"].update(changes)
        with pytest.raises(ValueError, match=fragment):
            load_parts(tensors, spoiled, path)

    mean, squares = "standardization.mean", "standardization.squares"
    refused("standardization: total: got 0.0, expected a number above 0", total=0.0)
    refused("standardization: n_rows: got -1, expected a whole number", n_rows=-1)
    refused("standardization: got extra, expected no keys but", extra=1)
    negative = {**tensors, squares: -np.ones(N_COLUMNS)}
    refused(r"standardization.squares: got -1.0, expected sums of squares", negative)
    refused(r"standardization.mean: got shape \(3,\)", {**tensors, mean: tensors[mean][:3].copy()})
    refused(r"standardization.mean\[0\]: got nan", {**tensors, mean: tensors[mean] * np.nan})
