"""How sure a micro CER is: intervals that keep the lines of a block together.

Lines of one hand, letter or text are alike, so that resampling single lines would promise too
much. A set names its blocks (`Line.block`), as in the blockwise bootstrap for dependent utterances
(arXiv:1912.09508, after Bisani & Ney 2004). Only sums are resampled, never texts: nothing is
scored again.

Percentile intervals cover 0.71 to 0.84 of a nominal 0.95 with 3 to 6 blocks. So there is none
under `FEWEST` blocks, and under `ENOUGH` an interval is Student's t with one degree of freedom
less than there are blocks, around the estimate from all blocks, with the standard error of the
delete-one-block jackknife (Tukey, Annals of Mathematical Statistics 29, 1958, p. 614; for ratios
Wolter, Introduction to Variance Estimation, 2nd edition 2007, chapter 4). Of blocks of equal size
that is the t interval of their rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
SEED = 20_260_101
LEVEL = 0.95  # of confidence
FEWEST = 6  # blocks of an interval or a p-value: of 5 no randomisation has a two-sided p under 0.05
ENOUGH = 12  # blocks of a percentile bootstrap

_MOST_OF_THE_DRAWS = 0.99  # have to have a number that is given an interval
_TAILS = ((1.0 - LEVEL) / 2.0, 1.0 - (1.0 - LEVEL) / 2.0)
_DRAWS_AT_ONCE = 2_000_000  # indices held in memory at a time


@dataclass(frozen=True)
class Interval:
    """A confidence interval, and how many independent blocks stand behind it."""

    low: float
    high: float
    blocks: int


def micro_interval(
    edits: ArrayLike,
    characters: ArrayLike,
    blocks: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Interval of sum(edits) / sum(characters) over blocks; see above for which.

    Args:
        edits: (N,) edits of each line.
        characters: (N,) reference characters of each line.
        blocks: N names; lines of one name are drawn together.
        resamples: how many times the blocks are drawn anew, always by the same seed, so that the
            same input gives the same interval, in any line order.

    Returns:
        The interval as fractions, never below 0, or None with fewer than `FEWEST` blocks that
        have reference characters.

    Raises:
        ValueError: the lengths differ, or a count is negative.
    """
    top, bottom = _block_sums(edits, characters, blocks)
    if len(bottom) < ENOUGH:
        redrawn = Redrawn(tuple(map(str, range(len(bottom)))))
        with np.errstate(divide="ignore", invalid="ignore"):
            return redrawn.interval(redrawn.sums(top) / redrawn.sums(bottom), least=0.0)
    rates = _bootstrap(np.random.default_rng(SEED), top, bottom, resamples)
    low, high = np.quantile(rates, _TAILS)
    return Interval(float(low), float(high), len(bottom))


Counted = tuple[ArrayLike, ArrayLike, Sequence[str]]  # edits, characters and blocks of lines


def ratio_interval(top: Counted, bottom: Counted) -> Interval | None:
    """Interval of one micro CER over another, of different lines.

    Both are resampled on their own. Where one of them has fewer than `ENOUGH` blocks, the
    logarithm of the ratio has a t interval with the fewer blocks' degrees of freedom.

    Args:
        top: edits (N,), characters (N,) and N names of blocks of the side above the line.
        bottom: the same of the side below it.

    Returns:
        The interval, its `blocks` those of the side that has fewer; infinite where the lower CER
        is 0; None where a side has fewer than `FEWEST` blocks with reference characters.

    Raises:
        ValueError: the lengths differ, or a count is negative.
    """
    sides = [_block_sums(*side) for side in (top, bottom)]
    blocks = min(len(characters) for _, characters in sides)
    if blocks < FEWEST:
        return None
    if blocks < ENOUGH:
        return _log_ratio_interval(sides, blocks)
    draws = np.random.default_rng(SEED)
    over, under = (_bootstrap(draws, *side, RESAMPLES) for side in sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = over / under
    ratios[np.isnan(ratios)] = 1.0  # 0 / 0: neither side has an error, so neither is worse
    # Between a number and infinity nothing can be interpolated.
    low, high = np.quantile(ratios, _TAILS, method="nearest")
    return Interval(float(low), float(high), blocks)


def _log_ratio_interval(
    sides: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], blocks: int
) -> Interval:
    (over, top_error), (under, bottom_error) = (_jackknifed(*side) for side in sides)
    if not over or not under:  # 0 / 0: neither side has an error, so neither is worse
        ratio = 0.0 if under else math.inf if over else 1.0
        return Interval(ratio, ratio, blocks)
    half = _student(blocks) * math.hypot(top_error / over, bottom_error / under)
    return Interval(over / under * math.exp(-half), over / under * math.exp(half), blocks)


def _jackknifed(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> tuple[float, float]:
    """A micro rate and its standard error."""
    without = (top.sum() - top) / (bottom.sum() - bottom)
    return float(top.sum() / bottom.sum()), _standard_error(without)


def _standard_error(without: NDArray[np.float64]) -> float:
    """The jackknife's, of an estimate from (blocks,) estimates without one block each."""
    return math.sqrt((len(without) - 1) * float(without.var()))


def _student(blocks: int) -> float:
    from scipy.stats import t  # half a second to import, and only few blocks need it

    return float(t.ppf(_TAILS[1], blocks - 1))


@dataclass(frozen=True)
class Redrawn:
    """Blocks drawn anew with replacement: the same draws for every sum that is asked for.

    So a difference between two systems, or between two severities of a damage, is resampled in
    pairs, as Bisani and Ney (ICASSP 2004) have it. Fewer than `ENOUGH` blocks are not drawn: all
    of them come first, then all without each one in turn.

    blocks: their names; every one counts, also where a sum has nothing of it.
    resamples: how many times all of them are drawn.
    """

    blocks: tuple[str, ...]
    resamples: int = RESAMPLES
    _times: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.blocks)
        if count < ENOUGH:
            times = np.concatenate([np.ones((1, count)), 1.0 - np.eye(count)])
            object.__setattr__(self, "_times", times)
            return
        draws = np.random.default_rng(SEED)
        times = draws.multinomial(count, np.full(count, 1 / count), size=self.resamples)
        object.__setattr__(self, "_times", times.astype(np.float64))

    def block_sums(self, values: ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
        """Of each block the sum of its lines: (N, ...) values and N names give (blocks, ...).

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

    def sums(self, of_blocks: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sums over each draw: (blocks, ...) to (draws, ...)."""
        return np.tensordot(self._times, of_blocks, axes=1)

    def interval(self, resampled: NDArray[np.float64], least: float = -math.inf) -> Interval | None:
        """Interval of a number that was worked out of each draw.

        Args:
            resampled: (draws,) the number.
            least: what the number cannot be below.

        Returns:
            None with fewer than `FEWEST` blocks, or where more than one draw in a hundred (of few
            blocks any) does not have the number (0 / 0).
        """
        count, found = len(self.blocks), resampled[np.isfinite(resampled)]
        if count < FEWEST or len(found) < _MOST_OF_THE_DRAWS * len(resampled):
            return None
        if count >= ENOUGH:
            low, high = np.quantile(found, _TAILS)
            return Interval(float(low), float(high), count)
        half = _student(count) * _standard_error(found[1:])
        return Interval(max(float(found[0]) - half, least), float(found[0]) + half, count)


def _bootstrap(
    draws: np.random.Generator,
    top: NDArray[np.float64],
    bottom: NDArray[np.float64],
    resamples: int,
) -> NDArray[np.float64]:
    """(resamples,) micro rates, in steps that fit into the memory."""
    step = max(1, _DRAWS_AT_ONCE // len(bottom))
    rates = [
        _resampled_rates(draws, top, bottom, min(step, resamples - done))
        for done in range(0, resamples, step)
    ]
    return np.concatenate(rates)


def _block_sums(
    edits: ArrayLike, characters: ArrayLike, blocks: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edits and characters of each block, sorted by name; blocks without characters left out.

    A block without reference characters would make a resample 0/0; its edits are in the micro
    CER itself all the same.
    """
    top = np.asarray(edits, dtype=np.float64)
    bottom = np.asarray(characters, dtype=np.float64)
    if not top.shape == bottom.shape == (len(blocks),):
        raise ValueError("edits, characters and blocks must have one entry a line")
    if (top < 0).any() or (bottom < 0).any():
        raise ValueError("counts cannot be negative")
    names, block = np.unique(np.asarray(blocks, dtype=str), return_inverse=True)
    sums = np.zeros((2, len(names)))
    np.add.at(sums[0], block, top)
    np.add.at(sums[1], block, bottom)
    sums = sums[:, sums[1] > 0]
    return sums[0], sums[1]


def _resampled_rates(
    draws: np.random.Generator,
    top: NDArray[np.float64],
    bottom: NDArray[np.float64],
    resamples: int,
) -> NDArray[np.float64]:
    """(resamples,) micro rates, each over as many blocks as there are, drawn with replacement."""
    drawn = draws.integers(0, len(top), size=(resamples, len(top)))
    rates: NDArray[np.float64] = top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1)
    return rates
