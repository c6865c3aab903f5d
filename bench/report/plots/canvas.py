"""What every plot is drawn on: style, colours, fonts, head and files.

Plots are readable in grey and for all kinds of colour vision, and the same plot has the same bytes.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.captions import in_force, language, say
from bench.report.format import plain, plural
from bench.report.plots import fonts
from bench.report.results import Result

Look = dict[str, Any]  # matplotlib's words for colour, marker and line

# Okabe and Ito's colours for all kinds of colour vision (https://jfly.uni-koeln.de/color/), with
# a marker and a line style each, so that none of the three is needed alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", "....")  # of areas, beside their colours
_INCHES = (6.4, 4.2)
_TITLE_WIDTH = {"en": 88, "ja": 52}  # letters that fit above the axes
_HEAD, _FOOT = 0.17, 0.5  # inches: of a line of the head, of what is below the axes

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


def canvas(
    title: str, result: Result, height: float = _INCHES[1], left: float = 0.1
) -> tuple[Figure, Any]:
    """An empty plot whose head says what it shows and under which conditions.

    Args:
        title: what it shows.
        result: one of its results, for the conditions.
        height: of the figure in inches.
        left: where the axes begin, as a share of the width.
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
    width = _TITLE_WIDTH[in_force()]
    head = [line for text in (title, where) for line in textwrap.wrap(plain(text), width)]
    figure = Figure(figsize=(_INCHES[0], height))
    FigureCanvasAgg(figure)
    top = 1.0 - _HEAD * (1 + len(head)) / height
    figure.subplots_adjust(left=left, right=0.97, bottom=_FOOT / height, top=top)
    axes = figure.add_subplot()
    # The head begins where the figure does, however far the names of the rows push the axes.
    figure.text(0.02, 1.0 - 0.5 * _HEAD / height, "\n".join(head), va="top", fontsize=9)
    return figure, axes


def cer_percent(result: Result) -> tuple[float, float, float]:
    """CER and its interval in percent; without an interval the CER thrice, without a CER NaN."""
    cer = math.nan if result.row.cer is None else result.row.cer
    low, high = (result.interval.low, result.interval.high) if result.interval else (cer, cer)
    return 100.0 * cer, 100.0 * min(low, cer), 100.0 * max(high, cer)


def read_by(result: Result) -> str:
    """The set and how much of it, in few words."""
    counts = result.row.counts
    lines = f", {plural(counts.lines, 'line')}" if counts else ""
    return f"{result.names.dataset} ({result.row.condition.split}{lines})"


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


def saved(figure: Figure, slug: str, title: str) -> Plot:
    """A figure in all formats, the same bytes for the same figure."""
    png, svg, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=160)
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return Plot(slug, plain(title), png.getvalue(), svg.getvalue(), pdf.getvalue())
