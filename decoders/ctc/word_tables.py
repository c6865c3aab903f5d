"""A word n-gram model and its vocabulary as hash tables that compiled code reads.

The model is an automaton: a state is the n-gram just read, an arc reads a word, and where a state
has no arc for a word, its back-off weight is paid and the next shorter state is asked. The
vocabulary is a trie over the symbols of an alphabet, which tells whether a part of a word can
still become one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from decoders.language.arpa import BOS, EOS, MARKS, UNK, NGramModel

NO_NODE = -1
_NO_UNK = -100.0  # KenLM's log10 probability of an unknown word where a model has no <unk>
_MIX = -7046029254386353131  # 2^64 / golden ratio, odd


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
    """The tables of a model, its words spelt in an alphabet.

    Args:
        model: a word model.
        alphabet: V symbols of one character each, "" (the blank) first.
    """
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
            own = NO_NODE  # the longest n-grams are no states
        ends = filled + len(grams)
        prob[filled:ends] = grams.log10_prob * math.log(10)
        if own != NO_NODE:
            backoff[own : own + len(grams)] = grams.log10_backoff * math.log(10)
        _link(
            arcs, target, shorter, grams.context + base, grams.word, own, filled, len(ids)
        )  # fmt: skip
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
    """The trie of words; of those that the alphabet cannot write, the part before the first such.

    pyctcdecode takes such a part for the beginning of a word too.
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
    """Natural log of the probability of a word (-1: unknown to the model) in a state; the next."""
    if word < 0:
        word = tables.unknown
    log_prob = 0.0
    while True:
        arc = find(tables.arcs, state * tables.words + word) if word >= 0 else -1
        if arc >= 0:
            return log_prob + tables.prob[arc], tables.target[arc]
        if state == 0:
            return log_prob + _NO_UNK * np.log(10.0), 0
        log_prob += tables.backoff[state]
        state = tables.shorter[state]


def word_of(tables: WordTables, symbols: Iterable[int]) -> int:
    """The word that symbols spell, or -1 for none of the model's."""
    node = 0
    for symbol in symbols:
        node = find(tables.trie, node * tables.symbols + symbol)
        if node == NO_NODE:
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
    """Put the n-grams of an order into the automaton, the orders below being in it.

    Args:
        arcs: written.
        target: written.
        shorter: written.
        contexts: (N,) states.
        words: (N,) last words.
        own: the state that the first of these n-grams is, or NO_NODE for the highest order.
        first_arc: the number of the first one's arc.
        vocabulary: W.
    """
    for i in range(contexts.size):
        state, found = contexts[i], 0
        while state != 0:
            state = shorter[state]
            arc = find(arcs, state * vocabulary + words[i])
            if arc >= 0:
                found = target[arc]
                break
        if own != NO_NODE:
            shorter[own + i] = found
            found = own + i
        _put(arcs, contexts[i] * vocabulary + words[i], first_arc + i)
        target[first_arc + i] = found
