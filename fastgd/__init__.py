"""fastgd: linear models and multilayer perceptrons, trained by gradient descent on the CPU, fast.

Every name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import activations as activations
    from . import initializers as initializers
    from . import kernels as kernels
    from . import losses as losses
    from . import optimizers as optimizers
    from . import plots as plots
    from . import schedules as schedules
    from ._formula import activation as activation
    from ._formula import loss as loss
    from ._formula import optimizer as optimizer
    from .config import show_config as show_config
    from .constraints import MaxNorm as MaxNorm
    from .constraints import NonNegative as NonNegative
    from .errors import DivergenceError as DivergenceError
    from .errors import NotBuiltError as NotBuiltError
    from .gradcheck import check_gradients as check_gradients
    from .layers import BatchNorm as BatchNorm
    from .layers import Dense as Dense
    from .layers import Dropout as Dropout
    from .layers import LayerNorm as LayerNorm
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
    "CoordinateSearch": "methods",
    "Dense": "layers",
    "DivergenceError": "errors",
    "Dropout": "layers",
    "ElasticNet": "penalties",
    "Ftrl": "optimizers",
    "L1": "penalties",
    "L2": "penalties",
    "LBFGS": "methods",
    "LayerNorm": "layers",
    "Lion": "optimizers",
    "MaxNorm": "constraints",
    "NAdam": "optimizers",
    "NonNegative": "constraints",
    "NotBuiltError": "errors",
    "RAdam": "optimizers",
    "RMSprop": "optimizers",
    "RandomSearch": "methods",
    "Rprop": "optimizers",
    "SGD": "optimizers",
    "Sequential": "model",
    "Yogi": "optimizers",
    "activation": "_formula",
    "check_gradients": "gradcheck",
    "loss": "_formula",
    "minimize": "minimization",
    "optimizer": "_formula",
    "show_config": "config",
}
_MODULES = ("activations", "initializers", "kernels", "losses", "optimizers", "plots", "schedules")

__all__ = [  # noqa: F822  (found by __getattr__)
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm",
    "CoordinateSearch",
    "Dense",
    "DivergenceError",
    "Dropout",
    "ElasticNet",
    "Ftrl",
    "L1",
    "L2",
    "LBFGS",
    "LayerNorm",
    "Lion",
    "MaxNorm",
    "NAdam",
    "NonNegative",
    "NotBuiltError",
    "RAdam",
    "RMSprop",
    "RandomSearch",
    "Rprop",
    "SGD",
    "Sequential",
    "Yogi",
    "__version__",
    "activation",
    "activations",
    "check_gradients",
    "initializers",
    "kernels",
    "loss",
    "losses",
    "minimize",
    "optimizer",
    "optimizers",
    "plots",
    "schedules",
    "show_config",
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
