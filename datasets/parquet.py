"""Lines in Parquet files in the Hub's layout: the user's, the Hub's, hooker and copiste.

    python -m bench data get Teklia/IAM-line
    python -m bench run --dataset parquet -o parquet.path=Teklia/IAM-line

A file is read by row groups, and only the columns and rows that are needed. A line's split is in a
column, or in the name of its file or folder as on the Hub
(`data/train-00000-of-00002.parquet`, `default/test/0000.parquet`).
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants

from bench.core.errors import Unavailable, UserError
from bench.core.hub import MAIN
from bench.core.registry import did_you_mean
from bench.core.types import BadLine, Image, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.embed import HOOKER_LINES
from datasets.files import decode
from datasets.hub import is_hub_id, licence_of, locate, parquet_files
from datasets.sources import EMBEDDED, SOURCES, load_selection, missing_files, root_of
from datasets.splits import canonical, in_order, named_split
from datasets.table import Columns, TableOptions, named_by_option, once_each

_REFERENCES = {"hooker": "page-xml", "copiste": "alto"}  # of the recorded sets
_HANDS = {"hooker": "Joseph Hooker", "copiste": ""}  # copiste's volunteers are not named
# In both files the column `writer` holds the letter or text that the splits were made by.
_COLUMNS = Columns(id="id", block="writer", split="split")

# A row group may hold all images of a set.
_AT_ONCE = 64  # rows
_BUFFER = 1 << 20  # bytes


class ParquetRow(NamedTuple):
    """A row of a file; its image is encoded, or None if null in the file."""

    id: str
    image: bytes | None
    text: str
    writer: str = ""
    split: str = ""
    page: str = ""
    block: str = ""

    def decoded(self) -> Image:
        """The image in grey.

        Raises:
            ValueError: there is none, or it cannot be read.
        """
        if self.image is None:
            raise ValueError("it has none")
        return decode(self.image)

    def line(self, split: str) -> Line | BadLine:
        """The row as a line of a split."""
        facts = {"page": self.page, "block": self.block}
        return make_line(self.id, self.text, self.decoded, split, self.writer, **facts)


@dataclass(frozen=True)
class ScannedLines(Dataset):
    """Scanned lines of handwriting from a Parquet file, embedded or of the data root.

    source: "hooker" (English letters of 1850-1911 by Joseph Hooker: one hand, so that the hand of
        val and test is in train; splits by letter) or "copiste" (modern French with its accents,
        about 220 hands; splits by text).
    whole: all 949 lines of val and 918 of test; without it the 200 and 300 that are embedded.
        Copiste is always whole.
    """

    source: str = "hooker"
    whole: bool = False

    def missing(self) -> Unavailable | None:
        """The command that downloads the set if its file is not in the data root."""
        known = self.source in _REFERENCES
        return missing_files(self.source) if known and not self._embedded("test") else None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey."""
        if self.source not in _REFERENCES:
            hint = did_you_mean(self.source, _REFERENCES)
            raise UserError(f"no line images come from {self.source!r}{hint}")
        self.check_split(split)
        embedded = self._embedded(split)
        root = EMBEDDED if embedded else root_of(self.source)
        source, hand, pages = SOURCES[self.source], _HANDS[self.source], _pages(self.source)
        total = HOOKER_LINES[split] if embedded else source.lines[split]
        rows = (
            # Copiste's ids begin with the text, t0221__.
            row._replace(writer=hand, page=pages.get(row.id.rpartition("__")[2], ""))
            for row in read_rows(root / source.files[0], _COLUMNS, split, limit)
        )
        return self.gathered(
            "hooker-all" if self.whole and self.source == "hooker" else self.source,
            split,
            (row.line(split) for row in rows),
            source=f"{source.url} @ {source.commit[:12]}",
            licence=source.licence,
            references=_REFERENCES[self.source],
            total=min(total, limit or total),
        )

    def _embedded(self, split: str) -> bool:
        return self.source == "hooker" and not self.whole and split != "train"


@functools.cache
def _pages(source: str) -> Mapping[str, str]:
    """Pages by line of a recorded set; keys are ends of line ids."""
    chosen = load_selection(source).items()
    return {f"{page}_{item}": page for page, items in chosen for item in items}


@dataclass(frozen=True)
class _Part:
    """A file, its path in the folder without the suffix, its columns, and its lines by split."""

    file: Path
    name: str
    columns: Columns
    lines: Mapping[str, int]


@dataclass(frozen=True)
class ParquetLines(TableOptions, Dataset):
    """Lines of Parquet files: one file, a folder of them, or a data set of the Hub.

    path: a file, a folder, or owner/name of the Hub (got by `python -m bench data get`).
    revision: branch, tag or commit of the Hub's.
    files: pattern of the files to read, as paths in the folder.
    image, text, id, writer, block, page, split_column, split: see `datasets.table.TableOptions`.
    """

    path: str = ""
    revision: str = MAIN
    files: str = "*"

    def missing(self) -> Unavailable | None:
        """The reason and the command that downloads the files if they are missing."""
        return absence(self._folder)

    def split_names(self) -> tuple[str, ...]:
        """The splits named by columns and files; `test` if there are none."""
        return in_order(name for part in self._parts() for name in part.lines)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey, file by file."""
        folder, split, parts = self._folder(), canonical(split), list(self._parts())
        names = in_order(name for part in parts for name in part.lines)
        self.check_split(split, names, named_by_option("parquet", split))
        count = sum(part.lines.get(split, 0) for part in parts)
        address = f"{constants.ENDPOINT}/datasets/{self.path} @ {folder.name[:12]}"
        return self.gathered(
            "parquet",
            split,
            _lines(parts, split, limit),
            source=address if is_hub_id(self.path) else folder.name,
            licence=licence_of(folder),
            references="parquet",
            total=count if limit is None else min(count, limit),
            notes=tuple(_absent_shards(part.name for part in parts if part.lines.get(split))),
        )

    def _folder(self) -> Path:
        if not self.path:
            raise Unavailable(
                "parquet is any line set, and none is named",
                "name one with -o parquet.path=FILE|FOLDER|OWNER/NAME",
            )
        if is_hub_id(self.path):
            return locate(self.path, self.revision, self.files)
        folder = Path(self.path).expanduser()
        if not folder.exists():
            raise Unavailable(
                f"there is no file or folder {folder}",
                "name one that is there, or a Hub id, with -o parquet.path=FILE|FOLDER|OWNER/NAME",
            )
        if self.revision != MAIN:
            raise Unavailable(f"{folder} is a path and has no revision", "leave the revision out")
        if folder.is_dir() and not parquet_files(folder, self.files):
            raise Unavailable(
                f"{folder} has no Parquet file of the pattern {self.files}",
                "name the folder that has them with -o parquet.path=FOLDER",
            )
        return folder

    def _parts(self) -> Iterator[_Part]:
        """The files; of each, only the column of splits is read."""
        folder = self._folder()
        files = parquet_files(folder, self.files) if folder.is_dir() else [folder]
        names = [file.relative_to(folder if folder.is_dir() else folder.parent) for file in files]
        any_named = any(map(_named, names))
        for file, name in zip(files, names, strict=True):
            stem = name.with_suffix("").as_posix()
            with open_parquet(file) as opened:
                schema = opened.schema_arrow
                images = [n for n in schema.names if holds_images(schema.field(n).type)]
                columns = self.columns(file, "parquet", schema.names, images)
                _expect_types(file, schema, columns)
                if columns.split:
                    values = opened.read(columns=[columns.split]).column(0).to_pylist()
                    lines = dict(Counter(_split_of(value) for value in values))
                else:
                    # Beside files named after splits, one that is not makes a split of its own.
                    other = name.stem if any_named else "test"
                    lines = {canonical(self.split) or _named(name) or other:
                             opened.metadata.num_rows}  # fmt: skip
            yield _Part(file, stem, columns, lines)


def _lines(parts: Sequence[_Part], split: str, limit: int | None) -> Iterator[Line | BadLine]:
    left = limit
    for part in parts:
        if not part.lines.get(split):
            continue
        for row in read_rows(part.file, part.columns, split, left):
            if not part.columns.id:
                row = row._replace(id=f"{part.name}-{row.id}")
            yield row.line(split)
            left = None if left is None else left - 1


def _split_of(value: object) -> str:
    """The split that a row states; "unassigned" where it states none."""
    return canonical("" if value is None else str(value)) or "unassigned"


def _absent_shards(names: Iterable[str]) -> Iterator[str]:
    """Note each incomplete set of files called NAME-00000-of-00003."""
    shards = [match for name in names if (match := re.fullmatch(r"(.+)-\d+-of-(\d+)", name))]
    for (name, most), here in Counter((each[1], int(each[2])) for each in shards).items():
        if here < most:
            yield f"{name} is here only in part: {here} of its {most} files"


def _named(name: Path) -> str:
    """The split in the name of a file or of a folder above it, else ""."""
    if name.stem.isdigit() and name.parent.name:  # the Hub's own: default/SPLIT/0000.parquet
        return canonical(name.parent.name.removeprefix("partial-"))
    return next(filter(None, map(named_split, reversed(name.parts))), "")


def read_rows(
    path: Path, columns: Columns, split: str | None = None, limit: int | None = None
) -> Iterator[ParquetRow]:
    """Read the first rows of a split, or of all, in file order; images stay encoded.

    Raises:
        UserError: the file is damaged, lacks a column or has one of another type.
    """
    with open_parquet(path) as file:
        columns.check(path, file.schema_arrow.names)
        _expect_types(path, file.schema_arrow, columns)
        number = 0  # of a row in the file: an id where there is no column of ids
        left = limit
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            positions = _positions(file, group, rows, columns, split)[:left]
            if positions:
                yield from _read(file, group, positions, columns, number)
            number += rows
            left = None if left is None else left - len(positions)
            if left == 0:
                return


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file.

    Raises:
        UserError: it is damaged; also raised while it is read.
    """
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, page_checksum_verification=True) as file:
            once_each(path, file.schema_arrow.names)
            yield file
    except (pa.ArrowException, OSError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, PermissionError):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"{path} cannot be read as Parquet: {reason}; copy or download it again"
        ) from error


def _expect_types(path: Path, schema: Any, columns: Columns) -> None:
    """Refuse columns that cannot hold what is read from them before anything is read."""
    kind = schema.field(columns.image).type
    if not holds_images(kind):
        raise UserError(
            f"the column {columns.image} of {path} holds {kind}, not encoded images "
            "(bytes, or a struct with bytes); name another with -o parquet.image=COLUMN"
        )
    # Numbers of a ClassLabel do not say which split is which.
    for option, name in {"text": columns.text, "split_column": columns.split}.items():
        if not name:
            continue
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):  # categories of pandas
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            whole = ", or one split for all with -o parquet.split=NAME" if option != "text" else ""
            raise UserError(
                f"the column {name} of {path} holds {kind}, not text; name another with "
                f"-o parquet.{option}=COLUMN{whole}"
            )


def holds_images(kind: Any) -> bool:
    """Whether a column of this Arrow type can hold encoded images."""
    if pa.types.is_struct(kind):
        inner = kind.get_field_index("bytes")
        kind = kind.field(inner).type if inner >= 0 else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _positions(file: Any, group: int, rows: int, columns: Columns, split: str | None) -> list[int]:
    """Positions of the rows of a split in a row group, from the split column alone."""
    if split is None or not columns.split:
        return list(range(rows))
    values = file.read_row_group(group, columns=[columns.split]).column(0).to_pylist()
    return [position for position, value in enumerate(values) if _split_of(value) == split]


def _read(
    file: Any, group: int, positions: list[int], columns: Columns, first: int
) -> Iterator[ParquetRow]:
    begin = 0
    for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=columns.named()):
        end = begin + len(batch)
        here = positions[bisect_left(positions, begin) : bisect_left(positions, end)]
        places = pa.array([position - begin for position in here], pa.int64())
        for position, row in zip(here, batch.take(places).to_pylist(), strict=True):
            values = {what: row[name] for what, name in vars(columns).items() if name}
            image = values.pop("image")
            encoded = image.get("bytes") if isinstance(image, dict) else image
            # NaN is what pandas makes of a missing number.
            empty = {what for what, value in values.items() if value is None or value != value}
            texts = {what: "" if what in empty else str(v) for what, v in values.items()}
            texts["id"] = texts.get("id", "") or str(first + position)
            yield ParquetRow(image=encoded, **texts)
        if (begin := end) > positions[-1]:
            return
