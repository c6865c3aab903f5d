"""`python -m bench trace`: profiler traces of a system, for TensorBoard and Chrome."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from cyclopts import App

from bench import ROOT
from bench.cli import PROGRAM
from bench.cli.options import DataRoot, Inference, Json, Options, print_json
from bench.cli.selection import parts_of_system, typed
from bench.core.errors import UserError

app = App(
    name="trace",
    help_epilogue=f"""\
examples:
  {PROGRAM} trace mini:ctc-greedy
  {PROGRAM} trace mini:ar-beam --lines 8 --batch-size 1 -o ar-beam.beam=10
  {PROGRAM} trace trocr-base:ar-beam --lines 2 --batch-size 2 --device cuda
  {PROGRAM} trace mini:ctc-ngram --stacks --out my-traces

A system is ENCODER:DECODER. Look at the traces with
  tensorboard --logdir results/traces   after pip install '.[trace]'; its tab pytorch_profiler
                                        draws charts with a script of Google's, so it shows
                                        nothing without internet
  chrome://tracing                      open SYSTEM/chrome.json.gz; works without internet
  https://ui.perfetto.dev               the same file

The profiler slows down what it watches, so a trace is no measurement: speeds come from the
commands run and perf.
""",
)


@dataclasses.dataclass(frozen=True)
class _Inference(Inference):
    batch_size: int = 8


@app.default
def run(
    system: str,
    /,
    *,
    dataset: str = "lines",
    split: str = "test",
    lines: int = 16,
    inference: _Inference = _Inference(),
    options: Options = (),
    stacks: bool = False,
    out: Path | None = None,
    as_json: Json = False,
    data_root: DataRoot = None,
) -> int:
    """Read some lines under torch's profiler and write the trace.

    Args:
        system: ENCODER:DECODER, as in mini:ctc-greedy
        dataset: one of `list`
        split: of the set
        lines: how many to read
        stacks: note which lines of Python call each operator; files become some times larger
        out: folder of the traces; default: results/traces
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's tracer talks on stderr otherwise
    from bench.analysis.trace import trace
    from bench.cli.bars import Steps
    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.trace import tables

    encoder, decoder = parts_of_system(system)
    for flag, value in (("--lines", lines), ("--batch-size", inference.batch_size)):
        if value < 1:
            raise UserError(f"{flag} {value} reads nothing; take 1 or more")
    folder, names = out or ROOT / "results" / "traces", Registries()
    with (
        Steps(system) as steps,
        opened(encoder, names, typed(options, names), inference.runtime()) as bench,
    ):
        reader = bench.decoder(bench.spec(decoder))
        images = [line.image for line in bench.lines(dataset, split, lines).lines]
        name = system.replace("/", "-").replace(":", "-")
        traced = trace(name, bench, reader, images, folder, stacks, steps.report)
    if as_json:
        record = {"system": system, **dataclasses.asdict(traced)}
        print_json(record)
        return 0
    print(render.printed(tables(traced, system, f"{dataset} ({split})")))
    print(f"tensorboard --logdir {folder}")
    print(f"chrome://tracing or https://ui.perfetto.dev: {traced.chrome}")
    return 0
