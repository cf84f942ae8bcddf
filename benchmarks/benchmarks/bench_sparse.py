"""Sparse text: rows of about a hundred words of a vocabulary in which few are frequent; also with scikit-learn."""

from __future__ import annotations

import functools
import warnings

import numpy as np

try:
    import fastgd as fg
except ImportError:
    # asv imports the suite to list it, also where no fastgd is installed.
    fg = None

N_DOCUMENTS, N_WORDS, WORDS_EACH = 20_000, 100_000, 100


@functools.cache
def documents(n_documents=N_DOCUMENTS):
    """CSR of float32 and labels; words are drawn with frequencies that fall as one over their rank (Zipf)."""
    from scipy import sparse

    random = np.random.default_rng(0)
    frequency = 1.0 / np.arange(1, N_WORDS + 1)
    words = random.choice(N_WORDS, size=n_documents * WORDS_EACH, p=frequency / frequency.sum())
    starts = np.arange(0, words.size + 1, WORDS_EACH)
    X = sparse.csr_matrix((random.random(words.size, np.float32), words, starts), shape=(n_documents, N_WORDS))
    X.sum_duplicates()
    return X, random.integers(0, 2, n_documents)


def linear_of_fastgd(X, y, penalty):
    """A logistic regression, an epoch each time."""
    model = fg.Sequential(
        [fg.Dense(1)],
        loss="binary_cross_entropy",
        optimizer=fg.SGD(0.1),
        penalty=fg.L2(penalty) if penalty else None,
        n_threads=1,
    )
    model.build(X.shape[1])
    return lambda: model.fit(X, y, batch_size=32)


def linear_of_sklearn(X, y, penalty):
    from sklearn.linear_model import SGDClassifier

    kind = "l2" if penalty else None
    model = SGDClassifier("log_loss", penalty=kind, alpha=penalty or 1e-4, learning_rate="constant", eta0=0.1)
    return lambda: model.partial_fit(X, y, classes=[0, 1])


LINEAR = {"fastgd": linear_of_fastgd, "scikit-learn": linear_of_sklearn}


class SparseLinear:
    """An epoch of logistic regression on 20,000 documents of 100,000 words."""

    version = "1"
    params = (list(LINEAR), [0.0, 1e-4])
    param_names = ("library", "penalty")
    rounds = 2
    repeat = (3, 10, 10.0)
    timeout = 120

    def setup(self, library, penalty):
        try:
            self.epoch = LINEAR[library](*documents(), penalty)
        except ImportError as error:
            raise NotImplementedError("the documents come with SciPy and scikit-learn") from error
        self.epoch()

    def time_epoch(self, library, penalty):
        self.epoch()


def sgd_classifier(library):
    if library == "fastgd":
        from fastgd.sklearn import SGDClassifier
    else:
        from sklearn.linear_model import SGDClassifier
    return SGDClassifier


# Of steps for each row.
BY_ROWS = {
    "l2": {},
    "l1": {"penalty": "l1", "alpha": 1e-6},
    "logistic, l2": {"loss": "log_loss"},
    "logistic": {"loss": "log_loss", "penalty": None, "learning_rate": "constant", "eta0": 0.1},
}


class SparseRows:
    """Ten epochs of SGDClassifier, a step for each of the 20,000 documents."""

    version = "1"
    params = (list(LINEAR), list(BY_ROWS), ["float32", "float64"])
    param_names = ("library", "setting", "dtype")
    rounds = 2
    repeat = (3, 10, 10.0)
    timeout = 120

    def setup(self, library, setting, dtype):
        try:
            kind = sgd_classifier(library)
            X, y = documents()
        except ImportError as error:
            raise NotImplementedError("the documents come with SciPy and scikit-learn") from error
        X, model = X.astype(dtype), kind(max_iter=10, tol=None, random_state=0, **BY_ROWS[setting])
        self.fit = lambda: model.fit(X, y)

    def time_fit(self, library, setting, dtype):
        self.fit()


# Of optimizers that catch up in different ways: not at all, step by step, and with the penalty counted.
CATCHING_UP = {"sgd": 0.0, "momentum": 0.0, "adam": 0.0, "adam with L2": 5e-7}


class SparseMLP:
    """Ten steps of 200 documents through a hidden layer of 100 units."""

    version = "1"
    params = (list(CATCHING_UP),)
    param_names = ("optimizer",)
    rounds = 2
    repeat = (3, 10, 10.0)
    timeout = 120

    def setup(self, optimizer):
        try:
            X, y = documents()
        except ImportError as error:
            raise NotImplementedError("the documents come with SciPy") from error
        chosen = {"sgd": fg.SGD(0.1), "momentum": fg.SGD(0.1, momentum=0.9)}.get(optimizer, fg.Adam())
        penalty = fg.L2(CATCHING_UP[optimizer]) if CATCHING_UP[optimizer] else None
        model = fg.Sequential(
            [fg.Dense(100, activation="relu"), fg.Dense(1)],
            loss="binary_cross_entropy",
            optimizer=chosen,
            penalty=penalty,
            n_threads=1,
        )
        model.fit(X, y, batch_size=200)
        X, y = X[:2000], y[:2000]
        self.steps = lambda: model.fit(X, y, batch_size=200)

    def time_steps(self, optimizer):
        self.steps()


class SparseMLPOfSklearn:
    """The same ten steps of scikit-learn's MLPClassifier, whose default is Adam with an L2 penalty."""

    version = "1"
    rounds = 1
    repeat = (1, 3, 60.0)
    number = 1
    timeout = 300

    def setup(self):
        try:
            from sklearn.neural_network import MLPClassifier
        except ImportError as error:
            raise NotImplementedError("scikit-learn is not installed") from error
        X, y = documents(2000)
        model = MLPClassifier((100,), batch_size=200, max_iter=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
        self.steps = lambda: model.partial_fit(X, y)

    def time_steps(self):
        self.steps()
