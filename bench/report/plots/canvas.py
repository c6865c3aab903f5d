"""What every plot is drawn on: style, colours, fonts, head and files.

Plots are readable in grey and for all kinds of colour vision, and the same plot has the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.captions import in_force, language, say
from bench.report.format import plain, plural, short
from bench.report.plots import fonts
from bench.report.results import Result
from datasets.about import about

Spread = tuple[float, float, float]  # a value, and the ends of its interval
Look = dict[str, Any]  # matplotlib's words for colour, marker and line

# Okabe and Ito's colours for all kinds of colour vision (https://jfly.uni-koeln.de/color/), with
# a marker and a line style each, so that none of the three is needed alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_SIZES = {"*": 10, "P": 7.5, "X": 7}  # thin ones, drawn larger
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", "....")  # of areas, beside their colours
_INCHES = (6.4, 4.2)
_TITLE_WIDTH = 88  # letters that fit above the axes, Japanese ones as two
_LEGEND_WIDTH = 84  # likewise below
# Inches: a line of the head, what is below the axes, a row of the legend, a margin.
_HEAD, _FOOT, _LEGEND, _MARGIN = 0.17, 0.5, 0.19, 0.25
# A piece that stays on one line: a word, or a Japanese letter with what may not begin a line.
_PIECE = re.compile(r"(?:[^\s\u3000-\u9fff\uff00-\uffef]+|.)[、。)]*")

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
    """A drawn plot.

    slug: stem of its file names.
    title: what it shows, one line.
    """

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
    """Draw in the style of this project, in the language in force where a font has its letters."""
    family = fonts.japanese()
    letters: Look = {"font.family": ["DejaVu Sans", *([family] if family else [])]}
    if in_force() == "ja":
        letters["pdf.fonttype"] = 3  # many fonts with Japanese letters are not TrueType
    with ExitStack() as stack:
        stack.enter_context(mpl.rc_context({**STYLE, **letters}))
        if family is None:
            stack.enter_context(language("en"))
        yield


def panels(width: float, height: float, count: int = 1, **more: Any) -> tuple[Figure, list[Any]]:
    """A figure of so many inches with axes side by side, which share their scale upwards."""
    figure = Figure(figsize=(width, height), **more)
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def canvas(title: str, result: Result, height: float = _INCHES[1]) -> tuple[Figure, Any]:
    """An empty plot whose head says what it shows and under which conditions.

    Args:
        title: what it shows.
        result: one of its results, for the conditions.
        height: of the figure in inches, without a legend below.
    """
    runtime, setting = result.row.runtime, result.setting
    where = say(
        "{device} ({machine}), {threads}, {precision}, batch {size}, {software}",
        device=runtime.device,
        machine=setting.machine,
        threads=plural(runtime.threads, "thread"),
        precision=runtime.dtype,
        size=runtime.batch_size,
        software=setting.software.partition(",")[0],
    )
    head = [line for text in (title, where) for line in wrapped(plain(text))]
    figure, (axes,) = panels(_INCHES[0], height)
    top = 1.0 - _HEAD * (1 + len(head)) / height
    figure.subplots_adjust(left=0.1, right=0.97, bottom=_FOOT / height, top=top)
    # The head begins where the figure does, however far the names of the rows push the axes.
    figure.text(0.02, 1.0 - 0.5 * _HEAD / height, "\n".join(head), va="top", fontsize=9)
    return figure, axes


def wrapped(text: str) -> list[str]:
    """A text in lines of `_TITLE_WIDTH` letters, Japanese ones as two."""
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1] and _width(lines[-1] + piece) > _TITLE_WIDTH:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _width(text: str) -> int:
    """Letters of a text, wide ones as two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def legend_below(figure: Figure, axes: Any) -> None:
    """The legend in rows under the axes, where no curve can lie; the figure grows by it."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, _LEGEND_WIDTH // (max(map(_width, labels)) + 6))
    rows = math.ceil(len(labels) / columns)
    _grow(figure, _LEGEND * rows + 0.05)
    figure.legend(handles, labels, loc="lower center", ncols=min(columns, len(labels)))


def _grow(figure: Figure, by: float) -> None:
    """Add inches at the bottom; all else keeps its size and its distance to the top."""
    width, height = figure.get_size_inches()
    inches = {side: height * getattr(figure.subplotpars, side) for side in ("top", "bottom")}
    figure.set_size_inches(width, height + by)
    figure.subplots_adjust(**{side: (at + by) / (height + by) for side, at in inches.items()})
    for text in figure.texts:
        text.set_y((text.get_position()[1] * height + by) / (height + by))


def name_rows(figure: Figure, axes: Any, places: Sequence[float], names: Sequence[str]) -> None:
    """Names left of the axes, which begin where the longest one ends."""
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    longest = max(label.get_window_extent().width for label in axes.get_yticklabels())
    figure.subplots_adjust(left=(longest / figure.dpi + _MARGIN) / figure.get_size_inches()[0])


def curve_with_band(
    axes: Any, label: str, places: Sequence[float], values: Sequence[Spread], look: Look
) -> None:
    """A curve, with the intervals of its values as a band; values are (value, low, high)."""
    points, lows, highs = zip(*values, strict=True)
    axes.plot(places, points, label=short(plain(label)), **look)
    axes.fill_between(places, lows, highs, color=look["color"], alpha=0.15, linewidth=0)


def bars(values: Sequence[Spread]) -> tuple[list[float], list[list[float]]]:
    """Values, and how far each interval reaches below and above its value."""
    below = [value - low for value, low, _ in values]
    above = [high - value for value, _, high in values]
    return [value for value, _, _ in values], [below, above]


def cer_percent(result: Result) -> Spread:
    """CER and its interval in percent; without an interval the CER thrice, without a CER NaN."""
    cer = math.nan if result.row.cer is None else result.row.cer
    low, high = (result.interval.low, result.interval.high) if result.interval else (cer, cer)
    return 100.0 * cer, 100.0 * min(low, cer), 100.0 * max(high, cer)


def read_by(result: Result) -> str:
    """The set and how much of it, in few words."""
    counts = result.row.counts
    lines = [plural(counts.lines, "line")] if counts else []
    made = [say("synthetic")] if about(result.row.condition.dataset).synthetic else []
    return f"{result.names.dataset} ({', '.join([*made, result.row.condition.split, *lines])})"


def look_of(index: int) -> Look:
    """Colour, marker and line of the so-many-th curve of a plot."""
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
