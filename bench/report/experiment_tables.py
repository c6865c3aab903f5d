"""The tables of the language experiment."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from bench.analysis.experiment.analysis import ALL, Estimate
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ALPHA, BASELINE, PRIMARY
from bench.analysis.experiment.finding import Finding
from bench.report.format import DASH, joined, number
from bench.report.language import say, say_name
from bench.report.table import RANGE, Cell, Column, Table, declared, figure, keys, rate
from datasets.damage.base import SEVERITIES

CEILING = "cloze ceiling"

_LAST = SEVERITIES[-1]


def of_page(finding: Finding) -> list[Table]:
    """Tables of the page, as far as the systems of the experiment allow."""
    every = [_every_system(finding)] if finding.systems else []
    if not finding.judged:
        return every
    return [_contrasts(finding), _gain_by_severity(finding), _where_it_falls(finding), *every]


def severity_head(severity: int) -> str:
    """A severity as heads and legends name it."""
    return say("severity {severity}", severity=severity) if severity else say("clean")


def _composed(conditions: str) -> str:
    return joined([conditions, say("The lines are composed of real pen strokes.")])


def _column(head: str, get: Callable[[Any], Estimate | None], decimals: int = 1) -> Column[Any]:
    def cell(item: Any) -> Cell:
        estimate = get(item) or Estimate(None, None)
        return rate(estimate.value, estimate.interval, decimals)

    return Column(head, cell, RANGE)


def _contrasts(finding: Finding) -> Table:
    return declared(
        slug="contrasts",
        title=say("What was expected, and what came out"),
        conditions=_composed(
            say(
                "Contrasts of the gain of {system}, fixed in code before they were computed; "
                "points of CER (slopes: a step of severity). A claim holds when its p after Holm "
                "is at most {alpha} and its interval lies where it is claimed.",
                system=PRIMARY,
                alpha=f"{ALPHA:g}",
            )
        ),
        columns=[
            *keys(
                (say("contrast"), say("claim")),
                lambda one: say(one.contrast.name),
                lambda one: say(one.contrast.claim),
            ),
            _column(say("points"), lambda one: Estimate(one.value, one.interval), 2),
            Column("p", lambda one: figure(one.p, p_value)),
            Column("p (Holm)", lambda one: figure(one.adjusted, p_value)),
            Column(say("verdict"), lambda one: say(one.verdict), key=True),
        ],
        rows=finding.judged,
    )


def _gain_by_severity(finding: Finding) -> Table:
    def column(severity: int) -> Column[Any]:
        return _column(
            severity_head(severity),
            lambda item: finding.gain(item[0], item[1], severity, PRIMARY).gain,
        )

    return declared(
        slug="gain-by-severity",
        title=say("Gain of {system} by severity", system=PRIMARY),
        conditions=_composed(say("Points of CER, positive where it reads better than ctc-greedy.")),
        columns=[
            *keys(
                (say("level"), say("damage")),
                lambda item: say_name(item[0]),
                lambda item: say_name(item[1]),
            ),
            *map(column, SEVERITIES),
        ],
        rows=[(level, d) for level in ("english", "random") for d in finding.design.damages],
    )


def _where_it_falls(finding: Finding) -> Table:
    """The gain by visibility of characters, and hidden ones, at the last severity on English."""

    def gain(head: str, part: str) -> Column[str]:
        get = attrgetter(part)
        return _column(head, lambda damage: get(finding.gain("english", damage, _LAST, PRIMARY)))

    def recall(damage: str, system: str, part: str) -> Any:
        found = finding.recall("english", damage, _LAST, system)
        return getattr(found, part) if found else None

    def hidden(head: str, system: str, part: str) -> Column[str]:
        return _column(head, lambda damage: recall(damage, system, part))

    return declared(
        slug="hidden",
        title=say(
            "Where the gain of {system} falls, English, severity {severity}",
            system=PRIMARY,
            severity=_LAST,
        ),
        conditions=_composed(
            say(
                "Gain in points of CER, split by what was left of the character; of hidden "
                "characters with ink, the share read right (R_hidden) and the wrong characters "
                "written in their place, in percent. {ceiling}: the same language model, given the "
                "true text around the blanks and their number.",
                ceiling=say(CEILING),
            )
        ),
        columns=[
            Column(say("damage"), say_name, key=True),
            Column(
                say("hidden %"), lambda damage: rate(recall(damage, BASELINE, "share"), decimals=1)
            ),
            gain(say("gain"), "gain"),
            gain(say("on hidden"), "hidden"),
            gain(say("on partial"), "partial"),
            gain(say("on visible"), "visible"),
            *(hidden(f"R_hidden {name}", name, "right") for name in (BASELINE, PRIMARY)),
            hidden(say(CEILING), CLOZE, "right"),
            *(
                hidden(say("wrong {system}", system=name), name, "wrong")
                for name in (BASELINE, PRIMARY)
            ),
        ],
        rows=finding.design.damages,
    )


def _every_system(finding: Finding) -> Table:
    damages = finding.design.damages

    def gain(head: str, damage: str, severity: int) -> Column[str]:
        return _column(head, lambda own: finding.gain("english", damage, severity, own).gain)

    return declared(
        slug="systems",
        title=say("Every system on English"),
        conditions=_composed(
            say(
                "Slope: rise of the gain a step of severity, mean over the damages. Then the gain "
                "on clean lines, and under each damage at severity {severity}; points. The AR "
                "decoders and ctc-rescore read the encoder's states too: theirs is a gap between "
                "systems, not language alone.",
                severity=_LAST,
            )
        ),
        columns=[
            Column(say("system"), str, key=True),
            _column(say("slope"), lambda system: slope_of(finding, "english", system), 2),
            gain(say("clean"), damages[0], 0),
            *(gain(say_name(damage), damage, _LAST) for damage in damages),
        ],
        rows=finding.systems,
    )


def slope_of(finding: Finding, level: str, system: str) -> Estimate:
    """The slope of a system's gain, the mean over the damages."""
    damages = finding.design.damages
    own = (level, ALL if len(damages) > 1 else damages[0], system)
    return next(s.slope for s in finding.slopes if (s.level, s.damage, s.system) == own)


def p_value(value: float | None) -> str:
    """Format for tables and sentences."""
    if value is None:
        return DASH
    return number(value, 4) if value >= 0.0005 else "< 0.0005"
