"""A head free of columns: learned queries in reading order attend to all patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.heads.base import Grid, HeadConfig, PatchGrid

_LINE = 192.0  # the length of a line, in places


class PlacedPatches(nn.Module):
    """Patches in reading order of the page, each with the embeddings of its row and its column."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(grid.width)
        self.project = nn.Linear(grid.width, width)
        self.row = nn.Parameter(0.02 * torch.randn(grid.rows, 1, width))
        self.column = nn.Parameter(places(grid.columns, width))

    def forward(self, grid: Tensor) -> Tensor:
        """Shape: B, R, C, D to B, R * C, width."""
        placed = self.project(self.norm(grid)) + self.row + self.column
        return placed.flatten(1, 2)


class QueryFrames(nn.Module):
    """One learned query a frame, its place in the line included; layers of cross-attention."""

    def __init__(self, count: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(places(count, width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))

    def forward(self, patches: Tensor) -> Tensor:
        """Shape: B, N, width to B, T, width."""
        queries = self.queries.expand(len(patches), -1, -1)
        attended: Tensor = self.layers(queries.to(patches.dtype), patches)
        return attended


def places(count: int, width: int) -> Tensor:
    """Sinusoids (count, width) of `count` places spread evenly over a line (Vaswani et al. 2017).

    Queries and columns begin with places on the same scale, so that a query can find its columns.
    """
    place = (torch.arange(count)[:, None] + 0.5) * (_LINE / count)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(_LINE) / width))
    return torch.cat([torch.sin(place * rate), torch.cos(place * rate)], 1)[:, :width]


@dataclass(frozen=True)
class Queries(HeadConfig):
    """`query`: T learned queries with 1-D places attend to all patches. Novel, so unproven.

    count: queries, which are the frames: T.
    width: of a query; a multiple of heads.
    heads, layers: of the attention.
    """

    count: int = 160
    width: int = 256
    heads: int = 8
    layers: int = 2
    dropout: float = 0.1

    def frames(self, grid: Grid) -> int:
        """The queries."""
        return self.count

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, patches, frames, symbols."""
        return {
            "grid": PatchGrid(grid),
            "patches": PlacedPatches(grid, self.width),
            "frames": QueryFrames(self.count, self.width, self.heads, self.layers, self.dropout),
            "symbols": nn.Linear(self.width, symbols),
        }
