"""The transcriptions of IAM: XML forms, `lines.txt`, `forms.txt`, and the places of characters.

The formats are those of https://fki.tic.heia-fr.ch/databases/iam-handwriting-database (its DTD of
the forms, and the comments at the head of the ASCII files).

IAM has the connected components of every word on the form, so word borders are measured. So are
letter borders if a word has as many groups of components as letters (printed hands); otherwise
they are estimated from the usual widths of letters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from datasets.files import child, content, decode_text, elements, inside, parse_xml

Style = Literal["xml", "ascii", "laia"]
Span = tuple[float, float]  # left and right column

BOX_SOURCE = "iam-xml"

# Laia joins what IAM split to have fewer words: "We 'll" is written "We'll" (prepare_iam_text.sh).
_CONTRACTION = re.compile(r" '(s|d|ll|m|ve|t|re|S|D|LL|M|VE|T|RE)\b")

_ENTITY = re.compile("&(quot|amp|apos|lt|gt|#3[49]);")  # in some copies of lines.txt

_FAR = 10**7  # pixels; no form is so large
_SLACK = 2  # pixels by which an image may differ from its line's box on the form
_OVERLAP = 0.5  # of the narrower of two components, from which on they are one letter
_NARROW, _WIDE = "iljtfrI1.,;:'!|()`", "mwMW&"
_WIDTHS = {**dict.fromkeys(_NARROW, 0.55), **dict.fromkeys(_WIDE, 1.5)}
_CAPITAL = 1.25  # of a small letter's width


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the form."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column after it."""
        return self.left + self.width


@dataclass(frozen=True)
class Word:
    """A token of a line, perhaps with spaces ("M Ps"), and the components of its ink."""

    text: str
    components: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Written:
    """A line as a file of IAM transcribes it.

    correct: whether IAM marks its words as segmented correctly ("ok").
    words: its tokens; components are in XML only.
    box: place of the line on its form, from `lines.txt`; None if that is not read.
    writer: "" if neither XML nor `forms.txt` names one.
    """

    text: str
    correct: bool
    writer: str = ""
    words: tuple[Word, ...] = ()
    box: Box | None = None


def form_of(line: str) -> str:
    """The form of a line id: `a01-000u-00` stands on `a01-000u`."""
    return line.rpartition("-")[0]


def ascii_file(root: Path, name: str) -> Path | None:
    """`lines.txt` or `forms.txt`, in `ascii/` or in the root; None if absent."""
    places = (root / "ascii" / name, root / name)
    return next((place for place in places if place.is_file()), None)


def laia(tokens: Iterable[str]) -> str:
    """Tokens as Laia and TrOCR's labels write them: no space in a token, contractions joined.

    >>> laia(["M Ps", "did", "n't", "we", "'ll"])
    "MPs did n't we'll"
    """
    return _CONTRACTION.sub(r"'\1", " ".join(token.replace(" ", "") for token in tokens))


def parse_lines(text: str) -> dict[str, Written]:
    """The rows of `lines.txt` by line id; malformed rows, and rows that differ, are left out.

    A row is `a01-000u-03 err 156 23 430 1290 1883 70 M Ps|tomorrow|.`: id, segmentation, grey
    level, components, x, y, width and height of the line on its form, tokens.
    """
    lines: list[tuple[str, Written]] = []
    for row in text.splitlines():
        fields = row.split(" ", 8)
        if row.startswith("#") or len(fields) < 9:
            continue
        with contextlib.suppress(ValueError):
            box = _box(fields[4:8])
            plain = _ENTITY.sub(lambda entity: html.unescape(entity[0]), fields[8])
            tokens = [token for token in plain.strip().split("|") if token.strip()]
            words = tuple(map(Word, tokens))
            written = Written(" ".join(tokens), fields[1] == "ok", words=words, box=box)
            lines.append((fields[0], written))
    return _unambiguous(lines)


def parse_forms(text: str) -> dict[str, str]:
    """Writers by form, from `forms.txt` (`a01-000u 000 2 prt 7 5 52 36`)."""
    rows = (row.split() for row in text.splitlines() if not row.startswith("#"))
    return {row[0]: row[1] for row in rows if len(row) > 1}


def parse_form(document: bytes, name: str) -> dict[str, Written]:
    """The handwritten lines of an XML form by id; those of one id that differ are left out.

    IAM's texts are escaped twice, so parsed ones still contain `&quot;`.

    Raises:
        ValueError: it is not XML, or not a form.
    """
    root = parse_xml(document, name)
    part = child(root, "handwritten-part")
    if part is None:
        raise ValueError(f"{name} has no handwritten part")
    writer = root.get("writer-id", "")
    lines = [(line.get("id", ""), _form_line(line, writer)) for line in elements(part, "line")]
    return _unambiguous(lines)


def _unambiguous(lines: Sequence[tuple[str, Written]]) -> dict[str, Written]:
    """The lines by id, without an id that several have with different texts."""
    found = dict(lines)
    for name, written in lines:
        if name in found and found[name].text != written.text:
            del found[name]
    return found


class Transcripts:
    """The transcriptions of a copy of IAM, looked up by line.

    root: of the copy, with `xml/`, `lines.txt` or `forms.txt`.
    style: of the reference, see `Iam`.
    """

    def __init__(self, root: Path, style: Style) -> None:
        self.root, self.style = root, style
        self.entries = parse_lines(_ascii(root, "lines.txt"))
        self.writers = parse_forms(_ascii(root, "forms.txt"))
        self._last: tuple[str, Mapping[str, Written] | str] = ("", "")  # lists keep forms together

    def __getitem__(self, line: str) -> Written:
        """The transcription of a line."""
        name = form_of(line)
        form, entry = self._form(name), self.entries.get(line)
        if self.style == "xml":
            if isinstance(form, str):
                raise ValueError(form)
            if line not in form:
                raise ValueError(f"{name}.xml has no such line, or two with different texts")
            written = form[line]
        elif entry is None:
            raise ValueError(
                "lines.txt has no such line, or two with different texts, or not in its format"
            )
        elif self.style == "laia":
            written = dataclasses.replace(entry, text=laia(word.text for word in entry.words))
        else:
            written = entry
        of_xml = None if isinstance(form, str) else form.get(line)
        return dataclasses.replace(
            written,
            words=of_xml.words if of_xml else (),
            writer=self._writer(name, form),
            box=entry.box if entry else None,
        )

    def lines_of(self, form: str) -> list[str]:
        """The ids of the lines of a form; none where it has no transcription."""
        if self.style != "xml":
            return self._by_form.get(form, [])
        lines = self._form(form)
        return [] if isinstance(lines, str) else sorted(lines)

    @cached_property
    def _by_form(self) -> Mapping[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for line in sorted(self.entries):
            forms.setdefault(form_of(line), []).append(line)
        return forms

    def _writer(self, name: str, form: Mapping[str, Written] | str) -> str:
        lines = [] if isinstance(form, str) else list(form.values())
        return (lines[0].writer if lines else "") or self.writers.get(name, "")

    def _form(self, name: str) -> Mapping[str, Written] | str:
        """The lines of an XML form, or the reason why there are none."""
        if self._last[0] != name:
            file = f"{name}.xml"
            try:
                form: Mapping[str, Written] | str = parse_form(
                    content(inside(self.root / "xml", file)), f"xml/{file}"
                )
            except ValueError as error:
                form = str(error)
            self._last = (name, form)
        return self._last[1]


def _ascii(root: Path, name: str) -> str:
    """The text of an ASCII file, "" if it is missing or unreadable."""
    path = ascii_file(root, name)
    try:
        return "" if path is None else decode_text(content(path))
    except ValueError:
        return ""


def _form_line(line: Element, writer: str) -> Written:
    words = tuple(
        Word(html.unescape(word.get("text", "")), tuple(_components(word)))
        for word in elements(line, "word")
    )
    text, correct = html.unescape(line.get("text", "")), line.get("segmentation") == "ok"
    return Written(text, correct, writer, words)


def _components(word: Element) -> list[Box]:
    """The valid rectangles among the components."""
    boxes = []
    for component in elements(word, "cmp"):
        with contextlib.suppress(ValueError):
            box = _box([component.get(name, "") for name in ("x", "y", "width", "height")])
            if box.width > 0 and box.height > 0:
                boxes.append(box)
    return boxes


def _box(fields: Sequence[str]) -> Box:
    numbers = [int(field) for field in fields]
    if max(map(abs, numbers)) > _FAR:
        raise ValueError
    return Box(*numbers)


def character_boxes(
    text: str, written: Written, shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """The columns of each character of a normalised reference on a line's image.

    Tokens and text must be equal up to spaces, and the image's shape that of the line's box.

    Returns:
        (len(text), 2) float32 in pixels of the image; None if the XML does not determine them.
    """
    words = written.words
    if not words or not written.correct or not all(word.components for word in words):
        return None
    if "".join(_bare(word.text) for word in words) != _bare(text):
        return None
    left = _left(written, shape)
    if left is None:
        return None
    letters = [span for word in words for span in _letters(word)]
    boxes = np.array(_with_spaces(text, letters), np.float32) - left
    return np.clip(boxes, 0, shape[1]).astype(np.float32)


def _left(written: Written, shape: tuple[int, ...]) -> int | None:
    """The column of the form at which the image begins; None if no box has its size."""
    ink = _around([box for word in written.words for box in word.components])
    for box in (written.box, ink):
        if box and abs(box.width - shape[1]) <= _SLACK and abs(box.height - shape[0]) <= _SLACK:
            return box.left
    return None


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right = max(box.right for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


def _letters(word: Word) -> list[Span]:
    """A span for each non-space character of a word."""
    text = _bare(word.text)
    if not text:
        return []
    groups = _groups(word.components)
    if len(groups) == len(text):
        return groups
    around = _around(word.components)
    shares = np.array([_WIDTHS.get(c, _CAPITAL if c.isupper() else 1.0) for c in text])
    ends = around.left + np.concatenate([[0.0], np.cumsum(shares)]) * around.width / shares.sum()
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _groups(components: Sequence[Box]) -> list[Span]:
    """Group components from left to right; one above another (the dot of an i) joins it."""
    groups: list[Span] = []
    for box in sorted(components, key=lambda box: box.left):
        if groups:
            left, right = groups[-1]
            shared = min(right, box.right) - box.left
            if shared >= _OVERLAP * min(right - left, box.width):
                groups[-1] = (left, max(right, box.right))
                continue
        groups.append((box.left, box.right))
    return groups


def _with_spaces(text: str, letters: Sequence[Span]) -> list[Span]:
    """Add to the letters a span for each space: the gap between its neighbours, if any."""
    spans: list[Span] = []
    place = 0
    for char in text:
        if char.isspace():
            left, right = letters[place - 1][1], letters[place][0]
            middle = (left + right) / 2
            spans.append((left, right) if left < right else (middle, middle))
        else:
            spans.append(letters[place])
            place += 1
    return spans


def _bare(text: str) -> str:
    return "".join(text.split())
