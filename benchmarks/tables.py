"""Tables of what was measured side by side, for the screen and in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from rounds import figure, ratios, spread


@dataclass
class Row:
    """What was found out about one form of one competitor on one network.

    Attributes
    ----------
    competitor, form : str
    loss : float
        After the steps that all train to be compared.
    same_loss : bool
        Whether it is the others'; nothing else is timed.
    n_threads : int
        With which it is fastest.
    epochs : int
        In each measurement.
    microseconds : list of float
        Of a step, one value for each round.
    """

    competitor: str
    form: str
    loss: float
    same_loss: bool
    n_threads: int = 1
    epochs: int = 0
    microseconds: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name of the library and of the form."""
        return f"{self.competitor} {self.form}"


@dataclass
class Comparison:
    """All that was found out about one network.

    Attributes
    ----------
    network, dtype, optimizer : str
    floors : list of float
        Microseconds of a step at the machine's floor, one value for each round; none where it was not measured.
    rows : list of Row
    """

    network: str
    dtype: str
    optimizer: str
    floors: list[float]
    rows: list[Row]

    def row(self, label: str) -> Row | None:
        """Return the row of a label if it was timed."""
        return next((row for row in self.rows if row.label == label and row.same_loss), None)


    def fraction(self, row: Row) -> str:
        """Write how close a row comes to the floor; a dash where that was not measured."""
        return f"{statistics.median(ratios(self.floors, row.microseconds)):.2f}" if self.floors else "-"


def print_comparison(comparison: Comparison) -> None:
    """Print microseconds per step, the fraction of the floor, and the ratios to each of fastgd's forms."""
    ours = [row for row in comparison.rows if row.competitor == "fastgd" and row.same_loss]
    heads = "".join(f"  {'/ ' + row.label:<24}" for row in ours)
    print(f"  {'':<26}{'us per step':<28}{'threads':<9}{'of floor':<9}{heads}".rstrip())
    floor = spread(comparison.floors) if comparison.floors else "needs a C compiler to be measured with"
    print(f"  {'floor':<26}{floor}")
    for row in comparison.rows:
        if not row.same_loss:
            print(f"  {row.label:<26}loss {row.loss:.5f} after the same steps: not timed")
            continue
        cells = "".join(f"  {spread(ratios(row.microseconds, reference.microseconds)):<24}" for reference in ours)
        first = f"  {row.label:<26}{spread(row.microseconds):<28}{row.n_threads:<9}{comparison.fraction(row):<9}"
        print((first + cells).rstrip())


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table in Markdown; all columns but the first are set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def summary(comparisons: list[Comparison], reference: str, labels: list[str]) -> str:
    """Return a table in Markdown: for every network a form of ours, and the peers' times over it."""
    caption = f"Microseconds of a step of {reference}, its fraction of the floor, and the others' times over its:\n\n"
    head = ["network, batch", f"{reference}, us", "of floor", *labels]
    return caption + markdown(head, (summary_line(comparison, reference, labels) for comparison in comparisons))


def summary_line(comparison: Comparison, reference: str, labels: list[str]) -> list[str]:
    """Return a network's line in the summary: medians, and a dash for what was not timed."""
    widths, _, batch_size = comparison.network.partition("@")
    cells = [f"{widths}, {batch_size}" + ("" if comparison.optimizer == "adam" else f", {comparison.optimizer}")]
    ours = comparison.row(reference)
    if ours is None:
        return cells + ["-"] * (2 + len(labels))
    cells += [figure(statistics.median(ours.microseconds)), comparison.fraction(ours)]
    for label in labels:
        row = comparison.row(label)
        cells.append(figure(statistics.median(ratios(row.microseconds, ours.microseconds))) if row else "-")
    return cells
