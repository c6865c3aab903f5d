"""Tables as markdown, LaTeX, CSV and terminal text.

Texts of a table may be untrusted (exceptions, users' names), so each format escapes all of them.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tabulate as tabulating

from bench.report.language import in_force, say
from bench.report.table import Cell, Column, Table, Value

tabulating.MIN_PADDING = 0  # a head is as wide as its letters
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FORMULA = tuple("=+-@" + "\uff1d\uff0b\uff0d\uff20")  # the full-width ones begin a formula too


def superscript(marks: Sequence[int]) -> str:
    """Footnote numbers as superscript figures: (1, 12) is "¹,¹²"."""
    return ",".join(map(str, marks)).translate(_SUPERSCRIPT)


def printed(tables: Iterable[Table], form: str = "text") -> str:
    """Tables as one text: "text" for the terminal that is there, or one of `FORMATS`."""
    width = shutil.get_terminal_size((100, 24)).columns
    render = FORMATS.get(form, lambda table: terminal(table, width))
    return "\n".join(map(render, tables))


def files(table: Table, stem: str, forms: Iterable[str] = ("md", "csv", "tex")) -> dict[str, bytes]:
    """A table as files by name; spreadsheets know UTF-8 by its mark."""
    return {
        f"{stem}.{form}": FORMATS[form](table).encode("utf-8-sig" if form == "csv" else "utf-8")
        for form in forms
    }


# Markdown


def markdown(table: Table, within: bool = False) -> str:
    """GitHub's markdown: heading and conditions, the table, footnotes and signatures.

    `within` a text there is Pandoc's caption and no heading, and the conditions stand below.
    """
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
    parts = [body, f"Table: {title}", conditions] if within else [f"### {title}", conditions, body]
    notes = enumerate(table.notes, 1)
    noted = [f"- {superscript([n])} {markdown_text(text)}" for n, text in notes]
    signed = [f"- {say('signature')} `{s.replace('`', chr(39))}`" for s in table.signatures]
    parts += ["\n".join(listed) for listed in (noted, signed) if listed]
    return "\n\n".join(parts) + "\n"


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
    heads = (*flat_heads(table), "notes", "conditions", "signatures")
    writer.writerow(map(_harmless, heads))
    for row in table.all_rows:
        values = flat_values(table, row)
        marks = {mark for column in table.columns for mark in table.marks(column)}
        marks |= {mark for cell in row for mark in table.marks(cell)}
        notes = " ".join(table.notes[mark - 1] for mark in sorted(marks))
        values += [notes, table.conditions, " ".join(table.signatures)]
        writer.writerow(_harmless(value) for value in values)
    return out.getvalue()


def flat_heads(table: Table) -> list[str]:
    """The heads of a spreadsheet: of every column and its parts."""
    return [
        f"{column.head} {part}".rstrip() for column in table.columns for part in ("", *column.parts)
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


_HEAD = 10  # letters of a head beside each other


def terminal(table: Table, width: int) -> str:
    """The table in at most `width` columns: broken into blocks that repeat what names the rows."""

    def wrap(text: str) -> str:
        return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)

    parts = [table.title, wrap(table.conditions)]
    parts += [_block(table, block) for block in _blocks(table, width)]
    parts += [wrap(f"{superscript([n])} {text}") for n, text in enumerate(table.notes, 1)]
    return "\n".join(parts) + "\n"


def _blocks(table: Table, width: int) -> list[list[int]]:
    """Indices of the columns that fit beside each other; key columns are in every block."""
    keys = [i for i, column in enumerate(table.columns) if column.key]
    blocks = [list(keys)]
    for index in (i for i, column in enumerate(table.columns) if not column.key):
        wider = [*blocks[-1], index]
        fits = max(map(len, _block(table, wider).splitlines())) <= width
        if fits or blocks[-1] == keys:
            blocks[-1] = wider
        else:
            blocks.append([*keys, index])
    return blocks


def _block(table: Table, indices: Sequence[int]) -> str:
    columns = [table.columns[i] for i in indices]
    rows = [[_terminal_cell(table, row[i]) for i in indices] for row in table.all_rows]
    return str(
        tabulating.tabulate(
            rows,
            headers=[
                _stacked(column.head) + superscript(table.marks(column)) for column in columns
            ],
            tablefmt="simple",
            colalign=_alignment(columns),
            disable_numparse=True,
        )
    )


def _stacked(head: str) -> str:
    """A head of several words in lines as narrow as numbers."""
    return textwrap.fill(head, _HEAD, break_long_words=False, break_on_hyphens=False)


def _terminal_cell(table: Table, cell: Cell) -> str:
    text = cell.text + ("*" if cell.bold else "") + superscript(table.marks(cell))
    return f"{text}\n{cell.detail}" if cell.detail else text


# Common parts


def _alignment(columns: Sequence[Column[Any]]) -> list[str]:
    return ["left" if column.key else "right" for column in columns]


# LaTeX: booktabs rules, everything escaped


_NEEDS = {
    "en": [r"% needs \usepackage{booktabs,graphicx} and \usepackage[T1]{fontenc}"],
    "ja": [r"% needs \usepackage{booktabs,graphicx,luatexja} and lualatex"],
}
_WIDTH = 80  # letters of a row that fit beside each other on a page
_LATIN = re.compile("[\0-\x7f\xa1-\xff]")
_JAPANESE = re.compile("[\0-\x7f\xa1-\xff\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # a row that begins with one would be an argument of \\ before it
    "]": "{]}",
    "*": "{*}",  # likewise
    "\u2013": "--",
    "—": "---",
    "…": r"\ldots{}",
    "\u00d7": r"\texttimes{}",
    "µ": r"\textmu{}",
    "†": r"\textdagger{}",
    "Δ": r"\ensuremath{\Delta}",
}


def latex(table: Table) -> str:
    r"""A `table` environment with booktabs rules, to be read by \input.

    Footnotes stand below in the float; conditions and signatures follow as text that refers to it,
    because a float cannot be longer than a page. A table that is wider than the text is made
    smaller; before that, a wide one has its intervals on lines of their own.
    """
    columns = "".join("l" if column.key else "r" for column in table.columns)
    heads = [latex_text(column.head) + _marks(table.marks(column)) for column in table.columns]
    wide = _is_wide(table)
    rows = [_row(table, row, wide) for row in table.rows]
    if table.published:
        rows += [r"\midrule", *(_row(table, row, wide) for row in table.published)]
    notes = [_marks((n,)) + latex_text(text) for n, text in enumerate(table.notes, 1)]
    where = say("Table {number}", number=rf"\ref{{tab:{table.slug}}}")
    signed = [f"{latex_text(say('signature'))} {latex_code(s)}" for s in table.signatures]
    return "\n".join(
        [
            *_NEEDS[in_force()],
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(table.title)}}}",
            rf"\label{{tab:{table.slug}}}",
            r"\smallskip",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip\raggedright\footnotesize {text}" for text in notes),
            r"\end{table}",
            rf"\par{{\footnotesize\noindent {where}: {latex_text(table.conditions)}\par}}",
            *(rf"{{\scriptsize\noindent\raggedright {text}\par}}" for text in signed),
            "",
        ]
    )


def _is_wide(table: Table) -> bool:
    """Whether the letters of its rows are too many for a page."""
    rows = table.all_rows
    widths = [
        max([len(column.head), *(len(f"{row[i].text} {row[i].detail}") for row in rows)])
        for i, column in enumerate(table.columns)
    ]
    return sum(widths) > _WIDTH


def _row(table: Table, row: Sequence[Cell], stacked: bool) -> str:
    r"""A row; its details behind the texts, or in small letters on a second line."""
    first = " & ".join(_cell(table, cell, "" if stacked else cell.detail) for cell in row) + r" \\"
    if not stacked or not any(cell.detail for cell in row):
        return first
    second = (rf"\scriptsize {latex_text(cell.detail)}" if cell.detail else "" for cell in row)
    return f"{first}*\n{' & '.join(second)} " + r"\\[\smallskipamount]"


def _cell(table: Table, cell: Cell, detail: str) -> str:
    text = latex_text(cell.text)
    text = rf"\textbf{{{text}}}" if cell.bold else text
    return (f"{text} {latex_text(detail)}" if detail else text) + _marks(table.marks(cell))


def _marks(marks: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, marks))}}}" if marks else ""


def latex_text(text: str) -> str:
    """Escape text for LaTeX; letters without a font become U+1234.

    pdfLaTeX has Latin 1, a Japanese document Japanese letters too.
    """
    known = _JAPANESE if in_force() == "ja" else _LATIN
    escaped = "".join(
        _ESCAPES.get(c) or (c if known.match(c) else f"U+{ord(c):04X}")
        for c in re.sub(r"(?<=([-,']))(?=\1)", "\0", text)  # two in a row would melt together
    )
    return escaped.replace("\0", "{}")


def latex_code(text: str) -> str:
    r"""Text in typewriter letters that may break at its separators."""
    escaped = "".join(latex_text(c) + (r"\allowbreak{}" if c in "|:,/" else "") for c in text)
    return rf"\texttt{{{escaped}}}"


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": markdown, "tex": latex, "csv": spreadsheet,
}  # fmt: skip
