"""`python -m bench doctor`: what this machine has, what is wrong, and how to mend it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from bench.analysis.doctor import Check, examine
from bench.cli import PROGRAM, add_data_root

_MARKS = {"ok": "  ", "note": "- ", "problem": "! "}

_EPILOG = f"""\
examples:
  {PROGRAM} doctor              ! a problem for the main job, - worth knowing
  {PROGRAM} doctor --json | jq '.[] | select(.verdict == "problem")'

exit codes: 0 the main job can run here; 1 something that it needs is wrong
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="what this machine has, and what is wrong with it",
        description="Versions, device, data, weights, permissions; each problem with its remedy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_root(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print all findings; 1 when one of them is a problem."""
    checks = examine()
    problems = sum(check.verdict == "problem" for check in checks)
    if args.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
        return int(problems > 0)
    width = max(len(check.name) for check in checks)
    print("\n".join(_line(check, width) for check in checks))
    verdict = "1 problem" if problems == 1 else f"{problems or 'no'} problems"
    print(f"\n{verdict} for the main job ({PROGRAM} run --all)")
    return int(problems > 0)


def _line(check: Check, width: int) -> str:
    line = f"{_MARKS[check.verdict]}{check.name:<{width}}  {check.found}"
    return f"{line}\n  {'':<{width}}  mend it: {check.remedy}" if check.remedy else line
