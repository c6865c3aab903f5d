"""`python -m bench damage export`: damaged copies of a data set, for others to read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.core.types import Condition, LineSet

_EPILOG = f"""\
examples:
  {PROGRAM} damage export lines -o damaged --damage char_erase --severity 1,2,3,4,5
  {PROGRAM} damage export hooker -o damaged --damage none,blot,fade --seed 0,1,2
  {PROGRAM} damage export iam -o damaged --option iam.root=~/IAM --align mini
  {PROGRAM} damage export lines -o marked --damage span_erase --option span_erase.fill=mark
  {PROGRAM} run --dataset manifest -o manifest.path=damaged/char_erase-3-0/manifest.jsonl

Each copy is a folder DIR/damage-severity-seed with images (PNG), manifest.jsonl, export.json (what
it was made of) and SHA256SUMS. An export that was stopped goes on when the same command is given
again. The licence of the data set holds for its copies too.

exit codes: 0 all is well; 1 lines could not be used (DIR/bad-lines.jsonl says why); 2 a mistake in
what was asked for, or something that is not here; 130 Ctrl-C
"""


def add(actions: Any) -> None:
    """Register the action."""
    parser = actions.add_parser(
        "export",
        help="a damaged copy of a data set: PNG, manifest, SHA-256",
        description="Write damaged copies of a data set, so that others read the same images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="SET", help="a data set of `list`")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="where the copies go"
    )
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N lines only")
    parser.add_argument(
        "--damage", action="append", metavar="NAMES",
        help="separated by commas, and none for a clean copy; default: every damage",
    )  # fmt: skip
    parser.add_argument("--severity", action="append", metavar="N", help="1 to 5; default: 3")
    parser.add_argument("--seed", action="append", metavar="N", help="of the damages; default: 0")
    add_options(parser)
    add_data_root(parser)
    align = parser.add_argument_group("places of characters")
    align.add_argument(
        "--align", metavar="ENCODER",
        help="find the characters of lines without boxes with this CTC model, which should be none "
        "that will read the copies; default: slots of equal width",
    )  # fmt: skip
    add_runtime(align)
    parser.set_defaults(handler=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--option`, as -o names the output here."""
    parser.add_argument(
        "--option", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of the data set or a damage; may be repeated",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the copies and print where each is."""
    from bench.analysis.export import export
    from bench.cli.bars import track
    from bench.pipeline import bad_lines
    from datasets import DATASETS
    from datasets.damage import DAMAGES
    from models import ENCODERS

    options = typed_options(parse_options(args.options), (DATASETS, DAMAGES, ENCODERS))
    conditions = list(_conditions(args))
    damages = {
        name: None if name == "none" else DAMAGES.create(name, options.get(name))
        for name in {condition.damage for condition in conditions}
    }
    used = {args.dataset, args.align, *damages}
    if unused := next((name for name in options if name not in used), None):
        raise UserError(f"options are given for {unused!r}, which is not part of this export")
    found = _placed(_load(args, options), args, options)
    for condition in conditions:
        given = {
            name: options[name] for name in (args.dataset, condition.damage) if name in options
        }
        done = export(found, condition, damages[condition.damage], given, args.out, track)
        reused = f" ({done.reused} were there)" if done.reused else ""
        print(f"{done.path}: {done.made + done.reused} lines{reused}")
    bad_lines.note(args.out / bad_lines.NAME, args.dataset, args.split, found.bad)
    print(f"licence of the lines: {found.licence}", file=sys.stderr)
    if found.bad:
        print(
            f"{len(found.bad)} lines could not be used: why stands in {args.out / bad_lines.NAME}",
            file=sys.stderr,
        )
    return int(bool(found.bad))


def _conditions(args: argparse.Namespace) -> Iterator[Condition]:
    """What is to be written.

    Raises:
        UserError: a severity or seed that is none.
    """
    from bench.core.types import Condition
    from bench.pipeline.plan import CLEAN
    from datasets.damage import DAMAGES
    from datasets.damage.base import SEVERITIES

    severities = _numbers(args.severity, "3", "--severity")
    if unknown := [number for number in severities if number not in SEVERITIES[1:]]:
        raise UserError(f"severity {unknown[0]} is not one of 1 to {SEVERITIES[-1]}")
    for damage in words(args.damage) or DAMAGES.names():
        if damage == CLEAN:
            yield Condition(args.dataset, args.split, limit=args.limit)
            continue
        DAMAGES.entry(damage)
        for severity in severities:
            for seed in _numbers(args.seed, "0", "--seed"):
                yield Condition(args.dataset, args.split, damage, severity, seed, args.limit)


def _numbers(values: Sequence[str] | None, default: str, flag: str) -> list[int]:
    try:
        return [int(word) for word in words(values or [default])]
    except ValueError:
        raise UserError(f"{flag} takes whole numbers, not {','.join(values or ())}") from None


def _load(args: argparse.Namespace, options: dict[str, dict[str, Any]]) -> LineSet:
    from bench.cli.bars import Steps
    from datasets import DATASETS
    from datasets.base import listening

    if args.limit is not None and args.limit < 1:
        raise UserError(f"a limit of {args.limit} lines leaves nothing to write; take 1 or more")
    dataset = DATASETS.create(args.dataset, options.get(args.dataset))
    if absent := dataset.missing():
        raise absent
    with Steps(args.dataset) as steps, listening(steps.report):
        found: LineSet = dataset.load(args.split, args.limit)
    if not found.lines:
        raise UserError(f"{args.dataset} has no line that can be used in its split {args.split}")
    return found


def _placed(
    found: LineSet, args: argparse.Namespace, options: dict[str, dict[str, Any]]
) -> LineSet:
    """The lines, those without boxes with the ones that a CTC model finds, if asked for."""
    if args.align is None:
        return found
    import dataclasses

    from bench.analysis.alignment import with_boxes
    from bench.cli.bars import track
    from bench.pipeline.reading import open_trained
    from models import ENCODERS

    runtime = runtime_of(args)
    encoder = open_trained(ENCODERS, args.align, options.get(args.align), runtime)
    lines = with_boxes(found.lines, encoder, runtime.batch_size, track)
    without = sum(line.boxes is None for line in lines)
    if without:
        print(f"{without} lines could not be aligned and stay without boxes", file=sys.stderr)
    return dataclasses.replace(found, lines=lines)
