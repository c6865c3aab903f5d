"""A word n-gram model, its vocabulary and the prefixes of a search as tables for compiled code.

The model is an automaton: a state is the n-gram just read, and an arc reads a word. A state without
an arc for a word backs off to the next shorter state, at the cost of its back-off weight. The
vocabulary is a trie over the symbols of an alphabet, which shows whether a partial word can become
a word. The prefixes are another trie, each with its cost by the model. A run of spaces counts as
one, and spaces in front as none, so that a node equals a hypothesis of pyctcdecode: whole words and
a partial word behind them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from decoders.ctc.beam_kit import NONE, ROOT, ints
from decoders.language.arpa import BOS, EOS, MARKS, NO_UNK, UNK, NGramModel

LEAST_LOG = -600.0  # log of the least factor; smaller ones underflow
_USUAL_LENGTH = 6  # of a word; longer partial words outside the vocabulary cost more
_MIX, _OTHER = -7046029254386353131, 2862933555777941757  # odd, of many bits


class Table(NamedTuple):
    """An open-addressed hash table; -1 is the key of a free place. The size is a power of 2."""

    keys: NDArray[np.int64]
    values: NDArray[np.int32]


class WordTables(NamedTuple):
    """A model of W words and its vocabulary in V symbols.

    arcs: state * W + word to the number of the arc.
    prob: natural log of an arc's probability; target: the state behind it.
    backoff, shorter: of each state, natural log. State 0 is the empty context.
    trie: node * V + symbol to the next node; node 0 begins a word.
    opens: (nodes, V / 64) bits: the symbols that lead on from a node.
    word: (nodes,) the word that ends there, or -1.
    words: W; symbols: V; unknown: the word `<unk>`, or -1; end: the word `</s>`, or -1.
    beginning: the state behind `<s>`.
    """

    arcs: Table
    prob: NDArray[np.float64]
    target: NDArray[np.int32]
    backoff: NDArray[np.float64]
    shorter: NDArray[np.int32]
    trie: Table
    opens: NDArray[np.int64]
    word: NDArray[np.int32]
    words: int
    symbols: int
    unknown: int
    end: int
    beginning: int


def word_tables(model: NGramModel, alphabet: Sequence[str]) -> WordTables:
    """Make the tables of a word model over V symbols of one character, blank first."""
    ids = {word: index for index, word in enumerate(model.vocabulary)}
    arcs = _table(sum(model.counts))
    states = 1 + sum(model.counts[:-1])
    prob = np.empty(sum(model.counts))
    target = np.empty(sum(model.counts), np.int32)
    backoff, shorter = np.zeros(states), np.zeros(states, np.int32)
    base = filled = 0
    for order, grams in enumerate(model.orders, 1):
        own = 1 if order == 1 else base + model.counts[order - 2]
        if order == model.order:
            own = NONE  # the longest n-grams are no states
        ends = filled + len(grams)
        prob[filled:ends] = grams.log10_prob * math.log(10)
        if own != NONE:
            backoff[own : own + len(grams)] = grams.log10_backoff * math.log(10)
        contexts = grams.context + base
        _link(arcs, target, shorter, contexts, grams.word, own, filled, len(ids))
        base, filled = own, ends
    unknown, begin = ids.get(UNK, -1), ids.get(BOS, -1)
    beginning = 1 + begin if begin >= 0 and model.order > 1 else 0
    trie, opens, word = _spelt(model.vocabulary, alphabet)
    return WordTables(
        *(arcs, prob, target, backoff, shorter, trie, opens, word, len(ids), len(alphabet)),
        *(unknown, ids.get(EOS, -1), beginning),
    )


def _table(entries: int) -> Table:
    size = 1 << max(2 * entries, 8).bit_length()
    return Table(np.full(size, -1, np.int64), np.zeros(size, np.int32))


def _spelt(
    words: Sequence[str], alphabet: Sequence[str]
) -> tuple[Table, NDArray[np.int64], NDArray[np.int32]]:
    """Make the trie of words; words with a symbol outside the alphabet count up to that symbol.

    So does pyctcdecode.
    """
    symbols = {symbol: index for index, symbol in enumerate(alphabet)}
    nodes: dict[int, int] = {}
    ends: dict[int, int] = {}
    for index, word in enumerate(words):
        if word in MARKS:
            continue
        node = 0
        for character in word:
            symbol = symbols.get(character, -1)
            if symbol < 0:
                break
            node = nodes.setdefault(node * len(alphabet) + symbol, len(nodes) + 1)
        else:
            ends[node] = index
    word_at = np.full(len(nodes) + 1, -1, np.int32)
    word_at[list(ends)] = list(ends.values())
    trie = _table(len(nodes))
    keys = np.fromiter(nodes, np.int64, len(nodes))
    _fill(trie, keys, np.arange(1, len(nodes) + 1))
    opens = np.zeros((len(nodes) + 1, len(alphabet) // 64 + 1), np.int64)
    from_node, by = np.divmod(keys, len(alphabet))
    np.bitwise_or.at(opens, (from_node, by >> 6), np.left_shift(1, by & 63))
    return trie, opens, word_at


@compiled_part
def find(table: Table, key: int) -> int:
    """The value of a key, or -1."""
    mask = table.keys.size - 1
    place = (key * _MIX >> 20) & mask
    while table.keys[place] != key:
        if table.keys[place] == -1:
            return -1
        place = (place + 1) & mask
    return table.values[place]


@compiled_part
def predict(tables: WordTables, state: int, word: int) -> tuple[float, int]:
    """Natural-log probability of a word (-1: unknown) in a state, and the next state."""
    if word < 0:
        word = tables.unknown
    log_prob = 0.0
    while True:
        arc = find(tables.arcs, state * tables.words + word) if word >= 0 else -1
        if arc >= 0:
            return log_prob + tables.prob[arc], tables.target[arc]
        if state == 0:
            return log_prob + NO_UNK * np.log(10.0), 0
        log_prob += tables.backoff[state]
        state = tables.shorter[state]


def word_of(tables: WordTables, symbols: Iterable[int]) -> int:
    """The word that symbols spell, or -1 if the model has none."""
    node = 0
    for symbol in symbols:
        node = find(tables.trie, node * tables.symbols + symbol)
        if node == NONE:
            return -1
    return int(tables.word[node])


@compiled_part
def _put(table: Table, key: int, value: int) -> None:
    mask = table.keys.size - 1
    place = (key * _MIX >> 20) & mask
    while table.keys[place] != -1:
        place = (place + 1) & mask
    table.keys[place], table.values[place] = key, value


@compiled
def _fill(table: Table, keys: NDArray[np.int64], values: NDArray[np.int64]) -> None:
    for i in range(keys.size):
        _put(table, keys[i], values[i])


@compiled
def _link(
    arcs: Table,
    target: NDArray[np.int32],
    shorter: NDArray[np.int32],
    contexts: NDArray[np.int64],
    words: NDArray[np.int64],
    own: int,
    first_arc: int,
    vocabulary: int,
) -> None:
    """Put the n-grams of an order into `arcs`, `target` and `shorter`, which hold those below.

    Contexts are (N,) states, words (N,) last words of a vocabulary of W; `own` is the state of the
    first of these n-grams, NONE for the highest order, `first_arc` the number of its arc.
    """
    for i in range(contexts.size):
        state, behind = contexts[i], 0
        while state != 0:
            state = shorter[state]
            arc = find(arcs, state * vocabulary + words[i])
            if arc >= 0:
                behind = target[arc]
                break
        if own != NONE:
            shorter[own + i] = behind
            behind = own + i
        _put(arcs, contexts[i] * vocabulary + words[i], first_arc + i)
        target[first_arc + i] = behind


class Weights(NamedTuple):
    """The weights of a search with words.

    alpha, beta: of the model, and the bonus of each word, natural log.
    unk_offset: of an unknown word, natural log and to be weighed by alpha.
    partial: cost of a partial word that begins no word, natural log.
    history: last words that tell hypotheses apart; 0 keeps all apart.
    boundary: whether the line is a sentence.
    """

    alpha: float
    beta: float
    unk_offset: float
    partial: float
    history: int
    boundary: bool


class Trie(NamedTuple):
    """All prefixes that were ever in the beam. Node 0 is the empty one."""

    parent: NDArray[np.int32]
    last: NDArray[np.int32]  # last symbol; of the empty prefix the space
    child: NDArray[np.int32]  # the youngest child; its siblings are chained
    sibling: NDArray[np.int32]
    place: NDArray[np.int32]  # where in the beam it stands now, or NONE
    length: NDArray[np.int32]  # symbols of its last word; 0 behind a space
    begin: NDArray[np.int32]  # the node in which that word begins
    part: NDArray[np.int32]  # where that word stands in the vocabulary's trie, or NONE
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
    """Allocate a trie of `size` nodes."""
    return Trie(
        ints(size), ints(size), ints(size), ints(size), ints(size), ints(size), ints(size),
        ints(size), ints(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size),
        np.empty(size), ints(size), np.empty(size, np.int64), np.empty(size, np.int64),
    )  # fmt: skip


@compiled_part
def plant(trie: Trie, tables: WordTables, weights: Weights, space: int) -> None:
    """Initialise a trie with the empty prefix."""
    trie.parent[ROOT] = trie.child[ROOT] = NONE
    trie.last[ROOT] = space
    trie.place[ROOT] = trie.length[ROOT] = trie.begin[ROOT] = trie.part[ROOT] = 0
    trie.state[ROOT] = tables.beginning if weights.boundary else 0
    trie.whole[ROOT] = trie.score[ROOT] = 0.0
    trie.spelling[ROOT] = trie.past[ROOT] = 1


@compiled_part
def partial_cost(weights: Weights, length: int) -> float:
    """The cost of a partial word that begins no word of the vocabulary."""
    if length > _USUAL_LENGTH:
        return weights.partial * length / _USUAL_LENGTH
    return weights.partial


@compiled_part
def score_word(trie: Trie, node: int, tables: WordTables, weights: Weights) -> tuple[float, int]:
    """Score a prefix's last word as a whole word; returns the state behind it too.

    A word without symbols counts as unknown.
    """
    part = trie.part[node]
    word = tables.word[part] if part != NONE else NONE
    log_prob, state = predict(tables, trie.state[node], word)
    if word == NONE:
        log_prob += weights.unk_offset
    return weights.alpha * log_prob + weights.beta, state


@compiled_part
def space_behind(trie: Trie, node: int, tables: WordTables, weights: Weights) -> None:
    """Score the last word of a prefix as ended by a space."""
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
    trie.part[node] = NONE
    if trie.part[parent] != NONE:
        trie.part[node] = find(tables.trie, trie.part[parent] * tables.symbols + symbol)
    trie.score[node], trie.factor[node] = trie.whole[node], 1.0
    if trie.part[node] == NONE:
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
    """Add a value to the 64-bit hash of a sequence."""
    mixed = (before ^ value) * _MIX + value
    return (mixed ^ (mixed >> 29)) * _OTHER
