"""`python -m bench errors`: what is misread, and what language changes of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.errors_choice import chosen, vocabulary_of
from bench.core.errors import UserError
from bench.core.registry import need

if TYPE_CHECKING:
    from bench.cli.bars import Steps
    from bench.report.errors import Shown
    from bench.report.results import Result

_EPILOG = f"""\
examples:
  {PROGRAM} errors                                the newest run, its clean sets
  {PROGRAM} errors mine --dataset lines --damage char_erase,blot --severity 3
  {PROGRAM} errors mine --decoder ctc-greedy,ctc-ngram --top 30
  {PROGRAM} errors mine --xlsx errors.xlsx        for Excel and LibreOffice, with line images
  {PROGRAM} errors mine --json | jq '.[0].systems[] | [.decoder, .classes.what]'

Every class is defined in docs/errors.md. Rows of untrained weights read nothing that means
anything and are left out.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "errors",
        help="what is misread, and what language changes of it",
        description="Sort the errors of a run: confusions and classes of errors, decoders side by "
        "side, and which classes a decoder removes and adds. No model is run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN",
        help="a name under results/runs, or a path; the newest by default",
    )  # fmt: skip
    what = parser.add_argument_group("what to look at (of what the run holds)")
    for flag, of, default in (
        ("--encoder", "encoders", "all"),
        ("--decoder", "decoders", "all"),
        ("--dataset", "data sets", "all"),
        ("--damage", "damages, none for the clean set, or all", "none, all with --severity"),
    ):
        what.add_argument(flag, action="append", metavar="NAMES", help=f"{of}; default: {default}")
    what.add_argument("--severity", action="append", metavar="N", help="0 to 5; default: all")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--against", metavar="DECODER", help="compare with this one; default: ctc-greedy if there"
    )
    how.add_argument(
        "--vocabulary", metavar="FILE",
        help="ARPA file or KenLM binary that tells words from non-words, or embedded; default: "
        "that of the run's word model",
    )  # fmt: skip
    how.add_argument(
        "--top", type=int, default=15, metavar="N",
        help="confusions in a table, and worst lines in the workbook; default: %(default)s",
    )  # fmt: skip
    add_data_root(parser)
    out = parser.add_argument_group("output")
    out.add_argument(
        "--format", choices=("text", "md", "tex", "csv"), default="text",
        help="of the tables on stdout; default: %(default)s",
    )  # fmt: skip
    out.add_argument("--xlsx", type=Path, metavar="FILE", help="write an Excel workbook")
    out.add_argument("--json", action="store_true", help="all counts, for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Sort, write, tell."""
    from bench.cli.bars import Steps
    from datasets.base import listening

    _check(args)
    left_out: list[str] = []
    with Steps("errors") as steps, listening(steps.report):
        found = _shown(args, left_out, steps)
        if args.xlsx is not None:
            from bench.core.files import write_atomically
            from bench.report.workbook import workbook

            write_atomically(args.xlsx, workbook(found, args.top, steps.report))
    for why in left_out:
        print(f"left out: {why}", file=sys.stderr)
    if args.json:
        from bench.analysis.misreadings.record import record

        print(json.dumps([record(shown.analysis) for shown in found], indent=2))
    else:
        _print(args, found)
        if args.xlsx is not None:
            print(f"written: {args.xlsx}")
    return int(bool(left_out))


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is read.

    Raises:
        UserError: with what to do instead.
    """
    if args.top < 1:
        raise UserError(f"--top {args.top} shows nothing; take 1 or more")
    if args.json and args.format != "text":
        raise UserError(f"give --json or --format {args.format}, not both")
    if args.xlsx is not None:
        need("openpyxl", "--xlsx")
    if args.xlsx is not None and args.xlsx.suffix.lower() != ".xlsx":
        raise UserError(f"--xlsx writes .xlsx, which {args.xlsx.name} is not")


def _shown(args: argparse.Namespace, left_out: list[str], steps: Steps) -> list[Shown]:
    """The conditions that were asked for, analysed.

    Raises:
        UserError: there are none.
    """
    from bench.analysis.evidence import Chosen, readings
    from bench.analysis.misreadings.analysis import AGAINST, analyse
    from bench.cli.stored import open_run
    from bench.report.errors import Shown
    from bench.report.results import collect, grouped

    store = open_run(args.run)
    rows = chosen(args, store.rows())
    chosen_store = Chosen(store, tuple(rows))
    steps.report("reading lines", 0, 1)
    found = readings([chosen_store], left_out=left_out.append)
    read = {one.row.key: one for one in found if one.scored}
    if not read:
        why = left_out[0] if left_out else "untrained weights have none"
        raise UserError(f"none of the chosen rows has a CER: {why}")
    against = args.against or AGAINST
    known = vocabulary_of(args.vocabulary, [one.row for one in read.values()])
    shown: list[Shown] = []
    results = [result for result in collect(chosen_store) if result.row.key in read]
    results.sort(key=lambda r: (r.place.encoder, r.place.dataset, not r.clean))  # clean sets first
    for group in grouped(results, _condition):
        analysis = analyse([read[r.row.key] for r in group], known, against, steps.report)
        shown.append(Shown(len(shown) + 1, analysis, tuple(group)))
    return shown


def _condition(result: Result) -> tuple[Any, ...]:
    """What results must share to stand side by side, besides their setting."""
    names = result.names
    return names.encoder, names.dataset, names.damage, result.row.condition


def _print(args: argparse.Namespace, found: list[Shown]) -> None:
    from bench.report import render
    from bench.report.errors import tables

    width = shutil.get_terminal_size((100, 24)).columns
    formats = {
        "text": lambda table: render.terminal(table, width),
        "md": render.markdown,
        "tex": render.latex,
        "csv": render.spreadsheet,
    }
    once = args.format == "text"
    made = [table for shown in found for table in tables(shown, args.top, once)]
    print("\n".join(formats[args.format](table) for table in made))
