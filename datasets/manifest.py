"""The data set `manifest`: a folder of line images and a table that says what is written on them.

    image,text,writer,split
    images/0001.png,"a line, as it is written",anna,train

`bench damage export` writes such tables; so do the Hub's image folders (metadata.csv or .jsonl) and
the lists that TrOCR was trained with (two columns without names). Columns are found under usual
names (`datasets.columns`), and those that are not known do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.core.errors import Unavailable, UserError
from bench.core.metrics import normalise
from bench.core.types import BadLine, Line, LineSet
from datasets.base import EMPTY, Dataset, absence
from datasets.columns import TableOptions, lacks_column
from datasets.images import decode
from datasets.paths import content, inside
from datasets.splits import canonical, in_order, no_split
from datasets.table import Record, read_table


@dataclass(frozen=True)
class ManifestLines(TableOptions, Dataset):
    """Line images in a folder, listed in a CSV, TSV or JSON Lines file.

    path: the file.
    root: the folder that its image paths begin at, and must not leave; none means its own.
    image, text, id, writer, block, page, split_column: see `datasets.columns.TableOptions`. Without
        ids a line is called after its image.
    split: all lines are of this split; else the column tells it, and where none does it is test.
    quoted: whether fields may stand in double quotes; none means in CSV and not in TSV.
    """

    path: Path | None = None
    root: Path | None = None
    split: str = ""
    quoted: bool | None = None

    def missing(self) -> Unavailable | None:
        """That no file is named, or none is there."""
        return absence(self._path)

    def split_names(self) -> tuple[str, ...]:
        """The splits that the table names.

        Raises:
            Unavailable: the file is not here.
            UserError: it is no table, or has no column of images or texts.
        """
        records, columns = self._table()
        return in_order(self._split(record, columns) for record in records if not record.trouble)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey, in the order of the table.

        A row that cannot be read tells no split, and is a bad line of every one.

        Raises:
            Unavailable: the file is not here.
            UserError: it is no table, has no column of images or texts, or there is no such split.
            BadLinesError: a line cannot be used, and the set is to be read strictly.
        """
        path, split = self._path(), canonical(split)
        records, columns = self._table()
        known = in_order(self._split(row, columns) for row in records if not row.trouble)
        if split not in known:
            raise no_split(path, "manifest", split, known)
        wanted = [
            row for row in records if row.trouble or self._split(row, columns) == split
        ]  # fmt: skip
        root = self.root or path.parent
        return self.gathered(
            "manifest",
            split,
            (_line(root, row, columns, split) for row in islice(wanted, limit)),
            source=path.name,
            licence="not stated",
            references="manifest",
            total=len(wanted[:limit]),
        )

    def _path(self) -> Path:
        if self.path is None:
            raise Unavailable(
                "manifest is any table of line images, and none is named",
                "name one with -o manifest.path=FILE.csv|tsv|jsonl",
            )
        if not self.path.is_file():
            raise Unavailable(
                f"there is no file {self.path}", "name the table with -o manifest.path=FILE"
            )
        return self.path

    def _table(self) -> tuple[Sequence[Record], Mapping[str, str | None]]:
        """The rows, and what the columns hold.

        Raises:
            Unavailable: the file is not here.
            UserError: it is no table, or lacks a column.
        """
        path = self._path()
        records = read_table(path, self.quoted)
        if not records:
            raise UserError(f"{path} has no rows; put one in for each line image")
        if all(record.trouble for record in records):
            raise UserError(
                f"none of the {len(records)} rows of {path} can be used; the first is in line "
                f"{records[0].number}: {records[0].trouble}"
            )
        names = list(dict.fromkeys(name for record in records for name in record.values))
        columns = self.found_columns(names)
        for what, column in columns.items():
            if column is not None and column not in names:
                raise UserError(
                    f"{path} has no column {column}; its columns are {', '.join(names) or 'none'}"
                )
            if column is None and what in ("image", "text"):
                raise lacks_column(path, "manifest", what, names)
        return records, columns

    def _split(self, row: Record, columns: Mapping[str, str | None]) -> str:
        return canonical(self.split or _value(row, columns["split"])) or "test"


def _line(root: Path, row: Record, columns: Mapping[str, str | None], split: str) -> Line | BadLine:
    """A row as a line, or why it cannot be used."""
    picture = _value(row, columns["image"]).replace("\\", "/")
    name = _value(row, columns["id"]) or picture.rpartition(".")[0] or f"line {row.number}"
    if row.trouble:
        return BadLine(name, f"line {row.number} of the table: {row.trouble}")
    text = normalise(_value(row, columns["text"]))
    if not text:
        return BadLine(name, EMPTY)
    if not picture:
        return BadLine(name, "it names no image")
    try:
        image = decode(content(inside(root, picture)))
    except ValueError as error:
        return BadLine(name, f"its image cannot be read: {error}")
    writer, page, block = (_value(row, columns[what]) for what in ("writer", "page", "block"))
    return Line(name, image, text, writer, split, page=page, block=block)


def _value(row: Record, column: str | None) -> str:
    return "" if column is None else row.values.get(column, "").strip()
