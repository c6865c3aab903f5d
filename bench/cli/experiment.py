"""`python -m bench experiment`: questions put to many systems at once, ending in a finding."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.analysis.experiment.design import Design
    from bench.analysis.experiment.finding import Finding
    from bench.pipeline.runner import Outcome
    from bench.pipeline.store import RunStore

_EPILOG = f"""\
examples:
  {PROGRAM} experiment language                      about 15 minutes on two cores
  {PROGRAM} experiment language --damage char_erase --lines 10 --seeds 0     a quick look
  {PROGRAM} experiment language --decoder ctc-ngram,ar-beam --out mine
  {PROGRAM} experiment language --lines 300 --seeds 0,1,2,3,4                 more power
  {PROGRAM} experiment language -o mini.weights=runs/mini/mini.safetensors

Damages (the same ink lost in four ways) x severities 0 to 5 x linguistic levels (english, shuffled,
pseudo, random) x decoders x seeds. What is claimed is written to design.json before anything is
measured. The folder results/experiments/NAME then holds finding.md (one page in plain words),
summary.json (every number), rows.jsonl, tables/ and plots/.
An experiment that was stopped goes on when the same command is given again.

exit codes: 0 all is well, whatever the finding; 1 a system could not run or a cell failed; 2 a
mistake in what was asked for, or something that is not here; 130 Ctrl-C
"""

# Larger ones share the AR steps better, and have lines of less like widths: more padding to encode.
_BATCH = 12


def add(subparsers: Any) -> None:
    """Register `experiment` and its sub-command `language`."""
    from bench.analysis.experiment.design import DAMAGES, DECODERS, LINES, SEEDS

    layout = argparse.RawDescriptionHelpFormatter
    command = subparsers.add_parser(
        "experiment", help="what does language add?", epilog=_EPILOG, formatter_class=layout
    )
    actions = command.add_subparsers(title="experiments", metavar="NAME", required=True)
    parser = actions.add_parser(
        "language",
        help="does language help more, the more of the ink is lost?",
        description="Does language help more, the more of the ink is lost?",
        epilog=_EPILOG,
        formatter_class=layout,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument("--encoder", default="mini", metavar="NAME", help="default: %(default)s")
    what.add_argument(
        "--decoder", action="append", metavar="NAMES", help=f"some of {', '.join(DECODERS)}"
    )
    what.add_argument(
        "--damage", action="append", metavar="NAMES", help=f"some of {', '.join(DAMAGES)}"
    )
    what.add_argument(
        "--lines", type=int, default=LINES, metavar="N", help="of each level; default: %(default)s"
    )
    what.add_argument(
        "--seeds", action="append", metavar="N,N,...",
        help=f"of the damages; default: {','.join(map(str, SEEDS))}",
    )  # fmt: skip
    what.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of the encoder or a decoder; may be repeated",
    )  # fmt: skip
    add_runtime(parser.add_argument_group("how"))
    parser.set_defaults(batch_size=_BATCH)
    parser.add_argument(
        "--out", default="language", metavar="NAME",
        help="folder under results/experiments, or a path with a slash; default: %(default)s",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure what is not finished, look at every character, judge, write the finding."""
    from bench.analysis.experiment.finding import declare, find, record
    from bench.analysis.experiment.run import build, folder, measure
    from bench.cli.bars import RunProgress, track
    from bench.pipeline.plan import Registries
    from bench.pipeline.store import RunStore

    registries, design = Registries(), _design(args)
    plan = build(design, registries)
    store = RunStore(folder(args.out))
    declare(design, store)
    with RunProgress(plan) as progress:
        outcome, measured = measure(design, plan, store, progress)
    if measured is None:
        raise KeyboardInterrupt(
            f"interrupted; what is finished is in {store.path}, and the same command goes on there"
        )
    finding = find(measured, registries, track)
    record(finding, store)
    _write(finding, store)
    return _tell(finding, outcome, store)


def _write(finding: Finding, store: RunStore) -> None:
    from bench.core.files import write_atomically
    from bench.report import experiment, experiment_plots

    made = experiment.files(finding)
    for plot in experiment_plots.draw(finding):
        made[f"plots/{plot.slug}.png"] = plot.png
        made[f"plots/{plot.slug}.svg"] = plot.svg
    for name, content in made.items():
        path = store.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def _tell(finding: Finding, outcome: Outcome, store: RunStore) -> int:
    """Print the finding in short; what could not run goes to stderr."""
    from bench.report.experiment import in_short

    print(in_short(finding))
    print(
        f"\nfiles in {store.path}: finding.md, summary.json, design.json, rows.jsonl, tables, plots"
    )
    for system, why in finding.left_out.items():
        print(f"note: {system} is left out: {why}", file=sys.stderr)
    return int(bool(outcome.failed or finding.left_out))


def _design(args: argparse.Namespace) -> Design:
    """What the options ask for.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    from bench.analysis.experiment.design import DAMAGES, DECODERS, SEEDS, Design
    from bench.pipeline.plan import Registries

    names = Registries()
    options = typed_options(parse_options(args.options), (names.encoders, names.decoders))
    return Design(
        encoder=args.encoder,
        decoders=words(args.decoder) or DECODERS,
        damages=words(args.damage) or DAMAGES,
        seeds=_seeds(words(args.seeds)) or SEEDS,
        lines=args.lines,
        options=options,
        runtime=runtime_of(args),
    )


def _seeds(values: tuple[str, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise UserError(f"--seeds takes whole numbers, not {','.join(values)}") from None
