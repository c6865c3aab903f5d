"""Attention by two matrix products, for training on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

_NAME = "kaidoku_products"


def use_products(encoder: Any) -> None:
    """Let a ViT or DeiT of transformers attend by plain matrix products, if it is on a CPU.

    The backward pass of torch's fused attention takes twice as long there in bfloat16, which
    matrix products have units for. Same numbers but for rounding; no mask, no dropout.
    """
    if next(encoder.parameters()).device.type == "cpu":
        AttentionInterface.register(_NAME, _products)
        encoder.set_attn_implementation(_NAME)


def _products(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Shape: query, key, value B, heads, S, D / heads; the result B, S, heads, D / heads."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(query.device.type, enabled=False):  # it would make the softmax float32
        shares = torch.matmul(query * scale, key.transpose(-1, -2)).softmax(-1)
        return torch.matmul(shares, value).transpose(1, 2).contiguous(), None
