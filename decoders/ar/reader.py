"""A TrOCR decoder over the states of a batch: one step for all open hypotheses.

Self-attention's keys and values are never copied (`Paths`): each step's stay where they were
written, and a mask marks the columns on the path of a hypothesis.

Cross-attention reads the image in one of two ways (`CrossAttention`). The usual way projects the
states of a line to keys and values of every layer and then reads those. For TrOCR base that is the
largest part of a short search (21.8 GFLOP a line), and it is memory bound from there on (57 MB a
line and step). The other way projects the queries back to the states instead, and what was read of
them forward to values: with queries q, states x and weights K and V of a head, q (K x) = (q K) x,
and the sum of p V x is V times the sum of p x. It gives the same numbers (the bias of the keys adds
the same to all states, and the softmax takes it away), costs more with every hypothesis and step,
and nothing beforehand. This is the order in which DeepSeek-V2 multiplies
(https://arxiv.org/abs/2405.04434, section 2.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bench.core.types import ARModel, Encoded
from decoders.ar.weights import DecoderWeights, Layer, weights_of

# By multiplications the two ways are even after about as many queries (hypotheses times steps) as
# a head is wide; by time on a CPU after half as many, since attention over states runs at half the
# speed of the large product that projects them.
_SHORT = 12  # tokens of a line when nothing is known of it: TrOCR's mean on IAM is 11
_FIRST_STEPS = 32  # room of `Paths` for so many steps to begin with; doubled when it is used up


class HeadReader(ABC):
    """A decoder that reads tokens of the lines of an encoding."""

    def __init__(
        self, ar: ARModel, encoded: Encoded, beam: int = 1, dtype: torch.dtype | None = None
    ) -> None:
        """Prepare the states for `beam` hypotheses of a line at each step.

        The dtype is that in which the head computes, None for that of its weights.
        """
        states, known = ar.memory(encoded.states, encoded.state_mask)
        self._weights = weights_of(ar.decoder, dtype)
        states = states.to(self._weights.tokens.dtype)
        mask = _additive(known, states.dtype)
        self._cross = CrossAttention(self._weights, states, mask, beam)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the lines at these places only; see `remaining`."""
        self._cross.keep(places)

    def _read(self, tokens: Tensor, positions: int | Tensor) -> Tensor:
        """Tokens (B, n) at their positions, from 0, to (B * n, D)."""
        self._cross.extend(tokens.shape[1])
        x = self._weights.embed(tokens.flatten(), positions)
        shape = (len(tokens), -1, 3, self._weights.heads, x.shape[1] // self._weights.heads)
        for index, layer in enumerate(self._weights.layers):
            split = layer.own(x).view(shape).permute(2, 0, 3, 1, 4)
            own = self._attend(index, split[0], split[1:]).transpose(1, 2).reshape(x.shape)
            x = layer.own_norm(x + layer.own_out(own))
            read = self._cross.read(index, layer.cross_queries(x))
            x = layer.cross_norm(x + layer.cross_out(read))
            x = layer.norm(x + layer.down(layer.activation(layer.up(x))))
        return x

    @abstractmethod
    def _attend(self, index: int, queries: Tensor, keys_values: Tensor) -> Tensor:
        """Self-attention of a layer to all tokens so far: (B, heads, n, D / heads) of queries.

        The new keys and values are (2, B, heads, n, D / heads).
        """


class Stepper(HeadReader):
    """A decoder of one token for each open hypothesis at a time."""

    def __init__(
        self,
        ar: ARModel,
        encoded: Encoded,
        beam: int,
        steps: int,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make room for a beam of hypotheses a line and at most so many steps."""
        super().__init__(ar, encoded, beam, dtype)
        self._paths = Paths(self._weights, len(encoded.states), beam, steps)

    def logits(self, tokens: Tensor, step: int) -> Tensor:
        """Feed (B, n) tokens at a step from 0, n being 1 and then the beam: (B * n, V) float32."""
        self._paths.extend()
        return self._weights.vocabulary(self._read(tokens, step)).float()

    def follow(self, parents: Tensor) -> None:
        """Continue hypothesis i of a line from its hypothesis (B, beam) parents[i]."""
        self._paths.follow(parents)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the lines at these places only; see `remaining`."""
        super().keep(places)
        self._paths.keep(places)

    def _attend(self, index: int, queries: Tensor, keys_values: Tensor) -> Tensor:
        keys, values = self._paths.write(index, keys_values)
        return scaled_dot_product_attention(queries, keys, values, self._paths.mask)


class CrossAttention:
    """States of the lines that are still searched, or their keys and values."""

    def __init__(
        self, weights: DecoderWeights, states: Tensor, mask: Tensor | None, beam: int
    ) -> None:
        """Choose the cheaper way for the beam.

        The states (B, S, E) are not changed; the mask is (B, 1, 1, S) additive, or None.
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
        """Cross-attention of a layer, (B * n, D) queries to (B * n, D)."""
        if self._projected is None:
            return self._read_states(self._weights.layers[index], queries)
        keys, values = self._projected[index]
        split = queries.view(len(keys), -1, self._weights.heads, self._head).transpose(1, 2)
        read = scaled_dot_product_attention(split, keys, values, self._mask)
        return read.transpose(1, 2).reshape(queries.shape)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the lines at these places only; see `remaining`."""
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
        back = queries.view(-1, heads, self._head).transpose(0, 1) @ keys  # (heads, B * n, E)
        back = back.view(heads, len(states), -1, back.shape[2]).transpose(0, 1)
        read = scaled_dot_product_attention(
            back.reshape(len(states), 1, -1, back.shape[3]),
            states, states, self._mask, scale=self._head**-0.5,
        )  # fmt: skip
        by_head = read.view(back.shape).transpose(0, 1).reshape(heads, len(queries), -1)
        result = (by_head @ values.transpose(1, 2)).transpose(0, 1).reshape(queries.shape)
        bias = layer.cross_memory.bias
        return result if bias is None else result + bias[len(bias) // 2 :]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """(B, S) bool to (B, 1, 1, S): 0 for states of the line, the most negative number for padding.

    None where nothing is padded.
    """
    if bool(mask.all()):
        return None
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)[
        :, None, None
    ]


class Paths:
    """Keys and values of the past of each hypothesis.

    The first column is the start token's, which all hypotheses of a line share; after that each
    step has a column for each hypothesis.
    """

    def __init__(self, weights: DecoderWeights, lines: int, beam: int, steps: int) -> None:
        """Make room for B lines, a beam of hypotheses each, and at most so many steps."""
        self._beam, self._columns = beam, 0
        self._most = 1 + (steps - 1) * beam
        self._kept = weights.tokens.new_empty(  # (layers, 2, B, heads, columns, D / heads)
            len(weights.layers), 2, lines, weights.heads,
            min(self._most, 1 + _FIRST_STEPS * beam), weights.width // weights.heads,
        )  # fmt: skip
        self._own = torch.full((beam, beam), -torch.inf).fill_diagonal_(0).to(self._kept)
        self.mask: Tensor | None = None  # (B, 1, beam, columns) additive; None where all is read

    def extend(self) -> None:
        """Begin a step: room for one column (the first step) or for one of each hypothesis."""
        before = self._columns
        self._columns += self._beam if before else 1
        if self._columns > self._kept.shape[4]:
            room = min(self._most, 2 * self._kept.shape[4])
            grown = self._kept.new_empty(*self._kept.shape[:4], room, self._kept.shape[5])
            grown[..., :before, :] = self._kept[..., :before, :]
            self._kept = grown
        if before and self._beam > 1:
            lines = self._kept.shape[2]
            if self.mask is None:  # all continue from the start token
                self.mask = self._own.new_zeros(lines, 1, self._beam, 1)
            own = self._own.expand(lines, 1, -1, -1)
            self.mask = torch.cat([self.mask, own], -1)

    def write(self, layer: int, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep keys and values of this step, (2, B, heads, 1 or beam, D / heads).

        Returns those of all steps so far, (B, heads, columns, D / heads) each.
        """
        kept = self._kept[layer]
        kept[..., self._columns - keys_values.shape[3] : self._columns, :] = keys_values
        keys, values = kept[..., : self._columns, :]
        return keys, values

    def follow(self, parents: Tensor) -> None:
        """Continue hypothesis i of a line from the past of its hypothesis (B, beam) parents[i]."""
        if self.mask is not None:
            past = parents[:, None, :, None].expand(-1, -1, -1, self.mask.shape[3])
            self.mask = self.mask.gather(2, past)

    def keep(self, places: Sequence[int]) -> None:
        """Keep the lines at these places only; see `remaining`."""
        self._kept = moved(self._kept, places)
        if self.mask is not None:
            self.mask = self.mask[list(places)]


def remaining(over: Sequence[bool]) -> list[int]:
    """Former places of the lines that go on: the last ones fill the gaps of finished lines.

    >>> remaining([False, True, False, True, False])
    [0, 4, 2]
    """
    stay = [place for place, done in enumerate(over) if not done]
    return [place if not over[place] else stay.pop() for place in range(len(stay))]


def moved(kept: Tensor, places: Sequence[int]) -> Tensor:
    """(layers, 2, B, ...) with lines moved within its memory; a view of those that go on."""
    for place, source in enumerate(places):
        if place != source:
            kept[:, :, place] = kept[:, :, source]
    return kept[:, :, : len(places)]
