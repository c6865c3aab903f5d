"""Self-attention's keys and values of a search, which are never copied.

What each hypothesis of each step wrote stays where it was written. A hypothesis is a path through
it, and a mask says which columns lie on the path; when hypotheses change places, the mask changes.
A line that is over gives its place to the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decoders.ar.weights import Weights

_FIRST_STEPS = 32  # room for so many steps to begin with; doubled when it is used up


class Paths:
    """What hypotheses read of their own past.

    The first column is the start token's, which all hypotheses of a line share; after that each
    step has a column for each hypothesis.
    """

    def __init__(self, weights: Weights, lines: int, beam: int, steps: int) -> None:
        """Make room.

        Args:
            weights: of the decoder.
            lines: B.
            beam: hypotheses of a line.
            steps: most steps of the search.
        """
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
            if self.mask is None:  # all go on from the start token
                self.mask = self._own.new_zeros(lines, 1, self._beam, 1)
            own = self._own.expand(lines, 1, -1, -1)
            self.mask = torch.cat([self.mask, own], -1)

    def write(self, layer: int, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep keys and values of this step, (2, B, heads, 1 or beam, D / heads).

        Returns:
            All that were kept so far, (B, heads, columns, D / heads) each.
        """
        kept = self._kept[layer]
        kept[..., self._columns - keys_values.shape[3] : self._columns, :] = keys_values
        keys, values = kept[..., : self._columns, :]
        return keys, values

    def follow(self, parents: Tensor) -> None:
        """Let hypothesis i of a line go on from the past of its hypothesis (B, beam) parents[i]."""
        if self.mask is not None:
            past = parents[:, None, :, None].expand(-1, -1, -1, self.mask.shape[3])
            self.mask = self.mask.gather(2, past)

    def keep(self, places: Sequence[int]) -> None:
        """Let the lines at these places go on, and no others.

        Args:
            places: of each line that goes on, where it was; as `remaining` gives them.
        """
        self._kept = moved(self._kept, places)
        if self.mask is not None:
            self.mask = self.mask[list(places)]


def remaining(over: Sequence[bool]) -> list[int]:
    """Where each line that goes on was before: the last ones fill the gaps that lines left.

    >>> remaining([False, True, False, True, False])
    [0, 4, 2]
    """
    stay = [place for place, done in enumerate(over) if not done]
    return [place if not over[place] else stay.pop() for place in range(len(stay))]


def moved(kept: Tensor, places: Sequence[int]) -> Tensor:
    """(layers, 2, B, ...) with lines moved within its memory; a view of those that go on.

    Args:
        kept: overwritten.
        places: of each line that goes on, where it was; as `remaining` gives them.
    """
    for place, source in enumerate(places):
        if place != source:
            kept[:, :, place] = kept[:, :, source]
    return kept[:, :, : len(places)]
