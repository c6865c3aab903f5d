"""`python -m bench cite`: the footnote of a number."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.evidence import Chosen
    from bench.pipeline.store import RunStore

_EPILOG = f"""\
examples:
  {PROGRAM} cite 32cfe9f1e1088f14                   the key of a row, or the beginning of it
  {PROGRAM} cite 'e:mini@e824e25a|d:ctc-greedy|s:lines-test@8acb12be|dmg:none|...'
  {PROGRAM} cite --run mine 32cfe9 --format tex     of this run, for LaTeX
  {PROGRAM} cite 32cfe9 --json                      the row and the environment behind it

A signature stands below every table and in every row; one with {{a b}} in it, as below a table,
means all rows of that system, which share a footnote. Quote it in '...', or the shell will read it.
Without --run all runs of results/runs are looked through, the newest first, and then
results/reference.

exit codes: 0 all is well; 2 a mistake in what was asked for, or there is no such row
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "cite",
        help="the footnote of a number: all that it depends on",
        description="Expand a signature or the key of a row to a footnote: versions, hardware, "
        "hash of the data, damage suite, options of the decoder, language model and what it was "
        "tuned on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "cited", nargs="+", metavar="SIGNATURE|KEY", help="what stands beside the number"
    )
    add_run(parser)
    parser.add_argument(
        "--format", choices=("md", "tex", "text"), default="md", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="the rows and their environments")
    parser.set_defaults(handler=run)


def add_run(parser: argparse.ArgumentParser) -> None:
    """`--run`, which says where a row is looked for."""
    parser.add_argument(
        "--run", metavar="RUN",
        help="the run that has the row: a name under results/runs, or a path; default: all",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Find the rows and print their footnotes."""
    from bench.report import cite

    forms = {"md": cite.markdown, "tex": cite.latex, "text": cite.text}
    found = [find(word, args.run) for word in args.cited]
    if args.json:
        print(json.dumps([_record(each) for each in found], indent=2))
        return 0
    notes = [note for each in found for note in cite.footnotes(each)]
    for note in dict.fromkeys(notes):
        print(forms[args.format](note))
    return 0


def find(word: str, run: str | None) -> Chosen:
    """The rows that a signature or key means.

    Raises:
        UserError: there is no such run or row.
    """
    from bench.analysis.cite import cited

    return cited(word, _stores(run))


def _stores(run: str | None) -> Iterator[RunStore]:
    """The run that was named, or all, newest first and those that are committed behind."""
    from bench.cli.stored import open_run
    from bench.pipeline import runs

    if run is not None:
        yield open_run(run)
        return
    for path in runs.everywhere():
        try:
            yield open_run(str(path))
        except UserError as error:  # another run may have the row
            print(f"not looked through: {error}", file=sys.stderr)


def _record(found: Chosen) -> dict[str, Any]:
    rows = found.rows()
    records = found.environments()
    used = {row.environment for row in rows}
    return {
        "rows": [dataclasses.asdict(row) for row in rows],
        "environments": {name: records[name] for name in sorted(used) if name in records},
    }
