"""A user's program, as strict type checkers see it; ``test_types.py`` checks it and runs it."""

from __future__ import annotations

import sys
from math import exp
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import fastgd as fg
from fastgd.schedules import Cosine, Schedule, Warmup


@fg.activation(ranges={"beta": "[0, inf)"})
def swish(z: float, *, beta: float = 1.0) -> float:
    return z / (1.0 + exp(-beta * z))


@swish.derivative(of="input")
def _(z: float, *, beta: float) -> float:
    s = 1.0 / (1.0 + exp(-beta * z))
    return s + beta * z * s * (1.0 - s)


@fg.activation
def cubic(z: float) -> float:
    return z**3


@cubic.derivative(of="input")
def _(z: float) -> float:
    return 3.0 * z**2


@fg.loss(link="linear", target="real")
def quartic(score: float, target: float) -> float:
    return (score - target) ** 4


@quartic.derivative
def _(score: float, target: float) -> float:
    return 4.0 * (score - target) ** 3


def train(X: npt.NDArray[np.float32], y: npt.NDArray[np.intp]) -> fg.Sequential:
    """Every option of a model and of its training."""
    rate: Schedule = Warmup(Cosine(1e-2, 1e-4, steps=100), steps=10)
    model = fg.Sequential(
        [
            fg.Dense(8, activation="relu", initializer="he_normal"),
            fg.Dense(8, activation=fg.activations.leaky_relu(slope=0.2), penalty=fg.ElasticNet(1e-4, 1e-4)),
            fg.Dense(2, initializer=fg.initializers.normal(scale=0.1)),
        ],
        loss="softmax_cross_entropy",
        optimizer=fg.Adam(learning_rate=rate),
        penalty=fg.L2(1e-4),
        dtype=np.float32,
        seed=1,
        n_threads=1,
    )
    history = model.fit(X, y, epochs=2, batch_size=16, class_weight="balanced", validation_data=(X, y))
    assert_type(history.history["loss"], list[float])
    model.fit(lambda: iter([(X, y), (X, y)]), epochs=2, callbacks=[fg.EarlyStopping("loss")], verbose=0)
    assert_type(model.train_on_batch(X, y), float)
    assert isinstance(model.optimizer, fg.optimizers.Optimizer)
    model.optimizer.learning_rate = 1e-4
    return model


def ask(model: fg.Sequential, X: npt.NDArray[np.float32], y: npt.NDArray[np.intp], folder: Path) -> None:
    """What a model answers."""
    assert_type(model.predict(X), npt.NDArray[Any])
    assert_type(model.transform(X, layer=0), npt.NDArray[Any])
    assert_type(model.evaluate(X, y), dict[str, float])
    loss, gradients = model.loss_and_gradients(X, y)
    assert_type(loss, float)
    assert_type(gradients, list[npt.NDArray[Any]])
    model.set_weights(model.get_weights())
    assert_type(model.n_parameters, int)
    assert_type(model.build(4), fg.Sequential)
    model.to_c(folder / "model.c")
    model.save(folder / "model.safetensors")
    again: fg.Sequential = fg.load(folder / "model.safetensors")
    assert_type(again.n_epochs_done, int)


def declare() -> None:
    """Formulas of one's own are objects like ours, and are called like them."""
    assert_type(swish(beta=2.0).name, str)
    assert_type(cubic([1.0, 2.0]), npt.NDArray[Any])
    assert_type(fg.losses.huber([1.0], [2.0], delta=0.5), npt.NDArray[Any])
    assert_type(fg.losses.huber(delta=0.5).link, str)
    fg.Sequential([fg.Dense(3, swish(beta=2.0)), fg.Dense(1, cubic)], loss=quartic, backend="numpy")


def kernels() -> None:
    """On plain arrays."""
    x, w, b = np.ones((2, 3)), np.ones((3, 4)), np.zeros(4)
    assert_type(fg.kernels.dense_forward(x, w, b, "tanh"), npt.NDArray[Any])
    assert_type(Cosine(0.1, 0.0, steps=10)(3), float)
    assert_type(Cosine(0.1, 0.0, steps=10)([3, 4]), npt.NDArray[np.float64])


def valley(x: npt.NDArray[np.float64]) -> float:
    return float(x @ x)


def descend() -> None:
    """Functions of one's own, and gradients."""
    found = fg.minimize(valley, [1.0, 2.0], optimizer=fg.Adam(0.1), max_iter=3, record=True)
    assert_type(found.x, npt.NDArray[Any])
    assert_type(found.fun, float)
    assert_type(found.success, bool)
    assert_type(fg.check_gradients(fg.activations.tanh).passed, bool)
    fg.plots.PathDisplay.from_paths(valley, found)


def main(folder: Path) -> None:
    """All of it."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(40, 4)).astype(np.float32)
    y = draw.integers(0, 2, 40)
    ask(train(X, y), X, y, folder)
    declare()
    kernels()
    descend()
    config: dict[str, Any] = fg.show_config()
    assert config["version"] == fg.__version__


if __name__ == "__main__":
    main(Path(sys.argv[1]))
