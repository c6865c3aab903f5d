"""`python -m bench trace`: what happens inside of a system, for TensorBoard and for Chrome."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ROOT
from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_machine, machine_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.analysis.trace import Trace

_EPILOG = f"""\
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

The profiler slows down what it watches, so a trace is no measurement: speeds come from
{PROGRAM} run and {PROGRAM} perf.
"""

_TRACES = ROOT / "results" / "traces"


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "trace",
        help="traces of torch's profiler of a system",
        description="Read some lines under torch's profiler and write what it saw.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("system", metavar="SYSTEM", help="ENCODER:DECODER, as in mini:ctc-greedy")
    parser.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--split", default="test", help="of the set; default: %(default)s")
    parser.add_argument(
        "--lines", type=int, default=16, metavar="N", help="lines to read; default: %(default)s"
    )
    parser.add_argument(
        "--batch-size", type=int, default=8, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--dtype", default="float32", help="default: %(default)s")
    add_machine(parser)
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of anything above; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--stacks", action="store_true",
        help="note which lines of Python call each operator; files become some times larger",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=_TRACES, metavar="DIR", help="default: results/traces"
    )
    parser.add_argument("--json", action="store_true", help="what was counted, for programs")
    add_data_root(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Trace a system and say where the files are."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's tracer talks on stderr otherwise
    from bench.report import render
    from bench.report.trace import tables

    traced = _traced(args)
    if args.json:
        record = dataclasses.asdict(traced)
        print(json.dumps({"system": args.system, **record}, indent=2, default=str))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    for table in tables(traced, args.system, f"{args.dataset} ({args.split})"):
        print(render.terminal(table, width))
    print(f"tensorboard --logdir {args.out}")
    print(f"chrome://tracing or https://ui.perfetto.dev: {traced.chrome}")
    return 0


def _traced(args: argparse.Namespace) -> Trace:
    """Open all that is asked for, and trace it.

    Raises:
        UserError: an unknown name or option, nothing to read, or a folder that cannot be written.
        Unavailable: weights, a package or data is not here.
    """
    from bench.analysis.trace import trace
    from bench.cli.bars import Steps
    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries

    encoder_name, decoder_name = _parts(args.system)
    for flag, value in (("--lines", args.lines), ("--batch-size", args.batch_size)):
        if value < 1:
            raise UserError(f"{flag} {value} reads nothing; take 1 or more")
    names = Registries()
    given = typed_options(
        parse_options(args.options), (names.encoders, names.decoders, names.datasets)
    )
    runtime = dataclasses.replace(machine_of(args), dtype=args.dtype, batch_size=args.batch_size)
    with (
        Steps(args.system) as steps,
        opened(encoder_name, names, given, runtime) as bench,
    ):
        decoder = bench.decoder(bench.spec(decoder_name))
        images = [line.image for line in bench.lines(args.dataset, args.split, args.lines).lines]
        name = args.system.replace("/", "-").replace(":", "-")
        return trace(name, bench, decoder, images, args.out, args.stacks, steps.report)


def _parts(system: str) -> tuple[str, str]:
    """Encoder and decoder of a system's name.

    Raises:
        UserError: it does not name both.
    """
    encoder, colon, decoder = system.rpartition(":")
    if not (encoder and colon and decoder):
        raise UserError(f"{system!r} is no system; name ENCODER:DECODER, such as mini:ctc-greedy")
    return encoder, decoder
