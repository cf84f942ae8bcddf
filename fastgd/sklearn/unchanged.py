"""Estimators that refuse what they are given, and stay what they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["unchanged_if_refused"]

# By which scikit-learn finds the callbacks that are to be told of the end, however a fit ends.
OF_CALLBACKS = {"_callback_fit_ctx", "_skl_callbacks_to_teardown"}


@contextmanager
def unchanged_if_refused(estimator: Any) -> Iterator[None]:
    """Put all attributes back where the body raises an exception.

    scikit-learn deletes and replaces what an earlier fit has found while it is still looking at the data of the next.
    """
    before = dict(vars(estimator))
    try:
        yield
    except Exception:
        now = vars(estimator)
        kept = {name: now[name] for name in OF_CALLBACKS & now.keys()}
        now.clear()
        now.update({**before, **kept})
        raise
