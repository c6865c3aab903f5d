"""`python -m bench speed`: the speed table of TrOCR, reported and measured."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_machine, machine_of
from bench.core.errors import UserError
from bench.core.options import words

if TYPE_CHECKING:
    from bench.analysis.speed.job import SpeedJob
    from bench.report.speed_rows import SpeedRow

_CPU_LINES, _CPU_MINUTES = 16, 4.0

_EPILOG = f"""\
examples:
  {PROGRAM} speed                                   all sizes and decoders, batch 1 and 16
  {PROGRAM} speed --size small mini --batch-size 1 --minutes 1
  {PROGRAM} speed --decoder ar-beam-10 ctc-greedy --limit 64 --minutes 30
  {PROGRAM} speed --device cuda --dtype float32 float16 --batch-size 1 16 64
  {PROGRAM} speed --size base -o trocr-base.repo=my/folder --out mine --json

Weights that are in the cache of the Hub are used; without them the same architecture with random
weights does the same work, marked untrained, and gets no CER. Lines are those of IAM where it is
here, else of the embedded set, repeated as often as needed.

On a CPU {_CPU_LINES} lines are read in about {_CPU_MINUTES:g} minutes, on a GPU 2,915 lines without
a limit of time. One line is tried first; where the time is short, costly systems read fewer lines,
and what is extrapolated to 2,915 is marked. A table that was stopped goes on when the same command
is given again.

exit codes: 0 all is well; 1 some systems failed, or one asked for by name could not run; 2 a
mistake in what was asked for; 130 Ctrl-C
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "speed",
        help="the speed table of TrOCR, reported and measured",
        description="The speed table of TrOCR (Li et al. 2021, Table 5), with rows of ours.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--size", nargs="+", metavar="NAME", help="small, base, large, mini; default: all"
    )
    what.add_argument(
        "--decoder", nargs="+", metavar="NAME",
        help="default: ar-beam-10, ar-beam-5, ar-greedy, ctc-greedy, ctc-kenlm; there is also "
        "ar-hf-10, generate of transformers, which is slow",
    )  # fmt: skip
    what.add_argument("--dataset", metavar="NAME", help="default: iam where it is here, else lines")
    what.add_argument(
        "--limit", type=int, metavar="N",
        help=f"lines to read; default: 2915 on a GPU, {_CPU_LINES} on a CPU",
    )  # fmt: skip
    what.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of an encoder, decoder or data set; may be repeated",
    )  # fmt: skip
    add_data_root(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--batch-size", nargs="+", metavar="N", help="default: 1 16")
    how.add_argument(
        "--dtype", nargs="+", metavar="NAME",
        help="float32, bfloat16, float16; default: float32",
    )  # fmt: skip
    add_machine(how)
    how.add_argument(
        "--minutes", type=float, metavar="M",
        help=f"for all of it; default: {_CPU_MINUTES:g} on a CPU, no limit on a GPU",
    )  # fmt: skip
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", metavar="NAME", help="run folder under results/runs, or a path with a slash"
    )
    results.add_argument("--fresh", action="store_true", help="a new run folder, never an old one")
    results.add_argument("--json", action="store_true", help="the rows for programs, unrounded")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write the table, print it."""
    from bench.analysis.speed.job import absences
    from bench.analysis.speed.timing import measure
    from bench.cli.bars import RunProgress
    from bench.pipeline import runs
    from bench.pipeline.store import RunStore
    from bench.report import render
    from bench.report.results import collect
    from bench.report.speed_rows import speed_rows
    from bench.report.speed_table import ratio_table, speed_table, write

    job = _job(args)
    plan = job.plan()
    store = RunStore(runs.choose(job.identity(), args.out, args.fresh))
    runs.begin(store.path, job.identity())
    with RunProgress(plan) as progress:
        outcome = measure(plan, job.seconds, store, progress)
    results = collect(store)
    if not outcome.interrupted:  # else what was finished before may not have been reached
        keys = {*outcome.done, *outcome.reused, *outcome.failed}
        results = [result for result in results if result.row.key in keys]
    rows = speed_rows(results, job.systems(), absences(job.systems(), outcome.skipped))
    files = write(store.path, rows)
    if outcome.interrupted:
        finished = sum(row.origin == "measured" for row in rows)
        raise KeyboardInterrupt(
            f"interrupted; {finished} finished rows are in {files[0]}, and the same command goes "
            "on from there"
        )
    runs.end(store.path)
    if args.json:
        print(json.dumps([row.record() for row in rows], indent=2))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for table in filter(None, (speed_table(rows), ratio_table(rows))):
            print(render.terminal(table, width))
        print(f"files: {', '.join(map(str, files))}")
    return int(bool(outcome.failed) or _left_out(rows, args))


def _job(args: argparse.Namespace) -> SpeedJob:
    """What the options ask for.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    from bench.analysis.speed.job import (
        SENTENCES,
        SIZES,
        default_decoders,
        default_set,
        speed_job,
        speed_registries,
    )
    from bench.core.options import parse_options, typed_options
    from bench.pipeline.opening import check_runtime
    from bench.pipeline.plan import Selection

    names = speed_registries()
    registries = (names.encoders, names.decoders, names.datasets)
    runtime = machine_of(args)
    on_cpu = runtime.device == "cpu"
    decoders = words(args.decoder) or default_decoders(names)
    minutes = args.minutes if args.minutes is not None else _CPU_MINUTES if on_cpu else math.inf
    dtypes = words(args.dtype) or ["float32"]
    for dtype in dtypes:
        check_runtime(replace(runtime, dtype=dtype))
    for decoder in decoders:
        names.decoders.entry(decoder)
    selection = Selection(
        encoders=(),
        decoders=tuple(name for name in names.decoders.names() if name in decoders),
        datasets=(args.dataset or default_set(),),
        limit=args.limit if args.limit is not None else _CPU_LINES if on_cpu else SENTENCES,
        runtime=runtime,
        options=typed_options(parse_options(args.options), registries),
    )
    sizes = words(args.size) or list(SIZES)
    batch_sizes = _numbers("--batch-size", words(args.batch_size)) or [1, 16]
    return speed_job(sizes, selection, dtypes, batch_sizes, 60.0 * minutes)


def _numbers(flag: str, words: Sequence[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise UserError(f"{flag} takes whole numbers, not {' '.join(words)}") from None


def _left_out(rows: Sequence[SpeedRow], args: argparse.Namespace) -> bool:
    """Whether a decoder that the user named did not run."""
    named = words(args.decoder)
    return any(row.origin == "not run" and row.decoder in named for row in rows)
