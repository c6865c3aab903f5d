"""Line images to network input: 64 px high, ink near 1 and paper near 0."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.types import Image
from models.mini_net import HEIGHT, padded_width

WIDEST = 8192  # wider lines are squeezed; keeps a stray panorama from eating the memory


def to_height(image: Image) -> Image:
    """Scale to 64 px high, keeping the proportions up to `WIDEST` columns."""
    height, width = image.shape
    target = min(WIDEST, max(1, round(width * HEIGHT / height)))
    shrinking = height >= HEIGHT and width >= target
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (target, HEIGHT), interpolation=method)


def darkness(image: Image) -> NDArray[np.float32]:
    """Ink near 1, paper near 0: grey levels between the 1st and the 80th percentile.

    A line without contrast stays blank rather than blowing up its noise.
    """
    ink, paper = np.percentile(image, (1, 80))
    contrast = max(float(paper - ink), 24.0)
    return np.clip((np.float32(paper) - image) / np.float32(contrast), -0.5, 1.5).astype(np.float32)


def to_batch(images: Sequence[NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack (64, W) darkness images: (B, 1, 64, W') and the (B,) widths without padding."""
    widths = torch.tensor([image.shape[1] for image in images])
    batch = np.zeros((len(images), 1, HEIGHT, padded_width(int(widths.max()))), np.float32)
    for row, image in zip(batch, images, strict=True):
        row[0, :, : image.shape[1]] = image
    return torch.from_numpy(batch), widths
