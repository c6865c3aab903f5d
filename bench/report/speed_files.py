"""TrOCR's speed table as files of a run folder: tables, what differs from the paper, a plot."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.analysis.speed.job import SENTENCES
from bench.core.files import write_atomically
from bench.core.types import UNTRAINED
from bench.report import render
from bench.report.format import listing, plain, plural
from bench.report.plots import COLOURS, Plot, drawing, panels, saved
from bench.report.plots.error import speed_ticks
from bench.report.speed_rows import SpeedRow
from bench.report.speed_table import count_range, label, ratio_table, speed_table


def write(folder: Path, rows: Sequence[SpeedRow]) -> list[Path]:
    """Write speed.md (tables, what differs from the paper, plot), and the same for programs.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    table, ratios, plot = speed_table(rows), ratio_table(rows), draw(rows)
    further = [render.markdown(ratios)] if ratios else []
    parts = [
        "# The speed table of TrOCR\n",
        render.markdown(table),
        "## What differs from the paper\n",
        *(f"- {render.markdown_text(sentence)}" for sentence in differences(rows)),
        "",
        *further,
        f"![{render.markdown_text(plot.title)}]({plot.slug}.png)\n",
    ]
    files = {
        "speed.md": "\n".join(parts).encode(),
        "speed.csv": render.spreadsheet(table).encode("utf-8-sig"),
        "speed.tex": render.latex(table).encode(),
        "speed.json": (json.dumps([row.record() for row in rows], indent=2) + "\n").encode(),
        **({"speed-ratios.csv": render.spreadsheet(ratios).encode("utf-8-sig")} if ratios else {}),
        f"{plot.slug}.png": plot.png,
        f"{plot.slug}.svg": plot.svg,
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


# What differs between the speed table of the TrOCR paper and ours, in sentences


def differences(rows: Sequence[SpeedRow]) -> list[str]:
    """What differs between the paper's measurement and this one, a sentence or two each."""
    told = [
        "The paper states neither the GPU nor the number of GPUs, batch size or precision of its "
        "speed table. Absolute times are therefore no comparison; the ratios of "
        "the sizes are the fairer check, since the machine cancels out of them."
    ]
    measured = [row for row in rows if row.result and row.figures]
    if not measured:
        return told
    first = measured[0].result
    assert first is not None
    runtime, condition = first.row.runtime, first.row.condition
    told.append(
        f"Here: {plain(first.setting.machine)}, device {runtime.device}, "
        f"{plural(runtime.threads, 'thread')}, {first.setting.software}. The "
        "search is transformers' with a KV cache, the paper's is fairseq's."
    )
    if untrained := sorted({row.model for row in measured if row.weights == UNTRAINED}):
        told.append(
            f"The weights of {listing(untrained)} are not here (python -m bench weights get NAME "
            "fetches them): random weights of the same architecture did the same work, each line "
            "made to emit as many tokens as its width lets expect, on average as many as in the "
            "paper's table. They are marked untrained and have no CER."
        )
    if condition.dataset != "iam":
        told.append(
            f"Lines are those of {plain(first.names.dataset)}, not of IAM: the encoder's work "
            "does not depend on them, the decoder's does through their number of tokens."
        )
    cut = sorted({row.figures.measured_lines for row in measured if row.figures})
    if cut != [SENTENCES]:
        told.append(
            f"The paper read {SENTENCES:,} lines, here {count_range(cut)} were read: totals are "
            "extrapolated, speeds are measured."
        )
    told.append(
        "The paper's timer counts its first batch, in which the machine warms up; here that is "
        "left out."
    )
    return told


# The plot: sentences/s of every system, the paper's above ours


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
    with drawing():
        figure, (axes,) = panels(_WIDTH, _HEAD + _LINE * len(shown), layout="constrained")
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
        speed_ticks(axes, (1.0,))
        axes.set_xlabel("sentences/s (log scale; bar: range)")
        axes.set_title("\n".join((title, *textwrap.wrap(_where(shown), _LETTERS))), loc="left", x=0)
        return saved(figure, "speed", title)
