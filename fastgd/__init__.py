"""fastgd: linear models and multilayer perceptrons, trained by gradient descent on the CPU, fast.

Every name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import activations as activations
    from . import callbacks as callbacks
    from . import diagnostics as diagnostics
    from . import initializers as initializers
    from . import io as io
    from . import jit as jit
    from . import kernels as kernels
    from . import losses as losses
    from . import metrics as metrics
    from . import optimizers as optimizers
    from . import plots as plots
    from . import schedules as schedules
    from . import streams as streams
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
    from .constraints import MaxNorm as MaxNorm
    from .constraints import NonNegative as NonNegative
    from .diagnostics import Diagnostics as Diagnostics
    from .diagnostics import diagnose as diagnose
    from .errors import DivergenceError as DivergenceError
    from .errors import NotBuiltError as NotBuiltError
    from .gradcheck import check_gradients as check_gradients
    from .io import load as load
    from .layers import BatchNorm as BatchNorm
    from .layers import Dense as Dense
    from .layers import Dropout as Dropout
    from .layers import LayerNorm as LayerNorm
    from .layers import Softmax as Softmax
    from .methods import LBFGS as LBFGS
    from .methods import CoordinateSearch as CoordinateSearch
    from .methods import RandomSearch as RandomSearch
    from .minimization import minimize as minimize
    from .model import Sequential as Sequential
    from .optimizers import SGD as SGD
    from .optimizers import AdaBelief as AdaBelief
    from .optimizers import Adadelta as Adadelta
    from .optimizers import Adagrad as Adagrad
    from .optimizers import Adam as Adam
    from .optimizers import Adamax as Adamax
    from .optimizers import AdamW as AdamW
    from .optimizers import Ftrl as Ftrl
    from .optimizers import Lion as Lion
    from .optimizers import NAdam as NAdam
    from .optimizers import RAdam as RAdam
    from .optimizers import RMSprop as RMSprop
    from .optimizers import Rprop as Rprop
    from .optimizers import Yogi as Yogi
    from .penalties import L1 as L1
    from .penalties import L2 as L2
    from .penalties import ElasticNet as ElasticNet

__version__ = "0.1.0"

_HOMES = {
    "AdaBelief": "optimizers",
    "Adadelta": "optimizers",
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "Adamax": "optimizers",
    "BatchNorm": "layers",
    "CSVLogger": "callbacks",
    "CoordinateSearch": "methods",
    "Dense": "layers",
    "Diagnostics": "diagnostics",
    "DivergenceError": "errors",
    "Dropout": "layers",
    "EarlyStopping": "callbacks",
    "ElasticNet": "penalties",
    "Ftrl": "optimizers",
    "L1": "penalties",
    "L2": "penalties",
    "LBFGS": "methods",
    "LambdaCallback": "callbacks",
    "LayerNorm": "layers",
    "Softmax": "layers",
    "Lion": "optimizers",
    "MaxNorm": "constraints",
    "ModelCheckpoint": "callbacks",
    "NAdam": "optimizers",
    "NonNegative": "constraints",
    "NotBuiltError": "errors",
    "ProgressBar": "callbacks",
    "RAdam": "optimizers",
    "RMSprop": "optimizers",
    "RandomSearch": "methods",
    "ReduceLROnPlateau": "callbacks",
    "Rprop": "optimizers",
    "SGD": "optimizers",
    "Sequential": "model",
    "TensorBoard": "callbacks",
    "TerminateOnNaN": "callbacks",
    "TimeLimit": "callbacks",
    "Yogi": "optimizers",
    "activation": "_formula",
    "check_gradients": "gradcheck",
    "diagnose": "diagnostics",
    "load": "io",
    "loss": "_formula",
    "minimize": "minimization",
    "optimizer": "_formula",
    "show_config": "config",
}
_MODULES = (
    "activations",
    "callbacks",
    "diagnostics",
    "initializers",
    "io",
    "jit",
    "kernels",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "schedules",
    "streams",
)

__all__ = [  # noqa: F822  (found by __getattr__)
    "L1",
    "L2",
    "LBFGS",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm",
    "CSVLogger",
    "CoordinateSearch",
    "Dense",
    "Diagnostics",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "ElasticNet",
    "Ftrl",
    "LambdaCallback",
    "LayerNorm",
    "Lion",
    "MaxNorm",
    "ModelCheckpoint",
    "NAdam",
    "NonNegative",
    "NotBuiltError",
    "ProgressBar",
    "RAdam",
    "RMSprop",
    "RandomSearch",
    "ReduceLROnPlateau",
    "Rprop",
    "Sequential",
    "Softmax",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeLimit",
    "Yogi",
    "__version__",
    "activation",
    "activations",
    "check_gradients",
    "callbacks",
    "diagnose",
    "diagnostics",
    "initializers",
    "io",
    "jit",
    "kernels",
    "load",
    "loss",
    "losses",
    "metrics",
    "minimize",
    "optimizer",
    "optimizers",
    "plots",
    "schedules",
    "show_config",
    "streams",
]


# Type checkers know the names from above, and shall tell of others.
if not TYPE_CHECKING:

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
