"""Blocks of a manuscript, renewed from a run; the rest of the file is unchanged.

A block is between two marker lines. In Markdown:

    <!-- kaidoku:begin cer run=mine decoder=ctc-* -->
    <!-- kaidoku:end -->

and in LaTeX:

    % kaidoku:begin damage run=mine severity=3 lang=ja
    % kaidoku:end

The words after `begin` name the table and filter its rows. A block `conditions` holds the
conditions of all tables with `notes=appendix`. In Markdown, markers in fenced code blocks are
ignored.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

from bench.core.errors import UserError
from bench.core.files import draft_of
from bench.core.registry import did_you_mean
from bench.report import accuracy, render, speed
from bench.report.format import number, plain, supported_decimals
from bench.report.language import in_force, language
from bench.report.latex import latex, latex_conditions
from bench.report.results import Result
from bench.report.table import Cell, Notes, Table

Syntax = Literal["md", "tex"]

SUFFIXES: dict[str, Syntax] = {
    ".md": "md", ".markdown": "md", ".qmd": "md", ".rmd": "md", ".tex": "tex", ".ltx": "tex",
}  # fmt: skip
EXAMPLES: dict[Syntax, str] = {
    "md": "<!-- kaidoku:begin cer --> and below it <!-- kaidoku:end -->",
    "tex": "% kaidoku:begin cer and below it % kaidoku:end",
}

NOTES: tuple[Notes, ...] = get_args(Notes)
_MARKERS: dict[Syntax, re.Pattern[str]] = {
    "md": re.compile(r"\ufeff?[ \t]*<!--[ \t]*kaidoku:(begin|end)\b(.*?)-->[ \t]*"),
    "tex": re.compile(r"\ufeff?[ \t]*%+[ \t]*kaidoku:(begin|end)\b(.*)"),
}
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")

TABLES: Mapping[str, Callable[[Sequence[Result]], list[Table]]] = {
    "cer": accuracy.by_set,
    "damage": accuracy.by_damage,
    "severity": accuracy.by_severity,
    "errors": accuracy.kinds_of_errors,
    "speed": speed.as_in_trocr,
    "stages": speed.by_stage,
    "stages-damaged": speed.by_stage_damaged,
}
FILTERS: Mapping[str, Callable[[Result], tuple[str, ...]]] = {
    "encoder": lambda result: (result.row.encoder, result.names.encoder),
    "decoder": lambda result: (result.row.decoder, result.names.decoder),
    "dataset": lambda result: (result.row.condition.dataset, result.names.dataset),
    "damage": lambda result: (result.row.condition.damage, result.names.damage),
    "severity": lambda result: (str(result.row.condition.severity),),
    "batch": lambda result: (str(result.row.runtime.batch_size),),
    "device": lambda result: (result.row.runtime.device,),
}
_OTHERS = ("run", "title", "label", "lang", "notes")
CONDITIONS = "conditions"


@dataclass(frozen=True)
class Request:
    """The words of a marker, parsed.

    table: one of `TABLES`, or `CONDITIONS`.
    run: name or folder of a run; "" for the one of the command line.
    filters: by name of a filter the values that pass, with * and ?.
    title: a caption of the author's own; "" for that of the table.
    label: for references; "" for that of the table.
    lang: of the words; "" for that of the command line.
    notes: see `Notes`; "" for those of the command line.
    """

    table: str
    run: str = ""
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    title: str = ""
    label: str = ""
    lang: str = ""
    notes: str = ""


def parse(words: str) -> Request:
    """Read a marker: the table's name, then `name=value`, quoted as for a shell.

    Raises:
        UserError: there is no such table, or no option of that name, or one stands twice.
    """
    try:
        table, *options = shlex.split(words) or [""]
    except ValueError as error:
        raise UserError(f"{words!r} cannot be read ({error}); close the quotation") from None
    if not table:
        raise UserError(f"the block names no table; there are: {', '.join(TABLES)}")
    if table == CONDITIONS and options:
        raise UserError(
            f"a block of {CONDITIONS} takes no options, since it follows the blocks of its tables; "
            f"write {' '.join(options)} there, or delete it here"
        )
    if table not in (*TABLES, CONDITIONS):
        raise UserError(f"no table is called {table!r}{did_you_mean(table, (*TABLES, CONDITIONS))}")
    values: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in FILTERS and name not in _OTHERS:
            raise UserError(f"no option {name!r}{did_you_mean(name, (*_OTHERS, *FILTERS))}")
        if not equals or not value or name in values:
            raise UserError(f"{name} needs one value, as in {name}=...")
        values[name] = value
    if (notes := values.get("notes")) and notes not in NOTES:
        raise UserError(f"notes cannot be {notes!r}{did_you_mean(notes, NOTES)}")
    filters = tuple(
        (name, tuple(values.pop(name).split(","))) for name in FILTERS if name in values
    )
    return Request(table, filters=filters, **values)


def made(request: Request, results: Sequence[Result]) -> list[Table]:
    """The tables of a block.

    Raises:
        UserError: the run has no such result, or the language is unknown.
    """
    chosen = [result for result in results if _passes(result, request)]
    with language(request.lang or in_force()):
        tables = [_on_paper(table, request) for table in TABLES[request.table](chosen)]
        if not tables:
            raise UserError(_nothing(request, results))
        if len(tables) > 1 and (request.title or request.label):
            raise UserError(
                f"{len(tables)} tables fit, and one title or label cannot be that of all; narrow "
                f"the block by {', '.join(FILTERS)}"
            )
        return tables


def content(tables: Sequence[Table], request: Request, syntax: Syntax, notes: Notes) -> str:
    """The text of tables between markers, with a line feed at its end."""
    with language(request.lang or in_force()):
        if syntax == "tex":
            return "\n".join(latex(table, notes) for table in tables)
        written = [render.markdown(table, within=True, notes=notes) for table in tables]
        return "\n" + "\n".join(written) + "\n"


def conditions(tables: Mapping[str, Sequence[Table]], syntax: Syntax) -> str:
    """The text of a block of conditions of tables by language, with a line feed at its end.

    Raises:
        UserError: no table has its conditions there.
    """
    if not tables:
        raise UserError("no block has its conditions here; write notes=appendix into one")
    write = latex_conditions if syntax == "tex" else render.markdown_conditions
    texts = []
    for name, own in tables.items():
        with language(name):
            texts.append(write(own))
    return "\n".join(texts) if syntax == "tex" else "\n" + "\n".join(texts) + "\n"


def _passes(result: Result, request: Request) -> bool:
    clean = result.clean
    return all(
        (name in ("damage", "severity") and clean and request.table == "severity")  # its severity 0
        or any(fnmatchcase(own, value) for own in FILTERS[name](result) for value in values)
        for name, values in request.filters
    )


def _nothing(request: Request, results: Sequence[Result]) -> str:
    """The reason for an empty table: the first filter without a match, and the known values."""
    for name, values in request.filters:
        known = sorted({own for result in results for own in FILTERS[name](result)})
        for value in values:
            if not any(fnmatchcase(own, value) for own in known):
                return f"nothing in the run has {name} {value!r}{did_you_mean(value, known)}"
    filters = "".join(f" {name}={','.join(values)}" for name, values in request.filters)
    return f"the run has no results for a table {request.table}{filters}; change the block"


def _on_paper(table: Table, request: Request) -> Table:
    rows = tuple(tuple(map(_rounded, row)) for row in table.rows)
    return dataclasses.replace(
        table,
        rows=rows,
        title=plain(request.title) or table.title,
        slug=plain(request.label) or table.slug,
    )


def _rounded(cell: Cell) -> Cell:
    """Round a number to the digits that its interval supports."""
    if not cell.detail or len(cell.values) != 3:
        return cell
    value, low, high = cell.values
    if not (isinstance(value, float) and isinstance(low, float) and isinstance(high, float)):
        return cell
    most = len(cell.text.partition(".")[2])
    decimals = supported_decimals(low, high, most)
    texts = [number(each, decimals) for each in (value, low, high)]
    return dataclasses.replace(cell, text=texts[0], detail=f"[{texts[1]}, {texts[2]}]")


# The file


Make = Callable[[str], str]  # from the words of a marker to what stands below it


@dataclass(frozen=True)
class RenewedBlock:
    """A block of a manuscript.

    line: number of its first marker, from 1.
    words: of that marker, behind `begin`.
    stale: whether it differed from the run's table.
    """

    line: int
    words: str
    stale: bool


def syntax_of(path: Path) -> Syntax:
    """Whether a manuscript is Markdown or LaTeX, by its name."""
    syntax = SUFFIXES.get(path.suffix.lower())
    if syntax is None:
        raise UserError(f"{path} is neither Markdown nor LaTeX by its name ({', '.join(SUFFIXES)})")
    return syntax


def renew(path: Path, make: Make, check: bool = False) -> list[RenewedBlock]:
    """Write the blocks of a manuscript anew; the file is touched only where one is stale.

    `make` gives the content of a block, ending with a line feed; what it raises of `UserError` gets
    the place of the block, and nothing is written, as with `check`.

    Raises:
        UserError: the file cannot be read or written, has no block or a torn one.
    """
    text = _read(path)
    renewed, blocks = rewritten(text, syntax_of(path), make, str(path))
    if renewed != text and not check:
        target = path.resolve()  # keep a link
        with draft_of(target) as draft:
            draft.write_bytes(renewed.encode())
            shutil.copymode(target, draft)
    return blocks


def rewritten(text: str, syntax: Syntax, make: Make, name: str) -> tuple[str, list[RenewedBlock]]:
    """A manuscript with its blocks written anew, and what these are; line ends are kept.

    Raises:
        UserError: it has no block or a torn one, or `make` raised it; `name` is the manuscript's.
    """
    parts: list[str] = []
    blocks: list[RenewedBlock] = []
    opened: tuple[int, str, str] | None = None  # line, words, line end
    inside: list[str] = []
    for place, line, kind, words in _marked(text, syntax):
        if kind == "begin":
            if opened:
                raise UserError(f"{name}:{place}: the block of line {opened[0]} has no end before")
            opened = (place, words, "\r\n" if line.endswith("\r\n") else "\n")
        elif kind == "end":
            if not opened:
                raise UserError(f"{name}:{place}: this end has no kaidoku:begin before it")
            try:
                made = make(opened[1]).replace("\n", opened[2])
            except UserError as error:
                raise UserError(f"{name}:{opened[0]}: {error}") from None
            blocks.append(RenewedBlock(opened[0], opened[1], made != "".join(inside)))
            parts.append(made)
            opened, inside = None, []
        elif opened:
            inside.append(line)
            continue
        parts.append(line)
    if opened:
        raise UserError(f"{name}:{opened[0]}: this block has no kaidoku:end")
    if not blocks:
        raise UserError(f"{name} has no block; write one in two lines: {EXAMPLES[syntax]}")
    return "".join(parts), blocks


def _marked(text: str, syntax: Syntax) -> Iterator[tuple[int, str, str, str]]:
    """Every line with its number, "begin", "end" or "" and the words of the marker."""
    fence, inside = "", False
    for place, line in enumerate(_LINE.findall(text), start=1):
        bare = line.rstrip("\r\n")
        if syntax == "md" and not inside:  # the content of a block is replaced anyway
            fence = _fence_after(fence, bare)
        marker = None if fence else _MARKERS[syntax].fullmatch(bare)
        kind, words = (marker[1], marker[2].strip()) if marker else ("", "")
        inside = kind == "begin" or (inside and kind != "end")
        yield place, line, kind, words


def _fence_after(fence: str, line: str) -> str:
    """The fence of the code block that a line stands in or opens; "" behind and outside of one."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and line.strip() == found[1]
    return "" if closes else fence


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as such") from None
