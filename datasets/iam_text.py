"""What IAM says of its lines: XML forms, `lines.txt` and `forms.txt`.

The formats are those of https://fki.tic.heia-fr.ch/databases/iam-handwriting-database (its DTD of
the forms, and the comments at the head of the ASCII files).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element

from bench.core.errors import UserError
from datasets.paths import content, inside
from datasets.text import decode_text
from datasets.xml import child, elements, parse

Style = Literal["xml", "ascii", "laia"]

# Laia joins what IAM split to have fewer words: "We 'll" is written "We'll" (prepare_iam_text.sh).
_CONTRACTION = re.compile(r" '(s|d|ll|m|ve|t|re|S|D|LL|M|VE|T|RE)\b")

_FAR = 10**7  # pixels; no form is so large


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the form."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.width


@dataclass(frozen=True)
class Word:
    """A token of a line and the connected components of its ink."""

    text: str
    components: tuple[Box, ...]


@dataclass(frozen=True)
class Written:
    """What IAM says of one line.

    correct: whether its words were segmented correctly ("ok"), as far as IAM knows.
    words: its tokens; () where only the ASCII files are read.
    box: where the line lies on its form by `lines.txt`; None where that is not read.
    writer: "" where neither XML nor `forms.txt` names one.
    """

    text: str
    correct: bool
    writer: str
    words: tuple[Word, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class Entry:
    """A row of `lines.txt`; tokens may hold spaces ("M Ps")."""

    correct: bool
    box: Box
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class FormLine:
    """A line of an XML form."""

    text: str
    correct: bool
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Form:
    """An XML form."""

    writer: str
    lines: Mapping[str, FormLine]


def form_of(line: str) -> str:
    """The form of a line id: `a01-000u-00` stands on `a01-000u`."""
    return line.rpartition("-")[0]


def ascii_file(root: Path, name: str) -> Path | None:
    """`lines.txt` or `forms.txt`, in `ascii/` or in the root itself; None where it is not."""
    places = (root / "ascii" / name, root / name)
    return next((place for place in places if place.is_file()), None)


def laia(tokens: Iterable[str]) -> str:
    """Tokens as Laia and TrOCR's labels write them: no space in a token, contractions joined.

    >>> laia(["M Ps", "did", "n't", "we", "'ll"])
    "MPs did n't we'll"
    """
    return _CONTRACTION.sub(r"'\1", " ".join(token.replace(" ", "") for token in tokens))


def parse_lines(text: str) -> dict[str, Entry]:
    """The rows of `lines.txt` by line id; rows of another form are left out.

    A row is `a01-000u-03 err 156 23 430 1290 1883 70 M Ps|tomorrow|.`: id, segmentation, grey
    level, components, x, y, width and height of the line on its form, tokens.
    """
    found: dict[str, Entry] = {}
    for row in text.splitlines():
        fields = row.split(" ", 8)
        if row.startswith("#") or len(fields) < 9:
            continue
        try:
            box = _box(fields[4:8])
        except ValueError:
            continue
        tokens = tuple(token for token in fields[8].strip().split("|") if token.strip())
        found[fields[0]] = Entry(fields[1] == "ok", box, tokens)
    return found


def parse_forms(text: str) -> dict[str, str]:
    """Writers by form, of `forms.txt` (`a01-000u 000 2 prt 7 5 52 36`)."""
    rows = (row.split() for row in text.splitlines() if not row.startswith("#"))
    return {row[0]: row[1] for row in rows if len(row) > 1}


def parse_form(document: bytes, name: str) -> Form:
    """The handwritten lines of an XML form.

    IAM's texts are escaped twice: what XML's parser leaves is `&quot;`.

    Raises:
        ValueError: it is no XML, or no form.
    """
    try:
        root = parse(document, name)
    except UserError as error:
        raise ValueError(str(error)) from error
    part = child(root, "handwritten-part")
    if part is None:
        raise ValueError(f"{name} has no handwritten part")
    lines = {line.get("id", ""): _form_line(line) for line in elements(part, "line")}
    return Form(root.get("writer-id", ""), lines)


class Transcripts:
    """The transcriptions of a copy of IAM, looked up line by line.

    Args:
        root: of the copy; read are `xml/`, and `lines.txt` and `forms.txt` where they are.
        style: whose text is the reference.
    """

    def __init__(self, root: Path, style: Style) -> None:
        self.root, self.style = root, style
        self.entries = parse_lines(_ascii(root, "lines.txt"))
        self.writers = parse_forms(_ascii(root, "forms.txt"))
        self._last: tuple[str, Form | str] = ("", "")  # lists have a form's lines together

    def __getitem__(self, line: str) -> Written:
        """What is said of a line.

        Raises:
            ValueError: nothing, or nothing that can be read; with the reason.
        """
        name = form_of(line)
        form, entry = self._form(name), self.entries.get(line)
        if self.style == "xml":
            if isinstance(form, str):
                raise ValueError(form)
            if line not in form.lines:
                raise ValueError(f"{name}.xml has no such line")
            told = form.lines[line]
            text, correct = told.text, told.correct
        else:
            if entry is None:
                raise ValueError("lines.txt has no such line, or not in its format")
            text = laia(entry.tokens) if self.style == "laia" else " ".join(entry.tokens)
            correct = entry.correct
        known = None if isinstance(form, str) else form
        words = known.lines[line].words if known and line in known.lines else ()
        writer = (known.writer if known else "") or self.writers.get(name, "")
        return Written(text, correct, writer, words, entry.box if entry else None)

    def _form(self, name: str) -> Form | str:
        """An XML form, or why there is none."""
        if self._last[0] != name:
            path = f"xml/{name}.xml"
            try:
                form: Form | str = parse_form(content(inside(self.root, path)), path)
            except ValueError as error:
                form = str(error)
            self._last = (name, form)
        return self._last[1]


def _ascii(root: Path, name: str) -> str:
    """The text of an ASCII file, "" where there is none or it cannot be read."""
    path = ascii_file(root, name)
    if path is None:
        return ""
    try:
        return decode_text(content(inside(root, path.relative_to(root).as_posix())))
    except ValueError:
        return ""


def _form_line(line: Element) -> FormLine:
    words = tuple(
        Word(_plain(word.get("text", "")), tuple(_components(word)))
        for word in elements(line, "word")
    )
    return FormLine(_plain(line.get("text", "")), line.get("segmentation") == "ok", words)


def _plain(text: str) -> str:
    return html.unescape(text)


def _components(word: Element) -> list[Box]:
    """The components that are rectangles; others are left out."""
    found = []
    for component in elements(word, "cmp"):
        try:
            box = _box([component.get(name, "") for name in ("x", "y", "width", "height")])
        except ValueError:
            continue
        if box.width > 0 and box.height > 0:
            found.append(box)
    return found


def _box(fields: Sequence[str]) -> Box:
    """Left, top, width and height.

    Raises:
        ValueError: they are no numbers, or of no form.
    """
    numbers = [int(field) for field in fields]
    if max(map(abs, numbers)) > _FAR:
        raise ValueError
    return Box(*numbers)
