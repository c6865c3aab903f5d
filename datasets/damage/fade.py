"""Ink that pales: nothing is cut out of the line, it all goes down into the grain of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.damage.base import Damaged
from datasets.damage.fields import smooth_field
from datasets.damage.fill import to_image
from datasets.damage.recipe import StrengthRecipe, Task

PATCH = 1.2  # correlation length of paler and darker stretches in image heights
EVEN = 0.6  # share of the loss that is the same everywhere; the rest follows the patches
GRAIN, GRAIN_SIZE = 0.02, 0.03  # standard deviation, and correlation length in image heights


@dataclass(frozen=True)
class Fade(StrengthRecipe):
    """M6: the ink fades unevenly; what counts is the share of its contrast that is kept.

    After the ink erosion of HDR28K (Yang et al., AAAI 2025), ImageNet-C's contrast (Hendrycks and
    Dietterich, ICLR 2019) and Augraphy's LowInk (Groleau et al., ICDAR 2023). Contrast alone could
    be brought back by stretching it, so grain is added and the result is 8 bit.
    """

    family = "missing"
    name = "fade"
    strengths = (0.385, 0.325, 0.288, 0.225, 0.15)

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        hills = smooth_field(task.rng, g.height, g.width, PATCH)
        patches = 1 / (1 + np.exp(np.float32(-1.2) * hills))
        patches /= np.float32(patches[g.ink].mean(dtype=np.float64))
        grain = np.float32(GRAIN) * smooth_field(task.rng, g.height, g.width, GRAIN_SIZE)
        gone = np.float32(1 - strength) * (np.float32(EVEN) + np.float32(1 - EVEN) * patches)
        kept = 1 - np.clip(gone, 0, 1)
        return task.changed(to_image(g.background - (g.background - g.grey) * kept + grain))
