"""`python -m bench data check`: is a recorded set what it should be, and what does a set hold?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.core.errors import Unavailable, UserError
from bench.core.options import parse_options, typed_options
from bench.pipeline import bad_lines
from bench.pipeline.runs import CHECKS
from datasets import DATASETS
from datasets.root import data_root
from datasets.sources import SOURCES

if TYPE_CHECKING:
    from datasets.census import Census, Repeats
    from datasets.check import PiecesVerdict, Verdict

SHEET = "sheet.png"
TOLD = 10  # bad lines that are printed; all are in the file

_FILES = {SHEET: "contact sheet", bad_lines.NAME: "all reasons"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the action."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help="data sets, which are also counted; default: compare those with a record, no more",
    )  # fmt: skip
    parser.add_argument("--split", metavar="NAME", help="count this split only; default: all")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="count the first N lines of a split only"
    )
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of a data set; `list NAME` shows which; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="a line that cannot be used is an error (exit code 2)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where the contact sheet and the reasons go; default: results/checks/NAME",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(action=run)


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found of a set: against its record where it has one, and what it holds."""

    name: str
    verdict: Verdict | None
    census: Census | None = None
    missing: Unavailable | None = None
    files: tuple[Path, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing is wrong with what is here."""
        states = (
            {self.verdict.state, *(p.state for p in self.verdict.pieces)} if self.verdict else ()
        )
        census = self.census
        return "differs" not in states and not (census and (census.bad or census.absent))


def run(args: argparse.Namespace) -> int:
    """Compare and count; 1 where something is wrong, or a set that was named is not here."""
    names = list(dict.fromkeys(args.names or SOURCES))
    for name in names:
        DATASETS.entry(name)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"a limit of {args.limit} lines leaves nothing to count; take 1 or more")
    if not args.names and (args.options or args.split or args.limit or args.out or args.strict):
        raise UserError(f"name the sets to count: {PROGRAM} data check NAME")
    if args.out and len(names) > 1:
        raise UserError("--out is the folder of one set; check one at a time with it")
    options = typed_options(parse_options(args.options), (DATASETS,))
    if unknown := next((name for name in options if name not in names), None):
        raise UserError(f"options are given for {unknown!r}, which is not checked; name it too")
    found = [_checked(name, options.get(name, {}), args) for name in names]
    if args.json:
        print(json.dumps([_record(checked) for checked in found], indent=2))
    else:
        print(f"data root: {data_root() or 'none yet'}")
        for checked in found:
            print("\n".join(_lines_of(checked)))
    absent = args.names and any(checked.missing for checked in found)
    return int(bool(absent) or not all(checked.well for checked in found))


def _checked(name: str, options: Mapping[str, Any], args: argparse.Namespace) -> Checked:
    from datasets.base import listening
    from datasets.census import take
    from datasets.check import check

    dataset = DATASETS.create(name, options)
    with Steps(name) as steps:
        verdict = check(SOURCES[name], data_root(), steps.report) if name in SOURCES else None
        missing = dataset.missing()
        # A file that differs from its record may be one that cannot be read; the verdict says so.
        if not args.names or missing or (verdict and verdict.state == "differs"):
            return Checked(name, verdict, missing=missing)
        with listening(steps.report):
            census = take(name, dataset, (args.split,) if args.split else (), args.limit)
    files = _write(census, args.out or CHECKS / name)
    if census.bad and (args.strict or dataset.strict):
        split, first = census.bad[0]
        raise UserError(
            f"{len(census.bad)} lines of {name} cannot be used, and strict was asked for; "
            f"the first is {first.id} ({split}): {first.reason}; all are in {files[-1]}"
        )
    return Checked(name, verdict, census, files=files)


def _write(census: Census, folder: Path) -> tuple[Path, ...]:
    """The contact sheet and the file of reasons, each where there is something to show."""
    import cv2

    from bench.core.files import plain_errors, write_atomically
    from datasets.sheet import contact_sheet

    sheet, reasons = folder / SHEET, folder / bad_lines.NAME
    for count in census.splits:
        bad = [line for split, line in census.bad if split == count.split]
        bad_lines.note(reasons, census.name, count.split, bad)
    if census.shown:
        title = f"{census.name}: {census.lines} lines, of each split some, evenly over all"
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(".png", contact_sheet(title, census.shown))
        write_atomically(sheet, encoded.tobytes())
    return tuple(path for path in (sheet, reasons) if path.exists())


def _record(checked: Checked) -> dict[str, Any]:
    """For programs: the verdict's fields where there is a record, and the census."""
    verdict, census, missing = checked.verdict, checked.census, checked.missing
    record: dict[str, Any] = {"name": checked.name}
    if verdict:
        record |= dataclasses.asdict(verdict)
    elif missing:
        record |= {"state": "missing", "reason": missing.reason, "remedy": missing.remedy}
    else:
        record |= {"state": "no record"}
    if census:
        fields = {field.name for field in dataclasses.fields(census)} - {"shown", "absent"}
        counted = {name: getattr(census, name) for name in sorted(fields)}
        counted |= {
            "absent": [
                {"split": split, "reason": missing.reason, "remedy": missing.remedy}
                for split, missing in census.absent
            ],
        }
        record["census"] = json.loads(json.dumps(counted, default=dataclasses.asdict))
        record["files"] = [str(path) for path in checked.files]
    return record


def _lines_of(checked: Checked) -> list[str]:
    lines = _verdict_lines(checked.verdict) if checked.verdict else []
    if checked.missing and not checked.verdict:
        lines += [
            f"{checked.name:<8} missing", f"{'':<8} {checked.missing.reason}",
            f"{'':<8} mend it: {checked.missing.remedy}",
        ]  # fmt: skip
    if checked.census:
        lines += ["", *census_lines(checked.census)]
        lines += [f"  {_FILES[path.name]:<17} {path}" for path in checked.files]
    return lines


def _verdict_lines(verdict: Verdict) -> list[str]:
    head = f"{verdict.name:<8} {verdict.state:<8}"
    if verdict.lines:
        head += f" {by_split(verdict.lines)}; {_letters(verdict.alphabet)}"
    details = [f"sha256 {verdict.sha256}"] if verdict.sha256 else []
    details += [f"unreadable {line.id}: {line.reason}" for line in verdict.unreadable[:TOLD]]
    if verdict.reason:
        details += [verdict.reason, f"mend it: {verdict.remedy}"]
    details += [_piece_line(found, verdict.name) for found in verdict.pieces]
    return [head, *(f"{'':<8} {detail}" for detail in details)]


def census_lines(census: Census) -> list[str]:
    """A census in words."""
    from tabulate import tabulate

    head = ("split", "lines", "writers", "blocks", "cannot be used")
    rows = [
        (count.split, count.lines, count.writers or "?", count.blocks or "?", count.bad)
        for count in census.splits
    ]
    counts = tabulate(rows, head, disable_numparse=True, colalign=["left"] + 4 * ["right"])
    reasons = [f"    {split}/{line.id}: {line.reason}" for split, line in census.bad[:TOLD]]
    return [
        f"{census.name}: {census.source}; licence {census.licence}; references {census.references}",
        "",
        *counts.splitlines(),
        "(blocks: what statistics resample)",
        "",
        f"  alphabet          {_letters(census.alphabet)}",
        f"  texts twice       {_repeats(census.texts)}",
        f"  images twice      {_repeats(census.images)}",
        f"  cannot be used    {f'{len(census.bad)} lines, the first:' if reasons else 'none'}",
        *reasons,
        *(f"  note              {note}" for note in census.notes),
        *(
            f"  not here          {split}: {missing.reason}; mend it: {missing.remedy}"
            for split, missing in census.absent
        ),
    ]


def _letters(alphabet: str) -> str:
    other = [character for character in alphabet if not " " <= character <= "~"]
    beyond = f"; not printable ASCII: {' '.join(other)}" if other else ""
    return f"{len(alphabet)} characters: {alphabet}{beyond}"


def _repeats(repeats: Repeats) -> str:
    if not repeats.groups:
        return "none"
    across = f", {repeats.across} of them in more than one split" if repeats.across else ""
    example = ", ".join(repeats.example)
    return f"{repeats.groups}, in {repeats.lines} lines{across}; one: {example}"


def _piece_line(found: PiecesVerdict, name: str) -> str:
    if found.state == "missing":
        return without(found.name, name)
    if found.state == "right":
        return f"{found.name} right: {found.count}, for training; sha256 {found.sha256}"
    return f"{found.name} differ: {found.reason}; mend it: {PROGRAM} data get {name}"


def without(pieces: str, source: str) -> str:
    """What to say of isolated words or characters that are not here."""
    return (
        f"no {pieces} here: only training reads them, no test does; "
        f"get them: {PROGRAM} data get {source}"
    )


def by_split(lines: Mapping[str, int]) -> str:
    """Lines by split in words."""
    from datasets.splits import in_order

    return ", ".join(f"{lines[split]} {split}" for split in in_order(lines))
