"""What correctors changed: CER before and after, lines made better and worse, by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.captions import say
from bench.report.conditions import conditions, interval, signatures
from bench.report.format import DASH, listing, percent, significant
from bench.report.remarks import cer_cell
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name

_KEYS = ("Set", "Damage", "Severity", "Encoder", "Decoder")
_HEADS = ("Improved", "Same", "Worse", "Refused", "Left alone", "Corrector s")


def tables(results: Sequence[Result]) -> list[Table]:
    """One table a setting, of the results behind a corrector, clean and by severity."""
    corrected = [result for result in results if result.row.correction is not None]
    return [_table(number, group) for number, group in enumerate(grouped(corrected), 1)]


def _table(number: int, results: Sequence[Result]) -> Table:
    notes = Notes()
    lead = say(
        "Micro CER in percent of what the decoder read and of what its corrector made of it, "
        "{interval}; lines that have fewer, as many and more character errors than before; answers "
        "of the corrector that were refused and lines that a gate left alone; wall seconds of the "
        "corrector in one pass over the set",
        interval=interval(),
    )
    return Table(
        f"correction-{number}",
        say("What correctors changed"),
        conditions(lead, results),
        (
            *(Column(say(head), key=True) for head in _KEYS),
            Column(say("CER before %")),
            Column(say("CER after %"), parts=("low", "high")),
            *(Column(say(head)) for head in _HEADS),
        ),
        tuple(_row(result, notes) for result in results),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _row(result: Result, notes: Notes) -> tuple[Cell, ...]:
    names, told = result.names, result.row.correction or {}
    refused: Mapping[str, int] = told.get("refused", {})
    counts = [told.get(head) for head in ("improved", "same", "worse")]
    return (
        *map(name, (names.dataset, names.damage, str(result.row.condition.severity))),
        *map(name, (names.encoder, names.decoder)),
        _before(told.get("cer_before")),
        cer_cell(result, notes),
        *map(_count, counts),
        _refused(refused, notes),
        _count(told.get("sure")),
        _seconds(result, told, notes),
    )


def _before(cer: float | None) -> Cell:
    return Cell(percent(cer) if cer is not None else DASH, values=(cer and 100.0 * cer,))


def _count(count: int | None) -> Cell:
    return Cell(DASH if count is None else f"{count:,}", values=(count,))


def _refused(reasons: Mapping[str, int], notes: Notes) -> Cell:
    """How many, and in a footnote why."""
    count = sum(reasons.values())
    if not count:
        return _count(0)
    why = listing([f"{reason} {number:,}" for reason, number in reasons.items()])
    mark = notes.mark(say("Refused: {why}.", why=why))
    return Cell(f"{count:,}", values=(count,), marks=(mark,))


def _seconds(result: Result, told: Mapping[str, Any], notes: Notes) -> Cell:
    """Of answers that were there before the time that they took once."""
    timing = result.row.timing
    if timing is None or timing.correct_s is None:
        return Cell(DASH, values=(None,))
    cached = told.get("cached", 0)
    said = say("Answers that were asked for before count with the time that they took then.")
    marks = (notes.mark(said),) if cached else ()
    seconds = timing.correct_s.median
    return Cell(significant(seconds), values=(seconds,), marks=marks)
