"""`python -m bench run`: measure encoders x decoders x data sets x damages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import HOW, RESULTS, DataRoot, Inference, Json
from bench.cli.selection import Choices
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.pipeline.runner import Outcome
    from bench.pipeline.store import RunStore

app = App(
    name="run",
    help_epilogue=f"""\
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
""",
)


@app.default
def run(
    *,
    choices: Choices = Choices(),
    data_root: DataRoot = None,
    inference: Inference = Inference(),
    rounds: Annotated[int | None, Parameter(group=HOW)] = None,
    out: Annotated[str | None, Parameter(group=RESULTS)] = None,
    fresh: Annotated[bool, Parameter(group=RESULTS)] = False,
    dry_run: Annotated[bool, Parameter(group=RESULTS)] = False,
    as_json: Annotated[Json, Parameter(group=RESULTS)] = False,
) -> int:
    """Measure encoders x decoders x data sets x damages: CER and speed.

    Args:
        rounds: passes over each clean set; default: at least 3, fewer where one takes over 10 s
        out: run folder under results/runs, or a path with a slash
        fresh: a new run folder, never an old one
        dry_run: print the plan and measure nothing
    """
    from bench.cli.bars import RunProgress
    from bench.cli.output import missing, print_plan, print_results
    from bench.pipeline import runner, runs
    from bench.pipeline.opening import check_runtime
    from bench.pipeline.plan import build_plan
    from bench.pipeline.store import RunStore

    chosen = choices.selection(inference, rounds)
    check_runtime(chosen.runtime)
    plan = build_plan(chosen)
    if not plan.cells:
        raise UserError(f"nothing of this can run here:\n{missing(plan.skipped)}")
    store = RunStore(runs.choose(chosen, out, fresh))
    if dry_run:
        return print_plan(plan, store, as_json)
    runs.begin(store.path, chosen)
    with RunProgress(plan) as progress:
        outcome = runner.run(plan, store, progress)
    if outcome.interrupted:
        finished = sum(row.status == "ok" for row in RunStore(store.path).rows())  # as on disk
        raise KeyboardInterrupt(
            f"interrupted; {finished} finished cells are in {store.path}, "
            "and the same command goes on from there"
        )
    runs.end(store.path)
    print_results(store, outcome, as_json)
    return int(_incomplete(outcome, store, choices.named))


def _incomplete(outcome: Outcome, store: RunStore, named: Sequence[str]) -> bool:
    """Whether the exit code is 1."""
    keys = {*outcome.done, *outcome.reused}
    unreadable = any(row.unreadable for row in store.rows() if row.key in keys)
    left_out = any(item.label in named for item in outcome.skipped)
    return bool(outcome.failed) or unreadable or left_out
