"""`python -m bench report`: tables and plots of a run that is there, or of a benchmark file."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.cli import PROGRAM
from bench.core.errors import UserError

_EPILOG = f"""\
examples:
  {PROGRAM} report                          the newest run: tables here, files in its folder
  {PROGRAM} report 20260131-120000          a run of results/runs
  {PROGRAM} report results/runs/mine        a run folder anywhere
  {PROGRAM} report mine --format tex        write the LaTeX tables only
  {PROGRAM} report mine --format html --pictures all   the page, with a picture of every line
  {PROGRAM} report mine --lang ja           tables and plots with Japanese words
  {PROGRAM} report mine --into thesis.tex   renew the tables between markers in a manuscript
  {PROGRAM} report --into thesis.md --check exit 1 when a table there is stale
  {PROGRAM} report --benchmark b.json       pytest-benchmark's file as a markdown table
  {PROGRAM} report --benchmark b.json --format csv > b.csv

Make such a file with: pytest --benchmark-only --benchmark-json b.json

A block of a manuscript is two lines, in LaTeX and in Markdown:
  % kaidoku:begin damage run=mine decoder=ctc-* severity=3 lang=ja
  % kaidoku:end
  <!-- kaidoku:begin cer -->
  <!-- kaidoku:end -->
Tables, filters and all else about them: docs/manuscript.md
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="tables and plots of a run that is there",
        description="Print the main tables of a run and write all tables and plots into its "
        "folder: report.md, tables/ (LaTeX, CSV), plots/ (PNG, SVG, PDF), and report.html, a page "
        "to look through tables, plots and lines in a browser.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN",
        help="a name under results/runs, or a path; the newest by default",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        choices=("md", "tex", "csv", "html", "all"),
        help="which files to write (md brings the plots); default: all. With --benchmark, what to "
        "print; default: md",
    )
    parser.add_argument(
        "--benchmark", type=Path, metavar="FILE.json",
        help="print the tables of this file of pytest --benchmark-json, and no run",
    )  # fmt: skip
    parser.add_argument(
        "--lang", choices=("en", "ja"), default="en",
        help="of the words in tables and plots; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", metavar="N|all", default="40",
        help="lines of each set of which report.html has pictures, from the best read to the "
        "worst; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--into", type=Path, action="append", metavar="FILE",
        help="write nothing but the tables between the markers of this manuscript (.md, .tex); may "
        "be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="with --into: change nothing, exit 1 when a table of the manuscript is stale",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="with --into: print what became of each block as JSON"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Report a run or a benchmark file, or renew a manuscript."""
    if args.into is None and (args.check or args.json):
        raise UserError(f"{'--check' if args.check else '--json'} goes with --into FILE")
    if args.benchmark is not None:
        return _benchmark(args)
    if args.into is not None:
        return _into(args)
    return _run(args)


def _into(args: argparse.Namespace) -> int:
    from bench.cli import into

    if args.format is not None:
        raise UserError("--into takes its format from the manuscript; leave --format out")
    return into.run(args.into, args.run, args.lang, args.check, args.json)


def _benchmark(args: argparse.Namespace) -> int:
    from bench.report import benchmark, render

    if args.run is not None:
        raise UserError("give a run or --benchmark FILE.json, not both")
    if args.into is not None:
        raise UserError("give --into FILE or --benchmark FILE.json, not both")
    if args.format == "html":
        raise UserError("--benchmark has tables only; take --format md, tex or csv")
    formats = {"md": render.markdown, "tex": render.latex, "csv": render.spreadsheet}
    tables = benchmark.tables(args.benchmark)
    asked = args.format or "md"
    for name in formats if asked == "all" else (asked,):
        print("\n".join(formats[name](table) for table in tables))
    return 0


def _run(args: argparse.Namespace) -> int:
    from bench import report
    from bench.cli.bars import Steps
    from bench.cli.stored import open_run

    pictured = _pictured(args.pictures)
    store = open_run(args.run)
    path = store.path
    formats = report.FORMATS if args.format in (None, "all") else (args.format,)
    if args.lang == "ja" and "md" in formats:
        _tell_of_fonts()
    with Steps(path.name) as steps:
        files = report.write(store, formats, args.lang, pictured, steps.report)
    text = report.terminal(store, lang=args.lang)
    print(text)
    print(f"files in {path}:")
    for file in files:
        if file.parent == path:
            print(f"  {file.name}")
    folders = Counter(file.parent.name for file in files if file.parent != path)
    for folder, count in folders.items():
        print(f"  {folder}/  {count} files")
    return 0


def _tell_of_fonts() -> None:
    from bench.report.plots import fonts

    if fonts.japanese() is None:
        print(fonts.MISSING, file=sys.stderr)


def _pictured(text: str) -> int | None:
    """How many lines of a set have pictures; None for all.

    Raises:
        UserError: it is no number.
    """
    if text == "all":
        return None
    if not text.isdecimal():
        raise UserError(f"--pictures takes a number or all, not {text!r}")
    return int(text)
