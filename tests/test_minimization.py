"""`fg.minimize`: optimizers along the oracle's path, methods that search, gradients of every kind; what is refused."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import scipy.optimize
from counterparts import BACKENDS, HYPERPARAMETERS, JUMPING, MADE_BY, OPTIMIZER_NAMES, optimizer_named
from oracle import optimizers as oracle_optimizers
from tolerances import assert_within

import fastgd as fg
from fastgd.differences import central_gradient, forward_gradient
from fastgd.methods import METHODS, resolve

SCALES, CENTRE = np.array([1.0, 4.0, 0.5]), np.array([1.0, -2.0, 0.5])
START = np.array([0.2, 0.4, -1.0])


def bowl(x):
    return 0.5 * float((SCALES * (x - CENTRE) ** 2).sum())


def slope(x):
    return SCALES * (x - CENTRE)


# ------------------------------------------------------------------------------------------------ optimizers
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", OPTIMIZER_NAMES)
def test_an_optimizer_goes_where_the_oracle_goes(rule, backend):
    """A hundred steps along the gradients that it meets on its way, with a rate that falls."""
    given = dict(HYPERPARAMETERS[rule])
    if rule != "rprop":
        given["learning_rate"] = fg.schedules.Exponential(given["learning_rate"], 0.99)
    optimizer = optimizer_named(rule, **given)
    found = fg.minimize(bowl, START, slope, optimizer, max_iter=100, tol=0.0, record=True, backend=backend)
    oracle = oracle_optimizers.CLASSES[MADE_BY[rule][0].__name__](**optimizer.hyperparameters)
    x, path = START, [START]
    for _ in range(100):
        x = oracle.step(x, slope(x))
        path.append(x)
    # Where a rule jumps by the sign of a sum, a rounding may change the side.
    kept = 20 if rule in JUMPING else 101
    np.testing.assert_allclose(found.path[:kept], path[:kept], rtol=0, atol=1e-10)
    assert found.path_fun.shape == (101,) and found.path_fun[-1] == found.fun == bowl(found.x)
    assert (found.nit, found.nfev, found.njev, found.status, found.success) == (100, 101, 101, 1, False)


def test_weight_decay_and_clipping_come_along():
    found = fg.minimize(bowl, START, slope, fg.SGD(0.1, weight_decay=0.5, clip_value=0.25), max_iter=3, tol=0.0)
    x = START
    for _ in range(3):
        x = x - 0.1 * 0.5 * x - 0.1 * np.clip(slope(x), -0.25, 0.25)
    np.testing.assert_allclose(found.x, x, rtol=1e-14)


def test_convergence_is_by_the_largest_component_of_the_gradient():
    found = fg.minimize(bowl, START, slope, fg.SGD(0.25), tol=1e-6)
    assert found.success and found.status == 0 and abs(found.jac).max() <= 1e-6 < abs(slope(found.x)).max() * 10
    assert_within(found.x, CENTRE, 1e-6 / SCALES)
    np.testing.assert_array_equal(found.jac, slope(found.x))
    at_once = fg.minimize(bowl, CENTRE, slope)
    assert (at_once.nit, at_once.nfev, at_once.success) == (0, 1, True)


def test_the_last_finite_point_is_returned():
    with np.errstate(over="ignore"):
        found = fg.minimize(lambda x: float(x[0] ** 4), [1.0], lambda x: 4 * x**3, fg.SGD(1e3), tol=0.0)
    assert not found.success and found.status == 2 and "learning rate 1000" in found.message
    assert np.isfinite([found.fun, *found.x, *found.jac]).all() and found.fun == found.x[0] ** 4


# ------------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize(
    ("jac", "fun", "nfev", "njev", "tolerance"),
    [
        (slope, bowl, 4, 4, 0.0),
        (True, lambda x: (bowl(x), slope(x)), 4, 4, 0.0),
        (None, bowl, 4 * 7, 0, 1e-9),
        (False, bowl, 4 * 7, 0, 1e-9),
        ("3-point", bowl, 4 * 7, 0, 1e-9),
        ("2-point", bowl, 4 * 4, 0, 1e-6),
    ],
)
def test_every_way_of_having_a_gradient(jac, fun, nfev, njev, tolerance):
    found = fg.minimize(fun, START, jac, fg.Adam(0.1), max_iter=3, tol=0.0)
    expected = fg.minimize(bowl, START, slope, fg.Adam(0.1), max_iter=3, tol=0.0)
    np.testing.assert_allclose(found.x, expected.x, rtol=0, atol=tolerance)
    assert (found.nfev, found.njev) == (nfev, njev)


@pytest.mark.parametrize("x", [[0.0], [1e-3], [7.0], [-1e6]])
def test_differences_have_the_digits_that_they_promise(x):
    """Truncation f'' h / 2 and f''' h^2 / 6; a rounding of the values over h; twice that for a margin."""
    x, unit = np.array(x), np.finfo(float).eps
    scale = np.maximum(1.0, abs(x))

    def wave(at):
        return float(np.sin(at[0] / scale[0]))

    exact = np.cos(x / scale) / scale
    assert_within(forward_gradient(wave, x, wave(x)), exact, 3 * unit ** (1 / 2) / scale, "forward")
    assert_within(central_gradient(wave, x), exact, 3 * unit ** (2 / 3) / scale, "central")


def test_what_is_done_to_x_is_of_no_consequence():
    def rude(x):
        value = bowl(x)
        x[:] = np.nan
        return value

    def rude_slope(x):
        gradient = slope(x)
        x[:] = np.nan
        return gradient

    start = START.copy()
    found = fg.minimize(rude, start, rude_slope, max_iter=5, callback=lambda x: x.fill(np.nan))
    np.testing.assert_array_equal(found.x, fg.minimize(bowl, START, slope, max_iter=5).x)
    np.testing.assert_array_equal(start, START)


# ---------------------------------------------------------------------------------------------------- methods
def test_lbfgs_is_that_of_scipy():
    options = {"maxcor": 5, "ftol": 0.0, "gtol": 1e-8, "maxiter": 30}
    rosen, rosen_der = scipy.optimize.rosen, scipy.optimize.rosen_der
    expected = scipy.optimize.minimize(rosen, START, jac=rosen_der, method="L-BFGS-B", options=options)
    optimizer = fg.LBFGS(memory=5, function_tolerance=0.0)
    found = fg.minimize(rosen, START, rosen_der, optimizer, max_iter=30, tol=1e-8, record=True)
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.nit == expected.nit and found.nfev == expected.nfev + 1 and found.success == expected.success
    assert found.path.shape == (found.nit + 1, 3) and (np.diff(found.path_fun) < 0).all()
    np.testing.assert_array_equal(found.jac, rosen_der(found.x))


def test_lbfgs_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'LBFGS needs scipy, .*; type: pip install "fastgd\[scipy\]"'):
        fg.minimize(bowl, START, slope, "lbfgs")


def test_coordinate_search_follows_the_definition():
    """Up, else down, else not at all; after a round without any move the step is halved."""
    tried = []

    def steps(x):
        tried.append(x.tolist())
        return abs(x[0] - 1.0) + abs(x[1] + 1.0)

    found = fg.minimize(steps, [0.0, 0.0], optimizer=fg.CoordinateSearch(1.0), tol=0.5, max_iter=9)
    round_1 = [[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]]
    round_2 = [[2.0, -1.0], [0.0, -1.0], [1.0, 0.0], [1.0, -2.0]]
    assert tried == [[0.0, 0.0], [0.0, 0.0], *round_1, *round_2]
    assert found.x.tolist() == [1.0, -1.0] and found.success and found.nit == 2 and found.jac is None


@pytest.mark.parametrize("local", [False, True])
def test_random_search_keeps_the_best(local):
    tried = []

    def counted(x):
        tried.append((bowl(x), x.copy()))
        return bowl(x)

    found = fg.minimize(counted, START, optimizer=fg.RandomSearch(0.5, local, seed=3), max_iter=200, record=True)
    best, at = min(tried, key=lambda pair: pair[0])
    assert found.fun == best and (found.x == at).all() and found.success and len(tried) == 202
    assert (np.diff(found.path_fun) <= 0).all()
    centres = found.path[:-1] if local else START
    deviations = (np.array([x for _, x in tried[2:]]) - centres) / 0.5
    # 600 draws: the mean and the square's mean are within four of their standard deviations.
    assert abs(deviations.mean()) < 4 / 600**0.5 and abs((deviations**2).mean() - 1) < 4 * (2 / 600) ** 0.5


def test_random_search_depends_on_its_seed_alone():
    def search(seed):
        return fg.minimize(bowl, START, optimizer=fg.RandomSearch(seed=seed), max_iter=20).x

    np.testing.assert_array_equal(search(1), search(1))
    assert (search(1) != search(2)).any()


@pytest.mark.parametrize("made", [*(make() for make in METHODS.values()), fg.LBFGS(tol=0.5)], ids=repr)
def test_methods_are_values(made):
    assert eval(repr(made), vars(fg)) == made == pickle.loads(pickle.dumps(made)) and hash(made) == hash(resolve(made))
    assert made != fg.CoordinateSearch(7.0) and made != "lbfgs"


def test_names_stand_for_methods():
    assert [resolve(name) for name in METHODS] == [make() for make in METHODS.values()]
    with pytest.raises(ValueError, match=r"unknown optimizer 'lbgfs'; did you mean 'lbfgs'.*random_search"):
        resolve("lbgfs")


# --------------------------------------------------------------------------------------- callbacks, paths, SciPy
@pytest.mark.parametrize("optimizer", [fg.SGD(0.01), *(make() for make in METHODS.values())], ids=repr)
def test_a_callback_sees_every_iteration_and_may_stop(optimizer):
    seen = []

    def third(x):
        seen.append(x)
        if len(seen) == 3:
            raise StopIteration

    found = fg.minimize(bowl, START, None, optimizer, callback=third, record=True)
    assert (found.nit, found.status, found.success) == (3, 3, False) and "callback" in found.message
    np.testing.assert_array_equal(found.path[1:], seen)
    np.testing.assert_array_equal(found.x, seen[-1])


def test_a_callback_may_ask_for_the_result_so_far():
    seen = []
    fg.minimize(bowl, START, slope, max_iter=4, callback=lambda intermediate_result: seen.append(intermediate_result))
    assert [each.fun for each in seen] == [bowl(each.x) for each in seen] and len(seen) == 4
    np.testing.assert_array_equal(seen[2].jac, slope(seen[2].x))


def test_an_error_of_the_users_comes_through():
    with pytest.raises(ZeroDivisionError):
        fg.minimize(bowl, START, slope, callback=lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fg.minimize(bowl, START, slope, "lbfgs", callback=lambda x: 1 / 0)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "coordinate_search"])
@pytest.mark.parametrize("jac", [slope, True, None])
def test_as_a_method_of_scipy(jac, optimizer):
    fun = (lambda x: (bowl(x), slope(x))) if jac is True else bowl
    options = {"optimizer": fg.Adam(0.1) if optimizer == "adam" else optimizer, "max_iter": 2000}
    found = scipy.optimize.minimize(fun, START, jac=jac, method=fg.minimize, tol=1e-6, options=options)
    assert found.success and found["x"] is found.x
    np.testing.assert_allclose(found.x, CENTRE, atol=1e-5)


def test_arguments_are_handed_on():
    found = fg.minimize(lambda x, c: float(((x - c) ** 2).sum()), START, lambda x, c: 2 * (x - c), args=(CENTRE,))
    np.testing.assert_allclose(found.x, CENTRE, atol=1e-8)


def test_a_result_shows_what_it_has():
    found = fg.minimize(bowl, START, slope, max_iter=1)
    assert repr(found).splitlines()[0].split(": ")[0].strip() == "x" and "success: False" in repr(found)
    assert {"x", "nit", "message"} <= set(dir(found)) and pickle.loads(pickle.dumps(found)).fun == found.fun
    with pytest.raises(AttributeError, match="a Result has no 'path', but x, fun"):
        _ = found.path


# ----------------------------------------------------------------------------------------------------- refusals
REFUSED = {
    "a matrix": (dict(x0=np.ones((2, 2))), ValueError, r"x0: got shape \(2, 2\), expected a vector"),
    "nothing": (dict(x0=[]), ValueError, r"x0: got shape \(0,\)"),
    "text": (dict(x0="here"), TypeError, "x0: got dtype"),
    "a NaN": (dict(x0=[0.0, np.nan]), ValueError, r"x0\[1\]: got nan, expected a finite number"),
    "an infinite start": (dict(fun=lambda x: np.inf), ValueError, "a point where the function is infinite"),
    "no function": (dict(fun=3.0), TypeError, "fun: got 3.0, expected a function"),
    "a vector's function": (dict(fun=lambda x: x), TypeError, r"what fun returned: got an array of shape \(3,\)"),
    "text returned": (dict(fun=lambda x: "low"), TypeError, "what fun returned: got 'low'"),
    "no gradient beside it": (dict(jac=True), TypeError, r"got .*, expected a tuple \(value, gradient\)"),
    "a short gradient": (dict(jac=lambda x: x[:2]), ValueError, r"the gradient: got shape \(2,\) and dtype float64"),
    "an unknown jac": (dict(jac="cs"), TypeError, "jac: got 'cs', expected a function, True if"),
    "no steps": (dict(max_iter=0), ValueError, "max_iter: got 0"),
    "a negative tol": (dict(tol=-1.0), ValueError, "tol: got -1.0"),
    "bounds": (dict(bounds=[(0, 1)] * 3), ValueError, r"bounds: got \[.*expected None"),
    "a misspelt argument": (dict(maxiter=3), TypeError, "unexpected argument 'maxiter'"),
    "record": (dict(record=1), TypeError, "record: got 1, expected True or False"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    given, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        fg.minimize(**{"fun": bowl, "x0": START, **given})


METHOD_REFUSALS = [
    (lambda: fg.LBFGS(memory=0), "LBFGS: memory: got 0"),
    (lambda: fg.LBFGS(tol=-1.0), "LBFGS: tol: got -1.0"),
    (lambda: fg.LBFGS(function_tolerance=np.nan), "function_tolerance: got nan"),
    (lambda: fg.RandomSearch(0.0), "RandomSearch: scale: got 0.0"),
    (lambda: fg.RandomSearch(seed=-1), "seed: got -1"),
    (lambda: fg.CoordinateSearch(-1.0), "CoordinateSearch: step: got -1.0"),
    (lambda: fg.CoordinateSearch(shrink=1.0), "CoordinateSearch: shrink: got 1.0"),
]


@pytest.mark.parametrize(("make", "message"), METHOD_REFUSALS)
def test_methods_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
