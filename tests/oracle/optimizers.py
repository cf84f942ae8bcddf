"""The optimizers as their papers have them, and as other libraries have them where those differ.

Each object holds the state of one parameter array and steps it: ``w = rule.step(w, g)``. What a library does is written
as that library's source has it, one branch for each form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

Rate = float | Callable[[int], float]


class Rule:
    """What is common: the count of steps, the learning rate of each, clipping, and weight decay."""

    coupled = ("torch",)

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        dialect: str | None = None,
        weight_decay: float = 0.0,
        clip_value: float = np.inf,
    ) -> None:
        self.learning_rate, self.dialect = learning_rate, dialect
        self.weight_decay, self.clip_value = weight_decay, clip_value
        self.t = 0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the parameters after one step along the gradient g."""
        rate = self.learning_rate(self.t) if callable(self.learning_rate) else self.learning_rate
        self.t += 1
        g = np.clip(g, -self.clip_value, self.clip_value)
        if self.weight_decay and self.dialect in self.coupled:
            g = g + self.weight_decay * w
        elif self.weight_decay:
            w = w - rate * self.weight_decay * w
        return self.update(w, g, rate)

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        """The rule itself."""
        raise NotImplementedError

    def cancellation(self) -> float:
        """How many roundings of float64, beside its terms', are in the last step where a factor was a difference."""
        return 0.0


class SGD(Rule):
    """w <- w - lr g; with momentum b <- mu b + g, w <- w - lr b (Polyak 1964; Sutskever et al. 2013)."""

    def __init__(self, learning_rate: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False, **common) -> None:
        super().__init__(learning_rate, **common)
        self.momentum, self.nesterov = momentum, nesterov
        self.buffer: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        if self.dialect in ("keras", "sklearn"):
            self.buffer = self.momentum * self.buffer - rate * g
            return w + (self.momentum * self.buffer - rate * g if self.nesterov else self.buffer)
        self.buffer = self.momentum * self.buffer + g
        return w - rate * (g + self.momentum * self.buffer if self.nesterov else self.buffer)


class Adagrad(Rule):
    """G <- G + g^2; w <- w - lr g / (sqrt(G) + eps) (Duchi et al. 2011)."""

    def __init__(self, learning_rate: Rate = 0.01, eps: float = 1e-10, initial_total: float = 0.0, **common) -> None:
        super().__init__(learning_rate, **common)
        self.eps = eps
        self.total: float | np.ndarray = initial_total

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.total = self.total + g**2
        if self.dialect in ("keras", "optax"):
            return w - rate * g / np.sqrt(self.total + self.eps)
        return w - rate * g / (np.sqrt(self.total) + self.eps)


class RMSprop(Rule):
    """v <- rho v + (1 - rho) g^2; w <- w - lr g / (sqrt(v) + eps) (Tieleman & Hinton 2012; Graves 2013)."""

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        **common,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho, self.eps, self.momentum, self.centered = rho, eps, momentum, centered
        self.square: float | np.ndarray = 0.0
        self.mean: float | np.ndarray = 0.0
        self.buffer: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.square = self.rho * self.square + (1.0 - self.rho) * g**2
        self.mean = self.rho * self.mean + (1.0 - self.rho) * g
        spread = np.maximum(self.square - self.mean**2, 0.0) if self.centered else self.square
        if self.dialect in ("keras", "optax"):
            self.buffer = self.momentum * self.buffer + rate * g / np.sqrt(spread + self.eps)
            return w - self.buffer
        self.buffer = self.momentum * self.buffer + g / (np.sqrt(spread) + self.eps)
        return w - rate * self.buffer


class Adadelta(Rule):
    """Zeiler 2012, Algorithm 1: steps in the units of w, by running means of squares of g and of steps."""

    coupled = ("torch", "optax")

    def __init__(self, learning_rate: Rate = 1.0, rho: float = 0.9, eps: float = 1e-6, **common) -> None:
        super().__init__(learning_rate, **common)
        self.rho, self.eps = rho, eps
        self.square: float | np.ndarray = 0.0
        self.square_step: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.square = self.rho * self.square + (1.0 - self.rho) * g**2
        step = np.sqrt(self.square_step + self.eps) / np.sqrt(self.square + self.eps) * g
        self.square_step = self.rho * self.square_step + (1.0 - self.rho) * step**2
        return w - rate * step


class TwoMeans(Rule):
    """The two means of Adam, and how they are freed of their bias towards zero."""

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **common,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.first: float | np.ndarray = 0.0
        self.second: float | np.ndarray = 0.0

    def take(self, g: np.ndarray) -> None:
        """Means of the gradient and of its square."""
        self.first = self.beta1 * self.first + (1.0 - self.beta1) * g
        self.second = self.beta2 * self.second + (1.0 - self.beta2) * g**2

    def unbiased_first(self) -> np.ndarray:
        """The first mean over the sum of its weights."""
        return self.first / (1.0 - self.beta1**self.t)

    def unbiased_second(self) -> np.ndarray:
        """The second one."""
        return self.second / (1.0 - self.beta2**self.t)


class Adam(TwoMeans):
    """Kingma & Ba 2015, Algorithm 1; Reddi et al. 2018."""

    def __init__(self, *given, amsgrad: bool = False, **common) -> None:
        super().__init__(*given, **common)
        self.amsgrad = amsgrad
        self.largest: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.take(g)
        correction = 1.0 - self.beta2**self.t
        raw = self.second
        if self.amsgrad:
            self.largest = np.maximum(self.largest, raw / correction if self.dialect == "optax" else raw)
            raw = self.largest * correction if self.dialect == "optax" else self.largest
        if self.dialect in ("keras", "sklearn"):
            hatted = rate * np.sqrt(correction) / (1.0 - self.beta1**self.t)
            return w - hatted * self.first / (np.sqrt(raw) + self.eps)
        return w - rate * self.unbiased_first() / (np.sqrt(raw / correction) + self.eps)


class AdamW(Adam):
    """Loshchilov & Hutter 2019."""

    coupled = ()


class Adamax(TwoMeans):
    """Kingma & Ba 2015, Algorithm 2."""

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.first = self.beta1 * self.first + (1.0 - self.beta1) * g
        if self.dialect == "keras":
            self.second = np.maximum(self.beta2 * self.second, abs(g))
            return w - rate * self.unbiased_first() / (self.second + self.eps)
        self.second = np.maximum(self.beta2 * self.second, abs(g) + self.eps)
        return w - rate * self.unbiased_first() / self.second


class NAdam(TwoMeans):
    """Dozat 2016, as PyTorch, Keras (momentum_decay 1) and optax (no momentum_decay) each have it."""

    def __init__(self, *given, momentum_decay: float = 4e-3, **common) -> None:
        super().__init__(*given, **common)
        self.momentum_decay = momentum_decay
        self.product = 1.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.take(g)
        root = np.sqrt(self.unbiased_second()) + self.eps
        if self.dialect == "optax":
            ahead = self.first / (1.0 - self.beta1 ** (self.t + 1))
            now = g / (1.0 - self.beta1**self.t)
            return w - rate * (self.beta1 * ahead + (1.0 - self.beta1) * now) / root
        decay = 1.0 if self.dialect == "keras" else self.momentum_decay
        now = self.beta1 * (1.0 - 0.5 * 0.96 ** (self.t * decay))
        ahead = self.beta1 * (1.0 - 0.5 * 0.96 ** ((self.t + 1) * decay))
        self.product *= now
        mean = ahead * self.first / (1.0 - self.product * ahead) + (1.0 - now) * g / (1.0 - self.product)
        return w - rate * mean / root


class RAdam(TwoMeans):
    """Liu et al. 2020, Algorithm 2; PyTorch adds eps before the root is corrected, optax after."""

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.take(g)
        most, correction = 2.0 / (1.0 - self.beta2) - 1.0, 1.0 - self.beta2**self.t
        length = most - 2.0 * self.t * self.beta2**self.t / correction
        if length <= 5.0:
            return w - rate * self.unbiased_first()
        r = np.sqrt((length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length))
        if self.dialect == "optax":
            return w - rate * r * self.unbiased_first() / (np.sqrt(self.unbiased_second()) + self.eps)
        return w - rate * r * self.unbiased_first() * np.sqrt(correction) / (np.sqrt(self.second) + self.eps)

    def cancellation(self) -> float:
        """Of the length, which is the difference of two numbers that may be a thousand times as large."""
        power = self.beta2**self.t
        most, lost = 2.0 / (1.0 - self.beta2) - 1.0, 2.0 * self.t * power / (1.0 - power)
        length = most - lost
        if length <= 5.0:
            return 0.0
        # 1 - power is a difference in turn, of which the power is rounded; 1 - beta2 is exact.
        error = 2.0 * most + lost * (2.0 + 2.0 / (1.0 - power))
        return 0.5 * error * (1.0 / (length - 4.0) + 1.0 / (length - 2.0) + 1.0 / length)


class AdaBelief(TwoMeans):
    """Zhuang et al. 2020, Algorithm 2."""

    def __init__(self, learning_rate: Rate = 1e-3, *given, eps: float = 1e-16, **common) -> None:
        super().__init__(learning_rate, *given, eps=eps, **common)

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.first = self.beta1 * self.first + (1.0 - self.beta1) * g
        self.second = self.beta2 * self.second + (1.0 - self.beta2) * (g - self.first) ** 2 + self.eps
        return w - rate * self.unbiased_first() / (np.sqrt(self.unbiased_second()) + self.eps)


class Yogi(TwoMeans):
    """Zaheer et al. 2018, Algorithm 2, with Adam's corrections; optax begins both means at the initial square."""

    def __init__(
        self, learning_rate: Rate = 0.01, *given, eps: float = 1e-3, initial_square: float = 1e-6, **common
    ) -> None:
        super().__init__(learning_rate, *given, eps=eps, **common)
        self.second = initial_square
        self.first = initial_square if self.dialect == "optax" else 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        self.first = self.beta1 * self.first + (1.0 - self.beta1) * g
        self.second = self.second - (1.0 - self.beta2) * np.sign(self.second - g**2) * g**2
        return w - rate * self.unbiased_first() / (np.sqrt(self.unbiased_second()) + self.eps)


class Lion(Rule):
    """Chen et al. 2023, Algorithm 2."""

    def __init__(self, learning_rate: Rate = 1e-4, beta1: float = 0.9, beta2: float = 0.99, **common) -> None:
        super().__init__(learning_rate, **common)
        self.beta1, self.beta2 = beta1, beta2
        self.mean: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        direction = np.sign(self.beta1 * self.mean + (1.0 - self.beta1) * g)
        self.mean = self.beta2 * self.mean + (1.0 - self.beta2) * g
        return w - rate * direction


class Ftrl(Rule):
    """McMahan et al. 2013, Algorithm 1; Keras has 2 l2 in the place of l2."""

    def __init__(
        self,
        learning_rate: Rate = 0.1,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        initial_total: float = 0.0,
        **common,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta, self.l1, self.l2 = beta, l1, 2.0 * l2 if self.dialect == "keras" else l2
        self.n: float | np.ndarray = initial_total
        self.z: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        sigma = (np.sqrt(self.n + g**2) - np.sqrt(self.n)) / rate
        self.z = self.z + g - sigma * w
        self.n = self.n + g**2
        denominator = self.l2 + (self.beta + np.sqrt(self.n)) / rate
        zero = abs(self.z) <= self.l1
        return np.where(zero, 0.0, (np.sign(self.z) * self.l1 - self.z) / np.where(zero, 1.0, denominator))


class Rprop(Rule):
    """Riedmiller & Braun 1993, without taking steps back (iRprop- of Igel & Huesken 2003)."""

    def __init__(
        self,
        learning_rate: float = 0.01,
        shrink: float = 0.5,
        grow: float = 1.2,
        smallest: float = 1e-6,
        largest: float = 50.0,
        **common,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.shrink, self.grow, self.smallest, self.largest = shrink, grow, smallest, largest
        self.size: float | np.ndarray = learning_rate
        self.before: float | np.ndarray = 0.0

    def update(self, w: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
        same = np.sign(g) * np.sign(self.before)
        factor = np.select([same > 0, same < 0], [self.grow, self.shrink], 1.0)
        update = np.where(same < 0, 0.0, np.sign(self.before) * self.size)
        self.size = np.clip(self.size * factor, self.smallest, self.largest)
        self.before = np.where(same < 0, 0.0, g)
        return w - (update if self.dialect == "optax" else np.sign(self.before) * self.size)


# By the name of the formula that does it.
OPTIMIZERS: dict[str, Callable[..., Rule]] = {
    "sgd": SGD,
    "momentum": SGD,
    "nesterov": partial(SGD, nesterov=True),
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "rmsprop_momentum": RMSprop,
    "rmsprop_centered": partial(RMSprop, centered=True),
    "adadelta": Adadelta,
    "adam": Adam,
    "amsgrad": partial(Adam, amsgrad=True),
    "adamax": Adamax,
    "nadam": NAdam,
    "adabelief": AdaBelief,
    "yogi": Yogi,
    "lion": Lion,
    "ftrl": Ftrl,
    "rprop": Rprop,
}

# By the name of the class, as recordings of other libraries name them.
CLASSES: dict[str, type[Rule]] = {
    rule.__name__: rule
    for rule in (
        SGD,
        Adagrad,
        RMSprop,
        Adadelta,
        Adam,
        AdamW,
        Adamax,
        NAdam,
        RAdam,
        AdaBelief,
        Yogi,
        Lion,
        Ftrl,
        Rprop,
    )
}


def trajectory(rule: object, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The parameters after each of the gradients, shape (n_steps, ...)."""
    positions, w = [], np.array(start, float)
    for g in gradients:
        w = rule.step(w, g)
        positions.append(w)
    return np.array(positions)
