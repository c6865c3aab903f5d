"""`python -m bench reproduce`: measure a stored cell again and compare."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bench.analysis.evidence import Chosen, Reading, Store
from bench.analysis.reproduce import plan_of, verdict_of
from bench.cli import PROGRAM
from bench.cli.bars import RunProgress
from bench.cli.cite import Where, find
from bench.cli.options import DataRoot, Json, print_json
from bench.cli.output import missing
from bench.core.errors import UserError
from bench.core.types import Row
from bench.pipeline import runner, runs
from bench.pipeline.plan import Plan
from bench.pipeline.store import RunStore
from bench.report.reproduce import text

_EPILOG = f"""\
examples:
  {PROGRAM} reproduce 32cfe9f1e1088f14              the key of a row, or the beginning of it
  {PROGRAM} reproduce 'e:mini@e824e25a|d:ctc-greedy|s:lines-test@8acb12be|dmg:none|...'
  {PROGRAM} reproduce 32cfe9 --run results/reference/two-cores
  {PROGRAM} reproduce 32cfe9 --out again             keep what was measured in results/runs/again
  {PROGRAM} reproduce 32cfe9 --device cpu            of a row of a GPU, the text at least
  {PROGRAM} reproduce 32cfe9 --json                  for programs

A signature is quoted in '...', or the shell will read it. The row is not changed. A CER holds when
it is the same, or within the interval of the stored one; a speed is a ratio and never
decides, for it is the machine's as well.

exit codes: 0 the number holds; 1 it does not, or the cell failed; 2 a mistake in what was asked
for, or something that it needs is not here; 130 Ctrl-C
"""

app = App(name="reproduce", help_epilogue=_EPILOG)


@app.default
def run(
    cited: Annotated[str, Parameter(metavar="SIGNATURE|KEY")],
    /,
    *,
    where: Where = None,
    device: str | None = None,
    out: str | None = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> int:
    """Measure the cell behind a signature or key again, and compare.

    With everything that its row says: CER, texts, speed, and what differs in code, software and
    machine.

    Args:
        cited: what stands beside the number
        device: another than the row's
        out: keep what was measured in this run folder; default: it is thrown away
    """
    matches = find(cited, where)
    row = _only(matches)
    plan = plan_of(row, device)
    with _folder(out) as path:
        store, key = _measured(plan, path)
        verdict = verdict_of(
            _reading(matches, row),
            _reading(store, next(each for each in store.rows() if each.key == key)),
            (matches.environments().get(row.environment, {}), *store.environments().values()),
        )
    if as_json:
        record = {**dataclasses.asdict(verdict), "within": verdict.within, "holds": verdict.holds}
        record["differs"] = [difference._asdict() for difference in verdict.differs]
        print_json(record)
    else:
        print(text(verdict))
    return int(not verdict.holds)


def _only(matches: Chosen) -> Row:
    """The single row of a signature.

    Raises:
        UserError: several were.
    """
    rows = matches.rows()
    if len(rows) > 1:
        raise UserError(
            f"{len(rows)} rows are meant; give the key of one: {', '.join(r.key for r in rows)}"
        )
    return rows[0]


@contextlib.contextmanager
def _folder(name: str | None) -> Iterator[Path]:
    """The folder of the new row: to keep, or temporary.

    Raises:
        UserError: the folder holds something already.
    """
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

    Raises:
        UserError: it cannot run here.
        KeyboardInterrupt: it was stopped.
    """
    if not plan.cells:
        raise UserError(f"this cell cannot run here:\n{missing(plan.skipped)}")
    store = RunStore(path)
    with RunProgress(plan) as progress:
        outcome = runner.run(plan, store, progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    keys = [*outcome.done, *outcome.failed]
    if not keys:
        raise UserError(f"this cell cannot run here:\n{missing(outcome.skipped)}")
    return store, keys[0]


def _reading(store: Store, row: Row) -> Reading:
    """A row with its lines, or without if they are gone."""
    try:
        return Reading(row, tuple(store.lines(row.key)))
    except UserError:
        return Reading(row, ())
