"""The tables of the language experiment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.analysis.experiment.analysis import Estimate, TestedContrast
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ENGLISH, GREEDY, RANDOM
from bench.analysis.experiment.finding import Finding
from bench.report.format import DASH, number
from bench.report.language import say, say_name
from bench.report.table import RANGE, Cell, Column, Table, declared, figure, keys, rate

CEILING = "cloze ceiling"


def of_page(finding: Finding) -> list[Table]:
    """Tables of the page."""
    return [_contrasts(finding), _no_language(finding), _doses(finding), _restored(finding)]


def p_value(value: float | None) -> str:
    """Format for tables and sentences."""
    if value is None:
        return DASH
    return number(value, 4) if value >= 0.0005 else "< 0.0005"


def odds(estimate: Estimate) -> str:
    """Log-odds with their interval."""
    interval = f" {bracket_of(estimate)}" if estimate.interval else ""
    return f"{number(estimate.value, 2)}{interval}"


def bracket_of(estimate: Estimate) -> str:
    """The interval of log-odds."""
    assert estimate.interval is not None
    return f"[{number(estimate.interval.low, 2)}, {number(estimate.interval.high, 2)}]"


def _odds_cell(estimate: Estimate | None) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(DASH)
    low_high = (estimate.interval.low, estimate.interval.high) if estimate.interval else (None,) * 2
    detail = bracket_of(estimate) if estimate.interval else ""
    return Cell(number(estimate.value, 2), detail, (estimate.value, *low_high))


def _percent_cell(estimate: Estimate | None) -> Cell:
    estimate = estimate or Estimate(None, None)
    return rate(estimate.value, estimate.interval, 1)


def _contrasts(finding: Finding) -> Table:
    return declared(
        slug="contrasts",
        title=say("What was expected, and what came out"),
        conditions=say(
            "Contrasts in log-odds of a character read right, expected above 0. One holds when its "
            "p after Holm, over all rows of this table, is at most 0.05 and its interval lies "
            "above 0."
        ),
        columns=[
            *keys(
                (say("contrast"), say("reader")),
                lambda one: say(one.contrast.name),
                lambda one: one.reader,
            ),
            Column(
                say("log-odds"), lambda one: _odds_cell(Estimate(one.value, one.interval)), RANGE
            ),
            Column("p", lambda one: figure(one.p, p_value)),
            Column("p (Holm)", lambda one: figure(one.adjusted, p_value)),
            Column(say("verdict"), lambda one: say(one.verdict), key=True),
        ],
        rows=finding.judged,
    )


def _no_language(finding: Finding) -> Table:
    """Greedy CTC by set: how much language is in "no language"?"""

    def column(level: str) -> Column[str]:
        def cell(reader: str) -> Cell:
            found = finding.reading(reader, level, "clean", GREEDY)
            return _percent_cell(found.cer if found else None)

        return Column(say_name(level), cell, RANGE)

    return declared(
        slug="no-language",
        title=say("CER of {system}, which has no language, on undamaged lines", system=GREEDY),
        conditions=say(
            "Percent. The first four sets are the same hands with less and less language."
        ),
        columns=[Column(say("reader"), str, key=True), *map(column, finding.read)],
        rows=list(finding.weights),
    )


def _doses(finding: Finding) -> Table:
    """CER of the baseline and gain of each dose, by reader, set and condition."""
    design = finding.design

    def gain(system: str) -> Column[Any]:
        def cell(place: tuple[str, str, str]) -> Cell:
            found = finding.reading(*place, system)
            return _odds_cell(found.gain if found else None)

        return Column(system, cell, RANGE)

    def baseline(part: Callable[[Any], Estimate]) -> Callable[[tuple[str, str, str]], Cell]:
        def cell(place: tuple[str, str, str]) -> Cell:
            found = finding.reading(*place, design.baseline)
            return _percent_cell(part(found) if found else None)

        return cell

    places = dict.fromkeys((one.reader, one.level, one.condition) for one in finding.readings)
    return declared(
        slug="doses",
        title=say("Gain of each dose of language over {system}", system=design.baseline),
        conditions=say(
            "Log-odds of a character read right, less those of {system} in the same cell, whose "
            "CER in percent and characters read right in percent stand first: near 0 or 100 there "
            "is little to gain or to lose.",
            system=design.baseline,
        ),
        columns=[
            *keys(
                (say("reader"), say("set"), say("condition")),
                lambda place: place[0],
                lambda place: say_name(place[1]),
                lambda place: say_name(place[2]),
            ),
            Column("CER", baseline(lambda one: one.cer), RANGE),
            Column(say("right"), baseline(lambda one: one.right), RANGE),
            *map(gain, design.doses),
        ],
        rows=list(places),
    )


def _restored(finding: Finding) -> Table:
    """Hidden characters read right, where characters are hidden."""
    design = finding.design
    first = next(iter(finding.weights))

    def restored(system: str, head: str = "") -> Column[Any]:
        def cell(place: tuple[str, str, str]) -> Cell:
            reader = first if system == CLOZE else place[0]
            found = finding.reading(reader, *place[1:], system)
            return _percent_cell(found.restored if found else None)

        return Column(head or system, cell, RANGE)

    def hidden(place: tuple[str, str, str]) -> str:
        found = finding.reading(*place, design.baseline)
        return number(found.hidden if found else None, 0)

    places = dict.fromkeys(
        (one.reader, one.level, one.condition)
        for one in finding.readings
        if one.hidden and one.level in (ENGLISH, RANDOM)
    )
    return declared(
        slug="restored",
        title=say("Hidden characters read right"),
        conditions=say(
            "Percent of the characters with ink of which less than 20 % is left. {ceiling}: the "
            "6-gram with the true text around the gaps and the number of characters in them, "
            "which no decoder here knows.",
            ceiling=say(CEILING),
        ),
        columns=[
            *keys(
                (say("reader"), say("set"), say("condition")),
                lambda place: place[0],
                lambda place: say_name(place[1]),
                lambda place: say_name(place[2]),
            ),
            Column(say("hidden"), hidden),
            *map(restored, (design.baseline, *design.doses)),
            restored(CLOZE, say(CEILING)),
        ],
        rows=list(places),
    )


def effect_of(one: TestedContrast) -> str:
    """A contrast with interval and p."""
    p = (
        say("too few blocks for a p")
        if one.p is None
        else say("p after Holm {p}", p=p_value(one.adjusted))
    )
    return f"{odds(Estimate(one.value, one.interval))}, {p}"
