"""Lines of page transcriptions: PAGE XML (2010 to 2019) and ALTO (2 to 4).

https://www.primaresearch.org/tools/PAGELibraries and https://www.loc.gov/standards/alto/.
Their namespaces vary with the version, so elements are matched by local name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.metrics import normalise
from datasets.files import child, elements, local, parse_xml

Points = NDArray[np.float64]  # (N, 2) x, y in pixels of the page

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PARTED = re.compile(r"\s*[,;]\s*|\s+")  # coordinates

# The start of every namespace of a format; "" is the lack of one, as in much of ALTO 2.
_PAGE = ("http://schema.primaresearch.org/PAGE/gts/pagecontent/",)
_ALTO = (
    "http://www.loc.gov/standards/alto/",
    "http://schema.ccs-gmbh.com/",
    "http://bibnum.bnf.fr/ns/alto",
)


# Formats that stand in one folder, as Transkribus and eScriptorium export them.
_COMPANIONS = {"PcGts", "alto", "mets", "trpDocMetadata"}

_HYPHENS = ("-", "\u2010", "\u00ac", "\u2e17")  # that a word may end with already
_VERTICAL = ("top-to-bottom", "bottom-to-top", "ttb", "btt")
_FAR = 1e7  # pixels; no page is so large, and no point beyond it means anything


class OtherFormatError(UserError):
    """A valid document of another format, to be skipped."""


@dataclass(frozen=True, eq=False)
class PageLine:
    """A transcribed line of a page.

    item: its name on the page: PAGE's line id, or the line's two-digit number in ALTO.
    polygon: (0, 2) if there is none.
    baseline: None if there is none.
    box: the corners of ALTO's rectangle; None if there is none.
    tags: the labels of ALTO's tags of the line and of what it stands in; PAGE's `production`.
    turn: degrees clockwise that turn the line upright, as the document states; 0 if it does not.
    vertical: whether it is stated to run from top to bottom or from bottom to top.
    """

    item: str
    text: str
    polygon: Points
    baseline: Points | None
    box: Points | None = None
    tags: tuple[str, ...] = ()
    turn: float = 0.0
    vertical: bool = False


@dataclass(frozen=True, eq=False)
class Transcript:
    """The transcription of a page.

    image: the picture's file name or relative path; "" if not stated.
    size: width and height in the unit of the points; None if not stated.
    pixels: whether points are in pixels; else only their ratio to `size` counts.
    lines: in document order.
    """

    name: str
    image: str
    size: tuple[float, float] | None
    pixels: bool
    lines: Sequence[PageLine]


def parse_page(content: bytes, name: str) -> Transcript:
    """Read a PAGE XML document.

    A line's text is its own (of several the first by index), or where that is empty its words'.

    Raises:
        UserError: it is not PAGE XML of one page.
        OtherFormatError: it is ALTO, METS or the like.
    """
    root = _root(content, name, "PcGts", _PAGE, "PAGE XML")
    attributes = _page(root, name)
    above = _parents(root)
    if next(elements(root, "TextLine"), None) is None and any(map(_equivalent, root.iter())):
        raise UserError(f"{name} has the text of regions, but no TextLine; export it by lines")
    return Transcript(
        name=name,
        image=attributes.get("imageFilename", ""),
        size=_size(name, attributes.get("imageWidth"), attributes.get("imageHeight")),
        pixels=True,
        lines=[
            PageLine(
                item=element.get("id", "") or f"{number:02d}",
                text=normalise(_written(element)),
                polygon=_outline(child(element, "Coords")),
                baseline=_baseline(child(element, "Baseline")),
                tags=tuple(_attributes(element, above, "production"))[:1],  # the nearest
                turn=_degrees(element, above, "orientation")
                + _degrees(element, above, "readingOrientation"),
                vertical=_is_vertical(element, above, "readingDirection"),
            )
            for number, element in enumerate(elements(root, "TextLine"))
        ],
    )


def parse_alto(content: bytes, name: str) -> Transcript:
    """Read an ALTO document; a hyphen at the end of a line belongs to its last word.

    Raises:
        UserError: it is not ALTO of one page.
        OtherFormatError: it is PAGE XML, METS or the like.
    """
    root = _root(content, name, "alto", _ALTO, "ALTO")
    attributes = _page(root, name)
    unit = next(elements(root, "MeasurementUnit"), None)
    file = next(elements(root, "fileName"), None)
    labels = _labels(root)
    above = _parents(root)
    return Transcript(
        name=name,
        image="" if file is None else (file.text or "").strip(),
        size=_size(name, attributes.get("WIDTH"), attributes.get("HEIGHT")),
        pixels=unit is None or (unit.text or "").strip() in ("", "pixel"),
        lines=[
            _alto_line(
                number,
                element,
                [
                    labels[tag]
                    for tags in _attributes(element, above, "TAGREFS")
                    for tag in tags.split()
                    if tag in labels
                ],
                _degrees(element, above, "ROTATION"),
                _is_vertical(element, above, "BASEDIRECTION"),
            )
            for number, element in enumerate(elements(root, "TextLine"))
        ],
    )


def _root(content: bytes, name: str, root: str, namespaces: tuple[str, ...], kind: str) -> Element:
    element = parse_xml(content, name)
    namespace = element.tag[1:].rpartition("}")[0]
    if local(element) in _COMPANIONS - {root}:
        raise OtherFormatError(f"{name} is no {kind} but {local(element)}")
    if local(element) != root or (namespace and not namespace.startswith(namespaces)):
        raise UserError(f"{name} is no {kind}: its root is {element.tag}")
    return element


def _page(root: Element, name: str) -> Mapping[str, str]:
    """The attributes of the page, if any."""
    pages = list(elements(root, "Page"))
    if len(pages) > 1:
        raise UserError(f"{name} holds {len(pages)} pages; only one page a document can be read")
    return pages[0].attrib if pages else {}


def _size(name: str, width: str | None, height: str | None) -> tuple[float, float] | None:
    """Width and height; None if absent or 0."""
    stated = [(text or "").strip() for text in (width, height)]
    if not all(stated):
        return None
    sides = [float(text) if _NUMBER.fullmatch(text) else np.nan for text in stated]
    if 0 in sides:
        return None
    if not all(1 <= side <= _FAR for side in sides):
        shown = " x ".join(text[:20] for text in stated)
        raise UserError(f"{name} states a page of {shown}, which is impossible; correct it")
    return sides[0], sides[1]


def _written(line: Element) -> str:
    """The text of a PAGE line: its own, or where that is empty its words'."""
    words = (_equivalent(word) for word in line if local(word) == "Word")
    return _equivalent(line) or " ".join(filter(None, words))


def _equivalent(element: Element) -> str:
    """The text of the first alternative by index, "" without one."""
    alternatives = [inner for inner in element if local(inner) == "TextEquiv"]
    if not alternatives:
        return ""
    best = min(alternatives, key=lambda equivalent: _index(equivalent.get("index", "")))
    written = (child(best, name) for name in ("Unicode", "PlainText"))
    texts = ("".join(each.itertext()) for each in written if each is not None)
    return next(filter(None, texts), "")


def _index(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else -1


def _outline(coords: Element | None) -> Points:
    """The points of an attribute, or of elements as PAGE 2010 has them."""
    if coords is None:
        return _points("")
    listed = (f"{p.get('x')},{p.get('y')}" for p in coords if local(p) == "Point")
    return _points(coords.get("points", "") or " ".join(listed))


def _baseline(element: Element | None) -> Points | None:
    return None if element is None else _points(element.get("points", ""))


def _labels(root: Element) -> dict[str, str]:
    """ALTO's tags: labels by id."""
    tags = (tag for parent in elements(root, "Tags") for tag in parent)
    return {name: tag.get("LABEL", "").strip() or name for tag in tags if (name := tag.get("ID"))}


def _parents(root: Element) -> dict[Element, Element]:
    return {inner: outer for outer in root.iter() for inner in outer}


def _attributes(
    element: Element | None, above: Mapping[Element, Element], name: str
) -> Iterator[str]:
    """Yield the values of an attribute, of an element and of its ancestors upwards."""
    while element is not None:
        if value := element.get(name, "").strip():
            yield value
        element = above.get(element)


def _degrees(element: Element, above: Mapping[Element, Element], name: str) -> float:
    """The angle of the nearest attribute; 0 without one."""
    text = next(_attributes(element, above, name), "")
    return float(text) if _NUMBER.fullmatch(text) else 0.0


def _is_vertical(element: Element, above: Mapping[Element, Element], name: str) -> bool:
    return next(_attributes(element, above, name), "").lower() in _VERTICAL


def _alto_line(
    number: int, element: Element, tags: Sequence[str], turn: float, vertical: bool
) -> PageLine:
    shape = child(element, "Shape")  # the line's own, not that of a word in it
    polygon = None if shape is None else child(shape, "Polygon")
    box = _box(element)
    return PageLine(
        item=f"{number:02d}",
        text=normalise(_contents(element)),
        polygon=_points("" if polygon is None else polygon.get("POINTS", "")),
        baseline=_alto_baseline(element.get("BASELINE"), box),
        box=box,
        tags=tuple(dict.fromkeys(tags)),
        turn=turn,
        vertical=vertical,
    )


def _contents(line: Element) -> str:
    """The text with the spaces of the file; without any, one between words."""
    text, gap = "", "" if child(line, "SP") is not None else " "
    for inner in line:
        if local(inner) == "String":
            text += gap + inner.get("CONTENT", "")
        elif local(inner) == "SP":
            text += " "
        elif local(inner) == "HYP" and not text.endswith(_HYPHENS):
            # A soft hyphen stands for a hyphen that is written on the page.
            text += inner.get("CONTENT", "-").replace("\u00ad", "-")
    return text


def _box(element: Element) -> Points | None:
    texts = [element.get(name, "") for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    numbers = _points(" ".join(texts))
    if not all(_NUMBER.fullmatch(text.strip()) for text in texts) or not len(numbers):
        return None
    (left, top), (right, bottom) = numbers[0], numbers.sum(0)
    if right <= left or bottom <= top:
        return None
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _alto_baseline(text: str | None, box: Points | None) -> Points | None:
    """Parse a baseline: points, or before ALTO 4.2 a single y."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text.strip()) and box is not None:
        text = f"{box[0, 0]} {text} {box[1, 0]} {text}"
    return _points(text)


def _points(text: str) -> Points:
    """Parse `x,y x,y` (PAGE) or `x y x y` (ALTO) to points.

    Empty if any number is invalid, absurd or missing, since the rest would pair wrongly.
    """
    texts = _PARTED.split(text.strip()) if text.strip() else []
    numbers = [float(number) if _NUMBER.fullmatch(number) else np.inf for number in texts]
    if len(numbers) % 2 or any(abs(number) > _FAR for number in numbers):
        numbers = []
    return np.array(numbers, np.float64).reshape(-1, 2)
