"""Curves of what is registered, as data, and drawn: whatever is declared has its picture without a line being written.

The curves need nothing but fastgd, the pictures Matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastgd as fg
from fastgd import schedules
from fastgd._formula import Activation, Loss, numpy_
from fastgd.initializers import Initializer
from fastgd.optimizers import Optimizer
from fastgd.penalties import Penalty
from fastgd.schedules import Schedule

# What a class that has no defaults is drawn with: its arguments as they are written.
OF_SCHEDULES = {
    "Constant": "0.1",
    "Exponential": "0.1, 0.97",
    "StepDecay": "0.1, 0.5, every=25",
    "MultiStep": "0.1, 0.2, milestones=[30, 70]",
    "InverseScaling": "0.1, scale=0.1",
    "Linear": "0.1, 0.0, steps=80",
    "Polynomial": "0.1, 0.0, steps=80, power=3.0",
    "Cosine": "0.1, 0.0, steps=80",
    "CosineRestarts": "0.1, 0.0, steps=20, growth=2",
    "OneCycle": "0.1, steps=100",
    "Triangular": "0.01, 0.1, rise=12",
    "Warmup": "schedules.Cosine(0.1, 0.0, steps=80), steps=20",
    "Joined": "[schedules.Constant(0.1), schedules.Linear(0.1, 0.0, steps=40)], boundaries=[50]",
}

# Learning rates with which a hundred steps come some way down a narrow valley.
OF_OPTIMIZERS = {
    "SGD": "0.02, momentum=0.9",
    "Adadelta": "learning_rate=20.0",
    "Adagrad": "0.5",
    "Ftrl": "0.5",
    "Rprop": "0.1",
}

OF_PENALTIES = {"L1": "1.0", "L2": "1.0", "ElasticNet": "l1=0.5, l2=0.5"}

N_STEPS = 100


@dataclass
class Drawing:
    """Named curves over one axis.

    Attributes
    ----------
    title, x_label : str
    x : ndarray
    curves : dict of str to ndarray
    bars : bool
        Whether the curve is a histogram; `x` has then the edges.
    path : ndarray or None
        Points (n, 2) in the valley of `valley`, in place of curves.
    """

    title: str
    x_label: str
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    bars: bool = False
    path: np.ndarray | None = None


def of_activation(declared: Activation) -> Drawing:
    """The function and its derivative."""
    z = np.linspace(-4.0, 4.0, 321)
    kept = declared(z) if declared.derivative_of == "output" else z
    formula = declared.derivative_formula
    slope = numpy_.compile_(formula)(kept, **{name: declared.parameters[name] for name in formula.scalars})
    curves = {"f(z)": declared(z), "f'(z)": np.broadcast_to(slope, z.shape)}
    return Drawing(written(declared), "z", z, curves)


def of_loss(declared: Loss) -> Drawing:
    """The loss and its derivative by a score, against a target that lies inside the picture; other scores are 0."""
    # For classes the first of two scores, which is the right one's.
    n_outputs = max(2 if declared.by_class else 1, declared.outputs_per_target)
    n_outputs = 2 if declared.target == "direction" else n_outputs
    targets: Any = [0] if declared.by_class else [[1.0, 1.0]] if declared.target == "direction" else [[1.0]]
    s = np.linspace(-4.0, 4.0, 321)
    rows = np.zeros((len(s), 1, n_outputs))
    if declared.compares_rows:
        # Beside the row that moves, one at 0 that is the same, and one at 1 that is not.
        targets, rows = [0, 0, 1], np.tile([[0.0], [0.0], [1.0]], (len(s), 1, 1))
    rows[:, 0, 0] = s
    pairs = [fg.kernels.loss_gradient(row, targets, declared, backend="numpy") for row in rows]
    values, slopes = np.array([value for value, _ in pairs]), np.array([gradient[0, 0] for _, gradient in pairs])
    return Drawing(written(declared), "score", s, {"loss": values, "derivative": slopes})


def of_schedule(kind: type[Schedule]) -> Drawing:
    """The learning rate over the steps."""
    schedule = made(kind, OF_SCHEDULES[kind.__name__])
    steps = np.arange(1, N_STEPS + 1)
    title = f"{kind.__name__}({OF_SCHEDULES[kind.__name__]})".replace("schedules.", "")
    return Drawing(title, "step", steps, {"learning rate": np.array([schedule(int(step)) for step in steps])})


def of_initializer(declared: Initializer) -> Drawing:
    """How the weights of a layer of 200 inputs and 100 units are distributed."""
    weights = fg.Sequential([fg.Dense(100, initializer=declared)], backend="numpy").build(200).get_weights()[0]
    reach = float(abs(weights).max()) or 1.0
    counts, edges = np.histogram(weights, bins=np.linspace(-1.1 * reach, 1.1 * reach, 60))
    return Drawing(written(declared), "weight, of 200 x 100", edges, {"share": counts / weights.size}, bars=True)


def of_penalty(kind: type[Penalty]) -> Drawing:
    """The penalty on one weight and its derivative."""
    w = np.linspace(-2.0, 2.0, 401)
    penalty = made(kind, OF_PENALTIES[kind.__name__])
    values = np.array([penalty([[each]]) for each in w])
    slopes = penalty.l1 * np.sign(w) + penalty.l2 * w
    return Drawing(f"{kind.__name__}({OF_PENALTIES[kind.__name__]})", "w", w, {"penalty": values, "derivative": slopes})


def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
    """x^2 / 2 + 10 y^2, and its gradient."""
    return 0.5 * x[0] ** 2 + 10.0 * x[1] ** 2, np.array([x[0], 20.0 * x[1]])


def of_optimizer(kind: type[Optimizer]) -> Drawing:
    """A hundred steps down a valley that is twenty times as steep as it is long."""
    given = OF_OPTIMIZERS.get(kind.__name__, "0.1")
    optimizer, start = made(kind, given), [-4.0, 1.0]
    found = fg.minimize(
        valley, start, jac=True, optimizer=optimizer, max_iter=N_STEPS, tol=0.0, record=True, backend="numpy"
    )
    return Drawing(f"{kind.__name__}({given})", "x", path=np.asarray(found.path))


def made(kind: type, arguments: str) -> Any:
    """An object of that class with arguments as they are written."""
    return eval(f"kind({arguments})", {"kind": kind, "schedules": schedules})


def written(declared: Activation | Loss | Initializer) -> str:
    """The name, with its parameters."""
    inside = ", ".join(f"{name}={value!r}" for name, value in declared.parameters.items() if value is not None)
    return f"{declared.name}({inside})" if inside else declared.name


OF_OBJECTS: dict[type, Callable[[Any], Drawing]] = {
    Activation: of_activation,
    Loss: of_loss,
    Initializer: of_initializer,
}
OF_CLASSES: dict[type, Callable[[Any], Drawing]] = {
    Schedule: of_schedule,
    Penalty: of_penalty,
    Optimizer: of_optimizer,
}


def drawer_of(documented: Any) -> Callable[[Any], Drawing] | None:
    """What draws something documented; None if it has no picture, as the classes that others are built upon."""
    if not isinstance(documented, type):
        return next((draw for kind, draw in OF_OBJECTS.items() if isinstance(documented, kind)), None)
    if documented in OF_CLASSES:
        return None
    return next((draw for kind, draw in OF_CLASSES.items() if issubclass(documented, kind)), None)


def svg(drawing: Drawing) -> str:
    """The picture, the same text for the same curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": drawing.title, "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.0, 2.3), layout="constrained")
        axes = figure.add_subplot()
        if drawing.path is not None:
            draw_path(axes, drawing.path)
        elif drawing.bars:
            [(label, heights)] = drawing.curves.items()
            axes.stairs(heights, drawing.x, fill=True)
            axes.set_ylabel(label)
        else:
            draw_curves(axes, drawing)
        axes.set_xlabel(drawing.x_label)
        axes.grid(alpha=0.3)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def draw_curves(axes: Any, drawing: Drawing) -> None:
    """Lines; what grows without bound is cut off, lest the rest be flat."""
    for label, values in drawing.curves.items():
        axes.plot(drawing.x, values, label=label)
    low, high = (
        pick(float(values.min() if pick is min else values.max()) for values in drawing.curves.values())
        for pick in (min, max)
    )
    low, high = max(low, -6.0), min(high, 6.0)
    beside = 0.05 * ((high - low) or 1.0)
    axes.set_ylim(low - beside, high + beside)
    if len(drawing.curves) > 1:
        axes.legend()
    else:
        axes.set_ylabel(next(iter(drawing.curves)))


def draw_path(axes: Any, path: np.ndarray) -> None:
    """Steps in the valley, over lines of equal height."""
    x, y = np.meshgrid(np.linspace(-4.5, 4.5, 121), np.linspace(-1.5, 1.5, 81))
    axes.contour(x, y, 0.5 * x**2 + 10.0 * y**2, levels=[0.1, 0.5, 1.5, 4.0, 8.0, 14.0], colors="0.8", linewidths=0.7)
    axes.plot(path[:, 0], path[:, 1], marker=".", markersize=3, linewidth=0.7)
    axes.plot(0.0, 0.0, "k+")
    axes.set_xlim(-4.5, 4.5)
    axes.set_ylim(-1.5, 1.5)
    axes.set_ylabel("y")
