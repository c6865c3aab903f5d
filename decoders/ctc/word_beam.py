"""CTC beam search with a word n-gram in pyctcdecode's semantics, compiled by numba.

Source: pyctcdecode 0.5.0, https://github.com/kensho-technologies/pyctcdecode, `_decode_logits`,
whose texts and scores this search reproduces. Its hypothesis is a text, the partial word behind it,
and whether the last frame was a blank; so a prefix takes up to two places of the beam. A word is
scored by the model once a space ends it; until then a partial word that begins no word costs. Of
hypotheses that later frames cannot tell apart only the best is kept.

Masses are probabilities times the factors of the language, divided by the largest of their frame,
as in `decoders.ctc.prefix_beam`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from bench.core.types import BLANK
from decoders.ctc.beam_kit import (
    NEGLIGIBLE,
    NONE,
    ROOT,
    Beam,
    Frame,
    Openings,
    choose,
    ints,
    read_ahead,
    spell,
    tokens_of,
)
from decoders.ctc.word_tables import (
    LEAST_LOG,
    Trie,
    Weights,
    WordTables,
    end_word,
    lengthen_word,
    mix,
    new_trie,
    partial_cost,
    plant,
    predict,
    score_word,
    space_behind,
)

_IN_BLANK, _IN_SYMBOL = 0, 1
_CLIP = 1e-15  # pyctcdecode's least probability of a symbol


class _Candidates(NamedTuple):
    """Hypotheses that a frame makes from the beam."""

    source: NDArray[np.int32]  # place in the beam, later the node
    added: NDArray[np.int32]  # the symbol that opens a new prefix, or NONE
    ending: NDArray[np.int32]  # _IN_BLANK or _IN_SYMBOL
    mass: NDArray[np.float64]
    order: NDArray[np.int32]


class _Parts(NamedTuple):
    """Factors of the mass for a longer partial word that begins no word of the vocabulary.

    entering, staying: by its new length; the word left the vocabulary now, or before.
    largest: of them and of 1, the factor of a partial word that begins a word.
    """

    entering: NDArray[np.float64]
    staying: NDArray[np.float64]
    largest: float


class _Histories(NamedTuple):
    """Hash table of a frame's hypotheses by the history that later words depend on."""

    key: NDArray[np.int64]
    best: NDArray[np.int32]  # the candidate, or NONE


@compiled
def search_words(
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    lines: NDArray[np.int64],
    tables: WordTables,
    weights: Weights,
    space: int,
    beam_width: int,
    token_min_logp: float,
    prune: float,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> bool:
    """Search some lines of a batch; arguments and result are those of `prefix_beam.search`.

    The language is the model's `tables` with their `weights` and the symbol `space` between words.
    A symbol below `token_min_logp` is skipped in that frame, unless it is the likeliest.
    """
    steps, width = log_probs.shape[1], log_probs.shape[2]
    trie = new_trie(steps * beam_width + 1)
    beam = Beam(ints(beam_width), np.empty(beam_width), np.empty(beam_width))
    room = beam_width * (width + 2)
    pool = _Candidates(ints(room), ints(room), ints(room), np.empty(room), ints(room))
    frame = Frame(np.empty(width), ints(width), np.empty((beam_width, width), np.int32))
    size = 8
    while size < 4 * beam_width:
        size *= 2
    histories = _Histories(np.empty(size, np.int64), ints(size))
    parts = _part_factors(weights, steps + 2)
    openings = Openings(ints(steps), ints(steps))
    least = max(prune, NEGLIGIBLE)
    for line in lines:
        if not read_ahead(log_probs[line], frames[line], token_min_logp, openings):
            return False
        plant(trie, tables, weights, space)
        beam.node[0], beam.blank[0], beam.symbol[0] = ROOT, 1.0, 0.0
        frame.met[:] = NONE
        frame.probability[:] = 0.0
        nodes, kept, log_scale, tokens = 1, 1, 0.0, 0
        for t in range(frames[line]):
            before = tokens
            above, place = openings.above[t], openings.place[t]
            tokens = _read(log_probs[line, t], token_min_logp, above, place, before, frame)
            if t > 0 and before == tokens == 0:  # a second blank changes nothing
                log_scale += np.log(frame.probability[BLANK])
                continue
            count = _stay(t, trie, beam, kept, frame, pool)
            count, best = _extend(
                t, trie, beam, kept, frame, tokens, tables, weights, parts, space, count,
                beam_width, least, pool,
            )  # fmt: skip
            chosen = choose(pool.order, pool.mass, count, beam_width)
            nodes = _grow(trie, nodes, tables, weights, space, beam, pool, chosen, best, least)
            if weights.history:
                _forget(trie, pool, chosen, histories)
            kept = _renew(trie, beam, kept, pool, chosen, best, least)
            log_scale += np.log(best)
        _finish(
            trie, beam, kept, log_scale, tables, weights, prune, beam_width, frames[line],
            symbols[line], lengths[line], scores[line],
        )  # fmt: skip
    return True


@compiled
def _part_factors(weights: Weights, size: int) -> _Parts:
    entering, staying = np.ones(size), np.ones(size)
    for length in range(1, size):
        cost = partial_cost(weights, length)
        entering[length] = np.exp(max(cost, LEAST_LOG))
        if length > 1:
            staying[length] = np.exp(max(cost - partial_cost(weights, length - 1), LEAST_LOG))
    return _Parts(entering, staying, max(1.0, entering.max(), staying.max()))


@compiled_part
def _read(
    row: NDArray[np.float32],
    token_min_logp: float,
    above: int,
    place: int,
    before: int,
    frame: Frame,
) -> int:
    """Begin a frame after one of `before` tokens; returns its number of tokens."""
    for token in range(before):
        frame.probability[frame.tokens[token]] = 0.0
    count = tokens_of(row, token_min_logp, above, place, frame.tokens)
    for token in range(count):
        symbol = frame.tokens[token]
        frame.probability[symbol] = max(np.exp(np.float64(row[symbol])), _CLIP)
    frame.probability[BLANK] = 0.0
    if row[BLANK] >= token_min_logp or count == 0:
        frame.probability[BLANK] = max(np.exp(np.float64(row[BLANK])), _CLIP)
    return count


@compiled_part
def _stay(t: int, trie: Trie, beam: Beam, kept: int, frame: Frame, pool: _Candidates) -> int:
    """Keep prefixes as they are: a blank, the last symbol again, or their parent grown into them.

    Returns the number of hypotheses.
    """
    count = 0
    for k in range(kept):
        node = beam.node[k]
        both, symbol = beam.blank[k] + beam.symbol[k], trie.last[node]
        # A space after a space changes nothing, with a blank between or without.
        grown = beam.symbol[k] if trie.length[node] else both
        if node != ROOT:
            parent = trie.parent[node]
            shorter = trie.place[parent]
            if shorter != NONE:
                frame.met[shorter, symbol] = t
                mass = beam.blank[shorter]
                if trie.last[parent] != symbol:  # else only a blank separates the two
                    mass += beam.symbol[shorter]
                grown += mass * trie.factor[node]
        masses = (both * frame.probability[BLANK], grown * frame.probability[symbol])
        for ending in range(2):
            if masses[ending] > 0.0:
                pool.source[count], pool.added[count] = k, NONE
                pool.ending[count], pool.mass[count] = ending, masses[ending]
                count += 1
    return count


@compiled_part
def _extend(
    t: int,
    trie: Trie,
    beam: Beam,
    kept: int,
    frame: Frame,
    tokens: int,
    tables: WordTables,
    weights: Weights,
    parts: _Parts,
    space: int,
    count: int,
    beam_width: int,
    least: float,
    pool: _Candidates,
) -> tuple[int, float]:
    """Open new prefixes that can survive; called with the `count` that stay.

    Returns the number of all candidates and the largest of all masses.
    """
    smallest, best = np.inf, 0.0
    for i in range(count):
        smallest, best = min(smallest, pool.mass[i]), max(best, pool.mass[i])
    floor = best * least
    if count >= beam_width:  # a candidate no better than these cannot survive
        floor = max(floor, smallest)
    for k in range(kept):
        node = beam.node[k]
        blank, both = beam.blank[k], beam.blank[k] + beam.symbol[k]
        own, length, part = trie.last[node], trie.length[node], trie.part[node]
        entering, staying = parts.entering[length + 1], parts.staying[length + 1]
        for token in range(tokens):
            symbol = frame.tokens[token]
            mass = (blank if symbol == own else both) * frame.probability[symbol]
            if symbol == space:
                if length == 0 or frame.met[k, symbol] == t:
                    continue
                if np.isnan(trie.spaced[node]):
                    space_behind(trie, node, tables, weights)
                mass *= trie.spaced[node]
            else:
                if mass * parts.largest <= floor or frame.met[k, symbol] == t:
                    continue
                if part == NONE:
                    mass *= staying
                elif not tables.opens[part, symbol >> 6] >> (symbol & 63) & 1:
                    mass *= entering
            if mass > floor:
                pool.source[count], pool.added[count] = k, symbol
                pool.ending[count], pool.mass[count] = _IN_SYMBOL, mass
                count += 1
                if mass > best:
                    best = mass
                    floor = max(floor, best * least)
    return count, best


@compiled_part
def _grow(
    trie: Trie,
    nodes: int,
    tables: WordTables,
    weights: Weights,
    space: int,
    beam: Beam,
    pool: _Candidates,
    chosen: int,
    best: float,
    least: float,
) -> int:
    """Make the nodes of the chosen candidates; `source` becomes the node. Returns the count."""
    for i in range(chosen):
        c = pool.order[i]
        node, symbol = beam.node[pool.source[c]], pool.added[c]
        if symbol != NONE and pool.mass[c] >= least * best:
            parent, node = node, trie.child[node]
            while node != NONE and trie.last[node] != symbol:
                node = trie.sibling[node]
            if node == NONE:
                node, nodes = nodes, nodes + 1
                trie.parent[node], trie.last[node], trie.child[node] = parent, symbol, NONE
                trie.sibling[node], trie.child[parent] = trie.child[parent], node
                trie.place[node], trie.spaced[node] = NONE, np.nan
                if symbol == space:
                    end_word(trie, node, weights)
                else:
                    lengthen_word(trie, node, tables, weights)
        pool.source[c] = node
    return nodes


@compiled_part
def _forget(trie: Trie, pool: _Candidates, chosen: int, histories: _Histories) -> None:
    """Zero the mass of all but the best of candidates that later frames cannot tell apart."""
    mask = histories.key.size - 1
    histories.best[:] = NONE
    for i in range(chosen):
        c = pool.order[i]
        node = pool.source[c]
        part = trie.spelling[node] if trie.length[node] else 0
        key = mix(mix(trie.past[trie.begin[node]], part), pool.ending[c])
        place = (key >> 20) & mask
        while histories.best[place] != NONE and histories.key[place] != key:
            place = (place + 1) & mask
        other = histories.best[place]
        if other == NONE or pool.mass[other] < pool.mass[c]:
            histories.key[place], histories.best[place] = key, c
            if other != NONE:
                pool.mass[other] = 0.0
        else:
            pool.mass[c] = 0.0


@compiled_part
def _renew(
    trie: Trie,
    beam: Beam,
    kept: int,
    pool: _Candidates,
    chosen: int,
    best: float,
    least: float,
) -> int:
    """Move the chosen candidates to the beam, masses divided by the largest; returns its size."""
    for k in range(kept):
        trie.place[beam.node[k]] = NONE
    kept = 0
    for i in range(chosen):
        c = pool.order[i]
        if pool.mass[c] < least * best:
            continue
        node = pool.source[c]
        place = trie.place[node]
        if place == NONE:
            place, kept = kept, kept + 1
            trie.place[node] = place
            beam.node[place], beam.blank[place], beam.symbol[place] = node, 0.0, 0.0
        if pool.ending[c] == _IN_BLANK:
            beam.blank[place] = pool.mass[c] / best
        else:
            beam.symbol[place] = pool.mass[c] / best
    return kept


@compiled
def _finish(
    trie: Trie,
    beam: Beam,
    kept: int,
    log_scale: float,
    tables: WordTables,
    weights: Weights,
    prune: float,
    beam_width: int,
    frames: int,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """End the last words of a line's hypotheses, and write the best texts.

    A text with and without a final space is one text now. pyctcdecode scores it as the worse of the
    two; with the space, that includes an unknown word without symbols.
    """
    lengths[:] = NONE
    if frames == 0:
        lengths[0], scores[0] = 0, 0.0
        return
    texts, total = ints(kept), np.full(kept, -np.inf)
    worst, ends = np.full(kept, np.inf), np.empty(kept)
    count = 0
    for k in range(kept):
        trie.place[beam.node[k]] = NONE
    for k in range(kept):
        node = beam.node[k]
        text = node if trie.length[node] or node == ROOT else trie.parent[node]
        place = trie.place[text]
        if place == NONE:
            place, count = count, count + 1
            trie.place[text], texts[place] = place, text
        mass = min(beam.blank[k], beam.symbol[k])
        if mass == 0.0:  # only one of the two is there
            mass = max(beam.blank[k], beam.symbol[k])
        if mass < worst[place]:
            worst[place] = mass
            score, state = score_word(trie, node, tables, weights)
            ends[place] = trie.whole[node] + score
            if weights.boundary:
                ends[place] += weights.alpha * predict(tables, state, tables.end)[0]
        alone = np.log(beam.blank[k] + beam.symbol[k]) - trie.score[node]  # without the model
        least, most = min(alone, total[place]), max(alone, total[place])
        total[place] = most + np.log1p(np.exp(least - most))
    for i in range(count):
        trie.place[texts[i]] = NONE
        total[i] += log_scale + ends[i]
    order = np.argsort(-total[:count])
    for rank in range(min(lengths.size, count, beam_width)):
        best = order[rank]
        if total[best] >= total[order[0]] + np.log(prune):
            scores[rank] = total[best]
            lengths[rank] = spell(trie.parent, trie.last, texts[best], symbols[rank])
