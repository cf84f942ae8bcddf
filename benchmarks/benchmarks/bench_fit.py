"""Whole trainings: how long they take, and what they have learnt."""

from __future__ import annotations

import numpy as np
from environment import available_cores

try:
    import fastgd as fg
except ImportError:
    # asv imports the suite to list it, also where no fastgd is installed.
    fg = None


def digits():
    """Return scikit-learn's handwritten digits as training and test sets."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    return train_test_split((images / 16).astype(np.float32), labels, stratify=labels, random_state=42)


def rings():
    """Return points on three noisy rings in a plane, which no linear model can tell apart."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 6000)
    angles = random.uniform(0, 2 * np.pi, labels.size)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (1 + labels[:, None])
    points = (points + random.normal(0, 0.2, points.shape)).astype(np.float32)
    return points[:4000], points[4000:], labels[:4000], labels[4000:]


DATA = {"digits": digits, "rings": rings}
HIDDEN = {"digits": [64], "rings": [32, 32]}


class Fit:
    """Thirty epochs of Adam on small data sets, batches of 32."""

    version = "1"
    params = (list(DATA), [1, 2])
    param_names = ("data", "n_threads")
    rounds = 2
    repeat = (3, 20, 10.0)
    timeout = 120

    def setup(self, data, n_threads):
        if n_threads > len(available_cores()):
            raise NotImplementedError(f"there are no {n_threads} cores here")
        try:
            self.X, self.X_test, self.y, self.y_test = DATA[data]()
        except ImportError as error:
            raise NotImplementedError("the digits come with scikit-learn") from error
        self.n_threads = n_threads

    def train(self, data):
        layers = [fg.Dense(units, activation="relu") for units in HIDDEN[data]]
        model = fg.Sequential(
            [*layers, fg.Dense(int(self.y.max()) + 1)],
            loss="softmax_cross_entropy",
            optimizer=fg.Adam(learning_rate=2e-3),
            seed=0,
            n_threads=self.n_threads,
        )
        self.history = model.fit(self.X, self.y, epochs=30, batch_size=32).history
        return model

    def time_fit(self, data, n_threads):
        self.train(data)

    def track_test_error(self, data, n_threads):
        """Per cent of the test rows that are taken for something else: 100 less the accuracy."""
        return 100 * (1 - self.train(data).evaluate(self.X_test, self.y_test)["accuracy"])

    def track_training_loss(self, data, n_threads):
        self.train(data)
        return self.history["loss"][-1]

    track_test_error.unit = "%"
    track_training_loss.unit = "nats"
