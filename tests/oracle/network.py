"""A multilayer perceptron by the textbook: forward, backward, penalties, training on given batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .activations import Activation
from .losses import Loss, mean_loss, mean_loss_gradient


@dataclass(frozen=True)
class Layer:
    """a = f(x W + b), with the penalty l2/2 ||W||^2 + l1 ||W||_1 on its weights (not on its biases)."""

    activation: Activation
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True)
class Network:
    """Layers and a loss. Parameters are a flat list [W1, b1, W2, b2, ...]; W is (n_inputs, n_outputs)."""

    layers: tuple[Layer, ...]
    loss: Loss

    def forward(self, weights: Sequence[np.ndarray], x: np.ndarray) -> tuple[list, list]:
        """Return the inputs of every layer (and the network's output last), and every layer's z."""
        outputs, sums = [np.asarray(x, float)], []
        for k, layer in enumerate(self.layers):
            sums.append(outputs[-1] @ weights[2 * k] + weights[2 * k + 1])
            outputs.append(layer.activation.value(sums[-1]))
        return outputs, sums

    def scores(self, weights: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
        """Output of the last layer, before the loss's link."""
        return self.forward(weights, x)[0][-1]

    def predict(self, weights: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
        """Output with the loss's link applied."""
        return self.loss.link(self.scores(weights, x))

    def penalty(self, weights: Sequence[np.ndarray]) -> float:
        """Sum over the layers of l2/2 ||W||^2 + l1 ||W||_1."""
        return sum(
            0.5 * layer.l2 * (w**2).sum() + layer.l1 * abs(w).sum()
            for layer, w in zip(self.layers, weights[::2], strict=True)
        )

    def loss_and_gradients(
        self,
        weights: Sequence[np.ndarray],
        x: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None = None,
    ) -> tuple[float, list[np.ndarray]]:
        """The reported loss (penalties included) and its gradient for every parameter array."""
        outputs, sums = self.forward(weights, x)
        gradients: list[np.ndarray] = []
        delta = mean_loss_gradient(self.loss, outputs[-1], target, sample_weight)
        for k in reversed(range(len(self.layers))):
            layer, w = self.layers[k], weights[2 * k]
            delta = delta * layer.activation.derivative(sums[k])
            gradients.insert(0, delta.sum(axis=0))
            gradients.insert(0, outputs[k].T @ delta + layer.l2 * w + layer.l1 * np.sign(w))
            delta = delta @ w.T
        return mean_loss(self.loss, outputs[-1], target, sample_weight) + self.penalty(weights), gradients


def side_of_every_kink(
    network: Network, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Signs that change where the loss is not smooth."""
    outputs, sums = network.forward(weights, x)
    sides = [z - kink for layer, z in zip(network.layers, sums, strict=True) for kink in layer.activation.kinks]
    sides += [w for layer, w in zip(network.layers, weights[::2], strict=True) if layer.l1]
    sides += network.loss.kinks(outputs[-1], y)
    return np.concatenate([np.sign(side).ravel() for side in sides] or [np.zeros(0)])


def batches(orders: Iterable[Sequence[int]], batch_size: int) -> list[list[Sequence[int]]]:
    """Cut each epoch's order of rows into batches; the last one may be short."""
    return [[order[i : i + batch_size] for i in range(0, len(order), batch_size)] for order in orders]


def train(
    network: Network,
    weights: Sequence[np.ndarray],
    new_rule: Callable[[], object],
    x: np.ndarray,
    target: np.ndarray,
    epochs: list[list[Sequence[int]]],
    sample_weight: np.ndarray | None = None,
    before: Callable[[list[np.ndarray]], list[np.ndarray]] = list,
    after: Callable[[list[np.ndarray]], list[np.ndarray]] = list,
) -> tuple[list[np.ndarray], list[float]]:
    """Train on the given batches of row numbers.

    What is to be done with all gradients before the rule, and with all weights after it, may be given.

    Returns
    -------
    weights : list of ndarray
        After the last step.
    losses : list of float
        One for each epoch: the mean, weighted by the sample weights, of the losses the rows had in the step
        they took part in, the penalty of that moment included.
    """
    weights = [np.array(w, float) for w in weights]
    rules = [new_rule() for _ in weights]
    row_weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, float)
    losses = []
    for epoch in epochs:
        total = 0.0
        for rows in epoch:
            loss, gradients = network.loss_and_gradients(weights, x[rows], target[rows], row_weight[rows])
            total += loss * row_weight[rows].sum()
            steps = zip(rules, weights, before(gradients), strict=True)
            weights = after([rule.step(w, g) for rule, w, g in steps])
        losses.append(total / sum(row_weight[rows].sum() for rows in epoch))
    return weights, losses
