"""Whether a difference is more than chance: randomisation tests by blocks, and Holm's families.

Under the null hypothesis two systems are alike, so that their readings of a block (all lines of a
writer) may be swapped. How often a swapped difference is as large as the real one is the p-value
(approximate randomisation: Noreen 1989; Riezler & Maxwell 2005, aclanthology.org/W05-0908).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.intervals import RESAMPLES, SEED

Alternative = Literal["greater", "two-sided"]


def sign_flip_p(
    contributions: ArrayLike,
    alternative: Alternative = "greater",
    *,
    flips: int = RESAMPLES,
    seed: int = SEED,
) -> float:
    """Randomisation p-value that a sum of blocks' contributions is above 0, or not 0.

    Under the null hypothesis each block's contribution is as likely to have the other sign: for a
    difference of two systems that is to swap their readings of the block.

    Args:
        contributions: (blocks,) what each block adds to the number.
        alternative: "greater", or "two-sided" where the number may as well be below 0.
        flips: random choices of signs; where there are no more choices than that, all of them
            are taken and the p-value is exact.
        seed: of these.

    Returns:
        The share of choices that are at least as extreme, the observed one among them, so it is
        never 0; 1 without a contribution.
    """
    found = np.asarray(contributions, dtype=np.float64)
    found = found[found != 0]  # whichever sign it has, it changes nothing
    signs, observed_too = _signs(len(found), flips, seed)
    sums, observed = signs @ found, float(found.sum())
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    # Equal sums are counted as high, and sums in another order may differ in the last digits.
    tolerance = 1e-12 * float(np.abs(found).sum())
    reached = int((sums >= observed - tolerance).sum())
    return (reached + observed_too) / (len(signs) + observed_too)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of a family adjusted by Holm (Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _signs(blocks: int, flips: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """(choices, blocks) signs, and 1 where the observed choice has to be counted besides."""
    if 2**blocks <= flips:
        bits = np.arange(2**blocks)[:, np.newaxis] >> np.arange(blocks) & 1
        return 1.0 - 2.0 * bits, 0
    return np.random.default_rng(seed).choice((-1.0, 1.0), size=(flips, blocks)), 1
