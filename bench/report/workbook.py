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

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from openpyxl.workbook import Workbook

from bench import __version__
from bench.analysis.misreadings.analysis import Analysis
from bench.analysis.misreadings.classes import Unit
from bench.analysis.pictures import pictures
from bench.core.progress import Report, silent
from bench.report.conditions import interval, signatures
from bench.report.errors import Shown, kind_counts, unit_text
from bench.report.sheets import (
    PERCENT,
    PICTURE_WIDTH,
    THOUSANDTH,
    Head,
    Sheet,
    diffed,
    legend,
)

_PAIRS = 1000  # of a condition in a sheet; --json has all
_PLACE = (
    *(Head("No.", 5), Head("Encoder", 14), Head("Data set", 14)),
    *(Head("Damage", 14), Head("Severity", 9)),
)


def workbook(found: Sequence[Shown], most: int, report: Report = silent) -> bytes:
    """Make the workbook.

    Args:
        found: the conditions, at least one.
        most: lines of each condition in the sheet of the worst.
        report: told how far the pictures are.

    Returns:
        The bytes of an .xlsx file.
    """
    book = Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = "Misreadings", f"Kaidoku {__version__}"
    names = list(dict.fromkeys(name for shown in found for name in shown.decoders))
    _summary(book, found)
    _classes(book, found, names)
    _changes(book, found)
    _confusions(book, "Confusions", "character", found, names)
    _confusions(book, "Words", "word", found, names)
    _worst(book, found, names, most, report)
    _conditions(book, found)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _place(shown: Shown) -> list[Any]:
    """What names a condition."""
    first = shown.results[0]
    condition = first.row.condition
    return [
        shown.number, first.names.encoder, first.names.dataset,
        first.names.damage, condition.severity,
    ]  # fmt: skip


def _summary(book: Workbook, found: Sequence[Shown]) -> None:
    counted = ("Sub.", "Del.", "Ins.", "Edits", "Word edits", "Truncated", "Looping")
    rates = [Head(text, 9, PERCENT) for text in ("CER", "CER low", "CER high", "WER")]
    heads = [*_PLACE, Head("Decoder", 18), *rates, Head("Lines"), Head("Characters")]
    sheet = Sheet(book, "Summary", [*heads, *(Head(text, 10) for text in counted)])
    for shown in found:
        for result, profile in zip(shown.results, shown.analysis.profiles, strict=True):
            interval, reading = result.interval, profile.reading
            ends = [interval.low, interval.high] if interval else [None, None]
            sheet.row(
                [
                    *(*_place(shown), result.names.decoder, result.row.cer, *ends, result.row.wer),
                    *(len(reading.lines), int(reading.characters.sum())),
                    *kind_counts(profile),
                ]
            )
    sheet.finish(frozen=6)


def _by_decoder(values: Sequence[int], shown: Shown, names: Sequence[str]) -> list[int | None]:
    """Values of the decoders in the columns of all of them; None where one was not run."""
    of = dict(zip(shown.decoders, values, strict=True))
    return [of.get(name) for name in names]


def _classes(book: Workbook, found: Sequence[Shown], names: Sequence[str]) -> None:
    own = [Head("View", 9), Head("Class", 17)]
    heads = [*_PLACE, *own, *(Head(name, 13) for name in names), Head("What belongs to it", 90)]
    sheet = Sheet(book, "Classes", heads)
    for shown in found:
        for view, classes in shown.analysis.views:
            for one in classes:
                counts = [profile.classes[one] for profile in shown.analysis.profiles]
                told = view.classes[one.name]
                values = _by_decoder(counts, shown, names)
                sheet.row([*_place(shown), *one, *values, f"{view.unit} edits: {told}"])
    sheet.finish(frozen=7)


def _changes(book: Workbook, found: Sequence[Shown]) -> None:
    own = [Head("View", 9), Head("Class", 17), Head("Decoder", 18), Head("Compared with", 18)]
    rates = ("Net per 1,000", "low", "high", "p (Holm)")
    counted = [Head("Removed", 10), Head("Added", 10)]
    heads = [*_PLACE, *own, *counted, *(Head(text, 10, THOUSANDTH) for text in rates)]
    sheet = Sheet(book, "Changes", [*heads[:-1], Head("p (Holm)", 10, "0.0000")])
    for shown in found:
        for decoder, changes in shown.others:
            for one, change in changes.items():
                ends = change.interval
                net = [change.net, *((ends.low, ends.high) if ends else (None, None))]
                thousandths = [None if value is None else 1000 * value for value in net]
                names = [*one, decoder, shown.against]
                numbers = [change.removed, change.added, *thousandths, change.p]
                sheet.row([*_place(shown), *names, *numbers])
    sheet.finish(frozen=8)


def _confusions(
    book: Workbook, title: str, unit: Unit, found: Sequence[Shown], names: Sequence[str]
) -> None:
    width = 12 if unit == "character" else 24
    own = [Head("Reference", width), Head("Read", width)]
    sheet = Sheet(book, title, [*_PLACE, *own, *(Head(name, 13) for name in names)])
    for shown in found:
        for pair, counts in shown.analysis.confusions(unit, _PAIRS):
            sides = map(unit_text, pair)
            sheet.row([*_place(shown), *sides, *_by_decoder(counts, shown, names)])
    sheet.finish(frozen=7)


def _worst(
    book: Workbook, found: Sequence[Shown], names: Sequence[str], most: int, report: Report
) -> None:
    own = [Head("Line", 20), Head("Writer or block", 14), Head("Mean CER", 9, PERCENT)]
    read = [head for name in names for head in (Head(name, 45), Head("CER", 8, PERCENT))]
    seen = [Head("Picture", PICTURE_WIDTH), Head("Reference", 45)]
    sheet = Sheet(book, "Worst lines", [*_PLACE, *own, *seen, *read], above=legend())
    for shown in found:
        worst = _worst_lines(shown.analysis, most)
        report("pictures", shown.number - 1, len(found))
        lines = shown.results[0].row, shown.analysis.profiles[0].reading.lines
        drawn = pictures(lines[0], [lines[1][place].id for place, _ in worst])
        for place, mean in worst:
            line = lines[1][place]
            picture = drawn.by_id.get(line.id)
            missing = "" if picture else drawn.absent or "the set has no such line"
            texts = _by_line(shown, names, place)
            sheet.row([*_place(shown), line.id, line.block, mean, missing, line.reference, *texts])
            if picture is not None:
                sheet.picture(picture.image, len(_PLACE) + 4)
    sheet.finish(frozen=len(_PLACE) + 1)


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
    """What each decoder read of a line, and its CER; nothing where it was not run."""
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


def _conditions(book: Workbook, found: Sequence[Shown]) -> None:
    sheet = Sheet(book, "Conditions", [Head("No.", 5), Head("What", 14), Head("Text", 140)])
    for shown in found:
        lead = (
            f"CER and WER, {interval(shown.results)}; words are told from non-words by "
            f"{shown.analysis.known.source}"
        )
        sheet.row([shown.number, "condition", shown.title])
        sheet.row([shown.number, "conditions", shown.sentence(lead)])
        if shown.analysis.seen.absent:
            sheet.row([shown.number, "hidden", f"not known: {shown.analysis.seen.absent}"])
        for signature in signatures(shown.results):
            sheet.row([shown.number, "signature", signature])
    sheet.finish(frozen=1)
