"""The transcriptions of CVL: one XML file a page, in a dialect of PAGE of its own.

Regions are nested `AttrRegion`s: attrType 3 a paragraph, 2 a line, 1 a word; fontType 2 is written
by hand, all else is printed. Words carry `text`, and ids `WRITER-TEXT-LINE-WORD`. The order in the
file is not that of reading. Files declare UTF-16 or ISO-8859-1 and are often neither, so what they
declare is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from bench.core.errors import UserError
from datasets.text import undeclared
from datasets.xml import child, elements, parse

LINE_ID = re.compile(r"(\d{4})-(\d)-(\d{1,3})")  # writer, text, line
_WORD_ID = re.compile(r"(\d{4}-\d-\d{1,3})-(\d{1,3})")

_LINE, _WORD, _HANDWRITTEN = "2", "1", "2"


def parse_page(content: bytes, name: str) -> dict[str, str]:
    """The handwritten texts of a page by line id; lines without words or without ids are left out.

    Raises:
        ValueError: it is no XML.
    """
    try:
        root = parse(undeclared(content), name)
    except UserError as error:
        raise ValueError(str(error)) from error
    found: dict[str, str] = {}
    for region in _regions(root, _LINE):
        words = [word for word in _regions(region, _WORD) if word.get("text", "").strip()]
        line = _line_id(region, words)
        if not words or line is None:
            continue
        text = " ".join(word.get("text", "").strip() for word in _in_order(words))
        found[line] = f"{found[line]} {text}" if line in found else text
    return found


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
    """Words by the number in their ids where all have one of their own, else from left to right."""
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
