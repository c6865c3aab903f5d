"""The AR head of `mini`: a small TrOCR decoder over the frozen encoder's states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import TrOCRConfig, TrOCRForCausalLM

START = EOS = 2  # TrOCR starts with </s>, and so does this head: the same code drives both
PAD = 1
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
TOKENIZER = Path(__file__).parent / "weights" / "mini-tokenizer.json"


@dataclass(frozen=True)
class MiniARConfig:
    """Sizes of the head."""

    vocabulary: int = 1000
    width: int = 192
    layers: int = 3
    heads: int = 6
    feed_forward: int = 768
    positions: int = 160  # new tokens at most


class StateProjection(nn.Module):
    """Encoder states to the head's width, with sinusoidal positions.

    The states hold no positions, without which the cross-attention cannot learn to read from left
    to right.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, states: Tensor) -> Tensor:
        """Shape: B, S, D to B, S, width."""
        projected = self.norm(self.linear(states))
        return projected + self.scale * _positions(states.shape[1], projected)


def _positions(length: int, like: Tensor) -> Tensor:
    """(length, width) sinusoids of "Attention Is All You Need", section 3.5."""
    half = like.shape[-1] // 2
    steps = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    index = torch.arange(half, device=like.device, dtype=torch.float32)
    angle = steps * torch.exp(index * (-math.log(10_000.0) / half))
    return torch.cat([angle.sin(), angle.cos()], 1).to(like.dtype)


class MiniAR(nn.Module):
    """Projection and causal decoder."""

    def __init__(self, inputs: int, config: MiniARConfig | None = None) -> None:
        super().__init__()
        config = config or MiniARConfig()
        self.config = config
        self.project = StateProjection(inputs, config.width)
        self.decoder: Any = TrOCRForCausalLM(
            TrOCRConfig(
                vocab_size=config.vocabulary,
                d_model=config.width,
                decoder_layers=config.layers,
                decoder_attention_heads=config.heads,
                decoder_ffn_dim=config.feed_forward,
                cross_attention_hidden_size=config.width,
                max_position_embeddings=config.positions,
                use_learned_position_embeddings=True,
                layernorm_embedding=True,
                scale_embedding=True,
                activation_function="gelu",
                dropout=0.1,
                attention_dropout=0.0,
                activation_dropout=0.0,
                bos_token_id=0,
                pad_token_id=PAD,
                eos_token_id=EOS,
                decoder_start_token_id=START,
                tie_word_embeddings=True,
                attn_implementation="eager",
            )
        )

    def forward(
        self, states: Tensor, mask: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Next-token logits (B, L, vocabulary) of tokens (B, L) behind states (B, S, D).

        Also the cross-attention of each layer, (B, heads, L, S).
        """
        out = self.decoder(
            input_ids=tokens,
            encoder_hidden_states=self.project(states),
            encoder_attention_mask=mask.long(),
            use_cache=False,
            output_attentions=True,
        )
        return out.logits, out.cross_attentions


def load_tokenizer() -> Tokenizer:
    """The shipped sub-word vocabulary."""
    return Tokenizer.from_file(str(TOKENIZER))


def detokenize(tokenizer: Tokenizer, tokens: list[int]) -> str:
    """Token ids to text, special tokens left out."""
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


def tokenize(tokenizer: Tokenizer, text: str) -> list[int]:
    """Text to token ids, none of them special."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
