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
from dataclasses import replace
from typing import Any, Literal
from unicodedata import east_asian_width

import tabulate as tabulating

from bench.report.language import in_force, say
from bench.report.table import Cell, Column, Table, Value

tabulating.MIN_PADDING = 0  # a head is as wide as its letters
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_HEAD = 10  # letters of a head beside each other, on a terminal and in LaTeX
_FORMULA = tuple("=+-@" + "\uff1d\uff0b\uff0d\uff20")  # the full-width ones begin a formula too


def superscript(marks: Sequence[int]) -> str:
    """Footnote numbers as superscript figures: (1, 12) is "¹,¹²"."""
    return ",".join(map(str, marks)).translate(_SUPERSCRIPT)


# What stands below a table: conditions and signatures in full; one line; nothing, since they stand
# in an appendix; nothing at all.
Notes = Literal["full", "short", "appendix", "off"]


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
    table = _unmarked(table) if notes == "off" else table
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
    named = [body, f"Table: {title}"] if within else [f"### {title}", body]
    noted = [f"{superscript([n])} {markdown_text(text)}" for n, text in enumerate(table.notes, 1)]
    if notes == "short":
        return "\n\n".join([*named, " ".join([markdown_text(_line(table)), *noted])]) + "\n"
    parts = named
    if notes == "full":
        parts = [*named, conditions] if within else [named[0], conditions, body]
    signed = _markdown_signatures(table.signatures) if notes == "full" else []
    parts += ["\n".join(listed) for listed in (_listed(noted), signed) if listed]
    return "\n\n".join(parts) + "\n"


def markdown_conditions(tables: Sequence[Table]) -> str:
    """The conditions and signatures of tables that are written without them, each once."""
    titles = [markdown_text(title) for title in _distinct_titles(tables)]
    parts = [f"*{_of_tables(titles, of)}*: {markdown_text(text)}" for of, text in shared(tables)]
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
    heads = (*flat_heads(table), "notes", "conditions", "signatures")
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


def on_terminal(tables: Sequence[Table], width: int, notes: Notes = "appendix") -> str:
    """Tables in at most `width` columns, by default with their conditions once below them all."""
    several = len(tables) > 1
    numbers = [str(place) for place in range(1, len(tables) + 1)]
    parts = [
        terminal(replace(table, title=f"{n}. {table.title}") if several else table, width, notes)
        for n, table in zip(numbers, tables, strict=True)
    ]
    if notes == "appendix":
        texts = [f"{_of_tables(numbers, of)}: {text}" if several else text
                 for of, text in shared(tables)]  # fmt: skip
        parts.append("".join(f"{_wrapped(text, width)}\n" for text in texts))
    return "\n".join(parts)


def terminal(table: Table, width: int, notes: Notes = "full") -> str:
    """The table in at most `width` columns: broken into blocks that repeat what names the rows."""
    table = _unmarked(table) if notes == "off" else table
    noted = [f"{superscript([n])} {text}" for n, text in enumerate(table.notes, 1)]
    noted = [" ".join([_line(table), *noted])] if notes == "short" else noted
    blocks = _blocks(table, lambda some: max(map(len, _block(table, some).splitlines())) <= width)
    parts = [table.title, *([_wrapped(table.conditions, width)] if notes == "full" else [])]
    parts += [_block(table, block) for block in blocks]
    return "\n".join([*parts, *(_wrapped(text, width) for text in noted)]) + "\n"


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _blocks(table: Table, fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Indices of the columns that fit beside each other; key columns are in every block."""
    keys = [i for i, column in enumerate(table.columns) if column.key]
    blocks = [list(keys)]
    for index in (i for i, column in enumerate(table.columns) if not column.key):
        wider = [*blocks[-1], index]
        if fits(wider) or blocks[-1] == keys:
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


def shared(tables: Sequence[Table]) -> list[tuple[tuple[int, ...], str]]:
    """The conditions of tables, each sentence once, with the places of the tables that share it."""
    places: dict[str, dict[int, None]] = {}
    for place, table in enumerate(tables):
        for sentence in table.sentences:
            places.setdefault(sentence, {})[place] = None
    texts: dict[tuple[int, ...], str] = {}
    for sentence, of in places.items():
        texts[tuple(of)] = texts.get(tuple(of), "") + sentence
    return [(of, texts[of].strip()) for of in sorted(texts, key=lambda of: -len(of))]


def _of_tables(names: Sequence[str], of: Sequence[int]) -> str:
    """The tables of a sentence, by their names."""
    if len(of) == len(names) > 1:
        return say("all tables")
    return "; ".join(names[place] for place in of)


def _distinct_titles(tables: Sequence[Table]) -> list[str]:
    titles = [table.title for table in tables]
    return [
        f"{one.title} ({one.slug})" if titles.count(one.title) > 1 else one.title for one in tables
    ]


def _line(table: Table) -> str:
    """The short conditions of a table."""
    return table.short or table.sentences[0].strip()


def _unmarked(table: Table) -> Table:
    """A table without footnotes."""
    return replace(
        table,
        columns=tuple(replace(column, notes=()) for column in table.columns),
        rows=tuple(tuple(replace(cell, notes=()) for cell in row) for row in table.rows),
        published=tuple(tuple(replace(cell, notes=()) for cell in row) for row in table.published),
    )


def _alignment(columns: Sequence[Column[Any]]) -> list[str]:
    return ["left" if column.key else "right" for column in columns]


# LaTeX: booktabs rules, everything escaped


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
    table = _unmarked(table) if notes == "off" else table
    every = range(len(table.columns))
    stacked = not _fits(table, every, False)
    if not _fits(table, every, stacked):
        table = _factored(table)
    blocks = _blocks(table, lambda some: _fits(table, some, stacked))
    noted = [_marks((n,)) + latex_text(text) for n, text in enumerate(table.notes, 1)]
    noted = [" ".join([latex_text(_line(table)), *noted])] if notes == "short" else noted
    several = len(blocks) * (len(table.all_rows) * (1 + stacked) + 3) > _HEIGHT
    floats = [[block] for block in blocks] if several else [blocks]
    lines = [_NEEDS[in_force()]]
    for place, shown in enumerate(floats):
        caption = latex_text(table.title)
        named = [rf"\caption{{{caption}}}", rf"\label{{tab:{table.slug}}}"]
        if place:
            again = latex_text(say("{title} (continued)", title=table.title))
            named = [r"\addtocounter{table}{-1}", rf"\caption{{{again}}}"]
        tabulars = (_tabular(table, block, stacked) for block in shown)
        below = noted if shown is floats[-1] else []
        lines += [
            r"\begin{table}",
            r"\centering",
            *named,
            r"\smallskip",
            "\n\\par\\medskip\n".join(tabulars),
            *(rf"\par\smallskip\raggedright\footnotesize {text}" for text in below),
            r"\end{table}",
        ]
    return "\n".join([*lines, latex_conditions([table]) if notes == "full" else ""])


def _factored(table: Table) -> Table:
    """A table whose title says what is the same in every row."""
    rows = table.all_rows
    same = [
        place
        for place, column in enumerate(table.columns)
        if column.key and len({row[place].text for row in rows}) == 1
    ]
    if len(rows) < 2 or not same:
        return table
    names = ", ".join(f"{table.columns[place].head} {rows[0][place].text}" for place in same)

    def others(items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(item for place, item in enumerate(items) if place not in same)

    return replace(
        table, title=f"{table.title} ({names})", columns=others(table.columns),
        rows=tuple(map(others, table.rows)), published=tuple(map(others, table.published)),
    )  # fmt: skip


def latex_conditions(tables: Sequence[Table]) -> str:
    """The conditions and signatures of tables, each once."""
    numbers = [say("Table {number}", number=rf"\ref{{tab:{table.slug}}}") for table in tables]
    texts = [f"{_of_tables(numbers, of)}: {latex_text(text)}" for of, text in shared(tables)]
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
        text = _letters(cell.text) + len(table.marks(cell))
        if stacked:
            return max(text, _SMALL * _letters(cell.detail))
        return text + (1 + _letters(cell.detail) if cell.detail else 0)

    head = max(map(_letters, _stacked(table.columns[index].head).splitlines()), default=0)
    return max([head, *(width(row[index]) for row in table.all_rows)])


def _letters(text: str) -> int:
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)


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
    lines = list(map(latex_text, _stacked(column.head).splitlines()))
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


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "md": markdown, "tex": latex, "csv": spreadsheet,
}  # fmt: skip
