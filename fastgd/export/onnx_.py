"""Models in the format of ONNX, which onnxruntime and many other programs read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations
from .._formula import Activation
from .._formula.onnx_ import Graph, Value, add_formula
from ..errors import refusal
from ..layers import BatchNorm, Dense, Dropout, LayerNorm, Softmax
from ..optional import import_optional
from .predictor import LINK_FORMULAS, SHARE_LINKS, Predictor

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._kernels import Array

    # Of a tensor that goes in or comes out: what it is of, and its shape, where a name stands for any length.
    Kind = tuple[npt.DTypeLike, tuple[int | str, ...]]

__all__ = ["add_layers", "add_link", "arrays_of", "check_size", "graph_of", "protobuf", "save", "write_onnx"]

# The first to have Gelu; onnxruntime reads it from 1.17 on. The version of the file's format that came with it.
OPSET, IR_VERSION = 20, 9

# Protocol buffers end here.
LARGEST_FILE = 2**31 - 1

INPUT, OUTPUT = "X", "prediction"

# Activations that ONNX has operators for: those that runtimes have in both dtypes,
OPERATORS: Mapping[str, Callable[..., Value]] = {
    "hard_tanh": lambda z: z.graph.add("Clip", z, -1.0, 1.0),
    "relu": lambda z: z.graph.add("Relu", z),
    "relu6": lambda z: z.graph.add("Clip", z, 0.0, 6.0),
    "sigmoid": lambda z: z.graph.add("Sigmoid", z),
    "silu": lambda z: z * z.graph.add("Sigmoid", z),
}
# and those that they have in float32 only. Rendered from its formula, softplus would take 22 nodes. All others are.
FLOAT32_OPERATORS: Mapping[str, Callable[..., Value]] = {
    "celu": lambda z, alpha: z.graph.add("Celu", z, alpha=alpha),
    "elu": lambda z, alpha: z.graph.add("Elu", z, alpha=alpha),
    "gelu": lambda z: z.graph.add("Gelu", z),
    "gelu_tanh": lambda z: z.graph.add("Gelu", z, approximate="tanh"),
    "hard_sigmoid": lambda z: z.graph.add("HardSigmoid", z, alpha=1.0 / 6.0, beta=0.5),
    "hard_silu": lambda z: z.graph.add("HardSwish", z),
    "leaky_relu": lambda z, slope: z.graph.add("LeakyRelu", z, alpha=slope),
    "mish": lambda z: z.graph.add("Mish", z),
    "selu": lambda z: z.graph.add("Selu", z),
    "softplus": lambda z: z.graph.add("Softplus", z),
    "softsign": lambda z: z.graph.add("Softsign", z),
}


@singledispatch
def add_layer(layer: Any, x: Value, weights: Iterator[Array]) -> Value:
    """Add a layer's nodes to the graph of its input, and take its arrays from `weights`; one function for each kind."""
    raise TypeError(refusal("to_onnx", f"a layer {layer!r}", "a layer of fastgd", "register its export"))


@add_layer.register(Dense)
def _(layer: Dense, x: Value, weights: Iterator[Array]) -> Value:
    W, b = _arrays(x, weights, "weights", "bias")
    return add_activation(layer.activation, x.graph.add("Gemm", x, W, b))


@add_layer.register(Dropout)
def _(layer: Dropout, x: Value, weights: Iterator[Array]) -> Value:
    return x


@add_layer.register(Softmax)
def _(layer: Softmax, x: Value, weights: Iterator[Array]) -> Value:
    return x.graph.add("Softmax", x, axis=1)


# ONNX keeps eps in float32, whatever the tensors are. In float64, normalisations are therefore written out.
@add_layer.register(BatchNorm)
def _(layer: BatchNorm, x: Value, weights: Iterator[Array]) -> Value:
    gain, shift, mean, variance = _arrays(x, weights, "gain", "shift", "mean", "variance")
    if x.graph.dtype == "float32":
        z = x.graph.add("BatchNormalization", x, gain, shift, mean, variance, epsilon=layer.eps)
    else:
        z = _standardized(x - mean, variance, layer.eps) * gain + shift
    return add_activation(layer.activation, z)


@add_layer.register(LayerNorm)
def _(layer: LayerNorm, x: Value, weights: Iterator[Array]) -> Value:
    gain, shift = _arrays(x, weights, "gain", "shift")
    if x.graph.dtype == "float32":
        z = x.graph.add("LayerNormalization", x, gain, shift, epsilon=layer.eps)
    else:
        centred = x - _row_mean(x)
        z = _standardized(centred, _row_mean(centred * centred), layer.eps) * gain + shift
    return add_activation(layer.activation, z)


def _standardized(centred: Value, variance: Value, eps: float) -> Value:
    return centred / centred.graph.add("Sqrt", variance + eps)


def _row_mean(x: Value) -> Value:
    return x.graph.add("ReduceMean", x, x.graph.array("columns", np.array([1])), keepdims=1)


def _arrays(x: Value, weights: Iterator[Array], *names: str) -> list[Value]:
    """The next arrays of a model as tensors of that graph."""
    return [x.graph.array(x.graph.scope + name, next(weights)) for name in names]


def add_activation(activation: Activation, z: Value) -> Value:
    """Add an activation: by an operator of ONNX if there is one, otherwise by its formula."""
    operators = {**OPERATORS, **FLOAT32_OPERATORS} if z.graph.dtype == "float32" else OPERATORS
    # No formula of a user's has the name of one of these.
    if activation.name in operators:
        return operators[activation.name](z, **activation.parameters)
    return add_formula(activation.formula, z, **activation.parameters)[0]


def add_link(predictor: Predictor, scores: Value) -> Value:
    """Add what turns scores into predictions."""
    if predictor.link in SHARE_LINKS:
        return _shares(add_link(replace(predictor, link=SHARE_LINKS[predictor.link]), scores), predictor.n_outputs)
    if predictor.link in ROW_LINKS:
        return ROW_LINKS[predictor.link](scores, np.arange(predictor.n_outputs), predictor.group)
    if predictor.link in OPERATORS:
        return OPERATORS[predictor.link](scores)
    return add_formula(LINK_FORMULAS[predictor.link], scores)[0]


def _softmax(scores: Value, columns: Array, group: int) -> Value:
    return scores.graph.add("Softmax", scores, axis=1)


def _shares(values: Value, n_outputs: int) -> Value:
    """Of their sum."""
    graph = values.graph
    total = graph.add("ReduceSum", values, graph.array("columns", np.array([1])), keepdims=1)
    some = total > 0.0
    return graph.add("Where", some, values / graph.add("Where", some, total, 1.0), 1.0 / n_outputs)


def _mean_and_variance(scores: Value, columns: Array, group: int) -> Value:
    """The exponential of the second of each two."""
    means = scores.graph.array("means", columns % group == 0)
    return scores.graph.add("Where", means, scores, scores.graph.add("Exp", scores))


def _increasing(scores: Value, columns: Array, group: int) -> Value:
    """The first of each group as it is, each further one the one before plus softplus of its score."""
    graph = scores.graph
    first = graph.array("firsts", columns % group == 0)
    steps = graph.add("Where", first, scores, add_activation(activations.softplus, scores))
    before = (columns[:, None] <= columns) & (columns[:, None] // group == columns // group)
    return graph.add("MatMul", steps, graph.array("sums", before.astype(graph.dtype)))


ROW_LINKS: Mapping[str, Callable[[Value, Array, int], Value]] = {
    "softmax": _softmax,
    "mean_and_variance": _mean_and_variance,
    "increasing": _increasing,
}


def add_layers(predictor: Predictor, x: Value) -> Value:
    """Add all that turns rows into scores."""
    graph, weights = x.graph, iter(predictor.weights)
    for k, layer in enumerate(predictor.layers):
        graph.scope = f"layer_{k}/"
        x = add_layer(layer, x, weights)
    graph.scope = ""
    return x


def graph_of(predictor: Predictor) -> Graph:
    """All that turns a tensor `INPUT` into a tensor `OUTPUT`."""
    graph = Graph(predictor.dtype.name)
    graph.rename(add_link(predictor, add_layers(predictor, Value(graph, INPUT))), OUTPUT)
    return graph


def write_onnx(predictor: Predictor, path: str | PathLike[str]) -> None:
    """Write an ONNX file, checked by the onnx library.

    Parameters
    ----------
    predictor : Predictor
    path : path
        Replaced if it exists.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the file would be larger than the format admits.
    """
    check_size(predictor)
    inputs: dict[str, Kind] = {INPUT: (predictor.dtype, ("N", predictor.n_inputs))}
    outputs: dict[str, Kind] = {OUTPUT: (predictor.dtype, ("N", predictor.n_outputs))}
    save(protobuf(graph_of(predictor), inputs, outputs, predictor.title), path)


def check_size(predictor: Predictor) -> None:
    """Refuse what no file can hold."""
    size = sum(array.nbytes for array in predictor.weights)
    if size >= LARGEST_FILE:
        remedy = "export a model of dtype float32, or a smaller one"
        raise ValueError(refusal("to_onnx", f"{size:,} bytes of weights", "less than 2 GiB", remedy))


def save(model: Any, path: str | PathLike[str]) -> None:
    """Write a model of the onnx library's, checked by it; a file that exists is replaced."""
    onnx: Any = import_optional("onnx", "model.to_onnx")
    onnx.checker.check_model(model, full_check=True)
    Path(path).write_bytes(model.SerializeToString())


def protobuf(graph: Graph, inputs: Mapping[str, Kind], outputs: Mapping[str, Kind], title: str) -> Any:
    """A graph as the onnx library has it.

    Parameters
    ----------
    graph : Graph
    inputs, outputs : dict of str to tuple of (dtype, shape)
        Tensors by name. A length may be left open by giving it a name; text has the dtype object.
    title : str

    Raises
    ------
    ImportError
        If onnx is not installed.
    """
    from .. import __version__

    onnx: Any = import_optional("onnx", "model.to_onnx")
    make = onnx.helper

    def described(tensors: Mapping[str, Kind]) -> list[Any]:
        return [
            make.make_tensor_value_info(name, make.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in tensors.items()
        ]

    return make.make_model(
        make.make_graph(
            [make.make_node(node.operator, node.inputs, [node.output], **node.attributes) for node in graph.nodes],
            "fastgd",
            described(inputs),
            described(outputs),
            [onnx.numpy_helper.from_array(array, name) for name, array in arrays_of(graph).items()],
        ),
        opset_imports=[make.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastgd",
        producer_version=__version__,
        doc_string=title,
    )


def arrays_of(graph: Graph) -> dict[str, Array]:
    """The constants of a graph, of its dtype if they are plain numbers."""
    return {
        name: value if isinstance(value, np.ndarray) else np.asarray(value, graph.dtype)
        for name, value in graph.constants.items()
    }
