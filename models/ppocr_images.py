"""Line images as PP-OCR's network takes them: 48 px high and as wide as at 56 px."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.images import WIDEST

HEIGHT = 48
WIDE_AS = 56  # wider than high by a sixth: dense hands need the frames


def squeeze(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """Scale a line, (H, W) to (48, W')."""
    height, width = image.shape
    target = min(WIDEST, max(1, round(width * WIDE_AS / height)))
    shrinking = height >= HEIGHT and width >= target
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (target, HEIGHT), interpolation=method)


def to_batch(inks: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack (48, W) darkness images: (B, 1, 48, W') and the (B,) widths without padding.

    W' is a multiple of 16: few different widths, since oneDNN prepares every new shape anew.
    """
    widths = torch.tensor([ink.shape[1] for ink in inks])
    batch = np.zeros((len(inks), 1, HEIGHT, -(-int(widths.max()) // 16) * 16), np.float32)
    for row, ink in zip(batch, inks, strict=True):
        row[0, :, : ink.shape[1]] = ink
    return torch.from_numpy(batch), widths
