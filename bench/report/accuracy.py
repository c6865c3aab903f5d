"""Tables of error rates.

Decoder by set, damage and severity by decoder, kinds of errors, and CER when something does not
count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from bench.analysis.evidence import Reading
from bench.analysis.stats import micro_interval
from bench.core.metrics import LENIENT, lenient_edits
from bench.core.types import UNTRAINED
from bench.report.captions import say
from bench.report.conditions import conditions, interval, signatures
from bench.report.format import UNKNOWN, bracket, percent
from bench.report.remarks import Judge, cer_cell, leaders, nobody, remarks, test_in_words, trained
from bench.report.results import Place, Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name


@dataclass(frozen=True)
class Axis:
    """One side of a table.

    of: what a result is on this side.
    place: where that stands among the others.
    """

    of: Callable[[Result], str]
    place: Callable[[Place], tuple[int, ...]]


_DECODERS = Axis(lambda r: r.names.decoder, lambda place: (place.decoder,))
_SYSTEMS = Axis(lambda r: f"{r.names.encoder}\0{r.names.decoder}", lambda p: (p.encoder, p.decoder))
_SETS = Axis(lambda r: r.dataset, lambda place: (place.dataset,))
_DAMAGES = Axis(lambda r: r.names.damage, lambda place: (place.damage,))
_SEVERITIES = Axis(lambda r: str(r.row.condition.severity), lambda place: (place.severity,))


def by_set(results: Sequence[Result], judge: Judge = nobody) -> list[Table]:
    """CER of every system on every clean set, one table a setting.

    A set that only untrained weights have read has no column: there can be no CER in it.

    Args:
        results: of a run.
        judge: says which results of one condition stand in bold.
    """
    clean = [result for result in results if result.clean]
    read = {r.names.dataset for r in clean if r.row.weights != UNTRAINED}
    if read:
        clean = [result for result in clean if result.names.dataset in read]
    return [
        _pivot(
            f"cer-{number}",
            say("CER by decoder and set"),
            group,
            (_SYSTEMS, _SETS),
            [Column(say("Encoder"), key=True), Column(say("Decoder"), key=True)],
            lambda row: (name(row[0].names.encoder), name(row[0].names.decoder)),
            judge,
        )
        for number, group in enumerate(grouped(clean), 1)
    ]


def by_damage(results: Sequence[Result], judge: Judge = nobody) -> list[Table]:
    """CER of every decoder under every damage of one severity.

    A severity has a table when several damages were run at it, or one that has no curve.
    `judge` is that of `by_set`.
    """
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
            [Column(say("Damage"), key=True), Column(say("Ink lost %"))],
            lambda row: (name(row[0].names.damage), _ink_lost(row)),
            judge,
        )
        for number, group in enumerate(side_by_side(results), 1)
    ]


def by_severity(results: Sequence[Result], judge: Judge = nobody) -> list[Table]:
    """CER of every decoder against the severity of one damage, 0 being the clean set.

    `judge` is that of `by_set`.
    """
    return [
        _pivot(
            f"severity-{number}",
            say(
                "CER by severity of {damage}: {encoder} on {set}",
                damage=group[-1].names.damage,
                encoder=group[-1].names.encoder,
                set=group[-1].dataset,
            ),
            group,
            (_SEVERITIES, _DECODERS),
            [Column(say("Severity"), key=True), Column(say("Ink lost %"))],
            lambda row: (name(row[0].row.condition.severity), _ink_lost(row)),
            judge,
        )
        for number, group in enumerate(curves(results), 1)
    ]


def curves(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one damage at several severities, behind the clean results of its systems."""
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


def kinds_of_errors(results: Sequence[Result]) -> list[Table]:
    """What the errors on the clean sets are; only of results with a CER."""
    scored = (r for r in results if r.clean and r.row.counts and r.row.cer is not None)
    return [_kinds_of_errors(number, group) for number, group in enumerate(grouped(scored), 1)]


def _curves(results: Iterable[Result]) -> list[list[Result]]:
    damaged = (result for result in results if not result.clean)
    groups = grouped(damaged, lambda r: (_series(r), r.names.damage))
    return [g for g in groups if len({result.row.condition.severity for result in g}) > 1]


def _series(result: Result) -> tuple[str, str, int]:
    """What the results of a table of damages share besides their setting."""
    return (result.names.encoder, result.names.dataset, result.row.condition.seed)


def _pivot(
    slug: str,
    title: str,
    results: Sequence[Result],
    axes: tuple[Axis, Axis],
    leading: Sequence[Column],
    lead: Callable[[Sequence[Result]], tuple[Cell, ...]],
    judge: Judge,
) -> Table:
    """A table of CERs.

    Args:
        slug: stem of its files.
        title: its title.
        results: of one setting; at most one in each place.
        axes: what goes down and what across.
        leading: columns before those of the second axis.
        lead: their cells, from the results of a row.
        judge: says which results of one condition stand in bold.
    """
    down, across = axes
    bold = leaders(results, judge)
    notes = Notes()
    columns, said = list(leading), {}
    for head in _along(across, results):
        held = [remarks(result) for result in results if across.of(result) == head]
        said[head] = [text for text in held[0] if all(text in texts for texts in held)]
        marks = tuple(notes.mark(text) for text in said[head])
        columns.append(Column(head, parts=("low", "high"), marks=marks))
    rows = []
    for line in _along(down, results):
        there = {across.of(result): result for result in results if down.of(result) == line}
        cells = []
        for head, texts in said.items():
            result = there.get(head)
            is_bold = result is not None and result.row.key in bold
            cells.append(replace(cer_cell(result, notes, texts), bold=is_bold))
        rows.append((*lead(list(there.values())), *cells))
    return Table(
        slug,
        title,
        conditions(_what(results, bool(bold)), results),
        tuple(columns),
        tuple(rows),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _what(results: Sequence[Result], judged: bool) -> str:
    """What the numbers of a table of CERs are, and what is bold."""
    told = [
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
        told.append(lost)
    if len({result.names.damage for result in results if not result.clean}) > 1:
        told.append(
            say("a severity is a step of its own damage, so the rows rank no damage over another")
        )
    return "; ".join([*told, test_in_words(results)] if judged else told)


def _along(axis: Axis, results: Iterable[Result]) -> list[str]:
    ordered = sorted(results, key=lambda result: axis.place(result.place))
    return list(dict.fromkeys(map(axis.of, ordered)))


def _ink_lost(results: Iterable[Result]) -> Cell:
    """The mean share of lost ink: the same for all decoders, not defined for some damages."""
    known = [0.0 if r.clean else r.row.ink_lost for r in results]
    share = next((value for value in known if value is not None), None)
    if share is None:
        return Cell(UNKNOWN)
    return Cell(percent(share), values=(100.0 * share,))


def _kinds_of_errors(number: int, results: Sequence[Result]) -> Table:
    heads = [
        *("CER %", "Macro %", "Median %", "WER %", "Sub. %", "Del. %", "Ins. %"),
        *("Over half %", "Empty %", "Truncated", "Looping"),
    ]
    keys = [Column(say(head), key=True) for head in ("Set", "Encoder", "Decoder")]
    lead = say(
        "Micro CER, its macro mean and median over lines, WER, and substitutions, deletions and "
        "insertions over reference characters, in percent; then the percentage of lines of which "
        "over half was read wrongly and of lines read as nothing, and the number of lines that "
        "ended at the decoder's token limit (truncated) or that repeat their end (looping)"
    )
    return Table(
        f"errors-{number}",
        say("Kinds of errors"),
        conditions(lead, results),
        (*keys, *(Column(say(head)) for head in heads)),
        tuple(_kinds_row(result) for result in results),
        signatures=signatures(results),
    )


def _kinds_row(result: Result) -> tuple[Cell, ...]:
    row, counts = result.row, result.row.counts
    assert counts is not None  # `kinds_of_errors` takes no others
    characters, lines = max(counts.characters, 1), max(counts.lines, 1)
    shares = [
        *(row.cer, row.cer_macro, row.cer_median, row.wer),
        *(n / characters for n in (counts.substitutions, counts.deletions, counts.insertions)),
        *(n / lines for n in (counts.over_half, counts.empty)),
    ]
    return (
        *map(name, (result.names.dataset, result.names.encoder, result.names.decoder)),
        *(Cell(percent(s), values=(None if s is None else 100.0 * s,)) for s in shares),
        *(Cell(f"{n:,}", values=(n,)) for n in (counts.truncated, counts.looping)),
    )


# CER on the clean sets when something does not count: case, punctuation, the spaces around it


def when_lenient(results: Sequence[Result]) -> list[Table]:
    """One table a setting, of the clean results whose lines are there."""
    scored = (r for r in results if r.clean and trained(r) and r.row.cer is not None)
    told = grouped(result for result in scored if result.reading and result.reading.lines)
    return [_lenient(number, group) for number, group in enumerate(told, 1)]


def _lenient(number: int, results: Sequence[Result]) -> Table:
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
        tuple(_lenient_row(result, notes) for result in results),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _lenient_row(result: Result, notes: Notes) -> tuple[Cell, ...]:
    assert result.reading is not None  # `when_lenient` takes no others
    reading = result.reading
    names = (result.names.dataset, result.names.encoder, result.names.decoder)
    return (
        *map(name, names),
        cer_cell(result, notes),
        *(_lenient_cell(reading, what) for what in LENIENT),
    )


def _lenient_cell(reading: Reading, what: str) -> Cell:
    edits, characters = zip(
        *(lenient_edits(line.reference, line.text, what) for line in reading.lines), strict=True
    )
    found = micro_interval(edits, characters, reading.blocks)
    cer = sum(edits) / sum(characters) if any(characters) else None
    if cer is None or found is None:
        return Cell(percent(cer), values=() if cer is None else (100.0 * cer,))
    values = tuple(100.0 * value for value in (cer, found.low, found.high))
    return Cell(percent(cer), bracket(found), values)
