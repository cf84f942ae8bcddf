"""Time single calls: a training step, the prediction of one row, and of 1,024 rows, beside inference engines.

    python benchmarks/latency.py
    python benchmarks/latency.py --rounds 21 --seconds 4 --markdown latency.md

Each peer predicts from the same weights in the best form known for it, and has to give the same probabilities before
it is timed: onnxruntime with input and output bound once and for all, one thread; PyTorch in ``inference_mode``, eager
and compiled; JAX jitted with the weights as constants, its result waited for. Whatever is not installed is named and
does not take part. One core, one thread each; interleaved in rounds, ratios within a round.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Callable, Iterable

from environment import limit_threads
from rounds import figure, interleave, ratios, repeated, spread
from tables import markdown

# Probabilities from scores of order one, each a sum of at most 784 terms in whatever order: 784 roundings, doubled.
TOLERANCE = 1e-4

# Network of the suite whose layers, data and weights are taken, and rows in a call.
PREDICTIONS = (("64-64-10@32", 1), ("784-256-128-10@128", 1), ("784-256-128-10@128", 1024))


def fastgd_predict(problem, X, out) -> Callable[[], object]:
    """Return a call of ``predict(X, out=out)``."""
    from benchmarks.networks import build_model

    return functools.partial(build_model(problem).predict, X, out=out)


def onnx_model(weights) -> bytes:
    """Return a multilayer perceptron with ReLU and a softmax, serialised, that makes ``out`` of ``X``."""
    from onnx import TensorProto, checker, helper, numpy_helper

    initializers = [numpy_helper.from_array(array, f"parameter{k}") for k, array in enumerate(weights)]
    nodes, given, n_layers = [], "X", len(weights) // 2
    for layer in range(n_layers):
        activation, result = ("Relu", f"output{layer}") if layer < n_layers - 1 else ("Softmax", "out")
        parameters = [f"parameter{2 * layer}", f"parameter{2 * layer + 1}"]
        nodes.append(helper.make_node("Gemm", [given, *parameters], [f"score{layer}"]))
        nodes.append(helper.make_node(activation, [f"score{layer}"], [result]))
        given = result
    ends = {"X": weights[0].shape[0], "out": weights[-1].shape[0]}
    X, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width]) for name, width in ends.items())
    graph = helper.make_graph(nodes, "perceptron", [X], [out], initializers)
    # Versions as low as what is used allows, for any onnxruntime to read them.
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    checker.check_model(model)
    return model.SerializeToString()


def onnxruntime_run(problem, X, out) -> Callable[[], object]:
    """Return a call of onnxruntime from X to `out`, which are bound once and for all."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(problem.weights), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("X", X)
    binding.bind_output("out", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)

    def predict():
        session.run_with_iobinding(binding)
        return out  # which the binding knows by its address alone

    return predict


def pytorch_eager(problem, X, out) -> Callable[[], object]:
    """Return a call of a PyTorch module in ``inference_mode``."""
    import torch
    from competitors import PyTorch

    peer = PyTorch(problem, n_threads=1)
    peer.reset()
    return inference(torch.nn.Sequential(*peer.model, torch.nn.Softmax(dim=1)).eval(), X)


def pytorch_compiled(problem, X, out) -> Callable[[], object]:
    """Return a call of the same module through ``torch.compile``, weights frozen."""
    import torch
    import torch._inductor.config
    from competitors import PyTorch

    torch._inductor.config.freezing = True
    peer = PyTorch(problem, n_threads=1)
    peer.reset()
    model = torch.nn.Sequential(*peer.model, torch.nn.Softmax(dim=1)).eval()
    return inference(torch.compile(model, fullgraph=True, dynamic=False), X)


def inference(model, X) -> Callable[[], object]:
    """Return a call of a PyTorch model on rows that are a tensor already."""
    import torch

    rows = torch.from_numpy(X)

    def predict():
        with torch.inference_mode():
            return model(rows)

    return predict


def jax_jitted(problem, X, out) -> Callable[[], object]:
    """Return a call of a jitted function of rows that JAX has already, the weights being constants."""
    import jax
    from competitors import JAX

    peer = JAX(problem, n_threads=1)
    peer.reset()
    weights, rows = peer.state[0], jax.device_put(X)
    probabilities = jax.jit(lambda rows: jax.nn.softmax(peer.scores(weights, rows)))
    return lambda: probabilities(rows).block_until_ready()


PREDICTORS = {
    "fastgd predict(X, out=)": fastgd_predict,
    "onnxruntime, bound": onnxruntime_run,
    "pytorch eager": pytorch_eager,
    "pytorch compiled": pytorch_compiled,
    "jax jitted": jax_jitted,
}


def predictions(name: str, n_rows: int, labels: Iterable[str] = PREDICTORS) -> dict[str, Callable[[], object]]:
    """Return a call of every predictor that is installed; all of them were found to give the same probabilities."""
    import numpy as np
    from benchmarks.networks import NETWORKS
    from benchmarks.networks import problem as draw

    problem = draw(NETWORKS[name])
    X = problem.X[:n_rows]
    calls, expected = {}, None
    for label in labels:
        out = np.full((n_rows, problem.network.units[-1]), np.nan, np.float32)
        try:
            call = PREDICTORS[label](problem, X, out)
        except ModuleNotFoundError as error:
            print(f"{label}: not timed, {error.name} is not installed: pip install {error.name}")
            continue
        found = np.asarray(call())
        expected = found if expected is None else expected
        if not np.allclose(found, expected, rtol=0, atol=TOLERANCE):
            sys.exit(f"{label}: probabilities differ from fastgd's by {np.abs(found - expected).max()}")
        calls[label] = call
    return calls


def steps() -> dict[str, Callable[[], object]]:
    """Return a training step of the smallest network, on one row, as a call."""
    from benchmarks.networks import NETWORKS, build_model
    from benchmarks.networks import problem as draw

    problem = draw(NETWORKS["4-16-3@1"])
    model, (X, labels) = build_model(problem), problem.batches()[0]
    return {"fastgd train_on_batch": functools.partial(model.train_on_batch, X, labels)}


def forward_floor(name: str, n_rows: int) -> Callable[[], float]:
    """Return a work that tells the seconds of a forward pass's products at the machine's rate of the moment."""
    from benchmarks.networks import NETWORKS
    from floor import Step
    from machine import flop_rate

    flops = Step(NETWORKS[name].units, n_rows).products["forward"]
    return lambda: flops / flop_rate("float32", 1)


def report(
    title: str, calls: dict[str, Callable[[], object]], arguments: argparse.Namespace, **works: Callable[[], float]
) -> list[list[str]]:
    """Time calls, and works, against the first; print what they take, and return lines for a table."""
    works = {label: repeated(call, arguments.seconds / arguments.rounds) for label, call in calls.items()} | works
    times = {label: [1e6 * t for t in found] for label, found in interleave(works, arguments.rounds).items()}
    reference = next(iter(times.values()))
    print(f"\n{title}\n  {'':<26}{'us a call':<28}over the first")
    for label, found in times.items():
        print(f"  {label:<26}{spread(found):<28}{spread(ratios(found, reference))}")
    median = statistics.median
    return [[title, label, figure(median(t)), figure(median(ratios(t, reference)))] for label, t in times.items()]


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="measurements of each (default: 11)")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each (default: 1)")
    parser.add_argument("--markdown", metavar="FILE", help="write a table there")
    return parser.parse_args()


def main() -> None:
    """Time all calls."""
    arguments = read_arguments()
    limit_threads(1)
    lines = report("4-16-3, a step of one row", steps(), arguments)
    for name, n_rows in PREDICTIONS:
        title = f"{name.partition('@')[0]}, prediction, {n_rows:,} row{'s' * (n_rows > 1)}"
        lines += report(title, predictions(name, n_rows), arguments, floor=forward_floor(name, n_rows))
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write(markdown(["what", "how", "us a call", "over fastgd"], lines))


if __name__ == "__main__":
    main()
