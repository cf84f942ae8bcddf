"""Converters for skl2onnx, so that pipelines with these estimators become ONNX as with scikit-learn's own.

Where skl2onnx is installed, the estimators are registered with it. It is imported by whoever uses it: that takes longer
than all of scikit-learn. So what is done at import, if it is not there yet, is to wait until it is.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier

from .._formula.onnx_ import Graph, Value
from ..errors import refusal
from ..export.onnx_ import INPUT, OPSET, arrays_of
from .onnx_ import add_outputs, label_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["register", "register_when_imported"]

MODULE = "skl2onnx"

# What skl2onnx's own converter for MLPClassifier takes; and raw scores, for what asks for the decision function.
OPTIONS = {
    "zipmap": [True, False, "columns"],
    "output_class_labels": [False, True],
    "nocl": [True, False],
    "raw_scores": [True, False],
}


def register(*estimators: type) -> None:
    """Tell skl2onnx how to convert estimators."""
    from skl2onnx import update_registered_converter

    for estimator in estimators:
        options = OPTIONS if is_classifier(estimator()) else None
        alias = f"Fastgd{estimator.__name__}"
        update_registered_converter(estimator, alias, infer_shapes, convert, options=options)


def register_when_imported(*estimators: type) -> None:
    """Do so now if skl2onnx has been imported, else right after it is."""
    if MODULE in sys.modules:
        register(*estimators)
    else:
        sys.meta_path.insert(0, AfterImport(MODULE, lambda: register(*estimators)))


class AfterImport(MetaPathFinder):
    """Does something when a module has been imported for the first time, and nothing else.

    Parameters
    ----------
    module : str
    action : callable
    """

    def __init__(self, module: str, action: Callable[[], None]) -> None:
        self.module, self.action = module, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The way the module is imported without this, followed by the action."""
        if fullname != self.module:
            return None
        found = (each.find_spec(fullname, path, target) for each in sys.meta_path if each is not self)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                # Not before: whoever asks for a specification may not import what it specifies.
                sys.meta_path.remove(self)
                self.action()

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec


def infer_shapes(operator: Any) -> None:
    """Set types and shapes of an operator's outputs, as skl2onnx has it done before it converts.

    Raises
    ------
    RuntimeError
        If the estimator stands in a pipeline before others, which get its hidden features from scikit-learn.
    """
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    estimator, n_rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    readers = [each for each in operator.scope_inst.operators.values() if set(each.inputs) & set(operator.outputs)]
    if any(hasattr(each.raw_operator, "fit") for each in readers):
        expected, remedy = "one at the end of its pipeline", "convert the steps before and after it by themselves"
        raise RuntimeError(refusal("to_onnx", f"{estimator!r} before other estimators", expected, remedy))
    if not is_classifier(estimator):
        calculate_linear_regressor_output_shapes(operator)
        operator.outputs[0].type.shape = [n_rows, getattr(estimator, "n_outputs_", 1)]
        return
    label_table(estimator.classes_)
    calculate_linear_classifier_output_shapes(operator)
    if estimator._is_multilabel:
        operator.outputs[0].type.shape = [n_rows, estimator.n_outputs_]


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add an estimator to the model that skl2onnx is making.

    Raises
    ------
    RuntimeError
        If that is for an operator set that lacks some operators.
    """
    from skl2onnx.common._apply_operation import apply_cast, apply_identity
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.common.utils_classifier import get_label_classes

    estimator, rows = operator.raw_operator, operator.inputs[0]
    if container.target_opset < OPSET:
        expected = f"{OPSET} or later for {estimator!r}"
        raise RuntimeError(refusal("target_opset", str(container.target_opset), expected, f"pass target_opset={OPSET}"))
    predictor = estimator._predictor("float64" if isinstance(rows.type, DoubleTensorType) else "float32")
    classes = None
    if is_classifier(estimator):
        classes = get_label_classes(scope, estimator)
        if container.get_options(estimator, {"raw_scores": False})["raw_scores"]:
            predictor = replace(predictor, link="linear")
    graph = Graph(predictor.dtype.name)
    results = add_outputs(estimator, predictor, Value(graph, INPUT), classes)

    names = {INPUT: scope.get_unique_variable_name(INPUT)}
    element = _element(np.empty(0, predictor.dtype))
    apply_cast(scope, rows.full_name, names[INPUT], container, to=element)
    for name, array in arrays_of(graph).items():
        names[name] = scope.get_unique_variable_name(name)
        container.add_initializer(names[name], _element(array), array.shape, array.ravel().tolist())
    for node in graph.nodes:
        names[node.output] = scope.get_unique_variable_name(node.output)
        name = scope.get_unique_operator_name(node.operator)
        inputs = [names[each] for each in node.inputs]
        container.add_node(node.operator, inputs, names[node.output], name=name, **node.attributes)
    for variable, (value, _) in zip(operator.outputs, results.values(), strict=True):
        apply_identity(scope, names[value.name], variable.full_name, container)


def _element(array: Any) -> int:
    """The number that ONNX has for the type of an array's elements."""
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
