"""The optimizers' public classes: what they check, and the scalars they give to the rules."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fastgd._formula import OPTIMIZERS, get
from fastgd.optimizers import (
    BY_NAME,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    Yogi,
    adam,
    resolve,
    rmsprop,
)

MADE = [
    SGD(),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True),
    SGD(0.1, momentum=0.9, dialect="keras"),
    Adagrad(initial_total=0.5),
    RMSprop(),
    RMSprop(momentum=0.5, dialect="optax", clip_value=2.0),
    RMSprop(centered=True),
    Adadelta(weight_decay=0.5, dialect="torch"),
    Adam(),
    Adam(dialect="sklearn"),
    Adam(amsgrad=True, weight_decay=0.5),
    AdamW(),
    Adamax(),
    NAdam(),
    RAdam(),
    AdaBelief(),
    Yogi(),
    Lion(),
    Ftrl(l1=0.5),
    Rprop(),
    Optimizer("momentum", learning_rate=0.1, momentum=0.5),
    Optimizer("momentum", learning_rate=0.1, momentum=0.5, weight_decay=0.5, clip_value=0.5),
    Adam(clip_norm=0.5, ema=0.9),
    AdamW(average=3, accumulate=2),
    NAdam(accumulate=3),
]


def test_every_rule_has_a_class():
    assert {made.rule.formula.name for made in MADE} == {
        name for name, rule in OPTIMIZERS.items() if rule.module == "fastgd.optimizers"
    }
    assert {type(made) for made in MADE} == {*BY_NAME.values(), Optimizer}


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_the_repr_makes_it_again(made):
    assert eval(repr(made)) == made


@pytest.mark.parametrize("made", MADE, ids=repr)
@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_copies_are_equal(made, duplicate):
    again = duplicate(made)
    assert again == made and hash(again) == hash(made)
    np.testing.assert_array_equal(again.scalars(3, 2), made.scalars(3, 2))


def test_equality_is_of_class_rule_and_values():
    assert Adam() == Adam(learning_rate=0.001)
    assert Adam() != Adam(0.01) and Adam() != RMSprop() and Adam() != "adam"
    assert SGD(0.1, momentum=0.9) != SGD(0.1, momentum=0.9, nesterov=True)
    assert SGD(0.1, momentum=0.9) != Optimizer("momentum", learning_rate=0.1, momentum=0.9)


def test_defaults_are_those_of_the_papers_and_of_pytorch():
    assert [made.hyperparameters for made in (SGD(), Adagrad(), RMSprop(), Adadelta(), Adam())] == [
        {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        {"learning_rate": 0.01, "eps": 1e-10, "initial_total": 0.0},
        {"learning_rate": 0.01, "rho": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False},
        {"learning_rate": 1.0, "rho": 0.9, "eps": 1e-6},
        {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False},
    ]


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_scalars_are_a_table_of_float64_in_the_rules_order(made):
    table = made.scalars(first_step=5, n_steps=3)
    scalars = made.rule.scalars
    further = made.averages + (made.accumulate > 1)
    assert table.shape[1] in (len(scalars) + further, 2 * len(scalars) + further) and table.dtype == np.float64
    assert table.flags.c_contiguous and not np.isnan(table).any()
    computed = made.each_step(np.ones(1), np.ones(1))
    for k, name in enumerate(scalars):
        assert np.isfinite(table[:, k]).all() or name == "bound"
        if name in made.hyperparameters and name not in computed:
            assert (table[:, k] == made.hyperparameters[name]).all()
    assert made.scalars(first_step=1, n_steps=0).shape == (0, table.shape[1])


def test_decay_spares_biases_but_in_a_dialect():
    """Which shows in the scalars: those of weights, then those of biases."""
    made = SGD(0.5, weight_decay=0.25, clip_value=2.0)
    assert made.rule.scalars == ("bound", "coupled", "decay", "learning_rate")
    np.testing.assert_array_equal(made.scalars(1, 1), [[2.0, 0.0, 0.125, 0.5, 2.0, 0.0, 0.0, 0.5]])
    inf = float("inf")
    np.testing.assert_array_equal(
        SGD(0.5, weight_decay=0.25, dialect="keras").scalars(1, 1), [[inf, 0.0, 0.125, 0.5]]
    )
    np.testing.assert_array_equal(
        SGD(0.5, weight_decay=0.25, dialect="torch").scalars(1, 1), [[inf, 0.25, 0.0, 0.5]]
    )


def test_nothing_is_paid_for_what_is_not_asked_for():
    assert SGD(weight_decay=0.0).rule == SGD().rule and "bound" not in SGD(weight_decay=0.0).rule.scalars


def test_what_no_library_has_is_refused():
    with pytest.raises(ValueError, match=r"Lion: dialect: got 'sklearn', expected one of None, 'keras', 'optax'"):
        Lion(dialect="sklearn")
    with pytest.raises(ValueError, match="Adam: weight_decay: scikit-learn's optimizers have none"):
        Adam(dialect="sklearn", weight_decay=0.1)
    with pytest.raises(ValueError, match=r"Rprop: learning_rate: got 60.0, expected .*\[1e-06, 50.0\]"):
        Rprop(60.0)
    with pytest.raises(ValueError, match="the schedule gave 0"):
        Ftrl(lambda step: 0.0).scalars(1, 1)


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_scalars_of_a_step_do_not_depend_on_how_steps_are_asked_for(made):
    whole = made.scalars(1, 6)
    np.testing.assert_array_equal(np.concatenate([made.scalars(1, 2), made.scalars(3, 4)]), whole)


def test_scalars_of_batches_are_those_of_the_change_they_are_part_of():
    plain, several = Adam(average=2), Adam(average=2, accumulate=3)
    table = several.scalars(2, 8)
    np.testing.assert_array_equal(table[:, :-1], plain.scalars(1, 3)[[0, 0, 1, 1, 1, 2, 2, 2]])
    np.testing.assert_array_equal(table[:, -1], [0, 1, 0, 0, 1, 0, 0, 1])


@pytest.mark.parametrize(("first_step", "n_steps"), [(0, 1), (-1, 1), (1, -1)])
def test_steps_are_counted_from_one(first_step, n_steps):
    with pytest.raises(
        ValueError, match=f"first_step={first_step}, n_steps={n_steps}, expected first_step of at least 1"
    ):
        Adam().scalars(first_step, n_steps)


def test_adam_corrects_the_bias_in_float64():
    made = Adam(learning_rate=0.5, beta1=0.75, beta2=0.5)
    steps = made.each_step(np.array([1.0, 2.0]), np.array([0.5, 0.5]))
    np.testing.assert_array_equal(steps["step"], [0.5 / 0.25, 0.5 / (1 - 0.75**2)])
    np.testing.assert_allclose(steps["root"], [0.5**-0.5, 0.75**-0.5], rtol=4 * np.finfo(float).eps)


def test_adams_scalars_do_not_depend_on_the_steps_they_are_computed_with():
    made, steps = Adam(), [1, 2, 255, 256, 257, 5000, 10**6 + 3]
    together = made.scalars(1, 10**6 + 3)
    for step in steps:
        np.testing.assert_array_equal(made.scalars(step, 1)[0], together[step - 1])
    column, t = made.rule.scalars.index("step"), np.arange(1.0, 3000.0)
    np.testing.assert_allclose(together[:2999, column], 1e-3 / (1 - 0.9**t), rtol=1e-14)


def test_complements_reach_float32_with_all_their_digits():
    for made, name, exact in ((Adam(), "one_minus_beta2", 0.001), (RMSprop(), "one_minus_rho", 0.01)):
        column = made.rule.scalars.index(name)
        assert np.float32(made.scalars(1, 1)[0, column]) == np.float32(exact)


@pytest.mark.parametrize("t", [1, 2, 10, 1000, 10**6])
def test_one_step_of_adam_is_the_papers_algorithm(t):
    beta1, beta2, eps, learning_rate = 0.9, 0.999, 1e-8, 0.001
    w, g, m, v = np.random.default_rng(t).normal(size=(4, 50))
    v = abs(v)
    m_new = beta1 * m + (1 - beta1) * g
    v_new = beta2 * v + (1 - beta2) * g * g
    expected = w - learning_rate * (m_new / (1 - beta1**t)) / (np.sqrt(v_new / (1 - beta2**t)) + eps)
    made = Adam()
    scalars = dict(zip(adam.scalars, made.scalars(t, 1)[0], strict=True))
    results = adam(w, g, m, v, **scalars)
    for actual, wanted in zip(results, (expected, m_new, v_new), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-14, atol=1e-16)


def test_the_first_step_of_adam_is_the_learning_rate():
    w, m, v = (np.zeros(3) for _ in range(3))
    scalars = dict(zip(adam.scalars, Adam(0.01).scalars(1, 1)[0], strict=True))
    np.testing.assert_allclose(
        adam(w, np.array([5.0, -0.1, 3e4]), m, v, **scalars)[0], [-0.01, 0.01, -0.01], rtol=1e-6
    )


OUT_OF_RANGE = [
    (SGD, "learning_rate", -0.1, "[0, inf)"),
    (SGD, "learning_rate", float("nan"), "[0, inf)"),
    (SGD, "learning_rate", float("inf"), "[0, inf)"),
    (SGD, "learning_rate", "fast", "[0, inf)"),
    (SGD, "learning_rate", True, "[0, inf)"),
    (SGD, "momentum", 1.0, "[0, 1)"),
    (SGD, "momentum", -0.1, "[0, 1)"),
    (SGD, "nesterov", 1, "True or False"),
    (SGD, "nesterov", True, "momentum in (0, 1)"),
    (Adagrad, "eps", 0.0, "(0, inf)"),
    (RMSprop, "rho", 1.0, "[0, 1)"),
    (RMSprop, "eps", 0.0, "(0, inf)"),
    (Adadelta, "rho", -1e-9, "[0, 1)"),
    (Adadelta, "eps", -1.0, "(0, inf)"),
    (Adam, "beta1", 1.0, "[0, 1)"),
    (Adam, "beta2", 1.5, "[0, 1)"),
    (Adam, "eps", 0, "(0, inf)"),
    (Adam, "amsgrad", 1, "True or False"),
    (Adam, "weight_decay", -0.1, "[0, inf)"),
    (Adam, "clip_value", 0.0, "(0, inf)"),
    (RMSprop, "centered", "yes", "True or False"),
    (NAdam, "momentum_decay", -1.0, "[0, inf)"),
    (Yogi, "initial_square", -1.0, "[0, inf)"),
    (Ftrl, "learning_rate", 0.0, "(0, inf)"),
    (Ftrl, "l1", -1.0, "[0, inf)"),
    (Rprop, "shrink", 1.0, "(0, 1)"),
    (Rprop, "grow", 1.0, "(1, inf)"),
    (SGD, "clip_norm", 0.0, "(0, inf)"),
    (SGD, "ema", 1.0, "[0, 1)"),
    (SGD, "average", 0, "a whole number of at least 1"),
    (SGD, "average", 2.0, "a whole number of at least 1"),
    (SGD, "average", True, "a whole number of at least 1"),
    (SGD, "accumulate", -1, "a whole number of at least 1"),
]


@pytest.mark.parametrize(("kind", "name", "value", "expected"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(kind, name, value, expected):
    with pytest.raises(ValueError) as refusal:
        kind(**{name: value})
    message = str(refusal.value)
    assert message.startswith(f"{kind.__name__}: {name}: got {value!r}") and expected in message


def test_the_learning_rate_may_be_changed_but_is_checked():
    made = Adam()
    made.learning_rate = 0.5
    assert made.learning_rate == 0.5 and repr(made).startswith("Adam(learning_rate=0.5,")
    assert made.scalars(10**6, 1)[0, 0] == 0.5
    with pytest.raises(ValueError, match="Adam: learning_rate: got -1"):
        made.learning_rate = -1
    assert made.learning_rate == 0.5


def test_names_rules_and_optimizers_are_resolved():
    assert [resolve(name) for name in BY_NAME] == [kind() for kind in BY_NAME.values()]
    made = Adam(0.5)
    assert resolve(made) is made
    with pytest.raises(ValueError, match="unknown optimizer 'adma'; did you mean 'adamax' or 'adam'"):
        resolve("adma")
    with pytest.raises(TypeError, match=r"optimizer: got 3, expected a name or an optimizer; "):
        resolve(3)


def test_a_users_own_rule_becomes_an_optimizer(tmp_path, monkeypatch):
    (tmp_path / "own_rule.py").write_text(
        "from fastgd._formula import optimizer\n"
        "@optimizer(source='here')\n"
        "def heavy(w, g, b, *, learning_rate=0.5, pull):\n"
        "    b = pull * b + g\n"
        "    return w - learning_rate * b, b\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        from own_rule import heavy

        made = Optimizer(heavy, pull=0.25)
        assert repr(made) == "Optimizer('heavy', learning_rate=0.5, pull=0.25)"
        np.testing.assert_array_equal(made.scalars(1, 2), [[0.5, 0.25]] * 2)
        assert Optimizer("heavy", pull=0.25) == made and get(OPTIMIZERS, "heavy") is heavy
        with pytest.raises(
            ValueError, match="got hyperparameters learning_rate, expected learning_rate, pull"
        ):
            resolve("heavy")
        with pytest.raises(ValueError, match="expected learning_rate, pull of rule 'heavy'"):
            Optimizer(heavy, pull=0.25, push=1.0)
        with pytest.raises(ValueError, match="pull: got inf"):
            Optimizer(heavy, pull=float("inf"))
    finally:
        OPTIMIZERS.pop("heavy", None)


def test_a_class_of_ones_own_may_compute_scalars():
    class Warm(Optimizer):
        """RMSprop whose learning rate rises over ten steps."""

        def __init__(self, peak: float) -> None:
            super().__init__(rmsprop, peak=peak, rho=0.5, one_minus_rho=0.5, eps=1e-8)

        def each_step(self, t: np.ndarray, rate: object) -> dict:
            return {"learning_rate": self.hyperparameters["peak"] * np.minimum(t / 10.0, 1.0)}

    np.testing.assert_allclose(Warm(2.0).scalars(1, 20)[:, 0], np.minimum(np.arange(1, 21) / 5.0, 2.0))


def test_a_rule_without_learning_rate_says_so():
    class Sign(Optimizer):
        """A rule whose learning rate goes by another name."""

        def __init__(self) -> None:
            super().__init__(OPTIMIZERS["sgd"], pace=0.1)

        def each_step(self, t: np.ndarray, rate: object) -> dict:
            return {"learning_rate": self.hyperparameters["pace"]}

    with pytest.raises(AttributeError, match="optimizer 'sgd' has no learning rate"):
        _ = Sign().learning_rate


@pytest.mark.parametrize("name", BY_NAME)
def test_scalars_of_accumulated_batches_are_those_of_the_change_they_lead_to(name):
    """In runs that begin amid a change, too; the last column says which batch completes one."""
    make = BY_NAME[name]
    of_changes = make().scalars(1, 3)
    table = make(accumulate=3).scalars(2, 8)
    assert np.array_equal(table[:, :-1], of_changes[[0, 0, 1, 1, 1, 2, 2, 2]])
    assert table[:, -1].tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert make(accumulate=3).scalars(2, 0).shape == (0, table.shape[1])
