"""Which names a parameter takes: those that are known when it is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils._param_validation import StrOptions

from .._formula import ACTIVATIONS, LOSSES, OPTIMIZERS
from ..optimizers import BY_NAME

# fastgd's names of what scikit-learn calls otherwise.
SAME_ACTIVATION = {"identity": "linear", "logistic": "sigmoid"}


class KnownNames(StrOptions):
    """Names that are looked up at each check: a user's own formulas are declared after this is imported.

    Parameters
    ----------
    names : callable
        Gives the set of them.
    """

    def __init__(self, names: Callable[[], set[str]]) -> None:
        super().__init__(names())
        self.names = names

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether a value is one of them."""
        self.options = self.names()
        return bool(super().is_satisfied_by(val))


def activation_names() -> set[str]:
    """scikit-learn's, fastgd's and a user's own."""
    return {*SAME_ACTIVATION, *ACTIVATIONS}


def solver_names() -> set[str]:
    """Those of optimizers, by whatever class, and of rules that a user has declared."""
    return {"lbfgs", *BY_NAME, *(name for name, rule in OPTIMIZERS.items() if not rule.built_in)}


def elementwise_losses(*kinds: str) -> set[str]:
    """Those of losses on single scores with targets of these kinds."""
    return {name for name, loss in LOSSES.items() if not loss.rowwise and loss.target in kinds}


def losses_by_class() -> set[str]:
    """Those of losses on the scores of all classes at once."""
    return {name for name, loss in LOSSES.items() if loss.by_class}
