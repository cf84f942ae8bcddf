"""Pictures: what is on them, and what is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd as fg
from fastgd.schedules import Cosine, Exponential
from fastgd.training import History

matplotlib = pytest.importorskip("matplotlib")
pyplot = pytest.importorskip("matplotlib.pyplot")

EPOCHS = 7


@pytest.fixture(autouse=True)
def _figures():
    """No window, and nothing left open."""
    backend = pyplot.get_backend()
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(backend)


@pytest.fixture(scope="module")
def model():
    """A classifier that was trained with validation data."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(60, 4)), draw.integers(0, 3, 60)
    made = fg.Sequential([fg.Dense(5, "tanh"), fg.Dense(3)], loss="softmax_cross_entropy")
    made.fit(X[:40], y[:40], epochs=EPOCHS, validation_data=(X[40:], y[40:]))
    return made


@pytest.fixture(scope="module", params=["sklearn.neural_network", "fastgd.sklearn"])
def estimator(request):
    """scikit-learn's and ours, with a validation of its own."""
    pytest.importorskip("sklearn", minversion="1.6")
    neural_network = pytest.importorskip(request.param)
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(200, 9)), draw.integers(0, 2, 200)
    made = neural_network.MLPClassifier((6,), early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0)
    return made.fit(X, y)


def rendered(display):
    """Whether the figure can be drawn in full, and its axes are of that figure."""
    display.figure_.canvas.draw()
    return display.ax_ in display.figure_.axes


def lines(display):
    """Coordinates of all lines by their labels."""
    return {line.get_label(): line.get_data() for line in display.ax_.lines}


# --------------------------------------------------------------------------------------------------- loss curves
def test_losses_of_a_history(model):
    """Both, with their epochs, and a legend that tells them apart."""
    display = fg.plots.LossCurveDisplay.from_history(model.history)
    drawn = lines(display)
    assert list(drawn) == ["loss", "val_loss"]
    for name, (epochs, values) in drawn.items():
        np.testing.assert_array_equal(epochs, np.arange(1, EPOCHS + 1))
        np.testing.assert_array_equal(values, model.history.history[name])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["loss", "val_loss"]
    assert rendered(display)


def test_epochs_of_a_second_fit_go_on_where_the_first_has_stopped():
    """As they are numbered in the history."""
    made = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", backend="numpy")
    for _ in range(2):
        made.fit([[0.0], [1.0]], [0.0, 1.0], epochs=3)
    [(epochs, _)] = lines(fg.plots.LossCurveDisplay.from_estimator(made)).values()
    np.testing.assert_array_equal(epochs, [4, 5, 6])


def test_other_figures_of_a_history(model):
    """By their names; what they have in common is the label of the axis."""
    display = fg.plots.LossCurveDisplay.from_estimator(model, metrics=["val_accuracy"])
    assert list(lines(display)) == ["val_accuracy"]
    assert display.ax_.get_ylabel() == "accuracy"
    assert display.ax_.get_legend() is None
    both = fg.plots.LossCurveDisplay.from_estimator(model, metrics=("loss", "val_accuracy"))
    assert both.ax_.get_ylabel() == ""


def test_losses_of_an_estimator(estimator):
    """scikit-learn's attributes."""
    display = fg.plots.LossCurveDisplay.from_estimator(estimator, metrics=["loss", "val_score"])
    drawn = lines(display)
    np.testing.assert_array_equal(drawn["loss"][1], estimator.loss_curve_)
    np.testing.assert_array_equal(drawn["val_score"][1], estimator.validation_scores_)
    # scikit-learn keeps scores only.
    kept = ["loss", "val_loss"] if hasattr(estimator, "validation_loss_curve_") else ["loss"]
    assert list(lines(fg.plots.LossCurveDisplay.from_estimator(estimator))) == kept


def test_given_axes_are_drawn_on_and_a_display_can_be_drawn_again(model):
    """As in scikit-learn; arguments go to matplotlib."""
    _, (left, right) = pyplot.subplots(1, 2)
    display = fg.plots.LossCurveDisplay.from_history(model.history, ax=left, linestyle=":")
    assert display.ax_ is left
    assert {line.get_linestyle() for line in display.lines_} == {":"}
    assert display.plot(right) is display
    assert display.ax_ is right
    assert display.figure_ is right.figure
    assert len(left.lines) == len(right.lines) == 2
    assert display.plot().ax_ not in (left, right)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fg.plots.LossCurveDisplay.from_history({}), TypeError, "^history: got a dict, expected what fit"),
        (lambda: fg.plots.LossCurveDisplay.from_history(History()), ValueError, "expected at least one epoch; call"),
        (lambda: fg.plots.LossCurveDisplay.from_estimator(3), TypeError, "^estimator: got a int, expected a model, or"),
        (lambda: fg.plots.LossCurveDisplay({"a": [1.0], "b": []}), ValueError, r"^curves\['b'\]: got 0 values"),
        (lambda: fg.plots.LossCurveDisplay({}), ValueError, "^curves: got none with a value"),
    ],
)  # fmt: skip
def test_what_is_no_curve_is_refused(call, error, message):
    """In the words of the house."""
    with pytest.raises(error, match=message):
        call()
    assert not pyplot.get_fignums()


def test_an_unknown_metric_is_refused_with_those_that_there_are(model):
    """And no empty figure appears."""
    message = "^metrics: got 'f1', expected some of loss, val_loss, val_accuracy; pass metrics="
    with pytest.raises(ValueError, match=message):
        fg.plots.LossCurveDisplay.from_history(model.history, metrics=["f1"])
    assert not pyplot.get_fignums()


# ----------------------------------------------------------------------------------------------------- schedules
def test_a_schedule():
    """Its values from step 0 on."""
    schedule = Cosine(0.1, 0.0, steps=50)
    display = fg.plots.ScheduleDisplay.from_schedule(schedule, 60)
    steps, values = lines(display)["Cosine"]
    np.testing.assert_array_equal(steps, np.arange(60))
    np.testing.assert_array_equal(values, schedule(np.arange(60)))
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("step", "learning rate")
    assert rendered(display)


def test_schedules_are_compared_on_the_same_axes():
    """A number, a function, a schedule, by their names."""

    def halving(step):
        return 0.1 * 0.5**step

    display = fg.plots.ScheduleDisplay.from_schedule(0.05, 10)
    assert display.ax_.get_legend() is None
    for schedule in (halving, Exponential(0.1, 0.9)):
        fg.plots.ScheduleDisplay.from_schedule(schedule, 10, ax=display.ax_)
    fg.plots.ScheduleDisplay.from_schedule(0.02, 10, name="slow", ax=display.ax_)
    assert list(lines(display)) == ["0.05", "halving", "Exponential", "slow"]
    np.testing.assert_array_equal(lines(display)["0.05"][1], np.full(10, 0.05))
    assert len(display.ax_.get_legend().get_texts()) == 4


@pytest.mark.parametrize(
    ("schedule", "n_steps", "error", "message"),
    [
        (-0.1, 10, ValueError, "^schedule: got -0.1, expected a finite number"),
        ("cosine", 10, ValueError, "^schedule: got 'cosine', expected a finite number"),
        (lambda step: 1.0 - step, 10, ValueError, "^learning rate at step 2: got -1.0"),
        (0.1, 0, ValueError, "^n_steps: got 0, expected a whole number of at least 1"),
        (0.1, 2.5, TypeError, "^n_steps: got 2.5, expected a whole number"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule, n_steps, error, message):
    """As an optimizer refuses it."""
    with pytest.raises(error, match=message):
        fg.plots.ScheduleDisplay.from_schedule(schedule, n_steps)
    assert not pyplot.get_fignums()


# --------------------------------------------------------------------------------------------------------- paths
def bowl(x):
    """Its lowest point is (1, -2)."""
    return (x[0] - 1.0) ** 2 + 3.0 * (x[1] + 2.0) ** 2


PATH = np.array([[0.0, 0.0], [0.5, -1.0], [1.0, -2.0]])


def test_a_path_on_the_contour_of_its_function():
    """The grid holds the function, x along its columns; the picture reaches beyond the path."""
    display = fg.plots.PathDisplay.from_paths(bowl, PATH, n_points=40)
    np.testing.assert_array_equal(np.transpose(lines(display)["path"]), PATH)
    assert display.values.shape == (40, 40)
    assert display.values[3, 5] == bowl([display.x[5], display.y[3]])
    assert display.x[0] == -0.25
    assert display.x[-1] == 1.25
    assert display.y[0] == -2.5
    assert display.y[-1] == 0.5
    assert display.ax_.get_xlim() == (-0.25, 1.25)
    assert display.ax_.get_legend() is None
    levels = display.contour_.levels
    assert (np.diff(levels) > 0.0).all()
    assert display.values.min() <= levels[0] <= levels[-1] <= display.values.max()
    assert rendered(display)


def test_several_paths_by_name():
    """One contour, as large as all of them need."""
    display = fg.plots.PathDisplay.from_paths(bowl, {"this": PATH, "that": PATH[::-1] * 2.0}, n_points=30)
    assert list(lines(display)) == ["this", "that"]
    assert display.x[-1] > 2.0
    assert display.y[0] < -4.0
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["this", "that"]


def test_results_of_a_minimisation():
    """Their paths; and of a function that returns its gradient too, the value."""
    result = SimpleNamespace(path=PATH, x=PATH[-1])
    for given in (result, {"one": result, "two": PATH}):
        display = fg.plots.PathDisplay.from_paths(lambda x: (bowl(x), "gradient"), given, n_points=20)
        np.testing.assert_array_equal(display.lines_[0].get_xydata(), PATH)
        assert display.values[0, 0] == bowl([display.x[0], display.y[0]])


def test_a_picture_of_a_given_extent():
    """Where the function has no value, nothing is drawn; a path of one point has some room too."""
    display = fg.plots.PathDisplay.from_paths(lambda x: np.log(x[0]) + x[1] ** 2, PATH[2:], x=(0.0, 2.0), n_points=30)
    assert display.ax_.get_xlim() == (0.0, 2.0)
    assert display.y[0] < -2.0 < display.y[-1]
    assert np.isneginf(display.values[:, 0]).all()
    assert np.isfinite(display.contour_.levels).all()
    assert rendered(display)


@pytest.mark.parametrize(
    ("paths", "options", "error", "message"),
    [
        (PATH[:, :1], {}, ValueError, "^paths: got points of 1 variables, expected points of 2"),
        (PATH[0], {}, ValueError, r"^paths: got shape \(2,\), expected numbers in 2 dimensions"),
        (PATH[:0], {}, ValueError, r"^paths: got shape \(0, 2\), expected numbers in 2 dimensions"),
        (PATH * np.nan, {}, ValueError, "^paths: got NaN or an infinity, expected finite numbers"),
        ({"a": PATH, "b": PATH.T}, {}, ValueError, r"^paths\['b'\]: got points of 3 variables"),
        ({"nfev": 3, "x": PATH[0]}, {}, ValueError, "got a result without a path.*minimise with record=True"),
        ({}, {}, ValueError, "^paths: got none"),
        ("path", {}, TypeError, "^paths: got dtype <U4, expected real numbers"),
        (PATH, {"x": (1.0, 1.0)}, ValueError, r"^x: got \(1.0, 1.0\), expected two numbers, the smaller one first"),
        (PATH, {"y": (0.0, np.inf)}, ValueError, r"^y: got \(0.0, inf\)"),
        (PATH, {"n_points": 0}, ValueError, "^n_points: got 0"),
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(paths, options, error, message):
    """Before anything is drawn."""
    with pytest.raises(error, match=message):
        fg.plots.PathDisplay.from_paths(bowl, paths, **options)
    assert not pyplot.get_fignums()


def test_a_grid_of_another_shape_is_refused():
    """The constructor takes what was computed elsewhere."""
    values = np.zeros((3, 4))
    assert fg.plots.PathDisplay({"path": PATH}, range(4), range(3), values).values is values
    with pytest.raises(ValueError, match=r"^values: got shape \(3, 4\), expected \(4, 3\), a row for each of y"):
        fg.plots.PathDisplay({"path": PATH}, range(3), range(4), values)
    with pytest.raises(ValueError, match="^values: got none that is finite"):
        fg.plots.PathDisplay({"path": PATH}, range(4), range(3), values * np.nan).plot()


# ------------------------------------------------------------------------------------------------------- weights
def test_weights_of_a_model_as_images():
    """One for each unit, each with its inputs in rows, on one scale with zero in the middle."""
    model = fg.Sequential([fg.Dense(5), fg.Dense(2)]).build(12)
    W = np.arange(60.0).reshape(12, 5) - 10.0
    model.set_weights([W, *model.get_weights()[1:]])
    display = fg.plots.WeightsDisplay.from_estimator(model, shape=(3, 4))
    # Five images in two rows of three.
    assert display.mosaic.shape == (2 * 3 + 1, 3 * 4 + 2)
    np.testing.assert_array_equal(display.mosaic[:3, :4], W[:, 0].reshape(3, 4))
    np.testing.assert_array_equal(display.mosaic[4:, 5:9], W[:, 4].reshape(3, 4))
    assert np.isnan(display.mosaic[3]).all()
    assert np.isnan(display.mosaic[:, 4]).all()
    assert np.isnan(display.mosaic[4:, 10:]).all()
    assert display.image_.get_clim() == (-49.0, 49.0)
    assert rendered(display)


def test_weights_of_an_estimator(estimator):
    """coefs_; a square by default; as many units as are wanted; any layer."""
    display = fg.plots.WeightsDisplay.from_estimator(estimator, n_units=2, cmap="gray")
    assert display.mosaic.shape == (3, 7)
    np.testing.assert_array_equal(display.mosaic[:, :3], estimator.coefs_[0][:, 0].reshape(3, 3))
    assert display.image_.get_cmap().name == "gray"
    assert fg.plots.WeightsDisplay.from_estimator(estimator, -1, shape=(2, 3)).mosaic.shape == (2, 3)
    assert fg.plots.WeightsDisplay.from_estimator(estimator, n_units=99).mosaic.shape == (2 * 4 - 1, 3 * 4 - 1)


def test_weights_that_are_all_zero():
    """They have a picture as well."""
    display = fg.plots.WeightsDisplay(np.zeros((4, 1)))
    assert display.plot().image_.get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("n_inputs", "options", "error", "message"),
    [
        (12, {}, ValueError, "^shape: got None, for 12 inputs, expected a height and a width"),
        (12, {"shape": (3, 3)}, ValueError, r"^shape: got \(3, 3\), expected .* whose product is 12"),
        (12, {"shape": (3, 2, 2)}, ValueError, r"^shape: got \(3, 2, 2\)"),
        (12, {"shape": (2.0, 6)}, TypeError, "^shape: got 2.0, expected a whole number"),
        (4, {"n_units": 0}, ValueError, "^n_units: got 0"),
        (4, {"layer": 2}, ValueError, "^layer: got 2, expected a whole number from -2 to 1"),
        (4, {"layer": "first"}, ValueError, "^layer: got 'first'"),
    ],
)
def test_what_cannot_be_an_image_is_refused(n_inputs, options, error, message):
    """And no empty figure appears."""
    model = fg.Sequential([fg.Dense(4), fg.Dense(1)]).build(n_inputs)
    with pytest.raises(error, match=message):
        fg.plots.WeightsDisplay.from_estimator(model, **options)
    assert not pyplot.get_fignums()


def test_what_has_no_weights_is_refused():
    """A model that is not built, and anything that is no model."""
    with pytest.raises(fg.NotBuiltError):
        fg.plots.WeightsDisplay.from_estimator(fg.Sequential([fg.Dense(1)]))
    with pytest.raises(TypeError, match="^estimator: got a list, expected a model, or a fitted estimator with coefs_"):
        fg.plots.WeightsDisplay.from_estimator([1.0])


# ------------------------------------------------------------------------------------------------ without a library
def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch):
    """When something is to be drawn, not before."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = fg.plots.WeightsDisplay(np.ones((4, 1)))
    message = r'^fg.plots needs matplotlib, which is not installed; type: pip install "fastgd\[plot\]"$'
    with pytest.raises(ImportError, match=message):
        display.plot()
