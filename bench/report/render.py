"""Tables as markdown, CSV and terminal text; LaTeX is `bench.report.latex`.

Texts of a table may be untrusted (exceptions, users' names), so each format escapes all of them.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tabulate as tabulating

from bench.report.format import width_of, wrapped
from bench.report.language import say, say_name
from bench.report.latex import latex
from bench.report.table import Cell, Column, Notes, Table, Value, in_one, narrowed, shared

tabulating.MIN_PADDING = 0  # a head is as wide as its letters
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FORMULA = tuple("=+-@" + "\uff1d\uff0b\uff0d\uff20")  # the full-width ones begin a formula too


def superscript(marks: Sequence[int]) -> str:
    """Footnote numbers as superscript figures: (1, 12) is "¹,¹²"."""
    return ",".join(map(str, marks)).translate(_SUPERSCRIPT)


def printed(tables: Iterable[Table], form: str = "text") -> str:
    """Tables as one text: "text" for the terminal that is there, or one of `FORMATS`."""
    if form == "text":
        return on_terminal(list(tables), shutil.get_terminal_size((100, 24)).columns)
    return "\n".join(map(FORMATS[form], tables))


def files(table: Table, stem: str, forms: Iterable[str] = ("md", "csv", "tex")) -> dict[str, bytes]:
    """A table as files by name; spreadsheets know UTF-8 by its mark."""
    return {
        f"{stem}.{form}": FORMATS[form](table).encode("utf-8-sig" if form == "csv" else "utf-8")
        for form in forms
    }


# Markdown


def markdown(table: Table, within: bool = False, notes: Notes = "full") -> str:
    """GitHub's markdown: heading and conditions, the table, footnotes and signatures.

    `within` a text there is Pandoc's caption and no heading, and the conditions stand below.
    """
    table = table.unmarked() if notes == "off" else table
    title, conditions = map(markdown_text, (table.title, table.conditions))
    heads = [
        markdown_text(column.head) + superscript(table.marks(column)) for column in table.columns
    ]
    rows = [[_markdown_cell(table, cell) for cell in row] for row in table.all_rows]
    body = str(
        tabulating.tabulate(
            rows,
            headers=heads,
            tablefmt="github",
            colalign=_alignment(table.columns),
            disable_numparse=True,
        )
    )
    titled = [body, f"Table: {title}"] if within else [f"### {title}", body]
    noted = [f"{superscript([n])} {markdown_text(text)}" for n, text in enumerate(table.notes, 1)]
    if notes == "short":
        return "\n\n".join([*titled, in_one(markdown_text(table.line), noted)]) + "\n"
    parts = titled
    if notes == "full":
        parts = [*titled, conditions] if within else [titled[0], conditions, body]
    signed = _markdown_signatures(table.signatures) if notes == "full" else []
    parts += ["\n".join(listed) for listed in (_listed(noted), signed) if listed]
    return "\n\n".join(parts) + "\n"


def markdown_conditions(tables: Sequence[Table], names: Sequence[str] = ()) -> str:
    """The conditions and signatures of tables that are written without them, each once.

    `names` are those of the tables there, by default their titles.
    """
    titles = [table.title for table in tables]
    names = names or [
        f"{one.title} ({one.slug})" if titles.count(one.title) > 1 else one.title for one in tables
    ]
    parts = [f"*{markdown_text(of)}*: {markdown_text(text)}" for of, text in shared(tables, names)]
    signed = _markdown_signatures(signature for table in tables for signature in table.signatures)
    return "\n".join([*_listed(parts), *signed]) + "\n"


def _listed(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _markdown_signatures(signatures: Iterable[str]) -> list[str]:
    return [f"- {say('signature')} `{s.replace('`', chr(39))}`" for s in dict.fromkeys(signatures)]


def _markdown_cell(table: Table, cell: Cell) -> str:
    text = markdown_text(cell.text)
    whole = " ".join(filter(None, (f"**{text}**" if cell.bold else text, cell.detail)))
    return whole + superscript(table.marks(cell))


def markdown_text(text: str) -> str:
    """Escape text: no column border, tag, emphasis, code or link."""
    text = re.sub(r"([\\`*|~$])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside of a word it is harmless
    text = (
        text.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(").replace("![", "!\\[")
    )
    return re.sub(r"^([#>+-])", r"\\\1", text)


# CSV


def spreadsheet(table: Table) -> str:
    """CSV with unrounded values; each row carries its conditions, footnotes and signatures.

    A row pasted elsewhere so keeps its context. No cell is a formula.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    heads = (*flat_heads(table), say("notes"), say("conditions"), say("signatures"))
    writer.writerow(map(_harmless, heads))
    for row in table.all_rows:
        values = flat_values(table, row)
        values += [notes_of(table, row), table.conditions, " ".join(table.signatures)]
        writer.writerow(_harmless(value) for value in values)
    return out.getvalue()


def notes_of(table: Table, row: Sequence[Cell]) -> str:
    """The footnotes of a row and of all columns."""
    parts: list[Cell | Column[Any]] = [*table.columns, *row]
    marks = {mark for part in parts for mark in table.marks(part)}
    return " ".join(table.notes[mark - 1] for mark in sorted(marks))


def flat_heads(table: Table) -> list[str]:
    """The heads of a spreadsheet: of every column and its parts."""
    return [
        f"{column.head} {say_name(part)}".rstrip()
        for column in table.columns
        for part in ("", *column.parts)
    ]


def flat_values(table: Table, row: Sequence[Cell]) -> list[Value]:
    """The unrounded values of a row, one a head of `flat_heads`."""
    values: list[Value] = []
    for cell, column in zip(row, table.columns, strict=True):
        own = cell.values or (cell.text,)
        values += [*own, *[None] * (1 + len(column.parts) - len(own))]
    return values


def _harmless(value: Value) -> str:
    """A value for a spreadsheet: text is never a formula, numbers are numbers."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip().startswith(_FORMULA) or value[:1] == "\t" else value
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# Terminal


def on_terminal(tables: Sequence[Table], width: int, notes: Notes = "appendix") -> str:
    """Tables in at most `width` columns, by default with their conditions once below them all."""
    several = len(tables) > 1
    numbers = [str(place) for place in range(1, len(tables) + 1)]
    parts = [
        terminal(replace(table, title=f"{n}. {table.title}") if several else table, width, notes)
        for n, table in zip(numbers, tables, strict=True)
    ]
    if notes == "appendix":
        texts = (f"{of}: {text}" if several else text for of, text in shared(tables, numbers))
        parts.append("".join(f"{_wrapped(text, width)}\n" for text in texts))
    return "\n".join(parts)


def terminal(table: Table, width: int, notes: Notes = "full") -> str:
    """The table in at most `width` columns: broken into blocks that repeat what names the rows."""
    table = table.unmarked() if notes == "off" else table
    if not _fits(table, range(len(table.columns)), width):
        table = table.factored()
    noted = [f"{superscript([n])} {text}" for n, text in enumerate(table.notes, 1)]
    noted = [in_one(table.line, noted)] if notes == "short" else noted
    blocks = table.blocks(lambda some: _fits(table, some, width))
    texts = [table.title, *([table.conditions] if notes == "full" else [])]
    parts = [_wrapped(text, width) for text in texts]
    parts += [_block(table, block) for block in blocks]
    return "\n".join([*parts, *(_wrapped(text, width) for text in noted)]) + "\n"


def _fits(table: Table, columns: Sequence[int], width: int) -> bool:
    return max(map(width_of, _block(table, columns).splitlines())) <= width


def _wrapped(text: str, width: int) -> str:
    return "\n".join(wrapped(text, width))


def _block(table: Table, indices: Sequence[int]) -> str:
    columns = [table.columns[i] for i in indices]
    rows = [[_terminal_cell(table, row[i]) for i in indices] for row in table.all_rows]
    return str(
        tabulating.tabulate(
            rows,
            headers=[
                narrowed(column.head) + superscript(table.marks(column)) for column in columns
            ],
            tablefmt="simple",
            colalign=_alignment(columns),
            disable_numparse=True,
        )
    )


def _terminal_cell(table: Table, cell: Cell) -> str:
    text = cell.text + ("*" if cell.bold else "") + superscript(table.marks(cell))
    return f"{text}\n{cell.detail}" if cell.detail else text


def _alignment(columns: Sequence[Column[Any]]) -> list[str]:
    return ["left" if column.key else "right" for column in columns]


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": markdown, "tex": latex, "csv": spreadsheet,
}  # fmt: skip
