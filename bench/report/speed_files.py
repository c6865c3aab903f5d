"""TrOCR's speed table as files of a run folder, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.core.files import write_atomically
from bench.report import render
from bench.report.speed_differences import differences
from bench.report.speed_plot import draw
from bench.report.speed_rows import SpeedRow
from bench.report.speed_table import ratio_table, speed_table


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
