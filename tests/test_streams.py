"""Blocks instead of arrays, columns that are standardised meanwhile, and arrays of other libraries."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from counterparts import BACKENDS
from tolerances import assert_same_bits

import fastgd as fg
from fastgd.standardization import Standardization

each_backend = pytest.mark.parametrize("backend", BACKENDS)

N, N_COLUMNS, N_CLASSES = 120, 4, 3
ENDS = (0, 50, 51, 120)


def data(seed=0):
    """Rows of columns that differ in scale and place, and labels that depend on them."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(N, N_COLUMNS)) * [1.0, 3.0, 0.02, 1.0] + [0.0, 5.0, 0.0, -3.0]
    return X, ((X[:, 0] > 0) + (X[:, 1] > 5)).astype(int)


def blocks(X, y, *weights):
    """Cut at `ENDS`; a block of one row is among them."""
    for first, last in zip(ENDS, ENDS[1:], strict=False):
        yield tuple(array[first:last] for array in (X, y, *weights))


def classifier(optimizer=None, **options):
    layers = [fg.Dense(8, activation="tanh"), fg.Dense(N_CLASSES)]
    return fg.Sequential(layers, loss="softmax_cross_entropy", optimizer=optimizer or fg.Adam(0.01), **options)


# -------------------------------------------------------------------------------------------------------- blocks
@each_backend
def test_a_block_is_gone_through_like_an_array(backend):
    """In the order of the blocks, unshuffled, each step is that of a batch by itself."""
    X, y = data()
    weights = np.random.default_rng(1).random(N)
    model, twin = classifier(backend=backend), classifier(backend=backend)
    model.fit(lambda: blocks(X, y, weights), epochs=2, batch_size=16, shuffle=False)
    sums = np.zeros((2, 2))
    for epoch in range(2):
        for block_X, block_y, block_weights in blocks(X, y, weights):
            for first in range(0, len(block_X), 16):
                batch = slice(first, first + 16)
                total = block_weights[batch].sum()
                loss = twin.train_on_batch(block_X[batch], block_y[batch], sample_weight=block_weights[batch])
                sums[epoch] += loss * total, total
    assert_same_bits(model.get_weights(), twin.get_weights(), "weights")
    np.testing.assert_allclose(model.history.history["loss"], sums[:, 0] / sums[:, 1], rtol=1e-12)
    assert model.history.epochs == [1, 2]
    assert model.n_epochs_done == 2
    assert model.n_steps_done == twin.n_steps_done == 2 * (4 + 1 + 5)


def test_blocks_are_shuffled_the_same_way_each_time():
    X, y = data()
    models = [classifier(), classifier(), classifier(seed=1)]
    for model in models:
        model.fit(lambda: blocks(X, y), epochs=3, batch_size=8)
    assert_same_bits(models[0].get_weights(), models[1].get_weights(), "weights")
    twin = classifier()
    for _ in range(3):
        twin.fit(blocks(X, y), batch_size=8)
    assert_same_bits(models[0].get_weights(), twin.get_weights(), "weights of fits of one epoch")
    unshuffled = classifier()
    unshuffled.fit(lambda: blocks(X, y), epochs=3, batch_size=8, shuffle=False)
    assert not np.array_equal(models[0].get_weights()[0], unshuffled.get_weights()[0])


def test_every_row_is_seen_once_and_blocks_have_orders_of_their_own():
    """A gradient step on a linear model adds its rows up: what was seen can be read off the weights."""
    X, y = np.eye(6), np.ones(6)
    seen = []
    for shuffle in (True, False):
        model = fg.Sequential(
            [fg.Dense(1, initializer="zeros")], loss="half_squared_error", optimizer=fg.SGD(0.5), dtype="float64"
        )
        model.fit([(X, y), (X, y)], batch_size=1, shuffle=shuffle)
        seen.append(model.get_weights()[0][:, 0])
    # Each row's error has been met twice, with a bias that depends on the rows before.
    assert (seen[0] != 0).all()
    assert not np.array_equal(*seen)


def test_lists_iterables_and_functions_are_alike():
    X, y = data()
    forms = [list(blocks(X, y)), lambda: blocks(X, y), lambda: list(blocks(X, y))]
    models = [classifier() for _ in forms]
    for model, form in zip(models, forms, strict=True):
        model.fit(form, epochs=2)
    for model in models[1:]:
        assert_same_bits(model.get_weights(), models[0].get_weights(), "weights")


def test_sparse_blocks_and_validation():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    X = X * (np.random.default_rng(4).random(X.shape) < 0.5)
    models = [classifier(), classifier()]
    models[0].fit(lambda: blocks(X, y), epochs=2, validation_data=(X[:20], y[:20]))
    models[1].fit(lambda: blocks(sparse.csr_array(X), y), epochs=2, validation_data=(sparse.csr_array(X[:20]), y[:20]))
    assert models[0].history.history == models[1].history.history
    assert set(models[0].history.history) == {"loss", "val_loss", "val_accuracy"}


def test_a_line_is_printed_for_each_pass(capsys):
    X, y = data()
    classifier().fit(lambda: blocks(X, y), epochs=2, verbose=1)
    assert capsys.readouterr().out.count("epoch ") == 2


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "fastgd-reader"]


def test_the_next_block_is_read_meanwhile():
    """A second block is asked for before the first has been learnt from; and the thread ends."""
    X, y = data()
    second_was_read = threading.Event()

    def source():
        yield X, y
        second_was_read.set()
        yield X, y

    class Waiting:
        def __array__(self, dtype=None, copy=None):
            assert second_was_read.wait(10)
            return X

    def slow():
        yield Waiting(), y
        second_was_read.set()
        yield X, y

    classifier().fit(slow())
    classifier().fit(source())
    assert not readers()


def test_an_error_of_the_source_is_raised_as_it_is():
    X, y = data()

    def source():
        yield X, y
        raise OSError("disk on fire")

    model = classifier()
    with pytest.raises(OSError, match="disk on fire"):
        model.fit(source())
    assert not readers()
    model.fit(X, y)


def test_a_source_without_end_is_left_when_something_is_refused():
    X, y = data()

    def source():
        yield X, y
        while True:
            yield X[:, :-1], y

    with pytest.raises(ValueError, match=r"block 2 X: got 3 columns, expected 4"):
        classifier().fit(source())
    assert not readers()


@pytest.mark.parametrize(
    "source, error, message",
    [
        (lambda X, y: [X], TypeError, r"block 1: got a ndarray, expected a tuple"),
        (lambda X, y: [(X,)], TypeError, r"block 1: got 1 items, expected a tuple"),
        (lambda X, y: [(X, y), (X, y[:-1])], ValueError, r"block 2 y: got 119 rows"),
        (lambda X, y: [(np.where(X == X[3, 1], np.nan, X), y)], ValueError, r"block 1 X\[3, 1\]: got nan"),
        (lambda X, y: [], ValueError, r"X: got no blocks, expected at least one"),
        (lambda X, y: iter([(X, y)]), ValueError, r"spent after one pass, expected something that can be gone"),
    ],
)
def test_blocks_that_are_refused(source, error, message):
    X, y = data()
    with pytest.raises(error, match=message):
        classifier().fit(source(X, y), epochs=2)
    assert not readers()


@pytest.mark.parametrize("source", [blocks, iter])
def test_targets_beside_blocks_are_refused(source):
    X, y = data()
    with pytest.raises(TypeError, match=r"y: got a ndarray beside blocks, expected None"):
        classifier().fit(source if source is blocks else iter([(X, y)]), y)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_weight": np.ones(N)}, "sample_weight: got one for all blocks"),
        ({"class_weight": "balanced"}, "class_weight: got 'balanced'"),
    ],
)
def test_what_needs_all_rows_is_refused(options, message):
    X, y = data()
    with pytest.raises(TypeError, match=message):
        classifier().fit([(X, y)], **options)
    with pytest.raises(TypeError, match="LBFGS needs all rows at once"):
        classifier(fg.LBFGS()).fit([(X, y)])


def test_divergence_names_the_epoch():
    X, y = data()
    model = classifier(fg.SGD(3e38))
    with pytest.raises(fg.DivergenceError, match="epoch 1"):
        model.fit(lambda: blocks(X, y), epochs=2, batch_size=8)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert not readers()


# -------------------------------------------------------------------------------------------------------- Parquet
@pytest.fixture
def folder(tmp_path):
    """Three files of columns a to d, labels and weights."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    X, y = data()
    weights = np.random.default_rng(5).random(N)
    for k, (part, labels, part_weights) in enumerate(blocks(X, y, weights)):
        columns = {name: part[:, j] for j, name in enumerate("abcd")} | {"label": labels, "importance": part_weights}
        parquet.write_table(pyarrow.table(columns), tmp_path / f"part{k}.parquet")
    return tmp_path


def test_a_folder_of_parquet_files(folder):
    X, y = data()
    weights = np.random.default_rng(5).random(N)
    model, twin = classifier(), classifier()
    source = fg.streams.ParquetFolder(folder, target="label", weight="importance")
    model.fit(source, epochs=2, shuffle=False)
    twin.fit(lambda: blocks(X, y, weights), epochs=2, shuffle=False)
    assert_same_bits(model.get_weights(), twin.get_weights(), "weights")
    assert [len(block[0]) for block in fg.streams.ParquetFolder(folder, target="label", block_rows=32)] == [
        32, 18, 1, 32, 32, 5,
    ]  # fmt: skip
    chosen = fg.streams.ParquetFolder(folder / "part0.parquet", target=["a", "b"], features=["d", "c"])
    [(part, targets)] = list(chosen)
    np.testing.assert_array_equal(part, X[:50, [3, 2]])
    np.testing.assert_array_equal(targets, X[:50, :2])


def test_files_and_row_groups_are_shuffled(folder):
    """Each row is read once; within a row group rows stay together, in blocks of at most so many."""
    from pyarrow import parquet

    whole = parquet.read_table(folder / "part2.parquet")
    parquet.write_table(whole, folder / "part2.parquet", row_group_size=23)
    source, asked = fg.streams.ParquetFolder(folder, target="label", weight="importance", block_rows=20), []

    def backwards(n):
        asked.append(n)
        return np.arange(n)[::-1]

    X, _ = data()
    ends = [(97, 117), (117, 120), (74, 94), (94, 97), (51, 71), (71, 74), (50, 51), (0, 20), (20, 40), (40, 50)]
    for (block, *_), (first, last) in zip(source.in_order(backwards), ends, strict=True):
        np.testing.assert_array_equal(block, X[first:last])
    assert asked == [3, 3, 1, 1]
    assert [len(block) for block, *_ in source] == [20, 20, 10, 1, 20, 3, 20, 3, 20, 3]
    shuffled, again, in_turn = classifier(), classifier(), classifier()
    for model, shuffle in ((shuffled, True), (again, True), (in_turn, False)):
        model.fit(source, epochs=2, batch_size=None, shuffle=shuffle)
    assert_same_bits(shuffled.get_weights(), again.get_weights(), "weights")
    assert not np.array_equal(shuffled.get_weights()[0], in_turn.get_weights()[0])


def test_a_folder_that_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"path: got .*expected Parquet files"):
        fg.streams.ParquetFolder(tmp_path / "nothing", target="label")
    with pytest.raises(ValueError, match=r"column: got 'price', expected one of a, b, c, d, label, importance"):
        fg.streams.ParquetFolder(folder, target="price")
    with pytest.raises(ValueError, match=r"block_rows: got 0"):
        fg.streams.ParquetFolder(folder, target="label", block_rows=0)


# ------------------------------------------------------------------------------------------------- standardisation
def test_moments_of_blocks_are_those_of_the_whole():
    X, _ = data()
    weights = np.random.default_rng(6).random(N)
    whole, found = Standardization(), Standardization()
    whole.add(X, weights)
    for part, part_weights in blocks(X, weights):
        found.add(part, part_weights)
    mean = np.average(X, axis=0, weights=weights)
    deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    # Sums of N terms.
    for each in (whole, found):
        np.testing.assert_allclose(each.mean, mean, rtol=N * 2**-52, atol=N * 2**-52)
        np.testing.assert_allclose(each.scale, deviation, rtol=N * 2**-52)


def test_constant_columns_keep_their_scale():
    found = Standardization()
    found.add(np.full((1000, 2), [0.1, 0.0]), None)
    np.testing.assert_array_equal(found.scale, [1.0, 1.0])


@each_backend
@pytest.mark.parametrize("streamed", [True, False])
def test_standardised_is_as_if_done_by_hand(streamed, backend):
    X, y = data()
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    model, twin = (classifier(dtype="float64", backend=backend) for _ in range(2))
    options = {"epochs": 4, "batch_size": 16, "shuffle": False}
    if streamed:
        model.fit(lambda: blocks(X, y), standardize=True, **options)
        twin.fit(lambda: blocks(scaled, y), **options)
    else:
        model.fit(X, y, standardize=True, validation_data=(X, y), **options)
        twin.fit(scaled, y, validation_data=(scaled, y), **options)
    # Moments differ in the last digits; some thirty steps do not make much more of that.
    for name, losses in twin.history.history.items():
        np.testing.assert_allclose(model.history.history[name], losses, rtol=1e-11)
    np.testing.assert_allclose(model.predict(X), twin.predict(scaled), rtol=1e-11, atol=1e-11)


def test_a_standardised_fit_goes_on():
    """What the model computes is not touched by beginning anew, and its scores are those of raw columns."""
    X, y = data()
    model = classifier(fg.SGD(0.0), dtype="float64")
    model.build(N_COLUMNS)
    before = model.predict(X)
    model.fit(X, y, standardize=True)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-11)


def test_what_cannot_be_standardised():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    with pytest.raises(ValueError, match="standardize: got True, expected False for sparse rows"):
        classifier().fit(sparse.csr_array(X), y, standardize=True)
    with pytest.raises(TypeError, match="standardize: got 'yes', expected True or False"):
        classifier().fit(X, y, standardize="yes")
    model = fg.Sequential([fg.LayerNorm(), fg.Dense(3)], loss="softmax_cross_entropy")
    with pytest.raises(ValueError, match="standardize: got True, expected False: the first layer is LayerNorm"):
        model.fit(X, y, standardize=True)
    with pytest.raises(ValueError, match="spent after one pass"):
        classifier().fit(blocks(X, y), standardize=True)


# ---------------------------------------------------------------------------------------------- other libraries' data
class Exchanged:
    """An array that can be had by DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def frames():
    """Ways to pass the same numbers, by the name of the library."""
    return {
        "DLPack": Exchanged,
        "pandas": lambda a: pytest.importorskip("pandas").DataFrame(a, columns=list("abcd")[: a.shape[1]])
        if a.ndim == 2
        else pytest.importorskip("pandas").Series(a),
        "polars": lambda a: pytest.importorskip("polars").DataFrame(a, schema=list("abcd"))
        if a.ndim == 2
        else pytest.importorskip("polars").Series(a),
        "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    }


@pytest.mark.parametrize("library", frames())
def test_arrays_of_other_libraries(library):
    X, y = data()
    given = frames()[library]
    model, twin = classifier(), classifier()
    model.fit(given(X), given(y), epochs=2)
    twin.fit(X, y, epochs=2)
    assert_same_bits(model.get_weights(), twin.get_weights(), "weights")
    assert_same_bits([model.predict(given(X))], [twin.predict(X)], "predictions")


def test_memory_that_is_not_the_processors():
    class Elsewhere:
        def __dlpack__(self, **options):
            raise BufferError("on another device")

        def __dlpack_device__(self):
            return 2, 0

    with pytest.raises(TypeError, match=r"X: got a Elsewhere that NumPy cannot read .*expected numbers in the"):
        classifier().fit(Elsewhere(), np.zeros(3, int))
