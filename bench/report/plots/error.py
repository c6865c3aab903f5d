"""CER against severity, and CER against speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from bench.analysis.cost import pareto
from bench.report.captions import say
from bench.report.format import plain, short, tick
from bench.report.plots.canvas import (
    Look,
    Plot,
    canvas,
    cer_percent,
    curve_with_band,
    legend_below,
    read_by,
    saved,
)
from bench.report.results import Result


def severity(slug: str, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """CER of each decoder against the severity of one damage, with the interval as a band."""
    last = results[-1]
    title = say(
        "CER by severity of {damage}: {encoder} on {set}",
        damage=last.names.damage,
        encoder=last.names.encoder,
        set=read_by(last),
    )
    figure, axes = canvas(title, last)
    for decoder, look in looks.items():
        curve = [result for result in results if result.names.decoder == decoder]
        if not curve:
            continue
        severities = [result.row.condition.severity for result in curve]
        curve_with_band(axes, decoder, severities, list(map(cer_percent, curve)), look)
    axes.set_ylabel(say("CER (%; band: 95 % interval)"))
    axes.set_ylim(bottom=0)
    severity_axis(axes)
    legend_below(figure, axes)
    return saved(figure, slug, title)


def severity_axis(axes: Any) -> None:
    """Severities from left to right."""
    axes.set_xlabel(say("severity (0: clean)"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def speed(slug: str, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """CER of each system against lines/s, both with their spread, and the Pareto front."""
    first, several = results[0], len({result.names.encoder for result in results}) > 1
    read = read_by(first) if several else f"{first.names.encoder}, {read_by(first)}"
    title = say("CER against speed: {read}", read=read)
    figure, axes = canvas(title, first)
    points: list[tuple[float, float]] = []
    bars: list[Segment] = []
    for result in results:
        point, own = _drawn(axes, result, looks[result.names.decoder])
        points.append(point)
        bars += own
    _front(axes, points)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    speed_ticks(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(
        say("speed of encoder + decoder (lines/s, log scale; bar: range of the rounds)")
    )
    axes.set_ylabel(say("CER (%; bar: 95 % interval)"))
    names = [
        f"{r.names.encoder} + {r.names.decoder}" if several else r.names.decoder for r in results
    ]
    place_labels(axes, points, [short(plain(name)) for name in names], bars)
    return saved(figure, slug, title)


def speed_ticks(axes: Any, steps: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Ticks of a logarithmic axis from left to right: these of each decade where it is long."""
    left, right = axes.get_xlim()
    few = right < 5 * left  # 1, 2, 5 may all lie outside
    axes.xaxis.set_major_locator(MaxNLocator(6) if few else LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _front(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """A step through the systems that no other beats in both: the least CER at each speed."""
    on = pareto([(cer, rate) for rate, cer in points])
    front = sorted(point for point, is_on in zip(points, on, strict=True) if is_on)
    rates, cers = zip(*front, strict=True)
    label = say("Pareto front")
    axes.step(rates, cers, where="pre", color="0.4", linewidth=0.9, zorder=1, label=label)
    axes.scatter(rates, cers, s=110, facecolors="none", edgecolors="0.4", linewidths=0.9, zorder=1)
    axes.legend(loc="best")


def _drawn(
    axes: Any, result: Result, look: Look
) -> tuple[tuple[float, float], tuple[Segment, Segment]]:
    """Draw a system; gives its point and its error bars."""
    assert result.row.timing is not None  # `draw` takes no others
    rate, (cer, low, high) = result.row.timing.lines_per_s, cer_percent(result)
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


# Names beside points without one lying on another


Segment = tuple[tuple[float, float], tuple[float, float]]

_GAP = 5.0  # printer's points between a point and its name
_FAR = 2.0  # gaps from which on a line leads back to the point
_LEADER = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.5", "shrinkA": 0, "shrinkB": 3}
# Where a name may stand from its point, best first: (right, up) in gaps.
_SIDES = (
    *((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0), (0.0, 1.5), (0.0, -1.5)),
    *((1.0, 3.5), (1.0, -3.5), (-1.0, 3.5), (-1.0, -3.5)),
    *((2.0, 6.0), (2.0, -6.0), (-2.0, 6.0), (-2.0, -6.0)),
)


def place_labels(
    axes: Any, points: Sequence[tuple[float, float]], names: Sequence[str], bars: Sequence[Segment]
) -> None:
    """Write each name where it covers least of points, bars and other names.

    Args:
        axes: with its limits and scales set; names stay inside of it where they can.
        points: in data coordinates.
        names: one a point.
        bars: error bars in data coordinates, from end to end.
    """
    scale = axes.figure.dpi / 72.0  # pixels a printer's point
    frame = axes.get_window_extent()
    taken = [_grown(axes, segment, 3.0 * scale) for segment in bars]
    taken += [_grown(axes, (point, point), 3.0 * scale) for point in points]
    for point, name in zip(points, names, strict=True):
        label = axes.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=8)
        size = label.get_window_extent()
        label.remove()
        origin = axes.transData.transform(point)
        boxes = [_beside(origin, size, side, _GAP * scale) for side in _SIDES]
        costs = [_covered(box, taken) + _outside(box, frame) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        corner = (boxes[best].x0 - origin[0], boxes[best].y0 - origin[1])
        axes.annotate(
            name,
            point,
            xytext=(corner[0] / scale, corner[1] / scale),
            textcoords="offset points",
            fontsize=8,
            arrowprops=_LEADER if abs(_SIDES[best][1]) > _FAR else None,
        )


def _beside(origin: Sequence[float], size: Bbox, side: tuple[float, float], gap: float) -> Bbox:
    """The box of a text on one side of a point, in pixels; 0 to the right is centred."""
    right, up = side
    x = origin[0] + right * gap - (0 if right > 0 else size.width if right < 0 else size.width / 2)
    y = origin[1] + up * gap - (0 if up > 0 else size.height)
    return Bbox.from_bounds(x, y, size.width, size.height)


def _grown(axes: Any, segment: Segment, by: float) -> Bbox:
    """The box around a segment in pixels, wider by so much on each side."""
    return Bbox(axes.transData.transform(segment)).padded(by)


def _covered(box: Bbox, others: Iterable[Bbox]) -> float:
    """Area of a box that lies on others."""
    return sum(_area(Bbox.intersection(box, other)) for other in others)


def _outside(box: Bbox, frame: Bbox) -> float:
    return _area(box) - _area(Bbox.intersection(box, frame))


def _area(box: Bbox | None) -> float:
    return float(box.width * box.height) if box is not None else 0.0
