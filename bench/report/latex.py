"""Tables as LaTeX: booktabs rules, letters of normal size, everything escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.report.format import listing, width_of
from bench.report.language import in_force, say
from bench.report.table import Cell, Column, Notes, Table, in_one, narrowed, shared

_NEEDS = {
    "en": r"% needs \usepackage{booktabs}; with pdflatex also \usepackage[T1]{fontenc}",
    "ja": r"% needs \usepackage{booktabs}; uplatex and [T1]{fontenc}, or lualatex and luatexja",
}
# Digits that fit beside each other on a page: of article, and of ujarticle, which is narrower.
_WIDTH = {"en": 66.0, "ja": 63.0}
_HEIGHT = 36  # lines of tables in a float
_GAP, _TIGHT = 2.4, 1.6  # digits that the space of a column takes, and that of a narrowed one
_NARROW = r"\setlength{\tabcolsep}{4pt}"
_SMALL = 0.75  # digits of \scriptsize
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

_PlacedRow = tuple[tuple[Cell, ...], bool]  # a row, and whether it is a published one


def latex(table: Table, notes: Notes = "full") -> str:
    r"""A `table` environment with booktabs rules and letters of normal size, to be read by \input.

    Footnotes stand below in the float; conditions and signatures follow as text that refers to it,
    because a float cannot be longer than a page. A table that is wider than the text has its
    intervals on lines of their own and its columns nearer to each other. Where that is not enough,
    what is the same in every row moves into the caption, and columns that yield into a table behind
    the conditions. What is still too wide is broken into several tables of one number, which repeat
    what names the rows; one with more rows than a page holds, likewise.
    """
    table = table.unmarked() if notes == "off" else table
    shown, rest, stacked = _laid_out(table)
    noted = [_marks((n,)) + latex_text(text) for n, text in enumerate(shown.notes, 1)]
    if notes == "short":
        gone = [column.head for column in rest.columns if not column.key] if rest else []
        line = say("{line} Columns left out: {columns}.", line=table.line, columns=listing(gone))
        noted = [in_one(latex_text(line if gone else table.line), noted)]
    lines = [_NEEDS[in_force()], *_floats(shown, stacked, noted)]
    return "\n".join([*lines, latex_conditions([table]) if notes == "full" else ""])


def _laid_out(table: Table) -> tuple[Table, Table | None, bool]:
    """The table as it fits on a page, its other columns, and whether its intervals are stacked."""
    places = list(range(len(table.columns)))
    stacked = not _fits(table, places, False)
    if _fits(table, places, stacked):
        return table, None, stacked
    table = table.factored()
    places = list(range(len(table.columns)))
    yielding = sorted(
        (place for place in places if table.columns[place].yields),
        key=lambda place: (table.columns[place].yields, place),
    )
    gone = []
    while yielding and not _fits(table, places, stacked):
        gone.append(yielding.pop())
        places.remove(gone[-1])
    if not gone:
        return table, None, stacked
    named = [place for place in places if table.columns[place].key]
    rest = replace(
        table.only(named + sorted(gone)),
        title=say("{title} (further columns)", title=table.title),
        slug=f"{table.slug}-further",
    )
    return table.only(places), rest, stacked


def _floats(table: Table, stacked: bool, below: Sequence[str]) -> list[str]:
    """The lines of a table's floats: as many as its rows and blocks of columns need."""
    blocks = table.blocks(lambda some: _fits(table, some, stacked))
    rows = [(row, False) for row in table.rows] + [(row, True) for row in table.published]
    most = (_HEIGHT - 3) // (1 + stacked)
    count = max(1, math.ceil(len(rows) / most))
    parts = [rows[len(rows) * n // count : len(rows) * (n + 1) // count] for n in range(count)]
    several = len(blocks) * (len(rows) * (1 + stacked) + 3) > _HEIGHT
    floats = [[(part, block)] for block in blocks for part in parts]
    floats = floats if several else [[each for one in floats for each in one]]
    lines = []
    for place, shown in enumerate(floats):
        caption = latex_text(table.title)
        titled = [rf"\caption{{{caption}}}", rf"\label{{tab:{table.slug}}}"]
        if place:
            again = latex_text(say("{title} (continued)", title=table.title))
            titled = [r"\addtocounter{table}{-1}", rf"\caption{{{again}}}"]
        tabulars = (_tabular(table, part, block, stacked) for part, block in shown)
        noted = below if shown is floats[-1] else ()
        lines += [
            r"\begin{table}",
            r"\centering",
            *titled,
            rf"\smallskip{_NARROW if stacked else ''}",
            "\n\\par\\medskip\n".join(tabulars),
            *(rf"\par\smallskip\raggedright\footnotesize {text}" for text in noted),
            r"\end{table}",
            *([r"\clearpage"] if place % 10 == 9 else []),  # TeX holds about 50 unplaced floats
        ]
    return lines


def latex_conditions(tables: Sequence[Table]) -> str:
    """The conditions and signatures of tables, each once, and the columns that went from them."""
    numbers = [say("Table {number}", number=rf"\ref{{tab:{table.slug}}}") for table in tables]
    texts = [f"{of}: {latex_text(text)}" for of, text in shared(tables, numbers)]
    signatures = dict.fromkeys(signature for table in tables for signature in table.signatures)
    signed = [f"{latex_text(say('signature'))} {latex_code(s)}" for s in signatures]
    return "\n".join(
        [
            *(rf"\par{{\footnotesize\noindent\emergencystretch=3em {text}\par}}" for text in texts),
            *(rf"{{\scriptsize\noindent\raggedright {text}\par}}" for text in signed),
            *(line for table in tables for line in _further(table)),
            "",
        ]
    )


def _further(table: Table) -> list[str]:
    """The lines of a table of the columns that its page had no room for."""
    _, rest, stacked = _laid_out(table)
    if rest is None:
        return []
    noted = [_marks((n,)) + latex_text(text) for n, text in enumerate(rest.notes, 1)]
    return _floats(rest, stacked, noted)


def _fits(table: Table, indices: Iterable[int], stacked: bool) -> bool:
    """Whether columns fit beside each other on a page."""
    gap = _TIGHT if stacked else _GAP
    widths = (_digits(table, i, stacked) + gap for i in indices)
    return sum(widths) <= _WIDTH[in_force()]


def _digits(table: Table, index: int, stacked: bool) -> float:
    """About how many digits the letters of a column are as wide as."""

    def width(cell: Cell) -> float:
        text = width_of(cell.text) + len(table.marks(cell))
        if stacked:
            return max(text, _SMALL * width_of(cell.detail))
        return text + (1 + width_of(cell.detail) if cell.detail else 0)

    head = max(map(width_of, narrowed(table.columns[index].head).splitlines()), default=0)
    return max([head, *(width(row[index]) for row in table.all_rows)])


def _tabular(
    table: Table, rows: Sequence[_PlacedRow], indices: Sequence[int], stacked: bool
) -> str:
    """Some rows and columns of a table."""
    columns = [table.columns[i] for i in indices]
    body = []
    for place, (cells, published) in enumerate(rows):
        if published and not (place and rows[place - 1][1]):
            body.append(r"\midrule")
        body.append(_row(table, [cells[i] for i in indices], stacked))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('l' if column.key else 'r' for column in columns)}}}",
            r"\toprule",
            " & ".join(_head(table, column) for column in columns) + r" \\",
            *([r"\midrule"] if not rows or not rows[0][1] else []),
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _head(table: Table, column: Column[Any]) -> str:
    """The head of a column, several words below each other."""
    lines = list(map(latex_text, narrowed(column.head).splitlines()))
    text = r" \\ ".join(lines) + _marks(table.marks(column))
    return rf"\shortstack[{'l' if column.key else 'r'}]{{{text}}}" if len(lines) > 1 else text


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
