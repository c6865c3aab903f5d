"""What the columns of the user's tables hold: named by the user, or found under usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# The first that is there counts.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "file_name", "filename", "file", "image_path", "path"),
    "text": ("text", "transcription", "transcript", "sentence", "ground_truth", "gt", "label"),
    "id": ("id", "line_id", "name"),
    "writer": ("writer", "writer_id", "author"),
    "page": ("page", "page_id", "form", "form_id", "document", "document_id"),
    "split": ("split", "partition"),
}


def found_columns(names: Sequence[str], given: Mapping[str, str]) -> dict[str, str | None]:
    """Columns by what they hold: image, text, id, writer, page, split; None where none does.

    Args:
        names: of all columns.
        given: those that the user named, by what they hold; "" for not named. Whether the table
            has them is not asked.
    """
    return {
        what: given.get(what) or next((name for name in usual if name in names), None)
        for what, usual in _USUAL.items()
    }
