"""The optimizers, in the form of their papers, which is PyTorch's.

Each object holds the state of one parameter array and steps it: ``w = rule.step(w, g)``.
"""

from __future__ import annotations

import numpy as np


class GradientDescent:
    """w <- w - lr g."""

    def __init__(self, learning_rate: float = 0.01) -> None:
        self.learning_rate = learning_rate

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        return w - self.learning_rate * g


class Momentum:
    """b <- mu b + g; w <- w - lr b (Polyak 1964; Sutskever et al. 2013)."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9) -> None:
        self.learning_rate, self.momentum = learning_rate, momentum
        self.buffer: float | np.ndarray = 0.0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.buffer = self.momentum * self.buffer + g
        return w - self.learning_rate * self.buffer


class Nesterov(Momentum):
    """b <- mu b + g; w <- w - lr (g + mu b)."""

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.buffer = self.momentum * self.buffer + g
        return w - self.learning_rate * (g + self.momentum * self.buffer)


class Adagrad:
    """G <- G + g^2; w <- w - lr g / (sqrt(G) + eps) (Duchi et al. 2011)."""

    def __init__(self, learning_rate: float = 0.01, eps: float = 1e-10) -> None:
        self.learning_rate, self.eps = learning_rate, eps
        self.total: float | np.ndarray = 0.0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.total = self.total + g**2
        return w - self.learning_rate * g / (np.sqrt(self.total) + self.eps)


class RMSprop:
    """v <- rho v + (1 - rho) g^2; w <- w - lr g / (sqrt(v) + eps) (Tieleman & Hinton 2012)."""

    def __init__(self, learning_rate: float = 0.01, rho: float = 0.99, eps: float = 1e-8) -> None:
        self.learning_rate, self.rho, self.eps = learning_rate, rho, eps
        self.square: float | np.ndarray = 0.0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.square = self.rho * self.square + (1.0 - self.rho) * g**2
        return w - self.learning_rate * g / (np.sqrt(self.square) + self.eps)


class Adadelta:
    """Zeiler 2012, Algorithm 1: steps in the units of w, by running means of squares of g and of steps."""

    def __init__(self, learning_rate: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
        self.learning_rate, self.rho, self.eps = learning_rate, rho, eps
        self.square: float | np.ndarray = 0.0
        self.square_step: float | np.ndarray = 0.0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.square = self.rho * self.square + (1.0 - self.rho) * g**2
        step = np.sqrt(self.square_step + self.eps) / np.sqrt(self.square + self.eps) * g
        self.square_step = self.rho * self.square_step + (1.0 - self.rho) * step**2
        return w - self.learning_rate * step


class Adam:
    """Kingma & Ba 2015, Algorithm 1."""

    def __init__(
        self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        self.learning_rate, self.beta1, self.beta2, self.eps = learning_rate, beta1, beta2, eps
        self.first: float | np.ndarray = 0.0
        self.second: float | np.ndarray = 0.0
        self.t = 0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        self.t += 1
        self.first = self.beta1 * self.first + (1.0 - self.beta1) * g
        self.second = self.beta2 * self.second + (1.0 - self.beta2) * g**2
        unbiased_first = self.first / (1.0 - self.beta1**self.t)
        unbiased_second = self.second / (1.0 - self.beta2**self.t)
        return w - self.learning_rate * unbiased_first / (np.sqrt(unbiased_second) + self.eps)


OPTIMIZERS: dict[str, type] = {
    "sgd": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
    "adam": Adam,
}


def trajectory(rule: object, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The parameters after each of the gradients, shape (n_steps, ...)."""
    positions, w = [], np.array(start, float)
    for g in gradients:
        w = rule.step(w, g)
        positions.append(w)
    return np.array(positions)
