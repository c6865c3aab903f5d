"""Probabilities of texts by an autoregressive head, all hypotheses of a line in one pass.

The sequences of a line share its states, and equal beginnings are read once, as a tree of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bench.core.types import ARModel, Encoded
from decoders.ar.reader import HeadReader
from decoders.base import Scores

_LOGITS_AT_ONCE = 1 << 24  # logits held in memory at a time


def score_texts(
    ar: ARModel, encoded: Encoded, texts: Sequence[Sequence[str]], length_penalty: float = 0.0
) -> list[Scores]:
    """Log-probabilities of texts, each spelled in the head's vocabulary and ended by EOS.

    A text has many spellings; this is the probability of the tokeniser's, which the head learned.

    Returns of each line (K,) natural-log probabilities, divided by the number of tokens, EOS
    included, to the power of `length_penalty`; minus infinity for a text that is longer than the
    head can write.

    Raises:
        ValueError: the head has no vocabulary.
    """
    if ar.tokenize is None:
        raise ValueError("untrained weights have no vocabulary to spell texts with")
    spelled = [[[*ar.tokenize(text), ar.eos_id] for text in line] for line in texts]
    fits = [np.array([len(one) <= ar.max_new_tokens for one in line], bool) for line in spelled]
    kept = [
        [one for one, fit in zip(line, of_line, strict=True) if fit]
        for line, of_line in zip(spelled, fits, strict=True)
    ]
    results = []
    for scores, line, fit in zip(score_tokens(ar, encoded, kept), kept, fits, strict=True):
        whole = np.full(len(fit), -np.inf)
        whole[fit] = scores / np.array([len(one) for one in line], float) ** length_penalty
        results.append(whole)
    return results


@torch.inference_mode()
def score_tokens(
    ar: ARModel, encoded: Encoded, sequences: Sequence[Sequence[Sequence[int]]]
) -> list[Scores]:
    """Log-probabilities of token sequences by teacher forcing.

    Sequences of a line share its states and their equal beginnings, so that n hypotheses cost much
    less than n times one.

    The sequences of a line have no start token; EOS is a token like others. Returns of each line
    (K,) sums of natural-log probabilities, in the order of its sequences.

    Raises:
        ValueError: a sequence is too long, or the number of lines is not the batch's.
    """
    if len(sequences) != len(encoded.states):
        raise ValueError(f"{len(sequences)} lists of sequences for {len(encoded.states)} lines")
    if any(len(one) > ar.max_new_tokens for line in sequences for one in line):
        raise ValueError(f"a sequence is longer than {ar.max_new_tokens} tokens")
    trees = [TokenTree.of(ar.start_id, line) for line in sequences]
    widest = max((len(tree.inner) for tree in trees), default=0)
    if widest == 0:
        return [np.zeros(len(tree.ends)) for tree in trees]
    reader = TreeReader(ar, encoded)
    hidden = reader.read(*_forest(trees, widest, encoded.states.device))
    values = _edges(reader, hidden, trees, widest)
    return [tree.totals(of_nodes) for tree, of_nodes in zip(trees, values, strict=True)]


def _forest(
    trees: Sequence[TokenTree], widest: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, M) and positions (B, M) of inner nodes, and the nodes that each attends to."""
    tokens = np.zeros((len(trees), widest), np.int64)
    positions = np.zeros((len(trees), widest), np.int64)
    sees = np.zeros((len(trees), widest, widest), bool)
    for line, tree in enumerate(trees):
        inner, count = tree.inner, len(tree.inner)
        tokens[line, :count] = tree.tokens[inner]
        positions[line, :count] = tree.depths[inner]
        sees[line, :count, :count] = tree.ancestors()
    to = torch.from_numpy
    return to(tokens).to(device), to(positions).to(device), to(sees).to(device)


def _edges(
    reader: TreeReader, hidden: Tensor, trees: Sequence[TokenTree], widest: int
) -> list[Scores]:
    """(N,) log-probabilities of each tree's tokens after their parents; 0 at the start.

    `hidden` are the (B * M, D) of inner nodes, of which the largest of the B trees has M.
    """
    device = hidden.device
    read = np.concatenate([line * widest + np.arange(len(t.inner)) for line, t in enumerate(trees)])
    offsets = np.cumsum([0, *(len(tree.inner) for tree in trees)])
    parents = np.concatenate(
        [
            offset + np.searchsorted(tree.inner, tree.parents[1:])
            for offset, tree in zip(offsets[:-1], trees, strict=True)
        ]
    )
    targets = np.concatenate([tree.tokens[1:] for tree in trees])
    order = np.argsort(parents, kind="stable")
    parents, targets = parents[order], targets[order]
    scores = np.empty(len(parents))
    rows = hidden[torch.from_numpy(read).to(device)]
    done = 0
    for logits in reader.logits(rows):
        first, last = np.searchsorted(parents, (done, done + len(logits)))
        row = torch.from_numpy(parents[first:last] - done).to(device)
        token = torch.from_numpy(targets[first:last]).to(device)
        chosen = logits[row, token] - logits.logsumexp(1)[row]
        scores[order[first:last]] = chosen.double().cpu().numpy()
        done += len(logits)
    borders = np.cumsum([len(tree.tokens) - 1 for tree in trees])[:-1]
    return [np.concatenate(([0.0], part)) for part in np.split(scores, borders)]


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


class TreeReader(HeadReader):
    """A decoder that reads many tokens of each line in one pass, and caches them all.

    The caller sets the tokens that each one attends to, so the tokens of a line may branch, and be
    dropped later.
    """

    def __init__(self, ar: ARModel, encoded: Encoded) -> None:
        super().__init__(ar, encoded)
        self._past: list[Tensor] = []  # of each layer (2, B, heads, P, D / heads)

    def read(self, tokens: Tensor, positions: Tensor, sees: Tensor) -> Tensor:
        """Read n more tokens of each line.

        Args:
            tokens: (B, n) ids.
            positions: (B, n), 0 for the start token.
            sees: (B, n, P + n) bool, which of the P tokens that were read before and of the n
                new ones each attends to.

        Returns:
            (B * n, D), for `logits`.
        """
        like = self._weights.tokens
        lowest = torch.finfo(like.dtype).min  # not minus infinity: padding may see nothing at all
        self._mask = like.new_zeros(sees.shape).masked_fill_(~sees, lowest)[:, None]
        return self._read(tokens, positions.flatten())

    def logits(self, rows: Tensor) -> Iterator[Tensor]:
        """Logits of (R, D) rows, in order, a few rows at a time: (r, V) float32 each."""
        for part in rows.split(max(1, _LOGITS_AT_ONCE // len(self._weights.tokens))):
            yield self._weights.vocabulary(part).float()

    def keep(self, places: Sequence[int]) -> None:
        """Keep the lines at these places only; see `remaining`."""
        super().keep(places)
        self._past = [kept[:, list(places)] for kept in self._past]

    def _attend(self, index: int, queries: Tensor, keys_values: Tensor) -> Tensor:
        if index == len(self._past):
            self._past.append(keys_values)
        else:
            self._past[index] = torch.cat([self._past[index], keys_values], 3)
        keys, values = self._past[index]
        return scaled_dot_product_attention(queries, keys, values, self._mask)
