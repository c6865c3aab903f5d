"""`python -m bench reproduce`: measure a stored cell again, and see whether its number holds."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.cite import add_run, find
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.evidence import Chosen, Reading
    from bench.core.types import Row
    from bench.pipeline.plan import Plan
    from bench.pipeline.store import RunStore

_EPILOG = f"""\
examples:
  {PROGRAM} reproduce 32cfe9f1e1088f14              the key of a row, or the beginning of it
  {PROGRAM} reproduce 'e:mini@e824e25a|d:ctc-greedy|s:lines-test@8acb12be|dmg:none|...'
  {PROGRAM} reproduce 32cfe9 --run results/reference/two-cores
  {PROGRAM} reproduce 32cfe9 --out again             keep what was measured in results/runs/again
  {PROGRAM} reproduce 32cfe9 --device cpu            of a row of a GPU, the text at least
  {PROGRAM} reproduce 32cfe9 --json                  for programs

A signature is quoted in '...', or the shell will read it. The row is not changed. A CER holds when
it is the same, or within the interval of the stored one; a speed is told as a ratio and never
judged, for it is the machine's as well.

exit codes: 0 the number holds; 1 it does not, or the cell failed; 2 a mistake in what was asked
for, or something that it needs is not here; 130 Ctrl-C
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "reproduce",
        help="measure a cell again: does its number hold?",
        description="Measure the cell behind a signature or key again, with everything that its "
        "row says, and compare: CER, texts, speed, and what differs in code, software and machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cited", metavar="SIGNATURE|KEY", help="what stands beside the number")
    add_run(parser)
    parser.add_argument("--device", help="another than the row's")
    parser.add_argument(
        "--out", metavar="NAME",
        help="keep what was measured in this run folder; default: it is thrown away",
    )  # fmt: skip
    add_data_root(parser)
    parser.add_argument("--json", action="store_true", help="the verdict for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure again, compare, and tell."""
    from bench.analysis.reproduce import judge, plan_of
    from bench.pipeline.runner import check_runtime

    found = find(args.cited, args.run)
    row = _only(found)
    plan = plan_of(row, args.device)
    check_runtime(plan.runtime)
    with _folder(args.out) as path:
        store, key = _measured(plan, path)
        verdict = judge(
            _reading(found, row),
            _reading(store, next(each for each in store.rows() if each.key == key)),
            (found.environments().get(row.environment, {}), *store.environments().values()),
        )
    if args.json:
        from bench.core.hashing import plain

        told = {**dataclasses.asdict(verdict), "within": verdict.within, "holds": verdict.holds}
        told["differs"] = [difference._asdict() for difference in verdict.differs]
        print(json.dumps(plain(told), indent=2))
    else:
        from bench.report.reproduce import text

        print(text(verdict))
    return int(not verdict.holds)


def _only(found: Chosen) -> Row:
    """The row that was meant.

    Raises:
        UserError: several were.
    """
    rows = found.rows()
    if len(rows) > 1:
        raise UserError(
            f"{len(rows)} rows are meant; give the key of one: {', '.join(r.key for r in rows)}"
        )
    return rows[0]


@contextlib.contextmanager
def _folder(name: str | None) -> Iterator[Path]:
    """Where the new row goes: a folder to keep, or one that is thrown away.

    Raises:
        UserError: the folder holds something already.
    """
    import tempfile

    from bench.pipeline import runs

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
    from bench.cli.bars import RunProgress
    from bench.cli.output import missing
    from bench.pipeline import runner as harness
    from bench.pipeline.store import RunStore

    if not plan.cells:
        raise UserError(f"this cell cannot run here:\n{missing(plan.skipped)}")
    store = RunStore(path)
    with RunProgress(plan) as progress:
        outcome = harness.run(plan, store, progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    keys = [*outcome.done, *outcome.failed]
    if not keys:
        raise UserError(f"this cell cannot run here:\n{missing(outcome.skipped)}")
    return store, keys[0]


def _reading(store: Any, row: Row) -> Reading:
    """A row with its lines, or without where these are gone."""
    from bench.analysis.evidence import Reading

    try:
        return Reading(row, tuple(store.lines(row.key)))
    except UserError:
        return Reading(row, ())
