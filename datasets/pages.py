"""The data sets `page` and `alto`: lines cut out of the user's transcribed pages.

A folder, possibly nested, of PAGE XML or ALTO documents and the pictures of their pages, as
Transkribus and eScriptorium export them. A picture has the name stated in the document, or the
document's own, and is beside it, one folder above it, or the only one with its name.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow

from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.registry import did_you_mean
from bench.core.types import BadLine, Image, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.crops import crop, likely_ascents, outlines
from datasets.files import SUFFIXES, content, decode, inside
from datasets.page_xml import OtherFormatError, PageLine, Points, Transcript, parse_alto, parse_page
from datasets.root import folder_of
from datasets.splits import canonical, in_order, keyword_split

_NAMES = {"page": "PAGE XML", "alto": "ALTO"}
_HAND = re.compile("hand|manuscript|manuscrit|cursive|手書")
_PRINT = re.compile("print|typed|typewrit|druck|imprim|活字|印刷")
_CLEAR = 0.1  # of an outline's width, by which its middle is beside the baseline of a turned line
_SLOPE = 0.6  # of a baseline, 31 degrees, beyond which no line can be read
_SLANT = 31  # degrees
_QUARTERS = (0, -1, 2, 1)  # turns by `np.rot90`, of 0, 90, 180 and 270 degrees clockwise
_UPRIGHT = 2  # height to width of an outline with several letters that is turned for certain
_STRETCH = 0.02  # by which the two sides of a picture may be scaled differently from its document


@dataclass(frozen=True)
class PageLines(Dataset):
    """Lines of pages transcribed in PAGE XML (2010 to 2019) or ALTO (2 to 4).

    format: "page" or "alto".
    root: the folder; default: one named after the format in the data root.
    height: maximal height of a line's image in pixels; higher ones are scaled down.
    split: the split of all lines; default: that of a folder called train, val or test; test where
        no document is in such a folder.
    only: keep the lines with this tag: a label of ALTO's (TAGREFS), or `production` of PAGE XML
        ("printed", "handwritten-cursive"); `data check` lists them.
    """

    format: Literal["page", "alto"] = "page"
    root: Path | None = None
    height: int = 128
    split: str = ""
    only: str = ""

    def __post_init__(self) -> None:
        check_least(self, 1, "height")

    def missing(self) -> Unavailable | None:
        """The reason and remedy if the folder or its documents are missing."""
        return absence(self._documents)

    def split_names(self) -> tuple[str, ...]:
        """The splits, from the folders of the documents."""
        return in_order(map(self._split, self._transcripts(self._root())))

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Cut the first `limit` lines of a split out of their pages, to grey, on paper."""
        root, split = self._root(), canonical(split)
        names = self._transcripts(root)
        remedy = f"put its documents into a folder {split}, or assign all of them to it with "
        remedy += f"-o {self.format}.split={split}"
        self.check_split(split, in_order(map(self._split, names)), remedy)
        read = [self._read(root, name) for name in names if self._split(name) == split]
        read, notes = self._chosen(read)
        pictures = _Pictures(root)
        count = sum(1 if isinstance(each, BadLine) else len(each.lines) for each in read)
        return self.gathered(
            self.format,
            split,
            islice(self._lines(read, pictures, split), limit),
            source=root.name,
            licence="not stated",
            references="page-xml" if self.format == "page" else "alto",
            total=count if limit is None else min(count, limit),
            notes=notes,
        )

    def _root(self) -> Path:
        kind = _NAMES[self.format]
        remedy = f"put pictures of pages with their {kind} documents into it"
        return folder_of(self.format, self.root, remedy)

    def _documents(self) -> list[str]:
        """The names of all XML files in the folder, sorted."""
        root = self._root()
        paths = (
            path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() == ".xml"
        )
        names = sorted(
            path.as_posix() for path in paths if not any(p.startswith(".") for p in path.parts)
        )
        if not names:
            raise Unavailable(
                f"{root} has no XML documents",
                f"name the folder that has them with -o {self.format}.root=DIR",
            )
        return names

    def _split(self, name: str) -> str:
        return canonical(self.split) or self._folder(name) or "test"

    def _folder(self, name: str) -> str:
        """The split whose folder a document is in, or ""."""
        folders = map(keyword_split, reversed(PurePosixPath(name).parts[:-1]))
        return next(filter(None, folders), "")

    def _transcripts(self, root: Path) -> list[str]:
        """The documents; where folders of splits exist, those in them."""
        names = self._documents()
        placed = [name for name in names if self._folder(name)]
        if self.split or not placed:
            return names
        for name in sorted({*names} - {*placed}):
            read = self._read(root, name)
            if isinstance(read, BadLine) or read.lines:
                raise UserError(
                    f"{name} is in no folder train, val or test, but other documents of "
                    f"{root.name} are; put it into one of them, or give all the same split with "
                    f"-o {self.format}.split=test"
                )
        return placed

    def _chosen(
        self, read: list[Transcript | BadLine]
    ) -> tuple[list[Transcript | BadLine], list[str]]:
        """The documents with the lines that `only` keeps, or a note where kinds are mixed."""
        documents = [each for each in read if isinstance(each, Transcript)]
        counts = Counter(tag for each in documents for line in each.lines for tag in line.tags)
        if not self.only:
            kinds = [[f"{tag} {counts[tag]}" for tag in counts if of(tag)] for of in _KINDS]
            if not all(kinds):
                return read, []
            stated = ", ".join(x for kind in kinds for x in kind)
            return read, [
                f"handwriting and print are mixed ({stated} lines); "
                f"-o {self.format}.only=TAG keeps one"
            ]
        if self.only not in counts:
            hint = did_you_mean(self.only, counts)
            raise UserError(f"no line has the tag {self.only!r}{hint}")
        return [
            each
            if isinstance(each, BadLine)
            else dataclasses.replace(each, lines=[x for x in each.lines if self.only in x.tags])
            for each in read
        ], []

    def _read(self, root: Path, name: str) -> Transcript | BadLine:
        """Read a document (without lines if of another format), or return the reason why not."""
        parse = parse_page if self.format == "page" else parse_alto
        try:
            return parse(content(inside(root, name)), name)
        except OtherFormatError:
            return Transcript(name, "", None, True, ())
        except (UserError, ValueError) as error:
            return BadLine(name, str(error))

    def _lines(
        self, read: Sequence[Transcript | BadLine], pictures: _Pictures, split: str
    ) -> Iterator[Line | BadLine]:
        without = not any(isinstance(each, BadLine) or each.lines for each in read)
        for each in read:
            if isinstance(each, BadLine):
                yield each
            elif without:
                yield BadLine(each.name, f"it has no line of text in {_NAMES[self.format]}")
            elif each.lines:
                yield from self._cut(each, pictures, split)

    def _cut(
        self, document: Transcript, pictures: _Pictures, split: str
    ) -> Iterator[Line | BadLine]:
        page = str(PurePosixPath(document.name).with_suffix(""))
        try:
            picture = pictures.of(document)
            lines = _in_pixels(document, picture)
        except ValueError as error:
            for line in document.lines:
                yield BadLine(f"{page}_{line.item}", f"its page cannot be read: {error}")
            return
        cuts = _cuts(picture, lines, self.height)
        for line, cut in zip(lines, cuts, strict=True):
            # A page is all that is known of who wrote it: lines of one page are of one hand.
            facts: dict[str, Any] = {"page": page, "block": page, "tags": line.tags}
            yield make_line(f"{page}_{line.item}", line.text, cut, split, **facts)


def _is_hand(tag: str) -> bool:
    return bool(_HAND.search(tag.lower()))


def _is_print(tag: str) -> bool:
    return bool(_PRINT.search(tag.lower())) and not _is_hand(tag)  # "handwritten-printscript"


_KINDS = (_is_hand, _is_print)


def _cuts(picture: Image, lines: Sequence[PageLine], height: int) -> list[Callable[[], Image]]:
    """Functions that cut the lines out; lines along the sides of the page are turned first."""
    turns = [_turn(line) for line in lines]
    upright = [line for line, turn in zip(lines, turns, strict=True) if turn == 0]
    ascents = likely_ascents(upright)
    cuts: dict[int, Callable[[], Image]] = {}
    for turn in set(turns):
        places = [place for place, each in enumerate(turns) if each == turn]
        group = [_turned(lines[place], turn, picture.shape) for place in places]
        drawn = Pillow.fromarray(np.ascontiguousarray(np.rot90(picture, turn)))
        for place, line, outline in zip(places, group, outlines(group, ascents), strict=True):
            cuts[place] = partial(_cut_out, drawn, line, outline, height)
    return [cuts[place] for place in range(len(lines))]


def _turn(line: PageLine) -> int:
    """Quarter turns, as `np.rot90` counts them, after which a line runs from left to right.

    The letters' tops are on the side of its baseline where most of its outline is; where that is
    not clear, the baseline is taken to run as the writing does. Without a baseline the document's
    angle counts, unless it says that the line runs up or down and the outline lies flat.
    """
    stated = _QUARTERS[round(line.turn / 90) % 4]
    if line.baseline is None or len(line.baseline) < 2:
        across, down = np.ptp(line.polygon, axis=0) if len(line.polygon) else (0, 0)
        flat = len(line.text) > 3 and across > _UPRIGHT * down
        return 0 if flat and abs(stated) == 1 else stated
    across, down = line.baseline[-1] - line.baseline[0]
    upside_down = across < 0 or stated == 2
    if abs(down) <= abs(across):
        return 2 if upside_down and _offset(line, 1) < -_CLEAR else 0
    tops_left = down < 0
    if abs(offset := _offset(line, 0)) > _CLEAR:
        tops_left = offset > 0
    return -1 if tops_left else 1


def _offset(line: PageLine, axis: int) -> float:
    """Signed distance of the baseline from the outline's middle, as a share of its extent."""
    if line.baseline is None or not len(line.polygon):
        return 0.0
    low, high = line.polygon[:, axis].min(), line.polygon[:, axis].max()
    return float((line.baseline[:, axis].mean() - (low + high) / 2) / max(high - low, 1.0))


def _turned(line: PageLine, turn: int, shape: tuple[int, ...]) -> PageLine:
    """A line with its points as on the turned picture."""
    height, width = shape

    def points(old: Points) -> Points:
        x, y = old.T
        moved = {
            0: (x, y), 1: (y, width - x), -1: (height - y, x), 2: (width - x, height - y)
        }[turn]  # fmt: skip
        return np.stack(moved, axis=1)

    baseline = None if line.baseline is None else points(line.baseline)
    if baseline is not None and turn and baseline[0, 0] > baseline[-1, 0]:
        baseline = baseline[::-1]
    return dataclasses.replace(line, polygon=points(line.polygon), baseline=baseline)


def _cut_out(page: Pillow.Image, line: PageLine, outline: Points, height: int) -> Image:
    if line.vertical and round(line.turn / 90) % 2 == 0:  # letters upright, one below the other
        raise ValueError("it is written vertically, which no encoder here reads")
    if line.baseline is not None and len(line.baseline) > 1:
        across, down = np.abs(line.baseline[-1] - line.baseline[0])
        if down > _SLOPE * across:
            raise ValueError("its baseline runs across the page at a slant")
    elif abs(line.turn - 90 * round(line.turn / 90)) > _SLANT:
        raise ValueError(f"it is turned by {line.turn:g} degrees, across the page at a slant")
    elif len(outline) > 2 and len(line.text) > 3:
        across, down = np.ptp(np.clip(outline, 0, page.size), axis=0)
        if down > _UPRIGHT * across:
            raise ValueError("it is much higher than wide, and no baseline says how to turn it")
    if len(outline) < 3 or not np.isfinite(outline).all():
        raise ValueError("it has no outline on the page")
    return np.array(crop(page, outline, height))


class _Pictures:
    """The pictures of a folder, looked up by the documents of their pages."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                place = PurePosixPath(path.relative_to(root).as_posix())
                self._by_name.setdefault(place.name.lower(), []).append(place)

    def of(self, document: Transcript) -> Image:
        """The page of a document in grey, oriented to the document's size.

        Raises:
            ValueError: it is missing or unreadable.
        """
        encoded = content(self._path(document))
        picture = decode(encoded)
        size = document.size
        if size is not None and picture.shape[::-1] != size:
            as_stored = decode(encoded, upright=False)
            if as_stored.shape[::-1] == size:
                return as_stored
        return picture

    def _path(self, document: Transcript) -> Path:
        """The nearest picture with the name stated in the document, else with its own name."""
        stated = PurePosixPath(document.image.replace("\\", "/")).name
        own = PurePosixPath(document.name)
        for name in (stated, own.stem, *(f"{own.stem}{suffix}" for suffix in SUFFIXES)):
            named = self._by_name.get(name.lower(), ())
            for folder in (own.parent, own.parent.parent):
                if near := [place for place in named if place.parent == folder]:
                    return inside(self._root, str(near[0]))
            if len(named) == 1:
                return inside(self._root, str(named[0]))
            if named:
                raise ValueError(f"{len(named)} pictures are called {name}, none beside it")
        raise ValueError(f"there is no picture {stated or own.stem}")


def _in_pixels(transcript: Transcript, picture: Image) -> list[PageLine]:
    """The lines with their points in pixels of the picture."""
    height, width = picture.shape
    if transcript.size is None:
        if not transcript.pixels:
            raise ValueError("its points are not in pixels, and it states no page size")
        return [_outlined(line, 1.0) for line in transcript.lines]
    across, down = width / transcript.size[0], height / transcript.size[1]
    if abs(across / down - 1) > _STRETCH:
        stated = " x ".join(f"{side:g}" for side in transcript.size)
        raise ValueError(f"its picture has {width} x {height} pixels, the document {stated}")
    scale = 1.0 if across == down == 1 else np.array([across, down])
    return [_outlined(line, scale) for line in transcript.lines]


def _outlined(line: PageLine, scale: Any) -> PageLine:
    """Scale a line's points; its box replaces a missing polygon."""
    polygon = line.polygon * scale
    if len(polygon) < 3 or np.ptp(polygon, axis=0).min() < 1:
        polygon = polygon[:0] if line.box is None else line.box * scale
    baseline = None if line.baseline is None else line.baseline * scale
    return dataclasses.replace(line, polygon=polygon, baseline=baseline)
