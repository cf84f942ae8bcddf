"""Callbacks: what each does, when each is told, and that those who want nothing cost nothing."""

from __future__ import annotations

import csv
import io
import math
import struct
import warnings

import numpy as np
import pytest
from counterparts import BACKENDS, model_of
from tolerances import assert_same_bits

import fastgd as fg
from fastgd import training
from fastgd.callbacks import Callback, CallbackList, read_callbacks

each_backend = pytest.mark.parametrize("backend", BACKENDS)


def rows(n=12):
    """Rows and labels."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(n, 4)).astype("float32"), draw.integers(3, size=n).astype(np.intp)


def classifier(backend="numpy", **options):
    """A built 4-5-3 network."""
    return model_of([4, 5, 3], ["tanh", "linear"], "softmax_cross_entropy", backend=backend, **options)


class Counted:
    """A network that notes of each call of `train` how many steps it was asked for."""

    def __init__(self, network):
        self.network = network
        self.n_steps = []

    def __getattr__(self, name):
        return getattr(self.network, name)

    def train(self, *given, **named):
        self.n_steps.append(named["n_steps"])
        return self.network.train(*given, **named)


class Recorder(Callback):
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def on_train_begin(self):
        self.told.append("begin")

    def on_train_end(self):
        self.told.append("end")

    def on_epoch_begin(self, epoch):
        self.told.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch, logs):
        assert logs == self.model.history.last()
        self.told.append(f"epoch {epoch} done")

    def on_train_batch_begin(self, batch):
        self.told.append(f"batch {batch}")

    def on_train_batch_end(self, batch, logs):
        assert math.isfinite(logs["loss"])
        self.told.append(f"batch {batch} done")

    def close(self):
        self.told.append("close")


class Slow:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 1.0
        return self.seconds


# ----------------------------------------------------------------------------------------------- when each is told
def test_a_callback_is_told_of_everything_in_order():
    """Two epochs of two batches."""
    recorder = Recorder()
    classifier().fit(*rows(), epochs=2, batch_size=6, callbacks=[recorder])
    of_epoch = "epoch {0}, batch 0, batch 0 done, batch 1, batch 1 done, epoch {0} done"
    assert ", ".join(recorder.told) == f"begin, {of_epoch.format(1)}, {of_epoch.format(2)}, end, close"


def test_a_batchs_loss_is_the_mean_of_its_epoch_so_far():
    """So that the last one is the epoch's."""
    seen = []
    watch = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    history = classifier().fit(*rows(), epochs=2, batch_size=4, callbacks=[watch])
    assert [seen[2], seen[5]] == history.history["loss"]
    assert seen[0] != seen[1] != seen[2]


@pytest.mark.parametrize(
    ("callback", "calls"),
    [
        (None, [20]),
        (Callback(), [20]),
        (fg.TimeLimit(1e6), [20]),
        (fg.LambdaCallback(on_train_end=lambda: None), [20]),
        (fg.LambdaCallback(on_epoch_end=lambda epoch, logs: None), [2] * 10),
        (fg.LambdaCallback(on_train_batch_begin=lambda batch: None), [1] * 20),
    ],
    ids=["none", "plain", "clock", "end", "epochs", "batches"],
)
def test_calls_are_cut_only_for_those_who_want_it(callback, calls):
    """Ten epochs of two batches are one call, unless somebody has to have a turn in between."""
    model = classifier()
    counted = model._network = Counted(model._network)
    model.fit(*rows(), epochs=10, batch_size=6, callbacks=None if callback is None else [callback])
    assert counted.n_steps == calls


@each_backend
def test_callbacks_that_only_watch_change_no_bit(backend):
    """Of weights and history."""
    X, y = rows()
    plain, watched = classifier(backend), classifier(backend)
    history = plain.fit(X, y, epochs=5, batch_size=5)
    again = watched.fit(X, y, epochs=5, batch_size=5, callbacks=[Recorder(), fg.TimeLimit(1e6)])
    assert_same_bits(plain.get_weights(), watched.get_weights())
    assert again.history == history.history


def test_an_error_in_a_callback_ends_training_and_closes_all():
    """With the model as of its last step; nobody is told of a proper end."""
    recorder = Recorder()

    def fail(epoch, logs):
        if epoch == 2:
            raise RuntimeError("full")

    model = classifier()
    with pytest.raises(RuntimeError, match="full"):
        model.fit(*rows(), epochs=5, batch_size=6, callbacks=[recorder, fg.LambdaCallback(on_epoch_end=fail)])
    assert recorder.told[-1] == "close" and "end" not in recorder.told
    assert (model.n_steps_done, model.history.epochs) == (4, [1, 2])


def test_a_callback_may_stop_training_within_an_epoch():
    """A further fit finishes that epoch first; who asked to stop before does not stop it."""
    model = classifier()

    def stop(batch, logs):
        model.stop_training = model.n_steps_done == 5

    model.fit(*rows(), epochs=9, batch_size=4, callbacks=[fg.LambdaCallback(on_train_batch_end=stop)])
    assert (model.n_steps_done, model.history.epochs) == (5, [1])
    whole = classifier()
    whole.fit(*rows(), epochs=3, batch_size=4)
    model.fit(*rows(), epochs=2, batch_size=4)
    assert_same_bits(model.get_weights(), whole.get_weights())


def test_progress_is_told_while_it_is_made():
    """Rows count once, also those of the smaller last batch."""
    seen = []

    def look(batch, logs):
        progress = watch.progress
        seen.append((progress.epochs_done, progress.step, progress.rows_done))
        assert progress.seconds > 0

    watch = fg.LambdaCallback(on_train_batch_end=look)
    classifier().fit(*rows(), epochs=2, batch_size=5, callbacks=[watch])
    assert [done for *_, done in seen] == [5, 10, 12, 17, 22, 24]
    assert [step for _, step, _ in seen] == [1, 2, 0, 1, 2, 0]


# ------------------------------------------------------------------------------------------------- early stopping
def stopped_at(values, **options):
    """Epochs at which EarlyStopping stops and was best, for a value's course."""
    stopping, model = fg.EarlyStopping(**{"monitor": "value", "mode": "min"} | options), classifier()
    progress = training.Progress(len(values), 0, 1, 1)
    CallbackList([stopping], model).begin(progress)
    for epoch, value in enumerate(values, 1):
        progress.epochs_done = epoch
        stopping.on_epoch_end(epoch, {"value": value})
        if model.stop_training:
            break
    return stopping.stopped_epoch, stopping.best_epoch


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, (5, 3)),
        ([3, 2, 2, 1, 1, 1], {"patience": 2}, (6, 4)),
        ([3, 2, 3, 2, 3, 1], {"patience": 9}, (0, 6)),
        ([3, 2, 1, 2, 3], {"patience": 1}, (4, 3)),
        ([3, 2, 1, 2, 3], {"patience": 0}, (4, 3)),
        ([1, 2, 3, 2, 1, 0], {"patience": 2, "mode": "max"}, (5, 3)),
        ([1.0, 0.9, 0.8, 0.7], {"patience": 2, "min_delta": 0.15}, (0, 3)),
        ([1.0, 0.9, 0.81, 0.8, 0.79], {"patience": 2, "min_delta": 0.15}, (5, 3)),
        ([3, math.nan, math.nan, 2], {"patience": 2}, (3, 1)),
        ([5, 4, 3, 2], {"patience": 2, "baseline": 1}, (0, 4)),
        ([5, 4, 4, 2], {"patience": 2, "baseline": 1}, (3, 2)),
        ([5, 0.5, 2, 2, 2], {"patience": 2, "baseline": 1}, (4, 2)),
        ([1, 5, 4, 4, 4], {"patience": 2, "start_from_epoch": 1}, (5, 3)),
    ],
)
def test_early_stopping_counts_epochs_without_a_better_value(values, options, expected):
    """By hand; the rules are Keras's."""
    assert stopped_at(values, **options) == expected


def test_the_best_weights_come_back():
    """Those after the best epoch, though training went on for `patience` more."""
    X, y = rows()
    kept = {}
    model = classifier(optimizer=fg.SGD(2.0))
    keep = fg.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.update({epoch: model.get_weights()}))
    stopping = fg.EarlyStopping(patience=3, restore_best_weights=True)
    held_out = (rows(30)[0][12:], rows(30)[1][12:])
    history = model.fit(X, y, epochs=200, validation_data=held_out, callbacks=[stopping, keep])
    course = history.history["val_loss"]
    assert stopping.best_epoch == 1 + int(np.argmin(course)) == stopping.stopped_epoch - 3 < len(kept)
    assert_same_bits(model.get_weights(), kept[stopping.best_epoch])
    assert not np.array_equal(model.get_weights()[0], kept[len(kept)][0])


def test_a_callback_used_again_begins_anew():
    """What it counted in one fit is not carried into the next."""
    stopping = fg.EarlyStopping(monitor="loss", patience=1, mode="max")
    for _ in range(2):
        assert len(classifier().fit(*rows(), epochs=9, callbacks=[stopping]).epochs) == 2


@pytest.mark.parametrize(
    ("name", "rising"),
    [
        ("val_loss", False),
        ("mean_absolute_error", False),
        ("val_accuracy", True),
        ("auc", True),
        ("val_r2", True),
        ("val_neg_log_loss", True),
    ],
)
def test_what_is_better_goes_by_the_name(name, rising):
    """Losses and errors should fall, scores grow."""
    assert fg.EarlyStopping(monitor=name).rising == rising
    assert fg.EarlyStopping(monitor=name, mode="max").rising
    assert not fg.EarlyStopping(monitor=name, mode="min").rising


# ----------------------------------------------------------------------------------------------------- the rate
def rates(values, rate=1.0, **options):
    """The learning rate after each epoch of a value's course."""
    plateau = fg.ReduceLROnPlateau(**{"monitor": "value", "mode": "min", "factor": 0.5} | options)
    model = classifier(optimizer=fg.SGD(rate))
    CallbackList([plateau], model).begin(training.Progress(len(values), 0, 1, 1))
    course = []
    for epoch, value in enumerate(values, 1):
        plateau.on_epoch_end(epoch, {"value": value})
        course.append(model.optimizer.learning_rate)
    return course


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([1, 1, 1, 1, 1], {"patience": 2}, [1, 1, 0.5, 0.5, 0.25]),
        ([3, 2, 1, 1, 1], {"patience": 2}, [1, 1, 1, 1, 0.5]),
        ([1, 1, 1, 1, 1, 1, 1], {"patience": 1, "cooldown": 2}, [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        ([1, 1, 1, 1], {"patience": 1, "min_lr": 0.3}, [1, 0.5, 0.3, 0.3]),
        ([1, 2, 3, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.5]),
        ([1, 0.95, 0.9, 0.9], {"patience": 2, "min_delta": 0.2}, [1, 1, 0.5, 0.5]),
    ],
)
def test_the_rate_is_reduced_on_a_plateau(values, options, expected):
    """By hand; the rules are Keras's."""
    assert rates(values, **options) == expected


def test_a_reduced_rate_holds_from_the_next_step_on():
    """As if it had been set by hand between two fits."""
    X, y = rows()
    steered, by_hand = (classifier(optimizer=fg.SGD(0.5)) for _ in range(2))
    steered.fit(X, y, epochs=4, callbacks=[fg.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max")])
    for rate, epochs in ((0.5, 2), (0.25, 1), (0.125, 1)):
        by_hand.optimizer.learning_rate = rate
        by_hand.fit(X, y, epochs=epochs)
    assert_same_bits(steered.get_weights(), by_hand.get_weights())


def test_a_schedule_is_not_reduced():
    """It says already what the rate will be."""
    model = classifier(optimizer=fg.SGD(fg.schedules.Linear(1.0, 0.0, steps=9)))
    with pytest.raises(ValueError, match="ReduceLROnPlateau: learning rate: got Linear.+, expected a number; "):
        model.fit(*rows(), callbacks=[fg.ReduceLROnPlateau("loss")])


# ---------------------------------------------------------------------------------------------------------- stopping
def test_time_is_limited_between_calls():
    """By a clock that goes a second for each look."""
    limit, model = fg.TimeLimit(2.5), classifier()
    limit.clock = Slow()
    model.fit(*rows(), epochs=99, callbacks=[limit, fg.LambdaCallback(on_epoch_end=lambda epoch, logs: None)])
    assert len(model.history.epochs) == 3


@each_backend
def test_a_divergence_may_end_training_quietly(backend):
    """With a warning that says what the error would have said; the epochs before are in the history."""
    X = np.array([[1.0], [2.0]])
    model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(100.0), backend=backend)
    guard = fg.TerminateOnNaN()
    with pytest.warns(RuntimeWarning, match="training diverged at epoch .+, learning rate 100"):
        history = model.fit(X, X, epochs=100, callbacks=[guard])
    assert guard.error.epoch == len(history.epochs) + 1 < 100
    assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()
    with pytest.raises(fg.DivergenceError):
        model.fit(X, X, epochs=100)


# ----------------------------------------------------------------------------------------------------------- showing
def test_a_bar_shows_where_training_is():
    """Epochs, values and speed, drawn to any console of rich's."""
    rich = pytest.importorskip("rich.console")
    console = rich.Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    X, y = rows()
    history = classifier().fit(X, y, epochs=7, validation_data=(X, y), callbacks=[fg.ProgressBar(console)])
    text = console.file.getvalue()
    for part in ("epoch 0/7", "epoch 7/7", f"loss {history.history['loss'][-1]:.5g}", "val_accuracy", "rows/s"):
        assert part in text


def test_a_bar_takes_a_hundredth_of_the_time():
    """By a clock that goes a second for each look: a drawing takes one, so the next comes a hundred later."""
    rich = pytest.importorskip("rich.console")
    bar = fg.ProgressBar(rich.Console(file=io.StringIO()))
    bar.clock = Slow()
    drawn = []
    original, bar._draw = bar._draw, lambda: (drawn.append(1), original())
    cut = fg.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    classifier().fit(*rows(), epochs=250, callbacks=[bar, cut])
    assert len(drawn) == 4   # At the first, after 103 and 206 looks, and at the end.


def test_lines_and_callbacks_go_together(capsys):
    """verbose=1 is a callback as well."""
    classifier().fit(*rows(), epochs=2, verbose=1, callbacks=[Recorder()])
    assert capsys.readouterr().out.count("rows/s") == 2


# ----------------------------------------------------------------------------------------------------------- logging
def read_csv(path):
    """Rows of numbers by the names of their columns."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_epochs_are_logged_with_all_their_digits(tmp_path):
    """One line each, whole after each epoch; a second fit begins anew or goes on."""
    X, y = rows()
    model, path = classifier(), tmp_path / "log.csv"
    seen = []
    look = fg.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(read_csv(path))))
    history = model.fit(X, y, epochs=3, validation_data=(X, y), callbacks=[fg.CSVLogger(path), look])
    expected = [
        {"epoch": k, **{name: values[k - 1] for name, values in history.history.items()}} for k in history.epochs
    ]
    assert read_csv(path) == expected
    assert seen == [1, 2, 3]
    model.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[fg.CSVLogger(path, append=True)])
    assert [row["epoch"] for row in read_csv(path)] == [1, 2, 3, 4, 5]
    model.fit(X, y, epochs=1, callbacks=[fg.CSVLogger(path, separator=";")])
    assert path.read_text().startswith("epoch;loss\n6;")


def test_tensorboard_reads_what_is_written(tmp_path):
    """By its own reader."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    X, y = rows()
    model = classifier(optimizer=fg.SGD(fg.schedules.Linear(1.0, 0.0, steps=4)))
    history = model.fit(X, y, epochs=2, batch_size=6, validation_data=(X, y), callbacks=[fg.TensorBoard(tmp_path)])
    [path] = tmp_path.iterdir()
    found = {}
    for event in loader.LegacyEventFileLoader(str(path)).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    assert set(found) == {*history.history, "learning_rate"}
    for name, values in history.history.items():
        as_single = [struct.unpack("f", struct.pack("f", value))[0] for value in values]
        assert found[name] == dict(zip((1, 2), as_single, strict=True))
    assert found["learning_rate"] == {1: 0.75, 2: 0.25}


# ------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: fg.EarlyStopping(patience=-1), "EarlyStopping: patience: got -1, expected a whole number"),
        (lambda: fg.EarlyStopping(patience=1.5), "EarlyStopping: patience: got 1.5"),
        (lambda: fg.EarlyStopping(mode="least"), "EarlyStopping: mode: got 'least', expected 'auto', 'min' or 'max'"),
        (lambda: fg.EarlyStopping("surprise"), "mode for monitor='surprise': got 'auto', expected 'min' or 'max'"),
        (lambda: fg.EarlyStopping(min_delta=math.nan), "EarlyStopping: min_delta: got nan"),
        (lambda: fg.EarlyStopping(monitor=3), "EarlyStopping: monitor: got 3"),
        (lambda: fg.ReduceLROnPlateau(factor=1.5), "ReduceLROnPlateau: factor: got 1.5, expected a number above 0"),
        (lambda: fg.ReduceLROnPlateau(min_lr=-1.0), "ReduceLROnPlateau: min_lr: got -1.0"),
        (lambda: fg.TimeLimit(0), "TimeLimit: seconds: got 0, expected a number above 0"),
        (lambda: fg.TimeLimit("60"), "TimeLimit: seconds: got '60'"),
        (lambda: fg.ModelCheckpoint("m", every_epochs=None), "ModelCheckpoint: got neither epochs nor seconds"),
        (lambda: fg.ModelCheckpoint("m{epoch}", every_seconds=5), "ModelCheckpoint: got every_seconds with"),
        (lambda: fg.ModelCheckpoint("m", every_epochs=0), "ModelCheckpoint: every_epochs: got 0"),
        (lambda: fg.LambdaCallback(on_epoch=print), "LambdaCallback: got on_epoch=.+, expected functions by the names"),
        (lambda: fg.LambdaCallback(close=3), "LambdaCallback: got close=3"),
        (lambda: read_callbacks(fg.TimeLimit(1)), "callbacks: got .+, expected a list of callbacks; "),
        (lambda: read_callbacks([print]), r"callbacks\[0\]: got .+, expected a callback; "),
        (lambda: read_callbacks([fg.TimeLimit]), r"callbacks\[0\]: got the class TimeLimit, expected a callback"),
    ],
)
def test_bad_input_is_refused(make, fragment):
    """What, where, what was expected, what to try."""
    with pytest.raises((ValueError, TypeError), match=fragment):
        make()


@pytest.mark.parametrize("callback", [fg.EarlyStopping("val_los", mode="min"), fg.ReduceLROnPlateau("val_loss")])
def test_a_name_that_is_not_in_the_history_is_refused(callback):
    """With the names that are."""
    with pytest.raises(ValueError, match="monitor: got 'val_loss?', expected one of 'loss'; .+validation_data"):
        classifier().fit(*rows(), callbacks=[callback])


def test_refused_callbacks_leave_the_model_as_it_was():
    """Before anything is built."""
    model = fg.Sequential([fg.Dense(3)], loss="softmax_cross_entropy", backend="numpy")
    with pytest.raises(TypeError, match="callbacks: got"):
        model.fit(*rows(), callbacks=fg.TimeLimit(1))
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()


def test_without_its_library_a_callback_says_what_to_type(monkeypatch):
    """Not before it is asked for."""
    for library, make, extra in (
        ("rich", fg.ProgressBar, "progress"),
        ("tensorboard", fg.TensorBoard, "tensorboard"),
    ):
        with monkeypatch.context() as without, warnings.catch_warnings():
            without.setitem(__import__("sys").modules, library, None)
            for name in [name for name in __import__("sys").modules if name.startswith(f"{library}.")]:
                without.delitem(__import__("sys").modules, name)
            with pytest.raises(ImportError, match=rf'needs {library}.+pip install "fastgd\[{extra}\]"'):
                make()
