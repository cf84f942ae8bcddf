"""Steps a second of the cart that learns to balance a pole: examples/cart_pole.py, and the same loop with PyTorch.

    python benchmarks/cart_pole.py

PyTorch's network is the same, and so are the policy, the returns and the optimizer; its physics is in Python's floats,
which takes less than a tenth of its time. One core, one thread each; interleaved in rounds, the ratio within a round.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from pathlib import Path

from environment import limit_threads

EXAMPLES = Path(__file__).parents[1] / "examples"


def play_with_fastgd(n_steps: int) -> float:
    """Steps a second, over about so many."""
    import cart_pole_example as example

    import fastgd as fg

    model = example.new_model()
    policy, learn = fg.jit.predictor(model, raw=True), fg.jit.trainer(model)
    example.play(policy, learn, 0, 0)
    done, start = 0, time.perf_counter()
    while done < n_steps:
        done += int(example.play(policy, learn, 100, done).sum())
    return done / (time.perf_counter() - start)


def play_with_pytorch(n_steps: int) -> float:
    """Steps a second, over about so many."""
    import cart_pole_example as example
    import torch

    layers = [torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)]
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), 0.002)
    draw, push = random.Random(0), example.push.py_func
    mean, spread, done, start = 0.0, 1.0, 0, time.perf_counter()
    while done < n_steps:
        state, stands, states, slopes = [draw.uniform(-0.05, 0.05) for _ in range(4)], True, [], []
        while stands and len(states) < example.LONGEST:
            states.append(list(state))
            with torch.inference_mode():
                left, right = network(torch.tensor(state)).tolist()
            chance = 1.0 / (1.0 + math.exp(left - right))
            goes_right = draw.random() < chance
            slopes.append(chance - goes_right)
            stands = push(state, example.FORCE if goes_right else -example.FORCE)
        total = 0.0
        for k in reversed(range(len(states))):
            total = 1.0 + example.DISCOUNT * total
            slopes[k] *= (total - mean) / spread
            mean += 0.001 * (total - mean)
            spread += 0.001 * (abs(total - mean) + 1.0 - spread)
        wanted = torch.tensor(slopes)
        optimizer.zero_grad()
        (network(torch.tensor(states)) * torch.stack([-wanted, wanted], 1)).mean().backward()
        optimizer.step()
        done += len(states)
    return done / (time.perf_counter() - start)


def main() -> None:
    """Play in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, in each round, about")
    options = parser.parse_args()
    limit_threads(1)
    import importlib.util

    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("cart_pole_example", EXAMPLES / "cart_pole.py")
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    rates = []
    for _ in range(options.rounds):
        rates.append((play_with_fastgd(int(1e6 * options.seconds)), play_with_pytorch(int(1e4 * options.seconds))))
        print("fastgd {:,.0f}, PyTorch {:,.0f} steps a second".format(*rates[-1]))
    print(f"median of the ratios: {statistics.median(mine / its for mine, its in rates):.0f}")


if __name__ == "__main__":
    main()
