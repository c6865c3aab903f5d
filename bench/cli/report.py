"""`python -m bench report`: tables and plots of a run that is there."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.console import Console

from bench.analysis.cost import seconds_left
from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.cli.options import Json, Lang, check_workbook, print_json
from bench.cli.stored import Run, open_run
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.pipeline import runs
from bench.pipeline.store import RunStore
from bench.report import benchmark as benchmarks
from bench.report import manuscript, output, render
from bench.report.format import plural
from bench.report.language import in_force, say, say_text
from bench.report.results import collect
from bench.report.table import Notes, Table

_EPILOG = f"""\
examples:
  {PROGRAM} report                         the newest run: tables here, files in its folder
  {PROGRAM} report --run 20260131-120000   a run of results/runs
  {PROGRAM} report --run results/runs/mine   a run folder anywhere
  {PROGRAM} report --run mine --format tex --notes appendix   conditions once, in a file
  {PROGRAM} report --run mine --format html --pictures all   the page, with a picture of every line
  {PROGRAM} report --run mine --lang ja    tables and plots with Japanese words
  {PROGRAM} report --run mine --xlsx tables.xlsx   every table as a sheet, values unrounded
  {PROGRAM} report --into thesis.tex       renew the tables between markers in a manuscript
  {PROGRAM} report --into thesis.tex --notes short   one line below each table
  {PROGRAM} report --into thesis.md --check   exit 1 when a table there is stale
  {PROGRAM} report --status                progress of a run, going on or stopped
  {PROGRAM} report --benchmark b.json      the file of pytest --benchmark-json as Markdown

A block of a manuscript is two lines, in LaTeX and in Markdown:
  % kaidoku:begin damage run=mine decoder=ctc-* severity=3 lang=ja
  % kaidoku:end
  <!-- kaidoku:begin cer -->
  <!-- kaidoku:end -->
Conditions of the tables with notes=appendix stand in the block kaidoku:begin conditions.
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
    pictures: Annotated[str, Parameter(metavar="N|all")] = str(output.PICTURES),
    into: tuple[Path, ...] = (),
    check: bool = False,
    notes: Notes | None = None,
    xlsx: Path | None = None,
    benchmark: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    status: bool = False,
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
        notes: conditions and signatures of each table: in full, as a short line, in an appendix
            (the end of the output; in a manuscript the block `conditions`), or off; default:
            appendix in report.md, on the terminal and where a manuscript has that block, else full
        xlsx: write nothing but this workbook, with a sheet for each table
        benchmark: print nothing but the tables of this file of pytest --benchmark-json, as Markdown
            or as --format says
        status: print only how many cells are done, failed and left, and the time left
    """
    if status:
        if into or form or xlsx or benchmark:
            raise UserError("--status takes only --run and --json; leave out the rest")
        return _status(open_run(run), as_json)
    if benchmark is not None:
        if run or into or form in ("html", "all"):
            raise UserError("--benchmark goes with --format md, tex or csv alone")
        print(render.printed(benchmarks.from_file(benchmark), form or "md"))
        return 0
    if xlsx is not None:
        if into or form is not None:
            raise UserError("--xlsx writes a workbook alone; leave --into and --format out")
        check_workbook(xlsx)
    if not into and (check or as_json):
        raise UserError(f"{'--check' if check else '--json'} goes with --into FILE")
    if into:
        if form is not None:
            raise UserError("--into takes its format from the manuscript; leave --format out")
        return _into(into, run, notes, check, as_json)
    pictured = None if pictures == "all" else _number(pictures)
    formats = output.FORMATS if form in (None, "all") else (str(form),)
    return _run(run, formats, pictured, notes, xlsx)


def _status(store: RunStore, as_json: bool) -> int:
    rows = store.rows()
    cells, ended = runs.planned(store.path)
    done = sum(row.status == "ok" for row in rows)
    failed = len(rows) - done
    left = 0 if ended else max(0, cells - len(rows))
    seconds = seconds_left(rows, left)
    process = "" if ended else store.writer()
    if as_json:
        print_json({"folder": str(store.path), "done": done, "failed": failed, "left": left,
                    "seconds_left": seconds, "ended": ended, "process": process})  # fmt: skip
        return 0
    words = "{path}: {done} of {cells} done, {failed} failed, {left} left"
    count = plural(cells, "cell")
    print(say(words, path=store.path, done=done, cells=count, failed=failed, left=left))
    if ended:
        print(say("it has ended"))
    elif process:
        print(say("process {process} is writing", process=process))
    else:
        print(say("no process is writing; give the run's command again to go on from there"))
    if left and seconds is not None:
        words = "about {time} of measuring are left, at the mean of the finished cells"
        print(say(words, time=timedelta(seconds=round(seconds))))
    return 0


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--pictures takes a number or all, not {text!r}")
    return int(text)


def _run(
    name: str | None,
    formats: Sequence[str],
    pictured: int | None,
    notes: Notes | None,
    xlsx: Path | None,
) -> int:
    store = open_run(name)
    path = store.path
    if xlsx is not None:
        results = collect(store)
        write_atomically(xlsx, output.tables_workbook(path.name, results))
        print(output.terminal(results, notes=notes or "appendix"))
        print(say("written: {file}", file=xlsx))
        return 0
    if in_force() == "ja" and "md" in formats:
        from bench.report import panel  # matplotlib takes a while to import

        if panel.japanese_font() is None:
            print(say_text(panel.NO_FONT), file=sys.stderr)
    with Steps(path.name) as steps:
        results = collect(store)
        files = output.write(path, results, formats, pictured, steps.report, notes)
    print(output.terminal(results, notes=notes or "appendix"))
    print(say("files in {path}:", path=path))
    for file in files:
        if file.parent == path:
            print(f"  {file.name}")
    folders = Counter(file.parent.name for file in files if file.parent != path)
    for folder, count in folders.items():
        print(f"  {folder}/  {plural(count, 'file')}")
    return 0


def _into(
    files: Sequence[Path],
    name: str | None,
    notes: Notes | None,
    check: bool,
    as_json: bool,
) -> int:
    blocks = _Blocks(name, notes)
    found = []
    with Console(stderr=True).status(", ".join(file.name for file in files)):
        for file in files:
            manuscript.renew(file, functools.partial(blocks.look, file), check=True)
        blocks.check()
        for file in files:
            found.append(
                (file, manuscript.renew(file, functools.partial(blocks.write, file), check))
            )
    if as_json:
        records = [
            {"file": str(file), "blocks": [dataclasses.asdict(block) for block in blocks_of]}
            for file, blocks_of in found
        ]
        print_json(records)
    else:
        for file, blocks_of in found:
            for block in blocks_of:
                state = "up to date"
                if block.stale:
                    state = "stale" if check else "renewed"
                print(f"{file}:{block.line}: {block.words}: {say(state)}")
    return int(check and any(block.stale for _, blocks_of in found for block in blocks_of))


class _Blocks:
    """The blocks of manuscripts: all are looked at before any is written.

    name, notes: of the command line.
    """

    def __init__(self, name: str | None, notes: Notes | None) -> None:
        self._name, self._notes = name, notes
        self._results = functools.cache(lambda name: collect(open_run(name)))
        self._made: dict[tuple[Path, str], tuple[manuscript.Request, list[Table]]] = {}

    def look(self, file: Path, words: str) -> str:
        """Make the tables of a block."""
        request = manuscript.parse(words)
        tables: list[Table] = []
        if request.table != manuscript.CONDITIONS:
            beside = file.parent / request.run  # a path may be meant from the manuscript
            is_beside = "/" in request.run and beside.is_dir()
            results = self._results(str(beside) if is_beside else request.run or self._name)
            tables = manuscript.made(request, results)
        self._made[file, words] = request, tables
        return ""

    def check(self) -> None:
        """Refuse tables whose conditions have no place.

        Raises:
            UserError: some belong in an appendix, and no block is there for it.
        """
        if self._appended() and not self._has_appendix:
            raise UserError(
                "notes=appendix needs a block for them; write one in one of the files, as in "
                f"% kaidoku:begin {manuscript.CONDITIONS} and below it % kaidoku:end"
            )

    def write(self, file: Path, words: str) -> str:
        """The text of a block."""
        request, tables = self._made[file, words]
        syntax = manuscript.syntax_of(file)
        if request.table == manuscript.CONDITIONS:
            return manuscript.conditions(self._appended(), syntax)
        return manuscript.content(tables, request, syntax, self._notes_of(request))

    @property
    def _has_appendix(self) -> bool:
        return any(request.table == manuscript.CONDITIONS for request, _ in self._made.values())

    def _notes_of(self, request: manuscript.Request) -> Notes:
        notes: Any = request.notes or self._notes
        return notes or ("appendix" if self._has_appendix else "full")

    def _appended(self) -> dict[str, list[Table]]:
        """Tables whose conditions stand in the appendix, by their language."""
        appended: dict[str, list[Table]] = {}
        for request, tables in self._made.values():
            if tables and self._notes_of(request) == "appendix":
                appended.setdefault(request.lang or in_force(), []).extend(tables)
        return appended
