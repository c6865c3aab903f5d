"""An autoregressive head that reads many tokens of each line in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bench.core.types import ARModel, Encoded
from decoders.ar.cross import CrossAttention, additive_mask
from decoders.ar.weights import Layer, weights_of

_LOGITS_AT_ONCE = 1 << 24  # logits held in memory at a time


class TreeReader:
    """The decoder of a batch of lines, which remembers every token that it has read.

    What a token may look at is told with it, so that the tokens of a line need not be one
    sequence: they may branch, and may be given up later. All sequences of a line share its
    states.
    """

    def __init__(self, ar: ARModel, encoded: Encoded) -> None:
        """Read the states of all lines of an encoding; no token is read yet."""
        states = encoded.states.to(ar.decoder.dtype)
        if ar.project is not None:
            states = ar.project(states)
        self._weights = weights_of(ar.decoder)
        mask = additive_mask(encoded.state_mask, states.dtype)
        self._cross = CrossAttention(self._weights, states, mask, beam=1)
        self._own: list[Tensor] = []  # of each layer (2, B, heads, P, D / heads)

    def read(self, tokens: Tensor, positions: Tensor, sees: Tensor) -> Tensor:
        """Read n more tokens of each line.

        Args:
            tokens: (B, n) ids.
            positions: (B, n), 0 for the start token.
            sees: (B, n, P + n) bool, which of the P tokens that were read before and of the n
                new ones each may look at.

        Returns:
            (B * n, D), for `logits`.
        """
        weights, cross = self._weights, self._cross
        cross.extend(tokens.shape[1])
        x = weights.embed(tokens.flatten(), positions.flatten())
        lowest = torch.finfo(x.dtype).min  # not minus infinity: padding may see nothing at all
        mask = x.new_zeros(sees.shape).masked_fill_(~sees, lowest)[:, None]
        for index, layer in enumerate(weights.layers):
            x = layer.own_norm(x + layer.own_out(self._past(layer, index, x, mask)))
            x = layer.cross_norm(x + layer.cross_out(cross.read(index, layer.cross_queries(x))))
            x = layer.norm(x + layer.down(layer.activation(layer.up(x))))
        return x

    def logits(self, rows: Tensor) -> Iterator[Tensor]:
        """Logits of (R, D) rows, in order, a few rows at a time: (r, V) float32 each."""
        for part in rows.split(max(1, _LOGITS_AT_ONCE // len(self._weights.tokens))):
            yield self._weights.vocabulary(part).float()

    def keep(self, places: Sequence[int]) -> None:
        """Let the lines at these places go on, and no others; see `ar_memory.remaining`."""
        self._cross.keep(places)
        self._own = [kept[:, list(places)] for kept in self._own]

    def _past(self, layer: Layer, index: int, x: Tensor, mask: Tensor) -> Tensor:
        """Self-attention over all that was read, (rows, D) to (rows, D)."""
        heads = self._weights.heads
        split = layer.own(x).view(len(mask), -1, 3, heads, x.shape[1] // heads)
        queries, keys_values = split.permute(2, 0, 3, 1, 4).split((1, 2))
        if index == len(self._own):
            self._own.append(keys_values)
        else:
            self._own[index] = torch.cat([self._own[index], keys_values], 3)
        keys, values = self._own[index]
        attended = scaled_dot_product_attention(queries[0], keys, values, mask)
        return attended.transpose(1, 2).reshape(x.shape)
