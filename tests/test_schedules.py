"""Schedules: what other libraries' give, what they refuse, and how they reach the optimizers."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from counterparts import BACKENDS
from golden import load

import fastgd as fg
from fastgd import schedules
from fastgd.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    Joined,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    Triangular,
    Warmup,
    values_at,
)

each_backend = pytest.mark.parametrize("backend", BACKENDS)

# The schedule that is another library's, with the values that its recording was made with.
COUNTERPARTS = {
    "torch StepLR": StepDecay(0.8, 0.3, every=7),
    "torch MultiStepLR": MultiStep(0.8, 0.2, milestones=(5, 6, 40)),
    "torch ConstantLR": Joined([Constant(0.2), 0.8], boundaries=[10]),
    "torch ExponentialLR": Exponential(0.8, 0.95),
    "torch LinearLR": Linear(0.2, 0.4, steps=33),
    "torch PolynomialLR": Polynomial(0.8, 0.0, steps=41, power=1.7),
    "torch CosineAnnealingLR": Cosine(0.8, 0.05, steps=59),
    "torch CosineAnnealingWarmRestarts": CosineRestarts(0.8, 0.01, steps=4, growth=3.0),
    "torch OneCycleLR": OneCycle(0.8, steps=61, rise=0.2),
    "torch CyclicLR triangular": Triangular(0.1, 0.8, rise=7, fall=5),
    "torch CyclicLR triangular2": Triangular(0.1, 0.8, rise=6, factor=0.5),
    "torch SequentialLR": Joined([Linear(0.1, 0.8, steps=8), Exponential(0.8, 0.9)], boundaries=[8]),
    "keras ExponentialDecay": Exponential(0.8, 0.5, every=9),
    "keras ExponentialDecay staircase": StepDecay(0.8, 0.5, every=9),
    "keras InverseTimeDecay": InverseScaling(0.8, power=1.0, scale=0.05),
    "keras InverseTimeDecay staircase": InverseScaling(0.8, power=1.0, scale=0.05, every=10),
    "keras PolynomialDecay": Polynomial(0.8, 0.02, steps=31, power=2.5),
    "keras CosineDecay": Cosine(0.8, 0.1, steps=37),
    "keras CosineDecay warm-up": Warmup(Cosine(0.8, 0.0, steps=37), steps=11, initial=0.1),
    "keras CosineDecayRestarts": CosineRestarts(0.8, 0.1, steps=5, growth=2.0, factor=0.5),
    "optax piecewise_constant_schedule": MultiStep(0.8, 0.5, milestones=(7, 30)),
    "optax exponential_decay": Exponential(0.8, 0.5, every=9),
    "optax exponential_decay staircase": StepDecay(0.8, 0.5, every=9),
    "optax linear_schedule": Linear(0.1, 0.8, steps=44),
    "optax polynomial_schedule": Polynomial(0.8, 0.1, steps=44, power=3.0),
    "optax cosine_decay_schedule": Cosine(0.8, 0.1, steps=37, power=1.5),
    "optax warmup_cosine_decay_schedule": Warmup(Cosine(0.8, 0.2, steps=38), steps=12, initial=0.1),
    "optax warmup_constant_schedule": Warmup(0.8, steps=12, initial=0.1),
    "optax join_schedules": Joined([Linear(0.1, 0.8, steps=10), lambda step: 0.5], boundaries=[20]),
}

# Some of the libraries go from step to step, with a rounding or two in each.
ROUNDINGS = 8

# Keras takes cosines in single precision, whatever its floatx.
SINGLE_PRECISION = {"keras CosineDecay", "keras CosineDecay warm-up", "keras CosineDecayRestarts"}


def check_against_recording(name: str, schedule: Schedule) -> None:
    """The values of every recorded step."""
    recorded = np.array(load("schedules")["values"][name])
    eps = np.finfo(np.float32 if name in SINGLE_PRECISION else np.float64).eps
    steps_behind = 1 if name in SINGLE_PRECISION else np.arange(1, len(recorded) + 1)
    bound = ROUNDINGS * steps_behind * eps * 0.8
    error = abs(schedule(np.arange(len(recorded))) - recorded)
    assert (error <= bound).all(), f"{name} differs by {error.max():.3g}"


@pytest.mark.parametrize("name", load("schedules")["values"])
def test_schedules_give_what_other_libraries_give(name):
    """At every step."""
    check_against_recording(name, COUNTERPARTS[name])


class Late:
    """A schedule that is one step late."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, steps):
        return self.schedule(steps + 1)


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_schedule_that_counts_from_one_is_noticed(name):
    """In every recording."""
    with pytest.raises(AssertionError, match="differs by"):
        check_against_recording(name, Late(COUNTERPARTS[name]))


def test_every_schedule_has_been_compared():
    """Parts of others too."""
    compared = {type(each) for each in COUNTERPARTS.values()} | {Constant}
    assert compared == {getattr(schedules, name) for name in schedules.__all__} - {Schedule}


# ------------------------------------------------------------------------------------------------------ what they are
@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_value_depends_on_the_step_alone(name):
    """The same bits alone, in a row, or from the middle of training on."""
    schedule = COUNTERPARTS[name]
    together = schedule(np.arange(300))
    assert [schedule(step) for step in range(300)] == together.tolist()
    np.testing.assert_array_equal(schedule(np.arange(170, 230)), together[170:230])
    assert (together >= 0).all() and np.isfinite(together).all()


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_what_comes_after_the_last_step_is_steady_or_goes_on(name):
    """A million steps later there is a rate still."""
    late = COUNTERPARTS[name](np.arange(10**6, 10**6 + 5))
    assert np.isfinite(late).all() and (late >= 0).all() and (late <= 0.8 * (1 + 1e-9)).all()


def test_restarts_of_growing_waves_are_where_they_should_be():
    """The logarithm that finds them is rounded."""
    for growth in (1.5, 2.0, 3.0, 10.0):
        schedule, begin, length = CosineRestarts(1.0, 0.0, steps=2, growth=growth), 0.0, 2.0
        while begin < 1e6:
            if begin == int(begin):
                assert schedule(int(begin)) == pytest.approx(1.0, abs=1e-9), (growth, begin)
            begin, length = begin + length, length * growth


@pytest.mark.parametrize("name", [name for name in COUNTERPARTS if name != "optax join_schedules"])
def test_copies_are_equal_and_the_repr_makes_it_again(name):
    """As an optimizer's other values are."""
    schedule = COUNTERPARTS[name]
    for again in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule)), eval(repr(schedule))):
        assert again == schedule and hash(again) == hash(schedule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.initial = 1.0


BAD = [
    (lambda: Constant(-0.1), "Constant: initial: got -0.1, expected a finite number in [0, inf)"),
    (lambda: Constant(float("nan")), "Constant: initial: got nan"),
    (lambda: Linear(0.1, 0.0, steps=0), "Linear: steps: got 0"),
    (lambda: Linear(0.1, 0.0, steps=2.5), "Linear: steps: got 2.5, expected a whole number"),
    (lambda: Cosine(0.1, "low", steps=2), "Cosine: final: got 'low'"),
    (lambda: Exponential(0.1, -1.0), "Exponential: factor: got -1.0"),
    (lambda: StepDecay(0.1, 0.5, every=0), "StepDecay: every: got 0"),
    (lambda: InverseScaling(0.1, power=0.0), "InverseScaling: power: got 0.0"),
    (lambda: CosineRestarts(0.1, 0.0, steps=2, growth=0.5), "CosineRestarts: growth: got 0.5"),
    (lambda: OneCycle(0.1, steps=2), "OneCycle: steps: got 2"),
    (lambda: OneCycle(0.1, steps=3, rise=0.3), "OneCycle: rise: got 0.3 of 3 steps, expected more than one step"),
    (lambda: Triangular(0.1, 0.2, rise=0), "Triangular: rise: got 0"),
    (lambda: Warmup(-1.0, steps=2), "Warmup: schedule: got -1.0"),
    (lambda: MultiStep(0.1, 0.5, milestones=[3, 3]), "MultiStep: milestones: got [3, 3], expected steps"),
    (lambda: MultiStep(0.1, 0.5, milestones=5), "MultiStep: milestones: got 5, expected steps"),
    (lambda: Joined([0.1], boundaries=[1]), "Joined: got 1 schedules and 1 boundaries"),
    (lambda: Constant(0.1)(-1), "Constant: got step -1, expected steps of at least 0"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_what_makes_no_sense_is_refused(make, message):
    """With the value and what was expected."""
    with pytest.raises(ValueError) as refusal:
        make()
    assert str(refusal.value).startswith(message) or message in str(refusal.value)


def test_a_schedule_without_values_says_so():
    """A subclass that forgot its method."""
    with pytest.raises(NotImplementedError, match="Schedule has no method at"):
        Schedule()(0)


# -------------------------------------------------------------------------------------------------- in the optimizers
def test_the_first_step_of_an_optimizer_is_step_0_of_a_schedule():
    """Optimizers number their steps from 1."""
    made = fg.SGD(learning_rate=Linear(1.0, 0.0, steps=4))
    np.testing.assert_array_equal(made.scalars(1, 6)[:, 0], [1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    assert made.learning_rate == Linear(1.0, 0.0, steps=4)
    assert fg.Adam(Constant(0.5)).scalars(1, 3).tolist() == fg.Adam(0.5).scalars(1, 3).tolist()


def test_a_plain_function_will_do():
    """It is given a Python int, once for each step."""
    seen = []

    def rate(step):
        seen.append(step)
        return 0.1 if step < 2 else 0.05

    made = fg.Adadelta(learning_rate=rate)
    assert made.scalars(1, 4)[:, 0].tolist() == [0.1, 0.1, 0.05, 0.05]
    assert seen == [0, 1, 2, 3] and all(type(step) is int for step in seen)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None, "fast"])
def test_a_function_that_gives_no_rate_is_refused_with_the_step(value):
    """The model is then as it was."""
    with pytest.raises(ValueError, match="learning rate at step 3: got"):
        fg.SGD(learning_rate=lambda step: value if step == 3 else 0.1).scalars(1, 8)


def test_a_schedule_of_ones_own_is_checked_too():
    """An array of NaN would otherwise train on."""

    class Broken(Schedule):
        def at(self, steps):
            return np.where(steps < 5, 0.1, np.nan)

    with pytest.raises(ValueError, match="learning rate at step 5: got nan"):
        values_at(Broken(), np.arange(8.0))


def data():
    """A little regression."""
    draw = np.random.default_rng(1)
    return draw.normal(size=(40, 3)), draw.normal(size=(40, 2))


def model_with(optimizer, backend):
    """A small network."""
    layers = [fg.Dense(5, activation="tanh"), fg.Dense(2)]
    return fg.Sequential(layers, loss="mean_squared_error", optimizer=optimizer, dtype="float64", backend=backend)


@each_backend
@pytest.mark.parametrize("kind", [fg.SGD, fg.Adam])
def test_training_takes_each_step_with_its_rate(kind, backend):
    """As if the rate had been set by hand before each step, and as with a function of the step."""
    (X, y), schedule = data(), Cosine(0.1, 0.001, steps=15)
    by_schedule, by_function, by_hand = (
        model_with(kind(learning_rate=rate), backend) for rate in (schedule, lambda step: schedule(step), 1.0)
    )
    for model in (by_schedule, by_function):
        model.fit(X, y, epochs=4, batch_size=8, shuffle=False)
    for step in range(20):
        by_hand.optimizer.learning_rate = schedule(step)
        by_hand.train_on_batch(X[8 * (step % 5) :][:8], y[8 * (step % 5) :][:8])
    for model in (by_function, by_hand):
        for expected, actual in zip(by_schedule.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(actual, expected)


@each_backend
def test_training_goes_on_as_if_there_had_been_no_pause(backend):
    """In a copy that was written to disk, too."""
    X, y = data()
    whole, parts = (model_with(fg.Adam(Warmup(StepDecay(0.05, 0.5, every=3), steps=7)), backend) for _ in range(2))
    whole.fit(X, y, epochs=5, batch_size=8)
    parts.fit(X, y, epochs=2, batch_size=8)
    parts = pickle.loads(pickle.dumps(parts))
    parts.fit(X, y, epochs=3, batch_size=8)
    for expected, actual in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


@each_backend
def test_divergence_tells_the_rate_of_its_step(backend):
    """The step that made the next one's loss infinite."""
    X, y = data()
    rate = Joined([1e-3, 1e200, 1e-3], boundaries=[7, 8])
    with pytest.raises(fg.DivergenceError, match=r"epoch 2, step 9, learning rate 1e\+200: the loss") as caught:
        model_with(fg.SGD(rate), backend).fit(X, y, epochs=4, batch_size=8)
    assert caught.value.learning_rate == 1e200
