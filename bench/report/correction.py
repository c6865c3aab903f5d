"""Tables of correctors: CER before and after, and improved and worse lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.analysis.stats import ALPHA, Difference, holm
from bench.analysis.stats import significant as is_significant
from bench.core.types import Correction
from bench.report.cer import cer_column, key_columns
from bench.report.conditions import blocks, brackets, interval, of_results
from bench.report.format import DASH, bracket, listing, significant
from bench.report.language import say
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Table, count, figure, rate


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
    """The gain by a result's corrector; None without one, or without stored lines."""
    if result.row.correction is None or result.reading is None or not result.trained:
        return None
    return result.reading.corrector_gain


def _table(number: int, results: Sequence[Result]) -> Table:
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
    adjusted = holm([gain.p if (gain := gain_of(result)) else None for result in results])
    p_of = dict(zip(map(id, results), adjusted, strict=True))

    def of_lines(get: Callable[[Correction], int]) -> Callable[[Result], Cell]:
        return lambda result: count(get(_correction(result)))

    columns: list[Column[Result]] = [
        *key_columns("Set", "Damage", "Severity", "Encoder", "Decoder"),
        Column(say("CER before %"), lambda result: rate(_correction(result)["cer_before"])),
        cer_column("CER after %"),
        Column(
            say("Gain"), lambda result: _gain(gain_of(result), p_of[id(result)]),
            ("low", "high", "p"),
        ),
        Column(say("Improved"), of_lines(lambda correction: correction["improved"])),
        Column(say("Same"), of_lines(lambda correction: correction["same"])),
        Column(say("Worse"), of_lines(lambda correction: correction["worse"])),
        Column(say("Refused"), lambda result: _refused(_correction(result))),
        Column(say("Corrector s"), _seconds),
    ]  # fmt: skip
    title = say("What correctors changed")
    return of_results(f"correction-{number}", title, lead, columns, results, results,
                      gist=brackets(results))  # fmt: skip


def _correction(result: Result) -> Correction:
    assert result.row.correction is not None  # `tables` takes no others
    return result.row.correction


def _gain(gained: Difference | None, p: float | None) -> Cell:
    """Points of CER with sign, negative if worse than before."""
    if gained is None:
        return Cell(DASH)
    bounds = (gained.interval.low, gained.interval.high) if gained.interval else (None, None)
    values = (*(x and 100.0 * x for x in (gained.value, *bounds)), p)
    details = [bracket(gained.interval)] if gained.interval else []
    details += [] if p is None else [f"p {significant(p, 2)}"]
    star = "*" if is_significant(gained.interval, p) else ""
    return Cell(f"{100 * gained.value:+.2f}{star}", ", ".join(details), values)


def _refused(correction: Correction) -> Cell:
    reasons = correction["refused"]
    why = listing([f"{reason} {number:,}" for reason, number in reasons.items()])
    refused = sum(reasons.values())
    return count(refused, [say("Refused: {why}.", why=why)] if refused else [])


def _seconds(result: Result) -> Cell:
    """The corrector's seconds; of cached answers the time that they took once."""
    timing = result.row.timing
    if timing is None or timing.correct_s is None:
        return figure(None)
    note = say("Answers that were asked for before count with the time that they took then.")
    cached = _correction(result).get("cached", 0)
    return figure(timing.correct_s.median, notes=[note] if cached else [])
