"""How likely an autoregressive head finds given texts, in one teacher-forced pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.types import ARModel, Encoded
from decoders.ar.token_tree import TokenTree
from decoders.ar.tree_reader import TreeReader


def score_texts(
    ar: ARModel, encoded: Encoded, texts: Sequence[Sequence[str]], length_penalty: float = 0.0
) -> list[NDArray[np.float64]]:
    """Log-probabilities of texts, each spelled in the head's vocabulary and ended by EOS.

    A text has many spellings; this is the probability of the one that the tokeniser gives, which
    is what the head was taught.

    Args:
        ar: the head, with a vocabulary.
        encoded: B lines.
        texts: of each line, any number of texts.
        length_penalty: each is divided by its number of tokens, EOS included, to this power.

    Returns:
        Of each line (K,) natural-log probabilities; minus infinity for a text that is longer than
        the head can write.

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
    found = []
    for scores, line, fit in zip(score_tokens(ar, encoded, kept), kept, fits, strict=True):
        whole = np.full(len(fit), -np.inf)
        whole[fit] = scores / np.array([len(one) for one in line], float) ** length_penalty
        found.append(whole)
    return found


@torch.inference_mode()
def score_tokens(
    ar: ARModel, encoded: Encoded, sequences: Sequence[Sequence[Sequence[int]]]
) -> list[NDArray[np.float64]]:
    """Log-probabilities of token sequences, the labels being fed ("teacher forcing").

    Sequences of a line that begin alike share what they share, and all sequences of a line share
    its states, so that n hypotheses cost much less than n times one.

    Args:
        ar: the head.
        encoded: B lines.
        sequences: of each line, any number of token sequences without the start token; EOS is a
            token like others. None is longer than `ar.max_new_tokens`.

    Returns:
        Of each line (K,) sums of natural-log probabilities, in the order of its sequences.

    Raises:
        ValueError: a sequence is too long, or there are not as many lines as in the batch.
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
    """Tokens (B, M), positions (B, M) and what each may look at (B, M, M), of inner nodes."""
    tokens = np.zeros((len(trees), widest), np.int64)
    positions = np.zeros((len(trees), widest), np.int64)
    sees = np.zeros((len(trees), widest, widest), bool)
    for line, tree in enumerate(trees):
        inner, count = tree.inner, len(tree.inner)
        tokens[line, :count] = tree.tokens[inner]
        positions[line, :count] = tree.depths[inner]
        sees[line, :count, :count] = tree.ancestors()
    made = (torch.from_numpy(array).to(device) for array in (tokens, positions, sees))
    first, second, third = made
    return first, second, third


def _edges(
    reader: TreeReader, hidden: Tensor, trees: Sequence[TokenTree], widest: int
) -> list[NDArray[np.float64]]:
    """Of each tree (N,) log-probabilities of every node's token after its parent; 0 at the start.

    Args:
        reader: gives the logits.
        hidden: (B * M, D), of the inner nodes.
        trees: B of them.
        widest: M, inner nodes of the largest tree.
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
    found = np.empty(len(parents))
    rows = hidden[torch.from_numpy(read).to(device)]
    done = 0
    for logits in reader.logits(rows):
        first, last = np.searchsorted(parents, (done, done + len(logits)))
        row = torch.from_numpy(parents[first:last] - done).to(device)
        token = torch.from_numpy(targets[first:last]).to(device)
        chosen = logits[row, token] - logits.logsumexp(1)[row]
        found[order[first:last]] = chosen.double().cpu().numpy()
        done += len(logits)
    borders = np.cumsum([len(tree.tokens) - 1 for tree in trees])[:-1]
    return [np.concatenate(([0.0], part)) for part in np.split(found, borders)]
