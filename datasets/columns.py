"""Columns of the user's tables: named by the user, or detected by their usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.core.errors import UserError

# The first that is there counts.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "file_name", "filename", "file", "image_path", "path"),
    "text": ("text", "transcription", "transcript", "sentence", "ground_truth", "gt", "label"),
    "id": ("id", "line_id", "name"),
    "writer": ("writer", "writer_id", "author"),
    "block": ("block",),
    "page": ("page", "page_id", "form", "form_id", "document", "document_id"),
    "split": ("split", "partition"),
}


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns, "" for an absent one.

    Without ids, lines are numbered or named after their images; without splits, all are of one.
    """

    image: str = "image"
    text: str = "text"
    id: str = ""
    writer: str = ""
    block: str = ""
    page: str = ""
    split: str = ""

    def named(self) -> list[str]:
        """The columns that are read."""
        return [name for name in vars(self).values() if name]

    def check(self, table: object, names: Sequence[str]) -> None:
        """Refuse a table that lacks one of the columns; `names` are those that it has.

        Raises:
            UserError: with the missing and the existing names.
        """
        if absent := [name for name in self.named() if name not in names]:
            raise UserError(
                f"{table} has no column {' and no column '.join(absent)}; "
                f"its columns are {', '.join(names) or 'none'}"
            )


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options that name the columns of a table.

    image, text, id, writer, block, page, split_column: column names; unset ones are detected by
        their usual names. Blocks are the units of resampling, by default the writers.
    split: the split of all lines, overriding any column.
    """

    image: str = ""
    text: str = ""
    id: str = ""
    writer: str = ""
    block: str = ""
    page: str = ""
    split_column: str = ""
    split: str = ""

    def columns(
        self, table: object, dataset: str, names: Sequence[str], images: Sequence[str] | None = None
    ) -> Columns:
        """The columns of a table.

        `table` and the registered `dataset` are for errors; `images` are the columns that can hold
        images, if known: a single one is taken.

        Raises:
            UserError: a column that the user named, or one for images or texts, is missing.
        """
        chosen = {**vars(self), "split": self.split_column}
        named = {
            what: chosen[what] or next((name for name in usual if name in names), "")
            for what, usual in _USUAL.items()
        }
        if images is not None and not self.image and named["image"] not in images:
            named["image"] = images[0] if len(images) == 1 else ""
        if self.split:
            named["split"] = ""
        columns = Columns(**named)
        columns.check(table, names)
        for what in ("image", "text"):
            if not named[what]:
                raise UserError(
                    f"{table} has no column that is known to hold the {what}; name one of "
                    f"{', '.join(names) or 'none'} with -o {dataset}.{what}=COLUMN"
                )
        return columns


def named_by_option(dataset: str, split: str) -> str:
    """The remedy for a table without a split."""
    return f"where all lines are one split, -o {dataset}.split={split} names it"
