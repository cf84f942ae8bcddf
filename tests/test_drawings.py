"""Whatever is registered has its picture in the documentation, and the curves in it are what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from counterparts import ACTIVATION_NAMES, LOSS_NAMES

from fastgd import penalties, schedules
from fastgd._formula import ACTIVATIONS, LOSSES
from fastgd.initializers import INITIALIZERS
from fastgd.optimizers import BY_NAME

SOURCE = Path(__file__).parents[1] / "docs" / "extensions" / "drawings.py"

pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="the documentation is not part of this copy")

SCHEDULES = [getattr(schedules, name) for name in schedules.__all__ if name != "Schedule"]
PENALTIES = [penalties.L1, penalties.L2, penalties.ElasticNet]
REGISTERED = {
    **{name: ACTIVATIONS[name] for name in ACTIVATION_NAMES},
    **{name: LOSSES[name] for name in LOSS_NAMES},
    **INITIALIZERS,
    **{kind.__name__: kind for kind in [*SCHEDULES, *PENALTIES, *BY_NAME.values()]},
}


@pytest.fixture(scope="module")
def drawings():
    """The module that the documentation's build takes its pictures from."""
    spec = importlib.util.spec_from_file_location("drawings", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", REGISTERED)
def test_whatever_is_registered_is_drawn(name, drawings):
    """Curves of finite numbers, or a path that comes nearer to the minimum."""
    drawing = drawings.drawer_of(REGISTERED[name])(REGISTERED[name])
    assert drawing.title
    if drawing.path is not None:
        heights = [drawings.valley(point)[0] for point in drawing.path]
        assert heights[-1] < 0.1 * heights[0]
        return
    assert drawing.curves
    for values in drawing.curves.values():
        assert len(values) == len(drawing.x) - drawing.bars
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", [*ACTIVATION_NAMES, *LOSS_NAMES])
def test_the_second_curve_is_the_derivative_of_the_first(name, drawings):
    """By differences over two points, but where a kink lies between them."""
    drawing = drawings.drawer_of(REGISTERED[name])(REGISTERED[name])
    values, slopes = drawing.curves.values()
    h = drawing.x[1] - drawing.x[0]
    difference = (values[2:] - values[:-2]) / (2 * h)
    # h^2 / 6 times a third derivative, which is that of an exponential at most; a kink spoils the points beside it.
    off = abs(difference - slopes[1:-1]) > h * h * (1.0 + abs(slopes[1:-1]) + abs(values[1:-1]))
    assert np.count_nonzero(off) <= 6


def test_a_picture_is_the_same_text_for_the_same_curves(drawings):
    """So that a page changes only with what it shows."""
    pytest.importorskip("matplotlib")
    for name in ("relu", "Adam", "he_normal", "Constant"):
        drawing = drawings.drawer_of(REGISTERED[name])(REGISTERED[name])
        first = drawings.svg(drawing)
        assert first == drawings.svg(drawing)
        assert first.count("<path") > 3
