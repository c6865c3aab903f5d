"""CTC prefix beam search that waits for a language model where it needs one, compiled by numba.

The search of `decoders.ctc.prefix_beam`, cut where a model is asked: it stops at the first frame in
which some prefix may be extended that has no row of factors yet, and goes on when it has them. The
state of the language is the prefix itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
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
    choose,
    ints,
    read_ahead,
)
from decoders.ctc.prefix_beam import extend, read, renew, rescale, stay, write


class Line(NamedTuple):
    """The search of one line between two stops.

    language: a row of factors for each node of the trie; `final` is 0 where a row is missing.
    number: the model's number of each node, where it has a row.
    at: the frame, the number of nodes, and the size of the beam.
    log_scale: (1,) of the masses.
    """

    trie: Trie
    beam: Beam
    pool: Candidates
    frame: Frame
    openings: Openings
    language: Language
    number: NDArray[np.int64]
    at: NDArray[np.int64]
    log_scale: NDArray[np.float64]


def begin(
    log_probs: NDArray[np.float32],
    frames: int,
    largest: float,
    beam_width: int,
    token_min_logp: float,
) -> Line | None:
    """Begin with the empty prefix; None if the probabilities of a frame do not sum to 1.

    `log_probs` are the (T, V) of the line, `frames` of them valid; no factor of the language
    exceeds `largest`. The rest is as in `prefix_beam.search`.
    """
    steps, width = log_probs.shape
    size, room = steps * beam_width + 1, beam_width * (width + 1)
    openings = Openings(ints(steps), ints(steps))
    if not read_ahead(log_probs, frames, token_min_logp, openings):
        return None
    trie = Trie(
        ints(size), ints(size), ints(size), np.empty(size), ints(size), ints(size), ints(size)
    )
    trie.parent[ROOT] = trie.last[ROOT] = trie.child[ROOT] = NONE
    trie.state[ROOT] = trie.place[ROOT] = 0
    beam = Beam(ints(beam_width), np.empty(beam_width), np.empty(beam_width))
    beam.node[0], beam.blank[0], beam.symbol[0] = ROOT, 1.0, 0.0
    frame = Frame(np.empty(width), ints(width), np.full((beam_width, width), NONE, np.int32))
    pool = Candidates(
        ints(room), ints(room), np.empty(room), np.empty(room), np.empty(room), ints(room)
    )
    # No memory is taken for rows before they are written.
    language = Language(
        np.empty((size, width), STEP), np.zeros(size, np.float32), ROOT, float(largest)
    )
    number, at = np.empty(size, np.int64), np.array([0, 1, 1])
    return Line(trie, beam, pool, frame, openings, language, number, at, np.zeros(1))


@compiled
def advance(
    log_probs: NDArray[np.float32],
    frames: int,
    line: Line,
    beam_width: int,
    token_min_logp: float,
    prune: float,
    wanted: NDArray[np.int32],
) -> int:
    """Search on until rows are missing or the line ends; `begin` has the arguments.

    Writes the nodes whose rows are missing to `wanted`, (K,), and returns how many; 0 when the line
    is done. At its end these are all prefixes of the beam without a row, since their factor at the
    end is in it.
    """
    trie, beam, pool, frame, language = line.trie, line.beam, line.pool, line.frame, line.language
    start, nodes, kept = line.at[0], line.at[1], line.at[2]
    least = max(prune, NEGLIGIBLE)
    missing = 0
    for t in range(start, frames):
        row = log_probs[t]
        tokens = read(row, token_min_logp, line.openings.above[t], line.openings.place[t], frame)
        smallest, best = stay(t, row, trie, beam, kept, frame, pool)
        floor = smallest if kept == beam_width else 0.0
        missing = _missing(t, trie, beam, kept, frame, tokens, language, floor, best, least, wanted)
        if missing:
            line.at[0] = t
            break
        count, best = extend(t, trie, beam, kept, frame, tokens, language, floor, best, least, pool)
        if count == kept and smallest > least * best:
            rescale(beam, kept, pool, best)
        else:
            chosen = choose(pool.order, pool.total, count, beam_width)
            before = nodes
            kept, nodes = renew(trie, nodes, language, beam, kept, pool, chosen, best, least)
            for node in range(before, nodes):
                trie.state[node] = node
        line.log_scale[0] += np.log(best)
        line.at[0] = t + 1
    line.at[1], line.at[2] = nodes, kept
    if missing == 0:
        for k in range(kept):
            if language.final[beam.node[k]] == 0.0:
                wanted[missing] = beam.node[k]
                missing += 1
    return missing


@compiled_part
def _missing(
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
    wanted: NDArray[np.int32],
) -> int:
    """Write the prefixes without a row whose extensions may survive; returns their number."""
    count = 0
    floor = max(floor, best * least)
    for k in range(kept):
        node = beam.node[k]
        if language.final[node] != 0.0:
            continue
        both = beam.blank[k] + beam.symbol[k]
        for token in range(tokens):
            symbol = frame.tokens[token]
            mass = beam.blank[k] if symbol == trie.last[node] else both
            mass *= frame.probability[symbol]
            if mass * language.largest > floor and frame.met[k, symbol] != t:
                wanted[count] = node
                count += 1
                break
    return count


@compiled
def finish(
    line: Line,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Write the N best prefixes of a line: symbols (N, T), lengths and scores (N,)."""
    trie, beam, pool, kept = line.trie, line.beam, line.pool, line.at[2]
    for k in range(kept):
        pool.total[k] = beam.blank[k] + beam.symbol[k]
        pool.total[k] *= line.language.final[beam.node[k]]
    write(trie, beam, kept, line.log_scale[0], pool, symbols, lengths, scores)
