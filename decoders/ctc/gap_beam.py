"""CTC prefix beam search that may write characters where ink is lost, compiled by numba.

It is `prefix_beam.search`, and at the end of each gap texts without ink join the beam. They begin
as the hypotheses at the gap's beginning and grow by the language alone. To their mass comes the
likelihood of the gap's width with their letters and spaces, relative to what was read in it
(`decoders.ctc.gaps`), and the gap's cost; its frames count as blank or space for them. In a line
without gaps both searches do the same, number for number.
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
)
from decoders.ctc.gaps import MOST_GAPS, GapModel, Gaps, density, find
from decoders.ctc.prefix_beam import (
    Candidates,
    Language,
    Trie,
    child,
    extend,
    read,
    renew,
    rescale,
    stay,
    write,
)


class Texts(NamedTuple):
    """Hypotheses before a gap, and behind them those with one symbol more, two more, ..."""

    node: NDArray[np.int32]
    mass: NDArray[np.float64]
    letters: NDArray[np.int32]
    spaces: NDArray[np.int32]
    width: NDArray[np.float64]


@compiled
def search(
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    lines: NDArray[np.int64],
    bounds: tuple[float, float],
    language: Language,
    model: GapModel,
    beam_width: int,
    token_min_logp: float,
    prune: float,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> bool:
    """Search some lines of a batch, as `prefix_beam.search` does, with the `model` of gaps."""
    steps, width = log_probs.shape[1], log_probs.shape[2]
    most = model.letters + model.spaces
    size = (steps + MOST_GAPS * most) * beam_width + 1
    room = beam_width * (width + most + 1)
    trie = Trie(
        ints(size), ints(size), ints(size), np.empty(size), ints(size), ints(size), ints(size)
    )
    beam = Beam(ints(beam_width), np.empty(beam_width), np.empty(beam_width))
    pool = Candidates(
        ints(room), ints(room), np.empty(room), np.empty(room), np.empty(room), ints(room)
    )
    frame = Frame(np.empty(width), ints(width), np.empty((beam_width, width), np.int32))
    openings = Openings(ints(steps), ints(steps))
    gaps = Gaps(
        ints(MOST_GAPS), ints(MOST_GAPS), np.empty(MOST_GAPS), np.empty(MOST_GAPS),
        ints(steps), ints(steps), ints(steps), np.empty(steps),
    )  # fmt: skip
    written = beam_width * (most + 1)
    texts = Texts(ints(written), np.empty(written), ints(written), ints(written), np.empty(written))
    least = max(prune, NEGLIGIBLE)
    for line in lines:
        if not read_ahead(log_probs[line], frames[line], bounds, token_min_logp, openings):
            return False
        found = find(log_probs[line], frames[line], model, gaps)
        trie.parent[ROOT] = trie.last[ROOT] = trie.child[ROOT] = NONE
        trie.state[ROOT] = language.start
        trie.place[ROOT] = 0
        beam.node[0], beam.blank[0], beam.symbol[0] = ROOT, 1.0, 0.0
        frame.met[:] = NONE
        nodes, kept, log_scale = 1, 1, 0.0
        gap, before, log_then = 0, 0, 0.0
        for t in range(frames[line]):
            row = log_probs[line, t]
            if gap < found and gaps.end[gap] == t:
                grown, nodes = _grow(trie, nodes, language, model, before, pool, texts, beam_width)
                weight = np.exp(min(log_then - log_scale, 600.0)) / gaps.likelihood[gap]
                kept, best = _join(
                    trie, beam, kept, texts, before, grown, model, gaps.excess[gap], weight, pool,
                    beam_width, least,
                )  # fmt: skip
                log_scale += np.log(best)
                gap += 1
            if gap < found and gaps.begin[gap] == t:
                before, log_then = kept, log_scale
                for k in range(kept):
                    texts.node[k], texts.mass[k] = beam.node[k], beam.blank[k] + beam.symbol[k]
                    texts.letters[k] = texts.spaces[k] = 0
                    texts.width[k] = 0.0
            if gap < found and gaps.begin[gap] <= t:
                log_then += np.logaddexp(
                    np.float64(row[BLANK]), np.float64(row[model.space_symbol])
                )
            tokens = read(row, token_min_logp, openings.above[t], openings.place[t], frame)
            smallest, best = stay(t, row, trie, beam, kept, frame, pool)
            # In a full beam a candidate no better than all of these cannot survive.
            floor = smallest if kept == beam_width else 0.0
            count, best = extend(
                t, trie, beam, kept, frame, tokens, language, floor, best, least, pool
            )
            if count == kept and smallest > least * best:
                rescale(beam, kept, pool, best)
            else:
                chosen = choose(pool.order, pool.total, count, beam_width)
                kept, nodes = renew(trie, nodes, language, beam, kept, pool, chosen, best, least)
            log_scale += np.log(best)
        for k in range(kept):
            pool.total[k] = beam.blank[k] + beam.symbol[k]
            pool.total[k] *= language.final[trie.state[beam.node[k]]]
        write(trie, beam, kept, log_scale, pool, symbols[line], lengths[line], scores[line])
    return True


@compiled_part
def _grow(
    trie: Trie,
    nodes: int,
    language: Language,
    model: GapModel,
    before: int,
    pool: Candidates,
    texts: Texts,
    beam_width: int,
) -> tuple[int, int]:
    """Grow the hypotheses before a gap symbol by symbol, by the language alone.

    The first `before` of `texts` are these hypotheses, and behind them the best of each round are
    written. Returns the number of all, and of nodes.
    """
    first, last, space = 0, before, model.space_symbol
    for _ in range(model.letters + model.spaces):
        count = 0
        for k in range(first, last):
            node = texts.node[k]
            steps = language.steps[trie.state[node]]
            for symbol in range(1, steps.size):
                if symbol == space:
                    if texts.spaces[k] == model.spaces or trie.last[node] == space:
                        continue
                elif texts.letters[k] == model.letters:
                    continue
                pool.source[count], pool.added[count] = k, symbol
                pool.total[count] = texts.mass[k] * steps[symbol].factor
                count += 1
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
def _join(
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
    the beam already; `weight` is the mass of an empty gap that is as wide as this one.
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
        mass = texts.mass[i] * weight * np.exp(-model.cost - (letters + spaces) * model.bonus)
        mass *= density(model, excess, texts.width[i], letters, spaces)
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
