"""The contract of a CTC head, from an encoder's states to logits of T frames, and its parts.

A head is a chain of named stages, so that `bench dev show` can print the shape after each:
grid (B, R, C, D), columns or patches, frames (B, T, F), sequence, symbols (B, T, V).
R rows and C columns of patches, F width of a frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import UserError


@dataclass(frozen=True)
class Grid:
    """The patches of an image, which a head reads.

    image: (height, width) in pixels.
    rows, columns: of patches.
    width: D, of a state.
    """

    image: tuple[int, int]
    rows: int
    columns: int
    width: int

    @staticmethod
    def of(encoder: Any, image: tuple[int, int] | None = None) -> Grid:
        """The grid of an encoder's configuration (ViT, DeiT), for its own image or another.

        Raises:
            UserError: the image is not a whole number of patches.
        """
        patch = _pair(encoder.patch_size)
        size = image or _pair(encoder.image_size)
        if size[0] % patch[0] or size[1] % patch[1] or min(size) < 1:
            raise UserError(
                f"an image of {size[0]} x {size[1]} px is no whole number of patches of "
                f"{patch[0]} x {patch[1]} px; choose another size"
            )
        rows, columns = size[0] // patch[0], size[1] // patch[1]
        return Grid(size, rows, columns, int(encoder.hidden_size))


@dataclass(frozen=True)
class HeadConfig(ABC):
    """A registered head; its fields are its options, stored with its weights."""

    def image(self) -> tuple[int, int] | None:
        """The (height, width) in pixels of its image; None for the encoder's own."""
        return None

    @abstractmethod
    def frames(self, grid: Grid) -> int:
        """T, the frames of every line: all lines are squeezed into the same image."""

    @abstractmethod
    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """The named stages, (B, S, D) states to (B, T, V) logits."""


class Head(nn.Sequential):
    """A built head: (B, S, D) states, special tokens first, to (B, T, V) logits.

    config: its options; geometry: the patches that it reads; length: T.
    """

    def __init__(self, config: HeadConfig, grid: Grid, symbols: int) -> None:
        super().__init__(OrderedDict(config.stages(grid, symbols)))
        self.config, self.geometry, self.length = config, grid, config.frames(grid)


class HeadedViT(nn.Module):
    """A ViT or DeiT of transformers with a head that fits it: pixels to states and CTC logits."""

    def __init__(self, encoder: Any, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.resized = head.geometry.image != Grid.of(encoder.config).image

    def states(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, S, D); positions interpolated where the image is not its own."""
        output = self.encoder(pixels, interpolate_pos_encoding=self.resized)
        states: Tensor = output.last_hidden_state
        return states

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, T, V) logits."""
        logits: Tensor = self.head(self.states(pixels))
        return logits


class PatchGrid(nn.Module):
    """Drops the special tokens (class, distillation) and lays the patches out.

    The number of special tokens follows from the count, since patches come last.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, states: Tensor) -> Tensor:
        """Shape: B, S, D to B, R, C, D."""
        rows, columns = self.grid.rows, self.grid.columns
        special = states.shape[1] - rows * columns
        if special < 0:
            raise ValueError(f"{states.shape[1]} states are too few for {rows} x {columns} patches")
        return states[:, special:].unflatten(1, (rows, columns))


class SubFrames(nn.Module):
    """Maps each column to `count` frames.

    Repeated columns would not suffice: equal frames have one argmax, so a column of "th" could not
    emit both.
    """

    def __init__(self, inputs: int, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.split = nn.Linear(inputs, count * width)

    def forward(self, columns: Tensor) -> Tensor:
        """Shape: B, C, inputs to B, C * count, width."""
        return self.split(columns).unflatten(2, (self.count, -1)).flatten(1, 2)


class PlacedFrames(SubFrames):
    """Sub-frames with their place in the column, normalised for a sequence model."""

    def __init__(self, inputs: int, count: int, width: int, dropout: float) -> None:
        super().__init__(inputs, count, width)
        self.place = nn.Parameter(0.02 * torch.randn(count, width))
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, columns: Tensor) -> Tensor:
        """Shape: B, C, inputs to B, C * count, width."""
        frames = nn.functional.gelu(super().forward(columns))
        return self.drop(self.norm(frames + self.place.repeat(columns.shape[1], 1)))


class BiLSTM(nn.Module):
    """Bidirectional LSTM layers; no line is padded, so all frames are valid."""

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(
            inputs, hidden, layers, batch_first=True, bidirectional=True, dropout=between
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Shape: B, T, F to B, T, 2 * hidden."""
        return self.drop(self.lstm(frames)[0])


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
