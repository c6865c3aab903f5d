"""Names beside points without one lying on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.transforms import Bbox

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
