"""`python -m bench cite`: what a number depends on, and whether it holds."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from bench.analysis.evidence import Reading, cited_rows
from bench.analysis.reproduce import plan_of, verdict_of
from bench.cli import PROGRAM
from bench.cli.bars import RunProgress
from bench.cli.options import DataRoot, Json, Lang, print_json
from bench.cli.run import missing
from bench.cli.stored import open_run
from bench.core.errors import UserError
from bench.core.types import Row
from bench.pipeline import runs
from bench.pipeline.plan import Plan
from bench.pipeline.store import RunStore
from bench.report import cite as notes
from bench.report.language import say, say_text
from bench.report.reproduce import text
from bench.report.results import collect

app = App(
    name="cite",
    help_epilogue=f"""\
examples:
  {PROGRAM} cite 32cfe9f1e1088f14                   the key of a row, or the beginning of it
  {PROGRAM} cite 'e:mini@e824e25a|d:ctc-greedy|s:lines-test@8acb12be|dmg:none|...'
  {PROGRAM} cite --run mine 32cfe9 --format tex     of this run, for LaTeX
  {PROGRAM} cite 32cfe9 --json                      the row and the environment behind it
  {PROGRAM} cite 32cfe9 --again                     measure its cell again, and compare
  {PROGRAM} cite 32cfe9 --again --out again         keep what was measured in results/runs/again
  {PROGRAM} cite 32cfe9 --again --device cpu        of a row of a GPU, the text at least

A signature stands below every table and in every row; one with {{a b}} in it, as below a table,
means all rows of that system, which share a footnote. Quote it in '...', or the shell will read it.
Without --run all runs of results/runs are looked through, the newest first, and then
results/reference.

--again changes no row. A CER holds when it is the same, or within the interval of the stored one;
a speed is a ratio and never decides, for it is the machine's as well.

exit code 1: with --again, the number does not hold, or the cell failed
""",
)

_FORMATS = {"md": notes.markdown, "tex": notes.latex, "text": notes.text}

Where = Annotated[
    str | None,
    Parameter(
        name="--run",
        help="the run that has the row: a name under results/runs, or a path; default: all",
    ),
]


@app.default
def cite(
    *cited: Annotated[str, Parameter(required=True, metavar="SIGNATURE|KEY")],
    where: Where = None,
    form: Annotated[Literal["md", "tex", "text"], Parameter(name="--format")] = "md",
    again: bool = False,
    device: str | None = None,
    out: str | None = None,
    data_root: DataRoot = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Expand a signature or the key of a row to a footnote, or measure it again.

    Versions, hardware, hash of the data, damage suite, options of the decoder, language model and
    the data that it was tuned on.

    Args:
        cited: what stands beside the number
        again: measure the cell again with everything that its row says, and compare CER, texts,
            speed, code, software and machine
        device: with --again: another than the row's
        out: with --again: keep what was measured in this run folder; default: it is thrown away
    """
    if not again and (device or out):
        raise UserError(f"{'--device' if device else '--out'} goes with --again")
    chosen = [cited_rows(word, _stores(where)) for word in cited]
    if again:
        rows = [(each, row) for each in chosen for row in each.rows()]
        if len(rows) > 1:
            raise UserError(
                "--again measures one row; give the key of one: "
                + ", ".join(row.key for _, row in rows)
            )
        return _again(*rows[0], device, out, as_json)
    if as_json:
        print_json([_record(each) for each in chosen])
        return 0
    found = [n for each in chosen for n in notes.footnotes(collect(each), each.environments())]
    for note in dict.fromkeys(found):
        print(_FORMATS[form](note))
    return 0


def _stores(run: str | None) -> Iterator[RunStore]:
    """The run that was named, or all, newest first and those that are committed behind."""
    if run is not None:
        yield open_run(run)
        return
    for path in runs.everywhere():
        try:
            yield open_run(str(path))
        except UserError as error:  # another run may have the row
            print(say("not looked through: {reason}", reason=say_text(str(error))), file=sys.stderr)


def _record(chosen: RunStore) -> dict[str, Any]:
    rows = chosen.rows()
    records = chosen.environments()
    used = {row.environment for row in rows}
    return {
        "rows": [dataclasses.asdict(row) for row in rows],
        "environments": {name: records[name] for name in sorted(used) if name in records},
    }


def _again(matches: RunStore, row: Row, device: str | None, out: str | None, as_json: bool) -> int:
    """Measure the cell of a row again; exit code 1 when its number does not hold."""
    plan = plan_of(row, device)
    with _folder(out) as path:
        store, key = _measured(plan, path)
        verdict = verdict_of(
            _with_lines(matches, row),
            _with_lines(store, next(each for each in store.rows() if each.key == key)),
            (matches.environments().get(row.environment, {}), *store.environments().values()),
        )
    if as_json:
        record = {**dataclasses.asdict(verdict), "within": verdict.within, "holds": verdict.holds}
        record["differs"] = [difference._asdict() for difference in verdict.differs]
        print_json(record)
    else:
        print(text(verdict))
    return int(not verdict.holds)


@contextlib.contextmanager
def _folder(name: str | None) -> Iterator[Path]:
    """The folder of the new row: to keep, or temporary."""
    if name is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    path = runs.folder(name)
    if path.exists():
        raise UserError(f"{path} is there already; choose another --out")
    yield path


def _measured(plan: Plan, path: Path) -> tuple[RunStore, str]:
    """Measure the one cell of a plan.

    Returns:
        The store, and the key of the cell.
    """
    from bench.pipeline.runner import run

    if not plan.cells:
        raise UserError(f"this cell cannot run here:\n{missing(plan.skipped)}")
    store = RunStore(path)
    with RunProgress(plan) as progress:
        outcome = run(plan, store, progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    keys = [*outcome.done, *outcome.failed]
    if not keys:
        raise UserError(f"this cell cannot run here:\n{missing(outcome.skipped)}")
    return store, keys[0]


def _with_lines(store: RunStore, row: Row) -> Reading:
    try:
        return Reading(row, tuple(store.lines(row.key)))
    except UserError:
        return Reading(row, ())
