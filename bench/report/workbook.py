"""The error analysis as an Excel workbook, which LibreOffice opens as well.

Summary      CER and kinds of errors of every decoder
Classes      how many edits of each class every decoder makes, and what the class is
Changes      which classes each decoder removes and adds, paired
Confusions   which characters are read as which
Words        which words are read as which
Worst lines  the picture of each line, its reference, and what every decoder read
Conditions   all that the numbers depend on, and their signatures
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from openpyxl.workbook import Workbook

from bench.analysis.misreadings import Analysis, Change
from bench.analysis.misreadings.classes import Class
from bench.analysis.pictures import pictures
from bench.core.progress import Report, silent
from bench.report.conditions import interval, signatures
from bench.report.errors import (
    ClassRow,
    DecoderRow,
    Shown,
    class_columns,
    confused,
    confusion_columns,
    kind_columns,
    kinds_of,
    net_cell,
    systems,
    vocabulary,
)
from bench.report.language import say, say_name
from bench.report.sheets import (
    PERCENT,
    PICTURE_WIDTH,
    Head,
    Sheet,
    add_table,
    diffed,
    legend,
    new_book,
    saved,
)
from bench.report.table import RANGE, Column, count, declared, figure, keys, rate

_PAIRS = 1000  # of a condition in a sheet; --json has all


def workbook(conditions: Sequence[Shown], most: int, report: Report = silent) -> bytes:
    """The bytes of an .xlsx file, with pictures of the `most` worst lines of each condition."""
    book = new_book(say("Misreadings"))
    names = list(dict.fromkeys(name for shown in conditions for name in shown.decoders))
    confused_by = confusion_columns(names)
    sheets: list[tuple[str, Sequence[Column[Any]], Callable[[Shown], Iterable[Any]]]] = [
        (say("Summary"), _summary_columns(), systems),
        (
            say("Classes"),
            [*class_columns(names), Column(say("What belongs to it"), _meaning)],
            kinds_of,
        ),
        (say("Changes"), _change_columns(), _changes),
        (say("Confusions"), confused_by, lambda shown: confused(shown, "character", _PAIRS)),
        (say("Words"), confused_by, lambda shown: confused(shown, "word", _PAIRS)),
    ]
    for title, columns, rows in sheets:
        items = [item for shown in conditions for item in rows(shown)]
        add_table(book, declared(title, title, "", [*_places(), *columns], items), title)
    _worst(book, conditions, names, most, report)
    notes = [line for shown in conditions for line in _conditions(shown)]
    columns = [
        Column(say("No."), lambda line: count(line[0]), key=True),
        *keys((say("What"), say("Text")), lambda line: line[1], lambda line: line[2]),
    ]
    title = say("Conditions")
    add_table(book, declared(title, title, "", columns, notes), title)
    return saved(book)


def _places() -> list[Column[Any]]:
    return [
        Column(say("No."), lambda item: count(item.shown.number), key=True),
        *keys(
            (say("Encoder"), say("Data set"), say("Damage")),
            lambda item: item.shown.results[0].names.encoder,
            lambda item: item.shown.results[0].names.dataset,
            lambda item: item.shown.results[0].damage,
        ),
        Column(say("Severity"), lambda item: count(_severity(item.shown)), key=True),
    ]


def _severity(shown: Shown) -> int:
    return shown.results[0].row.condition.severity


def _summary_columns() -> list[Column[DecoderRow]]:
    return [
        *kind_columns(),
        Column(say("WER %"), lambda one: rate(one.result.row.wer)),
        Column(say("Lines"), lambda one: count(len(one.profile.reading.lines))),
        Column(say("Characters"), lambda one: count(int(one.profile.reading.characters.sum()))),
    ]


def _meaning(kind: ClassRow) -> str:
    words = "word edits: {meaning}" if kind.view.unit == "word" else "character edits: {meaning}"
    return say(words, meaning=say(kind.view.classes[kind.of.name]))


@dataclass(frozen=True)
class _Changed:
    shown: Shown
    decoder: str
    of: Class
    change: Change


def _changes(shown: Shown) -> list[_Changed]:
    return [
        _Changed(shown, decoder, of, change)
        for decoder, changes in shown.others
        for of, change in changes.items()
    ]


def _change_columns() -> list[Column[_Changed]]:
    return [
        *keys(
            (say("View"), say("Class"), say("Decoder"), say("Compared with")),
            lambda one: say_name(one.of.view),
            lambda one: say_name(one.of.name),
            lambda one: one.decoder,
            lambda one: one.shown.against,
        ),
        Column(say("Removed"), lambda one: count(one.change.removed)),
        Column(say("Added"), lambda one: count(one.change.added)),
        Column(say("Net per 1,000"), lambda one: net_cell(one.change), RANGE),
        Column(say("p (Holm)"), lambda one: figure(one.change.p)),
    ]


def _worst(
    book: Workbook,
    conditions: Sequence[Shown],
    names: Sequence[str],
    most: int,
    report: Report,
) -> None:
    own = [
        Head(say("Line"), 20), Head(say("Writer or block"), 22), Head(say("Mean CER"), 9, PERCENT),
    ]  # fmt: skip
    read = [head for name in names for head in (Head(name, 45), Head("CER", 8, PERCENT))]
    seen = [Head(say("Picture"), PICTURE_WIDTH), Head(say("Reference"), 45)]
    places = [Head(column.head) for column in _places()]
    sheet = Sheet(book, say("Worst lines"), [*places, *own, *seen, *read], above=legend())
    for shown in conditions:
        worst = _worst_lines(shown.analysis, most)
        report("pictures", shown.number - 1, len(conditions))
        first, lines = shown.results[0], shown.analysis.profiles[0].reading.lines
        drawn = pictures(first.row, [lines[place].id for place, _ in worst])
        for place, mean in worst:
            line = lines[place]
            picture = drawn.by_id.get(line.id)
            missing = "" if picture else drawn.absent or say("the set has no such line")
            names_of = first.names
            sheet.row(
                [
                    *(shown.number, names_of.encoder, names_of.dataset, first.damage),
                    *(_severity(shown), line.id, line.block, mean, missing, line.reference),
                    *_by_line(shown, names, place),
                ]
            )
            if picture is not None:
                sheet.picture(picture.image, len(places) + 4)
    sheet.finish(frozen=len(places) + 1)


def _worst_lines(analysis: Analysis, most: int) -> list[tuple[int, float]]:
    """Places of the lines of the highest mean CER over the decoders, and that; worst first.

    A line without reference characters has no CER, and one that all decoders read is not bad.
    """
    readings = [profile.reading for profile in analysis.profiles]
    characters = readings[0].characters
    edits = np.mean([reading.edits for reading in readings], axis=0)
    rates = np.divide(edits, characters, out=np.zeros(len(edits)), where=characters > 0)
    order = np.argsort(-rates, kind="stable")[:most]
    return [(int(place), float(rates[place])) for place in order if rates[place] > 0]


def _by_line(shown: Shown, names: Sequence[str], place: int) -> Iterator[Any]:
    """Text and CER of each decoder on a line, if it was run."""
    readings = [profile.reading for profile in shown.analysis.profiles]
    of = dict(zip(shown.decoders, readings, strict=True))
    for name in names:
        if name not in of:
            yield from (None, None)
            continue
        reading = of[name]
        line = reading.lines[place]
        yield diffed(line.reference, line.text)
        characters = int(reading.characters[place])
        yield int(reading.edits[place]) / characters if characters else None


def _conditions(shown: Shown) -> Iterator[tuple[int, str, str]]:
    lead = say(
        "CER and WER, {interval}; real words are {known}",
        interval=interval(shown.results),
        known=vocabulary(shown),
    )
    yield shown.number, say("condition"), shown.title
    yield shown.number, say("conditions"), "".join(shown.sentences(lead)).strip()
    if shown.analysis.seen.absent:
        yield shown.number, say("hidden"), say("not known: {why}", why=shown.analysis.seen.absent)
    for signature in signatures(shown.results):
        yield shown.number, say("signature"), signature
