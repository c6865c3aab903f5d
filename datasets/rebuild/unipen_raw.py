"""The UNIPEN format: index files that label strokes of ink files.

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

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from datasets.rebuild.git import Tree, below

Point = tuple[int, int]
Points = list[Point]

_LABEL = r'\s+(\S+)\s+(\S+)\s+"(.*)"\s*$'
_SEGMENT = re.compile(r"\.SEGMENT\s+(\S+)" + _LABEL)
_INLINE = re.compile(r"\.COMMENT\s+\.SEGMENT\s+TEXT" + _LABEL)


@dataclass(frozen=True)
class Segment:
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


@dataclass(frozen=True)
class _Row:
    """A segment of an index; `ink` is the name of its ink file, "" before the first."""

    ink: str
    level: str
    components: str
    quality: str
    label: str


@dataclass(frozen=True)
class _Ink:
    writer: str
    strokes: list[Points]
    inline: list[tuple[str, str, int]]  # quality, label, number of its first stroke


def segments(tree: Tree, contributor: str) -> Iterator[Segment]:
    """All labelled lines of a contributor, in the order of the files and of their labels."""
    if contributor == "lex":
        for name in _inks(tree, f"include/{contributor}"):
            yield from _inline_segments(contributor, name, _parse_ink(tree.read(name)))
        return
    inks = set(_inks(tree, "include"))
    for index in below(tree.names(), f"data/8/{contributor}"):
        name, ink = "", _Ink("", [], [])
        for row in _rows(tree, index, inks):
            if row.ink != name:
                name, ink = row.ink, _parse_ink(tree.read(row.ink))
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
    rows_of: defaultdict[tuple[str, str], list[_Row]] = defaultdict(list)
    for category, contributor in product(categories, contributors):
        for index in below(tree.names(), f"data/{category}/{contributor}"):
            for row in _rows(tree, index, inks):
                if row.level == level:
                    rows_of[contributor, row.ink].append(row)
    for (contributor, name), rows in rows_of.items():
        ink = _parse_ink(tree.read(name)) if name else _Ink("", [], [])
        yield [_segment(contributor, row, ink) for row in rows]


def _inks(tree: Tree, folder: str) -> list[str]:
    return [name for name in below(tree.names(), folder) if name.endswith(".dat")]


def _rows(tree: Tree, index: str, inks: set[str]) -> Iterator[_Row]:
    """Segments of one index file; includes of absent ink files are ignored."""
    ink = ""
    for row in tree.read(index).decode("latin-1").split("\n"):
        if row.startswith(".INCLUDE"):
            included = f"include/{row[len('.INCLUDE') :].strip()}"
            if included in inks:
                ink = included
        elif match := _SEGMENT.match(row):
            yield _Row(ink, *match.groups())


def _segment(contributor: str, row: _Row, ink: _Ink) -> Segment:
    return Segment(
        writer=f"{contributor}/{ink.writer}",
        source=row.ink,
        quality=row.quality,
        label=row.label.replace('\\"', '"'),
        strokes=_named_strokes(ink, row.components),
    )


def _named_strokes(ink: _Ink, components: str) -> list[Points] | None:
    try:
        return [ink.strokes[number] for number in stroke_numbers(components)]
    except (IndexError, ValueError):
        return None


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


def stroke_numbers(components: str) -> list[int]:
    """Expand `0-2,7:1,9` to 0 1 2 7 9.

    Raises:
        ValueError: the components do not have that form.
    """
    numbers: list[int] = []
    for part in components.split(","):
        ends = [int(end.partition(":")[0]) for end in part.split("-")]
        numbers += range(ends[0], ends[-1] + 1)
    return numbers
