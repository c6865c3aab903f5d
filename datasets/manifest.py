"""The data set `manifest`: a folder of line images and a table of their texts.

    image,text,writer,split
    images/0001.png,"a line, as it is written",anna,train

`bench data damage export` writes such tables; so do the Hub's image folders (metadata.csv or
.jsonl) and the lists that TrOCR was trained with (two columns without names). Columns are detected
by their usual names (`datasets.table`), and unknown ones are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from bench.core.errors import Unavailable, UserError
from bench.core.types import BadLine, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.files import content, decode, inside
from datasets.splits import canonical, in_order
from datasets.table import Columns, Record, TableOptions, named_by_option, quoting_note, read_table


@dataclass(frozen=True)
class ManifestLines(TableOptions, Dataset):
    """Line images in a folder, listed in a CSV, TSV or JSON Lines file.

    path: the file.
    root: the folder of its image paths, which they must not leave; default: the table's own, or
        image/ in it where the table is TrOCR's (gt_test.txt).
    image, text, id, writer, block, page, split_column, split: see `datasets.table.TableOptions`.
        Without ids, a line is named after its image; without splits, all are test.
    quoted: whether fields may be in double quotes; default: in CSV but not in TSV.
    """

    path: Path | None = None
    root: Path | None = None
    quoted: bool | None = None

    def missing(self) -> Unavailable | None:
        """The reason and remedy if the file is not named or missing."""
        return absence(self._path)

    def split_names(self) -> tuple[str, ...]:
        """The splits named in the table."""
        return in_order(self._split(*pair) for pair in self._table() if not pair[0].trouble)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey, in the order of the table.

        An unreadable row has no split, so it is a bad line of every one.
        """
        path, split = self._path(), canonical(split)
        rows = self._table()
        known = in_order(self._split(*pair) for pair in rows if not pair[0].trouble)
        self.check_split(split, known, named_by_option("manifest", split))
        chosen = [pair for pair in rows if pair[0].trouble or self._split(*pair) == split]
        texts = [row.value(columns.text) for row, columns in chosen[:limit]]
        pictures = path.parent / "image"
        beside = path.name.startswith("gt_") and pictures.is_dir()
        root = self.root or (pictures if beside else path.parent)
        return self.gathered(
            "manifest",
            split,
            (_line(root, row, columns, split) for row, columns in islice(chosen, limit)),
            source=path.name,
            licence="not stated",
            references="manifest",
            total=len(chosen[:limit]),
            notes=tuple(quoting_note(path, texts)) if self.quoted is None else (),
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

    def _table(self) -> Sequence[tuple[Record, Columns]]:
        """The rows, each with the columns of the table."""
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
        columns = self.columns(path, "manifest", names)
        if any(record.value(columns.split) for record in records):
            records = [_with_split(record, columns.split) for record in records]
        return [(record, columns) for record in records]

    def _split(self, row: Record, columns: Columns) -> str:
        return canonical(self.split or row.value(columns.split)) or "test"


def _with_split(row: Record, column: str) -> Record:
    """Mark a row without a split as unusable, since others have one."""
    return row if row.trouble or row.value(column) else replace(row, trouble="its split is empty")


def _line(root: Path, row: Record, columns: Columns, split: str) -> Line | BadLine:
    picture = row.value(columns.image).replace("\\", "/")
    name = row.value(columns.id) or picture.rpartition(".")[0] or f"line {row.number}"
    if row.trouble:
        return BadLine(name, f"line {row.number} of the table: {row.trouble}")
    return make_line(
        name,
        row.value(columns.text),
        lambda: decode(content(inside(root, picture))),
        writer=row.value(columns.writer),
        page=row.value(columns.page),
        block=row.value(columns.block),
        split=split,
    )
