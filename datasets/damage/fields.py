"""Smooth random fields that depend neither on severity nor on resolution."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.damage.geometry import Float

LATTICE_ROWS = 64  # lattice cells over the height of a line, whatever its height in pixels
SPARE_COLUMNS = 8  # lattice columns beyond the right edge, so that the blur sees past it
CUBIC = -0.75  # Keys' coefficient as OpenCV uses it, so that both interpolate alike


def smooth_field(rng: np.random.Generator, height: int, width: int, correlation: float) -> Float:
    """A smooth Gaussian random field, the same picture at every resolution.

    Normal values on a lattice of 64 rows per line height, drawn column by column so that a wider
    image continues a narrower one, are blurred and interpolated (cubic, reflected border).

    Args:
        rng: where the lattice is drawn from.
        height: rows of the image, H.
        width: columns of the image, W.
        correlation: correlation length in image heights.

    Returns:
        (H, W) float32 of mean 0 and standard deviation 1.
    """
    columns = math.ceil(LATTICE_ROWS * width / height) + SPARE_COLUMNS
    lattice = rng.standard_normal((columns, LATTICE_ROWS)).T.astype(np.float32)
    sigma = max(0.6, LATTICE_ROWS * correlation / 2.5)
    lattice = cv2.GaussianBlur(lattice, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    rows = _interpolate(lattice, height, LATTICE_ROWS / height)
    field = _interpolate(rows.T, width, LATTICE_ROWS / height).T
    deviation = float(field.std(dtype=np.float64))
    centred = field - np.float32(field.mean(dtype=np.float64))
    return np.ascontiguousarray(centred / np.float32(deviation or 1.0))


def _interpolate(lattice: Float, size: int, step: float) -> Float:
    """Cubic interpolation along the first axis at (i + .5) step - .5; border reflected.

    Written out because cv2.remap rounds positions to 1/32 and refuses over 32,767 columns.
    """
    position = (np.arange(size) + 0.5) * step - 0.5
    start = np.floor(position).astype(np.int64)
    t = position - start
    last = len(lattice) - 1
    out = np.zeros((size, lattice.shape[1]), np.float32)
    for offset, weight in zip((-1, 0, 1, 2), _cubic_weights(t), strict=True):
        index = start + offset
        index = np.where(index < 0, -1 - index, index)
        index = np.where(index > last, 2 * last + 1 - index, index)
        out += weight.astype(np.float32)[:, None] * lattice[index]
    return out


def _cubic_weights(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Weights of the taps at -1, 0, 1, 2 for a position t in [0, 1) (Keys 1981)."""
    a, far, near, after = CUBIC, 1 + t, t, 1 - t
    first = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    second = ((a + 2) * near - (a + 3)) * near * near + 1
    third = ((a + 2) * after - (a + 3)) * after * after + 1
    return first, second, third, 1 - first - second - third
