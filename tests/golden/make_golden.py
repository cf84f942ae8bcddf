"""Write the golden files beside this script: ``python tests/golden/make_golden.py``.

Needs mpmath, torch, jax, optax, keras and scikit-learn; the versions used are recorded in each file. Every input is a
float32 number, so that one file serves both precisions. Decimals are the shortest that give back the float64.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np

# Values such as 1 - tanh(700)^2 cancel 608 digits; what is left must still carry 50.
WORKING_DIGITS = 700


def to_float32(values: object) -> np.ndarray:
    """Nearest float32 numbers, as float64."""
    return np.asarray(values, np.float32).astype(float)


def signed_magnitudes(smallest: float, largest: float, count: int) -> np.ndarray:
    """Numbers of both signs, `count` of each, spaced evenly on a logarithmic scale."""
    magnitudes = np.geomspace(smallest, largest, count)
    return to_float32(np.concatenate([-magnitudes[::-1], magnitudes]))


# -------------------------------------------------------------------------------------------- high precision
def activation_rows() -> dict[str, list]:
    """[z, f(z), f'(z)] of every activation at 256 points."""
    from mpmath import cos, cosh, exp, expm1, log, mpf, ncdf, npdf, pi, sin, sqrt, tanh

    slope, cubic = mpf(0.01), mpf("0.044715")
    alpha, scale = mpf("1.6732632423543772848170429916717"), mpf("1.0507009873554804934193349852946")

    def sigmoid(z):
        return 1 / (1 + exp(-z))

    def sigmoid_derivative(z):
        return exp(-z) / (1 + exp(-z)) ** 2

    def softplus(z):
        return log(1 + exp(z))

    def tanh_argument(z):
        return 2 * sqrt(2 / pi) * (z + cubic * z**3)

    def within(z, low, high, inside):
        return inside if low < z < high else mpf(0)

    functions = {
        "linear": (lambda z: z, lambda z: mpf(1)),
        "relu": (lambda z: max(z, mpf(0)), lambda z: mpf(z > 0)),
        "leaky_relu": (lambda z: z if z > 0 else slope * z, lambda z: mpf(1) if z > 0 else slope),
        "relu6": (lambda z: min(max(z, mpf(0)), mpf(6)), lambda z: within(z, 0, 6, mpf(1))),
        "elu": (lambda z: z if z > 0 else expm1(z), lambda z: mpf(1) if z > 0 else exp(z)),
        "selu": (
            lambda z: scale * (z if z > 0 else alpha * expm1(z)),
            lambda z: scale * (1 if z > 0 else alpha * exp(z)),
        ),
        "celu": (lambda z: z if z > 0 else expm1(z), lambda z: mpf(1) if z > 0 else exp(z)),
        "gelu": (lambda z: z * ncdf(z), lambda z: ncdf(z) + z * npdf(z)),
        "gelu_tanh": (
            lambda z: z * sigmoid(tanh_argument(z)),
            lambda z: (
                sigmoid(tanh_argument(z))
                + z * sigmoid_derivative(tanh_argument(z)) * 2 * sqrt(2 / pi) * (1 + 3 * cubic * z**2)
            ),
        ),
        "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) + z * sigmoid_derivative(z)),
        "mish": (
            lambda z: z * tanh(softplus(z)),
            lambda z: tanh(softplus(z)) + z * sigmoid(z) / cosh(softplus(z)) ** 2,
        ),
        "sigmoid": (sigmoid, sigmoid_derivative),
        "hard_sigmoid": (
            lambda z: min(max(z + 3, mpf(0)), mpf(6)) / 6,
            lambda z: within(z, -3, 3, mpf(1) / 6),
        ),
        "hard_silu": (
            lambda z: z * min(max(z + 3, mpf(0)), mpf(6)) / 6,
            lambda z: mpf(1) if z >= 3 else within(z, -3, 3, (2 * z + 3) / 6),
        ),
        "tanh": (tanh, lambda z: 1 / cosh(z) ** 2),
        "hard_tanh": (lambda z: min(max(z, mpf(-1)), mpf(1)), lambda z: within(z, -1, 1, mpf(1))),
        "softplus": (softplus, sigmoid),
        "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
        "exp": (exp, exp),
        "sine": (sin, cos),
    }
    chosen = [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 6.0, -9.0, 17.5, -37.0, 88.5, -88.5, 0.75]
    points = np.concatenate([signed_magnitudes(1e-30, 700.0, 120), chosen])
    # Both precisions hold e^88.5, but float32 nothing above.
    of_exp = np.where(points > 88.5, to_float32(points / 8), points)
    return {
        name: [
            [z, float(value(mpf(z))), float(derivative(mpf(z)))]
            for z in (of_exp if name == "exp" else points).tolist()
        ]
        for name, (value, derivative) in functions.items()
    }


def loss_functions() -> dict[str, tuple]:
    """For every loss of single elements its kind of target, value and gradient, with the default parameters."""
    from mpmath import cosh, exp, log, mpf, sign, tanh

    tenth = mpf(0.1)

    def softplus(z):
        return log(1 + exp(z))

    def sigmoid(z):
        return 1 / (1 + exp(-z))

    def focal_of_one(z):
        return (1 - sigmoid(z)) ** 2 * softplus(-z)

    def focal_slope_of_one(z):
        p = sigmoid(z)
        return -((1 - p) ** 2) * (2 * p * softplus(-z) + 1 - p)

    def side(y):
        return 1 if y > 0 else -1

    def beyond(z, y):
        return max(mpf(0), abs(z - y) - tenth)

    def short(z, y):
        return max(mpf(0), 1 - side(y) * z)

    return {
        "mean_squared_error": ("real", lambda z, y: (z - y) ** 2, lambda z, y: 2 * (z - y)),
        "half_squared_error": ("real", lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y),
        "mean_absolute_error": ("real", lambda z, y: abs(z - y), lambda z, y: sign(z - y)),
        **dict.fromkeys(
            ("huber", "smooth_l1"),
            (
                "real",
                lambda z, y: (z - y) ** 2 / 2 if abs(z - y) <= 1 else abs(z - y) - mpf(1) / 2,
                lambda z, y: min(max(z - y, mpf(-1)), mpf(1)),
            ),
        ),
        "log_cosh": ("real", lambda z, y: log(cosh(z - y)), lambda z, y: tanh(z - y)),
        "quantile": ("real", lambda z, y: abs(z - y) / 2, lambda z, y: sign(z - y) / 2),
        "expectile": ("real", lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y),
        "epsilon_insensitive": ("real", beyond, lambda z, y: sign(z - y) if beyond(z, y) > 0 else mpf(0)),
        "squared_epsilon_insensitive": (
            "real",
            lambda z, y: beyond(z, y) ** 2,
            lambda z, y: 2 * sign(z - y) * beyond(z, y),
        ),
        "poisson": ("nonnegative", lambda z, y: exp(z) - y * z, lambda z, y: exp(z) - y),
        "gamma": ("positive", lambda z, y: z + y * exp(-z), lambda z, y: 1 - y * exp(-z)),
        "tweedie": (
            "nonnegative",
            lambda z, y: 2 * exp(z / 2) + 2 * y * exp(-z / 2),
            lambda z, y: exp(z / 2) - y * exp(-z / 2),
        ),
        "mean_squared_log_error": (
            "nonnegative",
            lambda z, y: (z - log(1 + y)) ** 2,
            lambda z, y: 2 * (z - log(1 + y)),
        ),
        "mean_absolute_percentage_error": (
            "nonzero",
            lambda z, y: abs(z - y) / abs(y),
            lambda z, y: sign(z - y) / abs(y),
        ),
        "binary_cross_entropy": (
            "probability",
            lambda z, y: y * softplus(-z) + (1 - y) * softplus(z),
            lambda z, y: sigmoid(z) - y,
        ),
        "binary_focal_cross_entropy": (
            "probability",
            lambda z, y: y * focal_of_one(z) + (1 - y) * focal_of_one(-z),
            lambda z, y: y * focal_slope_of_one(z) - (1 - y) * focal_slope_of_one(-z),
        ),
        "hinge": ("sign", short, lambda z, y: mpf(-side(y) if short(z, y) > 0 else 0)),
        "squared_hinge": ("sign", lambda z, y: short(z, y) ** 2, lambda z, y: -2 * side(y) * short(z, y)),
        "modified_huber": (
            "sign",
            lambda z, y: short(z, y) ** 2 if side(y) * z >= -1 else -4 * side(y) * z,
            lambda z, y: -2 * side(y) * short(z, y) if side(y) * z >= -1 else mpf(-4 * side(y)),
        ),
        "perceptron": (
            "sign",
            lambda z, y: max(mpf(0), -side(y) * z),
            lambda z, y: mpf(-side(y) if side(y) * z <= 0 else 0),
        ),
    }


LOSS_TARGETS = {
    "real": (0.0, 0.25, -3.5, 1.0, 12.0),
    "nonnegative": (0.0, 0.25, 1.0, 3.5, 12.0),
    "positive": (0.25, 1.0, 3.5, 12.0, 100.0),
    "nonzero": (0.25, -0.5, -3.5, 1.0, 12.0),
    "probability": (0.0, 0.25, 0.5, 0.875, 1.0),
    "sign": (0.0, 1.0, -1.0),
}


def elementwise_loss_rows() -> dict[str, list]:
    """[z, y, loss, gradient] of every loss of single elements at about 200 pairs."""
    from mpmath import mpf

    scores = np.concatenate([signed_magnitudes(1e-30, 700.0, 19), [0.0, 0.25, -3.5]])
    # Where the loss has an exponential of the score, float32 holds no larger ones.
    moderate = np.where(abs(scores) > 70.0, to_float32(scores / 10), scores)
    exponential = ("poisson", "gamma", "tweedie")
    return {
        name: [
            [z, y, float(value(mpf(z), mpf(y))), float(gradient(mpf(z), mpf(y)))]
            for z in (moderate if name in exponential else scores).tolist()
            for y in LOSS_TARGETS[kind]
        ]
        for name, (kind, value, gradient) in loss_functions().items()
    }


def mixed(target: list[float], label_smoothing: float, class_weight: tuple[float, ...] | None) -> list:
    """The target of each class drawn towards 1/C, times the weight of the class."""
    from mpmath import mpf

    weight, smoothing = class_weight or (1.0,) * len(target), mpf(label_smoothing)
    return [
        mpf(v) * ((1 - smoothing) * mpf(t) + smoothing / len(target)) for v, t in zip(weight, target, strict=True)
    ]


def probabilities(z: list[float]) -> list:
    """e^z over its sum."""
    from mpmath import exp, fsum, mpf

    exponentials = [exp(mpf(s)) for s in z]
    return [e / fsum(exponentials) for e in exponentials]


def softmax_row(z, target, label_smoothing=0.0, class_weight=None) -> tuple:
    """Cross-entropy of one row, and its gradient."""
    from mpmath import fsum, log

    u, p = mixed(target, label_smoothing, class_weight), probabilities(z)
    return -fsum(u_c * log(p_c) for u_c, p_c in zip(u, p, strict=True)), [
        p_c * fsum(u) - u_c for u_c, p_c in zip(u, p, strict=True)
    ]


def kl_row(z, target) -> tuple:
    """The cross-entropy less the target's entropy, and the gradient."""
    from mpmath import fsum, log, mpf

    loss, gradient = softmax_row(z, target)
    return loss + fsum(mpf(t) * log(mpf(t)) for t in target if t > 0), gradient


def focal_row(z, target, gamma=2.0, label_smoothing=0.0, class_weight=None) -> tuple:
    """Focal loss of one row, and its gradient by the chain rule through the probabilities."""
    from mpmath import fsum, log, mpf

    u, p, power = mixed(target, label_smoothing, class_weight), probabilities(z), mpf(gamma)
    slopes = [
        u_c * (power * (1 - p_c) ** (power - 1) * log(p_c) - (1 - p_c) ** power / p_c)
        for u_c, p_c in zip(u, p, strict=True)
    ]
    mean = fsum(s * p_c for s, p_c in zip(slopes, p, strict=True))
    loss = -fsum(u_c * (1 - p_c) ** power * log(p_c) for u_c, p_c in zip(u, p, strict=True))
    return loss, [p_c * (s - mean) for s, p_c in zip(slopes, p, strict=True)]


def hinge_row(z, label, crammer_singer=False, squared=False) -> tuple:
    """Multiclass hinge of one row, and its gradient."""
    from mpmath import fsum, mpf

    margins = [mpf(0) if c == label else max(mpf(0), 1 + mpf(z[c]) - mpf(z[label])) for c in range(len(z))]
    if crammer_singer:
        nearest = max((c for c in range(len(z)) if c != label), key=lambda c: z[c])
        margins = [m if c == nearest else mpf(0) for c, m in enumerate(margins)]
    gradient = [2 * m if squared else mpf(m > 0) for m in margins]
    gradient[label] = -fsum(gradient)
    return fsum(m**2 if squared else m for m in margins), gradient


def gaussian_row(z, target) -> tuple:
    """Means and logarithms of variances in turn; the mean over the targets."""
    from mpmath import exp, fsum, mpf

    losses, gradient = [], []
    for mean, s, y in zip(map(mpf, z[0::2]), map(mpf, z[1::2]), map(mpf, target), strict=True):
        losses.append((s + (y - mean) ** 2 / exp(s)) / 2)
        gradient += [(mean - y) / exp(s) / len(target), (1 - (y - mean) ** 2 / exp(s)) / 2 / len(target)]
    return fsum(losses) / len(target), gradient


def cosine_row(z, target) -> tuple:
    """One less the cosine, and the gradient by the scores."""
    from mpmath import fsum, mpf, sqrt

    z, target = [mpf(s) for s in z], [mpf(y) for y in target]
    length, other = sqrt(fsum(s**2 for s in z)), sqrt(fsum(y**2 for y in target))
    cosine = fsum(s * y for s, y in zip(z, target, strict=True)) / length / other
    return 1 - cosine, [(cosine * s / length - y / other) / length for s, y in zip(z, target, strict=True)]


def quantiles_row(z, target, non_crossing=False, levels=(0.1, 0.5, 0.9)) -> tuple:
    """The mean over targets and levels; if they must not cross, all after the first are increments."""
    from mpmath import exp, fsum, log, mpf, sign

    losses, gradient, count = [], [], len(levels)
    for k, y in enumerate(map(mpf, target)):
        scores = [mpf(s) for s in z[k * count : (k + 1) * count]]
        quantiles, rates = list(scores), [mpf(1)] * count
        for i in range(1, count if non_crossing else 0):
            quantiles[i] = quantiles[i - 1] + log(1 + exp(scores[i]))
            rates[i] = 1 / (1 + exp(-scores[i]))
        errors = [q - y for q in quantiles]
        slopes = [(sign(e) + 1) / 2 - mpf(level) * abs(sign(e)) for e, level in zip(errors, levels, strict=True)]
        losses += [s * e for s, e in zip(slopes, errors, strict=True)]
        gradient += [
            rates[i] * (fsum(slopes[i:]) if non_crossing else slopes[i]) / len(z) for i in range(count)
        ]
    return fsum(losses) / len(z), gradient


ROW_LOSSES = {
    "softmax_cross_entropy": softmax_row,
    "softmax_focal_cross_entropy": focal_row,
    "kl_divergence": kl_row,
    "multiclass_hinge": hinge_row,
    "gaussian_nll": gaussian_row,
    "cosine_similarity": cosine_row,
    "quantiles": quantiles_row,
}

# Parameters other than the defaults. What they are multiplied with is exact in either precision.
CONFIGURED_ROW_LOSSES = [
    ("softmax_cross_entropy", {"label_smoothing": 0.25}),
    ("softmax_cross_entropy", {"label_smoothing": 0.125, "class_weight": (1.0, 0.5, 3.0, 0.0)}),
    ("softmax_focal_cross_entropy", {"gamma": 0.0}),
    ("softmax_focal_cross_entropy", {"gamma": 0.5}),
    ("softmax_focal_cross_entropy", {"gamma": 3.0, "label_smoothing": 0.125, "class_weight": (1.0, 0.5, 3.0, 2.0)}),
    ("multiclass_hinge", {"crammer_singer": True}),
    ("multiclass_hinge", {"squared": True}),
    ("multiclass_hinge", {"crammer_singer": True, "squared": True}),
    ("quantiles", {"levels": (0.25, 0.75)}),
    ("quantiles", {"levels": (0.125, 0.5, 0.75, 0.875), "non_crossing": True}),
]


def row_inputs(name: str, parameters: dict) -> list[tuple]:
    """Scores at several scales, and targets of the loss's kind: of four classes, or real numbers."""
    draw = np.random.default_rng(20)
    scales = np.repeat([1e-3, 0.3, 1.0, 5.0, 40.0, 300.0], 10)
    # Where the loss has an exponential of the score, float32 holds no larger ones.
    scales = np.minimum(scales, 5.0) if name == "gaussian_nll" else scales
    n_outputs = 2 * len(parameters.get("levels", (0.1, 0.5, 0.9))) if name == "quantiles" else 4
    scores = to_float32(draw.normal(size=(60, n_outputs)) * scales[:, None]).tolist()
    labels = draw.integers(4, size=60)
    # Probabilities that are multiples of 1/64 add up to one exactly in either precision.
    shares = draw.multinomial(64, [0.1, 0.2, 0.3, 0.4], size=60) / 64
    if name == "multiclass_hinge":
        return list(zip([*scores, [1.0, 0.0, 2.0, -1.0]], [*labels.tolist(), 2], strict=True))
    if name == "cosine_similarity":
        numbers = to_float32(draw.normal(size=(60, 4))).tolist()
        same = [scores[0], scores[-1]]
        return [*zip(scores, numbers, strict=True), *zip(same, same, strict=True)]
    if name in ("gaussian_nll", "quantiles"):
        return list(zip(scores, to_float32(draw.normal(size=(60, 2))).tolist(), strict=True))
    return [pair for rows in (np.eye(4)[labels], shares) for pair in zip(scores, rows.tolist(), strict=True)]


def row_loss_rows(name: str, parameters: dict | None = None) -> list:
    """[scores, target, loss, gradient] of one loss over rows."""
    rows = []
    for z, target in row_inputs(name, parameters or {}):
        loss, gradient = ROW_LOSSES[name](z, target, **(parameters or {}))
        rows.append([z, target, float(loss), [float(g) for g in gradient]])
    return rows


def distance(a: list[float], b: list[float]):
    """Euclidean."""
    from mpmath import fsum, mpf, sqrt

    return sqrt(fsum((mpf(s) - mpf(t)) ** 2 for s, t in zip(a, b, strict=True)))


def contrastive_anchor(d: list, same: list[bool], weight: list, margin: float = 1.0) -> tuple:
    """Loss of a row at distances d from the others, and its derivatives by them."""
    from mpmath import fsum, mpf

    total = fsum(weight) or mpf(1)
    pulls = [x if s else min(x - mpf(margin), mpf(0)) for x, s in zip(d, same, strict=True)]
    loss = fsum(w * pull**2 / 2 for w, pull in zip(weight, pulls, strict=True)) / total
    return loss, [w * pull / total for w, pull in zip(weight, pulls, strict=True)]


def triplet_anchor(d: list, same: list[bool], weight: list, margin: float = 1.0, hardest: bool = False) -> tuple:
    """The same of all triplets of the row, or of the worst."""
    from mpmath import fsum, mpf

    slopes, loss = [mpf(0)] * len(d), mpf(0)
    near = [k for k, s in enumerate(same) if s and weight[k] > 0]
    far = [k for k, s in enumerate(same) if not s and weight[k] > 0]
    if hardest and near and far:
        near, far = [max(near, key=lambda k: d[k])], [min(far, key=lambda k: d[k])]
    for p in near:
        for n in far:
            share = weight[p] * weight[n] / (fsum(weight[k] for k in near) * fsum(weight[k] for k in far))
            if mpf(margin) + d[p] - d[n] > 0:
                loss += share * (mpf(margin) + d[p] - d[n])
                slopes[p] += share
                slopes[n] -= share
    return loss, slopes


COMPARING_LOSSES = {"contrastive": contrastive_anchor, "triplet": triplet_anchor}

CONFIGURED_COMPARING_LOSSES = [
    ("contrastive", {"margin": 2.5}),
    ("triplet", {"margin": 0.25}),
    ("triplet", {"hardest": True}),
]


def compared_batch(name: str, z: list, y: list, weight: list, parameters: dict) -> tuple:
    """Weighted mean loss of a batch, and its gradient by the scores."""
    from mpmath import fsum, mpf

    n, width, w = len(z), len(z[0]), [mpf(v) for v in weight]
    loss, gradient = mpf(0), [[mpf(0)] * width for _ in range(n)]
    for a in range(n):
        others = [k for k in range(n) if k != a]
        d = [distance(z[a], z[k]) for k in others]
        same, weights = [y[k] == y[a] for k in others], [w[k] for k in others]
        value, slopes = COMPARING_LOSSES[name](d, same, weights, **parameters)
        loss += w[a] / fsum(w) * value
        for k, x, slope in zip(others, d, slopes, strict=True):
            for c in range(width if x else 0):
                force = w[a] / fsum(w) * slope * (mpf(z[a][c]) - mpf(z[k][c])) / x
                gradient[a][c] += force
                gradient[k][c] -= force
    return loss, gradient


def compared_batches(name: str, parameters: dict | None = None) -> list:
    """[scores, targets, weights, loss, gradient] of batches at several scales, with and without weights."""
    draw, batches = np.random.default_rng(21), []
    for scale in (1e-3, 0.3, 1.0, 3.0, 40.0):
        for weighted in (False, True):
            z, y = to_float32(scale * draw.normal(size=(8, 3))), draw.permutation([0, 0, 0, 1, 1, 2, 2, 3])
            # Two rows in one place.
            z[1] = z[0]
            weight = draw.choice([0.0, 0.5, 1.0, 2.0], size=8) if weighted else np.ones(8)
            given = z.tolist(), y.tolist(), weight.tolist()
            loss, gradient = compared_batch(name, *given, parameters or {})
            batches.append([*given, float(loss), [[float(g) for g in row] for row in gradient]])
    return batches


# -------------------------------------------------------------------------------------------------- networks
def initial_weights(draw: np.random.Generator, sizes: list[int]) -> list[np.ndarray]:
    """[W1, b1, W2, ...] with weights of standard deviation 1/2 and biases of 1/10."""
    weights = []
    for n_inputs, n_outputs in zip(sizes[:-1], sizes[1:], strict=True):
        weights.append(to_float32(0.5 * draw.normal(size=(n_inputs, n_outputs))))
        weights.append(to_float32(0.1 * draw.normal(size=n_outputs)))
    return weights


def torch_network() -> dict:
    """5-8-3, tanh, softmax cross-entropy, Adam, 20 steps on batches of 8 in order."""
    import torch

    draw = np.random.default_rng(5)
    x, y = to_float32(draw.normal(size=(40, 5))), draw.integers(3, size=40)
    weights = initial_weights(draw, [5, 8, 3])
    network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    with torch.no_grad():
        for parameter, w in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(w.T))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for step in range(20):
        rows = slice(8 * (step % 5), 8 * (step % 5) + 8)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(x[rows])), torch.tensor(y[rows]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "layers": [{"n_outputs": 8, "activation": "tanh"}, {"n_outputs": 3, "activation": "linear"}],
        "loss": "softmax_cross_entropy",
        "optimizer": "adam",
        "hyperparameters": {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "batch_size": 8,
        "n_epochs": 4,
        "x": x.tolist(),
        "y": y.tolist(),
        "initial_weights": [w.tolist() for w in weights],
        "final_weights": [parameter.detach().numpy().T.tolist() for parameter in network.parameters()],
        "step_losses": losses,
    }


def optax_network() -> dict:
    """4-7-6-2, softplus, leaky ReLU, binary cross-entropy, Nesterov, sample weights, L1 and L2, 20 steps."""
    import jax
    import jax.numpy as jnp
    import optax

    draw = np.random.default_rng(7)
    x, y = to_float32(draw.normal(size=(30, 4))), draw.integers(2, size=(30, 2)).astype(float)
    sample_weight = to_float32(draw.uniform(0.25, 2.0, size=30))
    weights = initial_weights(draw, [4, 7, 6, 2])
    l1, l2 = 2.0**-10, 2.0**-7

    def loss_of(parameters, rows):
        hidden = jax.nn.softplus(x[rows] @ parameters[0] + parameters[1])
        hidden = jax.nn.leaky_relu(hidden @ parameters[2] + parameters[3], 0.01)
        scores = hidden @ parameters[4] + parameters[5]
        losses = optax.sigmoid_binary_cross_entropy(scores, y[rows]).mean(axis=1)
        penalty = sum(l1 * jnp.abs(w).sum() + l2 / 2 * (w**2).sum() for w in parameters[::2])
        return jnp.average(losses, weights=sample_weight[rows]) + penalty

    optimizer = optax.sgd(0.1, momentum=0.9, nesterov=True)
    parameters, losses = [jnp.asarray(w) for w in weights], []
    state = optimizer.init(parameters)
    for step in range(20):
        rows = slice(6 * (step % 5), 6 * (step % 5) + 6)
        loss, gradients = jax.value_and_grad(loss_of)(parameters, rows)
        updates, state = optimizer.update(gradients, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        losses.append(float(loss))
    return {
        "layers": [
            {"n_outputs": 7, "activation": "softplus"},
            {"n_outputs": 6, "activation": "leaky_relu"},
            {"n_outputs": 2, "activation": "linear"},
        ],
        "loss": "binary_cross_entropy",
        "optimizer": "nesterov",
        "hyperparameters": {"learning_rate": 0.1, "momentum": 0.9},
        "l1": l1,
        "l2": l2,
        "batch_size": 6,
        "n_epochs": 4,
        "x": x.tolist(),
        "y": y.tolist(),
        "sample_weight": sample_weight.tolist(),
        "initial_weights": [w.tolist() for w in weights],
        "final_weights": [np.asarray(w).tolist() for w in parameters],
        "step_losses": losses,
    }


INITIAL_SHAPE = (300, 200)


def moments(weights: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation, kurtosis and largest magnitude of what a library drew."""
    w = np.asarray(weights, float)
    return {
        "mean": float(w.mean()),
        "deviation": float(w.std()),
        "kurtosis": float(((w - w.mean()) ** 4).mean() / w.var() ** 2),
        "largest": float(abs(w).max()),
    }


def torch_initializers() -> dict[str, dict]:
    """What PyTorch's initializers give for a layer of 300 inputs and 200 outputs; W is transposed there."""
    import torch

    torch.manual_seed(0)
    n_inputs, n_outputs = INITIAL_SHAPE
    linear = torch.nn.Linear(n_inputs, n_outputs).double()
    drawn = {"torch": linear.weight, "torch biases": torch.nn.Linear(n_inputs, 60_000).bias}
    makers = {
        "glorot_uniform": torch.nn.init.xavier_uniform_,
        "glorot_normal": torch.nn.init.xavier_normal_,
        "he_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
        "he_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "lecun_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="linear"),
        "orthogonal": torch.nn.init.orthogonal_,
    }
    drawn |= {name: make(torch.empty(n_outputs, n_inputs)) for name, make in makers.items()}
    drawn["sparse"] = torch.nn.init.sparse_(torch.empty(n_inputs, n_outputs), sparsity=0.9)
    return {name: moments(w.detach().numpy()) for name, w in drawn.items()}


def keras_initializers() -> dict[str, dict]:
    """The same of Keras, whose normal initializers are truncated."""
    import keras

    classes = {
        "keras": "GlorotUniform",
        "uniform": "RandomUniform",
        "normal": "RandomNormal",
        "truncated_normal": "TruncatedNormal",
        "glorot_truncated_normal": "GlorotNormal",
        "he_uniform": "HeUniform",
        "he_truncated_normal": "HeNormal",
        "lecun_uniform": "LecunUniform",
        "lecun_truncated_normal": "LecunNormal",
        "orthogonal": "Orthogonal",
    }
    drawn = {name: getattr(keras.initializers, made)(seed=0)(INITIAL_SHAPE) for name, made in classes.items()}
    return {name: moments(keras.ops.convert_to_numpy(w)) for name, w in drawn.items()}


def sklearn_initializers() -> dict[str, dict]:
    """The same of scikit-learn's network, untrained: inputs of zero leave the first weights as they are."""
    from sklearn.neural_network import MLPRegressor

    n_inputs, n_outputs = INITIAL_SHAPE
    network = MLPRegressor(hidden_layer_sizes=(n_outputs,), solver="sgd", random_state=0, alpha=0.0)
    network.partial_fit(np.zeros((2, n_inputs)), np.zeros(2))
    return {"sklearn": moments(network.coefs_[0])}


def keras_binary_cross_entropy() -> dict:
    """What Keras prints for four probabilities."""
    import keras

    y, p = [0.0, 1.0, 0.0, 1.0], [0.1, 0.9, 0.2, 0.8]
    loss = keras.losses.BinaryCrossentropy()(keras.ops.array(y), keras.ops.array(p))
    return {"y": y, "p": p, "printed": str(np.float32(keras.ops.convert_to_numpy(loss)))}


# ----------------------------------------------------------------------------------------------------- files
def as_text(value: object) -> str:
    """JSON with one line for each row of numbers."""
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {as_text(v)}" for k, v in value.items()) + "\n}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in value) + "\n]"
    return json.dumps(value)


def write(name: str, libraries: list[str], content: dict) -> None:
    """Write one golden file, with the versions of the libraries it was computed with."""
    versions = {library: version(library) for library in libraries}
    text = as_text({"versions": versions, **content}) + "\n"
    (Path(__file__).parent / f"{name}.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Write them all."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import mpmath

    jax.config.update("jax_enable_x64", True)
    with mpmath.workdps(WORKING_DIGITS):
        write("activations", ["mpmath"], activation_rows())
        of_rows = {name: row_loss_rows(name) for name in ROW_LOSSES}
        of_batches = {name: compared_batches(name) for name in COMPARING_LOSSES}
        write("losses", ["mpmath"], {**elementwise_loss_rows(), **of_rows, **of_batches})
        configured = [[name, given, row_loss_rows(name, given)] for name, given in CONFIGURED_ROW_LOSSES]
        compared = [[name, given, compared_batches(name, given)] for name, given in CONFIGURED_COMPARING_LOSSES]
        write("configured_losses", ["mpmath"], {"losses": [*configured, *compared]})
    write("torch_network", ["torch"], torch_network())
    write("optax_network", ["jax", "optax"], optax_network())
    drawn = {"torch": torch_initializers(), "keras": keras_initializers(), "sklearn": sklearn_initializers()}
    write("initializers", ["torch", "keras", "scikit-learn"], drawn)
    write("keras", ["keras", "jax"], keras_binary_cross_entropy())


if __name__ == "__main__":
    main()
