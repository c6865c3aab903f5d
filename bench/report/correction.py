"""What correctors changed: CER before and after, lines made better and worse, by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.stats import ALPHA, Difference, holm
from bench.analysis.stats import significant as is_significant
from bench.core.types import Correction
from bench.report.captions import say
from bench.report.conditions import blocks, conditions, interval, signatures
from bench.report.format import DASH, bracket, listing, percent, significant
from bench.report.remarks import cer_cell, trained
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name

_KEYS = ("Set", "Damage", "Severity", "Encoder", "Decoder")
_HEADS = ("Improved", "Same", "Worse", "Refused", "Corrector s")


def tables(results: Sequence[Result]) -> list[Table]:
    """One table a setting, of the results behind a corrector, clean and by severity."""
    corrected = [result for result in results if result.row.correction is not None]
    ordered = sorted(corrected, key=_place)
    return [_table(number, group) for number, group in enumerate(grouped(ordered), 1)]


def _place(result: Result) -> tuple[object, ...]:
    """Each decoder's conditions together, the clean set first."""
    place = result.place
    damage = (not result.clean, place.damage, place.severity)
    return (place.encoder, place.dataset, place.decoder, result.names.decoder, *damage)


def gain_of(result: Result) -> Difference | None:
    """What the corrector of a result gained; None without one, or where its lines are gone."""
    if result.row.correction is None or result.reading is None or not trained(result):
        return None
    return result.reading.corrector_gain


def _table(number: int, results: Sequence[Result]) -> Table:
    notes = Notes()
    lead = say(
        "Micro CER in percent of what the decoder read and of what its corrector made of it, "
        "{interval}; the gain in points with the interval of the difference on the same lines and "
        "its p (two-sided, {blocks} randomised, Holm over the table), starred where p is at most "
        "{alpha} and the interval leaves 0 out; lines that have fewer, as many and more character "
        "errors than before; answers of the corrector that were refused; wall seconds of the "
        "corrector in one pass over the set",
        interval=interval(results),
        blocks=blocks(results),
        alpha=f"{ALPHA:g}",
    )
    found = [gain_of(result) for result in results]
    adjusted = holm([gain.p if gain else None for gain in found])
    return Table(
        f"correction-{number}",
        say("What correctors changed"),
        conditions(lead, results),
        (
            *(Column(say(head), key=True) for head in _KEYS),
            Column(say("CER before %")),
            Column(say("CER after %"), parts=("low", "high")),
            Column(say("Gain"), parts=("low", "high", "p")),
            *(Column(say(head)) for head in _HEADS),
        ),
        tuple(
            _row(result, gain, p, notes)
            for result, gain, p in zip(results, found, adjusted, strict=True)
        ),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _row(
    result: Result, gained: Difference | None, p: float | None, notes: Notes
) -> tuple[Cell, ...]:
    names, told = result.names, result.row.correction
    assert told is not None
    return (
        *map(name, (names.dataset, names.damage, str(result.row.condition.severity))),
        *map(name, (names.encoder, names.decoder)),
        _before(told["cer_before"]),
        cer_cell(result, notes),
        _gain(gained, p),
        *map(_count, (told["improved"], told["same"], told["worse"])),
        _refused(told["refused"], notes),
        _seconds(result, told, notes),
    )


def _before(cer: float | None) -> Cell:
    return Cell(percent(cer) if cer is not None else DASH, values=(cer and 100.0 * cer,))


def _gain(gained: Difference | None, p: float | None) -> Cell:
    """Points of CER, with the sign: what is worse than before is below 0."""
    if gained is None:
        return Cell(DASH)
    bounds = (gained.interval.low, gained.interval.high) if gained.interval else (None, None)
    values = (*(x and 100.0 * x for x in (gained.value, *bounds)), p)
    details = [bracket(gained.interval)] if gained.interval else []
    details += [] if p is None else [f"p {significant(p, 2)}"]
    star = "*" if is_significant(gained.interval, p) else ""
    return Cell(f"{100 * gained.value:+.2f}{star}", ", ".join(details), values)


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", values=(count,))


def _refused(reasons: Mapping[str, int], notes: Notes) -> Cell:
    """How many, and in a footnote why."""
    count = sum(reasons.values())
    if not count:
        return _count(0)
    why = listing([f"{reason} {number:,}" for reason, number in reasons.items()])
    mark = notes.mark(say("Refused: {why}.", why=why))
    return Cell(f"{count:,}", values=(count,), marks=(mark,))


def _seconds(result: Result, told: Correction, notes: Notes) -> Cell:
    """Of answers that were there before the time that they took once."""
    timing = result.row.timing
    if timing is None or timing.correct_s is None:
        return Cell(DASH, values=(None,))
    cached = told.get("cached", 0)
    said = say("Answers that were asked for before count with the time that they took then.")
    marks = (notes.mark(said),) if cached else ()
    seconds = timing.correct_s.median
    return Cell(significant(seconds), values=(seconds,), marks=marks)
