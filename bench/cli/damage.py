"""`python -m bench data damage`: look at the damages, write damaged sets for others to read."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import DataRoot, Lang, Names, Numbers, Options
from bench.core.bounds import Count, Whole
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options
from bench.core.types import Condition
from bench.report.format import plural
from bench.report.language import say, say_text

_SUFFIXES = (".png", ".jpg", ".jpeg")
_JPEG_QUALITY = 70  # a sheet is for looking at

app = App(
    name="damage",
    help="Preview damages and export damaged data sets; see docs/damage.md.",
    help_epilogue=f"""\
examples:
  {PROGRAM} data damage preview                      the first test line under every damage
  {PROGRAM} data damage preview --dataset hooker --line 7 --out hooker-7.png
  {PROGRAM} data damage preview --damage span_erase -o span_erase.fill=mark
  {PROGRAM} data damage export lines --out damaged --damage char_erase --severity 1,2,3,4,5
  {PROGRAM} data damage export hooker --out damaged --damage none,blot,fade --seed 0,1,2
  {PROGRAM} data damage export iam --out damaged -o iam.root=~/IAM
  {PROGRAM} run --dataset manifest -o manifest.path=damaged/char_erase-3-0/manifest.jsonl

Each copy is a folder DIR/damage-severity-seed with images (PNG), manifest.jsonl, export.json (what
it was made of) and SHA256SUMS. Copies that are there are not made again. The licence of the data
set holds for its copies too.

exit code 1: lines could not be used (DIR/bad-lines.jsonl says why)
""",
)


@app.command
def preview(
    *,
    dataset: str = "ink",
    split: str = "test",
    line: Count = 1,
    damage: Names = (),
    seed: Whole = 0,
    options: Options = (),
    out: Path = Path("damage.png"),
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    """Write a contact sheet: one line, each damage, severity 1 to 5.

    Args:
        line: which line, counted from 1
        damage: damages to show; default: all
        seed: of the damage
        out: where to write it, a .png or .jpg
    """
    import cv2

    from bench.core.files import write_atomically
    from datasets import DATASETS
    from datasets.damage import DAMAGES
    from datasets.damage.base import others
    from datasets.sheet import damage_sheet

    if out.suffix.lower() not in _SUFFIXES:
        raise UserError(f"the sheet is a picture; {out} should end in {' or '.join(_SUFFIXES)}")
    typed = typed_options(parse_options(options), (DATASETS, DAMAGES))
    damages = {name: DAMAGES.create(name, typed.get(name)) for name in damage or DAMAGES.names()}
    # One line more may shine through.
    lines = DATASETS.create_here(dataset, typed.get(dataset)).load(split, max(2, line)).lines
    if len(lines) < line:
        raise UserError(
            f"{dataset} ({split}) has no line {line}; the last that could be read is {len(lines)}"
        )
    other = others(lines, dataset, seed)[line - 1]
    sheet = damage_sheet(lines[line - 1], dataset, damages, seed, other)
    _, data = cv2.imencode(out.suffix, sheet, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    write_atomically(out, data.tobytes())
    print(out)
    return 0


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class Conditions:
    """The selection of lines and damages to export.

    Args:
        split: of the set
        limit: the first N lines only
        damage: damages, and none for a clean copy; default: all
        severity: 1 to 5
        seed: of the damages
    """

    split: str = "test"
    limit: Count | None = None
    damage: Names = ()
    severity: Numbers = (3,)
    seed: Numbers = (0,)

    def of(self, dataset: str) -> Iterator[Condition]:
        """The conditions of the copies of a set."""
        from bench.pipeline.plan import CLEAN
        from datasets.damage import DAMAGES
        from datasets.damage.base import check_severities

        check_severities(self.severity, least=1)
        clean = Condition(dataset, self.split, limit=self.limit)
        for damage in self.damage or DAMAGES.names():
            if damage == CLEAN:
                yield clean
                continue
            DAMAGES.entry(damage)
            for severity in self.severity:
                for seed in self.seed:
                    yield dataclasses.replace(clean, damage=damage, severity=severity, seed=seed)


@app.command
def export(
    dataset: str,
    /,
    *,
    out: Path,
    conditions: Conditions = Conditions(),
    options: Options = (),
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    """Write damaged copies of a data set, so that others read the same images.

    Args:
        dataset: a data set of `list`
        out: folder of the copies
    """
    from bench.analysis.export import export as write
    from bench.cli.bars import Steps, track
    from bench.pipeline import bad_lines
    from datasets import DATASETS
    from datasets.base import listening
    from datasets.damage import DAMAGES

    typed = typed_options(parse_options(options), (DATASETS, DAMAGES))
    copies = list(conditions.of(dataset))
    damages = {
        name: None if name == "none" else DAMAGES.create(name, typed.get(name))
        for name in {condition.damage for condition in copies}
    }
    if unused := next((name for name in typed if name not in {dataset, *damages}), None):
        raise UserError(f"options are given for {unused!r}, which is not part of this export")
    source = DATASETS.create_here(dataset, typed.get(dataset))
    with Steps(dataset) as steps, listening(steps.report):
        lines = source.load(conditions.split, conditions.limit)
    if not lines.lines:
        raise UserError(f"{dataset} has no line that can be used in its split {conditions.split}")
    for condition in copies:
        used = {name: typed[name] for name in (dataset, condition.damage) if name in typed}
        done = write(lines, condition, damages[condition.damage], used, out, track)
        there = "" if done.made else f" ({say('there already')})"
        print(f"{done.path}: {plural(len(lines.lines), 'line')}{there}")
    reasons = out / bad_lines.NAME
    bad_lines.note(reasons, dataset, conditions.split, lines.bad)
    print(say("licence of the lines: {licence}", licence=say_text(lines.licence)), file=sys.stderr)
    if lines.bad:
        words = "{lines} could not be used; the reasons are in {path}"
        print(say(words, lines=plural(len(lines.bad), "line"), path=reasons), file=sys.stderr)
    return int(bool(lines.bad))
