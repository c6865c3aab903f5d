"""Sheets of a workbook: text that stays text, misreadings in colour, pictures, columns.

Only what Excel and LibreOffice both show is used.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.drawing.image import Image as Drawing
from openpyxl.drawing.spreadsheet_drawing import AnchorMarker, TwoCellAnchor
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.utils.units import pixels_to_EMU
from openpyxl.workbook import Workbook
from PIL import Image as Pillow

from bench import __version__
from bench.core.metrics import character_edits, normalise
from bench.core.types import Image
from bench.report import render
from bench.report.format import width_of
from bench.report.language import say
from bench.report.table import Column, Table, declared, keys

PERCENT = "0.00%"
PICTURE_WIDTH = 92  # characters of the column of pictures

_PICTURE = (640, 56)  # pixels that a line's picture may take, width and height
_LONGEST = 2000  # characters of a text, below Excel's limit of 32,767
_SHARP = 2  # so many pixels are kept for each that is shown at first, for those who zoom in
_MARGIN = 3  # pixels around a picture
_HEAD = PatternFill("solid", start_color="1F3864")
_POINT = 0.75  # of a pixel
_FONT, _SIZE = "Calibri", 11  # of the workbook; a font without a name becomes another one
_LINE = 15.0  # points of a line in it
_NARROW, _WIDE = 10, 90  # characters of the columns of a table
_WRAPPED = 30  # characters from which on a column breaks its lines
_STYLES = {
    # Unlike in more than their colour, for grey printers and for all kinds of colour vision.
    "substitution": InlineFont(rFont=_FONT, sz=_SIZE, color="C00000", b=True),
    "insertion": InlineFont(rFont=_FONT, sz=_SIZE, color="B45F06", b=True, u="single"),
    "deletion": InlineFont(rFont=_FONT, sz=_SIZE, color="0072B2", strike=True),
}


@dataclass(frozen=True)
class Head:
    """A column: its head, its width in characters and the format of its numbers."""

    text: str
    width: float = 12
    format: str = "General"


def clean(text: object) -> str:
    """Clean a text for a workbook.

    What cannot be printed becomes a replacement character: XML has no control characters, and
    nothing shall turn the direction of a text. What looks like a spreadsheet's escape sequence
    ("_x0041_" would be shown as A) is escaped itself.
    """
    kept = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in str(text))
    kept = kept if len(kept) <= _LONGEST else kept[: _LONGEST - 1] + "…"
    return re.sub(r"_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", kept)


def diffed(reference: str, text: str) -> CellRichText | str:
    """Mark errors: wrong characters red, added ones underlined, missing ones struck out."""
    read = normalise(text)
    pieces: list[tuple[str, str]] = []
    done = 0
    for edit in character_edits(reference, text):
        pieces.append(("", read[done : edit.read_at]))
        pieces.append((edit.kind, edit.read or edit.truth))
        done = edit.read_at + len(edit.read)
    pieces.append(("", read[done:]))
    return _rich(pieces)


def legend() -> CellRichText | str:
    """The styles of `diffed`."""
    samples = [("substitution", say("another character")), ("insertion", say("put in"))]
    pieces = [("", say("read as: ")), *samples, ("deletion", say("left out"))]
    return _rich([part for piece in pieces for part in (piece, ("", "  "))])


def _rich(pieces: Sequence[tuple[str, str]]) -> CellRichText | str:
    merged: list[tuple[str, str]] = []
    for style, text in pieces:
        if merged and merged[-1][0] == style:
            merged[-1] = (style, merged[-1][1] + text)
        elif text:
            merged.append((style, text))
    cut, left = [], _LONGEST
    for style, text in merged:
        cut += [(style, text[:left])] if left else []
        left -= min(left, len(text))
    if not cut:
        return ""
    return CellRichText(
        [TextBlock(_STYLES[s], clean(text)) if s else clean(text) for s, text in cut]
    )


class Sheet:
    """A table of a workbook that is filled row by row."""

    def __init__(self, book: Workbook, title: str, heads: Sequence[Head], above: Any = "") -> None:
        """Begin a sheet; `above` is a sentence above its table."""
        self._sheet = book.create_sheet(title)
        self._heads = heads
        self._numeric: set[int] = set()
        self._next = 1
        if above:
            self.row([above])
        self._top = self._next
        for column, head in enumerate(heads, 1):
            cell = self._put(self._top, column, head.text)
            cell.font, cell.fill = Font(_FONT, _SIZE, bold=True, color="FFFFFF"), _HEAD
            cell.alignment = Alignment("left", "top", wrap_text=True, indent=1)
            self._sheet.column_dimensions[get_column_letter(column)].width = head.width
        self._sheet.row_dimensions[self._top].height = 2 * _LINE
        self._next = self._top + 1
        self._sheet.page_setup.orientation = "landscape"
        self._sheet.page_setup.fitToHeight = 0  # as many pages as it takes, one page wide
        self._sheet.sheet_properties.pageSetUpPr.fitToPage = True
        self._sheet.print_title_rows = f"{self._top}:{self._top}"

    def row(self, values: Iterable[Any]) -> None:
        """Add a row, as high as its longest text."""
        lines = 1
        for head, (column, value) in zip(self._heads, enumerate(values, 1), strict=False):
            self._put(self._next, column, value)
            if head.width > _WRAPPED and isinstance(value, str | CellRichText):
                lines = max(lines, math.ceil(1.1 * width_of(str(value)) / head.width))
        if lines > 1:
            self._sheet.row_dimensions[self._next].height = lines * _LINE
        self._next += 1

    def picture(self, image: Image, column: int) -> None:
        """Put a picture into a column (from 1) of the last row, which is made high enough.

        It belongs to its cell: filtered, sorted and scaled with it.
        """
        (width, height), png = _fitted(image)
        row = self._next - 1
        drawing = Drawing(io.BytesIO(png))
        drawing.anchor = TwoCellAnchor(
            editAs="twoCell",
            _from=_corner(row, column, _MARGIN, _MARGIN),
            to=_corner(row, column, _MARGIN + width, _MARGIN + height),
        )
        self._sheet.add_image(drawing)
        high = self._sheet.row_dimensions[row]
        high.height = max(high.height or 0, (_PICTURE[1] + 2 * _MARGIN) * _POINT)

    def finish(self, frozen: int) -> None:
        """Freeze the head and the first columns, and let every column be filtered."""
        for column in self._numeric:
            head = self._sheet.cell(self._top, column)
            head.alignment = Alignment("right", "top", wrap_text=True)
        self._sheet.freeze_panes = f"{get_column_letter(frozen + 1)}{self._top + 1}"
        last = get_column_letter(len(self._heads))
        self._sheet.auto_filter.ref = f"A{self._top}:{last}{max(self._next - 1, self._top)}"

    def _put(self, row: int, column: int, value: Any) -> Any:
        """Write a cell. Text is never a formula, not even when edited."""
        cell = self._sheet.cell(row, column)
        number = not isinstance(value, str | CellRichText)
        if not number:
            cell.value = value if isinstance(value, CellRichText) else clean(value)
            cell.data_type = "s"
            cell.quotePrefix = True
        elif value is not None:
            cell.value = value
            cell.number_format = self._heads[column - 1].format
            self._numeric.add(column)
        wraps = self._heads[column - 1].width > _WRAPPED
        side = "right" if number else "left"
        cell.alignment = Alignment(side, "top", wrap_text=wraps, indent=int(not number))
        return cell


def _head(name: str, *values: Any) -> Head:
    """The column of some values: as wide as these, and as a word of its head with a filter.

    Decimals are shown where any number has them. A Japanese head would break anywhere, so that it
    has room as a whole.
    """
    fractions = any(isinstance(value, float) for value in values)
    known = [value for value in values if value is not None]
    texts = [value if isinstance(value, str) else f"{value:,.2f}" for value in known]
    words = name.split() if name.isascii() else [name]
    widths = [width_of(text) + 1 for text in texts] + [width_of(word) + 4 for word in words]
    width = min(max([_NARROW, *widths]), _WIDE)
    return Head(name, width, "0.00##" if fractions else "#,##0")


def new_book(title: str) -> Workbook:
    """A workbook without a sheet."""
    book = Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = clean(title), f"Kaidoku {__version__}"
    return book


def saved(book: Workbook) -> bytes:
    """The bytes of its file."""
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def of_tables(tables: Sequence[Table], title: str) -> bytes:
    """A workbook with a sheet for each table, by its slug, and one for their conditions."""
    book = new_book(title)
    for table in tables:
        add_table(book, table, table.slug, above=table.title)
    texts = [(table.slug, table.conditions) for table in tables]
    texts += [(table.slug, signature) for table in tables for signature in table.signatures]
    columns: list[Column[tuple[str, str]]] = keys(
        (say("Table"), say("Conditions and signatures")), lambda row: row[0], lambda row: row[1]
    )
    add_table(book, declared("conditions", "", "", columns, texts), say("conditions"))
    return saved(book)


def add_table(book: Workbook, table: Table, title: str, above: str = "") -> None:
    """Add a sheet of a table's unrounded values; the columns that name the row are frozen."""
    names, rows = render.flat_heads(table), [render.flat_values(table, r) for r in table.all_rows]
    if table.notes:
        names.append(say("notes"))
        for values, cells in zip(rows, table.all_rows, strict=True):
            values.append(render.notes_of(table, cells))
    heads = [_head(*of) for of in zip(names, *rows, strict=True)]
    sheet = Sheet(book, title, heads, above)
    for row in rows:
        sheet.row(row)
    sheet.finish(frozen=sum(column.key for column in table.columns))


def _corner(row: int, column: int, right: int, down: int) -> AnchorMarker:
    """A point inside a cell, by offset in pixels."""
    offsets = pixels_to_EMU(right), pixels_to_EMU(down)
    return AnchorMarker(row=row - 1, col=column - 1, colOff=offsets[0], rowOff=offsets[1])


def _fitted(image: Image) -> tuple[tuple[int, int], bytes]:
    """The size at which a picture is shown, and it as PNG with somewhat more pixels."""
    height, width = image.shape
    scale = min(1.0, _PICTURE[0] / width, _PICTURE[1] / height)
    shown = (max(1, round(scale * width)), max(1, round(scale * height)))
    kept = (min(_SHARP * shown[0], width), min(_SHARP * shown[1], height))
    picture = Pillow.fromarray(np.ascontiguousarray(image))
    out = io.BytesIO()
    picture.resize(kept, Pillow.Resampling.LANCZOS).save(out, format="PNG", optimize=True)
    return shown, out.getvalue()
