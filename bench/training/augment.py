"""Augmentation of training lines: geometry, pen, contrast, paper.

Nothing here erases, covers or strikes through: of the damage suite only mild blur and grain
resemble what training has seen, and the model card says so.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from models.mini_net import HEIGHT

Darkness = NDArray[np.float32]  # (H, W), ink near 1


def augment(ink: Darkness, rng: np.random.Generator, strength: float) -> Darkness:
    """A new look of a line: (H, W) to (H, W').

    strength: 0 leaves the line alone, 1 is full; ramped up in the first part of training.
        Lengths in pixels are those of a line 64 px high and grow with the height.
    """
    if strength <= 0:
        return ink
    scale = ink.shape[0] / HEIGHT
    out = _warp(ink, rng, strength)
    if rng.random() < 0.3 * strength:
        out = _thickness(out, rng)
    if rng.random() < 0.35 * strength:
        out = cv2.GaussianBlur(out, (0, 0), scale * float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.5 * strength:
        gain, gamma = rng.uniform(0.6, 1.2), rng.uniform(0.7, 1.5)
        out = np.sign(out) * np.abs(out) ** np.float32(gamma) * np.float32(gain)
    if rng.random() < 0.5 * strength:
        out = out + _paper(out.shape, rng)
    return np.clip(out, -0.5, 1.5).astype(np.float32)


def _warp(ink: Darkness, rng: np.random.Generator, strength: float) -> Darkness:
    """Stretch, shear, turn, move and bend in a single resampling."""
    height, width = ink.shape
    stretch = float(np.exp(rng.normal(0, 0.16 * strength)))
    size = float(np.exp(rng.uniform(-0.35, 0.08) * strength))
    shear = float(rng.normal(0, 0.2 * strength))
    turn = float(rng.normal(0, 0.008 * strength))
    new_width = max(8, round(width * stretch * size + abs(shear) * height * 0.5))
    x, y = np.meshgrid(np.arange(new_width, dtype=np.float32), np.arange(height, dtype=np.float32))
    free = height * (1 - size)
    top = height / 2 + float(rng.uniform(-0.5, 0.5)) * abs(free)
    down = (y - np.float32(top)) / np.float32(size)
    across = (x - np.float32(new_width / 2)) / np.float32(stretch * size)
    source_x = across + np.float32(shear) * down + np.float32(width / 2)
    source_y = down + np.float32(turn) * across + np.float32(height / 2)
    if rng.random() < 0.6 * strength:
        source_x += _bend(rng, (height, new_width), float(rng.uniform(0.3, 1.6)))
        source_y += _bend(rng, (height, new_width), float(rng.uniform(0.3, 1.4)))
    return cv2.remap(
        ink, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )


def _bend(rng: np.random.Generator, shape: tuple[int, int], amplitude: float) -> Darkness:
    """Smooth displacement with a correlation length of about a third of the height."""
    scale = shape[0] / HEIGHT
    step = max(1, round(20 * scale))
    lattice = rng.normal(0, amplitude * scale, (shape[0] // step + 3, shape[1] // step + 3))
    return cv2.resize(
        lattice.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC
    )


def _thickness(ink: Darkness, rng: np.random.Generator) -> Darkness:
    kernel = np.ones((max(2, round(ink.shape[0] / HEIGHT * 2)),) * 2, np.uint8)
    changed = cv2.dilate(ink, kernel) if rng.random() < 0.6 else cv2.erode(ink, kernel)
    share = np.float32(rng.uniform(0.3, 1.0))
    return ink * (1 - share) + changed * share


def _paper(shape: tuple[int, ...], rng: np.random.Generator) -> Darkness:
    """Grain, and a slow change of the paper's tone."""
    height, width = shape
    grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0, 0.06))
    stretch = max(1, round(100 * height / HEIGHT))
    tone = rng.normal(0, rng.uniform(0, 0.08), (3, width // stretch + 3)).astype(np.float32)
    return grain + cv2.resize(tone, (width, height), interpolation=cv2.INTER_CUBIC)


def pen_image(coverage: NDArray[np.float32]) -> Image:
    """Ink coverage as a clean grey image, black on white."""
    return np.rint((1 - coverage) * 255).astype(np.uint8)
