"""Fitted estimators in files: their parameters, and each fitted attribute by what kind of thing it is.

Numbers of any amount are tensors, under the attribute's name; the network of a multilayer perceptron is a model as
`fastgd.Sequential.save` writes it. All else is JSON. Files are read in two steps: what tensors there have to be, and,
once the header has been compared with that, what they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from .._checkpoint.configuration import functions_in, to_plain
from .._checkpoint.container import Container, Expected, write_container
from .._formula import Loss
from ..errors import refusal
from ..model import Sequential
from .calibration import METHODS
from .calibrators import CURVES, LEARNT, calibrator_of, n_calibrators, numbers_of
from .parameters import NUMBERS, parameter_of_plain, parameter_to_plain
from .solvers import Times

if TYPE_CHECKING:
    from .._kernels import Array

__all__ = ["Saved", "read_estimator"]

PARTS = ("class", "parameters", "attributes")
LARGEST_CODE_POINT = 0x10FFFF

Tensors = dict[str, "Array"]


@dataclass(frozen=True)
class Pending:
    """An attribute whose tensors are known, and what makes it of them after `Container.compare`."""

    expected: Expected
    finish: Callable[[], Any]


def at_once(value: Any) -> Pending:
    """What needs no tensor."""
    return Pending({}, lambda: value)


# ------------------------------------------------------------------------------------------------ kinds of attributes
@dataclass(frozen=True)
class Kind:
    """How an attribute is written and read; `optional` ones may be missing."""

    optional: bool = False

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        """The value as JSON; what is large goes to the tensors, under names that begin with `where`."""
        return to_plain(value)

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        """The value again; `plain` may be anything.

        Raises
        ------
        ValueError
        """
        raise NotImplementedError


class Whole(Kind):
    """A whole number of at least 0."""

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        return at_once(container.count(where, plain))


class Real(Kind):
    """A number, which may be infinite or NaN, or None."""

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        value = container.plain_object(where, plain)
        if value is not None and type(value) not in (float, int):
            raise container.damaged(where, plain, "a number")
        return at_once(value)


class Text(Kind):
    """A name."""

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        if not isinstance(plain, str):
            raise container.damaged(where, plain, "text")
        return at_once(plain)


class Names(Kind):
    """An array of text, of dtype object."""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        return [str(name) for name in value]

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        if not isinstance(plain, list) or not all(isinstance(name, str) for name in plain):
            raise container.damaged(where, plain, "a list of names")
        return at_once(np.array(plain, object))


class Curve(Kind):
    """A list of numbers, or None."""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        if value is None:
            return None
        tensors[where] = np.array(value, np.float64)
        return "numbers"

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        if plain not in (None, "numbers"):
            raise container.damaged(where, plain, "'numbers' or null")
        if plain is None:
            return at_once(None)
        shape = container.shape(where, 1)
        return Pending({where: (shape, "float64")}, lambda: container.array(where).tolist())


@dataclass(frozen=True)
class Numbers(Kind):
    """An array of finite numbers, or None."""

    dtypes: tuple[str, ...] = ("float32", "float64")

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        if value is None:
            return None
        tensors[where] = value
        return {"dimensions": value.ndim, "dtype": value.dtype.name}

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        if plain is None:
            return at_once(None)
        container.exactly(where, plain, ("dimensions", "dtype"))
        if plain["dimensions"] not in (1, 2) or plain["dtype"] not in self.dtypes:
            raise container.damaged(where, plain, f"1 or 2 dimensions, dtype {' or '.join(self.dtypes)}")
        shape = container.shape(where, plain["dimensions"])
        return Pending({where: (shape, plain["dtype"])}, lambda: container.finite(where))


class Labels(Kind):
    """Classes in rising order: numbers, truth values, or text, the last as code points; dtype object as a list."""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        if value.dtype.kind == "O" and all(isinstance(label, (str, bool, int, float)) for label in value):
            return [to_plain(label) for label in value]
        if value.dtype.kind == "U":
            native = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
            tensors[where] = native.view(np.uint32).reshape(len(value), -1)
            return "text"
        if value.dtype.name not in NUMBERS:
            expected, remedy = "numbers, truth values or text", "encode y, for example by LabelEncoder"
            raise TypeError(refusal(f"save: {where}", f"dtype {value.dtype}", expected, remedy))
        tensors[where] = value
        return value.dtype.name

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        def rising(labels: Array) -> Array:
            try:
                fine = len(labels) > 0 and bool(np.all(labels[:-1] < labels[1:]))
            except TypeError:
                fine = False
            if not fine:
                raise container.damaged(where, labels.tolist(), "different labels in rising order")
            return labels

        if isinstance(plain, list):
            labels = np.empty(len(plain), object)
            labels[:] = [container.plain_object(where, label) for label in plain]
            if not all(isinstance(label, (str, bool, int, float)) for label in labels):
                raise container.damaged(where, plain, "a list of labels")
            return at_once(rising(labels))
        if plain == "text":
            expected = {where: (container.shape(where, 2), "uint32")}
            return Pending(expected, lambda: rising(_text_of(container, where)))
        if not isinstance(plain, str) or plain not in NUMBERS:
            raise container.damaged(where, plain, f"a list, 'text' or one of {', '.join(NUMBERS)}")
        return Pending({where: (container.shape(where, 1), plain)}, lambda: rising(container.array(where)))


def _text_of(container: Container, where: str) -> Array:
    codes = container.array(where)
    if not codes.size or codes.max() > LARGEST_CODE_POINT:
        raise container.damaged(where, f"shape {codes.shape}", "code points of text")
    text: Array = np.ascontiguousarray(codes).view(f"<U{codes.shape[1]}")[:, 0]
    return text


class TypeOfY(Kind):
    """scikit-learn's LabelBinarizer, of which the classes are an attribute of their own."""

    TYPES = ("binary", "multiclass", "multilabel-indicator", "sparse multilabel-indicator")

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        return f"sparse {value.y_type_}" if value.sparse_input_ else value.y_type_

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        if plain not in self.TYPES:
            raise container.damaged(where, plain, f"one of {', '.join(self.TYPES)}")
        binarizer = LabelBinarizer()
        binarizer.y_type_, binarizer.sparse_input_ = plain.removeprefix("sparse "), plain.startswith("sparse ")
        return at_once(binarizer)


class Calibrator(Kind):
    """What turns scores into probabilities."""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        for k, numbers in enumerate(numbers_of(value)):
            tensors.update({f"{where}.{k}.{name}": array for name, array in numbers.items()})
        return {"method": value.method, "n_classes": len(value.classes_)}

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        container.exactly(where, plain, ("method", "n_classes"))
        method, n_classes = plain["method"], container.count(f"{where}: n_classes", plain["n_classes"])
        if not isinstance(method, str) or method not in METHODS.options or not 2 <= n_classes <= len(container.tensors):
            raise container.damaged(where, plain, "a method of calibration, and two classes or more")
        parts = range(n_calibrators(method, n_classes))
        names = [{name: f"{where}.{k}.{name}" for name in LEARNT[method]} for k in parts]
        # Thresholds are as many as they are, but those of one kind as many as those of the other.
        lengths = [container.shape(next(iter(each.values())), 1) if method in CURVES else (1,) for each in names]
        expected = {
            tensor: (shape, "float64") for each, shape in zip(names, lengths, strict=True) for tensor in each.values()
        }
        if (0,) in lengths:
            raise container.damaged(where, plain, "numbers for each class")

        def finish() -> Any:
            numbers = [{name: container.finite(tensor) for name, tensor in each.items()} for each in names]
            return calibrator_of(method, n_classes, numbers)

        return Pending(expected, finish)


class DeclaredLoss(Kind):
    """A loss."""

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        loss = container.plain_object(where, plain)
        if not isinstance(loss, Loss):
            raise container.damaged(where, plain, "a loss")
        return at_once(loss)


class Network(Kind):
    """A model. Its learning rate may be a parameter of the estimator times a number, which is written beside."""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        described, own = value._described()
        rate, times = value.optimizer.learning_rate, 1
        if isinstance(rate, Times):
            described["settings"]["optimizer"]["arguments"]["learning_rate"] = to_plain(rate.schedule)
            times = rate.factor
        tensors.update({f"{where}.{name}": array for name, array in own.items()})
        return {"model": described, "times": times}

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        container.exactly(where, plain, ("model", "times"))
        times = container.count(f"{where}: times", plain["times"])
        reader = Sequential._reader(container, plain["model"], f"{where}.")
        model = Sequential._of_file(reader, {})
        if times != 1:
            optimizer: Any = model.optimizer
            optimizer.learning_rate = Times(times, optimizer.learning_rate)

        def finish() -> Sequential:
            model._adopt(reader.read())
            return model

        return Pending(model._expected(reader), finish)


@dataclass(frozen=True)
class Inner(Kind):
    """An estimator of that class."""

    name: str = ""

    def plain(self, value: Any, where: str, tensors: Tensors) -> Any:
        return describe(value, tensors, f"{where}.")

    def read(self, plain: Any, where: str, container: Container) -> Pending:
        name = container.exactly(where, plain, PARTS)["class"]
        if name != self.name:
            raise container.damaged(f"{where}: class", name, f"{self.name!r}")
        return read(container, plain, f"{where}.")


# ----------------------------------------------------------------------------------------------- what estimators have
EVERY = {"n_features_in_": Whole(), "feature_names_in_": Names(optional=True), "n_iter_": Whole()}
MULTILAYER = {
    **EVERY,
    "t_": Whole(),
    "n_layers_": Whole(),
    "n_outputs_": Whole(),
    "out_activation_": Text(),
    "loss_": Real(optional=True),
    "best_loss_": Real(),
    "best_validation_score_": Real(),
    "loss_curve_": Curve(),
    "validation_loss_curve_": Curve(),
    "validation_scores_": Curve(),
    "_no_improvement_count": Whole(),
    "_model": Network(),
}
LINEAR = {
    **EVERY,
    "t_": Real(),
    "coef_": Numbers(),
    "intercept_": Numbers(),
    "_standard_coef": Numbers(optional=True),
    "_standard_intercept": Numbers(optional=True),
    "_average_coef": Numbers(optional=True),
    "_average_intercept": Numbers(optional=True),
    "validation_scores_": Curve(),
}
CLASSES = {
    "classes_": Labels(),
    "_class_counts": Numbers(optional=True, dtypes=("int64", "float64")),
    "calibrator_": Calibrator(optional=True),
}
ATTRIBUTES: dict[str, Mapping[str, Kind]] = {
    "MLPAutoencoder": {**EVERY, "regressor_": Inner(name="MLPRegressor")},
    "MLPClassifier": {**MULTILAYER, **CLASSES, "_label_binarizer": TypeOfY()},
    "MLPRegressor": MULTILAYER,
    "SGDClassifier": {**LINEAR, **CLASSES, "_loss_function_": DeclaredLoss()},
    "SGDRegressor": LINEAR,
}
"""By the name of the class."""

# What follows from the rest, or is said again by every fit; and how scikit-learn routes metadata and wraps results,
# which a program says when it makes an estimator, as it does its callbacks.
LEFT_OUT = {
    *("_random_state", "_expanded_class_weight"),
    *("_metadata_request", "_sklearn_output_config", "_skl_callbacks"),
}


# ---------------------------------------------------------------------------------------------------- whole estimators
class Saved:
    """Gives an estimator `save`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file: `fastgd.load` reads it, in another process too.

        Needs the safetensors library: ``pip install "fastgd[io]"``.

        Parameters
        ----------
        path : path
            Replaced if it exists, in one step: killed at any moment, the old or the new file is there, whole.

        Raises
        ------
        NotFittedError
        ImportError
            If safetensors is not installed.
        OSError
            If the file cannot be written; it is then as it was.
        TypeError
            If a parameter or the classes are what no file can hold, such as a function; for a subclass.

        Notes
        -----
        What is read predicts the same bits; and `partial_fit`, or `fit` with `warm_start`, goes on to the same bits,
        but for a `random_state` of None, which is the process's. Other than in a pickle there is nothing in the file
        that could be executed. Callbacks, routing of metadata and `set_output` are not in it.

        Examples
        --------
        >>> import fastgd as fg
        >>> from fastgd.sklearn import SGDClassifier
        >>> classifier = SGDClassifier(random_state=0).fit([[0.0], [1.0]], ["no", "yes"])
        >>> classifier.save("classifier.safetensors")  # doctest: +SKIP
        >>> fg.load("classifier.safetensors").predict([[1.0]])  # doctest: +SKIP
        array(['yes'], dtype='<U3')
        """
        from .. import __version__

        check_is_fitted(self)
        tensors: Tensors = {}
        described = {"estimator": describe(self, tensors, "")}
        write_container(os.fspath(path), described, tensors, __version__, f"{type(self).__name__}.save")


def describe(estimator: Any, tensors: Tensors, prefix: str) -> dict[str, Any]:
    """A fitted estimator as plain data and tensors."""
    name, state = type(estimator).__name__, estimator.__getstate__()
    if not type(estimator).__module__.startswith(__package__) or name not in ATTRIBUTES:
        expected, remedy = f"one of {', '.join(ATTRIBUTES)} itself", "keep a subclass as a pickle"
        raise TypeError(refusal("save", f"a {name}", expected, remedy))
    kinds, names = ATTRIBUTES[name], written_parameters(estimator)
    # Older versions of scikit-learn have more in a new one than its parameters.
    for other in set(state) - set(vars(type(estimator)())) - set(kinds) - LEFT_OUT:
        expected, remedy = "attributes that a file has", f"del estimator.{other}, or keep it as a pickle"
        raise TypeError(refusal("save", f"a {name} with {other!r}", expected, remedy))
    parameters = {each: parameter_to_plain(state[each], each) for each in names}
    attributes = {
        each: kind.plain(state[each], f"{prefix}{each}", tensors) for each, kind in kinds.items() if each in state
    }
    for function in functions_in(attributes):
        remedy = "set the parameter that it is, and fit again"
        raise TypeError(refusal("save", f"a {name} that was fitted with {function}", "something of fastgd's", remedy))
    return {"class": name, "parameters": parameters, "attributes": attributes}


def written_parameters(estimator: Any) -> list[str]:
    """Names of the parameters that a file has; callbacks are objects of whatever the user wrote."""
    return [name for name in estimator._get_param_names() if name != "callbacks"]


def read_estimator(container: Container) -> Any:
    """The estimator of a file.

    Parameters
    ----------
    container : Container

    Raises
    ------
    ValueError
        If it is not what `Saved.save` writes.
    """
    body = container.exactly("metadata", container.body(), ("estimator",))
    try:
        pending = read(container, body["estimator"], "")
    except RecursionError:
        raise container.damaged("estimator", "lists in lists without end", "what fastgd writes") from None
    container.compare(pending.expected)
    return pending.finish()


def read(container: Container, plain: Any, prefix: str) -> Pending:
    """An estimator of which parameters and JSON have been read."""
    from .. import sklearn as estimators

    parts = container.exactly(f"{prefix}estimator", plain, PARTS)
    name = parts["class"]
    if not isinstance(name, str) or name not in ATTRIBUTES:
        raise container.damaged(f"{prefix}class", name, f"one of {', '.join(ATTRIBUTES)}")
    made, kinds = getattr(estimators, name), ATTRIBUTES[name]
    given = container.exactly(f"{prefix}parameters", parts["parameters"], written_parameters(made))
    parameters = {each: parameter_of_plain(value, f"{prefix}{each}", container) for each, value in given.items()}
    estimator = _made(made, parameters, container.path)
    required = [each for each, kind in kinds.items() if not kind.optional]
    optional = [each for each, kind in kinds.items() if kind.optional]
    attributes = container.exactly(f"{prefix}attributes", parts["attributes"], required, optional)
    pending = {each: kinds[each].read(value, f"{prefix}{each}", container) for each, value in attributes.items()}

    def finish() -> Any:
        for each, one in pending.items():
            setattr(estimator, each, one.finish())
        if hasattr(estimator, "_label_binarizer"):
            estimator._label_binarizer.classes_ = estimator.classes_
        for what, got, expected in contradictions(estimator):
            if got != expected:
                raise container.damaged(f"{prefix}{what}", got, f"{expected}, which goes with the rest")
        return estimator

    return Pending({key: each for one in pending.values() for key, each in one.expected.items()}, finish)


def _made(made: type, parameters: dict[str, Any], path: str) -> Any:
    """An estimator with these parameters, which scikit-learn has checked."""
    estimator = made(**parameters)
    try:
        estimator._validate_params()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return estimator


def contradictions(estimator: Any) -> Iterable[tuple[str, Any, Any]]:
    """What attributes have to agree in: where, what there is, what there should be."""
    n_features = estimator.n_features_in_
    if hasattr(estimator, "feature_names_in_"):
        yield "feature_names_in_", len(estimator.feature_names_in_), n_features
    if hasattr(estimator, "regressor_"):
        yield "regressor_: n_features_in_", estimator.regressor_.n_features_in_, n_features
        return
    n_classes = len(estimator.classes_) if is_classifier(estimator) else 0
    if hasattr(estimator, "calibrator_"):
        yield "calibrator_", len(estimator.calibrator_.classes_), n_classes
    if not hasattr(estimator, "_model"):
        outputs = (n_classes,) if n_classes > 2 else (1,)
        yield "coef_", estimator.coef_.shape, (*(outputs if n_classes else ()), n_features)
        yield "intercept_", estimator.intercept_.shape, outputs
        for kind in ("standard", "average"):
            for name in ("coef", "intercept"):
                array = getattr(estimator, f"_{kind}_{name}", None)
                if array is not None:
                    yield f"_{kind}_{name}", array.shape, getattr(estimator, f"{name}_").shape
        return
    model, n_outputs = estimator._model, estimator.n_outputs_
    yield "n_features_in_", n_features, model.n_inputs
    yield "n_outputs_", n_outputs * (1 if model.loss is None else model.loss.outputs_per_target), model.n_outputs
    if n_classes:
        several = estimator._is_multilabel or n_outputs > 1
        yield "classes_", n_classes, n_outputs if several else min(n_classes, 2)
