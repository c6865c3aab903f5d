"""Parts of the compiled CTC searches over plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part, compiled_sum
from bench.core.types import BLANK
from decoders.ctc.base import TOLERANCE

_LOG2_E = 1.4426950408889634
NONE = -1  # no symbol, no node, no place
ROOT = 0  # the node of the empty prefix
# Masses below this share of their frame's best are dropped, before they become denormal numbers,
# which are slow. Beams on real encoders do not reach them.
NEGLIGIBLE = 1e-200


class Beam(NamedTuple):
    """The prefixes in the beam, at most K.

    blank, symbol: mass of the paths that end in a blank, or in the last symbol; 0 without any.
    """

    node: NDArray[np.int32]
    blank: NDArray[np.float64]
    symbol: NDArray[np.float64]


STEP = np.dtype([("factor", np.float32), ("following", np.int32)])  # of a `Language`


class Language(NamedTuple):
    """The factor of each symbol, L states of the language by V symbols.

    steps: (L, V) of `STEP`: the factor of a prefix in a state when a symbol opens a new one, and
        the state of that one. Side by side, since the tables exceed the CPU's caches and are read
        in random order.
    final: (L,) the factor of a prefix at the end of the line.
    start: the state of the empty prefix.
    largest: the largest factor of `steps`.
    """

    steps: NDArray[np.void]
    final: NDArray[np.float32]
    start: int
    largest: float


class Trie(NamedTuple):
    """All prefixes that were ever in the beam. Node 0 is the empty one."""

    parent: NDArray[np.int32]
    last: NDArray[np.int32]  # last symbol
    state: NDArray[np.int32]  # of the language
    factor: NDArray[np.float64]  # of the language for its last symbol
    child: NDArray[np.int32]  # the youngest child; its siblings are chained
    sibling: NDArray[np.int32]
    place: NDArray[np.int32]  # where in the beam it stands now, or NONE


class Candidates(NamedTuple):
    """Candidates for the beam of a frame: its prefixes as they are, then new ones."""

    source: NDArray[np.int32]  # place in the beam
    added: NDArray[np.int32]  # the symbol that opens a new prefix, or NONE
    blank: NDArray[np.float64]
    symbol: NDArray[np.float64]
    total: NDArray[np.float64]
    order: NDArray[np.int32]


@compiled
def ints(size: int) -> NDArray[np.int32]:
    """Allocate `size` numbers."""
    return np.empty(size, np.int32)


class Frame(NamedTuple):
    """The probabilities of one frame."""

    probability: NDArray[np.float64]  # (V,), filled for the symbols used so far
    tokens: NDArray[np.int32]  # the symbols that may open a new prefix, the blank apart
    met: NDArray[np.int32]  # (K, V) frame in which that extension met a prefix of the beam


class Openings(NamedTuple):
    """Counts of the symbols that may open a prefix, for each frame of a line.

    above: how many symbols are not below the threshold, the blank apart.
    place: the sum of their indices, which is the index where there is one.
    """

    above: NDArray[np.int32]
    place: NDArray[np.int32]


@compiled_part
def read_ahead(
    log_probs: NDArray[np.float32],
    frames: int,
    token_min_logp: float,
    openings: Openings,
) -> bool:
    """Read all frames of a line in one sequential pass before it is searched.

    The search reads frames in random order and would wait for memory; this brings them into a CPU
    cache.

    `log_probs` are the (T, V) of a line, `frames` of them valid; `token_min_logp` is exact in
    float32. Writes `openings`, (T,). Returns False where the probabilities of a frame do not sum
    to 1, or one is NaN.
    """
    least = np.float32(token_min_logp)
    sound = True
    for t in range(frames):
        row = log_probs[t]
        above, place = np.int32(0), np.int32(0)
        for symbol in range(row.size):  # by index and in whole numbers: this becomes vector code
            opens = np.int32(row[symbol] >= least)
            above += opens
            place += -opens & np.int32(symbol)  # to which the blank adds 0
        openings.above[t] = above - np.int32(row[BLANK] >= least)
        openings.place[t] = place
        sound = sound and _sums_to_one(row)
    return sound


@compiled_part
def _sums_to_one(row: NDArray[np.float32]) -> bool:
    """Check the probabilities of a frame, most frames by their rough sum alone.

    In a frame that is sure of its symbol the rough sum is nearly exact.
    """
    rough = _rough_sum(row)  # between the sum and 1.062 times the sum
    if np.float32(0.99) <= rough <= np.float32(1.05):
        return True
    # With a slack for rounding, so that `check_frames` refuses whatever is refused here.
    return bool(abs(_sum(row) - np.float32(1)) <= np.float32(TOLERANCE + 1e-3))


@compiled_sum
def _rough_sum(row: NDArray[np.float32]) -> np.float32:
    """Sum exponentials, each a straight line between two powers of 2; NaN counts as 2.

    Source: N. Schraudolph 1999, "A fast, compact approximation of the exponential function".
    """
    scale, offset = np.float32(_LOG2_E * 2**23), np.float32(127 * 2**23)
    total, most = np.float32(0), np.float32(128 * 2**23)
    for symbol in range(row.size):
        bits = row[symbol] * scale + offset
        bits = bits if bits < most else most  # NaN too
        bits = bits if bits > np.float32(0) else np.float32(0)
        total += np.int32(bits).view(np.float32)
    return total


@compiled_sum
def _sum(row: NDArray[np.float32]) -> np.float32:
    """Sum exponentials with an error below 1e-4 of the sum; NaN counts as 2.

    The library's exponential is no vector code, and takes several times as long.
    """
    total, most = np.float32(0), np.float32(128)
    a, b, c = np.float32(0.69511625), np.float32(0.22764742), np.float32(0.07706482)
    for symbol in range(row.size):
        power = row[symbol] * np.float32(_LOG2_E) + np.float32(127)
        power = power if power < most else most  # NaN too
        power = power if power > np.float32(0) else np.float32(0)
        whole = np.int32(power)
        f = power - np.float32(whole)
        mantissa = np.float32(1) + f * (a + f * (b + f * c))  # 2 ** f, fitted
        total += mantissa * np.int32(whole << 23).view(np.float32)
    return total


@compiled
def all_sound(log_probs: NDArray[np.float32], frames: NDArray[np.int64]) -> bool:
    """Check all lines of a batch by `read_ahead`: log_probs (B, T, V), frames (B,)."""
    openings = Openings(ints(log_probs.shape[1]), ints(log_probs.shape[1]))
    for line in range(len(frames)):
        if not read_ahead(log_probs[line], frames[line], 0.0, openings):
            return False
    return True


@compiled_part
def tokens_of(
    row: NDArray[np.float32],
    token_min_logp: float,
    above: int,
    place: int,
    tokens: NDArray[np.int32],
) -> int:
    """Write the symbols not below a threshold, or else the likeliest one, without the blank.

    `row` has the (V,) log-probabilities of a frame, `above` and `place` its `Openings`. Returns how
    many `tokens` were written.
    """
    if above == 1:  # in nine frames of ten that have any
        tokens[0] = place
    elif above > 1:
        _write_above(row, token_min_logp, tokens)
    elif row[BLANK] < token_min_logp:
        tokens[0] = row.argmax()
        return int(tokens[0] != BLANK)
    return above


@compiled_part
def _write_above(row: NDArray[np.float32], least: float, tokens: NDArray[np.int32]) -> None:
    """Write the symbols not below a threshold, without the blank."""
    count = 0
    for symbol in range(BLANK + 1, row.size):
        if row[symbol] >= least:
            tokens[count] = symbol
            count += 1


@compiled_part
def choose(
    order: NDArray[np.int32], total: NDArray[np.float64], count: int, beam_width: int
) -> int:
    """Bring the best K candidates to the front of `order` (quickselect); returns how many."""
    for i in range(count):
        order[i] = i
    if count <= beam_width:
        return count
    low, high = 0, count - 1
    while low < high:
        pivot = total[order[(low + high) // 2]]
        i, j = low, high
        while i <= j:
            while total[order[i]] > pivot:
                i += 1
            while total[order[j]] < pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if beam_width - 1 <= j:
            high = j
        elif beam_width - 1 >= i:
            low = i
        else:
            break
    return beam_width


@compiled_part
def fill(trie: Trie, beam: Beam, pool: Candidates, chosen: int, best: float, least: float) -> int:
    """Move the chosen candidates, whose `source` is their node, to the beam; returns its size.

    Masses are divided by `best`; candidates below the share `least` of it are dropped.
    """
    kept = 0
    for i in range(chosen):
        c = pool.order[i]
        if pool.total[c] > least * best:
            beam.node[kept] = pool.source[c]
            beam.blank[kept] = pool.blank[c] / best
            beam.symbol[kept] = pool.symbol[c] / best
            trie.place[pool.source[c]] = kept
            kept += 1
    return kept


@compiled_part
def spell(
    parent: NDArray[np.int32], last: NDArray[np.int32], node: int, symbols: NDArray[np.int32]
) -> int:
    """Write the symbols of a prefix, first to last; returns how many there are."""
    length, walk = 0, node
    while walk != ROOT:
        length, walk = length + 1, parent[walk]
    for i in range(length - 1, -1, -1):
        symbols[i], node = last[node], parent[node]
    return length


@compiled_part
def child(trie: Trie, nodes: int, language: Language, parent: int, symbol: int) -> tuple[int, int]:
    """Get or make the prefix with one more symbol; returns the node count too."""
    node = trie.child[parent]
    while node != NONE:
        if trie.last[node] == symbol:
            return node, nodes
        node = trie.sibling[node]
    trie.parent[nodes], trie.last[nodes], trie.child[nodes] = parent, symbol, NONE
    step = language.steps[trie.state[parent], symbol]
    trie.state[nodes], trie.factor[nodes] = step.following, step.factor
    trie.place[nodes] = NONE
    trie.sibling[nodes], trie.child[parent] = trie.child[parent], nodes
    return nodes, nodes + 1
