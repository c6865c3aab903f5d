"""The rasteriser of the project: pen strokes to pixels, and ink to paper.

Strokes are drawn with OpenCV's integer arithmetic on a finer canvas and downscaled by whole
factors, so equal library versions give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from datasets.seeds import stream

Stroke = NDArray[np.float32]  # (N, 2) points x, y in pixels, y downwards

_SUPERSAMPLE = 4
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def fit_strokes(
    strokes: Sequence[Stroke], height: int, margin: float
) -> tuple[list[Stroke], tuple[int, int]]:
    """Scale strokes to fill `height` pixels less the margins; returns also the image's shape."""
    points = np.concatenate([np.asarray(s, np.float32).reshape(-1, 2) for s in strokes])
    low, high = points.min(0), points.max(0)
    scale = (height - 2 * margin) / max(float(high[1] - low[1]), 1e-6)
    width = max(1, round(float(high[0] - low[0]) * scale + 2 * margin))
    return [(np.asarray(s, np.float32) - low) * scale + margin for s in strokes], (height, width)


def draw_strokes(
    strokes: Sequence[Stroke],
    shape: tuple[int, int],
    width: float | Sequence[NDArray[np.float32]],
    supersample: int = _SUPERSAMPLE,
) -> NDArray[np.float32]:
    """Ink coverage of strokes, (H, W) in 0..1; a stroke of one point is a dot.

    `width` is the pen's in pixels, or one array per stroke with the width at each point; the canvas
    is `supersample` times finer than the result.
    """
    canvas = np.zeros((shape[0] * supersample, shape[1] * supersample), np.uint8)
    scale = supersample * (1 << _SHIFT)
    # Pixel centres lie at half coordinates: without the shift the ink would sit half a pixel low.
    offset = (supersample - 1) / 2 / supersample
    for index, stroke in enumerate(strokes):
        points = np.rint((np.asarray(stroke, np.float32) - 0.5 + offset) * scale).astype(np.int32)
        widths = width if isinstance(width, int | float) else width[index]
        for run, thickness in _runs(points, widths, supersample):
            dot = np.repeat(run, 2, 0) if len(run) == 1 else run  # OpenCV draws no single point
            cv2.polylines(canvas, [dot], False, 255, thickness, cv2.LINE_8, _SHIFT)
    fine = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return fine.astype(np.float32) * np.float32(1 / 255)


def _runs(
    points: NDArray[np.int32], widths: float | NDArray[np.float32], supersample: int
) -> list[tuple[NDArray[np.int32], int]]:
    """Cut a stroke into runs of equal whole thickness, each overlapping the next by a point."""
    shaped = points.reshape(-1, 1, 2)
    if isinstance(widths, int | float):
        return [(shaped, max(1, round(widths * supersample)))]
    thickness = np.maximum(1, np.rint(np.asarray(widths) * supersample)).astype(int)
    cuts = [0, *(np.flatnonzero(np.diff(thickness)) + 1).tolist(), len(points)]
    return [
        (shaped[start : min(end + 1, len(points))], int(thickness[start]))
        for start, end in pairwise(cuts)
    ]


def on_paper(coverage: NDArray[np.float32], writer: str, line: str) -> Image:
    """Put ink on textured, uneven paper: (H, W) coverage in 0..1 to (H, W) uint8 grey.

    The writer seeds tone and darkness, the line the texture.
    """
    habit = stream("kaidoku-paper-1", writer)
    tone = np.float32(habit.uniform(0.8, 0.99))
    darkness = np.float32(habit.uniform(0.45, 0.92))
    grain = np.float32(habit.uniform(0.0, 0.05))
    stains = np.float32(habit.uniform(0.0, 0.08))
    flow = np.float32(habit.uniform(0.0, 0.35))  # unevenness of the ink
    rng = stream("kaidoku-texture-1", writer, line)
    paper = tone + grain * _noise(rng, coverage.shape, 1) + stains * _noise(rng, coverage.shape, 24)
    ink = darkness * (1 - flow * np.abs(_noise(rng, coverage.shape, 6)))
    grey = paper * (1 - coverage * ink)
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cell: int) -> NDArray[np.float32]:
    """Smooth noise of about -1..1 with features of `cell` pixels; 8 bit inside, so bit-exact."""
    size = (shape[0] // cell + 2, shape[1] // cell + 2)
    lattice = rng.integers(0, 256, size, dtype=np.uint8)
    if cell > 1:
        large = cv2.resize(
            lattice, (size[1] * cell, size[0] * cell), interpolation=cv2.INTER_LINEAR_EXACT
        )
    else:
        large = cv2.GaussianBlur(lattice, (3, 3), 0)
    return (large[: shape[0], : shape[1]].astype(np.float32) - 128) * np.float32(1 / 100)
