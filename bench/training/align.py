"""Forced alignment of a known text to its frames, by the best CTC path."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled
from bench.core.types import BLANK


@compiled
def align(log_probs: NDArray[np.float32], symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """First and last frame (L, 2) of each symbol on the likeliest path of (T, V) log-probabilities.

    The (L,) symbols are without blanks; -1 where no path exists, for lack of frames.
    """
    steps, count = log_probs.shape[0], len(symbols)
    states = 2 * count + 1  # blank, symbol, blank, ..., symbol, blank
    score = np.full(states, -np.inf)
    came = np.zeros((steps, states), np.int8)  # how many states back the path came from
    score[0] = log_probs[0, BLANK]
    if count:
        score[1] = log_probs[0, symbols[0]]
    for t in range(1, steps):
        for s in range(states - 1, -1, -1):  # downwards: states below still hold the last frame
            label = symbols[s // 2] if s % 2 else BLANK
            best, back = score[s], 0
            if s > 0 and score[s - 1] > best:
                best, back = score[s - 1], 1
            skips = s > 2 and s % 2 == 1 and symbols[s // 2] != symbols[s // 2 - 1]
            if skips and score[s - 2] > best:
                best, back = score[s - 2], 2
            score[s] = best + log_probs[t, label]
            came[t, s] = back
    spans = np.full((count, 2), -1, np.int64)
    state = states - 1
    if states > 1 and score[states - 2] > score[states - 1]:
        state = states - 2
    if score[state] == -np.inf:
        return spans
    for t in range(steps - 1, -1, -1):
        if state % 2:
            if spans[state // 2, 1] < 0:
                spans[state // 2, 1] = t
            spans[state // 2, 0] = t
        state -= came[t, state]
    return spans
