"""CER on the clean sets when something does not count: case, punctuation, the spaces around it.

Published numbers differ in what they let count, and the references of some sets lack what their
writers wrote (CVL's have no punctuation), so that an error rate punishes who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.evidence import Store
from bench.analysis.stats import micro_interval
from bench.core.errors import UserError
from bench.core.metrics import LENIENT, lenient_edits
from bench.core.types import LineResult
from bench.report.captions import say
from bench.report.conditions import conditions, interval, signatures
from bench.report.format import bracket, percent
from bench.report.remarks import cer_cell, trained
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name


def tables(store: Store, results: Sequence[Result]) -> list[Table]:
    """One table a setting, of the clean results whose lines are there.

    Raises:
        UserError: the run cannot be read.
    """
    scored = [r for r in results if r.clean and trained(r) and r.row.cer is not None]
    lines = {result.row.key: _lines(store, result) for result in scored}
    told = grouped(result for result in scored if lines[result.row.key])
    return [_table(number, group, lines) for number, group in enumerate(told, 1)]


def _table(
    number: int, results: Sequence[Result], lines: Mapping[str, Sequence[LineResult]]
) -> Table:
    notes = Notes()
    heads = ["CER %", *(say("without {what} %", what=say(what)) for what in LENIENT)]
    lead = say(
        "Micro CER in percent as everywhere, and when something does not count on either side: the "
        "spaces that touch a punctuation mark, upper and lower case, or punctuation and symbols, "
        "{interval}",
        interval=interval(results),
    )
    keys = (Column(say(head), key=True) for head in ("Set", "Encoder", "Decoder"))
    return Table(
        f"lenient-{number}",
        say("CER when something does not count"),
        conditions(lead, results),
        (*keys, *(Column(head, parts=("low", "high")) for head in heads)),
        tuple(_row(result, lines[result.row.key], notes) for result in results),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _lines(store: Store, result: Result) -> list[LineResult]:
    """The lines of a result; none where they are gone."""
    try:
        return store.lines(result.row.key)
    except UserError:
        return []


def _row(result: Result, lines: Sequence[LineResult], notes: Notes) -> tuple[Cell, ...]:
    names = (result.names.dataset, result.names.encoder, result.names.decoder)
    return (
        *map(name, names),
        cer_cell(result, notes),
        *(_cell(lines, what) for what in LENIENT),
    )


def _cell(lines: Sequence[LineResult], what: str) -> Cell:
    edits, characters = zip(
        *(lenient_edits(line.reference, line.text, what) for line in lines), strict=True
    )
    found = micro_interval(edits, characters, [line.block for line in lines])
    cer = sum(edits) / sum(characters) if any(characters) else None
    if cer is None or found is None:
        return Cell(percent(cer), values=() if cer is None else (100.0 * cer,))
    values = tuple(100.0 * value for value in (cer, found.low, found.high))
    return Cell(percent(cer), bracket(found), values)
