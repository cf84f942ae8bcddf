"""``python -m fastgd``: what this installation consists of, and where to go next."""

from __future__ import annotations

from .config import show_config

NEXT = """\
A first model:

    import numpy as np
    import fastgd as fg
    X = np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    layers = [fg.Dense(32, activation="relu"), fg.Dense(2)]
    model = fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=fg.Adam(0.01))
    model.fit(X, y, epochs=30)
    print(model.evaluate(X, y)["accuracy"])

help(fg.Sequential) says what a model does, dir(fg) lists what there is.
python -m fastgd.bench measures this machine, and other libraries beside it, in two minutes at most."""


def main() -> None:
    """Print both."""
    show_config()
    print(f"\n{NEXT}")


if __name__ == "__main__":
    main()
