"""`python -m bench damage`: look at the damages, write damaged sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root, damage_export
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.core.types import Line
    from datasets.base import Dataset

_EPILOG = f"""\
examples:
  {PROGRAM} damage preview                             a line under every damage: damage.png
  {PROGRAM} damage preview --damage blot,strike --seed 3 -o blots.png
  {PROGRAM} damage export hooker -o damaged --damage none,char_erase,fade --severity 1,3,5
"""
_PREVIEW_EPILOG = f"""\
examples:
  {PROGRAM} damage preview                      the first test line under every damage
  {PROGRAM} damage preview --dataset hooker --line 7 -o hooker-7.png
  {PROGRAM} damage preview --damage blot,strike --seed 3
  {PROGRAM} damage preview --damage span_erase --option span_erase.fill=mark
"""
_SUFFIXES = (".png", ".jpg", ".jpeg")
_JPEG_QUALITY = 70  # a sheet is for looking at


def add(subparsers: Any) -> None:
    """Register `damage` and its sub-commands."""
    command = subparsers.add_parser(
        "damage",
        help="look at damages, export damaged sets",
        description="What is done to a line before anybody reads it; see docs/damage.md.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_preview(actions)
    damage_export.add(actions)


def _add_preview(actions: Any) -> None:
    """Register the action."""
    parser = actions.add_parser(
        "preview",
        help="a contact sheet: one line, each damage, severity 1 to 5",
        description="Write a contact sheet: one line, each damage, severity 1 to 5.",
        epilog=_PREVIEW_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument(
        "--line", type=int, default=1, metavar="N", help="which line, the first is 1 (the default)"
    )
    parser.add_argument(
        "--damage", action="append", metavar="NAMES",
        help="separated by commas; default: every damage",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the damage; default: %(default)s")
    damage_export.add_options(parser)
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("damage.png"), metavar="FILE",
        help="where to write it, a .png or .jpg; default: %(default)s",
    )  # fmt: skip
    add_data_root(parser)
    parser.set_defaults(handler=_preview)


def _preview(args: argparse.Namespace) -> int:
    """Write the contact sheet and print its path."""
    import cv2

    from bench.core.files import plain_errors, write_atomically
    from datasets import DATASETS
    from datasets.damage import DAMAGES
    from datasets.damage.lines import others
    from datasets.damage.preview import contact_sheet

    if args.out.suffix.lower() not in _SUFFIXES:
        raise UserError(
            f"the sheet is a picture; {args.out} should end in {' or '.join(_SUFFIXES)}"
        )
    names = words(args.damage) or tuple(DAMAGES.names())
    options = typed_options(parse_options(args.options), (DATASETS, DAMAGES))
    damages = {name: DAMAGES.create(name, options.get(name)) for name in names}
    lines = _lines(DATASETS.create(args.dataset, options.get(args.dataset)), args)
    line, other = lines[args.line - 1], others(lines, args.dataset, args.seed)[args.line - 1]
    sheet = contact_sheet(line, args.dataset, damages, args.seed, other)
    _, data = cv2.imencode(args.out.suffix, sheet, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    with plain_errors(args.out.parent):
        args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, data.tobytes())
    print(args.out)
    return 0


def _lines(dataset: Dataset, args: argparse.Namespace) -> Sequence[Line]:
    """The lines up to the one that is asked for, and one more to shine through it."""
    if args.line < 1:
        raise UserError(f"there is no line {args.line}; the first line is 1")
    if absent := dataset.missing():
        raise absent
    lines = dataset.load(args.split, max(2, args.line)).lines
    if len(lines) < args.line:
        raise UserError(
            f"{args.dataset} ({args.split}) has no line {args.line}; the last that could be read "
            f"is {len(lines)}"
        )
    return lines
