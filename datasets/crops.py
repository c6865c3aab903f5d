"""Line images cut from a page along the polygons of its transcription."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from datasets.page_xml import PageLine, Points

_BORDER = 6  # pixels around the polygon's bounding box
_GROWTH = 9  # side of the square by which the polygon is dilated
_PAPER = 70  # percentile of the grey inside that the outside is filled with
_THIN = 0.55  # of the page's median ascent; a polygon below that is not a line's outline
_DESCENT = 0.4  # of the ascent, where an outline is rebuilt from the baseline
_ASCENTS = (45.0, 110.0)  # pixels between which a page's median ascent is believed
_PITCH_SHARES = (0.4, 1.0)  # the same as shares of the distance from baseline to baseline
_BESIDE = 0.3  # of the shorter baseline: lines that share less of their width are in two columns


def outlines(lines: Sequence[PageLine], ascents: tuple[float, float] = _ASCENTS) -> list[Points]:
    """The outlines of a page's lines, thin ones rebuilt from their baselines.

    Hand-drawn lines often have a polygon that is only a ribbon at the baseline, and some have only
    a baseline. The ascent of a line is its mean baseline minus the top of its polygon; the page's
    is the median, clipped to the two `ascents` in pixels (by default for pages about 2,000 pixels
    high), and their mean if no line has one. Without polygon and baseline the outline is empty.
    """
    own = [_ascent(line) for line in lines]
    known = [a for line, a in zip(lines, own, strict=True) if a is not None and len(line.polygon)]
    usual = float(np.clip(np.median(known), *ascents) if known else np.mean(ascents))
    return [
        _around(line.baseline, usual)
        if line.baseline is not None and ascent is not None and ascent < _THIN * usual
        else line.polygon
        for line, ascent in zip(lines, own, strict=True)
    ]


def likely_ascents(lines: Sequence[PageLine]) -> tuple[float, float]:
    """The plausible range of a page's ascent in pixels, from the distances of its baselines.

    0 to infinity if no baseline is below another.
    """
    spans = [
        (line.baseline[:, 1].mean(), line.baseline[:, 0].min(), line.baseline[:, 0].max())
        for line in lines
        if line.baseline is not None and len(line.baseline)
    ]
    gaps = [
        min(below)
        for height, left, right in spans
        if (below := [y - height for y, a, b in spans if _is_below(y - height, left, right, a, b)])
    ]
    if not gaps:
        return 0.0, float("inf")
    pitch = float(np.median(gaps))
    return _PITCH_SHARES[0] * pitch, _PITCH_SHARES[1] * pitch


def crop(page: Image.Image, outline: Points, height: int) -> Image.Image:
    """Cut a line out of a grey page, fill the surroundings with paper, and scale it down.

    The outline may cross the page's edge; the result is at most `height` pixels high.

    Raises:
        ValueError: nothing of the outline lies on the page.
    """
    # Points far outside would only overflow the arithmetic.
    outline = np.clip(outline, -np.array(page.size), 2 * np.array(page.size))
    left, top = np.maximum((outline.min(0) - _BORDER).astype(int), 0).tolist()
    right, bottom = np.minimum((outline.max(0) + _BORDER).astype(int), page.size).tolist()
    if right <= left or bottom <= top:
        raise ValueError("the line lies outside of its page")
    cut = page.crop((left, top, right, bottom))
    inside = Image.new("L", cut.size, 0)
    ImageDraw.Draw(inside).polygon([(x - left, y - top) for x, y in outline.tolist()], fill=1)
    mask = cv2.dilate(np.asarray(inside), np.ones((_GROWTH, _GROWTH), np.uint8)) > 0
    pixels = np.array(cut)
    if mask.any():
        pixels[~mask] = int(np.percentile(pixels[mask], _PAPER))
    return shrink(Image.fromarray(pixels), height)


def shrink(image: Image.Image, height: int) -> Image.Image:
    """Scale an image down to a height; a lower one is unchanged."""
    if image.height <= height:
        return image
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode as baseline JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _ascent(line: PageLine) -> float | None:
    if line.baseline is None or not len(line.baseline):
        return None
    if not len(line.polygon):
        return 0.0
    return float(line.baseline[:, 1].mean() - line.polygon[:, 1].min())


def _around(baseline: Points, ascent: float) -> Points:
    """The band from `ascent` above a baseline to `_DESCENT` of that below it."""
    above = baseline - np.array([0.0, ascent])
    below = baseline + np.array([0.0, _DESCENT * ascent])
    return np.concatenate([above, below[::-1]])


def _is_below(gap: float, left: float, right: float, start: float, end: float) -> bool:
    """Whether a baseline from `start` to `end` is under another one, in the same column."""
    shared = min(right, end) - max(left, start)
    return gap > 1 and shared > _BESIDE * min(right - left, end - start)
