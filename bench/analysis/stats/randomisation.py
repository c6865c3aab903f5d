"""Whether a difference is more than chance: randomisation tests by blocks, and Holm's families.

Under the null hypothesis two systems are alike, so that their readings of a block (all lines of a
hand, letter or text) may be swapped. How often a swapped difference is as large as the real one is
the p-value (approximate randomisation: Noreen 1989; Riezler & Maxwell 2005,
aclanthology.org/W05-0908).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.stats.intervals import FEWEST, RESAMPLES, SEED, Interval

Alternative = Literal["greater", "two-sided"]

ALPHA = 0.05  # a p-value at most so large counts as significant


def sign_flip_p(
    contributions: ArrayLike,
    alternative: Alternative = "greater",
    *,
    flips: int = RESAMPLES,
    seed: int = SEED,
) -> float | None:
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
        never 0; 1 where all contributions are 0; None with fewer than `FEWEST` blocks.
    """
    found = np.asarray(contributions, dtype=np.float64)
    if len(found) < FEWEST:
        return None
    found = found[found != 0]  # whichever sign it has, it changes nothing
    signs, observed_too = _signs(len(found), flips, seed)
    sums, observed = signs @ found, float(found.sum())
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    # Equal sums are counted as high, and sums in another order may differ in the last digits.
    tolerance = 1e-12 * float(np.abs(found).sum())
    reached = int((sums >= observed - tolerance).sum())
    return (reached + observed_too) / (len(signs) + observed_too)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values of a family adjusted by Holm (Scandinavian Journal of Statistics 6, 1979).

    A test that was not made (None) is no member of the family.
    """
    tested = [(p, place) for place, p in enumerate(p_values) if p is not None]
    adjusted, highest = list[float | None]([None] * len(p_values)), 0.0
    for rank, (p, place) in enumerate(sorted(tested)):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted


def significant(interval: Interval | None, p: float | None) -> bool:
    """Whether a difference is significant: p is small *and* the interval leaves 0 out.

    The two are worked out differently and may disagree; then there is no finding.

    Args:
        interval: of the difference.
        p: adjusted for its family.
    """
    if interval is None or p is None:
        return False
    return p <= ALPHA and not interval.low <= 0 <= interval.high


def _signs(blocks: int, flips: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """(choices, blocks) signs, and 1 where the observed choice has to be counted besides."""
    if 2**blocks <= flips:
        bits = np.arange(2**blocks)[:, np.newaxis] >> np.arange(blocks) & 1
        return 1.0 - 2.0 * bits, 0
    return np.random.default_rng(seed).choice((-1.0, 1.0), size=(flips, blocks)), 1
