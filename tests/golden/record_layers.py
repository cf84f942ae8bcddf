"""Record how PyTorch trains batch and layer normalisation: ``python tests/golden/record_layers.py``.

Needs torch; the version used is recorded in layers.json.
"""

from __future__ import annotations

import numpy as np
import torch
from make_golden import to_float32, write

LEARNING_RATE = 0.1


def new_network(kind: str) -> torch.nn.Sequential:
    """3 inputs, 5 units, a normalisation, tanh, 2 outputs; float64."""
    normalization = {"batch_norm": torch.nn.BatchNorm1d, "layer_norm": torch.nn.LayerNorm}[kind](5)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), normalization, torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()


def weights_of(network: torch.nn.Sequential) -> list[list]:
    """In fastgd's order and orientation: W1, b1, gain, shift, running mean and variance if there are any, W2, b2."""
    first, normalization, _, last = network
    arrays = [first.weight.T, first.bias, normalization.weight, normalization.bias]
    if isinstance(normalization, torch.nn.BatchNorm1d):
        arrays += [normalization.running_mean, normalization.running_var]
    return [a.detach().numpy().tolist() for a in (*arrays, last.weight.T, last.bias)]


def trajectory(kind: str) -> dict:
    """Twelve steps of SGD on four batches of 8, 8, 8 and 5 rows; then the outputs of the trained network."""
    draw = np.random.default_rng(11)
    x, y = (
        to_float32(draw.normal(size=(29, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, 1.0]),
        to_float32(draw.normal(size=(29, 2))),
    )
    network = new_network(kind)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.tensor(to_float32(draw.normal(size=parameter.shape))))
    start, losses = weights_of(network), []
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    for _ in range(3):
        for first in range(0, 29, 8):
            optimizer.zero_grad()
            rows = slice(first, first + 8)
            loss = torch.nn.functional.mse_loss(network(torch.tensor(x[rows])), torch.tensor(y[rows]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    end = weights_of(network)
    network.eval()
    outputs = network(torch.tensor(x)).detach().numpy().tolist()
    return {"x": x.tolist(), "y": y.tolist(), "start": start, "losses": losses, "end": end, "outputs": outputs}


def main() -> None:
    """Write layers.json."""
    trajectories = {kind: trajectory(kind) for kind in ("batch_norm", "layer_norm")}
    write("layers", ["torch"], {"learning_rate": LEARNING_RATE, **trajectories})


if __name__ == "__main__":
    main()
