"""UNIPEN's isolated words and characters: the public raw files to pen ink for training.

The rules by which the recorded files were made:

- Words are of category 7, characters of 1a to 1d, of the contributors named below; no other is
  recorded (most others withdrew their ink: all its points are 0 0).
- Quality is not BAD, and no stroke is blank: all its points 0 0, or no points at all.
- The label, as it stands, is printable ASCII without white space, that of a character a single
  one: labels that end in tabs fall, and so does the backslash, which is written twice.
- A word of three characters or more is for each of them at least 0.123 times as wide as high.
  What is narrower is written downwards, or its label belongs to other ink.
- A point that repeats the one before it is left out. Then the ink is put upright, y growing
  downwards, with its left edge and its top at 0.

How far they are proved: they give all 108 characters of the raw files that were at hand, as
recorded, and no recorded piece breaks one. The source's CDROM-README counts 30,756 words and
102,303 characters of these contributors, 40 and 284 more than are recorded. Of the 40 words, 21
were looked up in the source, all 9 of contributor hpb among them, and every one falls by a rule;
so does every such character that was looked up, a backslash or a blank colon or semicolon of
contributor ibm. The measured rule: the widest word found to be left out has 0.1111, the narrowest
that is recorded 0.1231.

The order is that of `segments_by_ink`. Contributors, writers and categories follow one another in
it as in the recorded files, but that is no proof for every piece; `datasets.check` therefore takes
pieces in any order.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

from bench.core.progress import Report
from datasets.rebuild.tree import Tree
from datasets.rebuild.unipen_raw import Points, Segment, segments_by_ink
from datasets.sources import Pieces

NARROWEST = 0.123  # width / height / characters

_LABEL = re.compile("[!-~]+")


@dataclass(frozen=True)
class _Kind:
    """Where pieces of a kind are. longest: characters of a label."""

    categories: tuple[str, ...]
    level: str
    longest: int
    contributors: tuple[str, ...]


_KINDS = {
    "words": _Kind(
        categories=("7",),
        level="WORD",
        longest=99,
        contributors=(
            *("anj", "apc", "apd", "ape", "art", "cee", "dar", "hpb", "huj", "ibm", "imp", "imt"),
            *("int", "kar", "lou", "not", "pap", "par", "pcl", "phi", "rim"),
        ),
    ),
    "characters": _Kind(
        categories=("1a", "1b", "1c", "1d"),
        level="CHARACTER",
        longest=1,
        contributors=(
            *("aga", "apa", "apb", "app", "art", "ced", "gmd", "ibm", "imp", "lav", "lou", "mot"),
            *("syn", "uqb", "val"),
        ),
    ),
}


def build(tree: Tree, pieces: Pieces, folder: Path, report: Report) -> None:
    """Write a file of pieces into a folder."""
    kind = _KINDS[pieces.name]
    written = 0
    with (
        (folder / pieces.file).open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as file,
    ):
        for segments in segments_by_ink(tree, kind.categories, kind.contributors, kind.level):
            for segment in segments:
                if len(segment.label) <= kind.longest and _is_kept(segment):
                    file.write(_line(segment))
                    written += 1
            report(f"reading {pieces.name}", written, pieces.count)


def _is_kept(segment: Segment) -> bool:
    strokes = segment.strokes
    if segment.quality == "BAD" or not strokes or _LABEL.fullmatch(segment.label) is None:
        return False
    if any(all(point == (0, 0) for point in stroke) for stroke in strokes):
        return False
    left, bottom, right, top = _box(strokes)
    length = len(segment.label)
    return length < 3 or right - left >= NARROWEST * length * (top - bottom)


def _box(strokes: list[Points]) -> tuple[int, int, int, int]:
    """Left, bottom, right and top."""
    xs, ys = zip(*(point for stroke in strokes for point in stroke), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _line(segment: Segment) -> bytes:
    strokes = segment.strokes or []
    left, _, _, top = _box(strokes)
    flat = [
        [value for x, y in _without_repeats(stroke) for value in (x - left, top - y)]
        for stroke in strokes
    ]
    record = {"w": segment.writer, "t": segment.label, "s": flat}
    return f"{json.dumps(record, separators=(',', ':'))}\n".encode()


def _without_repeats(stroke: Points) -> Points:
    return [p for i, p in enumerate(stroke) if i == 0 or p != stroke[i - 1]]
