"""TrOCR's speed table as a plot: sentences/s of every system, the paper's above ours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.format import plain, plural, tick
from bench.report.plots import COLOURS, STYLE, Plot, saved
from bench.report.speed_rows import SpeedRow
from bench.report.speed_table import label

_WIDTH, _HEAD, _LINE = 7.0, 1.4, 0.2  # inches: of the figure, around its rows, of a row
_LETTERS = 62  # of a title line


def _where(rows: Sequence[SpeedRow]) -> str:
    """The machine of the filled marks; what it is that is hollow."""
    hollow = "hollow: reported by Li et al. (2021) from a machine that they do not name"
    result = next((row.result for row in rows if row.result), None)
    if result is None:
        return hollow
    threads = plural(result.row.runtime.threads, "thread")
    return plain(f"filled: measured on {result.setting.machine}, {threads}; {hollow}")


def draw(rows: Sequence[SpeedRow]) -> Plot:
    """A mark for each row that has figures, with the range of its repetitions."""
    shown = [row for row in rows if row.figures]
    models = list(dict.fromkeys(row.model for row in shown))
    title = "Sentences/s as in TrOCR's speed table"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, _HEAD + _LINE * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for place, row in enumerate(shown):
            assert row.figures is not None
            rate = row.figures.sentences_per_s
            colour = COLOURS[models.index(row.model) % len(COLOURS)]
            reported = row.origin == "reported"
            axes.errorbar(
                [rate.median],
                [place],
                xerr=[[rate.median - rate.low], [rate.high - rate.median]],
                marker="s" if reported else "o",
                markerfacecolor="white" if reported else colour,
                color=colour,
                elinewidth=0.8,
                capsize=2,
            )
        axes.set_yticks(range(len(shown)), [label(row) for row in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_major_formatter(lambda value, _: tick(value))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("sentences/s (log scale; bar: range)")
        axes.set_title("\n".join((title, *textwrap.wrap(_where(shown), _LETTERS))), loc="left", x=0)
        return saved(figure, "speed", title)
