"""`python -m bench report`: tables and plots of a run that is there, or of a benchmark file."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from bench.cli import PROGRAM
from bench.errors import UserError

_EPILOG = f"""\
examples:
  {PROGRAM} report                          the newest run: tables here, files in its folder
  {PROGRAM} report 20260131-120000          a run of results/runs
  {PROGRAM} report results/runs/mine        a run folder anywhere
  {PROGRAM} report mine --format tex        write the LaTeX tables only
  {PROGRAM} report --benchmark b.json       pytest-benchmark's file as a markdown table
  {PROGRAM} report --benchmark b.json --format csv > b.csv

Make such a file with: pytest --benchmark-only --benchmark-json b.json
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="tables and plots of a run that is there",
        description="Print the main tables of a run and write all tables and plots into its "
        "folder: report.md, tables/ (LaTeX, CSV), plots/ (PNG, SVG).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN",
        help="a name under results/runs, or a path; the newest by default",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        choices=("md", "tex", "csv", "all"),
        help="which files to write (md brings the plots); default: all. With --benchmark, what to "
        "print; default: md",
    )
    parser.add_argument(
        "--benchmark", type=Path, metavar="FILE.json",
        help="print the tables of this file of pytest --benchmark-json, and no run",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Report a run or a benchmark file."""
    if args.benchmark is not None:
        return _benchmark(args)
    return _run(args)


def _benchmark(args: argparse.Namespace) -> int:
    from bench.report import benchmark, render

    if args.run is not None:
        raise UserError("give a run or --benchmark FILE.json, not both")
    formats = {"md": render.markdown, "tex": render.latex, "csv": render.spreadsheet}
    tables = benchmark.tables(args.benchmark)
    asked = args.format or "md"
    for name in formats if asked == "all" else (asked,):
        print("\n".join(formats[name](table) for table in tables))
    return 0


def _run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from bench import report
    from bench.cli.stored import open_run

    store = open_run(args.run)
    path = store.path
    formats = report.FORMATS if args.format in (None, "all") else (args.format,)
    with Console(stderr=True).status(f"tables and plots of {path.name}"):
        text = report.terminal(store)
        files = report.write(store, formats)
    print(text)
    print(f"files in {path}:")
    folders = Counter(file.parent for file in files)
    for folder, count in folders.items():
        print(f"  {'report.md' if folder == path else f'{folder.name}/  {count} files'}")
    return 0
