"""Data in blocks: read ahead while the model learns, shuffled block by block, larger than memory if need be."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .errors import refusal
from .inputs import is_sparse
from .optional import import_optional

if TYPE_CHECKING:
    from os import PathLike

    from ._kernels import Array

__all__ = ["ParquetFolder"]

Item = TypeVar("Item")

# Blocks that are read but not yet learnt from: one that is ready, and one that is being read.
BLOCKS_AHEAD = 1


class ParquetFolder:
    """Blocks of rows from Parquet files, for ``model.fit(ParquetFolder(...))``. Needs pyarrow, extra ``parquet``.

    Parameters
    ----------
    path : path
        A folder, of whose files those that end in ``.parquet`` are read in the order of their names, or one file.
    target : str or sequence of str
        The column, or columns, that y is made of.
    features : sequence of str, optional
        The columns of X, in this order. By default all that are neither targets nor weights.
    weight : str, optional
        The column of sample weights.
    block_rows : int, default 65536
        The most rows of a block. A row group of a file is cut into blocks; a block never spans two of them.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If there is no such file or column, or `block_rows` is below 1.

    Notes
    -----
    Up to three blocks are in memory at a time, whatever the size of the files. Columns of numbers or booleans
    are taken; a missing value becomes NaN, and is refused as such.

    Shuffled, files come in another order in each epoch, and so do the row groups of each file; see `in_order`.

    Examples
    --------
    >>> import fastgd as fg
    >>> blocks = fg.streams.ParquetFolder("sales/", target="units")  # doctest: +SKIP
    >>> model.fit(blocks, epochs=3, standardize=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        target: str | list[str],
        features: list[str] | None = None,
        weight: str | None = None,
        block_rows: int = 1 << 16,
    ) -> None:
        self._parquet: Any = import_optional("pyarrow.parquet", "fg.streams.ParquetFolder")
        self.path = Path(path)
        self.files = [self.path] if self.path.is_file() else sorted(self.path.glob("*.parquet"))
        if not self.files:
            remedy = "pass the folder that has them, or one file"
            raise ValueError(refusal("path", f"{str(self.path)!r}, without any", "Parquet files", remedy))
        if isinstance(block_rows, bool) or not isinstance(block_rows, int) or block_rows < 1:
            expected = "a whole number of at least 1"
            raise ValueError(refusal("block_rows", repr(block_rows), expected, "pass block_rows=65536"))
        self.targets = [target] if isinstance(target, str) else list(target)
        self.one_target = isinstance(target, str)
        self.weight, self.block_rows = weight, block_rows
        names = self._parquet.read_schema(self.files[0]).names
        others = {*self.targets, weight}
        self.features = [name for name in names if name not in others] if features is None else list(features)
        for name in (*self.targets, *self.features, *([weight] if weight is not None else [])):
            if name not in names:
                raise ValueError(refusal("column", repr(name), f"one of {', '.join(names)}", f"see {self.files[0]}"))

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        return self.in_order(np.arange)

    def in_order(self, order: Callable[[int], Iterable[int]]) -> Iterator[tuple[Array, ...]]:
        """The same blocks, with files and row groups in another order: what `fit` goes through with `shuffle`.

        Parameters
        ----------
        order : callable
            Called with a number of things, first of files, then of the row groups of each; gives their order.

        Yields
        ------
        tuple of ndarray

        Examples
        --------
        >>> import numpy as np
        >>> import fastgd as fg
        >>> folder = fg.streams.ParquetFolder("sales/", target="units")  # doctest: +SKIP
        >>> blocks = folder.in_order(np.random.default_rng(0).permutation)  # doctest: +SKIP
        """
        columns = [*self.features, *self.targets, *([self.weight] if self.weight is not None else [])]
        for k in order(len(self.files)):
            with self._parquet.ParquetFile(self.files[k]) as opened:
                for group in order(opened.num_row_groups):
                    for batch in opened.iter_batches(self.block_rows, row_groups=[int(group)], columns=columns):
                        if batch.num_rows:
                            yield self._block(batch)

    def _block(self, batch: Any) -> tuple[Array, ...]:
        def column(name: str) -> Array:
            values: Array = batch.column(name).to_numpy(zero_copy_only=False)
            return values

        X = np.stack([column(name) for name in self.features], axis=1)
        y = column(self.targets[0]) if self.one_target else np.stack([column(t) for t in self.targets], axis=1)
        return (X, y) if self.weight is None else (X, y, column(self.weight))

    def __repr__(self) -> str:
        return f"ParquetFolder({str(self.path)!r}, target={self.targets!r}, block_rows={self.block_rows})"


def is_stream(X: Any, y: Any) -> bool:
    """Whether X gives blocks, where no y was passed: a function or an iterable that is no array itself.

    Raises
    ------
    TypeError
        If y was passed, too.
    """
    if hasattr(X, "__array__") or hasattr(X, "__dlpack__") or is_sparse(X):
        return False
    if y is not None:
        if callable(X) or isinstance(X, (Iterator, ParquetFolder)):
            got, expected = f"a {type(y).__name__} beside blocks", "None: each block is a tuple (X, y)"
            raise TypeError(refusal("y", got, expected, "yield the y of each block with it"))
        return False
    return (callable(X) or isinstance(X, Iterable)) and not isinstance(X, (str, bytes))


@dataclass(frozen=True)
class Blocks:
    """A source of blocks that may be gone through once or several times.

    One that has a method `in_order`, as `ParquetFolder` has, is told the order of its parts where they are shuffled.
    """

    source: Any

    def check_passes(self, n_passes: int) -> None:
        """Refuse an iterator where there is more than one pass: it would be spent after the first.

        Raises
        ------
        ValueError
        """
        if n_passes > 1 and not callable(self.source) and iter(self.source) is self.source:
            expected = f"something that can be gone through {n_passes} times"
            remedy = "pass a function that returns a fresh iterator, such as the generator function itself"
            raise ValueError(refusal("X", f"a {type(self.source).__name__}, spent after one pass", expected, remedy))

    def opened(self, order: Callable[[int], Array] | None = None) -> Generator[tuple[Any, ...], None, None]:
        """Each block as (X, y, weights or None), read ahead in a thread of its own.

        Parameters
        ----------
        order : callable, optional
            Draws the order of a number of parts, where they are shuffled.

        Raises
        ------
        TypeError
            If a block is none.
        ValueError
            If there is no block.
        """
        number = 0
        blocks = read_ahead(lambda: self._begin(order))
        try:
            for number, block in enumerate(blocks, 1):
                if not isinstance(block, (tuple, list)) or len(block) not in (2, 3):
                    got = f"{len(block)} items" if isinstance(block, (tuple, list)) else f"a {type(block).__name__}"
                    expected = "a tuple (X, y) or (X, y, sample_weight)"
                    raise TypeError(refusal(f"block {number}", got, expected, "yield such tuples"))
                yield (*block, None) if len(block) == 2 else tuple(block)
        finally:
            blocks.close()
        if number == 0:
            remedy = "pass a function that returns a fresh iterator, if this one was spent"
            raise ValueError(refusal("X", "no blocks", "at least one block (X, y)", remedy))

    def _begin(self, order: Callable[[int], Array] | None) -> Iterator[Any]:
        in_order = getattr(self.source, "in_order", None)
        # A DataLoader of PyTorch's has an attribute of that name, which is none.
        if order is not None and callable(in_order):
            return iter(in_order(order))
        return iter(self.source() if callable(self.source) else self.source)


class _Relay(Generic[Item]):
    """Hands items from one thread to another; `None` is the end, an exception is raised where items are taken."""

    def __init__(self, start: Callable[[], Iterator[Item]]) -> None:
        self.items: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(BLOCKS_AHEAD)
        self.stopped = False
        self.thread = threading.Thread(target=self._read, args=(start,), name="fastgd-reader", daemon=True)
        self.thread.start()

    def _read(self, start: Callable[[], Iterator[Item]]) -> None:
        try:
            for item in start():
                if not self._put((item,)):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001  (it is raised where the items are taken)
            self._put(error)

    def _put(self, item: tuple[Item] | BaseException | None) -> bool:
        """False if nobody wants it any more."""
        while not self.stopped:
            try:
                self.items.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False


def read_ahead(start: Callable[[], Iterator[Item]]) -> Generator[Item, None, None]:
    """The items of an iterator, which is gone through in a thread of its own, so that reading overlaps with learning.

    The thread ends with the items, or when this generator is closed. Whatever the iterator raises is raised here.
    """
    relay = _Relay(start)
    try:
        while (item := relay.items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        relay.stopped = True
        relay.thread.join()
