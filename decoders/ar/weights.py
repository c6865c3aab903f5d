"""The weights of a TrOCR decoder, laid out for a search that takes one token a step.

The layout follows transformers' `TrOCRForCausalLM` (models/trocr/modeling_trocr.py), whose every
variant it covers: learned or sinusoidal positions, embeddings scaled or not, normalised or not,
projection tied or not, any activation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import embedding, layer_norm

from decoders.ar.linear import Linear, joined


@dataclass(frozen=True, eq=False)
class Norm:
    """A layer normalisation."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """That of an `nn.LayerNorm`."""
        return cls(module.weight, module.bias, module.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, D) to (rows, D)."""
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, eq=False)
class Layer:
    """One decoder layer, D wide.

    own: (rows, D) to queries, keys and values of the self-attention, (rows, 3 D).
    cross_queries: (rows, D) to (rows, D).
    cross_memory: encoder states to keys and values, (rows, 2 D).
    """

    own: Linear
    own_out: Linear
    own_norm: Norm
    cross_queries: Linear
    cross_memory: Linear
    cross_out: Linear
    cross_norm: Norm
    up: Linear
    activation: Callable[[Tensor], Tensor]
    down: Linear
    norm: Norm

    @classmethod
    def of(cls, module: Any) -> Layer:
        """That of a `TrOCRDecoderLayer`."""
        own, cross = module.self_attn, module.encoder_attn
        return cls(
            own=_together(own.q_proj, own.k_proj, own.v_proj),
            own_out=_together(own.out_proj),
            own_norm=Norm.of(module.self_attn_layer_norm),
            cross_queries=_together(cross.q_proj),
            cross_memory=_together(cross.k_proj, cross.v_proj),
            cross_out=_together(cross.out_proj),
            cross_norm=Norm.of(module.encoder_attn_layer_norm),
            up=_together(module.fc1),
            activation=module.activation_fn,
            down=_together(module.fc2),
            norm=Norm.of(module.final_layer_norm),
        )


@dataclass(frozen=True, eq=False)
class Weights:
    """A whole decoder, D wide, V tokens.

    tokens: (V, D) embeddings, to be multiplied by `scale`.
    positions: (P, D); the token that is fed at step t, from 0, has row t + `first_position`.
    pad_id: a token that gets row `pad_id` of the positions wherever it stands, as transformers'
        sinusoidal positions have it; None for learned ones.
    vocabulary: (rows, D) to logits (rows, V).
    """

    tokens: Tensor
    scale: float
    positions: Tensor
    first_position: int
    pad_id: int | None
    norm: Norm | None
    layers: tuple[Layer, ...]
    vocabulary: Linear
    heads: int

    @property
    def width(self) -> int:
        """D."""
        return self.tokens.shape[1]

    def embed(self, tokens: Tensor, step: int | Tensor) -> Tensor:
        """(rows,) tokens that are fed at a step, from 0, or each at its own, to (rows, D)."""
        position = self.positions[step + self.first_position]
        embedded = embedding(tokens, self.tokens) * self.scale
        if self.pad_id is not None:
            is_pad = (tokens == self.pad_id)[:, None]
            position = torch.where(is_pad, self.positions[self.pad_id], position)
        embedded = embedded + position
        return embedded if self.norm is None else self.norm(embedded)


def weights_of(decoder: Any) -> Weights:
    """The weights of a `TrOCRForCausalLM`, laid out once and kept as long as it lives.

    Laid out anew when they have changed since, as they do in training.
    """
    state = _State.of(decoder)
    kept = _LAID_OUT.get(decoder)
    if kept is None or not state.is_same(kept[0]):
        _LAID_OUT.pop(decoder, None)  # so that the memory of the old ones is free for the new
        kept = state, _laid_out(decoder)
        _LAID_OUT[decoder] = kept
    return kept[1]


@dataclass(frozen=True, eq=False)
class _State:
    """Which tensors a decoder had, where they lay, and how often they had been written."""

    tensors: tuple[Tensor, ...]
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, decoder: Any) -> _State:
        # Sinusoids are no parameter, and are put in their place after loading.
        sinusoids = getattr(decoder.model.decoder.embed_positions, "weights", None)
        tensors = (*decoder.parameters(), *([] if sinusoids is None else [sinusoids]))
        places = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
        return cls(tensors, places)

    def is_same(self, other: _State) -> bool:
        return self.places == other.places and all(map(operator.is_, self.tensors, other.tensors))


_LAID_OUT: WeakKeyDictionary[Any, tuple[_State, Weights]] = WeakKeyDictionary()


def _laid_out(model: Any) -> Weights:
    decoder = model.model.decoder
    positions = decoder.embed_positions
    learned = model.config.use_learned_position_embeddings
    return Weights(
        tokens=decoder.embed_tokens.weight,
        scale=decoder.embed_tokens.embed_scale,
        positions=positions.weight if learned else positions.weights,
        first_position=positions.offset if learned else positions.padding_idx + 1,
        pad_id=None if learned else positions.padding_idx,
        norm=None if decoder.layernorm_embedding is None else Norm.of(decoder.layernorm_embedding),
        layers=tuple(Layer.of(layer) for layer in decoder.layers),
        vocabulary=_together(model.output_projection),
        heads=model.config.decoder_attention_heads,
    )


def _together(*modules: Any) -> Linear:
    """`nn.Linear`s that read the same rows, as one."""
    if len(modules) == 1:
        return Linear(modules[0].weight, modules[0].bias)
    return joined([m.weight for m in modules], [m.bias for m in modules])
