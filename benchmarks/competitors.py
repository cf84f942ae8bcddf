"""fastgd and its peers behind one small interface, each in the best configuration that is known for it.

To add a library: one subclass of :class:`Competitor`, and its line in ``COMPETITORS``.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from benchmarks.networks import OPTIMIZERS, Problem, build_model


class Competitor(ABC):
    """A library that trains a given network on given data.

    A *form* is a way to train, named after the method that does it: ``form(epochs)`` makes that many passes
    over the problem's batches, in order, and returns when the last weight is written. There are forms that are one
    call for all epochs, and forms that are a call, or several, for each step.

    Attributes
    ----------
    name : str
        How the library is called on the command line and in the tables.
    modules : tuple of str
        What has to be importable; the first one tells the version.
    loops, calls : tuple of str
        Names of the methods that train, of the one kind of form and of the other.
    resizable : bool
        Whether the number of threads can be changed at any time.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    loops: ClassVar[tuple[str, ...]] = ()
    calls: ClassVar[tuple[str, ...]] = ()
    resizable: ClassVar[bool] = False

    @classmethod
    def version(cls) -> str:
        """Import the library and return its version; ImportError if it is not installed."""
        library, *_ = [importlib.import_module(module) for module in cls.modules]
        return library.__version__

    def __init__(self, problem: Problem, n_threads: int):
        self.problem = problem
        self.n_threads = n_threads
        self.settings = OPTIMIZERS[problem.network.optimizer]
        self.prepare()
        self.resize(n_threads)

    def forms(self) -> tuple[str, ...]:
        """Return the names of all methods that can train on this problem."""
        return self.loops + self.calls

    def resize(self, n_threads: int) -> None:  # noqa: B027 (there is nothing to do for what is not resizable)
        """Use so many threads from now on."""

    @abstractmethod
    def prepare(self) -> None:
        """Do once, outside all timing, what a user does once: put the data where the library wants them."""

    @abstractmethod
    def reset(self) -> None:
        """Put the initial weights back and forget the optimizer's state."""

    @abstractmethod
    def weights(self) -> list[np.ndarray]:
        """Return ``[W1, b1, W2, ...]`` as they are now, W of shape (n_inputs, n_outputs)."""


class FastGD(Competitor):
    """fastgd: a whole ``fit``, or a call per step."""

    name = "fastgd"
    modules = ("fastgd",)
    loops = ("fit",)
    calls = ("train_on_batch",)

    def prepare(self) -> None:
        self.batches = self.problem.batches()

    def reset(self) -> None:
        self.model = build_model(self.problem, dtype=self.problem.dtype, n_threads=self.n_threads)

    def fit(self, epochs: int) -> None:
        # The peers below do not shuffle, so neither does fastgd here.
        self.model.fit(
            self.problem.X,
            self.problem.labels,
            epochs=epochs,
            batch_size=self.problem.network.batch_size,
            shuffle=False,
        )

    def train_on_batch(self, epochs: int) -> None:
        for _ in range(epochs):
            for X, labels in self.batches:
                self.model.train_on_batch(X, labels)

    def weights(self) -> list[np.ndarray]:
        return self.model.get_weights()


class PyTorch(Competitor):
    """PyTorch, eager: the fused optimizer, tensors loaded beforehand, gradients set to None, no DataLoader."""

    name = "pytorch"
    modules = ("torch",)
    calls = ("eager",)
    resizable = True

    def prepare(self) -> None:
        import torch

        self.torch = torch
        self.batches = [tuple(map(torch.from_numpy, batch)) for batch in self.problem.batches()]
        units = self.problem.network.units
        layers: list[torch.nn.Module] = []
        for fan_in, fan_out in zip(units, units[1:], strict=False):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        self.model = model = torch.nn.Sequential(*layers[:-1]).to(getattr(torch, self.problem.dtype))
        # Through a closure rather than through self: that is less for a compiled function to check in each call.
        self.loss = lambda X, labels: torch.nn.functional.cross_entropy(model(X), labels)

    def resize(self, n_threads: int) -> None:
        self.torch.set_num_threads(n_threads)

    def reset(self) -> None:
        torch = self.torch
        with torch.no_grad():
            for parameter, array in zip(self.model.parameters(), self.problem.weights, strict=True):
                parameter.copy_(torch.from_numpy(array.T))
        rule = torch.optim.Adam if self.problem.network.optimizer == "adam" else torch.optim.SGD
        rate, *momentum = self.settings.values()
        self.optimizer = rule(self.model.parameters(), rate, *momentum, fused=True)

    def eager(self, epochs: int) -> None:
        loss, optimizer = self.loss, self.optimizer
        for _ in range(epochs):
            for X, labels in self.batches:
                optimizer.zero_grad(set_to_none=True)
                loss(X, labels).backward()
                optimizer.step()

    def weights(self) -> list[np.ndarray]:
        return [parameter.detach().numpy().T for parameter in self.model.parameters()]


class PyTorchCompiled(PyTorch):
    """PyTorch with network and loss through ``torch.compile``; needs a C++ compiler and time to compile.

    Of the ways tried, this is the fastest or close to it at every size. The network compiled without the loss takes up
    to 1.8 times as long; ``mode="max-autotune"``, up to 1.4 times; the optimizer's step compiled too, up to 1.1 times.
    """

    name = "pytorch-compiled"
    calls = ("compiled",)
    resizable = False

    def prepare(self) -> None:
        super().prepare()
        self.torch.compiler.reset()
        # Compiled once, when it is first called, for as many threads as there are then.
        self.loss = self.torch.compile(self.loss, fullgraph=True, dynamic=False)

    def compiled(self, epochs: int) -> None:
        self.eager(epochs)


class JAX(Competitor):
    """JAX, buffers donated: the whole loop compiled (``lax.scan`` over the batches), or a call per step."""

    name = "jax"
    modules = ("jax",)
    loops = ("scan",)
    calls = ("jitted_step",)

    def prepare(self) -> None:
        import jax
        from jax import numpy as jnp

        network = self.problem.network
        # One-hot targets: the gradient of picking a score by its label is a scatter, which is slower on CPUs.
        one_hot = np.eye(network.units[-1], dtype=self.problem.dtype)[self.problem.labels]
        jax.config.update("jax_enable_x64", self.problem.dtype == "float64")
        self.jax, self.jnp = jax, jnp
        self.X = jnp.asarray(self.problem.X.reshape(network.n_batches, network.batch_size, -1))
        self.targets = jnp.asarray(one_hot.reshape(network.n_batches, network.batch_size, -1))
        self.batches = list(zip(self.X, self.targets, strict=True))
        self.compiled_step = jax.jit(self.step, donate_argnums=0)
        self.compiled_loop = jax.jit(self.loop, donate_argnums=0)

    def scores(self, weights, X):
        for W, b in weights[:-1]:
            X = self.jax.nn.relu(X @ W + b)
        W, b = weights[-1]
        return X @ W + b

    def loss(self, weights, X, targets):
        return -(self.jax.nn.log_softmax(self.scores(weights, X)) * targets).sum(axis=-1).mean()

    def step(self, state, X, targets):
        weights, slots, t = state
        gradients = self.jax.grad(self.loss)(weights, X, targets)
        update = getattr(self, self.problem.network.optimizer)
        return *update(weights, gradients, slots, t + 1, **self.settings), t + 1

    def sgd(self, weights, gradients, slots, t, *, learning_rate):
        return self.jax.tree.map(lambda w, g: w - learning_rate * g, weights, gradients), slots

    def momentum(self, weights, gradients, slots, t, *, learning_rate, momentum):
        tree_map = self.jax.tree.map
        velocity = tree_map(lambda v, g: momentum * v + g, slots[0], gradients)
        return tree_map(lambda w, v: w - learning_rate * v, weights, velocity), [velocity]

    def adam(self, weights, gradients, slots, t, *, learning_rate):
        tree_map, sqrt = self.jax.tree.map, self.jnp.sqrt
        first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, slots[0], gradients)
        second = tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, slots[1], gradients)
        size, root = learning_rate / (1 - 0.9**t), (1 - 0.999**t) ** -0.5
        weights = tree_map(lambda w, m, v: w - size * m / (sqrt(v) * root + 1e-8), weights, first, second)
        return weights, [first, second]

    def loop(self, state, X, targets, epochs):
        # Unrolling makes the smallest network's steps a quarter faster and the largest ones' a third slower.
        unroll = 4 if sum(array.size for array in self.problem.weights) < 10_000 else 1

        def step(state, batch):
            return self.step(state, *batch), None

        def epoch(_, state):
            return self.jax.lax.scan(step, state, (X, targets), unroll=unroll)[0]

        # The number of epochs is an argument of the compiled loop, so that no timing contains a compilation.
        return self.jax.lax.fori_loop(0, epochs, epoch, state)

    def reset(self) -> None:
        arrays = [self.jnp.array(array) for array in self.problem.weights]
        weights = list(zip(arrays[::2], arrays[1::2], strict=True))
        n_slots = {"sgd": 0, "momentum": 1, "adam": 2}[self.problem.network.optimizer]
        slots = [self.jax.tree.map(self.jnp.zeros_like, weights) for _ in range(n_slots)]
        self.state = self.jax.block_until_ready((weights, slots, self.jnp.asarray(0, self.problem.dtype)))

    def scan(self, epochs: int) -> None:
        self.state = self.jax.block_until_ready(self.compiled_loop(self.state, self.X, self.targets, epochs))

    def jitted_step(self, epochs: int) -> None:
        for _ in range(epochs):
            for X, targets in self.batches:
                self.state = self.compiled_step(self.state, X, targets)
        self.jax.block_until_ready(self.state)

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(array) for pair in self.state[0] for array in pair]


class ScikitLearn(Competitor):
    """scikit-learn's MLPClassifier: a whole ``fit``, or ``partial_fit`` with a batch per call."""

    name = "scikit-learn"
    modules = ("sklearn", "threadpoolctl")
    loops = ("fit",)
    calls = ("partial_fit",)
    resizable = True

    def prepare(self) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from threadpoolctl import ThreadpoolController

        # fit warns at its last epoch, which here is always the one that was asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.pools = ThreadpoolController()
        self.batches = self.problem.batches()
        self.model = MLPClassifier(
            hidden_layer_sizes=self.problem.network.units[1:-1],
            alpha=0.0,
            batch_size=self.problem.network.batch_size,
            solver="adam" if self.problem.network.optimizer == "adam" else "sgd",
            learning_rate_init=self.settings["learning_rate"],
            momentum=self.settings.get("momentum", 0.0),
            nesterovs_momentum=False,
            shuffle=False,
            tol=0.0,
            n_iter_no_change=np.inf,
        )
        self.model.partial_fit(*self.batches[0], classes=np.arange(self.problem.network.units[-1]))

    def forms(self) -> tuple[str, ...]:
        # fit insists on data that have every class, also where it goes on from given weights.
        has_all = len(np.unique(self.problem.labels)) == self.problem.network.units[-1]
        return super().forms() if has_all else self.calls

    def resize(self, n_threads: int) -> None:
        self.pools.limit(limits=n_threads, user_api="blas")

    def reset(self) -> None:
        for array, initial in zip(self.weights(), self.problem.weights, strict=True):
            array[...] = initial
        # There is no public way to start partial_fit afresh at given weights.
        vars(self.model).pop("_optimizer", None)

    def fit(self, epochs: int) -> None:
        self.model.set_params(warm_start=True, max_iter=epochs)
        self.model.fit(self.problem.X, self.problem.labels)

    def partial_fit(self, epochs: int) -> None:
        self.model.set_params(warm_start=False)
        for _ in range(epochs):
            for X, labels in self.batches:
                self.model.partial_fit(X, labels)

    def weights(self) -> list[np.ndarray]:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [array for pair in pairs for array in pair]


COMPETITORS = {cls.name: cls for cls in (FastGD, PyTorch, PyTorchCompiled, JAX, ScikitLearn)}
