"""Contact sheets: lines with their references, or a line under damages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from bench.core.types import Image, Line
from datasets.damage import DAMAGES
from datasets.damage.base import SEVERITIES, Damage

WIDTH = 1400  # pixels; a longer line of a set is scaled down to it
HEIGHT = 64  # pixels of such a line at most
MAX_WIDTH = 2400  # pixels; a longer line under damages is cut on the right
MARGIN = 12
_TEXT = 15  # pixels
_ROW = 22  # pixels that a row of text takes
_GREY, _BLACK = 110, 0


class _Shown(NamedTuple):
    """A picture and its caption."""

    image: Image
    caption: str
    aside: str = ""


def contact_sheet(title: str, lines: Sequence[Line]) -> Image:
    """Draw lines below one another, scaled to fit and grouped by split.

    Returns:
        (H, W) uint8, paper white.
    """
    rows: list[str | _Shown] = [title]
    for before, line in zip([None, *lines], lines, strict=False):
        if before is None or before.split != line.split:
            rows.append(line.split)
        aside = "  ".join(filter(None, (line.id, line.writer and f"writer {line.writer}")))
        rows.append(_Shown(_fitted(line.image), line.text, aside))
    return _drawn(rows, WIDTH)


def damage_sheet(
    line: Line,
    dataset: str,
    damages: Mapping[str, Damage],
    seed: int = 0,
    other: Line | None = None,
) -> Image:
    """Draw the clean line, and below it each damage at severity 1 to 5, unscaled.

    Returns:
        (H, W) uint8, paper white.
    """

    def rows() -> Iterator[str | _Shown]:
        yield f"{dataset} / {line.id}: {line.text}"
        yield _Shown(line.image[:, :MAX_WIDTH], "clean")
        for name, damage in damages.items():
            yield f"{name} ({DAMAGES.entry(name).summary}), {damage.family}"
            for severity in SEVERITIES[1:]:
                result = damage.apply(line, dataset, severity, seed, other)
                lost = "" if result.ink_lost is None else f"  ink lost {result.ink_lost:.0%}"
                yield _Shown(result.line.image[:, :MAX_WIDTH], f"{severity}{lost}")

    return _drawn(list(rows()), min(MAX_WIDTH, line.image.shape[1]))


def _drawn(rows: Sequence[str | _Shown], width: int) -> Image:
    """Headings and pictures below one another."""
    heights = [2 * _ROW + (0 if isinstance(row, str) else row.image.shape[0]) for row in rows]
    sheet = Pillow.new("L", (width + 2 * MARGIN, sum(heights) + 2 * MARGIN), 255)
    pen, font, top = ImageDraw.Draw(sheet), _font(), MARGIN
    for row, height in zip(rows, heights, strict=True):
        if isinstance(row, str):
            pen.text((MARGIN, top + _ROW // 2), row, _BLACK, font)
        else:
            sheet.paste(Pillow.fromarray(row.image), (MARGIN, top))
            below = top + row.image.shape[0]
            pen.text((MARGIN, below), row.caption, _BLACK, font)
            left = width + MARGIN - pen.textlength(row.aside, font)
            pen.text((left, below), row.aside, _GREY, font)
        top += height
    return np.asarray(sheet)


def _fitted(image: Image) -> Image:
    height, width = image.shape
    scale = min(1.0, HEIGHT / height, WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))


def _font() -> ImageFont.FreeTypeFont:
    """A font that is part of matplotlib and has most European letters."""
    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT
    )
