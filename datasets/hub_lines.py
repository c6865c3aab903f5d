"""The data set `parquet`: any line set in Parquet files with images and texts, of the user or Hub.

    python -m bench data get Teklia/IAM-line
    python -m bench run --dataset parquet -o parquet.path=Teklia/IAM-line

A line's split is told by a column, or by the name of its file or folder as on the Hub
(`data/train-00000-of-00002.parquet`, `default/test/0000.parquet`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from bench.core.errors import Unavailable
from bench.core.types import BadLine, Line, LineSet
from datasets.base import Dataset, absence
from datasets.columns import TableOptions, lacks_column
from datasets.hub import MAIN, is_hub_id, licence_of, locate, parquet_files
from datasets.parquet import (
    Columns,
    as_line,
    expect_columns,
    holds_images,
    open_parquet,
    read_rows,
)
from datasets.splits import canonical, in_order, named_split, no_split


@dataclass(frozen=True)
class _Part:
    """A file, its path in the folder without the suffix, its columns, and its lines by split."""

    file: Path
    name: str
    columns: Columns
    lines: Mapping[str, int]


@dataclass(frozen=True)
class HubLines(TableOptions, Dataset):
    """Lines of Parquet files: one file, a folder of them, or a data set of the Hub.

    path: a file, a folder, or owner/name of the Hub (got by `python -m bench data get`).
    revision: branch, tag or commit of the Hub's.
    files: pattern of the files to read, as paths in the folder.
    image, text, id, writer, block, page, split_column: see `datasets.columns.TableOptions`.
    split: all lines are of this split, whatever columns and files say.
    """

    path: str = ""
    revision: str = MAIN
    files: str = "*"
    split: str = ""

    def missing(self) -> Unavailable | None:
        """What is not here, and the command that gets it."""
        return absence(self._folder)

    def split_names(self) -> tuple[str, ...]:
        """The splits that columns and files name; `test` where nothing names any.

        Raises:
            Unavailable: the files are not here.
            UserError: a file is damaged or lacks a column.
        """
        return in_order(name for part in self._parts() for name in part.lines)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Decode the first `limit` lines of a split to grey, file by file.

        Raises:
            Unavailable: the files are not here.
            UserError: a file is damaged or lacks a column, or there is no such split.
            BadLinesError: a line cannot be used, and the set is to be read strictly.
        """
        folder, split, parts = self._folder(), canonical(split), list(self._parts())
        names = in_order(name for part in parts for name in part.lines)
        if split not in names:
            raise no_split(self.path, "parquet", split, names)
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
        )

    def _folder(self) -> Path:
        """The file or folder.

        Raises:
            Unavailable: it is not here.
        """
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
        """The files; of each, only what tells the split is read."""
        folder = self._folder()
        files = parquet_files(folder, self.files) if folder.is_dir() else [folder]
        names = [file.relative_to(folder if folder.is_dir() else folder.parent) for file in files]
        any_named = any(map(_named, names))
        for file, name in zip(files, names, strict=True):
            stem = name.with_suffix("").as_posix()
            with open_parquet(file) as opened:
                columns = self._columns(file, opened.schema_arrow)
                if columns.split is None:
                    # Beside files named after splits, one that is not makes a split of its own.
                    split = (
                        canonical(self.split)
                        or _named(name)
                        or (name.stem if any_named else "test")
                    )
                    yield _Part(file, stem, columns, {split: opened.metadata.num_rows})
                else:
                    values = opened.read(columns=[columns.split]).column(0).to_pylist()
                    lines = Counter(canonical(str(value)) for value in values)
                    yield _Part(file, stem, columns, lines)

    def _columns(self, file: Path, schema: Any) -> Columns:
        """The columns of a file, those of the options first.

        Raises:
            UserError: it has no column of images or of texts.
        """
        found = self.found_columns(schema.names)
        images = [name for name in schema.names if holds_images(schema.field(name).type)]
        if not self.image and found["image"] not in images:
            found["image"] = images[0] if len(images) == 1 else None
        for what in ("image", "text"):
            if not found[what]:
                raise lacks_column(file, "parquet", what, schema.names)
        columns = Columns(
            image=str(found["image"]),
            text=str(found["text"]),
            name=found["id"],
            writer=found["writer"],
            split=None if self.split else found["split"],
            page=found["page"],
            block=found["block"],
        )
        expect_columns(file, schema, columns)
        return columns


def _lines(parts: Sequence[_Part], split: str, limit: int | None) -> Iterator[Line | BadLine]:
    left = limit
    for part in parts:
        if not part.lines.get(split):
            continue
        for row in read_rows(part.file, part.columns, split, left):
            if part.columns.name is None:
                row = row._replace(id=f"{part.name}-{row.id}")
            yield as_line(row, split)
            left = None if left is None else left - 1


def _named(name: Path) -> str:
    """The split in the name of a file, or of a folder above it; "" for none."""
    if name.stem.isdigit() and name.parent.name:  # the Hub's own: default/SPLIT/0000.parquet
        return canonical(name.parent.name.removeprefix("partial-"))
    return next(filter(None, map(named_split, reversed(name.parts))), "")
