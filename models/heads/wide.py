"""A head on a wide image: as many patches as TrOCR's square, laid out along the line."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.heads.base import BiLSTM, Grid, HeadConfig, PatchGrid, PlacedFrames


class StackedRows(nn.Module):
    """The rows of each column end to end: nothing is averaged away."""

    def forward(self, grid: Tensor) -> Tensor:
        """Shape: B, R, C, D to B, C, R * D."""
        return grid.permute(0, 2, 1, 3).flatten(2)


@dataclass(frozen=True)
class Wide(HeadConfig):
    """`wide`: 96 x 1536 px are 6 x 96 patches, 576 as in the square, so attention costs the same.

    The encoder's learned positions are interpolated to the new grid, as in heb-ocr
    (https://github.com/itayinbarr/heb-ocr), and the scale of letters changes: this head wants an
    encoder that is trained along (`--unfreeze`).

    height, width: of the image in pixels.
    per_column: frames of a column; 2 of 96 columns make T = 192.
    features: width of a frame.
    hidden, layers: of the BiLSTM, each direction.
    """

    height: int = 96
    width: int = 1536
    per_column: int = 2
    features: int = 256
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2

    def image(self) -> tuple[int, int]:
        """Its own image size."""
        return self.height, self.width

    def frames(self, grid: Grid) -> int:
        """Columns x per_column."""
        return grid.columns * self.per_column

    def stages(self, grid: Grid, symbols: int) -> dict[str, nn.Module]:
        """Grid, columns, frames, sequence, symbols."""
        stacked = grid.rows * grid.width
        return {
            "grid": PatchGrid(grid),
            "columns": StackedRows(),
            "frames": PlacedFrames(stacked, self.per_column, self.features, self.dropout),
            "sequence": BiLSTM(self.features, self.hidden, self.layers, self.dropout),
            "symbols": nn.Linear(2 * self.hidden, symbols),
        }
