"""Ink that comes through from the other side of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.damage.base import Damaged
from datasets.damage.fill import to_image
from datasets.damage.geometry import Float, Geometry, measure
from datasets.damage.recipe import StrengthRecipe, Task

SHIFT = 0.35  # x-heights by which the verso may lie higher or lower


@dataclass(frozen=True)
class BleedThrough(StrengthRecipe):
    """O3: another line of the set shines through, mirrored and blurred.

    After Kieu et al. (ICPR 2012), DocCreator (Journet et al., J. Imaging 2017) and Augraphy's
    BleedThrough (Groleau et al., ICDAR 2023). A line that has no other is its own verso.
    """

    family = "overlay"
    name = "bleed_through"
    strengths = (0.20, 0.35, 0.50, 0.70, 0.90)  # darkness of the verso over that of the ink

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        shift = round(float(task.rng.uniform(-SHIFT, SHIFT)) * g.x_height)
        back = None if task.other is None else measure(task.other.image)
        verso = np.float32(strength) * _verso(g, back or g, shift)
        return task.changed(to_image(g.background - np.maximum(g.background - g.grey, verso)))


def _verso(front: Geometry, back: Geometry, shift: int) -> Float:
    """(H, W) darkness of the back's mirrored line, at its darkest as dark as the front's ink.

    It is scaled to the height of the front, repeated or cut to its width, and blurred by half a
    stroke on its way through the paper.
    """
    height, width = front.height, front.width
    mirrored = np.ascontiguousarray(back.darkness[:, ::-1])
    scaled_width = max(1, round(back.width * height / back.height))
    method = cv2.INTER_AREA if height < back.height else cv2.INTER_LINEAR
    scaled = cv2.resize(mirrored, (scaled_width, height), interpolation=method)
    filled = np.tile(scaled, (1, -(-width // scaled_width)))[:, :width]
    moved = np.zeros_like(filled)
    rows = slice(max(0, shift), height + min(0, shift))
    moved[rows] = filled[max(0, -shift) : height - max(0, shift)]
    blurred = cv2.GaussianBlur(moved, (0, 0), max(0.5, 0.5 * front.stroke_width))
    verso: Float = blurred * np.float32(front.ink_darkness / max(float(blurred.max()), 1e-6))
    return verso
