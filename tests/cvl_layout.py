"""A small copy of CVL 1.1 in its true layout: RGB TIFFs, and XML with CVL's quirks.

Regions are in another order than that of reading, some have no text, printed ones stand beside the
handwritten ones, words lack their punctuation, and documents declare UTF-16 and are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2010-03-19"


class Copied(NamedTuple):
    """A page: its lines with their punctuation, the declared and the true encoding of its XML."""

    writer: str
    text: int
    part: str
    lines: tuple[str, ...]
    declared: str = "UTF-16"
    encoding: str = "iso-8859-1"

    @property
    def name(self) -> str:
        return f"{self.writer}-{self.text}"


# By `datasets.splits.split_of` 0003 is a writer of test, 0052 of val, 0001 and 0992 of train.
PAGES = (
    Copied("0003", 1, "testset", ("Lines, Triangles,", "and other figures")),
    Copied("0003", 4, "testset", ("inhabit, us",), "ISO-8859-1"),
    Copied("0003", 6, "testset", ("du bist so sch\u00f6n!",), "ISO-8859-1"),
    Copied("0052", 4, "testset", ("organic beings",), "UTF-16", "utf-16"),
    Copied("0052", 3, "testset", ("Mail\u00fcfterl is",), "ISO-8859-1", "utf-8"),
    Copied("0001", 2, "trainset", ("brave Nomacs -",)),
    Copied("0001", 7, "trainset", ("You are shallow.",)),
    Copied("0992", 1, "testset", ("Imagine a vast",)),
    Copied("0992", 2, "testset", ("sheet of paper",)),
)


def write_cvl(root: Path) -> dict[str, NDArray[np.uint8]]:
    """Lay out both parts below a folder; the grey images, by line id."""
    drawn: dict[str, NDArray[np.uint8]] = {}
    rng = np.random.default_rng(0)
    for page in PAGES:
        folder = root / page.part / "lines" / page.writer
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(len(page.lines)):
            name = f"{page.name}-{number}"
            drawn[name] = rng.integers(0, 256, (40, 200), np.uint8)
            Image.fromarray(drawn[name]).convert("RGB").save(folder / f"{name}.tif")
        write_page(root, page, _page_xml(page))
    return drawn


def write_page(root: Path, page: Copied, document: str) -> None:
    path = root / page.part / "xml" / f"{page.name}_attributes.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(document.encode(page.encoding))


def _page_xml(page: Copied) -> str:
    """Printed text first, handwritten lines and their words from the last to the first."""
    lines = []
    for number, line in reversed(list(enumerate(page.lines))):
        name = f"{page.name}-{number}"
        labels = ("".join(c for c in word if c.isalnum()) for word in line.split())
        words = [
            _region(1, f"{name}-{place}", label, left=100 * place)
            for place, label in enumerate(filter(None, labels))
        ]
        # A component that is no word stands among them.
        lines.append(_region(2, name, inner="".join([*reversed(words), _region(1)])))
    printed = _region(3, inner=_region(2, inner=_region(1, "", "Printed", font=1), font=1), font=1)
    return (
        f'<?xml version="1.0" encoding="{page.declared}"?>\n<PcGts xmlns="{_NAMESPACE}">'
        f'<Page imageFilename="{page.name}.tif">{printed}{_region(3, inner="".join(lines))}'
        "</Page></PcGts>"
    )


def _region(
    kind: int, name: str = "", text: str = "", inner: str = "", left: int = 0, font: int = 2
) -> str:
    attributes = f' id="{name}"' if name else ""
    attributes += f" text={quoteattr(text)}" if text else ""
    points = "".join(f'<Point x="{x}" y="{y}"/>' for x in (left, left + 90) for y in (0, 30))
    return (
        f'<AttrRegion attrType="{kind}" fontType="{font}"{attributes}>'
        f"<minAreaRect>{points}</minAreaRect>{inner}</AttrRegion>\n"
    )
