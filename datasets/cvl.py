"""The data set `cvl`: the CVL database 1.1 as its users downloaded it.

310 writers copied five or seven of seven printed texts (Kleber, Fiel, Diem and Sablatnig, ICDAR
2013). Its folder has `trainset` and `testset`, unpacked from cvl-database-1-1.zip, and in each

    lines/0052/0052-1-0.tif        the line images: writer, text, line
    xml/0052-1_attributes.xml      the transcriptions, in a dialect of PAGE of its own

Regions are nested `AttrRegion`s: attrType 3 a paragraph, 2 a line, 1 a word; fontType 2 is
handwritten, all others are printed. Words carry `text`, and ids `WRITER-TEXT-LINE-WORD`, and are
not in reading order. Files declare UTF-16 or ISO-8859-1, often wrongly, so the declaration is
ignored.

Three cautions: all published splits share the same seven texts (about 300 different words), so a
language model can memorise a test text; the transcriptions have next to no punctuation although
the writers wrote it, so every comma that is read counts as an error; and the published split is
for writer retrieval, with a small train set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element

from bench.core.errors import Unavailable, UserError
from bench.core.types import BadLine, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.files import (
    SUFFIXES,
    child,
    content,
    decode,
    elements,
    image_inside,
    inside,
    parse_xml,
    undeclared,
)
from datasets.root import folder_of
from datasets.splits import split_of

URL = "https://doi.org/10.5281/zenodo.1492267"
LICENCE = "non-commercial (CC-BY-NC-3.0 by its readme)"

# There is no text 5. 3 is English with some German words, 6 is German.
TEXTS = {
    1: "Edwin Abbott Abbott, Flatland",
    2: "William Shakespeare, Macbeth",
    3: "Wikipedia, Mailüfterl",
    4: "Charles Darwin, On the Origin of Species",
    6: "Johann Wolfgang von Goethe, Faust",
    7: "Oscar Wilde, The Picture of Dorian Gray",
    8: "Edgar Allan Poe, The Fall of the House of Usher",
}
PARTS = {"train": "trainset", "test": "testset"}  # the published split
HELD_OUT = {1: "test", 4: "val"}  # texts of the partition texts; the others are train
SKIPPED = ("0431", "0992-1")  # a writer with blank pages, commonly left out, and a blank page

LINE_ID = re.compile(r"(\d{4})-(\d)-(\d{1,3})")  # writer, text, line

_WORD_ID = re.compile(r"(\d{4}-\d-\d{1,3})-(\d{1,3})")
_LINE, _WORD, _HANDWRITTEN = "2", "1", "2"
_XML = "_attributes.xml"
_NO_TRANSCRIPTION = "its page has no transcription of it"


class Page(NamedTuple):
    """A page of the database; sorted by writer and text."""

    writer: str
    text: int
    part: str  # trainset or testset

    @property
    def name(self) -> str:
        """Writer and text, as files are named."""
        return f"{self.writer}-{self.text}"


@dataclass(frozen=True)
class Cvl(Dataset):
    """Lines of the CVL database.

    root: its folder; default: `cvl` in the data root.
    partition: texts (a test line is of a writer and of a text that no train or val line is of:
        text 1 is test, 4 val, the others train), writers (disjoint writers, the same texts) or
        published (27 writers train, 283 test, no val, the same texts).
    texts: which of the texts 1, 2, 3, 4, 6, 7, 8 are read; 6 is German, 3 has German words.
    """

    root: Path | None = None
    partition: Literal["texts", "writers", "published"] = "texts"
    texts: tuple[int, ...] = (1, 2, 3, 4, 7, 8)

    def __post_init__(self) -> None:
        if unknown := [text for text in self.texts if text not in TEXTS]:
            known = ", ".join(f"{number} ({title})" for number, title in TEXTS.items())
            raise UserError(f"cvl has no text {unknown[0]}; it has {known}")

    def missing(self) -> Unavailable | None:
        """The missing parts of CVL, and their source."""
        return absence(self._folder)

    def split_names(self) -> tuple[str, ...]:
        """The splits of the partition; the published one has no val."""
        return tuple(PARTS) if self.partition == "published" else self.splits

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Read the first `limit` lines of a split, by writer, text and line.

        An image without a transcription and a transcription without an image are bad lines.
        """
        self.check_split(split)
        root = self._folder()
        pages = sorted(page for page in _pages(root) if self._selected(page, split))
        lines = (line for page in pages for line in _lines(root, page, split))
        return self.gathered(
            "cvl",
            split,
            islice(lines, limit),
            source=URL,
            licence=LICENCE,
            references=f"cvl-xml without punctuation, {self._chosen()}",
            total=limit or 0,
        )

    def _folder(self) -> Path:
        root = folder_of(
            "cvl", self.root, f"get cvl-database-1-1.zip from {URL} and unpack it into that folder"
        )
        absent = [
            part
            for part in PARTS.values()
            if not ((root / part / "lines").is_dir() and (root / part / "xml").is_dir())
        ]
        if len(absent) == len(PARTS):
            raise Unavailable(
                f"cvl is not in {root}: neither trainset nor testset has lines/ and xml/",
                f"unpack cvl-database-1-1.zip of {URL} so that {root / 'testset' / 'xml'} is there",
            )
        if absent and self.partition == "published":
            raise Unavailable(
                f"cvl is not whole: {root / absent[0]} has no lines/ and xml/",
                f"unpack cvl-database-1-1.zip of {URL} again",
            )
        return root

    def _selected(self, page: Page, split: str) -> bool:
        if page.text not in self.texts or {page.writer, page.name} & set(SKIPPED):
            return False
        if self.partition == "published":
            return page.part == PARTS[split]
        if split_of(page.writer) != split:
            return False
        return self.partition == "writers" or HELD_OUT.get(page.text, "train") == split

    def _chosen(self) -> str:
        """The options that select lines, in words."""
        held_out = ", test 1, val 4" if self.partition == "texts" else ""
        texts = "+".join(map(str, self.texts)) or "none"
        return f"partition {self.partition}, texts {texts}{held_out}, without {'+'.join(SKIPPED)}"


def _pages(root: Path) -> set[Page]:
    """Every page that has a transcription or an image of a line."""
    names = {
        (file.name.removesuffix(_XML), part)
        for part in PARTS.values()
        for file in (root / part / "xml").glob(f"*{_XML}")
    }
    names |= {
        (file.stem.rpartition("-")[0], part)
        for part in PARTS.values()
        for file in (root / part / "lines").glob("*/*")
        if file.suffix.lower() in SUFFIXES
    }
    matches = ((LINE_ID.fullmatch(f"{name}-0"), part) for name, part in names)
    return {Page(match[1], int(match[2]), part) for match, part in matches if match}


def _lines(root: Path, page: Page, split: str) -> Iterator[Line | BadLine]:
    """The lines of a page, in the order of reading."""
    part = root / page.part
    files = (part / "lines" / page.writer).glob(f"{page.name}-*")
    images = {file.stem for file in files if file.suffix.lower() in SUFFIXES}
    name = f"{page.name}{_XML}"
    why = _NO_TRANSCRIPTION
    try:
        texts = page_texts(content(inside(part / "xml", name)), f"{page.part}/xml/{name}")
    except ValueError as error:
        texts, why = {}, str(error)
        if not images:
            yield BadLine(page.name, why)
    for line in sorted(images | set(texts), key=_place):
        yield _line(part / "lines", page, line, texts.get(line), split, why)


def _place(line: str) -> tuple[int, str]:
    match = LINE_ID.fullmatch(line)
    return (int(match[3]) if match else 10**6, line)


def _line(
    folder: Path, page: Page, name: str, written: str | None, split: str, why: str
) -> Line | BadLine:
    """A line with its image, or a bad line; `why` is the reason if it has no text."""
    if written is None:
        return BadLine(name, why)
    if name.rpartition("-")[0] != page.name:
        return BadLine(name, f"the transcription of the page {page.name} has it")
    return make_line(
        name,
        written,
        lambda: decode(image_inside(folder, [f"{page.writer}/{name}"])),
        writer=page.writer,
        split=split,
        page=page.name,
    )


def page_texts(document: bytes, name: str) -> dict[str, str]:
    """The handwritten texts of a page by line id; lines without words or without ids are left out.

    Raises:
        ValueError: it is no XML.
    """
    root = parse_xml(undeclared(document), name)
    texts: dict[str, str] = {}
    for region in _regions(root, _LINE):
        words = [word for word in _regions(region, _WORD) if word.get("text", "").strip()]
        line = _line_id(region, words)
        if not words or line is None:
            continue
        text = " ".join(word.get("text", "").strip() for word in _in_order(words))
        texts[line] = f"{texts[line]} {text}" if line in texts else text
    return texts


def _regions(element: Element, kind: str) -> list[Element]:
    """All regions of a kind below an element that are not printed."""
    return [
        region
        for region in elements(element, "AttrRegion")
        if region is not element
        and region.get("attrType") == kind
        and region.get("fontType", _HANDWRITTEN) == _HANDWRITTEN
    ]


def _line_id(region: Element, words: Sequence[Element]) -> str | None:
    """The id of a line, its own or that of its words."""
    if LINE_ID.fullmatch(own := region.get("id", "").strip()):
        return own
    matches = (_WORD_ID.fullmatch(word.get("id", "").strip()) for word in words)
    return next((match[1] for match in matches if match), None)


def _in_order(words: Sequence[Element]) -> list[Element]:
    """Words sorted by the numbers in their ids if these are unique, else from left to right."""
    matches = [_WORD_ID.fullmatch(word.get("id", "").strip()) for word in words]
    numbers = [int(match[2]) if match else -1 for match in matches]
    keys: Sequence[float] = numbers
    if -1 in numbers or len(set(numbers)) < len(numbers):
        keys = [_left(word) for word in words]
    return [word for _, word in sorted(zip(keys, words, strict=True), key=lambda pair: pair[0])]


def _left(word: Element) -> float:
    """The left edge of a word's rectangle; 0 where it has none."""
    rectangle = child(word, "minAreaRect")
    points = [] if rectangle is None else list(elements(rectangle, "Point"))
    try:
        return min((float(point.get("x", "")) for point in points), default=0.0)
    except ValueError:
        return 0.0
