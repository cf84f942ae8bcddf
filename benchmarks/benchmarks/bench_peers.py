"""fastgd's time over its peers', on one core: 0.1 is ten times as fast.

Measured as ``peers.py`` and ``latency.py`` do: interleaved in one process, ratios within a round. What is not installed
is skipped.
"""

from __future__ import annotations

from competitors import COMPETITORS, FastGD
from environment import limit_threads
from latency import PREDICTIONS, PREDICTORS, predictions
from peers import choose_epochs, compare_losses, train
from rounds import interleave, median_ratio, repeated

from .networks import NETWORKS, problem

ROUNDS = 5
SECONDS = 0.1

# Without torch.compile, which takes as long to compile as all the rest to run; peers.py and latency.py have it.
PEERS = ["pytorch", "jax", "scikit-learn"]
FORMS = [f"{name} {form}" for name in PEERS for form in COMPETITORS[name].loops + COMPETITORS[name].calls]

OURS = next(iter(PREDICTORS))
INFERENCE = [label for label in PREDICTORS if label != OURS and "compiled" not in label]


class Training:
    """Time of a step: whole loops against ``fit``, and what is a call a step against ``train_on_batch``."""

    version = "1"
    params = (list(NETWORKS), FORMS)
    param_names = ("network", "peer")
    unit = "of the peer's time"
    timeout = 300

    def setup(self, name, peer):
        limit_threads(1)
        library, self.form = peer.split()
        self.problem = problem(NETWORKS[name])
        try:
            COMPETITORS[library].version()
        except ImportError as error:
            raise NotImplementedError(f"{library} is not installed") from error
        self.peer = COMPETITORS[library](self.problem, n_threads=1)
        if self.form not in self.peer.forms():
            raise NotImplementedError(f"{peer} cannot train on these data")

    def track_step_over_peer(self, name, peer):
        ours = FastGD(self.problem, n_threads=1)
        our_form = ours.loops[0] if self.form in self.peer.loops else ours.calls[0]
        forms = {ours.name: (our_form,), self.peer.name: (self.form,)}
        _, _, rows = compare_losses(self.problem, [ours, self.peer], forms)
        wrong = [row for row in rows if not row.same_loss]
        if wrong:
            raise RuntimeError(f"{wrong[0].label}: loss {wrong[0].loss} instead of {rows[0].loss} after the same steps")

        def work(competitor, form):
            epochs = choose_epochs(competitor, form, SECONDS)
            return lambda: train(competitor, form, epochs) / epochs

        times = interleave({"ours": work(ours, our_form), "peer's": work(self.peer, self.form)}, ROUNDS)
        return median_ratio(times["ours"], times["peer's"])


class Prediction:
    """Time of a call of ``predict``."""

    version = "1"
    params = ([f"{name.partition('@')[0]}, {n_rows} rows" for name, n_rows in PREDICTIONS], INFERENCE)
    param_names = ("network", "peer")
    unit = "of the peer's time"
    timeout = 120

    def setup(self, title, peer):
        limit_threads(1)
        name, n_rows = PREDICTIONS[self.params[0].index(title)]
        self.calls = predictions(name, n_rows, [OURS, peer])
        if peer not in self.calls:
            raise NotImplementedError(f"{peer} is not installed")

    def track_predict_over_peer(self, title, peer):
        works = {label: repeated(call, SECONDS) for label, call in self.calls.items()}
        times = interleave(works, ROUNDS)
        return median_ratio(times[OURS], times[peer])
