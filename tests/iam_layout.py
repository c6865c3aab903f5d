"""A small copy of IAM in its true layout, rendered, since IAM may not be redistributed.

As in IAM: XML with a DOCTYPE and in ISO-8859-1, texts that are escaped twice, tokens with spaces
inside ("M Ps"), `err` lines, crossed-out words ("#"), components on the form's own pixels, line
images of exactly the box of their components.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
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


class Copied(NamedTuple):
    """A handwritten line: its text, and IAM's tokens of it."""

    text: str
    tokens: tuple[str, ...]
    correct: bool = True


class Filled(NamedTuple):
    """A form that one writer filled in."""

    id: str
    writer: str
    lines: tuple[Copied, ...]


class Drawn(NamedTuple):
    """A line as IAM extracts it: image, its columns of each character, components by token."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    components: list[list[tuple[int, int, int, int]]]
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
    writing = write(line.text, writer, name)
    height, width = (round(side * _ENLARGED) for side in writing.shape)
    strokes = [stroke * np.float32(_ENLARGED) for stroke in writing.strokes]
    widths = [pen * np.float32(_ENLARGED) for pen in writing.widths]
    ink = draw_strokes(strokes, (height, width), widths, supersample=2)
    columns = writing.boxes * np.float32(_ENLARGED)
    _, _, found, centres = cv2.connectedComponentsWithStats((ink > 0.3).astype(np.uint8))
    corners = found[1:, :4] + np.pad(found[1:, :2], ((0, 0), (2, 0)))  # left, top, right, bottom
    (x, y), (right, bottom) = corners[:, :2].min(0).tolist(), corners[:, 2:].max(0).tolist()
    left, top = _LEFT, _TOP + _STEP * place
    owners = [number for number, token in enumerate(line.tokens) for c in token if c != " "]
    inked = np.array([not char.isspace() for char in line.text])
    components: list[list[tuple[int, int, int, int]]] = [[] for _ in line.tokens]
    for (cx, cy, wide, high, _), (centre, _) in zip(found[1:], centres[1:], strict=True):
        token = owners[int(np.abs(columns.mean(1) - centre)[inked].argmin())]
        components[token].append((int(cx) - x + left, int(cy) - y + top, int(wide), int(high)))
    image = on_paper(ink, writer, name)[y:bottom, x:right]
    return Drawn(image, columns - x, components, left, top)


def write_iam(root: Path) -> dict[str, Drawn]:
    """Lay out `lines/`, `xml/` and `ascii/` below a folder; the drawn lines by id."""
    drawn: dict[str, Drawn] = {}
    lines, forms = ["#--- lines.txt ---#", "#", "# iam database line information"], ["# forms.txt"]
    (root / "xml").mkdir(parents=True, exist_ok=True)
    for form in FORMS:
        folder = root / "lines" / form.id.partition("-")[0] / form.id
        folder.mkdir(parents=True)
        written = []
        for number, line in enumerate(form.lines):
            name, state = f"{form.id}-{number:02d}", "ok" if line.correct else "err"
            one = drawn[name] = draw(line, form.writer, f"{form.id}-{number}", number)
            Image.fromarray(one.image).save(folder / f"{name}.png", compress_level=1)
            height, width = one.image.shape
            box = f"{one.left} {one.top} {width} {height}"
            lines.append(f"{name} {state} 154 19 {box} {'|'.join(line.tokens)}")
            words = "".join(
                f'<word id="{name}-{token:02d}" tag="NN" text={_twice(text)}>'
                + "".join(
                    f'<cmp x="{x}" y="{y}" width="{wide}" height="{high}" />'
                    for x, y, wide, high in one.components[token]
                )
                + "</word>\n"
                for token, text in enumerate(line.tokens)
            )
            head = f'<line id="{name}" text={_twice(line.text)} threshold="154"'
            written.append(f'{head} segmentation="{state}">\n{words}</line>\n')
        forms.append(f"{form.id} {form.writer} 2 prt {len(form.lines)} 2 9 9")
        document = (
            f'{_HEAD}<form id="{form.id}" version="3.0" writer-id="{form.writer}">\n'
            '<machine-printed-part><machine-print-line text="A MOVE" /></machine-printed-part>\n'
            f"<handwritten-part>{''.join(written)}</handwritten-part>\n</form>\n"
        )
        (root / "xml" / f"{form.id}.xml").write_bytes(document.encode("iso-8859-1"))
    (root / "ascii").mkdir()
    for file, rows in (("lines.txt", lines), ("forms.txt", forms)):
        (root / "ascii" / file).write_text("\n".join(rows) + "\n", encoding="ascii")
    return drawn


def write_list(path: Path, ids: Sequence[str]) -> None:
    """A list of a partition."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(ids) + "\n", encoding="ascii")


def _twice(text: str) -> str:
    return quoteattr(html.escape(text, quote=True))
