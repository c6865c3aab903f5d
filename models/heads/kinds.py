"""The heads, by the source of their frames.

`grid-*` read the columns of TrOCR's own 24 x 24 grid, so that the encoder can stay frozen; `wide`
reads as many patches laid out along the line.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.heads.base import BiLSTM, Grid, HeadConfig, PatchGrid, PlacedFrames, SubFrames


class ColumnPool(nn.Module):
    """Attention over the rows of each column with learned queries, row by row placed.

    Hands differ in the rows of their ink, and ascenders lie far from descenders: each query attends
    to other rows.
    """

    def __init__(self, grid: Grid, queries: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(grid.width)
        self.row = nn.Parameter(0.02 * torch.randn(grid.rows, 1, grid.width))
        self.query = nn.Linear(grid.width, queries, bias=False)

    def forward(self, grid: Tensor) -> Tensor:
        """Shape: B, R, C, D to B, C, queries * D."""
        placed = self.norm(grid) + self.row
        share = self.query(placed).softmax(1)  # over the rows
        return torch.einsum("brcq,brcd->bcqd", share, placed).flatten(2)


@dataclass(frozen=True)
class _Columns(HeadConfig, ABC):
    """Frames from columns of the grid.

    per_column: frames of a column; 8 of 24 columns, or 2 of 96, make T = 192.
    """

    per_column: int = 8

    def frames(self, grid: Grid) -> int:
        """Columns x per_column."""
        return grid.columns * self.per_column


def _recurrent(
    columns: nn.Module, inputs: int, config: SubColumns | Wide, width: int, symbols: int
) -> dict[str, nn.Module]:
    """The stages behind the grid of a head with BiLSTM layers, from columns of `inputs` values."""
    return {
        "columns": columns,
        "frames": PlacedFrames(inputs, config.per_column, width, config.dropout),
        "sequence": BiLSTM(width, config.hidden, config.layers, config.dropout),
        "symbols": nn.Linear(2 * config.hidden, symbols),
    }


@dataclass(frozen=True)
class SubColumns(_Columns):
    """`grid-subcol`: each column pooled over its rows and split into frames; then BiLSTM layers.

    queries: of the pooling, per column.
    width: of a frame.
    hidden, layers: of the BiLSTM, each direction.
    """

    queries: int = 4
    width: int = 256
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, frames, sequence, symbols."""
        pool, pooled = ColumnPool(grid, self.queries), self.queries * grid.width
        return {"grid": PatchGrid(grid), **_recurrent(pool, pooled, self, self.width, symbols)}


@dataclass(frozen=True)
class LinearProbe(_Columns):
    """`grid-linear`: each column pooled over its rows, then one linear map to its frames' symbols.

    Frames see other columns only through the encoder, so the head adds the least language.

    queries: of the pooling, per column.
    """

    queries: int = 4

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, symbols."""
        return {
            "grid": PatchGrid(grid),
            "columns": ColumnPool(grid, self.queries),
            "symbols": SubFrames(self.queries * grid.width, self.per_column, symbols),
        }


class StackedRows(nn.Module):
    """The rows of each column end to end: nothing is averaged away."""

    def forward(self, grid: Tensor) -> Tensor:
        """Shape: B, R, C, D to B, C, R * D."""
        return grid.permute(0, 2, 1, 3).flatten(2)


@dataclass(frozen=True)
class Wide(_Columns):
    """`wide`: 96 x 1536 px are 6 x 96 patches, 576 as in the square, so attention costs the same.

    The encoder's learned positions are interpolated to the new grid, as in heb-ocr
    (https://github.com/itayinbarr/heb-ocr), and the scale of letters changes: this head needs an
    encoder that is trained along (`--unfreeze`).

    height, width: of the image in pixels.
    features: width of a frame.
    hidden, layers: of the BiLSTM, each direction.
    """

    per_column: int = 2
    height: int = 96
    width: int = 1536
    features: int = 256
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2

    def image(self) -> tuple[int, int]:
        """Its own image size."""
        return self.height, self.width

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, frames, sequence, symbols."""
        rows, stacked = StackedRows(), grid.rows * grid.width
        return {"grid": PatchGrid(grid), **_recurrent(rows, stacked, self, self.features, symbols)}
