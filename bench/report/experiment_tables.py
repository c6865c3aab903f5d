"""The tables of the language experiment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.analysis.experiment.analysis import Estimate, TestedContrast
from bench.analysis.experiment.budget import Budget
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ENGLISH, GREEDY, RANDOM
from bench.analysis.experiment.finding import Finding
from bench.analysis.experiment.ideal import NAME as IDEAL
from bench.report.format import DASH, number
from bench.report.language import say, say_name
from bench.report.table import RANGE, Cell, Column, Table, declared, figure, keys, rate

CEILING = "cloze ceiling"


def of_page(finding: Finding) -> list[Table]:
    """Tables of the page."""
    makers = (_contrasts, _no_language, _doses, _restored, _budget)
    return [make(finding) for make in makers]


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

    places = dict.fromkeys(
        (one.reader, one.level, one.condition)
        for one in finding.readings
        if one.reader in finding.weights
    )
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
            "Percent of the characters with ink of which less than 20 % is left. The oracles know "
            "where characters are missing, and how many, which no reader does. {ideal}: reads all "
            "visible characters and no hidden one, and so shows what each search restores by "
            "itself. {ceiling}: the 6-gram alone with the true text around each hidden character.",
            ideal=say(IDEAL),
            ceiling=say(CEILING),
        ),
        columns=[
            *keys(
                (say("reader"), say("set"), say("condition")),
                lambda place: say_name(place[0]),
                lambda place: say_name(place[1]),
                lambda place: say_name(place[2]),
            ),
            Column(say("hidden"), hidden),
            *map(restored, (design.baseline, *design.doses)),
            restored(CLOZE, say(CEILING)),
        ],
        rows=list(places),
    )


def _budget(finding: Finding) -> Table:
    """Errors on English by cause."""

    def points(edits: Callable[[Budget], int | None]) -> Callable[[Budget], Cell]:
        def cell(one: Budget) -> Cell:
            own = edits(one)
            return rate(None if own is None else own / one.characters, None, 1)

        return cell

    return declared(
        slug="budget",
        title=say("Causes of the errors on English"),
        conditions=say(
            "In points of CER. Search: lines whose reference the decoder itself scores higher than "
            "what it read. Of the other lines, ink: edits at hidden characters; model: edits at "
            "visible ones. {gap} scores no texts, so its search errors are in the other two. "
            "Oracle: CER of the best text in the beam of each line.",
            gap="ctc-gap",
        ),
        columns=[
            *keys(
                (say("reader"), say("condition"), say("decoder")),
                lambda one: one.reader,
                lambda one: say_name(one.condition),
                lambda one: one.system,
            ),
            Column(say("search"), points(lambda one: one.search)),
            Column(say("ink"), points(lambda one: one.ink)),
            Column(say("model"), points(lambda one: one.model)),
            Column(say("oracle"), points(lambda one: one.best)),
        ],
        rows=finding.budget,
    )


def effect_of(one: TestedContrast) -> str:
    """A contrast with interval and p."""
    p = (
        say("too few blocks for a p")
        if one.p is None
        else say("p after Holm {p}", p=p_value(one.adjusted))
    )
    return f"{odds(Estimate(one.value, one.interval))}, {p}"
