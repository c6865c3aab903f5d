"""Masks of an exact share of ink, and what is put in the place of what they cover."""

from __future__ import annotations

import cv2
import numpy as np

from bench.types import Image
from datasets.damage.geometry import Float, Geometry, Mask

MAX_PAPER_NOISE = 0.03  # stains and neighbouring lines would otherwise count as grain


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
