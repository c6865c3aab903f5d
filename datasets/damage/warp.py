"""Cockled or folded paper: the line is distorted, and its boxes with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.damage.base import Damaged, StrengthDamage, Task
from datasets.damage.geometry import Float, Geometry
from datasets.damage.paint import smooth_field, to_image

WAVE = 0.6  # correlation length of the displacement in image heights
TILE = 16_384  # rows and columns of a call of cv2.remap; it takes 32,767


@dataclass(frozen=True)
class Warp(StrengthDamage):
    """G1: a smooth random displacement with its standard deviation in x-heights.

    After the elastic deformation of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), RoDLA (Chen
    et al., CVPR 2024) and STRAug (Atienza, ICCV workshops 2021). The boxes move with the ink.
    """

    family = "geometry"
    name = "warp"
    strengths = (0.06, 0.12, 0.20, 0.30, 0.42)

    def _at(self, task: Task, strength: float) -> Damaged:
        g, line = task.geometry, task.line
        amplitude = np.float32(strength * g.x_height)
        dx, dy = (amplitude * smooth_field(task.rng, g.height, g.width, WAVE) for _ in range(2))
        if line.boxes is not None:
            line = dataclasses.replace(line, boxes=_moved(line.boxes, g, dx))
        task = dataclasses.replace(task, line=line)
        return task.changed(to_image(_pulled(g.grey, dx, dy)))


def _moved(boxes: NDArray[np.float32], geometry: Geometry, dx: Float) -> NDArray[np.float32]:
    """The edges of (N, 2) boxes after the mean displacement of the x-height band."""
    top = max(0, int(geometry.middle - geometry.x_height / 2))
    band = dx[top : max(top + 1, int(geometry.middle + geometry.x_height / 2) + 1)]
    now = np.arange(geometry.width) + 0.5
    before = np.maximum.accumulate(now + band.mean(axis=0, dtype=np.float64))
    # Beyond the image the displacement is that of its edge.
    now = np.concatenate(([now[0] - 1e6], now, [now[-1] + 1e6]))
    before = np.concatenate(([before[0] - 1e6], before, [before[-1] + 1e6]))
    moved: NDArray[np.float32] = np.interp(boxes, before, now).astype(np.float32)
    return moved


def _pulled(grey: Float, dx: Float, dy: Float) -> Float:
    """(H, W) values at (x + dx, y + dy), cubic; the border is replicated."""
    height, width = grey.shape
    out = np.empty_like(grey)
    for rows in _tiles(height):
        for columns in _tiles(width):
            x = np.arange(columns.start, columns.stop, dtype=np.float32) + dx[rows, columns]
            y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + dy[rows, columns]
            left, right = _reach(x, width)
            top, bottom = _reach(y, height)
            out[rows, columns] = cv2.remap(
                grey[top:bottom, left:right], x - left, y - top, cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
    return out


def _tiles(size: int) -> Iterator[slice]:
    return (slice(start, min(size, start + TILE)) for start in range(0, size, TILE))


def _reach(position: Float, size: int) -> tuple[int, int]:
    """The range of pixels that positions read, cubic taps included, within an image of a size."""
    first = int(np.clip(position.min() - 2, 0, size - 1))
    return first, int(np.clip(position.max() + 4, first + 1, size))
