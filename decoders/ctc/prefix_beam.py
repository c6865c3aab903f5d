"""CTC prefix beam search with or without a language model, compiled by numba.

A hypothesis is a prefix (a text) with two masses: of the paths that end in a blank, and of those
that end in its last symbol. Prefixes are nodes of a trie, so that paths to one prefix meet in one
node and their masses are added exactly. Masses are plain probabilities divided by the largest of
their frame (the logarithms of the divisors are summed): the inner loops need no logarithm. A
language is a table of factors on a prefix's masses; a factor depends on prefix and symbol alone, so
merging stays exact.

Sources: Graves & Jaitly 2014, "Towards end-to-end speech recognition with recurrent neural
networks", algorithm 1; Hannun et al. 2014, "First-pass large vocabulary continuous speech
recognition using bi-directional recurrent DNNs" (arXiv:1408.2873), algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from bench.core.types import BLANK
from decoders.ctc.beam_kit import (
    NEGLIGIBLE,
    NONE,
    ROOT,
    STEP,
    Beam,
    Candidates,
    Frame,
    Language,
    Openings,
    Trie,
    child,
    choose,
    fill,
    ints,
    read_ahead,
    spell,
    tokens_of,
)
from decoders.ctc.gap_beam import Texts, begin, grow, heaviest, join
from decoders.ctc.gaps import MOST_GAPS, GapModel, Gaps, find, highest, inkless, place


def no_gaps(symbols: int) -> GapModel:
    """A model over V symbols that finds no gaps."""
    known = np.zeros((0, 0, 3))
    return GapModel(np.ones(symbols), (1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 0, 0, BLANK, known)


def no_language(symbols: int) -> Language:
    """Factors of 1 for all texts over V symbols."""
    return Language(np.array([[(1.0, 0)] * symbols], STEP), np.ones(1, np.float32), 0, 1.0)


@compiled
def search(
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    lines: NDArray[np.int64],
    language: Language,
    model: GapModel,
    beam_width: int,
    token_min_logp: float,
    prune: float,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> bool:
    """Search some lines of a batch. Threads may share the arrays when their lines differ.

    Args:
        log_probs: (B, T, V) natural log.
        frames: (B,) valid frames.
        lines: indices of the lines to search.
        language: factors of the texts.
        model: of gaps, whose fillings join the beam behind them; without letters none is found.
        beam_width: K, prefixes kept after each frame.
        token_min_logp: a symbol below it opens no new prefix in that frame, unless it is the
            likeliest; prefixes of the beam receive all their mass in any case.
        prune: prefixes below this share of the best one's mass are dropped; 0 drops none.
        symbols: (B, N, T), written: the N best prefixes, best first.
        lengths: (B, N), written: their lengths; -1 where there are fewer than N.
        scores: (B, N), written: natural log of their masses.

    Returns:
        False as soon as the probabilities of a frame do not sum to 1.
    """
    steps, width = log_probs.shape[1], log_probs.shape[2]
    most, gaps_at_most = model.letters + model.spaces, MOST_GAPS * (model.letters > 0)
    size = (steps + gaps_at_most * most) * beam_width + 1  # a frame adds at most K nodes
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
        ints(MOST_GAPS), ints(steps), ints(steps), ints(steps), np.empty(steps),
    )  # fmt: skip
    written = beam_width * (most + 1)
    texts = Texts(ints(written), np.empty(written), ints(written), ints(written), np.empty(written))
    least = max(prune, NEGLIGIBLE)
    for line in lines:
        if not read_ahead(log_probs[line], frames[line], token_min_logp, openings):
            return False
        found = 0
        if len(model.known):
            found = place(log_probs[line], frames[line], model.known[line], model, gaps)
        elif model.letters:
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
                characters = gaps.characters[gap]
                cost = 0.0 if characters else model.cost
                weight = np.exp(min(log_then - log_scale - cost, 600.0))
                weight /= gaps.likelihood[gap]
                floor = 0.0
                if not characters:
                    floor = least * heaviest(beam, kept) / (weight * highest(model))
                grown, nodes = grow(
                    trie, nodes, language, model, before, pool, texts, beam_width, floor
                )
                kept, best = join(
                    trie, beam, kept, texts, before, grown, model, gaps.excess[gap], characters,
                    weight, pool, beam_width, least,
                )  # fmt: skip
                log_scale += np.log(best)
                gap += 1
            if gap < found and gaps.begin[gap] == t:
                before, log_then = begin(beam, kept, texts), log_scale
            if gap < found and gaps.begin[gap] <= t:
                log_then += inkless(row, model)
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
def read(
    row: NDArray[np.float32], token_min_logp: float, above: int, place: int, frame: Frame
) -> int:
    """Begin a frame; returns how many symbols may open a new prefix."""
    frame.probability[:] = -1.0
    frame.probability[BLANK] = np.exp(np.float64(row[BLANK]))
    count = tokens_of(row, token_min_logp, above, place, frame.tokens)
    for token in range(count):
        symbol = frame.tokens[token]
        frame.probability[symbol] = np.exp(np.float64(row[symbol]))
    return count


@compiled_part
def stay(
    t: int,
    row: NDArray[np.float32],
    trie: Trie,
    beam: Beam,
    kept: int,
    frame: Frame,
    pool: Candidates,
) -> tuple[float, float]:
    """Keep prefixes as they are: a blank, the last symbol again, or their parent grown into them.

    Returns the smallest and the largest of their masses.
    """
    smallest, largest = np.inf, 0.0
    for k in range(kept):
        node = beam.node[k]
        blank = (beam.blank[k] + beam.symbol[k]) * frame.probability[BLANK]
        grown = 0.0
        if node != ROOT:
            symbol = trie.last[node]
            if frame.probability[symbol] < 0.0:
                frame.probability[symbol] = np.exp(np.float64(row[symbol]))
            parent = trie.parent[node]
            shorter = trie.place[parent]
            if shorter != NONE:
                frame.met[shorter, symbol] = t
                grown = beam.blank[shorter]
                if trie.last[parent] != symbol:  # else only a blank separates the two
                    grown += beam.symbol[shorter]
                grown *= trie.factor[node]
            grown = (grown + beam.symbol[k]) * frame.probability[symbol]
        total = blank + grown
        pool.source[k], pool.added[k] = k, NONE
        pool.blank[k], pool.symbol[k], pool.total[k] = blank, grown, total
        smallest, largest = min(smallest, total), max(largest, total)
    return smallest, largest


@compiled_part
def extend(
    t: int,
    trie: Trie,
    beam: Beam,
    kept: int,
    frame: Frame,
    tokens: int,
    language: Language,
    floor: float,
    best: float,
    least: float,
    pool: Candidates,
) -> tuple[int, float]:
    """Open new prefixes with masses above `floor` that can survive.

    Returns the number of all candidates and the largest of all masses.
    """
    count = kept
    floor = max(floor, best * least)
    for k in range(kept):
        both = beam.blank[k] + beam.symbol[k]
        node = beam.node[k]
        own = trie.last[node]
        own_steps = language.steps[trie.state[node]]
        for token in range(tokens):
            symbol = frame.tokens[token]
            mass = (beam.blank[k] if symbol == own else both) * frame.probability[symbol]
            # Skip most table reads, the largest cost here: most candidates fail with any factor.
            if mass * language.largest <= floor or frame.met[k, symbol] == t:
                continue
            mass *= own_steps[symbol].factor
            if mass > floor:
                pool.source[count], pool.added[count] = k, symbol
                pool.blank[count], pool.symbol[count], pool.total[count] = 0.0, mass, mass
                count += 1
                if mass > best:
                    best = mass
                    floor = max(floor, best * least)
    return count, best


@compiled_part
def rescale(beam: Beam, kept: int, pool: Candidates, best: float) -> None:
    """Rescale a beam that a blank frame leaves unchanged, as most frames do."""
    for k in range(kept):
        beam.blank[k] = pool.blank[k] / best
        beam.symbol[k] = pool.symbol[k] / best


@compiled_part
def renew(
    trie: Trie,
    nodes: int,
    language: Language,
    beam: Beam,
    kept: int,
    pool: Candidates,
    chosen: int,
    best: float,
    least: float,
) -> tuple[int, int]:
    """Move the chosen candidates to the beam, their masses divided by the largest.

    Returns the size of the beam and the number of nodes.
    """
    for k in range(kept):
        trie.place[beam.node[k]] = NONE
    for i in range(chosen):  # `source` becomes the node, before the beam is overwritten
        c = pool.order[i]
        node = beam.node[pool.source[c]]
        if pool.added[c] != NONE and pool.total[c] > least * best:
            node, nodes = child(trie, nodes, language, node, pool.added[c])
        pool.source[c] = node
    return fill(trie, beam, pool, chosen, best, least), nodes


@compiled_part
def write(
    trie: Trie,
    beam: Beam,
    kept: int,
    log_scale: float,
    pool: Candidates,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Write the best prefixes of a finished line: symbols (N, T), lengths (N,), scores (N,)."""
    for rank in range(lengths.size):
        lengths[rank] = NONE
        if rank < kept:
            best = 0
            for k in range(kept):
                if pool.total[k] > pool.total[best]:
                    best = k
            scores[rank] = np.log(pool.total[best]) + log_scale
            pool.total[best] = -1.0
            lengths[rank] = spell(trie.parent, trie.last, beam.node[best], symbols[rank])
