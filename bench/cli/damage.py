"""`python -m bench damage`: look at the damages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2

from bench.errors import UserError
from bench.files import write_atomically
from bench.types import Line
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.preview import contact_sheet

_EPILOG = """\
examples:
  python -m bench damage preview                      the first test line under every damage
  python -m bench damage preview --dataset hooker --line 7 -o hooker-7.png
  python -m bench damage preview --damage blot,strike --seed 3
"""


def add(subparsers: Any) -> None:
    """Register `damage` and its sub-command `preview`."""
    layout = argparse.RawDescriptionHelpFormatter
    command = subparsers.add_parser(
        "damage", help="look at the damages", epilog=_EPILOG, formatter_class=layout
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    preview = actions.add_parser(
        "preview",
        help="write a contact sheet: one line, each damage, severity 1 to 5",
        description="Write a contact sheet: one line, each damage, severity 1 to 5.",
        epilog=_EPILOG,
        formatter_class=layout,
    )
    preview.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    preview.add_argument("--split", default="test", help="default: %(default)s")
    preview.add_argument(
        "--line", type=int, default=1, metavar="N", help="which line, the first is 1 (the default)"
    )
    preview.add_argument(
        "--damage", metavar="NAMES", help="separated by commas; default: every damage"
    )
    preview.add_argument("--seed", type=int, default=0, help="of the damage; default: %(default)s")
    preview.add_argument(
        "-o", "--output", type=Path, default=Path("damage.png"), metavar="FILE.png",
        help="where to write it; default: %(default)s",
    )  # fmt: skip
    preview.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Write the contact sheet and print its path."""
    if args.output.suffix.lower() != ".png":
        raise UserError(f"the sheet is a PNG; {args.output} should end in .png")
    names = [name.strip() for name in args.damage.split(",")] if args.damage else DAMAGES.names()
    for name in names:
        DAMAGES.entry(name)
    line = _line(args.dataset, args.split, args.line)
    _, data = cv2.imencode(".png", contact_sheet(line, args.dataset, names, args.seed))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, data.tobytes())
    print(args.output)
    return 0


def _line(dataset: str, split: str, number: int) -> Line:
    if number < 1:
        raise UserError(f"there is no line {number}; the first line is 1")
    lines = DATASETS.create(dataset).load(split, number).lines
    if len(lines) < number:
        raise UserError(
            f"{dataset} ({split}) has no line {number}; the last that could be read is {len(lines)}"
        )
    line: Line = lines[number - 1]
    return line
