"""Tables of paired comparisons, and of each system's cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from bench.analysis.compare import Comparison, Side, sides
from bench.analysis.cost import Cost
from bench.analysis.stats import ALPHA, ENOUGH, FEWEST, Difference
from bench.analysis.stats import significant as is_significant
from bench.report.cer import cer_cell
from bench.report.conditions import blocks, interval, sentences, signatures
from bench.report.format import plural, significant
from bench.report.language import say
from bench.report.results import Result, damage_of, grouped
from bench.report.table import (
    RANGE,
    Cell,
    Column,
    Table,
    count,
    declared,
    figure,
    keys,
    rate,
    signed,
)
from datasets.about import blocks_of

Results = Mapping[tuple[str, str], Result]  # of each system's label and row's key

_PAIR = (
    "What the second system does against the first on the same lines. ΔCER and ΔWER are "
    "percentage points, below 0 where the second has fewer errors; ratios are the second over the "
    "first; lines are counted as improved, same or worse by their character edits, and as right "
    "alone where only that system read them without an error. {tests}"
)
_TESTED = (
    "{interval}, both systems drawn together; p is that of a two-sided randomisation test that "
    "swaps the readings of whole {blocks}, and p Holm is adjusted for the {tests} of this table. A "
    "ΔCER is starred where p Holm is at most {alpha} and the interval leaves 0 out"
)
_UNTESTED = (
    "Nothing here can be tested, whatever the differences are: intervals and p-values need a CER "
    "of both systems on lines of at least {fewest} {blocks}"
)
_SIDES = (
    "What each system reads and costs. CER is micro, in percent, {interval}; lines/s and "
    "milliseconds a line are those of encoder and decoder, CPU time that of all threads and "
    "workers, device time the time for which an accelerator was held; the interval of lines/s is "
    "over batches (a bootstrap from {enough} on, a t interval under that, none under {fewest}). "
    "Front: no other system of the table has, under the same condition, a "
    "CER as low at a speed as high"
)
_LINES = ("Improved", "Same", "Worse", "First alone", "Second alone")
_SPEED_NOTES = {
    "rounds": "the range that the rounds allow: these rows have too few batches in common",
    "": "no interval: one round of these rows, and too few batches in common",
}
_OTHER_SETTING = (
    "measured under another setting (machine, software, threads, batch size or precision), so the "
    "ratio of speeds is not that of the systems alone"
)


def tables(comparisons: Sequence[Comparison], results: Results) -> list[Table]:
    """The table of at least one pair, and that of their systems."""
    return [_pairs(comparisons, results), _systems(sides(comparisons), results)]


def _pairs(comparisons: Sequence[Comparison], results: Results) -> Table:
    every = list(results.values())
    lead = say(_PAIR, tests=_tests(comparisons, every))

    def p(value: float | None, notes: Sequence[str] = ()) -> Cell:
        return figure(value, lambda known: significant(known, 2), notes=notes)

    def lines(head: str, place: int) -> Column[Comparison]:
        return Column(say(head), lambda pair: count(pair.lines[place] if pair.lines else None))

    columns: list[Column[Comparison]] = [
        *keys(
            (say("Set"), say("Damage"), say("First"), say("Second")),
            lambda pair: pair.condition.dataset,
            lambda pair: damage_of(pair.condition) or say("none"),
            lambda pair: pair.first.label,
            lambda pair: pair.second.label,
        ),
        Column("ΔCER", lambda pair: _points(pair.cer, pair.p_holm), RANGE),
        Column("p", lambda pair: p(pair.cer.p if pair.cer else None, _few(pair))),
        Column(say("p Holm"), lambda pair: p(pair.p_holm)),
        Column("ΔWER", lambda pair: _points(pair.wer), RANGE),
        Column(
            say("Errors ratio"),
            lambda pair: (
                figure(pair.cer_ratio.value, ends=pair.cer_ratio.interval)
                if pair.cer_ratio
                else figure(None)
            ),
            RANGE,
        ),
        Column(say("Speed ratio"), lambda pair: _speed(pair, results), RANGE),
        Column(say("CPU ratio"), lambda pair: figure(pair.cpu_ratio)),
        *(lines(head, place) for place, head in enumerate(_LINES)),
    ]
    return declared(
        "compare",
        say("Systems in pairs"),
        _conditions(lead, every),
        columns,
        comparisons,
        signatures=signatures(every),
    )


def _tests(comparisons: Sequence[Comparison], every: Sequence[Result]) -> str:
    """Describe the tests of the pairs, or the reason why there are none."""
    tests = sum(comparison.p_holm is not None for comparison in comparisons)
    if not tests:
        return say(_UNTESTED, fewest=FEWEST, blocks=blocks(every))
    words = interval(every)
    return say(
        _TESTED,
        interval=words[:1].upper() + words[1:],
        blocks=blocks(every),
        tests=plural(tests, "test"),
        alpha=f"{ALPHA:g}",
    )


def _systems(found: Sequence[Side], results: Results) -> Table:
    every = list(results.values())

    def costs(head: str, cell: Callable[[Cost], Cell], parts: tuple[str, ...] = ()) -> Column[Side]:
        return Column(head, lambda side: cell(side.cost) if side.cost else figure(None), parts)

    def ms(head: str, seconds: Callable[[Cost], float | None]) -> Column[Side]:
        return costs(head, lambda cost: figure(seconds(cost), scale=1000.0))

    on_device = any(side.cost and side.cost.device_s is not None for side in found)
    columns: list[Column[Side]] = [
        *keys(
            (say("Set"), say("Damage"), say("System")),
            lambda side: side.reading.row.condition.dataset,
            lambda side: damage_of(side.reading.row.condition) or say("none"),
            lambda side: side.label,
        ),
        Column("CER", lambda side: cer_cell(results[side.label, side.reading.row.key]), RANGE),
        Column(
            "WER",
            lambda side: rate(
                side.reading.row.wer if side.reading.scored else None, side.wer_interval
            ),
            RANGE,
        ),
        costs(say("Lines/s"), lambda cost: figure(cost.lines_per_s, ends=cost.lines_per_s_interval),
              RANGE),
        ms(say("Wall ms/line"), lambda cost: cost.wall_s),
        ms(say("CPU ms/line"), lambda cost: cost.cpu_s),
        *([ms(say("Device ms/line"), lambda cost: cost.device_s)] if on_device else []),
        costs(say("Threads"), lambda cost: count(cost.threads)),
        Column(say("Front"), lambda side: say("yes") if side.on_front else ""),
    ]  # fmt: skip
    return declared(
        "compare-systems",
        say("The systems and what they cost"),
        _conditions(say(_SIDES, interval=interval(every), enough=ENOUGH, fewest=FEWEST), every),
        columns,
        found,
        signatures=signatures(every),
    )


def _conditions(lead: str, results: Sequence[Result]) -> tuple[str, ...]:
    leads = itertools.chain([lead], itertools.repeat(say("Another setting")))
    return tuple(itertools.chain(*map(sentences, leads, grouped(results))))


def _points(difference: Difference | None, p: float | None = None) -> Cell:
    """A difference of rates in percentage points, with its sign; starred by its adjusted p."""
    if difference is None:
        return figure(None)
    star = "*" if is_significant(difference.interval, p) else ""
    cell = figure(
        difference.value, lambda value: signed(value / 100), difference.interval, scale=100.0
    )
    return Cell(cell.text + star, cell.detail, cell.values)


def _speed(comparison: Comparison, results: Results) -> Cell:
    speed = comparison.speed
    if speed is None:
        return figure(None)
    both = (comparison.first, comparison.second)
    first, second = (results[side.label, side.reading.row.key].setting for side in both)
    notes = [say(_SPEED_NOTES[speed.by])] if speed.by in _SPEED_NOTES else []
    notes += [say(_OTHER_SETTING)] if first != second else []
    return figure(speed.value, ends=speed.interval, notes=notes)


def _few(comparison: Comparison) -> list[str]:
    if comparison.cer is None or comparison.cer.p is not None:
        return []
    counted = blocks_of(comparison.condition.dataset, comparison.first.reading.lines)
    few = plural(counted.count, counted.noun)
    return [say("{blocks}: too few for an interval or a test", blocks=few)]
