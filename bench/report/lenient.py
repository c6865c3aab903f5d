"""CER on the clean sets when something does not count: case, punctuation, the spaces around it.

Published numbers differ in what they let count, and the references of some sets lack what their
writers wrote (CVL's have no punctuation), so that an error rate punishes who reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.evidence import Reading
from bench.analysis.stats import micro_interval
from bench.core.metrics import LENIENT, lenient_edits
from bench.report.captions import say
from bench.report.conditions import conditions, interval, signatures
from bench.report.format import bracket, percent
from bench.report.remarks import cer_cell, trained
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name


def tables(results: Sequence[Result]) -> list[Table]:
    """One table a setting, of the clean results whose lines are there."""
    scored = (r for r in results if r.clean and trained(r) and r.row.cer is not None)
    told = grouped(result for result in scored if result.reading and result.reading.lines)
    return [_table(number, group) for number, group in enumerate(told, 1)]


def _table(number: int, results: Sequence[Result]) -> Table:
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
        tuple(_row(result, notes) for result in results),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _row(result: Result, notes: Notes) -> tuple[Cell, ...]:
    assert result.reading is not None  # `tables` takes no others
    reading = result.reading
    names = (result.names.dataset, result.names.encoder, result.names.decoder)
    return (
        *map(name, names),
        cer_cell(result, notes),
        *(_cell(reading, what) for what in LENIENT),
    )


def _cell(reading: Reading, what: str) -> Cell:
    edits, characters = zip(
        *(lenient_edits(line.reference, line.text, what) for line in reading.lines), strict=True
    )
    found = micro_interval(edits, characters, reading.blocks)
    cer = sum(edits) / sum(characters) if any(characters) else None
    if cer is None or found is None:
        return Cell(percent(cer), values=() if cer is None else (100.0 * cer,))
    values = tuple(100.0 * value for value in (cer, found.low, found.high))
    return Cell(percent(cer), bracket(found), values)
