"""Augmentation of training lines: geometry, pen, contrast, paper, margins, rough hands.

Nothing here erases, covers or strikes through: of the damage suite only mild blur and grain
resemble training lines, as the model card states.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from models.images import HEIGHT, darkness

Darkness = NDArray[np.float32]  # (H, W), ink near 1
_TALLEST = 128  # px; taller lines are scaled down first, which keeps augmentation cheap
_FIRST = 1 / 3  # initial strength; heb-ocr's cure for heads that emit only blanks


def augment(ink: Darkness, rng: np.random.Generator, strength: float) -> Darkness:
    """Augment a line: (H, W) to (H, W').

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


def augment_image(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """Augment a line (H, W) uint8 and keep ink and paper: (H', W').

    strength: 0 leaves the line alone, 1 is full.
    """
    if strength <= 0:
        return image
    if image.shape[0] > _TALLEST:
        width = max(1, round(image.shape[1] * _TALLEST / image.shape[0]))
        image = cv2.resize(image, (width, _TALLEST), interpolation=cv2.INTER_AREA)
    ink, paper = np.percentile(image, (1, 80))
    varied = augment(darkness(image), rng, strength)
    sides = margins(varied.shape[1], rng, strength)
    return on_paper(np.pad(varied, ((0, 0), sides)), ink, paper)


def margins(width: int, rng: np.random.Generator, strength: float) -> tuple[int, int]:
    """Columns of paper to add on the left and on the right, up to a tenth of the width each.

    Lines are squeezed into one width, so margins change the width of their letters.
    """
    left, right = rng.uniform(0, 0.1 * strength * width, 2).astype(int)
    return int(left), int(right)


def on_paper(ink: NDArray[np.float32], black: float, white: float) -> Image:
    """Darkness (ink 1, paper 0) as grey levels between those of the ink and of the paper."""
    contrast = max(float(white - black), 24.0)  # as `models.images.darkness` takes it
    grey = np.float32(white) - ink * np.float32(contrast)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def ramped(step: int, ramp: int) -> float:
    """Strength of the augmentation: a third at first, full after `ramp` steps."""
    return _FIRST + (1 - _FIRST) * min(1.0, step / max(1, ramp))


def roughen(ink: Darkness, other: Darkness | None, rng: np.random.Generator) -> Darkness:
    """Imitate an unseen hand or a rough crop of (H, W) darkness, at the same height.

    The other line, of that height as well, may show above or below.
    """
    height = ink.shape[0]
    if rng.random() < 0.4:
        ink = _lean(ink, rng)
    if rng.random() < 0.15:
        kernel = np.ones((3, 2) if rng.random() < 0.5 else (2, 2), np.uint8)
        share = np.float32(rng.uniform(0.3, 0.8))
        ink = ink * (1 - share) + cv2.erode(ink, kernel) * share
    if other is not None and rng.random() < 0.2:
        ink = _intrude(ink, other, rng)
    if rng.random() < 0.15:
        above, below = (round(height * rng.uniform(0, 0.14)) for _ in range(2))
        ink = _to_height(ink[above : height - below], height)
    return ink


def _lean(ink: Darkness, rng: np.random.Generator) -> Darkness:
    """Shear by up to ±1.2, mostly to the right as hands lean, and skew by up to 2 degrees.

    The crop grows with a skewed line, and its writing becomes smaller.
    """
    height, width = ink.shape
    shear = float(np.clip(rng.normal(0.25, 0.45), -1.2, 1.2))
    skew = float(rng.uniform(-0.035, 0.035)) if rng.random() < 0.5 else 0.0
    matrix = np.array([[1, -shear, max(0.0, shear) * height], [skew, 1, max(0.0, -skew) * width]])
    size = (width + round(abs(shear) * height), height + round(abs(skew) * width))
    return _to_height(cv2.warpAffine(ink, matrix, size, flags=cv2.INTER_LINEAR), height)


def _intrude(ink: Darkness, other: Darkness, rng: np.random.Generator) -> Darkness:
    """Let the feet of a line above or the heads of one below show at the edge."""
    height, width = ink.shape
    rows = round(height * float(rng.uniform(0.06, 0.22)))
    start = int(rng.integers(max(1, other.shape[1] - width + 1)))
    strip = other[:, start : start + width]
    at = int(rng.integers(width - strip.shape[1] + 1))
    out = ink.copy()
    if rng.random() < 0.5:
        part, seen = out[:rows, at : at + strip.shape[1]], strip[height - rows :]
    else:
        part, seen = out[height - rows :, at : at + strip.shape[1]], strip[:rows]
    np.maximum(part, seen, out=part)
    return out


def _to_height(ink: Darkness, height: int) -> Darkness:
    width = max(8, round(ink.shape[1] * height / ink.shape[0]))
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
