"""`python -m bench damage`: look at the damages, write damaged sets, measure how hard they are."""

from __future__ import annotations

import argparse
from typing import Any

from bench.cli import PROGRAM, damage_calibrate, damage_export, damage_preview

_EPILOG = f"""\
examples:
  {PROGRAM} damage preview                             a line under every damage: damage.png
  {PROGRAM} damage preview --damage blot,strike --seed 3 -o blots.png
  {PROGRAM} damage export hooker -o damaged --damage none,char_erase,fade --severity 1,3,5
  {PROGRAM} damage calibrate --damage fade
"""


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
    damage_preview.add(actions)
    damage_export.add(actions)
    damage_calibrate.add(actions)
