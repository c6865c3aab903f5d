"""`python -m bench damage calibrate`: how hard the damages of the whole line make reading."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from typing import Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.options import parse_options, typed_options, words

_EPILOG = f"""\
examples:
  {PROGRAM} damage calibrate
  {PROGRAM} damage calibrate --damage fade,noise --limit 100
  {PROGRAM} damage calibrate --json > calibration.json

Reads the validation split of a data set with ctc-greedy under damages that have no unit of their
own (blur, grain, fading, ...), strength by strength, and tells where the CER rises by 3, 8, 15, 30
and 50 points: severity 1 to 5. The strengths are frozen in the suite, so this changes nothing; it
shows what they cost an encoder and where others would lie. Takes some minutes a damage.
"""


def add(actions: Any) -> None:
    """Register the action."""
    parser = actions.add_parser(
        "calibrate",
        help="measure what the severities of blur, grain, fading cost a decoder",
        description="Measure the rise of the CER under the damages without a unit of their own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", default="mini", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--damage", action="append", metavar="NAMES", help="default: all that were calibrated"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first N lines only")
    parser.add_argument("--seed", type=int, default=0, help="of the damages; default: %(default)s")
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of the encoder or the data set; may be repeated",
    )  # fmt: skip
    add_data_root(parser)
    add_runtime(parser.add_argument_group("how"))
    parser.add_argument("--json", action="store_true", help="every point, for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure, tell."""
    from bench.analysis.calibration import Job, calibrate
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.calibration import table

    names = Registries()
    job = Job(
        encoder=args.encoder,
        dataset=args.dataset,
        damages=words(args.damage),
        limit=args.limit,
        seed=args.seed,
        options=typed_options(parse_options(args.options), (names.encoders, names.datasets)),
        runtime=runtime_of(args),
    )
    found = calibrate(job, names, track)
    if args.json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        print(render.terminal(table(found), shutil.get_terminal_size().columns))
    return 0
