"""Token sequences of a line that share their beginnings, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TokenTree:
    """Sequences that begin alike share nodes; node 0 is the start token. N nodes.

    tokens: (N,) token of each node.
    parents: (N,) node before each; parents stand before their children; -1 for the start.
    depths: (N,) tokens before each node, the start token counted.
    ends: (K,) last node of each sequence.
    inner: (M,) nodes that have children, rising: all that a decoder has to read.
    """

    tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    ends: NDArray[np.int64]
    inner: NDArray[np.int64]

    @classmethod
    def of(cls, start: int, sequences: Sequence[Sequence[int]]) -> TokenTree:
        """The tree of K sequences, the start token left out in each.

        >>> tree = TokenTree.of(2, [[5, 6, 2], [5, 2]])
        >>> tree.tokens.tolist(), tree.parents.tolist(), tree.ends.tolist()
        ([2, 5, 6, 2, 2], [-1, 0, 1, 2, 1], [3, 4])
        """
        tokens, parents, depths, ends = [start], [-1], [0], []
        children: dict[tuple[int, int], int] = {}
        for sequence in sequences:
            node = 0
            for token in sequence:
                child = children.setdefault((node, token), len(tokens))
                if child == len(tokens):
                    tokens.append(token)
                    parents.append(node)
                    depths.append(depths[node] + 1)
                node = child
            ends.append(node)
        inner = sorted({*parents[1:]})
        return cls(*(np.array(one, np.int64) for one in (tokens, parents, depths, ends, inner)))

    def ancestors(self) -> NDArray[np.bool_]:
        """(M, M): whether inner node i is inner node j or comes after it."""
        place = np.full(len(self.tokens), -1)
        place[self.inner] = np.arange(len(self.inner))
        sees = np.eye(len(self.inner), dtype=bool)
        for row, parent in enumerate(place[self.parents[self.inner]][1:], 1):
            sees[row] |= sees[parent]
        return sees

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,): the sum of (N,) values of nodes along each sequence, the start token's left out."""
        sums = values.copy()
        sums[0] = 0.0
        for node in range(1, len(sums)):
            sums[node] += sums[self.parents[node]]
        totals: NDArray[np.float64] = sums[self.ends]
        return totals
