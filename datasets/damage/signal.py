"""Damage done by the camera, not to the paper: out of focus, few pixels, grain. No ink is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.damage.base import Damaged
from datasets.damage.fields import smooth_field
from datasets.damage.fill import resized, to_image
from datasets.damage.geometry import Float
from datasets.damage.recipe import StrengthRecipe, Task

SUPERSAMPLING = 4  # of discs that are too small to be drawn in pixels
LARGE = 8.0  # pixels; from this radius on a disc is drawn in pixels
SMALLEST = (4, 3)  # columns and rows that low resolution leaves


@dataclass(frozen=True)
class Defocus(StrengthRecipe):
    """S1: out of focus, a disc of confusion whose radius is counted in stroke widths.

    After ImageNet-C (Hendrycks and Dietterich, ICLR 2019) and RoDLA (Chen et al., CVPR 2024).
    """

    family = "signal"
    name = "defocus"
    strengths = (0.64, 0.83, 1.03, 1.32, 1.74)

    def _at(self, task: Task, strength: float) -> Damaged:
        kernel = disc_of_confusion(strength * task.geometry.stroke_width)
        grey = task.geometry.grey
        blurred = cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        return task.changed(to_image(blurred))


@dataclass(frozen=True)
class LowResolution(StrengthRecipe):
    """S2: so few pixels that the small letters are only so many rows high, then enlarged again.

    After the pixelation of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) and STRAug (Atienza,
    ICCV workshops 2021). A line whose x-height is lower already stays as it is.
    """

    family = "signal"
    name = "low_resolution"
    strengths = (5.7, 4.7, 4.0, 3.3, 2.65)

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        scale = min(1.0, strength / g.x_height)
        size = max(SMALLEST[0], round(g.width * scale)), max(SMALLEST[1], round(g.height * scale))
        if size[0] >= g.width or size[1] >= g.height:
            return task.changed(task.line.image)
        few = cv2.resize(task.line.image, size, interpolation=cv2.INTER_AREA)
        return task.changed(to_image(resized(few.astype(np.float32) / 255, (g.width, g.height))))


@dataclass(frozen=True)
class Noise(StrengthRecipe):
    """S3: grain a little finer than the pen, its strength counted in the darkness of the ink.

    After ImageNet-C's noises and the multiscale paper of ocrodeg (Breuel).
    """

    family = "signal"
    name = "noise"
    strengths = (0.113, 0.145, 0.167, 0.2, 0.236)

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        size = max(0.8 * g.stroke_width, 1.0) / g.height
        grain = smooth_field(task.rng, g.height, g.width, size)
        return task.changed(to_image(g.grey + np.float32(strength * g.ink_darkness) * grain))


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
