"""What the compiled CTC searches share: small pieces over plain arrays.

Numba keeps compiled functions by the text of their own file alone: after a change here change the
files that call it as well, or delete their `__pycache__`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.types import BLANK

NONE = -1  # no symbol, no node, no place
ROOT = 0  # the node of the empty prefix
# Masses so far below the best of their frame are dropped: denormal numbers, which are slow, lie
# beyond. With probabilities of real encoders no affordable beam is wide enough to reach them.
NEGLIGIBLE = 1e-200
_BLOCK = 16


class Beam(NamedTuple):
    """The prefixes that are kept, at most K.

    blank, symbol: mass of the paths that end in a blank, or in the last symbol; 0: there are none.
    """

    node: NDArray[np.int32]
    blank: NDArray[np.float64]
    symbol: NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def ints(size: int) -> NDArray[np.int32]:
    """Room for so many numbers."""
    return np.empty(size, np.int32)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def tokens_of(row: NDArray[np.float32], token_min_logp: float, tokens: NDArray[np.int32]) -> int:
    """Write the symbols that are not below a threshold, or else the likeliest one; the blank apart.

    Args:
        row: (V,) log-probabilities of a frame.
        token_min_logp: the threshold.
        tokens: (V,), written.

    Returns:
        How many there are.
    """
    count = 0
    for begin in range(0, row.size, _BLOCK):
        end, some = min(begin + _BLOCK, row.size), False
        for symbol in range(begin, end):  # without a jump, so that it becomes vector code
            some |= row[symbol] >= token_min_logp
        if some:
            for symbol in range(max(begin, BLANK + 1), end):
                if row[symbol] >= token_min_logp:
                    tokens[count] = symbol
                    count += 1
    if count == 0 and row[BLANK] < token_min_logp:
        tokens[0] = row.argmax()
        count = 0 if tokens[0] == BLANK else 1
    return count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
