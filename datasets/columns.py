"""What the columns of the user's tables hold: named by the user, or found under usual names."""

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


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The options by which a user names the columns of a table.

    image, text, id, writer, block, page, split_column: names of columns; those not given are
        looked for under usual names. Statistics resample blocks: the writers where there are none.
    """

    image: str = ""
    text: str = ""
    id: str = ""
    writer: str = ""
    block: str = ""
    page: str = ""
    split_column: str = ""

    def found_columns(self, names: Sequence[str]) -> dict[str, str | None]:
        """Columns by what they hold: image, text, id, writer, block, page, split; None for none.

        Args:
            names: of all columns. Whether the table has those that the user named is not asked.
        """
        given = {"image": self.image, "text": self.text, "id": self.id, "writer": self.writer,
                 "block": self.block, "page": self.page, "split": self.split_column}  # fmt: skip
        return {
            what: given[what] or next((name for name in usual if name in names), None)
            for what, usual in _USUAL.items()
        }


def lacks_column(table: object, dataset: str, what: str, names: Sequence[str]) -> UserError:
    """The error that no column is known to hold what every line must have.

    Args:
        table: the file or folder, as the user knows it.
        dataset: the registered name of the data set, whose option would name the column.
        what: image or text.
        names: of the columns that there are.
    """
    return UserError(
        f"{table} has no column that is known to hold the {what}; name one of "
        f"{', '.join(names) or 'none'} with -o {dataset}.{what}=COLUMN"
    )
