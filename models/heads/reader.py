"""An encoder with a CTC head: a line's pixels to its states and to CTC logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from models.heads.base import Grid, Head


class Reader(nn.Module):
    """A ViT or DeiT of transformers and a head that fits it."""

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
