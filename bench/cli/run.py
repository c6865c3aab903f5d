"""`python -m bench run`: measure encoders x decoders x data sets x damages."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import (
    HOW,
    RESULTS,
    CellChoices,
    DataRoot,
    Inference,
    Json,
    Lang,
    print_json,
)
from bench.core.bounds import Count, Whole
from bench.core.errors import UserError
from bench.core.types import Row
from bench.pipeline import bad_lines

if TYPE_CHECKING:
    from bench.pipeline.plan import Plan, Skipped
    from bench.pipeline.runner import Outcome
    from bench.pipeline.store import RunStore

_GET = re.compile(r"(.*python -m bench \w+ get) (\S+)")  # such commands take several names

app = App(
    name="run",
    help_epilogue=f"""\
examples:
  {PROGRAM} run --all                       the main job: all that can run on this machine
  {PROGRAM} run --all --dry-run             what that would be, and what of it is finished
  {PROGRAM} run --encoder mini --decoder ctc-greedy,ar-beam --dataset ink --limit 50
  {PROGRAM} run --encoder ./my-trocr --dataset hooker      a folder; `data get` has others
  {PROGRAM} run --encoder trocr-base -o trocr-base.untrained=true --limit 4    speed, no CER
  {PROGRAM} run --decoder ctc-kenlm -o ctc-kenlm.alpha=0.7 -o ctc-kenlm.beam=50
  {PROGRAM} run --dataset iam -o iam.root=~/IAM -o iam.strict=true   no line may be left out
  {PROGRAM} run --dataset hooker --damage blot,char_erase --severity 1,3,5
  {PROGRAM} run --all --out mine --json     results/runs/mine, a summary for programs
  {PROGRAM} run --all --executor ray --cpus 4   on a cluster: docs/scale.md

Lists are separated by commas, and an option that takes one may be repeated; "all" means all.
A run that was stopped (Ctrl-C, kill, power) goes on when the same command is given again: the
newest folder of results/runs that was begun with the same choices and has not ended is taken up,
and its finished cells are not measured again. --fresh begins a new folder instead. SIGTERM lets
the cells that are being measured end first.

exit code 1: some cells failed, or lines or things asked for by name could not be read or run
""",
)


@app.default
def run(
    *,
    choices: CellChoices = CellChoices(),
    data_root: DataRoot = None,
    inference: Inference = Inference(),
    rounds: Annotated[Count | None, Parameter(group=HOW)] = None,
    executor: Annotated[Literal["local", "ray", "slurm"], Parameter(group=HOW)] = "local",
    cpus: Annotated[Whole | None, Parameter(group=HOW)] = None,
    gpus: Annotated[float | None, Parameter(group=HOW)] = None,
    shard: Annotated[Count | None, Parameter(group=HOW)] = None,
    out: Annotated[str | None, Parameter(group=RESULTS)] = None,
    fresh: Annotated[bool, Parameter(group=RESULTS)] = False,
    dry_run: Annotated[bool, Parameter(group=RESULTS)] = False,
    lang: Annotated[Lang, Parameter(group=RESULTS)] = None,
    as_json: Annotated[Json, Parameter(group=RESULTS)] = False,
) -> int:
    """Measure encoders x decoders x data sets x damages: CER and speed.

    Args:
        rounds: passes over each clean set; default: at least 3, fewer where one takes over 10 s
        executor: this process, or tasks on a Ray or Slurm cluster, one for each encoder and
            condition
        cpus: cores of a task on a cluster; default: --threads. A speed is measured where a task has
            all cores of its machine, or with --device cuda a whole card
        gpus: cards of a task on a cluster; default: 1 with --device cuda, else 0
        shard: lines of a task on a cluster at most, in whole batches; a set of more is read by
            several tasks, without a speed
        out: run folder under results/runs, or a path with a slash
        fresh: a new run folder, never an old one
        dry_run: print the plan and measure nothing
    """
    from bench.cli.bars import RunProgress
    from bench.pipeline import executors, runner, runs
    from bench.pipeline.opening import check_runtime
    from bench.pipeline.plan import build_plan, fitting
    from bench.pipeline.store import RunStore

    chosen = choices.selection(inference, rounds)
    if executor == "local":
        if cpus is not None or gpus is not None or shard is not None:
            raise UserError(
                "--cpus, --gpus and --shard are for tasks on a cluster; add --executor ray or "
                "leave them out"
            )
        check_runtime(chosen.runtime)
    else:
        executors.check_engine(executor)
    resources = executors.resources(chosen.runtime, cpus, gpus)
    plan = fitting(build_plan(chosen))
    if not plan.cells:
        raise UserError(f"nothing of this can run here:\n{missing(plan.skipped)}")
    store = RunStore(runs.choose(chosen, out, fresh))
    if dry_run:
        return _print_plan(plan, store, as_json)
    begun = runs.begin(store.path, chosen, cells=plan.cells)
    with RunProgress(plan) as progress, _stopped_by_signals() as stopping:
        if executor == "local":
            outcome = runner.run(plan, store, progress, stopping=stopping)
        else:
            outcome = executors.run(
                plan, store, executor, resources, progress, stopping, shard=shard
            )
    if outcome.interrupted:
        finished = sum(row.status == "ok" for row in RunStore(store.path).rows())  # as on disk
        raise KeyboardInterrupt(
            f"interrupted; finished cells in {store.path}: {finished}; the same command goes on "
            "from there"
        )
    runs.end(store.path, begun)
    _print_results(store, outcome, as_json)
    return int(_incomplete(outcome, store, choices.named))


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Yield whether SIGTERM or Ctrl-C has come; a second SIGTERM ends the process as usual.

    Ctrl-C also raises KeyboardInterrupt, but a compiled library may swallow it or turn it into an
    error of its own.
    """
    stopped = threading.Event()

    def note(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGTERM, before)

    def interrupt(*_: object) -> None:
        stopped.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, note)
    ctrl_c = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGTERM, before)


def _incomplete(outcome: Outcome, store: RunStore, named: Sequence[str]) -> bool:
    keys = {*outcome.done, *outcome.reused}
    unreadable = any(row.unreadable for row in store.rows() if row.key in keys)
    left_out = any(item.label in named for item in outcome.skipped)
    return bool(outcome.failed) or unreadable or left_out


def _print_plan(plan: Plan, store: RunStore, as_json: bool) -> int:
    """Print the cells of a plan, marking finished ones; exit code 0."""
    from bench.cli.bars import label
    from bench.cli.listing import behind
    from bench.pipeline.runner import finished as finished_cells
    from bench.report.format import commas, plural
    from bench.report.language import say

    held = finished_cells(plan, store)
    cells = [
        {"encoder": block.encoder.name, "decoder": part.name, **dataclasses.asdict(block.condition)}
        | {"finished": (block.encoder.name, part.name, block.condition) in held}
        for block in plan.blocks
        for part in block.decoders
    ]
    finished = sum(bool(cell["finished"]) for cell in cells)
    if as_json:
        record = {
            "folder": str(store.path),
            "runtime": dataclasses.asdict(plan.blocks[0].runtime),
            "cells": cells,
            "skipped": [dataclasses.asdict(item) for item in plan.skipped],
        }
        print_json(record)
        return 0
    print(
        say(
            "{cells} in {blocks}, {finished} finished in {path}",
            cells=plural(len(cells), "cell"),
            blocks=plural(len(plan.blocks), "block"),
            finished=finished,
            path=store.path,
        )
    )
    runtime = dataclasses.asdict(plan.blocks[0].runtime)
    print(f"({', '.join(f'{name} {value}' for name, value in runtime.items())})\n")
    for block in plan.blocks:
        name = block.encoder.name
        parts = (
            say("{decoder} (finished)", decoder=part.name)
            if (name, part.name, block.condition) in held
            else part.name
            for part in block.decoders
        )
        limit = block.condition.limit
        first = "" if limit is None else say(", first {limit} lines", limit=limit)
        print(behind(f"{label(block)} ({block.condition.split}{first}): ", commas(parts)))
    if plan.skipped:
        print(f"\n{say('cannot run here:')}\n{missing(plan.skipped)}")
    return 0


def _print_results(store: RunStore, outcome: Outcome, as_json: bool) -> None:
    from bench.cli.bars import Steps
    from bench.report import output
    from bench.report.format import percent, plural
    from bench.report.language import say
    from bench.report.results import collect

    with Steps("report") as steps:
        results = collect(store)
        files = output.write(store.path, results, report=steps.report)
    if as_json:
        record = {
            "folder": str(store.path),
            "files": [str(path) for path in files],
            **dataclasses.asdict(outcome),
            "overhead": outcome.overhead,
        }
        print_json(record)
        return
    print(output.terminal(results))
    if outcome.loop_s:
        words = "the harness itself took {percent} % of the measuring loops"
        print(say(words, percent=percent(outcome.overhead)))
    tops = dict.fromkeys(path.relative_to(store.path).parts[0] for path in files)
    bad = bad_lines.read(store.path / bad_lines.NAME)
    reasons = [bad_lines.NAME] if bad else []
    files_written = ", ".join(("rows.jsonl", *reasons, *tops))
    print(say("files in {path}: {files}", path=store.path, files=files_written))
    if bad:
        words = "{lines} could not be used; the reasons are in {path}"
        path = store.path / bad_lines.NAME
        print(say(words, lines=plural(len(bad), "line"), path=path))
    rows = [result.row for result in results]
    for note in _unapplied(rows):
        print(say("note: {note}", note=note))
    if failed := [row for row in store.failures().values() if row.key in outcome.failed]:
        print(f"\n{say('failed:')}\n{_failures(failed)}")
    if outcome.skipped:
        print(f"\n{say('could not run here:')}\n{missing(outcome.skipped)}")


def _unapplied(rows: Iterable[Row]) -> list[str]:
    """Generation settings of checkpoints that decoders did not apply, each sentence once."""
    from bench.report.conditions import settings
    from bench.report.language import say

    decoders: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if ignored := row.extras.get("generation_ignored"):
            decoders.setdefault((row.encoder, settings(ignored)), {})[row.decoder] = None
    return [
        say(
            "{decoders} did not apply the generation settings of {encoder}: {settings}",
            decoders=", ".join(names),
            encoder=encoder,
            settings=ignored,
        )
        for (encoder, ignored), names in decoders.items()
    ]


def missing(skipped: Sequence[Skipped]) -> str:
    """Missing things grouped by reason, with one command per remedy.

    Downloads by the same command are merged.
    """
    from bench.cli.listing import behind
    from bench.report.format import commas
    from bench.report.language import say_text

    lines: list[str] = []
    for remedy, items in _by_remedy(skipped).items():
        reasons: dict[tuple[str, str, str], list[str]] = {}
        for item in items:
            reasons.setdefault((item.kind, item.encoder, item.reason), []).append(item.name)
        for (kind, encoder, why), names in reasons.items():
            what = f"{kind} {commas(names)}" + (f" on {encoder}" if encoder else "")
            lines.append(behind("  ", f"{say_text(what)}: {say_text(why)}"))
        lines += [f"      {say_text(remedy)}"] if remedy else []
    return "\n".join(lines)


def _by_remedy(skipped: Sequence[Skipped]) -> dict[str, list[Skipped]]:
    """Missing things by the command that mends them; `get A` and `get B` become `get A B`."""
    groups: dict[str, tuple[list[str], list[Skipped]]] = {}
    for item in skipped:
        getting = _GET.fullmatch(item.remedy)
        command, name = getting.groups() if getting else (item.remedy, "")
        names, items = groups.setdefault(command, ([], []))
        names += [name] if name not in names else []
        items.append(item)
    return {
        " ".join([command, *names]).strip(): items for command, (names, items) in groups.items()
    }


def _failures(failed: Sequence[Row]) -> str:
    from bench.report.language import say, say_text

    cells: dict[str, dict[str, None]] = {}
    for row in failed:
        system = f"{row.encoder} + {row.decoder}"
        name = say("{system} on {set}", system=system, set=row.condition.dataset)
        cells.setdefault(say_text(row.reason), {})[name] = None
    return "\n".join(f"  {reason} ({', '.join(names)})" for reason, names in cells.items())
