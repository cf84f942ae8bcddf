"""The arithmetic of a step's floor, against figures worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def floor():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import floor
    finally:
        sys.path.remove(str(BENCHMARKS))
    return floor


@pytest.fixture
def machine(floor):
    """A machine of round figures: 100 operations and 10 or 20 bytes a second, and room for 100 bytes."""
    return floor.Machine(1, {"float32": 100.0, "float64": 50.0}, read_rate=10.0, update_rate=20.0, cache_bytes=100)


def test_products_leave_out_the_gradient_of_the_data(floor):
    step = floor.Step((4, 16, 3), batch_size=2)
    # Two rows, a multiplication and an addition each: 4 x 64 = 256 in the first layer, 4 x 48 = 192 in the second.
    assert step.products == {"forward": 448, "input gradient": 192, "weight gradient": 448}
    assert step.flops == 1088


def test_elements_of_each_kind(floor):
    step = floor.Step((4, 16, 8, 3), batch_size=2)
    assert step.n_parameters == 5 * 16 + 17 * 8 + 9 * 3
    assert step.elements == {"activation": 48, "derivative": 48, "loss": 6, "update": 243}


def test_a_single_layer_has_two_products(floor):
    assert floor.Step((10, 1), batch_size=1).flops == 2 * 10 + 2 * 10


@pytest.mark.parametrize(
    ("dtype", "n_states", "read", "updated"),
    # 11 parameters, of 4 or 8 bytes, beside a cache of 20.
    [("float32", 0, 44 - 20, 2 * (44 - 20)), ("float32", 2, 44 - 20, 2 * (132 - 20)),
     ("float64", 1, 88 - 20, 2 * (176 - 20))],
)  # fmt: skip
def test_bytes_beyond_the_cache_move(floor, dtype, n_states, read, updated):
    step = floor.Step((10, 1), 1, dtype, n_states)
    assert (step.bytes_read(20), step.bytes_updated(20)) == (read, updated)


def test_what_fits_the_cache_moves_nothing(floor):
    step = floor.Step((10, 1), 1, "float32", 2, n_samples=3)
    assert step.bytes_read(132) == step.bytes_updated(132) == 0


def test_the_data_set_moves_once_an_epoch(floor):
    # 50 rows of 40 bytes, of which 1000 stay in the cache: 1000 bytes an epoch of ten steps.
    assert floor.Step((10, 1), 5, n_samples=50).bytes_read(1000) == 100


def test_floor_is_the_longer_of_products_and_transfers(floor, machine):
    products = floor.Step((10, 1), batch_size=100, n_states=0)
    assert floor.floor(products, machine) == 4000 / 100
    transfers = floor.Step((10, 10), batch_size=1, n_states=1)
    # 110 parameters: (440 - 100) / 10 for the forward pass and 2 (880 - 100) / 20 for the update.
    assert floor.floor(transfers, machine) == 34 + 78
    assert floor.fraction_of_floor(224.0, transfers, machine) == 0.5


def test_float64_has_its_own_rate(floor, machine):
    step = floor.Step((5, 1), batch_size=100, dtype="float64", n_states=0)
    assert floor.floor(step, machine) == 2000 / 50


def test_a_network_is_read_from_its_name(floor):
    adam = floor.Step.of("784-128-10@64", "float64", "adam", n_samples=640)
    assert adam == floor.Step((784, 128, 10), 64, "float64", 2, 640)
    assert floor.Step.of("784-128-10@64", optimizer="sgd").n_states == 0
