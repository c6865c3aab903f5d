"""Heads on the columns of TrOCR's own 24 x 24 grid; the encoder can stay frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.heads.base import BiLSTM, Grid, HeadConfig, PatchGrid, PlacedFrames, SubFrames


class ColumnPool(nn.Module):
    """Attention over the rows of each column with learned queries, row by row placed.

    Which rows hold ink differs with the hand, and ascenders and descenders lie apart: each query
    can look for something else.
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
class SubColumns(HeadConfig):
    """`grid-subcol`: each column pooled over its rows and split into frames; then BiLSTM layers.

    per_column: frames of a column; 8 of 24 columns make T = 192.
    queries: of the pooling, per column.
    width: of a frame.
    hidden, layers: of the BiLSTM, each direction.
    """

    per_column: int = 8
    queries: int = 4
    width: int = 256
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2

    def frames(self, grid: Grid) -> int:
        """Columns x per_column."""
        return grid.columns * self.per_column

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, frames, sequence, symbols."""
        pooled = self.queries * grid.width
        return {
            "grid": PatchGrid(grid),
            "columns": ColumnPool(grid, self.queries),
            "frames": PlacedFrames(pooled, self.per_column, self.width, self.dropout),
            "sequence": BiLSTM(self.width, self.hidden, self.layers, self.dropout),
            "symbols": nn.Linear(2 * self.hidden, symbols),
        }


@dataclass(frozen=True)
class LinearProbe(HeadConfig):
    """`grid-linear`: each column pooled over its rows, then one linear map to its frames' symbols.

    No frame sees another column but through the encoder: the least language that a head can add.

    per_column: frames of a column; 8 of 24 columns make T = 192.
    queries: of the pooling, per column.
    """

    per_column: int = 8
    queries: int = 4

    def frames(self, grid: Grid) -> int:
        """Columns x per_column."""
        return grid.columns * self.per_column

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, symbols."""
        return {
            "grid": PatchGrid(grid),
            "columns": ColumnPool(grid, self.queries),
            "symbols": SubFrames(self.queries * grid.width, self.per_column, symbols),
        }
