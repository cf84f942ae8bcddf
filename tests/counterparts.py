"""fastgd's objects beside the oracle's that they must equal, and data for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from golden import load
from oracle import activations as oracle_activations
from oracle import losses as oracle_losses
from oracle import optimizers as oracle_optimizers
from oracle.network import Layer, Network
from targets import admitted_outputs, targets_of

import fastgd as fg
from fastgd import activations as _activations  # noqa: F401  (fills the registry)
from fastgd import losses as _losses  # noqa: F401  (fills the registry)
from fastgd._formula import ACTIVATIONS, LOSSES, OPTIMIZERS

BACKENDS = ("cython", "numba", "numpy")
DTYPES = ("float32", "float64")

# For each rule, what an optimizer of that rule is told so that a few steps move the weights by about a tenth.
HYPERPARAMETERS = {
    "sgd": {"learning_rate": 0.1},
    "momentum": {"learning_rate": 0.05, "momentum": 0.9},
    "nesterov": {"learning_rate": 0.05, "momentum": 0.75},
    "adagrad": {"learning_rate": 0.05},
    "rmsprop": {"learning_rate": 0.01, "rho": 0.9},
    "rmsprop_momentum": {"learning_rate": 0.01, "rho": 0.9, "momentum": 0.5},
    "rmsprop_centered": {"learning_rate": 0.01, "rho": 0.9, "momentum": 0.5, "eps": 0.01},
    "adadelta": {"learning_rate": 4.0},
    "adam": {"learning_rate": 0.02, "beta2": 0.99},
    "amsgrad": {"learning_rate": 0.02, "beta2": 0.9},
    "adamax": {"learning_rate": 0.02, "beta2": 0.9},
    "nadam": {"learning_rate": 0.02, "beta2": 0.99},
    "adabelief": {"learning_rate": 0.02, "eps": 1e-4},
    "yogi": {"learning_rate": 0.02, "beta2": 0.9},
    "lion": {"learning_rate": 0.01},
    "ftrl": {"learning_rate": 0.1, "l1": 0.01, "l2": 0.1},
    "rprop": {"learning_rate": 0.01},
}

# The class of each rule, and what makes it take this rule besides.
MADE_BY: dict[str, tuple[type[fg.optimizers.Optimizer], dict[str, bool]]] = {
    "sgd": (fg.SGD, {}),
    "momentum": (fg.SGD, {}),
    "nesterov": (fg.SGD, {"nesterov": True}),
    "adagrad": (fg.Adagrad, {}),
    "rmsprop": (fg.RMSprop, {}),
    "rmsprop_momentum": (fg.RMSprop, {}),
    "rmsprop_centered": (fg.RMSprop, {"centered": True}),
    "adadelta": (fg.Adadelta, {}),
    "adam": (fg.Adam, {}),
    "amsgrad": (fg.Adam, {"amsgrad": True}),
    "adamax": (fg.Adamax, {}),
    "nadam": (fg.NAdam, {}),
    "adabelief": (fg.AdaBelief, {}),
    "yogi": (fg.Yogi, {}),
    "lion": (fg.Lion, {}),
    "ftrl": (fg.Ftrl, {}),
    "rprop": (fg.Rprop, {}),
}

# Rules that jump: where a sum is zero but for rounding, two right answers lie a whole step apart.
JUMPING = ("lion", "rprop")


def built_in(registry: dict) -> list[str]:
    """Names that fastgd itself declares; other tests may register formulas of their own."""
    return [name for name, declared in registry.items() if declared.module.startswith("fastgd.")]


ACTIVATION_NAMES, LOSS_NAMES, OPTIMIZER_NAMES = map(built_in, (ACTIVATIONS, LOSSES, OPTIMIZERS))


def optimizer_named(rule: str, **hyperparameters: float) -> fg.optimizers.Optimizer:
    """fastgd's optimizer that applies the rule of that name."""
    made_by, flags = MADE_BY[rule]
    return made_by(**flags, **hyperparameters)


def oracle_rule(rule: str, **hyperparameters: float) -> Callable[[], object]:
    """Maker of the oracle's object for that rule, one for each parameter array."""
    return lambda: oracle_optimizers.OPTIMIZERS[rule](**hyperparameters)


RECORDINGS = [
    (library, name) for library in ("torch", "keras", "optax", "sklearn") for name in load("optimizers")[library]
]


@dataclass(frozen=True)
class Recording:
    """Where another library's optimizer went, and what should go there: fastgd's and the oracle's."""

    optimizer: fg.optimizers.Optimizer
    new_rule: Callable[..., object]
    start: np.ndarray
    gradients: np.ndarray
    kept: np.ndarray
    path: np.ndarray

    @classmethod
    def of(cls, library: str, name: str) -> Recording:
        """The recording of that name, such as ``Adam(learning_rate=0.05)``."""
        golden, kind = load("optimizers"), name.partition("(")[0]
        given = dict(golden[library][name]["given"])
        fall = given.pop("fall", None)
        if fall is not None:
            initial = given["learning_rate"]
            given["learning_rate"] = fg.schedules.Exponential(initial, fall)
        optimizer = getattr(fg, kind)(dialect=library, **given)
        explicit = dict(optimizer.hyperparameters)
        if fall is not None:
            explicit["learning_rate"] = lambda step: initial * fall**step
        new_rule = partial(oracle_optimizers.CLASSES[kind], **explicit)
        arrays = (np.array(golden["start"]), np.array(golden["gradients"]), np.array(golden["steps"]) - 1)
        return cls(optimizer, new_rule, *arrays, np.array(golden[library][name]["path"]))


def oracle_network(activations: Sequence[str], loss: str, l1: float = 0.0, l2: float = 0.0) -> Network:
    """The textbook's network of layers with these activations."""
    layers = tuple(Layer(oracle_activations.ACTIVATIONS[name], l1=l1, l2=l2) for name in activations)
    return Network(layers, oracle_losses.LOSSES[loss])


def model_of(sizes: Sequence[int], activations: Sequence[str], loss: str, **options: object) -> fg.Sequential:
    """A built model: sizes[0] inputs, then a dense layer for each further size."""
    layers = [fg.Dense(n, activation=name) for n, name in zip(sizes[1:], activations, strict=True)]
    model = fg.Sequential(layers, loss=loss, **options)
    model.build(sizes[0])
    return model


def float32_numbers(values: np.ndarray) -> np.ndarray:
    """Round to float32, so that one oracle serves both precisions; still float64."""
    return np.asarray(values, np.float32).astype(float)


def scale_of_weights(activations: Sequence[str], loss: str) -> float:
    """1; less where an exponential of exponentials would be beyond float32, or beyond what a step can mend."""
    exponential_link = oracle_losses.LOSSES[loss].link in (np.exp, np.expm1)
    return 0.25 if exponential_link and "exp" in activations else 1.0


def random_weights(draw: np.random.Generator, sizes: Sequence[int], scale: float = 1.0) -> list[np.ndarray]:
    """[W1, b1, W2, ...] of a scale that keeps the sums of every layer near 1."""
    weights = []
    for n_inputs, n_outputs in zip(sizes[:-1], sizes[1:], strict=True):
        weights.append(float32_numbers(scale * draw.normal(size=(n_inputs, n_outputs)) / np.sqrt(n_inputs)))
        weights.append(float32_numbers(scale * 0.3 * draw.normal(size=n_outputs)))
    return weights


def random_target(draw: np.random.Generator, loss: str, n: int, n_outputs: int) -> np.ndarray:
    """Targets of the kind the loss takes: labels for losses over classes."""
    return targets_of(draw, oracle_losses.LOSSES[loss], n, n_outputs)


def sizes_for(loss: str, sizes: Sequence[int]) -> list[int]:
    """The sizes, the last of them raised to what the loss can be taken of."""
    return [*sizes[:-1], admitted_outputs(oracle_losses.LOSSES[loss], sizes[-1])]


class FedWithGradients:
    """Steps an optimizer along gradients that are given, through a model's public door.

    The gradient of |w.x + b - y| for one row whose y lies far below is x for w, and 1 for b.
    """

    def __init__(self, optimizer: object, start: np.ndarray, dtype: str, backend: str) -> None:
        self.model = fg.Sequential(
            [fg.Dense(1)], loss="mean_absolute_error", optimizer=optimizer, dtype=dtype, backend=backend
        )
        self.model.build(len(start))
        self.model.set_weights([np.asarray(start, dtype)[:, None], np.zeros(1, dtype)])

    @property
    def position(self) -> np.ndarray:
        """Where the parameters are."""
        return self.model.get_weights()[0][:, 0]

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """Parameters after one step."""
        self.model.train_on_batch(np.asarray(gradient, float)[None, :], np.array([[-1e30]]))
        return self.position
