"""A small copy of IAM in its true layout, with its quirks: rendered, since IAM is nobody's to pass.

What is true of IAM and done here: XML with a DOCTYPE and in ISO-8859-1, texts that are escaped
twice, tokens with spaces inside ("M Ps"), `err` lines, crossed-out words ("#"), components on the
form's own pixels, line images of exactly the box of their components.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.handwriting import write
from datasets.raster import draw_strokes, on_paper

_HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>

<!DOCTYPE form SYSTEM "http://www.iam.unibe.ch/~fki/iamdb/form-metadata.dtd">

"""
_ENLARGED = 2.0  # the renderer writes lines of about 50 pixels, IAM's have about 100
_LEFT, _TOP, _STEP = 340, 720, 180  # pixels of the form: of the first line, and to the next

Components = list[tuple[int, int, int, int]]  # x, y, width, height


@dataclass(frozen=True)
class Copied:
    """A line that somebody wrote: its text, and the tokens that IAM makes of it."""

    text: str
    tokens: tuple[str, ...]
    correct: bool = True


@dataclass(frozen=True)
class Filled:
    """A form that one writer filled in."""

    id: str
    writer: str
    lines: tuple[Copied, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A line on its form, as IAM extracts it.

    image: of the box of its components.
    boxes: (len(text), 2), the columns of each character in that image, as the renderer knows them.
    components: by token, in pixels of the form.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    components: list[Components]
    left: int
    top: int


FORMS = (
    Filled(
        "a01-000u",
        "000",
        (
            Copied("A MOVE to stop Mr. Gaitskell", ("A", "MOVE", "to", "stop", "Mr.", "Gaitskell")),
            Copied("MPs tomorrow. Mr. Foot", ("M Ps", "tomorrow", ".", "Mr.", "Foot"), False),
            Copied('We\'ll say "prop up" & go', ("We", "'ll", "say", '"', "prop", "up", '"', "&",
                                                 "go")),
        ),
    ),
    Filled(
        "c04-160",
        "171",
        (
            Copied("over # the top", ("over", "#", "the", "top")),
            Copied("Griffiths, of Hull;", ("Griffiths", ",", "of", "Hull", ";")),
        ),
    ),
)  # fmt: skip


def draw(line: Copied, writer: str, name: str, place: int) -> Drawn:
    """Write a line and take it from its form as IAM does."""
    writing = write(line.text, writer, name)
    shape = tuple(round(side * _ENLARGED) for side in writing.shape)
    strokes = [stroke * np.float32(_ENLARGED) for stroke in writing.strokes]
    widths = [width * np.float32(_ENLARGED) for width in writing.widths]
    ink = draw_strokes(strokes, (shape[0], shape[1]), widths, supersample=2)
    columns = writing.boxes * np.float32(_ENLARGED)
    _, _, found, centres = cv2.connectedComponentsWithStats((ink > 0.3).astype(np.uint8))
    x, y, right, bottom = _around(found[1:, :4].tolist())
    left, top = _LEFT, _TOP + _STEP * place
    owners = _owners(line)
    components: list[Components] = [[] for _ in line.tokens]
    for (cx, cy, width, height, _), (centre, _) in zip(found[1:], centres[1:], strict=True):
        token = owners[int(np.abs(columns.mean(1) - centre)[_written(line.text)].argmin())]
        components[token].append((int(cx) - x + left, int(cy) - y + top, int(width), int(height)))
    image = on_paper(ink, writer, name)[y:bottom, x:right]
    return Drawn(image, columns - x, components, left, top)


def write_iam(root: Path, forms: Sequence[Filled] = FORMS) -> dict[str, Drawn]:
    """Lay out `lines/`, `xml/` and `ascii/` below a folder; what was drawn, by line id."""
    drawn = {
        f"{form.id}-{number:02d}": draw(line, form.writer, f"{form.id}-{number}", number)
        for form in forms
        for number, line in enumerate(form.lines)
    }
    for form in forms:
        folder = root / "lines" / form.id.partition("-")[0] / form.id
        folder.mkdir(parents=True)
        for number in range(len(form.lines)):
            name = f"{form.id}-{number:02d}"
            Image.fromarray(drawn[name].image).save(folder / f"{name}.png", compress_level=1)
        (root / "xml").mkdir(exist_ok=True)
        (root / "xml" / f"{form.id}.xml").write_bytes(form_xml(form, drawn).encode("iso-8859-1"))
    (root / "ascii").mkdir()
    (root / "ascii" / "lines.txt").write_text(lines_txt(forms, drawn), encoding="ascii")
    (root / "ascii" / "forms.txt").write_text(forms_txt(forms), encoding="ascii")
    return drawn


def form_xml(form: Filled, drawn: dict[str, Drawn]) -> str:
    """The XML of a form."""
    lines = []
    for number, line in enumerate(form.lines):
        name = f"{form.id}-{number:02d}"
        words = []
        for token, text in enumerate(line.tokens):
            parts = "".join(
                f'\n    <cmp x="{x}" y="{y}" width="{width}" height="{height}" />'
                for x, y, width, height in drawn[name].components[token]
            )
            words.append(
                f'\n   <word id="{name}-{token:02d}" tag="NN" text={_twice(text)}>{parts}</word>'
            )
        lines.append(
            f'\n  <line id="{name}" text={_twice(line.text)} threshold="154" '
            f'segmentation="{"ok" if line.correct else "err"}">{"".join(words)}\n  </line>'
        )
    return (
        f'{_HEAD}<form created="1999-12-10" height="3542" id="{form.id}" '
        f'last-modified="2002-01-02" skew="2" version="3.0" width="2479" '
        f'writer-id="{form.writer}">\n <machine-printed-part>\n'
        '  <machine-print-line text="A MOVE to stop" />\n </machine-printed-part>\n'
        f" <handwritten-part>{''.join(lines)}\n </handwritten-part>\n</form>\n"
    )


def lines_txt(forms: Sequence[Filled], drawn: dict[str, Drawn]) -> str:
    """`ascii/lines.txt` with the comments at its head."""
    rows = [
        "#--- lines.txt ----------------------------------------------------------#",
        "#",
        "# iam database line information",
        "#",
    ]
    for form in forms:
        for number, line in enumerate(form.lines):
            name = f"{form.id}-{number:02d}"
            height, width = drawn[name].image.shape
            rows.append(
                f"{name} {'ok' if line.correct else 'err'} 154 19 {drawn[name].left} "
                f"{drawn[name].top} {width} {height} {'|'.join(line.tokens)}"
            )
    return "\n".join(rows) + "\n"


def forms_txt(forms: Sequence[Filled]) -> str:
    """`ascii/forms.txt`."""
    rows = [
        f"{form.id} {form.writer} 2 prt {len(form.lines)} {sum(x.correct for x in form.lines)} 9 9"
        for form in forms
    ]
    return "\n".join(["#--- forms.txt ---#", *rows]) + "\n"


def write_list(path: Path, ids: Sequence[str]) -> None:
    """A list of a partition."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(ids) + "\n", encoding="ascii")


def _twice(text: str) -> str:
    return quoteattr(html.escape(text, quote=True))


def _around(boxes: Sequence[Sequence[int]]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all boxes."""
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[0] + box[2] for box in boxes),
        max(box[1] + box[3] for box in boxes),
    )


def _written(text: str) -> NDArray[np.bool_]:
    return np.array([not char.isspace() for char in text])


def _owners(line: Copied) -> list[int]:
    """The token of each character of the text that is no space."""
    return [number for number, token in enumerate(line.tokens) for char in token if char != " "]
