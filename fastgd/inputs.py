"""The Python door: what a user hands in becomes what the engine takes, or is refused.

Everything that can be wrong is found here, once, before anything is changed. A refusal says what was wrong and where,
what was found, what was expected, and what to try. X is never copied unless its element type is none of the engine's.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import activations as _activations  # noqa: F401  (fills the registry)
from . import losses as _losses  # noqa: F401  (fills the registry)
from ._formula import ACTIVATIONS, LOSSES, Activation, Loss, get
from ._formula.declare import Declaration
from ._kernels import SparseRows
from ._kernels.contracts import REAL_DTYPES, overlap
from .errors import refusal

if TYPE_CHECKING:
    from ._kernels import Array

FindNonfinite = Callable[[Any, Any], "tuple[int, int] | None"]

NUMBER_CLASSES = "number the classes from 0: classes, y = np.unique(y, return_inverse=True)"

MOST_OUTPUTS_OF_ROW_FUNCTION = 1 << 14

AS_ZERO_AND_ONE = "map two classes to 0 and 1: ({name} == {name}.max()).astype(np.float32)"


def _normal(array: Array) -> Array:
    """Which numbers are not zero, nor so small that the engine takes them for zero."""
    normal: Array = np.abs(array) >= np.finfo(array.dtype).smallest_normal
    return normal


# For each kind of target that not every number is: which are, how the error says so, and what to try.
TARGET_KINDS: dict[str, tuple[Callable[[Array], Array], str, str]] = {
    "probability": (lambda a: (a >= 0.0) & (a <= 1.0), "a probability from 0 to 1", AS_ZERO_AND_ONE),
    "sign": (lambda a: (np.abs(a) == 1.0) | (a == 0.0), "1 for one class, 0 or -1 for the other", AS_ZERO_AND_ONE),
    "nonnegative": (lambda a: a >= 0.0, "a number of at least 0", "leave such rows out, or use another loss"),
    "positive": (lambda a: (a > 0.0) & _normal(a), "a number above 0", "leave such rows out, or use loss='tweedie'"),
    "nonzero": (_normal, "a number other than 0", "leave such rows out, or use loss='mean_absolute_error'"),
}


@dataclass(frozen=True)
class Rows:
    """Checked data: X (n, n_inputs), dense or sparse, targets as the loss takes them, float64 weights or None."""

    X: Array | SparseRows
    targets: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.X)


# ------------------------------------------------------------------------------------------------- single values
def read_count(name: str, value: Any, remedy: str) -> int:
    """A whole number of at least 1."""
    try:
        number = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        raise TypeError(refusal(name, repr(value), "a whole number of at least 1", remedy)) from None
    if number < 1:
        raise ValueError(refusal(name, repr(value), "a whole number of at least 1", remedy))
    return number


def read_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(refusal(name, repr(value), "True or False", f"pass {name}=True"))
    return bool(value)


def read_batch_size(value: Any, n_rows: int) -> int:
    """Rows per step: a number up to `n_rows`, None for all of them, ``"auto"`` for 32 or all if these are fewer."""
    if value is None:
        return n_rows
    if isinstance(value, str) and value == "auto":
        return min(32, n_rows)
    batch_size = read_count("batch_size", value, "pass batch_size=32, or None for the full batch")
    if batch_size > n_rows:
        expected = f"at most {n_rows}, the number of rows of X"
        raise ValueError(refusal("batch_size", str(batch_size), expected, "pass batch_size=None for the full batch"))
    return batch_size


def read_seed(value: Any) -> int:
    """A 64-bit seed; None draws one from the operating system."""
    if value is None:
        return int.from_bytes(os.urandom(8), "little")
    expected = "a whole number from 0 to 2**64 - 1, or None"
    try:
        seed = -1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        raise TypeError(refusal("seed", repr(value), expected, "pass seed=0")) from None
    if not 0 <= seed < 1 << 64:
        raise ValueError(refusal("seed", repr(value), expected, "pass seed=0"))
    return seed


def read_dtype(value: Any) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    for known in REAL_DTYPES:
        # Equal dtypes need not be the same object, and the quick checks below compare objects.
        if value is not None and dtype == known:
            return known
    raise ValueError(refusal("dtype", repr(value), "'float32' or 'float64'", "pass dtype='float32'"))


def read_activation(given: Any) -> Activation:
    """An activation or the one of that name."""
    if isinstance(given, str) and given == "softmax":
        remedy = "use loss='softmax_cross_entropy', which applies softmax itself, or add a layer fg.Softmax()"
        raise ValueError(refusal("activation", "'softmax'", "a function of one element", remedy))
    activation = get(ACTIVATIONS, given)
    if not isinstance(activation, Activation):
        expected = f"a name or an activation; known: {', '.join(ACTIVATIONS)}"
        raise TypeError(refusal("activation", repr(given), expected, "pass for example activation='relu'"))
    return activation


def read_loss(given: Any) -> Loss:
    """A loss or the one of that name."""
    loss = get(LOSSES, given)
    if not isinstance(loss, Loss):
        expected = f"a name or a loss; known: {', '.join(LOSSES)}"
        raise TypeError(refusal("loss", repr(given), expected, "pass for example loss='mean_squared_error'"))
    return loss


def spelled(declared: Declaration, registry: Mapping[str, Declaration]) -> str:
    """How to write what is declared in a call: its name in quotes, or with what it was configured with."""
    if registry.get(declared.name) == declared:
        return repr(declared.name)
    inside = ", ".join(f"{name}={value!r}" for name, value in declared.parameters.items())
    return f"{declared.name}({inside})"


# ----------------------------------------------------------------------------------------------------------- X
def read_features(
    X: Any, n_inputs: int | None, dtype: np.dtype[Any], first_nonfinite: FindNonfinite, name: str = "X"
) -> Array | SparseRows:
    """X as a 2-D array of numbers that the engine can read where it lies, read-only or not; or as sparse rows.

    Parameters
    ----------
    X : array_like or SciPy sparse
    n_inputs : int or None
        Columns that the model expects; None if it takes what comes.
    dtype : dtype
        The model's; every value has to be finite in it.
    first_nonfinite : callable
        The backend's.
    name : str
        How errors call it.

    Raises
    ------
    TypeError
        If it does not consist of real numbers.
    ValueError
        If the shape is wrong, or a value is NaN, infinite or too large for the dtype.
    """
    array = X if is_sparse(X) else real_array(X, name)
    if array.ndim != 2:
        remedy = "pass rows of features"
        if array.ndim == 1:
            remedy = f"use {name}.reshape(1, -1) if it is one row, {name}.reshape(-1, 1) if it is one column"
        expected = f"a 2-D array (rows, {n_inputs or 'columns'})"
        raise ValueError(refusal(name, f"a {array.ndim}-D array of shape {array.shape}", expected, remedy))
    if 0 in array.shape:
        raise ValueError(refusal(name, f"shape {array.shape}", "at least one row and one column", "pass some data"))
    if n_inputs is not None and array.shape[1] != n_inputs:
        expected = f"{n_inputs}, as many as the model was built with"
        remedy = "pass the features it was built for, or call model.build again to start afresh"
        raise ValueError(refusal(name, f"{array.shape[1]} columns", expected, remedy))
    if is_sparse(X):
        return _sparse_rows(X, dtype, first_nonfinite, name)
    refuse_nonfinite(array, dtype, first_nonfinite, name)
    return array


def is_sparse(given: Any) -> bool:
    """Whether it is a matrix or array of SciPy's that stores some elements only."""
    # Who has such an object has imported the module.
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(given))


# The engine counts columns by 32 bits. As many weights would take 8 GB for each unit.
MOST_SPARSE_COLUMNS = 2**31 - 1


def _sparse_rows(X: Any, dtype: np.dtype[Any], first_nonfinite: FindNonfinite, name: str) -> SparseRows:
    """A SciPy matrix or array of at least one row and column, whatever its format, by rows; CSR is not copied."""
    if X.shape[1] > MOST_SPARSE_COLUMNS:
        remedy = "hash the features into fewer columns"
        raise ValueError(refusal(name, f"{X.shape[1]} columns", f"at most {MOST_SPARSE_COLUMNS}", remedy))
    matrix = X.tocsr()
    starts, columns = np.ascontiguousarray(matrix.indptr, np.intp), np.ascontiguousarray(matrix.indices)
    remedy = f"see {name}.check_format(full_check=True)"
    lengths = np.diff(starts)
    if starts[0] != 0 or starts[-1] > min(len(columns), len(matrix.data)) or lengths.min() < 0:
        expected = "row pointers from 0 up to the number of elements stored, never falling"
        raise ValueError(refusal(f"{name}.indptr", f"{starts[0]} to {starts[-1]}", expected, remedy))
    columns = columns[: starts[-1]]
    if len(columns) and not (0 <= columns.min() and columns.max() < X.shape[1]):
        place = int(np.flatnonzero((columns < 0) | (columns >= X.shape[1]))[0])
        row = int(np.searchsorted(starts, place, side="right")) - 1
        got, expected = f"column {columns[place]} in row {row}", f"columns from 0 to {X.shape[1] - 1}"
        raise ValueError(refusal(f"{name}.indices", got, expected, remedy))
    values = np.ascontiguousarray(real_array(matrix.data, name)[: starts[-1]])
    found = first_nonfinite(values[None, :], dtype) if values.dtype.kind == "f" and len(values) else None
    if found is not None:
        row = int(np.searchsorted(starts, found[1], side="right")) - 1
        raise ValueError(_nonfinite(f"{name}[{row}, {columns[found[1]]}]", values[found[1]], dtype))
    return SparseRows(values, columns, starts, X.shape[1])


def real_array(given: Any, name: str) -> Array:
    """An aligned array of native real numbers of at most 8 bytes; the given one or a view of it where it is that."""
    if isinstance(given, np.ma.MaskedArray):
        remedy = f"fill what is masked: {name}.filled(0), or drop those rows"
        raise TypeError(refusal(name, "a masked array", "numbers without a mask", remedy))
    if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
        given = _from_dlpack(given, name)
    try:
        array = np.asarray(given)
    except ValueError:
        remedy = "make all rows equally long"
        raise ValueError(refusal(name, "rows of different lengths", "an array of numbers", remedy)) from None
    if array.dtype.kind not in "fiub":
        got = "None" if given is None else f"dtype {array.dtype}"
        raise TypeError(refusal(name, got, "real numbers", _conversion(given, array, name)))
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype not in REAL_DTYPES:
        dtype = REAL_DTYPES[dtype.itemsize > 4]
    if array.dtype == dtype and array.flags.aligned:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _from_dlpack(given: Any, name: str) -> Array:
    """The array of another library, where it lies."""
    try:
        return np.from_dlpack(given)
    except (BufferError, RuntimeError, ValueError, TypeError) as error:
        got = f"a {type(given).__name__} that NumPy cannot read ({error})"
        raise TypeError(refusal(name, got, "numbers in the processor's memory", "copy it there first")) from None


def _conversion(given: Any, array: Array, name: str) -> str:
    """What to try with an array that is not of real numbers."""
    if array.dtype.kind == "c":
        return f"pass {name}.real, or the real and the imaginary part as columns of their own"
    if array.dtype.kind in "USO" and getattr(given, "toarray", None) is not None:
        return f"make it dense: {name}.toarray()"
    if array.dtype.kind in "mM":
        return f"convert it to numbers, such as ({name} - {name}.min()) / np.timedelta64(1, 'D')"
    if name.endswith("y"):
        return NUMBER_CLASSES
    return f"convert it: np.asarray({name}, dtype=np.float32); text has to be encoded as numbers first"


def refuse_nonfinite(array: Array, dtype: np.dtype[Any], first_nonfinite: FindNonfinite, name: str) -> None:
    """Refuse a 2-D array that has a NaN, an infinity, or a number that becomes infinite in `dtype`."""
    if array.dtype.kind != "f":
        return
    found = first_nonfinite(array, dtype)
    if found is None:
        return
    raise ValueError(_nonfinite(f"{name}[{found[0]}, {found[1]}]", array[found], dtype))


def _nonfinite(what: str, value: Any, dtype: np.dtype[Any]) -> str:
    expected, remedy = "a finite number", "remove or replace such rows, for example with np.nan_to_num"
    if np.isfinite(value):
        expected = f"a number that {dtype} can hold, up to {np.finfo(dtype).max:.3g}"
        remedy = "scale it, or make the model with dtype='float64'"
    return refusal(what, str(value), expected, remedy)


# ----------------------------------------------------------------------------------------------------------- y
def read_targets(
    y: Any,
    loss: Loss,
    n_rows: int,
    n_outputs: int,
    dtype: np.dtype[Any],
    first_nonfinite: FindNonfinite,
    name: str = "y",
) -> Array:
    """Targets as the loss takes them: intp labels (n,) or rows (n, n_targets) of the model's dtype, C-contiguous.

    Parameters
    ----------
    y : array_like
    loss : Loss
        ``loss.target`` says which kinds are admitted.
    n_rows, n_outputs : int
    dtype : dtype
    first_nonfinite : callable
    name : str

    Raises
    ------
    TypeError
        If it does not consist of numbers of the kind that the loss takes.
    ValueError
        If the shape is wrong, or a value is not finite or out of range.
    """
    array = real_array(y, name)
    by_class, n_targets = loss.by_class, n_outputs // loss.outputs_per_target
    if array.ndim not in (1, 2):
        expected = f"shape ({n_rows},)" if loss.takes_labels or n_targets == 1 else f"shape ({n_rows}, {n_targets})"
        raise ValueError(refusal(name, f"shape {array.shape}", expected, "pass one target for each row of X"))
    if len(array) != n_rows:
        expected = f"{n_rows}, one for each row of X"
        raise ValueError(refusal(name, f"{len(array)} rows", expected, "pass X and y of the same length"))
    if loss.compares_rows:
        return _identities(array, loss, n_rows, name)
    if by_class and array.ndim == 1:
        return _labels(array, loss, n_outputs, name)
    if array.ndim == 1 and n_targets == 1:
        array = array[:, None]
    if array.shape != (n_rows, n_targets):
        remedy = _reshaping(array, loss, n_outputs, name)
        raise ValueError(refusal(name, f"shape {array.shape}", f"shape ({n_rows}, {n_targets})", remedy))
    refuse_nonfinite(array, dtype, first_nonfinite, name)
    if loss.target == "label":
        return _labels_of_one_hot(array, loss, name)
    targets = np.ascontiguousarray(array, dtype)
    if loss.target == "direction":
        _refuse_zero_rows(targets, loss, name)
    elif loss.target != "real":
        _refuse_outside(targets, loss, name)
    if loss.target == "class":
        _refuse_sums(array, loss, name)
    return targets


def _reshaping(array: Array, loss: Loss, n_outputs: int, name: str) -> str:
    """What to try with targets whose shape does not fit the outputs."""
    if loss.by_class:
        return f"{name}.ravel() makes labels of a single column" if array.shape[1] == 1 else "pass labels (n,)"
    if array.ndim == 1 and array.dtype.kind in "iub":
        return f"if these are labels of {n_outputs} classes, use loss='softmax_cross_entropy'"
    if loss.outputs_per_target > 1:
        return f"give the last layer {loss.outputs_per_target} units for each column of y"
    return "give the last layer as many units as y has columns"


def _labels(array: Array, loss: Loss, n_outputs: int, name: str) -> Array:
    expected = f"whole numbers from 0 to {n_outputs - 1} (labels for {loss.name})"
    if array.dtype.kind == "f":
        remedy = f"{name}.astype(int) if these are labels; one-hot rows have shape (n, {n_outputs})"
        raise TypeError(refusal(name, f"dtype {array.dtype}", expected, remedy))
    if array.dtype.kind != "b":
        wrong = np.flatnonzero((array < 0) | (array >= n_outputs))
        if len(wrong):
            row = int(wrong[0])
            remedy = f"{NUMBER_CLASSES}; or give the last layer as many units as there are classes"
            raise ValueError(refusal(f"{name}[{row}]", str(array[row]), expected, remedy))
    return np.ascontiguousarray(array, np.intp)


def _identities(array: Array, loss: Loss, n_rows: int, name: str) -> Array:
    """Integers that are the same for rows that belong together."""
    expected = f"one whole number for each of {n_rows} rows, the same for rows that belong together ({loss.name})"
    if array.shape != (n_rows,):
        remedy = f"{name}.ravel()" if array.size == n_rows else f"np.unique({name}, axis=0, return_inverse=True)[1]"
        raise ValueError(refusal(name, f"shape {array.shape}", expected, remedy))
    if array.dtype.kind == "f":
        remedy = f"{name}.astype(int), or np.unique({name}, return_inverse=True)[1]"
        raise TypeError(refusal(name, f"dtype {array.dtype}", expected, remedy))
    return np.ascontiguousarray(array, np.intp)


def _labels_of_one_hot(array: Array, loss: Loss, name: str) -> Array:
    wrong = np.flatnonzero(~one_hot_rows(array))
    if len(wrong):
        row = int(wrong[0])
        expected = f"a single 1 among zeros ({loss.name} takes labels or one-hot rows)"
        remedy = f"pass labels: {name}.argmax(axis=1)"
        raise ValueError(refusal(f"{name}[{row}]", _row_text(array[row]), expected, remedy))
    return array.argmax(axis=1)


def one_hot_rows(array: Array) -> Array:
    """Which rows are a single 1 among zeros."""
    ones: Array = np.count_nonzero(array == 1, axis=1)
    return (ones == 1) & (np.count_nonzero(array, axis=1) == 1)


def _refuse_outside(array: Array, loss: Loss, name: str) -> None:
    """Refuse targets of another kind than the loss takes; in the model's dtype, in which a tiny number may be zero."""
    admits, expected, remedy = TARGET_KINDS["probability" if loss.target == "class" else loss.target]
    wrong = np.argwhere(~admits(array))
    if len(wrong):
        row, column = (int(i) for i in wrong[0])
        expected = f"{expected} (targets of {loss.name})"
        got = str(array[row, column])
        raise ValueError(refusal(f"{name}[{row}, {column}]", got, expected, remedy.format(name=name)))


def _refuse_zero_rows(array: Array, loss: Loss, name: str) -> None:
    wrong = np.flatnonzero(~_normal(array).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        expected = f"a number other than 0 (targets of {loss.name} have a direction)"
        raise ValueError(refusal(f"{name}[{row}]", _row_text(array[row]), expected, "leave such rows out"))


def _refuse_sums(array: Array, loss: Loss, name: str) -> None:
    # Probabilities are often computed in float32, whatever holds them now: C terms, each rounded once.
    tolerance = array.shape[1] * float(np.finfo(np.float32).eps)
    sums = array.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(sums - 1.0) > tolerance)
    if len(wrong):
        row = int(wrong[0])
        expected = f"1 (rows of probabilities for {loss.name})"
        remedy = f"divide by the sums: {name} / {name}.sum(axis=1, keepdims=True); or pass labels (n,)"
        raise ValueError(refusal(f"sum of {name}[{row}]", f"{sums[row]:.9g}", expected, remedy))


def _row_text(row: Array) -> str:
    return np.array2string(row, threshold=6, edgeitems=2, separator=", ")


# ----------------------------------------------------------------------------------------------------- weights
def read_weights(sample_weight: Any, class_weight: Any, targets: Array, loss: Loss, n_outputs: int) -> Array | None:
    """Weights of rows and of classes as one float64 array (n,), or None.

    Parameters
    ----------
    sample_weight : array_like or None
    class_weight : mapping, "balanced" or None
    targets : ndarray
        As `read_targets` gave them.
    loss : Loss
    n_outputs : int

    Raises
    ------
    TypeError
        If weights are not numbers, or classes are weighted with a loss that has none.
    ValueError
        For a wrong shape, a negative weight or one that is not finite, all weights zero, a class without weight.
    """
    weights = None if sample_weight is None else _sample_weights(sample_weight, len(targets))
    if class_weight is not None:
        by_row = _class_weights(class_weight, *_classes(targets, loss, n_outputs))
        weights = by_row if weights is None else weights * by_row
    if weights is None:
        return None
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if not 0.0 < total < np.inf:
        got = f"weights that sum to {total}" if total else "weights that are all zero"
        name = "sample_weight" if class_weight is None else "sample_weight times class_weight"
        remedy = "weigh at least one row, not beyond what float64 holds; pass None to weigh all rows equally"
        raise ValueError(refusal(name, got, "a finite sum above zero", remedy))
    return weights


def _sample_weights(given: Any, n_rows: int) -> Array:
    array = real_array(given, "sample_weight")
    if array.shape != (n_rows,):
        remedy = "pass one weight for each row of X" if array.size != n_rows else "sample_weight.ravel()"
        raise ValueError(refusal("sample_weight", f"shape {array.shape}", f"shape ({n_rows},)", remedy))
    weights = np.ascontiguousarray(array, np.float64)
    wrong = np.flatnonzero(~((weights >= 0.0) & (weights < np.inf)))
    if len(wrong):
        row = int(wrong[0])
        expected = "a finite number of at least 0"
        raise ValueError(refusal(f"sample_weight[{row}]", str(weights[row]), expected, "use 0 to leave a row out"))
    return weights


def _classes(targets: Array, loss: Loss, n_outputs: int) -> tuple[Array, int]:
    """The class of each row, and how many classes there are."""
    if loss.by_class:
        if targets.ndim == 1:
            return targets, n_outputs
        if one_hot_rows(targets).all():
            return targets.argmax(axis=1), n_outputs
    elif loss.two_sided and n_outputs == 1 and np.isin(targets, (-1, 0, 1)).all():
        return (targets[:, 0] > 0).astype(np.intp), 2
    expected = "a loss over classes, and targets that are labels, one-hot rows, or zeros and ones"
    remedy = "use sample_weight instead"
    raise ValueError(refusal("class_weight", f"targets of {loss.name} without classes", expected, remedy))


def _class_weights(given: Any, labels: Array, n_classes: int) -> Array:
    """The weight of each row by its class."""
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(labels, minlength=n_classes)
        # Rows / (classes that occur * rows of this class), as scikit-learn has it.
        table = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(given, Mapping):
        table = _class_table(given, labels, n_classes)
    else:
        expected = "a dict of label to weight, or 'balanced'"
        raise TypeError(refusal("class_weight", repr(given), expected, "pass for example {0: 1.0, 1: 5.0}"))
    return table[labels]


def _class_table(given: Mapping[Any, Any], labels: Array, n_classes: int) -> Array:
    table = np.full(n_classes, np.nan)
    for label, weight in given.items():
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < n_classes:
            expected = f"a label from 0 to {n_classes - 1}"
            raise ValueError(refusal("class_weight: key", repr(label), expected, "use the labels that y has"))
        number = weight if isinstance(weight, (int, float, np.integer, np.floating)) else -1
        if isinstance(weight, bool) or not 0.0 <= number < np.inf:
            expected = "a finite number of at least 0"
            raise ValueError(refusal(f"class_weight[{label}]", repr(weight), expected, "pass for example 1.0"))
        table[label] = number
    missing = np.flatnonzero(np.isnan(table[labels]))
    if len(missing):
        row = int(missing[0])
        got = f"no weight for class {labels[row]}, which is y[{row}]"
        remedy = f"add {labels[row]}: 1.0"
        raise ValueError(refusal("class_weight", got, "a weight for every class of y", remedy))
    return table


# -------------------------------------------------------------------------------------- arrays of the model itself
def read_output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], X: Array | SparseRows) -> Array:
    """An array to write predictions to: of that shape and dtype, writeable, with no memory of X; any strides."""
    expected = f"a writeable array of shape {shape} and dtype {dtype}"
    remedy = f"make it with np.empty({shape}, np.{dtype})"
    if not isinstance(out, np.ndarray):
        raise TypeError(refusal("out", f"a {type(out).__name__}", expected, remedy))
    if out.dtype != dtype:
        raise TypeError(refusal("out", f"dtype {out.dtype}", expected, remedy))
    if out.shape != shape:
        raise ValueError(refusal("out", f"shape {out.shape}", expected, remedy))
    if not out.flags.writeable:
        raise ValueError(refusal("out", "a read-only array", expected, remedy))
    if any(stride == 0 and length > 1 for stride, length in zip(out.strides, out.shape, strict=True)):
        raise ValueError(refusal("out", "an array that overlaps itself", "memory for every element", remedy))
    if overlap(out, X.values if isinstance(X, SparseRows) else X):
        raise ValueError(refusal("out", "memory that X uses too", "memory of its own", remedy))
    return out


def read_weight_arrays(
    given: Any, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], first_nonfinite: FindNonfinite
) -> list[Array]:
    """Weights of a model, [W1, b1, W2, ...], as C-contiguous arrays of its dtype."""
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        expected = "a list of arrays [W1, b1, W2, ...]"
        raise TypeError(refusal("weights", f"a {type(given).__name__}", expected, "see model.get_weights()"))
    if len(given) != len(shapes):
        expected = f"{len(shapes)}: {', '.join(shapes)}"
        raise ValueError(refusal("weights", f"{len(given)} arrays", expected, "see model.get_weights()"))
    arrays = []
    for k, (item, (of_layer, shape)) in enumerate(zip(given, shapes.items(), strict=True)):
        name = f"weights[{k}] ({of_layer})"
        array = real_array(item, name)
        if array.shape != shape:
            transposed = len(shape) == 2 and array.shape == shape[::-1]
            remedy = f"transpose it: {of_layer}.T" if transposed else "W is (n_inputs, n_outputs), b (n_outputs,)"
            raise ValueError(refusal(name, f"shape {array.shape}", f"shape {shape}", remedy))
        refuse_nonfinite(array.reshape(-1, shape[-1]), dtype, first_nonfinite, name)
        arrays.append(np.ascontiguousarray(array, dtype))
    return arrays


def read_verbose(given: Any) -> int:
    """0 or 1."""
    if isinstance(given, (bool, int, np.integer)) and given in (0, 1):
        return int(given)
    raise ValueError(refusal("verbose", repr(given), "0 or 1", "pass verbose=1 for a line per epoch"))


def read_loss_of(n_outputs: int, given: Any, what: str = "units of the last layer") -> Loss:
    """The loss, if it can be taken of as many outputs as there are; `what` the error calls these."""
    loss, got = read_loss(given), str(n_outputs)
    if loss.by_class and n_outputs < 2:
        expected = f"at least 2, one for each class of {loss.name}"
        remedy = "use Dense(2), or loss='binary_cross_entropy' with one"
        raise ValueError(refusal(what, got, expected, remedy))
    weights = loss.parameters.get("class_weight")
    if weights is not None and len(weights) != n_outputs:
        expected = f"{len(weights)}, as many as class_weight of {loss.name} has"
        raise ValueError(refusal(what, got, expected, f"pass {n_outputs} weights, in the order of the labels"))
    if loss.row_function is not None and n_outputs > MOST_OUTPUTS_OF_ROW_FUNCTION:
        most = MOST_OUTPUTS_OF_ROW_FUNCTION
        expected = f"at most {most} for a row-wise loss of one's own, whose rows lie on the stack"
        raise ValueError(refusal(what, got, expected, "use an elementwise loss"))
    each = loss.outputs_per_target
    if n_outputs % each:
        expected = f"a multiple of {each}: {loss.name} has {each} outputs for each target"
        raise ValueError(refusal(what, got, expected, f"use Dense({each}) for a single target"))
    return loss
