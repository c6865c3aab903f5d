"""`python -m bench check`: questions about a system that a table of CERs does not answer."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.analysis.overfit import Check

_EPILOG = f"""\
examples:
  {PROGRAM} check overfit --system mini:ctc-greedy --dataset hooker
  {PROGRAM} check overfit --system mini:ar-beam --dataset lines --limit 100
  {PROGRAM} check overfit --system trocr-base:ar-greedy --dataset unipen --json
  {PROGRAM} check overfit --system mini:ctc-greedy -o mini.weights=runs/mini/mini.safetensors

  {PROGRAM} check leak --dataset hooker
  {PROGRAM} check leak --dataset iam -o iam.root=~/IAM --text my-letters.txt

A system is ENCODER:DECODER. The same number of lines of the train, val and test split is read.
A set that the system never learned from tells nothing but how hard its splits are.

exit codes: 0 all is well; 1 over-fitted or it cannot be told, or more than one text or image in a
hundred in two splits; 2 a mistake in what was asked for, or something that is not here
"""


def add(subparsers: Any) -> None:
    """Register `check` and its sub-commands `overfit` and `leak`."""
    layout = argparse.RawDescriptionHelpFormatter
    command = subparsers.add_parser(
        "check",
        help="is a system over-fitted? does a split leak?",
        epilog=_EPILOG,
        formatter_class=layout,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_overfit(actions)
    _add_leak(actions)


def _add_overfit(actions: Any) -> None:
    overfit = actions.add_parser(
        "overfit",
        help="CER on lines that were learned from against lines that were not",
        description="CER of one system on the train, val and test split, and what that says.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    overfit.add_argument(
        "--system", default="mini:ctc-greedy", metavar="ENCODER:DECODER",
        help="default: %(default)s",
    )  # fmt: skip
    overfit.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    overfit.add_argument(
        "--limit", type=int, default=300, metavar="N", help="lines a split; default: %(default)s"
    )
    overfit.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of anything above; may be repeated",
    )  # fmt: skip
    overfit.add_argument(
        "--learned", default="train", metavar="SPLIT",
        help="that the system may have learned from; default: %(default)s",
    )  # fmt: skip
    overfit.add_argument(
        "--unseen", default="test", metavar="SPLIT",
        help="that it has not seen; default: %(default)s",
    )  # fmt: skip
    add_runtime(overfit)
    overfit.add_argument("--json", action="store_true", help="every number, for programs")
    add_data_root(overfit)
    overfit.set_defaults(handler=run)


def _add_leak(actions: Any) -> None:
    leak = actions.add_parser(
        "leak",
        help="texts, pages, hands and images that two splits of a set share",
        description="What the splits of a data set share, and what of its test lines a language "
        "model has read.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    leak.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    leak.add_argument(
        "--text", type=Path, nargs="+", metavar="FILE",
        help="text of a language model; default: that of the embedded one",
    )  # fmt: skip
    leak.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of the data set; may be repeated",
    )  # fmt: skip
    leak.add_argument("--json", action="store_true", help="every number, for programs")
    add_data_root(leak)
    leak.set_defaults(handler=run_leak)


def run_leak(args: argparse.Namespace) -> int:
    """Compare the splits, look into the text, judge."""
    from bench.analysis.lm import read_text
    from bench.cli.bars import track
    from bench.pipeline.leaks.check import check_splits, check_text
    from bench.pipeline.leaks.leak import known, seen_too_often
    from bench.pipeline.plan import Part, Registries
    from bench.report import render
    from bench.report.leak import table, verdict
    from decoders.language.lm import train_text

    names = Registries()
    given = typed_options(parse_options(args.options), (names.datasets,)).get(args.dataset, {})
    part = Part(args.dataset, names.datasets.create(args.dataset, given), given)
    leaks = check_splits(part, track)
    text = read_text(args.text) if args.text else train_text()
    texts = check_text(text, [part], track)
    if args.json:
        record = {
            "dataset": args.dataset,
            "splits": [dataclasses.asdict(leak) for leak in leaks],
            "text": [dataclasses.asdict(one) for one in texts],
            "known": known(args.dataset),
        }
        print(json.dumps(record, indent=2))
    else:
        print(render.terminal(table(args.dataset, leaks), shutil.get_terminal_size().columns))
        print(verdict(args.dataset, leaks, texts))
    spoilt = any(leak.spoils for leak in leaks) or any(seen_too_often(t.overlap) for t in texts)
    return int(spoilt)


def run(args: argparse.Namespace) -> int:
    """Read, compare, judge."""
    from bench.analysis.overfit import check
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries, Selection
    from bench.report import render
    from bench.report.overfit import table, verdict

    encoder, colon, decoder = args.system.rpartition(":")
    if not (encoder and colon and decoder):
        raise UserError(
            f"--system {args.system} is not of the form ENCODER:DECODER, such as mini:ctc-greedy"
        )
    names = Registries()
    registries = (names.encoders, names.decoders, names.datasets)
    asked = Selection(
        (encoder,),
        (decoder,),
        (args.dataset,),
        limit=args.limit,
        runtime=runtime_of(args),
        options=typed_options(parse_options(args.options), registries),
    )
    found = check(asked, names, track, args.learned, args.unseen)
    if args.json:
        print(json.dumps(_record(found), indent=2))
    else:
        print(render.terminal(table(found), shutil.get_terminal_size().columns))
        print(f"\n{verdict(found)}")
    return 0 if found.verdict in ("better on training lines", "no sign of over-fitting") else 1


def _record(found: Check) -> dict[str, Any]:
    """A check for programs: what was measured, and what follows from it."""
    splits = {
        score.split: {
            "lines": len(score.edits),
            "edits": sum(score.edits),
            "characters": sum(score.characters),
            "cer": score.cer,
            "sha256": score.sha256,
        }
        for score in found.scores
    }
    ratio = found.ratio
    return {
        "system": f"{found.encoder}:{found.decoder}",
        "weights": found.weights,
        "dataset": found.dataset,
        "trained_on": found.trained_on,
        "splits": splits,
        "ratio": dataclasses.asdict(ratio) if ratio else None,
        "verdict": found.verdict,
    }
