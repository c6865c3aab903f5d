"""`python -m bench perf`: our decoders against their peers, in one run."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.cli.runtime import add_machine, machine_of
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.analysis.perf.duels import Duel
    from bench.analysis.perf.record import Record
    from bench.core.types import Runtime

_EPILOG = f"""\
examples:
  {PROGRAM} perf                              every duel
  {PROGRAM} perf n-gram                       those whose name has the word
  {PROGRAM} perf search trocr-base            ... all of the words
  {PROGRAM} perf --list                       their names
  {PROGRAM} perf n-gram --encoder ./runs/tiny/model -o ./runs/tiny/model.head=FILE

It waits until other processes use less than a tenth of the machine; a duel that was disturbed all
the same is marked. A run that was stopped goes on when the same command is given again.

exit codes: 0 all is well; 1 a duel could not be fought; 2 a mistake in what was asked for; 130
Ctrl-C
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "perf",
        help="our decoders against their peers, in one run",
        description="Speed of our decoders against their peers: both on the same input, turn by "
        "turn, with the ratio's spread and whether both say the same.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only duels whose name has all")
    parser.add_argument("--list", action="store_true", help="names of the duels, fight none")
    parser.add_argument(
        "--encoder", default="mini", metavar="NAME",
        help="whose posteriors the n-gram searches read; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of that encoder; may be repeated",
    )  # fmt: skip
    add_machine(parser)
    parser.add_argument(
        "--wait", type=float, default=5.0, metavar="MINUTES",
        help="for a quiet machine, at most; default: %(default)g",
    )  # fmt: skip
    parser.add_argument(
        "--out", default="perf", metavar="NAME",
        help="folder under results/runs, or a path with a slash; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="forget what the folder has")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Fight the duels, write the table, print it."""
    from bench.analysis.perf.duels import all_duels, chosen
    from bench.core.files import write_atomically
    from bench.pipeline import runs
    from bench.pipeline.runner import check_runtime
    from bench.report import perf, render

    options = typed_options(parse_options(args.options), _registries(args.encoder))
    duels = chosen(all_duels(args.encoder, options.get(args.encoder)), args.words)
    if args.list or not duels:
        print("\n".join(duel.label for duel in duels) or "no duel has all of these words")
        return 0 if duels else 2
    folder = runs.folder(args.out)
    runtime = machine_of(args)
    check_runtime(runtime)
    _wait(60 * args.wait)
    record = _fought(duels, _record(folder, runtime, args.fresh), folder)
    table = perf.table(record)
    files = perf.files(table)
    for file, content in files.items():
        write_atomically(folder / file, content)
    print(render.terminal(table, shutil.get_terminal_size((100, 24)).columns))
    print(f"files in {folder}: perf.json, {', '.join(files)}")
    return int(any(verdict.reason for verdict in record.verdicts))


def _wait(patience_s: float) -> None:
    """Until the machine is quiet, or the patience ends."""
    from bench.analysis.perf.machine import QUIET, wait_for_quiet

    def waiting(share: float) -> None:
        print(f"waiting: other processes use {share:.0%} of the machine", file=sys.stderr)

    if (share := wait_for_quiet(patience_s, waiting)) >= QUIET:
        print(f"note: not quiet, others use {share:.0%} of the machine", file=sys.stderr)


def _fought(duels: Sequence[Duel], record: Record, folder: Path) -> Record:
    """The record with these duels; it is written after each of them."""
    from rich.console import Console

    from bench.analysis.perf.fight import fight, turns
    from bench.analysis.perf.record import write
    from bench.cli.bars import bars

    done = [verdict for duel in duels if (verdict := record.of(duel))]
    others = [v for v in record.verdicts if v.duel not in duels]
    left = [duel for duel in duels if not record.of(duel)]
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task("", total=sum(map(turns, left)))
        for duel in left:
            bar.update(task, description=duel.label)
            verdict = fight(duel, record.peaks, record.runtime, lambda: bar.advance(task))
            done.append(verdict)
            record = replace(record, verdicts=(*others, *done))
            write(folder, record)
    return record


def _record(folder: Path, runtime: Runtime, fresh: bool) -> Record:
    """That of the folder where it belongs to this code, machine and runtime, else a new one.

    Raises:
        UserError: the folder's record is damaged.
    """
    import torch

    from bench.analysis.perf.machine import peaks
    from bench.analysis.perf.record import Record, read
    from bench.core.hashing import plain
    from bench.core.machine import environment
    from bench.core.stopwatch import Stopwatch

    torch.set_num_threads(runtime.threads)
    here = plain(environment())
    old = None if fresh else read(folder)
    if old is not None and old.goes_on(here, runtime):
        return old
    return Record(here, runtime, peaks(Stopwatch.for_device("cpu")))


def _registries(encoder: str) -> tuple[Any, ...]:
    from models import ENCODERS

    ENCODERS.entry(encoder)
    return (ENCODERS,)
