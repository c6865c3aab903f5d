"""New looks of a line for training: another hand, pen and margin on the same paper."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from bench.training.augment import augment
from models.images import darkness

_TALLEST = 128  # px; taller lines are scaled down first, which keeps augmentation cheap
_FIRST = 1 / 3  # of the augmentation's strength; heb-ocr's cure for heads that say only blanks


def new_look(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """A line (H, W) uint8 as another hand might have put it on the same paper: (H', W').

    strength: 0 leaves the line alone, 1 is full.
    """
    if strength <= 0:
        return image
    if image.shape[0] > _TALLEST:
        width = max(1, round(image.shape[1] * _TALLEST / image.shape[0]))
        image = cv2.resize(image, (width, _TALLEST), interpolation=cv2.INTER_AREA)
    ink, paper = np.percentile(image, (1, 80))
    looks = augment(darkness(image), rng, strength)
    sides = margins(looks.shape[1], rng, strength)
    return on_paper(np.pad(looks, ((0, 0), sides)), ink, paper)


def margins(width: int, rng: np.random.Generator, strength: float) -> tuple[int, int]:
    """Columns of paper to add on the left and on the right, up to a tenth of the width each.

    Lines are squeezed into one width, so margins are what changes the width of their letters.
    """
    left, right = rng.uniform(0, 0.1 * strength * width, 2).astype(int)
    return int(left), int(right)


def on_paper(ink: NDArray[np.float32], black: float, white: float) -> Image:
    """Darkness (ink 1, paper 0) as grey levels between those of the ink and of the paper."""
    contrast = max(float(white - black), 24.0)  # as `models.images.darkness` takes it
    grey = np.float32(white) - ink * np.float32(contrast)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def ramped(step: int, ramp: int | None) -> float:
    """Strength of the augmentation: a third at first, full after `ramp` steps; 0 without one."""
    if ramp is None:
        return 0.0
    return _FIRST + (1 - _FIRST) * min(1.0, step / max(1, ramp))
