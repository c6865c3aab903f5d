"""`python -m bench compare`: systems in pairs, on the same lines."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.core.errors import UserError
from bench.core.options import words

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison, System
    from bench.core.types import Row
    from bench.report.results import Result

_EPILOG = f"""\
examples:
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram          of the newest run
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram mini:ar-beam --damage none
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram --damage char_erase --severity 3,5
  {PROGRAM} compare before/mini:ar-beam after/mini:ar-beam  the same system in two runs
  {PROGRAM} compare --run mine mini:ctc-greedy mini:ctc-ngram --format tex > pair.tex
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram --json

A system is encoder:decoder as the tables call it, and RUN/encoder:decoder where it is of another
run than the newest; the second of each pair is judged against the first. Nothing is measured
again. Results of other data, damage, normaliser or schema are refused.

exit codes: 0 all is well; 1 a row of a system failed or has no lines; 2 a mistake in what was
asked for, or what may not be compared
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "compare",
        help="what one system gains over another, and what it costs",
        description="Compare systems line by line from what runs have stored: differences with "
        "intervals and p-values, speed and cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("systems", nargs="+", metavar="SYSTEM", help="[RUN/]encoder:decoder")
    parser.add_argument(
        "--run", metavar="RUN",
        help="the run of systems that name none: a name under results/runs, or a path; the newest "
        "by default",
    )  # fmt: skip
    for flag, what in (
        ("--dataset", "data sets"),
        ("--damage", "damages, and none for the clean set"),
        ("--severity", "severities; 0 is the clean set"),
    ):
        parser.add_argument(
            flag, action="append", metavar="NAMES", help=f"only these {what}; default: all"
        )
    parser.add_argument(
        "--format", choices=("text", "md", "tex", "csv"), default="text",
        help="of the tables on stdout; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="unrounded numbers for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from rich.console import Console

    from bench.analysis.compare import compare

    if args.json and args.format != "text":
        raise UserError(f"give --json or --format {args.format}, not both")
    left_out: list[str] = []
    with Console(stderr=True).status("resampling"):
        systems, results = _systems(args, left_out.append)
        comparisons = compare(systems)
    for why in left_out:
        print(f"left out: {why}", file=sys.stderr)
    if args.json:
        print(json.dumps(_record(comparisons), indent=2))
    else:
        print(_printed(comparisons, results, args.format))
    return int(bool(left_out))


def _systems(
    args: argparse.Namespace, left_out: Callable[[str], None]
) -> tuple[list[System], dict[tuple[str, str], Result]]:
    """The systems that were named, and the results of their rows by label and key."""
    from bench.analysis.compare import System
    from bench.analysis.evidence import readings
    from bench.cli.systems import Runs
    from bench.report.results import collect

    if len(set(args.systems)) < len(args.systems):
        raise UserError("a system is named twice; name each once")
    runs = Runs(args.run)
    wanted = _filter(args)
    systems: list[System] = []
    results: dict[tuple[str, str], Result] = {}
    for word in args.systems:
        named = runs.named(word, wanted)
        systems.append(System(word, tuple(readings([named], left_out=left_out))))
        results |= {(word, result.row.key): result for result in collect(named)}
    return systems, results


def _filter(args: argparse.Namespace) -> Callable[[Row], bool]:
    datasets, damages = words(args.dataset), words(args.damage)
    severities = words(args.severity)
    if wrong := [text for text in severities if not text.isdecimal()]:
        raise UserError(f"--severity takes whole numbers, not {', '.join(wrong)}")

    def wanted(row: Row) -> bool:
        condition = row.condition
        return (
            (not datasets or condition.dataset in datasets)
            and (not damages or condition.damage in damages)
            and (not severities or str(condition.severity) in severities)
        )

    return wanted


def _printed(
    comparisons: Sequence[Comparison],
    results: Mapping[tuple[str, str], Result],
    form: str,
) -> str:
    import shutil

    from bench.analysis.compare import sides
    from bench.report import render
    from bench.report.compare import tables

    shown = {(side.label, side.reading.row.key) for side in sides(comparisons)}
    found = tables(comparisons, {key: result for key, result in results.items() if key in shown})
    if form == "text":
        width = shutil.get_terminal_size((100, 24)).columns
        return "\n".join(render.terminal(table, width) for table in found)
    formats = {"md": render.markdown, "tex": render.latex, "csv": render.spreadsheet}
    return "\n".join(formats[form](table) for table in found)


def _record(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything that was worked out, as JSON holds it: of each side its row by `key`, no lines."""
    from bench.analysis.compare import sides
    from bench.core.hashing import plain

    pairs = [
        {
            **_fields(pair),
            "first": pair.first.label,
            "second": pair.second.label,
            "lines": pair.lines and pair.lines._asdict(),
        }
        for pair in comparisons
    ]
    systems = []
    for side in sides(comparisons):
        row = side.reading.row
        told = {name: getattr(row, name) for name in ("key", "signature", "cer", "wer")}
        fields = {name: value for name, value in _fields(side).items() if name != "reading"}
        systems.append({**fields, **told, "condition": _fields(row.condition)})
    return dict(plain({"pairs": pairs, "systems": systems}))


def _fields(thing: Any) -> Any:
    """The fields of a dataclass, those inside of it likewise, save for readings."""
    from bench.analysis.evidence import Reading

    if isinstance(thing, Reading) or not dataclasses.is_dataclass(thing):
        return thing
    return {f.name: _fields(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
