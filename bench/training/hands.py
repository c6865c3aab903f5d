"""What unseen hands and rough crops do to a line: slant, skew, thin pens, cut and stray ink."""

from __future__ import annotations

import cv2
import numpy as np

from bench.training.augment import Darkness


def roughen(ink: Darkness, other: Darkness | None, rng: np.random.Generator) -> Darkness:
    """A line as an unseen hand or a rough crop might have it; as high as before.

    Args:
        ink: (H, W) darkness.
        other: a line that a part of may show above or below, of the same height.
        rng: draws what is done.
    """
    height = ink.shape[0]
    if rng.random() < 0.4:
        ink = _lean(ink, rng)
    if rng.random() < 0.15:
        kernel = np.ones((3, 2) if rng.random() < 0.5 else (2, 2), np.uint8)
        share = np.float32(rng.uniform(0.3, 0.8))
        ink = ink * (1 - share) + cv2.erode(ink, kernel) * share
    if other is not None and rng.random() < 0.2:
        ink = _intrude(ink, other, rng)
    if rng.random() < 0.15:
        above, below = (round(height * rng.uniform(0, 0.14)) for _ in range(2))
        ink = _to_height(ink[above : height - below], height)
    return ink


def _lean(ink: Darkness, rng: np.random.Generator) -> Darkness:
    """Shear by up to ±1.2, mostly to the right as hands lean, and skew by up to 2 degrees.

    The crop grows with a skewed line, and its writing becomes smaller.
    """
    height, width = ink.shape
    shear = float(np.clip(rng.normal(0.25, 0.45), -1.2, 1.2))
    skew = float(rng.uniform(-0.035, 0.035)) if rng.random() < 0.5 else 0.0
    matrix = np.array([[1, -shear, max(0.0, shear) * height], [skew, 1, max(0.0, -skew) * width]])
    size = (width + round(abs(shear) * height), height + round(abs(skew) * width))
    return _to_height(cv2.warpAffine(ink, matrix, size, flags=cv2.INTER_LINEAR), height)


def _intrude(ink: Darkness, other: Darkness, rng: np.random.Generator) -> Darkness:
    """Let the feet of a line above or the heads of one below show at the edge."""
    height, width = ink.shape
    rows = round(height * float(rng.uniform(0.06, 0.22)))
    start = int(rng.integers(max(1, other.shape[1] - width + 1)))
    strip = other[:, start : start + width]
    at = int(rng.integers(width - strip.shape[1] + 1))
    out = ink.copy()
    if rng.random() < 0.5:
        part, seen = out[:rows, at : at + strip.shape[1]], strip[height - rows :]
    else:
        part, seen = out[height - rows :, at : at + strip.shape[1]], strip[:rows]
    np.maximum(part, seen, out=part)
    return out


def _to_height(ink: Darkness, height: int) -> Darkness:
    width = max(8, round(ink.shape[1] * height / ink.shape[0]))
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
