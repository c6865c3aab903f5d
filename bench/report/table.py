"""Format-independent tables, declared as columns over rows and stored as cells.

A column says what it shows of a row, and a cell brings its own footnotes; the table numbers them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from bench.analysis.stats import Interval
from bench.core.types import Spread
from bench.report.format import DASH, UNKNOWN, number, percent, plain, significant
from bench.report.language import say

_HEAD = 10  # letters of a head beside each other, on a terminal and in LaTeX

Value = str | int | float | None
Item = TypeVar("Item")


@dataclass(frozen=True)
class Cell:
    """The content of a cell.

    detail: what belongs to the text but may stand on a line below it (an interval).
    values: unrounded values for a spreadsheet, one for the column and each of its parts;
        without them the text goes there.
    bold: as good as the best of its condition; the table's conditions say by which test.
    """

    text: str
    detail: str = ""
    values: tuple[Value, ...] = ()
    notes: tuple[str, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column: its head, and its cell of a row.

    of: the cell of a row: `count`, `figure` or `rate` make one of a number.
    parts: heads of the further columns that it becomes in a spreadsheet.
    key: the column names the row ("decoder"); it is aligned left and repeated when a table is
        broken to the width of a terminal.
    notes: footnotes of the whole column.
    yields: on a page of LaTeX that is too narrow, columns go into a table of their own in this
        order, the highest number first; 0 stays.
    """

    head: str
    of: Callable[[Item], Cell | str]
    parts: tuple[str, ...] = ()
    key: bool = False
    notes: tuple[str, ...] = ()
    yields: int = 0


# Below a table: conditions and signatures in full; one line; footnotes alone, with the rest in an
# appendix; nothing.
Notes = Literal["full", "short", "appendix", "off"]

RANGE = ("low", "high")  # the parts of a column with intervals


@dataclass(frozen=True)
class Table:
    """A table with its title, conditions, footnotes and signatures.

    slug: stem of its file names.
    sentences: of its conditions, which other tables may share.
    short: the most important of them in a line; "" where a table has no other than `sentences`.
    published: published rows below a rule, with a footnote on their source.
    signatures: what makes the numbers reproducible, below the table.
    """

    slug: str
    title: str
    sentences: tuple[str, ...]
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]
    published: tuple[tuple[Cell, ...], ...] = ()
    signatures: tuple[str, ...] = ()
    short: str = ""

    @property
    def conditions(self) -> str:
        """All conditions as one text."""
        return "".join(self.sentences).strip()

    @property
    def all_rows(self) -> tuple[tuple[Cell, ...], ...]:
        """Its own rows and the published ones."""
        return self.rows + self.published

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The footnotes in order of appearance; the first has number 1."""
        parts: list[Cell | Column[Any]] = list(self.columns)
        parts += [cell for row in self.all_rows for cell in row]
        return tuple(dict.fromkeys(plain(note) for part in parts for note in part.notes))

    @property
    def line(self) -> str:
        """The short conditions."""
        return self.short or self.sentences[0].strip()

    def unmarked(self) -> Table:
        """The table without footnotes."""

        def bare(rows: tuple[tuple[Cell, ...], ...]) -> tuple[tuple[Cell, ...], ...]:
            return tuple(tuple(replace(cell, notes=()) for cell in row) for row in rows)

        columns = tuple(replace(column, notes=()) for column in self.columns)
        rows, published = bare(self.rows), bare(self.published)
        return replace(self, columns=columns, rows=rows, published=published)

    def blocks(self, fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
        """Break the columns into blocks that fit, by index; key columns are in each block.

        `fits` checks whether columns fit beside each other; each block has a column that is no key.
        """
        keys = [place for place, column in enumerate(self.columns) if column.key]
        blocks = [list(keys)]
        for place in (place for place, column in enumerate(self.columns) if not column.key):
            if fits([*blocks[-1], place]) or blocks[-1] == keys:
                blocks[-1].append(place)
            else:
                blocks.append([*keys, place])
        return blocks

    def factored(self) -> Table:
        """The same table with values that all rows share moved into its title."""
        rows = self.all_rows
        same = [
            place
            for place, column in enumerate(self.columns)
            if column.key and len({row[place].text for row in rows}) == 1
        ]
        if len(rows) < 2 or not same:
            return self
        names = ", ".join(f"{self.columns[place].head} {rows[0][place].text}" for place in same)
        others = [place for place in range(len(self.columns)) if place not in same]
        return replace(self.only(others), title=f"{self.title} ({names})")

    def only(self, places: Sequence[int]) -> Table:
        """The table of some of its columns, by index."""

        def some(items: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(items[place] for place in places)

        return replace(
            self, columns=some(self.columns),
            rows=tuple(map(some, self.rows)), published=tuple(map(some, self.published)),
        )  # fmt: skip

    def marks(self, part: Cell | Column[Any]) -> tuple[int, ...]:
        """The numbers of the footnotes of a cell or column."""
        return tuple(sorted(self.notes.index(plain(note)) + 1 for note in part.notes))


def declared(
    slug: str,
    title: str,
    conditions: str | tuple[str, ...],
    columns: Iterable[Column[Item]],
    rows: Iterable[Item],
    published: Iterable[Item] = (),
    signatures: tuple[str, ...] = (),
    short: str = "",
) -> Table:
    """Make the table of columns over rows; its conditions are one text or several sentences."""
    sentences = (conditions,) if isinstance(conditions, str) else conditions
    columns = tuple(columns)

    def cells(item: Item) -> tuple[Cell, ...]:
        return tuple(_cell(column.of(item)) for column in columns)

    return Table(
        slug, title, sentences, columns, tuple(map(cells, rows)), tuple(map(cells, published)),
        signatures, short,
    )  # fmt: skip


def keys(heads: Iterable[str], *of: Callable[[Item], object]) -> list[Column[Item]]:
    """Columns that name the row."""

    def column(head: str, get: Callable[[Item], object]) -> Column[Item]:
        return Column(head, lambda item: str(get(item)), key=True)

    return [column(head, get) for head, get in zip(heads, of, strict=True)]


def in_one(line: str, notes: Iterable[str]) -> str:
    """The line below a table and its footnotes, all in one paragraph."""
    return " ".join(filter(None, (line, "; ".join(notes))))


def narrowed(head: str) -> str:
    """A head of several words in lines as narrow as numbers."""
    return textwrap.fill(head, _HEAD, break_long_words=False, break_on_hyphens=False)


def shared(tables: Sequence[Table], names: Sequence[str]) -> list[tuple[str, str]]:
    """Collect the conditions of tables, each sentence once with the tables that share it."""
    tables_of: dict[str, dict[str, None]] = {}
    for table, name in zip(tables, names, strict=True):
        for sentence in table.sentences:
            tables_of.setdefault(sentence, {})[name] = None
    texts: dict[tuple[str, ...], str] = {}
    for sentence, of in tables_of.items():
        texts[tuple(of)] = texts.get(tuple(of), "") + sentence
    return [
        (say("all tables") if len(of) == len(names) > 1 else "; ".join(of), texts[of].strip())
        for of in sorted(texts, key=lambda of: -len(of))
    ]


# Cells


def _cell(content: Cell | str) -> Cell:
    return Cell(plain(content)) if isinstance(content, str) else content


def count(value: float | None, notes: Iterable[str] = ()) -> Cell:
    """A whole number."""
    return figure(value, lambda known: number(known, 0), notes=notes)


def figure(
    value: float | None,
    show: Callable[[float], str] = significant,
    ends: Interval | Spread | None = None,
    notes: Iterable[str] = (),
    scale: float = 1.0,
    bold: bool = False,
) -> Cell:
    """A number with its interval or range, shown after it is scaled to the unit of the column.

    A value of None is not applicable, and shows a dash.
    """
    notes = tuple(notes)
    if value is None:
        return Cell(DASH, values=(None,), notes=notes)
    values = [value * scale if scale != 1.0 else value]
    values += [scale * ends.low, scale * ends.high] if ends else []
    text, *bounds = (show(each) if math.isfinite(each) else UNKNOWN for each in values)
    detail = f"[{', '.join(bounds)}]" if bounds else ""
    return Cell(text, detail, tuple(values), notes, bold)


def spread_cell(
    of: Spread | None, show: Callable[[float], str] = significant, notes: Iterable[str] = ()
) -> Cell:
    """A median with the range of its values, where these are several."""
    if of is None:
        return figure(None)
    return figure(of.median, show, of if of.n > 1 else None, notes)


def rate(
    fraction: float | None,
    ends: Interval | Spread | None = None,
    decimals: int = 2,
    notes: Iterable[str] = (),
    bold: bool = False,
) -> Cell:
    """A fraction in percent, never clipped at 100."""
    return figure(fraction, lambda value: number(value, decimals), ends, notes, 100.0, bold)


def signed(fraction: float) -> str:
    """A fraction in percentage points with its sign: "+0.12", "-3.40"."""
    text = percent(fraction)
    return f"+{text}" if fraction > 0 and text.strip("0.,") else text
