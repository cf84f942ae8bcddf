"""Every loss with every activation and penalty: the gradient is that of the number that is reported, by differences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from counterparts import (
    ACTIVATION_NAMES,
    BACKENDS,
    DTYPES,
    LOSS_NAMES,
    float32_numbers,
    model_of,
    oracle_network,
    random_target,
    random_weights,
    scale_of_weights,
    sizes_for,
)
from oracle.network import side_of_every_kink
from tolerances import network_bounds

import fastgd as fg

pytestmark = pytest.mark.filterwarnings("error")

N = 6
STEP = 2.0**-11
AT_MOST = 1e-6

# By the coefficients of L1 and L2.
PENALTIES = {
    "none": (0.0, 0.0),
    "l1": (2.0**-6, 0.0),
    "l2": (0.0, 2.0**-4),
    "elastic net": (2.0**-6, 2.0**-4),
}


def cases():
    """All of the product; where activation and loss meet for the first time, one of the rest is in every run."""
    rest = list(product(PENALTIES, DTYPES, BACKENDS))
    for (i, activation), (j, loss) in product(enumerate(ACTIVATION_NAMES), enumerate(LOSS_NAMES)):
        for k, (penalty, dtype, backend) in enumerate(rest):
            marks = () if k == (7 * i + j) % len(rest) else pytest.mark.slow
            yield pytest.param(activation, loss, penalty, dtype, backend, marks=marks)


class Direction:
    """A small network, a point of its weights, and a direction from there."""

    def __init__(self, activation, loss, penalty, seed):
        draw = np.random.default_rng(seed)
        self.activations, self.loss, self.penalty = [activation, "linear"], loss, penalty
        self.sizes = sizes_for(loss, [4, 5, 3])
        self.x = float32_numbers(draw.normal(size=(N, 4)))
        self.y = random_target(draw, loss, N, self.sizes[-1])
        self.sample_weight = draw.uniform(0.5, 2.0, size=N)
        self.weights = random_weights(draw, self.sizes, scale_of_weights(self.activations, loss))
        self.direction = [draw.normal(size=w.shape) / np.sqrt(w.size) for w in self.weights]
        l1, l2 = PENALTIES[penalty]
        self.network = oracle_network(self.activations, loss, l1=l1, l2=l2)

    def at(self, steps):
        """The weights so many steps away."""
        return [w + steps * STEP * v for w, v in zip(self.weights, self.direction, strict=True)]

    def is_smooth(self):
        """Whether no kink lies between the points that are looked at."""
        sides = [side_of_every_kink(self.network, self.at(steps), self.x, self.y) for steps in (-2, 0, 2)]
        return all(np.array_equal(side, sides[0]) for side in sides)

    def model(self, dtype, backend):
        """Ours."""
        l1, l2 = PENALTIES[self.penalty]
        penalty = fg.ElasticNet(l1=l1, l2=l2) if l1 or l2 else None
        return model_of(self.sizes, self.activations, self.loss, dtype=dtype, backend=backend, penalty=penalty)

    def loss_and_slope(self, model, steps=0):
        """The reported loss, and its gradient times the direction."""
        model.set_weights([w.astype(model.dtype) for w in self.at(steps)])
        loss, gradients = model.loss_and_gradients(self.x, self.y, sample_weight=self.sample_weight)
        return loss, sum(float((g.astype(float) * v).sum()) for g, v in zip(gradients, self.direction, strict=True))

    def rounding(self, dtype):
        """How far the slope may be off for the roundings of a precision."""
        if dtype == "float64":
            return 0.0
        bounds = network_bounds(self.network, self.weights, self.x, self.y, self.sample_weight, dtype).gradients
        return sum(float((bound * abs(v)).sum()) for bound, v in zip(bounds, self.direction, strict=True))


def smooth_direction(activation, loss, penalty):
    """The first of some that is clear of kinks."""
    drawn = (Direction(activation, loss, penalty, seed) for seed in range(60))
    return next(direction for direction in drawn if direction.is_smooth())


def difference(direction, model):
    """Of the reported loss along the direction, fourth order."""
    values = {k: direction.loss_and_slope(model, k)[0] for k in (-2, -1, 1, 2)}
    near, far = ((values[k] - values[-k]) / (2 * k * STEP) for k in (1, 2))
    return (4 * near - far) / 3


@pytest.mark.parametrize(("activation", "loss", "penalty", "dtype", "backend"), list(cases()))
def test_the_gradient_is_that_of_the_reported_loss(activation, loss, penalty, dtype, backend):
    """In float64 to a millionth of the slope, or of 1; in float32 besides to its roundings at the same point."""
    direction = smooth_direction(activation, loss, penalty)
    slope = direction.loss_and_slope(direction.model(dtype, backend))[1]
    expected = difference(direction, direction.model("float64", backend))
    allowed = AT_MOST * max(1.0, abs(expected)) + direction.rounding(dtype)
    assert abs(slope - expected) <= allowed, f"{slope!r}, by differences {expected!r}, allowed {allowed:.3g}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_off_by_a_few_millionths_is_noticed(backend):
    """The difference is that sharp."""
    direction = smooth_direction("tanh", "softmax_cross_entropy", "elastic net")
    model = direction.model("float64", backend)
    slope, expected = direction.loss_and_slope(model)[1], difference(direction, model)
    assert abs(slope - expected) <= AT_MOST
    assert abs(slope * (1.0 + 4e-6 / abs(slope)) - expected) > AT_MOST
