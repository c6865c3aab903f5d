"""Two systems on the same lines: differences and ratios, drawn in pairs.

Both systems of a draw read the same blocks (Bisani & Ney, ICASSP 2004), so what makes a line
hard for both does not blur what lies between them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.stats.intervals import RESAMPLES, Interval, Redrawn
from bench.analysis.stats.randomisation import sign_flip_p


@dataclass(frozen=True)
class Difference:
    """The rate of the first less the rate of the second.

    value: a fraction; below 0 the first is better.
    interval: paired, over blocks, see `bench.analysis.stats.intervals`.
    p: two-sided, of the approximate randomisation by blocks; None with too few of them.
    """

    value: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class Ratio:
    """A sum of the first over that of the second.

    interval: as that of a `Difference`.
    """

    value: float
    interval: Interval | None


def rate_difference(
    first: ArrayLike,
    second: ArrayLike,
    units: ArrayLike,
    blocks: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Difference | None:
    """How far two micro rates over the same lines are apart.

    Args:
        first: (N,) edits of each line, of the first system.
        second: (N,) edits of the second.
        units: (N,) what the edits are counted over: reference characters or words.
        blocks: N names; lines of one name are drawn and swapped together.
        resamples: draws of the blocks, and choices of what is swapped.

    Returns:
        None where there is nothing to divide by.

    Raises:
        ValueError: the lengths differ.
    """
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    redrawn = _redrawn(tuple(sorted(set(blocks))), resamples)
    sums = redrawn.block_sums(np.stack([gap, np.asarray(units)], axis=1), blocks)
    total = sums[:, 1].sum()
    if not total:
        return None
    drawn = redrawn.sums(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = redrawn.interval(drawn[:, 0] / drawn[:, 1])
    p = sign_flip_p(sums[:, 0], "two-sided", flips=resamples)
    return Difference(float(sums[:, 0].sum() / total), interval, p)


def sum_ratio(first: ArrayLike, second: ArrayLike, blocks: Sequence[str]) -> Ratio | None:
    """How many times as much the first is as the second, over the same lines or batches.

    Of edits it is the ratio of two error rates, for the characters cancel; of seconds it is how
    many times as fast the *second* is.

    Args:
        first: (N,) of each line or batch.
        second: (N,) likewise.
        blocks: N names; what has one name is drawn together.

    Returns:
        None where the second sums to 0.

    Raises:
        ValueError: the lengths differ.
    """
    redrawn = _redrawn(tuple(sorted(set(blocks))), RESAMPLES)
    both = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second)], axis=1)
    sums = redrawn.block_sums(both, blocks)
    over, under = sums.sum(axis=0)
    if not under:
        return None
    drawn = redrawn.sums(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = redrawn.interval(drawn[:, 0] / drawn[:, 1], least=0.0)
    return Ratio(float(over / under), interval)


@functools.lru_cache(maxsize=2)  # the pairs of one data set come one after another
def _redrawn(blocks: tuple[str, ...], resamples: int) -> Redrawn:
    return Redrawn(blocks, resamples)
