"""Filling of gaps in the beam of a CTC search, compiled by numba.

The hypotheses at the beginning of a gap are copied and extended by the language model alone; at the
gap's end the extended texts join the beam. Their mass is multiplied by the likelihood of the gap's
width with their letters and spaces, relative to that of what was read in it (`decoders.ctc.gaps`),
and by the gap's cost. For them, each frame of the gap counts as blank or space.

Of a gap that an oracle knows, nothing is read: only filled hypotheses remain behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled_part
from decoders.ctc.beam_kit import NONE, Beam, Candidates, Language, Trie, child, choose, fill
from decoders.ctc.gaps import GapModel, density


class Texts(NamedTuple):
    """Hypotheses before a gap, then their continuations by one symbol, by two, and so on.

    node: of the prefix tree; mass: by frames before the gap and language model.
    letters, spaces, width: of the symbols added in the gap.
    """

    node: NDArray[np.int32]
    mass: NDArray[np.float64]
    letters: NDArray[np.int32]
    spaces: NDArray[np.int32]
    width: NDArray[np.float64]


@compiled_part
def begin(beam: Beam, kept: int, texts: Texts) -> int:
    """Copy the beam at the beginning of a gap into `texts`; returns their number."""
    for k in range(kept):
        texts.node[k], texts.mass[k] = beam.node[k], beam.blank[k] + beam.symbol[k]
        texts.letters[k] = texts.spaces[k] = 0
        texts.width[k] = 0.0
    return kept


@compiled_part
def heaviest(beam: Beam, kept: int) -> float:
    """The largest mass in the beam."""
    mass = 0.0
    for k in range(kept):
        mass = max(mass, beam.blank[k] + beam.symbol[k])
    return mass


@compiled_part
def grow(
    trie: Trie,
    nodes: int,
    language: Language,
    model: GapModel,
    before: int,
    pool: Candidates,
    texts: Texts,
    beam_width: int,
    floor: float,
) -> tuple[int, int]:
    """Extend the hypotheses before a gap symbol by symbol, by the language model without its bonus.

    The first `before` of `texts` are these hypotheses; the best extensions of each round are
    appended. A mass never rises, so texts at or below `floor` are dropped. Returns the number of
    texts and of nodes.
    """
    first, last, space = 0, before, model.space_symbol
    unpaid = np.exp(-model.bonus)
    for _ in range(model.letters + model.spaces):
        count = 0
        for k in range(first, last):
            if texts.mass[k] <= floor:
                continue
            node, mass = texts.node[k], texts.mass[k] * unpaid
            steps = language.steps[trie.state[node]]
            for symbol in range(1, steps.size):
                if symbol == space:
                    if texts.spaces[k] == model.spaces or trie.last[node] == space:
                        continue
                elif texts.letters[k] == model.letters:
                    continue
                grown = mass * steps[symbol].factor
                if grown > floor:
                    pool.source[count], pool.added[count] = k, symbol
                    pool.total[count] = grown
                    count += 1
        if count == 0:
            break
        chosen = choose(pool.order, pool.total, count, beam_width)
        first = last
        for i in range(chosen):
            c = pool.order[i]
            k, symbol = pool.source[c], pool.added[c]
            node, nodes = child(trie, nodes, language, texts.node[k], symbol)
            texts.node[last], texts.mass[last] = node, pool.total[c]
            texts.letters[last] = texts.letters[k] + (symbol != space)
            texts.spaces[last] = texts.spaces[k] + (symbol == space)
            texts.width[last] = texts.width[k] + model.widths[symbol]
            last += 1
    return last, nodes


@compiled_part
def join(
    trie: Trie,
    beam: Beam,
    kept: int,
    texts: Texts,
    before: int,
    grown: int,
    model: GapModel,
    excess: float,
    characters: int,
    weight: float,
    pool: Candidates,
    beam_width: int,
    least: float,
) -> tuple[int, float]:
    """Add the texts of a gap to the beam.

    The first `before` of the `grown` texts are the hypotheses at the gap's beginning, which are in
    the beam already; `weight` is the mass of an empty gap of this width, its cost paid;
    `characters` as in `Gaps`. Returns the beam's size, and the mass that it was divided by.
    """
    count = kept
    for k in range(kept):
        pool.source[k], pool.blank[k], pool.symbol[k] = beam.node[k], beam.blank[k], beam.symbol[k]
        pool.total[k] = beam.blank[k] + beam.symbol[k]
    if characters:
        count = 0
        for k in range(kept):
            trie.place[beam.node[k]] = NONE
    for i in range(before, grown):
        letters, spaces = texts.letters[i], texts.spaces[i]
        if letters == 0:  # what the frames themselves say
            continue
        if characters > 0 and letters + spaces != characters:
            continue
        mass = texts.mass[i] * weight * density(model, excess, texts.width[i], letters, spaces)
        place = trie.place[texts.node[i]]
        if place == NONE:
            place, count = count, count + 1
            trie.place[texts.node[i]] = place
            pool.source[place], pool.symbol[place] = texts.node[i], 0.0
            pool.blank[place] = pool.total[place] = 0.0
        pool.blank[place] += mass
        pool.total[place] += mass
    best = 0.0
    for c in range(count):
        trie.place[pool.source[c]] = NONE
        best = max(best, pool.total[c])
    if best <= 0.0:  # no text fits what the oracle knows
        for k in range(kept):
            trie.place[beam.node[k]] = k
        return kept, 1.0
    chosen = choose(pool.order, pool.total, count, beam_width)
    return fill(trie, beam, pool, chosen, best, least), best
