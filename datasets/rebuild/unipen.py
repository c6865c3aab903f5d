"""UNIPEN's lines, words and characters: the public raw files to the files of the data set.

The rules by which `unipen.txt` chose the lines, of category 8 of aga apa app art bba bbb bbc bbd
dar hpb phi, and of lex: quality is not BAD, no stroke is blank (all its points 0 0: such ink was
withdrawn by its donors), at least 8 characters and 2 words of 1.7 letters on average, the strokes
form one line, and width / height / characters lies between 0.10 and 1.6. An item of the list is
the number of a line among all that its contributor labelled, kept or not.

The rules by which the files of isolated words and characters were recorded:

- Words are of category 7, characters of 1a to 1d, of the contributors named below; no other is
  recorded (most others withdrew their ink: all its points are 0 0).
- Quality is not BAD, and no stroke is blank: all its points 0 0, or no points at all.
- The label is printable ASCII without white space, for a character a single one. This excludes
  labels that end in tabs, and the backslash, which is written twice.
- A word of three characters or more has width / height / characters of at least 0.123. Narrower
  ones are written downwards, or their label belongs to other ink.
- Repeated points are dropped. Then the ink is turned upright, y growing downwards, with its left
  edge and its top at 0.

Evidence for these rules: they reproduce all 108 characters of the available raw files as recorded,
and no recorded piece breaks one. The source's CDROM-README counts 30,756 words and 102,303
characters of these contributors, 40 and 284 more than are recorded. Of the 40 words, 21 were
inspected in the source, including all 9 of contributor hpb, and a rule excludes each of them; the
same holds for every such character that was inspected (a backslash, or a blank colon or semicolon
of contributor ibm). By the measured rule, the widest excluded word has 0.1111, the narrowest
recorded one 0.1231.

The order is that of `segments_by_ink`. It agrees with the recorded files in contributors, writers
and categories, but is not proved for every piece; so `datasets.check` accepts pieces in any order.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bench.core.metrics import normalise
from bench.core.progress import Report
from datasets.rebuild.git import Tree
from datasets.rebuild.unipen_raw import Points, Segment, segments, segments_by_ink
from datasets.sources import Pieces, Selection
from datasets.splits import split_of
from datasets.unipen import COLUMNS, HEIGHT, MARGIN, STROKES, TABLE

# Their transcribers set words and punctuation apart: "found $ 7 5 0 , and Maxwell 's".
_SPACED = ("dar", "hpb", "phi")
_BETWEEN_DIGITS = re.compile(r"(?<=\b\d) (?=\d\b)")
_BEFORE_MARK = re.compile(r" (?=[,.;:?!]|'s\b)")

NARROWEST = 0.123  # width / height / characters

_LABEL = re.compile("[!-~]+")


@dataclass(frozen=True)
class _Kind:
    """The source of pieces of a kind. longest: most characters of a label."""

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


def build_lines(tree: Tree, chosen: Selection, folder: Path, report: Report) -> list[str]:
    """Write both files into a folder.

    Returns:
        The chosen lines that the source does not have.
    """
    missing: list[str] = []
    rows = ["\t".join(COLUMNS)]
    total = sum(len(items) for items in chosen.values())
    with _zipped(folder / STROKES) as strokes:
        for contributor in sorted(chosen):
            left = set(chosen[contributor])
            for number, segment in enumerate(segments(tree, contributor)):
                if str(number) not in left or not segment.strokes:
                    continue
                left.remove(str(number))
                record = _record(contributor, number, segment)
                strokes.write(_json(record))
                rows.append("\t".join(_row(record, segment.quality)))
                report("reading ink", len(rows) - 1, total)
            missing += [f"{contributor} {number}" for number in sorted(left, key=int)]
    (folder / TABLE).write_text("\n".join([*rows, ""]), encoding="utf-8", newline="\n")
    return missing


def _record(contributor: str, number: int, segment: Segment) -> dict[str, object]:
    text = normalise(segment.label)
    if contributor in _SPACED:
        text = _BEFORE_MARK.sub("", _BETWEEN_DIGITS.sub("", text))
    hand = re.sub(r"[^A-Za-z0-9]", "", segment.writer.partition("/")[2])[:16]
    return {
        "file": f"{contributor}_{hand}_{number:05d}.png",
        "writer": segment.writer,
        "src": segment.source,
        "text": text,
        "strokes": segment.strokes,
    }


def _row(record: dict[str, object], quality: str) -> list[str]:
    file, writer, text = (str(record[key]) for key in ("file", "writer", "text"))
    strokes = record["strokes"]
    assert isinstance(strokes, list)
    points = [point for stroke in strokes for point in stroke]
    wide, high = (max(p[i] for p in points) - min(p[i] for p in points) for i in (0, 1))
    scale = (HEIGHT - 2 * MARGIN) / max(high, 1)
    width = int(wide * scale) + 2 * MARGIN
    return [file, writer, split_of(writer), str(width), str(HEIGHT), quality, text]


def build_pieces(tree: Tree, pieces: Pieces, folder: Path, report: Report) -> None:
    """Write a file of pieces into a folder."""
    kind = _KINDS[pieces.name]
    written = 0
    with _zipped(folder / pieces.file) as file:
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
    xs, ys = zip(*(point for stroke in strokes for point in stroke), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _line(segment: Segment) -> bytes:
    strokes = segment.strokes or []
    left, _, _, top = _box(strokes)
    flat = [
        [value for (x, y), _ in groupby(stroke) for value in (x - left, top - y)]
        for stroke in strokes
    ]
    return _json({"w": segment.writer, "t": segment.label, "s": flat})


@contextmanager
def _zipped(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file whose bytes depend only on its content."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        yield file


def _json(record: dict[str, object]) -> bytes:
    return f"{json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n".encode()
