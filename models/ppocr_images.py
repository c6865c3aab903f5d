"""Line images as PP-OCR's network takes them: 48 px high and as wide as at 56 px."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.images import WIDEST

Picture = TypeVar("Picture", bound=NDArray[Any])
HEIGHT = 48
WIDE_AS = 56  # stretched by a sixth: dense hands need the frames
STEP = 16  # widths of batches are multiples: oneDNN prepares every new shape anew


def squeeze(image: Picture) -> Picture:
    """Scale a line, (H, W) to (48, W')."""
    height, width = image.shape
    target = min(WIDEST, max(1, round(width * WIDE_AS / height)))
    shrinking = height >= HEIGHT and width >= target
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    scaled: Picture = cv2.resize(image, (target, HEIGHT), interpolation=method)
    return scaled


def to_batch(inks: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack (48, W) darkness images: (B, 1, 48, W') and the (B,) widths without padding."""
    widths = torch.tensor([ink.shape[1] for ink in inks])
    batch = np.zeros((len(inks), 1, HEIGHT, -(-int(widths.max()) // STEP) * STEP), np.float32)
    for row, ink in zip(batch, inks, strict=True):
        row[0, :, : ink.shape[1]] = ink
    return torch.from_numpy(batch), widths
