"""Record where the optimizers of other libraries go: ``python tests/golden/record_optimizers.py``.

Needs torch, jax, optax, keras and scikit-learn; the versions used are recorded in optimizers.json. Gradients are given,
so that a path shows nothing but the optimizer; all in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from make_golden import to_float32, write

STEPS_KEPT = (1, 2, 3, 5, 10, 20, 50, 100)

# Of a learning rate that falls, the factor of each step.
FALL = 0.97

# For each library and optimizer, under fastgd's names, what it is told: nothing means its own defaults; "fall" is the
# factor by which the learning rate falls in each step.
CASES: dict[str, dict[str, list[dict[str, Any]]]] = {
    "torch": {
        "SGD": [
            {},
            {"learning_rate": 0.05},
            {"learning_rate": 0.05, "weight_decay": 0.1, "clip_value": 2.0},
            {"learning_rate": 0.02, "momentum": 0.9},
            {"learning_rate": 0.02, "momentum": 0.9, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True},
            {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "fall": FALL},
        ],
        "Adagrad": [{}, {"learning_rate": 0.1, "initial_total": 0.5, "weight_decay": 0.1, "fall": FALL}],
        "RMSprop": [
            {},
            {"learning_rate": 0.01, "rho": 0.9, "weight_decay": 0.1},
            {"learning_rate": 0.01, "rho": 0.9, "momentum": 0.8, "fall": FALL},
            {"learning_rate": 0.01, "rho": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.1, "fall": FALL},
        ],
        "Adadelta": [{}, {"learning_rate": 2.0, "rho": 0.8, "eps": 1e-5, "weight_decay": 0.1, "fall": FALL}],
        "Adam": [
            {},
            {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1, "fall": FALL},
            {"learning_rate": 0.05, "beta2": 0.9, "amsgrad": True, "clip_value": 0.5},
        ],
        "AdamW": [
            {},
            {"learning_rate": 0.05, "beta2": 0.9, "weight_decay": 0.3, "amsgrad": True, "fall": FALL},
        ],
        "Adamax": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL}],
        "NAdam": [{}, {"learning_rate": 0.05, "momentum_decay": 0.1, "weight_decay": 0.1, "fall": FALL}],
        "RAdam": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL}],
        "Rprop": [{}, {"learning_rate": 0.02, "shrink": 0.4, "grow": 1.5, "smallest": 0.01, "largest": 0.2}],
    },
    "keras": {
        "SGD": [
            {},
            {"learning_rate": 0.05, "weight_decay": 0.1, "clip_value": 2.0, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.9, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "fall": FALL},
        ],
        "Adagrad": [{}, {"learning_rate": 0.1, "initial_total": 0.5, "eps": 1e-3, "weight_decay": 0.1, "fall": FALL}],
        "RMSprop": [
            {},
            {"learning_rate": 0.01, "momentum": 0.8, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL},
            {"learning_rate": 0.01, "momentum": 0.8, "eps": 1e-4, "centered": True, "fall": FALL},
            {"learning_rate": 0.01, "eps": 1e-4, "centered": True},
        ],
        "Adadelta": [{}, {"learning_rate": 2.0, "rho": 0.8, "weight_decay": 0.1, "fall": FALL}],
        "Adam": [
            {},
            {"learning_rate": 0.05, "beta1": 0.8, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL},
            {"learning_rate": 0.05, "beta2": 0.9, "amsgrad": True, "clip_value": 0.5},
        ],
        "AdamW": [{}, {"learning_rate": 0.05, "weight_decay": 0.3, "amsgrad": True, "fall": FALL}],
        "Adamax": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL}],
        "NAdam": [{}, {"learning_rate": 0.05, "beta1": 0.8, "weight_decay": 0.1, "fall": FALL}],
        "Lion": [{}, {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1, "fall": FALL}],
        "Ftrl": [
            {},
            {"learning_rate": 0.1, "beta": 0.5, "l1": 0.7, "l2": 0.2, "initial_total": 0.3, "fall": FALL},
        ],
    },
    "optax": {
        "SGD": [
            {"learning_rate": 0.05, "clip_value": 2.0, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.9, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "fall": FALL},
        ],
        "Adagrad": [{}, {"learning_rate": 0.1, "initial_total": 0.5, "eps": 1e-3, "fall": FALL}],
        "RMSprop": [
            {},
            {"learning_rate": 0.01, "momentum": 0.8, "eps": 1e-4, "fall": FALL},
            {"learning_rate": 0.01, "momentum": 0.8, "eps": 1e-4, "centered": True, "fall": FALL},
        ],
        "Adadelta": [{}, {"learning_rate": 2.0, "rho": 0.8, "weight_decay": 0.1, "fall": FALL}],
        "Adam": [
            {},
            {"learning_rate": 0.05, "beta1": 0.8, "eps": 1e-4, "fall": FALL},
            {"learning_rate": 0.05, "beta2": 0.9, "amsgrad": True, "clip_value": 0.5, "fall": FALL},
        ],
        "AdamW": [{}, {"learning_rate": 0.05, "weight_decay": 0.3, "fall": FALL}],
        "Adamax": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.1, "fall": FALL}],
        "NAdam": [{}, {"learning_rate": 0.05, "beta1": 0.8, "weight_decay": 0.1, "fall": FALL}],
        "RAdam": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "fall": FALL}],
        "AdaBelief": [{}, {"learning_rate": 0.05, "beta1": 0.8, "eps": 1e-6, "fall": FALL}],
        "Yogi": [{}, {"learning_rate": 0.05, "beta2": 0.9, "eps": 1e-4, "fall": FALL}],
        "Lion": [{}, {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1, "fall": FALL}],
        "Rprop": [{}, {"learning_rate": 0.02, "shrink": 0.4, "grow": 1.5, "smallest": 0.01, "largest": 0.2}],
    },
    "sklearn": {
        "SGD": [
            {},
            {"learning_rate": 0.02, "momentum": 0.9, "nesterov": False, "fall": FALL},
            {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "fall": FALL},
            {"learning_rate": 0.05, "momentum": 0.0, "nesterov": False},
        ],
        "Adam": [{}, {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.9, "eps": 1e-4, "fall": FALL}],
    },
}


def gradient_sequence() -> np.ndarray:
    """A hundred gradients of five parameters.

    Columns: the two of Rosenbrock's function along a spiral; a slow oscillation; one so small that eps
    decides; one that is zero but for every seventh step.
    """
    t = np.arange(1, 101)
    x, y = 1.5 * np.cos(0.2 * t) * 0.98**t, 1.5 * np.sin(0.2 * t) * 0.98**t
    columns = [
        -2 * (1 - x) - 40 * x * (y - x**2),
        20 * (y - x**2),
        3 * np.cos(0.3 * t),
        1e-8 * (1.5 + np.sin(t)),
        np.where(t % 7 == 0, 0.5, 0.0),
    ]
    return to_float32(np.stack(columns, axis=1))


def renamed(given: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Arguments under another library's names; a name with a place is one of a pair."""
    pairs: dict[str, dict[int, Any]] = {}
    result: dict[str, Any] = {}
    for name, value in given.items():
        other = names.get(name, name)
        if isinstance(other, tuple):
            pairs.setdefault(other[0], {})[other[1]] = value
        else:
            result[other] = value
    return result | {name: tuple(values[k] for k in sorted(values)) for name, values in pairs.items()}


def torch_path(name: str, given: dict[str, Any], start: np.ndarray, gradients: np.ndarray) -> Iterator[np.ndarray]:
    """Parameters after each step."""
    import torch

    fall, clip = given.pop("fall", 1.0), given.pop("clip_value", None)
    names = {"learning_rate": "lr", "initial_total": "initial_accumulator_value"}
    names |= {"rho": "alpha"} if name == "RMSprop" else {}
    names |= {"beta1": ("betas", 0), "beta2": ("betas", 1), "shrink": ("etas", 0), "grow": ("etas", 1)}
    names |= {"smallest": ("step_sizes", 0), "largest": ("step_sizes", 1)}
    if ("beta1" in given) != ("beta2" in given):
        given = {"beta1": 0.9, "beta2": 0.999, **given}
    w = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, name)([w], **renamed(given, names))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=fall)
    for g in gradients:
        w.grad = torch.tensor(g)
        if clip is not None:
            torch.nn.utils.clip_grad_value_([w], clip)
        optimizer.step()
        scheduler.step()
        yield w.detach().numpy().copy()


def keras_path(name: str, given: dict[str, Any], start: np.ndarray, gradients: np.ndarray) -> Iterator[np.ndarray]:
    """Parameters after each step."""
    import keras

    fall = given.pop("fall", None)
    if fall is not None:
        given["learning_rate"] = keras.optimizers.schedules.ExponentialDecay(given["learning_rate"], 1, fall)
    names = {"beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon", "clip_value": "clipvalue"}
    names |= {"l1": "l1_regularization_strength", "l2": "l2_regularization_strength"}
    names |= {"initial_total": "initial_accumulator_value"}
    optimizer = getattr(keras.optimizers, {"NAdam": "Nadam"}.get(name, name))(**renamed(given, names))
    w = keras.Variable(start, dtype="float64")
    optimizer.build([w])
    for g in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64")])
        yield keras.ops.convert_to_numpy(w.value).copy()


# Where optax gives no default, it is told fastgd's.
OPTAX_RATES = {"SGD": 0.01, "Adagrad": 0.01, "RMSprop": 0.01, "Adadelta": 1.0, "Adamax": 2e-3, "NAdam": 2e-3}
OPTAX_RATES |= {"Yogi": 0.01, "Lion": 1e-4, "Rprop": 0.01}


def optax_optimizer(name: str, given: dict[str, Any]) -> Any:
    """A gradient transformation."""
    import jax.numpy as jnp
    import optax

    fall, clip = given.pop("fall", None), given.pop("clip_value", None)
    rate = given.pop("learning_rate", OPTAX_RATES.get(name, 1e-3))
    if fall is not None:
        # optax's own schedules are computed in single precision.
        rates = jnp.asarray(rate * fall ** np.arange(STEPS_KEPT[-1]))
        rate = rates.__getitem__
    names = {"beta1": "b1", "beta2": "b2", "initial_total": "initial_accumulator_value"}
    names |= {"rho": "decay"} if name == "RMSprop" else {}
    names |= {"shrink": "eta_minus", "grow": "eta_plus", "smallest": "min_step_size", "largest": "max_step_size"}
    if name == "AdaBelief" and "eps" in given:
        given["eps_root"] = given["eps"]
    function = name.lower()
    if given.pop("amsgrad", False):
        function = "amsgrad"
    if name in ("Adamax", "NAdam") and "weight_decay" in given:
        function += "w"
    made = getattr(optax, function)(rate, **renamed(given, names))
    return made if clip is None else optax.chain(optax.clip(clip), made)


def optax_path(name: str, given: dict[str, Any], start: np.ndarray, gradients: np.ndarray) -> Iterator[np.ndarray]:
    """Parameters after each step."""
    import jax.numpy as jnp
    import optax

    optimizer, w = optax_optimizer(name, given), jnp.asarray(start)
    state = optimizer.init(w)
    for g in gradients:
        updates, state = optimizer.update(jnp.asarray(g), state, w)
        w = optax.apply_updates(w, updates)
        yield np.asarray(w)


def sklearn_path(name: str, given: dict[str, Any], start: np.ndarray, gradients: np.ndarray) -> Iterator[np.ndarray]:
    """Parameters after each step, of the optimizers inside the multilayer perceptrons."""
    from sklearn.neural_network import _stochastic_optimizers

    fall = given.pop("fall", 1.0)
    names = {"learning_rate": "learning_rate_init", "beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon"}
    w = start.copy()
    optimizer = getattr(_stochastic_optimizers, f"{name}Optimizer")([w], **renamed(given, names))
    for step, g in enumerate(gradients):
        # Adam computes its rate from this one in each step.
        optimizer.learning_rate_init = given.get("learning_rate", 1e-3) * fall**step
        optimizer.learning_rate = optimizer.learning_rate_init
        optimizer.update_params([w], [g])
        yield w.copy()


PATHS: dict[str, Callable[..., Iterator[np.ndarray]]] = {
    "torch": torch_path,
    "keras": keras_path,
    "optax": optax_path,
    "sklearn": sklearn_path,
}


def main() -> None:
    """Write optimizers.json beside this script."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras
    import torch

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    torch.set_default_dtype(torch.float64)
    start, gradients = to_float32([1.0, -0.5, 2.0, 0.25, 0.0]), gradient_sequence()
    kept = np.array(STEPS_KEPT) - 1
    content: dict[str, Any] = {"start": start.tolist(), "gradients": gradients.tolist(), "steps": list(STEPS_KEPT)}
    for library, optimizers in CASES.items():
        content[library] = {}
        for name, cases in optimizers.items():
            for given in cases:
                spelled = ", ".join(f"{key}={value!r}" for key, value in given.items())
                path = np.array(list(PATHS[library](name, dict(given), start, gradients)))
                content[library][f"{name}({spelled})"] = {"given": given, "path": path[kept].tolist()}
    write("optimizers", ["torch", "jax", "optax", "keras", "scikit-learn"], content)


if __name__ == "__main__":
    main()
