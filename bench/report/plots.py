"""Plots: CER against severity, CER against speed. Readable in grey and without all colours."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bench.report.accuracy import curves
from bench.report.format import plain, plural, short, tick
from bench.report.labels import Segment, place_labels
from bench.report.remarks import trained
from bench.report.results import Result, grouped

Look = dict[str, Any]  # matplotlib's words for colour, marker and line

# Okabe and Ito's colours for all kinds of colour vision (https://jfly.uni-koeln.de/color/), with
# a marker and a line style each, so that none of the three is needed alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_INCHES = (6.4, 4.2)
_TITLE_WIDTH = 88  # letters that fit above the axes

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "kaidoku",  # the same plot has the same bytes
    "text.parse_math": False,  # a "$" in a name is a dollar
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot.

    slug: stem of its file names.
    title: what it shows, one line.
    """

    slug: str
    title: str
    png: bytes
    svg: bytes


def draw(results: Sequence[Result]) -> list[Plot]:
    """All plots that the results allow; none without a CER."""
    scored = [r for r in results if trained(r) and math.isfinite(_cer(r)[0])]
    timed = grouped((r for r in scored if r.clean and r.row.timing), lambda r: r.names.dataset)
    decoders = [r.names.decoder for r in sorted(scored, key=lambda r: r.place.decoder)]
    looks = {name: look_of(index) for index, name in enumerate(dict.fromkeys(decoders))}
    with mpl.rc_context(STYLE):
        return [
            *(_severity(count, group, looks) for count, group in enumerate(curves(scored), 1)),
            *(_speed(count, group, looks) for count, group in enumerate(timed, 1)),
        ]


def _severity(count: int, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """CER of each decoder against severity, with the bootstrap interval as a band."""
    last = results[-1]
    title = f"CER by severity of {last.names.damage}: {last.names.encoder} on {_read(last)}"
    figure, axes = _canvas(title, last)
    for decoder, look in looks.items():
        curve = [result for result in results if result.names.decoder == decoder]
        if not curve:
            continue
        severities = [result.row.condition.severity for result in curve]
        cers, lows, highs = zip(*map(_cer, curve), strict=True)
        axes.plot(severities, cers, label=short(plain(decoder)), **look)
        axes.fill_between(severities, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xlabel("severity (0: clean)")
    axes.set_ylabel("CER (%; band: 95 % interval)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="decoder", loc="best")
    return saved(figure, f"severity-{count}", title)


def _speed(count: int, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """CER of each system against lines/s, both with their spread."""
    first, several = results[0], len({result.names.encoder for result in results}) > 1
    encoder = "" if several else f"{first.names.encoder} on "
    title = f"CER against speed: {encoder}{_read(first)}"
    figure, axes = _canvas(title, first)
    points: list[tuple[float, float]] = []
    bars: list[Segment] = []
    for result in results:
        point, own = _drawn(axes, result, looks[result.names.decoder])
        points.append(point)
        bars += own
    axes.set_xscale("log")
    axes.margins(x=0.15)
    left, right = axes.get_xlim()
    few = right < 5 * left  # 1, 2, 5 may all lie outside
    axes.xaxis.set_major_locator(MaxNLocator(6) if few else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("speed of encoder + decoder (lines/s, log scale; bar: range of the rounds)")
    axes.set_ylabel("CER (%; bar: 95 % interval)")
    names = [
        f"{r.names.encoder} + {r.names.decoder}" if several else r.names.decoder for r in results
    ]
    place_labels(axes, points, [short(plain(name)) for name in names], bars)
    return saved(figure, f"cer-speed-{count}", title)


def _drawn(
    axes: Any, result: Result, look: Look
) -> tuple[tuple[float, float], tuple[Segment, Segment]]:
    """Draw a system; gives its point and its error bars."""
    assert result.row.timing is not None  # `draw` takes no others
    rate, (cer, low, high) = result.row.timing.lines_per_s, _cer(result)
    slow, fast = rate.median, rate.median
    if rate.n > 1:  # the range of one round is that of its batches, of short lines and of long
        slow, fast = min(rate.low, slow), max(rate.high, fast)
    axes.errorbar(
        [rate.median],
        [cer],
        xerr=[[rate.median - slow], [fast - rate.median]],
        yerr=[[cer - low], [high - cer]],
        elinewidth=0.8,
        capsize=2,
        capthick=0.8,
        **{**look, "linestyle": "none"},
    )
    return (rate.median, cer), (
        ((slow, cer), (fast, cer)),
        ((rate.median, low), (rate.median, high)),
    )


def _cer(result: Result) -> tuple[float, float, float]:
    """CER and its interval in percent; without an interval the CER thrice, without a CER NaN."""
    cer = math.nan if result.row.cer is None else result.row.cer
    low, high = (result.interval.low, result.interval.high) if result.interval else (cer, cer)
    return 100.0 * cer, 100.0 * min(low, cer), 100.0 * max(high, cer)


def _canvas(title: str, result: Result) -> tuple[Figure, Any]:
    """An empty plot whose head says what it shows and under which conditions."""
    runtime, setting = result.row.runtime, result.setting
    where = (
        f"{runtime.device} ({setting.machine}), {plural(runtime.threads, 'thread')}, "
        f"{runtime.dtype}, batch {runtime.batch_size}, {setting.software.partition(',')[0]}"
    )
    head = [line for text in (title, where) for line in textwrap.wrap(plain(text), _TITLE_WIDTH)]
    figure = Figure(figsize=_INCHES)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.12, top=0.96 - 0.04 * len(head))
    axes = figure.add_subplot()
    axes.set_title("\n".join(head), loc="left")
    return figure, axes


def look_of(index: int) -> Look:
    """Colour, marker and line of the so-many-th curve of a plot."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
        "markersize": 6,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "linewidth": 1.4,
        "clip_on": False,  # a CER of 0 lies on the axis
    }


def _read(result: Result) -> str:
    """The set and how much of it, in few words."""
    counts = result.row.counts
    lines = f", {plural(counts.lines, 'line')}" if counts else ""
    return f"{result.names.dataset} ({result.row.condition.split}{lines})"


def saved(figure: Figure, slug: str, title: str) -> Plot:
    """A figure in both formats, the same bytes for the same figure."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=160)
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return Plot(slug, plain(title), png.getvalue(), svg.getvalue())
