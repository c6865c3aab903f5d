"""How flat the CER lies around the weights that a tuning found.

A sharp minimum is one of the lines it was tuned on; what lies flat carries over to others.
"""

from __future__ import annotations

import re
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.report.format import percent
from bench.report.plots import COLOURS, STYLE, Plot, saved
from bench.report.tuning import Slice, as_good, grid_slice
from decoders.tuned import Tuned

_MAP = "cividis_r"  # rises in lightness alike in colour, in grey and for all kinds of colour vision


def draw(tuned: Tuned) -> Plot:
    """The map of a tuning: a field of the grid, a curve of one option, or each option's trials."""
    title = f"CER of {tuned.decoder} behind {tuned.encoder} on {tuned.dataset} ({tuned.split})"
    found = grid_slice(tuned)
    with mpl.rc_context(STYLE):
        if found is None:
            figure = _trials(tuned)
        elif found.across and len(found.columns) > 1:
            figure = _field(found, tuned)
        else:
            figure = _curve(found, tuned)
        figure.suptitle(
            f"{title}\n{tuned.lines} lines, each clean and damaged; "
            "outlined: not significantly worse than the best (star)",
            fontsize=9,
        )
        figure.tight_layout()
        return saved(figure, _slug(tuned), title)


def _slug(tuned: Tuned) -> str:
    """A file name of the names, whatever an encoder's path or a corrector has in it."""
    return re.sub(r"[^\w.-]+", "_", f"tuning-{tuned.decoder}-{tuned.encoder}")


def _field(found: Slice, tuned: Tuned) -> Figure:
    figure = Figure(figsize=(1.6 + 0.72 * len(found.columns), 1.6 + 0.5 * len(found.rows)))
    axes = figure.add_subplot()
    points = [[found.point[down, across] for across in found.columns] for down in found.rows]
    cers = np.array([[point["cer"] for point in row] for row in points])
    image = axes.imshow(100 * cers, cmap=_MAP, aspect="auto", origin="lower")
    dark = (cers - cers.min()) / max(float(np.ptp(cers)), 1e-9) > 0.5
    for (y, x), cer in np.ndenumerate(cers):
        best = (found.rows[y], found.columns[x]) == _best(found, tuned)
        text = f"{percent(cer)}{' ★' if best else ''}"
        axes.text(x, y, text, ha="center", va="center", color="white" if dark[y, x] else "black")
        if as_good(points[y][x]):
            axes.add_patch(_outline(x, y))
    axes.set_xticks(range(len(found.columns)), [f"{value:g}" for value in found.columns])
    axes.set_yticks(range(len(found.rows)), [f"{value:g}" for value in found.rows])
    axes.set_xlabel(found.across)
    axes.set_ylabel(found.down)
    axes.grid(False)
    figure.colorbar(image, label="CER (%)")
    return figure


def _curve(found: Slice, tuned: Tuned) -> Figure:
    figure = Figure(figsize=(5.6, 3.6))
    axes = figure.add_subplot()
    points = [found.point[value, found.columns[0]] for value in found.rows]
    axes.plot(found.rows, [100 * point["cer"] for point in points], color=COLOURS[0])
    for value, point in zip(found.rows, points, strict=True):
        _mark(axes, value, point, best=(value, found.columns[0]) == _best(found, tuned))
    axes.set_xlabel(found.down)
    axes.set_ylabel("CER (%)")
    return figure


def _trials(tuned: Tuned) -> Figure:
    """Of each option the CER of every trial."""
    figure = Figure(figsize=(1.0 + 2.6 * len(tuned.grid), 3.4))
    panels = figure.subplots(1, len(tuned.grid), sharey=True, squeeze=False)[0]
    best = min(tuned.cer_map, key=lambda point: point["cer"])
    for axes, option in zip(panels, tuned.grid, strict=True):
        for point in tuned.cer_map:
            _mark(axes, point[option], point, best=point is best)
        axes.set_xlabel(option)
    panels[0].set_ylabel("CER (%)")
    return figure


def _mark(axes: Any, value: float, point: Any, best: bool) -> None:
    axes.plot(
        [value], [100 * point["cer"]], "*" if best else "o", color=COLOURS[0],
        markersize=13 if best else 6, markeredgewidth=1.5,
        markeredgecolor="black" if as_good(point) else "none",
        zorder=3 if best else 2,
    )  # fmt: skip


def _outline(x: int, y: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.6)


def _best(found: Slice, tuned: Tuned) -> tuple[float, float]:
    best = tuned.best
    return best[found.down], best.get(found.across, 0.0)
