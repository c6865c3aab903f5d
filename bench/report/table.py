"""A table before it takes a format: what is printed, and what a spreadsheet gets instead."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.report.format import plain

Value = str | int | float | None


@dataclass(frozen=True)
class Column:
    """A column: its head, and the heads of the further columns it becomes in a spreadsheet.

    key: the column names the row ("decoder"); it is aligned left and repeated when a table is
        broken to the width of a terminal.
    marks: numbers of the footnotes that belong to the whole column.
    """

    head: str
    parts: tuple[str, ...] = ()
    key: bool = False
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    detail: what belongs to the text but may stand on a line below it (an interval).
    values: unrounded values for a spreadsheet, one for the column and each of its parts;
        without them the text goes there.
    bold: as good as the best of its condition; the table's conditions say by which test.
    """

    text: str
    detail: str = ""
    values: tuple[Value, ...] = ()
    marks: tuple[int, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table with everything that has to stand around it.

    slug: stem of its file names.
    conditions: the sentence above it.
    published: rows of other people below a rule; a footnote says whose.
    notes: footnotes; the first has number 1.
    signatures: what makes the numbers reproducible, below the table.
    """

    slug: str
    title: str
    conditions: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    published: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()

    @property
    def all_rows(self) -> tuple[tuple[Cell, ...], ...]:
        """Its own rows and the published ones."""
        return self.rows + self.published


@dataclass
class Notes:
    """Collects the footnotes of a table under construction; the same words get one number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> int:
        """The number of a footnote, new or old."""
        text = plain(text)
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def name(text: object) -> Cell:
    """A cell with foreign text."""
    return Cell(plain(text))
