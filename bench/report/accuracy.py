"""Tables of error rates.

Decoder by set, damage and severity by decoder, kinds of errors, and CER when something does not
count. A new column is a `Column` in the list of its table; docs/extending.md shows one. In
the first three tables, where each set or decoder has a column, `first_columns` stand before those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.analysis.evidence import Reading
from bench.analysis.stats import micro_interval
from bench.core.metrics import LENIENT, lenient_edits
from bench.core.types import EditCounts
from bench.report.cer import cer_cell, cer_column, key_columns, leaders, remarks, test_in_words
from bench.report.conditions import brackets, interval, of_results
from bench.report.format import UNKNOWN
from bench.report.language import say
from bench.report.results import Place, Result, grouped, system
from bench.report.table import RANGE, Cell, Column, Table, count, keys, rate


@dataclass(frozen=True)
class Axis:
    """One side of a table.

    of: what a result is on this side.
    place: where that stands among the others.
    """

    of: Callable[[Result], object]
    place: Callable[[Place], tuple[int, ...]]


_DECODERS = Axis(lambda r: r.names.decoder, lambda place: (place.decoder,))
_SYSTEMS = Axis(system, lambda place: (place.encoder, place.decoder))
_SETS = Axis(lambda r: r.dataset, lambda place: (place.dataset,))
_DAMAGES = Axis(lambda r: r.names.damage, lambda place: (place.damage,))
_SEVERITIES = Axis(lambda r: r.row.condition.severity, lambda place: (place.severity,))

TableRow = Sequence[Result]  # results side by side


def by_set(results: Sequence[Result], bold: bool = True) -> list[Table]:
    """CER of every system on every clean set, one table a setting.

    A set read only by untrained weights has no column. `bold`: set the best of each condition in
    bold, and all that are not significantly worse.
    """
    clean = [result for result in results if result.clean]
    read = {r.names.dataset for r in clean if r.trained}
    if read:
        clean = [result for result in clean if result.names.dataset in read]
    first_columns: list[Column[TableRow]] = [
        *keys([say("Encoder")], lambda line: line[0].names.encoder),
        *keys([say("Decoder")], lambda line: line[0].names.decoder),
    ]
    title = say("CER by decoder and set")
    return [
        _pivot(f"cer-{number}", title, group, (_SYSTEMS, _SETS), first_columns, bold)
        for number, group in enumerate(grouped(clean), 1)
    ]


def by_damage(results: Sequence[Result], bold: bool = True) -> list[Table]:
    """CER of every decoder under every damage of one severity.

    A severity has a table if several damages were run at it, or one without a curve.
    `bold` is that of `by_set`.
    """
    first_columns = [
        *keys([say("Damage")], lambda line: line[0].damage),
        Column(say("Ink lost %"), _ink_lost),
    ]
    return [
        _pivot(
            f"damage-{number}",
            say(
                "CER by damage at severity {severity}: {encoder} on {set}",
                severity=group[0].row.condition.severity,
                encoder=group[0].names.encoder,
                set=group[0].dataset,
            ),
            group,
            (_DAMAGES, _DECODERS),
            first_columns,
            bold,
        )
        for number, group in enumerate(side_by_side(results), 1)
    ]


def by_severity(results: Sequence[Result], bold: bool = True) -> list[Table]:
    """CER of every decoder against the severity of one damage, 0 being the clean set.

    `bold` is that of `by_set`.
    """
    first_columns = [
        *keys([say("Severity")], lambda line: line[0].row.condition.severity),
        Column(say("Ink lost %"), _ink_lost),
    ]
    return [
        _pivot(
            f"severity-{number}",
            say(
                "CER by severity of {damage}: {encoder} on {set}",
                damage=group[-1].damage,
                encoder=group[-1].names.encoder,
                set=group[-1].dataset,
            ),
            group,
            (_SEVERITIES, _DECODERS),
            first_columns,
            bold,
        )
        for number, group in enumerate(curves(results), 1)
    ]


def curves(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one damage at several severities, after the clean results of its systems."""
    found = []
    for curve in _curves(results):
        first = curve[0]
        clean = [
            result
            for result in results  # a clean result has no seed
            if result.clean
            and result.setting == first.setting
            and _series(result)[:2] == _series(first)[:2]
        ]
        found.append([*clean, *curve])
    return found


def side_by_side(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one severity under several damages, or under one that has no curve."""
    curved = {(_series(r), r.names.damage) for group in _curves(results) for r in group}
    damaged = (result for result in results if not result.clean)
    return [
        group
        for group in grouped(damaged, lambda r: (_series(r), r.row.condition.severity))
        if len({result.names.damage for result in group}) > 1
        or (_series(group[0]), group[0].names.damage) not in curved
    ]


def _curves(results: Iterable[Result]) -> list[list[Result]]:
    damaged = (result for result in results if not result.clean)
    groups = grouped(damaged, lambda r: (_series(r), r.names.damage))
    return [g for g in groups if len({result.row.condition.severity for result in g}) > 1]


def _series(result: Result) -> tuple[str, str, int]:
    """Encoder, set and seed, which the results of a table of damages share."""
    return (result.names.encoder, result.names.dataset, result.row.condition.seed)


def _pivot(
    slug: str,
    title: str,
    results: Sequence[Result],
    axes: tuple[Axis, Axis],
    first_columns: Sequence[Column[TableRow]],
    bold: bool,
) -> Table:
    """A table of CERs of one setting; `axes` go down and across, behind the first columns."""
    down, across = axes
    best = leaders(results) if bold else frozenset[str]()

    def column(head: object) -> Column[TableRow]:
        of_each = [remarks(result) for result in results if across.of(result) == head]
        shared = tuple(text for text in of_each[0] if all(text in texts for texts in of_each))

        def cell(line: TableRow) -> Cell:
            result = next((each for each in line if across.of(each) == head), None)
            return cer_cell(result, shared, result is not None and result.row.key in best)

        return Column(f"{head} %", cell, RANGE, notes=shared)

    columns = [*first_columns, *map(column, _along(across, results))]
    rows = [[each for each in results if down.of(each) == of] for of in _along(down, results)]
    meaning = _meaning(results, bool(best))
    bold_means = say("in bold what is not significantly worse than the best") if best else ""
    gist = "; ".join(filter(None, (brackets(results), bold_means)))
    return of_results(slug, title, meaning, columns, results, rows, gist=gist)


def _meaning(results: Sequence[Result], tested: bool) -> str:
    words = [
        say(
            "Micro CER in percent (edits over reference characters, never clipped), {interval}",
            interval=interval(results),
        )
    ]
    if not all(result.clean for result in results):
        lost = say(
            "ink lost is the mean share of ink removed or covered, {unknown} where a damage takes "
            "none away",
            unknown=UNKNOWN,
        )
        words.append(lost)
    if len({result.names.damage for result in results if not result.clean}) > 1:
        words.append(
            say("a severity is a step of its own damage, so the rows rank no damage over another")
        )
    return "; ".join([*words, test_in_words(results)] if tested else words)


def _along(axis: Axis, results: Iterable[Result]) -> list[object]:
    ordered = sorted(results, key=lambda result: axis.place(result.place))
    return list(dict.fromkeys(map(axis.of, ordered)))


def _ink_lost(line: TableRow) -> Cell:
    """The mean share of lost ink: the same for all decoders, not defined for some damages."""
    known = [0.0 if r.clean else r.row.ink_lost for r in line]
    share = next((value for value in known if value is not None), None)
    return Cell(UNKNOWN) if share is None else rate(share)


def kinds_of_errors(results: Sequence[Result]) -> list[Table]:
    """Kinds of errors on the clean sets, for results with a CER."""

    def share(get: Callable[[EditCounts], int], of: Callable[[EditCounts], int]) -> Cells:
        return lambda result: rate(get(_counts(result)) / max(of(_counts(result)), 1))

    characters, lines = (lambda counts: counts.characters), (lambda counts: counts.lines)
    columns: list[Column[Result]] = [
        *key_columns("Set", "Encoder", "Decoder"),
        Column(say("CER %"), lambda result: rate(result.row.cer)),
        Column(say("Macro %"), lambda result: rate(result.row.cer_macro)),
        Column(say("Median %"), lambda result: rate(result.row.cer_median)),
        Column(say("WER %"), lambda result: rate(result.row.wer)),
        Column(say("Sub. %"), share(lambda counts: counts.substitutions, characters)),
        Column(say("Del. %"), share(lambda counts: counts.deletions, characters)),
        Column(say("Ins. %"), share(lambda counts: counts.insertions, characters)),
        Column(say("Over half %"), share(lambda counts: counts.over_half, lines)),
        Column(say("Empty %"), share(lambda counts: counts.empty, lines)),
        Column(say("Truncated"), lambda result: count(_counts(result).truncated)),
        Column(say("Looping"), lambda result: count(_counts(result).looping)),
    ]
    lead = say(
        "Micro CER, its macro mean and median over lines, WER, and substitutions, deletions and "
        "insertions over reference characters, in percent; then the percentage of lines of which "
        "over half was read wrongly and of lines read as nothing, and the number of lines that "
        "ended at the decoder's token limit (truncated) or that repeat their end (looping)"
    )
    scored = (r for r in results if r.clean and r.row.counts and r.row.cer is not None)
    return [
        of_results(f"errors-{number}", say("Kinds of errors"), lead, columns, group, group)
        for number, group in enumerate(grouped(scored), 1)
    ]


Cells = Callable[[Result], Cell]


def _counts(result: Result) -> EditCounts:
    assert result.row.counts is not None  # `kinds_of_errors` takes no others
    return result.row.counts


def when_lenient(results: Sequence[Result]) -> list[Table]:
    """CER on the clean sets without counting case, punctuation or the spaces around it.

    One table per setting, of results with stored lines.
    """

    def column(what: str) -> Column[Result]:
        head = say("without {what} %", what=say(what))
        return Column(head, lambda result: _lenient(result.reading, what), RANGE)

    columns = [*key_columns("Set", "Encoder", "Decoder"), cer_column(), *map(column, LENIENT)]
    scored = (r for r in results if r.clean and r.trained and r.row.cer is not None)
    groups = grouped(result for result in scored if result.reading and result.reading.lines)
    title = say("CER when something does not count")
    made = []
    for number, group in enumerate(groups, 1):
        lead = say(
            "Micro CER in percent as everywhere, and when something does not count on either side: "
            "the spaces that touch a punctuation mark, upper and lower case, or punctuation and "
            "symbols, {interval}",
            interval=interval(group),
        )
        gist = brackets(group)
        made.append(of_results(f"lenient-{number}", title, lead, columns, group, group, gist=gist))
    return made


def _lenient(reading: Reading | None, what: str) -> Cell:
    assert reading is not None  # `when_lenient` takes no others
    edits, characters = zip(
        *(lenient_edits(line.reference, line.text, what) for line in reading.lines), strict=True
    )
    if not any(characters):
        return rate(None)
    ends = micro_interval(edits, characters, reading.blocks)
    return rate(sum(edits) / sum(characters), ends)
