"""`python -m bench run`: measure encoders x decoders x data sets x damages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.selection import add_choices, add_how, named, selection
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.pipeline.plan import Plan
    from bench.pipeline.runner import Outcome
    from bench.pipeline.store import RunStore

_EPILOG = f"""\
examples:
  {PROGRAM} run --all                       the main job: all that can run on this machine
  {PROGRAM} run --all --dry-run             what that would be, and what of it is finished
  {PROGRAM} run --encoder mini --decoder ctc-greedy,ar-beam --dataset lines --limit 50
  {PROGRAM} run --encoder microsoft/trocr-base-str --decoder ar-beam --limit 20
  {PROGRAM} run --encoder ./my-trocr --dataset hooker      a folder; `weights` gets others
  {PROGRAM} run --encoder trocr-base -o trocr-base.untrained=true --limit 4    speed, no CER
  {PROGRAM} run --decoder ctc-kenlm -o ctc-kenlm.alpha=0.7 -o ctc-kenlm.beam=50
  {PROGRAM} run --dataset iam -o iam.root=~/IAM --strict     no line may be left out
  {PROGRAM} run --dataset hooker --damage blot,char_erase --severity 1,3,5
  {PROGRAM} run --all --out mine --json     the folder results/runs/mine, a summary for programs

Lists are separated by commas, and an option that takes one may be repeated; "all" means all.
A run that was stopped (Ctrl-C, kill -9, power) goes on when the same command is given again: the
newest folder of results/runs that was begun with the same choices and has not ended is taken up,
and its finished cells are not measured again. --fresh begins a new folder instead.

exit codes: 0 all is well; 1 some cells failed, or lines or things asked for by name could not be
read or run; 2 a mistake in what was asked for, or nothing of it can run here; 130 Ctrl-C
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="measure encoders x decoders x data sets x damages",
        description="Measure encoders x decoders x data sets x damages: CER and speed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_choices(parser.add_argument_group("what to measure"))
    add_data_root(parser)
    add_how(parser.add_argument_group("how"))
    _add_output(parser.add_argument_group("results"))
    parser.set_defaults(handler=run)


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out", metavar="NAME", help="run folder under results/runs, or a path with a slash"
    )
    group.add_argument("--fresh", action="store_true", help="a new run folder, never an old one")
    group.add_argument("--dry-run", action="store_true", help="print the plan and measure nothing")
    group.add_argument("--json", action="store_true", help="a summary for programs")


def run(args: argparse.Namespace) -> int:
    """Plan, measure, report."""
    from bench.cli.output import missing, print_plan, print_results
    from bench.pipeline import runs
    from bench.pipeline.opening import check_runtime
    from bench.pipeline.plan import build_plan
    from bench.pipeline.store import RunStore

    chosen = selection(args)
    check_runtime(chosen.runtime)
    plan = build_plan(chosen)
    if not plan.cells:
        raise UserError(f"nothing of this can run here:\n{missing(plan.skipped)}")
    store = RunStore(runs.choose(chosen, args.out, args.fresh))
    if args.dry_run:
        return print_plan(plan, store, args.json)
    runs.begin(store.path, chosen)
    outcome = _measure(plan, store)
    if outcome.interrupted:
        finished = sum(row.status == "ok" for row in RunStore(store.path).rows())  # as on disk
        raise KeyboardInterrupt(
            f"interrupted; {finished} finished cells are in {store.path}, "
            "and the same command goes on from there"
        )
    runs.end(store.path)
    print_results(store, outcome, args.json)
    return int(_incomplete(outcome, store, named(args)))


def _measure(plan: Plan, store: RunStore) -> Outcome:
    from bench.cli.bars import RunProgress
    from bench.pipeline import runner as harness

    with RunProgress(plan) as progress:
        return harness.run(plan, store, progress)


def _incomplete(outcome: Outcome, store: RunStore, named: Sequence[str]) -> bool:
    """Whether a program that reads the exit code should look closer."""
    keys = {*outcome.done, *outcome.reused}
    unreadable = any(row.unreadable for row in store.rows() if row.key in keys)
    left_out = any(item.label in named for item in outcome.skipped)
    return bool(outcome.failed) or unreadable or left_out
