"""The confusions of a condition as a heat map, a panel for each decoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from bench.analysis.misreadings.profile import Pair, Profile
from bench.report.captions import say
from bench.report.errors import Shown
from bench.report.format import plain, tick
from bench.report.plots.canvas import drawing, read_by, saved_as, wrapped

MOST = 24  # characters on an axis that are still read at the size of a page

_NOTHING, _SPACE = "∅", "␣"
_ABREAST = 3
_PANEL = 3.4  # inches
_HEAD = 0.9
_LETTERS = 48  # of the head above a panel
# The lightest of them would not be told from white, which is "never".
_COLOURS = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.2, 1, 256)))
_NUMBERED = 2  # panels from which on there is no room for the counts


def heatmap(shown: Shown, kind: str, most: int = MOST) -> bytes:
    """Draw how often each character was read as each other, in the language in force.

    Blues run from light to dark, to colour-blind eyes and in grey too, over a logarithmic scale
    that all panels share.

    Args:
        shown: the condition.
        kind: "svg", "pdf" or "png".
        most: characters on each axis, those that most edits have to do with; beside them stands
            "nothing", for deletions and insertions.
    """
    profiles = shown.analysis.profiles
    counted = [profile.pairs("character") for profile in profiles]
    axis = ["", *_busiest(counted, most)]
    grids = [_grid(counts, axis) for counts in counted]
    abreast = min(_ABREAST, len(grids))
    down = math.ceil(len(grids) / abreast)
    with drawing(), mpl.rc_context({"axes.grid": False}):
        size = abreast * _PANEL + 1.2, down * _PANEL + _HEAD
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(down, abreast, squeeze=False).flatten()
        norm = LogNorm(1, max(2, *(grid.max() for grid in grids)))
        for panel, grid, decoder, profile in zip(
            panels, grids, shown.decoders, profiles, strict=False
        ):
            drawn = _draw(panel, grid, axis, norm, len(grids) <= _NUMBERED)
            panel.set_title(_title(decoder, grid, profile), loc="left")
        for panel in panels[len(grids) :]:
            panel.set_axis_off()
        bar = figure.colorbar(drawn, ax=panels.tolist(), label=say("times (log scale)"), shrink=0.6)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: tick(value))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        head = wrapped(f"{_name(shown)}; {_legend()}", _LETTERS * abreast)
        figure.suptitle("\n".join(head), x=0.01, ha="left", fontsize=9)
        figure.supxlabel(say("read"), fontsize=9)
        figure.supylabel(say("reference"), fontsize=9)
        return saved_as(figure, kind)


def _busiest(counted: Sequence[Counter[Pair]], most: int) -> list[str]:
    """The characters of most edits over all systems, in the order of the alphabet."""
    busy: Counter[str] = Counter()
    for counts in counted:
        for pair, count in counts.items():
            busy.update({side: count for side in pair if side})
    chosen = sorted(busy, key=lambda character: (-busy[character], character))[:most]
    return sorted(chosen, key=lambda c: (not c.isalpha(), c.casefold(), c))


def _grid(counts: Counter[Pair], axis: Sequence[str]) -> NDArray[np.int64]:
    """(reference, read) counts of the pairs on the axes."""
    return np.array([[counts[truth, read] for read in axis] for truth in axis], np.int64)


def _draw(
    panel: Any, grid: NDArray[np.int64], axis: Sequence[str], norm: LogNorm, numbered: bool
) -> Any:
    """One decoder; what never happens stays white."""
    drawn = panel.imshow(np.where(grid, grid, np.nan), cmap=_COLOURS, norm=norm)
    names = [{"": _NOTHING, " ": _SPACE}.get(c) or plain(c) or f"U+{ord(c):04X}" for c in axis]
    panel.set_xticks(range(len(axis)), names, fontsize=7)
    panel.set_yticks(range(len(axis)), names, fontsize=7)
    panel.tick_params(length=0)
    panel.set_xticks(np.arange(len(axis)) - 0.5, minor=True)
    panel.set_yticks(np.arange(len(axis)) - 0.5, minor=True)
    panel.grid(which="minor", color="0.92", linewidth=0.4)
    panel.tick_params(which="minor", length=0)
    if numbered:
        for row, column in np.argwhere(grid):
            dark = norm(grid[row, column]) > 0.55
            colour = "white" if dark else "black"
            text = str(grid[row, column])
            panel.text(column, row, text, ha="center", va="center", fontsize=5, color=colour)
    return drawn


def _title(decoder: str, grid: NDArray[np.int64], profile: Profile) -> str:
    """The decoder, and how many of its edits the panel holds."""
    return say(
        "{decoder}: {held} of {all} edits",
        decoder=plain(decoder),
        held=f"{grid.sum():,}",
        all=f"{profile.kinds.total():,}",
    )


def _name(shown: Shown) -> str:
    first = shown.results[0]
    severity = first.row.condition.severity
    return say(
        "Characters confused: {encoder} on {set}, {damage}",
        encoder=first.names.encoder,
        set=read_by(first),
        damage=f"{first.names.damage} {severity}" if severity else say("clean"),
    )


def _legend() -> str:
    return say(
        "{nothing} read is a deletion, {nothing} in the reference an insertion, {space} a space",
        nothing=_NOTHING,
        space=_SPACE,
    )
