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

The order of pieces is that of `segments_by_ink`. It agrees with the recorded files in contributors,
writers and categories, but is not proved for every piece; so `datasets.acquire` accepts any order.

The format: index files label strokes of ink files.
I. Guyon, L. Schomaker, R. Plamondon, M. Liberman and S. Janet, "UNIPEN project of on-line data
exchange and recognizer benchmarks", ICPR 1994. The layout here is that of `train_r01_v07`:

- `data/<category>/<contributor>/**.dat` is an index. `.INCLUDE <path>` names an ink file below
  `include/`; `.SEGMENT <level> <strokes> <quality> "<label>"` names strokes of it, as in `12-15,18`
  (of a part `12:3` the stroke 12 is taken), and their text. The level is CHARACTER in the
  categories 1a digits, 1b upper case, 1c lower case and 1d symbols, WORD in 7, TEXT in 8.
- `include/<contributor>/data/**.dat` is ink. `.PEN_DOWN` begins a stroke of `x y` rows, y growing
  upwards; strokes are numbered from 0, pen-up parts not counted. `.WRITER_ID` is in its head.
- Contributor `lex` has its labels in the ink: `.COMMENT .SEGMENT TEXT <strokes> <quality>
  "<label>"`, followed by the strokes of that line.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import NamedTuple

from bench.core.metrics import normalise
from bench.core.progress import Report
from datasets.rebuild.git import Tree, below
from datasets.sources import Pieces, Selection
from datasets.splits import split_of
from datasets.unipen import COLUMNS, HEIGHT, MARGIN, STROKES, TABLE

Point = tuple[int, int]
Points = list[Point]

_LABEL = r'\s+(\S+)\s+(\S+)\s+"(.*)"\s*$'
_SEGMENT = re.compile(r"\.SEGMENT\s+(\S+)" + _LABEL)
_INLINE = re.compile(r"\.COMMENT\s+\.SEGMENT\s+TEXT" + _LABEL)


class Segment(NamedTuple):
    """One labelled line of text, word or character.

    writer: contributor/WRITER_ID.
    source: the ink file.
    quality: GOOD, OK, BAD or ? (unknown).
    strokes: pen-down strokes in device units, y growing upwards; None if the index names strokes
        that the ink lacks.
    """

    writer: str
    source: str
    quality: str
    label: str
    strokes: list[Points] | None


class _Labelled(NamedTuple):
    """A segment of an index; `ink` is the name of its ink file, "" before the first."""

    ink: str
    level: str
    components: str
    quality: str
    label: str


class _Ink(NamedTuple):
    writer: str
    strokes: list[Points]
    inline: list[tuple[str, str, int]]  # quality, label, number of its first stroke


def segments(tree: Tree, contributor: str) -> Iterator[Segment]:
    """All labelled lines of a contributor, in the order of the files and of their labels."""
    if contributor == "lex":
        for name in _inks(tree, f"include/{contributor}"):
            yield from _inline_segments(contributor, name, _parse_ink(tree[name]))
        return
    inks = set(_inks(tree, "include"))
    for index in below(tree, f"data/8/{contributor}"):
        name, ink = "", _Ink("", [], [])
        for row in _rows(tree, index, inks):
            if row.ink != name:
                name, ink = row.ink, _parse_ink(tree[row.ink])
            if row.level == "TEXT":
                yield _segment(contributor, row, ink)


def segments_by_ink(
    tree: Tree, categories: Sequence[str], contributors: Sequence[str], level: str
) -> Iterator[list[Segment]]:
    """The segments of a level in some categories, grouped by ink file.

    Ink files are in the order of their first mention, category by category; their segments are
    sorted by category, index and line.
    """
    inks = set(_inks(tree, "include"))
    rows_of: defaultdict[tuple[str, str], list[_Labelled]] = defaultdict(list)
    for category, contributor in product(categories, contributors):
        for index in below(tree, f"data/{category}/{contributor}"):
            for row in _rows(tree, index, inks):
                if row.level == level:
                    rows_of[contributor, row.ink].append(row)
    for (contributor, name), rows in rows_of.items():
        ink = _parse_ink(tree[name]) if name else _Ink("", [], [])
        yield [_segment(contributor, row, ink) for row in rows]


def _inks(tree: Tree, folder: str) -> list[str]:
    return [name for name in below(tree, folder) if name.endswith(".dat")]


def _rows(tree: Tree, index: str, inks: set[str]) -> Iterator[_Labelled]:
    """Segments of one index file; includes of absent ink files are ignored."""
    ink = ""
    for row in tree[index].decode("latin-1").split("\n"):
        if row.startswith(".INCLUDE"):
            included = f"include/{row[len('.INCLUDE') :].strip()}"
            if included in inks:
                ink = included
        elif match := _SEGMENT.match(row):
            yield _Labelled(ink, *match.groups())


def _segment(contributor: str, row: _Labelled, ink: _Ink) -> Segment:
    try:
        strokes = [ink.strokes[number] for number in _stroke_numbers(row.components)]
    except (IndexError, ValueError):
        strokes = None
    return Segment(
        writer=f"{contributor}/{ink.writer}",
        source=row.ink,
        quality=row.quality,
        label=row.label.replace('\\"', '"'),
        strokes=strokes,
    )


def _inline_segments(contributor: str, name: str, ink: _Ink) -> Iterator[Segment]:
    ends = [start for _, _, start in ink.inline[1:]] + [len(ink.strokes)]
    for (quality, label, start), end in zip(ink.inline, ends, strict=False):
        yield Segment(
            writer=f"{contributor}/{ink.writer}",
            source=name,
            quality=quality,
            label=label.replace('\\"', '"'),
            strokes=ink.strokes[start:end],
        )


def _parse_ink(content: bytes) -> _Ink:
    """Strokes, writer and inline labels of an ink file (Latin-1 text).

    Every keyword ends the current stroke, so rows that continue a comment are not points.
    """
    writer, strokes, inline = "", list[Points](), list[tuple[str, str, int]]()
    stroke: Points | None = None
    for row in content.decode("latin-1").split("\n"):
        words = row.split()
        if not words:
            continue
        if words[0][0] != ".":
            if stroke is not None and (point := _point(words)) is not None:
                stroke.append(point)
            continue
        stroke = None
        if words[0] == ".PEN_DOWN":
            strokes.append(stroke := [])
        elif words[0] == ".WRITER_ID" and not writer:
            writer = " ".join(words[1:])
        elif match := _INLINE.match(row):
            inline.append((match[2], match[3], len(strokes)))
    return _Ink(writer, strokes, inline)


def _point(words: list[str]) -> Point | None:
    """A row's x and y; pressure and time after them are ignored."""
    try:
        return int(float(words[0])), int(float(words[1]))
    except (IndexError, ValueError, OverflowError):
        return None


def _stroke_numbers(components: str) -> list[int]:
    """Expand `0-2,7:1,9` to 0 1 2 7 9."""
    numbers: list[int] = []
    for part in components.split(","):
        ends = [int(end.partition(":")[0]) for end in part.split("-")]
        numbers += range(ends[0], ends[-1] + 1)
    return numbers


# Their transcribers set words and punctuation apart: "found $ 7 5 0 , and Maxwell 's".
_SPACED = ("dar", "hpb", "phi")
_BETWEEN_DIGITS = re.compile(r"(?<=\b\d) (?=\d\b)")
_BEFORE_MARK = re.compile(r" (?=[,.;:?!]|'s\b)")

NARROWEST = 0.123  # width / height / characters

_PRINTABLE = re.compile("[!-~]+")


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
        for labelled in segments_by_ink(tree, kind.categories, kind.contributors, kind.level):
            for segment in labelled:
                if len(segment.label) <= kind.longest and _is_kept(segment):
                    file.write(_line(segment))
                    written += 1
            report(f"reading {pieces.name}", written, pieces.count)


def _is_kept(segment: Segment) -> bool:
    strokes = segment.strokes
    if segment.quality == "BAD" or not strokes or _PRINTABLE.fullmatch(segment.label) is None:
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
