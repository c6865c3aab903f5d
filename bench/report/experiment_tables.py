"""The tables of the language experiment: those of its page, and every cell for spreadsheets."""

from __future__ import annotations

from bench.analysis.experiment.analysis import ALL, Estimate, Gain, Recall
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ALPHA, BASELINE, PRIMARY
from bench.analysis.experiment.finding import Finding
from bench.analysis.stats import Interval
from bench.report.format import DASH, number, percent
from bench.report.table import Cell, Column, Table, name
from datasets.damage.base import SEVERITIES

CEILING = "cloze ceiling"

_LAST = SEVERITIES[-1]
_SYNTHETIC = " The lines are synthetic, rendered with stroke fonts."
_WHERE = f"Conditions: finding.md beside it.{_SYNTHETIC}"


def of_page(finding: Finding) -> list[Table]:
    """Those that the systems of the experiment allow."""
    every = [of_every_system(finding)] if finding.systems else []
    if not finding.judged:
        return every
    primary = (gain_by_severity(finding, PRIMARY), where_it_falls(finding, PRIMARY))
    return [contrasts(finding), *primary, *every]


def of_cells(finding: Finding) -> list[Table]:
    """Every cell of the design."""
    return [all_gains(finding), all_recalls(finding), all_slopes(finding)]


def contrasts(finding: Finding) -> Table:
    """The contrasts: value, interval, p and verdict."""
    return Table(
        slug="contrasts",
        title="What was expected, and what came out",
        conditions=(
            f"Contrasts of the gain of {PRIMARY}, fixed in code before they were computed; "
            "points of CER (slopes: a step of severity). A claim holds when its p after Holm is at "
            f"most {ALPHA:g} and its interval lies where it is claimed.{_SYNTHETIC}"
        ),
        columns=(
            Column("contrast", key=True),
            Column("claim", key=True),
            Column("points", parts=("low", "high")),
            Column("p"),
            Column("p (Holm)"),
            Column("verdict", key=True),
        ),
        rows=tuple(
            (
                name(one.contrast.name),
                name(one.contrast.claim),
                _points(Estimate(one.value, one.interval), 2),
                Cell(p_value(one.p), values=(one.p,)),
                Cell(p_value(one.adjusted), values=(one.adjusted,)),
                name(one.verdict),
            )
            for one in finding.judged
        ),
    )


def gain_by_severity(finding: Finding, system: str) -> Table:
    """Gain of a system under each damage and severity, on English and on random characters."""
    levels = ("english", "random")
    return Table(
        slug="gain-by-severity",
        title=f"Gain of {system} by severity",
        conditions=f"Points of CER, positive where it reads better than ctc-greedy.{_SYNTHETIC}",
        columns=(
            Column("level", key=True),
            Column("damage", key=True),
            *(Column(f"severity {s}" if s else "clean", parts=("low", "high")) for s in SEVERITIES),
        ),
        rows=tuple(
            (
                name(level),
                name(damage),
                *(_points(finding.gain(level, damage, s, system).gain) for s in SEVERITIES),
            )
            for level in levels
            for damage in finding.design.damages
        ),
    )


def where_it_falls(finding: Finding, system: str) -> Table:
    """At the last severity on English: which characters the gain is of, and the hidden ones."""
    return Table(
        slug="hidden",
        title=f"Where the gain of {system} falls, English, severity {_LAST}",
        conditions=(
            "Gain in points of CER, split by what was left of the character; of hidden characters "
            "with ink, the share read right (R_hidden) and the wrong characters written in their "
            f"place, in percent. {CEILING}: the same language model, given the true text around "
            f"the blanks and their number.{_SYNTHETIC}"
        ),
        columns=(
            Column("damage", key=True),
            Column("hidden %"),
            Column("gain", parts=("low", "high")),
            Column("on hidden", parts=("low", "high")),
            Column("on partial", parts=("low", "high")),
            Column("on visible", parts=("low", "high")),
            Column(f"R_hidden {BASELINE}", parts=("low", "high")),
            Column(f"R_hidden {system}", parts=("low", "high")),
            Column(CEILING, parts=("low", "high")),
            Column(f"wrong {BASELINE}", parts=("low", "high")),
            Column(f"wrong {system}", parts=("low", "high")),
        ),
        rows=tuple(_falls(finding, damage, system) for damage in finding.design.damages),
    )


def of_every_system(finding: Finding) -> Table:
    """English: the slope of every system's gain, and its gain clean and at the last severity."""
    damages = finding.design.damages
    return Table(
        slug="systems",
        title="Every system on English",
        conditions=(
            "Slope: rise of the gain a step of severity, mean over the damages. Then the gain on "
            f"clean lines, and under each damage at severity {_LAST}; points. The AR decoders and "
            "ctc-rescore read the encoder's states too: theirs is a gap between systems, not "
            f"language alone.{_SYNTHETIC}"
        ),
        columns=(
            Column("system", key=True),
            Column("slope", parts=("low", "high")),
            Column("clean", parts=("low", "high")),
            *(Column(damage, parts=("low", "high")) for damage in damages),
        ),
        rows=tuple(
            (
                name(system),
                _points(slope_of(finding, "english", system), 2),
                _points(finding.gain("english", damages[0], 0, system).gain),
                *(_points(finding.gain("english", d, _LAST, system).gain) for d in damages),
            )
            for system in finding.systems
        ),
    )


def all_gains(finding: Finding) -> Table:
    """Every cell of the design."""
    heads = ("cer", "gain", "relative", "hidden", "partial", "visible")
    return Table(
        slug="all-gains",
        title="CER and gain of every cell",
        conditions=_WHERE,
        columns=(
            *(Column(key, key=True) for key in ("level", "damage", "severity", "system")),
            *(Column(f"{head} %", parts=("low", "high")) for head in heads),
        ),
        rows=tuple(
            (*_keys(gain), *(_points(getattr(gain, head), 2) for head in heads))
            for gain in finding.gains
        ),
    )


def all_recalls(finding: Finding) -> Table:
    """Hidden characters in every cell."""
    return Table(
        slug="all-hidden",
        title="Hidden characters in every cell",
        conditions=_WHERE,
        columns=(
            *(Column(key, key=True) for key in ("level", "damage", "severity", "system")),
            Column("hidden %"),
            Column("hidden characters"),
            Column("right %", parts=("low", "high")),
            Column("wrong %", parts=("low", "high")),
        ),
        rows=tuple(
            (
                *_keys(found),
                Cell(percent(found.share, 1), values=(100 * found.share,)),
                Cell(number(found.characters, 0), values=(found.characters,)),
                _points(found.right, 2),
                _points(found.wrong, 2),
            )
            for found in finding.recalls
        ),
    )


def all_slopes(finding: Finding) -> Table:
    """Slopes of every system on every level and damage; not among the contrasts."""
    return Table(
        slug="all-slopes",
        title="Slopes of the gain, exploratory",
        conditions=(f"Points of CER a step of severity; {ALL}: mean over the damages.{_SYNTHETIC}"),
        columns=(
            *(Column(key, key=True) for key in ("level", "damage", "system")),
            Column("slope", parts=("low", "high")),
        ),
        rows=tuple(
            (name(one.level), name(one.damage), name(one.system), _points(one.slope, 2))
            for one in finding.slopes
        ),
    )


def slope_of(finding: Finding, level: str, system: str) -> Estimate:
    """The slope of a system's gain, the mean over the damages."""
    wanted = (level, ALL if len(finding.design.damages) > 1 else finding.design.damages[0], system)
    return next(s.slope for s in finding.slopes if (s.level, s.damage, s.system) == wanted)


def bracket(interval: Interval, decimals: int) -> str:
    """An interval of fractions in points."""
    return f"[{percent(interval.low, decimals)}, {percent(interval.high, decimals)}]"


def p_value(value: float | None) -> str:
    """As tables and sentences have it."""
    if value is None:
        return DASH
    return number(value, 4) if value >= 0.0005 else "< 0.0005"


def _falls(finding: Finding, damage: str, system: str) -> tuple[Cell, ...]:
    gain = finding.gain("english", damage, _LAST, system)
    found: dict[str, Recall | None] = {
        which: finding.recall("english", damage, _LAST, which)
        for which in (BASELINE, system, CLOZE)
    }
    base, own, ceiling = found[BASELINE], found[system], found[CLOZE]
    assert base is not None
    assert own is not None
    return (
        name(damage),
        Cell(percent(base.share, 1), values=(100 * base.share,)),
        *(_points(part) for part in (gain.gain, gain.hidden, gain.partial, gain.visible)),
        _points(base.right),
        _points(own.right),
        Cell(DASH) if ceiling is None else _points(ceiling.right),
        _points(base.wrong),
        _points(own.wrong),
    )


def _keys(found: Gain | Recall) -> tuple[Cell, ...]:
    severity = Cell(str(found.severity), values=(found.severity,))
    return name(found.level), name(found.damage), severity, name(found.system)


def _points(estimate: Estimate, decimals: int = 1) -> Cell:
    """A fraction in points, its interval below it."""
    value, interval = estimate.value, estimate.interval
    if value is None:
        return Cell(DASH)
    ends = (100 * interval.low, 100 * interval.high) if interval else (None, None)
    detail = bracket(interval, decimals) if interval else ""
    return Cell(percent(value, decimals), detail, (100 * value, *ends))
