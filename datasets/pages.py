"""The data sets `page` and `alto`: lines cut out of the user's transcribed pages.

A folder, possibly nested, of PAGE XML or ALTO documents and the pictures of their pages, as
Transkribus and eScriptorium export them. A picture has the name stated in the document, or the
document's own, and is beside it, one folder above it, or the only one with its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow

from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.types import BadLine, Image, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.crops import crop, likely_ascents, outlines
from datasets.files import SUFFIXES, content, decode, inside
from datasets.page_xml import OtherFormatError, PageLine, Points, Transcript, parse_alto, parse_page
from datasets.root import folder_of
from datasets.splits import canonical, in_order

_NAMES = {"page": "PAGE XML", "alto": "ALTO"}
_STRETCH = 0.02  # by which the two sides of a picture may be scaled differently from its document


@dataclass(frozen=True)
class PageLines(Dataset):
    """Lines of pages transcribed in PAGE XML (2010 to 2019) or ALTO (2 to 4).

    format: "page" or "alto".
    root: the folder; default: one named after the format in the data root.
    height: maximal height of a line's image in pixels; higher ones are scaled down.
    split: the split of all lines; default: that of a folder called train, val or test, else test.
    """

    format: Literal["page", "alto"] = "page"
    root: Path | None = None
    height: int = 128
    split: str = ""

    def __post_init__(self) -> None:
        check_least(self, 1, "height")

    def missing(self) -> Unavailable | None:
        """The reason and remedy if the folder or its documents are missing."""
        return absence(self._documents)

    def split_names(self) -> tuple[str, ...]:
        """The splits, from the folders of the documents."""
        return in_order(self._split(name) for name in self._documents())

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Cut the first `limit` lines of a split out of their pages, to grey, on paper."""
        root, split = self._root(), canonical(split)
        names = self._documents()
        remedy = f"put its documents into a folder {split}, or assign all of them to it with "
        remedy += f"-o {self.format}.split={split}"
        self.check_split(split, in_order(map(self._split, names)), remedy)
        read = [self._read(root, name) for name in names if self._split(name) == split]
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
        if self.split:
            return canonical(self.split)
        folders = (canonical(part) for part in reversed(PurePosixPath(name).parts[:-1]))
        return next((folder for folder in folders if folder in self.splits), "test")

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
        for each in read:
            if isinstance(each, BadLine):
                yield each
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
        drawn = Pillow.fromarray(picture)
        for line, outline in zip(lines, outlines(lines, likely_ascents(lines)), strict=True):
            # A page is all that is known of who wrote it: lines of one page are of one hand.
            facts = {"page": page, "block": page}
            cut = partial(_cut_out, drawn, outline, self.height)
            yield make_line(f"{page}_{line.item}", line.text, cut, split, **facts)


def _cut_out(page: Pillow.Image, outline: Points, height: int) -> Image:
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
