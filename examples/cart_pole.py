"""A cart learns to balance a pole, by policy gradients, in one loop of compiled code.

Physics, network, returns and training are all inside ``play``: Python is back when it ends. The physics is that of
Barto, Sutton & Anderson, Neuronlike adaptive elements that can solve difficult learning control problems, 1983; the
learning is REINFORCE, of Williams, Simple statistical gradient-following algorithms for connectionist reinforcement
learning, 1992, with the mean return as its baseline.

    pip install "fastgd[jit]"
    python examples/cart_pole.py
"""

from __future__ import annotations

import math
import time

import numba
import numpy as np

import fastgd as fg

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST, LONGEST = 2.4, math.radians(12.0), 500
DISCOUNT = 0.99


@fg.loss(target="real")
def of_slope(score, target):
    """A loss whose gradient is the target: what the gradient of the scores is to be, this loop says itself."""
    return score * target


def new_model(seed: int = 0) -> fg.Sequential:
    """Scores of the two pushes, from position, speed, angle and angular speed."""
    layers = [fg.Dense(32, activation="tanh"), fg.Dense(32, activation="tanh"), fg.Dense(2)]
    return fg.Sequential(layers, loss=of_slope, optimizer=fg.Adam(0.002), seed=seed).build(4)


@numba.njit(nogil=True)
def push(state, force):
    """Move cart and pole on by one interval; says whether the pole still stands."""
    x, speed, angle, turn = state
    sine, cosine = math.sin(angle), math.cos(angle)
    thrust = (force + POLE * HALF_LENGTH * turn * turn * sine) / (CART + POLE)
    bend = (GRAVITY * sine - cosine * thrust) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cosine * cosine / (CART + POLE)))
    state[0] = x + SECONDS * speed
    state[1] = speed + SECONDS * (thrust - POLE * HALF_LENGTH * bend * cosine / (CART + POLE))
    state[2] = angle + SECONDS * turn
    state[3] = turn + SECONDS * bend
    return abs(state[0]) <= FARTHEST and abs(state[2]) <= STEEPEST


@numba.njit(nogil=True)
def play(policy, learn, n_episodes, seed):
    """Play so many episodes, learning from each; gives their lengths."""
    np.random.seed(seed)
    lengths = np.zeros(n_episodes, np.int64)
    states, slopes = np.empty((LONGEST, 4), np.float32), np.empty((LONGEST, 2), np.float32)
    scores, state = np.empty(2, np.float32), np.empty(4)
    mean, spread = 0.0, 1.0
    for episode in range(n_episodes):
        state[:] = np.random.uniform(-0.05, 0.05, 4)
        stands, length = True, 0
        while stands and length < LONGEST:
            states[length] = state
            policy(states[length], scores)
            right = 1.0 / (1.0 + math.exp(float(scores[0] - scores[1])))
            goes_right = np.random.random() < right
            # The slope of -log p by the two scores.
            slopes[length, 1] = right - goes_right
            slopes[length, 0] = -slopes[length, 1]
            stands = push(state, FORCE if goes_right else -FORCE)
            length += 1
        lengths[episode] = length
        total = 0.0
        for k in range(length - 1, -1, -1):
            total = 1.0 + DISCOUNT * total
            slopes[k] *= np.float32((total - mean) / spread)
            mean += 0.001 * (total - mean)
            spread += 0.001 * (abs(total - mean) + 1.0 - spread)
        learn(states[:length], slopes[:length])
    return lengths


def main(n_episodes: int = 1000, seed: int = 0) -> np.ndarray:
    """Play, and tell how it went."""
    model = new_model(seed)
    policy, learn = fg.jit.predictor(model, raw=True), fg.jit.trainer(model)
    play(policy, learn, 0, seed)  # compiles
    start = time.perf_counter()
    lengths = play(policy, learn, n_episodes, seed)
    seconds = time.perf_counter() - start
    print(f"{lengths.sum():,} steps in {seconds:.2f} s, {lengths.sum() / seconds:,.0f} a second")
    for first in range(0, n_episodes, max(1, n_episodes // 5)):
        part = lengths[first : first + max(1, n_episodes // 5)]
        print(f"episodes {first + 1:>5} to {first + len(part):>5}: the pole stands for {part.mean():6.1f} steps")
    return lengths


if __name__ == "__main__":
    main()
