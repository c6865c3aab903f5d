"""Tables for LaTeX: booktabs rules, everything escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.report.captions import in_force, say
from bench.report.table import Cell, Table

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
    heads = [latex_text(column.head) + _marks(column.marks) for column in table.columns]
    as_rows = _stacked if _is_wide(table) else _row
    rows = [as_rows(row) for row in table.rows]
    if table.published:
        rows += [r"\midrule", *(as_rows(row) for row in table.published)]
    notes = [_marks((n,)) + latex_text(text) for n, text in enumerate(table.notes, 1)]
    where = say("Table {number}", number=rf"\ref{{tab:{table.slug}}}")
    traced = [f"{latex_text(say('signature'))} {latex_code(s)}" for s in table.signatures]
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
            *(rf"{{\scriptsize\noindent\raggedright {text}\par}}" for text in traced),
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


def _row(row: Sequence[Cell]) -> str:
    return " & ".join(_cell(cell, cell.detail) for cell in row) + r" \\"


def _stacked(row: Sequence[Cell]) -> str:
    r"""A row with its details in small letters on a second line, where it has any."""
    first = " & ".join(_cell(cell) for cell in row) + r" \\"
    if not any(cell.detail for cell in row):
        return first
    second = (rf"\scriptsize {latex_text(cell.detail)}" if cell.detail else "" for cell in row)
    return f"{first}*\n{' & '.join(second)} " + r"\\[\smallskipamount]"


def _cell(cell: Cell, detail: str = "") -> str:
    text = latex_text(cell.text)
    told = rf"\textbf{{{text}}}" if cell.bold else text
    return (f"{told} {latex_text(detail)}" if detail else told) + _marks(cell.marks)


def _marks(marks: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, marks))}}}" if marks else ""


def latex_text(text: str) -> str:
    """Text for LaTeX, which has no font for some letters: those become U+1234.

    What pdfLaTeX knows is Latin 1; in a Japanese document there are Japanese letters too.
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
