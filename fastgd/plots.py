"""Pictures: of losses, learning rates, weights, and of the way downhill.

Each is a Display in scikit-learn's habit. A ``from_...`` method takes what is to be shown and draws it; the object that
it returns has the axes as ``ax_`` and the figure as ``figure_``, for whatever else is to be done with them, and its
method ``plot`` draws the same again elsewhere. Needs matplotlib: ``pip install "fastgd[plot]"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .errors import refusal
from .inputs import read_count, real_array
from .model import Sequential
from .optional import import_optional
from .schedules import Rate, read_rate, values_at
from .training import History

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._kernels import Array

__all__ = ["LossCurveDisplay", "PathDisplay", "ScheduleDisplay", "WeightsDisplay"]

# Attributes of scikit-learn's estimators, and of those with more to tell, that hold one value for each epoch.
CURVES = {"loss_curve_": "loss", "validation_loss_curve_": "val_loss", "validation_scores_": "val_score"}

# Lines of equal height that a contour is drawn with.
N_LEVELS = 20

# How far beyond the path a contour reaches, in its lengths.
MARGIN = 0.25


def _axes(ax: Any) -> tuple[Any, Any]:
    """Axes to draw on, new ones if none are given, and their figure."""
    pyplot: Any = import_optional("matplotlib.pyplot", "fg.plots")
    if ax is None:
        _, ax = pyplot.subplots()
    return ax, ax.figure


class LossCurveDisplay:
    """Losses, or other figures of `fit`, epoch by epoch.

    Parameters
    ----------
    curves : dict of str to sequence of float
        Values by name, one for each epoch.
    epochs : sequence of int, optional
        Numbers of the epochs; from 1 on by default.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D

    See Also
    --------
    LossCurveDisplay.from_history : Of what `fit` returned.
    LossCurveDisplay.from_estimator : Of a model or of an estimator of scikit-learn's kind.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(0.1), backend="numpy")
    >>> history = model.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], epochs=30)
    >>> display = fg.plots.LossCurveDisplay.from_history(history)
    >>> display.ax_.get_xlabel(), display.ax_.get_ylabel()
    ('epoch', 'loss')
    """

    def __init__(self, curves: Mapping[str, Sequence[float]], epochs: Sequence[int] | None = None) -> None:
        self.curves = {name: list(values) for name, values in curves.items()}
        longest = max(map(len, self.curves.values()), default=0)
        if longest == 0:
            raise ValueError(refusal("curves", "none with a value", "at least one epoch", "call fit first"))
        self.epochs = list(range(1, longest + 1)) if epochs is None else list(epochs)
        for name, values in self.curves.items():
            if len(values) != len(self.epochs):
                got, expected = f"{len(values)} values", f"one for each of {len(self.epochs)} epochs"
                raise ValueError(refusal(f"curves[{name!r}]", got, expected, "leave it out"))

    @classmethod
    def from_history(
        cls, history: History, *, metrics: Iterable[str] | None = None, ax: Any = None, **line: Any
    ) -> Self:
        """Draw what `fit` returned.

        Parameters
        ----------
        history : History
        metrics : iterable of str, optional
            Which of its figures; ``"loss"`` and ``"val_loss"``, as far as they are there, by default.
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError
            For anything but a History.
        ValueError
            For a metric that it has not, or if there is no epoch.
        """
        if not isinstance(history, History):
            expected = "what fit returns"
            raise TypeError(refusal("history", f"a {type(history).__name__}", expected, "pass model.fit(X, y)"))
        return cls(_chosen(history.history, metrics), history.epochs).plot(ax, **line)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, metrics: Iterable[str] | None = None, ax: Any = None, **line: Any
    ) -> Self:
        """Draw the last `fit` of a model, or of an estimator with a ``loss_curve_``, such as an MLPClassifier.

        Parameters
        ----------
        estimator : Sequential or estimator
            A pipeline's last step is ``pipeline[-1]``.
        metrics : iterable of str, optional
            As for `from_history`; ``"val_score"`` are the ``validation_scores_``.
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError
            If it has no losses.
        ValueError
            For a metric that it has not, or if there is no epoch.
        """
        if isinstance(estimator, Sequential):
            return cls.from_history(estimator.history, metrics=metrics, ax=ax, **line)
        # Those that were not asked for are None.
        found = {name: getattr(estimator, attribute, None) for attribute, name in CURVES.items()}
        curves = {name: values for name, values in found.items() if values is not None}
        if "loss" not in curves:
            expected = "a model, or a fitted estimator with a loss_curve_"
            raise TypeError(refusal("estimator", f"a {type(estimator).__name__}", expected, "call fit first"))
        return cls(_chosen(curves, metrics)).plot(ax, **line)

    def plot(self, ax: Any = None, **line: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        LossCurveDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax)
        self.lines_ = []
        for name, values in self.curves.items():
            self.lines_ += self.ax_.plot(self.epochs, values, **{"label": name, **line})
        self.ax_.set_xlabel("epoch")
        kinds = {name.removeprefix("val_") for name in self.curves}
        if len(kinds) == 1:
            self.ax_.set_ylabel(kinds.pop())
        if len(self.lines_) > 1:
            self.ax_.legend()
        return self


def _chosen(curves: Mapping[str, Sequence[float]], metrics: Iterable[str] | None) -> dict[str, Sequence[float]]:
    """Curves by their names; the losses if none are named."""
    names = [name for name in ("loss", "val_loss") if name in curves] if metrics is None else list(metrics)
    for name in names:
        if name not in curves:
            raise ValueError(refusal("metrics", repr(name), f"some of {', '.join(curves)}", "pass metrics=['loss']"))
    return {name: curves[name] for name in names}


class ScheduleDisplay:
    """A learning rate, step by step.

    Parameters
    ----------
    values : array_like of shape (n_steps,)
        The rate at each step, from step 0 on.
    name : str, optional
        What the line is called in a legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D

    See Also
    --------
    ScheduleDisplay.from_schedule : Of a schedule.

    Examples
    --------
    >>> import fastgd as fg
    >>> from fastgd.schedules import Cosine, Exponential
    >>> display = fg.plots.ScheduleDisplay.from_schedule(Cosine(0.1, 0.0, steps=100), 100)
    >>> other = fg.plots.ScheduleDisplay.from_schedule(Exponential(0.1, 0.97), 100, ax=display.ax_)
    >>> [line.get_label() for line in display.ax_.lines]
    ['Cosine', 'Exponential']
    """

    def __init__(self, values: npt.ArrayLike, name: str | None = None) -> None:
        self.values = _numbers("values", values, 1)
        self.name = name

    @classmethod
    def from_schedule(
        cls, schedule: Rate, n_steps: int, *, name: str | None = None, ax: Any = None, **line: Any
    ) -> Self:
        """Draw a schedule.

        Parameters
        ----------
        schedule : Schedule, callable or float
            Whatever an optimizer takes as its ``learning_rate``.
        n_steps : int
            How many steps to show.
        name : str, optional
            What the line is called in a legend; by default as its class or function is.
        ax : matplotlib Axes, optional
            Those of another schedule, to compare the two.
        **line
            Given to ``ax.plot``.

        Returns
        -------
        ScheduleDisplay

        Raises
        ------
        ValueError, TypeError
            For what is no learning rate, or `n_steps` below 1.
        """
        steps = np.arange(read_count("n_steps", n_steps, "pass the number of steps to show"), dtype=np.float64)
        values = values_at(read_rate("schedule", schedule), steps)
        if name is None:
            name = getattr(schedule, "__name__", type(schedule).__name__) if callable(schedule) else f"{schedule:g}"
        return cls(values, name).plot(ax, **line)

    def plot(self, ax: Any = None, **line: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        ScheduleDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax)
        [self.line_] = self.ax_.plot(np.arange(len(self.values)), self.values, **{"label": self.name, **line})
        self.ax_.set_xlabel("step")
        self.ax_.set_ylabel("learning rate")
        # A single line needs no legend.
        if len(self.ax_.lines) > 1:
            self.ax_.legend()
        return self


class PathDisplay:
    """The ways that minimisations took, on the contour of a function of two variables.

    Parameters
    ----------
    paths : dict of str to array_like of shape (n, 2)
        The points of each in order, by the name it has in the legend.
    x : array_like of shape (n_x,)
    y : array_like of shape (n_y,)
        The grid that the contour is drawn from.
    values : array_like of shape (n_y, n_x)
        The function on that grid; where it is not finite, nothing is drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    contour_ : matplotlib QuadContourSet
    lines_ : list of matplotlib Line2D

    See Also
    --------
    PathDisplay.from_paths : Of points and the function.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> def valley(x):
    ...     return x[0] ** 2 + 10.0 * x[1] ** 2
    >>> path = np.array([[2.0, 1.0], [1.5, -0.6], [1.1, 0.4], [0.8, -0.2], [0.1, 0.0]])
    >>> display = fg.plots.PathDisplay.from_paths(valley, path)
    >>> display.values.shape
    (100, 100)
    """

    def __init__(
        self, paths: Mapping[str, npt.ArrayLike], x: npt.ArrayLike, y: npt.ArrayLike, values: npt.ArrayLike
    ) -> None:
        self.paths = {name: _points(f"paths[{name!r}]", path) for name, path in paths.items()}
        self.x, self.y, self.values = _numbers("x", x, 1), _numbers("y", y, 1), np.asarray(values, np.float64)
        if self.values.shape != (len(self.y), len(self.x)):
            expected = f"{(len(self.y), len(self.x))}, a row for each of y and a column for each of x"
            raise ValueError(refusal("values", f"shape {self.values.shape}", expected, "exchange x and y"))

    @classmethod
    def from_paths(
        cls,
        fun: Callable[..., Any],
        paths: Any,
        *,
        x: tuple[float, float] | None = None,
        y: tuple[float, float] | None = None,
        n_points: int = 100,
        ax: Any = None,
        **line: Any,
    ) -> Self:
        """Draw paths, and the function that they go down.

        Parameters
        ----------
        fun : callable
            ``fun(x)`` of an array of two numbers; of a tuple, as functions return with their gradient, the first.
        paths : array_like of shape (n, 2), result, or dict of str to these
            The points in order; or what ``fg.minimize(..., record=True)`` returns, which has them as its ``path``.
            Several by the names that they have in the legend.
        x, y : tuple of (float, float), optional
            What the picture reaches over; somewhat more than the paths by default.
        n_points : int
            Of the grid, either way: `fun` is called for each.
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        PathDisplay

        Raises
        ------
        ValueError, TypeError
            For paths that are not of two variables, a range without extent, or `n_points` below 1.
        """
        named = _named_paths(paths)
        n_points = read_count("n_points", n_points, "pass n_points=100")
        reached = np.concatenate(list(named.values()))
        columns = np.linspace(*_range("x", x, reached[:, 0]), n_points)
        rows = np.linspace(*_range("y", y, reached[:, 1]), n_points)
        # A picture reaches to where the function need not have a value.
        with np.errstate(all="ignore"):
            values = [[_value(fun(np.array([column, row]))) for column in columns] for row in rows]
        return cls(named, columns, rows, values).plot(ax, **line)

    def plot(self, ax: Any = None, **line: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        **line
            Given to ``ax.plot``.

        Returns
        -------
        PathDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax)
        style = {"colors": "0.75", "linewidths": 0.8, "zorder": 1}
        self.contour_ = self.ax_.contour(self.x, self.y, self.values, self._levels(), **style)
        self.lines_ = []
        for name, path in self.paths.items():
            self.lines_ += self.ax_.plot(*path.T, **{"marker": ".", "label": name, "zorder": 2, **line})
        self.ax_.set(xlabel="x[0]", ylabel="x[1]", xlim=self.x[[0, -1]], ylim=self.y[[0, -1]])
        if len(self.lines_) > 1:
            self.ax_.legend()
        return self

    def _levels(self) -> Array:
        """Heights that take equal shares of the picture, more of them near the bottom, of any function."""
        finite = self.values[np.isfinite(self.values)]
        if not finite.size:
            raise ValueError(refusal("values", "none that is finite", "a function with values", "pass x and y"))
        return np.unique(np.quantile(finite, np.linspace(0.0, 1.0, N_LEVELS + 2)[1:-1] ** 2))


def _named_paths(given: Any) -> dict[str, Array]:
    """Paths by name, from whatever stands for one or several."""
    # A result is a mapping too.
    if isinstance(given, Mapping) and not hasattr(given, "path"):
        if "nfev" in given:
            raise ValueError(refusal("paths", "a result without a path", "its points", "minimise with record=True"))
        named = {name: _points(f"paths[{name!r}]", getattr(path, "path", path)) for name, path in given.items()}
        if not named:
            raise ValueError(refusal("paths", "none", "at least one path", "pass the points of one"))
        return named
    return {"path": _points("paths", getattr(given, "path", given))}


def _points(name: str, given: Any) -> Array:
    """Points of two variables."""
    points = _numbers(name, given, 2)
    if points.shape[1] != 2:
        got, expected = f"points of {points.shape[1]} variables", "points of 2 variables"
        raise ValueError(refusal(name, got, expected, "minimise a function of two"))
    return points


def _range(name: str, given: Any, reached: Array) -> tuple[float, float]:
    """What a picture reaches over along one axis."""
    if given is not None:
        low, high = (float(end) for end in given)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            expected = "two numbers, the smaller one first"
            raise ValueError(refusal(name, repr(given), expected, f"pass {name}=(-1.0, 1.0)"))
        return low, high
    low, high = float(reached.min()), float(reached.max())
    margin = MARGIN * (high - low) or max(1.0, abs(low))
    return low - margin, high + margin


def _value(given: Any) -> float:
    """The value of a function that may return its gradient too."""
    return float(given[0] if isinstance(given, tuple) else given)


class WeightsDisplay:
    """The weights into each unit of a layer, as an image for each unit.

    Parameters
    ----------
    weights : array_like of shape (n_inputs, n_units)
    shape : tuple of (int, int), optional
        Of one image; a square by default.
    n_units : int, optional
        How many units to show, the first ones; all of them by default.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage

    See Also
    --------
    WeightsDisplay.from_estimator : Of a model or of an estimator of scikit-learn's kind.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(6), fg.Dense(2)]).build(64)
    >>> display = fg.plots.WeightsDisplay.from_estimator(model)
    >>> display.mosaic.shape
    (17, 26)
    """

    def __init__(
        self, weights: npt.ArrayLike, shape: tuple[int, int] | None = None, n_units: int | None = None
    ) -> None:
        given = _numbers("weights", weights, 2)
        n_inputs, available = given.shape
        self.shape = _image_shape(n_inputs, shape)
        shown = available if n_units is None else read_count("n_units", n_units, "pass None for all units")
        self.weights = given[:, : min(shown, available)]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        layer: int = 0,
        *,
        shape: tuple[int, int] | None = None,
        n_units: int | None = None,
        ax: Any = None,
        **image: Any,
    ) -> Self:
        """Draw the weights of a layer.

        Parameters
        ----------
        estimator : Sequential or estimator
            A model that is built, or a fitted estimator with ``coefs_``, such as an MLPClassifier.
        layer : int
            Which one; 0 is the first, -1 the last.
        shape : tuple of (int, int), optional
            Of one image; a square by default.
        n_units : int, optional
            How many units to show, the first ones; all of them by default.
        ax : matplotlib Axes, optional
        **image
            Given to ``ax.imshow``.

        Returns
        -------
        WeightsDisplay

        Raises
        ------
        NotBuiltError
        TypeError
            If it has no weights.
        ValueError
            For a layer that is not there, or a shape that does not fit.
        """
        if isinstance(estimator, Sequential):
            matrices = [array for array in estimator.get_weights() if array.ndim == 2]
        elif hasattr(estimator, "coefs_"):
            matrices = list(estimator.coefs_)
        else:
            expected = "a model, or a fitted estimator with coefs_"
            raise TypeError(refusal("estimator", f"a {type(estimator).__name__}", expected, "call fit first"))
        if not isinstance(layer, (int, np.integer)) or not -len(matrices) <= layer < len(matrices):
            expected = f"a whole number from {-len(matrices)} to {len(matrices) - 1}"
            raise ValueError(refusal("layer", repr(layer), expected, "pass layer=0 for the first one"))
        return cls(matrices[layer], shape, n_units).plot(ax, **image)

    @property
    def mosaic(self) -> Array:
        """All images side by side, in rows, with a line of NaN between any two."""
        height, width = self.shape
        n_units = self.weights.shape[1]
        n_columns = math.ceil(math.sqrt(n_units))
        n_rows = math.ceil(n_units / n_columns)
        picture = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for k, image in enumerate(self.weights.T.reshape(-1, height, width)):
            row, column = (k // n_columns) * (height + 1), (k % n_columns) * (width + 1)
            picture[row : row + height, column : column + width] = image
        return picture

    def plot(self, ax: Any = None, **image: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        **image
            Given to ``ax.imshow``.

        Returns
        -------
        WeightsDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax)
        # One scale for all units, with zero in the middle.
        largest = float(abs(self.weights).max()) or 1.0
        self.image_ = self.ax_.imshow(self.mosaic, **{"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **image})
        self.ax_.set_axis_off()
        return self


def _image_shape(n_inputs: int, shape: Any) -> tuple[int, int]:
    """Height and width of images of so many numbers."""
    if shape is None:
        side = math.isqrt(n_inputs)
        if side * side != n_inputs:
            got, remedy = f"None, for {n_inputs} inputs", f"pass for example shape=(1, {n_inputs})"
            raise ValueError(refusal("shape", got, "a height and a width: this is no square", remedy))
        return side, side
    sizes = [read_count("shape", size, f"pass for example shape=(1, {n_inputs})") for size in shape]
    if len(sizes) != 2 or sizes[0] * sizes[1] != n_inputs:
        expected = f"a height and a width whose product is {n_inputs}, the number of inputs"
        raise ValueError(refusal("shape", repr(shape), expected, f"pass for example shape=(1, {n_inputs})"))
    return sizes[0], sizes[1]


def _numbers(name: str, given: Any, n_dimensions: int) -> Array:
    """Finite numbers in an array of so many dimensions, float64; at least one of them."""
    array = real_array(given, name)
    if array.ndim != n_dimensions or not array.size:
        expected = f"numbers in {n_dimensions} dimension{'s' * (n_dimensions > 1)}"
        raise ValueError(refusal(name, f"shape {array.shape}", expected, "see the documentation of its shape"))
    if not np.isfinite(array).all():
        raise ValueError(refusal(name, "NaN or an infinity", "finite numbers", "leave out what is not"))
    return array.astype(np.float64)
