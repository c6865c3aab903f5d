"""Measurements of the clean line: paper, darkness, ink, stroke width, x-height, words.

Damages take all sizes from these, never from pixels, so that they are independent of the line's
height.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_HEIGHT = 8  # rows; lower images are too small to measure
MIN_CONTRAST = 8 / 255  # median darkness of the ink; below it the image is blank paper
PAPER_ROWS = 256  # the paper under taller images is estimated at this height


@dataclass(frozen=True, eq=False)
class Geometry:
    """Measurements of a clean line. Grey values run from 0 (black) to 1 (white).

    grey: (H, W) the image.
    background: (H, W) the paper as it would be without ink.
    darkness: (H, W) how much darker than the paper, 0 to 1.
    ink: (H, W) bool, pixels that are ink (Otsu on the darkness); never empty.
    stroke_width: mean width of the pen in pixels, at least 1.
    x_height: height of the small letters in pixels, at least 3.
    middle: row coordinate of the middle of the x-height band; row i spans i to i + 1.
    left, right: first ink column and the column after the last.
    ink_darkness: median darkness of the ink.
    paper_noise: standard deviation of the grey value about the background, off the ink.
    paper_offset: median of the grey value minus the background, off the ink; negative, because the
        closing follows the lightest grains of the paper.
    """

    grey: Float
    background: Float
    darkness: Float
    ink: Mask
    stroke_width: float
    x_height: float
    middle: float
    left: int
    right: int
    ink_darkness: float
    paper_noise: float
    paper_offset: float

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.grey.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.grey.shape[1])

    def lost(self, mask: Mask) -> float:
        """The share of the clean ink that lies under a mask."""
        return float(np.count_nonzero(mask & self.ink) / np.count_nonzero(self.ink))


def measure(image: Image) -> Geometry | None:
    """Measure a clean line, (H, W) uint8 dark on light; None if it has no ink."""
    if image.shape[0] < MIN_HEIGHT or image.shape[1] == 0:
        return None
    grey = np.ascontiguousarray(image, dtype=np.float32) / np.float32(255)
    background = _background(image)
    darkness: Float = np.clip(background - grey, 0, 1)
    ink = otsu(darkness)
    if not ink.any() or ink.all():
        return None
    ink_darkness = float(np.median(darkness[ink]))
    if ink_darkness < MIN_CONTRAST:
        return None
    x_height, middle = _x_height(ink)
    columns = np.flatnonzero(ink.any(axis=0))
    noise, offset = _paper_grain(grey - background, ink)
    return Geometry(
        grey=grey,
        background=background,
        darkness=darkness,
        ink=ink,
        stroke_width=_stroke_width(ink),
        x_height=x_height,
        middle=middle,
        left=int(columns[0]),
        right=int(columns[-1]) + 1,
        ink_darkness=ink_darkness,
        paper_noise=noise,
        paper_offset=offset,
    )


def words(geometry: Geometry) -> list[tuple[int, int]]:
    """Words as (first, after last) ink columns: runs of ink, gaps up to .45 x-height closed.

    Runs under .8 x-height (dots, dashes) are not words, unless the line has nothing longer.
    """
    columns = np.flatnonzero(geometry.ink.any(axis=0))
    breaks = np.flatnonzero(np.diff(columns) - 1 > int(0.45 * geometry.x_height))
    starts = columns[np.concatenate(([0], breaks + 1))]
    ends = columns[np.concatenate((breaks, [-1]))] + 1
    runs = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
    return [(a, b) for a, b in runs if b - a > 0.8 * geometry.x_height] or runs


def equal_slots(geometry: Geometry, count: int) -> NDArray[np.float32]:
    """(count, 2) boxes of equal width over the ink, for a line whose characters are unplaced."""
    edges = np.linspace(geometry.left, geometry.right, count + 1)
    boxes: NDArray[np.float32] = np.stack((edges[:-1], edges[1:]), axis=1).astype(np.float32)
    return boxes


def otsu(darkness: Float) -> Mask:
    """(H, W) bool, the pixels that are ink by Otsu's threshold on their darkness (0 to 1)."""
    levels = np.rint(darkness * 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    ink: Mask = levels > threshold
    return ink


def box_edges(boxes: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    """(N, 2) boxes in pixels to whole columns within an image; an unknown box (NaN) is empty."""
    edges = np.nan_to_num(np.rint(np.clip(boxes, 0, width))).astype(np.int64)
    return np.stack((edges[:, 0], edges.max(axis=1)), axis=1)


def _background(image: Image) -> Float:
    """The paper: dark strokes closed with an ellipse of .35 H, then smoothed."""
    rows, columns = image.shape
    # The cost grows with the cube of the height: a whole page would take minutes.
    small = np.ascontiguousarray(image)
    if rows > PAPER_ROWS:
        width = max(1, round(columns * PAPER_ROWS / rows))
        small = cv2.resize(small, (width, PAPER_ROWS), interpolation=cv2.INTER_AREA)
    side = max(5, round(0.35 * small.shape[0])) | 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, ellipse).astype(np.float32) / np.float32(255)
    paper: Float = cv2.GaussianBlur(closed, (0, 0), max(1.0, small.shape[0] / 10))
    if rows > PAPER_ROWS:
        paper = cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return paper


def _stroke_width(ink: Mask) -> float:
    """4 (mean distance to the paper - .5): exact for a long bar, robust on thin strokes."""
    distance = cv2.distanceTransform(ink.astype(np.uint8), cv2.DIST_L2, 5)
    return max(1.0, 4 * (float(distance[ink].mean(dtype=np.float64)) - 0.5))


def _x_height(ink: Mask) -> tuple[float, float]:
    """The x-height and the middle of its band, from the quantiles of the ink over the rows."""
    cumulative = np.concatenate(([0], np.cumsum(ink.sum(axis=1))))
    low, middle, high = np.interp(
        np.array([0.1, 0.5, 0.9]) * cumulative[-1], cumulative, np.arange(len(cumulative))
    )
    return max(3.0, 0.72 * float(high - low)), float(middle)


def _paper_grain(residual: Float, ink: Mask) -> tuple[float, float]:
    """Standard deviation and median of grey less background, where there is only paper."""
    near = cv2.dilate(ink.astype(np.uint8), None, iterations=2)
    paper = residual[near == 0]
    if not paper.size:
        return 0.0, 0.0
    return float(paper.std(dtype=np.float64)), float(np.median(paper))
