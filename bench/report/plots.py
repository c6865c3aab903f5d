"""The plots of a run, each of some of its results.

severity-N      CER against the severity of a damage, with bands
gain-N          gain of each decoder over greedy CTC, against the severity
gain-damage-N   the same under every damage of one severity
cer-speed-N     CER against lines/s, with the Pareto front
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.ticker import MaxNLocator

from bench.analysis.cost import pareto
from bench.analysis.evidence import Reading
from bench.analysis.experiment.design import GREEDY
from bench.analysis.stats import Difference, Interval
from bench.core.errors import UserError
from bench.core.progress import Report, silent
from bench.report.accuracy import curves, side_by_side
from bench.report.format import plain, plural, short
from bench.report.language import say, say_name
from bench.report.panel import (
    Look,
    Panel,
    Plot,
    Ranged,
    alone,
    drawing,
    look_of,
    speed_ticks,
)
from bench.report.results import Result, grouped
from datasets.about import about

Planned = Callable[[], Plot]
Styles = Mapping[str, Look]  # by the name of a decoder
Gains = Mapping[str, Difference]  # by the key of a row

_ROW, _BAND, _ROUND = 0.13, 0.12, 1.1  # inches: of a decoder, between damages, around them
_FILLS = ("full", "none", "left", "bottom", "right", "top")  # of markers, by encoder
_CAPS: Mapping[str, float] = {"capsize": 2, "capthick": 0.8}


def draw(results: Sequence[Result], report: Report = silent) -> list[Plot]:
    """All plots that the results of a run allow, in the current language."""
    planned = _planned(results)
    drawn: list[Plot] = []
    with drawing():
        for plot in planned:
            report("plots", len(drawn), len(planned))
            drawn.append(plot())
    report("plots", len(drawn), len(planned))
    return drawn


def _planned(results: Sequence[Result]) -> list[Planned]:
    scored = [r for r in results if r.trained and math.isfinite(_cer(r)[0])]
    decoders = [r.names.decoder for r in sorted(results, key=lambda r: r.place.decoder)]
    styles = {name: look_of(index) for index, name in enumerate(dict.fromkeys(decoders))}
    gains = gains_of(scored)
    of_kind: list[tuple[str, Iterable[list[Result]], Callable[..., Plot]]] = [
        ("severity", curves(scored), severity),
        ("gain", _with_gain(curves(scored), gains), functools.partial(gain_curve, gains)),
        ("gain-damage", _with_gain(side_by_side(scored), gains),
         functools.partial(gain_bands, gains)),
        ("cer-speed", _by_set(r for r in scored if r.clean and r.row.timing), speed),
    ]  # fmt: skip
    return [
        functools.partial(plot, f"{kind}-{number}", group, styles)
        for kind, groups, plot in of_kind
        for number, group in enumerate(groups, 1)
    ]


def _by_set(results: Iterable[Result]) -> list[list[Result]]:
    return grouped(results, lambda result: result.names.dataset)


def _by_decoder(
    results: Sequence[Result], styles: Styles
) -> Iterator[tuple[str, list[Result], Look]]:
    for decoder, look in styles.items():
        if own := [result for result in results if result.names.decoder == decoder]:
            yield decoder, own, look


def read_by(result: Result) -> str:
    """The set and its part, in few words."""
    counts = result.row.counts
    lines = [plural(counts.lines, "line")] if counts else []
    made = [say("synthetic")] if about(result.row.condition.dataset).synthetic else []
    return f"{result.names.dataset} ({', '.join([*made, result.row.condition.split, *lines])})"


def _where(result: Result) -> dict[str, object]:
    """The values of a title: encoder, set, damage and severity of one of a plot's results."""
    severity, names = result.row.condition.severity, result.names
    return {
        "baseline": GREEDY, "damage": result.damage, "severity": severity,
        "encoder": names.encoder, "set": read_by(result),
    }  # fmt: skip


def percents(value: float | None, interval: Interval | None) -> Ranged:
    """A fraction and its interval in percent; NaN for None, thrice the same without an interval."""
    known = math.nan if value is None else value
    low, high = (interval.low, interval.high) if interval else (known, known)
    return 100.0 * known, 100.0 * min(low, known), 100.0 * max(high, known)


def _cer(result: Result) -> Ranged:
    return percents(result.row.cer, result.interval)


def _points_of(gain: Difference) -> Ranged:
    return percents(gain.value, gain.interval)


def _by_severity(
    panel: Panel, results: Sequence[Result], styles: Styles, value: Callable[[Result], Ranged]
) -> None:
    for decoder, own, look in _by_decoder(results, styles):
        severities = [result.row.condition.severity for result in own]
        panel.curve(decoder, severities, list(map(value, own)), look)
    panel.axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def severity(slug: str, results: Sequence[Result], styles: Styles) -> Plot:
    """CER of each decoder against the severity of one damage."""
    last = results[-1]
    title = say("CER by severity of {damage}: {encoder} on {set}", **_where(last))
    panel = Panel(title, last, say("severity (0: clean)"), say("CER (%; band: 95 % interval)"))
    _by_severity(panel, results, styles, _cer)
    panel.axes.set_ylim(bottom=0)
    return panel.plot(slug)


# Gains over greedy CTC, which reads the same encoding without language


def gains_of(results: Sequence[Result]) -> Gains:
    """The CER of greedy CTC less that of each result, paired by line.

    A result is paired with greedy CTC of the same encoder under the same condition. Without such a
    counterpart or without stored lines it has no gain.
    """
    bases = {_condition(r): r.reading for r in results if r.row.decoder == GREEDY}
    found = {}
    for result in results:
        base, own = bases.get(_condition(result)), result.reading
        if base and own and base is not own and (gain := _gain(base, own)):
            found[result.row.key] = gain
    return found


def _condition(result: Result) -> tuple[object, ...]:
    names = result.names
    return (result.setting, names.encoder, names.dataset, names.damage, result.row.condition)


def _gain(base: Reading, own: Reading) -> Difference | None:
    try:
        return base.cer_less(own)
    except UserError:  # not of the same lines after all
        return None


def _with_gain(groups: Iterable[Sequence[Result]], gains: Gains) -> list[list[Result]]:
    """Keep results with a gain, and groups with such results."""
    known = ([result for result in group if result.row.key in gains] for group in groups)
    return [group for group in known if group]


def gain_curve(gains: Gains, slug: str, results: Sequence[Result], styles: Styles) -> Plot:
    """The gain of each decoder against the severity of one damage."""
    last = results[-1]
    title = say("Gain over {baseline} by severity of {damage}: {encoder} on {set}", **_where(last))
    up = say("gain (points of CER; band: 95 % interval, paired)")
    panel = Panel(title, last, say("severity (0: clean)"), up)
    _by_severity(panel, results, styles, lambda result: _points_of(gains[result.row.key]))
    panel.axes.axhline(0, color="0.4", linewidth=0.8)
    return panel.plot(slug)


def gain_bands(gains: Gains, slug: str, results: Sequence[Result], styles: Styles) -> Plot:
    """The gain of each decoder under every damage of one severity: a band a damage."""
    first = results[0]
    title = say(
        "Gain over {baseline} by damage at severity {severity}: {encoder} on {set}", **_where(first)
    )
    damages = list(dict.fromkeys(result.names.damage for result in results))
    decoders = list(_by_decoder(results, styles))
    band = _ROW * len(decoders) + _BAND
    across = say("gain (points of CER; bar: 95 % interval, paired)")
    panel = Panel(title, first, across, height=_ROUND + band * len(damages))
    for row, (decoder, own, look) in enumerate(decoders):
        places = [band * damages.index(r.names.damage) + _ROW * (row + 0.5) for r in own]
        panel.points(decoder, [_points_of(gains[r.row.key]) for r in own], alone(places), look)
    for place in range(1, len(damages)):
        panel.axes.axhline(band * place - _BAND / 2, color="0.8", linewidth=0.6)
    panel.axes.axvline(0, color="0.4", linewidth=0.8)
    centres = [band * place + (band - _BAND) / 2 for place in range(len(damages))]
    panel.name_rows(centres, [short(plain(say_name(damage))) for damage in damages])
    panel.axes.set_ylim(band * len(damages) - _BAND / 2, -_BAND / 2)
    return panel.plot(slug)


# Cost


def speed(slug: str, results: Sequence[Result], styles: Styles) -> Plot:
    """CER of each system against lines/s, both with their spread, and the Pareto front.

    Decoders differ by colour and marker as in all plots, encoders by the filled part of it.
    """
    first = results[0]
    fills = dict(zip(dict.fromkeys(r.names.encoder for r in results), cycle(_FILLS)))
    several = len(fills) > 1
    read = read_by(first) if several else f"{first.names.encoder}, {read_by(first)}"
    panel = Panel(
        say("CER against speed: {read}", read=read),
        first,
        say("speed of encoder + decoder (lines/s, log scale; bar: range of the rounds)"),
        say("CER (%; bar: 95 % interval)"),
    )
    axes, points = panel.axes, []
    for decoder, own, look in _by_decoder(results, styles):
        for result in own:
            rate, cer = lines_per_s(result), _cer(result)
            points.append((rate[0], cer[0]))
            filled = {**look, **_filled(fills[result.names.encoder], look["color"])}
            name = decoder if result is own[0] else None
            panel.points(name, [rate], [cer], filled if several else look, **_CAPS)
    for encoder, fill in fills.items() if several else ():
        axes.plot([], [], "o", label=short(plain(encoder)), **_filled(fill, "0.3"))
    _front(axes, points)
    axes.margins(x=0.15, y=0.12)
    speed_ticks(axes)
    axes.set_ylim(bottom=0)
    return panel.plot(slug)


def _filled(part: str, colour: str) -> Look:
    return {"fillstyle": part, "color": colour, "markeredgecolor": colour}


def lines_per_s(result: Result) -> Ranged:
    """Lines/s with the range of the rounds; that of one is that of its batches, short and long."""
    assert result.row.timing is not None  # only timed results are drawn
    rate = result.row.timing.lines_per_s
    middle = rate.median
    if rate.n < 2:
        return middle, middle, middle
    return middle, min(rate.low, middle), max(rate.high, middle)


def _front(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """The Pareto front as a step curve: the lowest CER at each speed."""
    on = pareto([(cer, rate) for rate, cer in points])
    front = sorted(point for point, is_on in zip(points, on, strict=True) if is_on)
    rates, cers = zip(*front, strict=True)
    label = say("Pareto front")
    axes.step(rates, cers, where="pre", color="0.4", linewidth=0.9, zorder=1, label=label)
    axes.scatter(rates, cers, s=110, facecolors="none", edgecolors="0.4", linewidths=0.9, zorder=1)
