"""Line images to network input: darkness for convolutional networks, pictures for a ViT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

from bench.core.types import Image

Pixels = TypeVar("Pixels", bound=NDArray[Any])
HEIGHT = 64  # rows of a line in training, before a network's own height
WIDEST = 8192  # wider lines are squeezed, to bound memory
_STEP = 16  # columns of batches are multiples: oneDNN and cuDNN prepare every new shape anew


def to_height(image: Pixels, height: int = HEIGHT, wide_as: int = 0) -> Pixels:
    """Scale a line to a height and up to `WIDEST` columns.

    The proportions are kept, or it gets as wide as at a height of `wide_as`.
    """
    rows, columns = image.shape
    width = min(WIDEST, max(1, round(columns * (wide_as or height) / rows)))
    shrinking = rows >= height and columns >= width
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    scaled: Pixels = cv2.resize(image, (width, height), interpolation=method)
    return scaled


def darkness(image: Image) -> NDArray[np.float32]:
    """Ink near 1, paper near 0: grey levels between the 1st and the 80th percentile.

    A line without contrast stays blank rather than blowing up its noise.
    """
    ink, paper = np.percentile(image, (1, 80))
    contrast = max(float(paper - ink), 24.0)
    return np.clip((np.float32(paper) - image) / np.float32(contrast), -0.5, 1.5).astype(np.float32)


def columns_of(widest: int) -> int:
    """Columns of a batch by its widest line."""
    return -(-widest // _STEP) * _STEP


def to_batch(inks: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Stack (H, W) darkness images: (B, 1, H, W') and the (B,) widths without padding."""
    widths = torch.tensor([ink.shape[1] for ink in inks])
    batch = np.zeros((len(inks), 1, len(inks[0]), columns_of(int(widths.max()))), np.float32)
    for row, ink in zip(batch, inks, strict=True):
        row[0, :, : ink.shape[1]] = ink
    return torch.from_numpy(batch), widths


@dataclass(frozen=True)
class Pictures:
    """Line images to a ViT's pixels, as the checkpoint's own image processor would make them.

    Equal to transformers' processor (tested) in a tenth of its time: a grey line is resized once
    and not three times, and becomes floats on the network's device.

    size: (height, width) in pixels; the proportions of the line are not kept.
    resample: PIL's code of the filter.
    scale, mean, std: pixel = (grey * scale - mean) / std, mean and std by colour channel.
    """

    size: tuple[int, int]
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(processor: Any, size: tuple[int, int] | None = None) -> Pictures:
        """The steps of an image processor of transformers; `size` in place of its own.

        Steps that it leaves out (rescale, normalise) are the identity here.
        """
        own = (int(processor.size.height), int(processor.size.width))
        normalised = processor.do_normalize
        return Pictures(
            size=size or own,
            resample=int(processor.resample),
            scale=float(processor.rescale_factor) if processor.do_rescale else 1.0,
            mean=tuple(processor.image_mean) if normalised else (0.0,) * 3,
            std=tuple(processor.image_std) if normalised else (1.0,) * 3,
        )

    def squeeze(self, images: Sequence[Image]) -> Tensor:
        """Host work: B images (H, W) uint8 of any size to (B, height, width) uint8."""
        height, width = self.size
        batch = np.empty((len(images), height, width), np.uint8)
        for picture, image in zip(batch, images, strict=True):
            line = PILImage.fromarray(np.ascontiguousarray(image))
            picture[:] = line.resize((width, height), self.resample)
        return torch.from_numpy(batch)

    def pixels(self, pictures: Tensor) -> Tensor:
        """Device work: (B, height, width) uint8 to (B, 3, height, width) floats."""
        grey = pictures[:, None].float() * self.scale
        mean, std = (
            torch.tensor(values, device=grey.device)[:, None, None]
            for values in (self.mean, self.std)
        )
        return (grey - mean) / std
