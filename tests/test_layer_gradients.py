"""Every loss with every activation, penalty and kind of layer between: the gradient is the slope of what is reported.

No textbook stands beside it here: differences are taken of the reported loss alone. Where a kink lies between the
points, differences over half the distance tell another slope, and another point is drawn.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from counterparts import (
    ACTIVATION_NAMES,
    DTYPES,
    LOSS_NAMES,
    float32_numbers,
    random_target,
    scale_of_weights,
    sizes_for,
)
from tolerances import SIGN_MARGIN, unit_roundoff

import fastgd as fg

pytestmark = pytest.mark.filterwarnings("error")

N_ROWS, N_INPUTS, N_HIDDEN = 6, 4, 5
STEP = 2.0**-11
AT_MOST = 1e-6
SAME_SLOPE = 1e-8

LAYERS = {
    "dropout": fg.Dropout(0.25),
    "batch norm": fg.BatchNorm(),
    "layer norm": fg.LayerNorm(),
    "softmax": fg.Softmax(),
}
PENALTIES = {"none": None, "l1": fg.L1(2.0**-6), "l2": fg.L2(2.0**-4), "elastic net": fg.ElasticNet(2.0**-6, 2.0**-4)}
COMPILED_ONCE = ("cython", "numpy")


def pairs():
    """All of them; some in every run."""
    for k, (activation, loss) in enumerate(product(ACTIVATION_NAMES, LOSS_NAMES)):
        yield pytest.param(activation, loss, marks=() if k % 61 == 0 else pytest.mark.slow)


class Point:
    """A network with a layer between two dense ones, a point of its weights, and a direction from there."""

    def __init__(self, activation, loss, penalty, layer, seed):
        self.draw, self.loss, self.penalty = np.random.default_rng(seed), loss, PENALTIES[penalty]
        n_outputs = sizes_for(loss, [N_HIDDEN, 3])[-1]
        self.layers = [fg.Dense(N_HIDDEN, activation), LAYERS[layer], fg.Dense(n_outputs)]
        self.scale = scale_of_weights([activation], loss)
        self.X = float32_numbers(self.draw.normal(size=(N_ROWS, N_INPUTS)))
        self.y = random_target(self.draw, loss, N_ROWS, n_outputs)
        self.sample_weight = self.draw.uniform(0.5, 2.0, size=N_ROWS)
        initial = self.model("float64", "numpy").get_weights()
        self.weights = [float32_numbers(self.scale * (w + self.draw.uniform(-0.4, 0.4, w.shape))) for w in initial]
        self.direction = [self.draw.normal(size=w.shape) / np.sqrt(w.size) for w in self.weights]

    def model(self, dtype, backend):
        """Ours."""
        options = {"loss": self.loss, "penalty": self.penalty, "dtype": dtype, "backend": backend, "seed": 3}
        return fg.Sequential(self.layers, **options).build(N_INPUTS)

    def loss_and_slope(self, model, steps=0.0, moved=None):
        """The reported loss so many steps away, its gradient times the direction, and the terms of that."""
        weights, X = (self.weights, self.X) if moved is None else moved
        at = [w + steps * STEP * v for w, v in zip(weights, self.direction, strict=True)]
        model.set_weights([w.astype(model.dtype) for w in at])
        loss, gradients = model.loss_and_gradients(X, self.y, sample_weight=self.sample_weight)
        terms = [g.astype(float) * v for g, v in zip(gradients, self.direction, strict=True)]
        return loss, sum(float(t.sum()) for t in terms), sum(float(abs(t).sum()) for t in terms)

    def difference(self, model, width):
        """Of the reported loss along the direction, fourth order."""
        values = {k: self.loss_and_slope(model, k * width)[0] for k in (-2, -1, 1, 2)}
        near, far = ((values[k] - values[-k]) / (2 * k * width * STEP) for k in (1, 2))
        return (4 * near - far) / 3

    def is_smooth(self):
        """Whether the slope does not depend on how far one looks."""
        model = self.model("float64", "numpy")
        whole, half = (self.difference(model, width) for width in (1.0, 0.5))
        return abs(whole - half) <= SAME_SLOPE * max(1.0, abs(whole))

    def rounding(self, dtype, terms):
        """How far the slope goes when all that comes in is off by as much as sums over rows and columns round."""
        if dtype == "float64":
            return 0.0
        relative = unit_roundoff(dtype) * (N_ROWS + 40)
        model, greatest = self.model("float64", "numpy"), relative * terms
        here = self.loss_and_slope(model)[1]
        for run in range(4):
            draw = np.random.default_rng(run)
            signs = [draw.choice([-1.0, 1.0], size=a.shape) for a in (*self.weights, self.X)]
            *weights, X = (a * (1.0 + relative * s) for a, s in zip((*self.weights, self.X), signs, strict=True))
            greatest = max(greatest, SIGN_MARGIN * abs(self.loss_and_slope(model, moved=(weights, X))[1] - here))
        return greatest


def smooth_point(activation, loss, penalty, layer):
    """The first of some that is clear of kinks."""
    drawn = (Point(activation, loss, penalty, layer, seed) for seed in range(60))
    return next(point for point in drawn if point.is_smooth())


@pytest.mark.parametrize(("activation", "loss"), list(pairs()))
def test_the_gradient_is_that_of_the_reported_loss(activation, loss):
    """To a millionth of the slope, or of 1; in float32 besides to its roundings."""
    for penalty, layer in product(PENALTIES, LAYERS):
        point = smooth_point(activation, loss, penalty, layer)
        for dtype, backend in product(DTYPES, COMPILED_ONCE):
            _, slope, terms = point.loss_and_slope(point.model(dtype, backend))
            expected = point.difference(point.model("float64", backend), 1.0)
            allowed = AT_MOST * max(1.0, abs(expected)) + point.rounding(dtype, terms)
            case = f"{penalty}, {layer}, {dtype}, {backend}"
            assert abs(slope - expected) <= allowed, f"{case}: {slope!r}, by differences {expected!r} +- {allowed:.3g}"


def test_a_gradient_off_by_a_few_millionths_is_noticed():
    """The difference is that sharp."""
    point = smooth_point("tanh", "softmax_cross_entropy", "elastic net", "batch norm")
    model = point.model("float64", "cython")
    slope, expected = point.loss_and_slope(model)[1], point.difference(model, 1.0)
    assert abs(slope - expected) <= AT_MOST
    assert abs(slope * (1.0 + 4e-6 / abs(slope)) - expected) > AT_MOST
