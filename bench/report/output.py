"""Reports of runs, as files and as text for a terminal.

`write` leaves files in the run folder, `terminal` gives the main tables as text:

    report.md           every table, the plots, and below them all conditions once
    tables/NAME.tex     a table for LaTeX (booktabs)
    tables/NAME.csv     a table for spreadsheets, values unrounded
    tables/conditions.tex   the conditions of all tables, with notes=appendix
    plots/NAME          a plot as .png, .svg and .pdf
    report.html         all of that and the lines to look through: `bench.report.web`
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.files import write_files
from bench.core.progress import Report, silent
from bench.report import accuracy, correction, render, speed
from bench.report.format import plain
from bench.report.language import say
from bench.report.latex import latex, latex_conditions
from bench.report.results import Result
from bench.report.table import Notes, Table

if TYPE_CHECKING:
    from bench.report.panel import Plot

FORMATS = ("md", "tex", "csv", "html")
PICTURES = 40  # lines of a set that have pictures in the page: 3 MB in the main job

_NOTHING = "No cell of this run is finished yet."


def write(
    folder: Path,
    results: Sequence[Result],
    formats: Collection[str] = FORMATS,
    pictured: int | None = PICTURES,
    report: Report = silent,
    notes: Notes | None = None,
) -> list[Path]:
    """Write tables, plots and the web page, in the current language.

    Of each set `pictured` lines have pictures in the page, None for all; `notes` stand below the
    tables in Markdown and LaTeX: by default in an appendix of report.md, which has all of them,
    and in full in the files of one table.
    """
    files = _files(folder.name, results, formats, pictured, report, notes)
    return write_files(folder, files)


def _files(
    name: str,
    results: Sequence[Result],
    formats: Collection[str],
    pictured: int | None,
    report: Report,
    notes: Notes | None,
) -> dict[str, bytes]:
    report("tables", 0, 1)
    main, further = main_tables(results), further_tables(results)
    tables = [*main, *further]
    report("tables", 1, 1)
    files: dict[str, bytes] = {}
    if "md" in formats:
        from bench.report import plots  # matplotlib takes a while to import

        drawn = plots.draw(results, report)
        files["report.md"] = _report(name, tables, drawn, notes or "appendix").encode()
        for plot in drawn:
            files |= {f"plots/{file}": content for file, content in plot.files.items()}
    for table in tables:
        if "tex" in formats:
            files[f"tables/{table.slug}.tex"] = latex(table, notes or "full").encode()
        if "csv" in formats:
            files |= render.files(table, f"tables/{table.slug}", ["csv"])
    if "tex" in formats and notes == "appendix":
        files["tables/conditions.tex"] = latex_conditions(tables).encode()
    if "html" in formats:
        from bench.report import web  # pictures are made by data sets and damages

        files["report.html"] = web.page(name, results, main, further, pictured, report)
    return files


def terminal(
    results: Sequence[Result],
    width: int | None = None,
    notes: Notes = "appendix",
) -> str:
    """The main tables as text for a terminal, of `width` columns or its own."""
    columns = width or shutil.get_terminal_size((100, 24)).columns
    tables = main_tables(results, bold=False)
    return render.on_terminal(tables, columns, notes) or say(_NOTHING)


def tables_workbook(name: str, results: Sequence[Result]) -> bytes:
    """All tables as the bytes of an .xlsx file."""
    from bench.report import sheets  # openpyxl need not be installed

    return sheets.of_tables([*main_tables(results), *further_tables(results)], name)


def main_tables(results: Sequence[Result], bold: bool = True) -> list[Table]:
    """The tables that a terminal shows; `bold` is that of `accuracy.by_set`."""
    return [
        *accuracy.by_set(results, bold),
        *accuracy.by_damage(results, bold),
        *accuracy.by_severity(results, bold),
        *correction.tables(results),
        *speed.as_in_trocr(results),
    ]


def further_tables(results: Sequence[Result]) -> list[Table]:
    """The tables that only the files have."""
    return [
        *accuracy.kinds_of_errors(results),
        *accuracy.when_lenient(results),
        *speed.by_stage(results),
        *speed.by_stage_damaged(results),
    ]


def _report(name: str, tables: Sequence[Table], drawn: Sequence[Plot], notes: Notes) -> str:
    head = say("Run {name}", name=render.markdown_text(plain(name)))
    parts = [f"# {head}\n", *([] if tables else [f"{say(_NOTHING)}\n"])]
    numbers = [str(number) for number in range(1, len(tables) + 1)]
    for number, table in zip(numbers, tables, strict=True):
        parts.append(render.markdown(replace(table, title=f"{number}. {table.title}"), notes=notes))
    parts += [f"![{render.markdown_text(plot.title)}](plots/{plot.slug}.png)\n" for plot in drawn]
    if notes == "appendix" and tables:
        parts += [f"## {say('Conditions')}\n", render.markdown_conditions(tables, numbers)]
    return "\n".join(parts)
