"""The line as a bad binarisation leaves it: ink and paper only, their border frayed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.damage.base import Damaged
from datasets.damage.fill import resized, to_image
from datasets.damage.geometry import Float, Mask, otsu
from datasets.damage.recipe import StrengthRecipe, Task

X_HEIGHT = 20  # pixels at which the model works, so that its flips mean the same on every line
LARGEST_SCALE = 4.0  # writing under 5 px is not enlarged further


@dataclass(frozen=True)
class Kanungo(StrengthRecipe):
    """S4: binarised, and pixels flipped the likelier the nearer they are to the border of the ink.

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


def flipped(ink: Mask, alpha: float, chance: Float) -> Mask:
    """Ink to paper and paper to ink where a pixel's chance is below exp(-alpha d^2).

    Args:
        ink: (H, W).
        alpha: how fast flips get rare with the distance d to the nearest pixel of the other class.
        chance: (H, W) uniform on 0 to 1.
    """
    to_paper = cv2.distanceTransform(ink.astype(np.uint8), cv2.DIST_L2, 5)
    to_ink = cv2.distanceTransform((~ink).astype(np.uint8), cv2.DIST_L2, 5)
    distance = to_paper + to_ink  # one of the two is 0
    flips: Mask = chance < np.exp(np.float32(-alpha) * distance * distance)
    return ink ^ flips
