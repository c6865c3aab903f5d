"""A contact sheet of lines: each image with its reference below, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from bench.core.types import Image, Line

WIDTH = 1400  # pixels; a longer line is scaled down to it
HEIGHT = 64  # pixels of a line's image at most
_MARGIN = 12
_TEXT = 15  # pixels
_ROW = 22  # pixels that a row of text takes
_GREY, _BLACK = 110, 0


def contact_sheet(title: str, lines: Sequence[Line]) -> Image:
    """Draw lines below one another, split by split.

    Args:
        title: what stands above them all.
        lines: those of a split together.

    Returns:
        (H, W) uint8, paper white.
    """
    pictures = [_fitted(line.image) for line in lines]
    heads = [n for n, line in enumerate(lines) if n == 0 or lines[n - 1].split != line.split]
    height = sum(picture.height + 2 * _ROW for picture in pictures)
    height += _ROW * (1 + 2 * len(heads)) + 2 * _MARGIN
    sheet = Pillow.new("L", (WIDTH + 2 * _MARGIN, height), 255)
    pen, font = ImageDraw.Draw(sheet), _font()
    top = _MARGIN
    pen.text((_MARGIN, top), title, _BLACK, font)
    top += _ROW
    for number, (line, picture) in enumerate(zip(lines, pictures, strict=True)):
        if number in heads:
            pen.text((_MARGIN, top + _ROW // 2), line.split, _BLACK, font)
            top += 2 * _ROW
        sheet.paste(picture, (_MARGIN, top))
        top += picture.height
        pen.text((_MARGIN, top), line.text, _BLACK, font)
        told = "  ".join(filter(None, (line.id, line.writer and f"writer {line.writer}")))
        width = pen.textlength(told, font)
        pen.text((WIDTH + _MARGIN - width, top), told, _GREY, font)
        top += 2 * _ROW
    return np.asarray(sheet)


def _fitted(image: Image) -> Pillow.Image:
    height, width = image.shape
    scale = min(1.0, HEIGHT / height, WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS)


def _font() -> ImageFont.FreeTypeFont:
    """A font with the letters of most of Europe, that matplotlib brings."""
    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT
    )
