"""What a set could have shown: the smallest difference that it detects, and how many lines more.

A difference of two micro rates is a ratio estimator over blocks, whose standard error follows
from the blocks' residuals (Cochran, Sampling Techniques, 3rd edition 1977, section 6.3). How large
a difference has to be for a test to find it, and how many blocks a difference needs, are the usual
sample-size formulas of a two-sided test (NIST/SEMATECH e-Handbook, section 7.2.2.2), with
Student's t on as many degrees of freedom as the blocks leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.stats.intervals import FEWEST

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Power:
    """What the lines of a comparison can show.

    standard_error: of the difference of the rates, a fraction.
    detectable: the smallest true difference that a two-sided test at `ALPHA` finds with the
        probability `POWER`.
    lines_needed: lines, in blocks like these, with which a difference as large as the observed one
        would be found so; None where the observed one is 0.
    """

    standard_error: float
    detectable: float
    lines_needed: int | None


def power(
    first: ArrayLike,
    second: ArrayLike,
    units: ArrayLike,
    blocks: Sequence[str],
    *,
    alpha: float = ALPHA,
    wanted: float = POWER,
) -> Power | None:
    """The power of a paired comparison of two micro rates.

    Args:
        first: (N,) edits of each line, of the first system.
        second: (N,) edits of the second.
        units: (N,) reference characters or words.
        blocks: N names of the lines' blocks.
        alpha: of the two-sided test.
        wanted: probability with which it is to find the difference.

    Returns:
        None with fewer than `FEWEST` blocks, or where there is nothing to divide by.
    """
    names, block = np.unique(np.asarray(blocks, dtype=str), return_inverse=True)
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    gaps = np.bincount(block, gap, len(names))
    sizes = np.bincount(block, np.asarray(units, dtype=np.float64), len(names))
    if len(names) < FEWEST or not sizes.sum():
        return None
    observed = gaps.sum() / sizes.sum()
    residuals = gaps - observed * sizes
    spread = math.sqrt(len(names) / (len(names) - 1) * float(residuals @ residuals))
    error = spread / float(sizes.sum())
    needed = None
    if observed:
        needed = _blocks_needed(error * math.sqrt(len(names)), abs(observed), alpha, wanted)
    return Power(
        standard_error=error,
        detectable=_quantiles(len(names) - 1, alpha, wanted) * error,
        lines_needed=None if needed is None else math.ceil(needed * len(block) / len(names)),
    )


def _blocks_needed(deviation: float, difference: float, alpha: float, wanted: float) -> int:
    """The fewest blocks of this standard deviation that show the difference.

    The t quantiles depend on the answer, so it is doubled until it is enough and then halved in.
    With fewer than 1 + log2(1 / alpha) blocks no randomisation of them can be significant.
    """
    fewest = max(FEWEST, math.ceil(1 - math.log2(alpha)))

    def enough(blocks: int) -> bool:
        smallest = _quantiles(blocks - 1, alpha, wanted) * deviation / math.sqrt(blocks)
        return smallest <= difference

    high = fewest
    while not enough(high):
        high *= 2
    low = fewest - 1 if high == fewest else high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _quantiles(freedom: int, alpha: float, wanted: float) -> float:
    """How many standard errors a difference has to be away from 0."""
    from scipy.stats import t  # half a second to import, and only comparisons need it

    return float(t.ppf(1 - alpha / 2, freedom) + t.ppf(wanted, freedom))
