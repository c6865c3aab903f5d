"""Tables as LaTeX: booktabs rules, letters of normal size, everything escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from bench.report.format import width_of
from bench.report.language import in_force, say
from bench.report.table import Cell, Column, Notes, Table, in_one, narrowed, shared

_NEEDS = {
    "en": r"% needs \usepackage{booktabs}; with pdflatex also \usepackage[T1]{fontenc}",
    "ja": r"% needs \usepackage{booktabs}; uplatex and [T1]{fontenc}, or lualatex and luatexja",
}
_WIDTH = 63.0  # digits that fit beside each other on a page
_HEIGHT = 40  # lines of tables in a float
_GAP, _SMALL = 2.4, 0.75  # digits that the space of a column takes, and those of \scriptsize
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


def latex(table: Table, notes: Notes = "full") -> str:
    r"""A `table` environment with booktabs rules and letters of normal size, to be read by \input.

    Footnotes stand below in the float; conditions and signatures follow as text that refers to it,
    because a float cannot be longer than a page. A table that is wider than the text has its
    intervals on lines of their own. Where that is not enough, what is the same in every row moves
    into the caption, and the columns are broken into several tables of one number, which repeat
    what names the rows.
    """
    table = table.unmarked() if notes == "off" else table
    every = range(len(table.columns))
    stacked = not _fits(table, every, False)
    if not _fits(table, every, stacked):
        table = table.factored()
    blocks = table.blocks(lambda some: _fits(table, some, stacked))
    noted = [_marks((n,)) + latex_text(text) for n, text in enumerate(table.notes, 1)]
    noted = [in_one(latex_text(table.line), noted)] if notes == "short" else noted
    several = len(blocks) * (len(table.all_rows) * (1 + stacked) + 3) > _HEIGHT
    floats = [[block] for block in blocks] if several else [blocks]
    lines = [_NEEDS[in_force()]]
    for place, shown in enumerate(floats):
        caption = latex_text(table.title)
        titled = [rf"\caption{{{caption}}}", rf"\label{{tab:{table.slug}}}"]
        if place:
            again = latex_text(say("{title} (continued)", title=table.title))
            titled = [r"\addtocounter{table}{-1}", rf"\caption{{{again}}}"]
        tabulars = (_tabular(table, block, stacked) for block in shown)
        below = noted if shown is floats[-1] else []
        lines += [
            r"\begin{table}",
            r"\centering",
            *titled,
            r"\smallskip",
            "\n\\par\\medskip\n".join(tabulars),
            *(rf"\par\smallskip\raggedright\footnotesize {text}" for text in below),
            r"\end{table}",
        ]
    return "\n".join([*lines, latex_conditions([table]) if notes == "full" else ""])


def latex_conditions(tables: Sequence[Table]) -> str:
    """The conditions and signatures of tables, each once."""
    numbers = [say("Table {number}", number=rf"\ref{{tab:{table.slug}}}") for table in tables]
    texts = [f"{of}: {latex_text(text)}" for of, text in shared(tables, numbers)]
    signatures = dict.fromkeys(signature for table in tables for signature in table.signatures)
    signed = [f"{latex_text(say('signature'))} {latex_code(s)}" for s in signatures]
    return "\n".join(
        [
            *(rf"\par{{\footnotesize\noindent {text}\par}}" for text in texts),
            *(rf"{{\scriptsize\noindent\raggedright {text}\par}}" for text in signed),
            "",
        ]
    )


def _fits(table: Table, indices: Iterable[int], stacked: bool) -> bool:
    """Whether columns fit beside each other on a page."""
    widths = (_digits(table, i, stacked) + _GAP for i in indices)
    return sum(widths) <= _WIDTH


def _digits(table: Table, index: int, stacked: bool) -> float:
    """About how many digits the letters of a column are as wide as."""

    def width(cell: Cell) -> float:
        text = width_of(cell.text) + len(table.marks(cell))
        if stacked:
            return max(text, _SMALL * width_of(cell.detail))
        return text + (1 + width_of(cell.detail) if cell.detail else 0)

    head = max(map(width_of, narrowed(table.columns[index].head).splitlines()), default=0)
    return max([head, *(width(row[index]) for row in table.all_rows)])


def _tabular(table: Table, indices: Sequence[int], stacked: bool) -> str:
    """Some columns of a table."""

    def row(cells: Sequence[Cell]) -> str:
        return _row(table, [cells[i] for i in indices], stacked)

    columns = [table.columns[i] for i in indices]
    published = [r"\midrule", *map(row, table.published)] if table.published else []
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('l' if column.key else 'r' for column in columns)}}}",
            r"\toprule",
            " & ".join(_head(table, column) for column in columns) + r" \\",
            r"\midrule",
            *map(row, table.rows),
            *published,
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
