"""Comparisons of systems as tables: what the second of each pair gains, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.analysis.compare import Comparison, Side, sides
from bench.analysis.stats import ALPHA, ENOUGH, FEWEST, Interval
from bench.analysis.stats import significant as is_significant
from bench.core.types import Condition
from bench.report.conditions import blocks, conditions, interval, signatures
from bench.report.format import DASH, UNKNOWN, bracket, number, percent, plural, significant
from bench.report.remarks import cer_cell
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, Value, name
from datasets.about import blocks_of

Results = Mapping[tuple[str, str], Result]  # of each system's label and row's key

_PAIR = (
    "What the second system does against the first on the same lines. ΔCER and ΔWER are "
    "percentage points, below 0 where the second has fewer errors; ratios are the second over the "
    "first; lines are counted as improved, same or worse by their character edits, and as right "
    "alone where only that system read them without an error. {interval}, both systems drawn "
    "together; p is that of a two-sided randomisation test that swaps the readings of whole "
    "{blocks}, and p Holm is adjusted for all {tests} of this table. A ΔCER is starred where p "
    f"Holm is at most {ALPHA:g} and the interval leaves 0 out"
)
_SIDES = (
    "What each system reads and costs. CER is micro, in percent, {interval}; lines/s and "
    "milliseconds a line are those of encoder and decoder, CPU time that of all threads and "
    "workers, device time the time for which an accelerator was held; the interval of lines/s is "
    f"over batches (a bootstrap from {ENOUGH} on, a t interval under that, none under {FEWEST}). "
    "Front: no other system of the table has, under the same condition, a "
    "CER as low at a speed as high"
)
_SPEED_NOTES = {
    "rounds": "the range that the rounds allow: these rows have too few batches in common",
    "": "no interval: one round of these rows, and too few batches in common",
}
_OTHER_SETTING = (
    "measured under another setting (machine, software, threads, batch size or precision), so the "
    "ratio of speeds is not that of the systems alone"
)


def tables(comparisons: Sequence[Comparison], results: Results) -> list[Table]:
    """The table of the pairs, and that of their systems.

    Args:
        comparisons: at least one.
        results: of every side.
    """
    found = list(results.values())
    return [_pairs(comparisons, results, found), _systems(sides(comparisons), results, found)]


def _pairs(comparisons: Sequence[Comparison], results: Results, found: Sequence[Result]) -> Table:
    notes = Notes()
    keys = [Column(head, key=True) for head in ("Set", "Damage", "First", "Second")]
    bounds = ("low", "high")
    columns = [
        Column("ΔCER", parts=bounds),
        *map(Column, ("p", "p Holm")),
        Column("ΔWER", parts=bounds),
        Column("Errors ratio", parts=bounds),
        Column("Speed ratio", parts=bounds),
        *map(Column, ("CPU ratio", "Improved", "Same", "Worse", "First alone", "Second alone")),
    ]
    tests = sum(comparison.p_holm is not None for comparison in comparisons)
    said = _PAIR.format(
        interval=_sentence(interval(found)), blocks=blocks(found), tests=plural(tests, "test")
    )
    return Table(
        "compare",
        "Systems in pairs",
        _conditions(said, found),
        (*keys, *columns),
        tuple(_pair(comparison, results, notes) for comparison in comparisons),
        notes=tuple(notes.texts),
        signatures=signatures(found),
    )


def _pair(comparison: Comparison, results: Results, notes: Notes) -> tuple[Cell, ...]:
    cer, wer, ratio = comparison.cer, comparison.wer, comparison.cer_ratio
    lines = comparison.lines or (None,) * 5
    return (
        *_place(comparison.condition),
        *(name(side.label) for side in (comparison.first, comparison.second)),
        _points(
            cer.value if cer else None,
            cer.interval if cer else None,
            is_significant(cer.interval if cer else None, comparison.p_holm),
        ),
        _cell(cer.p if cer else None, _p, _few(comparison, notes)),
        _cell(comparison.p_holm, _p),
        _points(wer.value if wer else None, wer.interval if wer else None),
        _times(ratio.value if ratio else None, ratio.interval if ratio else None),
        _speed(comparison, results, notes),
        _times(comparison.cpu_ratio),
        *(_cell(count, lambda value: number(value, 0)) for count in lines),
    )


def _systems(found: Sequence[Side], results: Results, all_results: Sequence[Result]) -> Table:
    notes = Notes()
    keys = [Column(head, key=True) for head in ("Set", "Damage", "System")]
    bounds = ("low", "high")
    columns = [
        *(Column(head, parts=bounds) for head in ("CER", "WER", "Lines/s")),
        *map(Column, ("Wall ms/line", "CPU ms/line", "Device ms/line", "Threads", "Front")),
    ]
    return Table(
        "compare-systems",
        "The systems and what they cost",
        _conditions(_SIDES.format(interval=interval(all_results)), all_results),
        (*keys, *columns),
        tuple(_side(side, results, notes) for side in found),
        notes=tuple(notes.texts),
        signatures=signatures(all_results),
    )


def _side(side: Side, results: Results, notes: Notes) -> tuple[Cell, ...]:
    row, cost = side.reading.row, side.cost
    wer, bounds = row.wer if side.reading.scored else None, side.wer_interval
    pace = cost.lines_per_s_interval if cost else None
    return (
        *_place(row.condition),
        name(side.label),
        cer_cell(results[side.label, row.key], notes),
        Cell(percent(wer), bracket(bounds) if bounds else "", _hundredfold_all(wer, bounds)),
        Cell(
            significant(cost.lines_per_s if cost else None),
            _bounds(pace),
            (cost.lines_per_s if cost else None, *_ends(pace)),
        ),
        *(
            _cell(None if value is None else 1000.0 * value, significant)
            for value in ((cost.wall_s, cost.cpu_s, cost.device_s) if cost else (None, None, None))
        ),
        _cell(cost.threads if cost else None, lambda value: number(value, 0)),
        Cell("yes" if side.on_front else ""),
    )


def _conditions(lead: str, results: Sequence[Result]) -> str:
    """The sentence of each setting, one behind the other."""
    groups = grouped(results)
    texts = [conditions(lead, groups[0])]
    texts += [conditions("Another setting", group) for group in groups[1:]]
    return " ".join(texts)


def _place(condition: Condition) -> tuple[Cell, Cell]:
    damage = f"{condition.damage} {condition.severity}" if condition.severity else "none"
    return name(condition.dataset), name(damage)


def _points(value: float | None, bounds: Interval | None, starred: bool = False) -> Cell:
    """A difference of rates in percentage points, with its sign."""
    if value is None:
        return Cell(DASH)
    detail = f"[{_signed(bounds.low)}, {_signed(bounds.high)}]" if bounds else ""
    return Cell(_signed(value) + "*" * starred, detail, _hundredfold_all(value, bounds))


def _signed(fraction: float) -> str:
    text = percent(fraction)
    return f"+{text}" if fraction > 0 and text.strip("0.,") else text


def _times(
    value: float | None, bounds: Interval | None = None, marks: tuple[int, ...] = ()
) -> Cell:
    if value is None:
        return Cell(DASH, marks=marks)
    return Cell(significant(value), _bounds(bounds), (value, *_ends(bounds)), marks)


def _speed(comparison: Comparison, results: Results, notes: Notes) -> Cell:
    speed = comparison.speed
    if speed is None:
        return Cell(DASH)
    both = (comparison.first, comparison.second)
    first, second = (results[side.label, side.reading.row.key].setting for side in both)
    said = [_SPEED_NOTES[speed.by]] if speed.by in _SPEED_NOTES else []
    said += [_OTHER_SETTING] if first != second else []
    return _times(speed.value, speed.interval, tuple(map(notes.mark, said)))


def _few(comparison: Comparison, notes: Notes) -> tuple[int, ...]:
    """A mark where there is no p."""
    if comparison.cer is None or comparison.cer.p is not None:
        return ()
    reading = comparison.first.reading
    found = blocks_of(comparison.condition.dataset, reading.lines)
    text = f"{plural(found.count, found.noun)}: too few for an interval or a test"
    return (notes.mark(text),)


def _cell(value: float | None, shown: Callable[[float], str], marks: tuple[int, ...] = ()) -> Cell:
    return Cell(DASH if value is None else shown(value), values=(value,), marks=marks)


def _p(value: float) -> str:
    return significant(value, 2)


def _bounds(bounds: Interval | None) -> str:
    if bounds is None:
        return ""
    low, high = (significant(end) if math.isfinite(end) else UNKNOWN for end in _both(bounds))
    return f"[{low}, {high}]"


def _both(bounds: Interval) -> tuple[float, float]:
    return bounds.low, bounds.high


def _ends(bounds: Interval | None) -> Iterable[Value]:
    return () if bounds is None else _both(bounds)


def _hundredfold(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _hundredfold_all(value: float | None, bounds: Interval | None) -> tuple[Value, ...]:
    return tuple(map(_hundredfold, (value, *(_both(bounds) if bounds else ()))))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
