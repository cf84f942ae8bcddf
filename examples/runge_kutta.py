"""A network in the place of a force, inside an integrator that is compiled.

A pendulum with friction is seen at random moments; a network learns its acceleration from its angle and its speed; and
the classical Runge-Kutta method follows the network's pendulum, four forward passes of one row a step.

    pip install "fastgd[jit]"
    python examples/runge_kutta.py
"""

from __future__ import annotations

import math
import time

import numba
import numpy as np

import fastgd as fg

FRICTION, SECONDS = 0.2, 0.01


@numba.njit(nogil=True)
def acceleration(angle, speed):
    """What the network is to learn."""
    return -math.sin(angle) - FRICTION * speed


@numba.njit(nogil=True)
def true_force(state, out):
    """The same, as the integrator calls it."""
    out[0] = acceleration(state[0], state[1])


def learn_force(epochs: int, seed: int = 0) -> fg.Sequential:
    """A model of the acceleration, from 4,000 observations."""
    states = np.random.default_rng(seed).uniform(-2.5, 2.5, (4000, 2))
    model = fg.Sequential(
        [fg.Dense(32, activation="tanh"), fg.Dense(32, activation="tanh"), fg.Dense(1)],
        loss="mean_squared_error",
        optimizer=fg.Adam(fg.schedules.Cosine(0.01, 1e-5, steps=epochs * 125)),
        dtype="float64",
        seed=seed,
    )
    model.fit(states, np.array([acceleration(*state) for state in states]), epochs=epochs, batch_size=32)
    return model


@numba.njit(nogil=True)
def follow(force, start, n_steps):
    """The states at the ends of the steps."""
    path, slopes, state, out = np.empty((n_steps, 2)), np.empty((4, 2)), start.copy(), np.empty(1)
    for step in range(n_steps):
        for stage in range(4):
            at = state + (0.0, 0.5, 0.5, 1.0)[stage] * SECONDS * slopes[stage - 1] if stage else state.copy()
            force(at, out)
            slopes[stage, 0], slopes[stage, 1] = at[1], out[0]
        state += SECONDS / 6.0 * (slopes[0] + 2.0 * slopes[1] + 2.0 * slopes[2] + slopes[3])
        path[step] = state
    return path


def main(epochs: int = 100, n_steps: int = 2000) -> float:
    """Follow both pendulums; gives how far apart they are at most."""
    model = learn_force(epochs)
    force, start = fg.jit.predictor(model), np.array([2.0, 0.0])
    follow(force, start, 1)  # compiles
    begin = time.perf_counter()
    path = follow(force, start, n_steps)
    seconds = time.perf_counter() - begin
    distance = float(np.abs(path - follow(true_force, start, n_steps)).max())
    print(f"{n_steps * SECONDS:g} seconds of the pendulum in {1e3 * seconds:.2f} ms; at most {distance:.4f} off")
    return distance


if __name__ == "__main__":
    main()
