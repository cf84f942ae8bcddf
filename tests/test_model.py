"""What a model is besides its training: its quick entrances, its copies, how it shows itself, how it paces its work."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from counterparts import BACKENDS, DTYPES, model_of
from tolerances import assert_same_bits

import fastgd as fg
from fastgd import model as model_module
from fastgd import threads, training
from fastgd.inputs import read_weights

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def classifier(backend="numpy", loss="softmax_cross_entropy", **options):
    """A built 4-5-3 network."""
    return model_of([4, 5, 3], ["tanh", "linear"], loss, backend=backend, **options)


def rows(dtype="float32", n=12):
    """Rows and labels that take the quick entrance."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(n, 4)).astype(dtype), draw.integers(3, size=n).astype(np.intp)


class Counted:
    """A network that counts the calls of `train`, and how many steps each was asked for."""

    def __init__(self, network):
        self.network = network
        self.n_steps = []

    def __getattr__(self, name):
        return getattr(self.network, name)

    def train(self, *given, **named):
        self.n_steps.append(named["n_steps"])
        return self.network.train(*given, **named)


# ------------------------------------------------------------------------------------------- the quick entrances
@each_backend
@each_dtype
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error", "binary_cross_entropy"])
def test_the_quick_entrance_leads_to_the_same_place(loss, dtype, backend):
    """Arrays that need no conversion, and lists that do."""
    X, y = rows(dtype)
    y = y if loss == "softmax_cross_entropy" else np.eye(3, dtype=dtype)[y]
    quick, slow = (classifier(backend, loss, dtype=dtype) for _ in range(2))
    for _ in range(3):
        assert quick.train_on_batch(X, y) == slow.train_on_batch(X.tolist(), y.tolist())
    assert_same_bits(quick.get_weights(), slow.get_weights())
    assert_same_bits(quick.predict(X), quick.predict(X.tolist()))


@each_backend
@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda X, y: (X * np.float32(np.nan), y), "X[0, 0]"),
        (lambda X, y: (np.where(np.arange(12)[:, None] == 7, np.float32(np.inf), X), y), "X[7, 0]"),
        (lambda X, y: (X, y - 1), "-1"),
        (lambda X, y: (X, y + 1), "3"),
        (lambda X, y: (X, y[:-1]), "11 rows"),
        (lambda X, y: (X[:, :3].copy(), y), "3 columns"),
        (lambda X, y: (X[:0], y[:0]), "(0, 4)"),
    ],
)
def test_the_quick_entrance_has_a_door_too(spoil, fragment, backend):
    """Contiguous arrays of the right dtype with the wrong content."""
    model, (X, y) = classifier(backend), spoil(*rows())
    before = model.get_weights()
    with pytest.raises(ValueError, match="(?s)got .+, expected .+; ") as caught:
        model.train_on_batch(X, y)
    assert fragment in str(caught.value)
    assert_same_bits(model.get_weights(), before)
    assert model.n_steps_done == 0


@each_backend
def test_the_quick_entrance_checks_real_targets(backend):
    """NaN, a wrong length, a probability outside its range."""
    X, y = rows()[0], np.zeros((12, 3), np.float32)
    for loss, targets in (
        ("mean_squared_error", y * np.float32(np.nan)),
        ("mean_squared_error", y[:-1]),
        ("binary_cross_entropy", y + np.float32(1.5)),
    ):
        with pytest.raises(ValueError, match="(?s)^y.+got .+, expected .+; "):
            classifier(backend, loss).train_on_batch(X, targets)


@each_backend
def test_predictions_go_to_any_writeable_array(backend):
    """Strided too, and what lies between stays."""
    model, X = classifier(backend), rows()[0]
    wide = np.full((24, 6), -7.0, np.float32)
    out = wide[::2, ::2]
    assert model.predict(X, out=out) is out
    assert_same_bits(out.copy(), model.predict(X))
    assert (wide[1::2] == -7.0).all()
    assert (wide[:, 1::2] == -7.0).all()
    with pytest.raises(ValueError, match="out: got an array that overlaps itself"):
        model.predict(X, out=np.lib.stride_tricks.as_strided(np.empty(3, np.float32), (12, 3), (0, 4)))


@each_backend
def test_many_rows_are_passed_on_in_pieces(backend, monkeypatch):
    """With the same results; whole numbers, so that nothing is rounded."""
    draw = np.random.default_rng(1)
    X, y = draw.integers(-8, 8, size=(50, 4)), draw.integers(-8, 8, size=(50, 2))
    model = model_of([4, 2], ["linear"], "half_squared_error", backend=backend, dtype="float64")
    model.set_weights([draw.integers(-2, 3, size=(4, 2)), [1, -1]])
    weight = draw.integers(1, 4, size=50)
    whole = model.predict(X), model.evaluate(X, y, weight)
    monkeypatch.setattr(model_module, "FLOPS_PER_CALL", 7 * 16.0)
    assert_same_bits(model.predict(X), whole[0])
    assert model.evaluate(X, y, weight) == whole[1]


# ----------------------------------------------------------------------------------------------------- optimizer
@each_backend
def test_a_learning_rate_may_be_changed_between_steps(backend):
    """From the next step on, and with the state there is."""
    X, y = rows()
    model, twin = (classifier(backend, optimizer=fg.Adam(0.1)) for _ in range(2))
    for m in (model, twin):
        m.train_on_batch(X, y)
    before = model.get_weights()
    model.optimizer.learning_rate = 0.0
    model.train_on_batch(X, y)
    assert_same_bits(model.get_weights(), before)
    twin.optimizer = fg.SGD(0.0)
    twin.train_on_batch(X, y)
    assert_same_bits(twin.get_weights(), before)


@each_backend
def test_another_optimizer_starts_anew(backend):
    """Weights stay, its state and the number of its steps begin at zero."""
    X, y = rows()
    model = classifier(backend, optimizer=fg.Adam(0.1))
    for _ in range(5):
        model.train_on_batch(X, y)
    fresh = classifier(backend, optimizer=fg.Adam(0.1))
    fresh.set_weights(model.get_weights())
    model.optimizer = fg.Adam(0.1)
    assert model.train_on_batch(X, y) == fresh.train_on_batch(X, y)
    assert_same_bits(model.get_weights(), fresh.get_weights())
    model.fit(X, y, epochs=2, batch_size=5, shuffle=False)
    fresh.fit(X, y, epochs=2, batch_size=5, shuffle=False)
    assert_same_bits(model.get_weights(), fresh.get_weights())
    assert (model.n_steps_done, fresh.n_steps_done) == (12, 7)


# -------------------------------------------------------------------------------------------- copies and pickles
@each_backend
@each_dtype
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_trains_on_as_the_original_does(copied, dtype, backend):
    """Weights, state of the optimizer, counters, settings; and neither knows of the other."""
    X, y = rows()
    model = classifier(backend, optimizer=fg.Adam(0.05), penalty=fg.L2(0.01), dtype=dtype, seed=5, n_threads=1)
    model.fit(X, y, epochs=3, batch_size=5)
    twin = copied(model)
    assert repr(twin) == repr(model)
    assert twin.history.history == model.history.history
    assert (twin.n_epochs_done, twin.n_steps_done) == (3, 9)
    before = twin.get_weights()
    model.fit(X, y, epochs=2, batch_size=5)
    assert_same_bits(twin.get_weights(), before)
    twin.fit(X, y, epochs=2, batch_size=5)
    assert_same_bits(twin.get_weights(), model.get_weights())


def test_a_model_without_weights_may_be_copied():
    """It stays without."""
    model = pickle.loads(pickle.dumps(fg.Sequential([fg.Dense(2)], backend="numpy")))
    with pytest.raises(fg.NotBuiltError):
        model.get_weights()


def test_a_divergence_survives_pickling():
    """As it has to, to come out of another process."""
    error = fg.DivergenceError("training diverged", 2, 7, 0.5)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.epoch, again.step, again.learning_rate) == ("training diverged", 2, 7, 0.5)


@each_backend
def test_a_single_batch_may_diverge(backend):
    """There is no epoch then."""
    model = model_of([1, 1], ["linear"], "mean_squared_error", optimizer=fg.SGD(1.0), backend=backend)
    with pytest.raises(fg.DivergenceError, match="step 1, learning rate 1: .+ Try") as caught:
        model.train_on_batch([[1e30]], [1.0])
    assert (caught.value.epoch, caught.value.step) == (None, 1)
    assert np.isfinite(model.predict([[1.0]])).all()


# ------------------------------------------------------------------------------------------------ weights, building
def test_building_again_starts_afresh():
    """With another number of columns too."""
    X, y = rows()
    model = classifier("numpy", optimizer=fg.Adam(0.1))
    first = model.get_weights()
    model.fit(X, y, epochs=2)
    assert model.build(4) is model
    assert_same_bits(model.get_weights(), first)
    assert (model.n_steps_done, model.n_epochs_done, model.history.epochs) == (0, 0, [])
    assert model.build(2).n_inputs == 2
    assert model.n_parameters == 2 * 5 + 5 + 5 * 3 + 3


def test_a_seed_that_is_drawn_can_be_asked_for():
    """And gives the same model again."""
    model = fg.Sequential([fg.Dense(3)], seed=None, backend="numpy").build(4)
    again = fg.Sequential([fg.Dense(3)], seed=model.seed, backend="numpy").build(4)
    assert_same_bits(again.get_weights(), model.get_weights())
    assert fg.Sequential([fg.Dense(3)], seed=None, backend="numpy").seed != model.seed


def test_initial_weights_are_as_declared():
    """Glorot's limit, reached nearly; every layer its own draws; zeros where asked for, and for biases."""
    layers = [fg.Dense(200), fg.Dense(100), fg.Dense(100), fg.Dense(2, initializer="zeros")]
    W1, b1, W2, _, W3, _, W4, _ = fg.Sequential(layers, backend="numpy").build(100).get_weights()
    for W in (W1, W2):
        limit = np.sqrt(6 / 300)
        assert 0.99 * limit < abs(W).max() <= np.float32(limit)
        assert abs(W.mean()) < 6 * limit / np.sqrt(3 * W.size)
    assert not np.array_equal(W1.ravel(), W2.ravel())
    assert W3.shape == (100, 100)
    assert not W4.any()
    assert not b1.any()


def test_a_layers_own_penalty_replaces_the_models():
    """Also by none at all."""
    layers = [fg.Dense(2), fg.Dense(2, penalty=fg.L1(1.0)), fg.Dense(2, penalty=fg.L2(0.0))]
    model = fg.Sequential(layers, loss="mean_squared_error", penalty=fg.L2(2.0), dtype="float64", backend="numpy")
    model.build(2)
    ones, zero = np.ones((2, 2)), np.zeros(2)
    X, y = np.zeros((1, 2)), np.zeros((1, 2))
    model.set_weights([ones, zero, -ones, zero, 3 * ones, zero])
    assert model.evaluate(X, y)["loss"] == 2.0 / 2 * 4 + 4
    loss, gradients = model.loss_and_gradients(X, y)
    assert loss == 8.0
    assert [g[0, 0] for g in gradients[::2]] == [2.0, -1.0, 0.0]


# ------------------------------------------------------------------------------------------------------- weighting
@each_backend
def test_balanced_classes_weigh_the_same(backend):
    """n / (classes that occur * rows of the class), for labels, one-hot rows and a single probability."""
    labels = np.array([0, 0, 0, 2, 2, 0])
    loss = fg.losses.softmax_cross_entropy
    expected = np.where(labels == 0, 6 / (2 * 4), 6 / (2 * 2))
    for targets in (labels, np.eye(3)[labels]):
        assert_same_bits(read_weights(None, "balanced", targets, loss, 3), expected)
    binary = (labels == 2).astype(float)[:, None]
    assert_same_bits(read_weights(None, "balanced", binary, fg.losses.binary_cross_entropy, 1), expected)
    X = rows(n=6)[0]
    model = model_of([4, 1], ["linear"], "binary_cross_entropy", backend=backend)
    twin = model_of([4, 1], ["linear"], "binary_cross_entropy", backend=backend)
    model.fit(X, binary[:, 0], epochs=2, class_weight={0: 1.0, 1: 3.0})
    twin.fit(X, binary, epochs=2, sample_weight=np.where(labels == 2, 3.0, 1.0))
    assert_same_bits(model.get_weights(), twin.get_weights())


def test_every_class_that_occurs_needs_a_weight():
    """The one that has none is named, with its first row."""
    X, _ = rows(n=4)
    with pytest.raises(ValueError, match=r"class_weight: got no weight for class 2, which is y\[1\], expected .+; "):
        classifier().fit(X, [0, 2, 1, 2], class_weight={0: 1.0, 1: 1.0})
    with pytest.raises(ValueError, match="class_weight: got targets of softmax_cross_entropy without classes"):
        classifier().fit(X, np.full((4, 3), 1 / 3), class_weight="balanced")


# ------------------------------------------------------------------------------------------------ pace and epochs
@each_backend
def test_a_thousand_tiny_epochs_are_few_calls(backend):
    """Python has nothing to do between them; with a line for each it has."""
    X, y = rows()
    model = classifier(backend)
    model._network = Counted(model._network)
    history = model.fit(X, y, epochs=1000, batch_size=None)
    assert model._network.n_steps == [1000]
    assert history.epochs == list(range(1, 1001))
    assert len(history.history["loss"]) == 1000
    model._network.n_steps.clear()
    model.fit(X, y, epochs=3, batch_size=None, validation_data=(X, y))
    assert model._network.n_steps == [1, 1, 1]


def test_calls_become_as_long_as_they_should():
    """From the work at first, then from what was measured; never none, never a table of scalars without bounds."""
    pace = training.Pace(1e3)
    assert pace.steps() == training.FIRST_STEPS
    pace.measured(1000, 0.01)
    assert pace.steps() == 10_000
    pace.measured(1000, 1e-6)
    assert pace.steps() == training.MOST_STEPS
    pace.measured(10, 50.0)
    assert pace.steps() == 1
    assert training.Pace(1e12).steps() == 1


@each_backend
def test_calls_that_end_anywhere_give_the_same_training(backend, monkeypatch):
    """In the middle of an epoch, at its end, after several; none goes beyond the epoch in which it begins amid."""
    X, y = rows()
    whole, cut = (classifier(backend, optimizer=fg.Adam(0.1)) for _ in range(2))
    expected = whole.fit(X, y, epochs=5, batch_size=5)
    lengths = iter([1, 2, 7, 1, 9, 2, 2])
    monkeypatch.setattr(training.Pace, "steps", lambda pace: next(lengths))
    history = cut.fit(X, y, epochs=5, batch_size=5)
    assert next(lengths, None) is None
    assert_same_bits(cut.get_weights(), whole.get_weights())
    assert history.epochs == expected.epochs == [1, 2, 3, 4, 5]
    assert history.history["loss"] == expected.history["loss"]


@each_backend
def test_an_interrupted_epoch_is_begun_anew_with_other_batches(backend, monkeypatch):
    """It is finished only by the rows and batches it was begun with."""
    X, y = rows()
    model = classifier(backend)
    monkeypatch.setattr(training.Pace, "steps", lambda pace: 1)

    def interrupt(interrupt):
        if model.n_steps_done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.DeferredInterrupt, "deliver", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=5, batch_size=5)
    assert (model.n_epochs_done, model.n_steps_done, model.history.epochs) == (1, 4, [1])
    monkeypatch.undo()
    twin = pickle.loads(pickle.dumps(model))
    model.fit(X, y, epochs=1, batch_size=5)
    assert (model.n_epochs_done, model.n_steps_done) == (2, 6)
    twin.fit(X, y, epochs=1, batch_size=4)
    assert (twin.n_epochs_done, twin.n_steps_done) == (2, 7)


@pytest.mark.parametrize(("n", "steps"), [(12, 1), (32, 1), (33, 2)])
def test_batches_are_of_32_unless_said_otherwise(n, steps):
    """Or of all rows, where there are fewer."""
    X, y = rows(n=n)
    model = classifier()
    model.fit(X, y)
    assert model.n_steps_done == steps


# --------------------------------------------------------------------------------------------------------- threads
def test_threads_come_from_the_environment(monkeypatch):
    """Our own variable first; OpenMP's only takes away."""
    for name in ("FASTGD_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    processors = threads.available_threads()
    assert processors >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1,2")
    assert threads.available_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", str(processors + 5))
    assert threads.available_threads() == processors
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert threads.available_threads() == processors
    monkeypatch.setenv("FASTGD_NUM_THREADS", "7")
    assert threads.available_threads() == 7
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("FASTGD_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="FASTGD_NUM_THREADS: got .+, expected .+; "):
            threads.available_threads()


def test_threads_are_as_many_as_the_work_is_worth(monkeypatch):
    """Of the step and of the call; what is asked for is a limit."""
    monkeypatch.setenv("FASTGD_NUM_THREADS", "4")
    step, call = threads.FLOPS_OF_STEP, threads.FLOPS_OF_CALL
    assert [threads.choose(None, k * step, 1e3 * call) for k in (0.0, 0.9, 1.0, 2.5, 100.0)] == [1, 1, 2, 3, 4]
    assert [threads.choose(None, 1e3 * step, k * call) for k in (0.0, 0.9, 1.0, 2.5, 100.0)] == [1, 1, 2, 3, 4]
    assert threads.choose(9, 0.0, 0.0) == 1
    assert threads.choose(9, 100 * step, 100 * call) == 9
    assert threads.choose(1, 100 * step, 100 * call) == 1


def test_fits_at_the_same_time_share_the_processors(monkeypatch):
    """As long as they last, unless a number is asked for; whoever does not fit counts as one more."""
    monkeypatch.setenv("FASTGD_NUM_THREADS", "6")
    much = 1e6 * threads.FLOPS_OF_CALL
    with ThreadPoolExecutor(3) as pool:
        others = [threads.fitting() for _ in range(2)]
        hold, held = threading.Event(), threading.Barrier(3)

        def fit(other):
            with other, threads.fitting():
                held.wait(60)
                hold.wait(60)
                return threads.choose(None, much, much), threads.choose(5, much, much)

        jobs = [pool.submit(fit, other) for other in others]
        held.wait(60)
        assert threads.choose(None, much, much) == 2
        with threads.fitting():
            assert threads.choose(None, much, much) == 2
            hold.set()
            assert {job.result()[1] for job in jobs} == {5}
            assert {job.result()[0] for job in jobs} <= {2, 3}
            assert threads.choose(None, much, much) == 6
    with pytest.raises(KeyError), threads.fitting():
        raise KeyError
    assert threads.choose(None, much, much) == 6


class Sharers(fg.callbacks.Callback):
    """Who fits while a fit goes on."""

    def on_train_batch_end(self, batch, logs):
        self.sharers = set(threads._fitting)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_fit_says_that_it_is_one(optimizer, blocks):
    """Of any kind, and no longer when it is over."""
    if blocks and optimizer == "lbfgs":
        pytest.skip("needs all rows at once")
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
    X, y = rows()
    seen = Sharers()
    classifier(optimizer=optimizer).fit(*(([(X, y)],) if blocks else (X, y)), epochs=2, callbacks=[seen])
    assert seen.sharers == {threading.get_ident()}
    assert not threads._fitting


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_shares_with_nobody():
    """Threads of the parent's do not live there."""
    with threads.fitting():
        child = os.fork()
        if not child:
            os._exit(len(threads._fitting))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(threads._fitting) == 1


# ---------------------------------------------------------------------------------------------------------- showing
def test_a_model_is_shown_as_it_was_written():
    """Only what differs from the defaults."""
    text = (
        "Sequential([Dense(5, activation='tanh', penalty=L1(0.5)), Dense(3, initializer='zeros')], "
        "loss='mean_squared_error', optimizer=SGD(learning_rate=0.5, momentum=0.0, nesterov=False), "
        "penalty=ElasticNet(l1=0.1, l2=0.2), dtype='float64', seed=3, n_threads=2, backend='numpy')"
    )
    assert repr(eval(text, {name: getattr(fg, name) for name in fg.__all__})) == text
    steep = fg.activations.leaky_relu(slope=0.25)
    assert repr(fg.Dense(2, activation=steep)) == "Dense(2, activation=leaky_relu(slope=0.25))"


def test_a_summary_is_printed(capsys):
    """Before and after there are weights."""
    model = fg.Sequential([fg.Dense(5, activation="relu"), fg.Dense(3)], loss="multiclass_hinge", backend="numpy")
    assert model.summary() is None
    assert "not built" in capsys.readouterr().out
    model.build(4).summary()
    text = capsys.readouterr().out
    for part in ("'relu'", "25", "18", "parameters 43", "multiclass_hinge", "Adam", "numpy"):
        assert part in text
    twice = fg.Sequential([fg.Dense(1, activation="sigmoid")], loss="binary_cross_entropy", backend="numpy")
    twice.summary()
    assert "note: the loss applies sigmoid" in capsys.readouterr().out


def test_softmax_is_no_activation():
    """The refusal says where it is."""
    with pytest.raises(ValueError, match="activation: got 'softmax', expected .+; .+softmax_cross_entropy"):
        fg.Dense(3, activation="softmax")


def test_a_line_says_what_an_epoch_brought(capsys):
    """Epoch, losses, accuracy, speed, time."""
    X, y = rows()
    history = classifier().fit(X, y, epochs=2, validation_data=(X, y), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for part in ("loss ", "val_loss ", "val_accuracy ", "rows/s"):
        assert part in lines[1]
    assert lines[1].endswith("s")
    assert "2 epochs" in repr(history)
