"""Fixtures of several files."""

from __future__ import annotations

import pytest


@pytest.fixture
def threads_for_any_work(monkeypatch):
    """Small work stays on one thread, unless the limits are lifted."""
    for name in ("fastgd.threads.FLOPS_OF_STEP", "fastgd.threads.FLOPS_OF_CALL", "fastgd.model.FLOPS_OF_CALL"):
        monkeypatch.setattr(name, 1.0)
