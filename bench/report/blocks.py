"""A block of a manuscript: which table of which run it shows, and how that reads on paper."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.report import accuracy, render, speed
from bench.report.captions import language
from bench.report.format import decimals_told, number, plain
from bench.report.remarks import Judge
from bench.report.results import Result
from bench.report.table import Cell, Table

Syntax = Literal["md", "tex"]

TABLES: Mapping[str, Callable[[Sequence[Result], Judge], list[Table]]] = {
    "cer": accuracy.by_set,
    "damage": accuracy.by_damage,
    "severity": accuracy.by_severity,
    "errors": lambda results, judge: accuracy.kinds_of_errors(results),
    "speed": lambda results, judge: speed.as_in_trocr(results),
    "stages": lambda results, judge: speed.by_stage(results),
    "stages-damaged": lambda results, judge: speed.by_stage_damaged(results),
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
_OTHERS = ("run", "title", "label", "lang")


@dataclass(frozen=True)
class Wanted:
    """What the words of a marker ask for.

    table: one of `TABLES`.
    run: name or folder of a run; "" for the one of the command line.
    filters: by name of a filter the values that pass, with * and ?.
    title: a caption of the author's own; "" for that of the table.
    label: for references; "" for that of the table.
    lang: of the words; "" for that of the command line.
    """

    table: str
    run: str = ""
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    title: str = ""
    label: str = ""
    lang: str = ""


def parse(words: str) -> Wanted:
    """Read a marker: the table's name, then `name=value`, quoted as for a shell.

    Raises:
        UserError: there is no such table, or no option of that name, or one is given twice.
    """
    try:
        table, *options = shlex.split(words) or [""]
    except ValueError as error:
        raise UserError(f"{words!r} cannot be read ({error}); close the quotation") from None
    if not table:
        raise UserError(f"the block names no table; there are: {', '.join(TABLES)}")
    if table not in TABLES:
        raise UserError(f"no table is called {table!r}{did_you_mean(table, TABLES)}")
    given: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in FILTERS and name not in _OTHERS:
            raise UserError(f"no option {name!r}{did_you_mean(name, (*_OTHERS, *FILTERS))}")
        if not equals or not value or name in given:
            raise UserError(f"{name} needs one value, as in {name}=...")
        given[name] = value
    filters = tuple((name, tuple(given.pop(name).split(","))) for name in FILTERS if name in given)
    return Wanted(table, filters=filters, **given)


def content(wanted: Wanted, results: Sequence[Result], judge: Judge, syntax: Syntax) -> str:
    """What stands between the markers, with a line feed at its end.

    Args:
        wanted: what the marker says; its `lang` is heeded.
        results: of the run that it names.
        judge: says what of these stands in bold.
        syntax: of the manuscript.

    Raises:
        UserError: the run has no such result, or there are no words in that language.
    """
    chosen = [result for result in results if _passes(result, wanted)]
    with language(wanted.lang or "en"):
        tables = [_on_paper(table, wanted) for table in TABLES[wanted.table](chosen, judge)]
        if not tables:
            raise UserError(_nothing(wanted, results))
        if len(tables) > 1 and (wanted.title or wanted.label):
            raise UserError(
                f"{len(tables)} tables fit, and one title or label cannot be that of all; narrow "
                f"the block by {', '.join(FILTERS)}"
            )
        if syntax == "tex":
            return "\n".join(map(render.latex, tables))
        return "\n" + "\n".join(map(render.markdown_float, tables)) + "\n"


def _passes(result: Result, wanted: Wanted) -> bool:
    clean = result.clean
    return all(
        (name in ("damage", "severity") and clean and wanted.table == "severity")  # its severity 0
        or any(fnmatchcase(own, value) for own in FILTERS[name](result) for value in values)
        for name, values in wanted.filters
    )


def _nothing(wanted: Wanted, results: Sequence[Result]) -> str:
    """Why there is no table: the first filter that lets nothing through, and what there is."""
    for name, values in wanted.filters:
        known = sorted({own for result in results for own in FILTERS[name](result)})
        for value in values:
            if not any(fnmatchcase(own, value) for own in known):
                return f"nothing in the run has {name} {value!r}{did_you_mean(value, known)}"
    told = "".join(f" {name}={','.join(values)}" for name, values in wanted.filters)
    return f"the run has no results for a table {wanted.table}{told}; change the block"


def _on_paper(table: Table, wanted: Wanted) -> Table:
    """The table with the author's title and label, and no more digits than the intervals bear."""
    rows = tuple(tuple(map(_rounded, row)) for row in table.rows)
    return dataclasses.replace(
        table,
        rows=rows,
        title=plain(wanted.title) or table.title,
        slug=plain(wanted.label) or table.slug,
    )


def _rounded(cell: Cell) -> Cell:
    """A number with an interval, cut to the digits that the interval bears out."""
    if not cell.detail or len(cell.values) != 3:
        return cell
    value, low, high = cell.values
    if not (isinstance(value, float) and isinstance(low, float) and isinstance(high, float)):
        return cell
    most = len(cell.text.partition(".")[2])
    decimals = decimals_told(low, high, most)
    texts = [number(each, decimals) for each in (value, low, high)]
    return dataclasses.replace(cell, text=texts[0], detail=f"[{texts[1]}, {texts[2]}]")
