"""Record weights of PyTorch and Keras under their own names, and what their networks make of rows: ``layouts.json``.

Run it in an environment with torch and keras: ``python tests/golden/record_layouts.py``.
"""

from __future__ import annotations

import keras
import numpy as np
import torch
from make_golden import write


def rows() -> np.ndarray:
    """Numbers that are the same everywhere."""
    return np.sin(1.0 + np.arange(24.0)).reshape(6, 4).astype(np.float32)


def filled(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Weights that differ from each other and from their transposes; all positive, as variances have to be."""
    return [(0.5 + 0.4 * np.cos(k + np.arange(np.prod(shape)))).reshape(shape) for k, shape in enumerate(shapes)]


def of_torch() -> dict[str, object]:
    """Of an nn.Sequential, biases partly left out."""
    nn = torch.nn
    module = nn.Sequential(
        *(nn.Linear(4, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5)),
        *(nn.Linear(5, 3, bias=False), nn.LayerNorm(3), nn.Linear(3, 2)),
    ).eval()
    state = module.state_dict()
    weighing = [name for name in state if not name.endswith("num_batches_tracked")]
    for name, array in zip(weighing, filled([tuple(state[name].shape) for name in weighing]), strict=True):
        state[name].copy_(torch.from_numpy(array))
    outputs = module(torch.from_numpy(rows())).detach().numpy()
    return {"state": {name: value.tolist() for name, value in state.items()}, "outputs": outputs.tolist()}


def of_keras() -> dict[str, object]:
    """Of a Sequential, biases partly left out."""
    layers = keras.layers
    model = keras.Sequential(
        [
            *(layers.Input((4,)), layers.Dense(5, activation="relu"), layers.BatchNormalization(name="batch_norm")),
            *(layers.Activation("tanh"), layers.Dropout(0.5), layers.Dense(3, use_bias=False)),
            *(layers.LayerNormalization(), layers.Dense(2)),
        ]
    )
    model.set_weights(filled([array.shape for array in model.get_weights()]))
    state = {weight.path: np.asarray(weight.numpy()).tolist() for weight in model.weights}
    return {"state": state, "outputs": model.predict(rows(), verbose=0).tolist()}


def main() -> None:
    """Write the file."""
    write("layouts", ["torch", "keras"], {"torch": of_torch(), "keras": of_keras(), "rows": rows().tolist()})


if __name__ == "__main__":
    main()
