"""How a network's scores answer to its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import get_backend

if TYPE_CHECKING:
    from .._kernels import Array
    from ..model import Sequential


def input_gradients(model: Sequential, X: Array, output: int) -> Array:
    """The gradient of one raw score by the inputs of each row, as `predict` would compute it: nothing dropped, running
    moments where batches are normalised.

    Parameters
    ----------
    model : Sequential
        Built. Its engine stops at the weights, so this is computed by NumPy.
    X : ndarray of shape (n, n_inputs)
    output : int
        Which of the last layer's units.
    """
    numpy_: Any = get_backend("numpy")
    compiled = model._built()
    network = numpy_.Network(model.n_inputs, model._specs, model.loss, model.optimizer.rule, model.dtype)
    network.set_weights(compiled.get_weights())
    network.set_statistics(compiled.get_statistics())
    passes = network.forward(X, len(model.layers))
    gradients: Array = np.zeros_like(passes[-1].output)
    gradients[:, output] = 1.0
    for done in reversed(passes):
        if isinstance(done, numpy_.NormalizationPass) and done.axis == 0:
            # Running moments do not depend on the row, as the batch's own do in training.
            by_sum = numpy_.pre_activation_gradient(done.kept, gradients, done.activation)
            gradients = by_sum * done.gain * done.factor
        else:
            gradients = done.backward(gradients)[0]
    return gradients
