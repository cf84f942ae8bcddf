"""Training as a whole: batches, repeatability, weights of samples and classes, stopping, resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from counterparts import (
    BACKENDS,
    DTYPES,
    HYPERPARAMETERS,
    OPTIMIZER_NAMES,
    model_of,
    optimizer_named,
    oracle_network,
    oracle_rule,
)
from oracle.philox import permutation
from tolerances import assert_same_bits, assert_within, network_bounds, training_bounds, unit_roundoff

import fastgd as fg
from fastgd import training

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def blobs(n=60, n_features=4, n_classes=3, seed=0):
    """Points about one centre for each class, and their labels."""
    draw = np.random.default_rng(seed)
    centres = 2.0 * draw.normal(size=(n_classes, n_features))
    labels = draw.integers(n_classes, size=n)
    return centres[labels] + draw.normal(size=(n, n_features)), labels


def classifier(backend, dtype="float64", optimizer=None, seed=3, sizes=(4, 8, 3), **options):
    """A built classifier of the blobs."""
    activations = ["tanh"] * (len(sizes) - 2) + ["linear"]
    optimizer = fg.Adam(0.01) if optimizer is None else optimizer
    return model_of(
        sizes,
        activations,
        "softmax_cross_entropy",
        optimizer=optimizer,
        dtype=dtype,
        backend=backend,
        seed=seed,
        **options,
    )


# --------------------------------------------------------------------------------------------------- batches
@each_backend
@pytest.mark.parametrize(("batch_size", "size"), [(1, 1), (7, 7), (60, 60), (None, 60)])
def test_fit_takes_the_steps_of_its_batches(batch_size, size, backend):
    """True SGD, mini-batches with a short last one, the full batch: train_on_batch in the same order."""
    x, y = blobs()
    model, stepped = classifier(backend), classifier(backend)
    history = model.fit(x, y, epochs=2, batch_size=batch_size, verbose=0)
    losses = []
    for epoch in range(2):
        order = permutation(3, epoch, 60)
        rows = [order[k : k + size] for k in range(0, 60, size)]
        losses.append(sum(len(r) * stepped.train_on_batch(x[r], y[r]) for r in rows) / 60)
    assert_same_bits(model.get_weights(), stepped.get_weights(), "weights")
    # The same sixty numbers, added up and scaled in another order.
    assert_within(history.history["loss"], losses, 130 * unit_roundoff(float) * np.array(losses), "losses")


@each_backend
def test_rows_keep_their_order_without_shuffling(backend):
    """shuffle=False takes the batches from the top, in every epoch."""
    x, y = blobs()
    model, stepped = classifier(backend), classifier(backend)
    model.fit(x, y, epochs=2, batch_size=25, shuffle=False, verbose=0)
    for _ in range(2):
        for k in (0, 25, 50):
            stepped.train_on_batch(x[k : k + 25], y[k : k + 25])
    assert_same_bits(model.get_weights(), stepped.get_weights())


@each_backend
def test_train_on_batch_gives_the_loss_before_its_step(backend):
    """The number that loss_and_gradients reports, penalty included."""
    x, y = blobs()
    model = classifier(backend, penalty=fg.L2(0.1))
    before, _ = model.loss_and_gradients(x, y)
    assert model.train_on_batch(x, y) == before
    after, _ = model.loss_and_gradients(x, y)
    assert after < before


@each_backend
def test_the_history_of_a_full_batch_is_the_loss_before_each_step(backend):
    """One step an epoch: the first value is the loss of the first weights."""
    x, y = blobs()
    model = classifier(backend, penalty=fg.L1(0.01))
    before, _ = model.loss_and_gradients(x, y)
    history = model.fit(x, y, epochs=5, batch_size=None, shuffle=False, verbose=0)
    losses = history.history["loss"]
    assert len(losses) == 5
    assert all(type(loss) is float for loss in losses)
    assert_within(losses[0], before, 4 * unit_roundoff(float) * before)
    assert losses == sorted(losses, reverse=True)


@each_backend
def test_a_network_learns(backend):
    """From chance to nearly all of the blobs."""
    x, y = blobs(n=300)
    model = classifier(backend, dtype="float32")
    assert model.evaluate(x, y)["accuracy"] < 0.8
    model.fit(x, y, epochs=40, batch_size=16, verbose=0)
    result = model.evaluate(x, y)
    assert result["accuracy"] > 0.9
    assert result["accuracy"] == np.mean(model.predict(x).argmax(axis=1) == y)


# --------------------------------------------------------------------------------------------- repeatability
@each_backend
@each_dtype
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_the_same_seed_gives_the_same_bits(rule, dtype, backend):
    """Initial weights, order of rows, weights after training, history; another seed gives others."""
    x, y = blobs()

    def run(seed):
        optimizer = optimizer_named(rule, **HYPERPARAMETERS[rule])
        model = classifier(backend, dtype=dtype, optimizer=optimizer, seed=seed)
        history = model.fit(x, y, epochs=2, batch_size=8, verbose=0)
        return [*model.get_weights(), np.array(history.history["loss"])]

    first = run(5)
    assert_same_bits(run(5), first)
    assert not np.array_equal(run(6)[0], first[0])


@each_dtype
@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (60, 8, (4, 8, 3)),
        (257, 100, (9, 33, 17, 5)),
        (520, 256, (64, 130, 65, 10)),
        (60, 40, (4, 277, 251, 3)),
        (1301, None, (40, 96, 8)),
        (1301, 600, (5, 7, 3)),
    ],
)
def test_any_number_of_threads_gives_the_same_bits(n, batch_size, sizes, dtype, threads_for_any_work):
    """Training, gradients and predictions with one, two and three threads, on odd shapes too."""
    x, y = blobs(n, sizes[0], sizes[-1])

    def run(n_threads):
        model = classifier("cython", dtype=dtype, sizes=sizes, n_threads=n_threads)
        history = model.fit(x, y, epochs=2, batch_size=batch_size, verbose=0)
        loss, gradients = model.loss_and_gradients(x, y)
        evaluated = model.evaluate(x, y)
        numbers = np.array([loss, evaluated["loss"], evaluated["accuracy"], *history.history["loss"]])
        return [*model.get_weights(), *gradients, model.predict(x), model.transform(x, layer=0), numbers]

    first = run(1)
    for n_threads in (2, 3):
        assert_same_bits(run(n_threads), first, f"{n_threads} threads")


@each_backend
@each_dtype
@pytest.mark.parametrize(("n", "sizes"), [(7, (4, 8, 3)), (40, (9, 70, 5)), (600, (3, 20, 3)), (8, (4, 300, 251, 3))])
@pytest.mark.parametrize("dialect", [None, "keras"])
def test_a_decay_is_of_weights_and_in_a_dialect_of_biases_too(dialect, n, sizes, dtype, backend):
    """By whichever way the engine takes: after w - decay w, a step is that of the rule without decay."""
    x, y = blobs(n, sizes[0], sizes[-1])
    rate, decay = 0.5, 0.25

    def stepped(**given):
        model = classifier(backend, dtype=dtype, optimizer=fg.SGD(rate, dialect=dialect, **given), sizes=sizes)
        start = [np.linspace(-1.0, 1.0, w.size).reshape(w.shape).astype(dtype) for w in model.get_weights()]
        model.set_weights(start)
        model.train_on_batch(x.astype(dtype), y)
        return start, model.get_weights()

    start, plain = stepped()
    _, decayed = stepped(weight_decay=decay)
    for k, (w, without, with_decay) in enumerate(zip(start, plain, decayed, strict=True)):
        spared = dialect is None and k % 2
        expected = without.astype(float) - (0.0 if spared else rate * decay) * w.astype(float)
        bound = 4 * unit_roundoff(dtype) * (abs(w) + abs(without - w) + abs(without))
        assert_within(with_decay, expected, bound, f"array {k}")


@each_dtype
@pytest.mark.parametrize("n", [1, 40, 512])
@pytest.mark.parametrize("sizes", [(4, 277, 251, 3), (5, 512, 257, 3), (6, 45, 1500, 3)])
def test_a_layer_beyond_the_cache_has_the_bits_of_its_kernels(sizes, n, dtype):
    """Its backward pass goes over the weights once, in blocks, and sums in the same order as the kernels one by one."""
    assert sizes[1] * sizes[2] * np.dtype(dtype).itemsize > 2**18, "so many bytes of weights count as beyond the cache"
    optimizer = fg.Adam(0.01)
    model = classifier("cython", dtype=dtype, optimizer=optimizer, sizes=sizes, n_threads=1)
    x, y = blobs(n, sizes[0], sizes[-1])
    x, before, activations = x.astype(dtype), model.get_weights(), ["tanh", "tanh", "linear"]
    inputs = [x]
    for k, activation in enumerate(activations):
        inputs.append(fg.kernels.dense_forward(inputs[k], before[2 * k], before[2 * k + 1], activation))
    _, delta = fg.kernels.loss_gradient(inputs[-1], y, "softmax_cross_entropy")
    expected = []
    for k in (2, 1, 0):
        delta, *gradients = fg.kernels.dense_backward(inputs[k], before[2 * k], inputs[k + 1], delta, activations[k])
        expected = [*gradients, *expected]
    assert_same_bits(model.loss_and_gradients(x, y)[1], expected, "gradients")
    model.train_on_batch(x, y)
    for w, gradient in zip(before, expected, strict=True):
        fg.kernels.parameter_update(w, gradient, [np.zeros_like(w), np.zeros_like(w)], optimizer)
    assert_same_bits(model.get_weights(), before, "weights after a step")


@each_backend
@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_penalty_of_layers_beyond_the_cache_is_of_their_weights(n_threads, dtype, backend, threads_for_any_work):
    """Of sizes that fill no panel: whatever pads weights is no part of them. The loss is that before each step."""
    x, y = blobs(12, 4, 3)
    sizes, options = (4, 300, 251, 3), {"optimizer": fg.SGD(0.25), "penalty": fg.L2(2**-5)}
    model = classifier(backend, dtype=dtype, sizes=sizes, n_threads=n_threads, **options)
    for _ in range(3):
        expected = model.evaluate(x, y)["loss"]
        loss = model.fit(x, y, batch_size=None, verbose=0).history["loss"][-1]
        np.testing.assert_allclose(loss, expected, rtol=12 * np.finfo(dtype).eps)


@each_backend
def test_initial_weights_do_not_depend_on_the_backend(backend):
    """They are drawn from the counters alone."""
    assert_same_bits(classifier(backend).get_weights(), classifier("numpy").get_weights())


@each_backend
@each_dtype
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_training_twice_equals_training_on(rule, dtype, backend):
    """fit(2) and fit(3) are fit(5): optimizer state, step counts and orders of rows go on."""
    x, y = blobs()

    def fitted(parts):
        optimizer = optimizer_named(rule, **HYPERPARAMETERS[rule])
        model = classifier(backend, dtype=dtype, optimizer=optimizer)
        losses = []
        for epochs in parts:
            losses += model.fit(x, y, epochs=epochs, batch_size=16, verbose=0).history["loss"][-epochs:]
        return [*model.get_weights(), np.array(losses)]

    assert_same_bits(fitted([2, 3]), fitted([5]))


# --------------------------------------------------------------------------------------------------- weights
@each_backend
@each_dtype
def test_weights_of_samples_equal_repetition(dtype, backend):
    """In the full batch a row of weight k stands for k copies: the same but for rounding."""
    x, y = blobs(n=12)
    x = x.astype(np.float32).astype(float)
    times = np.array([1, 2, 3, 0, 1, 1, 4, 2, 0, 1, 2, 1])
    weighted, repeated = (classifier(backend, dtype=dtype, penalty=fg.L2(0.01)) for _ in range(2))
    weights = [w.astype(float) for w in weighted.get_weights()]
    network = oracle_network(["tanh", "linear"], "softmax_cross_entropy", l2=0.01)
    bounds = network_bounds(network, weights, x, y, times.astype(float), dtype)
    many, many_y = np.repeat(x, times, axis=0), np.repeat(y, times)
    loss, gradients = weighted.loss_and_gradients(x, y, sample_weight=times)
    other, other_gradients = repeated.loss_and_gradients(many, many_y)
    assert_within(loss, other, 2 * bounds.loss, "loss")
    for k, (g, h, bound) in enumerate(zip(gradients, other_gradients, bounds.gradients, strict=True)):
        assert_within(g, h, 2 * bound, f"gradient {k}")
    assert_within(
        weighted.evaluate(x, y, sample_weight=times)["loss"],
        repeated.evaluate(many, many_y)["loss"],
        2 * bounds.loss,
    )
    accuracies = (
        weighted.evaluate(x, y, sample_weight=times)["accuracy"],
        repeated.evaluate(many, many_y)["accuracy"],
    )
    assert_within(accuracies[0], accuracies[1], 4 * unit_roundoff(float))
    weighted.fit(x, y, sample_weight=times, epochs=3, batch_size=None, shuffle=False, verbose=0)
    repeated.fit(many, many_y, epochs=3, batch_size=None, shuffle=False, verbose=0)
    weight_bounds, _ = training_bounds(
        network,
        weights,
        oracle_rule("adam", learning_rate=0.01),
        x,
        y,
        [[range(12)]] * 3,
        times.astype(float),
        dtype,
    )
    for k, (w, v, bound) in enumerate(
        zip(weighted.get_weights(), repeated.get_weights(), weight_bounds, strict=True)
    ):
        assert_within(w, v, 2 * bound, f"weights {k}")


@each_backend
def test_only_the_ratios_of_sample_weights_count(backend):
    """A power of two times the weights gives the same bits, even near the ends of the range."""
    x, y = blobs()
    weight = np.random.default_rng(1).uniform(0.5, 1.0, size=60)

    def run(factor):
        model = classifier(backend)
        history = model.fit(x, y, sample_weight=factor * weight, epochs=2, batch_size=16, verbose=0)
        return [*model.get_weights(), np.array(history.history["loss"])]

    for factor in (64.0, 2.0**-900, 2.0**1000):
        assert_same_bits(run(factor), run(1.0), f"{factor:g} times the weights")


@each_backend
def test_a_batch_without_weight_is_passed_over(backend):
    """Neither step nor loss comes from rows that all weigh nothing."""
    x, y = blobs(n=12)
    weight = np.ones(12)
    weight[4:8] = 0.0
    without = np.r_[0:4, 8:12]
    results = []
    for rows, given in ((np.arange(12), weight), (without, None)):
        model = classifier(backend, optimizer=fg.SGD(0.1, momentum=0.9))
        history = model.fit(
            x[rows], y[rows], sample_weight=given, epochs=3, batch_size=4, shuffle=False, verbose=0
        )
        results.append([*model.get_weights(), np.array(history.history["loss"])])
    assert_same_bits(results[0], results[1])


@each_backend
@pytest.mark.parametrize("rows", [False, True])
def test_weights_of_classes_are_weights_of_their_samples(rows, backend):
    """For labels and for one-hot rows; together with sample weights they multiply."""
    x, y = blobs()
    of_class = {0: 2.0, 1: 0.5, 2: 1.0}
    of_sample = np.random.default_rng(1).uniform(0.5, 1.0, size=60)
    by_class, by_sample = classifier(backend), classifier(backend)
    target = np.eye(3)[y] if rows else y
    by_class.fit(
        x, target, class_weight=of_class, sample_weight=of_sample, epochs=2, batch_size=16, verbose=0
    )
    product = of_sample * np.array([2.0, 0.5, 1.0])[y]
    by_sample.fit(x, target, sample_weight=product, epochs=2, batch_size=16, verbose=0)
    assert_same_bits(by_class.get_weights(), by_sample.get_weights())


# ------------------------------------------------------------------------------------------------ validation
@each_backend
def test_validation_reports_the_loss_after_each_epoch(backend):
    """One value per epoch; the last is what evaluate says; it changes nothing in the training."""
    x, y = blobs(n=80)
    model, without = classifier(backend), classifier(backend)
    history = model.fit(x[:60], y[:60], validation_data=(x[60:], y[60:]), epochs=4, batch_size=8, verbose=0)
    plain = without.fit(x[:60], y[:60], epochs=4, batch_size=8, verbose=0)
    result = model.evaluate(x[60:], y[60:])
    assert len(history.history["val_loss"]) == 4
    assert history.history["val_loss"][-1] == result["loss"]
    assert history.history["val_accuracy"][-1] == result["accuracy"]
    assert history.history["loss"] == plain.history["loss"]
    assert_same_bits(model.get_weights(), without.get_weights())
    assert "val_loss" not in plain.history


@each_backend
def test_validation_may_be_weighted(backend):
    """A third item holds the weights of its rows."""
    x, y = blobs(n=80)
    weight = np.random.default_rng(3).uniform(0.5, 2.0, size=20)
    model = classifier(backend, penalty=fg.L2(0.01))
    history = model.fit(
        x[:60], y[:60], validation_data=(x[60:], y[60:], weight), epochs=2, batch_size=8, verbose=0
    )
    result = model.evaluate(x[60:], y[60:], sample_weight=weight)
    assert history.history["val_loss"][-1] == result["loss"]
    assert history.history["val_accuracy"][-1] == result["accuracy"]


@each_backend
def test_verbose_shows_one_line_for_each_epoch(backend, capsys):
    """With the epoch's loss; and nothing at all when it is 0."""
    x, y = blobs()
    model = classifier(backend)
    model.fit(x, y, epochs=3, batch_size=8, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(x, y, epochs=3, batch_size=8, verbose=1)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 3
    assert all("loss" in line for line in lines)


# ------------------------------------------------------------------------------------------------ divergence
@each_backend
@each_dtype
@pytest.mark.parametrize("batch_size", [1, 8, None])
def test_divergence_is_named_and_leaves_finite_weights(batch_size, dtype, backend):
    """Epoch, step, learning rate and a remedy; predictions of the model that is left are finite."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3)), draw.normal(size=(40, 2))
    model = model_of(
        [3, 8, 2],
        ["linear", "linear"],
        "mean_squared_error",
        optimizer=fg.SGD(7.5),
        dtype=dtype,
        backend=backend,
    )
    with pytest.raises(fg.DivergenceError) as caught:
        model.fit(x, y, epochs=500, batch_size=batch_size, verbose=0)
    error, message = caught.value, str(caught.value)
    assert isinstance(error, ArithmeticError)
    steps_per_epoch = -(-40 // (batch_size or 40))
    assert error.learning_rate == 7.5
    assert error.epoch == -(-error.step // steps_per_epoch)
    for part in (f"epoch {error.epoch}", f"step {error.step}", "learning rate", "7.5"):
        assert part in message
    assert any(word in message for word in ("smaller", "lower", "reduce", "scale"))
    assert all(np.isfinite(w).all() for w in model.get_weights())


@each_backend
def test_divergence_stops_before_the_step_that_would_spoil_the_weights(backend):
    """The weights left are those of the steps before: as many as the error's step says."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3)), draw.normal(size=(40, 1))

    def regression():
        return model_of(
            [3, 1], ["linear"], "mean_squared_error", optimizer=fg.SGD(50.0), dtype="float32", backend=backend
        )

    model, stepped = regression(), regression()
    with pytest.raises(fg.DivergenceError) as caught:
        model.fit(x, y, epochs=100, batch_size=None, shuffle=False, verbose=0)
    for _ in range(caught.value.step - 1):
        stepped.train_on_batch(x, y)
    assert_same_bits(model.get_weights(), stepped.get_weights())
    before = stepped.get_weights()
    with pytest.raises(fg.DivergenceError):
        stepped.train_on_batch(x, y)
    assert_same_bits(stepped.get_weights(), before)


@each_backend
@each_dtype
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_whose_own_result_overflows_is_the_one_that_is_named(momentum, dtype, backend):
    """The loss is finite, the step is not: each weight is left as it was, or where its finite step led."""
    draw = np.random.default_rng(0)
    x, y = 10.0 * draw.normal(size=(40, 3)), draw.normal(size=(40, 2)) - 1e4
    rate = 0.6 * float(np.finfo(dtype).max)
    model = model_of(
        [3, 8, 2],
        ["linear", "linear"],
        "mean_absolute_error",
        optimizer=fg.SGD(rate, momentum=momentum),
        dtype=dtype,
        backend=backend,
    )
    before, (_, gradients) = model.get_weights(), model.loss_and_gradients(x, y)
    with pytest.raises(fg.DivergenceError, match="epoch 1, step 1") as caught:
        model.fit(x, y, epochs=3, batch_size=None, shuffle=False, verbose=0)
    assert (caught.value.epoch, caught.value.step) == (1, 1)
    for w, old, g in zip(model.get_weights(), before, gradients, strict=True):
        assert np.isfinite(w).all()
        with np.errstate(over="ignore"):
            moved = old - np.asarray(rate, dtype) * g
        stepped = np.isfinite(moved) & (w != old)
        assert_within(w[stepped], moved[stepped], 8 * unit_roundoff(dtype) * abs(moved[stepped]))
        assert np.array_equal(w[~stepped], old[~stepped])


@each_backend
def test_training_may_go_on_with_a_smaller_step_after_divergence(backend):
    """From weights that are given anew."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3))
    y = x @ np.ones((3, 1))
    optimizer = fg.SGD(50.0)
    model = model_of(
        [3, 1], ["linear"], "mean_squared_error", optimizer=optimizer, dtype="float64", backend=backend
    )
    start = model.get_weights()
    with pytest.raises(fg.DivergenceError):
        model.fit(x, y, epochs=300, batch_size=None, verbose=0)
    model.set_weights(start)
    optimizer.learning_rate = 0.1
    model.fit(x, y, epochs=300, batch_size=None, verbose=0)
    assert model.evaluate(x, y)["loss"] < 1e-12


@each_backend
@pytest.mark.parametrize("steps_per_call", [1, 3, 5, 8, 11, 100])
def test_an_order_of_rows_is_drawn_once_for_each_epoch(steps_per_call, backend, monkeypatch):
    """However many calls an epoch is made of, here of five steps; and training comes to the same bits."""
    x, y = blobs(n=23)
    whole, model = classifier(backend), classifier(backend)
    whole.fit(x, y, epochs=4, batch_size=5)
    drawn, calls = [], []

    def permutation_noted(seed, epoch, n):
        drawn.append(epoch)
        return permutation_there(seed, epoch, n)

    def train_noted(network, *given, **named):
        calls.append((named["step"], named["n_steps"], named["order"] is not None))
        return train_there(network, *given, **named)

    permutation_there, network = model._backend.permutation, model._network
    train_there = type(network).train
    monkeypatch.setattr(model._backend, "permutation", permutation_noted)
    monkeypatch.setattr(model, "_network", Noted(network, train_noted))
    monkeypatch.setattr(training.Pace, "steps", lambda pace: steps_per_call)
    model.fit(x, y, epochs=4, batch_size=5)
    assert_same_bits(model.get_weights(), whole.get_weights())
    assert sum(n_steps for _, n_steps, _ in calls) == 20
    # Backend numpy draws by the same function within a call.
    assert drawn == ([0, 1, 2, 3] if steps_per_call < 5 or backend == "numpy" else [])
    for step, n_steps, given in calls:
        assert given == (n_steps < 5)
        assert step + n_steps <= 5 or (step, n_steps % 5) == (0, 0)


class Noted:
    """A network whose calls to `train` are seen."""

    def __init__(self, network, train):
        self.network, self.train_noted = network, train

    def train(self, *given, **named):
        """As the network's."""
        return self.train_noted(self.network, *given, **named)

    def __getattr__(self, name):
        return getattr(self.network, name)


# ------------------------------------------------------------------------------ interrupts and other threads
def interrupt_during(action, delay=0.2):
    """Run an action that the user interrupts with Ctrl-C after a while."""
    timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            action()
    finally:
        timer.cancel()
        timer.join()


def have_compiled(backend, x, y):
    """What is compiled when it is first used would take the time of what is to be interrupted."""
    classifier(backend).fit(x, y, epochs=1, batch_size=600, verbose=0)


@each_backend
@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupt_leaves_the_model_as_of_its_last_finished_step(n_threads, backend, threads_for_any_work):
    """As many single steps lead to the same bits; and it is obeyed amid a million epochs."""
    x, y = blobs(n=600)
    model, stepped = classifier(backend, n_threads=n_threads), classifier(backend, n_threads=1)
    have_compiled(backend, x, y)
    interrupt_during(lambda: model.fit(x, y, epochs=10**6, batch_size=200, shuffle=False, verbose=0))
    assert 3 < model.n_steps_done < 10**6
    for step in range(model.n_steps_done):
        rows = slice(200 * (step % 3), 200 * (step % 3) + 200)
        stepped.train_on_batch(x[rows], y[rows])
    assert_same_bits(model.get_weights(), stepped.get_weights())
    assert np.isfinite(model.predict(x)).all()


@each_backend
@pytest.mark.parametrize("batch_size", [7, 600])
def test_training_is_resumed_after_an_interrupt(batch_size, backend):
    """The epoch that was under way is finished first: bits and losses are as without the interrupt."""
    x, y = blobs(n=600)
    model, undisturbed = classifier(backend), classifier(backend)
    have_compiled(backend, x, y)
    interrupt_during(lambda: model.fit(x, y, epochs=10**6, batch_size=batch_size, verbose=0))
    done = model.n_epochs_done
    history = model.fit(x, y, epochs=3, batch_size=batch_size, verbose=0)
    assert model.n_epochs_done == done + 3
    expected = undisturbed.fit(x, y, epochs=done + 3, batch_size=batch_size, verbose=0)
    assert_same_bits(model.get_weights(), undisturbed.get_weights())
    assert history.history["loss"] == expected.history["loss"][-3:]


@each_backend
def test_other_python_threads_run_during_fit(backend):
    """A thread that only counts goes on counting: training does not hold the interpreter."""
    x, y = blobs(n=2000, n_features=64, n_classes=10)
    model = classifier(backend, dtype="float32", sizes=(64, 64, 10), n_threads=1)
    epochs = {"cython": 1000, "numba": 1000, "numpy": 20}[backend]
    ticks, stop = [], threading.Event()

    def count():
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=count)
    thread.start()
    try:
        start = time.perf_counter()
        model.fit(x, y, epochs=epochs, batch_size=32, verbose=0)
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    during = [t for t in ticks if start < t < end]
    assert end - start > 0.05, "too short to tell"
    # A thousand a second if it had the processor to itself.
    assert len(during) > 20 * (end - start)


@each_backend
def test_models_may_be_trained_in_two_threads_at_once(backend):
    """Each gives the bits that it gives alone."""
    x, y = blobs(n=400)

    def run(seed, results):
        model = classifier(backend, seed=seed)
        model.fit(x, y, epochs=10, batch_size=16, verbose=0)
        results[seed] = model.get_weights()

    alone: dict[int, list] = {}
    together: dict[int, list] = {}
    for seed in (1, 2):
        run(seed, alone)
    threads = [threading.Thread(target=run, args=(seed, together)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        assert_same_bits(together[seed], alone[seed])


@each_dtype
def test_training_leaves_the_processors_modes_alone(dtype, threads_for_any_work):
    """Whatever the engine does about subnormal numbers inside, outside they are what they were."""
    x, y = blobs(n=200)
    smallest = np.finfo(dtype).smallest_subnormal
    for n_threads in (1, 2):
        model = classifier("cython", dtype=dtype, n_threads=n_threads)
        model.fit(x, y, epochs=3, batch_size=16, verbose=0)
        model.train_on_batch(x, y)
        model.predict(x)
        model.evaluate(x, y)
        model.loss_and_gradients(x, y)
        assert np.full(9, smallest) * np.ones(9, dtype) == pytest.approx(smallest, rel=0.0, abs=0.0)


FORKING = """
import os
import numpy as np
import fastgd as fg
import fastgd.model, fastgd.threads

fastgd.threads.FLOPS_OF_STEP = fastgd.threads.FLOPS_OF_CALL = fastgd.model.FLOPS_OF_CALL = 1.0
x = np.random.default_rng(0).normal(size=(600, 40))
y = np.arange(600) % 3

def train():
    layers = [fg.Dense(32, activation="relu"), fg.Dense(3)]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", n_threads=2)
    model.fit(x, y, epochs=3, batch_size=200)
    return b"".join(w.tobytes() for w in model.get_weights())

expected = train()
child = os.fork()
if child == 0:
    os._exit(0 if train() == expected else 1)
assert os.waitpid(child, 0)[1] == 0
assert train() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_trains_as_its_parent_does():
    """With threads in both, before and after."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


OUT_OF_MEMORY = """
import resource
import numpy as np
import fastgd as fg

x, y = np.ones((512, 4), np.float32), np.arange(512) % 2
model = fg.Sequential([fg.Dense(20_000, activation="relu"), fg.Dense(2)], loss="softmax_cross_entropy", n_threads=1)
model.fit(x[:2], y[:2], batch_size=2)
before = model.get_weights()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, limits[1]))
for attempt in range(2):
    try:
        model.train_on_batch(x, y)
    except MemoryError:
        print("refused")
resource.setrlimit(resource.RLIMIT_AS, limits)
assert all((w == b).all() for w, b in zip(model.get_weights(), before))
assert np.isfinite(model.train_on_batch(x, y))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits the address space as Linux does")
def test_a_batch_too_large_for_the_memory_leaves_the_model_usable():
    """It is refused as often as it is tried; with more memory, it is trained on."""
    finished = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-500:] or finished.returncode
    assert finished.stdout.split() == ["refused", "refused"]


# --------------------------------------------------------------------------------------- what only estimators ask for
def network_of(backend, l2):
    """A model that goes down by momentum."""
    return fg.Sequential(
        [fg.Dense(6, activation="tanh"), fg.Dense(3)],
        loss="softmax_cross_entropy",
        optimizer=fg.SGD(0.1, momentum=0.5),
        penalty=fg.L2(l2),
        dtype="float64",
        backend=backend,
    )


def train(model, x, y, first=0, n_steps=6, **schedule):
    """So many steps of its network alone, of two epochs of three; the sums of losses of the epochs touched."""
    losses = np.zeros(((first % 3 + n_steps - 1) // 3 + 1, 2))
    result = model._network.train(
        x,
        y,
        None,
        batch_size=8,
        epoch=first // 3,
        step=first % 3,
        n_steps=n_steps,
        steps_before=first,
        scalars=model.optimizer.scalars(first + 1, n_steps),
        losses=losses,
        n_threads=1,
        **{"seed": 3, "shuffle": False, **schedule},
    )
    assert result == (0, n_steps)
    return losses


def trained_network(backend, x, y, l2, **schedule):
    """Weights after two epochs of momentum, from the network itself."""
    model = network_of(backend, l2)
    model.build(x.shape[1])
    train(model, x, y, **schedule)
    return model.get_weights()


@pytest.mark.parametrize("shuffle", [False, True])
@each_backend
def test_a_given_order_is_kept_in_every_epoch(shuffle, backend):
    """The same bits as of rows that lie in this order, whatever `shuffle` says."""
    draw = np.random.default_rng(5)
    x, y, order = draw.normal(size=(24, 4)), draw.integers(3, size=24), draw.permutation(24)
    given = trained_network(backend, x, y, 0.1, order=order, shuffle=shuffle)
    for a, b in zip(given, trained_network(backend, x[order], y[order], 0.1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(given[0], trained_network(backend, x, y, 0.1)[0])


@each_backend
def test_a_scale_of_penalties_is_as_if_they_were_others(backend):
    """To the bit, with a power of two; and for this call alone."""
    draw = np.random.default_rng(6)
    x, y = draw.normal(size=(24, 4)), draw.integers(3, size=24)
    scaled = trained_network(backend, x, y, 0.25, penalty_scales=np.full(6, 0.5))
    for a, b in zip(scaled, trained_network(backend, x, y, 0.125), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(scaled[0], trained_network(backend, x, y, 0.25)[0])


def plain_network_of(backend, l2, layers=(1,)):
    """One that goes down by the gradient alone: what columns are owed is a factor."""
    return fg.Sequential(
        [fg.Dense(units) for units in layers],
        loss="mean_squared_error",
        optimizer=fg.SGD(0.1),
        penalty=fg.L2(l2),
        dtype="float64",
        backend=backend,
    )


def plain_deep_network_of(backend, l2):
    """The same with columns that are not narrow."""
    return plain_network_of(backend, l2, (40, 1))


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("make", [network_of, plain_network_of, plain_deep_network_of])
@each_backend
def test_each_step_has_its_scale_and_each_epoch_its_order(make, form, backend):
    """What calls of a step each do; columns without a gradient are owed steps of other penalties.

    To the bit, but where steps that are factors are taken as one: there it is to some roundings a step.
    """
    draw = np.random.default_rng(7)
    rows = np.where(draw.random((24, 40)) < 0.1, draw.normal(size=(24, 40)), 0.0)
    if form == "sparse":
        rows = pytest.importorskip("scipy.sparse").csr_array(rows)
    y = draw.integers(3, size=24) if make is network_of else draw.normal(size=(24, 1))
    scales = np.array([1.0, 1.0, 3.0, 0.5, 0.5, 2.0])
    orders = np.array([draw.permutation(24), draw.permutation(24)])
    together, apart, other = (make(backend, 0.25) for _ in range(3))
    for model in (together, apart, other):
        model.build(40)
    x = together._read_features(rows, 40, "X")
    losses, alone = train(together, x, y, order=orders, penalty_scales=scales), np.zeros((2, 2))
    for k in range(6):
        alone[k // 3] += train(apart, x, y, k, 1, order=orders[k // 3], penalty_scales=scales[k : k + 1])[0]
    if form == "dense" or make is network_of:
        assert_same_bits(together.get_weights(), apart.get_weights(), "weights")
    for ours, theirs in zip(together.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=6 * 16 * np.finfo(float).eps)
    np.testing.assert_allclose(losses, alone, rtol=6 * 16 * np.finfo(float).eps)
    train(other, x, y, order=orders[::-1].copy(), penalty_scales=scales)
    assert not np.array_equal(other.get_weights()[0], apart.get_weights()[0])
