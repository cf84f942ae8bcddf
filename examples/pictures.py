"""The pictures that fastgd draws: losses, learning rates, the way downhill, and weights.

The four of them side by side, as the README has them:

    python examples/pictures.py [pictures.png]
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastgd as fg
from fastgd.plots import LossCurveDisplay, PathDisplay, ScheduleDisplay, WeightsDisplay
from fastgd.schedules import Cosine, CosineRestarts, OneCycle, Warmup

N_STEPS = 300


def train_on_digits():
    """Return a network that has learnt to read digits of 8 by 8 pixels."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(images, digits, test_size=0.2, stratify=digits, random_state=0)
    model = fg.Sequential(
        [fg.Dense(30, activation="tanh"), fg.Dense(10)],
        loss="softmax_cross_entropy",
        optimizer=fg.Adam(2e-3),
        penalty=fg.L2(1e-3),
    )
    model.fit(X, y, epochs=40, validation_data=(X_test, y_test))
    return model


def draw_schedules(ax):
    """Draw three learning rates over the same steps."""
    warm = Warmup(Cosine(0.1, 0.0, steps=N_STEPS - 30), steps=30)
    ScheduleDisplay.from_schedule(warm, N_STEPS, name="warm-up, cosine", ax=ax)
    ScheduleDisplay.from_schedule(CosineRestarts(0.1, 0.0, steps=N_STEPS // 3), N_STEPS, name="restarts", ax=ax)
    ScheduleDisplay.from_schedule(OneCycle(0.1, steps=N_STEPS), N_STEPS, name="one cycle", ax=ax)


def valley(x):
    """Return a quadratic function, steep along one variable and flat along the other, and its gradient."""
    return 0.1 * x[0] ** 2 + 2.0 * x[1] ** 2, np.array([0.2 * x[0], 4.0 * x[1]])


def draw_paths(ax):
    """Draw the ways of three optimizers down the valley."""
    optimizers = {"SGD": fg.SGD(0.4), "momentum": fg.SGD(0.15, momentum=0.8), "Adam": fg.Adam(0.4)}
    paths = {
        name: fg.minimize(valley, [-5.0, -2.0], jac=True, optimizer=optimizer, max_iter=40, record=True)
        for name, optimizer in optimizers.items()
    }
    PathDisplay.from_paths(valley, paths, x=(-6.0, 3.0), y=(-3.0, 3.0), ax=ax, markersize=5, linewidth=1)


def main(path="pictures.png"):
    """Draw all four and write them to a file."""
    figure = Figure(figsize=(9.6, 7.2), layout="constrained")
    (losses, rates), (ways, weights) = figure.subplots(2, 2)
    model = train_on_digits()
    LossCurveDisplay.from_estimator(model, ax=losses)
    draw_schedules(rates)
    draw_paths(ways)
    WeightsDisplay.from_estimator(model, ax=weights)
    losses.set_title("LossCurveDisplay")
    rates.set_title("ScheduleDisplay")
    ways.set_title("PathDisplay")
    weights.set_title("WeightsDisplay")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
