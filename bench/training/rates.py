"""Shares of the learning rate by layer."""

from __future__ import annotations

from typing import Any


def encoder_groups(encoder: Any, share: float, decay: float) -> list[dict[str, Any]]:
    """The parameters of a ViT, each layer with its share of the learning rate.

    Layer-wise decay (Howard & Ruder, arXiv 1801.06146; for ViTs Bao et al., arXiv 2106.08254):
    the last layer learns at `share` of the rate, and each layer below at `decay` of the one
    above, the embeddings last.
    """
    parts = [encoder.embeddings, *encoder.layers]  # lowest first
    groups: list[dict[str, Any]] = [
        {"params": list(part.parameters()), "scale": share * decay ** (len(parts) - 1 - height)}
        for height, part in enumerate(parts)
    ]
    groups.append({"params": list(encoder.layernorm.parameters()), "scale": share})
    return groups
