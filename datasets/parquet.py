"""Sets of scanned lines in Parquet files with the Hub's image column: `hooker` and `copiste`.

A file is read a row group at a time, and of a row group only the columns and rows that are wanted.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.errors import Unavailable, UserError
from bench.core.metrics import normalise
from bench.core.registry import did_you_mean
from bench.core.types import BadLine, Line, LineSet
from datasets.base import EMPTY, Dataset
from datasets.images import decode
from datasets.rebuild.selection import load_selection
from datasets.sources import SOURCES, missing_files, root_of
from datasets.splits import canonical


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are called.

    image: a struct {bytes, path} as Hugging Face's image column, or the encoded bytes themselves.
    name: None where the file has none; then lines are numbered.
    writer, page, block: None where the file has none.
    split: None where the whole file is one split.
    """

    image: str = "image"
    text: str = "text"
    name: str | None = "id"
    writer: str | None = "writer"
    split: str | None = "split"
    page: str | None = None
    block: str | None = None

    def named(self) -> list[str]:
        """All columns that are read."""
        optional = (self.name, self.writer, self.split, self.page, self.block)
        return [self.image, self.text, *(name for name in optional if name is not None)]


class Row(NamedTuple):
    """A row of a file, its image still encoded; None for what is null in the file."""

    id: str
    image: bytes | None
    text: str | None
    writer: str
    split: str
    page: str = ""
    block: str = ""


_REFERENCES = {"hooker": "page-xml", "copiste": "alto"}  # of the recorded sets
_HANDS = {"hooker": "Joseph Hooker", "copiste": ""}  # copiste's volunteers are not named
# In both files the column `writer` holds the letter or text that the splits were made by.
_COLUMNS = Columns(writer=None, block="writer")


@dataclass(frozen=True)
class ParquetLines(Dataset):
    """Scanned lines of handwriting from a Parquet file of the data root.

    source: "hooker" (English letters of 1850-1911 by Joseph Hooker: one hand, so that
        the hand of val and test is in train; splits by letter) or "copiste"
        (modern French with its accents, about 220 hands; splits by text).
    """

    source: str = "hooker"

    def missing(self) -> Unavailable | None:
        """The command that gets the set when its file is not in the data root."""
        return missing_files(self.source) if self.source in _REFERENCES else None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey.

        Raises:
            UserError: the source or the split does not exist, or the file is no such file.
            Unavailable: the file is not here.
        """
        if self.source not in _REFERENCES:
            hint = did_you_mean(self.source, _REFERENCES)
            raise UserError(f"no line images come from {self.source!r}{hint}")
        self.check_split(split)
        root = root_of(self.source)
        source, pages = SOURCES[self.source], _pages(self.source)
        rows = read_rows(root / source.files[0], _COLUMNS, split, limit)
        return self.gathered(
            self.source,
            split,
            (
                # Copiste's ids begin with the text, t0221__.
                as_line(
                    row._replace(
                        writer=_HANDS[self.source], page=pages.get(row.id.rpartition("__")[2], "")
                    ),
                    split,
                )
                for row in rows
            ),
            source=f"{source.url} @ {source.commit[:12]}",
            licence=source.licence,
            references=_REFERENCES[self.source],
            total=min(source.lines[split], limit or source.lines[split]),
        )


def read_rows(
    path: Path, columns: Columns, split: str | None = None, limit: int | None = None
) -> Iterator[Row]:
    """The rows of a split, in the order of the file; images stay encoded.

    Args:
        path: a Parquet file.
        columns: what its columns are called.
        split: the split that is wanted, whatever name the file has for it; None for all rows.
        limit: at most so many rows.

    Raises:
        UserError: the file is damaged, or lacks a column or has one of another type.
    """
    with open_parquet(path) as file:
        expect_columns(path, file.schema_arrow, columns)
        number = 0  # of a row in the file: an id where there is no column of ids
        left = limit
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            wanted = _wanted(file, group, rows, columns, split)[:left]
            if wanted:
                yield from _read(file, group, wanted, columns, number)
            number += rows
            left = None if left is None else left - len(wanted)
            if left == 0:
                return


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A Parquet file, open; what fails while it is read is told plainly.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, EOFError) as error:
        if isinstance(error, PermissionError):
            raise
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error


def as_line(row: Row, split: str) -> Line | BadLine:
    """A row with its image decoded, as a line of a split."""
    text = normalise(row.text or "")
    if not text:
        return BadLine(row.id, EMPTY)
    if row.image is None:
        return BadLine(row.id, "it has no image")
    try:
        image = decode(row.image)
    except ValueError as error:
        return BadLine(row.id, f"its image cannot be read: {error}")
    return Line(row.id, image, text, row.writer, split, page=row.page, block=row.block)


@functools.cache
def _pages(source: str) -> Mapping[str, str]:
    """The page of each line of a recorded set, by what its id ends with."""
    chosen = load_selection(source).items()
    return {f"{page}_{item}": page for page, items in chosen for item in items}


def expect_columns(path: Path, schema: Any, columns: Columns) -> None:
    """Check names and types of the columns before anything is read.

    Raises:
        UserError: the file lacks one, or has one of another type.
    """
    absent = [name for name in columns.named() if name not in schema.names]
    if absent:
        raise UserError(
            f"{path} has no column {' and no column '.join(absent)}; "
            f"its columns are {', '.join(schema.names) or 'none'}"
        )
    kind = schema.field(columns.image).type
    if not holds_images(kind):
        raise UserError(
            f"the column {columns.image} of {path} holds {kind}, not encoded images "
            "(bytes, or a struct with bytes)"
        )
    kind = schema.field(columns.text).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"the column {columns.text} of {path} holds {kind}, not text")


def holds_images(kind: Any) -> bool:
    """Whether a column of this Arrow type can hold encoded images."""
    if pa.types.is_struct(kind):
        inner = kind.get_field_index("bytes")
        kind = kind.field(inner).type if inner >= 0 else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _wanted(file: Any, group: int, rows: int, columns: Columns, split: str | None) -> list[int]:
    """Positions of the wanted rows in a row group; the other columns are not read for it."""
    if split is None or columns.split is None:
        return list(range(rows))
    values = file.read_row_group(group, columns=[columns.split]).column(0).to_pylist()
    return [position for position, value in enumerate(values) if canonical(str(value)) == split]


def _read(file: Any, group: int, wanted: list[int], columns: Columns, first: int) -> Iterator[Row]:
    table = file.read_row_group(group, columns=columns.named())
    for position, row in zip(wanted, table.take(wanted).to_pylist(), strict=True):
        image, text = row[columns.image], row[columns.text]
        yield Row(
            id=_text(row, columns.name) or str(first + position),
            image=image.get("bytes") if isinstance(image, dict) else image,
            text=None if text is None else str(text),
            writer=_text(row, columns.writer),
            split=_text(row, columns.split),
            page=_text(row, columns.page),
            block=_text(row, columns.block),
        )


def _text(row: Mapping[str, Any], column: str | None) -> str:
    """The value of an optional column; "" where there is none."""
    value = None if column is None else row[column]
    return "" if value is None else str(value)
