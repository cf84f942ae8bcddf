"""Fitted estimators as ONNX: labels and probabilities, or numbers, by the names that skl2onnx gives them."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier

from .._formula.onnx_ import Graph, Value
from ..errors import refusal
from ..export.onnx_ import INPUT, add_layers, add_link, check_size, protobuf, save

if TYPE_CHECKING:
    from .._kernels import Array
    from ..export.onnx_ import Kind
    from ..export.predictor import Predictor

    Outputs = dict[str, tuple[Value, Kind]]

__all__ = ["add_outputs", "label_table", "write_onnx"]

# ONNX numbers its types.
INT64 = 7


def label_table(classes: Array) -> Array:
    """Classes as ONNX has labels, int64 or text.

    Raises
    ------
    ValueError
        If they are neither whole numbers nor text.
    """
    if classes.dtype.kind in "biuf" and (classes == classes.astype(np.int64)).all():
        return classes.astype(np.int64)
    if all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    expected, remedy = "whole numbers or text", "encode y, for example with sklearn.preprocessing.LabelEncoder"
    raise ValueError(refusal("to_onnx: classes_", f"{classes!r}", expected, remedy))


def add_outputs(estimator: Any, predictor: Predictor, x: Value, classes: Array | None = None) -> Outputs:
    """Add all that turns rows into what an estimator says of them.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    predictor : Predictor
        Of the estimator.
    x : Value
        The rows.
    classes : ndarray, optional
        Stand for those of a classifier.

    Returns
    -------
    dict of str to tuple of (Value, (dtype, shape))
        By the names of skl2onnx, in its order.
    """
    scores = add_layers(predictor, x)
    predictions = add_link(predictor, scores)
    if not is_classifier(estimator):
        return _numbers(estimator, predictor, predictions)
    if estimator._is_multilabel:
        shape = ("N", predictor.n_outputs)
        return {
            "label": (_integer(scores > 0.0), (np.int64, shape)),
            "probabilities": (predictions, (predictor.dtype, shape)),
        }
    table = label_table(estimator.classes_ if classes is None else classes)
    if predictor.n_outputs > 1:
        place = x.graph.add("ArgMax", scores, axis=1, keepdims=0)
    else:
        place = x.graph.add("Squeeze", _integer(scores > 0.0), x.graph.array("second", np.array([1])))
        first = -predictions if predictor.link == "linear" else 1.0 - predictions
        predictions = x.graph.add("Concat", first, predictions, axis=1)
        # Of a single class, both answers are that one.
        table = table[[0, -1]]
    label = x.graph.add("Gather", x.graph.array("classes", table), place, axis=0)
    return {
        "label": (label, (table.dtype, ("N",))),
        "probabilities": (predictions, (predictor.dtype, ("N", len(table)))),
    }


def _integer(x: Value) -> Value:
    return x.graph.add("Cast", x, to=INT64)


def _numbers(estimator: Any, predictor: Predictor, predictions: Value) -> Outputs:
    """What a regressor's `predict` makes of its network's predictions: some of the columns."""
    graph, units = predictions.graph, np.arange(predictor.n_outputs)
    # Of outputs that belong together, `predict` gives one.
    centres = units if predictor.group == 1 else estimator._centre(units[None])[0]
    if len(centres) < len(units):
        predictions = graph.add("Gather", predictions, graph.array("centres", centres), axis=1)
    return {"variable": (predictions, (predictor.dtype, ("N", len(centres))))}


def write_onnx(predictor: Predictor, estimator: Any, path: str | PathLike[str]) -> None:
    """Write an ONNX file of an estimator, checked by the onnx library.

    Parameters
    ----------
    predictor : Predictor
        Of the estimator.
    estimator : estimator
        Fitted.
    path : path
        Replaced if it exists.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        For classes that ONNX has no labels for, and for more weights than a file can hold.
    """
    check_size(predictor)
    graph = Graph(predictor.dtype.name)
    results = add_outputs(estimator, predictor, Value(graph, INPUT))
    for name, (value, _) in results.items():
        graph.rename(value, name)
    inputs: dict[str, Kind] = {INPUT: (predictor.dtype, ("N", predictor.n_inputs))}
    save(protobuf(graph, inputs, {name: kind for name, (_, kind) in results.items()}, predictor.title), path)
