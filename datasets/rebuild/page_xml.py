"""Lines of page transcriptions: PAGE XML (PRImA, 2013-07-15 and later) and ALTO (4.x).

https://www.primaresearch.org/tools/PAGELibraries and https://www.loc.gov/standards/alto/.
Both have namespaces that change with their versions, so elements are found by local name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics import normalise

Points = NDArray[np.float64]  # (N, 2) x, y in pixels of the page

_ENTITY = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class PageLine:
    """A transcribed line of a page.

    item: its name on the page: PAGE's line id, or the line's two-digit number in ALTO.
    baseline: None where there is none.
    """

    item: str
    text: str
    polygon: Points
    baseline: Points | None


def parse_page(content: bytes, name: str) -> list[PageLine]:
    """The lines of a PAGE XML document that have a polygon, in document order.

    Raises:
        UserError: it is no XML.
    """
    lines: list[PageLine] = []
    for element in _elements(_root(content, name), "TextLine"):
        outline = _child(element, "Coords")
        if outline is None:
            continue
        base = _child(element, "Baseline")
        transcript = _child(element, "TextEquiv")
        written = None if transcript is None else _child(transcript, "Unicode")
        lines.append(
            PageLine(
                item=element.get("id", ""),
                text=normalise((written.text or "") if written is not None else ""),
                polygon=_points(outline.get("points", "")),
                baseline=None if base is None else _points(base.get("points", "")),
            )
        )
    return [line for line in lines if len(line.polygon)]


def parse_alto(content: bytes, name: str) -> list[PageLine]:
    """The lines of an ALTO document that have a polygon, in document order.

    Raises:
        UserError: it is no XML.
    """
    lines: list[PageLine] = []
    for number, element in enumerate(_elements(_root(content, name), "TextLine")):
        outline = next(_elements(element, "Polygon"), None)
        if outline is None:
            continue
        words = [string.get("CONTENT", "") for string in _elements(element, "String")]
        base = element.get("BASELINE")
        lines.append(
            PageLine(
                item=f"{number:02d}",
                text=normalise(" ".join(words)),
                polygon=_points(outline.get("POINTS", "")),
                baseline=None if base is None else _points(base),
            )
        )
    return [line for line in lines if len(line.polygon)]


def _root(content: bytes, name: str) -> ElementTree.Element:
    # Neither format has entities of its own; some that expand without end make a small file large.
    if _ENTITY.search(content):
        raise UserError(f"{name} declares entities, which a transcription has no need of")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UserError(f"{name} is not XML ({error})") from error


def _elements(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element | None:
    return next((child for child in element if child.tag.rpartition("}")[2] == name), None)


def _points(text: str) -> Points:
    """`x,y x,y` (PAGE) or `x y x y` (ALTO) to points; an odd number at the end is dropped."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    return np.array(numbers[: len(numbers) // 2 * 2], np.float64).reshape(-1, 2)
