"""Damages of the scan, not of the paper: blur, low resolution, grain, bad binarisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.damage.base import Damaged, StrengthDamage, Task
from datasets.damage.geometry import Float, Mask, otsu
from datasets.damage.paint import resized, smooth_field, to_image

SUPERSAMPLING = 4  # for discs that are too small to draw in pixels
LARGE = 8.0  # pixels; from this radius on a disc is drawn in pixels
X_HEIGHT = 20  # pixels at which the model works, so that its flips mean the same on every line
LARGEST_SCALE = 4.0  # writing under 5 px is not enlarged further
SMALLEST = (4, 3)  # columns and rows that low resolution leaves


@dataclass(frozen=True)
class Defocus(StrengthDamage):
    """S1: out of focus, by a disc of confusion with its radius in stroke widths.

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
class LowResolution(StrengthDamage):
    """S2: scale down until the x-height is a number of rows, then enlarge again.

    After the pixelation of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) and STRAug (Atienza,
    ICCV workshops 2021). Lines with a lower x-height are unchanged.
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
class Noise(StrengthDamage):
    """S3: grain a little finer than the pen, its strength relative to the ink's darkness.

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


@dataclass(frozen=True)
class Kanungo(StrengthDamage):
    """S4: binarise, and flip pixels with a probability that falls with distance to the ink's edge.

    The document degradation model of Kanungo, Haralick, Baird, Stuezle and Madigan (IEEE TPAMI
    22(11), 2000) with alpha = beta, alpha_0 = beta_0 = 1, eta = 0 and a closing of 2 x 2 pixels.
    """

    family = "signal"
    name = "kanungo"
    strengths = (1.87, 1.31, 1.02, 0.72, 0.525)  # alpha: the lower, the deeper the flips reach

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        scale = min(X_HEIGHT / g.x_height, LARGEST_SCALE)
        size = max(1, round(g.width * scale)), max(1, round(g.height * scale))
        ink = otsu(np.clip(resized(g.darkness, size), 0, 1))
        chance = task.rng.random((size[0], size[1]), dtype=np.float32).T  # column by column
        frayed = flipped(ink, strength, chance).astype(np.uint8)
        closed = cv2.morphologyEx(frayed, cv2.MORPH_CLOSE, np.ones((2, 2), np.uint8))
        paper = 1 - closed.astype(np.float32)
        return task.changed(to_image(resized(paper, (g.width, g.height))))


def disc_of_confusion(radius: float) -> Float:
    """The blur kernel of a disc of `radius` pixels, of sum 1.

    A small disc is defined on a grid four times finer: enlarge (cubic), filter, shrink (area).
    These steps are linear and shift-invariant, so together they are one kernel, their response to
    a single bright pixel.
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


def flipped(ink: Mask, alpha: float, chance: Float) -> Mask:
    """Flip ink and paper where a pixel's `chance` (0 to 1) is below exp(-alpha d^2).

    d is the distance to the nearest pixel of the other class.
    """
    to_paper = cv2.distanceTransform(ink.astype(np.uint8), cv2.DIST_L2, 5)
    to_ink = cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, 5)
    distance = to_paper + to_ink  # one of the two is 0
    flips: Mask = chance < np.exp(np.float32(-alpha) * distance * distance)
    return ink ^ flips
