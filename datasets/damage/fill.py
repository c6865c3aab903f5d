"""Masks of an exact share of ink, what is put in the place of what they cover, and scaling."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from bench.core.types import Image
from datasets.damage.geometry import Float, Geometry, Mask

Fill = Literal["paper", "mark"]

MAX_PAPER_NOISE = 0.03  # stains and neighbouring lines would otherwise count as grain
MARK = 0.06  # grey level of a hole: the bed of a scanner seen through the paper
MARK_NOISE = 0.01  # standard deviation


def threshold_mask(score: Float, ink: Mask, share: float) -> Mask:
    """The pixels of highest score, on and off the ink, such that `share` of the ink is in.

    Args:
        score: (H, W), the order in which pixels are lost.
        ink: (H, W) the clean ink.
        share: of the ink, 0 to 1.

    Returns:
        (H, W) bool; masks of one score are nested in `share`.
    """
    mask: Mask = score > np.quantile(score[ink], 1 - share)
    return mask


def fill_paper(geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Put bare paper where the mask is: the ink is gone and nothing shows it (silent).

    The background lies above the paper by about one standard deviation of its grain, which made the
    gaps lighter patches to the eye; the offset takes that back.
    """
    grain = min(geometry.paper_noise, MAX_PAPER_NOISE)
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    paper = geometry.background + np.float32(geometry.paper_offset) + np.float32(grain) * noise
    return to_image(_blend(geometry, np.maximum(_soft(geometry, mask), mask), paper))


def fill_mark(geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Show a dark hole where the mask is: nobody can overlook that something is missing."""
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    bed = np.float32(MARK) + np.float32(MARK_NOISE) * noise
    filled = _blend(geometry, np.maximum(_soft(geometry, mask), mask), bed)
    # Beside the hole ink stays as dark as it was; in it nothing of the ink may come through.
    return to_image(np.where(mask, filled, np.minimum(geometry.grey, filled)))


def fill_missing(fill: Fill, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Put bare paper or a visible hole in the place of missing ink."""
    return (fill_mark if fill == "mark" else fill_paper)(geometry, mask, rng)


def fill_ink(geometry: Geometry, mask: Mask) -> Image:
    """Cover the mask with ink, a little darker than the darkest stroke and fully opaque."""
    darkest = float(geometry.darkness[geometry.ink].max())
    colour: Float = np.clip(geometry.background - np.float32(darkest + 0.02), 0, 1)
    covered = _blend(geometry, np.maximum(_soft(geometry, mask), mask), colour)
    return to_image(np.minimum(geometry.grey, covered))


def to_image(grey: Float) -> Image:
    """Grey values 0 to 1 to 8 bit, as the damaged lines are stored."""
    image: Image = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return image


def resized(grey: Float, size: tuple[int, int]) -> Float:
    """Scale an image to (width, height): by area downwards, cubic upwards."""
    method = cv2.INTER_AREA if size[1] < grey.shape[0] else cv2.INTER_CUBIC
    scaled: Float = cv2.resize(grey, size, interpolation=method)
    return scaled


def _soft(geometry: Geometry, mask: Mask) -> Float:
    """A mask with an edge as soft as that of a pen stroke.

    The fills raise it to 1 again under their mask: there, nothing of the clean image may come
    through.
    """
    sigma = max(0.5, 0.25 * geometry.stroke_width)
    soft: Float = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)
    return soft


def _blend(geometry: Geometry, opacity: Float, source: Float) -> Float:
    blended: Float = geometry.grey * (1 - opacity) + source * opacity
    return blended
