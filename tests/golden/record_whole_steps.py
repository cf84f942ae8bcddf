"""Record how other libraries clip, constrain and average: ``python tests/golden/record_whole_steps.py``.

Needs torch, jax, optax and keras; the versions used are recorded in whole_steps.json. A network of five units of tanh
goes through five epochs of four batches in order; all in float64.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from make_golden import to_float32, write

N, N_INPUTS, N_UNITS, N_OUTPUTS, BATCH_SIZE, EPOCHS = 32, 4, 5, 2, 8, 5

# What the optimizer is told, under fastgd's names, and the constraint of both layers.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "torch: norm and exponential mean": ("torch", {"momentum": 0.5, "clip_norm": 0.3125, "ema": 0.75}, None),
    "torch: mean from step 8": ("torch", {"average": 8}, None),
    "keras: norm and exponential mean": ("keras", {"momentum": 0.5, "clip_norm": 0.3125, "ema": 0.75}, None),
    "keras: largest norm": ("keras", {}, {"max_norm": 0.5}),
    "keras: no weight below zero": ("keras", {"momentum": 0.5}, {"max_norm": 0.7, "nonnegative": True}),
    "optax: norm and exponential mean": ("optax", {"momentum": 0.5, "clip_norm": 0.3125, "ema": 0.75}, None),
}
LEARNING_RATE = 0.25

# Keras adds 1e-7 to the norm of a column, of about a half, before it divides by it, and does so in each step.
N_STEPS = EPOCHS * N // BATCH_SIZE
TOLERANCES = dict.fromkeys(("keras: largest norm", "keras: no weight below zero"), N_STEPS * 1e-7 / 0.5)


def problem() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Rows, targets, and first weights."""
    draw = np.random.default_rng(11)
    x, y = to_float32(draw.normal(size=(N, N_INPUTS))), to_float32(draw.normal(size=(N, N_OUTPUTS)))
    shapes = [(N_INPUTS, N_UNITS), (N_UNITS,), (N_UNITS, N_OUTPUTS), (N_OUTPUTS,)]
    return x, y, [to_float32(0.5 * draw.normal(size=shape)) for shape in shapes]


def batches_in_order(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of all epochs."""
    for _ in range(EPOCHS):
        for first in range(0, N, BATCH_SIZE):
            yield x[first : first + BATCH_SIZE], y[first : first + BATCH_SIZE]


def jax_loss(weights: Any, rows: Any, targets: Any) -> Any:
    """For Keras too, whose layers multiply in float32 within JAX."""
    import jax.numpy as jnp

    W1, b1, W2, b2 = weights
    return ((jnp.tanh(rows @ W1 + b1) @ W2 + b2 - targets) ** 2).mean()


def torch_steps(x: Any, y: Any, start: list[Any], given: dict[str, Any], _: Any) -> tuple[list[Any], list[Any]]:
    """Weights and averages at the end."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(N_INPUTS, N_UNITS), torch.nn.Tanh(), torch.nn.Linear(N_UNITS, N_OUTPUTS)
    )
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), start, strict=True):
            parameter.copy_(torch.tensor(value.T))
    mean = torch.optim.swa_utils.get_ema_avg_fn(given["ema"]) if "ema" in given else None
    averaged = torch.optim.swa_utils.AveragedModel(model, avg_fn=mean)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=given.get("momentum", 0.0))
    for step, (rows, targets) in enumerate(batches_in_order(x, y), 1):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(torch.tensor(rows)), torch.tensor(targets)).backward()
        if "clip_norm" in given:
            torch.nn.utils.clip_grad_norm_(model.parameters(), given["clip_norm"])
        optimizer.step()
        if step >= given.get("average", 1):
            averaged.update_parameters(model)
    return tuple([p.detach().numpy().T for p in each.parameters()] for each in (model, averaged))


def keras_steps(x: Any, y: Any, start: list[Any], given: dict[str, Any], limits: Any) -> tuple[list[Any], list[Any]]:
    """Weights and averages at the end."""
    import jax
    import keras

    def constraint() -> Any:
        both = []
        if limits and limits.get("nonnegative"):
            both.append(keras.constraints.NonNeg())
        if limits:
            both.append(keras.constraints.MaxNorm(limits["max_norm"]))
        if not both:
            return None

        class InTurn(keras.constraints.Constraint):
            def __call__(self, w: Any) -> Any:
                for each in both:
                    w = each(w)
                return w

        return InTurn()

    model = keras.Sequential(
        [
            keras.layers.Input((N_INPUTS,)),
            keras.layers.Dense(N_UNITS, activation="tanh", kernel_constraint=constraint()),
            keras.layers.Dense(N_OUTPUTS, kernel_constraint=constraint()),
        ]
    )
    model.set_weights(start)
    averaging = {"use_ema": True, "ema_momentum": given["ema"]} if "ema" in given else {}
    optimizer = keras.optimizers.SGD(
        LEARNING_RATE, momentum=given.get("momentum", 0.0), global_clipnorm=given.get("clip_norm"), **averaging
    )

    for rows, targets in batches_in_order(x, y):
        weights = [variable.value for variable in model.trainable_variables]
        optimizer.apply(jax.grad(jax_loss)(weights, rows, targets), model.trainable_variables)
    end = model.get_weights()
    optimizer.finalize_variable_values(model.trainable_variables)
    return end, model.get_weights()


def optax_steps(x: Any, y: Any, start: list[Any], given: dict[str, Any], _: Any) -> tuple[list[Any], list[Any]]:
    """Weights and averages at the end."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.chain(
        optax.clip_by_global_norm(given["clip_norm"]), optax.sgd(LEARNING_RATE, momentum=given["momentum"])
    )
    weights = [jnp.array(w) for w in start]
    state, averages = optimizer.init(weights), None
    for rows, targets in batches_in_order(x, y):
        updates, state = optimizer.update(jax.grad(jax_loss)(weights, rows, targets), state)
        weights = optax.apply_updates(weights, updates)
        averages = weights if averages is None else optax.incremental_update(weights, averages, 1.0 - given["ema"])
    return weights, averages


STEPS = {"torch": torch_steps, "keras": keras_steps, "optax": optax_steps}


def main() -> None:
    """Write whole_steps.json beside this script."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras
    import torch

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    torch.set_default_dtype(torch.float64)
    x, y, start = problem()
    cases = {}
    for name, (library, given, limits) in CASES.items():
        end = STEPS[library](x, y, start, given, limits)
        if not {"ema", "average"} & set(given):
            end = end[0], end[0]
        cases[name] = {
            "library": library,
            "optimizer": {"learning_rate": LEARNING_RATE, **given},
            "constraint": limits,
            "tolerance": TOLERANCES.get(name, 1e-12),
            "end": [[np.asarray(w).tolist() for w in each] for each in end],
        }
    shared = {"x": x.tolist(), "y": y.tolist(), "start": [w.tolist() for w in start]}
    content = {"batch_size": BATCH_SIZE, "epochs": EPOCHS, **shared, "cases": cases}
    write("whole_steps", ["torch", "jax", "optax", "keras"], content)


if __name__ == "__main__":
    main()
