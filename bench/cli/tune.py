"""`python -m bench tune`: weights of a decoder on a validation split, then frozen."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options
from bench.pipeline.runs import CHECKS

if TYPE_CHECKING:
    from bench.pipeline.plan import Selection
    from decoders.tuned import Tuned

_EPILOG = f"""\
examples:
  {PROGRAM} tune --encoder mini --dataset lines --split val
  {PROGRAM} tune --encoder mini --limit 50 --dry-run        a quick look, nothing is frozen
  {PROGRAM} tune --grid alpha=0.3,0.5,0.7 --grid unk_offset=-5
  {PROGRAM} tune --decoder ctc-ngram --grid beam=8,32,100   other numbers of the decoder as well
  {PROGRAM} tune --decoder ctc-greedy+speller               the weights of a corrector
  {PROGRAM} tune --trials 60        no grid: Optuna's sampler, between its least and greatest values
  {PROGRAM} tune --damage blot,noise --severity 2 -o ctc-kenlm.beam=100
  {PROGRAM} tune -o ctc-kenlm.lm=my.arpa                    frozen for this very file

Every line is read clean and again damaged (each damage in its turn), so that the errors are as
many as those of a test. The best weights are written to decoders/tuned.json together with what
they were tuned on, and runs use them from then on where these options are not set by hand. A map of
what was tried, with how flat the CER lies around the best, is written as a plot and as a table. A
search that was stopped goes on where it was.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tune",
        help="tune language model weights on a validation split",
        description="Tune the weights of a decoder on a validation split.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to tune")
    what.add_argument("--encoder", default="mini", metavar="NAME", help="default: %(default)s")
    what.add_argument("--decoder", default="ctc-kenlm", metavar="NAME", help="default: %(default)s")
    what.add_argument(
        "--grid", action="append", default=[], metavar="OPTION=V,V,...",
        help="values to try in the place of the decoder's own; may be repeated",
    )  # fmt: skip
    what.add_argument(
        "--trials", type=int, metavar="N",
        help="try N points between the least and the greatest values of the grid, chosen by "
        "Optuna's sampler; without it every point of the grid",
    )  # fmt: skip
    what.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option that is not tuned; may be repeated",
    )  # fmt: skip
    lines = parser.add_argument_group("on what")
    lines.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    lines.add_argument("--split", default="val", help="val and no other; default: %(default)s")
    lines.add_argument("--limit", type=int, metavar="N", help="the first N lines only")
    lines.add_argument(
        "--damage", metavar="NAMES", default="all",
        help="with commas between, or none for clean lines alone; default: %(default)s",
    )  # fmt: skip
    lines.add_argument("--severity", type=int, default=3, metavar="N", help="default: %(default)s")
    lines.add_argument("--seed", type=int, default=0, help="of the damages; default: %(default)s")
    how = parser.add_argument_group("how")
    add_runtime(how)
    how.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where the map goes; default: results/checks/tuning",
    )  # fmt: skip
    how.add_argument("--dry-run", action="store_true", help="tell the best, freeze nothing")
    how.add_argument("--json", action="store_true", help="the whole entry, for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Tune, freeze, tell."""
    from bench.analysis.tuning.tune import tune
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.tuning import at_the_edge, table
    from decoders.tuned import freeze

    registries = Registries()
    grid = dict(_values(item) for item in args.grid)
    found = tune(_selection(args), registries, track, grid, args.trials)
    path = None if args.dry_run else freeze(found)
    if args.json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
        return 0
    print(render.terminal(table(found), shutil.get_terminal_size().columns))
    print(f"\nfrozen in {path}" if path else "\nnothing was frozen (--dry-run)")
    print("map: " + ", ".join(map(str, _written(found, args.out or CHECKS / "tuning"))))
    for sentence in at_the_edge(found):
        print(f"note: {sentence}", file=sys.stderr)
    return 0


def _written(found: Tuned, folder: Path) -> list[Path]:
    """The map as a plot and as a table."""
    from bench.core.files import plain_errors, write_atomically
    from bench.report import render
    from bench.report.tuning import draw, table

    plot, told = draw(found), table(found)
    files = {
        **plot.files,
        f"{plot.slug}.md": render.markdown(told).encode(),
        f"{plot.slug}.csv": render.spreadsheet(told).encode("utf-8-sig"),
    }
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def _selection(args: argparse.Namespace) -> Selection:
    """What the options ask for.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    from bench.pipeline.plan import Registries, Selection

    names = Registries()
    registries = (
        names.encoders, names.decoders, names.datasets, names.damages, names.correctors,
    )  # fmt: skip
    return Selection(
        encoders=(args.encoder,),
        decoders=(args.decoder,),
        datasets=(args.dataset,),
        split=args.split,
        damages=_damages(args.damage, names.damages.names()),
        severities=(args.severity,),
        seed=args.seed,
        limit=args.limit,
        options=typed_options(parse_options(args.options), registries),
        runtime=runtime_of(args),
    )


def _damages(text: str, known: Sequence[str]) -> tuple[str, ...]:
    if text in ("all", "none"):
        return tuple(known) if text == "all" else ()
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _values(item: str) -> tuple[str, tuple[float, ...]]:
    """The option and the values of `alpha=0.5,0.7`."""
    option, _, values = item.partition("=")
    try:
        return option.strip(), tuple(float(value) for value in values.split(","))
    except ValueError:
        raise UserError(
            f"--grid {item} is not of the form OPTION=NUMBER,NUMBER,..., such as "
            "--grid alpha=0.3,0.5"
        ) from None
