"""Errors that a user may want to catch by name, and the sentence that all refusals share."""

from __future__ import annotations


class NotBuiltError(RuntimeError):
    """The model has no weights yet; ``build(n_features)`` or ``fit`` gives it some.

    Examples
    --------
    >>> import fastgd as fg
    >>> fg.Sequential([fg.Dense(1)], backend="numpy").predict([[1.0]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    fastgd.errors.NotBuiltError: model: got one without weights, ...
    """


class DivergenceError(ArithmeticError):
    """Training was stopped because a loss or a weight would have become infinite or NaN.

    The model keeps finite weights: those before that step, or, where only a part of the weights would have become
    non-finite in the step itself, these from before it and the others from after it.

    Attributes
    ----------
    epoch : int or None
        The epoch it happened in, counted from 1 since the model was built; None for a single batch.
    step : int
        The optimizer step that failed, counted from 1 since the model was built.
    learning_rate : float
        The learning rate of the optimizer.

    Examples
    --------
    >>> import fastgd as fg
    >>> model = fg.Sequential([fg.Dense(1)], loss="mean_squared_error", optimizer=fg.SGD(100.0), backend="numpy")
    >>> try:
    ...     model.fit([[1.0], [2.0]], [1.0, 2.0], epochs=100)
    ... except fg.DivergenceError as error:
    ...     print(error.learning_rate)
    100.0
    """

    def __init__(self, message: str, epoch: int | None, step: int, learning_rate: float) -> None:
        super().__init__(message, epoch, step, learning_rate)
        self.epoch = epoch
        self.step = step
        self.learning_rate = learning_rate

    def __str__(self) -> str:
        return str(self.args[0])


def refusal(what: str, got: str, expected: str, remedy: str) -> str:
    """One sentence for input that is refused: what and where, what it is, what it has to be, what to try.

    Examples
    --------
    >>> refusal("epochs", "0", "a whole number of at least 1", "pass epochs=1")
    'epochs: got 0, expected a whole number of at least 1; pass epochs=1'
    """
    return f"{what}: got {got}, expected {expected}; {remedy}"
