"""The weights of a TrOCR decoder, laid out for a search that takes one token a step.

A step is a product of a few rows with large weights, the same at each step. torch's own linear
layer reads weights as they lie; oneDNN can lay them out in blocks beforehand and is then up to
three times as fast for the 5 to 40 rows of a step, in the same IEEE float32 (relative differences
below 1e-6). torch's access to it is internal (`torch.compile` emits it on CPUs), so it is used only
where available and measured to be faster.

The layout follows transformers' `TrOCRForCausalLM` (models/trocr/modeling_trocr.py), whose every
variant it covers: learned or sinusoidal positions, embeddings scaled or not, normalised or not,
projection tied or not, any activation.
"""

from __future__ import annotations

import bisect
import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import embedding, layer_norm, linear

from bench.core.stopwatch import HostMeter

# Sizes of products for which packing is chosen: upper limits of their rows, and the rows tried for
# each. The last size is that of an image's states, the others are hypotheses.
_LIMITS, _TRIED = (16, 64, 128), (8, 40, 96, 577)
# TrOCR base's largest layer, several times, since no CPU cache holds the weights in a search
# either. This matters for few rows alone.
_INPUTS, _OUTPUTS, _LAYERS, _LAYERS_OF_MANY = 1024, 4096, 8, 2
_REPETITIONS = 5
_CLEARLY = 0.95  # of the time of torch's own; a packed copy takes memory


class Linear:
    """y = x W^T + b on (rows, inputs), by the faster of the two ways for that many rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Store weights, (outputs, inputs), and pack a copy of them where that is faster."""
        self.weight, self.bias = weight, bias
        self._faster = _where_faster(weight)
        self._packed = _packed(weight) if any(self._faster) else None

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, inputs) to (rows, outputs)."""
        if self._packed is None or not self._faster[_size(len(x))]:
            return linear(x, self.weight, self.bias)
        return _multiply(x, self._packed, self.bias)


@dataclass(frozen=True, eq=False)
class Norm:
    """A layer normalisation."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """Copy an `nn.LayerNorm`."""
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
        """Lay out a `TrOCRDecoderLayer`."""
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
class DecoderWeights:
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


def weights_of(decoder: Any, dtype: torch.dtype | None = None) -> DecoderWeights:
    """The weights of a `TrOCRForCausalLM`, laid out once and kept as long as it lives.

    They are laid out again after a change, as in training. A dtype other than their own makes a
    rounded copy.
    """
    state = _State.of(decoder)
    kept = _LAID_OUT.get(decoder)
    if kept is None or not state.is_same(kept[0]):
        _LAID_OUT.pop(decoder, None)  # frees the memory of the old ones for the new
        kept = _LAID_OUT[decoder] = state, {}
    if dtype not in kept[1]:
        kept[1][dtype] = _laid_out(decoder if dtype is None else copy.deepcopy(decoder).to(dtype))
    return kept[1][dtype]


@dataclass(frozen=True, eq=False)
class _State:
    """Tensors of a decoder with their places in memory and versions."""

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


_Kept = tuple[_State, dict[torch.dtype | None, DecoderWeights]]
_LAID_OUT: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def _laid_out(model: Any) -> DecoderWeights:
    decoder = model.model.decoder
    positions = decoder.embed_positions
    learned = model.config.use_learned_position_embeddings
    table = positions.weight if learned else positions.weights
    return DecoderWeights(
        tokens=decoder.embed_tokens.weight,
        scale=decoder.embed_tokens.embed_scale,
        positions=table.to(decoder.embed_tokens.weight.dtype),  # sinusoids are no parameter
        first_position=positions.offset if learned else positions.padding_idx + 1,
        pad_id=None if learned else positions.padding_idx,
        norm=None if decoder.layernorm_embedding is None else Norm.of(decoder.layernorm_embedding),
        layers=tuple(Layer.of(layer) for layer in decoder.layers),
        vocabulary=_together(model.output_projection),
        heads=model.config.decoder_attention_heads,
    )


def _together(*modules: Any) -> Linear:
    """`nn.Linear`s that read the same rows, as one; outputs one behind the other."""
    weights = [module.weight for module in modules]
    biases = [module.bias for module in modules if module.bias is not None]
    if len(modules) == 1:
        return Linear(weights[0], *biases)
    return Linear(torch.cat(weights), torch.cat(biases) if biases else None)


def _where_faster(weight: Tensor) -> tuple[bool, ...]:
    """For each size of a product: whether packed weights are faster here."""
    if weight.device.type != "cpu" or not _can_pack(weight.dtype):
        return (False,) * len(_TRIED)
    return tuple(_measured_faster(weight.dtype, rows, torch.get_num_threads()) for rows in _TRIED)


def _size(rows: int) -> int:
    return bisect.bisect_left(_LIMITS, rows)


@cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Check that this build of torch has the internal operators and they give the right product."""
    x, weight = torch.ones(2, 3, dtype=dtype), torch.ones(4, 3, dtype=dtype)
    try:
        product = _multiply(x, _packed(weight), None)
    except (AttributeError, RuntimeError):
        return False
    return bool((product == linear(x, weight)).all())


@cache
def _measured_faster(dtype: torch.dtype, rows: int, threads: int) -> bool:
    """Measure whether packed weights are clearly faster; `threads` only keys the result."""
    x = torch.ones(rows, _INPUTS, dtype=dtype)
    layers = _LAYERS_OF_MANY if rows > _LIMITS[-1] else _LAYERS
    weights = torch.ones(layers, _OUTPUTS, _INPUTS, dtype=dtype)
    packed = [_packed(weight) for weight in weights]
    ways = (
        lambda: [linear(x, weight) for weight in weights],
        lambda: [_multiply(x, weight, None) for weight in packed],
    )
    times = [[_seconds(way) for way in ways] for _ in range(_REPETITIONS + 1)][1:]
    own, ours = (min(column) for column in zip(*times, strict=True))
    return ours < _CLEARLY * own


def _seconds(work: Callable[[], object]) -> float:
    """CPU seconds, which other programs disturb less than wall seconds."""
    meter = HostMeter()
    start = meter.cpu()
    work()
    return meter.cpu() - start


def _packed(weight: Tensor) -> Tensor:
    """An opaque copy in oneDNN's layout."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
