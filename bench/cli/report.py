"""`python -m bench report`: tables and plots of a run that is there."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from bench import report
from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.cli.options import Json, Lang, print_json
from bench.cli.stored import Run, open_run
from bench.core.errors import UserError
from bench.report import benchmark as benchmarks
from bench.report import manuscript, render
from bench.report.language import in_force
from bench.report.results import Result, collect

_EPILOG = f"""\
examples:
  {PROGRAM} report                          the newest run: tables here, files in its folder
  {PROGRAM} report --run 20260131-120000          a run of results/runs
  {PROGRAM} report --run results/runs/mine        a run folder anywhere
  {PROGRAM} report --run mine --format tex        write the LaTeX tables only
  {PROGRAM} report --run mine --format html --pictures all   the page, with a picture of every line
  {PROGRAM} report --run mine --lang ja           tables and plots with Japanese words
  {PROGRAM} report --run mine --into thesis.tex   renew the tables between markers in a manuscript
  {PROGRAM} report --into thesis.md --check   exit 1 when a table there is stale
  {PROGRAM} report --benchmark b.json       the file of pytest --benchmark-json as Markdown

A block of a manuscript is two lines, in LaTeX and in Markdown:
  % kaidoku:begin damage run=mine decoder=ctc-* severity=3 lang=ja
  % kaidoku:end
  <!-- kaidoku:begin cer -->
  <!-- kaidoku:end -->
Tables, filters and all else about them: docs/manuscript.md
"""

app = App(name="report", help_epilogue=_EPILOG)

Format = Literal["md", "tex", "csv", "html", "all"]


@app.default
def run(
    *,
    run: Run = None,
    form: Annotated[Format | None, Parameter(name="--format")] = None,
    lang: Lang = None,
    pictures: Annotated[str, Parameter(metavar="N|all")] = str(report.PICTURES),
    into: tuple[Path, ...] = (),
    check: bool = False,
    benchmark: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    as_json: Json = False,
) -> int:
    """Print the main tables of a run and write all tables and plots into its folder.

    report.md, tables/ (LaTeX, CSV), plots/ (PNG, SVG, PDF), and report.html, a page to look through
    tables, plots and lines in a browser.

    Args:
        form: which files to write (md brings the plots); default: all
        pictures: lines of each set of which report.html has pictures, from the best read to the
            worst
        into: write nothing but the tables between the markers of this manuscript (.md, .tex); may
            be repeated
        check: with --into: change nothing, exit 1 when a table of the manuscript is stale
        benchmark: print nothing but the tables of this file of pytest --benchmark-json, as Markdown
            or as --format says
    """
    if benchmark is not None:
        if run or into or form in ("html", "all"):
            raise UserError("--benchmark goes with --format md, tex or csv alone")
        print(render.printed(benchmarks.from_file(benchmark), form or "md"))
        return 0
    if not into and (check or as_json):
        raise UserError(f"{'--check' if check else '--json'} goes with --into FILE")
    if into:
        if form is not None:
            raise UserError("--into takes its format from the manuscript; leave --format out")
        return _into(into, run, check, as_json)
    pictured = None if pictures == "all" else _number(pictures)
    formats = report.FORMATS if form in (None, "all") else (str(form),)
    return _run(run, formats, pictured)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--pictures takes a number or all, not {text!r}")
    return int(text)


def _run(name: str | None, formats: Sequence[str], pictured: int | None) -> int:
    store = open_run(name)
    path = store.path
    if in_force() == "ja" and "md" in formats:
        from bench.report import panel  # matplotlib takes a while to import

        if panel.japanese_font() is None:
            print(panel.NO_FONT, file=sys.stderr)
    with Steps(path.name) as steps:
        results = collect(store)
        files = report.write(path, results, formats, pictured, steps.report)
    print(report.terminal(results))
    print(f"files in {path}:")
    for file in files:
        if file.parent == path:
            print(f"  {file.name}")
    folders = Counter(file.parent.name for file in files if file.parent != path)
    for folder, count in folders.items():
        print(f"  {folder}/  {count} files")
    return 0


def _into(files: Sequence[Path], name: str | None, check: bool, as_json: bool) -> int:
    results_of = functools.cache(lambda name: collect(open_run(name)))
    found = []
    with Console(stderr=True).status("blocks") as status:
        for file in files:
            status.update(f"blocks of {file.name}")
            make = functools.partial(_content, file, name, results_of)
            found.append((file, manuscript.renew(file, make, check)))
    if as_json:
        records = [
            {"file": str(file), "blocks": [dataclasses.asdict(block) for block in blocks]}
            for file, blocks in found
        ]
        print_json(records)
    else:
        for file, blocks in found:
            for block in blocks:
                state = ("stale" if check else "renewed") if block.stale else "up to date"
                print(f"{file}:{block.line}: {block.words}: {state}")
    return int(check and any(block.stale for _, blocks in found for block in blocks))


def _content(
    file: Path,
    name: str | None,
    results_of: Callable[[str | None], list[Result]],
    words: str,
) -> str:
    request = manuscript.parse(words)
    beside = file.parent / request.run  # a path may be meant from the manuscript
    is_beside = "/" in request.run and beside.is_dir()
    results = results_of(str(beside) if is_beside else request.run or name)
    return manuscript.content(request, results, manuscript.syntax_of(file))
