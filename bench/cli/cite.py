"""`python -m bench cite`: the footnote of a number."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from bench.analysis.cite import cited as rows_of
from bench.analysis.evidence import Chosen
from bench.cli import PROGRAM
from bench.cli.options import Json, print_json
from bench.cli.stored import open_run
from bench.core.errors import UserError
from bench.pipeline import runs
from bench.pipeline.store import RunStore
from bench.report import cite
from bench.report.results import collect

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

_FORMATS = {"md": cite.markdown, "tex": cite.latex, "text": cite.text}

Where = Annotated[
    str | None,
    Parameter(
        name="--run",
        help="the run that has the row: a name under results/runs, or a path; default: all",
    ),
]

app = App(name="cite", help_epilogue=_EPILOG)


@app.default
def run(
    *cited: Annotated[str, Parameter(required=True, metavar="SIGNATURE|KEY")],
    where: Where = None,
    form: Annotated[Literal["md", "tex", "text"], Parameter(name="--format")] = "md",
    as_json: Json = False,
) -> int:
    """Expand a signature or the key of a row to a footnote.

    Versions, hardware, hash of the data, damage suite, options of the decoder, language model and
    the data that it was tuned on.

    Args:
        cited: what stands beside the number
    """
    chosen = [find(word, where) for word in cited]
    if as_json:
        print_json([_record(each) for each in chosen])
        return 0
    notes = [note for each in chosen for note in cite.footnotes(collect(each), each.environments())]
    for note in dict.fromkeys(notes):
        print(_FORMATS[form](note))
    return 0


def find(word: str, run: str | None) -> Chosen:
    """The rows that a signature or key means.

    Raises:
        UserError: there is no such run or row.
    """
    return rows_of(word, _stores(run))


def _stores(run: str | None) -> Iterator[RunStore]:
    """The run that was named, or all, newest first and those that are committed behind."""
    if run is not None:
        yield open_run(run)
        return
    for path in runs.everywhere():
        try:
            yield open_run(str(path))
        except UserError as error:  # another run may have the row
            print(f"not looked through: {error}", file=sys.stderr)


def _record(chosen: Chosen) -> dict[str, Any]:
    rows = chosen.rows()
    records = chosen.environments()
    used = {row.environment for row in rows}
    return {
        "rows": [dataclasses.asdict(row) for row in rows],
        "environments": {name: records[name] for name in sorted(used) if name in records},
    }
