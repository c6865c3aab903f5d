"""Rates, gains in log-odds, restored characters, and the declared contrasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.analysis.experiment.counts import (
    CHARACTERS,
    CLOZE,
    EDITS,
    HIDDEN_ONES,
    RESTORED,
    RIGHT,
    Counts,
)
from bench.analysis.experiment.design import ALPHA, Contrast, Design
from bench.analysis.stats import Interval, Redrawn, holm, sign_flip_p

Sums = NDArray[np.float64]  # (..., COLUMNS)
Numbers = NDArray[np.float64]

Ruling = Literal["holds", "the opposite holds", "not shown"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. value: None if the denominator is 0."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Reading:
    """A cell of the experiment.

    cer: micro, a fraction; right: share of characters read right.
    gain: log-odds of a character read right, less those of the baseline.
    hidden: characters with ink of which less than 20 % is left; restored: share read right.
    """

    reader: str
    level: str
    condition: str
    system: str
    cer: Estimate
    right: Estimate
    gain: Estimate
    hidden: int
    restored: Estimate


@dataclass(frozen=True)
class TestedContrast:
    """A declared contrast behind a reader.

    p: randomisation of signs of the blocks' pseudo-values, two-sided; adjusted: by Holm over all
    contrasts and readers. None with too few blocks.
    """

    contrast: Contrast
    reader: str
    value: float
    interval: Interval | None
    p: float | None
    adjusted: float | None
    verdict: Ruling


def log_odds(sums: Sums) -> Numbers:
    """Log-odds of a character read right; half a character is added on both sides."""
    right, characters = sums[..., RIGHT], sums[..., CHARACTERS]
    odds: Numbers = np.log((right + 0.5) / (characters - right + 0.5))
    return odds


def readings(counts: Counts, design: Design) -> Iterator[Reading]:
    """Compute all cells with a baseline, and the cloze test's restored characters."""
    for (reader, level, condition, system), own in counts.cells.items():
        redrawn = counts.redrawn[level]
        base = counts.cells.get((reader, level, condition, design.baseline))
        if base is None:  # it failed, which `left_out` says
            continue
        rates = [
            _estimate(redrawn, own[:, pair], lambda sums: _ratio(sums[..., 0], sums[..., 1]))
            for pair in ((EDITS, CHARACTERS), (RIGHT, CHARACTERS), (RESTORED, HIDDEN_ONES))
        ]
        gain = _estimate(redrawn, np.stack([own, base], axis=1), _gain)
        if system == CLOZE:
            rates[:2], gain = [Estimate(None, None)] * 2, Estimate(None, None)
        hidden = int(own[:, HIDDEN_ONES].sum())
        yield Reading(reader, level, condition, system, rates[0], rates[1], gain, hidden, rates[2])


def conclude(counts: Counts, design: Design) -> list[TestedContrast]:
    """Compute the declared contrasts behind all readers that have their cells; adjust by Holm."""
    found = []
    for contrast in design.contrasts:
        for reader in design.readers:
            if all(
                (reader, level, condition, name) in counts.cells
                for _, level, condition, *pair in contrast.compared
                for name in pair
            ):
                found.append((contrast, reader, *_effect(counts, contrast, reader)))
    adjusted = holm([p for *_, p in found])
    return [
        TestedContrast(contrast, reader, value, interval, p, after, _verdict(interval, after))
        for (contrast, reader, value, interval, p), after in zip(found, adjusted, strict=True)
    ]


def _effect(
    counts: Counts, contrast: Contrast, reader: str
) -> tuple[float, Interval | None, float | None]:
    """Value, interval and p of a contrast; the sets of its terms have the same blocks."""
    redrawn = counts.redrawn[contrast.terms[0][1]]
    pairs = [
        np.stack([counts.cells[reader, level, condition, name] for name in pair])
        for _, level, condition, *pair in contrast.compared
    ]
    sums = np.stack(pairs).transpose(2, 0, 1, 3)  # (blocks, terms, 2, COLUMNS)
    weights = np.array([weight for weight, *_ in contrast.terms])

    def effect(drawn: Sums) -> Numbers:
        gains = _gain(drawn)
        if contrast.matched:
            gains = _matched(gains, log_odds(drawn[..., 1, :]))
        total: Numbers = gains @ weights
        return total

    blocks = len(sums)
    value = effect(sums.sum(axis=0))
    without = effect(sums.sum(axis=0) - sums)
    p = sign_flip_p(blocks * value - (blocks - 1) * without, "two-sided")
    return float(value), redrawn.interval(effect(redrawn.sums(sums))), p


def _matched(gains: Numbers, baseline: Numbers) -> Numbers:
    """Interpolate between the last two gains to where the baseline is the first's: (..., 2).

    gains, baseline: (..., 3). Nothing is extrapolated: outside of its range the nearer one counts.
    """
    at, low, high = (baseline[..., place] for place in range(3))
    apart = np.where(high == low, np.inf, high - low)
    share = np.clip((at - low) / apart, 0.0, 1.0)
    between = (1 - share) * gains[..., 1] + share * gains[..., 2]
    return np.stack([gains[..., 0], between], axis=-1)


def _gain(sums: Sums) -> Numbers:
    """Gain in log-odds, of (..., 2, COLUMNS): a system and the one that it is compared with."""
    odds = log_odds(sums)
    gain: Numbers = odds[..., 0] - odds[..., 1]
    return gain


def _verdict(interval: Interval | None, adjusted: float | None) -> Ruling:
    """Combine p-value and interval: a finding needs both."""
    if interval is None or adjusted is None or adjusted > ALPHA:
        return "not shown"
    if interval.low > 0:
        return "holds"
    return "the opposite holds" if interval.high < 0 else "not shown"


def _estimate(redrawn: Redrawn, sums: Sums, statistic: Callable[[Sums], Numbers]) -> Estimate:
    value = float(statistic(sums.sum(axis=0)))
    if not np.isfinite(value):
        return Estimate(None, None)
    return Estimate(value, redrawn.interval(statistic(redrawn.sums(sums))))


def _ratio(top: Numbers, bottom: Numbers) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(top, np.float64) / bottom
