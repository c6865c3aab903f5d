"""The panel that every plot of a run is drawn on: head, axes, bars and bands, legend and files.

Plots are readable in grey and for all kinds of colour vision, and the same plot has the same bytes.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bench.report.format import plain, plural, short, width_of, wrapped
from bench.report.language import in_force, language, say
from bench.report.results import Result

Ranged = tuple[float, float, float]  # a value, and the ends of its interval where it has one
Look = dict[str, Any]  # matplotlib's words for colour, marker and line

# Okabe and Ito's colours for all kinds of colour vision (https://jfly.uni-koeln.de/color/), with
# a marker and a line style each, so that none of the three is needed alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_SIZES = {"*": 10, "P": 7.5, "X": 7}  # thin ones, drawn larger
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_WIDE = 6.4  # inches
_TITLE_WIDTH = 88  # letters that fit above the axes, Japanese ones as two
_LEGEND_WIDTH = 84  # likewise below
# Inches: a line of the head, what is below the axes, a row of the legend, a margin.
_HEAD, _FOOT, _LEGEND, _MARGIN = 0.17, 0.5, 0.19, 0.25

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
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot: stem of its file names, title of one line, and its contents."""

    slug: str
    title: str
    png: bytes
    svg: bytes
    pdf: bytes

    @property
    def files(self) -> dict[str, bytes]:
        """Its files by name."""
        contents = {"png": self.png, "svg": self.svg, "pdf": self.pdf}
        return {f"{self.slug}.{suffix}": content for suffix, content in contents.items()}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of this project, in the current language where a font has its letters."""
    family = japanese_font()
    letters: Look = {"font.family": ["DejaVu Sans", *([family] if family else [])]}
    if in_force() == "ja":
        letters["pdf.fonttype"] = 3  # many fonts with Japanese letters are not TrueType
    with ExitStack() as stack:
        stack.enter_context(mpl.rc_context({**STYLE, **letters}))
        if family is None:
            stack.enter_context(language("en"))
        yield


def panels(width: float, height: float, count: int = 1, **more: Any) -> tuple[Figure, list[Any]]:
    """A figure (in inches) with axes side by side that share the vertical scale."""
    figure = Figure(figsize=(width, height), **more)
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


class Panel:
    """A plot with title and conditions in its head.

    where: conditions, or a result that has them.
    across, up: words at the axes.
    height: of the figure in inches, without a legend below.
    """

    def __init__(
        self, title: str, where: Result | str, across: str, up: str = "", height: float = 4.2
    ) -> None:
        where = where if isinstance(where, str) else _measured_on(where)
        head = [line for text in (title, where) for line in wrapped(plain(text), _TITLE_WIDTH)]
        self.title = title
        self.figure, (self.axes,) = panels(_WIDE, height)
        top = 1.0 - _HEAD * (1 + len(head)) / height
        self.figure.subplots_adjust(left=0.1, right=0.97, bottom=_FOOT / height, top=top)
        # The head begins where the figure does, however far the names of the rows push the axes.
        at = 1.0 - 0.5 * _HEAD / height
        self.figure.text(0.02, at, "\n".join(head), va="top", fontsize=9)
        self.axes.set_xlabel(across)
        self.axes.set_ylabel(up)

    def curve(
        self, label: str, places: Sequence[float], values: Sequence[Ranged], look: Look
    ) -> None:
        """A curve, with the intervals of its values as a band."""
        points, lows, highs = zip(*values, strict=True)
        self.axes.plot(places, points, label=short(plain(label)), **look)
        self.axes.fill_between(places, lows, highs, color=look["color"], alpha=0.15, linewidth=0)

    def points(
        self, label: str | None, across: Sequence[Ranged], up: Sequence[Ranged], look: Look,
        **more: Any,
    ) -> None:  # fmt: skip
        """Points with bars of their intervals; `more` are words of matplotlib's `errorbar`."""
        (x, xerr), (y, yerr) = map(_bars, (across, up))
        name = None if label is None else short(plain(label))
        style = {**look, "linestyle": "none", "elinewidth": 0.8, **more}
        self.axes.errorbar(x, y, xerr=xerr, yerr=yerr, label=name, **style)

    def name_rows(self, places: Sequence[float], names: Sequence[str]) -> None:
        """Write names left of the axes, and move the axes to fit the longest."""
        axes, figure = self.axes, self.figure
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        longest = max(label.get_window_extent().width for label in axes.get_yticklabels())
        figure.subplots_adjust(left=(longest / figure.dpi + _MARGIN) / figure.get_size_inches()[0])

    def plot(self, slug: str, legend: bool = True) -> Plot:
        """Finish the plot, with the legend in rows under the axes."""
        if legend:
            handles, labels = self.axes.get_legend_handles_labels()
            columns = max(1, _LEGEND_WIDTH // (max(map(width_of, labels)) + 6))
            rows = math.ceil(len(labels) / columns)
            self._grow(_LEGEND * rows + 0.05)
            ncols = min(columns, len(labels))
            self.figure.legend(handles, labels, loc="lower center", ncols=ncols)
        return saved(self.figure, slug, self.title)

    def _grow(self, by: float) -> None:
        """Add inches at the bottom; all else keeps its size and its distance to the top."""
        figure = self.figure
        width, height = figure.get_size_inches()
        inches = {side: height * getattr(figure.subplotpars, side) for side in ("top", "bottom")}
        figure.set_size_inches(width, height + by)
        figure.subplots_adjust(**{side: (at + by) / (height + by) for side, at in inches.items()})
        for text in figure.texts:
            text.set_y((text.get_position()[1] * height + by) / (height + by))


def _measured_on(result: Result) -> str:
    runtime, setting = result.row.runtime, result.setting
    return say(
        "{device} ({machine}), {threads}, {precision}, batch {size}, {software}",
        device=runtime.device,
        machine=setting.machine,
        threads=plural(runtime.threads, "thread"),
        precision=runtime.dtype,
        size=runtime.batch_size,
        software=setting.software.partition(",")[0],
    )


def _bars(values: Sequence[Ranged]) -> tuple[list[float], list[list[float]] | None]:
    """Values, and the distances of their intervals' ends; None without intervals."""
    below = [value - low for value, low, _ in values]
    above = [high - value for value, _, high in values]
    reach = [below, above] if any(below) or any(above) else None
    return [value for value, _, _ in values], reach


def alone(values: Sequence[float]) -> list[Ranged]:
    """Values without intervals."""
    return [(value, value, value) for value in values]


def speed_ticks(axes: Any) -> None:
    """Ticks of a logarithmic axis from left to right: 1, 2, 5 of each decade where it is long."""
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    few = right < 5 * left  # 1, 2, 5 may all lie outside
    axes.xaxis.set_major_locator(MaxNLocator(6) if few else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def look_of(index: int) -> Look:
    """Colour, marker and line of a plot's curve by index."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
        "markersize": _SIZES.get(_MARKERS[index % len(_MARKERS)], 6),
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "linewidth": 1.4,
        "clip_on": False,  # a CER of 0 lies on the axis
    }


def saved(figure: Figure, slug: str, title: str) -> Plot:
    """A figure in all formats, the same bytes for the same figure."""
    png, svg, pdf = (_saved_as(figure, kind) for kind in ("png", "svg", "pdf"))
    return Plot(slug, plain(title), png, svg, pdf)


def _saved_as(figure: Figure, kind: str) -> bytes:
    """A figure as "png", "svg" or "pdf", the same bytes for the same figure."""
    out = io.BytesIO()
    dates = {"svg": "Date", "pdf": "CreationDate"}
    still = {dates[kind]: None} if kind in dates else {}
    figure.savefig(out, format=kind, dpi=160, metadata=still)
    return out.getvalue()


# A font with Japanese letters, where this machine has one


# Families in order of preference, as fonts name themselves; all of them have kana and kanji.
FAMILIES = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAPGothic",
    "IPAGothic", "TakaoPGothic", "TakaoGothic", "VL PGothic", "VL Gothic", "BIZ UDPGothic",
    "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Yu Gothic", "Meiryo", "MS PGothic",
    "Noto Serif CJK JP", "IPAexMincho", "IPAPMincho", "IPAMincho",
)  # fmt: skip
# Parts of their files' names: matplotlib's list of fonts is older than a font just installed.
_FONT_FILES = ("notosanscjk", "notosansjp", "sourcehansans", "ipaexg", "ipagp", "ipag", "takao")

NO_FONT = (
    "no font with Japanese letters was found, so the plots have English words; install one, for "
    "example with: sudo apt-get install fonts-ipafont"
)


@functools.cache
def japanese_font() -> str | None:
    """The family of a font with Japanese letters, or None."""
    return _known_font() or _just_installed()


def _known_font() -> str | None:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return next((family for family in FAMILIES if family in names), None)


def _just_installed() -> str | None:
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in listed and Path(file).name.lower().startswith(_FONT_FILES):
            font_manager.fontManager.addfont(file)
    return _known_font()
