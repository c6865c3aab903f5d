"""Damage done by the camera, not to the paper: out of focus, and grain. No ink is lost."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np

from bench.types import Line
from datasets.damage.base import Damaged
from datasets.damage.fields import smooth_field
from datasets.damage.fill import to_image
from datasets.damage.geometry import Float, Geometry
from datasets.damage.recipe import Recipe

RADIUS = (0.4, 0.7, 1.1, 1.6, 2.2)  # of the blur disc in stroke widths, severity 1 to 5
SIGMA = (0.08, 0.16, 0.28, 0.45, 0.70)  # of the grain over the darkness of the ink
SUPERSAMPLING = 4  # of discs that are too small to be drawn in pixels
LARGE = 8.0  # pixels; from this radius on a disc is drawn in pixels


@dataclass(frozen=True)
class Defocus(Recipe):
    """S1: out of focus, a disc of confusion whose radius is counted in stroke widths.

    After ImageNet-C (Hendrycks and Dietterich, ICLR 2019) and RoDLA (Chen et al., CVPR 2024).
    """

    family = "signal"
    name = "defocus"

    def _damage(
        self, line: Line, geometry: Geometry, severity: int, rng: np.random.Generator
    ) -> Damaged:
        kernel = disc_of_confusion(RADIUS[severity - 1] * geometry.stroke_width)
        blurred = cv2.filter2D(geometry.grey, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        return Damaged(dataclasses.replace(line, image=to_image(blurred)), None, None)


@dataclass(frozen=True)
class Noise(Recipe):
    """S3: grain a little finer than the pen, its strength counted in the darkness of the ink.

    After ImageNet-C's noises and the multiscale paper of ocrodeg (Breuel).
    """

    family = "signal"
    name = "noise"

    def _damage(
        self, line: Line, geometry: Geometry, severity: int, rng: np.random.Generator
    ) -> Damaged:
        size = max(0.8 * geometry.stroke_width, 1.0) / geometry.height
        grain = smooth_field(rng, geometry.height, geometry.width, size)
        strength = np.float32(SIGMA[severity - 1] * geometry.ink_darkness)
        image = to_image(geometry.grey + strength * grain)
        return Damaged(dataclasses.replace(line, image=image), None, None)


def disc_of_confusion(radius: float) -> Float:
    """The blur kernel of a disc of `radius` pixels, of sum 1.

    A small disc is defined on a grid four times finer: enlarge (cubic), filter, shrink (area).
    The three steps are linear and treat every pixel alike, so together they are one kernel on the
    pixels: what they make of a single bright pixel.
    """
    if radius >= LARGE:
        return _disc(radius)
    side = 2 * math.ceil(radius) + 7
    pixel = np.zeros((side, side), np.float32)
    pixel[side // 2, side // 2] = 1
    fine = cv2.resize(
        pixel, None, fx=SUPERSAMPLING, fy=SUPERSAMPLING, interpolation=cv2.INTER_CUBIC
    )
    fine = cv2.filter2D(fine, -1, _disc(SUPERSAMPLING * radius), borderType=cv2.BORDER_CONSTANT)
    kernel = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
    whole: Float = kernel / kernel.sum()
    return whole


def _disc(radius: float) -> Float:
    reach = np.arange(-math.floor(radius), math.floor(radius) + 1, dtype=np.float64)
    inside = reach[:, None] ** 2 + reach[None, :] ** 2 <= radius * radius
    disc: Float = (inside / inside.sum()).astype(np.float32)
    return disc
