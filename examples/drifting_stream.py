"""A stream whose meaning drifts: a classifier that goes on learning, beside one that has stopped.

Rows come in blocks. Each is first predicted, then learnt from, so that every prediction is one of new rows. The
boundary between the two classes turns as time goes by: what was learnt at the start is wrong in the end.

    python examples/drifting_stream.py [drifting_stream.png]
"""

from __future__ import annotations

import copy
import sys

import numpy as np
from matplotlib.figure import Figure

from fastgd.sklearn import MLPClassifier

N_BLOCKS, ROWS, FEATURES, STOPPED_AFTER = 400, 64, 10, 100


def stream(seed=0):
    """Yield blocks of rows and their classes; the boundary turns by 180 degrees."""
    draw = np.random.default_rng(seed)
    for angle in np.linspace(0.0, np.pi, N_BLOCKS):
        X = draw.normal(size=(ROWS, FEATURES)).astype(np.float32)
        yield X, (np.cos(angle) * X[:, 0] + np.sin(angle) * X[:, 1] + 0.3 * X[:, 2] ** 2 > 0.3).astype(int)


def run():
    """Return the accuracy on each block of the classifier that goes on learning, and of the one that has stopped."""
    learning = MLPClassifier((16,), learning_rate_init=0.01, batch_size=16, random_state=0)
    stopped = None
    accuracies = []
    for k, (X, y) in enumerate(stream()):
        if k == STOPPED_AFTER:
            stopped = copy.deepcopy(learning)
        if k > 0:
            accuracies.append((learning.score(X, y), (stopped or learning).score(X, y)))
        learning.partial_fit(X, y, classes=[0, 1])
    return np.array(accuracies).T


def draw_accuracies(path, accuracies):
    """Write both curves, as means over twenty blocks, as a picture."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        title="A boundary that turns", xlabel="block", ylabel="accuracy on new rows, mean of 20 blocks"
    )
    for name, curve in zip(("goes on learning", "stopped"), accuracies, strict=True):
        axes.plot(np.arange(20, len(curve) + 1), np.convolve(curve, np.full(20, 1 / 20), "valid"), label=name)
    axes.axvline(STOPPED_AFTER, color="0.7", linewidth=1, label="where it stops")
    axes.legend()
    figure.savefig(path, dpi=100)


def main(picture="drifting_stream.png"):
    """Learn from the stream, print, draw."""
    accuracies = run()
    learning, stopped = accuracies[:, -50:].mean(axis=1)
    print(f"accuracy on the last 50 blocks: {learning:.3f} of the one that learns, {stopped:.3f} of the other")
    draw_accuracies(picture, accuracies)
    if learning < 0.85:
        sys.exit("the classifier did not follow the drift")


if __name__ == "__main__":
    main(*sys.argv[1:])
