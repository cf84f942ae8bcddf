"""Layers by the textbook, one object each: forward with what is kept, backward by the Jacobian written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .activations import Activation
from .losses import Loss, mean_loss, mean_loss_gradient, softmax
from .philox import kept_by_dropout


@dataclass
class Dense:
    """a = f(x W + b)."""

    activation: Activation

    def forward(self, parameters: Sequence[np.ndarray], x: np.ndarray, place: tuple | None) -> np.ndarray:
        """The output; what backward needs stays with the layer."""
        self.x, (self.W, b) = x, parameters
        self.z = x @ self.W + b
        return self.activation.value(self.z)

    def backward(self, d_out: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients by the input and by the parameters."""
        d = d_out * self.activation.derivative(self.z)
        return d @ self.W.T, [self.x.T @ d, d.sum(axis=0)]


@dataclass
class Dropout:
    """x / (1 - rate) where it is kept, else 0; x itself where nothing is learnt (no place)."""

    rate: float

    def forward(self, parameters: Sequence[np.ndarray], x: np.ndarray, place: tuple | None) -> np.ndarray:
        """`place` is (seed, step, layer)."""
        self.factor = np.ones_like(x)
        if place is not None:
            self.factor = np.array(kept_by_dropout(*place, x.shape, self.rate)) / (1.0 - self.rate)
        return x * self.factor

    def backward(self, d_out: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Each element depends on itself alone."""
        return d_out * self.factor, []


@dataclass
class Softmax:
    """p = e^x over its row's sum; d p_i / d x_j = p_i (delta_ij - p_j)."""

    def forward(self, parameters: Sequence[np.ndarray], x: np.ndarray, place: tuple | None) -> np.ndarray:
        """The output; what backward needs stays with the layer."""
        self.p = softmax(x)
        return self.p

    def backward(self, d_out: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Row by row through the Jacobian."""
        jacobians = [np.diag(p) - np.outer(p, p) for p in self.p]
        return np.array([jacobian @ d for jacobian, d in zip(jacobians, d_out, strict=True)]), []


def normalized(x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """One vector, its mean taken off and divided by the root of its variance + eps; and the Jacobian of that.

    With c = x - mean and s = sqrt(variance + eps): d(c_i / s) / d x_j = (delta_ij - 1/n - c_i c_j / (n s^2)) / s.
    """
    n, c = len(x), x - x.mean()
    s = np.sqrt((c**2).mean() + eps)
    return c / s, (np.eye(n) - 1.0 / n - np.outer(c, c) / (n * s**2)) / s


@dataclass
class Normalization:
    """a = f(gain x' + shift), with x' over the rows of a batch (axis 0) or over each row's columns (axis 1)."""

    axis: int
    activation: Activation
    eps: float = 1e-5
    momentum: float = 0.1
    running: list[np.ndarray] | None = field(default=None, init=False)

    def forward(self, parameters: Sequence[np.ndarray], x: np.ndarray, place: tuple | None) -> np.ndarray:
        """By running moments where there are some and nothing is learnt."""
        (self.gain, shift), self.x = parameters, x
        if self.axis == 0 and place is None:
            mean, variance = self.running
            return self.activation.value(self.gain * (x - mean) / np.sqrt(variance + self.eps) + shift)
        vectors = x if self.axis else x.T
        pairs = [normalized(vector, self.eps) for vector in vectors]
        self.jacobians = [jacobian for _, jacobian in pairs]
        values = np.array([value for value, _ in pairs])
        self.values = values if self.axis else values.T
        self.z = self.gain * self.values + shift
        return self.activation.value(self.z)

    def backward(self, d_out: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients by the input and by gain and shift."""
        d = d_out * self.activation.derivative(self.z)
        by_values = self.gain * d
        vectors = by_values if self.axis else by_values.T
        dx = np.array([jacobian.T @ v for jacobian, v in zip(self.jacobians, vectors, strict=True)])
        return (dx if self.axis else dx.T), [(d * self.values).sum(axis=0), d.sum(axis=0)]

    def move_running(self) -> None:
        """Towards the moments of the last batch."""
        if self.axis == 0 and len(self.x) > 1:
            moments = self.x.mean(axis=0), self.x.var(axis=0, ddof=1)
            self.running = [r + self.momentum * (m - r) for r, m in zip(self.running, moments, strict=True)]


@dataclass
class Stack:
    """Layers and a loss; `parameters` is a list for each layer."""

    layers: list
    loss: Loss

    def scores(self, parameters: Sequence, x: np.ndarray, moment: tuple[int, int] | None = None) -> np.ndarray:
        """Output of the last layer; `moment` is (seed, step) if the batch is learnt from."""
        for k, (layer, own) in enumerate(zip(self.layers, parameters, strict=True)):
            x = layer.forward(own, x, None if moment is None else (*moment, k))
        return x

    def loss_and_gradients(
        self, parameters: Sequence, x: np.ndarray, y: np.ndarray, moment: tuple[int, int]
    ) -> tuple[float, list[list[np.ndarray]]]:
        """The mean loss of a batch that is learnt from, and its gradient for every parameter."""
        scores = self.scores(parameters, x, moment)
        d, gradients = mean_loss_gradient(self.loss, scores, y, None), []
        for layer in reversed(self.layers):
            d, own = layer.backward(d)
            gradients.insert(0, own)
        return mean_loss(self.loss, scores, y, None), gradients

    def step(self, parameters: Sequence, x: np.ndarray, y: np.ndarray, moment: tuple, rate: float) -> list:
        """Parameters after a step of gradient descent; running moments follow."""
        gradients = self.loss_and_gradients(parameters, x, y, moment)[1]
        for layer in self.layers:
            if isinstance(layer, Normalization):
                layer.move_running()
        pairs = zip(parameters, gradients, strict=True)
        return [[p - rate * g for p, g in zip(own, by, strict=True)] for own, by in pairs]
