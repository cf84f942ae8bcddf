"""Estimators for scikit-learn, 1.6 or later: its own of the same names, faster and with more in them.

Everything that scikit-learn's classes take, have and do is here under the same names and with the same defaults, so
that replacing the import is all there is to do; what they lack stands at the end of each list of parameters.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastgd.sklearn needs scikit-learn, 1.6 or later: pip install "fastgd[sklearn]"', name="sklearn"
    ) from error

from . import skl2onnx_
from .autoencoder import MLPAutoencoder
from .classifier import MLPClassifier
from .linear_classifier import SGDClassifier
from .linear_regressor import SGDRegressor
from .regressor import MLPRegressor

__all__ = ["MLPAutoencoder", "MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor"]

skl2onnx_.register_when_imported(MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor)
