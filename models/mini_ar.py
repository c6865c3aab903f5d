"""The AR head of `mini`: a small TrOCR decoder over the frozen encoder's states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import TrOCRConfig, TrOCRForCausalLM

from bench.core.types import BLANK
from models.alphabet import ALPHABET, encode

START = EOS = 2  # TrOCR starts with </s>, and so does this head: the same code drives both
PAD = 1
_SPECIAL = 4  # ids of TrOCR's <s>, <pad>, </s> and <unk>; the characters follow
_CHARACTERS = ALPHABET[1:]  # without the blank
_AT_START = 0.3  # size of the decoder's first positions, which are sinusoids


@dataclass(frozen=True)
class MiniARConfig:
    """Sizes of the head."""

    vocabulary: int = _SPECIAL + len(_CHARACTERS)
    width: int = 192
    layers: int = 3
    heads: int = 6
    feed_forward: int = 768
    positions: int = 224  # new tokens at most


class CharacterStates(nn.Module):
    """A state for each character that the CTC head reads, from those of the encoder.

    The cross-attention has to find where to read on. Frames do not tell, since hands differ in
    width; one state a character, at the position that the decoder writes it to, does (CTC-based
    compression, Gaido et al., https://aclanthology.org/2021.eacl-main.57).
    """

    def __init__(self, inputs: int, width: int, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.ctc = nn.Linear(inputs, len(ALPHABET)).requires_grad_(False)
        self.linear = nn.Linear(2 * inputs + 1, width)
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Parameter(torch.ones(1))
        self.end = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: states (B, S, D) and mask (B, S) to (B, N, width) and (B, N)."""
        return self.pooled(states, mask, self.begins(states, mask))

    def begins(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, S) True where CTC begins a character."""
        best = self.ctc(states).argmax(-1)
        begins = (best != BLANK) & (best != functional.pad(best[:, :-1], (1, 0))) & mask
        return begins & (begins.cumsum(1) < self.positions - 1)

    def pooled(self, states: Tensor, mask: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the states of each character: its first one, their mean, their number.

        Position 0 is what precedes the first character, and a learned end follows the last one.
        """
        places = begins.cumsum(1)
        ends = places[:, -1:] + 1
        count = int(ends.max()) + 1
        shape = (*states.shape[:1], count, states.shape[2])
        at, inside = places[..., None].expand_as(states), mask[..., None].to(states.dtype)
        frames = inside.new_zeros(shape[:2]).scatter_add_(1, places, inside[..., 0])
        sums = states.new_zeros(shape).scatter_add_(1, at, states * inside)
        first = states.new_zeros(shape).scatter_add_(1, at, states * begins[..., None])
        lengths = frames[..., None]
        mixed = torch.cat([first, sums / lengths.clamp_min(1), lengths.log1p()], 2)
        projected = self.norm(self.linear(mixed))
        end = torch.arange(count, device=ends.device) == ends
        projected = torch.where(end[..., None], self.end, projected)
        return projected + self.scale * sinusoids(count, projected), (frames > 0) | end


def sinusoids(length: int, like: Tensor) -> Tensor:
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
        self.project = CharacterStates(inputs, config.width, config.positions)
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
        places: Tensor = self.decoder.model.decoder.embed_positions.weight
        offset = len(places) - config.positions
        with torch.no_grad():
            places[offset:] = _AT_START * sinusoids(1 + config.positions, places)[1:]

    def forward(
        self, states: Tensor, mask: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Next-token logits (B, L, vocabulary) of tokens (B, L) behind memory (B, N, width).

        Also the cross-attention of each layer, (B, heads, L, N).
        """
        out = self.decoder(
            input_ids=tokens,
            encoder_hidden_states=states,
            encoder_attention_mask=mask.long(),
            use_cache=False,
            output_attentions=True,
        )
        return out.logits, out.cross_attentions


def detokenize(tokens: list[int]) -> str:
    """Token ids to text, special tokens left out."""
    return "".join(_CHARACTERS[token - _SPECIAL] for token in tokens if token >= _SPECIAL)


def tokenize(text: str) -> list[int]:
    """Token ids of a text's characters, but for those that the head cannot write."""
    symbols = (encode(character) for character in text)
    return [_SPECIAL - 1 + symbol[0] for symbol in symbols if symbol]
