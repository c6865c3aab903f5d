"""One step of a TrOCR decoder for all open hypotheses of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from decoders.ar.cross import CrossAttention
from decoders.ar.memory import Paths
from decoders.ar.weights import Layer, Weights


class Stepper:
    """A decoder with its caches for the lines that are still searched."""

    def __init__(
        self, weights: Weights, states: Tensor, mask: Tensor | None, beam: int, steps: int
    ) -> None:
        """Read the states.

        Args:
            weights: of the decoder.
            states: (B, S, encoder width) in the decoder's precision.
            mask: (B, 1, 1, S) additive, or None.
            beam: hypotheses of a line.
            steps: most steps of the search.
        """
        self._weights = weights
        self._cross = CrossAttention(weights, states, mask, beam)
        self._paths = Paths(weights, len(states), beam, steps)

    def logits(self, tokens: Tensor, step: int) -> Tensor:
        """Feed one token to each hypothesis.

        Args:
            tokens: (B, n); n is 1 at the first step, and the beam after it.
            step: from 0.

        Returns:
            (B * n, V) float32.
        """
        weights = self._weights
        self._paths.extend()
        self._cross.extend(tokens.shape[1])
        x = weights.embed(tokens.flatten(), step)
        for index, layer in enumerate(weights.layers):
            x = layer.own_norm(x + layer.own_out(self._own(layer, index, x, len(tokens))))
            x = layer.cross_norm(
                x + layer.cross_out(self._cross.read(index, layer.cross_queries(x)))
            )
            x = layer.norm(x + layer.down(layer.activation(layer.up(x))))
        return weights.vocabulary(x).float()

    def follow(self, parents: Tensor) -> None:
        """Let hypothesis i of a line go on from its hypothesis (B, beam) parents[i]."""
        self._paths.follow(parents)

    def keep(self, places: Sequence[int]) -> None:
        """Let the lines at these places go on, and no others; see `ar_memory.remaining`."""
        self._cross.keep(places)
        self._paths.keep(places)

    def _own(self, layer: Layer, index: int, x: Tensor, lines: int) -> Tensor:
        """Self-attention, (rows, D) to (rows, D)."""
        heads = self._weights.heads
        split = layer.own(x).view(lines, -1, 3, heads, x.shape[1] // heads).permute(2, 0, 3, 1, 4)
        keys, values = self._paths.write(index, split[1:])
        attended = scaled_dot_product_attention(split[0], keys, values, self._paths.mask)
        return attended.transpose(1, 2).reshape(x.shape)
