"""What is registered, under the names that other libraries have for it.

A name that stands alone is the same function with the same defaults, which a test evaluates: of scores in PyTorch, JAX
and optax, of targets and scores in Keras. Where something differs, a remark says what, and the test leaves it out.
Names in quotes are arguments of scikit-learn's estimators.
"""

from __future__ import annotations

from typing import NamedTuple


class Elsewhere(NamedTuple):
    """Names in other libraries, empty where one has nothing like it, and what differs."""

    torch: str = ""
    keras: str = ""
    sklearn: str = ""
    jax: str = ""
    differs: str = ""


ACTIVATIONS = {
    "linear": Elsewhere("nn.Identity()", "activations.linear", '"identity"'),
    "relu": Elsewhere("nn.ReLU()", "activations.relu", '"relu"', "jax.nn.relu"),
    "leaky_relu": Elsewhere("nn.LeakyReLU()", "layers.LeakyReLU(0.01)", "", "jax.nn.leaky_relu", "Keras: slope 0.3"),
    "relu6": Elsewhere("nn.ReLU6()", "activations.relu6", "", "jax.nn.relu6"),
    "elu": Elsewhere("nn.ELU()", "activations.elu", "", "jax.nn.elu"),
    "selu": Elsewhere("nn.SELU()", "activations.selu", "", "jax.nn.selu"),
    "celu": Elsewhere("nn.CELU()", "activations.celu", "", "jax.nn.celu"),
    "gelu": Elsewhere(
        "nn.GELU()", "activations.gelu", "", "partial(jax.nn.gelu, approximate=False)", "JAX: ``gelu_tanh`` by default"
    ),
    "gelu_tanh": Elsewhere(
        'nn.GELU("tanh")', "partial(activations.gelu, approximate=True)", "", "jax.nn.gelu"
    ),
    "silu": Elsewhere("nn.SiLU()", "activations.silu", "", "jax.nn.silu"),
    "mish": Elsewhere("nn.Mish()", "activations.mish", "", "jax.nn.mish"),
    "sigmoid": Elsewhere("nn.Sigmoid()", "activations.sigmoid", '"logistic"', "jax.nn.sigmoid"),
    "hard_sigmoid": Elsewhere("nn.Hardsigmoid()", "activations.hard_sigmoid", "", "jax.nn.hard_sigmoid"),
    "hard_silu": Elsewhere("nn.Hardswish()", "activations.hard_silu", "", "jax.nn.hard_silu"),
    "tanh": Elsewhere("nn.Tanh()", "activations.tanh", '"tanh"', "jax.nn.tanh"),
    "hard_tanh": Elsewhere("nn.Hardtanh()", "activations.hard_tanh", "", "jax.nn.hard_tanh"),
    "softplus": Elsewhere("nn.Softplus()", "activations.softplus", "", "jax.nn.softplus"),
    "softsign": Elsewhere("nn.Softsign()", "activations.softsign", "", "jax.nn.soft_sign"),
    "exp": Elsewhere("torch.exp", "activations.exponential", "", "jnp.exp"),
    "sine": Elsewhere("torch.sin", "", "", "jnp.sin"),
}

LOSSES = {
    "mean_squared_error": Elsewhere("nn.MSELoss()", "losses.MeanSquaredError()", "", "optax.squared_error"),
    "half_squared_error": Elsewhere("", "", '"squared_error"', "optax.l2_loss"),
    "mean_absolute_error": Elsewhere("nn.L1Loss()", "losses.MeanAbsoluteError()"),
    "huber": Elsewhere(
        "nn.HuberLoss()", "losses.Huber()", '"huber"', "optax.huber_loss", "scikit-learn: delta, called epsilon, is 0.1"
    ),
    "smooth_l1": Elsewhere("nn.SmoothL1Loss()"),
    "log_cosh": Elsewhere("", "losses.LogCosh()", "", "optax.log_cosh"),
    "quantile": Elsewhere("", "", "QuantileRegressor"),
    "expectile": Elsewhere(),
    "epsilon_insensitive": Elsewhere("", "", '"epsilon_insensitive"'),
    "squared_epsilon_insensitive": Elsewhere("", "", '"squared_epsilon_insensitive"'),
    "poisson": Elsewhere(
        "nn.PoissonNLLLoss()", "losses.Poisson()", '"poisson"', "",
        "Keras takes the mean, not its logarithm; scikit-learn adds y log y - y",
    ),
    "gamma": Elsewhere("", "", "GammaRegressor", "", "scikit-learn subtracts log y + 1"),
    "tweedie": Elsewhere("", "", "TweedieRegressor", "", "scikit-learn adds a term of y alone"),
    "mean_squared_log_error": Elsewhere(
        "", "losses.MeanSquaredLogarithmicError()", "", "", "Keras takes the prediction, not log(1 + it)"
    ),
    "mean_absolute_percentage_error": Elsewhere(
        "", "losses.MeanAbsolutePercentageError()", "", "", "Keras: 100 times as much"
    ),
    "binary_cross_entropy": Elsewhere(
        "nn.BCEWithLogitsLoss()", "losses.BinaryCrossentropy(from_logits=True)", '"log_loss"',
        "optax.sigmoid_binary_cross_entropy",
    ),
    "binary_focal_cross_entropy": Elsewhere(
        "", "losses.BinaryFocalCrossentropy(from_logits=True)", "", "optax.sigmoid_focal_loss"
    ),
    "hinge": Elsewhere("", "losses.Hinge()", '"hinge"', "optax.hinge_loss"),
    "squared_hinge": Elsewhere("", "losses.SquaredHinge()", '"squared_hinge"'),
    "modified_huber": Elsewhere("", "", '"modified_huber"'),
    "perceptron": Elsewhere("", "", '"perceptron"', "optax.losses.perceptron_loss"),
    "softmax_cross_entropy": Elsewhere(
        "nn.CrossEntropyLoss()", "losses.SparseCategoricalCrossentropy(from_logits=True)", '"log_loss"',
        "optax.softmax_cross_entropy_with_integer_labels",
    ),
    "softmax_focal_cross_entropy": Elsewhere(
        "", "losses.CategoricalFocalCrossentropy(from_logits=True)", "", "", "Keras: alpha = 0.25 for every class"
    ),
    "kl_divergence": Elsewhere(
        'nn.KLDivLoss(reduction="batchmean")', "losses.KLDivergence()", "", "optax.kl_divergence",
        "PyTorch and optax take logarithms of probabilities, Keras probabilities",
    ),
    "multiclass_hinge": Elsewhere(
        "nn.MultiMarginLoss()", "losses.CategoricalHinge()", "", "optax.losses.multiclass_hinge_loss",
        "PyTorch divides by the number of classes; Keras and optax are ``crammer_singer=True``",
    ),
    "gaussian_nll": Elsewhere(
        "nn.GaussianNLLLoss()", "", "", "", "PyTorch takes the variance, in an argument of its own"
    ),
    "cosine_similarity": Elsewhere(
        "nn.CosineEmbeddingLoss()", "losses.CosineSimilarity()", "", "optax.cosine_distance",
        "PyTorch wants a target of ones besides; Keras: less by 1",
    ),
    "quantiles": Elsewhere(),
    "contrastive": Elsewhere(),
    "triplet": Elsewhere("nn.TripletMarginLoss()", "", "", "", "PyTorch is handed the triplets, here labels say them"),
}

INITIALIZERS = {
    "zeros": Elsewhere("init.zeros_", "Zeros", "", "zeros"),
    "constant": Elsewhere("init.constant_", "Constant", "", "constant"),
    "uniform": Elsewhere("init.uniform_", "RandomUniform", "", "uniform", "PyTorch: from 0 to 1; JAX: from 0 to 0.01"),
    "normal": Elsewhere("init.normal_", "RandomNormal", "", "normal", "PyTorch: scale 1; JAX: 0.01"),
    "truncated_normal": Elsewhere(
        "init.trunc_normal_", "TruncatedNormal", "", "truncated_normal", "PyTorch: scale 1; JAX: 0.01"
    ),
    "glorot_uniform": Elsewhere("init.xavier_uniform_", "GlorotUniform", "", "glorot_uniform"),
    "glorot_normal": Elsewhere("init.xavier_normal_"),
    "glorot_truncated_normal": Elsewhere("", "GlorotNormal", "", "glorot_normal"),
    "he_uniform": Elsewhere('init.kaiming_uniform_(nonlinearity="relu")', "HeUniform", "", "he_uniform"),
    "he_normal": Elsewhere('init.kaiming_normal_(nonlinearity="relu")'),
    "he_truncated_normal": Elsewhere("", "HeNormal", "", "he_normal"),
    "lecun_uniform": Elsewhere('init.kaiming_uniform_(nonlinearity="linear")', "LecunUniform", "", "lecun_uniform"),
    "lecun_normal": Elsewhere('init.kaiming_normal_(nonlinearity="linear")'),
    "lecun_truncated_normal": Elsewhere("", "LecunNormal", "", "lecun_normal"),
    "orthogonal": Elsewhere("init.orthogonal_", "Orthogonal", "", "orthogonal"),
    "identity": Elsewhere("init.eye_", "Identity"),
    "sparse": Elsewhere("init.sparse_"),
    "torch": Elsewhere("nn.Linear", "", "", "", "biases too"),
    "keras": Elsewhere("", "Dense"),
    "sklearn": Elsewhere("", "", "MLPRegressor", "", "biases too"),
}
