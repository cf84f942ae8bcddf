"""fastgd: linear models and multilayer perceptrons, trained by gradient descent on the CPU, fast.

Every name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import activations as activations
    from . import callbacks as callbacks
    from . import initializers as initializers
    from . import io as io
    from . import kernels as kernels
    from . import losses as losses
    from . import optimizers as optimizers
    from . import schedules as schedules
    from ._formula import activation as activation
    from ._formula import loss as loss
    from ._formula import optimizer as optimizer
    from .callbacks import CSVLogger as CSVLogger
    from .callbacks import EarlyStopping as EarlyStopping
    from .callbacks import LambdaCallback as LambdaCallback
    from .callbacks import ModelCheckpoint as ModelCheckpoint
    from .callbacks import ProgressBar as ProgressBar
    from .callbacks import ReduceLROnPlateau as ReduceLROnPlateau
    from .callbacks import TensorBoard as TensorBoard
    from .callbacks import TerminateOnNaN as TerminateOnNaN
    from .callbacks import TimeLimit as TimeLimit
    from .config import show_config as show_config
    from .errors import DivergenceError as DivergenceError
    from .errors import NotBuiltError as NotBuiltError
    from .io import load as load
    from .layers import Dense as Dense
    from .model import Sequential as Sequential
    from .optimizers import SGD as SGD
    from .optimizers import Adadelta as Adadelta
    from .optimizers import Adagrad as Adagrad
    from .optimizers import Adam as Adam
    from .optimizers import RMSprop as RMSprop
    from .penalties import L1 as L1
    from .penalties import L2 as L2
    from .penalties import ElasticNet as ElasticNet

__version__ = "0.1.0"

_HOMES = {
    "Adadelta": "optimizers",
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "CSVLogger": "callbacks",
    "Dense": "layers",
    "DivergenceError": "errors",
    "EarlyStopping": "callbacks",
    "ElasticNet": "penalties",
    "L1": "penalties",
    "L2": "penalties",
    "LambdaCallback": "callbacks",
    "ModelCheckpoint": "callbacks",
    "NotBuiltError": "errors",
    "ProgressBar": "callbacks",
    "RMSprop": "optimizers",
    "ReduceLROnPlateau": "callbacks",
    "SGD": "optimizers",
    "Sequential": "model",
    "TensorBoard": "callbacks",
    "TerminateOnNaN": "callbacks",
    "TimeLimit": "callbacks",
    "activation": "_formula",
    "load": "io",
    "loss": "_formula",
    "optimizer": "_formula",
    "show_config": "config",
}
_MODULES = ("activations", "callbacks", "initializers", "io", "kernels", "losses", "optimizers", "schedules")

__all__ = [  # noqa: F822  (found by __getattr__)
    "L1",
    "L2",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "CSVLogger",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "ElasticNet",
    "LambdaCallback",
    "ModelCheckpoint",
    "NotBuiltError",
    "ProgressBar",
    "RMSprop",
    "ReduceLROnPlateau",
    "Sequential",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeLimit",
    "__version__",
    "activation",
    "activations",
    "callbacks",
    "initializers",
    "io",
    "kernels",
    "load",
    "loss",
    "losses",
    "optimizer",
    "optimizers",
    "schedules",
    "show_config",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    import difflib

    near = difflib.get_close_matches(name, __all__, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return list(__all__)
