"""Texts without ink that join the beam of a CTC search behind a gap, compiled by numba.

They begin as the hypotheses at the gap's beginning and grow by the language alone. To their mass
comes the likelihood of the gap's width with their letters and spaces, relative to what was read in
it (`decoders.ctc.gaps`), and the gap's cost; its frames count as blank or space for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled_part
from decoders.ctc.beam_kit import NONE, Beam, Candidates, Language, Trie, child, choose
from decoders.ctc.gaps import GapModel, density


class Texts(NamedTuple):
    """Hypotheses before a gap, and behind them those with one symbol more, two more, ..."""

    node: NDArray[np.int32]
    mass: NDArray[np.float64]
    letters: NDArray[np.int32]
    spaces: NDArray[np.int32]
    width: NDArray[np.float64]


@compiled_part
def begin(beam: Beam, kept: int, texts: Texts) -> int:
    """Note the hypotheses at the beginning of a gap as texts without a symbol; returns how many."""
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
    """Grow the hypotheses before a gap symbol by symbol, by the language without its bonus alone.

    The first `before` of `texts` are these hypotheses, and behind them the best of each round are
    written. Masses only fall, so those not above `floor` are left out. Returns the number of all,
    and of nodes.
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
    weight: float,
    pool: Candidates,
    beam_width: int,
    least: float,
) -> tuple[int, float]:
    """Add the texts of a gap to the beam.

    The first `before` of the `grown` texts are the hypotheses at the gap's beginning, which are in
    the beam already; `weight` is the mass of an empty gap of this width, its cost paid.
    Returns the beam's size, and the mass that it was divided by.
    """
    count = kept
    for k in range(kept):
        pool.source[k], pool.blank[k], pool.symbol[k] = beam.node[k], beam.blank[k], beam.symbol[k]
        pool.total[k] = beam.blank[k] + beam.symbol[k]
    for i in range(before, grown):
        if texts.letters[i] == 0:  # what the frames themselves say
            continue
        letters, spaces = texts.letters[i], texts.spaces[i]
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
    chosen, kept = choose(pool.order, pool.total, count, beam_width), 0
    for i in range(chosen):
        c = pool.order[i]
        if pool.total[c] > least * best:
            beam.node[kept] = pool.source[c]
            beam.blank[kept] = pool.blank[c] / best
            beam.symbol[kept] = pool.symbol[c] / best
            trie.place[pool.source[c]] = kept
            kept += 1
    return kept, best
