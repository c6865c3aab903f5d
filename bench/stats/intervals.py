"""How sure a micro CER is: a bootstrap that keeps each writer's lines together.

Lines of one writer are alike, so that resampling single lines would promise too much. The
blocks that are drawn are therefore writers (or pages, whatever a set names as `writer`), as in
the blockwise bootstrap for dependent utterances (arXiv:1912.09508, after Bisani & Ney 2004).
Only sums are resampled, never texts: nothing is scored again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
SEED = 20_260_101
LEVEL = 0.95

_MOST_OF_THE_DRAWS = 0.99  # have to have a number that is given an interval
_DRAWS_AT_ONCE = 2_000_000  # indices held in memory at a time


@dataclass(frozen=True)
class Interval:
    """A percentile interval, and how many independent blocks stand behind it."""

    low: float
    high: float
    blocks: int


def micro_interval(
    edits: ArrayLike,
    characters: ArrayLike,
    writers: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile bootstrap interval of sum(edits) / sum(characters), blocked by writer.

    Args:
        edits: (N,) edits of each line.
        characters: (N,) reference characters of each line.
        writers: N names; lines of one name are drawn together.
        resamples: how many times the writers are drawn anew.
        seed: of the draws; the same input and seed give the same interval, in any line order.
        level: share of the bootstrap distribution inside of the interval.

    Returns:
        The interval as fractions, or None where there is nothing to resample: fewer than two
        writers with reference characters.

    Raises:
        ValueError: the lengths differ, or a count is negative.
    """
    top, bottom = _block_sums(edits, characters, writers)
    if len(bottom) < 2:
        return None
    rates = _bootstrap(np.random.default_rng(seed), top, bottom, resamples)
    low, high = np.quantile(rates, _tails(level))
    return Interval(float(low), float(high), len(bottom))


Counted = tuple[ArrayLike, ArrayLike, Sequence[str]]  # edits, characters and writers of lines


def ratio_interval(
    top: Counted,
    bottom: Counted,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile bootstrap interval of one micro CER over another, of different lines.

    Both are resampled on their own, blocked by writer.

    Args:
        top: edits (N,), characters (N,) and N writers' names of the side above the line.
        bottom: the same of the side below it.
        resamples: how many times the writers of each side are drawn anew.
        seed: of the draws.
        level: share of the bootstrap distribution inside of the interval.

    Returns:
        The interval, its `blocks` those of the side that has fewer; infinite where the lower CER
        is 0; None where a side has fewer than two writers with reference characters.

    Raises:
        ValueError: the lengths differ, or a count is negative.
    """
    sides = [_block_sums(*side) for side in (top, bottom)]
    blocks = min(len(characters) for _, characters in sides)
    if blocks < 2:
        return None
    draws = np.random.default_rng(seed)
    over, under = (_bootstrap(draws, *side, resamples) for side in sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = over / under
    ratios[np.isnan(ratios)] = 1.0  # 0 / 0: neither side has an error, so neither is worse
    # Between a number and infinity nothing can be interpolated.
    low, high = np.quantile(ratios, _tails(level), method="nearest")
    return Interval(float(low), float(high), blocks)


@dataclass(frozen=True)
class Redrawn:
    """Blocks drawn anew with replacement: the same draws for every sum that is asked for.

    So a difference between two systems, or between two severities of a damage, is resampled in
    pairs, as Bisani and Ney (ICASSP 2004) have it.

    blocks: their names; every one counts, also where a sum has nothing of it.
    resamples: how many times all of them are drawn.
    seed: of the draws.
    """

    blocks: tuple[str, ...]
    resamples: int = RESAMPLES
    seed: int = SEED
    _times: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.blocks)
        draws = np.random.default_rng(self.seed)
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
        """The sums over each draw: (blocks, ...) to (resamples, ...)."""
        return np.tensordot(self._times, of_blocks, axes=1)

    def interval(self, resampled: NDArray[np.float64], level: float = LEVEL) -> Interval | None:
        """Percentile interval of a number that was worked out of each draw.

        Returns:
            None where fewer than two blocks leave nothing to resample, or where more than one
            draw in a hundred does not have the number (0 / 0).
        """
        found = resampled[np.isfinite(resampled)]
        if len(self.blocks) < 2 or len(found) < _MOST_OF_THE_DRAWS * len(resampled):
            return None
        low, high = np.quantile(found, _tails(level))
        return Interval(float(low), float(high), len(self.blocks))


def _tails(level: float) -> tuple[float, float]:
    tail = (1.0 - level) / 2.0
    return tail, 1.0 - tail


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
    edits: ArrayLike, characters: ArrayLike, writers: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edits and characters of each writer, sorted by name; writers without characters left out.

    A block without reference characters would make a resample 0/0; its edits are in the micro
    CER itself all the same.
    """
    top = np.asarray(edits, dtype=np.float64)
    bottom = np.asarray(characters, dtype=np.float64)
    if not top.shape == bottom.shape == (len(writers),):
        raise ValueError("edits, characters and writers must have one entry a line")
    if (top < 0).any() or (bottom < 0).any():
        raise ValueError("counts cannot be negative")
    names, block = np.unique(np.asarray(writers, dtype=str), return_inverse=True)
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
