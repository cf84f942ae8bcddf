"""Models from files, and weights in the layouts of other libraries, none of which is needed.

Here W is (n_inputs, n_outputs), as in Keras and scikit-learn; in PyTorch it is the transpose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._checkpoint.container import Container
from .errors import refusal
from .layers import BatchNorm, Dense
from .model import Sequential

if TYPE_CHECKING:
    from ._kernels import Array
    from .optimizers import Optimizer

__all__ = ["from_keras", "from_sklearn", "from_torch", "load", "to_keras", "to_torch"]


def load(
    path: str | os.PathLike[str],
    *,
    optimizer: str | Optimizer | None = None,
    backend: str | None = None,
    max_bytes: int = 1 << 32,
) -> Sequential | Any:
    """Read what `Sequential.save`, or `save` of an estimator of `fastgd.sklearn`, has written.

    Needs the safetensors library: ``pip install "fastgd[io]"``; for an estimator scikit-learn, too.

    Parameters
    ----------
    path : path
    optimizer : str or Optimizer, optional
        Of a model: in place of the one in the file, whose state it takes over; for a learning rate that is a function.
    backend : {"cython", "numba", "numpy"}, optional
        Of a model: in place of the one in the file.
    max_bytes : int
        The largest file to read.

    Returns
    -------
    Sequential or estimator
        As it was saved: it predicts the same bits, and trains on to the same bits as the one that was saved.

    Raises
    ------
    FileNotFoundError
    ImportError
        If safetensors is not installed.
    ValueError
        If the file is of another program, damaged, larger than `max_bytes` or of a later format; if it has keys,
        shapes, dtypes or numbers that cannot be; if it says that there was a function, or something of your own that
        is not declared in this process.
    TypeError
        If `optimizer` or `backend` is given for an estimator, which has parameters of its own.

    Notes
    -----
    Nothing in the file is executed, and no name in it is imported: it is numbers, and names of fastgd's own classes.
    Everything is checked before memory is taken for a tensor.

    A model that was saved in the midst of ``fit(standardize=True)`` takes X as it is, as any other; only
    ``fit(resume_from=)`` goes on exactly where it was.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.load("model.safetensors")  # doctest: +SKIP
    """
    container = Container(path, max_bytes)
    given = {name: value for name, value in (("optimizer", optimizer), ("backend", backend)) if value is not None}
    if "estimator" not in container.described:
        return Sequential._load(container, given)
    for name, value in given.items():
        expected, remedy = "None for an estimator", "load it, and set_params(solver=...) before the next fit"
        raise TypeError(refusal(name, repr(value), expected, remedy))
    from .sklearn.saving import read_estimator

    return read_estimator(container)


# -------------------------------------------------------------------------------------------------------- PyTorch
TORCH_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def from_torch(state: Mapping[str, Any]) -> list[Array]:
    """Weights for `Sequential.set_weights` from a state dictionary of PyTorch.

    Parameters
    ----------
    state : mapping of str to tensor or array_like
        Of a module that applies Linear, BatchNorm1d and LayerNorm in the order in which it holds them, by whatever
        names.

    Returns
    -------
    list of ndarray
        ``[W1, b1, ...]``; zeros for a missing bias, ones for a missing gain.

    Raises
    ------
    ValueError
        If there is something else in it, such as a convolution.
    TypeError
        If something is no array of numbers that NumPy has, such as bfloat16.

    See Also
    --------
    to_torch : The other way.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> state = {"0.weight": np.zeros((8, 4)), "0.bias": np.zeros(8), "2.weight": np.ones((1, 8))}
    >>> model = fg.Sequential([fg.Dense(8, activation="relu"), fg.Dense(1)], backend="numpy").build(4)
    >>> model.set_weights(fg.io.from_torch(state))
    """
    modules: dict[str, dict[str, Array]] = {}
    for name, value in state.items():
        module, _, part = name.rpartition(".")
        if part not in TORCH_PARTS:
            expected = f"weight, bias and statistics of Linear, BatchNorm1d and LayerNorm: {', '.join(TORCH_PARTS)}"
            raise ValueError(refusal("state", repr(name), expected, "leave out what is no layer of fastgd"))
        modules.setdefault(module, {})[part] = _array(name, value)
    return [array for name, parts in modules.items() for array in _of_torch_module(name, parts)]


def _of_torch_module(name: str, parts: dict[str, Array]) -> list[Array]:
    some = next(iter(parts.values()))
    weight = parts.get("weight", np.ones_like(some))
    if weight.ndim not in (1, 2):
        expected = "2 dimensions, of Linear, or 1, of BatchNorm1d and LayerNorm"
        raise ValueError(
            refusal(f"state: {name}.weight", f"shape {weight.shape}", expected, "use layers of these kinds")
        )
    bias = parts.get("bias", np.zeros(len(weight), weight.dtype))
    statistics = [parts[part] for part in ("running_mean", "running_var") if part in parts]
    return [weight.T, bias, *statistics]


def to_torch(model: Sequential, names: Sequence[str] | None = None) -> dict[str, Array]:
    """The weights that the model predicts with, averages if it has them, as a state dictionary of PyTorch.

    Parameters
    ----------
    model : Sequential
    names : list of str, optional
        Of the modules that have weights, such as ``["fc1", "norm", "fc2"]``. Without them the numbers of an
        nn.Sequential in which each layer is a module, and so is each activation but a linear one.

    Returns
    -------
    dict of str to ndarray
        For ``module.load_state_dict({name: torch.from_numpy(array) for name, array in ...items()})``.

    Raises
    ------
    NotBuiltError
    ValueError
        If there are more or fewer names than layers with weights.

    Notes
    -----
    PyTorch's eps and momentum of normalisations are fastgd's. A Sequential's loss applies its link in PyTorch too.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(8, activation="relu"), fg.Dropout(0.5), fg.Dense(1)], backend="numpy").build(4)
    >>> {name: array.shape for name, array in fg.io.to_torch(model).items()}
    {'0.weight': (8, 4), '0.bias': (8,), '3.weight': (1, 8), '3.bias': (1,)}
    """
    arrays = iter(model.get_weights(averaged=True))
    learning = [layer for layer in model.layers if layer.parameter_shapes(1)]
    names = _torch_numbers(model) if names is None else names
    if len(names) != len(learning):
        got, expected = f"{len(names)} names", f"{len(learning)}, one for each layer with weights"
        raise ValueError(refusal("names", got, expected, "leave names out for those of an nn.Sequential"))
    state = {}
    for name, layer in zip(names, learning, strict=True):
        state[f"{name}.weight"] = np.ascontiguousarray(next(arrays).T)
        state[f"{name}.bias"] = next(arrays)
        if isinstance(layer, BatchNorm):
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = next(arrays), next(arrays)
            state[f"{name}.num_batches_tracked"] = np.array(model.n_steps_done)
    return state


def _torch_numbers(model: Sequential) -> list[str]:
    """Places of the layers with weights in an nn.Sequential."""
    places, place = [], 0
    for layer in model.layers:
        if layer.parameter_shapes(1):
            places.append(str(place))
        activation = getattr(layer, "activation", None)
        place += 1 if activation is None or activation.name == "linear" else 2
    return places


# ---------------------------------------------------------------------------------------------------------- Keras
KERAS_PARTS = {
    "kernel": 0,
    "bias": 1,
    "gamma": 0,
    "beta": 1,
    "moving_mean": 2,
    "moving_variance": 3,
}
"""Names of variables, and their place in what a layer has here."""


def from_keras(weights: Sequence[Any] | Mapping[str, Any]) -> list[Array]:
    """Weights for `Sequential.set_weights` from those of Keras.

    Parameters
    ----------
    weights : sequence of array_like, or mapping of str to array_like
        What ``model.get_weights()`` gives, or ``{v.path: v.numpy() for v in model.weights}``, of a model of Dense,
        BatchNormalization and LayerNormalization.

    Returns
    -------
    list of ndarray
        ``[W1, b1, ...]``; zeros for a missing bias. A normalisation without gain or shift has to be in a mapping.

    Raises
    ------
    ValueError
        If there is something else in it, such as a convolution.
    TypeError
        If something is no array of numbers.

    Notes
    -----
    Keras's normalisations have eps 1e-3, and as momentum the share that stays: ``fg.BatchNorm(momentum=0.01,
    eps=1e-3)`` and ``fg.LayerNorm(eps=1e-3)`` are its defaults.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(8, activation="relu"), fg.Dense(1)], backend="numpy").build(4)
    >>> model.set_weights(fg.io.from_keras([np.zeros((4, 8)), np.zeros(8), np.ones((8, 1))]))
    """
    if isinstance(weights, Mapping):
        return _of_keras_paths(weights)
    arrays = [_array(f"weights[{k}]", each) for k, each in enumerate(weights)]
    complete: list[Array] = []
    for k, array in enumerate(arrays):
        if array.ndim not in (1, 2):
            expected = "2 dimensions, of Dense, or 1"
            remedy = "use layers of fastgd's kinds"
            raise ValueError(refusal(f"weights[{k}]", f"shape {array.shape}", expected, remedy))
        complete.append(array)
        following = arrays[k + 1 :]
        vectors = next((n for n, each in enumerate(following) if each.ndim == 2), len(following))
        # Normalisations have two or four vectors, so an odd number before the next matrix says that a bias is first.
        if array.ndim == 2 and vectors % 2 == 0:
            complete.append(np.zeros(array.shape[1], array.dtype))
    return complete


def _of_keras_paths(weights: Mapping[str, Any]) -> list[Array]:
    layers: dict[str, dict[str, Array]] = {}
    for path, value in weights.items():
        layer, _, part = path.rpartition("/")
        if part not in KERAS_PARTS:
            expected = f"variables of Dense, BatchNormalization and LayerNormalization: {', '.join(KERAS_PARTS)}"
            raise ValueError(refusal("weights", repr(path), expected, "leave out what is no layer of fastgd"))
        layers.setdefault(layer, {})[part] = _array(path, value)
    arrays: list[Array] = []
    for parts in layers.values():
        some = next(iter(parts.values()))
        own = {KERAS_PARTS[part]: array for part, array in parts.items()}
        columns = np.zeros(some.shape[-1], some.dtype)
        arrays += [own.get(0, columns + 1), own.get(1, columns), *(own[k] for k in (2, 3) if k in own)]
    return arrays


def to_keras(model: Sequential) -> list[Array]:
    """The weights that the model predicts with, as Keras's ``model.set_weights`` takes them: in the layout of here.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    list of ndarray

    Raises
    ------
    NotBuiltError

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(8), fg.Dense(1)], backend="numpy").build(4)
    >>> [array.shape for array in fg.io.to_keras(model)]
    [(4, 8), (8,), (8, 1), (1,)]
    """
    return model.get_weights(averaged=True)


# --------------------------------------------------------------------------------------------------- scikit-learn
SKLEARN_ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
SKLEARN_LOSSES = {
    "identity": "half_squared_error",
    "logistic": "binary_cross_entropy",
    "softmax": "softmax_cross_entropy",
    "exp": "poisson",
}


def from_sklearn(estimator: Any, **settings: Any) -> Sequential:
    """The network of a fitted MLPClassifier or MLPRegressor of scikit-learn.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Only its attributes are read.
    **settings
        Further arguments of `Sequential`, such as ``optimizer``.

    Returns
    -------
    Sequential
        Of the estimator's dtype. What it predicts is what `predict_proba` of a classifier gives, of two classes the
        probability of the second; or what `predict` of a regressor gives.

    Raises
    ------
    ValueError
        If the estimator is not fitted, or has an activation that is not known.

    Notes
    -----
    Classes are numbered in the order of ``estimator.classes_``. The penalty is left out: scikit-learn divides it by
    the rows of each batch. Estimators that are trained as scikit-learn's are in `fastgd.sklearn`.

    Examples
    --------
    >>> import fastgd as fg
    >>> from sklearn.neural_network import MLPRegressor
    >>> mlp = MLPRegressor(hidden_layer_sizes=(4,), max_iter=1000, tol=1e-2, random_state=0)
    >>> model = fg.io.from_sklearn(mlp.fit([[0.0], [1.0]], [0.0, 1.0]), backend="numpy")
    >>> model.layers
    (Dense(4, activation='relu'), Dense(1))
    """
    matrices = getattr(estimator, "coefs_", None)
    if matrices is None:
        remedy = "pass an MLPClassifier or MLPRegressor after fit"
        raise ValueError(refusal("estimator", f"a {type(estimator).__name__} without coefs_", "a fitted MLP", remedy))
    hidden = _known("activation", estimator.activation, SKLEARN_ACTIVATIONS)
    loss = _known("out_activation_", estimator.out_activation_, SKLEARN_LOSSES)
    activations = [hidden] * (len(matrices) - 1) + ["linear"]
    layers = [Dense(W.shape[1], activation=name) for W, name in zip(matrices, activations, strict=True)]
    model = Sequential(layers, **{"loss": loss, "dtype": matrices[0].dtype} | settings)
    model.build(len(matrices[0]))
    model.set_weights([a for pair in zip(matrices, estimator.intercepts_, strict=True) for a in pair])
    return model


def _known(what: str, name: Any, table: Mapping[str, str]) -> str:
    if name not in table:
        raise ValueError(
            refusal(f"estimator: {what}", repr(name), f"one of {', '.join(table)}", "build the model by hand")
        )
    return table[name]


def _array(name: str, given: Any) -> Array:
    """A tensor or array as an array of real numbers."""
    detached = given.detach() if hasattr(given, "detach") else given
    try:
        array = np.asarray(detached)
    except (TypeError, RuntimeError, ValueError) as error:
        raise TypeError(
            refusal(name, f"what NumPy cannot read ({error})", "an array", "convert it: .float().cpu()")
        ) from None
    if array.dtype.kind not in "fiu":
        raise TypeError(refusal(name, f"dtype {array.dtype}", "real numbers", "convert it: .float()"))
    return array
