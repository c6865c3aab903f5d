"""A tuning as a table (a slice of its grid, or the best of its points) and a plot."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.conditions import nouns
from bench.report.format import listing, percent, plural
from bench.report.language import say, say_name
from bench.report.panel import COLOURS, Plot, drawing, panels, saved
from bench.report.results import marked
from bench.report.table import Cell, Column, Table, declared, keys, rate
from datasets.about import about
from decoders.tuned import Tuned

ALPHA = 0.05  # a point is worse than the best when its gap is less likely than this by chance

_LISTED = 20


def table(tuned: Tuned) -> Table:
    """CER over the first two varying options, the others at their best; without a grid a list."""
    title = say(
        "Tuning of {decoder} behind {encoder}", decoder=tuned.decoder, encoder=tuned.encoder
    )
    shown = grid_slice(tuned)
    if shown is None:  # the best points that were tried, one a row
        ranked = sorted(tuned.cer_map, key=lambda point: point["cer"])[:_LISTED]
        columns = [*map(_option, tuned.grid), Column(say("CER %"), _cer)]
        return declared("tuning", title, _conditions(tuned), columns, ranked)
    head = f"{shown.down}\\{shown.across}" if shown.across else shown.down

    def column(across: float) -> Column[float]:
        head = f"{across:g}" if shown.across else say("CER %")
        return Column(head, lambda down: _cer(shown.point[down, across]))

    lines = [*keys([head], lambda down: f"{down:g}"), *map(column, shown.columns)]
    return declared("tuning", title, _conditions(tuned), lines, shown.rows)


def _option(name: str) -> Column[Mapping[str, float]]:
    return Column(name, lambda point: f"{point[name]:.3g}", key=True)


@dataclass(frozen=True)
class Slice:
    """Two options of a grid, the others at their best.

    down, across: the options; "" across where only one varies.
    point: of each pair of values its entry of the map.
    """

    down: str
    across: str
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    point: Mapping[tuple[float, float], Mapping[str, float]]


def grid_slice(tuned: Tuned) -> Slice | None:
    """The slice of the grid that a table and a plot show; None where no grid was searched."""
    if len(tuned.cer_map) != math.prod(map(len, tuned.grid.values())):
        return None
    varying = [name for name, values in tuned.grid.items() if len(values) > 1]
    names = [*varying, *(name for name in tuned.grid if name not in varying)]
    down, across, *others = [*names, *([""] * (2 - len(names)))]
    best = tuned.best
    point = {
        (point[down], point.get(across, 0.0)): point
        for point in tuned.cer_map
        if all(point[other] == best[other] for other in others)
    }
    return Slice(down, across, tuned.grid[down], tuned.grid.get(across, (0.0,)), point)


def as_good(point: Mapping[str, float]) -> bool:
    """Whether a point is not significantly worse than the best; False if not tested."""
    return point.get("p", 0.0) >= ALPHA


def _conditions(tuned: Tuned) -> str:
    best = [f"{option} {value:g}" for option, value in tuned.best.items()]
    # A first pass that a model rescores may itself be without one.
    language = say("Language model {hash}. ", hash=tuned.lm_sha256[:8]) if tuned.lm_sha256 else ""
    level = ""
    if any("p" in point for point in tuned.cer_map):
        level = say(
            " Bold (in a terminal starred): the {flat} of {points} tried that are not "
            "significantly worse than the best (two-sided, {blocks} randomised, p of {alpha}).",
            flat=sum(map(as_good, tuned.cer_map)),
            points=plural(len(tuned.cer_map), "point"),
            blocks=nouns(about(tuned.dataset).block or "writer"),
            alpha=f"{ALPHA:g}",
        )
    return say(
        "CER % (micro) on {lines} of {set}, split {split}, read by {encoder}@{weights}: {under}. "
        "{language}Best: {best}, CER {cer} %; without language (greedy) {greedy} %.{level}",
        lines=plural(tuned.lines, "line"),
        set=marked(tuned.dataset),
        split=tuned.split,
        encoder=tuned.encoder,
        weights=tuned.weights[:8],
        under=listing(list(map(_condition, tuned.conditions))),
        language=language,
        best=listing(best),
        cer=percent(tuned.cer),
        greedy=percent(tuned.greedy_cer),
        level=level,
    )


def _condition(words: str) -> str:
    """A condition in the current language: "clean", or a damage with its severity."""
    damage, space, severity = words.partition(" ")
    return f"{say_name(damage)}{space}{severity}"


def at_the_edge(tuned: Tuned) -> Iterator[str]:
    """A sentence for each option whose best value is at the edge of the grid."""
    for option, values in tuned.grid.items():
        best = tuned.best[option]
        if len(values) > 1 and best in (min(values), max(values)):
            words = (
                "the best {option}, {best}, is at the edge of the grid; there may be a better one "
                "beyond: --grid {option}=..."
            )
            yield say(words, option=option, best=f"{best:g}")


def _cer(point: Mapping[str, float]) -> Cell:
    return rate(point["cer"], bold=as_good(point))


_MAP = "cividis_r"  # rises in lightness alike in colour, in grey and for all kinds of colour vision


def draw(tuned: Tuned) -> Plot:
    """The map of a tuning: a field of the grid, or the points of each option."""
    shown = grid_slice(tuned)
    with drawing():
        title = say(
            "CER of {decoder} behind {encoder} on {set} ({split})",
            decoder=tuned.decoder,
            encoder=tuned.encoder,
            set=tuned.dataset,
            split=tuned.split,
        )
        below = say(
            "{lines}, each clean and damaged; outlined: not significantly worse than the best "
            "(star)"
            if len(tuned.conditions) > 1
            else "{lines}; outlined: not significantly worse than the best (star)",
            lines=plural(tuned.lines, "line"),
        )
        if shown is None:
            figure = _points(tuned, list(tuned.grid), tuned.cer_map)
        elif len(shown.columns) > 1:
            figure = _field(shown, tuned)
        else:
            figure = _points(tuned, [shown.down], list(shown.point.values()))
        figure.suptitle(f"{title}\n{below}", fontsize=9)
        figure.tight_layout()
        return saved(figure, _slug(tuned), title)


def _slug(tuned: Tuned) -> str:
    """A safe file name from the names of decoder and encoder."""
    return re.sub(r"[^\w.-]+", "_", f"tuning-{tuned.decoder}-{tuned.encoder}")


def _field(shown: Slice, tuned: Tuned) -> Figure:
    figure, (axes,) = panels(1.6 + 0.72 * len(shown.columns), 1.6 + 0.5 * len(shown.rows))
    points = [[shown.point[down, across] for across in shown.columns] for down in shown.rows]
    cers = np.array([[point["cer"] for point in row] for row in points])
    image = axes.imshow(100 * cers, cmap=_MAP, aspect="auto", origin="lower")
    dark = (cers - cers.min()) / max(float(np.ptp(cers)), 1e-9) > 0.5
    for (y, x), cer in np.ndenumerate(cers):
        best = all(points[y][x][name] == value for name, value in tuned.best.items())
        text = f"{percent(cer)}{' ★' if best else ''}"
        axes.text(x, y, text, ha="center", va="center", color="white" if dark[y, x] else "black")
        if as_good(points[y][x]):
            outline = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, linewidth=1.6)
            axes.add_patch(outline)
    axes.set_xticks(range(len(shown.columns)), [f"{value:g}" for value in shown.columns])
    axes.set_yticks(range(len(shown.rows)), [f"{value:g}" for value in shown.rows])
    axes.set_xlabel(shown.across)
    axes.set_ylabel(shown.down)
    axes.grid(False)
    figure.colorbar(image, label=say("CER (%)"))
    return figure


def _points(tuned: Tuned, options: Sequence[str], points: Sequence[Mapping[str, float]]) -> Figure:
    """The CER of points by each option."""
    figure, beside = panels(max(5.6, 1.0 + 2.6 * len(options)), 3.5, len(options))
    best = min(tuned.cer_map, key=lambda point: point["cer"])
    for axes, option in zip(beside, options, strict=True):
        for point in points:
            _mark(axes, point[option], point, best=point is best)
        axes.set_xlabel(option)
    beside[0].set_ylabel(say("CER (%)"))
    return figure


def _mark(axes: Any, value: float, point: Any, best: bool) -> None:
    axes.plot(
        [value], [100 * point["cer"]], "*" if best else "o", color=COLOURS[0],
        markersize=13 if best else 6, markeredgewidth=1.5,
        markeredgecolor="black" if as_good(point) else "none",
        zorder=3 if best else 2,
    )  # fmt: skip
