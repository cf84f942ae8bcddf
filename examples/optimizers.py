"""Which optimizer? All of them on scikit-learn's digits, each with the learning rate that suits it best.

Each learning rate is judged by threefold cross-validation of a small network after ten epochs. A picture shows the
accuracy for all of them: what matters is not only how light the lightest square is, but how many there are.

    python examples/optimizers.py [optimizers.png]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastgd.optimizers import BY_NAME
from fastgd.sklearn import MLPClassifier

RATES = 10.0 ** np.arange(-4.0, 1.0)


def compare(images, digits):
    """Return the accuracies (n_optimizers, n_rates)."""
    network = MLPClassifier((32,), max_iter=10, batch_size=32, random_state=0)
    solvers = [optimizer(rate) for optimizer in BY_NAME.values() for rate in RATES]
    # A rate that is too high makes training diverge, which is reported, and counts as no accuracy.
    search = GridSearchCV(network, {"solver": solvers}, cv=3, error_score=0.0, refit=False)
    search.fit(images, digits)
    return search.cv_results_["mean_test_score"].reshape(len(BY_NAME), len(RATES))


def draw(path, accuracies):
    """Write the table as a picture."""
    figure = Figure(figsize=(6.0, 7.0), layout="constrained")
    axes = figure.add_subplot(title="Accuracy on digits after ten epochs", xlabel="learning rate")
    picture = axes.imshow(accuracies, aspect="auto", vmin=0.5, vmax=1.0)
    axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
    axes.set_yticks(range(len(BY_NAME)), BY_NAME)
    for (row, column), accuracy in np.ndenumerate(accuracies):
        colour = "black" if accuracy > 0.75 else "white"
        axes.text(column, row, f"{accuracy:.3f}", ha="center", va="center", color=colour)
    figure.colorbar(picture)
    figure.savefig(path, dpi=100)


def main(picture="optimizers.png"):
    """Compare, print, draw."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    images, digits = load_digits(return_X_y=True)
    accuracies = compare((images / 16).astype(np.float32), digits)
    print(f"{'optimizer':12}{'best rate':>10}{'accuracy':>10}")
    for name, row in sorted(zip(BY_NAME, accuracies, strict=True), key=lambda pair: -pair[1].max()):
        print(f"{name:12}{RATES[row.argmax()]:10g}{row.max():10.3f}")
    draw(picture, accuracies)
    if np.sort(accuracies.max(axis=1))[len(accuracies) // 2] < 0.9:
        sys.exit("half of the optimizers stayed below 90 %")


if __name__ == "__main__":
    main(*sys.argv[1:])
