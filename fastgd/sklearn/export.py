"""What every fitted estimator can be written as."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from ..errors import refusal
from ..inputs import read_dtype

if TYPE_CHECKING:
    from os import PathLike

    import numpy.typing as npt

    from ..export.predictor import Predictor


class Exportable:
    """Estimators that have a `Predictor`."""

    def to_onnx(self, path: str | PathLike[str], *, dtype: npt.DTypeLike | None = None) -> None:
        """Write the fitted estimator as an ONNX file, for onnxruntime and whatever else reads that format.

        Needs the onnx library: ``pip install "fastgd[onnx]"``. A whole pipeline is converted by skl2onnx, which knows
        these estimators where it is installed.

        Parameters
        ----------
        path : path
            Replaced if it exists.
        dtype : {"float32", "float64"}, optional
            Of the rows and of all numbers within; by default the one that the estimator was fitted with.

        Raises
        ------
        NotFittedError
        ImportError
            If onnx is not installed.
        ValueError
            For classes that are neither whole numbers nor text, for more than 2 GiB of weights, and with `calibration`.

        Notes
        -----
        The graph takes ``X`` of shape (N, n_features). Names are those of skl2onnx: a classifier gives ``label``, int64
        or text, and ``probabilities`` of shape (N, n_classes), scores where the loss has no probabilities, of which the
        first of two is the negative of the other; a regressor gives ``variable`` of shape (N, n_outputs), what
        `predict` gives.
        """
        from .onnx_ import write_onnx

        write_onnx(self._predictor(dtype), self, path)

    def to_c(self, path: str | PathLike[str], *, name: str = "predict", dtype: npt.DTypeLike | None = None) -> None:
        """Write the fitted estimator as one C99 file, as `fastgd.Sequential.to_c` does.

        Parameters
        ----------
        path : path
            Replaced if it exists.
        name : str
            Of the function, an identifier of C. For one row it gives the probability of each class, or of the second of
            two; scores where the loss has no probabilities; numbers for a regressor.
        dtype : {"float32", "float64"}, optional
            ``float`` or ``double``; by default the one that the estimator was fitted with.

        Raises
        ------
        NotFittedError
        ValueError
            If `name` is no identifier of C, or means something there already; and with `calibration`.
        """
        from ..export.c import write_c

        write_c(self._predictor(dtype), path, name)

    @abstractmethod
    def _predictor_as_fitted(self) -> Predictor:
        """What is exported, in the precision it was fitted with."""

    def _predictor(self, dtype: npt.DTypeLike | None = None) -> Predictor:
        """What is exported, in the precision that is asked for."""
        check_is_fitted(self)
        calibrator: Any = getattr(self, "calibrator_", None)
        if calibrator is not None:
            remedy = "make it without, and convert a CalibratedClassifierCV of it by skl2onnx"
            raise ValueError(refusal("calibration", f"{calibrator.method!r} in an export", "None", remedy))
        predictor = replace(self._predictor_as_fitted(), title=repr(self))
        if dtype is None:
            return predictor
        chosen = read_dtype(dtype)
        weights = [array.astype(chosen) for array in predictor.weights]
        return replace(predictor, weights=weights, dtype=chosen)
