"""`python -m bench perf`: our decoders against their peers, in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import Machine, Options
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.analysis.perf import PeerComparison, PeerRecord
    from bench.core.types import Runtime

app = App(
    name="perf",
    help_epilogue=f"""\
examples:
  {PROGRAM} perf                              every comparison
  {PROGRAM} perf n-gram                       those whose name has the word
  {PROGRAM} perf search trocr-base            ... all of the words
  {PROGRAM} perf --list                       their names
  {PROGRAM} perf n-gram --encoder ./runs/tiny/model -o ./runs/tiny/model.head=FILE

Let nothing else run meanwhile. A run that was stopped goes on when the same command is given again.

exit codes: 0 all is well; 1 a comparison could not be run; 2 a mistake in what was asked for; 130
Ctrl-C
""",
)


@app.default
def run(
    *words: str,
    names_only: Annotated[bool, Parameter(name="--list")] = False,
    encoder: str = "mini",
    options: Options = (),
    machine: Machine = Machine(),
    out: str = "perf",
    fresh: bool = False,
) -> int:
    """Compare the speed of our decoders with their peers'.

    Both read the same input, alternating; the table has the ratio's spread and whether both read
    the same texts.

    Args:
        words: only comparisons whose name has all
        names_only: names of the comparisons, run none
        encoder: whose log-probabilities the n-gram searches read
        out: folder under results/runs, or a path with a slash
        fresh: forget what the folder has
    """
    from bench.analysis.perf import comparisons
    from bench.core.files import write_files
    from bench.pipeline import runs
    from bench.pipeline.opening import check_runtime
    from bench.report import perf, render
    from models import ENCODERS

    ENCODERS.entry(encoder)
    typed = typed_options(parse_options(options), (ENCODERS,))
    chosen = comparisons(encoder, typed.get(encoder), words)
    if names_only or not chosen:
        print("\n".join(one.label for one in chosen) or "no comparison has all of these words")
        return 0 if chosen else 2
    folder = runs.folder(out)
    runtime = machine.runtime()
    check_runtime(runtime)
    record = _measured(chosen, _record(folder, runtime, fresh), folder)
    table = perf.table(record)
    files = render.files(table, "perf")
    write_files(folder, files)
    print(render.printed([table]))
    print(f"files in {folder}: perf.json, {', '.join(files)}")
    return int(any(result.reason for result in record.results))


def _measured(
    comparisons: Sequence[PeerComparison], record: PeerRecord, folder: Path
) -> PeerRecord:
    """The record with these comparisons; it is written after each of them."""
    from rich.console import Console

    from bench.analysis.perf import compare, write
    from bench.cli.bars import bars

    done = [result for one in comparisons if (result := record.of(one))]
    others = [result for result in record.results if result.comparison not in comparisons]
    left = [one for one in comparisons if not record.of(one)]
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task("", total=2 * len(left))
        for one in left:
            bar.update(task, description=one.label)
            done.append(compare(one, record.runtime, lambda sides: bar.advance(task, sides)))
            record = replace(record, results=(*others, *done))
            write(folder, record)
    return record


def _record(folder: Path, runtime: Runtime, fresh: bool) -> PeerRecord:
    """Read the folder's record where it is of this code, machine and runtime, else begin one.

    Raises:
        UserError: the folder's record is damaged.
    """
    from bench.analysis.perf import PeerRecord, read
    from bench.core.hashing import plain
    from bench.core.machine import environment

    here = plain(environment())
    old = None if fresh else read(folder)
    return old if old is not None and old.goes_on(here, runtime) else PeerRecord(here, runtime)
