"""Cross-attention: what the hypotheses of a line read of its image, in one of two ways.

The usual way projects the states of a line to keys and values of every layer and then reads those.
For TrOCR base that is the largest part of a short search (21.8 GFLOP a line), and it is memory
bound from there on (57 MB a line and step). The other way projects the queries back to the states
instead, and what was read of them forward to values: with queries q, states x and weights K and V
of a head, q (K x) = (q K) x, and the sum of p V x is V times the sum of p x. It gives the same
numbers (the bias of the keys adds the same to all states, and the softmax takes it away), costs
more with every hypothesis and step, and nothing beforehand. This is the order in which DeepSeek-V2
multiplies (https://arxiv.org/abs/2405.04434, section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from decoders.ar.memory import moved
from decoders.ar.weights import Layer, Weights

# By multiplications the two ways are even after about as many queries (hypotheses times steps) as
# a head is wide; by time on a CPU after half as many, since attention over states runs at half the
# speed of the large product that projects them.
_SHORT = 12  # tokens of a line when nothing is known of it: TrOCR's mean on IAM is 11


class CrossAttention:
    """States of the lines that are still searched, or their keys and values."""

    def __init__(self, weights: Weights, states: Tensor, mask: Tensor | None, beam: int) -> None:
        """Choose the way.

        Args:
            weights: of the decoder.
            states: (B, S, E) as the decoder takes them; not changed.
            mask: (B, 1, 1, S) additive, or None.
            beam: hypotheses of a line.
        """
        self._weights, self._states, self._mask = weights, states, mask
        self._head = weights.width // weights.heads
        few = states.device.type == "cpu" and beam * _SHORT <= self._head // 2
        self._queries_left = self._head if few else 0
        self._projected: Tensor | None = None  # (layers, 2, B, heads, S, D / heads)

    def extend(self, hypotheses: int) -> None:
        """Begin a step with so many hypotheses of each line."""
        if self._projected is None and self._queries_left < hypotheses:
            self._projected = self._project()
        self._queries_left -= hypotheses

    def read(self, index: int, queries: Tensor) -> Tensor:
        """What hypotheses read in a layer, (B * n, D) queries to (B * n, D)."""
        if self._projected is None:
            return self._read_states(self._weights.layers[index], queries)
        keys, values = self._projected[index]
        split = queries.view(len(keys), -1, self._weights.heads, self._head).transpose(1, 2)
        read = scaled_dot_product_attention(split, keys, values, self._mask)
        return read.transpose(1, 2).reshape(queries.shape)

    def keep(self, places: Sequence[int]) -> None:
        """Let the lines at these places go on, and no others; see `ar_memory.remaining`."""
        self._states = self._states[list(places)]
        if self._projected is not None:
            self._projected = moved(self._projected, places)
        if self._mask is not None:
            self._mask = self._mask[list(places)]

    def _project(self) -> Tensor:
        layers, heads = self._weights.layers, self._weights.heads
        lines, steps, _ = self._states.shape
        rows = self._states.flatten(0, 1)
        kept = rows.new_empty(len(layers), 2, lines, heads, steps, self._head)
        for of_layer, layer in zip(kept, layers, strict=True):
            projected = layer.cross_memory(rows).view(lines, steps, 2, heads, self._head)
            of_layer.copy_(projected.permute(2, 0, 3, 1, 4))
        return kept

    def _read_states(self, layer: Layer, queries: Tensor) -> Tensor:
        heads, states = self._weights.heads, self._states[:, None]
        keys, values = layer.cross_memory.weight.view(2, heads, self._head, -1)
        asked = queries.view(-1, heads, self._head).transpose(0, 1) @ keys  # (heads, B * n, E)
        asked = asked.view(heads, len(states), -1, asked.shape[2]).transpose(0, 1)
        read = scaled_dot_product_attention(
            asked.reshape(len(states), 1, -1, asked.shape[3]),
            states, states, self._mask, scale=self._head**-0.5,
        )  # fmt: skip
        by_head = read.view(asked.shape).transpose(0, 1).reshape(heads, len(queries), -1)
        told = (by_head @ values.transpose(1, 2)).transpose(0, 1).reshape(queries.shape)
        bias = layer.cross_memory.bias
        return told if bias is None else told + bias[len(bias) // 2 :]


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """(B, S) bool to (B, 1, 1, S): 0 for states of the line, the most negative number for padding.

    None where nothing is padded.
    """
    if bool(mask.all()):
        return None
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)[
        :, None, None
    ]
