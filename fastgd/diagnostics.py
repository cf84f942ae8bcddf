"""What goes on inside a network while it learns, layer by layer, and in plain words what is off."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .callbacks import Callback, Logs
from .errors import DivergenceError
from .inputs import read_count

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._kernels import Array
    from .model import Sequential

__all__ = ["Diagnosis", "Diagnostics", "LayerDiagnosis", "diagnose"]

# A step that changes weights by more than a tenth of their size forgets what was learnt; a thousandth is the usual
# advice (Karpathy et al., CS231n: Convolutional neural networks for visual recognition, "Ratio of weights:updates").
LARGEST_CHANGE = 0.1
# What float32 holds of a weight is about 1e-7 of it: below some ten times that, steps begin to be rounded away.
SMALLEST_CHANGE = 1e-6
# In parts of the last layer's: each layer between may well shrink gradients by a factor of a few.
SMALLEST_GRADIENT = 1e-3
# In parts of the layer's weights: the usual learning rate of 0.01 would then change them to ten times their size.
LARGEST_GRADIENT = 1e3
MANY_DEAD = 0.5
LARGE_INPUTS = 100.0
RISEN = 1.5


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer with weights. Sizes are root mean squares, which do not depend on the number of units.

    Attributes
    ----------
    layer : int
        Its place among the layers, from 0.
    name : str
    weights, gradients : float
        Of its matrix, or of the gains of a normalisation.
    updates : float
        How much the next step will change them; NaN if that step would diverge.
    outputs : float
        Activation applied.
    dead : float
        Share of units whose output is the same for all rows.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(2, initializer="identity")], loss="mean_squared_error", backend="numpy")
    >>> fg.diagnose(model.build(2), [[1.0, 7.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]).layers[0].dead
    0.5
    """

    layer: int
    name: str
    weights: float
    gradients: float
    updates: float
    outputs: float
    dead: float

    @property
    def change(self) -> float:
        """`updates` in parts of `weights`."""
        return self.updates / self.weights if self.weights else math.inf


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` has found; printed, a table and the remarks.

    Attributes
    ----------
    loss : float
    layers : list of LayerDiagnosis
        From the input on.
    remarks : dict of str to str
        What is off, by its kind, and what to try; empty if nothing is. Kinds are "vanishing", "exploding", "learning
        rate too high", "learning rate too low", "dead units" and "large inputs".

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(1e3), backend="numpy").build(1)
    >>> "learning rate too high" in fg.diagnose(model, [[1.0], [2.0]], [1.0, 2.0]).remarks
    True
    """

    loss: float
    layers: list[LayerDiagnosis]
    remarks: dict[str, str]

    def __str__(self) -> str:
        columns = ("weights", "gradients", "updates", "change", "outputs", "dead")
        lines = [f"loss {self.loss:.5g}", "  " + "".join(f"{name:>11}" for name in columns) + "  layer"]
        for each in self.layers:
            values = "".join(f"{getattr(each, name):>11.2g}" for name in columns)
            lines.append(f"{each.layer:>2}{values}  {each.name}")
        return "\n".join(lines + [f"{kind}: {remark}" for kind, remark in self.remarks.items()])


def diagnose(
    model: Sequential, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> Diagnosis:
    """Look at gradients, outputs and the next step of each layer, on rows such as those of a batch.

    Parameters
    ----------
    model : Sequential
        Built; it is not changed.
    X : array_like of shape (n, n_inputs)
        A few hundred rows tell enough.
    y : array_like
    sample_weight : array_like of shape (n,), optional

    Returns
    -------
    Diagnosis

    Raises
    ------
    NotBuiltError
    ValueError, TypeError
        For input that is refused.

    Notes
    -----
    It remarks on

    * gradients that vanish: in the first layer less than a thousandth of those in the last; or explode: in some layer
      more than a thousand times its weights;
    * a learning rate that is too high: the next step changes weights by more than a tenth of their size, or diverges,
      or the loss has risen to one and a half times its smallest; too low: the step changes none by a millionth;
    * units that are dead: more than half of a layer's say the same for every row;
    * inputs whose size is above 100.

    These bounds are rules of thumb. They tell where to look; a network may learn well beyond them.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> X = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> layers = [fg.Dense(4, activation="relu"), fg.Dense(1)]
    >>> model = fg.Sequential(layers, loss="mean_squared_error", optimizer=fg.SGD(1e-9), backend="numpy").build(1)
    >>> fg.diagnose(model, X, X).remarks
    {'learning rate too low': 'with 1e-09 the next step changes no weights by a millionth, unless all is learnt'}
    """
    model, X = model._as_it_learns(X)
    loss, gradients = model.loss_and_gradients(X, y, sample_weight)
    before, after = model.get_weights(), _after_a_step(model, X, y, sample_weight)
    layers, place = [], 0
    for k, layer in enumerate(model.layers):
        shapes = {**layer.parameter_shapes(1), **layer.statistic_shapes(1)}
        if shapes:
            outputs = model.transform(X, k)
            updates = math.nan if after is None else size(after[place].astype(float) - before[place])
            weights, of_gradients = size(before[place]), size(gradients[place])
            layers.append(
                LayerDiagnosis(k, repr(layer), weights, of_gradients, updates, size(outputs), share_of_dead(outputs))
            )
            place += len(shapes)
    rate = model.optimizer.learning_rate_at(model.n_optimizer_steps_done + 1)
    course = model.history.history["loss"]
    return Diagnosis(loss, layers, _remarks(layers, f"{rate:.3g}", size(np.asarray(X)), course))


def size(array: Array) -> float:
    """Root mean square, of numbers of any size."""
    largest = float(np.abs(array).max())
    if not 0.0 < largest < math.inf:
        return largest
    return largest * float(np.sqrt(np.mean(np.square(array / largest, dtype=np.float64))))


def share_of_dead(outputs: Array) -> float:
    """Share of columns that are the same in all rows; of a single row nothing can be said."""
    return float(np.mean(np.ptp(outputs, axis=0) == 0)) if len(outputs) > 1 else 0.0


def _after_a_step(model: Sequential, X: Any, y: Any, sample_weight: Any) -> list[Array] | None:
    """The weights after the step that would come next; None if that diverges."""
    twin = copy.deepcopy(model)
    try:
        twin.train_on_batch(X, y, sample_weight)
    except DivergenceError:
        return None
    return twin.get_weights()


def _remarks(layers: list[LayerDiagnosis], rate: str, inputs: float, course: list[float]) -> dict[str, str]:
    remarks = _on_gradients(layers) | _on_the_rate(layers, rate, course) | _on_units(layers)
    if inputs > LARGE_INPUTS:
        remarks["large inputs"] = f"they are of size {inputs:.3g}; scale the columns of X to mean 0 and deviation 1"
    return remarks


def _on_gradients(layers: list[LayerDiagnosis]) -> dict[str, str]:
    # A gain's gradient is of another kind than a matrix's.
    matrices = [each for each in layers if each.name.startswith("Dense")]
    steep = [each for each in matrices if each.gradients > LARGEST_GRADIENT * each.weights > 0.0]
    if steep:
        where = f"gradients of layer {steep[0].layer} are {steep[0].gradients / steep[0].weights:.2g} times its weights"
        return {"exploding": f"{where}; try smaller initial weights, fg.LayerNorm, clip_value, or scaling X and y"}
    ratio = matrices[0].gradients / matrices[-1].gradients if matrices and matrices[-1].gradients else 1.0
    if ratio < SMALLEST_GRADIENT:
        where = f"those of the first layer are {ratio:.2g} times the last one's"
        return {"vanishing": f"{where}; try relu, initializer='he_normal', fg.LayerNorm or fewer layers"}
    return {}


def _on_the_rate(layers: list[LayerDiagnosis], rate: str, course: list[float]) -> dict[str, str]:
    # Weights that are all zero, as at the start they may be, can only change without measure.
    changes = {each.layer: each.updates / each.weights for each in layers if each.weights}
    high, low = "learning rate too high", "learning rate too low"
    if any(map(math.isnan, changes.values())):
        return {high: f"with {rate} the next step would diverge"}
    layer = max(changes, key=changes.__getitem__, default=None)
    if layer is not None and changes[layer] > LARGEST_CHANGE:
        part = f"{changes[layer]:.2g} of their size"
        return {high: f"with {rate} the next step changes weights of layer {layer} by {part}"}
    if course and course[-1] > RISEN * min(course) > 0.0:
        return {high: f"with {rate} the loss has risen from {min(course):.3g} to {course[-1]:.3g}"}
    if layer is not None and changes[layer] < SMALLEST_CHANGE:
        return {low: f"with {rate} the next step changes no weights by a millionth, unless all is learnt"}
    return {}


def _on_units(layers: list[LayerDiagnosis]) -> dict[str, str]:
    dead = [f"{each.dead:.0%} of layer {each.layer}" for each in layers[:-1] if each.dead > MANY_DEAD]
    if not dead:
        return {}
    return {"dead units": f"{', '.join(dead)} say the same for every row; try leaky_relu, smaller steps, or scaling X"}


class Diagnostics(Callback):
    """Diagnose a model in training from time to time, and print what is off when it first is.

    Parameters
    ----------
    X, y : array_like
        Rows to look at; a few hundred of those trained on.
    every : int
        Epochs between two looks.

    Attributes
    ----------
    diagnoses : dict of int to Diagnosis
        By the number of the epoch.

    Raises
    ------
    ValueError, TypeError
        If `every` is no whole number of at least 1.

    See Also
    --------
    diagnose : What is looked at.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgd as fg
    >>> X = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(1e-9), backend="numpy")
    >>> history = model.fit(X, X, epochs=4, callbacks=[fg.Diagnostics(X, X, every=2)])  # doctest: +ELLIPSIS
    epoch 2: learning rate too low: with 1e-09 the next step changes no weights by a millionth, ...
    """

    def __init__(self, X: npt.ArrayLike, y: npt.ArrayLike, *, every: int = 1) -> None:
        self.X, self.y = X, y
        self.every = read_count("Diagnostics: every", every, "pass for example 10")
        self.diagnoses: dict[int, Diagnosis] = {}

    def on_train_begin(self) -> None:
        self.diagnoses = {}
        self.kinds: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.progress.epochs_done % self.every:
            return
        found = self.diagnoses[epoch] = diagnose(self.model, self.X, self.y)
        for kind, remark in found.remarks.items():
            if kind not in self.kinds:
                self.kinds.add(kind)
                print(f"epoch {epoch}: {kind}: {remark}")
