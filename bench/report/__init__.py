"""From rows to tables and plots: the only place that rounds.

`write` leaves files in the run folder, `terminal` gives the main tables as text:

    report.md           every table with its conditions, and the plots
    tables/NAME.tex     a table for LaTeX (booktabs)
    tables/NAME.csv     a table for spreadsheets, values unrounded
    plots/NAME          a plot as .png, .svg and .pdf
    report.html         all of that and the lines to look through: `bench.report.web`
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bench.core.files import write_atomically
from bench.core.progress import Report, silent
from bench.core.types import Row
from bench.pipeline.store import RunStore
from bench.report import accuracy, correction, render, speed
from bench.report.captions import language, say
from bench.report.format import plain
from bench.report.remarks import Judge, judge_among, nobody
from bench.report.results import Result, collect
from bench.report.table import Table

if TYPE_CHECKING:
    from bench.report.plots import Plot

FORMATS = ("md", "tex", "csv", "html")
PICTURES = 40  # lines of a set that have pictures in the page: 3 MB in the main job

_NOTHING = "No cell of this run is finished yet."

# The rows that a run had when it was last read here, and their results: `terminal` behind `write`
# reads no line again.
_KNOWN: WeakKeyDictionary[RunStore, tuple[list[Row], list[Result]]] = WeakKeyDictionary()


def write(
    store: RunStore,
    formats: Collection[str] = FORMATS,
    lang: str = "en",
    pictured: int | None = PICTURES,
    report: Report = silent,
) -> list[Path]:
    """Write the tables, with markdown the plots that it shows, and the page into the run folder.

    Args:
        store: the run.
        formats: some of `FORMATS`.
        lang: of the words in tables and plots, one of `captions.LANGUAGES`.
        pictured: lines of each set of which the page has pictures; None for all.
        report: hears of the progress.

    Returns:
        The files, in the order in which a reader wants them.

    Raises:
        UserError: the run cannot be read.
        OSError: the run folder cannot be written.
    """
    with language(lang):
        files = _files(store, formats, pictured, report)
    for name, content in files.items():
        path = store.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return [store.path / name for name in files]


def _files(
    store: RunStore, formats: Collection[str], pictured: int | None, report: Report
) -> dict[str, bytes]:
    """The content of each file by its name in the run folder."""
    report("tables", 0, 1)
    results = _collected(store)
    main, further = _main(results, judge_among(results)), _further(results)
    tables = [*main, *further]
    report("tables", 1, 1)
    files: dict[str, bytes] = {}
    if "md" in formats:
        from bench.report import plots  # matplotlib takes a while to import

        drawn = plots.draw(results, report)
        files["report.md"] = _report(store.path.name, tables, drawn).encode()
        for plot in drawn:
            files |= {f"plots/{file}": content for file, content in plot.files.items()}
    for table in tables:
        if "tex" in formats:
            files[f"tables/{table.slug}.tex"] = render.latex(table).encode()
        if "csv" in formats:
            files[f"tables/{table.slug}.csv"] = render.spreadsheet(table).encode("utf-8-sig")
    if "html" in formats:
        from bench.report import web  # pictures are made by data sets and damages

        name = store.path.name
        files["report.html"] = web.page(name, results, main, further, pictured, report)
    return files


def terminal(store: RunStore, width: int | None = None, lang: str = "en") -> str:
    """The main tables as text for a terminal.

    Args:
        store: the run.
        width: columns; those of the terminal by default.
        lang: of the words, one of `captions.LANGUAGES`.

    Raises:
        UserError: the run cannot be read.
    """
    columns = width or shutil.get_terminal_size((100, 24)).columns
    with language(lang):
        tables = _main(_collected(store), nobody)  # a terminal shows nothing in bold
        return "\n".join(render.terminal(table, columns) for table in tables) or say(_NOTHING)


def _collected(store: RunStore) -> list[Result]:
    """The results of a run, collected again only when its rows are others."""
    rows = store.rows()
    if store not in _KNOWN or _KNOWN[store][0] != rows:
        _KNOWN[store] = (rows, collect(store))
    return _KNOWN[store][1]


def _main(results: Sequence[Result], judge: Judge) -> list[Table]:
    return [
        *accuracy.by_set(results, judge),
        *accuracy.by_damage(results, judge),
        *accuracy.by_severity(results, judge),
        *correction.tables(results),
        *speed.as_in_trocr(results),
    ]


def _further(results: Sequence[Result]) -> list[Table]:
    return [
        *accuracy.kinds_of_errors(results),
        *accuracy.when_lenient(results),
        *speed.by_stage(results),
        *speed.by_stage_damaged(results),
    ]


def _report(name: str, tables: Sequence[Table], drawn: Sequence[Plot]) -> str:
    head = say("Run {name}", name=render.markdown_text(plain(name)))
    parts = [f"# {head}\n", *([] if tables else [f"{say(_NOTHING)}\n"])]
    parts += [render.markdown(table) for table in tables]
    parts += [f"![{render.markdown_text(plot.title)}](plots/{plot.slug}.png)\n" for plot in drawn]
    return "\n".join(parts)
