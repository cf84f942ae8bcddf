"""Intervals instead of numbers: how far a patient's diabetes will have gone, with nine chances in ten of being right.

Two losses learn them. ``quantiles`` learns below what five patients in a hundred stay and what five exceed, whatever
the distribution; ``gaussian_nll`` learns mean and variance, and takes the distribution to be normal. Every patient is
predicted by a network that has not seen them.

    python examples/intervals.py [intervals.png]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.preprocessing import scale

import fastgd as fg
from fastgd.sklearn import MLPRegressor

OPTIONS = {"alpha": 2.0, "batch_size": 32, "learning_rate_init": 0.003, "max_iter": 150}

LOSSES = {
    "quantiles": fg.losses.quantiles(levels=(0.05, 0.5, 0.95), non_crossing=True),
    "gaussian_nll": "gaussian_nll",
}


def predict(loss, X, y):
    """Return predictions and intervals of every row, by tenfold cross-validation, in the units of y."""
    centre, unit = y.mean(), y.std()
    predictions, intervals = np.empty(len(y)), np.empty((len(y), 2))
    for rows, others in KFold(10, shuffle=True, random_state=0).split(X):
        network = MLPRegressor(loss, (8,), "tanh", **OPTIONS, random_state=0)
        network.fit(X[rows], (y[rows] - centre) / unit)
        predictions[others] = centre + unit * network.predict(X[others])
        intervals[others] = centre + unit * network.predict_interval(X[others])
    return predictions, intervals


def draw(axes, title, y, predictions, intervals):
    """Draw the patients in the order of their predictions, each with its interval."""
    order = predictions.argsort()
    low, high = intervals[order].T
    axes.fill_between(np.arange(len(y)), low, high, alpha=0.3, linewidth=0, label="interval")
    axes.plot(predictions[order], label="prediction")
    axes.plot(y[order], ".", markersize=3, color="black", label="patient")
    axes.set(title=title, xlabel="patients, by prediction", ylabel="progression")
    axes.legend(loc="upper left")


def main(picture="intervals.png"):
    """Predict with both, print, draw."""
    # So many epochs and no more are what is wanted: with further ones, intervals become too narrow for new patients.
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = load_diabetes(return_X_y=True)
    X = scale(X)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, loss) in zip(figure.subplots(1, 2, sharey=True), LOSSES.items(), strict=True):
        predictions, intervals = predict(loss, X, y)
        low, high = intervals.T
        coverage = ((low <= y) & (y <= high)).mean()
        print(f"{name:14}{coverage:6.1%} of patients within intervals of {np.mean(high - low):4.0f} on average")
        draw(axes, name, y, predictions, intervals)
        if not 0.82 < coverage < 0.96:
            sys.exit("intervals that are to hold nine in ten hold too few, or too many")
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
