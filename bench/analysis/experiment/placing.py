"""Where the edits of a line fall: which characters of the reference were read, and how.

`bench.core.metrics` says how many edits there are. Several shortest edit scripts often exist
("helo" for "hello": which l is missing?); of these the one is taken that finds fault with the least
visible characters. So a reader is never credited with a hidden character that its neighbour
explains as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled
from bench.core.metrics import normalise

_RIGHT, _WRONG, _MISSING = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Placed:
    """What became of each of the N characters of a reference.

    right: (N,) bool, read as it is; wrong: (N,) bool, another character was read in its place.
        What is neither was left out.
    added: (N,) int64, characters that were read beside it and are not there.
    """

    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    added: NDArray[np.int64]

    @property
    def edits(self) -> NDArray[np.int64]:
        """(N,) edits at each character."""
        found: NDArray[np.int64] = (~self.right).astype(np.int64) + self.added
        return found


def place(reference: str, text: str, visible: NDArray[np.float32]) -> Placed:
    """Place the edits from a reference to a text; their number is that of `metrics.score_line`.

    A character that was read and is not there belongs to the less visible of the two beside it.

    Args:
        reference: N characters, at least one, as the normaliser leaves them.
        text: what was read.
        visible: (N,) visible share of each character, 0 to 1.

    Raises:
        ValueError: the normaliser would change the reference, or a share is missing.
    """
    if not reference or normalise(reference) != reference:
        raise ValueError(f"{reference!r} is not as the normaliser leaves a text")
    if visible.shape != (len(reference),) or np.isnan(visible).any():
        raise ValueError("each character of the reference needs its visible share")
    kinds, added = _placed(_code_points(reference), _code_points(normalise(text)), visible)
    return Placed(kinds == _RIGHT, kinds == _WRONG, added)


def _code_points(text: str) -> NDArray[np.int32]:
    return np.array([ord(character) for character in text], np.int32)


@compiled
def _placed(
    truth: NDArray[np.int32], read: NDArray[np.int32], visible: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Levenshtein's table with a surcharge for faults found with what is visible.

    All surcharges together stay below 1/4, so that no longer script is ever cheaper.
    """
    n, m = truth.size, read.size
    unit = 0.25 / (n + m + 1)
    beside = np.empty(n + 1, np.int64)  # whose is a character that was read before the i-th
    for i in range(n + 1):
        before, after = max(i - 1, 0), min(i, n - 1)
        beside[i] = before if visible[before] <= visible[after] else after
    cost = np.empty((n + 1, m + 1))
    cost[0, 0] = 0.0
    for i in range(n + 1):
        extra = 1.0 + unit * visible[beside[i]]
        fault = 1.0 + unit * visible[i - 1]
        for j in range(m + 1):
            if i == 0 and j == 0:
                continue
            best = np.inf
            if i and j:
                same = truth[i - 1] == read[j - 1]
                best = cost[i - 1, j - 1] + (0.0 if same else fault)
            if i:
                best = min(best, cost[i - 1, j] + fault)
            if j:
                best = min(best, cost[i, j - 1] + extra)
            cost[i, j] = best
    kinds = np.empty(n, np.int8)
    added = np.zeros(n, np.int64)
    i, j = n, m
    while i or j:
        extra = 1.0 + unit * visible[beside[i]]
        fault = 1.0 + unit * visible[i - 1]
        same = i > 0 and j > 0 and truth[i - 1] == read[j - 1]
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (0.0 if same else fault):
            i, j = i - 1, j - 1
            kinds[i] = _RIGHT if same else _WRONG
        elif i and cost[i, j] == cost[i - 1, j] + fault:
            i -= 1
            kinds[i] = _MISSING
        else:
            j -= 1
            added[beside[i]] += 1
    return kinds, added
