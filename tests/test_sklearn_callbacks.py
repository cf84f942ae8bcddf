"""Who watches the fits of estimators: callbacks of fastgd's, and scikit-learn's own from 1.9 on."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("fastgd._kernels.cython_")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import fastgd as fg  # noqa: E402
from fastgd import sklearn as ours  # noqa: E402
from fastgd.sklearn import linear  # noqa: E402
from fastgd.sklearn.epochs import Epochs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(90, 5))
LABELS = (X[:, 0] > -0.5) + (X[:, 1] > 0.5).astype(int)
NUMBERS = np.sin(X[:, 0]) + X[:, 1]


class Recorder(fg.callbacks.Callback):
    """Keeps all that it is told."""

    def __init__(self):
        self.told = []

    def on_train_begin(self):
        self.told.append(("train begins", self.progress.epochs, self.progress.steps_per_epoch))

    def on_train_end(self):
        self.told.append(("train ends", self.progress.epochs_done, self.progress.rows_done))

    def on_epoch_begin(self, epoch):
        self.told.append(("epoch begins", epoch))

    def on_epoch_end(self, epoch, logs):
        self.told.append(("epoch ends", epoch, logs))

    def close(self):
        self.told.append(("closed",))


def classifier(*callbacks, **settings):
    """A small one with callbacks."""
    return ours.MLPClassifier((5,), **{"max_iter": 4, "random_state": 0, "callbacks": [*callbacks], **settings})


# ------------------------------------------------------------------------------------------------ fastgd's callbacks
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_fit_is_told_from_beginning_to_end(solver):
    """Epochs by their numbers, with what the estimator keeps of them."""
    recorder = Recorder()
    fitted = classifier(recorder, solver=solver).fit(X, LABELS, X_val=X[:20], y_val=LABELS[:20])
    n, first, last = fitted.n_iter_, recorder.told[0], recorder.told[-2]
    assert first == ("train begins", 4, 1)
    assert last == ("train ends", n, n * len(X))
    assert recorder.told[-1] == ("closed",)
    assert [told[1] for told in recorder.told if told[0] == "epoch begins"] == list(range(1, n + 1))
    ended = [told[1:] for told in recorder.told if told[0] == "epoch ends"]
    assert [epoch for epoch, _ in ended] == list(range(1, n + 1))
    kept = {
        "loss": fitted.loss_curve_,
        "val_loss": fitted.validation_loss_curve_,
        "val_accuracy": fitted.validation_scores_,
    }
    epochs = zip(*kept.values(), strict=True)
    assert [logs for _, logs in ended] == [dict(zip(kept, values, strict=True)) for values in epochs]


def test_scores_of_a_regressor_are_called_r2():
    """As the metric is."""
    recorder = Recorder()
    regressor = ours.MLPRegressor(hidden_layer_sizes=(4,), max_iter=1, early_stopping=True, callbacks=[recorder])
    regressor.fit(X, NUMBERS)
    [logs] = [told[2] for told in recorder.told if told[0] == "epoch ends"]
    assert list(logs) == ["loss", "val_loss", "val_r2"]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_stops_and_restores(solver):
    """With no warning of a fit that has not converged; and the best weights come back."""
    stopping = fg.EarlyStopping("val_loss", patience=1, min_delta=0.05, restore_best_weights=True)
    settings = {"max_iter": 500, "learning_rate_init": 0.5, "tol": 0.0}
    fitted = classifier(stopping, solver=solver, **settings).fit(X[:60], LABELS[:60], X_val=X[60:], y_val=LABELS[60:])
    assert fitted.n_iter_ == stopping.stopped_epoch < 500
    probabilities = fitted.predict_proba(X[60:])[np.arange(30), LABELS[60:]]
    assert -np.mean(np.log(probabilities)) == pytest.approx(stopping.best, rel=1e-9)


def test_a_callback_steers_the_learning_rate():
    """It is what the optimizer goes by from then on."""
    halve = fg.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(halve.model.optimizer, "learning_rate", 1e-12))
    fitted = classifier(halve).fit(X, LABELS)
    assert fitted.loss_curve_[1] == pytest.approx(fitted.loss_curve_[3], rel=1e-6)
    assert fitted.loss_curve_[0] != pytest.approx(fitted.loss_curve_[1], rel=1e-6)


def test_callbacks_change_nothing_of_what_is_learnt():
    """Batch by batch, too: the same bits."""
    plain = classifier(batch_size=20).fit(X, LABELS)
    seen = []
    watch = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])))
    watched = classifier(watch, batch_size=20).fit(X, LABELS)
    assert [batch for batch, _ in seen] == 4 * list(range(5))
    for a, b in zip(plain.coefs_, watched.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert watched.loss_curve_ == plain.loss_curve_


def test_an_epoch_that_is_ended_early_counts_as_one():
    """With the rows it had."""
    stop = fg.LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(stop.model, "stop_training", batch == 1))
    fitted = classifier(stop, batch_size=20).fit(X, LABELS)
    assert (fitted.n_iter_, fitted.t_, len(fitted.loss_curve_)) == (1, 40, 1)
    assert np.isfinite(fitted.loss_)


def test_partial_fits_count_on():
    """An epoch each."""
    recorder = Recorder()
    estimator = classifier(recorder)
    for _ in range(2):
        estimator.partial_fit(X, LABELS, classes=[0, 1, 2])
    assert [told[1] for told in recorder.told if told[0] == "epoch ends"] == [1, 2]


def test_a_fit_that_diverges_can_end_quietly():
    """As `Sequential.fit` can; without that callback it is an error."""
    settings = {"solver": "sgd", "learning_rate_init": 1e8, "max_iter": 50, "hidden_layer_sizes": (4,)}
    guard = fg.TerminateOnNaN()
    with pytest.warns(RuntimeWarning, match="diverged"):
        ours.MLPRegressor(callbacks=[guard], **settings).fit(X, 1e3 * NUMBERS)
    assert guard.error is not None
    with pytest.raises(ValueError, match="non-finite"):
        ours.MLPRegressor(**settings).fit(X, 1e3 * NUMBERS)


def test_an_autoencoder_has_callbacks():
    """Those of its regressor."""
    recorder = Recorder()
    ours.MLPAutoencoder(2, (4,), max_iter=2, callbacks=[recorder]).fit(X)
    assert sum(told[0] == "epoch ends" for told in recorder.told) == 2


def test_checkpoints_of_the_network(tmp_path):
    """As the estimator has it after the last epoch."""
    pytest.importorskip("safetensors")
    path = tmp_path / "network.safetensors"
    fitted = classifier(fg.ModelCheckpoint(path)).fit(X, LABELS)
    np.testing.assert_array_equal(fg.load(path).predict(X), fitted.predict_proba(X))


def test_clones_have_callbacks_of_their_own():
    """Without the network that the originals have watched, which are as small as before when pickled."""
    pytest.importorskip("rich")
    stopping = fg.EarlyStopping("loss", patience=2)
    estimator = classifier(stopping, fg.ProgressBar()).set_params(hidden_layer_sizes=(500,))
    size = len(pickle.dumps(stopping))
    estimator.fit(X, LABELS)
    assert len(pickle.dumps(stopping)) < 2 * size
    copied = clone(estimator)
    assert copied.callbacks[0] is not stopping
    pickle.loads(pickle.dumps(estimator)).predict(X)


def test_searches_and_threads():
    """Every fit has its own copies, so that none sees the best loss of another."""
    stopping = fg.EarlyStopping("loss", patience=1, min_delta=1e-3)
    estimator = classifier(stopping, max_iter=30)
    one = cross_val_score(estimator, X, LABELS, cv=3, error_score="raise")
    import joblib

    with joblib.parallel_config("threading", n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(estimator, X, LABELS, cv=3, error_score="raise"), one)
    assert stopping.best == np.inf
    search = GridSearchCV(estimator, {"callbacks": [None, [fg.EarlyStopping("loss", patience=1)]]}, cv=2)
    search.fit(X, LABELS)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("yes", ValueError, "callbacks.*must be"),
        (["yes"], TypeError, r"^callbacks\[0\]: got 'yes', expected a callback"),
        ([fg.EarlyStopping], TypeError, "got the class EarlyStopping"),
    ],
)
def test_what_is_no_callback_is_refused(given, error, message):
    """Before anything is changed."""
    estimator = classifier().set_params(callbacks=given)
    with pytest.raises(error, match=message):
        estimator.fit(X, LABELS)
    assert not hasattr(estimator, "classes_")


# ------------------------------------------------------------------------------------------------------------ Ctrl-C
@pytest.mark.parametrize("kind", [ours.SGDClassifier, ours.SGDRegressor])
def test_an_interrupted_linear_fit_keeps_what_was_learnt(kind, monkeypatch):
    """Ctrl-C is answered between two calls into the engine, and raised as it is by scikit-learn's."""
    advance = linear.Descent.advance

    def interrupted(*given):
        advance(*given)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(linear.Descent, "advance", interrupted)
    estimator = kind(max_iter=1000, tol=None, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, LABELS)
    monkeypatch.undo()
    n_epochs = estimator.n_iter_
    assert 0 < n_epochs < 1000
    whole = clone(estimator).set_params(max_iter=n_epochs).fit(X, LABELS)
    np.testing.assert_array_equal(estimator.coef_, whole.coef_)


def test_an_interrupted_network_keeps_the_epochs_of_its_last_call(monkeypatch):
    """As scikit-learn has it, a warning is all that is heard of Ctrl-C in a fit."""
    segment = Epochs._segment

    def interrupted(*given):
        done = segment(*given)
        signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(Epochs, "_segment", interrupted)
    estimator = ours.MLPClassifier((5,), max_iter=1000, random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        estimator.fit(X, LABELS)
    monkeypatch.undo()
    assert 1 < estimator.n_iter_ == len(estimator.loss_curve_) <= estimator.n_iter_no_change + 1
    whole = clone(estimator).set_params(max_iter=estimator.n_iter_).fit(X, LABELS)
    assert whole.loss_curve_ == estimator.loss_curve_
    np.testing.assert_array_equal(estimator.coefs_[0], whole.coefs_[0])


# ------------------------------------------------------------------------------------------- scikit-learn's callbacks
class Tasks:
    """A callback of scikit-learn's that keeps all it is told."""

    def __init__(self, last=None):
        self.told, self.last = [], last

    def setup(self, estimator, context):
        self.told.append(("setup", context.max_subtasks))

    def teardown(self, estimator, context):
        self.told.append(("teardown",))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.told.append(("end", context.task_name, context.task_id, fitted_estimator.score(X, y)))
        self.estimator, self.metadata = fitted_estimator, metadata
        return context.task_name == "epoch" and context.task_id == self.last


ESTIMATORS = {
    "adam": (lambda: classifier(callbacks=None, max_iter=3), LABELS),
    "lbfgs": (lambda: classifier(callbacks=None, solver="lbfgs", max_iter=3), LABELS),
    "numbers": (lambda: ours.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0), NUMBERS),
    "linear, classes": (lambda: ours.SGDClassifier(max_iter=3, tol=None, random_state=0), LABELS),
    "linear, averaged": (lambda: ours.SGDClassifier(max_iter=3, tol=None, average=100, random_state=0), LABELS),
    "linear, numbers": (lambda: ours.SGDRegressor(max_iter=3, tol=None, random_state=0), NUMBERS),
    "codes": (lambda: ours.MLPAutoencoder(2, (4,), max_iter=3, random_state=0), None),
}


@pytest.fixture
def skl_callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_epochs_are_tasks(name, skl_callback):
    """Each ends with an estimator that predicts as if the fit had ended there."""
    make, y = ESTIMATORS[name]
    tasks = Tasks()
    fitted = make().set_callbacks(tasks).fit(X, y, sample_weight=np.ones(len(X)))
    scores = [told[3] for told in tasks.told if told[0] == "end"]
    names = [told[:3] for told in tasks.told]
    epochs = [(when, "epoch", k) for k in range(3) for when in ("begin", "end")]
    assert names == [("setup", 3), ("begin", "fit", 0), *epochs, ("end", "fit", 0), ("teardown",)]
    assert scores[-1] == scores[-2] == fitted.score(X, y)
    one = make().set_params(max_iter=1).fit(X, y)
    assert scores[0] == one.score(X, y)
    ask = "transform" if y is None else "predict"
    np.testing.assert_array_equal(getattr(tasks.estimator, ask)(X), getattr(fitted, ask)(X))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fit_that_fails_is_torn_down(name, skl_callback):
    """And leaves nothing of it behind."""
    make, y = ESTIMATORS[name]

    class Failing(Tasks):
        def on_fit_task_end(self, *_, **__):
            raise RuntimeError("no more")

    tasks = Failing()
    estimator = make().set_callbacks(tasks)
    with pytest.raises(RuntimeError, match="no more"):
        estimator.fit(X, y)
    assert tasks.told[-1] == ("teardown",)
    assert not hasattr(estimator, "_callback_fit_ctx")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_task_can_be_the_last(name, skl_callback):
    """What a callback answers is heard."""
    make, y = ESTIMATORS[name]
    assert make().set_callbacks(Tasks(last=1)).fit(X, y).n_iter_ == 2


def test_scores_are_monitored_within_a_pipeline(skl_callback):
    """By scikit-learn's own class; what was kept of an epoch does not change later."""
    monitor = skl_callback.ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), classifier(callbacks=None).set_callbacks(monitor))
    pipeline.fit(X, LABELS)
    [log] = monitor.get_logs() if isinstance(monitor.get_logs(), list) else [monitor.get_logs()]
    scores = [row["accuracy"] for row in log.data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores[-1] == pipeline.score(X, LABELS)


def test_an_estimator_with_tasks_can_be_saved(skl_callback, tmp_path):
    """Without them: a program sets them anew."""
    pytest.importorskip("safetensors")
    fitted = classifier(callbacks=None).set_callbacks(Tasks()).fit(X, LABELS)
    fitted.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(fg.load(tmp_path / "model.safetensors").predict(X), fitted.predict(X))


def test_nothing_is_told_where_nobody_listens(skl_callback, monkeypatch):
    """And nothing spent on it."""

    def refuse(*_, **__):
        raise AssertionError("a context was made")

    monkeypatch.setattr(skl_callback.CallbackSupportMixin, "_init_callback_context", refuse)
    for make, y in ESTIMATORS.values():
        make().fit(X, y)
