"""`python -m bench speed`: the speed table of TrOCR, reported and measured."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from bench.analysis.speed.job import LEAST_LINES
from bench.cli import PROGRAM
from bench.cli.options import (
    HOW,
    RESULTS,
    WHAT,
    DataRoot,
    Json,
    Lang,
    Machine,
    Names,
    Numbers,
    Options,
    print_json,
)
from bench.core.bounds import Count
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.analysis.speed.job import SpeedJob

_CPU_MINUTES = 4.0

_Several = Parameter(consume_multiple=1)

app = App(
    name="speed",
    help_epilogue=f"""\
examples:
  {PROGRAM} speed                                   TrOCR's sizes and mini with every decoder
  {PROGRAM} speed --encoder trocr-small mini --batch-size 1 --minutes 1
  {PROGRAM} speed --encoder ./checkpoint -o ./checkpoint.head=head.safetensors
  {PROGRAM} speed --device cuda --dtype float32 float16 --batch-size 1 16 64

Weights that are in the cache of the Hub are used; without them the same architecture with random
weights does the same work, marked untrained, and gets no CER. Lines are those of IAM where it is
here, else of ink, repeated as often as needed.

On a CPU {LEAST_LINES} lines are read in about {_CPU_MINUTES:g} minutes, on a GPU 2,915 lines
without a limit of time. One line is tried first; where the time is short, costly systems read fewer
lines. Totals that are extrapolated to 2,915 lines are marked, and there are none from fewer than
{LEAST_LINES} lines. The files have more columns than the terminal. A table that was stopped goes on
when the same command is given again.

exit code 1: some systems failed, a decoder asked for by name could not run, or nothing was measured
""",
)


@Parameter(name="*", group=WHAT)
@dataclasses.dataclass(frozen=True)
class SpeedChoices:
    """The systems of the table, and the lines that they read.

    Args:
        encoder: encoders, also owner/name or ./folder; default: trocr-small, trocr-base,
            trocr-large, mini
        decoder: default: ar-beam-10, ar-beam-5, ar-greedy, ctc-greedy, ctc-kenlm; there is also
            ar-hf-10, generate of transformers, which is slow
        dataset: default: iam where it is here, else ink
        limit: lines to read; default: 2915 on a GPU, 16 on a CPU
    """

    encoder: Annotated[Names, _Several] = ()
    decoder: Annotated[Names, _Several] = ()
    dataset: str | None = None
    limit: Count | None = None
    options: Options = ()


@Parameter(name="*", group=HOW)
@dataclasses.dataclass(frozen=True)
class Timing(Machine):
    """The runtimes of the table, and the time that it may take.

    Args:
        batch_size: lines that are read together; default: 1 and 16, on a GPU 16
        dtype: float32, bfloat16, float16; default: float32, on a GPU float16
        minutes: for all of it; default: 4 on a CPU, no limit on a GPU
    """

    batch_size: Annotated[Numbers, _Several] = ()
    dtype: Annotated[Names, _Several] = ()
    minutes: float | None = None


@app.default
def run(
    *,
    choices: SpeedChoices = SpeedChoices(),
    data_root: DataRoot = None,
    timing: Timing = Timing(),
    out: Annotated[str | None, Parameter(group=RESULTS)] = None,
    fresh: Annotated[bool, Parameter(group=RESULTS)] = False,
    lang: Annotated[Lang, Parameter(group=RESULTS)] = None,
    as_json: Annotated[Json, Parameter(group=RESULTS)] = False,
) -> int:
    """Measure the speed table of TrOCR (Li et al. 2021, Table 5), with rows of ours.

    Args:
        out: run folder under results/runs, or a path with a slash
        fresh: a new run folder, never an old one
    """
    from bench.analysis.speed.job import absences
    from bench.analysis.speed.timing import measure
    from bench.cli.bars import RunProgress
    from bench.pipeline import runs
    from bench.pipeline.store import RunStore
    from bench.report import render
    from bench.report.language import say
    from bench.report.results import collect
    from bench.report.speed import speed_rows
    from bench.report.speed_table import brief_table, ratio_table, write

    job = _job(choices, timing)
    plan = job.plan()
    store = RunStore(runs.choose(job.identity(), out, fresh))
    begun = runs.begin(store.path, job.identity(), "speed")
    with RunProgress(plan) as progress:
        outcome = measure(plan, job.seconds, store, progress)
    results = collect(store)
    if not outcome.interrupted:  # else what was finished before may not have been reached
        keys, failures = {*outcome.done, *outcome.reused}, store.failures()
        cells = {cell for cell, row in failures.items() if row.key in outcome.failed}
        results = [
            result for result in results if {result.row.key, result.row.cell} & (keys | cells)
        ]
    rows = speed_rows(results, job.systems(), absences(job.systems(), outcome.skipped))
    files = write(store.path, rows)
    if outcome.interrupted:
        finished = sum(row.origin == "measured" for row in rows)
        raise KeyboardInterrupt(
            f"interrupted; {finished} finished rows are in {files[0]}, and the same command goes "
            "on from there"
        )
    runs.end(store.path, begun)
    if as_json:
        print_json([row.record() for row in rows])
    else:
        print(render.printed(filter(None, (brief_table(rows), ratio_table(rows)))))
        written = ", ".join(file.name for file in files)
        print(say("files in {path}: {files}", path=store.path, files=written))
    left_out = any(row.origin == "not run" and row.decoder in choices.decoder for row in rows)
    measured = any(row.origin == "measured" for row in rows)
    return int(bool(outcome.failed) or left_out or not measured)


def _job(choices: SpeedChoices, timing: Timing) -> SpeedJob:
    from bench.analysis.speed.job import (
        DEFAULT_ENCODERS,
        README_BATCH,
        README_DTYPE,
        SENTENCES,
        default_set,
        speed_job,
        speed_registries,
    )
    from bench.pipeline.opening import check_runtime
    from bench.pipeline.plan import Selection

    names = speed_registries()
    registries = (names.encoders, names.decoders, names.datasets)
    runtime = timing.runtime()
    on_cpu = runtime.device == "cpu"
    lines, minutes = (LEAST_LINES, _CPU_MINUTES) if on_cpu else (SENTENCES, math.inf)
    batch_sizes = timing.batch_size or ((1, README_BATCH) if on_cpu else (README_BATCH,))
    dtypes = timing.dtype or (("float32",) if on_cpu else (README_DTYPE,))
    for dtype in dtypes:
        check_runtime(dataclasses.replace(runtime, dtype=dtype))
    decoders = choices.decoder or Selection.all(names).decoders
    for decoder in decoders:
        names.decoders.entry(decoder)
    selection = Selection(
        encoders=choices.encoder or DEFAULT_ENCODERS,
        decoders=tuple(name for name in names.decoders.names() if name in decoders),
        datasets=(choices.dataset or default_set(),),
        limit=lines if choices.limit is None else choices.limit,
        runtime=runtime,
        options=typed_options(parse_options(choices.options), registries),
    )
    seconds = 60.0 * (minutes if timing.minutes is None else timing.minutes)
    return speed_job(selection, dtypes, batch_sizes, seconds)
