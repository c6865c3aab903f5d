"""A small copy of CVL 1.1 in its true layout, with its quirks: rendered, a line or two a page.

What is true of CVL and done here: RGB TIFFs, `AttrRegion`s in another order than that of reading,
regions without text, printed regions beside the handwritten ones, words without their punctuation,
documents that declare UTF-16 and are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.handwriting import Writing, write
from datasets.raster import draw_strokes, on_paper

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2010-03-19"
_ENLARGED = 2.0  # the renderer writes lines of about 50 pixels, CVL's have about 125
_LEFT, _TOP, _STEP = 410, 600, 150  # pixels of the page: of the first line, and to the next


@dataclass(frozen=True)
class Encoding:
    """How a document is written, and how it says that it is."""

    declared: str
    true: str


ASCII_AS_UTF16 = Encoding("UTF-16", "iso-8859-1")
LATIN1 = Encoding("ISO-8859-1", "iso-8859-1")
UTF8_AS_LATIN1 = Encoding("ISO-8859-1", "utf-8")
UTF16 = Encoding("UTF-16", "utf-16")


@dataclass(frozen=True)
class Copied:
    """A page that somebody copied: what stands there, line by line, with its punctuation."""

    writer: str
    text: int
    part: str
    lines: tuple[str, ...]
    encoding: Encoding = ASCII_AS_UTF16

    @property
    def name(self) -> str:
        return f"{self.writer}-{self.text}"


# By `datasets.splits.split_of` 0003 is a writer of test, 0052 of val, 0001 and 0992 of train.
PAGES = (
    Copied("0003", 1, "testset", ("Lines, Triangles,", "and other figures")),
    Copied("0003", 4, "testset", ("inhabit, us",), LATIN1),
    Copied("0003", 6, "testset", ("du bist so sch\u00f6n!",), LATIN1),
    Copied("0052", 4, "testset", ("organic beings",), UTF16),
    Copied("0052", 3, "testset", ("Mail\u00fcfterl is",), UTF8_AS_LATIN1),
    Copied("0001", 2, "trainset", ("brave Nomacs -",)),
    Copied("0001", 7, "trainset", ("You are shallow.",)),
    Copied("0992", 1, "testset", ("Imagine a vast",)),
    Copied("0992", 2, "testset", ("sheet of paper",)),
)


def write_cvl(root: Path, pages: Sequence[Copied] = PAGES) -> dict[str, NDArray[np.uint8]]:
    """Lay out both parts below a folder; the grey images, by line id."""
    drawn: dict[str, NDArray[np.uint8]] = {}
    for page in pages:
        folder = root / page.part / "lines" / page.writer
        folder.mkdir(parents=True, exist_ok=True)
        writings: dict[str, Writing] = {}
        for number, line in enumerate(page.lines):
            name = f"{page.name}-{number}"
            # The stroke fonts have no umlauts: what is written there is the bare letter.
            bare = line.translate(str.maketrans("\u00f6\u00fc", "ou"))
            writings[name] = write(bare, page.writer, name)
            drawn[name] = _image(writings[name], page.writer, name)
            Image.fromarray(drawn[name]).convert("RGB").save(folder / f"{name}.tif")
        write_page(root, page, page_xml(page, writings))
    return drawn


def write_page(root: Path, page: Copied, document: str) -> None:
    """Put the transcription of a page where it belongs."""
    path = root / page.part / "xml" / f"{page.name}_attributes.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(document.encode(page.encoding.true))


def labelled(line: str) -> list[str]:
    """The words of a line as CVL labels them: without punctuation."""
    words = ("".join(c for c in word if c.isalnum()) for word in line.split())
    return [word for word in words if word]


def page_xml(page: Copied, writings: Mapping[str, Writing]) -> str:
    """The XML of a page: printed text first, handwritten lines from the last to the first."""
    lines = []
    for number, line in reversed(list(enumerate(page.lines))):
        name = f"{page.name}-{number}"
        words = [
            _region(1, _rectangle(writings[name], line, word, number), f"{name}-{word}", label)
            for word, label in enumerate(labelled(line))
        ]
        # Later words first, and a component that is no word.
        inner = [*reversed(words), _region(1, _corners(0, 0, 9, 9))]
        lines.append(_region(2, _corners(_LEFT, _TOP + number * _STEP, 1700, 125), name, "", inner))
    printed = _region(1, _corners(400, 200, 90, 30), "", "Printed", font=1)
    paragraph = _region(2, _corners(400, 200, 900, 30), "", "", [printed], font=1)
    return (
        f'<?xml version="1.0" encoding="{page.encoding.declared}"?>\n'
        f'<PcGts xmlns="{_NAMESPACE}">\n <Page imageFilename="{page.name}.tif" imageWidth="2480" '
        f'imageHeight="3508">\n{_region(3, "", "", "", [paragraph], font=1)}'
        f"{_region(3, '', '', '', lines)} </Page>\n</PcGts>\n"
    )


def _region(
    kind: int,
    rectangle: str,
    name: str = "",
    text: str = "",
    inner: Sequence[str] = (),
    font: int = 2,
) -> str:
    attributes = f' id="{name}"' if name else ""
    attributes += f" text={quoteattr(text)}" if text else ""
    return (
        f'<AttrRegion attrType="{kind}" fontType="{font}"{attributes}>'
        f"{rectangle}{''.join(inner)}</AttrRegion>\n"
    )


def _rectangle(writing: Writing, line: str, word: int, number: int) -> str:
    """The rectangle of a labelled word, from the boxes of its characters."""
    starts = [i for i, char in enumerate(line) if char.isalnum()]
    runs = np.split(starts, np.flatnonzero(np.diff(starts) > 1) + 1)
    first, last = runs[word][0], runs[word][-1]
    left, right = writing.boxes[first, 0] * _ENLARGED, writing.boxes[last, 1] * _ENLARGED
    return _corners(_LEFT + int(left), _TOP + number * _STEP, int(right - left), 100)


def _corners(left: int, top: int, width: int, height: int) -> str:
    points = (
        (left + dx, top + dy) for dx, dy in ((0, 0), (width, 0), (width, height), (0, height))
    )
    return (
        "<minAreaRect>" + "".join(f'<Point x="{x}" y="{y}"/>' for x, y in points) + "</minAreaRect>"
    )


def _image(writing: Writing, writer: str, name: str) -> NDArray[np.uint8]:
    height, width = (round(side * _ENLARGED) for side in writing.shape)
    strokes = [stroke * np.float32(_ENLARGED) for stroke in writing.strokes]
    widths = [pen * np.float32(_ENLARGED) for pen in writing.widths]
    return on_paper(draw_strokes(strokes, (height, width), widths, supersample=2), writer, name)
