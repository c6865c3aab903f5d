"""Sinusoidal positions of a TrOCR decoder, which transformers 5 loses while loading."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.trocr.modeling_trocr import TrOCRSinusoidalPositionalEmbedding


def restore_sinusoids(decoder: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Compute them anew; nothing is done to learned positions.

    They are a plain tensor, neither parameter nor buffer: a model that is built on the meta
    device, as `from_pretrained` does, leaves them there, and `to` does not move them.

    Args:
        decoder: a `TrOCRForCausalLM`.
        dtype: of the decoder.
        device: of the decoder.
    """
    positions = decoder.model.decoder.embed_positions
    if isinstance(positions, TrOCRSinusoidalPositionalEmbedding):
        rows = decoder.config.max_position_embeddings + positions.padding_idx + 1
        table = positions.get_embedding(rows, positions.embedding_dim, positions.padding_idx)
        positions.weights = table.to(device, dtype)
