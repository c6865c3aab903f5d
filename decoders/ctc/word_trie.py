"""The prefixes of a word search as nodes of a trie, each with what its language costs.

A run of spaces counts as one, and spaces in front as none, so that a node is what pyctcdecode
knows of a hypothesis: whole words and the part of one behind them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from decoders.ctc.beam_kit import NONE, ROOT, ints
from decoders.ctc.word_tables import NO_NODE, WordTables, find, predict

LEAST_LOG = -600.0  # of a factor: smaller ones are no numbers
_USUAL_LENGTH = 6  # of a word; a longer part that begins no word costs more
_MIX, _OTHER = -7046029254386353131, 2862933555777941757  # odd, of many bits


class Weights(NamedTuple):
    """The weights of a search, and the history that it keeps apart.

    alpha, beta: of the model, and the bonus of each word, natural log.
    unk_offset: of an unknown word, natural log and to be weighed by alpha.
    partial: of a part that begins no word, natural log.
    history: words that hypotheses may differ in; 0 keeps all apart.
    boundary: the line is a sentence.
    """

    alpha: float
    beta: float
    unk_offset: float
    partial: float
    history: int
    boundary: bool


class Trie(NamedTuple):
    """Every prefix that was ever in the beam. Node 0 is the empty one."""

    parent: NDArray[np.int32]
    last: NDArray[np.int32]  # last symbol; of the empty prefix the space
    child: NDArray[np.int32]  # the youngest child; its siblings are chained
    sibling: NDArray[np.int32]
    place: NDArray[np.int32]  # where in the beam it stands now, or NONE
    length: NDArray[np.int32]  # symbols of its last word; 0 behind a space
    begin: NDArray[np.int32]  # the node in which that word begins
    part: NDArray[np.int32]  # where that word stands in the vocabulary's trie, or NO_NODE
    state: NDArray[np.int32]  # of the model, behind all whole words
    whole: NDArray[np.float64]  # score of all whole words
    score: NDArray[np.float64]  # `whole`, and what the part of a word costs
    factor: NDArray[np.float64]  # e ** (score - the parent's score)
    spaced: NDArray[np.float64]  # `factor` of the space behind it; NaN until asked for
    ended: NDArray[np.float64]  # `whole` then
    next_state: NDArray[np.int32]  # `state` then
    spelling: NDArray[np.int64]  # hash of the part of a word; behind a space of the word before
    past: NDArray[np.int64]  # hash of the last words, in nodes in which a word begins


@compiled
def new_trie(size: int) -> Trie:
    """Room for so many nodes."""
    return Trie(
        ints(size), ints(size), ints(size), ints(size), ints(size), ints(size), ints(size),
        ints(size), ints(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size),
        np.empty(size), ints(size), np.empty(size, np.int64), np.empty(size, np.int64),
    )  # fmt: skip


@compiled_part
def plant(trie: Trie, tables: WordTables, weights: Weights, space: int) -> None:
    """The empty prefix, alone in the beam."""
    trie.parent[ROOT] = trie.child[ROOT] = NONE
    trie.last[ROOT] = space
    trie.place[ROOT] = trie.length[ROOT] = trie.begin[ROOT] = trie.part[ROOT] = 0
    trie.state[ROOT] = tables.beginning if weights.boundary else 0
    trie.whole[ROOT] = trie.score[ROOT] = 0.0
    trie.spelling[ROOT] = trie.past[ROOT] = 1


@compiled_part
def partial_cost(weights: Weights, length: int) -> float:
    """What a part of a word costs that begins no word of the vocabulary."""
    if length > _USUAL_LENGTH:
        return weights.partial * length / _USUAL_LENGTH
    return weights.partial


@compiled_part
def score_word(trie: Trie, node: int, tables: WordTables, weights: Weights) -> tuple[float, int]:
    """The score of a prefix's last word as a whole one, and the state behind it.

    The word of no symbols is an unknown one.
    """
    part = trie.part[node]
    word = tables.word[part] if part != NO_NODE else NONE
    log_prob, state = predict(tables, trie.state[node], word)
    if word == NONE:
        log_prob += weights.unk_offset
    return weights.alpha * log_prob + weights.beta, state


@compiled_part
def ask(trie: Trie, node: int, tables: WordTables, weights: Weights) -> None:
    """What a space behind a prefix makes of its last word."""
    score, trie.next_state[node] = score_word(trie, node, tables, weights)
    trie.ended[node] = trie.whole[node] + score
    trie.spaced[node] = np.exp(max(trie.ended[node] - trie.score[node], LEAST_LOG))


@compiled_part
def lengthen_word(trie: Trie, node: int, tables: WordTables, weights: Weights) -> None:
    """Fill in a node behind whose parent a symbol was added."""
    parent, symbol = trie.parent[node], trie.last[node]
    length = trie.length[parent] + 1
    trie.length[node], trie.begin[node] = length, trie.begin[parent]
    trie.state[node], trie.whole[node] = trie.state[parent], trie.whole[parent]
    trie.part[node] = NO_NODE
    if trie.part[parent] != NO_NODE:
        trie.part[node] = find(tables.trie, trie.part[parent] * tables.symbols + symbol)
    trie.score[node], trie.factor[node] = trie.whole[node], 1.0
    if trie.part[node] == NO_NODE:
        trie.score[node] += partial_cost(weights, length)
        change = trie.score[node] - trie.score[parent]
        trie.factor[node] = np.exp(max(change, LEAST_LOG))
    before = trie.spelling[parent] if length > 1 else 1
    trie.spelling[node] = mix(before, symbol)


@compiled_part
def end_word(trie: Trie, node: int, weights: Weights) -> None:
    """Fill in a node behind whose parent a space was added; its `ended` has been asked for."""
    parent = trie.parent[node]
    trie.length[node] = trie.part[node] = 0
    trie.begin[node] = node
    trie.state[node], trie.whole[node] = trie.next_state[parent], trie.ended[parent]
    trie.score[node], trie.factor[node] = trie.whole[node], trie.spaced[parent]
    trie.spelling[node] = trie.spelling[parent]
    past, begin = mix(1, trie.spelling[parent]), trie.begin[parent]
    for _ in range(weights.history - 1):
        if begin == ROOT:
            break
        past = mix(past, trie.spelling[begin])
        begin = trie.begin[trie.parent[begin]]
    trie.past[node] = past


@compiled_part
def mix(before: int, value: int) -> int:
    """A 64-bit hash of a sequence, one more value added."""
    mixed = (before ^ value) * _MIX + value
    return (mixed ^ (mixed >> 29)) * _OTHER
