"""Statistics of rates: intervals, differences and tests that keep the lines of a block together.

Lines of one block (a hand, letter or text) are alike, so resampling single lines would give
intervals that are too narrow; a set names its blocks (`Line.block`), as in the blockwise bootstrap
for dependent utterances (arXiv:1912.09508, after Bisani & Ney, ICASSP 2004). Only sums are
resampled, never texts: nothing is scored again.

Percentile intervals cover 0.71 to 0.84 of a nominal 0.95 with 3 to 6 blocks. So there is none
under `FEWEST` blocks, and under `ENOUGH` an interval is Student's t with one degree of freedom
less than there are blocks, around the estimate from all blocks, with the standard error of the
delete-one-block jackknife (Tukey, Annals of Mathematical Statistics 29, 1958, p. 614; for ratios
Wolter, Introduction to Variance Estimation, 2nd edition 2007, chapter 4). Of blocks of equal size
that is the t interval of their rates.

Two systems are drawn in pairs: both read the same blocks, so that what makes a line hard for both
does not blur their difference. Under the null hypothesis they are alike, and their readings of a
block may be swapped: how often a swapped difference is as large as the real one is the p-value
(approximate randomisation: Noreen 1989; Riezler & Maxwell 2005, aclanthology.org/W05-0908).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
SEED = 20_260_101
LEVEL = 0.95  # of confidence
ALPHA = 0.05  # a p-value at most so large counts as significant
FEWEST = 6  # blocks of an interval or a p-value: of 5 no randomisation has a two-sided p under 0.05
ENOUGH = 12  # blocks of a percentile bootstrap

_MOST_OF_THE_DRAWS = 0.99  # have to have a number that gets an interval
_TAILS = ((1.0 - LEVEL) / 2.0, 1.0 - (1.0 - LEVEL) / 2.0)
_DRAWS_AT_ONCE = 2_000_000  # indices held in memory at a time

Floats = NDArray[np.float64]
Counted = tuple[ArrayLike, ArrayLike, Sequence[str]]  # edits, characters and blocks of lines
Alternative = Literal["greater", "two-sided"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval, and its number of independent blocks."""

    low: float
    high: float
    blocks: int


@dataclass(frozen=True)
class Difference:
    """The first rate minus the second, a fraction; negative if the first is better.

    p: two-sided, by randomisation; None with too few blocks.
    """

    value: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class Ratio:
    """A sum of the first over that of the second."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Redrawn:
    """Bootstrap draws of blocks with replacement, the same for every sum.

    So a difference between two systems, or between two severities of a damage, is resampled in
    pairs. Fewer than `ENOUGH` blocks are not drawn: all of them come first, then all without each
    one in turn.

    blocks: their names; every one counts, also where a sum has nothing of it.
    resamples: how many times all of them are drawn.
    """

    blocks: tuple[str, ...]
    resamples: int = RESAMPLES

    @functools.cached_property
    def _times(self) -> Floats:
        """(draws, blocks) how many times each block is drawn."""
        count = len(self.blocks)
        if count < ENOUGH:
            return np.concatenate([np.ones((1, count)), 1.0 - np.eye(count)])
        draws = np.random.default_rng(SEED)
        times = draws.multinomial(count, np.full(count, 1 / count), size=self.resamples)
        return times.astype(np.float64)

    def block_sums(self, values: ArrayLike, names: Sequence[str]) -> Floats:
        """Sum the lines of each block: (N, ...) values and N names give (blocks, ...).

        Raises:
            ValueError: a name is no block, or there is not one name a value.
        """
        lines = np.asarray(values, dtype=np.float64)
        if len(lines) != len(names):
            raise ValueError("values and names must have one entry a line")
        place = {name: index for index, name in enumerate(self.blocks)}
        if unknown := set(names) - set(place):
            raise ValueError(f"{min(unknown)} is no block")
        sums = np.zeros((len(self.blocks), *lines.shape[1:]))
        np.add.at(sums, [place[name] for name in names], lines)
        return sums

    def sums(self, of_blocks: Floats) -> Floats:
        """The sums over each draw: (blocks, ...) to (draws, ...)."""
        return np.tensordot(self._times, of_blocks, axes=1)

    def interval(self, resampled: Floats, least: float = -math.inf) -> Interval | None:
        """Interval of a statistic from its value in each of the (draws,).

        None with fewer than `FEWEST` blocks, or where more than one draw in a hundred (of few
        blocks any) does not have the number (0 / 0). It is never below `least`.
        """
        count, finite = len(self.blocks), resampled[np.isfinite(resampled)]
        if count < FEWEST or len(finite) < _MOST_OF_THE_DRAWS * len(resampled):
            return None
        if count >= ENOUGH:
            low, high = np.quantile(finite, _TAILS)
            return Interval(float(low), float(high), count)
        half = _student(count) * _standard_error(finite[1:])
        return Interval(max(float(finite[0]) - half, least), float(finite[0]) + half, count)

    def ratio_interval(self, sums: Floats, least: float = -math.inf) -> Interval | None:
        """Interval of the first of (blocks, 2) sums over the second."""
        drawn = self.sums(sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.interval(drawn[:, 0] / drawn[:, 1], least)


@functools.lru_cache(maxsize=2)  # the pairs of one data set come one after another
def _redrawn(blocks: tuple[str, ...], resamples: int) -> Redrawn:
    return Redrawn(blocks, resamples)


def micro_interval(
    edits: ArrayLike, characters: ArrayLike, blocks: Sequence[str], *, resamples: int = RESAMPLES
) -> Interval | None:
    """Interval of sum(edits) / sum(characters) over blocks, fractions that are never below 0.

    Args:
        edits: (N,) edits of each line.
        characters: (N,) reference characters of each line.
        blocks: N names; lines of one name are drawn together.
        resamples: draws, always by the same seed: the same input gives the same interval, in any
            line order.

    Returns:
        None with fewer than `FEWEST` blocks that have reference characters.
    """
    sums = _block_sums(edits, characters, blocks)
    if len(sums) < ENOUGH:
        return Redrawn(tuple(map(str, range(len(sums))))).ratio_interval(sums, least=0.0)
    rates = _bootstrap(np.random.default_rng(SEED), sums, resamples)
    low, high = np.quantile(rates, _TAILS)
    return Interval(float(low), float(high), len(sums))


def ratio_interval(top: Counted, bottom: Counted) -> Interval | None:
    """Interval of one micro CER over another, of different lines.

    Both are resampled on their own. Where one of them has fewer than `ENOUGH` blocks, the
    logarithm of the ratio has a t interval with the fewer blocks' degrees of freedom.

    Returns:
        The interval, its `blocks` those of the side that has fewer; infinite where the lower CER
        is 0; None where a side has fewer than `FEWEST` blocks with reference characters.
    """
    sides = [_block_sums(*side) for side in (top, bottom)]
    blocks = min(map(len, sides))
    if blocks < FEWEST:
        return None
    if blocks < ENOUGH:
        return _log_ratio_interval(sides, blocks)
    draws = np.random.default_rng(SEED)
    over, under = (_bootstrap(draws, side, RESAMPLES) for side in sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = over / under
    ratios[np.isnan(ratios)] = 1.0  # 0 / 0: neither side has an error, so neither is worse
    # Between a number and infinity nothing can be interpolated.
    low, high = np.quantile(ratios, _TAILS, method="nearest")
    return Interval(float(low), float(high), blocks)


def _log_ratio_interval(sides: Sequence[Floats], blocks: int) -> Interval:
    (over, top_error), (under, bottom_error) = map(_jackknifed, sides)
    if not over or not under:  # 0 / 0: neither side has an error, so neither is worse
        ratio = 0.0 if under else math.inf if over else 1.0
        return Interval(ratio, ratio, blocks)
    half = _student(blocks) * math.hypot(top_error / over, bottom_error / under)
    return Interval(over / under * math.exp(-half), over / under * math.exp(half), blocks)


def _jackknifed(sums: Floats) -> tuple[float, float]:
    """A micro rate and its standard error."""
    top, bottom = sums.T
    without = (top.sum() - top) / (bottom.sum() - bottom)
    return float(top.sum() / bottom.sum()), _standard_error(without)


def _standard_error(without: Floats) -> float:
    """Jackknife standard error from (blocks,) leave-one-out estimates."""
    return math.sqrt((len(without) - 1) * float(without.var()))


def _student(blocks: int) -> float:
    from scipy.stats import t  # half a second to import, and only few blocks need it

    return float(t.ppf(_TAILS[1], blocks - 1))


def _bootstrap(draws: np.random.Generator, sums: Floats, resamples: int) -> Floats:
    """(resamples,) micro rates, each over as many drawn blocks as there are."""
    step = max(1, _DRAWS_AT_ONCE // len(sums))  # which fits into the memory
    rates = []
    for done in range(0, resamples, step):
        drawn = draws.integers(0, len(sums), size=(min(step, resamples - done), len(sums)))
        top, bottom = sums[:, 0][drawn].sum(axis=1), sums[:, 1][drawn].sum(axis=1)
        rates.append(top / bottom)
    return np.concatenate(rates)


def _block_sums(edits: ArrayLike, characters: ArrayLike, blocks: Sequence[str]) -> Floats:
    """(blocks, 2) edits and characters of each block, sorted by name.

    A block without reference characters is left out, for it would make a resample 0/0; its edits
    are in the micro CER itself all the same.
    """
    top, bottom = np.asarray(edits, np.float64), np.asarray(characters, np.float64)
    if not top.shape == bottom.shape == (len(blocks),):
        raise ValueError("edits, characters and blocks must have one entry a line")
    lines = np.stack([top, bottom], axis=1)
    if (lines < 0).any():
        raise ValueError("counts cannot be negative")
    names, block = np.unique(np.asarray(blocks, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, block, lines)
    return sums[sums[:, 1] > 0]


def rate_difference(
    first: ArrayLike,
    second: ArrayLike,
    units: ArrayLike,
    blocks: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Difference | None:
    """Difference of two micro rates over the same lines.

    Args:
        first: (N,) edits of each line, of the first system.
        second: (N,) edits of the second.
        units: (N,) what the edits are counted over: reference characters or words.
        blocks: N names; lines of one name are drawn and swapped together.
        resamples: draws of the blocks, and choices of what is swapped.

    Returns:
        None where there is nothing to divide by.
    """
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    redrawn = _redrawn(tuple(sorted(set(blocks))), resamples)
    sums = redrawn.block_sums(np.stack([gap, np.asarray(units)], axis=1), blocks)
    total = sums[:, 1].sum()
    if not total:
        return None
    p = sign_flip_p(sums[:, 0], "two-sided", flips=resamples)
    return Difference(float(sums[:, 0].sum() / total), redrawn.ratio_interval(sums), p)


def sum_ratio(first: ArrayLike, second: ArrayLike, blocks: Sequence[str]) -> Ratio | None:
    """Ratio of the first sum to the second, over the same (N,) lines or batches of N blocks.

    Of edits it is the ratio of two error rates, for the characters cancel; of seconds it is how
    many times as fast the *second* is. None where the second sums to 0.
    """
    redrawn = _redrawn(tuple(sorted(set(blocks))), RESAMPLES)
    both = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second)], axis=1)
    sums = redrawn.block_sums(both, blocks)
    over, under = sums.sum(axis=0)
    return Ratio(float(over / under), redrawn.ratio_interval(sums, least=0.0)) if under else None


def sign_flip_p(
    contributions: ArrayLike,
    alternative: Alternative = "greater",
    *,
    flips: int = RESAMPLES,
) -> float | None:
    """Randomisation p-value that a sum of blocks' contributions is above 0, or not 0.

    Under the null hypothesis each block's contribution is as likely to have the other sign: for a
    difference of two systems that is to swap their readings of the block.

    Args:
        contributions: (blocks,) what each block adds to the number.
        alternative: "greater", or "two-sided" where the number may as well be below 0.
        flips: random choices of signs; where there are no more choices than that, all of them
            are taken and the p-value is exact.

    Returns:
        The share of choices that are at least as extreme, the observed one among them, so it is
        never 0; 1 where all contributions are 0; None with fewer than `FEWEST` blocks.
    """
    values = np.asarray(contributions, dtype=np.float64)
    if len(values) < FEWEST:
        return None
    values = values[values != 0]  # whichever sign it has, it changes nothing
    signs, observed_too = _signs(len(values), flips)
    sums, observed = signs @ values, float(values.sum())
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    # Equal sums are counted as high, and sums in another order may differ in the last digits.
    tolerance = 1e-12 * float(np.abs(values).sum())
    reached = int((sums >= observed - tolerance).sum())
    return (reached + observed_too) / (len(signs) + observed_too)


def _signs(blocks: int, flips: int) -> tuple[Floats, int]:
    """Choose signs (choices, blocks); 1 if the observed choice is to be counted besides, else 0."""
    if 2**blocks <= flips:
        bits = np.arange(2**blocks)[:, np.newaxis] >> np.arange(blocks) & 1
        return 1.0 - 2.0 * bits, 0
    return np.random.default_rng(SEED).choice((-1.0, 1.0), size=(flips, blocks)), 1


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of a family by Holm (Scandinavian Journal of Statistics 6, 1979).

    A test that was not made (None) is no member of the family.
    """
    tested = [(p, place) for place, p in enumerate(p_values) if p is not None]
    adjusted, highest = list[float | None]([None] * len(p_values)), 0.0
    for rank, (p, place) in enumerate(sorted(tested)):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted


def significant(interval: Interval | None, p: float | None) -> bool:
    """Whether the adjusted p is small *and* the interval excludes 0.

    The two are computed differently and may disagree; then there is no finding.
    """
    if interval is None or p is None:
        return False
    return p <= ALPHA and not interval.low <= 0 <= interval.high
