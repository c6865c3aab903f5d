"""An encoder with a CTC head: a line's pixels to its states and to CTC logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from models.heads.base import Grid, Head, HeadConfig


class Reader(nn.Module):
    """A ViT or DeiT of transformers and a head that fits it."""

    def __init__(self, encoder: Any, config: HeadConfig, symbols: int) -> None:
        """Put a new head on an encoder.

        Raises:
            UserError: the head's image is no whole number of the encoder's patches.
        """
        super().__init__()
        self.encoder = encoder
        self.head = Head(config, Grid.of(encoder.config, config.image()), symbols)

    def states(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, S, D); positions interpolated where the image is not its own."""
        own = Grid.of(self.encoder.config).image
        resized = self.head.geometry.image != own
        states: Tensor = self.encoder(pixels, interpolate_pos_encoding=resized).last_hidden_state
        return states

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, T, V) logits."""
        logits: Tensor = self.head(self.states(pixels))
        return logits
