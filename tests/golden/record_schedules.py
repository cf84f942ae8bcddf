"""Record what the schedules of PyTorch, Keras and optax give: ``python tests/golden/record_schedules.py``.

Needs torch, jax, optax and keras; the versions used are recorded in schedules.json.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from make_golden import write

STEPS = range(60)


def torch_values(make: Callable) -> list[float]:
    """The learning rate of each step, of a scheduler that is stepped after each update."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)
    scheduler, values = make(torch.optim.lr_scheduler, optimizer), []
    for _ in STEPS:
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


TORCH = {
    "StepLR": lambda s, o: s.StepLR(o, step_size=7, gamma=0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, milestones=[5, 6, 40], gamma=0.2),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=10),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, gamma=0.95),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0.25, end_factor=0.5, total_iters=33),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=41, power=1.7),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=59, eta_min=0.05),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=3, eta_min=0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, max_lr=0.8, total_steps=61, pct_start=0.2, cycle_momentum=False),
    "CyclicLR triangular": lambda s, o: s.CyclicLR(o, 0.1, 0.8, 7, 5, cycle_momentum=False),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.1, 0.8, 6, mode="triangular2", cycle_momentum=False),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.125, 1.0, total_iters=8), s.ExponentialLR(o, gamma=0.9)], milestones=[8]
    ),
}


def keras_schedules() -> Mapping[str, Callable]:
    """Functions of the step."""
    from keras.optimizers.schedules import (
        CosineDecay,
        CosineDecayRestarts,
        ExponentialDecay,
        InverseTimeDecay,
        PolynomialDecay,
    )

    return {
        "ExponentialDecay": ExponentialDecay(0.8, decay_steps=9, decay_rate=0.5),
        "ExponentialDecay staircase": ExponentialDecay(0.8, decay_steps=9, decay_rate=0.5, staircase=True),
        "InverseTimeDecay": InverseTimeDecay(0.8, decay_steps=10, decay_rate=0.5),
        "InverseTimeDecay staircase": InverseTimeDecay(0.8, decay_steps=10, decay_rate=0.5, staircase=True),
        "PolynomialDecay": PolynomialDecay(0.8, decay_steps=31, end_learning_rate=0.02, power=2.5),
        "CosineDecay": CosineDecay(0.8, decay_steps=37, alpha=0.125),
        "CosineDecay warm-up": CosineDecay(0.1, decay_steps=37, warmup_target=0.8, warmup_steps=11),
        "CosineDecayRestarts": CosineDecayRestarts(0.8, 5, t_mul=2.0, m_mul=0.5, alpha=0.125),
    }


def optax_schedules() -> Mapping[str, Callable]:
    """Functions of the step."""
    import optax

    return {
        "piecewise_constant_schedule": optax.piecewise_constant_schedule(0.8, {7: 0.5, 30: 0.5}),
        "exponential_decay": optax.exponential_decay(0.8, transition_steps=9, decay_rate=0.5),
        "exponential_decay staircase": optax.exponential_decay(0.8, 9, 0.5, staircase=True),
        "linear_schedule": optax.linear_schedule(0.1, 0.8, transition_steps=44),
        "polynomial_schedule": optax.polynomial_schedule(0.8, 0.1, power=3, transition_steps=44),
        "cosine_decay_schedule": optax.cosine_decay_schedule(0.8, decay_steps=37, alpha=0.125, exponent=1.5),
        "warmup_cosine_decay_schedule": optax.warmup_cosine_decay_schedule(0.1, 0.8, 12, 50, end_value=0.2),
        "warmup_constant_schedule": optax.warmup_constant_schedule(0.1, 0.8, 12),
        "join_schedules": optax.join_schedules([optax.linear_schedule(0.1, 0.8, 10), lambda step: 0.5], [20]),
    }


def main() -> None:
    """Write schedules.json beside this script."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    values = {f"torch {name}": torch_values(make) for name, make in TORCH.items()}
    for library, made in (("keras", keras_schedules()), ("optax", optax_schedules())):
        values |= {f"{library} {name}": [float(each(step)) for step in STEPS] for name, each in made.items()}
    write("schedules", ["torch", "jax", "optax", "keras"], {"values": values})


if __name__ == "__main__":
    main()
