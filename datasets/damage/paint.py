"""Random fields, masks of an exact share of ink, and the fills under them."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from datasets.damage.geometry import Float, Geometry, Mask

Fill = Literal["paper", "mark"]

MAX_PAPER_NOISE = 0.03  # stains and neighbouring lines would otherwise count as grain
MARK = 0.06  # grey level of a hole: the bed of a scanner seen through the paper
MARK_NOISE = 0.01  # standard deviation

LATTICE_ROWS = 64  # lattice cells over the height of a line, whatever its height in pixels
SPARE_COLUMNS = 8  # lattice columns beyond the right edge, so that the blur sees past it
CUBIC = -0.75  # Keys' coefficient as OpenCV uses it, so that both interpolate alike


def smooth_field(rng: np.random.Generator, height: int, width: int, correlation: float) -> Float:
    """A smooth Gaussian random field, the same at every resolution and severity.

    Normal values on a lattice of 64 rows per line height, drawn column by column so that a wider
    image continues a narrower one, are blurred and interpolated (cubic, reflected border). The
    result is (H, W) of mean 0 and standard deviation 1; `correlation` is its length in heights.
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


def threshold_mask(score: Float, ink: Mask, share: float) -> Mask:
    """The (H, W) pixels of highest score, on and off the ink, that hold a share of the ink.

    Masks of one score are nested in `share`.
    """
    mask: Mask = score > np.quantile(score[ink], 1 - share)
    return mask


def fill_paper(geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Replace the ink under the mask by bare paper, invisibly (silent).

    The background is about one standard deviation of the grain lighter than the paper, which would
    make gaps visible as lighter patches; the offset corrects it.
    """
    grain = min(geometry.paper_noise, MAX_PAPER_NOISE)
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    paper = geometry.background + np.float32(geometry.paper_offset) + np.float32(grain) * noise
    return to_image(_blend(geometry, _soft(geometry, mask), paper))


def fill_mark(geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Replace the ink under the mask by a dark hole, visibly."""
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    bed = np.float32(MARK) + np.float32(MARK_NOISE) * noise
    filled = _blend(geometry, _soft(geometry, mask), bed)
    # Ink beside the hole is unchanged; in the hole none may show through.
    return to_image(np.where(mask, filled, np.minimum(geometry.grey, filled)))


def fill_missing(fill: Fill, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
    """Fill missing ink with bare paper or a visible hole."""
    return (fill_mark if fill == "mark" else fill_paper)(geometry, mask, rng)


def fill_ink(geometry: Geometry, mask: Mask) -> Image:
    """Cover the mask with ink, a little darker than the darkest stroke and fully opaque."""
    darkest = float(geometry.darkness[geometry.ink].max())
    colour: Float = np.clip(geometry.background - np.float32(darkest + 0.02), 0, 1)
    covered = _blend(geometry, _soft(geometry, mask), colour)
    return to_image(np.minimum(geometry.grey, covered))


def to_image(grey: Float) -> Image:
    """Grey values 0 to 1 to 8 bit, as the damaged lines are stored."""
    image: Image = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return image


def resized(grey: Float, size: tuple[int, int]) -> Float:
    """Scale an image to (width, height): by area downwards, cubic upwards."""
    method = cv2.INTER_AREA if size[1] < grey.shape[0] else cv2.INTER_CUBIC
    scaled: Float = cv2.resize(grey, size, interpolation=method)
    return scaled


def _soft(geometry: Geometry, mask: Mask) -> Float:
    """A mask with an edge as soft as that of a pen stroke.

    It is 1 on the whole mask, so that nothing of the clean image shows through.
    """
    sigma = max(0.5, 0.25 * geometry.stroke_width)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)
    opacity: Float = np.maximum(soft, mask)
    return opacity


def _blend(geometry: Geometry, opacity: Float, source: Float) -> Float:
    blended: Float = geometry.grey * (1 - opacity) + source * opacity
    return blended
