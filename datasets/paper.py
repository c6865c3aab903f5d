"""Ink on paper: ink coverage to a grey image with uneven ink and textured, uneven paper."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from datasets.seeds import stream


def on_paper(coverage: NDArray[np.float32], writer: str, line: str) -> Image:
    """Put ink on paper.

    Args:
        coverage: (H, W) float32 in 0..1.
        writer: seeds the paper's tone and the ink's darkness.
        line: seeds the texture.

    Returns:
        (H, W) uint8, dark ink on light paper.
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
